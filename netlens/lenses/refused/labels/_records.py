"""Records of servers that speak HTTP/2 behind which an error log has the line of a refusal, told before requests are counted by the sizes of records.

A refusal is written down when its last record has been read, so nearly each line stands right behind one. Where that is so far more often than by chance, of
all records or of those of some sizes, each line's nearest record is the end of a refusal (:mod:`netlens.chains.explained`).
"""

from __future__ import annotations

import numpy as np

from netlens.chains.asked import EMPTY
from netlens.chains.endings import AT_ONCE_NS
from netlens.columns import Bools, Ints
from netlens.lenses.refused.labels._labels import MS
from netlens.lenses.refused.labels._matching import BELIEVED, ELSEWHERE_NS, MIN_LEARNED, ONE_LOOK, USUAL_NS, echoes, tighten
from netlens.parsers.errorlog import ErrorLog

SLACK_NS = 2 * MS
MOST_LINES = 2_000  #: that are asked
OTHER_NS = (*ELSEWHERE_NS, *(-off for off in ELSEWHERE_NS))
MORE_OFTEN, TWICE = 2, 2  #: times as often as by chance, and records of one size that have lines
BY_CHANCE = 0.25  #: share of lines that a record stands right before, at most, for records to tell


def behind_lines(log: ErrorLog, ns: Ints, sizes: Ints) -> Bools:
    """bool per record: whether a line of the log is of a refusal that ends with it; none where that does not show.

    ns, sizes : of the records of the target's servers, in order of time.
    """
    out = np.zeros(len(ns), np.bool_)
    others = echoes(log.events)
    events = [event for i, event in enumerate(log.events[:MOST_LINES]) if i not in others]
    low = np.array([event.low_ns for event in events], np.int64) - SLACK_NS
    high = np.array([event.high_ns for event in events], np.int64) + SLACK_NS
    data = sizes != EMPTY
    tighten(events, ns[data], low, high, SLACK_NS)
    within = (high >= ns.min(initial=0)) & (low <= ns.max(initial=0) + USUAL_NS)
    low, high = low[within], high[within]
    if len(low) < MIN_LEARNED:
        return out
    within_ns = AT_ONCE_NS
    while within_ns <= USUAL_NS:
        for like in (data, _mostly_before_lines(ns, sizes, low, high, within_ns)):
            times = ns[like]
            first, stop = np.searchsorted(times, low - within_ns), np.searchsorted(times, high, "right")
            elsewhere = [
                (np.searchsorted(times, high + off, "right") > np.searchsorted(times, low + off - within_ns)).mean() for off in OTHER_NS
            ]
            if (stop > first).mean() >= ONE_LOOK and np.mean(elsewhere) <= BY_CHANCE:
                last, lines = np.unique(stop[stop > first] - 1, return_counts=True)
                out[np.flatnonzero(like)[last[lines == 1]]] = True  # in a burst it is not clear which is whose
                return out
        within_ns *= 2
    return out


def _mostly_before_lines(ns: Ints, sizes: Ints, low: Ints, high: Ints, within_ns: int) -> Bools:
    """Records of sizes most of which have a line so soon behind them, and far more of them than by chance."""
    low, high = np.sort(low), np.sort(high)

    def lined(off: int) -> Bools:
        found: Bools = np.searchsorted(low, ns + off + within_ns, "right") > np.searchsorted(high, ns + off)
        return found

    least = max(BELIEVED, MORE_OFTEN * float(np.mean([lined(off).mean() for off in OTHER_NS])))
    values, of_size = np.unique(sizes, return_inverse=True)
    many, told = np.bincount(of_size), np.bincount(of_size, weights=lined(0))
    return np.asarray(((told >= TWICE) & (told >= least * many) & (values != EMPTY))[of_size])
