"""Provider backbone (802.1ah): an I-TAG, and the customer's Ethernet header."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, KEPT, MAC
from netlens.wire.loads import be16

KINDS = {0x88E7: "802.1ah"}


@lean
def header(buf, o, cap, kind):
    if cap < 18:
        return np.int64(CUT), kind, np.int64(0)
    return np.int64(18), be16(buf, o + 16), np.int64(0)


@lean
def content(buf, o, size, i, kind):
    return np.int64(MAC if 4 <= i < 16 else KEPT)
