"""What refusals say when a limit was reached once, few times, or out of sight: sides that are shut out, words of a rate, three refusals, ways out elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netlens import logs
from netlens.chains.situation import REJECTED, Situation
from netlens.lenses.refused.deciding import BEGINNINGS, BEYOND
from netlens.lenses.refused.limiters import _bucket, token_bucket
from netlens.lenses.refused.weighing import Weighed, weigh
from tests.bench.situations import draw
from tests.lenses.refused.made import situation
from tests.lenses.refused.scenes import rounds

Row = tuple[str, int, float, float, int]


def one_after_the_other(side: str, first: float, labels: str, every: float = 2.0, session: int = 0) -> list[Row]:
    """Requests of 0.4 s, one each ``every`` s; "." is accepted, "!" refused at once."""
    at = [first + every * k for k in range(len(labels))]
    return [(side, session, t, t + (0.05 if label == "!" else 0.4), int(label == "!")) for t, label in zip(at, labels, strict=True)]


def both(*rows: list[Row]) -> Situation:
    return situation(sorted((row for each in rows for row in each), key=lambda row: row[2]))


def said(s: Situation, its_class: str) -> Situation:
    """The refusals are of this class."""
    r = s.requests
    return replace(s, requests=replace(r, refusal_class=np.where(r.rejected == REJECTED, its_class, "").astype(object)))


def supported(found: Weighed) -> set[str]:
    return {v.id for v in found.verdicts if v.verdict == "supported"}


SHUT_OUT = one_after_the_other("vm", 1.0, "." * 14 + "!" * 14)
BESIDE = one_after_the_other("host", 2.0, "." * 28, session=1)


def test_a_side_that_is_shut_out_while_the_other_goes_on_has_used_up_a_limit_of_its_own() -> None:
    found = weigh(both(SHUT_OUT, BESIDE))
    assert found.weighing.shut_out == (0, 14)
    assert supported(found) == {"own-rate"}
    assert found.limiter is None  # a quota, a window, or one that counts attempts
    assert "no outage" in next(v for v in found.verdicts if v.id == "own-rate").evidence[0].text


def test_a_side_may_be_shut_out_for_thousands_of_requests() -> None:
    """In so many ways may these be mixed that no float holds the number."""
    rows = (
        one_after_the_other("vm", 1.0, "." * 20 + "!" * 1_500, every=0.5),
        one_after_the_other("host", 1.2, "." * 1_500, every=0.5, session=1),
    )
    assert weigh(both(*rows)).weighing.shut_out == (0, 1_480)


@pytest.mark.parametrize("beside", [[], BESIDE[:14]], ids=["alone", "the other is silent, too"])
def test_where_nothing_is_accepted_any_more_it_may_be_an_outage(beside: list[Row]) -> None:
    found = weigh(both(SHUT_OUT, beside))
    assert found.weighing.from_a_moment_on
    assert found.weighing.shut_out is None
    assert not supported(found)


def test_a_limit_on_what_is_open_may_shut_out_a_side_as_well() -> None:
    """Three answers that never end, and every request after them refused."""
    held = [("vm", 10 + k, 1.0 + k, 60.0, 0) for k in range(3)]
    found = weigh(both([*held, *one_after_the_other("vm", 5.0, "!" * 20, session=2)], BESIDE))
    assert found.weighing.from_a_moment_on
    assert found.weighing.shut_out is None


def window_once() -> Situation:
    """The VM fills one window of half a minute, which begins anew at the end."""
    return both(one_after_the_other("vm", 30.5, "." * 20 + "!" * 9 + "." * 2, every=1.0))


def test_a_limit_that_was_reached_once_is_one_where_the_provider_speaks_of_a_rate() -> None:
    assert not supported(weigh(window_once()))
    found = weigh(said(window_once(), logs.RATE))
    assert supported(found) == {"own-rate"}
    assert found.limiter is not None
    assert found.limiter["kind"] == "rate"


def at_random(side: str, share: float, seed: int, n: int = 60, session: int = 0) -> list[Row]:
    labels = np.random.default_rng(seed).random(n) < share
    return one_after_the_other(side, 1.0 + session, "".join("!" if label else "." for label in labels), session=session)


@pytest.mark.parametrize("seed", range(4))
def test_where_one_side_alone_is_refused_the_providers_word_of_a_rate_is_not_enough(seed: int) -> None:
    """Requests are refused after less than others that were accepted: somebody else may use the same key, or tokens of answers count. No whim either."""
    mixed = both(at_random("vm", 0.4, seed), at_random("host", 0.0, seed, session=1))
    assert not supported(weigh(mixed))
    found = weigh(said(mixed, logs.RATE))
    assert not supported(found)
    assert found.limiter is None
    assert "who else uses this key" in next(v.needs or "" for v in found.verdicts if v.id == "own-rate")
    assert not supported(weigh(said(both(at_random("vm", 0.4, seed), at_random("host", 0.4, seed + 9, session=1)), logs.RATE)))


@pytest.mark.parametrize("refused", [9, 15])
def test_where_one_side_alone_is_refused_at_a_limit_the_providers_word_of_a_rate_is_enough(refused: int) -> None:
    """With an exception, and reached once, no limit is told; but the own requests fill one."""
    made = both(one_after_the_other("vm", 30.5, "." * 5 + "!" + "." * 15 + "!" * refused + "..", every=1.0), BESIDE)
    assert not supported(weigh(made))
    found = weigh(said(made, logs.RATE))
    assert supported(found) == {"own-rate"}
    assert found.limiter is None


@pytest.mark.parametrize("refusals", [3, 4])
def test_three_refusals_may_tell_a_cause_and_its_limit(refusals: int) -> None:
    rows = [*["v.v", "vv!v"] * refusals, *["v.v"] * 6]
    found = weigh(rounds(*rows))
    assert found.weighing.inference.refused == refusals
    assert supported(found) == {"own-concurrency"}
    assert found.limiter is not None
    assert (found.limiter["kind"], found.limiter["value"]) == ("concurrency", 2)
    assert not supported(weigh(said(rounds(*rows), logs.RATE)))  # against the provider's word


def test_two_refusals_or_few_acceptances_tell_none() -> None:
    assert not supported(weigh(rounds(*["v.v", "vv!v"] * 2, *["v.v"] * 6)))
    assert not supported(weigh(rounds("v!v", "v!v", "v!v", "v.v")))


def test_what_was_sent_while_the_way_out_was_not_captured_is_no_evidence() -> None:
    """Refused while the side itself had nothing open: who else had, nobody knows."""
    plain = rounds(*["v.v", "vv!v"] * 6)
    odd = rounds(*["v.v", "vv!v"] * 6, *["!v"] * 5)
    outside = replace(odd, requests=replace(odd.requests, outside=np.arange(len(odd.requests)) >= len(plain.requests)))
    assert supported(weigh(outside)) == supported(weigh(plain)) == {"own-concurrency"}
    assert not weigh(outside).weighing.rules[0].misses
    assert weigh(odd).weighing.inference.refused == weigh(outside).weighing.inference.refused + 5


@pytest.mark.parametrize(("fact", "needed"), [("leaves_elsewhere", BEYOND), ("protocol_unknown", BEGINNINGS)])
def test_chance_is_not_told_of_what_leaves_elsewhere_or_may_be_no_request(fact: str, needed: str) -> None:
    drawn = draw(7, "overload-steady").situation
    assert weigh(drawn).cause == "provider"
    hidden = weigh(replace(drawn, facts={**drawn.facts, fact: True}))
    assert not supported(hidden)
    assert {v.needs for v in hidden.verdicts if v.id == "provider"} == {needed}


def test_the_own_requests_are_judged_where_the_host_asks_nothing_though_its_way_out_is_not_seen() -> None:
    seen = rounds(*["vi.v", "vv!v"] * 8)
    hidden = replace(seen, egress_seen=False, egress_missing="a capture at the node")
    assert not supported(weigh(hidden))
    assert supported(weigh(replace(hidden, facts={"host_silent": True}))) == {"own-concurrency"}
    below = rounds(*["vi.v", "vv!v"] * 8, "v!v")  # somebody else held one then
    assert not supported(weigh(replace(below, egress_seen=False, facts={"host_silent": True})))
    later = replace(hidden, facts={"host_silent": True}, capture_ns=(int(400e9), hidden.capture_ns[1]))
    assert not supported(weigh(later))


@pytest.mark.parametrize("seed", range(3))
def test_the_refill_of_a_bucket_that_never_fills_up_is_found_exactly(seed: int) -> None:
    rng, refill, burst = np.random.default_rng(seed), 4.15, 5.0
    starts = np.cumsum(rng.exponential(1e9, 2_000)).astype(np.int64)
    bucket = _bucket.Bucket(burst, refill * 1e9)
    taken = np.zeros(len(starts))
    for k, now in enumerate(starts.tolist()):
        if bucket.free_at(now, 1.0) <= now:
            bucket.take(now, 1.0)
            taken[k] = 1.0
    assert min(abs(p / refill - 1.0) for p in token_bucket.parameters(starts, taken)) < 2e-5


def test_a_bucket_of_which_all_was_sent_at_one_time_has_no_refill() -> None:
    taken = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    assert token_bucket.parameters(np.full(5, 7), taken) == token_bucket.parameters(np.full(5, 7), np.ones(5))


@pytest.mark.parametrize("seed", [430, 14])
def test_a_bucket_is_told_from_the_window_that_comes_near_to_it(seed: int) -> None:
    drawn = draw(seed)
    found = weigh(drawn.situation)
    assert found.weighing.by_time[0].limiter.ID == "token-bucket"
    assert found.cause in drawn.truth.causes or (found.cause is None and "own-rate" in drawn.truth.borderline)


@pytest.mark.parametrize("seed", [1313, 1525])
def test_what_a_window_could_not_have_decided_is_no_evidence_against_it(seed: int) -> None:
    """The capture begins in the midst of a window: what was sent in it before is not known. So it may be where no connection was open then."""
    drawn = draw(seed)
    assert drawn.situation.midway_ns is not None
    found, unknown = weigh(drawn.situation), weigh(replace(drawn.situation, midway_ns=None))
    assert found.cause == unknown.cause == "own-rate"
    assert found.weighing.time_fits[0].log_likelihood > unknown.weighing.by_time[0].log_likelihood  # it costs that both were asked


def blocked(seconds: tuple[float, ...]) -> Situation:
    """Requests twice a second until one is refused; then all are, four times a second, for so long each time."""
    rng, rows, at = np.random.default_rng(7), list[Row](), 1.0
    for length in (*seconds, 0.0):
        for _ in range(int(rng.integers(10, 18))):
            rows.append(("vm", len(rows), at, at + 0.3, 0))
            at += float(rng.uniform(0.3, 0.7))
        until = at + length
        while at < until:
            rows.append(("vm", len(rows), at, at + 0.05, 1))
            at += float(rng.uniform(0.15, 0.4))
    return situation(rows)


def test_blocks_that_are_equally_long_are_no_overload() -> None:
    found = weigh(blocked((10.0, 10.0, 10.0, 10.0)))
    assert not supported(found)
    assert found.weighing.blocked_s == pytest.approx(10.0, abs=0.3)
    assert all("is refused for" in (v.needs or "") for v in found.verdicts if v.id == "provider")
    assert supported(weigh(blocked((10.0, 4.0, 13.0, 7.0)))) == {"provider"}


def test_few_refusals_by_chance_are_not_believed_against_the_word_of_a_limit_on_what_is_open() -> None:
    """Places that are given back late, each after another time, look the same."""
    plain = draw(4_000_516, "overload-steady").situation
    assert supported(weigh(plain)) == {"provider"}
    found = weigh(said(plain, logs.CONCURRENCY))
    assert not supported(found)
    assert any("gives back late" in (v.needs or "") for v in found.verdicts if v.id == "provider")
