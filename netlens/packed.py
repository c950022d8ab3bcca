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

OBJECT = np.dtype("O")
MOST = 2**31 - 1  #: offsets of Arrow's strings and lists are of 32 bits


class Packed:
    """A column of Python objects. Its arrays are not changed by anybody."""

    dtype = OBJECT

    def __len__(self) -> int:
        raise NotImplementedError

    def objects(self) -> Array:
        """object[n]: str, int, list or None."""
        raise NotImplementedError

    def arrow(self) -> pa.Array:
        """The same values."""
        raise NotImplementedError

    def take(self, index: Array) -> Packed:
        """The values at ``index`` (integers or a boolean mask)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Nullable(Packed):
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

    def arrow(self) -> pa.Array:
        import pyarrow as pa

        return pa.array(self.values, pa.int64(), mask=~self.known)

    def take(self, index: Array) -> Nullable:
        return Nullable(self.values[index], self.known[index])


@dataclass(frozen=True, eq=False)
class Coded(Packed):
    """Text of which many values are equal: int64[n] places in ``words``, object[k] of str or None."""

    codes: Array
    words: Array

    def __len__(self) -> int:
        return len(self.codes)

    def objects(self) -> Array:
        out: Array = self.words[self.codes]
        return out

    def arrow(self) -> pa.Array:
        import pyarrow as pa

        return pa.array(self.words, pa.string()).take(pa.array(self.codes, pa.int64()))

    def take(self, index: Array) -> Coded:
        return Coded(self.codes[index], self.words)


@dataclass(frozen=True, eq=False)
class Texts(Packed):
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

    def arrow(self) -> pa.Array:
        import pyarrow as pa

        if self.offsets[-1] > MOST:
            return pa.array(self.objects(), pa.string())
        holes = None if self.known.all() else pa.py_buffer(np.packbits(self.known, bitorder="little"))
        return pa.StringArray.from_buffers(len(self), pa.py_buffer(self.offsets.astype(np.int32)), pa.py_buffer(self.data), holes)

    def take(self, index: Array) -> Texts:
        offsets, places = _pieces(self.offsets, index)
        return Texts(self.data[places], offsets, self.known[index])


@dataclass(frozen=True, eq=False)
class Lists(Packed):
    """Lists: ``values[offsets[i] : offsets[i + 1]]``, int64[n + 1], text or int64[m]."""

    offsets: Array
    values: Packed | Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def objects(self) -> Array:
        flat = (self.values.objects() if isinstance(self.values, Packed) else self.values).tolist()
        at = self.offsets.tolist()
        out = np.empty(len(self), dtype=object)
        out[:] = [flat[a:b] for a, b in pairwise(at)]
        return out

    def arrow(self) -> pa.Array:
        import pyarrow as pa

        values = self.values.arrow() if isinstance(self.values, Packed) else pa.array(self.values, pa.int64())
        if self.offsets[-1] > MOST:
            return pa.array(self.objects(), pa.list_(values.type))
        return pa.ListArray.from_arrays(pa.array(self.offsets, pa.int32()), values)

    def take(self, index: Array) -> Lists:
        offsets, places = _pieces(self.offsets, index)
        return Lists(offsets, self.values.take(places) if isinstance(self.values, Packed) else self.values[places])


def _pieces(offsets: Array, index: Array) -> tuple[Array, Array]:
    """Offsets of the pieces at ``index`` put one after the other, and where each of their elements was."""
    starts, ends = offsets[:-1][index], offsets[1:][index]
    sizes = ends - starts
    out = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return out, np.arange(out[-1]) + np.repeat(starts - out[:-1], sizes)


def nothing(n: int) -> Lists:
    """``n`` empty lists of integers."""
    return Lists(np.zeros(n + 1, np.int64), np.empty(0, np.int64))
