"""Modbus over TCP (Modbus Application Protocol 1.1b3, 7; Modbus Messaging on TCP/IP 3.1.3): an exception.

Ordinary: acknowledge (5) and busy (6), after which a client asks again. Who looks for devices, or for what they are, asks each unit and address once, or now
and then.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "modbus", "Modbus"
AT = At(tcp=(502,))
CHECKS, REPEATED = ("illegal data address",), ("illegal", "gateway")
_CODES = {1: "illegal function", 2: "illegal data address", 3: "illegal data value", 4: "server device failure", 8: "memory parity error",
          10: "gateway path not available", 11: "gateway target does not respond"}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """A response that fills its segment."""
    if len(message) < 9 or message[2:4] != b"\x00\x00" or int.from_bytes(message[4:6], "big") + 6 != length:
        return None
    if not message[7] & 0x80:
        return ""
    no = _CODES.get(message[8]) if length == 9 else None
    return f"{no} (exception {message[8]})" if no else None
