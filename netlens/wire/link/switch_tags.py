"""Tags of switch chips in Ethernet frames, as Linux hears them on its port to the switch (DSA): Broadcom's and Marvell's, behind or before the addresses."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, KEPT, LINK, MAC
from netlens.wire.loads import be16

BROADCOM, BROADCOM_FIRST, MARVELL, MARVELL_ETHERTYPE = LINK | 281, LINK | 282, LINK | 284, LINK | 285
KINDS = {
    BROADCOM: "Ethernet with Broadcom's tags", BROADCOM_FIRST: "Ethernet behind Broadcom's tags",
    MARVELL: "Ethernet with Marvell's tags", MARVELL_ETHERTYPE: "Ethernet with Marvell's tags and EtherType",
}  # fmt: skip
_ETHERNET = LINK | 1
ADDRESSES, TAG, LONG_TAG = 12, 4, 8


@lean
def header(buf, o, cap, kind):
    size = np.int64(TAG)
    if kind != BROADCOM_FIRST:
        size = np.int64(ADDRESSES + (LONG_TAG if kind == MARVELL_ETHERTYPE else TAG) + 2)
    if cap < size:
        return np.int64(CUT), kind, np.int64(0)
    return size, np.int64(_ETHERNET) if kind == BROADCOM_FIRST else be16(buf, o + size - 2), np.int64(0)


@lean
def content(buf, o, size, i, kind):
    return np.int64(MAC if i < ADDRESSES and kind != BROADCOM_FIRST else KEPT)
