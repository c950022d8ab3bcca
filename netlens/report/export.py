"""Tables as files and streams: aligned text, CSV, JSON, Parquet; Zeek's logs are in :mod:`netlens.report.zeek`.

Strings of a capture are data: control and bidi characters are written as escapes; JSON is ASCII and so has escapes of its own.

Units end the names of columns in every form. Parquet says more: unit, basis and meaning in the metadata of each field (pyarrow), the units of
all columns in the file's metadata as JSON under ``netlens.units`` (DuckDB's ``parquet_kv_metadata``, any reader), and what pandas needs to read
back the frame that ``Table.to_pandas`` gives: nullable integers as ``Int64`` (as float64, times in ns would be off by up to 128 ns), ``attrs``
with the units.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

from netlens.errors import CaptureError, NetlensError
from netlens.outputs import replacing
from netlens.schema import Schema, Table
from netlens.text import endpoint, printable

#: How the names of numbers end that go up from row to row, or nearly.
RISING = ("_ns", "_frame", "_id", "_isn")
#: Columns that the text table shows, where the full schema is too wide to read.
NARROW: dict[str, tuple[str, ...]] = {
    "sessions": ("session_id", "start", "duration_s", "orig", "resp", "state", "history", "orig_bytes", "resp_bytes", "sni"),
    "connections": ("connection_id", "start", "duration_s", "path", "orig", "resp", "state", "orig_bytes", "resp_bytes", "sni"),
    "lookups": ("lookup_id", "start", "latency_ms", "qname", "qtype", "rcode", "answers", "attempts", "orig_ip", "resolver_ip", "path"),
    "exchanges": (
        "exchange_id",
        "session_id",
        "start",
        "wait_ms",
        "total_ms",
        "up_bytes",
        "down_bytes",
        "status",
        "complete",
        "start_frame",
    ),
}
#: What a narrow terminal can do without, least needed first.
SPARE: dict[str, tuple[str, ...]] = {
    "sessions": ("history", "resp_bytes", "orig_bytes", "duration_s", "start", "session_id"),
    "connections": ("resp_bytes", "orig_bytes", "state", "duration_s", "start", "connection_id"),
    "lookups": ("attempts", "orig_ip", "path", "qtype", "resolver_ip", "start", "lookup_id"),
    "exchanges": ("complete", "start_frame", "up_bytes", "status", "exchange_id", "start"),
}
_NUMERIC = {"int64", "float64", "nullable_int64"}


def write(
    table: Table, form: str, output: str | None, columns: Sequence[str] | None = None, zero_ns: int = 0, sessions: Table | None = None
) -> None:
    """Write ``table`` in ``form`` to the file ``output``, or to standard output.

    Parameters
    ----------
    zero_ns : what the text table's start counts from.
    sessions : for the Zeek form of lookups, the sessions of the same capture.

    A file is written beside its place and renamed, so it is complete or not there.

    Raises
    ------
    NetlensError
        the file cannot be written, or the form needs a file or has no such table.
    """
    if form == "parquet":
        if output is None:
            raise NetlensError("Parquet is binary and goes to a file: add -o FILE.parquet")
        write_parquet([table], table.rows, output, columns)
        return
    if form == "zeek" and columns:
        raise NetlensError("--columns does not go with --format zeek: Zeek's logs have their own")
    with opened(output) as file:
        if form == "csv":
            write_csv(table, file, columns)
        elif form == "json":
            write_json(table, file, columns)
        elif form == "zeek":
            from netlens.report import zeek

            if table.schema.name == "sessions":
                zeek.write_conn(table, file)
            elif table.schema.name == "lookups":
                zeek.write_dns(table, file, sessions)
            else:
                raise NetlensError(f"Zeek has no log of {table.schema.name}; it has one of sessions (conn.log) and of lookups (dns.log)")
        else:
            write_text(table, file, columns, zero_ns)


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


def write_parquet(tables: Iterable[Table], rows: int, output: str, columns: Sequence[str] | None = None) -> None:
    """Write tables of one schema, at least one and ``rows`` rows in all, as one Parquet file, a row group each.

    Raises
    ------
    NetlensError
        the file cannot be written.
    """
    with replacing(output) as path, open(path, "wb") as file:  # Arrow itself opens no name that is not UTF-8
        put_parquet(tables, rows, file, columns)


def put_parquet(tables: Iterable[Table], rows: int, where: Any, columns: Sequence[str] | None = None) -> None:
    """The same into a binary file; see :func:`write_parquet`."""
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for table in tables:
            made = arrow_table(_select(table, columns), rows)
            if writer is None:
                # Text that repeats is handed over as dictionaries, which the writer need not make. To readers it is text, so that is what the file says.
                writer = pq.ParquetWriter(where, made.schema, store_schema=False, **parquet_options(table.schema))
                stack.enter_context(writer)
                said = base64.b64encode(_spelled_out(made.schema).serialize().to_pybytes()).decode()
                writer.add_key_value_metadata({**made.schema.metadata, "ARROW:schema": said})
            writer.write_table(made)


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


@contextlib.contextmanager
def opened(output: str | None) -> Iterator[IO[str]]:
    """A text file that takes the place of ``output`` when it is complete, or standard output."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    with replacing(output) as path, open(path, "w", encoding="utf-8", newline="") as file:
        yield file


def arrow_table(table: Table, rows: int | None = None) -> Any:
    """The Arrow table that goes into a Parquet file: that of ``Table.to_arrow`` with dictionaries, and the metadata that the module's text names.

    ``rows``: of the whole file, if this is part of it.
    """
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


def _select(table: Table, columns: Sequence[str] | None) -> Table:
    if not columns:
        return table
    known = {c.name: c for c in table.schema}
    for name in columns:
        if name not in known:
            raise CaptureError(f"{table.schema.name} have no column {name!r}; there are {', '.join(known)}")
    return Table(Schema(table.schema.name, tuple(known[n] for n in columns)), {n: table.columns[n] for n in columns})


def write_json(table: Table, file: IO[str], columns: Sequence[str] | None = None) -> None:
    """One JSON array, a row a line."""
    file.write("[")
    separator = "\n"
    for row in _select(table, columns).records():
        file.write(separator + json.dumps(row, allow_nan=False))
        separator = ",\n"
    file.write("\n]\n" if table.rows else "]\n")


def write_csv(table: Table, file: IO[str], columns: Sequence[str] | None = None) -> None:
    """RFC 4180 with a header; missing is empty, lists are joined with ``;``."""
    import csv

    table = _select(table, columns)
    out = csv.writer(file, lineterminator="\n")
    out.writerow(list(table))
    texts = []
    for c in table.schema:
        values = table[c.name].tolist()
        if c.dtype == "string":
            texts.append(_each(values, lambda v: "" if v is None else _cell(v)))
        elif c.dtype.startswith("list"):
            texts.append(["" if not v else _cell(";".join(map(str, v))) for v in values])
        elif c.dtype == "float64":
            texts.append(["" if v != v else repr(v) for v in values])
        elif c.dtype in ("bool", "nullable_bool"):
            texts.append(["" if v is None else "true" if v else "false" for v in values])
        else:
            texts.append(["" if v is None else v for v in values])
    out.writerows(zip(*texts, strict=True))


def _cell(text: str) -> str:
    """Spreadsheets run a cell that begins with one of these as a formula; an apostrophe in front keeps it text."""
    text = printable(text)
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


def _each(values: list[Any], text: Callable[[Any], str]) -> list[str]:
    """``text`` of each value, computed once per different value."""
    known: dict[Any, str] = {}
    return [known[v] if v in known else known.setdefault(v, text(v)) for v in values]


# ---- text ----


def view(table: Table, names: Sequence[str], zero_ns: int) -> tuple[list[str], list[list[str]], list[bool]]:
    """Headers, columns of cell texts, and whether each is a number. ``names``: columns of the table, or those that only this view has."""
    made: dict[str, tuple[list[str], bool]] = {}
    types = {c.name: c.dtype for c in table.schema}
    for name in names:
        if name == "start":
            made[name] = (_relative(table, zero_ns), True)
        elif name in ("orig", "resp"):
            made[name] = (
                [endpoint(ip, port) for ip, port in zip(table[f"{name}_ip"].tolist(), table[f"{name}_port"].tolist(), strict=True)],
                False,
            )
        elif name == "wait_ms":
            made[name] = (_milliseconds(table["request_end_ns"].tolist(), table["response_ns"].tolist()), True)
        elif name == "total_ms":
            made[name] = (_milliseconds(table["start_ns"].tolist(), table["end_ns"].tolist()), True)
        else:
            made[name] = ([_text(v, types[name], name) for v in table[name].tolist()], types[name] in _NUMERIC)
    return list(made), [cells for cells, _ in made.values()], [number for _, number in made.values()]


def _relative(table: Table, zero: int) -> list[str]:
    name = "query_ns" if table.schema.name == "lookups" else "start_ns"
    values = table[name].tolist()
    if table.schema.name == "lookups":
        values = [a if q is None else q for q, a in zip(values, table["answer_ns"].tolist(), strict=True)]
    return [f"{(v - zero) / 1e9:.6f}" for v in values]


def _milliseconds(start: list[Any], end: list[Any]) -> list[str]:
    return ["" if a is None or b is None or b < a else f"{(b - a) / 1e6:.3f}" for a, b in zip(start, end, strict=True)]


def _text(value: Any, dtype: str, name: str) -> str:
    if value is None or value != value:
        return ""
    if dtype == "float64":
        return f"{value:.3f}" if name.endswith("_ms") or abs(value) >= 1000 else f"{value:.6f}"
    if dtype in ("bool", "nullable_bool"):
        return "yes" if value else "no"
    if dtype.startswith("list"):
        return printable(", ".join(map(str, value)))
    return printable(str(value))


def _fitting(headers: list[str], widths: list[int], room: int, spare: Sequence[str]) -> list[int]:
    """Indices of the columns to show: as many as fit ``room`` after leaving out ``spare`` ones, first those at its beginning."""
    kept = list(range(len(headers)))
    for name in spare:
        if sum(widths[i] + 2 for i in kept) - 2 <= room:
            break
        kept = [i for i in kept if headers[i] != name]
    return kept


def write_text(table: Table, file: IO[str], columns: Sequence[str] | None = None, zero_ns: int = 0) -> None:
    """Aligned columns for people; rich's table on a terminal, plain text elsewhere."""
    headers, cells, numbers = view(table, columns or NARROW.get(table.schema.name, tuple(table)), zero_ns)
    widths = [max([len(h), *map(len, column)]) for h, column in zip(headers, cells, strict=True)]
    if file.isatty():
        import shutil

        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        room = shutil.get_terminal_size().columns
        kept = _fitting(headers, widths, room, () if columns else SPARE.get(table.schema.name, ()))
        shown = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for i in kept:
            shown.add_column(headers[i], justify="right" if numbers[i] else "left", no_wrap=True)
        for row in zip(*(cells[i] for i in kept), strict=True):
            shown.add_row(*(Text(cell) for cell in row))
        # wider than the terminal after all: the terminal wraps lines, as it does for tcpdump
        Console(file=file, highlight=False, width=max(room, sum(widths[i] + 2 for i in kept)), soft_wrap=True).print(shown)
        if len(kept) < len(headers):
            hidden = ", ".join(h for i, h in enumerate(headers) if i not in kept)
            sys.stderr.write(f"netlens: left out for want of width: {hidden} (--columns chooses, --format csv has all)\n")
        return
    for row in [tuple(headers), *zip(*cells, strict=True)]:
        line = "  ".join(cell.rjust(w) if number else cell.ljust(w) for cell, w, number in zip(row, widths, numbers, strict=True))
        file.write(line.rstrip() + "\n")
