"""SNMP 1 and 2c (RFC 3416 3, RFC 1157 4.1): an error-status in a response.

Ordinary: what is not there (2), too big (1: the manager asks for less), values that an agent cannot read (5).
"""

from netlens.parsers.ber import ber, ber_int
from netlens.parsers.denials._kinds import At

ID, NAME = "snmp", "SNMP"
AT = At(udp=(161,))
_STATUS = {
    0: "", 3: "badValue", 4: "readOnly", 6: "noAccess", 7: "wrongType", 8: "wrongLength", 9: "wrongEncoding", 10: "wrongValue", 11: "noCreation",
    12: "inconsistentValue", 13: "resourceUnavailable", 14: "commitFailed", 15: "undoFailed", 16: "authorizationError", 17: "notWritable",
    18: "inconsistentName",
}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """The error-status of a GetResponse (a Response of SNMPv2)."""
    tag, at, end = ber(message, 0)
    if tag != 0x30 or end != length:
        return None
    version, at = ber_int(message, at)
    tag, _, at = ber(message, at)
    if version > 1 or tag != 4:
        return None
    tag, at, end = ber(message, at)
    if tag != 0xA2 or end != length:
        return None
    _, at = ber_int(message, at)
    status, _ = ber_int(message, at)
    no = _STATUS.get(status) if status <= max(_STATUS) else "unknown error-status"
    return f"{no} ({status})" if no else no
