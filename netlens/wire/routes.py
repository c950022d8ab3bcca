"""Source routes: the final destination of a packet whose IP header names only the next station.

The transport checksum and both ends of a connection go by the final destination (RFC 8200 4.4 and 8.1, RFC 8754 4.1, RFC 791 3.1), as in Wireshark.
Not known: RPL source routes (type 3, RFC 6554), whose addresses are compressed.
"""

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.loads import byte

LOOSE, STRICT = 131, 137  #: options of IPv4


@lean
def addresses_of_route(buf, t, size):
    """How many addresses the IPv6 routing header of ``size`` bytes at ``t`` holds, the first of them behind 8 bytes; 0 for types without plain ones."""
    kind = byte(buf, t + 2)
    return (size - 8) // 16 if kind == 0 or kind == 2 or kind == 4 else np.int64(0)


@lean
def final_v6(buf, t, size):
    """Where the final destination stands in the routing header of ``size`` bytes at ``t``; -1: the IPv6 header has it."""
    n = addresses_of_route(buf, t, size)
    if n == 0 or byte(buf, t + 3) == 0:
        return np.int64(-1)
    # type 0 lists the stations in their order; a segment list (type 4) is in reverse order; type 2 (RFC 6275 6.4) has one address
    return t + 8 + 16 * (n - 1) if byte(buf, t + 2) == 0 else t + 8


@lean
def route_of_v4(buf, at, end):
    """Where a source route stands among the options of IPv4 between ``at`` and ``end``, whole and with one address or more; -1: none."""
    while at + 1 < end:
        kind = byte(buf, at)
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        size = byte(buf, at + 1)
        if size < 2 or at + size > end:
            break
        if (kind == LOOSE or kind == STRICT) and size >= 7:
            return at
        at += size
    return np.int64(-1)


@lean
def final_v4(buf, at, end):
    """Where the final destination stands among the options between ``at`` and ``end``; -1: the IP header has it."""
    route = route_of_v4(buf, at, end)
    if route < 0 or byte(buf, route + 2) + 3 > byte(buf, route + 1):
        return np.int64(-1)
    return route + 3 + 4 * ((byte(buf, route + 1) - 3) // 4 - 1)
