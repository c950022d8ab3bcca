"""What netlens runs with, as ``--version`` says it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netlens.capture import processes


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Only programs of this folder are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(processes, "SYSTEM_PATH", "")
    return tmp_path


def test_programs_say_their_versions(alone: Path) -> None:
    program(alone, "tcpdump", "echo 'tcpdump version 4.99.5'; echo 'libpcap version 1.10.5'")
    program(alone, "tshark", "echo 'Running as user \"root\"' >&2; echo 'TShark (Wireshark) 4.4.19.'")
    found = processes.versions()
    assert (found["tcpdump"], found["tshark"]) == ("4.99.5", "4.4.19")
    assert list(found) == ["Python", "numba", "numpy", "pandas", "tcpdump", "tshark"]


def test_what_is_missing_or_silent_is_said(alone: Path) -> None:
    program(alone, "tcpdump", "exit 1")
    found = processes.versions()
    assert (found["tcpdump"], found["tshark"]) == ("unknown", "not found")


def test_a_program_that_hangs_is_not_waited_for(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "TIMEOUT_S", 0.2)
    program(alone, "tcpdump", "exec /bin/sleep 60")
    started = time.monotonic()
    assert processes.versions()["tcpdump"] == "unknown"
    assert time.monotonic() - started < 30


def test_the_command_prints_a_line_each() -> None:
    done = subprocess.run([sys.executable, "-m", "netlens", "--version"], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"netlens \d+\.\d+\.\d+", lines[0])
    assert [line.split()[0] for line in lines[1:]] == ["Python", "numba", "numpy", "pandas", "tcpdump", "tshark"]
    assert done.stderr == ""


def test_nothing_heavy_is_imported() -> None:
    code = "import sys; from netlens.capture.processes import versions; versions(); print(sorted({'numba', 'numpy', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
