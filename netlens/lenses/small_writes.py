"""Did small pieces of data wait for a delayed acknowledgment?

Asks: whether a sender kept the rest of a request, or of an answer, back until the first piece was acknowledged, which the receiver puts off as it waits
    for the rest: again and again.
Applies: to connections captured in both directions.
Cannot see: whether the sender's program or its TCP (Nagle) held the piece back.
Normal: a sender with unacknowledged data keeps a short segment until it has more (Nagle: RFC 9293 3.7.4), a receiver puts off its acknowledgment for up to
    500 ms (RFC 9293 3.8.6.3; Linux 40 ms, Windows 40 to 200 ms). Each makes sense; together they stop a program that writes in two pieces what is answered as
    a whole. A program that sends something from time to time looks different: its pieces are answered each, or none is. It costs time and breaks nothing, so
    this is a warning; a problem where a third of a connection's time and more went by so, a second at least.
"""

from __future__ import annotations

from statistics import median

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import FIN, RST, SYN, S, Segments, View, finding, most, seconds

ID = "small-writes"
GROUP = "time"
RANK = 74
SMALL = 536  #: bytes; a segment of any network (RFC 9293 3.7.1)
PUT_OFF_NS = (30_000_000, 250_000_000)  #: for which acknowledgments are put off
AT_ONCE = 8  #: times shorter than that: what the acknowledgment set free, and the answer to it
TIMES, COST_NS = 10, S // 2  #: of one connection
LEAST = 5 * TIMES  #: segments
GRAVE, GRAVE_NS = 1 / 3, S  #: of the time that a connection lasted


def look(view: View) -> list[Finding]:
    """Connections on which it cost half a second and more."""
    found: list[tuple[int, bool, list[tuple[int, int]]]] = []
    for k in _likely(view):
        waits = _waits(view.segments(k))
        found += [(k, up, waits[up]) for up in waits if len(waits[up]) >= TIMES and sum(ns for ns, _ in waits[up]) >= COST_NS]
    if not found:
        return []
    every = [wait for *_, waits in found for wait in waits]
    total = max(sum(ns for ns, _ in waits) for *_, waits in found)
    lasted = view.sessions["end_ns"] - view.sessions["start_ns"]
    grave = any(sum(ns for ns, _ in waits) >= max(GRAVE_NS, GRAVE * lasted[k]) for k, _, waits in found)
    text = (
        f"{len(every):,} times {most(view.address(k, up) for k, up, _ in found)} held small data back until what it had sent before was acknowledged, "
        f"typically {seconds(median(ns for ns, _ in every))} later ({seconds(total)} in all on one connection, with "
        f"{most(view.server(k) for k, *_ in found)})."
    )
    values = {"connections": len({k for k, *_ in found}), "times": len(every), "longest_s": total / 1e9}
    advice = "Write a request or an answer as a whole (a buffer, writev), or turn Nagle's algorithm off (TCP_NODELAY)."
    return [finding(view, ID, "problem" if grave else "warning", text, [frame for _, frame in every], values, advice)]


def _likely(view: View) -> list[int]:
    """Sessions with :data:`TIMES` waits at least as their lengths, directions and times have it."""
    if view.trail is None:
        return []
    s, t = view.sessions, view.trail.segments()
    frames, data = s["orig_frames"] + s["resp_frames"], s["orig_bytes"] + s["resp_bytes"]
    likely = (frames >= LEAST) & (data <= SMALL * frames) & (s["end_ns"] - s["start_ns"] >= COST_NS)
    session, length, way, ts = t["session"], t["length"], t["way"], t["ts"]
    small = (length > 0) & (length < SMALL)
    i = np.flatnonzero(small[:-2] & (length[1:-1] == 0) & small[2:] & likely[session[:-2]])
    i = i[(session[i] == session[i + 2]) & (way[i] == way[i + 2]) & (way[i] != way[i + 1])]
    late = ts[i + 1] - ts[i]
    i = i[(late >= PUT_OFF_NS[0]) & (late <= PUT_OFF_NS[1])]
    often = np.bincount(session[i], minlength=s.rows) >= TIMES
    return [k for k in view.in_one if often[k]]


def _waits(seg: Segments) -> dict[bool, list[tuple[int, int]]]:
    """By who sent: how long a piece waited in ns, and its frame.

    Four segments in a row: a piece, its acknowledgment alone and late, the next piece at once, and data that answers it at once; acknowledgments alone may
    stand before the answer.
    """
    found: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for i in range(len(seg) - 3):
        up, late = seg.orig[i], seg.ts[i + 1] - seg.ts[i]
        if not (0 < seg.length[i] < SMALL and PUT_OFF_NS[0] <= late <= PUT_OFF_NS[1] and seg.orig[i + 1] != up and not seg.length[i + 1]):
            continue
        upto = seg.end(i)
        at_once = late // AT_ONCE
        if seg.acked[i + 1] < upto or seg.orig[i + 2] != up or not 0 < seg.length[i + 2] < SMALL or seg.offset[i + 2] != upto:
            continue
        if seg.ts[i + 2] - seg.ts[i + 1] > at_once or any(seg.flags[j] & (SYN | FIN | RST) for j in range(i, i + 3)):
            continue
        answer = next((j for j in range(i + 3, min(i + 6, len(seg))) if seg.length[j]), None)
        if answer is not None and seg.orig[answer] != up and seg.ts[answer] - seg.ts[i + 2] <= at_once:
            found[up].append((late, seg.frame[i + 2]))
    return found
