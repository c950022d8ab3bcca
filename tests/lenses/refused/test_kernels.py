"""The compiled loops give what plain numpy gives, bit for bit, and the replay what the loop in Python gives."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

import numpy as np
import pytest

from netlens.chains.situation import UNKNOWN
from netlens.lenses.refused import kernels, replay
from netlens.lenses.refused.counting import models
from netlens.lenses.refused.limit import noise_of
from netlens.lenses.refused.replay import Change, Setting
from tests.bench.situations import draw


@pytest.mark.parametrize("most", [0, 1, 9, 300, 5_000, 10_000_000])
@pytest.mark.parametrize("tied", [False, True])
def test_the_best_limit_is_that_of_all_limits(most: int, tied: bool) -> None:
    rng = np.random.default_rng(most)
    for n in (1, 2, 7, 60, 900):
        counts = rng.integers(0, most + 1, n)
        refused = rng.random(n) < 0.3 if tied else counts + rng.normal(0, most / 3 + 0.1, n) > most / 2
        label = np.where(rng.random(n) < 0.9, refused, kernels.UNUSED).astype(np.int8)
        best, found = np.full(1, -np.inf), np.zeros(3, np.int64)
        noise = noise_of(n)
        rooms = np.zeros((4, kernels.BUCKETS + 1), np.int64), np.zeros((2, n), np.int64)
        better = kernels.best_limit(counts, label, noise.tables, *rooms, found, best)
        limits = np.unique(counts[(label == kernels.REFUSED) & (counts > 0)])
        assert bool(better) == bool(len(limits))
        if not len(limits):
            continue
        hit, miss = (np.array([f(counts[label == kernels.REFUSED], x).sum() for x in limits]) for f in (np.greater_equal, np.less))
        alarm, calm = (np.array([f(counts[label == kernels.ACCEPTED], x).sum() for x in limits]) for f in (np.greater_equal, np.less))
        each = noise(alarm, hit) + noise(miss, calm)
        at = int(each.argmax())
        assert (best[0], found.tolist()) == (each[at], [limits[at], miss[at], calm[at]])
        assert not kernels.best_limit(counts, label, noise.tables, *rooms, found, best)  # nothing is better than the best


def test_sums_of_windows() -> None:
    rng = np.random.default_rng(1)
    starts = np.sort(rng.integers(0, 10**11, 500))
    starts[100:110] = starts[100]
    before = np.concatenate([[0.0], np.cumsum(rng.integers(0, 3, 500).astype(float))])
    out = np.empty(500)
    for width in (1, 10**9, 7 * 10**9, 10**12):
        kernels.window_sums(starts, before, width, out)
        assert out.tolist() == [before[i] - before[min(int((starts <= starts[i] - width).sum()), i)] for i in range(500)]
        for edge in (0, 3 * 10**8, 10**12):
            kernels.edge_sums(starts, before, edge, width, out)
            window = (starts - edge) // width
            assert out.tolist() == [before[i] - before[int(np.argmax(window == window[i]))] for i in range(500)]


def test_a_part_of_a_place_is_a_whole_one() -> None:
    counts = np.zeros(6, np.int64)
    kernels.whole(np.array([0.0, 1.0, 1.2, 2.0000000001, 1e12, 0.0]), np.array([0.0, 0.0, 0.0, 0.0, 0.0, 2.5]), counts)
    assert counts.tolist() == [0, 1, 2, 2, kernels.MAX_COUNT, 3]


@dataclass(frozen=True)
class Limit:
    scope: str
    value: int
    held_s: float = 0.0
    changes: tuple[tuple[int, int], ...] = ()
    models: tuple[int, ...] = ()
    unit: str = "requests"


class InPython(replay._Replay):
    """Requests in flight by the loop that replays of connections and of limits over time share."""

    def __init__(self, setting: Setting, change: Change, at_once: bool) -> None:
        super().__init__(setting, change, at_once)
        which = models(setting.situation.requests).tolist()
        self.model = [which[rows[0]] if self.models else 0 for rows in setting.intents.attempts]
        self.held: dict[tuple[int, int], list[int]] = {(group, model): [] for group in range(UNKNOWN + 1) for model in (0, 1)}

    def accepts(self, now: int, k: int, side: int, refusals: int) -> bool:
        held = self.held[self.group[side], self.model[k]]
        while held and held[0] <= now:
            heapq.heappop(held)
        if len(held) >= (self.models[self.model[k]] if self.models else self.limit_at(now)) and side not in self.exempt:
            return False
        heapq.heappush(held, now + self.hold_ns[k])
        if len(held) > self.peak and not (side == UNKNOWN and self.setting.rule.scope == "side"):
            self.peak = len(held)
        return True


@pytest.mark.parametrize("family", ["same-nat-ip", "zombies", "retry-storm", "limit-changes", "model-limits", "unpaired"])
def test_the_replay_is_that_of_the_loop_in_python(family: str) -> None:
    rng = random.Random(family)
    situation = draw(4, family).situation
    middle = int(situation.requests.start_ns[len(situation.requests) // 2])
    refused = 0
    for _ in range(12):
        limit = Limit(
            rng.choice(["side", "egress"]),
            rng.randint(1, 4),
            rng.choice([0.0, 1.5]),
            rng.choice([(), ((middle - 10**10, 1), (middle, 3))]),
            rng.choice([(), (), (1, 3)]),
        )
        setting = Setting(situation, limit)
        change = Change(
            without_sides=frozenset(rng.sample([0, 1], rng.choice([0, 0, 1]))),
            without=frozenset(rng.sample(range(len(setting.intents)), 2)),
            cap=rng.choice([None, None, 1, 3]),
            cap_shared=rng.random() < 0.5,
            cut=frozenset(rng.sample([0, 1, 2], rng.randint(0, 2))),
            own_address=rng.random() < 0.3,
            pace_s=rng.choice([None, None, 0.5, 3.0]),
            waits=rng.random() < 0.2,
        )
        change = replay.bare(setting, change)
        at_once = rng.random() < 0.5
        found = replay._InFlight(setting, change, at_once).run()
        assert found == InPython(setting, change, at_once).run()
        refused += found.total
    assert refused
