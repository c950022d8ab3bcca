"""What limiters share: the values to try, and what a sliding window makes of requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from netlens.columns import Floats, Ints
from netlens.lenses.refused import kernels
from netlens.lenses.refused.limiters import USUAL_S


def span_s(starts: Ints) -> float:
    """Seconds from the first request to the last."""
    return float(starts[-1] - starts[0]) / 1e9 if len(starts) else 0.0


def between(shortest_s: float, longest_s: float, ratio: float) -> list[float]:
    """Values from the shortest to the longest, each larger than the one before by ``ratio``."""
    steps = int(np.log(max(longest_s / shortest_s, 1.0)) / np.log(ratio)) + 1
    return [shortest_s * ratio**k for k in range(steps)]


def parameters(starts: Ints, _: Floats, __: Floats | float = 0.0) -> list[float]:
    """Lengths of sliding windows."""
    longest = span_s(starts)  # a longer window cannot be told from a quota
    return sorted({*between(min(USUAL_S), longest, 1.25), *(w for w in USUAL_S if w <= longest)})


def running(taken: Floats) -> Floats:
    """What had been taken before each request, and in all: float64[n + 1]."""
    out = np.empty(len(taken) + 1)
    out[0] = 0.0
    taken.cumsum(out=out[1:])
    return out


def scores(starts: Ints, taken: Floats, parameter_s: float) -> Iterator[Floats]:
    """What was taken in the window before each request."""
    out = np.empty(len(starts))
    kernels.window_sums(starts, running(taken), int(parameter_s * 1e9), out)
    yield out


class Window:
    """Requests of the last ``width`` ns, or since the last edge; ``edge_ns``: None for a window that slides."""

    def __init__(self, width: int, limit: float, edge_ns: int | None) -> None:
        self.width, self.limit, self.edge = width, limit, edge_ns
        self.taken: deque[tuple[int, float]] = deque()
        self.used = 0.0

    def free_at(self, now: int, room: float) -> int:
        since = now - self.width if self.edge is None else (now - self.edge) // self.width * self.width + self.edge - 1
        while self.taken and self.taken[0][0] <= since:
            self.used -= self.taken.popleft()[1]
        most = self.limit - room
        if self.used <= most or not self.taken:
            return now
        if self.edge is not None:
            return since + 1 + self.width
        left = self.used
        for at, size in self.taken:
            left -= size
            if left <= most:
                return at + self.width + 1
        return self.taken[-1][0] + self.width + 1

    def take(self, now: int, room: float) -> None:
        self.taken.append((now, room))
        self.used += room


def decide(parameter_s: float, limit: int, edge_ns: int) -> Window:
    return Window(int(parameter_s * 1e9), limit, None)


def described(parameter_s: float, limit: int) -> dict[str, Any]:
    return {"value": limit, "window_s": parameter_s, "window": "sliding", "burst": None, "refill_s": None}
