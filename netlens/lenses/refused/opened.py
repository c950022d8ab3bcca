"""Connections that a relay opens of its own accord: for each request anew, though the program keeps one; or for no request at all (health checks).

A limit on new connections over time and one on requests over time refuse the same requests where nearly each is sent on a connection of its own. Then it is
not seen which of them it is: whether the program sends too much, or the relay opens too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netlens.chains.situation import VM, Requests, Situation
from netlens.lenses.refused import kernels
from netlens.lenses.refused.counting import Adjustment
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.lenses.refused.over_time import Fit
    from netlens.lenses.refused.weighing import Weighing

NEARLY_ALL = 0.8  #: share of the requests that must come first on their connection for the two limits to look the same
OTHERS = Adjustment(others_side=True)


def spared_if_kept(weighing: Weighing) -> float:
    """Share of the refusals at the limit over time that would be below it, were it one on new connections, had relays opened none but for those that programs
    opened; 0 where a limit on connections does not look the same."""
    fits, r = weighing.by_time, weighing.situation.requests
    if not fits or fits[0].limiter.COUNTS == "bytes" or not each_anew(r):
        return 0.0
    fit = fits[0]
    at = weighing.met(fit)
    if not at.any():
        return 0.0
    gone = at & r.added
    for side in np.unique(r.side).tolist() if fit.scope == "side" else [None]:
        rows = np.flatnonzero(~r.added if side is None else ~r.added & (r.side == side))
        gone[rows] = at[rows] & (_counts(weighing, fit, rows) < fit.value)
    return float(gone.sum() / at.sum())


def each_anew(requests: Requests) -> bool:
    """Whether nearly each request is sent on a connection of its own, some of them by a relay alone."""
    return bool(requests.added.any()) and len(np.unique(requests.session)) >= NEARLY_ALL * len(requests)


def _counts(weighing: Weighing, fit: Fit, rows: np.ndarray) -> np.ndarray:
    """What each of these requests meets if only they were sent, each on a connection of its own; the most that any edge of the window gives."""
    starts, counts = weighing.situation.requests.start_ns[rows], np.zeros(len(rows), np.int64)
    for score in fit.limiter.scores(starts, np.ones(len(rows)), fit.parameter_s):
        each = np.zeros(len(rows), np.int64)
        kernels.whole(score, np.zeros(len(rows)), each)
        counts = np.maximum(counts, each)
    return counts + fit.lower(starts)


def unasked(weighing: Weighing) -> int:
    """How many connections a relay may have opened that stand for no program's, if these may be why: without what is not the side's own, refusals at the
    limit would have met less. Else 0."""
    n = int(weighing.situation.facts.get("unasked", 0))
    if not n or weighing.named or weighing.chance:
        return 0
    if weighing.by_time:
        return n if weighing.by_time[0].scope == "egress" else 0
    shares = [weighing.shares(fit, OTHERS).high for fit in weighing.grounds]
    return n if not shares or max(shares) > 0 else 0


def share_of_others(situation: Situation) -> float:
    """Share of the connections that are not the VM's which a relay may have opened by itself."""
    others = int((situation.sessions.side != VM).sum())
    return min(int(situation.facts.get("unasked", 0)) / others, 1.0) if others else 0.0


def needed(weighing: Weighing) -> str:
    """What would tell a limit on new connections from one on requests."""
    r = weighing.situation.requests
    opened, kept = len(np.unique(r.session)), len(np.unique(r.session[~r.added]))
    return (
        f"a recording in which the relay keeps its connections to the provider and uses them again: it opened {opened:,} for the {kept:,} that programs "
        "opened, and a limit on new connections refuses the same requests here as one on requests"
    )


def without_its_own(n: int) -> str:
    """What would tell whether connections of a relay's own are why."""
    return (
        f"a recording in which the relay asks nothing by itself (health checks off): {plural(n, 'connection')} to the provider "
        f"{'is' if n == 1 else 'are'} not for any request that it was asked, and may be its own"
    )
