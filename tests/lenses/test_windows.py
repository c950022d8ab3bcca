"""Windows that bound a transfer, and data in pieces of a few bytes; and what looks like them."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP

from tests.lenses.made import CLIENT, GET, MS, SERVER, Packet, close, found, problems, talk
from tests.parsers.build import Talk

FULL = 1448


def with_options(packet: Packet, options: list[tuple[str, object]]) -> Packet:
    layer = IP(packet.data)
    layer[TCP].options = options
    layer[TCP].dataofs = layer.len = layer[TCP].chksum = None
    return Packet(packet.at, bytes(layer))


def opened(trip: int, window: int, syn: int, near_client: bool, scale: int | None = None) -> Talk:
    made = Talk((CLIENT, 40_000), (SERVER, 80), isn=1000, answer=2000, step=0)
    made.up("S", window=syn)
    made.at += trip if near_client else 0
    made.down("SA", window=60_000)
    made.at += 0 if near_client else trip
    made.up("A", window=window)
    if scale is not None:
        made.packets[:2] = [with_options(packet, [("MSS", 1460), ("WScale", scale)]) for packet in made.packets[:2]]
    made.up("PA", GET, window=window)
    return made


def download(
    window: int = 2920, trip: int = 80 * MS, rounds: int = 150, flight: int = 2 * FULL, syn: int | None = None, near_client: bool = True,
    scale: int | None = None, waits: int = 0, put_off: int = 0, asks: bool = False,
) -> list[Packet]:  # fmt: skip
    """The server sends ``flight`` bytes in each round trip. ``waits``: longer than that.  put_off : how long acknowledgments are.  asks : for each of them."""
    made = opened(trip, window, window if syn is None else syn, near_client, scale)
    for _ in range(rounds):
        made.at += trip + waits if near_client else waits
        left = flight
        while left:
            made.down("A", min(left, FULL))
            left -= min(left, FULL)
        made.at += put_off + (0 if near_client else trip)
        made.up("PA" if asks else "A", GET if asks else b"", window=window)
    return close(made).packets


def test_a_window_that_bounds_a_transfer(tmp_path: Path) -> None:
    this = found(tmp_path, download(scale=0))
    assert problems(this) == {"small-window"}
    assert this["small-window"].text == (
        "1 transfer with 198.51.100.20:80 went no faster than the receive window of 192.0.2.10 allows: 2,920 bytes in each round trip (80 ms) are 36.3 kB a "
        "second, 433 kB took 11.9 s."
    )
    assert found(tmp_path, download(near_client=False, scale=0))["small-window"].severity == "problem"


@pytest.mark.parametrize(
    "packets",
    [
        download(rounds=80, scale=0),
        download(window=20_440, flight=14 * FULL, scale=0),
        download(),
        download(put_off=30 * MS, scale=0),
        download(window=512, flight=512, scale=0),
    ],
    ids=["people wait so long", "250 kB/s", "a device that scales no windows", "a device that acknowledges at its pace", "little to carry"],
)
def test_windows_that_a_receiver_may_mean(tmp_path: Path, packets: list[Packet]) -> None:
    assert found(tmp_path, packets)["small-window"].severity == "warning"


def test_a_window_scale_that_was_changed_on_the_way(tmp_path: Path) -> None:
    this = found(tmp_path, download(window=63, flight=63, syn=64_240, near_client=False))
    assert problems(this) == {"small-window"}
    assert "its SYN gave 64,240 bytes and the next packet 63" in this["small-window"].text
    assert "window scale" in this["small-window"].advice
    this = found(tmp_path, download(window=63, flight=63, syn=64_240, scale=10))
    assert problems(this) == {"small-window"}
    assert "are to be multiplied by 1,024, as the SYN says here, and 198.51.100.20 does not" in this["small-window"].text


@pytest.mark.parametrize(
    "packets",
    [
        download(window=30_000),
        download(trip=2 * MS, rounds=4000),
        download(waits=160 * MS, rounds=80),
        download(asks=True),
        download(window=285, flight=2 * FULL, syn=64_240, scale=10),
        download(rounds=40),
        download(window=502, flight=400, syn=64_240, scale=7),
        download(window=502, flight=700, syn=64_240, scale=7),
    ],
    ids=[
        "the sender has no more",
        "near",
        "a line that is full makes the round trip longer",
        "one asks for each",
        "a large window, scaled",
        "a few seconds",
        "one has little to say, and waits (Nagle)",
        "one has a little more to say",
    ],
)
def test_windows_that_bound_nothing(tmp_path: Path, packets: list[Packet]) -> None:
    assert "small-window" not in found(tmp_path, packets)


def writes(count: int = 1200, size: int = 4, every: int = MS // 2, trip: int = 8 * MS, answered: bool = False) -> list[Packet]:
    """A client sends pieces; each is acknowledged a round trip later, or answered."""
    made = talk()
    made.step = 0
    begin, sent = made.at, made.seq
    packets: list[Packet] = []
    for k in range(count):
        made.at = begin + k * every
        packets.append(made.up("PA", b"x" * size))
        made.at = begin + k * every + trip
        packets.append(made.down("PA" if answered else "A", b"y" if answered else b"", ack=sent + (k + 1) * size))
    made.at = begin + count * every + 2 * trip
    made.step = MS
    close(made)
    return sorted(made.packets, key=lambda packet: packet.at)


def test_data_in_pieces_of_a_few_bytes(tmp_path: Path) -> None:
    this = found(tmp_path, writes())
    assert not problems(this)
    assert this["small-writes"].text.startswith(
        "192.0.2.10 sent data in pieces that are shorter than their headers, without waiting for more: 1,199 of 1,200 segments with 198.51.100.20:80, usually "
        "4 bytes each; 4.8 kB took 1,200 packets"
    )


@pytest.mark.parametrize(
    "packets",
    [writes(count=500), writes(size=600), writes(every=5 * MS), writes(answered=True), writes(trip=MS // 4)],
    ids=["few", "longer than their headers", "a mouse that moves", "each is answered", "each is acknowledged before the next"],
)
def test_pieces_that_are_no_fault(tmp_path: Path, packets: list[Packet]) -> None:
    assert "small-writes" not in found(tmp_path, packets)
