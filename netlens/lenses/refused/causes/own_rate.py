"""The program's own requests over time exceed a limit, whatever is open.

Claim: the provider says that a quota is used up; or there is a limit over time (so many in a window, a bucket of tokens), and the side's own requests
reach it in at least half of the refusals. Or a side is shut out from a moment on while the other's requests are accepted; or the provider says that too
much was sent, nobody but the side was seen to send anything, or was refused, and what it sent reaches some limit at most refusals and few acceptances.
Refuted: what is open at once tells refused from accepted clearly better than what was sent before; or the refusals follow no window of time at all.
Undecided: what leaves by the egress address was not captured, or a limit on what is open fits as well; or requests are refused after less than others that
were accepted, whatever the provider says: somebody else, who is not seen, may use the same key. Or a relay opens a connection for each request, and a limit
on new connections would refuse the same. Or a quota that may be one for both sides is used up for both at once.
Source: cause G of the investigation (docs/glossary.md); rate limits as providers document them (requests a minute, token buckets).
"""

from __future__ import annotations

from netlens.lenses.refused import opened
from netlens.lenses.refused.deciding import ONE_PLAN, needs
from netlens.lenses.refused.evidence import (
    chance_evidence,
    named_evidence,
    not_time_evidence,
    rate_evidence,
    shut_out_evidence,
    time_evidence,
)
from netlens.lenses.refused.judging import LITTLE, share_verdict, used_up_together, without_others_tied
from netlens.lenses.refused.verdict import Evidence, Verdict, refuted, supported, undecided
from netlens.lenses.refused.weighing import Weighing
from netlens.logs import QUOTA

ID = "own-rate"
LETTER = "G"
CLAIM = "The program sends more requests over time than a limit allows, however few are open at once."
RANK = 6


def judge(weighing: Weighing) -> Verdict:
    s = weighing.situation
    if weighing.named:
        told = named_evidence(weighing)
        if weighing.named == QUOTA and used_up_together(weighing):
            return undecided(ONE_PLAN, evidence=[told])
        return supported(1.0, None, [told]) if weighing.named == QUOTA else refuted(told)
    if weighing.rules:
        if not s.egress_seen:
            return undecided(f"{s.other_capture}, which shows what else was sent")
        return refuted(not_time_evidence(weighing), p=weighing.rules[0].p)
    if not weighing.by_time:
        if (of_its_own := shut_out_evidence(weighing) or rate_evidence(weighing)) is not None:
            return supported(1.0, None, [of_its_own])
        return refuted(chance_evidence(weighing)) if weighing.chance else undecided(needs(weighing))
    fit = weighing.by_time[0]
    found = weighing.alone(fit)
    alone = found.at & ~found.gone
    shares = [(1.0 - most, 1.0 - least) for least, most in without_others_tied(weighing)]
    text = f"in {found.told(spared=False)} the side's own requests alone reached it"
    evidence = [Evidence(text, weighing.frames(alone if alone.any() else found.at)), time_evidence(weighing, fit)]
    missing = None if s.egress_seen else f"{s.other_capture}, which shows what else counts"
    if missing is None and opened.spared_if_kept(weighing) >= LITTLE:
        missing = opened.needed(weighing)
    return share_verdict(
        weighing,
        fit.p,
        evidence,
        missing,
        "a longer recording, because the side alone reaches the limit at only about half of the refusals",
        shares,
    )
