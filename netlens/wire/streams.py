"""Bytes of one input, in buffers: of a plain file, a pipe or standard input, with gzip undone on the way."""

import os
import queue
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from netlens.arrays import huge_zeros
from netlens.columns import Array
from netlens.errors import CaptureError
from netlens.wire.gunzip import GZIP_MAGIC, Gunzip

CHUNK = 1 << 20  #: bytes per read: the buffers in use, eight or so, stay in an L3 cache together; below it the thread hand-over shows
HEADROOM = 512 << 10  #: room before a chunk for the unfinished record of the last one; more than any record of a normal capture
BUFFERS = 3
LINGER_S = 0.05  #: a pipe gives 64 KiB at a time: how long to wait for more before these are handed on. Live captures lag by this much


@dataclass(frozen=True)
class Span:
    """A stretch of a plain file that is read by itself, from one byte offset to another; None: to the end."""

    begin: int
    end: int | None


class Stream:
    """Bytes of one input, or of a ``span`` of it; gzip is undone on the way.

    A plain file is read by whoever asks for its buffers: what was just copied lies in the cache of the core that walks it next. Gzip, and what may
    block, is read by a thread, which owns ``file`` and closes it (unless ``keep``). It never blocks in a read of a pipe: it waits until there is
    something to read or ``close`` was called, so that a caller who stops early does not hang on a writer that is silent.
    """

    def __init__(self, name: str, file: BinaryIO, hold: int = 0, keep: bool = False, chunk: int | None = None, span: Span | None = None):
        self.name = name
        self.file = file
        self.span = span
        self.keep = keep
        self.hold = hold
        self.held: deque[Array] = deque()
        self.cut: str | None = None  # what ended a gzip stream early; valid once ``buffers`` is exhausted
        self.full: queue.Queue[tuple[Array | None, int, BaseException | None]] = queue.Queue()
        self.empty: queue.Queue[Array | None] = queue.Queue()
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
        if span is not None:
            file.seek(span.begin)
        elif not regular or _starts_like_gzip(fd):
            self.thread = threading.Thread(target=self._run, name="netlens-reader", daemon=True)
        for _ in range((1 if self.thread is None else BUFFERS) + hold):
            self.empty.put(huge_zeros(np.uint8, HEADROOM + (chunk or CHUNK)))
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

    def read(self, room: memoryview) -> int:
        """At least one byte into ``room``, or 0 at the end."""
        if self.span is not None and self.span.end is not None:
            room = room[: self.span.end - self.span.begin - self.raw_bytes]
        while len(room) and not self.ended and self._ready(None):
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
        if self.span is not None:
            return self.read
        first = bytearray(4)
        have = 0
        while have < 4 and (size := self.read(memoryview(first)[have:])):
            have += size
        head = bytes(first[:have])
        if head[:2] == GZIP_MAGIC:
            return Gunzip(self, head).fill
        rest = memoryview(head)

        def fill(room: memoryview) -> int:
            nonlocal rest
            filled = len(rest)
            room[:filled] = rest
            rest = rest[:0]
            if self.poll is None:
                return filled or self.read(room)
            until = time.monotonic() + LINGER_S
            while filled < len(room) and (not filled or self._ready(until - time.monotonic())):
                size = self.read(room[filled:])
                if size == 0:
                    break
                filled += size
            return filled

        return fill

    def buffers(self) -> Iterator[tuple[Array, int, int]]:
        """(buffer, where its data begins and ends), with room before it. Give the buffer back with ``give_back``."""
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
            yield buffer, HEADROOM, HEADROOM + size

    def give_back(self, buffer: Array) -> None:
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


def standard_input() -> BinaryIO:
    """Standard input without Python's buffer, whose lock a thread that waits would hold when the interpreter ends."""
    if sys.stdin is None:
        raise CaptureError("standard input is closed; name a file, or pipe a capture into netlens")
    file: BinaryIO = sys.stdin.buffer
    return getattr(file, "raw", file)


def open_at_once(path: str, flags: int) -> int:
    """Open a named pipe without waiting for its writer, so that waiting can be ended; only Linux tells "none yet" from "none any more"."""
    return os.open(path, flags | (os.O_NONBLOCK if sys.platform == "linux" and _is_pipe(path) else 0))


def check(path: str) -> None:
    if os.path.isdir(path):
        raise CaptureError(f"{path}: is a directory, not a capture file")
    try:
        with open(path, "rb", buffering=0) if not _is_pipe(path) else open(os.devnull, "rb"):
            pass
    except OSError as error:
        raise CaptureError(f"{path}: {why(error)}") from None
    except ValueError as error:  # a NUL in the name
        raise CaptureError(f"{path!r}: {error}") from None


def _is_pipe(path: str) -> bool:
    """A named pipe must be opened once only: opening and closing it would end its writer."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode)


def why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it; captures made with sudo belong to root (try: sudo chown $USER FILE)"
    return (error.strerror or str(error)).lower()
