"""Routers that watch each other by BFD."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, MS, SERVER, S, found
from tests.parsers.build import Packet, datagram

if TYPE_CHECKING:
    from pathlib import Path

ADMIN_DOWN, DOWN, INIT, UP = range(4)


def said(
    state: int,
    n: int,
    at: float = 0,
    diagnostic: int = 0,
    back: bool = False,
    every: int = S,
    version: int = 1,
    peer: int = 0,
    own: int = 7,
) -> list[Packet]:
    message = struct.pack(">BBBBIIIII", version << 5 | diagnostic, state << 6, 3, 24, 8 if back else own, peer, S // 1000, S // 1000, 0)
    ends = ((SERVER, 49_152), (CLIENT, 3784)) if back else ((CLIENT, 49_152), (SERVER, 3784))
    return [Packet(int(at * S) + k * every, datagram(*ends, message)) for k in range(n)]


def test_a_session_that_goes_down(tmp_path: Path) -> None:
    packets = [*said(UP, 20, every=100 * MS), *said(UP, 20, back=True, every=100 * MS), *said(DOWN, 5, 3, 1)]
    this = found(tmp_path, packets)["bfd-down"]
    assert this.severity == "problem"
    assert this.text == "BFD went down 1 time: 192.0.2.10 with 198.51.100.20 (control detection time expired)."
    assert this.values == {"sessions": 1, "times": 1, "still_down": 1, "diagnostics": ["control detection time expired"]}


def test_a_session_that_comes_up_again(tmp_path: Path) -> None:
    assert found(tmp_path, [*said(UP, 5), *said(DOWN, 3, 6, 3), *said(UP, 5, 10, own=9)])["bfd-down"].severity == "warning"
    assert found(tmp_path, [*said(UP, 5, own=9), *said(UP, 5, 6), *said(DOWN, 3, 12, 1)])["bfd-down"].severity == "problem"
    this = found(tmp_path, [*said(UP, 5), *said(DOWN, 3, 6, 1), *said(UP, 5, 10)])["bfd-down"]
    assert this.severity == "warning"
    assert this.text.endswith("(control detection time expired); up again since.")


def test_a_session_that_falls_again_and_again(tmp_path: Path) -> None:
    falls = [p for k in range(3) for p in (*said(UP, 5, 20 * k), *said(DOWN, 3, 20 * k + 6, 1))]
    this = found(tmp_path, [*falls, *said(UP, 5, 60)])["bfd-down"]
    assert this.severity == "problem"
    assert this.text.startswith("BFD went down 3 times: ")
    seldom = [p for k in range(3) for p in (*said(UP, 5, 2000 * k), *said(DOWN, 3, 2000 * k + 6, 1))]
    assert found(tmp_path, [*seldom, *said(UP, 5, 6000)])["bfd-down"].severity == "warning"
    by_hand = [p for k in range(3) for p in (*said(UP, 5, 20 * k), *said(DOWN, 3, 20 * k + 6, 7))]
    assert "bfd-down" not in found(tmp_path, [*by_hand, *said(UP, 5, 60)])


@pytest.mark.parametrize("recorded", ["both ends", "one end"])
def test_a_session_that_is_taken_down_on_purpose(tmp_path: Path, recorded: str) -> None:
    """The neighbour's administrator takes it down, three times."""
    told = [p for k in range(3) for p in (*said(UP, 6, 20 * k), *said(DOWN, 3, 20 * k + 6, 3))] + said(UP, 5, 60)
    neighbour = [p for k in range(3) for p in (*said(UP, 6, 20 * k, back=True), *said(ADMIN_DOWN, 3, 20 * k + 5.9, 7, back=True))]
    if recorded == "both ends":
        assert "bfd-down" not in found(tmp_path, [*told, *neighbour, *said(UP, 5, 60, back=True)])
    else:
        assert found(tmp_path, told)["bfd-down"].severity == "warning"


def test_a_session_that_never_comes_up(tmp_path: Path) -> None:
    this = found(tmp_path, said(DOWN, 5))["bfd-down"]
    assert this.severity == "problem"
    assert this.text == "BFD never came up: 192.0.2.10 with 198.51.100.20 (5 packets over 4.0 s)."
    assert found(tmp_path, said(DOWN, 15, every=200 * MS))["bfd-down"].severity == "problem"
    assert found(tmp_path, [*said(DOWN, 2), *said(INIT, 5, 2, peer=8)])["bfd-down"].severity == "problem"


@pytest.mark.parametrize(
    "packets",
    [said(DOWN, 5, peer=8), [*said(DOWN, 5), *said(ADMIN_DOWN, 5, 0.5, 7, back=True)]],
    ids=["hears the peer", "the peer's administrator"],
)
def test_a_session_that_may_wait_for_an_administrator(tmp_path: Path, packets: list[Packet]) -> None:
    assert found(tmp_path, packets)["bfd-down"].severity == "warning"


@pytest.mark.parametrize(
    "packets",
    [
        [*said(DOWN, 2), *said(INIT, 1, 2), *said(UP, 5, 3)],
        [*said(UP, 5), *said(ADMIN_DOWN, 5, 6, 7)],
        [*said(UP, 5), *said(DOWN, 5, 6, 7)],
        [*said(DOWN, 5), *said(DOWN, 1, 6, own=9), *said(UP, 5, 7, own=9, peer=8)],
        said(DOWN, 2),
        said(DOWN, 5, every=MS),
        said(DOWN, 5, version=0),
    ],
    ids=["comes up", "an administrator", "told by the administrator of the peer", "made anew", "twice", "at once", "another version"],
)
def test_sessions_that_are_well(tmp_path: Path, packets: list[Packet]) -> None:
    assert "bfd-down" not in found(tmp_path, packets)
