"""Hosts that ask for an address by DHCP, and are told nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dhcp import BOOTP, DHCP

from tests.lenses.made import SERVER, S, found, healthy
from tests.parsers.build import Packet, datagram

if TYPE_CHECKING:
    from pathlib import Path

HARDWARE = b"\x02\x00\x00\x00\x00\x07"


def asks(kind: str, at: float, source: str = "0.0.0.0", xid: int = 7) -> Packet:
    message = BOOTP(op=1, chaddr=HARDWARE, xid=xid) / DHCP(options=[("message-type", kind), "end"])
    return Packet(int(at * S), datagram((source, 68), ("255.255.255.255", 67), bytes(message)))


def told(kind: str, at: float, server: str = SERVER, xid: int = 7, to: str = "255.255.255.255") -> Packet:
    message = BOOTP(op=2, chaddr=HARDWARE, xid=xid) / DHCP(options=[("message-type", kind), ("server_id", server), "end"])
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
