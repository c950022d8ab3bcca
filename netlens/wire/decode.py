"""The decode kernel: framed bytes to rows of the packet matrix.

One pass per batch over link layer, IP and transport header of every frame; of a tunnel, over those of the packet inside
(:mod:`netlens.wire.encapsulation`). Nothing is remembered from one frame to the next: IP fragments are handed back (``fragments``) for
:mod:`netlens.wire.fragments`, everything that makes no row is counted by reason in ``quality``, so that frames in = frames accounted for. Every
read is checked against the captured length; no byte string can make it read outside the frame.

Normal, not errors: frames cut by the snaplen, segments of 64 kB and zero IP total lengths (TSO and GRO), unset checksums (offload; checksums
are not verified at all), Ethernet padding.

ICMP errors quote a packet; the quoted packet was not on the wire here, so only the ICMP message is counted.
"""

from __future__ import annotations

import numpy as np

from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire.compiled import lean
from netlens.wire.containers import F_CAP, F_IFACE, F_OFF, F_TS, F_WIRE
from netlens.wire.encapsulation import GENEVE_PORT, GRE_PORT, GTP_PORT, MAX_TUNNELS, VXLAN_PORT, inner_of_ip, inner_of_udp, ip_inside
from netlens.wire.link import network_start
from netlens.wire.routes import final_v4, final_v6
from netlens.wire.tls import front
from netlens.wire.words import be16, be32, be64, byte

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
    ("not_ip", "other network protocols that carry no sessions (LLC, STP, LLDP, ...)"),
    ("mpls", "MPLS packets that carry neither IP nor Ethernet, as far as can be told"),
    ("ppp", "PPP frames without IP: link control, compression, encryption"),
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
    ("in_gre", "packets inside GRE, ERSPAN included: read in place of the outer one"),
    ("in_ip", "packets inside IP in IP: read in place of the outer one"),
    ("in_vxlan", "packets inside VXLAN (UDP 4789): read in place of the outer one"),
    ("in_geneve", "packets inside Geneve (UDP 6081): read in place of the outer one"),
    ("in_gtp", "packets inside GTP-U (UDP 2152): read in place of the outer one"),
    ("tunnel_esp", "ESP in UDP (port 4500, RFC 3948): encrypted, cannot be read"),
    ("reassembled", "datagrams put together from IP fragments"),
)
R = {name: i for i, (name, _) in enumerate(REASONS + NOTES)}
N_REASONS = len(REASONS) + len(NOTES)

_TCP, _UDP, _FRAGMENT, _ICMP, _ICMP_ERROR, _OTHER = R["tcp"], R["udp"], R["fragment"], R["icmp"], R["icmp_error"], R["other_protocol"]
_ARP, _NOT_IP, _LINK, _NOT_PACKET, _ETHERTYPE = R["arp"], R["not_ip"], R["link_type"], R["not_a_packet"], R["ethertype"]
_CUT_LINK, _CUT_IP, _CUT_TRANSPORT = R["cut_link"], R["cut_ip"], R["cut_transport"]
_BAD_IP, _BAD_TRANSPORT, _CUT_PAYLOAD, _OFFLOADED = R["bad_ip"], R["bad_transport"], R["cut_payload"], R["offloaded"]
_ODD_HEADER = R["odd_tcp_header"]
_QUIC, _ESP_UDP, _GRE, _IPIP = R["quic_initial"], R["tunnel_esp"], R["tunnel_gre"], R["tunnel_ipip"]
_IN_GRE, _IN_IP, _IN_VXLAN, _IN_GENEVE, _IN_GTP = R["in_gre"], R["in_ip"], R["in_vxlan"], R["in_geneve"], R["in_gtp"]

#: Reason by IP protocol number, of those that are neither TCP, UDP nor ICMP.
_PROTOCOL = np.full(256, _OTHER, np.int64)
_PROTOCOL[[4, 41]] = R["tunnel_ipip"]
_PROTOCOL[47] = R["tunnel_gre"]
_PROTOCOL[50] = R["esp"]
_PROTOCOL[[33, 132, 136]] = R["other_transport"]
_PROTOCOL[[55, 94, 97, 98, 108, 115, 137, 143]] = R["tunnel_other"]
#: Reason by EtherType, of those that are not IP; up to 1500 it is a length, and LLC follows.
_ETHERTYPES = np.full(65536, _ETHERTYPE, np.int64)
_ETHERTYPES[:1501] = _NOT_IP
_ETHERTYPES[[0x0806, 0x8035]] = _ARP
_ETHERTYPES[[0x8847, 0x8848]] = R["mpls"]
_ETHERTYPES[0x880B] = R["ppp"]
_ETHERTYPES[0x88E5] = R["macsec"]
# What talks of the link itself, and what SLL has no EtherType for: PPPoE discovery, LACP, EAPOL, LLDP, PTP, CFM, loop tests, ring protocols, wake on LAN, CDP
_ETHERTYPES[
    [0x0842, 0x22EA, 0x22F0, 0x6002, 0x8809, 0x8863, 0x8892, 0x888E, 0x88B8, 0x88BA, 0x88CC, 0x88E1, 0x88E3, 0x88F5, 0x88F7, 0x88FB]
] = _NOT_IP
_ETHERTYPES[[0x2000, 0x8902, 0x890D, 0x8912, 0x9000, 0x9003, 0xFFFF]] = _NOT_IP

# One row of ``fragments``: frame, time, interface, version, addresses, id, protocol, offset, more, where its payload is, how long, captured.
FRAGMENT_WIDTH = 14
MAX_EXTENSION_HEADERS = 16  #: RFC 8200 4.1 wants each at most once; more than this is an attack, not a packet

MIN_TCP_HEADER, UDP_HEADER = 20, 8
TCP_FLAG_BITS = 0xFFF
ETHERNET_MTU = 1500
MAX_METHOD = 20  #: letters; the longest registered is UPDATEREDIRECTREF
MAX_LINE = 2048  #: of a request with a method that is not known by name
_HTTP = 0x48545450
_ONLY_TIMES = 0x0101080A  # NOP NOP timestamps, what almost every segment has (RFC 7323 appendix A)


@lean
def _tls_hint(buf, o, cap, length):
    """Walk the TLS records of a segment that starts with a record header."""
    hint = np.int64(h.TLS)
    count = 0
    alike = np.int64(0)
    first = np.int64(0)
    last = np.int64(0)
    p = np.int64(0)
    for _ in range(h.MAX_RECORDS_PER_SEGMENT):
        if p + 5 > cap:
            break
        kind = byte(buf, o + p)
        size = be16(buf, o + p + 3)
        if kind < 20 or kind > 23 or byte(buf, o + p + 1) != 3 or byte(buf, o + p + 2) > 4 or size > h.TLS_MAX_RECORD:
            break
        if kind == 23:
            hint |= h.APPLICATION
            if count == 0:
                first = size
            if alike == count and size == first and alike < h.MAX_ALIKE:
                alike += 1
            last = size
            if count < 255:
                count += 1
        elif kind == 22:
            hint |= h.HANDSHAKE
            if p + 5 < cap:
                if byte(buf, o + p + 5) == 1:
                    hint |= h.CLIENT_HELLO
                elif byte(buf, o + p + 5) == 2:
                    hint |= h.SERVER_HELLO
        elif kind == 20:
            hint |= h.CHANGE_CIPHER
        else:
            hint |= h.ALERT
        p += 5 + size
        if p >= length:
            if p == length:
                hint |= h.WHOLE
            break
    return hint | np.int64(count) << h.COUNT_SHIFT | first << h.FIRST_SHIFT | last << h.LAST_SHIFT | alike << h.ALIKE_SHIFT


@lean
def _socks_hint(buf, o, cap, length):
    """The hint of a payload of two bytes or more, if it is a message of SOCKS and nothing else."""
    b, second = byte(buf, o), byte(buf, o + 1)
    if b == 5:
        if length == 2:  # the method chosen: none, GSSAPI, user and password, private ones; 255 for none of those offered
            return np.int64(h.SOCKS_REPLY)
        end = np.int64(2 + second)
        if second > 0 and length >= end and cap >= end:
            offered = True
            for i in range(o + 2, o + end):
                method = byte(buf, i)
                offered &= method < 10 or method >= 0x80
            # alone, or with the request right behind it
            if offered and (length == end or (cap >= end + 4 and byte(buf, o + end) == 5 and byte(buf, o + end + 2) == 0)):
                return np.int64(h.SOCKS)
        # the method, and the last reply behind it: for a client that waits for neither
        at = np.int64(2) if cap >= 6 and byte(buf, o + 2) == 5 else np.int64(0)
        if cap >= at + 4 and byte(buf, o + at + 1) <= 8 and byte(buf, o + at + 2) == 0:
            kind = byte(buf, o + at + 3)
            if (kind == 1 and length >= at + 10) or (kind == 4 and length >= at + 22) or (kind == 3 and length >= at + 7):
                return np.int64(h.SOCKS_REPLY | h.LAST_REPLY)
    elif b == 1:
        if length == 2:  # the answer to user and password
            return np.int64(h.SOCKS_REPLY)
    elif b == 4:
        if 1 <= second <= 2 and length >= 9 and cap == length and byte(buf, o + length - 1) == 0:
            return np.int64(h.SOCKS)
    elif b == 0 and length >= 8 and 90 <= second <= 93:  # SOCKS4 granted or refused, perhaps with the first words of the server behind it
        return np.int64(h.SOCKS_REPLY | h.LAST_REPLY)
    return np.int64(0)


@lean
def request_line(buf, o, cap):
    """HTTP_REQUEST or CONNECT if a request line begins here (RFC 9112 3), else 0.

    Where only four letters are there (cut, or blanked by ``netlens anonymize``) they decide.
    """
    w = be32(buf, o)
    if w == 0x47455420 or w == 0x50555420:  # GET, PUT
        return np.int64(h.HTTP_REQUEST)
    rest = be32(buf, o + 4) if cap >= 8 else np.int64(0)
    whole = rest != 0
    if w == 0x504F5354 or w == 0x48454144:  # POST, HEAD
        return np.int64(h.HTTP_REQUEST) if not whole or rest >> 24 == 0x20 else np.int64(0)
    if w == 0x50415443 or w == 0x54524143:  # PATCH, TRACE
        return np.int64(h.HTTP_REQUEST) if not whole or rest >> 16 == (0x4820 if w == 0x50415443 else 0x4520) else np.int64(0)
    if w == 0x44454C45:  # DELETE
        return np.int64(h.HTTP_REQUEST) if not whole or rest >> 8 == 0x544520 else np.int64(0)
    if w == 0x4F505449:  # OPTIONS
        return np.int64(h.HTTP_REQUEST) if not whole or rest == 0x4F4E5320 else np.int64(0)
    if w == 0x434F4E4E and (not whole or rest == 0x45435420):
        # of an authority, "CONNECT api.example.test:443"; never of a path
        return np.int64(h.CONNECT) if cap >= 9 and byte(buf, o + 8) != 47 else np.int64(h.HTTP_REQUEST)
    # Any other method (WebDAV's, say) by the whole line: capital letters or hyphens, a space, a target, and the version
    n = 0
    while n < min(cap, MAX_METHOD) and (65 <= byte(buf, o + n) <= 90 or (byte(buf, o + n) == 45 and n > 0)):
        n += 1
    if n < 3 or n + 2 > cap or byte(buf, o + n) != 32 or (byte(buf, o + n + 1) != 47 and byte(buf, o + n + 1) != 104):
        return np.int64(0)
    for i in range(o + n + 2, o + min(cap, MAX_LINE) - 8):
        b = byte(buf, i)
        if b == 32:
            return np.int64(h.HTTP_REQUEST) if be32(buf, i + 1) == _HTTP and byte(buf, i + 5) == 47 else np.int64(0)
        if b < 32:
            break
    return np.int64(0)


@lean
def _http_request(buf, o, cap):
    """The hint of a payload that begins with a request line; 0 for others."""
    kind = request_line(buf, o, cap)
    if kind != h.HTTP_REQUEST:
        return kind
    more = np.int64(0)
    for i in range(o + 16, o + min(cap, h.MORE_WITHIN) - 8):  # a request without a body, and the next one behind it
        if byte(buf, i) == 13 and be32(buf, i) == 0x0D0A0D0A and more < h.MAX_MORE and request_line(buf, i + 4, o + cap - i - 4):
            more += 1
    return kind | more << h.MORE_SHIFT


@lean
def status_line(buf, o, cap):
    """The status code of a status line (RFC 9112 4), or -1."""
    if cap < 12 or be32(buf, o) != _HTTP or byte(buf, o + 4) != 47 or byte(buf, o + 8) != 32:
        return np.int64(-1)
    status = np.int64(0)
    for i in range(o + 9, o + 12):
        d = byte(buf, i) - 48
        if d < 0 or d > 9:
            return np.int64(-1)
        status = status * 10 + d
    return status


@lean
def _proxy_hint(buf, o, cap, length):
    """The hint of what stands behind a PROXY header in the same segment, PROXY if nothing does, 0 if it is none."""
    skip = front(buf, o, o + cap) - o
    if skip <= 0:
        return np.int64(0)
    o, cap, length = o + skip, cap - skip, length - skip
    if cap < 5:
        return np.int64(h.PROXY)
    b = byte(buf, o)
    if 20 <= b <= 23 and byte(buf, o + 1) == 3 and byte(buf, o + 2) <= 4 and be16(buf, o + 3) <= h.TLS_MAX_RECORD:
        return _tls_hint(buf, o, cap, length)
    hint = _http_request(buf, o, cap)
    return hint | skip << h.PREFIX_SHIFT if hint & h.CLASS_MASK == h.HTTP_REQUEST else hint


@lean
def _rare_hint(buf, o, cap, length):
    """The hint of a payload that begins with a control character: SOCKS, or a PROXY header of version 2."""
    if byte(buf, o) == 13:
        return _proxy_hint(buf, o, cap, length) if be32(buf, o) == 0x0D0A0D0A else np.int64(0)
    return _socks_hint(buf, o, cap, length)


@lean
def payload_hint(buf, o, cap, length):
    """The hint (see :mod:`netlens.wire.hints`) of a payload at ``buf[o:o+cap]`` that is ``length`` bytes on the wire."""
    if cap < 4:
        return _socks_hint(buf, o, cap, length) if cap >= 2 else np.int64(0)
    b = byte(buf, o)
    if 20 <= b <= 23:
        if cap >= 5 and byte(buf, o + 1) == 3 and byte(buf, o + 2) <= 4 and be16(buf, o + 3) <= h.TLS_MAX_RECORD:
            return _tls_hint(buf, o, cap, length)
        return np.int64(0)
    # C .. U. Encrypted bytes may be anything, so few branches lead here: a mispredicted one in ten costs more than the work.
    if b < 67 or b > 85:
        return _rare_hint(buf, o, cap, length) if b <= 13 else np.int64(0)
    w = be32(buf, o)
    if w == 0x50524F58:  # PROX
        return _proxy_hint(buf, o, cap, length)
    if w == 0x5353482D:  # SSH-
        return np.int64(h.SSH)
    if w == _HTTP:
        status = status_line(buf, o, cap)
        if status < 0:
            return np.int64(0)
        more = np.int64(0)
        for i in range(o + 12, o + min(cap, h.MORE_WITHIN) - 12):
            if byte(buf, i) == 72 and more < h.MAX_MORE and status_line(buf, i, o + cap - i) >= 200:
                more += 1
        return np.int64(h.HTTP_RESPONSE) | status << h.STATUS_SHIFT | more << h.MORE_SHIFT
    if w == 0x50524920:  # "PRI " of the HTTP/2 preface, RFC 9113 3.4
        return np.int64(h.HTTP2_PREFACE)
    return _http_request(buf, o, cap)


@lean
def _note(quality, reason, frame):
    if quality[reason, 0] == 0:
        quality[reason, 1] = frame
    quality[reason, 0] += 1


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
            _note(quality, _ODD_HEADER, frame)
            header = tlen
            end = np.int64(0)
        row[c.KIND] = c.TCP
        row[c.SEQ] = be32(buf, t + 4)
        row[c.ACK] = be32(buf, t + 8)
        row[c.FLAGS] = bits & TCP_FLAG_BITS
        row[c.WINDOW] = be16(buf, t + 14)
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
        reason = _TCP
    else:
        if tcap < UDP_HEADER:
            return _CUT_TRANSPORT if tlen >= UDP_HEADER else _BAD_TRANSPORT
        sport = be16(buf, t)
        dport = be16(buf, t + 2)
        ulen = be16(buf, t + 4)
        header = np.int64(UDP_HEADER)
        # 0 is an offloaded (UDP GSO) or jumbo datagram. One that claims more than IP has is read as far as IP goes, as Wireshark does
        if ulen >= UDP_HEADER:
            tlen = min(tlen, ulen)
            tcap = min(tcap, ulen)
        elif ulen != 0:
            return _BAD_TRANSPORT
        row[c.KIND] = c.UDP
        row[c.SEQ] = 0
        row[c.ACK] = 0
        row[c.FLAGS] = 0
        row[c.WINDOW] = 0
        row[c.TSVAL] = -1
        row[c.OPTIONS] = 0
        reason = _UDP
    length = tlen - header
    cap = max(tcap - header, 0)
    if cap > length:
        cap = length
    row[c.LENGTH] = length
    row[c.PAY_OFF] = t + header
    row[c.PAY_CAP] = cap
    row[c.PORTS] = row[c.PORTS] | sport << 16 | dport
    row[c.SESSION] = -1
    row[c.DIRECTION] = 0
    row[c.OFFSET] = 0
    row[c.FRESH] = 0
    row[c.ORDINAL] = 0
    if cap < length:
        _note(quality, _CUT_PAYLOAD, frame)
    if reason == _TCP:
        row[c.HINT] = payload_hint(buf, t + header, cap, length) if length > 0 else 0
    else:
        row[c.HINT] = 0
        if cap >= 7 and (sport == 443 or dport == 443):
            # RFC 9000 17.2.2 (version 1: type 0) and RFC 9369 (version 2: type 1)
            first = byte(buf, t + 8)
            version = be32(buf, t + 9)
            if first & 0xC0 == 0xC0 and ((version == 1 and first & 0x30 == 0) or (version == 0x6B3343CF and first & 0x30 == 0x10)):
                _note(quality, _QUIC, frame)
        elif (dport == 4500 or sport == 4500) and cap >= 8 and be32(buf, t + 8) != 0:  # 0 marks IKE (RFC 3948 2.2)
            _note(quality, _ESP_UDP, frame)
    return reason


@lean
def decode_network(buf, o, cap, wire, kind, row, fragments, n_fragments, quality, frame):
    """From the network header on. ``kind`` is 4, 6 or an EtherType; returns (reason, fragments)."""
    if kind == 0x0800:
        kind = 4
    elif kind == 0x86DD:
        kind = 6
    if kind != 4 and kind != 6:
        return _ETHERTYPES[kind], n_fragments
    if cap < 1:
        return _CUT_IP, n_fragments
    if byte(buf, o) >> 4 != kind:
        return _BAD_IP, n_fragments
    proto = np.int64(0)
    unset = False  # the IP header leaves the length open
    if kind == 4:
        if cap < 20:
            return (_CUT_IP if wire >= 20 else _BAD_IP), n_fragments
        header = (byte(buf, o) & 15) * 4
        total = be16(buf, o + 2)
        if header < 20:
            return _BAD_IP, n_fragments
        if total == 0:
            total = wire  # TSO: the length did not fit or was left to the card
            unset = True
        elif total < header:
            return _BAD_IP, n_fragments
        elif total > wire:
            total = wire
        if header > total:
            return _BAD_IP, n_fragments
        if cap < header:
            return _CUT_IP, n_fragments
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
                return (_BAD_IP if size < 12 or size > tlen else _CUT_IP), n_fragments
            proto = byte(buf, t)
            t += size
            tcap -= size
            tlen -= size
        if fragment & 0x3FFF:
            ident, more, where = be16(buf, o + 4), (fragment >> 13) & 1, (fragment & 0x1FFF) * 8
            is_fragment = True
        else:
            ident, more, where = np.int64(0), np.int64(0), np.int64(0)
            is_fragment = False
    else:
        if cap < 40:
            return (_CUT_IP if wire >= 40 else _BAD_IP), n_fragments
        tlen = be16(buf, o + 4)
        if tlen == 0 and byte(buf, o + 6) != 59:
            tlen = wire - 40  # jumbogram (RFC 2675) or TSO
            unset = True
        tlen = min(tlen, wire - 40)
        tcap = min(cap - 40, tlen)
        proto = byte(buf, o + 6)
        row[c.SRC_HI] = be64(buf, o + 8)
        row[c.SRC_LO] = be64(buf, o + 16)
        row[c.DST_HI] = be64(buf, o + 24)
        row[c.DST_LO] = be64(buf, o + 32)
        t = o + 40
        ident, more, where = np.int64(0), np.int64(0), np.int64(0)
        is_fragment = False
        for _ in range(MAX_EXTENSION_HEADERS):
            if proto == 0 or proto == 43 or proto == 60 or proto == 135 or proto == 139 or proto == 140 or proto == 51:
                if tcap < 8:
                    return (_CUT_IP if tlen >= 8 else _BAD_IP), n_fragments
                size = (byte(buf, t + 1) + 2) * 4 if proto == 51 else (byte(buf, t + 1) + 1) * 8
            elif proto == 44:
                if tcap < 8:
                    return (_CUT_IP if tlen >= 8 else _BAD_IP), n_fragments
                size = np.int64(8)
                piece = be16(buf, t + 2)
                ident, more, where = be32(buf, t + 4), piece & 1, piece & 0xFFF8
                if piece & 0xFFF9:  # RFC 6946: an atomic fragment is none
                    is_fragment = True
            else:
                break
            if size > tcap:
                return (_CUT_IP if size <= tlen else _BAD_IP), n_fragments
            if proto == 43:
                final = final_v6(buf, t, size)
                if final >= 0:
                    row[c.DST_HI], row[c.DST_LO] = be64(buf, final), be64(buf, final + 8)
            proto = byte(buf, t)
            t += size
            tcap -= size
            tlen -= size
            if is_fragment:
                break
    row[c.PORTS] = kind << 32
    if is_fragment:
        if n_fragments < fragments.shape[0]:
            f = fragments[n_fragments]
            f[0], f[1], f[2], f[3] = frame, row[c.TS], row[c.IFACE], kind
            f[4], f[5], f[6], f[7] = row[c.SRC_HI], row[c.SRC_LO], row[c.DST_HI], row[c.DST_LO]
            f[8], f[9], f[10], f[11], f[12], f[13] = ident, proto, where * 2 + more, t, tlen, tcap
            n_fragments += 1
        return _FRAGMENT, n_fragments
    if proto == 6 or proto == 17:
        if unset or tlen + (t - o) > ETHERNET_MTU:
            _note(quality, _OFFLOADED, frame)
        return _transport(buf, t, tcap, tlen, proto, row, quality, frame), n_fragments
    if proto == 1:
        if tcap >= 1 and (byte(buf, t) == 3 or byte(buf, t) == 4 or byte(buf, t) == 5 or byte(buf, t) == 11 or byte(buf, t) == 12):
            return _ICMP_ERROR, n_fragments
        return _ICMP, n_fragments
    if proto == 58:
        if tcap >= 1 and (byte(buf, t) < 128 or byte(buf, t) == 137):
            return _ICMP_ERROR, n_fragments
        return _ICMP, n_fragments
    row[c.KIND], row[c.PAY_OFF], row[c.PAY_CAP], row[c.LENGTH] = proto, t, tcap, tlen  # for enter
    return _PROTOCOL[proto], n_fragments


@lean
def _may_hold_another(reason, port):
    """Whether it is worth the call of :func:`enter`, which nearly no packet is."""
    if reason == _UDP:
        return port == VXLAN_PORT or port == GENEVE_PORT or port == GTP_PORT or port == GRE_PORT
    return reason == _GRE or reason == _IPIP


@lean
def enter(buf, reason, row, fragments, n_fragments, quality, frame):
    """Go into a packet that was decoded to ``reason`` and ``row`` as far as there are tunnels; returns (reason, fragments) of the innermost packet."""
    for _ in range(MAX_TUNNELS):
        at, cap, length, port = row[c.PAY_OFF], row[c.PAY_CAP], row[c.LENGTH], row[c.PORTS] & 0xFFFF
        if reason == _UDP:
            note = _IN_VXLAN if port == VXLAN_PORT else _IN_GENEVE if port == GENEVE_PORT else _IN_GTP if port == GTP_PORT else _IN_GRE
            start, kind = inner_of_udp(buf, at, cap, length, port)
        elif reason == _GRE or reason == _IPIP:
            note = _IN_GRE if reason == _GRE else _IN_IP
            start, kind = inner_of_ip(buf, at, cap, row[c.KIND])
        else:
            break
        if start >= 0:
            start, kind = ip_inside(buf, start, at + cap, kind)
        if start < 0:
            break
        if reason == _UDP and cap < length:
            quality[_CUT_PAYLOAD, 0] -= 1  # it is the inner packet's that counts
        _note(quality, note, frame)
        used = start - at
        reason, n_fragments = decode_network(buf, start, cap - used, length - used, kind, row, fragments, n_fragments, quality, frame)
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
    row[c.LENGTH] = length
    pay_cap = min(cap - 20 - header, length)
    row[c.PAY_OFF] = t + header
    row[c.PAY_CAP] = pay_cap
    row[c.SEQ] = be32(buf, t + 4)
    row[c.ACK] = be32(buf, t + 8)
    row[c.FLAGS] = bits & TCP_FLAG_BITS
    row[c.WINDOW] = be16(buf, t + 14)
    row[c.OPTIONS] = 0
    row[c.HINT] = payload_hint(buf, t + header, pay_cap, length) if pay_cap >= 2 else 0
    row[c.SESSION] = -1
    row[c.DIRECTION] = 0
    row[c.OFFSET] = 0
    row[c.FRESH] = 0
    row[c.ORDINAL] = 0
    if pay_cap < length:
        _note(quality, _CUT_PAYLOAD, frame)
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
            _note(quality, _NOT_PACKET, frame)
            continue
        row = packets[m]
        row[c.FRAME] = frame
        row[c.TS] = frames[i, F_TS]
        o, cap, wire = frames[i, F_OFF], frames[i, F_CAP], max(frames[i, F_WIRE], frames[i, F_CAP])
        start, kind, where = network_start(buf, o, cap, links[iface])
        row[c.IFACE] = iface << 40 | where
        if start < 0:
            _note(quality, _CUT_LINK if start == -1 else (_LINK if start == -2 else _ETHERTYPES[kind]), frame)
            continue
        used = start - o
        if (kind == 0x0800 or kind == 4) and _usual(buf, start, cap - used, wire - used, row, quality, frame):
            _note(quality, _TCP, frame)
            m += 1
            continue
        reason, n_fragments = decode_network(buf, start, cap - used, wire - used, kind, row, fragments, n_fragments, quality, frame)
        if _may_hold_another(reason, row[c.PORTS] & 0xFFFF):
            reason, n_fragments = enter(buf, reason, row, fragments, n_fragments, quality, frame)
        _note(quality, reason, frame)
        if reason == _TCP or reason == _UDP:
            m += 1
    return m, n_fragments
