"""TDS, the protocol of Microsoft SQL Server ([MS-TDS] 2.2.3, 2.2.7.10, 2.2.7.14): a login that fails.

Ordinary: errors of queries.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "tds", "SQL Server"
AT = At(tcp=(1433,))
_LOGIN = {4060: "database cannot be opened", 18452: "login from an untrusted domain", 18456: "login failed", 18470: "account disabled", 18486: "account locked",
          18487: "password has expired", 18488: "password must be changed", 17809: "too many connections", 17892: "a trigger forbids the login",
          10928: "too many connections", 40613: "database not available", 40615: "client's address is not allowed"}  # fmt: skip
_ENVCHANGE, _INFO, _ERROR, _LOGINACK = 0xE3, 0xAB, 0xAA, 0xAD


def read(message: bytes, length: int, /) -> str | None:
    """The first tokens of an answer, which have lengths."""
    if message[:1] != b"\x04" or message[1] > 1 or not 8 < int.from_bytes(message[2:4], "big") <= 32767 or message[7]:
        return None
    at = 8
    while (token := message[at]) in (_ENVCHANGE, _INFO, _ERROR):
        if token == _ERROR and at + 7 <= len(message) and (code := int.from_bytes(message[at + 3 : at + 7], "little")) in _LOGIN:
            return f"{_LOGIN[code]} ({code})"
        at += 3 + int.from_bytes(message[at + 1 : at + 3], "little")
    return "" if token == _LOGINACK else None
