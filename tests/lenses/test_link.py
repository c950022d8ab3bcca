"""What hosts ask on a link before there is any IP: a PPPoE server, and to be let in by 802.1X."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from tests.lenses.test_neighbours import MAC, OTHER, found, tcp

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet as Layer

Frames = list[tuple[float, "Layer"]]


def discovery(code: int, at: float, source: str = MAC, to: str = "ff:ff:ff:ff:ff:ff") -> tuple[float, Layer]:
    return at, Ether(src=source, dst=to, type=0x8863) / Raw(bytes([0x11, code, 0, 0, 0, 4, 1, 1, 0, 0]))


def padis(*times: float) -> Frames:
    return [discovery(0x09, at) for at in times]


def test_a_host_that_finds_no_pppoe_server(tmp_path: Path) -> None:
    this = found(tmp_path, padis(0, 2, 6, 14))["neighbour-unanswered"]
    assert this.severity == "problem"
    assert this.text == f"No PPPoE server answered {MAC}: 4 broadcasts (PADI) over 14.0 s, not one offer (PADO)."
    assert len(this.frames) == 4


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*padis(0, 2, 6), discovery(0x07, 6.1, OTHER, MAC)], id="offered in the end"),
        pytest.param(padis(0, 2), id="twice"),
        pytest.param(padis(0, 5, 10, 15), id="a neighbour that may hear offers, and begins anew"),
    ],
)
def test_hosts_that_find_one_or_may(tmp_path: Path, frames: Frames) -> None:
    assert "neighbour-unanswered" not in found(tmp_path, frames)


def test_a_router_that_has_another_way_out(tmp_path: Path) -> None:
    def dhcp(kind: str, of_host: bool, at: float) -> tuple[float, Layer]:
        body = BOOTP(op=1 if of_host else 2, chaddr=bytes.fromhex(MAC.replace(":", "")), xid=7) / DHCP(
            options=[("message-type", kind), "end"]
        )
        ends = ("0.0.0.0", 68, 67) if of_host else ("192.0.2.1", 67, 68)
        ip = IP(src=ends[0], dst="255.255.255.255") / UDP(sport=ends[1], dport=ends[2])
        return at, Ether(src=MAC if of_host else OTHER, dst="ff:ff:ff:ff:ff:ff") / ip / body

    lease = [dhcp("request", True, 1.0), dhcp("ack", False, 1.1)]
    this = found(tmp_path, [*padis(0, 2, 6, 14), *lease])["neighbour-unanswered"]
    assert this.severity == "warning"
    assert this.text.endswith("not one offer (PADO); it got an address by DHCP meanwhile.")
    assert found(tmp_path, [*padis(0, 2, 6, 14), lease[0]])["neighbour-unanswered"].severity == "problem"


def eap(code: int, at: float, of_host: bool, kind: bytes = b"\4") -> tuple[float, Layer]:
    message = bytes([code, 1, 0, 4 + len(kind)]) + kind
    source = MAC if of_host else OTHER
    return at, Ether(src=source, dst="01:80:c2:00:00:03", type=0x888E) / Raw(b"\2\0" + len(message).to_bytes(2, "big") + message)


ASKED, ANSWERED, IN, OUT = (1, False), (2, True), (3, False), (4, False)


def login(*said: tuple[int, bool], at: float = 0) -> Frames:
    return [eap(code, at + 0.1 * k, of_host, b"" if code > 2 else b"\4") for k, (code, of_host) in enumerate(said)]


@pytest.mark.parametrize(
    ("frames", "severity"),
    [
        (login(ASKED, ANSWERED, ASKED, ANSWERED, OUT), "problem"),
        (login(ASKED, ANSWERED, ASKED, ANSWERED, IN), None),
        ([*login(ASKED, ANSWERED, OUT), *login(ASKED, ANSWERED, IN, at=9)], "warning"),
        (login(OUT, ASKED, ASKED, ASKED, OUT), None),  # a host that knows nothing of 802.1X
        (login(OUT, ASKED, ANSWERED, IN), None),  # switches begin so
    ],
)
def test_hosts_that_are_let_in_and_not(tmp_path: Path, frames: Frames, severity: str | None) -> None:
    this = found(tmp_path, frames)
    assert (this["refused"].severity if "refused" in this else None) == severity
    if severity == "problem":
        assert this["refused"].text == f"1 of 1 EAP answer was a refusal, from {OTHER}: the login failed (802.1X)."


@pytest.mark.parametrize(("at", "severity"), [(1.0, "warning"), (-1.0, "problem")])
def test_a_port_that_carries_traffic_behind_a_failed_login(tmp_path: Path, at: float, severity: str) -> None:
    syn, synack, ack, said = (tcp(at + 0.01 * k, flags, up=k % 2 == 0) for k, flags in enumerate(("S", "SA", "A", "PA")))
    opened = [syn, synack, ack, (said[0], said[1] / b"hello")]
    this = found(tmp_path, sorted([*login(ASKED, ANSWERED, OUT), *opened], key=lambda each: each[0]))
    assert this["refused"].severity == severity
    assert ("connections go on behind the last one all the same" in this["refused"].text) == (severity == "warning")


PAP, CHAP, IPCP = b"\xc0\x23", b"\xc2\x23", b"\x80\x21"


def ppp(protocol: bytes, code: int, at: float, vlan: int = 0) -> tuple[float, Layer]:
    """What a server says inside a session of PPPoE."""
    header = Ether(src=OTHER, dst=MAC, type=0x8100) / Dot1Q(vlan=vlan, type=0x8864) if vlan else Ether(src=OTHER, dst=MAC, type=0x8864)
    return at, header / Raw(b"\x11\0\0\x07\0\x08" + protocol + bytes([code, 1, 0, 6, 1, 65]) + bytes(20))


@pytest.mark.parametrize(("protocol", "code", "name"), [(PAP, 3, "PAP"), (CHAP, 4, "CHAP"), (b"\xc2\x27", 4, "EAP")])
@pytest.mark.parametrize("vlan", [0, 7])
def test_a_login_of_ppp_that_is_refused(tmp_path: Path, protocol: bytes, code: int, name: str, vlan: int) -> None:
    this = found(tmp_path, [ppp(protocol, code, at, vlan) for at in (0, 10, 20)])["refused"]
    assert this.severity == "problem"
    assert this.text == f"3 of 3 PPP answers were refusals, from {OTHER}: the login failed ({name})."


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([ppp(PAP, 3, 0), ppp(PAP, 2, 10)], id="mistyped, then right"),
        pytest.param([ppp(CHAP, 3, 0), ppp(CHAP, 3, 60)], id="asked again from time to time"),
        pytest.param([ppp(IPCP, 3, 0), ppp(IPCP, 3, 1), ppp(IPCP, 3, 2)], id="a Nak of an address, by design"),
    ],
)
def test_logins_of_ppp_that_get_in(tmp_path: Path, frames: Frames) -> None:
    this = found(tmp_path, frames).get("refused")
    assert this is None or this.severity == "warning"


def tagged(at: float, port: int, there: int, back: int, heard: bool, server: str = "198.51.100.20") -> Frames:
    """Connections of which the SYNs go in one VLAN and the answers come in another."""
    client = "192.0.2.10"

    def one(later: float, up: bool, flags: str, seq: int, ack: int = 0) -> tuple[float, Layer]:
        ends, vlan = ((client, server) if up else (server, client)), there if up else back
        link = Ether(src=MAC if up else OTHER, dst=OTHER if up else MAC)
        ports = (port, 80) if up else (80, port)
        return at + later, (link / Dot1Q(vlan=vlan) if vlan else link) / IP(src=ends[0], dst=ends[1]) / TCP(
            sport=ports[0], dport=ports[1], flags=flags, seq=seq, ack=ack
        )

    if heard:
        last = [(0.002, True, "A", 11, 51), (0.1, True, "FA", 11, 51), (0.101, False, "FA", 51, 12), (0.102, True, "A", 12, 52)]
        return [one(0, True, "S", 10), one(0.001, False, "SA", 50, 11), *(one(*each) for each in last)]
    return [each for k in range(5) for each in (one(k, True, "S", 10), one(k + 0.001, False, "SA", 50, 11))]


def test_answers_in_another_vlan(tmp_path: Path) -> None:
    this = found(
        tmp_path, [*tagged(0, 40_000, 10, 20, False), *tagged(9, 40_001, 10, 10, True, "198.51.100.21"), *tagged(60, 40_002, 10, 10, True)]
    )
    assert this["connect-unanswered"].text.endswith(
        ": the SYNs went in VLAN 10, and the answers came in VLAN 20, unlike those that were heard."
    )
    this = found(
        tmp_path, [*tagged(0, 40_000, 0, 20, False), *tagged(9, 40_001, 0, 0, True, "198.51.100.21"), *tagged(60, 40_002, 0, 0, True)]
    )
    assert "went in no VLAN, and the answers came in VLAN 20" in this["connect-unanswered"].text


@pytest.mark.parametrize(
    ("vlans", "others"),
    [((10, 10), (10, 10)), ((10, 20), (10, 20)), ((0, 0), (0, 0))],
    ids=["the same", "a capture of both sides of a router", "untagged"],
)
def test_answers_that_are_not_heard_for_another_reason(tmp_path: Path, vlans: tuple[int, int], others: tuple[int, int]) -> None:
    this = found(
        tmp_path,
        [*tagged(0, 40_000, *vlans, False), *tagged(9, 40_001, *others, True, "198.51.100.21"), *tagged(60, 40_002, *others, True)],
    )
    assert "VLAN" not in this["connect-unanswered"].text
