"""Logs of Ruby's Logger: ``E, [2026-06-20T16:38:30.455123 #4711] ERROR -- agent: 429 Too Many Requests``.

Local time without a zone, microseconds; the name of the program may lack. A line of severity ANY may tell of a refusal.

Source: docs.ruby-lang.org, Logger::Formatter, its default format.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "ruby-logger"
PROGRAM = "any"
RANK = 690

_HEAD = re.compile(
    r"[DIWEFA], \[(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?) {1,2}#\d{1,10}\] {1,3}(?P<level>DEBUG|INFO|WARN|ERROR|FATAL|ANY) --"
    r" [^:\n]{0,100}: ",
    re.ASCII,
)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    level = head.level or "ANY"
    return f"{level[0]}, [{head.time} #0] {level:>5} -- : "
