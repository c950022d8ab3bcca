"""802.2 LLC behind an 802.3 length: SNAP with an EtherType (OUI 0 of RFC 1042, or 00-00-F8 of 802.1H), or IP itself (SAP 6)."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, END, IPV4, all_kept
from netlens.wire.loads import be16, byte

LONGEST = 1500  #: what is larger is an EtherType
KINDS = {range(LONGEST + 1): "802.2 LLC"}
content = all_kept


@lean
def header(buf, o, cap, kind):
    if cap < 3:
        return np.int64(CUT), kind, np.int64(0)
    if byte(buf, o) == 0xAA and byte(buf, o + 1) == 0xAA and byte(buf, o + 2) == 3:
        if cap < 8:
            return np.int64(CUT), kind, np.int64(0)
        following = be16(buf, o + 6)
        if be16(buf, o + 3) != 0 or (byte(buf, o + 5) != 0 and byte(buf, o + 5) != 0xF8) or following <= LONGEST:
            following = np.int64(END)
        return np.int64(8), following, np.int64(0)
    return np.int64(3), np.int64(IPV4 if byte(buf, o) == 6 and byte(buf, o + 1) == 6 and byte(buf, o + 2) == 3 else END), np.int64(0)
