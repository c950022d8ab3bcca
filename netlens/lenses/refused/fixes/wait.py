"""After a refusal wait until the limit lets the next request through, instead of trying again in between.

Applies under a limit over time, where the recording shows retries that were refused again.
"""

from __future__ import annotations

from netlens.lenses.refused.fixes import RATES, Case, Variant
from netlens.lenses.refused.over_time import TimeRule
from netlens.lenses.refused.replay import Change

ID = "wait"
TITLE = "Wait {seconds:.3g} s after a refusal before the next attempt"
RANK = 5
AGAINST = RATES
CAVEATS = ("by hand: interrupt the program and go on after that time, as opencode for one has no setting for it",)


def variants(case: Case) -> list[Variant]:
    """One, where requests were refused more than once."""
    rule = case.rule
    if not isinstance(rule, TimeRule) or int(case.intents.refusals.max(initial=0)) < 2:
        return []
    seconds = max(rule.free_after_s(case.situation), rule.fit.barred_s)
    return [Variant(ID, TITLE.format(seconds=seconds), Change(waits=True), None, CAVEATS)]
