"""What counters share that stand for a sliding window: two windows that follow each other, of which the one before counts in part.

Of it the part counts that a sliding window would still reach: a counter of 10 s has 0.7 of the window before, 3 s after an edge. Where windows begin is
not known. An edge that is off by a fiftieth of the window errs by as little of the limit, so edges are tried that far from each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from netlens.columns import Floats, Ints
from netlens.lenses.refused.limiters import USUAL_S, _windows
from netlens.lenses.refused.limiters._windows import running, span_s

EDGES = 48  #: edges tried for a window
TURNS = 2  #: of the window, that a recording must have: what one turn shows, a plain window shows as well


def parameters(starts: Ints, _: Floats, __: Floats | float = 0.0) -> list[float]:
    return [w for w in USUAL_S if TURNS * w <= span_s(starts)]


def scores(starts: Ints, taken: Floats, parameter_s: float) -> Iterator[Floats]:
    """For each edge two: the part of the window before rounded down, as some do, and not."""
    width = int(parameter_s * 1e9)
    before = running(taken)
    for edge in (np.arange(EDGES) * width // EDGES).tolist():
        number = (starts - edge) // width
        begun, earlier = (np.searchsorted(number, number - back, "left") for back in (0, 1))
        own, past = before[:-1] - before[begun], before[begun] - before[earlier]
        part = past * (1.0 - (starts - edge - number * width) / width)
        yield own + np.floor(part)
        yield own + part


def described(parameter_s: float, limit: int) -> dict[str, Any]:
    return {**_windows.described(parameter_s, limit), "window": "counter"}
