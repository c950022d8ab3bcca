"""SNMP 1 and 2c (RFC 3416 3, RFC 1157 4.1): an error-status in a response; SNMPv3 (RFC 3412 6, RFC 3414 3.2): a report why the agent takes no request.

Ordinary: what is not there (2, or a value that says so: RFC 3416 3), unless a manager hears nothing else from an agent, again and again (64-bit counters, which
version 1 does not have: RFC 2578 7.1.10; noSuchInstance is a warning, as a table may be empty); the end of a walk by version 1 (RFC 1157 4.1.3); too big (1:
the manager asks for less), values that an agent cannot read (5). A manager of version 3 learns by reports which engine it talks to and what time that has (RFC
3414 4); one report of another kind may be a typing error, so these count where nothing else is said, again and again.
"""

from netlens.parsers.ber import ber, ber_int
from netlens.parsers.denials._kinds import At

ID, NAME = "snmp", "SNMP"
AT = At(udp=(161,))
CHALLENGES = ("report:", "not there:")
DAILY = ("not there: noSuchInstance",)
_STATUS = {
    0: "", 3: "badValue", 4: "readOnly", 6: "noAccess", 7: "wrongType", 8: "wrongLength", 9: "wrongEncoding", 10: "wrongValue", 11: "noCreation",
    12: "inconsistentValue", 13: "resourceUnavailable", 14: "commitFailed", 15: "undoFailed", 16: "authorizationError", 17: "notWritable",
    18: "inconsistentName",
}  # fmt: skip
#: What a report counts, by the last but one number of its name (RFC 3414 5, usmStats); 2 and 4 are how a manager learns time and engine
_USM = b"\x2b\x06\x01\x06\x03\x0f\x01\x01"
_REPORTS = {1: "report: security level not supported", 3: "report: user not known", 5: "report: wrong digest (password)",
            6: "report: cannot be decrypted (password)"}  # fmt: skip
_REPORT, _ENCRYPTED = 0xA8, 2
_NO_SUCH_NAME = 2
_MISSING = {0x80: "not there: noSuchObject", 0x81: "not there: noSuchInstance"}


def read(message: bytes, length: int, /) -> str | None:
    """The error-status of a GetResponse (a Response of SNMPv2)."""
    tag, at, end = ber(message, 0)
    if tag != 0x30 or end != length:
        return None
    version, at = ber_int(message, at)
    tag, _, at = ber(message, at)
    if version == 3 and tag == 0x30:
        return _version_3(message, length)
    if version > 1 or tag != 4:
        return None
    tag, at, end = ber(message, at)
    if tag != 0xA2 or end != length:
        return None
    _, at = ber_int(message, at)
    status, at = ber_int(message, at)
    if status == _NO_SUCH_NAME and version == 0:
        return "not there: noSuchName (2)"
    if not status and (missing := _missing(message, at)):
        return missing
    no = _STATUS.get(status) if status <= max(_STATUS) else "unknown error-status"
    return f"{no} ({status})" if no else no


def _missing(message: bytes, at: int) -> str | None:
    """What stands in place of a value, if there is no value at all.  at : of the error-index."""
    _, at = ber_int(message, at)
    _, at, _ = ber(message, at)
    found = None
    while at < len(message):
        _, name, at = ber(message, at)
        _, _, value = ber(message, name)
        found = _MISSING.get(message[value])
        if found is None:
            return None
    return found


def _version_3(message: bytes, length: int) -> str | None:
    """What an agent encrypts, or answers, it grants."""
    _, at, _ = ber(message, 0)
    _, at = ber_int(message, at)
    _, header, at = ber(message, at)
    _, header = ber_int(message, header)
    _, header = ber_int(message, header)
    _, flags, _ = ber(message, header)
    _, _, at = ber(message, at)  # what the security model needs
    if message[flags] & _ENCRYPTED:
        return ""
    _, at, _ = ber(message, at)
    _, _, at = ber(message, at)  # engine
    _, _, at = ber(message, at)  # context
    pdu, _, end = ber(message, at)
    if pdu != _REPORT or end != length:
        return "" if pdu == 0xA2 and end == length else None
    found = message.find(b"\x06\x0a" + _USM, at)
    return _REPORTS.get(message[found + 2 + len(_USM)]) if found >= 0 else None
