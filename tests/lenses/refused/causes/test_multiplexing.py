"""The tunnel opens more connections than the program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netlens.chains.situation import COMPANION, REJECTED
from netlens.lenses.refused.causes import multiplexing, own_concurrency
from tests.lenses.refused.scenes import judged, rounds, without_captures


def test_a_fan_out_that_varies_is_seen() -> None:
    verdict = judged(multiplexing, rounds(*["v.v", "vc.v", "vccc!v", "vvcc!v", "vv.v"] * 6))
    assert (verdict.verdict, verdict.attributable_fraction) == ("supported", 1.0)
    assert any("connections that the tunnel added" in e.text for e in verdict.evidence)


def test_one_upstream_session_for_each_refutes_it() -> None:
    verdict = judged(multiplexing, rounds(*["v.v", "vv!v"] * 8))
    assert verdict.verdict == "refuted"
    assert verdict.evidence[0].text == "no connection reached the provider besides those of the programs"


def test_companions_that_change_nothing_refute_it() -> None:
    # requests are what is counted; what the tunnel opens beside them comes and goes
    scene = rounds(*["v.v", "vccc.v", "c.v", "vv!v", "vvc!v"] * 6)
    assert judged(multiplexing, scene).verdict == "refuted"
    assert judged(own_concurrency, scene).verdict == "supported"


def test_a_constant_fan_out_ties_with_requests_in_flight_and_is_undecided() -> None:
    scene = rounds(*["cv.v", "cvcv!v"] * 8)  # one beside each: two connections are one request, so both rules part all requests
    verdict = judged(multiplexing, scene)
    assert verdict.verdict == "undecided"
    assert verdict.needs is not None
    assert "fit equally well" in verdict.needs
    assert judged(own_concurrency, scene).verdict != "refuted"


def test_it_takes_both_captures() -> None:
    scene = rounds(*["v.v", "vv!v"] * 8)
    for side, other in (("host", "host"), ("vm", "VM")):
        verdict = judged(multiplexing, without_captures(scene, side))
        assert verdict.verdict == "undecided"
        assert verdict.needs is not None
        assert f"a capture of the {other}" in verdict.needs


def test_what_a_relay_sends_again_is_none_of_the_programs() -> None:
    """Of three in progress one is the relay's: without it the limit is not met, neither by the program's own requests."""
    scene = rounds(*["v.v", "vv.v", "vvv!v"] * 12)
    r, kind = scene.requests, scene.sessions.kind.copy()
    again = np.zeros(len(r), np.bool_)
    again[np.flatnonzero(r.rejected == REJECTED) - 1] = True
    kind[r.session[again]] = COMPANION
    scene = replace(scene, requests=replace(r, again=again), sessions=replace(scene.sessions, kind=kind))
    verdict = judged(multiplexing, scene)
    assert (verdict.verdict, verdict.attributable_fraction) == ("supported", 1.0)
    assert any("without the 12 requests that a relay sent again" in e.text for e in verdict.evidence)
    assert judged(own_concurrency, scene).verdict == "refuted"
    refused = replace(scene, requests=replace(r, again=r.rejected == REJECTED))
    assert judged(multiplexing, refused).verdict == "supported"  # a refusal of one that it sent again would not have been


def test_four_refusals_are_too_few() -> None:
    assert judged(multiplexing, rounds(*["v.v", "vc.v", "vccc!v"] * 4)).verdict == "undecided"
