"""LazyColumn columns: the same values as objects, as Arrow, as pandas, and taken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from netlens import columnar
from netlens.columnar import Coded, LazyColumn, Lists, Nullable, Texts, nothing
from netlens.schema import Column, Schema, Table

if TYPE_CHECKING:
    import pytest

TYPES = {
    "n": ("nullable_int64", pa.int64()),
    "c": ("string", pa.string()),
    "t": ("string", pa.string()),
    "l": ("list<string>", pa.list_(pa.string())),
}
SCHEMA = Schema("made", tuple(Column(name, kind, "", "read", "") for name, (kind, _) in TYPES.items()))


def ints(values: list[int | None]) -> Nullable:
    return Nullable(np.array([v or 0 for v in values], np.int64), np.array([v is not None for v in values], bool))


def coded(values: list[str | None]) -> Coded:
    words = list(dict.fromkeys([None, *values]))
    out = np.empty(len(words), object)
    out[:] = words
    return Coded(np.array([words.index(v) for v in values], np.int64), out)


def texts(values: list[str | None]) -> Texts:
    data = "".join(v or "" for v in values).encode()
    offsets = np.concatenate([[0], np.cumsum([len(v or "") for v in values])]).astype(np.int64)
    return Texts(np.frombuffer(data, np.uint8), offsets, np.array([v is not None for v in values], bool))


def lists(values: list[list[str]]) -> Lists:
    offsets = np.concatenate([[0], np.cumsum([len(v) for v in values])]).astype(np.int64)
    return Lists(offsets, coded([t for v in values for t in v]))


text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)
row = st.tuples(st.none() | st.integers(-(2**63), 2**63 - 1), st.none() | text, st.none() | text, st.lists(text, max_size=4))


def columns(rows: list[tuple[Any, ...]]) -> tuple[dict[str, LazyColumn], dict[str, list[Any]]]:
    plain = {name: [r[i] for r in rows] for i, name in enumerate(TYPES)}
    return {"n": ints(plain["n"]), "c": coded(plain["c"]), "t": texts(plain["t"]), "l": lists(plain["l"])}, plain


@settings(max_examples=60, deadline=None)
@given(st.lists(row, max_size=12), st.data())
def test_all_forms_hold_the_same_values(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    made, plain = columns(rows)
    index = np.array(data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=8)) if rows else [], np.int64)
    mask = np.array([i % 2 == 0 for i in range(len(rows))], bool)
    for name, column in made.items():
        assert len(column) == len(rows)
        assert column.objects().dtype == object
        assert column.objects().tolist() == plain[name]
        assert column.arrow().type == TYPES[name][1]
        assert column.arrow().to_pylist() == plain[name]
        assert column.arrow(coded=True).to_pylist() == plain[name]
        assert column.take(index).objects().tolist() == [plain[name][i] for i in index]
        assert column.take(mask).arrow().to_pylist() == plain[name][::2]
    table = Table(SCHEMA, made)
    assert table.rows == len(rows)
    packed_frame, packed_arrow = table.to_pandas(), Table(SCHEMA, made).to_arrow()
    assert table["l"].tolist() == plain["l"]
    objects = Table(SCHEMA, {name: column.objects() for name, column in made.items()})
    assert packed_frame.equals(objects.to_pandas())
    assert packed_frame.dtypes.equals(objects.to_pandas().dtypes)
    assert packed_arrow.equals(objects.to_arrow())


def test_words_that_are_there_twice_or_nowhere_are_one_in_a_dictionary(tmp_path: Path) -> None:
    words = np.array(["unused", "a", None, "a", "b"], object)
    column = Coded(np.array([3, 1, 2, 4]), words)
    assert column.take(np.array([2, 3])).words.tolist() == [None, "b"]
    many = Coded(np.array([5000, 1, 1]), np.array([f"w{i}" for i in range(6000)], object))
    assert many.arrow(coded=True).dictionary.to_pylist() == ["w1", "w5000"]
    made = column.take(np.arange(4)).arrow(coded=True)
    assert made.dictionary.to_pylist() == ["a", "b"]
    assert made.to_pylist() == ["a", "a", None, "b"]
    pq.write_table(pa.table({"c": made}), tmp_path / "t.parquet")
    assert pq.read_table(tmp_path / "t.parquet")["c"].to_pylist() == ["a", "a", None, "b"]


def test_a_column_that_was_asked_for_is_what_is_written() -> None:
    table = Table(SCHEMA, columns([(1, "a", "b", ["c"]), (None, None, None, [])])[0])
    table["c"][0] = "changed"
    assert table["c"][0] == "changed"
    assert table.to_arrow()["c"].to_pylist() == ["changed", None]
    assert table.take(np.array([0]))["c"].tolist() == ["changed"]


def test_beyond_what_arrow_counts_in_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar, "MOST", 3)
    made, plain = columns([(1, "abc", "defg", ["h", "i"]), (2, "", None, ["j", "k"])])
    for name, column in made.items():
        assert column.arrow().to_pylist() == plain[name]
    assert Table(SCHEMA, made).to_arrow().column_names == list(made)


def test_pandas_is_not_imported_for_a_parquet_file(tmp_path: Path) -> None:
    code = (
        "import sys; from netlens.tables import ALL; from netlens.report.exports import Rows, write; import pyarrow.parquet as pq\n"
        "for schema in ALL.values(): write(Rows(schema.empty()), 'parquet', sys.argv[1] + schema.name)\n"
        "assert not {'pandas', 'pyarrow.compute'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, f"{tmp_path}/"], check=True)


def test_long_words(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ["short", None, "", "ä" * 200, "short"]
    assert coded(values).arrow().to_pylist() == values
    monkeypatch.setattr(columnar, "SHORT", 1000)
    assert coded(values).arrow().to_pylist() == values


def test_nothing() -> None:
    assert nothing(2).objects().tolist() == [[], []]
    assert nothing(2).arrow().type == pa.list_(pa.int64())
    assert nothing(0).objects().tolist() == []
