"""Any line with a time and a level after it: ``2026-06-20 16:38:30,455 - app - ERROR - ...``, ``[2026-06-20T16:38:30Z] [WARN] ...``.

Source: the usual formats of Python's logging, loguru, log4j, zap, tracing and celery.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from netlens.logs import _heads
from netlens.logs._words import read_words

if TYPE_CHECKING:
    from netlens import logs

ID = "levelled"
PROGRAM = "any"
RANK = 600
CHAINED = False

_HEAD = re.compile(rf"{_heads.TIME}[\s:|,\]\[-]{{1,8}}(?:[\w.]{{1,60}}(?::\d{{1,5}})?[\s:|,\]\[-]{{1,8}})?\b{_heads.LEVEL}\b", re.ASCII)


def recognise(record: str) -> logs.Head | None:
    found = _HEAD.match(record)
    return _heads.head(found) if found else None


def read(head: logs.Head, rest: str) -> logs.Refusal | None:
    return read_words(rest)


def said(rest: str) -> str:
    return rest


def write(head: logs.Head) -> str:
    return f"{head.time} {head.level}"
