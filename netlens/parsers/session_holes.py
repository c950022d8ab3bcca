"""Bytes of a stream that were not seen: a list of holes for each side of a session, the newest (highest) first.

Theory of operation
-------------------
A hole is a span of stream offsets below the next number of its side. Payload that comes late closes it, or the part of it that the payload covers; a
segment in its middle makes two of it. Holes of all sessions are rows of one matrix, and those that are free again a list in it.
"""

import numpy as np

from netlens.parsers.session_state import (
    ACKED,
    FREE_HOLE,
    HOLE_COUNT,
    HOLE_END,
    HOLE_NEXT,
    HOLE_START,
    HOLES,
    HOLES_USED,
    LOST,
    SIDE,
    SIDE_WIDTH,
)
from netlens.wire.compiled import inlined, lean

MAX_HOLES = 256  #: per direction; the oldest beyond that is given up and its bytes are counted as missing. A 64 kB window of 536-byte segments has 122
#: rows of holes that must be free before a segment: more than it can split and add, even if holes lay over each other
HOLES_A_SEGMENT = MAX_HOLES + 2


@lean
def _new_hole(holes, start, end, following):
    new = holes.counts[FREE_HOLE]
    if new >= 0:
        holes.counts[FREE_HOLE] = holes.rows[new, HOLE_NEXT]
    else:
        new = holes.counts[HOLES_USED]
        holes.counts[HOLES_USED] += 1
    holes.rows[new, HOLE_START] = start
    holes.rows[new, HOLE_END] = end
    holes.rows[new, HOLE_NEXT] = following
    return new


@lean
def _since_begin(start, end):
    """Bytes of a hole that count as missing: what lies below the first segment that was captured was sent before the capture."""
    return max(end, 0) - max(start, 0)


@lean
def add_hole(side, holes, start, end):
    """Note a hole; the newest comes first. An acknowledgment-only stream makes one that grows."""
    head = side[HOLES]
    if head >= 0 and holes.rows[head, HOLE_END] == start:
        holes.rows[head, HOLE_END] = end
        return
    if side[HOLE_COUNT] >= MAX_HOLES:
        before = np.int64(-1)
        at = head
        while holes.rows[at, HOLE_NEXT] >= 0:
            before = at
            at = holes.rows[at, HOLE_NEXT]
        side[LOST] += _since_begin(holes.rows[at, HOLE_START], holes.rows[at, HOLE_END])
        holes.rows[before, HOLE_NEXT] = -1
        holes.rows[at, HOLE_NEXT] = holes.counts[FREE_HOLE]
        holes.counts[FREE_HOLE] = at
        side[HOLE_COUNT] -= 1
    side[HOLES] = _new_hole(holes, start, end, head)
    side[HOLE_COUNT] += 1


@lean
def add_lowest_hole(side, holes, start, end):
    """Note a hole below all others; where no more fit, what comes late in it will not count."""
    if side[HOLE_COUNT] >= MAX_HOLES:
        return
    new = _new_hole(holes, start, end, np.int64(-1))
    side[HOLE_COUNT] += 1
    at = side[HOLES]
    if at < 0:
        side[HOLES] = new
        return
    while holes.rows[at, HOLE_NEXT] >= 0:
        at = holes.rows[at, HOLE_NEXT]
    holes.rows[at, HOLE_NEXT] = new


@lean
def fill(side, holes, start, end):
    """Bytes of [start, end) that lie in holes, which are closed by it."""
    filled = np.int64(0)
    before = np.int64(-1)
    at = side[HOLES]
    while at >= 0:
        a, b, following = holes.rows[at, HOLE_START], holes.rows[at, HOLE_END], holes.rows[at, HOLE_NEXT]
        lo, hi = max(a, start), min(b, end)
        if lo < hi:
            filled += hi - lo
            if a == lo and b == hi:
                if before < 0:
                    side[HOLES] = following
                else:
                    holes.rows[before, HOLE_NEXT] = following
                holes.rows[at, HOLE_NEXT] = holes.counts[FREE_HOLE]
                holes.counts[FREE_HOLE] = at
                side[HOLE_COUNT] -= 1
                at = following
                continue
            if a == lo:
                holes.rows[at, HOLE_START] = hi
            elif b == hi:
                holes.rows[at, HOLE_END] = lo
            elif side[HOLE_COUNT] < MAX_HOLES:
                holes.rows[at, HOLE_END] = lo
                new = _new_hole(holes, hi, b, at)  # the upper piece stays in front: newest (highest) first
                if before < 0:
                    side[HOLES] = new
                else:
                    holes.rows[before, HOLE_NEXT] = new
                side[HOLE_COUNT] += 1
            else:
                side[LOST] += _since_begin(hi, b)
                holes.rows[at, HOLE_END] = lo
        before = at
        at = following
    return filled


@inlined
def missing_of(s, d, holes):
    """Bytes of side ``d`` of a session that the peer acknowledged and that were never seen.  holes : int64[m, HOLE_WIDTH]."""
    side = SIDE + d * SIDE_WIDTH
    total = s[side + LOST]
    at = s[side + HOLES]
    while at >= 0:
        total += max(min(holes[at, HOLE_END], s[side + ACKED]) - max(holes[at, HOLE_START], 0), 0)
        at = holes[at, HOLE_NEXT]
    return total


@lean
def missing_bytes(sessions, holes, out):
    """Fill ``out``, int64[n, 2]: :func:`missing_of` each side."""
    for k in range(len(sessions)):
        for d in range(2):
            out[k, d] = missing_of(sessions[k], d, holes.rows)
