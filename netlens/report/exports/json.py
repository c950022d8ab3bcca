"""One JSON array with one row a line. The file is ASCII; all other characters are JSON escapes."""

from __future__ import annotations

from typing import IO

from netlens.report.exports import Rows, one_a_line

MEANING = "one array of objects with all columns, for jq and programs"


def write(rows: Rows, file: IO[str]) -> None:
    import json

    file.write("[")
    one_a_line((json.dumps(row, allow_nan=False) for row in rows.chosen().records()), file)
    file.write("\n]\n" if rows.table.rows else "]\n")
