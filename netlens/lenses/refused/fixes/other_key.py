"""A key of its own for the VM, so that it is counted by itself.

Applies where both sides use the API and a limit over time is reached together, or a quota is used up.
"""

from __future__ import annotations

from netlens.chains.situation import HOST, VM
from netlens.lenses.refused import programs
from netlens.lenses.refused.fixes import QUOTA, SHARED_RATE, Case, Variant
from netlens.lenses.refused.over_time import TimeRule
from netlens.lenses.refused.replay import Change

ID = "other-key"
TITLE = "Use a key of another account on the VM"
RANK = 6
AGAINST = (SHARED_RATE, QUOTA)
CAVEATS = ("helps only if the provider counts per key or account, not per address",)


def variants(case: Case) -> list[Variant]:
    """One under a quota; under a limit over time if both sides are counted together."""
    program = programs.known(case.context.program)
    caveats = (*CAVEATS, *([program.login_caveat] if program.login_caveat else []))
    if isinstance(case.rule, TimeRule):
        if not (case.has(VM) and case.has(HOST)) or case.rule.scope != "egress":
            return []
        return [Variant(ID, TITLE, Change(own_address=True), program.login, caveats)]
    return [Variant(ID, TITLE, None, program.login, caveats, "what the other key has left is not known")]
