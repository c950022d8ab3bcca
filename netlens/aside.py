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
from typing import IO, Any, TypeVar

from netlens import threads

T = TypeVar("T")


class Aside:
    """Functions of one argument whose results are worked out ahead.

    functions : called one after the other; what they return is pickled.  run : what calls them, where that is more than to call them.  tidies_up : they
    write files, and get the time to remove them when they are stopped.  in_turns : more of them, whose results are asked for together, and which this
    process does as well from then on: each of the two takes the next one when it is done with one.
    """

    def __init__(
        self,
        functions: Sequence[Callable[[Any], Any]],
        argument: Any,
        run: Callable[..., Any] | None = None,
        tidies_up: bool = False,
        in_turns: Sequence[Callable[[Any], Any]] = (),
    ) -> None:
        self._turns = _Turns(in_turns)
        self.functions = (*functions, self._turns.take) if in_turns else tuple(functions)
        self._stopped_by = signal.SIGTERM if tidies_up else signal.SIGKILL
        self._results: dict[Callable[[Any], Any], Any] = {}
        self._child = -1
        self._done: IO[bytes] | None = None  # a byte for each function that has ended
        self._files: list[IO[bytes]] = []  # what they returned: files in memory, as a pipe would hold up whoever writes until it is read
        if not self.functions or sys.platform != "linux" or threads.free_cores() < 2 or threading.active_count() > 1:
            return
        try:
            self._files = [open(os.memfd_create("netlens"), "w+b") for _ in self.functions]
            if in_turns:
                self._turns.begin()
            read, write = os.pipe()
        except (OSError, AttributeError):  # no more files; a C library without such files
            self.stop()
            return
        self._done = open(read, "rb", buffering=0)
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
            self._done.close()
            if tidies_up:
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            _work(self.functions, run or (lambda function: function(argument)), self._files, write)
        os.close(write)
        threads.children += 1

    def results(self, *wanted: Callable[[Any], Any]) -> dict[Callable[[Any], Any], Any]:
        """By function; those must be worked out here that are not in it. Waits for those that are ``wanted``, or for all."""
        try:
            while self._done is not None and not self._results.keys() >= set(wanted or self.functions):
                if not self._done.read(1):  # it died, or failed
                    self.stop()
                    break
                with self._files.pop(0) as file:
                    file.seek(0)
                    self._results[self.functions[len(self._results)]] = pickle.load(file)
                if not self._files:
                    self.stop()
        except BaseException:
            self.stop()
            raise
        return self._results

    def taken_in_turns(self, argument: Any) -> list[Any]:
        """Results of ``in_turns``, in their order. ``argument``: for those that are done here."""
        done = self._turns.take(argument)
        done |= self.results(self._turns.take).get(self._turns.take, {})
        return [done[k] if k in done else do(argument) for k, do in enumerate(self._turns.functions)]

    def stop(self) -> None:
        """Nobody will ask any more."""
        self._turns.end()
        for file in (*self._files, *((self._done,) if self._done else ())):
            file.close()
        self._files, self._done = [], None
        if self._child > 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, self._stopped_by)
            child, self._child = self._child, -1
            threads.children -= 1
            with contextlib.suppress(ChildProcessError):  # somebody else has waited for it, or children are not waited for
                os.waitpid(child, 0)

    def __enter__(self) -> Aside:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __del__(self) -> None:
        self.stop()


class _Turns:
    """Functions that two processes take one after the other."""

    def __init__(self, functions: Sequence[Callable[[Any], Any]]) -> None:
        self.functions = tuple(functions)
        self._left: int | None = None  # a pipe from which each of them reads the number of the next one

    def begin(self) -> None:
        """Before there is another process; OSError where there are no more files."""
        self._left, write = os.pipe()
        os.write(write, b"".join(k.to_bytes(2, "big") for k in range(len(self.functions))))
        os.close(write)

    def take(self, argument: Any) -> dict[int, Any]:
        """Results by number, of those that nobody has taken before."""
        done = {}
        while self._left is not None and (number := os.read(self._left, 2)):
            k = int.from_bytes(number, "big")
            done[k] = self.functions[k](argument)
        return done

    def end(self) -> None:
        if self._left is not None:
            os.close(self._left)
            self._left = None


def each(tasks: Sequence[Callable[[], T]]) -> list[T]:
    """What tasks return, in their order: this process and another do them side by side, and each takes the next one when it is done with one."""
    if len(tasks) < 2:
        return [task() for task in tasks]
    with Aside((), None, tidies_up=True, in_turns=[lambda _, task=task: task() for task in tasks]) as other:  # type: ignore[misc]
        return other.taken_in_turns(None)


def _work(functions: Sequence[Callable[[Any], Any]], run: Callable[..., Any], files: Sequence[IO[bytes]], done: int) -> None:
    """In the child: never returns."""
    status = 1
    try:
        for function, file in zip(functions, files, strict=True):
            pickle.dump(run(function), file, pickle.HIGHEST_PROTOCOL)
            file.flush()
            os.write(done, b"\0")
        status = 0
    finally:
        os._exit(status)  # nothing of the parent's is to be tidied up here
