"""How many others refusals need, where no limit tells refused from accepted: the evidence, what it explains, and the verdicts that rest on it."""

from __future__ import annotations

from dataclasses import replace
from math import log
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from netlens.lenses.refused import condition
from netlens.lenses.refused.counting import Adjustment
from netlens.lenses.refused.limit import log_beta
from netlens.lenses.refused.weighing import Weighed, weigh
from netlens.report import answer
from tests.lenses.refused.scenes import rounds

if TYPE_CHECKING:
    from netlens.columns import Bools, Ints
    from netlens.lenses.refused.condition import Condition

#: Nothing is refused while the VM holds nothing; of requests that meet one other half are, as if there were two models.
HALF_OF_THEM = [{"!": "v!v", ".": "v.v", "0": ".v"}[c] for c in "!.0.!0!!.0.!.0.!!..0!.!!." * 2]
#: The same where it is the host that holds it.
WITH_THE_HOST = [spec if spec == ".v" else spec.replace("v", "h", 1) for spec in HALF_OF_THEM]


def found(count: list[int], refused: list[int]) -> Condition | None:
    every = np.ones(len(count), bool)
    return condition.find(np.array(count), np.array(refused, bool), every, every)


def test_the_evidence_by_hand() -> None:
    """Two rates against one; bursts explain less, as refusals and acceptances take turns."""
    best = found([0, 1] * 6, [0, 1] * 6)
    assert best is not None
    assert (best.value, best.misses, best.below, best.hits, best.above) == (1, 0, 6, 6, 6)
    steady = log_beta(7, 7)
    in_bursts = log_beta(1, 6) + log_beta(7, 2) + log(0.5)  # after a refusal none of 5, after an acceptance, or at first, 6 of 7
    assert in_bursts > steady
    assert best.evidence == pytest.approx(2 * log_beta(7, 1) - in_bursts)
    assert best.share == pytest.approx(1 - (1 / 8) / (6 / 12))


def test_what_is_no_condition() -> None:
    assert found([1] * 9, [0, 1, 0, 1, 0, 1, 0, 1, 0]) is None  # all met as many
    assert found([0, 1] * 6, [1, 0] * 6) is None  # fewer are refused with more
    assert found([0, 1] * 6, [0] * 12) is None
    rng = np.random.default_rng(0)
    count = np.tile([0, 1], 60)
    refused = rng.random(120) < np.where(count == 1, 0.9, 0.5)  # more with more, but many without
    assert found(count.tolist(), refused.tolist()) is None
    assert condition.evidence(count, refused) > 3


def drawn(rng: np.random.Generator) -> tuple[Ints, Bools]:
    """Refusals in bursts that nothing counts."""
    bursts = np.repeat(rng.random(30) < 0.3, 4)
    return rng.integers(0, 5, 120), rng.random(120) < np.where(bursts, 0.7, 0.05)


def test_chance_makes_strong_evidence_as_seldom_as_it_says() -> None:
    rng = np.random.default_rng(3)
    evidence = np.array([condition.evidence(*drawn(rng)) for _ in range(400)])
    assert (evidence > log(20)).mean() <= 0.05
    assert (evidence > log(100)).mean() <= 0.01


def test_retries_are_no_evidence_but_must_not_contradict() -> None:
    count, refused = np.array([0, 1] * 20), np.array([0, 1] * 20, bool)
    first = np.ones(40, bool)
    assert condition.find(count, refused, first, first) is not None
    again = np.append(count, np.zeros(60, np.int64)), np.append(refused, np.ones(60, bool))
    assert condition.find(*again, np.ones(100, bool), np.append(first, np.zeros(60, bool))) is None


# --- verdicts -----------------------------------------------------------------------------------------------------------------------------------


def verdicts(weighed: Weighed) -> dict[str, str]:
    return {v.id: v.verdict for v in weighed.verdicts}


def test_what_refusals_need_tells_the_cause_without_a_limit() -> None:
    weighed = weigh(rounds(*HALF_OF_THEM))
    assert (weighed.cause, weighed.limit, weighed.limiter) == ("own-concurrency", None, None)
    assert verdicts(weighed)["provider"] == verdicts(weighed)["own-rate"] == "undecided"
    own = next(v for v in weighed.verdicts if v.id == "own-concurrency")
    assert own.evidence[0].text == "in 20 of 20 refusals with 1 or more others (100%) the side's own requests alone were as many"
    assert own.evidence[1].text.startswith(
        "while no other requests of the same side were in flight, 0 of 50 requests were refused; while 1 or more were, 20 of 40; "
    )
    assert own.attributable_fraction == weighed.weighing.conditions[0].explains < 1.0


def test_it_may_be_the_other_side_that_they_need() -> None:
    weighed = weigh(rounds(*WITH_THE_HOST))
    assert weighed.cause == "same-nat-ip"
    assert verdicts(weighed)["own-concurrency"] == "refuted"
    assert [fit.rule.scope for fit in weighed.weighing.conditions] == ["egress"]


def test_what_a_condition_does_not_explain_refutes_nothing() -> None:
    weighing = weigh(rounds(*HALF_OF_THEM)).weighing
    best = weighing.conditions[0]
    assert best.condition is not None
    weak = replace(best, condition=best.condition._replace(share=0.6))
    shares = weighing.shares(weak, Adjustment(others_side=True))
    assert (shares.low, shares.high) == (0.0, pytest.approx(0.4))


def test_where_a_limit_or_chance_explains_all_no_condition_is_told() -> None:
    assert weigh(rounds(*["v.v", "vv!v"] * 8)).weighing.conditions == []
    flat = (["!v", "vv.v", "v!v", "vv.v", "!v", "vv.v", "vv!v", "vv.v", "!v", "vv.v", "v!v", "vv.v", "!v"] + ["vv.v"] * 7) * 3
    assert weigh(rounds(*flat)).weighing.conditions == []


def test_the_answer_says_what_is_known_and_no_limit() -> None:
    weighed = weigh(rounds(*HALF_OF_THEM))
    facts = {fact.name: fact for fact in answer.fit_facts(SimpleNamespace(limit=None, weighed=weighed))}  # type: ignore[arg-type]
    assert facts["chance"].good
    assert facts["condition"].text.startswith("while no other requests")
    assert answer.limiter(SimpleNamespace(limit=None, weighed=weighed)) is None  # type: ignore[arg-type]
