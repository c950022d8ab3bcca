"""Lookups over TCP fill the provider's count."""

from __future__ import annotations

from dataclasses import replace

from netlens.lenses.refused.causes import dns, keep_alive, multiplexing
from tests.lenses.refused.scenes import judged, rounds


def test_connections_of_lookups_that_fill_the_limit() -> None:
    scene = rounds(*["v.v", "d.v", "vd!v", "dd!v", "vd!v"] * 5)
    verdict = judged(dns, scene)
    assert (verdict.verdict, verdict.attributable_fraction) == ("supported", 1.0)
    # only dns takes them away, or two causes would tie
    assert judged(keep_alive, scene).verdict == "refuted"
    assert judged(multiplexing, scene).verdict == "refuted"


def test_lookups_over_udp_hold_nothing() -> None:
    verdict = judged(dns, replace(rounds(*["v.v", "vv!v"] * 8), facts={"lookups": 12, "lookup_frames": [("vm", 3), ("vm", 9)]}))
    assert verdict.verdict == "refuted"
    assert verdict.evidence[0].text == "all 12 lookups used UDP, which holds no connection open"
    assert verdict.evidence[0].frames == [("vm", 3), ("vm", 9)]


def test_lookups_over_tcp_that_change_nothing_refute_it() -> None:
    assert judged(dns, rounds(*["v.v", "dv.v", "dd.v", "vv!v", "dvv!v"] * 5)).verdict == "refuted"


def test_four_refusals_are_too_few() -> None:
    assert judged(dns, rounds(*["v.v", "d.v", "vd!v"] * 4)).verdict == "undecided"
