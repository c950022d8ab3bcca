"""Names of processes that captures carry: PKTAP headers, Darwin's process blocks, comments of packets."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

import netlens
from netlens.wire import processes
from tests.parsers.test_pipeline import ACK, SYN, segment

FRAMES = [
    segment("192.0.2.1", port, "198.51.100.1", 443, SYN if k == 0 else ACK, 1000 * port + k, 0, b"")
    for port in (40001, 40002)
    for k in range(3)
]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def option(code: int, data: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(data)) + data + bytes(-len(data) % 4)


def packet(frame: bytes, options: bytes, order: str = "<") -> bytes:
    header = struct.pack(order + "IIIII", 0, 0x60000, 1, len(frame), len(frame))
    return block(6, header + frame + bytes(-len(frame) % 4) + options, order)


def pcapng(path: Path, told: Callable[[int], bytes], blocks: tuple[bytes, ...] = (), order: str = "<") -> Path:
    head = block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    interface = block(1, struct.pack(order + "HHI", 101, 0, 262144), order)
    path.write_bytes(b"".join([head, interface, *blocks, *(packet(frame, told(k), order) for k, frame in enumerate(FRAMES))]))
    return path


def found(path: Path) -> list[str | None]:
    return netlens.read(path).table("connections")["process"].tolist()


@pytest.mark.parametrize(
    ("comment", "name"),
    [
        ("PID: 12\nCmd: /usr/bin/curl\nArgs: curl https://example.test\nParentPID: 1\nParentCmd: /bin/bash", "curl"),
        ("PID: 12\nCmd: /opt/my agent/bin/agent (deleted)\nArgs: x", "agent"),
        ("PID=12 ProcessName=C:\\tools\\agent.exe", "agent.exe"),
        ("pid=12, comm=opencode", "opencode"),
        ("PID=12", "PID 12"),
        ("a note of somebody's", None),
    ],
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_comments_of_packets(comment: str, name: str | None, order: str, tmp_path: Path) -> None:
    path = pcapng(tmp_path / "a.pcapng", lambda k: option(1, comment.encode(), order) if k < 3 else b"", order=order)
    assert found(path) == [name, None]


def test_darwins_process_blocks(tmp_path: Path) -> None:
    blocks = tuple(block(processes.DARWIN_PROCESS, struct.pack("<I", pid) + option(2, name)) for pid, name in ((7, b"opencode"), (8, b"")))
    path = pcapng(tmp_path / "a.pcapng", lambda k: option(0x8001, struct.pack("<I", k // 3)), blocks)
    assert found(path) == ["opencode", "PID 8"]


def test_a_number_without_its_block_names_nothing(tmp_path: Path) -> None:
    assert found(pcapng(tmp_path / "a.pcapng", lambda _: option(0x8001, struct.pack("<I", 5)))) == [None, None]


def pktap(frame: bytes, name: bytes, effective: bytes = b"") -> bytes:
    header = struct.pack("<III24sIIII", 108, 1, 12, b"en0", 1, 2, 0, 0)
    return header + struct.pack("<i20sIHHi20s", 7, name, 0, 0, 0, 8, effective) + frame


def test_pktap_names_who_works_for_whom(tmp_path: Path) -> None:
    names = [(b"nsurlsessiond", b"opencode"), (b"curl", b"")]
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 258)]
    for k, frame in enumerate(FRAMES):
        data = pktap(frame, *names[k // 3])
        out.append(struct.pack("<IIII", 1, k, len(data), len(data)) + data)
    (tmp_path / "a.pcap").write_bytes(b"".join(out))
    assert found(tmp_path / "a.pcap") == ["opencode", "curl"]


@pytest.mark.parametrize("cut", range(40, 400, 7))
def test_what_is_cut_anywhere_breaks_nothing(cut: int, tmp_path: Path) -> None:
    whole = pcapng(tmp_path / "a.pcapng", lambda _: option(1, b"PID: 12\nCmd: /usr/bin/curl")).read_bytes()
    (tmp_path / "b.pcapng").write_bytes(whole[:cut])
    assert set(processes.of_frames(str(tmp_path / "b.pcapng"), [101], "pcapng", set(range(1, 9))).values()) <= {"curl"}


def test_the_pass_ends_where_packets_name_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pcapng(tmp_path / "a.pcapng", lambda k: option(1, b"PID: 12\nCmd: /usr/bin/curl") if k == 4 else b"")
    assert processes.of_frames(str(path), [101], "pcapng", {5}) == {5: "curl"}
    monkeypatch.setattr(processes, "LOOK", 3)
    assert processes.of_frames(str(path), [101], "pcapng", {5}) == {}
