"""Addresses of the API.

Claim: each name has an address, on each machine the same ones.
Fix: the command that looks the name up, to see what the name server says.
"""

from __future__ import annotations

from netlens.capture.checks import MISSING, NOT, OK, WARNING, Machine, Result, Scene, few

TITLE = "API names"
RANK = 160


def look(machine: Machine, scene: Scene) -> Result:
    if not scene.apis:
        return Result(NOT, "no API was named", "netlens doctor --api api.z.ai")
    found = {name: machine.resolve(name) for name in scene.apis}
    lost = [name for name, addresses in found.items() if not addresses]
    servers = few(list(machine.facts.nameservers), 2)
    asked = f"{'asked ' + servers if servers else 'no name server is configured'}"
    if len(lost) == len(found):
        status = MISSING if scene.apis_named else WARNING
        return Result(status, f"{few(lost, 3)}: cannot be resolved ({asked})", _look_up(machine, lost[0]))
    text = "; ".join(f"{name} is {few(list(addresses), 3)}" for name, addresses in found.items() if addresses)
    if lost and scene.apis_named:
        return Result(MISSING, f"{few(lost, 3)}: cannot be resolved ({asked}); {text}", _look_up(machine, lost[0]))
    if machine is not scene.here and (apart := [n for n in found if set(found[n]) != set(scene.here.resolve(n))]):
        # more than a nuisance only where addresses were written down: netlens capture resolves on each side
        return Result(
            WARNING, f"{text}; the other machine gets other addresses for {few(apart, 3)}: a filter needs those of both ({asked})"
        )
    return Result(OK, f"{text} ({asked})")


def _look_up(machine: Machine, name: str) -> str:
    command = f"dscacheutil -q host -a name {name}" if "dscacheutil" in machine.programs else f"getent ahosts {name}"
    return f"correct the name or the name server, until this prints an address: {command}"
