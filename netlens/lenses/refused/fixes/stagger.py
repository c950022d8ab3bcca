"""VM and host take turns: one queue for both, of as many places as the limit allows.

Applies where both sides had requests and the egress address is counted (or nobody knows what is).
"""

from __future__ import annotations

from netlens.chains.situation import HOST, VM
from netlens.lenses.refused import proxies
from netlens.lenses.refused.fixes import OPEN, Case, Variant, names
from netlens.lenses.refused.replay import Change

ID = "stagger"
TITLE = "Share one queue between VM and host"
RANK = 6
AGAINST = (OPEN,)

CAVEATS = (
    "needs HAProxy on the host (apt-get install haproxy, brew install haproxy), and every program led to it",
    "by hand: start work on one side only when the other has finished",
)


def variants(case: Case) -> list[Variant]:
    """One, if both sides made requests."""
    sides = set(case.situation.requests.side.tolist())
    if not {VM, HOST} <= sides or (case.rule is not None and case.rule.scope != "egress"):
        return []
    limit = case.rule.value if case.rule else 1
    limit, found = max(limit, 1), names(case.context)
    command = program = None
    caveats: tuple[str, ...] = CAVEATS
    if found:
        command = proxies.queue(found[0], case.context.port, limit)
        program, more = proxies.leads(case.context, found, shared=True)
        caveats += more
    return [Variant(ID, TITLE, Change(cap=limit, cap_shared=True), command, caveats, program=program)]
