"""Send less with each request: a session that is compacted sends a summary instead of all that was said.

Applies under a limit on bytes, or tokens, over time or in progress.
"""

from __future__ import annotations

from netlens.lenses.refused.fixes import OPEN, RATES, Case, Variant
from netlens.lenses.refused.over_time import TimeRule
from netlens.lenses.refused.replay import Change, SizedRule

ID = "smaller-requests"
TITLE = "Halve the size of requests"
RANK = 2
AGAINST = (OPEN, *RATES)
CAVEATS = ("in opencode and Claude Code `/compact` replaces a session by its summary; a new session is smaller still",)


def variants(case: Case) -> list[Variant]:
    """One, where bytes are what is counted."""
    if not isinstance(case.rule, SizedRule) and not (isinstance(case.rule, TimeRule) and case.rule.counts == "bytes"):
        return []
    return [Variant(ID, TITLE, Change(smaller=0.5), None, CAVEATS)]
