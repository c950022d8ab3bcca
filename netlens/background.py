"""Compile all kernels beside this process, after a command has read a small capture without (:mod:`netlens.wire.compiled`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from netlens.wire import machinecode

#: Low priority: whoever works meanwhile comes first. The folder is that of this netlens, which may be no installed one.
_CODE = "import os, sys; os.nice(5); sys.path.insert(0, sys.argv[1]); from netlens import warm; warm.main()"


def compile_kernels() -> bool:
    """Start :mod:`netlens.warm` as a process that outlives this one, if the result can be kept and none was started within the last hour."""
    store = machinecode.store()
    if store is None or store.complete or not store.due():
        return False
    nobody = subprocess.DEVNULL
    command = [sys.executable, "-c", _CODE, str(Path(__file__).parent.parent)]
    try:
        subprocess.Popen(command, cwd="/", start_new_session=True, stdin=nobody, stdout=nobody, stderr=nobody)
    except OSError:
        return False
    return True
