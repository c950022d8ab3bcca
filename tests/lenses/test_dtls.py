"""Handshakes of DTLS that take long, or end in an alert."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, SERVER, S, close, exchange, found, healthy, problems, talk
from tests.parsers.build import Packet, datagram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HERE, THERE = (CLIENT, 41_000), (SERVER, 4433)
CLIENT_HELLO, SERVER_HELLO, VERIFY = 1, 2, 3


def handshake(kind: int, random: int = 1, cookie: bytes = b"", version: bytes = b"\xfe\xfd") -> bytes:
    body = version + random.to_bytes(32, "big") + cookie + bytes(40)
    head = bytes([kind]) + len(body).to_bytes(3, "big") + bytes(5) + len(body).to_bytes(3, "big")
    return b"\x16" + version + bytes(8) + struct.pack(">H", len(head + body)) + head + body


def up(at: float, message: bytes) -> Packet:
    return Packet(int(at * S), datagram(HERE, THERE, message))


def down(at: float, message: bytes) -> Packet:
    return Packet(int(at * S), datagram(THERE, HERE, message))


ALERT = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"
OLD = b"\x01\x00"


def late(version: bytes = b"\xfe\xfd") -> list[Packet]:
    """Hellos that a server answers by a cookie, which does not arrive."""
    hello, answer = handshake(CLIENT_HELLO, version=version), handshake(VERIFY, version=version)
    again = handshake(CLIENT_HELLO, cookie=b"c", version=version)
    return [
        up(0, hello),
        up(1, hello),
        down(1.1, answer),
        up(3, hello),
        down(3.1, answer),
        up(7, again),
        down(7.1, handshake(2, 9, version=version)),
    ]


@pytest.mark.parametrize("version", [b"\xfe\xfd", OLD], ids=["1.2", "before 1.0"])
def test_a_handshake_that_waits_for_its_timers(tmp_path: Path, version: bytes) -> None:
    this = found(tmp_path, late(version))
    assert problems(this) == {"slow-connect"}
    assert this["slow-connect"].text == "1 of 1 connection of DTLS took 7.1 s to open (4 hellos): 198.51.100.20:4433."
    assert [frame for _, frame in this["slow-connect"].every] == [1, 2, 4, 6, 7]


@pytest.mark.parametrize(
    ("packets", "severity"),
    [
        ([up(0, handshake(1)), down(0.01, handshake(3)), up(0.02, handshake(1, cookie=b"c")), down(0.03, handshake(2, 9))], None),
        ([up(0, handshake(1)), up(1, handshake(1)), down(1.1, handshake(2, 9))], None),
        ([p for k in range(4) for p in (up(40 * k, handshake(1, k)), down(40 * k + 0.1, handshake(2, 9)))], None),
        ([up(0, b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)), *(Packet(p.at + S, p.data) for p in late())], "warning"),
    ],
    ids=["with a cookie", "lost once", "reconnects", "a call that nobody takes"],
)
def test_handshakes_that_are_well(tmp_path: Path, packets: list[Packet], severity: str | None) -> None:
    this = found(tmp_path, packets)
    assert (this["slow-connect"].severity if "slow-connect" in this else None) == severity


def test_a_vpn_that_has_gone_over_to_tcp(tmp_path: Path) -> None:
    tunnel = close(exchange(talk(42_000, 0, THERE), b"\x17\x03\x03", b"\x17\x03\x03")).packets
    assert found(tmp_path, late(), tunnel)["slow-connect"].severity == "warning"
    assert found(tmp_path, [up(0, handshake(1)), down(0.01, ALERT)], tunnel)["tls-failed"].severity == "warning"


def test_an_alert_is_told_once(tmp_path: Path) -> None:
    this = found(tmp_path, [up(0, handshake(1)), down(0.01, ALERT)], healthy())
    assert problems(this) == {"tls-failed"}
    assert "refused" not in this
    assert this["tls-failed"].text == "1 of 1 DTLS handshake failed (handshake failure (40) by 198.51.100.20)."


@pytest.mark.parametrize(("by", "begins"), [(down, "The server does not accept the certificate that"), (up, "")])
def test_an_alert_about_a_certificate(tmp_path: Path, by: Callable[[float, bytes], Packet], begins: str) -> None:
    alert = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x30"
    this = found(tmp_path, [up(0, handshake(1)), down(0.01, handshake(2, 9)), by(0.02, alert)], healthy())["tls-failed"]
    assert "unknown ca (48) by" in this.text
    assert this.advice.startswith(begins)
    assert bool(begins) == ("certificate that the client shows" in this.advice)


def test_alerts_that_cost_nothing(tmp_path: Path) -> None:
    again = [up(0.1, handshake(1, 2)), down(0.12, handshake(2, 9))]
    assert found(tmp_path, [up(0, handshake(1)), down(0.01, ALERT), *again])["tls-failed"].severity == "warning"
    closed = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x01\x00"
    encrypted = b"\x15\xfe\xfd\x00\x01" + bytes(6) + b"\x00\x02\x02\x28"
    assert "tls-failed" not in found(
        tmp_path, [up(0, handshake(1)), down(0.01, handshake(2, 9)), down(0.02, closed), down(0.03, encrypted)]
    )
