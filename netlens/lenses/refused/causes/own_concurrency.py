"""The program's own requests in flight exceed a limit of the account, whatever the path.

Claim: requests of the side alone reach the limit in at least half of the refusals, with every other cause taken away.
Refuted: with the other causes taken away, the side alone stays below the limit.
Undecided: what leaves by the egress address was not captured: the side's own count is part of every wider one, and fits as well while it is short; unless the
host is known to ask nothing itself, as where the VM leaves inside an encrypted relay.
Source: cause E of the investigation (docs/glossary.md); a limit per account is documented by the provider.
"""

from __future__ import annotations

from netlens.lenses.refused.counting import ALONE
from netlens.lenses.refused.deciding import doubt, fit_equally
from netlens.lenses.refused.judging import LITTLE, without_rules
from netlens.lenses.refused.sides import nobody_else_here
from netlens.lenses.refused.verdict import Evidence, Verdict, refuted, supported, undecided
from netlens.lenses.refused.weighing import Weighing
from netlens.text import plural

ID = "own-concurrency"
LETTER = "E"
CLAIM = "The program's own requests in flight exceed the account's limit, with or without a tunnel."
RANK = 5


def judge(weighing: Weighing) -> Verdict:
    s, rules = weighing.situation, weighing.grounds
    needed = None if s.egress_seen or nobody_else_here(weighing) else f"{s.other_capture}, which shows what else counts"
    if not rules:
        return without_rules(weighing, needed)
    found = [weighing.shares(fit, ALONE) for fit in rules]
    # what may be the side's own for want of knowing counts for it only at most
    refused = int(weighing.refused.sum())
    shares = [
        (1.0 - away.high, 1.0 - away.low) if fit.hits else (0.0, 1.0 - fit.misses / refused) for fit, away in zip(rules, found, strict=True)
    ]
    best, at, alone = rules[0], found[0].at, found[0].kept
    share = float(alone.sum() / max(at.sum(), 1))
    met, reached = ("at the limit", "reached it") if best.condition is None else (f"with {best.value} or more others", "were as many")
    text = f"in {int(alone.sum()):,} of {plural(int(at.sum()), 'refusal')} {met} ({share:.0%}) the side's own requests alone {reached}"
    evidence = [Evidence(text, weighing.frames(alone if alone.any() else at)), weighing.separation(best)]
    share *= best.explains
    if needed is None:
        half = weighing.supporting_share
        if min(low for low, _ in shares) >= half:
            return supported(share, best.p, evidence)
        if max(high for _, high in shares) < LITTLE:
            return refuted(*evidence, share=share, p=best.p)
        least, most = shares[0]
        if least < half <= most:
            needed = doubt(weighing)
        elif least >= half:
            needed = fit_equally(weighing)
    return undecided(
        needed or "a longer recording, because the side alone reaches the limit at only about half of the refusals", share, best.p, evidence
    )
