"""Link types: every one that is read, with IPv4 and IPv6 inside, whole and cut at every byte; what else there is, is counted."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.wire import link
from netlens.wire.link import network_start
from tests.wire import links
from tests.wire.helpers import MACS, decode, decode_bytes, ethernet, forms, ip4, ip6, one, pcap, reason, tcp

V4, V6 = ip4(tcp(b"four")), ip6(tcp(b"six!"))
SNAP = b"\xaa\xaa\x03\0\0\0"
SNAP_F8 = b"\xaa\xaa\x03\0\0\xf8"


def ether(kind: int) -> bytes:
    return struct.pack(">H", kind)


def vlan(*tags: int) -> Callable[[int], bytes]:
    """Tag protocol numbers, outermost first; behind them the EtherType."""
    return lambda kind: b"".join(ether(tag) + b"\xe1\x23" for tag in tags) + ether(kind)


def llc(body: bytes) -> bytes:
    """An 802.3 length and what it counts."""
    return ether(len(body)) + body


def mpls(labels: int) -> bytes:
    return b"".join(struct.pack(">I", 16 + i << 12 | (i == labels - 1) << 8 | 64) for i in range(labels))


def ppp_protocol(kind: int) -> int:
    return 0x21 if kind == 0x0800 else 0x57


def pppoe(packet: bytes, kind: int, short: bool = False) -> bytes:
    protocol = bytes([ppp_protocol(kind)]) if short else ether(ppp_protocol(kind))
    return b"\x11\x00\x00\x07" + ether(len(packet) + len(protocol)) + protocol + packet


def backbone(body: bytes) -> bytes:
    """An I-TAG (802.1ah) before a customer's frame."""
    return b"\x20\x00\x12\x34" + body


def sll(packet: bytes, protocol: int, kind: int = 4, arphrd: int = 1) -> bytes:
    return struct.pack(">HHH8sH", kind, arphrd, 6, MACS[:6], protocol) + packet


def sll2(packet: bytes, protocol: int, kind: int = 4, ifindex: int = 3, arphrd: int = 1) -> bytes:
    return struct.pack(">HHIHBB8s", protocol, 0, ifindex, arphrd, kind, 6, MACS[:6]) + packet


def pktap(packet: bytes, dlt: int, name: bytes = b"en0", size: int = 108) -> bytes:
    return struct.pack("<III24s", size, 1, dlt, name).ljust(size, b"\0")[:size] + packet


def in_mpls(packet: bytes, kind: int) -> bytes:
    """An Ethernet frame between stations of vendors that tshark knows: so it tells whether a control word stands before it."""
    return bytes.fromhex("3c22fb1122333c22fb445566") + ether(kind) + packet


def fddi(packet: bytes, kind: int, control: int = 0x50) -> bytes:
    return bytes([control]) + MACS + SNAP + ether(kind) + packet


def nflog(packet: bytes, kind: int, order: str = "<", prefix: bytes = b"drop \0") -> bytes:
    """As the kernel logs it: hook and protocol, rule's prefix, hardware address, packet."""
    attributes = ((1, ether(kind) + b"\1\0"), (10, prefix), (8, b"\0\6\0\0" + MACS[:6] + b"\0\0"), (9, packet))
    made = [(struct.pack(order + "HH", 4 + len(body), what) + body) for what, body in attributes]
    return bytes([2 if kind == 0x0800 else 10, 0, 0, 5]) + b"".join(a + bytes(-len(a) % 4) for a in made[:-1]) + made[-1]


# name: link type, frame around a packet of an EtherType, does tshark read it too
FORMS: dict[str, tuple[int, Callable[[bytes, int], bytes], bool]] = {
    "ethernet": (links.ETHERNET, ethernet, True),
    "vlan": (links.ETHERNET, lambda p, k: MACS + vlan(0x8100)(k) + p, True),
    "qinq": (links.ETHERNET, lambda p, k: MACS + vlan(0x88A8, 0x8100)(k) + p, True),
    "qinq with 8100 twice": (links.ETHERNET, lambda p, k: MACS + vlan(0x8100, 0x8100)(k) + p, True),
    "qinq, old types": (links.ETHERNET, lambda p, k: MACS + vlan(0x9100, 0x9200)(k) + p, False),
    "eight tags": (links.ETHERNET, lambda p, k: MACS + vlan(*[0x8100] * 8)(k) + p, True),
    "vn-tag": (links.ETHERNET, lambda p, k: MACS + ether(0x8926) + b"\0\0\0\1" + ether(k) + p, True),
    "mpls": (links.ETHERNET, lambda p, k: MACS + ether(0x8847) + mpls(1) + p, True),
    "mpls, three labels behind a vlan": (links.ETHERNET, lambda p, k: MACS + vlan(0x8100)(0x8848) + mpls(3) + p, True),
    "mpls, ethernet behind a control word": (
        links.ETHERNET,
        lambda p, k: MACS + ether(0x8847) + mpls(2) + b"\0\0\0\1" + in_mpls(p, k),
        True,
    ),
    "mpls, ethernet": (links.ETHERNET, lambda p, k: MACS + ether(0x8847) + mpls(1) + b"\x00" + in_mpls(p, k)[1:], False),
    "mpls, ethernet to a high address": (links.ETHERNET, lambda p, k: MACS + ether(0x8847) + mpls(1) + b"\xb8" + in_mpls(p, k)[1:], False),
    "mpls in cisco hdlc, ethernet behind a control word": (
        links.C_HDLC,
        lambda p, k: b"\x0f\x00\x88\x47" + mpls(1) + bytes(4) + in_mpls(p, k),
        True,
    ),
    "provider backbone": (links.ETHERNET, lambda p, k: MACS + ether(0x88E7) + backbone(ethernet(p, k)), True),
    "provider backbone, tags outside and inside": (
        links.ETHERNET,
        lambda p, k: MACS + vlan(0x88A8)(0x88E7) + backbone(MACS + vlan(0x8100)(k) + p),
        True,
    ),
    "pppoe": (links.ETHERNET, lambda p, k: MACS + ether(0x8864) + pppoe(p, k), True),
    "pppoe behind a vlan": (links.ETHERNET, lambda p, k: MACS + vlan(0x8100)(0x8864) + pppoe(p, k), True),
    "pppoe, short protocol": (links.ETHERNET, lambda p, k: MACS + ether(0x8864) + pppoe(p, k, short=True), True),
    "llc/snap": (links.ETHERNET, lambda p, k: MACS + llc(SNAP + ether(k) + p), True),
    "llc/snap of 802.1H": (links.ETHERNET, lambda p, k: MACS + llc(SNAP_F8 + ether(k) + p), True),
    "llc/snap behind a vlan": (links.ETHERNET, lambda p, k: MACS + ether(0x8100) + b"\0\5" + llc(SNAP + ether(k) + p), True),
    "vlan inside llc/snap": (links.ETHERNET, lambda p, k: MACS + llc(SNAP + vlan(0x8100)(k) + p), True),
    "sll": (links.SLL, sll, True),
    "sll, vlan": (links.SLL, lambda p, k: sll(b"\0\5" + ether(k) + p, 0x8100), True),
    "sll, llc": (links.SLL, lambda p, k: sll(SNAP + ether(k) + p, 4), True),
    "sll2": (links.SLL2, sll2, True),
    "sll2, vlan": (links.SLL2, lambda p, k: sll2(b"\0\5" + ether(k) + p, 0x8100), True),
    "sll2, llc": (links.SLL2, lambda p, k: sll2(SNAP + ether(k) + p, 4), True),
    "null, little": (links.NULL, lambda p, k: struct.pack("<I", 2 if k == 0x0800 else 30) + p, True),
    "null, big": (links.NULL, lambda p, k: struct.pack(">I", 2 if k == 0x0800 else 30) + p, True),
    "loop": (links.LOOP, lambda p, k: struct.pack(">I", 2 if k == 0x0800 else 24) + p, True),
    "raw": (links.RAW, lambda p, k: p, True),
    "raw, bsd": (links.RAW_BSD, lambda p, k: p, True),
    "raw, openbsd": (links.RAW_OPENBSD, lambda p, k: p, True),
    "ppp": (links.PPP, lambda p, k: ether(ppp_protocol(k)) + p, True),
    "ppp with address and control": (links.PPP, lambda p, k: b"\xff\x03" + ether(ppp_protocol(k)) + p, True),
    "ppp, short protocol": (links.PPP, lambda p, k: bytes([ppp_protocol(k)]) + p, True),
    "ppp with address, short protocol": (links.PPP, lambda p, k: b"\xff\x03" + bytes([ppp_protocol(k)]) + p, True),
    "mpls in ppp": (links.PPP, lambda p, k: b"\xff\x03" + ether(0x0281) + b"\x00\x01\x01\x40" + p, True),
    "ppp in hdlc": (links.PPP_HDLC, lambda p, k: b"\xff\x03" + ether(ppp_protocol(k)) + p, True),
    "pppoe link": (links.PPPOE, pppoe, True),
    "pppoe link, short protocol": (links.PPPOE, lambda p, k: pppoe(p, k, short=True), True),
    "cisco hdlc": (links.C_HDLC, lambda p, k: b"\x0f\x00" + ether(k) + p, True),
    "fddi": (links.FDDI, fddi, True),
    "fddi, priority 7": (links.FDDI, lambda p, k: fddi(p, k, 0x57), True),
    "netfilter log": (links.NFLOG, nflog, True),
    "netfilter log of a big-endian machine": (links.NFLOG, lambda p, k: nflog(p, k, ">", b"a longer prefix\0"), False),
    "pktap, ethernet": (links.PKTAP, lambda p, k: pktap(ethernet(p, k), links.ETHERNET), True),
    "pktap, loopback": (links.PKTAP, lambda p, k: pktap(struct.pack("<I", 2 if k == 0x0800 else 30) + p, links.NULL), True),
    "pktap, raw": (links.PKTAP, lambda p, k: pktap(p, links.RAW_BSD), True),
    "pktap, user link type": (links.USER2_PKTAP, lambda p, k: pktap(ethernet(p, k), links.ETHERNET), True),
    "pktap, long header": (links.PKTAP, lambda p, k: pktap(ethernet(p, k), links.ETHERNET, size=156), True),
}
FORMS |= forms("tests.wire.link")  # of members whose test has them
VERSIONS = {"IPv4": (V4, 0x0800), "IPv6": (V6, 0x86DD)}


def test_every_link_type_has_a_form_here() -> None:
    assert {form[0] for form in FORMS.values()} | {links.IPV4, links.IPV6, links.CAN} == set(link.READ)  # the last one carries no IP
    assert set(link.READ) <= set(link.NAMES)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("form", FORMS)
def test_read(form: str, version: str) -> None:
    number, frame, _ = FORMS[form]
    packet, kind = VERSIONS[version]
    found = one(frame(packet, kind), number)
    assert (found.src, found.dst) == (("192.0.2.1", "192.0.2.2") if kind == 0x0800 else ("2001:db8::1", "2001:db8::2"))
    assert (found.sport, found.dport, found.length, found.payload) == (40000, 443, 4, packet[-4:])
    padded = one(frame(packet, kind) + b"\0" * 7, number)  # padding and frame check sequences are no payload
    assert (padded.length, padded.payload) == (4, packet[-4:])


def test_raw_ip_of_one_version() -> None:
    assert one(V4, links.IPV4).payload == b"four"
    assert one(V6, links.IPV6).payload == b"six!"
    assert reason(V6, links.IPV4) == reason(V4, links.IPV6) == "bad_ip"
    assert one(MACS + llc(b"\x06\x06\x03" + V4), links.ETHERNET).payload == b"four"  # SAP 6 is IP version 4 without SNAP


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("form", FORMS)
def test_cut_at_every_byte(form: str, version: str) -> None:
    """A cut frame is counted as cut, never as something else, and nothing behind the cut is looked at."""
    number, frame, _ = FORMS[form]
    packet, kind = VERSIONS[version]
    whole = frame(packet, kind)
    network, header = len(whole) - len(packet), 20 if kind == 0x0800 else 40
    for cut in range(len(whole)):
        found = decode_bytes(pcap([whole, whole], number, cut=cut))
        if cut < network:
            assert found.counts == {"cut_link": 2}, cut
        elif cut < network + header:
            # MPLS and raw IP need the first byte of the packet to tell the version, PPP four bytes to tell its header
            early = cut == network or (form.startswith("ppp") and cut < 4)
            assert found.counts in ({"cut_ip": 2}, {"cut_link": 2} if early else {}), cut
        elif cut < network + header + 20:
            assert found.counts == {"cut_transport": 2}
        else:
            assert found.counts == {"tcp": 2, "cut_payload": 2}
            assert [p.length for p in found.packets] == [4, 4]
            assert [p.payload for p in found.packets] == [packet[-4:][: cut - network - header - 20]] * 2


def test_cooked_frames_tell_interface_and_packet_type() -> None:
    for kind in range(5):
        assert one(sll(V4, 0x0800, kind), links.SLL).iface == kind
        assert one(sll2(V4, 0x0800, kind, ifindex=7), links.SLL2).iface == 7 << 8 | kind
    assert one(sll2(V4, 0x0800, 255, ifindex=0xFFFFFFFF), links.SLL2).iface == 0xFFFFFFFF << 8 | 255
    assert one(ethernet(V4), links.ETHERNET).iface == 0
    both = decode_bytes(pcap([sll2(V4, 0x0800)], links.SLL2), pcap([sll2(V4, 0x0800)], links.SLL2), pcap([ethernet(V4)], links.ETHERNET))
    assert [p.iface for p in both.packets] == [3 << 8 | 4, 3 << 8 | 4, 1 << 40]


def test_pktap_tells_interfaces_apart() -> None:
    names = [b"en0", b"en1", b"lo0", b"bridge100", b"utun3", b"a" * 24, b""]
    found = decode([pktap(ethernet(V4), links.ETHERNET, name) for name in names] * 2, links.PKTAP)
    ifaces = [p.iface for p in found.packets]
    assert len(set(ifaces)) == len(names)
    assert ifaces[: len(names)] == ifaces[len(names) :]
    assert all(0 <= i < 1 << 40 and i & 0xFF == 0 for i in ifaces)
    assert one(pktap(V4, links.RAW, size=12)[:12] + V4, links.PKTAP).iface == 0  # a header too short for a name


@pytest.mark.parametrize("number", [3, 6, 143, 147, 195, 220, 277, 0x3FFFFFF])
def test_other_link_types_are_counted(number: int) -> None:
    assert decode([V4, V6, b""], number).counts == {"link_type": 3}
    assert reason(pktap(V4, number), links.PKTAP) == "link_type"


def test_pktap_in_pktap_ends() -> None:
    nested = V4
    for _ in range(link.MAX_HEADERS - 1):
        nested = pktap(nested, links.RAW if nested is V4 else links.PKTAP)
    assert one(nested, links.PKTAP).payload == b"four"
    assert reason(pktap(nested, links.PKTAP), links.PKTAP) == "link_type"
    for size in (0, 11, 5000, 0xFFFFFFFF):
        assert reason(struct.pack("<I", size) + pktap(V4, links.RAW)[4:], links.PKTAP) == "cut_link"


@pytest.mark.parametrize(
    ("frame", "number", "says"),
    [
        (MACS + ether(0x88CC) + b"lldp", links.ETHERNET, "not_ip"),
        (MACS + llc(b"\x42\x42\x03" + bytes(35)), links.ETHERNET, "not_ip"),  # spanning tree
        (MACS + llc(b"\xff\xff" + bytes(30)), links.ETHERNET, "not_ip"),  # Novell
        (MACS + llc(b"\xaa\xaa\x03\0\0\x0c\x20\0" + bytes(30)), links.ETHERNET, "not_ip"),  # CDP: an OUI of its own
        (MACS + llc(SNAP + ether(100) + V4), links.ETHERNET, "not_ip"),
        (MACS + ether(1501) + SNAP + ether(0x0800) + V4, links.ETHERNET, "ethertype"),  # neither length nor EtherType
        (MACS + vlan(*[0x8100] * 9)(0x0800) + V4, links.ETHERNET, "ethertype"),
        (MACS + ether(0x8903) + V4, links.ETHERNET, "ethertype"),  # Cisco FabricPath
        (MACS + ether(0x88E5) + V4, links.ETHERNET, "macsec"),
        (MACS + ether(0x8847) + mpls(1) + b"\x10\0\0\0" + V4, links.ETHERNET, "mpls"),  # a control channel (RFC 5586)
        (MACS + ether(0x8847) + mpls(10) + V4, links.ETHERNET, "mpls"),
        (MACS + ether(0x88E7) + backbone(MACS + ether(0x88CC) + b"lldp"), links.ETHERNET, "not_ip"),
        (MACS + ether(0x8863) + pppoe(V4, 0x0800), links.ETHERNET, "not_ip"),  # PPPoE discovery
        (MACS + ether(0x8864) + pppoe(V4, 0x0800)[:6] + ether(0xC021) + V4, links.ETHERNET, "not_ip"),  # LCP
        (MACS + ether(0x8864) + pppoe(V4, 0x0800)[:6] + b"\xfd" + V4, links.ETHERNET, "ppp"),  # compressed (RFC 1962)
        (sll(V4, 1), links.SLL, "not_ip"),  # Novell's 802.3
        (sll(V4, 0x0021, arphrd=512), links.SLL, "not_ip"),  # PPP's own numbers are no EtherTypes
        (sll(V4, 0, arphrd=824), links.SLL, "not_ip"),  # netlink
        (sll2(V4, 1), links.SLL2, "not_ip"),
        (struct.pack("<I", 23) + V6, links.NULL, "not_ip"),
        (struct.pack("<I", 0) + V4, links.NULL, "not_ip"),
        (b"\x50" + V4[1:], links.RAW, "not_ip"),
        (b"\xff\x03\xc0\x21" + V4, links.PPP, "not_ip"),
        (b"\xff\x03\x00\xfd" + V4, links.PPP, "ppp"),
        (b"\xc0\x21" + V4, links.PPP_HDLC, "not_ip"),
        (fddi(V4, 0x0800, 0x40), links.FDDI, "not_ip"),
        (fddi(V4, 0x0800, 0xD0), links.FDDI, "not_ip"),
        (b"\x0f\x00\x20\x00" + V4, links.C_HDLC, "not_ip"),
        (b"\0\0\6\x41\3\0\0\0\2\x10\3", links.CAN, "not_ip"),
    ],
)
def test_what_carries_no_ip_is_counted(frame: bytes, number: int, says: str) -> None:
    assert decode([frame], number).counts == {says: 1}


def test_arp() -> None:
    assert reason(ethernet(bytes(28), 0x0806), links.ETHERNET) == reason(ethernet(bytes(28), 0x8035), links.ETHERNET) == "arp"
    assert reason(sll2(bytes(28), 0x0806), links.SLL2) == "arp"


@given(
    number=st.sampled_from([*link.NAMES, 220]),
    data=st.binary(max_size=200),
    start=st.sampled_from([b"", MACS, MACS + b"\x81\0", MACS + b"\x88\x47", MACS + b"\0\x20" + SNAP, pktap(b"", 1), pktap(b"", 276)]),
)
def test_the_network_header_lies_inside_the_frame(number: int, data: bytes, start: bytes) -> None:
    frame = start + data
    results = set()
    for filler in (0x00, 0x45, 0x60, 0x81, 0xFF):  # what lies outside the frame changes nothing
        buf = np.frombuffer(bytearray(bytes([filler]) * 30 + frame + bytes([filler]) * 40), np.uint8)
        results.add(network_start(buf, 30, len(frame), number))
    ((at, kind, where),) = results
    assert at in (-1, -2, -3) or 30 <= at <= 30 + len(frame)
    assert 0 <= kind <= 0xFFFF
    assert 0 <= where < 1 << 40


@pytest.mark.tshark
def test_tshark_reads_the_same(tshark: str, tmp_path: Path) -> None:
    """Every form that tshark knows: addresses, ports, sequence number, payload length and time agree."""
    fields = ["frame.time_epoch", "ip.src", "ipv6.src", "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.len", "tcp.payload"]
    by_link: dict[int, list[bytes]] = {links.IPV4: [V4], links.IPV6: [V6]}
    for number, frame, known in FORMS.values():
        if known:
            by_link.setdefault(number, []).extend(frame(packet, kind) for packet, kind in VERSIONS.values())
    path = tmp_path / "c.pcap"
    for number, frames in by_link.items():
        path.write_bytes(pcap(frames, number))
        command = [tshark, "-r", str(path), "-T", "fields", *(x for f in fields for x in ("-e", f))]
        if number == links.USER2_PKTAP:  # tshark gives the user link types to nobody unless told
            command += ["-o", 'uat:user_dlts:"User 2 (DLT=149)","pktap","0","","0",""']
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"link type {number}: {done.stderr}"
        rows = done.stdout.splitlines()
        ours = decode(frames, number).packets
        theirs = [row.split("\t") for row in rows]
        assert theirs == [
            [
                f"{p.ts // 1_000_000_000}.{p.ts % 1_000_000_000:09}",
                p.src if "." in p.src else "",
                p.src if ":" in p.src else "",
                str(p.sport),
                str(p.dport),
                str(p.seq),
                str(p.length),
                p.payload.hex(),
            ]
            for p in ours
        ], number
