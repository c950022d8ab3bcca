"""IRC (RFC 2812 5): a client that is not let in.

Ordinary: a nickname in use, so that the client takes another; ERROR after QUIT.
"""

import re

from netlens.parsers.denials._kinds import At

ID, NAME = "irc", "IRC"
AT = At(tcp=tuple(range(6660, 6670)))
DAILY = ("433",)
_CODES = {b"001": "", b"433": "433 nickname in use", b"463": "463 host not allowed", b"464": "464 wrong password", b"465": "465 banned"}
_NUMERIC = re.compile(rb"^:\S+ (001|433|46[345]) \S+ .*\r?$", re.MULTILINE)
_ERROR = re.compile(rb"^ERROR :.*\b(bad password|access denied|[gkz]-?lined|banned|too many|throttled|server (?:is )?full)", re.IGNORECASE)


def read(message: bytes, length: int, /) -> str | None:
    """The first of these numerics in a segment, or an ERROR that gives such a reason."""
    found = _NUMERIC.search(message)
    if found:
        return _CODES[found[1]]
    said = _ERROR.match(message)
    return f"ERROR: {said[1].decode().lower()}" if said else None
