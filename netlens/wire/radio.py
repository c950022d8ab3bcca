"""What was heard on the air: where a frame of IEEE 802.11 begins, and what the card says of it."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import LINK, header, ieee80211, ppi, radiotap

MAX_HEADERS = 3  #: before that of IEEE 802.11: there is one


@lean
def heard(buf, o, cap, link):
    """(start, kind, dBm, MHz) of a frame of ``link`` type: where its header of IEEE 802.11 is, -1 if there is none or the frame is damaged; of which kind it
    is; how loud it was and at which frequency, 0 where that is not told."""
    kind, end = LINK | link, o + cap
    dbm, mhz = np.int64(0), np.int64(0)
    for _ in range(MAX_HEADERS):
        if kind == ieee80211.AIR or kind == ieee80211.PADDED:
            return o, kind, dbm, mhz
        size, following, _where = header(buf, o, end - o, kind)
        if size <= 0:
            break
        if kind == radiotap.RADIOTAP:
            dbm, mhz = radiotap.told(buf, o, end - o)
        elif kind == ppi.PPI:
            dbm, mhz = ppi.told(buf, o, end - o)
        o += size
        kind = following
    return np.int64(-1), kind, dbm, mhz
