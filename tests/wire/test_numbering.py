"""Keys are numbered in the order in which they come, however many there are."""

from __future__ import annotations

import random

import numpy as np
import pytest

from netlens.wire import numbering
from netlens.wire.addresses import random_seed
from netlens.wire.compiled import kernel
from netlens.wire.numbering import Numbered, number


@kernel
def _number_all(numbered, keys, begin, seed, out):  # type: ignore[no-untyped-def]
    for i in range(begin, len(keys)):
        out[i] = number(numbered, keys[i, 0], keys[i, 1], keys[i, 2], keys[i, 3], seed)
        if out[i] < 0:
            return i
    return len(keys)


@pytest.mark.parametrize("distinct", [0, 1, 5, numbering.AT_FIRST, 3 * numbering.AT_FIRST])
def test_numbers(distinct: int) -> None:
    rng = random.Random(distinct)
    some = [tuple(rng.choice([0, 1, -1, rng.getrandbits(62)]) for _ in range(4)) for _ in range(distinct)]
    keys = [rng.choice(some) for _ in range(4 * distinct)]
    numbers: dict[tuple[int, ...], int] = {}
    expected = [numbers.setdefault(key, len(numbers)) for key in keys]
    numbered, seed, at = Numbered.room(), random_seed(), 0
    given, out = np.array(keys, np.int64).reshape(-1, 4), np.zeros(len(keys), np.int64)
    while (at := int(_number_all(numbered, given, at, seed, out))) < len(keys):
        numbered = numbered.with_room(seed)
    assert out.tolist() == expected
    assert [tuple(key) for key in numbered.met.tolist()] == list(numbers)
