"""Connections that never open though the server answers, or though the SYN is on its way; and what looks like it."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.lenses.made import CLIENT, GET, MS, OK, SERVER, WEB, Packet, S, close, exchange, found, healthy, ping, problems, talk
from tests.lenses.test_icmp import EXPIRED, HOST, error
from tests.parsers.build import End, datagram, segment

ROUTER = "203.0.113.1"


def announcing(raw: bytes) -> bytes:
    """A segment of IPv4 with a maximum segment size."""
    size = len(raw) + 4
    return raw[:2] + struct.pack(">H", size) + raw[4:32] + bytes([6 << 4]) + raw[33:] + b"\x02\x04\x05\xb4"


def answered(
    at: int,
    port: int,
    times: int = 4,
    apart: int = S,
    client: str = CLIENT,
    reset: bool = True,
    number: int = 0,
    mss: bool = True,
    wrong: int = 0,
) -> list[Packet]:
    """SYNs that are answered. ``reset``: each answer is. ``number``: by how much that of each SYN is higher than before. ``wrong``: by how much the answer
    acknowledges another one."""
    ends: tuple[End, End] = (client, port), WEB
    packets = []
    for k in range(times):
        begin, isn, answer = at + k * apart, 5000 + k * number, 9000 + 1_000_000 * k
        syn = segment(*ends, "S", isn)
        packets.append(Packet(begin, announcing(syn) if mss else syn))
        packets.append(Packet(begin + MS, segment(ends[1], ends[0], "SA", answer, isn + 1 + wrong)))
        if reset:
            packets.append(Packet(begin + 2 * MS, segment(*ends, "R", isn + 1 + wrong)))
    return packets


def test_answers_that_are_reset_beside_the_client(tmp_path: Path) -> None:
    this = found(tmp_path, answered(0, 40_000), answered(10 * S, 40_001), ping(30 * S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text == (
        f"2 connections from {CLIENT} to {SERVER}:80 never opened: {SERVER} answered, and each answer (SYN+ACK) was reset (RST) in the name of {CLIENT}, "
        "which sent its SYN again all the same (8 RSTs, 8 SYNs)."
    )
    assert "security program" in this["connect-unanswered"].advice


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(answered(0, 40_000), id="one port, as a check by raw packets has"),
        pytest.param([*answered(0, 40_000, 1), *answered(S, 40_001, 1), *answered(2 * S, 40_002, 1)], id="a scan"),
        pytest.param(
            [*answered(0, 40_000, number=64_000), *answered(10 * S, 40_001, number=64_000)], id="new connections of the same port"
        ),
        pytest.param([*answered(0, 40_000, apart=S // 10), *answered(10 * S, 40_001, apart=S // 10)], id="too soon for TCP"),
        pytest.param([*answered(0, 40_000, mss=False), *answered(10 * S, 40_001, mss=False)], id="no options, so no host's own TCP"),
        pytest.param([*answered(0, 40_000), *answered(10 * S, 40_001), *healthy(at=20 * S)], id="the next one opens"),
    ],
)
def test_answers_that_a_client_may_reset(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, ping(40 * S)))


def test_answers_to_something_else_are_reset_by_tcp_itself(tmp_path: Path) -> None:
    """RFC 9293 3.10.7.3: and then it goes on to ask."""
    this = found(tmp_path, answered(0, 40_000, wrong=1000), answered(10 * S, 40_001, wrong=1000), ping(30 * S))
    assert "in the name of" not in str([each.text for each in this.values()])


def turned_back(at: int, port: int, what: tuple[int, int] = EXPIRED, ttl: int = 1, times: int = 4, apart: int = S) -> list[Packet]:
    packets = answered(at, port, times, apart, reset=False)
    told = []
    for k, packet in enumerate(packets):
        if k % 2:
            raw = packet.data[:8] + bytes([ttl]) + packet.data[9:]
            packets[k] = Packet(packet.at, raw)
            told += error(packet.at + MS, what, raw, told=SERVER)
    return packets + told


def test_answers_whose_ttl_runs_out(tmp_path: Path) -> None:
    this = found(tmp_path, turned_back(0, 40_000), turned_back(10 * S, 40_001), ping(30 * S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text == (
        f"2 connections from {CLIENT} to {SERVER}:80 never opened: the answers of {SERVER} (8 SYN+ACKs) did not arrive, as their TTL ran out on the way "
        f"(8 times); {ROUTER} said: time exceeded."
    )
    assert "TTL of 1 where they were captured" in this["connect-unanswered"].advice
    assert "unreachable" not in this
    this = found(tmp_path, turned_back(0, 40_000, ttl=64), ping(30 * S))
    assert "in circles" in this["connect-unanswered"].advice


def test_answers_that_a_router_cannot_bring_back(tmp_path: Path) -> None:
    this = found(tmp_path, turned_back(0, 40_000, HOST), ping(30 * S))
    assert problems(this) == {"connect-unanswered"}
    assert "203.0.113.1 said: host unreachable" in this["connect-unanswered"].text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(turned_back(0, 40_000, HOST, times=2), id="twice"),
        pytest.param(turned_back(0, 40_000, HOST, apart=S // 20, times=60), id="a flood in the name of somebody"),
        pytest.param([*turned_back(0, 40_000, HOST), *healthy(at=20 * S)], id="it comes back"),
    ],
)
def test_answers_that_nobody_waits_for(tmp_path: Path, packets: list[Packet]) -> None:
    assert "did not arrive" not in str([each.text for each in found(tmp_path, packets, ping(40 * S)).values()])


HERE, THERE = "2001:db8:1::10", "2001:db8:2::80"


def going_round(at: int, port: int, times: int = 28, least: int = 1, up: bool = False) -> list[Packet]:
    """The same SYN again and again, each time with fewer hops left."""
    syn = segment((HERE, port), (THERE, 80), "S", 5000)
    hops = [63 - k * least if not up else 63 for k in range(times)]
    return [Packet(at + k * 2000, syn[:7] + bytes([left]) + syn[8:]) for k, left in enumerate(hops)]


def traced(same: bool) -> list[Packet]:
    """SYNs over IPv4, each with a hop less and, of one packet, the same number."""
    syn = segment((CLIENT, 40_000), (SERVER, 80), "S", 5000)
    return [Packet(k * 2000, syn[:4] + (7 if same else k).to_bytes(2, "big") + syn[6:8] + bytes([30 - k]) + syn[9:]) for k in range(28)]


@pytest.mark.parametrize("same", [True, False], ids=["one packet", "a traceroute from far to near"])
def test_syns_with_numbers(tmp_path: Path, same: bool) -> None:
    assert ("connect-unanswered" in problems(found(tmp_path, traced(same), ping(S)))) == same


def test_syns_that_go_in_circles(tmp_path: Path) -> None:
    this = found(tmp_path, going_round(0, 40_000), going_round(MS, 40_001), ping(S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text == (
        f"2 connections to [{THERE}]:80 never opened: routers send the SYNs of {HERE} to each other in a loop (up to 28 times, while the hop limit (TTL) fell "
        "from 63 to 36)."
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(going_round(0, 40_000, times=8), id="some routers on one machine"),
        pytest.param(going_round(0, 40_000, up=True), id="a loop of a switch, or mirror ports"),
    ],
)
def test_syns_that_pass_several_times(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, ping(S)))


def test_echoes_of_traceroute_are_no_packets_that_are_missing(tmp_path: Path) -> None:
    def echo(number: int) -> bytes:
        raw = datagram((CLIENT, 0x0800), (SERVER, 0), b"")
        body = b"\x08\0\0\0" + struct.pack(">HH", 7, number)
        return raw[:2] + struct.pack(">H", 28) + raw[4:8] + b"\x01\x01" + raw[10:20] + body

    asked = [Packet(k * S, echo(k)) for k in range(3)]
    told = [packet for each in asked for packet in error(each.at + MS, EXPIRED, each.data)]
    assert "unreachable" not in found(tmp_path, asked, told, close(exchange(talk(at=5 * S), GET, OK)).packets, ping(30 * S))
