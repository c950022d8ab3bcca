"""GTP-U (3GPP TS 29.281): IP behind a tunnel's number, a sequence number and further headers, if there are any."""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import IPV4, IPV6, all_kept
from netlens.wire.loads import be16, byte
from netlens.wire.tunnels._kinds import NO_TUNNEL, PORT

KINDS = {PORT | 2152: "GTP-U"}
ENTERED = "in_gtp", "packets inside GTP-U (UDP 2152): read in place of the outer one"
content = all_kept


@lean
def header(buf, o, cap, length, kind):
    if cap < 8 or byte(buf, o) & 0xF8 != 0x30 or byte(buf, o + 1) != 255 or be16(buf, o + 2) != length - 8:
        return NO_TUNNEL
    flags, size = byte(buf, o), np.int64(8)
    if flags & 7:  # sequence number, N-PDU number, type of the next header; all there if one of them is
        size += 4
        following = byte(buf, o + size - 1) if flags & 4 and size <= cap else np.int64(0)
        while following != 0:
            if size >= cap or byte(buf, o + size) == 0:
                return NO_TUNNEL
            size += byte(buf, o + size) * 4
            following = byte(buf, o + size - 1) if size <= cap else np.int64(0)
    version = byte(buf, o + size) >> 4 if size < cap else np.int64(0)
    if version != 4 and version != 6:
        return NO_TUNNEL
    return size, np.int64(IPV4 if version == 4 else IPV6)
