"""The machine's clock.

Claim: something keeps it: chrony, systemd-timesyncd, timed.
Fix: start or install it, or set the clock now.
"""

from __future__ import annotations

from netlens.capture.checks import OK, WARNING, Machine, Result, Scene, span
from netlens.capture.programs.clocks import parse_systemsetup

TITLE = "clock"
RANK = 100


def look(machine: Machine, scene: Scene) -> Result:
    state = machine.facts.clock
    if state is None and "systemsetup" in machine.programs:  # which tells root only
        state = parse_systemsetup(machine.run_as_root("systemsetup", "-getusingnetworktime").stdout)
    if state is None and "chronyc" in machine.programs:
        start = "sudo systemctl start chrony" if "timedatectl" in machine.programs else "sudo chronyd"
        return Result(WARNING, "chrony is installed, but it does not run or does not answer", start)
    if state is None:
        fix = machine.install("chronyc") if machine.system == "Linux" else "sudo systemsetup -setusingnetworktime on"
        return Result(
            WARNING,
            "cannot tell whether it is synchronised; recordings of both sides are aligned by the packets they share in any case",
            fix,
        )
    if state.synchronised is False:
        fix = {
            "chrony": "sudo chronyc makestep",
            "timed": "sudo systemsetup -setusingnetworktime on",
        }.get(state.keeper, "sudo timedatectl set-ntp true")
        return Result(WARNING, f"not synchronised ({state.keeper})", fix)
    off = f", {span(state.offset_s)} off, within {span(state.bound_s)}" if state.offset_s is not None and state.bound_s is not None else ""
    return Result(OK, f"synchronised by {state.keeper}{off}")
