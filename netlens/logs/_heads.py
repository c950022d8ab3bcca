"""What formats with a time and a level at the head of a line share."""

import re
from collections.abc import Callable

from netlens import logs
from netlens.logs import _times
from netlens.logs._words import FAULTS

TIME = rf"\[?(?P<time>{_times.TIME})\]?"
LEVEL = r"(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)"
NEAR = 300  #: characters behind a head in which a program says that it tries again
_RETRIES = re.compile(r"\bHTTP Request: |\b[Rr]etry(?:ing|ies)?\b|\b(?:API|stream) error\b|status_code[= ]")


def recogniser(pattern: re.Pattern[str]) -> Callable[[str], logs.Head | None]:
    """``recognise`` of a format whose head is a pattern with the groups ``time`` and ``level``; without the latter each record may tell of a refusal."""

    def recognise(record: str, /) -> logs.Head | None:
        if (found := pattern.match(record)) is None:
            return None
        level = found["level"].upper() if "level" in pattern.groupindex else ""
        fault = not level or level in FAULTS or _RETRIES.search(record, found.end(), found.end() + NEAR) is not None
        return logs.Head(found["time"], found.end(), fault, level)

    return recognise
