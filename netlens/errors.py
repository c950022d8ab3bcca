"""Every error that netlens raises on purpose.

A message is one line: the bad value, where it was found, and what to try. The command line prints it after ``netlens: `` and exits
with 1; a library user catches :class:`NetlensError`.
"""

from __future__ import annotations

import os
from typing import Any

DEBUG = "NETLENS_DEBUG"  #: environment: a defect shows its trace, and ends the program wherever it is


def defect(kind: type[BaseException], error: BaseException | None, trace: Any) -> str:
    """What a report of an exception that netlens did not mean to raise needs, on one line."""
    import traceback
    from pathlib import Path

    said = " ".join(str(error).split())[:200]
    frames = traceback.extract_tb(trace)
    package = f"{os.path.dirname(os.path.abspath(__file__))}{os.sep}"
    found = [f for f in frames if f.filename.startswith(package)] or list(frames)
    at = f" at {'/'.join(Path(found[-1].filename).parts[-3:])}:{found[-1].lineno}" if found else ""
    return f"{kind.__name__}{f' ({said})' if said else ''}{at}"


class NetlensError(Exception):
    """Base of all errors of netlens; its text is one line a person can act on."""


class CaptureError(NetlensError):
    """A capture or recording cannot be opened or is none (missing file, directory, empty, text, wrong gzip, no permission)."""


class WireError(NetlensError):
    """The bytes of a capture cannot be framed any further (unknown magic number, damaged block, unsupported variant)."""


class SchemaError(NetlensError):
    """A table lacks a declared column or carries one of another dtype: a mistake in netlens or in a caller's own table."""
