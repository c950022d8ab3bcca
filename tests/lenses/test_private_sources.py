"""Private addresses on a network of public ones: NAT is missing, or it is meant so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from tests.lenses.test_neighbours import GATEWAY, MAC, OTHER, OWN, found, is_at, who_has

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet as Layer

Frames = list[tuple[float, "Layer"]]
PRIVATE, SERVER = "192.168.7.5", "198.51.100.20"


def syns(*times: float, source: str = PRIVATE, server: str = SERVER) -> Frames:
    packet = Ether(src=MAC, dst=OTHER) / IP(src=source, dst=server) / TCP(sport=40_000, dport=80, flags="S", seq=1)
    return [(at, packet.copy()) for at in times]


NETWORK = [who_has(GATEWAY, 0.0), is_at(GATEWAY, OTHER, 0.001)]


def test_a_private_address_that_leaves(tmp_path: Path) -> None:
    this = found(tmp_path, [*NETWORK, *syns(1, 2, 4, 8)])["private-sources"]
    assert this.severity == "warning"
    assert this.text == (
        f"{PRIVATE} sends by a private address to {SERVER}, beside hosts with public ones ({GATEWAY} and {OWN}), and is never answered: "
        "1 connection over 7.0 s."
    )


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([who_has("192.168.7.1", 0.0, PRIVATE), is_at("192.168.7.1", OTHER, 0.001, PRIVATE), *syns(1, 2, 4, 8)], id="inside"),
        pytest.param([*NETWORK, *syns(1, 2, 4, 8, server="10.1.1.1")], id="to a private one"),
        pytest.param([*NETWORK, *syns(1, 2, 4, 8, source=OWN)], id="from a public one"),
        pytest.param([*NETWORK, *syns(1, 2)], id="twice"),
        pytest.param(syns(1, 2, 4, 8), id="a network of which nothing is known"),
    ],
)
def test_addresses_in_their_place(tmp_path: Path, frames: Frames) -> None:
    assert "private-sources" not in found(tmp_path, frames)


def test_answers_that_come_another_way(tmp_path: Path) -> None:
    """The host acknowledges them."""
    told = Ether(src=MAC, dst=OTHER) / IP(src=PRIVATE, dst=SERVER) / TCP(sport=40_000, dport=80, flags="A", seq=2, ack=9)
    assert "private-sources" not in found(tmp_path, [*NETWORK, *syns(1, 2, 4, 8), (8.1, told)])


def test_networks_that_know_each_other(tmp_path: Path) -> None:
    answer = Ether(src=OTHER, dst=MAC) / IP(src="198.51.100.9", dst=PRIVATE) / TCP(sport=80, dport=40_001, flags="SA", seq=1, ack=2)
    asked = Ether(src=MAC, dst=OTHER) / IP(src=PRIVATE, dst="198.51.100.9") / TCP(sport=40_001, dport=80, flags="S", seq=1)
    assert "private-sources" not in found(tmp_path, [*NETWORK, *syns(1, 2, 4, 8), (5, asked), (5.1, answer)])
