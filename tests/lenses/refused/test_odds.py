"""With few refusals: which cause is likely, which kind of limiter goes with it, and what neither can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlens.lenses.refused import odds
from netlens.lenses.refused.weighing import Weighed, weigh
from tests.lenses.refused.made import situation
from tests.lenses.refused.scenes import rounds, weighed, without_captures

if TYPE_CHECKING:
    from netlens.chains.situation import Situation

ALONE = rounds(*["v.v", "vv!v"] * 6, gap_s=20.0)  # the VM's own two fill the limit; so would some window
TIED = rounds(*["h.v", "v.h", "vh!v"] * 6)  # at each refusal the VM held one, and the host another
AT_RANDOM = rounds(*["v!v", ".v", "vv.v", "!v", "vv.v", ".v", "vv!v", "v.v", "vv.v", ".v", "v.v"] * 2)


def probabilities(found: Weighed) -> dict[str, float]:
    return {v.id: v.probability or 0.0 for v in found.verdicts}


def test_the_possibilities_add_up_to_one() -> None:
    for scene in (ALONE, TIED, AT_RANDOM):
        assert sum(each.weight for each in odds.possibilities(weighed(scene))) == pytest.approx(1.0)


def test_kinds_of_limiters_go_with_the_cause_that_is_named() -> None:
    found = weigh(ALONE)
    assert found.cause == "own-concurrency"
    assert found.likely["concurrency"] == odds.SUREST
    assert max(found.likely.values()) == found.likely["concurrency"]


def test_a_limit_that_was_never_reached_is_chance() -> None:
    """Where refusals follow no count, the best limit is one above all counts, which refuses nothing: that is no limit on what is open."""
    found = weigh(AT_RANDOM)
    likely = probabilities(found)
    assert max(likely, key=likely.__getitem__) == "provider"
    assert max(found.likely, key=found.likely.__getitem__) == "overload"
    assert likely["provider"] > 0.6


def test_what_both_sides_held_at_each_refusal_is_more_likely_counted_together() -> None:
    """A limit for each side fits as well, but then it is by chance that the other side held something each time: still no verdict."""
    found = weigh(TIED)
    likely = probabilities(found)
    assert 0.6 < likely["same-nat-ip"] < odds.SURE
    assert likely["own-concurrency"] < 0.4
    assert found.cause is None


def test_what_is_unusual_is_not_refuted_for_that() -> None:
    """A window fits as well, but for the price of its search; that limits over time are rarer where few are refused is no evidence against it."""
    found = weigh(ALONE)
    verdict = next(v for v in found.verdicts if v.id == "own-rate")
    assert verdict.probability == pytest.approx(1 - odds.SUREST)
    assert odds.possible(found.possibilities, "own-rate")
    assert verdict.verdict == "undecided"


def test_what_is_named_is_likely() -> None:
    assert probabilities(weigh(ALONE))["own-concurrency"] >= odds.LIKELY


@pytest.mark.parametrize("scene", [without_captures(ALONE, "host"), rounds("v.v", "vv.v"), rounds(*["v.v", "vv!v"] * 12)])
def test_nothing_is_told_of_none_of_many_or_of_what_was_not_captured(scene: Situation) -> None:
    found = weigh(scene)
    assert found.likely == {}
    assert all(v.probability is None for v in found.verdicts)


def test_nothing_given_is_no_probability() -> None:
    one = odds.Possibility(1.0, 1.0, {"provider": 1.0, "overload": 1.0})
    assert odds.probability([], "provider") is None
    assert odds.probability([one], "overload", given="dns") is None
    assert odds.probability([one], "overload", given="provider") == odds.SUREST
    assert odds.probability([one], "dns") == pytest.approx(1 - odds.SUREST)


def test_two_refusals_and_their_retries_are_not_enough_to_be_sure() -> None:
    held = [("vm", 0, 1.0, 20.0, 0)]  # once: a rule must have been reached twice
    alone = [("vm", 7 + k, 60.0 + 10 * k, 65.0 + 10 * k, 0) for k in range(20)]
    retried = [("vm", k, at, at + 0.1, 1) for k, at in ((1, 5.0), (2, 6.0), (3, 7.0), (4, 12.0), (5, 13.0), (6, 14.0))]
    found = weigh(situation(sorted([*held, *alone, *retried], key=lambda r: r[2])))
    assert found.weighing.inference.chains == 2
    assert probabilities(found)["own-concurrency"] >= odds.SURE
    assert found.cause is None
