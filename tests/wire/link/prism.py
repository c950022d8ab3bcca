"""Prism in both orders of bytes, and AVS by the number of Prism."""

import struct

from tests.wire import links
from tests.wire.air import data
from tests.wire.link.avs import avs


def prism(frame: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "II16s", 0x44, 144, b"wlan0") + bytes(120) + frame


FORMS = {
    "prism": (links.PRISM, lambda p, k: prism(data(p, k)), True),
    "prism of a big-endian machine": (links.PRISM, lambda p, k: prism(data(p, k), ">"), False),
    "prism, avs": (links.PRISM, lambda p, k: avs(data(p, k)), True),
}
