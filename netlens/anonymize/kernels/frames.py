"""Frames: link layer, IP, TCP, UDP, ICMP and ARP of a batch, rewritten into records of the output file.

The rule is a list of what is kept; everything that is not on it is zero. Kept: all lengths, EtherTypes, VLAN tags, ports, sequence and acknowledgment
numbers, flags, windows, TCP options that steer a connection (MSS, window scale, SACK, timestamps), IP identification and time to live, types of
ICMP. Mapped: addresses, hardware addresses, also in ARP, neighbour discovery, redirects, source routes and the packets that ICMP quotes. Blanked:
payload (but see :mod:`netlens.anonymize.kernels.tls` and ``dns``), other IP options, other TCP options, padding and trailers, everything of
protocols that are not named here.

Checksums: one that was right is right, one that was left to the card (zero, or the sum of the pseudo header) is so again, and one that was wrong is
wrong, by an amount that tells nothing. Behind a source route it is zero. Of a packet that the snaplen cut it is right if the rest were zeros.

Fragments keep their IP header and nothing else here; their caller puts them together and writes them when all are there.
"""

import numpy as np

from netlens.anonymize.kernels.checksums import UNSET, set_checksum, state_of
from netlens.anonymize.kernels.dns import rewrite_message
from netlens.anonymize.kernels.headers import copy_arp, copy_header, copy_headers, copy_ipv4, copy_ipv6
from netlens.anonymize.kernels.icmp import copy_icmp4, copy_icmp6
from netlens.anonymize.kernels.mapping import MISSED, SEED, map_v6
from netlens.anonymize.kernels.tls import keep, rewrite_stream
from netlens.wire import link as link_
from netlens.wire import tunnels as tunnels_
from netlens.wire.compiled import kernel
from netlens.wire.decode import udp_length
from netlens.wire.framing import F_CAP, F_IFACE, F_OFF, F_TS, F_WIRE
from netlens.wire.loads import be16, be64
from netlens.wire.numbering import mix
from netlens.wire.routes import addresses_of_route, final_v4, final_v6

# Columns of what is told of a frame. Places starting with OUT_ are in the output, the others in the input.
KIND = 0  #: 6, 17, FRAGMENT, or 0: nothing that anybody asks for
FLOW = 1  #: hash of both ends in order (of a fragment: of its addresses)
SOURCE, TARGET = 2, 3  #: hashes of address and port
PORTS = 4  #: source port << 16 | destination port
SEQ, FLAGS = 5, 6
PAY, OUT_PAY, CAP, LENGTH = 7, 8, 9, 10
OUT_IP, VERSION, PROTO = 11, 12, 13
OUT_T, T_CAP, T_LENGTH, MODE = 14, 15, 16, 17
ASKS, ASKS_AT = 18, 19
TO_LOOPBACK = 20
IDENT, PIECE = 21, 22  #: of a fragment: identification; offset << 1 | more follows
TS, IFACE = 23, 24
INNER, INNER_OUT, INNER_CAP, INNER_LENGTH, INNER_KIND = 25, 26, 27, 28, 29  #: the packet in a tunnel: where (0: none), how long, what
WIDTH = 30

FRAGMENT = 44
PCAP, PCAPNG = 0, 1
PCAP_HEAD, BLOCK_HEAD, BLOCK_TAIL = 16, 28, 4
MAX_HEADERS = 16


@kernel
def _is_extension(proto):
    return proto == 0 or proto == 43 or proto == 60 or proto == 135 or proto == 139 or proto == 140 or proto == 51


@kernel
def _options_of_tcp(buf, at, end, out, to):
    while at < end:
        kind = buf[at]
        out[to] = kind
        if kind == 0:
            return
        if kind == 1:
            at += 1
            to += 1
            continue
        if at + 1 >= end:
            return
        size = np.int64(buf[at + 1])
        out[to + 1] = buf[at + 1]
        if size < 2 or at + size > end:
            return
        if kind == 2 or kind == 3 or kind == 4 or kind == 5 or kind == 8:
            keep(buf, at, size, out, to)
        at += size
        to += size


@kernel
def _is_loopback(buf, at, version):
    if version == 4:
        return buf[at] == 127
    return be64(buf, at) == 0 and be64(buf, at + 8) == 1


@kernel
def _end_hash(buf, at, version, port, seed):
    if version == 4:
        return mix(mix(mix(seed, be16(buf, at)), be16(buf, at + 2)), port | 4 << 16)
    return mix(mix(mix(seed, be64(buf, at)), be64(buf, at + 8)), port | 6 << 16)


@kernel
def _tcp(buf, t, cap, length, out, q, m, info):
    if cap < 20:
        keep(buf, t, min(cap, 16), out, q)
        return
    keep(buf, t, 20, out, q)
    header = (np.int64(buf[t + 12]) >> 4) * 4
    info[KIND] = 6
    info[SEQ] = np.int64(buf[t + 4]) << 24 | np.int64(buf[t + 5]) << 16 | be16(buf, t + 6)
    info[FLAGS] = np.int64(buf[t + 13])
    if header < 20 or header > length:
        info[PAY], info[OUT_PAY], info[CAP], info[LENGTH] = t + cap, q + cap, 0, 0
        return
    _options_of_tcp(buf, t + 20, t + min(header, cap), out, q + 20)
    have = max(min(cap, length) - header, 0)
    info[PAY], info[OUT_PAY], info[CAP], info[LENGTH] = t + header, q + header, have, length - header
    if have > 0:
        info[ASKS], info[ASKS_AT] = rewrite_stream(buf, t + header, have, length - header, out, q + header, m)


@kernel
def _udp(buf, t, cap, length, loopback, out, q, m, info):
    if cap < 8:
        keep(buf, t, min(cap, 6), out, q)
        return length
    keep(buf, t, 8, out, q)
    claimed = udp_length(buf, t, length)
    if claimed < 0:
        return length
    length, cap = claimed, min(cap, claimed)
    info[KIND] = 17
    source, target = be16(buf, t), be16(buf, t + 2)
    have = min(cap, length) - 8
    info[PAY], info[OUT_PAY], info[CAP], info[LENGTH] = t + 8, q + 8, have, length - 8
    if source == 53 or target == 53 or source == 5353 or target == 5353 or source == 5355 or target == 5355:
        rewrite_message(buf, t + 8, have, length - 8, out, q + 8, m)
    elif loopback and have >= 12 and have == length - 8 and be16(buf, t + 12) == 1:
        # a proxy or resolver on a port of its own is told by its messages being whole in every part
        if not rewrite_message(buf, t + 8, have, length - 8, out, q + 8, m):
            for i in range(have):
                out[q + 8 + i] = np.uint8(0)
    elif (source == 443 or target == 443) and have >= 7:
        first = buf[t + 8]
        version = be16(buf, t + 9) << 16 | be16(buf, t + 11)
        if first & 0xC0 == 0xC0 and (version == 1 or version == 0x6B3343CF):
            keep(buf, t + 8, 5, out, q + 8)
    return length


@kernel
def _tunnel(buf, proto, t, cap, length, out, q, m, info):
    """If IP payload at ``t`` is a tunnel that is entered: keep its header, and note what is inside for :func:`_inside`.

    Checksums of the outer headers are left out: they cover what changes later.
    """
    at, kind = t, tunnels_.PROTOCOL | proto
    if proto == 17:
        if cap < 8:
            return False
        length = udp_length(buf, t, length)
        if length < 0:
            return False
        cap = min(cap, length)
        at = t + 8
        kind, _note = tunnels_.of_ports(be16(buf, t), be16(buf, t + 2))
    udp = at - t
    size, following, _start, _network = tunnels_.enter(buf, at, cap - udp, length - udp, kind)
    if size < 0:
        return False
    keep(buf, t, udp - 2 if udp else 0, out, q)
    copy_header(buf, at, size, kind, out, q + udp, m)
    size += udp
    info[INNER], info[INNER_OUT], info[INNER_KIND] = t + size, q + size, following
    info[INNER_CAP], info[INNER_LENGTH] = cap - size, length - size
    return True


@kernel
def _transport(buf, ip, version, proto, t, cap, length, final, out, ip_q, q, m, info):
    """From the transport header at ``t`` on, ``cap`` of ``length`` bytes; ``ip`` and ``ip_q``: the IP header in input and output.

    ``final`` is where the destination stands, if not in the IP header; there the checksum, which covers it, is left out.
    """
    source_at, target_at = (ip + 12, ip + 16) if version == 4 else (ip + 8, ip + 24)
    if final >= 0:
        target_at = final
    info[INNER] = 0
    if _tunnel(buf, proto, t, cap, length, out, q, m, info):
        return
    if proto == 6 or proto == 17:
        info[TO_LOOPBACK] = _is_loopback(buf, target_at, version)
        if proto == 6:
            _tcp(buf, t, cap, length, out, q, m, info)
        else:
            looped = info[TO_LOOPBACK] == 1 or _is_loopback(buf, source_at, version)
            length = _udp(buf, t, cap, length, looped, out, q, m, info)
        if cap >= 4:
            seed = m.state[SEED]
            info[PORTS] = be16(buf, t) << 16 | be16(buf, t + 2)
            info[SOURCE] = _end_hash(buf, source_at, version, be16(buf, t), seed)
            info[TARGET] = _end_hash(buf, target_at, version, be16(buf, t + 2), seed)
            info[FLOW] = mix(mix(seed, info[SOURCE]), info[TARGET])  # mix alone does not tell its two values apart
    elif proto == 1 and version == 4:
        copy_icmp4(buf, t, cap, out, q, m)
    elif proto == 58 and version == 6:
        copy_icmp6(buf, t, cap, out, q, m)
    else:
        if (proto == 1 or proto == 58) and cap > 0:
            out[q] = buf[t]  # of the other version: what it would be is told by its first byte
        return
    cap = min(cap, length)
    info[OUT_IP], info[VERSION], info[PROTO] = ip_q, version, proto
    info[OUT_T], info[T_CAP], info[T_LENGTH] = q, cap, length
    info[MODE] = state_of(buf, ip, version, proto, t, cap, length) if final < 0 else UNSET
    set_checksum(out, ip_q, version, proto, q, cap, length, info[MODE])


@kernel
def _after_extensions(buf, t, cap, length, proto, version, out, q, m):
    """Follow extension headers (of IPv4: AH) from ``t``.

    Returns (t, protocol, fragment field or -1, identification, where the final destination is or -1), t -1 if cut or bad.
    """
    ident, final = np.int64(0), np.int64(-1)
    for _ in range(MAX_HEADERS):
        if proto == 44 and version == 6:
            if cap < 8:
                return np.int64(-1), proto, np.int64(-1), ident, final
            keep(buf, t, 8, out, q)
            piece = be16(buf, t + 2)
            ident = be16(buf, t + 4) << 16 | be16(buf, t + 6)
            size = np.int64(8)
            proto = np.int64(buf[t])
            if piece & 0xFFF9:
                return t + 8, proto, (piece & 0xFFF8) << 1 | piece & 1, ident, final
        elif proto == 51 or (version == 6 and _is_extension(proto)):
            if cap < 8:
                keep(buf, t, min(cap, 2), out, q)
                return np.int64(-1), proto, np.int64(-1), ident, final
            size = (np.int64(buf[t + 1]) + 2) * 4 if proto == 51 else (np.int64(buf[t + 1]) + 1) * 8
            keep(buf, t, 2, out, q)
            if size < 8 or size > cap:
                return np.int64(-1), proto, np.int64(-1), ident, final
            if proto == 43:
                keep(buf, t, 5, out, q)
                for i in range(addresses_of_route(buf, t, size)):
                    map_v6(buf, t + 8 + 16 * i, out, q + 8 + 16 * i, m)
                to = final_v6(buf, t, size)
                final = to if to >= 0 else final
            proto = np.int64(buf[t])
        else:
            break
        t += size
        q += size
        cap -= size
        length -= size
    return t, proto, np.int64(-1), ident, final


@kernel
def _network(buf, o, cap, wire, version, out, q, m, info):
    if cap < 1 or np.int64(buf[o]) >> 4 != version:
        if cap >= 1:
            out[q] = buf[o]
        return
    if version == 4:
        copy_ipv4(buf, o, cap, out, q, m)
        if cap < 20:
            return
        header = (np.int64(buf[o]) & 15) * 4
        total = be16(buf, o + 2)
        if header < 20:
            return
        if total == 0 or total > wire:
            total = wire
        if total < header or cap < header:
            return
        cap = min(cap, total)
        proto = np.int64(buf[o + 9])
        piece = be16(buf, o + 6)
        t, length = o + header, total - header
        if piece & 0x3FFF:
            info[FLOW] = mix(be64(buf, o + 12), m.state[SEED])
            _note_fragment(info, version, proto, be16(buf, o + 4), (piece & 0x1FFF) << 4 | piece >> 13 & 1, o, q, t, cap - header, length)
            return
        at, proto, _piece, _ident, _final = _after_extensions(buf, t, cap - header, length, proto, version, out, q + header, m)
        final = final_v4(buf, o + 20, o + header)
    else:
        copy_ipv6(buf, o, cap, out, q, m)
        if cap < 40:
            return
        length = be16(buf, o + 4)
        if length == 0 and buf[o + 6] != 59:
            length = wire - 40
        length = min(length, wire - 40)
        cap = min(cap, 40 + length)
        t, header = o + 40, np.int64(40)
        at, proto, piece, ident, final = _after_extensions(buf, t, cap - 40, length, np.int64(buf[o + 6]), version, out, q + 40, m)
        if at >= 0 and piece >= 0:
            flow = mix(mix(be64(buf, o + 8), be64(buf, o + 16)), mix(be64(buf, o + 24), be64(buf, o + 32)))
            info[FLOW] = mix(flow, m.state[SEED])
            _note_fragment(info, version, proto, ident, piece, o, q, at, cap - (at - o), length - (at - t))
            return
    if at < 0:
        return
    _transport(buf, o, version, proto, at, cap - (at - o), length - (at - t), final, out, q, q + (at - o), m, info)


@kernel
def _note_fragment(info, version, proto, ident, piece, o, q, at, cap, length):
    info[KIND], info[VERSION], info[PROTO] = FRAGMENT, version, proto
    info[IDENT], info[PIECE] = ident, piece
    info[OUT_IP] = q
    info[PAY], info[OUT_PAY], info[CAP], info[LENGTH] = at, q + (at - o), cap, length


@kernel
def _inside(buf, out, m, info):
    """The packets in the tunnels of one packet, from the outermost on; ``info`` is of the innermost in the end."""
    for _ in range(tunnels_.MAX_TUNNELS):
        start, to, cap, length, kind = info[INNER], info[INNER_OUT], info[INNER_CAP], info[INNER_LENGTH], info[INNER_KIND]
        if start == 0:
            return
        ts, iface = info[TS], info[IFACE]
        for k in range(WIDTH):
            info[k] = 0
        info[TS], info[IFACE] = ts, iface
        at, network = copy_headers(buf, start, start + cap, kind, out, to, m)
        used = at - start
        left = max(length - used, cap - used)
        _network(buf, at, cap - used, left, np.int64(4 if network == 0x0800 else 6), out, to + used, m, info)


@kernel
def rewrite_datagram(data, cap, proto, version, header, out_header, out, m, info):
    """A datagram that was put together from fragments: ``header`` and ``out_header`` hold one IP header (of the input and as it was mapped) each.

    ``data`` and ``out`` begin with room for that header; the datagram is behind it.
    """
    size = np.int64(20) if version == 4 else np.int64(40)
    for i in range(size):
        data[i] = header[i]
        out[i] = out_header[i]
    length = np.int64(len(data)) - size
    at, proto, _piece, _ident, final = _after_extensions(data, size, cap, length, proto, version, out, size, m)
    if at < 0:
        return
    _transport(data, np.int64(0), version, proto, at, cap - (at - size), length - (at - size), final, out, np.int64(0), at, m, info)
    _inside(data, out, m, info)


# ---- frames ----


@kernel
def _frame(buf, o, cap, wire, link, out, q, m, info):
    """One frame; ``out[q:q + cap]`` is zero before."""
    end = o + cap
    start, kind = copy_headers(buf, o, end, link_.LINK | link, out, q, m)
    if start < 0:
        return
    here, rest = q + start - o, end - start
    left = max(wire - (start - o), rest)
    if kind == 0x0800:
        _network(buf, start, rest, left, np.int64(4), out, here, m, info)
    elif kind == 0x86DD:
        _network(buf, start, rest, left, np.int64(6), out, here, m, info)
    elif kind == 0x0806 or kind == 0x8035:
        copy_arp(buf, start, rest, out, here, m)
    _inside(buf, out, m, info)


# ---- records ----


@kernel
def _put32(out, at, value):
    for i in range(4):
        out[at + i] = np.uint8(value >> (8 * i) & 255)


@kernel
def rewrite_batch(buf, frames, first, n, links, form, unit_ns, out, used, infos, m):
    """Rewrite frames ``first`` to ``n`` of a batch as records of a pcap or pcapng behind ``out[:used]``, which is zero there.

    Returns (frames done, bytes used). It stops in front of the first frame that has an address which is not known yet, having looked at the rest
    for more of them; ``out`` behind what is used is zero again.
    """
    m.state[MISSED] = 0
    done, missed = n, False
    end = used
    for i in range(first, n):
        if m.state[MISSED] >= len(m.missing):
            break
        o, cap, wire, ts, iface = frames[i, F_OFF], frames[i, F_CAP], frames[i, F_WIRE], frames[i, F_TS], frames[i, F_IFACE]
        info = infos[i]
        for k in range(WIDTH):
            info[k] = 0
        info[TS], info[IFACE] = ts, iface
        if iface < 0:  # no packet, but a number of its own: an empty custom block stands in for it
            if not missed:
                _put32(out, end, np.int64(0x40000BAD))
                _put32(out, end + 4, np.int64(16))
                _put32(out, end + 12, np.int64(16))
                end += 16
            continue
        head = np.int64(PCAP_HEAD) if form == PCAP else np.int64(BLOCK_HEAD)
        padded = cap if form == PCAP else (cap + 3) & ~np.int64(3)
        at = end + head
        _frame(buf, o, cap, max(wire, cap), links[iface], out, at, m, info)
        if m.state[MISSED] > 0:
            if not missed:
                missed, done = True, i
            for k in range(at, at + cap):
                out[k] = 0
            continue
        if form == PCAP:
            for k, value in enumerate((ts // 1_000_000_000, ts % 1_000_000_000 // unit_ns, cap, wire)):
                _put32(out, end + 4 * k, value)
            end = at + cap
        else:
            size = head + padded + BLOCK_TAIL
            for k, value in enumerate((np.int64(6), size, iface, ts >> 32, ts & 0xFFFFFFFF, cap, wire)):
                _put32(out, end + 4 * k, value)
            _put32(out, end + size - 4, size)
            end += size
    return done, end
