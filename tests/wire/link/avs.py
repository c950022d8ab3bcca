"""AVS."""

import struct

from tests.wire import links
from tests.wire.air import data


def avs(frame: bytes) -> bytes:
    return struct.pack(">II", 0x80211001, 64) + bytes(56) + frame


FORMS = {"avs": (links.AVS, lambda p, k: avs(data(p, k)), True)}
