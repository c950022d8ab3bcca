"""Teredo (RFC 4380): IPv6 in UDP between a client and its server or relay, behind an authentication and an origin indication if there are any."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import BLANK, IPV6, KEPT
from netlens.wire.loads import be16, byte
from netlens.wire.tunnels._kinds import NO_TUNNEL, PORT, SOURCE

KINDS = {PORT | 3544: "Teredo", SOURCE | 3544: "Teredo"}
ENTERED = "in_teredo", "packets inside Teredo (UDP 3544): read in place of the outer one"
AUTHENTICATION, ORIGIN = 0x0001, 0x0000


@lean
def header(buf, o, cap, length, kind):
    size = np.int64(0)
    if cap >= 4 and be16(buf, o) == AUTHENTICATION:
        size = np.int64(13 + byte(buf, o + 2) + byte(buf, o + 3))  # identifier and value of these lengths, a nonce, a confirmation
    if size + 2 <= cap and be16(buf, o + size) == ORIGIN:
        size += 8
    if size >= cap or byte(buf, o + size) >> 4 != 6 or (size + 6 <= cap and be16(buf, o + size + 4) > length - size - 40):
        return NO_TUNNEL
    return size, np.int64(IPV6)


@lean
def content(buf, o, size, i, kind):
    """Not who the client is, nor its outer address."""
    return np.int64(KEPT if (i < 4 and be16(buf, o) == AUTHENTICATION) or i < 2 else BLANK)
