"""Limits on what is open that are not plain: places given back late, a limit that changes while it is recorded, and models that count by themselves.

Claim: as a plain rule, but a request stays counted for a while after its answer, or after it was broken off; or the limit has other values at other
times; or small requests and large ones, which go to different models, have a limit each.
Theory of operation: tried only where the plain rules leave exceptions (more than a few, but for models, which sizes show). Late release is one more
number, searched for from a fraction of a second to a minute; changes are found one by one, each where it explains most (binary segmentation). Both searches
cost the log of what was tried, a change its two numbers.
The likelihood of first refusals against chance in bursts, price taken off, bounds p as in :mod:`netlens.lenses.refused.over_time`.
Cannot be told from: a sliding window, where all answers take equally long (late release); two limiters at once (changes).
Source: load balancers that count by connection and notice its end late; providers that lower limits under load (docs.z.ai: adjusted by load).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import lgamma
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.chains.situation import REJECTED, Requests, Situation
from netlens.lenses.refused import limit
from netlens.lenses.refused.counting import Counts, Rule, models, others, patience, rules

if TYPE_CHECKING:
    from netlens.columns import Bools, Floats, Ints
    from netlens.lenses.refused.limit import RuleFit

LATE_S = tuple(0.2 * 1.25**k for k in range(26))  #: to 53 s
BROKEN_S = tuple(0.05 * 1.25**k for k in range(24))  #: to 8 s: pauses of streams
FINE = 6  #: values between two of them
ROUND_S = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0)
EXCEPTIONS = 0.03  #: of the refusals, or of the accepted requests if these are fewer; fewer are what counts of any rule leave
FEW = 3  #: exceptions that nobody explains
RARE = 2.0  #: log units against what is not plain; but that a server learns of a broken-off answer when it writes is usual (netlens.chains.noticed)
MOST_CHANGES = 3
APART = 8  #: requests between two changes
HIGHEST = 64  #: limits that are tried where it may change
MOST = 20_000  #: requests


def _share_sessions(requests: Requests) -> bool:
    """Whether any were in progress side by side on one connection (HTTP/2), whose places cannot be told from their own by order."""
    r = requests
    rows = np.lexsort((r.start_ns, r.session))
    same = (r.session[rows][1:] == r.session[rows][:-1]) & (r.session[rows][1:] >= 0)
    return bool((same & (r.start_ns[rows][1:] < r.end_ns[rows][:-1])).any())


def better(situation: Situation, fits: list[RuleFit], labelled: Bools, first: Bools) -> RuleFit | None:
    """What explains the labels clearly better than the best plain rule; None if nothing does."""
    best = fits[0]
    some_broken = bool(situation.requests.broken_off.any())
    rejected = situation.requests.rejected == REJECTED
    exceptions = best.misses + best.false_alarms
    if some_broken:  # or may be ones, as their counts are uncertain
        exceptions = max(exceptions, int((rejected & labelled).sum()) - best.hits)
    fewer = min(best.hits, int((~rejected & labelled).sum()))  # that nearly all is refused is explained by any limit that is always reached
    if not exceptions or len(situation.requests) > MOST:
        return None
    plain = [rule for rule in rules(situation) if not rule.per_address]
    counted = [rule for rule in plain if rule.unit == "requests"]
    found = [_by_model(situation, rule, labelled) for rule in counted]  # which sizes show, however few exceptions there are
    if exceptions > max(FEW, EXCEPTIONS * fewer):
        found += [_late(situation, rule, "held_s", labelled, LATE_S) for rule in counted]
        if some_broken:
            found += [_late(situation, rule, "broken_s", labelled, BROKEN_S) for rule in counted]
            # a server that learns of a broken-off answer with its next write
            found += [(limit.at_its_best(situation, replace(rule, by_writes=True), labelled), 0.0) for rule in counted]
        found += [_changing(situation, f, labelled) for f in fits]
        if patience(situation.requests) is not None and not _share_sessions(situation.requests):
            found += [(limit.at_its_best(situation, replace(rule, waited=True), labelled), 0.0) for rule in counted]
    ours = max((each for each in found if each is not None), key=lambda each: each[0].log_likelihood - each[1], default=None)
    if ours is None:
        return None
    fit, price = ours
    price += float(np.log(len(plain))) + (0.0 if fit.rule.by_writes else RARE)
    if fit.log_likelihood - price < best.log_likelihood + limit.TIE:
        return None
    return priced(fit, price, rejected, first)


def priced(fit: RuleFit, price: float, rejected: Bools, first: Bools) -> RuleFit:
    """A rule that was searched for, with what the search cost in log units taken off, and how often chance does as well at most."""
    alone = float(limit.likelihoods(fit.counts, rejected, first, fit.limits)[0].max()) - price
    p = float(min(1.0, np.exp(min(limit.by_chance(rejected[first]) - alone, 0.0))))
    return replace(
        fit,
        log_likelihood=fit.log_likelihood - price,
        possible_log_likelihood=fit.possible_log_likelihood - price,
        p_raw=p,
        p=p,
        price=price,
    )


def _late(situation: Situation, rule: Rule, late: str, labelled: Bools, grid: tuple[float, ...]) -> tuple[RuleFit, float] | None:
    """The rule with places given back so many seconds late, one of ``grid`` or between two of them. ``late``: the field that says so."""
    found: dict[float, RuleFit] = {}

    def tried(late_s: float) -> float:
        if late_s not in found:
            changed: Any = {late: late_s}
            found[late_s] = limit.at_its_best(situation, replace(rule, **changed), labelled)
        return found[late_s].log_likelihood

    peak = max(grid, key=tried)
    at = grid.index(peak)
    for late_s in np.linspace(grid[max(at - 1, 0)], grid[min(at + 1, len(grid) - 1)], 2 * FINE + 3).tolist():
        tried(round(late_s, 3))
    best = max(fit.log_likelihood for fit in found.values())
    as_good = sorted(late_s for late_s, fit in found.items() if fit.log_likelihood >= best - 1e-9)
    between = [each for each in ROUND_S if as_good[0] <= each <= as_good[-1]]
    late_s = between[len(between) // 2] if between else as_good[len(as_good) // 2]
    tried(late_s)
    chosen = late_s if found[late_s].log_likelihood >= best - 1e-9 else as_good[len(as_good) // 2]
    return found[chosen], float(np.log(len(grid)))


def _changing(situation: Situation, plain: RuleFit, labelled: Bools) -> tuple[RuleFit, float] | None:
    """The rule with a limit that changes where that explains most."""
    rule = plain.rule
    r = situation.requests
    used = labelled if plain.other_account is None else labelled & (r.side != plain.other_account)
    rows = np.flatnonzero(used)
    highest = min(int(plain.counts.high[rows].max(initial=0)) + 1, HIGHEST)
    if rule.per_address or len(rows) < 2 * APART or highest < 2:
        return None
    tables = _tables(plain.counts, (r.rejected == REJECTED)[rows], rows, highest)
    cuts, price = _split(tables, 0, len(rows), 0)
    if not cuts:
        return None
    edges = [0, *sorted(cuts), len(rows)]
    values = (1 + _of(tables, np.array(edges[:-1]), np.array(edges[1:])).argmax(axis=0)).tolist()
    most = max(values)
    changes = tuple((int(r.start_ns[rows[a]]) if a else int(r.start_ns[0]), most - value) for a, value in zip(edges, values, strict=False))
    changes = tuple(each for k, each in enumerate(changes) if not k or each[1] != changes[k - 1][1])
    if len(changes) < 2:
        return None
    return limit.at_its_best(situation, replace(rule, changes=changes), labelled), price


def _by_model(situation: Situation, rule: Rule, labelled: Bools) -> tuple[RuleFit, float] | None:
    """The rule for small and large requests by themselves, each with its own limit."""
    which, rejected = models(situation.requests), situation.requests.rejected == REJECTED
    if not which.any():
        return None
    counts = others(situation, replace(rule, models=(0, 0)))
    limits = np.arange(1, min(int(counts.high[labelled].max(initial=0)) + 1, HIGHEST) + 1)
    best = [int(limits[limit.likelihoods(counts, rejected, labelled & (which == k), limits)[0].argmax()]) for k in (0, 1)]
    lower = (max(best) - best[0], max(best) - best[1])
    return limit.at_its_best(situation, replace(rule, models=lower), labelled), float(np.log(len(limits)))


def _tables(counts: Counts, rejected: Bools, rows: Ints, highest: int) -> list[Ints]:
    """Running sums over the requests, by limit: refused at or above, accepted at or above, refused below, accepted below."""
    limits = np.arange(1, highest + 1)[:, None]
    above, below = counts.low[rows][None, :] >= limits, counts.high[rows][None, :] < limits
    out = []
    for mask in (above & rejected, above & ~rejected, below & rejected, below & ~rejected):
        out.append(np.concatenate([np.zeros((highest, 1), np.int64), np.cumsum(mask, axis=1)], axis=1))
    return out


@lru_cache(4)
def _log_gamma(most: int) -> tuple[Floats, Floats, Floats]:
    """Log gamma of what :func:`netlens.lenses.refused.limit.log_noise` asks for, of whole numbers up to ``most``: wrong, right, and both."""
    wrong, right, both = (np.array([lgamma(k + more) for k in range(most + 1)]) for more in (1.0, limit.NOISE, 1.0 + limit.NOISE))
    return wrong, right, both


def _of(tables: list[Ints], begin: Ints, end: Ints) -> Floats:
    """Log likelihood of the requests from each of ``begin`` to the ``end`` beside it, at each limit: float64[limits, stretches]."""
    hit, alarm, miss, calm = (table[:, end] - table[:, begin] for table in tables)
    wrong, right, both = _log_gamma(1 << tables[0].shape[1].bit_length())
    alone = limit.log_beta(1.0, limit.NOISE)

    def noise(a: Ints, b: Ints) -> Floats:
        found: Floats = wrong[a] + right[b] - both[a + b] - alone
        return found

    return noise(alarm, hit) + noise(miss, calm) + (end - begin - hit - alarm - miss - calm) * np.log(0.5)


def _split(tables: list[Ints], begin: int, end: int, depth: int) -> tuple[list[int], float]:
    """(where to cut, what that costs)."""
    if depth >= MOST_CHANGES or end - begin < 2 * APART:
        return [], 0.0
    places = np.unique(np.linspace(begin + APART, end - APART, 200).astype(np.int64))
    first, last = np.array([begin]), np.array([end])
    whole = float(_of(tables, first, last).max())
    gain = _of(tables, first, places).max(axis=0) + _of(tables, places, last).max(axis=0) - whole
    best = int(gain.argmax())
    at = int(places[best])
    price = float(np.log(len(places)) + np.log(tables[0].shape[0]))
    if gain[best] < price + limit.TIE:
        return [], 0.0
    lefts, left_price = _split(tables, begin, at, depth + 1)
    rights, right_price = _split(tables, at, end, depth + 1)
    return [*lefts, at, *rights], price + left_price + right_price
