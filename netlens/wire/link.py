"""Link types: where the network header starts, and what it is.

Read: Ethernet (1) with any stack of VLAN tags (802.1Q, 802.1ad, the older 0x9100/0x9200), provider backbone headers (802.1ah), MPLS labels (IP or
Ethernet in them, RFC 4448), PPPoE session and LLC/SNAP;
LINUX_SLL (113) and LINUX_SLL2 (276); BSD NULL (0) and LOOP (108); RAW (12, 14, 101), IPV4 (228), IPV6 (229); PPP (9, 50), PPPoE (51),
Cisco HDLC (104); FDDI (10); Apple PKTAP (149, 258) around any of them. IEEE 802.11 is out; other types are counted as ``link_type``.
"""

from __future__ import annotations

import numpy as np

from netlens.wire.compiled import lean
from netlens.wire.words import be16, byte, le32

NULL, ETHERNET, PPP, FDDI, RAW_BSD, RAW_OPENBSD, PPP_HDLC, PPPOE, RAW, C_HDLC, LOOP, SLL = 0, 1, 9, 10, 12, 14, 50, 51, 101, 104, 108, 113
USER2_PKTAP, IPV4, IPV6, PKTAP, SLL2 = 149, 228, 229, 258, 276

NAMES = {
    NULL: "BSD loopback", ETHERNET: "Ethernet", PPP: "PPP", FDDI: "FDDI", RAW_BSD: "raw IP", RAW_OPENBSD: "raw IP", PPP_HDLC: "PPP in HDLC", PPPOE: "PPPoE",
    RAW: "raw IP", C_HDLC: "Cisco HDLC", LOOP: "OpenBSD loopback", SLL: "Linux cooked", USER2_PKTAP: "PKTAP", IPV4: "raw IPv4", IPV6: "raw IPv6",
    PKTAP: "PKTAP", SLL2: "Linux cooked v2",
    # These are not read; they have a name so that a message can say what the frames are.
    105: "IEEE 802.11", 119: "IEEE 802.11 with Prism header", 127: "IEEE 802.11 with radiotap header", 163: "IEEE 802.11 with AVS header", 192: "PPI",
    143: "DOCSIS", 187: "Bluetooth", 201: "Bluetooth", 189: "USB", 220: "USB", 195: "IEEE 802.15.4", 227: "CAN", 230: "IEEE 802.15.4", 239: "NFLOG",
    253: "Netlink",
}  # fmt: skip
READ = (NULL, ETHERNET, PPP, FDDI, RAW_BSD, RAW_OPENBSD, PPP_HDLC, PPPOE, RAW, C_HDLC, LOOP, SLL, USER2_PKTAP, IPV4, IPV6, PKTAP, SLL2)

PPP_OTHER = 0x880B  #: EtherType of PPP (RFC 5994): what is told of PPP frames without IP
BACKBONE = 0x88E7  #: EtherType of an I-TAG (802.1ah)
MAX_TAGS = 8  #: VLAN tags and MPLS labels followed; QinQ has two, service-provider stacks rarely four
MAX_PKTAP = 2  #: PKTAP inside PKTAP does not occur


@lean
def _ppp(buf, o, end):
    """(start, EtherType) of what the PPP protocol number at ``o`` names (RFC 1332, RFC 5072); start -1 if it is cut.

    The number is odd, and its first byte is even unless it is compressed to one byte (RFC 1661 6.5), which some do in PPPoE too.
    """
    if o >= end or (not byte(buf, o) & 1 and o + 2 > end):
        return np.int64(-1), np.int64(PPP_OTHER)
    if byte(buf, o) & 1:
        protocol, start = byte(buf, o), o + 1
    else:
        protocol, start = be16(buf, o), o + 2
    if protocol == 0x0021:
        return start, np.int64(0x0800)
    if protocol == 0x0057:
        return start, np.int64(0x86DD)
    return start, np.int64(PPP_OTHER)


@lean
def _goes_on(kind):
    """Is it an EtherType that is likely at the begin of a frame? By it the forms of Ethernet in MPLS are told apart."""
    return (
        kind == 0x0800
        or kind == 0x86DD
        or kind == 0x0806
        or kind == 0x8100
        or kind == 0x88A8
        or kind == 0x8847
        or kind == 0x8863
        or kind == 0x8864
    )


@lean
def ethernet_in_mpls(buf, o, end):
    """Length of the Ethernet header at ``o`` behind the last label, with the control word before it if there is one (RFC 4448).

    -1 if it is cut, -3 if there is none. Nothing in the packet says which form it has, nor that it is Ethernet.
    """
    if o + 14 > end:
        return np.int64(-1)
    controlled = byte(buf, o) >> 4 == 0
    if controlled and o + 18 <= end and _goes_on(be16(buf, o + 16)):
        return np.int64(18)
    if _goes_on(be16(buf, o + 12)):
        return np.int64(14)
    return np.int64(-1 if controlled and o + 18 > end else -3)


@lean
def ether_payload(buf, o, end, kind):
    """Follow tags, labels, PPPoE and LLC/SNAP from EtherType or length ``kind``; ``o`` is right behind it."""
    for _ in range(MAX_TAGS + 1):
        if kind == 0x8100 or kind == 0x88A8 or kind == 0x9100 or kind == 0x9200 or kind == 0x8926:
            skip = 6 if kind == 0x8926 else 4  # VN-tag is 4 bytes, then the EtherType
            if o + skip > end:
                return np.int64(-1), kind
            kind = be16(buf, o + skip - 2)
            o += skip
        elif kind == 0x8847 or kind == 0x8848:
            if o + 5 > end:
                return np.int64(-1), kind
            bottom = byte(buf, o + 2) & 1
            o += 4
            if bottom:
                nibble = byte(buf, o) >> 4
                if nibble == 4:
                    return o, np.int64(0x0800)
                if nibble == 6:
                    return o, np.int64(0x86DD)
                size = ethernet_in_mpls(buf, o, end)
                if size < 0:
                    return size, kind
                kind = be16(buf, o + size - 2)
                o += size
        elif kind == BACKBONE:
            if o + 18 > end:  # I-TAG and the customer's Ethernet header
                return np.int64(-1), kind
            kind = be16(buf, o + 16)
            o += 18
        elif kind == 0x8864:
            return _ppp(buf, o + 6, end)
        elif kind <= 1500:
            # 802.3 length: LLC. SNAP with OUI 0 (RFC 1042) or 00-00-F8 carries an EtherType; SAP 06 is IP itself.
            if o + 3 > end:
                return np.int64(-1), kind
            if byte(buf, o) == 0xAA and byte(buf, o + 1) == 0xAA and byte(buf, o + 2) == 3:
                if o + 8 > end:
                    return np.int64(-1), kind
                if byte(buf, o + 3) != 0 or byte(buf, o + 4) != 0 or (byte(buf, o + 5) != 0 and byte(buf, o + 5) != 0xF8):
                    return np.int64(-3), kind
                kind = be16(buf, o + 6)
                o += 8
                if kind <= 1500:
                    return np.int64(-3), kind
            elif byte(buf, o) == 6 and byte(buf, o + 1) == 6 and byte(buf, o + 2) == 3:
                return o + 3, np.int64(0x0800)
            else:
                return np.int64(-3), kind
        else:
            return o, kind
    return np.int64(-3), kind


@lean
def network_start(buf, o, cap, link):
    """Where the network header of a frame starts.

    Parameters
    ----------
    buf : uint8[:], o, cap : the frame's bytes; link : link type

    Returns
    -------
    (start, kind, where)
        start: offset into buf, or -1 cut, -2 link type not read, -3 no IP inside; kind: EtherType, or 4 / 6 (0: none that is known); where: what tells the
        capture point apart inside one interface (SLL2: ifindex << 8 | packet type; SLL: packet type; else 0).
    """
    end = o + cap
    where = np.int64(0)
    for _ in range(MAX_PKTAP):
        if link != PKTAP and link != USER2_PKTAP:
            break
        if cap < 12:
            return np.int64(-1), np.int64(0), where
        size = le32(buf, o)
        link = le32(buf, o + 8)
        if size < 12 or size > cap:
            return np.int64(-1), np.int64(0), where
        if size >= 36:
            # interface name, 24 bytes from offset 12: hashed (FNV-1a, 31 bits), so that two interfaces differ
            x = np.int64(2166136261)
            for i in range(12, 36):
                x = ((x ^ byte(buf, o + i)) * 16777619) & 0xFFFFFFFF
            where = (x & 0x7FFFFFFF) << 8
        o += size
        cap -= size
    if link == ETHERNET:
        if cap < 14:
            return np.int64(-1), np.int64(0), where
        kind = be16(buf, o + 12)
        if kind == 0x0800 or kind == 0x86DD:
            return o + 14, kind, where
        start, kind = ether_payload(buf, o + 14, end, kind)
        return start, kind, where
    if link == SLL2:
        if cap < 20:
            return np.int64(-1), np.int64(0), where
        where = (be16(buf, o + 4) << 16 | be16(buf, o + 6)) << 8 | byte(buf, o + 10)
        start, kind = ether_payload(buf, o + 20, end, _sll_protocol(be16(buf, o)))
        return start, kind, where
    if link == SLL:
        if cap < 16:
            return np.int64(-1), np.int64(0), where
        where = be16(buf, o) & 0xFF
        start, kind = ether_payload(buf, o + 16, end, _sll_protocol(be16(buf, o + 14)))
        return start, kind, where
    if link == RAW or link == RAW_BSD or link == RAW_OPENBSD:
        if cap < 1:
            return np.int64(-1), np.int64(0), where
        version = byte(buf, o) >> 4
        if version != 4 and version != 6:
            return np.int64(-3), np.int64(0), where
        return o, version, where
    if link == IPV4:
        return o, np.int64(4), where
    if link == IPV6:
        return o, np.int64(6), where
    if link == NULL or link == LOOP:
        if cap < 4:
            return np.int64(-1), np.int64(0), where
        # NULL is in the byte order of the machine that captured, which may not be this one: the family is below 256 either way
        family = byte(buf, o) | byte(buf, o + 3)
        if family == 2:
            return o + 4, np.int64(4), where
        if family == 24 or family == 28 or family == 30 or family == 10:
            return o + 4, np.int64(6), where
        return np.int64(-3), np.int64(0), where
    if link == PPP or link == PPP_HDLC:
        if cap < 4:
            return np.int64(-1), np.int64(0), where
        if byte(buf, o) == 0xFF and byte(buf, o + 1) == 3:
            o += 2
        start, kind = _ppp(buf, o, end)
        return start, kind, where
    if link == PPPOE:
        start, kind = _ppp(buf, o + 6, end)
        return start, kind, where
    if link == FDDI:
        if cap < 13:
            return np.int64(-1), np.int64(0), where
        if byte(buf, o) & 0xF0 != 0x50:  # asynchronous LLC frames carry IP (RFC 1390)
            return np.int64(-3), np.int64(0), where
        start, kind = ether_payload(buf, o + 13, end, np.int64(1500))
        return start, kind, where
    if link == C_HDLC:
        if cap < 4:
            return np.int64(-1), np.int64(0), where
        start, kind = ether_payload(buf, o + 4, end, be16(buf, o + 2))
        return start, kind, where
    return np.int64(-2), np.int64(0), where


@lean
def _sll_protocol(protocol):
    """SLL's protocol field: an EtherType, or 1 (802.3 without LLC), 4 (802.2 LLC) and others; LLC is parsed like an 802.3 length."""
    if protocol == 4:
        return np.int64(1500)
    if protocol < 1501:
        return np.int64(0xFFFF)  # no EtherType: other protocols
    return protocol
