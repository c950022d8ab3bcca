"""The decorators of all compiled kernels: machine code that is on disk is called without numba, which takes longer to import than a small capture to read.

Theory of operation
-------------------
1. A kernel that is called for the first time looks for its *entries* on disk (:mod:`netlens.wire.machinecode`): shared libraries of one function each,
   which Python calls as it calls its own (:mod:`netlens.wire.entries` makes them, one for each kernel that Python calls and types of arguments).
2. An entry checks the types of its arguments itself. It hands those that it was not made for to the kernel's next entry, and the last one to numba.
   So numba decides whatever no entry does, and rows never depend on which of them ran.
3. numba is imported when the first kernel needs it (:mod:`netlens.wire.jit`): for types without an entry, where there was no linker to make entries
   with, where a variable ``NUMBA_...`` or ``.numba_config.yaml`` tells numba how to compile, or with ``NETLENS_KERNELS=numba``.
4. Compiling takes half a minute and more, a thousand frames in plain Python half a second. So as long as few frames have been read
   (:data:`FRAMES_IN_PYTHON`), a kernel that is not on disk *runs as the function of Python that it is*. With more frames, or when it has run for
   :data:`SECONDS_IN_PYTHON`, it is compiled, and always with ``NETLENS_KERNELS=now``. State lies in arrays either way, so one can follow the other in the
   middle of a file. The command line then compiles all kernels beside itself (:mod:`netlens.background`).
5. The command line has kernels that it cannot do without compiled beside itself, too, by as many processes as there are cores, and goes on with each as soon
   as it is on disk.

``shown`` is told what happens here; the command line sets it, a library says nothing. ``find_linker`` gives what makes shared libraries, and ``beside``
starts the compilation of all kernels; the command line and ``python -m netlens.warm`` set them, because a library starts no programs.

With ``NUMBA_BOUNDSCHECK=1`` every read and write of a kernel is checked against its array and raises IndexError, which is how they are fuzzed
(``make fuzz``). With ``NUMBA_DISABLE_JIT=1`` kernels are plain Python, for a fuzzer that follows coverage.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from netlens.wire import machinecode

if TYPE_CHECKING:
    from netlens.compiling import Shown

F = TypeVar("F", bound=Callable[..., Any])
Link = Callable[[bytes], bytes | None]

shown: Shown | None = None  #: who is told
#: gives what makes a shared library of object code (None: it failed), or None where there is no linker
find_linker: Callable[[], Link | None] | None = None
#: starts processes that compile all kernels; gives whether they still do, or None where they were not started
beside: Callable[[], Callable[[], bool] | None] | None = None
known = 0  #: kernels of the modules that are loaded: about as many are compiled in the first run
compiled = 0  #: by this process; what was loaded from disk does not count
unwanted: set[int] = set()  #: threads whose result nobody waits for any more

#: As many frames take some seconds in plain Python, 0.2 to 2 ms each; with more, compiling is what takes less
FRAMES_IN_PYTHON = 20_000
#: Bytes of as many frames, and of what is bound to hold more
BYTES_IN_PYTHON = 8_000_000
SECONDS_IN_PYTHON = 2.0  #: of processor time, of one kernel: about what it takes to compile it
in_python = False  #: kernels ran as functions of Python, because they were not on disk
_frames: int | None = None  # read until now; None: nothing is being read, or so much that kernels are compiled
_at_once = os.environ.get("NETLENS_KERNELS") in ("now", "numba")
_here = threading.local()  # whether this thread is inside such a function


class Claimed(Exception):
    """A process beside this one, under the same lock, compiles the kernel."""


def _plain() -> bool:
    if not machinecode.settings():
        return False
    from numba import config

    return bool(config.DISABLE_JIT)


PLAIN = _plain()  #: kernels are functions of Python


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
    if PLAIN:
        return function
    known += 1
    found: Any = Kernel(function, options)
    return found


class Kernel:
    """What a decorator makes of a function. Kernels that call it know it by its ``dispatcher``."""

    def __init__(self, function: Any, options: dict[str, Any]):
        functools.update_wrapper(self, function)
        self.py_func = function
        self.options = options
        self.name = f"{function.__module__.removeprefix('netlens.')}.{function.__qualname__}-{function.__code__.co_firstlineno}"
        self._run: Callable[..., Any] = self._first
        self._signatures = 0  # of numba's, when entries were made
        self._entries = 0  # that were on disk
        self._seconds = 0.0  # of processor time in Python

    def __call__(self, *arguments: Any) -> Any:
        return self._run(*arguments)

    def _first(self, *arguments: Any) -> Any:
        self._run, self._entries = _entered(self.name, self._without_entry)
        return self._run(*arguments)

    def _without_entry(self, *arguments: Any) -> Any:
        if getattr(_here, "inside", False):
            return self.py_func(*arguments)
        if _frames is None or _all_on_disk() or (self._seconds > SECONDS_IN_PYTHON and not machinecode.busy()):
            if _waited_for(self.name, self._entries):
                return self._first(*arguments)
            try:
                return self._with_numba(*arguments)
            except Claimed:
                pass
        global in_python
        in_python = _here.inside = True
        begin = time.thread_time()
        try:
            with np.errstate(over="ignore"):  # hashes overflow as they do in machine code
                return self.py_func(*arguments)
        finally:
            _here.inside = False
            self._seconds += time.thread_time() - begin

    def _with_numba(self, *arguments: Any) -> Any:
        found = self.dispatcher(*arguments)
        if len(self.dispatcher.overloads) != self._signatures:
            from netlens.wire import jit

            self._signatures = len(self.dispatcher.overloads)
            jit.make_entries(self)
        return found

    @functools.cached_property
    def dispatcher(self) -> Any:
        """numba's."""
        from netlens.wire import jit

        return jit.dispatcher(self)

    @property
    def _numba_type_(self) -> Any:
        return self.dispatcher._numba_type_


class Intrinsic:
    """A function of :mod:`netlens.wire.jit` that writes instructions itself, as kernels call it."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, *_arguments: Any) -> None:
        """In plain Python a hint to the processor has no meaning."""

    @property
    def _numba_type_(self) -> Any:
        from netlens.wire import jit

        return jit.type_of(getattr(jit, self.name))


# --- in plain Python ----------------------------------------------------------------------------------------------------------------------


def reading(size: int) -> None:
    """Captures of ``size`` bytes are about to be read (0: nobody knows)."""
    global _frames
    if not _at_once and _frames is None:
        _frames = 0
    if size > BYTES_IN_PYTHON:
        compile_at_once()


def have_read(frames: int) -> None:
    """So many frames more have been read."""
    global _frames
    if _frames is not None:
        _frames += frames
        if _frames > FRAMES_IN_PYTHON:
            compile_at_once()


def compile_at_once() -> None:
    """From now on no kernel runs as a function of Python."""
    global _frames, _at_once
    _frames, _at_once = None, True


@functools.cache
def _all_on_disk() -> bool:
    """Whether numba finds all kernels there, or is told to compile otherwise than by itself, or nobody may know."""
    store = machinecode.store()
    return bool(machinecode.settings()) or store is None or store.complete


# --- entries ------------------------------------------------------------------------------------------------------------------------------

ENTRY = "netlens_entry"  #: the function of a shared library


class _Method(ctypes.Structure):
    """PyMethodDef of CPython, of a function that is called as FASTCALL."""

    _fields_ = (("name", ctypes.c_char_p), ("function", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))
    FASTCALL = 0x0080


def _store() -> machinecode.Store | None:
    """Of entries; None where they are not used."""
    return None if machinecode.settings() or os.environ.get("NETLENS_KERNELS") == "numba" else machinecode.store()


def _entered(name: str, otherwise: Callable[..., Any]) -> tuple[Callable[..., Any], int]:
    """The function that tries the entries of a kernel, and then calls ``otherwise``; and how many there are."""
    store = _store()
    paths = [] if store is None else store.entries(name)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    for path in paths:
        try:
            library = ctypes.CDLL(path)
            address = ctypes.cast(library[ENTRY], ctypes.c_void_p).value
        except (OSError, AttributeError):  # made for a Python that is linked otherwise; numba needs none
            continue
        method = _Method(name.encode(), address, _Method.FASTCALL)
        # When the interpreter ends, a function may outlive whatever refers to what it points to; so that is never freed.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(method))
        otherwise = make(ctypes.addressof(method), (otherwise, np.ndarray, np.int64, np.uint64), None)
    return otherwise, len(paths)


_start = threading.Lock()
_still: list[Callable[[], bool] | None] = []  # of the one time that processes were to be started


def _compiling() -> Callable[[], bool] | None:
    """Whether processes beside this one still compile, which are started the first time; None where there are none."""
    with _start:
        if not _still:
            _still.append(None if beside is None or _all_on_disk() else beside())
    return _still[0]


def _waited_for(name: str, entries: int) -> bool:
    """Whether processes beside this one have made an entry of a kernel, besides those that were there: waits while they may."""
    store, compiling = _store(), _compiling()
    if store is None or compiling is None:
        return False
    try:
        while True:
            still = compiling()  # before looking: what was made last is seen
            store.look_again()
            if len(store.entries(name)) > entries:
                return True
            if not still:
                return False
            if threading.get_ident() in unwanted:
                raise SystemExit
            if shown is not None:
                shown.compiling(len(store.names()), known)
            time.sleep(machinecode.LOOK_AGAIN_S)
    finally:
        if shown is not None:
            shown.ended()


# --- threads that are not waited for ------------------------------------------------------------------------------------------------------


def give_up(thread: threading.Thread) -> None:
    """Nobody waits for what ``thread`` does any more: it need not compile a kernel to the end."""
    if thread.ident is not None:
        unwanted.add(thread.ident)


def gone(thread: threading.Thread) -> None:
    """``thread`` has ended; another may get its number."""
    if thread.ident is not None:
        unwanted.discard(thread.ident)
