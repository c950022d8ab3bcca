"""The verdict on one cause: what the evidence says, what would decide where it says neither, and the frames that show it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Evidence:
    """A statement and the frames that show it: (side, frame number).  detail : its statistics, for who asks for details."""

    text: str
    frames: list[tuple[str, int]] = field(default_factory=list)
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """``verdict``: supported, refuted or undecided.  needs : what would decide an undecided one.  p : of the rule that it rests on.

    attributable_fraction : share of the refusals that would not have happened without the cause.
    probability : how likely it is, with 1 to 9 refusals (:mod:`netlens.lenses.refused.odds`); else None.
    id, cause, claim : of the cause, as its file declares them (``cause`` is its letter).
    """

    verdict: str
    needs: str | None = None
    attributable_fraction: float | None = None
    p: float | None = None
    evidence: list[Evidence] = field(default_factory=list)
    id: str = ""
    cause: str = ""
    claim: str = ""
    probability: float | None = None

    def to_dict(self, files: dict[str, str]) -> dict[str, Any]:
        """For JSON; ``files``: path of the capture of each side."""
        return {
            "id": self.id,
            "verdict": self.verdict,
            "attributable_fraction": self.attributable_fraction,
            "p": self.p,
            "probability": self.probability,
            "evidence": [
                {
                    "text": e.text,
                    "detail": e.detail,
                    "frames": [{"file": files.get(side, side), "frame": frame} for side, frame in e.frames],
                }
                for e in self.evidence
            ],
            "needs": self.needs,
            "cause": self.cause,
            "claim": self.claim,
        }


def needed(verdicts: Sequence[Verdict]) -> list[str]:
    """What the undecided verdicts need: first what likely ones do, if those that need the same are, then what most of them do."""
    undecided = [(v.needs, v.probability or 0.0) for v in verdicts if v.verdict == "undecided" and v.needs]
    likely: dict[str, float] = defaultdict(float)
    for text, probability in undecided:
        likely[text] += probability
    first = [text for text in likely if likely[text] > 0.5]
    first.sort(key=likely.__getitem__, reverse=True)
    return list(dict.fromkeys([*first[:1], *(text for text, _ in Counter(text for text, _ in undecided).most_common())]))


def statistics(fit: Any) -> str:
    """``AUC 1.00, p 0.002``, of a fitted rule."""
    return f"AUC {fit.auc:.2f}, p {fit.p:.2g}"


def supported(share: float | None, p: float | None, evidence: list[Evidence]) -> Verdict:
    return Verdict("supported", None, share, p, evidence)


def refuted(*evidence: Evidence, share: float | None = None, p: float | None = None) -> Verdict:
    return Verdict("refuted", None, share, p, list(evidence))


def undecided(needs: str, share: float | None = None, p: float | None = None, evidence: list[Evidence] | None = None) -> Verdict:
    return Verdict("undecided", needs, share, p, evidence or [])
