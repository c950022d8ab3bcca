"""Any line with a time and a level after it: ``2026-06-20 16:38:30,455 - app - ERROR - ...``, ``[2026-06-20T16:38:30Z] [WARN] ...``.

Source: the usual formats of Python's logging, loguru, log4j, zap, tracing and celery.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "levelled"
PROGRAM = "any"
RANK = 600

_HEAD = re.compile(rf"{_heads.TIME}[\s:|,\"\]\[-]{{1,8}}(?:[\w.]{{1,60}}(?::\d{{1,5}})?[\s:|,\]\[-]{{1,8}})?\b{_heads.LEVEL}\b", re.ASCII)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    return f"{head.time} {head.level}"
