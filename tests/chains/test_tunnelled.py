"""Tunnels that encrypt whole packets are named, and their time is theirs; what looks like them from outside is not."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

import netlens
from tests.chains.build_chain import EGRESS, IN, OUT, SERVER, Machine, Talk, hellos
from tests.parsers.test_pipeline import datagram

VM, HOST, INSIDE = "192.168.122.2", "192.168.122.1", "10.7.0.2"
WIREGUARD = [b"\1\0\0\0" + bytes(144), b"\2\0\0\0" + bytes(88)]  # initiation and response; then data
OPENVPN = [b"\x38" + bytes(range(8)) + bytes(5), b"\x40" + bytes(range(8)) + bytes(17)]
WAY = 0.03  # between the two captures
TUN, CARRIER = 3, 2  # interfaces


def between(machines: tuple[Machine, Machine], up: bool, at: float, port: int, data: bytes) -> None:
    """A datagram of the tunnel, as both captures show it."""
    ends = ((VM, 50_000), (HOST, port))
    (source, sport), (destination, dport) = ends if up else ends[::-1]
    packet = datagram(source, sport, destination, dport, data)
    for k, machine in enumerate(machines):
        late = WAY * (k if up else 1 - k)
        machine.frames.append((at + late, CARRIER, OUT if (k == 0) == up else IN, 1, packet))


def captured(folder: Path, opening: list[bytes], port: int, inside: str = INSIDE, share: float = 1.0, until: float = 9.0) -> dict[str, Any]:
    """Connections that are translated on the host, and a tunnel that opens like this, and carries ``share`` times as many bytes."""
    vm, host = machines = Machine(), Machine()
    for k, hello in enumerate(hellos(2)):
        talk = Talk((inside, 40_001 + k), (SERVER, 443), 1 + 3.5 * k, hello, (1 + k) << 20)
        for t, up, packet in talk.packets():
            here, there = (t, t + WAY) if up else (t + WAY, t)
            vm.frames.append((here, TUN, OUT if up else IN, 1, packet))
            host.frames.append((there, TUN, IN if up else OUT, 1, packet))
            if opening and here < until:
                between(machines, up, min(here, there) - 1e-5, port, b"\4\0\0\0" + bytes(int(share * (len(packet) + 28))))
        outside = Talk((EGRESS, 50_001 + k), (SERVER, 443), 1 + WAY + 2e-6 + 3.5 * k, hello, (1 + k) << 20)
        host.see(outside, (4, False))
    for k, data in enumerate(opening):
        between(machines, k == 0, 0.1 + k, port, data)
        between(machines, k == 0, 8.5 + k, port, data)
    for name, machine in (("vm", vm), ("host", host)):
        machine.write(folder / f"{name}.pcap")
    document: dict[str, Any] = netlens.analyze(folder, apis="api.example.test").to_dict()
    return document


def relays(document: dict[str, Any]) -> set[str]:
    return {relay for each in document["budget"]["requests"] for relay in each["relays"]}


@pytest.mark.parametrize(("opening", "port"), [(WIREGUARD, 51820), (WIREGUARD, 4711), (OPENVPN, 1194)])
def test_a_tunnel_that_encrypts_is_named(opening: list[bytes], port: int, tmp_path: Path) -> None:
    found = captured(tmp_path, opening, port)
    assert found["chains"] == {"tunnel>nat": 2}
    assert relays(found) == {"tunnel"}


@pytest.mark.parametrize(
    ("opening", "more"),
    [
        ([], {}),  # none
        (WIREGUARD, {"share": 5.0}),  # it carries something else besides, or instead
        (WIREGUARD, {"share": 0.2}),
        (WIREGUARD, {"inside": VM}),  # what has the address of the outside goes beside it
        ([bytes(60), bytes(60)], {}),  # no tunnel
    ],
)
def test_without_a_tunnel_the_time_is_the_line_s_and_never_that_of_translation(
    opening: list[bytes], more: dict[str, Any], tmp_path: Path
) -> None:
    found = captured(tmp_path, opening, 51820 if opening == WIREGUARD else 4711, **more)
    assert found["chains"] == {"nat": 2}
    assert relays(found) == {"network"}


@pytest.mark.parametrize("port", [1194, 4711])
@pytest.mark.parametrize("openvpn", [True, False])
def test_openvpn_over_tcp_is_not_taken_for_the_api(port: int, openvpn: bool, tmp_path: Path) -> None:
    """By its port or by its opening; another protocol nearby that has most requests is what is asked about."""
    from tests.lenses.made import close, exchange, talk
    from tests.parsers.build import MS, S, mixed, write

    made = talk(40_001, server=(HOST, port))
    reset = struct.pack(">H", 14) + b"\x38" + bytes(range(8)) + bytes(5)
    exchange(made, reset if openvpn else b"PING 4711\r\n", reset if openvpn else b"PONG 4711\r\n", wait=MS)
    for _ in range(20):
        exchange(made, struct.pack(">H", 300) + b"\x48" + bytes(299), struct.pack(">H", 900) + b"\x48" + bytes(899), wait=20 * MS)
    asked = [close(exchange(talk(41_000, at=10 * S))).packets]
    a = netlens.analyze(str(write(tmp_path / "made.pcap", mixed(close(made).packets, *asked))))
    document = a.to_dict()
    tunnel = openvpn or port == 1194
    assert (HOST in document["target"]["addresses"]) != tunnel
    if tunnel:
        assert not any(g["server"].startswith(HOST) for g in document["budget"]["groups"])
