"""Arrays that grow: what was in them stays, what is new is zero, and who holds a view keeps it."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest

from netlens.arrays import GrowableArray


@pytest.mark.parametrize("moves", [True, False])
def test_growing(monkeypatch: pytest.MonkeyPatch, moves: bool) -> None:
    if not moves:  # as on systems without mremap

        class Fixed(mmap.mmap):
            def resize(self, *_: Any) -> None:
                raise SystemError("mmap: resizing not available--no mremap()")

        monkeypatch.setattr(mmap, "mmap", Fixed)
    rows = GrowableArray(np.int64, 3, 5)
    assert rows.array.shape == (3, 5)
    rows.array[:] = np.arange(15).reshape(3, 5)
    kept = None
    for wanted in (2, 4, 5, 1000, 100_000):
        if wanted == 1000:
            kept = rows.array[:3]
        rows.make_room(wanted)
        assert len(rows.array) >= wanted
        assert rows.array[:3].tolist() == np.arange(15).reshape(3, 5).tolist()
        assert not rows.array[3:].any()
    assert kept is not None
    assert kept.tolist() == np.arange(15).reshape(3, 5).tolist()


def test_growth_is_by_a_quarter_at_least() -> None:
    data = GrowableArray(np.uint8, 1000)
    data.make_room(1001)
    assert len(data.array) >= 1250
    there = len(data.array)
    data.make_room(there)
    assert len(data.array) == there
