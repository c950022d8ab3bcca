"""How a lab recording compares with the truth, and how that is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from netlens.text import printable

if TYPE_CHECKING:
    from netlens.lab.check.truth import Span

TOLERANCE_NS = 5_000_000


@dataclass
class Report:
    """What one recording was found to be.

    fix : that was done in it, if any: then nothing that the scenario expects is held against it.
    counts : what was compared -> (netlens, truth).  worst_ms : what was compared -> largest distance of a time from the true span.
    widest_ms : the widest true span.
    fractions : share of the VM's refusals that would not have happened without each cause, from the provider's own log.
    labels : with the programs' logs, and without: how many requests were labelled as the provider's log has it, how many not at all, how many wrongly.
    problems : one line for each disagreement; empty if all is well.
    """

    recording: str
    scenario: str
    fix: str = ""
    refused: dict[str, int] = field(default_factory=dict)
    counts: dict[str, tuple[int, int]] = field(default_factory=dict)
    worst_ms: dict[str, float] = field(default_factory=dict)
    widest_ms: float = 0.0
    fractions: dict[str, float] = field(default_factory=dict)
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def count(self, what: str, found: int, truth: int) -> None:
        self.counts[what] = (found, truth)
        if found != truth:
            self.problems.append(f"{what}: {found} found, {truth} true")

    def time(self, what: str, found_ns: int | None, truth: Span, name: str) -> None:
        """Compare a time; one that was not found is a disagreement."""
        if found_ns is None:
            self.problems.append(f"{what} of {name}: None found, {truth} true")
            return
        low, high = min(truth), max(truth)
        difference = found_ns - low if found_ns < low else max(found_ns - high, 0)
        self.widest_ms = max(self.widest_ms, round((high - low) / 1e6, 3))
        self.worst_ms[what] = max(self.worst_ms.get(what, 0.0), round(abs(difference) / 1e6, 3))
        if abs(difference) > TOLERANCE_NS:
            self.problems.append(f"{what} of {name}: {difference / 1e6:+.1f} ms")


def as_json(reports: Sequence[Report]) -> str:
    return json.dumps([asdict(report) for report in reports], indent=1)


def as_text(reports: Sequence[Report]) -> str:
    """A few lines for each recording."""
    lines = []
    for report in reports:
        verdict = "agrees" if not report.problems else f"{len(report.problems)} disagreements"
        what = f"{report.scenario}, with {report.fix} done" if report.fix else report.scenario
        lines.append(f"{report.recording} ({what}): {verdict}")
        refused = ", ".join(f"{count} on the {side}" for side, count in report.refused.items())
        shares = ", ".join(f"{cause} {share:.2f}" for cause, share in report.fractions.items() if share)
        lines.append(f"  refused: {refused}" + (f"; refusals gone without: {shares}" if shares else ""))
        lines.append("  counts: " + ", ".join(f"{what} {found}" for what, (found, true) in report.counts.items() if found == true))
        lines.append("  worst difference in ms: " + ", ".join(f"{what} {worst:g}" for what, worst in report.worst_ms.items()))
        lines[-1] += f"; widest true span {report.widest_ms:g}"
        lines += [f"  labels {how}: {', '.join(f'{n} {name}' for name, n in said.items())}" for how, said in report.labels.items()]
        lines += [f"  ! {problem}" for problem in report.problems]
    return "\n".join(map(printable, lines))
