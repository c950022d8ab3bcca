"""Limiters over time: how a provider may refuse by what was sent before, not by what is open. One file each.

A limiter is a module with

* ``ID``, and ``KIND``, ``WINDOW`` as the JSON of analyze has them; ``COUNTS``: "accepted" requests, "attempts", or "bytes" of what was accepted and of
  the request itself;
* ``parameters(starts, taken) -> list[float]``: windows or refills to try first, in seconds;
* ``scores(starts, taken, parameter_s) -> iterable of float64[n]``: how much of the limit earlier requests had used up when each came. A request is
  refused where that reaches the limit. More than one array where something besides the parameter is unknown (the edge of a fixed window).
  ``starts``: int64 ns in order; ``taken``: float64, what each request took of the limit (1 if it was accepted);
* ``described(parameter_s, limit) -> dict``: the limiter in the words of the JSON.

So every limiter is a number per request and a limit, fitted as counts of what is open are (:mod:`netlens.lenses.refused.limit`); the fit is
:mod:`netlens.lenses.refused.over_time`. A new limiter is a new file and its name here.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MODULES = ("sliding_window", "fixed_window", "token_bucket", "attempts_window", "volume_window")


class Limiter(Protocol):
    """What a module of this folder has."""

    ID: str
    KIND: str
    WINDOW: str
    COUNTS: str

    def parameters(self, starts: Ints, taken: Floats, /) -> list[float]: ...

    def scores(self, starts: Ints, taken: Floats, parameter_s: float, /) -> Iterable[Floats]: ...

    def described(self, parameter_s: float, limit: int, /) -> dict[str, Any]: ...


def all_limiters() -> list[Limiter]:
    """Every limiter, in the order in which ties are named."""
    return [cast("Limiter", import_module(f"netlens.lenses.refused.limiters.{name}")) for name in MODULES]


#: Windows that providers and libraries use, in seconds: second, a few, minute, some, hour, five hours (plans of coding agents), day.
USUAL_S = (1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 18000.0, 86400.0)


def span_s(starts: Ints) -> float:
    """Seconds from the first request to the last."""
    return float(starts[-1] - starts[0]) / 1e9 if len(starts) else 0.0


def between(shortest_s: float, longest_s: float, ratio: float) -> list[float]:
    """Values from the shortest to the longest, each larger than the one before by ``ratio``."""
    steps = int(np.log(max(longest_s / shortest_s, 1.0)) / np.log(ratio)) + 1
    return [shortest_s * ratio**k for k in range(steps)]
