"""Bytes to columns; nothing is remembered from one packet to the next (fragments of one datagram excepted).

The folder, in the order in which things depend on each other::

    machinecode.py compiled.py loads.py                 kernels: where their code is kept, their decorators, reading numbers
    jit.py entries.py                                   imported only to compile: numba's side; functions that Python calls without it
    streams.py gunzip.py framing.py containers.py       a file or pipe to frames, in batches;  times.py  their order;  writing.py  the way back
    link/ tunnels/                                      one header a file, for the decoder and the anonymizer
    routes.py hints.py decode.py fragments.py           frames to rows, as columns.py lays them out
    dns.py tls.py addresses.py                          one message, one ClientHello, addresses as text
    ahead.py                                            a thread that decodes ahead
"""

import mmap

#: Address space that LLVM, numba's runtime and the kernels of one table take. With less they end the process by an abort that nobody can catch.
NEEDED_BYTES = 720 << 20


def _see_to_room() -> None:
    """Raise MemoryError where compiled code would find no room. The map is never touched, so it takes none itself."""
    if hasattr(mmap, "MAP_ANONYMOUS"):
        try:
            mmap.mmap(-1, NEEDED_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
        except OSError:
            raise MemoryError(f"compiled code needs {NEEDED_BYTES >> 20} MB of address space") from None


_see_to_room()
