"""IP fragments to datagrams: in any order, overlapping, twice, missing, cut; TCP and UDP; and what strangers may do with them."""

from __future__ import annotations

import itertools
import random
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.wire import columns as c
from netlens.wire import fragments as f
from tests.wire import links
from tests.wire.helpers import (
    MACS,
    RAW,
    START_NS,
    Decoded,
    Pcapng,
    decode,
    decode_bytes,
    ethernet,
    ip4,
    ip6,
    pcap,
    tcp,
    udp,
)

BODY = bytes(range(1, 101)) * 2
DATAGRAM, SEGMENT = udp(BODY, sport=5000, dport=6000), tcp(BODY, sport=5000, dport=6000, seq=77)


def piece(payload: bytes, where: int, more: bool, version: int = 4, proto: int = 17, ident: int = 7, src: str = "192.0.2.1") -> bytes:
    """A fragment packet; ``where`` in bytes."""
    if version == 4:
        return ip4(payload, proto, ident=ident, fragment=more << 13 | where // 8, src=src)
    return ip6(struct.pack(">BBHI", proto, 0, where | more, ident) + payload, 44)


def split(whole: bytes, cuts: Sequence[int], version: int = 4, proto: int = 17, ident: int = 7) -> list[bytes]:
    """Fragments of ``whole`` with borders at ``cuts`` (multiples of 8)."""
    edges = [0, *cuts, len(whole)]
    return [piece(whole[a:b], a, b != len(whole), version, proto, ident) for a, b in itertools.pairwise(edges)]


def check(found: Decoded, frame: int, kind: int = c.UDP, version: int = 4, fragments: int = 4) -> None:
    """One datagram, whole, in ``frame``, and nothing else."""
    (p,) = found.packets
    assert (p.frame, p.kind, p.sport, p.dport, p.length, p.payload) == (frame, kind, 5000, 6000, len(BODY), BODY)
    assert (p.src, p.dst) == (("192.0.2.1", "192.0.2.2") if version == 4 else ("2001:db8::1", "2001:db8::2"))
    assert p.ts == START_NS + (frame - 1) * 1_000_000
    assert found.counts == {"fragment": fragments, "reassembled": 1}
    assert found.given_up == 0


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("whole", [DATAGRAM, SEGMENT], ids=["udp", "tcp"])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
def test_in_any_order(version: int, whole: bytes, order: tuple[int, ...]) -> None:
    proto = 17 if whole is DATAGRAM else 6
    pieces = split(whole, (16, 96, 104), version, proto)
    check(decode([pieces[i] for i in order]), 4, proto, version)
    framed = [MACS + struct.pack(">HHH", 0x8100, 5, 0x0800 if version == 4 else 0x86DD) + pieces[i] for i in order]
    check(decode(framed, links.ETHERNET), 4, proto, version)


def test_what_a_reassembled_segment_says() -> None:
    (p,) = decode(split(tcp(b"\x16\x03\x01\0\x04\x01\0\0\0", options=b"\x02\x04\x05\xb4", seq=9, flags=2), (24,), proto=6)).packets
    assert (p.seq, p.flags, p.mss, p.length) == (9, 2, 1460, 9)
    assert p.hint != 0


def test_other_packets_in_between_keep_their_order() -> None:
    pieces = split(DATAGRAM, (16,))
    found = decode([ip4(tcp(seq=1)), pieces[0], ip4(tcp(seq=2)), pieces[1], ip4(tcp(seq=3))])
    assert [(p.frame, p.kind) for p in found.packets] == [(1, 6), (3, 6), (4, 17), (5, 6)]
    assert found.counts == {"tcp": 3, "fragment": 2, "reassembled": 1}


def test_across_batches_and_files() -> None:
    pieces = split(DATAGRAM, (16, 96, 104))
    check(decode_bytes(pcap(pieces), batch=1), 4)
    found = decode_bytes(pcap(pieces[:2]), pcap(pieces[2:]))  # a rotated capture
    assert [(p.frame, p.payload) for p in found.packets] == [(4, BODY)]


def test_interleaved_datagrams() -> None:
    a, b = split(DATAGRAM, (16, 96), ident=1), split(DATAGRAM, (16, 96), ident=2)
    c6, d6 = split(DATAGRAM, (16, 96), 6, ident=1), split(SEGMENT, (16, 96), 4, proto=6, ident=1)
    found = decode([x for group in zip(a, b, c6, d6, strict=True) for x in group])
    assert [(p.frame, p.kind, p.payload) for p in found.packets] == [(9, 17, BODY), (10, 17, BODY), (11, 17, BODY), (12, 6, BODY)]


def test_of_different_senders() -> None:
    a = [piece(DATAGRAM[:16], 0, True), piece(DATAGRAM[16:], 16, False, src="192.0.2.9")]
    found = decode(a)
    assert found.packets == []
    assert found.counts == {"fragment": 2}
    assert found.given_up == 2


def test_copies_on_two_interfaces_are_two_datagrams() -> None:
    pieces = split(DATAGRAM, (16,))
    file = Pcapng().interface(RAW).interface(RAW)
    for p in pieces:
        file.enhanced(p, iface=0).enhanced(p, iface=1)
    found = decode_bytes(file.bytes())
    assert [(p.frame, p.iface >> 40, p.payload) for p in found.packets] == [(3, 0, BODY), (4, 1, BODY)]


@pytest.mark.parametrize("missing", range(4))
def test_one_missing(missing: int) -> None:
    pieces = split(DATAGRAM, (16, 96, 104))
    del pieces[missing]
    found = decode(pieces)
    assert found.packets == []
    assert found.counts == {"fragment": 3}
    assert found.given_up == 1


def test_duplicates() -> None:
    a, b, last = split(DATAGRAM, (16, 96))
    check(decode([a, a, b, b, a, last]), 6, fragments=6)
    late = decode([a, b, last, b])  # a copy that comes when the datagram is whole begins another one, as far as anybody can tell
    assert [p.frame for p in late.packets] == [3]
    twice = decode([a, b, last, a, b, last])  # as Wireshark shows it
    assert [(p.frame, p.payload) for p in twice.packets] == [(3, BODY), (6, BODY)]


def test_overlapping_pieces_of_the_same_bytes() -> None:
    w = DATAGRAM
    check(decode([piece(w[:32], 0, True), piece(w[16:64], 16, True), piece(w[40:], 40, False)]), 3, fragments=3)
    check(decode([piece(w[40:], 40, False), piece(w[16:64], 16, True), piece(w[:32], 0, True)]), 3, fragments=3)
    check(decode([piece(w[:8], 0, True), piece(w[:64], 0, True), piece(w[64:], 64, False)]), 3, fragments=3)
    check(decode([piece(w[16:24], 16, True), piece(w[:64], 0, True), piece(w[64:], 64, False)]), 3, fragments=3)
    check(decode([piece(w[8:16], 8, True), piece(w[:200], 0, True), piece(w[8:], 8, False)]), 3, fragments=3)


def test_where_pieces_differ_the_first_one_wins() -> None:
    w = DATAGRAM
    other = b"X" * 48
    (p,) = decode([piece(w[:32], 0, True), piece(other, 16, True), piece(w[64:], 64, False)]).packets
    assert p.payload == w[8:32] + b"X" * 32 + w[64:]
    (p,) = decode([piece(other[:16], 16, True), piece(w[:64], 0, True), piece(w[64:], 64, False)]).packets
    assert p.payload == w[8:16] + b"X" * 16 + w[32:]


def test_of_two_ends_the_first_one_counts() -> None:
    w = DATAGRAM
    (p,) = decode([piece(w[64:], 64, False), piece(w[80:96], 80, False), piece(w[:64], 0, True)]).packets
    assert p.payload == BODY
    (p,) = decode([piece(w[64:72], 64, False), piece(w[64:], 64, False), piece(w[:64], 0, True)]).packets
    assert (p.length, p.payload) == (64, BODY[:64])


def test_cut_by_the_snaplen() -> None:
    pieces = split(DATAGRAM, (96,))
    found = decode(pieces, cut=20 + 40)
    (p,) = found.packets
    assert (p.length, p.payload) == (len(BODY), BODY[:32])  # the second piece is there, but what stands before it is not
    assert found.counts == {"fragment": 2, "reassembled": 1, "cut_payload": 1}
    found = decode(split(SEGMENT, (96,), proto=6), cut=20 + 12)
    assert found.packets == []
    assert found.counts == {"fragment": 2}
    whole_first = Pcapng().interface().enhanced(pieces[0]).enhanced(pieces[1][:50], wire=len(pieces[1])).bytes()
    (p,) = decode_bytes(whole_first).packets
    assert p.payload == BODY[: 88 + 30]


def test_a_piece_that_is_captured_whole_does_not_mend_a_cut_one() -> None:
    first, last = split(DATAGRAM, (96,))
    file = Pcapng().interface().enhanced(first[:60], wire=len(first)).enhanced(first).enhanced(last).bytes()
    (p,) = decode_bytes(file).packets
    assert (p.length, p.payload) == (len(BODY), BODY[:32])


def test_fragment_lengths_that_cannot_be() -> None:
    w = DATAGRAM
    assert decode([piece(w[:17], 0, True), piece(w[16:], 16, False)]).packets == []  # only the last may be no multiple of 8
    assert decode([piece(w, 65528, False), piece(bytes(65480), 0, True)]).packets == []  # would end beyond 64 KiB
    assert decode([piece(b"", 0, True)] * 3).given_up == 0
    check(decode([piece(w, 0, True), piece(b"", 208, False)]), 2, fragments=2)
    assert decode([piece(b"", 0, False)]).packets == []  # that is no fragment at all: offset 0 and no more
    assert decode([ip6(struct.pack(">BBHI", 17, 0, 8, 1), 44)]).packets == []


@pytest.mark.parametrize("chain", ["ah", "destination options", "both"])
def test_headers_that_were_fragmented_too(chain: str) -> None:
    """RFC 4302 3.3.4: the authentication header is made before fragmentation; destination options may stand behind the fragment header."""
    ah, options = b"\x11\x04" + bytes(22), b"\x11\x01\x01\x0c" + bytes(12)
    head, proto = {"ah": (ah, 51), "destination options": (options, 60), "both": (b"\x33" + options[1:] + ah, 60)}[chain]
    for version in (6, 4) if chain == "ah" else (6,):
        check(decode(split(head + DATAGRAM, (16, 96, 104), version, proto)), 4, version=version)
    assert decode(split(head[:1] + b"\xff" + head[2:] + DATAGRAM, (16,), 6, proto)).counts == {"fragment": 2}


def test_other_protocols_and_broken_headers_make_no_rows() -> None:
    assert decode(split(b"\x08\0" + bytes(60), (16,), proto=1)).counts == {"fragment": 2}
    assert decode(split(udp(BODY, length=5), (16,))).counts == {"fragment": 2}
    assert decode(split(SEGMENT[:16], (8,), proto=6)).counts == {"fragment": 2}
    # a fragment that says what comes next is believed if it is the first one, whatever the others say
    first, last = split(DATAGRAM, (16,), 6)
    check(decode([last[:40] + b"\x06" + last[41:], first]), 2, version=6, fragments=2)


def test_pieces_more_than_a_minute_apart_do_not_belong_together() -> None:
    first, last = split(DATAGRAM, (16,))
    for seconds, packets, given_up in ((60, 1, 0), (61, 0, 2), (-61, 0, 2)):
        units = START_NS // 1000
        found = decode_bytes(Pcapng().interface().enhanced(first, units).enhanced(last, units + seconds * 1_000_000).bytes())
        assert (len(found.packets), found.given_up) == (packets, given_up)


def test_unfinished_datagrams_are_bounded() -> None:
    first = split(DATAGRAM, (16,))[0]
    packets = [first[:4] + struct.pack(">H", i) + first[6:] for i in range(f.MAX_DATAGRAMS + 100)]
    last = split(DATAGRAM, (16,))[1]
    ends = [last[:4] + struct.pack(">H", i) + last[6:] for i in (0, 99, 100, f.MAX_DATAGRAMS + 99)]
    found = decode(packets + ends)
    # 100 were given up; three of the ends belong to those, or to one given up for them: each begins anew and costs the oldest one
    assert len(found.packets) == 1
    assert found.given_up == 100 + 3 + f.MAX_DATAGRAMS - 1


def test_work_and_memory_do_not_grow_with_the_square() -> None:
    """8,191 pieces of 8 bytes, every second one first: with the whole list sorted anew for each, this took half a minute."""
    w = udp(random.Random(5).randbytes(65_400))
    edges = list(range(0, len(w), 8))
    order = edges[-1:] + edges[:-1:2] + edges[1:-1:2]
    (p,) = decode([piece(w[at : at + 8], at, at != edges[-1]) for at in order]).packets
    assert p.payload == w[8:]
    entry = f._Datagram(17, 0)
    for at in edges:
        entry.add(at, len(w) - at, w[at:])
    assert (entry.starts, entry.ends, len(entry.data)) == ([0], [len(w)], len(w))


@given(
    pieces=st.lists(
        st.tuples(st.integers(0, 15).map(lambda n: 8 * n), st.integers(1, 64), st.integers(0, 64), st.integers(0, 255)),
        min_size=1,
        max_size=14,
    )
)
def test_runs_of_bytes_against_one_byte_at_a_time(pieces: list[tuple[int, int, int, int]]) -> None:
    entry = f._Datagram(17, 0)
    plain: dict[int, int | None] = {}  # None: there on the wire, but not captured
    for where, length, captured, value in pieces:
        data = bytes((value + i) & 0xFF for i in range(min(captured, length)))
        entry.add(where, length, data)
        for i in range(length):
            plain.setdefault(where + i, data[i] if i < len(data) else None)
    assert sum(e - s for s, e in zip(entry.starts, entry.ends, strict=True)) == len(plain)
    assert all(any(s <= at < e for s, e in zip(entry.starts, entry.ends, strict=True)) for at in plain)
    assert all(e < s for e, s in zip(entry.ends, entry.starts[1:], strict=False))
    assert all(value is None or entry.data[at] == value for at, value in plain.items())
    assert entry.captured == min((at for at, value in plain.items() if value is None), default=f.MAX_BYTES + 1)


@given(data=st.data(), version=st.sampled_from([4, 6]), tcp_too=st.booleans())
def test_however_a_datagram_is_cut_and_shuffled(data: st.DataObject, version: int, tcp_too: bool) -> None:
    whole, proto = (SEGMENT, 6) if tcp_too else (DATAGRAM, 17)
    cuts = sorted(data.draw(st.sets(st.integers(1, (len(whole) - 1) // 8), min_size=1, max_size=8)))
    pieces = split(whole, [8 * x for x in cuts], version, proto)
    order = data.draw(st.permutations(range(len(pieces))))
    check(decode([pieces[i] for i in order]), len(pieces), proto, version, len(pieces))


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 8191), st.booleans(), st.integers(0, 80), st.integers(0, 3), st.sampled_from([4, 6]), st.integers(0, 255)),
        max_size=30,
    )
)
def test_any_fragments(rows: list[tuple[int, bool, int, int, int, int]]) -> None:
    """Nothing breaks; ``decode`` of the helpers checks that each row's payload lies in its buffer and that every frame is counted once."""
    packets = [piece(bytes(range(n)), 8 * where, more, version, proto, ident) for where, more, n, ident, version, proto in rows]
    found = decode(packets, cut=90)
    assert found.frames == len(rows)


@pytest.mark.tshark
def test_tshark_puts_the_same_datagrams_together(tshark: str, tmp_path: Path) -> None:
    a, b = split(DATAGRAM, (16, 96), ident=1), split(SEGMENT, (16, 96), 6, 6, ident=2)
    ah = split(b"\x11\x04" + bytes(22) + DATAGRAM, (16, 96), 4, 51, ident=3)
    options = split(b"\x11\x01\x01\x0c" + bytes(12) + DATAGRAM, (32,), 6, 60, ident=4)
    w = DATAGRAM
    overlap = [piece(w[:32], 0, True, ident=5), piece(w[16:64], 16, True, ident=5), piece(w[40:], 40, False, ident=5)]
    packets = [a[2], b[0], a[0], b[2], ah[0], a[1], ah[1], b[1], *options, ah[2], *overlap, a[1], ip4(DATAGRAM, 17)]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap([ethernet(p, 0x0800 if p[0] >> 4 == 4 else 0x86DD) for p in packets], links.ETHERNET))
    fields = ["frame.number", "udp.srcport", "tcp.srcport", "udp.payload", "tcp.payload"]
    command = [tshark, "-r", str(path), "-T", "fields", *(x for name in fields for x in ("-e", name))]
    rows = [r.split("\t") for r in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()]
    theirs = [(int(r[0]), int(r[1] or r[2]), r[3] or r[4]) for r in rows if r[1] or r[2]]
    assert theirs == [(p.frame, p.sport, p.payload.hex()) for p in decode(packets).packets]
    assert len(theirs) == 6
