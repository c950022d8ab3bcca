"""Columns of tables as arrays: their types, and nullable ones as plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = np.ndarray[Any, Any]  #: of any type and shape
Ints = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]

MISSING = np.iinfo(np.int64).min  #: a time that is missing
NEVER = np.iinfo(np.int64).max  #: one that did not come


class Rows:
    """Rows as arrays of equal length, one a field of a dataclass."""

    def take(self, index: Any) -> Self:
        """The rows at ``index`` (integers, a slice or a mask)."""
        return type(self)(**{name: column[index] for name, column in vars(self).items()})

    def joined(self, *others: Self) -> Self:
        """These rows and then others."""
        return type(self)(
            **{name: np.concatenate([column, *(getattr(each, name) for each in others)]) for name, column in vars(self).items()}
        )


def ints(values: Any, missing: int = MISSING) -> Ints:
    """A column of nullable numbers as int64. (pandas' missing value is no number either, and a float would not hold nanoseconds since 1970.)"""
    array = np.asarray(values)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    values = array.tolist()
    if kinds(values) <= {int, type(None)}:  # nearly always, and twice as fast
        return np.array([missing if v is None else v for v in values], np.int64)
    return np.array([int(v) if isinstance(v, (int, np.integer)) else missing for v in values], np.int64)


def objects(values: Collection[Any]) -> Objects:
    """A column of ``values`` as they are; numpy would make a matrix of lists of equal length."""
    return np.fromiter(values, object, len(values))


def members(*numbers: int) -> Bools:
    """bool[65536]: which numbers of 16 bits are these; looked up in a tenth of the time of numpy's ``isin``."""
    out = np.zeros(1 << 16, np.bool_)
    out[list(numbers)] = True
    return out


def by_value(function: Callable[[Any], Any], values: list[Any]) -> list[Any]:
    """A function of each value, worked out once of equal ones."""
    known = {value: function(value) for value in set(values)}
    return [known[value] for value in values]


def kinds(values: list[Any]) -> set[type]:
    """The types that are in a list."""
    return set(map(type, values))


def in_order(most: int, *times: Ints) -> list[Ints]:
    """Columns of times as numbers in the same order from 0 on, so small that ``most`` times as many fit into int64: what passed since the first time, or, where
    that is too long, places among all."""
    first, last = min(int(each.min(initial=NEVER)) for each in times), max(int(each.max(initial=MISSING)) for each in times)
    if last - first < NEVER // most:
        return [each - first for each in times]
    every = np.sort(np.concatenate(times))  # np.unique hashes, which takes ten times as long where there are many
    return [np.searchsorted(every, each) for each in times]


def distinct_rows(*columns: Ints) -> tuple[Ints, Ints, Ints]:
    """The different rows of columns of one length, in order (int64[rows, columns]); which of them each row is; how many are the same.

    As ``np.unique`` with an axis, which compares rows byte by byte and takes ten times as long.
    """
    n = len(columns[0])
    if not n:
        return np.empty((0, len(columns)), np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    key, spans = np.zeros(n, np.int64), 1
    for column in columns:
        low, high = int(column.min()), int(column.max())
        if high - low >= n:
            values, ranks = np.unique(column, return_inverse=True)
            low, high = 0, len(values) - 1
        else:
            ranks = column - low
        if spans * (high + 1 - low) > NEVER:
            values, key = np.unique(key, return_inverse=True)
            spans = len(values)
        key, spans = key * (high + 1 - low) + ranks, spans * (high + 1 - low)
    _, first, which, counts = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    return np.stack([column[first] for column in columns], axis=1), which, counts


def as_they_come(*columns: Ints) -> tuple[Ints, Ints]:
    """The different rows of columns of one length (int64[rows, columns]), each where it comes first; which of them each row is."""
    alike, which, _ = distinct_rows(*columns)
    first = np.empty(len(alike), np.int64)
    first[which[::-1]] = np.arange(len(which))[::-1]
    order = np.argsort(first)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return alike[order], place[which]
