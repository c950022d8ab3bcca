"""Where a clock was set back, by the order of frames; cut into batches anywhere it is the same."""

from __future__ import annotations

import numpy as np
import pytest

from netlens.wire.containers import F_TS, FRAME_WIDTH
from netlens.wire.times import SET_BACK_NS, SPANS, Times

S = 1_000_000_000


def _fed(seconds: list[float], size: int) -> tuple[Times, int]:
    frames = np.zeros((len(seconds), FRAME_WIDTH), np.int64)
    frames[:, F_TS] = [round(s * S) for s in seconds]
    times, latest = Times(), 0
    for at in range(0, len(frames), size):
        part = frames[at : at + size]
        latest = max(latest, times.feed(part, len(part), at))
    return times, latest


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("seconds", "spans"),
    [
        ([], []),
        ([5, 6, 7], []),
        ([5, 6, 5.7, 6.5, 6.1, 7], []),  # interfaces that take turns
        ([5, 100, 101], []),  # set forward, or silence
        ([5, 6, 7, 4, 5, 6, 8], [(4, 4, 7)]),
        ([5, 6, 7, 6.8, 4, 5, 6], [(5, 4, 7)]),  # the fall is the fifth frame's; the end of the capture ends the span too
        ([5, 6, 4, 5, 7, 9, 8, 3, 10], [(3, 4, 6), (7, 3, 9)]),
        ([5, 0, 6, 0, 7], []),  # frames without a time
        ([0, 0, 7, 0, 3], [(5, 3, 7)]),
    ],
)
def test_falls(seconds: list[float], spans: list[tuple[int, float, float]], size: int) -> None:
    times, latest = _fed(seconds, size)
    assert times.set_back().tolist() == [[frame, low * S, high * S] for frame, low, high in spans]
    assert latest == max(seconds, default=0) * S


def test_a_fall_of_the_bound_is_none() -> None:
    assert len(_fed([5, 5 - SET_BACK_NS / S], 10)[0].set_back()) == 0
    assert len(_fed([5, 5 - (SET_BACK_NS + 1) / S], 10)[0].set_back()) == 1


def test_more_falls_than_are_kept_are_in_the_last() -> None:
    seconds = [s for k in range(2 * SPANS) for s in (10 * k + 10, 10 * k + 5)]
    spans = _fed(seconds, 7)[0].set_back() // np.array([1, S, S])
    assert len(spans) == SPANS
    assert spans[0].tolist() == [2, 5, 10]
    assert spans[-1].tolist() == [2 * SPANS, 10 * (SPANS - 1) + 5, 10 * (2 * SPANS - 1) + 10]
