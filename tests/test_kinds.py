"""Files that are no captures and no logs are called by name."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from netlens.kinds import not_a_capture, not_a_log
from tests.wire.helpers import pcap


@pytest.mark.parametrize(
    ("data", "capture", "log"),
    [
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG picture", "a JPEG picture"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture", "a PNG picture"),
        (b"PK\x03\x04rest", "a ZIP archive", "a ZIP archive"),
        (b"<!DOCTYPE html>\n<p>", "an HTML page", None),
        (b'\n {"a": 1}', "JSON", None),
        (gzip.compress(b"hello", mtime=0), None, None),
        (gzip.compress(b"<html>", mtime=0), "gzip of an HTML page", None),
        (gzip.compress(pcap([]), mtime=0), None, None),
        (pcap([]), None, "a capture"),
        (b"", None, None),
        (b"\x1f\x8b", None, None),
        (b"\x00\x01\x02", None, None),
    ],
)
def test_kinds(tmp_path: Path, data: bytes, capture: str | None, log: str | None) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert (not_a_capture(str(path)), not_a_log(str(path))) == (capture, log)


def test_what_is_not_there_has_no_kind(tmp_path: Path) -> None:
    assert not_a_capture(str(tmp_path / "none")) is None
    assert not_a_log(str(tmp_path)) is None
