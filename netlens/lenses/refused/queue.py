"""A provider that refuses nothing and lets requests wait instead: so many are served at once, the rest stand in a queue.

Claim: a request that comes while as many as the limit are served is answered when one of these is done, first come, first served.
Theory of operation: under a limit L a request is served once at most L - 1 of those that came before are unfinished, which is the L-th latest of their ends.
What it waits from then on for its first byte must be what requests wait that came to a free place; what it waited before must be much more than that.
Where the queue is never empty, so that hardly any of its requests came to a free place, what others wait is taken, who do not stand in it.
So a server that is merely slow under load is no queue: its answers do not begin when others end, and that each request in progress makes it slower
explains the waits as well, or better. Nor is a burst of a second or so, all of which may have been slow together.
Cannot be told from: a queue in a proxy on the way; requests of one program that are each sent when another is done.
Source: fal.ai documents a queue instead of refusals; HAProxy's ``maxconn`` makes one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from netlens.chains.situation import REJECTED, VM, Situation
from netlens.columns import Bools, Ints

HIGHEST = 32  #: limits that are tried
MOST = 5_000  #: requests that are looked at; a second
FEWEST = 8  #: requests that waited, and as many that did not
ALIGNED = 0.85  #: share of those that waited whose answer begins when a place was free, or as soon after as those that did not wait
LONGER = 1.5  #: times as long as others those wait that wait
BETTER = 0.7  #: share of what a server that is slower with each request in progress leaves unexplained, at most
SHORTEST_NS = 100_000_000  #: a wait that anybody would notice
LASTS_NS = 2_000_000_000  #: from the first that waits to the answer of the last; a burst, as of a page that is loaded, makes waits like any others by chance
SLACK_NS = 50_000_000  #: of a place that is given back a little sooner or later than its answer ends


@dataclass(frozen=True, eq=False)
class Queue:
    """A queue. ``value``: how many are served at once, ``low`` to ``high`` what fits as well.  waited : mask of requests.  median_ns : of what they waited."""

    scope: str
    value: int
    low: int
    high: int
    waited: Bools = field(repr=False)
    median_ns: int
    aligned: float


def fit(situation: Situation) -> Queue | None:
    """The queue that explains what requests waited; None where none does, or where something was refused."""
    r = situation.requests
    known = (r.answer_ns >= r.start_ns) & (r.answer_ns > 0)
    if (r.rejected == REJECTED).any() or situation.uncountable or situation.between or not 2 * FEWEST <= known.sum() <= MOST:
        return None
    found: list[Queue] = []
    groups = [("egress", np.ones(len(r), np.bool_))] if situation.egress_seen else []
    groups += [("side", r.side == VM)] if 0 < (r.side == VM).sum() < len(r) or not groups else []
    for scope, mine in groups:
        rows = np.flatnonzero(mine)
        tried = [each for value in range(1, HIGHEST + 1) if (each := _at(situation, scope, rows, known, value)) is not None]
        if tried:
            best = max(tried, key=lambda each: (round(each.aligned, 3), int(each.waited.sum())))
            same = [each.value for each in tried if np.array_equal(each.waited, best.waited)]
            found.append(Queue(scope, best.value, min(same), max(same), best.waited, best.median_ns, best.aligned))
    return max(found, key=lambda each: each.aligned, default=None)


def _at(situation: Situation, scope: str, rows: Ints, known: Bools, value: int) -> Queue | None:
    r = situation.requests
    start, end, answer, there = r.start_ns[rows], r.end_ns[rows], r.answer_ns[rows], known[rows]
    served = start.copy()
    latest: list[int] = []  # ends of those that came before, the latest `value` of them, in order
    for i in range(len(rows)):
        if len(latest) == value:
            served[i] = max(int(start[i]), latest[0])
        latest.append(int(end[i]))
        latest.sort()
        latest = latest[-value:]
    waited = there & (served - start > situation.uncertain_ns + SLACK_NS)
    free = there & (served == start)
    usual = np.concatenate([answer[free] - start[free], *([_of_others(situation, rows, known)] if free.sum() < FEWEST else [])])
    if waited.sum() < FEWEST or not free.any() or len(usual) < FEWEST:
        return None
    most = np.percentile(usual, 95) * (1 + len(usual) ** -0.5)  # of few, the longest is seldom among them
    low, high = np.percentile(usual, 1) - SLACK_NS, most + SLACK_NS + situation.uncertain_ns
    rest = (answer - served)[waited]
    aligned = float(((rest >= low) & (rest <= high)).mean())
    long = (answer - start)[waited]
    if aligned < ALIGNED or np.median(long) < max(LONGER * float(np.median(usual)), SHORTEST_NS):
        return None
    if int(answer[waited].max()) - int(start[waited].min()) < LASTS_NS:
        return None
    if _misses(answer - served, there) > BETTER * _misses_of_load(start, end, answer, there):
        return None
    mask = np.zeros(len(r), np.bool_)
    mask[rows[waited]] = True
    return Queue(scope, value, value, value, mask, int(np.median(long)), aligned)


def _of_others(situation: Situation, rows: Ints, known: Bools) -> Ints:
    """What requests waited that are not counted here, each while no other of its side was in progress."""
    r = situation.requests
    out = []
    for side in np.unique(r.side).tolist():
        others = np.setdiff1d(np.flatnonzero(known & (r.side == side)), rows)
        ends = np.maximum.accumulate(np.concatenate([[-1], r.end_ns[r.side == side]]))
        before = ends[np.searchsorted(r.start_ns[r.side == side], r.start_ns[others], "left")]
        alone = others[before <= r.start_ns[others]]
        out.append(r.answer_ns[alone] - r.start_ns[alone])
    return np.concatenate(out) if out else np.zeros(0, np.int64)


def _misses(rest: Ints, there: Bools) -> float:
    """By how much waits differ from what the queue says, on average."""
    return float(np.abs(rest[there] - np.median(rest[there])).mean())


def _misses_of_load(start: Ints, end: Ints, answer: Ints, there: Bools) -> float:
    """The same if each request in progress makes the wait longer by as much: a server that is slow under load."""
    load = np.array([np.count_nonzero(end[:i] > at) for i, at in enumerate(start)], np.float64)[there]
    waits = (answer - start)[there].astype(np.float64)
    slope, base = np.polyfit(load, waits, 1) if len(np.unique(load)) > 1 else (0.0, float(waits.mean()))
    return float(np.abs(waits - base - slope * load).mean())
