"""Numbers of several bytes in a buffer, and a hint to the processor which memory comes next; for kernels.

The index is made unsigned, because numba adds code to each signed one that lets it count from the end; without it the compiler sees that the
bytes lie side by side and loads them as one word. Nobody checks bounds here: the caller has.
"""

import numpy as np

from netlens.wire.compiled import Intrinsic, lean

_prefetch = Intrinsic("prefetch")
_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)


@lean
def be16(buf, o):
    u = np.uint64(o)
    return np.int64(buf[u]) << 8 | np.int64(buf[u + _1])


@lean
def be32(buf, o):
    u = np.uint64(o)
    return np.int64(buf[u]) << 24 | np.int64(buf[u + _1]) << 16 | np.int64(buf[u + _2]) << 8 | np.int64(buf[u + _3])


@lean
def be64(buf, o):
    return be32(buf, o) << 32 | be32(buf, o + 4)


@lean
def le32(buf, o):
    u = np.uint64(o)
    return np.int64(buf[u + _3]) << 24 | np.int64(buf[u + _2]) << 16 | np.int64(buf[u + _1]) << 8 | np.int64(buf[u])


@lean
def byte(buf, o):
    return np.int64(buf[np.uint64(o)])


@lean
def prefetch(array, index):
    """Let the processor load the cache line of ``array[index]`` (one dimension) while it does other things. Any index is safe."""
    _prefetch(array, np.int64(index))
