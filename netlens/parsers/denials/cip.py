"""CIP over EtherNet/IP (CIP volume 1, 3-5.6 and appendix B; volume 2, 2-3, 2-4): the general status with which a controller answers.

Ordinary: services, attributes and objects that a device does not have, for which programs ask at first, or instance by instance until there is none; what is
in that state already. Other refusals count where the same is asked twice.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "cip", "EtherNet/IP (CIP)"
OFTEN = 0.5  # clients ask for what a device need not have
AT = At(tcp=(44_818,))
_STATUS = {
    1: "connection failure", 2: "out of resources", 3: "invalid parameter value", 4: "path segment error", 5: "path destination unknown (no such tag)",
    7: "connection lost", 8: "service not supported", 9: "invalid attribute value", 0x0B: "already in that state", 0x0C: "object state conflict",
    0x0D: "object exists already", 0x0E: "attribute cannot be set", 0x0F: "privilege violation", 0x10: "device state conflict", 0x11: "reply too large",
    0x13: "not enough data", 0x14: "attribute not supported", 0x15: "too much data", 0x16: "object does not exist", 0x19: "store operation failure",
    0x1B: "no data received", 0x1C: "missing attribute list entry", 0x20: "invalid parameter", 0x26: "path size invalid",
}  # fmt: skip
DAILY = tuple(_STATUS[code] for code in (8, 0x0B, 0x0D, 0x11, 0x14, 0x16))
REPEATED = tuple(_STATUS.values())
_SENDS, _UNCONNECTED, _CONNECTED = (0x6F, 0x70), 0xB2, 0xB1
_ANSWER = 0x80  #: flag of the service


def inside(message: bytes) -> tuple[bytes, bytes]:
    """(number, request or answer) that the second item of a message carries."""
    if int.from_bytes(message[:2], "little") not in _SENDS or int.from_bytes(message[30:32], "little") != 2:
        raise IndexError
    at = 36 + int.from_bytes(message[34:36], "little")  # behind an item with the address
    kind, at = int.from_bytes(message[at : at + 2], "little"), at + 4
    if kind not in (_UNCONNECTED, _CONNECTED):
        raise IndexError
    number = message[at : at + 2] if kind == _CONNECTED else message[12:20]
    return number, message[at + (2 if kind == _CONNECTED else 0) :]


def read(message: bytes, length: int, /) -> str | None:
    """By the general status of an answer; that a part is missing yet (6), or that one of several services failed, grants the rest."""
    _, said = inside(message)
    if not said[0] & _ANSWER or said[1]:
        return None
    no = _STATUS.get(said[2])
    return f"{no} (status {said[2]:#04x})" if no else None if said[2] > 6 and said[2] != 0x1E else ""
