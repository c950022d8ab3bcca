"""Hellos of OSPF, made here: routers that do not become neighbours, and such that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scapy.contrib.ospf import OSPF_DBDesc, OSPF_Hdr, OSPF_Hello, OSPFv3_Hdr, OSPFv3_Hello
from scapy.layers.inet import IP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import CookedLinux, Dot1Q, Ether
from scapy.utils import PcapWriter

import netlens
from tests.lenses.test_neighbours import found

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet as Layer

Frames = list[tuple[float, "Layer"]]
A, B = "192.0.2.1", "192.0.2.2"
TIMES = [10.0 * k for k in range(6)]


def hellos(source: str, router: str, heard: list[str], times: list[float] = TIMES, vlan: int = 0, **said: Any) -> Frames:
    header = {name: said.pop(name) for name in ("area", "authtype", "keyid", "authdata") if name in said}
    hello = OSPF_Hello(**({"mask": "255.255.255.0", "hellointerval": 10, "deadinterval": 40, "options": 2} | said), neighbors=heard)
    packet = Ether() / Dot1Q(vlan=vlan) if vlan else Ether()
    packet = packet / IP(src=source, dst="224.0.0.5", ttl=1) / OSPF_Hdr(src=router, **header) / hello
    return [(at + (0.5 if source == B else 0), packet.copy()) for at in times]


def hellos_3(source: str, router: str, heard: list[str], area: str = "0.0.0.0") -> Frames:
    hello = OSPFv3_Hello(hellointerval=10, deadinterval=40, options=0x13, neighbors=heard)
    packet = Ether() / IPv6(src=source, dst="ff02::5", hlim=1) / OSPFv3_Hdr(src=router, area=area) / hello
    return [(at, packet.copy()) for at in TIMES]


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


SIGNED = {"authtype": 2, "keyid": 1}


@pytest.mark.parametrize(
    ("here", "there", "words"),
    [
        (SIGNED, {"authtype": 2, "keyid": 2}, "they differ in key ID (1 and 2)"),
        (SIGNED, {}, "they differ in authentication (MD5 or SHA and none)"),
        ({"authtype": 1, "authdata": 0x6162630000000000}, {"authtype": 1, "authdata": 0x6364650000000000}, "they differ in password"),
    ],
)
def test_routers_with_different_keys(tmp_path: Path, here: dict[str, Any], there: dict[str, Any], words: str) -> None:
    this = found(tmp_path, [*hellos(A, "1.1.1.1", [], **here), *hellos(B, "2.2.2.2", [], **there)])["ospf-neighbours"]
    assert this.severity == "problem"
    assert this.text.startswith(f"OSPF: {A} and {B} do not take each other as neighbours: {words} (")


def test_keys_that_are_being_changed(tmp_path: Path) -> None:
    """A router sends each Hello by the old and by the new key until its neighbours have that (RFC 2328 D.3)."""
    both = [*hellos(A, "1.1.1.1", [], **SIGNED), *hellos(A, "1.1.1.1", [], authtype=2, keyid=2)]
    this = found(tmp_path, [*both, *hellos(B, "2.2.2.2", [], **SIGNED)])["ospf-neighbours"]
    assert this.severity == "warning"
    assert "nothing that can be seen differs (their keys cannot be seen) (" in this.text
    heard = [*hellos(A, "1.1.1.1", ["2.2.2.2"], **SIGNED), *hellos(B, "2.2.2.2", ["1.1.1.1"], authtype=2, keyid=2)]
    assert "ospf-neighbours" not in found(tmp_path, heard)


def test_routers_with_one_id(tmp_path: Path) -> None:
    this = found(tmp_path, [*hellos(A, "1.1.1.1", []), *hellos(B, "1.1.1.1", [])])["ospf-neighbours"]
    assert this.severity == "problem"
    assert "both have the router ID 1.1.1.1" in this.text


def test_routers_of_version_3(tmp_path: Path) -> None:
    frames = [*hellos_3("fe80::1", "1.1.1.1", []), *hellos_3("fe80::2", "2.2.2.2", [], "0.0.0.3")]
    this = found(tmp_path, frames)["ospf-neighbours"]
    assert this.severity == "problem"
    assert "they differ in area (0.0.0.0 and 0.0.0.3)" in this.text
    # a capture of all interfaces that does not tell them apart: these may be two links
    path = str(tmp_path / "any.pcap")
    with PcapWriter(path, linktype=113) as out:
        for at, frame in frames:
            packet = CookedLinux(pkttype=4, lladdrtype=1, lladdrlen=6, src=bytes(6), proto=0x86DD) / frame[IPv6]
            packet.time = 1_700_000_000 + at
            out.write(packet)
    assert [each.severity for each in netlens.analyze(path).findings if each.id == "ospf-neighbours"] == ["warning"]


LINKS = [*hellos_3("fe80::a1", "1.1.1.1", ["2.2.2.2"]), *hellos_3("fe80::b2", "2.2.2.2", ["1.1.1.1"])]


@pytest.mark.parametrize("area", ["0.0.0.0", "0.0.0.1"])
def test_a_router_with_two_links(tmp_path: Path, area: str) -> None:
    """One of them has no other router; a third router is on one of both."""
    frames = [*LINKS, *hellos_3("fe80::a2", "1.1.1.1", [], area)]
    assert "ospf-neighbours" not in found(tmp_path, frames)
    this = found(tmp_path, [*frames, *hellos_3("fe80::c3", "3.3.3.3", [], "0.0.0.7")])["ospf-neighbours"]
    assert this.severity == "warning"


def test_spokes_of_a_hub(tmp_path: Path) -> None:
    hub = hellos("192.0.2.9", "9.9.9.9", ["1.1.1.1", "2.2.2.2"])
    this = found(tmp_path, [*hub, *hellos(A, "1.1.1.1", ["9.9.9.9"]), *hellos(B, "2.2.2.2", ["9.9.9.9"])])["ospf-neighbours"]
    assert this.severity == "warning"
    assert "nothing that can be seen differs, and both hear 9.9.9.9, as spokes hear their hub alone (" in this.text


def test_several_pairs(tmp_path: Path) -> None:
    c = "192.0.2.3"
    apart = [*hellos(A, "1.1.1.1", []), *hellos(B, "2.2.2.2", [], area="0.0.0.1"), *hellos(c, "3.3.3.3", [], area="0.0.0.2")]
    assert found(tmp_path, apart)["ospf-neighbours"].text.startswith(
        f"OSPF: {A} and {c} do not take each other as neighbours: they differ in area (0.0.0.0 and 0.0.0.2); nor do {A} and {B}, nor {c} and {B} ("
    )
    deaf = [*hellos(A, "1.1.1.1", ["2.2.2.2", "3.3.3.3"]), *hellos(B, "2.2.2.2", ["3.3.3.3"]), *hellos(c, "3.3.3.3", ["2.2.2.2"])]
    assert found(tmp_path, deaf)["ospf-neighbours"].text.startswith(
        f"OSPF: {A} hears {c}, which does not hear {A}; {A} hears {B}, which does not hear {A} ("
    )


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


INIT_MORE_MASTER, MORE, LAST = 7, 2, 0


def describes(source: str, to: str, mtu: int, *at: float, flags: int = INIT_MORE_MASTER, number: int = 1) -> Frames:
    packet = Ether() / IP(src=source, dst=to, ttl=1) / OSPF_Hdr(src=source, type=2) / OSPF_DBDesc(mtu=mtu, dbdescr=flags, ddseq=number)
    return [(each, packet.copy()) for each in at]


EVERY_5 = [5.0 * k for k in range(6)]


def test_an_exchange_that_never_ends_for_the_mtu(tmp_path: Path) -> None:
    this = found(tmp_path, [*describes(A, B, 1400, *EVERY_5), *describes(B, A, 1500, *[t + 1 for t in EVERY_5], number=2)])[
        "ospf-neighbours"
    ]
    assert this.severity == "problem"
    assert this.text.startswith(
        f"OSPF: {A} and {B} hear each other, but never exchange their databases: their interfaces have different MTUs (1,400 and 1,500 "
    )
    # the other one takes it, and answers as the slave each time
    answers = describes(B, A, 1500, *[t + 1 for t in EVERY_5], flags=MORE)
    assert "different MTUs" in found(tmp_path, [*describes(A, B, 1400, *EVERY_5), *answers])["ospf-neighbours"].text


def test_an_exchange_that_never_ends(tmp_path: Path) -> None:
    both = [*describes(A, B, 1500, *EVERY_5), *describes(B, A, 1500, *[t + 1 for t in EVERY_5], number=2)]
    assert "nothing that can be seen differs" in found(tmp_path, both)["ospf-neighbours"].text


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*describes(A, B, 1400, 0, 5), *describes(B, A, 1500, 1, 6)], id="for a moment"),
        pytest.param([*describes(A, B, 1400, *EVERY_5), *describes(B, A, 1500, 1), *describes(A, B, 1500, 40, flags=LAST)], id="set right"),
        pytest.param([*describes(A, B, 1400, *EVERY_5), *describes(B, A, 0, 1, flags=MORE)], id="a virtual link"),
        pytest.param(describes(A, B, 1400, *EVERY_5), id="one direction"),
        pytest.param(
            [*describes(A, B, 1400, 0), *describes(B, A, 1500, 1), *describes(A, B, 1400, 2, flags=LAST)], id="the MTU is ignored"
        ),
    ],
)
def test_exchanges_that_end(tmp_path: Path, frames: Frames) -> None:
    assert "ospf-neighbours" not in found(tmp_path, frames)
