"""Teredo: IPv6 alone, behind an origin indication, behind authentication, and from the server."""

from __future__ import annotations

from collections.abc import Callable

from tests.wire.helpers import ip4, udp

OUTER = {"src": "203.0.113.1", "dst": "203.0.113.2"}
ORIGIN = b"\0\0\x1f\x90\x34\xff\x8e\x54"
AUTHENTICATION = b"\0\1\2\3" + b"id" + b"key" + bytes(9)


def teredo(before: bytes, sport: int = 50001, dport: int = 3544) -> Callable[[bytes, int], bytes]:
    return lambda packet, kind: ip4(udp(before + packet, sport=sport, dport=dport), 17, **OUTER)


FORMS = {
    "teredo": ("in_teredo", teredo(b""), True),
    "teredo, origin": ("in_teredo", teredo(ORIGIN, 3544, 50001), True),
    "teredo, authentication": ("in_teredo", teredo(AUTHENTICATION), True),
    "teredo, both": ("in_teredo", teredo(AUTHENTICATION + ORIGIN, 3544, 3544), True),
}
