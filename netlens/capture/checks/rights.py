"""The right to capture.

Claim: tcpdump may open an interface: as root, with its capabilities (Linux) or an open /dev/bpf (macOS), or by ``sudo -n``.
Fix: give tcpdump the capabilities, or the administrators' group the right to /dev/bpf.
"""

from __future__ import annotations

import shlex

from netlens.capture.checks import MISSING, NOT, OK, Machine, Result, Scene
from netlens.capture.command import grant

TITLE = "right to capture"
RANK = 30


def look(machine: Machine, scene: Scene) -> Result:
    if "tcpdump" not in machine.programs:
        return Result(NOT, "no tcpdump")
    # -d opens the interface, which needs the right, prints the program of an empty filter, and ends
    argv = ("tcpdump", "-p", "-d", "-i", "lo0" if machine.system == "Darwin" else "any")
    outcome = machine.run(*argv)
    if outcome.ok:
        return Result(
            OK, "root" if machine.is_root else "tcpdump has it (capabilities)" if machine.system == "Linux" else "/dev/bpf is open"
        )
    if machine.sudo and machine.run("sudo", "-n", *argv).ok:
        return Result(OK, "sudo without a password")
    if machine.is_root:
        return Result(MISSING, f"even root may not capture: {outcome.complaint}", "give the container or jail the capability NET_RAW")
    fix = grant(machine.system, shlex.quote(machine.programs["tcpdump"]))
    return Result(MISSING, "not root, no sudo without a password, no capabilities", fix)
