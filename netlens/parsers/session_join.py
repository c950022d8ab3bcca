"""Sessions of a span of a capture behind those of what comes before it, as if both had been folded as one.

Theory of operation
-------------------
A span is folded by itself, from nothing. What it makes of a session whose SYN it saw is what it is, if the fold of the whole would have begun a session
there too. Of sessions that it joins mid-way (*going on*) it keeps the packet rows (:mod:`netlens.parsers.session_runs`): those of 5-tuples that the part
before knows are folded once more, on the state there. So what has to be shown is that the two agree on where sessions begin:

1. The first session of a 5-tuple that the part before knows, and one that follows a session going on, must begin by what the state there says: another
   sequence number, or an end that was seen. A SYN that is repeated across the border does not. Later ones follow sessions of the span itself.
2. Folding the rows that were kept must begin no session.
3. Two sessions of one client end point may be halves of a redirected one. Whether a session finds its other half depends on the newest of its client end
   point, which a session of the part before, or one going on, may be.
4. Each run must be one on the state there, too.
5. No flood: while there are too many sessions of one frame, first frames wait, and the two would not agree on which.

Where any of this cannot be shown, the span is read again, behind the part before.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from netlens.arrays import zeros
from netlens.columns import Array
from netlens.parsers.session_lookup import are_halves, client_hash, find_again, find_client, key_again, newest_of_client, opens_anew

# isort: off
from netlens.parsers.session_state import (
    Arrays, BASE, FIRST_FRAME, FRAMES, FSM, HOLES, LAST_FRAME, MATE, MIDSTREAM, RARE, SESSIONS, SIDE, SIDE_WIDTH, S_WIDTH,
)  # fmt: skip

# isort: on
from netlens.parsers.session_runs import RUN, SEGMENTS
from netlens.threads import in_parallel
from netlens.wire import columns as c
from netlens.wire.compiled import lean
from netlens.wire.loads import prefetch

#: What a session of the span is: one of its own; one of the part before that goes on; the next behind one going on.
OWN, GOES_ON, NEXT_ONE = range(3)
LOOK_AHEAD = 16  #: sessions whose slot in the table is asked from memory in advance
IS_GOING_ON, IS_FOLLOWED = np.int8(1), np.int8(2)  #: bits of what the span has of a session of the part before
CLIENTS = 1 << 20  #: places for client end points that are noted; two in one cost a look at the sessions of the other


class Kinds(NamedTuple):
    """By session of the span, int64[n]: its kind; 2 * the session of the part before of its 5-tuple + the side there that sent its first frame, or -1; and
    the hash of its client end point."""

    kind: Array
    before: Array
    client: Array


@lean
def _relate(arrays, theirs, n, seed, row, state, kinds):
    """Fill ``kinds``; False if a session of the span would not have begun.

    state : int8 by session here, zeros; gets IS_GOING_ON and IS_FOLLOWED.  row : int64[WIDTH], room to work in.
    """
    mask = arrays.table.shape[0] - 1
    for k in range(-LOOK_AHEAD, n):
        if k + LOOK_AHEAD < n:
            prefetch(arrays.table, key_again(theirs[k + LOOK_AHEAD], row, seed) & mask)
        if k < 0:
            continue
        s = theirs[k]
        _, _, p, direction = find_again(arrays.sessions, arrays.table, s, row, seed)
        kinds.kind[k] = OWN
        kinds.before[k] = -1
        kinds.client[k] = client_hash(s, seed)
        if p < 0 or state[p] & IS_FOLLOWED:
            continue
        kinds.before[k] = 2 * p + direction
        if state[p] & IS_GOING_ON:
            kinds.kind[k] = NEXT_ONE
            state[p] |= IS_FOLLOWED
        elif s[FSM] & MIDSTREAM:
            kinds.kind[k] = GOES_ON
            state[p] = IS_GOING_ON
        else:
            if not opens_anew(arrays.sessions[p], direction, s[SIDE + BASE]):
                return False
            state[p] = IS_FOLLOWED
    return True


@lean
def prepare(rows, kinds, frames):
    """The kept rows as the fold here takes them, where they lie: a copy would be memory that nobody has touched yet. Those that it is to leave alone
    get a KIND below zero.

    frames : of the part before.
    """
    for i in range(rows.shape[0]):
        row = rows[i]
        row[c.FRAME] += frames
        here = kinds.before[row[c.SESSION]]
        if kinds.kind[row[c.SESSION]] != GOES_ON:
            row[c.KIND] = -row[c.KIND]
        elif row[c.KIND] == RUN:
            row[c.SESSION] = here >> 1
            row[c.DIRECTION] ^= here & 1


@lean
def settle(rows, place):
    """The rows that the fold left alone, as of the sessions here; False if a run could not be added.

    place : int64[n], the session here of each session of the span.
    """
    for i in range(rows.shape[0]):
        row = rows[i]
        if row[c.KIND] < 0:
            row[c.KIND] = -row[c.KIND]
            row[c.SESSION] = place[row[c.SESSION]]
        elif row[c.KIND] == RUN and row[SEGMENTS] < 0:
            return False
    return True


@lean
def follow(sessions, theirs, n, kinds):
    """Do the sessions that follow one going on begin by what the state here says, now that that one's rows have been folded?"""
    for k in range(n):
        at = kinds.before[k]
        if kinds.kind[k] == NEXT_ONE and not opens_anew(sessions[at >> 1], at & 1, theirs[k, SIDE + BASE]):
            return False
    return True


@lean
def _is_half(s):
    """Has only one side of it been seen, and no other session that is the other?"""
    return (s[SIDE + FRAMES] == 0 or s[SIDE + SIDE_WIDTH + FRAMES] == 0) and s[MATE] < 0


@lean
def _note_halves(sessions, n, seed, noted):
    """Mark in ``noted``, bool[power of 2], the client end points of which a session may be the other half of a later one."""
    for k in range(n):
        if _is_half(sessions[k]):
            noted[client_hash(sessions[k], seed) & (noted.shape[0] - 1)] = True


@lean
def _same_halves(arrays, theirs, concerned, seed, kinds, state, rows, first_row, ends, own_ends):
    """Does each session of the span find the other half that it found there? False where that cannot be told.

    concerned : sessions of the span that may find another one, int64[:], rising.  rows : the kept packet rows.  first_row : zeros by session of the
    span, room for the place of its first row, + 1.  ends, own_ends : zeros as a table of client end points, for all of
    ``concerned``, and for those that begin in the span.
    """
    looked_for = False
    for i in range(concerned.shape[0]):
        k = concerned[i]
        s = theirs[k]
        thought = newest_of_client(theirs, k, ends, seed)
        mate = s[MATE]
        if kinds.kind[k] == GOES_ON:
            if mate >= 0:
                return False
            continue
        if mate >= 0 and kinds.kind[mate] == GOES_ON:
            return False
        newest = newest_of_client(theirs, k, own_ends, seed)
        if newest >= 0:
            if newest != thought:
                return False
            continue
        _, j = find_client(arrays.sessions, s, kinds.client[k], arrays.ends)
        if j < 0 or not _is_half(arrays.sessions[j]):
            continue
        if state[j] & IS_GOING_ON:
            return False
        flags, number, acknowledged = np.int64(c.SYN), s[SIDE + BASE], np.int64(0)
        if not looked_for:
            _first_rows(rows, first_row)
            looked_for = True
        if first_row[k] > 0:
            row = rows[first_row[k] - 1]
            flags, number, acknowledged = row[c.FLAGS], row[c.SEQ], row[c.ACK]
        if are_halves(s, arrays.sessions[j], flags, number, acknowledged):
            return False
    return True


@lean
def _first_rows(rows, first_row):
    for i in range(rows.shape[0] - 1, -1, -1):
        first_row[rows[i, c.SESSION]] = i + 1


@lean
def append(sessions, theirs, n, place, holes_before, rare_before, frames):
    """Copy the first ``n`` sessions of a span to their places, those that have one."""
    for k in range(n):
        if place[k] < 0:
            continue
        s = sessions[place[k]]
        for j in range(S_WIDTH):
            s[j] = theirs[k, j]
        s[FIRST_FRAME] += frames
        s[LAST_FRAME] += frames
        if s[MATE] >= 0:
            s[MATE] = place[s[MATE]]
        for at in (SIDE + HOLES, SIDE + SIDE_WIDTH + HOLES):
            if s[at] >= 0:
                s[at] += holes_before
        if s[RARE] > 0:
            s[RARE] += rare_before


class NotKnown(Exception):
    """What the two make together cannot be told from what each has made; the part before has been changed meanwhile."""


def relate(arrays: Arrays, seed: int, theirs: Arrays, rows: Array) -> Kinds | None:
    """What each session of the span is; None if the part before would not have begun the same sessions. Nothing is changed.

    rows : int64[k, WIDTH], the packet rows of sessions that the span joined mid-way.
    """
    n, m = int(arrays.counts[SESSIONS]), int(theirs.counts[SESSIONS])
    kinds, state = Kinds(*(np.zeros(m, np.int64) for _ in Kinds._fields)), np.zeros(n, np.int8)
    noted = np.zeros(CLIENTS, np.bool_)
    related, _ = in_parallel(
        partial(_relate, arrays, theirs.sessions, m, seed, np.zeros(c.WIDTH, np.int64), state, kinds),
        partial(_note_halves, arrays.sessions, n, seed, noted),
    )
    if not related:
        return None
    places = kinds.client & (CLIENTS - 1)
    noted[places[kinds.kind == GOES_ON]] = True
    concerned = np.flatnonzero(noted[places])
    first_row, size = zeros(np.int64, m), 4 << len(concerned).bit_length()
    ends, own_ends = np.zeros(size, np.int64), np.zeros(size, np.int64)
    if not _same_halves(arrays, theirs.sessions, concerned, seed, kinds, state, rows, first_row, ends, own_ends):
        return None
    return kinds
