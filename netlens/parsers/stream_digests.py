"""Stream digests: what chosen directions of connections carried, as hashes of blocks of their bytes; and the bytes of single blocks. From passes of their own.

Theory of operation
-------------------
1. Two capture points saw the same stream if each byte at each position is the same, whatever segments it came in, how often and in which order. So a byte
   counts once, where it was seen first, at its place in the stream.
2. The hash of a block is the sum over its bytes of byte times a random number of the position, modulo 2^64. A sum needs no order; blocks that differ
   have the same hash by a chance of 2^-50 at most. The numbers come from the system, so nobody can make a capture whose differences cancel.
3. The bytes seen of each block are counted. A block of which bytes are missing (capture loss, snaplen, the end of the capture) cannot be compared by its
   hash; its bytes can, as far as both have them (:func:`read_blocks`), and so can those of a block that differs, to find out where.

Memory is bounded: 16 bytes a block, and blocks grow with the stream (:func:`block_shift`).

Limits: standard input and pipes cannot be read twice (CaptureError). Beyond :data:`HOLES` holes in one stream at a time the oldest is forgotten, so
bytes that fill it are missing from the count of their block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from netlens.errors import CaptureError
from netlens.parsers import pipeline
from netlens.parsers.packet_digests import readable_again
from netlens.parsers.sessions import SessionFold
from netlens.wire import columns as c
from netlens.wire.addresses import mix
from netlens.wire.compiled import lean

Array = np.ndarray[Any, Any]

UNIT_SHIFT = 10
UNIT = 1 << UNIT_SHIFT  #: bytes: the smallest block, and as many random numbers are drawn
BLOCKS = 4096  #: of one stream, about; more than that only of streams whose length was not known
HOLES = 8  #: of one stream, at a time
# ---- columns of a stream, int64[n, S_WIDTH] ----
MOVED, SHIFT, FIRST, COUNT, NEXT = range(
    5
)  #: what is added to offsets; log2 of a block; its first block in the arrays, how many; next position
HOLE = 5  # start and end, HOLES times; an empty one is free
S_WIDTH = HOLE + 2 * HOLES


class Streams(NamedTuple):
    """Directions of sessions that are looked at, int64[n] each. ``way``: as in wire.columns.DIRECTION.  moved : added to stream offsets, to give positions.

    length : positions below it are of interest.
    """

    session: Array
    way: Array
    moved: Array
    length: Array

    def take(self, rows: Any) -> Streams:
        return Streams(*(column[rows] for column in self))


@dataclass
class Digests:
    """Of streams: of each block its hash and how many bytes of it were seen; int64 each.

    shift : log2 of the length of a stream's blocks.  begins : where its blocks begin, and behind the last stream.
    """

    shift: Array
    begins: Array
    hashes: Array
    seen: Array

    def of(self, stream: int) -> tuple[Array, Array]:
        """Hashes and bytes seen of one stream."""
        blocks = slice(int(self.begins[stream]), int(self.begins[stream + 1]))
        return self.hashes[blocks], self.seen[blocks]


def block_shift(length: Array) -> Array:
    """log2 of the length of the blocks of streams of so many bytes."""
    bits = np.frexp((np.maximum(length, 1) - 1).astype(np.float64))[1].astype(np.int64)
    return np.maximum(UNIT_SHIFT, bits - (BLOCKS - 1).bit_length())


def factors(seed: bytes) -> Array:
    """The random numbers of positions, which both sides of a comparison must share: int64[UNIT + 1]; the last is for :func:`mix`.

    Parameters
    ----------
    seed : at least 8 bytes that no one could foresee.
    """
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big"))).integers(-(1 << 63), 1 << 63, UNIT + 1, np.int64) | 1


@lean
def _add(x, start, n, buf, at, numbers, hashes, seen):
    """Count ``n`` bytes of a stream from position ``start``, which lie in ``buf`` from ``at``."""
    i = np.int64(0)
    while i < n:
        position = start + i
        block = position >> x[SHIFT]
        if block >= x[COUNT]:
            return
        k = position & (UNIT - 1)
        m = min(UNIT - k, n - i)
        total = np.int64(0)
        for j in range(m):
            total += numbers[k + j] * np.int64(buf[at + i + j])
        hashes[x[FIRST] + block] += total * (mix(numbers[UNIT], position >> UNIT_SHIFT) | 1)
        seen[x[FIRST] + block] += m
        i += m


@lean
def take_in(buf, packets, stream_of, streams, numbers, hashes, seen):
    """Take in rows whose session, direction and offset are known; ``stream_of``: row of ``streams`` by 2 * session + direction, or -1."""
    for i in range(packets.shape[0]):
        row = packets[i]
        key = 2 * row[c.SESSION] + row[c.DIRECTION]
        if row[c.KIND] != c.TCP or row[c.PAY_CAP] <= 0 or row[c.SESSION] < 0 or key >= stream_of.shape[0] or row[c.FLAGS] & c.SYN:
            continue
        if stream_of[key] < 0:
            continue
        x = streams[stream_of[key]]
        start, at = row[c.OFFSET] + x[MOVED], row[c.PAY_OFF]
        end = start + min(row[c.PAY_CAP], row[c.LENGTH])
        if start < 0:
            start, at = np.int64(0), at - start
        if start >= end:
            continue
        nxt = x[NEXT]
        for h in range(HOLE, S_WIDTH, 2):
            a, b = x[h], x[h + 1]
            low, high = max(a, start), min(b, end)
            if low >= high:
                continue
            _add(x, low, high - low, buf, at + low - start, numbers, hashes, seen)
            x[h], x[h + 1] = a, low
            if high < b:
                _hole(x, high, b)
        if start > nxt:
            _hole(x, nxt, start)
        low = max(start, nxt)
        if low < end:
            _add(x, low, end - low, buf, at + low - start, numbers, hashes, seen)
            x[NEXT] = end


@lean
def _hole(x, start, end):
    """Note a hole, in a free place or that of the lowest."""
    place = HOLE
    for h in range(HOLE, S_WIDTH, 2):
        if x[h] >= x[h + 1]:
            place = h
            break
        if x[h] < x[place]:
            place = h
    x[place], x[place + 1] = start, end


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


def collect(paths: Sequence[str], streams: Streams, numbers: Array) -> Digests:
    """The digests of streams.

    Parameters
    ----------
    paths : the files of one capture in order, as they were read the first time.  numbers : :func:`factors`.

    Raises
    ------
    CaptureError
        an input is no regular file, or can no longer be read.
    WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    shift = block_shift(streams.length)
    begins = np.append(0, np.cumsum(-(-streams.length >> shift)))
    state = np.zeros((len(shift), S_WIDTH), np.int64)
    state[:, [MOVED, SHIFT, FIRST, COUNT]] = np.column_stack([streams.moved, shift, begins[:-1], np.diff(begins)])
    hashes, seen = np.zeros((2, int(begins[-1])), np.int64)
    of = packets_of(streams)
    for buf, packets in _segments(paths, streams):
        take_in(buf, packets, of, state, numbers, hashes, seen)
    return Digests(shift, begins, hashes, seen)


def packets_of(streams: Streams) -> Array:
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
    stream_of = packets_of(looked_at)
    for buf, packets in _segments(paths, looked_at):
        take_blocks(buf, packets, stream_of, looked_at.moved, of, spans, first, last, seen)
    parts = [slice(a, b) for a, b in pairwise(begins.tolist())]
    return {(k, start): Bytes(first[part], last[part], seen[part]) for (k, start, _), part in zip(stretches, parts, strict=True)}
