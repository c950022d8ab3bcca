"""Any line with a time and a level after it: ``2026-06-20 16:38:30,455 - app - ERROR - ...``, ``[2026-06-20T16:38:30Z] [WARN] ...``.

Source: the usual formats of Python's logging, loguru, log4j, zap, tracing and celery.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netlens.logs import _heads
from netlens.logs._words import whole

if TYPE_CHECKING:
    from netlens import logs

ID = "levelled"
PROGRAM = "any"
RANK = 600
CHAINED = False

_HEAD = re.compile(rf"{_heads.TIME}[\s:|,\]\[-]{{1,8}}(?:[\w.]{{1,60}}(?::\d{{1,5}})?[\s:|,\]\[-]{{1,8}})?\b{_heads.LEVEL}\b", re.ASCII)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    return f"{head.time} {head.level}"
