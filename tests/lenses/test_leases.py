"""Hosts that ask for an address by DHCP, and are told nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP, DHCP

from tests.lenses.made import SERVER, S, found, healthy, problems
from tests.parsers.build import Packet, datagram

if TYPE_CHECKING:
    from pathlib import Path

HARDWARE = b"\x02\x00\x00\x00\x00\x07"


def asks(kind: str, at: float, source: str = "0.0.0.0", xid: int = 7) -> Packet:
    message = BOOTP(op=1, chaddr=HARDWARE, xid=xid) / DHCP(options=[("message-type", kind), "end"])
    return Packet(int(at * S), datagram((source, 68), ("255.255.255.255", 67), bytes(message)))


def told(
    kind: str,
    at: float,
    server: str = SERVER,
    xid: int = 7,
    to: str = "255.255.255.255",
    options: tuple[tuple[str, str], ...] = (),
    given: str = "0.0.0.0",
    relay: str = "0.0.0.0",
) -> Packet:
    message = BOOTP(op=2, chaddr=HARDWARE, xid=xid, yiaddr=given, giaddr=relay) / DHCP(
        options=[("message-type", kind), ("server_id", server), *options, "end"]
    )
    return Packet(int(at * S), datagram((SERVER, 67), (to, 68), bytes(message)))


AGAIN = (0, 3, 8, 16)


@pytest.mark.parametrize("others", [False, True])
def test_a_host_that_gets_no_address(tmp_path: Path, others: bool) -> None:
    """Where others have traffic it is a neighbour, of whom only the broadcasts are heard; they show that it was told nothing, and waits longer each time."""
    this = found(tmp_path, [asks("discover", at) for at in AGAIN], healthy() if others else [])["udp-unanswered"]
    assert this.severity == "problem"
    assert this.text == "No DHCP server answered 02:00:00:00:00:07: 4 requests over 16.0 s."
    assert this.values == {"clients": 1, "datagrams": 4, "longest_s": 16.0, "protocols": ["DHCP"]}


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([asks("discover", 5 * k) for k in range(6)], id="as impatient as at first"),
        pytest.param([asks("discover", at, xid=k) for k, at in enumerate(AGAIN)], id="another attempt each time"),
        pytest.param([*(asks("discover", at) for at in AGAIN), asks("request", 17)], id="offered something in the end"),
        pytest.param([asks("discover", at) for at in AGAIN[:3]], id="three times"),
    ],
)
def test_a_neighbour_that_may_have_been_offered_something(tmp_path: Path, packets: list[Packet]) -> None:
    assert found(tmp_path, packets, healthy())["udp-unanswered"].severity == "warning"


def test_what_comes_again_at_once_is_a_copy_only_under_the_same_number(tmp_path: Path) -> None:
    copies = [asks("discover", at + later) for at in AGAIN for later in (0, 0.1)]
    assert found(tmp_path, copies)["udp-unanswered"].values["datagrams"] == 4
    tries = [asks("discover", at + later, xid=7 + int(10 * later)) for at in AGAIN for later in (0, 0.1)]
    assert found(tmp_path, tries)["udp-unanswered"].values["datagrams"] == 8


def test_a_request_that_is_repeated_got_no_acknowledgment(tmp_path: Path) -> None:
    """The server is there: it made an offer, to the address that it offers."""
    this = found(tmp_path, [asks("discover", 0), told("offer", 1, to="192.0.2.77"), *(asks("request", 1 + at) for at in AGAIN)])
    assert this["udp-unanswered"].severity == "problem"
    assert this["udp-unanswered"].text == (
        f"{SERVER} offered 02:00:00:00:00:07 an address by DHCP and never confirmed it (no ACK): 4 requests over 16.0 s."
    )
    assert [frame for _, frame in this["udp-unanswered"].every] == [2, 3, 4, 5, 6]


def test_a_request_without_an_offer_was_not_offered_anything(tmp_path: Path) -> None:
    this = found(tmp_path, [told("offer", 0, xid=8), *(asks("request", 1 + at) for at in AGAIN)])
    assert this["udp-unanswered"].text == "No DHCP server answered 02:00:00:00:00:07: 4 requests over 16.0 s."


def test_two_servers_that_offer(tmp_path: Path) -> None:
    other = "192.0.2.66"
    this = found(tmp_path, [asks("discover", 0), told("offer", 1), told("offer", 1.1, other), asks("request", 2), told("ack", 3)])
    assert this["dhcp-servers"].severity == "note"
    assert this["dhcp-servers"].text == f"2 DHCP servers answered the same DISCOVER: 192.0.2.66 and {SERVER} (1 time)."
    assert "udp-unanswered" not in this


def test_a_client_that_moves_from_one_server_to_another(tmp_path: Path) -> None:
    """Two questions, and a repeat of one offer."""
    packets = [asks("discover", 0), told("offer", 1), told("offer", 2), asks("discover", 60, xid=8), told("offer", 61, "192.0.2.66", xid=8)]
    assert "dhcp-servers" not in found(tmp_path, packets)


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*(asks("discover", at) for at in AGAIN[:2]), told("offer", 4), *(asks("discover", at) for at in AGAIN[2:])], id="answered"),
        pytest.param([p for at in range(4) for p in (asks("discover", 9 * at), asks("request", 9 * at + 1))], id="asked for what it was offered"),
        pytest.param([asks("discover", at / 10) for at in AGAIN], id="handed on by a relay"),
        pytest.param([asks("discover", at, source="192.0.2.1") for at in AGAIN], id="a router that looks for other servers"),
        pytest.param([asks("request", 900 * at, xid=at) for at in AGAIN], id="leases that are renewed"),
        pytest.param([asks("discover", 3600 * at) for at in AGAIN], id="once an hour"),
        pytest.param([asks("inform", at) for at in AGAIN], id="inform"),
    ],
)  # fmt: skip
def test_hosts_that_may_have_been_told(tmp_path: Path, packets: list[Packet]) -> None:
    assert "udp-unanswered" not in found(tmp_path, packets)


OTHER = "192.0.2.66"


def offers(first: tuple[tuple[str, str], ...], second: tuple[tuple[str, str], ...], given: str = "192.0.2.8") -> list[Packet]:
    mask = ("subnet_mask", "255.255.255.0")
    return [
        asks("discover", 0),
        told("offer", 1, options=(mask, *first), given="192.0.2.7"),
        told("offer", 1.1, OTHER, options=(mask, *second), given=given),
        asks("request", 2),
        told("ack", 3),
    ]


ONE, TWO = (("router", "192.0.2.1"),), (("router", OTHER),)


def test_a_router_that_somebody_plugged_in(tmp_path: Path) -> None:
    """It refuses what the other one offered, or offers addresses of another network."""
    refuses = [*offers(ONE, TWO), told("nak", 3.1, OTHER)]
    this = found(tmp_path, refuses)["dhcp-servers"]
    assert this.severity == "problem"
    assert this.text == (
        f"2 DHCP servers answered the same DISCOVER: {OTHER} and {SERVER} (1 time), with different routers: {OTHER} gives {OTHER}, {SERVER} gives 192.0.2.1."
    )
    assert found(tmp_path, offers(ONE, TWO, "192.168.1.8"))["dhcp-servers"].severity == "problem"


@pytest.mark.parametrize(
    ("packets", "severity"),
    [
        pytest.param(offers(ONE, TWO), "warning", id="two routers that each offer themselves"),
        pytest.param(offers((*ONE, ("name_server", "192.0.2.2")), (*ONE, ("name_server", "192.0.2.3"))), "warning", id="other DNS servers"),
        pytest.param([*offers(ONE, ONE), told("nak", 3.1, OTHER)], "note", id="a pair that stands in for each other"),
        pytest.param(offers(ONE, ()), "note", id="a server for network boots"),
    ],
)
def test_servers_that_may_be_there_together(tmp_path: Path, packets: list[Packet], severity: str) -> None:
    assert found(tmp_path, packets)["dhcp-servers"].severity == severity


def refused_offers(times: int, xid: int = 70) -> list[Packet]:
    return [
        p
        for k in range(times)
        for p in (
            asks("discover", 3 * k, xid=xid + k),
            told("offer", 3 * k + 0.1, xid=xid + k),
            asks("request", 3 * k + 0.2, xid=xid + k),
            told("nak", 3 * k + 0.3, xid=xid + k),
        )
    ]


def test_a_server_that_refuses_what_it_offers(tmp_path: Path) -> None:
    this = found(tmp_path, refused_offers(4), [asks("discover", 13, xid=90), told("offer", 13.1, xid=90)])["dhcp-servers"]
    assert this.severity == "problem"
    assert this.text == f"{SERVER} offered 02:00:00:00:00:07 an address by DHCP and refused it (NAK) 4 times over 9.0 s; no ACK came."


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*refused_offers(3), asks("request", 20, xid=90), told("ack", 20.1, xid=90)], id="served in the end"),
        pytest.param(refused_offers(2), id="twice"),
        pytest.param([p for k in range(4) for p in (asks("request", 3 * k, xid=k), told("nak", 3 * k + 0.1, xid=k))], id="was never offered it"),
    ],
)  # fmt: skip
def test_refusals_that_may_be_in_order(tmp_path: Path, packets: list[Packet]) -> None:
    assert "dhcp-servers" not in found(tmp_path, packets)


def test_two_networks_of_one_link_whose_servers_a_relay_asks(tmp_path: Path) -> None:
    mask, relay = ("subnet_mask", "255.255.255.0"), "192.0.2.1"
    packets = [
        asks("discover", 0),
        told("offer", 1, options=(mask, *ONE), given="192.0.2.7", relay=relay),
        told("offer", 1.1, OTHER, options=(mask, *TWO), given="198.51.100.8", relay=relay),
    ]
    assert found(tmp_path, packets)["dhcp-servers"].severity == "warning"


def relayed(kind: str, at: float, relay: str = "192.0.2.1") -> Packet:
    """What a relay hands on to a server."""
    message = BOOTP(op=1, chaddr=HARDWARE, xid=7, giaddr=relay) / DHCP(options=[("message-type", kind), "end"])
    return Packet(int(at * S), datagram((relay, 67), (SERVER, 67), bytes(message)))


def test_a_relay_whose_server_does_not_answer(tmp_path: Path) -> None:
    packets = [p for at in (0, 7) for p in (asks("discover", at), relayed("discover", at + 0.01))]
    this = found(tmp_path, packets, healthy())["udp-unanswered"]
    assert (this.severity, this.text) == ("problem", "No DHCP server answered 02:00:00:00:00:07: 2 requests over 7.0 s.")


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([asks("discover", 0), asks("discover", 7)], id="without a relay"),
        pytest.param([relayed("discover", 0), relayed("discover", 1)], id="again at once"),
        pytest.param([relayed("discover", 0), relayed("discover", 7), relayed("request", 8)], id="offered something in the end"),
        pytest.param([relayed("discover", 0), relayed("discover", 7), told("offer", 7.1, to="192.0.2.1")], id="answered"),
    ],
)
def test_a_relay_whose_server_may_have_answered(tmp_path: Path, packets: list[Packet]) -> None:
    assert "udp-unanswered" not in found(tmp_path, packets, healthy())


def renews(at: float, source: str = "192.0.2.8") -> Packet:
    message = BOOTP(op=1, chaddr=HARDWARE, xid=7, ciaddr=source) / DHCP(options=[("message-type", "request"), "end"])
    return Packet(int(at * S), datagram((source, 68), (SERVER, 67), bytes(message)))


LEASED = [asks("discover", 0), told("offer", 0.1), asks("request", 0.2), told("ack", 0.3)]
ANEW = [asks("discover", 30, xid=8), told("offer", 30.1, xid=8), asks("request", 30.2, xid=8), told("ack", 30.3, xid=8)]


def test_a_lease_that_cannot_be_renewed(tmp_path: Path) -> None:
    this = found(tmp_path, [*LEASED, renews(15), renews(20), *ANEW])["udp-unanswered"]
    assert (this.severity, this.text) == (
        "problem",
        "198.51.100.20 did not answer 02:00:00:00:00:07, which asked by DHCP to renew its lease (2 requests) and began anew (DISCOVER).",
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*LEASED, renews(15), told("ack", 15.1), *ANEW], id="renewed"),
        pytest.param([*LEASED, renews(15), renews(20), told("ack", 20.1), *ANEW], id="renewed at the second try"),
        pytest.param([*LEASED, renews(15), renews(20)], id="not over yet"),
        pytest.param([renews(15), renews(20), asks("discover", 30)], id="of a server that is not there, as in another network"),
        pytest.param(
            [renews(15), renews(20), asks("discover", 30), told("offer", 30.1, OTHER)], id="of a server that is not there: another one is"
        ),
        pytest.param([*LEASED, renews(15), *ANEW], id="once, and the host was started again"),
    ],
)
def test_leases_that_are_renewed_or_may_be(tmp_path: Path, packets: list[Packet]) -> None:
    assert "udp-unanswered" not in found(tmp_path, packets)


def untaken(times: tuple[float, ...] = AGAIN, checksum: int = 0, **others: int) -> list[Packet]:
    """A client that is offered an address each time."""
    packets = []
    for k, at in enumerate(times):
        offer = told("offer", at + 0.1, xid=7 + k * others.get("apart", 0))
        data = offer.data[:26] + checksum.to_bytes(2, "big") + offer.data[28:]
        packets += [asks("discover", at, xid=7 + k * others.get("apart", 0)), Packet(offer.at, data)]
    return packets


@pytest.mark.parametrize(
    ("checksum", "why"), [(0x1234, "the UDP checksums of the offers are wrong"), (0, "as if the offers had not arrived")]
)
def test_offers_that_a_client_does_not_take(tmp_path: Path, checksum: int, why: str) -> None:
    this = found(tmp_path, untaken(checksum=checksum), healthy())["udp-unanswered"]
    assert this.severity == "problem"
    assert this.text.startswith(f"02:00:00:00:00:07 asked for an address by DHCP 4 times, and took none of those that {SERVER} offered")
    assert why in this.text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*untaken(), asks("request", 17), told("ack", 17.1)], id="taken in the end"),
        pytest.param(untaken(apart=1), id="a monitor that asks from time to time"),
        pytest.param(untaken(AGAIN[:2]), id="twice"),
        pytest.param(untaken((0, 0.2, 0.4, 0.6)), id="at once"),
    ],
)
def test_offers_that_a_client_takes_or_does_not_want(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))
