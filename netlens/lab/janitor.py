"""``python -m netlens.lab.janitor NAME``: waits until the run NAME is over (its end of the pipe on standard input closes), then cleans up.

Lives in a session of its own and ignores the signals that end the run, so that it outlives it. All it imports is what it needs.
"""

from __future__ import annotations

import signal
import sys

from netlens.lab.topology import remove


def main() -> None:
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    sys.stdin.buffer.read()
    remove(sys.argv[1])


if __name__ == "__main__":
    main()
