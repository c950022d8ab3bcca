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


def test_three_refusals_and_three_accepted_may_be_enough_where_nothing_else_is_near() -> None:
    long = [("vm", 0, 1.0, 20.0, 0), ("vm", 3, 30.0, 50.0, 0), ("vm", 6, 60.0, 80.0, 0)]
    apart = [("vm", 1, 5.0, 5.1, 1), ("vm", 2, 11.0, 11.1, 1), ("vm", 4, 35.0, 35.1, 1), ("vm", 5, 41.0, 41.1, 1), ("vm", 7, 65.0, 65.1, 1)]
    retried = [(side, session, 5.0 + session / 2, 5.1 + session / 2, label) for side, session, _, _, label in apart]
    found = weigh(situation(sorted([*long, *apart], key=lambda r: r[2])))
    assert found.weighing.inference.accepted == 3
    assert found.cause == "own-concurrency"
    assert weigh(situation(sorted([*long, *retried], key=lambda r: r[2]))).cause is None
