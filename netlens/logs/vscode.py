"""Output channels of Visual Studio Code, where Cline, Roo Code and others write: ``2026-01-10 12:34:56.789 [error] ...``.

Local time without a zone, milliseconds.

Source: what ``LogOutputChannel`` of code.visualstudio.com/api writes.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "vscode"
PROGRAM = "Cline or Roo Code"
RANK = 50

_HEAD = re.compile(r"(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) \[(?P<level>trace|debug|info|warning|error)\]", re.ASCII)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    return f"{head.time} [{head.level.lower()}]"
