"""What a verdict rests on: when a rule separates, what share goes with a cause, and what is said to be needed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netlens import logs
from netlens.chains.situation import REJECTED, UNLABELLED, Situation
from netlens.lenses.refused import regular
from netlens.lenses.refused import weighing as w
from netlens.lenses.refused.counting import RULES, Adjustment, Counts
from netlens.lenses.refused.deciding import needs
from netlens.lenses.refused.judging import limit_verdict
from netlens.lenses.refused.limit import Inference, RuleFit, by_chance
from netlens.lenses.refused.verdict import Evidence, Verdict, needed, refuted, undecided
from netlens.lenses.refused.weighing import Weighing
from tests.bench.situations import draw
from tests.lenses.refused.causes.test_provider import at_random
from tests.lenses.refused.scenes import rounds, weighed, without_captures

CLEAR = ["v.v", "vv!v"] * 8
TOGETHER = ["v.v", "h.h", "vh!v", "hv!h"] * 5
OTHERS = Adjustment(others_side=True)


def fit(**changes: object) -> RuleFit:
    none = np.zeros(0, np.int64)
    given = {"low": 2, "high": 2, "value": 2, "hits": 10, "misses": 0, "false_alarms": 0, "log_likelihood": -3.0, "p": 0.002, **changes}
    rest = {"possible_log_likelihood": given["log_likelihood"], "auc": 1.0, "youden": 1.0, "runs": 2}
    return RuleFit(RULES[0], Counts(none, none, none, none, none), **{**rest, **given})  # type: ignore[arg-type]


def weighing_of(chance: float = -20.0, **changes: object) -> Weighing:
    made = {"refused": 10, "accepted": 10, "chains": 10, "enough": True, **changes}
    return Weighing(rounds(*CLEAR), Inference([], chance_log_likelihood=chance, first=np.zeros(0, bool), **made))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "separates"),
    [
        ({}, True),
        ({"p": 0.05}, True),
        ({"p": 0.051}, False),
        ({"hits": 8, "misses": 2}, True),
        ({"hits": 7, "misses": 3}, False),
        ({"false_alarms": 3}, True),
        ({"false_alarms": 4}, False),
        ({"runs": 1}, False),  # one bad minute
        ({"log_likelihood": -13.9}, True),
        ({"log_likelihood": -14.1}, False),  # explains less than 0.3 of 20
        ({"log_likelihood": -18.5, "possible_log_likelihood": -3.0}, True),  # of what is certain, 0.33
        ({"log_likelihood": -19.5, "possible_log_likelihood": -3.0}, False),  # of what is certain, 0.14
    ],
)
def test_a_rule_separates_beyond_chance_with_few_exceptions(changes: dict[str, object], separates: bool) -> None:
    assert weighing_of().separates(fit(**changes)) is separates


def test_a_rule_must_beat_chance_by_a_margin_where_there_is_little_to_explain() -> None:
    assert not weighing_of(chance=-2.0).separates(fit(log_likelihood=-1.2))
    assert weighing_of(chance=-2.0).separates(fit(log_likelihood=-0.9))


def test_of_few_refusals_a_cause_that_is_possible_is_not_refuted() -> None:
    """With equal pauses a limit on what was sent over time fits without an exception, too."""
    verdicts = {v.id: v for v in w.weigh(rounds(*["v.v", "vv!v"] * 6, gap_s=20.0)).verdicts}
    assert verdicts["own-rate"].verdict == "undecided"
    assert "still possible" in (verdicts["own-rate"].needs or "")
    assert verdicts["multiplexing"].verdict == "refuted"


def test_what_is_likely_but_not_told_is_not_said_to_be_barely_possible() -> None:
    """From a moment on all of the VM was refused, as its idle connections filled the limit for good, or as under a quota."""
    verdicts = {v.id: v for v in w.weigh(draw(3_000_510, "pool-lingers").situation).verdicts}
    assert verdicts["keep-alive"].probability == pytest.approx(0.98)
    assert verdicts["keep-alive"].needs == verdicts["own-rate"].needs
    assert (verdicts["keep-alive"].needs or "").startswith("a recording with a pause")


def test_rules_are_the_best_and_those_tied_with_it_or_none() -> None:
    assert weighed(rounds(*CLEAR)).rules[0].rule == RULES[0]
    assert weighed(rounds("v.v", "vv!v")).rules == []
    assert weighed(rounds(*["v.v", "vv!v"] * 4)).rules == []


def test_chance_is_told_only_if_all_that_could_count_was_seen() -> None:
    flat = (["!v", "vv.v", "v!v", "vv.v", "!v", "vv.v", "vv!v", "vv.v", "!v", "vv.v", "v!v", "vv.v", "!v"] + ["vv.v"] * 7) * 3
    assert weighed(rounds(*flat)).chance
    assert not weighed(without_captures(rounds(*flat), "host")).chance
    assert not weighed(rounds(*flat[:7])).chance
    assert not weighed(rounds(*CLEAR)).chance


def test_chance_of_few_refusals_takes_ten_accepted_requests() -> None:
    """Of fewer, a window that began before the recording leaves the same."""
    flat = ["!v", ".v", ".v", "!v", "v.v", "!v", "!v", "v!v", ".v", "!v", "!v", "v.v", "v!v"]
    few, one_more, no_longer_few = (weighed(rounds(*flat, *more)) for more in ([], [".v"], ["!v", "!v"]))
    assert [(each.inference.refused, each.inference.accepted) for each in (few, one_more, no_longer_few)] == [(8, 9), (8, 10), (10, 9)]
    assert [each.chance for each in (few, one_more, no_longer_few)] == [False, True, True]
    assert needs(few) == "a recording with at least 10 accepted requests; this one has 9"


def test_a_limit_over_time_takes_five_accepted_requests() -> None:
    """Some window parts fewer from all that are refused; unless the provider says that it counts over time."""
    made = w.weigh(draw(1, "sliding-window").situation).weighing
    best = made.time_fits[0]
    for accepted, p, separates in ((5, 0.01, True), (4, 0.01, False), (4, 1e-7, True)):
        few = replace(made, inference=replace(made.inference, accepted=accepted))
        fit = replace(best, misses=0, false_alarms=0, p=p)
        assert few.separates(fit) is separates, (accepted, p)
    r = made.situation.requests
    said = replace(made.situation, requests=replace(r, refusal_class=np.where(r.rejected == REJECTED, logs.RATE, "").astype(object)))
    told = replace(made, situation=said, refusal_class=logs.RATE, inference=replace(made.inference, accepted=4))
    assert told.separates(replace(best, misses=0, false_alarms=0, p=0.01))


def test_a_place_given_back_late_and_a_limit_over_time_may_fit_as_well() -> None:
    """How late is searched for. The bucket leaves four exceptions, too many to be told itself."""
    found = w.weigh(draw(101356, "under-ten").situation)
    best, time = found.weighing.inference.fits[0], found.weighing.time_fits[0]
    assert best.rule.held_s > 0
    assert found.weighing.separates(best)
    assert not found.weighing.separates(time)
    assert time.log_likelihood > best.log_likelihood - 2.0
    assert found.weighing.kind == "either"
    assert found.cause is None
    assert "equally well" in found.weighing.undecided_kind


def test_overloaded_is_said_of_limits_over_time_too() -> None:
    """A model that is "temporarily rate-limited upstream" may be a limit of its own. One that leaves no exception is believed more than the word."""
    for family, cause in (("sliding-window", "own-rate"), ("overload-steady", "provider")):
        made = draw(1, family).situation
        r = made.requests
        words = np.where(r.rejected == REJECTED, logs.OVERLOAD, "").astype(object)
        assert w.weigh(replace(made, requests=replace(r, refusal_class=words))).cause == cause


def test_a_limit_over_time_that_explains_better_is_no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the mean of all labels and of first refusals: one of them alone may be far off, as where a recording begins in the middle of a window."""
    monkeypatch.setattr(regular, "gain", lambda *_: (0.0, 0.0))  # rounds come at regular times, which is another matter
    flat = (["!v", "vv.v", "v!v", "vv.v", "!v", "vv.v", "vv!v", "vv.v", "!v", "vv.v", "v!v", "vv.v", "!v"] + ["vv.v"] * 7) * 3
    scene, some = weighed(rounds(*flat)), w.weigh(rounds(*flat)).weighing.time_fits[0]
    assert scene.chance
    first = by_chance(scene.refused[scene.inference.first])
    for all_labels, firsts, chance in ((-10.0, 17.0, True), (-10.0, 19.0, False), (3.0, 6.0, False)):
        fit = replace(some, log_likelihood=scene.by_chance + all_labels, first_log_likelihood=first + firsts)
        assert replace(scene, time_fits=[fit]).chance is chance


def test_a_limit_on_bytes_explains_three_fifths_at_least() -> None:
    """Bytes that were sent go with requests in progress, so some number of them parts refused from accepted where something else is counted."""
    made = w.weigh(draw(1, "volume-window").situation).weighing
    best = made.time_fits[0]
    assert (best.limiter.COUNTS, made.separates(best)) == ("bytes", True)
    assert not made.separates(replace(best, log_likelihood=0.45 * made.by_chance))
    assert made.separates(replace(best, log_likelihood=0.35 * made.by_chance))


def test_bytes_that_go_with_a_burst_are_no_limit() -> None:
    """An overload lasts a while; a number of bytes parts all, and explains half of it."""
    made = w.weigh(draw(11491).situation)
    best = made.weighing.time_fits[0]
    assert (best.limiter.COUNTS, best.misses, best.false_alarms) == ("bytes", 0, 0)
    assert not made.weighing.separates(best)
    assert made.cause is None


# --- shares -------------------------------------------------------------------------------------------------------------------------------------


def test_the_share_is_of_the_refusals_at_the_limit() -> None:
    scene = weighed(rounds(*TOGETHER, "v!v"))  # the last one met too few: it is none of the limit's
    best = scene.rules[0]
    least, most, _, gone, _ = scene.without(best, OTHERS)
    assert (least, most, int(gone.sum())) == (1.0, 1.0, 10)
    assert scene.without(best, Adjustment())[0] == 0.0
    assert scene.without(best, OTHERS, limit=99)[:2] == (0.0, 0.0)


def test_what_is_of_an_unknown_side_may_be_the_own() -> None:
    scene = weighed(rounds(*["v.v", "u.v", "vu!v"] * 7))
    best = next(f for f in scene.inference.fits if f.rule == RULES[1])
    least, most, *_ = scene.without(best, OTHERS)
    assert (least, most) == (0.0, 1.0)


def test_over_all_limits_that_fit_as_well_the_smallest_and_the_largest_share_are_told() -> None:
    scene = weighed(rounds(*["v.v", "vhhhh!v"] * 8))
    best = replace(next(f for f in scene.inference.fits if f.rule == RULES[1]), low=1, value=5)
    assert scene.without(best, OTHERS)[0] == 1.0
    assert scene.without(best, OTHERS, 1)[0] == 0.0
    assert scene.shares(best, OTHERS)[:2] == (0.0, 1.0)


# --- verdicts -----------------------------------------------------------------------------------------------------------------------------------


def verdict(scene: Weighing, adjustment: Adjustment = OTHERS, structure: Evidence | None = None, missing: str | None = None) -> Verdict:
    return limit_verdict(scene, adjustment, structure=structure, missing=missing, told="without it")


def test_structure_refutes_and_a_missing_capture_leaves_undecided() -> None:
    scene = weighed(rounds(*TOGETHER))
    assert verdict(scene).verdict == "supported"
    refuted = verdict(scene, structure=Evidence("there is none", [("vm", 1)]), missing="that")
    assert (refuted.verdict, refuted.attributable_fraction) == ("refuted", 0.0)
    undecided = verdict(scene, missing="a capture of the moon")
    assert (undecided.verdict, undecided.needs, undecided.attributable_fraction) == ("undecided", "a capture of the moon", 1.0)
    assert verdict(weighed(rounds("v.v")), missing="that").needs == "that"


def test_a_share_below_a_third_is_refuted_and_one_about_a_half_undecided() -> None:
    for specs, wanted in (
        (["vh!v"] + ["vv!v"] * 4, "refuted"),
        (["vh!v"] * 2 + ["vv!v"] * 3, "undecided"),
        (["vh!v"] * 3 + ["vv!v"] * 2, "supported"),
    ):
        scene = weighed(rounds(*[*specs, "v.v", "h.v", "v.v"] * 6))
        assert scene.rules
        assert scene.rules[0].rule == RULES[1]
        assert verdict(scene).verdict == wanted, specs


def test_where_tied_rules_disagree_no_cause_is_given() -> None:
    scene = weighed(rounds(*TOGETHER))
    side = replace(
        scene.inference.fits[0], rule=RULES[0], counts=next(f for f in scene.inference.fits if f.rule == RULES[0]).counts, value=1
    )
    tied = Weighing(scene.situation, replace(scene.inference, fits=[scene.inference.fits[0], side]))
    assert len(tied.rules) == 2
    found = verdict(tied)
    assert found.verdict == "undecided"
    assert (
        found.needs
        == "a recording in which requests per egress address and requests per side differ more, because here they fit equally well"
    )


def test_frames_of_a_few_requests_are_cited_from_every_capture_that_has_them() -> None:
    scene = weighed(rounds(*CLEAR))
    frames = scene.frames(scene.refused)
    assert len(frames) == 2 * w.FRAMES
    assert {side for side, _ in frames} == {"host", "vm"}
    one_sided = weighed(without_captures(rounds(*CLEAR), "vm"))
    assert {side for side, _ in one_sided.frames(one_sided.refused)} == {"host"}
    assert scene.frames(np.zeros(len(scene.refused), bool)) == []


def test_what_uncertain_counts_may_explain_is_not_the_provider_by_its_odds() -> None:
    for possible, may_be in ((-3.0, True), (-19.5, False)):
        made = weighing_of()
        fits = [fit(possible_log_likelihood=possible, log_likelihood=-25.0)]
        weighing = replace(made, inference=replace(made.inference, fits=fits, chance_log_likelihood=made.by_chance))
        assert weighing.may_be_counted is may_be


# --- what would decide --------------------------------------------------------------------------------------------------------------------------


def test_what_would_decide() -> None:
    def said(*specs: str, **changes: object) -> str:
        return needs(weighed(replace(rounds(*specs), **changes)))  # type: ignore[arg-type]

    assert said("v.v") == "a recording in which requests are refused"
    assert said("!v") == "a recording in which some requests are accepted"
    unlabelled = rounds("!v", "v.v", "v.v")
    unlabelled.requests.rejected[unlabelled.requests.rejected == 0] = UNLABELLED
    unknown = int((unlabelled.requests.rejected == UNLABELLED).sum())
    assert needs(weighed(unlabelled)).startswith("the error log of each program, or a TLS key log")
    assert f"of {unknown} of {len(unlabelled.requests)} requests it is not known" in needs(weighed(unlabelled))
    assert said("v.v", "v!v") == "a recording with at least 5 refusals; this one has 1"
    assert said(*["v!v", "v.v"] * 6, egress_seen=False, host_seen=False) == "a capture of the host over the same time"
    assert said(*["v!v", "v.v"] * 6, egress_seen=False, vm_seen=False) == "a capture of the VM over the same time"
    assert said(*["v!v", "v.v"] * 6).startswith("a longer recording")
    assert said("v.v", "v!v", facts={"unmatched": 3}) == "a recording with at least 5 refusals; this one has 1"
    assert said("v.v", "v!v", facts={"unmatched": 4}).startswith("error logs on the same clocks as the captures: 4 refusals")
    assert (
        said("u.v", "u.v", "v!v", facts={"hellos_cut": 2}) == "captures of whole packets (tcpdump -s 0), to tell whose the connections are"
    )
    assert said("v.v", "v!v", facts={"unmatched": 4, "hellos_cut": 2}).startswith("error logs on the same clocks")
    assert said(*["!v"] * 9) == "a recording in which some requests are accepted"  # no log is off where all it has was found
    assert said("v.v", *["!v"] * 9) == "a recording with at least 5 accepted requests; this one has 2"
    mixed = [*["v.v", "vv!v", "v.v", "vv!v", "v!v", "v.v"] * 8]
    assert said(*mixed).startswith("a recording of one program with one model and one key: requests per")
    assert said(*["u!v", "u.v"] * 6).startswith("captures of both sides that begin before the connections do")
    assert said("v.v", uncountable="a TLS key log: HTTP/2") == "a TLS key log: HTTP/2"


def test_the_json_names_files() -> None:
    given = Verdict("supported", None, 0.5, 0.01, [Evidence("so", [("vm", 3), ("host", 4)])], "x", "X", "Claim.")
    document = given.to_dict({"vm": "a.pcap"})
    assert document["evidence"] == [{"text": "so", "detail": "", "frames": [{"file": "a.pcap", "frame": 3}, {"file": "host", "frame": 4}]}]
    assert set(document) == {"id", "verdict", "attributable_fraction", "p", "probability", "evidence", "needs", "cause", "claim"}


def test_what_the_likely_cause_needs_comes_first() -> None:
    many, one = undecided("a longer recording"), undecided("a capture of the VM")
    assert needed([many, many, one]) == ["a longer recording", "a capture of the VM"]
    assert needed([many, many, replace(one, probability=0.9)]) == ["a capture of the VM", "a longer recording"]
    assert needed([refuted(Evidence("no"))]) == []


# --- what is said against what is counted -------------------------------------------------------------------------------------------------------


def timely(
    refusal_class: str, exceptions: int, unlabelled: float = 0.0, *, broken_off: bool = False, parameter_s: float | None = None
) -> bool:
    """Whether a limit over time that leaves so many exceptions is believed."""
    made = w.weigh(draw(1, "sliding-window").situation).weighing
    r = made.situation.requests
    labels = np.where(np.arange(len(r)) < unlabelled * len(r), np.int8(UNLABELLED), r.rejected)
    requests = replace(r, rejected=labels, broken_off=np.full(len(r), broken_off))
    fit = replace(made.time_fits[0], misses=exceptions)
    if parameter_s is not None:
        fit = replace(fit, parameter_s=parameter_s)
    return replace(made, situation=replace(made.situation, requests=requests), refusal_class=refusal_class).separates(fit)


def test_a_limit_over_time_needs_known_outcomes_and_against_the_providers_word_leaves_nothing() -> None:
    few = round(0.03 * len(draw(1, "sliding-window").rows)) + 1
    assert timely(logs.UNKNOWN, few)
    assert timely(logs.CONCURRENCY, 0)
    assert not timely(logs.CONCURRENCY, few)
    assert timely(logs.UNKNOWN, 0, unlabelled=0.6)  # what is guessed wrongly would make exceptions
    assert not timely(logs.UNKNOWN, 1, unlabelled=0.6)
    assert not timely(logs.CONCURRENCY, 0, broken_off=True, parameter_s=4.43)
    assert timely(logs.CONCURRENCY, 0, broken_off=True, parameter_s=10.0)


def of_class(s: Situation, *classes: str) -> Situation:
    """The refusals are of these classes, in turn."""
    r = s.requests
    said = np.full(len(r), "", object)
    refused = np.flatnonzero(r.rejected == REJECTED)
    said[refused] = [classes[k % len(classes)] for k in range(len(refused))]
    return replace(s, requests=replace(r, refusal_class=said))


def test_a_limit_without_exception_is_believed_against_the_word_overloaded() -> None:
    verdicts = {v.id: v.verdict for v in w.weigh(of_class(rounds(*TOGETHER), logs.OVERLOAD)).verdicts}
    assert (verdicts["same-nat-ip"], verdicts["provider"]) == ("supported", "refuted")
    assert w.weigh(of_class(rounds(*at_random(120)), logs.OVERLOAD)).cause == "provider"


def test_who_was_not_captured_may_fill_a_limit_that_the_provider_names() -> None:
    by_chance = draw(1, "overload-steady").situation
    found = {v.id: v for v in w.weigh(of_class(by_chance, logs.CONCURRENCY)).verdicts}
    assert (found["provider"].verdict, found["same-nat-ip"].verdict) == ("supported", "undecided")
    assert "who else uses this address or key" in str(found["same-nat-ip"].needs)
    assert {v.id: v.verdict for v in w.weigh(of_class(by_chance, logs.UNKNOWN)).verdicts}["same-nat-ip"] == "refuted"


SHED = ["v.v" if c == "." else ".v" if c == "0" else "v!v" for c in "!.0.!0!!.0.!.0.!!..0!.!!." * 4]


def test_no_count_is_no_evidence_against_a_named_limit_where_nobody_is_refused_alone() -> None:
    """Some requests may weigh more than others: then a count of them tells little, but one alone is let in."""
    found = w.weigh(of_class(rounds(*SHED), logs.CONCURRENCY))
    verdicts = {v.id: v.verdict for v in found.verdicts}
    assert found.weighing.chance_against_word
    assert verdicts["provider"] != "supported"
    assert verdicts["own-concurrency"] != "refuted"


def test_the_word_overloaded_is_in_doubt_where_refusals_need_others_in_progress() -> None:
    found = w.weigh(of_class(rounds(*SHED), logs.OVERLOAD))
    verdicts = {v.id: v for v in found.verdicts}
    assert found.cause is None
    assert found.limiter is None
    assert {verdicts[each].verdict for each in ("provider", "own-concurrency", "own-rate")} == {"undecided"}
    assert "a run with fewer requests at a time: refusals say that the provider is overloaded, but 0 of " in str(verdicts["provider"].needs)


def test_a_limit_with_hardly_an_exception_is_believed_against_the_word_overloaded() -> None:
    once = [*["v.v", "vv!v"] * 15, "vv.v", *["v.v", "vv!v"] * 15]
    assert w.weigh(of_class(rounds(*once), logs.OVERLOAD)).cause == "own-concurrency"


def test_the_word_overloaded_is_in_doubt_where_a_few_refusals_have_the_same_number_in_progress() -> None:
    """Seven, each with two others, and nothing accepted so: the word alone decides neither way."""
    found = w.weigh(of_class(rounds(*["v.v", "vv!v"] * 7, *["v.v"] * 20), logs.OVERLOAD))
    assert found.cause is None
    assert {v.id: v.verdict for v in found.verdicts}["own-concurrency"] == "undecided"
    chance = w.weigh(of_class(rounds(*["!v", "v.v", "v!v", "vv.v"] * 3), logs.OVERLOAD))
    assert chance.cause == "provider"


def test_of_one_quota_nobody_goes_on_while_it_is_used_up() -> None:
    used_up = ["v.v", "h.h"] * 4 + ["v!v", "h.h"] * 4
    found = {v.id: v for v in w.weigh(of_class(rounds(*used_up), logs.QUOTA)).verdicts}["same-nat-ip"]
    assert found.verdict == "refuted"
    assert found.evidence[0].text == "6 requests of the host were accepted while the quota of the VM was used up"
    both = ["v.v", "h.h"] * 4 + ["v!v", "h!h"] * 4
    assert {v.id: v.verdict for v in w.weigh(of_class(rounds(*both), logs.QUOTA)).verdicts}["same-nat-ip"] == "undecided"


def test_refusals_of_concurrency_beside_a_limit_over_time_keep_the_cause_open() -> None:
    s = draw(1, "sliding-window").situation
    before = {v.id: v.verdict for v in w.weigh(of_class(s, logs.RATE)).verdicts}
    assert before["own-concurrency"] == "refuted"
    s = of_class(s, logs.RATE)
    s.requests.refusal_class[np.flatnonzero(s.requests.rejected == REJECTED)[::8][:8]] = logs.CONCURRENCY
    found = {v.id: v for v in w.weigh(s).verdicts}["own-concurrency"]
    assert found.verdict == "undecided"
    assert found.needs is not None
    assert "8 refusals say concurrency" in found.needs


def test_what_is_needed_is_what_was_missing() -> None:
    """Not a longer recording where that would look the same."""
    unclear = rounds(*["v!v", "v.v", "vv.v", "v!v", "vv!v", "v.v"] * 6)
    r = unclear.requests
    left = replace(unclear, requests=replace(r, broken_off=np.arange(len(r)) % 5 == 0))
    scene = weighed(left)
    assert not any(scene.separates(fit) for fit in scene.inference.fits)
    assert "break off no answer" in needs(scene)
    from_then_on = w.weigh(draw(5_000_000, "attempts-window").situation)
    assert "stop every program for some minutes" in needs(from_then_on.weighing)


def test_what_several_causes_need_that_are_likely_together_comes_first() -> None:
    def one(needs: str, probability: float) -> Verdict:
        return Verdict("undecided", needs, probability=probability)

    most = [one("a longer recording", 0.02) for _ in range(4)]
    assert needed([one("health checks off", 0.49), one("health checks off", 0.49), *most])[0] == "health checks off"
    assert needed([one("health checks off", 0.2), one("health checks off", 0.2), *most])[0] == "a longer recording"


def test_refusals_below_the_limit_are_told_of() -> None:
    assert w.weigh(rounds(*CLEAR)).weighing.unexplained == 0
    both = np.random.default_rng(0).permutation(["v.v"] * 40 + ["vv!v"] * 40 + ["v!v"] * 8).tolist()
    found = w.weigh(rounds(*both)).weighing
    assert found.taken is not None
    assert found.unexplained == found.taken.misses == 8
