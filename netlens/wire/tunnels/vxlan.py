"""VXLAN (RFC 7348; group policy: draft-smith-vxlan-group-policy): Ethernet behind a network's number. On other ports it is not told from other UDP."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import ETHERNET, all_kept, is_likely
from netlens.wire.loads import be16, byte
from netlens.wire.tunnels._kinds import NO_TUNNEL, PORT

KINDS = {PORT | 4789: "VXLAN"}
ENTERED = "in_vxlan", "packets inside VXLAN (UDP 4789): read in place of the outer one"
content = all_kept


@lean
def header(buf, o, cap, length, kind):
    if cap >= 22 and byte(buf, o) & 8 and byte(buf, o + 7) == 0 and is_likely(be16(buf, o + 20)):
        return np.int64(8), np.int64(ETHERNET)
    return NO_TUNNEL
