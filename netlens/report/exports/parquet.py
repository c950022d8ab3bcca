"""Parquet with the unit, basis and meaning of each column in its metadata.

pyarrow shows them as each field's metadata. The file's metadata has the units of all columns as JSON under ``netlens.units`` (in DuckDB:
``parquet_kv_metadata``), and what pandas needs to read back the frame that ``Table.to_pandas`` gives: nullable integers as ``Int64`` (as float64, times in
ns would be off by up to 128 ns), and ``attrs`` with the units.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable
from typing import IO, Any

from netlens.extras import need
from netlens.report.exports import Rows
from netlens.schema import Schema, Table

MEANING = "all columns with units in the metadata, for pandas, DuckDB and Spark; needs -o FILE"
BINARY = True

#: How the names of numbers end that go up from row to row, or nearly.
RISING = ("_ns", "_frame", "_id", "_isn")


def write(rows: Rows, file: IO[bytes]) -> None:
    write_groups([rows.chosen()], rows.table.rows, file)


def write_groups(tables: Iterable[Table], rows: int, file: Any) -> None:
    """Write tables of one schema, at least one and ``rows`` rows in all, as one Parquet file, a row group each."""
    need("pyarrow")
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for table in tables:
            made = arrow_table(table, rows)
            if writer is None:
                # Text that repeats is handed over as dictionaries, which the writer need not make. To readers it is text, so that is what the file says.
                writer = pq.ParquetWriter(file, made.schema, store_schema=False, **parquet_options(table.schema))
                stack.enter_context(writer)
                said = base64.b64encode(_spelled_out(made.schema).serialize().to_pybytes()).decode()
                writer.add_key_value_metadata({**made.schema.metadata, "ARROW:schema": said})
            writer.write_table(made)


def parquet_options(schema: Schema) -> dict[str, Any]:
    """How columns are encoded: numbers that go up from row to row by their differences, the others by a dictionary of their values.

    Against a dictionary for all, that takes two thirds of the time and of the space. Lowest and highest values are written of numbers only: of text
    in no order they help no reader.
    """
    rising = [c.name for c in schema if c.dtype.endswith("int64") and c.name.endswith(RISING)]
    dictionary = [c.name for c in schema if c.name not in rising and c.dtype != "float64"]
    lists = [f"{c.name}.list.element" for c in schema if c.dtype.startswith("list")]
    numbers = [c.name for c in schema if c.dtype in ("int64", "float64", "bool", "nullable_int64", "nullable_bool")]
    return {
        "use_dictionary": dictionary + lists,
        "column_encoding": dict.fromkeys(rising, "DELTA_BINARY_PACKED"),
        "write_statistics": numbers,
    }


def _spelled_out(schema: Any) -> Any:
    """An Arrow schema without dictionaries."""
    import pyarrow as pa

    def kind(of: Any) -> Any:
        if pa.types.is_dictionary(of):
            return of.value_type
        if pa.types.is_list(of):
            return pa.list_(kind(of.value_type))
        return pa.large_list(kind(of.value_type)) if pa.types.is_large_list(of) else of

    return pa.schema([f.with_type(kind(f.type)) for f in schema], metadata=schema.metadata)


def arrow_table(table: Table, rows: int | None = None) -> Any:
    """The Arrow table that goes into a Parquet file: that of ``Table.to_arrow`` with dictionaries, and the metadata that the module's text names.

    ``rows``: of the whole file, if this is part of it.
    """
    import json

    made = table.to_arrow(coded=True)
    units = {c.name: c.unit for c in table.schema if c.unit}
    pandas_types = {
        "int64": ("int64", "int64"),
        "float64": ("float64", "float64"),
        "bool": ("bool", "bool"),
        "string": ("unicode", "str"),
        "list<int64>": ("list[int64]", "object"),
        "list<string>": ("list[unicode]", "object"),
        "nullable_int64": ("int64", "Int64"),
        "nullable_bool": ("bool", "boolean"),
    }
    columns = [
        {"name": c.name, "field_name": c.name, "pandas_type": kind, "numpy_type": stored, "metadata": None}
        for c in table.schema
        for kind, stored in (pandas_types[c.dtype],)
    ]
    index = {"kind": "range", "name": None, "start": 0, "stop": table.rows if rows is None else rows, "step": 1}
    return made.replace_schema_metadata(
        {
            **(made.schema.metadata or {}),
            "netlens.units": json.dumps(units),
            "pandas": json.dumps({"index_columns": [index], "column_indexes": [], "columns": columns, "attributes": {}}),
            "PANDAS_ATTRS": json.dumps({"schema": table.schema.name, "units": units}),
        }
    )
