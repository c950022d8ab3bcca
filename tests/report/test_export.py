"""Files that other programs read: units in the metadata, nothing lost on the way through pandas and Arrow."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

import netlens
from netlens.errors import NetlensError
from netlens.report import export
from netlens.schema import Table
from netlens.tables import ALL, CONNECTIONS
from tests.parsers.test_pipeline import ANSWER, QUERY, conversation, datagram, pcap


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> netlens.Capture:
    """Two lookups, of which one is unanswered, and connections that closed, broke off and stayed open."""
    packets = [datagram("10.0.0.2", 6000, "10.0.0.53", 53, QUERY), datagram("10.0.0.53", 53, "10.0.0.2", 6000, ANSWER)]
    packets += [datagram("10.0.0.2", 6001, "10.0.0.53", 53, QUERY)]
    packets += conversation("10.0.0.2", 4000, "203.0.113.10", 77777, False, 2, 2, "fin")
    packets += conversation("10.0.0.2", 4001, "203.0.113.10", 99999, True, 1, 1, "rst")
    packets += conversation("10.0.0.2", 4002, "203.0.113.10", 55555, False, 1, 1, "open")
    path = tmp_path_factory.mktemp("export") / "small.pcap"
    path.write_bytes(pcap([(1_700_000_000 * 10**6 + i * 1001, p) for i, p in enumerate(packets)]))
    return netlens.read(path)


@pytest.mark.parametrize("name", sorted(ALL))
def test_parquet_gives_pandas_the_frame_it_was(capture: netlens.Capture, tmp_path: Path, name: str) -> None:
    table = capture.table(name)
    path = tmp_path / "t.parquet"
    export.write(table, "parquet", str(path))
    frame, expected = pd.read_parquet(path), table.to_pandas()
    assert frame.dtypes.to_dict() == expected.dtypes.to_dict()
    lists = [c.name for c in table.schema if c.dtype.startswith("list")]
    for column in lists:
        frame[column], expected[column] = frame[column].map(list), expected[column].map(list)
    pd.testing.assert_frame_equal(frame, expected)
    assert frame.attrs == expected.attrs


@pytest.mark.parametrize("name", sorted(ALL))
def test_units_are_in_the_metadata_of_fields_and_file(capture: netlens.Capture, tmp_path: Path, name: str) -> None:
    path = tmp_path / "t.parquet"
    export.write(capture.table(name), "parquet", str(path))
    schema = pq.read_schema(path)
    assert schema.types == capture.table(name).to_arrow().schema.types  # text, not the dictionaries that were handed to the writer
    assert b"netlens.units" in pq.read_metadata(path).metadata  # of the file too, for readers that do not know Arrow's
    assert schema.metadata[b"netlens.table"] == name.encode()
    assert json.loads(schema.metadata[b"netlens.units"]) == {c.name: c.unit for c in ALL[name] if c.unit}
    for column in ALL[name]:
        assert schema.field(column.name).metadata[b"unit"].decode() == column.unit
        assert schema.field(column.name).metadata[b"basis"].decode() == column.basis
        assert schema.field(column.name).metadata[b"meaning"].decode() == column.meaning


def test_times_with_gaps_are_exact_to_the_nanosecond(capture: netlens.Capture, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    odd = capture.table("lookups")
    columns = {**odd.columns, "answer_ns": np.array([1_700_000_000_123_456_789, None], dtype=object)}
    export.write(Table(odd.schema, columns), "parquet", str(path))
    assert pd.read_parquet(path)["answer_ns"].tolist()[0] == 1_700_000_000_123_456_789


def test_chosen_columns_keep_their_metadata(capture: netlens.Capture, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    export.write(capture.table("sessions"), "parquet", str(path), ["duration_s", "sni"])
    assert json.loads(pq.read_schema(path).metadata[b"netlens.units"]) == {"duration_s": "s"}
    assert pd.read_parquet(path).attrs["units"] == {"duration_s": "s"}


def test_csv_and_json_read_back_the_same(capture: netlens.Capture) -> None:
    table = capture.table("connections")
    csv, text = io.StringIO(), io.StringIO()
    export.write_csv(table, csv)
    export.write_json(table, text)
    rows = list(table.records())
    assert json.loads(text.getvalue()) == rows
    frame = pd.read_csv(io.StringIO(csv.getvalue()), dtype={"redirect_port": "Int64", "tunnel_session_id": "Int64"})
    assert frame["start_ns"].tolist() == [r["start_ns"] for r in rows]
    assert frame["duration_s"].tolist() == [r["duration_s"] for r in rows]
    assert frame["session_ids"].tolist() == [";".join(map(str, r["session_ids"])) for r in rows]
    assert [None if v is pd.NA else v for v in frame["redirect_port"]] == [r["redirect_port"] for r in rows]


def test_zeek_has_no_log_of_connections(tmp_path: Path) -> None:
    with pytest.raises(NetlensError, match="Zeek has no log of connections"):
        export.write(CONNECTIONS.empty(), "zeek", str(tmp_path / "x.log"))
    assert list(tmp_path.iterdir()) == []
