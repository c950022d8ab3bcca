"""What formats with a time and a level at the head of a line share."""

from __future__ import annotations

import re

from netlens import logs
from netlens.logs._words import FAULTS

TIME = r"\[?(?P<time>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:\s?Z|\s?[+-]\d\d:?\d\d)?)\]?"
LEVEL = r"(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)"
NEAR = 300  #: characters behind a head in which a program says that it tries again
_RETRIES = re.compile(r"\bHTTP Request: |\b[Rr]etry(?:ing|ies)?\b|\b(?:API|stream) error\b|status_code[= ]")


def head(found: re.Match[str], service: str = "", always: bool = False) -> logs.Head:
    """The head that a pattern found. ``always``: lines of level INFO may tell of a refusal too, as who writes them never writes what a person said."""
    level = found["level"].upper()
    retries = always or _RETRIES.search(found.string, found.end(), found.end() + NEAR) is not None
    return logs.Head(found["time"], found.end(), level in FAULTS or retries, level, service)
