"""Tunnels that carry IP: where in a packet the next one begins.

Entered: IP in IP (protocols 4 and 41), GRE (RFC 2784, RFC 2890; PPP in it, RFC 2637; ERSPAN of types I to III; WCCP; in UDP, RFC 8086), VXLAN
(RFC 7348, UDP port 4789), Geneve (RFC 8926, port 6081), GTP-U (3GPP TS 29.281, port 2152); in them IP, or Ethernet with all that
:mod:`netlens.wire.link` reads in it.
A tunnel is entered only if IP is found in it; otherwise the packet stays what it was, GRE or UDP. Any UDP datagram may go to such a port, so the fixed
bits of the headers must be right too.

The inner packet takes the place of the outer one, whose addresses make no session. Sessions that have the same ends in two tunnels (two tenants, say)
are one here, as in Wireshark. VXLAN and Geneve on other ports are not told from other UDP.
"""

from __future__ import annotations

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.link import PPP_OTHER, _goes_on, _ppp, ether_payload
from netlens.wire.words import be16, byte

MAX_TUNNELS = 4  #: in each other; a mobile network has two (GTP-U in IPsec or GRE), an overlay on it one more
FRAME = 1  #: in place of an EtherType: an Ethernet header follows
IPV4_IN_IP, IPV6_IN_IP, GRE = 4, 41, 47
VXLAN_PORT, GENEVE_PORT, GTP_PORT, GRE_PORT = 4789, 6081, 2152, 4754
_TEB, _ERSPAN_2, _ERSPAN_3, _WCCP = 0x6558, 0x88BE, 0x22EB, 0x883E  # EtherTypes in GRE: Ethernet, mirrored Ethernet, IP to a web cache


@lean
def inner_of_ip(buf, t, cap, proto):
    """(where the inner packet of IP payload at ``t`` begins, its EtherType or FRAME); -1 if it has none that is read."""
    none = np.int64(-1), np.int64(0)
    end = t + cap
    if proto == IPV4_IN_IP:
        return t, np.int64(0x0800)
    if proto == IPV6_IN_IP:
        return t, np.int64(0x86DD)
    if proto != GRE or cap < 4:
        return none
    flags, kind = be16(buf, t), be16(buf, t + 2)
    version = flags & 7
    if flags & 0x4000 or version > 1 or (version == 1 and kind != PPP_OTHER):  # source routes (RFC 1701) are no more in use
        return none
    at = t + 4
    for bit in (0x8000, 0x2000, 0x1000, 0x0080):  # checksum, key, sequence number, acknowledgment (of version 1)
        if flags & bit and (bit != 0x0080 or version == 1):
            at += 4
    if kind == _ERSPAN_2:
        at += 8 if flags & 0x1000 else 0  # type I has no header of its own
        kind = np.int64(FRAME)
    elif kind == _ERSPAN_3:
        if at + 12 > end:
            return none
        at += 20 if byte(buf, at + 11) & 1 else 12
        kind = np.int64(FRAME)
    elif kind == _TEB:
        kind = np.int64(FRAME)
    elif kind == PPP_OTHER:
        if at + 2 <= end and byte(buf, at) == 0xFF and byte(buf, at + 1) == 3:
            at += 2
        at, kind = _ppp(buf, at, end)
        if at < 0:
            return none
    elif kind == _WCCP:
        at += 0 if at < end and byte(buf, at) >> 4 == 4 else 4  # version 2 has a header of its own
        kind = np.int64(0x0800)
    elif kind <= 1500:
        return none
    return (at, kind) if at <= end else none


@lean
def inner_of_udp(buf, p, cap, length, port):
    """The same of the UDP payload at ``p``, ``cap`` captured of ``length`` bytes, sent to ``port``."""
    none = np.int64(-1), np.int64(0)
    end = p + cap
    if port == GRE_PORT:
        return inner_of_ip(buf, p, cap, GRE)
    if cap < 8:
        return none
    if port == VXLAN_PORT:
        if byte(buf, p) == 8 and byte(buf, p + 7) == 0 and cap >= 22 and _goes_on(be16(buf, p + 20)):
            return p + 8, np.int64(FRAME)
    elif port == GENEVE_PORT:
        kind = be16(buf, p + 2)
        start = p + 8 + (byte(buf, p) & 63) * 4
        if byte(buf, p) >> 6 == 0 and byte(buf, p + 1) & 63 == 0 and byte(buf, p + 7) == 0 and start <= end:
            if kind == _TEB:
                return start, np.int64(FRAME)
            if _goes_on(kind):
                return start, kind
    elif port == GTP_PORT:
        flags = byte(buf, p)
        if flags & 0xF8 != 0x30 or byte(buf, p + 1) != 255 or be16(buf, p + 2) != length - 8:
            return none
        at = p + 8
        if flags & 7:  # sequence number, N-PDU number, type of the next header; all there if one of them is
            at += 4
            following = byte(buf, at - 1) if flags & 4 and at <= end else np.int64(0)
            while following != 0:
                if at >= end or byte(buf, at) == 0:
                    return none
                at += byte(buf, at) * 4
                following = byte(buf, at - 1) if at <= end else np.int64(0)
        if at < end and byte(buf, at) >> 4 == 4:
            return at, np.int64(0x0800)
        if at < end and byte(buf, at) >> 4 == 6:
            return at, np.int64(0x86DD)
    return none


@lean
def ip_inside(buf, start, end, kind):
    """(where IP begins, its EtherType) of the inner packet at ``start``, ``kind`` as above; -1 if it is no IP, or cut before that shows."""
    if kind == FRAME:
        if start + 14 > end:
            return np.int64(-1), kind
        start, kind = ether_payload(buf, start + 14, end, be16(buf, start + 12))
    else:
        start, kind = ether_payload(buf, start, end, kind)
    if start < 0 or start >= end or (kind != 0x0800 and kind != 0x86DD) or byte(buf, start) >> 4 != (4 if kind == 0x0800 else 6):
        return np.int64(-1), kind
    return start, kind
