"""Limits over time that bar whoever exceeds them, or that change: found with their numbers, and not where an overload refuses for a while."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from netlens.chains.situation import REJECTED, Situation
from netlens.lenses.refused import fixes, over_time, replay, weighing
from netlens.lenses.refused.fixes import wait
from tests.lenses.refused.test_over_time import Decide, bucket, fixed, judged, played, sliding


def barring(limit: int, window_s: float, for_s: float, *, together: bool = False) -> Decide:
    inner, until = sliding(limit, window_s, together=together), dict[str, float]()

    def decide(side: str, now: float, open_now: int) -> bool:
        whose = "all" if together else side
        if now < until.get(whose, 0.0):
            return False
        if accepted := inner(side, now, open_now):
            return accepted
        until[whose] = now + for_s
        return False

    return decide


def lowered(before: int, after: int, window_s: float, at_s: float) -> Decide:
    taken: list[float] = []

    def decide(_: str, now: float, __: int) -> bool:
        accepted = sum(at > now - window_s for at in taken) < (before if now < at_s else after)
        if accepted:
            taken.append(now)
        return accepted

    return decide


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("together", "cause"), [(False, "own-rate"), (True, "same-nat-ip")], ids=["each side", "together"])
def test_who_exceeds_a_limit_is_refused_for_a_while(seed: int, together: bool, cause: str) -> None:
    made = played(
        barring(12, 10.0, 15.0, together=together), seed=seed, seconds=400, rates={"vm": 1.2, "host": 1.2} if together else {"vm": 2.0}
    )
    found = weighing.weigh(made, 199)
    # who is barred sends little, so that each side by itself would run into the limit about as often: that is for neither cause
    assert found.cause in ({cause, None} if together else {cause})
    told = found.limiter
    assert told is not None
    assert (told["kind"], told["value"], told["window_s"]) == ("rate", 12, pytest.approx(10.0, rel=0.1))
    assert told["barred_s"] == pytest.approx(15.0, rel=0.35)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("limit", "window_s", "for_s", "rate"), [(12, 10.0, 12.0, 4.0), (8, 5.0, 10.0, 3.0), (20, 10.0, 15.0, 4.0)])
def test_a_ban_is_told_though_a_window_explains_most(seed: int, limit: int, window_s: float, for_s: float, rate: float) -> None:
    """A window that lasts as long as limit and ban together fits with a few exceptions."""
    told = weighing.weigh(played(barring(limit, window_s, for_s), seed=seed, seconds=180, rates={"vm": rate}), 199).limiter
    assert told is not None
    assert (told["kind"], told["value"], told["window_s"], told["barred_s"]) == ("rate", limit, window_s, for_s)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "inner", [lambda: fixed(12, 20.0, 3.0), lambda: sliding(12, 20.0), lambda: bucket(8, 1.5)], ids=["fixed", "sliding", "bucket"]
)
def test_a_limit_beside_other_refusals_bars_nobody(seed: int, inner: Callable[[], Decide]) -> None:
    decide, rng = inner(), np.random.default_rng(seed)
    told = weighing.weigh(
        played(lambda *each: rng.random() > 0.06 and decide(*each), seed=seed, seconds=200, rates={"vm": 2.0}), 199
    ).limiter
    assert told is not None
    assert told["barred_s"] is None


@pytest.mark.parametrize("seed", range(4))
def test_a_limit_over_time_that_is_lowered(seed: int) -> None:
    """Neither value explains all, and chance was told."""
    made = played(lowered(20, 7, 20.0, 100.0), seed=seed, seconds=220, rates={"vm": 2.5})
    found = weighing.weigh(made, 199)
    assert found.cause == "own-rate"
    told = found.limiter
    assert told is not None
    assert (told["kind"], told["value"], told["window_s"]) == ("rate", 7, 20.0)
    assert [each["value"] for each in told["changes"]] == [20, 7]
    assert told["changes"][1]["at_ns"] / 1e9 == pytest.approx(100.0, abs=15.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("window_s", [7.0, 12.0, 13.0, 17.0, 26.0])
def test_a_limit_in_a_window_of_any_length_that_is_raised(window_s: float, seed: int) -> None:
    """Only windows of usual lengths were tried with a change, and chance was told."""
    before, after = round(0.4 * window_s), round(0.8 * window_s)
    made = played(lowered(before, after, window_s, 80.0), seed=seed, seconds=200, rates={"vm": 3.5})
    found = weighing.weigh(made, 199)
    assert found.cause == "own-rate"
    told = found.limiter
    assert told is not None
    assert (told["kind"], told["value"], told["window_s"]) == ("rate", after, pytest.approx(window_s, rel=0.05))
    assert [each["value"] for each in told["changes"]] == [before, after]


@pytest.mark.parametrize("seed", range(3))
def test_chance_is_not_told_where_a_window_that_changes_explains_more(seed: int) -> None:
    """It leaves too many exceptions to be believed, as something else refuses now and then."""
    inner, rng = lowered(5, 10, 12.0, 80.0), np.random.default_rng(seed)
    made = played(lambda *each: rng.random() > 0.06 and inner(*each), seed=seed, seconds=200, rates={"vm": 3.5})
    supported, _ = judged(made)
    assert "provider" not in supported


@pytest.mark.parametrize("seed", range(6))
def test_an_overload_that_lasts_a_while_bars_nobody(seed: int) -> None:
    rng = np.random.default_rng(seed)
    begins = np.sort(rng.uniform(0, 300, 7))
    decide: Callable[..., bool] = lambda _, now, __: not ((begins <= now) & (now < begins + 8.0)).any()  # noqa: E731
    supported, _ = judged(played(decide, seed=seed, seconds=300, rates={"vm": 2.0}))
    assert supported <= {"provider"}


def decided_otherwise(made: Situation) -> tuple[float, float]:
    """The share of the requests that a replay decides otherwise than the provider did: as the limit was fitted, and without what is irregular about it."""
    (fit, *_) = weighing.weigh(made, 199).by_time
    r, shares = made.requests, []
    for each in (fit, dataclasses.replace(fit, barred_s=0.0, changes=())):
        limiter = replay._Timely(replay.Setting(made, over_time.rule_of(made, each)), replay.NOTHING, False)
        accepted = [limiter.accepts(at, 0, side, 0) for at, side in zip(r.start_ns.tolist(), r.side.tolist(), strict=True)]
        shares.append(float(np.mean(np.array(accepted) == (r.rejected == REJECTED))))
    return shares[0], shares[1]


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_bars_who_exceeds_the_limit(seed: int) -> None:
    """Fixes were replayed under the plain window, which lets through what comes within the ban."""
    as_fitted, plain = decided_otherwise(played(barring(12, 10.0, 15.0), seed=seed, seconds=400, rates={"vm": 2.0}))
    assert as_fitted <= 0.03
    assert plain >= 0.1


@pytest.mark.parametrize("seed", range(3))
def test_a_replay_has_the_limit_as_it_was_at_each_time(seed: int) -> None:
    as_fitted, plain = decided_otherwise(played(lowered(20, 7, 20.0, 100.0), seed=seed, seconds=220, rates={"vm": 2.5}))
    assert as_fitted <= 0.03
    assert plain >= 0.1


def test_who_waits_waits_until_the_ban_is_over() -> None:
    made = played(barring(12, 10.0, 15.0), seed=0, seconds=400, rates={"vm": 2.0})
    (fit, *_) = weighing.weigh(made, 199).by_time
    rule = over_time.rule_of(made, fit)
    waited = replay.replay(replay.Setting(made, rule), replay.Change(waits=True))
    assert waited.total <= 1.1 * waited.refused  # hardly any is refused again
    (waiting,) = wait.variants(fixes.Case(made, rule, fixes.Context(())))
    assert f"{fit.barred_s:.3g} s" in waiting.title
