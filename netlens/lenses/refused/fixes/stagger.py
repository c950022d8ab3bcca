"""VM and host take turns: one queue for both, with as many places as the limit allows.

Applies where both sides had requests and the egress address is counted (or nobody knows what is).
"""

from __future__ import annotations

from netlens.chains.situation import HOST, VM
from netlens.lenses.refused import proxies
from netlens.lenses.refused.fixes import OPEN, Case, Variant
from netlens.lenses.refused.replay import Change

ID = "stagger"
TITLE = "Share one queue between VM and host"
RANK = 6
AGAINST = (OPEN,)

CAVEATS = (
    "needs HAProxy on the host (apt-get install haproxy, brew install haproxy), and every program pointed at it",
    "by hand: start work on one side only when the other has finished",
)


def variants(case: Case) -> list[Variant]:
    """One, if both sides made requests."""
    sides = set(case.situation.requests.side.tolist())
    if not {VM, HOST} <= sides or (case.rule is not None and case.rule.scope != "egress"):
        return []
    limit = case.rule.value if case.rule else 1
    limit = max(limit, 1)
    command, program, more = proxies.queued(case.context, limit, shared=True)
    return [Variant(ID, TITLE, Change(cap=limit, cap_shared=True), command, (*CAVEATS, *more), program=program)]
