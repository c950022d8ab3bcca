"""Another clock written into a capture."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from netlens.errors import CaptureError
from netlens.lab import clock
from netlens.lab.clock import Skew


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit"), [(0xA1B2C3D4, 1000), (0xA1B23C4D, 1)])
def test_every_record_is_shifted(tmp_path: Path, order: str, magic: int, unit: int) -> None:
    path = tmp_path / "vm.pcap"
    times = [100 * 10**9 + 5_000_000, 101 * 10**9 + 999_999_000]
    data = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    for ns in times:
        data += struct.pack(order + "IIII", ns // 10**9, ns % 10**9 // unit, 3, 3) + b"abc"
    path.write_bytes(data)
    skew = Skew(2.5, 50.0, 100 * 10**9)
    clock.shift(path, skew)
    shifted = path.read_bytes()
    assert len(shifted) == len(data)
    for number, ns in enumerate(times):
        seconds, fraction = struct.unpack_from(order + "II", shifted, 24 + number * 19)
        assert seconds * 10**9 + fraction * unit == skew.shown(ns) // unit * unit
    assert skew.shown(times[0]) == times[0] + 2_500_000_250


def test_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vm.pcap"
    path.write_bytes(b"no capture at all, but long enough for a header")
    with pytest.raises(CaptureError, match="not a pcap file"):
        clock.shift(path, Skew(1.0))
