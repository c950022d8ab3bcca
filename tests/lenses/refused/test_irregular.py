"""Places given back late and limits that change: found with their numbers, and not where a plain rule is enough."""

from __future__ import annotations

import pytest

from netlens.lenses.refused.weighing import weigh
from tests.bench.situations import draw
from tests.lenses.refused.test_over_time import concurrency, played


@pytest.mark.parametrize("seed", [1, 4, 6, 7])
def test_given_back_late(seed: int) -> None:
    drawn = draw(seed, "given-back-late")
    found = weigh(drawn.situation).limiter
    assert found is not None
    assert (found["kind"], found["value"]) == ("concurrency", drawn.truth.values["value"])
    assert found["held_s"] == pytest.approx(drawn.truth.values["held_s"], rel=0.15)


def test_a_limit_that_is_lowered() -> None:
    halves = {True: 4, False: 2}
    made = played(lambda _, now, open_now: open_now < halves[now < 200], seed=4, seconds=400, rates={"vm": 2.0}, lasts=(1.0, 4.0))
    found = weigh(made).limiter
    assert found is not None
    assert (found["kind"], found["value"]) == ("concurrency", 2)
    assert [each["value"] for each in found["changes"]] == [4, 2]


@pytest.mark.parametrize("seed", [1, 3, 4, 11])
def test_models_that_count_by_themselves(seed: int) -> None:
    drawn = draw(seed, "model-limits")
    found = weigh(drawn.situation).limiter
    assert found is not None
    assert (found["kind"], found["value"]) == ("concurrency", drawn.truth.values["value"])
    assert found["models"] == [drawn.setup.provider.limit, drawn.setup.provider.small_limit]


def test_a_plain_limit_stays_plain() -> None:
    found = weigh(played(concurrency(2), seed=5, seconds=200, rates={"vm": 2.0}, lasts=(1.0, 4.0))).limiter
    assert found is not None
    assert (found["kind"], found["value"], found["held_s"], found["changes"], found["models"]) == ("concurrency", 2, None, [], [])
