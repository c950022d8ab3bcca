"""Kerberos (RFC 4120 5.9.1, 7.2.2, 7.5.9).

Ordinary: preauthentication wanted, ask again by TCP, another realm, an option not granted; names of services that programs try before others, unless a client
asks for one again and again and is given none.
Who checks whether a server is there may ask for a name that is not known.
A ticket to change the password (RFC 3244 2) is what is left to who has an expired one, and grants nothing else.
"""

from netlens.parsers.denials._kerberos import error
from netlens.parsers.denials._kinds import At

ID, NAME = "kerberos", "Kerberos"
AT = At(tcp=(88,), udp=(88,), mark=4)
DAILY, CHECKS = ("service not known",), ("client not known", "service not known")
VAIN = (("service not known", 3),)
_CHANGE = b"\x1b\x06kadmin\x1b\x08changepw"  # a name of two strings


def read(message: bytes, length: int, /) -> str | None:
    """An error, or a ticket."""
    if message[:1] == b"\x6b" and _CHANGE in message:
        return None
    return "" if message[:1] in (b"\x6b", b"\x6d") else error(message)  # AS-REP, TGS-REP
