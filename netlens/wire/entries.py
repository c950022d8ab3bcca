"""Entries: machine code of a compiled kernel that Python calls without numba.

Theory of operation
-------------------
1. An entry is a function of CPython's calling convention FASTCALL, written here in LLVM's instructions and put before the kernel's own code. All of it is
   one object file, of which a linker makes a shared library (:mod:`netlens.linker`).
2. It takes the arguments from their Python objects and looks at the type of each: C-contiguous arrays of numbers, named tuples of them, ``int``, ``bool``,
   numpy's 64-bit integers. If one is not what the kernel was compiled for, it calls the next function that may know (the first item of its ``self``)
   with the same arguments. (``self`` also has the types of numpy that it compares with.)
3. It runs the kernel without the interpreter lock, and returns None, an integer, a bool, or a tuple of these.
4. A kernel that makes arrays calls into numba's runtime, which only numba can bring: then there is no entry.

Where things lie in objects of CPython and numpy is written down here. Both keep it through their binary interface for extensions, and
:func:`_as_known` holds it against real objects before an entry is made. The entries of another Python or numpy have another stamp.
"""

import ctypes
import functools
import sys
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils
from numba.core import types as types_of_numba
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import as_dtype

from netlens.wire.compiled import ENTRY

types: Any = types_of_numba
_POINTER = ir.IntType(8).as_pointer()
_POINTERS = _POINTER.as_pointer()
_INT64, _INT32, _INT8 = ir.IntType(64), ir.IntType(32), ir.IntType(8)
_NULL = ir.Constant(_POINTER, None)

# Bytes from the begin of an object.
_TYPE = 8
_SIZE, _ITEMS = 16, tuple.__basicsize__  # of a tuple
_VALUE = 16  # of a number of numpy
_DATA, _DIMENSIONS_N, _DIMENSIONS, _STRIDES, _DESCRIPTION, _FLAGS = 16, 24, 32, 40, 56, 64  # of an array (PyArrayObject_fields)
_BYTE_ORDER, _NUMBER = 26, 28  # of its dtype (PyArray_Descr)
_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x0001, 0x0100, 0x0400
# Items of ``self``.
_NEXT, _NDARRAY, _NUMPY_INT64, _NUMPY_UINT64 = range(4)


class _Unfit(Exception):
    """A type that entries do not take or give."""


@functools.cache
def _as_known() -> bool:
    """Whether objects of this Python and numpy look as it is written above."""
    if sys.implementation.name != "cpython" or object.__basicsize__ != 16 or np.int64.__basicsize__ != 24 or _ITEMS not in (24, 32):
        return False
    array, pair = np.zeros((3, 2), np.int64), (object(), object())

    def at(thing: Any, offset: int, kind: Any = ctypes.c_int64) -> Any:
        return kind.from_address(id(thing) + offset).value

    seen = (
        at(array, _TYPE) == id(np.ndarray)
        and at(array, _DATA) == array.ctypes.data
        and at(array, _DIMENSIONS_N, ctypes.c_int32) == array.ndim
        and at(array, _DESCRIPTION) == id(array.dtype)
        and at(array, _FLAGS, ctypes.c_int32) == array.flags.num
        and at(array.dtype, _NUMBER, ctypes.c_int32) == array.dtype.num
        and at(array.dtype, _BYTE_ORDER, ctypes.c_char) == b"="
        and at(array.dtype.newbyteorder(), _BYTE_ORDER, ctypes.c_char) in b"<>"
        and at(np.int64(-7), _VALUE) == -7
        and at(pair, _SIZE) == 2
        and at(pair, _ITEMS + 8) == id(pair[1])
    )
    if not seen:
        return False
    shape, strides = ((ctypes.c_int64 * 2).from_address(at(array, offset)) for offset in (_DIMENSIONS, _STRIDES))
    return (*shape, *strides) == array.shape + array.strides


def object_code(result: Any, name: str) -> bytes | None:
    """Of the kernel that numba compiled to ``result``, with its entry; None if there can be none."""
    if not _as_known():
        return None
    try:
        entry = _Entry(result, name).module
    except _Unfit:
        return None
    module = result.library._get_module_for_linking().clone()
    module.link_in(binding.parse_assembly(str(entry)))
    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name != ENTRY:
            value.linkage = "internal"
    triple, processor, features = result.target_context.codegen().magic_tuple()
    machine = binding.Target.from_triple(triple).create_target_machine(
        cpu=processor, features=features, opt=3, reloc="pic", codemodel="default"
    )
    passes = binding.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()  # numba's own ways to call the kernel
    passes.run(module, binding.create_pass_builder(machine, binding.create_pipeline_tuning_options()))
    needed = [v.name for v in (*module.functions, *module.global_variables) if v.is_declaration]
    if not all(name.startswith(("Py", "_Py", "llvm.", "memcpy", "memmove", "memset")) for name in needed):
        return None
    code: bytes = machine.emit_object(module)
    return code


class _Entry:
    """The module of LLVM with an entry's instructions."""

    def __init__(self, result: Any, name: str):
        self.context = result.target_context
        self.module = ir.Module(name)
        self.module.triple = binding.get_process_triple()
        self.module.data_layout = str(self.context.codegen().target_data)
        self.function = ir.Function(self.module, ir.FunctionType(_POINTER, [_POINTER, _POINTERS, _INT64]), ENTRY)
        self.me, arguments, count = self.function.args
        self.builder = build = ir.IRBuilder(self.function.append_basic_block("begin"))
        self.other = self.function.append_basic_block("other")
        self.overflow = build.alloca(_INT32)
        wanted = result.signature.args
        self._need(self._same(count, _INT64(len(wanted))))
        values = [self._taken(kind, build.load(build.gep(arguments, [_INT64(k)]))) for k, kind in enumerate(wanted)]
        state = self._call("PyEval_SaveThread", _POINTER)
        kernel = self.context.declare_function(self.module, result.fndesc)
        status, found = self.context.call_conv.call_function(build, kernel, result.signature.return_type, wanted, values)
        self._call("PyEval_RestoreThread", ir.VoidType(), state)
        with build.if_then(status.is_error, likely=False):
            text = self.context.insert_const_string(self.module, f"{name}: a kernel failed")
            self._call("PyErr_SetString", ir.VoidType(), build.load(build.bitcast(self._data("PyExc_SystemError"), _POINTERS)), text)
            build.ret(_NULL)
        build.ret(self._given(result.signature.return_type, found))
        build.position_at_end(self.other)
        build.ret(self._call("PyObject_Vectorcall", _POINTER, self._mine(_NEXT), arguments, count, _NULL))

    def _call(self, name: str, gives: Any, *arguments: Any) -> Any:
        """A call of CPython's interface."""
        kind = ir.FunctionType(gives, [a.type for a in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.module, kind, name), arguments)

    def _data(self, name: str) -> Any:
        """An object of CPython's interface."""
        found = self.module.globals.get(name)
        if found is None:
            found = ir.GlobalVariable(self.module, _INT8, name)
            found.linkage = "external"
        return found

    def _at(self, thing: Any, offset: int, kind: Any = _POINTER) -> Any:
        build = self.builder
        return build.load(build.bitcast(build.gep(thing, [_INT64(offset)]), kind.as_pointer()))

    def _mine(self, number: int) -> Any:
        return self._at(self.me, _ITEMS + 8 * number)

    def _same(self, a: Any, b: Any) -> Any:
        return self.builder.icmp_unsigned("==", a, b)

    def _need(self, *conditions: Any) -> None:
        """Go on where one of these is true, else to who else may know."""
        fits = self.function.append_basic_block("fits")
        self.builder.cbranch(functools.reduce(self.builder.or_, conditions), fits, self.other)
        self.builder.position_at_end(fits)

    def _is_of(self, thing: Any, kind: Any) -> Any:
        """Whether an object is of a type or of one derived from it."""
        return self.builder.icmp_signed("!=", self._call("PyType_IsSubtype", _INT32, self._at(thing, _TYPE), kind), _INT32(0))

    def _taken(self, kind: Any, thing: Any) -> Any:
        """The value of an object that must be of numba's type ``kind``."""
        if isinstance(kind, types.Array) and kind.layout == "C" and kind.aligned:
            return self._array(kind, thing)
        if isinstance(kind, types.BaseTuple):
            self._need(self._is_of(thing, self._data("PyTuple_Type")))
            self._need(self._same(self._at(thing, _SIZE, _INT64), _INT64(len(kind))))
            items = [self._taken(item, self._at(thing, _ITEMS + 8 * k)) for k, item in enumerate(kind)]
            return self.context.make_tuple(self.builder, kind, items)
        if kind == types.boolean:
            yes = self._same(thing, self._data("_Py_TrueStruct"))
            self._need(yes, self._same(thing, self._data("_Py_FalseStruct")))
            return yes
        if kind == types.int64:
            return self._integer(thing)
        if kind == types.uint64:
            self._need(self._same(self._at(thing, _TYPE), self._mine(_NUMPY_UINT64)))
            return self._at(thing, _VALUE, _INT64)
        raise _Unfit

    def _integer(self, thing: Any) -> Any:
        """Of an int (a bool is another type) that fits, or of numpy's."""
        build = self.builder
        with build.if_else(self._same(self._at(thing, _TYPE), self._data("PyLong_Type"))) as (python, other):
            with python:
                value = self._call("PyLong_AsLongLongAndOverflow", _INT64, thing, self.overflow)
                self._need(self._same(build.load(self.overflow), _INT32(0)))
                first = build.block
            with other:
                self._need(self._same(self._at(thing, _TYPE), self._mine(_NUMPY_INT64)))
                of_numpy = self._at(thing, _VALUE, _INT64)
                second = build.block
        found = build.phi(_INT64)
        found.add_incoming(value, first)
        found.add_incoming(of_numpy, second)
        return found

    def _array(self, kind: Any, thing: Any) -> Any:
        build, dtype = self.builder, as_dtype(kind.dtype)
        self._need(self._is_of(thing, self._mine(_NDARRAY)))
        self._need(self._same(self._at(thing, _DIMENSIONS_N, _INT32), _INT32(kind.ndim)))
        flags = _INT32(_CONTIGUOUS | _ALIGNED | (_WRITEABLE if kind.mutable else 0))
        self._need(self._same(build.and_(self._at(thing, _FLAGS, _INT32), flags), flags))
        description = self._at(thing, _DESCRIPTION)
        # long and long long are two types of C, and may be one of numba
        numbers = {other.num for other in map(np.dtype, "?bBhHiIlLqQfd") if other == dtype}
        if not numbers:
            raise _Unfit
        self._need(*(self._same(self._at(description, _NUMBER, _INT32), _INT32(number)) for number in sorted(numbers)))
        self._need(
            build.icmp_unsigned("!=", self._at(description, _BYTE_ORDER, _INT8), _INT8(ord(">" if sys.byteorder == "little" else "<")))
        )
        shape, strides = (
            [build.load(build.gep(numbers_at, [_INT64(k)])) for k in range(kind.ndim)]
            for numbers_at in (self._at(thing, offset, _INT64.as_pointer()) for offset in (_DIMENSIONS, _STRIDES))
        )
        array = self.context.make_array(kind)(self.context, build)
        data = build.bitcast(self._at(thing, _DATA), self.context.get_data_type(kind.dtype).as_pointer())
        populate_array(array, data, shape, strides, _INT64(dtype.itemsize), meminfo=None)
        return array._getvalue()

    def _given(self, kind: Any, value: Any) -> Any:
        """The object of a value of numba's type ``kind``."""
        build = self.builder
        if kind == types.none:
            nothing = self._data("_Py_NoneStruct")
            self._call("Py_IncRef", ir.VoidType(), nothing)
            return nothing
        if kind == types.boolean:
            return self._call("PyBool_FromLong", _POINTER, build.zext(value, _INT64))
        if isinstance(kind, types.Integer) and kind.signed:
            return self._call("PyLong_FromLongLong", _POINTER, build.sext(value, _INT64))
        if isinstance(kind, types.Integer):
            return self._call("PyLong_FromUnsignedLongLong", _POINTER, build.zext(value, _INT64))
        if isinstance(kind, types.BaseTuple) and not isinstance(kind, types.BaseNamedTuple):
            made = self._call("PyTuple_New", _POINTER, _INT64(len(kind)))
            for k, item in enumerate(kind):
                self._call("PyTuple_SetItem", _INT32, made, _INT64(k), self._given(item, build.extract_value(value, k)))
            return made
        raise _Unfit
