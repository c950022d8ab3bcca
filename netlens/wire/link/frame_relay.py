"""Frame Relay: an address of two to four bytes (Q.922), then a network protocol identifier (RFC 2427), or an EtherType as Cisco's routers send it."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, END, IPV4, IPV6, LINK, NOT_READ, all_kept
from netlens.wire.loads import be16, byte

KINDS = {LINK | 107: "Frame Relay"}
LONGEST = 4  #: bytes of an address
UI, PAD = 0x03, 0x00
_IPV4, _IPV6, _SNAP = 0xCC, 0x8E, 0x80
_ETHERNET = LINK | 1
_BRIDGED = 0x80C2  #: OUI of bridged frames (RFC 2427 4.2)
content = all_kept


@lean
def header(buf, o, cap, kind):
    at = np.int64(1)  # the last byte of an address is odd
    while at <= cap and not byte(buf, o + at - 1) & 1:
        at += 1
        if at > LONGEST:
            return np.int64(NOT_READ), kind, np.int64(0)
    if at + 2 > cap:
        return np.int64(CUT), kind, np.int64(0)
    if byte(buf, o + at) != UI:
        return at + 2, be16(buf, o + at), np.int64(0)
    at += 1
    if byte(buf, o + at) == PAD:
        at += 1
    if at + 1 > cap:
        return np.int64(CUT), kind, np.int64(0)
    protocol = byte(buf, o + at)
    at += 1
    following = np.int64(END)
    if protocol == _IPV4:
        following = np.int64(IPV4)
    elif protocol == _IPV6:
        following = np.int64(IPV6)
    elif protocol == _SNAP:
        if at + 5 > cap:
            return np.int64(CUT), kind, np.int64(0)
        oui, number = byte(buf, o + at) << 16 | be16(buf, o + at + 1), be16(buf, o + at + 3)
        at += 5
        if oui == 0:
            following = number
        elif oui == _BRIDGED and (number == 1 or number == 7):  # Ethernet with and without its checksum
            following = np.int64(_ETHERNET)
    return at, following, np.int64(0)
