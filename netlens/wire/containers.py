"""Containers: bytes of a file or pipe to framed records, in batches.

pcap (microseconds and nanoseconds, both byte orders), pcapng (any number of sections and interfaces, if_tsresol, if_tsoffset; enhanced, simple
and obsolete packet blocks), either of them in gzip, from files or standard input. Several files are one stream: frame numbers go on.

How it flows: a reader thread fills buffers of :data:`CHUNK` bytes (``readinto`` and zlib let go of the interpreter lock); the framing kernel
walks record headers of a buffer and yields batches of at most ``BATCH`` frames; what is left of an unfinished record is copied in front of the
next buffer. Memory is a handful of buffers, however long the file is.

A capture that ends inside a record (tcpdump killed, disk full) is normal: everything before it is read and a warning names the byte offset.

Refused, by name: Kuznetzov's modified pcap, other programs' formats, text, empty files, directories.
"""

from __future__ import annotations

import os
import queue
import struct
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numba import njit

from netlens.errors import CaptureError, WireError
from netlens.wire.columns import BATCH

F_OFF, F_CAP, F_WIRE, F_TS, F_IFACE = 0, 1, 2, 3, 4
FRAME_WIDTH = 5

CHUNK = 4 << 20  #: bytes per read: four of them stay in an L3 cache; below 1 MiB the thread hand-over shows
HEADROOM = 512 << 10  #: room before a chunk for the unfinished record of the last one; more than any record of a normal capture
MAX_RECORD = 16 << 20  #: larger records are damage. libpcap's own limit is 256 KiB for network link types; 128 MiB exists for D-Bus only
BUFFERS = 3

MORE, FULL, DAMAGED, BLOCK = 0, 1, 2, 3

# pcapng block types (draft-ietf-opsawg-pcapng)
SHB, IDB, PB, SPB, EPB = 0x0A0D0D0A, 1, 2, 3, 6
# Blocks without a packet that nevertheless have a frame number in Wireshark: systemd journal entries and sysdig events.
NUMBERED_BLOCKS = (0x00000009, 0x00000204, 0x00000208, 0x00000216, 0x00000221)

MAGIC_NAMES = {
    0xA1B2CD34: "a pcap of Alexey Kuznetzov's modified format; convert it with: editcap -F pcap IN OUT",
    0x34CDB2A1: "a pcap of Alexey Kuznetzov's modified format; convert it with: editcap -F pcap IN OUT",
    0xA1B2C34D: "an IXIA lcap file (software time stamps); convert it with: editcap -F pcap IN OUT",
    0x1C0001AC: "an IXIA lcap file; convert it with: editcap -F pcap IN OUT",
    0x1C0001AB: "an IXIA lcap file; convert it with: editcap -F pcap IN OUT",
    0x736E6F6F: "a snoop file; convert it with: editcap -F pcap IN OUT",
    0x28B52FFD: "compressed with zstd; decompress it first: zstd -dc IN | netlens ... -",
    0xFD377A58: "compressed with xz; decompress it first: xz -dc IN | netlens ... -",
    0x425A6839: "compressed with bzip2; decompress it first: bzip2 -dc IN | netlens ... -",
    0x04224D18: "compressed with lz4; decompress it first: lz4 -dc IN | netlens ... -",
    0x504B0304: "a zip archive; unpack it first",
}


@njit(cache=True, nogil=True)
def _get32(buf, o, big):
    a, b, c, d = np.int64(buf[o]), np.int64(buf[o + 1]), np.int64(buf[o + 2]), np.int64(buf[o + 3])
    if big:
        return a << 24 | b << 16 | c << 8 | d
    return d << 24 | c << 16 | b << 8 | a


@njit(cache=True, nogil=True)
def frame_pcap(buf, pos, end, big, unit_ns, max_record, iface, frames):
    """Walk pcap records of ``buf[pos:end]``; returns (frames written, new position, status)."""
    n = 0
    while n < frames.shape[0]:
        if pos + 16 > end:
            return n, pos, MORE
        cap = _get32(buf, pos + 8, big)
        if cap > max_record:
            return n, pos, DAMAGED
        if pos + 16 + cap > end:
            return n, pos, MORE
        f = frames[n]
        f[F_OFF] = pos + 16
        f[F_CAP] = cap
        f[F_WIRE] = _get32(buf, pos + 12, big)
        f[F_TS] = _get32(buf, pos, big) * 1_000_000_000 + _get32(buf, pos + 4, big) * unit_ns
        f[F_IFACE] = iface
        n += 1
        pos += 16 + cap
    return n, pos, FULL


@njit(cache=True, nogil=True)
def _units_to_ns(high, low, kind, value):
    """A pcapng time stamp in ns; ``kind`` 0: units * value, 1: units // value, 2: units of 2**-value s."""
    units = high << 32 | low
    if kind == 0:
        return units * value
    if kind == 1:
        return units // value
    if value > 62:
        return np.int64(0)
    seconds = units >> value
    fraction = units & ((np.int64(1) << value) - 1)
    shift = value
    if shift > 30:
        fraction >>= shift - 30
        shift = np.int64(30)
    return seconds * 1_000_000_000 + ((fraction * 1_000_000_000) >> shift)


@njit(cache=True, nogil=True)
def frame_pcapng(buf, pos, end, big, interfaces, base, n_interfaces, max_record, frames):
    """Walk pcapng blocks of ``buf[pos:end]``; returns (frames written, new position, status).

    interfaces : int64[:, 5] of link type, time kind, time value, time offset in s, snaplen; those of this section start at row ``base``.
    Stops with BLOCK in front of a section header or an interface description, which Python reads.
    """
    n = 0
    while n < frames.shape[0]:
        if pos + 12 > end:
            return n, pos, MORE
        kind = _get32(buf, pos, big)
        if kind == SHB:  # a palindrome: the same in both byte orders; its length may be in the other one
            return n, pos, BLOCK
        size = _get32(buf, pos + 4, big)
        if size < 12 or size > max_record + 64:
            return n, pos, DAMAGED
        size = (size + 3) & ~np.int64(3)
        if pos + size > end:
            return n, pos, MORE
        if kind == IDB:
            return n, pos, BLOCK
        f = frames[n]
        if kind == EPB:
            if size < 32:
                return n, pos, DAMAGED
            iface = _get32(buf, pos + 8, big)
            cap = _get32(buf, pos + 20, big)
            if iface >= n_interfaces or cap > size - 32:
                return n, pos, DAMAGED
            row = interfaces[base + iface]
            f[F_OFF] = pos + 28
            f[F_CAP] = cap
            f[F_WIRE] = _get32(buf, pos + 24, big)
            f[F_TS] = _units_to_ns(_get32(buf, pos + 12, big), _get32(buf, pos + 16, big), row[1], row[2]) + row[3] * 1_000_000_000
            f[F_IFACE] = base + iface
            n += 1
        elif kind == SPB:
            if size < 16 or n_interfaces == 0:
                return n, pos, DAMAGED
            wire = _get32(buf, pos + 8, big)
            cap = min(wire, size - 16)
            if interfaces[base, 4] > 0:
                cap = min(cap, interfaces[base, 4])
            f[F_OFF] = pos + 12
            f[F_CAP] = cap
            f[F_WIRE] = wire
            f[F_TS] = 0  # a simple packet block has no time
            f[F_IFACE] = base
            n += 1
        elif kind == PB:
            if size < 32:
                return n, pos, DAMAGED
            pair = _get32(buf, pos + 8, big)
            iface = pair >> 16 if big else pair & 0xFFFF
            cap = _get32(buf, pos + 20, big)
            if iface >= n_interfaces or cap > size - 32:
                return n, pos, DAMAGED
            row = interfaces[base + iface]
            f[F_OFF] = pos + 28
            f[F_CAP] = cap
            f[F_WIRE] = _get32(buf, pos + 24, big)
            f[F_TS] = _units_to_ns(_get32(buf, pos + 12, big), _get32(buf, pos + 16, big), row[1], row[2]) + row[3] * 1_000_000_000
            f[F_IFACE] = base + iface
            n += 1
        elif kind == 0x9 or kind == 0x204 or kind == 0x208 or kind == 0x216 or kind == 0x221:
            f[F_OFF] = pos
            f[F_CAP] = 0
            f[F_WIRE] = 0
            f[F_TS] = 0
            f[F_IFACE] = -1
            n += 1
        pos += size
    return n, pos, FULL


@dataclass
class Batch:
    """At most ``BATCH`` frames of one buffer. Valid until the next batch is asked for."""

    buf: np.ndarray[Any, Any]  # uint8
    frames: np.ndarray[Any, Any]  # int64[n, FRAME_WIDTH]
    n: int
    links: np.ndarray[Any, Any]  # int64, link type by interface
    frame0: int  # number of the frame before the first


@dataclass
class Input:
    """What was learned of one input while it was read."""

    path: str
    container: str = ""
    bytes: int = 0
    frames: int = 0
    snaplen: int = 0
    link_types: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Stream:
    """Bytes of one input through a reader thread; ``gzip`` is undone on the way."""

    def __init__(self, name: str, file: BinaryIO):
        self.name = name
        self.file = file
        self.full: queue.Queue[tuple[np.ndarray[Any, Any] | None, int, BaseException | None]] = queue.Queue()
        self.empty: queue.Queue[np.ndarray[Any, Any] | None] = queue.Queue()
        for _ in range(BUFFERS):
            self.empty.put(np.empty(HEADROOM + CHUNK, np.uint8))
        self.raw_bytes = 0
        self.stopped = False
        self.thread = threading.Thread(target=self._run, name="netlens-reader", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            fill = self._plain()
            while not self.stopped:
                buffer = self.empty.get()
                if buffer is None:
                    return
                size = fill(memoryview(buffer.data)[HEADROOM:])
                self.full.put((buffer, size, None))
                if size == 0:
                    return
        except BaseException as error:  # noqa: BLE001 -- handed to the consumer, who raises it there
            self.full.put((None, 0, error))

    def _plain(self) -> Callable[[memoryview], int]:
        """The function that fills a buffer: straight from the file, or through zlib if the file starts like gzip."""
        head = b""
        while len(head) < 4:
            piece = self.file.read(4 - len(head))
            if not piece:
                break
            head += piece
        self.raw_bytes += len(head)
        if head[:2] == b"\x1f\x8b":
            return self._gunzip(head)
        rest = memoryview(head)

        def fill(room: memoryview) -> int:
            nonlocal rest
            if len(rest):
                size = len(rest)
                room[:size] = rest
                rest = rest[:0]
                return size
            size = self.file.readinto(room) or 0  # type: ignore[attr-defined]
            self.raw_bytes += size
            return size

        return fill

    def _gunzip(self, head: bytes) -> Callable[[memoryview], int]:
        inflate = zlib.decompressobj(wbits=31)
        pending = head
        done = False
        produced = 0

        def fill(room: memoryview) -> int:
            nonlocal inflate, pending, done, produced
            filled = 0
            while filled < len(room) and not done:
                if not pending:
                    pending = self.file.read(1 << 18)
                    self.raw_bytes += len(pending)
                    if not pending:
                        done = True
                        if not inflate.eof:
                            raise _Cut(filled, "the gzip stream ends early")
                        break
                if inflate.eof:
                    if pending[:2] != b"\x1f\x8b":  # padding or junk behind the last member, as gzip(1) ignores zeros
                        done = True
                        if pending.strip(b"\0"):
                            raise _Cut(filled, "bytes behind the gzip stream that are no gzip")
                        break
                    inflate = zlib.decompressobj(wbits=31)
                try:
                    data = inflate.decompress(pending, len(room) - filled)
                except zlib.error as error:
                    if produced + filled == 0:
                        raise CaptureError(
                            f"{self.name}: starts like gzip but is none or is damaged ({error}); is it really a .gz file?"
                        ) from None
                    raise _Cut(filled, f"damaged gzip data ({error})") from None
                pending = inflate.unconsumed_tail if not inflate.eof else inflate.unused_data
                room[filled : filled + len(data)] = data
                filled += len(data)
            produced += filled
            return filled

        def guarded(room: memoryview) -> int:
            nonlocal done
            if self.cut is not None:
                return 0
            try:
                return fill(room)
            except _Cut as cut:
                done = True
                self.cut = cut.why
                return cut.filled

        return guarded

    cut: str | None = None

    def buffers(self) -> Iterator[tuple[np.ndarray[Any, Any], int]]:
        """(buffer, bytes); the data starts at HEADROOM. Give the buffer back with ``give_back``."""
        while True:
            buffer, size, error = self.full.get()
            if error is not None:
                raise error
            assert buffer is not None
            if size == 0:
                return
            yield buffer, size

    def give_back(self, buffer: np.ndarray[Any, Any]) -> None:
        if len(buffer) == HEADROOM + CHUNK:
            self.empty.put(buffer)
        else:  # a grown one: its place is taken by a fresh one of the normal size
            self.empty.put(np.empty(HEADROOM + CHUNK, np.uint8))

    def close(self) -> None:
        self.stopped = True
        self.empty.put(None)


class _Cut(Exception):
    def __init__(self, filled: int, why: str):
        super().__init__(why)
        self.filled = filled
        self.why = why


class Reader:
    """Frames of one or several captures, in order.

    Parameters
    ----------
    paths : paths of captures, or "-" for standard input; read in the order given, as one stream.
    progress : called with (bytes read so far of all inputs, frames) after each chunk.

    Raises
    ------
    CaptureError
        an input cannot be opened or is no capture.
    WireError
        an input is a capture of a kind that netlens refuses, or its first bytes are damaged.
    """

    def __init__(self, paths: Iterable[str | os.PathLike[str]], progress: Callable[[int, int], None] | None = None, batch: int = BATCH):
        self.paths = [os.fspath(p) for p in paths]
        if not self.paths:
            raise CaptureError("no capture was named; give one or more files, or - for standard input")
        self.progress = progress
        self.inputs: list[Input] = []
        self.interfaces = np.zeros((0, 5), np.int64)
        self.frame = 0
        self.frames = np.zeros((batch, FRAME_WIDTH), np.int64)
        self._done_bytes = 0
        for path in self.paths:  # all of them before the first is read: a misspelt third file is told at once
            if path != "-":
                _check(path)

    def total_bytes(self) -> int | None:
        """Bytes of all inputs as they lie on disk; None if one is a pipe."""
        try:
            sizes = [os.stat(p).st_size if p != "-" and Path(p).is_file() else -1 for p in self.paths]
        except OSError:
            return None
        return None if -1 in sizes else sum(sizes)

    def batches(self) -> Iterator[Batch]:
        for path in self.paths:
            info = Input(path)
            self.inputs.append(info)
            file: BinaryIO
            if path == "-":
                file = sys.stdin.buffer
                info.path = "standard input"
            else:
                try:
                    file = open(path, "rb", buffering=0)
                except OSError as error:
                    raise CaptureError(f"{path}: {_why(error)}") from None
            stream = _Stream(info.path, file)
            try:
                yield from self._one(stream, info)
            except OSError as error:
                raise CaptureError(f"{info.path}: {_why(error)}") from None
            finally:
                stream.close()
                info.bytes = stream.raw_bytes
                self._done_bytes += stream.raw_bytes
                if path != "-":
                    stream.thread.join()
                    file.close()

    def _one(self, stream: _Stream, info: Input) -> Iterator[Batch]:
        walk: _Pcap | _Pcapng | None = None
        offset = 0  # of the first byte of ``buffer[start]`` in the (uncompressed) stream
        left = np.empty(0, np.uint8)
        for buffer, size in stream.buffers():
            start, end = HEADROOM, HEADROOM + size
            if len(left):
                if len(left) > HEADROOM:
                    grown = np.empty(len(left) + size, np.uint8)
                    grown[: len(left)] = left
                    grown[len(left) :] = buffer[start:end]
                    stream.give_back(buffer)
                    buffer, start, end = grown, 0, len(grown)
                else:
                    buffer[start - len(left) : start] = left
                    start -= len(left)
            if walk is None:
                if end - start < 28 and size:  # a pcap header and the next four bytes, or a whole section header block
                    left = buffer[start:end].copy()
                    stream.give_back(buffer)
                    continue
                walk = _open(info, buffer[start:end])
            pos, status = start, FULL
            while status == FULL:
                n, new, status, links = walk.step(self, buffer, pos, end)
                if n:
                    yield Batch(buffer, self.frames, n, links, self.frame)
                    self.frame += n
                    info.frames += n
                offset += new - pos
                pos = new
            left = buffer[pos:end].copy()
            stream.give_back(buffer)
            if self.progress:
                self.progress(self._done_bytes + stream.raw_bytes, self.frame)
            if status == DAMAGED:
                info.warnings.append(
                    f"{info.path}: damaged at byte offset {offset}: {walk.damage(left)}; "
                    f"{info.frames} frames before it were read, the rest was not"
                )
                return
        if walk is None:
            walk = _open(info, left)  # raises: too short for any header
        if stream.cut:
            info.warnings.append(f"{info.path}: {stream.cut} after {offset + len(left)} bytes; {info.frames} frames before it were read")
        if len(left):
            info.warnings.append(
                f"{info.path}: cut short in the middle of a record at byte offset {offset} ({len(left)} bytes of it are there); "
                f"{info.frames} frames before it were read"
            )
        if self.progress:
            self.progress(self._done_bytes + stream.raw_bytes, self.frame)

    def add_interface(self, link: int, kind: int, value: int, offset: int, snaplen: int) -> None:
        self.interfaces = np.vstack([self.interfaces, np.array([[link, kind, value, offset, snaplen]], np.int64)])


class _Pcap:
    def __init__(self, info: Input, head: bytes):
        order = {
            b"\xd4\xc3\xb2\xa1": ("<", 1000),
            b"\x4d\x3c\xb2\xa1": ("<", 1),
            b"\xa1\xb2\xc3\xd4": (">", 1000),
            b"\xa1\xb2\x3c\x4d": (">", 1),
        }
        byte_order, self.unit_ns = order[head[:4]]
        self.big = byte_order == ">"
        major, _minor, _zone, _sigfigs, snaplen, network = struct.unpack(byte_order + "HHiIII", head[4:24])
        if major != 2:
            raise WireError(f"{info.path}: pcap version {major} is unknown (2 is); is the file damaged?")
        info.container = "pcap" if self.unit_ns == 1000 else "pcap (ns)"
        info.snaplen = snaplen
        self.link = network & 0x03FFFFFF  # the upper bits hold the length of the frame check sequence
        info.link_types.append(self.link)
        self.snaplen = snaplen
        # libpcap takes records up to its own maximum whatever the header says; a header that says more is believed up to our limit
        self.max_record = max(262144, snaplen if snaplen <= MAX_RECORD else 0)
        self.iface = -1
        self.head = 24

    def step(self, reader: Reader, buffer: np.ndarray[Any, Any], pos: int, end: int) -> tuple[int, int, int, np.ndarray[Any, Any]]:
        if self.iface < 0:
            self.iface = len(reader.interfaces)
            reader.add_interface(self.link, 0, self.unit_ns, 0, self.snaplen)
        head, self.head = self.head, 0
        n, new, status = frame_pcap(buffer, pos + head, end, self.big, self.unit_ns, self.max_record, self.iface, reader.frames)
        return n, new, status, reader.interfaces[:, 0]

    def damage(self, left: np.ndarray[Any, Any]) -> str:
        cap = struct.unpack_from(">I" if self.big else "<I", left.tobytes()[:12], 8)[0]
        return f"a record claims {cap} bytes (at most {self.max_record} are possible here)"


class _Pcapng:
    def __init__(self, info: Input, head: bytes):
        info.container = "pcapng"
        self.info = info
        self.big = False
        self.base = 0
        self.count = 0
        self.problem = ""

    def step(self, reader: Reader, buffer: np.ndarray[Any, Any], pos: int, end: int) -> tuple[int, int, int, np.ndarray[Any, Any]]:
        n, new, status = frame_pcapng(buffer, pos, end, self.big, reader.interfaces, self.base, self.count, MAX_RECORD, reader.frames)
        if status == BLOCK and n == 0:
            new, status = self._block(reader, buffer, new, end)
        elif status == BLOCK:
            status = FULL  # hand the frames over first, then come back for the block
        return n, new, status, reader.interfaces[:, 0]

    def _block(self, reader: Reader, buffer: np.ndarray[Any, Any], pos: int, end: int) -> tuple[int, int]:
        section = buffer[pos : pos + 4].tobytes() == b"\n\r\r\n"
        if section:
            magic = buffer[pos + 8 : pos + 12].tobytes()
            if magic not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
                self.problem = "a section header without its byte-order magic"
                return pos, DAMAGED
            self.big = magic == b"\x1a\x2b\x3c\x4d"
        order = ">" if self.big else "<"
        size = struct.unpack(order + "I", buffer[pos + 4 : pos + 8].tobytes())[0]
        if size < (28 if section else 20) or size > MAX_RECORD:
            self.problem = f"a {'section header' if section else 'interface description'} block of {size} bytes"
            return pos, DAMAGED
        size = (size + 3) & ~3
        if pos + size > end:
            return pos, MORE
        body = buffer[pos + 8 : pos + size - 4].tobytes()
        if section:
            self.base, self.count = len(reader.interfaces), 0
        else:
            self._interface(reader, body, order)
        return pos + size, FULL

    def _interface(self, reader: Reader, body: bytes, order: str) -> None:
        link, _reserved, snaplen = struct.unpack(order + "HHI", body[:8])
        kind, value, offset = 0, 1000, 0  # microseconds, unless if_tsresol says otherwise
        p = 8
        while p + 4 <= len(body):
            code, size = struct.unpack(order + "HH", body[p : p + 4])
            data = body[p + 4 : p + 4 + size]
            if code == 0:
                break
            if code == 9 and len(data) >= 1:
                power = data[0] & 0x7F
                if data[0] & 0x80:
                    kind, value = 2, power
                elif power <= 9:
                    kind, value = 0, 10 ** (9 - power)
                else:
                    kind, value = 1, 10 ** min(power - 9, 18)
            elif code == 14 and len(data) == 8:
                offset = struct.unpack(order + "q", data)[0]
                if abs(offset) > 1 << 33:  # thousands of years: the seconds would not fit int64 nanoseconds
                    self.info.warnings.append(
                        f"{self.info.path}: interface {self.count} has a time offset of {offset} s, ignored as damage"
                    )
                    offset = 0
            p += 4 + ((size + 3) & ~3)
        reader.add_interface(link, kind, value, offset, snaplen)
        self.count += 1
        self.info.snaplen = max(self.info.snaplen, snaplen)
        if link not in self.info.link_types:
            self.info.link_types.append(link)

    def damage(self, left: np.ndarray[Any, Any]) -> str:
        if self.problem:
            return self.problem
        order = ">" if self.big else "<"
        kind, size = struct.unpack(order + "II", left[:8].tobytes())
        return f"a block of type {kind:#x} and {size} bytes that contradicts itself or names an interface that was not described"


def _open(info: Input, data: np.ndarray[Any, Any]) -> _Pcap | _Pcapng:
    head = data[:28].tobytes()
    if not head:
        raise CaptureError(f"{info.path}: empty (0 bytes); was tcpdump stopped before its first packet, or not allowed to capture?")
    if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d"):
        if len(head) < 24:
            raise CaptureError(f"{info.path}: a pcap cut inside its 24-byte file header ({len(head)} bytes); nothing in it can be read")
        return _Pcap(info, head)
    if head[:4] == b"\n\r\r\n":
        if len(head) < 28:
            raise CaptureError(f"{info.path}: a pcapng cut inside its section header ({len(head)} bytes); nothing in it can be read")
        if head[8:12] not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
            raise WireError(f"{info.path}: a pcapng whose section header has no byte-order magic; the file is damaged at byte offset 8")
        return _Pcapng(info, head)
    magic = int.from_bytes(head[:4], "big")
    if magic in MAGIC_NAMES:
        raise WireError(f"{info.path}: {MAGIC_NAMES[magic]}")
    if all(b in b"\t\n\r\f\x1b" or 32 <= b < 127 or b >= 128 for b in head):
        raise CaptureError(f"{info.path}: looks like text, not like a capture; netlens reads pcap and pcapng files (tcpdump -w)")
    raise CaptureError(
        f"{info.path}: neither pcap nor pcapng (starts with {head[:4].hex(' ')}); if Wireshark opens it: editcap -F pcap IN OUT"
    )


def _check(path: str) -> None:
    if os.path.isdir(path):
        raise CaptureError(f"{path}: is a directory, not a capture file")
    try:
        with open(path, "rb", buffering=0) if not _is_pipe(path) else open(os.devnull, "rb"):
            pass
    except OSError as error:
        raise CaptureError(f"{path}: {_why(error)}") from None


def _is_pipe(path: str) -> bool:
    """A named pipe must be opened once only: opening and closing it would end its writer."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return (mode & 0o170000) == 0o010000


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it; captures made with sudo belong to root (try: sudo chown $USER FILE)"
    return (error.strerror or str(error)).lower()
