"""Fixes under limits over time: replayed under the limiter that was fitted, those that help, the best first."""

from __future__ import annotations

import pytest

from netlens.lenses.refused import over_time
from netlens.lenses.refused.fixes import Context, Prediction, predict
from netlens.lenses.refused.weighing import weigh
from tests.lenses.refused.test_over_time import bucket, fixed, played, sliding


def predicted(decide: object, **how: object) -> list[Prediction]:
    situation = played(decide, **how)  # type: ignore[arg-type]
    weighed = weigh(situation)
    fit = weighed.weighing.by_time[0]
    return predict(situation, over_time.rule_of(situation, fit), Context(("api.example",), cause=weighed.cause, over_time=True))


@pytest.mark.parametrize("decide", [sliding(20, 30.0), fixed(20, 30.0, 7.0), bucket(5, 2.0)], ids=["sliding", "fixed", "bucket"])
def test_pacing_leaves_no_refusal(decide: object) -> None:
    found = predicted(decide, seed=1, seconds=400, rates={"vm": 1.2})
    best = next(p for p in found if p.id == "pace")
    assert best.rejections_before > 20
    assert (best.replayed_before or 0) >= 0.5 * best.rejections_before  # these programs give up sooner than the replay
    assert best.rejections_after is not None
    assert best.rejections_after <= 0.05 * best.rejections_before
    assert "limit_req" in (best.command or "")
    helping = [p.rejections_after for p in found if p.rejections_after is not None]
    assert helping == sorted(helping)
    assert all(after < p.rejections_before for p, after in zip(found, helping, strict=False))


def test_a_key_of_its_own_where_both_reach_the_limit_together() -> None:
    found = predicted(sliding(20, 30.0, together=True), seed=2, seconds=400, rates={"vm": 0.5, "host": 0.5})
    assert "other-key" in [p.id for p in found]
