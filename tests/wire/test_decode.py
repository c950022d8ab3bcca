"""The decode kernel: IP, TCP and UDP headers as they are, as they should not be, and as nobody would write them."""

from __future__ import annotations

import itertools
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netlens.wire import columns as c
from netlens.wire import decode as d
from netlens.wire import link
from netlens.wire.framing import F_CAP, F_OFF, F_WIRE, FRAME_WIDTH
from netlens.wire.hints import NO_HELLO
from tests.wire import links
from tests.wire.helpers import (
    DST6,
    ETHERNET,
    RAW,
    SRC6,
    START_NS,
    Packet,
    Pcapng,
    decode,
    decode_bytes,
    ethernet,
    ip4,
    ip6,
    one,
    pcap,
    reason,
    tcp,
    udp,
)

QUESTION = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x07example\x00\x00\x01\x00\x01"


# -- the rows -------------------------------------------------------------------------------------------------------------------------


def test_every_column_of_a_segment() -> None:
    segment = tcp(b"payload", sport=1, dport=65535, seq=0xFFFFFFFF, ack=0x80000000, flags=0x1FF, window=65535)
    found = one(ip4(segment))
    assert found == Packet(
        1, START_NS, "192.0.2.1", "192.0.2.2", 1, 65535, c.TCP, 7, b"payload", 0, 0xFFFFFFFF, 0x80000000, 0x1FF, 65535, -1, 0, NO_HELLO
    )
    found = one(ip6(tcp(b"payload", flags=0xFFF)))
    assert (found.src, found.dst, found.flags) == ("2001:db8::1", "2001:db8::2", 0xFFF)


def test_every_column_of_a_datagram() -> None:
    found = one(ip4(udp(QUESTION, sport=5353), 17))
    assert found == Packet(1, START_NS, "192.0.2.1", "192.0.2.2", 5353, 53, c.UDP, len(QUESTION), QUESTION, 0, 0, 0, 0, 0, -1, 0, 0)
    assert one(ip6(udp(QUESTION), 17)).payload == QUESTION


def test_nothing_of_an_earlier_batch_stays_in_a_row() -> None:
    frames = [ip4(tcp(b"x")), ip4(udp(b"x"), 17), ip6(tcp(b"x")), ip6(udp(b"x"), 17)]
    buf = np.frombuffer(bytearray(b"".join(frames)), np.uint8)  # writable, or it would compile every kernel once more
    framed = np.zeros((4, FRAME_WIDTH), np.int64)
    at = 0
    for i, frame in enumerate(frames):
        framed[i] = at, len(frame), len(frame), 0, 0
        at += len(frame)
    results = []
    for filler in (0, -7, 1 << 40):
        rows = np.full((4, c.WIDTH), filler, np.int64)
        quality = np.zeros((d.N_REASONS, 2), np.int64)
        assert d.decode(buf, framed, 4, np.array([RAW]), 0, rows, np.zeros((4, d.FRAGMENT_WIDTH), np.int64), quality) == (4, 0)
        results.append(rows)
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


def test_times_and_interfaces_of_a_capture_with_several() -> None:
    frame = ethernet(ip4(tcp()))
    file = Pcapng().interface(ETHERNET).interface(RAW, tsresol=9).enhanced(frame).enhanced(ip4(tcp()), START_NS + 7, 1).bytes()
    found = decode_bytes(file)
    assert [(p.ts, p.iface) for p in found.packets] == [(START_NS, 0), (START_NS + 7, 1 << 40)]


def test_quality_remembers_the_first_frame() -> None:
    found = decode([ip4(b"", 47), ip4(tcp()), ip4(udp(), 17), ip4(tcp()), ip4(b"", 47), b""])
    assert found.counts == {"tcp": 2, "udp": 1, "tunnel_gre": 2, "cut_link": 1}
    assert found.first == {"tcp": 2, "udp": 3, "tunnel_gre": 1, "cut_link": 6}
    found = decode([ip4(tcp())] * 7)
    assert decode_bytes(pcap([ip4(tcp())] * 7), batch=2) == found


def test_the_constants_of_the_kernel() -> None:
    names = [name for name, _ in d.REASONS + d.NOTES]
    assert len(set(names)) == len(names) == d.N_REASONS
    assert [d.R[name] for name in names] == list(range(d.N_REASONS))
    columns = [value for name, value in vars(c).items() if name.isupper() and name not in
               {"BATCH", "WIDTH", "FIN", "SYN", "RST", "PSH", "ACK_FLAG", "URG", "TCP", "UDP", "V4_PREFIX"}]  # fmt: skip
    assert sorted(columns) == list(range(c.WIDTH))


def test_a_fragment_row_is_as_wide_as_it_says() -> None:
    """All of it is written: a row that was full of another number is the same as one that was zero."""
    frame = np.frombuffer(bytearray(ip6(b"\x06\0\0\x01\0\0\0\x09" + bytes(16), 44)), np.uint8)
    framed = np.array([[0, len(frame), len(frame), START_NS, 0]])
    rows = [np.full((1, d.FRAGMENT_WIDTH), filler, np.int64) for filler in (0, -7)]
    for row in rows:
        quality = np.zeros((d.N_REASONS, 2), np.int64)
        assert d.decode(frame, framed, 1, np.array([RAW]), 4, np.zeros((1, c.WIDTH), np.int64), row, quality) == (0, 1)
    assert (rows[0] == rows[1]).all()
    high, low = int.from_bytes(SRC6[:8], "big"), int.from_bytes(SRC6[8:], "big")
    assert rows[0][0].tolist() == [5, START_NS, 0, 6, high, low, high, int.from_bytes(DST6[8:], "big"), 9, 6, 1, 48, 16, 16]


# -- IPv4 -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(0, 41, 4))
def test_ipv4_options(size: int) -> None:
    found = one(ip4(tcp(b"data"), options=b"\x01" * size))
    assert (found.length, found.payload, found.sport) == (4, b"data", 40000)


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (ip4(tcp(), total=19), "bad_ip"),
        (ip4(tcp(), total=1), "bad_ip"),
        (ip4(tcp(), words=4), "bad_ip"),
        (ip4(tcp(), words=0), "bad_ip"),
        (ip4(tcp(), words=15), "bad_ip"),  # the header would be longer than the packet
        (ip4(tcp(), words=6, total=20), "bad_ip"),
        (ip4(tcp(), total=20), "bad_transport"),
        (ip4(tcp(), total=39), "bad_transport"),
        (ip4(tcp())[:39], "bad_transport"),
        (ip4(tcp())[:20], "bad_transport"),
        (ip4(b"", total=20)[:19], "bad_ip"),
        (b"\x45", "bad_ip"),
        (ip4(udp(), 17, total=27), "bad_transport"),
    ],
)
def test_ipv4_headers_that_contradict_themselves(packet: bytes, says: str) -> None:
    assert reason(packet) == says


def test_ipv4_of_another_version_than_the_link_says() -> None:
    assert reason(ethernet(ip4(tcp(), version=5)), ETHERNET) == "bad_ip"
    assert reason(ethernet(ip6(tcp()), 0x0800), ETHERNET) == "bad_ip"
    assert reason(ethernet(ip4(tcp()), 0x86DD), ETHERNET) == "bad_ip"


def test_a_total_length_of_zero_is_offload() -> None:
    large = bytes(60_000)
    for payload in (b"data", large, bytes(70_000)):
        found = decode([ip4(tcp(payload), total=0)])
        assert found.packets[0].length == len(payload)
        assert found.counts == {"tcp": 1, "offloaded": 1}
    assert decode([ip4(tcp(large))]).counts == {"tcp": 1, "offloaded": 1}
    assert decode([ip4(tcp(bytes(1460)))]).counts == {"tcp": 1}
    assert decode([ip4(tcp(bytes(1461)))]).counts == {"tcp": 1, "offloaded": 1}


def test_a_total_length_beyond_the_frame_is_read_as_far_as_the_frame_goes() -> None:
    found = one(ip4(tcp(b"data"), total=2000))
    assert (found.length, found.payload) == (4, b"data")


def test_padding_is_no_payload() -> None:
    for packet in (ip4(tcp()), ip6(tcp()), ip4(udp(), 17), ip6(udp(b"x"), 17)):
        kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
        found = one(ethernet(packet, kind).ljust(1400, b"\xee"), ETHERNET)
        assert (found.length, found.payload) == (
            len(packet) - (60 if kind == 0x86DD else 40) if found.kind == c.TCP else found.length,
            b"x" * found.length,
        )


@pytest.mark.parametrize("cut", range(60))
def test_cut_by_the_snaplen(cut: int) -> None:
    for packet, header in ((ip4(tcp(b"x" * 20, options=b"\x02\x04\x05\xb4")), 20), (ip6(tcp(b"x" * 20, options=b"\x02\x04\x05\xb4")), 40)):
        found = decode([packet], cut=cut)
        if cut < 1:
            assert found.counts == {"cut_link": 1}
        elif cut < header:
            assert found.counts == {"cut_ip": 1}
        elif cut < header + 20:
            assert found.counts == {"cut_transport": 1}
        else:
            assert found.counts == {"tcp": 1, "cut_payload": 1}
            (p,) = found.packets
            assert (p.length, p.payload) == (20, b"x" * max(cut - header - 24, 0))
            assert p.mss == (1460 if cut >= header + 24 else 0)


def test_cut_inside_ipv4_options() -> None:
    packet = ip4(tcp(b"data"), options=b"\x01" * 20)
    assert [reason(packet, cut=cut) for cut in (20, 39, 40, 59, 60)] == ["cut_ip", "cut_ip", "cut_transport", "cut_transport", "tcp"]


def test_segments_without_payload_are_not_cut() -> None:
    assert decode([ip4(tcp(options=b"\x02\x04\x05\xb4"))], cut=40).counts == {"tcp": 1}


# -- IPv6 -----------------------------------------------------------------------------------------------------------------------------

EXTENSIONS = {
    0: b"\x01\x04\0\0\0\0",
    43: b"\0\0\0\0\0\0",
    60: b"\x01\x04\0\0\0\0",
    44: b"\0\0\0\0\0\x07",
    135: bytes(6),
    139: bytes(6),
    140: bytes(6),
}
AH = bytes(10)


def extended(chain: tuple[int, ...], payload: bytes, proto: int = 6, words: int = 0) -> bytes:
    """IPv6 with the headers of ``chain`` in this order; each ``words`` * 8 bytes longer than it must be."""
    out = payload
    for kind, following in reversed(list(zip(chain, (*chain, proto)[1:], strict=True))):
        if kind == 51:
            header = bytes([following, (12 + 8 * words) // 4 - 2]) + AH + bytes(8 * words)
        elif kind == 44:
            header = bytes([following, 0]) + EXTENSIONS[44]
        else:
            header = bytes([following, words]) + EXTENSIONS[kind] + bytes(8 * words)
        out = header + out
    return ip6(out, chain[0] if chain else proto)


def test_extension_headers_in_every_order() -> None:
    packets = [extended(chain, tcp(b"data")) for n in range(4) for chain in itertools.permutations((0, 43, 44, 51, 60, 135, 139, 140), n)]
    packets += [extended(chain, udp(b"data"), 17, words=3) for chain in itertools.permutations((0, 43, 44, 51, 60))]
    found = decode(packets)
    assert len(found.packets) == len(packets)
    assert {(p.length, p.payload, p.sport) for p in found.packets} == {(4, b"data", 40000)}
    assert set(found.counts) == {"tcp", "udp"}


def test_too_many_extension_headers() -> None:
    assert reason(extended((60,) * d.MAX_EXTENSION_HEADERS, tcp())) == "tcp"
    assert reason(extended((60,) * (d.MAX_EXTENSION_HEADERS + 1), tcp())) == "other_protocol"


def test_extension_headers_that_end_outside_the_packet() -> None:
    for kind in (0, 43, 51, 60, 135):
        packet = extended((kind,), tcp())
        assert reason(packet[:41] + b"\xff" + packet[42:]) == "bad_ip"
        assert reason(packet[:44], cut=44) == "bad_ip"  # the frame itself was no longer
        assert reason(packet, cut=44) == reason(packet, cut=41) == "cut_ip"
    assert reason(extended((44,), tcp())[:44]) == "bad_ip"
    assert reason(extended((44,), tcp()), cut=44) == "cut_ip"


def routed() -> list[tuple[bytes, str]]:
    """TCP packets with a source route, and the destination that counts."""
    stations = [bytes.fromhex("20010db8000000000000000000000090")[:15] + bytes([0x90 + i]) for i in range(3)]
    out = []
    for kind, final in ((0, "2001:db8::92"), (2, "2001:db8::90"), (4, "2001:db8::90"), (3, "2001:db8::2"), (253, "2001:db8::2")):
        for left in range(4):
            header = struct.pack(">BBBBBBH", 6, 6, kind, left, 2, 0, 0) + b"".join(stations)
            out.append((ip6(header + tcp(b"data"), 43), final if left else "2001:db8::2"))
    for kind in (131, 137):
        for pointer, final in ((4, "10.8.8.8"), (8, "10.8.8.8"), (12, "192.0.2.2")):
            options = bytes([1, kind, 11, pointer, 10, 9, 9, 9, 10, 8, 8, 8])
            packet = ip4(tcp(b"data"))
            head = bytearray(packet[:20])
            head[0], head[2:4] = 0x48, struct.pack(">H", len(packet) + 12)
            out.append((bytes(head) + options + packet[20:], final))
    return out


def test_behind_a_source_route_the_final_destination_counts() -> None:
    """The answers come from there: of the next station's address they would be another session."""
    for packet, final in routed():
        found = one(packet)
        assert (found.dst, found.payload) == (final, b"data")
        for cut in range(len(packet)):
            assert set(decode([packet], cut=cut).counts) <= {"cut_link", "cut_ip", "cut_transport", "tcp", "cut_payload"}


def test_options_that_are_no_whole_route() -> None:
    for options in (
        bytes([131, 6, 4, 10, 9, 9]),
        bytes([131, 12, 4, 10, 9, 9, 9, 10]),
        bytes([0, 131, 7, 4, 9, 9, 9, 9]),
        bytes([131, 1]),
        bytes([131]),
    ):
        packet = ip4(tcp(b"data"))
        head = bytearray(packet[:20])
        head[0], head[2:4] = 0x47, struct.pack(">H", len(packet) + 8)
        assert one(bytes(head) + options.ljust(8, b"\0") + packet[20:]).dst == "192.0.2.2"


@pytest.mark.tshark
def test_tshark_sees_the_same_final_destinations(tshark: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    packets = [packet for packet, _ in routed() if not (packet[0] >> 4 == 6 and packet[42] == 3)]  # type 3 is not read
    path.write_bytes(pcap(packets, RAW))
    fields = ["-T", "fields", "-e", "_ws.col.def_dst"]
    shown = subprocess.run([tshark, "-n", "-r", str(path), *fields], capture_output=True, text=True, check=True).stdout.split()
    assert shown == [p.dst for p in decode(packets).packets]


def test_atomic_fragments_are_whole() -> None:
    packet = extended((44,), tcp(b"data"))
    assert one(packet).payload == b"data"
    reserved = packet[:42] + b"\0\x06" + packet[44:]  # the two reserved bits mean nothing
    assert one(reserved).payload == b"data"


def test_jumbograms_and_other_payload_lengths() -> None:
    jumbo = b"\x06\0\xc2\x04"
    large = tcp(bytes(70_000))
    for payload in (jumbo + struct.pack(">I", 8 + len(large)) + large, jumbo + struct.pack(">I", 1 << 31) + large):
        found = decode([ip6(payload, 0, length=0)])
        assert found.packets[0].length == 70_000
        assert found.counts == {"tcp": 1, "offloaded": 1}
    assert one(ip6(large, length=0)).length == 70_000  # TSO: as for IPv4
    assert decode([ip6(large, length=0)]).counts == {"tcp": 1, "offloaded": 1}
    assert one(ip6(tcp(b"data"), length=2000)).length == 4
    assert reason(ip6(tcp(), length=19)) == "bad_transport"
    assert reason(ip6(tcp())[:39]) == "bad_ip"
    assert reason(ip6(b"", 59, length=0)) == "other_protocol"
    assert reason(ip6(tcp(), 59, length=0)) == "other_protocol"


def test_authentication_headers() -> None:
    header = bytes([6, 4]) + bytes(22)
    assert one(ip4(header + tcp(b"data"), 51)).payload == b"data"
    assert one(ip4(bytes([51, 4]) + bytes(22) + header + tcp(b"data"), 51)).payload == b"data"
    assert one(ip4(bytes([17, 1]) + bytes(10) + udp(b"data"), 51)).payload == b"data"
    assert reason(ip4(b"\x06\xff" + bytes(22) + tcp(), 51)) == "bad_ip"
    assert reason(ip4(b"\x06\x00" + bytes(22) + tcp(), 51)) == "bad_ip"  # 8 bytes: less than its own fixed part
    assert reason(ip4(b"\x06", 51)) == "bad_ip"
    for cut in (20, 21, 22, 43):
        assert reason(ip4(header + tcp(), 51), cut=cut) == "cut_ip"
    assert reason(ip4(header + tcp(), 51), cut=44) == "cut_transport"


# -- what is neither TCP nor UDP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("packet", "says"),
    [
        (ip4(bytes(8), 47), "tunnel_gre"),
        (ip6(bytes(8), 47), "tunnel_gre"),
        (ip4(bytes(40), 4), "tunnel_ipip"),
        (ip6(bytes(40), 41), "tunnel_ipip"),
        (ip4(bytes(12), 132), "other_transport"),
        (ip4(bytes(12), 50), "esp"),
        (ip6(bytes(12), 50), "esp"),
        (ip4(bytes(12), 108), "tunnel_other"),
        (ip4(bytes(12), 115), "tunnel_other"),
        (ip4(bytes(8), 2), "other_protocol"),
        (ip4(b"\x08\0" + bytes(6), 1), "icmp"),
        (ip4(b"\0\0" + bytes(6), 1), "icmp"),
        (ip4(b"", 1), "icmp"),
        (ip6(b"\x80\0" + bytes(6), 58), "icmp"),
        (ip6(b"\x87\0" + bytes(22), 58), "icmp"),  # neighbour solicitation
        (extended((0,), b"\x8f\0" + bytes(22), 58), "icmp"),  # multicast listener report behind a hop-by-hop header
    ],
)
def test_other_protocols_are_counted(packet: bytes, says: str) -> None:
    assert decode([packet]).counts == {says: 1}


def test_a_packet_that_an_icmp_error_quotes_is_not_a_packet() -> None:
    quoted4, quoted6 = ip4(tcp(b"data")), ip6(tcp(b"data"))
    packets = [ip4(bytes([kind, 1]) + bytes(6) + quoted4, 1) for kind in (3, 4, 5, 11, 12)]
    packets += [ip6(bytes([kind, 0]) + bytes(6) + quoted6, 58) for kind in (1, 2, 3, 4, 137)]
    found = decode(packets)
    assert found.packets == []
    assert found.counts == {"icmp_error": len(packets)}


def test_quic_initials_are_counted_and_only_those() -> None:
    def count(payload: bytes, sport: int = 50000, dport: int = 443) -> int:
        found = decode([ip4(udp(payload, sport=sport, dport=dport), 17)])
        assert found.counts["udp"] == 1
        return found.counts.get("quic_initial", 0)

    assert count(b"\xc3\0\0\0\x01" + bytes(1195)) == 1
    assert count(b"\xc3\0\0\0\x01" + bytes(1195), 443, 50000) == 1
    assert count(b"\xd0\x6b\x33\x43\xcf" + bytes(1195)) == 1
    assert count(b"\xd3\0\0\0\x01" + bytes(1195)) == 0  # 0-RTT of version 1
    assert count(b"\xe3\0\0\0\x01" + bytes(1195)) == 0  # Handshake
    assert count(b"\xc0\x6b\x33\x43\xcf" + bytes(1195)) == 0  # Retry of version 2
    assert count(b"\x43\0\0\0\x01" + bytes(1195)) == 0  # short header
    assert count(b"\xc3\0\0\0\0" + bytes(1195)) == 0  # version negotiation
    assert count(b"\xc3\0\0\0\x01" + bytes(1195), 50000, 4433) == 0
    assert count(b"\xc3\0\0\0") == 0


# -- TCP ------------------------------------------------------------------------------------------------------------------------------

MSS, SCALE, PERMITTED, NOP, END = b"\x02\x04\x05\xb4", b"\x03\x03\x07", b"\x04\x02", b"\x01", b"\0"
TIMES = b"\x08\x0a" + struct.pack(">II", 0x11223344, 0xAABBCCDD)
TSVAL = int.from_bytes(TIMES[2:], "big", signed=True)


def blocks(*edges: int) -> bytes:
    return bytes([5, 2 + 4 * len(edges)]) + b"".join(struct.pack(">I", e) for e in edges)


@pytest.mark.parametrize("before", [b"", NOP, NOP * 2, NOP * 3, MSS, PERMITTED, SCALE + NOP, b"\xfe\x04\0\0", MSS + PERMITTED])
@pytest.mark.parametrize("after", [b"", NOP, END + b"\x02\x04\xff\xff", SCALE])
def test_timestamps_in_every_place(before: bytes, after: bytes) -> None:
    found = one(ip4(tcp(b"data", options=before + TIMES + after)))
    assert (found.tsval, found.payload) == (TSVAL, b"data")
    assert found.mss == (1460 if MSS in before else 0)
    assert found.scale == (7 if SCALE in before + after else None)


def test_options_of_a_handshake() -> None:
    found = one(ip4(tcp(options=MSS + PERMITTED + TIMES + NOP + SCALE, flags=2)))
    assert (found.mss, found.scale, found.sack_permitted, found.sack_blocks, found.tsval) == (1460, 7, True, 0, TSVAL)
    assert one(ip4(tcp(options=b"\x03\x03\x00"))).scale == 0
    assert one(ip4(tcp())).scale is None
    assert one(ip4(tcp(options=b"\x02\x04\x01\x00\x02\x04\x00\x01\x03\x03\x08\x03\x03\x01"))).mss == 1  # twice: the last one
    assert one(ip4(tcp(options=b"\x03\x03\x08\x03\x03\x01"))).scale == 1


def test_timestamps_of_all_ones_look_like_none() -> None:
    """The one value that cannot be told from a missing option; see columns.TSVAL."""
    assert one(ip4(tcp(options=NOP * 2 + b"\x08\x0a" + b"\xff" * 8))).tsval == -1


@pytest.mark.parametrize(
    ("options", "count", "dsack"),
    [
        (blocks(2000, 3000), 1, False),
        (blocks(2000, 3000, 4000, 5000), 2, False),
        (NOP * 2 + blocks(2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000), 4, False),
        (NOP * 2 + TIMES + blocks(2000, 3000, 4000, 5000, 6000, 7000), 3, False),
        (blocks(500, 900), 1, True),  # below the acknowledgment
        (blocks(500, 900, 2000, 3000), 2, True),
        (blocks(2200, 2300, 2000, 3000), 2, True),  # inside the second block
        (blocks(2000, 3000, 2000, 3000), 2, True),
        (blocks(2000, 3001, 2000, 3000), 2, False),
        (blocks(1999, 2500, 2000, 3000), 2, False),
        (blocks(), 0, False),
        (blocks(2000), 0, False),
    ],
)
def test_selective_acknowledgments(options: bytes, count: int, dsack: bool) -> None:
    found = one(ip4(tcp(ack=1000, options=options)))
    assert (found.sack_blocks, found.dsack) == (count, dsack)
    wrapped = one(ip4(tcp(ack=0xFFFFFF00, options=blocks(0x100, 0x200))))
    assert (wrapped.sack_blocks, wrapped.dsack) == (1, False)
    assert not one(ip4(tcp(ack=1000, flags=2, options=blocks(500, 900)))).dsack  # without ACK there is nothing to be below


@pytest.mark.parametrize(
    "options", [b"\x02\x00\x05\xb4", b"\x02\x01\x05\xb4", b"\x02\x28\x05\xb4", b"\x08\x0b" + TIMES[2:], b"\xff", b"\x02", b"\x08\x0a\0\0"]
)
def test_options_of_malformed_length_end_the_list(options: bytes) -> None:
    found = one(ip4(tcp(b"data", options=SCALE + NOP + options)))
    assert (found.scale, found.mss, found.tsval, found.payload) == (7, 0, -1, b"data")


def test_options_of_another_length_than_theirs_are_passed_over() -> None:
    found = one(ip4(tcp(b"data", options=b"\x02\x03\x05" + b"\x03\x04\x07\0" + b"\x04\x03\0" + b"\x08\x04\0\0" + SCALE)))
    assert (found.mss, found.scale, found.sack_permitted, found.tsval, found.payload) == (0, 7, False, -1, b"data")


def reference_options(options: bytes, ack: int) -> tuple[int, int | None, bool, int, int]:
    """RFC 9293 3.1 read plainly: MSS, window scale, SACK permitted, SACK blocks, timestamps."""
    mss, scale, permitted, sacks, times, p = 0, None, False, 0, -1, 0
    while p < len(options) and options[p] != 0:
        if options[p] == 1:
            p += 1
            continue
        if p + 1 >= len(options) or options[p + 1] < 2 or p + options[p + 1] > len(options):
            break
        kind, body = options[p], options[p + 2 : p + options[p + 1]]
        if kind == 2 and len(body) == 2:
            mss = int.from_bytes(body, "big")
        elif kind == 3 and len(body) == 1:
            scale = body[0] if body[0] < 255 else None
        elif kind == 4 and not body:
            permitted = True
        elif kind == 5:
            sacks = len(body) // 8
        elif kind == 8 and len(body) == 8:
            times = int.from_bytes(body, "big", signed=True)
        p += 2 + len(body)
    return mss, scale, permitted, sacks, times


OPTION = st.one_of(
    st.sampled_from([MSS, SCALE, PERMITTED, NOP, END, TIMES, NOP * 2 + TIMES, blocks(1, 2), b"\xfe\x04\x01\x02"]),
    st.binary(max_size=6),
)


@given(options=st.lists(OPTION, max_size=8).map(lambda parts: b"".join(parts)[:40]), cut=st.integers(40, 100))
@example(options=NOP * 2 + TIMES, cut=52)
@example(options=NOP * 2 + TIMES, cut=51)
def test_any_options(options: bytes, cut: int) -> None:
    padded = options + b"\0" * (-len(options) % 4)
    found = one(ip4(tcp(b"data", options=options)), cut=cut)
    seen = padded[: cut - 40]
    assert (found.mss, found.scale, found.sack_permitted, found.sack_blocks, found.tsval) == reference_options(seen, 0)
    assert (found.length, found.payload) == (4, b"data"[: max(cut - 40 - len(padded), 0)])


@pytest.mark.parametrize("offset", range(16))
def test_odd_data_offsets(offset: int) -> None:
    """Fewer than five words, or more than there are: the segment counts, without options and payload; Wireshark shows no payload either."""
    found = decode([ip4(tcp(MSS + b"payload.", offset=offset, seq=77))])
    (p,) = found.packets
    assert p.seq == 77
    if 5 <= offset <= 8:
        assert p.length == 12 - (offset - 5) * 4
        assert p.mss == (1460 if offset > 5 else 0)
        assert "odd_tcp_header" not in found.counts
    else:
        assert (p.length, p.payload, p.options, p.tsval, p.hint) == (0, b"", 0, -1, 0)
        assert found.counts == {"tcp": 1, "odd_tcp_header": 1}


# -- UDP ------------------------------------------------------------------------------------------------------------------------------

WHOLE = 8 + len(QUESTION)
UDP_LENGTHS = [0, 1, 7, 8, WHOLE - 5, WHOLE, WHOLE + 1, WHOLE + 100, 65535]


@pytest.mark.parametrize("length", UDP_LENGTHS)
def test_udp_lengths(length: int) -> None:
    """Too small is damage; 0 is offload (UDP GSO); too large is read as far as IP goes."""
    found = decode([ip4(udp(QUESTION, length=length), 17)])
    if 0 < length < 8:
        assert found.counts == {"bad_transport": 1}
        return
    (p,) = found.packets
    expected = QUESTION if length == 0 else QUESTION[: max(length - 8, 0)]
    assert (p.length, p.payload) == (len(expected), expected)
    assert found.counts == {"udp": 1}


@pytest.mark.tshark
def test_tshark_dissects_dns_for_the_same_udp_lengths(tshark: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    packets = [ip4(udp(QUESTION, length=length), 17) for length in UDP_LENGTHS]
    path.write_bytes(pcap(packets))
    command = [tshark, "-r", str(path), "-T", "fields", "-e", "dns.id", "-e", "dns.qry.name"]
    rows = [r.split("\t") for r in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]
    ours = {p.frame: p.payload for p in decode(packets).packets}
    for frame, (length, (ident, name)) in enumerate(zip(UDP_LENGTHS, rows, strict=True), 1):
        payload = ours.get(frame, b"")
        if length == 0:
            assert (ident, payload) == ("", QUESTION)  # ours on purpose: what a capture of offloaded datagrams may hold
        else:
            assert bool(ident) == (len(payload) > 12), length
            assert bool(name) == (payload == QUESTION), length


@pytest.mark.tshark
def test_tshark_agrees_on_headers(tshark: str, tmp_path: Path) -> None:
    """What both read of every packet here that is well formed enough for both."""
    frames = [
        ip4(tcp(b"x" * (i % 5), seq=i * 999_999_937 % (1 << 32), ack=i, flags=i, window=i * 7), options=NOP * (i % 11 * 4))
        for i in range(64)
    ]
    frames += [ip4(tcp(b"y", options=o + TIMES + NOP + SCALE)) for o in (b"", MSS, PERMITTED, NOP, MSS + PERMITTED)]
    frames += [extended(chain, tcp(b"z")) for n in range(3) for chain in itertools.permutations((0, 43, 44, 51, 60), n)]
    frames += [ip6(udp(QUESTION), 17), ip4(udp(QUESTION), 17), ip4(tcp(bytes(3000))), ip4(tcp(b"pad")) + bytes(9)]
    frames += [ip4(tcp(b"ah"), 6), ip4(bytes([6, 4]) + bytes(22) + tcp(b"ah"), 51), ip4(tcp(b"tso"), total=0), ip4(tcp(b"long"), total=999)]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(frames, nano=True))
    fields = ["frame.time_epoch", "tcp.srcport", "udp.srcport", "tcp.seq_raw", "tcp.ack_raw", "tcp.flags", "tcp.window_size_value", "tcp.len",
              "udp.length", "tcp.options.timestamp.tsval", "tcp.options.mss_val", "tcp.options.wscale.shift"]  # fmt: skip
    command = [tshark, "-r", str(path), "-T", "fields", *(x for f in fields for x in ("-e", f))]
    rows = [r.split("\t") for r in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]
    ours = decode(frames, nano=True).packets
    assert [p.frame for p in ours] == list(range(1, len(frames) + 1))
    for p, row in zip(ours, rows, strict=True):
        time = f"{p.ts // 1_000_000_000}.{p.ts % 1_000_000_000:09}"
        if p.kind == c.UDP:
            assert row == [time, "", str(p.sport), "", "", "", "", "", str(p.length + 8), "", "", ""]
            continue
        times = "" if p.tsval == -1 else str(p.tsval >> 32 & 0xFFFFFFFF)
        mss, scale = str(p.mss) if p.mss else "", "" if p.scale is None else str(p.scale)
        head = [time, str(p.sport), "", str(p.seq), str(p.ack), f"0x{p.flags:04x}", str(p.window), str(p.length)]
        assert row == [*head, "", times, mss, scale], p.frame


# -- no bytes break it --------------------------------------------------------------------------------------------------------------------

LINKS = [*link.NAMES, 127]


def frames_of_any_bytes() -> st.SearchStrategy[bytes]:
    """Anything, and packets of every kind here with some bytes changed and an end cut off."""
    seeds = [
        ip4(tcp(b"\x16\x03\x01\0\x04\x01\0\0\0", options=MSS + NOP * 2 + TIMES)),
        ip4(udp(QUESTION), 17),
        ip6(tcp(b"HTTP/1.1 200 OK")),
        extended((0, 43, 60, 44, 51), tcp(b"data"), words=1),
        extended((44,), tcp(b"data"))[:42] + b"\0\x01" + bytes(30),
        ip4(bytes([6, 4]) + bytes(22) + tcp(), 51, options=b"\x01" * 12),
        ip4(tcp(b"x" * 24), fragment=0x2000),
    ]
    seeds += [ethernet(s, 0x86DD if s[0] >> 4 == 6 else 0x0800) for s in seeds]

    def damaged(parts: tuple[bytes, list[tuple[int, int]], int]) -> bytes:
        data, changes, cut = bytearray(parts[0]), parts[1], parts[2]
        for where, value in changes:
            data[where % len(data)] = value
        return bytes(data[: len(data) - cut % (len(data) + 1)] if cut % 3 == 0 else data)

    changes = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=5)
    return st.one_of(st.binary(max_size=120), st.tuples(st.sampled_from(seeds), changes, st.integers(0, 300)).map(damaged))


@given(frames=st.lists(frames_of_any_bytes(), max_size=8), number=st.sampled_from(LINKS), cut=st.sampled_from([None, None, 20, 54, 60]))
def test_every_frame_is_counted_once_whatever_its_bytes(frames: list[bytes], number: int, cut: int | None) -> None:
    found = decode(frames, number, cut=cut)  # the helper adds the exclusive reasons up and checks the payload of each row
    assert found.frames == len(frames)
    assert found.counts.get("tcp", 0) + found.counts.get("udp", 0) + found.counts.get("reassembled", 0) == len(found.packets)
    for name, meaning in d.NOTES:
        assert found.counts.get(name, 0) <= len(frames), meaning


@given(frame=frames_of_any_bytes(), number=st.sampled_from(LINKS), more=st.integers(0, 3000))
def test_what_lies_outside_a_frame_changes_nothing(frame: bytes, number: int, more: int) -> None:
    results = []
    for filler in (0x00, 0xFF, 0x45, 0x06):
        buf = np.full(len(frame) + 200, filler, np.uint8)
        buf[100 : 100 + len(frame)] = np.frombuffer(frame, np.uint8)
        packets, fragments = np.zeros((1, c.WIDTH), np.int64), np.zeros((1, d.FRAGMENT_WIDTH), np.int64)
        quality = np.zeros((d.N_REASONS, 2), np.int64)
        framed = np.array([[100, len(frame), len(frame) + more, 1, 0]])
        m, n = d.decode(buf, framed, 1, np.array([number]), 0, packets, fragments, quality)
        if m == 0:
            packets[:] = 0  # a row that was begun is not handed on
        results.append((m, n, packets.tolist(), fragments.tolist(), quality.tolist()))
    assert all(r == results[0] for r in results)


GUARDED = """
import itertools, random, sys
import numpy as np
from netlens.wire import columns as c, framing, decode as d, link

class Guard:
    '''A buffer that may be read between two offsets only, and by whole numbers only.'''
    def __init__(self, data, low, high):
        self.data, self.low, self.high = data, low, high
    def __getitem__(self, i):
        assert self.low <= int(i) < self.high, f"read at {i} outside {self.low}..{self.high}"
        return self.data[int(i)]

assert not hasattr(d.decode, "py_func"), "numba is on"
seed, rounds = int(sys.argv[1]), int(sys.argv[2])
chance = random.Random(seed)
frames = [bytes.fromhex(line) for line in sys.stdin]
rows, fragments = np.zeros((1, c.WIDTH), np.int64), np.zeros((1, d.FRAGMENT_WIDTH), np.int64)
quality = np.zeros((d.N_REASONS, 2), np.int64)
done = 0

def check(frame, number, wire):
    data = np.frombuffer(bytes(50) + bytes(frame) + bytes(50), np.uint8)
    framed = np.array([[50, len(frame), wire, 1, 0]])
    d.decode(Guard(data, 50, 50 + len(frame)), framed, 1, np.array([number]), done, rows, fragments, quality)

for frame in frames:
    for number in link.NAMES:
        for cut in range(0, len(frame), 1 if number in (1, 101, 276) else 5):
            check(frame[:cut], number, len(frame))
            done += 1
for i in range(rounds):
    frame = bytearray(chance.choice(frames))
    for _ in range(chance.randrange(4)):
        if frame:
            frame[chance.randrange(len(frame))] = chance.choice((0, 1, 4, 5, 6, 15, 17, 44, 51, 60, 255, chance.randrange(256)))
    del frame[chance.randrange(len(frame) + 1) if chance.randrange(2) else len(frame):]
    number = chance.choice((*link.NAMES, 127, 1, 101, 1, 101))
    check(frame, number, len(frame) + chance.choice((0, 0, 1, 2000)))
    done += 1
assert quality[: len(d.REASONS), 0].sum() == done

file = bytearray(bytes.fromhex(sys.argv[3]))
table = np.zeros((4, framing.INTERFACE_WIDTH), np.int64)
found = np.zeros((8, framing.FRAME_WIDTH), np.int64)
for i in range(rounds // 4):
    damaged = bytearray(file)
    for _ in range(chance.randrange(5)):
        damaged[chance.randrange(len(damaged))] = chance.choice((0, 1, 2, 3, 6, 9, 12, 255))
    end = chance.randrange(len(damaged) + 1)
    data = Guard(np.frombuffer(bytes(damaged) + bytes(9), np.uint8), 0, end)
    for big in (False, True):
        for pos, step in ((28, "ng"), (0, "pcap")):
            while pos < end:
                if step == "ng":
                    n, new, status = framing.frame_pcapng(data, pos, end, big, table, 2, 1 << 24, found)
                else:
                    n, new, status = framing.frame_pcap(data, pos, end, big, 1000, 262144, 0, found)
                for f in found[:n].tolist():
                    assert 0 <= f[0] <= f[0] + f[1] <= end
                assert new <= end and (n or new > pos or status != framing.FULL)
                if status != framing.FULL:
                    break
                pos = new
print("done")
"""


def test_no_read_outside_the_frame(root: Path) -> None:
    """The kernels as plain Python, over a buffer that fails on any read outside the frame (compiled code would just read on)."""
    frames = [
        ip4(tcp(b"\x16\x03\x01\0\x04\x01\0\0\0\x17\x03\x03\0\x05.....", options=MSS + NOP * 2 + TIMES + blocks(1, 2))),
        ip4(udp(b"\xc3\0\0\0\x01.....", dport=443), 17),
        ip4(udp(b"", dport=4789), 17),
        ip6(tcp(b"HTTP/1.1 200 OK")),
        extended((0, 43, 60, 44, 51), tcp(b"SSH-2.0"), words=1),
        extended((44,), tcp(b"data"))[:42] + b"\0\x01" + bytes(30),
        ip4(bytes([6, 4]) + bytes(22) + tcp(), 51, options=b"\x01" * 12),
        ip4(b"\x03\x01", 1),
        b"",
    ]
    frames += [ethernet(f, 0x86DD if f[:1] == b"\x60" else 0x0800) for f in frames]
    frames += [
        ethernet(b"\0\x05\x88\x47" + struct.pack(">I", 0x140) + frames[0], 0x8100),
        ethernet(b"\xaa\xaa\x03\0\0\0\x08\0" + frames[0], 50),
    ]
    frames += [struct.pack("<III24s", 36, 1, 1, b"en0") + frames[-1], struct.pack(">HHIHBB8s", 0x800, 0, 1, 1, 4, 6, b"") + frames[0]]
    frames += [
        ethernet(b"\x11\0\0\1\0\x30\0\x21" + frames[0], 0x8864),
        b"\xff\x03\0\x21" + frames[0],
        b"\x50" + bytes(12) + b"\xaa\xaa\x03\0\0\0\x08\0" + frames[0],
    ]
    file = Pcapng().interface().enhanced(frames[0]).simple(frames[1]).obsolete(frames[2]).block(9, b"abc").block(5, bytes(12)).bytes()
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, "1", "6000", file.hex()],
        input="\n".join(f.hex() for f in frames),
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    assert done.stdout == "done\n", done.stderr


def test_usual_packets_are_read_as_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The short way through TCP in IPv4 gives the rows and counts of the long one, also where a byte is odd or the frame is cut."""
    rng = random.Random(5)
    times = b"\1\1\x08\x0a" + bytes(range(8))
    packets = []
    for _ in range(3000):
        payload = rng.choice([b"", b"\x17\3\3\0\4abcd", b"GET / HTTP/1.1", rng.randbytes(rng.randrange(40))])
        packet = bytearray(ip4(tcp(payload, options=rng.choice([b"", times, b"\2\4\5\xb4"]), flags=rng.randrange(512))))
        if rng.random() < 0.5:
            packet[rng.choice([i for i in (0, 2, 3, 6, 7, 9, 32, 33, 40, 41, 43) if i < len(packet)])] = rng.choice(
                [0, 1, 17, 64, 80, 128, 255]
            )
        packets.append(bytes(packet[: rng.choice([len(packet)] * 3 + [rng.randrange(1, len(packet) + 1)])]) + bytes(rng.choice([0, 0, 6])))
    at = np.cumsum([0, *map(len, packets)])
    frames = np.zeros((len(packets), FRAME_WIDTH), np.int64)
    frames[:, F_OFF], frames[:, F_CAP] = at[:-1], np.diff(at)
    frames[:, F_WIRE] = frames[:, F_CAP] + [rng.choice([0, 0, 30, 1500]) for _ in packets]
    buf = np.frombuffer(bytearray(b"".join(packets)), np.uint8)

    def run(kernel: Any) -> tuple[Any, ...]:
        rows = np.zeros((len(packets), c.WIDTH), np.int64)
        fragments, quality = np.zeros((len(packets), d.FRAGMENT_WIDTH), np.int64), np.zeros((d.N_REASONS, 2), np.int64)
        m, n = kernel(buf, frames, len(packets), np.array([links.RAW]), 0, rows, fragments, quality)
        return rows[:m].tolist(), fragments[:n].tolist(), quality.tolist()

    short = run(d.decode)
    monkeypatch.setattr(d, "_usual", lambda *_: False)
    assert run(d.decode.py_func) == short
    assert len(short[0]) > 1500
