"""Programs that run beside a capture and whose lines are read as they come: the socket sampler and the log follower."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Sequence

from netlens.capture import command
from netlens.errors import CaptureError

END_S = 5.0


class LineProcess:
    """Runs ``argv`` under the watching shell (see ``command``) and hands over each line of its standard output.

    ``wrap`` is that of :class:`netlens.capture.recorder.SideRecorder`. A line longer than ``max_line`` bytes is cut there.
    """

    def __init__(
        self, argv: Sequence[str], take: Callable[[str], None], wrap: Callable[[list[str]], list[str]] = list, max_line: int = 1 << 20
    ):
        self._take, self._max = take, max_line
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
        descriptor = self._process.stdout.fileno()
        pending, cut = b"", False
        while data := os.read(descriptor, 1 << 16):
            *whole, rest = data.split(b"\n")
            for part in whole:
                self._take((pending + part)[: self._max].decode("utf-8", "replace"))
                pending, cut = b"", False
            if not cut:
                pending += rest
                cut = len(pending) > self._max
        if pending:
            self._take(pending[: self._max].decode("utf-8", "replace"))

    @property
    def running(self) -> bool:
        return self._process.poll() is None

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


def run(argv: Sequence[str], given: str = "", timeout: float = 30.0) -> tuple[int, str, str]:
    """Run a program to its end: status, standard output, standard error.

    Raises
    ------
    CaptureError
        it cannot be started or takes longer than ``timeout`` seconds.
    """
    try:
        done = subprocess.run(list(argv), input=given.encode(), capture_output=True, timeout=timeout, check=False, process_group=0)
    except OSError as error:
        raise CaptureError(f"{error.filename or argv[0]}: {(error.strerror or str(error)).lower()}") from None
    except subprocess.TimeoutExpired:
        raise CaptureError(f"{argv[0]}: no answer within {timeout:.0f} s") from None
    return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
