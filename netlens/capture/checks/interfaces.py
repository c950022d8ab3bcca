"""Network interfaces.

Claim: an interface other than loopback is up.
Fix: set it up.
"""

from __future__ import annotations

import shlex

from netlens.capture.checks import MISSING, OK, WARNING, Machine, Result, Scene, few

TITLE = "interfaces"
RANK = 40


def look(machine: Machine, scene: Scene) -> Result:
    up = [i for i in machine.facts.interfaces if i.up]
    if not machine.facts.interfaces:
        return Result(WARNING, "could not be listed", machine.install("ip") if machine.system == "Linux" else "")
    outside = [i for i in up if not i.name.startswith("lo") and (i.addresses or machine.system == "Linux")]
    if not outside:
        return Result(MISSING, "only loopback is up", f"ip link set {shlex.quote(machine.facts.interfaces[-1].name)} up")
    shown = [f"{i.name} {few([a for a in i.addresses if not a.startswith('fe80')] or list(i.addresses), 2)}".strip() for i in outside]
    loopback = "lo0" if machine.system == "Darwin" else "lo"
    return Result(
        OK, f"{few(shown, 4)}; a tunnel's traffic is on {loopback}, so record with -i {'pktap,all' if loopback == 'lo0' else 'any'}"
    )
