"""SOCKS 4 and 5 (RFC 1928 3, 6; RFC 1929 2; SOCKS 4 by Lee): the proxy cannot or will not connect.

Ordinary: a method of login that the client then uses.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "socks", "SOCKS"
AT = At(tcp=(1080,), within=(0, 64))
ASIDE = ("network unreachable", "host unreachable", "connection refused", "TTL expired")
_FIVE = {0: "", 1: "general failure", 2: "not allowed by the rules", 3: "network unreachable", 4: "host unreachable", 5: "connection refused", 6: "TTL expired",
         7: "command not supported", 8: "address type not supported"}  # fmt: skip
_FOUR = {90: "", 91: "rejected or failed", 92: "no identd at the client", 93: "identd says another user"}
_LENGTHS = {1: 10, 4: 22}


def read(message: bytes, length: int, /) -> str | None:
    """A reply that fills its segment."""
    if message[:2] == b"\x05\xff" and length == 2:
        return "no acceptable login method"
    if message[:1] == b"\x01" and length == 2:
        return "login refused" if message[1] else None
    if message[:1] == b"\x05" and message[2] == 0 and length == (_LENGTHS.get(message[3]) or (message[3] == 3 and 7 + message[4])):
        return _FIVE.get(message[1])
    return _FOUR.get(message[1]) if message[:1] == b"\x00" and length == 8 else None
