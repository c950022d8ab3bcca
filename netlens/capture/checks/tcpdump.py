"""tcpdump, which captures.

Claim: tcpdump is installed.
Fix: the package manager's command.
"""

from __future__ import annotations

import re

from netlens.capture.checks import MISSING, OK, Machine, Result, Scene

TITLE = "tcpdump"
RANK = 20


def look(machine: Machine, scene: Scene) -> Result:
    if "tcpdump" not in machine.programs:
        return Result(MISSING, "not installed", machine.install("tcpdump"))
    said = machine.said.get("tcpdump --version", "").splitlines()
    return Result(OK, ", ".join(line.replace(" version ", " ") for line in said if re.match("(tcpdump|libpcap) version", line)))
