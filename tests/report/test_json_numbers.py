"""Arrays of numbers in JSON."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.columns import MISSING, NEVER
from netlens.report.numbers import Lists, encoded

INT64 = st.integers(MISSING, NEVER) | st.integers(-1000, 1000)


@given(st.lists(INT64))
def test_an_array_is_the_list_that_it_holds(numbers: list[int]) -> None:
    found = encoded({"n": np.array(numbers, np.int64), "text": 'says "1,2"', "plain": [1, None]})
    assert json.loads(found) == {"n": [None if n == MISSING else n for n in numbers], "text": 'says "1,2"', "plain": [1, None]}
    assert b" " not in found.replace(b'says "1', b"").replace(b'says \\"1', b"")


@given(st.lists(st.lists(INT64.filter(lambda n: n != MISSING))))
def test_lists_of_lists(lists: list[list[int]]) -> None:
    numbers = np.array([n for each in lists for n in each], np.int64)
    assert json.loads(encoded([Lists(numbers, np.cumsum([len(each) for each in lists], dtype=np.int64))])) == [lists]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([True, False]), b"[1,0]"),
        (np.array([-128, 127], np.int8), b"[-128,127]"),
        (np.arange(6)[::2], b"[0,2,4]"),
        (np.zeros(0, np.int64), b"[]"),
    ],
)
def test_kinds_of_arrays(values: np.ndarray, text: bytes) -> None:
    assert encoded(values) == text


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros((2, 2), np.int64), {1}])
def test_what_is_no_list_of_whole_numbers(value: object) -> None:
    with pytest.raises(TypeError, match="no JSON for"):
        encoded(value)
