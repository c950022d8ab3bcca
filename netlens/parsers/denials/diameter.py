"""Diameter (RFC 6733 3, 4.1, 7.1, 7.6; 3GPP TS 29.230 8.1.3: what its applications answer).

Ordinary: logins of several rounds (1001), redirects (3006). That peers know each other, and are there, grants nobody anything.
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
#: Of 3GPP's applications (S6a, Cx, Sh, Gx, Gy)
_THEIR_CODES = {4181: "authentication data unavailable", 5001: "user unknown", 5002: "identities do not match", 5003: "identity not registered",
                5004: "roaming not allowed", 5005: "identity already registered", 5006: "authentication scheme not supported",
                5012: "unable to comply", 5030: "user unknown", 5065: "IP-CAN session not available", 5140: "initial parameters",
                5420: "unknown EPS subscription",
                5421: "RAT not allowed", 5422: "equipment unknown", 5423: "unknown serving node"}  # fmt: skip
_RESULT, _THEIRS, _THEIR_RESULT, _VENDOR = 268, 297, 298, 0x80
_BETWEEN_PEERS = (257, 280, 282)  # capabilities, watchdog, farewell


def read(message: bytes, length: int, /) -> str | None:
    """The Result-Code of an answer, or that inside its Experimental-Result."""
    if len(message) < 20 or message[0] != 1 or message[4] & 0x8F or not 20 <= int.from_bytes(message[1:4], "big") <= length:
        return None
    at, codes = 20, _CODES
    while at + 12 <= len(message):
        kind, size = int.from_bytes(message[at : at + 4], "big"), int.from_bytes(message[at + 5 : at + 8], "big")
        if kind == _THEIRS:
            at, codes = at + 8, _THEIR_CODES  # it is a group
            continue
        if kind in (_RESULT, _THEIR_RESULT) and size == 12 and not message[at + 4] & _VENDOR:
            code = int.from_bytes(message[at + 8 : at + 12], "big")
            if code // 1000 == 2:
                return None if int.from_bytes(message[5:8], "big") in _BETWEEN_PEERS else ""
            return f"{codes[code]} ({code})" if code in codes else None
        if size < 8:
            return None
        at += size + 3 & ~3
    return None
