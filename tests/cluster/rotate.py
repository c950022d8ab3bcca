"""Captures cut into files as a rotation would, and workers that are no processes."""

from __future__ import annotations

import gzip
import itertools
import random
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import netlens
from netlens.cluster.job import ClusterCapture, Executor
from netlens.cluster.sources import Source

TABLES = ("sessions", "connections", "lookups", "exchanges", "tunnels")


def records(data: bytes) -> tuple[bytes, list[bytes]]:
    """(file header, records) of a pcap or of a pcapng with one section, both little-endian."""
    found = []
    if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1"):
        at = 24
        while at + 16 <= len(data):
            size = 16 + struct.unpack_from("<I", data, at + 8)[0]
            found.append(data[at : at + size])
            at += size
        return data[:24], found
    head, at = b"", 0
    while at + 12 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        if kind in (0x0A0D0D0A, 1):
            head += data[at : at + size]
        else:
            found.append(data[at : at + size])
        at += size
    return head, found


def cut(capture: Path, folder: Path, cuts: Sequence[int], pack: bool = False) -> list[str]:
    """Write the frames between the cuts as files of their own; their paths in order."""
    data = capture.read_bytes()
    head, frames = records(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, (a, b) in enumerate(itertools.pairwise([0, *cuts, len(frames)])):
        path = folder / f"part{i}.pcap{'.gz' if pack else ''}"
        content = head + b"".join(frames[a:b])
        path.write_bytes(gzip.compress(content, 1) if pack else content)
        paths.append(str(path))
    return paths


def anywhere(rng: random.Random, frames: int, most: int) -> list[int]:
    return sorted(rng.randint(0, frames) for _ in range(rng.randint(1, most)))


class InTurn(Executor):
    """Runs what is submitted at once, and hands results on in random order."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def as_done(self, handles: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        order = list(range(len(handles)))
        self.rng.shuffle(order)
        for i in order:
            yield i, handles[i]


def in_turn(paths: Sequence[str], rng: random.Random, tables: Sequence[str] = TABLES) -> ClusterCapture:
    return ClusterCapture(InTurn(rng), [Source(p, i, False) for i, p in enumerate(paths)], tables)


def assert_same(made: Any, paths: Sequence[str], tables: Sequence[str] = TABLES, note: Any = "") -> None:
    """All rows of ``made`` are those of one machine."""
    whole = netlens.read(list(paths))
    assert made.first_ns == whole.part.first_ns
    for name in tables:
        expected, found = whole.table(name), made.table(name)
        for column in expected:
            assert expected[column].dtype == found[column].dtype
        assert list(found.records()) == list(expected.records()), (name, note)
