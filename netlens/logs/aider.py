"""aider's screen with a time before each line (``aider ... 2>&1 | ts '%FT%T%z'``): ``2026-01-10T12:34:56+0100 litellm.RateLimitError: ...``.

The line of the error tells of the refusal; ``Retrying in 0.2 seconds...`` follows it.

Source: aider/coders/base_coder.py and aider/exceptions.py of Aider-AI/aider.
"""

import re

from netlens import logs
from netlens.logs import _heads
from netlens.logs._words import whole

ID = "aider"
PROGRAM = "aider"
RANK = 75

_HEAD = re.compile(rf"{_heads.TIME}\s(?:> )?(?=litellm\.\w{{1,40}}(?:Error|Exception)\b)", re.ASCII)

recognise = _heads.recogniser(_HEAD)
said = whole


def write(head: logs.Head) -> str:
    return f"{head.time} litellm.APIError"
