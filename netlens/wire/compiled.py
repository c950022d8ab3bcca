"""The decorator of all compiled kernels: numba in nopython mode, without the interpreter lock, kept on disk, loaded quickly.

Theory of operation
-------------------
1. A kernel that is called for the first time is loaded from :mod:`netlens.wire.machinecode`. numba's own cache asks each kernel's source file
   alone whether the code is fresh, trusts the folder that it finds, and prepares its compiler first (``target_context.refresh()``, 200 ms), which a
   kernel that is on disk does not need. Measured with ``python -m tests.bench.run --workloads ten``.
2. What is not there is compiled by one process, and in it by one thread, at a time: whoever waited looks on disk again. All that a kernel calls
   is compiled within its turn.
3. A signal that Python code handles (Ctrl-C, SIGTERM) is held back until numba is between two of its passes. Raised inside LLVM's calls back
   into Python it is printed as a traceback and lost, and leaves half a kernel behind. A thread in LLVM is waited for before the interpreter ends.

``shown`` is told what happens here; the command line sets it, a library says nothing.

With ``NUMBA_BOUNDSCHECK=1`` every read and write of a kernel is checked against its array and raises IndexError, which is how they are fuzzed
(``make fuzz``). With ``NUMBA_DISABLE_JIT=1`` kernels are plain Python, for a fuzzer that follows coverage.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np
from numba import njit
from numba.core import event
from numba.core.caching import _Cache as NumbaCache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from netlens.wire import machinecode

if TYPE_CHECKING:
    from netlens.compiling import Shown

#: The order of numba's own preparations is no public interface; with a version that was not tried, it does them all.
_KNOWN = numba.__version__.startswith(("0.68.",))
_PASS, _KERNEL = "numba:run_pass", "numba:compile"  # events of numba
F = TypeVar("F", bound=Callable[..., Any])


shown: Shown | None = None  #: who is told
known = 0  #: kernels of the modules that are loaded: about as many are compiled in the first run
compiled = 0  #: by this process; what was loaded from disk does not count


def kernel(function: F) -> F:
    """Compile ``function`` when it is first called with given types, or load the code from disk.

    Kernels use int64 throughout (mixing it with uint64 makes floats), check every read themselves, and raise nothing.
    """
    return _compiled(function, {})


def lean(function: F) -> F:
    """:func:`kernel` for a function that makes no array: numba then counts no references.

    A view of a row costs two atomic additions otherwise, and each of them makes the processor wait for every store before it: half of the
    time of a loop that takes a few views per packet. Whoever calls the function holds its arguments, so there is nothing to count.
    """
    return _compiled(function, {"_nrt": False})


def inlined(function: F) -> F:
    """:func:`lean` for a small function, or a stage of one long loop: the compiler puts it where it is called, so that calls cost nothing."""
    return _compiled(function, {"_nrt": False, "forceinline": True})


def chosen(name: str, parameters: str, cases: Sequence[tuple[Iterable[int | range], Any]], otherwise: str) -> Any:
    """A kernel that calls one of several by its parameter ``kind``: comparisons of a number with constants, of which LLVM makes one jump.

    name : with its module's.  cases : (numbers or ranges of them, kernel with the same parameters).  otherwise : what it returns for all other numbers.
    """
    module, _, name = name.rpartition(".")
    called = {f"case{k}": function for k, (_, function) in enumerate(cases)}
    lines = [f"def {name}({parameters}):"]
    for case, (kinds, _) in zip(called, cases, strict=True):
        tests = [f"{kind.start} <= kind < {kind.stop}" if isinstance(kind, range) else f"kind == {kind}" for kind in kinds]
        lines.append(f"    if {' or '.join(tests) or 'False'}:\n        return {case}({parameters})")
    made: dict[str, Any] = {"np": np, "__name__": module, **called}
    exec("\n".join([*lines, f"    return {otherwise}"]), made)
    function: Any = inlined(made[name])
    return function


def _compiled(function: F, options: dict[str, Any]) -> F:
    global known
    if numba.config.DISABLE_JIT:
        return function
    known += 1
    dispatcher = njit(nogil=True, **options)(function)
    dispatcher._cache = _Cache(function)
    dispatcher.compile = functools.partial(_compile, dispatcher.compile)
    return dispatcher


# --- on disk ------------------------------------------------------------------------------------------------------------------------------


class _Missing(Exception):
    """Not on disk, and it is not this thread's turn to compile."""


class _Cache(NumbaCache):  # type: ignore[misc]
    """What numba's dispatchers ask before they compile, and give what they compiled."""

    def __init__(self, function: Any):
        code = function.__code__
        self._name = f"{function.__module__.removeprefix('netlens.')}.{function.__qualname__}-{code.co_firstlineno}"

    @property
    def cache_path(self) -> str | None:
        return None

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...

    def _file(self, sig: Any, codegen: Any) -> str:
        key = hashlib.sha256(repr((sig, codegen.magic_tuple())).encode()).hexdigest()[:16]
        return f"{self._name}.{key}.nbc"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        store = machinecode.store()
        if store is not None:
            if _KNOWN:
                rtsys.initialize(target_context)  # compiled code calls into numba's runtime
            else:
                target_context.refresh()
            body = store.read(self._file(sig, target_context.codegen()))
            if body is not None:
                return CompileResult._rebuild(target_context, *pickle.loads(body))
        if _turn.owner != threading.get_ident():
            raise _Missing
        return None

    def save_overload(self, sig: Any, result: Any) -> None:
        store = machinecode.store()
        if store is None:
            why: str | None = "netlens runs from an archive"
        elif result.lifted or result.library.has_dynamic_globals:
            return  # holds addresses of this process; no kernel of ours does
        else:
            why = store.write(self._file(sig, result.codegen), dumps(result._reduce()))
        if why is not None and shown is not None:
            shown.not_kept(why)


# --- compiling ----------------------------------------------------------------------------------------------------------------------------


class _Turn:
    """Whose turn it is to compile."""

    def __init__(self) -> None:
        self.queue = threading.Lock()  # held while waiting for other processes, too
        self.busy = threading.Lock()  # held while numba works
        self.owner: int | None = None  # the thread that compiles
        self.unwanted: set[int] = set()  # threads whose result nobody waits for any more
        self.ending = False
        self.signals: list[Callable[[], None]] = []  # what was held back

    def look_up(self) -> None:
        """Between two passes: act on what happened meanwhile."""
        while self.signals:
            self.signals.pop(0)()
        if self.ending or threading.get_ident() in self.unwanted:
            raise SystemExit


_turn = _Turn()


def _compile(compile_: Callable[[Any], Any], sig: Any) -> Any:
    """numba's ``compile`` of one dispatcher: at once if the code is on disk, else when it is this thread's turn."""
    try:
        return compile_(sig)
    except _Missing:
        pass
    with _alone():
        return compile_(sig)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    store, listener = machinecode.store(), _Listener()
    alone = contextlib.nullcontext() if store is None else store.alone(lambda: shown.waiting() if shown is not None else None)
    with (
        _turn.queue,
        alone,
        _signals_held_back(),
        _turn.busy,
        event.install_listener(_PASS, listener),
        event.install_listener(_KERNEL, listener),
    ):
        _turn.owner = threading.get_ident()
        try:
            _turn.look_up()
            yield
        finally:
            _turn.owner = None
            if shown is not None:
                shown.ended()


class _Listener(event.Listener):  # type: ignore[misc]
    """Of the thread that compiles: looks up between two passes, and counts kernels."""

    def on_start(self, event: Any) -> None:
        if threading.get_ident() == _turn.owner:
            if event.kind == _PASS:
                _turn.look_up()
            elif shown is not None:
                shown.compiling(compiled, known)

    def on_end(self, event: Any) -> None:
        global compiled
        compiled += event.kind == _KERNEL and threading.get_ident() == _turn.owner


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """In the main thread, where Python runs the handlers of signals. One without a handler in Python ends the process at once, as always."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hold(handler: Callable[[int, Any], Any]) -> Callable[[int, Any], None]:
        return lambda number, _frame: _turn.signals.append(lambda: handler(number, sys._getframe()))

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    handled = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number, handler in handled.items():
            signal.signal(number, hold(handler))
        yield
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        while _turn.signals:
            _turn.signals.pop(0)()


def give_up(thread: threading.Thread) -> None:
    """Nobody waits for what ``thread`` does any more: it need not compile a kernel to the end."""
    if thread.ident is not None:
        _turn.unwanted.add(thread.ident)


def gone(thread: threading.Thread) -> None:
    """``thread`` has ended; another may get its number."""
    if thread.ident is not None:
        _turn.unwanted.discard(thread.ident)


@atexit.register
def _end() -> None:
    """Let no thread be in LLVM when the interpreter is taken down."""
    _turn.ending = True
    with _turn.busy:
        pass
