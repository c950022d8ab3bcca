"""BSD loopback (NULL) and OpenBSD's (LOOP): an address family in four bytes.

That of NULL is in the byte order of the machine that captured, which may not be this one: the family is below 256 either way.
"""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, END, IPV4, IPV6, LINK, all_kept
from netlens.wire.loads import byte

KINDS = {LINK | 0: "BSD loopback", LINK | 108: "OpenBSD loopback"}
content = all_kept


@lean
def header(buf, o, cap, kind):
    if cap < 4:
        return np.int64(CUT), kind, np.int64(0)
    family = byte(buf, o) | byte(buf, o + 3)
    following = np.int64(END)
    if family == 2:
        following = np.int64(IPV4)
    elif family == 24 or family == 28 or family == 30 or family == 10:  # of NetBSD and OpenBSD, FreeBSD, Darwin, Linux
        following = np.int64(IPV6)
    return np.int64(4), following, np.int64(0)
