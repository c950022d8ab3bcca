"""BACnet/IP (ASHRAE 135-2020: clauses 5.4, 6.2, 20.1, 21; annex J): errors, rejections and abortions of a device.

Ordinary: properties, array elements and functions that a device does not have, and answers too long for one message, after which a client asks another way
(18.5 to 18.9; who browses a device tries what is optional). Other refusals count where the same is asked twice.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "bacnet", "BACnet"
OFTEN = 0.5  # clients ask for what a device need not have
AT = At(udp=(47_808,), peers=True)
_ERRORS = {
    2: "configuration in progress", 3: "device busy", 9: "invalid data type", 16: "missing required parameter", 17: "object deletion not permitted",
    18: "object identifier already exists", 20: "no space to write", 23: "object type cannot be created", 25: "operational problem", 26: "password failure",
    27: "read access denied", 29: "service request denied", 30: "timeout", 31: "unknown object", 32: "unknown property", 36: "unsupported object type",
    37: "value out of range", 40: "write access denied", 42: "no such array index", 43: "COV subscription failed", 44: "no COV for this property",
    45: "optional function not supported", 48: "duplicate name", 49: "duplicate object identifier", 50: "property is no array", 70: "unknown device",
    85: "access denied",
}  # fmt: skip
_REJECTED = {
    1: "buffer overflow", 2: "inconsistent parameters", 3: "invalid parameter type", 4: "invalid tag", 5: "missing required parameter",
    6: "parameter out of range", 7: "too many arguments", 8: "undefined enumeration", 9: "unrecognized service",
}  # fmt: skip
_ABORTED = {
    1: "buffer overflow", 4: "segmentation not supported", 5: "security error", 9: "out of resources", 10: "timeout", 11: "reply too long",
}  # fmt: skip
_ORDINARY = ("unknown property", "no such array index", "no COV", "optional function", "property is no array", "unrecognized service", "buffer overflow",
             "too many arguments", "segmentation not", "reply too long")  # fmt: skip
DAILY = tuple(f"{kind}: {no}" for kind in ("error", "rejected", "aborted") for no in _ORDINARY)
REPEATED = ("error:", "rejected:", "aborted:")
_SIMPLE_ACK, _COMPLEX_ACK, _ERROR, _REJECT, _ABORT = 2, 3, 5, 6, 7  #: upper half of a message's first byte
_FORWARDED, _DESTINATION, _SOURCE = 4, 0x20, 0x08


def service(message: bytes) -> bytes:
    """A message behind the headers of its link and network; empty if it is one of the network layer."""
    if message[0] != 0x81:
        return b""
    at = 10 if message[1] == _FORWARDED else 4
    control, at = message[at + 1], at + 2
    for there in (control & _DESTINATION, control & _SOURCE):
        at += 3 + message[at + 2] if there else 0
    return b"" if control & 0x80 else message[at + (1 if control & _DESTINATION else 0) :]


def read(message: bytes, length: int, /) -> str | None:
    """By the kind of a message and the error's code, or the reason."""
    if length != int.from_bytes(message[2:4], "big"):
        return None
    said = service(message)
    kind = said[0] >> 4
    if kind in (_SIMPLE_ACK, _COMPLEX_ACK):
        return ""
    if kind == _REJECT:
        return f"rejected: {_REJECTED[said[2]]} ({said[2]})" if said[2] in _REJECTED else None
    if kind == _ABORT:
        return f"aborted: {_ABORTED[said[2]]} ({said[2]})" if said[2] in _ABORTED else None
    if kind != _ERROR:
        return None
    at = 4 if said[3] & 0xF8 == 0x08 else 3  # an opening tag, where a service says more than the error
    at += 1 + (said[at] & 7)  # its class; then its code
    code = int.from_bytes(said[at + 1 : at + 1 + (said[at] & 7)], "big")
    return f"error: {_ERRORS[code]} ({code})" if said[at] >> 3 == 0x12 and code in _ERRORS else None
