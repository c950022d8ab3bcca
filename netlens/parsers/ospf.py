"""Hellos of OSPF (RFC 2328 A.3.2, RFC 5340 A.3.2), by which routers of one network find each other if they agree, and how they then begin to exchange their
databases (Database Description: RFC 2328 A.3.3, RFC 5340 A.3.3).

Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_HELLOS`, sent to all routers of a network (224.0.0.5, ff02::5), and as many descriptions.
"""

from typing import NamedTuple

from netlens.columns import Array
from netlens.parsers.routers import IP_HEADER, vlans
from netlens.wire import decode as d
from netlens.wire.addresses import ip_text

MAX_HELLOS = 50_000
PROTOCOL = 89
_HELLO, _DESCRIPTION = 1, 2
KEY, PASSWORD = "key ID", "password"  #: names of what must be the same
_PASSWORD, _CRYPTOGRAPHIC = 1, 2  # kinds of authentication (RFC 2328 D)
INIT = 4  #: flag of a description that begins an exchange (I)
_LOOKED_AT = 1500
_ALL_ROUTERS = ("224.0.0.5", "ff02::5")
_HEADER = {2: 24, 3: 16}  # bytes, by version of OSPF
_DESCRIPTIONS = {2: (0, 3, 4), 3: (4, 7, 8)}  # where in a description MTU, flags and number stand
_NEIGHBOURS, _SHORTEST = 20, 36  # where in a Hello its neighbours begin; bytes of one without any


class Hello(NamedTuple):
    """What one router says.

    router : its ID.  source : its address.  mask : of its network as a number, -1 in OSPFv3.  must_agree : name -> what must be the same at both ends (RFC
    2328 8.2, 10.5).  neighbours : IDs of the routers that it hears.
    """

    ts: int
    frame: int
    router: str
    source: str
    number: int
    mask: int
    must_agree: dict[str, str]
    hello_s: int
    neighbours: frozenset[str]


class Description(NamedTuple):
    """A router describes its database to another.  mtu : of its interface.  number : of the exchange, or a step of it."""

    ts: int
    frame: int
    mtu: int
    flags: int
    number: int


class HelloBuilder:
    """Fed with what the decoder hands back.

    networks : by interface, VLANs, version and instance, what is said there in order.  described : by interface, VLANs, sender and receiver.
    """

    def __init__(self) -> None:
        self.networks: dict[tuple[int, ...], list[Hello]] = {}
        self.described: dict[tuple[tuple[int, ...], str, str], list[Description]] = {}
        self._read = self._descriptions = 0

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        chosen = rows[(rows[:, d.PIECE] == d.CARRIED) & (rows[:, 9] == PROTOCOL)][: MAX_HELLOS - self._read]
        for frame, ts, iface, ip, s_hi, s_lo, d_hi, d_lo, _, _, _, at, _, captured in chosen.tolist():
            message = buf[at : at + min(captured, _LOOKED_AT)].tobytes()
            version = 3 if ip == 6 else 2
            if message[:2] == bytes([version, _DESCRIPTION]) and self._descriptions < MAX_HELLOS:
                self._descriptions += 1
                mtu, flags, number = (_HEADER[version] + each for each in _DESCRIPTIONS[version])
                if len(message) >= number + 4:
                    ways = (iface, *vlans(buf, at - IP_HEADER[ip])), ip_text(s_hi, s_lo, ip), ip_text(d_hi, d_lo, ip)
                    size, no = int.from_bytes(message[mtu : mtu + 2], "big"), int.from_bytes(message[number : number + 4], "big")
                    self.described.setdefault(ways, []).append(Description(ts, frame, size, message[flags], no))
                continue
            if len(message) < _SHORTEST or message[:2] != bytes([version, _HELLO]) or ip_text(d_hi, d_lo, ip) not in _ALL_ROUTERS:
                continue
            self._read += 1
            hello, size = message[_HEADER[version] :], int.from_bytes(message[2:4], "big") - _HEADER[version]
            instance = message[14]  # of OSPFv2 by RFC 6549
            said = Hello(
                ts,
                frame,
                _dotted(message[4:8]),
                ip_text(s_hi, s_lo, ip),
                s_lo & 0xFFFFFFFF,
                int.from_bytes(hello[:4], "big") if version == 2 else -1,
                _of_2(message, hello) if version == 2 else _of_3(message, hello),
                int.from_bytes(hello[4:6] if version == 2 else hello[8:10], "big"),
                frozenset(_dotted(hello[k : k + 4]) for k in range(_NEIGHBOURS, min(size, len(hello)) - 3, 4)),
            )
            self.networks.setdefault((iface, *vlans(buf, at - IP_HEADER[ip]), version, instance), []).append(said)


def _of_2(message: bytes, hello: bytes) -> dict[str, str]:
    """With the number of the key (RFC 2328 D.3), or what stands for the password, which nobody is to read."""
    kinds = {0: "none", _PASSWORD: "password", _CRYPTOGRAPHIC: "MD5 or SHA"}
    key = {PASSWORD: message[16:24].hex()} if message[15] == _PASSWORD else {KEY: str(message[18])} if message[15] == _CRYPTOGRAPHIC else {}
    return key | {
        "area": _dotted(message[8:12]),
        "authentication": kinds.get(message[15], str(message[15])),
        "netmask": _dotted(hello[:4]),
        "hello interval": f"{int.from_bytes(hello[4:6], 'big')} s",
        "dead interval": f"{int.from_bytes(hello[8:12], 'big')} s",
        "kind of area": _kind(hello[6]),
    }


def _of_3(message: bytes, hello: bytes) -> dict[str, str]:
    return {
        "area": _dotted(message[8:12]),
        "hello interval": f"{int.from_bytes(hello[8:10], 'big')} s",
        "dead interval": f"{int.from_bytes(hello[10:12], 'big')} s",
        "kind of area": _kind(hello[7]),
    }


def _kind(options: int) -> str:
    """By the bits E and N (RFC 2328 A.2, RFC 3101 2.5)."""
    return "normal" if options & 2 else "NSSA" if options & 8 else "stub"


def _dotted(packed: bytes) -> str:
    return ".".join(map(str, packed))
