"""Refusals depend on nothing local: neither on what is open nor on what was sent over time.

Claim: the provider says that it is overloaded; or, given enough refusals, one rate for all requests explains them better than any count of what is
open or of what was sent in a window of time.
Refuted: a rule separates refused from accepted requests beyond chance.
Undecided: too few refusals, or something that could count was not captured.
Source: cause F of the investigation (docs/glossary.md); codes 1305 and 1312 mean an overloaded provider. Others with the same key elsewhere look the same.
"""

from __future__ import annotations

from netlens.lenses.refused.weighing import Verdict, Weighing, chance_evidence, named_evidence, needs, time_evidence
from netlens.loglines import OVERLOAD

ID = "provider"
CAUSE = "F"
CLAIM = "Refusals depend on nothing local: neither on what is open nor on what was sent over time."


def judge(weighing: Weighing) -> Verdict:
    if weighing.rules:
        best = weighing.rules[0]
        return Verdict(ID, CAUSE, CLAIM, "refuted", None, None, best.p, [weighing.separation(best)])
    if weighing.named:
        verdict = "supported" if weighing.named == OVERLOAD else "refuted"
        return Verdict(ID, CAUSE, CLAIM, verdict, None, 1.0 if verdict == "supported" else None, None, [named_evidence(weighing)])
    if weighing.by_time:
        best_over_time = weighing.by_time[0]
        return Verdict(ID, CAUSE, CLAIM, "refuted", None, None, best_over_time.p, [time_evidence(weighing, best_over_time)])
    if weighing.chance:
        p = min(f.p for f in weighing.inference.fits)
        return Verdict(ID, CAUSE, CLAIM, "supported", None, 1.0, p, [chance_evidence(weighing)])
    return Verdict(ID, CAUSE, CLAIM, "undecided", needs(weighing))
