"""Numbers of several bytes in a buffer, and a hint to the processor which memory comes next; for kernels.

The index is made unsigned, because numba adds code to each signed one that lets it count from the end; without it the compiler sees that the
bytes lie side by side and loads them as one word. Nobody checks bounds here: the caller has.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.extending import intrinsic

from netlens.wire.compiled import lean

_COMPILED = not numba.config.DISABLE_JIT  #: a hint to the processor has no meaning in plain Python
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


@intrinsic
def _prefetch(_context: Any, array: Any, index: Any) -> Any:
    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        # for reading, to be kept in all caches, data
        builder.call(builder.module.declare_intrinsic("llvm.prefetch", [address.type], shape), [address, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), code


@lean
def prefetch(array, index):
    """Let the processor load the cache line of ``array[index]`` (one dimension) while it does other things. Any index is safe."""
    if _COMPILED:
        _prefetch(array, np.int64(index))
