"""What looks like trouble and is TCP, or its user, at work; and the fault that looks like it."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from tests.lenses.made import CLIENT, GET, MS, OK, SERVER, Packet, S, close, exchange, found, healthy, ping, problems, talk
from tests.parsers.build import segment


def filled(idle: int) -> list[Packet]:
    """3 s of full segments at an even pace; each 20th is sent again 200 ms later, behind which the line is idle for a while."""
    made = exchange(talk(step=MS))
    late: list[tuple[int, int]] = []
    for k in range(600):
        seq = made.back
        made.at += 2 * MS
        made.down("A", 1400)
        if k % 20 == 5:
            late.append((made.at + 200 * MS, seq))
        if late and made.at >= late[0][0]:
            made.down("A", 1400, seq=late.pop(0)[1])
            made.at += idle
        if not late:
            made.up("A")
    made.up("A")
    return close(made).packets


@pytest.mark.parametrize(("idle", "severity"), [(0, "warning"), (400 * MS, "problem")])
def test_losses_on_a_line_that_is_full_and_on_one_that_is_idle(tmp_path: Path, idle: int, severity: str) -> None:
    this = found(tmp_path, filled(idle))["packet-loss"]
    assert this.severity == severity
    assert ("the line was full, at" in this.text) == (severity == "warning")


def test_a_sender_that_repeats_itself_to_a_receiver_that_was_not_recorded(tmp_path: Path) -> None:
    made = exchange(talk(step=MS))
    for _ in range(1500):  # at a steady pace, as on a line that is full
        last, made.at = made.back, made.at + 2 * MS
        made.down("A", 1400)
    for tries in range(5):
        made.at += (400 << tries) * MS
        made.down("A", 1400, seq=last)
    its = socket.inet_aton(SERVER)
    assert problems(found(tmp_path, [p for p in made.packets if p.data[12:16] == its])) == {"stalled"}


def doubled(made_twice: bool) -> list[Packet]:
    """Segments that are sent again; the receiver may say that it got them twice (RFC 2883)."""
    made = exchange(talk())
    for _ in range(10):
        begin = made.back
        made.down("PA", 1000)
        made.at += 400 * MS
        made.down("PA", 1000, seq=begin)
        raw = made.up("A").data
        if made_twice:
            options = b"\x01\x01\x05\x0a" + struct.pack(">II", begin % 2**32, (begin + 1000) % 2**32)
            size = len(raw) + len(options)
            raw = raw[:2] + struct.pack(">H", size) + raw[4:32] + bytes([8 << 4]) + raw[33:] + options
            made.packets[-1] = Packet(made.packets[-1].at, raw)
        made.down("PA", 1000)
        made.up("A")
    return close(made).packets


@pytest.mark.parametrize("twice", [False, True])
def test_what_a_receiver_says_that_it_got_twice(tmp_path: Path, twice: bool) -> None:
    assert ("packet-loss" in found(tmp_path, doubled(twice))) != twice


def too_large(told: bool) -> list[Packet]:
    """Four segments that are sent again in smaller pieces; a router may have said why."""
    made = exchange(talk())
    begin = made.seq
    for _ in range(4):
        made.up("A", 1460)
    if told:
        quoted = segment((CLIENT, 40_000), (SERVER, 80), "A", begin, made.back)[:28]
        inner = b"\x03\x04\0\0\0\0" + struct.pack(">H", 1492) + quoted
        made.packets.append(Packet(made.at, _icmp(inner)))
        made.at += MS
    made.at += 400 * MS
    at = begin
    while at < made.seq:
        size = min(1452, made.seq - at)
        made.up("A", size, seq=at)
        at += size
        made.at += 400 * MS
        made.down("A", ack=at)
    return close(made).packets


def _icmp(message: bytes) -> bytes:
    return struct.pack(">BBHHHBBH4B4B", 0x45, 0, 20 + len(message), 0, 0, 64, 1, 0, 192, 0, 2, 1, 192, 0, 2, 10) + message


def test_what_is_sent_again_in_smaller_pieces_as_a_router_said(tmp_path: Path) -> None:
    this = found(tmp_path, too_large(True))["packet-loss"]
    assert (this.severity, "TCP found the MTU" in this.text, this.advice) == ("warning", True, "")
    assert found(tmp_path, too_large(False))["packet-loss"].severity == "problem"


def traced(ttls: list[int]) -> list[Packet]:
    made = []
    for k, ttl in enumerate(ttls):
        ends = (CLIENT, 41_000 + k), (SERVER, 81)
        syn = segment(*ends, "S", 1000 * k)
        made.append(Packet(k * 100 * MS, syn[:8] + bytes([ttl]) + syn[9:]))
        made.append(Packet(k * 100 * MS + MS, segment(ends[1], ends[0], "RA", 0, 1000 * k + 1)))
    return made


@pytest.mark.parametrize(("ttls", "told"), [([1, 1, 1, 2, 2, 2, 3, 3, 3], False), ([64] * 9, True)])
def test_syns_that_look_for_the_way(tmp_path: Path, ttls: list[int], told: bool) -> None:
    assert ("connect-refused" in problems(found(tmp_path, traced(ttls), healthy(at=10 * S), ping(40 * S)))) == told


@pytest.mark.parametrize(("said", "severity"), [(b"", "warning"), (GET, "problem")])
def test_who_looks_which_ports_are_open(tmp_path: Path, said: bytes, severity: str) -> None:
    packets = []
    for k, port in enumerate((22, 25)):
        ends = (CLIENT, 42_000 + k), (SERVER, port)
        packets += [Packet(k * S, segment(*ends, "S", 1)), Packet(k * S + MS, segment(ends[1], ends[0], "RA", 0, 2))]
    made = talk(at=2 * S)
    if said:
        exchange(made)
    this = found(tmp_path, packets, close(made).packets, ping(40 * S))["connect-refused"]
    assert this.severity == severity


def scanned(ports: int) -> list[Packet]:
    made = []
    for k in range(ports):
        ends = (CLIENT, 43_000 + k), (SERVER, 1000 + k)
        made += [Packet(k * MS, segment(*ends, "S", 1)), Packet(k * MS + MS // 2, segment(ends[1], ends[0], "RA", 0, 2))]
    return made


@pytest.mark.parametrize(("ports", "expected"), [(20, {"port-scan"}), (1, {"connect-refused", "http-errors"})])
def test_what_a_scanner_causes_besides(tmp_path: Path, ports: int, expected: set[str]) -> None:
    missing = exchange(talk(at=S), answer=b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    exchange(missing, GET.replace(b"/", b"/b", 1), b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    assert problems(found(tmp_path, scanned(ports), close(missing).packets, ping(40 * S))) == expected


@pytest.mark.parametrize(("again", "severity"), [(True, "warning"), (False, "problem")])
def test_a_request_that_was_reset_and_sent_again(tmp_path: Path, again: bool, severity: str) -> None:
    first = exchange(talk())
    first.up("PA", GET.replace(b"/", b"/img", 1))
    first.down("RA")
    later = exchange(talk(40_001, at=first.at + 200 * MS), GET.replace(b"/", b"/img" if again else b"/", 1), OK)
    assert found(tmp_path, first.packets, close(later).packets, ping(40 * S))["reset"].severity == severity


def test_two_streams_in_one_connection(tmp_path: Path) -> None:
    """Numbers that jump back to what was never seen are no repeat after a silence; what was seen is."""
    for jumps, told in ((50_000, False), (500, True)):
        made = exchange(talk())
        for _ in range(20):
            made.down("PA", 100)
            made.up("A")
        made.at += 8 * S
        made.down("PA", 100, seq=made.back - jumps)
        made.up("A")
        assert ("stalled" in problems(found(tmp_path, close(made).packets))) == told


def held(
    times: int = 4, twice: bool = True, hold: int = 2 * S, typed: int = 2, apart: int = 5 * S, tries: int = 3, port: int = 23
) -> list[Packet]:
    """What is typed arrives late, and is sent again meanwhile. ``twice``: the receiver says that it got it more than once."""
    made = exchange(talk(server=(SERVER, port)), b"login", b"welcome")
    for _ in range(times):
        made.at += apart
        begin, since = made.seq, made.at
        made.up("PA", typed)
        for k in range(tries):
            made.at = since + (200 << k) * MS
            made.up("PA", typed, seq=begin)
        made.at = since + hold
        made.down("A")
        for _ in range(tries):
            raw = made.down("A").data
            if twice:
                options = b"\x01\x01\x05\x0a" + struct.pack(">II", begin % 2**32, (begin + typed) % 2**32)
                raw = raw[:2] + struct.pack(">H", len(raw) + len(options)) + raw[4:32] + bytes([8 << 4]) + raw[33:] + options
                made.packets[-1] = Packet(made.packets[-1].at, raw)
        echo = made.back
        made.down("PA", 5)
        made.down("PA", 5, seq=echo)
        made.up("A")
    return close(made).packets


@pytest.mark.parametrize("typed", [1, 2])
def test_a_link_that_holds_packets_back_again_and_again(tmp_path: Path, typed: int) -> None:
    this = found(tmp_path, held(typed=typed))
    assert problems(this) == {"stalled"}
    assert this["stalled"].text == (
        f"1 connection with {SERVER}:23 stood still 4 times, for up to 2.0 s, though nothing was lost: what was sent again up to 3 times had arrived, as its "
        "receiver says (D-SACK), only late."
    )


@pytest.mark.parametrize(
    "packets",
    [held(times=2), held(twice=False), held(hold=900 * MS), held(apart=600 * S), held(tries=1, hold=1100 * MS)],
    ids=["twice", "lost", "not noticed", "rare", "once each"],
)
def test_packets_that_come_late_and_are_no_plague(tmp_path: Path, packets: list[Packet]) -> None:
    assert "stood still" not in str([each.text for each in found(tmp_path, packets).values()])


@pytest.mark.parametrize(
    ("packets", "severity"),
    [
        pytest.param(held(typed=1, apart=2 * S, port=2323), "problem", id="keys at another port"),
        pytest.param(held(typed=2, apart=20 * S, port=1883), "warning", id="pings"),
        pytest.param(held(typed=60, port=5222), "warning", id="messages"),
    ],
)
def test_late_packets_matter_to_who_types(tmp_path: Path, packets: list[Packet], severity: str) -> None:
    assert found(tmp_path, packets)["stalled"].severity == severity


def test_probes_of_one_byte_are_no_data_that_is_lost(tmp_path: Path) -> None:
    """Keep-alives, and probes of a window that is shut."""
    made = exchange(talk(server=(SERVER, 23)), b"l", b"welcome")
    for _ in range(4):
        made.at += 2 * S
        made.up("A", 1, seq=made.seq - 1)
    made.at += S
    made.down("A", window=0)
    begin = made.seq
    made.up("PA", 1)
    for _ in range(5):
        made.at += S
        made.up("PA", 1, seq=begin)
        made.down("A", ack=begin, window=0)
    made.down("A")
    made.down("PA", 5)
    made.up("A")
    assert not {"stalled", "packet-loss"} & problems(found(tmp_path, close(made).packets))
