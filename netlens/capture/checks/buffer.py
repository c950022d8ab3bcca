"""The kernel's buffer for a capture.

Claim: the kernel gives a capture as much buffer as netlens asks for, and there is memory for it.
Fix: raise macOS's limit; end programs that need much memory.
"""

from __future__ import annotations

import re

from netlens.capture.checks import OK, WARNING, Machine, Result, Scene
from netlens.capture.command import BUFFER_KIB
from netlens.text import size

TITLE = "kernel buffer"
RANK = 70


def look(machine: Machine, scene: Scene) -> Result:
    wanted = BUFFER_KIB * 1024
    shown = f"{BUFFER_KIB // 1024} MiB"
    if machine.system == "Darwin":
        limit = machine.said.get("sysctl -n debug.bpf_maxbufsize", "").strip()
        if not limit.isdigit():
            return Result(WARNING, "its limit could not be read (sysctl debug.bpf_maxbufsize)")
        if int(limit) < wanted:
            text = f"the kernel gives a capture at most {size(int(limit))}; {shown} loses nothing at hundreds of packets per second"
            return Result(WARNING, text, f"sudo sysctl debug.bpf_maxbufsize={wanted}")
        return Result(OK, f"-B {BUFFER_KIB} ({shown}) is within the limit")
    found = re.search(r"(?m)^MemAvailable:\s+(\d+) kB", machine.said.get("grep MemAvailable /proc/meminfo", ""))
    if found and int(found[1]) * 1024 < 4 * wanted:
        text = f"{size(int(found[1]) * 1024)} of memory is free; a capture's buffer takes {shown}, and with less it loses packets"
        return Result(WARNING, text, "end programs that need much memory before recording")
    return Result(OK, f"-B {BUFFER_KIB} ({shown}); tcpdump's default of 2 MiB loses packets at a few hundred per second")
