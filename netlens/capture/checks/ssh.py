"""ssh reaches the VM without asking for anything.

Claim: a command runs on the VM by ssh, with a key, and its host key is known.
Fix: by what ssh says: accept the host key, copy a key to the VM, start its ssh server, start the VM.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from netlens.capture.checks import MISSING, OK, Machine, Result, Scene
from netlens.capture.processes import Outcome

TITLE = "ssh to the VM"
ON = "vm"
RANK = 10


def look(machine: Machine, scene: Scene) -> Result:
    outcome = scene.reached
    if scene.problem:
        return Result(MISSING, scene.problem, scene.fix)
    if outcome is None or not outcome.ok:
        return Result(MISSING, *problem(outcome or Outcome(255, "", ""), scene.target, scene.ssh))
    return Result(OK, f"{outcome.stdout.strip()} answers without a password")


def problem(outcome: Outcome, target: str, ssh: Sequence[str] = ("ssh",)) -> tuple[str, str]:
    """What a failed ssh means, and the command that fixes it."""
    user_host, host = shlex.quote(target), shlex.quote(target.rpartition("@")[2])
    if outcome.status == 127:
        return "no ssh on this machine", "install an OpenSSH client"
    for pattern, text, fix in (
        (
            "REMOTE HOST IDENTIFICATION HAS CHANGED",
            "the host key has changed (a new VM at an old address?)",
            f"ssh-keygen -R {host}",
        ),
        ("Host key verification failed|No .* host key is known", "the host key is not known yet", f"ssh {user_host}"),
        ("Permission denied|Too many authentication", "it asks for a password, or refuses your keys", f"ssh-copy-id {user_host}"),
        (
            "Could not resolve|Name or service not known",
            "the name has no address",
            "name the VM by its address, or give it an alias in ~/.ssh/config",
        ),
        (
            "Connection refused",
            "no ssh server listens there",
            "start it on the VM (Linux: sudo systemctl start ssh; macOS: sudo systemsetup -setremotelogin on)",
        ),
        ("timed out|No route to host|unreachable|took longer", "no answer", f"ping -c 3 {host}"),
    ):
        if re.search(pattern, outcome.stderr):
            return text, fix
    return outcome.complaint, shlex.join([*ssh[:1], "-v", "--", target, "true"])
