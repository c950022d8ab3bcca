"""What the tests of ``wire`` share: captures built byte by byte, read back through the real reader and decoded by the real kernel."""

from __future__ import annotations

import pkgutil
import struct
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from netlens.wire import columns as c
from netlens.wire import decode as d
from netlens.wire.addresses import ip_text
from netlens.wire.containers import Reader
from netlens.wire.fragments import Fragments
from netlens.wire.framing import F_CAP, F_IFACE, F_OFF, F_TS, F_WIRE

RAW, ETHERNET = 101, 1
START_NS = 1_700_000_000_000_000_000


def forms(package: str) -> dict[str, Any]:
    """The FORMS of all modules of a package of tests: frames of one link type, or of one tunnel."""
    modules = [import_module(f"{package}.{found.name}") for found in pkgutil.iter_modules(import_module(package).__path__)]
    return {name: form for module in modules for name, form in module.FORMS.items()}


# -- packets ------------------------------------------------------------------------------------------------------------------------


def tcp(payload: bytes = b"", *, sport: int = 40000, dport: int = 443, seq: int = 1000, ack: int = 0, flags: int = 0x18, options: bytes = b"",
        offset: int | None = None, window: int = 512) -> bytes:  # fmt: skip
    """A TCP segment; ``options`` is padded to 4 bytes, ``offset`` (in words) replaces the true data offset."""
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if offset is None else offset
    return struct.pack(">HHIIHHHH", sport, dport, seq, ack, words << 12 | flags, window, 0, 0) + options + payload


def udp(payload: bytes = b"", *, sport: int = 40000, dport: int = 53, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(payload) if length is None else length, 0) + payload


def ip4(payload: bytes, proto: int = 6, *, src: str = "192.0.2.1", dst: str = "192.0.2.2", total: int | None = None, options: bytes = b"",
        words: int | None = None, ident: int = 0, fragment: int = 0, version: int = 4) -> bytes:  # fmt: skip
    """An IPv4 packet; ``fragment`` is the whole field of flags and offset."""
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if words is None else words
    total = 20 + len(options) + len(payload) if total is None else total
    addresses = bytes(int(p) for p in f"{src}.{dst}".split("."))
    return struct.pack(">BBHHHBBH", version << 4 | words, 0, total, ident, fragment, 64, proto, 0) + addresses + options + payload


SRC6, DST6 = bytes.fromhex("20010db8" + "0" * 23 + "1"), bytes.fromhex("20010db8" + "0" * 23 + "2")


def ip6(payload: bytes, proto: int = 6, *, length: int | None = None, version: int = 6) -> bytes:
    length = len(payload) if length is None else length
    return struct.pack(">IHBB", version << 28, length, proto, 64) + SRC6 + DST6 + payload


MACS = bytes.fromhex("020000000001020000000002")


def ethernet(payload: bytes, kind: int = 0x0800) -> bytes:
    return MACS + struct.pack(">H", kind) + payload


# -- containers ---------------------------------------------------------------------------------------------------------------------


def pcap(packets: Iterable[bytes], link: int = RAW, *, order: str = "<", nano: bool = False, snaplen: int = 262144, cut: int | None = None,
         start_ns: int = START_NS) -> bytes:  # fmt: skip
    """A pcap whose n-th packet (from 0) is n milliseconds after ``start_ns``; ``cut`` keeps that many bytes of each."""
    out = [struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link)]
    for i, packet in enumerate(packets):
        ns = start_ns + i * 1_000_000
        fraction = ns % 1_000_000_000 // (1 if nano else 1000)
        kept = packet[:cut]
        out.append(struct.pack(order + "IIII", ns // 1_000_000_000, fraction, len(kept), len(packet)) + kept)
    return b"".join(out)


def option(code: int, data: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(data)) + data + b"\0" * (-len(data) % 4)


class Pcapng:
    """Blocks of a pcapng, one after the other; ``order`` may change with each section."""

    def __init__(self, order: str = "<"):
        self.order = order
        self.out: list[bytes] = []
        self.section(order)

    def block(self, kind: int, body: bytes, *, size: int | None = None, trailer: int | None = None) -> Pcapng:
        body += b"\0" * (-len(body) % 4)
        size = len(body) + 12 if size is None else size
        trailer = size if trailer is None else trailer
        self.out.append(struct.pack(self.order + "II", kind, size) + body + struct.pack(self.order + "I", trailer))
        return self

    def section(self, order: str | None = None, version: int = 1, options: bytes = b"") -> Pcapng:
        self.order = order or self.order
        return self.block(0x0A0D0D0A, struct.pack(self.order + "IHHq", 0x1A2B3C4D, version, 0, -1) + options)

    def interface(
        self, link: int = RAW, snaplen: int = 0, *, tsresol: int | None = None, tsoffset: int | None = None, name: str = ""
    ) -> Pcapng:
        options = option(2, name.encode(), self.order) if name else b""
        if tsresol is not None:
            options += option(9, bytes([tsresol]), self.order)
        if tsoffset is not None:
            options += option(14, struct.pack(self.order + "q", tsoffset), self.order)
        if options:
            options += b"\0\0\0\0"
        return self.block(1, struct.pack(self.order + "HHI", link, 0, snaplen) + options)

    def enhanced(self, packet: bytes, units: int = START_NS // 1000, iface: int = 0, *, wire: int | None = None, options: bytes = b"",
                 cap: int | None = None, **block: Any) -> Pcapng:  # fmt: skip
        wire, cap = len(packet) if wire is None else wire, len(packet) if cap is None else cap
        head = struct.pack(self.order + "IIIII", iface, units >> 32 & 0xFFFFFFFF, units & 0xFFFFFFFF, cap, wire)
        return self.block(6, head + packet + b"\0" * (-len(packet) % 4) + options, **block)

    def simple(self, packet: bytes, wire: int | None = None) -> Pcapng:
        return self.block(3, struct.pack(self.order + "I", len(packet) if wire is None else wire) + packet)

    def obsolete(self, packet: bytes, units: int = START_NS // 1000, iface: int = 0, drops: int = 0xFFFF) -> Pcapng:
        head = struct.pack(self.order + "HHIIII", iface, drops, units >> 32, units & 0xFFFFFFFF, len(packet), len(packet))
        return self.block(2, head + packet)

    def bytes(self) -> bytes:
        return b"".join(self.out)


# -- reading ------------------------------------------------------------------------------------------------------------------------


@dataclass
class Frames:
    """What the reader found: (bytes, wire length, time, interface number, link type) of each frame."""

    frames: list[tuple[bytes, int, int, int, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    reader: Reader | None = None

    @property
    def data(self) -> list[bytes]:
        return [f[0] for f in self.frames]

    @property
    def times(self) -> list[int]:
        return [f[2] for f in self.frames]

    @property
    def ifaces(self) -> list[int]:
        return [f[3] for f in self.frames]


def read(*paths: str | Path) -> Frames:
    """All frames of the files, each checked to lie inside its buffer."""
    reader = Reader([str(p) for p in paths])
    found = Frames(reader=reader)
    for batch in reader.batches():
        assert batch.frame0 == len(found.frames)
        for f in batch.frames[: batch.n].tolist():
            assert 0 <= f[F_OFF] <= f[F_OFF] + f[F_CAP] <= len(batch.buf)
            link = int(batch.links[f[F_IFACE]]) if f[F_IFACE] >= 0 else -1
            found.frames.append((batch.buf[f[F_OFF] : f[F_OFF] + f[F_CAP]].tobytes(), f[F_WIRE], f[F_TS], f[F_IFACE], link))
    found.warnings = [w for i in reader.inputs for w in i.warnings]
    assert reader.frame == len(found.frames) == sum(i.frames for i in reader.inputs)
    return found


def read_bytes(*captures: bytes) -> Frames:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, capture in enumerate(captures):
            paths.append(Path(folder, f"c{i}"))
            paths[-1].write_bytes(capture)
        return read(*paths)


# -- decoding -----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packet:
    """One packet row, readable."""

    frame: int
    ts: int
    src: str
    dst: str
    sport: int
    dport: int
    kind: int
    length: int
    payload: bytes  # as far as it was captured
    iface: int
    seq: int
    ack: int
    flags: int
    window: int
    tsval: int
    options: int
    hint: int

    @property
    def mss(self) -> int:
        return self.options & 0xFFFF

    @property
    def scale(self) -> int | None:
        value = self.options >> 16 & 0xFF
        return value - 1 if value else None

    @property
    def sack_permitted(self) -> bool:
        return bool(self.options >> 24 & 1)

    @property
    def sack_blocks(self) -> int:
        return self.options >> 25 & 15

    @property
    def dsack(self) -> bool:
        return bool(self.options >> 29 & 1)


def packet(buf: np.ndarray[Any, Any], row: Sequence[int]) -> Packet:
    version, ports = row[c.PORTS] >> 32, row[c.PORTS] & 0xFFFFFFFF
    src, dst = (ip_text(row[i] & (1 << 64) - 1, row[i + 1] & (1 << 64) - 1, version) for i in (c.SRC_HI, c.DST_HI))
    assert 0 <= row[c.PAY_CAP] <= row[c.LENGTH]
    assert row[c.PAY_CAP] == 0 or 0 <= row[c.PAY_OFF] <= row[c.PAY_OFF] + row[c.PAY_CAP] <= len(buf)
    payload = buf[row[c.PAY_OFF] : row[c.PAY_OFF] + row[c.PAY_CAP]].tobytes() if row[c.PAY_CAP] else b""
    return Packet(
        row[c.FRAME], row[c.TS], src, dst, ports >> 16, ports & 0xFFFF, row[c.KIND], row[c.LENGTH], payload, row[c.IFACE], row[c.SEQ],
        row[c.ACK], row[c.FLAGS], row[c.WINDOW], row[c.TSVAL], row[c.OPTIONS], row[c.HINT],
    )  # fmt: skip


@dataclass
class Decoded:
    packets: list[Packet]
    counts: dict[str, int]  # by reason, those that occurred
    first: dict[str, int]  # first frame of each
    warnings: list[str]
    frames: int
    given_up: int

    def exclusive(self) -> int:
        return sum(self.counts.get(name, 0) for name, _ in d.REASONS)


def decode_paths(*paths: str | Path, batch: int = 2048) -> Decoded:
    """Packet rows of captures, datagrams put together from fragments in their place."""
    reader = Reader([str(p) for p in paths], batch=batch)
    rows = np.full((batch, c.WIDTH), -7, np.int64)
    fragment_rows = np.zeros((batch, d.FRAGMENT_WIDTH), np.int64)
    quality = np.zeros((d.N_REASONS, 2), np.int64)
    fragments = Fragments()
    packets: list[Packet] = []
    for b in reader.batches():
        m, n = d.decode(b.buf, b.frames, b.n, b.links, b.frame0, rows, fragment_rows, quality)
        packets += [packet(b.buf, row) for row in rows[:m].tolist()]
        packets += [packet(area, row[0].tolist()) for area, row in fragments.feed(b.buf, fragment_rows[:n], quality)]
    packets.sort(key=lambda p: p.frame)
    names = [name for name, _ in d.REASONS + d.NOTES]
    counts = {name: int(quality[i, 0]) for i, name in enumerate(names) if quality[i, 0]}
    first = {name: int(quality[i, 1]) for i, name in enumerate(names) if quality[i, 0]}
    warnings = [w for i in reader.inputs for w in i.warnings]
    found = Decoded(packets, counts, first, warnings, reader.frame, fragments.given_up + len(fragments.open))
    assert found.exclusive() == found.frames, "every frame is counted under exactly one reason"
    return found


def decode_bytes(*captures: bytes, batch: int = 2048) -> Decoded:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for i, capture in enumerate(captures):
            paths.append(Path(folder, f"c{i}"))
            paths[-1].write_bytes(capture)
        return decode_paths(*paths, batch=batch)


def decode(packets: Iterable[bytes], link: int = RAW, **options: Any) -> Decoded:
    """Decode packets of one link type; ``options`` as for :func:`pcap`."""
    return decode_bytes(pcap(packets, link, **options))


def one(packet_bytes: bytes, link: int = RAW, **options: Any) -> Packet:
    """The one packet row that one frame makes."""
    found = decode([packet_bytes], link, **options)
    assert len(found.packets) == 1, found.counts
    return found.packets[0]


def reason(packet_bytes: bytes, link: int = RAW, **options: Any) -> str:
    """The exclusive reason that one frame is counted under."""
    found = decode([packet_bytes], link, **options)
    return next(name for name, _ in d.REASONS if name in found.counts)
