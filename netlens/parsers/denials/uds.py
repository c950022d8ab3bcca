"""Diagnostics of vehicles (UDS, ISO 14229-1:2020 A.1): a service that a control unit refuses.

Ordinary: the unit asks for time (0x78, 0x21), and has no such identifier (0x31), which testers try. Frames of CAN are handed over by
:mod:`netlens.parsers.vehicles`, messages of DoIP by :mod:`netlens.parsers.denials.doip`.
"""

from netlens.parsers.denials._kinds import At
from netlens.parsers.denials.doip import carried

ID, NAME = "uds", "UDS"
OFTEN = 0.5  # clients ask for what a device need not have
AT = At()
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
_DIAGNOSTIC = 0x8001  #: type of payload of DoIP


def said(response: bytes) -> str | None:
    """What a control unit answers: the refusal in words, "" if it does what was asked, None if that is still open."""
    if response[0] != NEGATIVE:
        return "" if response[0] & ANSWERS else None
    no = _NO.get(response[2])
    return f"{no} ({response[2]:#04x})" if no else None


def read(message: bytes, length: int, /) -> str | None:
    """A message of DoIP that carries one of diagnostics."""
    kind, behind = carried(message, length)
    return said(behind) if kind == _DIAGNOSTIC else None
