"""A capture played again, by the times in its files: at ``speed`` 1 as it was, at 10 ten times as fast, at 0 as fast as it can be read.

A tick is a second of the capture. Hours in which nothing was captured are skipped. Of a recording of both sides each side goes by its own clock,
unless these are more than :data:`MAX_APART_S` apart: then both begin together.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netlens.chains.inputs import Inputs, from_folder
from netlens.errors import CaptureError
from netlens.parsers import errorlog
from netlens.watch.peaks import SECOND, WINDOW_S
from netlens.watch.refusals import Log, Refusal
from netlens.wire.containers import Batch, Reader
from netlens.wire.framing import F_TS

if TYPE_CHECKING:
    from netlens.parsers.errorlog import ErrorEvent
    from netlens.watch.monitor import Monitor
    from netlens.watch.state import Watched

Times = dict[str | None, int]

MAX_APART_S = 300  #: clocks of two sides that differ by more tell nothing about each other
SKIPPED_NS = 3600 * SECOND  #: a gap longer than this is skipped, at any speed
BEHIND_S = 1.0


class _File:
    """Frames of a capture, taken up to a moment."""

    def __init__(self, paths: Sequence[str], watched: Watched):
        self.reader = Reader(paths)
        self.watched = watched
        self._batches = self.reader.batches()
        self._batch: Batch | None = None
        self._at = 0
        self.shift = 0  # this clock minus that of the replay
        self._next()

    def _next(self) -> None:
        self._batch, self._at = next(self._batches, None), 0

    @property
    def next_ns(self) -> int | None:
        """Time of the next frame, in the replay's clock; None at the end."""
        return None if self._batch is None else int(self._batch.frames[self._at, F_TS]) - self.shift

    def until(self, now_ns: int) -> None:
        """Feed frames up to the first that is not before ``now_ns``."""
        while self._batch is not None:
            batch, at = self._batch, self._at
            later = np.flatnonzero(batch.frames[at : batch.n, F_TS] >= now_ns + self.shift)
            stop = at + int(later[0]) if len(later) else batch.n
            if stop > at:
                self.watched.feed(Batch(batch.buf, batch.frames[at:stop], stop - at, batch.links, batch.frame0 + at))
            self._at = stop
            if stop < batch.n:
                return
            self._next()

    def close(self) -> None:
        self.reader.cancel()
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()


class Replay:
    """Files by side, played.

    paths : side -> its files in order.  errors : side -> error log, whose lines are shown when their time comes.
    speed : how many times as fast as it was; 0: as fast as possible.
    stop : set by whoever wants it to end.

    CaptureError or WireError if a file cannot be read.
    """

    def __init__(
        self,
        paths: dict[str | None, tuple[str, ...]],
        monitor: Monitor,
        speed: float,
        stop: threading.Event,
        errors: dict[str, str] | None = None,
    ):
        self.monitor, self.speed, self.stop = monitor, speed, stop
        self.refusals: deque[Refusal] = deque()  #: of the logs, in order of time
        self.notes: list[str] = []  #: what of a log was not read
        self.files = {name: _File(files, monitor.watched[name]) for name, files in paths.items()}
        begins = {name: file.next_ns for name, file in self.files.items()}
        for side, path in (errors or {}).items():
            log = Log(side)
            read = errorlog.read(path)
            if (begin := begins.get(side) or next(iter(begins.values()), None)) is not None:
                read = errorlog.dated(read, begin)
            self.notes += [read.note] if read.cut and read.note else []
            self.refusals += filter(None, (log.take(event.time_ns, _kind(event), event.code or "") for event in read.events))
        self.refusals = deque(sorted(self.refusals, key=lambda found: found.time_ns))

    def run(self) -> Iterator[Times]:
        """Play; yields after each tick the time of each side."""
        try:
            yield from self._play()
        finally:
            for file in self.files.values():
                file.close()

    def _play(self) -> Iterator[Times]:
        begins = {name: at for name, file in self.files.items() if (at := file.next_ns) is not None}
        if not begins:
            nothing: Times = dict.fromkeys(self.files, 0)
            self.monitor.tick(nothing)
            yield nothing
            return
        first = next(iter(begins.values()))
        if max(begins.values()) - min(begins.values()) > MAX_APART_S * SECOND:
            for name, file in self.files.items():
                file.shift = begins.get(name, first) - first
        begin = self._next_ns() or 0
        step = max(int(SECOND * min(1.0, self.speed)) if self.speed else SECOND, SECOND // 100)
        now, started = begin // step * step, time.monotonic()
        while self.refusals and self.refusals[0].time_ns < begin - 60 * SECOND:
            self.refusals.popleft()
        while not self.stop.is_set() and (coming := self._next_ns()) is not None:
            skipped = self._skipped(coming - now, step)
            played, now = step + skipped, now + step + skipped
            due = math.inf
            if self.speed:
                started -= skipped / SECOND / self.speed
                due = started + (now - begin) / SECOND / self.speed
                if self.stop.wait(max(0.0, due - time.monotonic())):
                    now -= step  # what is left of this second was not played
                    break
            for file in self.files.values():
                file.until(now)
            behind_s = time.monotonic() - due
            for name, feed in self.monitor.feeds.items():
                feed.took(self.monitor.watched[name].packets, played / SECOND)
                feed.note = f"{behind_s:.0f} s behind" if behind_s > BEHIND_S else ""
            self._tell(now)
            times: Times = {name: now + file.shift for name, file in self.files.items()}
            self.monitor.tick(times)
            yield times
        self._tell(now + 2 * SECOND)
        for name, feed in self.monitor.feeds.items():
            feed.packets, feed.rate, feed.note = self.monitor.watched[name].packets, 0.0, ""

    def _next_ns(self) -> int | None:
        """Time of the next frame of any file; None at the end."""
        return min((at for file in self.files.values() if (at := file.next_ns) is not None), default=None)

    def _skipped(self, gap_ns: int, step: int) -> int:
        """How much of the time until the next frame is left out: all but what counts need to come to rest."""
        rest = 2 * WINDOW_S * SECOND
        if gap_ns <= max(rest, SKIPPED_NS if self.speed else 0):
            return 0
        return (gap_ns - rest) // step * step if self.speed else gap_ns // step * step - step

    def _tell(self, now_ns: int) -> None:
        while self.refusals and self.refusals[0].time_ns <= now_ns:
            self.monitor.refusal(self.refusals.popleft())

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that kept part of the captures from being read."""
        lines = [w for file in self.files.values() for info in file.reader.inputs for w in info.warnings]
        return lines + [line for watched in self.monitor.watched.values() for line in watched.unread()]


def open_recording(path: str, side: str | None) -> Inputs:
    """A file, or a recording of which ``side`` ("vm", "host"; None or "both": all there is) is played.

    CaptureError if the folder is no recording or has no such side.
    """
    if not os.path.isdir(path):
        return Inputs({side if side != "both" else None: (path,)})

    found = from_folder(path)
    usual = {name: files for name, files in found.captures.items() if name in ("vm", "host")}
    captures: dict[str | None, tuple[str, ...]] = {name: files for name, files in usual.items() if side in (None, "both", name)}
    if not captures:
        raise CaptureError(f"{path}: has no capture of the {side}; there is {', '.join(str(n) for n in usual)}")
    errors = {name: log for name, log in found.errors.items() if name in captures and not _is_empty(log)}
    return replace(found, captures=captures, errors=errors)


def _is_empty(log: str) -> bool:
    try:
        return os.path.getsize(log) == 0
    except OSError:  # who reads it says why
        return False


def _kind(event: ErrorEvent) -> str:
    """What a line is: opencode tells of a refused request, and right after the last try again, without the request, that it gives up."""
    return f"{event.kind}{' of a request' if event.session else ''}"
