"""Containers: every kind of file and pipe that holds frames, whole, cut and damaged. Expected times are computed here, with whole numbers."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import netlens.threads
from netlens.errors import CaptureError, NetlensError, WireError
from netlens.text import plural
from netlens.wire import containers, framing, streams
from netlens.wire import gunzip as gz
from netlens.wire.containers import Reader
from netlens.wire.framing import units_to_ns
from tests.wire.helpers import ETHERNET, RAW, START_NS, Pcapng, decode_bytes, ip4, option, pcap, read, read_bytes, tcp

PACKETS = [ip4(tcp(bytes([i]) * (i * 37 % 200), seq=i)) for i in range(12)]


@contextlib.contextmanager
def small_buffers() -> Iterator[None]:
    """Buffers of a few bytes, so that records of ordinary size meet every boundary."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "CHUNK", 96)
        patch.setattr(streams, "HEADROOM", 48)
        yield


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    yield
    assert not [t for t in threading.enumerate() if t.name == "netlens-reader"]


# -- pcap ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("nano", [False, True])
@pytest.mark.parametrize("snaplen", [0, 64, 262144, 0x7FFFFFFF, 0xFFFFFFFF])
def test_pcap_in_all_variants(order: str, nano: bool, snaplen: int) -> None:
    start = START_NS + (123_456_789 if nano else 123_456_000)
    found = read_bytes(pcap(PACKETS, order=order, nano=nano, snaplen=snaplen, start_ns=start))
    assert found.data == PACKETS
    assert found.times == [start + i * 1_000_000 for i in range(len(PACKETS))]
    assert {f[4] for f in found.frames} == {RAW}
    assert not found.warnings
    assert found.reader is not None
    info = found.reader.inputs[0]
    assert (info.container, info.snaplen, info.link_types) == ("pcap (ns)" if nano else "pcap", snaplen, [RAW])


def test_times_after_2038_and_fractions_above_a_second() -> None:
    record = struct.pack("<IIII", 0xFFFFFFFF, 1_000_001, 0, 0)
    assert read_bytes(pcap([]) + record).times == [0xFFFFFFFF * 1_000_000_000 + 1_000_001_000]


@pytest.mark.parametrize("data", [pcap([]), pcap([], order=">", nano=True), Pcapng().bytes(), Pcapng().interface().bytes()])
def test_only_a_header_is_an_empty_capture(data: bytes) -> None:
    found = read_bytes(data)
    assert found.frames == []
    assert found.warnings == []


def test_records_of_no_bytes() -> None:
    found = read_bytes(pcap([b"", PACKETS[3], b"", b""]))
    assert found.data == [b"", PACKETS[3], b"", b""]
    assert not found.warnings


def test_the_wire_length_is_kept_beside_the_captured_one() -> None:
    found = read_bytes(pcap(PACKETS, cut=30))
    assert [f[:2] for f in found.frames] == [(p[:30], len(p)) for p in PACKETS]


def test_the_length_of_a_frame_check_sequence_is_no_part_of_the_link_type() -> None:
    assert read_bytes(pcap(PACKETS[:1], link=ETHERNET | 0x24000000)).frames[0][4] == ETHERNET


def test_a_pcap_cut_at_every_byte() -> None:
    packets = [PACKETS[1], b"", PACKETS[2]]
    data = pcap(packets)
    ends = [24]
    for p in packets:
        ends.append(ends[-1] + 16 + len(p))
    for cut in range(len(data)):
        if cut < 24:
            with pytest.raises(CaptureError, match="cut inside its 24-byte file header" if cut else "empty"):
                read_bytes(data[:cut])
            continue
        whole = sum(end <= cut for end in ends) - 1
        found = read_bytes(data[:cut])
        assert found.data == packets[:whole]
        if cut in ends:
            assert not found.warnings
        else:
            (warning,) = found.warnings
            assert f"cut short in the middle of a record at byte offset {ends[whole]} ({cut - ends[whole]} bytes" in warning
            assert f"{plural(whole, 'frame')} before it {'was' if whole == 1 else 'were'} read" in warning


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("length", [262145, 0x7FFFFFFF, 0xFFFFFFFF])
def test_an_absurd_record_length_ends_the_reading_with_one_warning(order: str, length: int) -> None:
    good = pcap(PACKETS[:3], order=order)
    found = read_bytes(good + struct.pack(order + "IIII", 0, 0, length, 60) + bytes(500))
    assert found.data == PACKETS[:3]
    (warning,) = found.warnings
    assert f"damaged at byte offset {len(good)}: a record claims {length} bytes" in warning
    assert "3 frames before it were read" in warning


@pytest.mark.parametrize("size", [streams.HEADROOM + 1000, streams.CHUNK + streams.HEADROOM + 1000, 2 * streams.CHUNK + 17])
def test_records_larger_than_headroom_and_than_a_chunk(size: int) -> None:
    packets = [PACKETS[1], bytes(range(256)) * (size // 256), PACKETS[2], bytes(size), *PACKETS[3:]]
    assert read_bytes(pcap(packets, snaplen=size)).data == packets
    ng = Pcapng().interface()
    for p in packets:
        ng.enhanced(p)
    assert read_bytes(ng.bytes()).data == packets


def test_large_records_do_not_add_buffers(tmp_path: Path) -> None:
    path = tmp_path / "big.pcap"
    path.write_bytes(pcap([bytes(300)] * 50))
    with small_buffers():
        reader = Reader([path])
        for _ in reader.batches():
            assert reader._stream is not None
            assert reader._stream.empty.qsize() <= streams.BUFFERS
    assert reader.frame == 50


@given(sizes=st.lists(st.integers(0, 250), max_size=20), ng=st.booleans())
def test_no_boundary_of_buffers_matters(sizes: list[int], ng: bool) -> None:
    packets = [bytes([i]) * size for i, size in enumerate(sizes)]
    file = Pcapng().interface()
    for p in packets:
        file.enhanced(p)
    data = file.bytes() if ng else pcap(packets)
    with small_buffers():
        assert read_bytes(data).data == packets
        assert read_bytes(gzip.compress(data, 1)).data == packets


def test_batches_that_are_held(tmp_path: Path) -> None:
    """With ``hold``, the bytes of a batch stay while that many further buffers are read."""
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap([bytes([i]) * 20 for i in range(200)]))  # two or three in each buffer
    with small_buffers():
        kept: list[tuple[Any, int, int, bytes]] = []
        for batch in Reader([path], hold=3).batches():
            for offset, cap, *_ in batch.frames[: batch.n].tolist():
                kept.append((batch.buf, offset, cap, batch.buf[offset : offset + cap].tobytes()))
            buffers: list[int] = []
            for buf, offset, cap, data in reversed(kept):
                if not buffers or buffers[-1] != id(buf):
                    buffers.append(id(buf))
                if len(buffers) > 4:  # this may be the memory of the newest, used again
                    break
                assert buf[offset : offset + cap].tobytes() == data


# -- refused, by name -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("34cdb2a1", "Kuznetzov's modified format.*editcap"),
        ("a1b2cd34", "Kuznetzov's modified format.*editcap"),
        ("a1b2c34d", "IXIA lcap"),
        ("1c0001ac", "IXIA lcap"),
        ("736e6f6f70000000", "snoop"),
        ("28b52ffd", "zstd -dc"),
        ("fd377a585a00", "xz -dc"),
        ("425a6839", "bzip2 -dc"),
        ("04224d18", "lz4 -dc"),
        ("504b0304", "zip archive"),
    ],
)
def test_other_formats_are_refused_by_name(start: str, says: str) -> None:
    with pytest.raises(WireError, match=says):
        read_bytes(bytes.fromhex(start) + bytes(100))


def test_what_is_no_capture() -> None:
    with pytest.raises(CaptureError, match=r"empty \(0 bytes\)"):
        read_bytes(b"")
    for text in (b"No.,Time,Source\n1,0.0,192.0.2.1\n", b"x", b"\n", "Zeitüberschreitung, 并发数过高".encode()):
        with pytest.raises(CaptureError, match="cut inside its section header" if text == b"\n" else "looks like text"):
            read_bytes(text)
    with pytest.raises(CaptureError, match=r"neither pcap nor pcapng \(starts with 7f 45 4c 46\)"):
        read_bytes(b"\x7fELF" + bytes(100))
    with pytest.raises(WireError, match="pcap version 3 is unknown"):
        read_bytes(pcap([])[:4] + b"\x03\x00" + pcap([])[6:])


def test_every_input_is_looked_at_before_the_first_is_read(tmp_path: Path) -> None:
    good = tmp_path / "good.pcap"
    good.write_bytes(pcap(PACKETS))
    with pytest.raises(CaptureError, match="no such file"):
        Reader([good, tmp_path / "missing.pcap"])
    with pytest.raises(CaptureError, match="is a directory"):
        Reader([good, tmp_path])
    with pytest.raises(CaptureError, match="no capture was named"):
        Reader([])
    with pytest.raises(CaptureError, match=r"null (byte|character)"):
        Reader(["a\0b"])


# -- pcapng -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_packet_blocks_of_all_three_kinds(order: str) -> None:
    units = START_NS // 1000
    data = (
        Pcapng(order)
        .interface(ETHERNET)
        .interface(RAW, snaplen=50)
        .enhanced(PACKETS[1], units, 1, wire=777)
        .obsolete(PACKETS[2], units + 1, 1)
        .simple(PACKETS[3])
        .enhanced(PACKETS[4], units + 2, 0, options=option(1, b"a comment", order) + b"\0\0\0\0")
        .bytes()
    )
    found = read_bytes(data)
    assert found.frames == [
        (PACKETS[1], 777, START_NS, 1, RAW),
        (PACKETS[2], len(PACKETS[2]), START_NS + 1000, 1, RAW),
        (PACKETS[3], len(PACKETS[3]), 0, 0, ETHERNET),  # a simple packet block has no time and belongs to the first interface
        (PACKETS[4], len(PACKETS[4]), START_NS + 2000, 0, ETHERNET),
    ]
    assert not found.warnings


def test_simple_packets_are_as_long_as_the_snaplen_and_the_block_let_them() -> None:
    data = (
        Pcapng()
        .interface(RAW, snaplen=50)
        .simple(PACKETS[3][:50], wire=100)
        .simple(PACKETS[3][:20], wire=100)
        .simple(PACKETS[0][:7])
        .bytes()
    )
    assert [f[:2] for f in read_bytes(data).frames] == [(PACKETS[3][:50], 100), (PACKETS[3][:20], 100), (PACKETS[0][:7], 7)]


def test_sections_of_different_byte_order_and_interfaces_added_on_the_way() -> None:
    units = START_NS // 1000
    data = (
        Pcapng("<")
        .interface(RAW)
        .enhanced(PACKETS[0], units, 0)
        .interface(ETHERNET, tsresol=9)
        .enhanced(PACKETS[1], START_NS + 1, 1)
        .enhanced(PACKETS[2], units, 0)
        .section(">", options=option(2, b"another machine", ">") + b"\0\0\0\0")
        .interface(276, tsresol=3)
        .enhanced(PACKETS[3], START_NS // 1_000_000, 0)
        .section("<")
        .interface(113)
        .obsolete(PACKETS[4], units, 0)
        .bytes()
    )
    found = read_bytes(data)
    assert found.data == PACKETS[:5]
    assert found.times == [START_NS, START_NS + 1, START_NS, START_NS, START_NS]
    assert [f[4] for f in found.frames] == [RAW, ETHERNET, RAW, 276, 113]
    assert len(set(found.ifaces)) == 4
    assert found.reader is not None
    assert found.reader.inputs[0].link_types == [RAW, ETHERNET, 276, 113]


def test_the_same_interface_in_every_section_and_every_file_of_a_rotated_capture() -> None:
    """Otherwise a retransmission that falls into the next file would look like a copy seen on another interface."""
    part = (
        Pcapng().interface(RAW, name="eth0").interface(RAW, name="lo").enhanced(PACKETS[0], iface=1).enhanced(PACKETS[1], iface=0).bytes()
    )
    other = Pcapng().interface(RAW, name="eth7").enhanced(PACKETS[0]).bytes()
    assert read_bytes(part, part + part, other).ifaces == [0 + 1, 0, 1, 0, 1, 0, 2]
    assert read_bytes(pcap(PACKETS[:1]), pcap(PACKETS[:1]), pcap(PACKETS[:1], ETHERNET)).ifaces == [0, 0, 1]


def exact_ns(units: int, resolution: int, offset: int = 0) -> int:
    """What if_tsresol says a time stamp is, in whole nanoseconds."""
    power = resolution & 0x7F
    base = 2 if resolution & 0x80 else 10
    return units * 1_000_000_000 // base**power + offset * 1_000_000_000


@pytest.mark.parametrize("resolution", [*range(20), *(0x80 | n for n in (0, 1, 10, 20, 29, 30, 31, 32, 33, 34, 40, 62, 63, 64, 80))])
def test_time_resolutions(resolution: int) -> None:
    power, base = resolution & 0x7F, 2 if resolution & 0x80 else 10
    units = min((1_700_000_000 * 1000 + 123) * base**power // 1000, (1 << 64) - 1)  # as late as 64 bits of units can be, or now
    found = read_bytes(Pcapng().interface(tsresol=resolution).enhanced(PACKETS[0], units).obsolete(PACKETS[0], units).bytes())
    assert found.times == [exact_ns(units, resolution)] * 2


@given(units=st.integers(0, (1 << 64) - 1), resolution=st.integers(0, 255))
@example(units=(1 << 64) - 1, resolution=10)
@example(units=(1 << 64) - 1, resolution=0x80 | 63)
@example(units=(1 << 64) - 1, resolution=0x80 | 127)
@example(units=1_700_000_000 << 33, resolution=0x80 | 33)
def test_time_stamps_are_exact(units: int, resolution: int) -> None:
    ns = exact_ns(units, resolution)
    found = read_bytes(Pcapng().interface(tsresol=resolution).enhanced(b"", units).bytes()).times[0]
    if resolution & 0x80 == 0 and resolution > 27:  # 10**-28 s and less: never written, and 64 bits of it are less than 10 ns
        assert 0 <= found <= 18
    elif ns < 1 << 63:
        assert found == ns
    else:  # no time that a nanosecond count can hold; only that nothing breaks
        assert -(1 << 63) <= found < 1 << 63


def test_the_kernel_for_times_is_the_one_that_python_computes() -> None:
    for kind, value, units in (
        (0, 1000, START_NS // 1000),
        (1, 10, START_NS * 10),
        (2, 32, 1_700_000_000 << 32 | 1 << 31),
        (2, 33, 7 << 60),
    ):
        compiled = units_to_ns(units >> 32, units & 0xFFFFFFFF, kind, value)
        power = {0: 6, 1: 10, 2: 0x80 | value}[kind]
        assert compiled == exact_ns(units, power)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("offset", [0, 1, -1, 3600, -3600, 1_700_000_000, 1 << 33])
def test_time_offsets(order: str, offset: int) -> None:
    units = 5_000_000_123
    found = read_bytes(Pcapng(order).interface(tsoffset=offset, tsresol=6).enhanced(PACKETS[0], units).bytes())
    assert found.times == [exact_ns(units, 6, offset)]
    assert not found.warnings


def test_absurd_time_offsets_are_ignored_and_said_once() -> None:
    file = Pcapng()
    for offset in (1 << 62, -(1 << 63), (1 << 33) + 1):
        file.interface(tsoffset=offset)
    found = read_bytes(file.enhanced(PACKETS[0]).bytes())
    assert found.times == [START_NS]
    (warning,) = found.warnings
    assert f"interface 0 has a time offset of {1 << 62} s, ignored" in warning


def test_odd_options_of_an_interface() -> None:
    for options in (
        option(9, b""),  # no value
        option(14, b"\x01\x02"),  # too short
        struct.pack("<HH", 9, 60000),  # longer than the block
        b"\0\0\0\0" + option(9, b"\x09"),  # behind the end of options
        option(2, b"x" * 4000),
    ):
        data = Pcapng().block(1, struct.pack("<HHI", RAW, 0, 0) + options).enhanced(PACKETS[0]).bytes()
        assert read_bytes(data).times == [START_NS]


def test_blocks_without_a_packet() -> None:
    """Name resolution, statistics, secrets and unknown blocks have no frame number in Wireshark; journal entries, events and custom blocks do."""
    file = Pcapng().interface().enhanced(PACKETS[0])
    for kind in (4, 5, 0xA, 0x201, 0x208, 0x1234, 0x80000001):
        file.block(kind, b"abcdefg")
    file.enhanced(PACKETS[1])
    for kind in framing.NUMBERED_BLOCKS:
        file.block(kind, b"abcdefg")
    found = decode_bytes(file.enhanced(PACKETS[2]).bytes())
    n = len(framing.NUMBERED_BLOCKS)
    assert [p.frame for p in found.packets] == [1, 2, 3 + n]
    assert found.counts == {"tcp": 3, "not_a_packet": n}


def test_block_lengths_without_their_padding() -> None:
    """Some writers leave it out of one or both length fields; Wireshark rounds them up."""
    odd = PACKETS[1]
    assert len(odd) % 4
    size = 32 + len(odd)
    for trailer in (size, (size + 3) & ~3):
        file = Pcapng().interface().enhanced(odd, size=size, trailer=trailer).enhanced(PACKETS[2])
        file.block(0x1234, b"abcde", size=17).block(1, struct.pack("<HHI", RAW, 0, 0) + b"\0\0\0", size=23).enhanced(PACKETS[3], iface=1)
        found = read_bytes(file.bytes())
        assert found.data == [odd, PACKETS[2], PACKETS[3]]
        assert not found.warnings


def broken(kind: str) -> bytes:
    """What follows a section, an interface and two packets."""
    size = len(Pcapng().interface().enhanced(PACKETS[0]).enhanced(PACKETS[1]).bytes())
    file = Pcapng().interface().enhanced(PACKETS[0]).enhanced(PACKETS[1])
    if kind == "two lengths":
        file.enhanced(PACKETS[2], trailer=99)
    elif kind == "two lengths of an interface":
        file.block(1, struct.pack("<HHI", RAW, 0, 0), trailer=24)
    elif kind == "two lengths of a section":
        file.block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1), trailer=32)
    elif kind == "undeclared interface":
        file.enhanced(PACKETS[2], iface=1)
    elif kind == "undeclared interface, obsolete":
        file.obsolete(PACKETS[2], iface=1)
    elif kind == "interface of the section before":
        size += len(Pcapng().bytes())
        file.section().enhanced(PACKETS[2])
    elif kind == "simple before any interface":
        size += len(Pcapng().bytes())
        file.section().simple(PACKETS[2])
    elif kind == "packet longer than its block":
        file.enhanced(PACKETS[2], cap=len(PACKETS[2]) + 4)
    elif kind == "packet of 4 GiB":
        file.enhanced(PACKETS[2], cap=0xFFFFFFFF)
    elif kind == "too short for a packet block":
        file.block(6, b"abcd")
    elif kind == "too short for an obsolete one":
        file.block(2, b"abcd")
    elif kind == "too short for a simple one":
        file.block(3, b"")
    elif kind == "too short for an interface":
        file.block(1, b"abcd")
    elif kind == "too short for a section":
        file.block(0x0A0D0D0A, struct.pack("<I", 0x1A2B3C4D))
    elif kind == "block of 8 bytes":
        file.out.append(struct.pack("<II", 0x1234, 8))
    elif kind == "huge block":
        file.out.append(struct.pack("<II", 6, 0x7FFFFFFF))
    elif kind == "section without magic":
        file.block(0x0A0D0D0A, bytes(16))
    else:
        assert kind == "section of version 2"
        file.section(version=2)
    return struct.pack("<I", size) + file.enhanced(PACKETS[3]).bytes()


@pytest.mark.parametrize(
    "kind",
    [
        "two lengths",
        "two lengths of an interface",
        "two lengths of a section",
        "undeclared interface",
        "undeclared interface, obsolete",
        "interface of the section before",
        "simple before any interface",
        "packet longer than its block",
        "packet of 4 GiB",
        "too short for a packet block",
        "too short for an obsolete one",
        "too short for a simple one",
        "too short for an interface",
        "too short for a section",
        "block of 8 bytes",
        "huge block",
        "section without magic",
        "section of version 2",
    ],
)
def test_a_damaged_block_ends_the_reading_with_one_warning(kind: str) -> None:
    data = broken(kind)
    offset = struct.unpack("<I", data[:4])[0]
    found = read_bytes(data[4:])
    assert found.data == PACKETS[:2]
    (warning,) = found.warnings
    assert f"damaged at byte offset {offset}: " in warning
    assert "2 frames before it were read, the rest was not" in warning


def test_a_pcapng_cut_at_every_byte() -> None:
    blocks = Pcapng().interface().enhanced(PACKETS[1]).block(0x1234, b"abcd").interface(ETHERNET).simple(PACKETS[2]).out
    data = b"".join(blocks)
    ends = [sum(map(len, blocks[:i])) for i in range(len(blocks) + 1)]
    for cut in range(len(data)):
        if cut < 28:
            with pytest.raises(CaptureError, match="cut inside its section header" if cut else "empty"):
                read_bytes(data[:cut])
            continue
        found = read_bytes(data[:cut])
        assert found.data == [p for p, at in ((PACKETS[1], 3), (PACKETS[2], 6)) if ends[at] <= cut]
        if cut in ends:
            assert not found.warnings
        else:
            (warning,) = found.warnings
            assert f"at byte offset {max(e for e in ends if e <= cut)} " in warning


def test_interfaces_without_end_are_damage_not_memory() -> None:
    block = Pcapng().interface().out[1]
    found = read_bytes(Pcapng().bytes() + block * (framing.MAX_INTERFACES + 10))
    (warning,) = found.warnings
    assert f"more than {framing.MAX_INTERFACES} interfaces" in warning


def test_numbers_of_interfaces_stay_bounded() -> None:
    reader = Reader([os.devnull])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(containers, "MAX_INTERFACES", 10)
        numbers = [reader.number(i, i % 3) for i in range(100)]
    assert max(numbers) < 13
    assert all(reader.links[n] == i % 3 for i, n in enumerate(numbers))


# -- gzip ---------------------------------------------------------------------------------------------------------------------------

CAPTURE = pcap([ip4(tcp(bytes((i * j) & 0xFF for j in range(700)), seq=i)) for i in range(300)])


def member(data: bytes, level: int = 6) -> bytes:
    return gzip.compress(data, level, mtime=0)


def test_gzip_whatever_the_name(tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.gz", tmp_path / "packed.pcap"
    plain.write_bytes(CAPTURE)
    packed.write_bytes(member(CAPTURE))
    assert read(plain).frames == read(packed).frames
    assert len(read(packed).frames) == 300
    reader = read(packed).reader
    assert reader is not None
    assert reader.inputs[0].bytes == packed.stat().st_size == reader.total_bytes()


@given(cuts=st.lists(st.integers(0, len(CAPTURE)), max_size=6), padding=st.integers(0, 600))
def test_several_members_and_trailing_zeros(cuts: list[int], padding: int) -> None:
    edges = [0, *sorted(cuts), len(CAPTURE)]
    packed = b"".join(member(CAPTURE[a:b]) for a, b in itertools.pairwise(edges)) + bytes(padding)
    found = read_bytes(packed)
    assert len(found.frames) == 300
    assert not found.warnings


def test_members_that_end_anywhere_in_a_read() -> None:
    packed = b"".join(member(CAPTURE[a : a + 5000]) for a in range(0, len(CAPTURE), 5000))
    with pytest.MonkeyPatch.context() as patch:
        for size in (1, 2, 3, 7, 100):
            patch.setattr(gz.Gunzip, "PIECE", size)
            found = read_bytes(packed)
            assert len(found.frames) == 300
            assert not found.warnings


def test_junk_behind_a_gzip_stream() -> None:
    found = read_bytes(member(CAPTURE) + b"\0\0junk")
    assert len(found.frames) == 300
    (warning,) = found.warnings
    assert "bytes behind the gzip stream that are no gzip" in warning


def inflated(packed: bytes) -> bytes:
    """What zlib can make of the start of a gzip member."""
    return zlib.decompressobj(wbits=31).decompress(packed)


def test_a_gzip_cut_at_every_byte() -> None:
    data = pcap(PACKETS[:6])
    packed = member(data)
    for cut in range(len(packed)):
        if len(inflated(packed[:cut])) < 24:
            with pytest.raises(CaptureError, match=("empty", "neither pcap", "looks like gzip but")[min(cut, 2)]):
                read_bytes(packed[:cut])
            continue
        found = read_bytes(packed[:cut])
        have = len(inflated(packed[:cut]))
        expected = read_bytes(data[:have])
        assert found.frames == expected.frames
        (warning,) = found.warnings
        before = len(found.frames)
        said = f"the gzip stream ends early after {have} bytes; {plural(before, 'frame')} before it {'was' if before == 1 else 'were'} read"
        assert said in warning


def test_a_gzip_of_several_reads_cut_at_some_bytes() -> None:
    packed = member(CAPTURE)
    with small_buffers():
        for cut in range(40, len(packed), 1009):
            have = len(inflated(packed[:cut]))
            if have >= 28:
                assert len(read_bytes(packed[:cut]).frames) == (have - 24) // 756


@pytest.mark.parametrize("end", [b"\xff\xff\xff\xff", b""])
def test_a_wrong_checksum_costs_no_frame(end: bytes) -> None:
    packed = member(CAPTURE)
    bad = packed[:-8] + (bytes(8) if not end else packed[-8:-4] + end)
    found = read_bytes(bad)
    assert len(found.frames) == 300
    (warning,) = found.warnings
    assert (
        f"damaged gzip data (Error -3 while decompressing data: incorrect {'length' if end else 'data'} check) after {len(CAPTURE)} bytes"
        in warning
    )


def test_gzip_damaged_in_the_middle_keeps_what_stands_before() -> None:
    deflate = zlib.compressobj(wbits=31)
    first = deflate.compress(CAPTURE[:150_000]) + deflate.flush(zlib.Z_FULL_FLUSH)  # the next block starts at a byte of its own
    second = deflate.compress(CAPTURE[150_000:]) + deflate.flush()
    assert len(read_bytes(first + second).frames) == 300
    found = read_bytes(first + b"\x07" + second[1:])  # a block of type 3, which does not exist
    assert found.frames == read_bytes(CAPTURE).frames[: (150_000 - 24) // 756]
    (warning,) = found.warnings
    assert "damaged gzip data (Error -3 while decompressing data: invalid block type) after 150000 bytes" in warning


def test_what_only_starts_like_gzip() -> None:
    for data in (
        b"\x1f\x8b",
        b"\x1f\x8b\x08",
        b"\x1f\x8bnot gzip at all, by far",
        member(CAPTURE)[:10],
        member(CAPTURE)[:10] + b"\xff" * 50,
    ):
        with pytest.raises(CaptureError, match=r"looks like gzip but is not or is damaged .* is it really a \.gz file"):
            read_bytes(data)
    with pytest.raises(CaptureError, match="empty"):
        read_bytes(member(b""))
    with pytest.raises(CaptureError, match="looks like text"):
        read_bytes(member(b"a text in gzip, longer than a header is"))
    with pytest.raises(CaptureError, match="cut inside its 24-byte file header"):
        read_bytes(member(CAPTURE[:20]))


@given(data=st.data())
def test_any_damage_to_gzip_is_an_error_of_ours_or_a_warning(data: st.DataObject) -> None:
    packed = bytearray(member(pcap(PACKETS)))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(NetlensError):
        read_bytes(bytes(packed))


def content(path: Path, room: int) -> tuple[bytes, str | None]:
    """All that is made of a gzip file, taken ``room`` bytes at a time, and what ended it early."""
    with open(path, "rb", buffering=0) as file:
        head = file.read(4)
        stream = streams.Stream(str(path), file, keep=True)
        stream.raw_bytes = len(head)
        gunzip, made, buffer = gz.Gunzip(stream, head), b"", bytearray(room)
        assert (gunzip.quick is None) == (gz.isal() is None)
        try:
            while size := gunzip.fill(memoryview(buffer)):
                made += buffer[:size]
        except CaptureError as error:
            return made, str(error)
        return made, stream.cut


def block(data: bytes) -> bytes:
    """A block of BGZF, as bgzip makes them (SAM specification 4.1)."""
    packed = zlib.compress(data, wbits=-15)
    head = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff" + struct.pack("<H2sHH", 6, b"BC", 2, len(packed) + 25)
    return head + packed + struct.pack("<II", zlib.crc32(data), len(data))


BLOCKS = [block(CAPTURE[a : a + 9000]) for a in range(0, len(CAPTURE), 9000)]


def on_threads(path: Path, threads: int, room: int) -> tuple[bytes, str | None] | str:
    with pytest.MonkeyPatch.context() as patch:
        for module in (gz, netlens.threads):
            patch.setattr(module, "cores", lambda: threads)
        try:
            return content(path, room)
        except CaptureError as error:
            return str(error)


@pytest.mark.parametrize("room", [100, 20_000, 100_000, 1 << 20])
def test_blocks_that_threads_inflate_are_those_of_one(tmp_path: Path, room: int) -> None:
    path = tmp_path / "c"
    others = [b"", block(b""), bytes(40), b"junk", member(CAPTURE[:700]) + BLOCKS[0]]
    damaged = [
        BLOCKS[k][:at] + b"\xa5" + BLOCKS[k][at + 1 :]
        for k in (0, 1, 7, len(BLOCKS) - 1)
        for at in (3, 11, 17, 300, len(BLOCKS[k]) - 7, len(BLOCKS[k]) - 2)
    ]
    for ending in [*others, *damaged, BLOCKS[3][:-1], BLOCKS[3][:20]]:
        for packed in (b"".join(BLOCKS) + ending, b"".join(BLOCKS[:9]) + ending + b"".join(BLOCKS[9:])):
            path.write_bytes(packed)
            assert on_threads(path, 3, room) == on_threads(path, 1, room)


def test_what_bgzip_writes(tmp_path: Path) -> None:
    bgzip = shutil.which("bgzip") or pytest.skip("bgzip is not installed")
    path = tmp_path / "c"
    path.write_bytes(CAPTURE * 5)
    path.write_bytes(subprocess.run([bgzip, "-c", path], capture_output=True, check=True).stdout)
    inflated_by: set[str] = set()
    whole = gz.Gunzip._inflated

    def noted(self: gz.Gunzip, blocks: list[memoryview]) -> Iterator[bytes]:
        inflated_by.add("threads" if blocks else "one")
        return whole(self, blocks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gz.Gunzip, "_inflated", noted)
        assert on_threads(path, 2, 1 << 20) == (CAPTURE * 5, None)
    assert "threads" in inflated_by


@given(data=st.data())
def test_isal_and_zlib_make_the_same_of_members_damaged_anywhere(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    rng = random.Random(data.draw(st.integers(0, 1 << 30)))
    packed = bytearray()
    for _ in range(data.draw(st.integers(1, 3))):
        plain = rng.randbytes(rng.randrange(1, 2000)) + bytes(rng.randrange(5000)) + CAPTURE[: rng.randrange(20_000)]
        packed += member(plain, rng.choice([1, 6, 9]))
    packed += bytes(data.draw(st.sampled_from([0, 0, 5]))) + data.draw(st.sampled_from([b"", b"", b"junk"]))
    flips = data.draw(st.integers(0, 3))
    for _ in range(flips):
        packed[rng.randrange(10, len(packed))] ^= rng.randrange(1, 256)
    del packed[len(packed) - data.draw(st.sampled_from([0, 0, rng.randrange(len(packed) - 10)])) :]
    path = tmp_path_factory.mktemp("gzip") / "damaged.gz"
    path.write_bytes(packed)
    room, piece = data.draw(st.sampled_from([1000, 1 << 16])), data.draw(st.sampled_from([100, 4096, 1 << 18]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gz.Gunzip, "PIECE", piece)
        assert gz.isal() is not None
        quick, why = content(path, room)
        patch.setattr(gz, "isal", lambda: None)
        careful, why_not = content(path, room)
    common = min(len(quick), len(careful))
    assert quick[:common] == careful[:common]
    assert quick == careful or flips  # ISA-L goes on for a while with some code tables that zlib refuses
    assert (why is None) == (why_not is None)  # of a wrong checksum whose length is cut off, one says the one, one the other


def test_what_stands_before_damage_is_the_same_whatever_room_it_is_taken_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One byte of equal frames holds several of them; what found no room was lost when the next byte was damaged."""
    monkeypatch.setattr(gz, "isal", lambda: None)
    packed, path = member(bytes(24) + bytes(range(60, 132)) * 27, 9), tmp_path / "damaged.gz"
    for at in range(12, len(packed) - 8):
        for flip in (0xFF, 0x01, 0x10):
            path.write_bytes(packed[:at] + bytes([packed[at] ^ flip]) + packed[at + 1 :])
            whole = content(path, 1 << 20)
            assert content(path, 53) == content(path, 101) == whole, (at, flip)


def test_a_member_with_reserved_flags_is_refused() -> None:
    """Also where ISA-L reads, which would take it (RFC 1952 2.3.1.2)."""
    first, second = member(CAPTURE[:100_000]), bytearray(member(CAPTURE[100_000:]))
    second[3] |= 0x40
    found = read_bytes(first + bytes(second))
    assert len(found.frames) == (100_000 - 24) // 756
    (warning,) = found.warnings
    assert "unknown header flags set" in warning


def test_what_is_read_a_second_time_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "late.gz"
    path.write_bytes(member(CAPTURE + CAPTURE[24:] * 19)[:-8] + bytes(8))
    done: list[int] = []
    reader = containers.Reader([path], lambda n, _: done.append(n))
    assert sum(batch.n for batch in reader.batches()) == 20 * 300
    assert "incorrect data check" in reader.inputs[0].warnings[0]
    assert done == sorted(done)
    assert reader.inputs[0].bytes == path.stat().st_size


# -- pipes, growing files, errors, stopping early ---------------------------------------------------------------------------------------


def writer(path: Path, pieces: list[bytes], go: threading.Event | None = None) -> threading.Thread:
    """A thread that opens a named pipe and writes pieces to it, all but the first once ``go`` is set."""

    def run() -> None:
        with contextlib.suppress(BrokenPipeError), open(path, "wb", buffering=0) as pipe:
            for i, piece in enumerate(pieces):
                if i and go is not None:
                    go.wait()
                rest = memoryview(piece)
                while rest:
                    rest = rest[pipe.write(rest) :]

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("packed", [False, True])
def test_a_named_pipe(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    large = pcap(PACKETS * 20_000)
    thread = writer(path, [gzip.compress(large, 1) if packed else large])
    reader = Reader([path])
    assert reader.total_bytes() is None
    assert sum(batch.n for batch in reader.batches()) == len(PACKETS) * 20_000
    thread.join()


def test_a_named_pipe_may_have_no_writer_yet(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = Reader([path])
    waits = threading.Event()
    counts: list[int] = []

    def consume() -> None:
        batches = reader.batches()
        waits.set()
        counts.extend(batch.n for batch in batches)

    consumer = threading.Thread(target=consume)
    consumer.start()
    waits.wait()
    writer(path, [pcap(PACKETS)]).join()
    consumer.join()
    assert counts == [len(PACKETS)]


def test_frames_of_a_live_pipe_come_before_it_ends(tmp_path: Path) -> None:
    """Also a few of them, and a byte at a time: the reader must not wait until a buffer is full."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    go = threading.Event()
    data = pcap(PACKETS)
    thread = writer(path, [data[:200], *(data[i : i + 1] for i in range(200, len(data)))], go)
    seen = []
    for batch in Reader([path]).batches():
        seen.append(batch.n)
        go.set()
    assert len(seen) > 1
    assert sum(seen) == len(PACKETS)
    thread.join()


def test_a_consumer_that_stops_does_not_hang_on_a_silent_writer(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    go = threading.Event()
    thread = writer(path, [pcap(PACKETS), b"never read"], go)
    batches = Reader([path]).batches()
    assert next(batches).n == len(PACKETS)
    batches.close()
    go.set()
    thread.join()


def test_cancel_from_another_thread(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    go = threading.Event()
    thread = writer(path, [pcap(PACKETS), b"never read"], go)
    reader = Reader([path, path])
    counts: list[int] = []
    first = threading.Event()

    def consume() -> None:
        for batch in reader.batches():
            counts.append(batch.n)
            first.set()

    consumer = threading.Thread(target=consume)
    consumer.start()
    first.wait()
    reader.cancel()
    consumer.join()
    assert counts == [len(PACKETS)]
    assert reader.inputs[0].warnings == []
    assert list(reader.batches()) == []
    go.set()
    thread.join()


def test_a_consumer_that_stops_early_on_a_file(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(PACKETS * 3000))
    with small_buffers():
        for taken in (0, 1, 5):
            batches = Reader([path, path], batch=3).batches()
            for _ in range(taken):
                next(batches)
            batches.close()


def test_a_file_that_grows_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(PACKETS * 10))
    with small_buffers():
        frames = 0
        for batch in Reader([path]).batches():
            if not frames:  # three buffers of 96 bytes may have been read, no more
                with path.open("ab") as file:
                    file.write(pcap(PACKETS * 10)[24:])
            frames += batch.n
    assert frames == len(PACKETS) * 20


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that opens and cannot be read exists on Linux only")
def test_errors_of_reading_reach_the_caller() -> None:
    with pytest.raises(CaptureError, match="/proc/self/mem: input/output error"):
        read("/proc/self/mem")


def test_several_files_are_one_stream(tmp_path: Path) -> None:
    ng = Pcapng().interface(ETHERNET).enhanced(PACKETS[5]).bytes()
    found = read_bytes(pcap(PACKETS[:3]), gzip.compress(pcap(PACKETS[3:5], order=">")), ng, pcap([]), pcap(PACKETS[6:]))
    assert found.data == PACKETS
    assert [f[4] for f in found.frames] == [RAW] * 5 + [ETHERNET] + [RAW] * 6
    assert found.reader is not None
    assert [i.frames for i in found.reader.inputs] == [3, 2, 1, 0, 6]
    assert [i.container for i in found.reader.inputs] == ["pcap", "pcap", "pcapng", "pcap", "pcap"]
    frames = decode_bytes(pcap(PACKETS[:3]), pcap(PACKETS[3:])[:-1], batch=2)
    assert [p.frame for p in frames.packets] == list(range(1, len(PACKETS)))
    assert "cut short" in frames.warnings[-1]


def test_progress_is_told_bytes_and_frames(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(PACKETS))
    told: list[tuple[int, int]] = []
    reader = Reader([path, path], lambda done, frames: told.append((done, frames)))
    assert reader.total_bytes() == 2 * path.stat().st_size
    assert sum(batch.n for batch in reader.batches()) == 2 * len(PACKETS)
    assert told == sorted(told)
    assert told[-1] == (2 * path.stat().st_size, 2 * len(PACKETS))


SCRIPT = """
import sys
from netlens.errors import NetlensError
from netlens.wire.containers import Reader
reader = Reader(["-"])
try:
    print(sum(batch.n for batch in reader.batches()), reader.inputs[0].warnings)
except NetlensError as error:
    print(error)
"""


def test_standard_input_through_a_real_pipe(root: Path) -> None:
    for data, says in (
        (pcap(PACKETS * 5000), f"{len(PACKETS) * 5000} []\n"),
        (gzip.compress(pcap(PACKETS)), f"{len(PACKETS)} []\n"),
        (pcap(PACKETS)[:-1], f"{len(PACKETS) - 1} ['standard input: cut short"),
        (b"", "standard input: empty (0 bytes)"),
    ):
        done = subprocess.run([sys.executable, "-c", SCRIPT], input=data, capture_output=True, cwd=root, check=True)
        assert done.stdout.decode().startswith(says)
        assert done.stderr == b""


def test_the_interpreter_ends_while_standard_input_stays_open(root: Path) -> None:
    """A thread that waits inside Python's own buffer would be a fatal error at this moment."""
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=root
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdin.write(b"a text that is no capture, and the writer does not go away")
        child.stdin.flush()
        assert child.wait(60) == 0
        assert b"looks like text" in child.stdout.read()
        assert child.stderr.read() == b""


# -- no bytes break it --------------------------------------------------------------------------------------------------------------------


@given(order=st.sampled_from("<>"), head=st.sampled_from(["pcap", "ng", ""]), rest=st.binary(max_size=400))
def test_any_bytes(order: str, head: str, rest: bytes) -> None:
    start = {"pcap": pcap([], order=order), "ng": Pcapng(order).interface().bytes(), "": b""}[head]
    try:
        found = read_bytes(start + rest)
    except NetlensError:
        assert not head
        return
    assert len(found.warnings) <= 1


@given(data=st.data(), order=st.sampled_from("<>"), ng=st.booleans(), small=st.booleans())
def test_any_damage(data: st.DataObject, order: str, ng: bool, small: bool) -> None:
    if ng:
        file = Pcapng(order).interface(tsresol=9, tsoffset=5, name="eth0").enhanced(PACKETS[1]).simple(PACKETS[2]).interface(ETHERNET)
        whole = bytearray(file.obsolete(PACKETS[3], iface=1).block(5, bytes(12)).section().interface().enhanced(PACKETS[4]).bytes())
    else:
        whole = bytearray(pcap(PACKETS[:5], order=order))
    for _ in range(data.draw(st.integers(0, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with small_buffers() if small else contextlib.nullcontext(), contextlib.suppress(NetlensError):
        found = read_bytes(bytes(whole[:cut]))
        assert len(found.warnings) <= 2  # an absurd time offset is one of its own
        assert sum(len(d) for d in found.data) <= cut


@given(
    lengths=st.lists(st.integers(0, 300), min_size=1, max_size=30), start=st.integers(0, 4_000_000_000), cut=st.sampled_from([None, 40, 60])
)
def test_the_same_packets_in_every_container_give_the_same_rows(lengths: list[int], start: int, cut: int | None) -> None:
    packets = [ip4(tcp(bytes([i]) * length, seq=i * 1000)) for i, length in enumerate(lengths)]
    start_ns = start * 1_000_000_000

    def ng(order: str, resolution: int, obsolete: bool = False) -> bytes:
        file = Pcapng(order).interface(tsresol=resolution)
        for i, p in enumerate(packets):
            units = (start_ns + i * 1_000_000) * 10**resolution // 1_000_000_000
            if obsolete and cut is None:
                file.obsolete(p, units)
            else:
                file.enhanced(p[:cut], units, wire=len(p))
        return file.bytes()

    first = decode_bytes(pcap(packets, start_ns=start_ns, cut=cut))
    assert len(first.packets) == len(packets)
    files = [pcap(packets, start_ns=start_ns, cut=cut, order=order, nano=nano) for order in "<>" for nano in (False, True)]
    files += [ng("<", 6), ng(">", 9), ng("<", 3, obsolete=True), ng(">", 6, obsolete=True)]
    files += [gzip.compress(f, 1) for f in files]
    for file in files:
        assert decode_bytes(file) == first
    half = pcap(packets[: len(packets) // 2], start_ns=start_ns, cut=cut)
    rest = pcap(packets[len(packets) // 2 :], start_ns=start_ns + len(packets) // 2 * 1_000_000, cut=cut)
    assert decode_bytes(half, gzip.compress(rest)) == first
