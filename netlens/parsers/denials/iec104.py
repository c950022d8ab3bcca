"""IEC 60870-5-104 (5.1; IEC 60870-5-101 7.2.3): a station that does not know what it is told, or confirms it negatively.

Ordinary: a station that keeps its own time and does not take another, or has no counters for which a master asks.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "iec104", "IEC 104"
AT = At(tcp=(2404,))
DAILY, VAGUE = ("clock", "counters"), ("confirmed negatively",)
_START, _TRIED = 0x68, {101: "counters: ", 103: "clock: "}
_NEGATIVE, _CAUSE = 0x40, 0x3F
_CONFIRMED, _INTERROGATED = 7, 20
_UNKNOWN = {44: "type not known", 45: "cause not known", 46: "unknown common address", 47: "object address not known"}


def read(message: bytes, length: int, /) -> str | None:
    """The first unit of a segment, of those that transfer information."""
    if message[0] != _START or message[1] + 2 > length or message[1] < 13 or message[2] & 1 or message[4] & 1:
        return None
    kind, cause = message[6], message[8] & _CAUSE
    if cause not in (_CONFIRMED, _INTERROGATED, *_UNKNOWN):
        return None
    if not message[8] & _NEGATIVE and cause not in _UNKNOWN:
        return ""
    no = _UNKNOWN.get(cause, "confirmed negatively")
    return f"{_TRIED.get(kind, '')}{no} ({cause})"
