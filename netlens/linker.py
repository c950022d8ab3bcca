"""The system's linker: object code of a kernel to a shared library, which Python loads without numba (:mod:`netlens.wire.compiled`).

*Limits.* Tried on Linux. On macOS Apple's compiler driver links, if the command line tools are installed. Without a linker numba loads the kernels,
which costs each start 0.3 s.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

LINKERS = ("ld", "ld.lld", "ld.gold")
#: Small pages: a library has some kilobytes. No stack is executed.
OPTIONS = ("-shared", "-z", "noexecstack", "-z", "now", "--hash-style=gnu", "--build-id=none", "--strip-all")
APPLES = ("cc", "-bundle", "-undefined", "dynamic_lookup")


@functools.cache
def find() -> Callable[[bytes], bytes | None] | None:
    """What links on this machine, if anything does."""
    import shutil

    if sys.platform == "darwin":
        return functools.partial(_link, APPLES) if shutil.which("cc") else None
    program = next(filter(None, map(shutil.which, LINKERS)), None)
    return functools.partial(_link, (program, *OPTIONS)) if program else None


def _link(command: tuple[str, ...], code: bytes) -> bytes | None:
    """The shared library of ``code``, or None if the linker refuses or ends without one."""
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory(prefix="netlens-") as folder:
        source, made = Path(folder, "entry.o"), Path(folder, "entry.so")
        source.write_bytes(code)
        try:
            subprocess.run([*command, "-o", str(made), str(source)], check=True, stdin=subprocess.DEVNULL, capture_output=True)
            return made.read_bytes()
        except (OSError, subprocess.CalledProcessError):
            return None
