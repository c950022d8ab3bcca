"""A whole recording: both sides, what their machines say, sockets, error logs; started together, ended together, written down.

Order matters. First everything is asked that needs no capture (addresses, tunnels, clocks), so that the filter can be made and our own lookups of
the API's name are not in the capture. Then the captures start, the VM's first; the recording begins when all of them listen. Whatever goes
wrong after that, what was captured is closed and the manifest says why it is incomplete.

*Limits*: addresses that the API's name gets while the recording runs are not in the filter. They are asked for once more at the end (not meanwhile:
that would put lookups into the capture that no program made) and a warning names what was not recorded.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shlex
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from netlens.addresses import is_address
from netlens.capture import command, errorlog, places, sockets
from netlens.capture.processes import LineProcess
from netlens.capture.recorder import SideRecorder
from netlens.capture.recording import Manifest, SideResult, create_directory, use_directory, write_manifest
from netlens.capture.remote import open_streams
from netlens.errors import CaptureError
from netlens.outputs import create_file
from netlens.text import endpoint, plural, printable, size

SIDES = ("vm", "host")
RESERVE = 512 << 10  #: bytes kept free for the manifest of a recording that fills the disk; a manifest has about 10 kB
TICK_S = 1.0


@dataclass
class Options:
    """What ``netlens capture`` is asked for; names as on the command line.

    ``further`` are VMs beside the first; they are recorded as vm2, vm3 and so on. ``errors`` are pairs of side and path there. ``prefixes`` are put
    before every command of a side that is on this machine (the laboratory's namespaces). ``folder`` is the recording's own folder; None makes
    ``base/TIME-side``.
    """

    side: str
    vm: str | None = None
    further: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    interface: str | None = None
    folder: Path | None = None
    base: Path = Path("captures")
    seconds: float | None = None
    until_rejection: bool = False
    errors: tuple[tuple[str, str], ...] = ()
    filter: str | None = None
    everything: bool = False
    snaplen: int = command.SNAPLEN
    rotate_mb: float | None = None
    keep: int | None = None
    min_free_mb: float = 200
    ssh: tuple[str, ...] = ("ssh",)
    prefixes: dict[str, list[str]] = field(default_factory=dict)
    invocation: tuple[str, ...] = ()


class _Lines:
    """A file of lines that stops taking them when the disk is full, instead of stopping the recording."""

    def __init__(self, path: Path):
        self.path = path
        self.written = 0
        self.full = False
        self._fd = create_file(path)
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        data = line.encode("utf-8", "replace") + b"\n"
        with self._lock:
            if self.full:
                return
            try:
                at = os.lseek(self._fd, 0, os.SEEK_CUR)
                if os.write(self._fd, data) < len(data):
                    raise OSError
                self.written += 1
            except OSError:
                self.full = True
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, at)

    def close(self) -> None:
        with self._lock:
            self.full = True
            os.close(self._fd)


class Session:
    """One recording from start to end; :meth:`run` does all of it.

    say : takes messages for people, a line each.
    show : takes the live line, once a second.
    stop : set by whoever wants the recording to end (Ctrl-C).
    """

    def __init__(self, options: Options, say: Callable[[str], None], show: Callable[[str], None] = lambda _: None, stop: Any = None):
        self.options, self.say, self.show = options, say, show
        self.wake = threading.Event()
        self.stop_asked: threading.Event = stop or threading.Event()
        self.warnings: list[str] = []
        self.places: list[places.Place] = []
        self.recorders: list[SideRecorder] = []
        self.samplers: list[sockets.Sampler] = []
        self.refusals = self.unknown = 0
        self.directory = Path()
        self._helpers: list[LineProcess] = []
        self._files: list[_Lines] = []
        self._resolved: list[dict[str, Any]] = []
        self._streams: list[command.SshConnection] = []  #: of this netlens and of others that ran when it began; left out of the captures
        self._ready = threading.Event()  #: set when every side listens

    def interrupted(self) -> None:
        """End the recording; made for a signal handler. Before everything listens there is nothing to end, and it breaks off."""
        if not self._ready.is_set():
            raise KeyboardInterrupt
        self.stop_asked.set()
        self.wake.set()

    def run(self) -> Manifest:
        """Record, and return the manifest as written.

        CaptureError if nothing could be recorded. Once everything listens, faults are in the manifest instead.
        """
        check(self.options)
        names = [command.check_api(name) for name in self.options.apis]
        with contextlib.ExitStack() as stack:
            self._connect(stack)
            self._streams = open_streams()
            addresses, self._resolved = places.learn(self.places, names)
            folder = self.options.folder
            self.directory = use_directory(folder) if folder is not None else create_directory(self.options.base, self.options.side)
            reserve = self.directory / ".reserve"
            self._reserve(reserve)
            try:
                self._start(addresses)
            except BaseException:
                self._abandon(reserve)
                raise
            started_ns = time.time_ns()
            try:
                self._wait()
            finally:
                results = self._end()
                reserve.unlink(missing_ok=True)
                manifest = self._write(results, names, addresses, started_ns)
        return manifest

    # --- before

    def _connect(self, stack: contextlib.ExitStack) -> None:
        o = self.options
        for side in SIDES if o.side == "both" else (o.side,):
            self.places.append(places.connected(side, o.vm, o.ssh, o.prefixes.get(side, ()), stack))
        for number, vm in enumerate(o.further, 2):
            self.places.append(places.connected(f"vm{number}", vm, o.ssh, o.prefixes.get(f"vm{number}", ()), stack))

    def _reserve(self, path: Path) -> None:
        """Take the folder, and some room of its disk. Of two recordings that were given one empty folder at the same moment only one gets it."""
        made = False
        try:
            room = os.statvfs(self.directory)
            if room.f_bavail * room.f_frsize < self.options.min_free_mb * 1_000_000:
                raise CaptureError(
                    f"{self.directory}: less than {self.options.min_free_mb:g} MB free; make room, name another folder with -w, or lower --min-free-mb"
                )
            descriptor = create_file(path)
            made = True
            with os.fdopen(descriptor, "wb") as file:
                file.write(bytes(RESERVE))
        except FileExistsError:
            raise CaptureError(f"{self.directory}: another recording is being made here; name another folder with -w") from None
        except BaseException as error:
            if made:
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.directory.rmdir()
            if not isinstance(error, OSError):
                raise
            raise CaptureError(f"{self.directory}: nothing can be written here ({(error.strerror or str(error)).lower()})") from None

    def _start(self, addresses: places.Addresses) -> None:
        instead = "" if self.options.everything else self.options.filter
        for place in self.places:
            recorder = SideRecorder(
                place.side,
                self.directory,
                interface=self.options.interface or command.default_interface(place.facts.system),
                bpf=places.bpf(place, self.places, addresses, self._streams, instead),
                snaplen=self.options.snaplen,
                rotate_mb=self.options.rotate_mb,
                keep=self.options.keep,
                min_free_mb=self.options.min_free_mb,
                wrap=place.wrap,
                attention=self.wake,
                system=place.facts.system,
                link_lost=place.remote.why_broken if place.remote else None,
            )
            self.recorders.append(recorder)
            recorder.start()
            self.say(f"{place.side}: tcpdump listens on {recorder.interface} ({recorder.link_type}, {recorder.snaplen} bytes a packet)")
        self._start_helpers(addresses)
        self._ready.set()

    def _start_helpers(self, addresses: places.Addresses) -> None:
        rows = _Lines(self.directory / "sockets.jsonl")
        self._files.append(rows)
        targets = places.flat(addresses)
        ssh_ports, everything = places.ssh_ports(self.places), self.options.everything
        for place, recorder in zip(self.places, self.recorders, strict=True):
            redirect_ports = place.facts.redirect_ports()
            sampler = sockets.Sampler(place.side, rows.write, targets, redirect_ports, ssh_ports, everything, self._streams)
            self.samplers.append(sampler)

            def elevated(argv: list[str], place: places.Place = place, sudo: bool = recorder.sudo_shell) -> list[str]:
                return place.wrap(["sudo", "-n", "--", *argv] if sudo else argv)

            self._helpers.append(LineProcess(["sh", "-c", sockets.SCRIPT], sampler.line, elevated))
            logs = [path for side, path in self.options.errors if side == place.side]
            if not logs:
                continue
            file = _Lines(self.directory / f"{place.side}-errors.log")
            self._files.append(file)

            def keep(kept: errorlog.Reduced, file: _Lines = file) -> None:
                file.write(kept.text)
                if kept.refusal:
                    self.refusals += 1
                    self.unknown += kept.unknown
                    self.wake.set()

            self._helpers += [errorlog.follow(path, f"{place.side}: {path}", keep, self.say, place.wrap) for path in logs]

    def _abandon(self, reserve: Path) -> None:
        """Undo a start that failed: nothing was promised to be recorded yet."""
        for helper in self._helpers:
            helper.stop()
        for file in self._files:
            file.close()
            file.path.unlink(missing_ok=True)
        for recorder in self.recorders:
            recorder.abandon()
        reserve.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    # --- while it runs

    def _wait(self) -> None:
        started = time.monotonic()
        end = None if self.options.seconds is None else started + self.options.seconds
        while True:
            now = time.monotonic()
            if end is not None and now >= end:
                return
            self.wake.wait(TICK_S if end is None else min(TICK_S, end - now))
            self.wake.clear()
            if self.stop_asked.is_set() or any(r.fault for r in self.recorders):
                return
            if self.refusals and self.options.until_rejection:
                self.say("a refusal was logged")
                return
            self._tell_of_others()
            self.show(self.live_line(time.monotonic() - started))

    def _tell_of_others(self) -> None:
        """A filter cannot be changed any more, so what another netlens that was started later carries to and fro is in the capture."""
        for stream in open_streams():
            if stream not in self._streams:
                self._streams.append(stream)
                self.warn(
                    f"another netlens was started: its ssh connection ({endpoint(stream.client, stream.client_port)} to "
                    f"{endpoint(stream.server, stream.server_port)}) is in this recording; start it first to leave it out"
                )

    def live_line(self, seconds: float) -> str:
        """Time, and per side packets, bytes, drops and open connections to the target."""
        parts = []
        for recorder, sampler in zip(self.recorders, self.samplers, strict=True):
            text = f"{recorder.side} {plural(recorder.packets, 'packet')}, {size(recorder.bytes)}"
            text += f", {'?' if recorder.dropped is None else f'{recorder.dropped:,}'} dropped"
            if sampler.open_now is not None:
                text += f", {sampler.open_now:,} open"
            parts.append(text)
        refused = f"  {plural(self.refusals, 'refusal')}" if self.options.errors else ""
        whole = int(seconds)
        return f"{whole // 60:02d}:{whole % 60:02d}  " + "  |  ".join(parts) + refused

    # --- after

    def _end(self) -> list[SideResult]:
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(lambda recorder: recorder.stop(), self.recorders))
        for helper in self._helpers:
            helper.stop()
        for file in self._files:
            file.close()
        return results

    def _write(self, results: list[SideResult], names: list[str], addresses: places.Addresses, started_ns: int) -> Manifest:
        self._ask_again(names, addresses)
        for result in results:
            if result.packets_dropped:
                share = result.packets_dropped / max(result.packets_dropped + (result.packets_captured or 0), 1)
                self.warn(
                    f"{result.side}: the kernel dropped {plural(result.packets_dropped, 'packet')} ({share:.2%}); connections may be missing"
                )
            if result.removed:
                self.warn(f"{result.side}: {plural(result.removed, 'older file')} of the rotation were deleted (--keep)")
        for file in self._files:
            if file.written == 0:
                file.path.unlink(missing_ok=True)
        if self.unknown:
            self.warn(
                f"{plural(self.unknown, 'failed call')} in the error logs in words that netlens does not know: kept, and counted as refused if the answer "
                "looks like a refusal; please report the words (without keys and prompts)"
            )
        if self.options.snaplen < 2048:
            self.warn(command.HEADERS_ONLY_WARNING)
        logs = [{"side": side, "path": path} for side, path in self.options.errors]
        extra: dict[str, Any] = {
            "command": shlex.join(self.options.invocation) or None,
            "made_at": datetime.now(UTC).replace(microsecond=0),
            "started_ns": started_ns,
            "stopped_ns": max((r.stopped_ns for r in results), default=started_ns),
            "warnings": self.warnings,
            **places.described(self.places, names, addresses),
            "recorded_from": {"node": platform.node(), "system": platform.system()},
            "ssh": next(({"target": p.remote.target, **vars(p.remote.own)} for p in self.places if p.remote and p.remote.own), None),
            "errors": logs,
            "rejections_logged": self.refusals if logs else None,
            "unknown_words_logged": self.unknown if logs else None,
            "samples": {s.side: s.samples for s in self.samplers},
        }
        extra["api"]["resolved"] = self._resolved
        return write_manifest(self.directory, results, extra)

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
            self.say(f"warning: {printable(text)}")

    def _ask_again(self, names: list[str], addresses: places.Addresses) -> None:
        """Addresses at the end, and the clock a second time; whatever is unreachable now is left out."""
        for place in self.places:
            if place.remote is not None and not place.remote.alive:
                continue
            with contextlib.suppress(CaptureError):
                asked_ns = time.time_ns()
                found = place.learn([n for n in names if not is_address(n)])
                place.clock |= {f"end_{key}": value for key, value in place.read_clock().items()}
                self._resolved += places.who_said(place.side, asked_ns, found.addresses)
                for name, values in sorted(found.addresses.items()):
                    new = [a for a in values if a not in addresses.get(name, [])]
                    if new and not self.options.everything and self.options.filter is None:
                        self.warn(
                            f"{name} has addresses now that were not recorded: {', '.join(new)}; record again with --api {' --api '.join(new)}"
                        )
                if [t.pid for t in found.tunnels] != [t.pid for t in place.facts.tunnels]:
                    self.warn(f"{place.side}: sshuttle was started or ended while recording; its ports may differ from those recorded")


def check(options: Options) -> None:
    """Refuse what cannot be recorded, before anything starts."""
    if options.side not in (*SIDES, "both"):
        raise CaptureError(f"{options.side!r} is not a side; choose vm, host or both")
    if options.side == "both" and options.vm is None and not options.prefixes.get("vm"):
        raise CaptureError("--side both needs the VM: --vm USER@HOST, --vm tart:NAME, or an alias of your ssh configuration")
    if options.filter is not None and options.everything:
        raise CaptureError("--filter and --everything exclude each other")
    if options.until_rejection and not options.errors:
        raise CaptureError("--until-rejection needs a log to follow: --errors FILE")
    if options.keep is not None and options.rotate_mb is None:
        raise CaptureError("--keep needs --rotate-mb")
    vms = [vm for vm in (options.vm, *options.further) if vm is not None]
    for vm in vms:
        if options.side == "host":
            raise CaptureError("--vm is of no use with --side host; record both, or the vm")
        if command.tart_name(vm) is None:
            command.check_host(vm)
        if vms.count(vm) > 1:
            raise CaptureError(f"--vm {vm} is given twice")
    for name in options.apis:
        command.check_api(name)
    if options.interface is not None:
        command.tcpdump(options.interface)
    for side, path in options.errors:
        if options.side not in (side, "both"):
            raise CaptureError(f"--errors {side}:{path}: the {side} is not recorded")
        if not path or "\0" in path:
            raise CaptureError(f"--errors {path!r} names no file")
