"""A capture, or several files of one, written anew about others: frame for frame, with the same times and lengths.

What comes out is a pcap or pcapng as what went in. A pcapng is written from scratch: one section, its interfaces numbered through and named ``if0``,
``if1`` ..., no comments, no descriptions of machine and program, no name records, times in nanoseconds. Blocks that hold no packet but have a
frame number leave an empty one, so that frame numbers stay.

Streaming: see :mod:`netlens.anonymize.streams` for what is held back.
"""

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from netlens.anonymize.kernels import frames as f
from netlens.anonymize.mapper import Mapper
from netlens.anonymize.streams import WINDOW, Window
from netlens.columns import Array
from netlens.wire import writing
from netlens.wire.containers import Reader
from netlens.wire.framing import F_CAP, F_IFACE, Input

Progress = Callable[[int, int], None]
OpenOutput = Callable[[int], IO[bytes]]


@dataclass
class Written:
    """What was done: frames of each file, and what the reader had to say."""

    frames: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Gzip:
    """Bytes compressed on their way; without name or time in the header."""

    def __init__(self, file: IO[bytes]):
        self._file = file
        self._deflate = zlib.compressobj(6, zlib.DEFLATED, 31)

    def write(self, data: memoryview) -> None:
        self._file.write(self._deflate.compress(data))

    def end(self) -> None:
        self._file.write(self._deflate.flush())


class _Output:
    """One file."""

    def __init__(self, number: int, info: Input, file: IO[bytes], compressed: bool, mapper: Mapper):
        self.number, self.info, self.file, self.mapper = number, info, file, mapper
        self.gzip = Gzip(file) if compressed else None
        self.sink = self.gzip or file
        self.window = Window(mapper)
        self.form = f.PCAPNG if info.container == "pcapng" else f.PCAP
        self.unit_ns = 1 if info.container == "pcap (ns)" else 1000
        self.described = 0
        self.frames = 0
        self.begun = False

    def _header(self) -> bytes:
        if self.form == f.PCAPNG:
            return writing.SECTION
        return writing.pcap_header(self.info.link_types[0] if self.info.link_types else 1, self.info.snaplen, self.unit_ns)

    def _interface(self, number: int, link: int) -> bytes:
        """An interface description with its number for a name."""
        return writing.interface(link, self.info.snaplen, f"if{number}".encode())

    def batch(self, source: Array, frames: Array, links: Array) -> None:
        """Rewrite the frames of a batch."""
        n = len(frames)
        front = b"" if self.begun else self._header()
        self.begun = True
        if self.form == f.PCAPNG:
            last = int(frames[:, F_IFACE].max())
            while self.described <= last:
                front += self._interface(self.described, int(links[self.described]))
                self.described += 1
        out = np.zeros(len(front) + int(frames[:, F_CAP].sum()) + n * (f.BLOCK_HEAD + f.BLOCK_TAIL + 4), np.uint8)
        out[: len(front)] = np.frombuffer(front, np.uint8)
        infos = np.zeros((n, f.WIDTH), np.int64)
        done, used = 0, len(front)
        self.mapper.forget()
        while True:
            done, used = f.rewrite_batch(source, frames, done, n, links, self.form, self.unit_ns, out, used, infos, self.mapper.maps)
            if done == n:
                break
            self.mapper.learn(int(self.mapper.maps.state[0]))
        self.frames += n
        ready = self.window.add(source, out[:used], infos)
        if ready is not None:
            self.sink.write(ready.data)

    def end(self) -> int:
        """Write what is left and close the file; frames written."""
        if not self.begun:
            front = self._header()
            if self.form == f.PCAPNG and self.info.link_types:
                front += self._interface(0, self.info.link_types[0])
            self.sink.write(memoryview(front))
        for ready in self.window.rest():
            self.sink.write(ready.data)
        if self.gzip is not None:
            self.gzip.end()
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        return self.frames

    def abandon(self) -> None:
        self.file.close()


def rewrite(
    paths: Sequence[str], open_output: OpenOutput, compressed: Sequence[bool], mapper: Mapper, progress: Progress | None = None
) -> Written:
    """Rewrite the files of one capture.

    Parameters
    ----------
    paths : files in order, read as one stream; "-" is standard input.
    open_output : called with the number of a file when its output begins; the file that it returns is closed here.
    compressed : for each file whether its output is gzipped.

    Raises
    ------
    CaptureError, WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    reader = Reader(paths, progress, hold=WINDOW + 2)
    out: _Output | None = None
    written = Written()
    try:
        for batch in reader.batches():
            at = len(reader.inputs) - 1
            if out is None or out.number != at:
                out = _next(out, at, reader.inputs, open_output, compressed, mapper, written)
            out.batch(batch.buf, batch.frames[: batch.n].copy(), batch.links)
        out = _next(out, len(reader.inputs), reader.inputs, open_output, compressed, mapper, written)
    except BaseException:
        if out is not None:
            out.abandon()
        raise
    written.warnings = [w for i in reader.inputs for w in i.warnings]
    return written


def _next(
    out: _Output | None, at: int, inputs: list[Input], open_output: OpenOutput, compressed: Sequence[bool], mapper: Mapper, written: Written
) -> Any:
    """End the output of one file and begin that of the next; files without a frame in between get their header."""
    begin = 0 if out is None else out.number + 1
    if out is not None:
        written.frames.append(out.end())
    for number in range(begin, min(at, len(inputs))):
        empty = _Output(number, inputs[number], open_output(number), compressed[number], mapper)
        written.frames.append(empty.end())
    return _Output(at, inputs[at], open_output(at), compressed[at], mapper) if at < len(inputs) else None
