"""What causes share when they judge: the same questions in the same order, and the sentences that answer them.

A verdict rests on three questions, in this order. Could the captures have shown it at all (``missing`` says what lacks)? Does a rule separate
refused from accepted requests beyond chance? And would its refusals have happened without the cause?
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlens import logs
from netlens.lenses.refused.limit import ENOUGH
from netlens.lenses.refused.verdict import Evidence, Verdict, refuted, supported, undecided
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.lenses.refused.counting import Adjustment
    from netlens.lenses.refused.over_time import Fit
    from netlens.lenses.refused.weighing import Weighing

HALF = 0.5  #: share of the refusals that must go with a cause for it to be supported
LITTLE = 0.35  #: below this share the cause is refuted; between, two recordings of one situation may fall on either side of a half
UNKNOWN_SIDES = "a capture of the VM over the same time, or sockets.jsonl, to tell whose connections they are"
ABOUT_HALF = "a longer recording, because this cause explains only about half of the refusals"


def limit_verdict(weighing: Weighing, adjustment: Adjustment, *, structure: Evidence | None, missing: str | None, told: str) -> Verdict:
    """Verdict on a cause that lets a limit be reached.

    Parameters
    ----------
    structure : a fact of the captures that refutes it whatever was refused ("no lookup travelled over TCP"), or None.
    missing : the capture that could show it and is not there, or None.
    told : "without it", for the sentence on the share.
    """
    if structure is not None:
        return refuted(structure, share=0.0 if weighing.rules else None)
    rules = weighing.rules
    if not rules:
        return without_rules(weighing, missing)
    shares = [weighing.shares(fit, adjustment) for fit in rules]
    best, (share, most, gone) = rules[0], shares[0]
    at = weighing.refused & (best.counts.count >= best.value)
    text = f"{int(gone.sum()):,} of {plural(int(at.sum()), 'refusal')} at the limit ({share:.0%}) would have succeeded {told}"
    evidence = [Evidence(text, weighing.frames(gone if gone.any() else at)), weighing.separation(best)]
    low, high = min(s for s, _, _ in shares), max(s for _, s, _ in shares)
    if missing is not None:
        return undecided(missing, share, best.p, evidence)
    if low >= HALF:
        return supported(share, best.p, evidence)
    if high < LITTLE:
        return refuted(*evidence, share=share, p=best.p)
    needed = ABOUT_HALF
    if len(rules) > 1 and high >= HALF:
        needed = fit_equally(weighing)
    elif most >= HALF > share:
        needed = UNKNOWN_SIDES
    return undecided(needed, share, best.p, evidence)


def share_verdict(share: float, p: float, evidence: list[Evidence], missing: str | None, between: str) -> Verdict:
    """Verdict by the share of refusals that go with a cause under a limit over time; ``between``: what is needed where it is about half."""
    if missing is not None:
        return undecided(missing, share, p, evidence)
    if LITTLE <= share < HALF:
        return undecided(between, share, p, evidence)
    return supported(share, p, evidence) if share >= HALF else refuted(*evidence, share=share, p=p)


def without_rules(weighing: Weighing, missing: str | None = None) -> Verdict:
    """Verdict on a cause that needs a limit on what is open, where no such limit explains the refusals."""
    if weighing.named:
        return refuted(named_evidence(weighing))
    if weighing.undecided_kind:
        return undecided(missing or weighing.undecided_kind)
    if weighing.by_time and missing is None:
        return refuted(time_evidence(weighing, weighing.by_time[0]))
    if weighing.chance:
        return refuted(chance_evidence(weighing))
    return undecided(missing or needs(weighing))


def fit_equally(weighing: Weighing) -> str:
    """What would decide between rules that are tied."""
    return f"a recording in which {' and '.join(fit.rule.name for fit in weighing.rules)} differ more, because here they fit equally well"


def time_evidence(weighing: Weighing, fit: Fit) -> Evidence:
    """One sentence on how a limit over time separates refused from accepted requests."""
    r = weighing.situation.requests
    accepted = int((r.rejected == 0).sum())
    whose = "from the same egress address" if fit.scope == "egress" else "by the same side"
    told = fit.described()
    if told["window"] == "bucket":
        rule = f"when requests {whose} had used up {told['burst']} tokens, one of which comes back every {told['refill_s']:.3g} s"
    elif fit.limiter.COUNTS == "bytes":
        rule = (
            f"when, together with those accepted {whose} in the {told['window_s']:.4g} s before, they came to {fit.value:,} bytes or more"
        )
    elif fit.limiter.COUNTS == "attempts":
        rule = f"when {fit.value} or more, including refused ones, had been sent {whose} in the {told['window_s']:.4g} s before"
    else:
        since = "since the window began" if told["window"] == "fixed" else "before"
        rule = f"when {fit.value} or more had been accepted {whose} in the {told['window_s']:.4g} s {since}"
    text = (
        f"{fit.hits:,} of {int(weighing.refused.sum()):,} refused requests came {rule}; {fit.false_alarms:,} of {accepted:,} accepted ones did "
        f"(AUC {fit.auc:.2f}, p {fit.p:.2g})"
    )
    return Evidence(text, weighing.frames(weighing.refused & (fit.counts.count >= fit.value)))


def named_evidence(weighing: Weighing) -> Evidence:
    """Why it refused, in the provider's own words."""
    what = {logs.QUOTA: "a quota is used up until it resets", logs.OVERLOAD: "the provider, or the model, is overloaded"}[weighing.named]
    n = int(weighing.refused.sum())
    return Evidence(f"{plural(n, 'refusal')} {'says' if n == 1 else 'say'} why: {what}", weighing.frames(weighing.refused))


def chance_evidence(weighing: Weighing) -> Evidence:
    i = weighing.inference
    best = max(i.fits, key=lambda f: f.youden)
    text = (
        f"{i.refused:,} of {plural(i.refused + i.accepted, 'request')} were refused, and no count predicts which: the best, {best.rule.name}, "
        f"separates {best.youden:.0%} at most (AUC {best.auc:.2f}); a limit would separate nearly all"
    )
    return Evidence(text, weighing.frames(weighing.refused))


def needs(weighing: Weighing) -> str:
    """What would decide, where no rule separates and chance is not told either."""
    i, s = weighing.inference, weighing.situation
    if s.uncountable:
        return s.uncountable
    if i.refused == 0:
        return "a recording in which requests are refused"
    if not i.accepted:
        return "a recording in which some requests are accepted"
    if not i.enough:
        return f"a recording with at least {ENOUGH} refusals; this one has {i.refused}"
    if weighing.undecided_kind:
        return weighing.undecided_kind
    if not s.egress_seen:
        return s.other_capture
    if weighing.unmatched:
        return f"error logs on the same clocks as the captures: {plural(weighing.unmatched, 'refusal')} in these match no request"
    return "a longer recording: no count separates refused from accepted requests clearly, but chance alone does not explain them either"
