"""The decorator of all compiled kernels: numba in nopython mode, without the interpreter lock, cached on disk, loaded quickly.

Before numba looks into its cache it prepares its compiler (``target_context.refresh()``, 200 ms), which a kernel that is in the cache does not
need: that would be a third of the time of a command on a small capture. :class:`_Cache` asks the disk first; on a miss numba's compiler prepares
itself as always. Measured with ``python -m tests.bench.run --workloads ten``.

With ``NUMBA_BOUNDSCHECK=1`` every read and write of a kernel is checked against its array and raises IndexError, which is how they are fuzzed
(``make fuzz``); that code has a cache of its own. With ``NUMBA_DISABLE_JIT=1`` kernels are plain Python, for a fuzzer that follows coverage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import numba
from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.runtime import rtsys

#: The order of numba's own preparations is no public interface; with a version that was not tried, it does them all.
_KNOWN = numba.__version__.startswith(("0.68.",))
F = TypeVar("F", bound=Callable[..., Any])


class _Cache(FunctionCache):  # type: ignore[misc]
    def __init__(self, function: Any) -> None:
        super().__init__(function)
        if numba.config.BOUNDSCHECK:  # numba's own index knows nothing of it: either kind of code would be taken for the other
            stamp = self._impl.locator.get_source_stamp()
            self._cache_file = IndexDataCacheFile(self._cache_path, f"{self._impl.filename_base}.checked", stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        rtsys.initialize(target_context)  # compiled code calls into numba's runtime
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


def kernel(function: F) -> F:
    """Compile ``function`` when it is first called with given types, or load the code from the cache.

    Kernels use int64 throughout (mixing it with uint64 makes floats), check every read themselves, and raise nothing.
    """
    return _compiled(function, {})


def lean(function: F) -> F:
    """:func:`kernel` for a function that makes no array: numba then counts no references.

    A view of a row costs two atomic additions otherwise, and each of them makes the processor wait for every store before it: half of the
    time of a loop that takes a few views per packet. Whoever calls the function holds its arguments, so there is nothing to count.
    """
    return _compiled(function, {"_nrt": False})


def _compiled(function: F, options: dict[str, Any]) -> F:
    if numba.config.DISABLE_JIT:
        return function
    dispatcher = njit(nogil=True, **options)(function)
    if numba.config.BOUNDSCHECK and not _KNOWN:
        return dispatcher
    with contextlib.suppress(RuntimeError):  # nowhere to keep a cache (install folder and home both read-only): compile each time
        if _KNOWN:
            dispatcher._cache = _Cache(function)
        else:
            dispatcher.enable_caching()
    return dispatcher
