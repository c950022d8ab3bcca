"""Files that other programs read: units in the metadata, nothing lost on the way through pandas and Arrow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from netlens.report import exports
from netlens.report.exports import Rows
from netlens.schema import Table
from netlens.tables import ALL

if TYPE_CHECKING:
    import netlens


@pytest.mark.parametrize("name", sorted(ALL))
def test_parquet_gives_pandas_the_frame_it_was(small: netlens.Capture, tmp_path: Path, name: str) -> None:
    table = small.table(name)
    path = tmp_path / "t.parquet"
    exports.write(Rows(table), "parquet", str(path))
    frame, expected = pd.read_parquet(path), table.to_pandas()
    assert frame.dtypes.to_dict() == expected.dtypes.to_dict()
    lists = [c.name for c in table.schema if c.dtype.startswith("list")]
    for column in lists:
        frame[column], expected[column] = frame[column].map(list), expected[column].map(list)
    pd.testing.assert_frame_equal(frame, expected)
    assert frame.attrs == expected.attrs


@pytest.mark.parametrize("name", sorted(ALL))
def test_units_are_in_the_metadata_of_fields_and_file(small: netlens.Capture, tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.parquet"
    exports.write(Rows(small.table(name)), "parquet", str(path))
    schema = pq.read_schema(path)
    assert schema.types == small.table(name).to_arrow().schema.types  # text, not the dictionaries that were handed to the writer
    assert b"netlens.units" in pq.read_metadata(path).metadata  # of the file too, for readers that do not know Arrow's
    assert schema.metadata[b"netlens.table"] == name.encode()
    assert json.loads(schema.metadata[b"netlens.units"]) == {c.name: c.unit for c in ALL[name] if c.unit}
    for column in ALL[name]:
        assert schema.field(column.name).metadata[b"unit"].decode() == column.unit
        assert schema.field(column.name).metadata[b"basis"].decode() == column.basis
        assert schema.field(column.name).metadata[b"meaning"].decode() == column.meaning


def test_times_with_gaps_are_exact_to_the_nanosecond(small: netlens.Capture, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    odd = small.table("lookups")
    columns = {**odd.columns, "answer_ns": np.array([1_700_000_000_123_456_789, None], dtype=object)}
    exports.write(Rows(Table(odd.schema, columns)), "parquet", str(path))
    assert pd.read_parquet(path)["answer_ns"].tolist()[0] == 1_700_000_000_123_456_789


def test_chosen_columns_keep_their_metadata(small: netlens.Capture, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    exports.write(Rows(small.table("sessions"), ["duration_s", "sni"]), "parquet", str(path))
    assert json.loads(pq.read_schema(path).metadata[b"netlens.units"]) == {"duration_s": "s"}
    assert pd.read_parquet(path).attrs["units"] == {"duration_s": "s"}
