"""A queue in front of the API: as many requests in progress as the limit allows, the rest wait for their turn in a proxy on the program's machine.

Applies where requests are counted and only one side has any: all its programs and windows share the queue. Of both sides see ``stagger``.
"""

from __future__ import annotations

from netlens.chains.situation import HOST, VM
from netlens.lenses.refused import proxies
from netlens.lenses.refused.fixes import OPEN, Case, Variant
from netlens.lenses.refused.replay import Change

ID = "queue"
TITLE = "Queue requests in a proxy, {limit} at a time"
RANK = 4
AGAINST = (OPEN,)

CAVEATS = (
    "needs HAProxy (apt-get install haproxy, brew install haproxy)",
    "an answer that is broken off counts until the provider has ended it",
)


def variants(case: Case) -> list[Variant]:
    """One, if one side alone made more requests at once than the limit allows."""
    if case.rule is None or case.rule.unit != "requests" or (case.has(VM) and case.has(HOST)) or case.own_peak <= case.rule.value:
        return []
    limit = case.rule.value
    command, program, more = proxies.queued(case.context, limit, shared=False)
    return [Variant(ID, TITLE.format(limit=limit), Change(cap=limit, cap_shared=True), command, (*CAVEATS, *more), program=program)]
