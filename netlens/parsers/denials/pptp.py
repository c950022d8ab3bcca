"""PPTP (RFC 2637 2): a tunnel or call that is refused.

Ordinary: a call that somebody ends.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "pptp", "PPTP"
AT = At(tcp=(1723,))
_START, _CALL = 2, 8
_CODES = {_START: {1: "", 2: "general error", 3: "command channel exists", 4: "not authorized", 5: "version not supported"},
          _CALL: {1: "", 2: "call: general error", 3: "call: no carrier", 4: "call: busy", 5: "call: no dial tone",
                  6: "call: timeout", 7: "call: not accepted"}}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """The result of a Start-Control-Connection-Reply or Outgoing-Call-Reply."""
    if (
        len(message) < 17
        or message[4:8] != b"\x1a\x2b\x3c\x4d"
        or message[2:4] != b"\x00\x01"
        or int.from_bytes(message[:2], "big") > length
    ):
        return None
    kind = int.from_bytes(message[8:10], "big")
    code = message[14] if kind == _START else message[16]
    no = _CODES.get(kind, {}).get(code)
    return f"{no} ({code})" if no else no
