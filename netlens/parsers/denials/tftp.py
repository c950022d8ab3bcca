"""TFTP (RFC 1350 5, appendix; RFC 2347): a server's ERROR.

Ordinary: an ERROR to options (8), or without a code of its own (0), unless it is all that a client ever hears, and not about a file that is not there; files
that a loader tries one after the other (pxelinux). What a client says that only asked for the size is none of a server's.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "tftp", "TFTP"
AT = At(udp=(69,), other_port=True)
_OTHER = "an error without a code"
_NOT_THERE, _WORDS = "not found, without a code", (b"not found", b"no such file", b"not exist")
DAILY, VAIN = (_OTHER, _NOT_THERE), ((_OTHER, 3),)
_ERRORS = {
    0: _OTHER, 1: "file not found", 2: "access violation", 3: "disk full", 4: "illegal operation", 5: "unknown transfer", 6: "file exists", 7: "no such user",
}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """An ERROR with its text; DATA, ACK or OACK."""
    if message[:1] != b"\x00" or length < 4:
        return None
    kind, number = message[1], int.from_bytes(message[2:4], "big")
    if kind == 5 and length >= 5 and b"\x00" not in message[4:-1] and message[4:128].isascii():
        return _NOT_THERE if not number and any(words in message[4:128].lower() for words in _WORDS) else _ERRORS.get(number)
    return "" if kind in (3, 6) or (kind == 4 and length == 4) else None
