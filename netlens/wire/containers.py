"""Containers: bytes of a file or pipe to framed records, in batches.

pcap (microseconds and nanoseconds, both byte orders), pcapng (any number of sections and interfaces, if_tsresol, if_tsoffset; enhanced, simple
and obsolete packet blocks), either of them in gzip, from files or standard input. Several files are one stream: frame numbers go on.

How it flows: buffers of :data:`CHUNK` bytes are filled, of gzip and pipes by a reader thread (reading and inflating let go of the interpreter
lock); the framing kernel walks record headers of a buffer and yields batches of at most ``BATCH`` frames; what is left of an unfinished record is
copied in front of the next buffer. Memory is a handful of buffers, however long the file is.

A capture that ends inside a record (tcpdump killed, disk full) is normal: everything before it is read and a warning names the byte offset.

Refused, by name: Kuznetzov's modified pcap, other programs' formats, text, empty files, directories.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netlens.columns import Array
from netlens.errors import CaptureError
from netlens.wire import compiled
from netlens.wire.columns import BATCH
from netlens.wire.framing import DAMAGED, F_TS, FRAME_WIDTH, FULL, MAX_INTERFACES, Input, Pcap, Pcapng, behind_the_head, open_container
from netlens.wire.gunzip import NO_GZIP
from netlens.wire.streams import Span, Stream, check, open_at_once, standard_input, why


def warn_of_overlap(before: Input, info: Input) -> None:
    """Say of an input that it begins before the one before it ended, once."""
    if info.first_ns and info.first_ns < before.last_ns:
        said = (
            f"{info.path}: begins {(before.last_ns - info.first_ns) / 1e9:.3f} s before {before.path} ends; several files are read as one stream "
            "in the order given, which suits only the files of one rotated capture"
        )
        if said not in info.warnings:
            info.warnings.append(said)


@dataclass
class Batch:
    """At most ``BATCH`` frames of one buffer. ``buf`` and ``frames`` are valid as long as the reader holds them."""

    buf: Array  # uint8
    frames: Array  # int64[n, FRAME_WIDTH]
    n: int
    links: Array  # int64, link type by number of interface
    frame0: int  # number of the frame before the first
    offset: int = 0  # of the buffer's first byte in the (uncompressed) stream


class Reader:
    """Frames of one or several captures, in order.

    Parameters
    ----------
    paths : paths of captures, or "-" for standard input; read in the order given, as one stream.
    progress : called with (bytes read so far of all inputs, frames) after each chunk.
    batch : frames of a batch, at most.  chunk : bytes of a buffer (by default :data:`netlens.wire.streams.CHUNK`), which bounds a batch as well.
    hold : how many further buffers, and batches, are read before one is used again; 0: a batch is valid until the next one is asked for.
    span : a stretch of the only path, a plain file, that begins with a record.  frames : that come before it.

    Raises
    ------
    CaptureError
        an input cannot be opened or is no capture.
    WireError
        an input is a capture of a kind that netlens refuses, or its first bytes are damaged.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        progress: Callable[[int, int], None] | None = None,
        batch: int = BATCH,
        hold: int = 0,
        chunk: int | None = None,
        span: Span | None = None,
        frames: int = 0,
    ):
        self.paths = [os.fspath(p) for p in paths]
        if not self.paths:
            raise CaptureError("no capture was named; give one or more files, or - for standard input")
        self.progress = progress
        self.batch, self.hold, self.chunk = batch, hold, chunk
        self.inputs: list[Input] = []
        self.links = np.zeros(0, np.int64)
        self._stream: Stream | None = None
        self._cancelled = False
        self.interfaces: list[tuple[int, int, bytes]] = []  # position, link type and name of each, by its number
        self._numbers: dict[tuple[int, int, bytes], int] = {}
        self.frame = frames
        self.span = span
        self.described = (0, 0)  #: sections and interfaces that were described before the span, and up to its end
        self.reached = 0 if span is None else span.begin  #: byte offset of the first record of the input that was not read
        self.frames = np.zeros((batch, FRAME_WIDTH), np.int64)
        self._held: list[Array] = []  # the frames of the batches before, the oldest first: ``hold`` of them, then they are used again
        self._done_bytes = 0
        compiled.reading(self.total_bytes() or 0)
        for path in self.paths:  # all of them before the first is read: a misspelt third file is told at once
            self.check(path)

    def total_bytes(self) -> int | None:
        """Bytes of all inputs as they lie on disk; None if one is a pipe."""
        try:
            sizes = [os.stat(p).st_size if p != "-" and Path(p).is_file() else -1 for p in self.paths]
        except OSError:
            return None
        return None if -1 in sizes else sum(sizes)

    def check(self, path: str) -> None:
        """That an input can be opened, without reading it."""
        if path != "-":
            check(path)

    def open(self, path: str) -> Stream:
        if path == "-":
            return Stream("standard input", standard_input(), self.hold, keep=True, chunk=self.chunk)
        return Stream(path, open(path, "rb", buffering=0, opener=open_at_once), self.hold, chunk=self.chunk, span=self.span)

    def why(self, path: str, error: OSError) -> str:
        """Why an input cannot be read, in a few words."""
        return why(error)

    def batches(self) -> Iterator[Batch]:
        for path in self.paths:
            info = Input("standard input" if path == "-" else path)
            self.inputs.append(info)
            try:
                stream = self._stream = self.open(path)
            except OSError as error:
                raise CaptureError(f"{info.path}: {self.why(path, error)}") from None
            if self._cancelled:
                stream.stop()
            try:
                yield from self._one(stream, info)
            except OSError as error:
                raise CaptureError(f"{info.path}: {self.why(path, error)}") from None
            finally:
                self._stream = None
                stream.close()
                span = self.span
                info.bytes = stream.raw_bytes if span is None or span.end is None else self.reached - span.begin
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
            if len(self.inputs) > 1:
                warn_of_overlap(self.inputs[-2], info)
        if last_ns:
            info.last_ns = max(info.last_ns or last_ns, last_ns)  # times before 1970 are negative

    def _one(self, stream: Stream, info: Input) -> Iterator[Batch]:
        walk: Pcap | Pcapng | None = None if self.span is None else behind_the_head(self, info, self.span.begin)
        described = 0 if walk is None else walk.descriptions
        #: of the first byte of ``left``, which is what has not been walked yet, in the (uncompressed) stream
        offset = 0 if self.span is None else self.span.begin
        left = np.empty(0, np.uint8)
        for lent, start, end in stream.buffers():
            buffer = lent
            if len(left) > start:
                buffer, start, end = np.concatenate([left, lent[start:end]]), 0, len(left) + end - start
            elif len(left):
                start -= len(left)
                buffer[start : start + len(left)] = left
            if walk is None:
                if end - start < 28:  # a pcap header and the next four bytes, or a whole section header block
                    left = buffer[start:end].copy()
                    stream.give_back(lent)
                    continue
                walk = open_container(info, buffer[start:end])
            pos, status = start, FULL
            while status == FULL:
                n, new, status = walk.step(self, buffer, pos, end)
                if n:
                    self._note_times(info, int(self.frames[0, F_TS]), int(self.frames[n - 1, F_TS]))
                    compiled.have_read(n)
                    yield Batch(buffer, self.frames, n, self.links, self.frame, offset - pos)
                    self._held.append(self.frames)
                    self.frames = self._held.pop(0) if len(self._held) > self.hold else np.zeros_like(self.frames)
                    self.frame += n
                    info.frames += n
                offset += new - pos
                pos = new
            left = buffer[pos:end].copy()
            self.reached, self.described = offset, (described, walk.descriptions)
            stream.give_back(lent)
            if self.progress:
                self.progress(self._done_bytes + stream.raw_bytes, self.frame)
            if status == DAMAGED:
                info.end_early(f"damaged at byte offset {offset}: {walk.damage(left)}", ", the rest was not")
                return
        if self._cancelled or (self.span is not None and self.span.end is not None):
            return
        if walk is None:  # fewer bytes than a header and a record: an empty capture, or none
            try:
                walk = open_container(info, left)
            except CaptureError:
                if stream.cut:  # what little came out of it is noise
                    raise CaptureError(NO_GZIP.format(info.path, stream.cut)) from None
                raise
            _, offset, _ = walk.step(self, left, 0, len(left))
            left = left[offset:]
        if stream.cut:
            info.end_early(f"{stream.cut} after {offset + len(left)} bytes")
        elif len(left):
            info.end_early(f"cut short in the middle of a record at byte offset {offset} ({len(left)} bytes of it are there)")
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
                self.interfaces.append(key)
                if len(self._numbers) > len(self.links):
                    self.links = np.concatenate([self.links, np.zeros(max(16, len(self.links)), np.int64)])
                self.links[self._numbers[key]] = link
        return self._numbers[key]
