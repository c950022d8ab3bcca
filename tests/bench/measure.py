"""Run one command and print its wall time, peak memory and exit code as JSON: ``measure.py STDOUT STDERR PROGRAM [ARGUMENT]...``.

A program of its own, of the standard library only, because Linux counts what the *parent* held at the time of exec into a child's
``ru_maxrss``: the process that starts a contestant must be small. About 10 MB remain as the least that can be measured.
"""

import json
import os
import sys
import time


def main() -> None:
    out, err, *command = sys.argv[1:]
    write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, out, write, 0o600)]
    actions.append((os.POSIX_SPAWN_OPEN, 2, err, write, 0o600))
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
    result = {"seconds": seconds, "peak_bytes": usage.ru_maxrss * unit, "exit_code": os.waitstatus_to_exitcode(status)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
