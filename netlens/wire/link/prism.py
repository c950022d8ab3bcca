"""Prism before IEEE 802.11: a message of 144 bytes in the order of the machine that captured, with the name of its interface. AVS goes by its number, too."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import avs
from netlens.wire.link._kinds import BLANK, CUT, KEPT, LINK
from netlens.wire.link.ieee80211 import AIR
from netlens.wire.loads import be32, le32

KINDS = {LINK | 119: "IEEE 802.11 with Prism"}
NAME_AT, NAME_END = 8, 24


@lean
def header(buf, o, cap, kind):
    if cap < 8:
        return np.int64(CUT), kind, np.int64(0)
    if avs.is_avs(buf, o):
        return avs.header(buf, o, cap, kind)
    size = min(le32(buf, o + 4), be32(buf, o + 4))  # of the two orders the one that makes sense
    if size < NAME_END or size > cap:
        return np.int64(CUT), kind, np.int64(0)
    return size, np.int64(AIR), np.int64(0)


@lean
def content(buf, o, size, i, kind):
    """Not the interface's name."""
    if size >= 8 and avs.is_avs(buf, o):
        return avs.content(buf, o, size, i, kind)
    if size < NAME_END or min(le32(buf, o + 4), be32(buf, o + 4)) != size or NAME_AT <= i < NAME_END:
        return np.int64(BLANK)
    return np.int64(KEPT)
