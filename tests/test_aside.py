"""Work in another process: the same results, errors where they can be understood, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")

BEGIN = """
import os, signal, sys, threading, time
from netlens import aside
from netlens import threads
threads.cores = lambda: 2  # wherever this test runs
"""


def told(script: str, *arguments: str) -> str:
    """What a script prints; in a process of its own, as there are other threads where tests run."""
    done = subprocess.run([sys.executable, "-c", BEGIN + script, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


@linux
def test_results_come_from_another_process() -> None:
    assert told("""
def pid(_): return os.getpid()
def twice(x): return 2 * x
found = aside.Aside((pid, twice), 21).results()
print(found[pid] != os.getpid(), found[twice])
""") == "True 42"  # fmt: skip


@linux
@pytest.mark.parametrize("ends", ["raise ValueError('told')", "os.kill(os.getpid(), signal.SIGKILL)", "return lambda: 0"])
def test_what_the_other_process_cannot_do_is_done_here(ends: str) -> None:
    assert told(f"""
def work(_):
    {ends}
made = aside.Aside((work,), None)
print(made.results(), made.results())
""") == "{} {}"  # fmt: skip


@linux
def test_nothing_is_left_of_work_that_nobody_asks_for() -> None:
    assert told("""
def forever(_): time.sleep(1000)
made = aside.Aside((forever,), None)
child = made._child
del made
try:
    os.kill(child, 0)
except ProcessLookupError:
    print("gone", len(os.listdir("/proc/self/fd")) < 10)
""") == "gone True"  # fmt: skip


@linux
def test_work_that_writes_files_is_stopped_so_that_none_is_left(tmp_path: Path) -> None:
    assert told(
        """
file = sys.argv[1]
def write(_):
    try:
        open(file, "w").close()
        time.sleep(1000)
    finally: os.remove(file)
made = aside.Aside((write,), None, tidies_up=True)
while not os.path.exists(file): time.sleep(0.01)
made.stop()
print(os.path.exists(file))
""",
        str(tmp_path / "new"),
    ) == "False"  # fmt: skip


@linux
def test_with_a_second_thread_nothing_is_forked() -> None:
    assert told("""
begun = threading.Event()
threading.Thread(target=begun.wait, daemon=True).start()
print(aside.Aside((id,), None).results())
begun.set()
""") == "{}"  # fmt: skip


@linux
@pytest.mark.parametrize("name", ["same-nat-ip-sshuttle", "opencode-zombie", "http2"])
def test_an_analysis_is_the_same_whoever_did_the_work(captures: Path, name: str) -> None:
    script = """
import json
import netlens
from netlens import analysis
analysis.MANY = int(sys.argv[2])
forks, fork = [], os.fork
os.fork = lambda: forks.append(1) or fork()
document = netlens.analyze(sys.argv[1]).to_dict()
print(len(forks))
print(json.dumps(document, sort_keys=True))
"""
    forked, alone = (told(script, str(captures / name), many).split("\n", 1) for many in ("0", "1000000"))
    assert (forked[0], alone[0]) == ("1", "0")
    assert forked[1] == alone[1]


@linux
def test_where_no_process_can_be_made_the_work_is_done_here() -> None:
    assert told("""
def refuse(): raise BlockingIOError(11, "no more processes")
os.fork = refuse
made = aside.Aside((id,), None)
print(made.results(), threads.children, len(os.listdir("/proc/self/fd")) < 10)
""") == "{} 0 True"  # fmt: skip


@linux
def test_two_processes_take_turns_at_tasks() -> None:
    assert told("""
def task(k):
    time.sleep(0.05)
    return k, os.getpid()
found = aside.each([lambda k=k: task(k) for k in range(10)])
print([k for k, _ in found] == list(range(10)), len({pid for _, pid in found}), len(os.listdir("/proc/self/fd")) < 10)
""") == "True 2 True"  # fmt: skip


@linux
def test_what_ends_the_other_process_is_done_here() -> None:
    """Also what it had done before, as its results are lost with it."""
    assert told("""
first = os.getpid()
def task(k):
    time.sleep(0.05)
    if os.getpid() != first:
        os.kill(os.getpid(), signal.SIGKILL)
    return k
print(aside.each([lambda k=k: task(k) for k in range(6)]))
""") == "[0, 1, 2, 3, 4, 5]"  # fmt: skip


@pytest.mark.parametrize("no_pipe", [False, True])
def test_tasks_of_one_process_are_done_in_order(no_pipe: bool) -> None:
    assert told(f"""
aside.threads.cores = lambda: 1
if {no_pipe}:
    def none(): raise OSError(24, "Too many open files")
    os.pipe = none
print(aside.each([lambda k=k: k for k in range(3)]), aside.each([]))
""") == "[0, 1, 2] []"  # fmt: skip
