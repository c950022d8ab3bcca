"""The compiled loops give what plain numpy gives, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from netlens.lenses.refused import kernels
from netlens.lenses.refused.limit import noise_of


@pytest.mark.parametrize("most", [0, 1, 9, 300, 5_000, 10_000_000])
@pytest.mark.parametrize("tied", [False, True])
def test_the_best_limit_is_that_of_all_limits(most: int, tied: bool) -> None:
    rng = np.random.default_rng(most)
    for n in (1, 2, 7, 60, 900):
        counts = rng.integers(0, most + 1, n)
        refused = rng.random(n) < 0.3 if tied else counts + rng.normal(0, most / 3 + 0.1, n) > most / 2
        label = np.where(rng.random(n) < 0.9, refused, kernels.UNUSED).astype(np.int8)
        best, found = np.full(1, -np.inf), np.zeros(3, np.int64)
        noise = noise_of(n)
        rooms = np.zeros((4, kernels.BUCKETS + 1), np.int64), np.zeros((2, n), np.int64)
        better = kernels.best_limit(counts, label, noise.tables, *rooms, found, best)
        limits = np.unique(counts[(label == kernels.REFUSED) & (counts > 0)])
        assert bool(better) == bool(len(limits))
        if not len(limits):
            continue
        hit, miss = (np.array([f(counts[label == kernels.REFUSED], x).sum() for x in limits]) for f in (np.greater_equal, np.less))
        alarm, calm = (np.array([f(counts[label == kernels.ACCEPTED], x).sum() for x in limits]) for f in (np.greater_equal, np.less))
        each = noise(alarm, hit) + noise(miss, calm)
        at = int(each.argmax())
        assert (best[0], found.tolist()) == (each[at], [limits[at], miss[at], calm[at]])
        assert not kernels.best_limit(counts, label, noise.tables, *rooms, found, best)  # nothing is better than the best


def test_sums_of_windows() -> None:
    rng = np.random.default_rng(1)
    starts = np.sort(rng.integers(0, 10**11, 500))
    starts[100:110] = starts[100]
    before = np.concatenate([[0.0], np.cumsum(rng.integers(0, 3, 500).astype(float))])
    out = np.empty(500)
    for width in (1, 10**9, 7 * 10**9, 10**12):
        kernels.window_sums(starts, before, width, out)
        assert out.tolist() == [before[i] - before[min(int((starts <= starts[i] - width).sum()), i)] for i in range(500)]
        for edge in (0, 3 * 10**8, 10**12):
            kernels.edge_sums(starts, before, edge, width, out)
            window = (starts - edge) // width
            assert out.tolist() == [before[i] - before[int(np.argmax(window == window[i]))] for i in range(500)]


def test_a_part_of_a_place_is_a_whole_one() -> None:
    counts = np.zeros(6, np.int64)
    kernels.whole(np.array([0.0, 1.0, 1.2, 2.0000000001, 1e12, 0.0]), np.array([0.0, 0.0, 0.0, 0.0, 0.0, 2.5]), counts)
    assert counts.tolist() == [0, 1, 2, 2, kernels.MAX_COUNT, 3]
