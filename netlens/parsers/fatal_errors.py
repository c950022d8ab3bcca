"""Why a PostgreSQL server ends a connection or refuses a statement: the SQLSTATE of its errors in clear (PostgreSQL's protocol 3.0, ErrorResponse); and which
connections ask for the same database (StartupMessage).

An error may stand behind other messages in its segment, as behind the last one of a login or what a statement had begun to give. Of an error only its class
is kept, five letters or digits (SQL:2023 part 2, 24.1): what it says in words may name users, databases and tables. Of a database nothing is kept but a
number that tells whether two are the same. Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_ERRORS` of each gravity; of an error whose code is in the next segment it is not known. What a program may expect of data
that it was given (classes 22 and 23) and what follows of an error before (25P02) is not kept.
"""

import re
from typing import NamedTuple
from zlib import crc32

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c

MAX_ERRORS, MAX_STARTS = 10_000, 100_000
LOOKED_AT = 1500  #: bytes of a segment
#: Messages of a server before an error: authentication, settings, key, notice, version; and of a statement that was parsed and bound, rows and their shape
_BEFORE = b"RSKNv12tnTDC"
BEGINS = np.zeros(256, bool)
BEGINS[list(b"ERT12")] = True
VERSION = b"\0\3\0\0"  #: of a start-up
_SEVERITY = re.compile(rb"(?:S[^\0]*\0)?V(FATAL|PANIC|ERROR)\0|S(FATAL|PANIC|ERROR)\0")  #: V, since PostgreSQL 9.6, is never translated
_CODE = re.compile(rb"C([0-9A-Z]{5})\0")
_EXPECTED = ("22", "23", "25P02")


class Fatal(NamedTuple):
    """code : the SQLSTATE, "" if it is cut off.  ends : the connection, not only a statement."""

    session: int
    frame: int
    code: str
    ends: bool = True


class FatalBuilder:
    """Fed with decoded packets whose sessions are known.  errors : in order.  databases : by session, of the first :data:`MAX_STARTS`."""

    def __init__(self) -> None:
        self.errors: list[Fatal] = []
        self.databases: dict[int, int] = {}
        self._left = {True: MAX_ERRORS, False: MAX_ERRORS}

    def feed(self, buf: Array, packets: Array) -> None:
        at = np.minimum(packets[:, c.PAY_OFF], len(buf) - 8)
        starts = (buf[at + 5] == VERSION[1]) & (packets[:, c.PAY_CAP] > 8) & (packets[:, c.FRESH] > 0) & (packets[:, c.SESSION] >= 0)
        for row in packets[starts].tolist() if len(self.databases) < MAX_STARTS else ():
            start = row[c.PAY_OFF]
            text = buf[start : start + min(row[c.PAY_CAP], LOOKED_AT)].tobytes()
            if text[4:8] == VERSION and int.from_bytes(text[:4], "big") == row[c.LENGTH]:
                self.databases.setdefault(row[c.SESSION], database(text))
        likely = BEGINS[buf[at]] & (packets[:, c.PAY_CAP] > 5) & (packets[:, c.FRESH] > 0)
        likely &= (buf[at + 1] == 0) & (buf[at + 2] == 0)  # a length below 65,536
        for row in packets[likely].tolist() if any(self._left.values()) else ():
            start = row[c.PAY_OFF]
            found = refusal(buf[start : start + min(row[c.PAY_CAP], LOOKED_AT)].tobytes())
            if found is None or row[c.SESSION] < 0 or not self._left[found[1]]:
                continue
            code, ends = found
            if ends or (code and not code.startswith(_EXPECTED)):
                self._left[ends] -= 1
                self.errors.append(Fatal(row[c.SESSION], row[c.FRAME], code, ends))


def database(text: bytes) -> int:
    """The number of the database for which this start-up asks: by name, else that of the user's name."""
    words = text[8:].split(b"\0")
    asked = dict(zip(words[::2], words[1::2], strict=False))
    return crc32(asked.get(b"database") or asked.get(b"user", b""))


def refusal(text: bytes) -> tuple[str, bool] | None:
    """The SQLSTATE ("" if it is cut off) of the error that is the first in these messages, and whether it is fatal; None without an error."""
    at = 0
    while text[at : at + 1] and text[at] in _BEFORE:
        at += 1 + max(int.from_bytes(text[at + 1 : at + 5], "big"), 4)
    severity = _SEVERITY.match(text, at + 5) if text[at : at + 1] == b"E" else None
    if severity is None:
        return None
    code = _CODE.match(text, severity.end())
    return code[1].decode() if code else "", (severity[1] or severity[2]) != b"ERROR"
