"""RTSP (RFC 2326 7.1.1, 11).

Ordinary: 401, which asks for credentials; methods and options that a server does not know (405, 501, 551). A transport that it does not take (461) is offered
in another way, as over TCP; it counts where a client hears nothing else from that server. What grants that is a session (12.37), no description.
"""

import re

from netlens.parsers.denials._kinds import KNOWN, At

ID, NAME = "rtsp", "RTSP"
AT = At(tcp=(554, 8554))
DAILY, APART = ("461",), True
_REFUSING = (b"403", b"404", b"408", b"453", b"454", b"461", b"500", b"502", b"503", b"504", b"505")
_SESSION = re.compile(rb"\nSession[ \t]*:", re.IGNORECASE)


def read(message: bytes, length: int, /) -> str | None:
    """By the status."""
    status = message[9:12]
    if not message.startswith(b"RTSP/1.0 ") or message[12:13] not in (b" ", b"\r"):
        return None
    if status[:1] == b"2":
        return "" if _SESSION.search(message) else KNOWN
    no = status.decode() if status in _REFUSING else None
    return f"{no} unsupported transport" if no == "461" else no
