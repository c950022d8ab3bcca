"""With few refusals: which cause is likely, which kind of limiter goes with it, and what neither can tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from netlens import logs
from netlens.chains.situation import REJECTED
from netlens.lenses.refused import odds
from netlens.lenses.refused.causes import taken_away
from netlens.lenses.refused.weighing import Weighed, weigh
from tests.bench.situations import draw
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
        for reading in odds.possibilities(weighed(scene)):
            assert sum(each.weight for each in reading) == pytest.approx(1.0)


def test_kinds_of_limiters_go_with_the_cause_that_is_named() -> None:
    found = weigh(ALONE)
    assert found.cause == "own-concurrency"
    assert found.likely["concurrency"] == odds.SUREST
    assert max(found.likely.values()) == found.likely["concurrency"]


def test_the_word_concurrency_speaks_against_limits_over_time_where_something_was_in_progress() -> None:
    def over_time(scene: Situation, word: str) -> float:
        r = scene.requests
        said = replace(scene, requests=replace(r, refusal_class=np.where(r.rejected == REJECTED, word, "").astype(object)))
        return sum(
            each.weight for each in odds.possibilities(weigh(said).weighing)[0] if not each.holds.keys().isdisjoint(("rate", "volume"))
        )

    made, nothing_open = (draw(seed, "under-ten").situation for seed in (4, 3))
    assert 0 < over_time(made, logs.CONCURRENCY) < 0.5 * over_time(made, logs.UNKNOWN)
    assert over_time(nothing_open, logs.CONCURRENCY) == over_time(nothing_open, logs.UNKNOWN) > 0.2


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


def test_a_likely_cause_tells_of_its_limiter_what_is_likely() -> None:
    """No count tells refused from accepted without exception, so that only the kind is known."""
    drawn = draw(73, "under-ten")
    found = weigh(drawn.situation)
    assert found.cause == "multiplexing"
    assert not found.rules
    limiter = found.limiter
    assert limiter is not None
    assert (limiter["kind"], limiter["value"]) == ("concurrency", None)
    assert drawn.truth.kind == "concurrency"


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


@pytest.mark.parametrize(("seed", "family"), [(53, None), (100054, "under-ten"), (100104, "under-ten"), (100903, "under-ten")])
def test_four_or_five_refusals_beside_as_few_acceptances_may_be_enough_to_be_sure(seed: int, family: str | None) -> None:
    """The limit was reached again after something was accepted. Before, fewer than five refusals took five acceptances, and five odds of 0.95."""
    drawn = draw(seed, family)
    found = weigh(drawn.situation)
    assert found.weighing.inference.refused <= 5
    assert found.weighing.inference.accepted < 5
    assert not found.weighing.kind
    assert found.cause in drawn.truth.causes


@pytest.mark.parametrize("seed", [100328, 100602, 100612, 100681])
def test_one_or_two_stretches_of_refusals_are_no_chance(seed: int) -> None:
    """Windows of both sides, of one, and on bytes, partly used up before: all is refused for a while, and all accepted before and after."""
    drawn = draw(seed, "under-ten")
    assert "provider" not in drawn.truth.causes
    found = weigh(drawn.situation)
    assert found.weighing.few_stretches
    assert found.cause is None
    assert probabilities(found)["provider"] > odds.SURE_OF_CHANCE


def beside_others(said: str, seed: int, others: int = 3) -> Situation:
    """A program of two threads beside one of so many that no capture shows; four may be in progress at once, and the provider says what it counts."""
    rng, rows = np.random.default_rng(seed), []
    due = [[0.1 * k, k] for k in range(2 + others)]
    open_until: list[float] = []
    while (first := min(due))[0] < 60.0:
        now, k = first
        open_until = [end for end in open_until if end > now]
        accepted = len(open_until) < 4
        end = now + (float(rng.uniform(1.0, 4.0)) if accepted else 0.01)
        open_until += [end] * accepted
        if k < 2:
            rows.append(("vm", int(k), now, end, int(not accepted)))
        first[0] = end + (float(rng.uniform(0.1, 0.4 if k >= 2 else 1.5)) if accepted else 1.0)
    made = situation(rows)
    classes = np.where(made.requests.rejected == REJECTED, said, "").astype(object)
    return replace(made, requests=replace(made.requests, refusal_class=classes))


def test_who_shares_a_limit_with_others_is_not_blamed_alone() -> None:
    """One other of its own was open at every refusal, and at many acceptances: the provider counts what is in progress, and somebody else fills it."""
    blamed = 0
    for seed in range(12):
        found = weigh(beside_others(logs.CONCURRENCY, seed))
        assert found.weighing.inference.refused > 3
        assert not (found.weighing.filled is False and found.cause)
        blamed += found.weighing.filled is False and weigh(beside_others(logs.UNKNOWN, seed)).cause is not None
    assert blamed  # without the provider's word it may be a limit beside an overload


def test_what_is_uncertain_in_counts_may_be_evidence_against_what_is_told_without_it() -> None:
    """By one reading of two all connections were open that may have been: then they explain as much as requests do, and mean another cause."""
    found = weighed(draw(13113).situation)
    plain, kindly = odds.possibilities(found)
    assert (odds.probability(plain, "own-concurrency") or 0.0) >= odds.SURE > (odds.probability(kindly, "own-concurrency") or 1.0)
    assert weigh(found.situation).cause is None


def test_a_cause_is_as_likely_as_it_is_under_all_limits_that_fit_as_well() -> None:
    """Refusals met four others, two of them the tunnel's, accepted requests one at most: the limit is 2 to 4; 3 and 4 need the tunnel's."""
    best = weighed(rounds(*["v.v", "vvcc!v"] * 6, gap_s=20.0)).inference.fits
    found = weighed(rounds(*["v.v", "vvcc!v"] * 6, gap_s=20.0))
    fit = next(each for each in best if each.rule.unit == "connections")
    assert (fit.low, fit.high) == (2, 4)
    alone = [
        odds._at_least_half(int(w.gone.sum()), int(w.at.sum()))
        for w in (found.without(fit, taken_away()["multiplexing"], limit) for limit in (2, 3, 4))
    ]
    assert alone[0] == 0.0
    assert min(alone[1:]) > 0.95
    assert odds._holds(found, fit)["multiplexing"] == pytest.approx(sum(alone) / 3)


@pytest.mark.parametrize(("seed", "cause"), [(14724, "own-concurrency"), (10254, "provider"), (15407, "keep-alive")])
def test_with_more_refusals_what_is_next_to_certain_is_named(seed: int, cause: str) -> None:
    """No rule explains these: a limit beside others, an overload, idle connections that filled the limit in one stretch of which nobody sees the end."""
    drawn = draw(seed)
    found = weigh(drawn.situation)
    assert odds.MOST < found.weighing.inference.refused <= odds.WEIGHED
    assert not found.weighing.kind
    assert cause in drawn.truth.causes
    assert found.cause == cause
    assert all(v.probability is None for v in found.verdicts)


@pytest.mark.parametrize("seed", [15280, 15752])
def test_with_more_refusals_what_a_rule_says_is_not_named_if_it_is_not_likely(seed: int) -> None:
    """Bursts of an overload that some window fits, and models that count by themselves."""
    found = weigh(draw(seed).situation)
    assert found.cause is None
    assert any(v.needs == "a longer recording: other explanations are still plausible" for v in found.verdicts)


def test_that_all_is_refused_from_a_moment_on_has_no_cause_however_likely() -> None:
    found = weigh(draw(34306).situation)
    assert found.weighing.from_a_moment_on
    assert all((odds.probability(reading, "keep-alive") or 0.0) >= odds.SURE for reading in odds.possibilities(found.weighing))
    assert found.cause is None


def test_limits_over_time_are_believed_only_by_a_rule() -> None:
    window = odds.Possibility(0.9, 0.9, {"same-nat-ip": 1.0, "rate": 1.0})
    places = odds.Possibility(0.1, 0.1, {"same-nat-ip": 1.0, "concurrency": 1.0})
    assert odds.over_time([window, places], "same-nat-ip")
    assert not odds.over_time([window._replace(weight=0.1), places._replace(weight=0.9)], "same-nat-ip")


def test_chance_of_few_refusals_must_be_more_likely_than_a_rule() -> None:
    """Nothing is wrong with it but its odds: a bucket of three tokens that both sides share."""
    found = weigh(draw(100730, "under-ten").situation)
    likely = probabilities(found)["provider"]
    assert found.weighing.chance
    assert odds.LIKELY < likely < odds.SURE_OF_CHANCE
    assert found.cause is None
    assert {v.id: v.needs for v in found.verdicts}[
        "provider"
    ] == "a longer recording: with so few refusals other explanations are still plausible"
