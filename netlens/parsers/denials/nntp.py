"""NNTP (RFC 3977 3.2, RFC 4643 2): a service that is not there, a login or an article that is refused.

Ordinary: 480 (log in first), groups and articles that are not there.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "nntp", "NNTP"
AT = At(tcp=(119,))
_CODES = {b"400": "400 service not available", b"440": "440 posting not permitted", b"441": "441 posting failed", b"452": "452 login refused",
          b"481": "481 login refused", b"482": "482 login refused", b"502": "502 no permission", b"281": "", b"240": ""}  # fmt: skip


def read(message: bytes, length: int, /) -> str | None:
    """The code of a line."""
    return _CODES.get(message[:3]) if message[3:4] in (b" ", b"\r") else None
