"""Packet digests: what tells one packet of a chosen connection from all others, and when it was captured.

The word and the idea are those of PSAMP (RFC 5475 6.2): a hash of what does not change on the way, by which observation points choose the same packets.

Tables hold no packets, and few questions need them: whether the very same packet was seen at another capture point (clock), or when a byte of a
stream was (bounds through a tunnel). Once the tables have told which connections are worth it, a digest is made of each of their packets: from
the trail (:mod:`netlens.parsers.trail`), which has kept what it takes, or, of a capture with more segments than a trail holds, in a second pass
over the files.

Memory is bounded: beyond ``cap`` digests they are thinned out, evenly in time, and *alike in two captures*: of each stretch of time those with the
lowest key stay. The key depends on what travels with the packet only, so a packet that is kept here is, but for the border between stretches, kept
at the other capture point too; a random choice on either side would leave a thousandth of what a thirtieth each had in common.

Limits: standard input and pipes cannot be read twice (CaptureError). Packets without a time are left out, and in a trail those of a flood
that became no session.
"""

from __future__ import annotations

import inspect
import os
import stat
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.columns import NEVER, distinct_rows
from netlens.errors import CaptureError
from netlens.parsers import pipeline
from netlens.parsers.session_lookup import enter, find, key_hash
from netlens.parsers.session_state import A_HI, A_LO, B_HI, B_LO, PORTS
from netlens.wire import columns as c
from netlens.wire.addresses import random_seed
from netlens.wire.compiled import lean
from netlens.wire.numbering import mix

if TYPE_CHECKING:
    from netlens.parsers.trail import Trail

Ints = np.ndarray[Any, Any]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

# ---- columns of the digests, int64[n, DIGEST_WIDTH], in capture order ----
TIME, FRAME = 0, 1  #: ns since 1970 UTC; frame number from 1, going on over several files
FLOW, DIRECTION = 2, 3  #: row of ``flows``; 0 sent by its first end, 1 by its second
SEQ, ACK, STAMP, LENGTH, FLAGS = (
    4,
    5,
    6,
    7,
    8,
)  #: as in wire.columns; STAMP: see stamp(); of the flags only SYN, FIN, RST (offload moves PSH)
WINDOW = 9  #: unscaled; tells a window update from the acknowledgment just before it
IFACE = 10  #: as in wire.columns
KEY = 11  #: hash of DIRECTION and SEQ to WINDOW: equal for one packet at all capture points
DIGEST_WIDTH = 12

# Flows are int64[n, 5]: the first columns of the session state, A_HI to PORTS.

#: Digests kept: 96 bytes each, and four times as many while a file is read, 38 MB. A tenth of it still bounds a clock nearly as well.
CAP = 100_000
AT_A_TIME = 1 << 16  #: segments of a trail whose columns are copied at the same time
STRETCHES = 1024  #: of time, in which equally many digests are kept: 3.5 s of an hour


@lean
def _enter_flows(flows, table, seed, row):
    """Fill ``table`` (zeros, its length a power of two) with the rows of ``flows``; of equal ones the first is found. ``row``: room for a packet row."""
    for i in range(len(flows)):
        row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO] = flows[i, A_HI], flows[i, A_LO], flows[i, B_HI], flows[i, B_LO]
        row[c.PORTS] = flows[i, PORTS]
        key = key_hash(row, seed)
        slot, known, _ = find(flows, table, row, key)
        if known < 0:
            enter(table, slot, key, i)


@lean
def stamp(tsval):
    """TCP timestamps, of both sides, in 32 bits, for packets to be told apart by: an odd number; 0 without."""
    return np.int64(0) if tsval == -1 else (tsval >> 32 ^ (tsval & 0xFFFFFFFF) * 0x9E37) & 0xFFFFFFFF | 1


@lean
def pick(packets, flows, table, seed, out, at):
    """Append a digest to ``out`` (from row ``at`` on; it must have room for all) for each packet of a chosen flow; returns the next row."""
    for i in range(len(packets)):
        row = packets[i]
        if row[c.KIND] != c.TCP or row[c.TS] <= 0:
            continue
        _, flow, direction = find(flows, table, row, key_hash(row, seed))
        if flow < 0:
            continue
        flags = row[c.FLAGS] & (c.SYN | c.FIN | c.RST)
        digest = out[at]
        digest[TIME], digest[FRAME], digest[FLOW], digest[DIRECTION] = row[c.TS], row[c.FRAME], flow, direction
        digest[SEQ], digest[ACK], digest[STAMP] = row[c.SEQ], row[c.ACK], stamp(row[c.TSVAL])
        digest[LENGTH], digest[FLAGS], digest[WINDOW], digest[IFACE] = row[c.LENGTH], flags, row[c.WINDOW], row[c.IFACE]
        key = mix(mix(row[c.SEQ] << 32 | row[c.ACK], digest[STAMP]), row[c.LENGTH] << 32 | row[c.WINDOW] << 16 | flags << 1 | direction)
        digest[KEY] = mix(key, key >> 17)
        at += 1
    return at


def _key(direction: Ints, seq: Ints, ack: Ints, stamps: Ints, length: Ints, flags: Ints, window: Ints) -> Ints:
    """KEY of many packets."""
    hashed: Any = inspect.unwrap(mix)
    key = hashed(hashed(seq << 32 | ack, stamps), length << 32 | window << 16 | flags << 1 | direction)
    found: Ints = hashed(key, key >> 17)
    return found


def thin(digests: Ints, cap: int) -> Ints:
    """At most ``cap`` of the digests, in order; see :func:`_lowest`."""
    return digests if len(digests) <= cap else np.ascontiguousarray(digests[_lowest(digests[:, TIME], digests[:, KEY], cap)])


def _lowest(times: Ints, keys: Ints, cap: int) -> Bools:
    """Which of more than ``cap`` digests are kept: of each of :data:`STRETCHES` stretches of time the same number at most, those with the lowest keys; of the
    equal ones at that border none."""
    first = int(times.min())
    stretch = (times - first) // max(1, -((first - int(times.max()) - 1) // STRETCHES))
    place = stretch << 53 | keys >> 11 & (1 << 53) - 1
    counts = np.bincount(stretch, minlength=STRETCHES)
    low, high = 0, len(times)  # so many of each stretch fit, do not fit
    while high - low > 1:
        middle = (low + high) // 2
        if int(np.minimum(counts, middle).sum()) <= cap:
            low = middle
        else:
            high = middle
    border = np.full(STRETCHES, NEVER)
    first_out = (np.cumsum(counts) - counts + low)[counts > low]  # in order of ``place``, all of which need not be put in order
    border[counts > low] = np.partition(place, first_out)[first_out]
    kept: Bools = place < border[stretch]
    return kept


def canonical(flows: Ints) -> tuple[Ints, Bools]:
    """Flows with the lower end first, and which of them are turned for that."""
    port_a, port_b, version = flows[:, 4] >> 16 & 0xFFFF, flows[:, 4] & 0xFFFF, flows[:, 4] >> 32
    turn = np.zeros(len(flows), np.bool_)
    equal = np.ones(len(flows), np.bool_)
    for x, y in ((flows[:, 0], flows[:, 2]), (flows[:, 1], flows[:, 3]), (port_a, port_b)):
        turn |= equal & (x > y)
        equal &= x == y
    back = np.column_stack([flows[:, 2], flows[:, 3], flows[:, 0], flows[:, 1], version << 32 | port_b << 16 | port_a])
    return np.where(turn[:, None], back, flows), turn


def of_trail(trail: Trail, sessions: Ints, flows: Ints, cap: int = CAP) -> Ints:
    """The same as :func:`collect`, from what was kept of each segment.

    Parameters
    ----------
    sessions : int64[n, 5]: the ends of each session of the trail, as those of ``flows``.
    """
    if not len(flows) or not len(sessions):
        return np.zeros((0, DIGEST_WIDTH), np.int64)
    (those, turned), (wanted, turned_back) = canonical(sessions), canonical(flows)
    number = distinct_rows(*np.concatenate([wanted, those]).T)[1]
    flow_of = np.full(int(number.max()) + 1, -1, np.int64)
    flow_of[number[: len(flows)][::-1]] = np.arange(len(flows))[::-1]  # of equal ones the first
    flow = flow_of[number[len(flows) :]]
    way = turned ^ turned_back[flow]
    segments = trail.segments()
    rows = np.flatnonzero((flow >= 0)[segments["session"]] & (segments["ts"] > 0))
    rows = rows[np.argsort(segments["frame"][rows])]

    def columns(rows: Ints) -> list[Ints]:
        """From FLOW to WINDOW."""
        session = segments["session"][rows]
        named = [segments[name][rows].astype(np.int64) for name in ("seq", "ack", "stamp", "length", "flags", "window")]
        named[FLAGS - SEQ] &= c.SYN | c.FIN | c.RST
        return [flow[session], segments["way"][rows] ^ way[session], *named]

    parts = range(0, len(rows), AT_A_TIME)  # all at a time would take as much memory as the trail
    key = np.concatenate([np.zeros(0, np.int64), *(_key(*columns(rows[at : at + AT_A_TIME])[1:]) for at in parts)])
    if len(rows) > cap:
        kept = _lowest(segments["ts"][rows], key, cap)
        rows, key = rows[kept], key[kept]
    # in memory column by column, as they are looked at
    return np.stack([segments["ts"][rows], segments["frame"][rows], *columns(rows), segments["iface"][rows], key]).T


def readable_again(paths: Iterable[str]) -> bool:
    """Whether a second pass over these captures is possible: all are files."""
    try:
        return all(path != "-" and stat.S_ISREG(os.stat(path).st_mode) for path in paths)
    except OSError:
        return False


def collect(paths: list[str], flows: Ints, cap: int = CAP) -> Ints:
    """The digests of the packets of ``flows``: int64[n, DIGEST_WIDTH] in capture order, n <= ``cap``.

    Parameters
    ----------
    paths : the files of one capture in order, as they were read the first time.
    flows : int64[m, 5], see above; the order of the two ends is the caller's.
    cap : digests to keep, at least :data:`STRETCHES`; beyond it they are thinned out.

    Raises
    ------
    CaptureError
        an input is no regular file, or can no longer be read.
    WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    if not readable_again(paths):
        raise CaptureError(f"{', '.join(paths)}: only regular files can be read a second time")
    if not len(flows):
        return np.zeros((0, DIGEST_WIDTH), np.int64)
    flows = np.ascontiguousarray(flows, np.int64)
    seed = random_seed()
    table = np.zeros(1 << (4 * len(flows) - 1).bit_length(), np.int64)
    _enter_flows(flows, table, seed, np.zeros(c.WIDTH, np.int64))
    room, at = np.zeros((4096, DIGEST_WIDTH), np.int64), 0
    pace = pipeline.pace(alone=True)
    for unit in pipeline.Decoder().read(pipeline.reader_of(paths, pace), pace):
        for _, packets in unit.pieces:
            if at + len(packets) > 4 * cap:
                kept = thin(room[:at], cap)
                room[: len(kept)] = kept
                at = len(kept)
            if at + len(packets) > len(room):
                room = np.concatenate([room[:at], np.zeros((at + 2 * len(packets), DIGEST_WIDTH), np.int64)])
            at = pick(packets, flows, table, seed, room, at)
    return thin(room[:at], cap).copy()
