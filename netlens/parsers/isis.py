"""Hellos of IS-IS (ISO/IEC 10589 9.5 to 9.7, RFC 1195, RFC 5303) and of EIGRP (RFC 7868 6.5), by which routers of one network find each other if they agree.

Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_HELLOS`; IS-IS right in frames of Ethernet, with IDs of six bytes.
"""

from typing import NamedTuple

from netlens.columns import Array
from netlens.parsers.routers import IP_HEADER, vlans
from netlens.wire import decode as d
from netlens.wire.addresses import ip_text

MAX_HELLOS = 50_000
LEVEL_1, LEVEL_2, POINT_TO_POINT = 15, 16, 17  #: types of Hellos
EIGRP = 88
_LLC, _LOOKED_AT = 3, 1500
_IS_IS = 0x83
_TLVS = {LEVEL_1: 27, LEVEL_2: 27, POINT_TO_POINT: 20}
_AREAS, _HEARD, _AUTHENTICATION, _STATE = 1, 6, 10, 240  # TLVs
_KINDS = {1: "password", 3: "generic (RFC 5310)", 54: "MD5 (RFC 5304)"}
_EIGRP_HEADER, _EIGRP_HELLO = 20, 5
_PARAMETERS, _EIGRP_AUTHENTICATION = 1, 2
_GOODBYE = b"\xff" * 5


class Hello(NamedTuple):
    """What one router says by IS-IS.

    router : its ID.  source : its hardware address.  levels : bits, in which levels it takes neighbours.  heard : hardware addresses, or on point-to-point
    links IDs, of those that it hears; None where it does not say.
    """

    ts: int
    frame: int
    kind: int
    router: str
    source: str
    levels: int
    areas: frozenset[str]
    authentication: str
    heard: frozenset[str] | None


class Greeting(NamedTuple):
    """What one router says by EIGRP.  weights : of its metric (K values), as text."""

    ts: int
    frame: int
    source: str
    number: int
    weights: str
    authentication: str


class IsisBuilder:
    """Fed with what the decoder hands back.

    networks : by interface, VLANs and kind of Hello, what is said there in order.  greetings : of EIGRP, by interface and VLANs.
    talking : who sends something else by EIGRP to whom, as neighbours do.
    """

    def __init__(self) -> None:
        self.networks: dict[tuple[int, ...], list[Hello]] = {}
        self.greetings: dict[tuple[int, ...], list[Greeting]] = {}
        self.talking: set[tuple[str, str]] = set()
        self._read = 0

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        osi = (rows[:, d.PIECE] == d.OF_LINK) & (rows[:, 3] == d.OSI) & (rows[:, 11] >= _LLC + 14)
        eigrp = (rows[:, d.PIECE] == d.CARRIED) & (rows[:, 9] == EIGRP)
        chosen = rows[(osi | eigrp) & (rows[:, 13] >= _EIGRP_HEADER)][: MAX_HELLOS - self._read]
        self._read += len(chosen)
        for frame, ts, iface, ip, s_hi, s_lo, d_hi, d_lo, _, protocol, _, at, _, captured in chosen.tolist():
            message = buf[at : at + min(captured, _LOOKED_AT)].tobytes()
            if ip == d.OSI and protocol != EIGRP:
                tags = vlans(buf, at - _LLC)
                header = buf[max(at - _LLC - 14 - 4 * len(tags), 0) :][:12].tobytes()
                if (hello := _hello(message, ts, frame, header[6:].hex(":"))) is not None:
                    self.networks.setdefault((iface, *tags, hello.kind), []).append(hello)
                continue
            source = ip_text(s_hi, s_lo, ip)
            if message[1] != _EIGRP_HELLO or any(message[12:16]):
                self.talking.add((source, ip_text(d_hi, d_lo, ip)))
            elif (greeting := _greeting(message, ts, frame, source)) is not None:
                self.greetings.setdefault((iface, *vlans(buf, at - IP_HEADER[ip])), []).append(greeting)


def _hello(message: bytes, ts: int, frame: int, source: str) -> Hello | None:
    kind = message[4] & 0x1F
    if message[0] != _IS_IS or message[3] not in (0, 6) or kind not in _TLVS:
        return None
    router, areas, authentication, heard = message[9:15].hex(), set(), "none", set()
    says = kind != POINT_TO_POINT
    at = _TLVS[kind]
    while at + 2 <= len(message):
        tlv, value = message[at], message[at + 2 : at + 2 + message[at + 1]]
        if tlv == _AREAS:
            k = 0
            while k < len(value):
                areas.add(_area(value[k + 1 : k + 1 + value[k]]))
                k += 1 + value[k]
        elif tlv == _HEARD and kind != POINT_TO_POINT:
            heard |= {value[k : k + 6].hex(":") for k in range(0, len(value) - 5, 6)}
        elif tlv == _AUTHENTICATION and value:
            authentication = _KINDS.get(value[0], str(value[0]))
        elif tlv == _STATE:
            says = True
            heard |= {_dotted(value[5:11].hex())} if len(value) >= 11 else set()
        at += 2 + message[at + 1]
    named = frozenset(heard) if says else None
    return Hello(ts, frame, kind, _dotted(router), source, message[8] & 3, frozenset(areas), authentication, named)


def _dotted(digits: str) -> str:
    """An ID as people write it."""
    return ".".join(digits[k : k + 4] for k in range(0, len(digits), 4))


def _area(packed: bytes) -> str:
    return ".".join([packed[:1].hex(), *(packed[k : k + 2].hex() for k in range(1, len(packed), 2))])


def _greeting(message: bytes, ts: int, frame: int, source: str) -> Greeting | None:
    """A Hello with parameters; None of one that takes leave (all weights 255), or without."""
    weights, authentication, at = b"", "none", _EIGRP_HEADER
    while at + 4 <= len(message):
        kind, size = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        if kind == _PARAMETERS and size >= 12:
            weights = message[at + 4 : at + 10]
        elif kind == _EIGRP_AUTHENTICATION and size >= 6:
            authentication = {2: "MD5", 3: "SHA-256"}.get(message[at + 5] if len(message) > at + 5 else 0, "other")
        at += max(size, 4)
    if len(weights) < 6 or weights[:5] == _GOODBYE:
        return None
    return Greeting(ts, frame, source, int.from_bytes(message[18:20], "big"), " ".join(map(str, weights[:5])), authentication)
