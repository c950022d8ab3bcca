"""Lookups over TCP fill the provider's count."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netlens.chains.situation import HOST, UNLABELLED, Situation
from netlens.lenses.refused.causes import dns, keep_alive, multiplexing
from netlens.lenses.refused.fixes import Case, Context, other_address
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


def two_addresses(*specs: str) -> Situation:
    """The VM asks one address of the API, the host another."""
    scene = rounds(*specs)
    scene.facts["addresses"] = {0: "203.0.113.11", 1: "203.0.113.10"}
    return replace(scene, sessions=replace(scene.sessions, address=(scene.sessions.side == HOST).astype(np.int64)))


def test_an_address_of_the_api_that_alone_refuses_leaves_lookups_in_doubt() -> None:
    by_chance = ["v!v", "hh.h", "v.v", "hh.h", "vv!v", "hh.h", "vv.v"] * 5
    verdict = judged(dns, two_addresses(*by_chance))
    assert verdict.verdict == "undecided"
    assert "requests to 203.0.113.11 10 were refused, of 42 to 203.0.113.10 meanwhile none" in str(verdict.needs)
    context = Context(("api.z.ai",), ("203.0.113.11", "203.0.113.10"), cause="provider")
    [found] = other_address.variants(Case(two_addresses(*by_chance), None, context))
    assert found.command == "echo '203.0.113.10 api.z.ai' | sudo tee -a /etc/hosts"
    scene = two_addresses(*by_chance)
    r = scene.requests
    unknown = replace(r, rejected=np.where(r.side == HOST, np.int8(UNLABELLED), r.rejected))
    verdict = judged(dns, replace(scene, requests=unknown))
    assert (verdict.verdict, "error log of each program" in str(verdict.needs)) == ("undecided", True)
    both = [spec.replace("hh.h", "hh!h") for spec in by_chance]
    assert judged(dns, two_addresses(*both)).verdict == "refuted"
    assert other_address.variants(Case(two_addresses(*both), None, context)) == []


def test_a_limit_that_explains_the_refusals_leaves_the_address_out_of_it() -> None:
    assert judged(dns, two_addresses(*["v.v", "hh.h", "vv!v", "hh.h"] * 8)).verdict == "refuted"
