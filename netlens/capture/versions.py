"""Versions of what netlens runs with, for ``netlens --version`` and bug reports.

Nothing is imported to learn its version, and programs are asked side by side, so that the answer comes within the time of the slowest (tshark's
half a second).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import re
import shutil
import subprocess

PACKAGES = ("numba", "numpy", "pandas")
#: Program -> what its version looks like in the first lines of ``--version``.
PROGRAMS = {"tcpdump": r"tcpdump version (\S+)", "tshark": r"TShark \(Wireshark\) (\d[\w.-]*\w)"}
PLACES = "/usr/sbin:/sbin:/usr/local/sbin:/opt/homebrew/bin:/Applications/Wireshark.app/Contents/MacOS"
TIMEOUT_S = 5.0
NONE = "not found"


def versions() -> dict[str, str]:
    """Name -> version, in order; "not found" for what is not there, "unknown" for what does not say."""
    started = {name: _start(name) for name in PROGRAMS}
    found = {"Python": f"{platform.python_version()} ({platform.system()} {platform.machine()})"}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = NONE
    for name, process in started.items():
        found[name] = NONE if process is None else _said(process, PROGRAMS[name])
    return found


def _start(name: str) -> subprocess.Popen[str] | None:
    path = shutil.which(name) or shutil.which(name, path=PLACES)
    if path is None:
        return None
    try:
        return subprocess.Popen(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError:
        return None


def _said(process: subprocess.Popen[str], pattern: str) -> str:
    try:
        text, _ = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=TIMEOUT_S)
        return "unknown"
    match = re.search(pattern, text)
    return match[1] if match else "unknown"
