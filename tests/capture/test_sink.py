"""The sink stores whole records only, however the bytes arrive."""

from __future__ import annotations

import itertools
import stat
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.capture.sink import Sink
from netlens.errors import CaptureError


def pcap(order: str = "<", magic: int = 0xA1B2C3D4, packets: int = 5, size: int = 60) -> bytes:
    out = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, 276)
    for i in range(packets):
        out += struct.pack(order + "IIII", 1000 + i, 7, size, size) + bytes([i]) * size
    return out


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, 12 + len(body)) + body + struct.pack(order + "I", 12 + len(body))


def pcapng(packets: int = 5, order: str = "<") -> tuple[bytes, bytes]:
    """Descriptions and packets of a pcapng with one interface and one of macOS's process blocks."""
    head = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    head += block(1, struct.pack(order + "HHI", 149, 0, 262144), order) + block(0x80000001, struct.pack(order + "I", 42) + b"\0" * 8, order)
    body = b"".join(block(6, struct.pack(order + "IIIII", 0, 0, i, 8, 8) + bytes(8), order) for i in range(packets))
    return head, body


def _feed(data: bytes, cuts: list[int], folder: Path, **options: int) -> Sink:
    sink = Sink(folder, "vm", **options)
    edges = [0, *sorted({c % (len(data) + 1) for c in cuts}), len(data)]
    for low, high in itertools.pairwise(edges):
        sink.feed(data[low:high])
    sink.close()
    return sink


@given(st.sampled_from(["<", ">"]), st.sampled_from([0xA1B2C3D4, 0xA1B23C4D]), st.lists(st.integers(0, 10_000)), st.integers(0, 400))
def test_pcap_in_any_pieces(order: str, magic: int, cuts: list[int], lost: int) -> None:
    data = pcap(order, magic)
    given_bytes = data[: len(data) - min(lost, 5 * 76)]
    whole = (len(given_bytes) - 24) // 76
    with TemporaryDirectory() as folder:
        sink = _feed(given_bytes, cuts, Path(folder))
        assert (Path(folder) / "vm.pcap").read_bytes() == data[: 24 + whole * 76]
        assert sink.packets == whole
        assert sink.cut_bytes == (len(given_bytes) - 24) % 76
        unit = 1 if magic == 0xA1B23C4D else 1000
        assert sink.last_ns == (None if not whole else (1000 + whole - 1) * 10**9 + 7 * unit)


@given(st.sampled_from(["<", ">"]), st.lists(st.integers(0, 10_000)), st.integers(0, 200))
def test_pcapng_in_any_pieces(order: str, cuts: list[int], lost: int) -> None:
    head, body = pcapng(order=order)
    given_bytes = (head + body)[: len(head) + len(body) - lost]
    with TemporaryDirectory() as folder:
        sink = _feed(given_bytes, cuts, Path(folder))
        stored = (Path(folder) / "vm.pcap").read_bytes()
        assert given_bytes.startswith(stored)
        assert len(given_bytes) - len(stored) == sink.cut_bytes < 40
        assert sink.packets == (len(stored) - len(head)) // 40


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_no_bytes_crash_it(data: bytes, cuts: list[int]) -> None:
    with TemporaryDirectory() as folder:
        try:
            sink = _feed(data, cuts, Path(folder))
        except CaptureError:
            return
        assert data.startswith((Path(folder) / "vm.pcap").read_bytes())
        assert sink.packets == 0 or len(data) > 24


def test_rights(tmp_path: Path) -> None:
    sink = _feed(pcap(), [], tmp_path)
    assert stat.S_IMODE(sink.files[0].stat().st_mode) == 0o600


def test_never_writes_over_a_file_or_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "vm.pcap").symlink_to(victim)
    with pytest.raises(CaptureError, match=r"vm\.pcap"):
        Sink(tmp_path, "vm")
    assert victim.read_text() == "precious"


def test_rotation_keeps_the_latest_files_each_with_its_header(tmp_path: Path) -> None:
    data = pcap(packets=20)
    sink = _feed(data, list(range(0, len(data), 40)), tmp_path, rotate_bytes=24 + 5 * 76, keep=2)
    # the fourth file is full as well, so that a fifth has begun
    assert [p.name for p in sink.files] == ["vm-0004.pcap", "vm-0005.pcap"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["vm-0004.pcap", "vm-0005.pcap"]
    assert sink.removed == 3
    assert sink.packets == 20
    assert sink.files[0].read_bytes() == data[:24] + data[24 + 15 * 76 :]
    assert sink.files[1].read_bytes() == data[:24]


def test_rotation_of_pcapng_repeats_the_descriptions(tmp_path: Path) -> None:
    head, body = pcapng(10)
    sink = _feed(head + body, list(range(0, len(head + body), 40)), tmp_path, rotate_bytes=len(head) + 5 * 40)
    assert len(sink.files) >= 2
    assert all(f.read_bytes().startswith(head) for f in sink.files)
    assert b"".join(f.read_bytes()[len(head) :] for f in sink.files) == body


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="not a capture"):
        Sink(tmp_path, "vm").feed(b"Last login: Tue Nov 24 on ttys000")


def test_a_damaged_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="damaged"):
        Sink(tmp_path, "vm").feed(pcap(packets=1) + struct.pack("<IIII", 1, 1, 0x7FFFFFFF, 0))
