"""Which session a packet row belongs to: the hash tables, new sessions, redirect halves, and who waits in a flood.

See *Theory of operation* 1 and *Floods* in :mod:`netlens.parsers.sessions`.
"""

import numpy as np

# isort: off
from netlens.parsers.session_state import (
    BASE, BASE_KIND, CLOSED_TS, EVER_WAITED, FIN_END, FIN_TS, FIRST_FRAME, FIRST_GIVEN_UP, FIRST_PAYLOAD, FIRST_TS, FLIPPED, FRAMES, FSM, GIVEN_UP,
    HANDSHAKE, HOLES, IFACE, A_HI, A_LO, B_HI, B_LO, PORTS, LAST_PAYLOAD, LAST_TS, MATE, MIDSTREAM, NEXT, NO_BASE, ORIGINATOR_SHIFT, RST_TS, SAW_FIN,
    SAW_RST, SEEN_SHIFT, SESSIONS, SIDE, SIDE_WIDTH, SLIGHT, SLIGHT_SESSIONS, SYNACK_TS, SYN_TS, S_WIDTH, UNSET,
)  # fmt: skip

# isort: on
from netlens.parsers import session_history as history
from netlens.wire import columns as c
from netlens.wire.addresses import ports_back
from netlens.wire.compiled import inlined, lean
from netlens.wire.loads import prefetch

WAITING = 1 << 16  #: first frames that wait in a flood: 12 MB. Its rate times the handshake time must stay below: 65,000 SYNs within 100 ms
MATE_WINDOW = 1 << 20  #: halves joined mid-way: how far the acknowledgment of one may be from the number the other expects (a large window)

TAG_MASK = 0x3FFFFFFF  #: bits of a hash that a slot keeps, above the session's number
CONTROL = c.SYN | c.ACK_FLAG | c.FIN | c.RST

# Ports that tell the server when no SYN was seen: registered services whose clients never use them as source port.
_SERVER_PORTS = (
    20, 21, 22, 23, 25, 53, 79, 80, 81, 88, 110, 111, 113, 119, 135, 139, 143, 179, 389, 443, 445, 465, 502, 514, 515, 524, 548, 554, 563, 585, 587,
    614, 631, 636, 853, 873, 902, 989, 990, 992, 993, 994, 995, 1080, 1194, 1433, 1521, 1720, 1723, 1883, 2049, 2222, 3000, 3128, 3268, 3306, 3389,
    3478, 4443, 5000, 5060, 5061, 5222, 5223, 5269, 5432, 5900, 5985, 6379, 6443, 6666, 6667, 6668, 6669, 6697, 8000, 8008, 8080, 8081, 8443, 8883,
    8888, 9000, 9090, 9200, 9418, 11211, 20000, 25565, 27017,
)  # fmt: skip
EPHEMERAL = 32768  #: where the local ports of Linux begin; those of other systems are above 49151 (RFC 6335 6)
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
def _new_session(s, row, sparse):
    for i in range(S_WIDTH):
        s[i] = 0
    s[A_HI], s[A_LO], s[B_HI], s[B_LO], s[PORTS] = row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO], row[c.PORTS]
    s[FIRST_FRAME] = row[c.FRAME]
    s[FIRST_TS] = row[c.TS]
    s[LAST_TS] = row[c.TS]
    s[FSM] = SLIGHT
    for i in (RST_TS, CLOSED_TS, SYN_TS, SYNACK_TS, HANDSHAKE):
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
    flags = row[c.FLAGS]
    orig = 0
    if flags & (c.SYN | c.ACK_FLAG) == c.SYN | c.ACK_FLAG:
        orig = 1
        s[FSM] |= MIDSTREAM
    elif not flags & c.SYN:
        s[FSM] |= MIDSTREAM
        sp, dp = (row[c.PORTS] >> 16) & 0xFFFF, row[c.PORTS] & 0xFFFF
        known_s, known_d = SERVER_PORT[sp], SERVER_PORT[dp]
        if known_s != known_d:
            orig = 1 if known_s else 0
        elif not known_s and (sp < 1024) != (dp < 1024):
            orig = 1 if sp < 1024 else 0
        elif not known_s and (sp < EPHEMERAL) != (dp < EPHEMERAL):
            orig = 1 if sp < EPHEMERAL else 0
    s[FSM] |= np.int64(orig) << ORIGINATOR_SHIFT
    if orig == 1:
        s[FSM] |= FLIPPED
        history.add(s, history.FLIP, sparse)


@inlined
def _end_hash(hi, lo, port, seed):
    return _mix(_mix(_mix(hi ^ seed) + lo) + port)


@lean
def client_hash(s, seed):
    if (s[FSM] >> ORIGINATOR_SHIFT) & 1:
        return _end_hash(s[B_HI], s[B_LO], s[PORTS] & 0xFFFF, seed)
    return _end_hash(s[A_HI], s[A_LO], (s[PORTS] >> 16) & 0xFFFF, seed)


@inlined
def prefetch_client(row, ends, seed):
    """Ask for the slot of the client end point of a packet row with a SYN, which may begin a session."""
    prefetch(ends, _end_hash(row[c.SRC_HI], row[c.SRC_LO], (row[c.PORTS] >> 16) & 0xFFFF, seed) & (ends.shape[0] - 1))


@lean
def _same_client(s, o):
    """Do both sessions have the same originating address and port?"""
    if (s[FSM] >> ORIGINATOR_SHIFT) & 1:
        hi, lo, port = s[B_HI], s[B_LO], s[PORTS] & 0xFFFF
    else:
        hi, lo, port = s[A_HI], s[A_LO], (s[PORTS] >> 16) & 0xFFFF
    if (o[FSM] >> ORIGINATOR_SHIFT) & 1:
        return o[B_HI] == hi and o[B_LO] == lo and o[PORTS] & 0xFFFF == port and o[PORTS] >> 32 == s[PORTS] >> 32
    return o[A_HI] == hi and o[A_LO] == lo and (o[PORTS] >> 16) & 0xFFFF == port and o[PORTS] >> 32 == s[PORTS] >> 32


@inlined
def find_client(sessions, s, key, ends):
    """(slot, session) of the client end point of ``s``: its newest session, or the free slot and -1."""
    mask = ends.shape[0] - 1
    tag = (key >> 33) & TAG_MASK
    slot = key & mask
    while ends[slot] != 0 and not (ends[slot] >> 32 == tag and _same_client(s, sessions[(ends[slot] & 0xFFFFFFFF) - 1])):
        slot = (slot + 1) & mask
    return slot, (ends[slot] & 0xFFFFFFFF) - 1


@lean
def newest_of_client(sessions, k, ends, seed):
    """Enter session ``k`` as the newest of its client end point; returns the one that was, or -1."""
    key = client_hash(sessions[k], seed)
    slot, before = find_client(sessions, sessions[k], key, ends)
    enter(ends, slot, key, k)
    return before


@lean
def are_halves(s, o, flags, seq, ack):
    """Is a session that begins now, with a segment of these flags and numbers, the other half of ``o``, of the same client end point?"""
    # The packet in hand comes from the client (s is the sending half, o must have only received) or from the server.
    mine = (s[FSM] >> ORIGINATOR_SHIFT) & 1  # 0: this session starts with a packet of the client
    o_orig = (o[FSM] >> ORIGINATOR_SHIFT) & 1
    o_client = SIDE + o_orig * SIDE_WIDTH
    o_server = SIDE + (1 - o_orig) * SIDE_WIDTH
    if mine == 1:
        if o[o_server + FRAMES] != 0 or o[o_client + FRAMES] == 0 or not flags & c.ACK_FLAG:
            return False
        expected = (o[o_client + BASE] + 1 + (o[o_client + NEXT] if not flags & c.SYN else 0)) & 0xFFFFFFFF
        distance = np.int64(np.int32((ack - expected) & 0xFFFFFFFF))
    else:
        if o[o_client + FRAMES] != 0 or o[o_server + FRAMES] == 0:
            return False
        expected = (o[o_client + BASE] + 1 + o[o_client + NEXT]) & 0xFFFFFFFF
        distance = np.int64(np.int32(((seq + 1 if flags & c.SYN else seq) - expected) & 0xFFFFFFFF))
    return distance == 0 if flags & c.SYN else abs(distance) <= MATE_WINDOW


@lean
def _find_mate(sessions, k, row, ends, seed):
    """Redirect halves: `client > proxy` holds only what the client sends, `server > client` only what it receives. Both have the same
    client address and port, and the SYN+ACK of the one acknowledges the SYN of the other."""
    j = newest_of_client(sessions, k, ends, seed)
    if j < 0 or sessions[j, MATE] >= 0 or not are_halves(sessions[k], sessions[j], row[c.FLAGS], row[c.SEQ], row[c.ACK]):
        return
    sessions[k, MATE] = j
    sessions[j, MATE] = k


@inlined
def enter(table, slot, key, session):
    table[slot] = ((key >> 33) & TAG_MASK) << 32 | (session + 1)


@inlined
def find(sessions, table, row, key):
    """(slot, session, direction) of a row's 5-tuple: its newest session, or the free slot and -1."""
    mask = table.shape[0] - 1
    ports = row[c.PORTS]
    swapped = ports_back(ports)
    s_hi, s_lo, d_hi, d_lo = row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO]
    tag = (key >> 33) & TAG_MASK
    slot = key & mask
    while table[slot] != 0:
        if table[slot] >> 32 == tag:
            k = (table[slot] & 0xFFFFFFFF) - 1
            s = sessions[k]
            same = (s[A_LO] == s_lo) & (s[B_LO] == d_lo) & (s[PORTS] == ports) & (s[A_HI] == s_hi) & (s[B_HI] == d_hi)
            answers = (s[B_LO] == s_lo) & (s[A_LO] == d_lo) & (s[PORTS] == swapped) & (s[B_HI] == s_hi) & (s[A_HI] == d_hi)
            if same | answers:  # again no branch on the direction
                return slot, k, 1 - np.int64(same)
        slot = (slot + 1) & mask
    return slot, np.int64(-1), np.int64(0)


@inlined
def opens_anew(s, direction, number):
    """Does a SYN or SYN+ACK of this sequence number, sent by that side, open a new session of the 5-tuple of ``s``?"""
    at = SIDE + direction * SIDE_WIDTH
    return s[at + BASE_KIND] != NO_BASE and (number != s[at + BASE] or s[FSM] >> SEEN_SHIFT & (SAW_FIN | SAW_RST) != 0)


@inlined
def key_again(s, row, seed):
    """The :func:`key_hash` of session ``s``.  row : int64[WIDTH], gets its 5-tuple."""
    row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO], row[c.PORTS] = s[A_HI], s[A_LO], s[B_HI], s[B_LO], s[PORTS]
    return key_hash(row, seed)


@inlined
def find_again(sessions, table, s, row, seed):
    """(key, slot, session, direction) of the 5-tuple of session ``s``, as :func:`find` of its first frame.  row : int64[WIDTH], room to work in."""
    key = key_again(s, row, seed)
    slot, session, direction = find(sessions, table, row, key)
    return key, slot, session, direction


@lean
def wait(row, key, waiting, counts):
    """Let the first frame of a 5-tuple wait in a flood. Returns the place of the frame that must be folded before it, or -1: it waits, or goes on waiting."""
    place = key & (waiting.shape[0] - 1)
    waits = waiting[place]
    mine = waits[c.KIND] != 0 and _same_ends(row, waits)
    if mine and (row[c.FLAGS] & CONTROL != c.SYN or row[c.SEQ] != waits[c.SEQ]):
        return place
    row[c.SESSION] = -1
    row[c.DIRECTION] = 0
    row[c.OFFSET] = 0
    row[c.FRESH] = 0
    row[c.ORDINAL] = 0
    if not mine:
        if waits[c.KIND] != 0:
            if counts[GIVEN_UP] == 0:
                counts[FIRST_GIVEN_UP] = waits[c.FRAME]
            counts[GIVEN_UP] += 1
        for j in range(c.WIDTH):
            waits[j] = row[j]
        waits[c.PAY_CAP] = 0  # its buffer will be gone
        counts[EVER_WAITED] += 1
    return np.int64(-1)


@lean
def begin(arrays, row, key, slot, seed):
    """A new session for ``row``, which ``slot`` points to from now on; returns its number."""
    k = arrays.counts[SESSIONS]
    _new_session(arrays.sessions[k], row, arrays.sparse)
    arrays.counts[SLIGHT_SESSIONS] += 1
    enter(arrays.table, slot, key, k)
    arrays.counts[SESSIONS] = k + 1
    _find_mate(arrays.sessions, k, row, arrays.ends, seed)
    return k


@lean
def rehash(arrays, first, last, seed, row):
    """Fill empty tables with sessions ``first..last``, from 0 on and in order; the newest session of a 5-tuple wins. Counts the slight ones.

    ``row``: int64[WIDTH], room to work in.
    """
    sessions = arrays.sessions
    for k in range(first, last):
        s = sessions[k]
        if s[FSM] & SLIGHT:
            arrays.counts[SLIGHT_SESSIONS] += 1
        key, slot, _, _ = find_again(sessions, arrays.table, s, row, seed)
        enter(arrays.table, slot, key, k)
        newest_of_client(sessions, k, arrays.ends, seed)
