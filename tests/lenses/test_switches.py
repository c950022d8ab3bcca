"""What switches and cards say on a link: spanning trees, bundles (LACP), PAUSE, and hosts that ask to be let in; two cards that answer ARP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import LLC, SNAP, STP, Dot1Q, Dot3, Ether
from scapy.packet import Raw

from tests.lenses.test_neighbours import MAC, NOBODY, OTHER, THIRD, found, is_at, tcp, who_has

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet as Layer

Frames = list[tuple[float, "Layer"]]
GROUP = "01:80:c2:00:00:00"


def bpdus(*times: float, changed: bool = True, root: str = OTHER, bridge: str = MAC, version: int = 0, priority: int = 32768) -> Frames:
    said = STP(version=version, bpdutype=2 if version else 0, bpduflags=int(changed), rootid=priority, rootmac=root, bridgeid=priority, bridgemac=bridge,
               portid=0x8003, maxage=6, hellotime=1, fwddelay=2)  # fmt: skip
    return [(at, Dot3(src=bridge, dst=GROUP) / LLC(dsap=0x42, ssap=0x42, ctrl=3) / said) for at in times]


def seconds(first: int, last: int) -> list[float]:
    return [float(at) for at in range(first, last)]


def test_a_topology_that_changes_all_the_time(tmp_path: Path) -> None:
    this = found(tmp_path, bpdus(*seconds(0, 36)))["spanning-tree"]
    assert this.severity == "problem"
    assert this.text == (
        "Spanning tree: the topology changed at least 5 times within 35.0 s, as 36 BPDUs of 32768/02:00:00:00:00:0a tell (root 32768/02:00:00:00:00:01)."
    )
    assert len(this.every) == 36


def test_changes_that_a_rapid_tree_tells_one_by_one(tmp_path: Path) -> None:
    spells = [each for at in (0, 10, 20, 30) for each in bpdus(at, at + 1.0, version=2)]
    quiet = [each for at in (0, 10, 20, 30) for each in bpdus(*seconds(at + 3, at + 10), version=2, changed=False)]
    assert found(tmp_path, [*spells, *quiet])["spanning-tree"].values["changes"] == 4
    assert "spanning-tree" not in found(tmp_path, [*spells[:6], *quiet])


def test_trees_of_cisco(tmp_path: Path) -> None:
    """One for each VLAN, with and without a tag."""
    plain = [
        (at, Dot3(src=MAC) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0x0C, code=0x010B) / each[STP])
        for at, each in bpdus(*seconds(0, 36))
    ]
    assert found(tmp_path, plain)["spanning-tree"].values["changes"] == 5
    tagged = [
        (
            at,
            Ether(src=MAC, type=0x8100)
            / Dot1Q(vlan=7, type=50)
            / LLC(dsap=0xAA, ssap=0xAA, ctrl=3)
            / SNAP(OUI=0x0C, code=0x010B)
            / each[STP],
        )
        for at, each in bpdus(*seconds(0, 36))
    ]
    assert found(tmp_path, tagged)["spanning-tree"].values["changes"] == 5


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*bpdus(*seconds(0, 8)), *bpdus(*seconds(8, 60), changed=False)], id="one change"),
        pytest.param(bpdus(*seconds(0, 60), changed=False), id="no change"),
        pytest.param([*bpdus(*seconds(0, 8)), *bpdus(*seconds(8, 100), changed=False), *bpdus(*seconds(100, 108))], id="two changes"),
        pytest.param([*bpdus(*seconds(0, 20), changed=False), *bpdus(*seconds(20, 40), changed=False, root=MAC)], id="another root"),
        pytest.param([e for at in seconds(0, 20) for e in bpdus(at, changed=False, priority=32768 + int(at) % 2, root=(MAC, OTHER)[int(at) % 2])],
                     id="the roots of two VLANs"),
    ],
)  # fmt: skip
def test_a_tree_at_rest(tmp_path: Path, frames: Frames) -> None:
    assert "spanning-tree" not in found(tmp_path, frames)


def test_two_roots_in_turn(tmp_path: Path) -> None:
    one, other = bpdus(*seconds(0, 10), changed=False), bpdus(*(at + 0.5 for at in seconds(0, 10)), changed=False, root=THIRD)
    this = found(tmp_path, [*one, *other])["spanning-tree"]
    assert this.severity == "problem"
    assert this.text == ("Spanning tree: the root changed 19 times within 9.5 s: 32768/02:00:00:00:00:01 and 32768/02:00:00:00:00:02.")


def test_two_trees(tmp_path: Path) -> None:
    """As of two bridges of one host: each names its own root throughout."""
    one, other = bpdus(*seconds(0, 10), changed=False), bpdus(*(at + 0.5 for at in seconds(0, 10)), changed=False, root=THIRD, bridge=THIRD)
    this = found(tmp_path, [*one, *other])["spanning-tree"]
    assert this.severity == "warning"
    assert this.text == (
        "Spanning tree: 32768/02:00:00:00:00:01 and 32768/02:00:00:00:00:02 are named side by side as roots over 9.5 s, each by bridges that never name "
        "another: separate trees."
    )
    joined = bpdus(2.7, changed=False, root=THIRD)  # one names the other's root
    assert found(tmp_path, [*one, *other, *joined])["spanning-tree"].severity == "problem"


@pytest.mark.parametrize("pace", [8, 50])
def test_changes_that_came_to_an_end(tmp_path: Path, pace: int) -> None:
    """As when a site powers up."""
    spells = [each for k in range(4) for each in bpdus(*seconds(pace * k, pace * k + 4), version=2)]
    quiet = [each for k in range(4) for each in bpdus(*seconds(pace * k + 4, pace * (k + 1)), version=2, changed=False)]
    assert found(tmp_path, [*spells, *quiet])["spanning-tree"].severity == "problem"
    this = found(tmp_path, [*spells, *quiet, *bpdus(*seconds(4 * pace, 6 * pace), version=2, changed=False)])
    assert this["spanning-tree"].severity == "warning" if pace == 8 else "spanning-tree" not in this
    if pace == 8:
        assert this["spanning-tree"].text.endswith(", and not in the last 20.0 s.")


def lacp(*times: float, state: int, system: str = MAC, partner: str = OTHER, port: int = 1, partner_port: int = 1) -> Frames:
    def end(kind: int, of: str, number: int, bits: int) -> bytes:
        return bytes([kind, 20, 0x80, 0]) + bytes.fromhex(of.replace(":", "")) + bytes([0, 9, 0, 255, 0, number, bits, 0, 0, 0])

    said = bytes([1, 1]) + end(1, system, port, state) + end(2, partner, partner_port, 0) + bytes([3, 16]) + bytes(66)
    return [(at, Ether(src=system, dst="01:80:c2:00:00:02", type=0x8809) / Raw(said)) for at in times]


NONE = "00:00:00:00:00:00"
DEFAULTED, OUT, IN = 0x47, 0x07, 0x3F


def test_a_port_that_does_not_hear_its_partner(tmp_path: Path) -> None:
    this = found(
        tmp_path, [*lacp(*seconds(0, 20), state=DEFAULTED, partner=NONE), *lacp(*seconds(0, 20), state=OUT, system=OTHER, partner=MAC)]
    )
    assert this["link-bundles"].severity == "problem"
    assert this["link-bundles"].text == (
        "LACP: 02:00:00:00:00:0a (port 1) hears no partner for its bundle, although 02:00:00:00:00:01 hears it, and answers (20 LACPDUs over 19.0 s)."
    )


def test_ports_that_do_not_hear_their_partners(tmp_path: Path) -> None:
    frames = [
        each
        for port in (1, 2)
        for each in (
            *lacp(*seconds(0, 20), state=DEFAULTED, partner=NONE, port=port),
            *lacp(*seconds(0, 20), state=OUT, system=(OTHER, THIRD)[port - 1], partner=MAC, partner_port=port),
        )
    ]
    this = found(tmp_path, frames)["link-bundles"]
    assert this.severity == "problem"
    assert this.text == (
        "LACP: 02:00:00:00:00:0a (port 1) and 02:00:00:00:00:0a (port 2) hear no partners for their bundles, although 02:00:00:00:00:01 and "
        "02:00:00:00:00:02 hear them, and answer (40 LACPDUs over 19.0 s)."
    )


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*lacp(*seconds(0, 20), state=IN), *lacp(*seconds(0, 20), state=IN, system=OTHER, partner=MAC),
                      *lacp(*seconds(0, 20), state=DEFAULTED, partner=NONE, port=7)], id="another port"),
        pytest.param([*lacp(*seconds(0, 9), state=IN), *lacp(*seconds(0, 9), state=IN, system=OTHER, partner=MAC),
                      *lacp(*seconds(9, 30), state=DEFAULTED, partner=NONE)], id="the partner restarts"),
    ],
)  # fmt: skip
def test_a_port_whose_partner_is_away(tmp_path: Path, frames: Frames) -> None:
    this = found(tmp_path, frames)["link-bundles"]
    assert this.severity == "warning"
    assert "nobody is seen to hear it" in this.text


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        pytest.param(lacp(*seconds(0, 20), state=DEFAULTED, partner=NONE), "nobody is seen to hear it", id="who knows nothing of it"),
        pytest.param([*lacp(*seconds(0, 20), state=DEFAULTED, partner=NONE), *lacp(*seconds(0, 20), state=IN, system=OTHER, partner=THIRD)], "nobody is seen",
                     id="beside another bundle"),
        pytest.param([*lacp(*seconds(0, 20), state=OUT), *lacp(*seconds(0, 20), state=OUT, system=OTHER, partner=MAC)], "not in the bundle", id="in reserve"),
    ],
)  # fmt: skip
def test_ports_that_may_be_so_on_purpose(tmp_path: Path, frames: Frames, words: str) -> None:
    this = found(tmp_path, frames)["link-bundles"]
    assert this.severity == "warning"
    assert words in this.text


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*lacp(*seconds(0, 4), state=DEFAULTED, partner=NONE), *lacp(*seconds(4, 30), state=IN)], id="comes up"),
        pytest.param([*lacp(0, 30, 60, state=IN), *lacp(1, 31, 61, state=IN, system=OTHER, partner=MAC)], id="slow"),
        pytest.param(lacp(0, 1, 2, state=DEFAULTED, partner=NONE), id="has just begun"),
    ],
)
def test_bundles_that_are_up(tmp_path: Path, frames: Frames) -> None:
    assert "link-bundles" not in found(tmp_path, frames)


def pauses(*times: float, quanta: int = 0xFFFF, sender: str = MAC) -> Frames:
    return [
        (at, Ether(src=sender, dst="01:80:c2:00:00:01", type=0x8808) / Raw(b"\0\1" + quanta.to_bytes(2, "big") + bytes(42))) for at in times
    ]


HELD = pauses(*(k / 300 for k in range(1500)))


def test_a_card_that_lets_nobody_speak(tmp_path: Path) -> None:
    this = found(tmp_path, HELD)["paused-link"]
    assert this.severity == "problem"
    assert this.text == (
        "02:00:00:00:00:0a tells the other end by PAUSE frames to be silent, and never to go on: 1,500 frames over 5.0 s, which asks for 100% of the time if "
        "the link is of 10 Gbit/s, and for more if it is slower."
    )


def test_pauses_that_are_short_on_a_fast_link(tmp_path: Path) -> None:
    this = found(tmp_path, pauses(*(k / 50 for k in range(300))))["paused-link"]
    assert this.severity == "warning"
    assert "asks for 17% of the time if the link is of 10 Gbit/s" in this.text


def test_a_class_that_is_held(tmp_path: Path) -> None:
    said = b"\1\1\0\x08" + bytes(6) + b"\xff\xff" + bytes(8)

    def paused(pace: int, message: bytes = said) -> Frames:
        return [(k / pace, Ether(src=MAC, dst="01:80:c2:00:00:01", type=0x8808) / Raw(message + bytes(26))) for k in range(4 * pace)]

    assert found(tmp_path, paused(1000))["paused-link"].severity == "problem"
    assert found(tmp_path, paused(300))["paused-link"].severity == "warning"  # a tenth of the time at 100 Gbit/s
    assert "paused-link" not in found(tmp_path, paused(50))  # no link so slow does this
    assert "paused-link" not in found(
        tmp_path, paused(300, said.replace(b"\x08", b"\x04"))
    )  # a time of a class that is not told to be silent


def test_a_held_link_with_traffic(tmp_path: Path) -> None:
    others = [tcp(k / 400, "A") for k in range(2000)]
    assert found(tmp_path, [*HELD, *others])["paused-link"].severity == "warning"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(pauses(*(3.0 * k for k in range(10))), id="a few"),
        pytest.param([f for k in range(300) for f in (*pauses(k / 50), *pauses(k / 50 + 0.001, quanta=0))], id="lets it go on"),
        pytest.param(pauses(*(k / 50 for k in range(300)), quanta=100), id="short"),
        pytest.param(pauses(*(k / 1000 for k in range(300))), id="a moment"),
        pytest.param(pauses(*(k / 5 for k in range(300))), id="now and then"),
    ],
)  # fmt: skip
def test_pauses_that_end(tmp_path: Path, frames: Frames) -> None:
    assert "paused-link" not in found(tmp_path, frames)


def eapol(body: bytes, at: float, source: str = MAC) -> tuple[float, Layer]:
    return at, Ether(src=source, dst="01:80:c2:00:00:03", type=0x888E) / Raw(body)


def starts(*times: float) -> Frames:
    return [eapol(b"\1\1\0\0", at) for at in times]


def discovers(*times: float) -> Frames:
    message = BOOTP(op=1, chaddr=bytes.fromhex(MAC.replace(":", "")), xid=7) / DHCP(options=[("message-type", "discover"), "end"])
    frame = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / message
    return [(at, frame.copy()) for at in times]


def test_a_host_that_nobody_asks_who_it_is(tmp_path: Path) -> None:
    alone = found(tmp_path, starts(0, 30, 60))["port-access"]
    assert alone.severity == "warning"
    assert alone.text == "Nobody asked 02:00:00:00:00:0a who it is (802.1X): it said that it is there 3 times over 60.0 s (EAPOL-Start)."
    stuck = found(tmp_path, [*starts(0, 30, 60), *discovers(1, 4, 9, 17)])["port-access"]
    assert stuck.severity == "problem"
    assert stuck.text.endswith("(EAPOL-Start), and got no address by DHCP.")


def test_a_host_that_goes_on_by_an_address_of_its_own(tmp_path: Path) -> None:
    here, there = "169.254.7.9", "169.254.7.1"
    spoken = [
        (70.0, Ether() / IP(src=here, dst=there) / TCP(sport=50_000, dport=502, flags="S", seq=1)),
        (70.1, Ether() / IP(src=there, dst=here) / TCP(sport=502, dport=50_000, flags="SA", seq=1, ack=2)),
    ]
    frames = [*starts(0, 30, 60), *discovers(1, 4, 9, 17)]
    assert found(tmp_path, [*frames, *spoken])["port-access"].severity == "warning"
    assert found(tmp_path, [*frames, spoken[0]])["port-access"].severity == "problem"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*starts(0, 30, 60), eapol(b"\1\0\0\5\1\1\0\5\1", 60.1, OTHER)], id="asked in the end"),
        pytest.param(starts(0, 30), id="twice"),
    ],
)
def test_a_host_that_may_be_asked(tmp_path: Path, frames: Frames) -> None:
    assert "port-access" not in found(tmp_path, frames)


def test_two_cards_that_answer_for_all_addresses(tmp_path: Path) -> None:
    packets = []
    for k, address in enumerate([NOBODY, "192.0.2.51"] * 2):
        packets += [who_has(address, 10.0 * k), is_at(address, OTHER, 10.0 * k + 0.001), is_at(address, THIRD, 10.0 * k + 0.0011)]
    this = found(tmp_path, packets)["arp-flux"]
    assert this.severity == "warning"
    assert this.text == (
        "02:00:00:00:00:01 and 02:00:00:00:00:02 both answer by ARP for 192.0.2.50 and 192.0.2.51 (4 times), as two cards of one host in one network do "
        "(ARP flux): traffic comes by either."
    )
    assert "arp-flux" not in found(tmp_path, packets[:6:2] + packets[1:6:3])
