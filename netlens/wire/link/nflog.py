"""Linux netfilter log (``tcpdump -i nflog``): the packets that a rule of the firewall logs.

Address family, version and group, then attributes: length, type, both in the byte order of the machine that captured, padded to four bytes. The packet
is the last of them (type 9, NFULA_PAYLOAD).
"""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import BLANK, CUT, END, IPV4, IPV6, KEPT, LINK
from netlens.wire.loads import byte

KINDS = {LINK | 239: "Linux netfilter log"}
PAYLOAD = 9
MAX_ATTRIBUTES = 32  #: the kernel writes each of its twenty types once


@lean
def _attribute(buf, at):
    """(length, type): the type is below 256, so that it shows the byte order; the top bits of its upper byte are flags."""
    big = byte(buf, at + 2) & 0x3F == 0 and byte(buf, at + 3) != 0
    if big:
        return byte(buf, at) << 8 | byte(buf, at + 1), byte(buf, at + 3)
    return byte(buf, at + 1) << 8 | byte(buf, at), byte(buf, at + 2)


@lean
def header(buf, o, cap, kind):
    if cap < 4:
        return np.int64(CUT), kind, np.int64(0)
    if byte(buf, o + 1) != 0:  # the only version
        return np.int64(4), np.int64(END), np.int64(0)
    at = np.int64(4)
    for _ in range(MAX_ATTRIBUTES):
        if at + 4 > cap:
            return np.int64(CUT), kind, np.int64(0)
        length, what = _attribute(buf, o + at)
        if length < 4:
            break
        if what == PAYLOAD:
            family = byte(buf, o)
            following = np.int64(IPV4) if family == 2 else np.int64(IPV6) if family == 10 else np.int64(END)
            return at + 4, following, np.int64(0)
        at += (length + 3) & ~np.int64(3)
    return np.int64(4), np.int64(END), np.int64(0)


@lean
def content(buf, o, size, i, kind):
    """Lengths and types stay; what the attributes say (interfaces, hardware address, user, the rule's text) does not."""
    at = np.int64(4)
    while at + 4 <= i:
        length, _what = _attribute(buf, o + at)
        if length < 4:
            return np.int64(BLANK)
        at += (length + 3) & ~np.int64(3)
    return np.int64(KEPT if i < 4 or i >= at else BLANK)
