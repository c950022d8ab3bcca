"""Bytes in progress: where they tell which requests are refused, that is the limit; where the provider refuses by chance, it is blamed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netlens import logs
from netlens.chains.situation import ACCEPTED, REJECTED, Situation, Underway
from netlens.lenses.refused import fixes, weighing
from netlens.lenses.refused.counting import Rule, Sized, others
from netlens.lenses.refused.replay import Change, Setting, replay
from tests.bench.situations import draw
from tests.lenses.refused.made import situation


def prompts(room: float, seed: int, *, share: float = 0.0, requests: int = 150) -> Situation:
    """A server with so many bytes of room for prompts, that refuses besides a ``share`` of all; a request of a size of its own, tried again once."""
    rng, now, rows, sent = np.random.default_rng(seed), 0.5, [], []
    open_until: list[tuple[float, int]] = []
    for _ in range(requests):
        now += float(rng.exponential(0.7))
        size = int(rng.uniform(1_200, 9_000))
        open_until = [(end, held) for end, held in open_until if end > now]
        used = sum(held for _, held in open_until)
        accepted = (not used or used + size <= room) and bool(rng.random() >= share)
        end = now + (float(rng.uniform(0.5, 3.0)) if accepted else 0.04)
        if accepted:
            open_until.append((end, size))
        rows.append(("vm", len(rows), now, end, ACCEPTED if accepted else REJECTED))
        sent.append(size)
    made = situation(rows, uncertain_ns=2_000_000)
    return replace(made, requests=replace(made.requests, sent_bytes=np.array(sent, np.int64)))


def saying(made: Situation, word: str) -> Situation:
    r = made.requests
    return replace(made, requests=replace(r, refusal_class=np.where(r.rejected == REJECTED, word, "").astype(object)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("word", [logs.OVERLOAD, logs.UNKNOWN])
def test_a_server_with_room_for_so_many_tokens_is_not_overloaded(word: str, seed: int) -> None:
    """Its refusals say so, and that was taken for a reason that lies with the provider alone."""
    found = weighing.weigh(saying(prompts(12_000.0, seed), word), 199)
    verdicts = {v.id: v for v in found.verdicts}
    assert verdicts["provider"].verdict == "refuted"
    assert verdicts["own-concurrency"].verdict == "supported"
    assert "bytes of other requests of the same side in flight, with its own, came to" in verdicts["own-concurrency"].evidence[1].text
    told = found.limiter or {}
    assert (told["kind"], told["unit"], told["scope"]) == ("concurrency", "bytes", "party")
    assert told["low"] <= told["value"] <= told["high"]
    assert 0.9 * 12_000 <= told["value"] <= 1.1 * 12_000
    assert found.limit is None  # no number of requests


@pytest.mark.parametrize("seed", [16, 20, 24])
def test_fixes_are_replayed_by_size(seed: int) -> None:
    made = draw(seed, "bytes-in-progress").situation
    rule = weighing.weigh(made, 199).rule_by_size
    assert rule is not None
    setting = Setting(made, rule)
    recorded = int((made.requests.rejected == REJECTED).sum())
    assert abs(setting.as_recorded.total - recorded) <= 0.1 * recorded
    predicted = {p.id: p for p in fixes.predict(made, rule)}
    assert predicted["cap-1"].rejections_after == 0  # one alone is let through
    assert (predicted["smaller-requests"].rejections_after or 0) < 0.7 * recorded
    assert not {"close-idle", "queue"} & set(predicted)
    assert 0 < setting.as_recorded.peak <= replay(setting, Change(smaller=0.5)).peak


@pytest.mark.parametrize("seed", range(4))
def test_a_limit_on_requests_is_none_on_bytes(seed: int) -> None:
    """Where each counts as one, sizes that are all about the same tell as much, and the plain limit is named."""
    rng, now, rows = np.random.default_rng(seed), 0.5, []
    until: list[float] = []
    for _ in range(150):
        now += float(rng.exponential(0.7))
        until = [end for end in until if end > now]
        accepted = len(until) < 2
        end = now + (float(rng.uniform(0.5, 3.0)) if accepted else 0.04)
        until += [end] * accepted
        rows.append(("vm", len(rows), now, end, ACCEPTED if accepted else REJECTED))
    made = situation(rows, uncertain_ns=2_000_000)
    made = replace(made, requests=replace(made.requests, sent_bytes=rng.integers(3_000, 3_100, len(rows))))
    found = weighing.weigh(made, 199)
    assert found.by_size is None
    assert found.limit is not None
    assert (found.limit.value, found.limit.unit) == (2, "requests")


@pytest.mark.parametrize("seed", range(6))
def test_an_overload_is_told_by_the_providers_word_however_large_requests_are(seed: int) -> None:
    found = weighing.weigh(saying(prompts(1e9, seed, share=0.4), logs.OVERLOAD), 199)
    assert found.by_size is None
    assert found.cause == "provider"


def test_others_in_progress_count_until_their_answers_end() -> None:
    made = situation([
        ("vm", 0, 1.0, 3.0, ACCEPTED), ("vm", 1, 2.0, 2.1, REJECTED), ("vm", 2, 2.5, 4.0, ACCEPTED), ("vm", 3, 3.0, 5.0, ACCEPTED),
        ("vm", 4, 6.0, 7.0, ACCEPTED),
    ])  # fmt: skip
    made = replace(made, requests=replace(made.requests, sent_bytes=np.array([1_000, 2_000, 300, 400, 500], np.int64)))

    def counted(sized: Sized) -> list[int]:
        return others(made, Rule("requests", "side", sized=sized)).count.tolist()

    assert counted(Sized(0, own=False)) == [0, 1_000, 1_000, 300, 0]
    assert counted(Sized(0, own=True)) == [0, 3_000, 1_300, 700, 0]
    assert counted(Sized(350, own=False)) == [0, 650, 650, 0, 0]


def test_of_what_was_sent_before_the_capture_the_size_is_not_known() -> None:
    made = situation([("vm", 0, 1.0, 3.0, ACCEPTED), ("vm", 1, 2.0, 4.0, ACCEPTED), ("vm", 2, 5.0, 5.1, REJECTED)])
    r = replace(made.requests, sent_bytes=np.array([1_000, 2_000, 6_000], np.int64))
    old = Underway(np.zeros(1, np.int8), np.array([-1]), r.start_ns[:1] + 500_000_000)
    counts = others(replace(made, requests=r, underway=old), Rule("requests", "side", sized=Sized(0, own=False)))
    assert counts.count.tolist() == [2_000, 1_000, 0]
    assert counts.low.tolist() == [0, 1_000, 0]
    assert counts.high.tolist() == [6_000, 1_000, 0]
