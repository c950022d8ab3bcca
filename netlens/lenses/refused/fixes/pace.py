"""Send requests evenly, no faster than the limit over time lets through: the rest waits in a queue.

Applies under a limit on requests over time. The queue is a proxy's, so that programs need not know of it: nginx delays what comes too early.
"""

from __future__ import annotations

from netlens.lenses.refused import proxies
from netlens.lenses.refused.fixes import RATES, Case, Variant, names
from netlens.lenses.refused.limiters import SIZED
from netlens.lenses.refused.over_time import TimeRule
from netlens.lenses.refused.replay import Change

ID = "pace"
TITLE = "Send at most {per_minute} requests a minute, and queue the rest"
RANK = 3
AGAINST = RATES
ROOM = 1.03  #: a little slower than the limit, as clocks differ

CAVEATS = (
    "the command writes a configuration and starts nginx with it (apt-get install nginx, brew install nginx)",
    "answers come later while the queue is long",
)


def variants(case: Case) -> list[Variant]:
    """One, where requests are what is counted."""
    rule = case.rule
    if not isinstance(rule, TimeRule) or rule.counts in SIZED:
        return []
    per_minute = max(int(60 * rule.per_s / ROOM), 1)
    found = names(case.context)
    command = program = None
    caveats: tuple[str, ...] = CAVEATS
    if found:
        shared = rule.scope == "egress"
        command = proxies.pace(found[0], case.context.port, per_minute, shared=shared)
        program, more = proxies.leads(case.context, found, shared=shared)
        caveats += more
    change = Change(pace_s=60.0 / per_minute)
    return [Variant(ID, TITLE.format(per_minute=per_minute), change, command, caveats, recommended=True, program=program)]
