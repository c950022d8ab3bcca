"""Stores the stream that tcpdump writes to its standard output: whole records only, so that a file is valid whatever happens.

tcpdump's output goes through here instead of straight into a file because then it is the same for a tcpdump here and one behind ssh; the files
belong to whoever runs netlens, whatever user tcpdump becomes; tcpdump ends when netlens does; and a full disk, a killed tcpdump or a broken link
leaves no half record behind. pcap and pcapng (macOS) are understood as far as records reach; a packet is never looked into.

*Limits*: rotation is by size and follows a chunk, so a file may be a chunk (1 MiB) larger than asked for.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netlens.errors import CaptureError
from netlens.outputs import create_file

MAX_RECORD = 16 << 20  #: a longer record is damage, not a packet (libpcap's own limit is 256 KiB)
NOWHERE = Path("/nonexistent")  #: stands for the directory where nothing is kept, so that nobody's file has the name
MAX_PROLOGUE = 4 << 20  #: of pcapng descriptions repeated in each file of a rotation

_PCAP = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_SHB = b"\x0a\x0d\x0d\x0a"
_PACKET_BLOCKS = (2, 3, 6)


class SinkFull(Exception):
    """The disk took no more; what was written before is whole."""


@dataclass
class Walk:
    """How far whole records reach in a buffer, and what they hold."""

    end: int
    packets: int
    last_ns: int | None


class Sink:
    """Files ``STEM.pcap`` (or ``STEM-0001.pcap``, ... when rotating) in ``directory``.

    Parameters
    ----------
    directory : None counts what comes and keeps nothing.  also : is given the same bytes.

    Attributes
    ----------
    files : the files that exist, in order;  removed : how many were deleted again for ``keep``.
    packets, size : records and bytes stored in all files together, deleted ones included.
    last_ns : time of the latest record; None before the first and for pcapng.
    """

    def __init__(
        self,
        directory: Path | None,
        stem: str,
        rotate_bytes: int | None = None,
        keep: int | None = None,
        also: Callable[[bytes], None] | None = None,
    ):
        self.directory, self.stem = directory or NOWHERE, stem
        self._keeps, self._also = directory is not None, also
        self.rotate_bytes, self.keep = rotate_bytes, keep
        self.files: list[Path] = []
        self.removed = 0
        self.packets = 0
        self.size = 0
        self.last_ns: int | None = None
        self.cut_bytes = 0  #: bytes of an unfinished record at the end, left out
        self._pending = b""
        self._format = ""  # "", "pcap" or "pcapng"
        self._order, self._unit_ns = "<", 1000
        self._prologue = b""  # what each file of a rotation starts with
        self._fd: int | None = None
        self._file_size = 0
        self._number = 0
        self._open()  # at once: a side without a packet still has its file

    def feed(self, data: bytes) -> None:
        """Take bytes as they come.

        SinkFull if the disk is full (the file ends with the last record that fitted), CaptureError if these bytes are no capture.
        """
        self._take(data)
        if self._also is not None:
            self._also(data)

    def _take(self, data: bytes) -> None:
        buffer = self._pending + data if self._pending else data
        start = 0
        if not self._format:
            start = self._begin(buffer)
            if not start:
                self._pending = buffer
                return
        walk = self._walk(buffer, start)
        self._pending = buffer[walk.end :]
        self._write(buffer[: walk.end], start, walk)
        if self.rotate_bytes is not None and self._file_size >= self.rotate_bytes:
            self._rotate()

    def close(self) -> None:
        self.cut_bytes = len(self._pending)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    # --- records

    def _begin(self, buffer: bytes) -> int:
        """Recognise the format; returns the length of the file header, 0 if more bytes are needed."""
        if len(buffer) < 24:
            if buffer[:4] not in _PCAP and buffer[:4] != _SHB[: len(buffer)] and len(buffer) >= 4:
                raise CaptureError(f"tcpdump sent something that is not a capture (it begins with {buffer[:16]!r})")
            return 0
        if buffer[:4] in _PCAP:
            self._format = "pcap"
            self._order, self._unit_ns = _PCAP[buffer[:4]]
            self._prologue = buffer[:24]
            return 24
        if buffer[:4] == _SHB:
            self._format = "pcapng"
            self._order = "<" if buffer[8:12] == b"\x4d\x3c\x2b\x1a" else ">"
            block: int = struct.unpack_from(self._order + "I", buffer, 4)[0]
            if not 28 <= block <= MAX_RECORD:
                raise CaptureError("tcpdump sent a damaged pcapng header")
            if len(buffer) < block:
                self._format = ""
                return 0
            self._prologue = buffer[:block]
            return block
        raise CaptureError(f"tcpdump sent something that is not a capture (it begins with {buffer[:16]!r})")

    def _walk(self, buffer: bytes, start: int, limit: int | None = None, learn: bool = True) -> Walk:
        end = len(buffer) if limit is None else limit
        return self._walk_pcap(buffer, start, end) if self._format == "pcap" else self._walk_pcapng(buffer, start, end, learn)

    def _walk_pcap(self, buffer: bytes, at: int, end: int) -> Walk:
        unpack = struct.Struct(self._order + "I").unpack_from
        packets, last = 0, -1
        while at + 16 <= end:
            (length,) = unpack(buffer, at + 8)
            if length > MAX_RECORD:
                raise CaptureError("tcpdump's output is damaged (a record of more than 16 MB)")
            if at + 16 + length > end:
                break
            last = at
            at += 16 + length
            packets += 1
        if last < 0:
            return Walk(at, 0, None)
        seconds, fraction = struct.unpack_from(self._order + "II", buffer, last)
        return Walk(at, packets, seconds * 1_000_000_000 + fraction * self._unit_ns)

    def _walk_pcapng(self, buffer: bytes, at: int, end: int, learn: bool) -> Walk:
        packets = 0
        while at + 12 <= end:
            if buffer[at : at + 4] == _SHB:
                self._order = "<" if buffer[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            kind, length = struct.unpack_from(self._order + "II", buffer, at)
            if not 12 <= length <= MAX_RECORD:
                raise CaptureError("tcpdump's output is damaged (a pcapng block of impossible length)")
            if at + length > end:
                break
            if kind in _PACKET_BLOCKS:
                packets += 1
            elif learn:
                block = buffer[at : at + length]
                if block[:4] == _SHB:
                    self._prologue = block
                elif len(self._prologue) + length <= MAX_PROLOGUE:
                    self._prologue += block  # interfaces, and macOS's process names: packets of later files refer to them by number
            at += length
        return Walk(at, packets, None)

    # --- files

    def _open(self) -> None:
        self._number += 1
        name = f"{self.stem}.pcap" if self.rotate_bytes is None else f"{self.stem}-{self._number:04d}.pcap"
        path = self.directory / name
        try:
            self._fd = create_file(path) if self._keeps else None
        except OSError as error:
            raise CaptureError(f"{path}: cannot be made ({(error.strerror or str(error)).lower()})") from None
        self._file_size = 0
        self.files.append(path)

    def _rotate(self) -> None:
        assert self._fd is not None
        os.close(self._fd)
        self._fd = None
        self._open()
        self._write(self._prologue, len(self._prologue), Walk(len(self._prologue), 0, None))
        while self.keep is not None and len(self.files) > self.keep:
            self.files.pop(0).unlink(missing_ok=True)
            self.removed += 1

    def _write(self, data: bytes, start: int, walk: Walk) -> None:
        if not self._keeps:
            self._count(walk)
            return
        if self._fd is None:
            raise SinkFull("closed")
        view, done = memoryview(data), 0
        try:
            while done < len(data):
                done += os.write(self._fd, view[done:])
        except OSError as error:
            whole = self._walk(data, start, done, learn=False) if done >= start else Walk(0, 0, None)
            os.ftruncate(self._fd, self._file_size + whole.end)
            self._count(whole)
            self._pending = b""
            self.close()
            raise SinkFull((error.strerror or str(error)).lower()) from None
        self._count(walk)

    def _count(self, walk: Walk) -> None:
        self._file_size += walk.end
        self.size += walk.end
        self.packets += walk.packets
        if walk.last_ns is not None:
            self.last_ns = walk.last_ns
