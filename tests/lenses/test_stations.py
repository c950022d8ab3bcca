"""PROFINET devices that are sought by name (DCP Identify), made here: names that nobody has, and such that two have."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from tests.lenses.test_neighbours import MAC, OTHER, found

if TYPE_CHECKING:
    from pathlib import Path

    from scapy.packet import Packet as Layer

Frames = list[tuple[float, "Layer"]]
ALL = "01:0e:cf:00:00:00"
NAME = b"conveyor-3"
THIRD = "00:0e:8c:10:00:06"


def identify(frame: int, kind: int, number: int, option: bytes, data: bytes) -> bytes:
    block = option + struct.pack(">H", len(data)) + data + b"\0" * (len(data) % 2)
    return struct.pack(">HBBIHH", frame, 5, kind, number, 1, len(block)) + block


def asks(at: float, number: int, name: bytes = NAME, vlan: int = 0) -> tuple[float, Layer]:
    header = Ether(src=MAC, dst=ALL, type=0x8100) / Dot1Q(vlan=vlan, type=0x8892) if vlan else Ether(src=MAC, dst=ALL, type=0x8892)
    return at, header / Raw(identify(0xFEFE, 0, number, b"\2\2", name) + bytes(20))


def answers(at: float, number: int, device: str = OTHER, name: bytes = NAME) -> tuple[float, Layer]:
    return at, Ether(src=device, dst=MAC, type=0x8892) / Raw(identify(0xFEFF, 1, number, b"\2\2", b"\0\0" + name))


IN_VAIN: Frames = [asks(2.0 * k, k) for k in range(6)]


def test_a_name_that_no_device_has(tmp_path: Path) -> None:
    this = found(tmp_path, IN_VAIN)["station-names"]
    assert this.severity == "problem"
    assert this.text == f"PROFINET: no device answers to the name conveyor-3: {MAC} asked 6 times over 10.0 s (DCP Identify)."
    assert "station-names" in found(tmp_path, [asks(2.0 * k, k, vlan=7) for k in range(6)])


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([*IN_VAIN, answers(10.1, 5)], id="switched on later"),
        pytest.param(IN_VAIN[:3], id="for a moment"),
        pytest.param([asks(2.0 * k, k, b"device-%d" % k) for k in range(6)], id="many names, each once"),
        pytest.param([asks(2.0 * k, k, b"") for k in range(6)], id="no name"),
        pytest.param([*IN_VAIN[:1], answers(0.1, 0), answers(0.1, 0), *[asks(9.0, 1), answers(9.1, 1, THIRD)]], id="a device that was replaced"),
        pytest.param([asks(0, 0), answers(0.1, 0, name=b""), answers(0.2, 0, THIRD, b"")], id="two without a name"),
        pytest.param([asks(0, 0), answers(0.1, 0), answers(0.2, 0, THIRD, b"conveyor-4")], id="two names"),
        pytest.param([(2.0 * k, Ether(type=0x8892) / Raw(b"\x80\x20" + bytes(40))) for k in range(9)], id="data of a process"),
    ],
)  # fmt: skip
def test_names_that_one_device_has(tmp_path: Path, frames: Frames) -> None:
    assert "station-names" not in found(tmp_path, frames)


def test_a_name_that_two_devices_have(tmp_path: Path) -> None:
    frames = [each for k in range(2) for each in (asks(k, k), answers(k + 0.1, k), answers(k + 0.2, k, THIRD))]
    this = found(tmp_path, frames)["station-names"]
    assert this.severity == "problem"
    assert this.text == f"PROFINET: {THIRD} and {OTHER} answer to the same name, conveyor-3 (4 answers to Identify)."
