"""litellm's own log, of library and proxy: ``12:34:56 - LiteLLM Proxy:ERROR: proxy_server.py:123 - litellm.RateLimitError: ...``.

It writes no date: the day is that of the capture. With ``json_logs`` it writes JSON lines.

Source: litellm/_logging.py of BerriAI/litellm.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "litellm"
PROGRAM = "litellm"
RANK = 70

_HEAD = re.compile(rf"{_heads.TIME}\s(?:\d\d:\d\d:\d\d )?- LiteLLM(?: Router| Proxy)?:{_heads.LEVEL}:", re.ASCII)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    return f"{head.time} - LiteLLM:{head.level}:"
