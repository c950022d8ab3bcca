"""What buckets share: what is missing from a full one, which refills to try where it never fills up, and the bucket at work."""

from __future__ import annotations

from typing import Any

import numpy as np

from netlens.columns import Bools, Floats, Ints
from netlens.lenses.refused.limiters._windows import running, span_s

NEAR, HALVINGS = 1.25, 40  #: factor within which a refill is looked for, and to what part of that: 1e-12
STRETCHES = 4  #: refills are taken from the whole recording, its halves, thirds and quarters


def never_full(starts: Ints, taken: Floats, room: Floats | float) -> set[float]:
    """Refills of a bucket that never filled up, meanwhile or in parts of the recording.

    There a small error of the refill adds up, so only a very close value fits. But as much was accepted between two refusals as came back, which gives it.
    """
    found = set()
    refused = np.flatnonzero(taken == 0)
    before = running(taken)[:-1]
    met = before + room
    for parts in range(1, STRETCHES + 1):
        for edge in np.array_split(refused, parts):
            if len(edge) > 1 and before[edge[-1]] > before[edge[0]]:
                there = slice(edge[0], edge[-1] + 1)
                refill = float(span_s(starts[edge[[0, -1]]]) / (before[edge[-1]] - before[edge[0]]))
                if refill > 0.0:  # all may have been sent at one time, as far as the capture tells
                    found |= {refill, _apart((starts[there] - starts[edge[0]]) / 1e9, met[there], taken[there] == 0, refill)}
    return {p for p in found if p > 0}


def _apart(at_s: Floats, before: Floats, refused: Bools, near: float) -> float:
    """The refill at which refused and accepted requests lie furthest apart, by how many tokens were missing, had the bucket never been full meanwhile.

    That many are ``before`` less those that came back, a line in one over the refill for each request; so the gap between the lowest of the refused and the
    highest of the accepted ones is concave in it, and the best is found by halving.

    Parameters
    ----------
    at_s : when each was sent.  before : how much had been accepted by then, and what it needs itself.  near : what it is to within :data:`NEAR`.
    """
    accepted = ~refused if not refused.all() else slice(1)
    refused_s, less, accepted_s, more = at_s[refused], before[refused], at_s[accepted], before[accepted]
    low, high = 1.0 / (near * NEAR), NEAR / near
    for _ in range(HALVINGS):
        rate = (low + high) / 2
        first, last = refused_s[(less - refused_s * rate).argmin()], accepted_s[(more - accepted_s * rate).argmax()]
        low, high = (rate, high) if last > first else (low, rate)
    return 2.0 / (low + high)


def level(starts: Ints, taken: Floats, parameter_s: float) -> Floats:
    """What had come back since the first request, less what was accepted before each."""
    return np.asarray((starts - starts[0]) / (parameter_s * 1e9) - running(taken)[:-1])


def missing(starts: Ints, taken: Floats, parameter_s: float) -> Floats:
    """What was missing from the bucket when each request came, had it been full at first."""
    come_back = level(starts, taken, parameter_s)
    return np.asarray(np.maximum.accumulate(come_back) - come_back)


class Bucket:
    """Tokens that are left."""

    def __init__(self, burst: float, refill_ns: float) -> None:
        self.burst, self.refill_ns = burst, refill_ns
        self.tokens, self.at = burst, 0

    def free_at(self, now: int, room: float) -> int:
        tokens = min(self.burst, self.tokens + (now - self.at) / self.refill_ns)
        return now if tokens >= room - 1e-9 else now + int((room - tokens) * self.refill_ns) + 1

    def take(self, now: int, room: float) -> None:
        self.tokens = min(self.burst, self.tokens + (now - self.at) / self.refill_ns) - room
        self.at = now


def decide(parameter_s: float, limit: int, edge_ns: int) -> Bucket:
    return Bucket(float(limit), parameter_s * 1e9)


def described(parameter_s: float, limit: int) -> dict[str, Any]:
    return {"value": 60.0 / parameter_s, "window_s": 60.0, "window": "bucket", "burst": limit, "refill_s": parameter_s}
