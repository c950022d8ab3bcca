"""Echoes that wait in a queue, and others that are late."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.lenses.made import CLIENT, MS, SERVER, Packet, S, close, found, problems, talk
from tests.parsers.build import _ip

FAR = "203.0.113.9"


def echo(number: int, at: int, took: int) -> list[Packet]:
    asked, told = (
        _ip(*ends, 1, struct.pack(">BBHHH", kind, 0, 0, 77, number) + bytes(48)) for kind, ends in ((8, (CLIENT, FAR)), (0, (FAR, CLIENT)))
    )
    return [Packet(at, asked), Packet(at + took, told)]


def echoes(took: list[int], every: int = 500 * MS) -> list[Packet]:
    """Replies that take so many milliseconds."""
    return [p for k, ms in enumerate(took) for p in echo(k, k * every, ms * MS)]


def upload(segments: int = 500, at: int = 2500 * MS, over: int = 8 * S, waits: int = 0) -> list[Packet]:
    """``waits``: how long the segments, or their acknowledgments, are on the way."""
    made = talk(at=at)
    for _ in range(segments):
        made.at += over // segments - 4 * MS
        made.up("A", 1400)
        late = made.down("A")
        made.packets[-1] = Packet(late.at + waits, late.data)
    made.at += waits
    return sorted(close(made).packets, key=lambda packet: packet.at)


USUAL = [30] * 5
GROWN = [300, 700, 1000, 1300, 1400, 1450, 1440, 1400, 1300, 1350, 1200, 900, 400, 40, 30]


def test_a_queue_that_an_upload_fills(tmp_path: Path) -> None:
    this = found(tmp_path, echoes(USUAL + GROWN), upload(waits=S))
    assert problems(this) == {"ping-slow"}
    assert this["ping-slow"].text.startswith(
        f"Packets waited up to 1.4 s in a queue on the way (bufferbloat): 13 pings in a row to {FAR} took 300 ms to 1.4 s while 1 connection "
        f"({SERVER}:80) carried "
    )
    assert this["ping-slow"].text.endswith("; 30 ms is usual.")


def test_a_host_that_is_slow_alone(tmp_path: Path) -> None:
    this = found(tmp_path, echoes(USUAL + GROWN), upload())["ping-slow"]
    assert (this.severity, this.text) == ("warning", f"13 pings in a row to {FAR} took 300 ms to 1.4 s; 30 ms is usual.")


def test_a_queue_that_is_long_for_a_while_and_then_shorter(tmp_path: Path) -> None:
    this = found(tmp_path, echoes([*USUAL, 430, 440, 440, 200, *[110] * 9, 60, 30]), upload(waits=S // 5))
    assert this["ping-slow"].text.startswith(
        f"Packets waited up to 410 ms in a queue on the way (bufferbloat): 13 pings in a row to {FAR} took 110 ms to 440 ms"
    )
    assert "ping-slow" not in found(tmp_path, echoes([*USUAL, 430, 440, 200, *[110] * 9, 60, 30]), upload())


@pytest.mark.parametrize(
    ("took", "segments"),
    [
        (USUAL + GROWN, 20),
        ([*USUAL, *[30] * 6, 1500, *[30] * 8], 500),
        ([*USUAL, *[120, 240, 60, 300, 30, 280, 150, 310, 90, 250, 200, 110, 330]], 500),
        ([*USUAL, *range(6000, 0, -500), 30], 500),
        ([900] * 20, 500),
        ([*USUAL, *[350] * 12], 500),
        ([76, 52, 28, 4, *range(1004, 0, -24)], 5000),
    ],
    ids=[
        "nothing sent",
        "one",
        "Wi-Fi that saves power",
        "all at once, as after an interruption",
        "a satellite",
        "less than people notice",
        "Wi-Fi that wakes up from time to time, whatever is sent to others",
    ],
)
def test_echoes_that_wait_in_no_queue(tmp_path: Path, took: list[int], segments: int) -> None:
    always = {"at": 0, "over": 30 * S} if segments > 500 else {}
    assert "ping-slow" not in found(tmp_path, echoes(took), upload(segments, **always))


def test_a_way_that_is_slow_all_the_time_and_swings(tmp_path: Path) -> None:
    this = found(tmp_path, echoes([900, 1400, 1000, 1300, 1250, 880, 1100, 1500, 950, 1200, 1350, 1000], S))["ping-slow"]
    assert (this.severity, this.text) == ("warning", f"Pings to {FAR} took 880 ms to 1.5 s, 1.1 s in the median of 12.")


@pytest.mark.parametrize(
    "took",
    [
        [900, 905, 910, 900] * 4,  # far, as by two satellites
        [600, 640, 700, 610] * 4,  # by one
        [*range(6500, 500, -500)],  # what comes all at once when a host wakes up
        [40, 3000] * 8,  # a telephone that sleeps
        [40, 300, 90, 350] * 4,  # Wi-Fi that saves power
        [900, 1500, 1000],  # three tell little
    ],
)
def test_ways_that_are_long(tmp_path: Path, took: list[int]) -> None:
    assert "ping-slow" not in found(tmp_path, echoes(took, 500 * MS))
