"""Lines of logfmt: ``t=2026-06-20T16:38:30+0000 lvl=eror msg="status 429"``, ``ts=2026-06-20T16:38:30.455Z level=warn caller=llm.go:42 err="..."``.

Without a level no line tells of a refusal, unless it says that something failed or is tried again: what a person asked may be in it. A level in words that are
not known may be that of a fault.

Source: pkg.go.dev/github.com/kr/logfmt; the packages logrus, slog (TextHandler), go-kit/log and inconshreveable/log15, which shortens levels to four letters.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import FAULTS, RETRIES, whole

ID = "logfmt"
PROGRAM = "any"
RANK = 21

NEAR = 200  #: characters behind the time in which the level stands

_TIME = re.compile(r"(?:time|ts|t)=\"?(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)\"?(?=\s|$)", re.ASCII)
_LEVEL = re.compile(r"(?<![\w.])(?:level|lvl|severity)=\"?(?P<level>[A-Za-z]{1,8})\"?(?=\s|$)")


def recognise(record: str) -> logs.Head | None:
    if (found := _TIME.match(record)) is None:
        return None
    level = _LEVEL.search(record, found.end(), found.end() + NEAR)
    word = _heads.level(level["level"]) if level else ""
    fault = word in FAULTS or (level is not None and not word) or RETRIES.search(record, found.end(), logs.HEAD) is not None
    return logs.Head(found["time"], found.end(), fault, word)


said = whole


def write(head: logs.Head) -> str:
    return f"time={head.time} level={head.level or ('unknown' if head.fault else 'info')}"
