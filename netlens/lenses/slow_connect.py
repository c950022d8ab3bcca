"""Which connections took long to open?

Asks: how long it took from the first SYN until the client could send, with repeated SYNs and with SYN+ACKs that had to be repeated, and with SYNs that were
    answered by an acknowledgment of an earlier connection; of QUIC, from the first
    Initial until the server said more than that it had got it; of DTLS, from the first ClientHello until the server's hello.
Applies: where the handshake is in the capture.
Cannot see: whether the SYN or its answer was lost; the lookup before it (see dns-slow).
Normal: one round trip, a second by satellite at most. RFC 6298 2.1: the first time-out is 1 s, the second comes at 3 s (5.5), the third at 7 s; a wait near
    these is a lost SYN. RFC 9002 6.2.2 sends a first flight of QUIC again after 1 and 3 s; a browser that has TCP meanwhile waits no longer.
    An attempt on a half-open port that comes later than its time-out is another one.
    RFC 9147 5.8 has the first flight of DTLS again after 1 and 3 s; a server may ask for a cookie first, which costs one round trip (5.1). Where STUN has
    gone before (WebRTC), the peer may be a person who has not taken the call.
"""

from __future__ import annotations

from netlens.lenses import Finding, Severity
from netlens.lenses._between import beyond, lost_between, same
from netlens.lenses._connects import HALF_OPEN, OPEN, Attempt, attempts
from netlens.lenses._datagrams import by_tcp
from netlens.lenses._view import S, View, finding, graded, grouped, most, seconds, up_to
from netlens.parsers.quic_openings import Opening
from netlens.text import endpoint, plural

ID = "slow-connect"
GROUP = "time"
RANK = 51
LONG_NS = 3 * S  #: two SYNs were lost
LATE_NS = S  #: one SYN was lost
LONGEST_NS = 130 * S  #: Linux gives up after 127 s (six repeats); what is longer is a clock that was set
AGAIN = 1.25  #: of the time-out, which doubles (RFC 6298 2.1, 5.5), within which a SYN is sent again; later somebody tries anew
INITIALS = 3  #: of QUIC, or hellos of DTLS, sent one after the other without an answer
_STUN = 0x2112A442
LEAST, SHARE = 3, 0.1  #: connections above LATE_NS


def look(view: View) -> list[Finding]:
    capture = view.side.capture
    return [
        *_of_tcp(view),
        *_half_open(view),
        *_of_datagrams(view, capture.quic, "QUIC", "Initials"),
        *_of_datagrams(view, capture.dtls, "DTLS", "hellos"),
    ]


def _of_datagrams(view: View, openings: list[Opening], protocol: str, hellos: str) -> list[Finding]:
    opened = [o for o in openings if o.answer_ns]
    slow = [o for o in opened if LONG_NS <= o.answer_ns - o.first_ns < LONGEST_NS and len(o.frames) >= INITIALS]
    waited = [o for o in slow if not by_tcp(view, o.client[0], *o.server) and (o.client, o.server) not in view.once(_calls)]
    shown = waited or slow
    if not shown:
        return []
    longest, initials = max(o.answer_ns - o.first_ns for o in shown), max(len(o.frames) for o in shown)
    took = f"took {up_to(shown)}{seconds(longest)} to open ({up_to(shown)}{initials} {hellos})"
    text = f"{len(shown):,} of {plural(len(opened), 'connection')} of {protocol} {took}: {most(endpoint(*o.server) for o in shown)}."
    values = {"connections": len(opened), "slow": len(shown), "longest_s": longest / 1e9, hellos.lower(): initials}
    advice = (
        f"{hellos[0].upper()}{hellos[1:]} or their answers are lost, or the server is slow: capture at the server's side." if waited else ""
    )
    frames = [f for o in shown for f in (*o.frames, o.answer_frame)]
    return [finding(view, ID, "problem" if waited else "warning", text, frames, values, advice)]


def _calls(view: View) -> set[tuple[tuple[str, int], tuple[str, int]]]:
    """Ends that began with STUN (its cookie: RFC 8489 5), both ways."""
    ends = {(t.source, t.destination) for t in view.conversations if t.head & 0xFFFFFFFF == _STUN}
    return ends | {(there, here) for here, there in ends}


def _half_open(view: View) -> list[Finding]:
    """Connections from ports of which the server still held an earlier connection: it acknowledges that, the client resets it, and tries again (RFC 9293 3.5.1,
    RFC 5961 4.2)."""
    held = {view.ends(a.session) for a in view.once(attempts) if a.outcome == HALF_OPEN}
    by_ports: dict[tuple[str, int, str, int], list[Attempt]] = grouped(
        (a for a in view.once(attempts) if held and view.ends(a.session) in held), lambda a: view.ends(a.session)
    )
    found: list[tuple[int, Attempt, Attempt]] = []
    for tries in by_ports.values():
        first: Attempt | None = None
        last: Attempt | None = None
        syns = 0
        for a in tries:
            if last is not None and a.syn_ns[0] - last.syn_ns[-1] > AGAIN * (S << syns - 1):
                first = None  # tried anew, not sent again
            syns = syns + len(a.syn_ns) if first is not None else len(a.syn_ns)
            last = a
            if a.outcome == HALF_OPEN:
                first = first or a
            elif first is not None:
                found += [(a.usable_ns - first.syn_ns[0], first, a)] if a.outcome == OPEN and a.usable_ns else []
                first = None
    found = [each for each in found if 0 <= each[0] < LONGEST_NS]
    if not found:
        return []
    longest = max(took for took, *_ in found)
    text = (
        f"{plural(len(found), 'connection')} took {up_to(found)}{seconds(longest)} to open, as {most(view.server(a.session) for *_, a in found)} still held "
        f"an earlier one from the same port (half-open): it acknowledged that, and {most(a.client for *_, a in found)} reset it and tried again."
    )
    values = {"connections": len(view.once(attempts)), "slow": len(found), "longest_s": longest / 1e9, "syns": len(found)}
    advice = "The client uses a port again that the server does not know to be free: let the system choose it (no bind before connect), or close what was open."
    frames = [f for _, before, a in found for f in (before.syn_frames[0], before.answer_frame, a.usable_frame)]
    severity: Severity = "problem" if longest >= LONG_NS else "warning" if longest >= LATE_NS else "note"
    return [finding(view, ID, severity, text, frames, values, advice if severity == "problem" else "")]


def _not_passed_on(view: View, shown: list[Attempt]) -> str:
    """A clause that says how many of the SYNs did not come from the VM to the host; empty where that is not known."""
    host = beyond(view, min(a.syn_ns[0] for a in shown))
    if host is None:
        return ""
    there = {a.session: a.syns for a in host.once(attempts)}
    mates = [same(view, host, a.session) for a in shown]
    if any(k is None or k not in there for k in mates):
        return ""
    lost = sum(max(a.syns - there[k], 0) for a, k in zip(shown, mates, strict=True) if k is not None)
    return lost_between(lost, "SYN was", "SYNs were")


def _of_tcp(view: View) -> list[Finding]:
    opened = [(a.usable_ns - a.syn_ns[0], a) for a in view.once(attempts) if a.outcome == OPEN and a.usable_ns]
    opened = [
        (took, a)
        for took, a in opened
        if 0 <= took < LONGEST_NS and (len(a.syn_ns) > 1 or a.synacks > 1 or a.answer_ns - a.syn_ns[0] >= LATE_NS)
    ]
    long = [a for took, a in opened if took >= LONG_NS]
    late = [a for took, a in opened if took >= LATE_NS]
    if not late:
        return []
    all_ = sum(a.outcome == OPEN for a in view.once(attempts))
    grave = bool(long) or (len(late) >= LEAST and len(late) >= SHARE * all_)
    shown = long or late
    longest = max(took for took, _ in opened)
    syns, synacks = max(a.syns for a in shown), max(a.synacks for a in shown)
    repeated = " and ".join(f"{n} {what}" for n, what in ((syns, "SYNs"), (synacks, "SYN+ACKs")) if n > 1)
    repeated = f"{up_to(shown)}{repeated}" if repeated else "one SYN"
    whom = most(view.server(a.session) for a in shown)
    place = _not_passed_on(view, shown)
    text = f"{len(shown):,} of {plural(all_, 'connection')} took {up_to(shown)}{seconds(longest)} to open ({repeated}): {whom}{place}."
    values = {"connections": all_, "slow": len(shown), "longest_s": longest / 1e9, "syns": syns}
    advice = "SYNs or their answers are lost, or the server's queue of new connections is full (nstat TcpExtListenOverflows on the server)."
    frames = [f for a in shown for f in (a.syn_frames[0], a.answer_frame, a.usable_frame)]
    return [graded(view, ID, grave, text, frames, values, advice)]
