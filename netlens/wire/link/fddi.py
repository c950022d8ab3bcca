"""FDDI: frame control and two hardware addresses; asynchronous LLC frames carry IP (RFC 1390)."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import CUT, END, KEPT, LINK, MAC
from netlens.wire.loads import byte

KINDS = {LINK | 10: "FDDI"}
SIZE = 13


@lean
def header(buf, o, cap, kind):
    if cap < SIZE:
        return np.int64(CUT), kind, np.int64(0)
    return np.int64(SIZE), np.int64(1500 if byte(buf, o) & 0xF0 == 0x50 else END), np.int64(0)


@lean
def content(buf, o, size, i, kind):
    return np.int64(KEPT if i == 0 else MAC)
