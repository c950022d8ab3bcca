"""Codex's log, ``~/.codex/log/codex-tui.log``, and its stderr: ``2026-06-10T01:55:01.699073Z  WARN codex_core::responses_retry: ... retrying ...``.

UTC, microseconds; with colours where it was meant for a terminal. Attempts that it retries by itself leave a line each only where the log's level lets them.

Source: lines quoted in the issues of openai/codex; the layout is that of docs.rs/tracing-subscriber.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "codex"
PROGRAM = "Codex"
RANK = 60

_HEAD = re.compile(
    rf"(?P<time>\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3,9}}Z)\s{{1,2}}{_heads.LEVEL}\s(?=(?:[\w-]{{1,40}}(?:\{{[^{{}}]{{0,400}}\}})?:)*\s?codex)",
    re.ASCII,
)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    return f"{head.time} {head.level:>5} codex:"
