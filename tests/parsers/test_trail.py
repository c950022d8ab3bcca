"""The trail of a capture: where excerpts end and begin, however it comes in batches."""

import numpy as np
import pytest

from netlens.parsers.trail import SEAM_NS, Trail
from netlens.wire import columns as c

NO_BYTES, NO_SESSIONS = np.empty(0, np.uint8), np.empty((0, 1), np.int64)


def _excerpts(times: list[int]) -> list[list[int]]:
    """First frame and latest time of each run of times without a jump."""
    out: list[list[int]] = []
    for k, ts in enumerate(times):
        if k == 0 or abs(ts - times[k - 1]) > SEAM_NS:
            out.append([k + 1, ts])
        out[-1][1] = max(out[-1][1], ts)
    return out


@pytest.mark.parametrize("seed", range(40))
def test_an_excerpt_ends_where_time_jumps_by_more_than_an_hour(seed: int) -> None:
    draw = np.random.default_rng(seed)
    jumps = draw.choice(
        [-2 * SEAM_NS, -SEAM_NS, -5, 0, 7, SEAM_NS, SEAM_NS + 1, 30 * SEAM_NS], 60, p=[0.1, 0.05, 0.2, 0.2, 0.2, 0.05, 0.1, 0.1]
    )
    times = (1_700_000_000 * 10**9 + np.cumsum(jumps)).tolist()
    rows = np.zeros((len(times), c.WIDTH), np.int64)
    rows[:, c.FRAME], rows[:, c.TS], rows[:, c.KIND], rows[:, c.SESSION] = np.arange(1, len(times) + 1), times, c.TCP, -1
    trail = Trail()
    for part in np.split(rows, np.sort(draw.integers(0, len(rows), 6))):
        trail.feed(NO_BYTES, part, part[:0], NO_SESSIONS)
    assert trail.excerpts == _excerpts(times)


def test_what_was_let_go_is_never_taken_for_nothing() -> None:
    trail = Trail()
    trail.let_go()
    with pytest.raises(KeyError):
        trail.segments()
