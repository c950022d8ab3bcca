"""Tunnels: the packet inside is read in place of the outer one, in every form; what only looks like a tunnel stays what it is."""

from __future__ import annotations

import itertools
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import netlens
from netlens.wire import columns as c
from netlens.wire.tunnels import MAX_TUNNELS, NOTES, PORT, PROTOCOL, enter, header
from tests.wire.helpers import MACS, decode, decode_bytes, ethernet, forms, ip4, ip6, one, pcap, tcp, udp
from tests.wire.links import RAW

OUTER = {"src": "203.0.113.1", "dst": "203.0.113.2"}
V4, V6 = ip4(tcp(b"four")), ip6(tcp(b"six!"))


def gre(kind: int, body: bytes, flags: int = 0, rest: bytes = b"") -> bytes:
    return ip4(struct.pack(">HH", flags, kind) + rest + body, 47, **OUTER)


def in_udp(port: int, body: bytes) -> bytes:
    return ip4(udp(body, sport=50001, dport=port), 17, **OUTER)


def ppp(kind: int) -> bytes:
    return b"\xff\x03\x00" + (b"\x21" if kind == 0x0800 else b"\x57")


def gtp(packet: bytes, flags: int = 0x30, more: bytes = b"") -> bytes:
    return in_udp(2152, struct.pack(">BBHI", flags, 255, len(more) + len(packet), 7) + more + packet)


def geneve(kind: int, body: bytes, options: bytes = b"") -> bytes:
    return in_udp(6081, struct.pack(">BBHI", len(options) // 4, 0, kind, 0x1234 << 8) + options + body)


VXLAN = b"\x08\0\0\0\0\x12\x34\0"
# name: the note, the frame around a packet of an EtherType, does tshark enter it too
FORMS: dict[str, tuple[str, Callable[[bytes, int], bytes], bool]] = {
    "ip in ip": ("in_ip", lambda p, k: ip4(p, 4 if k == 0x0800 else 41, **OUTER), True),
    "ip in ip6": ("in_ip", lambda p, k: ip6(p, 4 if k == 0x0800 else 41), True),
    "gre": ("in_gre", lambda p, k: gre(k, p), True),
    "gre in ip6": ("in_gre", lambda p, k: ip6(struct.pack(">HH", 0, k) + p, 47), True),
    "gre, checksum, key and number": ("in_gre", lambda p, k: gre(k, p, 0xB000, bytes(12)), True),
    "gre, key": ("in_gre", lambda p, k: gre(k, p, 0x2000, b"\0\0\0\7"), True),
    "gre, ethernet": ("in_gre", lambda p, k: gre(0x6558, ethernet(p, k), 0x2000, bytes(4)), True),
    "gre, mpls": ("in_gre", lambda p, k: gre(0x8847, b"\0\x01\x01\x40" + p), True),
    "gre, wccp": ("in_gre", lambda p, k: gre(0x883E, b"\0\0\0\0" + p), True),
    "pptp": ("in_gre", lambda p, k: gre(0x880B, ppp(k) + p, 0x3081, struct.pack(">HHII", len(p) + 4, 1, 2, 3)), True),
    "erspan 1": ("in_gre", lambda p, k: gre(0x88BE, ethernet(p, k)), True),
    "erspan 2": ("in_gre", lambda p, k: gre(0x88BE, b"\x10\x01\0\1\0\0\0\1" + ethernet(p, k), 0x1000, bytes(4)), True),
    "erspan 3": ("in_gre", lambda p, k: gre(0x22EB, b"\x20\x01\0\1" + bytes(8) + ethernet(p, k), 0x1000, bytes(4)), True),
    "gre in udp": ("in_gre", lambda p, k: in_udp(4754, struct.pack(">HH", 0, k) + p), True),
    "vxlan": ("in_vxlan", lambda p, k: in_udp(4789, VXLAN + ethernet(p, k)), True),
    "vxlan, vlan inside": ("in_vxlan", lambda p, k: in_udp(4789, VXLAN + MACS + b"\x81\0\0\5" + struct.pack(">H", k) + p), True),
    "geneve": ("in_geneve", lambda p, k: geneve(0x6558, ethernet(p, k)), True),
    "geneve, options, ip": ("in_geneve", lambda p, k: geneve(k, p, b"\1\2\3\1\xff\xff\xff\xff"), True),
    "gtp": ("in_gtp", lambda p, k: gtp(p), True),
    "gtp, number": ("in_gtp", lambda p, k: gtp(p, 0x32, b"\0\1\0\0"), True),
    "gtp, next headers": ("in_gtp", lambda p, k: gtp(p, 0x34, b"\0\1\0\x85" + b"\1\x10\5\x85" + b"\2\0\0\0\0\0\0\0"), True),
}
FORMS |= forms("tests.wire.tunnels")  # of members whose test has them
VERSIONS = {"IPv4": (V4, 0x0800), "IPv6": (V6, 0x86DD)}
#: Tunnels of one version only.
ONLY = {"gre, wccp": "IPv4", **{form: "IPv6" for form, (note, _, _) in FORMS.items() if note == "in_teredo"}}
CASES = [(f, v) for f, v in itertools.product(FORMS, VERSIONS) if ONLY.get(f, v) == v]


def test_every_tunnel_has_a_form_here() -> None:
    assert {note for note, _, _ in FORMS.values()} == {note for note, _ in NOTES}


@pytest.mark.parametrize(("form", "version"), CASES)
def test_read(form: str, version: str) -> None:
    note, frame, _ = FORMS[form]
    packet, kind = VERSIONS[version]
    found = decode([frame(packet, kind)])
    assert found.counts == {"tcp": 1, note: 1}
    (p,) = found.packets
    assert (p.src, p.dst) == (("192.0.2.1", "192.0.2.2") if kind == 0x0800 else ("2001:db8::1", "2001:db8::2"))
    assert (p.sport, p.dport, p.length, p.payload) == (40000, 443, 4, packet[-4:])


@pytest.mark.parametrize(("form", "version"), CASES)
def test_cut_at_every_byte(form: str, version: str) -> None:
    """Until the inner packet shows, it is the outer one, cut; then the inner one, cut. Nothing behind the cut is looked at."""
    note, frame, _ = FORMS[form]
    packet, kind = VERSIONS[version]
    whole = frame(packet, kind)
    for cut in range(len(whole)):
        found = decode_bytes(pcap([whole], RAW, cut=cut))
        if note in found.counts:
            assert cut > len(whole) - len(packet)
            assert set(found.counts) - {note} in ({"cut_ip"}, {"cut_transport"}, {"tcp", "cut_payload"})
            assert found.counts.get("cut_payload", 1) == 1
        else:
            assert cut <= len(whole) - len(packet)
            assert not any(p.kind == c.TCP for p in found.packets)


@pytest.mark.tshark
def test_tshark_reads_and_numbers_the_same(tshark: str, tmp_path: Path) -> None:
    """Each form carries a session of its own, between plain ones: numbers are those of the sessions inside."""
    packets = []
    for i, (form, version) in enumerate(CASES):
        _, frame, known = FORMS[form]
        if known:
            segment = tcp(b"data", sport=1000 + i)
            packets.append(frame(ip4(segment) if version == "IPv4" else ip6(segment), VERSIONS[version][1]))
            packets.append(ip4(tcp(b"data", sport=2000 + i)))
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(packets, RAW))
    fields = ["-T", "fields", "-e", "tcp.stream", "-e", "tcp.srcport", "-e", "tcp.len"]
    shown = subprocess.run([tshark, "-n", "-r", str(path), *fields], capture_output=True, text=True, check=True).stdout.splitlines()
    sessions = netlens.read(path).table("sessions")
    ours = [f"{r['session_id']}\t{r['orig_port']}\t{r['orig_bytes']}" for r in sessions.records()]
    assert shown == ours


def test_tunnels_in_tunnels_end() -> None:
    packet = V4
    for depth in range(1, MAX_TUNNELS + 3):
        packet = ip4(packet, 4, **OUTER)
        found = decode([packet])
        if depth <= MAX_TUNNELS:
            assert found.counts == {"tcp": 1, "in_ip": depth}
        else:
            assert found.counts == {"tunnel_ipip": 1, "in_ip": MAX_TUNNELS}
    nested = gtp(gre(0x6558, ethernet(in_udp(4789, VXLAN + ethernet(V6, 0x86DD)))))
    assert decode([nested]).counts == {"tcp": 1, "in_gtp": 1, "in_gre": 1, "in_vxlan": 1}
    assert one(nested).payload == b"six!"


@pytest.mark.parametrize(
    ("packet", "counts"),
    [
        (gre(0x0000, V4), {"tunnel_gre": 1}),
        (gre(0x0806, bytes(28)), {"tunnel_gre": 1}),
        (gre(0xFEFE, V4), {"tunnel_gre": 1}),
        (gre(0x0800, V6), {"tunnel_gre": 1}),
        (gre(0x0800, V4, 0x4000, bytes(4)), {"tunnel_gre": 1}),  # RFC 1701 routing
        (gre(0x880B, b"\xff\x03\xc0\x21" + bytes(8), 0x2001, bytes(4)), {"tunnel_gre": 1}),  # link control of PPP
        (ip4(b"", 47), {"tunnel_gre": 1}),
        (ip4(bytes(20), 4), {"tunnel_ipip": 1}),
        (ip4(V6, 4), {"tunnel_ipip": 1}),
        (in_udp(4789, ethernet(V4)), {"udp": 1}),  # no VXLAN header
        (in_udp(4789, VXLAN + ethernet(bytes(28), 0x0806)), {"udp": 1}),  # an ARP in it has no session
        (in_udp(6081, b"\x40\0\x08\0" + bytes(4) + V4), {"udp": 1}),  # another version
        (in_udp(2152, struct.pack(">BBHI", 0x30, 1, len(V4), 7) + V4), {"udp": 1}),  # an echo request
        (in_udp(2152, struct.pack(">BBHI", 0x30, 255, 9, 7) + V4), {"udp": 1}),
        (gtp(V4, 0x34, b"\0\1\0\x85" + b"\0\0\0\0"), {"udp": 1}),  # a next header of length 0
        (ip4(udp(VXLAN + ethernet(V4), sport=4789, dport=53), 17), {"udp": 1}),
        (gre(0x0800, ip4(b"\x08\0" + bytes(6), 1)), {"icmp": 1, "in_gre": 1}),
        (gre(0x0800, ip4(bytes(40), 50)), {"esp": 1, "in_gre": 1}),
        (gre(0x0800, V4[:30]), {"bad_transport": 1, "in_gre": 1}),
    ],
)
def test_what_is_not_entered_is_counted_as_what_it_is(packet: bytes, counts: dict[str, int]) -> None:
    found = decode([packet]).counts
    assert {k: v for k, v in found.items() if k != "cut_payload"} == counts


def test_lookups_and_fragments_inside() -> None:
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01"
    datagram = udp(question)
    assert one(gre(0x0800, ip4(datagram, 17))).payload == question
    first = ip4(datagram[:16], 17, ident=9, fragment=0x2000)
    last = ip4(datagram[16:], 17, ident=9, fragment=2)
    found = decode([gre(0x0800, first), gre(0x0800, last)])
    assert [p.payload for p in found.packets] == [question]
    assert found.counts == {"fragment": 2, "reassembled": 1, "in_gre": 2}


@pytest.mark.parametrize("form", FORMS)
def test_a_tunnel_whose_outer_packet_was_fragmented(form: str) -> None:
    """The usual thing where nobody lowered the MTU inside."""
    note, frame, _ = FORMS[form]
    packet, kind = VERSIONS[ONLY.get(form, "IPv4")]
    outer = frame(packet, kind)
    if outer[0] >> 4 == 6:
        return
    body, proto = outer[20:], outer[9]
    pieces = [ip4(body[:24], proto, ident=5, fragment=0x2000, **OUTER), ip4(body[24:], proto, ident=5, fragment=3, **OUTER)]
    for order in (pieces, pieces[::-1]):
        found = decode(order)
        assert [(p.frame, p.payload) for p in found.packets] == [(2, packet[-4:])]
        assert found.counts == {"fragment": 2, "reassembled": 1, note: 1}


@given(
    data=st.binary(max_size=120),
    start=st.sampled_from(
        [
            b"",
            b"\0\0\x08\0",
            b"\xb0\0\x65\x58",
            b"\x30\x81\x88\x0b",
            b"\x10\0\x88\xbe",
            b"\0\0\x22\xeb",
            VXLAN,
            b"\x34\xff",
            b"\2\0\x65\x58",
            b"\0\1\0\0" + bytes(17),
            b"\x20\x10\x11\x29",
        ]
    ),
    where=st.sampled_from([4, 41, 47, 4789, 6081, 2152, 4754, 3544, 5072]),
)
def test_what_is_inside_lies_inside(data: bytes, start: bytes, where: int) -> None:
    body = start + data
    results = set()
    for filler in (0x00, 0x45, 0x60, 0xFF):  # what lies outside the packet changes nothing
        buf = np.frombuffer(bytearray(bytes([filler]) * 30 + body + bytes([filler]) * 60), np.uint8)
        arguments = buf, 30, len(body), len(body), where | (PROTOCOL if where < 256 else PORT)
        results.add((*header(*arguments), *enter(*arguments)))
    ((size, _, entered, _, start, _),) = results
    assert -1 <= size <= len(body)
    assert (entered, start) == (-1, -1) or (entered == size and 30 + size <= start < 30 + len(body))
