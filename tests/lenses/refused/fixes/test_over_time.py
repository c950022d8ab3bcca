"""Fixes under limits over time: replayed under the limiter that was fitted, those that help, the best first."""

from __future__ import annotations

import numpy as np
import pytest

from netlens.chains.situation import Situation
from netlens.lenses.refused import over_time
from netlens.lenses.refused.fixes import Context, Prediction, predict
from netlens.lenses.refused.replay import NOTHING, Change, Setting, replay
from netlens.lenses.refused.weighing import weigh
from tests.lenses.refused.test_over_time import answered, bucket, fixed, played, sized, sliding, slower


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


def of_bytes() -> Situation:
    """A bucket of 250,000 bytes, 9,000 of which come back a second; each request needs room for itself."""
    level, before = 250_000.0, 0.0

    def decide(now: float, size: int, *_: object) -> bool:
        nonlocal level, before
        level, before = min(250_000.0, level + (now - before) * 9_000), now
        accepted = level >= size
        level -= size * accepted
        return accepted

    return sized(decide, seed=1)


def test_smaller_requests_are_the_fix_of_a_bucket_of_bytes() -> None:
    made = of_bytes()
    weighed = weigh(made)
    rule = over_time.rule_of(made, weighed.weighing.by_time[0])
    assert (rule.counts, rule.fit.limiter.WINDOW) == ("bytes", "bucket")
    found = {p.id: p for p in predict(made, rule, Context(("api.example",), cause=weighed.cause, over_time=True))}
    smaller = found["smaller-requests"]
    assert smaller.rejections_after is not None
    assert smaller.rejections_after < 0.7 * smaller.rejections_before
    assert "pace" not in found  # so many a minute say nothing of their sizes
    usual = float(np.median(rule.fit.reading.taken(made.requests.sent_bytes)))
    assert rule.free_after_s(made) == pytest.approx(usual / 9_000, rel=0.1)


def test_answers_count_in_a_replay_when_they_are_over() -> None:
    made = answered(0, limit=40_000, window_s=15.0)
    rule = over_time.rule_of(made, weigh(made).weighing.by_time[0])
    assert rule.counts == "answers"
    setting = Setting(made, rule)
    as_recorded, slowly = (replay(setting, change) for change in (NOTHING, Change(pace_s=4.0)))
    assert sum(as_recorded.rejections.values()) > 10
    assert sum(slowly.rejections.values()) == 0
    assert replay(setting, Change(smaller=0.5)) == as_recorded  # shorter questions shorten no answer
    assert rule.free_after_s(made) == rule.fit.parameter_s


def test_a_bucket_that_fills_slower_is_paced_as_it_fills_now() -> None:
    made = played(slower(5, (1.5, 4.0), 70.0), seed=1, seconds=140.0, rates={"vm": 3.0})
    weighed = weigh(made)
    rule = over_time.rule_of(made, weighed.weighing.by_time[0])
    assert rule.per_s == pytest.approx(1 / 4.0, rel=0.03)
    assert rule.free_after_s(made) == pytest.approx(4.0, rel=0.03)
    found = {p.id: p for p in predict(made, rule, Context(("api.example",), cause=weighed.cause, over_time=True))}
    assert found["pace"].rejections_after == 0
