"""Linux cooked capture: what ``tcpdump -i any`` wrote before version 2. Packet type, ARPHRD, address with its length, protocol."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import BLANK, CUT, END, KEPT, LINK, MAC
from netlens.wire.loads import be16

KINDS = {LINK | 113: "Linux cooked"}
SIZE = 16


@lean
def protocol(value):
    """An EtherType, or 4 (802.2 LLC, parsed like an 802.3 length), 1 (802.3 without LLC) and others, which carry no IP."""
    return np.int64(1500) if value == 4 else value if value > 1500 else np.int64(END | value)


@lean
def header(buf, o, cap, kind):
    if cap < SIZE:
        return np.int64(CUT), kind, np.int64(0)
    return np.int64(SIZE), protocol(be16(buf, o + 14)), be16(buf, o) & 0xFF


@lean
def content(buf, o, size, i, kind):
    if i < 6 or i >= 14:
        return np.int64(KEPT)
    return np.int64(MAC if i < 12 and be16(buf, o + 4) == 6 else BLANK)
