"""Containers: bytes of a file or pipe to framed records, in batches.

pcap (microseconds and nanoseconds, both byte orders), pcapng (any number of sections and interfaces, if_tsresol, if_tsoffset; enhanced, simple
and obsolete packet blocks), either of them in gzip, from files or standard input. Several files are one stream: frame numbers go on.

How it flows: buffers of :data:`CHUNK` bytes are filled, of gzip and pipes by a reader thread (reading and inflating let go of the interpreter
lock); the framing kernel walks record headers of a buffer and yields batches of at most ``BATCH`` frames; what is left of an unfinished record is
copied in front of the next buffer. Memory is a handful of buffers, however long the file is.

A capture that ends inside a record (tcpdump killed, disk full) is normal: everything before it is read and a warning names the byte offset.

Refused, by name: Kuznetzov's modified pcap, other programs' formats, text, empty files, directories.
"""

from __future__ import annotations

import io
import os
import queue
import select
import stat
import struct
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from netlens.errors import CaptureError, WireError
from netlens.wire.columns import BATCH
from netlens.wire.compiled import lean
from netlens.wire.words import be32, le32

F_OFF, F_CAP, F_WIRE, F_TS, F_IFACE = 0, 1, 2, 3, 4
FRAME_WIDTH = 5

CHUNK = 1 << 20  #: bytes per read: the buffers in use, eight or so, stay in an L3 cache together; below it the thread hand-over shows
HEADROOM = 512 << 10  #: room before a chunk for the unfinished record of the last one; more than any record of a normal capture
MAX_RECORD = 16 << 20  #: larger records are damage. libpcap's own limit is 256 KiB for network link types; 128 MiB exists for D-Bus only
BUFFERS = 3
MAX_INTERFACES = 1 << 16  #: interfaces of one section; real ones have a dozen at most, and more is an attack on memory
#: Sections and interfaces of one input. Files of a rotation that were joined with cat have thousands; each costs 10 microseconds.
MAX_DESCRIPTIONS = 1 << 20
#: Content of a gzip file that is read whatever it is compressed to, and how many times its size it may have beyond that. Deflate can make 1,032 of one;
#: captures become a third to a tenth, those of one silly payload a fiftieth.
GUNZIP_FREE = 256 << 20
GUNZIP_RATIO = 200
LINGER_S = 0.05  #: a pipe gives 64 KiB at a time: how long to wait for more before these are handed on. Live captures lag by this much

MORE, FULL, DAMAGED, BLOCK = 0, 1, 2, 3

GZIP_MAGIC = b"\x1f\x8b"
RESERVED_FLAGS = 0xE0  #: of the fourth byte: a member that has one must be refused (RFC 1952 2.3.1.2)
NO_GZIP = "{}: starts like gzip but is none or is damaged ({}); is it really a .gz file?"

# pcapng block types (draft-ietf-opsawg-pcapng)
SHB, IDB, PB, SPB, EPB = 0x0A0D0D0A, 1, 2, 3, 6
# Blocks without a packet that nevertheless have a frame number in Wireshark: systemd journal entries, sysdig events, custom blocks.
NUMBERED_BLOCKS = (0x00000009, 0x00000204, 0x00000216, 0x00000221, 0x00000BAD, 0x40000BAD)

# One row of the interfaces of a pcapng section: number of the interface among all inputs, time kind, time value, time offset in s, snaplen
I_NUMBER, I_KIND, I_VALUE, I_OFFSET, I_SNAPLEN = 0, 1, 2, 3, 4
INTERFACE_WIDTH = 5

#: First four bytes of a pcap: byte order, nanoseconds per unit of its time stamps' fractions
PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}

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


@lean
def _get32(buf, o, big):
    return be32(buf, o) if big else le32(buf, o)


@lean
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


@lean
def _units_to_ns(high, low, kind, value):
    """A pcapng time stamp in ns; ``kind`` 0: units * value, 1: units // value, 2: units of 2**-value s."""
    units = np.uint64(high) << np.uint64(32) | np.uint64(low)  # tenths of a nanosecond since 1970 fill all 64 bits
    if kind == 0:
        return np.int64(units * np.uint64(value))
    if kind == 1:
        return np.int64(units // np.uint64(value))
    seconds = units >> np.uint64(value) if value < 64 else np.uint64(0)
    fraction = units & ((np.uint64(1) << np.uint64(value)) - np.uint64(1)) if value < 64 else units
    # fraction * 10**9 >> value in two halves, because the product has up to 94 bits
    upper = (fraction >> np.uint64(32)) * np.uint64(1_000_000_000)
    lower = (fraction & np.uint64(0xFFFFFFFF)) * np.uint64(1_000_000_000)
    if value <= 32:
        part = lower >> np.uint64(value)
    else:
        part = (upper + (lower >> np.uint64(32))) >> np.uint64(min(value - 32, 63))
    return np.int64(seconds) * 1_000_000_000 + np.int64(part)


@lean
def frame_pcapng(buf, pos, end, big, interfaces, n_interfaces, max_record, frames):
    """Walk pcapng blocks of ``buf[pos:end]``; returns (frames written, new position, status).

    interfaces : int64[:, INTERFACE_WIDTH], those of this section, of which there are ``n_interfaces``.
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
        size = (size + 3) & ~np.int64(3)  # some writers leave the padding out of the length
        if pos + size > end:
            return n, pos, MORE
        if (_get32(buf, pos + size - 4, big) + 3) & ~np.int64(3) != size:
            return n, pos, DAMAGED
        if kind == IDB:
            return n, pos, BLOCK
        f = frames[n]
        if kind == EPB or kind == PB:
            if size < 32:
                return n, pos, DAMAGED
            iface = _get32(buf, pos + 8, big)
            if kind == PB:  # 16 bits of interface, 16 of drops
                iface = iface >> 16 if big else iface & 0xFFFF
            cap = _get32(buf, pos + 20, big)
            if iface >= n_interfaces or cap > size - 32:
                return n, pos, DAMAGED
            row = interfaces[iface]
            f[F_OFF] = pos + 28
            f[F_CAP] = cap
            f[F_WIRE] = _get32(buf, pos + 24, big)
            time_ns = _units_to_ns(_get32(buf, pos + 12, big), _get32(buf, pos + 16, big), row[I_KIND], row[I_VALUE])
            f[F_TS] = time_ns + row[I_OFFSET] * 1_000_000_000
            f[F_IFACE] = row[I_NUMBER]
            n += 1
        elif kind == SPB:
            if size < 16 or n_interfaces == 0:
                return n, pos, DAMAGED
            wire = _get32(buf, pos + 8, big)
            cap = min(wire, size - 16)
            if interfaces[0, I_SNAPLEN] > 0:
                cap = min(cap, interfaces[0, I_SNAPLEN])
            f[F_OFF] = pos + 12
            f[F_CAP] = cap
            f[F_WIRE] = wire
            f[F_TS] = 0  # a simple packet block has no time
            f[F_IFACE] = interfaces[0, I_NUMBER]
            n += 1
        elif kind in NUMBERED_BLOCKS:
            f[F_OFF] = pos
            f[F_CAP] = 0
            f[F_WIRE] = 0
            f[F_TS] = 0
            f[F_IFACE] = -1
            n += 1
        pos += size
    return n, pos, FULL


def warn_of_overlap(before: Input, info: Input) -> None:
    """Say of an input that it begins before the one before it ended, once."""
    if info.first_ns and info.first_ns < before.last_ns:
        said = (
            f"{info.path}: begins {(before.last_ns - info.first_ns) / 1e9:.3f} s before {before.path} ends; several files are read as one stream "
            "in the order given, which suits the files of one rotated capture only"
        )
        if said not in info.warnings:
            info.warnings.append(said)


@dataclass
class Batch:
    """At most ``BATCH`` frames of one buffer. ``frames`` is valid until the next batch is asked for, ``buf`` as long as the reader holds it."""

    buf: np.ndarray[Any, Any]  # uint8
    frames: np.ndarray[Any, Any]  # int64[n, FRAME_WIDTH]
    n: int
    links: np.ndarray[Any, Any]  # int64, link type by number of interface
    frame0: int  # number of the frame before the first


@dataclass
class Input:
    """What was learned of one input while it was read."""

    path: str
    container: str = ""
    bytes: int = 0
    frames: int = 0
    snaplen: int = 0
    first_ns: int = 0  # time of the first frame that has one; 0: none has
    last_ns: int = 0
    link_types: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class _Stream:
    """Bytes of one input; gzip is undone on the way.

    A plain file is read by whoever asks for its buffers: what was just copied lies in the cache of the core that walks it next. Gzip, and what may
    block, is read by a thread, which owns ``file`` and closes it (unless ``keep``). It never blocks in a read of a pipe: it waits until there is
    something to read or ``close`` was called, so that a caller who stops early does not hang on a writer that is silent.
    """

    def __init__(self, name: str, file: BinaryIO, hold: int = 0, keep: bool = False):
        self.name = name
        self.file = file
        self.keep = keep
        self.hold = hold
        self.held: deque[np.ndarray[Any, Any]] = deque()
        self.cut: str | None = None  # what ended a gzip stream early; valid once ``buffers`` is exhausted
        self.full: queue.Queue[tuple[np.ndarray[Any, Any] | None, int, BaseException | None]] = queue.Queue()
        self.empty: queue.Queue[np.ndarray[Any, Any] | None] = queue.Queue()
        self.raw_bytes = 0
        self.again = 0  # bytes that will be read a second time, and not counted
        self.ended = False
        self.stopped = False
        self.lock = threading.Lock()
        self.poll: select.poll | None = None
        self.wake = self.woken = -1
        fd = _descriptor(file)
        regular = fd >= 0 and stat.S_ISREG(os.fstat(fd).st_mode)
        if fd >= 0 and not regular:
            self.woken, self.wake = os.pipe()
            self.poll = select.poll()
            self.poll.register(fd, select.POLLIN)
            self.poll.register(self.woken, select.POLLIN)
        self.thread: threading.Thread | None = None
        if not regular or _starts_like_gzip(fd):
            self.thread = threading.Thread(target=self._run, name="netlens-reader", daemon=True)
        for _ in range((1 if self.thread is None else BUFFERS) + hold):
            self.empty.put(np.empty(HEADROOM + CHUNK, np.uint8))
        if self.thread is not None:
            self.thread.start()

    def _run(self) -> None:
        try:
            fill = self._begin()
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
        finally:
            if not self.keep:
                self.file.close()

    def _ready(self, timeout_s: float | None) -> bool:
        """Wait until a read would not block; False if time ran out or the consumer stopped."""
        if self.poll is None:
            return True
        ready = self.poll.poll(None if timeout_s is None else max(0, int(timeout_s * 1000)))
        return bool(ready) and not self.stopped

    def _read(self, room: memoryview) -> int:
        """At least one byte into ``room``, or 0 at the end."""
        while not self.ended and self._ready(None):
            size: int | None = self.file.readinto(room)  # type: ignore[attr-defined]
            if size is None:  # somebody set the pipe to non-blocking, and another reader was quicker
                continue
            known = min(size, self.again)
            self.again -= known
            self.raw_bytes += size - known
            self.ended = size == 0
            return size
        self.ended = True
        return 0

    def _begin(self) -> Callable[[memoryview], int]:
        """The function that fills a buffer: straight from the file, or inflated if the file starts like gzip."""
        first = bytearray(4)
        have = 0
        while have < 4 and (size := self._read(memoryview(first)[have:])):
            have += size
        head = bytes(first[:have])
        if head[:2] == GZIP_MAGIC:
            return _Gunzip(self, head).fill
        rest = memoryview(head)

        def fill(room: memoryview) -> int:
            nonlocal rest
            filled = len(rest)
            room[:filled] = rest
            rest = rest[:0]
            if self.poll is None:
                return filled or self._read(room)
            until = time.monotonic() + LINGER_S
            while filled < len(room) and (not filled or self._ready(until - time.monotonic())):
                size = self._read(room[filled:])
                if size == 0:
                    break
                filled += size
            return filled

        return fill

    def buffers(self) -> Iterator[tuple[np.ndarray[Any, Any], int]]:
        """(buffer, bytes); the data starts at HEADROOM. Give the buffer back with ``give_back``."""
        fill = self._begin() if self.thread is None else None
        while not self.stopped:
            error: BaseException | None = None
            if fill is None:
                buffer, size, error = self.full.get()
            elif (buffer := self.empty.get()) is not None:
                size = fill(memoryview(buffer.data)[HEADROOM:])
            if error is not None:
                raise error
            if buffer is None or size == 0:
                return
            yield buffer, size

    def give_back(self, buffer: np.ndarray[Any, Any]) -> None:
        self.held.append(buffer)
        if len(self.held) > self.hold:
            self.empty.put(self.held.popleft())

    def stop(self) -> None:
        """From any thread: let the reader thread and the consumer end, whatever they wait for."""
        with self.lock:
            if not self.stopped:
                self.stopped = True
                self.empty.put(None)
                self.full.put((None, 0, None))
                if self.wake >= 0:
                    os.write(self.wake, b"x")

    def close(self) -> None:
        self.stop()
        if self.thread is not None:
            self.thread.join()
        elif not self.keep:
            self.file.close()
        if self.wake >= 0:
            os.close(self.wake)
            os.close(self.woken)


def _descriptor(file: BinaryIO) -> int:
    try:
        return file.fileno()
    except (OSError, AttributeError, ValueError):  # a file object of the caller's own, in place of standard input
        return -1


def _starts_like_gzip(fd: int) -> bool:
    """Of a plain file, whose position is not moved."""
    try:
        return os.pread(fd, 2, os.lseek(fd, 0, os.SEEK_CUR)) == GZIP_MAGIC
    except OSError:  # told when it is read
        return False


def _isal() -> Any:
    """ISA-L with zlib's interface; None where there is none for this processor."""
    try:
        from isal import isal_zlib
    except ImportError:
        return None
    return isal_zlib


class _Gunzip:
    """The content of gzip members, one behind the other, and of damaged ones all that stands before the damage.

    ISA-L takes half the time of zlib. Neither gives what it made of a piece in which it finds damage, and a checksum is found wrong at the very end.
    So when ISA-L finds any, its member is read once more by zlib, whose state before each piece can be kept, and a piece with damage in it is given to
    that byte by byte. What cannot be read twice (a pipe) is left to zlib from the start.

    Limit: ISA-L takes some damaged code tables that zlib refuses, and notices later. What it made of them until then is handed out.
    """

    PIECE = 1 << 18

    def __init__(self, stream: _Stream, head: bytes):
        self.stream = stream
        self.pending = memoryview(head)
        self.quick = _isal() if isinstance(stream.file, io.FileIO) and stream.file.seekable() else None
        self.produced = 0  # before the buffer that is being filled
        self.member = 0, 0  # where the current member begins: in what was read, and in what was made of it
        self.again = 0  # bytes that were already made of it
        self.careful = False
        self.done = False
        self.inflate = self._new()

    def fill(self, room: memoryview) -> int:
        filled = 0
        if self.produced > max(GUNZIP_FREE, GUNZIP_RATIO * self.stream.raw_bytes):
            self._end(f"its content is more than {GUNZIP_RATIO} times its size (if that is no attack: gzip -dc FILE | netlens ... -)", 0)
        while filled < len(room) and not self.done and not self.stream.stopped:
            if self.inflate.eof and not self._next_member():
                break
            if not self.pending:
                self._more()
            try:
                data = self._some(len(room) - filled)
            except zlib.error as error:
                self._end(f"damaged gzip data ({error})", filled)
                break
            except Exception as error:
                if self.quick is None or not isinstance(error, self.quick.error):
                    raise
                self._once_more(self.produced + filled)
                continue
            if not data and not self.pending and self.stream.ended and not self.inflate.eof:
                self._end("the gzip stream ends early", filled)
                break
            if self.again:
                known = min(self.again, len(data))
                self.again -= known
                data = data[known:]
            room[filled : filled + len(data)] = data
            filled += len(data)
            if self.inflate.eof:
                self.member = self.stream.raw_bytes - len(self.pending), self.produced + filled
        self.produced += filled
        return filled

    def _new(self) -> Any:
        """For the member whose begin is pending."""
        flags = self.pending[3] if len(self.pending) > 3 else RESERVED_FLAGS
        if flags & RESERVED_FLAGS:  # ISA-L takes these
            self.quick = None
        return (self.quick or zlib).decompressobj(wbits=31)

    def _once_more(self, made: int) -> None:
        """Read this member by zlib from its begin; ``made`` bytes were handed out in all."""
        begin, before = self.member
        os.lseek(self.stream.file.fileno(), begin - self.stream.raw_bytes, os.SEEK_CUR)
        self.stream.again, self.stream.ended = self.stream.raw_bytes - begin, False
        self.quick, self.pending, self.again = None, memoryview(b""), made - before
        self.inflate = zlib.decompressobj(wbits=31)

    def _more(self) -> None:
        piece = bytearray(self.PIECE)
        size = self.stream._read(memoryview(piece))
        self.pending = memoryview(bytes(self.pending) + piece[:size])

    def _some(self, limit: int) -> bytes:
        piece = self.pending[:1] if self.careful else self.pending
        before = None if self.careful or self.quick else self.inflate.copy()
        try:
            data = self.inflate.decompress(piece, limit)
        except zlib.error:
            if before is None:
                raise
            self.inflate, self.careful = before, True
            return b""
        rest = self.inflate.unused_data if self.inflate.eof else self.inflate.unconsumed_tail
        self.pending = self.pending[len(piece) - len(rest) :]
        return data

    def _next_member(self) -> bool:
        while len(self.pending) < 4 and not self.stream.ended:
            self._more()
        if bytes(self.pending[:2]) == GZIP_MAGIC:
            self.inflate = self._new()
            return True
        self.done = True
        if bytes(self.pending).strip(b"\0"):  # zeros are padding, as for gzip(1)
            self.stream.cut = "bytes behind the gzip stream that are no gzip"
        return False

    def _end(self, why: str, filled: int) -> None:
        self.done = True
        if self.produced + filled == 0:
            raise CaptureError(NO_GZIP.format(self.stream.name, why))
        self.stream.cut = why


class Reader:
    """Frames of one or several captures, in order.

    Parameters
    ----------
    paths : paths of captures, or "-" for standard input; read in the order given, as one stream.
    progress : called with (bytes read so far of all inputs, frames) after each chunk.
    hold : how many further buffers are read before one is used again; 0: a batch is valid until the next one is asked for.

    Raises
    ------
    CaptureError
        an input cannot be opened or is no capture.
    WireError
        an input is a capture of a kind that netlens refuses, or its first bytes are damaged.
    """

    def __init__(
        self, paths: Iterable[str | os.PathLike[str]], progress: Callable[[int, int], None] | None = None, batch: int = BATCH, hold: int = 0
    ):
        self.paths = [os.fspath(p) for p in paths]
        if not self.paths:
            raise CaptureError("no capture was named; give one or more files, or - for standard input")
        self.progress = progress
        self.hold = hold
        self.inputs: list[Input] = []
        self.links = np.zeros(0, np.int64)
        self._stream: _Stream | None = None
        self._cancelled = False
        self._numbers: dict[tuple[int, int, bytes], int] = {}
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
            if path == "-":
                info.path = "standard input"
                file = _standard_input()
            else:
                try:
                    file = open(path, "rb", buffering=0, opener=_open_at_once)
                except OSError as error:
                    raise CaptureError(f"{path}: {_why(error)}") from None
            stream = self._stream = _Stream(info.path, file, self.hold, keep=path == "-")
            if self._cancelled:
                stream.stop()
            try:
                yield from self._one(stream, info)
            except OSError as error:
                raise CaptureError(f"{info.path}: {_why(error)}") from None
            finally:
                self._stream = None
                stream.close()
                info.bytes = stream.raw_bytes
                self._done_bytes += stream.raw_bytes
            if self._cancelled:
                return

    def cancel(self) -> None:
        """From any thread: ``batches`` ends soon, also if it waits for a pipe that is silent."""
        self._cancelled = True
        if (stream := self._stream) is not None:
            stream.stop()

    def _note_times(self, info: Input, first_ns: int, last_ns: int) -> None:
        """Remember the span of an input; one that begins before the one before it ended is told of: rotated files do not overlap."""
        if not info.first_ns and first_ns:
            info.first_ns = first_ns
            before = self.inputs[-2] if len(self.inputs) > 1 else None
            if before is not None:
                warn_of_overlap(before, info)
        if last_ns:
            info.last_ns = max(info.last_ns or last_ns, last_ns)  # times before 1970 are negative

    def _one(self, stream: _Stream, info: Input) -> Iterator[Batch]:
        walk: _Pcap | _Pcapng | None = None
        offset = 0  # of the first byte of ``left``, which is what has not been walked yet, in the (uncompressed) stream
        left = np.empty(0, np.uint8)
        for lent, size in stream.buffers():
            buffer, start, end = lent, HEADROOM, HEADROOM + size
            if len(left) > HEADROOM:
                buffer, start, end = np.concatenate([left, lent[start:end]]), 0, len(left) + size
            elif len(left):
                start -= len(left)
                buffer[start : start + len(left)] = left
            if walk is None:
                if end - start < 28:  # a pcap header and the next four bytes, or a whole section header block
                    left = buffer[start:end].copy()
                    stream.give_back(lent)
                    continue
                walk = _open(info, buffer[start:end])
            pos, status = start, FULL
            while status == FULL:
                n, new, status = walk.step(self, buffer, pos, end)
                if n:
                    self._note_times(info, int(self.frames[0, F_TS]), int(self.frames[n - 1, F_TS]))
                    yield Batch(buffer, self.frames, n, self.links, self.frame)
                    self.frame += n
                    info.frames += n
                offset += new - pos
                pos = new
            left = buffer[pos:end].copy()
            stream.give_back(lent)
            if self.progress:
                self.progress(self._done_bytes + stream.raw_bytes, self.frame)
            if status == DAMAGED:
                info.warnings.append(
                    f"{info.path}: damaged at byte offset {offset}: {walk.damage(left)}; "
                    f"{info.frames} frames before it were read, the rest was not"
                )
                return
        if self._cancelled:
            return
        if walk is None:  # fewer bytes than a header and a record: an empty capture, or none
            try:
                walk = _open(info, left)
            except CaptureError:
                if stream.cut:  # what little came out of it is noise
                    raise CaptureError(NO_GZIP.format(info.path, stream.cut)) from None
                raise
            _, offset, _ = walk.step(self, left, 0, len(left))
            left = left[offset:]
        if stream.cut:
            info.warnings.append(f"{info.path}: {stream.cut} after {offset + len(left)} bytes; {info.frames} frames before it were read")
        elif len(left):
            info.warnings.append(
                f"{info.path}: cut short in the middle of a record at byte offset {offset} ({len(left)} bytes of it are there); "
                f"{info.frames} frames before it were read"
            )
        if self.progress:
            self.progress(self._done_bytes + stream.raw_bytes, self.frame)

    def number(self, position: int, link: int, name: bytes = b"") -> int:
        """Number of an interface among those of all inputs.

        The files of a rotated capture, and the sections of files that were joined, each describe their interfaces anew: what stands at the same
        position with the same link type and name is the same interface, so that a retransmission is not taken for a copy seen on another one.
        """
        key = (position, link, name)
        if key not in self._numbers:
            if len(self._numbers) >= MAX_INTERFACES:  # hostile: only the link type still counts
                key = (-1, link, b"")
            if key not in self._numbers:
                self._numbers[key] = len(self._numbers)
                if len(self._numbers) > len(self.links):
                    self.links = np.concatenate([self.links, np.zeros(max(16, len(self.links)), np.int64)])
                self.links[self._numbers[key]] = link
        return self._numbers[key]

    @property
    def interfaces(self) -> list[tuple[int, int, bytes]]:
        """Position, link type and name of the interfaces so far, by number."""
        return list(self._numbers)


class _Pcap:
    def __init__(self, info: Input, head: bytes):
        byte_order, self.unit_ns = PCAP_MAGICS[head[:4]]
        self.big = byte_order == ">"
        major, _minor, _zone, _sigfigs, snaplen, network = struct.unpack(byte_order + "HHiIII", head[4:24])
        if major != 2:
            raise WireError(f"{info.path}: pcap version {major} is unknown (2 is); is the file damaged?")
        info.container = "pcap" if self.unit_ns == 1000 else "pcap (ns)"
        info.snaplen = snaplen
        self.link = network & 0x03FFFFFF  # the upper bits hold the length of the frame check sequence
        info.link_types.append(self.link)
        # libpcap takes records up to its own maximum whatever the header says; a header that says more is believed up to our limit
        self.max_record = max(262144, snaplen if snaplen <= MAX_RECORD else 0)
        self.head = 24

    def step(self, reader: Reader, buffer: np.ndarray[Any, Any], pos: int, end: int) -> tuple[int, int, int]:
        head, self.head = self.head, 0
        n, new, status = frame_pcap(
            buffer, pos + head, end, self.big, self.unit_ns, self.max_record, reader.number(0, self.link), reader.frames
        )
        return n, new, status

    def damage(self, left: np.ndarray[Any, Any]) -> str:
        cap = struct.unpack_from(">I" if self.big else "<I", left.tobytes()[:12], 8)[0]
        return f"a record claims {cap} bytes (at most {self.max_record} are possible here)"


class _Pcapng:
    def __init__(self, info: Input, head: bytes):
        info.container = "pcapng"
        self.info = info
        self.big = False
        self.interfaces = np.zeros((4, INTERFACE_WIDTH), np.int64)
        self.count = 0
        self.problem = ""
        self.links = set[int]()
        self.odd_offsets = 0
        self.descriptions = 0

    def step(self, reader: Reader, buffer: np.ndarray[Any, Any], pos: int, end: int) -> tuple[int, int, int]:
        n, new, status = frame_pcapng(buffer, pos, end, self.big, self.interfaces, self.count, MAX_RECORD, reader.frames)
        if status == BLOCK and n == 0:
            new, status = self._block(reader, buffer, new, end)
        elif status == BLOCK:
            status = FULL  # hand the frames over first, then come back for the block
        return n, new, status

    def _block(self, reader: Reader, buffer: np.ndarray[Any, Any], pos: int, end: int) -> tuple[int, int]:
        section = buffer[pos : pos + 4].tobytes() == b"\n\r\r\n"
        what, least = ("section header", 28) if section else ("interface description", 20)
        big = self.big
        if section:
            magic = buffer[pos + 8 : pos + 12].tobytes()
            if magic not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
                self.problem = "a section header without its byte-order magic"
                return pos, DAMAGED
            big = magic == b"\x1a\x2b\x3c\x4d"
        order = ">" if big else "<"
        size = struct.unpack(order + "I", buffer[pos + 4 : pos + 8].tobytes())[0]
        if size < least or size > MAX_RECORD:
            self.problem = f"a {what} block of {size} bytes"
            return pos, DAMAGED
        size = (size + 3) & ~3
        if pos + size > end:
            return pos, MORE
        self.descriptions += 1
        if self.descriptions > MAX_DESCRIPTIONS:
            self.problem = f"more than {MAX_DESCRIPTIONS} sections and interfaces"
            return pos, DAMAGED
        again = struct.unpack(order + "I", buffer[pos + size - 4 : pos + size].tobytes())[0]
        if (again + 3) & ~3 != size:
            self.problem = f"a {what} block whose two lengths differ ({size} and {again} bytes)"
            return pos, DAMAGED
        body = buffer[pos + 8 : pos + size - 4].tobytes()
        if section:
            major, minor = struct.unpack(order + "HH", body[4:8])
            if major != 1:
                self.problem = f"a section of pcapng version {major}.{minor}, which is unknown (1.0 is)"
                return pos, DAMAGED
            self.big, self.count = big, 0
        elif self.count >= MAX_INTERFACES:
            self.problem = f"more than {MAX_INTERFACES} interfaces in one section"
            return pos, DAMAGED
        else:
            self._interface(reader, body, order)
        return pos + size, FULL

    def _interface(self, reader: Reader, body: bytes, order: str) -> None:
        link, _reserved, snaplen = struct.unpack(order + "HHI", body[:8])
        kind, value, offset, name = 0, 1000, 0, b""  # microseconds, unless if_tsresol says otherwise
        p = 8
        while p + 4 <= len(body):
            code, size = struct.unpack(order + "HH", body[p : p + 4])
            data = body[p + 4 : p + 4 + size]
            if code == 0:
                break
            if code == 2:
                name = data[:255]
            elif code == 9 and len(data) >= 1:
                power = data[0] & 0x7F
                if data[0] & 0x80:
                    kind, value = 2, power
                elif power <= 9:
                    kind, value = 0, 10 ** (9 - power)
                else:
                    kind, value = 1, 10 ** min(power - 9, 18)
            elif code == 14 and len(data) == 8:
                offset = struct.unpack(order + "q", data)[0]
                if abs(offset) > 1 << 33:  # centuries: the seconds would not fit int64 nanoseconds
                    self.odd_offsets += 1
                    if self.odd_offsets == 1:
                        self.info.warnings.append(
                            f"{self.info.path}: interface {self.count} has a time offset of {offset} s, ignored as damage"
                        )
                    offset = 0
            p += 4 + ((size + 3) & ~3)
        if self.count == len(self.interfaces):
            self.interfaces = np.concatenate([self.interfaces, np.zeros_like(self.interfaces)])
        self.interfaces[self.count] = reader.number(self.count, link, name), kind, value, offset, snaplen
        self.count += 1
        self.info.snaplen = max(self.info.snaplen, snaplen)
        if link not in self.links:
            self.links.add(link)
            self.info.link_types.append(link)

    def damage(self, left: np.ndarray[Any, Any]) -> str:
        if self.problem:
            return self.problem
        order = ">" if self.big else "<"
        kind, size = struct.unpack(order + "II", left[:8].tobytes())
        return f"a block of type {kind:#x} and {size} bytes that contradicts itself (its two lengths, its packet) or names an interface that was not described"


def _open(info: Input, data: np.ndarray[Any, Any]) -> _Pcap | _Pcapng:
    head = data[:28].tobytes()
    if not head:
        raise CaptureError(f"{info.path}: empty (0 bytes); was tcpdump stopped before its first packet, or not allowed to capture?")
    if any(magic.startswith(head[:4]) for magic in PCAP_MAGICS):
        if len(head) < 24:
            raise CaptureError(f"{info.path}: a pcap cut inside its 24-byte file header ({len(head)} bytes); nothing in it can be read")
        return _Pcap(info, head)
    if b"\n\r\r\n".startswith(head[:4]):
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


def _standard_input() -> BinaryIO:
    """Standard input without Python's buffer, whose lock a thread that waits would hold when the interpreter ends."""
    if sys.stdin is None:
        raise CaptureError("standard input is closed; name a file, or pipe a capture into netlens")
    file: BinaryIO = sys.stdin.buffer
    return getattr(file, "raw", file)


def _open_at_once(path: str, flags: int) -> int:
    """Open a named pipe without waiting for its writer, so that waiting can be ended; only Linux tells "none yet" from "none any more"."""
    return os.open(path, flags | (os.O_NONBLOCK if sys.platform == "linux" and _is_pipe(path) else 0))


def _check(path: str) -> None:
    if os.path.isdir(path):
        raise CaptureError(f"{path}: is a directory, not a capture file")
    try:
        with open(path, "rb", buffering=0) if not _is_pipe(path) else open(os.devnull, "rb"):
            pass
    except OSError as error:
        raise CaptureError(f"{path}: {_why(error)}") from None
    except ValueError as error:  # a NUL in the name
        raise CaptureError(f"{path!r}: {error}") from None


def _is_pipe(path: str) -> bool:
    """A named pipe must be opened once only: opening and closing it would end its writer."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode)


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it; captures made with sudo belong to root (try: sudo chown $USER FILE)"
    return (error.strerror or str(error)).lower()
