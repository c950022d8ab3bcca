"""Lookups open no connections to the provider.

Applies where DNS over TCP went to it, and where connections count (or nobody knows what does).
"""

from __future__ import annotations

import shlex

from netlens.chains.situation import LOOKUPS
from netlens.lenses.refused.fixes import OPEN, Case, Variant, addresses, names
from netlens.lenses.refused.replay import Change

ID = "separate-lookups"
TITLE = "Look up names without connections to the provider"
RANK = 3
AGAINST = (OPEN,)

CAVEATS = (
    "the entry in /etc/hosts pins the API to today's addresses; remove it when they change",
    "pin only addresses from a capture of your own",
    "or use a name server elsewhere, over UDP (glibc: no use-vc in /etc/resolv.conf)",
)


def variants(case: Case) -> list[Variant]:
    """One, if there are sessions of lookups."""
    lookups = bool((case.situation.sessions.kind == LOOKUPS).any())
    if not lookups or (case.rule is not None and case.rule.unit != "connections"):
        return []
    where, called = addresses(case.context), names(case.context)
    command = None
    if where and called:
        command = f"echo {shlex.quote(' '.join((where[0], *called)))} | sudo tee -a /etc/hosts"
    return [Variant(ID, TITLE, Change(without_lookups=True), command, CAVEATS)]
