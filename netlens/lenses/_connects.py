"""Attempts to open a TCP connection, as the wire shows them."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from netlens.addresses import is_loopback
from netlens.lenses._said import TCP, undelivered
from netlens.lenses._view import ACK, FIN, RST, SYN, S, View, grouped
from netlens.parsers.icmp import PROHIBITED, REFUSING, Error

#: Outcomes; not heard: SYN and SYN+ACK came again and again; half open: the server acknowledged something older, and the client reset that
OPEN, REFUSED, UNANSWERED, NOT_HEARD, HALF_OPEN, OTHER = "open", "refused", "unanswered", "not heard", "half open", "other"
TWICE = 2  #: SYN+ACKs; who sends more, while SYNs come again, is not heard
#: Zeek's policy/misc/scan: 15 ports of one host, or 25 hosts on one port, within 5 minutes.
SCAN_PORTS, SCAN_HOSTS, SCAN_NS = 15, 25, 300 * S
PLAIN_MS = 500  #: a handshake that took less needs no look at its segments
SAID_NS = 10 * S  #: after the last SYN; a router that finds nobody at the address says so after 3 s (RFC 4861 10, Linux' ARP)
FALLBACK_NS = 5 * S  #: RFC 8305 8 has 250 ms, and 2 s at most
MOST_TRIED = 1000  #: other attempts that are looked at for one that failed
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
    for k in view.first_copies:
        if saw_syn[k] and k not in halves:
            made = _plain(view, k) if plain[k] else _attempt(view, k)
            if made is not None:
                found.append(made)
    return found


def _plain(view: View, k: int) -> Attempt:
    """A handshake in which nothing was repeated, from its row alone."""
    s = view.sessions
    client, _, server, port = view.ends(k)
    start, frame = int(s["start_ns"][k]), int(s["first_frame"][k])
    answer, usable = start + int(s["synack_ms"][k] * 1e6), start + int(s["handshake_ms"][k] * 1e6)
    return Attempt(k, client, server, port, OPEN, [start], [frame], answer, frame, usable, frame, 1, 1)


def _attempt(view: View, k: int) -> Attempt | None:
    seg = view.opening(k)
    client, _, server, port = view.ends(k)
    syn_ns: list[int] = []
    syn_frames: list[int] = []
    synack_at = last_synack = reset_at = usable = -1
    synacks = repeated_syns = 0
    sent_more = False
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
                if synack_at >= 0 and usable < last_synack:
                    usable = i
        elif flags & SYN:
            synacks += 1
            last_synack = i
            if synack_at < 0:
                synack_at = i
        elif flags & RST and reset_at < 0 and not sent_more:
            reset_at = i
        elif flags & ACK and not flags & RST and not seg.length[i] and seg.acked[i] and acked_at < 0:
            acked_at = i
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


def _hear(view: View, attempt: Attempt) -> None:
    """What ICMP errors say of an attempt that nothing else answered: a refusal, or why it found nobody. A program is told at once (RFC 1122 4.2.3.9)."""
    about = view.once(undelivered).get((TCP, *view.way(attempt.session, True)), [])
    attempt.said = [e for e in about if attempt.syn_ns[0] <= e.ts <= attempt.syn_ns[-1] + SAID_NS]
    refusals = [e for e in attempt.said if e.what in REFUSING or e.what == PROHIBITED]
    if refusals:
        attempt.outcome, attempt.answer_ns, attempt.answer_frame = REFUSED, refusals[0].ts, refusals[0].frame


def reached_after(view: View, failed: Attempt, within_ns: int) -> bool:
    """Whether the service was reached within some time of a failed attempt: another address, the other family, or from the other side."""
    opened, times = view.once(_opened_by_port).get(failed.port, ([], []))
    low = bisect.bisect_left(times, failed.syn_ns[0] - within_ns)
    high = bisect.bisect_right(times, failed.syn_ns[-1] + within_ns)
    for a in opened[low : min(high, low + MOST_TRIED)]:
        if a.answer_ns < failed.syn_ns[0] and a.server == failed.server:
            continue  # it worked before, not after
        same_client = a.client == failed.client or _family(a.client) != _family(failed.client)
        if same_client and (a.server == failed.server or _alias(view, a.server, failed.server)):
            return True
        if a.client == failed.server and a.server == failed.client:
            return True
    return False


def by_ipv4(view: View, failed: Attempt) -> int | None:
    """How long after a SYN over IPv6 its client asked for the same by IPv4, and got it, in ns; None where that is not known. Who asked by IPv4 is told by
    the name that both addresses have, or there is only one."""
    opened, times = view.once(_opened_by_port).get(failed.port, ([], []))
    named, clients = view.once(_names), view.once(_of_ipv4)
    low = bisect.bisect_left(times, failed.syn_ns[0])
    for a in opened[low : low + MOST_TRIED]:
        wait = a.syn_ns[0] - failed.syn_ns[0]
        if _family(a.client) == 4 and 0 < wait <= FALLBACK_NS:
            mine, theirs = (named.get(each, set()) for each in (failed.server, a.server))
            if mine & theirs or (not mine and len(clients) == 1):
                return wait
    return None


def _of_ipv4(view: View) -> set[str]:
    return {a.client for a in view.once(attempts) if _family(a.client) == 4}


def _opened_by_port(view: View) -> dict[int, tuple[list[Attempt], list[int]]]:
    """Attempts that succeeded, by port, with the times of the answers, in their order."""
    opened = grouped((a for a in view.once(attempts) if a.outcome == OPEN), lambda a: a.port)
    ordered = {port: sorted(group, key=lambda a: a.answer_ns) for port, group in opened.items()}
    return {port: (group, [a.answer_ns for a in group]) for port, group in ordered.items()}


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _alias(view: View, one: str, other: str) -> bool:
    """Whether two addresses may be of one service: the other family, this machine, or a name that has both."""
    if _family(one) != _family(other) or (is_loopback(one) and is_loopback(other)):
        return True
    named = view.once(_names)
    return bool(named.get(one, frozenset()) & named.get(other, frozenset()))


def _names(view: View) -> dict[str, set[str]]:
    """Names by address, as lookups told."""
    lookups = view.side.capture.table("lookups")
    out: dict[str, set[str]] = {}
    for name, answers in lookups.tuples("qname", "answers"):
        for address in answers or ():
            out.setdefault(address, set()).add(name)
    return out


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
    found = []
    for (source, host), group in grouped(failed, lambda a: (a.client, a.server)).items():
        most = _most_within(group, lambda a: a.port)
        if most >= SOME_PORTS:
            found.append(Scan(source, host, most, group, True))
    for (source, port), group in grouped(failed, lambda a: (a.client, a.port)).items():
        most = _most_within(group, lambda a: a.server)
        opened = {a.server for a in view.once(attempts) if a.client == source and a.port == port and a.outcome == OPEN}
        if most >= SCAN_HOSTS and len(opened) <= most:  # a program among peers that mostly answer is none
            found.append(Scan(source, f"port {port}", most, group, False))
    return found


def _most_within(group: list[Attempt], what: Callable[[Attempt], object]) -> int:
    """Most different things tried within the time of a scan."""
    group = sorted(group, key=lambda a: a.syn_ns[0])
    best = low = 0
    counts: Counter[object] = Counter()
    for a in group:
        counts[what(a)] += 1
        while a.syn_ns[0] - group[low].syn_ns[0] > SCAN_NS:
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
