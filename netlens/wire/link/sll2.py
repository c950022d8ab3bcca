"""Linux cooked capture, version 2: what ``tcpdump -i any`` writes. Protocol, interface, ARPHRD, packet type, address with its length."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import BLANK, CUT, KEPT, LINK, MAC
from netlens.wire.link.sll import protocol
from netlens.wire.loads import be16, be32, byte

KINDS = {LINK | 276: "Linux cooked v2"}
SIZE = 20


@lean
def header(buf, o, cap, kind):
    if cap < SIZE:
        return np.int64(CUT), kind, np.int64(0)
    return np.int64(SIZE), protocol(be16(buf, o)), be32(buf, o + 4) << 8 | byte(buf, o + 10)


@lean
def content(buf, o, size, i, kind):
    if i < 12:
        return np.int64(KEPT)
    return np.int64(MAC if i < 18 and byte(buf, o + 11) == 6 else BLANK)
