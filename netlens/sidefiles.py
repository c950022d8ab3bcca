"""Files that lie beside a capture: error logs, samples, key logs, manifests. They may come from a stranger, as the captures do.

Only regular files are read: a link to /dev/zero never ends, and a named pipe may never begin. A pipe is read only by the name of a descriptor of this
process (``--vm-errors <(...)``): then it is the caller's own. The kind of a file is checked after it was opened, so nobody can swap it in between.
Everything is read line by line or up to a limit; what lies beyond is reported, in one line (``note``) or as an error.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import gzip
import io
import json
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any, Generic, TypeVar, cast

from netlens.errors import CaptureError
from netlens.text import plural, printable, size

MAX_BYTES = 1 << 30  #: of a file that is read line by line; a log of opencode grows by a few megabytes a day
MAX_UNPACKED = 16 << 20  #: what a gzip file may hold in any case
MAX_RATIO = 30  #: and, if it is larger, times its own size; logs are packed to a tenth
MAX_ROW = 1 << 16  #: bytes of a line of JSON; a socket or a request has some two hundred

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

_DESCRIPTOR = re.compile(r"/dev/fd/\d+|/dev/stdin|/proc/self/fd/\d+")
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
T = TypeVar("T")


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], what: str = "") -> Iterator[io.BufferedReader[Any]]:
    """The file, to be read; also what goes wrong inside the block is told as an error of this file.

    ``what`` : what it should be ("the error log"), for the error.

    CaptureError if it cannot be opened or read, or it is no regular file.
    """
    name = os.fsdecode(path)
    try:
        with io.BufferedReader(_File(_open(name))) as file:
            yield file
    except (OSError, EOFError, ValueError, zlib.error) as error:  # ValueError: a NUL in the name
        why = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).lower()
        raise CaptureError(f"{printable(name)}: {what + ' ' if what else ''}cannot be read ({printable(why)})") from None


class _File(io.FileIO):
    """Some of the kernel's own (/proc/kmsg) say that they are files and have to be waited for."""

    def readinto(self, buffer: Buffer, /) -> int:
        count: int | None = super().readinto(buffer)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, "it has to be waited for, so it is not a file")
        return count


def _open(name: str) -> int:
    own = _DESCRIPTOR.fullmatch(name) is not None
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(name, flags if own else flags | os.O_NONBLOCK)  # or a named pipe would be waited for
    except OSError:
        _refuse(name, os.stat(name).st_mode)  # a socket cannot even be opened
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if not own or not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)):
            _refuse(name, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse(name: str, mode: int) -> None:
    for is_kind, kind in _KINDS:
        if is_kind(mode):
            raise CaptureError(f"{printable(name)}: is {kind}, not a file; replace it with a file, or remove it")


def refuse_special(path: str) -> None:
    """Refuse what is there and no regular file (nor a link to one), or would have to be waited for, now or later; what cannot be opened is left to whoever
    reads it (CaptureError)."""
    with contextlib.suppress(OSError, ValueError), _File(_open(path)) as file:
        try:
            some = file.readinto(bytearray(1))
        except BlockingIOError as error:
            raise CaptureError(f"{printable(path)}: cannot be read ({error.strerror})") from None
        if some and not os.fstat(file.fileno()).st_size:  # the kernel's own: /proc/kmsg is waited for once its messages are read
            raise CaptureError(f"{printable(path)}: has content though its size is 0, so it is not a file on a disk")


def whole(path: str | os.PathLike[str], limit: int, what: str = "") -> bytes:
    """All bytes of a file that has no more than ``limit``. CaptureError if it cannot be read, is no regular file, or is larger."""
    with opened(path, what) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise CaptureError(f"{printable(os.fsdecode(path))}: larger than {size(limit)}, which {what or 'such a file'} never is")
    return data


class Lines:
    """Lines of a file, without their ends, each cut to ``longest`` bytes; also of a gzip file, or one in UTF-16. To be gone through once.

    more : how many bytes a line that is longer may have, by its beginning; what is cut all the same is told in ``note``.
    number : of the latest line, from 1.  whole : whether that line was not cut and its end is in the file.
    cut : what was read, if not all ("its first 1,000 lines").
    """

    def __init__(
        self, path: str | os.PathLike[str], most: int, longest: int, what: str = "", more: Callable[[bytes], int] | None = None
    ) -> None:
        self.path, self.most, self.longest, self.what, self._more = os.fsdecode(path), most, longest, what, more
        self._too_long: list[int] = []  # the first, how many there are, and to how much they were cut
        self.number = 0
        self.whole = True
        self.cut: str | None = None
        self._hint = ""

    def __iter__(self) -> Iterator[bytes]:
        with opened(self.path, self.what) as raw:
            begin = raw.peek(2)[:2]
            packed = begin == b"\x1f\x8b"
            limit = MAX_BYTES
            if packed:
                limit = min(limit, max(MAX_UNPACKED, MAX_RATIO * os.fstat(raw.fileno()).st_size))
            left = limit
            stream = cast(
                "IO[bytes]", gzip.open(raw) if packed else _Recoded(raw) if begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else raw
            )
            while line := stream.readline(min(self.longest, left) or 1):
                if self.number >= self.most:
                    self.cut = f"its first {plural(self.number, 'line')}"
                    return
                left -= len(line)
                if left < 0:
                    self.cut = f"its first {size(limit)}"
                    self._hint = "; unpack it (gunzip) to have more of it read" if packed else ""
                    return
                if self._more and len(line) == self.longest < (longest := self._more(line)) and left > 0:
                    line += stream.readline(min(longest - len(line), left))
                    left -= len(line) - self.longest
                    if len(line) == longest and not line.endswith(b"\n"):
                        first, many, _ = self._too_long or (self.number + 1, 0, 0)
                        self._too_long = [first, many + 1, longest]
                rest = line
                while rest and not rest.endswith(b"\n") and left > 0:
                    rest = stream.readline(min(1 << 20, left))
                    left -= len(rest)
                self.number += 1
                self.whole = line.endswith(b"\n")
                yield line.rstrip(b"\r\n")

    @property
    def note(self) -> str | None:
        """One line if not all was read."""
        if self.cut:
            return f"{printable(self.path)}: only {self.cut} were read{self._hint}"
        if self._too_long:
            first, many, longest = self._too_long
            which = f"line {first:,} is" if many == 1 else f"{many:,} lines (the first is {first:,}) are"
            return (
                f"{printable(self.path)}: {which} longer than {size(longest)}, and what is in {'it' if many == 1 else 'them'} was not read"
            )
        return None


class _Recoded:
    """A file in UTF-16, as PowerShell writes what is redirected, in UTF-8."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._text = io.TextIOWrapper(raw, "utf-16", "replace", newline="\n")

    def readline(self, size: int) -> bytes:
        return self._text.readline(size).encode("utf-8", "replace")


class Rows(Generic[T]):
    """Objects of a file of JSON lines, as far as ``fit`` makes something of them; the others are counted. To be gone through once.

    most : lines that are read.  fit : a row of it, or None if it is none.  noun : what a line should be ("a socket sample").
    """

    def __init__(self, path: str | os.PathLike[str], most: int, fit: Callable[[dict[str, Any]], T | None], noun: str) -> None:
        self._lines, self._fit, self._noun = Lines(path, most, MAX_ROW), fit, noun
        self._left_out, self._first = 0, 0

    def __iter__(self) -> Iterator[T]:
        for line in self._lines:
            row = self._row(line)
            if row is not None:
                yield row
            elif line.strip() and (self._lines.whole or len(line) >= MAX_ROW):  # else its writer was killed in the middle of it
                self._left_out += 1
                self._first = self._first or self._lines.number

    def _row(self, line: bytes) -> T | None:
        try:
            value = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
        return self._fit(value) if isinstance(value, dict) else None

    @property
    def notes(self) -> list[str]:
        """What was not read, a line each."""
        notes = [self._lines.note] if self._lines.note else []
        if self._left_out:
            notes.append(
                f"{printable(self._lines.path)}: {plural(self._left_out, 'line')} left out: not {self._noun} (first at line {self._first:,})"
            )
        return notes


def is_count(value: Any) -> bool:
    """Whether a value of JSON or TOML is a whole number from 0 on that fits into an int64."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63
