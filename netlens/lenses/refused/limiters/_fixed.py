"""What limiters with windows that follow each other share: where windows may begin, and what was taken since.

Clocks differ, so where windows begin is not known: there is an edge between a refusal and a request accepted right after it. Where in between is told by other
accepted requests: which of them were still counted in the window before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from netlens.columns import Floats, Ints
from netlens.lenses.refused import kernels
from netlens.lenses.refused.limiters import USUAL_S, _windows
from netlens.lenses.refused.limiters._windows import running, span_s

EDGES = 24  #: edges tried for a window, of those that the requests suggest
MOST_KNOWN = 256
_known: dict[
    bytes, Ints
] = {}  # by a digest of what they follow from: limits on requests and on bytes, and readings of sizes, ask for the same


def parameters(starts: Ints, _: Floats, __: Floats | float = 0.0) -> list[float]:
    return [w for w in USUAL_S if w <= span_s(starts)]


def scores(starts: Ints, taken: Floats, parameter_s: float) -> Iterator[Floats]:
    width = int(parameter_s * 1e9)
    before = running(taken)[:-1]
    digest = hashlib.blake2b(starts.tobytes() + (taken > 0).tobytes() + width.to_bytes(8, "big"), digest_size=16).digest()
    if digest not in _known:
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[digest] = _edges(starts, taken, width)
    for edge in _known[digest].tolist():
        out = np.empty(len(starts))
        kernels.edge_sums(starts, before, edge, width, out)
        yield out


def _edges(starts: Ints, taken: Floats, width: int) -> Ints:
    """Where windows may begin, modulo their width: by the clock, just before what was accepted right after a refusal, and where most such pairs agree.

    Between the two of a pair is an edge, so those that lie within most pairs are tried first, and where most agree just before each accepted request.
    """
    again = np.flatnonzero((taken[1:] > 0) & (taken[:-1] == 0))
    low, high = starts[again] % width, starts[again + 1]
    reach = np.sort(low + (high - starts[again]))
    low, found = np.sort(low), np.unique((high - 1) % width)
    accepted = np.unique((starts[taken > 0] - 1) % width)  # in order, which makes the search three times as fast

    def within(edges: Ints) -> Ints:
        """How many pairs enclose each."""
        once, again = (np.searchsorted(low, at) - np.searchsorted(reach, at) for at in (edges, edges + width))
        return once + again

    found = np.union1d(found, accepted[within(accepted) == within(found).max(initial=0)])
    return np.concatenate([[0], found[np.argsort(-within(found), kind="stable")][:EDGES]])


def decide(parameter_s: float, limit: int, edge_ns: int) -> _windows.Window:
    return _windows.Window(int(parameter_s * 1e9), limit, edge_ns)


def described(parameter_s: float, limit: int) -> dict[str, Any]:
    return {**_windows.described(parameter_s, limit), "window": "fixed"}
