"""STUN and TURN (RFC 8489 5, 14.8; RFC 8656 18): an error response.

Ordinary: 438 (a new nonce), 300 (another server), 420, 437 (an allocation of before), 440.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "stun", "STUN"
AT = At(tcp=(3478,), udp=(3478,))
DAILY = ("403",)
CHALLENGES = ("401",)
_CODES = {401: "unauthenticated", 400: "bad request", 403: "forbidden", 441: "wrong credentials", 442: "transport not supported",
          486: "allocation quota reached",
          500: "server error",
          508: "insufficient capacity"}  # fmt: skip
_COOKIE = b"\x21\x12\xa4\x42"
_ERROR_CODE = 9


def read(message: bytes, length: int, /) -> str | None:
    """The ERROR-CODE of an error response; a success response to what allocates, permits or connects."""
    if len(message) < 20 or message[4:8] != _COOKIE or int.from_bytes(message[2:4], "big") + 20 > length:
        return None
    kind = int.from_bytes(message[:2], "big")
    if kind & 0xC110 != 0x110:
        return "" if kind & 0xC110 == 0x100 and kind != 0x101 else None
    at = 20
    while at + 8 <= len(message):
        size = int.from_bytes(message[at + 2 : at + 4], "big")
        if int.from_bytes(message[at : at + 2], "big") == _ERROR_CODE:
            code = (message[at + 6] & 7) * 100 + message[at + 7]
            return f"{code} {_CODES[code]}" if code in _CODES else None
        at += 4 + (size + 3 & ~3)
    return None
