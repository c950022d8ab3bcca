"""Resets that another machine than the server sent, as the hops show that they made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import GET, MS, SERVER, Packet, S, exchange, found, healthy, ping, talk
from tests.lenses.test_refusing import hello

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Talk

CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n" + bytes(1000)


def ttl(packet: Packet, left: int) -> Packet:
    return Packet(packet.at, packet.data[:8] + bytes([left]) + packet.data[9:])


def from_server(made: Talk, left: int, reset: int) -> list[Packet]:
    """What the server sent with a time to live, and its last packet, the reset, with another."""
    theirs = [p.data[12:16] != made.packets[0].data[12:16] for p in made.packets]
    last = len(made.packets) - 1
    return [ttl(p, reset if k == last else left) if is_its else p for k, (p, is_its) in enumerate(zip(made.packets, theirs, strict=True))]


def cut(port: int, left: int = 63, reset: int = 253) -> list[Packet]:
    made = exchange(talk(port, at=(port - 40_000) * S), GET, CUT)
    made.at += 5 * MS
    made.down("RA")
    return from_server(made, left, reset)


def asked(port: int, left: int = 63, reset: int = 253) -> list[Packet]:
    made = talk(port, at=(port - 40_000) * S, server=(SERVER, 8_000 + port % 100))
    made.up("PA", GET)
    made.down("A")
    made.down("RA")
    return from_server(made, left, reset)


def greeted(port: int, left: int = 63, reset: int = 253) -> list[Packet]:
    made = hello(port, (port - 40_000) * S)
    made.down("A")
    made.down("RA")
    return from_server(made, left, reset)


@pytest.mark.parametrize(("make", "id_"), [(cut, "http-errors"), (asked, "reset"), (greeted, "tls-failed")])
def test_resets_that_another_machine_sent(tmp_path: Path, make: object, id_: str) -> None:
    packets = [p for k in range(3) for p in make(40_000 + k)]  # type: ignore[operator]
    this = found(tmp_path, packets, healthy(), ping(60 * S))[id_]
    assert this.severity == "problem"
    assert this.text.endswith(
        "; most likely another machine sent these resets: they have a TTL of 253, all else from there 63 (2 hops away instead of 1)."
    )
    assert "in the server's name" in this.advice


@pytest.mark.parametrize(
    ("left", "reset"),
    [(63, 63), (63, 254), (63, 127), (30, 62), (58, 253)],
    ids=["its own", "as far, and begun at 255", "as far, and begun at 128", "a program that begins at 32", "a device that begins at 60"],
)
@pytest.mark.parametrize(("make", "id_"), [(cut, "http-errors"), (asked, "reset"), (greeted, "tls-failed")])
def test_resets_of_the_server(tmp_path: Path, make: object, id_: str, left: int, reset: int) -> None:
    packets = [p for k in range(3) for p in make(40_000 + k, left, reset)]  # type: ignore[operator]
    this = found(tmp_path, packets, healthy(), ping(60 * S))[id_]
    assert "another machine" not in this.text
    assert SERVER in this.text or "api.example.test" in this.text
