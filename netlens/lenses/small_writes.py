"""Did small pieces of data wait for a delayed acknowledgment, or fill the line with headers?

Asks: whether a sender kept the rest of a request, or of an answer, back until the first piece was acknowledged, which the receiver puts off as it waits
    for the rest: again and again; whether it sent a thousand pieces and more that are shorter than their headers, one right behind the other.
Applies: to connections captured in both directions.
Cannot see: whether the sender's program or its TCP (Nagle) held the piece back.
Normal: a sender with unacknowledged data keeps a short segment until it has more (Nagle: RFC 9293 3.7.4), a receiver puts off its acknowledgment for up to
    500 ms (RFC 9293 3.8.6.3; Linux 40 ms, Windows 40 to 200 ms). Each makes sense; together they stop a program that writes in two pieces what is answered as
    a whole. A program that sends something from time to time looks different: its pieces are answered each, or none is. It costs time and breaks nothing, so
    this is a warning; a problem where a third of a connection's time and more went by so, a second at least.
    Nagle's algorithm is there against pieces of a few bytes (RFC 896); a program that turns it off, as for keys and the mouse, has to put its data together
    itself. A serial line that is handed on byte by byte looks the same, and loses nothing by it: a warning.
"""

from __future__ import annotations

from statistics import median
from typing import NamedTuple

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import ACK, FIN, RST, SYN, S, Segments, View, finding, most, seconds
from netlens.text import plural, size

ID = "small-writes"
GROUP = "time"
RANK = 74
SMALL = 536  #: bytes; a segment of any network (RFC 9293 3.7.1)
PUT_OFF_NS = (30_000_000, 250_000_000)  #: for which acknowledgments are put off
AT_ONCE = 8  #: times shorter than that: what the acknowledgment set free, and the answer to it
TIMES, COST_NS = 10, S // 2  #: of one connection
LEAST = 5 * TIMES  #: segments
GRAVE, GRAVE_NS = 1 / 3, S  #: of the time that a connection lasted
HEADERS = 66  #: bytes of Ethernet, IPv4 and TCP with timestamps, of which a piece is shorter
PIECES, PIECES_SHARE, ANSWERS = 1000, 0.5, 0.1  #: of one side, and of its segments with data; those of the other, as a share of these
NEXT_NS = 2_000_000  #: between two of them, usually; a mouse moves less often


def look(view: View) -> list[Finding]:
    """What waited, and what filled the line."""
    return [*_waited(view), *_pieces(view)]


class _Pieces(NamedTuple):
    session: int
    orig: bool
    pieces: int
    segments: int
    bytes: int
    usual: int
    lasted_ns: int
    frames: list[int]


def _pieces(view: View) -> list[Finding]:
    """Connections of which one side sent its data in pieces of a few bytes while others were under way, which Nagle's algorithm would have put together."""
    if view.trail is None:
        return []
    s, found = view.sessions, []
    likely = (s["orig_frames"] + s["resp_frames"] >= PIECES) & (s["orig_bytes"] + s["resp_bytes"] > 0)
    likely &= np.minimum(s["orig_bytes"] / np.maximum(s["orig_frames"], 1), s["resp_bytes"] / np.maximum(s["resp_frames"], 1)) < SMALL
    for k in view.in_one if likely.any() else []:
        found += [one for orig in (True, False) if (one := _in_pieces(view, k, orig)) is not None] if likely[k] else []
    if not found:
        return []
    worst = max(found, key=lambda each: each.pieces)
    text = (
        f"{most(view.address(each.session, each.orig) for each in found)} sent data in pieces that are shorter than their headers, without waiting for more: "
        f"{worst.pieces:,} of {worst.segments:,} segments with {view.server(worst.session)}, usually {plural(worst.usual, 'byte')} each; {size(worst.bytes)} "
        f"took {worst.segments:,} packets and {seconds(worst.lasted_ns)}."
    )
    values = {
        "connections": len({each.session for each in found}),
        "pieces": worst.pieces,
        "bytes": worst.bytes,
        "longest_s": worst.lasted_ns / 1e9,
    }
    advice = "The program writes a few bytes at a time with TCP_NODELAY set: have it collect what it has (a buffer, writev, TCP_CORK) and write that at once."
    return [finding(view, ID, "warning", text, [f for each in found for f in each.frames], values, advice)]


def _in_pieces(view: View, k: int, orig: bool) -> _Pieces | None:
    assert view.trail is not None
    if view.sessions["orig_frames" if orig else "resp_frames"][k] < PIECES:
        return None
    at = view.trail.of(k)
    t = {name: view.trail.segments()[name][at] for name in ("length", "fresh", "flags", "offset", "acked", "ts", "frame")}
    mine = view.by_originator(at) == orig
    data = mine & (t["length"] > 0) & (t["fresh"] > 0)
    answers = ~mine & (t["length"] > 0)
    acked = np.maximum.accumulate(np.where(~mine & ((t["flags"] & (ACK | RST)) == ACK), t["acked"], 0))
    pieces = np.flatnonzero(data & (t["length"] < HEADERS) & (t["offset"] > acked))
    segments = np.count_nonzero(data)
    if len(pieces) < max(PIECES, PIECES_SHARE * segments) or np.count_nonzero(answers) > ANSWERS * segments:
        return None
    ts = t["ts"][pieces]
    if np.median(np.diff(ts)) > NEXT_NS:
        return None
    length = t["length"][data]
    return _Pieces(
        k,
        orig,
        len(pieces),
        int(segments),
        int(length.sum()),
        int(np.median(t["length"][pieces])),
        int(ts[-1] - ts[0]),
        t["frame"][pieces][:20].tolist(),
    )


def _waited(view: View) -> list[Finding]:
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
    i = np.flatnonzero(small[:-2] & (length[1:-1] == 0) & small[2:])
    i = i[likely[session[i]]]
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
