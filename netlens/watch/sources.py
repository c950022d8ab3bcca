"""Where a watch's packets come from: a file at its own speed, or tcpdump here and behind ssh.

*Replay* goes by the times in the file: at ``speed`` 1 as it was, at 10 ten times as fast, at 0 as fast as it can be read. A tick is a second of the
capture. Hours in which nothing was captured are skipped. Of a recording of both sides each side goes by its own clock, unless these are
more than :data:`MAX_APART_S` apart: then both begin together.

*Live*: tcpdump writes to its recorder, which keeps the file if one is asked for and writes the same bytes into a pipe that the reader of captures
reads. Nothing on this way is thrown away: who is too slow makes tcpdump wait, whose kernel buffer (64 MiB) then fills, and what does not fit there
is counted by the kernel. So the only number of drops is tcpdump's, and it is shown.

Limits: Linux hands packets to tcpdump in blocks, when one is full or about a second old, so a quiet line is seen one to two seconds late. Addresses that
an API's name gets later are not in the filter.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.capture import command, errorlog, facts
from netlens.capture.processes import LineProcess
from netlens.capture.recorder import SideRecorder
from netlens.capture.recording import SideResult, use_directory, write_manifest
from netlens.capture.remote import RemoteHost, open_streams
from netlens.capture.session import Place
from netlens.capture.sink import Sink
from netlens.errors import CaptureError, NetlensError
from netlens.outputs import create_file
from netlens.parsers import errorlog as log_files
from netlens.watch.counts import SECOND, WINDOW_S
from netlens.watch.refusals import Log, Refusal
from netlens.watch.state import Watched
from netlens.wire.ahead import ahead
from netlens.wire.containers import Batch, Reader
from netlens.wire.framing import F_TS

if TYPE_CHECKING:
    from netlens.watch.board import Board

Times = dict[str | None, int]

AHEAD = 2  #: finished units that may wait; each is wanted at once
MAX_APART_S = 300  #: clocks of two sides that differ by more tell nothing about each other
SKIPPED_NS = 3600 * SECOND  #: a gap longer than this is skipped, at any speed
BEHIND_S = 1.0
LAG_NS = 2 * SECOND  #: what was captured longer ago than this has arrived; see Limits
PIPE = 1 << 20
MIN_FREE_MB = 200  #: a kept recording ends before the disk is full


# --- a file -----------------------------------------------------------------------------------------------------------------------------


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

    Parameters
    ----------
    paths : side -> its files in order.  errors : side -> error log, whose lines are told when their time comes.
    speed : how many times as fast as it was; 0: as fast as possible.
    stop : set by whoever wants it to end.

    Raises
    ------
    CaptureError, WireError
        a file cannot be read.
    """

    def __init__(
        self,
        paths: dict[str | None, tuple[str, ...]],
        board: Board,
        speed: float,
        stop: threading.Event,
        errors: dict[str, str] | None = None,
    ):
        self.board, self.speed, self.stop = board, speed, stop
        self.events: list[tuple[int, Refusal]] = []
        self.notes: list[str] = []  #: what of a log was not read
        for side, path in (errors or {}).items():
            log = Log(side)
            read = log_files.read(path)
            self.notes += [read.note] if read.cut and read.note else []
            for event in read.events:
                found = log.take(event.time_ns, event.kind, event.code or "")
                if found is not None:
                    self.events.append((event.time_ns, found))
        self.events.sort(key=lambda e: e[0])
        self.files = {name: _File(files, board.watched[name]) for name, files in paths.items()}

    def run(self) -> Iterator[Times]:
        """Play; yields after each tick the time of each side."""
        try:
            yield from self._play()
        finally:
            for file in self.files.values():
                file.close()

    def _play(self) -> Iterator[Times]:
        begins = {name: file.next_ns for name, file in self.files.items()}
        known = [t for t in begins.values() if t is not None]
        if not known:
            nothing: Times = dict.fromkeys(self.files, 0)
            self.board.tick(nothing)
            yield nothing
            return
        if max(known) - min(known) > MAX_APART_S * SECOND:
            for name, file in self.files.items():
                file.shift = (begins[name] or known[0]) - known[0]
        step = int(SECOND * min(1.0, self.speed)) if self.speed else SECOND
        step = max(step, SECOND // 100)
        begin = min(t for file in self.files.values() if (t := file.next_ns) is not None)
        now, started, skipped = begin // step * step, time.monotonic(), 0
        first = self.events[0][0] if self.events else 0
        if self.events and first < begin - 60 * SECOND:
            self.events = [e for e in self.events if e[0] >= begin - 60 * SECOND]
        last_time, last_packets = now, dict.fromkeys(self.files, 0)
        while not self.stop.is_set():
            coming = min((t for file in self.files.values() if (t := file.next_ns) is not None), default=None)
            if coming is None:
                break
            gap = coming - now
            limit = (WINDOW_S + 2) * SECOND if not self.speed else SKIPPED_NS
            if gap > limit and gap > 2 * WINDOW_S * SECOND:
                over = (gap - 2 * WINDOW_S * SECOND) // step * step if self.speed else gap // step * step - step
                now, skipped = now + over, skipped + over
            now += step
            if self.speed:
                due = started + (now - begin - skipped) / SECOND / self.speed
                left = due - time.monotonic()
                if left > 0:
                    self.stop.wait(left)
                    if self.stop.is_set():
                        now -= step  # what is left of this second was not played
                        break
            for file in self.files.values():
                file.until(now)
            behind = time.monotonic() - due if self.speed else 0.0
            for name, feed in self.board.feeds.items():
                feed.packets = self.board.watched[name].packets
                feed.rate = (feed.packets - last_packets[name]) / max((now - last_time) / SECOND, 1e-9)
                feed.note = f"{behind:.0f} s behind" if behind > BEHIND_S else ""
                last_packets[name] = feed.packets
            last_time = now
            times: Times = {name: now + file.shift for name, file in self.files.items()}
            self._tell(now)
            self.board.tick(times)
            yield times
        self._tell(now + 2 * SECOND)
        for name, feed in self.board.feeds.items():
            feed.packets, feed.rate, feed.note = self.board.watched[name].packets, 0.0, ""

    def _tell(self, now_ns: int) -> None:
        while self.events and self.events[0][0] <= now_ns:
            self.board.refusal(self.events.pop(0)[1])

    @property
    def warnings(self) -> list[str]:
        """One line for each thing that kept part of the captures from being read."""
        lines = [w for file in self.files.values() for info in file.reader.inputs for w in info.warnings]
        return lines + [line for watched in self.board.watched.values() for line in watched.unread()]


# --- tcpdump ----------------------------------------------------------------------------------------------------------------------------


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
    snaplen: int = command.SNAPLEN
    errors: tuple[tuple[str, str], ...] = ()
    ssh: tuple[str, ...] = ("ssh",)
    prefix: tuple[str, ...] = ()
    invocation: str = ""


class Tee(Sink):
    """Hands what tcpdump writes to ``take``, and keeps it in a file if there is a ``folder``."""

    def __init__(self, folder: Path | None, stem: str, take: Callable[[bytes], None]):
        self._keep, self._take = folder is not None, take
        super().__init__(folder or Path("/nonexistent"), stem)

    def _open(self) -> None:
        if self._keep:
            super()._open()
        else:
            self.files.append(self.directory / f"{self.stem}.pcap")

    def _write(self, data: bytes, start: int, walk: Any) -> None:
        if self._keep:
            super()._write(data, start, walk)
        else:
            self._count(walk)

    def feed(self, data: bytes) -> None:
        super().feed(data)
        self._take(data)


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
        self.sink = Tee(options.folder, place.side, self._give)
        self.recorder = SideRecorder(
            place.side,
            options.folder or Path(),
            interface=options.interface or command.default_interface(place.facts.system),
            bpf=bpf,
            snaplen=options.snaplen,
            min_free_mb=MIN_FREE_MB if options.folder is not None else 0,
            wrap=place.wrap,
            attention=attention,
            system=place.facts.system,
            link_lost=remote.why_broken if remote else None,
            sink=self.sink,
        )
        self.attention = attention
        self._reader = Reader([f"/dev/fd/{self._read_end}"], hold=AHEAD + 3)
        self._thread = threading.Thread(target=self._run, name=f"watch-{place.side}", daemon=True)
        with contextlib.suppress(OSError, ImportError, AttributeError):
            import fcntl

            fcntl.fcntl(self._write_end, fcntl.F_SETPIPE_SZ, PIPE)

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


@dataclass
class Ended:
    """How a live watch ended: what the captures lost, why one of them ended by itself, and the recording if one was kept."""

    results: list[SideResult]
    fault: str | None = None
    directory: Path | None = None
    complete: bool = True


class Live:
    """tcpdump on one or both sides. A context: leaving it ends everything that was started.

    Parameters
    ----------
    say : takes messages for people.
    stop : set by whoever wants it to end (Ctrl-C).
    """

    def __init__(self, options: Options, stop: threading.Event, say: Callable[[str], None]):
        self.options, self.stop, self.say = options, stop, say
        self.feeds: dict[str | None, _Feed] = {}
        self.board: Board | None = None
        self.ended: Ended | None = None
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

    def start(self, make: Callable[[dict[str | None, Watched]], Board]) -> Board:
        """Start capturing; ``make`` gets the captures by side and gives the board.

        Raises
        ------
        CaptureError
            nothing can be captured; one line says why.
        """
        options = self.options
        names = [command.check_api(name) for name in options.apis]
        if options.filter is not None and options.everything:
            raise CaptureError("--filter and --everything exclude each other")
        if options.interface is not None:
            command.tcpdump(options.interface)
        sides: list[str | None] = ["vm", "host"] if options.side == "both" else [options.side]
        places: dict[str | None, Place] = {}
        for side in sides:
            remote = None
            if side == "vm" and options.vm is not None:
                remote = self._stack.enter_context(RemoteHost(options.vm, options.ssh))
            places[side] = Place(side or "capture", remote, options.prefix)
        for place in places.values():
            place.facts = place.learn([n for n in names if not _is_address(n)])
            place.clock = place.read_clock()
        self._addresses = facts.merged_addresses(p.facts for p in places.values()) | {n: [n] for n in names if _is_address(n)}
        for name in names:
            if not self._addresses.get(name):
                raise CaptureError(f"{name}: no address is known for this name; give one: --api ADDRESS")
        if options.folder is not None:
            use_directory(options.folder)
        watched: dict[str | None, Watched] = {
            side: Watched(side, options.apis, place.facts.own_addresses() if side != "vm" else ()) for side, place in places.items()
        }
        for side, place in places.items():
            feed = _Feed(place, watched[side], options, self._filter(place, places), self.stop, place.remote is None)
            try:
                feed.start()
            except BaseException:
                self._abandon()
                raise
            self.feeds[side] = feed
            r = feed.recorder
            self.say(f"{place.side}: tcpdump listens on {r.interface} ({r.link_type}, {r.snaplen} bytes a packet)")
        self._started_ns = time.time_ns()
        self._follow(places)
        self.board = make(watched)
        return self.board

    def _abandon(self) -> None:
        """A start that failed leaves no files."""
        for feed in self.feeds.values():
            for path in feed.stop().paths:
                path.unlink(missing_ok=True)
        self.feeds = {}
        if self.options.folder is not None:
            with contextlib.suppress(OSError):
                self.options.folder.rmdir()

    def _filter(self, place: Place, places: dict[str | None, Place]) -> str:
        streams = open_streams()
        if self.options.everything or self.options.filter is not None:
            return command.without_own_streams(self.options.filter or "", streams)
        ports = {port for p in places.values() for port in p.facts.redirect_ports()}
        ssh = {*command.SSH_PORTS, *(port for p in places.values() if p.side != "host" for port in p.facts.ssh_ports())}
        bpf = command.capture_filter([a for values in self._addresses.values() for a in values], ports, ssh)
        return command.without_own_streams(bpf, streams)

    def _follow(self, places: dict[str | None, Place]) -> None:
        for side, path in self.options.errors:
            if side not in places and None not in places:
                raise CaptureError(f"--errors {side}:{path}: the {side} is not watched")
            place = places.get(side) or next(iter(places.values()))
            log = Log(side)
            if self.options.folder is not None and side not in self._logs:
                self._logs[side] = create_file(self.options.folder / f"{side}-errors.log")

            def take(line: str, log: Log = log) -> None:
                kept = errorlog.reduce_line(line)
                if kept is None:
                    return
                with self._lock:
                    if (descriptor := self._logs.get(log.side)) is not None:
                        with contextlib.suppress(OSError):
                            os.write(descriptor, kept.text.encode("utf-8", "replace") + b"\n")
                    if kept.rejection and (found := log.line(kept.text, time.time_ns())) is not None:
                        self._refusals.append(found)

            taker = errorlog.taker(path, take, self.say)
            self._helpers.append(LineProcess(["sh", "-c", errorlog.SCRIPT, "netlens", path], taker, place.wrap))

    # --- run

    def run(self, every_s: float = 1.0) -> Iterator[Times]:
        """Tick once a second until ``stop`` is set or a capture ends by itself; yields the time of each side."""
        assert self.board is not None
        due = time.monotonic() + every_s
        packets, at = dict.fromkeys(self.feeds, 0), time.monotonic()
        while not self.stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + every_s, time.monotonic())
            now = time.monotonic()
            for side, feed in self.feeds.items():
                shown = self.board.feeds[side]
                shown.packets = feed.watched.packets
                shown.rate = (shown.packets - packets[side]) / max(now - at, 1e-3)
                packets[side] = shown.packets
                shown.dropped = feed.recorder.counts().dropped
            at = now
            yield self._tick()

    def _tick(self) -> Times:
        assert self.board is not None
        with self._lock:
            found, self._refusals = self._refusals, []
        for one in found:
            self.board.refusal(one)
        with contextlib.ExitStack() as locks:
            for feed in self.feeds.values():
                locks.enter_context(feed.lock)
            times = {side: feed.now_ns() for side, feed in self.feeds.items()}
            self.board.tick(times)
        return times

    def finish(self) -> Times:
        """End the captures, take in the rest, write the manifest; ``ended`` says how it went. Returns the last moment."""
        assert self.board is not None
        fault = next((str(feed.failed or feed.recorder.fault) for feed in self.feeds.values() if feed.failed or feed.recorder.fault), None)
        for helper in self._helpers:
            helper.stop()
        self._helpers = []
        results = [feed.stop() for feed in self.feeds.values()]
        fault = fault or next((str(feed.failed) for feed in self.feeds.values() if feed.failed), None)
        for (side, feed), result in zip(self.feeds.items(), results, strict=True):
            shown = self.board.feeds[side]
            shown.packets, shown.rate, shown.dropped = feed.watched.packets, 0.0, result.packets_dropped
        times = self._tick()
        self.ended = Ended(results, fault)
        if self.options.folder is not None:
            self.ended.directory = self.options.folder
            self.ended.complete = self._write(results)
        return times

    def _write(self, results: list[SideResult]) -> bool:
        assert self.options.folder is not None
        for side, descriptor in self._logs.items():
            empty = os.fstat(descriptor).st_size == 0
            os.close(descriptor)
            if empty:
                (self.options.folder / f"{side}-errors.log").unlink(missing_ok=True)
        self._logs = {}
        names = [n for n in self.options.apis if not _is_address(n)]
        extra: dict[str, Any] = {
            "command": self.options.invocation or None,
            "started_ns": self._started_ns,
            "stopped_ns": max(r.stopped_ns for r in results),
            "api": {"names": names, "addresses": sorted({a for values in self._addresses.values() for a in values})},
            "addresses": {feed.place.side: feed.place.facts.own_addresses() for feed in self.feeds.values()},
            "machines": {feed.place.side: feed.place.facts.to_dict() | {"clock_reading": feed.place.clock} for feed in self.feeds.values()},
            "errors": [{"side": side, "path": path} for side, path in self.options.errors],
        }
        return write_manifest(self.options.folder, results, extra).complete


def _is_address(name: str) -> bool:
    return facts.parse_addresses(name) == [name]


def by_side(values: Iterable[str], side: str) -> tuple[tuple[str, str], ...]:
    """``vm:PATH``, ``host:PATH``, or a path of ``side``."""
    out = []
    for value in values:
        head, colon, rest = value.partition(":")
        out.append((head, rest) if colon and head in ("vm", "host") else (side, value))
    return tuple(out)


@dataclass
class Played:
    """Files and what lies beside them, for a replay."""

    captures: dict[str | None, tuple[str, ...]]
    apis: tuple[str, ...] = ()
    errors: dict[str, str] = field(default_factory=dict)
    own_ips: dict[str, list[str]] = field(default_factory=dict)


def open_recording(path: str, side: str | None) -> Played:
    """A file, or a recording of which ``side`` ("vm", "host"; None or "both": all there is) is played.

    Raises
    ------
    CaptureError
        the folder is no recording or has no such side.
    """
    if not os.path.isdir(path):
        return Played({side if side != "both" else None: (path,)})
    from netlens.analysis.inputs import from_folder

    found = from_folder(path)
    captures = {name: files for name, files in found.captures.items() if side in (None, "both", name)}
    if not captures:
        raise CaptureError(f"{path}: has no capture of the {side}; there is {', '.join(str(n) for n in found.captures)}")
    errors = {name: log for name, log in found.errors.items() if name in captures and not _is_empty(log)}
    return Played(captures, found.apis, errors)


def _is_empty(log: str) -> bool:
    try:
        return os.path.getsize(log) == 0
    except OSError:  # who reads it says why
        return False
