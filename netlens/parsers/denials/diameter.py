"""Diameter (RFC 6733 3, 4.1, 7.1).

Ordinary: logins of several rounds (1001), redirects (3006).
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "diameter", "Diameter"
AT = At(tcp=(3868,))
_CODES = {3001: "command not supported", 3002: "unable to deliver", 3003: "realm not served", 3004: "too busy",
          3005: "loop", 3007: "application not supported",
          3010: "unknown peer", 4001: "authentication rejected", 4002: "out of space", 4003: "election lost", 5001: "AVP not supported",
          5002: "unknown session",
          5003: "authorization rejected", 5004: "invalid AVP value", 5005: "missing AVP", 5006: "resources exceeded", 5010: "no common application",
          5011: "version not supported", 5012: "unable to comply", 5017: "no common security", 5030: "user not known"}  # fmt: skip
_RESULT, _VENDOR = 268, 0x80


def read(message: bytes, length: int, /) -> str | None:
    """The Result-Code of an answer."""
    if len(message) < 20 or message[0] != 1 or message[4] & 0x8F or not 20 <= int.from_bytes(message[1:4], "big") <= length:
        return None
    at = 20
    while at + 12 <= len(message):
        size = int.from_bytes(message[at + 5 : at + 8], "big")
        if int.from_bytes(message[at : at + 4], "big") == _RESULT and size == 12 and not message[at + 4] & _VENDOR:
            code = int.from_bytes(message[at + 8 : at + 12], "big")
            return "" if code // 1000 == 2 else f"{_CODES[code]} ({code})" if code in _CODES else None
        if size < 8:
            return None
        at += size + 3 & ~3
    return None
