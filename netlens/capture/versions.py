"""Versions of what netlens runs with, for ``netlens --version`` and bug reports.

Nothing is imported to learn its version, and programs are asked side by side, so that the answer comes within the time of the slowest (tshark's
half a second).
"""

from __future__ import annotations

import importlib.metadata
import platform
from concurrent.futures import ThreadPoolExecutor

from netlens.capture.facts import version_of
from netlens.capture.processes import run

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
    with ThreadPoolExecutor() as pool:
        return found | dict(zip(PROGRAMS, pool.map(_version, PROGRAMS), strict=True))


def _version(program: str) -> str:
    outcome = run([program, "--version"], TIMEOUT_S)
    return NONE if outcome.status == 127 else version_of(PROGRAMS[program], outcome.stdout + outcome.stderr) or "unknown"
