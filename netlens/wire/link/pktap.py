"""Apple's PKTAP around a frame of any link type: its size, the link type, the interface's name, and who sent it.

Number 149 is the second "user" link type, which Apple's tcpdump used before it had one of its own.
"""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link._kinds import BLANK, CUT, KEPT, LINK, NAME, ONES
from netlens.wire.loads import be16, byte, le32

KINDS = {LINK | 149: "PKTAP", LINK | 258: "PKTAP"}
NAME_AT, NAME_END, PROCESS_AT = 12, 36, 52


@lean
def header(buf, o, cap, kind):
    if cap < 12 or le32(buf, o) < 12 or le32(buf, o) > cap:
        return np.int64(CUT), kind, np.int64(0)
    size, where = le32(buf, o), np.int64(0)
    if size >= NAME_END:
        x = np.int64(2166136261)  # hashed (FNV-1a, 31 bits), so that two interfaces differ
        for i in range(NAME_AT, NAME_END):
            x = ((x ^ byte(buf, o + i)) * 16777619) & 0xFFFFFFFF
        where = (x & 0x7FFFFFFF) << 8
    return size, LINK | le32(buf, o + 8), where


@lean
def content(buf, o, size, i, kind):
    """The interface gets another name, the process none. Of what is no such header only the numbers that decide how it is read stay."""
    if size < 12 or le32(buf, o) != size:
        return np.int64(BLANK)
    if i < 4:
        return np.int64(KEPT)
    if 8 <= i < NAME_AT:
        if be16(buf, o + 10) == 0:
            return np.int64(KEPT)
        return np.int64(ONES if i == 11 else BLANK)  # no link type either
    if NAME_AT <= i < NAME_END:
        return np.int64(NAME)
    return np.int64(KEPT if i < PROCESS_AT and le32(buf, o + 4) == 1 else BLANK)
