"""What a client asks for and does not get, though most of the capture is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, GET, S, close, found, healthy, ping, problems, talk
from tests.parsers.build import Packet, segment

if TYPE_CHECKING:
    from pathlib import Path

OK_9 = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"
POD = ("203.0.113.10", 8080)


def with_a_hole(port: int, *, filled: bool = False, stray: bool = True, by_client: bool = False) -> list[Packet]:
    """An answer of which a piece went astray: it came from another address, and the client reset that."""
    made = talk(port)
    made.up("PA", GET)
    made.down("A", OK_9 + bytes(3000))
    made.up("A")
    hole, upto = made.back, made.seq
    lost = made.down("A", 1000)
    if not filled:
        made.packets.remove(lost)
    if stray:
        made.packets.append(Packet(made.at, segment(POD, (CLIENT, port), "PA", hole, upto, bytes(1000))))
        made.packets.append(Packet(made.at + 1, segment((CLIENT, port), POD, "R", upto)))
    made.down("FA", 5000)
    made.up("A", ack=made.back if filled else hole)
    if filled:
        return close(made).packets
    if by_client:
        made.up("R")
    for _ in range(2):
        made.down("R")
    return made.packets


def test_a_piece_of_an_answer_that_never_comes(tmp_path: Path) -> None:
    this = found(tmp_path, *(with_a_hole(41_000 + k) for k in range(2)), healthy(), ping(30 * S))
    assert "http-errors" in problems(this)
    assert this["http-errors"].text == (
        "2 of 3 HTTP answers were cut off: 198.51.100.20:80 ended the connection after 8 kB of 9 kB (in the worst case); to 2 of these clients "
        "203.0.113.10:8080 had sent a piece, and the client reset that."
    )
    assert "NAT" in this["http-errors"].advice
    this = found(tmp_path, with_a_hole(41_000, stray=False), healthy(), ping(30 * S))["http-errors"]
    assert this.text == "1 of 2 HTTP answers was cut off: 198.51.100.20:80 ended the connection after 8 kB of 9 kB."


@pytest.mark.parametrize("how", ["filled", "by_client"])
def test_a_piece_that_comes_another_way_or_is_not_waited_for(tmp_path: Path, how: str) -> None:
    assert "http-errors" not in found(tmp_path, with_a_hole(41_000, **{how: True}), healthy(), ping(30 * S))
