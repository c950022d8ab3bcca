"""Tags between hardware addresses and EtherType: 802.1Q, 802.1ad, what came before it (0x9100, 0x9200), and VN-Tag (802.1BR's predecessor)."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, all_kept
from netlens.wire.loads import be16

VN_TAG = 0x8926
KINDS = {0x8100: "802.1Q", 0x88A8: "802.1ad", 0x9100: "QinQ", 0x9200: "QinQ", VN_TAG: "VN-Tag"}
content = all_kept


@lean
def header(buf, o, cap, kind):
    size = np.int64(6 if kind == VN_TAG else 4)
    if size > cap:
        return np.int64(CUT), kind, np.int64(0)
    return size, be16(buf, o + size - 2), np.int64(0)
