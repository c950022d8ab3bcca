"""Arrays that grow: what was in them stays, what is new is zero, and who holds a view keeps it; and such that take little memory, or give it away."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import pytest

from netlens.arrays import EARLY, HUGE, GrowableArray, huge_zeros, in_order, let_go, zeros


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


@pytest.mark.parametrize("size", [10, HUGE // 8, HUGE, 3 * HUGE + 8, EARLY // 8])
def test_large_zeros(size: int) -> None:
    for made in (zeros(np.int64, 2, size), huge_zeros(np.int64, 2, size), in_order(np.int64, 2, size)):
        assert made.shape == (2, size)
        assert made.flags.c_contiguous
        assert made.flags.writeable
        assert not made.any()
        made[:] = 7
    assert 16 * size < HUGE or made.ctypes.data % HUGE == 0


def test_what_lies_beside_what_is_let_go_stays() -> None:
    room = np.full(5 * HUGE // 8, 7)
    let_go(room[HUGE // 8 : 4 * HUGE // 8])
    assert (room[: HUGE // 8] == 7).all()
    assert (room[4 * HUGE // 8 :] == 7).all()
    room[:] = 9
    assert (room == 9).all()
    let_go(room[:9])
    assert (room == 9).all()
