"""OPC UA (part 4 7.34, 5.10.2, 5.10.4, 5.11.2, 5.12.2; part 6 5.2.2.9, 6.7, 7.1.2.5): an error, a fault, and what each result of a read, write, call or
monitored item says where nothing was encrypted, as the type behind the headers shows.

Ordinary: attributes that a node does not have, for which browsers ask, and values that are not there yet. Refusals of reads, writes, calls and items to be
monitored count where the same node is asked for twice.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "opc-ua", "OPC UA"
OFTEN = 0.5  # clients ask for what a device need not have
AT = At(tcp=(4840,))
_STATUS = {
    0x80020000: "BadInternalError", 0x80030000: "BadOutOfMemory", 0x80040000: "BadResourceUnavailable", 0x80050000: "BadCommunicationError",
    0x800A0000: "BadTimeout", 0x800B0000: "BadServiceUnsupported", 0x800D0000: "BadServerNotConnected",
    0x800E0000: "BadServerHalted", 0x80120000: "BadCertificateInvalid", 0x80130000: "BadSecurityChecksFailed", 0x80140000: "BadCertificateTimeInvalid",
    0x80160000: "BadCertificateHostNameInvalid", 0x80170000: "BadCertificateUriInvalid", 0x80180000: "BadCertificateUseNotAllowed",
    0x801A0000: "BadCertificateUntrusted", 0x801D0000: "BadCertificateRevoked", 0x801F0000: "BadUserAccessDenied", 0x80200000: "BadIdentityTokenInvalid",
    0x80210000: "BadIdentityTokenRejected", 0x80310000: "BadNoCommunication", 0x80330000: "BadNodeIdInvalid", 0x80340000: "BadNodeIdUnknown",
    0x80360000: "BadIndexRangeInvalid", 0x803A0000: "BadNotReadable", 0x803B0000: "BadNotWritable", 0x803C0000: "BadOutOfRange",
    0x803D0000: "BadNotSupported", 0x803E0000: "BadNotFound", 0x80540000: "BadSecurityModeRejected", 0x80550000: "BadSecurityPolicyRejected",
    0x80560000: "BadTooManySessions",
    0x80580000: "BadApplicationSignatureInvalid", 0x80730000: "BadWriteNotSupported", 0x80740000: "BadTypeMismatch", 0x80750000: "BadMethodInvalid",
    0x807D0000: "BadTcpServerTooBusy", 0x80800000: "BadTcpMessageTooLarge", 0x80810000: "BadTcpNotEnoughResources",
    0x80830000: "BadTcpEndpointUrlInvalid", 0x808A0000: "BadNotConnected", 0x808B0000: "BadDeviceFailure", 0x808C0000: "BadSensorFailure",
    0x808D0000: "BadOutOfService",
}  # fmt: skip
REPEATED = ("read:", "write:", "call:", "monitored item:")
_FAULT, _ACTIVATED, _READ, _WRITE, _CALL, _ITEMS = 397, 470, 634, 676, 715, 754  # types of answers
_RESULTS = {_READ: "read", _WRITE: "write", _CALL: "call", _ITEMS: "monitored item"}
_LENGTHS = {_WRITE: 4, _ITEMS: 23}  #: of a result, of an item if it tells nothing of its filter
_BAD, _STATUS_ALONE, _VALUE = 0x80000000, 2, 1
_STAMPS = ((4, 8), (0x10, 2), (8, 8), (0x20, 2))  #: which flags say that more stands behind a status, and its bytes


def read(message: bytes, length: int, /) -> str | None:
    """By the type of a message; of results what the first says, if all are bad."""
    if message[:4] == b"ERRF":
        return _STATUS.get(_number(message, 8))
    if message[:4] != b"MSGF" or message[24:26] != b"\x01\0" or len(message) < 44:
        return None
    kind, status = _number(message, 26, 2), _number(message, 40)
    if kind == _FAULT:
        return _STATUS.get(status)
    if kind == _ACTIVATED:
        return None if status else ""
    if kind not in _RESULTS or status or message[44] or len(message) < 56:
        return None
    at = 49 if _number(message, 45) in (0, 0xFFFFFFFF) else length  # behind a table of strings
    results, at = _number(message, at + 3), at + 7
    first = 0
    for _ in range(results if kind != _CALL else min(results, 1)):
        flags = message[at] if kind == _READ else _STATUS_ALONE
        empty = kind == _READ and flags & _VALUE and message[at + 1] == 0  # a value of no type
        place = at + 1 + bool(empty) if kind == _READ else at
        status = _number(message, place) if flags & _STATUS_ALONE else 0
        if not status & _BAD or (flags & _VALUE and not empty):
            return ""
        first = first or status
        at = place + 4 + sum(size for flag, size in _STAMPS if flags & flag) if kind == _READ else at + _LENGTHS.get(kind, 0)
    return f"{_RESULTS[kind]}: {_STATUS[first]}" if first in _STATUS else None


def _number(message: bytes, at: int, size: int = 4) -> int:
    if at + size > len(message):
        raise IndexError
    return int.from_bytes(message[at : at + size], "little")


def node(message: bytes) -> bytes:
    """Kind of request, and which node it begins with; empty of what reads, writes, calls and monitors none."""
    behind = {631: 16, 673: 4, 712: 4, 751: 12}.get(_number(message, 26, 2))  # what stands before the first node
    if behind is None:
        return b""
    at = _behind_node(message, 28) + 16  # time, handle, diagnostics
    audited = _number(message, at)
    at += 4 + (0 if audited == 0xFFFFFFFF else audited) + 4 + 3 + behind
    return message[26:28] + message[at : _behind_node(message, at) + 4]  # and the attribute, or the method


def _behind_node(message: bytes, at: int) -> int:
    """Where an identifier of a node ends (part 6 5.2.2.9)."""
    kind = message[at] & 0x3F
    if kind in (3, 5):
        return at + 7 + _number(message, at + 3)
    return at + {0: 2, 1: 4, 2: 7, 4: 19}.get(kind, len(message))
