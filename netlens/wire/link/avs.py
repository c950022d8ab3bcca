"""AVS (Linux-wlan) before IEEE 802.11: what the card says of a frame, behind a magic number with a version and the header's length."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import BLANK, CUT, END, KEPT, LINK
from netlens.wire.link.ieee80211 import AIR
from netlens.wire.loads import be32

KINDS = {LINK | 163: "IEEE 802.11 with AVS"}
MAGIC = 0x80211000  #: its last digits are the version


@lean
def is_avs(buf, o):
    return be32(buf, o) & 0xFFFFF000 == MAGIC


@lean
def header(buf, o, cap, kind):
    if cap < 8:
        return np.int64(CUT), kind, np.int64(0)
    size = be32(buf, o + 4)
    if not is_avs(buf, o):
        return np.int64(8), np.int64(END), np.int64(0)
    if size < 8 or size > cap:
        return np.int64(CUT), kind, np.int64(0)
    return size, np.int64(AIR), np.int64(0)


@lean
def content(buf, o, size, i, kind):
    """Of what is no such header nothing."""
    return np.int64(KEPT if size >= 8 and is_avs(buf, o) and (i < 8 or be32(buf, o + 4) == size) else BLANK)
