"""The tunnel opens more connections than the program."""

from __future__ import annotations

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


def test_four_refusals_are_too_few() -> None:
    assert judged(multiplexing, rounds(*["v.v", "vc.v", "vccc!v"] * 4)).verdict == "undecided"
