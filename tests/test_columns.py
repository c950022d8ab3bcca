"""Columns as arrays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from netlens.columns import distinct_rows

LOW, HIGH = np.iinfo(np.int64).min, np.iinfo(np.int64).max
NUMBERS = st.one_of(st.integers(-3, 3), st.integers(LOW, HIGH), st.sampled_from([LOW, HIGH]))


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(NUMBERS, min_size=width, max_size=width), max_size=30)))
def test_distinct_rows_are_those_of_numpy(rows: list[list[int]]) -> None:
    table = np.array(rows, np.int64).reshape(len(rows), -1) if rows else np.empty((0, 2), np.int64)
    found, which, counts = distinct_rows(*table.T)
    if rows:
        wanted, back, many = np.unique(table, axis=0, return_inverse=True, return_counts=True)
        assert found.tolist() == wanted.tolist()
        assert counts.tolist() == many.tolist()
        assert which.tolist() == back.ravel().tolist()
    assert found[which].tolist() == table.tolist()
