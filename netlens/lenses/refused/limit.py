"""The limit: which counting rule separates refused from accepted requests, at what count, and could it be chance.

Theory of operation
-------------------
1. Under a rule with limit L a request is refused if, and only if, others hold L or more. Labels and counts err now and then (a refusal for
   another reason, a place given back a moment sooner), each at an unknown rate that is small: both rates are integrated out under a
   Beta(1, :data:`NOISE`) prior. That gives each L a likelihood without a rate to fit. Requests whose count may lie on either side of L say
   nothing about that L.
2. The *chance model* has refusals at one rate whatever is counted, with a flat prior on the rate.
3. The best L of a rule are all with its highest likelihood: the feasible interval [low, high]; ``value`` is the smallest refused count inside.
4. Requests of a side that was never refused may belong to another account with a higher limit. Under the ``side`` scope they may therefore be left
   out, at the price of :data:`OTHER_ACCOUNT` log units.
5. *Chance.* Labels are permuted within each side, after each chain of retries is collapsed to its first refusal: retries of one refusal are
   no independent evidence (raw p was 0.02 where no rule held, 0.37 collapsed). The statistic is the likelihood at its best L, ties broken by
   the AUC. p = (1 + #{as good or better}) / (1 + permutations), Holm over rules (Holm 1979; Phipson and Smyth 2010 for the 1).
6. Rules within :data:`TIE` log units of the best are tied with it.

Places given back late and limits that change are tried where plain rules leave exceptions: :mod:`netlens.lenses.refused.irregular`.

Limits: with fewer than :data:`ENOUGH` refusals nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import lgamma
from typing import TYPE_CHECKING

import numpy as np

from netlens.chains.situation import ACCEPTED, REJECTED, Situation
from netlens.columns import Bools, Floats, Ints, distinct_rows
from netlens.lenses.refused import irregular, kernels
from netlens.lenses.refused.counting import Counts, Rule, others, rules

if TYPE_CHECKING:
    from netlens.lenses.refused.condition import Condition

ENOUGH = 5  #: refusals, before retries are collapsed: with fewer a rule fits too easily
NOISE = 20.0  #: Beta(1, 20): errors of about 5 %; with 100 a single odd refusal would decide, with 5 a rule that fails a fifth of the time would fit
TIE = 2.0  #: log units within which rules are tied: odds of 7 to 1
OTHER_ACCOUNT = 3.0  #: log units that leaving out a side costs: odds of 20 to 1 against
CHAIN_NS = 5_000_000_000  #: refusals closer than this, one after the other, are a chain: back-offs begin at 2 s
NEGLIGIBLE = 1e-3  #: permutations that would fit as well
AUC_WEIGHT = 0.01  #: of the AUC, which parts equals: less than any step of the likelihood
PERMUTATIONS = 1_999  #: smallest p 0.0005, which four rules make 0.002
MAX_CELLS = 4_000_000  #: of a table of permuted refusals, 32 MB
MAX_LIMIT = 4_096  #: of candidates; nobody has a limit of thousands in flight


@dataclass(frozen=True, eq=False)
class RuleFit:
    """How a rule fits. ``auc``: chance that a refused request met a higher count than an accepted one (0.5: tells nothing).

    misses : refused below the limit.  false_alarms : accepted at or above it.  hits : refused at or above.  log_likelihood : of all labels.
    possible_log_likelihood : the same if every request whose count is uncertain fits.
    runs : how many times the limit was reached, something having been accepted in between.
    condition : if ``value`` is what refusals need, and no limit that refuses all from there on.
    youden : most that any limit could separate: share of refused at or above it less share of accepted (Youden 1950), all that is uncertain fitting.
    """

    rule: Rule
    counts: Counts
    low: int
    high: int
    value: int
    log_likelihood: float
    possible_log_likelihood: float
    hits: int
    misses: int
    false_alarms: int
    auc: float
    youden: float
    p_raw: float = 1.0
    p: float = 1.0
    other_account: int | None = None  # the side that was left out
    runs: int = 0
    price: float = 0.0  # of what was searched besides the limit, in log units
    condition: Condition | None = None  # refusals need so many others, but not all that meet as many are refused

    @property
    def limits(self) -> Ints:
        """The limits that fit as well; of bytes, which are many, one."""
        return np.array([self.value]) if self.rule.sized else np.arange(max(self.low, 1), self.high + 1)

    @property
    def explains(self) -> float:
        """The share of the refusals that would not have been, had the limit never been reached: all of a limit."""
        return 1.0 if self.condition is None else self.condition.share


@dataclass(frozen=True)
class Limit:
    """The inferred limit. ``value``: others in progress at which a request is refused; ``low`` to ``high``: what fits as well.

    ``rule`` in words, ``unit`` and ``scope`` as in :mod:`netlens.lenses.refused.counting`; ``tied``: names of the rules that fit equally well;
    ``misfits``: requests that it does not explain.  ``held_s``: how long a place stays taken after the answer.  ``changes``: (from when on, limit), where
    it changed while recording; ``value`` is the last.  models : the limit of large requests and of small ones, where models count by themselves, None where
    none of them was refused at one; ``value`` is that of those more often refused.
    """

    rule: str
    value: int
    low: int
    high: int
    auc: float
    p: float
    unit: str
    scope: str
    tied: list[str]
    misfits: int
    held_s: float = 0.0
    changes: tuple[tuple[int, int], ...] = ()
    models: tuple[int | None, ...] = ()

    @classmethod
    def of(cls, fits: list[RuleFit], small_refused: bool = False, met: tuple[bool, ...] = (True, True)) -> Limit:
        """Of the best rule and those tied with it. ``small_refused``: of two models, that of the small requests refused more; ``met``: of each, whether any of
        its requests was refused at the limit."""
        best, *tied = fits
        misfits = best.misses + best.false_alarms
        own = best.rule.plain.name
        names = [name for name in dict.fromkeys(f.rule.plain.name for f in tied) if name != own]
        rule, less = best.rule, best.rule.models[small_refused] if best.rule.models else best.rule.lower_now
        values = (best.value - less, best.low - less, best.high - less)
        changes = tuple((at, best.value - lower) for at, lower in rule.changes)
        models = tuple(best.value - lower if shown else None for lower, shown in zip(rule.models, met, strict=False))
        return cls(own, *values, best.auc, best.p, rule.unit, rule.scope, names, misfits, rule.held_s, changes, models)


@dataclass(frozen=True, eq=False)
class Inference:
    """All rules, best first. ``best`` and ``tied`` are meaningful only if ``enough``.

    first : mask of requests that count for chance: labelled, and no later member of a retry chain.  chance_log_likelihood : of labels at one rate.
    """

    fits: list[RuleFit]
    refused: int
    accepted: int
    chains: int
    enough: bool
    chance_log_likelihood: float
    first: Bools = field(repr=False)
    sized: list[RuleFit] = field(default_factory=list, repr=False)  #: by bytes in progress, whatever it explains

    @property
    def best(self) -> RuleFit | None:
        return self.fits[0] if self.fits else None

    @property
    def tied(self) -> list[RuleFit]:
        """Rules that fit as well as the best, or would if all that is uncertain fitted; the best not among them.

        When a server learns of a broken-off answer is what is uncertain of plain rules; one that tells it, and fits, leaves it uncertain no longer.
        """
        best = self.fits[0]
        return [
            f
            for f in self.fits[1:]
            if f.log_likelihood >= best.log_likelihood - TIE
            or (
                f.possible_log_likelihood >= best.possible_log_likelihood - TIE
                and not (best.rule.by_writes and f.rule.unit == best.rule.unit)
            )
        ]


def infer(situation: Situation, permutations: int = PERMUTATIONS, seed: int = 0) -> Inference:
    """Fit every rule that the captures can show.

    Rules about the egress address need a capture of all that leaves by it. The seed makes the permutations repeatable.
    """
    r = situation.requests
    labelled = r.rejected >= 0
    refused, accepted = int((r.rejected == REJECTED).sum()), int((r.rejected == ACCEPTED).sum())
    first = labelled & ~later_in_chain(situation)
    chains = int((first & (r.rejected == REJECTED)).sum())
    chance = log_beta(refused + 1, accepted + 1)
    if not refused or not accepted or situation.uncountable:
        return Inference([], refused, accepted, chains, False, chance, first)
    order = rules(situation)
    fits = [_fit(situation, rule, labelled, first, permutations, seed) for rule in order]
    fits.sort(key=lambda f: -f.log_likelihood)  # stable: of equal ones the preferred is first
    best = fits[0].log_likelihood
    near = [f for f in fits if f.log_likelihood >= best - TIE]
    preferred = min(near, key=lambda f: order.index(f.rule))
    fits.sort(key=lambda f: f is not preferred)
    holm = _holm_distinct(fits)
    fits = [RuleFit(**{**f.__dict__, "p": p}) for f, p in zip(fits, holm, strict=True)]
    if refused >= ENOUGH and (better := irregular.better(situation, fits, labelled, first)) is not None:
        fits = [better, *fits]
    return Inference(fits, refused, accepted, chains, refused >= ENOUGH, chance, first)


def later_in_chain(situation: Situation) -> Bools:
    """Refusals that follow another refusal of the same chain: on the same connection, or on a connection of the same side that had no request
    before, with nothing accepted in between and less than :data:`CHAIN_NS` after the first of the chain: what is refused later is a new chain, or
    a connection that is refused for a minute would count once."""
    r = situation.requests
    later = np.zeros(len(r), np.bool_)
    _, requests_on = np.unique(r.session, return_counts=True)
    alone = len(requests_on) == 0 or float(np.mean(requests_on)) < 1.5  # each request has its own connection
    begun: dict[tuple[int, int], int] = {}
    rows = np.flatnonzero(r.rejected >= 0)
    columns = (rows, r.side[rows], r.session[rows], r.rejected[rows], r.start_ns[rows])
    for i, side, session, rejected, start in zip(*(column.tolist() for column in columns), strict=True):
        key = (side, -1 if alone else session)
        if rejected == REJECTED:
            if key in begun and start - begun[key] < CHAIN_NS:
                later[i] = True
            else:
                begun[key] = start
        else:
            begun.pop(key, None)
    return later


# --- one rule -------------------------------------------------------------------------------------------------------------------------------


def _fit(situation: Situation, rule: Rule, labelled: Bools, first: Bools, permutations: int, seed: int) -> RuleFit:
    fit = at_its_best(situation, rule, labelled)
    return replace(fit, p_raw=_p(situation, fit.counts, first, permutations, seed))


def at_its_best(situation: Situation, rule: Rule, labelled: Bools) -> RuleFit:
    """A rule at its best limit; how often chance does as well is not asked yet."""
    counts = others(situation, rule)
    r = situation.requests
    rejected = r.rejected == REJECTED
    limits = _limits(counts, labelled, rule)
    ll, possible = likelihoods(counts, rejected, labelled, limits)
    left_out: int | None = None
    if rule.scope == "side":
        for side in np.unique(r.side[labelled]).tolist():
            theirs = labelled & (r.side == side)
            if rejected[theirs].any() or not rejected[labelled & ~theirs].any():
                continue
            n = int(theirs.sum())
            without = likelihoods(counts, rejected, labelled & ~theirs, limits)
            other, maybe = (each + log_noise(0, n) - OTHER_ACCOUNT for each in without)
            if other.max() > ll.max():
                ll, possible, left_out = other, maybe, side
    used = labelled if left_out is None else labelled & (r.side != left_out)
    best = float(ll.max())
    feasible = np.flatnonzero(ll >= best - 1e-9)
    # contiguous with the first of them: two separate best intervals are two explanations, the lower is named
    stop = 1
    while stop < len(feasible) and feasible[stop] == feasible[stop - 1] + 1:
        stop += 1
    below = int(limits[feasible[0] - 1]) if feasible[0] else 0
    low, high = below + 1, int(limits[feasible[stop - 1]])
    refused_at = counts.count[used & rejected]
    inside = refused_at[(refused_at >= low) & (refused_at <= high)]
    value = int(inside.min()) if len(inside) else high
    auc = auc_of(counts.count, rejected, used)
    together = [np.flatnonzero(r.side == side) for side in np.unique(r.side)] if rule.scope == "side" else [np.arange(len(r))]
    return RuleFit(
        rule,
        counts,
        low,
        high,
        value,
        best,
        float(possible.max()),
        int((used & rejected & (counts.count >= value)).sum()),
        int((used & rejected & (counts.high < value)).sum()),
        int((used & ~rejected & (counts.low >= value)).sum()),
        auc,
        _youden(counts, rejected, used, limits),
        other_account=left_out,
        runs=runs_of(used & rejected & (counts.count >= value), used, together),
    )


def _limits(counts: Counts, labelled: Bools, rule: Rule) -> Ints:
    """Limits that part the requests; of bytes, the counts themselves."""
    if rule.sized is None:
        return np.arange(1, min(int(counts.high[labelled].max(initial=0)) + 1, MAX_LIMIT) + 1)
    found = np.unique(np.concatenate([each[labelled] for each in (counts.count, counts.low + 1, counts.high + 1)]))
    return found[found > 0]


def runs_of(hits: Bools, used: Bools, together: Sequence[Ints]) -> int:
    """How many times a limit was reached: runs of refusals at it, something having been accepted in between by those who count together. Sides that each
    reached it once, for good, make one.

    Parameters
    ----------
    together : rows of the requests that count together, by group.
    """
    each = [runs(hits[rows][used[rows]]) for rows in together]
    return 1 + sum(max(n - 1, 0) for n in each) if any(each) else 0


def runs(some: Bools) -> int:
    """How many times some follow one another without a gap."""
    return int((some & ~np.append(False, some[:-1])).sum())


def likelihoods(counts: Counts, rejected: Bools, used: Bools, limits: Ints) -> tuple[Floats, Floats]:
    """Log likelihood of the labels at each limit, with uncertain counts as tosses of a coin, and with all of them fitting."""
    low, high, y = counts.low[used], counts.high[used], rejected[used]
    # how many have at least / less than L for certain, by label
    hits, alarms = ((each := np.sort(low[y == v])).size - np.searchsorted(each, limits, "left") for v in (True, False))
    misses, calms = (np.searchsorted(np.sort(high[y == v]), limits, "left") for v in (True, False))
    noise = noise_of(len(y))
    possible = noise(alarms, hits) + noise(misses, calms)
    return possible + (len(y) - hits - alarms - misses - calms) * np.log(0.5), possible


def by_chance(rejected: Bools) -> float:
    """Log likelihood of labels, in order, by chance: at one rate, or at two, one after a refusal and one after an acceptance."""
    if len(rejected) < 2:
        return one_rate(rejected)
    bursts = one_rate(rejected[1:][rejected[:-1]]) + one_rate(rejected[1:][~rejected[:-1]]) + float(np.log(0.5))
    return max(one_rate(rejected), bursts)


def one_rate(rejected: Bools) -> float:
    """Log likelihood of labels at one rate, whichever; 0 of none."""
    refused = int(np.count_nonzero(rejected))
    return log_beta(refused + 1.0, len(rejected) - refused + 1.0)


def log_noise(wrong: float, right: float) -> float:
    """Log probability of these outcomes, the error rate integrated out under Beta(1, NOISE)."""
    return log_beta(wrong + 1, right + NOISE) - log_beta(1.0, NOISE)


def log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def log_choose(n: int, k: int) -> float:
    """Log of the number of ways to choose ``k`` of ``n``."""
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def auc_of(count: Ints, rejected: Bools, used: Bools) -> float:
    """Mann and Whitney's U over its largest value; ties count a half."""
    high, low = count[used & rejected], np.sort(count[used & ~rejected])
    if not len(high) or not len(low):
        return 0.5
    below, upto = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float((below + upto).mean() / 2 / len(low))


def _youden(counts: Counts, rejected: Bools, used: Bools, limits: Ints) -> float:
    high, low = np.sort(counts.high[used & rejected]), np.sort(counts.low[used & ~rejected])
    if not len(high) or not len(low):
        return 0.0
    refused = 1.0 - np.searchsorted(high, limits, "left") / len(high)
    accepted = 1.0 - np.searchsorted(low, limits, "left") / len(low)
    return float((refused - accepted).max())


# --- chance ---------------------------------------------------------------------------------------------------------------------------------


def _p(situation: Situation, counts: Counts, first: Bools, permutations: int, seed: int) -> float:
    """How often labels of ``first``, permuted within each side, fit a rule as well as the true ones: the statistic is of all sides together.

    Requests of one side with equal counts are alike, so that only how many of them are refused is drawn: by a hypergeometric law, which is what
    permuting amounts to. Equal seeds give rules with equal counts equal p.

    A rule gives all labels together a probability of 1 at most, so of N permutations the mean is 1 / N at most, and by Markov's inequality one in
    N exp(statistic) fits as well, for each limit that is tried. Where that leaves less than :data:`NEGLIGIBLE` of those that would be drawn, none is.
    """
    r = situation.requests
    met = [np.minimum(c[first], MAX_LIMIT) for c in (counts.low, counts.count, counts.high)]  # beyond that no limit parts them
    cells, cell, sizes = distinct_rows(r.side[first].astype(np.int64), *met)
    seen = np.bincount(cell[(r.rejected == REJECTED)[first]], minlength=len(cells))
    statistic = _Statistic(cells[:, 1], cells[:, 2], cells[:, 3], sizes)
    ours = statistic.of(seen[None, :])[0]
    of_side = [(int(sizes[mine].sum()), int(seen[mine].sum())) for side in np.unique(cells[:, 0]) for mine in [cells[:, 0] == side]]
    ways = sum(log_choose(n, k) for n, k in of_side)
    if np.log(permutations * len(statistic.below)) + AUC_WEIGHT - ours - ways < np.log(NEGLIGIBLE):
        return 1 / (1 + permutations)
    rng = np.random.default_rng(seed)
    as_good, step = 0, max(1, MAX_CELLS // max(len(cells), 1))
    for begin in range(0, permutations, step):
        drawn = np.zeros((min(step, permutations - begin), len(cells)), np.int64)
        for side in np.unique(cells[:, 0]).tolist():
            mine = np.flatnonzero(cells[:, 0] == side)
            drawn[:, mine] = rng.multivariate_hypergeometric(sizes[mine], int(seen[mine].sum()), len(drawn), method="marginals")
        as_good += int((statistic.of(drawn) >= ours - 1e-9).sum())
    return (1 + as_good) / (1 + permutations)


class _Statistic:
    """Likelihood at the best limit, and the AUC to part equals.

    A cell is ``sizes`` requests that met ``low`` to ``high`` others, ``mid`` of them most likely; what varies is how many of each are refused.
    """

    def __init__(self, low: Ints, mid: Ints, high: Ints, sizes: Ints) -> None:
        self.total = int(sizes.sum())
        self.by_low, self.by_high, self.by_mid = (np.argsort(c, kind="stable") for c in (low, high, mid))
        # a limit is only another one if it parts the requests in another way
        limits = np.unique(np.concatenate([[1], low + 1, high + 1]))
        limits = limits[limits <= min(int(high.max(initial=0)) + 1, MAX_LIMIT)]
        # how many cells, and requests, are below each limit: surely, or possibly
        self.maybe_below = np.searchsorted(low[self.by_low], limits, "left")
        self.below = np.searchsorted(high[self.by_high], limits, "left")
        self.above_sizes = self.total - _sums(sizes[self.by_low][None, :])[0][self.maybe_below]
        self.below_sizes = _sums(sizes[self.by_high][None, :])[0][self.below]
        self.midranks = _midranks(mid[self.by_mid], sizes[self.by_mid])
        self.noise = noise_of(self.total)

    def of(self, refused: Ints) -> Floats:
        """For each row of ``refused``: how many of each cell are (int64[rows, cells])."""
        count = refused.sum(axis=1)
        lower, upper = _sums(refused[:, self.by_low]), _sums(refused[:, self.by_high])
        best = np.full(len(refused), -np.inf)
        for maybe, sure, above, below in zip(
            self.maybe_below.tolist(), self.below.tolist(), self.above_sizes.tolist(), self.below_sizes.tolist(), strict=True
        ):
            hit, miss = count - lower[:, maybe], upper[:, sure]
            ll = self.noise(above - hit, hit) + self.noise(miss, below - miss)
            best = np.maximum(best, ll + (self.total - above - below) * np.log(0.5))
        u = refused[:, self.by_mid] @ self.midranks - count * (count + 1) / 2
        return best + AUC_WEIGHT * u / np.maximum(count * (self.total - count), 1)


def _sums(rows: Ints) -> Ints:
    """Running sums of each row, with what is before the first: int64[rows, columns + 1]."""
    return np.concatenate([np.zeros((len(rows), 1), np.int64), np.cumsum(rows, axis=1)], axis=1)


class Noise:
    """:func:`log_noise` for arrays of small integers that add up to ``total`` at most, by tables of log gamma."""

    def __init__(self, total: int):
        #: For kernels, rows as of :mod:`netlens.lenses.refused.kernels`.
        self.tables = np.zeros((4, total + 1))
        for row, offset in ((kernels.WRONG, 1.0), (kernels.RIGHT, NOISE), (kernels.BOTH, 1.0 + NOISE)):
            self.tables[row] = lgamma(offset) + np.concatenate([[0.0], np.cumsum(np.log(offset + np.arange(total)))])
        self.tables[kernels.CONSTANT] = log_beta(1.0, NOISE)

    def __call__(self, wrong: Ints, right: Ints) -> Floats:
        found: Floats = (
            self.tables[kernels.WRONG][wrong] + self.tables[kernels.RIGHT][right] - self.tables[kernels.BOTH][wrong + right]
        ) - self.tables[kernels.CONSTANT, 0]
        return found


@lru_cache(8)
def _noise(total: int) -> Noise:
    return Noise(total)


def noise_of(most: int) -> Noise:
    """The noise of ``most`` outcomes or fewer."""
    return _noise(1 << most.bit_length())


def _midranks(ordered: Ints, sizes: Ints) -> Floats:
    """Rank of each of ``sizes`` equal values, values in order; equals share the mean of theirs."""
    _, begin, group = np.unique(ordered, return_index=True, return_inverse=True)
    many = np.add.reduceat(sizes, begin) if len(sizes) else sizes
    upto = np.cumsum(many)
    out: Floats = (upto - (many - 1) / 2)[group]
    return out


def _holm_distinct(fits: list[RuleFit]) -> list[float]:
    """Holm over the rules that differ: with one side silent, side and egress address are one rule, and one test."""
    tests: list[RuleFit] = []
    which: list[int] = []
    for f in fits:
        same = (
            k
            for k, t in enumerate(tests)
            if all(np.array_equal(getattr(f.counts, c), getattr(t.counts, c)) for c in ("count", "low", "high"))
        )
        k = next(same, len(tests))
        if k == len(tests):
            tests.append(f)
        which.append(k)
    adjusted = _holm([t.p_raw for t in tests])
    return [adjusted[k] for k in which]


def _holm(p: list[float]) -> list[float]:
    """Holm's step-down adjustment."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    out = [1.0] * len(p)
    worst = 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, p[i] * (len(p) - rank)))
        out[i] = worst
    return out
