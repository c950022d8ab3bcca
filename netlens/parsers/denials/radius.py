"""RADIUS (RFC 2865 3, 4; RFC 5176 2), and fatal alerts of TLS that a client sends through it inside EAP (RFC 3579 3.1, RFC 5216 2.1.3), which refuse the
server.

Ordinary: Access-Challenge; single Access-Rejects, and those at even pauses that probes of switches get; they count where a client hears nothing else.
"""

from netlens.parsers.denials._kinds import At
from netlens.parsers.records import ALERTS

ID, NAME = "radius", "RADIUS"
AT = At(udp=(1645, 1812, 3799), either=True)
DAILY = CHECKS = ("Access-Reject",)
VAIN = (("Access-Reject", 3),)
_REQUEST = 1
_CODES = {2: "", 41: "", 44: "", 3: "Access-Reject", 42: "Disconnect-NAK", 45: "CoA-NAK"}
_EAP, _RESPONSE = 79, 2  #: the attribute, and the code of what a client says
_OVER_TLS = (13, 21, 25, 43, 55)  #: EAP-TLS, TTLS, PEAP, FAST, TEAP
_LENGTH = 0x80  #: flag: four bytes of length follow (RFC 5216 3.1)


def read(message: bytes, length: int, /) -> str | None:
    """By the code of a packet whose length fits."""
    if len(message) < 20 or int.from_bytes(message[2:4], "big") != length:
        return None
    return _alert(message) if message[0] == _REQUEST else _CODES.get(message[0])


def _alert(message: bytes) -> str | None:
    """The fatal alert in a client's EAP message; None without."""
    at = 20
    while message[at] != _EAP:
        at += max(message[at + 1], 2)
    eap = message[at + 2 : at + message[at + 1]]
    if eap[0] != _RESPONSE or eap[4] not in _OVER_TLS:
        return None
    record = eap[10:] if eap[5] & _LENGTH else eap[6:]
    fatal = record[:2] == b"\x15\x03" and record[3:6] == b"\x00\x02\x02"
    return f"{ALERTS[record[6]]} by the client (TLS inside EAP)" if fatal and record[6] in ALERTS else None
