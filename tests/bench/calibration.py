"""How often the verdict is right: ``python -m tests.bench.calibration [--seeds tune|report] [--count 2000] [--out FILE]``.

Draws situations of known truth (``tests.bench.situations``), weighs each as ``netlens analyze`` would, and tells how often a cause was named that
was none, whether p-values are what they claim to be where nothing is counted, how many refusals it takes to see a cause, and how often the limit
is found. Constants of the verdict are chosen on the ``tune`` seeds; what is published comes from the ``report`` seeds, which nothing was chosen on.

``--seeds report`` writes ``docs/calibration.md`` unless ``--out`` says otherwise; ``--seeds tune`` prints. ``--show SEED`` tells one situation in full.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import ceil, exp, sqrt
from pathlib import Path

from netlens.lenses.refused.weighing import ALPHA, Weighed, weigh
from tests.bench.situations import BORDERLINE, CAUSES, FAMILIES, Drawn, as_text, draw

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "calibration.md"
FIRST_SEED = {"tune": 0, "report": 2_000_000}  # mistakes at 1,000,000 and on were looked at, and mended by cause
COUNT = 2_000
CHOSEN = {
    "tune": "the constants of the verdict are chosen on these seeds",
    "report": "the constants of the verdict were chosen on other seeds",
}
VERDICTS = ("supported", "undecided", "refuted")
REFUSALS = ((1, 4), (5, 9), (10, 19), (20, 49), (50, 2_000))  #: classes for the power
MANY = (10, 2_000)  #: some of these together
BINS = 10
Z = 1.959964  #: two-sided 95 %


@dataclass(frozen=True)
class Outcome:
    """One situation: what was true, what was said.

    none : nothing was counted, so that no rule holds.  steady : no bursts of overload.
    p_raw : by name of the rule.  p : the smallest after Holm, None where no rule was fitted.
    true_limit, true_rule : the provider's.  limit_value, limit_rule : netlens'.  shown : see Truth.
    """

    family: str
    seed: int
    requests: int
    refusals: int
    causes: frozenset[str]
    borderline: frozenset[str]
    verdicts: dict[str, str]
    named: str | None
    none: bool
    steady: bool
    p_raw: dict[str, float]
    p: float | None
    true_limit: int | None
    true_rule: str | None
    shown: bool
    limit_value: int | None
    limit_rule: str | None
    true_kind: str | None = None
    true_values: tuple[tuple[str, float], ...] = ()
    limiter: tuple[tuple[str, object], ...] = ()
    probabilities: tuple[tuple[str, float], ...] = ()
    accepted: int = 0
    true_limiter: str = ""
    limiter_id: str = ""
    likely: tuple[tuple[str, float], ...] = ()
    locked_out: bool = False  # nothing was accepted any more once a request was refused

    @property
    def kind(self) -> str | None:
        return str(dict(self.limiter)["kind"]) if self.limiter else None

    @property
    def values_right(self) -> bool:
        """Whether what there is to be found of the limiter was: exact for a count of what is open, else within a tenth."""
        told = dict(self.limiter)
        for name, true in self.true_values:
            found = told.get(name)
            if not isinstance(found, int | float):
                return False
            exact = self.true_kind == "concurrency" and name == "value" and self.true_limiter != "bytes in progress"
            if abs(found - true) > (0.0 if exact else max(0.1 * true, 1.0 if name in ("value", "burst") and true < 10 else 0.0)):
                return False
        return True

    @property
    def sure(self) -> frozenset[str]:
        """Causes that are beyond dispute."""
        return self.causes - self.borderline

    @property
    def wrong(self) -> list[str]:
        """Supported, and no cause."""
        return [c for c, v in self.verdicts.items() if v == "supported" and c not in self.causes | self.borderline]

    @property
    def right(self) -> list[str]:
        return [c for c, v in self.verdicts.items() if v == "supported" and c in self.sure]

    @property
    def denied(self) -> list[str]:
        """Refuted, and a cause."""
        return [c for c, v in self.verdicts.items() if v == "refuted" and c in self.sure]


def outcome(drawn: Drawn, weighed: Weighed) -> Outcome:
    """Put what was said beside what was true."""
    fits = weighed.weighing.inference.fits
    verdicts = {v.id: v.verdict for v in weighed.verdicts if v.id in CAUSES}
    if set(verdicts) != set(CAUSES):
        raise ValueError(f"verdicts on {sorted(verdicts)}, expected {sorted(CAUSES)}")
    return Outcome(
        drawn.family,
        drawn.seed,
        len(drawn.rows),
        drawn.n_rejections,
        drawn.truth.causes,
        drawn.truth.borderline,
        verdicts,
        weighed.cause,
        drawn.truth.kind in (None, "overload"),
        drawn.setup.provider.overload is None or not drawn.setup.provider.overload.every_s,
        {fit.rule.name: fit.p_raw for fit in fits if not (fit.rule.held_s or fit.rule.changes)},
        min((fit.p for fit in fits), default=None),
        drawn.truth.limit,
        drawn.truth.rule,
        drawn.truth.shown,
        weighed.limit.value if weighed.limit else None,
        weighed.limit.rule if weighed.limit else None,
        drawn.truth.kind,
        tuple(drawn.truth.values.items()),
        tuple((name, value) for name, value in (weighed.limiter or {}).items() if isinstance(value, int | float | str)),
        tuple((v.id, v.probability) for v in weighed.verdicts if v.probability is not None),
        weighed.weighing.inference.accepted,
        drawn.truth.limiter,
        named(weighed),
        tuple(weighed.likely.items()),
        weighed.weighing.from_a_moment_on,
    )


def named(weighed: Weighed) -> str:
    """The limiter that is named, as finely as netlens tells it."""
    told = weighed.limiter
    if told is None:
        return "open or over time" if weighed.weighing.kind == "either" else "none"
    if weighed.weighing.by_time:
        return weighed.weighing.by_time[0].limiter.ID
    special = (
        (told["unit"] == "bytes", "bytes in progress"),
        (told["held_s"], "late release"),
        (told["changes"], "changing limit"),
        (told["models"], "limit a model"),
    )
    return next((name for there, name in special if there), str(told["kind"]))


def run_one(seed: int, family: str | None = None) -> Outcome:
    drawn = draw(seed, family)
    return outcome(drawn, weigh(drawn.situation))


def run(seeds: Sequence[int], family: str | None = None, jobs: int = 2) -> list[Outcome]:
    """The outcomes in order of the seeds; ``jobs`` processes at once."""
    if jobs == 1:
        return [run_one(seed, family) for seed in seeds]
    with ProcessPoolExecutor(jobs) as pool:
        return list(pool.map(partial(run_one, family=family), seeds, chunksize=8))


# --- arithmetic -------------------------------------------------------------------------------------------------------------------------------


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate (Wilson 1927); [0, 1] where nothing was tried."""
    if not n:
        return 0.0, 1.0
    rate, z2 = hits / n, Z * Z
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def ks_uniform(values: Iterable[float]) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance from the uniform distribution on [0, 1]: (either way, the excess of small values alone)."""
    ordered = sorted(values)
    n = len(ordered)
    above = max((i / n - v for i, v in enumerate(ordered, 1)), default=0.0)
    below = max((v - i / n for i, v in enumerate(ordered)), default=0.0)
    return max(above, below, 0.0), max(above, 0.0)


def ks_p(distance: float, n: int) -> float:
    """Chance of a distance as large where values are uniform (Kolmogorov's series with Stephens' correction)."""
    if n == 0:
        return 1.0
    x = (sqrt(n) + 0.12 + 0.11 / sqrt(n)) * distance
    if x < 0.3:  # the series converges slowly there, and the chance is 1 to five digits
        return 1.0
    return min(max(2 * sum((-1) ** (k - 1) * exp(-2 * k * k * x * x) for k in range(1, 101)), 0.0), 1.0)


def histogram(values: Iterable[float]) -> list[int]:
    """How many in each tenth; a p of exactly 0.1 is in the first."""
    counts = Counter(max(ceil(round(v * BINS, 9)) - 1, 0) for v in values)
    return [counts[k] for k in range(BINS)]


# --- report -----------------------------------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; numbers to the right."""
    rule = "|".join(":--" if k == 0 else "--:" for k in range(len(head)))
    lines = [f"| {' | '.join(head)} |", f"|{rule}|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def rate(hits: int, n: int) -> str:
    """``3 of 200 (1.5 %, 0.5 to 4.3 %)``."""
    if not n:
        return "none of 0"
    low, high = wilson(hits, n)
    return f"{hits:,} of {n:,} ({100 * hits / n:.1f} %, {100 * low:.1f} to {100 * high:.1f} %)"


def headline(outcomes: Sequence[Outcome]) -> str:
    """What is wrong how often."""
    refused = [o for o in outcomes if o.refusals]
    supported = sum(v == "supported" for o in outcomes for v in o.verdicts.values())
    neither = sum(v == "supported" and c in o.borderline for o in outcomes for c, v in o.verdicts.items())
    named = [o for o in outcomes if o.named is not None]
    sure = sum(len(o.sure) for o in outcomes)
    rows = [
        ("situations in which a cause is supported that is none", rate(sum(bool(o.wrong) for o in outcomes), len(outcomes))),
        ("the same, of situations with refusals", rate(sum(bool(o.wrong) for o in refused), len(refused))),
        ("`supported` that are wrong (borderline ones left out)", rate(sum(len(o.wrong) for o in outcomes), supported - neither)),
        ("cause named first that is none", rate(sum(o.named in o.wrong for o in named), len(named))),
        ("true causes that are refuted", rate(sum(len(o.denied) for o in outcomes), sure)),
        ("true causes that are supported", rate(sum(len(o.right) for o in outcomes), sure)),
    ]
    return table(("", "number (rate, 95 % interval)"), rows)


def confusion(outcomes: Sequence[Outcome]) -> str:
    """The true cause by the cause that was named."""

    def true(o: Outcome) -> str:
        if not o.refusals:
            return "no refusal"
        if o.causes & o.borderline or (not o.causes and o.borderline):
            return "borderline"
        return "two or more" if len(o.causes) > 1 else next(iter(o.causes), "none of these")

    counts = Counter((true(o), o.named or "none named") for o in outcomes)
    columns = (*CAUSES, *sorted({o.named for o in outcomes if o.named} - set(CAUSES)), "none named")
    rows = (*CAUSES, "two or more", "borderline", "none of these", "no refusal")
    cells = ([row, *(counts[row, c] or "" for c in columns), sum(counts[row, c] for c in columns)] for row in rows)
    return table(("true \\ named", *columns, "all"), cells)


def by_verdict(outcomes: Sequence[Outcome]) -> str:
    """Each cause, true or not, by its verdict."""
    rows = []
    for cause in CAUSES:
        for name, holds in (("true", _is_true), ("borderline", _is_borderline), ("not true", _is_not_true)):
            said = Counter(o.verdicts[cause] for o in outcomes if o.refusals and holds(o, cause))
            rows.append((f"`{cause}` {name}", *(said[v] for v in VERDICTS)))
    return table(("cause", *VERDICTS), rows)


def _is_true(o: Outcome, cause: str) -> bool:
    return cause in o.sure


def _is_borderline(o: Outcome, cause: str) -> bool:
    return cause in o.borderline


def _is_not_true(o: Outcome, cause: str) -> bool:
    return cause not in o.causes | o.borderline


def by_family(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for family in sorted({o.family for o in outcomes}, key=list(FAMILIES).index):
        mine = [o for o in outcomes if o.family == family]
        true = sum(len(o.sure) for o in mine)
        right, wrong, denied = (sum(len(each(o)) for o in mine) for each in (_right, _wrong, _denied))
        purpose = (FAMILIES[family].__doc__ or "").strip()
        rows.append((f"`{family}`: {purpose}", len(mine), sum(o.refusals > 0 for o in mine), true, right, wrong, denied))
    return table(("family", "situations", "with refusals", "true causes", "supported", "wrongly supported", "wrongly refuted"), rows)


def _right(o: Outcome) -> list[str]:
    return o.right


def _wrong(o: Outcome) -> list[str]:
    return o.wrong


def _denied(o: Outcome) -> list[str]:
    return o.denied


def mistakes(outcomes: Sequence[Outcome]) -> str:
    """Each wrong `supported` with the seed that shows it."""
    rows = [
        (f"{o.seed}", f"`{o.family}`", o.refusals, f"{o.requests:,}", ", ".join(o.wrong), ", ".join(sorted(o.causes)) or "none")
        for o in outcomes
        if o.wrong
    ]
    return table(("seed", "family", "refusals", "requests", "supported", "true"), rows) if rows else "None."


def p_values(outcomes: Iterable[Outcome]) -> str:
    """Whether p-values are uniform where nothing is counted."""
    null = [o for o in outcomes if o.none and o.p_raw]
    names = sorted({name for o in null for name in o.p_raw})
    columns: list[tuple[str, list[float]]] = [(f"raw, {name}", [o.p_raw[name] for o in null if name in o.p_raw]) for name in names]
    columns.append(("smallest after Holm", [o.p for o in null if o.p is not None]))
    rows = []
    for name, values in columns:
        either, excess = ks_uniform(values)
        low = [f"{sum(v <= level for v in values) / max(len(values), 1):.3f}" for level in (0.01, ALPHA, 0.1)]
        rows.append((name, len(values), *histogram(values), f"{either:.3f}", f"{ks_p(either, len(values)):.3f}", f"{excess:.3f}", *low))
    tenths = [f"≤ {(k + 1) / BINS:.1f}" for k in range(BINS)]
    return table(("p", "n", *tenths, "KS", "chance of it", "KS, small p only", "p ≤ 0.01", f"p ≤ {ALPHA:g}", "p ≤ 0.1"), rows)


def power(outcomes: Sequence[Outcome], seen_whole: Callable[[Outcome], bool] = lambda _: True) -> str:
    """Share of true causes that are supported, by the number of refusals."""
    rows = []
    for cause in (*CAUSES, "any"):
        cells = []
        for low, high in (*REFUSALS, MANY):
            said = [o.verdicts[c] for o in outcomes if low <= o.refusals <= high and seen_whole(o) for c in o.sure if cause in (c, "any")]
            hits = sum(v == "supported" for v in said)
            cells.append(f"{100 * hits / len(said):.0f} % of {len(said)}" if said else "")
        rows.append((f"`{cause}`" if cause != "any" else cause, *cells))
    return table(("cause", *(f"{low} to {high}" if high < 2_000 else f"{low} or more" for low, high in (*REFUSALS, MANY))), rows)


#: Families in which part of the captures is missing.
PARTLY_SEEN = ("vm-capture-only", "host-capture-only", "unpaired")
#: Families of which no capture can tell the cause: what is counted always goes with something else, or is seen by nobody.
UNTELLABLE = ("fan-out-constant", "models-alike", "elsewhere")


def both_sides(outcome: Outcome) -> bool:
    """Whether both sides were captured and every session upstream was matched."""
    return outcome.family not in PARTLY_SEEN


def tellable(outcome: Outcome) -> bool:
    """Whether the captures hold besides what a limit shows itself by: requests enough that it accepted, some of them after it had refused."""
    return both_sides(outcome) and outcome.family not in UNTELLABLE and outcome.accepted >= ENOUGH_ACCEPTED and not outcome.locked_out


def limits(outcomes: Sequence[Outcome]) -> str:
    """How often the limit is found where there is one."""
    there = [o for o in outcomes if o.true_limit is not None and o.refusals]
    rows = []
    for name, some in (
        ("all with a limit and refusals", there),
        ("the captures hold the last accepted and the first refused count", [o for o in there if o.shown]),
        ("a cause other than `provider` is true beyond dispute", [o for o in there if o.sure - {"provider"}]),
    ):
        told = [o for o in some if o.limit_value is not None]
        exact = sum(o.limit_value == o.true_limit for o in told)
        near = sum(o.limit_value != o.true_limit and abs((o.limit_value or 0) - (o.true_limit or 0)) <= 1 for o in told)
        unit = sum((o.limit_rule or "").split()[0] == (o.true_rule or "").split()[0] for o in told)
        rows.append((name, len(some), len(told), rate(exact, len(told)), near, rate(unit, len(told))))
    false = [o for o in outcomes if o.true_limit is None and o.refusals]
    rows.append(("nothing is counted", len(false), sum(o.limit_value is not None for o in false), "", "", ""))
    return table(("", "situations", "limit told", "value exact", "off by one", "unit right"), rows)


def limiters(outcomes: Sequence[Outcome]) -> str:
    """The limiter's kind and values, by the true one and the number of refusals."""
    rows = []
    for kind in ("concurrency", "rate", "volume", "quota", "overload"):
        for low, high in REFUSALS:
            some = [o for o in outcomes if o.true_kind == kind and low <= o.refusals <= high and o.family not in MIXED]
            told = [o for o in some if o.kind is not None]
            right = [o for o in told if o.kind == kind]
            named = Counter(o.kind for o in told if o.kind != kind)
            others = ", ".join(f"{name} {n}" for name, n in named.most_common())
            values = rate(sum(o.values_right for o in right), len(right)) if kind in ("concurrency", "rate", "volume") else ""
            rows.append(
                (kind, f"{low} to {high}" if high < 2_000 else f"{low} or more", len(some), rate(len(right), len(some)), others, values)
            )
    return table(("true kind", "refusals", "situations", "kind right", "another kind", "values right, where the kind is"), rows)


#: Families with two things that refuse, or with too little to see one.
MIXED = (
    "rule-and-overload",
    "models-alike",
    "elsewhere",
    "anything",
    "vm-capture-only",
    "host-capture-only",
    "host-unlabelled",
    "unpaired",
    "few-rejections",
    "under-ten",
)


def by_limiter_family(outcomes: Sequence[Outcome]) -> str:
    """The same by family, from 20 refusals on: which limiters are told, and what they are taken for."""
    rows = []
    for family in dict.fromkeys(o.family for o in sorted(outcomes, key=lambda o: list(FAMILIES).index(o.family))):
        some = [o for o in outcomes if o.family == family and o.refusals >= 20 and o.true_kind]
        if not some:
            continue
        right = [o for o in some if o.kind == o.true_kind]
        named = Counter(str(o.kind) for o in some if o.kind != o.true_kind)
        others = ", ".join(f"{'none' if name == 'None' else name} {n}" for name, n in named.most_common())
        rows.append((f"`{family}`", len(some), rate(len(right), len(some)), others, rate(sum(o.values_right for o in right), len(right))))
    return table(("family", "situations", "kind right", "else", "values right, where the kind is"), rows)


def apart(outcomes: Sequence[Outcome]) -> str:
    """Which limiter is told, by the true one, and from how many refusals on."""
    some = [o for o in outcomes if o.true_limiter and o.family not in MIXED and o.refusals and o.accepted >= ENOUGH_ACCEPTED]
    rows = []
    for true in dict.fromkeys(o.true_limiter for o in sorted(some, key=lambda o: LIMITERS.index(o.true_limiter))):
        mine = [o for o in some if o.true_limiter == true]
        many = [o for o in mine if o.refusals >= 10]
        wrong = Counter(o.limiter_id for o in many if o.limiter_id != true)
        cells = []
        for low, high in REFUSALS:
            these = [o for o in mine if low <= o.refusals <= high]
            cells.append(f"{sum(o.limiter_id == true for o in these)} of {len(these)}" if these else "")
        rows.append((true, *cells, ", ".join(f"{name} {n}" for name, n in wrong.most_common())))
    head = (f"{low} to {high}" if high < 2_000 else f"{low} or more" for low, high in REFUSALS)
    return table(("true limiter", *head, "else, from 10 refusals on"), rows)


#: Requests that must have been accepted for a limiter to be decidable at all.
ENOUGH_ACCEPTED = 10
LIMITERS = (
    "concurrency", "late release", "changing limit", "limit a model", "bytes in progress", "sliding-window", "fixed-window", "token-bucket", "attempts-window",
    "volume-window", "volume-fixed", "volume-bucket", "answers-window", "quota", "overload",
)  # fmt: skip


def decidable(outcomes: Sequence[Outcome]) -> str:
    """How often kind and values are right where they can be told."""
    some = [o for o in outcomes if o.true_kind and o.family not in MIXED and o.accepted >= ENOUGH_ACCEPTED]
    rows = []
    for kind in ("concurrency", "rate", "volume", "quota", "overload", "all"):
        for low, name in ((10, "10 or more"), (20, "20 or more")):
            mine = [o for o in some if kind in (o.true_kind, "all") and o.refusals >= low]
            right = [o for o in mine if o.kind == o.true_kind]
            other = sum(o.kind not in (None, o.true_kind) for o in mine)
            valued = [o for o in right if o.true_values]
            rows.append((kind, name, rate(len(right), len(mine)), other, rate(sum(o.values_right for o in valued), len(valued))))
    return table(("true kind", "refusals", "kind right", "another kind", "values right, where the kind is"), rows)


def kinds_reliability(outcomes: Sequence[Outcome]) -> str:
    """The same of limiters' kinds."""
    return _reliability([(p, k == o.true_kind) for o in outcomes if o.true_kind and o.family not in BESIDE for k, p in o.likely])


BESIDE = ("rule-and-overload", "elsewhere")  #: where two things refuse


def reliability(outcomes: Sequence[Outcome]) -> str:
    """How often causes are true, by the probability that was given."""
    return _reliability([(p, c in o.causes) for o in outcomes for c, p in o.probabilities if c not in o.borderline])


def _reliability(pairs: Sequence[tuple[float, bool]]) -> str:
    rows = []
    for k in range(BINS):
        mine = [true for p, true in pairs if k / BINS <= p < (k + 1) / BINS or (k == BINS - 1 and p == 1.0)]
        mean = [p for p, _ in pairs if k / BINS <= p < (k + 1) / BINS or (k == BINS - 1 and p == 1.0)]
        if mine:
            rows.append((f"{k / BINS:.1f} to {(k + 1) / BINS:.1f}", f"{100 * sum(mean) / len(mean):.0f} %", rate(sum(mine), len(mine))))
    return table(("probability", "mean", "true"), rows) if rows else "None were given."


def page(outcomes: Sequence[Outcome], which: str, family: str | None = None) -> str:
    """The whole report in Markdown."""
    first = FIRST_SEED[which]
    only = f" --family {family}" if family else ""
    command = f"python -m tests.bench.calibration --seeds {which} --count {len(outcomes)}{only}"
    low, high = BORDERLINE
    untellable = ", ".join(f"`{name}`" for name in UNTELLABLE)
    return f"""# Calibration of the verdict

Written by `{command}`; do not edit. {len(outcomes):,} situations, seeds {first:,} to {first + len(outcomes) - 1:,}; {CHOSEN[which]}.
Each situation is a simulation of programs and a provider whose own bookkeeping is the truth
(`tests/bench/world.py`, `tests/bench/situations.py`); it is weighed by what `netlens analyze` runs. See one with `--show SEED`.

A cause is true if at least half of the refusals would have been acceptances without it. Where that share is between {low:g} and {high:g}, or the
definition can be read either way, the cause is *borderline*: neither right nor wrong. Under a limit over time programs ask for more once they are
served, so each side is simulated by itself, too: by how much less it is refused for each accepted request is another reading. With one key for host
and VM and a limit per key, "host and VM together" is the truth too (`same-nat-ip`), since no capture can tell it from a limit per address. What others
do with the same account elsewhere is seen by nobody; where they fill what the own requests leave, `own-concurrency` and `provider` are both borderline.

## How often it is wrong

{headline(outcomes)}

## True cause by the cause that is named

Rows are situations with one true cause, and the rest. What is named is the supported cause with the largest share.

{confusion(outcomes)}

## Each cause by its verdict

Situations with refusals.

{by_verdict(outcomes)}

## p-values where nothing is counted

Where refusals are drawn at random, whatever is in flight, p must not be small more often than it says. Number of situations in each tenth; distance from the
uniform distribution (Kolmogorov and Smirnov), and how often chance makes one as large. p-values of few refusals come in steps, so larger ones are
expected more often; an excess of small ones would be a fault.

{p_values(outcomes)}

The same where the rate of refusals was steady, without bursts:

{p_values(o for o in outcomes if o.steady)}

## How many refusals it takes

True causes that are supported, by the number of refusals in the recording.

{power(outcomes)}

The same where both sides were captured and every session upstream was matched:

{power(outcomes, both_sides)}

The same where such captures can tell the cause at all. Left out besides are recordings with fewer than {ENOUGH_ACCEPTED} accepted requests, those in which
nothing is accepted any more once something was refused (an outage or a quota looks the same), and the families {untellable}:

{power(outcomes, tellable)}

## The limit

{limits(outcomes)}

## The limiter

Kind: what is open (`concurrency`), what was sent over time (`rate`), a quota that the provider names, or chance (`overload`). Values: the limit on what is
open exactly, others within 10 %, or by one where the limit is below 10. Families in which two things refuse, or too little was captured, are left out.

{limiters(outcomes)}

The same by family, from 20 refusals on:

{by_limiter_family(outcomes)}

Where it can be decided, which takes at least {ENOUGH_ACCEPTED} accepted requests:

{decidable(outcomes)}

### Which limiters can be told apart

Situations in which the very limiter was named, by the number of refusals; with at least {ENOUGH_ACCEPTED} accepted requests.
*Open or over time*: a limit on what is open and one over time fit equally well, which is said.

{apart(outcomes)}

## Probabilities with 1 to 9 refusals

{reliability(outcomes)}

The same of the kind of limiter:

{kinds_reliability(outcomes)}

## By family

{by_family(outcomes)}

## Wrongly supported

{mistakes(outcomes)}
"""


# --- command ----------------------------------------------------------------------------------------------------------------------------------


def show(seed: int, family: str | None) -> str:
    """One situation and what is said about it."""
    drawn = draw(seed, family)
    weighed = weigh(drawn.situation)
    lines = [as_text(drawn), "verdicts:"]
    for v in weighed.verdicts:
        share = "" if v.attributable_fraction is None else f", share {v.attributable_fraction:.2f}"
        lines.append(f"  {v.id}: {v.verdict}{share}" + (f"; needs {v.needs}" if v.needs else ""))
        lines += [f"    {e.text}" for e in v.evidence]
    lines.append(f"cause {weighed.cause}, {weighed.limit}")
    inference = weighed.weighing.inference
    lines.append(f"{inference.refused} refused in {inference.chains} chains; one rate for all: {inference.chance_log_likelihood:.2f}")
    lines += [
        f"  {f.rule.name}: L {f.low} to {f.high}, log likelihood {f.log_likelihood:.2f}, hits {f.hits}, misses {f.misses}, "
        f"false alarms {f.false_alarms}, AUC {f.auc:.2f}, p raw {f.p_raw:.4f}, Holm {f.p:.4f}"
        for f in inference.fits
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.calibration", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", choices=tuple(FIRST_SEED), default="tune", help="report: writes the page (default: tune)")
    parser.add_argument("--count", type=int, default=COUNT, help=f"situations (default: {COUNT:,})")
    parser.add_argument("--family", choices=tuple(FAMILIES), help="this family only")
    parser.add_argument("--show", type=int, metavar="SEED", help="tell one situation in full, and end")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 8), help="processes (default: one a core)")
    parser.add_argument("--out", type=Path, help="where to write (default: docs/calibration.md for all report seeds, else standard output)")
    options = parser.parse_args(arguments)
    if options.show is not None:
        print(show(options.show, options.family))
        return
    first = FIRST_SEED[options.seeds]
    outcomes = run(range(first, first + options.count), options.family, options.jobs)
    text = page(outcomes, options.seeds, options.family)
    # A part of the seeds, or one family, is no calibration: it never takes the page's place by default.
    whole = options.seeds == "report" and options.count >= COUNT and options.family is None
    out = options.out or (PAGE if whole else None)
    if out is None:
        print(text)
        return
    out.write_text(text, encoding="utf-8")
    print(f"{out}: {len(outcomes):,} situations", file=sys.stderr)


if __name__ == "__main__":
    main()
