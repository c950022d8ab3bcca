"""How many examples properties get, their seed, and the order of tests, as tests/conftest.py sets them: each in a pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
from hypothesis import given, settings, strategies as st

@settings(max_examples=7, database=None)
@given(st.integers())
def test_of_seven(n):
    print("seven", n)
    with open(__file__ + ".seen", "a") as file:
        print(n, file=file)

def test_a(): print("ran a")
def test_b(): print("ran b")
def test_c(): print("ran c")
def test_d(): print("ran d")
"""


@pytest.fixture
def run(root: Path, tmp_path: Path) -> object:
    """Run pytest with our conftest on ``MODULE``, twice beside itself; its output."""
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / name).write_text(MODULE)
    (tmp_path / "conftest.py").symlink_to(root / "tests" / "conftest.py")

    def go(*arguments: str, ci: bool = False) -> str:
        env = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")} | ({"CI": "true"} if ci else {})
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *arguments, str(tmp_path)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=env,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return go


def _examples(out: str) -> list[str]:
    return re.findall(r"seven (-?\d+)", out)


@pytest.mark.parametrize(("asked", "expected"), [((), 7), (("--examples", "x3"), 21), (("--examples", "40"), 40)])
def test_examples_of_a_property(run, asked: tuple[str, ...], expected: int) -> None:  # type: ignore[no-untyped-def]
    assert len(_examples(run(*asked, "-k", "seven"))) == 2 * expected


def test_ci_takes_more_examples_and_new_ones_that_can_be_had_again(run) -> None:  # type: ignore[no-untyped-def]
    first, second = run("-k", "seven", ci=True), run("-k", "seven", ci=True)
    assert len(_examples(first)) == 2 * 2 * 7
    assert _examples(first) != _examples(second)
    seed = re.search(r"--hypothesis-seed=(\d+)", first)
    assert seed
    assert _examples(run("-k", "seven", seed[0], ci=True)) == _examples(first)


def test_workers_get_the_seed_of_ci(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def seen() -> list[list[str]]:
        return [file.read_text().split() for file in sorted(tmp_path.glob("*.seen"))]

    out = run("-k", "seven", "-n2", ci=True)
    by_workers = seen()
    seed = re.search(r"--hypothesis-seed=(\d+)", out)
    assert seed
    for file in tmp_path.glob("*.seen"):
        file.unlink()
    run("-k", "seven", seed[0], ci=True)
    assert by_workers == seen()
    assert len(by_workers) == 2


def test_random_order_can_be_had_again(run) -> None:  # type: ignore[no-untyped-def]
    def order(out: str) -> list[str]:
        return re.findall(r"ran (\w)", out)

    usual = order(run("-k", "not seven"))
    assert usual == list("abcdabcd")
    shuffled = run("-k", "not seven", "--shuffle=0")
    again = re.search(r"--shuffle=\d+", shuffled)
    assert again
    assert order(run("-k", "not seven", again[0])) == order(shuffled)
    assert sorted(order(shuffled)[:4]) == list("abcd")  # a module's tests stay together
    assert any(order(run("-k", "not seven", f"--shuffle={seed}")) != usual for seed in range(1, 4))
    assert "8 passed" in run("-k", "not seven", "--shuffle=0", "-n2")  # which collect in the same order


def test_a_number_of_examples_that_is_none(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--examples", "many", "tests/test_settings.py"],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert done.returncode == 4
    assert "--examples" in done.stderr


def test_programs_can_be_interrupted_where_sigint_was_ignored(root: Path, tmp_path: Path) -> None:
    """A script that starts ``make test &`` hands on an ignored SIGINT."""
    (tmp_path / "conftest.py").symlink_to(root / "tests" / "conftest.py")
    (tmp_path / "test_it.py").write_text(
        "import signal, subprocess, sys\n"
        "def test_it():\n"
        "    program = 'import os, signal, sys; os.kill(os.getpid(), signal.SIGINT)'\n"
        "    assert subprocess.run([sys.executable, '-c', program], stderr=-3).returncode == -signal.SIGINT\n"
    )
    done = subprocess.run(
        ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout
