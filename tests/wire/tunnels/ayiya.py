"""AYIYA: with an address as identity and a signature, to the broker and from it."""

from __future__ import annotations

from collections.abc import Callable

from tests.wire.helpers import ip4, udp

OUTER = {"src": "203.0.113.1", "dst": "203.0.113.2"}


def ayiya(first: bytes, more: int, sport: int = 50001, dport: int = 5072) -> Callable[[bytes, int], bytes]:
    def frame(packet: bytes, kind: int) -> bytes:
        header = first + bytes([4 if kind == 0x0800 else 41]) + b"\x12\x34\x56\x78" + bytes(range(more))
        return ip4(udp(header + packet, sport=sport, dport=dport), 17, **OUTER)

    return frame


FORMS = {
    "ayiya": ("in_ayiya", ayiya(b"\x41\x52\x11", 16 + 20), True),
    "ayiya, from the broker, unsigned": ("in_ayiya", ayiya(b"\x21\x00\x01", 4, 5072, 50001), True),
}
