"""Every error that netlens raises on purpose.

A message is one line: the bad value, where it was found, and what to try. The command line prints it after ``netlens: `` and exits
with 1; a library user catches :class:`NetlensError`.
"""

from __future__ import annotations


class NetlensError(Exception):
    """Base of all errors of netlens; its text is one line a person can act on."""


class CaptureError(NetlensError):
    """A capture or recording cannot be opened or is none (missing file, directory, empty, text, wrong gzip, no permission)."""


class WireError(NetlensError):
    """The bytes of a capture cannot be framed any further (unknown magic number, damaged block, unsupported variant)."""


class SchemaError(NetlensError):
    """A table lacks a declared column or carries one of another dtype: a mistake in netlens or in a caller's own table."""
