"""SIP (RFC 3261 7.2, 21).

Ordinary: most 4xx and 6xx answer probes, negotiate or say what people do with a call (404, 486, 603). A kind of media or of body that one side does not take
(415, 488, 606) is offered in another way; it counts where a client hears nothing else.
"""

import re

from netlens.parsers.denials._kinds import At

ID, NAME = "sip", "SIP"
AT = At(tcp=(5060,), udp=(5060,), either=True)
DAILY = ("415", "488", "606")
CHALLENGES = ("401", "407")
_REFUSING = (403, 408, 415, 488, 606)
_METHOD = re.compile(rb"^(?:CSeq|cseq|CSEQ):\s*\d+\s+([A-Z]+)\b", re.MULTILINE)
_PROBE = b"OPTIONS"  # asks whether somebody is there; whoever answers is, unless it says that it is not well
_UNWELL = (408, 500, 502, 503, 504)


def read(message: bytes, length: int, /) -> str | None:
    """By the status."""
    status = message[8:11]
    if not message.startswith(b"SIP/2.0 ") or not status.isdigit() or message[11:12] not in (b" ", b"\r") or status[:1] == b"1":
        return None
    code, found = int(status), _METHOD.search(message)
    method = found[1] if found else b""
    if code in (401, 407):
        return str(code) if method in (b"REGISTER", b"INVITE") else None
    if method == _PROBE and code >= 400 and code not in _UNWELL:
        return None
    return "" if code < 400 else str(code) if code in _REFUSING or 500 <= code < 600 else None
