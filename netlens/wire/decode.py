"""The decode kernel: framed bytes to rows of the packet matrix.

One pass per batch over link layer, IP and transport header of every frame; of a tunnel, over those of the packet inside
(:mod:`netlens.wire.tunnels`). Nothing is remembered from one frame to the next: IP fragments are handed back (``fragments``) for
:mod:`netlens.wire.fragments`, everything that makes no row is counted by reason in ``quality``, so that frames in = frames accounted for. Every
read is checked against the captured length; no byte string can make it read outside the frame.

Normal, not errors: frames cut by the snaplen, segments of 64 kB and zero IP total lengths (TSO and GRO), unset checksums (offload; checksums
are not verified at all), Ethernet padding.

ICMP errors quote a packet; the quoted packet was not on the wire here, so only the ICMP message is counted. It is handed back beside the fragments, for
:mod:`netlens.parsers.icmp`.
"""

import numpy as np

from netlens.wire import columns as c
from netlens.wire import tunnels
from netlens.wire.compiled import inlined, lean
from netlens.wire.framing import F_CAP, F_IFACE, F_OFF, F_TS, F_WIRE
from netlens.wire.hints import segment_hint
from netlens.wire.link import AIR_DAMAGED, AIR_ENCRYPTED, AIR_FIRST, AIR_PIECE, AIR_TALK, CUT, ON_AIR, ieee80211, network_start
from netlens.wire.link.can import CAN
from netlens.wire.loads import be16, be32, be64, byte
from netlens.wire.radio import heard
from netlens.wire.routes import final_v4, final_v6

# Exclusive reasons: every frame is counted under exactly one of these.
REASONS: tuple[tuple[str, str], ...] = (
    ("tcp", "TCP segments, read"),
    ("udp", "UDP datagrams, read"),
    ("fragment", "IP fragments; the datagrams they make are counted as reassembled, not as tcp or udp"),
    ("icmp", "ICMP and ICMPv6 messages without a quoted packet"),
    ("icmp_error", "ICMP errors and redirects: the packet they quote is not counted"),
    ("other_protocol", "IP payload that is neither TCP, UDP, ICMP, another transport nor a tunnel (IGMP, OSPF, VRRP, ...)"),
    ("other_transport", "SCTP, DCCP and UDP-Lite: transports that netlens does not read"),
    ("esp", "ESP (RFC 4303): encrypted, cannot be read"),
    ("tunnel_gre", "GRE packets without IP inside, or too deep in other tunnels: not entered"),
    ("tunnel_ipip", "IP in IP (4, 41) that is damaged, or too deep in other tunnels: not entered"),
    ("tunnel_other", "IPComp, L2TPv3, EtherIP, MPLS in IP and other tunnels directly on IP: counted, not entered"),
    ("arp", "ARP and RARP"),
    ("not_ip", "other network protocols that carry no sessions (LLC, STP, LLDP, CAN, ...)"),
    ("mpls", "MPLS packets that carry neither IP nor Ethernet, as far as can be told"),
    ("ppp", "PPP frames without IP: link control, compression, encryption"),
    ("wlan_encrypted", "data frames of IEEE 802.11 that are encrypted (WEP, WPA)"),
    ("wlan_talk", "frames of IEEE 802.11 that carry no data: beacons and other management, control, power saving"),
    ("wlan_piece", "data frames of IEEE 802.11 that were sent in fragments: not put together"),
    ("wlan_damaged", "frames of IEEE 802.11 that the card says were damaged on the way (a wrong check sequence): not read"),
    ("macsec", "MACsec (802.1AE): encrypted, or its header is not entered"),
    ("ethertype", "frames of other EtherTypes"),
    ("link_type", "frames of a link type that netlens does not read"),
    ("cut_link", "frames cut before the network header ended"),
    ("cut_ip", "frames cut inside the IP header or its extension headers"),
    ("cut_transport", "frames cut inside the TCP or UDP header"),
    ("bad_ip", "IP headers that contradict themselves (version, header length, total length)"),
    ("bad_transport", "TCP or UDP headers that contradict themselves (data offset, length)"),
    ("not_a_packet", "records of the container that hold no packet but have a frame number"),
)
# Counted besides, on frames that are counted above as well.
NOTES: tuple[tuple[str, str], ...] = (
    ("cut_payload", "TCP or UDP frames whose payload the snaplen cut: ClientHellos and lookups in them may be incomplete"),
    ("odd_tcp_header", "TCP segments whose data offset contradicts their length: counted, but read as having no options and no payload"),
    ("offloaded", "TCP or UDP in IP packets above 1,500 bytes or of IP length 0: offload at the capturing machine, normal"),
    ("quic_initial", "QUIC Initial packets (UDP): counted, not entered; requests over QUIC are invisible to netlens"),
    *tunnels.NOTES,
    ("wlan_aggregated", "frames of IEEE 802.11 with several packets (A-MSDU): the first is read"),
    ("tunnel_esp", "ESP in UDP (port 4500, RFC 3948): encrypted, cannot be read"),
    ("reassembled", "datagrams put together from IP fragments"),
)
R = {name: i for i, (name, _) in enumerate(REASONS + NOTES)}
N_REASONS = len(REASONS) + len(NOTES)

_TCP, _UDP, _FRAGMENT, _ICMP, _ICMP_ERROR, _OTHER = R["tcp"], R["udp"], R["fragment"], R["icmp"], R["icmp_error"], R["other_protocol"]
_ARP, _NOT_IP, _LINK, _NOT_PACKET, _ETHERTYPE = R["arp"], R["not_ip"], R["link_type"], R["not_a_packet"], R["ethertype"]
_CUT_LINK, _CUT_IP, _CUT_TRANSPORT = R["cut_link"], R["cut_ip"], R["cut_transport"]
_BAD_IP, _BAD_TRANSPORT, _CUT_PAYLOAD, _OFFLOADED = R["bad_ip"], R["bad_transport"], R["cut_payload"], R["offloaded"]
_FINE = -1
_ODD_HEADER = R["odd_tcp_header"]
_QUIC, _ESP_UDP = R["quic_initial"], R["tunnel_esp"]
_AGGREGATED = R["wlan_aggregated"]
_IN_TUNNEL = R[tunnels.NOTES[0][0]]  # of the first tunnel; those of the others follow

#: Reason by IP protocol number, of those that are neither TCP, UDP nor ICMP.
_PROTOCOL = np.full(256, _OTHER, np.int64)
_PROTOCOL[[4, 41]] = R["tunnel_ipip"]
_PROTOCOL[47] = R["tunnel_gre"]
_PROTOCOL[50] = R["esp"]
_PROTOCOL[[33, 132, 136]] = R["other_transport"]
_PROTOCOL[[55, 94, 97, 98, 108, 115, 137, 143]] = R["tunnel_other"]
_ESP, _NAT_T = 50, 4500  # protocol, and the port of UDP at which it passes NAT
#: Whether packets of an IP protocol are handed back beside what is read in them: IP in IP, GRE, ESP, EIGRP, OSPF, SCTP.
_IS_CARRIED = np.zeros(256, np.bool_)
_IS_CARRIED[[4, 41, 47, _ESP, 88, 89, 132]] = True
#: Whether a packet of a reason may be a tunnel that is entered.
_MAY_BE_TUNNEL = np.zeros(N_REASONS, np.bool_)
_MAY_BE_TUNNEL[_PROTOCOL[list(tunnels.PROTOCOLS)]] = True
#: Reason by EtherType, of those that are not IP; up to 1500 it is a length, and LLC follows.
_ETHERTYPES = np.full(65536, _ETHERTYPE, np.uint8)  # small: all of it is part of the machine code
_ETHERTYPES[:1501] = _NOT_IP
_ETHERTYPES[[0x0806, 0x8035]] = _ARP
_ETHERTYPES[[0x8847, 0x8848]] = R["mpls"]
_ETHERTYPES[0x880B] = R["ppp"]
_ETHERTYPES[0x88E5] = R["macsec"]
_ETHERTYPES[AIR_ENCRYPTED], _ETHERTYPES[AIR_TALK] = R["wlan_encrypted"], R["wlan_talk"]
_ETHERTYPES[AIR_PIECE], _ETHERTYPES[AIR_DAMAGED] = R["wlan_piece"], R["wlan_damaged"]
# What talks of the link itself, and what SLL has no EtherType for: PPPoE discovery, LACP, EAPOL, LLDP, PTP, CFM, loop tests, ring protocols, wake on LAN, CDP
_ETHERTYPES[
    [0x0842, 0x22EA, 0x22F0, 0x6002, 0x8809, 0x8863, 0x8892, 0x888E, 0x88B8, 0x88BA, 0x88CC, 0x88E1, 0x88E3, 0x88F5, 0x88F7, 0x88FB]
] = _NOT_IP
_ETHERTYPES[[0x2000, 0x8902, 0x890D, 0x8912, 0x9000, 0x9003, 0xFFFF]] = _NOT_IP

# One row of ``fragments``: frame, time, interface, version, addresses, id, protocol, offset and more (or QUOTING), where its payload is, how long, captured.
FRAGMENT_WIDTH = 14
PIECE = 10
QUOTING = -2  #: in PIECE: no fragment, but an ICMP error or redirect
ASKING = -3  #: an echo, or neighbour discovery (proto 1, 58), ARP (proto 0), or VRRP (112)
_ARP_BYTES = 28  #: of Ethernet and IPv4 (RFC 826)
OF_LINK = -4  #: of the link itself (the EtherType stands where the version does, of spanning trees BPDU)
CARRIED = -5  #: of a protocol beside TCP, UDP and ICMP, be it entered or not: tunnels, SCTP, EIGRP, OSPF
#: any frame of IEEE 802.11, beside what is in it: link type, its frame control, signal (dBm) and frequency (MHz; 0: not told) stand where version and
#: addresses do, behind them how many packets are in it; the payload is all of the frame from its header on
HEARD = -6
#: CAN, PPPoE discovery (and what controls PPP inside PPPoE), EAP over LAN, slow protocols (LACP), MAC control (PAUSE), PROFINET
_TALKS_OF_LINK = np.zeros(65536, np.bool_)
_TALKS_OF_LINK[[CAN, 0x8808, 0x8809, 0x8863, 0x888E, 0x8892]] = True
BPDU = 0x42  #: SAP of spanning trees (IEEE 802.1D-2004 9.2); Cisco's go by SNAP
OSI = 0xFE  #: SAP of IS-IS (ISO/IEC TR 9577)
_SNAP = 8  #: bytes of the longest header of LLC
_CISCO_BPDU = 0x00000C01  # OUI, and of the number 010B the first byte
MAX_EXTENSION_HEADERS = 16  #: RFC 8200 4.1 wants each at most once; more than this is an attack, not a packet

MIN_TCP_HEADER, UDP_HEADER = 20, 8
TCP_FLAG_BITS = 0xFFF
ETHERNET_MTU = 1500
_ONLY_TIMES = 0x0101080A  # NOP NOP timestamps, what almost every segment has (RFC 7323 appendix A)


@lean
def note(quality, reason, frame):
    """Count a frame under a reason; the first of each is remembered."""
    if quality[reason, 0] == 0:
        quality[reason, 1] = frame
    quality[reason, 0] += 1


@inlined
def _payload(row, at, cap, length, quality, frame):
    """Fill in where the payload lies, and what the session fold writes later."""
    row[c.LENGTH] = length
    row[c.PAY_OFF] = at
    row[c.PAY_CAP] = cap
    row[c.SESSION] = -1
    row[c.DIRECTION] = 0
    row[c.OFFSET] = 0
    row[c.FRESH] = 0
    row[c.ORDINAL] = 0
    if cap < length:
        note(quality, _CUT_PAYLOAD, frame)


@lean
def _tcp_options(buf, t, end, row):
    """Fill in TSVAL and OPTIONS from the options of the TCP header at ``t``, which is there as far as its byte ``end``."""
    tsval = np.int64(-1)
    options = np.int64(0)
    if end >= 32 and be32(buf, t + 20) == _ONLY_TIMES:
        tsval = be64(buf, t + 24)
        o = np.int64(32)
    else:
        o = np.int64(20)
    while o < end:
        kind = byte(buf, t + o)
        if kind == 0:
            break
        if kind == 1:
            o += 1
            continue
        if o + 1 >= end:
            break
        size = byte(buf, t + o + 1)
        if size < 2 or o + size > end:
            break
        if kind == 2 and size == 4:
            options = options & ~np.int64(0xFFFF) | be16(buf, t + o + 2)  # of an option that is there twice the last one counts
        elif kind == 3 and size == 3:
            options = options & ~np.int64(0xFF0000) | (byte(buf, t + o + 2) + 1 & 0xFF) << 16
        elif kind == 4 and size == 2:
            options |= 1 << 24
        elif kind == 5:
            blocks = (size - 2) // 8
            options = options & ~np.int64(0x3E000000) | blocks << 25  # at most 4 fit into 40 bytes of options
            if blocks >= 1 and row[c.FLAGS] & c.ACK_FLAG:
                # RFC 2883 4: a first block below the acknowledgment, or inside the second block, reports a duplicate
                left = be32(buf, t + o + 2)
                if (left - row[c.ACK]) & 0x80000000:
                    options |= 1 << 29
                elif blocks >= 2:
                    right = be32(buf, t + o + 6)
                    if not (left - be32(buf, t + o + 10)) & 0x80000000 and not (be32(buf, t + o + 14) - right) & 0x80000000:
                        options |= 1 << 29
        elif kind == 8 and size == 10:
            tsval = be64(buf, t + o + 2)
        o += size
    row[c.TSVAL] = tsval
    row[c.OPTIONS] = options


@inlined
def udp_length(buf, t, length):
    """Bytes of the UDP datagram at ``t`` in IP payload of ``length``, -1 if its header contradicts itself.

    0 is an offloaded (UDP GSO) or jumbo datagram. One that claims more than IP has is read as far as IP goes, as Wireshark does.
    """
    claimed = be16(buf, t + 4)
    return length if claimed == 0 else min(length, claimed) if claimed >= UDP_HEADER else np.int64(-1)


@lean
def _transport(buf, t, tcap, tlen, proto, row, quality, frame):
    """Fill ``row`` from the transport header at ``t`` (``tcap`` captured of ``tlen`` bytes); returns the reason, which is tcp or udp on success."""
    if proto == 6:
        if tcap < MIN_TCP_HEADER:
            return _CUT_TRANSPORT if tlen >= MIN_TCP_HEADER else _BAD_TRANSPORT
        sport = be16(buf, t)
        dport = be16(buf, t + 2)
        bits = be16(buf, t + 12)
        header = (bits >> 12) * 4
        end = min(header, tcap)
        if header < MIN_TCP_HEADER or header > tlen:
            # The fixed part is whole, so the segment belongs to its session; what follows it cannot be told: no options, no payload.
            note(quality, _ODD_HEADER, frame)
            header = tlen
            end = np.int64(0)
        row[c.KIND] = c.TCP
        row[c.SEQ] = be32(buf, t + 4)
        row[c.ACK] = be32(buf, t + 8)
        row[c.FLAGS] = bits & TCP_FLAG_BITS
        row[c.WINDOW] = be16(buf, t + 14)
        _tcp_options(buf, t, end, row)
        reason = _TCP
    else:
        if tcap < UDP_HEADER:
            return _CUT_TRANSPORT if tlen >= UDP_HEADER else _BAD_TRANSPORT
        sport = be16(buf, t)
        dport = be16(buf, t + 2)
        header = np.int64(UDP_HEADER)
        tlen = udp_length(buf, t, tlen)
        if tlen < 0:
            return _BAD_TRANSPORT
        tcap = min(tcap, tlen)
        row[c.KIND] = c.UDP
        row[c.SEQ] = 0
        row[c.ACK] = 0
        row[c.FLAGS] = 0
        row[c.WINDOW] = 0
        row[c.TSVAL] = -1
        row[c.OPTIONS] = 0
        reason = _UDP
    length = tlen - header
    cap = min(max(tcap - header, 0), length)
    row[c.PORTS] = row[c.PORTS] | sport << 16 | dport
    _payload(row, t + header, cap, length, quality, frame)
    if reason == _TCP:
        row[c.HINT] = segment_hint(buf, t + header, cap, length) if cap >= 2 else 0
    else:
        row[c.HINT] = 0
        if cap >= 7 and (sport == 443 or dport == 443):
            # RFC 9000 17.2.2 (version 1: type 0) and RFC 9369 (version 2: type 1)
            first = byte(buf, t + 8)
            version = be32(buf, t + 9)
            if first & 0xC0 == 0xC0 and ((version == 1 and first & 0x30 == 0) or (version == 0x6B3343CF and first & 0x30 == 0x10)):
                note(quality, _QUIC, frame)
    return reason


@lean
def _refused(reason):
    """What :func:`_ipv4` and :func:`_ipv6` return of a header that cannot be read."""
    return reason, np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(-1)


@inlined
def _ipv4(buf, o, cap, wire, row):
    """Fill in the addresses of the IPv4 header at ``o``.

    Returns
    -------
    (reason, t, tcap, tlen, proto, ident, piece)
        reason: _FINE, or why it cannot be read; where its payload begins, how much is captured, how long it is and of which protocol; of a fragment its
        identification, and offset * 2 + whether more follow (-1: it is none).
    """
    if cap < 20:
        return _refused(_CUT_IP if wire >= 20 else _BAD_IP)
    header = (byte(buf, o) & 15) * 4
    total = be16(buf, o + 2)
    if header < 20:
        return _refused(_BAD_IP)
    if total == 0:
        total = wire  # TSO: the length did not fit or was left to the card
    elif total < header:
        return _refused(_BAD_IP)
    elif total > wire:
        total = wire
    if header > total:
        return _refused(_BAD_IP)
    if cap < header:
        return _refused(_CUT_IP)
    cap = min(cap, total)
    proto = byte(buf, o + 9)
    row[c.SRC_HI] = 0
    row[c.SRC_LO] = c.V4_PREFIX | be32(buf, o + 12)
    row[c.DST_HI] = 0
    row[c.DST_LO] = c.V4_PREFIX | be32(buf, o + 16)
    if header > 20:
        final = final_v4(buf, o + 20, o + header)
        if final >= 0:
            row[c.DST_LO] = c.V4_PREFIX | be32(buf, final)
    fragment = be16(buf, o + 6)
    t = o + header
    tcap = cap - header
    tlen = total - header
    while proto == 51 and not fragment & 0x3FFF:  # AH (RFC 4302): authenticated, not hidden; of a fragment once it is put together
        size = (byte(buf, t + 1) + 2) * 4 if tcap >= 2 else np.int64(12)
        if size < 12 or size > tcap:
            return _refused(_BAD_IP if size < 12 or size > tlen else _CUT_IP)
        proto = byte(buf, t)
        t += size
        tcap -= size
        tlen -= size
    if not fragment & 0x3FFF:
        return _FINE, t, tcap, tlen, proto, np.int64(0), np.int64(-1)
    return _FINE, t, tcap, tlen, proto, be16(buf, o + 4), (fragment & 0x1FFF) << 4 | (fragment >> 13 & 1)


@inlined
def _ipv6(buf, o, cap, wire, row):
    """The same of an IPv6 header and its extension headers."""
    if cap < 40:
        return _refused(_CUT_IP if wire >= 40 else _BAD_IP)
    tlen = be16(buf, o + 4)
    if tlen == 0 and byte(buf, o + 6) != 59:
        tlen = wire - 40  # jumbogram (RFC 2675) or TSO
    tlen = min(tlen, wire - 40)
    tcap = min(cap - 40, tlen)
    proto = byte(buf, o + 6)
    row[c.SRC_HI] = be64(buf, o + 8)
    row[c.SRC_LO] = be64(buf, o + 16)
    row[c.DST_HI] = be64(buf, o + 24)
    row[c.DST_LO] = be64(buf, o + 32)
    t = o + 40
    ident, piece = np.int64(0), np.int64(-1)
    for _ in range(MAX_EXTENSION_HEADERS):
        if proto == 0 or proto == 43 or proto == 60 or proto == 135 or proto == 139 or proto == 140 or proto == 51:
            if tcap < 8:
                return _refused(_CUT_IP if tlen >= 8 else _BAD_IP)
            size = (byte(buf, t + 1) + 2) * 4 if proto == 51 else (byte(buf, t + 1) + 1) * 8
        elif proto == 44:
            if tcap < 8:
                return _refused(_CUT_IP if tlen >= 8 else _BAD_IP)
            size = np.int64(8)
            if be16(buf, t + 2) & 0xFFF9:  # RFC 6946: an atomic fragment is none
                ident, piece = be32(buf, t + 4), (be16(buf, t + 2) & 0xFFF8) << 1 | be16(buf, t + 2) & 1
        else:
            break
        if size > tcap:
            return _refused(_CUT_IP if size <= tlen else _BAD_IP)
        if proto == 43:
            final = final_v6(buf, t, size)
            if final >= 0:
                row[c.DST_HI], row[c.DST_LO] = be64(buf, final), be64(buf, final + 8)
        proto = byte(buf, t)
        t += size
        tcap -= size
        tlen -= size
        if piece >= 0:
            break
    return _FINE, t, tcap, tlen, proto, ident, piece


@lean
def _hand_back(row, fragments, n_fragments, frame, kind, ident, proto, piece, t, tlen, tcap):
    """Note a packet that makes no row as one of ``fragments``; returns how many there are."""
    if n_fragments >= fragments.shape[0]:
        return n_fragments
    f = fragments[n_fragments]
    f[0], f[1], f[2], f[3] = frame, row[c.TS], row[c.IFACE], kind
    f[4], f[5], f[6], f[7] = row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO]
    f[8], f[9], f[PIECE], f[11], f[12], f[13] = ident, proto, piece, t, tlen, tcap
    return n_fragments + 1


@lean
def _hear(buf, o, cap, wire, link, row, fragments, n_fragments, quality, frame):
    """Hand back what was heard of a frame on the air, and count it if there are several packets in it; returns (fragments, whether it is such a frame)."""
    at, kind, dbm, mhz = heard(buf, o, cap, link)
    if at < 0 or cap - (at - o) < 2:
        return n_fragments, False
    left = cap - (at - o)
    size, _following, where = ieee80211.header(buf, at, left, kind)
    several = np.int64(1)
    if size >= ieee80211.SUBFRAME and where & AIR_FIRST:
        several = ieee80211.packets(buf, at + size - ieee80211.SUBFRAME, at + left)
        if several > 1:
            note(quality, _AGGREGATED, frame)
    before = n_fragments
    n_fragments = _hand_back(row, fragments, n_fragments, frame, link, np.int64(0), np.int64(0), np.int64(HEARD), at, wire - (at - o), left)
    if n_fragments > before:
        f = fragments[before]
        f[4], f[5], f[6], f[7] = byte(buf, at) << 8 | byte(buf, at + 1), dbm, mhz, several
    return n_fragments, True


@inlined
def _is_esp(buf, row):
    """Whether a datagram at the port of IPsec behind NAT is ESP: neither IKE, which four zero bytes mark, nor a keep-alive of one byte (RFC 3948 2)."""
    ports, o = row[c.PORTS], row[c.PAY_OFF]
    return (ports & 0xFFFF == _NAT_T or ports >> 16 & 0xFFFF == _NAT_T) and row[c.PAY_CAP] >= 8 and be32(buf, o) != 0


@inlined
def _is_bpdu(buf, o):
    """Whether the header of LLC or SNAP that ends at ``o``, with :data:`_SNAP` bytes of the frame before it, is that of a spanning tree."""
    plain = byte(buf, o - 3) == BPDU and byte(buf, o - 2) == BPDU and byte(buf, o - 1) == 3
    return plain or (be32(buf, o - 5) == _CISCO_BPDU and byte(buf, o - 1) == 0x0B and be16(buf, o - 8) == 0xAAAA)


@inlined
def _of_llc(buf, o):
    """:data:`BPDU` or :data:`OSI` where the header of LLC that ends at ``o`` says so, with :data:`_SNAP` bytes of the frame before it; else 0."""
    if byte(buf, o - 3) == OSI and byte(buf, o - 2) == OSI and byte(buf, o - 1) == 3:
        return np.int64(OSI)
    return np.int64(BPDU if _is_bpdu(buf, o) else 0)


@lean
def decode_network(buf, o, cap, wire, kind, row, fragments, n_fragments, quality, frame):
    """From the network header on; returns (reason, fragments)."""
    if kind != 0x0800 and kind != 0x86DD:
        if kind == 0x0806 and cap >= _ARP_BYTES:
            size = np.int64(_ARP_BYTES)  # whatever pads the frame is not part of the message
            n_fragments = _hand_back(row, fragments, n_fragments, frame, kind, np.int64(0), np.int64(0), np.int64(ASKING), o, size, size)
        elif _TALKS_OF_LINK[kind]:
            n_fragments = _hand_back(row, fragments, n_fragments, frame, kind, np.int64(0), np.int64(0), np.int64(OF_LINK), o, cap, cap)
        return np.int64(_ETHERTYPES[kind]), n_fragments
    kind = np.int64(4 if kind == 0x0800 else 6)
    if cap < 1:
        return _CUT_IP, n_fragments
    if byte(buf, o) >> 4 != kind:
        return _BAD_IP, n_fragments
    reason, t, tcap, tlen, proto, ident, piece = _ipv4(buf, o, cap, wire, row) if kind == 4 else _ipv6(buf, o, cap, wire, row)
    if reason != _FINE:
        return reason, n_fragments
    row[c.PORTS] = kind << 32
    if piece >= 0:
        return _FRAGMENT, _hand_back(row, fragments, n_fragments, frame, kind, ident, proto, piece, t, tlen, tcap)
    if proto == 6 or proto == 17:
        if be16(buf, o + (2 if kind == 4 else 4)) == 0 or tlen + (t - o) > ETHERNET_MTU:
            note(quality, _OFFLOADED, frame)
        reason = _transport(buf, t, tcap, tlen, proto, row, quality, frame)
        if reason == _UDP and _is_esp(buf, row):
            note(quality, _ESP_UDP, frame)
            t, tlen, tcap = row[c.PAY_OFF], row[c.LENGTH], row[c.PAY_CAP]
            n_fragments = _hand_back(row, fragments, n_fragments, frame, kind, ident, np.int64(_ESP), np.int64(CARRIED), t, tlen, tcap)
        return reason, n_fragments
    if proto == 1:
        if tcap >= 1 and (byte(buf, t) == 3 or byte(buf, t) == 4 or byte(buf, t) == 5 or byte(buf, t) == 11 or byte(buf, t) == 12):
            return _ICMP_ERROR, _hand_back(row, fragments, n_fragments, frame, kind, ident, proto, np.int64(QUOTING), t, tlen, tcap)
        if tcap >= 8 and (byte(buf, t) == 8 or byte(buf, t) == 0):
            n_fragments = _hand_back(row, fragments, n_fragments, frame, kind, ident, proto, np.int64(ASKING), t, tlen, tcap)
        return _ICMP, n_fragments
    if proto == 58:
        if tcap >= 1 and (byte(buf, t) < 128 or byte(buf, t) == 137):
            return _ICMP_ERROR, _hand_back(row, fragments, n_fragments, frame, kind, ident, proto, np.int64(QUOTING), t, tlen, tcap)
        if tcap >= 8 and (byte(buf, t) == 128 or byte(buf, t) == 129 or (byte(buf, t) >= 134 and byte(buf, t) <= 136)):
            n_fragments = _hand_back(row, fragments, n_fragments, frame, kind, ident, proto, np.int64(ASKING), t, tlen, tcap)
        return _ICMP, n_fragments
    if proto == 112:
        n_fragments = _hand_back(row, fragments, n_fragments, frame, kind, ident, proto, np.int64(ASKING), t, tlen, tcap)
    elif _IS_CARRIED[proto]:
        n_fragments = _hand_back(row, fragments, n_fragments, frame, kind, ident, proto, np.int64(CARRIED), t, tlen, tcap)
    row[c.KIND], row[c.PAY_OFF], row[c.PAY_CAP], row[c.LENGTH] = proto, t, tcap, tlen  # for enter
    return _PROTOCOL[proto], n_fragments


@inlined
def _tunnel(reason, row):
    """(kind, note) of the tunnel that a packet may be by its protocol or port; note -1 for nearly all packets, which are none."""
    if reason == _UDP:
        return tunnels.of_ports(row[c.PORTS] >> 16 & 0xFFFF, row[c.PORTS] & 0xFFFF)
    if not _MAY_BE_TUNNEL[reason]:
        return np.int64(0), np.int64(-1)
    kind = tunnels.PROTOCOL | row[c.KIND]
    return kind, tunnels.note_of(kind)


@lean
def enter(buf, reason, row, fragments, n_fragments, quality, frame):
    """Go into a packet that was decoded to ``reason`` and ``row`` as far as there are tunnels; returns (reason, fragments) of the innermost packet."""
    for _ in range(tunnels.MAX_TUNNELS):
        kind, which = _tunnel(reason, row)
        if which < 0:
            break
        at, cap, length = row[c.PAY_OFF], row[c.PAY_CAP], row[c.LENGTH]
        size, _following, start, network = tunnels.enter(buf, at, cap, length, kind)
        if size < 0:
            break
        if reason == _UDP and cap < length:
            quality[_CUT_PAYLOAD, 0] -= 1  # it is the inner packet's that counts
        note(quality, _IN_TUNNEL + which, frame)
        used = start - at
        reason, n_fragments = decode_network(buf, start, cap - used, length - used, network, row, fragments, n_fragments, quality, frame)
    return reason, n_fragments


@lean
def reassembled(buf, t, tcap, tlen, proto, row, fragments, quality, frame):
    """Fill ``row`` from the payload of a datagram that was put together from fragments; returns the reason, which is tcp or udp on success.

    ``fragments`` has no room: what is a fragment again, inside a tunnel, is counted and not put together.
    """
    if proto == 6 or proto == 17:
        reason = _transport(buf, t, tcap, tlen, proto, row, quality, frame)
    else:
        row[c.KIND], row[c.PAY_OFF], row[c.PAY_CAP], row[c.LENGTH] = proto, t, tcap, tlen
        reason = _PROTOCOL[proto]
    reason, _ = enter(buf, reason, row, fragments, 0, quality, frame)
    return reason


@lean
def _usual(buf, o, cap, wire, row, quality, frame):
    """What nearly all packets are, from the network header on: TCP in IPv4, both without rare things; fills ``row``.

    Returns False, and may have written some of ``row``, if the packet must go through :func:`decode_network`, which would write the same.
    """
    if cap < 40 or byte(buf, o) != 0x45 or byte(buf, o + 9) != 6 or be16(buf, o + 6) & 0x3FFF:
        return False
    total = be16(buf, o + 2)
    t = o + 20
    bits = be16(buf, t + 12)
    header = (bits >> 12) * 4
    length = total - 20 - header
    if total > wire or total > ETHERNET_MTU or header < MIN_TCP_HEADER or length < 0:
        return False
    if header == 20:
        row[c.TSVAL] = -1
    elif header == 32 and cap >= 52 and be32(buf, t + 20) == _ONLY_TIMES:
        row[c.TSVAL] = be64(buf, t + 24)
    else:
        return False
    row[c.SRC_HI] = 0
    row[c.SRC_LO] = c.V4_PREFIX | be32(buf, o + 12)
    row[c.DST_HI] = 0
    row[c.DST_LO] = c.V4_PREFIX | be32(buf, o + 16)
    row[c.PORTS] = np.int64(4) << 32 | be32(buf, t)
    row[c.KIND] = c.TCP
    row[c.SEQ] = be32(buf, t + 4)
    row[c.ACK] = be32(buf, t + 8)
    row[c.FLAGS] = bits & TCP_FLAG_BITS
    row[c.WINDOW] = be16(buf, t + 14)
    row[c.OPTIONS] = 0
    pay_cap = min(cap - 20 - header, length)
    row[c.HINT] = segment_hint(buf, t + header, pay_cap, length) if pay_cap >= 2 else 0
    _payload(row, t + header, pay_cap, length, quality, frame)
    return True


@lean
def decode(buf, frames, n, links, frame0, packets, fragments, quality):
    """Decode ``n`` framed records into ``packets``.

    Parameters
    ----------
    buf : uint8[:]
    frames : int64[n, 5]
        offset, captured length, wire length, time, interface (-1: no packet) of each record.
    links : int64[:]
        link type of each interface.
    frame0 : int
        number of the frame before the first of this batch.
    packets : int64[n, WIDTH], fragments : int64[n, FRAGMENT_WIDTH], quality : int64[N_REASONS, 2]
        written; quality counts frames by reason and remembers the first frame of each.

    Returns
    -------
    (rows of packets, rows of fragments)
    """
    m = 0
    n_fragments = 0
    for i in range(n):
        frame = frame0 + i + 1
        iface = frames[i, F_IFACE]
        if iface < 0:
            note(quality, _NOT_PACKET, frame)
            continue
        row = packets[m]
        row[c.FRAME] = frame
        row[c.TS] = frames[i, F_TS]
        o, cap, wire = frames[i, F_OFF], frames[i, F_CAP], max(frames[i, F_WIRE], frames[i, F_CAP])
        start, kind, where = network_start(buf, o, cap, links[iface])
        row[c.IFACE] = iface << 40 | where
        if where & ON_AIR:
            n_fragments, is_heard = _hear(buf, o, cap, wire, links[iface], row, fragments, n_fragments, quality, frame)
            if is_heard:
                row[c.IFACE] &= ~np.int64(AIR_FIRST)
        if start < 0:
            note(quality, _CUT_LINK if start == CUT else _LINK, frame)
            continue
        used = start - o
        if kind == 0x0800 and _usual(buf, start, cap - used, wire - used, row, quality, frame):
            note(quality, _TCP, frame)
            m += 1
            continue
        talks = _of_llc(buf, start) if kind == 0 and used >= _SNAP else np.int64(0)
        if talks != 0:
            n_fragments = _hand_back(
                row,
                fragments,
                n_fragments,
                frame,
                talks,
                np.int64(0),
                np.int64(0),
                np.int64(OF_LINK),
                start,
                cap - used,
                cap - used,
            )
        reason, n_fragments = decode_network(buf, start, cap - used, wire - used, kind, row, fragments, n_fragments, quality, frame)
        if _tunnel(reason, row)[1] >= 0:
            reason, n_fragments = enter(buf, reason, row, fragments, n_fragments, quality, frame)
        note(quality, reason, frame)
        if reason == _TCP or reason == _UDP:
            m += 1
    return m, n_fragments
