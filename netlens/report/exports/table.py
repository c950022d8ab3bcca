"""Aligned columns for people. On a terminal that is too narrow, the least needed columns are left out, and a note says which."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import IO, Any

from netlens.report.exports import Rows
from netlens.schema import Table
from netlens.text import endpoint, printable, shortened

MEANING = "the most used columns, for reading; names longer than 48 characters are cut unless --columns lists their column"

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
#: What a narrow terminal can do without, least needed first. In 80 columns there is room for time, path, state and bytes.
SPARE: dict[str, tuple[str, ...]] = {
    "sessions": ("history", "duration_s", "session_id", "sni", "orig", "resp_bytes", "orig_bytes", "start"),
    "connections": ("duration_s", "connection_id", "orig", "sni", "resp_bytes", "orig_bytes", "state", "start"),
    "lookups": ("attempts", "orig_ip", "path", "qtype", "resolver_ip", "start", "lookup_id"),
    "exchanges": ("complete", "start_frame", "exchange_id", "up_bytes", "status", "start"),
}
NAMES, LONGEST_NAME = ("qname", "sni"), 48  #: characters of these; ``--columns`` and other formats show all
_NUMERIC = {"int64", "float64", "nullable_int64"}


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


def write(rows: Rows, file: IO[str]) -> None:
    name = rows.table.schema.name
    headers, cells, numbers = view(rows.table, rows.columns or NARROW.get(name, tuple(rows.table)), rows.zero_ns)
    if not rows.columns:
        cells = [
            [shortened(cell, LONGEST_NAME) for cell in column] if h in NAMES else column for h, column in zip(headers, cells, strict=True)
        ]
    widths = [max([len(h), *map(len, column)]) for h, column in zip(headers, cells, strict=True)]
    if file.isatty():
        import shutil

        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        room = shutil.get_terminal_size().columns
        kept = _fitting(headers, widths, room, () if rows.columns else SPARE.get(name, ()))
        shown = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for i in kept:
            shown.add_column(headers[i], justify="right" if numbers[i] else "left", no_wrap=True)
        for row in zip(*(cells[i] for i in kept), strict=True):
            shown.add_row(*(Text(cell) for cell in row))
        # wider than the terminal after all: the terminal wraps lines, as it does for tcpdump
        wide = max(room, sum(widths[i] + 2 for i in kept))
        # without a height rich takes a terminal called "dumb" to be 80 columns wide, whatever it is told
        Console(file=file, highlight=False, width=wide, height=len(cells[0]) + 1, soft_wrap=True).print(shown)
        if len(kept) < len(headers):
            hidden = ", ".join(h for i, h in enumerate(headers) if i not in kept)
            sys.stderr.write(f"netlens: left out for lack of width: {hidden} (--columns chooses, --format csv has all)\n")
        return
    for row in [tuple(headers), *zip(*cells, strict=True)]:
        line = "  ".join(cell.rjust(w) if number else cell.ljust(w) for cell, w, number in zip(row, widths, numbers, strict=True))
        file.write(line.rstrip() + "\n")
