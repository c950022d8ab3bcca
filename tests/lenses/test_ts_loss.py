"""Television in UDP: transport streams made here, whole and with holes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import SERVER, found
from tests.parsers.build import MS, Packet, datagram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GROUP = "239.1.1.1"


def stream(lost: Callable[[int], bool], jumps: Callable[[int], bool] = lambda _: False, n: int = 300, again: bool = False) -> list[Packet]:
    """Datagrams of seven packets: six of pictures, one of sound, and now and then stuffing and tables.  jumps : where the stream says that it was cut."""
    counters, out = dict[int, int](), list[Packet]()
    for k in range(n):
        data = b""
        for j in range(7):
            pid = 0x1FFF if (k + j) % 11 == 0 else 0 if (k, j) == (k // 50 * 50, 3) else 0x101 if j == 6 else 0x100
            cut = jumps(k) and j in (0, 6)
            counters[pid] = counters.get(pid, 0) + (9 if cut else 1)
            fields = b"\x07\x80" if cut else b"\xaa\xaa"
            data += bytes([0x47, pid >> 8, pid & 255, (0x30 if cut else 0x10) | counters[pid] & 15]) + fields + bytes(182)
        if not lost(k):
            out += [Packet(10 * MS * k + twice, datagram((SERVER, 33_000), (GROUP, 5004), data)) for twice in range(1 + again)]
    return out


def routed(packets: list[Packet], later: int) -> list[Packet]:
    """As a router shows them that sends each on."""
    return sorted([*packets, *(Packet(each.at + later, each.data) for each in packets)], key=lambda each: each.at)


def looped(rounds: int, start: int = 0) -> list[Packet]:
    """A file of 50 datagrams again and again.  start : what its counters begin with."""
    out = list[Packet]()
    for k in range(50 * rounds):
        place, data = k % 50, b""
        for j in range(7):
            pid, number = (0x101, place) if j == 6 else (0x100, 6 * place + j)
            data += bytes([0x47, pid >> 8, pid & 255, 0x10 | start + number & 15]) + bytes([place] * 184)
        out.append(Packet(10 * MS * k, datagram((SERVER, 33_000), (GROUP, 5004), data)))
    return out


def test_a_stream_with_holes(tmp_path: Path) -> None:
    this = found(tmp_path, stream(lambda k: k % 20 == 7))["ts-loss"]  # behind one hole the sound comes a datagram later than the pictures
    assert this.severity == "problem"
    assert this.text == (
        "Packets of 1 television stream (MPEG-TS) to 239.1.1.1:5004 are missing: the counters jump before 16 of 285 datagrams over 3.0 s."
    )


def test_a_stream_with_holes_that_was_recorded_twice(tmp_path: Path) -> None:
    this = found(tmp_path, routed(stream(lambda k: k % 20 == 7), 25 * MS))["ts-loss"]
    assert this.severity == "problem"
    assert "before 16 of 285 datagrams" in this.text


def test_a_stream_that_was_interrupted(tmp_path: Path) -> None:
    """For a moment, in which every other datagram is missing."""
    assert found(tmp_path, stream(lambda k: 100 < k < 140 and k % 2 == 1))["ts-loss"].severity == "warning"


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(stream(lambda _: False), id="whole"),
        pytest.param(stream(lambda _: False, again=True), id="recorded twice"),
        pytest.param(routed(stream(lambda _: False), 25 * MS), id="recorded twice, the second time behind others"),
        pytest.param(looped(20), id="a loop that begins at zero"),
        pytest.param(looped(20, start=5), id="a loop"),
        pytest.param(stream(lambda k: k in (50, 150, 250)), id="a few"),
        pytest.param(stream(lambda _: False, jumps=lambda k: k % 20 == 7), id="cut on purpose"),
        pytest.param([Packet(10 * MS * k, datagram((SERVER, 33_000), (GROUP, 5004), (b"G" + bytes([k * k % 251] * 187)) * 7)) for k in range(300)],
                     id="no counters"),
    ],
)  # fmt: skip
def test_streams_without_holes(tmp_path: Path, packets: list[Packet]) -> None:
    assert "ts-loss" not in found(tmp_path, packets)
