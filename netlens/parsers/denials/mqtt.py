"""MQTT (3.1.1: 3.2.2.3, 3.9.3; 5.0: 3.2.2.2, 3.14.2.1): a login or connection that is refused.

Ordinary: a server that shuts down or moves clients, a session that the client takes over itself, keep-alive that ran out.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "mqtt", "MQTT"
AT = At(tcp=(1883,))
_OLD = {
    0: "", 1: "protocol version not accepted", 2: "client identifier not accepted", 3: "server unavailable", 4: "bad user name or password",
    5: "not authorized",
}  # fmt: skip
_NEW = {0x80: "unspecified error", 0x81: "malformed packet", 0x82: "protocol error", 0x84: "protocol version not accepted",
        0x85: "client identifier not accepted",
        0x86: "bad user name or password", 0x87: "not authorized", 0x88: "server unavailable", 0x89: "server busy", 0x8A: "banned",
        0x8C: "bad authentication method", 0x93: "receive maximum exceeded", 0x95: "packet too large", 0x96: "message rate too high", 0x97: "quota exceeded",
        0x9F: "connection rate exceeded"}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """A CONNACK, or a DISCONNECT of version 5 by the server."""
    kind, size = message[0], message[1]
    if kind == 0x20 and size >= 2 and size < 0x80 and length >= size + 2 and message[2] <= 1:
        code = message[3]
        no = _OLD.get(code) if size == 2 else _NEW.get(code, None if code else "")
    elif kind == 0xE0 and 1 <= size < 0x80 and length == size + 2:
        code = message[2]
        no = _NEW.get(code)
    else:
        return None
    return f"{no} ({code})" if no else no
