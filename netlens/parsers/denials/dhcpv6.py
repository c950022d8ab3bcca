"""DHCPv6 (RFC 8415 8, 21.4, 21.13, 21.21): a server that has no address or prefix for a client.

Ordinary: NoBinding and NotOnLink, after which a client asks anew; no prefix for a host that asks for one wherever it is.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "dhcpv6", "DHCPv6"
AT = At(udp=(547,))
DAILY = ("no prefixes",)
_STATUS = {1: "unspecified failure", 2: "no addresses available", 6: "no prefixes available"}
_ADVERTISE, _REPLY = 2, 7
_STATUS_CODE, _ADDRESS, _PREFIX = 13, 5, 26
_ASSOCIATIONS = {3: 12, 4: 4, 25: 12}  # IA_NA, IA_TA, IA_PD: where their options begin


def read(message: bytes, length: int, /) -> str | None:
    """What an Advertise or Reply says of the associations."""
    if len(message) < 8 or message[0] not in (_ADVERTISE, _REPLY):
        return None
    said: list[tuple[int, bytes]] = []
    for kind, value in _options(message[4:]):
        said += _options(value[_ASSOCIATIONS[kind] :]) if kind in _ASSOCIATIONS else [(kind, value)]
    if any(kind in (_ADDRESS, _PREFIX) for kind, _ in said):
        return "" if message[0] == _REPLY else None
    no = (_STATUS.get(int.from_bytes(value[:2], "big")) for kind, value in said if kind == _STATUS_CODE and len(value) >= 2)
    return next((each for each in no if each), None)


def _options(data: bytes) -> list[tuple[int, bytes]]:
    out, at = [], 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        if at + 4 + size > len(data):
            raise IndexError
        out.append((int.from_bytes(data[at : at + 2], "big"), data[at + 4 : at + 4 + size]))
        at += 4 + size
    return out
