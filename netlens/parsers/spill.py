"""Session state that lies in a file: of a very large capture, most sessions are over, and need no memory.

The matrix of sessions is mapped from a file without a name, and pages of old sessions are given back as more come: the kernel writes them to the
file, and brings one back when a late packet, a new use of its 5-tuple or the making of rows asks for it. So every session stays what it would be in
memory, with its number, and the process holds what is in use. (Writing rows of ended sessions away for good was the other way. It would make late
packets, and 5-tuples used again, sessions of their own, so that rows would depend on how much memory there was.)

A file of which the disk cannot hold all is not begun: writing to a page that has no room on the disk would end the process.
"""

import mmap
import os

import numpy as np

from netlens.columns import Array

SPILL_AT = 1 << 20  #: sessions from which the state goes to a file: 0.4 GB
KEPT = 1 << 17  #: newest sessions whose pages are left alone: 50 MB
STEP = 1 << 16  #: new sessions after which pages are given back


class StateFile:
    """An int64 matrix of ``width`` columns in a file of ``folder`` that is gone when the process is.

    Raises
    ------
    OSError
        the folder cannot be written to, or its disk does not hold so many rows.
    """

    def __init__(self, folder: str, width: int) -> None:
        import tempfile

        self._file = tempfile.TemporaryFile(prefix=".netlens-", dir=folder)
        self._row = 8 * width
        self._map: mmap.mmap | None = None
        self.rows: Array = np.zeros((0, width), np.int64)

    def grow(self, rows: int) -> None:
        """Make room for ``rows`` in all; ``rows`` of before keep their values, new ones are 0. Arrays of before go on being the same memory."""
        size = rows * self._row
        _allocate(self._file.fileno(), size)
        self._map = mmap.mmap(self._file.fileno(), size)
        self.rows = np.frombuffer(self._map, np.int64).reshape(rows, -1)

    def give_back(self, rows: int) -> None:
        """Hold none of the first ``rows`` in memory until they are read again. Only a hint where the system has no such call."""
        end = rows * self._row // mmap.PAGESIZE * mmap.PAGESIZE
        if self._map is not None and end > 0 and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED, 0, end)


def _allocate(file: int, size: int) -> None:
    """Room on the disk for ``size`` bytes, for sure."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
        return
    at, zeros = os.fstat(file).st_size, bytes(1 << 20)
    while at < size:
        at += os.pwrite(file, zeros[: size - at], at)
