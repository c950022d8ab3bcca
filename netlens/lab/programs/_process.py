"""What the processes of all kinds of program share: they say "ready", start at a line on standard input, and end by themselves."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterable


def serve(deadline: threading.Event, run: Callable[[], None]) -> None:
    """Say that all is loaded, wait for the line, and run; SIGTERM sets ``deadline``."""
    signal.signal(signal.SIGTERM, lambda *_: deadline.set())
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    run()


def work(seconds: float, deadline: threading.Event, threads: Iterable[threading.Thread]) -> None:
    """Run threads until what they began is finished; ``deadline`` is set after ``seconds``, and they begin nothing new then."""
    ending = threading.Timer(seconds, deadline.set)
    ending.daemon = True
    ending.start()
    started = list(threads)
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
