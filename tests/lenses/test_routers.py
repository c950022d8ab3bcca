"""Routers that say that they are there: two masters of one virtual router, and two prefixes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.hsrp import HSRP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptPrefixInfo, IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.layers.vrrp import VRRP
from scapy.utils import PcapWriter

import netlens
from tests.lenses.made import S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from netlens.lenses import Finding

A, B = "192.0.2.2", "192.0.2.3"


def of(tmp_path: Path, frames: list[tuple[int, Ether]]) -> dict[str, Finding]:
    path = str(tmp_path / "made.pcap")
    with PcapWriter(path, nano=True, linktype=1) as out:
        for at, frame in sorted(frames, key=lambda each: each[0]):
            frame.time = 1_700_000_000 + at / S
            out.write(frame)
    return {each.id: each for each in netlens.analyze(path).findings}


def vrrp(
    source: str, times: list[float], number: int = 51, address: str = "192.0.2.100", priority: int = 100, vlans: tuple[int, ...] = ()
) -> list[tuple[int, Ether]]:
    packet = Ether(src="00:00:5e:00:01:33")
    for vlan in vlans:
        packet = packet / Dot1Q(vlan=vlan)
    packet = packet / IP(src=source, dst="224.0.0.18", ttl=255, proto=112)
    return [(int(at * S), packet / VRRP(vrid=number, priority=priority, addrlist=[address])) for at in times]


IN_TURN: list[float] = [0, 1, 2, 3, 4]


def test_two_masters_in_one_vlan(tmp_path: Path) -> None:
    frames = [*vrrp(A, IN_TURN, vlans=(10,)), *vrrp(B, [t + 0.5 for t in IN_TURN], vlans=(10,))]
    assert of(tmp_path, frames)["virtual-routers"].severity == "problem"


def test_two_masters_of_one_virtual_router(tmp_path: Path) -> None:
    this = of(tmp_path, [*vrrp(A, [0, 1, 2, 3, 4]), *vrrp(B, [0.5, 1.5, 2.5, 3.5])])["virtual-routers"]
    assert this.severity == "problem"
    assert this.text == (
        "192.0.2.2 and 192.0.2.3 claim at the same time to be the master of 192.0.2.100 (VRID 51): 9 advertisements of VRRP in turn over 4.0 s."
    )


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*vrrp(A, [0, 1, 2, 3]), *vrrp(A, [3.4], priority=0), *vrrp(B, [4, 5, 6])], id="one takes over"),
        pytest.param([*vrrp(A, [0, 1, 2, 30, 31, 32, 60, 61]), *vrrp(B, [6, 7, 8, 9, 10, 29, 36, 37, 38, 39, 40, 59])], id="fails and comes back"),
        pytest.param([*vrrp(A, [0, 1, 2, 3]), *vrrp(B, [0.5, 1.5, 2.5, 3.5], number=52)], id="two virtual routers"),
        pytest.param([*vrrp(A, [0, 1, 2, 3]), *vrrp(B, [0.5, 1.5, 2.5, 3.5], address="192.0.2.101")], id="the same number in another network"),
        pytest.param([*vrrp(A, IN_TURN, vlans=(10,)), *vrrp(B, [t + 0.5 for t in IN_TURN], vlans=(20,))], id="two VLANs"),
        pytest.param([*vrrp(A, IN_TURN, vlans=(10, 7)), *vrrp(B, [t + 0.5 for t in IN_TURN], vlans=(20, 7))], id="VLANs of two customers"),
        pytest.param([*vrrp(A, [k + d for k in range(9) for d in (0, 0.001)])], id="recorded twice"),
        pytest.param([*vrrp(A, [0, 1, 2, 2.9]), *vrrp(B, [2.5, 2.8, 3.8, 4.8])], id="a change of masters"),
    ],
)  # fmt: skip
def test_one_master_at_a_time(tmp_path: Path, frames: list[tuple[int, Ether]]) -> None:
    assert "virtual-routers" not in of(tmp_path, frames)


def failing(rounds: int, pause: float = 10, address: str = "192.0.2.100") -> list[tuple[int, Ether]]:
    """One router is the master, is not, and is again."""
    first = [t + pause * k for k in range(rounds) for t in (0, 1, 2, 3, 4)]
    return [*vrrp(A, first, address=address), *vrrp(B, [t + pause / 2 for t in first], priority=90, address=address)]


def test_a_master_that_changes_again_and_again(tmp_path: Path) -> None:
    this = of(tmp_path, failing(4))["virtual-routers"]
    assert this.severity == "problem"
    assert this.text == (
        "The master of 192.0.2.100 (VRID 51) changed 7 times within 35.0 s, between 192.0.2.2 and 192.0.2.3 (VRRP, priorities 90, 100)."
    )


def stopped(rounds: int) -> list[tuple[int, Ether]]:
    """As :func:`failing`, but the master says each time that it gives up."""
    return [*failing(rounds), *vrrp(A, [10.0 * k + 4.5 for k in range(rounds)], priority=0)]


@pytest.mark.parametrize(
    "frames",
    [pytest.param(failing(3), id="twice"), pytest.param(stopped(6), id="on purpose"), pytest.param(failing(4, pause=3600), id="in hours")],
)
def test_masters_that_change_now_and_then(tmp_path: Path, frames: list[tuple[int, Ether]]) -> None:
    assert "virtual-routers" not in of(tmp_path, frames)


def advertised(
    router: str, prefix: str, times: list[int], lifetime: int = 1800, autonomous: int = 1, length: int = 64, managed: int = 0
) -> list[tuple[int, Ether]]:
    option = ICMPv6NDOptPrefixInfo(prefix=prefix, prefixlen=length, A=autonomous, validlifetime=86400)
    packet = Ether() / IPv6(src=router, dst="ff02::1", hlim=255) / ICMPv6ND_RA(routerlifetime=lifetime, M=managed) / option
    return [(at * S, packet.copy()) for at in times]


OURS = advertised("fe80::1", "2001:db8:1::", [0, 10])


def test_two_routers_with_different_prefixes(tmp_path: Path) -> None:
    this = of(tmp_path, [*OURS, *advertised("fe80::2", "2001:db8:2::", [1, 11])])["router-advertisements"]
    assert this.severity == "warning"
    assert this.text == (
        "2 routers advertise different prefixes to the hosts of one network: fe80::1 (2001:db8:1::/64) and fe80::2 (2001:db8:2::/64)."
    )


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(advertised("fe80::2", "2001:db8:1::", [1]), id="the same prefix"),
        pytest.param(advertised("fe80::2", "2001:db8:2::", [1], lifetime=0), id="no route to give"),
        pytest.param([*advertised("fe80::2", "2001:db8:2::", [1]), *advertised("fe80::2", "2001:db8:2::", [15], lifetime=0)], id="one that left"),
        pytest.param(advertised("fe80::2", "2001:db8:2::", [1], autonomous=0), id="no addresses to make"),
        pytest.param(advertised("fe80::1", "2001:db8:2::", [1]), id="one router with two"),
        pytest.param([*advertised("fe80::2", "2001:db8:2::", [1]), *advertised("fe80::2", "2001:db8:1::", [2])], id="one learned of the other"),
    ],
)  # fmt: skip
def test_routers_that_agree(tmp_path: Path, frames: list[tuple[int, Ether]]) -> None:
    assert "router-advertisements" not in of(tmp_path, [*OURS, *frames])


def test_a_prefix_of_which_hosts_make_no_address(tmp_path: Path) -> None:
    frames = advertised("fe80::1", "2001:db8:1::", [0, 10], length=60)
    this = of(tmp_path, frames)["address-prefixes"]
    assert this.severity == "warning"
    assert this.text == "Hosts can make no address of the prefix that fe80::1 advertises: 2001:db8:1::/60; they need /64."
    asked = Ether() / IPv6(src="fe80::9", dst="2001:db8::7") / TCP(sport=40_000, dport=80, flags="S", seq=1)
    near = (
        Ether() / IPv6(src="fe80::9", dst="2001:db8:1::7") / TCP(sport=40_000, dport=80, flags="S", seq=1)
    )  # a neighbour whose address was set by hand
    assert of(tmp_path, [*frames, (5 * S, near)])["address-prefixes"].severity == "warning"
    stuck = of(tmp_path, [*frames, (5 * S, asked)])["address-prefixes"]
    assert stuck.severity == "problem"
    assert stuck.text.endswith("; they need /64, and fe80::9 has none.")


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(OURS, id="64 bits"),
        pytest.param([*OURS, *advertised("fe80::1", "2001:db8:1::", [1], length=48)], id="64 bits and others"),
        pytest.param(advertised("fe80::1", "2001:db8:1::", [1], length=60, autonomous=0), id="for routes alone"),
        pytest.param(advertised("fe80::1", "2001:db8:1::", [1], length=60, lifetime=0), id="no route to give"),
        pytest.param(advertised("fe80::1", "2001:db8:1::", [1], length=60, managed=1), id="by DHCPv6"),
    ],
)
def test_prefixes_that_are_right(tmp_path: Path, frames: list[tuple[int, Ether]]) -> None:
    assert "address-prefixes" not in of(tmp_path, frames)


ACTIVE, STANDBY, SPEAK, HELLO, COUP, RESIGN = 16, 8, 4, 0, 1, 2


def hsrp(source: str, times: list[float], state: int = ACTIVE, operation: int = HELLO, group: int = 10) -> list[tuple[int, Ether]]:
    said = HSRP(opcode=operation, state=state, group=group, virtualIP="192.0.2.1", priority=110 if source == A else 100)
    packet = Ether() / IP(src=source, dst="224.0.0.2", ttl=1) / UDP(sport=1985, dport=1985) / said
    return [(int(at * S), packet.copy()) for at in times]


def hsrp_2(source: str, times: list[float]) -> list[tuple[int, Ether]]:
    said = b"\x01\x28\x02\0\x06\x04\0\x0a" + bytes(6) + b"\0\0\0\x64\0\0\x0b\xb8\0\0\x27\x10\xc0\0\2\1" + bytes(12)
    packet = Ether() / IP(src=source, dst="224.0.0.102", ttl=1) / UDP(sport=1985, dport=1985) / said
    return [(int(at * S), packet.copy()) for at in times]


THREES = [3.0 * k for k in range(6)]
BETWEEN = [t + 1.4 for t in THREES]


@pytest.mark.parametrize("said", [hsrp, hsrp_2])
def test_two_active_routers(tmp_path: Path, said: Callable[[str, list[float]], list[tuple[int, Ether]]]) -> None:
    this = of(tmp_path, [*said(A, THREES), *said(B, BETWEEN)])["virtual-routers"]
    assert this.severity == "problem"
    assert this.text == (
        "192.0.2.2 and 192.0.2.3 claim at the same time to be the active router of 192.0.2.1 (HSRP group 10): 12 advertisements of HSRP in turn over 16.4 s."
    )


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*hsrp(A, THREES), *hsrp(B, BETWEEN, STANDBY)], id="active and standby"),
        pytest.param(
            [*hsrp(B, [0, 3, 6]), *hsrp(A, [7], operation=COUP), *hsrp(B, [7.1, 10], SPEAK), *hsrp(A, [9, 12, 15])], id="takes over"
        ),
        pytest.param([*hsrp(A, [0, 3]), *hsrp(A, [5], operation=RESIGN), *hsrp(B, [5.5, 8.5, 11.5])], id="gives up"),
        pytest.param([*hsrp(A, THREES), *hsrp(B, BETWEEN, group=11)], id="two groups"),
    ],
)
def test_one_active_router_at_a_time(tmp_path: Path, frames: list[tuple[int, Ether]]) -> None:
    assert "virtual-routers" not in of(tmp_path, frames)
