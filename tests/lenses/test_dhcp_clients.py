"""Clients of DHCP that share an identifier, that are offered addresses which are taken, or nothing to boot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether

from tests.lenses.test_neighbours import MAC, OTHER, THIRD, found

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet as Layer

Frames = list[tuple[float, "Layer"]]
SERVER, GIVEN, IDENTIFIER = "192.0.2.1", "192.0.2.77", b"\xff\0\0\0\1\0\2\0\0\xab\x11"


def dhcp(kind: str, at: float, client: str, options: tuple[Any, ...] = (), **said: Any) -> tuple[float, Layer]:
    answers = kind in ("offer", "ack", "nak")
    ends = {"src": SERVER, "dst": "255.255.255.255"} if answers else {"src": "0.0.0.0", "dst": "255.255.255.255"}
    ports = {"sport": 67, "dport": 68} if answers else {"sport": 68, "dport": 67}
    given = (("server_id", SERVER),) if answers else ()
    message = BOOTP(op=2 if answers else 1, chaddr=bytes.fromhex(client.replace(":", "")), xid=7, **said)
    told = DHCP(options=[("message-type", kind), *given, *options, "end"])
    return at, Ether(src=THIRD if answers else client, dst="ff:ff:ff:ff:ff:ff") / IP(**ends) / UDP(**ports) / message / told


def lease(client: str, at: float, identifier: bytes = IDENTIFIER, given: str = GIVEN) -> Frames:
    mine = (("client_id", identifier),)
    return [
        dhcp("discover", at, client, mine),
        dhcp("offer", at + 0.1, client, yiaddr=given),
        dhcp("request", at + 0.2, client, (*mine, ("requested_addr", given))),
        dhcp("ack", at + 0.3, client, yiaddr=given),
    ]


def answer(hardware: str, at: float, address: str = GIVEN, to: str = SERVER) -> tuple[float, Layer]:
    return at, Ether(src=hardware, dst=THIRD) / ARP(op=2, hwsrc=hardware, psrc=address, hwdst=THIRD, pdst=to)


def test_two_machines_with_one_identifier(tmp_path: Path) -> None:
    this = found(tmp_path, [*lease(MAC, 0), *lease(OTHER, 1), answer(MAC, 5), answer(OTHER, 6)])["dhcp-clients"]
    assert this.severity == "problem"
    assert this.text == f"DHCP gave {GIVEN} to {OTHER} and {MAC}, which have the same client identifier, and both use it."


def test_two_machines_that_get_one_address_by_turns(tmp_path: Path) -> None:
    assert found(tmp_path, [*lease(MAC, 0), *lease(OTHER, 2), *lease(MAC, 4)])["dhcp-clients"].severity == "problem"


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([each for k in range(4) for card in [(MAC, OTHER)[k % 2]] for each in (*lease(card, 60 * k), answer(card, 60 * k + 5))],
                     id="two cards by turns"),
        pytest.param([*lease(MAC, 0), *lease(OTHER, 60), answer(MAC, 61), answer(MAC, 62)], id="a late word, and nothing of the other"),
        pytest.param([*lease(MAC, 0), *lease(OTHER, 1), answer(OTHER, 6)], id="one took the place of the other"),
        pytest.param([*lease(MAC, 0), *lease(OTHER, 1, given="192.0.2.78"), answer(MAC, 5), answer(OTHER, 6, "192.0.2.78")], id="two addresses"),
        pytest.param([*lease(MAC, 0), *lease(OTHER, 1, IDENTIFIER[::-1]), answer(MAC, 5), answer(OTHER, 6)], id="two identifiers"),
        pytest.param([*lease(MAC, 0), *lease(MAC, 1), answer(MAC, 5)], id="one machine"),
    ],
)  # fmt: skip
def test_identifiers_that_are_right(tmp_path: Path, frames: Frames) -> None:
    assert "dhcp-clients" not in found(tmp_path, frames)


def declined(n: int, hardware: str, at: float, says: bool = True) -> Frames:
    address = f"192.0.2.{100 + n}"
    probe = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc="0.0.0.0", pdst=address)
    end = [dhcp("decline", at + 2, MAC, (("requested_addr", address),))] if says else []
    return [*lease(MAC, at, given=address), (at + 1, probe), answer(hardware, at + 1.1, address, "0.0.0.0"), *end]


def test_a_router_that_answers_for_all_addresses(tmp_path: Path) -> None:
    this = found(tmp_path, [each for n in range(4) for each in declined(n, OTHER, 10.0 * n)])["dhcp-clients"]
    assert this.severity == "problem"
    assert this.text == (
        f"{OTHER} answers ARP for each address that DHCP gave to {MAC}, which declined all of them: "
        "192.0.2.100, 192.0.2.101 and 2 others (4 addresses)."
    )


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*declined(0, OTHER, 0), *declined(1, OTHER, 10)], id="two addresses"),
        pytest.param([each for n, other in enumerate((OTHER, THIRD, "02:00:00:00:00:03")) for each in declined(n, other, 10.0 * n)], id="three hosts"),
        pytest.param([each for n in range(4) for each in declined(n, OTHER, 10.0 * n, says=False)], id="taken all the same"),
    ],
)  # fmt: skip
def test_addresses_that_hosts_have(tmp_path: Path, frames: Frames) -> None:
    assert "dhcp-clients" not in found(tmp_path, frames)


BOOTS = (("vendor_class_id", b"PXEClient:Arch:00000:UNDI:002001"),)


def unmoved(*offered: Any, options: tuple[Any, ...] = BOOTS, **said: Any) -> Frames:
    times = (0, 4, 12, 28)
    return [
        each for at in times for each in (dhcp("discover", at, MAC, options), dhcp("offer", at + 0.1, MAC, offered, yiaddr=GIVEN, **said))
    ]


def test_offers_that_name_no_file_to_boot(tmp_path: Path) -> None:
    this = found(tmp_path, unmoved())["udp-unanswered"]
    assert this.severity == "problem"
    assert this.text == (
        f"{MAC} asked for an address by DHCP 4 times, and took none of those that {SERVER} offered: it boots from the network (PXE), and none of them names "
        "a file to boot."
    )


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(unmoved(options=()), id="does not boot from the network"),
        pytest.param(unmoved(file=b"pxelinux.0"), id="a file"),
        pytest.param(unmoved(("boot-file-name", b"pxelinux.0")), id="a file by option"),
        pytest.param(unmoved(*BOOTS), id="a server of files"),
    ],
)
def test_offers_that_are_not_taken_for_another_cause(tmp_path: Path, frames: Frames) -> None:
    assert found(tmp_path, frames)["udp-unanswered"].text.endswith("as if the offers had not arrived.")
