"""Work done in another process, side by side with what this one does: for what is Python's own work, which threads take turns at.

The process is forked, so that it has everything this one has, and only results are handed over. Where a process cannot be forked safely (a second
thread runs, another system than Linux) or another core is not there, the work is done here, when its results are asked for; and so it is where the other
process ends without them, so that errors are raised where they can be understood.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from netlens import threads

T = TypeVar("T")


class Aside:
    """Functions of one argument whose results are worked out ahead.

    functions : called one after the other; what they return is pickled.  run : what calls them, where that is more than to call them.
    """

    def __init__(self, functions: Sequence[Callable[[Any], Any]], argument: Any, run: Callable[..., Any] | None = None) -> None:
        self.functions = tuple(functions)
        self._results: dict[Callable[[Any], Any], Any] | None = None
        self._child = self._file = -1
        if not functions or sys.platform != "linux" or threads.free_cores() < 2 or threading.active_count() > 1:
            self._results = {}
            return
        try:
            self._file, write = os.pipe()
        except OSError:  # no more files
            self._results = {}
            return
        with warnings.catch_warnings():
            # Python counts threads of the system, such as those of pyarrow, which knows of forks (its pool is made anew in the child)
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                self._child = os.fork()
            except OSError:  # no more processes, or memory
                os.close(write)
                self.stop()
                return
        if self._child == 0:
            os.close(self._file)
            _work(self.functions, run or (lambda function: function(argument)), write)
        os.close(write)
        threads.children += 1

    def results(self) -> dict[Callable[[Any], Any], Any]:
        """By function; empty where they must be worked out here. Waits for them."""
        if self._results is None:
            self._results = {}
            try:
                told: list[Any] = []
                with open(self._file, "rb") as file, contextlib.suppress(EOFError, pickle.UnpicklingError):  # it died, or failed
                    self._file = -1
                    told = pickle.load(file)
                if self._ended() == 0:
                    self._results = dict(zip(self.functions, told, strict=True))
            except BaseException:
                self.stop()
                raise
        return self._results

    def stop(self) -> None:
        """Nobody will ask any more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._child > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
            self._ended()
        self._results = self._results or {}

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __del__(self) -> None:
        self.stop()

    def _ended(self) -> int:
        child, self._child = self._child, -1
        threads.children -= 1
        try:
            return os.waitpid(child, 0)[1]
        except ChildProcessError:  # somebody else has waited for it, or children are not waited for
            return 1


def each(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """What tasks return, in their order: this process and another do them side by side, and each takes the next one when it is done with one."""
    try:
        read, write = os.pipe()
    except OSError:  # no more files
        return [task() for task in tasks]
    os.write(write, b"".join(k.to_bytes(2, "big") for k in range(len(tasks))))
    os.close(write)

    def turns(_: object) -> dict[int, T]:
        done = {}
        while number := os.read(read, 2):
            done[int.from_bytes(number, "big")] = tasks[int.from_bytes(number, "big")]()
        return done

    try:
        with Aside((turns,) if len(tasks) > 1 else (), None) as other:
            done = turns(None)
            done |= other.results().get(turns, {})
    finally:
        os.close(read)
    return [done[k] if k in done else task() for k, task in enumerate(tasks)]


def _work(functions: Sequence[Callable[[Any], Any]], run: Callable[..., Any], write: int) -> None:
    """In the child: never returns."""
    status = 1
    try:
        told = [run(function) for function in functions]
        with open(write, "wb") as file:
            pickle.dump(told, file, pickle.HIGHEST_PROTOCOL)
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's is to be tidied up here
