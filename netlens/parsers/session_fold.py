"""One TCP segment after the other into the state of its session: payload, acknowledgment, handshake, history, states.

See *Theory of operation* in :mod:`netlens.parsers.sessions`. The stages of a segment are functions, in the order in which they run; the compiler makes one
loop of them.
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers import session_history as history
from netlens.parsers.session_holes import HOLES_A_SEGMENT, add_hole, add_lowest_hole, fill, since_of
from netlens.parsers.session_lookup import CONTROL, begin, find, key_hash, opens_anew, prefetch_client, wait
from netlens.parsers.session_runs import RUN, SECOND, add_run

# isort: off
from netlens.parsers.session_state import (
    ACKED, AFTER_FIN, BASE, BASE_ACKED, BASE_FIRST, BASE_KIND, BASE_SYN, BYTES, CLOSED_TS, COPIES, FIN_END, FIN_TS, FIRST_PAYLOAD, FRAMES,
    FSM, HANDSHAKE, HISTORY_SEEN, HOLES, HOLES_USED, HOLE_END, IFACE, KEEPALIVES, LAST_FRAME, LAST_PAYLOAD, LAST_TS, LOWEST, MAX_SLIGHT, NEXT,
    NO_BASE, ORIGINATOR_SHIFT, OUT_OF_ORDER, PROTOCOL, PROTOCOL_WITHIN, RARE_USED, RETRANSMITS, RST_TS, SAW_FIN, SAW_RST, SAW_SYN, SAW_SYNACK, SEEN_SHIFT,
    SESSIONS, SIDE, SIDE_WIDTH, SLIGHT, SLIGHT_SESSIONS, STEADY_ACK, STEADY_DATA, STEADY_MASK, STEADY_SHIFT, SYNACK_TS, SYN_TS, UNSET, WENT_BACK,
    ZERO_WINDOWS, add_rare,
)  # fmt: skip

# isort: on
from netlens.parsers.tcp_states import ACK_BIT, DATA_BIT, FIN_BIT, RST_BIT, SYN_BIT, TABLE
from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire.compiled import inlined, lean
from netlens.wire.link import AIR_RETRY, ON_AIR
from netlens.wire.loads import prefetch

LOOK_AHEAD = 6  #: rows whose session is asked from memory in advance; their slots in the table twice as many
#: the largest window there is (RFC 7323 2.3): what lies further off is no hole and no repetition, but damage or a pause of the capture
MAX_JUMP = 1 << 30
#: Of the handshake's round trip. What was lost comes a round trip after its hole was seen at the earliest, and round trips vary. Measured: losses from 0.88 on,
#: delays that only reorder up to 0.77. With 1, which was the rule, a handshake that took a little longer than the rest makes losses reordering
REORDER_NUMERATOR, REORDER_DENOMINATOR = 3, 4
REORDER_NS = 3_000_000  #: without a handshake to measure; Wireshark uses the same 3 ms


class Segment(NamedTuple):
    """A segment in hand: its packet row, its session, and of that the sender's and the receiver's side. Numbers that are not 0 say yes."""

    row: Array
    session: Array
    side: Array
    peer: Array
    direction: int
    is_orig: int  # the originator sent it
    syn: int
    ack: int
    fin: int
    rst: int


@lean
def _power_of_ten(n):
    return n == 1 or n == 10 or n == 100 or n == 1000 or n == 10000 or n == 100000 or n == 1000000


@lean
def _protocol(known, seen):
    """The protocol of a session of which ``known`` was thought, when a payload shows ``seen`` (classes of ``wire.hints``).

    What is inside a CONNECT tunnel is the session's protocol; SOCKS and PROXY headers only come before it.
    """
    if known == 0:
        return seen if seen <= h.CONNECT else known
    if known == h.CONNECT and (seen <= h.HTTP_REQUEST or seen == h.HTTP2_PREFACE) and seen != 0:
        return seen
    return known


@lean
def _known(s):
    """The protocol as packet rows have it: 0 while CONNECT is negotiated, so that what is inside is looked for."""
    return s[PROTOCOL] if s[PROTOCOL] != h.CONNECT else np.int64(0)


@lean
def _steady(s, fsm):
    """``fsm`` with its STEADY bits and protocol as they are now.

    A side is steady if a segment with ACK and no other control flag, in order and acknowledging nothing unseen, changes no more than counts and
    numbers: both begins are known, nothing closes, handshake times stand, its history letter is there and its state stays.
    """
    fsm = (fsm & ~np.int64(STEADY_MASK)) | _known(s) << h.PROTOCOL_SHIFT
    for d in range(2):
        side = s[SIDE + d * SIDE_WIDTH : SIDE + (d + 1) * SIDE_WIDTH]
        if side[BASE_KIND] == NO_BASE or side[FIN_TS] != UNSET:
            return fsm
    if s[RST_TS] != UNSET:
        return fsm
    for d in range(2):
        is_orig = 1 if (fsm >> ORIGINATOR_SHIFT) & 1 == d else 0
        by_resp = 1 - is_orig
        if is_orig and s[HANDSHAKE] == UNSET and s[SYNACK_TS] != UNSET and s[SYN_TS] != UNSET:
            continue
        own, its = (fsm >> (4 * d)) & 15, (fsm >> (4 * (1 - d))) & 15
        at = ((is_orig * 8 + own) * 8 + its) * 32
        bits = np.int64(0)
        if TABLE[at + ACK_BIT] == own | its << 4 and s[HISTORY_SEEN] & np.int64(1) << (history.ACK + by_resp):
            bits |= STEADY_ACK
        if (
            TABLE[at + (ACK_BIT | DATA_BIT)] == own | its << 4
            and s[HISTORY_SEEN] & np.int64(1) << (history.DATA + by_resp)
            and s[SIDE + d * SIDE_WIDTH + FIRST_PAYLOAD] != UNSET
        ):
            bits |= STEADY_DATA
        fsm |= bits << (STEADY_SHIFT + 2 * d)
    return fsm


@inlined
def _short_way(s, row, session, direction):
    """Fold a segment with ACK and no other control flag where nothing but counts and numbers can change, see :func:`_steady`; False: it takes the long way."""
    fsm = s[FSM]
    length = row[c.LENGTH]
    if not fsm >> (STEADY_SHIFT + 2 * direction) & (STEADY_DATA if length > 0 else STEADY_ACK) or row[c.WINDOW] == 0:
        return False
    # numbers in place of views of the sides: a slice costs more than the rest
    side_at, peer_at = SIDE + (direction & 1) * SIDE_WIDTH, SIDE + (~direction & 1) * SIDE_WIDTH
    first, its_next, seen = s[side_at + NEXT], s[peer_at + NEXT], s[side_at + BYTES]
    unseen = np.int64(np.int32((row[c.ACK] - s[peer_at + BASE] - 1 - its_next) & 0xFFFFFFFF))
    hint = row[c.HINT]
    if (
        (row[c.SEQ] - s[side_at + BASE] - 1 - first) & 0xFFFFFFFF != 0
        or unseen > 0
        or not (length == 0 or hint & h.CLASS_MASK == 0 or fsm & h.PROTOCOL_MASK or seen >= PROTOCOL_WITHIN)
    ):
        return False
    ts = row[c.TS]
    frames = s[side_at + FRAMES] + 1
    s[LAST_FRAME] = row[c.FRAME]
    s[LAST_TS] = max(ts, s[LAST_TS])
    s[side_at + FRAMES] = frames
    s[side_at + NEXT] = first + length
    s[side_at + BYTES] = seen + length
    s[side_at + LAST_PAYLOAD] = ts if length > 0 else s[side_at + LAST_PAYLOAD]
    s[peer_at + ACKED] = max(unseen + its_next, s[peer_at + ACKED])
    row[c.SESSION] = session
    row[c.DIRECTION] = direction
    row[c.OFFSET] = first
    row[c.FRESH] = length
    row[c.HINT] = (hint & ~np.int64(h.PROTOCOL_MASK)) | (fsm & h.PROTOCOL_MASK)
    row[c.ORDINAL] = frames + s[peer_at + FRAMES]
    return True


@inlined
def _segment(s, row, session, direction):
    """The segment of a row, which is told its session."""
    row[c.SESSION] = session
    row[c.DIRECTION] = direction
    flags = row[c.FLAGS]
    other = 1 - direction
    return Segment(
        row,
        s,
        s[SIDE + direction * SIDE_WIDTH : SIDE + (direction + 1) * SIDE_WIDTH],
        s[SIDE + other * SIDE_WIDTH : SIDE + (other + 1) * SIDE_WIDTH],
        direction,
        np.int64((s[FSM] >> ORIGINATOR_SHIFT) & 1 == direction),
        flags & c.SYN,
        flags & c.ACK_FLAG,
        flags & c.FIN,
        flags & c.RST,
    )


@inlined
def _count_frame(g, counts):
    """The segment as a frame of its session and of its side."""
    s, side, row = g.session, g.side, g.row
    if s[FSM] & SLIGHT and side[FRAMES] + g.peer[FRAMES] > 0 and (not g.syn or g.ack or g.fin or g.rst or g.direction != 0):
        s[FSM] &= ~np.int64(SLIGHT)
        counts[SLIGHT_SESSIONS] -= 1
    s[LAST_FRAME] = row[c.FRAME]
    if row[c.TS] > s[LAST_TS]:
        s[LAST_TS] = row[c.TS]
    side[FRAMES] += 1
    if side[IFACE] < 0:
        iface = row[c.IFACE]
        side[IFACE] = iface & ~np.int64(AIR_RETRY) if iface & ON_AIR else iface  # what is sent once more on the air is a copy then


@inlined
def _find_bases(g):
    """The begin of the two number spaces, where it is not known yet."""
    side, peer, seq = g.side, g.peer, g.row[c.SEQ]
    if side[BASE_KIND] == NO_BASE or (side[BASE_KIND] == BASE_ACKED and g.syn):
        side[BASE] = seq if g.syn else (seq - 1) & 0xFFFFFFFF
        side[BASE_KIND] = BASE_SYN if g.syn else BASE_FIRST
    elif g.syn and side[BASE_KIND] == BASE_FIRST:
        side[BASE_KIND] = BASE_SYN  # same number: a SYN that came late
    if g.ack and peer[BASE_KIND] == NO_BASE:
        peer[BASE] = (g.row[c.ACK] - 1) & 0xFFFFFFFF
        peer[BASE_KIND] = BASE_ACKED


@inlined
def _is_probe(g, sparse, first):
    """Is it a keep-alive probe: nothing or one byte, just below the next number?"""
    side, length = g.side, g.row[c.LENGTH]
    return (
        not g.syn
        and not g.fin
        and length <= 1
        and first == side[NEXT] - 1
        and (side[FRAMES] > 1 or side[BASE_KIND] == BASE_ACKED)
        and (length == 1 or g.ack)
        # not if that byte was only acknowledged so far
        and not (length == 1 and first >= 0 and side[HOLES] >= 0 and sparse.holes[side[HOLES], HOLE_END] == side[NEXT])
    )


@inlined
def _begins_unseen(g):
    """Is it not known where the streams of the session begin?"""
    return not g.session[FSM] & (SAW_SYN | SAW_SYNACK) << SEEN_SHIFT


@inlined
def _below(g, sparse, first, end):
    """Bytes of a side that was joined mid-way which lie below the lowest seen so far: the stream begins with them."""
    side, fsm = g.side, g.session[FSM]
    if first >= side[LOWEST] or g.row[c.LENGTH] <= 0 or side[BASE_KIND] == BASE_SYN or fsm & WENT_BACK or side[NEXT] - first >= MAX_JUMP:
        return np.int64(0)
    if side[BASE_KIND] != BASE_FIRST and not _begins_unseen(g):
        return np.int64(0)  # the stream begins where it was acknowledged
    below = min(end, side[LOWEST]) - first
    if end < side[LOWEST]:
        add_lowest_hole(g.session, g.direction, sparse, end, side[LOWEST])
    side[LOWEST] = first
    return below


@inlined
def _join(g, sparse, first):
    """The first segment of a side that was only acknowledged so far: what lies below was sent before the capture."""
    side = g.side
    if side[FRAMES] == 1 and side[BASE_KIND] == BASE_ACKED and side[NEXT] < first < side[NEXT] + MAX_JUMP and _begins_unseen(g):
        add_hole(g.session, g.direction, sparse, side[NEXT], first, np.int64(UNSET))
        side[NEXT] = first


@inlined
def _advance(g, sparse, first, end, finish, below):
    """A segment that ends above all seen of its side: (fresh bytes, whether it repeats some)."""
    side, length = g.side, g.row[c.LENGTH]
    repeats = False
    if first > side[NEXT]:
        if first - side[NEXT] < MAX_JUMP:
            if g.session[FSM] & WENT_BACK:
                fill(g.session, g.direction, sparse, side[NEXT], first)  # one hole in place of those that lie there
            add_hole(g.session, g.direction, sparse, side[NEXT], first, g.row[c.TS])
        # else follow it: the capture paused, or the segment is damaged and the next one jumps back
        fresh = length
    else:
        fresh = max(end - side[NEXT], 0)
        if first < side[NEXT] and length > 0:
            repeats = below == 0
        fresh += below
    if first < side[NEXT] and length > 0 and side[HOLES] >= 0:
        filled = fill(g.session, g.direction, sparse, first, side[NEXT])
        if filled > 0:
            repeats = False
            fresh += filled
    side[NEXT] = finish
    return fresh, repeats


@inlined
def _fill_late(g, sparse, first, end, below):
    """A segment that ends below what was seen of its side: (fresh bytes, whether it only repeats)."""
    side, s = g.side, g.session
    fresh = below
    since = since_of(s, g.direction, sparse, first, end)
    if side[HOLES] >= 0:
        fresh += fill(s, g.direction, sparse, first, end)
    if fresh <= 0:
        return np.int64(0), True
    sooner = s[HANDSHAKE] * REORDER_NUMERATOR // REORDER_DENOMINATOR if s[HANDSHAKE] != UNSET else np.int64(REORDER_NS)
    if g.row[c.TS] - since <= max(sooner, 0):
        add_rare(s, g.direction, OUT_OF_ORDER, 1, sparse)
    else:
        add_rare(s, g.direction, RETRANSMITS, 1, sparse)
    return fresh, False


@inlined
def _stream(g, sparse, first):
    """What a segment that is no probe and no RST adds to its stream; counts what it repeats. Returns the fresh bytes."""
    s, side, length = g.session, g.side, g.row[c.LENGTH]
    end = first + length
    finish = end + 1 if g.fin else end
    fresh = np.int64(0)
    repeats = False
    below = _below(g, sparse, first, end)
    if finish > side[NEXT] and (length > 0 or g.fin):
        fresh, repeats = _advance(g, sparse, first, end, finish, below)
    elif side[NEXT] - first >= MAX_JUMP and length > 0:
        fresh = length
        side[NEXT] = finish
        s[FSM] |= WENT_BACK
    elif length > 0:
        fresh, repeats = _fill_late(g, sparse, first, end, below)
    if g.fin:
        if side[FIN_TS] == UNSET:
            side[FIN_TS] = g.row[c.TS]
            side[FIN_END] = finish
            if side[HOLES] >= 0:
                fill(s, g.direction, sparse, end, finish)  # its own number, if the acknowledgment of the FIN was captured before it
        elif length == 0 and finish <= side[FIN_END]:
            repeats = True
    if g.syn:
        letter = (history.SYNACK if g.ack else history.SYN) + 1 - g.is_orig
        if s[HISTORY_SEEN] & np.int64(1) << letter:
            repeats = True
    if repeats:
        if g.row[c.IFACE] != side[IFACE]:
            add_rare(s, g.direction, COPIES, 1, sparse)
        else:
            retransmits = add_rare(s, g.direction, RETRANSMITS, 1, sparse)
            if length > 0 and _power_of_ten(retransmits):
                history.add(s, history.RETRANSMIT + 1 - g.is_orig, sparse)
    return fresh


@inlined
def _payload(g, sparse):
    """Where the segment lies in its stream, and what of it was not seen before."""
    s, side, row = g.session, g.side, g.row
    length = row[c.LENGTH]
    # stream offset: 32-bit difference to the next expected number, signed
    first = np.int64(np.int32((row[c.SEQ] - side[BASE] - 1 - side[NEXT]) & 0xFFFFFFFF)) + side[NEXT]
    if g.syn:
        first += 1
    fresh = np.int64(0)
    if g.rst:
        pass  # RFC 9293 3.5.3: what an RST carries is diagnostics, not stream
    elif _is_probe(g, sparse, first):
        if row[c.IFACE] != side[IFACE]:
            add_rare(s, g.direction, COPIES, 1, sparse)  # of a probe or of a segment of one byte
        else:
            add_rare(s, g.direction, KEEPALIVES, 1, sparse)
    else:
        _join(g, sparse, first)
        fresh = _stream(g, sparse, first)
        if length > 0:
            if side[FIRST_PAYLOAD] == UNSET:
                side[FIRST_PAYLOAD] = row[c.TS]
            if side[BYTES] < PROTOCOL_WITHIN:
                s[PROTOCOL] = _protocol(s[PROTOCOL], row[c.HINT] & h.CLASS_MASK)
            if fresh > 0:
                side[BYTES] += fresh
                side[LAST_PAYLOAD] = row[c.TS]
                if g.peer[FIN_TS] != UNSET:
                    add_rare(s, g.direction, AFTER_FIN, fresh, sparse)
    row[c.OFFSET] = first
    row[c.FRESH] = fresh
    row[c.HINT] = (row[c.HINT] & ~np.int64(h.PROTOCOL_MASK)) | _known(s) << h.PROTOCOL_SHIFT
    row[c.ORDINAL] = side[FRAMES] + g.peer[FRAMES]


@inlined
def _acknowledgment(g, sparse):
    """What the peer is known to have sent."""
    s, peer = g.session, g.peer
    acked = np.int64(np.int32((g.row[c.ACK] - peer[BASE] - 1 - peer[NEXT]) & 0xFFFFFFFF)) + peer[NEXT]
    if acked <= peer[ACKED] or acked - peer[NEXT] >= MAX_JUMP:
        return
    # The answer of an earlier connection's other end to a SYN (RFC 9293 3.5.1: <ACK> of half-open state) proves nothing
    stale = peer[NEXT] == 0 and peer[BASE_KIND] == BASE_SYN and not g.syn and not s[FSM] & SAW_SYNACK << SEEN_SHIFT
    if stale and acked > 0:
        return
    # A FIN of the peer that was not captured is acknowledged with one number that is no payload: not told apart here
    if acked > peer[NEXT]:
        if not g.syn:
            if s[FSM] & WENT_BACK:
                fill(s, 1 - g.direction, sparse, peer[NEXT], acked)
            # of a peer that has not been seen: perhaps what was on its way when the capture began
            since = g.row[c.TS] if peer[FRAMES] > 0 or not _begins_unseen(g) else np.int64(UNSET)
            add_hole(s, 1 - g.direction, sparse, peer[NEXT], acked, since)
            if peer[FRAMES] > 0:  # a side that is not captured at all is no gap
                history.add_once(s, history.GAP + g.is_orig, sparse)
        peer[NEXT] = acked
    peer[ACKED] = acked


@inlined
def _handshake(g):
    """Times of the handshake."""
    s, ts = g.session, g.row[c.TS]
    if g.syn:
        if not g.ack:
            if g.is_orig and s[SYNACK_TS] == UNSET:
                s[SYN_TS] = ts
        elif s[SYNACK_TS] == UNSET:
            s[SYNACK_TS] = ts
    elif g.ack and g.is_orig and s[HANDSHAKE] == UNSET and s[SYNACK_TS] != UNSET and s[SYN_TS] != UNSET and not g.rst:
        s[HANDSHAKE] = ts - s[SYN_TS]


@inlined
def _history(g, sparse):
    """Letters of the history, but for those of retransmissions and gaps."""
    s, by_resp = g.session, 1 - g.is_orig
    if g.row[c.WINDOW] == 0 and not g.syn and not g.fin and not g.rst:
        if _power_of_ten(add_rare(s, g.direction, ZERO_WINDOWS, 1, sparse)):
            history.add(s, history.ZERO_WINDOW + by_resp, sparse)
    if g.fin and g.rst:
        what = history.INCONSISTENT
    elif g.syn and (g.fin or g.rst):
        what = history.MULTI_FLAG
    elif g.syn:
        what = history.SYNACK if g.ack else history.SYN
    elif g.fin:
        what = history.FIN
    elif g.rst:
        what = history.RST
    elif g.row[c.LENGTH] > 0:
        what = history.DATA
    elif g.ack:
        what = history.ACK
    else:
        return
    history.add_once(s, what + by_resp, sparse)


@inlined
def _states(g):
    """End states, what was seen of opening and closing, and when it closed."""
    s, ts, other = g.session, g.row[c.TS], 1 - g.direction
    fsm = s[FSM]
    own = (fsm >> (4 * g.direction)) & 15
    its = (fsm >> (4 * other)) & 15
    event = (
        (SYN_BIT if g.syn else 0)
        | (ACK_BIT if g.ack else 0)
        | (FIN_BIT if g.fin else 0)
        | (RST_BIT if g.rst else 0)
        | (DATA_BIT if g.row[c.LENGTH] > 0 else 0)
    )
    new = TABLE[((g.is_orig * 8 + own) * 8 + its) * 32 + event]
    fsm = (fsm & ~np.int64(255)) | (new & 15) << (4 * g.direction) | (new >> 4) << (4 * other)
    if g.syn and g.ack:
        fsm |= np.int64(SAW_SYNACK) << SEEN_SHIFT
    elif g.syn:  # as Wireshark: the other side's SYN begins a count of its own
        fsm = (fsm & ~(np.int64(SAW_FIN | SAW_RST) << SEEN_SHIFT)) | np.int64(SAW_SYN) << SEEN_SHIFT
    if g.fin and g.ack:  # as Wireshark: a FIN without ACK (RFC 9293 3.10.7.4 drops it) does not make room for the next session
        fsm |= np.int64(SAW_FIN) << SEEN_SHIFT
    if g.rst:
        fsm |= np.int64(SAW_RST) << SEEN_SHIFT
        if s[RST_TS] == UNSET:
            s[RST_TS] = ts
            if s[CLOSED_TS] == UNSET:
                s[CLOSED_TS] = ts
    elif g.fin and s[CLOSED_TS] == UNSET and g.peer[FIN_TS] != UNSET:
        s[CLOSED_TS] = ts
    s[FSM] = _steady(s, fsm)


@lean
def fold(packets, start, arrays, seed):
    """Fold the TCP rows of ``packets`` from ``start`` on into the state; writes SESSION, DIRECTION, OFFSET, FRESH and ORDINAL, and the protocol of HINT.

    Returns
    -------
    (next row, place): the next row is below their number if a matrix or the table must grow first, or, where ``place`` is not -1, if the row that
    waits there must be folded first. Runs (:mod:`netlens.parsers.session_runs`) are added to the session that they name.
    """
    sessions, sparse, counts, table, keys = arrays.sessions, arrays.sparse, arrays.counts, arrays.table, arrays.keys
    n = packets.shape[0]
    mask = table.shape[0] - 1
    most = min(sessions.shape[0], table.shape[0] // 2)
    # The state is larger than a core's cache. All hashes first, then slots and sessions of later rows are asked for while one is folded.
    for i in range(start, n):
        keys[i] = key_hash(packets[i], seed)
        if packets[i, c.FLAGS] & (c.SYN | c.ACK_FLAG) == c.SYN:
            prefetch_client(packets[i], arrays.ends, seed)
    for i in range(n, n + 2 * LOOK_AHEAD):
        keys[i] = 0
    for i in range(start, n):
        prefetch(table, keys[i + 2 * LOOK_AHEAD] & mask)
        ahead = (table[keys[i + LOOK_AHEAD] & mask] & 0xFFFFFFFF) - 1
        if ahead >= 0:
            prefetch(sessions[ahead], FSM)
            prefetch(sessions[ahead], SIDE + FRAMES)
            prefetch(sessions[ahead], SIDE + SIDE_WIDTH + FRAMES)
        row = packets[i]
        if row[c.KIND] != c.TCP and row[c.KIND] != RUN:
            continue
        if (
            counts[SESSIONS] >= most
            or counts[HOLES_USED] + HOLES_A_SEGMENT >= sparse.holes.shape[0]
            or counts[RARE_USED] >= sparse.rare.shape[0]
        ):
            return i, np.int64(-1)
        if row[c.KIND] == RUN:
            if not row[SECOND]:
                add_run(sessions, packets, i, sparse)
            continue
        flags = row[c.FLAGS]
        slot, session, direction = find(sessions, table, row, keys[i])
        if session >= 0 and flags & CONTROL == c.ACK_FLAG and _short_way(sessions[session], row, session, direction):
            continue
        if session >= 0 and flags & c.SYN and opens_anew(sessions[session], direction, row[c.SEQ]):
            session = np.int64(-1)
        if session < 0:
            if counts[SLIGHT_SESSIONS] >= MAX_SLIGHT and arrays.waiting.shape[0] > 0:
                place = wait(row, keys[i], arrays.waiting, counts)
                if place >= 0:
                    return i, place
                continue
            session = begin(arrays, row, keys[i], slot, seed)
            direction = np.int64(0)
        g = _segment(sessions[session], row, session, direction)
        _count_frame(g, counts)
        _find_bases(g)
        _payload(g, sparse)
        if g.ack and not g.rst:
            _acknowledgment(g, sparse)
        _handshake(g)
        _history(g, sparse)
        _states(g)
    return n, np.int64(-1)
