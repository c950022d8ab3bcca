"""An overload that comes at regular times: how much better it explains refusals than chance does, in bursts or not.

Claim: in one part of a period, the same each time, requests are refused at one rate, and otherwise at another that is lower.
Theory of operation: periods are tried so finely that no time of the recording strays by more than an eighth of one, parts in steps of a 24th. Both rates are
integrated out under flat priors; of all periods and parts the mean likelihood stands, so the search is paid for. It is the least of all labels and of first
refusals, as those of :mod:`netlens.lenses.refused.condition`.
Windows of a limit that begin at round times look like that where what they count is not seen. So periods of usual lengths are none.
Limits: beyond :data:`MOST` requests nothing is looked for. Who asks at regular times from elsewhere, with the same key, looks the same; so does a program that
asks at regular times and is refused each time for another reason.
"""

from __future__ import annotations

import numpy as np

from netlens.columns import Bools, Floats, Ints
from netlens.lenses.refused import limit
from netlens.lenses.refused.condition import log_gamma
from netlens.lenses.refused.limiters import USUAL_S

MOST = 20_000  #: requests
PARTS, STEPS = 24, 8  #: of a period that are told apart; of a period that the last request may stray
SHORTEST_S, TURNS, PERIODS = 2.0, 3.0, 4_000  #: periods at least; times that one must have come round; how many are tried at most
NEAR_USUAL = 0.02  #: share of a usual length by which a period differs from it at least


def gain(rejected: Bools, start_ns: Ints) -> tuple[float, float]:
    """(log units by which a regular overload explains these labels, in order of time, better than chance; its period in s). (0, 0) where nothing is found."""
    lasted_s = float(start_ns[-1] - start_ns[0]) / 1e9 if len(start_ns) else 0.0
    periods = _periods(lasted_s)
    if not len(periods) or len(rejected) > MOST or rejected.all() or not rejected.any():
        return 0.0, 0.0
    at_s = (start_ns - start_ns[0]) / 1e9
    table = log_gamma(len(rejected) + 2)
    found = [_explained(rejected, (at_s / period % 1.0 * PARTS).astype(np.int64), table) for period in periods.tolist()]
    tried = np.concatenate(found)
    best = int(np.argmax([each.max() for each in found]))
    return float(np.logaddexp.reduce(tried) - np.log(len(tried)) - limit.by_chance(rejected)), float(periods[best])


def _periods(lasted_s: float) -> Floats:
    """The periods to try, in s, in a recording that lasted so long."""
    shortest = max(SHORTEST_S, STEPS * lasted_s / PERIODS)
    # from one to the next 1 / p shrinks by the same step, as the last request strays by so much of a period
    rates = np.arange(1.0 / shortest, TURNS / max(lasted_s, 1e-9), -1.0 / (STEPS * max(lasted_s, 1e-9)))
    periods = 1.0 / rates
    usual = np.array(sorted(USUAL_S))
    return periods[(np.abs(periods[:, None] / usual - 1.0) > NEAR_USUAL).all(axis=1)]


def _explained(rejected: Bools, part: Ints, table: Floats) -> Floats:
    """Log likelihood of the labels for each part of the period, from each 24th on and up to half of it, that has a rate of its own.

    part : of each request.  table : log gamma at whole numbers.
    """
    sums = [np.append(0, np.cumsum(np.tile(np.bincount(part[some], minlength=PARTS), 2))) for some in (rejected, ~rejected)]
    begin, length = np.arange(PARTS)[:, None], np.arange(1, PARTS // 2 + 1)[None, :]
    refused, accepted = (each[begin + length] - each[begin] for each in sums)
    return sum(
        table[r + 1] + table[a + 1] - table[r + a + 2]
        for r, a in ((refused, accepted), (sums[0][PARTS] - refused, sums[1][PARTS] - accepted))
    ).ravel()
