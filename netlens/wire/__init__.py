"""Bytes to columns; nothing is remembered from one packet to the next (fragments of one datagram excepted)."""

import contextlib
import mmap
from pathlib import Path

#: Address space that LLVM, numba's runtime and the kernels of one table take. With less they end the process by an abort that nobody can catch.
NEEDED_BYTES = 450 << 20


def _see_to_room() -> None:
    """Raise MemoryError where compiled code would find no room. The map is never touched, so it takes none itself."""
    if hasattr(mmap, "MAP_ANONYMOUS"):
        try:
            mmap.mmap(-1, NEEDED_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError:
            raise MemoryError(f"compiled code needs {NEEDED_BYTES >> 20} MB of address space") from None


def _drop_stale_kernels() -> None:
    """Remove cached machine code that is older than any kernel source.

    numba checks a cached kernel against its own file only; a change in a module whose functions it calls would go unnoticed. Costs two
    directory listings (0.3 ms).
    """
    root = Path(__file__).parent.parent
    folders = [root / "wire", root / "parsers"]
    newest = max(p.stat().st_mtime for folder in folders for p in folder.glob("*.py"))
    for folder in folders:
        for cached in (folder / "__pycache__").glob("*.nb[ci]"):
            with contextlib.suppress(OSError):
                if cached.stat().st_mtime < newest:
                    cached.unlink()


_see_to_room()
with contextlib.suppress(OSError, ValueError):
    _drop_stale_kernels()
