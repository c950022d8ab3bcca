"""A key of its own for the VM, so that it is counted by itself.

Applies where both sides use the API and a limit is reached together, or a quota is used up.
"""

from __future__ import annotations

from netlens.lenses.refused import programs
from netlens.lenses.refused.fixes import OPEN, QUOTA, SHARED_RATE, Case, Variant
from netlens.lenses.refused.replay import Change

ID = "other-key"
TITLE = "Use a key of another account on the VM"
RANK = 6
AGAINST = (OPEN, SHARED_RATE, QUOTA)
CAVEATS = ("helps only if the provider counts per key or account, not per address",)
NOTE = "if the provider counts keys and not addresses, which packets do not tell"


def variants(case: Case) -> list[Variant]:
    """One under a quota; under a limit if both sides are counted together."""
    program = programs.known(case.context.program)
    caveats = tuple(filter(None, (*CAVEATS, program.login_caveat)))
    if case.context.quota:
        return [Variant(ID, TITLE, None, program.login, caveats, "what the other key has left is not known")]
    if not case.together:
        return []
    return [Variant(ID, TITLE, Change(own_address=True), program.login, caveats, NOTE)]
