"""What else goes over a network: of every protocol that names, addresses or texts travel in, nothing of them is in the result."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from netlens.anonymize.mapper import Mapper
from tests.anonymize.frames import SECRET, anonymous, assert_alike
from tests.wire.helpers import decode_paths, pcap, read
from tests.wire.links import ETHERNET, IPV4, LOOP, NULL, PKTAP, RAW, SLL, SLL2, USER2_PKTAP

SAID = b"SECRETSECRET"
NAME = "SecretSecret.corp.example.com."
#: Addresses of the packets, in whole or the part that says whose they are.
ADDRESSES = tuple(map(bytes.fromhex, ("5db8d8", "510245", "20014860", "2a001450", "3c22fb", "112233", "c0a80137")))
PRIVATE = (b"SECRET", b"secret", b"Secret", b"MacBook", b"corp", b"cdn", *ADDRESSES)


def traffic() -> list[Any]:
    """Frames of Ethernet, by scapy."""
    from scapy.layers import dhcp, dns, inet, inet6, l2, netbios, ppp, vxlan
    from scapy.layers.tls import all as tls
    from scapy.packet import Padding, Raw

    mac = l2.Ether(src="3c:22:fb:11:22:33", dst="3c:22:fb:44:55:66")
    one, other = "93.184.216.34", "81.2.69.142"
    ip, ip6 = inet.IP(src=one, dst=other), inet6.IPv6(src="2001:4860:4860::8888", dst="2a00:1450:4001:811::200e")
    home = inet.IP(src="192.168.1.55", dst="192.168.1.255")
    loop = inet.IP(src="127.0.0.1", dst="127.0.0.1")

    def udp(data: Any, sport: int = 4000, dport: int = 53, net: Any = ip) -> Any:
        return mac / net / inet.UDP(sport=sport, dport=dport) / (Raw(data) if isinstance(data, bytes) else data)

    def tcp(data: bytes, dport: int = 4001, sport: int = 4001, **more: Any) -> Any:
        return mac / ip / inet.TCP(sport=sport, dport=dport, flags="PA", **more) / Raw(data)

    def kind(number: int, data: bytes) -> Any:
        return l2.Ether(src=mac.src, dst=mac.dst, type=number) / Raw(data)

    asked = dns.DNSQR(qname=NAME)
    long_text = dns.DNS(id=7, qr=1, qd=asked, an=[dns.DNSRR(rrname=NAME, type="TXT", rdata=[SAID * 10])] * 8)
    answer = dns.DNS(
        id=7,
        qr=1,
        qd=asked,
        an=[
            dns.DNSRR(rrname=NAME, type="CNAME", rdata="secretsecret.cdn.net."),
            dns.DNSRR(rrname="secretsecret.cdn.net.", type="A", rdata=one),
            dns.DNSRR(rrname=NAME, type="TXT", rdata=[SAID, b"key=" + SAID]),
            dns.DNSRRSRV(rrname="_ldap._tcp." + NAME, port=389, target="secretsecret.dc.local."),
            dns.DNSRRMX(rrname=NAME, exchange="secretsecret.mx."),
            dns.DNSRRSOA(rrname=NAME, mname="secretsecret.ns.", rname="secretsecret.admin."),
            dns.DNSRR(rrname="34.216.184.93.in-addr.arpa.", type="PTR", rdata="secretsecret.host."),
            dns.DNSRR(rrname=NAME, type="HINFO", rdata=b"\x0cSECRETSECRET\x05LINUX"),
        ],
    )
    multicast = dns.DNS(
        qr=1,
        qd=[],
        an=[
            dns.DNSRR(rrname="_http._tcp.local.", type="PTR", rdata="SecretSecret's MacBook._http._tcp.local."),
            dns.DNSRR(rrname="SecretSecret.local.", type="A", rdata="192.168.1.55"),
        ],
    )
    certificate = b"\x0b\0\0\x42\0\0\x3f\0\0\x3c" + SAID * 5
    hello = bytes(
        tls.TLS(
            msg=[
                tls.TLSClientHello(
                    ciphers=[0x1301],
                    ext=[
                        tls.TLS_Ext_ServerName(servernames=[tls.ServerName(servername=b"secretsecret.example.com")]),
                        tls.TLS_Ext_SessionTicket(ticket=SAID * 4),
                        tls.TLS_Ext_ALPN(protocols=[tls.ProtocolName(protocol=b"h2"), tls.ProtocolName(protocol=SAID * 2)]),
                        tls.TLS_Ext_Padding(padding=SAID * 3),
                    ],
                )
            ]
        )
    )
    dhcp_options = [("message-type", "request"), ("hostname", SAID), ("requested_addr", one), "end"]
    query = b"\0\7\1\0\0\1\0\0\0\0\0\0\x0cSECRETSECRET\0\0\1\0\1"
    told = [dns.EDNS0ClientSubnet(source_plen=24, address="93.184.216.0"), dns.EDNS0TLV(optcode=10, optdata=SAID)]
    over = [inet.IPOption_RR(routers=[one]), inet.IPOption_LSRR(routers=["93.184.216.35"])]
    odd_options = [("TFO", (0x53454352, 0x45545345)), (253, SAID), ("MSS", 1460)]
    before = inet6.IPv6ExtHdrHopByHop(options=[inet6.PadN(optdata=SAID)]) / inet6.IPv6ExtHdrRouting(addresses=["2001:4860:4860::8844"])
    whole6 = inet6.IPv6(src=ip6.src, dst=ip6.dst) / inet6.IPv6ExtHdrFragment(id=5) / inet.UDP(sport=53, dport=4000) / long_text
    whole = inet.IP(src=one, dst=other, id=9) / inet.UDP(sport=53, dport=4000) / long_text
    quoted = inet.IP(src=other, dst=one) / inet.UDP(sport=4000, dport=53) / dns.DNS(qd=asked)
    frames = [
        udp(answer, 53, 4000),
        udp(dns.DNS(qd=dns.DNSQR(qname="34.216.184.93.in-addr.arpa.", qtype="PTR"))),
        udp(dns.DNS(qd=asked, ar=[dns.DNSRROPT(rdata=told)])),
        udp(multicast, 5353, 5353, inet.IP(src="192.168.1.55", dst="224.0.0.251")),
        udp(dns.DNS(qd=dns.DNSQR(qname="secretsecret")), 5355, 5355),
        udp(netbios.NBNSQueryRequest(QUESTION_NAME=SAID), 137, 137, home),
        udp(dhcp.BOOTP(chaddr=bytes.fromhex("3c22fb112233"), ciaddr="192.168.1.55") / dhcp.DHCP(options=dhcp_options), 68, 67, home),
        udp(b"\1\x12\x34\x56" + SAID * 3, 546, 547, ip6),
        udp(b"\xc3\0\0\0\1\x0c" + SAID * 8, 5000, 443),  # QUIC
        udp(b"\x43" + SAID * 8, 5000, 443),
        udp(b"<13>Jan 1 secretsecret sudo: " + SAID, 5000, 514),
        udp(SAID * 6),  # no DNS at its port, in several ways
        udp(bytes(4) + b"\0\1" + bytes(6) + b"\x0c" + SAID + b"\0\0\1\0\1" + SAID * 5),
        udp(bytes(4) + b"\0\0\0\1\0\0\0\0\0" + SAID),
        udp(query, dport=12345, net=loop),
        udp(query + SAID, dport=12345, net=loop),
        udp(vxlan.VXLAN(vni=5) / mac / ip / inet.TCP() / Raw(SAID), dport=4789),
        tcp(b"GET /secretsecret?token=SECRETSECRET HTTP/1.1\r\nHost: secretsecret\r\nCookie: SECRETSECRET\r\n\r\n", 80, options=[("Timestamp", (1, 2))]),
        tcp(b"CONNECT secretsecret.example.com:443 HTTP/1.1\r\n\r\n", 80),
        tcp(b"HTTP/1.1 200 SECRETSECRET\r\nSet-Cookie: SECRETSECRET\r\n\r\n", sport=80),
        tcp(b"SSH-2.0-SECRETSECRET_9 SECRETSECRET\r\n", 22),
        tcp(b"EHLO secretsecret\r\nMAIL FROM:<secretsecret@x>\r\n", 25),
        tcp(b"\5\1\0\3\x0cSECRETSECRET\1\xbb", 1080),
        tcp(b"\x16\x03\x03" + len(certificate).to_bytes(2, "big") + certificate, sport=443),
        tcp(SAID * 20, sport=443, seq=100),  # where a certificate goes on
        tcp(hello, 443, 4002, seq=1),
        tcp(hello[:60], 443, 4003, seq=1),
        tcp(hello[60:], 443, 4003, seq=61),
        tcp(struct.pack(">H", len(query)) + query, 53, 4004, seq=1),
        tcp(SAID * 4, 53, 4004, seq=1 + 2 + len(query)),
        tcp(bytes([0, 40]) + SAID * 5, 853),
        mac / ip / inet.ICMP(type=3, code=3) / quoted,
        mac / ip / inet.ICMP(type=8) / Raw(SAID * 4),
        mac / ip / inet.ICMP(type=17) / Raw(SAID),
        mac / ip6 / inet6.ICMPv6DestUnreach() / inet6.IPv6(src=ip6.dst, dst=ip6.src) / inet.TCP() / Raw(SAID * 4),
        mac / ip6 / before / inet.TCP(dport=80) / Raw(SAID),
        mac / ip6 / inet6.ICMPv6ND_RA() / inet6.ICMPv6NDOptRDNSS(dns=["2001:4860:4860::8888"]) / inet6.ICMPv6NDOptDNSSL(searchlist=["secretsecret.corp"]),
        mac / ip6 / inet6.ICMPv6NIReplyName(data=[SAID]),
        mac / ip6 / inet6.ICMPv6MLReport2(records=[inet6.ICMPv6MLDMultAddrRec(dst="ff05::1:3", sources=["2001:4860:4860::8888"])]),
        *(mac / part for part in inet6.fragment6(whole6, 300)),
        *(mac / part for part in inet.fragment(whole, 200)),
        mac / l2.ARP(hwsrc="3c:22:fb:11:22:33", psrc=one, pdst="93.184.216.1") / Padding(SAID),
        mac / l2.Dot1Q(vlan=100) / l2.Dot1Q(vlan=7) / ip / inet.TCP(dport=443) / Raw(SAID),
        mac / inet.IP(src=one, dst=other, options=over) / inet.TCP(options=odd_options) / Raw(SAID),
        mac / ip / l2.GRE() / inet.IP(src=one, dst="1.1.1.1") / inet.TCP() / Raw(SAID),
        mac / ip / inet.IP(src=one, dst="1.1.1.1") / inet.TCP() / Raw(SAID),
        kind(0x88CC, b"\2\7\4\x3c\x22\xfb\x11\x22\x33\x0a\x0c" + SAID),  # LLDP
        kind(0x888E, b"\1\0\0\x11\2\1\0\x11\1" + SAID),  # EAPOL
        kind(0x8863, b"\x11\x09\0\0\0\x10\1\3\0\x0c" + SAID),  # PPPoE discovery
        l2.Ether(src=mac.src, dst=mac.dst, type=0x8864) / ppp.PPPoE(sessionid=5) / ppp.PPP(proto=0xC023) / Raw(b"\1\1\0\x10\x0cSECRETSECRET"),
        l2.Dot3(src=mac.src, dst="01:00:0c:cc:cc:cc") / l2.LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / l2.SNAP(OUI=12, code=0x2000) / Raw(SAID * 3),  # CDP
    ]  # fmt: skip
    return [bytes(frame) for frame in frames]


@pytest.fixture(scope="module")
def frames() -> list[bytes]:
    return traffic()


def as_link(frame: bytes, link: int) -> bytes:
    """The frame behind another header, which names the card, a program and a user too."""
    card, rest = bytes.fromhex("3c22fb112233"), frame[14:]
    if link == SLL:
        return struct.pack(">HHH", 0, 1, 6) + card + SAID[:2] + frame[12:]
    if link == SLL2:
        return frame[12:14] + b"\0\0" + struct.pack(">IHBB", 3, 1, 0, 6) + card + SAID[:2] + rest
    if link == PKTAP:
        return struct.pack("<III24s", 108, 1, ETHERNET, b"en0") + bytes(16) + (SAID * 5)[:56] + frame
    heads = {NULL: b"\2\0\0\0", LOOP: b"\0\0\0\2", RAW: b"", IPV4: b"", ETHERNET: frame[:14]}
    return heads[link] + rest if link in heads else frame


@pytest.mark.parametrize("link", [ETHERNET, SLL, SLL2, PKTAP, NULL, LOOP, RAW, IPV4, USER2_PKTAP, 105, 127, 147, 189, 195, 253])
def test_nothing_of_it_is_in_the_result(link: int, frames: list[bytes], tmp_path: Path) -> None:
    """Behind every link type that is read, and behind some that are not (802.11, Bluetooth, USB, netlink): these become zeros."""
    source, target = anonymous(pcap([as_link(f, link) for f in frames], link), tmp_path, secret=SECRET)
    assert_alike(source, target)
    data = target.read_bytes()
    assert len(data) == source.stat().st_size
    for private in PRIVATE:
        assert private not in data, private


def test_dns_is_still_dns_and_says_the_same_twice(frames: list[bytes], tmp_path: Path) -> None:
    """A name is the same in a question, in answers, in capitals, as a server name and over TCP; so is an address in a header and in an answer."""
    import netlens

    source, target = anonymous(pcap(frames, ETHERNET), tmp_path)
    before, after = netlens.read(source), netlens.read(target)
    mapper = Mapper(bytes(range(32)))
    for a, b in zip(before.lookups.itertuples(), after.lookups.itertuples(), strict=True):
        assert (a.qtype, a.rcode, a.transport, a.path, a.query_ns) == (b.qtype, b.rcode, b.transport, b.path, b.query_ns)
        if isinstance(a.qname, str):
            assert b.qname == mapper.shown_name(a.qname)
        assert list(b.answers) == [mapper.address(x) for x in a.answers]
    assert list(after.hellos.sni) == [mapper.name(n) for n in before.hellos.sni]
    kept = [c for c in before.sessions if c not in ("orig_ip", "resp_ip", "sni")]
    assert before.sessions[kept].equals(after.sessions[kept])


@pytest.mark.tshark
def test_checksums_by_tshark(frames: list[bytes], tmp_path: Path, tshark: str) -> None:
    """Right ones are right, unless they were made with an address that is gone (source routes), or of a packet that is quoted."""
    source, target = anonymous(pcap(frames, ETHERNET), tmp_path)

    def view(path: Path) -> list[list[str]]:
        wanted = [x for p in ("ip", "tcp", "udp", "icmp", "icmpv6") for x in ("-e", f"{p}.checksum.status")]
        checks = [x for p in ("ip", "tcp", "udp") for x in ("-o", f"{p}.check_checksum:TRUE")]
        entered = [x for p in ("vxlan", "gre") for x in ("--disable-protocol", p)]
        done = subprocess.run(
            [tshark, "-r", str(path), *checks, *entered, "-T", "fields", "-E", "occurrence=f", *wanted],
            capture_output=True,
            text=True,
            check=True,
        )
        return [line.split("\t") for line in done.stdout.splitlines()]

    routed = {k for k, f in enumerate(frames) if (f[12:14] == b"\x86\xdd" and f[20] == 0) or (f[12:14] == b"\x08\0" and f[14] > 0x45)}
    quoting = {k for k, f in enumerate(frames) if f[12:14] == b"\x86\xdd" and f[20] == 58 and f[54] == 1}
    quoting |= {k for k, f in enumerate(frames) if f[12:14] == b"\x08\0" and f[23] == 1 and f[34] == 3}
    tunnels = {k for k, f in enumerate(frames) if f[23] == 17 and f[36:38] == (4789).to_bytes(2, "big")}
    nested = tunnels | {k for k, f in enumerate(frames) if f[12:14] == b"\x08\0" and f[23] in (4, 47)}
    for k, (a, b) in enumerate(zip(view(source), view(target), strict=True)):
        if k not in routed | quoting | nested:
            assert a == b, k


def test_the_mapped_reverse_names_hide_which_digits_were_letters() -> None:
    mapper = Mapper(bytes(range(32)))
    names = [f"{n:x}.{'8.' * 30}2.ip6.arpa" for n in range(16)]
    images = [mapper.name(name) for name in names]
    assert {image[0] for image in images} == set("0123456789abcdef")
    assert all(image.endswith(".ip6.arpa") and len(image) == len(names[0]) for image in images)
    assert mapper.name("34.216.184.93.in-addr.arpa") != "34.216.184.93.in-addr.arpa"


def test_names_as_they_are_shown() -> None:
    """Escapes stand for bytes, so that what a report shows has the image of what was on the wire."""
    mapper = Mapper(bytes(range(32)), keep=["z.ai"])
    assert mapper.shown_name("API.example.com") == mapper.name("API.example.com")
    assert len(mapper.shown_name(r"a\x0ab.z.ai")) == len("a?b.z.ai")
    assert mapper.shown_name(r"a\x0ab.z.ai") == mapper.shown_name(r"a\010b.z.ai")
    assert mapper.shown_name(r"a\x0ab.z.ai").endswith(".z.ai")


def test_everything_is_counted_alike(frames: list[bytes], tmp_path: Path) -> None:
    source, target = anonymous(pcap(frames, ETHERNET), tmp_path)
    assert len(read(source).frames) == len(read(target).frames) == len(frames)
    assert decode_paths(source).counts == decode_paths(target).counts
