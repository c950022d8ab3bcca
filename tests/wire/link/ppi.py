"""Per-Packet Information before IEEE 802.11, and before Ethernet; with a place on earth, which must not be in a copy."""

import struct

from tests.wire import links
from tests.wire.air import data
from tests.wire.helpers import ethernet

PLACE = struct.pack("<HH", 30002, 12) + b"52.5N 13.4E!"


def common(flags: int = 0, channel: int = 2437, signal: int = -60) -> bytes:
    return struct.pack("<HHQHHHHBBbb", 2, 20, 0, flags, 2, channel, 0, 0, 0, signal, -95)


def ppi(frame: bytes, link: int = links.AIR, fields: bytes = b"") -> bytes:
    return struct.pack("<BBHI", 0, 0, 8 + len(fields), link) + fields + frame


FORMS = {
    "ppi": (links.PPI, lambda p, k: ppi(data(p, k), fields=common()), True),
    "ppi, no fields": (links.PPI, lambda p, k: ppi(data(p, k)), True),
    "ppi, ethernet and a place": (links.PPI, lambda p, k: ppi(ethernet(p, k), links.ETHERNET, PLACE), True),
}
