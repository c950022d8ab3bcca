"""Hellos of IS-IS and EIGRP, made here: routers that do not become neighbours, and such that do."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import LLC, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from tests.lenses.test_neighbours import MAC, OTHER, found

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet as Layer

Frames = list[tuple[float, "Layer"]]
A, B = "192.0.2.1", "192.0.2.2"
TIMES = [3.0 * k for k in range(6)]
LEVEL_1, LEVEL_2, POINT_TO_POINT = 15, 16, 17
IDS = {MAC: bytes.fromhex("192000002001"), OTHER: bytes.fromhex("192000002002")}
ONE, TWO = b"\x03\x49\x00\x01", b"\x03\x49\x00\x02"


def hellos(
    source: str, areas: bytes = ONE, heard: str = "", kind: int = LEVEL_1, levels: int = 1, id_: str = "", more: bytes = b"", vlan: int = 0
) -> Frames:
    """By IS-IS; ``heard``: the hardware address of whom it hears."""
    lan = b"\x40" + bytes(7) if kind != POINT_TO_POINT else b"\1"
    tlvs = b"\1" + bytes([len(areas)]) + areas + more
    if kind == POINT_TO_POINT:
        tlvs += b"\xf0\x0f\1" + bytes(4) + IDS[heard] + bytes(4) if heard else b"\xf0\1\2"
    elif heard:
        tlvs += b"\6\6" + bytes.fromhex(heard.replace(":", ""))
    body = b"\x83\x1b\1\0" + bytes([kind]) + b"\1\0\0" + bytes([levels]) + IDS[id_ or source] + b"\0\x1e\0\0" + lan + tlvs
    header = Dot3(src=source, dst="01:80:c2:00:00:14")
    if vlan:
        header = Ether(src=source, dst="01:80:c2:00:00:14", type=0x8100) / Dot1Q(vlan=vlan, type=len(body) + 3)
    packet = header / LLC(dsap=0xFE, ssap=0xFE, ctrl=3) / Raw(body)
    return [(at + (0.5 if source == OTHER else 0), packet.copy()) for at in TIMES]


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (hellos(OTHER, TWO), "they are in different areas (49.0001 and 49.0002), and level 1 joins none"),
        (hellos(OTHER, id_=MAC), "both have the ID 1920.0000.2001"),
        (hellos(OTHER, more=b"\x0a\x05\1word"), "they differ in authentication (none and password)"),
    ],
)
def test_routers_of_isis_that_do_not_become_neighbours(tmp_path: Path, frames: Frames, words: str) -> None:
    this = found(tmp_path, [*hellos(MAC), *frames])["isis-neighbours"]
    assert this.severity == "problem"
    assert words in this.text
    assert this.text.startswith("IS-IS: the routers of level 1 1920.0000.2001 and 1920.0000.200")


def test_point_to_point_links_of_isis(tmp_path: Path) -> None:
    one, other = (hellos(who, areas, kind=POINT_TO_POINT) for who, areas in ((MAC, ONE), (OTHER, TWO)))
    assert "different areas" in found(tmp_path, [*one, *other])["isis-neighbours"].text
    above = hellos(OTHER, kind=POINT_TO_POINT, levels=2)
    assert "one takes neighbours in level 1 alone, the other in level 2" in found(tmp_path, [*one, *above])["isis-neighbours"].text
    heard = hellos(MAC, ONE, OTHER, POINT_TO_POINT, 3), hellos(OTHER, TWO, MAC, POINT_TO_POINT, 3)
    assert "isis-neighbours" not in found(tmp_path, [*heard[0], *heard[1]])


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*hellos(MAC, heard=OTHER), *hellos(OTHER, heard=MAC)], id="neighbours"),
        pytest.param([*hellos(MAC, heard=OTHER), *hellos(OTHER)], id="one names the other"),
        pytest.param(
            [
                *[*hellos(MAC, ONE), *hellos(OTHER, TWO)],
                *[*hellos(MAC, ONE, OTHER, LEVEL_2, 3), *hellos(OTHER, TWO, MAC, LEVEL_2, 3)],
            ],
            id="two areas on one network, neighbours in level 2",
        ),
        pytest.param([*hellos(MAC)[:2], *hellos(OTHER, TWO)[:2]], id="for a moment"),
        pytest.param(hellos(MAC), id="one alone"),
        pytest.param([*hellos(MAC, vlan=10), *hellos(OTHER, TWO, vlan=20)], id="two VLANs"),
    ],
)
def test_routers_of_isis_that_need_not(tmp_path: Path, frames: Frames) -> None:
    assert "isis-neighbours" not in found(tmp_path, frames)


def test_routers_of_isis_of_which_nobody_knows_why(tmp_path: Path) -> None:
    assert found(tmp_path, [*hellos(MAC), *hellos(OTHER)])["isis-neighbours"].severity == "warning"
    assert "isis-neighbours" in found(tmp_path, [*hellos(MAC, vlan=7), *hellos(OTHER, TWO, vlan=7)])


def greetings(source: str, number: int = 100, weights: bytes = b"\1\0\1\0\0\0", more: bytes = b"") -> Frames:
    """By EIGRP."""
    body = struct.pack(">BBHIIIHHHH", 2, 5, 0, 0, 0, 0, 0, number, 1, 12) + weights + b"\0\x0f" + more
    packet = Ether() / IP(src=source, dst="224.0.0.10", proto=88, ttl=1) / Raw(body)
    return [(at + (0.5 if source == B else 0), packet.copy()) for at in TIMES]


def update(source: str, to: str) -> Frames:
    return [(1.0, Ether() / IP(src=source, dst=to, proto=88) / Raw(struct.pack(">BBHIIIHH", 2, 1, 0, 1, 1, 0, 0, 100)))]


@pytest.mark.parametrize(
    ("frames", "words", "severity"),
    [
        (greetings(B, weights=b"\1\1\1\0\0\0"), "K values (1 0 1 0 0 and 1 1 1 0 0)", "problem"),
        (greetings(B, more=b"\0\2\0\x28\0\2\0\x10" + bytes(32)), "authentication (none and MD5)", "problem"),
        (greetings(B, number=200), "autonomous system (100 and 200)", "warning"),
    ],
)
def test_routers_of_eigrp_that_do_not_become_neighbours(tmp_path: Path, frames: Frames, words: str, severity: str) -> None:
    this = found(tmp_path, [*greetings(A), *frames])["isis-neighbours"]
    assert this.severity == severity
    assert this.text.startswith(f"EIGRP: {A} and {B} do not become neighbours: they differ in {words} (")


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*greetings(A), *greetings(B)], id="alike"),
        pytest.param([*greetings(A), *greetings(B, number=200), *greetings(B)], id="one speaks for two systems"),
        pytest.param([*greetings(A), *greetings(B, weights=b"\xff" * 5 + b"\0")], id="one takes leave"),
        pytest.param([*greetings(A), *greetings(B, weights=b"\1\1\1\0\0\0"), *update(A, B)], id="they talk"),
    ],
)
def test_routers_of_eigrp_that_agree(tmp_path: Path, frames: Frames) -> None:
    assert "isis-neighbours" not in found(tmp_path, frames)
