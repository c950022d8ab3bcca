"""The program's own requests over time exceed a limit, whatever is open.

Claim: the provider says that a quota is used up; or there is a limit over time (so many in a window, a bucket of tokens), and the side's own requests
reach it in at least half of the refusals.
Refuted: what is open at once tells refused from accepted clearly better than what was sent before; or the refusals follow no window of time at all.
Undecided: what leaves by the egress address was not captured, or a limit on what is open fits as well.
Source: cause G of the investigation (docs/glossary.md); rate limits as providers document them (requests a minute, token buckets).
"""

from __future__ import annotations

from netlens.lenses.refused.over_time import without_others
from netlens.lenses.refused.weighing import HALF, LITTLE, Evidence, Verdict, Weighing, chance_evidence, named_evidence, needs, time_evidence
from netlens.loglines import QUOTA
from netlens.text import plural

ID = "own-rate"
CAUSE = "G"
CLAIM = "The program's own requests over time exceed a limit, whatever is open."


def judge(weighing: Weighing) -> Verdict:
    if weighing.named:
        verdict = "supported" if weighing.named == QUOTA else "refuted"
        return Verdict(ID, CAUSE, CLAIM, verdict, None, 1.0 if verdict == "supported" else None, None, [named_evidence(weighing)])
    if weighing.rules:
        best = weighing.rules[0]
        if not weighing.situation.egress_seen:
            return Verdict(ID, CAUSE, CLAIM, "undecided", f"{weighing.situation.other_capture}: what else was sent is not seen")
        return Verdict(ID, CAUSE, CLAIM, "refuted", None, None, best.p, [weighing.separation(best)])
    if not weighing.by_time:
        if weighing.chance:
            return Verdict(ID, CAUSE, CLAIM, "refuted", None, None, None, [chance_evidence(weighing)])
        return Verdict(ID, CAUSE, CLAIM, "undecided", needs(weighing))
    fit = weighing.by_time[0]
    at, gone = without_others(weighing.situation, fit)
    share = 1.0 - float(gone.sum() / at.sum()) if at.any() else 0.0
    evidence = [
        Evidence(
            f"in {int((at & ~gone).sum()):,} of {plural(int(at.sum()), 'refusal')} at the limit ({share:.0%}) the side's own requests alone reached it",
            weighing.frames(at & ~gone if (at & ~gone).any() else at),
        ),
        time_evidence(weighing, fit),
    ]
    if not weighing.situation.egress_seen:
        needed = f"{weighing.situation.other_capture}: what else counts is not seen"
        return Verdict(ID, CAUSE, CLAIM, "undecided", needed, share, fit.p, evidence)
    if LITTLE <= share < HALF:
        return Verdict(
            ID,
            CAUSE,
            CLAIM,
            "undecided",
            "a longer recording: the side alone reaches the limit in about half of the refusals",
            share,
            fit.p,
            evidence,
        )
    return Verdict(ID, CAUSE, CLAIM, "supported" if share >= HALF else "refuted", None, share, fit.p, evidence)
