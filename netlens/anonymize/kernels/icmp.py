"""ICMP and ICMPv6: types and numbers stay, addresses are mapped, in neighbour discovery, redirects and the packets that errors quote too."""

import numpy as np

from netlens.anonymize.kernels.checksums import checksum_at
from netlens.anonymize.kernels.headers import copy_ipv4, copy_ipv6
from netlens.anonymize.kernels.mapping import map_mac, map_v4, map_v6
from netlens.anonymize.kernels.tls import keep
from netlens.wire.compiled import kernel
from netlens.wire.loads import be16


@kernel
def _quoted(buf, o, cap, version, out, q, m):
    """The packet that an ICMP error quotes: its headers."""
    if cap < 1 or np.int64(buf[o]) >> 4 != version:
        return
    if version == 4:
        copy_ipv4(buf, o, cap, out, q, m)
        size = (np.int64(buf[o]) & 15) * 4
        if size < 20 or cap < size:
            return
        proto, later = np.int64(buf[o + 9]), be16(buf, o + 6) & 0x1FFF
    else:
        copy_ipv6(buf, o, cap, out, q, m)
        size, later = np.int64(40), np.int64(0)
        if cap < size:
            return
        proto = np.int64(buf[o + 6])
    have = cap - size
    if later:
        return
    if proto == 6 or proto == 17 or proto == 1 or proto == 58:
        keep(buf, o + size, min(have, 8), out, q + size)
        if proto == 6 and have > 8:
            keep(buf, o + size + 8, min(have - 8, 8), out, q + size + 8)
        at = checksum_at(proto)
        for i in range(at, min(at + 2, have)):
            out[q + size + i] = np.uint8(0)  # it covered what is not there any more


@kernel
def copy_icmp4(buf, t, cap, out, q, m):
    keep(buf, t, min(cap, 4), out, q)
    if cap < 8:
        return
    kind = buf[t]
    if kind == 5:
        map_v4(buf, t + 4, out, q + 4, m)
    elif kind == 0 or kind == 8 or kind == 3 or kind == 4 or kind == 11 or kind == 12 or kind == 13 or kind == 14:
        keep(buf, t + 4, 4, out, q + 4)
    if kind == 3 or kind == 4 or kind == 5 or kind == 11 or kind == 12:
        _quoted(buf, t + 8, cap - 8, 4, out, q + 8, m)


@kernel
def _neighbour_options(buf, at, end, out, to, m):
    """Options of neighbour discovery (RFC 4861 4.6)."""
    while at + 8 <= end:
        size = np.int64(buf[at + 1]) * 8
        keep(buf, at, 2, out, to)
        if size == 0 or at + size > end:
            return
        kind = buf[at]
        if kind == 1 or kind == 2:
            map_mac(buf, at + 2, out, to + 2, m)
        elif kind == 3 and size == 32:
            keep(buf, at, 16, out, to)
            map_v6(buf, at + 16, out, to + 16, m)
        elif kind == 5:
            keep(buf, at, 8, out, to)
        elif kind == 4:
            _quoted(buf, at + 8, size - 8, 6, out, to + 8, m)
        at += size
        to += size


@kernel
def copy_icmp6(buf, t, cap, out, q, m):
    keep(buf, t, min(cap, 4), out, q)
    if cap < 8:
        return
    kind = buf[t]
    if kind < 128 or (kind >= 128 and kind <= 137) or kind == 143:
        keep(buf, t + 4, 4, out, q + 4)
    if kind < 128:
        _quoted(buf, t + 8, cap - 8, 6, out, q + 8, m)
    elif 130 <= kind <= 132 and cap >= 24:
        map_v6(buf, t + 8, out, q + 8, m)
    elif (kind == 135 or kind == 136) and cap >= 24:
        map_v6(buf, t + 8, out, q + 8, m)
        _neighbour_options(buf, t + 24, t + cap, out, q + 24, m)
    elif kind == 137 and cap >= 40:
        map_v6(buf, t + 8, out, q + 8, m)
        map_v6(buf, t + 24, out, q + 24, m)
        _neighbour_options(buf, t + 40, t + cap, out, q + 40, m)
    elif kind == 133:
        _neighbour_options(buf, t + 8, t + cap, out, q + 8, m)
    elif kind == 134 and cap >= 16:
        keep(buf, t + 8, 8, out, q + 8)
        _neighbour_options(buf, t + 16, t + cap, out, q + 16, m)
