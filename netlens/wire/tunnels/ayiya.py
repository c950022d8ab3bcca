"""AYIYA (draft-massar-v6ops-ayiya-02): IP in UDP behind who sent it and a signature, as tunnel brokers used it."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import BLANK, IPV4, IPV6, KEPT
from netlens.wire.loads import byte
from netlens.wire.tunnels._kinds import NO_TUNNEL, PORT, SOURCE

KINDS = {PORT | 5072: "AYIYA", SOURCE | 5072: "AYIYA"}
ENTERED = "in_ayiya", "packets inside AYIYA (UDP 5072): read in place of the outer one"
FORWARD = 1  #: the operation whose payload is a packet


@lean
def header(buf, o, cap, length, kind):
    if cap < 8 or byte(buf, o + 2) & 15 != FORWARD:
        return NO_TUNNEL
    size = np.int64(8 + (1 << (byte(buf, o) >> 4)) + (byte(buf, o + 1) >> 4) * 4)
    following = byte(buf, o + 3)
    if size > cap or (following != 4 and following != 41):
        return NO_TUNNEL
    return size, np.int64(IPV4 if following == 4 else IPV6)


@lean
def content(buf, o, size, i, kind):
    """Not the identity, an address as a rule, nor the signature of what is replaced."""
    return np.int64(KEPT if i < 8 else BLANK)
