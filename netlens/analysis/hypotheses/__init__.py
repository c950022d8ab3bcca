"""The competing causes. Each is a module with CAUSE, CLAIM and NEEDS; what NEEDS lists is what would let the captures decide.

One capture alone decides none of them: every verdict is ``undecided`` here and says what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

#: In the order of the report.
IDS = ("same_nat_ip", "multiplexing", "dns", "keep_alive", "own_concurrency", "provider")


@dataclass(frozen=True)
class Verdict:
    """What the evidence says about one cause."""

    id: str
    cause: str
    claim: str
    verdict: str  # supported, refuted, undecided
    needs: str | None
    attributable_fraction: float | None = None
    p: float | None = None
    evidence: list[dict[str, Any]] = field(default_factory=list)


def undecided(vantage: str | None) -> list[Verdict]:
    """All causes as one capture leaves them. ``vantage``: where it was made, None if unknown."""
    other = {"vm": "a capture of the host over the same time", "host": "a capture of the VM over the same time"}.get(
        vantage or "", "captures of VM and host over the same time"
    )
    out = []
    for name in IDS:
        module = import_module(f"netlens.analysis.hypotheses.{name}")
        out.append(Verdict(name.replace("_", "-"), module.CAUSE, module.CLAIM, "undecided", module.NEEDS.format(other=other)))
    return out
