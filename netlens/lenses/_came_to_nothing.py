"""SYNs that are answered, or repeated by routers, and come to nothing: the answers do not arrive, as a router says; something beside the client's own TCP
resets them; or routers send the SYN to each other.

Who wants a connection sends its SYN again, with its number, a second later at the earliest (RFC 9293 3.8.1, RFC 6298 2.1). Who floods a server in
the name of others does not wait so long; who looks whether a port is open (a SYN scan, a check by raw packets) has its answer and does not ask again, or takes
another number.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

from netlens.lenses._connects import OPEN, UNANSWERED, Attempt, attempts
from netlens.lenses._reread import reread
from netlens.lenses._said import TCP, undelivered
from netlens.lenses._view import ACK, RST, SYN, S, View, grouped
from netlens.parsers.announced import announced
from netlens.parsers.headers_again import hops_left, identifiers
from netlens.parsers.icmp import Error

SYNS, APART_NS = 3, 900_000_000  #: of one port, and how far apart at least: a second, less what clocks differ
CONNECTIONS = 2  #: a check by raw packets has one port
#: Times that one packet passes one place, each with a hop less: no way is so long (RFC 2453 3.2: 16 is infinity)
ROUNDS = 16
MOST = 200  #: connections, or SYNs of those, that are looked at
LOOKED_AT = 600  #: segments of each: what begins with 255 hops passes so often
COPY_NS = S // 10  #: in which a packet goes round


class TurnedBack(NamedTuple):
    """A connection of which no SYN+ACK arrived, as routers say.  hops : that its SYN+ACKs could still make where they were captured, at most; 0 if unknown."""

    session: int
    synacks: list[int]
    said: list[Error]
    hops: int


class Reset(NamedTuple):
    """A connection whose SYN+ACKs were reset, each in the name of the client, which went on to send its SYN: the frames of each."""

    session: int
    syns: list[int]
    synacks: list[int]
    resets: list[int]


class Round(NamedTuple):
    """A SYN that went in circles: how often it was captured, and its hop limit at first and at last."""

    session: int
    frames: list[int]
    first: int
    last: int


def _reached(view: View) -> dict[tuple[str, str, int], int]:
    """When a client last had a connection that it could use, by service."""
    found: dict[tuple[str, str, int], int] = {}
    for a in view.once(attempts):
        if a.outcome == OPEN and a.usable_ns:
            found[a.service] = max(a.usable_ns, found.get(a.service, 0))
    return found


def _is_insisting(times: list[int]) -> bool:
    """Whether SYNs came as a TCP repeats them.  times : ns."""
    times = sorted(times)
    return len(times) >= SYNS and all(b - a >= APART_NS for a, b in pairwise(times))


def turned_back(view: View) -> list[TurnedBack]:
    """All connections of which routers say that the server's answers did not arrive, while the client went on to ask."""
    lost = {(back, there): errors for (protocol, there, back), errors in view.once(undelivered).items() if protocol == TCP}
    if not lost:
        return []
    rows = grouped((k for k in range(view.sessions.rows) if view.way(k, True) in lost), view.ends)
    found = []
    for (client, port, server, service), sessions in rows.items():
        syn_ns, synacks, heard = list[int](), list[int](), False
        for k in sessions:
            seg = view.opening(k)
            for i in range(len(seg)):
                if seg.orig[i] and seg.flags[i] & (SYN | ACK) == SYN:
                    syn_ns.append(seg.ts[i])
                elif not seg.orig[i] and seg.flags[i] & SYN:
                    synacks.append(seg.frame[i])
                else:
                    heard = True
        about = lost[(client, port), (server, service)]
        if heard or not _is_insisting(syn_ns) or min(len(about), len(synacks)) < SYNS:
            continue
        if view.once(_reached).get((client, server, service), 0) < min(syn_ns):
            found.append(TurnedBack(sessions[0], synacks, about, 0))
    hops = reread(view, [frame for each in found for frame in each.synacks][:MOST], hops_left)
    return [each._replace(hops=max((hops.get(frame, 0) for frame in each.synacks), default=0)) for each in found]


def reset_in_its_name(view: View) -> list[Reset]:
    """All connections whose SYN+ACKs were reset while the client's TCP went on to ask: one that resets has given up (RFC 9293 3.10.4)."""
    history = view.column("history")
    told = grouped((a for a in view.once(attempts) if a.outcome == OPEN and not a.usable_ns and history[a.session] == "ShR"), _ends(view))
    insisting = [
        group
        for group in told.values()
        if _is_insisting([ns for a in group for ns in a.syn_ns])
        and view.once(_reached).get(group[0].service, 0) <= group[0].syn_ns[0]
        and all(_denied(view, a.session) for a in group)
    ]
    numbers = reread(view, [frame for group in insisting for a in group for frame in a.syn_frames][:MOST], announced)
    found = []
    for group in insisting:
        syns = [frame for a in group for frame in a.syn_frames]
        known = [numbers[frame] for frame in syns if frame in numbers]
        if len(known) >= SYNS and len({each.number for each in known}) == 1 and all(each.mss for each in known):
            found.append(Reset(group[0].session, syns, [a.answer_frame for a in group], [_denied(view, a.session) for a in group]))
    often = grouped(found, lambda each: view.service(each.session))
    return [each for group in often.values() if len(group) >= CONNECTIONS for each in group]


def _ends(view: View) -> Callable[[Attempt], tuple[str, int, str, int]]:
    return lambda attempt: view.ends(attempt.session)


def _denied(view: View, k: int) -> int:
    """The frame of the reset of a SYN+ACK that acknowledges the SYN, as it should; 0 without. Of another one a TCP says so, and waits for the right one
    (RFC 9293 3.10.7.3)."""
    seg = view.opening(k)
    right = all(seg.acked[i] == 0 for i in range(len(seg)) if not seg.orig[i])
    return next((seg.frame[i] for i in range(len(seg)) if seg.flags[i] & RST), 0) if right else 0


def rounds(view: View) -> list[Round]:
    """SYNs that nobody answered and that pass the place of the capture again and again, each time with a hop less, and one number (RFC 791 3.1)."""
    frames = view.column("orig_frames")
    chosen = [a.session for a in view.once(attempts) if a.outcome == UNANSWERED and frames[a.session] >= ROUNDS][:MOST]
    passing = {k: burst for k in chosen if (burst := _burst(view, k))}
    frames_ = [frame for burst in passing.values() for frame in burst]
    hops, numbers = reread(view, frames_, hops_left), reread(view, frames_, identifiers)
    found = []
    for k, burst in passing.items():
        left = [hops[frame] for frame in burst if frame in hops]
        if len({numbers.get(frame) for frame in burst}) > 1:
            continue  # one packet keeps its number; these are several, as a traceroute sends them
        if len(left) >= ROUNDS and all(a > b for a, b in pairwise(left)):
            found.append(Round(k, burst, left[0], left[-1]))
    return found


def _burst(view: View, k: int) -> list[int]:
    """The first :data:`ROUNDS` segments of a session and more that came at once; none without."""
    assert view.trail is not None
    at, t = view.trail.of(k), view.trail.segments()
    ts, frame = t["ts"][at][:LOOKED_AT].tolist(), t["frame"][at][:LOOKED_AT].tolist()
    begin = 0
    for i in range(1, len(ts) + 1):
        if i == len(ts) or ts[i] - ts[begin] > COPY_NS:
            if i - begin >= ROUNDS:
                return list(frame[begin:i])
            begin = i
    return []
