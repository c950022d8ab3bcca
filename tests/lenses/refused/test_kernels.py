"""The compiled loops give what plain numpy gives, bit for bit, and the replay what the loop in Python gives."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

import numpy as np
import pytest

from netlens.chains.situation import UNKNOWN
from netlens.columns import Ints
from netlens.lenses.refused import kernels, replay
from netlens.lenses.refused.counting import models
from netlens.lenses.refused.limit import noise_of
from netlens.lenses.refused.replay import Change, Setting
from tests.bench.situations import draw

S = 1_000_000_000  #: ns


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


def test_the_next_request_of_about_the_same_size() -> None:
    rng = np.random.default_rng(2)
    for n in (1, 5, 80, 400):
        sizes, starts = rng.integers(1_000, 1_000 + 3 * n, n), np.sort(rng.integers(0, 100 * n, n))
        order = np.lexsort((starts, sizes))
        own, begins = np.unique(sizes[order], return_index=True)
        asked, earliest = np.sort(rng.integers(990, 1_010 + 3 * n, n)), rng.integers(-50, 100 * n, n)
        latest, found = earliest + 300, np.full(n, -1)
        kernels.soonest_alike(own, np.append(begins, n), starts[order], order, asked, earliest, latest, 8, found)
        for k in range(n):
            those = np.flatnonzero((np.abs(sizes - asked[k]) <= 8) & (starts >= earliest[k]) & (starts <= latest[k]))
            assert found[k] == (those[0] if len(those) else -1)


def _retries(starts: Ints, ends: Ints, refused: Ints, sizes: Ints, sessions: Ints, first: int | None, growth: int) -> list[int]:
    """The rules of :mod:`netlens.lenses.refused.intents`, in words of Python."""
    level, found, n = {}, [-1] * len(starts), len(starts)
    for k in refused:
        usual = 2 * S if first is None else min(first * growth ** level.get(k, 0), max(30 * S, first))
        free = [j for j in range(k + 1, n) if j not in found]
        alike = [j for j in free if not sizes[j] or not sizes[k] or abs(sizes[j] - sizes[k]) <= 8]
        off = {j: abs(int(starts[j] - ends[k]) - usual) for j in alike}
        near = [j for j in alike if off[j] <= 60_000_000 + usual * 20 // 1000]
        retry = min(near, key=lambda j: (off[j], -j), default=None)
        if retry is None and first is not None:
            after = next((j for j in range(k + 1, n) if sessions[j] == sessions[k]), n)
            if after in alike and after < k + 256 and usual // 2 <= starts[after] - ends[k] < usual + usual // 2:
                retry = after
        if retry is None and sizes[k]:
            later = np.flatnonzero(starts >= ends[k] + S // 2)[:256]
            same = [j for j in later if j > k and starts[j] < ends[k] + 30 * S and sizes[j] and abs(sizes[j] - sizes[k]) <= 8]
            if len(same) <= 4:
                retry = next((j for j in same if j in free), None)
        if retry is None and first is None:
            later = np.flatnonzero((starts >= ends[k]) & (np.arange(n) > k))[:64]
            some = [j for j in later if j in alike and starts[j] < ends[k] + 30 * S]
            retry = next((j for j in some if sessions[j] == sessions[k]), some[0] if some else None)
        if retry is not None:
            found[k], level[retry] = int(retry), level.get(k, 0) + 1
    return found


@pytest.mark.parametrize("seed", range(12))
def test_retries_are_those_of_the_rules(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, first, growth = 300, (None, 3 * S, S // 2)[seed % 3], 1 + seed // 3 % 2
    starts = np.sort(rng.integers(0, (n if seed % 4 else n // 8) * S, n))
    ends = starts + rng.integers(0, S, n)
    refused = np.flatnonzero(rng.random(n) < 0.6)
    sizes = rng.choice([0, 1_000, 1_007, 1_014, 5_000] if seed % 2 else [0, *range(1_000, 4_000, 50)], n)
    sessions = rng.integers(0, 40, n)
    following = np.array([next((j for j in range(k + 1, n) if sessions[j] == sessions[k]), n) for k in range(n)])
    back_off = np.array([2 * S, -1 if first is None else first, growth, 30 * S, 60_000_000, 20])
    found = np.full(n, -1)
    kernels.retries(starts, ends, refused, sizes, sessions, following, back_off, np.array([8, 4]), np.zeros((2, n), np.int64), found)
    assert found.tolist() == _retries(starts, ends, refused, sizes, sessions, first, growth)
    assert (found >= 0).any()


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
