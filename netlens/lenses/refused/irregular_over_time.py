"""Limits over time that are not plain: who exceeds one is refused for a while, and a limit that changes while it is recorded.

Claim: as a window; but a request that runs into the limit bars its side (or all, by their address) for so many seconds, whatever is sent then; or the limit
has another value from some time on.
Theory of operation: tried only where nothing else explains the refusals (who is barred also where a window leaves exceptions), and believed only with next to
no exception. Requests that come while barred are explained by the one that ran into the limit, so only the others tell how unlikely the whole is by chance
(``p``); at least :data:`TRIGGERS` must have run into it. The search costs the log of all that was tried; a change also the log of when it may have been, and of
its second value.
Cannot be told from: a quota, or an outage, where it happens once.
Source: web application firewalls and load balancers that block for a while (a mitigation time-out); providers that lower limits under load.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netlens.chains.situation import REJECTED
from netlens.lenses.refused import limit
from netlens.lenses.refused.limiters import USUAL_S, all_limiters, token_bucket
from netlens.lenses.refused.limiters._windows import span_s
from netlens.lenses.refused.over_time import UNUSUAL_S, Reading, Search, counted, fitted, paced, together

if TYPE_CHECKING:
    from netlens.chains.situation import Situation
    from netlens.columns import Bools, Ints
    from netlens.lenses.refused.over_time import Fit

BARRED_S = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0)
TRIGGERS = 4  #: times that the limit was run into
APART = 8  #: requests before and after a change
RUNS = 2  #: times that the limit was run into before a change, and after it: one run of refusals may be anything
HIGHEST = 128  #: limits that are tried where it may change
PLACES = 200  #: requests before which it may change that are tried first; then all between the two around the best
MOST = 3_000  #: requests; a second
TURNS = 2  #: windows that a recording holds at least
CUTS, AGAIN = 6, 12  #: times at which a refill may change that are tried first, and then between the two around the best
#: Share of the labels (of their log likelihood by chance) that two buckets must explain with the best of these: a twelfth of the requests is astray at most.
PROMISING = 0.3
ROUNDS = 2  #: of refining the time with the refill behind it, and then that before it
WIDE = 1.5  #: factor within which the refill behind a change lies of what it seems to be by itself
NEARBY = tuple(1.0 + k / 250 for k in range(-10, 11))  #: parts of a refill, or of both, that are tried around the best


def fits(situation: Situation, first: Bools, changing: bool = True) -> list[Fit]:
    """The best of either kind in each scope, the best first; ``first``: see :func:`netlens.lenses.refused.over_time.fits`.  changing : also of limits that
    change."""
    r = situation.requests
    labelled, refused = r.rejected >= 0, r.rejected == REJECTED
    if situation.uncountable or situation.midway_ns is not None or len(r) > MOST or not refused.any() or not (r.rejected == 0).any():
        return []
    sides, scopes = together(situation)
    chosen = [limiter for limiter in all_limiters() if not limiter.LATER and limiter.KIND == "rate" and limiter.WINDOW != "bucket"]
    accepted, out = counted(r), []
    for scope in scopes:
        groups = [np.arange(len(r))] if scope == "egress" else [np.flatnonzero(r.side == side) for side in sides]
        searches = [Search(situation, limiter, labelled, accepted, groups) for limiter in chosen]
        searches = [search for search in searches if search.possible and search.coarse]
        tries = float(np.log(len(scopes) * max(sum(len(search.coarse) * search.variants for search in searches), 1)))
        out += [found] if (found := _barring(searches, scope, first, tries)) is not None else []
        if not changing:
            continue
        out += [found] if (found := _changing(searches, scope, first)) is not None else []
        out += [found] if (found := _refilling(situation, scope, groups, first)) is not None else []
    return sorted(out, key=lambda fit: -fit.log_likelihood)


def _barred(search: Search, for_s: float) -> Bools:
    """Requests that came less than so long after one that was refused and not among them itself."""
    out, starts, refused = np.zeros(len(search.used), np.bool_), search.situation.requests.start_ns, search.rejected
    for rows in search.groups:
        until = -1
        for row, at, no in zip(rows.tolist(), starts[rows].tolist(), refused[rows].tolist(), strict=True):
            if at < until:
                out[row] = True
            elif no:
                until = at + int(for_s * 1e9)
    return out


def _barring(searches: list[Search], scope: str, first: Bools, tries: float) -> Fit | None:
    best: tuple[float, Search, float, float, Bools, Ints] | None = None
    for search in searches[:1]:  # nothing is accepted meanwhile, so that all windows are alike: the plain one is taken
        span = float(np.ptp(search.situation.requests.start_ns)) / 1e9
        bars = [(for_s, _barred(search, for_s)) for for_s in BARRED_S if TURNS * for_s <= span]
        bars = [(for_s, barred) for for_s, barred in bars if (search.used & search.rejected & ~barred).sum() >= TRIGGERS]
        for parameter_s in search.coarse:
            counts = search.counts(Reading(), parameter_s)
            for for_s, barred in bars:
                raised = np.where(barred, int(counts.max(initial=0)) + 1, counts)
                ll = search.best_at(raised, parameter_s)
                # of windows that fit as well a usual one, and the longest time for which nothing contradicts
                if best is None or (ll, parameter_s in USUAL_S, for_s) > (best[0], best[2] in USUAL_S, best[3]):
                    best = ll, search, parameter_s, for_s, barred, raised
    if best is None:
        return None
    _, search, parameter_s, for_s, barred, raised = best
    fit = fitted(search, scope, Reading(), parameter_s, raised, first & ~barred, tries + float(np.log(len(BARRED_S))))
    if fit is None or (search.used & search.rejected & ~barred & (raised >= fit.value)).sum() < TRIGGERS:
        return None
    return replace(fit, barred_s=for_s, barred=barred)


def _lengths(search: Search) -> list[float]:
    """Of the windows that may change: those that providers use, and sliding ones of all lengths of whole seconds that somebody might choose."""
    starts = search.situation.requests.start_ns
    more = [w for w in UNUSUAL_S if search.limiter.WINDOW == "sliding" and TURNS * w <= span_s(starts)]
    return sorted({*more, *(each for each in search.coarse if each in USUAL_S)})


def _changing(searches: list[Search], scope: str, first: Bools) -> Fit | None:
    best: tuple[float, Search, float, int, tuple[int, int], float] | None = None
    tries = 0
    for search in searches:
        rows = np.flatnonzero(search.used)
        if len(rows) < 2 * APART:
            continue
        tries += len(_lengths(search)) * search.variants
        for parameter_s in _lengths(search):
            counts = search.counts(Reading(), parameter_s)[rows]
            ll, at, values, price = _cut(counts, search.rejected[rows])
            if best is None or (ll - price, parameter_s in USUAL_S) > (best[0], best[2] in USUAL_S):
                best = ll - price, search, parameter_s, int(rows[at]), values, price
    if best is None or best[4][0] == best[4][1]:
        return None
    _, search, parameter_s, row, (before, after), price = best
    starts, most = search.situation.requests.start_ns, max(before, after)
    rows = np.flatnonzero(search.used)
    if any(limit.runs(search.rejected[part]) < RUNS for part in (rows[rows < row], rows[rows >= row])):
        return None
    changes = ((int(starts[0]), most - before), (int(starts[row]), most - after))
    lower = np.where(starts < starts[row], most - before, most - after)
    price += float(np.log(tries * len(together(search.situation)[1])))
    fit = fitted(search, scope, Reading(), parameter_s, search.counts(Reading(), parameter_s) + lower, first, price)
    return None if fit is None or fit.value <= max(less for _, less in changes) else replace(fit, changes=changes)


def _refilling(situation: Situation, scope: str, groups: list[Ints], first: Bools) -> Fit | None:
    """A bucket of requests, one of which comes back at another pace from some time on.

    Before and after it is a bucket like others, so each is fitted by itself; then both together, on a clock by which it fills at one pace.
    """
    r = situation.requests
    labelled, accepted = r.rejected >= 0, counted(r)
    rows = np.sort(np.concatenate(groups))
    rows = rows[labelled[rows]]
    if len(rows) < 2 * APART:
        return None

    def part(some: list[Ints], of: Situation = situation) -> Search:
        return Search(of, token_bucket, labelled, accepted, some)

    def best_of(half: Search) -> float:
        return max(half.coarse, key=lambda p: half.tried(Reading(), p))

    def at_best(row: int) -> tuple[float, int, float, float] | None:
        """(log likelihood, the row, what comes back every so many seconds before it, and from it on)."""
        halves = [part([g[(g < row) == early] for g in groups]) for early in (True, False)]
        if not all(half.possible and half.coarse for half in halves):
            return None
        before, after = map(best_of, halves)
        return halves[0].tried(Reading(), before) + halves[1].tried(Reading(), after), row, before, after

    def joint(row: int, before: float, after: float) -> tuple[Search, tuple[tuple[int, float], ...]]:
        refills = (int(r.start_ns[0]), before), (int(r.start_ns[row]), after)
        return part(groups, replace(situation, requests=replace(r, start_ns=paced(r.start_ns, refills)))), refills

    at = _evenly(rows[APART : len(rows) - APART + 1], CUTS)
    some = [found for row in at.tolist() if (found := at_best(row)) is not None]
    if not some or max(some)[0] < limit.by_chance(r.rejected[rows] == REJECTED) * (1.0 - PROMISING):
        return None
    near = _evenly(_around(rows, at, max(some)[1]), AGAIN)
    some += [found for row in near.tolist() if (found := at_best(row)) is not None]
    _, row, before, after = max(some)
    tried = len(rows) * len(part(groups).coarse) ** 2

    def likelihood(row: int, before: float, after: float) -> float:
        return joint(row, before, after)[0].tried(Reading(), before)

    # how much the bucket holds at a change is not known to the part behind it alone
    wide = [p for p in part([rows[rows >= row]]).coarse if after / WIDE < p < after * WIDE]
    row, after = max(((row, p) for row in near.tolist() for p in [after, *wide]), key=lambda each: likelihood(each[0], before, each[1]))
    for _ in range(ROUNDS):
        within = _around(rows, near, row)
        while len(within) > 1:
            some_rows = _evenly(within, AGAIN)
            each = ((row, after * k) for row in some_rows.tolist() for k in NEARBY)
            row, after = max(each, key=lambda each: likelihood(each[0], before, each[1]))
            within = _around(within, some_rows, row) if len(some_rows) < len(within) else within[:0]
        before = max((before * k for k in NEARBY), key=lambda p: likelihood(row, p, after))
    if any(limit.runs(r.rejected[half] == REJECTED) < RUNS for half in (rows[rows < row], rows[rows >= row])):
        return None
    search, refills = joint(row, before, after)
    fit = fitted(search, scope, Reading(), before, search.counts(Reading(), before), first, float(np.log(tried)))
    return None if fit is None else replace(fit, refills=refills)


def _evenly(rows: Ints, n: int) -> Ints:
    """So many of some rows, from the first to the last."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, n).astype(np.int64))]


def _around(rows: Ints, some: Ints, row: int) -> Ints:
    """Of these rows those between the two of ``some`` that are next to ``row``."""
    k = int(np.searchsorted(some, row))
    after = k + (k < len(some) and int(some[k]) == row)
    return rows[(rows >= some[max(k - 1, 0)]) & (rows <= some[min(after, len(some) - 1)])]


def _cut(counts: Ints, rejected: Bools) -> tuple[float, int, tuple[int, int], float]:
    """(log likelihood, before which request, the limit before and from then on, what the search costs) of the best change."""
    highest = min(int(counts.max(initial=0)) + 1, HIGHEST)
    all_places = np.arange(APART, len(counts) - APART + 1)
    places = _evenly(all_places, PLACES)
    found = _cut_at(counts, rejected, places, highest)
    if len(places) < len(all_places):
        found = _cut_at(counts, rejected, _around(all_places, places, found[1]), highest)
    ll, at, values = found
    return ll, min(at, len(counts) - 1), values, float(np.log(len(all_places)) + np.log(highest))


def _cut_at(counts: Ints, rejected: Bools, places: Ints, highest: int) -> tuple[float, int, tuple[int, int]]:
    """The same at the best of some places, without the price."""
    noise = limit.noise_of(len(counts))
    cell = np.searchsorted(places, np.arange(len(counts)), "right") * (highest + 1) + np.minimum(counts, highest)

    def below(mask: Bools) -> tuple[Ints, Ints]:
        """How many came before each place, and before the end, below each limit; and at it or above."""
        cells = np.bincount(cell[mask], minlength=(len(places) + 1) * (highest + 1)).reshape(len(places) + 1, -1)
        upto = np.cumsum(np.cumsum(cells, axis=0), axis=1)
        return upto[:, :-1], upto[:, -1:] - upto[:, :-1]

    (misses, hits), (calms, alarms) = below(rejected), below(~rejected)
    before = noise(alarms[:-1], hits[:-1]) + noise(misses[:-1], calms[:-1])
    alarms, hits, misses, calms = (table[-1] - table[:-1] for table in (alarms, hits, misses, calms))
    after = noise(alarms, hits) + noise(misses, calms)
    both = before.max(axis=1) + after.max(axis=1)
    at = int(both.argmax())
    return float(both[at]), int(places[at]), (1 + int(before[at].argmax()), 1 + int(after[at].argmax()))
