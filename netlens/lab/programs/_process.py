"""What the processes of all kinds of program share: they say "ready", start at a line on standard input, and end by themselves."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence


def serve(deadline: threading.Event, run: Callable[[], None]) -> None:
    """Say that all is loaded, wait for the line, and run; SIGTERM sets ``deadline``."""
    signal.signal(signal.SIGTERM, lambda *_: deadline.set())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    run()


def later(seconds: float, call: Callable[..., object], *arguments: object) -> threading.Timer:
    """Call a function in so many seconds, if the process lives as long."""
    timer = threading.Timer(seconds, call, arguments)
    timer.daemon = True
    timer.start()
    return timer


def work(threads: Sequence[threading.Thread]) -> None:
    """Run threads until what they began is finished."""
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
