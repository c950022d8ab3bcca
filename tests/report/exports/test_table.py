"""Tables on a terminal, which is one, of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import sys
import termios
from pathlib import Path

import pytest


def on_terminal(columns: int, *command: str) -> list[str]:
    """The lines that a command writes to a terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "dumb"}
    child = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "netlens", *command],
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, theirs, 1), (os.POSIX_SPAWN_DUP2, theirs, 2)],
    )
    os.close(theirs)
    data = b""
    try:
        while piece := os.read(ours, 65536):
            data += piece
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, data
    return data.decode().replace("\r\n", "\n").splitlines()


@pytest.mark.skipif(sys.platform != "linux", reason="terminals of other systems end otherwise")
@pytest.mark.parametrize(
    ("columns", "command", "wanted"),
    [
        (80, "sessions", ["start", "orig", "resp", "state", "orig_bytes", "resp_bytes"]),
        (80, "connections", ["start", "path", "resp", "state", "orig_bytes", "resp_bytes", "sni"]),
        (80, "exchanges", ["session_id", "start", "wait_ms", "total_ms", "up_bytes", "down_bytes", "status"]),
        (200, "connections", ["connection_id", "start", "duration_s", "path", "orig", "resp", "state", "orig_bytes", "resp_bytes", "sni"]),
    ],
)
def test_a_narrow_terminal_keeps_time_path_state_and_bytes(columns: int, command: str, wanted: list[str], captures: Path) -> None:
    lines = on_terminal(columns, command, str(captures / "same-nat-ip-sshuttle" / "vm.pcap.gz"))
    told = [line for line in lines if line.startswith("netlens:")]
    table = [line for line in lines if not line.startswith("netlens:") and line]
    assert table[0].split() == wanted
    assert max(map(len, table)) <= columns
    assert bool(told) == (columns == 80)
    if told:
        assert "left out for lack of width: " in told[0]
