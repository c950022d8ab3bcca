"""The VM leaves from another public address than the host.

Applies where the egress address is counted (or nobody knows what is) and both sides use the API.
"""

from __future__ import annotations

from netlens.lenses.refused.fixes import OPEN, SHARED_RATE, Case, Variant
from netlens.lenses.refused.replay import Change

ID = "other-egress"
TITLE = "Give the VM its own public address"
RANK = 7
AGAINST = (OPEN, SHARED_RATE)

CAVEATS = (
    "SERVER is a machine elsewhere that you may use, with another public address; a bridged interface does not help, because it leaves from the same address",
    "helps only if the provider counts per address, not per key",
)
NOTE = "if the provider counts addresses and not keys, which packets do not tell"


def variants(case: Case) -> list[Variant]:
    """One, if both sides are there, and do not leave from different addresses as it is."""
    if case.situation.facts.get("apart") or not case.together:
        return []
    return [Variant(ID, TITLE, Change(own_address=True), "sshuttle --dns -r USER@SERVER 0.0.0.0/0", CAVEATS, NOTE)]
