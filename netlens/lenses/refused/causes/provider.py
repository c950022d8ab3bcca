"""Refusals depend on nothing local: neither on what is open nor on what was sent over time.

Claim: the provider says that it is overloaded; or, given enough refusals, one rate for all requests explains them better than any count of what is
open or of what was sent in a window of time.
Refuted: a rule separates refused from accepted requests beyond chance.
Undecided: too few refusals, or something that could count was not captured; or beside those that another cause explains some say that it is overloaded; or
one side alone is refused, which one rate for all does not explain.
Source: cause F of the investigation (docs/glossary.md); codes 1305 and 1312 mean an overloaded provider. Others with the same key elsewhere look the same.
"""

from __future__ import annotations

from netlens.chains.situation import ELSEWISE
from netlens.lenses.refused.deciding import needs
from netlens.lenses.refused.evidence import chance_evidence, named_evidence, not_chance_evidence, time_evidence
from netlens.lenses.refused.verdict import Verdict, refuted, supported, undecided
from netlens.lenses.refused.weighing import Weighing
from netlens.logs import OVERLOAD
from netlens.text import plural

ID = "provider"
LETTER = "F"
CLAIM = "Refusals depend on nothing local: neither on what is open nor on what was sent over time."
RANK = 7


def judge(weighing: Weighing) -> Verdict:
    r = weighing.situation.requests
    if beside := int((r.refusal_class[r.rejected == ELSEWISE] == OVERLOAD).sum()):
        return undecided(
            f"to know from the provider whether it was overloaded: {plural(beside, 'refusal')} beside those that are weighed here say so"
        )
    if weighing.rules:
        return refuted(not_chance_evidence(weighing), p=weighing.rules[0].p)
    if weighing.named:
        told = named_evidence(weighing)
        return supported(1.0, None, [told]) if weighing.named == OVERLOAD else refuted(told)
    if weighing.by_time:
        fit = weighing.by_time[0]
        return refuted(time_evidence(weighing, fit), p=fit.p)
    if weighing.chance:
        return supported(1.0, min(f.p for f in weighing.inference.fits), [chance_evidence(weighing)])
    return undecided(needs(weighing))
