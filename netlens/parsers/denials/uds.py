"""Diagnostics of vehicles (UDS, ISO 14229-1:2020 A.1) by IP (DoIP, ISO 13400-2:2019 7, 9): a service that a control unit refuses, and a tester that a gateway
turns away.

Ordinary: the unit asks for time (0x78, 0x21), and has no such identifier (0x31), which testers try. Frames of CAN are handed over by
:mod:`netlens.parsers.vehicles`.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "uds", "UDS"
AT = At(tcp=(13400,))
DAILY = ("request out of range",)
NEGATIVE, ANSWERS = 0x7F, 0x40  #: how a refusal begins; what a positive response adds to the service's number
_NO = {
    0x10: "general reject", 0x11: "service not supported", 0x12: "sub-function not supported", 0x13: "incorrect length or format", 0x14: "response too long",
    0x22: "conditions not correct", 0x24: "request sequence error", 0x25: "no response from a subnet", 0x26: "a failure prevents it",
    0x31: "request out of range",
    0x33: "no security access", 0x34: "authentication required", 0x35: "invalid key", 0x36: "too many attempts", 0x37: "required time delay not expired",
    0x70: "upload or download not accepted", 0x71: "transfer suspended", 0x72: "general programming failure", 0x73: "wrong block sequence counter",
    0x7E: "sub-function not supported in this session", 0x7F: "service not supported in this session", 0x92: "voltage too high", 0x93: "voltage too low",
}  # fmt: skip
_ROUTING, _DIAGNOSTIC, _NOT_PASSED_ON = 0x0006, 0x8001, 0x8003  # types of payload of DoIP
_ACTIVATED, _CONFIRM = 0x10, 0x11
_ROUTES = {0: "unknown source address", 1: "no socket free", 2: "another source address on this connection", 3: "source address in use elsewhere",
           4: "authentication missing", 5: "confirmation rejected", 6: "activation type not supported", 7: "TLS required"}  # fmt: skip
_NOT_PASSED = {2: "invalid source address", 3: "unknown target address", 4: "message too large", 5: "out of memory", 6: "target unreachable",
               7: "unknown network", 8: "transport protocol error"}  # fmt: skip


def said(response: bytes) -> str | None:
    """What a control unit answers: the refusal in words, "" if it does what was asked, None if that is still open."""
    if response[0] != NEGATIVE:
        return "" if response[0] & ANSWERS else None
    no = _NO.get(response[2])
    return f"{no} ({response[2]:#04x})" if no else None


def read(message: bytes, length: int, /) -> str | None:
    """A message of DoIP that fills its segment."""
    if len(message) < 9 or message[0] ^ message[1] != 0xFF or int.from_bytes(message[4:8], "big") + 8 != length:
        return None
    kind = int.from_bytes(message[2:4], "big")
    if kind == _ROUTING:
        code = message[12]
        return "" if code in (_ACTIVATED, _CONFIRM) else f"routing activation: {_ROUTES[code]} ({code:#04x})" if code in _ROUTES else None
    if kind == _NOT_PASSED_ON:
        return f"not passed on: {_NOT_PASSED[message[12]]} ({message[12]:#04x})" if message[12] in _NOT_PASSED else None
    return said(message[12:]) if kind == _DIAGNOSTIC else None
