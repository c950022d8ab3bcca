"""How likely each cause is: told with few refusals; up to fifty, what is next to certain is supported, and what is not likely is not.

Theory of operation
-------------------
1. What may refuse (:class:`Possibility`): each rule on what is open; a limit that refuses only some of what reaches it, as it is of a single model; each limit
   over time; chance; a limit over time that had been used up before the recording began; or something that is none of these. How well each explains which
   requests were refused is its likelihood, the price of its search taken off; times how usual it is (:data:`USUAL`), these add up to 1.
2. Under each, a cause is one if at least half of the refusals at the limit go with it (the mean over all limits that fit as well); under chance, the cause is
   the provider. Where several together are one, or it is unknown whose requests are, no cause gets the share of that rule.
3. Retries of one refusal are hardly independent evidence: likelihoods are the mean of those of all labels and of first refusals only.
4. That there are few refusals is given, and no evidence for any rate at which chance refuses: it is asked which requests these are, of as many.
5. What is uncertain in counts is read in two ways (:func:`possibilities`). Verdicts must hold by both: connections may count that began or ended a moment
   before the request, though the coin tossed for each makes their rule look bad.
6. Limits over time are searched for, so what they alone make likely is supported by a rule of their own or not at all.
7. Kinds of limiters are judged by the same sum, of the cause that is named where one is, so that they never contradict it.

:data:`USUAL`, :data:`HIDDEN`, :data:`EGRESS` and :data:`EXACT` were fitted on 1,713 simulated situations with 1 to 49 refusals; docs/calibration.md has what
comes of them on others.

Limits: it is a probability among situations like those that are simulated. Several causes may be true at once, so their sum may be more than 1.
Source: Bayesian model averaging (Hoeting, Madigan, Raftery, Volinsky 1999).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import comb, log
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from netlens import logs
from netlens.chains.situation import HOST, VM
from netlens.lenses.refused import causes, limit
from netlens.lenses.refused.counting import ALONE
from netlens.lenses.refused.judging import HALF
from netlens.lenses.refused.opened import each_anew, share_of_others

if TYPE_CHECKING:
    from netlens.columns import Bools, Ints
    from netlens.lenses.refused.limit import RuleFit
    from netlens.lenses.refused.weighing import Weighing

FEWEST, MOST = 1, 9  #: refusals of which probabilities are told; with more, verdicts tell
WEIGHED = 49  #: refusals up to which what is next to certain is supported: with more, what models lack weighs more than what they have
#: How usual each is, in log units: a rule on what is open (all of them together), one that refuses only some of what reaches it, each limit on requests or
#: bytes over time, chance, a limit over time that was used up before, and anything else.
USUAL = {"open": 0.0, "partly": -4.0, "rate": -4.75, "volume": -7.0, "chance": -3.0, "before": -6.5, "else": -7.0}
#: log units by which chance is less usual where fewer than so many were accepted: a limit has little to show itself by there
HIDDEN, FEW = 1.5, 10
EGRESS = 0.5  #: log units by which a rule per egress address is more usual where one per side fits as well: then the other side held something each time
#: log units by which all but limits over time are less usual where the provider says that too much was sent over time; and these, where it says that too much
#: is in progress, which is sometimes said of them as well, and most refusals came while something was
SAID, SAID_OPEN = 4.0, 2.0
EXACT = 0.9  #: how often counts tell exactly which refusals go with a cause; else any share of them is as likely
BURSTS_S = (2.0, 5.0, 10.0, 20.0, 40.0)  #: for how long an overload may last that one refusal shows
LIMITS = 6  #: that a rule on what is open is taken to have tried
#: Causes and kinds where it is none of these: as often as they are.
ELSE = {"own-concurrency": 0.4, "own-rate": 0.2, "same-nat-ip": 0.2, "keep-alive": 0.2, "concurrency": 0.8, "rate": 0.2}
KINDS = ("concurrency", "rate", "volume", "overload")  #: of limiters, whose probabilities are told as well
LIKELY = 0.7  #: probability below which no cause is supported
NEGLIGIBLE = 15.0  #: log units by which a limit over time must be less likely than the best to be of no weight: one of three million
POSSIBLE = 0.1  #: probability from which on none is refuted, all that may refuse taken to be as usual: that something is rare is no evidence against it
SURE = 0.96  #: from which on one is supported though no rule passes its test, by either reading; no limit that explains three is more likely than that
FEWEST_TOLD = 3
SURE_OF_CHANCE = 0.85  #: the same of chance, which has tests of its own to pass besides
CHAINS = 4  #: refusals that are no retries of each other, which it takes for chance
AGAIN = 3  #: the same for what is next to certain, where no limit was reached twice
ACCEPTED = 2  #: accepted requests, which that takes too
SUREST = 0.98  #: with so few refusals nothing is surer


#: How usual something is, how well it explains the labels, both in log units, and what it means: :attr:`Possibility.holds`.
Weight = tuple[float, float, dict[str, float]]


class Possibility(NamedTuple):
    """Something that may refuse. weight : its share of all.  evidence : the same were all as usual.

    holds : causes and kinds of limiters that it means, and in which share of such cases.
    """

    weight: float
    evidence: float
    holds: Mapping[str, float]


def probability(possibilities: Sequence[Possibility], name: str, given: str | None = None) -> float | None:
    """Of a cause or kind, perhaps given a cause; None where there is nothing to tell it by."""
    if given is not None:
        possibilities = [each._replace(weight=each.weight * each.holds.get(given, 0.0)) for each in possibilities]
    total = sum(each.weight for each in possibilities)
    if not total:
        return None
    return round(min(max(sum(each.weight * each.holds.get(name, 0.0) for each in possibilities) / total, 1 - SUREST), SUREST), 3)


def over_time(possibilities: Sequence[Possibility], cause: str) -> bool:
    """Whether it is rather by limits over time that it is a cause: these are searched for, and believed only by a rule of their own."""
    return sum(probability(possibilities, kind, cause) or 0.0 for kind in ("rate", "volume")) >= HALF


def possible(possibilities: Sequence[Possibility], cause: str) -> bool:
    """Whether the evidence leaves a cause possible, however unusual it is."""
    return sum(each.evidence * each.holds.get(cause, 0.0) for each in possibilities) >= POSSIBLE


def possibilities(weighing: Weighing) -> tuple[list[Possibility], list[Possibility]]:
    """All that may refuse, by two readings: what is uncertain in counts is a toss of a coin, or fits every rule on what is open. Empty where there are no
    refusals, or nothing can be compared.

    Also empty where what leaves was not captured: whoever else counts cannot be weighed then; and where a relay opens a connection for each request: no
    possibility here is a limit on new connections.
    """
    i = weighing.inference
    if not weighing.situation.egress_seen or each_anew(weighing.situation.requests) or not FEWEST <= i.refused <= WEIGHED or not i.fits:
        return [], []
    if weighing.refusal_class in (logs.QUOTA, logs.OVERLOAD):
        return [], []
    plain, kindly = _open(weighing)
    others = [*_partly(weighing), *_over_time(weighing), *_chance(weighing)]
    plain, kindly = (_relays_own(weighing, _as_said(weighing, [*each, *others])) for each in (plain, kindly))
    return _weighed(plain), _weighed(kindly)


def _as_said(weighing: Weighing, found: list[Weight]) -> list[Weight]:
    """Where the provider says that it counts over time, what does not is less usual; and what does, where it says that it counts what is in progress, and
    that may be."""
    if weighing.says_rate:
        return [(usual - SAID * holds.keys().isdisjoint(("rate", "volume")), evidence, holds) for usual, evidence, holds in found]
    i = weighing.inference
    if weighing.refusal_class == logs.CONCURRENCY and any(fit.hits >= HALF * i.refused for fit in i.fits):
        return [(usual - SAID_OPEN * ("rate" in holds or "volume" in holds), evidence, holds) for usual, evidence, holds in found]
    return found


def _relays_own(weighing: Weighing, found: list[Weight]) -> list[Weight]:
    """What others fill a relay may fill by itself, as far as what they opened may be its own: it is as likely."""
    share = share_of_others(weighing.situation) / 2
    if not share:
        return found
    theirs = [holds.get("same-nat-ip", 0.0) for *_, holds in found]
    return [
        (usual, evidence, {**holds, "same-nat-ip": (1 - share) * a, "multiplexing": max(holds.get("multiplexing", 0.0), share * a)})
        for (usual, evidence, holds), a in zip(found, theirs, strict=True)
    ]


def _weighed(found: list[Weight]) -> list[Possibility]:
    usual, evidence = (np.array([each[k] for each in found]) for k in (0, 1))
    weights, alike = (each / each.sum() for each in (np.exp(x - x.max()) for x in (usual + evidence, evidence)))
    return [Possibility(w, e, holds) for w, e, (_, _, holds) in zip(weights.tolist(), alike.tolist(), found, strict=True)]


def _open(weighing: Weighing) -> tuple[list[Weight], list[Weight]]:
    """Of each rule on what is open, by both readings. Places that stay taken for much longer than any answer takes are a window in other words."""
    out: tuple[list[Weight], list[Weight]] = [], []
    fits = [fit for fit in weighing.inference.fits if not weighing.long_held(fit)]
    for fit in fits:
        if fit.hits < HALF * weighing.inference.refused:
            continue  # a limit that is hardly reached is chance in other words
        usual = USUAL["open"] + EGRESS * (fit.rule.scope == "egress")
        holds = _holds(weighing, fit) | {"concurrency": 1.0}
        of_all = (fit.log_likelihood, fit.possible_log_likelihood)
        for readings, every, first in zip(out, of_all, _of_first(weighing, fit), strict=True):
            readings.append((usual, (every + first - fit.price) / 2 - log(LIMITS * len(fits)), holds))
    return out


def _holds(weighing: Weighing, fit: RuleFit) -> dict[str, float]:
    """The causes that a rule on what is open means: the mean over all limits that fit as well."""
    limits = sorted({*range(max(fit.low, 1), min(fit.high, fit.low + LIMITS) + 1), fit.value})
    found: dict[str, float] = {}
    for cause, away in (*causes.taken_away().items(), ("own-concurrency", ALONE)):
        each = [weighing.without(fit, away, value) for value in limits]
        found[cause] = float(np.mean([_at_least_half(int((w.kept if away == ALONE else w.gone).sum()), int(w.at.sum())) for w in each]))
    return found


def _partly(weighing: Weighing) -> list[Weight]:
    """Of each limit on requests that refuses only some of what reaches it, as it is of a single model, or as something else refuses, too: nearly nothing
    below is refused, and any that many of those above are as likely."""
    out: list[Weight] = []
    fits = weighing.conditional
    labelled = weighing.situation.requests.rejected >= 0
    for fit in fits:
        likelihoods = [
            sum(_some_refused(weighing.refused[rows], fit.counts.count[rows] >= value) for rows in (weighing.inference.first, labelled)) / 2
            for value in range(1, LIMITS + 1)
        ]
        best = max(likelihoods)
        value = likelihoods.index(best) + 1
        holds = _holds(weighing, replace(fit, low=value, high=value, value=value))
        usual = USUAL["partly"] + EGRESS * (fit.rule.scope == "egress")
        out.append((usual, best - log(LIMITS * len(fits)), holds | {"concurrency": 1.0}))
    return out


def _some_refused(rejected: Bools, at: Bools) -> float:
    """Log probability of these refusals, given how many of those ``at`` the limit are."""
    below = rejected[~at]
    return _steady(rejected[at]) + limit.log_noise(float(below.sum()), float((~below).sum()))


def _of_first(weighing: Weighing, fit: RuleFit) -> tuple[float, float]:
    """The log likelihood of first refusals, by both readings."""
    r, used, left_out = weighing.situation.requests, weighing.inference.first, 0.0
    if fit.other_account is not None:
        theirs = used & (r.side == fit.other_account)
        used, left_out = used & ~theirs, limit.log_noise(0, int(theirs.sum())) - limit.OTHER_ACCOUNT
    plain, kindly = limit.likelihoods(fit.counts, weighing.refused, used, fit.limits)
    return left_out + float(plain.max()), left_out + float(kindly.max())


def _over_time(weighing: Weighing) -> list[Weight]:
    """Of each limit over time."""
    out: list[Weight] = []
    each = [(fit.log_likelihood + fit.first_log_likelihood) / 2 for fit in weighing.time_fits]
    for fit, evidence in zip(weighing.time_fits, each, strict=True):
        if evidence < max(each) - NEGLIGIBLE:
            continue
        found = weighing.alone(fit)
        shared = _at_least_half((found.least + found.most) // 2, int(found.at.sum()))
        out.append((USUAL[fit.limiter.KIND], evidence, {"same-nat-ip": shared, "own-rate": 1.0 - shared, fit.limiter.KIND: 1.0}))
    return out


def _chance(weighing: Weighing) -> list[Weight]:
    """Of chance, of a limit over time that one side reached by what is not seen, of one that was used up before, and of one that nobody thought of."""
    r = weighing.situation.requests
    rows = (weighing.inference.first, r.rejected >= 0)
    chance = float(np.mean([_by_chance(weighing.refused[each], r.start_ns[each]) for each in rows]))
    before = float(np.mean([_at_first(weighing.refused[each]) for each in rows]))
    both = bool((r.side == VM).any() and (r.side == HOST).any())
    own: list[Weight] = []
    if shut_out := weighing.shut_out:
        own.append((USUAL["before"], -log(1 + (r.side == shut_out[0]).sum()), {"own-rate": 1.0, "rate": 1.0}))
    if weighing.says_rate and (one := weighing.of_one_side) is not None:  # what it counts is not seen: tokens of answers, or one model
        theirs = [each & (r.side == one[0]) for each in rows]
        unseen = float(np.mean([_by_chance(weighing.refused[each], r.start_ns[each]) for each in theirs]))
        own.append((USUAL["rate"], unseen, {"own-rate": 1.0, "rate": 1.0}))
    return [
        *own,
        (USUAL["chance"] - HIDDEN * (weighing.inference.accepted < FEW), chance, {"provider": 1.0, "overload": 1.0}),
        (USUAL["before"], before, {"own-rate": 1.0, "rate": 1.0}),
        (USUAL["else"], chance, {name: share for name, share in ELSE.items() if both or name != "same-nat-ip"}),
    ]


def _by_chance(rejected: Bools, start_ns: Ints) -> float:
    """Log probability of these refusals, given how many there are, at one rate or in bursts: of requests that follow each other, or of so many seconds."""
    return max(_steady(rejected), _bursts(rejected), _for_seconds(rejected, start_ns)) if len(rejected) > 1 else _steady(rejected)


def _steady(rejected: Bools) -> float:
    """The same at one rate: any that many are as likely."""
    return limit.one_rate(rejected) + log(len(rejected) + 1)


def _bursts(rejected: Bools) -> float:
    """The same where one refusal makes the next more likely."""
    after, calm = rejected[1:][rejected[:-1]], rejected[1:][~rejected[:-1]]
    return limit.one_rate(after) + _steady(calm) + log(0.5)


def _for_seconds(rejected: Bools, start_ns: Ints) -> float:
    """The same where one refusal makes those more likely that come within some seconds of it."""
    latest = np.maximum.accumulate(np.where(rejected, start_ns, start_ns[0] - 2 * int(max(BURSTS_S) * 1e9)))
    since_s = (start_ns[1:] - latest[:-1]) / 1e9
    soon = [np.append(False, since_s <= most) for most in BURSTS_S]
    return max(limit.one_rate(rejected[each]) + _steady(rejected[~each]) for each in soon) + log(0.5) - log(len(BURSTS_S))


def _at_first(rejected: Bools) -> float:
    """The same in bursts, all the time or up to the last refusal."""
    until = int(np.flatnonzero(rejected)[-1]) + 1
    return max(_bursts(rejected), _bursts(rejected[:until]) + limit.log_noise(0, len(rejected) - until)) - log(2)


def _at_least_half(k: int, n: int) -> float:
    """Probability that a cause is behind at least half of all refusals, where it is behind ``k`` of the ``n`` at the limit.

    As a rule it is what the counts say (:data:`EXACT`). Else any share was as likely before: that of a Beta(k + 1, n - k + 1) distribution above 1/2, which is
    that of at most k heads in n + 1 tosses of a coin. One that is behind none is none: most are not at work at all.
    """
    if not k:
        return 0.0
    counted = 1.0 if 2 * k > n else HALF if 2 * k == n else 0.0
    return EXACT * counted + (1 - EXACT) * sum(comb(n + 1, heads) for heads in range(k + 1)) / 2 ** (n + 1)
