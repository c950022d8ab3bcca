"""RADIUS (RFC 2865 3, 4; RFC 5176 2).

Ordinary: Access-Challenge; single Access-Rejects, which probes of switches get.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "radius", "RADIUS"
AT = At(udp=(1645, 1812, 3799))
DAILY = ("Access-Reject",)
_CODES = {2: "", 41: "", 44: "", 3: "Access-Reject", 42: "Disconnect-NAK", 45: "CoA-NAK"}


def read(message: bytes, length: int, /) -> str | None:
    """By the code of a packet whose length fits."""
    fits = len(message) >= 20 and int.from_bytes(message[2:4], "big") == length
    return _CODES.get(message[0]) if fits else None
