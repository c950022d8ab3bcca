"""Host and VM share an address that is counted."""

from __future__ import annotations

from netlens.lenses.refused.causes import own_concurrency, same_nat_ip
from tests.lenses.refused.scenes import judged, rounds, without_captures

TOGETHER = [*["v.v", "h.h", "vh!v", "hv!h"] * 5]


def test_together_they_exceed_what_neither_does_alone() -> None:
    verdict = judged(same_nat_ip, rounds(*TOGETHER))
    assert (verdict.verdict, verdict.attributable_fraction) == ("supported", 1.0)
    assert verdict.p is not None
    assert verdict.p <= 0.05
    texts = {e.text.partition(" (")[0] for e in verdict.evidence}
    assert (
        "10 of 10 refused requests came while 2 or more other requests from the same egress address were in flight; 0 of 40 accepted ones did"
        in texts
    )
    assert "10 of 10 refusals at the limit" in texts
    assert judged(own_concurrency, rounds(*TOGETHER)).verdict == "refuted"


def test_seen_from_the_host_as_well() -> None:
    assert judged(same_nat_ip, rounds(*["v.h", "h.h", "vh!h"] * 7)).verdict == "supported"


def test_a_host_without_a_connection_to_the_provider_refutes_it_whatever_was_refused() -> None:
    verdict = judged(same_nat_ip, rounds(*["v.v", "vv!v"] * 8))
    assert (verdict.verdict, verdict.attributable_fraction) == ("refuted", 0.0)
    assert verdict.evidence[0].text == "no program on the host opened a connection to the provider"
    assert judged(same_nat_ip, rounds("v.v", "vv!v")).verdict == "refuted"  # even where nothing else can be told
    assert judged(same_nat_ip, rounds(*["h.h", "hh!h"] * 8)).evidence[0].text == "no program on the VM opened a connection to the provider"


def test_an_idle_host_behind_the_same_address_is_none() -> None:
    verdict = judged(same_nat_ip, rounds(*["v.v", "Iv.v", "vv!v", "Ivv!v"] * 5))
    assert verdict.verdict == "refuted"
    assert verdict.attributable_fraction == 0.0


def test_a_busy_host_with_a_key_of_its_own_is_none() -> None:
    scene = rounds(*["v.v", "hhv.v", "hhh.h", "vv!v", "hvv!v"] * 5)
    assert judged(same_nat_ip, scene).verdict == "refuted"
    assert judged(own_concurrency, scene).verdict == "supported"


def test_a_host_that_only_asks_alone_is_none() -> None:
    assert judged(same_nat_ip, rounds(*["v.v", "h.v", "vv!v", "h.h"] * 5)).verdict == "refuted"


def test_without_a_capture_of_the_host_it_is_undecided() -> None:
    verdict = judged(same_nat_ip, without_captures(rounds(*["v.v", "vv!v"] * 8), "host"))
    assert verdict.verdict == "undecided"
    assert verdict.needs is not None
    assert "a capture of the host" in verdict.needs


def test_whose_the_others_are_must_be_known() -> None:
    verdict = judged(same_nat_ip, rounds(*["v.v", "u.v", "vu!v"] * 7))
    assert verdict.verdict == "undecided"


def test_half_and_half_is_undecided() -> None:
    verdict = judged(same_nat_ip, rounds(*["v.v", "h.h", "v.h", "h.v", "vh!v", "vv!v", "vv!v"] * 6))
    assert verdict.verdict in ("refuted", "undecided")
    mixed = judged(same_nat_ip, rounds(*["v.v", "h.v", "vh!v", "vv!v", "hh!v", "vv!v", "vv!v"] * 6))
    assert mixed.attributable_fraction is not None
    assert 0.35 <= mixed.attributable_fraction < 0.5
    assert mixed.verdict == "undecided"


def test_four_refusals_are_too_few() -> None:
    verdict = judged(same_nat_ip, rounds(*["v.v", "h.h", "vh!v", "h.v"] * 4))
    assert verdict.verdict == "undecided"
    assert verdict.needs == "a recording with at least 5 refusals; this one has 4"
