"""What a file is that is neither a capture nor a log, by how it begins: for messages to whoever gave the wrong one."""

from __future__ import annotations

import contextlib
import gzip
import zlib

from netlens import sidefiles
from netlens.errors import NetlensError

#: First bytes of kinds of files that are given by mistake.
_BINARY = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"SQLite format 3", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
)
_CAPTURES = (b"\xa1\xb2\xc3\xd4", b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x4d\x3c\xb2\xa1", b"\n\r\r\n")
_HEAD = 64  #: bytes that are looked at


def not_a_capture(path: str) -> str | None:
    """What ``path`` is, if that is known: "a JPEG picture", "gzip of an HTML page"; None if it may be a capture, or cannot be read."""
    head = _head(path)
    if head.startswith(b"\x1f\x8b"):
        return f"gzip of {kind}" if (kind := _kind(_unzipped(head))) else None
    return _kind(head)


def not_a_log(path: str) -> str | None:
    """What ``path`` is, if it is no text that an error log could be; else None."""
    head = _head(path)
    return "a capture" if head.startswith(_CAPTURES) else next((kind for start, kind in _BINARY if head.startswith(start)), None)


def _kind(head: bytes) -> str | None:
    found = next((kind for start, kind in _BINARY if head.startswith(start)), None)
    if found is not None:
        return found
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith((b"{", b"[")):
        return "JSON"
    return None


def _head(path: str) -> bytes:
    with contextlib.suppress(NetlensError), sidefiles.opened(path) as file:
        return file.read(1024)[:1024]
    return b""


def _unzipped(head: bytes) -> bytes:
    with contextlib.suppress(zlib.error, gzip.BadGzipFile):
        return zlib.decompressobj(31).decompress(head, _HEAD)
    return b""
