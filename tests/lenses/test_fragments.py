"""UDP datagrams in fragments, of which some never come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, MS, SERVER, S, found, healthy, lookup, ping
from tests.parsers.build import Packet, datagram

if TYPE_CHECKING:
    from pathlib import Path


def sent(pieces: str, times: int = 4, number: int = 1, at: int = S, iface: int = 1) -> list[Packet]:
    """Datagrams in three fragments each, of which ``pieces`` come."""
    packets = []
    for k in range(times):
        for piece in map(int, pieces):
            where = (0x2000 if piece < 2 else 0) | piece * 125
            data = datagram((CLIENT, 41_000), (SERVER, 7000), bytes(992)) if not piece else datagram((CLIENT, 0), (SERVER, 0), bytes(992))
            data = data[:4] + (number + k).to_bytes(2, "big") + where.to_bytes(2, "big") + data[8:]
            packets.append(Packet(at + k * S + piece * MS // 10, data, iface))
    return packets


def test_datagrams_that_arrive_in_part(tmp_path: Path) -> None:
    this = found(tmp_path, healthy(), sent("2"), sent("012", 1, 50), ping(20 * S))["fragments-missing"]
    assert (this.severity, this.text) == (
        "warning",
        f"4 UDP datagrams from {CLIENT} to {SERVER} arrived in part: fragments never came, the first ones among them; 1 came whole.",
    )
    assert this.values == {"datagrams": 4, "without_first": 4, "whole": 1}
    assert len(this.frames) == 4


def test_fragments_of_the_middle_that_are_missing(tmp_path: Path) -> None:
    assert "fragments never came; 0 came whole." in found(tmp_path, healthy(), sent("02"), ping(20 * S))["fragments-missing"].text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(sent("012"), id="whole"),
        pytest.param(sent("210"), id="in another order"),
        pytest.param(sent("12", 2), id="two"),
        pytest.param([*sent("12", 3), *sent("012", 40, 100)], id="of many"),
        pytest.param([*sent("0"), *sent("12", iface=2)], id="over two cards"),
        pytest.param(sent("12", at=17 * S)[4:], id="at the end"),
    ],
)
def test_fragments_of_which_nothing_is_told(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, healthy(), packets, ping(20 * S))
    assert not {"fragments-missing", "capture-loss"} & this.keys()


def test_a_filter_by_ports(tmp_path: Path) -> None:
    this = found(tmp_path, sent("0"), lookup("a.example.test", 0, MS), ping(20 * S))
    assert "fragments-missing" not in this
    assert (this["capture-loss"].severity, this["capture-loss"].text) == (
        "note",
        "Of 4 UDP datagrams only the first IP fragment is in the capture, and no later one at all: as if a filter by ports left them out.",
    )
