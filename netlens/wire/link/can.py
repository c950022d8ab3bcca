"""SocketCAN: frames of a car's or a machine's bus (ISO 11898-1), which carry no IP. Nothing of the frame is taken for a header, so that all of it is read, and
kept, as what follows one."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import END, LINK, all_kept

CAN = 0x000C  #: Linux' number of the protocol (ETH_P_CAN), which cooked captures have in place of an EtherType
KINDS = {LINK | 227: "CAN"}
content = all_kept


@lean
def header(buf, o, cap, kind):
    return np.int64(0), np.int64(END | CAN), np.int64(0)
