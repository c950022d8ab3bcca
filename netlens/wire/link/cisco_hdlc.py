"""Cisco HDLC: address, control, EtherType."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, LINK, all_kept
from netlens.wire.loads import be16

KINDS = {LINK | 104: "Cisco HDLC"}
content = all_kept


@lean
def header(buf, o, cap, kind):
    if cap < 4:
        return np.int64(CUT), kind, np.int64(0)
    return np.int64(4), be16(buf, o + 2), np.int64(0)
