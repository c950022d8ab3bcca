"""JSON of values that have arrays of whole numbers in them.

The standard library's encoder takes lists, of which each number is an object of 32 bytes, and most of a report's page is numbers: their text is written by
a compiled loop, and put where the encoder left a mark.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from netlens.columns import MISSING, Ints
from netlens.wire.compiled import lean

MOST_DIGITS = 20  #: of an int64 with its sign
COMMA, OPEN, CLOSE, MINUS, ZERO, N, U, L = b",[]-0nul"
_MARK = re.compile(rb'"\\u0000(\d+)"')


@dataclass(frozen=True, eq=False)
class Lists:
    """Lists of whole numbers: the k-th is ``numbers[ends[k - 1]:ends[k]]``; the first begins at 0."""

    numbers: Ints
    ends: Ints


def encoded(value: Any) -> bytes:
    """``value`` as compact JSON. Arrays of integers or booleans are lists of numbers, and what is :data:`MISSING` in them is null. Text has no NUL."""
    found: list[bytes] = []

    def mark(array: Any) -> str:
        if isinstance(array, Lists):
            found.append(b"[%b]" % _text(array.numbers, array.ends))
        elif isinstance(array, np.ndarray) and array.ndim == 1 and np.can_cast(array.dtype, np.int64):
            found.append(_text(array, np.array([len(array)])))
        else:
            raise TypeError(f"no JSON for {type(array).__name__}")
        return f"\0{len(found) - 1}"

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=mark).encode()
    parts: list[bytes] = _MARK.split(text)
    if len(parts) != 2 * len(found) + 1:
        raise ValueError("text with NUL in it")
    parts[1::2] = found
    return b"".join(parts)


def _text(numbers: Any, ends: Ints) -> bytes:
    out = np.empty(len(numbers) * (MOST_DIGITS + 1) + 3 * len(ends) + 1, np.uint8)
    return out[: write(np.ascontiguousarray(numbers, np.int64), ends.astype(np.int64), out)].tobytes()


@lean
def write(numbers, ends, out):
    """Write lists, one behind the other: ``[1,null],[]``. The number of bytes.

    Parameters
    ----------
    numbers : int64[n]; :data:`MISSING` is null.  ends : int64[k], where each list ends.  out : uint8[m], with room for :data:`MOST_DIGITS` and a comma for each
    number, three bytes for each list and one more.
    """
    at, i = 0, 0
    for k in range(len(ends)):
        if k > 0:
            out[at] = COMMA
            at += 1
        out[at] = OPEN
        at += 1
        first = i
        while i < ends[k]:
            if i > first:
                out[at] = COMMA
                at += 1
            value = numbers[i]
            i += 1
            if value == MISSING:
                out[at], out[at + 1], out[at + 2], out[at + 3] = N, U, L, L
                at += 4
                continue
            if value < 0:
                out[at] = MINUS
                at += 1
                value = -value
            digits, rest = 1, value // 10
            while rest > 0:
                digits += 1
                rest //= 10
            for place in range(at + digits - 1, at - 1, -1):
                out[place] = ZERO + value % 10
                value //= 10
            at += digits
        out[at] = CLOSE
        at += 1
    return at
