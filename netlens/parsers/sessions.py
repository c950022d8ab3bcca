"""Sessions: packet rows to one row per TCP connection as it is on the wire at one capture point.

Theory of operation
-------------------
1. A session is a 5-tuple in both directions, split as Wireshark (4.4) splits ``tcp.stream``: a SYN or SYN+ACK of a direction whose begin is known
   opens a new session if its sequence number is another, or if a FIN+ACK or RST of either side was seen.
   The begin of a direction is its SYN, else one below its first segment, else one below the first acknowledgment of the peer.
2. Per direction the state keeps the next sequence number as a 64-bit stream offset (0 is the first byte after the SYN), so that wraps of the
   32-bit number do not matter (RFC 9293 3.4), and a list of holes below it. Payload counts when it is seen for the first time: it advances
   the stream or fills a hole. What repeats is a keep-alive probe, a copy from another interface, or a retransmission. A segment further off than
   any window is followed without a hole, forth and back: one that is damaged costs no more than itself. Of a direction that was joined mid-way, what
   comes late and lies below the first segment counts too, down to the lowest byte seen; what is missing there is no capture loss.
3. A segment that fills a hole is out of order if it comes sooner after the stream last advanced than a sender could have noticed a loss: one
   handshake round trip, or 3 ms where that is unknown (RFC 4737; the same thought as in Wireshark); otherwise it is a retransmission.
4. An acknowledgment above everything seen proves bytes that this capture does not hold (capture loss, or one-way visibility): a hole, which a
   later segment may still fill, because captures on several interfaces swap neighbours. (Not so the answer to a SYN by a host that still holds
   an earlier connection: its number has nothing to do with this one.)
5. End states and their names: :mod:`netlens.parsers.tcp_states`.

The state is two int64 matrices (sessions, holes) and a hash table of 64-bit slots; nothing else is held, so memory grows with sessions, not
with packets. The hash is seeded at random: a capture made to collide does not.

Floods
------
A session that is one frame, or SYNs that nobody answered, is *slight*. Of these at most :data:`MAX_SLIGHT` are held at a time. While there are so many
(a SYN flood, a scan), the first frame of each further 5-tuple waits in one of :data:`WAITING` places, without a session. The next frame of its 5-tuple
that is no repeated SYN makes it one, as if it had never waited; another first frame that needs its place makes it be given up, which is counted. So a
flood costs memory up to a bound, and the connections in the middle of it are seen.

Parts of a capture
------------------
What a segment means depends on what came before it, so a part that does not begin at the start (``SessionFold(deferred=True)``) keeps its TCP
packet rows as well, 192 bytes a frame without payload; ``merge`` replays them on the state of the part before. State of part 1 + state of
part 2 = state of the whole, exactly and wherever the cut. (Keeping rows only of sessions that may have begun earlier was tried: nearly all
may have, since a repeated SYN can cross the cut, and redirect halves tie the certain ones to the others.)

Limits: in a flood, sessions that waited are numbered by their second frame, and the payload of a first frame that waited is counted but not read.
Two sessions of one 5-tuple interleaved on different interfaces (VLANs, namespaces) are one here, as in Wireshark. One byte that is sent again
is taken for a keep-alive probe, as in Wireshark. Copies of bare acknowledgments cannot be told from new ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.columnar import Coded, LazyColumn, Nullable
from netlens.parsers import spill
from netlens.parsers.tcp_states import ACK_BIT, CONN_STATES, DATA_BIT, TABLE
from netlens.schema import Table
from netlens.tables import SESSIONS
from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire.addresses import distinct, ip_column, ports_back
from netlens.wire.compiled import lean
from netlens.wire.loads import prefetch

if TYPE_CHECKING:
    from netlens.parsers.lifecycle import Kept

# ---- columns of the session state, int64[n, S_WIDTH] ----
K0, K1, K2, K3, K4 = 0, 1, 2, 3, 4  # source and destination of the first packet (side 0 sent it), version and ports
# FSM: state of side 0 | state of side 1 << 4 | originator << 8 | completeness << 16 | FLIPPED, MIDSTREAM | STEADY << 44 | protocol << 56
LAST_FRAME, LAST_TS, FSM = 5, 6, 7
SIDE = 8  # two blocks of SIDE_WIDTH
FRAMES, BYTES, NEXT, BASE, ACKED, LAST_PAYLOAD, ADVANCED, HOLES = range(8)  # hot: every segment, and one cache line
(
    RETRANSMITS,
    OUT_OF_ORDER,
    COPIES,
    KEEPALIVES,
    ZERO_WINDOWS,
    LOST,
    BASE_KIND,
    FIN_TS,
    FIN_END,
    FIRST_PAYLOAD,
    AFTER_FIN,
    HOLE_COUNT,
    IFACE,
    OPTIONS,
    LOWEST,
    SPARE,
) = range(8, 24)
SIDE_WIDTH = 24
FIRST_FRAME = SIDE + 2 * SIDE_WIDTH
(
    FIRST_FRAME,
    FIRST_TS,
    RST_TS,
    CLOSED_TS,
    SYN_TS,
    SYNACK_TS,
    SYNACK_RTT,
    HANDSHAKE,
    HISTORY,
    HISTORY_1,
    HISTORY_2,
    HISTORY_3,
    HISTORY_COUNT,
    HISTORY_SEEN,
    PROTOCOL,
    MATE,
) = range(FIRST_FRAME, FIRST_FRAME + 16)
S_WIDTH = FIRST_FRAME + 16

UNSET = -(1 << 62)  #: a time or number that is not known
NO_BASE, BASE_ACKED, BASE_FIRST, BASE_SYN = 0, 1, 2, 3

# completeness, as far as splitting needs it
SAW_SYN, SAW_SYNACK, SAW_FIN, SAW_RST = 1, 2, 16, 32
FLIPPED = 1 << 40
MIDSTREAM = 1 << 41  # its first frame was no SYN of the originator
SLIGHT = 1 << 42  # one frame, or SYNs of one side only
WENT_BACK = 1 << 43  # a side jumped back: holes may lie above its next number
#: Two bits a side, written by ``_steady``: its next acknowledgment, its next payload may take the short way through ``fold``. The protocol that
#: the session is known to have stands beside them, where rows have it (hints.PROTOCOL_SHIFT).
STEADY_SHIFT = 44
STEADY_ACK, STEADY_DATA = 1, 2
STEADY_MASK = 15 << STEADY_SHIFT | h.PROTOCOL_MASK
CACHE_LINE = 64  #: bytes; rows of the state begin on one, so that a row's first eight numbers and a side's hot ones are a line each
LOOK_AHEAD = 6  #: rows whose session is asked from memory in advance; their slots in the table twice as many

HOLE_START, HOLE_END, HOLE_NEXT = 0, 1, 2  # of row 0: rows in use, slight sessions, first free row
#: Slight sessions held: 70 MB of state, 300 MB with all tables. A scan of all ports of one host is half of it.
MAX_SLIGHT = 1 << 17
WAITING = 1 << 16  #: first frames that wait in a flood: 12 MB. Its rate times the handshake time must stay below: 65,000 SYNs within 100 ms
BLOCK = 1 << 17  #: sessions of which rows are made at a time, where not all are wanted at once
MAX_HOLES = 256  #: per direction; the oldest beyond that is given up and its bytes are counted as missing. A 64 kB window of 536-byte segments has 122
HOLES_A_SEGMENT = (
    MAX_HOLES + 2
)  #: rows of holes that must be free before a segment: more than it can split and add, even if holes lay over each other
MAX_JUMP = (
    1 << 30
)  #: the largest window there is (RFC 7323 2.3): what lies further off is no hole and no repetition, but damage or a pause of the capture
PROTOCOL_WITHIN = 65536  #: bytes in which a stream joined mid-way may show its protocol; later a match would be chance
MATE_WINDOW = 1 << 20  #: halves joined mid-way: how far the acknowledgment of one may be from the number the other expects (a large window)
REORDER_NS = 3_000_000  #: without a handshake to measure; Wireshark uses the same 3 ms

LETTERS = "^ShADaFfRrsHdTtWwGgIiQqCc"
(
    L_FLIP, L_S, L_h, L_A, L_D, L_a, L_F, L_f, L_R, L_r, L_s, L_H, L_d, L_T, L_t, L_W, L_w, L_G, L_g, L_I, L_i, L_Q, L_q, L_C, L_c,
) = range(25)  # fmt: skip
LETTERS_PER_WORD, MAX_LETTERS = 12, 48

# Ports that tell the server when no SYN was seen: registered services whose clients never use them as source port.
_SERVER_PORTS = (
    20, 21, 22, 23, 25, 53, 79, 80, 81, 88, 110, 111, 113, 119, 135, 139, 143, 179, 389, 443, 445, 465, 502, 514, 515, 524, 548, 554, 563, 585, 587,
    614, 631, 636, 853, 873, 902, 989, 990, 992, 993, 994, 995, 1080, 1194, 1433, 1521, 1720, 1723, 1883, 2049, 2222, 3000, 3128, 3268, 3306, 3389,
    3478, 4443, 5000, 5060, 5061, 5222, 5223, 5269, 5432, 5900, 5985, 6379, 6443, 6666, 6667, 6668, 6669, 6697, 8000, 8008, 8080, 8081, 8443, 8883,
    8888, 9000, 9090, 9200, 9418, 11211, 20000, 25565, 27017,
)  # fmt: skip
SERVER_PORT = np.zeros(65536, np.uint8)
SERVER_PORT[list(_SERVER_PORTS)] = 1


@lean
def _mix(x):
    x = (x ^ (x >> 31)) * np.int64(0x7FB5D329728EA185)
    x = (x ^ (x >> 27)) * np.int64(-0x7E25210B43D22BB3)
    return x ^ (x >> 33)


@lean
def _hash(a0, a1, b0, b1, ports, seed):
    # Each term depends on the seed, so that no sum is the same for all seeds; the three do not wait for each other.
    return _mix(_mix(_mix(a0 ^ seed) + a1) + _mix(_mix(b0 ^ (seed >> 1)) + b1) + _mix(ports ^ (seed >> 2)))


@lean
def key_hash(row, seed):
    """Hash of a packet row's 5-tuple, the same in both directions."""
    # Without a branch: which end is the greater one is a coin toss, and a branch that the processor guesses wrong costs more than the hash.
    ports = row[c.PORTS]
    sp, dp = (ports >> 16) & 0xFFFF, ports & 0xFFFF
    s_hi, s_lo, d_hi, d_lo = row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO]
    swap = (s_lo > d_lo) | ((s_lo == d_lo) & ((s_hi > d_hi) | ((s_hi == d_hi) & (sp > dp))))
    mask = -np.int64(swap)
    hi, lo, port = (s_hi ^ d_hi) & mask, (s_lo ^ d_lo) & mask, (sp ^ dp) & mask
    return _hash(s_hi ^ hi, s_lo ^ lo, d_hi ^ hi, d_lo ^ lo, ports ^ port ^ port << 16, seed)


@lean
def _letter(s, code):
    n = s[HISTORY_COUNT]
    s[HISTORY_COUNT] = n + 1
    if n < MAX_LETTERS:
        s[HISTORY + n // LETTERS_PER_WORD] |= np.int64(code) << (5 * (n % LETTERS_PER_WORD))


@lean
def _letter_once(s, code):
    bit = np.int64(1) << code
    if not s[HISTORY_SEEN] & bit:
        s[HISTORY_SEEN] |= bit
        _letter(s, code)


@lean
def _power_of_ten(n):
    return n == 1 or n == 10 or n == 100 or n == 1000 or n == 10000 or n == 100000 or n == 1000000


@lean
def _new_hole(holes, start, end, following):
    new = holes[0, HOLE_NEXT]
    if new >= 0:
        holes[0, HOLE_NEXT] = holes[new, HOLE_NEXT]
    else:
        holes[0, HOLE_START] += 1
        new = holes[0, HOLE_START]
    holes[new, HOLE_START] = start
    holes[new, HOLE_END] = end
    holes[new, HOLE_NEXT] = following
    return new


@lean
def _since_begin(start, end):
    """Bytes of a hole that count as missing: what lies below the first segment that was captured was sent before the capture."""
    return max(end, 0) - max(start, 0)


@lean
def _add_hole(side, holes, start, end):
    """Note a hole; the newest comes first. An acknowledgment-only stream makes one that grows."""
    head = side[HOLES]
    if head >= 0 and holes[head, HOLE_END] == start:
        holes[head, HOLE_END] = end
        return
    if side[HOLE_COUNT] >= MAX_HOLES:
        before = np.int64(-1)
        at = head
        while holes[at, HOLE_NEXT] >= 0:
            before = at
            at = holes[at, HOLE_NEXT]
        side[LOST] += _since_begin(holes[at, HOLE_START], holes[at, HOLE_END])
        holes[before, HOLE_NEXT] = -1
        holes[at, HOLE_NEXT] = holes[0, HOLE_NEXT]
        holes[0, HOLE_NEXT] = at
        side[HOLE_COUNT] -= 1
    side[HOLES] = _new_hole(holes, start, end, head)
    side[HOLE_COUNT] += 1


@lean
def _add_lowest_hole(side, holes, start, end):
    """Note a hole below all others; where no more fit, what comes late in it will not count."""
    if side[HOLE_COUNT] >= MAX_HOLES:
        return
    new = _new_hole(holes, start, end, np.int64(-1))
    side[HOLE_COUNT] += 1
    at = side[HOLES]
    if at < 0:
        side[HOLES] = new
        return
    while holes[at, HOLE_NEXT] >= 0:
        at = holes[at, HOLE_NEXT]
    holes[at, HOLE_NEXT] = new


@lean
def _fill(side, holes, start, end):
    """Bytes of [start, end) that lie in holes, which are closed by it."""
    filled = np.int64(0)
    before = np.int64(-1)
    at = side[HOLES]
    while at >= 0:
        a, b, following = holes[at, HOLE_START], holes[at, HOLE_END], holes[at, HOLE_NEXT]
        lo, hi = max(a, start), min(b, end)
        if lo < hi:
            filled += hi - lo
            if a == lo and b == hi:
                if before < 0:
                    side[HOLES] = following
                else:
                    holes[before, HOLE_NEXT] = following
                holes[at, HOLE_NEXT] = holes[0, HOLE_NEXT]
                holes[0, HOLE_NEXT] = at
                side[HOLE_COUNT] -= 1
                at = following
                continue
            if a == lo:
                holes[at, HOLE_START] = hi
            elif b == hi:
                holes[at, HOLE_END] = lo
            elif side[HOLE_COUNT] < MAX_HOLES:
                holes[at, HOLE_END] = lo
                new = _new_hole(holes, hi, b, at)  # the upper piece stays in front: newest (highest) first
                if before < 0:
                    side[HOLES] = new
                else:
                    holes[before, HOLE_NEXT] = new
                side[HOLE_COUNT] += 1
            else:
                side[LOST] += _since_begin(hi, b)
                holes[at, HOLE_END] = lo
        before = at
        at = following
    return filled


@lean
def _new_session(s, row):
    for i in range(S_WIDTH):
        s[i] = 0
    s[K0], s[K1], s[K2], s[K3], s[K4] = row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO], row[c.PORTS]
    s[FIRST_FRAME] = row[c.FRAME]
    s[FIRST_TS] = row[c.TS]
    s[LAST_TS] = row[c.TS]
    s[FSM] = SLIGHT
    for i in (RST_TS, CLOSED_TS, SYN_TS, SYNACK_TS, SYNACK_RTT, HANDSHAKE):
        s[i] = UNSET
    s[MATE] = -1
    for d in range(2):
        side = s[SIDE + d * SIDE_WIDTH : SIDE + (d + 1) * SIDE_WIDTH]
        side[HOLES] = -1
        side[IFACE] = -1
        side[LAST_PAYLOAD] = UNSET
        side[FIRST_PAYLOAD] = UNSET
        side[FIN_TS] = UNSET
        side[FIN_END] = UNSET
        side[ADVANCED] = row[c.TS]
    flags = row[c.FLAGS]
    orig = 0
    if flags & c.SYN:
        if flags & c.ACK_FLAG:
            orig = 1
            s[FSM] |= MIDSTREAM
    else:
        s[FSM] |= MIDSTREAM
        sp, dp = (row[c.PORTS] >> 16) & 0xFFFF, row[c.PORTS] & 0xFFFF
        known_s, known_d = SERVER_PORT[sp], SERVER_PORT[dp]
        if known_s != known_d:
            orig = 1 if known_s else 0
        elif not known_s and (sp < 1024) != (dp < 1024):
            orig = 1 if sp < 1024 else 0
    s[FSM] |= np.int64(orig) << 8
    if orig == 1:
        s[FSM] |= FLIPPED
        _letter(s, L_FLIP)


@lean
def _client_hash(s, seed):
    if (s[FSM] >> 8) & 1:
        return _mix(_mix(_mix(s[K2] ^ seed) + s[K3]) + (s[K4] & 0xFFFF))
    return _mix(_mix(_mix(s[K0] ^ seed) + s[K1]) + ((s[K4] >> 16) & 0xFFFF))


@lean
def _same_client(s, o):
    """Do both sessions have the same originating address and port?"""
    if (s[FSM] >> 8) & 1:
        hi, lo, port = s[K2], s[K3], s[K4] & 0xFFFF
    else:
        hi, lo, port = s[K0], s[K1], (s[K4] >> 16) & 0xFFFF
    if (o[FSM] >> 8) & 1:
        return o[K2] == hi and o[K3] == lo and o[K4] & 0xFFFF == port and o[K4] >> 32 == s[K4] >> 32
    return o[K0] == hi and o[K1] == lo and (o[K4] >> 16) & 0xFFFF == port and o[K4] >> 32 == s[K4] >> 32


@lean
def _newest_of_client(sessions, k, ends, seed):
    """Enter session ``k`` as the newest of its client end point; returns the one that was, or -1."""
    s = sessions[k]
    mask = ends.shape[0] - 1
    key = _client_hash(s, seed)
    tag = (key >> 33) & 0x3FFFFFFF
    slot = key & mask
    while ends[slot] != 0 and not (ends[slot] >> 32 == tag and _same_client(s, sessions[(ends[slot] & 0xFFFFFFFF) - 1])):
        slot = (slot + 1) & mask
    before = (ends[slot] & 0xFFFFFFFF) - 1
    ends[slot] = tag << 32 | (k + 1)
    return before


@lean
def _find_mate(sessions, k, row, ends, seed):
    """Redirect halves: `client > proxy` holds only what the client sends, `server > client` only what it receives. Both have the same
    client address and port, and the SYN+ACK of the one acknowledges the SYN of the other."""
    s = sessions[k]
    j = _newest_of_client(sessions, k, ends, seed)
    if j < 0 or sessions[j, MATE] >= 0:
        return
    o = sessions[j]
    # The packet in hand comes from the client (s is the sending half, o must have only received) or from the server.
    orig = (s[FSM] >> 8) & 1
    mine = 0 if orig == 0 else 1  # 0: this session starts with a packet of the client
    o_orig = (o[FSM] >> 8) & 1
    o_client = SIDE + o_orig * SIDE_WIDTH
    o_server = SIDE + (1 - o_orig) * SIDE_WIDTH
    flags = row[c.FLAGS]
    if mine == 1:
        if o[o_server + FRAMES] != 0 or o[o_client + FRAMES] == 0 or not flags & c.ACK_FLAG:
            return
        expected = (o[o_client + BASE] + 1 + (o[o_client + NEXT] if not flags & c.SYN else 0)) & 0xFFFFFFFF
        distance = np.int64(np.int32((row[c.ACK] - expected) & 0xFFFFFFFF))
    else:
        if o[o_client + FRAMES] != 0 or o[o_server + FRAMES] == 0:
            return
        expected = (o[o_client + BASE] + 1 + o[o_client + NEXT]) & 0xFFFFFFFF
        seq = row[c.SEQ] + 1 if flags & c.SYN else row[c.SEQ]
        distance = np.int64(np.int32((seq - expected) & 0xFFFFFFFF))
    if flags & c.SYN:
        if distance != 0:
            return
    elif abs(distance) > MATE_WINDOW:
        return
    s[MATE] = j
    o[MATE] = k


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
        is_orig = 1 if (fsm >> 8) & 1 == d else 0
        if is_orig and s[HANDSHAKE] == UNSET and s[SYNACK_TS] != UNSET and s[SYN_TS] != UNSET:
            continue
        own, its = (fsm >> (4 * d)) & 15, (fsm >> (4 * (1 - d))) & 15
        at = ((is_orig * 8 + own) * 8 + its) * 32
        bits = np.int64(0)
        if TABLE[at + ACK_BIT] == own | its << 4 and s[HISTORY_SEEN] & np.int64(1) << (L_A if is_orig else L_a):
            bits |= STEADY_ACK
        if (
            TABLE[at + (ACK_BIT | DATA_BIT)] == own | its << 4
            and s[HISTORY_SEEN] & np.int64(1) << (L_D if is_orig else L_d)
            and s[SIDE + d * SIDE_WIDTH + FIRST_PAYLOAD] != UNSET
        ):
            bits |= STEADY_DATA
        fsm |= bits << (STEADY_SHIFT + 2 * d)
    return fsm


@lean
def _same_ends(row, other):
    """Do two packet rows have the same 5-tuple, in either direction?"""
    ports = row[c.PORTS]
    swapped = ports_back(ports)
    if other[c.PORTS] == ports and other[c.SRC_LO] == row[c.SRC_LO] and other[c.DST_LO] == row[c.DST_LO]:
        if other[c.SRC_HI] == row[c.SRC_HI] and other[c.DST_HI] == row[c.DST_HI]:
            return True
    return (
        other[c.PORTS] == swapped
        and other[c.SRC_LO] == row[c.DST_LO]
        and other[c.DST_LO] == row[c.SRC_LO]
        and other[c.SRC_HI] == row[c.DST_HI]
        and other[c.DST_HI] == row[c.SRC_HI]
    )


@lean
def fold(packets, n, start, sessions, n_sessions, holes, table, ends, seed, keys, waiting, given_up):
    """Fold TCP rows ``start..n`` of ``packets`` into the state.

    Parameters
    ----------
    packets : int64[:, WIDTH]; SESSION, DIRECTION, OFFSET and FRESH are written.
    sessions : int64[cap, S_WIDTH]; holes : int64[cap, 3], row 0 is the free list; table : int64[power of 2], slot = tag << 32 | session + 1.
    ends : int64[len(table)], newest session of each client end point, for redirect halves; slots as in ``table``.
    keys : int64[n + 2 * LOOK_AHEAD], room for the hashes of the rows.
    waiting : int64[power of 2, WIDTH], rows that wait for a second one while there are too many slight sessions (empty: no bound).
    given_up : int64[3], rows that waited in vain, the frame of the first of them, rows that ever waited.

    Returns
    -------
    (next row, number of sessions, place): the next row is below ``n`` if a matrix or the table must grow first, or, where ``place`` is not -1, if
    the row that waits there must be folded first.
    """
    mask = table.shape[0] - 1
    limit = table.shape[0] // 2
    # The state is larger than a core's cache. All hashes first, then slots and sessions of later rows are asked for while one is folded.
    for i in range(start, n):
        keys[i] = key_hash(packets[i], seed)
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
        if row[c.KIND] != c.TCP:
            continue
        if n_sessions >= sessions.shape[0] or n_sessions >= limit or holes[0, HOLE_START] + HOLES_A_SEGMENT >= holes.shape[0]:
            return i, n_sessions, -1
        flags = row[c.FLAGS]
        seq = row[c.SEQ]
        ts = row[c.TS]
        syn, ack, fin, rst = flags & c.SYN, flags & c.ACK_FLAG, flags & c.FIN, flags & c.RST

        # -- which session --
        ports = row[c.PORTS]
        swapped = ports_back(ports)
        s_hi, s_lo, d_hi, d_lo = row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO]
        key = keys[i]
        tag = (key >> 33) & 0x3FFFFFFF
        slot = key & mask
        session = np.int64(-1)
        direction = np.int64(0)
        while table[slot] != 0:
            if table[slot] >> 32 == tag:
                k = (table[slot] & 0xFFFFFFFF) - 1
                s = sessions[k]
                same = (s[K1] == s_lo) & (s[K3] == d_lo) & (s[K4] == ports) & (s[K0] == s_hi) & (s[K2] == d_hi)
                answers = (s[K3] == s_lo) & (s[K1] == d_lo) & (s[K4] == swapped) & (s[K2] == s_hi) & (s[K0] == d_hi)
                if same | answers:  # again no branch on the direction
                    session = k
                    direction = 1 - np.int64(same)
                    break
            slot = (slot + 1) & mask
        if session >= 0 and flags & (c.SYN | c.ACK_FLAG | c.FIN | c.RST) == c.ACK_FLAG:
            # -- the short way: nothing but counts and numbers can change, see _steady --
            s = sessions[session]
            fsm = s[FSM]
            length = row[c.LENGTH]
            if fsm >> (STEADY_SHIFT + 2 * direction) & (STEADY_DATA if length > 0 else STEADY_ACK) and row[c.WINDOW] != 0:
                # numbers in place of views of the sides: a slice costs more than the rest
                side_at, peer_at = SIDE + (direction & 1) * SIDE_WIDTH, SIDE + (~direction & 1) * SIDE_WIDTH
                first, its_next, seen = s[side_at + NEXT], s[peer_at + NEXT], s[side_at + BYTES]
                unseen = np.int64(np.int32((row[c.ACK] - s[peer_at + BASE] - 1 - its_next) & 0xFFFFFFFF))
                hint = row[c.HINT]
                if (
                    (seq - s[side_at + BASE] - 1 - first) & 0xFFFFFFFF == 0
                    and unseen <= 0
                    and (length == 0 or hint & h.CLASS_MASK == 0 or fsm & h.PROTOCOL_MASK or seen >= PROTOCOL_WITHIN)
                ):
                    frames = s[side_at + FRAMES] + 1
                    s[LAST_FRAME] = row[c.FRAME]
                    s[LAST_TS] = max(ts, s[LAST_TS])
                    s[side_at + FRAMES] = frames
                    s[side_at + NEXT] = first + length
                    s[side_at + BYTES] = seen + length
                    s[side_at + ADVANCED] = ts if length > 0 else s[side_at + ADVANCED]
                    s[side_at + LAST_PAYLOAD] = ts if length > 0 else s[side_at + LAST_PAYLOAD]
                    s[peer_at + ACKED] = max(unseen + its_next, s[peer_at + ACKED])
                    row[c.SESSION] = session
                    row[c.DIRECTION] = direction
                    row[c.OFFSET] = first
                    row[c.FRESH] = length
                    row[c.HINT] = (hint & ~np.int64(h.PROTOCOL_MASK)) | (fsm & h.PROTOCOL_MASK)
                    row[c.ORDINAL] = frames + s[peer_at + FRAMES]
                    continue
        if session >= 0 and syn:
            s = sessions[session]
            side = s[SIDE + direction * SIDE_WIDTH : SIDE + (direction + 1) * SIDE_WIDTH]
            seen = s[FSM] >> 16
            if side[BASE_KIND] != NO_BASE and (seq != side[BASE] or seen & (SAW_FIN | SAW_RST)):
                session = np.int64(-1)
                direction = np.int64(0)
        if session < 0:
            if holes[0, HOLE_END] >= MAX_SLIGHT and waiting.shape[0] > 0:
                place = key & (waiting.shape[0] - 1)
                waits = waiting[place]
                mine = waits[c.KIND] != 0 and _same_ends(row, waits)
                if mine and (flags & (c.SYN | c.ACK_FLAG | c.FIN | c.RST) != c.SYN or seq != waits[c.SEQ]):
                    return i, n_sessions, place
                row[c.SESSION] = -1
                row[c.DIRECTION] = 0
                row[c.OFFSET] = 0
                row[c.FRESH] = 0
                row[c.ORDINAL] = 0
                if not mine:
                    if waits[c.KIND] != 0:
                        if given_up[0] == 0:
                            given_up[1] = waits[c.FRAME]
                        given_up[0] += 1
                    for j in range(c.WIDTH):
                        waits[j] = row[j]
                    waits[c.PAY_CAP] = 0  # its buffer will be gone
                    given_up[2] += 1
                continue
            session = n_sessions
            _new_session(sessions[session], row)
            holes[0, HOLE_END] += 1
            table[slot] = tag << 32 | (session + 1)
            n_sessions += 1
            _find_mate(sessions, session, row, ends, seed)
        s = sessions[session]
        side = s[SIDE + direction * SIDE_WIDTH : SIDE + (direction + 1) * SIDE_WIDTH]
        other = 1 - direction
        peer = s[SIDE + other * SIDE_WIDTH : SIDE + (other + 1) * SIDE_WIDTH]
        row[c.SESSION] = session
        row[c.DIRECTION] = direction
        fsm = s[FSM]
        is_orig = 1 if (fsm >> 8) & 1 == direction else 0
        if fsm & SLIGHT and side[FRAMES] + peer[FRAMES] > 0 and (not syn or ack or fin or rst or direction != 0):
            s[FSM] &= ~np.int64(SLIGHT)
            holes[0, HOLE_END] -= 1

        s[LAST_FRAME] = row[c.FRAME]
        if ts > s[LAST_TS]:
            s[LAST_TS] = ts
        side[FRAMES] += 1
        iface = row[c.IFACE]
        if side[IFACE] < 0:
            side[IFACE] = iface

        # -- begin of the two number spaces --
        length = row[c.LENGTH]
        if side[BASE_KIND] == NO_BASE or (side[BASE_KIND] == BASE_ACKED and syn):
            side[BASE] = seq if syn else (seq - 1) & 0xFFFFFFFF
            side[BASE_KIND] = BASE_SYN if syn else BASE_FIRST
        elif syn and side[BASE_KIND] == BASE_FIRST:
            side[BASE_KIND] = BASE_SYN  # same number: a SYN that came late
        if ack and peer[BASE_KIND] == NO_BASE:
            peer[BASE] = (row[c.ACK] - 1) & 0xFFFFFFFF
            peer[BASE_KIND] = BASE_ACKED

        # -- payload --
        # stream offset: 32-bit difference to the next expected number, signed
        first = np.int64(np.int32((seq - side[BASE] - 1 - side[NEXT]) & 0xFFFFFFFF)) + side[NEXT]
        if syn:
            first += 1
        end = first + length
        fresh = np.int64(0)
        repeats = False
        if rst:
            end = first  # RFC 9293 3.5.3: what an RST carries is diagnostics, not stream
        elif (
            not syn
            and not fin
            and length <= 1
            and first == side[NEXT] - 1
            and (side[FRAMES] > 1 or side[BASE_KIND] == BASE_ACKED)
            and (length == 1 or ack)
            and not (
                length == 1 and first >= 0 and side[HOLES] >= 0 and holes[side[HOLES], HOLE_END] == side[NEXT]
            )  # that byte was only acknowledged so far
        ):
            if iface != side[IFACE]:
                side[COPIES] += 1  # of a probe or of a segment of one byte
            else:
                side[KEEPALIVES] += 1
            end = first
        else:
            below = np.int64(0)
            if (
                first < side[LOWEST]
                and length > 0
                and side[BASE_KIND] != BASE_SYN
                and not fsm & WENT_BACK
                and side[NEXT] - first < MAX_JUMP
            ):
                # else the stream begins where it was acknowledged
                if side[BASE_KIND] == BASE_FIRST or not fsm & (SAW_SYN | SAW_SYNACK) << 16:
                    below = min(end, side[LOWEST]) - first
                    if end < side[LOWEST]:
                        _add_lowest_hole(side, holes, end, side[LOWEST])
                    side[LOWEST] = first
            finish = end + 1 if fin else end
            if finish > side[NEXT] and (length > 0 or fin):
                if first > side[NEXT]:
                    if first - side[NEXT] < MAX_JUMP:
                        if fsm & WENT_BACK:
                            _fill(side, holes, side[NEXT], first)  # one hole in place of those that lie there
                        _add_hole(side, holes, side[NEXT], first)
                    # else follow it: the capture paused, or the segment is damaged and the next one jumps back
                    fresh = length
                else:
                    fresh = max(end - side[NEXT], 0)
                    if first < side[NEXT] and length > 0:
                        repeats = below == 0
                    fresh += below
                if first < side[NEXT] and length > 0 and side[HOLES] >= 0:
                    filled = _fill(side, holes, first, side[NEXT])
                    if filled > 0:
                        repeats = False
                        fresh += filled
                side[NEXT] = finish
                side[ADVANCED] = ts
            elif side[NEXT] - first >= MAX_JUMP and length > 0:
                fresh = length
                side[NEXT] = finish
                side[ADVANCED] = ts
                s[FSM] |= WENT_BACK
            elif length > 0:
                filled = np.int64(0)
                if side[HOLES] >= 0:
                    filled = _fill(side, holes, first, end)
                if filled + below > 0:
                    fresh = filled + below
                    rtt = s[HANDSHAKE] if s[HANDSHAKE] != UNSET else REORDER_NS
                    if ts - side[ADVANCED] <= max(rtt, 0):
                        side[OUT_OF_ORDER] += 1
                    else:
                        side[RETRANSMITS] += 1
                else:
                    repeats = True
            if fin:
                if side[FIN_TS] == UNSET:
                    side[FIN_TS] = ts
                    side[FIN_END] = finish
                    if side[HOLES] >= 0:
                        _fill(side, holes, end, finish)  # its own number, if the acknowledgment of the FIN was captured before it
                elif length == 0 and finish <= side[FIN_END]:
                    repeats = True
            if syn:
                if ack:
                    letter = L_H if is_orig else L_h
                else:
                    letter = L_S if is_orig else L_s
                if s[HISTORY_SEEN] & np.int64(1) << letter:
                    repeats = True
            if repeats:
                if iface != side[IFACE]:
                    side[COPIES] += 1
                else:
                    side[RETRANSMITS] += 1
                    if length > 0 and _power_of_ten(side[RETRANSMITS]):
                        _letter(s, L_T if is_orig else L_t)
            if length > 0:
                if side[FIRST_PAYLOAD] == UNSET:
                    side[FIRST_PAYLOAD] = ts
                if side[BYTES] < PROTOCOL_WITHIN:
                    s[PROTOCOL] = _protocol(s[PROTOCOL], row[c.HINT] & h.CLASS_MASK)
                if fresh > 0:
                    side[BYTES] += fresh
                    side[LAST_PAYLOAD] = ts
                    if peer[FIN_TS] != UNSET:
                        side[AFTER_FIN] += fresh
        row[c.OFFSET] = first
        row[c.FRESH] = fresh
        row[c.HINT] = (row[c.HINT] & ~np.int64(h.PROTOCOL_MASK)) | _known(s) << h.PROTOCOL_SHIFT
        row[c.ORDINAL] = side[FRAMES] + peer[FRAMES]

        # -- acknowledgment --
        if ack and not rst:
            acked = np.int64(np.int32((row[c.ACK] - peer[BASE] - 1 - peer[NEXT]) & 0xFFFFFFFF)) + peer[NEXT]
            if acked > peer[ACKED]:
                # The answer of an earlier connection's other end to a SYN (RFC 9293 3.5.1: <ACK> of half-open state) proves nothing
                stale = peer[NEXT] == 0 and peer[BASE_KIND] == BASE_SYN and not syn and not fsm & SAW_SYNACK << 16
                if acked - peer[NEXT] < MAX_JUMP and not (stale and acked > 0):
                    # A FIN of the peer that was not captured is acknowledged with one number that is no payload: not told apart here
                    if acked > peer[NEXT]:
                        if not syn:
                            if fsm & WENT_BACK:
                                _fill(peer, holes, peer[NEXT], acked)
                            _add_hole(peer, holes, peer[NEXT], acked)
                            if peer[FRAMES] > 0:  # a side that is not captured at all is no gap
                                _letter_once(s, L_g if is_orig else L_G)
                        peer[NEXT] = acked
                        peer[ADVANCED] = ts
                    peer[ACKED] = acked

        # -- handshake times --
        if syn:
            if not ack:
                if is_orig and s[SYNACK_TS] == UNSET:
                    s[SYN_TS] = ts
            elif s[SYNACK_TS] == UNSET:
                s[SYNACK_TS] = ts
                if s[SYN_TS] != UNSET:
                    s[SYNACK_RTT] = ts - s[SYN_TS]
        elif ack and is_orig and s[HANDSHAKE] == UNSET and s[SYNACK_TS] != UNSET and s[SYN_TS] != UNSET and not rst:
            s[HANDSHAKE] = ts - s[SYN_TS]

        if row[c.WINDOW] == 0 and not syn and not fin and not rst:
            side[ZERO_WINDOWS] += 1
            if _power_of_ten(side[ZERO_WINDOWS]):
                _letter(s, L_W if is_orig else L_w)

        # -- history --
        control = (1 if syn else 0) + (1 if fin else 0) + (1 if rst else 0)
        if control > 1:
            if fin and rst:
                _letter_once(s, L_I if is_orig else L_i)
            else:
                _letter_once(s, L_Q if is_orig else L_q)
        elif syn:
            if ack:
                _letter_once(s, L_H if is_orig else L_h)
            else:
                _letter_once(s, L_S if is_orig else L_s)
        elif fin:
            _letter_once(s, L_F if is_orig else L_f)
        elif rst:
            _letter_once(s, L_R if is_orig else L_r)
        elif length > 0:
            _letter_once(s, L_D if is_orig else L_d)
        elif ack:
            _letter_once(s, L_A if is_orig else L_a)

        # -- states --
        fsm = s[FSM]
        own = (fsm >> (4 * direction)) & 15
        its = (fsm >> (4 * other)) & 15
        segment = (1 if syn else 0) | (2 if ack else 0) | (4 if fin else 0) | (8 if rst else 0) | (16 if length > 0 else 0)
        new = TABLE[((is_orig * 8 + own) * 8 + its) * 32 + segment]
        fsm = (fsm & ~np.int64(255)) | (new & 15) << (4 * direction) | (new >> 4) << (4 * other)
        if syn and ack:
            fsm |= np.int64(SAW_SYNACK) << 16
        elif syn:  # as Wireshark: the other side's SYN begins a count of its own
            fsm = (fsm & ~(np.int64(SAW_FIN | SAW_RST) << 16)) | np.int64(SAW_SYN) << 16
        if fin and ack:  # as Wireshark: a FIN without ACK (RFC 9293 3.10.7.4 drops it) does not make room for the next session
            fsm |= np.int64(SAW_FIN) << 16
        if rst:
            fsm |= np.int64(SAW_RST) << 16
            if s[RST_TS] == UNSET:
                s[RST_TS] = ts
                if s[CLOSED_TS] == UNSET:
                    s[CLOSED_TS] = ts
        elif fin and s[CLOSED_TS] == UNSET and peer[FIN_TS] != UNSET:
            s[CLOSED_TS] = ts
        s[FSM] = _steady(s, fsm)
    return n, n_sessions, -1


@lean
def rehash(sessions, first, last, table, ends, seed, row):
    """Fill a table with sessions ``first..last``, from 0 on and in order; the newest session of a 5-tuple wins. Returns how many are slight.

    ``row``: int64[WIDTH], room to work in.
    """
    mask = table.shape[0] - 1
    slight = 0
    for k in range(first, last):
        s = sessions[k]
        if s[FSM] & SLIGHT:
            slight += 1
        row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO], row[c.PORTS] = s[K0], s[K1], s[K2], s[K3], s[K4]
        key = key_hash(row, seed)
        tag = (key >> 33) & 0x3FFFFFFF
        slot = key & mask
        ports = s[K4]
        swapped = ports_back(ports)
        while table[slot] != 0:
            if table[slot] >> 32 == tag:
                o = sessions[(table[slot] & 0xFFFFFFFF) - 1]
                if o[K1] == s[K1] and o[K3] == s[K3] and o[K4] == ports and o[K0] == s[K0] and o[K2] == s[K2]:
                    break
                if o[K3] == s[K1] and o[K1] == s[K3] and o[K4] == swapped and o[K2] == s[K0] and o[K0] == s[K2]:
                    break
            slot = (slot + 1) & mask
        table[slot] = tag << 32 | (k + 1)
        _newest_of_client(sessions, k, ends, seed)
    return slight


@lean
def missing_bytes(sessions, n_sessions, holes, out):
    """Fill ``out``, int64[n, 2]: bytes acknowledged by the peer but never seen, per side."""
    for k in range(n_sessions):
        for d in range(2):
            side = sessions[k, SIDE + d * SIDE_WIDTH : SIDE + (d + 1) * SIDE_WIDTH]
            total = side[LOST]
            at = side[HOLES]
            while at >= 0:
                total += max(min(holes[at, HOLE_END], side[ACKED]) - max(holes[at, HOLE_START], 0), 0)
                at = holes[at, HOLE_NEXT]
            out[k, d] = total


def _aligned(rows: int) -> np.ndarray[Any, Any]:
    """int64[rows, S_WIDTH] of zeros that begins on a cache line."""
    room = np.zeros(rows * S_WIDTH + CACHE_LINE // 8, np.int64)
    skip = -room.ctypes.data % CACHE_LINE // 8
    return room[skip : skip + rows * S_WIDTH].reshape(rows, S_WIDTH)


class SessionFold:
    """The sessions of a capture while it is read.

    Parameters
    ----------
    deferred : True for a part that does not begin at the start of the capture; see *Parts of a capture* above.
    spill_to : a folder for the state of sessions, once there are :data:`netlens.parsers.spill.SPILL_AT`; None keeps it in memory.
    """

    def __init__(self, deferred: bool = False, seed: int | None = None, spill_to: str | None = None):
        self.deferred = deferred
        self._spill, self._given_back = spill_to, 0
        self._file: spill.StateFile | None = None
        self.seed = int.from_bytes(os.urandom(7), "big") if seed is None else seed
        self.sessions = _aligned(1024)
        self.n = 0
        self.holes = np.zeros((1024, 3), np.int64)
        self.holes[0, HOLE_NEXT] = -1
        self.table = np.zeros(4096, np.int64)
        self.ends = np.zeros(4096, np.int64)
        self._log: list[np.ndarray[Any, Any]] = []
        self._keys = np.zeros(c.BATCH + 2 * LOOK_AHEAD, np.int64)
        # a deferred part keeps all its rows, so a bound would bound nothing
        self.waiting = np.zeros((0 if deferred else WAITING, c.WIDTH), np.int64)  # pages that are never touched take no memory
        self._given_up = np.zeros(3, np.int64)

    def feed(self, packets: np.ndarray[Any, Any]) -> None:
        """Fold packet rows; writes SESSION, DIRECTION, OFFSET and FRESH into them."""
        self._fold(packets, self.waiting)
        if self.deferred and len(packets):
            self._log.append(packets[packets[:, c.KIND] == c.TCP])

    def _fold(self, packets: np.ndarray[Any, Any], waiting: np.ndarray[Any, Any]) -> None:
        at, n = 0, len(packets)
        if len(self._keys) < n + 2 * LOOK_AHEAD:
            self._keys = np.zeros(n + 2 * LOOK_AHEAD, np.int64)
        while True:
            at, self.n, place = fold(
                packets, n, at, self.sessions, self.n, self.holes, self.table, self.ends, self.seed, self._keys, waiting, self._given_up
            )
            if at >= n:
                break
            if place >= 0:
                row = waiting[place : place + 1].copy()
                waiting[place, c.KIND] = 0
                self._fold(row, waiting[:0])
            else:
                self._grow()
        self._give_back()

    @property
    def given_up(self) -> tuple[int, int | None]:
        """5-tuples of one frame, or of unanswered SYNs, that have no session because of a flood; and the frame of the first.

        One that was given up and comes again counts again.
        """
        count, first, ever = self._given_up.tolist()
        if not ever:
            return 0, None
        waits = self.waiting[self.waiting[:, c.KIND] != 0, c.FRAME]
        frames = [*([first] if count else []), *([int(waits.min())] if len(waits) else [])]
        return count + len(waits), min(frames, default=None)

    def _grow(self) -> None:
        if self.n >= len(self.sessions):
            self._more_sessions()
        if self.holes[0, HOLE_START] + HOLES_A_SEGMENT >= len(self.holes):
            self.holes = np.concatenate([self.holes, np.zeros_like(self.holes)])
        if self.n >= len(self.table) // 2:
            self._rehash(len(self.table) * 4)

    def _more_sessions(self) -> None:
        rows = len(self.sessions)
        if self._spill is not None and rows >= spill.SPILL_AT:
            try:
                file = self._file or spill.StateFile(self._spill, S_WIDTH)
                file.grow(rows + max(rows // 4, spill.KEPT))
            except OSError:  # no room there: memory must do
                self._spill = None
            else:
                if self._file is None:
                    for first, last in self._blocks(BLOCK):
                        file.rows[first:last] = self.sessions[first:last]
                        file.give_back(last)
                self._file, self.sessions = file, file.rows
                return
        larger = _aligned(2 * rows)
        larger[:rows] = self.sessions
        self.sessions, self._file = larger, None

    def _give_back(self) -> None:
        if self._file is not None and self.n >= self._given_back + spill.KEPT + spill.STEP:
            self._given_back = self.n - spill.KEPT
            self._file.give_back(self._given_back)

    def merge(self, later: SessionFold, frame_offset: int = 0) -> np.ndarray[Any, Any]:
        """Append the part that follows, which must have been read with ``deferred=True``.

        Parameters
        ----------
        frame_offset : frames in this part, if ``later`` counted its own from 1.

        Returns
        -------
        int64[m, WIDTH]
            the packet rows of ``later`` as folded here (SESSION, DIRECTION, OFFSET, FRESH are of this state), in order.
        """
        if not later.deferred:
            raise ValueError("only a part read with deferred=True can follow another")
        replay = later.packets()
        replay[:, c.FRAME] += frame_offset
        self.feed(replay)
        return replay

    def packets(self) -> np.ndarray[Any, Any]:
        """int64[m, WIDTH]: a copy of the kept packet rows of a deferred part."""
        return np.concatenate([*self._log, np.zeros((0, c.WIDTH), np.int64)])

    def drain(self) -> list[np.ndarray[Any, Any]]:
        """Take out the kept packet rows of a deferred part, so that they can be used up piece by piece."""
        log, self._log = self._log, []
        return log

    def admit_all(self) -> None:
        """Give each 5-tuple a session at once from now on, also in a flood."""
        self.waiting = self.waiting[:0]

    def forget(self, kept: Kept) -> None:
        """Drop all sessions but ``kept``. What still comes for one that was dropped begins a new session, which is seen to lack a SYN."""
        gone = self.sessions[: self.n][kept.place < 0]
        nodes = []
        at = np.concatenate([gone[:, SIDE + side * SIDE_WIDTH + HOLES] for side in (0, 1)])
        while len(at := at[at >= 0]):
            nodes.append(at)
            at = self.holes[at, HOLE_NEXT]
        if nodes:
            free = np.concatenate(nodes)
            self.holes[free[:-1], HOLE_NEXT] = free[1:]
            self.holes[free[-1], HOLE_NEXT] = self.holes[0, HOLE_NEXT]
            self.holes[0, HOLE_NEXT] = free[0]
        sessions = _aligned(kept.room)
        self.n = len(kept.sessions)
        sessions[: self.n] = self.sessions[kept.sessions]
        sessions[: self.n, MATE] = kept.renamed(sessions[: self.n, MATE])
        self.sessions, self._file = sessions, None
        self._rehash(4 * kept.room)

    @property
    def nbytes(self) -> int:
        arrays = (self.sessions[: self.n] if self._file is None else self.sessions[:0], self.holes, self.table, self.ends, *self._log)
        return sum(a.nbytes for a in arrays)

    def missing(self, first: int = 0, last: int | None = None) -> np.ndarray[Any, Any]:
        """int64[m, 2]: per side of sessions ``first..last`` the bytes that the peer acknowledged and this capture does not hold."""
        rows = self.sessions[first : self.n if last is None else last]
        out = np.zeros((len(rows), 2), np.int64)
        missing_bytes(rows, len(rows), self.holes, out)
        return out

    def state(self) -> np.ndarray[Any, Any]:
        """int64[n, S_WIDTH]: one row a session in order of its first frame, so the row is the session_id."""
        return self.sessions[: self.n]

    def _rehash(self, size: int) -> None:
        self.table, self.ends = np.zeros(size, np.int64), np.zeros(size, np.int64)
        slight, row = 0, np.zeros(c.WIDTH, np.int64)
        for first, last in self._blocks(BLOCK):
            slight += rehash(self.sessions, first, last, self.table, self.ends, self.seed, row)
        self.holes[0, HOLE_END] = slight

    def _blocks(self, size: int) -> Iterator[tuple[int, int]]:
        """First and last of so many sessions each; what lies in a file is given back when it was passed."""
        for first in range(0, max(self.n, 1), size):
            yield first, min(first + size, self.n)
            if self._file is not None:
                self._file.give_back(first + size)

    def rows(self, sni: np.ndarray[Any, Any] | None = None) -> Table:
        """The sessions as a table, in order of their first frame. ``sni``: object[n] by row."""
        return next(self.blocks(sni, max(self.n, 1)))

    def blocks(self, sni: np.ndarray[Any, Any] | None = None, size: int | None = None) -> Iterator[Table]:
        """The same rows as tables of ``size`` rows, at least one: a table and what is written from it take several times the memory of the state."""
        size = size or min(BLOCK, max(self.n // 8, BLOCK // 16))
        for first, last in self._blocks(size):
            yield session_rows(self.sessions[first:last], self.missing(first, last), None if sni is None else sni[first:last], first)


def _nullable(values: np.ndarray[Any, Any]) -> Nullable:
    return Nullable(values, values != UNSET)


#: What ``session_rows`` reads of a session, and of its originator and its responder.
_OF_SESSION = (K4, FSM, FIRST_TS, LAST_TS, FIRST_FRAME, LAST_FRAME, RST_TS, CLOSED_TS, HANDSHAKE, SYNACK_RTT, PROTOCOL)
_OF_SIDE = (
    FRAMES, BYTES, BASE, BASE_KIND, RETRANSMITS, OUT_OF_ORDER, COPIES, KEEPALIVES, ZERO_WINDOWS, FIN_TS, AFTER_FIN, FIRST_PAYLOAD, LAST_PAYLOAD,
)  # fmt: skip
_PROTOCOLS = np.array([None, "tls", "ssh", "http", "http", "http", "http"], dtype=object)
_SESSION_FIELDS, _SIDE_FIELDS = np.array(_OF_SESSION), np.array(_OF_SIDE)


@lean
def _by_column(s, n, session_fields, side_fields, out):
    """Fields of the sessions, then of their originators, then of their responders, each a row of ``out``."""
    first, second = len(session_fields), len(session_fields) + len(side_fields)
    for k in range(n):
        for j in range(len(session_fields)):
            out[j, k] = s[k, session_fields[j]]
        at = SIDE + ((s[k, FSM] >> 8) & 1) * SIDE_WIDTH
        its = 2 * SIDE + SIDE_WIDTH - at
        for j in range(len(side_fields)):
            out[first + j, k] = s[k, at + side_fields[j]]
            out[second + j, k] = s[k, its + side_fields[j]]


def session_rows(s: np.ndarray[Any, Any], missing: np.ndarray[Any, Any], sni: np.ndarray[Any, Any] | None, first_id: int = 0) -> Table:
    """Table of the session state rows ``s`` (int64[n, S_WIDTH]), the first of which is session ``first_id``."""
    n = len(s)
    # One block for all columns: dozens of small ones cost more in page faults than in copying. Its rows are one cache line off a page's multiple.
    block = np.empty((len(_OF_SESSION) + 2 * len(_OF_SIDE), n + (8 - n) % 512), np.int64)
    _by_column(s, n, _SESSION_FIELDS, _SIDE_FIELDS, block)
    of_session = dict(zip(_OF_SESSION, block[:, :n], strict=False))
    orig = dict(zip(_OF_SIDE, block[len(_OF_SESSION) :, :n], strict=False))
    resp = dict(zip(_OF_SIDE, block[len(_OF_SESSION) + len(_OF_SIDE) :, :n], strict=True))
    rows = np.arange(n)
    ports, fsm, closed = of_session[K4], of_session[FSM], of_session[CLOSED_TS]
    first_ts, last_ts = of_session[FIRST_TS], of_session[LAST_TS]
    version = ports >> 32
    side = (fsm >> 8) & 1
    flipped = side == 1
    a, b = ip_column(s[:, K0], s[:, K1], version), ip_column(s[:, K2], s[:, K3], version)
    ips, b_codes = np.concatenate([a.words, b.words]), b.codes + len(a.words)
    port_a, port_b = (ports >> 16) & 0xFFFF, ports & 0xFFFF
    state_orig, state_resp = (fsm >> (4 * side)) & 15, (fsm >> (4 * (1 - side))) & 15
    payload = ((orig[BYTES] > 0) | (resp[BYTES] > 0)).astype(np.int64)
    fins = np.stack([orig[FIN_TS], resp[FIN_TS]])
    known = np.where(fins == UNSET, np.iinfo(np.int64).max, fins)
    first_fin = known.min(axis=0)
    has_fin = first_fin != np.iinfo(np.int64).max
    until = np.where(closed != UNSET, closed, last_ts)
    half = np.full(n, np.nan)
    half[has_fin] = np.maximum(until[has_fin] - first_fin[has_fin], 0) / 1e9
    handshake = (fsm >> 16) & (SAW_SYN | SAW_SYNACK) != 0

    def isn(of_side: dict[int, np.ndarray[Any, Any]]) -> Nullable:
        kind = of_side[BASE_KIND]
        return _nullable(np.where((kind == BASE_SYN) | ((kind == BASE_ACKED) & handshake), of_side[BASE], UNSET))

    def ms(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        # a clock that stepped back in between leaves nothing that can be told
        return np.where(values < 0, np.nan, values / 1e6)

    columns: dict[str, np.ndarray[Any, Any] | LazyColumn] = {
        "session_id": rows + first_id,
        "orig_ip": Coded(np.where(flipped, b_codes, a.codes), ips),
        "orig_port": np.where(flipped, port_b, port_a),
        "resp_ip": Coded(np.where(flipped, a.codes, b_codes), ips),
        "resp_port": np.where(flipped, port_a, port_b),
        "start_ns": first_ts,
        "end_ns": last_ts,
        "duration_s": (last_ts - first_ts) / 1e9,
        "state": Coded(np.ravel_multi_index((state_orig, state_resp, payload), CONN_STATES.shape), CONN_STATES.ravel()),
        "history": history_column(s),
        "orig_frames": orig[FRAMES],
        "resp_frames": resp[FRAMES],
        "orig_bytes": orig[BYTES],
        "resp_bytes": resp[BYTES],
        "orig_retransmits": orig[RETRANSMITS],
        "resp_retransmits": resp[RETRANSMITS],
        "orig_isn": isn(orig),
        "resp_isn": isn(resp),
        "first_frame": of_session[FIRST_FRAME],
        "last_frame": of_session[LAST_FRAME],
        "sni": np.full(n, None, dtype=object) if sni is None else sni,
        "orig_out_of_order": orig[OUT_OF_ORDER],
        "resp_out_of_order": resp[OUT_OF_ORDER],
        "orig_copies": orig[COPIES],
        "resp_copies": resp[COPIES],
        "orig_keepalives": orig[KEEPALIVES],
        "resp_keepalives": resp[KEEPALIVES],
        "orig_zero_windows": orig[ZERO_WINDOWS],
        "resp_zero_windows": resp[ZERO_WINDOWS],
        "orig_missing_bytes": missing[rows, side],
        "resp_missing_bytes": missing[rows, 1 - side],
        "orig_fin_ns": _nullable(orig[FIN_TS]),
        "resp_fin_ns": _nullable(resp[FIN_TS]),
        "rst_ns": _nullable(of_session[RST_TS]),
        "closed_ns": _nullable(closed),
        "half_closed_s": half,
        "orig_bytes_after_fin": orig[AFTER_FIN],
        "resp_bytes_after_fin": resp[AFTER_FIN],
        "handshake_ms": ms(of_session[HANDSHAKE]),
        "synack_ms": ms(of_session[SYNACK_RTT]),
        "orig_first_payload_ns": _nullable(orig[FIRST_PAYLOAD]),
        "orig_last_payload_ns": _nullable(orig[LAST_PAYLOAD]),
        "resp_first_payload_ns": _nullable(resp[FIRST_PAYLOAD]),
        "resp_last_payload_ns": _nullable(resp[LAST_PAYLOAD]),
        "protocol": Coded(np.minimum(of_session[PROTOCOL], len(_PROTOCOLS) - 1), _PROTOCOLS),
        "saw_syn": (fsm >> 16) & SAW_SYN != 0,
    }
    return Table(SESSIONS, columns)


def history_column(s: np.ndarray[Any, Any]) -> Coded:
    """History strings; equal ones are made once (captures have few different ones)."""
    if not len(s):
        return Coded(np.empty(0, np.int64), np.empty(0, dtype=object))
    back, first = distinct(s[:, HISTORY], s[:, HISTORY_1], s[:, HISTORY_2])
    if s[:, HISTORY_3].any():
        back, first = distinct(back, s[:, HISTORY_3], np.zeros(len(s), np.int64))
    words = s[first, HISTORY : HISTORY + 4]
    longest = np.zeros(len(words), np.int64)
    np.maximum.at(longest, back, np.minimum(s[:, HISTORY_COUNT], MAX_LETTERS))
    texts = np.empty(len(words), dtype=object)
    for i, word in enumerate(words.tolist()):
        letters = [(word[k // LETTERS_PER_WORD] >> (5 * (k % LETTERS_PER_WORD))) & 31 for k in range(longest[i])]
        texts[i] = "".join(LETTERS[code] for code in letters)
    return Coded(back, texts)
