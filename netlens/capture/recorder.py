"""Runs one tcpdump and stores what it says.

What it decides: when tcpdump is ready ("listening on"), when all that was captured has arrived, and why a capture ended.

**Stopping loses packets, unless one waits.** Linux hands packets to tcpdump in blocks, when a block is full or about a second old; a tcpdump that is
told to stop leaves the unfinished block behind (measured: 400 packets received by the filter, 0 captured). So :meth:`SideRecorder.stop` first asks
for tcpdump's counts until everything received before the request is captured, or a packet later than the request has arrived, or
``DRAIN_S`` has passed, and only then stops it.

*Limits*: the kernel's drop count of a killed tcpdump is that of the last second (it is asked for each second). On loopback "received" counts both
directions of each packet and the drain takes its full time unless traffic goes on.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from netlens.capture import command
from netlens.capture.processes import lines
from netlens.capture.recording import SideResult
from netlens.capture.sink import Sink, SinkFull
from netlens.errors import CaptureError

READY_S = 60.0  #: for "listening on": sudo, ssh and a busy machine included
#: Longest wait for packets still in the kernel: a block is handed over when its timer (1 s in tcpdump) has seen it twice.
DRAIN_S = 2.5
END_S = 10.0  #: for tcpdump to end once told to
STATS_S = 1.0  #: between requests for tcpdump's counts
CHUNK = 1 << 20

LISTENING = re.compile(
    r"listening on (?P<interface>\S+?), link-type (?P<link>\S+)(?: \([^)]*\))?, (?:snapshot length|capture size) (?P<snaplen>\d+)"
)
#: At the end, one a line; when asked, all in one line after "tcpdump: ".
_COUNT = re.compile(r"(\d+) packets? (captured|received by filter|dropped by kernel)")
#: What tcpdump, libpcap and sudo say where the right to capture is missing.
_NO_RIGHT = re.compile(
    r"permission|operation not permitted|not permitted|password is required|not allowed to|not in the sudoers|no tty present|a terminal is required"
    r"|no new privileges|must be owned by uid 0",
    re.IGNORECASE,
)


def parse_counts(line: str) -> dict[str, int]:
    """Counts in a line of tcpdump's standard error; keys captured, received, dropped. Empty if the line has none.

    Both forms: ``12 packets captured`` (at the end) and ``tcpdump: 12 packets captured, 12 packets received by filter, 0 packets dropped by
    kernel`` (when asked). "dropped by interface" is the network card's and not counted.
    """
    return {what.split()[0]: int(number) for number, what in _COUNT.findall(line)}


def parse_listening(line: str) -> tuple[str, str, int] | None:
    """Interface, link type and snaplen of tcpdump's "listening on" line; None if it is another."""
    found = LISTENING.search(line)
    return (found["interface"], found["link"], int(found["snaplen"])) if found else None


def is_missing_right(line: str) -> bool:
    """Whether a line of tcpdump or sudo says that the right to capture is missing."""
    return bool(_NO_RIGHT.search(line))


class SideRecorder:
    """One capture: ``start`` returns when tcpdump listens, ``stop`` when all of it is stored.

    side : "vm" or "host"; names the file.
    directory : where the file goes; made with rights 0700 if it is missing.
    prefix : put before the command, as ``["ip", "netns", "exec", "vm"]``.
    wrap : makes the final argument list of the command; for ssh. Default: prefix + command.
    rotate_mb, keep : begin a new file after so many megabytes, and keep only the latest so many.
    min_free_mb : raise ``attention`` when the disk has less room than this.
    attention : set when this capture needs looking at: it ended by itself or the disk is nearly full. May be shared between sides.
    system : what ``uname -s`` says on that side; for the hint about rights.
    link_lost : says why the link to the other machine is gone; for a capture through ssh.
    sink : takes the capture, instead of a file in ``directory``.
    """

    def __init__(
        self,
        side: str,
        directory: Path,
        prefix: Sequence[str] = (),
        interface: str = "any",
        bpf: str = "",
        snaplen: int = command.SNAPLEN,
        *,
        rotate_mb: float | None = None,
        keep: int | None = None,
        min_free_mb: float = 0,
        wrap: Callable[[list[str]], list[str]] | None = None,
        attention: threading.Event | None = None,
        system: str = "Linux",
        link_lost: Callable[[], str] | None = None,
        sink: Sink | None = None,
    ):
        self.side, self.directory = side, Path(directory)
        self.bpf = bpf
        self.command = command.tcpdump(interface, bpf, snaplen)
        self.wrap = wrap or (lambda argv: [*prefix, *argv])
        self.system = system
        self.link_lost = link_lost
        self.min_free = int(min_free_mb * 1_000_000)
        self.attention = attention or threading.Event()
        self.argv: list[str] = list(self.command)  #: tcpdump's command line with sudo, if it took that; without the shell around it
        self.sudo_shell = False  #: it runs by ``sudo -n sh``: other programs may
        self.tcpdump_pid: int | None = None  #: on the side where it runs
        self.interface, self.link_type, self.snaplen = interface, "", snaplen
        self.started_ns = 0
        self._rotate = (int(rotate_mb * 1_000_000) if rotate_mb else None, keep)
        self._given = sink
        self._sink: Sink | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._counts: dict[str, int] = {}
        self._answers = 0  # how often tcpdump has told its counts
        self._lines: list[str] = []  # the last lines of standard error that were neither counts nor notices
        self._listening = False
        self._ended = False
        self._stopping = False
        self._fault: str | None = None
        self._full = False
        self._wake: tuple[int, int] | None = None
        self._result: SideResult | None = None

    # --- start

    def start(self, timeout: float = READY_S) -> None:
        """Start tcpdump and return when it listens.

        Without the right to capture, the same is tried with ``sudo -n``, once with the whole shell and once with tcpdump alone (for sudoers that
        allow only that).

        CaptureError if it does not listen; the message is its own.
        """
        if self._process is not None:
            raise CaptureError(f"{self.side}: this recorder was started before")
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise CaptureError(f"{self.directory}: cannot be made a directory ({(error.strerror or str(error)).lower()})") from None
        self._sink = self._given or Sink(self.directory, self.side, *self._rotate)
        sudo = ["sudo", "-n", "--"]
        attempts = [
            (self.command, command.watched(self.command)),
            ([*sudo, *self.command], [*sudo, *command.watched(self.command)]),
            ([*sudo, *self.command], command.watched([*sudo, *self.command])),
        ]
        first = ""
        for number, (shown, argv) in enumerate(attempts):
            self.argv = list(shown)
            self.sudo_shell = number == 1
            try:
                self._launch(self.wrap(argv))
            except OSError as error:
                if number:  # no sudo here: what tcpdump itself said is the reason
                    break
                raise self._refused(f"{error.filename or argv[0]}: {(error.strerror or str(error)).lower()}") from None
            if self._await_listening(timeout):
                self.started_ns = time.time_ns()
                return
            why = self._reason_not_started(timeout)
            self._end_process()
            first = first or why
            if not is_missing_right(why) and "no program sudo" not in why and "sudo:" not in why:
                break
        raise self._refused(first)

    def _refused(self, why: str) -> CaptureError:
        self._forget_files()
        hint = f"; run it with sudo, or once: {command.grant(self.system)}" if is_missing_right(why) else ""
        return CaptureError(f"{self.side}: tcpdump does not record: {why}{hint}")

    def _forget_files(self) -> None:
        if self._sink is not None:
            self._sink.close()
            for path in self._sink.files:
                path.unlink(missing_ok=True)

    def abandon(self) -> None:
        """End tcpdump and delete its files, however far it had come; for a start that failed or was broken off."""
        if self._process is not None and self._result is None:
            with self._changed:
                self._stopping = True
            self._end_process()
        self._forget_files()

    def _launch(self, argv: list[str]) -> None:
        self._listening = self._ended = False
        self._lines.clear()
        # A group of its own: Ctrl-C is for netlens, which then stops tcpdump when everything has arrived.
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0, bufsize=0
        )
        self._wake = os.pipe()
        errors = threading.Thread(target=self._read_errors, args=(self._process,), name=f"{self.side}-stderr", daemon=True)
        pump = threading.Thread(target=self._pump, args=(self._process, errors, self._wake[0]), name=f"{self.side}-pump", daemon=True)
        self._threads = [errors, pump]
        for thread in self._threads:
            thread.start()

    def _await_listening(self, timeout: float) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._listening or self._ended, timeout)
            return self._listening

    def _reason_not_started(self, timeout: float) -> str:
        if not self._ended:
            return f"it was not ready after {timeout:.0f} s" + (f" ({self._lines[-1]})" if self._lines else "")
        # libpcap puts the bare reason in brackets on a second line: "You don't have permission ...\n(socket: Operation not permitted)"
        told = [line for line in self._lines if not line.startswith("(")] or self._lines
        return told[-1] if told else f"it ended with status {self._status()}"

    # --- threads

    def _read_errors(self, process: subprocess.Popen[bytes]) -> None:
        stream = process.stderr
        assert stream is not None
        for line in map(str.strip, lines(stream)):
            with self._changed:
                if line.startswith("netlens: pid "):
                    self.tcpdump_pid = int(line.rsplit(" ", 1)[1])
                elif found := parse_listening(line):
                    _, self.link_type, self.snaplen = found
                    self._listening = True
                elif counts := parse_counts(line):
                    self._counts.update(counts)
                    self._answers += 1
                elif line and "romiscuous mode" not in line:
                    self._lines = [*self._lines[-19:], line]
                self._changed.notify_all()

    def _pump(self, process: subprocess.Popen[bytes], errors: threading.Thread, wake: int) -> None:
        """Move tcpdump's output to the sink until it ends; then find out why it did."""
        assert process.stdout is not None
        assert self._sink is not None
        out = process.stdout.fileno()
        widen(out)
        next_look = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select(STATS_S)}
                if wake in ready:
                    break
                if out in ready:
                    data = os.read(out, CHUNK)
                    if not data:
                        break
                    try:
                        self._sink.feed(data)
                    except SinkFull as full:
                        self._full = True
                        self._note(f"the disk took no more ({full})")
                        break
                    except CaptureError as error:
                        self._note(str(error))
                        break
                    with self._changed:
                        self._changed.notify_all()
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + STATS_S
                    if self._listening:
                        self._order("stats")
                    self._look_at_disk()
        process.stdout.close()  # after a fault tcpdump ends by SIGPIPE with its next packet, whatever rights it runs with
        if self._fault:
            self._order("stop")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
        if process.returncode is not None:
            errors.join(END_S)
        with self._changed:
            self._ended = True
            if self._listening and not self._stopping:
                self._note(self._why_ended())
            self._changed.notify_all()
        if self._listening and not self._stopping:
            self.attention.set()

    def _look_at_disk(self) -> None:
        if self.min_free and self._fault is None:
            with contextlib.suppress(OSError):
                room = os.statvfs(self.directory)
                if room.f_bavail * room.f_frsize < self.min_free:
                    self._note(f"stopped before the disk was full (less than {self.min_free // 1_000_000} MB free)")
                    self.attention.set()

    def _note(self, reason: str) -> None:
        if self._fault is None:
            self._fault = reason

    def _why_ended(self) -> str:
        status = self._status()
        said = self._lines[-1].removeprefix("tcpdump: ") if self._lines else ""
        if status == 255 and self.link_lost is not None:  # ssh's own status; tcpdump has none above 127
            return self.link_lost()
        if isinstance(status, int) and 128 < status < 128 + 65:
            return f"tcpdump was killed (signal {status - 128})"
        return f"tcpdump ended by itself (status {status}{': ' + said if said else ''})"

    def _status(self) -> int | str:
        assert self._process is not None
        status = self._process.poll()
        return "unknown" if status is None else status if status >= 0 else 128 - status

    def _order(self, what: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it is gone, or its input closed: nothing to order any more
            self._process.stdin.write(what.encode() + b"\n")

    # --- while it runs

    @property
    def fault(self) -> str | None:
        """Why this capture is incomplete, as far as known now."""
        return self._fault

    @property
    def packets(self) -> int:
        return self._sink.packets if self._sink else 0

    @property
    def bytes(self) -> int:
        """Bytes stored so far, all files of a rotation together."""
        return self._sink.size if self._sink else 0

    @property
    def dropped(self) -> int | None:
        """Packets that the kernel dropped, as tcpdump last told it, at most about a second ago; None if it has not."""
        return self._counts.get("dropped")

    # --- stop

    def stop(self) -> SideResult:
        """Wait for what is still in the kernel, stop tcpdump, close the file. A second call gives the same result."""
        if self._result is not None:
            return self._result
        if self._process is None or self._sink is None:
            raise CaptureError(f"{self.side}: this recorder was not started")
        asked_ns = time.time_ns()
        if not self._ended and not self._full:
            self._drain(asked_ns)
        stopped_ns = time.time_ns()
        with self._changed:
            self._stopping = not self._ended
        self._end_process()
        self._sink.close()
        received, dropped = self._counts.get("received"), self.dropped
        if self._fault is not None and (received or 0) < self._sink.packets:
            received, dropped = None, dropped or None  # it died before it could say; what it said last is too old
        if self._fault is None and self._sink.cut_bytes:
            self._note(f"the last record was cut and left out ({self._sink.cut_bytes} bytes)")
        self._result = SideResult(
            side=self.side,
            path=self._sink.files[0],
            paths=list(self._sink.files),
            packets_captured=self._sink.packets,
            packets_received=received,
            packets_dropped=dropped,
            started_ns=self.started_ns,
            stopped_ns=stopped_ns,
            argv=self.argv,
            complete=self._fault is None,
            reason=self._fault,
            removed=self._sink.removed,
            interface=self.interface,
            link_type=self.link_type,
            snaplen=self.snaplen,
            bpf=self.bpf,
            bytes=self._sink.size,
        )
        return self._result

    def _drain(self, asked_ns: int) -> None:
        """Wait until everything the kernel had received when we were asked is stored; see the module's text."""
        assert self._sink is not None
        deadline = time.monotonic() + DRAIN_S
        with self._changed:
            answers = self._answers
        self._order("stats")
        received: int | None = None
        while (left := deadline - time.monotonic()) > 0:
            with self._changed:
                self._changed.wait(min(left, 0.1))
                if self._ended or (self._sink.last_ns or 0) > asked_ns:
                    return
                if self._answers == answers:
                    continue
                answers = self._answers
                captured, now, dropped = (self._counts.get(name, 0) for name in ("captured", "received", "dropped"))
            if received is None:
                received = now
            if captured + dropped >= received and self._sink.packets >= captured:
                return
            self._order("stats")

    def _end_process(self) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            self._order("stop")
            process.stdin.close()
        for thread in self._threads[::-1]:
            thread.join(END_S)
        if self._threads[1].is_alive() and self._wake:  # not even end of input helped (sudo for tcpdump alone): take its output away
            os.write(self._wake[1], b"x")
            self._threads[1].join(END_S)
        if process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, 15)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
            if process.poll() is None:
                process.kill()
                process.wait()
        for thread in self._threads:
            thread.join(END_S)
        if self._wake:
            for descriptor in self._wake:
                os.close(descriptor)
            self._wake = None


def widen(descriptor: int) -> None:
    """Make a pipe larger (Linux): a busy moment here must not stop tcpdump from emptying the kernel's buffer."""
    with contextlib.suppress(OSError, ImportError, AttributeError):
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, CHUNK)
