"""So many requests in any window of time.

Claim: a request is refused if, and only if, as many as the limit were accepted in the window before it.
Cannot be told from: a token bucket whose burst is the limit, where requests come evenly; what is open, where all answers take equally long.
Source: Redis-based limiters and the documentation of providers that count "in the last 60 seconds".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from netlens.lenses.refused.limiters import USUAL_S, Floats, Ints, between, span_s

ID = "sliding-window"
KIND = "rate"
WINDOW = "sliding"
COUNTS = "accepted"


def parameters(starts: Ints, _: Floats) -> list[float]:
    longest = span_s(starts)  # a longer window cannot be told from a quota
    return sorted({*between(0.5, longest, 1.25), *(w for w in USUAL_S if w <= longest)})


def scores(starts: Ints, taken: Floats, parameter_s: float) -> Iterator[Floats]:
    before = np.concatenate([[0.0], np.cumsum(taken)])
    first = np.searchsorted(starts, starts - int(parameter_s * 1e9), "right")
    now = np.arange(len(starts))
    yield before[now] - before[np.minimum(first, now)]


def described(parameter_s: float, limit: int) -> dict[str, Any]:
    return {"value": limit, "window_s": parameter_s, "window": WINDOW, "burst": None, "refill_s": None}
