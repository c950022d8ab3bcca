"""Columns of text, lists and missing numbers as a few arrays, which become Python objects when somebody asks for them.

A million objects take a tenth of a second and more to make, and Parquet, Arrow and pandas want none of them. A :class:`netlens.schema.Table` holds
such a column as it is; ``table[name]`` is the numpy array of objects, and from then on the column.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

Array = np.ndarray[Any, Any]

# Arrow's own way in, pyarrow.array, imports pandas to see whether it is given something of pandas: 150 ms and 50 MB. So arrays are made of buffers.

OBJECT = np.dtype("O")
MOST = 2**31 - 1  #: offsets of Arrow's strings and lists are of 32 bits
FEW = 1024  #: words of a dictionary of which some may be unused
SHORT = 64  #: bytes of a word up to which a column of words is written out by numpy


class LazyColumn:
    """A column of Python objects. Its arrays are not changed by anybody."""

    dtype = OBJECT

    def __len__(self) -> int:
        raise NotImplementedError

    def objects(self) -> Array:
        """object[n]: str, int, list or None."""
        raise NotImplementedError

    def arrow(self, coded: bool = False) -> pa.Array:
        """The same values; ``coded``: text that repeats as a dictionary."""
        raise NotImplementedError

    def take(self, index: Array) -> LazyColumn:
        """The values at ``index`` (integers or a boolean mask)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Nullable(LazyColumn):
    """Integers that may be missing: int64[n], bool[n]."""

    values: Array
    known: Array

    def __len__(self) -> int:
        return len(self.values)

    def objects(self) -> Array:
        if self.known.all():
            return self.values.astype(object)
        out = np.empty(len(self.values), dtype=object)  # of None
        out[self.known] = self.values[self.known].astype(object)
        return out

    def arrow(self, coded: bool = False) -> pa.Array:
        return _numbers(self.values, "int64", self.known)

    def take(self, index: Array) -> Nullable:
        return Nullable(self.values[index], self.known[index])


@dataclass(frozen=True, eq=False)
class Coded(LazyColumn):
    """Text of which many values are equal: int32 or int64[n] places in ``words``, object[k] of str or None."""

    codes: Array
    words: Array

    def __len__(self) -> int:
        return len(self.codes)

    def objects(self) -> Array:
        out: Array = self.words[self.codes]
        return out

    def arrow(self, coded: bool = False) -> pa.Array:
        import pyarrow as pa

        if coded:
            return self._dictionary()
        words = [(w or "").encode() for w in self.words.tolist()]
        sizes = np.array([len(w) for w in words], np.int64)
        total = int(sizes[self.codes].sum())
        if sizes.max(initial=0) <= SHORT and total <= MOST:
            wide = np.array(words, f"S{max(int(sizes.max(initial=1)), 1)}")[self.codes]
            width, lengths = wide.dtype.itemsize, sizes[self.codes]
            data = wide.view(np.uint8).reshape(len(self), width)[np.arange(width) < lengths[:, None]]
            known = np.array([w is not None for w in self.words.tolist()], bool)[self.codes]
            return _text(data, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]), known)
        words_of = _strings(self.words.tolist())
        if total > MOST:
            words_of = words_of.cast(pa.large_string())
        return pa.DictionaryArray.from_arrays(_numbers(self.codes, "int64"), words_of).dictionary_decode()

    def _dictionary(self) -> pa.Array:
        """As Arrow dictionary with codes of 32 bits, no word of it null or there twice, as writers of Parquet take for granted."""
        import pyarrow as pa

        # a few words that no row uses cost less than to look for them
        used = self._used() if len(self.words) > FEW else np.arange(len(self.words))
        numbers: dict[str, int] = {}
        places = np.full(len(self.words), -1, np.int32)
        places[used] = [-1 if w is None else numbers.setdefault(w, len(numbers)) for w in self.words[used].tolist()]
        codes = places[self.codes]
        stored = pa.Array.from_buffers(pa.int32(), len(codes), [_holes(codes >= 0), pa.py_buffer(codes)])
        return pa.DictionaryArray.from_arrays(stored, _strings(list(numbers)))

    def _used(self) -> Array:
        """Numbers of the words that are in any row."""
        return np.flatnonzero(np.bincount(self.codes, minlength=len(self.words)))

    def take(self, index: Array) -> Coded:
        """The values at ``index``, without the words of others: what was left out goes into no file."""
        taken = Coded(self.codes[index], self.words)
        used = taken._used()
        places = np.zeros(len(self.words), np.int64)
        places[used] = np.arange(len(used))
        return Coded(places[taken.codes], self.words[used])


@dataclass(frozen=True, eq=False)
class Texts(LazyColumn):
    """Text of which most values differ: ``data[offsets[i] : offsets[i + 1]]``, uint8 (ASCII), int64[n + 1]; missing where not ``known``."""

    data: Array
    offsets: Array
    known: Array

    def __len__(self) -> int:
        return len(self.known)

    def objects(self) -> Array:
        text, at = self.data.tobytes().decode("ascii"), self.offsets.tolist()
        out = np.empty(len(self), dtype=object)
        same: dict[str, str] = {}
        out[:] = [same.setdefault(t, t) for t in [text[a:b] for a, b in pairwise(at)]]
        out[~self.known] = None
        return out

    def arrow(self, coded: bool = False) -> pa.Array:
        return _text(self.data, self.offsets, self.known)

    def take(self, index: Array) -> Texts:
        offsets, places = pieces(self.offsets, index)
        return Texts(self.data[places], offsets, self.known[index])


@dataclass(frozen=True, eq=False)
class Lists(LazyColumn):
    """Lists: ``values[offsets[i] : offsets[i + 1]]``, int64[n + 1], text or int64[m]."""

    offsets: Array
    values: LazyColumn | Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def objects(self) -> Array:
        flat = (self.values.objects() if isinstance(self.values, LazyColumn) else self.values).tolist()
        at = self.offsets.tolist()
        out = np.empty(len(self), dtype=object)
        out[:] = [flat[a:b] for a, b in pairwise(at)]
        return out

    def arrow(self, coded: bool = False) -> pa.Array:
        values = self.values.arrow(coded) if isinstance(self.values, LazyColumn) else _numbers(self.values, "int64")
        return _lists(self.offsets, values)

    def take(self, index: Array) -> Lists:
        offsets, places = pieces(self.offsets, index)
        return Lists(offsets, self.values.take(places) if isinstance(self.values, LazyColumn) else self.values[places])


def pieces(offsets: Array, index: Array) -> tuple[Array, Array]:
    """Offsets of the pieces at ``index`` put one after the other, and where each of their elements was."""
    starts, ends = offsets[:-1][index], offsets[1:][index]
    sizes = ends - starts
    out = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return out, np.arange(out[-1]) + np.repeat(starts - out[:-1], sizes)


def nothing(n: int) -> Lists:
    """``n`` empty lists of integers."""
    return Lists(np.zeros(n + 1, np.int64), np.empty(0, np.int64))


# ---- Arrow arrays from buffers ----


def arrow(values: Array, dtype: str) -> pa.Array:
    """A numpy column as Arrow array; ``dtype`` is one of :data:`netlens.schema.DTYPES`. NaN, and None, are null."""
    if dtype == "float64":
        return _numbers(values, dtype, ~np.isnan(values))
    if dtype in ("int64", "bool"):
        return _numbers(values, dtype)
    listed = values.tolist()
    if dtype == "string":
        return _strings(listed)
    if dtype.startswith("nullable"):
        known = np.array([v is not None for v in listed], bool)
        kind = dtype.removeprefix("nullable_")
        return _numbers(np.array([v or 0 for v in listed], kind), kind, known)
    flat = [v for of in listed for v in of]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(of) for of in listed], dtype=np.int64)])
    return _lists(offsets, _strings(flat) if dtype == "list<string>" else _numbers(np.array(flat, np.int64), "int64"))


def _holes(known: Array | None) -> Any:
    import pyarrow as pa

    return None if known is None or known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))


def _numbers(values: Array, dtype: str, known: Array | None = None) -> pa.Array:
    import pyarrow as pa

    kinds = {"int64": pa.int64, "float64": pa.float64, "bool": pa.bool_}
    stored = np.packbits(values, bitorder="little") if dtype == "bool" else np.ascontiguousarray(values, dtype)
    return pa.Array.from_buffers(kinds[dtype](), len(values), [_holes(known), pa.py_buffer(stored)])


def _text(data: Any, offsets: Array, known: Array) -> pa.Array:
    import pyarrow as pa

    large = offsets[-1] > MOST
    kind, made = (pa.LargeStringArray, np.int64) if large else (pa.StringArray, np.int32)
    return kind.from_buffers(len(known), pa.py_buffer(offsets.astype(made)), pa.py_buffer(data), _holes(known))


def _strings(values: list[str | None]) -> pa.Array:
    encoded = [b"" if v is None else v.encode() for v in values]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(v) for v in encoded], dtype=np.int64)])
    return _text(b"".join(encoded), offsets, np.array([v is not None for v in values], bool))


def _lists(offsets: Array, values: pa.Array) -> pa.Array:
    import pyarrow as pa

    if offsets[-1] > MOST:
        return pa.LargeListArray.from_arrays(_numbers(offsets, "int64"), values)
    stored = pa.py_buffer(offsets.astype(np.int32))
    return pa.ListArray.from_arrays(pa.Array.from_buffers(pa.int32(), len(offsets), [None, stored]), values)
