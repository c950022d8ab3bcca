"""Chains over relays, and parties: each request once, for whoever sent it, by the relays that it went over."""

from __future__ import annotations

import gzip
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import netlens
from netlens.chains import target
from netlens.chains.side import Side
from netlens.chains.situation import REJECTED, UNKNOWN, UNLABELLED
from netlens.errors import NetlensError
from netlens.lenses.refused import fixes
from netlens.report import answer
from tests.chains.build_chain import ACK, ANSWER, EGRESS, FIN, HERE, IN, PSH, SERVER, T0, Machine, Talk, hellos, request

VM, OTHER, BRIDGE = "192.168.122.2", "192.168.122.6", "192.168.122.1"
API = (SERVER, 443)
VM_SIDE = ((2, False),)
THROUGH_NAT = ((3, True),)
LEAVES = ((2, False),)


def nat(vm: Machine | None, host: Machine, talk: Talk, port: int, bridged: bool = False) -> None:
    """A connection of a guest that the host translates; ``vm``: the guest's own capture."""
    if vm is not None:
        vm.see(talk, *VM_SIDE)
    host.see(talk, *(((4, True), (3, True)) if bridged else THROUGH_NAT), late=50e-6)
    host.see(replace(talk, client=(EGRESS, port)), *LEAVES, late=60e-6)


def analysed(folder: Path, **machines: Machine) -> dict[str, Any]:
    for name, machine in machines.items():
        machine.write(folder / f"{name}.pcap")
    document: dict[str, Any] = netlens.analyze(folder, apis="api.example.test").to_dict()
    return document


def requests(document: dict[str, Any]) -> dict[str, int]:
    return {party["name"]: party["requests"] for party in document["parties"]}


def test_a_second_vm_is_a_party_of_its_own(tmp_path: Path) -> None:
    vm, host = Machine(), Machine()
    first, second, own = hellos(3)
    nat(vm, host, Talk((VM, 40001), API, 1, first, 1 << 20), 50001, bridged=True)
    nat(None, host, Talk((OTHER, 40002), API, 1.2, second, 2 << 20, (600, 800)), 50002, bridged=True)
    host.see(Talk((EGRESS, 50003), API, 1.4, own, 3 << 20, (650,)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert requests(found) == {"VM": 3, "host": 1, f"other VM, {OTHER}": 2}
    assert found["counts"]["exchanges"] == 6
    assert found["chains"] == {"bridge>nat": 2, "direct": 1}
    other = found["parties"][2]
    assert (other["vantage"], other["addresses"], other["process"]) == (None, [OTHER], None)


@pytest.mark.parametrize("relayed", [False, True])
def test_what_the_host_opened_before_the_vm_was_heard_is_its_own(relayed: bool, tmp_path: Path) -> None:
    """Its hello is older than the VM's capture. By its interface it is the host's, unless the VM's are carried by connections opened there as well."""
    vm, host = Machine(), Machine()
    one, two, own = hellos(3)
    nat(vm, host, Talk((VM, 40001), API, 1, one, 1 << 20), 50001)
    host.see(Talk((EGRESS, 50003), API, 0.9, own, 3 << 20, (650,)), *LEAVES)
    if relayed:
        asked = Talk((VM, 40003), (BRIDGE, 8888), 5, two, 5 << 20, negotiation=CONNECT)
        vm.see(asked, *VM_SIDE)
        host.see(asked, *THROUGH_NAT, late=50e-6).see(Talk((EGRESS, 50005), API, 5.0005, two, 7 << 20), *LEAVES)
    found = requests(analysed(tmp_path, vm=vm, host=host))
    assert (found["host"], found.get("unknown", 0)) == ((0, 1) if relayed else (1, 0))


def test_a_further_capture_names_its_party(tmp_path: Path) -> None:
    vm, second, host = Machine(), Machine(), Machine()
    one, two = hellos(2)
    nat(vm, host, Talk((VM, 40001), API, 1, one, 1 << 20), 50001)
    nat(second, host, Talk((OTHER, 40002), API, 1.2, two, 2 << 20, (600, 800)), 50002)
    found = analysed(tmp_path, vm=vm, host=host, builder=second)
    assert requests(found) == {"VM": 3, "host": 0, "builder": 2}
    assert found["parties"][2]["vantage"] == "builder"
    assert [i["vantage"] for i in found["inputs"]] == ["vm", "host", "builder"]


def test_a_captured_machine_beside_the_host_may_share_its_address(tmp_path: Path) -> None:
    """What it asks is not in the host's capture, so that capture does not show all that leaves from the address behind the router."""
    vm, host, laptop = Machine(), Machine(), Machine()
    one, two = hellos(2)
    nat(vm, host, Talk((VM, 40001), API, 1, one, 1 << 20), 50001)
    laptop.see(Talk((OTHER, 40002), API, 1.2, two, 2 << 20, (600, 800)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host, laptop=laptop)
    verdicts = {each["id"]: each for each in found["hypotheses"]}
    assert verdicts["same-nat-ip"]["verdict"] == "undecided"
    alone = tmp_path / "alone"
    alone.mkdir()
    assert {each["id"]: each["verdict"] for each in analysed(alone, vm=vm, host=host)["hypotheses"]}["same-nat-ip"] != "supported"


def test_another_capture_of_the_host_takes_nothing_from_it(tmp_path: Path) -> None:
    vm, host, uplink = Machine(), Machine(), Machine()
    one, two = hellos(2)
    talk, own = Talk((VM, 40001), API, 1, one, 1 << 20), Talk((EGRESS, 50003), API, 1.4, two, 3 << 20, (650,))
    nat(vm, host, talk, 50001)
    for machine in (host, uplink):
        machine.see(own, *LEAVES)
    uplink.see(replace(talk, client=(EGRESS, 50001)), *LEAVES, late=60e-6)
    assert requests(analysed(tmp_path, vm=vm, host=host, uplink=uplink)) == {"VM": 3, "host": 1, "uplink": 0}


def test_captures_of_which_none_is_the_vms_or_the_hosts(tmp_path: Path) -> None:
    (hello,) = hellos(1)
    for name in ("a", "b"):
        Machine().see(Talk((VM, 40001), API, 1, hello, 1 << 20), *VM_SIDE).write(tmp_path / f"{name}.pcap")
    captures = {name: netlens.read(tmp_path / f"{name}.pcap") for name in ("a", "b")}
    with pytest.raises(NetlensError, match="captures of a, b: none is the VM's or the host's"):
        netlens.analysis.analyze(captures, netlens.chains.inputs.Inputs({name: tuple(c.paths) for name, c in captures.items()}))  # type: ignore[attr-defined]


CONNECT = (b"CONNECT api.example.test:443 HTTP/1.1\r\nHost: api.example.test:443\r\n\r\n", b"HTTP/1.1 200 Connection established\r\n\r\n")
SOCKS = (b"\x05\x01\x00\x05\x01\x00\x03" + bytes(19), bytes(12))


@pytest.mark.parametrize(("negotiation", "kind"), [(CONNECT, "proxy"), (SOCKS, "socks"), ((b"", b""), "forward")])
@pytest.mark.parametrize("begins", [0.0, 1.05])
def test_what_a_relay_on_the_host_passes_on_counts_once(negotiation: tuple[bytes, bytes], kind: str, begins: float, tmp_path: Path) -> None:
    """Also if the host's capture begins after the hellos: then as many bytes at the same times link the two."""
    vm, host = Machine(), Machine()
    one, two = hellos(2)
    asked = Talk((VM, 40001), (BRIDGE, 8888), 1, one, 1 << 20, negotiation=negotiation)
    vm.see(asked, *VM_SIDE)
    host.see(replace(asked, begins=begins), *THROUGH_NAT, late=50e-6)
    host.see(Talk((EGRESS, 50001), API, 1.0005, one, 7 << 20, begins=begins), *LEAVES)
    host.see(Talk((EGRESS, 50003), API, 1.3, two, 3 << 20, (650,)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert found["counts"]["exchanges"] == 4
    assert requests(found)["VM"] == 3
    if not begins:
        assert found["chains"] == {kind: 1, "direct": 1}


@pytest.mark.parametrize("same", [True, False])
def test_a_relay_at_an_address_of_its_own_passes_on_what_is_asked_of_a_target_by_its_address(same: bool, tmp_path: Path) -> None:
    """HAProxy that passes on TLS for two machines. A server nearby that goes by the same name, but is asked by other hellos, is no way to the target."""
    vm, host, laptop = Machine(), Machine(), Machine()
    hello = list(hellos(4))
    for k, (address, machine) in enumerate([(VM, vm), (OTHER, laptop)]):
        asked = Talk((address, 40001 + k), (BRIDGE, 443), 1 + 0.2 * k, hello[k], (1 + k) << 20)
        machine.see(asked, *VM_SIDE)
        host.see(asked, *THROUGH_NAT, late=50e-6)
        went_on = Talk((EGRESS, 50001 + k), API, 1.0005 + 0.2 * k, hello[k], (7 + k) << 20)
        host.see(went_on if same else replace(went_on, start=0.3 + 0.2 * k, hello=hello[2 + k], sizes=(300, 350, 390)), *LEAVES)
    for name, each in (("vm", vm), ("host", host), ("laptop", laptop)):
        each.write(tmp_path / f"{name}.pcap")
    document = netlens.analyze(tmp_path, apis=SERVER).to_dict()
    assert document["counts"]["exchanges"] == 6
    if same:
        assert requests(document) == {"VM": 3, "host": 0, "laptop": 3}
        assert document["chains"] == {"forward": 2}
    else:
        assert document["chains"] == {"direct": 2}
        assert requests(document)["VM"] == requests(document)["laptop"] == 0


def test_a_proxy_that_the_host_redirects_to_is_a_hop(tmp_path: Path) -> None:
    """The VM's packets are taken by the host before they leave: the same destination twice, from two ends."""
    vm, host = Machine(), Machine()
    one, two = hellos(2)
    asked = Talk((VM, 40001), API, 1, one, 1 << 20)
    vm.see(asked, *VM_SIDE)
    host.see(asked, *THROUGH_NAT, late=50e-6)
    host.see(Talk((EGRESS, 50001), API, 1.0005, one, 7 << 20), *LEAVES)
    host.see(Talk((EGRESS, 50003), API, 1.3, two, 3 << 20, (650,)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert requests(found) == {"VM": 3, "host": 1}
    assert found["counts"]["exchanges"] == 4
    assert found["chains"] == {"redirect": 1, "direct": 1}


def test_what_is_older_than_the_capture_and_ends_with_a_reset_held_a_place(tmp_path: Path) -> None:
    """Of a session without a handshake Zeek's state is RSTOS0, which is also that of one that was never answered."""
    (hello,) = hellos(1)
    host = Machine().see(Talk((EGRESS, 50003), API, 1, hello, 3 << 20, begins=1.05, reset=True), *LEAVES)
    host.write(tmp_path / "host.pcap")
    side = Side("host", netlens.read(tmp_path / "host.pcap"))
    assert side.connections["state"].tolist() == ["RSTOS0"]
    assert side.opened.tolist() == [True]


def test_an_older_connection_to_a_relay_is_not_upstream(tmp_path: Path) -> None:
    vm, host = Machine(), Machine()
    one, two, three = hellos(3)
    for k, (hello, start, begins) in enumerate(((one, 1.0, 1.2), (two, 1.5, 1.2))):
        asked = Talk((VM, 40001 + k), (BRIDGE, 8888), start, hello, (1 + k) << 20, begins=begins, negotiation=CONNECT)
        vm.see(asked, *VM_SIDE)
        host.see(asked, *THROUGH_NAT, late=50e-6)
    host.see(Talk((EGRESS, 50002), API, 1.5005, two, 7 << 20, begins=1.2), *LEAVES)
    host.see(Talk((EGRESS, 50003), API, 1.3, three, 9 << 20, (650,)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert found["chains"] == {"proxy": 1, "direct": 1}


def test_a_relay_on_the_vm_that_asks_anew_is_part_of_the_chain(tmp_path: Path) -> None:
    """Its own hello is another one, so only the requests tell; what the program asks it is counted once, as what leaves."""
    vm, host = Machine(), Machine()
    asking, two, three = hellos(3)
    sizes = (500, 700, 900, 650, 820, 560)
    vm.see(Talk(("127.0.0.1", 39999), ("127.0.0.1", 8443), 1, asking, 5 << 20, sizes), (1, False), kind=772)
    nat(vm, host, Talk((VM, 40001), API, 1.001, two, 1 << 20, tuple(size + 40 for size in sizes), shorter=0.004), 50001)
    host.see(Talk((EGRESS, 50003), API, 1.3, three, 3 << 20, (650,)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert found["chains"] == {"proxy>nat": 1, "direct": 1}
    assert requests(found) == {"VM": 6, "host": 1}


def test_a_relay_on_the_host_that_goes_by_the_targets_name_is_a_hop(tmp_path: Path) -> None:
    """/etc/hosts of the VM leads to a proxy on the host that encrypts anew; about as many bytes go into it as come out, and all of these are its own."""
    vm, host = Machine(), Machine()
    asking, anew = hellos(2)
    sizes = tuple(400 + 37 * k for k in range(8))
    talk = Talk((VM, 40001), (BRIDGE, 443), 1, asking, 1 << 20, sizes)
    vm.see(talk, *VM_SIDE)
    host.see(talk, *THROUGH_NAT, late=50e-6)
    host.see(Talk((EGRESS, 50001), API, 1.001, anew, 3 << 20, tuple(size + 40 for size in sizes), shorter=0.004), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert requests(found) == {"VM": 8, "host": 0}
    assert found["counts"]["exchanges"] == 8


@pytest.mark.parametrize("kept", [True, False], ids=["one connection", "one a request"])
def test_what_a_relay_opens_of_its_own_accord(kept: bool, tmp_path: Path) -> None:
    """It asks on one connection, or opens one for each request; beside that, it checks whether the server is there and resets behind the answer."""
    vm, host = Machine(), Machine()
    asking, *anew = hellos(20)
    sizes = tuple(400 + 37 * k for k in range(8))
    talk = Talk((VM, 40001), (BRIDGE, 443), 1, asking, 1 << 20, sizes)
    vm.see(talk, *VM_SIDE)
    host.see(talk, *THROUGH_NAT, late=50e-6)
    for k, these in enumerate([sizes] if kept else [(size,) for size in sizes]):
        sent = tuple(size + 40 for size in these)
        host.see(Talk((EGRESS, 50001 + k), API, 1.001 + k, anew[k], (3 + k) << 20, sent, shorter=0.004), *LEAVES)
    for k in range(5):
        host.see(Talk((EGRESS, 50100 + k), API, 1.5 + k, anew[10 + k], (20 + k) << 20, (44,), every=0.31, reset=True), *LEAVES)
    for name, machine in {"vm": vm, "host": host}.items():
        machine.write(tmp_path / f"{name}.pcap")
    s = netlens.analyze(tmp_path, apis="api.example.test").assembled.situation
    assert int(s.requests.added.sum()) == (0 if kept else 7)  # the first one the program had to open as well
    assert s.facts["unasked"] == 5
    assert not s.requests.broken_off.any()


def test_a_relay_with_a_name_of_its_own_does_not_stop_the_analysis(tmp_path: Path) -> None:
    """The VM's capture alone shows the relay's name only, not that of the API that was asked for."""
    vm = Machine()
    (hello,) = hellos(1, "relay.example.test")
    vm.see(Talk((VM, 40001), (BRIDGE, 8443), 1, hello, 1 << 20), *VM_SIDE)
    found = analysed(tmp_path, vm=vm)
    assert requests(found)["VM"] == 3
    assert any("perhaps" in note or "programs ask a relay" in note for note in found["quality"]["notes"])


@pytest.mark.parametrize("guests", [1, 2])
def test_one_direction_of_the_hosts_own_connections_is_not_the_egress(guests: int, tmp_path: Path) -> None:
    """Outgoing packets alone: on a bridge that is all of a guest's connections, and half of the host's own."""
    vm, host = Machine(), Machine()
    for k, hello in enumerate(hellos(guests)):
        talk = Talk((VM, 40001 + k), API, 1 + k, hello, (1 + k) << 20)
        vm.see(talk, *VM_SIDE)
        host.see(talk, *LEAVES, late=60e-6)
    for k, hello in enumerate(hellos(2)):
        host.see(Talk((EGRESS, 50003 + k), API, 1.4, hello, (9 + k) << 20, (650,), one_way=True), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert found["counts"]["connections"] == guests + 2
    assert cause(found, "same-nat-ip")["verdict"] == "undecided"
    assert "both directions" in cause(found, "same-nat-ip")["needs"]


def cause(found: dict[str, Any], wanted: str) -> dict[str, Any]:
    return next(cause for cause in found["hypotheses"] if cause["id"] == wanted)


@pytest.mark.parametrize("interface", [None, 2, 4])
def test_an_address_that_needs_no_translation_leaves_by_any_interface(interface: int | None, tmp_path: Path) -> None:
    """One interface alone may be the way out, or a bridge that the host's own connections never cross."""
    vm, host = Machine(), Machine()
    (one,) = hellos(1)
    talk = Talk(("198.51.100.77", 40001), API, 1, one, 1 << 20)
    vm.see(talk, *VM_SIDE).write(tmp_path / "vm.pcap")
    host.see(talk, (4, True), *LEAVES, late=50e-6).write(tmp_path / "host.pcap", interface)
    found = cause(netlens.analyze(tmp_path, apis="api.example.test").to_dict(), "same-nat-ip")
    assert (found["verdict"], "-i any" in str(found["needs"])) == (("refuted", False) if interface is None else ("undecided", True))


@pytest.mark.parametrize(("crossed", "seen"), [(((2, True), (3, False)), True), (((3, False),), False), (((2, True),), False)])
def test_an_address_of_a_private_network_that_is_not_translated(crossed: tuple[tuple[int, bool], ...], seen: bool, tmp_path: Path) -> None:
    """Routed to the server as it is: what leaves was captured if the answers came in by another interface. Of one interface it was not, as cooked as it may
    be."""
    vm, host = Machine(), Machine()
    (one,) = hellos(1)
    talk = Talk(("10.8.0.2", 40001), API, 1, one, 1 << 20)
    vm.see(talk, *VM_SIDE).write(tmp_path / "vm.pcap")
    host.see(talk, *crossed, late=50e-6).write(tmp_path / "host.pcap")
    found = cause(netlens.analyze(tmp_path, apis="api.example.test").to_dict(), "same-nat-ip")
    assert (found["verdict"], "-i any" in str(found["needs"])) == (("refuted", False) if seen else ("undecided", True))


def test_one_port_of_a_bridge_is_not_all_that_leaves(tmp_path: Path) -> None:
    """A VM with a public address on the host's network, and of a capture of all interfaces the packets of one alone."""
    vm, host = Machine(), Machine()
    (one,) = hellos(1)
    talk = Talk(("198.51.100.77", 40001), API, 1, one, 1 << 20)
    vm.see(talk, *VM_SIDE).write(tmp_path / "vm.pcap")
    host.see(talk, (4, True), late=50e-6).write(tmp_path / "host.pcap")
    found = cause(netlens.analyze(tmp_path, apis="api.example.test").to_dict(), "same-nat-ip")
    assert (found["verdict"], "-i any" in str(found["needs"])) == ("undecided", True)


def test_a_hop_that_does_not_leave_is_no_other_name(tmp_path: Path) -> None:
    """A proxy on the host takes connections on their way: the first half asks for the same name."""
    host = Machine()
    for k, hello in enumerate(hellos(2)):
        host.see(Talk((VM, 40001 + k), API, 1 + k, hello, (1 + k) << 20), (2, True))
        host.see(Talk((EGRESS, 50001 + k), API, 1.001 + k, hello, (5 + k) << 20), *LEAVES)
    host.write(tmp_path / "host.pcap")
    side = netlens.analyze(host=str(tmp_path / "host.pcap"), apis="api.example.test").assembled.upstream
    assert side.target.sum() < side.connections.rows
    assert target.at_same_address(side) == []


@pytest.mark.parametrize("uplink", [False, True])
def test_whose_a_redirected_connection_of_the_host_is_nobody_knows_beside_a_tunnel(tmp_path: Path, uplink: bool) -> None:
    """The host alone was captured, or the VM's uplink too, which shows only the tunnel. The host redirects to a proxy of its own what comes out of the tunnel,
    and what its programs ask."""
    host = Machine()
    tunnel = Talk((VM, 40022), (BRIDGE, 22), 0.5, b"SSH-2.0-OpenSSH_9.9\r\n", 3 << 20)
    host.see(tunnel, (3, True))
    if uplink:
        Machine().see(tunnel, *VM_SIDE).write(tmp_path / "vm.pcap")
    for k, hello in enumerate(hellos(2)):
        half = Talk((EGRESS, 41001 + k), API, 1 + k, hello, (1 + k) << 20)
        for t, up, packet in half.packets():
            if not up:
                host.frames.append((t, 1, IN, HERE, packet))
        host.see(replace(half, server=("127.0.0.1", 3129), one_way=True), (1, True), kind=HERE)
        host.see(Talk((EGRESS, 50001 + k), API, 1.001 + k, hello, (5 + k) << 20), *LEAVES)
    host.write(tmp_path / "host.pcap")
    vm = {"vm": str(tmp_path / "vm.pcap")} if uplink else {}
    found = netlens.analyze(host=str(tmp_path / "host.pcap"), apis="api.example.test", **vm)
    assert found.assembled.upstream.target.sum() == 2
    assert set(found.assembled.situation.requests.side.tolist()) == {UNKNOWN}


def test_a_relay_on_the_hosts_network_is_not_the_way_out(tmp_path: Path) -> None:
    """The port of a bridge alone: the VM asks a proxy by an address of the local network, and what the proxy asks does not cross it."""
    vm, host = Machine(), Machine()
    (one,) = hellos(1)
    talk = Talk(("192.168.1.50", 40001), ("192.168.1.20", 8888), 1, one, 1 << 20, negotiation=CONNECT)
    vm.see(talk, *VM_SIDE).write(tmp_path / "vm.pcap")
    host.see(talk, (4, True), late=50e-6).write(tmp_path / "host.pcap", 4)
    found = cause(netlens.analyze(tmp_path, apis="api.example.test").to_dict(), "same-nat-ip")
    assert (found["verdict"], "-i any" in str(found["needs"])) == ("undecided", True)


def test_the_port_of_another_vm_is_not_the_way_out(tmp_path: Path) -> None:
    vm, host = Machine(), Machine()
    one, other = hellos(2)
    vm.see(Talk((VM, 40001), API, 1, one, 1 << 20), *VM_SIDE).write(tmp_path / "vm.pcap")
    host.see(Talk((OTHER, 40007), API, 1.2, other, 2 << 20), (5, True), to_others=True).write(tmp_path / "host.pcap")
    found = cause(netlens.analyze(tmp_path, apis="api.example.test").to_dict(), "same-nat-ip")
    assert (found["verdict"], "-i any" in str(found["needs"])) == ("undecided", True)


def test_the_hosts_loopback_alone_is_not_the_way_out(tmp_path: Path) -> None:
    """The tunnel's connections to a proxy on the host itself, by the host's own address."""
    vm, host = Machine(), Machine()
    (one,) = hellos(1)
    vm.see(Talk((VM, 40001), (EGRESS, 8888), 1, one, 1 << 20, negotiation=CONNECT), *VM_SIDE).write(tmp_path / "vm.pcap")
    own = Talk((EGRESS, 40009), (EGRESS, 8888), 1, one, 2 << 20, negotiation=CONNECT)
    host.see(own, (1, False), late=50e-6, kind=HERE).write(tmp_path / "host.pcap")
    found = cause(netlens.analyze(tmp_path, apis="api.example.test").to_dict(), "same-nat-ip")
    assert (found["verdict"], "-i any" in str(found["needs"])) == ("undecided", True)


def test_a_capture_that_begins_late_has_the_target_by_its_address(tmp_path: Path) -> None:
    """Its ClientHellos are of before; the VM's capture shows at which address the name is."""
    vm, host = Machine(), Machine()
    (one,) = hellos(1)
    talk = Talk((VM, 40001), API, 1, one, 1 << 20)
    vm.see(talk, *VM_SIDE)
    nat(None, host, replace(talk, begins=1.5), 50001)
    host.see(Talk((EGRESS, 50009), ("198.51.100.99", 443), 1.2, one, 9 << 20, begins=1.5), *LEAVES)  # another server, nameless as well
    found = analysed(tmp_path, vm=vm, host=host)
    assert not any("shows no connection" in note for note in found["quality"]["notes"])
    assert found["counts"]["exchanges"] == 3  # one was before, and is in the VM's capture alone


def test_other_apis_of_the_targets_provider() -> None:
    asked = SimpleNamespace(
        connections={"sni": np.array(["api.z.ai", "open.bigmodel.cn", "api.other.test", "z.ai"], object)},
        target=np.array([True, False, False, False]),
        capture=SimpleNamespace(table=lambda _: {"session_id": np.arange(3)}),
        connection_of={0: 0, 1: 1, 2: 2, 3: 3},
    )
    assert target.of_same_provider(asked) == ["open.bigmodel.cn"]  # type: ignore[arg-type]  # nothing is asked of z.ai


def test_another_name_at_the_same_address_is_no_silence_of_the_host(tmp_path: Path) -> None:
    vm, host = Machine(), Machine()
    (one,), (other,) = hellos(1), hellos(1, "chat.example.test")
    nat(vm, host, Talk((VM, 40001), API, 1, one, 1 << 20), 50001)
    host.see(Talk((EGRESS, 50003), API, 1.3, other, 3 << 20, (650,)), *LEAVES)
    assert cause(analysed(tmp_path, vm=vm, host=host), "same-nat-ip")["verdict"] == "undecided"


def with_another_name(captures: Path, there: Path) -> None:
    """A recording as if the host's programs asked for another name, and the provider counted both."""
    shutil.copytree(captures / "same-nat-ip-nat", there)
    vm, host = (gzip.decompress((there / f"{side}.pcap.gz").read_bytes()) for side in ("vm", "host"))
    renamed = bytearray(host)
    for hello in re.finditer(rb"\x16\x03\x01..\x01...\x03\x03(.{32})", host, re.DOTALL):
        if hello[1] not in vm:
            at = host.index(b"api.z.ai", hello.end())
            renamed[at : at + 8] = b"alt.z.ai"
    (there / "host.pcap.gz").write_bytes(gzip.compress(renamed, 1))


def test_another_name_at_the_same_address_is_counted_where_that_explains_the_refusals(captures: Path, tmp_path: Path) -> None:
    there = tmp_path / "recording"
    with_another_name(captures, there)
    before, after = netlens.analyze(captures / "same-nat-ip-nat"), netlens.analyze(there)
    assert after.target.names == ["api.z.ai", "alt.z.ai"]
    assert (after.counts["exchanges"], after.cause) == (before.counts["exchanges"], "same-nat-ip")
    others = next(party.requests for party in before.parties if party.name == "host")
    (said,) = (note for note in after.to_dict()["quality"]["notes"] if "alt.z.ai" in note)
    assert said.startswith(f"{others} requests to alt.z.ai at the same address are counted as well: with them the limit separates")


def test_of_two_known_servers_the_one_that_refused_is_the_target(captures: Path, tmp_path: Path) -> None:
    """As if a connection of the VM without a refusal were one to another API."""
    recording = captures / "own-concurrency-excluded"
    before = netlens.analyze(recording)
    up, r = before.assembled.upstream, before.assembled.situation.requests
    refused = set(up.owner[before.assembled.rows[r.rejected == REJECTED, 0]].tolist())
    assert before.assembled.pairing is not None
    mine = np.flatnonzero((before.assembled.pairing.vm_of >= 0) & up.target).tolist()
    spared = next(row for row in mine if row not in refused)
    hellos_of = up.capture.table("hellos")
    random = next(
        h for k, h in zip(hellos_of["session_id"].tolist(), hellos_of["random"].tolist(), strict=True) if k in up.session_ids[spared]
    )
    given = {}
    for side in ("vm", "host"):
        whole = gzip.decompress((recording / f"{side}.pcap.gz").read_bytes())
        for found in re.finditer(re.escape(bytes.fromhex(random)), whole):
            at = whole.index(b"api.z.ai", found.end())
            whole = whole[:at] + b"alt.z.ai" + whole[at + 8 :]
        given[side] = tmp_path / f"{side}.pcap"
        given[side].write_bytes(whole)
    logs = {f"{side}_errors": str(recording / f"{side}-errors.log") for side in ("vm", "host")}
    after = netlens.analyze(**given, **logs)  # type: ignore[arg-type]
    assert (after.target.names, after.cause) == (["api.z.ai"], "own-concurrency")
    assert after.target.why == "a known LLM API; no request to alt.z.ai was refused"
    assert after.counts["rejections"] == before.counts["rejections"]
    assert after.counts["exchanges"] < before.counts["exchanges"]


def beginning(capture: bytes, seconds: int) -> bytes:
    """The first seconds of a capture in the classic format of a little-endian machine."""
    at, first = 24, struct.unpack_from("<I", capture, 24)[0]
    while at < len(capture) and struct.unpack_from("<I", capture, at)[0] < first + seconds:
        at += 16 + struct.unpack_from("<I", capture, at + 8)[0]
    return capture[:at]


def test_another_name_at_the_same_address_is_counted_where_only_its_refusals_are_certain(captures: Path, tmp_path: Path) -> None:
    there = tmp_path / "recording"
    with_another_name(captures, there)
    for side in ("vm", "host"):  # too few answers of the VM's own to tell refusals by their size
        path = there / f"{side}.pcap.gz"
        path.write_bytes(gzip.compress(beginning(gzip.decompress(path.read_bytes()), 4), 1))
    log = there / "vm-errors.log"
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True) if "High concurrency" not in line))
    after = netlens.analyze(there)
    assert after.target.names == ["api.z.ai", "alt.z.ai"]
    (said,) = (note for note in after.to_dict()["quality"]["notes"] if "alt.z.ai" in note)
    assert said.endswith("refusals can be seen, without 0, and neither shows a limit")


@pytest.mark.parametrize("translated", [False, True])
def test_a_port_of_a_bridge_takes_what_is_addressed_to_others(translated: bool, tmp_path: Path) -> None:
    vm, host = Machine(), Machine()
    (one,) = hellos(1)
    talk = Talk((VM, 40001), API, 1, one, 1 << 20)
    vm.see(talk, *VM_SIDE)
    host.see(talk, (4, True), late=50e-6, to_others=True)
    host.see(replace(talk, client=(EGRESS, 50001)) if translated else talk, *LEAVES, late=60e-6)
    found = analysed(tmp_path, vm=vm, host=host)
    assert found["chains"] == {"bridge>nat" if translated else "bridge": 1}


def test_several_relays_one_after_the_other(tmp_path: Path) -> None:
    vm, host = Machine(), Machine()
    one, two = hellos(2)
    local = Talk(("127.0.0.1", 39999), ("127.0.0.1", 8889), 0.999, one, 5 << 20, negotiation=CONNECT)
    asked = Talk((VM, 40001), (BRIDGE, 8888), 1, one, 1 << 20, negotiation=CONNECT)
    vm.see(local, (1, False), kind=772).see(asked, *VM_SIDE)
    host.see(asked, *THROUGH_NAT, late=50e-6)
    host.see(Talk((EGRESS, 50001), API, 1.0005, one, 7 << 20), *LEAVES)
    host.see(Talk((EGRESS, 50003), API, 1.3, two, 3 << 20, (650,)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert requests(found) == {"VM": 3, "host": 1}
    assert found["counts"]["exchanges"] == 4


def test_an_older_connection_of_a_container_is_found_by_the_address_that_leaves(tmp_path: Path) -> None:
    """The VM translates for the container, and its capture begins after the handshakes: neither numbers nor hellos tell."""
    vm, host = Machine(), Machine()
    one, two = hellos(2)
    inner = Talk(("172.17.0.2", 40001), API, 1, one, 1 << 20)
    outer = replace(inner, client=(VM, 40001))
    vm.see(replace(inner, begins=1.05), (5, True)).see(replace(outer, begins=1.05), *VM_SIDE, late=20e-6)
    nat(None, host, outer, 50001)
    host.see(Talk((EGRESS, 50003), API, 1.3, two, 3 << 20, (650,)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert found["counts"]["exchanges"] == 4
    assert requests(found)["VM"] == 3


def test_where_no_name_was_captured_the_target_is_guessed_and_said(tmp_path: Path) -> None:
    host = Machine()
    (one,) = hellos(1)
    nat(None, host, Talk((VM, 40001), API, 1, one, 1 << 20, begins=1.05), 50001)
    found = analysed(tmp_path, host=host)
    assert found["target"]["guessed"]
    assert found["target"]["addresses"] == [SERVER]
    assert any("the captures show no server's name" in note for note in found["quality"]["notes"])


def test_guests_of_a_host_that_alone_was_captured_are_parties(tmp_path: Path) -> None:
    host = Machine()
    one, two = hellos(2)
    nat(None, host, Talk((VM, 40001), API, 1, one, 1 << 20), 50001)
    nat(None, host, Talk((OTHER, 40002), API, 1.2, two, 2 << 20, (600, 800)), 50002)
    found = analysed(tmp_path, host=host)
    assert requests(found) == {"VM": 3, "host": 0, f"other VM, {OTHER}": 2}


def test_what_is_named_is_not_doubted_from_an_address(tmp_path: Path) -> None:
    """The capture given as the host's was made on a machine with a guest's address; no packet proves anything else."""
    host = Machine()
    (one,) = hellos(1)
    host.see(Talk((VM, 40001), API, 1, one, 1 << 20), *VM_SIDE)
    found = analysed(tmp_path, host=host)
    assert not any("swapped" in note for note in found["quality"]["notes"])


@pytest.mark.parametrize(
    ("unanswered", "broken_off", "left"),
    [("client", 1, 0), ("server", 0, 1), ("alert", 0, 1), ("tickets", 1, 0), ("resets", 1, 1), ("", 0, 0)],
)
def test_who_left_a_request_without_an_answer(unanswered: str, broken_off: int, left: int, tmp_path: Path) -> None:
    host = Machine()
    (one,) = hellos(1)
    sizes = (500,) if unanswered == "tickets" else (500, 700, 900)
    host.see(Talk((EGRESS, 50001), API, 1, one, 1 << 20, sizes, unanswered=unanswered), *LEAVES)
    host.write(tmp_path / "host.pcap")
    (tmp_path / "errors.log").write_text("2020-01-01T00:00:00.000Z INFO x\n2030-01-01T00:00:00.000Z INFO x\n")
    found = netlens.analyze(host=tmp_path / "host.pcap", host_errors=str(tmp_path / "errors.log"), apis="api.example.test")
    r = found.assembled.situation.requests
    assert r.broken_off.sum() == broken_off
    assert found.assembled.situation.facts["left"] == left
    assert (r.rejected == UNLABELLED).sum() == left
    assert ("got no answer, as the server closed or reset the connection" in answer.findings_headline(found)[-1].text) is bool(left)


def test_what_is_done_when_it_is_over_is_not_done_a_moment_earlier(captures: Path) -> None:
    """Times of two clocks differ by nanoseconds, in which a capped program would send the next request and meet the last one."""
    for name in ("own-concurrency-excluded", "zombie-excluded", "provider-excluded", "zombie-direct"):
        r = netlens.analyze(captures / name).assembled.situation.requests
        early = r.end_ns - r.done_ns
        assert not ((early > 0) & (early < 1_000_000)).any()


@pytest.mark.parametrize(("leaves_as", "apart"), [(VM, True), (EGRESS, False)])
def test_sides_that_leave_from_different_addresses_share_no_address(leaves_as: str, apart: bool, tmp_path: Path) -> None:
    vm, host = Machine(), Machine()
    one, other = hellos(2)
    talk = Talk((VM, 40001), API, 1, one, 1 << 20)
    vm.see(talk, *VM_SIDE).write(tmp_path / "vm.pcap")
    host.see(talk, (4, True), late=50e-6).see(replace(talk, client=(leaves_as, 40001)), *LEAVES, late=60e-6)
    host.see(Talk((EGRESS, 50003), API, 1.3, other, 3 << 20), *LEAVES).write(tmp_path / "host.pcap")
    found = netlens.analyze(tmp_path, apis="api.example.test")
    assert found.assembled.situation.facts["apart"] is apart


@pytest.mark.parametrize("addresses", [1, 2])
def test_a_second_address_in_the_vm_is_another_program(addresses: int, tmp_path: Path) -> None:
    vm = Machine()
    for k, hello in enumerate(hellos(addresses)):
        vm.see(Talk((VM if not k else "172.17.0.2", 40001 + k), API, 1 + k, hello, (k + 1) << 20), *VM_SIDE)
    vm.write(tmp_path / "vm.pcap")
    found = netlens.analyze(vm=tmp_path / "vm.pcap", apis="api.example.test")
    assert fixes.context(found.assembled, None, False).at_once == addresses


def test_what_is_redirected_to_a_program_that_asks_a_proxy_here(tmp_path: Path) -> None:
    """redsocks and a SOCKS server, on the host: the VM's connection comes in, and only the second of its successors leaves."""
    vm, host = Machine(), Machine()
    theirs, own = hellos(2)
    sizes = tuple(400 + 37 * k for k in range(8))
    talk = Talk((VM, 40001), API, 1, theirs, 1 << 20, sizes, every=0.9)
    vm.see(talk, *VM_SIDE)
    host.see(talk, *THROUGH_NAT, late=50e-6)
    socks = b"\x05\x01\x00", b"\x05\x00"
    host.see(
        replace(talk, client=("127.0.0.1", 41001), server=("127.0.0.1", 1080), isn=2 << 20, negotiation=socks),
        (1, True),
        late=80e-6,
        kind=HERE,
    )
    host.see(replace(talk, client=(EGRESS, 50001), isn=3 << 20), *LEAVES, late=110e-6)
    host.see(Talk((EGRESS, 50002), API, 1.4, own, 4 << 20, (650, 750)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert requests(found) == {"VM": 8, "host": 2}
    assert found["counts"]["exchanges"] == 10


@pytest.mark.parametrize("redirected", [True, False])
def test_what_a_relay_in_the_vm_passes_on_to_one_on_the_host_counts_once(redirected: bool, tmp_path: Path) -> None:
    """redsocks in the VM, or a proxy that its programs ask, and a SOCKS server on the host, of which only what leaves was captured: that has the bytes of what
    the program sent, and so is like the connection that does not leave the VM."""
    vm, host = Machine(), Machine()
    sizes = tuple(400 + 37 * k for k in range(8))
    for k, hello in enumerate(hellos(3)):
        talk = Talk((VM, 41001 + k), API, 1 + k, hello, (1 + k) << 20, sizes, every=0.9)
        if redirected:
            vm.frames += [(t, 1, IN, HERE, packet) for t, up, packet in talk.packets() if not up]
            vm.see(replace(talk, server=("127.0.0.1", 12345), one_way=True), (1, True), kind=HERE)
        else:
            vm.see(replace(talk, server=("127.0.0.1", 3128), client=("127.0.0.1", 41001 + k), negotiation=CONNECT), (1, True), kind=HERE)
        vm.see(replace(talk, client=(VM, 42001 + k), server=(BRIDGE, 1080), isn=(11 + k) << 20, negotiation=SOCKS), *VM_SIDE, late=100e-6)
        host.see(replace(talk, client=(EGRESS, 50001 + k), isn=(21 + k) << 20), *LEAVES, late=300e-6)
    assert requests(analysed(tmp_path, vm=vm, host=host)) == {"VM": 24, "host": 0}


@dataclass
class Varied(Talk):
    """Answers of different sizes."""

    def turns(self) -> Iterator[tuple[float, bool, int, bytes]]:
        yield from (
            (t, up, flags, request(300 + len(self.sizes) * int(t * 10) % 977) if data == ANSWER else data)
            for t, up, flags, data in super().turns()
        )


@pytest.mark.parametrize(("begins", "paired"), [(0.0, True), (5.0, False)])
def test_behind_a_relay_the_target_is_told_by_what_it_carries_on_where_no_hello_was_captured(
    begins: float, paired: bool, tmp_path: Path
) -> None:
    """HAProxy passes on TLS to the provider, and the host's own requests go there too. All hellos are cut, but for one to another name. Where the beginning was
    captured, the connections are known to be the same."""
    vm, host = Machine(), Machine()
    theirs, own = (hello[:90] for hello in hellos(2))
    (other,) = hellos(1, "other.example.test")
    sizes = tuple(400 + 37 * k for k in range(24))
    talk = Varied((VM, 40001), (BRIDGE, 443), 1, theirs, 1 << 20, sizes, every=0.913)
    vm.see(talk, *VM_SIDE)
    host.see(replace(talk, client=(EGRESS, 50001), server=API, isn=3 << 20, begins=begins), *LEAVES, late=110e-6)
    host.see(Varied((EGRESS, 50002), API, 5.4, own, 4 << 20, (650, 750, 810), every=1.7), *LEAVES)
    host.see(Varied((EGRESS, 50003), API, 5.7, other, 5 << 20, (650, 850)), *LEAVES)
    host.see(Varied((EGRESS, 50004), ("198.51.100.11", 443), 5.9, own, 6 << 20, (550, 750)), *LEAVES)
    for name, machine in (("vm", vm), ("host", host)):
        machine.write(tmp_path / f"{name}.pcap")
    found = netlens.analyze(tmp_path, apis=BRIDGE)
    assert found.assembled.sides["host"].target.sum() == 2
    assert found.to_dict()["target"]["addresses"] == [SERVER]
    assert requests(found.to_dict()) == {"VM": 24, "host": 3 * paired}


@pytest.mark.parametrize("through_the_host", [True, False], ids=["to a server on the host", "to a server elsewhere"])
def test_a_proxy_that_encrypts_anew(through_the_host: bool, tmp_path: Path) -> None:
    """Shadowsocks: the program's hello comes out of the server on the host, or does not come out where anybody looks."""
    vm, host = Machine(), Machine()
    theirs, own = hellos(2)
    sizes = tuple(400 + 37 * k for k in range(8))
    talk = Talk((VM, 40001), API, 1, theirs, 1 << 20, sizes, every=0.9)
    vm.see(
        replace(talk, client=("127.0.0.1", 41001), server=("127.0.0.1", 1080), negotiation=(b"\x05\x01\x00", b"\x05\x00")),
        (1, True),
        kind=HERE,
    )
    node = (BRIDGE, 8388) if through_the_host else ("198.51.100.70", 8388)
    sealed = replace(talk, server=node, isn=2 << 20, hello=bytes(range(7, 7 + 200)) + bytes(300))
    vm.see(sealed, *VM_SIDE, late=30e-6)
    host.see(sealed, *THROUGH_NAT, late=60e-6)
    if through_the_host:
        host.see(replace(talk, client=(EGRESS, 50001), isn=3 << 20), *LEAVES, late=110e-6)
    else:
        host.see(replace(sealed, client=(EGRESS, 50001)), *LEAVES, late=70e-6)
    host.see(Talk((EGRESS, 50002), API, 1.4, own, 4 << 20, (650, 750)), *LEAVES)
    found = analysed(tmp_path, vm=vm, host=host)
    assert found["counts"]["exchanges"] == 10
    assert not [each for each in found["findings"] if each["severity"] == "problem"]
    if through_the_host:
        assert requests(found) == {"VM": 8, "host": 2}


@dataclass
class Streamed(Talk):
    """Answers in pieces, each a TLS record, and a last chunk in one of its own; the last answer is left after so many pieces, by a FIN (0: it is not left)."""

    left_after: int = 0
    chunked: bool = True

    def turns(self) -> Iterator[tuple[float, bool, int, bytes]]:
        yield from list(super().turns())[:5]  # handshake and hellos
        t, pieces = self.start, 6
        for k, size in enumerate(self.sizes):
            at = t + 0.1 + k * self.every
            yield at, True, PSH | ACK, request(size)
            last = k == len(self.sizes) - 1
            for piece in range(self.left_after if last and self.left_after else pieces):
                yield at + 0.05 + 0.1 * piece, False, PSH | ACK, request(200)
            if last and self.left_after:
                yield at + 0.05 + 0.1 * self.left_after, True, FIN | ACK, b""
                yield at + 0.051 + 0.1 * self.left_after, False, FIN | ACK, b""
                return
            if self.chunked:
                yield at + 0.051 + 0.1 * (pieces - 1), False, PSH | ACK, request(22)
        over = t + 0.1 + (len(self.sizes) - 1) * self.every + 0.1 * pieces
        yield over, True, FIN | ACK, b""
        yield over + 0.001, False, FIN | ACK, b""


@pytest.mark.parametrize(("chunked", "expected"), [(True, 1), (False, 0)], ids=["ends are seen", "ends are not seen"])
def test_a_program_that_closes_in_the_middle_of_a_stream_breaks_it_off(chunked: bool, expected: int, tmp_path: Path) -> None:
    """The server closes as well, at once, so that nothing comes behind the FIN; only the last chunk is missing, which other answers have."""
    host = Machine()
    first, second = hellos(2)
    host.see(Streamed((EGRESS, 50001), API, 1.0, first, 1 << 20, tuple(500 + 10 * k for k in range(8)), 1.5, chunked=chunked), *LEAVES)
    host.see(Streamed((EGRESS, 50002), API, 2.0, second, 2 << 20, (700, 720), 1.5, left_after=3, chunked=chunked), *LEAVES)
    host.write(tmp_path / "host.pcap")
    broken = netlens.analyze(tmp_path, apis="api.example.test").weighed.weighing.situation.requests.broken_off
    assert int(broken.sum()) == expected


class RefusedByItsHead(Talk):
    """Two requests, the second of which is answered before the program has sent more than its head; it closes when it has sent the rest."""

    def turns(self) -> Iterator[tuple[float, bool, int, bytes]]:
        yield from list(super().turns())[:5]  # handshake and hellos
        t = self.start + 0.1
        for at, up, size in (
            (t, True, 900),
            (t + 0.3, False, 400),
            (t + 1, True, 546),
            (t + 1.0003, False, 349),
            (t + 1.003, True, self.sizes[0]),
        ):
            yield at, up, PSH | ACK, request(size)
        yield t + 1.004, True, FIN | ACK, b""
        yield t + 1.0042, False, FIN | ACK, b""


def test_the_rest_of_a_request_that_was_refused_by_its_head_is_no_request(tmp_path: Path) -> None:
    host = Machine()
    for k, hello in enumerate(hellos(3)):
        host.see(RefusedByItsHead((EGRESS, 50001 + k), API, 1.0 + 3 * k, hello, (1 + k) << 20, (2_000 + 40 * k,)), *LEAVES)
    assert analysed(tmp_path, host=host)["counts"]["exchanges"] == 6


def test_a_request_that_is_left_later_is_one(tmp_path: Path) -> None:
    """The server closes without an answer, as it does when it restarts; the program had read the answer before and thought about it."""
    host = Machine()
    (hello,) = hellos(1)
    host.see(Talk((EGRESS, 50001), API, 1.0, hello, 1 << 20, (500, 700, 900), unanswered="server"), *LEAVES)
    assert analysed(tmp_path, host=host)["counts"]["exchanges"] == 3


class LeftAtOnce(Talk):
    """Two requests, the second right behind the answer to the first, when the server closes: nobody reads it."""

    def turns(self) -> Iterator[tuple[float, bool, int, bytes]]:
        yield from list(super().turns())[:5]  # handshake and hellos
        t = self.start + 0.1
        for at, up, size in ((t, True, 2000), (t + 0.8, False, 400), (t + 0.803, True, 2100)):
            yield at, up, PSH | ACK, request(size)
        yield t + 0.813, False, FIN | ACK, b""
        yield t + 0.814, True, FIN | ACK, b""


def test_a_request_that_meets_the_close_of_its_connection_is_one(tmp_path: Path) -> None:
    host = Machine()
    for k, hello in enumerate(hellos(5)):
        host.see(LeftAtOnce((EGRESS, 50001 + k), API, 1.0 + 5 * k, hello, (1 + k) << 20), *LEAVES)
    assert analysed(tmp_path, host=host)["counts"]["exchanges"] == 10


def test_behind_a_relay_that_ends_tls_the_vms_capture_tells_what_was_refused(tmp_path: Path) -> None:
    """No connection is in both captures, so what the VM's log says belongs to none of the host's."""
    vm, host = Machine(), Machine()
    every = list(hellos(8))
    lines = []
    for k in range(4):
        start = 1 + 4 * k
        vm.see(Talk((VM, 40001 + k), API, start, every[k], (1 + k) << 20), *VM_SIDE)
        host.see(Talk((EGRESS, 50001 + k), API, start + 0.02, every[4 + k], (9 + k) << 20, shorter=0.03), (2, True))
        lines.append(
            f"{datetime.fromtimestamp(T0 + start + 1.4005, UTC):%Y-%m-%dT%H:%M:%S.%f}Z curl: (22) The requested URL returned error: 429\n"
        )
    vm.write(tmp_path / "vm.pcap")
    host.write(tmp_path / "host.pcap", 2)
    (tmp_path / "vm-errors.log").write_text("".join(lines))
    found = netlens.analyze(tmp_path, apis="api.example.test")
    assert found.assembled.upstream.name == "vm"
    r = found.assembled.situation.requests
    assert len(r) == 12
    assert (r.rejected[1::3] == REJECTED).all()
    assert any(
        note.startswith("nothing tells which of the host's 4 connections to api.example.test carries") for note in found.quality["notes"]
    )
    assert [found.peaks[each] for each in ("vm", "host", "combined")] == [1, None, None]
    verdicts = {v.id: v for v in found.hypotheses}
    assert verdicts["same-nat-ip"].verdict == verdicts["multiplexing"].verdict == "undecided"
    assert "no relay on the way ends TLS" in (verdicts["same-nat-ip"].needs or "")
