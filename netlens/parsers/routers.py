"""Routers that say on a network that they are there: VRRP (RFC 3768 5, RFC 9568 5) and router advertisements (RFC 4861 4.2).

Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_MESSAGES`; router advertisements in frames of Ethernet without a tag, so that nobody takes several VLANs for one network.
"""

from typing import NamedTuple

from netlens.columns import Array
from netlens.parsers.asking import ethernet_sender
from netlens.wire import decode as d
from netlens.wire.addresses import ip_text

MAX_MESSAGES = 100_000
LOOKED_AT = 1500  #: bytes of a message
_VRRP, _ICMPV6 = 112, 58
_ADVERTISEMENT, _PREFIX = 134, 3  # type of ICMPv6; option
IP_HEADER = {4: 20, 6: 40}  #: bytes by version, without options
_TAGS = (b"\x81\x00", b"\x88\xa8", b"\x91\x00")  # of VLANs (IEEE 802.1Q)
#: Flags of a router advertisement: addresses, or other things, are to be had by DHCPv6 (RFC 4861 4.2)
ADDRESSES, OTHERS = 0x80, 0x40
_AUTONOMOUS = 0x40  # flag of a prefix: hosts make addresses of it (RFC 4861 4.6.2)


#: Network (interface and VLANs), number and addresses
VirtualRouter = tuple[tuple[int, ...], int, tuple[str, ...]]


class Master(NamedTuple):
    """An advertisement of VRRP, or a message of HSRP (:mod:`netlens.parsers.hsrp`) from who is active.  priority : 0 if the router gives up."""

    ts: int
    frame: int
    router: str
    priority: int
    protocol: str = "VRRP"


class Advertised(NamedTuple):
    """A router advertisement with prefixes of which hosts make addresses, as text; without any where a router says that it has no route to give."""

    ts: int
    frame: int
    router: str
    prefixes: frozenset[str]


class RouterBuilder:
    """Fed with what the decoder hands back.

    virtual : by network, number (VRID) and addresses of a virtual router, who says that it is its master: networks may have the same of all (fe80::1), and are
    told apart by interface and tags.  advertised : by interface of the capture.  promised : what they say that hosts are to ask for by DHCPv6; 0 stands for
    what one of them does not say.
    """

    def __init__(self) -> None:
        self.virtual: dict[VirtualRouter, list[Master]] = {}
        self.advertised: dict[int, list[Advertised]] = {}
        self.promised: set[int] = set()
        self._read = 0

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        asking = rows[:, d.PIECE] == d.ASKING
        chosen = rows[asking & ((rows[:, 9] == _VRRP) | (rows[:, 9] == _ICMPV6))]
        for frame, ts, iface, version, s_hi, s_lo, _, _, _, protocol, _, at, _, captured in chosen.tolist():
            if protocol == _ICMPV6 and buf[at] != _ADVERTISEMENT:
                continue
            self._read += 1
            if self._read > MAX_MESSAGES:
                return
            message, router = buf[at : at + min(captured, LOOKED_AT)].tobytes(), ip_text(s_hi, s_lo, version)
            if protocol == _VRRP:
                said = Master(ts, frame, router, message[2] if len(message) > 2 else 0)
                self._vrrp(message, said, (iface, *vlans(buf, at - IP_HEADER[version])), 16 if version == 6 else 4)
                continue
            self.promised |= {message[5] & flag for flag in (ADDRESSES, OTHERS) if len(message) > 5}
            routes = any(message[6:8])  # its lifetime; a router that leaves says 0 (RFC 4861 6.2.5)
            prefixes = frozenset(_prefixes(message) if routes else ())
            if (prefixes or not routes) and ethernet_sender(buf, at):
                self.advertised.setdefault(iface, []).append(Advertised(ts, frame, router, prefixes))

    def _vrrp(self, message: bytes, said: Master, network: tuple[int, ...], size: int) -> None:
        if len(message) < 8 or message[0] not in (0x21, 0x31) or len(message) < 8 + size * message[3]:
            return
        packed = [message[8 + k * size :][:size] for k in range(message[3])]
        addresses = tuple(ip_text(int.from_bytes(p[:-8], "big"), int.from_bytes(p[-8:], "big"), 6 if size == 16 else 4) for p in packed)
        self.virtual.setdefault((network, message[1], addresses), []).append(said)


def vlans(buf: Array, ip: int) -> list[int]:
    """Numbers of the VLANs that stand right before an IP header, the innermost first."""
    found = []
    while ip >= 6 and buf[ip - 6 : ip - 4].tobytes() in _TAGS:
        ip -= 4
        found.append(int(buf[ip] & 0x0F) << 8 | int(buf[ip + 1]))
    return found


def _prefixes(message: bytes) -> list[str]:
    at, found = 16, []
    while at + 2 <= len(message) and message[at + 1]:
        option = message[at : at + 8 * message[at + 1]]
        if option[0] == _PREFIX and len(option) == 32 and option[3] & _AUTONOMOUS and any(option[4:8]):  # it is valid for a time
            found.append(f"{ip_text(int.from_bytes(option[16:24], 'big'), int.from_bytes(option[24:32], 'big'), 6)}/{option[2]}")
        at += 8 * message[at + 1]
    return found
