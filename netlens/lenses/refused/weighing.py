"""What every hypothesis weighs with: the fitted rules, the share of refusals that goes with a cause, and the words for its verdict.

A verdict rests on three questions, in this order. Could the captures have shown it at all (``missing`` says what lacks)? Does a rule separate
refused from accepted requests beyond chance? And would its refusals have happened without the cause?
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from netlens import loglines
from netlens.chains.situation import REJECTED, Situation
from netlens.lenses.refused import over_time
from netlens.lenses.refused.counting import AS_SEEN, Adjustment, others
from netlens.lenses.refused.limit import ENOUGH, TIE, Inference, RuleFit
from netlens.lenses.refused.over_time import Fit
from netlens.text import plural

ALPHA = 0.05  #: p (after Holm) at or below which separation is not chance; docs/calibration.md has what comes of it
SENSITIVITY = 0.75  #: share of the refusals that must stand at or above the limit: below it something else refuses too
PRECISION = 0.75  #: share of the requests at or above the limit that must be refused: a limit refuses all of them
HALF = 0.5  #: share of the refusals that must go with a cause for it to be supported
LITTLE = 0.35  #: below this share the cause is refuted; between, two recordings of one situation may fall on either side of a half
EXPLAINED = 0.3  #: share of the chance model's log likelihood that a rule must explain (McFadden's R2): retry storms make 0.2 of their own
MARGIN = 1.0  #: log units by which a rule must beat the chance model
NO_RULE = 0.5  #: separation (Youden's J) that no limit of any rule reaches where refusals follow no count; a limit that is real reaches 0.7
NO_BETTER = 4.0  #: log units by which rules may beat the chance model there: every rule has a limit to choose and the chance model has none
UNKNOWN_SIDES = "whose connections they are: a capture of the VM over the same time, or sockets.jsonl"
LABELLED = 0.5  #: share of the requests that must have a label for chance to be told
BLURRED = 0.01  #: share of the payload that is missing from a capture
UNMATCHED = 0.25  #: share of the refusals; silent retries leave none, and the edges of a recording a few
FRAMES = 5  #: frames cited for a statement


@dataclass(frozen=True)
class Evidence:
    """A statement and the frames that show it: (side, frame number)."""

    text: str
    frames: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about one cause. ``verdict``: supported, refuted or undecided; ``needs``: what would decide an undecided one."""

    id: str
    cause: str
    claim: str
    verdict: str
    needs: str | None
    attributable_fraction: float | None = None
    p: float | None = None
    evidence: list[Evidence] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Weighing:
    """A situation with its fitted rules.

    time_fits : limits over time (:func:`netlens.lenses.refused.over_time.fits`).  refusal_class : the class of its refusals.
    """

    situation: Situation
    inference: Inference
    time_fits: list[Fit] = field(default_factory=list)
    refusal_class: str = loglines.UNKNOWN

    @cached_property
    def named(self) -> str:
        """The limiter that the provider's own words name: "quota" or "overload", given enough refusals; "" if they name none."""
        named = self.refusal_class in (loglines.QUOTA, loglines.OVERLOAD) and self.inference.refused >= ENOUGH
        return self.refusal_class if named else ""

    @cached_property
    def kind(self) -> str:
        """What kind of limit tells refused from accepted: "concurrency" (what is open), "rate" (what was sent before), "either", or "" for none."""
        if self.named:
            return ""
        best, timely = self.inference.best, [f for f in self.time_fits if self.separates(f)]
        by_open = best is not None and self.separates(best)
        if best is None or not timely:
            return "concurrency" if by_open else ""
        # what leaves fewer exceptions is not outdone by the price of its search
        clearer = min(f.misses + f.false_alarms for f in timely) < best.misses + best.false_alarms
        if by_open and best.log_likelihood >= timely[0].log_likelihood + TIE and not clearer:
            return "concurrency"
        # what is uncertain about counts of what is open is no evidence for another kind of limit
        could = max(f.possible_log_likelihood for f in self.inference.fits)
        if by_open and self.situation.facts.get("lost_share", 0.0) > BLURRED:
            return "either"  # where packets are missing, ends of connections are, and what was open is known less well than what was sent
        return "rate" if timely[0].log_likelihood >= could + TIE else "either"

    @cached_property
    def by_time(self) -> list[Fit]:
        """The limits over time that tell refused from accepted, the best first, if that is the kind of limit; else none."""
        return [f for f in self.time_fits if self.separates(f)] if self.kind == "rate" else []

    @cached_property
    def undecided_kind(self) -> str:
        """What would decide, where a limit on what is open and one over time fit about equally well; "" where they do not."""
        if self.kind != "either":
            return ""
        best, other = self.inference.fits[0], next(f for f in self.time_fits if self.separates(f))
        return (
            f"a recording with pauses and with longer answers: {best.rule.name} and {other.name} explain the refusals equally well, "
            "so the limit may be on what is in progress or on what was sent over time"
        )

    @cached_property
    def refused(self) -> npt.NDArray[np.bool_]:
        return self.situation.requests.rejected == REJECTED

    @cached_property
    def rules(self) -> list[RuleFit]:
        """The best rule on what is open and those tied with it, if that is the kind of limit; else none."""
        best = self.inference.best
        return [best, *self.inference.tied] if best is not None and self.kind == "concurrency" else []

    def separates(self, fit: RuleFit | Fit) -> bool:
        """Whether a rule tells refused from accepted: beyond chance, better than one rate for all, and with few exceptions."""
        above, chance = fit.hits + fit.false_alarms, self.inference.chance_log_likelihood
        if isinstance(fit, Fit):
            chance = max(chance, fit.chance_log_likelihood)
        return (
            self.inference.enough
            and fit.hits >= ENOUGH
            and fit.p <= ALPHA
            and fit.log_likelihood > max(chance + MARGIN, chance * (1.0 - EXPLAINED))
            and fit.hits >= SENSITIVITY * (fit.hits + fit.misses)
            and fit.hits >= PRECISION * above
        )

    @cached_property
    def unmatched(self) -> int:
        """Refusals of the logs that match no request, where they are so many that the labels may be of the wrong requests; else 0."""
        n = int(self.situation.facts.get("unmatched", 0))
        return n if n > UNMATCHED * self.inference.refused else 0

    @cached_property
    def chance(self) -> bool:
        """Whether refusals follow no count at all: everything that could count was seen, and no rule separates, on what is open or over time."""
        i = self.inference
        if self.situation.facts.get("protocol_unknown"):
            return False  # it may be HTTP/2, where turns are not requests and counting them tells nothing
        if not (i.enough and i.fits and self.situation.egress_seen) or min(i.chains, i.accepted) < ENOUGH:
            return False
        labelled = i.refused + i.accepted
        if self.unmatched or labelled < LABELLED * len(self.situation.requests):
            return False
        best = max(f.log_likelihood for f in i.fits)
        if any(f.p <= ALPHA and f.log_likelihood > f.chance_log_likelihood + MARGIN for f in self.time_fits):
            return False
        if not (i.chance_log_likelihood > best - NO_BETTER and max(f.youden for f in i.fits) < NO_RULE):
            return False
        return not over_time.follows_windows(self.situation, i.first)

    def shares(self, fit: RuleFit, adjustment: Adjustment) -> tuple[float, float, npt.NDArray[np.bool_]]:
        """As :meth:`without`, over every limit that fits as well: the smallest and the largest share, and which refusals at ``value``."""
        low, high, gone = self.without(fit, adjustment)
        if fit.low < fit.value:
            least, most, _ = self.without(fit, adjustment, fit.low)
            low, high = min(low, least), max(high, most)
        return low, high, gone

    def without(self, fit: RuleFit, adjustment: Adjustment, limit: int | None = None) -> tuple[float, float, npt.NDArray[np.bool_]]:
        """Share of the refusals at or above the limit that fall below it once ``adjustment`` is made: for certain, at most, and which they are.

        The two differ by what belongs to an unknown side: it may be the request's own, which no cause takes away.
        """
        limit = fit.value if limit is None else limit
        at = self.refused & (fit.counts.count >= limit)
        if fit.other_account is not None:
            at &= self.situation.requests.side != fit.other_account
        if not at.any():
            return 0.0, 0.0, at
        fewer = others(self.situation, fit.rule, adjustment)
        gone = at & (fewer.count + fewer.unknown < limit)
        return float(gone.sum() / at.sum()), float((at & (fewer.count < limit)).sum() / at.sum()), gone

    def frames(self, mask: npt.NDArray[np.bool_]) -> list[tuple[str, int]]:
        """The first few of these requests, in each capture that has them."""
        r = self.situation.requests
        rows = np.flatnonzero(mask)[:FRAMES]
        return [(side, int(f)) for side, column in (("host", r.host_frame), ("vm", r.vm_frame)) for f in column[rows].tolist() if f]

    def session_frames(self, mask: npt.NDArray[np.bool_]) -> list[tuple[str, int]]:
        s = self.situation.sessions
        rows = np.flatnonzero(mask)[:FRAMES]
        return [(side, int(f)) for side, column in (("host", s.host_frame), ("vm", s.vm_frame)) for f in column[rows].tolist() if f]

    def separation(self, fit: RuleFit) -> Evidence:
        """One sentence on how a rule separates."""
        r = self.situation.requests
        met = self.refused & (fit.counts.count >= fit.value)
        whose = "from the same egress address" if fit.rule.scope == "egress" else "of the same side"
        accepted_above = fit.false_alarms
        text = (
            f"{fit.hits:,} of {int(self.refused.sum()):,} refused requests met {fit.value} or more other {_unit(fit)} {whose}; "
            f"{accepted_above:,} of {int((r.rejected == 0).sum()):,} accepted ones did (AUC {fit.auc:.2f}, p {fit.p:.4f})"
        )
        return Evidence(text, self.frames(met))


def _unit(fit: RuleFit) -> str:
    return "requests in flight" if fit.rule.unit == "requests" else "open connections"


def limit_verdict(
    weighing: Weighing,
    id_: str,
    cause: str,
    claim: str,
    adjustment: Adjustment,
    *,
    structure: Evidence | None,
    missing: str | None,
    told: str,
) -> Verdict:
    """Verdict on a cause that lets a limit be reached.

    Parameters
    ----------
    structure : a fact of the captures that refutes it whatever was refused ("no lookup travelled over TCP"), or None.
    missing : the capture that could show it and is not there, or None.
    told : "... without it", for the sentence on the share.
    """
    if structure is not None:
        return Verdict(id_, cause, claim, "refuted", None, 0.0 if weighing.rules else None, None, [structure])
    rules = weighing.rules
    if not rules:
        return without_rules(weighing, id_, cause, claim, missing)
    shares = [weighing.shares(fit, adjustment) for fit in rules]
    best, (share, _, gone) = rules[0], shares[0]
    at = weighing.refused & (best.counts.count >= best.value)
    evidence = [
        Evidence(
            f"{int(gone.sum()):,} of {plural(int(at.sum()), 'refusal')} at the limit ({share:.0%}) would have met fewer than {best.value} {told}",
            weighing.frames(gone if gone.any() else at),
        ),
        weighing.separation(best),
    ]
    if missing is not None:
        return Verdict(id_, cause, claim, "undecided", missing, share, best.p, evidence)
    low, high = min(s for s, _, _ in shares), max(s for _, s, _ in shares)
    if low >= HALF:
        return Verdict(id_, cause, claim, "supported", None, share, best.p, evidence)
    if high < LITTLE:
        return Verdict(id_, cause, claim, "refuted", None, share, best.p, evidence)
    if len(rules) > 1 and high >= HALF:
        names = " and ".join(fit.rule.name for fit in rules)
        return Verdict(
            id_, cause, claim, "undecided", f"a recording in which {names} differ more: they fit equally well here", share, best.p, evidence
        )
    if shares[0][1] >= HALF > share:
        return Verdict(id_, cause, claim, "undecided", UNKNOWN_SIDES, share, best.p, evidence)
    return Verdict(id_, cause, claim, "undecided", "a longer recording: about half of the refusals go with it", share, best.p, evidence)


def without_rules(weighing: Weighing, id_: str, cause: str, claim: str, missing: str | None = None) -> Verdict:
    """Verdict on a cause that needs a limit on what is open, where no such limit explains the refusals."""
    if weighing.named:
        return Verdict(id_, cause, claim, "refuted", None, None, None, [named_evidence(weighing)])
    if weighing.undecided_kind:
        return Verdict(id_, cause, claim, "undecided", missing or weighing.undecided_kind)
    if weighing.by_time and missing is None:
        return Verdict(id_, cause, claim, "refuted", None, None, None, [time_evidence(weighing, weighing.by_time[0])])
    if weighing.chance:
        return Verdict(id_, cause, claim, "refuted", None, None, None, [chance_evidence(weighing)])
    return Verdict(id_, cause, claim, "undecided", missing or needs(weighing))


def time_evidence(weighing: Weighing, fit: Fit) -> Evidence:
    """One sentence on how a limit over time separates refused from accepted requests."""
    r = weighing.situation.requests
    accepted = int((r.rejected == 0).sum())
    whose = "from the same egress address" if fit.scope == "egress" else "by the same side"
    told = fit.described()
    if told["window"] == "bucket":
        rule = f"when requests {whose} had used up {told['burst']} tokens, of which one comes back every {told['refill_s']:.3g} s"
    elif fit.limiter.COUNTS == "bytes":
        rule = f"when they and those accepted {whose} in the {told['window_s']:.4g} s before came to {fit.value:,} bytes or more"
    elif fit.limiter.COUNTS == "attempts":
        rule = f"when {fit.value} or more had been sent {whose} in the {told['window_s']:.4g} s before, refused ones too"
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
    what = {loglines.QUOTA: "a quota is used up until it resets", loglines.OVERLOAD: "the provider, or the model, is overloaded"}[
        weighing.named
    ]
    n = int(weighing.refused.sum())
    return Evidence(f"{plural(n, 'refusal')} {'says' if n == 1 else 'say'} why: {what}", weighing.frames(weighing.refused))


def chance_evidence(weighing: Weighing) -> Evidence:
    i = weighing.inference
    best = max(i.fits, key=lambda f: f.youden)
    text = (
        f"{i.refused:,} of {plural(i.refused + i.accepted, 'request')} were refused, and no count tells which: the best, {best.rule.name}, "
        f"separates {best.youden:.0%} at most (AUC {best.auc:.2f}), where a limit separates nearly all"
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
        return f"a recording with more refusals: {i.refused} are too few, {ENOUGH} at least"
    if weighing.undecided_kind:
        return weighing.undecided_kind
    if not s.egress_seen:
        return s.other_capture
    if weighing.unmatched:
        return f"logs by the clocks of the captures: {plural(weighing.unmatched, 'refusal')} in them match no request, so others may be taken for refused"
    return "a longer recording: what was counted separates refused from accepted requests neither clearly nor not at all"


def as_dict(verdict: Verdict, files: dict[str, str]) -> dict[str, Any]:
    """The JSON of a verdict; ``files``: path of the capture of each side."""
    return {
        "id": verdict.id,
        "verdict": verdict.verdict,
        "attributable_fraction": verdict.attributable_fraction,
        "p": verdict.p,
        "evidence": [
            {"text": e.text, "frames": [{"file": files.get(side, side), "frame": frame} for side, frame in e.frames]}
            for e in verdict.evidence
        ],
        "needs": verdict.needs,
        "cause": verdict.cause,
        "claim": verdict.claim,
    }


__all__ = ["AS_SEEN", "Adjustment", "Evidence", "Verdict", "Weighing", "limit_verdict"]
