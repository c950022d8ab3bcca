"""Any line with a time behind a level, a priority or something in brackets: ``[ERROR] 2026-06-20T16:38:30Z ...``, ``<11>1 2026-06-20T16:38:30Z host app ...``,
``[pod/agent-1/agent] 2026-06-20T16:38:30Z ...``.

Without a level, any line may tell of a refusal. A time behind any other word is no head: what is printed below a record may tell of times.

Source: RFC 5424 and RFC 3164 (a priority in angle brackets), Django's usual format, uvicorn, AWS Lambda, ``kubectl logs --prefix``.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "prefixed"
PROGRAM = "any"
RANK = 700

_BRACKETS = r"(?:\[(?!\d{2,4}[-/:.])[^\]\n]{1,60}\][ \t]{1,4}){1,3}"
_HEAD = re.compile(rf"(?:<\d{{1,3}}>(?:1 )?|[DIWEFA], |\[?{_heads.LEVEL}\]?:?[ \t]{{1,8}}|{_BRACKETS}){_heads.TIME}(?!\d|\.|:\d)", re.ASCII)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    return f"[{head.level or '-'}] {head.time}"
