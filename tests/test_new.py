"""``tools/new.py``: what it writes passes format, lint, types and the room's check as it is, and nothing else is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import new

ROOT = Path(new.ROOT)


def run(tree: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(tree)}
    return subprocess.run([sys.executable, *argv], cwd=tree, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with a new member in every room."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("netlens", "tools"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "wire", copy / "tests" / "wire", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    if (checked := ROOT / ".mypy_cache").is_dir():  # the sources are the same, so that mypy has only to look at the new ones
        shutil.copytree(checked, copy / checked.name)
    return copy


@pytest.fixture(scope="module")
def members(tree: Path) -> dict[str, list[str]]:
    before = {path for path in tree.rglob("*") if "__pycache__" not in path.parts}
    found = {}
    for kind in new.ROOMS:
        done = run(tree, "tools/new.py", kind, f"made-up-{kind}")
        assert done.returncode == 0, done.stderr
        found[kind] = done.stdout.splitlines()[:-1]
    after = {path for path in tree.rglob("*.*") if not {"__pycache__", ".ruff_cache"} & {*path.parts}}
    listed = {tree / file for files in found.values() for file in files}
    assert {path for path in after - before if path.is_file() and path.name not in ("__init__.py", ".gitignore", "CACHEDIR.TAG")} == listed
    return found


def test_a_member_comes_with_its_test_and_where_it_applies_a_scenario(members: dict[str, list[str]]) -> None:
    for kind, files in members.items():
        module = f"made_up_{kind}"
        assert [Path(file).name for file in files[:2]] == [f"{module}.py", f"test_{module}.py"]
        assert [Path(file).name for file in files[2:]] == ([f"made-up-{kind}.toml"] if new.ROOMS[kind].scenario else [])


def test_what_is_written_is_as_it_should_be(tree: Path, members: dict[str, list[str]]) -> None:
    files = [file for each in members.values() for file in each if file.endswith(".py")]
    for argv in (["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"]):
        done = run(tree, *argv, *files)
        assert done.returncode == 0, done.stdout
    tests = [file for file in files if file.startswith("tests/")]
    done = run(tree, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_types_of_what_is_written(tree: Path, members: dict[str, list[str]]) -> None:
    done = run(tree, "-m", "mypy")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_frames_of_what_is_written_are_read(tree: Path, members: dict[str, list[str]]) -> None:
    """The tests of all link types and tunnels find those of a new one."""
    files = ["tests/wire/test_link.py", "tests/wire/test_tunnels.py"]
    done = run(tree, "-m", "pytest", "-v", "-n", "0", "-p", "no:cacheprovider", "-k", "made-up or form_here", *files)
    assert done.returncode == 0, done.stdout
    for member in ("link", "tunnel"):
        for test in ("read", "cut_at_every_byte"):
            assert f"test_{test}[made-up-{member}-IPv6] PASSED" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cause"], "a kind and a name"),
        (["cause", "../x"], "lower-case letters"),
        (["cause", "Rain"], "lower-case letters"),
        (["check", "tcpdump"], "tcpdump.py exists already"),
        (["house", "x"], "invalid choice"),
    ],
)
def test_what_cannot_be_written_is_said(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        new.main(arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_the_rooms_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert new.main(["--list"]) == 0
    shown = capsys.readouterr().out
    assert "check    netlens.capture.checks: ID, TITLE, ON, RANK, look(); docstring: Claim, Fix" in shown.splitlines()
