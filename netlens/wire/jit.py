"""Kernels that numba compiles: in nopython mode, without the interpreter lock, kept on disk, loaded quickly. Imported when the first kernel needs it.

Theory of operation
-------------------
1. A kernel that is called for the first time is loaded from :mod:`netlens.wire.machinecode`. numba's own cache asks each kernel's source file
   alone whether the code is fresh, trusts the folder that it finds, and prepares its compiler first (``target_context.refresh()``, 200 ms), which a
   kernel that is on disk does not need. Measured with ``python -m tests.bench.run --workloads ten``.
2. What is not there is compiled by one process, and in it by one thread, at a time: whoever waits looks on disk again and again. All that a kernel
   calls is compiled within its turn. Of several processes that compile under one lock each compiles what it is the first to claim.
3. Of a kernel that Python called an entry is made as well (:mod:`netlens.wire.entries`), with which later runs do without numba. An empty file says
   that none could be made.
4. A signal that Python code handles (Ctrl-C, SIGTERM) is held back until numba is between two of its passes. Raised inside LLVM's calls back
   into Python it is printed as a traceback and lost, and leaves half a kernel behind. A thread in LLVM is waited for before the interpreter ends.
"""

import atexit
import contextlib
import functools
import hashlib
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numba
from llvmlite import ir
from numba import njit
from numba.core import event, types
from numba.core.caching import _Cache as NumbaCache
from numba.core.compiler import CompileResult
from numba.core.extending import intrinsic
from numba.core.registry import cpu_target
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from netlens.wire import compiled, entries, machinecode

#: The order of numba's own preparations is no public interface; with a version that was not tried, it does them all.
_KNOWN = numba.__version__.startswith(("0.68.",))
_PASS, _KERNEL = "numba:run_pass", "numba:compile"  # events of numba


def dispatcher(kernel: compiled.Kernel) -> Any:
    """What numba calls and types a kernel by."""
    made = njit(nogil=True, **kernel.options)(kernel.py_func)
    made._cache = _Cache(kernel.name)
    made.compile = functools.partial(_compile, made.compile, name=kernel.name)
    return made


def type_of(value: Any) -> Any:
    """numba's type of a function that a kernel calls."""
    return cpu_target.typing_context.resolve_value_type(value)


@intrinsic
def prefetch(_context: Any, array: Any, index: Any) -> Any:
    """Ask the processor for the cache line of ``array[index]``."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        # for reading, to be kept in all caches, data
        builder.call(builder.module.declare_intrinsic("llvm.prefetch", [address.type], shape), [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), code


# --- on disk ------------------------------------------------------------------------------------------------------------------------------


class _Missing(Exception):
    """Not on disk, and it is not this thread's turn to compile."""


class _Cache(NumbaCache):  # type: ignore[misc]
    """What numba's dispatchers ask before they compile, and give what they compiled."""

    def __init__(self, name: str):
        self._name = name

    @property
    def cache_path(self) -> str | None:
        return None

    def enable(self) -> None: ...

    def disable(self) -> None: ...

    def flush(self) -> None: ...

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        store = machinecode.store()
        if store is not None:
            if _KNOWN:
                rtsys.initialize(target_context)  # compiled code calls into numba's runtime
            else:
                target_context.refresh()
            body = store.read(_key(self._name, sig, target_context.codegen()) + machinecode.CODE)
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
            why = store.write(_key(self._name, sig, result.codegen) + machinecode.CODE, dumps(result._reduce()))
        if why is not None and compiled.shown is not None:
            compiled.shown.not_kept(why)


def _key(name: str, sig: Any, codegen: Any) -> str:
    """The name of a kernel's files for a signature, without their suffix."""
    return f"{name}.{hashlib.sha256(repr((sig, codegen.magic_tuple())).encode()).hexdigest()[:16]}"


def make_entries(kernel: compiled.Kernel) -> None:
    """Keep an entry of each signature that numba has of ``kernel``, or an empty file where there can be none."""
    store, link = machinecode.store(), compiled.find_linker and compiled.find_linker()
    if store is None or not link or machinecode.settings():
        return
    keys = {_key(kernel.name, sig, result.codegen): result for sig, result in kernel.dispatcher.overloads.items()}
    if all(store.read(key + machinecode.ENTRY) is not None for key in keys):
        return
    with _alone():
        for key, result in keys.items():
            if store.writable and store.read(key + machinecode.ENTRY) is None:  # nobody else has made it meanwhile
                code = entries.object_code(result, key)
                store.write(key + machinecode.ENTRY, (None if code is None else link(code)) or b"")


def say_complete() -> None:
    """All kernels were compiled."""
    store = machinecode.store()
    if store is not None and not machinecode.settings():
        with _alone():
            store.write(machinecode.COMPLETE, b"")


# --- compiling ----------------------------------------------------------------------------------------------------------------------------


class _Turn:
    """Whose turn it is to compile."""

    def __init__(self) -> None:
        self.queue = threading.Lock()  # held while waiting for other processes, too
        self.busy = threading.Lock()  # held while numba works
        self.owner: int | None = None  # the thread that compiles
        self.ending = False
        self.signals: list[Callable[[], None]] = []  # what was held back

    def look_up(self) -> None:
        """Between two passes: act on what happened meanwhile."""
        while self.signals:
            self.signals.pop(0)()
        if self.ending or threading.get_ident() in compiled.unwanted:
            raise SystemExit


_turn = _Turn()


class _Made(Exception):
    """Another process has compiled what this thread waits for."""


def _compile(compile_: Callable[[Any], Any], sig: Any, name: str) -> Any:
    """numba's ``compile`` of the kernel ``name``: at once if the code is on disk, else when it is this thread's turn.

    Raises
    ------
    compiled.Claimed
        a process beside this one compiles it.
    """
    try:
        return compile_(sig)
    except _Missing:
        pass
    store, key = machinecode.store(), _key(name, sig, cpu_target.target_context.codegen())

    def look() -> None:
        if store is not None and store.read(key + machinecode.CODE) is not None:
            raise _Made

    with contextlib.suppress(_Made), _alone(look):
        if machinecode.under_lock and store is not None and not store.claim(key):
            raise compiled.Claimed
        return compile_(sig)
    return compile_(sig)


@contextlib.contextmanager
def _alone(look: Callable[[], None] = lambda: None) -> Iterator[None]:
    """``look`` is called while another process compiles."""
    store, listener = machinecode.store(), _Listener()

    def waiting() -> None:
        if compiled.shown is not None:
            compiled.shown.waiting()
        look()

    alone = contextlib.nullcontext() if store is None else store.alone(waiting)
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
            if compiled.shown is not None:
                compiled.shown.ended()


class _Listener(event.Listener):  # type: ignore[misc]
    """Of the thread that compiles: looks up between two passes, and counts kernels."""

    def on_start(self, event: Any) -> None:
        if threading.get_ident() == _turn.owner:
            if event.kind == _PASS:
                _turn.look_up()
            elif compiled.shown is not None:
                compiled.shown.compiling(compiled.compiled, compiled.known)

    def on_end(self, event: Any) -> None:
        compiled.compiled += event.kind == _KERNEL and threading.get_ident() == _turn.owner


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


@atexit.register
def _end() -> None:
    """Let no thread be in LLVM when the interpreter is taken down."""
    _turn.ending = True
    with _turn.busy:
        pass
