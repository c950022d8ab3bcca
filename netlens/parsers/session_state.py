"""The state of sessions: its columns, and the arrays that the kernels of the session fold share.

One row a session, int64[n, S_WIDTH]: what concerns both ends, and a block of :data:`SIDE_WIDTH` columns for each of the two sides. Side 0 sent the
first packet. :mod:`netlens.parsers.sessions` says what the numbers mean to each other. What few sessions have lies :class:`Sparse`, so that a row is six
cache lines.
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.wire import hints as h
from netlens.wire.compiled import inlined, lean

# ---- columns of the session state, int64[n, S_WIDTH] ----
A_HI, A_LO, B_HI, B_LO, PORTS = 0, 1, 2, 3, 4  # ends of side 0 and side 1; IP version << 32 | port of side 0 << 16 | port of side 1
# FSM: state of side 0 | state of side 1 << 4 | originator << 8 | completeness << 16 | FLIPPED, MIDSTREAM | STEADY << 44 | protocol << 56
LAST_FRAME, LAST_TS, FSM = 5, 6, 7
ORIGINATOR_SHIFT, SEEN_SHIFT = 8, 16
SIDE = 8  # two blocks of SIDE_WIDTH
FRAMES, BYTES, NEXT, BASE, ACKED, LAST_PAYLOAD, HOLES = range(7)  # hot: every segment, and one cache line
BASE_KIND, FIN_TS, FIN_END, FIRST_PAYLOAD, IFACE, LOWEST = range(8, 14)
SIDE_WIDTH = 16  # two cache lines. The last two numbers of each block are not the side's:
RARE, PROTOCOL = SIDE + 14, SIDE + 15  # RARE: the row of the session's rare numbers, 0 without any
# HISTORY_SEEN: bits of letters | how many there are << LETTERS_SHIFT
HISTORY_SEEN, MATE = SIDE + SIDE_WIDTH + 14, SIDE + SIDE_WIDTH + 15
FIRST_FRAME, FIRST_TS, RST_TS, CLOSED_TS, SYN_TS, SYNACK_TS, HANDSHAKE, HISTORY = range(SIDE + 2 * SIDE_WIDTH, SIDE + 2 * SIDE_WIDTH + 8)
S_WIDTH = SIDE + 2 * SIDE_WIDTH + 8
LETTERS_SHIFT = 32

# ---- columns of the rare numbers, int64[m, RARE_WIDTH]: a block for each side, and what of the history does not fit into the state ----
RETRANSMITS, OUT_OF_ORDER, COPIES, KEEPALIVES, ZERO_WINDOWS, LOST, AFTER_FIN, HOLE_COUNT = range(8)
RARE_SIDE = 8
MORE_HISTORY = 2 * RARE_SIDE
RARE_WIDTH = MORE_HISTORY + 3

#: Slight sessions held: 50 MB of state, 280 MB with all tables. A scan of all ports of one host is half of it.
MAX_SLIGHT = 1 << 17
PROTOCOL_WITHIN = 65536  #: bytes in which a stream joined mid-way may show its protocol; later a match would be chance
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
#: Columns of a hole: stream offsets; the next hole of the same side, -1 ends the list; when it was first seen, or grew. UNSET there: its bytes were sent
#: before the capture began
HOLE_START, HOLE_END, HOLE_NEXT, HOLE_SINCE = 0, 1, 2, 3
HOLE_WIDTH = 4
# ---- what is counted over all sessions, int64[N_COUNTS] ----
(
    SESSIONS,  # in use, rows of the state
    SLIGHT_SESSIONS,
    HOLES_USED,  # rows of holes that were ever in use
    RARE_USED,  # rows of rare numbers in use, with the first one
    FREE_HOLE,  # the first of those that are free again, which are a list by HOLE_NEXT; -1: none
    EVER_WAITED,  # rows that waited because of a flood
    GIVEN_UP,  # of these, how many in vain
    FIRST_GIVEN_UP,  # frame of the first of them
) = range(8)
N_COUNTS = 8


class Sparse(NamedTuple):
    """What few sessions have, in no order.

    holes : int64[cap, HOLE_WIDTH], bytes that were not seen, of all sides.  rare : int64[cap, RARE_WIDTH], numbers that are 0 for most sessions; the first
    row is that of sessions without any, and stays 0.  counts : see :data:`HOLES_USED`.
    """

    holes: Array
    rare: Array
    counts: Array


def no_sparse(rows: int = 0) -> Sparse:
    """Room for so many holes, and as many rows of rare numbers, of which none is in use."""
    counts = np.zeros(N_COUNTS, np.int64)
    counts[FREE_HOLE], counts[RARE_USED] = -1, 1
    return Sparse(np.zeros((rows, HOLE_WIDTH), np.int64), np.zeros((rows + 1, RARE_WIDTH), np.int64), counts)


@lean
def rare_row(s, sparse):
    """The row of the rare numbers of a session, to be written to; it gets one if it has none."""
    if s[RARE] == 0:
        n = sparse.counts[RARE_USED]
        sparse.counts[RARE_USED] = n + 1
        for j in range(RARE_WIDTH):
            sparse.rare[n, j] = 0
        s[RARE] = n
    return s[RARE]


@inlined
def rare_of(s, d, what, sparse):
    """A rare number of side ``d`` of a session."""
    return sparse.rare[s[RARE], d * RARE_SIDE + what]


def rare_numbers(sessions: Array, side: Array, what: int, sparse: Sparse) -> Array:
    """int64[n]: :func:`rare_of` each of ``sessions``, int64[n, S_WIDTH].  side : int64[n], 0 or 1."""
    numbers: Array = sparse.rare[sessions[:, RARE], side * RARE_SIDE + what]
    return numbers


def rare_rows(sessions: Array, rare: Array) -> Array:
    """int64[m, RARE_WIDTH]: the rows of ``rare`` that ``sessions``, int64[n, S_WIDTH], have, behind one of zeros; writes their new places into these."""
    has = np.flatnonzero(sessions[:, RARE])
    rows: Array = np.concatenate([rare[:1], rare[sessions[has, RARE]]])
    sessions[has, RARE] = np.arange(1, len(rows))
    return rows


@lean
def add_rare(s, d, what, by, sparse):
    """Add to a rare number of side ``d`` of a session; returns what it is then."""
    row, column = rare_row(s, sparse), d * RARE_SIDE + what
    sparse.rare[row, column] += by
    return sparse.rare[row, column]


class Arrays(NamedTuple):
    """All that the session fold works on.

    sessions : int64[cap, S_WIDTH].  sparse : see :class:`Sparse`.  counts : int64[N_COUNTS].
    table : int64[power of 2], slot = tag << 32 | session + 1, by 5-tuple.  ends : as ``table``, the newest session of each client end point, for
    redirect halves.  keys : int64[rows + 2 * LOOK_AHEAD], room for the hashes of a batch.
    waiting : int64[power of 2, WIDTH], rows that wait for a second one while there are too many slight sessions (empty: no bound).
    """

    sessions: Array
    sparse: Sparse
    counts: Array
    table: Array
    ends: Array
    keys: Array
    waiting: Array
