"""Runs: segments of a session that only count, put together in one row a direction, to be added to a state that is known later.

Who reads a span of a capture does not know the sessions that go on from before it (:mod:`netlens.parsers.session_join`). Most of their segments say what can
be said of any state that stands where they begin: so many frames and bytes, in order, that acknowledge nothing unseen. Those become runs. All others are
kept one by one: the first few of a session, the first with payload and the first without of each direction, those with another flag than ACK, out of order
or with a window of zero, the first that may show a protocol, and where a ClientHello may begin or go on. So a long transfer keeps a handful of rows.

:func:`add_run` adds a run to a session whose state allows it, exactly as the fold would have added its segments, and says so where it does not.
"""

from typing import NamedTuple

import numpy as np

from netlens.arrays import in_order
from netlens.columns import Array

# isort: off
from netlens.parsers import session_history as history
from netlens.parsers.session_state import (
    ACKED, AFTER_FIN, BASE, BASE_KIND, BYTES, FIN_TS, FIRST_PAYLOAD, FRAMES, FSM, HANDSHAKE, HISTORY_SEEN, IFACE, LAST_FRAME, LAST_PAYLOAD,
    LAST_TS, MIDSTREAM, NEXT, NO_BASE, ORIGINATOR_SHIFT, PROTOCOL, PROTOCOL_WITHIN, SIDE, SIDE_WIDTH, SLIGHT, SYNACK_TS, SYN_TS, UNSET, add_rare,
)  # fmt: skip

# isort: on
from netlens.parsers.session_lookup import CONTROL
from netlens.parsers.tcp_states import ACK_BIT, DATA_BIT, TABLE
from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire import tls
from netlens.wire.compiled import inlined, lean

ALONE = 8  #: frames of a session that are kept one by one at first: what was on the way at the border comes out of order
QUIET = 16  #: segments with payload behind one that may begin a ClientHello, or is out of order: within as many a hello ends
#: Segments with new payload of a direction after which nobody looks for a hello any more, but for QUIET behind one: LOOKS of
#: :mod:`netlens.parsers.hello_scan`, and some, as what is new to the span may not be new to the whole
LOOKED_AT = 40

RUN = 256  #: KIND of a row that is a run. A row a direction that has segments in it; other columns mean what they mean in packet rows, but for these:
ACKS = c.WINDOW  #: segments without payload
SEGMENTS = c.ORDINAL  #: segments with payload; -1: could not be added
GAINED = c.TSVAL  #: what the acknowledgment number gained, from ACK on
GAINED_BEFORE = c.OPTIONS  #: the same up to the first segment of the other direction; -1: that comes first
LAST_DATA = c.PORTS  #: time of the last segment with payload
SHOWS = c.FLAGS  #: SHOWS_PROTOCOL, SHOWS_HELLO
SECOND = c.IFACE  #: whether it is the second row of the run
SHOWS_PROTOCOL, SHOWS_HELLO = 1, 2

# a run in the making, int64[n, WIDTH]: two blocks of a direction each, and what concerns both
_ACKS, _SEGMENTS, _BYTES, _SEQ, _ACK, _GAINED, _BEFORE, _LAST_DATA, _SHOWS, _OFFSET, _NUMBER, _QUIET, _SEEN, _ANSWERED = range(14)
_DIRECTION_WIDTH = 14
_FRAME, _TS, _KNOWN, _FRAMES, _SESSION = range(2 * _DIRECTION_WIDTH, 2 * _DIRECTION_WIDTH + 5)
_WIDTH = 2 * _DIRECTION_WIDTH + 5


class Kept(NamedTuple):
    """What is kept of sessions that a span joins mid-way.

    rows : int64[cap, WIDTH], packet rows and runs in order.  making : int64[cap, _WIDTH], a run in the making of each such session.
    used : int64[2], how many of both.  place : int32[sessions], the row of ``making`` of a session + 1, or 0.
    """

    rows: Array
    making: Array
    used: Array
    place: Array

    def finished(self) -> Array:
        """int64[n, WIDTH]: all that was kept, when no more comes: runs in the making end."""
        _end_all(self)
        self.used[1] = 0
        return self.rows[: int(self.used[0])]

    @classmethod
    def room(cls, rows: int, sessions: int) -> "Kept":
        made = in_order(np.int64, rows, c.WIDTH), in_order(np.int64, sessions, _WIDTH)
        return cls(*made, np.zeros(2, np.int64), np.zeros(1024, np.int32))


@inlined
def _ahead(number, of):
    """How far a 32-bit number lies ahead of another one, signed."""
    return np.int64(np.int32((number - of) & 0xFFFFFFFF))


@inlined
def _shows(row):
    """May a segment show the protocol of its session?"""
    return 0 < row[c.HINT] & h.CLASS_MASK <= h.CONNECT


@lean
def _end(making, rows, n):
    """Write a run, if there is one, as the row ``n`` and perhaps the one behind it; returns the next free row."""
    first = n
    for d in range(2):
        own = making[d * _DIRECTION_WIDTH : (d + 1) * _DIRECTION_WIDTH]
        if own[_ACKS] + own[_SEGMENTS] == 0:
            continue
        row = rows[n]
        for j in range(c.WIDTH):
            row[j] = 0
        row[c.KIND], row[SECOND] = RUN, n - first
        row[c.SESSION], row[c.DIRECTION] = making[_SESSION], d
        row[c.FRAME], row[c.TS] = making[_FRAME], making[_TS]
        row[c.SEQ], row[c.ACK], row[c.OFFSET] = own[_SEQ], own[_ACK], own[_OFFSET]
        row[c.LENGTH] = row[c.FRESH] = own[_BYTES]
        row[ACKS], row[SEGMENTS], row[SHOWS], row[LAST_DATA] = own[_ACKS], own[_SEGMENTS], own[_SHOWS], own[_LAST_DATA]
        row[GAINED], row[GAINED_BEFORE] = own[_GAINED], own[_BEFORE]
        own[_ACKS] = own[_SEGMENTS] = own[_BYTES] = own[_SHOWS] = own[_GAINED] = own[_BEFORE] = 0
        n += 1
    return n


@inlined
def _only_counts(making, own, peer, row, hello):
    """Can a segment be part of a run?"""
    length, number = row[c.LENGTH], own[_NUMBER]
    if making[_FRAMES] <= ALONE or row[c.FLAGS] & CONTROL != c.ACK_FLAG or row[c.WINDOW] == 0 or number < 0 or row[c.SEQ] != number:
        return False
    if peer[_NUMBER] < 0 or _ahead(row[c.ACK], peer[_NUMBER]) > 0:
        return False
    if length == 0:
        return own[_ANSWERED] != 0
    if own[_SEEN] == 0 or (own[_SEEN] < LOOKED_AT and (own[_QUIET] > 0 or hello)):
        return False
    return not _shows(row) or making[_KNOWN] != 0


@inlined
def _count(making, own, peer, row, hello):
    """A segment as part of a run."""
    length, ack = row[c.LENGTH], row[c.ACK]
    if own[_ACKS] + own[_SEGMENTS] == 0:
        own[_SEQ], own[_ACK], own[_OFFSET] = row[c.SEQ], ack, row[c.OFFSET]
        own[_BEFORE] = 0 if peer[_ACKS] + peer[_SEGMENTS] == 0 else -1
    gain = _ahead(ack, (own[_ACK] + own[_GAINED]) & 0xFFFFFFFF)
    if gain > 0:
        own[_GAINED] += gain
    if peer[_ACKS] + peer[_SEGMENTS] == 0:
        own[_BEFORE] = own[_GAINED]
    if length == 0:
        own[_ACKS] += 1
    else:
        own[_SEGMENTS] += 1
        own[_BYTES] += length
        own[_LAST_DATA] = row[c.TS]
        own[_SHOWS] |= (SHOWS_PROTOCOL if _shows(row) else 0) | (SHOWS_HELLO if hello else 0)
    making[_TS] = row[c.TS] if making[_FRAME] < 0 else max(making[_TS], row[c.TS])
    making[_FRAME] = row[c.FRAME]


@inlined
def _follow(own, peer, row, hello):
    """What is known of the numbers of both sides behind a segment."""
    length, flags = row[c.LENGTH], row[c.FLAGS]
    end = (row[c.SEQ] + length + (flags & c.SYN != 0) + (flags & c.FIN != 0)) & 0xFFFFFFFF
    if length == 0 and flags & CONTROL == c.ACK_FLAG:
        own[_ANSWERED] = 1
    if length > 0:
        own[_SEEN] = min(own[_SEEN], LOOKED_AT - QUIET) if hello else own[_SEEN] + (row[c.FRESH] > 0)
        own[_QUIET] = QUIET if hello or row[c.SEQ] != own[_NUMBER] else max(own[_QUIET] - 1, 0)
    if own[_NUMBER] < 0 or _ahead(end, own[_NUMBER]) > 0:
        own[_NUMBER] = end
    if flags & c.ACK_FLAG and (peer[_NUMBER] < 0 or _ahead(row[c.ACK], peer[_NUMBER]) > 0):
        peer[_NUMBER] = row[c.ACK]


@lean
def keep(buf, packets, sessions, offset, kept):
    """Keep the packet rows of sessions that were joined mid-way, and put those that only count into runs; False: there is no more room.

    In what is kept, the payload's place is that in the file (``offset`` : of the buffer's first byte in it, or UNSET). In ``packets``, these rows bring no
    payload any more.
    """
    rows, making, place, used = kept.rows, kept.making, kept.place, kept.used
    n, m = used[0], used[1]
    for i in range(packets.shape[0]):
        row = packets[i]
        session = row[c.SESSION]
        if row[c.KIND] != c.TCP or session < 0 or sessions[session, FSM] & MIDSTREAM == 0:
            continue
        if n + 5 + 2 * m >= rows.shape[0] or m == making.shape[0]:
            return False
        if place[session] == 0:
            for j in range(_WIDTH):
                making[m, j] = 0
            making[m, _NUMBER] = making[m, _DIRECTION_WIDTH + _NUMBER] = making[m, _FRAME] = -1
            making[m, _SESSION] = session
            m += 1
            place[session] = m
        mine = making[place[session] - 1]
        d = row[c.DIRECTION] & 1
        own = mine[d * _DIRECTION_WIDTH : (d + 1) * _DIRECTION_WIDTH]
        peer = mine[(1 - d) * _DIRECTION_WIDTH : (2 - d) * _DIRECTION_WIDTH]
        hello = False
        if row[c.LENGTH] > 0 and not row[c.HINT] & h.NO_HELLO:
            hello = row[c.PAY_CAP] > 0 and tls.look(buf, row[c.PAY_OFF], row[c.PAY_CAP]) != tls.NOT_HELLO
        mine[_FRAMES] += 1
        if _only_counts(mine, own, peer, row, hello):
            _count(mine, own, peer, row, hello)
        else:
            n = _end(mine, rows, n)
            mine[_FRAME] = -1
            for j in range(c.WIDTH):
                rows[n, j] = row[j]
            rows[n, c.PAY_OFF] = row[c.PAY_OFF] + offset if offset != UNSET else UNSET
            if row[c.PAY_CAP] > 0 and not hello:
                rows[n, c.HINT] |= h.NO_HELLO
            n += 1
            if _shows(row) and row[c.HINT] & h.CLASS_MASK != h.CONNECT:
                mine[_KNOWN] = 1
        _follow(own, peer, row, hello)
        row[c.FRESH] = 0
    used[0], used[1] = n, m
    return True


@lean
def _end_all(kept):
    """Write all runs in the making."""
    for k in range(kept.used[1]):
        kept.used[0] = _end(kept.making[k], kept.rows, kept.used[0])


@inlined
def _can_add(s, row, d, known):
    """Does a run of direction ``d`` do no more to a session than count?"""
    at, its = SIDE + d * SIDE_WIDTH, SIDE + (1 - d) * SIDE_WIDTH
    fsm = s[FSM]
    is_orig = 1 if (fsm >> ORIGINATOR_SHIFT) & 1 == d else 0
    if fsm & SLIGHT or s[at + IFACE] < 0 or s[at + BASE_KIND] == NO_BASE or s[its + BASE_KIND] == NO_BASE:
        return False
    if is_orig and s[HANDSHAKE] == UNSET and s[SYNACK_TS] != UNSET and s[SYN_TS] != UNSET:
        return False
    if (row[c.SEQ] - s[at + BASE] - 1 - s[at + NEXT]) & 0xFFFFFFFF != 0:
        return False
    if row[GAINED_BEFORE] >= 0 and _ahead(row[c.ACK] + row[GAINED_BEFORE], s[its + BASE] + 1 + s[its + NEXT]) > 0:
        return False
    own_state, its_state = (fsm >> (4 * d)) & 15, (fsm >> (4 * (1 - d))) & 15
    states, stays = ((is_orig * 8 + own_state) * 8 + its_state) * 32, own_state | its_state << 4
    seen = s[HISTORY_SEEN]
    if row[ACKS] and (TABLE[states + ACK_BIT] != stays or not seen & np.int64(1) << (history.ACK + 1 - is_orig)):
        return False
    if not row[SEGMENTS]:
        return True
    if row[SHOWS] & SHOWS_PROTOCOL and not known and s[at + BYTES] < PROTOCOL_WITHIN:
        return False
    if s[at + FIN_TS] != UNSET or s[at + FIRST_PAYLOAD] == UNSET:
        return False
    return TABLE[states + (ACK_BIT | DATA_BIT)] == stays and seen & np.int64(1) << (history.DATA + 1 - is_orig) != 0


@lean
def add_run(sessions, rows, i, sparse):
    """Add the run that begins with the row ``i`` to its session. Where it cannot be added, nothing changes, and SEGMENTS is -1."""
    s = sessions[rows[i, c.SESSION]]
    n = 2 if i + 1 < rows.shape[0] and rows[i + 1, c.KIND] == RUN and rows[i + 1, SECOND] else 1
    known = s[PROTOCOL] != 0 and s[PROTOCOL] != h.CONNECT
    for k in range(n):
        if not _can_add(s, rows[i + k], rows[i + k, c.DIRECTION], known):
            rows[i, SEGMENTS] = rows[i + n - 1, SEGMENTS] = -1
            return
    first_next, second_next = s[SIDE + NEXT], s[SIDE + SIDE_WIDTH + NEXT]
    for k in range(n):
        row = rows[i + k]
        d = row[c.DIRECTION]
        at, its = SIDE + d * SIDE_WIDTH, SIDE + (1 - d) * SIDE_WIDTH
        row[c.OFFSET] = s[at + NEXT]
        its_next = second_next if d == 0 else first_next
        acked = its_next + _ahead(row[c.ACK], s[its + BASE] + 1 + its_next) + row[GAINED]
        s[its + ACKED] = max(acked, s[its + ACKED])
        s[at + FRAMES] += row[ACKS] + row[SEGMENTS]
        if row[SEGMENTS]:
            s[at + NEXT] += row[c.LENGTH]
            s[at + BYTES] += row[c.LENGTH]
            s[at + LAST_PAYLOAD] = row[LAST_DATA]
            if s[its + FIN_TS] != UNSET:
                add_rare(s, d, AFTER_FIN, row[c.LENGTH], sparse)
        s[LAST_FRAME] = row[c.FRAME]
        s[LAST_TS] = max(row[c.TS], s[LAST_TS])
