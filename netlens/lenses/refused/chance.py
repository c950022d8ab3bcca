"""Whether chance may be told: refusals follow neither what is open nor what was sent over time, and all that could count was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from netlens import logs
from netlens.lenses.refused import condition, limit, odds, over_time, regular
from netlens.lenses.refused.counting import patience
from netlens.lenses.refused.limit import TIE

if TYPE_CHECKING:
    from netlens.lenses.refused.weighing import Weighing

#: Log units by which limits over time may beat the chance model where chance is told: many are tried, and bursts fit some of them.
NO_BETTER = 4.0
SOME = 0.05  #: share of the requests that must have been accepted: where nearly all are refused, nothing tells which are not
LABELLED = 0.8  #: share of the requests that must have a label
#: Stretches of refusals, with so many in each, that show how long a block is, and by which share of it they may differ
STRETCHES, DENSE, ALIKE = 3, 5, 0.1
#: Refusals while nothing else was in progress: so many at least, and half as large a share as of all requests
ALONE, AS_OFTEN = 2, 0.5


def told(weighing: Weighing) -> bool:
    """Whether refusals follow no count at all: everything that could count was seen, and neither what is open nor what was sent over time tells refused from
    accepted better than bursts do, or than bursts at regular times."""
    if not weighing.inference.fits or open_evidence(weighing) > TIE:
        return False
    return weighing.may_be_chance and (time_evidence(weighing) <= NO_BETTER or weighing.regular_s > 0.0)


def regular_s(weighing: Weighing) -> float:
    """The period of an overload that comes at regular times, in s, where limits over time explain hardly more than that: as much of all labels and of first
    refusals; 0 where they do, or explain no more than chance in bursts, so that none is looked for."""
    r, over_time = weighing.situation.requests, time_evidence(weighing)
    if over_time <= NO_BETTER:
        return 0.0
    gains, periods = zip(
        *(regular.gain(weighing.refused[rows], r.start_ns[rows]) for rows in (r.rejected >= 0, weighing.inference.first)), strict=True
    )
    return periods[0] if over_time - min(gains) <= NO_BETTER else 0.0


def may_be_told(weighing: Weighing) -> bool:
    """Whether chance may be told at all: enough was seen of it, and nothing that one rate for all does not explain."""
    i, r = weighing.inference, weighing.situation.requests
    if weighing.chance_against_word or weighing.blocked_s:
        return False
    if not (i.enough and weighing.seen_whole) or i.chains < odds.CHAINS or i.accepted < weighing.accepted_wanted:
        return False
    labelled = i.refused + i.accepted
    with_labels = np.isin(r.side, np.unique(r.side[r.rejected >= 0]))
    if labelled < LABELLED * int(with_labels.sum()) or i.accepted < SOME * labelled:
        return False
    if (
        weighing.few_stretches
        or weighing.from_a_moment_on
        or weighing.of_one_side is not None
        or weighing.situation.facts.get("leaves_elsewhere")
    ):
        return False
    return patience(r) is None and not over_time.follows_windows(weighing.situation, i.first)


def against_word(weighing: Weighing) -> bool:
    """Whether the word that requests in progress are limited stands against chance: with few refusals; where answers were broken off, whose places may be given
    back each after another time; and where requests were hardly refused while nothing else was in progress, as some may weigh more than others."""
    if weighing.refusal_class != logs.CONCURRENCY:
        return False
    i, r = weighing.inference, weighing.situation.requests
    if i.refused <= odds.MOST or weighing.many_broken_off:
        return True
    known = (r.rejected >= 0) & i.first
    share = float(weighing.refused[known].mean())
    for fit in weighing.conditional:
        alone = weighing.refused[known & (fit.counts.count == 0)]
        if alone.sum() < max(ALONE, AS_OFTEN * share * len(alone)):
            return True
    return False


def blocked_s(weighing: Weighing) -> float:
    """For how long a side is refused each time, in s, where that is equally long: who exceeded a limit is blocked for a while, whatever that limit counts; an
    overload ends when it ends. 0 where it is not.

    A stretch lasts from its first refusal to between its last one and the next request that is accepted.
    """
    r = weighing.situation.requests
    for side in np.unique(r.side):
        rows = np.flatnonzero((r.side == side) & (r.rejected >= 0))
        refused, start = weighing.refused[rows], r.start_ns[rows]
        edges = np.flatnonzero(np.diff(np.concatenate([[False], refused, [False]]).astype(np.int8)))
        whole = [
            (first, behind) for first, behind in edges.reshape(-1, 2).tolist() if first and behind < len(rows) and behind - first >= DENSE
        ]
        if len(whole) < STRETCHES:
            continue
        least = max(int(start[behind - 1] - start[first]) for first, behind in whole)
        most = min(int(start[behind] - start[first]) for first, behind in whole)
        if least <= most and most - least <= ALIKE * most and min(int(start[b - 1] - start[a]) for a, b in whole) >= (1 - ALIKE) * most:
            return (least + most) / 2e9
    return 0.0


def open_evidence(weighing: Weighing) -> float:
    """Log units by which what is open tells refused from accepted better than chance, where no limit does: the mean of the best limit on all labels and
    of the best condition."""
    first = weighing.inference.first
    found = max((condition.evidence(f.counts.count[first], weighing.refused[first]) for f in weighing.conditional), default=-np.inf)
    return (max(f.log_likelihood for f in weighing.inference.fits) - weighing.by_chance + (found if np.isfinite(found) else 0.0)) / 2


def time_evidence(weighing: Weighing) -> float:
    """The same of limits over time, and of bytes in progress: the mean of all labels and of first refusals."""
    first = weighing.inference.first
    by_chance = weighing.by_chance + limit.by_chance(weighing.refused[first])
    found = [f.log_likelihood + f.first_log_likelihood for f in (*weighing.time_fits, *weighing.rarer)]
    for fit in weighing.inference.sized:
        found.append(fit.log_likelihood + float(limit.likelihoods(fit.counts, weighing.refused, first, fit.limits)[0].max()) - fit.price)
    return (max(found) - by_chance) / 2 if found else 0.0
