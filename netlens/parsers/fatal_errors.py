"""Why a PostgreSQL server ends a connection: the SQLSTATE of its FATAL errors in clear (PostgreSQL's protocol 3.0, ErrorResponse).

An error may stand behind other messages in its segment, as behind the last one of a login. Of an error only its class is kept, five letters or digits (SQL:2023
part 2, 24.1): what it says in words may name users and databases. Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_ERRORS`; of an error whose code is in the next segment it is not known.
"""

import re
from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c

MAX_ERRORS = 10_000
LOOKED_AT = 1500  #: bytes of a segment
_BEFORE = b"RSKNv"  #: messages that a server sends before it takes a query: authentication, settings, key, notice, version
_BEGINS = np.zeros(256, bool)
_BEGINS[list(b"ER")] = True
_SEVERITY = re.compile(rb"S(?:FATAL|PANIC)\0|(?:S[^\0]*\0)?V(?:FATAL|PANIC)\0")  #: V, since PostgreSQL 9.6, is never translated
_CODE = re.compile(rb"(?:V[A-Z]*\0)?C([0-9A-Z]{5})\0")


class Fatal(NamedTuple):
    """code : the SQLSTATE, "" if it is cut off."""

    session: int
    frame: int
    code: str


class FatalBuilder:
    """Fed with decoded packets whose sessions are known.  errors : in order."""

    def __init__(self) -> None:
        self.errors: list[Fatal] = []

    def feed(self, buf: Array, packets: Array) -> None:
        at = np.minimum(packets[:, c.PAY_OFF], len(buf) - 3)
        likely = _BEGINS[buf[at]] & (packets[:, c.PAY_CAP] > 5) & (packets[:, c.FRESH] > 0)
        likely &= (buf[at + 1] == 0) & (buf[at + 2] == 0)  # a length below 65,536
        for row in packets[likely].tolist() if len(self.errors) < MAX_ERRORS else ():
            start = row[c.PAY_OFF]
            code = fatal(buf[start : start + min(row[c.PAY_CAP], LOOKED_AT)].tobytes())
            if code is not None and row[c.SESSION] >= 0:
                self.errors.append(Fatal(row[c.SESSION], row[c.FRAME], code))


def fatal(text: bytes) -> str | None:
    """The SQLSTATE of a FATAL error that is the first in these messages; "" if it is cut off, None without an error."""
    at = 0
    while text[at : at + 1] and text[at] in _BEFORE:
        at += 1 + max(int.from_bytes(text[at + 1 : at + 5], "big"), 4)
    grave = _SEVERITY.match(text, at + 5) if text[at : at + 1] == b"E" else None
    if grave is None:
        return None
    code = _CODE.match(text, grave.end())
    return code[1].decode() if code else ""
