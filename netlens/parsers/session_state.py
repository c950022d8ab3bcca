"""The state of sessions: its columns, and the arrays that the kernels of the session fold share.

One row a session, int64[n, S_WIDTH]: what concerns both ends, and a block of :data:`SIDE_WIDTH` columns for each of the two sides. Side 0 sent the
first packet. :mod:`netlens.parsers.sessions` says what the numbers mean to each other.
"""

from typing import NamedTuple

from netlens.columns import Array
from netlens.wire import hints as h

# ---- columns of the session state, int64[n, S_WIDTH] ----
A_HI, A_LO, B_HI, B_LO, PORTS = 0, 1, 2, 3, 4  # ends of side 0 and side 1; IP version << 32 | port of side 0 << 16 | port of side 1
# FSM: state of side 0 | state of side 1 << 4 | originator << 8 | completeness << 16 | FLIPPED, MIDSTREAM | STEADY << 44 | protocol << 56
LAST_FRAME, LAST_TS, FSM = 5, 6, 7
ORIGINATOR_SHIFT, SEEN_SHIFT = 8, 16
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
    LOWEST,
) = range(8, 22)
SIDE_WIDTH = 24  # three cache lines
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
) = range(SIDE + 2 * SIDE_WIDTH, SIDE + 2 * SIDE_WIDTH + 16)
S_WIDTH = SIDE + 2 * SIDE_WIDTH + 16

#: Slight sessions held: 70 MB of state, 300 MB with all tables. A scan of all ports of one host is half of it.
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
HOLE_START, HOLE_END, HOLE_NEXT = 0, 1, 2  #: columns of a hole: stream offsets, and the next hole of the same side; -1 ends the list
HOLE_WIDTH = 3
# ---- what is counted over all sessions, int64[N_COUNTS] ----
(
    SESSIONS,  # in use, rows of the state
    SLIGHT_SESSIONS,
    HOLES_USED,  # rows of holes that were ever in use
    FREE_HOLE,  # the first of those that are free again, which are a list by HOLE_NEXT; -1: none
    EVER_WAITED,  # rows that waited because of a flood
    GIVEN_UP,  # of these, how many in vain
    FIRST_GIVEN_UP,  # frame of the first of them
) = range(7)
N_COUNTS = 7


class Holes(NamedTuple):
    """Bytes that were not seen, of all sides.

    rows : int64[cap, HOLE_WIDTH].  counts : see :data:`HOLES_USED`.
    """

    rows: Array
    counts: Array


class Arrays(NamedTuple):
    """All that the session fold works on.

    sessions : int64[cap, S_WIDTH].  holes : see :class:`Holes`.  counts : int64[N_COUNTS].
    table : int64[power of 2], slot = tag << 32 | session + 1, by 5-tuple.  ends : as ``table``, the newest session of each client end point, for
    redirect halves.  keys : int64[rows + 2 * LOOK_AHEAD], room for the hashes of a batch.
    waiting : int64[power of 2, WIDTH], rows that wait for a second one while there are too many slight sessions (empty: no bound).
    """

    sessions: Array
    holes: Holes
    counts: Array
    table: Array
    ends: Array
    keys: Array
    waiting: Array
