"""So many requests from one full minute (hour, ten seconds) to the next.

Claim: a request is refused if, and only if, as many as the limit were accepted since the window began; windows follow each other without a gap.
Cannot be told from: a sliding window, unless requests were accepted on both sides of an edge that a sliding window would have refused.
Source: the counters by wall clock that many gateways and libraries have. Clocks differ, so where windows begin is not known: it is taken from
requests accepted right after a refusal, which come just after an edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from netlens.columns import Floats, Ints
from netlens.lenses.refused.limiters import USUAL_S, _windows
from netlens.lenses.refused.limiters._windows import span_s

ID = "fixed-window"
KIND = "rate"
WINDOW = "fixed"
COUNTS = "accepted"
RANK = 2
EDGES = 24  #: edges tried for a window, of those that the requests suggest


def parameters(starts: Ints, _: Floats) -> list[float]:
    return [w for w in USUAL_S if w <= span_s(starts)]


def scores(starts: Ints, taken: Floats, parameter_s: float) -> Iterator[Floats]:
    width = int(parameter_s * 1e9)
    before = np.concatenate([[0.0], np.cumsum(taken)])[:-1]
    for edge in _edges(starts, taken, width).tolist():
        window = (starts - edge) // width
        yield before - before[np.searchsorted(window, window, "left")]


def _edges(starts: Ints, taken: Floats, width: int) -> Ints:
    """Where windows may begin, modulo their width: by the clock, and just before what was accepted right after a refusal."""
    again = starts[1:][(taken[1:] > 0) & (taken[:-1] == 0)] - 1
    found = np.unique(again % width)
    if len(found) > EDGES:
        found = found[np.linspace(0, len(found) - 1, EDGES).astype(np.int64)]
    return np.concatenate([[0], found])


def decide(parameter_s: float, limit: int, edge_ns: int) -> _windows.Window:
    return _windows.Window(int(parameter_s * 1e9), limit, edge_ns)


def described(parameter_s: float, limit: int) -> dict[str, Any]:
    return {**_windows.described(parameter_s, limit), "window": WINDOW}
