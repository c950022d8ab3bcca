"""What causes share when they judge: the same questions in the same order.

A verdict rests on three questions, in this order. Could the captures have shown it at all (``missing`` says what lacks)? Does a rule separate
refused from accepted requests beyond chance? And would its refusals have happened without the cause? The sentences are in
:mod:`netlens.lenses.refused.evidence` and :mod:`netlens.lenses.refused.deciding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netlens.chains.situation import ACCEPTED, HOST, UNKNOWN, VM
from netlens.lenses.refused.deciding import ABOUT_HALF, EACH_TOO, UNSURE_ORDER, doubt, fit_equally, needs, unknown_sides
from netlens.lenses.refused.evidence import chance_evidence, named_evidence, time_evidence
from netlens.lenses.refused.limit import TIE
from netlens.lenses.refused.verdict import Evidence, Verdict, refuted, supported, undecided
from netlens.text import plural

if TYPE_CHECKING:
    from netlens.lenses.refused.counting import Adjustment
    from netlens.lenses.refused.weighing import Weighing

HALF = 0.5  #: share of the refusals that must go with a cause for it to be supported
LITTLE = 0.35  #: below this share the cause is refuted; between, two recordings of one situation may fall on either side of a half


def limit_verdict(weighing: Weighing, adjustment: Adjustment, *, structure: Evidence | None, missing: str | None, told: str) -> Verdict:
    """Verdict on a cause that lets a limit be reached.

    Parameters
    ----------
    structure : a fact of the captures that refutes it whatever was refused ("no lookup travelled over TCP"), or None.
    missing : the capture that could show it and is not there, or None.
    told : "without it", for the sentence on the share; empty where nothing was seen that could be left out.
    """
    if structure is not None:
        return refuted(structure, share=0.0 if weighing.grounds else None)
    rules = weighing.grounds
    if not rules:
        return without_rules(weighing, missing)
    shares = [weighing.shares(fit, adjustment) for fit in rules]
    best, at, gone = rules[0], shares[0].at, shares[0].gone
    share = float(gone.sum() / max(at.sum(), 1))
    met, succeeded = ("at the limit", "succeeded") if best.condition is None else (f"with {best.value} or more others", "met fewer")
    text = f"{int(gone.sum()):,} of {plural(int(at.sum()), 'refusal')} {met} ({share:.0%}) would have {succeeded} {told}"
    evidence = [Evidence(text, weighing.frames(gone if gone.any() else at))] if told else []
    evidence.append(weighing.separation(best))
    share *= best.explains
    low, high = min(s.low for s in shares), max(s.high for s in shares)
    if missing is not None:
        return undecided(missing, share, best.p, evidence)
    half = weighing.supporting_share
    if low >= half:
        return supported(share, best.p, evidence)
    if high < LITTLE:
        return refuted(*evidence, share=share, p=best.p)
    needed, unclear = ABOUT_HALF, doubt(weighing) if high >= half > low else ""
    if len(rules) > 1 and high >= half and unclear in ("", UNSURE_ORDER):
        needed = fit_equally(weighing)
    elif unclear:
        needed = unclear
    return undecided(needed, share, best.p, evidence)


Share = tuple[float, float]  #: for certain, and at most


def without_others_tied(weighing: Weighing) -> list[Share]:
    """The share of refusals at the limit that would have succeeded without the other side, under each limit over time that fits about equally well; the
    best first."""
    best = weighing.by_time[0]
    return [weighing.alone(fit).share for fit in weighing.by_time if fit.log_likelihood >= best.log_likelihood - TIE]


def share_verdict(
    weighing: Weighing, p: float, evidence: list[Evidence], missing: str | None, between: str, shares: list[Share]
) -> Verdict:
    """Verdict by the share of refusals that go with a cause under a limit over time.

    Parameters
    ----------
    between : what is needed where it is about half.  shares : under all limits that fit about equally well, the best first.
    """
    (share, most), least_of_all, most_of_all = shares[0], min(low for low, _ in shares), max(high for _, high in shares)
    if missing is not None:
        return undecided(missing, share, p, evidence)
    if least_of_all >= weighing.supporting_share:
        return supported(share, p, evidence)
    if most < LITTLE and most_of_all < HALF:
        return refuted(*evidence, share=share, p=p)
    if share < HALF <= most:
        between = unknown_sides(weighing.situation) if (weighing.situation.requests.side == UNKNOWN).any() else EACH_TOO
    elif least_of_all < HALF <= most_of_all:
        between = "a recording in which one side pauses now and then: a limit for each side and one for both fit equally well"
    return undecided(between, share, p, evidence)


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


def used_up_together(weighing: Weighing) -> bool:
    """Whether both sides were refused, and nothing of either was accepted from the first refusal to the last: one quota that both use up looks so."""
    r, refused = weighing.situation.requests, weighing.refused
    if not all((refused & (r.side == side)).any() for side in (VM, HOST)):
        return False
    first, last = r.start_ns[refused].min(), r.start_ns[refused].max()
    return not ((r.rejected == ACCEPTED) & (r.start_ns > first) & (r.start_ns < last)).any()
