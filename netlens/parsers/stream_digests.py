"""Stream digests: what directions of connections carried, as hashes of blocks of their bytes; and the bytes of single blocks, from a pass of their own.

Theory of operation
-------------------
1. Two capture points saw the same stream if each byte at each position is the same, whatever segments it came in, how often and in which order. So a byte
   counts once, where it was seen first, at its place in the stream.
2. The hash of a block is the sum over its bytes of byte times a random number of the position, modulo 2^64. A sum needs no order; blocks that differ
   have the same hash by a chance of 2^-50 at most. The numbers come from the system, so nobody can make a capture whose differences cancel.
3. The bytes seen of each block are counted. A block of which bytes are missing (capture loss, snaplen, the end of the capture) cannot be compared by its
   hash; its bytes can, as far as both have them (:func:`read_blocks`), and so can those of a block that differs, to find out where.
4. While a capture is read, nobody knows yet which streams will be compared, or how long they are. So all are hashed, and each has one block that is open:
   bytes of another block close it. What was closed is a row of :class:`Closed`; a block that is opened again has several, whose sum it is.

Memory is bounded: 20 bytes a block, of :data:`MOST_CLOSED` blocks, and blocks grow with the position (:func:`block_of`).

Limits: standard input and pipes cannot be read twice (CaptureError). Beyond :data:`HOLES` holes in one stream at a time the oldest is forgotten, so
bytes that fill it are missing from the count of their block.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from netlens.arrays import GrowableArray
from netlens.columns import Array
from netlens.errors import CaptureError
from netlens.parsers import pipeline
from netlens.parsers.packet_digests import readable_again
from netlens.parsers.sessions import SessionFold
from netlens.wire import columns as c
from netlens.wire.compiled import inlined, lean
from netlens.wire.numbering import mix

UNIT_SHIFT = 10
UNIT = 1 << UNIT_SHIFT  #: bytes: the smallest block, and as many random numbers are drawn
OCTAVE_SHIFT = 10
OCTAVE = 1 << OCTAVE_SHIFT  #: blocks from a position that is a power of two to the next; twice as many before the first
HOLES = 8  #: of one stream, at a time
MOST_CLOSED = 2_000_000  #: blocks of one capture, 2 GB of payload in streams of up to 2 MB; with more, what is compared is read again
_AT_FIRST = 4_096
# ---- columns of a stream, int64[n, S_WIDTH] ----
MOVED, NEXT = 0, 1  #: what is added to offsets, UNASKED: nobody asks for it; next position
BLOCK, HASH, SEEN = 2, 3, 4  #: the open block
HELD = 5  #: its row of the holes, from 1; 0: it never had one
S_WIDTH = 6
UNASKED = (1 << 63) - 1


class Streams(NamedTuple):
    """Directions of sessions that are looked at, int64[n] each. ``way``: as in wire.columns.DIRECTION.  moved : added to stream offsets, to give positions.

    length : positions below it are of interest.
    """

    session: Array
    way: Array
    moved: Array
    length: Array

    def take(self, rows: Any) -> "Streams":
        return Streams(*(column[rows] for column in self))


class Closed(NamedTuple):
    """Blocks, or parts of them, in the order in which they were closed; equal lengths.

    stream : 2 * session + direction.  block : its number in the stream.  seen : bytes.
    """

    stream: Array
    block: Array
    seen: Array
    hash: Array


CLOSED: dict[str, type] = {"stream": np.int32, "block": np.int32, "seen": np.int32, "hash": np.int64}


@dataclass
class Digests:
    """Of streams: of each block its hash and how many bytes of it were seen; int64 each.  begins : where its blocks begin, and behind the last stream."""

    begins: Array
    hashes: Array
    seen: Array

    @classmethod
    def none(cls, streams: Streams) -> "Digests":
        """Of streams of which nothing was seen."""
        begins = np.append(0, np.cumsum(blocks(streams.length)))
        return cls(begins, *np.zeros((2, int(begins[-1])), np.int64))

    def of(self, stream: int) -> tuple[Array, Array]:
        """Hashes and bytes seen of one stream."""
        those = slice(int(self.begins[stream]), int(self.begins[stream + 1]))
        return self.hashes[those], self.seen[those]

    def add(self, stream_of: Array, closed: Closed) -> None:
        """Add what was seen of blocks. ``stream_of``: row of the streams by 2 * session + direction, -1 for all others."""
        known = np.flatnonzero(closed.stream < len(stream_of))
        known = known[stream_of[closed.stream[known]] >= 0]
        stream = stream_of[closed.stream[known]]
        at = self.begins[stream] + closed.block[known]
        mine = at < self.begins[stream + 1]
        for sums, values in ((self.hashes, closed.hash), (self.seen, closed.seen)):
            np.add.at(sums, at[mine], values[known[mine]].astype(np.int64))


@inlined
def block_of(position):
    """The block that holds a position: of 1 kB up to 2 MB, and for each time that the position has doubled since then, of twice as much."""
    octave = np.int64(0)
    while position >> (UNIT_SHIFT + OCTAVE_SHIFT + 1 + octave) > 0:
        octave += 1
    return (octave << OCTAVE_SHIFT) + (position >> (UNIT_SHIFT + octave))


def starts(block: Array) -> Array:
    """The first positions of blocks."""
    octave = np.maximum((block >> OCTAVE_SHIFT) - 1, 0)
    return (block - (octave << OCTAVE_SHIFT)) << (UNIT_SHIFT + octave)


def blocks(length: Array) -> Array:
    """How many blocks hold the first ``length`` bytes."""
    last = np.maximum(length, 1) - 1
    bits = np.frexp(last.astype(np.float64))[1].astype(np.int64)
    octave = np.maximum(bits - (UNIT_SHIFT + OCTAVE_SHIFT + 1), 0)
    return np.where(length > 0, (octave << OCTAVE_SHIFT) + (last >> (UNIT_SHIFT + octave)) + 1, 0)


def _drawn(seed: bytes) -> Array:
    return np.frombuffer(hashlib.shake_256(seed).digest(8 * (UNIT + 1)), np.int64) | 1  # importing numpy's random numbers takes 30 ms


#: The random numbers of positions, which all that is compared must share: int64[UNIT + 1]; the last is for :func:`mix`
NUMBERS = _drawn(os.urandom(16))


@lean
def _add(x, stream, start, n, buf, at, numbers, closed, row):
    """Count ``n`` bytes of a stream from position ``start``, which lie in ``buf`` from ``at``; returns the next row of ``closed``."""
    i = np.int64(0)
    while i < n:
        position = start + i
        k = position & (UNIT - 1)
        m = min(UNIT - k, n - i)
        block = block_of(position)
        if block != x[BLOCK]:
            row = _close(x, stream, closed, row)
            x[BLOCK] = block
        total = np.int64(0)
        number, byte = numbers[k : k + m], buf[at + i : at + i + m]  # slices, whose places cannot be below 0: eight times as fast
        for j in range(m):
            total += number[j] * np.int64(byte[j])
        x[HASH] += total * (mix(numbers[UNIT], position >> UNIT_SHIFT) | 1)
        x[SEEN] += m
        i += m
    return row


@lean
def _close(x, stream, closed, row):
    """Write down the open block; returns the next row."""
    if x[SEEN] > 0:
        closed.stream[row], closed.block[row], closed.seen[row], closed.hash[row] = stream, x[BLOCK], x[SEEN], x[HASH]
        x[HASH], x[SEEN] = 0, 0
        row += 1
    return row


@lean
def close_all(streams, closed, row):
    """Write down all open blocks; returns the next row."""
    for stream in range(streams.shape[0]):
        row = _close(streams[stream], stream, closed, row)
    return row


@lean
def take_in(buf, packets, streams, holes, held, numbers, closed, row):
    """Take in rows whose session, direction and offset are known; returns the next row of ``closed``, and how many rows of ``holes`` are held.

    Parameters
    ----------
    streams : by 2 * session + direction; rows of others are passed over.  holes : start and end, HOLES times; an empty one is free.
    """
    for i in range(packets.shape[0]):
        packet = packets[i]
        stream = 2 * packet[c.SESSION] + packet[c.DIRECTION]
        if (
            packet[c.KIND] != c.TCP
            or packet[c.PAY_CAP] <= 0
            or packet[c.SESSION] < 0
            or stream >= streams.shape[0]
            or packet[c.FLAGS] & c.SYN
        ):
            continue
        x = streams[stream]
        if x[MOVED] == UNASKED:
            continue
        start, at = packet[c.OFFSET] + x[MOVED], packet[c.PAY_OFF]
        end = start + min(packet[c.PAY_CAP], packet[c.LENGTH])
        if start < 0:
            start, at = np.int64(0), at - start
        if start >= end:
            continue
        if x[HELD] > 0:
            mine = holes[x[HELD] - 1]
            for h in range(0, 2 * HOLES, 2):
                a, b = mine[h], mine[h + 1]
                low, high = max(a, start), min(b, end)
                if low >= high:
                    continue
                row = _add(x, stream, low, high - low, buf, at + low - start, numbers, closed, row)
                mine[h], mine[h + 1] = a, low
                if high < b:
                    _hole(mine, high, b)
        if start > x[NEXT]:
            if x[HELD] == 0:
                held += 1
                x[HELD] = held
            _hole(holes[x[HELD] - 1], x[NEXT], start)
        low = max(start, x[NEXT])
        if low < end:
            row = _add(x, stream, low, end - low, buf, at + low - start, numbers, closed, row)
            x[NEXT] = end
    return row, held


@lean
def _hole(holes, start, end):
    """Note a hole, in a free place or that of the lowest."""
    place = 0
    for h in range(0, 2 * HOLES, 2):
        if holes[h] >= holes[h + 1]:
            place = h
            break
        if holes[h] < holes[place]:
            place = h
    holes[place], holes[place + 1] = start, end


class StreamHasher:
    """Fed with decoded packets whose sessions are known: hashes all streams, or those that are named.

    full : there were more blocks than are kept, and nothing is.
    """

    def __init__(self, streams: Streams | None = None) -> None:
        self.full = False
        self._chosen = streams is not None
        self._streams = GrowableArray(np.int64, _AT_FIRST if streams is None else 2 * int(streams.session.max(initial=-1)) + 2, S_WIDTH)
        if streams is not None:
            self._streams.array[:, MOVED] = UNASKED
            self._streams.array[2 * streams.session + streams.way, MOVED] = streams.moved
        self._holes = GrowableArray(np.int64, _AT_FIRST, 2 * HOLES)
        self._held = 0
        self._columns = {name: GrowableArray(dtype, _AT_FIRST) for name, dtype in CLOSED.items()}
        self._rows = 0

    def feed(self, buf: Array, packets: Array, sessions: int) -> None:
        """Take in a batch (int64[n, WIDTH]) when there are so many sessions."""
        if self.full:
            return
        if not self._chosen:
            self._streams.make_room(2 * sessions)
        self._holes.make_room(self._held + len(packets))
        # a packet has bytes for HOLES holes and what is behind them; n bytes in a row are of n / UNIT + 2 blocks at most
        closed = self._with_room(2 * (HOLES + 1) * len(packets) + int(np.maximum(packets[:, c.PAY_CAP], 0).sum() >> UNIT_SHIFT))
        self._rows, self._held = take_in(buf, packets, self._streams.array, self._holes.array, self._held, NUMBERS, closed, self._rows)
        if not self._chosen and self._rows > MOST_CLOSED:
            self.full = True
            del self._streams, self._holes, self._columns

    def _with_room(self, rows: int) -> Closed:
        for column in self._columns.values():
            column.make_room(self._rows + rows)
        return Closed(*(column.array for column in self._columns.values()))

    def closed(self) -> Closed:
        """All blocks that are kept, after those that were open are closed; valid until more is fed."""
        streams = self._streams.array
        self._rows = close_all(streams, self._with_room(len(streams)), self._rows)
        return Closed(*(column.array[: self._rows] for column in self._columns.values()))

    def drained(self) -> Closed:
        """The blocks that were closed, which are forgotten; valid until more is fed."""
        rows, self._rows = self._rows, 0
        return Closed(*(column.array[:rows] for column in self._columns.values()))


@lean
def take_blocks(buf, packets, stream_of, moved, of, spans, first, last, seen):
    """Take in the bytes of rows that lie in stretches of streams.

    Parameters
    ----------
    stream_of : as in :func:`take_in`.  moved : by stream.  of : where the stretches of each stream begin, and behind the last.
    spans : first position, end, and where its bytes lie in ``first``, ``last`` and ``seen``; of each stream in order.
    """
    for i in range(packets.shape[0]):
        row = packets[i]
        key = 2 * row[c.SESSION] + row[c.DIRECTION]
        if row[c.KIND] != c.TCP or row[c.PAY_CAP] <= 0 or row[c.SESSION] < 0 or key >= stream_of.shape[0] or row[c.FLAGS] & c.SYN:
            continue
        k = stream_of[key]
        if k < 0:
            continue
        begin = row[c.OFFSET] + moved[k]
        end = begin + min(row[c.PAY_CAP], row[c.LENGTH])
        low, high = of[k], of[k + 1]
        while low < high:  # to the first stretch that ends behind where the row begins
            middle = (low + high) >> 1
            if spans[middle, 1] <= begin:
                low = middle + 1
            else:
                high = middle
        while low < of[k + 1] and spans[low, 0] < end:
            moved_by = spans[low, 2] - spans[low, 0]
            for position in range(max(begin, spans[low, 0]), min(end, spans[low, 1])):
                byte, at = buf[row[c.PAY_OFF] + position - begin], moved_by + position
                if not seen[at]:
                    seen[at] = True
                    first[at] = byte
                last[at] = byte
            low += 1


def digests(hasher: StreamHasher | None, paths: Sequence[str], streams: Streams) -> Digests:
    """The digests of streams of one capture. Those that were not hashed when it was read, or at other positions (``moved``), are read again.

    Parameters
    ----------
    hasher : what was fed then, if anything was.  paths : the files of the capture in order, as they were read the first time.

    Raises
    ------
    CaptureError
        an input is no regular file, or can no longer be read.
    WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    found, rows = Digests.none(streams), _rows_of(streams)
    again = np.ones(len(streams.moved), bool)
    if hasher is not None and not hasher.full:
        again = streams.moved != 0
        found.add(_only(rows, ~again), hasher.closed())
    if again.any():
        of, chosen = _only(rows, again), StreamHasher(streams.take(again))
        for buf, packets in _segments(paths, streams):
            chosen.feed(buf, packets, 0)
            found.add(of, chosen.drained())
        found.add(of, chosen.closed())
    return found


def _only(rows: Array, wanted: Array) -> Array:
    """``rows`` (of streams, -1 for none) with -1 for those that are not wanted, too."""
    return np.where((rows >= 0) & wanted[rows], rows, -1) if len(wanted) else rows


def _rows_of(streams: Streams) -> Array:
    """Row of ``streams`` by 2 * session + direction, -1 for all others."""
    out = np.full(2 * int(streams.session.max(initial=-1)) + 2, -1, np.int64)
    out[2 * streams.session + streams.way] = np.arange(len(streams.session))
    return out


def _segments(paths: Sequence[str], streams: Streams) -> Iterator[tuple[Array, Array]]:
    """(buffer, packet rows with their sessions) of a capture, once more."""
    if not readable_again(paths):
        raise CaptureError(f"{', '.join(paths)}: only regular files can be read a second time")
    if not len(streams.session):
        return
    fold = SessionFold()
    pace = pipeline.pace(alone=False)  # both sides of a comparison are read at the same time
    for unit in pipeline.Decoder().read(pipeline.reader_of(paths, pace), pace):
        for buf, packets in unit.pieces:
            if len(packets) and (packets[:, c.KIND] == c.TCP).any():
                fold.feed(packets)
                yield buf, packets


@dataclass
class Bytes:
    """A block of a stream: what was seen first and last at each position, and where anything was; equal lengths."""

    first: Array
    last: Array
    seen: Array


def read_blocks(paths: Sequence[str], streams: Streams, wanted: Mapping[int, Sequence[tuple[int, int]]]) -> dict[tuple[int, int], Bytes]:
    """The bytes of stretches of streams: by (row of ``streams``, first position).

    Parameters
    ----------
    wanted : row of ``streams`` -> (first position, end) of each stretch.

    Raises
    ------
    CaptureError, WireError
        see :func:`collect`.
    """
    chosen = sorted(wanted)
    stretches = [(k, start, end) for k in chosen for start, end in sorted(wanted[k])]
    begins = np.concatenate([[0], np.cumsum([end - start for _, start, end in stretches])]).astype(np.int64)
    spans = np.array([(start, end, at) for (_, start, end), at in zip(stretches, begins.tolist(), strict=False)], np.int64).reshape(-1, 3)
    of = np.concatenate([[0], np.cumsum([len(wanted[k]) for k in chosen])]).astype(np.int64)
    looked_at = streams.take(chosen)
    first, last, seen = (np.zeros(int(begins[-1]), dtype) for dtype in (np.uint8, np.uint8, np.bool_))
    stream_of = _rows_of(looked_at)
    for buf, packets in _segments(paths, looked_at):
        take_blocks(buf, packets, stream_of, looked_at.moved, of, spans, first, last, seen)
    parts = [slice(a, b) for a, b in pairwise(begins.tolist())]
    return {(k, start): Bytes(first[part], last[part], seen[part]) for (k, start, _), part in zip(stretches, parts, strict=True)}
