"""opencode's log since spring 2026: ``timestamp=2026-06-20T16:38:30.455Z level=ERROR ... error.error="AI_APICallError: ..."``.

opencode appends to one file. UTC, milliseconds. A refusal is a line of level ERROR with the provider's words, often without status or code; the retries
that follow are lines of level INFO like those of other requests (``message=stream``, at the start of every one). Newer versions say that they retry, and
why, at any level.

Source: real logs of opencode 1.1 to 1.18.
"""

import re

from netlens import logs
from netlens.logs._account import about, written
from netlens.logs._words import FAULTS, RETRIES, whole

ID = "opencode-logfmt"
PROGRAM = "opencode"
RANK = 20

NEAR = 200  #: characters behind the time in which level and service stand: both are written first

_TIME = re.compile(r"timestamp=\"?(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)\"?(?=\s|$)", re.ASCII)
_LEVEL = re.compile(r"\blevel=\"?(?P<level>[A-Za-z]{1,8})\"?(?=\s|$)")
_SERVICE = re.compile(r"\bservice=\"?(?P<service>[a-z][a-z0-9._-]{0,31})\"?(?=\s|$)")


def recognise(record: str) -> logs.Head | None:
    if (found := _TIME.match(record)) is None:
        return None
    near = record[found.end() : found.end() + NEAR]
    level, service = _LEVEL.search(near), _SERVICE.search(near)
    word = level["level"].upper() if level else ""
    fault = word in FAULTS or RETRIES.search(record, found.end(), logs.HEAD) is not None
    named = service["service"] if service else ""
    return logs.Head(found["time"], found.end(), fault, word, named, about=about(record[: logs.HEAD], word))


said = whole


def write(head: logs.Head) -> str:
    parts = {"timestamp": head.time, "level": head.level, "service": head.service}
    starts = (f" run={head.about.run}" if head.about.run else "") + (" message=stream" if head.about.starts else "") if head.about else ""
    return " ".join(f"{name}={value}" for name, value in parts.items() if value) + starts + written(head.about, "session.id")
