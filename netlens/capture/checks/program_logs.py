"""Logs of the programs that are asked about refusals.

Claim: the log of each known program that runs is where it is looked for, and was written to since the program began.
Fix: the log's place is given to ``--errors`` by hand.
"""

from __future__ import annotations

import re

from netlens.capture.checks import NOT, OK, WARNING, Machine, Result, Scene
from netlens.capture.known_logs import PLACES, PROCESSES
from netlens.text import printable

TITLE = "logs of programs"
RANK = 165
SLACK_S = 120  #: a program that has just been started may have written nothing yet

#: Per program: its name, the age of its newest log in seconds and the log; then the running processes and for how long they have run.
SCRIPT = "now=$(date +%s); " + "".join(
    f'f=$(ls -dt -- {place} 2>/dev/null | head -n 1); [ -z "$f" ] || '
    f'echo "log {name} $((now - $(stat -c %Y -- "$f" 2>/dev/null || stat -f %m -- "$f"))) $f"; '
    for name, place in PLACES.items()
) + "ps -eo etime=,comm= | sed 's/^/run /'"  # fmt: skip
_ETIME = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)")


def look(machine: Machine, scene: Scene) -> Result:
    said = machine.run("sh", "-c", SCRIPT).stdout.splitlines()
    logs: dict[str, tuple[int, str]] = {}
    runs: dict[str, int] = {}
    for line in said:
        kind, _, rest = line.partition(" ")
        words = rest.split(None, 2 if kind == "log" else 1)
        if kind == "log" and len(words) == 3 and words[1].lstrip("-").isdigit():
            logs[words[0]] = int(words[1]), words[2]
        elif kind == "run" and len(words) == 2 and (time := _ETIME.fullmatch(words[0])):
            days, hours, minutes, seconds = (int(each or 0) for each in time.groups())
            age = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
            program = next((name for name, process in PROCESSES.items() if words[1].rpartition("/")[2] == process), None)
            if program is not None:
                runs[program] = max(runs.get(program, 0), age)
    silent = [name for name, age in runs.items() if age > SLACK_S and (name not in logs or logs[name][0] > age)]
    if silent:
        name = silent[0]
        where = f"its newest log, {printable(logs[name][1])}, is older" if name in logs else "no log of it is where it is looked for"
        return Result(
            WARNING,
            f"{name} runs, but {where}: its refusals would be missed",
            f"netlens capture --errors PATH, with the log that {name} writes to",
        )
    if not logs:
        return Result(NOT, f"none of {', '.join(PLACES)} has a log here")
    found = "; ".join(f"{name}: written to {_ago(age)} ({printable(path)})" for name, (age, path) in logs.items())
    return Result(OK, found)


def _ago(seconds: int) -> str:
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}{'s' if seconds >= 2 * size else ''} ago"
    return "just now"
