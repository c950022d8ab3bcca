"""A forwarder that makes more connections than it was asked for: sshuttle's own server part, with a socket that brings companions.

sshuttle runs its server part with the Python named by ``--python``. ``write_python`` makes such a "Python": a script that starts this file,
which runs the code given with ``-c`` as Python would, after it has changed what ``connect`` does. For each connection to port 443
a seeded number of further connections is opened to the same place; they carry nothing and end with the first.
"""

from __future__ import annotations

import random
import shlex
import socket
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_python(folder: Path, seed: int, counts: Sequence[int], port: int = 443) -> str:
    """Write the script and return its path; ``counts`` are the numbers of companions to choose from, ``port`` is where they go."""
    script = folder / "python-that-fans-out"
    argv = [sys.executable, "-P", __file__, str(port), str(seed), ",".join(map(str, counts))]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return str(script)


def change_sockets(port: int, seed: int, counts: Sequence[int]) -> None:
    """From now on, in this process, connections to the port have companions."""
    rng = random.Random(f"fan out {seed}")
    plain_connect, plain_shutdown, plain_close = socket.socket.connect, socket.socket.shutdown, socket.socket.close
    companions: weakref.WeakKeyDictionary[socket.socket, list[socket.socket]] = weakref.WeakKeyDictionary()

    def connect(self: socket.socket, address: Any) -> None:
        if address[1] == port and self not in companions:  # sshuttle calls connect again until it is connected
            companions[self] = [socket.socket(self.family, self.type) for _ in range(rng.choice(counts))]
            for other in companions[self]:
                other.setblocking(False)
                other.connect_ex(address)
        plain_connect(self, address)

    def end_companions(of: socket.socket) -> None:
        for other in companions.pop(of, []):
            plain_close(other)

    def shutdown(self: socket.socket, how: int) -> None:  # sshuttle 1.3 says no more than this, and leaves the rest to the collector
        end_companions(self)
        plain_shutdown(self, how)

    def close(self: socket.socket) -> None:
        end_companions(self)
        plain_close(self)

    socket.socket.connect = connect  # type: ignore[method-assign, assignment]
    socket.socket.shutdown = shutdown  # type: ignore[method-assign, assignment]
    socket.socket.close = close  # type: ignore[method-assign, assignment]


def main() -> None:
    port, seed, counts, option, code = sys.argv[1:6]
    if option != "-c":
        raise SystemExit(f"fan_out: runs code given with -c, not {option}")
    change_sockets(int(port), int(seed), [int(count) for count in counts.split(",")])
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
