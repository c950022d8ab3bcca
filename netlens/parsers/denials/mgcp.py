"""MGCP (RFC 3435 2.4): a gateway or call agent that does not do what it is told.

Ordinary: a phone that is off the hook (401) or on it (402) already, codes below 300.
"""

import re

from netlens.parsers.denials._kinds import At

ID, NAME = "mgcp", "MGCP"
AT = At(udp=(2427, 2727), either=True)
DAILY = ("401", "402")
_CODES = {
    400: "transient error", 401: "off the hook", 402: "on the hook", 403: "no resources now", 404: "no bandwidth", 500: "endpoint unknown",
    501: "endpoint not ready", 502: "no resources", 504: "command not known", 510: "protocol error", 511: "extension not known",
    515: "connection unknown", 518: "package not known", 520: "endpoint restarts", 521: "another call agent",
}  # fmt: skip
_RESPONSE = re.compile(rb"([245]\d\d) \d{1,9}(?=[ \r\n]|$)")  # code and transaction; 1xx is provisional


def read(message: bytes, length: int, /) -> str | None:
    """By the code of a response."""
    found = _RESPONSE.match(message)
    if not found:
        return None
    code = int(found[1])
    return "" if code < 300 else f"{code} {_CODES[code]}" if code in _CODES else str(code)
