"""MQTT (3.1.1: 3.2.2.3, 3.9.3; 5.0: 3.2.2.2, 3.4.2.1, 3.9.3, 3.14.2.1): a login, connection, subscription or message that is refused.

Ordinary: a server that shuts down or moves clients, a session that the client takes over itself, keep-alive that ran out.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "mqtt", "MQTT"
AT = At(tcp=(1883,))
_OLD = {
    0: "", 1: "protocol version not accepted", 2: "client identifier not accepted", 3: "server unavailable", 4: "bad user name or password",
    5: "not authorized",
}  # fmt: skip
_NEW = {
    0x80: "unspecified error", 0x81: "malformed packet", 0x82: "protocol error", 0x84: "protocol version not accepted",
    0x85: "client identifier not accepted", 0x86: "bad user name or password", 0x87: "not authorized", 0x88: "server unavailable", 0x89: "server busy",
    0x8A: "banned", 0x8C: "bad authentication method", 0x8F: "topic filter not valid", 0x90: "topic name not valid", 0x93: "receive maximum exceeded",
    0x95: "packet too large", 0x96: "message rate too high", 0x97: "quota exceeded", 0x99: "payload format not valid",
    0x9E: "shared subscriptions not supported", 0x9F: "connection rate exceeded", 0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}  # fmt: skip
_REFUSED = 0x80  #: codes from here on are failures (5.0: 2.4)
_CONNACK, _PUBACK, _PUBREC, _SUBACK, _DISCONNECT = 0x20, 0x40, 0x50, 0x90, 0xE0


def read(message: bytes, length: int, /) -> str | None:
    """A CONNACK, or a SUBACK that grants; alone, as a segment amid a long message may look like anything, a SUBACK, PUBACK or PUBREC that refuses, or a
    DISCONNECT of version 5 by the server."""
    kind, size = message[0], message[1]
    alone = length == size + 2
    if size >= 0x80 or length < size + 2:
        return None
    if kind == _CONNACK and size >= 2 and message[2] <= 1:
        code = message[3]
        no = _OLD.get(code) if size == 2 else _NEW.get(code, None if code else "")
    elif kind == _SUBACK and size >= 3 and len(message) >= size + 2:
        # version 5 has the length of properties first, which is 0, or more than any that 3.1.1 grants
        codes = message[4 if message[4] < 3 or message[4] >= _REFUSED else 5 + message[4] : size + 2]
        code = max(codes, default=0xFF)
        no = "" if code < _REFUSED else f"subscription: {_NEW[code]}" if alone and code in _NEW else None
    elif kind in (_PUBACK, _PUBREC) and size >= 3 and alone:
        code = message[4]
        no = f"message: {_NEW[code]}" if code in _NEW else None
    elif kind == _DISCONNECT and size and alone:
        code = message[2]
        no = _NEW.get(code)
    else:
        return None
    return f"{no} ({code})" if no else no
