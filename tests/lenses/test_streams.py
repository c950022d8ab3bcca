"""Voice that loses packets, and logs that nobody takes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, IP, UDP

from tests.lenses.made import CLIENT, MS, SERVER, S, found, healthy, ping
from tests.parsers.build import Packet, datagram

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import End


def rtp(
    numbers: list[int], source: int = 7, start: int = 65_500, kind: int = 0, pace: int = 160, other: int = 0, every: int = 0
) -> list[Packet]:
    """Voice, a packet each 20 ms; ``numbers``: which of them are in the capture, in its order. other, every : payload type of each so many."""
    packets = []
    for place, k in enumerate(numbers):
        header = (
            bytes([0x80, other if every and k % every == 0 else kind])
            + (start + k & 0xFFFF).to_bytes(2, "big")
            + (pace * k).to_bytes(4, "big")
            + source.to_bytes(4, "big")
        )
        packets.append(Packet(place * 20 * MS, datagram((SERVER, 4000), (CLIENT, 16_384), header + bytes(160))))
    return packets


LOSSY = [k for k in range(400) if k % 12]
SWAPPED = [k + (k % 10 == 4) - (k % 10 == 5) for k in range(400)]


def test_voice_that_loses_packets(tmp_path: Path) -> None:
    this = found(tmp_path, rtp(LOSSY), healthy())["rtp-loss"]
    assert this.severity == "problem"
    assert this.text == "33 of 399 packets of RTP are missing from 1 stream to 192.0.2.10:16384 (up to 8% of one)."
    assert found(tmp_path, rtp([k for k in range(900) if k % 60]), healthy())["rtp-loss"].severity == "warning"
    assert found(tmp_path, rtp([k for k in range(900) if not 300 <= k < 360]), healthy())["rtp-loss"].severity == "warning"


def sent(packets: list[Packet], later: int, source: End, receiver: End) -> list[Packet]:
    """The same payload from and to others, a while later."""
    return [Packet(p.at + later, datagram(source, receiver, p.data[28:])) for p in packets]


def test_copies_of_a_stream_are_counted_once(tmp_path: Path) -> None:
    """Before and after NAT, and as an echo sends it back; two voices of one number are two."""
    voice, nat, peer = rtp(LOSSY), ("203.0.113.9", 16_384), (SERVER, 4000)
    copies = [sent(voice, MS // 10, peer, nat), sent(voice, 30 * MS, (CLIENT, 16_384), peer), sent(voice, 31 * MS, nat, peer)]
    this = found(tmp_path, voice, *copies, healthy())["rtp-loss"]
    assert this.text.startswith("33 of 399 packets of RTP are missing from 1 stream to ")
    other = sent(rtp(LOSSY, start=300), MS, (SERVER, 4002), (CLIENT, 16_390))
    assert found(tmp_path, voice, other, healthy())["rtp-loss"].text.startswith("66 of 798 packets of RTP are missing from 2 streams to ")


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(rtp(list(range(400))), id="all of it"),
        pytest.param(rtp(SWAPPED), id="another order"),
        pytest.param(rtp([k for k in range(400) for _ in (0, 1)]), id="recorded twice"),
        pytest.param(rtp([*range(200), *range(20_000, 20_200)]), id="a source that begins anew"),
        pytest.param(rtp([k for k in range(400) if k % 100]), id="a few that decoders conceal"),
        pytest.param(rtp([k * 7919 % 65_536 for k in range(400)]), id="no RTP: numbers that mean something else"),
        pytest.param([p for k in range(200) for p in rtp([k], source=k)], id="no RTP: no source"),
        pytest.param(rtp(LOSSY, kind=73), id="RTCP"),
        pytest.param(rtp([0] * 200, kind=77), id="RTCP of one length, whose length stands where numbers do"),
        pytest.param(rtp(list(range(400)), other=101, every=12), id="keys that are pressed"),
        pytest.param(rtp([k for k in range(80) if k % 4]), id="too short to tell"),
    ],
)
def test_streams_that_lose_nothing_to_speak_of(tmp_path: Path, packets: list[Packet]) -> None:
    assert "rtp-loss" not in found(tmp_path, packets, healthy())


def held_up() -> list[Packet]:
    """Voice that a queue lets go in bursts, from 60 to 240 ms apart."""
    ends = list(itertools.accumulate(60 + k * 7 % 10 * 20 for k in range(80)))
    return [Packet(next(end for end in ends if end >= k * 20) * MS, each.data) for k, each in enumerate(rtp(list(range(400))))]


def uneven(held: int, every: int = 20) -> list[Packet]:
    """Voice that comes in bursts, each after so many ms."""
    return [Packet(-(-k * every // held) * held * MS, each.data) for k, each in enumerate(rtp(list(range(400))))]


def test_voice_that_comes_unevenly(tmp_path: Path) -> None:
    this = found(tmp_path, held_up(), healthy())["rtp-loss"]
    assert this.severity == "problem"
    assert "1 stream of RTP to 192.0.2.10:16384 came unevenly: jitter of " in this.text
    assert "a packet is due every 20 ms" in this.text


def test_voice_that_comes_in_batches_at_an_even_pace(tmp_path: Path) -> None:
    """Whether it is sent so, or gathered on the way, does not show."""
    this = found(tmp_path, uneven(140), healthy())["rtp-loss"]
    assert this.severity == "warning"
    assert "came in batches, one every 140 ms" in this.text


@pytest.mark.parametrize("packets", [uneven(1), uneven(40), uneven(80), uneven(140, every=60)], ids=["even", "two", "four", "long packets"])
def test_voice_that_comes_evenly_enough(tmp_path: Path, packets: list[Packet]) -> None:
    assert "rtp-loss" not in found(tmp_path, packets, healthy())


def logged(times: list[float], refused: list[float], server: str = SERVER, text: bytes = b"<13>1 job failed") -> list[Packet]:
    """Each from a port of its own; some are answered: port unreachable."""
    packets = []
    for k, at in enumerate(times):
        sent = datagram((CLIENT, 42_000 + k), (server, 514), text)
        packets.append(Packet(int(at * S), sent))
        if at in refused:
            quoted = IP(src=CLIENT, dst=server) / UDP(sport=42_000 + k, dport=514) / text
            packets.append(Packet(int(at * S) + MS, bytes(IP(src=server, dst=CLIENT) / ICMP(type=3, code=3) / quoted)))
    return packets


TIMES = [0, 0.7, 1.4, 2.1, 2.8, 3.5]


def test_logs_that_nobody_takes(tmp_path: Path) -> None:
    this = found(tmp_path, logged(TIMES, TIMES), healthy())["unreachable"]
    assert this.severity == "problem"
    assert this.text == "6 datagrams to 198.51.100.20:514 reached nobody; 198.51.100.20 said: port unreachable."
    assert (
        found(tmp_path, logged(TIMES, TIMES[::2] + TIMES[-1:]), healthy())["unreachable"].severity == "problem"
    )  # it says so once a second


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(logged([*TIMES, 9, 20], TIMES), id="there again"),
        pytest.param([*logged(TIMES, TIMES), *logged(TIMES, [], "198.51.100.21")], id="another server takes them"),
        pytest.param(logged(TIMES, TIMES, text=b"app.requests:1|c"), id="counters for whom it may concern"),
        pytest.param(logged(TIMES[:3], TIMES[:3]), id="a second"),
    ],
)
def test_logs_that_are_not_lost_for_certain(tmp_path: Path, packets: list[Packet]) -> None:
    assert found(tmp_path, packets, healthy(), ping(30 * S))["unreachable"].severity != "problem"
