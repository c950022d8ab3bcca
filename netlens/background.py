"""Compile all kernels in processes beside this one, for the command line (:mod:`netlens.wire.compiled`)."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from netlens import threads
from netlens.wire import machinecode

if TYPE_CHECKING:
    import subprocess

AT_ONCE = 4  #: processes that compile; each takes about 300 MB, and more of them would wait for the one with the largest kernel
#: The folder is that of this netlens, which may be no installed one.
_CODE = "import sys; sys.path.insert(0, sys.argv[1]); from netlens import warm; warm.{}"


def compile_later() -> bool:
    """After a small capture was read without: compile them in a process that outlives this one, unless that is of no use or was tried within the hour."""
    return _started("later()") is not None


def compile_now() -> Callable[[], bool] | None:
    """While this process waits for some of them: gives whether they are still being compiled; None where this process does so as well by itself."""
    if threads.cores() < 2:
        return None
    process = _started("now()")
    if process is not None:
        return lambda: process.poll() is None
    return machinecode.busy if machinecode.busy() else None


def _started(call: str) -> subprocess.Popen[bytes] | None:
    store = machinecode.store()
    if store is None or store.complete or not store.due():
        return None
    with contextlib.suppress(OSError):
        return _start(call)
    return None


def divide(calls: list[str], look: Callable[[], None]) -> None:
    """Run functions of :mod:`netlens.warm` in a process each, and wait for all; what one of them cannot do the caller will. ``look`` is called meanwhile."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        with contextlib.suppress(OSError):
            for call in calls:
                running.append(_start(call, followed=True))
        while any(process.poll() is None for process in running):
            look()
            time.sleep(machinecode.LOOK_AGAIN_S)
    finally:
        for process in running:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()


def _start(call: str, followed: bool = False) -> subprocess.Popen[bytes]:
    """``followed``: its standard input ends with this process."""
    import subprocess

    nobody = subprocess.DEVNULL
    command = [sys.executable, "-c", _CODE.format(call), str(Path(__file__).parent.parent)]
    stdin = subprocess.PIPE if followed else nobody
    return subprocess.Popen(command, cwd="/", start_new_session=True, stdin=stdin, stdout=nobody, stderr=nobody)
