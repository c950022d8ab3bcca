"""Hellos of OSPF, made here: routers that do not become neighbours, and such that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scapy.contrib.ospf import OSPF_Hdr, OSPF_Hello, OSPFv3_Hdr, OSPFv3_Hello
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1Q, Ether

from tests.lenses.test_neighbours import found

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet as Layer

Frames = list[tuple[float, "Layer"]]
A, B = "192.0.2.1", "192.0.2.2"
TIMES = [10.0 * k for k in range(6)]


def hellos(source: str, router: str, heard: list[str], times: list[float] = TIMES, vlan: int = 0, **said: Any) -> Frames:
    header = {name: said.pop(name) for name in ("area", "authtype") if name in said}
    hello = OSPF_Hello(**({"mask": "255.255.255.0", "hellointerval": 10, "deadinterval": 40, "options": 2} | said), neighbors=heard)
    packet = Ether() / Dot1Q(vlan=vlan) if vlan else Ether()
    packet = packet / IP(src=source, dst="224.0.0.5", ttl=1) / OSPF_Hdr(src=router, **header) / hello
    return [(at + (0.5 if source == B else 0), packet.copy()) for at in times]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"area": "0.0.0.1"}, "they differ in area (0.0.0.0 and 0.0.0.1)"),
        ({"authtype": 1}, "they differ in authentication (none and password)"),
        ({"hellointerval": 5}, "they differ in hello interval (10 s and 5 s)"),
        ({"deadinterval": 20, "hellointerval": 5}, "they differ in dead interval (40 s and 20 s) and hello interval (10 s and 5 s)"),
        ({"mask": "255.255.255.128"}, "they differ in netmask (255.255.255.0 and 255.255.255.128)"),
        ({"options": 0}, "they differ in kind of area (normal and stub)"),
    ],
)
def test_routers_that_do_not_agree(tmp_path: Path, said: dict[str, Any], words: str) -> None:
    this = found(tmp_path, [*hellos(A, "1.1.1.1", []), *hellos(B, "2.2.2.2", [], **said)])["ospf-neighbours"]
    assert this.severity == "problem"
    assert this.text.startswith(f"OSPF: {A} and {B} do not take each other as neighbours: {words} (")


def test_routers_with_one_id(tmp_path: Path) -> None:
    this = found(tmp_path, [*hellos(A, "1.1.1.1", []), *hellos(B, "1.1.1.1", [])])["ospf-neighbours"]
    assert this.severity == "problem"
    assert "both have the router ID 1.1.1.1" in this.text


def test_routers_of_version_3(tmp_path: Path) -> None:
    def of(source: str, router: str, area: str) -> Frames:
        hello = OSPFv3_Hello(hellointerval=10, deadinterval=40, options=0x13)
        packet = Ether() / IPv6(src=source, dst="ff02::5", hlim=1) / OSPFv3_Hdr(src=router, area=area) / hello
        return [(at, packet.copy()) for at in TIMES]

    this = found(tmp_path, [*of("fe80::1", "1.1.1.1", "0.0.0.0"), *of("fe80::2", "2.2.2.2", "0.0.0.3")])["ospf-neighbours"]
    assert this.severity == "problem"
    assert "they differ in area (0.0.0.0 and 0.0.0.3)" in this.text


def test_who_is_not_heard(tmp_path: Path) -> None:
    this = found(tmp_path, [*hellos(A, "1.1.1.1", ["2.2.2.2"]), *hellos(B, "2.2.2.2", [])])["ospf-neighbours"]
    assert this.severity == "problem"
    assert this.text == f"OSPF: {A} hears {B}, which does not hear {A} (11 Hellos over 50.0 s)."


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(hellos(B, "2.2.2.2", []), id="nothing differs"),
        pytest.param(hellos(B, "2.2.2.2", ["3.3.3.3"], area="0.0.0.1"), id="two domains"),
    ],
)
def test_what_may_be_so_on_purpose(tmp_path: Path, other: Frames) -> None:
    this = found(tmp_path, [*hellos(A, "1.1.1.1", ["4.4.4.4"]), *other])["ospf-neighbours"]
    assert this.severity == "warning"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*hellos(A, "1.1.1.1", ["2.2.2.2"]), *hellos(B, "2.2.2.2", ["1.1.1.1"])], id="neighbours"),
        pytest.param([*hellos(A, "1.1.1.1", [], TIMES[:1]), *hellos(A, "1.1.1.1", ["2.2.2.2"], TIMES[1:]), *hellos(B, "2.2.2.2", ["1.1.1.1"])],
                     id="one begins"),
        pytest.param([*hellos(A, "1.1.1.1", []), *hellos(B, "2.2.2.2", [], [20.0, 30.0])], id="has just begun"),
        pytest.param([*hellos(A, "1.1.1.1", []), *hellos("198.51.100.1", "2.2.2.2", [], area="0.0.0.1")], id="another network"),
        pytest.param([*hellos(A, "1.1.1.1", [], vlan=7), *hellos(B, "2.2.2.2", [], vlan=8, area="0.0.0.1")], id="another VLAN"),
        pytest.param(hellos(A, "1.1.1.1", []), id="alone"),
    ],
)  # fmt: skip
def test_routers_that_agree(tmp_path: Path, frames: Frames) -> None:
    assert "ospf-neighbours" not in found(tmp_path, frames)
