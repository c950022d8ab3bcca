"""Running programs: to their end, or beside a capture with their lines read as they come."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple

from netlens.capture import command
from netlens.errors import CaptureError

END_S = 5.0
COMMAND_TIMEOUT_S = 10.0  #: none of the commands does real work; one that takes longer hangs
OUTPUT_BYTES = 4_000_000  #: what is read of a command's output; a firewall of ten thousand rules has about 1 MB
#: Where system programs live that are on no ordinary user's PATH, and on nobody's in a command by ssh.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin:/Applications/Wireshark.app/Contents/MacOS"

#: What ``versions`` tells of besides Python: packages, and programs with what their version looks like in the first lines of ``--version``.
PACKAGES = ("numba", "numpy", "pandas")
PROGRAMS = {"tcpdump": r"tcpdump version (\d\S*)", "tshark": r"TShark \(Wireshark\) (\d[\w.-]*\w)"}
TIMEOUT_S = 5.0
NONE = "not found"

Talk = Callable[[IO[bytes], IO[bytes]], None]


class Outcome(NamedTuple):
    """How a command ended. ``status`` is that of the shell: 127 not there, 124 took too long."""

    status: int
    stdout: str
    stderr: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def complaint(self) -> str:
        """The last line on standard error, which is where programs say why they gave up."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.status}"


def run(argv: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S, given: str = "", talk: Talk | None = None) -> Outcome:
    """Run a command, at most ``timeout_s``; its output never blocks it and is read up to ``OUTPUT_BYTES``. No shell.

    given : its standard input.
    talk : is handed the command's standard input and output while it runs, instead.
    """
    # Files, not pipes: an ssh that stays in the background as a master may keep them open, and a pipe would then have no end.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given_file:
        given_file.write(given.encode())
        given_file.seek(0)
        path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE if talk else given_file,
                stdout=subprocess.PIPE if talk else out,
                stderr=err,
                bufsize=0,
                env={**os.environ, "LC_ALL": "C", "PATH": path},
                process_group=0,  # not a new session: sudo's ticket belongs to the terminal
            )
        except OSError as error:
            # The error does not tell: where a folder of PATH may not be entered, what is nowhere else is "not permitted".
            there = os.path.exists(argv[0]) if os.sep in argv[0] else shutil.which(argv[0], path=path)
            if not there:
                return Outcome(127, "", f"{argv[0]}: not found")
            return Outcome(126, "", f"{argv[0]}: {error.strerror or error}")
        late = threading.Event()

        def stop() -> None:
            late.set()
            _kill(process)

        watchdog = threading.Timer(timeout_s, stop)
        watchdog.daemon = True
        watchdog.start()
        try:
            if talk is not None and process.stdin is not None and process.stdout is not None:
                with process.stdout, contextlib.suppress(OSError), process.stdin:  # it may have ended and closed its end
                    talk(process.stdin, process.stdout)
            process.wait()
        finally:
            watchdog.cancel()
            if process.poll() is None:  # Ctrl-C
                _kill(process)
                process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read(OUTPUT_BYTES).decode("utf-8", "replace"))
    status = 124 if late.is_set() else process.returncode if process.returncode >= 0 else 128 - process.returncode
    return Outcome(status, texts[0], f"took longer than {timeout_s:g} s" if status == 124 else texts[1])


def version_of(pattern: str, text: str) -> str:
    """The version that a program's ``--version`` prints; empty if it is not shown."""
    found = re.search(pattern, text)
    return found[1] if found else ""


def versions() -> dict[str, str]:
    """Versions of what netlens runs with, for ``netlens --version`` and bug reports: name -> version; "not found" for what is not there, "unknown" for what
    does not say. Nothing is imported to learn its version; tshark's answer takes half a second."""
    found = {"Python": f"{platform.python_version()} ({platform.system()} {platform.machine()})"}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = NONE
    return found | {program: _version(program) for program in PROGRAMS}


def _version(program: str) -> str:
    outcome = run([program, "--version"], TIMEOUT_S)
    return NONE if outcome.status == 127 else version_of(PROGRAMS[program], outcome.stdout + outcome.stderr) or "unknown"


def _kill(process: subprocess.Popen[bytes]) -> None:
    # sudo's child is root's and not ours to kill; it ends when sudo does
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def lines(stream: IO[bytes], longest: int = 1 << 16) -> Iterator[str]:
    """Lines of an unbuffered stream as they come, without their ends; what is longer than ``longest`` bytes is cut there."""
    pending, cut = b"", False
    while data := os.read(stream.fileno(), 1 << 16):
        *whole, rest = data.split(b"\n")
        for part in whole:
            yield (pending + part)[:longest].decode("utf-8", "replace")
            pending, cut = b"", False
        if not cut:
            pending += rest
            cut = len(pending) > longest
    if pending:
        yield pending[:longest].decode("utf-8", "replace")


class LineProcess:
    """Runs ``argv`` under the watching shell (see ``command``) and hands over each line of its standard output.

    ``wrap`` is that of :class:`netlens.capture.recorder.SideRecorder`. A line longer than ``max_line`` bytes is cut there. ``end`` is called behind the last.
    """

    def __init__(
        self,
        argv: Sequence[str],
        take: Callable[[str], None],
        wrap: Callable[[list[str]], list[str]] = list,
        max_line: int = 1 << 20,
        end: Callable[[], None] = lambda: None,
    ):
        self._take, self._max, self._end = take, max_line, end
        try:
            self._process = subprocess.Popen(
                wrap(command.watched(argv)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                process_group=0,
                bufsize=0,
            )
        except OSError as error:
            raise CaptureError(f"{error.filename}: {(error.strerror or str(error)).lower()}") from None
        self._thread = threading.Thread(target=self._read, name=f"lines-{argv[0]}", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in lines(self._process.stdout, self._max):
            self._take(line)
        self._end()

    def stop(self) -> None:
        """End it, after what it had written was taken."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(END_S)
        if not self._thread.is_alive():
            self._process.stdout.close()
