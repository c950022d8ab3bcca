"""Frames one by one: the result is decoded alike, holds nothing that was said, and its checksums are what they were."""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import pytest

import netlens
from netlens.anonymize.mapper import Mapper
from tests.anonymize.frames import SECRET, anonymous, assert_alike, check
from tests.wire import helpers as w
from tests.wire.hello import read_hello
from tests.wire.helpers import Pcapng, decode, ethernet, ip4, ip6, pcap, read, tcp, udp
from tests.wire.links import C_HDLC, ETHERNET, FDDI, LOOP, NULL, PKTAP, PPP, PPPOE, RAW, SLL, SLL2
from tests.wire.test_decode import routed
from tests.wire.test_link import FORMS, VERSIONS
from tests.wire.test_tls import chrome, hello, record
from tests.wire.test_tunnels import FORMS as TUNNELS
from tests.wire.test_tunnels import VXLAN, gre

SAID = b"the quick brown fox: Bearer sk-0123456789abcdef"
MAPPER = Mapper(SECRET)


def folded(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def pseudo(packet: bytes, proto: int, length: int) -> bytes:
    return packet[12:20] + struct.pack(">HH", proto, length) if packet[0] >> 4 == 4 else packet[8:40] + struct.pack(">II", length, proto)


def start(packet: bytes) -> int:
    return 20 if packet[0] >> 4 == 4 else 40


def checked(packet: bytes, proto: int) -> bytes:
    """The packet with right checksums."""
    out = bytearray(packet)
    at = start(packet)
    place = at + {6: 16, 17: 6, 1: 2, 58: 2}[proto]
    out[place : place + 2] = bytes(2)
    head = b"" if proto == 1 else pseudo(packet, proto, len(packet) - at)
    out[place : place + 2] = struct.pack(">H", 0xFFFF - folded(head + bytes(out[at:])))
    if packet[0] >> 4 == 4:
        out[10:12] = bytes(2)
        out[10:12] = struct.pack(">H", 0xFFFF - folded(bytes(out[:20])))
    return bytes(out)


def is_right(packet: bytes, proto: int) -> bool:
    at = start(packet)
    head = b"" if proto == 1 else pseudo(packet, proto, len(packet) - at)
    whole = folded(head + packet[at:]) == 0xFFFF
    return whole and (packet[0] >> 4 == 6 or folded(packet[:20]) == 0xFFFF)


def one(packet: bytes, folder: Path, link: int = RAW, **options: object) -> bytes:
    _, target = check([packet], link, folder, **options)
    return read(target).data[0]


# --- everything ---------------------------------------------------------------------------------------------------------------------------


LINKS = (SLL2, SLL, ETHERNET, NULL, LOOP, RAW, PKTAP, FDDI, PPP, PPPOE, C_HDLC, 147)


def _as_link(frame: bytes, link: int, rng: random.Random) -> bytes:
    """A frame of SLL2 as one of another link type."""
    kind, packet = frame[:2], frame[20:]
    if link == SLL2:
        return frame
    if link == PKTAP:
        inner = rng.choice([ETHERNET, RAW, SLL2])
        size = rng.choice([12, 36, 60, 108])
        head = (struct.pack("<III", size, 1, inner) + f"en{rng.randrange(3)}".encode().ljust(200, b"\0"))[:size]
        return head + {ETHERNET: bytes(12) + kind + packet, RAW: packet, SLL2: frame}[inner]
    head = {ETHERNET: bytes(12) + kind, SLL: bytes(14) + kind, NULL: b"\2\0\0\0", LOOP: b"\0\0\0\2", RAW: b"", C_HDLC: b"\x0f\0" + kind}
    return head.get(link, rng.randbytes(rng.randrange(20))) + packet


@pytest.mark.parametrize("seed", range(8))
def test_damaged_frames_of_the_lab_decode_alike(seed: int, captures: Path, tmp_path: Path) -> None:
    """Bytes set, cut and appended at random: every frame is counted, read and cut as before."""
    rng = random.Random(seed)
    frames = [
        f for name in ("same-nat-ip-nat/host", "zombie-sshuttle/vm", "dns-over-tcp/vm") for f in read(captures / f"{name}.pcap.gz").data
    ]
    for link in LINKS:
        packets = []
        for _ in range(150):
            frame = bytearray(_as_link(rng.choice(frames), link, rng))
            for _ in range(rng.choice([0, 0, 1, 1, 2, 4, 16])):
                if frame:
                    frame[rng.randrange(min(len(frame), rng.choice([20, 44, 80, 200, 2000])))] = rng.choice(
                        [0, 1, 2, 6, 17, 58, 255, rng.randrange(256)]
                    )
            if rng.random() < 0.2:
                del frame[rng.randrange(len(frame) + 1) :]
            packets.append(bytes(frame))
        check(packets, link, tmp_path)


def test_nothing_that_was_said_is_in_the_result(tmp_path: Path) -> None:
    packets = [
        ip4(tcp(SAID)),
        ip4(tcp(b"GET /secret HTTP/1.1\r\nHost: intranet\r\nCookie: " + SAID)),
        ip4(tcp(b"HTTP/1.1 429 " + SAID)),
        ip4(tcp(record(SAID, kind=23))),
        ip4(tcp(record(b"\x0b" + (len(SAID)).to_bytes(3, "big") + SAID))),
        ip4(tcp(b"SSH-2.0-OpenSSH_9.2 " + SAID + b"\r\n" + SAID)),
        ip4(tcp(SAID, options=b"\xfd\x0e" + SAID[:12])),
        ip4(udp(SAID), 17),
        ip4(udp(SAID, dport=9999), 17),
        ip4(udp(b"\x12\x34" + SAID, dport=443), 17),
        ip4(b"\x08\x00\x00\x00\x00\x01\x00\x02" + SAID, 1),
        ip4(b"\x03\x01\x00\x00\x00\x00\x00\x00" + ip4(tcp(SAID), src="192.0.2.9"), 1),
        ip4(SAID, 132),
        ip4(tcp(b""), options=b"\x07\x27\x04" + SAID[:36]),
        ip6(udp(SAID, dport=53), 17),
        ip4(tcp(b"PROXY TCP4 198.51.100.7 198.51.100.8 1 2\r\n" + hello(b"intranet.example.com"))),
        ip4(tcp(b"")) + SAID,
    ]
    _, target = check(packets, RAW, tmp_path)
    data = target.read_bytes()
    for piece in (b"quick", b"brown", b"fox", b"Bearer", b"0123456", b"secret", b"intranet", b"198.51", bytes([192, 0, 2, 9])):
        assert piece not in data
    assert b"SSH-2.0-OpenSSH_9.2 xxx" in data
    assert b"HTTP/1.1 429" in data


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", b"SSH-2.0-OpenSSH_9.2p1\r\n"),
        (b"SSH-2.0-OpenSSH_10.0p2 Debian-7 at alice\r\n", b"SSH-2.0-OpenSSH_10.0p2 xxxxxxxx xx xxxxx\r\n"),
        (b"SSH-2.0-OpenSSH_9.2-alice-laptop\r\n", b"SSH-2.0-OpenSSH_9.2xxxxxxxxxxxxx\r\n"),
        (b"SSH-2.0-OpenSSH_9.2p1+alice\r\n", b"SSH-2.0-OpenSSH_9.2p1xxxxxx\r\n"),
        (b"SSH-2.0-OpenSSH_192.168.17.4\r\n", b"SSH-2.0-OpenSSH_192.168xxxxx\r\n"),
        (b"SSH-2.0-OpenSSH_for_alice\r\n", b"SSH-2.0-OpenSSH_xxxxxxxxx\r\n"),
        (b"SSH-2.0-dropbear_2022.83\n", b"SSH-2.0-dropbear_2022.83\n"),
        (b"SSH-2.0-dropbearalice\n", b"SSH-2.0-dropbearxxxxx\n"),
        (b"SSH-2.0-alice\r\n", b"SSH-xxxxxxxxx\r\n"),
        (b"SSH-alice.example\r\n", b"SSH-xxxxxxxxxxxxx\r\n"),
        (b"SSH-2.0-OpenSSH_9.2", b"SSH-2.0-OpenSSH_9.2"),
        (b"SSH-2.0-Open", b"SSH-xxxxxxxx"),
        (b"HTTP/1.1 429 Too Many", b"HTTP/1.1 429"),
        (b"HTTP/bob Bob is", b"HTTP/"),
        (b"HTTP/1.1 Bob is", b"HTTP/1.1 "),
    ],
)  # fmt: skip
def test_what_is_left_of_a_first_line(said: bytes, left: bytes, tmp_path: Path) -> None:
    """A distribution's or an owner's word behind the version of SSH stayed, and so did words in the place of a version of HTTP."""
    _, target = check([ip4(tcp(said))], RAW, tmp_path)
    assert target.read_bytes().endswith(left + bytes(len(said) - len(left)))


# --- checksums ------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [ip4, ip6])
@pytest.mark.parametrize(
    ("proto", "body"), [(6, tcp(SAID + b"x")), (6, tcp(SAID)), (17, udp(SAID, dport=9999)), (17, udp(bytes(3), dport=53))]
)
def test_right_checksums_are_right(make: object, proto: int, body: bytes, tmp_path: Path) -> None:
    packet = checked(make(body, proto), proto)  # type: ignore[operator]
    assert is_right(packet, proto)
    assert is_right(one(packet, tmp_path), proto)


def test_checksums_left_to_the_card_stay_so(tmp_path: Path) -> None:
    packet = bytearray(ip4(tcp(SAID)))
    assert one(bytes(packet), tmp_path)[36:38] == b"\0\0"
    partial = folded(pseudo(bytes(packet), 6, len(packet) - 20))
    packet[36:38] = struct.pack(">H", partial)
    image = one(bytes(packet), tmp_path)
    assert image[36:38] == struct.pack(">H", folded(pseudo(image, 6, len(image) - 20)))
    assert image[10:12] == b"\0\0", "no checksum of the header either"


def test_wrong_checksums_are_wrong_and_tell_nothing(tmp_path: Path) -> None:
    wrong = []
    for said in (SAID, SAID[::-1] + b"!!"):
        packet = bytearray(checked(ip4(tcp(said)), 6))
        packet[36] ^= 0x55
        packet[10] ^= 0x55
        image = one(bytes(packet), tmp_path)
        assert not is_right(image, 6)
        right = checked(image, 6)
        wrong.append((struct.unpack(">H", image[36:38])[0] ^ struct.unpack(">H", right[36:38])[0], image[10] ^ right[10]))
    assert wrong[0] == wrong[1], "how wrong it is does not depend on what was said"


def test_a_cut_packet_tells_nothing_of_what_was_cut(tmp_path: Path) -> None:
    images = [one(checked(ip4(tcp(said)), 6), tmp_path, cut=60) for said in (SAID, SAID[::-1])]
    assert images[0] == images[1]
    assert is_right(images[0] + bytes(40 + len(SAID) - 60), 6), "right if the rest were zeros"


@pytest.mark.parametrize("lab", ["same-nat-ip-nat", "older-tunnel", "dns-over-tcp"])
@pytest.mark.tshark
def test_tshark_sees_the_same(lab: str, captures: Path, tmp_path: Path, tshark: str) -> None:
    """Checksums, ports, flags, records, types of messages: tshark's view of a whole capture."""
    import subprocess

    source = captures / lab / "vm.pcap.gz"
    _, target = anonymous(source.read_bytes(), tmp_path, name="vm.pcap.gz")
    checks = [x for p in ("ip", "tcp", "udp") for x in ("-o", f"{p}.check_checksum:TRUE")]
    fields = "frame.time_epoch frame.len ip.proto ip.ttl ip.checksum.status tcp.checksum.status udp.checksum.status tcp.stream tcp.seq_raw tcp.ack_raw tcp.flags tcp.window_size_value tcp.options.timestamp.tsval udp.length dns.id dns.flags dns.qry.type dns.count.answers tls.handshake.type tls.handshake.ja4 arp.opcode"  # noqa: E501

    def view(path: Path) -> list[str]:
        wanted = [x for f in fields.split() for x in ("-e", f)]
        done = subprocess.run([tshark, "-r", str(path), *checks, "-T", "fields", *wanted], capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    assert view(source) == view(target)


# --- layers ---------------------------------------------------------------------------------------------------------------------------------


def test_ethernet_with_tags(tmp_path: Path) -> None:
    inner = b"\x81\x00\x00\x64\x88\xa8\x00\x07\x08\x00" + ip4(tcp(b""))
    image = one(w.MACS + inner, tmp_path, ETHERNET)
    assert image[12:22] == inner[:10]
    assert image[:12] != w.MACS
    assert len({image[:6], image[6:12]}) == 2


@pytest.mark.parametrize("name", FORMS)
def test_every_link_layer_with_its_inner_stations(name: str, tmp_path: Path) -> None:
    """What is read behind tags, labels and inner Ethernet headers is read alike after; no station's address is left, also in the inner header."""
    link, frame, _ = FORMS[name]
    stations = bytes.fromhex("3c22fb112233"), w.MACS[:6], w.MACS[6:]
    for packet, kind in VERSIONS.values():
        image = one(frame(packet, kind), tmp_path, link)
        assert not any(station in image for station in stations)


@pytest.mark.parametrize("link", [SLL, SLL2])
def test_cooked_captures(link: int, tmp_path: Path) -> None:
    mac = bytes.fromhex("3c22fb000107")
    head = (
        struct.pack(">HHH", 4, 1, 6) + mac + b"\0\0" + b"\x08\0"
        if link == SLL
        else b"\x08\0\0\0" + struct.pack(">IHBB", 7, 1, 4, 6) + mac + b"\0\0"
    )
    image = one(head + ip4(tcp(b"")), tmp_path, link)
    assert mac not in image
    assert image[: 6 if link == SLL else 12] == head[: 6 if link == SLL else 12]


@pytest.mark.parametrize("name", TUNNELS)
def test_tunnels(name: str, tmp_path: Path) -> None:
    """What is inside is read alike after, with other addresses; nothing of it, nor of the outer addresses, is left; also cut, and in fragments."""
    _, frame, _ = TUNNELS[name]
    for packet, kind in ((ip4(tcp(SAID)), 0x0800), (ip6(tcp(SAID)), 0x86DD)):
        if (name, kind) == ("gre, wccp", 0x86DD):
            continue
        whole = frame(packet, kind)
        image = one(whole, tmp_path)
        for private in (SAID, w.MACS[:6], bytes([203, 0, 113]), bytes([192, 0, 2]), w.SRC6[:8]):
            assert private not in image
        for cut in range(20, len(whole), 7):
            check([whole], RAW, tmp_path, cut=cut)
        if whole[0] >> 4 == 4:
            body = whole[20:]
            pieces = [ip4(body[:40], whole[9], ident=5, fragment=0x2000), ip4(body[40:], whole[9], ident=5, fragment=5)]
            _, target = check(pieces, RAW, tmp_path)
            assert not any(SAID[:20] in data or w.MACS[:6] in data for data in read(target).data)


def test_names_in_a_tunnel(tmp_path: Path) -> None:
    """A server name and a lookup inside are mapped as outside."""
    name = "secretsecret.example.com"
    for wrap in (lambda p: p, lambda p: gre(0x0800, gre(0x0800, p))):
        greeting = hello(name.encode())
        question = bytes.fromhex("123401000001000000000000") + b"\x0csecretsecret\x07example\x03com\0" + b"\0\1\0\1"
        _, target = check([wrap(ip4(tcp(greeting))), wrap(ip4(udp(question), 17))], RAW, tmp_path)
        capture = netlens.read(target)
        (sni,), (asked,) = capture.table("hellos")["sni"], capture.table("lookups")["qname"]
        assert sni == asked == MAPPER.name(name)


def test_checksums_in_a_tunnel(tmp_path: Path) -> None:
    """Inside they are what they were; those of the tunnel itself are left out."""
    inner = checked(ip4(tcp(SAID)), 6)
    image = one(checked(ip4(udp(VXLAN + ethernet(inner), dport=4789), 17), 17), tmp_path)
    assert image[26:28] == b"\0\0"
    assert is_right(image[50:], 6)
    image = one(gre(0x0800, inner, 0x8000, b"\x12\x34\0\0"), tmp_path)
    assert image[24:28] == bytes(4)
    assert is_right(image[28:], 6)


def test_source_routes(tmp_path: Path) -> None:
    """The final destination is in them: it is mapped like any address, and read alike; no station is left."""
    for packet, final in routed():
        image = one(packet, tmp_path)
        ours = decode([image]).packets[0].dst
        assert ours == str(MAPPER.address(final))
        for station in (bytes([10, 9, 9, 9]), bytes([10, 8, 8, 8]), bytes.fromhex("20010db80000")):
            assert station not in image


def test_arp(tmp_path: Path) -> None:
    body = (
        bytes.fromhex("0001080006040002") + bytes.fromhex("3c22fb000107") + bytes([192, 168, 64, 2]) + bytes(6) + bytes([192, 168, 64, 1])
    )
    image = one(ethernet(body, 0x0806), tmp_path, ETHERNET)[14:]
    assert image[:8] == body[:8]
    assert image[8:14] != body[8:14]
    assert image[14:18] == bytes(map(int, str(MAPPER.address("192.168.64.2")).split(".")))
    assert image[18:24] == bytes(6)


def test_icmp_quotes_are_mapped(tmp_path: Path) -> None:
    quoted = checked(ip4(tcp(b"12345678"), src="198.51.100.7", dst="8.8.8.8"), 6)[:48]
    packet = checked(ip4(b"\x03\x04\0\0\0\0\x05\xdc" + quoted, 1), 1)
    image = one(packet, tmp_path)
    assert is_right(image, 1)
    inner = image[28:]
    assert inner[12:20] == bytes(map(int, f"{MAPPER.address('198.51.100.7')}.{MAPPER.address('8.8.8.8')}".split(".")))
    assert folded(inner[:20]) == 0xFFFF
    assert inner[20:28] == quoted[20:28], "ports and sequence number tell which packet it was"
    assert image[26:28] == b"\x05\xdc", "the MTU"


def test_a_redirect_names_another_gateway(tmp_path: Path) -> None:
    packet = checked(ip4(b"\x05\x01\0\0" + bytes([192, 168, 1, 77]) + ip4(udp(b""), 17)[:28], 1), 1)
    assert one(packet, tmp_path)[24:28] == bytes(map(int, str(MAPPER.address("192.168.1.77")).split(".")))


def test_neighbour_discovery(tmp_path: Path) -> None:
    target = bytes.fromhex("fe80000000000000021122fffe334455")
    body = b"\x88\0\0\0\x60\0\0\0" + target + b"\x02\x01" + bytes.fromhex("3c22fb000107")
    image = one(checked(ip6(body, 58), 58), tmp_path)
    assert is_right(image, 58)
    assert target[8:] not in image
    assert image[48:56] == target[:8], "still of the link"
    assert bytes.fromhex("3c22fb000107") not in image


def test_pktap_hides_the_process(tmp_path: Path) -> None:
    head = bytearray(108)
    struct.pack_into("<III", head, 0, 108, 1, RAW)
    head[12:15] = b"en0"
    head[56:70] = b"opencode-alice"
    image = one(bytes(head) + ip4(tcp(b"")), tmp_path, PKTAP)
    assert b"alice" not in image
    assert re.match(rb"if[a-z]{10}\0", image[12:36])


# --- containers -----------------------------------------------------------------------------------------------------------------------------


def test_pcapng_loses_what_it_tells_of_the_machine(tmp_path: Path) -> None:
    packet = ip4(tcp(SAID))
    file = Pcapng()
    file.section(options=w.option(2, b"Alice's MacBook") + w.option(4, b"Dumpcap") + bytes(4))
    file.interface(RAW, 65535, tsresol=9, name="en0-alice")
    file.interface(RAW, tsresol=6, tsoffset=3600, name="utun7")
    file.enhanced(packet, 1_700_000_000_123_456_789, options=w.option(1, b"a comment by alice") + bytes(4))
    file.block(4, struct.pack("<HH", 1, 12) + b"\1\2\3\4intra.corp\0" + bytes(4))  # a name resolution block
    file.block(0x0BAD, struct.pack("<I", 32473) + b"alice was here")
    file.block(10, struct.pack("<II", 0x544C534B, 40) + b"CLIENT_RANDOM 00112233 alice-secret-keys")  # a decryption secrets block
    file.block(5, struct.pack("<III", 0, 0, 0) + w.option(1, b"statistics of alice") + bytes(4))
    file.block(9, struct.pack("<I", 16) + b"journal of alice")  # systemd's
    file.enhanced(packet, 1_700_000_000_000_001, 1)
    file.simple(packet)
    source, target = anonymous(file.bytes(), tmp_path, name="a.pcapng")
    assert_alike(source, target)
    before, after = read(source), read(target)
    assert after.times == before.times
    assert after.ifaces == before.ifaces
    assert [f[1] for f in after.frames] == [f[1] for f in before.frames]
    data = target.read_bytes()
    for piece in (b"lice", b"Dumpcap", b"corp", b"utun", b"en0", b"quick"):
        assert piece not in data


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_keeps_times_and_lengths(order: str, nano: bool, tmp_path: Path) -> None:
    source, target = anonymous(
        pcap([ip4(tcp(SAID))] * 3, RAW, order=order, nano=nano, cut=50, start_ns=1_700_000_000_123_456_789), tmp_path
    )
    before, after = read(source), read(target)
    assert after.times == before.times
    assert [(len(f[0]), *f[1:]) for f in after.frames] == [(len(f[0]), *f[1:]) for f in before.frames]
    assert after.reader is not None
    assert before.reader is not None
    assert (after.reader.inputs[0].snaplen, after.reader.inputs[0].container) == (
        before.reader.inputs[0].snaplen,
        before.reader.inputs[0].container,
    )


def test_a_capture_cut_in_the_middle_is_written_as_far_as_it_goes(tmp_path: Path) -> None:
    data = pcap([ip4(tcp(SAID))] * 3, RAW)
    source, target = anonymous(data[:-7], tmp_path)
    assert len(read(target).frames) == 2
    assert read(source).warnings
    assert not read(target).warnings


def test_a_capture_without_frames(tmp_path: Path) -> None:
    for data, name in ((pcap([], RAW), "a.pcap"), (Pcapng().interface(RAW).bytes(), "a.pcapng")):
        _, target = anonymous(data, tmp_path, name=name)
        assert read(target).frames == []


# --- TLS ------------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 7])
def test_hellos_keep_their_fingerprint(at: int, tmp_path: Path) -> None:
    stream = [chrome(b"www.Example.com", seed=at), hello(b"a.example.com"), hello(None)][at % 3]
    image = one(ip4(tcp(stream)), tmp_path)[40:]
    before, after = read_hello(stream), read_hello(image)
    assert before is not None
    assert after is not None
    assert (after.ja4, after.alpn, after.version, after.length_bytes) == (before.ja4, before.alpn, before.version, before.length_bytes)
    assert after.random != before.random
    assert after.sni == (None if before.sni is None else MAPPER.name(before.sni))
