"""Claude Code's debug log, ``~/.claude/debug/*.txt``: ``2026-01-10T12:34:56.789Z [ERROR] API error (attempt 1/11): 529 ...``.

UTC, milliseconds. Each refused attempt is a line with status and error type; continuation lines have no time.

Source: debug logs quoted in the issues of anthropics/claude-code.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "claude-code"
PROGRAM = "Claude Code"
RANK = 30

_HEAD = re.compile(rf"(?P<time>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z) \[{_heads.LEVEL}\]", re.ASCII)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    return f"{head.time} [{head.level}]"
