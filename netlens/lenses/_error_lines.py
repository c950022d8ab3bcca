"""Servers of protocols that nobody reads here, which say no in words and close: a line that begins by ERROR, -ERR, FAIL, denied or the like.

Only the first eight bytes of a segment are known, and of these only whether they begin by one of :data:`WORDS`. Such a line may be what was asked for: that an
address is rejected, a badge denied, no unit failed. So it never is more than a warning, which says how the line begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netlens.lenses._services import NAMES
from netlens.lenses._view import S, View
from netlens.parsers.denials import PROTOCOLS

#: How lines begin by which a server ends what its client came for, in any case of letters
WORDS = (b"-ERR", b"ERROR", b"ERR ", b"ERR:", b"@ERROR", b"FAIL", b"DENIED", b"ACCESS D", b"REFUSED", b"REJECT", b"INVALID", b"UNAUTHOR", b"UNAUTHEN",
         b"FORBID", b"NOT ALLO", b"NOT AUTH", b"TOO MANY", b"TIMEOUT", b"PERMISSI", b'{"ERROR')  # fmt: skip
_FAREWELL = int.from_bytes(b"ERROR :", "big")  #: how IRC ends each connection, by QUIT as well (RFC 2812 3.1.7)
CLOSED_NS = 2 * S  #: in which a server closes behind such a line
_READ = {*NAMES, *(port for member in PROTOCOLS for port in member.AT.tcp)}  #: ports of what is read elsewhere
_LOWER = 0x2020202020202020


def error_lines(view: View, known: set[int]) -> list[tuple[int, str, list[int]]]:
    """(session, word, frames) of sessions that end by such a line.  known : those of which more is known."""
    protocols = view.sessions["protocol"]
    unread = (view.sessions["resp_bytes"] > 0) & (protocols != "http") & (protocols != "tls")
    return [
        (k, *line)
        for k in sorted(view.sessions_where(lambda head: _word(head) > 0, unread) & set(view.in_one) - known)
        if view.ends(k)[3] not in _READ and (line := _last_line(view, k))
    ]


def _word(head: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """By segment, the number of the word that it begins by, from 1 on; 0 for none."""
    found = np.zeros(len(head), np.int64)
    for number, word in enumerate(WORDS, 1):
        bits = np.uint64(64 - 8 * len(word))
        mask = np.uint64(_LOWER) >> bits
        found[(head >> bits | mask) == np.uint64(int.from_bytes(word, "big") | int(mask))] = number
    found[head >> np.uint64(8) == _FAREWELL] = 0
    return found


def _last_line(view: View, k: int) -> tuple[str, list[int]] | None:
    """The word by which the last that a server says begins, and the frames of that and of its close, if it then closes and its client did not before."""
    seg = view.segments(k)
    end = seg.closing()
    last = max((i for i in range(end + 1) if not seg.orig[i] and seg.fresh[i]), default=-1)
    if end < 0 or last < 0 or seg.orig[end] or seg.ts[end] - seg.ts[last] > CLOSED_NS:
        return None
    number = int(_word(np.array([seg.head[last]], np.uint64))[0])
    return (WORDS[number - 1].decode(), list(dict.fromkeys((seg.frame[last], seg.frame[end])))) if number else None
