"""Ethernet II and 802.3: two hardware addresses, then an EtherType, or a length with LLC behind it."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, KEPT, LINK, MAC
from netlens.wire.loads import be16

KINDS = {LINK | 1: "Ethernet"}
SIZE = 14


@lean
def header(buf, o, cap, kind):
    if cap < SIZE:
        return np.int64(CUT), kind, np.int64(0)
    return np.int64(SIZE), be16(buf, o + 12), np.int64(0)


@lean
def content(buf, o, size, i, kind):
    return np.int64(MAC if i < 12 else KEPT)
