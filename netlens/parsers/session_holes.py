"""Bytes of a stream that were not seen: a list of holes for each side of a session, the newest (highest) first.

Theory of operation
-------------------
A hole is a span of stream offsets below the next number of its side. Payload that comes late closes it, or the part of it that the payload covers; a
segment in its middle makes two of it. Holes of all sessions are rows of one matrix, and those that are free again a list in it.

A hole knows since when it is there: what fills it at once was out of order, what comes nearly a round trip later was sent again. Bytes below the first number
of a side whose SYN was not seen make a hole as well, as they may still come, but were sent before the capture: nobody missed them.
"""

import numpy as np

from netlens.parsers.session_state import (
    ACKED,
    FIRST_PAYLOAD,
    FRAMES,
    FREE_HOLE,
    HOLE_COUNT,
    HOLE_END,
    HOLE_NEXT,
    HOLE_SINCE,
    HOLE_START,
    HOLES,
    HOLES_USED,
    LOST,
    SIDE,
    SIDE_WIDTH,
    UNSET,
    add_rare,
    rare_of,
)
from netlens.wire.compiled import inlined, lean

MAX_HOLES = 256  #: per direction; the oldest beyond that is given up and its bytes are counted as missing. A 64 kB window of 536-byte segments has 122
#: rows of holes that must be free before a segment: more than it can split and add, even if holes lay over each other
HOLES_A_SEGMENT = MAX_HOLES + 2


@lean
def _new_hole(s, d, sparse, start, end, following, since):
    holes, counts = sparse.holes, sparse.counts
    new = counts[FREE_HOLE]
    if new >= 0:
        counts[FREE_HOLE] = holes[new, HOLE_NEXT]
    else:
        new = counts[HOLES_USED]
        counts[HOLES_USED] += 1
    holes[new, HOLE_START] = start
    holes[new, HOLE_END] = end
    holes[new, HOLE_NEXT] = following
    holes[new, HOLE_SINCE] = since
    add_rare(s, d, HOLE_COUNT, 1, sparse)
    return new


@lean
def _free(s, d, sparse, hole):
    sparse.holes[hole, HOLE_NEXT] = sparse.counts[FREE_HOLE]
    sparse.counts[FREE_HOLE] = hole
    add_rare(s, d, HOLE_COUNT, -1, sparse)


@lean
def _is_full(s, d, sparse):
    return rare_of(s, d, HOLE_COUNT, sparse) >= MAX_HOLES


@lean
def _since_begin(start, end, since):
    """Bytes of a hole that count as missing: what lies below the first segment that was captured was sent before the capture."""
    return np.int64(0) if since == UNSET else max(end, 0) - max(start, 0)


@lean
def add_hole(s, d, sparse, start, end, since):
    """Note a hole of side ``d``; the newest comes first. An acknowledgment-only stream makes one that grows.  since : now, or UNSET."""
    holes, side = sparse.holes, SIDE + d * SIDE_WIDTH
    head = s[side + HOLES]
    if head >= 0 and holes[head, HOLE_END] == start and (holes[head, HOLE_SINCE] == UNSET) == (since == UNSET):
        holes[head, HOLE_END] = end
        holes[head, HOLE_SINCE] = since
        return
    if _is_full(s, d, sparse):
        before = np.int64(-1)
        at = head
        while holes[at, HOLE_NEXT] >= 0:
            before = at
            at = holes[at, HOLE_NEXT]
        add_rare(s, d, LOST, _since_begin(holes[at, HOLE_START], holes[at, HOLE_END], holes[at, HOLE_SINCE]), sparse)
        holes[before, HOLE_NEXT] = -1
        _free(s, d, sparse, at)
    s[side + HOLES] = _new_hole(s, d, sparse, start, end, head, since)


@lean
def add_lowest_hole(s, d, sparse, start, end):
    """Note a hole below all others, of bytes sent before the capture; where no more fit, what comes late in it will not count."""
    if _is_full(s, d, sparse):
        return
    new = _new_hole(s, d, sparse, start, end, np.int64(-1), np.int64(UNSET))
    holes, side = sparse.holes, SIDE + d * SIDE_WIDTH
    at = s[side + HOLES]
    if at < 0:
        s[side + HOLES] = new
        return
    while holes[at, HOLE_NEXT] >= 0:
        at = holes[at, HOLE_NEXT]
    holes[at, HOLE_NEXT] = new


@lean
def since_of(s, d, sparse, start, end):
    """Since when the highest hole of side ``d`` is there that has some of [start, end); if those bytes were sent before the capture, or no hole has any: when
    the side's first payload came, or UNSET."""
    holes, side = sparse.holes, SIDE + d * SIDE_WIDTH
    at = s[side + HOLES]
    while at >= 0:
        if max(holes[at, HOLE_START], start) < min(holes[at, HOLE_END], end):
            return holes[at, HOLE_SINCE] if holes[at, HOLE_SINCE] != UNSET else s[side + FIRST_PAYLOAD]
        at = holes[at, HOLE_NEXT]
    return s[side + FIRST_PAYLOAD]


@lean
def fill(s, d, sparse, start, end):
    """Bytes of [start, end) that lie in holes of side ``d``, which are closed by it."""
    filled = np.int64(0)
    before = np.int64(-1)
    holes, side = sparse.holes, SIDE + d * SIDE_WIDTH
    at = s[side + HOLES]
    while at >= 0:
        a, b, following = holes[at, HOLE_START], holes[at, HOLE_END], holes[at, HOLE_NEXT]
        lo, hi = max(a, start), min(b, end)
        if lo < hi:
            filled += hi - lo
            if a == lo and b == hi:
                if before < 0:
                    s[side + HOLES] = following
                else:
                    holes[before, HOLE_NEXT] = following
                _free(s, d, sparse, at)
                at = following
                continue
            if a == lo:
                holes[at, HOLE_START] = hi
            elif b == hi:
                holes[at, HOLE_END] = lo
            elif not _is_full(s, d, sparse):
                holes[at, HOLE_END] = lo
                new = _new_hole(s, d, sparse, hi, b, at, holes[at, HOLE_SINCE])  # the upper piece stays in front: newest (highest) first
                if before < 0:
                    s[side + HOLES] = new
                else:
                    holes[before, HOLE_NEXT] = new
            else:
                add_rare(s, d, LOST, _since_begin(hi, b, holes[at, HOLE_SINCE]), sparse)
                holes[at, HOLE_END] = lo
        before = at
        at = following
    return filled


@inlined
def missing_of(s, d, sparse):
    """Bytes of side ``d`` of a session that the peer acknowledged and that were never seen; what was sent before the capture only of a side of which all is
    missing."""
    side = SIDE + d * SIDE_WIDTH
    total = rare_of(s, d, LOST, sparse)
    at = s[side + HOLES]
    while at >= 0:
        if sparse.holes[at, HOLE_SINCE] != UNSET or s[side + FRAMES] == 0:
            total += max(min(sparse.holes[at, HOLE_END], s[side + ACKED]) - max(sparse.holes[at, HOLE_START], 0), 0)
        at = sparse.holes[at, HOLE_NEXT]
    return total


@lean
def missing_bytes(sessions, sparse, out):
    """Fill ``out``, int64[n, 2]: :func:`missing_of` each side."""
    for k in range(len(sessions)):
        for d in range(2):
            out[k, d] = missing_of(sessions[k], d, sparse)
