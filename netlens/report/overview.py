"""What a capture holds, in a few lines: who talks to whom, about what, how much and for how long, and what could not be read."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.addresses import is_address, is_one_host
from netlens.chains.copies import copies_of_repeats
from netlens.columns import Array, Ints, ints
from netlens.parsers.wlan import EVERYBODY
from netlens.tables import MSL_MS
from netlens.text import duration, plural, printable, shortened, size
from netlens.wire.columns import FIN, SYN
from netlens.wire.datagrams import protocol as by_first_bytes
from netlens.wire.link import NAMES as LINKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netlens.api import Capture
    from netlens.schema import Table
    from netlens.wire.framing import Input

#: Well-known ports of UDP, and of TCP where the payload does not tell (IANA's names, in lower case)
UDP = {53: "dns", 67: "dhcp", 68: "dhcp", 69: "tftp", 123: "ntp", 137: "netbios", 138: "netbios", 161: "snmp", 162: "snmp", 500: "ike",
       514: "syslog", 546: "dhcp", 547: "dhcp", 1194: "openvpn", 1812: "radius", 1900: "ssdp", 2152: "gtp", 3478: "stun", 4500: "ike", 4789: "vxlan",
       3784: "bfd", 4784: "bfd", 5060: "sip", 5246: "capwap", 5247: "capwap data", 5353: "mdns", 5355: "llmnr", 6081: "geneve",
       6784: "bfd", 51820: "wireguard"}  # fmt: skip
TCP = {20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "dns", 80: "http", 88: "kerberos", 110: "pop3", 111: "rpc", 135: "rpc", 139: "smb",
       143: "imap", 179: "bgp", 389: "ldap", 443: "tls", 445: "smb", 465: "smtp", 502: "modbus", 587: "smtp", 853: "dns", 993: "imap", 995: "pop3",
       1080: "socks", 1433: "tds", 1521: "oracle", 1883: "mqtt", 2049: "nfs", 3128: "http", 3306: "mysql", 3389: "rdp", 5432: "postgresql", 5900: "vnc",
       6379: "redis", 6667: "irc", 8080: "http", 9092: "kafka", 11211: "memcached", 27017: "mongodb"}  # fmt: skip
FIRST_OF_CLIENTS = 32768
PAIRS, MORE_PAIRS = 3, 20  #: that are named; "and N others" says the rest
NAMES = 5
NETWORKS = 3  #: of Wi-Fi


@dataclass
class Pair:
    """Two addresses that talk to each other."""

    one: str
    other: str
    bytes: int = 0
    frames: int = 0
    protocols: Counter[str] = field(default_factory=Counter)


_Service = tuple[str, str, int]  #: client, server and port


def file(i: Input) -> str:
    """``pcap, Ethernet, 382 frames, 106 kB``."""
    links = ", ".join(LINKS.get(link, f"link type {link}") for link in i.link_types)
    return f"{i.container}, {links}, {plural(i.frames, 'frame')}, {size(i.bytes)}"


def lines(capture: Capture, verbose: int = 0) -> list[tuple[str, str]]:
    """(what, text), one a line. ``verbose``: 1 for more pairs of addresses, 2 for all."""
    part, s = capture.part, capture.table("sessions")
    services = _services(s)
    protocols = _protocols(capture, services)
    found = [
        ("traffic", _traffic(capture, services, protocols, PAIRS if not verbose else MORE_PAIRS if verbose == 1 else None)),
        ("tcp", _tcp(capture, services, protocols) if s.rows else ""),
        ("dns", _dns(capture) if capture.table("lookups").rows else ""),
        ("wi-fi", _wifi(capture, NETWORKS if not verbose else None)),
        ("other", part.holds_besides() if part.packets else ""),
        ("not read", "; ".join(part.unread()) if part.packets else ""),
    ]
    return [(what, text) for what, text in found if text]


def _wifi(capture: Capture, most: int | None) -> str:
    """Networks that were heard on the air, stations, and how much is encrypted."""
    wlan = capture.wlan
    if not wlan.management + wlan.control + wlan.data:
        return ""
    frames: Counter[str] = Counter()
    for (ap, _, _), flow in wlan.flows.items():
        frames[ap] += flow.frames
    known = sorted(wlan.networks, key=lambda ap: (-frames[ap], wlan.networks[ap].frame))
    told = []
    for ap in known[:most]:
        network = wlan.networks[ap]
        about = [ap, *([f"channel {network.channel}"] if network.channel else []), *([network.security] if network.security else [])]
        told.append(f"{printable(network.name) or 'a network without a name'} ({', '.join(about)})")
    left = len(known) - len(told)
    more = f" and {plural(left, 'other')}" if left else ""
    named = f": {', '.join(told)}{more}" if told else ""
    stations = len({station for _, station, _ in wlan.flows} | {e.station for e in wlan.events if e.station != EVERYBODY})
    secret = f", {wlan.encrypted:,} encrypted" if wlan.encrypted else ", none encrypted" if wlan.data else ""
    access_points = {ap for ap, _, _ in wlan.flows} | wlan.networks.keys()
    return f"{plural(len(access_points), 'access point')}{named}; {plural(stations, 'station')}; {plural(wlan.data, 'data frame')}{secret}"


def _traffic(capture: Capture, services: list[_Service], protocols: list[str], most: int | None) -> str:
    pairs = _pairs(capture, services, protocols)
    if not pairs:
        return "" if capture.part.unread() else capture.part.holds()
    names = _names(capture)
    told = []
    for pair in pairs[:most]:
        about = ", ".join(name for name, _ in pair.protocols.most_common(3))
        named = f" = {printable(name)}" if (name := names.get(pair.other)) else ""
        told.append(f"{pair.one} and {pair.other}{named} ({about}, {size(pair.bytes)})")
    left = len(pairs) - len(told)
    more = f"; {plural(left, 'other pair')} of addresses" if left else ""
    return "; ".join(told) + more


def _pairs(capture: Capture, services: list[_Service], protocols: list[str]) -> list[Pair]:
    """Largest first; each two addresses once, whoever of them opened connections."""
    found: dict[frozenset[str], Pair] = {}

    def add(one: str, other: str, protocol: str, size_bytes: int, frames: int) -> None:
        if (pair := found.get(both := frozenset((one, other)))) is None:
            pair = found[both] = Pair(one, other)
        pair.bytes += size_bytes
        pair.frames += frames
        pair.protocols[protocol] += frames

    s = capture.table("sessions")
    place: dict[tuple[str, str, str], int] = {}
    alike = [place.setdefault((one, other, protocol), len(place)) for (one, other, _), protocol in zip(services, protocols, strict=True)]
    sums = (
        np.bincount(ints(alike), s[f"orig_{name}"] + s[f"resp_{name}"], len(place)).astype(int).tolist() for name in ("bytes", "frames")
    )
    for (one, other, protocol), size_bytes, frames in zip(place, *sums, strict=True):
        add(one, other, protocol, size_bytes, frames)
    talks = capture.trail.conversations() if capture.trail is not None else []
    ways = {(talk.source, talk.destination) for talk in talks}
    about = cache(lambda head, port: by_first_bytes(head.to_bytes(8, "big"), port))  # many begin alike
    ends, told = [], {}
    for talk in talks:
        source, destination = talk.source, talk.destination
        called = _is_called(*source, *destination, (destination, source) in ways)
        client, server = (source, destination) if called else (destination, source)
        ends.append((client, server))
        if name := about(talk.head, server[1]):
            told[client, server] = told[server, client] = name
    for talk, (client, server) in zip(talks, ends, strict=True):
        name = told.get((client, server)) or _by_port_of_udp(server[1], talk.head)
        add(client[0], server[0], name, talk.bytes, talk.datagrams)
    return sorted(found.values(), key=lambda pair: (-pair.bytes, -pair.frames))


def _services(table: Table) -> list[_Service]:
    """Client, server and port of each row of sessions. Of one that was joined midway, the end that others connect to is the server."""
    rows = list(zip(*(table[name].tolist() for name in ("orig_ip", "orig_port", "resp_ip", "resp_port", "history")), strict=True))
    servers = Counter((ip, port) for _, _, ip, port, _ in rows)
    return [
        (ip, orig, orig_port) if "S" not in history and servers[orig, orig_port] > 0 and servers[ip, port] == 1 else (orig, ip, port)
        for orig, orig_port, ip, port, history in rows
    ]


def _is_called(source_ip: str, source: int, ip: str, port: int, answered: bool) -> bool:
    """Whether the destination of datagrams is what is asked, or spoken to. The first that tells: a known port, a group, a port that is given to
    clients (RFC 6335 6, from 49152; Linux from 32768), datagrams in one direction only, the lower port."""
    for one, other in (
        (port in UDP, source in UDP),
        (port in TCP, source in TCP),
        (not is_one_host(ip), not is_one_host(source_ip)),
        (source >= FIRST_OF_CLIENTS, port >= FIRST_OF_CLIENTS),
    ):
        if one != other:
            return one
    return not answered or port <= source


def _by_port_of_udp(port: int, head: int) -> str:
    """What datagrams are about whose first bytes do not tell; SIP is text, whatever is sent to its port."""
    name = UDP.get(port, "")
    return name if name and (name != "sip" or (head.to_bytes(8, "big").isascii() and head >> 56 >= ord("A"))) else f"udp {port}"


def _names(capture: Capture) -> dict[str, str]:
    """A name of each address: of a ClientHello, else of a lookup."""
    lookups, s = capture.table("lookups"), capture.table("sessions")
    names = {
        text: name for name, answers in zip(lookups["qname"].tolist(), lookups["answers"].tolist(), strict=True) for text in answers or ()
    }
    names |= {ip: sni for ip, sni in zip(s["resp_ip"].tolist(), s["sni"].tolist(), strict=True) if sni and not is_address(sni)}
    return names | dict.fromkeys(_proxies(capture), "a proxy")


def _proxies(capture: Capture) -> set[str]:
    """Addresses that were asked to connect to others: by CONNECT (RFC 9110 9.3.6), or SOCKS 4 and 5 (RFC 1928 3)."""
    session, length, head = _first_words(capture)
    methods = head >> np.uint64(48) & np.uint64(255)
    asked = (head == int.from_bytes(b"CONNECT ", "big")) | (head >> np.uint64(48) == 0x0401) & (length < 512)
    asked |= (head >> np.uint64(56) == 5) & (methods > 0) & (length == methods + np.uint64(2))
    return set(capture.table("sessions")["resp_ip"][np.unique(session[asked])].tolist())


def _first_words(capture: Capture) -> tuple[Ints, Ints, Array]:
    """Of segments that begin the stream of either end: session, bytes of payload, and the first eight of them (uint64, big endian). Empty where they were
    not kept of the whole capture."""
    if capture.trail is None or not capture.trail.has("session", "offset", "length", "head"):
        return ints([]), ints([]), np.empty(0, np.uint64)
    t = capture.trail.segments()
    at = np.flatnonzero((t["offset"] == 0) & (t["length"] > 0))
    return t["session"][at], t["length"][at], t["head"][at]


def _tcp(capture: Capture, services: list[_Service], protocols: list[str]) -> str:
    s, c = capture.table("sessions"), capture.table("connections")
    many_of = Counter(protocols)
    about = ", ".join(f"{n:,} {'on ' * name.startswith('port ')}{name}" for name, n in many_of.most_common(NAMES)) + (
        ", ..." if len(many_of) > NAMES else ""
    )
    servers = {ip for _, ip, _ in services} if s.rows == c.rows else set(c["resp_ip"].tolist())
    trips = [v for v in s["synack_ms"].tolist() if v == v]
    middle = statistics.median(trips) if trips else 0.0  # a clock that ticks so slowly that it is 0 does not tell it
    trip = f"; median round trip {duration(middle / 1e3)}" if 0 < middle < MSL_MS else ""
    copies, copied, on_the_way = copies_of_repeats(capture)
    again = int(s["orig_retransmits"].sum() + s["resp_retransmits"].sum()) - copied
    without = 0 if copies else _repeated_without_data(capture)
    bare = f" ({without:,} of them FIN or SYN without data)" if without else ""
    repeated = f"; {plural(again, 'frame')} sent again{bare}" if again > 0 else ""
    late = int(s["orig_out_of_order"].sum() + s["resp_out_of_order"].sum())
    repeated += f"; {plural(late, 'frame')} out of order" if late else ""
    twice = f"; {plural(on_the_way, 'frame')} duplicated on the way, as the receiver says (D-SACK)" if on_the_way else ""
    twice += f"; {plural(copies - on_the_way, 'frame')} recorded more than once" if copies > on_the_way else ""
    to = f" to {plural(len(servers), 'server')}"
    # more sessions than connections: halves, copies, tunnels
    many = f" ({about}){to}" if s.rows == c.rows else f"{to}, in {plural(s.rows, 'session')} on the wire ({about})"
    return f"{plural(c.rows, 'connection')}{many}{trip}{repeated}{twice}"


def _protocols(capture: Capture, services: list[_Service]) -> list[str]:
    """What each session is about: by its payload where that tells, else by its port."""
    s, mysql = capture.table("sessions"), _greeted_by_mysql(capture)
    return [
        protocol or (f"port {port} (mysql)" if k in mysql else by_port(port))
        for k, (protocol, (_, _, port)) in enumerate(zip(s["protocol"].tolist(), services, strict=True))
    ]


def _greeted_by_mysql(capture: Capture) -> set[int]:
    """Sessions that begin with the greeting of a MySQL server, whatever the port: a length, number 0, protocol version 10, and digits."""
    session, length, head = _first_words(capture)
    first, second = head >> np.uint64(16) & np.uint64(255), head >> np.uint64(8) & np.uint64(255)
    begins = (length > 8) & (head >> np.uint64(24) & np.uint64(0xFFFF) == 10) & (first - 48 < 10)
    return set(session[begins & ((second - 48 < 10) | (second == ord(".")))].tolist())


def by_port(port: int) -> str:
    """What a session is about whose payload does not tell: ``port 443 (tls)``, ``port 5222``."""
    return f"port {port}" + (f" ({TCP[port]})" if port in TCP else "")


def _repeated_without_data(capture: Capture) -> int:
    """FINs and SYNs without data that were sent again; 0 where single segments were not kept, or copies hide them."""
    s = capture.table("sessions")
    if capture.trail is None or (s["orig_copies"] + s["resp_copies"]).any():
        return 0
    t = capture.trail.segments()
    which = t["flags"] & (SYN | FIN)
    bare = (which > 0) & (t["length"] == 0)
    kinds = (t["session"][bare].astype(np.int64) << 3) | (t["way"][bare].astype(np.int64) << 2) | which[bare]
    return int(bare.sum()) - len(np.unique(kinds))


def _dns(capture: Capture) -> str:
    asked, searches = lookups(capture, "qname", "latency_ms", "rcode")
    told = []
    if asked:
        latency = [ms for _, ms, _ in asked if ms == ms]
        open_ = unanswered(capture)
        codes = Counter(code for *_, code in asked if code not in (None, "NOERROR"))
        median = f", median {duration(statistics.median(latency) / 1e3)}" if latency else ""
        counts = "".join(f", {n:,} {code}" for code, n in codes.most_common(2)) + (f", {open_:,} unanswered" if open_ else "")
        told.append(f"{plural(len(asked), 'lookup')}, {_asked_for(r[0] for r in asked)}{median}{counts}")
    if searches:
        told.append(f"{plural(len(searches), 'search', 'searches')} by multicast, {_asked_for(r[0] for r in searches)}")
    return "; ".join(told)


def lookups(capture: Capture, *columns: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Columns of lookups at a resolver, and of searches by multicast: who searches waits for nobody in particular."""
    t = capture.table("lookups")
    rows = list(zip(*(t[name].tolist() for name in columns), strict=True))
    single = [how != "mdns" and is_one_host(whom) for how, whom in zip(t["transport"].tolist(), t["resolver_ip"].tolist(), strict=True)]
    return [row for row, one in zip(rows, single, strict=True) if one], [row for row, one in zip(rows, single, strict=True) if not one]


def unanswered(capture: Capture) -> int:
    """Lookups at a resolver to which no answer came; where the snaplen cut frames, an answer over TCP may have been one of them."""
    cut = "cut_payload" in capture.table("quality")["reason"].tolist()
    return sum(answer is None and not (cut and how == "tcp") for answer, how in lookups(capture, "answer_ns", "transport")[0])


def _asked_for(qnames: Iterable[str | None]) -> str:
    """How many names, and the most frequent two."""
    names = Counter(name for name in qnames if name)
    first = ", ".join(shortened(printable(name), 60) for name, _ in names.most_common(2)) + (", ..." if len(names) > 2 else "")
    return f"{plural(len(names), 'name')} ({first})"
