"""Requests over UDP that a server answers by their protocol: who asks by such a datagram and hears nothing waits in vain.

What is asked is told by the first bytes of a conversation, and the port where these alone do not tell. DNS has lenses of its own. Not here: what needs no
answer (syslog, flow records, voice), is answered from another port (TFTP), is a greeting that most often finds nobody (STUN and BitTorrent among peers), or
a search (SSDP, mDNS, NetBIOS).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from netlens.addresses import is_one_host
from netlens.lenses._view import S, View
from netlens.parsers.quic_openings import FULL
from netlens.parsers.trail import Conversation
from netlens.wire.datagrams import QUIC_2, quic_kind

QUIC_VERSIONS = (1, QUIC_2)  #: RFC 9000 15, RFC 9369 3.1
RDP_SYN = 1232  #: bytes of a SYN (MS-RDPEUDP 3.1.5.1.1)
AGAIN_NS, DONE_NS = S, S // 5  #: a client of QUIC repeats its Initial within 1 s (RFC 9002 6.2.2); one that closes says so at once
INITIATION = 148  #: bytes of WireGuard's first message (whitepaper 5.4.2)
_SIP = (b"INVITE ", b"REGISTER", b"OPTIONS ", b"SUBSCRIB", b"MESSAGE ", b"PUBLISH ", b"NOTIFY ")  #: ACK gets no answer (RFC 3261 13.2.2.4)
_BY_PORT = {88: "Kerberos", 111: "RPC", 123: "NTP", 161: "SNMP", 500: "IKE", 1194: "OpenVPN", 1645: "RADIUS", 1646: "RADIUS", 1701: "L2TP",
            1812: "RADIUS", 1813: "RADIUS", 2049: "RPC", 2123: "GTP", 3389: "RDP", 5060: "SIP", 5246: "CAPWAP", 5683: "CoAP"}  # fmt: skip
#: Times that a pause is as long as the one before, at least and at most, of a timer that doubles it; how far one may be, as a share of it, from a line that
#: rises from each to the next by so much of the first, of a timer that adds to it; and how many pauses tell
DOUBLED, OFF, RISE, PAUSES = (1.7, 2.3), 0.125, 0.25, 4
MORE = 4  #: times as many datagrams as tries: some are sent in pieces, or again for something else
GIVE_UP_NS = 3 * S  #: SYNs of connect-unanswered take as long
#: Ports of what only tells: echo and discard (to wake a host), traps, syslog, StatsD, GELF, sFlow, flow records (NetFlow, IPFIX)
ONE_WAY = (7, 9, 162, 514, 2055, 4739, 6343, 8125, 9995, 9996, 12_201)
RTCP = range(200, 208)  #: types of its packets (RFC 3550 12.1, RFC 4585 6.1, RFC 3611 2)
#: Protocols whose servers stand in for each other: a client that one of them answers goes on.
SPARE = ("NTP", "RADIUS", "Kerberos", "NetBIOS", "CAPWAP", "OpenVPN", "IKE")
ACCOUNTING = (1646, 1813)  #: ports of RADIUS: who lets a client in counts nothing for it (RFC 2866 3)
NAT_T = {500, 4500}  #: ports of IKE, which goes on at the second behind NAT (RFC 7296 2.23)
TUNNELS = (500, 1194, 4500, 51_820)  #: ports of IPsec, OpenVPN and WireGuard, to which nothing else is sent
VPN = ("OpenVPN", "IKE", "WireGuard")  #: what speaks there; clients go on to the next server, or to TCP
RESETS, RESET_BACK = (0x38, 0x50), 0x40  #: first bytes of OpenVPN: hard resets of a client, versions 2 and 3, and of a server
PATIENT = ("NTP", "SNMP")  #: asked from time to time by what goes on without an answer


def asks(talk: Conversation) -> str:
    """The protocol of which the first datagram is a request that must be answered; "" for all else."""
    head, port = talk.head.to_bytes(8, "big"), talk.destination[1]
    if head[:4] == b"\x01\x00\x00\x00" and talk.bytes == INITIATION * talk.datagrams:
        return "WireGuard"  # both ends have the same port most often
    if talk.source[1] == port and port not in (123, 500, 5060, 5246):
        return ""  # peers, or a server of which only the answers are there
    if quic_kind(head) == 0 and talk.bytes >= FULL * talk.datagrams:
        return "QUIC"
    if head[:2] == b"\x16\xfe" and head[2] in (0xFC, 0xFD, 0xFF) and head[3:8] == bytes(5) and port < talk.source[1]:
        return "DTLS"  # a handshake record of epoch 0 (RFC 9147 4), the first of its sender
    name = _BY_PORT.get(port, "")
    if not name:
        return ""
    first = head[0]
    fits = {
        "NTP": first & 7 == 3,  # mode client (RFC 5905 7.3)
        "SNMP": first == 0x30,
        "RADIUS": first in (1, 4),  # Access-Request, Accounting-Request (RFC 2865 3, RFC 2866 3)
        "SIP": head.startswith(_SIP),
        "IKE": talk.head != 0,
        "Kerberos": first in (0x6A, 0x6C),  # AS-REQ, TGS-REQ (RFC 4120 5.4.1)
        "RPC": head[4:] == bytes(4),  # a call (RFC 5531 9)
        "OpenVPN": first in RESETS,
        # a control message without a tunnel yet (RFC 2661 3.1)
        "L2TP": first & 0x8F == 0x80 and head[1] & 0xF == 2 and head[4:6] == bytes(2),
        # an echo, or a context or session to be created (TS 29.060 7.1, TS 29.274 6.1)
        "GTP": first >> 5 in (1, 2) and head[1] in (1, 16, 32),
        "RDP": head[:4] == b"\xff" * 4 and head[7] & 1 == 1 and talk.bytes == RDP_SYN * talk.datagrams,
        # in clear, as discovery is, by version and header (RFC 5415 4.1, 4.3)
        "CAPWAP": head[:1] == b"\0" and 2 <= head[1] >> 3 <= 8,
        "CoAP": first >> 4 == 4 and 1 <= head[1] <= 31,  # confirmable, a request (RFC 7252 3)
    }
    return name if fits.get(name, False) else ""


def backs_off(talk: Conversation) -> bool:
    """Whether a conversation begins by one thing again and again, with pauses that double or rise in a line, as a timer for lost answers has them (RFC 8085
    3.1.1, RFC 9002 6.2.1), and has not many more."""
    pauses = np.diff(talk.tries)[:PAUSES]
    if len(pauses) < PAUSES or talk.last_ns - talk.first_ns < GIVE_UP_NS or talk.datagrams > MORE * (PAUSES + 1):
        return False
    ratios, (slope, start) = pauses[1:] / pauses[:-1], np.polyfit(np.arange(PAUSES), pauses, 1)
    in_line = slope >= RISE * pauses[0] and np.all(np.abs(start + slope * np.arange(PAUSES) - pauses) <= OFF * pauses)
    return bool(in_line or np.all((ratios >= DOUBLED[0]) & (ratios <= DOUBLED[1])))


def needs_no_answer(talk: Conversation) -> bool:
    """Whether a conversation is of a protocol that only tells: by its port, or as its first datagram begins."""
    first, kind = talk.head >> 56, talk.head >> 48 & 0xFF
    magic = talk.head >> 16 == 0xFFFFFFFFFFFF  # that wakes a host
    return talk.destination[1] in ONE_WAY or magic or (first >> 6 == 2 and kind in RTCP)


def stands_in(server: tuple[str, int], other: tuple[str, int]) -> bool:
    """Whether another server of the same protocol may do what this one does not; not the port to which IKE moves with the same one."""
    moved = server[0] == other[0] and {server[1], other[1]} == NAT_T
    return other != server and not moved and (other[1] in ACCOUNTING) == (server[1] in ACCOUNTING)


def hearing(view: View) -> set[str]:
    """Addresses that receive something in the capture; an answer to ARP will do, which a switch shows to no third."""
    heard = {address for k in view.whole for address in view.ends(k)[::2]}
    told = {told for _, told in view.side.capture.asking.near} | {e.told for e in view.side.capture.icmp_errors}
    return heard | told | {talk.destination[0] for talk in view.conversations}


def hearing_answers(view: View) -> set[str]:
    """Addresses that receive what is no request: a filter for the port of a service shows requests alone, to whoever serves it."""
    heard = {address for k in view.whole for address in view.ends(k)[::2]}
    told = {told for _, told in view.side.capture.asking.near} | {e.told for e in view.side.capture.icmp_errors}
    return heard | told | {talk.destination[0] for talk in view.conversations if talk.source[1] < talk.destination[1]}


def by_tcp(view: View, client: str, server: str, port: int) -> bool:
    """Whether a client has the same service over TCP, as browsers do where QUIC does not get through (RFC 9114 3.1)."""
    return (client, server, port) in view.once(_opened)


def _opened(view: View) -> set[tuple[str, str, int]]:
    ends = [view.ends(k) for k in view.whole]
    return {(client, server, port) for client, _, server, port in ends} | {(server, client, port) for client, port, server, _ in ends}


def requests(view: View) -> dict[tuple[str, str, tuple[str, int]], list[Conversation]]:
    """Conversations that begin by a request, by protocol, client and service."""
    found: dict[tuple[str, str, tuple[str, int]], list[Conversation]] = defaultdict(list)
    for talk in view.conversations:
        if is_one_host(talk.destination[0]) and (protocol := asks(talk) or ("QUIC" if acknowledged(view, talk) else "")):
            # who seeks a controller asks all, too, and is answered by each
            if protocol != "CAPWAP" or talk.destination not in view.once(asking_groups):
                found[protocol, talk.source[0], talk.destination].append(talk)
    return found


def asking_groups(view: View) -> set[tuple[str, int]]:
    """Ends that ask groups of hosts; what comes to them is an answer, though from another address than that of the group."""
    return {t.source for t in view.conversations if not is_one_host(t.destination[0])}


def answered(view: View, talk: Conversation) -> bool:
    """Whether anything came back from where a conversation went, of QUIC more than acknowledgments."""
    return (talk.destination, talk.source) in view.once(ways) and not acknowledged(view, talk)


def has_other_peers(view: View, end: tuple[str, int], peer: tuple[str, int]) -> bool:
    """Whether an end of WireGuard hears from another peer."""
    return bool(view.once(_peers).get(end, set()) - {peer})


def _peers(view: View) -> dict[tuple[str, int], set[tuple[str, int]]]:
    """Who hears from whom by WireGuard's messages, which begin by a number from 1 to 4 and three zeros."""
    found: dict[tuple[str, int], set[tuple[str, int]]] = defaultdict(set)
    for t in view.conversations:
        if t.head >> 32 in (0x01000000, 0x02000000, 0x03000000, 0x04000000):
            found[t.destination].add(t.source)
    return found


def has_other_tunnel(view: View, talk: Conversation) -> bool:
    """Whether a client of a VPN has OpenVPN with another server, whatever its port, or then TCP with this one."""
    client, server = talk.source[0], talk.destination
    other = any(who == client and whom != server for who, whom in view.once(_resets))
    return other or any(began >= talk.last_ns for began in view.once(_talking).get((client, server[0]), []))


def _resets(view: View) -> set[tuple[str, tuple[str, int]]]:
    """Clients of OpenVPN and the servers that answered the first they said."""
    back = view.once(ways)
    answers = ((t, back.get((t.destination, t.source))) for t in view.conversations if t.head >> 56 in RESETS)
    return {(t.source[0], t.destination) for t, answer in answers if answer is not None and answer.head >> 56 == RESET_BACK}


def _talking(view: View) -> dict[tuple[str, str], list[int]]:
    """By client and server, when connections begin in which the server says something."""
    said, begun = view.column("resp_bytes"), view.column("start_ns")
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for k in view.whole:
        if said[k]:
            found[view.ends(k)[::2]].append(begun[k])
    return found


def acknowledged(view: View, talk: Conversation) -> bool:
    """Whether a client of QUIC got nothing but acknowledgments of its Initials, or that the server closes: what says more fills a datagram of :data:`FULL`
    bytes (RFC 9000 14.1)."""
    if not _initial(talk.head.to_bytes(8, "big")):
        return False
    back = view.once(ways).get((talk.destination, talk.source))
    small = back is not None and (back.bytes < FULL or (talk.source, talk.destination) in view.once(_unanswered))
    return small and back is not None and _initial(back.head.to_bytes(8, "big"))


def _unanswered(view: View) -> set[tuple[tuple[str, int], tuple[str, int]]]:
    """Ends of a client and a server of QUIC that never filled a datagram of its handshake."""
    return {(o.client, o.server) for o in view.side.capture.quic if not o.answer_ns} if view.side.capture.quic_whole else set()


def _initial(head: bytes) -> bool:
    return int.from_bytes(head[1:5], "big") in QUIC_VERSIONS and quic_kind(head) == 0


def closed_at_once(view: View) -> list[tuple[Conversation, Conversation]]:
    """Conversations of QUIC whose server said no more than a short Initial to each of the client's, after which that is done, with what came back: were these
    acknowledgments alone, the client would say the same again within a second (RFC 9002 6.2.2), so there is CONNECTION_CLOSE (RFC 9000 10.2.3)."""
    found = []
    for talk in view.conversations:
        if talk.source[1] <= talk.destination[1] or not acknowledged(view, talk):
            continue
        back = view.once(ways).get((talk.destination, talk.source))
        begins = back is not None and talk.first_ns <= back.first_ns
        if back is not None and begins and back.datagrams <= talk.datagrams and talk.last_ns - back.first_ns < DONE_NS:
            found += [(talk, back)] if view.end_of(talk.first_frame) - talk.last_ns >= AGAIN_NS else []
    return found


def ways(view: View) -> dict[tuple[tuple[str, int], tuple[str, int]], Conversation]:
    """Conversations by their two ends."""
    return {(t.source, t.destination): t for t in view.conversations}
