"""CAPWAP data (RFC 5415 4.3, RFC 5416 2.2): between an access point and its controller, frames of IEEE 802.11 or Ethernet behind a header of its own.

Cisco's access points send both bytes of frame control in turn; of the two only one can be that of a data frame. Not entered: what DTLS encrypts, and packets
that CAPWAP itself sends in fragments.
"""

import numpy as np

from netlens.wire.compiled import inlined, lean
from netlens.wire.link import BLANK, ETHERNET, KEPT
from netlens.wire.link.ieee80211 import AIR, SWAPPED
from netlens.wire.loads import byte
from netlens.wire.tunnels._kinds import NO_TUNNEL, PORT, SOURCE

KINDS = {PORT | 5247: "CAPWAP data", SOURCE | 5247: "CAPWAP data"}
ENTERED = "in_capwap", "packets inside CAPWAP data (UDP 5247): read in place of the outer one"
NATIVE, FRAGMENT, ALIVE = 0x01, 0x80, 0x08  #: the bit T, of the third byte; F and K, of the fourth
WIRELESS = 1  #: binding of IEEE 802.11


@inlined
def _is_data(control):
    """Whether the first byte of frame control is that of a data frame that holds data."""
    return control & 0x4F == 0x08


@lean
def header(buf, o, cap, length, kind):
    if cap < 8 or byte(buf, o) != 0:
        return NO_TUNNEL
    size = (byte(buf, o + 1) >> 3) * 4
    if size < 8 or size + 2 > cap or byte(buf, o + 3) & (FRAGMENT | ALIVE):
        return NO_TUNNEL
    if not byte(buf, o + 2) & NATIVE:
        return size, np.int64(ETHERNET)
    if byte(buf, o + 2) >> 1 & 31 != WIRELESS:
        return NO_TUNNEL
    if _is_data(byte(buf, o + size)):
        return size, np.int64(AIR)
    return (size, np.int64(SWAPPED)) if _is_data(byte(buf, o + size + 1)) else NO_TUNNEL


@lean
def content(buf, o, size, i, kind):
    """Not the radio's hardware address, nor what it says of the station."""
    return np.int64(KEPT if i < 8 else BLANK)
