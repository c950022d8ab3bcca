"""Headers of links and tunnels, as their files declare them (:mod:`netlens.wire.link`), of IP, and ARP, into a copy with addresses replaced."""

import numpy as np

from netlens.anonymize.kernels.checksums import fold, put, sum_words
from netlens.anonymize.kernels.mapping import hash_text, map_mac, map_v4, map_v6
from netlens.anonymize.kernels.tls import keep
from netlens.wire import link as link_
from netlens.wire import tunnels as tunnels_
from netlens.wire.compiled import chosen, kernel
from netlens.wire.loads import be16
from netlens.wire.routes import route_of_v4

_content = chosen(
    f"{__name__}._content", "buf, o, size, i, kind", [(h.KINDS, h.content) for h in (*link_.HEADERS, *tunnels_.HEADERS)], "np.int64(0)"
)


@kernel
def copy_header(buf, o, size, kind, out, q, m):
    """A header between link type and network header, as its file declares; ``size``: of a cut one the bytes that are there."""
    i = np.int64(0)
    while i < size:
        what = _content(buf, o, size, i, kind)
        step = np.int64(1)
        if what == link_.KEPT:
            out[q + i] = buf[o + i]
        elif what == link_.ONES:
            out[q + i] = np.uint8(255)
        elif what == link_.NAME:
            step = np.int64(24)
            if i + step <= size:
                word = hash_text(buf, o + i, step, m)
                out[q + i], out[q + i + 1] = np.uint8(105), np.uint8(102)  # "if" and ten letters
                for k in range(10):
                    out[q + i + 2 + k] = np.uint8(97 + (np.int64(word >> np.uint64(6 * k)) & 63) % 26)
        elif what == link_.MAC or what == link_.MAC_BELOW:
            step = np.int64(6)
            if i + step <= size:
                map_mac(buf, o + i, out, q + i, m)
                if what == link_.MAC_BELOW:
                    out[q + i] = out[q + i] & np.uint8(15) | buf[o + i] & np.uint8(240)
        i += step


@kernel
def copy_headers(buf, o, end, kind, out, q, m):
    """All that :func:`netlens.wire.link.walk` walks over from ``o`` to ``end``, be it cut; (start, EtherType) of the network header, -1 if there is none."""
    start, found, _where = link_.walk(buf, o, end, kind)
    for _ in range(link_.MAX_HEADERS):
        size, following, _here = link_.header(buf, o, end - o, kind)
        if size == link_.NOT_READ:
            break
        if size == link_.CUT:
            copy_header(buf, o, end - o, kind, out, q, m)
            break
        copy_header(buf, o, size, kind, out, q, m)
        o += size
        q += size
        kind = following
        if o == start:
            break
    return start, found


@kernel
def copy_ipv4(buf, o, cap, out, q, m):
    """Header and options of IPv4; addresses are mapped as far as they are there."""
    if cap < 20:
        keep(buf, o, min(cap, 10), out, q)
        return
    keep(buf, o, 12, out, q)
    map_v4(buf, o + 12, out, q + 12, m)
    map_v4(buf, o + 16, out, q + 16, m)
    header = (np.int64(buf[o]) & 15) * 4
    for i in range(20, min(header, cap)):
        out[q + i] = np.uint8(1)  # NOP, for any option
    route = route_of_v4(buf, o + 20, o + min(header, cap))
    if route >= 0:  # the final destination is in it
        keep(buf, route, 3, out, q + (route - o))
        for i in range((np.int64(buf[route + 1]) - 3) // 4):
            map_v4(buf, route + 3 + 4 * i, out, q + (route - o) + 3 + 4 * i, m)
    value = be16(buf, o + 10)
    put(out, q + 10, np.int64(0), 2)
    if value != 0 and header >= 20 and header <= cap:
        right = 0xFFFF - fold(sum_words(out, q, header))
        put(out, q + 10, right if fold(sum_words(buf, o, header)) == 0xFFFF else right ^ 0x5A5A, 2)
    elif value != 0:
        put(out, q + 10, 0xFFFF - fold(sum_words(out, q, 20)), 2)


@kernel
def copy_ipv6(buf, o, cap, out, q, m):
    if cap < 40:
        keep(buf, o, min(cap, 8), out, q)
        return
    keep(buf, o, 8, out, q)
    map_v6(buf, o + 8, out, q + 8, m)
    map_v6(buf, o + 24, out, q + 24, m)


@kernel
def copy_arp(buf, o, cap, out, q, m):
    """RFC 826, of IPv4 on Ethernet; of other kinds the eight bytes that say so."""
    keep(buf, o, min(cap, 8), out, q)
    if cap >= 28 and be16(buf, o + 2) == 0x0800 and buf[o + 4] == 6 and buf[o + 5] == 4:
        for i in range(2):
            map_mac(buf, o + 8 + 10 * i, out, q + 8 + 10 * i, m)
            map_v4(buf, o + 14 + 10 * i, out, q + 14 + 10 * i, m)
