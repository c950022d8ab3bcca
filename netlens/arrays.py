"""Large arrays that are written once, one after the other, and such that grow at their end.

numpy asks for huge pages, for which the kernel may have to tidy up memory first: the same two hundred megabytes took 0.03 or 0.3 s. Hash tables are worth
that, and so is the beginning of what is written in order (:func:`in_order`); the other arrays here are not. And numpy's ``resize`` writes zeros to all it
adds, which costs as much again as filling it; here the memory is moved by the kernel, and takes a page when it is written to.

What was freed is not the system's again by itself, see :func:`give_back`. The first use of a page costs more than what is written to it, in some virtual
machines ten times as much; so memory that is not needed any more is best used again at once, see :func:`let_go`.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import math
import mmap
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


ARENAS, MAPPED_FROM, TRIMMED_FROM = -8, -3, -1  #: options of mallopt(3)
LARGE = 1 << 22  #: bytes from which on numpy asks for huge pages
HUGE = 1 << 21  #: bytes of one
EARLY = 16 << 20  #: bytes of what is written in order that have huge pages


def uninitialized(dtype: type[np.generic], *shape: int) -> Array:
    """An array to be written to, without huge pages; what is in it before is anything."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.empty(shape, dtype) if size < LARGE else np.frombuffer(_mapped(size), dtype).reshape(shape)


def zeros(dtype: type[np.generic], *shape: int) -> Array:
    """An array of which few numbers will be written, without huge pages: the others take no memory, also where it is read."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.zeros(shape, dtype) if size < LARGE else np.frombuffer(_mapped(size), dtype).reshape(shape)


def huge_zeros(dtype: type[np.generic], *shape: int, most: int = sys.maxsize) -> Array:
    """An array to be read and written at random, in huge pages from its first byte on, where it fills some.  most : bytes that have huge pages."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(shape, dtype)
    room = _mapped(size + HUGE)
    bytes_ = np.frombuffer(room, np.uint8)
    skip = -bytes_.ctypes.data % HUGE
    with contextlib.suppress(OSError):  # a kernel without them
        room.madvise(mmap.MADV_HUGEPAGE, 0, min(skip + most, len(room)))
    return bytes_[skip : skip + size].view(dtype).reshape(shape)


def in_order(dtype: type[np.generic], *shape: int) -> Array:
    """Zeros that are written one after the other, and perhaps not to the end. The first of them lie in huge pages: 64 MB in small ones took 22 ms to write to,
    in huge ones 3 ms, and 120 ms in a virtual machine whose memory had been idle."""
    return huge_zeros(dtype, *shape, most=EARLY)


def let_go(array: Array) -> None:
    """Give the pages of a contiguous array to whoever asks for memory next. What is in it afterwards is anything; a part that fills no huge page stays."""
    first, last = -(-array.ctypes.data // HUGE) * HUGE, (array.ctypes.data + array.nbytes) // HUGE * HUGE
    if last > first and sys.platform == "linux" and (advise := _of_libc("madvise")) is not None:
        advise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)


class GrowableArray:
    """``array``: of ``dtype``, ``rows`` rows at first (of ``width`` columns, one-dimensional without). What was not written to is 0.

    Arrays that were taken from it before it grew keep their values, and may be the same memory or not.
    """

    def __init__(self, dtype: type[np.generic], rows: int, width: int = 0) -> None:
        self._dtype, self._shape = np.dtype(dtype), (-1, width) if width else (-1,)
        self._row = self._dtype.itemsize * max(width, 1)
        self._map = _mapped(self._size(rows))
        self.array = self._view()

    @classmethod
    def of(cls, values: Array) -> GrowableArray:
        """One that begins with these values, of one dimension."""
        made = cls(values.dtype.type, len(values))
        made.array[: len(values)] = values
        return made

    def _size(self, rows: int) -> int:
        return max(rows, 1) * self._row

    def _view(self) -> Array:
        return np.frombuffer(self._map, self._dtype).reshape(self._shape)

    def make_room(self, rows: int) -> None:
        """Grow to ``rows`` rows at least, and by a quarter at least, if there are fewer."""
        there = len(self.array)
        if rows <= there:
            return
        size = self._size(max(rows, there + there // 4))
        self.array = _NOTHING  # a memory map that an array looks at cannot be moved
        try:
            self._map.resize(size)
        except (BufferError, SystemError, OSError, ValueError):  # another array looks at it, or this system cannot move memory
            try:
                larger = _mapped(size)
                with memoryview(self._map) as old:
                    larger[: len(old)] = old
                self._map = larger
            finally:
                self.array = self._view()
            return
        self.array = self._view()


@contextlib.contextmanager
def no_cycles() -> Iterator[None]:
    """While many small objects are made of which none is in a cycle: each search for cycles would walk all of them, a twentieth of all time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.freeze()  # among the old ones, which are searched seldom; else the next search walks all that was made, a fiftieth of the time
            gc.unfreeze()
            gc.enable()


def give_back() -> None:
    """Return freed memory to the system, where the C library can be told to (glibc); some milliseconds.

    Each thread allocates in a heap of its own, which keeps what was freed in it: 150 MB of 560 after two captures of a million packets were compared.
    """
    if (trim := _of_libc("malloc_trim")) is not None:
        trim(0)


def one_heap() -> None:
    """Have the threads of this process allocate in one heap from now on, which keeps some of what was freed (glibc): for a command that makes many arrays of
    some hundred kilobytes, one after the other. Else the system clears pages for each: a fifth of its part of the time, and 25 MB, where two
    captures of a million packets are compared."""
    if (set_option := _of_libc("mallopt")) is not None:
        for option, value in ((ARENAS, 1), (MAPPED_FROM, 32 << 20), (TRIMMED_FROM, 64 << 20)):
            set_option(option, value)


@functools.cache
def _of_libc(name: str) -> Any:
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # another C library; another system
        return None


def _mapped(size: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, size, **_PRIVATE)
    except OSError as error:
        raise MemoryError(f"no room for {size:,} bytes ({error.strerror})") from None


_PRIVATE: dict[str, int] = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
_NOTHING: Array = np.empty(0, np.uint8)
