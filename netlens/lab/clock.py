"""Writes another clock into a capture: every time stamp becomes what a skewed clock would have shown."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from netlens.errors import CaptureError

if TYPE_CHECKING:
    from netlens.lab.opencode_log import Skew

_UNITS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}  # magic number -> nanoseconds in a unit of the second field


def shift(path: Path, skew: Skew) -> None:
    """Rewrite the times of a pcap file in place; CaptureError if it is none."""
    data = bytearray(path.read_bytes())
    for order in "<>":
        unit = _UNITS.get(struct.unpack_from(order + "I", data)[0]) if len(data) >= 24 else None
        if unit:
            break
    else:
        raise CaptureError(f"{path} is not a pcap file, so its clock cannot be changed")
    record = struct.Struct(order + "III")
    at = 24
    while at + 16 <= len(data):
        seconds, fraction, length = record.unpack_from(data, at)
        ns = skew.shown(seconds * 1_000_000_000 + fraction * unit)
        struct.pack_into(order + "II", data, at, ns // 1_000_000_000, ns % 1_000_000_000 // unit)
        at += 16 + length
    path.write_bytes(data)
