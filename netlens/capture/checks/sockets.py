"""Whose connections are whose.

Claim: ss or lsof is there, and rights to see the processes of other users.
Fix: install one of them; ``sudo -v``.
"""

from __future__ import annotations

from netlens.capture.checks import OK, WARNING, Machine, Result, Scene

TITLE = "owners of sockets"
RANK = 50


def look(machine: Machine, scene: Scene) -> Result:
    if "ss" not in machine.programs and "lsof" not in machine.programs:
        fix = machine.install("ss" if machine.system == "Linux" else "lsof")
        return Result(WARNING, "neither ss nor lsof: a recording will not say which program a connection belongs to", fix)
    program = "ss" if "ss" in machine.programs else "lsof"
    if machine.is_root or machine.sudo:
        return Result(OK, program)
    return Result(WARNING, f"{program}, but only root sees processes of other users", "sudo -v")
