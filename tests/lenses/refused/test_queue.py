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


def test_slow_under_load_is_no_queue() -> None:
    assert queue.fit(waiting(99, slow=0.7)) is None
    assert weigh(waiting(99)).limiter is None
