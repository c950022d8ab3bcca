"""What every table of netlens looks like: column, dtype, unit, basis, meaning.

A :class:`Schema` is data: the reference pages, the empty tables, the Parquet metadata and the checks are all made from it. A
:class:`Table` is the schema plus one numpy array per column (:mod:`netlens.columnar` has those of objects until they are asked for); it becomes a
pandas DataFrame (``to_pandas``) or an Arrow table (``to_arrow``) when somebody asks, so that ``netlens sessions`` need not import pandas.

Basis of a column: ``read`` (stands in the packets), ``derived`` (arithmetic on what was read), ``inferred`` (a judgement that can be wrong;
its rule stands in the module that makes it).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.columnar import LazyColumn, Nullable, arrow
from netlens.columns import MISSING, Ints, ints
from netlens.errors import SchemaError
from netlens.extras import need

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: dtype names a column may have, and the numpy dtype that stores them. ``string`` and ``list`` hold Python objects; None is missing.
#: ``Int64``-like nullable integers do not exist here: -1 never means missing, a nullable number is float64 with NaN or an object.
DTYPES: dict[str, np.dtype[Any]] = {
    "int64": np.dtype("int64"),
    "float64": np.dtype("float64"),
    "bool": np.dtype("bool"),
    "string": np.dtype("O"),  # str or None
    "list<int64>": np.dtype("O"),  # list of int
    "list<string>": np.dtype("O"),  # list of str
    "nullable_int64": np.dtype("O"),  # int or None; pandas Int64
    "nullable_bool": np.dtype("O"),  # bool or None; pandas boolean
}


@dataclass(frozen=True)
class Column:
    """One column: ``dtype`` is a key of :data:`DTYPES`; ``unit`` is "" where there is none."""

    name: str
    dtype: str
    unit: str
    basis: str
    meaning: str


@dataclass(frozen=True)
class Schema:
    """A named, ordered list of columns."""

    name: str
    columns: tuple[Column, ...]

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns)

    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    def empty(self) -> Table:
        return Table(self, {c.name: np.empty(0, DTYPES[c.dtype]) for c in self.columns})


class Table(Mapping[str, "np.ndarray[Any, Any]"]):
    """Columns of equal length that obey a schema. ``columns`` has them as they are stored, some of them lazy (:mod:`netlens.columnar`).

    Raises
    ------
    SchemaError
        a declared column is missing, one too many is there, dtypes differ, or lengths differ.
    """

    def __init__(self, schema: Schema, columns: Mapping[str, np.ndarray[Any, Any] | LazyColumn]):
        self.schema = schema
        self.columns: dict[str, np.ndarray[Any, Any] | LazyColumn] = {}
        lengths = set()
        for column in schema:
            if column.name not in columns:
                raise SchemaError(f"table {schema.name}: column {column.name} is missing")
            values = columns[column.name]
            if values.dtype != DTYPES[column.dtype]:
                raise SchemaError(f"table {schema.name}: column {column.name} is {values.dtype}, declared {column.dtype}")
            lengths.add(len(values))
            self.columns[column.name] = values
        if extra := set(columns) - set(self.columns):
            raise SchemaError(f"table {schema.name}: undeclared columns {sorted(extra)}")
        if len(lengths) > 1:
            raise SchemaError(f"table {schema.name}: columns of different lengths {sorted(lengths)}")
        self.rows = lengths.pop() if lengths else 0
        # kept when their objects are asked for: nobody changes numbers, and from these they are had at once
        self._numbers = {name: values for name, values in self.columns.items() if isinstance(values, Nullable)}

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        values = self.columns[name]
        if isinstance(values, LazyColumn):
            self.columns[name] = values = values.objects()
        return values

    def ints(self, name: str, missing: int = MISSING) -> Ints:
        """A column of integers with a number for those that are missing."""
        if name in self._numbers:
            return np.where(self._numbers[name].known, self._numbers[name].values, missing)
        return ints(self[name], missing)

    def listed(self, name: str) -> list[Any]:
        """A column as Python values; none are kept, as of a column that is asked for."""
        values = self.columns[name]
        return list((values.objects() if isinstance(values, LazyColumn) else values).tolist())

    def stored(self, name: str) -> np.ndarray[Any, Any] | Nullable:
        """A column; integers that may be missing as such, not as objects."""
        return self._numbers[name] if name in self._numbers else self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        """Number of columns, as for a mapping; the number of rows is ``rows``."""
        return len(self.columns)

    def take(self, index: np.ndarray[Any, Any]) -> Table:
        """Rows at ``index`` (integers or a boolean mask), in that order."""
        stored = {**self.columns, **self._numbers}
        return Table(self.schema, {k: v.take(index) if isinstance(v, LazyColumn) else v[index] for k, v in stored.items()})

    def tuples(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Rows of some columns as Python values."""
        return zip(*map(self.listed, names), strict=True)

    def records(self) -> Iterator[dict[str, Any]]:
        """Rows as plain dicts of Python values (NaN becomes None), for JSON."""
        names = list(self.columns)
        lists = []
        for c in self.schema:
            values = self.listed(c.name)
            lists.append([None if v != v else v for v in values] if c.dtype == "float64" else values)
        for row in zip(*lists, strict=True):
            yield dict(zip(names, row, strict=True))

    def to_pandas(self) -> pd.DataFrame:
        """The table as a DataFrame with a RangeIndex; units and meanings are in ``.attrs["units"]`` and ``.attrs["schema"]``."""
        need("pandas")
        import pandas as pd

        dtypes: dict[str, Any] = {"nullable_int64": "Int64", "nullable_bool": "boolean", "string": "str"}
        series = {}
        for c in self.schema:
            values = self.columns[c.name]
            if isinstance(values, Nullable):
                numbers = pd.arrays.IntegerArray(np.where(values.known, values.values, 1), ~values.known)
                series[c.name] = pd.Series(numbers)
            else:
                series[c.name] = pd.Series(self[c.name], dtype=dtypes.get(c.dtype, DTYPES[c.dtype]), copy=True)
        frame = pd.DataFrame(series)
        frame.attrs["schema"] = self.schema.name
        frame.attrs["units"] = {c.name: c.unit for c in self.schema if c.unit}
        return frame

    def to_arrow(self, coded: bool = False) -> pa.Table:
        """The table for Arrow; unit, basis and meaning are in each field's metadata. ``coded``: text that repeats as Arrow dictionaries."""
        need("pyarrow")
        import pyarrow as pa

        fields, arrays = [], []
        for c in self.schema:
            values = self.columns[c.name]
            made = values.arrow(coded) if isinstance(values, LazyColumn) else arrow(values, c.dtype)
            arrays.append(made)
            fields.append(pa.field(c.name, made.type, metadata={"unit": c.unit, "basis": c.basis, "meaning": c.meaning}))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"netlens.table": self.schema.name}))


def ints_of(table: Mapping[str, Any], name: str, missing: int = MISSING) -> Ints:
    """A column of integers of a table of any kind, with a number for those that are missing."""
    return table.ints(name, missing) if isinstance(table, Table) else ints(table[name], missing)
