"""Bytes in progress: where they tell which requests are refused, the provider is not blamed; where it refuses by chance, it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netlens import logs
from netlens.chains.situation import ACCEPTED, REJECTED, Situation
from netlens.lenses.refused import sizes, weighing
from netlens.lenses.refused.over_time import Reading
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
    assert verdicts["provider"].verdict != "supported"
    assert verdicts["own-concurrency"].verdict != "refuted"
    assert found.weighing.by_size is not None
    assert "tokens of requests in progress" in (verdicts["provider"].needs or "")
    assert (found.limiter or {}).get("kind") != logs.OVERLOAD


@pytest.mark.parametrize("seed", range(6))
def test_an_overload_is_told_by_the_providers_word_however_large_requests_are(seed: int) -> None:
    found = weighing.weigh(saying(prompts(1e9, seed, share=0.4), logs.OVERLOAD), 199)
    assert found.weighing.by_size is None
    assert found.cause == "provider"


def test_others_in_progress_count_until_their_answers_end() -> None:
    made = situation([
        ("vm", 0, 1.0, 3.0, ACCEPTED), ("vm", 1, 2.0, 2.1, REJECTED), ("vm", 2, 2.5, 4.0, ACCEPTED), ("vm", 3, 3.0, 5.0, ACCEPTED),
        ("vm", 4, 6.0, 7.0, ACCEPTED),
    ])  # fmt: skip
    r = replace(made.requests, sent_bytes=np.array([1_000, 2_000, 300, 400, 500], np.int64))
    held = r.rejected == ACCEPTED
    assert sizes.in_progress(r, Reading(own=False), held).tolist() == [0, 1_000, 1_000, 300, 0]
    assert sizes.in_progress(r, Reading(own=True), held).tolist() == [0, 3_000, 1_300, 700, 0]
    assert sizes.in_progress(r, Reading(350, False), held).tolist() == [0, 650, 650, 0, 0]
