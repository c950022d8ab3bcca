"""So many requests in a window of time that begins with the first of them.

Claim: a request is refused if, and only if, as many as the limit were accepted since the window began; the next begins with the first request after its end.
Cannot be told from: windows that follow each other without a gap, where requests come all the time.
Source: a counter that expires (``INCR`` and ``EXPIRE`` of Redis), which many libraries use.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netlens.columns import Floats, Ints
from netlens.lenses.refused.limiters import USUAL_S, _fixed, _windows
from netlens.lenses.refused.limiters._windows import running, span_s

ID = "begun-window"
KIND = "rate"
WINDOW = "fixed"
COUNTS = "accepted"
RANK = 9
LATER = True
decide, described = _windows.decide, _fixed.described


def parameters(starts: Ints, _: Floats, __: Floats | float = 0.0) -> list[float]:
    """Of whole seconds: what a library is given as a number."""
    whole = (*map(float, range(1, 61)), *USUAL_S)
    return sorted({w for w in whole if 2 * w <= span_s(starts)})


def scores(starts: Ints, taken: Floats, parameter_s: float) -> Iterator[Floats]:
    """Two: windows that begin with the first request; and such that begin anew, once, with the first that is accepted after a refusal."""
    width, before = int(parameter_s * 1e9), running(taken)
    again = np.flatnonzero((taken[1:] > 0) & (taken[:-1] == 0))[:1] + 1
    for anew in (again[:0].tolist(), again.tolist()):
        out, first = np.zeros(len(starts)), 0
        for stop in (*anew, len(starts)):
            while first < stop:
                end = min(int(np.searchsorted(starts, starts[first] + width, "left")), stop)
                out[first:end] = before[first:end] - before[first]
                first = end
        yield out
