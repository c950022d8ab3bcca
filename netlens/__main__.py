"""The program: ``netlens``, and ``python -m netlens``."""

from __future__ import annotations

from typing import NoReturn

from netlens.cli import main


def run() -> NoReturn:
    """Run the command line, and leave without taking Python apart: freeing millions of objects one by one takes a fifth of a second."""
    import atexit
    import os
    import sys
    import threading

    # numpy's library of matrices has a thread a core, which spins a tenth of a second before it sleeps, on a core that reads a capture meanwhile
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
    try:
        main()
    except SystemExit as stop:
        if threading.active_count() > 1 or not isinstance(stop.code, int):
            raise
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):  # what these said; what the command said has been flushed
            try:
                stream.flush()
            except (OSError, ValueError):
                raise stop from None
        os._exit(stop.code)


if __name__ == "__main__":
    run()
