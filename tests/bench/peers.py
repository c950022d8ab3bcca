"""The environment of the Python packages that are compared with: ``python -m tests.bench.peers`` makes it beside the captures.

They are kept apart so that none of them decides which versions netlens is measured with. One that does not install is left out, and is listed
as missing. scapy and pyshark are netlens' own dependencies and run in its environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

LIST = Path(__file__).with_name("peers.txt")


def cache_folder() -> Path:
    """Where captures, results and peers lie."""
    return Path(os.environ.get("NETLENS_BENCH_DIR") or Path.home() / ".cache" / "netlens-bench")


def folder() -> Path:
    return cache_folder() / "peers"


def python() -> Path:
    return folder() / "bin" / "python"


@cache
def version(package: str) -> str | None:
    """The version of a peer, or None."""
    if not python().exists():
        return None
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    done = subprocess.run([python(), "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def install(environment: Path, *what: str | Path) -> bool:
    """Whether packages, as pip is told them, are installed now in an environment, which is made if it is not there."""
    if not (environment / "bin" / "python").exists():
        environment.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-q", *what]
    return subprocess.run(pip, check=False).returncode == 0


def main() -> None:
    wanted = [line.strip() for line in LIST.read_text().splitlines() if line.strip() and not line.startswith("#")]
    for requirement in wanted:
        name, _, number = requirement.partition("==")
        if version(name) != number and not install(folder(), requirement):
            print(f"{requirement} does not install here; it is left out", file=sys.stderr)
    version.cache_clear()


if __name__ == "__main__":
    main()
