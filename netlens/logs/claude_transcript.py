"""Claude Code's transcript, ``~/.claude/projects/*/*.jsonl``: ``{"type":"system","subtype":"api_error","error":{"status":529},"retryInMs":558.9,...}``.

One object a line, UTC milliseconds. Each refused attempt is a record of subtype ``api_error``; the last one is an assistant's record with
``isApiErrorMessage``. All other records hold what people and models wrote, so only these two are read.

Source: transcripts described in tests of public programs that read them, and the issues of anthropics/claude-code.
"""

import re

from netlens import logs
from netlens.logs import _objects

ID = "claude-transcript"
PROGRAM = "Claude Code"
RANK = 31

_KIND = re.compile(r'[{,]\s?"type"\s?:\s?"(?:system|assistant|user|summary|progress|attachment|queue-operation|file-history-snapshot)"')
_ERROR = re.compile(r'[{,]\s?"(?:subtype"\s?:\s?"api_error"|isApiErrorMessage"\s?:\s?true)')
_TOLD = re.compile(r'"text"\s?:\s?"(API Error: (?:[^"\\]|\\.){0,400})')  #: in place of what a model would have said


def recognise(record: str) -> logs.Head | None:
    if record[:1] != "{" or _KIND.search(record) is None or (found := _objects.recognise(record)) is None:
        return None
    fault = _ERROR.search(record) is not None
    return logs.Head(found.time, 0, fault, "ERROR" if fault else "INFO")


def said(rest: str) -> str:
    told = _TOLD.search(rest)
    return " ".join([_objects.told(rest), *([told[1]] if told else [])])


def write(head: logs.Head) -> str:
    subtype = ',"subtype":"api_error"' if head.fault else ""
    return f'{{"type":"system"{subtype},"timestamp":"{head.time}"}}'
