"""Refusals that follow no count."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from netlens.chains.situation import UNLABELLED
from netlens.lenses.refused.causes import own_concurrency, provider, same_nat_ip
from netlens.lenses.refused.weighing import weigh
from tests.lenses.refused.scenes import judged, rounds, without_captures


def at_random(n: int, seed: int = 0) -> list[str]:
    """Those who hold places are accepted, and at least as often at low counts; so those who find few must be refused more often for no count to tell."""
    rng = random.Random(seed)
    held = [rng.choice(["v", "vv", "h", "vh", "", "vvh"]) for _ in range(n)]
    return [each + ("!" if rng.random() < (0.95, 0.4, 0.12, 0.05)[len(each)] else ".") + rng.choice("vvh") for each in held]


def test_refusals_at_random() -> None:
    scene = rounds(*at_random(120))
    verdict = judged(provider, scene)
    assert (verdict.verdict, verdict.attributable_fraction) == ("supported", 1.0)
    assert "no count predicts which" in verdict.evidence[0].text
    assert judged(own_concurrency, scene).verdict == judged(same_nat_ip, scene).verdict == "refuted"
    assert weigh(scene, 199).limit is None


def test_a_rule_refutes_it() -> None:
    verdict = judged(provider, rounds(*["v.v", "vv!v"] * 8))
    assert verdict.verdict == "refuted"
    assert "refusals follow local traffic: " in verdict.evidence[0].text


def test_a_short_recording_tells_nothing() -> None:
    for seed in range(6):
        assert judged(provider, rounds(*at_random(8, seed))).verdict == "undecided"


def test_what_could_count_must_have_been_captured() -> None:
    verdict = judged(provider, without_captures(rounds(*at_random(120)), "host"))
    assert verdict.verdict == "undecided"
    assert verdict.needs == "a capture of the host over the same time"


def test_a_rule_and_random_refusals_besides_are_not_the_provider() -> None:
    scene = rounds(*["v.v", "vv!v", "v.v", "vv!v", "v.v", "v!v"] * 8)
    assert judged(provider, scene).verdict != "supported"


def test_labels_that_may_be_of_the_wrong_requests_are_no_evidence_for_chance() -> None:
    scene = rounds(*at_random(120))
    verdict = judged(provider, replace(scene, facts={**scene.facts, "unmatched": 30}))
    assert verdict.verdict == "undecided"
    assert "30 refusals in these match no request" in str(verdict.needs)


def test_most_requests_must_have_a_label_for_chance() -> None:
    scene = rounds(*at_random(200))
    assert judged(provider, scene).verdict == "supported"
    labels = scene.requests.rejected.copy()
    labels[np.arange(len(labels)) % 5 > 1] = UNLABELLED
    assert judged(provider, replace(scene, requests=replace(scene.requests, rejected=labels))).verdict == "undecided"


def test_refusals_of_one_side_alone_are_not_one_rate_for_all() -> None:
    """Its requests may leave by another way, beside those of others whom nobody captured."""
    rng = random.Random(4)
    asked = [(rng.choice(["v", "vv", "h", "vh", "", "vvh"]), rng.choice("vh")) for _ in range(60)]
    verdict = judged(provider, rounds(*[held + ("!" if who == "v" and rng.random() < 0.4 else ".") + who for held, who in asked]))
    assert verdict.verdict == "undecided"
    assert verdict.needs is not None
    assert "one key and one way out" in verdict.needs
