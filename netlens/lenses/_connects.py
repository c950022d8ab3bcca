"""Attempts to open a TCP connection, as the wire shows them."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from netlens.addresses import is_loopback
from netlens.lenses._said import TCP, undelivered
from netlens.lenses._view import ACK, FIN, RST, SYN, S, Segments, View, grouped
from netlens.parsers.icmp import PROHIBITED, REFUSING, Error

#: Outcomes; not heard: SYN and SYN+ACK came again and again; half open: the server acknowledged something older, and the client reset that
OPEN, REFUSED, UNANSWERED, NOT_HEARD, HALF_OPEN, OTHER = "open", "refused", "unanswered", "not heard", "half open", "other"
TWICE = 2  #: SYN+ACKs; who sends more, while SYNs come again, is not heard
#: Zeek's policy/misc/scan: 15 ports of one host, or 25 hosts on one port, within 5 minutes.
SCAN_PORTS, SCAN_HOSTS, SCAN_NS = 15, 25, 300 * S
PLAIN_MS = 500  #: a handshake that took less needs no look at its segments
SAID_NS = 10 * S  #: after the last SYN; a router that finds nobody at the address says so after 3 s (RFC 4861 10, Linux' ARP)
FALLBACK_NS = 5 * S  #: RFC 8305 8 has 250 ms, and 2 s at most
ANYBODY = "anybody"  #: in place of a client
#: By port, the one that clients take instead: HTTP for HTTPS, which browsers try first, and SMB for SMB over NetBIOS, tried together ([MS-SMB2] 2.1)
INSTEAD = {443: 80, 139: 445}
ONLY = ""  #: in place of a name
SOME_PORTS = 8  #: worth a look


@dataclass(slots=True)
class Attempt:
    """One session that begins in the capture.

    syn_ns, syn_frames : its SYNs before an answer.  syns : all of them.  usable_ns : when the originator could send, 0 if it never
    could.  said : ICMP errors about SYNs that nothing else answered.  left_ns : when the client closed what nobody had answered, 0 if it did not.
    """

    session: int
    client: str
    server: str
    port: int
    outcome: str
    syn_ns: list[int]
    syn_frames: list[int]
    answer_ns: int
    answer_frame: int
    usable_ns: int
    usable_frame: int
    synacks: int
    syns: int
    said: list[Error] = field(default_factory=list)
    left_ns: int = 0

    @property
    def service(self) -> tuple[str, str, int]:
        """Who asked whom for what."""
        return self.client, self.server, self.port

    @property
    def span_ns(self) -> int:
        return self.syn_ns[-1] - self.syn_ns[0]


def attempts(view: View) -> list[Attempt]:
    """All attempts whose first SYN is in the capture, of copies one, in order."""
    found = []
    saw_syn, halves = view.column("saw_syn"), view.halves
    s = view.sessions
    # where time is set back between SYN and SYN+ACK, there is no synack_ms
    plain = (s["orig_retransmits"] == 0) & (s["resp_retransmits"] == 0) & (s["handshake_ms"] < PLAIN_MS) & (s["synack_ms"] >= 0)
    start, frame = view.column("start_ns"), view.column("first_frame")
    answered, usable = ((s["start_ns"] + np.nan_to_num(s[name] * 1e6).astype(np.int64)).tolist() for name in ("synack_ms", "handshake_ms"))
    is_plain = plain.tolist()
    for k in view.first_copies:
        if not saw_syn[k] or k in halves:
            continue
        if is_plain[k]:  # a handshake in which nothing was repeated: its row tells all
            client, _, server, port = view.ends(k)
            found.append(Attempt(k, client, server, port, OPEN, [start[k]], [frame[k]], answered[k], frame[k], usable[k], frame[k], 1, 1))
        elif (made := _attempt(view, k)) is not None:
            found.append(made)
    return found


def _attempt(view: View, k: int) -> Attempt | None:
    seg = view.opening(k)
    client, _, server, port = view.ends(k)
    syn_ns: list[int] = []
    syn_frames: list[int] = []
    synack_at = last_synack = reset_at = usable = -1
    synacks = repeated_syns = 0
    sent_more = goes_on = False  # goes_on: the server has taken the last part of the handshake, as what it sends behind it shows
    left_ns = 0
    acked_at = denied_at = -1  # an ACK that is no answer to a SYN, and the RST that says so (RFC 9293 3.5.1)
    for i in range(len(seg)):
        flags = seg.flags[i]
        if seg.orig[i]:
            if flags & SYN and not flags & ACK:
                if synack_at < 0:
                    syn_ns.append(seg.ts[i])
                    syn_frames.append(seg.frame[i])
                else:
                    repeated_syns += 1
            elif flags & RST:
                denied_at = i if acked_at >= 0 else -1
            elif flags & FIN and synack_at < 0 and syn_ns and not (sent_more or seg.length[i] or seg.acked[i] - seg.acked[0]):
                left_ns = left_ns or seg.ts[i]  # it acknowledges what the SYN did, nothing: no SYN+ACK came (RFC 9293 3.10.7.3)
            else:
                sent_more = True
                if synack_at >= 0 and usable < last_synack and not (usable >= 0 and _nobody_waits(view, seg, k, last_synack)):
                    usable = i
        elif flags & SYN:
            if goes_on:
                continue  # it had been open
            synacks += 1
            last_synack = i
            if synack_at < 0:
                synack_at = i
        elif flags & RST and reset_at < 0 and not sent_more:
            reset_at = i
        elif flags & ACK and not flags & RST:
            goes_on |= usable >= 0
            acked_at = i if acked_at < 0 and not seg.length[i] and seg.acked[i] else acked_at
    if not syn_ns:
        return None
    if synack_at >= 0:
        lost = usable < 0 and reset_at < 0 and not sent_more and len(syn_ns) + repeated_syns > 1 and synacks > TWICE
        outcome, answer = NOT_HEARD if lost else OPEN, synack_at
    elif reset_at >= 0 and len(seg) <= len(syn_ns) * 2 + 2:
        outcome, answer = REFUSED, reset_at
    elif all(seg.orig) and not sent_more:
        outcome, answer = UNANSWERED, -1
    elif denied_at >= 0 and reset_at < 0 and not view.column("orig_bytes")[k] and not view.column("resp_bytes")[k]:
        outcome, answer = HALF_OPEN, denied_at
    else:
        outcome, answer = OTHER, -1
    made = Attempt(
        k, client, server, port, outcome, syn_ns, syn_frames,
        seg.ts[answer] if answer >= 0 else 0, seg.frame[answer] if answer >= 0 else 0,
        seg.ts[usable] if usable >= 0 else 0, seg.frame[usable] if usable >= 0 else 0, synacks, len(syn_ns) + repeated_syns, left_ns=left_ns,
    )  # fmt: skip
    if outcome == UNANSWERED:
        _hear(view, made)
    return made


def _nobody_waits(view: View, seg: Segments, k: int, synack: int) -> bool:
    """Whether a SYN+ACK that is repeated, behind its acknowledgment, keeps nobody waiting: the client has sent nothing yet, and speaks first. Servers repeat it
    when they do not take a connection before data has come (TCP_DEFER_ACCEPT)."""
    asked, said = view.column("orig_first_payload_ns")[k], view.column("resp_first_payload_ns")[k]
    return (asked is None or asked > seg.ts[synack]) and (said is None or (asked is not None and said >= asked))


def _hear(view: View, attempt: Attempt) -> None:
    """What ICMP errors say of an attempt that nothing else answered: a refusal, or why it found nobody. A program is told at once (RFC 1122 4.2.3.9)."""
    about = view.once(undelivered).get((TCP, *view.way(attempt.session, True)), [])
    attempt.said = [e for e in about if attempt.syn_ns[0] <= e.ts <= attempt.syn_ns[-1] + SAID_NS]
    refusals = [e for e in attempt.said if e.what in REFUSING or e.what == PROHIBITED]
    if refusals:
        attempt.outcome, attempt.answer_ns, attempt.answer_frame = REFUSED, refusals[0].ts, refusals[0].frame


def reached_after(view: View, failed: Attempt, within_ns: int) -> bool:
    """Whether the service was reached within some time of a failed attempt: another address, the other family, from the other side, or, where it was refused,
    by the port that clients take instead."""
    times = view.once(_opened)
    begin, end = failed.syn_ns[0], failed.syn_ns[-1] + within_ns

    def opened(since: int, client: str, server: str, port: int = failed.port) -> bool:
        answered = times.get((port, client, server), [])
        at = bisect.bisect_left(answered, since)
        return at < len(answered) and answered[at] <= end

    if opened(begin, failed.client, failed.server):  # not only before
        return True
    if failed.outcome == REFUSED and opened(begin, failed.client, failed.server, INSTEAD.get(failed.port, 0)):
        return True
    elsewhere = [(failed.client, other) for other in aliases(view, failed.server)]
    reversed_ = (failed.server, failed.client)
    return any(opened(begin - within_ns, *ends) for ends in (*elsewhere, reversed_, (ANYBODY, _other_family(failed.client))))


def by_ipv4(view: View, failed: Attempt) -> int | None:
    """How long after a SYN over IPv6 its client asked for the same by IPv4, and got it, in ns; None where that is not known. Who asked by IPv4 is told by
    the name that both addresses have; where the first has none, there must be one client only."""
    begun = view.once(_by_ipv4)
    names = view.once(_names)[0].get(failed.server) or {ONLY}
    waits = []
    for name in names:
        times = begun.get((failed.port, name), [])
        at = bisect.bisect_right(times, failed.syn_ns[0])
        waits += [ns - failed.syn_ns[0] for ns in times[at : at + 1] if ns - failed.syn_ns[0] <= FALLBACK_NS]
    return min(waits, default=None)


def _by_ipv4(view: View) -> dict[tuple[int, str], list[int]]:
    """When attempts over IPv4 that succeeded began, in order: by port and each name of the server; and by port and :data:`ONLY` if all are of one client."""
    opened = [a for a in view.once(attempts) if a.outcome == OPEN and _family(a.client) == "IPv4"]
    alone = len({a.client for a in opened}) == 1
    names = view.once(_names)[0]
    begun: dict[tuple[int, str], list[int]] = defaultdict(list)
    for a in sorted(opened, key=lambda a: a.syn_ns[0]):
        for name in (*names.get(a.server, ()), *([ONLY] if alone else [])):
            begun[a.port, name].append(a.syn_ns[0])
    return begun


def _opened(view: View) -> dict[tuple[int, str, str], list[int]]:
    """When attempts that succeeded were answered, in order: by port, client and server; and by port and :data:`ANYBODY` of each family."""
    times: dict[tuple[int, str, str], list[int]] = defaultdict(list)
    for a in sorted((a for a in view.once(attempts) if a.outcome == OPEN), key=lambda a: a.answer_ns):
        times[a.port, a.client, a.server].append(a.answer_ns)
        times[a.port, ANYBODY, _family(a.client)].append(a.answer_ns)
    return times


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _other_family(address: str) -> str:
    return "IPv4" if ":" in address else "IPv6"


def aliases(view: View, address: str) -> set[str]:
    """Other addresses that may be of one service with it: of this machine, or of one of its names, as lookups told."""
    names, addresses = view.once(_names)
    found = view.once(_of_this_machine) if is_loopback(address) else set()
    return found.union(*(addresses[name] for name in names.get(address, ()))) - {address}


def _of_this_machine(view: View) -> set[str]:
    return {server for server in view.sessions["resp_ip"].tolist() if is_loopback(server)}


def _names(view: View) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Names by address, and addresses by name."""
    names: dict[str, set[str]] = {}
    addresses: dict[str, set[str]] = {}
    for name, answers in view.side.capture.table("lookups").tuples("qname", "answers"):
        for address in answers or ():
            names.setdefault(address, set()).add(name)
            addresses.setdefault(name, set()).add(address)
    return names, addresses


@dataclass
class Scan:
    """One source that tried many ports of a host, or many hosts on a port, in vain."""

    source: str
    target: str  # the host, or "port N"
    tried: int
    attempts: list[Attempt]
    of_ports: bool


def scans(view: View) -> list[Scan]:
    """By one source, failed attempts at :data:`SOME_PORTS` ports of a host or :data:`SCAN_HOSTS` hosts within :data:`SCAN_NS`."""
    failed = [a for a in view.once(attempts) if a.outcome in (REFUSED, UNANSWERED)]
    opened: dict[tuple[str, int], set[str]] = {}
    for a in view.once(attempts):
        if a.outcome == OPEN:
            opened.setdefault((a.client, a.port), set()).add(a.server)
    found = []
    for (source, host), group in grouped(failed, lambda a: (a.client, a.server)).items():
        most = most_within(group, lambda a: a.port)
        if most >= SOME_PORTS:
            found.append(Scan(source, host, most, group, True))
    for (source, port), group in grouped(failed, lambda a: (a.client, a.port)).items():
        most = most_within(group, lambda a: a.server)
        if most >= SCAN_HOSTS and len(opened.get((source, port), ())) <= most:  # a program among peers that mostly answer is none
            found.append(Scan(source, f"port {port}", most, group, False))
    return found


def most_within(group: list[Attempt], what: Callable[[Attempt], object], within_ns: int = SCAN_NS) -> int:
    """Most different things tried within some time."""
    group = sorted(group, key=lambda a: a.syn_ns[0])
    best = low = 0
    counts: Counter[object] = Counter()
    for a in group:
        counts[what(a)] += 1
        while a.syn_ns[0] - group[low].syn_ns[0] > within_ns:
            old = what(group[low])
            counts[old] -= 1
            if not counts[old]:
                del counts[old]
            low += 1
        best = max(best, len(counts))
    return best


def scanning(view: View) -> set[int]:
    """Sessions that are part of a scan: what a scanner does not reach is no fault."""
    return {a.session for scan in view.once(scans) if scan.tried >= (SCAN_PORTS if scan.of_ports else SCAN_HOSTS) for a in scan.attempts}
