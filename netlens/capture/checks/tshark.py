"""tshark, which decrypts.

Claim: tshark is installed.
Fix: the package manager's command.
"""

from __future__ import annotations

from netlens.capture.checks import OK, WARNING, Machine, Result, Scene
from netlens.capture.processes import version_of

TITLE = "tshark"
ON = "here"
RANK = 90


def look(machine: Machine, scene: Scene) -> Result:
    if "tshark" not in machine.programs:
        return Result(WARNING, "not installed: everything works except decryption with a key log", machine.install("tshark"))
    version = version_of(r"TShark \(Wireshark\) (\d+(?:\.\d+)*)", machine.run("tshark", "--version").stdout)
    return Result(OK, f"tshark {version or 'of unknown version'}")
