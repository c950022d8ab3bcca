"""A VM behind ssh.

One SSH connection for everything (OpenSSH's multiplexing): it asks for a password at most once, and it is the one connection that must be kept
out of the capture it carries. It is opened with a remote command that waits for its input to end, so it lives as long as netlens does, and no longer.

Names are those of the user's ssh configuration, with its jumps, keys and ports; ``tart:NAME`` asks ``tart ip NAME`` for the address.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from netlens.capture import command
from netlens.capture.machine import tart_address
from netlens.errors import CaptureError
from netlens.outputs import caller, create
from netlens.sidefiles import opened

STREAM = "stream"  #: file in a connection's folder that says which connection it is, locked while that is open
CONNECT_S = 120.0  #: time to type a password included
END_S = 5.0


def resolve_target(target: str, tart: Sequence[str] = ("tart",)) -> str:
    """What ssh is to be given for ``--vm``: ``tart:NAME`` becomes ``USER@ADDRESS``.

    CaptureError if the target is none, or tart does not know the VM.
    """
    name = command.tart_name(target)
    if name is None:
        return command.check_host(target)
    found, outcome = tart_address(target, tart)
    if found is None:
        said = (outcome.stderr or outcome.stdout).strip().splitlines()
        raise CaptureError(
            f"tart:{name}: no address ({said[-1] if said else 'tart ip printed nothing'}); is the VM running? try: tart run {name}"
        )
    return command.check_host(found)


def open_streams() -> list[command.SshConnection]:
    """The SSH connections of all netlens of this user (and of whoever ran sudo) to VMs, this one's own among them; what captures must leave out."""
    invoker = caller()
    found = []
    for path in sorted(Path(_place()).glob(f"netlens-*/{STREAM}")):
        with contextlib.suppress(CaptureError, OSError), opened(path) as file:
            if os.fstat(file.fileno()).st_uid not in (os.geteuid(), *(invoker[:1] if invoker else ())):
                continue  # another user's word does not decide what a capture leaves out
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:  # its owner lives
                stream = command.parse_ssh_connection(file.read(200).decode("ascii", "replace"))
                found += [stream] if stream is not None and stream not in found else []
    return found


def _place() -> str:
    # Short: the name of a Unix socket has room for 104 bytes on macOS, and the usual temporary folder there takes half of it.
    return "/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()


class RemoteHost:
    """A connection to a VM. ``own``: the SSH connection itself, as the VM sees it; what a capture there must leave out."""

    def __init__(self, target: str, ssh: Sequence[str] = ("ssh",)):
        self.target = resolve_target(target)
        self.ssh = list(ssh)
        self.own: command.SshConnection | None = None
        self._folder = ""
        self._socket = ""
        self._stream: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._said: list[str] = []
        self._greeted = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> RemoteHost:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, timeout: float = CONNECT_S) -> None:
        """Open the connection. CaptureError with what ssh said."""
        try:
            self._connect(timeout)
        except BaseException:
            self.close()
            raise

    def _connect(self, timeout: float) -> None:
        self._folder = tempfile.mkdtemp(prefix="netlens-", dir=_place())
        self._socket = str(Path(self._folder) / "ssh")
        try:
            self._process = subprocess.Popen(
                command.ssh_master(self.ssh, self.target, self._socket),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
            )
        except OSError as error:
            raise CaptureError(f"ssh: {(error.strerror or str(error)).lower()}") from None
        self._threads = [
            threading.Thread(target=self._read_greeting, args=(self._process,), name="ssh-out", daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process,), name="ssh-err", daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self._greeted.wait(timeout)
        if self.own is None:
            ended = self._process.poll() is not None or not self._threads[0].is_alive()
            self.close()
            why = self.last_words or ("it ended without a message" if ended else f"no answer within {timeout:.0f} s")
            raise CaptureError(f"ssh to {self.target} failed: {why}; try: {' '.join(self.ssh)} {self.target} true")
        self._stream = create(Path(self._folder, STREAM))
        fcntl.flock(self._stream, fcntl.LOCK_EX)
        self._stream.write(" ".join(map(str, vars(self.own).values())).encode())
        self._stream.flush()

    def _read_greeting(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").strip()
            if line.startswith("netlens: "):  # a login shell may greet first
                self.own = command.parse_ssh_connection(line.removeprefix("netlens: "))
                if self.own is None:
                    self._said.append("the VM does not say what connection this is (SSH_CONNECTION); its capture would record itself")
                self._greeted.set()
        self._greeted.set()

    def _read_errors(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for raw in process.stderr:
            line = raw.decode("utf-8", "replace").strip()
            if line:
                self._said = [*self._said[-9:], line]

    @property
    def last_words(self) -> str:
        """What ssh said last; empty if nothing."""
        return self._said[-1] if self._said else ""

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def why_broken(self) -> str:
        """One line about a connection that is gone."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_S)
            self._threads[1].join(END_S)
        return f"the ssh connection to {self.target} broke" + (f" ({self.last_words})" if self.last_words else "")

    def wrap(self, argv: list[str]) -> list[str]:
        """The argument list that runs ``argv`` on the VM."""
        return command.ssh_session(self.ssh, self.target, self._socket, argv)

    def close(self) -> None:
        """End the connection, and with it all that runs through it."""
        process = self._process
        if process is not None:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for thread in self._threads:
                thread.join(END_S)
            for stream in (process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = ""
