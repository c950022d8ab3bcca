"""The OpenAI and Anthropic SDKs for JavaScript with a time before each line: ``... [log_be829a] post https://... failed with status 429 in 123ms - retrying``.

They write so at log level ``info`` (``OPENAI_LOG=info``, ``ANTHROPIC_LOG=info``), a line for each answer, and no time: something must put it there
(``... 2>&1 | ts '%FT%.T%z'``).

Source: the packages openai 6.49 and @anthropic-ai/sdk, run against a stand-in.
"""

import re

from netlens import logs
from netlens.logs import _heads

ID = "javascript-sdk"
PROGRAM = "OpenAI or Anthropic SDK for JavaScript"
RANK = 85

_HEAD = re.compile(rf"{_heads.TIME}\s\[log_[0-9a-f]{{1,12}}(?:, retryOf: log_[0-9a-f]{{1,12}})?\]", re.ASCII)
_STATUS = re.compile(r" (?:failed|succeeded) with status (?P<status>\d{3}) in (?P<ms>\d{1,9})ms")

recognise = _heads.recogniser(_HEAD)


def said(rest: str) -> str:
    """The status that it names, not its URL; of what was made by the recorder, all."""
    if (found := _STATUS.search(rest)) is not None:
        return f"status={found['status']}"
    return "" if "://" in rest else rest


def write(head: logs.Head) -> str:
    return f"{head.time} [log_0]"
