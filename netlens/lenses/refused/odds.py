"""With few refusals: how likely each cause is.

Theory of operation
-------------------
1. What may refuse: each rule on what is open, each limit over time, or chance. How well each explains the labels is its likelihood, the price of its search
   taken off; times how usual it is (:data:`PRIOR`), these add up to 1.
2. Under each, a cause is one if at least half of the refusals at the limit go with it; under chance, or if none is, the cause is the provider. Where it is
   unknown whose requests are, and so whether a cause is one, no cause gets the share of that rule.
3. Retries of one refusal are no independent evidence: likelihoods are of first refusals only.
4. The sum is too sure of itself, as situations are not drawn as the rules are. So its log odds are corrected by a line that was fitted on simulated
   situations with 1 to 9 refusals (``python -m tests.bench.calibration --seeds tune``); docs/calibration.md has what comes of it on others.

Limits: it is a probability among situations like those that are simulated. Causes are judged one by one, so their sum may be more or less than 1.
Source: Bayesian model averaging (Hoeting, Madigan, Raftery, Volinsky 1999); Platt scaling (Platt 1999).
"""

from __future__ import annotations

from math import exp, log
from typing import TYPE_CHECKING

import numpy as np

from netlens import logs
from netlens.chains.situation import UNKNOWN
from netlens.lenses.refused import causes, limit
from netlens.lenses.refused.counting import ALONE
from netlens.lenses.refused.judging import HALF
from netlens.lenses.refused.over_time import without_others

if TYPE_CHECKING:
    from netlens.columns import Bools
    from netlens.lenses.refused.weighing import Weighing

FEWEST, MOST = 1, 9  #: refusals; with more, verdicts tell
#: How usual each is, in log units, and how many limits a rule on what is open is taken to have tried.
PRIOR = {"open": 0.0, "time": -2.0, "chance": -0.5}
LIMITS = 6
#: Log odds are taken times the first and plus the second: of a cause, of the provider as the cause, of a kind of limiter, of overload as the kind.
CORRECTED = {"cause": (0.50, 0.2), "provider": (0.41, -1.7), "kind": (0.585, 0.35), "overload": (0.365, -1.3)}
KINDS = ("concurrency", "rate", "volume", "overload")  #: of limiters, whose probabilities are told as well
LIKELY = 0.5  #: probability below which no cause is supported; but the provider, whose own test is the stricter one (10 of 10 right in simulations)
POSSIBLE = 0.1  #: probability from which on none is refuted
SURE = 0.85  #: from which on one is supported though no rule passes its test: in simulations all of these were right
SUREST = 0.98  #: with so few refusals nothing is surer


def probabilities(weighing: Weighing) -> dict[str, float]:
    """The probability of each cause by its id, and of each of :data:`KINDS`; empty where there are no refusals, or enough, or nothing can be compared.

    Also empty where what leaves was not captured: whoever else counts cannot be weighed then.
    """
    i = weighing.inference
    if not weighing.situation.egress_seen:
        return {}
    if not FEWEST <= i.refused <= MOST or not i.fits or weighing.refusal_class in (logs.QUOTA, logs.OVERLOAD):
        return {}
    return {name: corrected(p, name if name in CORRECTED else "kind" if name in KINDS else "cause") for name, p in sums(weighing).items()}


def corrected(p: float, line: str) -> float:
    p = min(max(p, 1e-4), 1 - 1e-4)
    slope, shift = CORRECTED[line]
    odds = slope * log(p / (1 - p)) + shift
    return round(min(max(1 / (1 + exp(-odds)), 1 - SUREST), SUREST), 3)


def sums(weighing: Weighing) -> dict[str, float]:
    """The share of what may refuse under which each cause is one."""
    i = weighing.inference
    taken_away = causes.taken_away()
    ids = (*taken_away, "own-concurrency", "own-rate", "provider", *KINDS)
    rejected = weighing.refused
    whose_unknown = bool((weighing.situation.requests.side == UNKNOWN).any())
    weights, holds = [PRIOR["chance"] + limit.by_chance(rejected[i.first])], [{"provider", "overload"}]
    for fit in i.fits:
        limits = np.arange(max(fit.low, 1), fit.high + 1)
        first = float(limit.likelihoods(fit.counts, rejected, i.first, limits)[0].max())
        weights.append(PRIOR["open"] + first - fit.price - log(LIMITS * len(i.fits)))
        found = {cause: weighing.without(fit, away) for cause, away in taken_away.items()}
        true = {cause for cause, away in found.items() if _half(away.gone, away.at)}
        alone = weighing.without(fit, ALONE)
        if _half(alone.kept, alone.at):
            true.add("own-concurrency")
        open_question = whose_unknown and any(away.high >= HALF for away in (*found.values(), alone))
        holds.append((true or (set() if open_question else {"provider"})) | {"concurrency"})
    for timely in weighing.time_fits:
        weights.append(PRIOR["time"] + timely.first_log_likelihood)
        at, gone, _ = without_others(weighing.situation, timely)
        holds.append({"same-nat-ip" if at.any() and gone.sum() >= HALF * at.sum() else "own-rate", timely.limiter.KIND})
    each = np.exp(np.array(weights) - max(weights))
    each /= each.sum()
    return {cause: float(sum(w for w, true in zip(each.tolist(), holds, strict=True) if cause in true)) for cause in ids}


def _half(some: Bools, at: Bools) -> bool:
    """Whether ``some`` of the refusals ``at`` the limit are at least half of them."""
    return bool(at.any() and some.sum() >= HALF * at.sum())
