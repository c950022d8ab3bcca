"""CAPWAP data: Ethernet and IEEE 802.11, to the controller and from it, with the radio's address, with frame control as Cisco sends it."""

from __future__ import annotations

from tests.wire.air import FROM_DS, TO_DS, data
from tests.wire.helpers import ethernet, ip4, udp

OUTER = {"src": "203.0.113.1", "dst": "203.0.113.2"}


def capwap(frame: bytes, native: int, more: bytes = b"", last: int = 0, to_controller: bool = True) -> bytes:
    size = 2 + len(more) // 4
    header = bytes([0, size << 3, 0x40 | 1 << 1 | native, last]) + bytes(4) + more
    sport, dport = (32_000, 5247) if to_controller else (5247, 32_000)
    return ip4(udp(header + frame, sport=sport, dport=dport), 17, **OUTER)


def swapped(frame: bytes) -> bytes:
    return frame[1::-1] + frame[2:]


RADIO = b"\6\2\0\0\0\0\1\0"

FORMS = {
    "capwap, ethernet": ("in_capwap", lambda p, k: capwap(ethernet(p, k), 0), True),
    "capwap, cisco's order": ("in_capwap", lambda p, k: capwap(swapped(data(p, k, TO_DS, 5)), 1, RADIO, 0x10), True),
    "capwap, from the controller": ("in_capwap", lambda p, k: capwap(swapped(data(p, k, FROM_DS)), 1, to_controller=False), True),
    "capwap, the standard's order": ("in_capwap", lambda p, k: capwap(data(p, k, FROM_DS, 5), 1, to_controller=False), False),
}
