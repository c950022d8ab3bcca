"""From a situation to the verdict: rules fitted, causes judged, one of them named."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens import loglines
from netlens.chains.situation import REJECTED, UNLABELLED
from netlens.lenses.refused import causes, limit, over_time
from netlens.lenses.refused.weighing import Verdict, Weighing

if TYPE_CHECKING:
    from netlens.chains.situation import Situation


@dataclass(frozen=True)
class Limit:
    """The inferred limit. ``value``: others in progress at which a request is refused; ``low`` to ``high``: what fits as well.

    ``rule`` in words, ``unit`` and ``scope`` as in :mod:`netlens.lenses.refused.counting`; ``tied``: names of the rules that fit equally well.
    """

    rule: str
    unit: str
    scope: str
    value: int
    low: int
    high: int
    auc: float
    p: float
    tied: list[str]
    misfits: int

    @property
    def limit(self) -> int:
        return self.value


@dataclass(frozen=True, eq=False)
class Weighed:
    """The verdicts in the order of the report, the cause that is named (the supported one with the largest share), and the limit."""

    verdicts: list[Verdict]
    cause: str | None
    limit: Limit | None
    weighing: Weighing


def of_one_class(situation: Situation) -> tuple[Situation, str]:
    """The situation with the refusals of one class only, and that class: refusals by different limits are never fitted together.

    Concurrency and rate go first, because a change here can help against them; else the class with most refusals is taken. Refusals of unknown class
    may be of any, so they go with concurrency or rate, or by themselves. Refusals of other classes are no evidence and hold no place.
    """
    r = situation.requests
    refused = r.rejected == REJECTED
    many = Counter(r.refusal_class[refused].tolist())
    limits = {k: n for k, n in many.items() if k in (loglines.CONCURRENCY, loglines.RATE) and n >= limit.ENOUGH}
    named = limits or {k: n for k, n in many.items() if k != loglines.UNKNOWN}
    main = max(sorted(named), key=named.__getitem__) if named else loglines.UNKNOWN
    if not limits and many[loglines.UNKNOWN] > many[main]:
        main = loglines.UNKNOWN
    with_it = {main, loglines.UNKNOWN} if main in (loglines.CONCURRENCY, loglines.RATE) else {main}
    others = refused & ~np.isin(r.refusal_class.astype(str), sorted(with_it))
    if not others.any():
        return situation, main
    rejected, end, done = r.rejected.copy(), r.end_ns.copy(), r.done_ns.copy()
    rejected[others], end[others], done[others] = UNLABELLED, r.start_ns[others], r.start_ns[others]
    return replace(situation, requests=replace(r, rejected=rejected, end_ns=end, done_ns=done)), main


def _never_all_refuted(weighing: Weighing, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts, but never all of them refuted: something did refuse the requests.

    Then the fitted rule is not, or not alone, what the provider does, so causes that it refuted are undecided. Those that a fact of the captures
    refuted stay refuted.
    """
    if not weighing.refused.any() or any(v.verdict != "refuted" for v in verdicts):
        return verdicts
    needed = "a longer recording: each cause alone explains too few of the refusals, so more than one is at work, or something that was not captured"
    return [replace(v, verdict="undecided", needs=needed) if v.attributable_fraction or v.id == "provider" else v for v in verdicts]


def limiter(weighed: Weighed) -> dict[str, Any] | None:
    """What the provider does, as the JSON has it: kind, unit, scope and numbers; None where no rule tells refused from accepted."""
    w = weighed.weighing
    rest = {"held_s": None, "changes": [], "classes": sorted(set(w.situation.requests.refusal_class[w.refused].tolist()))}
    if w.rules:
        best = w.rules[0]
        return {
            "kind": "concurrency", "unit": best.rule.unit, "scope": _scope(best.rule.scope), "per_address": best.rule.per_address,
            "value": best.value, "low": best.low, "high": best.high, "window_s": None, "window": None, "burst": None, "refill_s": None, **rest,
            "auc": best.auc, "p": best.p, "tied": [fit.rule.name for fit in w.rules[1:]],
        }  # fmt: skip
    if w.by_time:
        fit = w.by_time[0]
        told = fit.described()
        bounds = (fit.low, fit.high) if told["window"] != "bucket" else (told["value"], told["value"])
        return {
            "kind": fit.limiter.KIND, "unit": "bytes" if fit.limiter.COUNTS == "bytes" else "requests", "scope": _scope(fit.scope),
            "per_address": False, "low": bounds[0], "high": bounds[1],
            **told, **rest, "auc": fit.auc, "p": fit.p,
            "tied": [f.name for f in w.by_time[1:] if f.log_likelihood >= fit.log_likelihood - limit.TIE],
        }  # fmt: skip
    if w.named:
        return {
            "kind": w.named, "unit": "requests", "scope": "egress", "per_address": False, "value": None, "low": None, "high": None,
            "window_s": None, "window": None, "burst": None, "refill_s": None, **rest, "auc": None, "p": None, "tied": [],
        }  # fmt: skip
    return None


def _scope(scope: str) -> str:
    return "party" if scope == "side" else scope


def weigh(situation: Situation, permutations: int = limit.PERMUTATIONS) -> Weighed:
    """Weigh every cause against what was captured."""
    situation, refusal_class = of_one_class(situation)
    inference = limit.infer(situation, permutations)
    weighing = Weighing(situation, inference, over_time.fits(situation, inference.first), refusal_class)
    verdicts = _never_all_refuted(weighing, causes.judge_all(weighing))
    supported = [v for v in verdicts if v.verdict == "supported"]
    cause = max(supported, key=lambda v: v.attributable_fraction or 0.0).id if supported else None
    found = None
    if weighing.rules:
        best = weighing.rules[0]
        tied = [f.rule.name for f in weighing.rules[1:]]
        found = Limit(
            best.rule.name,
            best.rule.unit,
            best.rule.scope,
            best.value,
            best.low,
            best.high,
            best.auc,
            best.p,
            tied,
            best.misses + best.false_alarms,
        )
    return Weighed(verdicts, cause, found, weighing)
