"""VNC, the RFB protocol (RFC 6143 7.1): the result of the login.

Ordinary: nothing. Only where a result can stand is it read: behind versions, security types and the challenge of 16 bytes, or the two numbers of 128 bytes of
Apple's type 30, before ServerInit.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "vnc", "VNC"
AT = At(tcp=tuple(range(5900, 5911)), within=(29, 60), or_within=(274, 290))


def read(message: bytes, length: int, /) -> str | None:
    """SecurityResult, alone or with the reason behind it."""
    result = int.from_bytes(message[:4], "big")
    alone = length == 4 or (length > 8 and int.from_bytes(message[4:8], "big") + 8 == length and result)
    return {0: "", 1: "authentication failed", 2: "too many attempts"}.get(result) if alone and len(message) >= 4 else None
