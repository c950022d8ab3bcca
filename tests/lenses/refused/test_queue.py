"""A queue is found from what requests wait for, and a server that is slow under load is none."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
import pytest

from netlens.chains.situation import ACCEPTED, Situation
from netlens.lenses.refused import queue
from netlens.lenses.refused.weighing import weigh
from tests.lenses.refused.made import situation


def waiting(limit: int, seed: int = 0, slow: float = 0.0) -> Situation:
    """Bursts of requests; ``limit`` are served at once. ``slow``: all are served, more slowly with each other one in progress."""
    rng = np.random.default_rng(seed)
    now, rows, answers, busy = 0.0, [], [], list[float]()
    for k in range(160):
        now += float(rng.exponential(0.05 if rng.random() < 0.6 else 3.0 + 6.0 / limit))
        while busy and busy[0] <= now:
            heapq.heappop(busy)
        begun = now
        if not slow and len(busy) >= limit:
            begun = sorted(busy)[len(busy) - limit]
        first = begun + 0.05 + float(rng.uniform(0, 0.1)) + slow * len(busy)
        end = first + float(rng.uniform(0.5, 3.0))
        heapq.heappush(busy, end)
        rows.append(("vm", k, now, end, ACCEPTED))
        answers.append(first)
    made = situation(rows)
    origin = int(made.requests.start_ns[0]) - round(rows[0][2] * 1e9)
    return replace(made, requests=replace(made.requests, answer_ns=origin + (np.array(answers) * 1e9).astype(np.int64)))


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_its_length_is_found(limit: int) -> None:
    found = weigh(waiting(limit)).limiter
    assert found is not None
    assert (found["kind"], found["value"]) == ("queue", limit)


def test_a_queue_that_is_never_empty_is_told_by_what_others_wait() -> None:
    """Four workers of one side always have two requests in the queue; the other side, which has a queue of its own, waits for nobody."""
    rng = np.random.default_rng(4)
    ready = sorted((float(rng.uniform(0, 1)), k) for k in range(4))
    busy, rows, answers = list[float](), [], []
    while len(rows) < 60:
        now, worker = heapq.heappop(ready)
        busy = sorted(end for end in busy if end > now)
        begun = max(now, busy[-2]) if len(busy) >= 2 else now
        first = begun + float(rng.uniform(0.15, 0.6))
        end = first + float(rng.uniform(0.5, 3.0))
        busy.append(end)
        heapq.heappush(ready, (end + float(rng.uniform(0.1, 0.5)), worker))
        rows.append(("vm", worker, now, end, ACCEPTED))
        answers.append(first)
    for k in range(12):
        at = 5.0 * k + float(rng.uniform(0, 1))
        rows.append(("host", 9, at, at + 2.0, ACCEPTED))
        answers.append(at + float(rng.uniform(0.15, 0.6)))
    order = sorted(range(len(rows)), key=lambda k: rows[k][2])
    made = situation([rows[k] for k in order])
    origin = int(made.requests.start_ns[0]) - round(rows[order[0]][2] * 1e9)
    first_ns = origin + (np.array([answers[k] for k in order]) * 1e9).astype(np.int64)
    found = queue.fit(replace(made, requests=replace(made.requests, answer_ns=first_ns)))
    assert found is not None
    assert (found.scope, found.value) == ("side", 2)


def test_slow_under_load_is_no_queue() -> None:
    for slow in (0.1, 0.2, 0.4, 0.7, 1.0):
        assert [seed for seed in range(12) if queue.fit(waiting(99, seed, slow)) is not None] == []
    assert weigh(waiting(99)).limiter is None


def sharing(seed: int, cores: int) -> Situation:
    """Requests of which each needs a time of a processor before its first byte; ``cores`` share what is there among all."""
    rng = np.random.default_rng(seed)
    begins = np.cumsum([float(rng.exponential(0.05 if rng.random() < 0.5 else 2.0)) for _ in range(120)]).tolist()
    left: dict[int, float] = {}
    first, now, k = [0.0] * len(begins), 0.0, 0
    while k < len(begins) or left:
        speed = min(1.0, cores / max(len(left), 1))
        over, which = min(((now + work / speed, j) for j, work in left.items()), default=(np.inf, -1))
        at = min(over, begins[k] if k < len(begins) else np.inf)
        left = {j: work - (at - now) * speed for j, work in left.items()}
        now = at
        if at == over:
            first[which] = now
            del left[which]
        else:
            left[k] = float(rng.uniform(0.2, 0.8))
            k += 1
    rows = [("vm", j, begin, first[j] + float(rng.uniform(0.3, 2.5)), ACCEPTED) for j, begin in enumerate(begins)]
    made = situation(rows)
    origin = int(made.requests.start_ns[0]) - round(rows[0][2] * 1e9)
    return replace(made, requests=replace(made.requests, answer_ns=origin + (np.array(first) * 1e9).astype(np.int64)))


@pytest.mark.parametrize("cores", [1, 2])
def test_processors_that_requests_share_are_no_queue(cores: int) -> None:
    assert [seed for seed in range(20) if queue.fit(sharing(seed, cores)) is not None] == []
