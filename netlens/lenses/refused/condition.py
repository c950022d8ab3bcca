"""A condition that refusals need: how many others must be in progress for a request to be refused at all.

Theory of operation
-------------------
1. A limit refuses all that reach it. Where the provider counts by what nobody sees (models with limits of their own, a second program without a log), or
   refuses for another reason besides, no count tells refused from accepted like that; but below the lowest of its limits nothing is refused still. So a
   *condition* is a number L of others, below which requests are refused at one rate, as a rule 0, and from which on at another that is higher.
2. All rates are integrated out under flat priors, and L is chosen from as many values as part the requests: the log of their number is what that costs.
   Against one rate for all that makes a Bayes factor, so chance exceeds 1 / p with probability p at most (Markov's inequality).
3. *Chance comes in bursts* (:func:`netlens.lenses.refused.limit.by_chance`), and in a burst as many are in progress as programs try again. So there is the
   same in bursts, too: two rates after a refusal and two after an acceptance. The better of both is compared with the better of both by chance.
4. Retries of one refusal need nothing but that refusal, so the evidence is that of first refusals only.
5. Had there always been fewer than L others, requests would have been refused at the rate a of those below, instead of the rate r of all: a share 1 - a / r of
   the refusals would not have been (the attributable fraction). Of first refusals and of all it must be half or more.

Limits: L is no limit of the provider's; what it is that refuses some from L on and not others is not known. Connections are open because of refusals, too: who
is refused tries again by another one. So only numbers of requests are conditions.
Source: Levin 1953 (attributable fraction); Kass and Raftery 1995 (Bayes factors).
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import numpy as np

from netlens.columns import Bools, Floats, Ints
from netlens.lenses.refused import limit
from netlens.lenses.refused.judging import HALF


class Condition(NamedTuple):
    """``value``: L.  misses, below, hits, above: how many were refused of how many with fewer than L others, and of those with L or more.

    evidence : log of the Bayes factor against chance.  share : of the refusals that would not have been with fewer than L others.
    """

    value: int
    misses: int
    below: int
    hits: int
    above: int
    evidence: float
    share: float

    @property
    def p(self) -> float:
        """A bound on how often chance does as well."""
        return float(min(1.0, np.exp(-max(self.evidence, 0.0))))


def evidence(count: Ints, rejected: Bools) -> float:
    """Of the best condition of requests in order of time, whatever it explains; minus infinity where no number of others goes with more refusals."""
    found = _tried(count, rejected)
    return float(found[1].max(initial=-np.inf, where=found[2])) if found is not None else -np.inf


def find(count: Ints, rejected: Bools, labelled: Bools, first: Bools) -> Condition | None:
    """The best condition that explains half of the refusals at least; None if none does.

    Parameters
    ----------
    count, rejected, labelled, first : of requests in order of time; ``first``: those labelled that are no retries.
    """
    found = _tried(count[first], rejected[first])
    if found is None:
        return None
    limits, better, higher = found
    for at in np.argsort(-better, kind="stable").tolist():
        low = count < limits[at]
        each = [_parts(rejected[some], low[some]) for some in (first, labelled)]
        share = min(1.0 - (misses + 1) / (below + 2) * (below + above) / (misses + hits) for misses, below, hits, above in each)
        if higher[at] and share >= HALF:
            return Condition(int(limits[at]), *each[1], float(better[at]), share)
    return None


def _parts(rejected: Bools, low: Bools) -> tuple[int, int, int, int]:
    """As of :class:`Condition`."""
    return int((rejected & low).sum()), int(low.sum()), int((rejected & ~low).sum()), int((~low).sum())


def _tried(count: Ints, rejected: Bools) -> tuple[Ints, Floats, Bools] | None:
    """Of each limit that parts the requests: itself, its evidence, and whether fewer are refused below it than of all."""
    limits = np.unique(count)[1:]
    if not len(limits) or not rejected.any() or rejected.all():
        return None
    after = np.append(False, rejected[:-1])
    steady, one_rate, misses, below = _rates(count, rejected, limits)
    parts = [_rates(count[some], rejected[some], limits) for some in (after, ~after)]
    explained = np.maximum(steady, sum(each[0] for each in parts) + log(0.5)) - log(len(limits))
    chance = max(one_rate, sum(each[1] for each in parts) + log(0.5))
    return limits, explained - chance, misses * len(count) < int(rejected.sum()) * below


def _rates(count: Ints, rejected: Bools, limits: Ints) -> tuple[Floats, float, Ints, Ints]:
    """Log likelihood of the labels with two rates, parted at each limit, and with one; how many were refused, and how many there were, below each limit."""
    refused, accepted = np.sort(count[rejected]), np.sort(count[~rejected])
    misses, calm = (np.searchsorted(each, limits, "left") for each in (refused, accepted))
    two = _log_beta(misses, calm) + _log_beta(len(refused) - misses, len(accepted) - calm)
    return two, limit.log_beta(len(refused) + 1.0, len(accepted) + 1.0), misses, misses + calm


def _log_beta(a: Ints, b: Ints) -> Floats:
    """Log of Beta(a + 1, b + 1)."""
    table = log_gamma(int((a + b).max(initial=0)) + 2)
    return np.asarray(table[a + 1] + table[b + 1] - table[a + b + 2])


def log_gamma(most: int) -> Floats:
    """log gamma of 1 to ``most``, at these indices."""
    return np.concatenate([[0.0, 0.0], np.cumsum(np.log(np.arange(1.0, most)))])
