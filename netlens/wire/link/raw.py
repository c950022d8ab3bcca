"""Raw IP: no header at all. BSD and OpenBSD have numbers of their own; two more say which version it is."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, END, IPV4, IPV6, LINK, all_kept
from netlens.wire.loads import byte

ONLY_IPV4, ONLY_IPV6 = LINK | 228, LINK | 229
KINDS = {LINK | 12: "raw IP", LINK | 14: "raw IP", LINK | 101: "raw IP", ONLY_IPV4: "raw IPv4", ONLY_IPV6: "raw IPv6"}
content = all_kept


@lean
def header(buf, o, cap, kind):
    following = np.int64(END)
    if kind == ONLY_IPV4:
        following = np.int64(IPV4)
    elif kind == ONLY_IPV6:
        following = np.int64(IPV6)
    elif cap < 1:
        return np.int64(CUT), kind, np.int64(0)
    elif byte(buf, o) >> 4 == 4:
        following = np.int64(IPV4)
    elif byte(buf, o) >> 4 == 6:
        following = np.int64(IPV6)
    return np.int64(0), following, np.int64(0)
