"""Maxima second by second, against the curves of ``analysis.overlap``."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from netlens.chains import overlap
from netlens.columns import NEVER
from netlens.watch.peaks import SECOND, WINDOW_S, ExactPeaks, RollingPeaks, maxima

intervals = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(0, 2)), max_size=40)


def columns(rows: list[tuple[int, int, int]], unit: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = np.array(rows, np.int64).reshape(-1, 3)
    return table[:, 0] * unit, (table[:, 0] + table[:, 1]) * unit, table[:, 2]


@given(intervals, st.lists(st.integers(-5, 95), min_size=2, max_size=12, unique=True))
def test_maxima_are_those_of_the_curve(rows: list[tuple[int, int, int]], edges: list[int]) -> None:
    start, end, group = columns(rows)
    at = np.array(sorted(edges), np.int64)
    found = maxima(start, end, group, 3, at)
    for g in range(3):
        curve = overlap.curve(start[group == g], end[group == g])
        assert found[g].tolist() == curve.highest(at)[0].tolist()


def test_an_end_and_a_start_at_one_moment_do_not_overlap() -> None:
    start, end = np.array([0, 10]), np.array([10, 20])
    assert maxima(start, end, np.zeros(2, np.int64), 1, np.array([0, 20])).tolist() == [[1]]


def test_what_lasts_counts_in_every_bin() -> None:
    found = maxima(np.array([3]), np.array([NEVER]), np.zeros(1, np.int64), 1, np.array([0, 2, 4, 6]))
    assert found.tolist() == [[0, 1, 1]]


@given(intervals)
def test_second_by_second_gives_the_same_peak_and_history(rows: list[tuple[int, int, int]]) -> None:
    # half seconds; at each tick only what has begun is known, and what has not ended lasts
    start, end, group = columns(rows, SECOND // 2)
    rolling = RollingPeaks()
    last = 50
    for second in range(1, last + 1):
        now = second * SECOND
        known = start < now
        rolling.update(start[known], np.where(end[known] < now, end[known], NEVER), group[known], 3, now - 1)
    edges = np.arange(0, last + 1) * SECOND
    for g in range(3):
        curve = overlap.curve(start[group == g], end[group == g])
        assert rolling.history(g, last).tolist() == curve.highest(edges)[0].tolist()
        assert rolling.peaks()[g] == max([0, *curve.highest(edges)[0].tolist()])
        assert rolling.minutes()[g] == rolling.peaks()[g]


def test_an_overcount_that_is_mended_within_the_window_leaves_no_peak() -> None:
    rolling = RollingPeaks()
    two = np.array([5, 5]) * SECOND
    rolling.update(two, np.array([NEVER, NEVER]), np.zeros(2, np.int64), 1, 6 * SECOND)
    assert rolling.peaks().tolist() == [2]
    rolling.update(two[:1], np.array([NEVER]), np.zeros(1, np.int64), 1, 7 * SECOND)  # two copies of one connection
    assert rolling.peaks().tolist() == [1]


def test_an_hour_without_ticks_is_one_step() -> None:
    rolling = RollingPeaks()
    start, end, group = np.array([SECOND]), np.array([3 * SECOND]), np.zeros(1, np.int64)
    rolling.update(start, end, group, 1, 2 * SECOND)
    rolling.update(start, end, group, 1, 7200 * SECOND)
    assert rolling.peaks().tolist() == [1]
    assert rolling.history(0).sum() == 0


@given(intervals, st.integers(1, 90))
def test_a_ledger_that_dropped_rows_has_the_same_peaks(rows: list[tuple[int, int, int]], sure: int) -> None:
    start, end, group = columns(rows)

    def groups_of(kinds: np.ndarray) -> list[tuple[np.ndarray, list[str]]]:
        return [(kinds, ["a", "b", "c"]), (np.zeros_like(kinds), ["all"])]

    nothing = np.zeros((3, 0), np.int64)
    early = end <= sure
    whole, trimmed = ExactPeaks(), ExactPeaks(max_rows=0)
    whole.add(start, end, group)
    trimmed.add(start[early], end[early], group[early])
    later = np.stack([start[~early], end[~early], group[~early]])
    trimmed.trim(later, sure, groups_of)
    assert trimmed.rows <= int(early.sum())
    assert trimmed.exact(later, groups_of) == whole.exact(nothing, groups_of)


def test_the_window_is_shorter_than_what_is_kept_of_closed_connections() -> None:
    from netlens.watch import state

    assert state.GRACE_NS > 2 * WINDOW_S * SECOND
