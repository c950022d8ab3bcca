"""What a key log showed, kept without the keys: one JSON object a line, for recordings that are handed on without payload.

The lines are :class:`netlens.parsers.decrypted.DecryptedRequest`, numbers and codes only. A file may come from a stranger: what is no such line is left out.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, fields
from typing import Any

from netlens.parsers.decrypted import Decrypted, DecryptedRequest
from netlens.sidefiles import Rows

MAX_ROWS = 500_000  #: lines read; ten requests a second for half a day
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
    lines = Rows(path, MAX_ROWS, _row, "a request of netlens")
    rows = sorted(lines, key=lambda r: (r.start_ns, r.frame))
    return Decrypted(rows, "; ".join(lines.notes) or None)


def _row(values: dict[str, Any]) -> DecryptedRequest | None:
    if values.keys() != _KINDS.keys() or not all(_fits(name, value) for name, value in values.items()):
        return None
    return DecryptedRequest(**values)


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
