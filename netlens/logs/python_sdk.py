"""Python's logging of the OpenAI and Anthropic SDKs and of httpx: ``2026-08-01 07:11:18,422 [INFO] httpx: HTTP Request: POST ... "HTTP/1.1 429 ..."``.

Time, level and logger stand in any of the usual orders. Local time unless a zone is named. httpx (since 2026 httpx2) writes a line for each answer, at
level INFO, so that retries that the SDKs make by themselves are there too. urllib3, and so requests, does at level DEBUG, with the length at the end:
``https://... "POST /... HTTP/1.1" 429 114``.

Source: the packages openai 3.57 and anthropic 2.14, run against a stand-in; docs.python.org/3/library/logging.html; urllib3's
``connectionpool.py``.
"""

import re

from netlens import logs
from netlens.logs import _heads

ID = "python-sdk"
PROGRAM = "OpenAI or Anthropic SDK for Python"
RANK = 80

_LOGGER = r"(?P<{0}>" + "|".join(sorted(map(re.escape, logs.CLIENTS), key=len, reverse=True)) + r")(?:\.\w{{1,40}}){{0,4}}(?::\d{{1,5}})?"
_BETWEEN = r"[\s:|,\]\[-]{1,8}"
_HEAD = re.compile(
    rf"{_heads.TIME}{_BETWEEN}(?:{_LOGGER.format('before')}{_BETWEEN}{_heads.LEVEL}\b|"
    rf"{_heads.LEVEL.replace('level', 'first')}(?:/[\w.-]{{1,40}})?{_BETWEEN}{_LOGGER.format('after')})[\s:|\]-]{{0,8}}",
    re.ASCII,
)
_STATUS = re.compile(r'"HTTP/\d(?:\.\d)? (?P<status>\d{3}) |HTTP/\d(?:\.\d)?" (?P<of_urllib3>\d{3}) (?:\d|None)')


def recognise(record: str) -> logs.Head | None:
    if (found := _HEAD.match(record)) is None:
        return None
    level = found["level"] or found["first"]
    fault = level != "DEBUG" or _heads.OF_URLLIB3.search(record, found.end(), found.end() + _heads.NEAR) is not None
    return logs.Head(found["time"], found.end(), fault, level, found["before"] or found["after"])


def said(rest: str) -> str:
    """The status that it names, not its URL; of other lines, all."""
    if (found := _STATUS.search(rest)) is not None:
        return f"status={found['status'] or found['of_urllib3']}"
    return "" if "HTTP Request: " in rest else rest


def write(head: logs.Head) -> str:
    return f"{head.time} - {head.service or 'httpx'} - {head.level} -"
