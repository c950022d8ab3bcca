"""Versions of what netlens runs with, for ``netlens --version`` and bug reports.

Nothing is imported to learn its version; tshark's answer takes half a second.
"""

from __future__ import annotations

import importlib.metadata
import platform

from netlens.capture.processes import run, version_of

PACKAGES = ("numba", "numpy", "pandas")
#: Program -> what its version looks like in the first lines of ``--version``.
PROGRAMS = {"tcpdump": r"tcpdump version (\d\S*)", "tshark": r"TShark \(Wireshark\) (\d[\w.-]*\w)"}
TIMEOUT_S = 5.0
NONE = "not found"


def versions() -> dict[str, str]:
    """Name -> version, in order; "not found" for what is not there, "unknown" for what does not say."""
    found = {"Python": f"{platform.python_version()} ({platform.system()} {platform.machine()})"}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = NONE
    return found | {program: _version(program) for program in PROGRAMS}


def _version(program: str) -> str:
    outcome = run([program, "--version"], TIMEOUT_S)
    return NONE if outcome.status == 127 else version_of(PROGRAMS[program], outcome.stdout + outcome.stderr) or "unknown"
