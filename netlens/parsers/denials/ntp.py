"""NTP (RFC 5905 7.3, 7.4): a server that has no time to give, or sends a kiss of death.

Ordinary: a server that has just begun (some minutes: RFC 5905 13), or one of several: a client takes the time of another. So these count where a client
hears nothing else, and that a server is not synchronised, only after more tries than a client makes when it starts (RFC 5905 appendix A: BCOUNT, 8). That it
asks too often is never a problem; nor that it is too far from the true time by what it says
itself, half of the root delay and the root dispersion (RFC 5905 11.1, A.5.5.2: no client takes more than MAXDIST, 1 s; some 1.5 s or 3 s, and Windows, whose
servers on their own clock say 10 s, any). That it is asked too often counts always: the client must
ask less (RFC 5905 7.4).
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "ntp", "NTP"
AT = At(udp=(123,))
DAILY, CHALLENGES = ("not synchronised", "asked too often", "too inaccurate"), ("not synchronised", "denied", "too inaccurate")
VAIN = (("not synchronised", 9),)  # one more than a client asks at first (iburst)
_LENGTH, _SERVER = 48, 4
_UNKNOWN, _NO_STRATUM = 3, 16  # of the leap indicator; of the stratum, 0 as well
_FARTHEST = 3  #: s, see above
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
    distance = int.from_bytes(message[4:8], "big") / 2 + int.from_bytes(message[8:12], "big")
    if not kiss and distance > _FARTHEST << 16 and leap != _UNKNOWN and 0 < stratum < _NO_STRATUM:
        return f"too inaccurate: root distance of {distance / (1 << 16):.0f} s"
    return kiss or ("not synchronised" if leap == _UNKNOWN or stratum in (0, _NO_STRATUM) else "")
