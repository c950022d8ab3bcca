"""GRE (RFC 2784, RFC 2890), also in UDP (RFC 8086): IP, PPP (RFC 2637), Ethernet, mirrored Ethernet (ERSPAN of types I to III), WCCP."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import BLANK, ETHERNET, IPV4, KEPT, PPP_OTHER
from netlens.wire.loads import be16, byte
from netlens.wire.tunnels._kinds import NO_TUNNEL, PORT, PROTOCOL, TEB

KINDS = {PROTOCOL | 47: "GRE", PORT | 4754: "GRE in UDP"}
ENTERED = "in_gre", "packets inside GRE, ERSPAN included: read in place of the outer one"
CHECKSUM, ROUTING, KEY, SEQUENCE, ACKNOWLEDGMENT = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
ERSPAN_2, ERSPAN_3, WCCP = 0x88BE, 0x22EB, 0x883E  #: EtherTypes that only GRE has


@lean
def header(buf, o, cap, length, kind):
    if cap < 4:
        return NO_TUNNEL
    flags, inner = be16(buf, o), be16(buf, o + 2)
    version = flags & 7
    if flags & ROUTING or version > 1 or (version == 1 and inner != PPP_OTHER):  # source routes (RFC 1701) are no more in use
        return NO_TUNNEL
    size = np.int64(4)
    for bit in (CHECKSUM, KEY, SEQUENCE, ACKNOWLEDGMENT):
        if flags & bit and (bit != ACKNOWLEDGMENT or version == 1):
            size += 4
    if inner == ERSPAN_2:
        size += 8 if flags & SEQUENCE else 0  # type I has no header of its own
        inner = np.int64(ETHERNET)
    elif inner == ERSPAN_3:
        if size + 12 > cap:
            return NO_TUNNEL
        size += 20 if byte(buf, o + size + 11) & 1 else 12
        inner = np.int64(ETHERNET)
    elif inner == TEB:
        inner = np.int64(ETHERNET)
    elif inner == WCCP:
        size += 0 if size < cap and byte(buf, o + size) >> 4 == 4 else 4  # version 2 has a header of its own
        inner = np.int64(IPV4)
    elif inner <= 1500:
        return NO_TUNNEL
    return (size, inner) if size <= cap else NO_TUNNEL


@lean
def content(buf, o, size, i, kind):
    """The checksum covers what is replaced."""
    return np.int64(BLANK if 4 <= i < 6 and be16(buf, o) & CHECKSUM else KEPT)
