"""Kernels that are not on disk run as functions of Python for small captures, give what machine code gives, and are compiled in the background."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netlens import threads
from netlens.wire import machinecode

#: Prints the hash of each table, whether kernels ran in Python, and how many were compiled.
TABLES = """
import sys, netlens
from netlens.api import TABLES, Capture
from netlens.wire import compiled
if "--switch" in sys.argv:
    compiled.FRAMES_IN_PYTHON = 300
capture = Capture([sys.argv[1]])
for name in TABLES:
    table = capture.table(name)
    for column in table.columns:
        print(name, column, table[column].tolist())
print(*capture.warnings)
print(compiled.in_python, "numba" in sys.modules, file=sys.stderr)
"""


def _environment(cache: Path | str, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "NETLENS_KERNELS"}
    return {**kept, "NUMBA_CACHE_DIR": str(cache), **more}


def _tables(root: Path, capture: Path, cache: Path | str, *arguments: str, **more: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", TABLES, str(capture), *arguments],
        cwd=root,
        env=_environment(cache, **more),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout, done.stderr.strip()


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A store with all that is compiled, but not said to be all of it."""
    store = machinecode.store()
    assert store is not None
    place = tmp_path / "netlens-kernels" / store.stamp
    place.parent.mkdir()
    for root in machinecode.roots():
        if Path(root, store.stamp).is_dir():
            shutil.copytree(Path(root, store.stamp), place, dirs_exist_ok=True)
    assert list(place.glob(f"*{machinecode.CODE}")), "compile the kernels first: make install"
    (place / machinecode.COMPLETE).unlink(missing_ok=True)
    return place


@pytest.mark.parametrize(
    "capture", ["healthy/vm.pcap.gz", "http2/vm.pcap.gz", "dns-over-tcp/vm.pcap.gz", "own-concurrency-haproxy/host.pcap.gz"]
)
def test_tables_are_those_of_machine_code(root: Path, capture: str) -> None:
    path = root / "captures" / capture
    in_python, said = _tables(root, path, "/proc/none")
    assert said == "True False"
    in_machine_code, said = _tables(root, path, os.environ.get("NUMBA_CACHE_DIR", ""), NETLENS_KERNELS="now")
    assert said.startswith("False")
    assert in_python == in_machine_code
    assert len(in_python) > 1000


def test_machine_code_goes_on_where_python_stopped(root: Path, kept: Path) -> None:
    path = root / "captures" / "same-nat-ip-sshuttle" / "host.pcap.gz"
    for library in kept.glob(f"*{machinecode.ENTRY}"):
        library.unlink()
    switched, said = _tables(root, path, kept.parent.parent, "--switch")
    assert said == "True True"
    assert switched == _tables(root, path, "/proc/none")[0]


def test_what_is_read_in_python_is_compiled_in_the_background(root: Path, kept: Path) -> None:
    command = [sys.executable, "-m", "netlens", "sessions", "captures/healthy/vm.pcap.gz", "--format", "json"]

    def run() -> tuple[list[object], str]:
        done = subprocess.run(command, cwd=root, env=_environment(kept.parent.parent), capture_output=True, text=True, check=True)
        return json.loads(done.stdout), done.stderr

    _missing(kept, "wire.framing.frame_pcap")
    first = run()
    assert first[0]
    assert first[1] == "netlens: compiling its kernels for this machine in the background, once; until then it works more slowly\n"
    assert run() == (first[0], "")  # begun already
    _wait_for(kept / machinecode.COMPLETE)
    assert list(kept.glob(f"wire.framing.frame_pcap-*{machinecode.ENTRY}"))
    assert run() == (first[0], "")


def test_a_large_capture_is_compiled_for(root: Path, kept: Path, tmp_path: Path) -> None:
    large = _large(root, tmp_path / "large.pcap")
    for library in kept.glob(f"*{machinecode.ENTRY}"):
        library.unlink()
    assert _tables(root, large, kept.parent.parent)[1] == "False True"


#: The command line as it is called, and whether it imported numba.
COMMAND = "import atexit, sys; atexit.register(lambda: print('numba' in sys.modules, file=sys.stderr)); from netlens import cli; cli.main()"


def _missing(kept: Path, *kernels: str) -> None:
    for kernel in kernels:
        assert list(kept.glob(f"{kernel}-*"))
        for file in kept.glob(f"{kernel}-*"):
            file.unlink()


def _large(root: Path, path: Path) -> Path:
    content = gzip.decompress((root / "captures/healthy/vm.pcap.gz").read_bytes())
    path.write_bytes(content[:24] + content[24:] * (9_000_000 // len(content) + 1))
    return path


@pytest.mark.skipif(threads.cores() < 2, reason="compiles by itself on one core")
def test_processes_compile_what_a_command_waits_for(root: Path, kept: Path, tmp_path: Path) -> None:
    _missing(kept, "wire.framing.frame_pcap", "wire.times._walk", "wire.addresses._write_v4")
    command = [sys.executable, "-c", COMMAND, "sessions", str(_large(root, tmp_path / "large.pcap")), "--format", "json"]
    done = subprocess.run(command, cwd=root, env=_environment(kept.parent.parent), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)
    assert done.stderr == "netlens: compiling its kernels for this machine, once (up to a minute)\nFalse\n"
    assert list(kept.glob(f"wire.framing.frame_pcap-*{machinecode.ENTRY}"))
    _wait_for(kept / machinecode.COMPLETE)
    assert not list(kept.glob(".*"))


def test_who_compiles_for_another_ends_with_it(root: Path, kept: Path) -> None:
    _missing(kept, "wire.decode.decode")
    command = [sys.executable, "-m", "netlens.warm"]
    coordinator = subprocess.Popen(command, cwd=root, env=_environment(kept.parent.parent), stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while not (claims := list(kept.glob(".*.claimed"))) and coordinator.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    if not claims:
        assert threads.cores() < 2
        return
    workers = Path(f"/proc/{coordinator.pid}/task/{coordinator.pid}/children")
    children = workers.read_text().split() if workers.exists() else []
    coordinator.kill()
    coordinator.wait()
    for child in children:
        while _runs(child):
            assert time.monotonic() < end
            time.sleep(0.05)
    assert not (kept / machinecode.COMPLETE).exists()


def _runs(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _wait_for(path: Path) -> None:
    end = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.05)
