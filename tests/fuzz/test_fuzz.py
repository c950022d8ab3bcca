"""Each target on inputs that once failed, on mutated seeds, and on what hypothesis makes up; a few seconds each. ``make fuzz`` goes on for longer."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import __main__ as command
from tests.fuzz import mutate, seeds
from tests.fuzz.__main__ import FILES, WEIGHTS, Worker, _arguments
from tests.fuzz.coverage import AVAILABLE, Coverage
from tests.fuzz.targets import TARGETS, traffic_capture

KEPT = sorted(p for p in seeds.REGRESSIONS.rglob("*") if p.is_file())


def test_every_target_has_a_weight() -> None:
    assert set(TARGETS) == set(WEIGHTS)
    assert set(FILES) <= set(TARGETS)


@pytest.mark.parametrize("path", KEPT, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_what_once_failed(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"analysis", "output"}))
def test_mutated_seeds(name: str) -> None:
    chance = random.Random(1)
    pool = seeds.of(name, [seeds.ROOT / "captures" / "healthy", seeds.ROOT / "tests" / "data"], random.Random(1)) or [b""]
    for _ in range({"traffic": 60, "recording": 30, "requests": 60}.get(name, 150)):
        TARGETS[name](mutate.changed(name, chance.choice(pool), chance, chance.choice(pool)))


@pytest.mark.parametrize("name", ["packet", "message", "hello", "clear", "log", "manifest", "sockets", "sink", "container"])
@given(data=st.binary(max_size=400))
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


@given(st.binary(max_size=250))
@settings(max_examples=40)
def test_any_traffic(data: bytes) -> None:
    TARGETS["traffic"](data)


def test_traffic_is_a_capture_of_as_many_segments() -> None:
    assert TARGETS["container"](traffic_capture(bytes(300))) >= {("frames", 5)}


def test_records_stay_records() -> None:
    """Most mutated captures are read past their first record, or the mutations would test little."""
    chance, whole = random.Random(2), 0
    capture = traffic_capture(bytes(range(250)))
    for _ in range(200):
        parts = mutate.take_apart(mutate.change_capture(capture, chance, capture))
        whole += len(parts.records) > 5
    assert whole > 120


_CHECKED = """
import numpy as np
from netlens.wire.loads import be32
try:
    be32(np.zeros(8, np.uint8), 6)
except IndexError:
    print("checked")
"""


def test_kernels_honour_the_bounds_check() -> None:
    def said(**environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _CHECKED], env=os.environ | environment, capture_output=True, text=True, cwd=seeds.ROOT, check=True
        )
        return done.stdout.strip()

    assert said(NUMBA_BOUNDSCHECK="1") == "checked"
    assert said(NUMBA_DISABLE_JIT="1") == "checked"


def _worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setattr(command, "OUT", tmp_path)
    return Worker(_arguments(["--current", str(tmp_path / "current"), "--role", "plain", "--seed", "1"]))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the most memory of a process since a moment")
def test_memory_that_an_input_takes_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it was given back before the input was done; what an earlier input took does not count."""
    worker = _worker(tmp_path, monkeypatch)

    def takes(megabytes: int) -> set[object]:
        bytearray(b"x") * (megabytes << 20)
        return set()

    takes(300)
    monkeypatch.setattr(command, "MEMORY_BYTES", 1 << 40)  # what the process of the tests has by now does not count
    worker.one("x", lambda _: takes(1), b"")
    monkeypatch.setattr(command, "MEMORY_BYTES", worker.largest + (100 << 20))
    worker.one("x", lambda _: takes(50), b"little")
    assert worker.failures == []
    worker.one("x", lambda _: takes(200), b"much")
    (failure,) = worker.failures
    assert "memory: " in failure
    assert Path(failure.partition(" -> ")[2]).read_bytes() == b"much"


def test_exceptions_and_hangs_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = _worker(tmp_path, monkeypatch)
    before = signal.signal(signal.SIGALRM, command._alarm)
    monkeypatch.setattr(command, "HANG_S", 1)
    try:
        worker.one("x", lambda _: {}[1], b"wrong")
        worker.one("x", lambda _: [threading.Event().wait(20)], b"slow")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert ["KeyError" in worker.failures[0], "Hang" in worker.failures[1]] == [True, True]


@pytest.mark.skipif(not AVAILABLE, reason="from Python 3.12 on")
def test_coverage_tells_of_each_place_once(tmp_path: Path) -> None:
    """Of the package only, whatever the folder of a clone is called; and anew for a second one in the same process."""
    from netlens.text import printable

    stranger = tmp_path / "netlens" / "x.py"
    code = compile("a = 1\nb = a if a else 2\n", str(stranger), "exec")
    firsts = []
    for _ in range(2):
        coverage = Coverage()
        try:
            printable("abc")
            first = coverage.take()
            printable("abc")
            exec(code, {})
            again = coverage.take()
            printable("a\x1bc")
            other = coverage.take()
        finally:
            coverage.stop()
        assert first
        assert again == set()
        assert other
        assert not first & other
        firsts.append(first)
    assert firsts[0] == firsts[1]


def test_the_command() -> None:
    """In processes of their own, where memory is that of the inputs; kernels have been compiled by a process before."""
    targets = [a for name in ("container", "pipeline", "traffic", "sink", "packet", "analysis") for a in ("--target", name)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seconds", "5", "--jobs", "2", "--roles", "plain,followed", *targets],
        cwd=seeds.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failures 0" in done.stdout
