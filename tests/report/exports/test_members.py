"""Every format: found, complete, and refused by name where it does not fit."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from netlens import lenses
from netlens.errors import NetlensError
from netlens.report import exports
from netlens.report.exports import Rows
from netlens.tables import CONNECTIONS

if TYPE_CHECKING:
    import netlens


def text(form: str, rows: Rows) -> str:
    out = io.StringIO()
    exports.found()[form].write(rows, out)
    return out.getvalue()


def beside(capture: netlens.Capture, name: str) -> Any:
    """Another table of the capture, the time budget among them."""
    return lenses.budget_of(capture) if name == "budget" else capture.table(name)


@pytest.mark.parametrize("form", sorted(exports.found()))
def test_each_writes_every_table_that_it_names(small: netlens.Capture, tmp_path: Path, form: str) -> None:
    export = exports.found()[form]
    assert "\n" not in export.MEANING
    for name in export.TABLES or ("sessions", "connections", "lookups", "exchanges"):
        assert form in exports.of(name)
        path = tmp_path / f"{name}.out"
        exports.write(Rows(small.table(name), None, lambda table: beside(small, table), small.part.first_ns or 0), form, str(path))
        assert path.stat().st_size > 0


def test_csv_and_json_read_back_the_same(small: netlens.Capture) -> None:
    table = small.table("connections")
    rows = list(table.records())
    assert json.loads(text("json", Rows(table))) == rows
    frame = pd.read_csv(io.StringIO(text("csv", Rows(table))), dtype={"redirect_port": "Int64", "tunnel_session_id": "Int64"})
    assert frame["start_ns"].tolist() == [r["start_ns"] for r in rows]
    assert frame["duration_s"].tolist() == [r["duration_s"] for r in rows]
    assert frame["session_ids"].tolist() == [";".join(map(str, r["session_ids"])) for r in rows]
    assert [None if v is pd.NA else v for v in frame["redirect_port"]] == [r["redirect_port"] for r in rows]


def test_a_table_that_a_format_cannot_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetlensError, match="--format zeek writes sessions and lookups, not connections"):
        exports.write(Rows(CONNECTIONS.empty()), "zeek", str(tmp_path / "x.log"))
    with pytest.raises(NetlensError, match="no column 'nothing'"):
        exports.write(Rows(CONNECTIONS.empty(), ["nothing"]), "csv", str(tmp_path / "x.csv"))
    with pytest.raises(NetlensError, match="--columns does not go with --format trace"):
        exports.write(Rows(CONNECTIONS.empty(), ["path"]), "trace", str(tmp_path / "x.json"))
    with pytest.raises(NetlensError, match=r"--format parquet is binary and goes to a file: add -o FILE\.parquet"):
        exports.write(Rows(CONNECTIONS.empty()), "parquet", None)
    assert list(tmp_path.iterdir()) == []
