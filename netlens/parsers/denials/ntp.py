"""NTP (RFC 5905 7.3, 7.4): a server that has no time to give, or sends a kiss of death.

Ordinary: a server that has just begun (some minutes: RFC 5905 13), or one of several: a client takes the time of another. So these count where a client
hears nothing else, and that a server is not synchronised, or asked too often, is never a problem. That it is asked too often counts always: the client must
ask less (RFC 5905 7.4).
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "ntp", "NTP"
AT = At(udp=(123,))
DAILY, CHALLENGES = ("not synchronised", "asked too often"), ("not synchronised", "denied")
_LENGTH, _SERVER = 48, 4
_UNKNOWN, _NO_STRATUM = 3, 16  # of the leap indicator; of the stratum, 0 as well
_KISSES = {b"DENY": "denied (DENY)", b"RSTR": "denied (RSTR)", b"RATE": "asked too often (RATE)"}


def read(message: bytes, length: int, /) -> str | None:
    """By leap indicator and stratum, and the code of a kiss."""
    leap, version, stratum = message[0] >> 6, message[0] >> 3 & 7, message[1]
    if (
        message[0] & 7 != _SERVER
        or not 1 <= version <= 4
        or stratum > _NO_STRATUM
        or length < _LENGTH
        or length % 4
        or len(message) < _LENGTH
    ):
        return None
    kiss = _KISSES.get(message[12:16]) if stratum == 0 else None
    return kiss or ("not synchronised" if leap == _UNKNOWN or stratum in (0, _NO_STRATUM) else "")
