"""IKE 1 and 2 in clear (RFC 2408 3.1, 3.14; RFC 7296 3.1, 3.10): a proposal or login that the other side refuses.

Ordinary: notifications of status, a cookie or another group that is asked for (17). Either side may refuse, so that what is sent to the port is read too.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "ike", "IKE"
AT = At(udp=(500, 4500), either=True)
_ONE = {
    5: "invalid major version", 14: "no proposal chosen", 15: "bad proposal", 16: "malformed payload", 18: "invalid ID", 24: "authentication failed",
}  # fmt: skip
_TWO = {5: "invalid major version", 7: "invalid syntax", 14: "no proposal chosen", 24: "authentication failed", 38: "TS unacceptable"}
_SA, _SA2, _NOTIFY, _NOTIFY2 = 1, 33, 11, 41


def read(message: bytes, length: int, /) -> str | None:
    """The payloads of a message that is not encrypted."""
    if message[:4] == bytes(4):  # the non-ESP marker of port 4500
        message, length = message[4:], length - 4
    if len(message) < 32 or int.from_bytes(message[24:28], "big") != length or message[:8] == bytes(8) or message[17] not in (0x10, 0x20):
        return None
    two, kind, at = message[17] == 0x20, message[16], 28
    if not two and message[19] & 1:
        return None
    while kind and at + 8 <= len(message):
        if kind == (_NOTIFY2 if two else _NOTIFY):
            where = at + 6 if two else at + 10
            no = (_TWO if two else _ONE).get(int.from_bytes(message[where : where + 2], "big")) if where + 2 <= len(message) else None
            if no:
                return no
        if kind == (_SA2 if two else _SA) and message[8:16] != bytes(8):
            return ""
        size = int.from_bytes(message[at + 2 : at + 4], "big")
        if size < 4:
            return None
        kind, at = message[at], at + size
    return None
