"""Equal randoms of the ClientHello: a proxy such as sshuttle opens a TCP connection of its own, but passes the hello on, with its 32 random bytes.

Randoms that two connections of one capture have tell nothing.
"""

from __future__ import annotations

import numpy as np

from netlens.chains.compared import Found, only

ID = "hello"
RANK = 3
EXACT = True


def join(found: Found) -> None:
    # Which random is ambiguous is decided over all connections, also those that are paired already.
    v, h = found.v, found.h
    # A program's connection to a relay on its own machine (SOCKS, ssh -L) is local, and its hello goes on.
    free_v, free_h = set(np.flatnonzero(found.host_of < 0).tolist()), set(found.free_host().tolist())
    mine = {i: r for r, i in only(enumerate(v.randoms)).items() if i in free_v}
    others = {j: r for r, j in only(enumerate(h.randoms)).items() if j in free_h}
    found.unique(mine, others, ID)
