"""Any line that begins with a time, of any form that is read (``netlens/logs/_times.py``) or an epoch; such as text of a screen that was saved with its time.

There are no levels, so any line may tell of a refusal.

Source: RFC 3339, RFC 3164, and what ``ts``, syslog and loggers of many languages write.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "plain"
PROGRAM = "any"
RANK = 1000

_TIME = re.compile(rf"{_heads.TIME}(?!\d|\.|:\d)", re.ASCII)
_EPOCH = re.compile(r"\[?(?P<time>1\d{9}(?:\.\d{1,9}|\d{3}|\d{6}|\d{9})?)(?![\d.])\]?", re.ASCII)


def recognise(record: str) -> logs.Head | None:
    found = _TIME.match(record) or _EPOCH.match(record)
    return logs.Head(found["time"], found.end()) if found else None


said = whole


def write(head: logs.Head) -> str:
    return head.time
