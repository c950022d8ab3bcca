"""The first screen in words."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netlens
from netlens.lenses.refused import labels
from netlens.lenses.refused.weighing import weigh
from netlens.report import answer
from tests.bench.situations import draw


def test_one_sentence_has_cause_limit_fix_and_effect(analysis: Callable[[str], Any]) -> None:
    a = analysis("two-causes")
    said = answer.sentence(a)
    assert said.startswith(f"{a.counts['rejections']} of {a.counts['exchanges']} requests to api.z.ai were refused. ")
    for v in a.hypotheses:
        assert (v.claim.removesuffix(".") in said) == (f" ({v.id}, " in said) == (v.verdict == "supported")
    assert f"The limit is {a.limit.value} requests at once per egress address" in said
    assert f"{a.fixes[0].rejections_before} refusals become {a.fixes[0].rejections_after}" in said
    assert said.endswith(").")


def test_no_refusal_is_said_with_what_would_decide(analysis: Callable[[str], Any]) -> None:
    a = analysis("healthy")
    assert answer.sentence(a).startswith("No refusals found in ")
    assert "To find a cause, you need: a recording in which requests are refused." in answer.sentence(a)
    assert a.best_fix is None
    assert not answer.supported(a)


def test_that_nothing_is_wrong_is_not_said_where_a_log_may_tell_of_failures(analysis: Callable[[str], Any]) -> None:
    a = analysis("healthy")
    facts = a.assembled.situation.facts
    before = facts.get("unclear", 0)
    try:
        facts["unclear"] = 3
        said = "".join(part.text for part in answer.findings_headline(a))
    finally:
        facts["unclear"] = before
    assert said.startswith("No refusals are certain in ")
    assert ": 3 answers may be" in said


def test_no_count_decides(analysis: Callable[[str], Any]) -> None:
    a = analysis("provider-steady")
    assert "depend on nothing local: neither on what is open nor on what was sent over time" in answer.sentence(a)
    assert answer.how_sure(a)[0].text.startswith("no count tells refused from accepted")


def test_what_to_try_besides(analysis: Callable[[str], Any]) -> None:
    a = analysis("two-causes")
    others = answer.next_fixes(a)
    assert a.best_fix not in others
    assert all(f.rejections_after < f.rejections_before for f in others)
    assert all(f.rejections_after is None for f in answer.next_fixes(analysis("provider-steady")))


def test_how_sure_tells_what_speaks_for_and_against(analysis: Callable[[str], Any]) -> None:
    facts = {f.name: f for f in answer.how_sure(analysis("two-causes"))}
    assert facts["chance"].good
    assert facts["sides"].text.startswith("both captured")
    assert "error log" in facts["outcomes"].text


def test_one_side_says_what_the_other_would_add(captures: Any) -> None:
    import netlens

    a = netlens.analyze(vm=captures / "two-causes" / "vm.pcap.gz")
    facts = {f.name: f for f in answer.how_sure(a)}
    assert facts["sides"].good is False
    assert any("capture of the host" in text for text in answer.surer(a))


def test_a_limit_over_time_is_said_in_words() -> None:
    """Each kind of limiter, from simulated providers; the report and the text use the same words."""
    from dataclasses import replace
    from types import SimpleNamespace

    from netlens.lenses.refused import weighing
    from netlens.lenses.refused.limiters import answers_window, volume_bucket
    from tests.bench.situations import draw
    from tests.lenses.refused.test_over_time import bucket, fixed, played, sliding

    def said(decide: Any, **more: Any) -> str | None:
        weighed = weighing.weigh(played(decide, seed=1, seconds=300, rates={"vm": 4}, **more))
        return answer.limiter(SimpleNamespace(limit=weighed.limit, weighed=weighed))  # type: ignore[arg-type]

    assert said(sliding(20, 60.0)) == "20 requests in any 60 s per side"
    assert said(fixed(25, 60.0, 17.3)) == "25 requests in each 60 s per side"
    assert said(bucket(5, 2.0)) == "5 requests in a burst, then one every 2 s per side"
    sized = weighing.weigh(draw(24, "bytes-in-progress").situation)
    told = answer.limiter(SimpleNamespace(limit=sized.limit, weighed=sized))  # type: ignore[arg-type]
    assert told == "about 6,590 bytes of requests in progress per side"
    fit = weighing.weigh(played(bucket(5, 2.0), seed=1, seconds=300, rates={"vm": 4})).by_time[0]

    def of(span: tuple[int, int] = (22_000, 22_050), **more: Any) -> str | None:
        weighed = SimpleNamespace(by_size=None, by_time=[replace(fit, **more)], span=span)
        return answer.limiter(SimpleNamespace(limit=None, weighed=weighed))  # type: ignore[arg-type]

    assert of(refills=((0, 2.0), (9, 3.0))) == "5 requests in a burst, then one every 2 s, then every 3 s per side"
    assert of(limiter=volume_bucket, parameter_s=0.001, value=24_000) == "24,000 bytes at once and 60,000 more every 60 s per side"
    assert of(limiter=answers_window, parameter_s=20.0, value=22_000) == "22,000 bytes of answers in any 20 s per side"
    wide = of((21_000, 23_500), limiter=answers_window, parameter_s=20.0, value=22_000)
    assert wide == "22,000 (21,000 to 23,500) bytes of answers in any 20 s per side"


def test_every_source_of_a_label_has_words() -> None:
    sources = {labels.ERROR_LOG, labels.KEY_LOG, labels.STATUS, labels.LOOK_ALIKE, labels.INFERRED}
    assert sources == answer.SOURCES.keys()


def test_refusals_of_another_kind_are_told_and_no_fix_claims_them(captures: Path, tmp_path: Path) -> None:
    """Four of them say that the provider was overloaded: a limit explains the others, and a cap helps these alone."""
    there = tmp_path / "recording"
    shutil.copytree(captures / "own-concurrency-idle-host", there)
    log = there / "vm-errors.log"
    rows, changed = log.read_text().splitlines(keepends=True), 0
    for k, row in enumerate(rows):
        if "ERROR" in row and changed < 4:
            words = "The service may be temporarily overloaded, please try again later"
            rows[k] = re.sub(r"High concurrency[^\\]*limits", words, row).replace("1302", "1305")
            changed += 1
    log.write_text("".join(rows))
    a = netlens.analyze(there)
    assert a.counts["refused_by_class"] == {"concurrency": 6, "overload": 4}
    assert [v.id for v in answer.supported(a)] == ["own-concurrency"]
    (provider,) = (v for v in a.hypotheses if v.id == "provider")
    assert (provider.verdict, "4 refusals beside those" in str(provider.needs)) == ("undecided", True)
    assert "4 refusals are of another kind (overload) and not explained by this" in answer.how_sure_in_brief(a)
    assert a.best_fix is not None
    assert (a.best_fix.rejections_before, a.best_fix.rejections_after) == (6, 0)
    assert "4 refusals of another kind are neither counted nor changed" in a.best_fix.note


def test_a_limit_that_changed_is_told_with_its_times() -> None:
    weighed = weigh(draw(1, "limit-changes").situation)
    assert answer.limit(weighed) == "4, then 2 requests at once per egress address (changed by 2025-11-24 16:01:05.219 UTC)"


def test_a_place_that_is_given_back_late_is_told() -> None:
    told = [
        answer.limit(weighed) for weighed in (weigh(draw(k, "given-back-late").situation) for k in range(4)) if weighed.limit is not None
    ]
    assert any(re.search(r"each given back [\d.]+ s after the answer$", each) for each in told)
