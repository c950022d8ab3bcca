"""Geneve (RFC 8926): Ethernet or another EtherType behind options. On other ports it is not told from other UDP."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import BLANK, ETHERNET, KEPT, is_likely
from netlens.wire.loads import be16, byte
from netlens.wire.tunnels._kinds import NO_TUNNEL, PORT, TEB

KINDS = {PORT | 6081: "Geneve"}
ENTERED = "in_geneve", "packets inside Geneve (UDP 6081): read in place of the outer one"


@lean
def header(buf, o, cap, length, kind):
    if cap < 8:
        return NO_TUNNEL
    inner, size = be16(buf, o + 2), 8 + (byte(buf, o) & 63) * 4
    if byte(buf, o) >> 6 != 0 or byte(buf, o + 1) & 63 != 0 or byte(buf, o + 7) != 0 or size > cap:
        return NO_TUNNEL
    if inner == TEB:
        return size, np.int64(ETHERNET)
    return (size, inner) if is_likely(inner) else NO_TUNNEL


@lean
def content(buf, o, size, i, kind):
    """Not the options."""
    return np.int64(KEPT if i < 8 else BLANK)
