"""Do a client's clock and a time server's differ so far that the client does not take its time?

Asks: whether a server's time, by NTP, is further from that of a client, answer after answer, than clients correct by themselves; whether the servers of a
    client are so far from each other that not all of them can be right.
Applies: to clients that send their own time (RFC 5905 7.3), and to servers that say that they have the time.
Cannot see: which of the two is right; what a client does with what it hears. Many clients send random numbers in place of a time, or for how long they run.
Normal: a client that has just started may be off by any time, and sets its clock after a few answers (a warning until then); then both agree. Of several
    servers one may be wrong: the client takes the others (a warning). So may those that a monitor asks, or several hosts behind NAT, or that have nothing but
    their own clock (warnings). What says that it may be off by 1.5 s is not taken (MAXDIST). Who is off by years may be so on purpose, for a test or in a
    lab (a warning). The reference implementation ends where it would have to set the clock by more than 1,000 s (RFC 5905 A.5.5.4, PANICT).
"""

from __future__ import annotations

from statistics import median

from netlens.lenses import Finding
from netlens.lenses._view import S, View, graded, grouped, most, seconds, up_to
from netlens.parsers.clocks import TO_UNIX, Stamp

ID = "clocks-differ"
GROUP = "answers"
RANK = 33
TIMES = 3  #: answers
BURST, LASTED_NS = 8, 300 * S  #: answers that a client asks for when it starts (iburst), or how long others take, until it sets its clock
YEAR = 31_556_952  #: s
RUNS = 5 * YEAR  #: a clock that began at 0 and shows less tells how long its device runs
PANIC_NS = 1000 * S
#: Two servers that are further apart cannot both be right: neither is off by more than its root distance, which is below MAXDIST (RFC 5905 A.1.1, 11.2.1)
APART_NS = 3 * S
MAX_DISTANCE_NS = 3 * S // 2  #: MAXDIST: what says that it may be off by more is not taken
PORT = 123
BURST_NS = 16 * S  #: 8 messages, 2 s apart (RFC 5905 A.1.1: BCOUNT, BTIME)
CLOSE_NS = S  #: a clock's time less the capture's, from one message to the next, is as good as the same


def look(view: View) -> list[Finding]:
    """At most one of clients and their servers, or else one of servers among themselves."""
    return _of(view) or _among_servers(view)


def _among_servers(view: View) -> list[Finding]:
    """Servers that a client asks in turn and that differ; where no more than half agree, the client cannot tell who is right (RFC 5905 11.2.1)."""
    told = grouped((s for s in view.side.capture.clocks if not s.asks and s.distance_ns < MAX_DISTANCE_NS), lambda s: s.client)
    asked = grouped((s for s in view.side.capture.clocks if s.asks), lambda s: (s.client, s.server))
    found: list[tuple[str, int, list[Stamp], bool, bool]] = []
    for client, stamps in told.items():
        servers = {server: group for server, group in grouped(stamps, lambda s: s.server).items() if len(group) >= TIMES and _even(group)}
        if len(servers) < 2 or max(g[0].ts for g in servers.values()) > min(g[-1].ts for g in servers.values()):
            continue  # not at the same time: the clock of the capture may have been set between
        own = {server: group for (by, server), group in asked.items() if by == client and server in servers and _even(group)}
        jumps = [median(s.ahead_ns for s in group) for group in own.values()]
        if jumps and max(jumps) - min(jumps) >= CLOSE_NS:
            continue  # the client's clock differs by as much: several recorders, whose clocks differ
        ahead = {server: int(median(s.ahead_ns for s in group)) for server, group in servers.items()}
        apart = max(ahead.values()) - min(ahead.values())
        if apart >= APART_NS:
            agree = max(sum(abs(one - other) < APART_NS for other in ahead.values()) for one in ahead.values())
            answers = [s for group in servers.values() for s in group]
            sure = _sets_its_clock(servers, bool(own)) and not any(s.by_itself for s in answers)
            found.append((client, apart, answers, 2 * agree <= len(ahead), sure and apart < YEAR * S))
    if not found:
        return []
    shown = [each for each in found if each[3] and each[4]] or [each for each in found if each[3]] or found
    answers = [s for _, _, stamps, *_ in shown for s in stamps]
    split = all(each[3] for each in shown)
    text = (
        f"The time servers that {most(client for client, *_ in shown)} asks are {up_to(shown)}{seconds(max(apart for _, apart, *_ in shown))} apart by NTP, in "
        f"all of {len(answers):,} answers: {most(s.server for s in answers)}"
        f"{'. A client cannot tell which of them is right' if split else '; most of them agree'}."
    )
    values = {"answers": len(answers), "ahead_s": max(apart for _, apart, *_ in shown) / 1e9}
    advice = "Find out which server is wrong, and take it out of the client's settings; with four servers one that is wrong is found out."
    return [graded(view, ID, split and shown[0][4], text, [s.frame for s in answers], values, advice)]


def _sets_its_clock(servers: dict[str, list[Stamp]], tells_its_time: bool) -> bool:
    """Whether what asks several servers is one program that keeps a clock: at the port of NTP, or, without telling its time, when it starts (a burst to all of
    them). Else it may be a monitor, or several hosts behind NAT."""
    if all(s.port == PORT for group in servers.values() for s in group):
        return True
    firsts = [group[0].ts for group in servers.values()]
    return not tells_its_time and max(group[TIMES - 1].ts for group in servers.values()) - min(firsts) <= BURST_NS


def _even(stamps: list[Stamp]) -> bool:
    ahead = [s.ahead_ns for s in stamps]
    return max(ahead) - min(ahead) < CLOSE_NS


def _of(view: View) -> list[Finding]:
    asked: dict[tuple[str, str, bytes], Stamp] = {}
    pairs: dict[tuple[str, str], list[tuple[Stamp, Stamp]]] = {}
    for stamp in view.side.capture.clocks:
        key = (stamp.client, stamp.server, stamp.mark)
        if stamp.asks and _runs_only(stamp):
            continue
        if stamp.asks:
            asked[key] = stamp
        elif (request := asked.pop(key, None)) is not None:
            pairs.setdefault(key[:2], []).append((request, stamp))
    off = {ends: these for ends, these in pairs.items() if len(these) >= TIMES and _differ(these)}
    if not off:
        return []
    right = {client for (client, _), these in pairs.items() if any(abs(a.ahead_ns - r.ahead_ns) < CLOSE_NS for r, a in these)}
    grave = [ends for ends, these in off.items() if ends[0] not in right and _stays(these) and _apart(these) < YEAR * S]
    shown = {ends: off[ends] for ends in grave or off}
    worst = max((a.ahead_ns - r.ahead_ns for these in shown.values() for r, a in these), key=abs)
    answers = [a for these in shown.values() for _, a in these]
    beside = "; other servers agree with the client" if {client for client, _ in shown} <= right else ""
    text = (
        f"The clock of {most(server for _, server in shown)} is {seconds(abs(worst))} {'ahead of' if worst > 0 else 'behind'} that of "
        f"{most(client for client, _ in shown)} in all of {len(answers):,} answers of NTP{beside}."
    )
    values = {"answers": len(answers), "ahead_s": worst / 1e9}
    advice = (
        "Find out which clock is right. A client that is off by so much does not correct itself: set it once (ntpd -gq, chronyc makestep)."
    )
    return [graded(view, ID, grave, text, [a.frame for a in answers], values, advice)]


def _runs_only(request: Stamp) -> bool:
    """Whether a client's timestamp is close behind 1900 or 1970, where clocks begin that nobody set."""
    shown = int.from_bytes(request.mark[:4], "big")
    return shown < RUNS or TO_UNIX <= shown < TO_UNIX + RUNS


def _stays(pairs: list[tuple[Stamp, Stamp]]) -> bool:
    """Whether a client heard the server for so long that it would have set its clock."""
    return len(pairs) >= BURST or pairs[-1][0].ts - pairs[0][0].ts >= LASTED_NS


def _apart(pairs: list[tuple[Stamp, Stamp]]) -> int:
    return min(abs(answer.ahead_ns - request.ahead_ns) for request, answer in pairs)


def _differ(pairs: list[tuple[Stamp, Stamp]]) -> bool:
    """Whether both clocks go on at the pace of the capture's, too far from each other."""
    own, theirs = [r.ahead_ns for r, _ in pairs], [a.ahead_ns for _, a in pairs]
    even = max(own) - min(own) < CLOSE_NS and max(theirs) - min(theirs) < CLOSE_NS
    return even and _apart(pairs) >= PANIC_NS
