"""Stream digests: hashed while a capture is read, they are what a second reading gives, and do not depend on segments and their order."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from netlens.api import Capture, read_side_by_side
from netlens.parsers import stream_digests as m
from tests.parsers.build import End, Packet, segment, write

CLIENT, SERVER = ("192.0.2.1", 1024), ("203.0.113.10", 443)
STREAM = random.Random(7).randbytes(200_000)


def capture(path: Path, draw: random.Random, first: int = 0) -> Capture:
    """Of one connection whose client sends ``STREAM`` from a byte on, in any segments, some twice, changed the second time, and out of order."""
    ends: tuple[End, End] = (CLIENT, SERVER)
    pieces: list[tuple[int, bytes]] = []
    position = first
    while position < len(STREAM):
        size = draw.choice((1, 3, 700, 1448, 9000, 60_000))
        pieces.append((position, STREAM[position : position + size]))
        position += size
    pieces = [p for piece in pieces for p in ([piece] if draw.random() < 0.9 else [piece, (piece[0], bytes(len(piece[1])))])]
    for k in range(1, len(pieces) - 1):
        if draw.random() < 0.2:
            pieces[k], pieces[k + 1] = pieces[k + 1], pieces[k]
    packets = [segment(*ends, "S", 99), segment(*ends[::-1], "SA", 499, 100)]
    packets += [segment(*ends, "PA", 100 + position - first, 500, data) for position, data in pieces]
    each = [Packet(1000 * k, data) for k, data in enumerate(packets)]
    return Capture([write(path, each)], trail=True)


def read(*captures: Capture) -> list[m.StreamHasher]:
    read_side_by_side(captures)
    return [hasher for each in captures if (hasher := each.part.hasher) is not None]


def streams(moved: int = 0, length: int = len(STREAM)) -> m.Streams:
    return m.Streams(*(np.array([value], np.int64) for value in (0, 0, moved, length)))


def test_segments_and_their_order_do_not_matter(tmp_path: Path) -> None:
    both = [capture(tmp_path / f"{k}.pcap", random.Random(k)) for k in range(2)]
    one, other = (m.digests(hasher, c.paths, streams()) for hasher, c in zip(read(*both), both, strict=True))
    again = m.digests(None, both[0].paths, streams())
    for each in (other, again):
        assert np.array_equal(one.hashes, each.hashes)
        assert np.array_equal(one.seen, each.seen)
    assert one.seen.sum() == len(STREAM)
    numbers = m.NUMBERS.astype(object)
    block = STREAM[m.UNIT : 2 * m.UNIT]
    factor = int(m.mix(m.NUMBERS[m.UNIT], np.int64(1))) | 1
    whole = sum(int(numbers[k]) * byte for k, byte in enumerate(block)) * factor
    assert whole % 2**64 == int(one.hashes[1]) % 2**64


def test_a_stream_that_begins_elsewhere_is_read_again_at_its_positions(tmp_path: Path) -> None:
    both = [capture(tmp_path / f"{k}.pcap", random.Random(k), first) for k, first in enumerate((0, 5000))]
    hashers = read(*both)
    whole = m.digests(hashers[0], both[0].paths, streams())
    later = m.digests(hashers[1], both[1].paths, streams(5000))
    behind = slice(5, None)  # the fifth block lacks its beginning
    assert np.array_equal(whole.hashes[behind], later.hashes[behind])
    assert later.seen.sum() == len(STREAM) - 5000


def test_with_more_blocks_than_are_kept_all_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [capture(tmp_path / f"{k}.pcap", random.Random(k)) for k in range(2)]
    monkeypatch.setattr(m, "MOST_CLOSED", 10)
    hashers = read(*both)
    assert all(hasher.full for hasher in hashers)
    one, other = (m.digests(hasher, c.paths, streams()) for hasher, c in zip(hashers, both, strict=True))
    assert np.array_equal(one.hashes, other.hashes)
    assert one.seen.sum() == len(STREAM)


def test_a_capture_by_itself_is_not_hashed(tmp_path: Path) -> None:
    alone = capture(tmp_path / "alone.pcap", random.Random(0))
    assert read(alone) == []


@pytest.mark.parametrize("position", [0, 1023, 1024, (1 << 21) - 1, 1 << 21, (1 << 22) - 1, 1 << 22, 5_000_000, 1 << 33, (1 << 40) + 12345])
def test_blocks_follow_each_other_and_hold_their_positions(position: int) -> None:
    block = np.array([m.block_of(np.int64(position))])
    begin, end = m.starts(block), m.starts(block + 1)
    assert begin <= position < end
    assert m.blocks(np.array([position + 1])) == block + 1
    assert end - begin <= max(m.UNIT, position // m.OCTAVE)
    assert m.starts(np.arange(5000)).tolist() == sorted(set(m.starts(np.arange(5000)).tolist()))


def test_of_nothing_there_is_no_block() -> None:
    assert m.blocks(np.array([0, 1])).tolist() == [0, 1]
