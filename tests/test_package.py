"""The package as a whole: it can be imported, starts quickly, and its tests' second opinion really runs."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import struct
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import netlens

#: Each takes from 0.1 s to several to import; only the function that needs one may.
HEAVY = {"dask", "matplotlib", "numba", "pandas", "plotly", "pyarrow", "pyshark", "scapy"}


def _modules_after(code: str) -> set[str]:
    """Top-level modules loaded in a fresh interpreter after ``code``."""
    script = f"import json, sys\n{code}\nprint('\\n' + json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_import_loads_nothing_heavy() -> None:
    loaded = _modules_after("import netlens")
    assert "netlens" in loaded
    assert not loaded & HEAVY


def test_help_loads_nothing_heavy() -> None:
    loaded = _modules_after(
        """
sys.argv = ["netlens", "--help"]
from netlens.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""
    )
    assert "click" in loaded
    assert not loaded & HEAVY


def test_versions_agree(root: Path) -> None:
    declared = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert importlib.metadata.version("netlens") == netlens.__version__ == declared
    assert f"## [{declared}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def test_lock_names_every_dependency_and_no_host(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (root / "requirements.lock").read_text(encoding="utf-8")
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    locked = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    assert {requirement.partition(">=")[0] for requirement in wanted if not requirement.startswith("netlens[")} <= locked
    assert "://" not in lock


def test_only_kernels_go_without_types(root: Path) -> None:
    bare = []
    for file in sorted((root / "netlens").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or any(
                ast.unparse(d) in ("inlined", "kernel", "lean") for d in node.decorator_list
            ):
                continue
            arguments = [a for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
            if node.returns is None and not any(a.annotation for a in arguments) and (arguments or node.name != "__init__"):
                bare.append(f"{file.relative_to(root)}:{node.lineno} {node.name}")
    assert not bare


@pytest.mark.tshark
def test_tshark_reads_a_capture(tshark: str, tmp_path: Path) -> None:
    syn = struct.pack("!HHIIBBHHH", 40000, 443, 1, 0, 5 << 4, 2, 65535, 0, 0)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(syn), 0, 0, 64, 6, 0, bytes([192, 0, 2, 1]), bytes([192, 0, 2, 2]))
    packet = ip + syn
    capture = tmp_path / "syn.pcap"
    capture.write_bytes(
        struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101) + struct.pack("<IIII", 1, 0, len(packet), len(packet)) + packet
    )
    fields = ["-T", "fields", "-e", "tcp.stream", "-e", "tcp.flags.syn", "-e", "ip.src"]
    done = subprocess.run([tshark, "-r", str(capture), *fields], capture_output=True, text=True, check=True)
    assert done.stdout.split() in (["0", "1", "192.0.2.1"], ["0", "True", "192.0.2.1"])
