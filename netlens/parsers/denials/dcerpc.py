"""DCE/RPC over TCP (C706 12.6.3, 12.6.4; [MS-RPCE] 2.2.2): a fault, or a bind that is refused.

Ordinary: interfaces and operations that a server does not have. Only at the port of the endpoint mapper and where Windows has its services by default.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "dcerpc", "DCE/RPC"
AT = At(tcp=(135, *range(49664, 49684)))
_RESPONSE, _FAULT, _BIND_NAK = 2, 3, 13
_REASONS = {1: "temporary congestion", 2: "local limit exceeded", 8: "authentication type not supported", 9: "invalid checksum"}
_FAULTS = {5: "access denied", 0x721: "security package error"}


def read(message: bytes, length: int, /) -> str | None:
    """By the type of a little-endian PDU that is as long as it says."""
    if len(message) < 20 or message[:2] not in (b"\x05\x00", b"\x05\x01") or message[4:8] != b"\x10\x00\x00\x00":
        return None
    size = int.from_bytes(message[8:10], "little")
    if not 20 <= size <= length:
        return None
    if message[2] == _FAULT and size >= 28:
        no = _FAULTS.get(status := int.from_bytes(message[24:28], "little"))
        return f"{no} (fault 0x{status:X})" if no else None
    if message[2] == _BIND_NAK:
        return _REASONS.get(int.from_bytes(message[16:18], "little"))
    return "" if message[2] == _RESPONSE else None
