"""What a key log showed, kept without the keys: one JSON object a line, for recordings that are handed on without payload.

The lines are :class:`netlens.parsers.decrypted.DecryptedRequest`, numbers and codes only. A file may come from a stranger: what is no such line is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from netlens.errors import CaptureError
from netlens.parsers.decrypted import Decrypted, DecryptedRequest
from netlens.text import printable

MAX_ROWS = 5_000_000  #: lines read; a request a millisecond for more than an hour
_CODE = re.compile(r"[0-9A-Za-z_.-]{1,32}")
_KINDS = {f.name: str(f.type) for f in fields(DecryptedRequest)}


def lines(rows: Iterable[DecryptedRequest]) -> Iterable[str]:
    """One line of JSON for each request."""
    for row in rows:
        yield json.dumps(asdict(row))


def read(path: str) -> Decrypted:
    """The requests of a file.

    Raises
    ------
    CaptureError
        it cannot be read.
    """
    rows = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file):
                if number >= MAX_ROWS:
                    break
                row = _row(line)
                if row is not None:
                    rows.append(row)
    except OSError as error:
        raise CaptureError(f"{printable(path)}: cannot be read ({(error.strerror or str(error)).lower()})") from None
    return Decrypted(sorted(rows, key=lambda r: (r.start_ns, r.frame)))


def _row(line: str) -> DecryptedRequest | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.keys() != _KINDS.keys():
        return None
    return DecryptedRequest(**values) if all(_fits(name, value) for name, value in values.items()) else None


def _fits(name: str, value: Any) -> bool:
    if name == "code":
        return value is None or (isinstance(value, str) and _CODE.fullmatch(value) is not None)
    if name == "http":
        return value in ("1.1", "2")
    if name == "complete":
        return isinstance(value, bool)
    if value is None:
        return "None" in _KINDS[name]
    return isinstance(value, int) and not isinstance(value, bool) and -1 <= value < 1 << 63
