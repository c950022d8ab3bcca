"""A queue in front of the API: as many requests in progress as the limit allows, the rest wait for their turn in a proxy on the program's machine.

Applies where requests are counted and only one side has any, or each side is counted by itself: all its programs and windows share the queue. Of both sides
that are counted together see ``stagger``.
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
CONTAINERS = "programs in containers do not reach 127.0.0.1 of their machine: have it listen on the address of the containers' bridge"


def variants(case: Case) -> list[Variant]:
    """One, if one side alone made more requests at once than the limit allows."""
    if case.rule is None or case.rule.unit != "requests" or case.together or case.own_peak <= case.rule.value:
        return []
    limit = case.rule.value
    command, program, more = proxies.queued(case.context, limit, shared=False)
    each = case.has(VM) and case.has(HOST)  # a queue on each side's own machine
    more = (*more, *([CONTAINERS] if case.context.at_once > 1 else []))
    change = Change(cap=limit, cap_shared=not each)
    return [Variant(ID, TITLE.format(limit=limit), change, command, (*CAVEATS, *more), program=program)]
