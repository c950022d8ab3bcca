"""A clock that is wrong, and how it is written into a capture: every time stamp becomes what that clock would have shown."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from netlens.errors import CaptureError

_UNITS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}  # magic number -> nanoseconds in a unit of the second field


@dataclass(frozen=True)
class Skew:
    """A clock that was ``offset_s`` ahead at ``at_ns`` (true time) and gains ``drift_ppm`` microseconds a second."""

    offset_s: float = 0.0
    drift_ppm: float = 0.0
    at_ns: int = 0

    def shown(self, true_ns: int) -> int:
        """What that clock shows at a true time."""
        return true_ns + round(self.offset_s * 1e9) + round((true_ns - self.at_ns) * self.drift_ppm / 1e6)

    def __bool__(self) -> bool:
        return bool(self.offset_s or self.drift_ppm)


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
