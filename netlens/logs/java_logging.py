"""Logs of Java's own logging: ``Nov 30, 2026 12:30:53 PM com.acme.Agent run`` and, a line below, ``SEVERE: status 429``.

The two lines are one record (``netlens/logs/_tracebacks.py`` joins them). Java 20 and later write a narrow blank before AM and PM.

Source: docs.oracle.com, java.util.logging.SimpleFormatter, its default format.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "java-logging"
PROGRAM = "any"
RANK = 590

_HEAD = re.compile(rf"{_heads.TIME} (?:[^\s:]{{1,200}} ){{0,3}}(?P<level>SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ", re.ASCII)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    return f"{head.time} {'SEVERE' if head.level == 'ERROR' else head.level or 'INFO'}: "
