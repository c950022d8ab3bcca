"""Capturing while it goes on: tcpdump here and behind ssh.

tcpdump writes to its recorder, which keeps the file if one is asked for and writes the same bytes into a pipe that the reader of captures
reads. Nothing on this way is thrown away: if the reader is too slow, tcpdump waits, its kernel buffer (64 MiB) fills, and what does not fit there
is counted by the kernel. So the only number of drops is tcpdump's, and it is shown.

Limits: Linux hands packets to tcpdump in blocks, when one is full or about a second old, so a quiet line is seen one to two seconds late. Addresses that
an API's name gets later are not in the filter.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlens.capture import command, errorlog, places
from netlens.capture.recorder import SideRecorder, widen
from netlens.capture.recording import SideResult, use_directory, write_manifest
from netlens.capture.remote import open_streams
from netlens.capture.sink import Sink
from netlens.errors import CaptureError, NetlensError
from netlens.outputs import create_file
from netlens.watch.peaks import SECOND
from netlens.watch.refusals import Log, Refusal
from netlens.watch.state import Watched
from netlens.wire import compiled
from netlens.wire.ahead import ahead
from netlens.wire.containers import Reader

if TYPE_CHECKING:
    from netlens.capture.places import Place
    from netlens.capture.processes import LineProcess
    from netlens.watch.monitor import Monitor
    from netlens.watch.replay import Times

TICK_S = 1.0
AHEAD = 2  #: finished units that may wait; each is wanted at once
LAG_NS = 2 * SECOND  #: what was captured longer ago than this has arrived; see Limits
MIN_FREE_MB = 200  #: a kept recording ends before the disk is full


@dataclass
class Options:
    """What a live watch is asked for; names as on the command line. ``errors``: pairs of side and path there."""

    side: str | None = None
    vm: str | None = None
    apis: tuple[str, ...] = ()
    interface: str | None = None
    folder: Path | None = None
    filter: str | None = None
    everything: bool = False
    errors: tuple[tuple[str, str], ...] = ()
    ssh: tuple[str, ...] = ("ssh",)
    invocation: str = ""


class _Feed:
    """One tcpdump, and the thread that takes its packets in."""

    def __init__(self, place: Place, watched: Watched, options: Options, bpf: str, attention: threading.Event, own: bool):
        self.place, self.watched, self.lock = place, watched, threading.Lock()
        self.shift = 0 if own or not place.clock else place.clock["time_ns"] - (place.clock["before_ns"] + place.clock["after_ns"]) // 2
        self.failed: NetlensError | None = None
        self._read_end, self._write_end = os.pipe()
        self._given = 0
        self._open = True
        remote = place.remote
        self.recorder = SideRecorder(
            place.side,
            options.folder or Path(),
            interface=options.interface or command.default_interface(place.facts.system),
            bpf=bpf,
            min_free_mb=MIN_FREE_MB if options.folder is not None else 0,
            wrap=place.wrap,
            attention=attention,
            system=place.facts.system,
            link_lost=remote.why_broken if remote else None,
            sink=Sink(options.folder, place.side, also=self._give),
        )
        self.attention = attention
        compiled.compile_at_once()  # now: later would be in the middle of what is watched
        self._reader = Reader([f"/dev/fd/{self._read_end}"], hold=AHEAD + 3)
        self._thread = threading.Thread(target=self._run, name=f"watch-{place.side}", daemon=True)
        widen(self._write_end)

    def start(self) -> None:
        try:
            self.recorder.start()
        except BaseException:
            self._close()
            raise
        self._thread.start()

    def _give(self, data: bytes) -> None:
        """In the recorder's thread: waits while the reader is busy."""
        view = memoryview(data)
        while view and self._open:
            try:
                view = view[os.write(self._write_end, view) :]
            except OSError:  # nobody reads any more; the recording, if there is one, goes on
                self._open = False
        self._given += len(data)

    def _run(self) -> None:
        try:
            for unit in ahead(self.watched.part.decoder.units(self._reader, AHEAD + 3), AHEAD, self._reader.cancel):
                with self.lock:
                    self.watched.take(unit)
        except NetlensError as error:
            if self._given:
                self.failed = error
                self.attention.set()
        finally:
            with contextlib.suppress(OSError):
                os.close(self._read_end)

    def now_ns(self) -> int:
        """Until when everything has arrived, in this side's clock."""
        wall = time.time_ns() + self.shift
        return max(wall - LAG_NS, min(self.watched.last_ns or 0, wall))

    def stop(self) -> SideResult:
        """End tcpdump and take in what it still had."""
        try:
            return self.recorder.stop()
        finally:
            self._close()

    def _close(self) -> None:
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1
        if self._thread.ident is not None:
            self._thread.join()
        else:
            os.close(self._read_end)
            self._reader.cancel()


class Live:
    """tcpdump on one or both sides. A context: leaving it ends everything that was started.

    say : takes messages for people.  stop : set by whoever wants it to end (Ctrl-C).
    fault : why one of the captures ended by itself, once all are finished.
    """

    def __init__(self, options: Options, stop: threading.Event, say: Callable[[str], None]):
        self.options, self.stop, self.say = options, stop, say
        self.feeds: dict[str | None, _Feed] = {}
        self.monitor: Monitor | None = None
        self.fault: str | None = None
        self._stack = contextlib.ExitStack()
        self._helpers: list[LineProcess] = []
        self._logs: dict[str, int] = {}
        self._lock = threading.Lock()
        self._refusals: list[Refusal] = []
        self._started_ns = 0
        self._addresses: dict[str, list[str]] = {}

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            for feed in self.feeds.values():
                feed.stop()
        finally:
            for helper in self._helpers:
                helper.stop()
            for descriptor in self._logs.values():
                os.close(descriptor)
            self._logs = {}
            self._stack.close()

    # --- start

    def start(self, make: Callable[[dict[str | None, Watched]], Monitor]) -> Monitor:
        """Start capturing; ``make`` gets the captures by side and gives the monitor. CaptureError if nothing can be captured; one line says why."""
        options = self.options
        names = [command.check_api(name) for name in options.apis]
        if options.filter is not None and options.everything:
            raise CaptureError("--filter and --everything exclude each other")
        if options.interface is not None:
            command.tcpdump(options.interface)
        sides: list[str | None] = ["vm", "host"] if options.side == "both" else [options.side]
        asked: dict[str | None, Place] = {
            side: places.connected(side or "capture", options.vm, options.ssh, (), self._stack) for side in sides
        }
        self._addresses, _ = places.learn(asked.values(), names)
        if options.folder is not None:
            use_directory(options.folder)
        watched: dict[str | None, Watched] = {
            side: Watched(side, options.apis, place.facts.own_addresses() if side != "vm" else (), resolved=self._addresses)
            for side, place in asked.items()
        }
        instead = "" if options.everything else options.filter
        for side, place in asked.items():
            bpf = places.bpf(place, list(asked.values()), self._addresses, open_streams(), instead)
            feed = _Feed(place, watched[side], options, bpf, self.stop, place.remote is None)
            try:
                feed.start()
            except BaseException:
                self._abandon()
                raise
            self.feeds[side] = feed
            r = feed.recorder
            self.say(f"{place.side}: tcpdump listens on {r.interface} ({r.link_type}, {r.snaplen} bytes a packet)")
        self._started_ns = time.time_ns()
        self._follow(asked)
        self.monitor = make(watched)
        return self.monitor

    def _abandon(self) -> None:
        """A start that failed leaves no files."""
        for feed in self.feeds.values():
            for path in feed.stop().paths:
                path.unlink(missing_ok=True)
        self.feeds = {}
        if self.options.folder is not None:
            with contextlib.suppress(OSError):
                self.options.folder.rmdir()

    def _follow(self, asked: dict[str | None, Place]) -> None:
        for side, path in self.options.errors:
            if side not in asked and None not in asked:
                raise CaptureError(f"--errors {side}:{path}: the {side} is not watched")
            place = asked.get(side) or next(iter(asked.values()))
            log = Log(side)
            if self.options.folder is not None and side not in self._logs:
                self._logs[side] = create_file(self.options.folder / f"{side}-errors.log")

            def keep(kept: errorlog.Reduced, log: Log = log) -> None:
                with self._lock:
                    if (descriptor := self._logs.get(log.side)) is not None:
                        with contextlib.suppress(OSError):
                            os.write(descriptor, kept.text.encode("utf-8", "replace") + b"\n")
                    if kept.refusal and (found := log.line(kept.text, time.time_ns())) is not None:
                        self._refusals.append(found)

            self._helpers.append(errorlog.follow(path, path, keep, self.say, place.wrap))

    # --- run

    def run(self) -> Iterator[Times]:
        """Tick once a second until ``stop`` is set or a capture ends by itself; yields the time of each side."""
        assert self.monitor is not None
        due = time.monotonic() + TICK_S
        at = time.monotonic()
        while not self.stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + TICK_S, time.monotonic())
            now = time.monotonic()
            for side, feed in self.feeds.items():
                shown = self.monitor.feeds[side]
                shown.took(feed.watched.packets, now - at)
                shown.dropped = feed.recorder.dropped
            at = now
            yield self._tick()

    def _tick(self) -> Times:
        assert self.monitor is not None
        with self._lock:
            found, self._refusals = self._refusals, []
        for one in found:
            self.monitor.refusal(one)
        with contextlib.ExitStack() as locks:
            for feed in self.feeds.values():
                locks.enter_context(feed.lock)
            times = {side: feed.now_ns() for side, feed in self.feeds.items()}
            self.monitor.tick(times)
        return times

    def finish(self) -> Times:
        """End the captures, take in the rest, write the manifest; ``fault`` says how it went. Returns the last moment."""
        assert self.monitor is not None
        self.fault = next(
            (str(feed.failed or feed.recorder.fault) for feed in self.feeds.values() if feed.failed or feed.recorder.fault), None
        )
        for helper in self._helpers:
            helper.stop()
        self._helpers = []
        results = [feed.stop() for feed in self.feeds.values()]
        self.fault = self.fault or next((str(feed.failed) for feed in self.feeds.values() if feed.failed), None)
        for (side, feed), result in zip(self.feeds.items(), results, strict=True):
            shown = self.monitor.feeds[side]
            shown.packets, shown.rate, shown.dropped = feed.watched.packets, 0.0, result.packets_dropped
        times = self._tick()
        if self.options.folder is not None:
            self._write(self.options.folder, results)
        return times

    def _write(self, folder: Path, results: list[SideResult]) -> None:
        for side, descriptor in self._logs.items():
            empty = os.fstat(descriptor).st_size == 0
            os.close(descriptor)
            if empty:
                (folder / f"{side}-errors.log").unlink(missing_ok=True)
        self._logs = {}
        extra: dict[str, Any] = {
            "command": self.options.invocation or None,
            "started_ns": self._started_ns,
            "stopped_ns": max(r.stopped_ns for r in results),
            **places.described([feed.place for feed in self.feeds.values()], self.options.apis, self._addresses),
            "errors": [{"side": side, "path": path} for side, path in self.options.errors],
        }
        write_manifest(folder, results, extra)
