"""PPP, also in HDLC-like framing (RFC 1662), whose address and control bytes may be left out; and in GRE (RFC 2637)."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, END, IPV4, IPV6, LINK, PPP_OTHER, all_kept
from netlens.wire.loads import be16, byte

KINDS = {LINK | 9: "PPP", LINK | 50: "PPP in HDLC", PPP_OTHER: "PPP"}
CONTROL = 0x8000  #: from here on a protocol controls the link or the network layer, and carries nothing (RFC 1661 2)
_MPLS = 0x8847  #: its EtherType; PPP has a number for unicast and one for multicast (RFC 3032 4.3)
_DISCOVERY = 0x8863  #: of PPPoE: no sessions in it either
content = all_kept


@lean
def named(buf, o, at, cap):
    """``header`` of a header that ends with the PPP protocol number at ``o + at`` (RFC 1332, 5072, 3032).

    The number is odd, and its first byte is even unless it is compressed to one byte (RFC 1661 6.5), which some do in PPPoE too.
    """
    if at >= cap or (not byte(buf, o + at) & 1 and at + 2 > cap):
        return np.int64(CUT), np.int64(PPP_OTHER), np.int64(0)
    if byte(buf, o + at) & 1:
        number, size = byte(buf, o + at), at + 1
    else:
        number, size = be16(buf, o + at), at + 2
    if number >= CONTROL:
        return size, np.int64(END | _DISCOVERY), np.int64(0)
    following = np.int64(END | PPP_OTHER)
    if number == 0x0021:
        following = np.int64(IPV4)
    elif number == 0x0057:
        following = np.int64(IPV6)
    elif number == 0x0281 or number == 0x0283:
        following = np.int64(_MPLS)
    return size, following, np.int64(0)


@lean
def header(buf, o, cap, kind):
    if cap < 4:
        return np.int64(CUT), np.int64(PPP_OTHER), np.int64(0)
    return named(buf, o, np.int64(2 if byte(buf, o) == 0xFF and byte(buf, o + 1) == 3 else 0), cap)
