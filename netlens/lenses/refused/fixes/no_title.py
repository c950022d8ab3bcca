"""No request for a title beside the first real one of a conversation.

Applies where requests are known as titles: by their size, which is of another order than a turn's, or as the shorter one of pairs of requests that begin
together at a fixed distance.
"""

from __future__ import annotations

from netlens.lenses.refused.fixes import OPEN, RATES, Case, Variant
from netlens.lenses.refused.replay import Change

ID = "no-title"
TITLE = "Turn off session titles"
RANK = 1
AGAINST = (OPEN, *RATES)

COMMAND = """OPENCODE_CONFIG_CONTENT='{"agent": {"title": {"disable": true}}}' opencode"""
CAVEATS = (
    "title requests are recognised by their size or time alone",
    "sessions are then named by their date; a small_model of another provider for titles helps as well, and an unknown model is ignored without a word",
)


def variants(case: Case) -> list[Variant]:
    """One, if there are requests that look like titles."""
    if not case.titles:
        return []
    note = f"{len(case.titles)} requests look like titles"
    return [Variant(ID, TITLE, Change(without=case.titles), COMMAND, CAVEATS, note)]
