"""Kerberos (RFC 4120 5.9.1, 7.2.2, 7.5.9).

Ordinary: preauthentication wanted, ask again by TCP, another realm, an option not granted; names of services that programs try before others.
"""

from netlens.parsers.denials._kerberos import error
from netlens.parsers.denials._kinds import At

ID, NAME = "kerberos", "Kerberos"
AT = At(tcp=(88,), udp=(88,), mark=4)
DAILY = ("service not known",)


def read(message: bytes, length: int, /) -> str | None:
    """An error, or a ticket."""
    return "" if message[:1] in (b"\x6b", b"\x6d") else error(message)  # AS-REP, TGS-REP
