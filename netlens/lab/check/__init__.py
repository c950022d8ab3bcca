"""Holds what netlens reads in a lab recording against what the provider and the programs wrote down.

Counts must agree exactly, times within ``TOLERANCE_NS``, after the known clock of the VM. Compared are

- host: connections to the provider's network with what it accepted (start, end), exchanges with its requests, lookups with its name server's;
- vm: connections, exchanges and lookups with what the VM's programs did; where no tunnel is between, ends with the provider's too;
- error logs: one refusal in them for each that the programs saw;
- labels: what netlens says of every request with what the provider did, with the error logs and without them;
- the scenario itself: who was refused, and which causes the provider's own log shows (``fractions``).

A program notes a time before or after the packet, and on a busy machine it runs late now and then (90 ms were seen). So where both ends
of a request are known, the truth is a span: not before the sender began, not after the receiver had it. Such spans are below a millisecond
nearly always; ``widest_ms`` tells the widest.

Recordings of the real opencode, which keeps no journal, are held against the provider's log alone (``real``): each request with its label, and the verdict.
"""

from __future__ import annotations

from pathlib import Path

from netlens.errors import NetlensError
from netlens.lab.check.labels import check_labels
from netlens.lab.check.real import check_requests
from netlens.lab.check.report import Report, as_json, as_text
from netlens.lab.check.side import Side
from netlens.lab.check.story import check_story
from netlens.lab.check.truth import Truth, bundled
from netlens.text import printable

__all__ = ["Report", "Side", "Truth", "as_json", "as_text", "bundled", "check"]


def check(recording: Path) -> Report:
    """Compare one recording; disagreements are in the report, NetlensError is raised only if it cannot be read."""
    try:
        truth = Truth(recording)
        report = Report(str(recording), truth.scenario, truth.fix)
        if truth.real:
            check_requests(report, truth)
        else:
            check_story(report, truth)
            for side in ("host", "vm"):
                Side(report, truth, side).check()
            check_labels(report, truth)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # What the laboratory wrote has every value that is asked for; in what another wrote any of some hundred may be missing or of another kind.
        raise NetlensError(
            f"{printable(str(recording))}: not a recording of the laboratory, or changed since ({type(error).__name__}: {printable(str(error))[:80]})"
        ) from error
    return report
