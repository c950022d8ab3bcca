"""What a stream ends with is found without looking at its whole connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from netlens.chains import requests

CHUNK = requests.LAST_CHUNKS[0] << 24
SEGMENTS = 100_000


class Counted(np.ndarray[Any, Any]):
    """Elements that were compared."""

    compared = 0

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        Counted.compared += max(np.size(each) for each in inputs)
        return getattr(ufunc, method)(*(np.asarray(each) for each in inputs), **kwargs)


def side(head: int) -> Any:
    """A connection of many segments of the server, all with this head of 27 bytes, but the last ones, which are the client's."""
    n = np.arange(SEGMENTS)
    columns = {
        "way": np.where(n < SEGMENTS - 3000, 1, 0),
        "fresh": np.ones_like(n),
        "ts": n * 10,
        "head": np.full_like(n, head),
        "length": np.full_like(n, 27),
    }
    trail = SimpleNamespace(segments=lambda: {name: each.view(Counted) for name, each in columns.items()}, of=lambda _: slice(0, SEGMENTS))
    return SimpleNamespace(capture=SimpleNamespace(trail=trail), originator=[0])


@pytest.mark.parametrize(("head", "expected"), [(CHUNK, True), (CHUNK + (1 << 24), False)])
def test_only_what_is_near_the_end_is_looked_at(head: int, expected: bool) -> None:
    Counted.compared = 0
    assert requests._whole(side(head), [0], 500_000) is expected
    assert requests._whole(side(head), [0], 10 * SEGMENTS) is expected  # behind what the client said
    assert requests._whole(side(head), [0], -1) is False
    assert Counted.compared <= 20 * requests.BLOCK
