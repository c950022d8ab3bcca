"""MPLS: a label, and behind the last one IP, or Ethernet with or without a control word (RFC 4448).

Nothing in the packet says what follows, nor in which form: the first four bits tell IP, and Ethernet is told by a likely EtherType.
"""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import BLANK, CUT, END, IPV4, IPV6, KEPT, MAC, MAC_BELOW, is_likely
from netlens.wire.loads import be16, byte

KINDS = {0x8847: "MPLS", 0x8848: "MPLS"}
LABEL, CONTROL, ETHERNET = 4, 4, 14


@lean
def header(buf, o, cap, kind):
    if cap <= LABEL:
        return np.int64(CUT), kind, np.int64(0)
    if not byte(buf, o + 2) & 1:  # more labels
        return np.int64(LABEL), kind, np.int64(0)
    bits = byte(buf, o + LABEL) >> 4
    if bits == 4 or bits == 6:
        return np.int64(LABEL), np.int64(IPV4 if bits == 4 else IPV6), np.int64(0)
    if cap < LABEL + ETHERNET:
        return np.int64(CUT), kind, np.int64(0)
    size = np.int64(LABEL + CONTROL + ETHERNET)
    if bits == 0 and size <= cap and is_likely(be16(buf, o + size - 2)):
        return size, be16(buf, o + size - 2), np.int64(0)
    if is_likely(be16(buf, o + LABEL + ETHERNET - 2)):
        return np.int64(LABEL + ETHERNET), be16(buf, o + LABEL + ETHERNET - 2), np.int64(0)
    if bits == 0 and size > cap:
        return np.int64(CUT), kind, np.int64(0)
    return np.int64(LABEL), END | kind, np.int64(0)


@lean
def content(buf, o, size, i, kind):
    if i < LABEL:
        return np.int64(KEPT)
    at = size - ETHERNET  # of the inner header
    if not (size == LABEL + CONTROL + ETHERNET or (size == LABEL + ETHERNET and is_likely(be16(buf, o + size - 2)))):
        return np.int64(BLANK)  # it is cut
    if i < at or i >= at + 12:
        return np.int64(KEPT)
    return np.int64(MAC_BELOW if i == LABEL else MAC)  # without a control word the first four bits must not become those of IP
