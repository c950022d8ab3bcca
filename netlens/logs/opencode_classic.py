"""opencode's log until spring 2026: ``ERROR 2026-01-25T16:33:41 +58ms service=llm ... error={...}``.

UTC, whole seconds; ``+58ms`` is the exact time since the line before, from which :mod:`netlens.parsers.errorlog` recovers the fraction.

Source: packages/opencode/src/util/log.ts of sst/opencode.
"""

import re

from netlens import logs
from netlens.logs._account import about, written
from netlens.logs._words import FAULTS, RETRIES, whole

ID = "opencode-classic"
PROGRAM = "opencode"
RANK = 10

_HEAD = re.compile(
    r"(?P<level>DEBUG|INFO|WARN|ERROR)\s+(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\s+\+(?P<since>-?\d{1,12})ms(?:\s+service=(?P<service>[a-z][a-z0-9._-]{0,31})(?=\s|$))?",
    re.ASCII,
)


def recognise(record: str) -> logs.Head | None:
    if (found := _HEAD.match(record)) is None:
        return None
    level = found["level"]
    fault = level in FAULTS or RETRIES.search(record, found.end(), logs.HEAD) is not None
    said = about(record[: logs.HEAD], level)
    return logs.Head(found["time"], found.end(), fault, level, found["service"] or "", int(found["since"]), said)


said = whole


def write(head: logs.Head) -> str:
    service = f" service={head.service}" if head.service else ""
    starts = " stream" if head.about and head.about.starts else ""
    return f"{head.level:<5} {head.time} +{head.since_ms}ms{service}{written(head.about, 'sessionID')}{starts}"
