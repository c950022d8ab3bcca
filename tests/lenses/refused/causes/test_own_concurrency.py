"""The program's own requests in flight."""

from __future__ import annotations

import numpy as np
import pytest

from netlens.chains.situation import ACCEPTED, REJECTED
from netlens.lenses.refused.causes import own_concurrency
from netlens.lenses.refused.weighing import weigh
from tests.bench.situations import draw
from tests.lenses.refused.made import situation
from tests.lenses.refused.scenes import judged, rounds, without_captures

OWN = ["v.v", "vv!v"] * 8


def test_the_side_alone_reaches_the_limit() -> None:
    verdict = judged(own_concurrency, rounds(*OWN))
    assert (verdict.verdict, verdict.attributable_fraction) == ("supported", 1.0)


def test_it_needs_to_know_what_else_leaves_by_the_address() -> None:
    verdict = judged(own_concurrency, without_captures(rounds(*OWN), "host"))
    assert verdict.verdict == "undecided"
    assert verdict.needs is not None
    assert "a capture of the host" in verdict.needs


@pytest.mark.parametrize(
    "scene",
    [["v.v", "h.h", "vh!v", "hv!h"] * 5, ["v.v", "V.v", "Vv!v"] * 6, ["v.v", "vc.v", "vccc!v"] * 6, ["v.v", "d.v", "vd!v", "dd!v"] * 5],
    ids=["host", "zombies", "fan-out", "lookups"],
)
def test_what_another_cause_takes_away_is_not_its_own(scene: list[str]) -> None:
    assert judged(own_concurrency, rounds(*scene)).verdict == "refuted"


def test_what_may_be_its_own_for_want_of_knowing_leaves_it_undecided() -> None:
    verdict = judged(own_concurrency, rounds(*["v.v", "u.v", "vu!v"] * 7))
    assert verdict.verdict == "undecided"


def test_half_and_half_is_undecided() -> None:
    verdict = judged(own_concurrency, rounds(*["v.v", "h.v", "vv!v", "vh!v", "hv!v", "vv!v", "hh!v"] * 6))
    assert verdict.attributable_fraction is not None
    assert 0.35 <= verdict.attributable_fraction < 0.5
    assert verdict.verdict == "undecided"


@pytest.mark.parametrize("seed", range(12))
def test_retry_storms_make_a_concurrency_that_is_none(seed: int) -> None:
    scene = draw(seed, "retry-storm").situation
    supported = {v.id for v in weigh(scene, 499).verdicts if v.verdict == "supported"}
    assert supported <= {"provider"}


def test_four_refusals_are_too_few() -> None:
    verdict = judged(own_concurrency, rounds(*["v.v", "vv!v"] * 4))
    assert verdict.verdict == "undecided"
    assert verdict.needs == "a recording with at least 5 refusals; this one has 4"


def test_of_requests_that_begin_at_once_it_does_not_matter_which_was_first() -> None:
    """A batch sends eight at a time, of which five are accepted at most: whoever was refused had found five there, and nobody else had any."""
    rng, rows, now, until = np.random.default_rng(5), [], 1.0, np.zeros(0)
    for _ in range(25):
        until = until[until > now]
        for at in np.sort(rng.uniform(0.0, 0.002, 8)).tolist():
            accepted = len(until) < 5
            end = now + at + (float(rng.uniform(0.5, 7.0)) if accepted else 0.02)
            until = np.append(until, [end] * accepted)
            rows.append(("vm", len(rows), now + at, end, ACCEPTED if accepted else REJECTED))
        now += 3.0
    found = weigh(situation(rows, uncertain_ns=6_000_000), 199)
    verdicts = {v.id: v.verdict for v in found.verdicts}
    assert verdicts["own-concurrency"] == "supported"
    assert verdicts["same-nat-ip"] == verdicts["keep-alive"] == "refuted"
    assert found.limit is not None
    assert found.limit.value == 5
