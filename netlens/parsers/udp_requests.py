"""Requests over UDP that bear a mark of their own: sent again with the same mark, they say that no answer came.

Whoever gets an answer stops repeating itself. So the repeats of one request are evidence by themselves, even in a capture that holds the client's datagrams
alone, and of a server that answered the request before. Read are SIP (RFC 3261 17.1), IKE (RFC 7296 2.1), RADIUS (RFC 2865 2.5), DTLS (RFC 9147 5.8), DHCPv6
(RFC 8415 15), SNMP 1 and 2c (RFC 3416 3), TFTP (RFC 1350 4), L2TP (RFC 2661 5.8), GTP (TS 29.060 7.6, TS 29.274 7.6), PFCP (TS 29.244 6.4) and CoAP
(RFC 7252 4.2), Binding requests of STUN (RFC 8489 6.2.1), also NetBIOS name servers (RFC 1002 4.2), calls of RPC (RFC 5531 9),
MGCP (RFC 3435 3.5), PTP (IEEE 1588-2008 11.3: whose clock asks for its delay shares no number with its next try, but says which clock asks), NTP (RFC 5905
7.3) and handshakes of WireGuard (whitepaper 6.4). Of a message only its mark is kept, and only while its answer may come.

Limits: of the first :data:`MAX_MESSAGES`, at the ports of these protocols (DTLS: any). Where an answer was captured in part and bears no mark in that, what had
been asked before from the same port is left out.
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from netlens.columns import Array, members
from netlens.parsers.ber import ber, ber_int
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

End = tuple[str, int]  # address, port

MAX_MESSAGES = 100_000
LOOKED_AT = 1500  #: bytes of a message
AGAIN_NS = 400_000_000  #: what comes again sooner was recorded twice; SIP, the most impatient of these, waits 500 ms
ATTEMPT_NS = 60 * 10**9  #: after this, the same is asked anew
POLLS_NS = 1100 * 10**9  #: between two of NTP: 1024 s, with what a client varies (RFC 5905 7.2, MAXPOLL of most)
ANYTHING = b"*"  #: whatever comes back to the port that asked is an answer
_CALL, _NUMBER = re.compile(rb"\r\n(?:Call-ID|i)[ \t]*:([^\r]*)", re.I), re.compile(rb"\r\nCSeq[ \t]*:[ \t]*(\d+)", re.I)
_INVITED = re.compile(rb"\r\nCSeq[ \t]*:[ \t]*\d+[ \t]+INVITE", re.I)
_HELLOS = members(0x16FE, 0x1601)  #: how a handshake of DTLS begins
DTLS_VERSIONS = (b"\xfe\xff", b"\xfe\xfd", b"\xfe\xfc", b"\x01\x00")  #: the last is that of OpenSSL before 0.9.8f


class Mark(NamedTuple):
    """asks : a request, else an answer.  same : what a request and its repeats share.  keys : what an answer to it bears, any of them.

    served : the request says that an earlier one was answered.  answers : what is asked for here answers another request, that bears any of these.
    what : is asked for, if that is no answer of the protocol.  twin : shared by a request and what answers it in its own form, between the same two ends.
    """

    asks: bool
    same: bytes
    keys: tuple[bytes, ...]
    served: bool = False
    answers: tuple[bytes, ...] = ()
    what: str = ""
    twin: bytes = b""


@dataclass
class Request:
    """One request with its repeats, which are at least :data:`AGAIN_NS` apart.

    answer_ns, answer_frame, tries : when an answer came first, in which frame, and after how many datagrams; 0 where none did, or nothing but a later request
        tells of it.
    """

    protocol: str
    client: End
    server: End
    frames: list[int]
    first_ns: int
    last_ns: int
    answered: bool = False
    answer_ns: int = 0
    answer_frame: int = 0
    tries: int = 0

    def take_answer(self, ts: int, frame: int) -> None:
        """Note that an answer came."""
        if not self.answered:
            self.answered, self.answer_ns, self.answer_frame, self.tries = True, ts, frame, len(self.frames)


def _sip(message: bytes, length: int) -> Mark | None:
    method, _, rest = message[:16].partition(b" ")
    at = message.find(b"branch=")
    if at < 0 or not method.isascii() or not rest:
        return None
    told = message[at + 7 : at + 135]
    branch = told.split(b"\r")[0].split(b";")[0].split(b",")[0]
    if branch == told and len(message) < length:
        return None  # the snaplen cut it
    call = b"".join(found[1] for each in (_CALL, _NUMBER) if (found := each.search(message)))
    if method == b"SIP/2.0":
        picked_up = rest[:1] == b"2" and _INVITED.search(message) is not None  # said again until ACK comes (RFC 3261 13.3.1.4)
        return Mark(True, rest[:3], (call,), answers=(branch,), what="ACK of SIP") if picked_up else Mark(False, b"", (branch,))
    if method == b"ACK":
        return Mark(False, b"", (call,))
    return Mark(True, method + branch, (branch,)) if method.isalpha() else None


def _ike(message: bytes, length: int) -> Mark | None:
    message = message[4:] if message[:4] == bytes(4) else message  # behind a port of NAT traversal (RFC 3948 2.2)
    if len(message) < 28 or message[:8] == bytes(8):
        return None
    version, flags, number = message[17] >> 4, message[19], message[20:24]
    if version == 2:
        # the two ends count apart, and the flag of the initiator says whose number it is
        answer, whose = flags & 0x20, (flags & 8) ^ (8 if flags & 0x20 else 0)
        return Mark(not answer, message[24:28], (message[:8] + number + bytes([whose]),))
    begins = version == 1 and message[8:16] == bytes(8)
    return Mark(begins, message[24:28], (message[:8],)) if version == 1 else None


def _radius(message: bytes, length: int) -> Mark | None:
    if len(message) < 20 or int.from_bytes(message[2:4], "big") > length:
        return None
    return Mark(message[0] in (1, 4, 40, 43), message[4:20], (message[1:2],))


def _snmp(message: bytes, length: int) -> Mark | None:
    tag, at, _ = ber(message, 0)
    version, at = ber_int(message, at)
    _, _, at = ber(message, at)  # community
    pdu, at, _ = ber(message, at)
    number, _ = ber_int(message, at)
    if tag != 0x30 or version > 1 or pdu not in (0xA0, 0xA1, 0xA2, 0xA3, 0xA5, 0xA6):
        return None
    return Mark(pdu != 0xA2, bytes([pdu]), (number.to_bytes(8, "big"),))


def _stun(message: bytes, length: int) -> Mark | None:
    """A Binding request, or the answer to one (RFC 8489 5), which bears its number."""
    kind = message[:2]
    if len(message) < 20 or message[4:8] != b"\x21\x12\xa4\x42" or kind not in (b"\0\x01", b"\x01\x01", b"\x01\x11"):
        return None
    return Mark(kind == b"\0\x01", b"", (message[8:20],))


def _dhcpv6(message: bytes, length: int) -> Mark | None:
    relayed = message[0] in (12, 13)
    if relayed:  # hops, link and peer; the message is in an option
        at = 34
        while message[at : at + 2] != b"\x00\x09":
            at += 4 + int.from_bytes(message[at + 2 : at + 4], "big")
            if at + 4 > len(message):
                return None
        inner = _dhcpv6(message[at + 4 :], length)
        return inner and inner._replace(asks=message[0] == 12)
    if len(message) < 4 or not 1 <= message[0] <= 11:
        return None
    return Mark(message[0] not in (2, 7, 10), message[:1], (message[1:4],))


def _tftp(message: bytes, length: int) -> Mark | None:
    return Mark(True, message[:LOOKED_AT], (ANYTHING,)) if message[:2] in (b"\0\1", b"\0\2") else None


def _l2tp(message: bytes, length: int) -> Mark | None:
    """The first message of a tunnel, SCCRQ; its first AVP says so."""
    if len(message) < 20 or message[0] & 0x80 == 0 or message[4:8] != bytes(4) or message[14:20] != b"\0\0\0\0\0\1":
        return None
    return Mark(True, message[12:], (ANYTHING,))


def _gtp(message: bytes, length: int) -> Mark | None:
    version, kind = message[0] >> 5, message[1]
    if version == 2:
        number, asks = message[8:11] if message[0] & 8 else message[4:7], kind in (1, 32, 34, 36)
    elif version == 1 and message[0] & 2:
        number, asks = message[8:10], kind in (1, 16, 18, 20)
    else:
        return None
    return Mark(asks, message[:2], (number,)) if asks or kind in (2, 3, 17, 19, 21, 33, 35, 37) else None


def _pfcp(message: bytes, length: int) -> Mark | None:
    if len(message) < 8 or message[0] >> 5 != 1:
        return None
    return Mark(message[1] in (1, 3, 5, 7, 9, 12, 14, 50, 52, 54, 56), message[1:2], (message[12:15] if message[0] & 1 else message[4:7],))


def _coap(message: bytes, length: int) -> Mark | None:
    if len(message) < 4 or message[0] >> 6 != 1 or (size := message[0] & 15) > 8:
        return None
    kind, number, token = message[0] >> 4 & 3, b"n" + message[2:4], b"t" + message[4 : 4 + size]
    if 1 <= message[1] <= 31:
        return Mark(True, message[:2], (number, token)) if kind == 0 else None  # what is not confirmable is not repeated
    return Mark(False, b"", (number,) if kind > 1 else (token,))


def _dtls(message: bytes, length: int) -> Mark | None:
    """A ClientHello: what follows the headers of record and handshake, whose numbers change."""
    begins = message[:1] == b"\x16" and message[1:3] in DTLS_VERSIONS and message[3:5] == bytes(2) and message[13:14] == b"\x01"
    return Mark(True, message[25:], (ANYTHING,)) if begins and len(message) > 59 and message[19:22] == bytes(3) else None


def _nbns(message: bytes, length: int) -> Mark | None:
    """What a name server is asked: not a broadcast, with recursion, and not for a host's state (RFC 1002 4.2.17)."""
    if len(message) < 12:
        return None
    flags = int.from_bytes(message[2:4], "big")
    code = flags >> 11 & 15
    if flags & 0x8000:
        return Mark(False, b"", (message[:2],))
    asks = code in (0, 5, 6, 8, 9) and flags & 0x0110 == 0x0100 and message[4:6] == b"\0\1" and message[46:48] not in (_HOSTS_STATE, b"")
    return Mark(True, message[2:4], (message[:2],)) if asks else None


def _rpc(message: bytes, length: int) -> Mark | None:
    if len(message) < 24 or message[4:7] != bytes(3) or message[7] > 1:
        return None
    if message[7] == 1:
        return Mark(False, b"", (message[:4],))
    return Mark(True, message[12:24], (message[:4],)) if message[8:12] == b"\0\0\0\2" else None


def _mgcp(message: bytes, length: int) -> Mark | None:
    """A command with its transaction, or the response to one."""
    word, _, rest = message[:32].partition(b" ")
    number = rest.partition(b" ")[0].partition(b"\r")[0].partition(b"\n")[0]
    if not 0 < len(number) < 10 or not number.isdigit():
        return None
    if len(word) == 3 and word.isdigit():
        return Mark(False, b"", (number,))
    return Mark(True, word, (number,)) if len(word) == 4 and word.isalpha() and word.isupper() else None


def _wireguard(message: bytes, length: int) -> Mark | None:
    """A handshake's first message (whitepaper 5.4.2): whatever comes back shows that the peer is there."""
    return Mark(True, b"", (ANYTHING,)) if length == 148 and message[:4] == b"\1\0\0\0" else None


def _ptp(message: bytes, length: int) -> Mark | None:
    """Delay_Req and Delay_Resp of PTP 2 (IEEE 1588-2008 13.6, 13.8): the port of the clock that asks. NTP over PTP (draft-ietf-ntp-over-ptp) answers a
    Delay_Req by another one with the same sequenceId, in which NTP's mode is that of a server."""
    if len(message) < 44 or message[1] & 15 != 2:
        return None
    kind, number = message[0] & 15, message[30:32]
    if kind == _DELAY_REQ:
        serves = message[44:46] + message[48:54] == _NTP_INSIDE and message[56] & 7 == _SERVER
        return Mark(not serves, b"", () if serves else (message[20:30],), twin=number)
    return Mark(False, b"", (message[44:54],)) if kind == _DELAY_RESP else None


def _ntp(message: bytes, length: int) -> Mark | None:
    """A poll by a client of version 4 that fills in all it knows, its own stratum and reference time: then what it last heard of this server stands in its
    origin timestamp, nothing if it heard nothing yet. Of others that field says nothing."""
    if len(message) < 48 or message[0] & 0x3F != 0x23 or not 1 <= message[1] <= 15 or not any(message[16:24]) or not any(message[8:12]):
        return None
    return Mark(True, b"", (ANYTHING,), any(message[24:32]))


_EVERYWHERE = 2
_DELAY_REQ, _DELAY_RESP = 1, 9
#: The TLV that holds a message of NTP: ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE, of IANA (00-00-5E), 1; and the mode of a server (RFC 5905 7.3)
_NTP_INSIDE, _SERVER = b"\x80\0\0\0\x5e\0\0\1", 4
#: port -> protocol, how it is read, whether its marks are unique whichever server answers (:data:`_EVERYWHERE`: and whom), whether what was answered is another
#: request when it is asked anew, from whatever port
_BY_PORT: dict[int, tuple[str, Callable[[bytes, int], Mark | None], int, bool]] = {
    5060: ("SIP", _sip, True, False),
    500: ("IKE", _ike, False, False),
    4500: ("IKE", _ike, False, False),
    **dict.fromkeys((1645, 1646, 1812, 1813, 3799), ("RADIUS", _radius, False, False)),
    **dict.fromkeys((161, 162), ("SNMP", _snmp, False, False)),  # at the second informs, which are acknowledged (RFC 3416 4.2.7)
    3478: ("STUN", _stun, False, False),
    547: ("DHCPv6", _dhcpv6, True, False),
    546: ("DHCPv6", _dhcpv6, True, False),
    69: ("TFTP", _tftp, False, True),
    1701: ("L2TP", _l2tp, False, False),
    2123: ("GTP", _gtp, False, False),
    8805: ("PFCP", _pfcp, False, False),
    5683: ("CoAP", _coap, False, False),
    137: ("NetBIOS", _nbns, False, False),
    111: ("RPC", _rpc, False, False),
    2049: ("RPC", _rpc, False, False),
    **dict.fromkeys((2427, 2727), ("MGCP", _mgcp, False, False)),
    123: ("NTP", _ntp, False, False),
    **dict.fromkeys((319, 320), ("PTP", _ptp, _EVERYWHERE, True)),
    51820: ("WireGuard", _wireguard, False, False),
}
_ANY_PORT = ("DTLS", _dtls, False, False)
_HOSTS_STATE = b"\0\x21"  # behind a name of 34 bytes: NBSTAT
_NAT = 4500
_ANSWERED_ANYHOW = members(69, 1701, 123, 51820)  #: TFTP, L2TP, NTP, WireGuard


class RequestBuilder:
    """Fed with decoded packets."""

    def __init__(self) -> None:
        self._requests: list[Request] = []
        #: by a client's end and a server's address, when something was last told in a datagram that was captured in part
        self._unread: dict[tuple[End, str], int] = {}
        self._read = 0
        self._known: dict[tuple[Any, ...], Request] = {}
        self._awaited: dict[tuple[Any, ...], list[Request]] = {}
        self._twins: dict[tuple[Any, ...], Request] = {}
        #: bool[65536]: ports of packets that may be of interest, and such at which anything is an answer
        self._ports: Array = np.zeros(1 << 16, bool)
        self._ports[list(_BY_PORT)] = True
        self._asking: Array = np.zeros(1 << 16, bool)

    @property
    def requests(self) -> list[Request]:
        """In the order of their first datagrams; without those of which the answer may not have been captured whole."""
        if not self._unread:
            return self._requests
        return [r for r in self._requests if r.answered or self._unread.get((r.client, r.server[0]), r.first_ns) <= r.first_ns]

    def feed(self, buf: Array, packets: Array) -> None:
        if self._read >= MAX_MESSAGES:
            return
        ports = packets[:, c.PORTS]
        source, destination = ports >> 16 & 0xFFFF, ports & 0xFFFF
        at = np.minimum(packets[:, c.PAY_OFF], len(buf) - 2)
        first, captured = buf[at].astype(np.int64) << 8 | buf[at + 1], packets[:, c.PAY_CAP]
        kind = buf[np.minimum(packets[:, c.PAY_OFF] + 13, len(buf) - 1)]
        hello = _HELLOS[first] & (captured > 59) & (kind == 1)  # the client's: those of the server ask nothing
        of_interest = (self._ports[source] | self._ports[destination]) & (captured > 3) | hello
        of_interest &= (first == 0) | ((source != _NAT) & (destination != _NAT))  # else what IPsec carries
        self._asking[source[hello | (of_interest & _ANSWERED_ANYHOW[destination])]] = True
        chosen = packets[of_interest | self._asking[destination]][: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for row in chosen.tolist():
            self._take(buf, row)

    def _take(self, buf: Array, row: list[int]) -> None:
        source, destination = row[c.PORTS] >> 16 & 0xFFFF, row[c.PORTS] & 0xFFFF
        src, dst = (row[c.SRC_HI], row[c.SRC_LO]), (row[c.DST_HI], row[c.DST_LO])
        if (awaiting := self._awaited.pop((ANYTHING, dst, destination, src), None)) is not None:
            self._asking[destination] = False  # of another one at that port, what is to come is asked again
            for asked in awaiting:
                asked.take_answer(row[c.TS], row[c.FRAME])
        at = row[c.PAY_OFF]
        message = buf[at : at + min(row[c.PAY_CAP], LOOKED_AT)].tobytes()
        mark = None
        for protocol in (_BY_PORT.get(destination) or _BY_PORT.get(source) or _ANY_PORT, _ANY_PORT):
            with contextlib.suppress(IndexError):  # it ends too early
                if mark := protocol[1](message, row[c.LENGTH]):
                    break
        if mark is None:
            if row[c.PAY_CAP] < row[c.LENGTH]:
                version = row[c.PORTS] >> 32
                self._unread[(ip_text(*dst, version), destination), ip_text(*src, version)] = row[c.TS]
            return
        name, _, unique, other_ports = protocol
        if mark.twin and (twin := self._twins.pop((name, mark.twin, dst, destination, src, source), None)) is not None:
            twin.take_answer(row[c.TS], row[c.FRAME])
            return
        for key in mark.answers if mark.asks else mark.keys:
            whose = b"" if unique == _EVERYWHERE else dst
            for asked in self._awaited.pop((name, key, whose, b"" if unique else (destination, src)), ()):
                asked.take_answer(row[c.TS], row[c.FRAME])
        if not mark.asks:
            return
        again = (name, mark.same, mark.keys, src, 0 if other_ports else source, dst, destination)
        request, ts = self._known.get(again), row[c.TS]
        # what has no number of its own and was answered is another request, sent again from another port
        if request is None or ts - request.last_ns > (
            AGAIN_NS if request.answered and other_ports else POLLS_NS if name == "NTP" else ATTEMPT_NS
        ):
            version = row[c.PORTS] >> 32
            request = Request(
                mark.what or name, (ip_text(*src, version), source), (ip_text(*dst, version), destination), [row[c.FRAME]], ts, ts
            )
            self._known[again] = request
            self._requests.append(request)
        elif ts - request.last_ns >= AGAIN_NS:
            request.frames.append(row[c.FRAME])
            request.last_ns = ts
        request.answered |= mark.served
        if mark.twin:
            self._twins[name, mark.twin, src, source, dst, destination] = request
        if not request.answered:
            for key in mark.keys:
                whose = b"" if unique == _EVERYWHERE else src
                place = (ANYTHING, src, source, dst) if key == ANYTHING else (name, key, whose, b"" if unique else (source, dst))
                waiting = self._awaited.setdefault(place, [])
                waiting[:] = [*(each for each in waiting if key == ANYTHING and each is not request), request]  # numbers are used again
