"""What the clock is worth between two captures, and on what their times agree where it is worth nothing.

Exact pairs show it: where they contradict the clock (an effect a second before its cause), or where it is not known at all, their own difference is
used, and without any, that on which the connections with rare totals and the lookups agree (:func:`_vote`).
"""

from __future__ import annotations

import numpy as np

from netlens.chains.compared import (
    KNOWN_CLOCK_NS,
    MAX_DELAY_NS,
    MIN_DELAY_NS,
    START,
    TOLERANCE_NS,
    Found,
    Timing,
    equal_totals,
    only,
    question_keys,
)
from netlens.chains.likelihood import MANY, SAME_LOOKUP, by_chance, difference, inner
from netlens.columns import MISSING, Floats, Ints

VOTE_NS = 50_000_000  #: how far votes on the clock may differ: delays of both ways
VOTE_AHEAD = 5.0  #: the log of the odds by which the winner must lead
VOTERS = 3  #: as many must contradict a clock that is said to be known
VOTE_LEAST = 6.0  #: two connections with rare totals


def timing(found: Found) -> Timing:
    """The clock as given, unless it is unknown or contradicted; then what exact pairs show, else what rare totals agree on."""
    v, h, uncertain_ns = found.v, found.h, found.time.uncertain_ns
    rows = np.flatnonzero(found.host_of >= 0)
    differences = h.events[found.host_of[rows], START] - v.events[rows, START]
    differences = differences[(h.events[found.host_of[rows], START] != MISSING) & (v.events[rows, START] != MISSING)]
    if len(differences):
        typical = int(np.median(differences))
        contradicted = not -uncertain_ns - TOLERANCE_NS <= typical <= MAX_DELAY_NS + uncertain_ns
        if not contradicted and uncertain_ns <= KNOWN_CLOCK_NS:
            return found.time
        low, high = int(differences.min()), int(differences.max())
        v.shift(low)
        return Timing(max(high - low, MIN_DELAY_NS))
    voted = _vote(found)
    if voted is None:
        return found.time
    low, width, voters = voted
    agrees = -uncertain_ns - VOTE_NS <= low <= MAX_DELAY_NS + uncertain_ns
    if uncertain_ns <= KNOWN_CLOCK_NS and (agrees or voters < VOTERS):
        return found.time
    v.shift(low)
    return Timing(width)


def _vote(found: Found) -> tuple[int, int, int] | None:
    """How far to shift the VM's times, how far that may be off, and how many say so: lookups that are equal and connections whose totals agree.

    None if there is no clear winner.
    """
    v, h = found.v, found.h
    i, j = equal_totals(found, found.free_vm(), found.free_host(), 2 * MANY)
    x, begun = difference(v, h, i, j, START)
    i, j, x = i[begun], j[begun], x[begun]
    many = np.maximum(np.bincount(j, minlength=h.n)[j], np.bincount(i, minlength=v.n)[i])
    weight = -np.log(many - 1 + by_chance(h)[j]) - inner(v, h, i, j)
    asked, asked_weight = _lookup_votes(found)
    x, weight = np.concatenate([x, asked]), np.concatenate([weight, asked_weight])
    keep = weight > 0
    x, weight = x[keep], weight[keep]
    if not len(x):
        return None
    order = np.argsort(x, kind="stable")
    x, weight = x[order], weight[order]
    total = np.concatenate([[0.0], np.cumsum(weight)])
    until = np.searchsorted(x, x + VOTE_NS, side="right")
    votes = total[until] - total[: len(x)]
    best = int(np.argmax(votes))
    elsewhere = (x > x[best] + VOTE_NS) | (x < x[best] - VOTE_NS)
    second = float(votes[elsewhere].max()) if elsewhere.any() else 0.0
    if votes[best] < VOTE_LEAST or votes[best] - second < VOTE_AHEAD:
        return None
    x, weight = x[best : until[best]], np.cumsum(weight[best : until[best]])
    low, high = x[np.searchsorted(weight, [0.1 * weight[-1], 0.9 * weight[-1]])].tolist()
    return low, high - low + MIN_DELAY_NS, len(x)


def _lookup_votes(found: Found) -> tuple[Ints, Floats]:
    """Differences of lookups with a question that one connection or datagram of each side alone asked, and what an equal id is worth."""
    v, h = found.v, found.h
    mine, others = (
        only((i, [key]) for i, key in enumerate(question_keys(v.lookups))),
        only((j, [key]) for j, key in enumerate(question_keys(h.lookups))),
    )
    there, here = h.asked_ns, v.asked_ns
    x = [int(there[others[k]] - here[i]) for k, i in mine.items() if k in others and there[others[k]] != MISSING and here[i] != MISSING]
    return np.array(x, dtype=np.int64), np.full(len(x), max(SAME_LOOKUP - np.log(max(len(mine), len(others), 1)), 0.0))
