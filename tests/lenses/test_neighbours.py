"""ARP, neighbour discovery and ping: packets made here, in frames of Ethernet where there must be a link."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    IPv6ExtHdrFragment,
    fragment6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.utils import PcapWriter

import netlens

if TYPE_CHECKING:
    from collections.abc import Callable

    from scapy.packet import Packet as Layer

    from netlens.lenses import Finding

OWN, GATEWAY, NOBODY = "192.0.2.10", "192.0.2.1", "192.0.2.50"
MAC, OTHER, THIRD = "02:00:00:00:00:0a", "02:00:00:00:00:01", "02:00:00:00:00:02"
START = 1_700_000_000


def found(folder: Path, packets: list[tuple[float, Layer]]) -> dict[str, Finding]:
    path = folder / "made.pcap"
    with PcapWriter(str(path), linktype=1) as out:
        for at, packet in sorted(packets, key=lambda each: each[0]):
            packet.time = START + at
            out.write(packet)
    return {each.id: each for each in netlens.analyze(str(path)).findings}


def who_has(target: str, at: float, source: str = OWN) -> tuple[float, Layer]:
    return at, Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc=source, pdst=target)


def is_at(address: str, hardware: str, at: float, told: str = OWN) -> tuple[float, Layer]:
    return at, Ether(src=hardware, dst=MAC) / ARP(op=2, hwsrc=hardware, psrc=address, hwdst=MAC, pdst=told)


GREETED = [who_has(GATEWAY, 0.0), is_at(GATEWAY, OTHER, 0.001)]


def test_an_address_that_nobody_answers_for(tmp_path: Path) -> None:
    asked = [who_has(NOBODY, 1.0 + k) for k in range(6)]
    this = found(tmp_path, [*GREETED, is_at("192.0.2.2", THIRD, 0.5), *asked])
    assert this["neighbour-unanswered"].severity == "problem"
    assert this["neighbour-unanswered"].text == (
        "Nobody answered for 192.0.2.50: 192.0.2.10 asked for its hardware address 6 times over 5.0 s."
    )
    assert len(this["neighbour-unanswered"].frames) == 6


def test_who_may_be_a_neighbour_of_the_one_that_was_captured_at(tmp_path: Path) -> None:
    """Both may be it if they speak to each other alone; not who speaks to one that has others."""
    asked = [who_has(NOBODY, 1.0 + k) for k in range(4)]
    assert found(tmp_path, [*GREETED, *asked])["neighbour-unanswered"].severity == "warning"
    others = is_at(GATEWAY, OTHER, 0.5, told="192.0.2.77")
    assert "neighbour-unanswered" not in found(tmp_path, [*GREETED, others, *asked])


@pytest.mark.parametrize(
    "packets",
    [
        [*GREETED, who_has(NOBODY, 1.0), who_has(NOBODY, 2.0)],  # gone on
        [*GREETED, *(who_has(NOBODY, 1.0 + k) for k in range(4)), is_at(NOBODY, THIRD, 5.0)],
        [who_has(NOBODY, 1.0 + k) for k in range(4)],  # of a neighbour, whose answers a switch does not show
        [*GREETED, *(who_has("0.0.0.0", 1.0 + k) for k in range(0)), *(who_has(NOBODY, 1.0 + k, source="0.0.0.0") for k in range(4))],
        [*GREETED, *(who_has(f"192.0.2.{100 + n}", 1.0 + k) for k in range(4) for n in range(20))],  # who looks around
    ],
    ids=["twice", "answered", "heard alone", "probes", "scan"],
)
def test_addresses_that_nobody_misses(tmp_path: Path, packets: list[tuple[float, Layer]]) -> None:
    assert "neighbour-unanswered" not in found(tmp_path, packets)


def test_who_asks_on_and_on_had_no_answer(tmp_path: Path) -> None:
    """Though a switch would not show the answer: who has it stops asking. Six times is a program that tries again."""
    asked = [who_has(NOBODY, 1.0 + k) for k in range(6)]
    this = found(tmp_path, asked)["neighbour-unanswered"]
    assert this.severity == "problem"
    assert this.text == "Nobody answered for 192.0.2.50: 192.0.2.10 asked for its hardware address 6 times over 5.0 s."
    assert found(tmp_path, asked[1:])["neighbour-unanswered"].severity == "warning"
    many = [who_has(f"192.0.2.{100 + n}", 1.0 + k) for k in range(6) for n in range(4)]
    assert found(tmp_path, many)["neighbour-unanswered"].severity == "warning"


@pytest.mark.parametrize(
    "packets",
    [
        [*(who_has(NOBODY, 1.0 + k) for k in range(6)), is_at(NOBODY, THIRD, 7.0)],
        [*(who_has(NOBODY, 1.0 + k) for k in range(6)), (7.0, Ether(src=MAC, dst=THIRD) / IP(src=OWN, dst=NOBODY) / ICMP(id=7) / bytes(48))],
        [who_has(NOBODY, 30.0 * k) for k in range(12)],  # refreshed from time to time
        [who_has(NOBODY, 10.0 * n + k) for n in range(6) for k in range(3)],  # three times, as neighbour discovery
        [who_has(f"192.0.2.{100 + n}", 1.0 + k) for k in range(6) for n in range(20)],  # who looks around
    ],
    ids=["answered", "reached", "refreshed", "three times", "scan"],
)  # fmt: skip
def test_who_asks_and_may_have_been_told(tmp_path: Path, packets: list[tuple[float, Layer]]) -> None:
    assert "neighbour-unanswered" not in found(tmp_path, packets)


def test_neighbour_discovery_that_nobody_answers(tmp_path: Path) -> None:
    own, gone, near = "fe80::a", "fe80::50", "fe80::1"

    def solicits(target: str, at: float) -> tuple[float, Layer]:
        packed = socket.inet_pton(socket.AF_INET6, target)
        group = "ff02::1:ff" + f"{packed[13]:02x}:{packed[14]:02x}{packed[15]:02x}"
        return at, Ether(src=MAC) / IPv6(src=own, dst=group, hlim=255) / ICMPv6ND_NS(tgt=target)

    answer = Ether(src=OTHER, dst=MAC) / IPv6(src=near, dst=own, hlim=255) / ICMPv6ND_NA(tgt=near) / ICMPv6NDOptDstLLAddr(lladdr=OTHER)
    this = found(tmp_path, [solicits(near, 0.0), (0.001, answer), *(solicits(gone, 1.0 + k) for k in range(3))])
    assert this["neighbour-unanswered"].text.startswith(
        "Nobody answered for fe80::50: fe80::a asked for its hardware address 3 times over 2.0 s"
    )


def test_an_address_that_two_hosts_have(tmp_path: Path) -> None:
    packets = []
    for k in range(3):
        packets += [who_has(NOBODY, 10.0 * k), is_at(NOBODY, OTHER, 10.0 * k + 0.001), is_at(NOBODY, THIRD, 10.0 * k + 0.0011)]
    this = found(tmp_path, packets)
    assert this["address-conflict"].severity == "problem"
    assert this["address-conflict"].text == (f"192.0.2.50 was claimed by different hardware addresses 3 times ({OTHER} and {THIRD}).")


def test_an_address_that_moves(tmp_path: Path) -> None:
    """A cluster announces it; nobody answers twice."""
    moved = (30.0, Ether(src=THIRD, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=THIRD, psrc=NOBODY, pdst=NOBODY))
    packets = [who_has(NOBODY, 0.0), is_at(NOBODY, OTHER, 0.001), moved, who_has(NOBODY, 60.0), is_at(NOBODY, THIRD, 60.001)]
    assert "address-conflict" not in found(tmp_path, packets)


def ping(number: int, at: float, target: str = GATEWAY, answered: bool = True) -> list[tuple[float, Layer]]:
    asked = Ether(src=MAC, dst=OTHER) / IP(src=OWN, dst=target) / ICMP(type=8, id=7, seq=number) / bytes(48)
    reply = Ether(src=OTHER, dst=MAC) / IP(src=target, dst=OWN) / ICMP(type=0, id=7, seq=number) / bytes(48)
    return [(at, asked), (at + 0.01, reply)] if answered else [(at, asked)]


def test_pings_of_which_half_get_no_reply(tmp_path: Path) -> None:
    packets = [each for k in range(20) for each in ping(k, float(k), answered=k % 2 == 0)]
    this = found(tmp_path, packets)
    assert this["ping-unanswered"].severity == "problem"
    assert this["ping-unanswered"].text == "9 of 19 pings to 192.0.2.1 got no reply."  # the last one is pending


def test_pings_to_a_host_that_is_off(tmp_path: Path) -> None:
    packets = [*GREETED, *(each for k in range(5) for each in ping(k, 1.0 + k, NOBODY, answered=False)), who_has(GATEWAY, 20.0)]
    this = found(tmp_path, packets)
    assert this["ping-unanswered"].text == "5 of 5 pings to 192.0.2.50 got no reply."


def test_pings_and_nothing_else(tmp_path: Path) -> None:
    """Whoever pings a host that is off, and records that, has these alone; so has a capture of one direction."""
    this = found(tmp_path, [each for k in range(5) for each in ping(k, 1.0 + k, NOBODY, answered=False)])["ping-unanswered"]
    assert this.severity == "warning"
    assert this.text == "4 of 4 pings to 192.0.2.50 got no reply; nothing that was sent back is in the capture."
    long = found(tmp_path, [each for k in range(15) for each in ping(k, 1.0 + k, NOBODY, answered=False)])["ping-unanswered"]
    assert (long.severity, long.text[:34]) == ("problem", "14 of 14 pings to 192.0.2.50 got n")


def test_pings_of_which_the_capture_may_lack_the_replies(tmp_path: Path) -> None:
    """The host is there as its other packets say; few pings; pings to everybody around."""
    lonely = [each for k in range(5) for each in ping(k, 1.0 + k, NOBODY, answered=False)]
    announced = (0.0, Ether(src=THIRD, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=THIRD, psrc=NOBODY, pdst=NOBODY))
    assert "ping-unanswered" not in found(tmp_path, [announced, *lonely])
    assert "ping-unanswered" not in found(tmp_path, lonely[:3])  # the last one is pending
    swept = [each for n in range(20) for k in range(5) for each in ping(100 * n + k, 1.0 + k, f"192.0.2.{100 + n}", answered=False)]
    assert "ping-unanswered" not in found(tmp_path, swept)


def test_pings_that_go_in_circles(tmp_path: Path) -> None:
    packets = [each for k in range(5) for each in ping(k, 1.0 + k, "198.51.100.9", answered=False)]
    packets += [
        (at + 0.01, Ether(src=OTHER, dst=MAC) / IP(src=GATEWAY, dst=OWN) / ICMP(type=11) / bytes(each[IP])[:28]) for at, each in packets
    ]
    this = found(tmp_path, packets)["ping-unanswered"]
    assert this.severity == "problem"
    assert this.text == "4 of 4 pings to 198.51.100.9 got no reply; 192.0.2.1 said: time exceeded."
    assert "in circles" in this.advice


def few_hops(at: float, hops: int) -> tuple[float, Layer]:
    return at, Ether(src=MAC, dst=OTHER) / IP(src=OWN, dst="198.51.100.9", ttl=hops) / ICMP(type=8, id=int(at), seq=1) / bytes(48)


def test_pings_with_few_hops(tmp_path: Path) -> None:
    """They are pings as long as all have the same number of them, and nobody says that these were too few."""
    packets = [*GREETED, *(few_hops(1.0 + k, 21) for k in range(5)), who_has(GATEWAY, 20.0)]
    assert found(tmp_path, packets)["ping-unanswered"].text == "5 of 5 pings to 198.51.100.9 got no reply."
    assert "ping-unanswered" not in found(tmp_path, [*packets, few_hops(7.0, 20)])
    asked = bytes(packets[3][1][IP])[:28]
    expired = (5.5, Ether(src=OTHER, dst=MAC) / IP(src=GATEWAY, dst=OWN) / ICMP(type=11) / asked)
    assert "ping-unanswered" not in found(tmp_path, [*packets, expired])
    assert "ping-unanswered" not in found(tmp_path, [*GREETED, *(few_hops(1.0 + k, 1) for k in range(5)), who_has(GATEWAY, 20.0)])


def test_pings_that_are_answered_but_for_one(tmp_path: Path) -> None:
    packets = [each for k in range(20) for each in ping(k, float(k), answered=k != 4)]
    assert "ping-unanswered" not in found(tmp_path, packets)


def test_pings_of_which_some_in_a_row_get_no_reply(tmp_path: Path) -> None:
    """A host that was gone for 14 s of five minutes, also where all pings bear one number, as tunnels in ICMP have it."""
    gone = range(100, 114)
    for number in (lambda k: k, lambda k: 0):
        packets = [each for k in range(300) for each in ping(number(k), float(k), answered=k not in gone)]
        this = found(tmp_path, packets)
        assert this["ping-unanswered"].severity == "problem"
        assert this["ping-unanswered"].text == "14 of 300 pings to 192.0.2.1 got no reply."


@pytest.mark.parametrize("number", [lambda k: k, lambda k: 0], ids=["counted", "one number"])
def test_pings_of_which_few_get_no_reply(tmp_path: Path, number: Callable[[int], int]) -> None:
    """Here and there; nine in a row; and many within a second, as a flood loses them."""
    here_and_there = [each for k in range(300) for each in ping(number(k), float(k), answered=k % 25 != 3)]
    nine = [each for k in range(300) for each in ping(number(k), float(k), answered=k not in range(100, 109))]
    flood = [each for k in range(300) for each in ping(k, k / 50, answered=k not in range(100, 114))]
    for packets in (here_and_there, nine, flood):
        assert "ping-unanswered" not in found(tmp_path, packets)


def large_ping(number: int, at: float, size: int, answered: bool, id_: int = 7, version: int = 4) -> list[tuple[float, Layer]]:
    """One of ``size`` bytes of payload, in fragments where these do not fit into a frame."""
    if version == 6:
        own, host = "2001:db8::5", "2001:db8::1"
        pair = [
            (own, host, ICMPv6EchoRequest(id=id_, seq=number, data=bytes(size))),
            (host, own, ICMPv6EchoReply(id=id_, seq=number, data=bytes(size))),
        ]
        parts = [fragment6(IPv6(src=a, dst=b) / IPv6ExtHdrFragment(id=number) / each, 1500) for a, b, each in pair]
    else:
        pair = [(OWN, GATEWAY, ICMP(type=8, id=id_, seq=number)), (GATEWAY, OWN, ICMP(type=0, id=id_, seq=number))]
        parts = [fragment(IP(src=a, dst=b, id=number) / each / bytes(size), 1480) for a, b, each in pair]
    sent = [(at + k / 1e5, Ether(src=MAC, dst=OTHER) / each) for k, each in enumerate(parts[0])]
    return [*sent, *((at + 0.01 + k / 1e5, Ether(src=OTHER, dst=MAC) / each) for k, each in enumerate(parts[1]))] if answered else sent


@pytest.mark.parametrize("version", [4, 6])
def test_pings_that_are_answered_when_they_are_small(tmp_path: Path, version: int) -> None:
    """Large ones come in fragments, of which none comes back."""
    large = [each for k in range(4) for each in large_ping(k + 1, 10.0 + k, 2000, False, 8, version)]
    packets = [*(each for k in range(100) for each in large_ping(k + 1, k / 20, 56, True, 7, version)), *large]
    this = found(tmp_path, packets)["ping-unanswered"]
    assert this.severity == "problem"
    host, least, most = ("192.0.2.1", "2,028", 84) if version == 4 else ("2001:db8::1", "2,048", 104)
    assert this.text == (
        f"3 of 103 pings to {host} got no reply: none in a packet of {least} bytes or more did, while smaller ones, of up to {most} bytes, did."
    )
    assert "MTU" in this.advice


def test_pings_in_fragments(tmp_path: Path) -> None:
    """Answered; and a reply of which a fragment is lost is none."""
    packets = [each for k in range(5) for each in large_ping(k + 1, float(k), 2000, True)]
    assert not {"ping-unanswered", "unread-traffic"} & found(tmp_path, packets).keys()
    small = [each for k in range(5) for each in large_ping(k + 1, float(k), 56, True, 8)]
    torn = [each for at, each in enumerate(packets) if at % 4 != 3]
    assert "2,028 bytes or more" in found(tmp_path, [*small, *torn])["ping-unanswered"].text


def test_pings_that_try_what_a_link_carries(tmp_path: Path) -> None:
    """Packets larger than those of Ethernet, whole; and one size after the other."""
    small = [each for k in range(8) for each in large_ping(k + 1, float(k), 1472, True)]
    jumbo = [
        (10.0 + k, Ether(src=MAC, dst=OTHER) / IP(src=OWN, dst=GATEWAY, flags="DF") / ICMP(type=8, id=8, seq=k) / bytes(8972))
        for k in range(6)
    ]
    assert "ping-unanswered" not in found(tmp_path, [*small, *jumbo])
    less = [each for k in range(8) for each in large_ping(k + 1, float(k), 1300, True)]
    tried = [each for k in range(8) for each in large_ping(k + 1, 10.0 + k, 1472 - 8 * k, False, 8)]
    assert "none in a packet" not in found(tmp_path, [*less, *tried])["ping-unanswered"].text


def test_large_pings_of_which_a_router_says_that_they_are_too_large(tmp_path: Path) -> None:
    """And one that is answered shows that it is not the size."""
    small = [each for k in range(5) for each in large_ping(k + 1, float(k), 56, True)]
    large = [each for k in range(4) for each in large_ping(k + 1, 10.0 + k, 1400, False, 8)]
    said = [
        (at + 0.01, Ether(src=OTHER, dst=MAC) / IP(src=GATEWAY, dst=OWN) / ICMP(type=3, code=4) / bytes(each[IP])[:28])
        for at, each in large
    ]
    assert "ping-unanswered" not in found(tmp_path, [*small, *large, *said])
    some = found(tmp_path, [*small, *large, *large_ping(9, 15.0, 1472, True, 8)])["ping-unanswered"]
    assert some.text == "4 of 10 pings to 192.0.2.1 got no reply."


def test_a_ping_that_was_recorded_twice(tmp_path: Path) -> None:
    packets = [(at + again, each) for k in range(8) for again in (0, 0.001) for at, each in ping(0, float(k))]
    assert "ping-unanswered" not in found(tmp_path, packets)


def test_a_host_with_two_cards_in_one_network(tmp_path: Path) -> None:
    packets = []
    for k, address in enumerate([NOBODY, "192.0.2.51"] * 2):
        packets += [who_has(address, 10.0 * k), is_at(address, OTHER, 10.0 * k + 0.001), is_at(address, THIRD, 10.0 * k + 0.0011)]
    assert "address-conflict" not in found(tmp_path, packets)


def test_addresses_that_several_hosts_have_by_design(tmp_path: Path) -> None:
    """A virtual router, anycast, and an answer that corrects the first one."""
    virtual, anycast = "00:00:5e:00:01:07", "fd00::"
    packets: list[tuple[float, Layer]] = []
    for k in range(3):
        packets += [who_has(NOBODY, 10.0 * k), is_at(NOBODY, virtual, 10.0 * k + 0.001), is_at(NOBODY, THIRD, 10.0 * k + 0.0011)]
        packets += [
            who_has("192.0.2.60", 10.0 * k + 1),
            is_at("192.0.2.60", OTHER, 10.0 * k + 1.001),
            is_at("192.0.2.60", THIRD, 10.0 * k + 1.3),
        ]
        asked = Ether(src=MAC) / IPv6(src="fd00::a", dst="ff02::1:ff00:0", hlim=255) / ICMPv6ND_NS(tgt=anycast)
        packets.append((10.0 * k + 2, asked))
        for n, hardware in enumerate((OTHER, THIRD)):
            said = ICMPv6ND_NA(tgt=anycast, O=0, S=1) / ICMPv6NDOptDstLLAddr(lladdr=hardware)
            packets.append(
                (10.0 * k + 2.001 + n / 1000, Ether(src=hardware, dst=MAC) / IPv6(src=f"fd00::{n + 1}", dst="fd00::a", hlim=255) / said)
            )
    assert "address-conflict" not in found(tmp_path, packets)


def test_pings_that_are_not_lost(tmp_path: Path) -> None:
    """Traceroute's, which are to expire; late replies at the end; a broadcast that others answer."""
    traced = [(0.1 * k, Ether() / IP(src=OWN, dst=GATEWAY, ttl=k + 1) / ICMP(type=8, id=7, seq=k) / bytes(32)) for k in range(12)]
    traced += [(1.2 + k, each) for k in range(3) for _, each in ping(20 + k, 0.0)[:1]]
    traced += [(1.21 + k, each) for k in range(3) for _, each in ping(20 + k, 0.0)[1:]]
    assert "ping-unanswered" not in found(tmp_path, traced)
    far = [(at + 1.79 * (n == 1), each) for k in range(25) for n, (at, each) in enumerate(ping(k, 0.2 * k))]
    assert "ping-unanswered" not in found(tmp_path, [each for each in far if each[0] <= 5.0])
    everybody = []
    for k in range(5):
        everybody += ping(k, float(k), "192.0.2.255", answered=False)
        everybody += [(k + 0.01, each) for _, each in ping(k, float(k), "192.0.2.33")[1:]]
    assert "ping-unanswered" not in found(tmp_path, everybody)


def test_an_announcement_is_no_proof_that_a_host_is_heard(tmp_path: Path) -> None:
    """It is broadcast: a switch shows it to all."""
    announced = (0.0, Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=2, hwsrc=MAC, psrc=OWN, pdst=OWN))
    assert "neighbour-unanswered" not in found(tmp_path, [announced, *(who_has(NOBODY, 1.0 + k) for k in range(4))])


WANTED = "2001:db8::20"


def probes(hardware: str, at: float) -> tuple[float, Layer]:
    return at, Ether(src=hardware, dst="33:33:ff:00:00:20") / IPv6(src="::", dst="ff02::1:ff00:20", hlim=255) / ICMPv6ND_NS(tgt=WANTED)


def has_address(hardware: str, at: float, insists: int = 1) -> tuple[float, Layer]:
    said = ICMPv6ND_NA(tgt=WANTED, S=0, O=insists) / ICMPv6NDOptDstLLAddr(lladdr=hardware)
    return at, Ether(src=hardware, dst="33:33:00:00:00:01") / IPv6(src=WANTED, dst="ff02::1", hlim=255) / said


def test_an_address_that_another_host_has_already(tmp_path: Path) -> None:
    this = found(tmp_path, [probes(MAC, 1.0), has_address(THIRD, 1.001)])["address-conflict"]
    assert this.severity == "problem"
    assert this.text == f"{WANTED} is in use already: {MAC} asked whether it may take it, and {THIRD} answered (1 time)."


@pytest.mark.parametrize(
    "packets",
    [
        [probes(MAC, 1.0), has_address(MAC, 2.0)],  # nobody has it, so it announces it
        [probes(MAC, 1.0), has_address(MAC, 1.001)],  # what it said came back to it
        [probes(MAC, 1.0), has_address(THIRD, 1.001, insists=0)],  # another one that tests it as well (RFC 4429)
        [probes(MAC, 1.0), has_address(THIRD, 5.0)],  # it was free
        [probes(MAC, 1.0), has_address(THIRD, 1.001), has_address(MAC, 9.0)],  # a machine that moves
        [probes(MAC, 1.0), has_address("00:00:5e:00:02:07", 1.001)],  # a virtual router
        [(1.0, Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc="0.0.0.0", pdst=NOBODY)), is_at(NOBODY, THIRD, 1.001)],
    ],
    ids=["taken", "looped", "optimistic", "free", "moves", "virtual", "switch"],
)
def test_addresses_that_are_free_or_asked_for_by_a_switch(tmp_path: Path, packets: list[tuple[float, Layer]]) -> None:
    assert "address-conflict" not in found(tmp_path, packets)


def test_who_asks_for_one_address_and_does_nothing_else(tmp_path: Path) -> None:
    """Whether the answer would be in the capture is not known, but nobody who has one asks on."""
    asked = [who_has(NOBODY, 1.0 + k) for k in range(9)]
    assert found(tmp_path, asked)["neighbour-unanswered"].severity == "problem"
    assert found(tmp_path, [*GREETED, *asked])["neighbour-unanswered"].severity == "problem"
    assert found(tmp_path, [*GREETED, *asked[:5]])["neighbour-unanswered"].severity == "warning"


def test_who_asks_at_an_even_pace_whatever_comes_of_it(tmp_path: Path) -> None:
    monitor = found(tmp_path, [who_has(NOBODY, 1.0 + k) for k in range(20)])["neighbour-unanswered"]
    assert monitor.severity == "warning"
    assert monitor.text.endswith(", at an even pace, as a monitor does (bonding's arp_interval).")
    program = [who_has(NOBODY, 1.0 + k + k // 3 * 0.4) for k in range(20)]
    assert found(tmp_path, program)["neighbour-unanswered"].severity == "problem"


def test_who_speaks_is_there(tmp_path: Path) -> None:
    asked = [who_has(NOBODY, 1.0 + k) for k in range(9)]
    speaks = Ether(src=THIRD, dst=OTHER) / IP(src=NOBODY, dst=GATEWAY) / UDP(sport=514, dport=514) / bytes(48)
    assert "neighbour-unanswered" not in found(tmp_path, [*GREETED, *asked, (8.5, speaks)])
    assert found(tmp_path, [*GREETED, (0.5, speaks), *asked])["neighbour-unanswered"].severity == "problem"


def tcp(at: float, flags: str, up: bool = True, port: int = 40_000, server: str = "198.51.100.20") -> tuple[float, Layer]:
    ends = (OWN, server, port, 80) if up else (server, OWN, 80, port)
    macs = (MAC, OTHER) if up else (OTHER, MAC)
    layer = IP(src=ends[0], dst=ends[1]) / TCP(
        sport=ends[2], dport=ends[3], flags=flags, seq=1 if up else 100, ack=0 if flags == "S" else 101 if up else 2
    )
    return at, Ether(src=macs[0], dst=macs[1]) / layer


def opened(at: float, port: int) -> list[tuple[float, Layer]]:
    return [tcp(at, "S", port=port), tcp(at + 0.02, "SA", up=False, port=port), tcp(at + 0.04, "A", port=port)]


def test_a_gateway_that_stops_answering(tmp_path: Path) -> None:
    tried = [tcp(at, "S", port=40_001) for at in (2.0, 3.0, 5.0, 9.0)]
    asked = [who_has(GATEWAY, 4.0 + k) for k in range(6)]
    packets = [*GREETED, *opened(0.1, 40_000), *tried, *asked]
    this = found(tmp_path, packets)["neighbour-unanswered"]
    assert this.severity == "problem"
    assert this.text == (
        "192.0.2.1 stopped answering for its hardware address (ARP or neighbour discovery): 192.0.2.10 asked 6 times over 5.0 s, and 1 connection of it got no "
        "answer meanwhile."
    )
    for more in ([is_at(GATEWAY, OTHER, 9.5)], opened(6.0, 40_002)):  # it answers in the end; another connection goes on
        this_too = found(tmp_path, [*packets, *more]).get("neighbour-unanswered")
        assert this_too is None or "stopped" not in this_too.text
    idle = found(tmp_path, [*GREETED, *opened(0.1, 40_000), *asked]).get("neighbour-unanswered")  # nobody waits
    assert idle is None or "stopped" not in idle.text


def unreachable(at: float, port: int = 40_000, protocol: type[Layer] = TCP, reporter: str = OWN) -> tuple[float, Layer]:
    quoted = IP(src="192.0.2.77", dst=NOBODY) / protocol(sport=port, dport=80)
    return at, Ether(src=MAC, dst=OTHER) / IP(src=reporter, dst="192.0.2.77") / ICMP(type=3, code=1) / quoted


def test_connections_to_an_address_that_nobody_has(tmp_path: Path) -> None:
    asked = [*GREETED, *opened(0.1, 40_009), *(who_has(NOBODY, 1.0 + k) for k in range(6))]
    this = found(tmp_path, [*asked, unreachable(4.1), unreachable(7.1, 40_001)])["neighbour-unanswered"]
    assert this.severity == "problem"
    assert this.text == (
        "Nobody answered for 192.0.2.50: 192.0.2.10 asked for its hardware address 6 times over 5.0 s, and told those who wanted to connect that it is "
        "unreachable (2 connections)."
    )


@pytest.mark.parametrize(
    "said",
    [
        [unreachable(4.1), unreachable(7.1)],  # its SYN, again
        [unreachable(4.1, protocol=UDP), unreachable(7.1, 40_001, UDP)],
        [unreachable(4.1, reporter=GATEWAY), unreachable(7.1, 40_001, reporter=GATEWAY)],
    ],
    ids=["one connection", "datagrams", "another host says so"],
)
def test_who_is_told_that_an_address_is_unreachable_and_may_not_miss_it(tmp_path: Path, said: list[tuple[float, Layer]]) -> None:
    asked = [*GREETED, *opened(0.1, 40_009), *(who_has(NOBODY, 1.0 + k) for k in range(5))]
    assert found(tmp_path, [*asked, *said])["neighbour-unanswered"].severity == "warning"


def quic(at: float, up: bool) -> tuple[float, Layer]:
    ends, ports, macs = (OWN, "203.0.113.5"), (50_000, 443), (MAC, OTHER)
    k = 1 if up else -1
    return at, Ether(src=macs[::k][0], dst=macs[::k][1]) / IP(src=ends[::k][0], dst=ends[::k][1]) / UDP(
        sport=ports[::k][0], dport=ports[::k][1]
    ) / bytes(99)


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*opened(0.1, 40_000), tcp(2.0, "S", port=40_001), tcp(9.0, "S", port=40_001),
                      *(quic(t + up, up) for t in (1, 5, 9) for up in (False, True))],
                     id="others are heard by UDP"),
        pytest.param([tcp(0.1, "S", server=GATEWAY), tcp(0.12, "SA", up=False, server=GATEWAY), tcp(7.0, "A", server=GATEWAY)], id="a laptop that is shut"),
    ],
)  # fmt: skip
def test_who_stops_answering_and_is_no_gateway_of_others(tmp_path: Path, packets: list[tuple[float, Layer]]) -> None:
    this = found(tmp_path, [*GREETED, *packets, *(who_has(GATEWAY, 4.0 + k) for k in range(6))]).get("neighbour-unanswered")
    assert this is None or "stopped" not in this.text


@pytest.mark.parametrize(("times", "targets", "told"), [(300, 1, True), (60, 1, False), (1, 250, False)])
def test_one_question_by_arp_hundreds_of_times_within_a_second(tmp_path: Path, times: int, targets: int, told: bool) -> None:
    """In a circle of switches; a port that mirrors others; a host that looks for all others."""
    asked = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff")
    questions = [asked / ARP(hwsrc=MAC, psrc=OWN, pdst=f"192.0.2.{2 + k % targets}") for k in range(times * targets)]
    this = found(tmp_path, [(0.003 * k, question) for k, question in enumerate(questions)])
    assert ("broadcast-storm" in this) == told
    if told:
        assert this["broadcast-storm"].severity == "warning"
        assert this["broadcast-storm"].text == (
            "The same broadcast came up to 300 times within a second (1 question by ARP: 192.0.2.2, asked for by 192.0.2.10)."
        )


def flooding(rounds: int, addresses: int = 250, apart: float = 0.0003) -> list[tuple[float, Layer]]:
    return [who_has(f"192.0.2.{1 + k % addresses}", k * apart) for k in range(rounds * addresses)]


def test_a_host_that_floods_the_network_with_arp(tmp_path: Path) -> None:
    this = found(tmp_path, flooding(12))["broadcast-storm"]
    assert this.severity == "problem"
    assert (
        this.text
        == (
            "192.0.2.10 floods the network with ARP: 2,988 questions, 3,321 a second, for the same 249 addresses again and again."  # not for its own
        )
    )


def test_a_router_that_looks_for_all_addresses_once_a_second(tmp_path: Path) -> None:
    asked = [who_has(f"10.0.{n >> 8}.{n & 255}", k + n * 0.0005) for k in range(12) for n in range(1, 1500)]
    this = found(tmp_path, asked)["broadcast-storm"]
    assert (this.severity, this.text.split(" the network")[0]) == ("warning", "192.0.2.10 fills")
    assert "a router that looks for them" in this.text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(flooding(3), id="a scan"),
        pytest.param(flooding(12, apart=0.004), id="250 a second"),
        pytest.param([who_has(f"10.{k >> 8}.{k & 255}.1", k * 0.0003) for k in range(3000)], id="a fast scan of a large network"),
    ],
)
def test_hosts_that_look_for_others(tmp_path: Path, packets: list[tuple[float, Layer]]) -> None:
    assert "broadcast-storm" not in found(tmp_path, packets)


def cloned(hears: bool = True, others: int = 1) -> list[tuple[float, Layer]]:
    """A client that is not heard, beside others of its hardware address that are."""
    server = "198.51.100.20"

    def one(at: float, flags: str, source: str, target: str, ports: tuple[int, int], seq: int, ack: int = 0) -> tuple[float, Layer]:
        return at, Ether(src=MAC if source != server else OTHER, dst=OTHER) / IP(src=source, dst=target) / TCP(
            sport=ports[0], dport=ports[1], flags=flags, seq=seq, ack=ack
        )

    packets = [is_at(OWN, MAC, 0.0)]
    for k in range(others):
        other = f"192.0.2.{11 + k}"
        packets.append(is_at(other, MAC, 0.1))
        if hears:
            packets += [
                one(1, "S", other, server, (40_000, 80), 10),
                one(1.01, "SA", server, other, (80, 40_000), 50, 11),
                one(1.02, "A", other, server, (40_000, 80), 11, 51),
                one(1.03, "FA", other, server, (40_000, 80), 11, 51),
                one(1.04, "FA", server, other, (80, 40_000), 51, 12),
                one(1.05, "A", other, server, (40_000, 80), 12, 52),
            ]
    for k in range(5):
        packets += [one(2 + k, "S", OWN, server, (40_001, 80), 10), one(2.01 + k, "SA", server, OWN, (80, 40_001), 50, 11)]
    return [*packets, who_has(GATEWAY, 60)]


def test_two_machines_of_one_hardware_address(tmp_path: Path) -> None:
    this = found(tmp_path, cloned())["connect-unanswered"]
    assert this.severity == "problem"
    assert this.text.endswith("192.0.2.10 did not receive the answer (5 SYN+ACKs); 192.0.2.10 and 192.0.2.11 have one hardware address.")
    assert "cloned" in this.advice


@pytest.mark.parametrize("packets", [cloned(hears=False), cloned(others=5)], ids=["not heard either", "a router, or a host of many"])
def test_addresses_of_one_host(tmp_path: Path, packets: list[tuple[float, Layer]]) -> None:
    assert "hardware address" not in found(tmp_path, packets)["connect-unanswered"].text
