"""Messages of Cline and Roo Code, ``ui_messages.json``, one object a line: ``{"ts":1734690000123,"type":"say","say":"api_req_retry_delayed",...}``.

Epoch, milliseconds. The file is one array; ``jq -c '.[]' ui_messages.json`` makes lines of it. Only kinds of messages that the program itself writes
when a request failed are read.

Source: src/shared/ExtensionMessage.ts of cline/cline and packages/types/src/message.ts of RooCodeInc/Roo-Code.
"""

import re

from netlens import logs
from netlens.logs import _objects

ID = "cline"
PROGRAM = "Cline or Roo Code"
RANK = 40

_HEAD = re.compile(r'\{"ts":(?P<time>1\d{12}),"type":"(?:say|ask)"(?:,"(?:say|ask)":"(?P<kind>[a-z_]{1,40})")?')
_FAILED = frozenset({"api_req_failed", "api_req_retried", "api_req_retry_delayed", "error", "error_retry", "api_req_rate_limit_wait"})


def recognise(record: str) -> logs.Head | None:
    if (found := _HEAD.match(record)) is None:
        return None
    fault = found["kind"] in _FAILED
    return logs.Head(found["time"], 0, fault, "ERROR" if fault else "INFO")


said = _objects.told


def write(head: logs.Head) -> str:
    return f'{{"ts":{head.time},"type":"say","say":"{"error" if head.fault else "text"}"}}'
