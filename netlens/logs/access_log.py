"""Access logs of web servers and relays: ``192.0.2.5 - - [28/Nov/2026:18:22:33 +0000] "POST /v1/chat HTTP/1.1" 429 133 ...``.

Every request has its line, with the status of the answer.

Source: httpd.apache.org/docs/current/logs.html (common and combined log format); nginx writes the same.
"""

import re

from netlens import logs
from netlens.logs._words import whole

ID = "access-log"
PROGRAM = "any"
RANK = 90

_HEAD = re.compile(
    r"\S{1,64} \S{1,64} \S{1,64} \[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "
    r"(?:\"(?:[^\"\\]|\\.){0,400}\" )?(?=(?:status=)?(?P<status>\d{3})\b)",
    re.ASCII,
)


def recognise(record: str) -> logs.Head | None:
    if (found := _HEAD.match(record)) is None:
        return None
    fault = found["status"] >= "400"
    return logs.Head(found["time"], found.end(), fault, "ERROR" if fault else "INFO")


said = whole


def write(head: logs.Head) -> str:
    return f"- - - [{head.time}] {'status=499' if head.fault else 'status=200'}"
