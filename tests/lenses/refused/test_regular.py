"""An overload that comes at regular times: its period is found, and the provider is named though a window of about that length explains bursts better than
chance; a period of a usual length is none, as windows of a limit that counts what is not seen have it."""

from __future__ import annotations

import numpy as np
import pytest

from netlens.chains.situation import ACCEPTED, REJECTED, Situation
from netlens.lenses.refused import chance, regular, weighing
from tests.lenses.refused.made import situation


def bursts(period_s: float, seed: int, requests: int = 300) -> Situation:
    """Requests of one program that are refused four times in five in the first third of each period, and tried again soon."""
    rng, now, rows = np.random.default_rng(seed), 0.5, []
    for _ in range(requests):
        refused = now % period_s < period_s / 3 and rng.random() < 0.8
        lasts = 0.02 if refused else float(rng.uniform(0.3, 1.2))
        rows.append(("vm", len(rows), now, now + lasts, REJECTED if refused else ACCEPTED))
        now += lasts + float(rng.uniform(0.2, 0.6) if refused else rng.uniform(0.1, 2.0))
    return situation(rows, uncertain_ns=2_000_000)


def found(made: Situation) -> tuple[float, float]:
    r = made.requests
    return regular.gain(r.rejected == REJECTED, r.start_ns)


@pytest.mark.parametrize("seed", range(3))
def test_the_period_is_found(seed: int) -> None:
    better, period_s = found(bursts(26.3, seed))
    assert better > 10
    assert abs(period_s - 26.3) < 0.5


def test_a_period_of_a_usual_length_is_none() -> None:
    _, period_s = found(bursts(30.0, 1))
    assert abs(period_s - 30.0) > 0.6


@pytest.mark.parametrize("seed", range(3))
def test_by_chance_nothing_is_regular(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.exponential(1.0, 400) * 1e9).astype(np.int64)
    assert regular.gain(rng.random(400) < 0.3, starts)[0] < 2
    assert regular.gain(np.zeros(400, np.bool_), starts) == (0.0, 0.0)
    assert regular.gain(rng.random(1) < 0.3, starts[:1]) == (0.0, 0.0)


def test_a_regular_overload_is_the_providers() -> None:
    """A window that nobody chose explains the bursts better than chance in bursts does, and that was why no cause was named."""
    weighed = weighing.weigh(bursts(41.0, 1, 600), 199)
    assert chance.time_evidence(weighed.weighing) > chance.NO_BETTER
    assert weighed.cause == "provider"
    assert any("every 40.9 s" in e.text for v in weighed.verdicts if v.id == "provider" for e in v.evidence)
