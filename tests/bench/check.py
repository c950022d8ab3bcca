"""Compare what netlens found in a generated capture with the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: columns that are compared, by table; the truth names them as netlens does
COMPARED = {
    "sessions": (
        *("orig_ip", "orig_port", "resp_ip", "resp_port", "start_ns", "end_ns", "state", "sni"),
        *("orig_frames", "resp_frames", "orig_bytes", "resp_bytes", "first_frame", "last_frame"),
    ),
    "lookups": (
        *("qname", "qtype", "rcode", "query_ns", "answer_ns", "attempts", "orig_ip", "orig_port", "txid"),
        *("query_frame", "answer_frame"),
    ),
}
PREFIX = {"sessions": "session", "lookups": "lookup"}
#: counts that are zero in a generated capture of sessions whose truth does not say otherwise
_ZERO = tuple(f"{side}_{what}" for side in ("orig", "resp") for what in ("retransmits", "out_of_order", "copies", "missing_bytes"))


def address_text(numbers: Array) -> Array:
    """IPv4 addresses as text; each distinct one is converted once."""
    distinct, inverse = np.unique(numbers, return_inverse=True)
    text = [".".join(str(int(n) >> shift & 255) for shift in (24, 16, 8, 0)) for n in distinct]
    return np.array(text, dtype="U15")[inverse]


def rows_expected(truth: Mapping[str, Array], table: str) -> int:
    name = f"{PREFIX[table]}.orig_ip"
    return len(truth[name]) if name in truth else 0


def differences(truth: Mapping[str, Array], columns: Mapping[str, Any], table: str) -> list[str]:
    """One line for each column of ``columns`` that is not what the truth says; an empty list if all agree.

    ``columns`` are netlens' own: numpy arrays, None (or -1) for what is missing.
    """
    expected_rows = rows_expected(truth, table)
    rows = len(columns["orig_ip"])
    if rows != expected_rows:
        return [f"{table}: {rows:,} rows, {expected_rows:,} expected"]
    found: list[str] = []
    for name in COMPARED[table]:
        key = f"{PREFIX[table]}.{name}"
        if key not in truth:
            continue
        expected = address_text(truth[key]) if name.endswith("_ip") else truth[key]
        actual = _plain(columns[name], expected.dtype)
        wrong = np.flatnonzero(actual != expected)
        if len(wrong):
            row = int(wrong[0])
            found.append(
                f"{table}.{name}: {len(wrong):,} of {rows:,} rows differ, the first is row {row}: {actual[row]}, {expected[row]} expected"
            )
    if table == "sessions":
        for name in _ZERO:
            expected = truth.get(f"{PREFIX[table]}.{name}", 0)
            if name in columns and (wrong := int(np.sum(_plain(columns[name], np.dtype(np.int64)) != expected))):
                found.append(f"{table}.{name}: wrong in {wrong:,} rows")
    return found


def _plain(values: Any, dtype: np.dtype[Any]) -> Array:
    """The column as text or int64, as the truth has it: missing text is "", a missing number -1."""
    array = np.asarray(values)
    if dtype.kind == "U":
        return np.array(["" if v is None else str(v) for v in array.tolist()], dtype=str)
    if array.dtype.kind in "Of":
        return np.array([-1 if v is None or v != v else int(v) for v in array.tolist()], dtype=np.int64)
    return array.astype(np.int64)
