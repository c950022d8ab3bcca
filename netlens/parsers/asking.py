"""Who asked for whom below TCP and UDP: echoes (ping), and address resolution by ARP and neighbour discovery. Who got no answer is told by lenses.

Kept while ``netlens analyze`` reads a capture, and by no other command. Formats: RFC 792, RFC 4443 4 (echo), RFC 826, RFC 5227 (ARP), RFC 4861 4.3, 4.4.

Limits: of the first :data:`MAX_MESSAGES`. Of an echo only its beginning is looked at; ARP is that of Ethernet and IPv4.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from netlens.addresses import is_one_host
from netlens.columns import Array
from netlens.wire import decode as d
from netlens.wire.addresses import ip_text

MAX_MESSAGES = 200_000
LOOKED_AT = 64  #: bytes of a message: a neighbour advertisement with its options has 32
TRACED = 30  #: hops at most: an echo with so few left may be traceroute's, which begins with one and then allows more
BURST = 100  #: questions; a host asks for one address at most once a second (RFC 1122 2.3.2.1), and some ports record each several times
COPY_NS = 2_000_000  #: what comes again so soon was recorded again, as from another interface
NUMBERS = 1 << 16  #: of sequence
AGAIN_NS = 400_000_000  #: a number that comes again sooner was recorded twice
_ARP, _ICMP, _ICMPV6 = 0, 1, 58
_IP_HEADER = {4: 20, 6: 40}  # bytes by version, without options
_NOBODY = ("0.0.0.0", "::")
_REQUEST, _REPLY = 1, 2  # operations of ARP
_ECHO_REQUESTS = (8, 128)
_ADVERTISEMENT = 134  # of a router
_OVERRIDE = 0x20  # flag of a neighbour advertisement
_TARGET_ADDRESS = 2  # option of a neighbour advertisement: target link-layer address


class Seen(NamedTuple):
    """When something was seen, and in which frame."""

    ts: int
    frame: int


class Claim(NamedTuple):
    """Somebody said that an address is its own; ``hardware``: its hardware address as text. ``answer``: to somebody who asked, not an announcement."""

    ts: int
    frame: int
    hardware: str
    answer: bool


@dataclass
class Ping:
    """Echo requests from one address to another with one identifier; ``answers`` by sequence number, as ``requests``. Where a number comes again, as of those
    that count nothing, :data:`NUMBERS` are added each time.

    sizes : of the packets that asked, in bytes with the IP header; 0 of such as Ethernet does not carry, which are to try a link. latest : by sequence
    number, under which one it was asked last. few : some may make :data:`TRACED` hops at most.
    """

    source: str
    destination: str
    requests: dict[int, Seen] = field(default_factory=dict)
    answers: dict[int, Seen] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    latest: dict[int, int] = field(default_factory=dict)
    few: bool = False

    def number_of(self, number: int, ts: int) -> int:
        """Under which number a request is kept."""
        last = self.latest.get(number, number)
        again = last in self.requests and ts - self.requests[last].ts >= AGAIN_NS
        self.latest[number] = last + NUMBERS if again else last
        return self.latest[number]


@dataclass
class _Few:
    """Requests from one address to another with few hops, as long as all have the same number of them; then they are traceroute's."""

    hops: int
    requests: list[tuple[int, int]] = field(default_factory=list)  # identifier and sequence number
    traced: bool = False


class Burst(NamedTuple):
    """The same question by ARP again and again within a second.  times : how often, at most."""

    frame: int
    times: int


class AskingBuilder:
    """Fed with what the decoder hands back.

    pings : by source, destination and identifier.  sought : by who asked and for which address, each request.
    claims : by address, who said that it is theirs.  tested : by IPv6 address, who asked whether it is free (RFC 4862 5.4), where Ethernet names the sender.
    bursts : by who asked and for which address, questions that came more than :data:`BURST` times within a second, copies among them.
    near : who told whom one to one, which a switch shows to no third.
    """

    def __init__(self) -> None:
        self.pings: dict[tuple[str, str, int], Ping] = {}
        self.sought: dict[tuple[str, str], list[Seen]] = {}
        self.claims: dict[str, list[Claim]] = {}
        self.tested: dict[str, list[Claim]] = {}
        self.bursts: dict[tuple[str, str], Burst] = {}
        self._seconds: dict[tuple[str, str], tuple[int, int]] = {}  # by who asked and for what, a second's begin and the questions since
        self.near: set[tuple[str, str]] = set()
        self._sent: dict[tuple[str, int], list[Ping]] = {}  # by source and identifier
        self._few: dict[tuple[str, str], _Few] = {}  # by source and destination
        self._read = 0

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        chosen = rows[rows[:, d.PIECE] == d.ASKING][: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for frame, ts, _, version, s_hi, s_lo, d_hi, d_lo, _, protocol, _, at, size, captured in chosen.tolist():
            message = buf[at : at + min(captured, LOOKED_AT)].tobytes()
            seen = Seen(ts, frame)
            if protocol == _ARP:
                self._arp(message, seen)
                continue
            if protocol not in (_ICMP, _ICMPV6) or (protocol == _ICMPV6 and message[0] == _ADVERTISEMENT):
                continue  # of routers, see netlens.parsers.routers
            source, destination = ip_text(s_hi, s_lo, version), ip_text(d_hi, d_lo, version)
            if message[0] in (135, 136) and protocol == _ICMPV6:
                self._neighbour(message, seen, source, destination, ethernet_sender(buf, at))
            else:
                self._echo(message, seen, source, destination, size + _IP_HEADER[version], _hops(buf, at, version), at == 0)

    def _echo(self, message: bytes, seen: Seen, source: str, destination: str, size: int, hops: int, fragmented: bool) -> None:
        ident, number = int.from_bytes(message[4:6], "big"), int.from_bytes(message[6:8], "big")
        if message[0] in _ECHO_REQUESTS:
            if hops <= TRACED and self._is_traced(source, destination, hops):
                return
            ping = self.pings.get((source, destination, ident))
            if ping is None:
                ping = self.pings[source, destination, ident] = Ping(source, destination)
                self._sent.setdefault((source, ident), []).append(ping)
            number = ping.number_of(number, seen.ts)
            if number not in ping.requests and hops <= TRACED:
                ping.few = True
                self._few[source, destination].requests.append((ident, number))
            ping.requests.setdefault(number, seen)
            ping.sizes.setdefault(number, size if size <= d.ETHERNET_MTU or fragmented else 0)
            return
        sent = self._sent.get((destination, ident), ())  # who answers a broadcast, or has several addresses, has another one
        asked = sent[0] if len(sent) == 1 else self.pings.get((destination, source, ident))
        number = asked.latest.get(number, number) if asked is not None else number
        if asked is not None and number in asked.requests:
            asked.answers.setdefault(number, seen)

    def traces(self, source: str, destination: str) -> bool:
        """Whether echoes of one address to another were traceroute's, which are not kept."""
        few = self._few.get((source, destination))
        return few is not None and (few.traced or few.hops == 1)

    def _is_traced(self, source: str, destination: str, hops: int) -> bool:
        """Whether an echo is traceroute's; then those before it are as well, and forgotten."""
        few = self._few.setdefault((source, destination), _Few(hops))
        if few.traced or hops in (1, few.hops):
            return few.traced or hops == 1
        few.traced = True
        for ident, number in few.requests:
            ping = self.pings[source, destination, ident]
            del ping.requests[number]
            ping.answers.pop(number, None)
        for ident in {ident for ident, _ in few.requests}:
            if not self.pings[source, destination, ident].requests:
                self._sent[source, ident].remove(self.pings.pop((source, destination, ident)))
        few.requests.clear()
        return True

    def _arp(self, message: bytes, seen: Seen) -> None:
        if len(message) < 28 or message[:6] != b"\x00\x01\x08\x00\x06\x04":
            return
        operation = int.from_bytes(message[6:8], "big")
        hardware, source, target = message[8:14].hex(":"), _ipv4(message[14:18]), _ipv4(message[24:28])
        if operation == _REQUEST and source not in (*_NOBODY, target):
            self._seek(source, target, seen)
            self._counted(source, target, seen)
        elif source not in _NOBODY and operation in (_REQUEST, _REPLY):  # a reply, or an announcement
            self._claimed(source, target, Claim(*seen, hardware, operation == _REPLY and target not in (*_NOBODY, source)))

    def _counted(self, source: str, target: str, seen: Seen) -> None:
        begun, times = self._seconds.get((source, target), (seen.ts, 0))
        begun, times = (begun, times + 1) if 0 <= seen.ts - begun < 1_000_000_000 else (seen.ts, 1)
        self._seconds[source, target] = begun, times
        if times > BURST:
            before = self.bursts.get((source, target), Burst(seen.frame, 0))
            self.bursts[source, target] = Burst(before.frame, max(before.times, times))

    def _neighbour(self, message: bytes, seen: Seen, source: str, destination: str, sender: str) -> None:
        if len(message) < 24:
            return
        target = ip_text(int.from_bytes(message[8:16], "big"), int.from_bytes(message[16:24], "big"), 6)
        if message[0] == 135:
            if source not in _NOBODY:
                self._seek(source, target, seen)
            elif sender:
                self.tested.setdefault(target, []).append(Claim(*seen, sender, False))
            return
        # else anycast, or for another (RFC 4861 7.2.7)
        own = message[4] & _OVERRIDE and len(message) >= 32 and message[24] == _TARGET_ADDRESS
        hardware = message[26:32].hex(":") if own else ""
        self._claimed(target, destination, Claim(*seen, hardware, is_one_host(destination)))

    def _claimed(self, address: str, told: str, claim: Claim) -> None:
        self.claims.setdefault(address, []).append(claim)
        if claim.answer:
            self.near.add((address, told))

    def _seek(self, source: str, target: str, seen: Seen) -> None:
        before = self.sought.setdefault((source, target), [])
        if not before or not 0 <= seen.ts - before[-1].ts < COPY_NS:
            before.append(seen)


def ethernet_sender(buf: Array, at: int) -> str:
    """Who sent a message of ICMPv6 that stands at ``at``, by the header of Ethernet right before that of IPv6; "" if there is none, or one with a tag."""
    header = buf[at - 54 : at - 40].tobytes() if at >= 54 else b""
    is_plain = header[12:] == b"\x86\xdd" and header[8:10] != b"\x81\x00" and header[6:9] != b"\xaa\xaa\x03"  # of LLC, as on the air
    return header[6:12].hex(":") if is_plain else ""


def _hops(buf: Array, at: int, version: int) -> int:
    """Hops that a packet may still make whose message stands at ``at``, as its header says right before; 255 where options are between."""
    size, place = (20, 12) if version == 4 else (40, 33)
    return int(buf[at - place]) if at >= size and buf[at - size] >> 4 == version else 255


def _ipv4(packed: bytes) -> str:
    return ip_text(0, int.from_bytes(packed, "big"), 4)
