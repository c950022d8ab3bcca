"""From a situation to the verdict: rules fitted, causes judged, one of them named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlens.analysis import hypotheses, limit
from netlens.analysis.weighing import Verdict, Weighing

if TYPE_CHECKING:
    from netlens.analysis.situation import Situation


@dataclass(frozen=True)
class Limit:
    """The inferred limit. ``value``: others in progress at which a request is refused; ``low`` to ``high``: what fits as well.

    ``rule`` in words, ``unit`` and ``scope`` as in :mod:`netlens.analysis.counting`; ``tied``: names of the rules that fit equally well.
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


def weigh(situation: Situation, permutations: int = limit.PERMUTATIONS) -> Weighed:
    """Weigh every cause against what was captured."""
    weighing = Weighing(situation, limit.infer(situation, permutations))
    verdicts = hypotheses.judge_all(weighing)
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
