"""A log of JSON lines with nanosecond times: what the provider and the programs say they did, the truth that captures are held against."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netlens.errors import CaptureError
from netlens.sidefiles import Rows, is_count

MAX_EVENTS = 1_000_000  #: of a journal; the longest run of the laboratory writes some thousands


class LineFile:
    """A text file that is written by a thread of its own: who writes a line never waits for the disk (that took 90 ms once in a while)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._queue: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Add a line; its end is added too."""
        self._queue.put(line)

    def flush(self) -> None:
        """Wait until everything written so far can be read."""
        written = threading.Event()
        self._queue.put(written)
        while self._thread.is_alive() and not written.wait(0.1):
            pass

    def close(self) -> None:
        """Write what is left and close; later lines (of a thread that still streams at the end of the run) are dropped."""
        self._queue.put(None)
        self._thread.join()

    def _loop(self) -> None:
        with self._file:
            while (item := self._queue.get()) is not None:
                if isinstance(item, str):
                    self._file.write(item + "\n")
                else:
                    self._file.flush()
                    item.set()


class Journal:
    """Appends events to a file; safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)
        self.flush, self.close = self._file.flush, self._file.close

    def write(self, event: str, ns: int | None = None, **fields: Any) -> int:
        """Write one event and return its time; ``ns`` is given where the moment was earlier than the writing."""
        ns = time.time_ns() if ns is None else ns
        self._file.write(json.dumps({"ns": ns, "event": event, **fields}, ensure_ascii=False))
        return ns


def be_prompt() -> None:
    """Let this process run before others: its journal is the truth to a fraction of a millisecond, also on a busy machine. It mostly sleeps.

    Root may do this; for others only the threads of Python itself become more alert.
    """
    sys.setswitchinterval(0.0005)  # a tenth of Python's own: that is how long a thread may keep another from reading the clock
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Events in order of writing; an unfinished last line (its writer was killed) is passed over.

    CaptureError if it cannot be read, or not all of it is events.
    """
    rows = Rows(path, MAX_EVENTS, lambda row: row if is_count(row.get("ns")) and isinstance(row.get("event"), str) else None, "an event")
    yield from rows
    if rows.notes:
        raise CaptureError(rows.notes[0])
