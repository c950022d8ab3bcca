"""Kernels that are on disk run without numba, give what numba gives, and only numba runs where an entry does not know."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from netlens import linker
from tests.wire.test_compiled import COMPILES, _environment, _run, nobody, place  # noqa: F401 -- a fixture

#: A program with a kernel of each kind of argument and result, called as its arguments say. It prints what came of it and whether numba was there.
PROGRAM = """
import json, sys
from typing import NamedTuple
import numpy as np
from netlens import linker
from netlens.compiling import Shown
from netlens.wire import compiled

class Pair(NamedTuple):
    first: np.ndarray
    second: np.ndarray

@compiled.lean
def total(values, start, twice):
    found = start
    for k in range(len(values)):
        found += values[k]
    return found * 2 if twice else found

@compiled.lean
def fill(table, pair, value):
    for i in range(table.shape[0]):
        for k in range(table.shape[1]):
            table[i, k] = value + pair.first[i] * 10 + pair.second[k]

@compiled.lean
def several(number):
    return number, number > 2, -number

@compiled.lean
def following(number):
    return number + np.uint64(1)

@compiled.lean
def ratio(a, b):
    return a // b

@compiled.kernel
def made(count):
    return np.arange(count).sum()

def usual():
    table = np.zeros((2, 3), np.int64)
    nothing = fill(table, Pair(np.arange(2), np.arange(3, dtype=np.uint8)), 100)
    words = np.array([1, 2, 3], np.int64)
    return [total(words, 5, False), total(words, np.int64(5), True), nothing, table.tolist(), several(3), following(np.uint64(1 << 63)), ratio(7, 2)]

def unusual():
    words, past = np.arange(6), (1 << 63) - 6
    fixed = words.copy()
    fixed.flags.writeable = False
    class Of(np.ndarray): pass
    calls = [
        lambda: total(words[::2], 0, False), lambda: total(words.astype(np.int32), 0, True), lambda: total(words.astype(">i8"), 1, False),
        lambda: total(fixed, 0, False), lambda: total(words.view(Of), 0, False), lambda: total(words, 1.5, False), lambda: total(words, True, np.bool_(True)),
        lambda: total(words.astype(np.longlong), 1, False), lambda: total(words.reshape(6, 1)[:, 0], 1, False), lambda: total(np.zeros(0, np.int64), 1, False),
        lambda: total([1], 0, False), lambda: total(words, 0), lambda: total(words.reshape(2, 3), 0, False), lambda: following(past), lambda: several(1 << 63),
        lambda: fill(fixed.reshape(2, 3), Pair(words, words), 1), lambda: fill(np.zeros((2, 3)), Pair(words, words), 1), lambda: several(1 << 70),
        lambda: fill(np.zeros((1, 1), np.int64), (words, words), 1), lambda: several(True),
    ]
    found = []
    for call in calls:
        try:
            found.append(str(call()))
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            found.append(type(error).__name__)
        except Exception as error:
            found.append(type(error).__mro__[1].__name__)  # of numba: a typing error, whose class is numba's own
    return found

compiled.shown = Shown()
if "alone" not in sys.argv:
    compiled.find_linker = (lambda: lambda code: None) if "failing" in sys.argv else linker.find
if "zero" in sys.argv:
    try:
        ratio(1, 0)
    except Exception as error:
        print(type(error).__name__, error)
    sys.exit()
found = made(5) if "array" in sys.argv else unusual() if "unusual" in sys.argv else usual()
print(json.dumps([found, "numba" in sys.modules], default=int))
"""
USUAL = [11, 22, None, [[100, 101, 102], [110, 111, 112]], [3, True, -3], (1 << 63) + 1, 3]
needs_linker = pytest.mark.skipif(linker.find() is None, reason="no linker on this machine")


@pytest.fixture
def program(place: Path) -> Path:  # noqa: F811
    """The folder with the program, of which nothing is compiled."""
    (place / "program.py").write_text(PROGRAM)
    return place


@pytest.fixture(scope="module")
def done(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, str]]:
    """A folder where it was run once, and what was said."""
    folder = tmp_path_factory.mktemp("entries")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "cache").mkdir(mode=0o755)
    return folder, _run(root, folder)


@pytest.fixture
def ready(done: tuple[Path, tuple[str, str]], program: Path) -> Path:
    """The folder with the program, which was run once."""
    shutil.copytree(done[0] / "cache", program / "cache", dirs_exist_ok=True)
    return program


def _found(root: Path, program: Path, *arguments: str, **more: object) -> tuple[Any, bool]:
    found, with_numba = json.loads(_run(root, program, *arguments, **more)[0])
    return found, with_numba


def _entries(program: Path) -> list[Path]:
    return sorted(program.glob("cache/netlens-kernels/*/*.so"))


@needs_linker
def test_the_second_run_needs_no_numba(root: Path, done: tuple[Path, tuple[str, str]], ready: Path) -> None:
    out, said = done[1]
    assert (json.loads(out), said) == ([USUAL, True], COMPILES)
    assert [path.name.split("-")[0].partition(".")[2] for path in _entries(ready)] == ["fill", "following", "ratio", "several", "total"]
    out, said = _run(root, ready)
    assert (json.loads(out), said) == ([USUAL, False], "")


@needs_linker
def test_what_an_entry_was_not_made_for_is_numbas(root: Path, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_entries, _ = _found(root, ready, "unusual")
    assert len([path for path in _entries(ready) if ".total-" in path.name]) > 3  # each signature has one from now on
    assert _found(root, ready, "unusual") == (with_entries, True)
    assert _found(root, ready) == (USUAL, False)
    monkeypatch.setenv("NETLENS_KERNELS", "numba")
    assert _found(root, ready, "unusual") == (with_entries, True)
    assert with_entries[:6] == ["6", "30", "NumbaError", "15", "15", "16.5"]


@needs_linker
@pytest.mark.parametrize("damage", [b"", b"\x7fELF", None])
def test_a_damaged_entry_is_not_loaded(root: Path, ready: Path, damage: bytes | None) -> None:
    for path in _entries(ready):
        content = path.read_bytes()
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:] if damage is None else damage)
    assert _found(root, ready) == (USUAL, True)
    assert _found(root, ready) == (USUAL, False)  # made anew


@needs_linker
def test_nobody_loads_an_entry_that_another_could_have_written(root: Path, ready: Path) -> None:
    _entries(ready)[0].parent.chmod(0o777)
    assert _found(root, ready) == (USUAL, True)


@needs_linker
def test_nobody_loads_an_entry_that_another_user_made(root: Path, ready: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root only: gives files away")
    for path in (ready / "cache").rglob("*"):
        os.chown(path, 65534, 65534)
    assert _found(root, ready) == (USUAL, True)


@needs_linker
def test_everybody_loads_the_entries_that_root_made(root: Path, ready: Path) -> None:
    assert _found(root, ready, **nobody(root, ready)) == (USUAL, False)


@needs_linker
def test_a_sealed_file_that_is_no_library(root: Path, ready: Path) -> None:
    from netlens.wire import machinecode

    for path in _entries(ready):
        path.write_bytes(b"another format" + machinecode._SEAL.pack(14, machinecode.zlib.crc32(b"another format")))
    assert _found(root, ready) == (USUAL, True)


def test_without_a_linker(root: Path, program: Path) -> None:
    for _ in range(2):
        assert _found(root, program, "alone") == (USUAL, True)
    assert not _entries(program)


def test_a_linker_that_fails_is_tried_once(root: Path, program: Path) -> None:
    assert _found(root, program, "failing") == (USUAL, True)
    assert {path.stat().st_size for path in _entries(program)} == {8}  # the seal of nothing
    before = {path: path.stat().st_mtime_ns for path in _entries(program)}
    assert _found(root, program) == (USUAL, True)
    assert {path: path.stat().st_mtime_ns for path in _entries(program)} == before


@needs_linker
def test_entries_are_made_of_what_was_compiled_without(root: Path, program: Path) -> None:
    assert _found(root, program, "alone") == (USUAL, True)
    assert _found(root, program) == (USUAL, True)
    assert _found(root, program) == (USUAL, False)


def test_a_kernel_that_makes_arrays_has_no_entry(root: Path, program: Path) -> None:
    for _ in range(2):
        assert _found(root, program, "array") == (10, True)
    assert not [path for path in _entries(program) if path.stat().st_size > 8]


@needs_linker
@pytest.mark.parametrize("name", ["NUMBA_OPT", "NUMBA_BOUNDSCHECK"])
def test_who_tells_numba_how_to_compile_gets_numba(root: Path, ready: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert _found(root, ready) == (USUAL, True)


@needs_linker
def test_a_kernel_that_fails_says_so(root: Path, ready: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _run(root, ready, "zero")[0].startswith("SystemError __main__.ratio")
    monkeypatch.setenv("NETLENS_KERNELS", "numba")
    assert _run(root, ready, "zero")[0].startswith("ZeroDivisionError")


def test_a_file_of_settings_is_seen(tmp_path: Path, root: Path) -> None:
    (tmp_path / ".numba_config.yaml").write_text("opt: 1\n")
    program = "from netlens.wire import machinecode; print(machinecode.settings())"
    environment = {name: value for name, value in _environment(root, tmp_path).items() if not name.startswith("NUMBA_")}
    for folder, said in ((tmp_path, "('opt: 1\\n',)"), (root, "()")):
        out = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env=environment, check=True, capture_output=True, text=True
        ).stdout
        assert out.strip() == said


#: Reads captures, and prints every table of each.
READS = """
import contextlib, sys
import netlens
from netlens import linker
from netlens.api import TABLES
from netlens.errors import NetlensError
from netlens.wire import compiled
compiled.find_linker = linker.find
for path in sys.argv[1:]:
    for tables in (TABLES, ("sessions",)):
        with contextlib.suppress(NetlensError):
            capture = netlens.read(path, tables)
            for name in tables:
                for row in capture.table(name).records():
                    print(path, name, row)
print("numba" in sys.modules, file=sys.stderr)
"""


def _captures(root: Path, folder: Path) -> list[str]:
    """Those that are bundled, and what damage and odd frames make of some of them."""
    found = sorted(str(path) for path in root.glob("captures/*/*.pcap*"))[:8] + sorted(str(p) for p in root.glob("tests/data/**/*.pcap*"))
    for number, path in enumerate(found[::3]):
        content = bytearray(Path(path).read_bytes()[:200_000])
        for at in range(200, len(content), 997):
            content[at] ^= 0x55
        damaged = folder / f"damaged-{number}.pcap"
        damaged.write_bytes(content)
        found.append(str(damaged))
    return found


@needs_linker
def test_rows_are_the_same_with_and_without_numba(root: Path, tmp_path: Path) -> None:
    captures, said = _captures(root, tmp_path), {}
    assert len(captures) > 8
    environment = {**os.environ, "PYTHONPATH": str(root)}
    for kernels in ("numba", "", ""):  # the second run makes what entries are missing
        run = subprocess.run(
            [sys.executable, "-c", READS, *captures],
            env={**environment, "NETLENS_KERNELS": kernels},
            capture_output=True,
            check=True,
            text=True,
        )
        said[kernels] = run
    assert said[""].stdout == said["numba"].stdout
    assert said["numba"].stdout.count("\n") > 1000
    assert (said[""].stderr.splitlines()[-1], said["numba"].stderr.splitlines()[-1]) == ("False", "True")


def test_objects_look_as_entries_know_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from netlens.wire import entries

    assert entries._as_known.__wrapped__()
    for name in ("_DATA", "_FLAGS", "_NUMBER", "_VALUE", "_ITEMS"):
        with monkeypatch.context() as patch:
            patch.setattr(entries, name, getattr(entries, name) + ctypes.sizeof(ctypes.c_void_p))
            assert not entries._as_known.__wrapped__(), name


@needs_linker
@pytest.mark.skipif(sys.platform != "linux", reason="a variable of glibc")
def test_the_interpreter_ends_though_functions_outlive_what_they_point_to(root: Path) -> None:
    # What is freed is overwritten, so that reading it fails each time; else it failed once in some thousand runs.
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": "255"}
    command = [sys.executable, "-m", "netlens", "analyze", str(root / "captures" / "healthy"), "--format", "json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("}\n")
