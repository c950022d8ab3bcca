"""When a program was done with a connection, what it broke off, and what a relay opened beside the connections it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import netlens
from netlens.chains.companions import begun_beside
from netlens.chains.situation import COMPANION, VM
from tests.bench.two_sides import client_hello
from tests.parsers.build import MS, T0, Packet, S, Talk, mixed, rewritten, write

if TYPE_CHECKING:
    from pathlib import Path

    from netlens.chains.traffic import Traffic

API = ("203.0.113.10", 443)
SHORT = b"\x17\x03\x03\x00\x13" + bytes(19)  # in TLS 1.3 the record of an alert
FATAL = b"\x15\x03\x03\x00\x02\x02\x50"


def record(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


def traffic(**captures: Any) -> Traffic:
    return netlens.analyze(**captures, apis=("api.example.test", API[0])).assembled


def opened(port: int = 40_000, at: int = 0) -> Talk:
    """A connection over TLS with a request under way."""
    made = Talk(("192.168.64.5", port), API, isn=port, answer=port * 7, at=at, step=2 * MS)
    made.open()
    made.up("PA", client_hello(b"api.example.test", bytes(range(32))))
    made.down("PA", b"\x16\x03\x03\x00\x7a\x02" + bytes(121) + record(900))
    made.up("PA", record(53) + record(1000))
    made.down("A")
    return made


@pytest.mark.parametrize(("last", "done_s"), [(SHORT, 1), (FATAL, 1), (record(20), 4), (b"", 4)])
def test_a_program_is_done_when_it_says_farewell(tmp_path: Path, last: bytes, done_s: int) -> None:
    """It closes only when the server has answered; what is no alert says nothing."""
    made = opened()
    for at, data in ((1, last), (4, b"")):
        made.at = at * S
        if data:
            made.up("PA", data)
    made.at = 4 * S
    made.up("FA")
    made.at = 5 * S
    made.down("PA", record(500))
    made.up("R")
    side = traffic(capture=str(write(tmp_path / "a.pcap", made.packets))).upstream
    assert (side.done_ns - T0) // S == [done_s]


@pytest.mark.parametrize("server_closed", [True, False])
def test_a_reset_behind_the_servers_close_breaks_nothing_off(tmp_path: Path, server_closed: bool) -> None:
    made = Talk(("192.168.64.5", 40_000), (API[0], 80), isn=1, answer=7, step=2 * MS)
    made.open()
    made.up("PA", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    made.down("PA", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd")
    made.up("A")
    if server_closed:
        made.down("FA")
        made.up("PA", b"x" * 24)
        made.down("R")
    else:
        made.up("R")
    found = traffic(capture=str(write(tmp_path / "a.pcap", made.packets))).situation.requests
    assert found.broken_off.tolist() == [not server_closed]


@pytest.mark.parametrize("farewell", [True, False])
def test_an_answer_is_over_where_the_server_says_farewell_behind_it(tmp_path: Path, farewell: bool) -> None:
    """A request that is refused while it goes up: the server closes on the rest of it, and the program, which still writes, resets."""
    made = opened()
    made.up("PA", record(16401)[:1400])
    made.down("PA", record(500))
    answered = T0 + made.at
    made.up("PA", record(16401)[1400:2800])
    if farewell:
        made.wait(S // 10)
        made.down("PA", SHORT)
    made.wait(S // 2)
    made.up("R")
    found = traffic(capture=str(write(tmp_path / "a.pcap", made.packets))).upstream
    over, known = found.answered_ns
    assert known.tolist()[:1] == [farewell]
    assert (over[0] < answered) == farewell


@pytest.mark.parametrize(
    ("end", "broken_off"),
    [("closes", False), ("closes early", True), ("resets behind the last chunk", False), ("resets", True)],
)
def test_who_has_the_whole_answer_breaks_nothing_off(tmp_path: Path, end: str, broken_off: bool) -> None:
    """curl closes behind the answer, and resets what the server says farewell with; SDKs reset behind the last chunk, of 5 bytes."""
    made = opened()
    made.down("PA", record(500))
    made.down("PA", record(22 if "chunk" in end else 300))
    made.up("A")
    if "closes" in end:
        made.up("PA", SHORT)
        made.up("FA")
        made.down("PA", record(400) if "early" in end else SHORT)
    made.up("R")
    found = traffic(capture=str(write(tmp_path / "a.pcap", made.packets))).situation.requests
    assert found.broken_off.tolist() == [broken_off]


def test_idle_sessions_are_told_by_when_they_began() -> None:
    begun = np.array([[t * S, t * S + MS] for t in range(10, 100, 10)])
    beside, at_random = begun[:, 1] + MS, np.arange(13, 100, 10) * S
    total = 100 * S
    assert begun_beside(begun, beside, total).tolist() == list(range(9))
    assert begun_beside(begun, at_random, total).tolist() == [-1] * 9
    assert begun_beside(begun, np.concatenate([beside, at_random]), total).tolist() == [*range(9), *[-1] * 9]


def proxied(connections: int, spares: int) -> tuple[list[Packet], list[Packet]]:
    """What the VM and the host see of a program that asks a CONNECT proxy on the host, which opens connections beside those that it uses."""
    proxy, host = ("192.168.64.1", 3128), "198.51.100.7"
    asked: list[Packet] = []
    upstream: list[Packet] = []
    for k in range(connections):
        hello = client_hello(b"api.example.test", bytes([k + 1]) * 32)
        down = Talk(("192.168.64.5", 41_000 + k), proxy, isn=k * 1000, answer=k * 3000, at=4 * k * S, step=MS)
        down.open()
        down.up("PA", b"CONNECT api.example.test:443 HTTP/1.1\r\n\r\n")
        up = Talk((host, 50_000 + k), API, isn=k * 5000, answer=k * 7000, at=down.at, step=MS // 10)
        up.open()
        for n in range(spares):
            spare = Talk((host, 51_000 + 100 * n + k), API, isn=k * 11 + n, answer=k * 13 + n, at=up.at, step=MS // 10)
            spare.open()
            spare.at += 2 * S
            upstream += spare.close().packets
        down.at = up.at
        down.down("PA", b"HTTP/1.1 200 Connection established\r\n\r\n")
        for by_program, data in (
            (True, hello),
            (False, record(1200)),
            (True, record(53) + record(1500)),
            (False, record(2000)),
            (False, record(300)),
        ):
            for talk in (down, up) if by_program else (up, down):
                (talk.up if by_program else talk.down)("PA", data)
            down.at = up.at = max(down.at, up.at) + 200 * MS
        asked += down.close().packets
        upstream += up.close().packets
    return asked, upstream


@pytest.mark.parametrize("spares", [0, 2])
def test_connections_that_a_proxy_opens_beside_are_the_tunnels(tmp_path: Path, spares: int) -> None:
    asked, upstream = proxied(8, spares)
    vm = write(tmp_path / "vm.pcap", mixed(asked))
    host = write(tmp_path / "host.pcap", mixed(rewritten(asked, {}, later=20_000), upstream))
    found = traffic(vm=str(vm), host=str(host)).situation.sessions
    beside = found.kind == COMPANION
    assert int(beside.sum()) == 8 * spares
    assert (found.side == VM).all()
    assert len(set(found.connection[beside].tolist()) - set(found.connection[~beside].tolist())) == 0


def test_the_size_of_an_answer_is_known(tmp_path: Path) -> None:
    made = Talk(("192.168.64.5", 40_000), (API[0], 80), isn=1, answer=7, step=2 * MS)
    made.open()
    answers = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + b"a" * n for n in (4, 900)]
    for answer in answers:
        made.up("PA", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        made.down("PA", answer)
    found = traffic(capture=str(write(tmp_path / "a.pcap", made.packets))).situation.requests
    assert found.answer_bytes.tolist() == [len(answer) for answer in answers]
