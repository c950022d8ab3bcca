"""No request for a title beside the first real one of a conversation.

Applies where requests are known as titles: by their size, which is of another order than a turn's, or as the shorter one of pairs of requests that begin
together at a fixed distance.
"""

from __future__ import annotations

import numpy as np

from netlens.chains.situation import REJECTED
from netlens.lenses.refused.fixes import OPEN, RATES, Case, Variant
from netlens.lenses.refused.programs import OPENCODE
from netlens.lenses.refused.replay import Change
from netlens.text import plural

ID = "no-title"
TITLE, SMALL = "Turn off session titles", "Leave out the small requests"
RANK = 1
AGAINST = (OPEN, *RATES)

COMMAND = """OPENCODE_CONFIG_CONTENT='{"agent": {"title": {"disable": true}}}' opencode"""
CAVEATS = (
    "title requests are recognised by their size or time alone",
    "sessions are then named by their date; a small_model of another provider for titles helps as well, and an unknown model is silently ignored",
)


def variants(case: Case) -> list[Variant]:
    """One, if there are requests that look like titles."""
    if not case.titles:
        return []
    program, count = case.context.program, len(case.titles)
    named = program == OPENCODE
    like = "like titles" if named else "small beside the others"
    note = f"{plural(count, 'request')} {'looks' if count == 1 else 'look'} {like}; {_beside(case, 'titles' if named else 'these')}"
    by_hand = "they may be any small jobs: see which of them the program can leave out" + ("" if program else f" (opencode: {COMMAND})")
    command, caveats = (COMMAND, CAVEATS) if named else (None, (CAVEATS[0], by_hand))
    return [Variant(ID, TITLE if named else SMALL, Change(without=case.titles), command, caveats, note)]


def _beside(case: Case, what: str) -> str:
    """How many of the refusals are of titles, or came while one of the same side was in progress."""
    r = case.situation.requests
    refused = np.flatnonzero(r.rejected == REJECTED)
    rows = np.array(sorted(row for k in case.titles for row in case.intents.attempts[k]), np.int64)
    met = np.isin(refused, rows)
    for side in np.unique(r.side[rows]).tolist():
        mine = rows[r.side[rows] == side]
        at = r.start_ns[refused]
        begun, ended = (np.searchsorted(np.sort(times[mine]), at, "right") for times in (r.start_ns, r.done_ns))
        met |= (r.side[refused] == side) & (begun > ended)
    return f"{int(met.sum()):,} of {plural(len(refused), 'refusal')} {'is' if met.sum() == 1 else 'are'} of {what}, or came while one was in progress"
