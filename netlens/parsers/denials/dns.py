"""DNS NOTIFY and UPDATE (RFC 1996 3, RFC 2136 2.2, 3). What is looked up, :mod:`netlens.parsers.lookups` reads.

Ordinary: updates of names that a computer sends to whatever resolver it has, or without a key before one with it.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "dns", "DNS NOTIFY or UPDATE"
AT = At(tcp=(53,), udp=(53,), mark=2)
DAILY = ("UPDATE",)
_ASKED = {4: "NOTIFY", 5: "UPDATE"}
_CODES = {0: "", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH"}


def read(message: bytes, length: int, /) -> str | None:
    """By the code of an answer that has one question (zone)."""
    if len(message) < 12 or not message[2] & 0x80 or message[4:6] != b"\x00\x01":
        return None
    asked, no = _ASKED.get(message[2] >> 3 & 15), _CODES.get(message[3] & 15)
    return None if asked is None or no is None else f"{asked}: {no}" if no else ""
