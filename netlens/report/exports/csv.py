"""CSV (RFC 4180) with a header. A missing value is an empty cell; lists are joined with ``;``."""

from __future__ import annotations

import csv
from typing import IO, Any

from netlens.report.exports import Rows
from netlens.text import printable

MEANING = "all columns with a header, for spreadsheets and pandas"


def write(rows: Rows, file: IO[str]) -> None:
    table = rows.chosen()
    out = csv.writer(file, lineterminator="\n")
    out.writerow(list(table))
    out.writerows(zip(*(_texts(table[c.name].tolist(), c.dtype) for c in table.schema), strict=True))


def _texts(values: list[Any], dtype: str) -> list[Any]:
    if dtype == "string":
        known: dict[str | None, str] = {None: ""}  # each different text once
        return [known[v] if v in known else known.setdefault(v, _cell(v)) for v in values]
    if dtype.startswith("list"):
        return ["" if not v else _cell(";".join(map(str, v))) for v in values]
    if dtype == "float64":
        return ["" if v != v else repr(v) for v in values]
    if dtype in ("bool", "nullable_bool"):
        return ["" if v is None else "true" if v else "false" for v in values]
    return ["" if v is None else v for v in values]


def _cell(text: str) -> str:
    """Spreadsheets run a cell that begins with one of these as a formula; an apostrophe in front keeps it text."""
    text = printable(text)
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text
