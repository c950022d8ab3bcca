"""Several recordings weighed as one: what each alone cannot decide, all together may."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netlens.chains.situation import DAY_NS, REJECTED, joined
from netlens.lenses.refused.weighing import weigh
from tests.lenses.refused.test_over_time import concurrency, played


def test_few_refusals_each_are_enough_together() -> None:
    parts = []
    for seed in range(24):
        made = played(concurrency(3), seed=seed, seconds=12, rates={"vm": 1.5}, lasts=(0.5, 2.0))
        if 1 <= int((made.requests.rejected == REJECTED).sum()) <= 3:
            parts.append(made)
    assert len(parts) >= 3
    assert all(weigh(part).cause is None for part in parts)
    assert all(v.probability is not None for v in weigh(parts[0]).verdicts)
    whole = weigh(joined(parts))
    assert whole.limiter is not None
    assert (whole.limiter["kind"], whole.limiter["value"]) == ("concurrency", 3)
    assert whole.cause == "own-concurrency"


def test_each_is_moved_by_whole_days_and_keeps_its_sessions() -> None:
    one = played(concurrency(2), seed=1, seconds=20, rates={"vm": 1.0})
    both = joined([one, replace(one)])
    n = len(one.requests)
    assert ((both.requests.start_ns[n:] - one.requests.start_ns) % DAY_NS == 0).all()
    assert (np.diff(both.requests.start_ns) >= 0).all()
    assert (both.requests.session[n:] == one.requests.session + len(one.sessions)).all()
    assert not both.requests.vm_frame.any()
