"""Bytes to columns; nothing is remembered from one packet to the next (fragments of one datagram excepted)."""

import contextlib
from pathlib import Path


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


with contextlib.suppress(OSError, ValueError):
    _drop_stale_kernels()
