"""Where a clock was set back, by the order of frames; cut into batches anywhere it is the same."""

from __future__ import annotations

import numpy as np
import pytest

from netlens.wire.framing import F_TS, FRAME_WIDTH
from netlens.wire.times import SET_BACK_NS, SPANS, Times

S = 1_000_000_000
LONG = [round(3 + i / 10, 1) for i in range(20)]  # to 4.9: more frames than may lie ahead


def _fed(seconds: list[float], size: int) -> tuple[Times, list[int]]:
    frames = np.zeros((len(seconds), FRAME_WIDTH), np.int64)
    frames[:, F_TS] = [round(s * S) for s in seconds]
    times, bounds = Times(), [0]
    for at in range(0, len(frames), size):
        part = frames[at : at + size]
        bounds += [t for t in times.feed(part, len(part), at) if t]
    return times, bounds


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("seconds", "spans"),
    [
        ([], []),
        ([5, 6, 7], []),
        ([5, 6, 5.7, 6.5, 6.1, 7], []),  # interfaces that take turns
        ([5, 100, 101], []),  # set forward, or silence
        ([*LONG, 4, 4.5, 4.8, 8], [(21, 4, 4.9)]),
        ([*LONG, 4.7, 3.5, 4, 4.8], [(22, 3.5, 4.9)]),  # the fall is the second frame's; the end of the capture ends the span too
        ([*LONG, 4, *(s + 3 for s in LONG), 5, 9], [(21, 4, 4.9), (42, 5, 7.9)]),
        ([5, 0, 6, 0, 7], []),  # frames without a time
        ([0, 0, *LONG, 0, 3], [(24, 3, 4.9)]),
        ([9, *LONG], []),  # frames that lie ahead of all others: the first,
        ([*LONG, 3605, 5.0, 5.1, 5.2], []),  # one in the middle,
        ([*LONG, *[3605] * 16, 5.0, 5.1], []),  # sixteen;
        ([*LONG, *[3605] * 17, 5.0, 5.1], [(38, 5.0, 3605)]),  # more are a clock that was set, twice;
        ([*LONG, 3605, 4, 4.1, 4.5], [(22, 4, 3605)]),  # and this one fell behind what was before
    ],
)
def test_falls(seconds: list[float], spans: list[tuple[int, float, float]], size: int) -> None:
    times, bounds = _fed(seconds, size)
    assert times.set_back().tolist() == [[frame, round(low * S), round(high * S)] for frame, low, high in spans]
    dated = [round(s * S) for s in seconds if s]
    assert (min(bounds[1:], default=0), max(bounds[1:], default=0)) == (min(dated, default=0), max(dated, default=0))


@pytest.mark.parametrize("size", [1, 100])
def test_times_before_1970(size: int) -> None:
    times, bounds = _fed([-300, 0, *(s - 200 for s in LONG), -250, -100], size)
    assert (min(bounds[1:]), max(bounds[1:])) == (-300 * S, -100 * S)
    assert times.set_back().tolist() == [[23, -250 * S, round((LONG[-1] - 200) * S)]]


def test_a_fall_of_the_bound_is_none() -> None:
    last = LONG[-1]
    assert len(_fed([*LONG, last - SET_BACK_NS / S], 10)[0].set_back()) == 0
    assert len(_fed([*LONG, last - (SET_BACK_NS + 1) / S], 10)[0].set_back()) == 1


def test_more_falls_than_are_kept_are_in_the_last() -> None:
    seconds = [s for k in range(2 * SPANS) for s in (*(10 * k + t for t in LONG), 10 * k + 3)]
    spans = _fed(seconds, 7)[0].set_back()
    assert len(spans) == SPANS
    assert spans[0].tolist() == [21, 3 * S, 4_900_000_000]
    assert spans[-1].tolist() == [21 * SPANS, (10 * (SPANS - 1) + 3) * S, (10 * (2 * SPANS - 1) + 4) * S + 900_000_000]
