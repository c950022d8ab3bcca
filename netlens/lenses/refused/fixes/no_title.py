"""No request for a title beside the first real one of a conversation.

Applies where pairs of requests of one side begin together at a fixed distance, and one of the two is the shorter.
"""

from __future__ import annotations

from netlens.lenses.refused.fixes import OPEN, RATES, Case, Variant
from netlens.lenses.refused.replay import Change

ID = "no-title"
TITLE = "Generate session titles with another model"
RANK = 1
AGAINST = (OPEN, *RATES)

COMMAND = """OPENCODE_CONFIG_CONTENT='{"small_model": "PROVIDER/MODEL"}' opencode"""
CAVEATS = (
    "title requests are recognised only by their time and length",
    "opencode documents small_model for titles; choose a model of another provider, or the request still counts (not tried here)",
)


def variants(case: Case) -> list[Variant]:
    """One, if there are requests that look like titles."""
    if not case.titles:
        return []
    note = f"{len(case.titles)} requests look like titles"
    return [Variant(ID, TITLE, Change(without=case.titles), COMMAND, CAVEATS, note)]
