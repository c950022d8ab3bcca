"""What the plan needs to know of each session of a file: hashes of its ends, how it begins and ends here, and what is still looked for in it."""

from dataclasses import dataclass

import numpy as np

from netlens.cluster.kernels import flatten, unite
from netlens.columns import Array
from netlens.parsers import session_state as s_
from netlens.parsers.hellos import HelloBuilder
from netlens.parsers.streams import at_53

#: New payload behind which a search for a ClientHello is over that began unseen: more than hellos.LOOKS + MAX_SEGMENTS + LOOKS_AFTER segments of 64 KiB
LOOKED_BYTES = 4 << 20

# ---- bits of a session in Keys ----
BEGINS, SAW_END, MATED, FORCED, ONLY_SYNS, NO_SYN = 1, 2, 4, 8, 16, 32
ONLY_UP, ONLY_DOWN, CLIENT_FIRST = 64, 128, 256  # frames of the originator only, of the responder only; the first one is the originator's
#: What an end sends is still looked at for a ClientHello. A is the end with the smaller hash, which is the same one in every file
LOOKS_A, LOOKS_B = 512, 1024


@dataclass
class Keys:
    """What the plan needs of a file, by session in order of first frame."""

    flow: Array  # uint64, hash of the 5-tuple, the same in both directions
    client: Array  # uint64, hash of the originator's address and port
    group: Array  # int32, sessions that may touch each other within the file: same flow or same client
    isn: Array  # uint32, of the originator; only where BEGINS
    bits: Array  # uint16
    #: of sessions that have no beginning or no end here, and are still looked at: int32[m], their places; int64[m, 4], sequence numbers at which
    #: A's stream begins here and is to go on, then B's. -1: not known, or the search for hellos is in the middle of one
    open_at: Array
    numbers: Array
    #: of sessions joined mid-way that hold a SYN or SYN+ACK, which may open another session that the file alone does not see, with the other end as
    #: its client: int32[m], their places; uint64[m], hash of that end
    turning_at: Array
    turning_client: Array

    @property
    def groups(self) -> int:
        return int(self.group.max()) + 1 if len(self.group) else 0


def is_dns(sessions: Array, k: Array) -> Array:
    """Whether sessions ``k`` are DNS over TCP, by a port of their own or of the other redirect half."""
    mates = sessions[k, s_.MATE]
    found: Array = at_53(sessions[k, s_.PORTS]) | ((mates >= 0) & at_53(sessions[mates, s_.PORTS]))
    return found


def _mixed(x: Array) -> Array:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: Array = x ^ (x >> np.uint64(31))
    return out


def keys_of(state: Array, seed: int, hellos: HelloBuilder, dns: bool) -> tuple[Keys, Array]:
    """The keys; bool[n], whether A (see LOOKS_A) is side 0 of the session. ``dns``: DNS over TCP is looked for."""
    n = len(state)
    u = state[:, : s_.PORTS + 1].astype(np.uint64)
    ports, salt = u[:, s_.PORTS], np.uint64(seed)
    version = ports >> np.uint64(32)
    ends = [
        _mixed(_mixed(_mixed(u[:, hi] ^ salt) + u[:, lo]) + (version << np.uint64(16) | ports >> np.uint64(shift) & np.uint64(0xFFFF)))
        for hi, lo, shift in ((s_.A_HI, s_.A_LO, 16), (s_.B_HI, s_.B_LO, 0))
    ]
    flow = _mixed(ends[0] + ends[1]) ^ _mixed(ends[0] ^ ends[1])
    fsm = state[:, s_.FSM]
    orig = (fsm >> 8) & 1
    client, server = np.where(orig == 0, ends, ends[::-1])
    at = np.arange(n)
    side = s_.SIDE + orig * s_.SIDE_WIDTH
    begins = fsm & s_.MIDSTREAM == 0
    bits = np.zeros(n, np.uint16)
    bits[begins] |= BEGINS
    bits[(fsm >> 16) & (s_.SAW_FIN | s_.SAW_RST) != 0] |= SAW_END
    bits[state[at, s_.SIDE + (1 - orig) * s_.SIDE_WIDTH + s_.FRAMES] == 0] |= ONLY_UP
    bits[state[at, side + s_.FRAMES] == 0] |= ONLY_DOWN
    bits[orig == 0] |= CLIENT_FIRST
    bits[(fsm >> 16) & (s_.SAW_SYN | s_.SAW_SYNACK) == 0] |= NO_SYN
    bits[state[:, s_.MATE] >= 0] |= MATED
    bits[begins & (fsm & s_.SLIGHT != 0)] |= ONLY_SYNS
    if dns and n:
        bits[is_dns(state, at)] |= FORCED
    a_is_0 = ends[0] <= ends[1]
    looks, expected = hellos.looking(n)
    looking = looks != 0
    for d in (0, 1):  # joined mid-way, the file has looked at other segments than the whole
        looking[~begins & (state[:, s_.SIDE + d * s_.SIDE_WIDTH + s_.BYTES] < LOOKED_BYTES), d] = True
    alike = ends[0] == ends[1]
    bits[looking[at, np.where(a_is_0, 0, 1)] | alike] |= LOOKS_A
    bits[looking[at, np.where(a_is_0, 1, 0)] | alike] |= LOOKS_B
    open_at = np.flatnonzero((bits & (BEGINS | SAW_END) != BEGINS | SAW_END) & (bits & (LOOKS_A | LOOKS_B) != 0) & ~alike)
    numbers = np.empty((len(open_at), 4), np.int64)
    for d in (0, 1):
        of_side = state[open_at, s_.SIDE + d * s_.SIDE_WIDTH : s_.SIDE + (d + 1) * s_.SIDE_WIDTH]
        there = of_side[:, s_.BASE_KIND] != s_.NO_BASE
        first = (of_side[:, s_.BASE] + 1) & 0xFFFFFFFF
        next_one = (first + expected[open_at, d]) & 0xFFFFFFFF
        column = 2 * (a_is_0[open_at] != (d == 0))
        numbers[np.arange(len(open_at)), column] = np.where(there, first, -1)
        numbers[np.arange(len(open_at)), column + 1] = np.where(there & (looks[open_at, d] >= 0), next_one, -1)
    base = state[at, side + s_.BASE].astype(np.uint32)
    turning = np.flatnonzero(bits & (BEGINS | NO_SYN) == 0)
    group = _grouped(n, (at, flow), (np.concatenate([at, turning]), np.concatenate([client, server[turning]])))
    return Keys(flow, client, group, base, bits, open_at.astype(np.int32), numbers, turning.astype(np.int32), server[turning]), a_is_0


def _grouped(n: int, *columns: tuple[Array, Array]) -> Array:
    """int32[n]: rows that are equal in one of the columns (row of each value, values), and those equal to these, have one number."""
    parent = np.arange(n)
    for rows, column in columns:
        order = np.argsort(column, kind="stable")
        same = np.flatnonzero(column[order[1:]] == column[order[:-1]])
        unite(rows[order[same]], rows[order[same + 1]], parent)
    flatten(parent)
    return np.unique(parent, return_inverse=True)[1].astype(np.int32)
