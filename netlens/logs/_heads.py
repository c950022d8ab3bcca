"""What formats with a time and a level at the head of a line share."""

import re
from collections.abc import Callable

from netlens import logs
from netlens.logs import _times
from netlens.logs._words import FAULTS

TIME = rf"[\[\"]?(?P<time>{_times.TIME})[\]\"]?"
LEVEL = r"(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|SEVERE|CRITICAL|FATAL)"
#: How else they are written: Java's, Serilog's, zerolog's, log15's, syslog's, and single letters as of Android and klog.
_CALLED = {
    "T": "TRACE", "TRC": "TRACE", "V": "TRACE", "VRB": "TRACE", "VERBOSE": "TRACE", "FINEST": "TRACE", "FINER": "TRACE", "D": "DEBUG", "DBG": "DEBUG",
    "DBUG": "DEBUG", "FINE": "DEBUG", "CONFIG": "DEBUG", "I": "INFO", "INF": "INFO", "INFORMATION": "INFO", "SUCCESS": "INFO", "N": "NOTICE",
    "W": "WARN", "WRN": "WARN", "E": "ERROR", "ERR": "ERROR", "EROR": "ERROR", "SEVERE": "ERROR", "C": "CRITICAL", "CRIT": "CRITICAL", "F": "FATAL",
    "FTL": "FATAL", "ALERT": "FATAL", "EMERG": "FATAL", "EMERGENCY": "FATAL", "PANIC": "FATAL", "DPANIC": "FATAL",
}  # fmt: skip
_LEVELS = frozenset(("TRACE", "DEBUG", "INFO", "NOTICE", *FAULTS))
NEAR = 300  #: characters behind a head in which a program says that it tries again
#: urllib3 writes each answer down, at level DEBUG; the length comes behind the status.
OF_URLLIB3 = re.compile(r'https?://[\w.:\[\]-]{1,255} "[A-Z]{3,7} \S{1,2000} HTTP/\d(?:\.\d)?" (?:429|529) (?:\d|None)', re.ASCII)
_RETRIES = re.compile(r"\bHTTP Request: |\b[Rr]etry(?:ing|ies)?\b|\b(?:API|stream) error\b|status_code[= ]")


def level(word: str) -> str:
    """A level as netlens calls it; "" if it is not known, which is no reason to take a record for harmless."""
    word = _CALLED.get(word.upper(), word.upper())
    return word if word in _LEVELS else ""


def recogniser(pattern: re.Pattern[str]) -> Callable[[str], logs.Head | None]:
    """``recognise`` of a format whose head is a pattern with the groups ``time`` and ``level``; without the latter each record may tell of a refusal."""

    def recognise(record: str, /) -> logs.Head | None:
        if (found := pattern.match(record)) is None:
            return None
        word = level(found["level"] or "") if "level" in pattern.groupindex else ""
        near = record, found.end(), found.end() + NEAR
        fault = not word or word in FAULTS or _RETRIES.search(*near) is not None or OF_URLLIB3.search(*near) is not None
        return logs.Head(found["time"], found.end(), fault, word)

    return recognise
