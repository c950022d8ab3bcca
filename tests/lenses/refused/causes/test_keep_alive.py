"""What goes on after the program was done with it."""

from __future__ import annotations

from dataclasses import replace

from netlens.lenses.refused.causes import keep_alive, own_concurrency
from netlens.lenses.refused.weighing import weigh
from tests.lenses.refused.scenes import judged, rounds, without_captures

ZOMBIES = [*["v.v", "V.v", ".v", "Vv!v", "VV!v"] * 5]


def test_streams_that_go_on_upstream_fill_the_limit() -> None:
    verdict = judged(keep_alive, rounds(*ZOMBIES))
    assert (verdict.verdict, verdict.attributable_fraction) == ("supported", 1.0)
    assert judged(own_concurrency, rounds(*ZOMBIES)).verdict == "refuted"


def test_zombies_are_seen_upstream_only_so_one_capture_decides_nothing() -> None:
    for side, other in (("host", "host"), ("vm", "VM")):
        verdict = judged(keep_alive, without_captures(rounds(*ZOMBIES), side))
        assert verdict.verdict == "undecided"
        assert verdict.needs is not None
        assert f"a capture of the {other}" in verdict.needs


def test_a_pool_that_keeps_connections_fills_a_limit_on_connections() -> None:
    scene = rounds(*["p.v", "v.v", "pp.v", "ppp!v", "ppv!v", "pp.v"] * 4)
    found = weigh(scene, 499)
    assert found.limit is not None
    assert (found.limit.unit, found.limit.value) == ("connections", 3)
    assert judged(keep_alive, scene).verdict == "supported"
    assert judged(own_concurrency, scene).verdict == "refuted"


def test_a_connection_that_never_carried_a_request_is_the_programs_own() -> None:
    assert judged(keep_alive, rounds(*["i.v", "v.v", "ii.v", "iii!v", "ivi!v"] * 4)).verdict == "refuted"


def test_open_but_idle_connections_are_no_requests() -> None:
    scene = rounds(*["iiii.v", "iv.v", "v.v", "vv!v", "iiivv!v"] * 5)
    found = weigh(scene, 499)
    assert found.limit is not None
    assert (found.limit.unit, found.limit.value) == ("requests", 2)
    assert judged(keep_alive, scene).verdict == "refuted"
    assert found.cause == "own-concurrency"


def test_zombies_that_are_there_but_change_nothing() -> None:
    assert judged(keep_alive, rounds(*["V.v", "v.v", "vv!v", "V.v"] * 6)).verdict == "refuted"


def test_nothing_that_outlives_the_program_refutes_it_where_no_rule_fits() -> None:
    verdict = judged(keep_alive, rounds("v!v", "v.v"))
    assert verdict.verdict == "refuted"
    assert verdict.evidence[0].text == "every request and connection ended upstream when the program was done with it"


def test_clocks_that_cannot_be_compared_do_not_tell_what_went_on() -> None:
    for scene in (rounds(*ZOMBIES), rounds(*["v.v", "vv!v"] * 8)):
        verdict = judged(keep_alive, replace(scene, facts={**scene.facts, "clock_unknown": True}))
        assert verdict.verdict == "undecided"
        assert "clocks" in str(verdict.needs)


def test_four_refusals_are_too_few() -> None:
    verdict = judged(keep_alive, rounds(*["v.v", "V.v", "Vv!v"] * 4))
    assert verdict.verdict == "undecided"
