"""Servers that say no, one protocol a file: Kerberos errors, RADIUS rejections, SMB logins, SIP failures, BGP notifications and so on.

Kept while ``netlens analyze`` reads a capture, and by no other command. Of a message only what says no is read: a number or a status, never a name or a text.
A new protocol needs a new file (:class:`netlens.parsers.denials._kinds.Denying` says what is in it) and a test with its messages.

Limits: only at the ports, or of the length, that a protocol declares; of the first :data:`MAX_MESSAGES` from them. Over TCP what begins at a
segment's payload, or behind one record mark there: a message that begins amid a segment, or of which the status is in the next one, is missed. So is what
is encrypted.
FTP, SMTP, POP3, IMAP, MySQL, PostgreSQL and Redis, where an answer means nothing without its question, are read by :mod:`netlens.lenses._dialogs`.
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers.denials._kinds import FOUND, NOTHING, Denying
from netlens.registry import members
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

__all__ = ["BY_NAME", "FOUND", "NOTHING", "PROTOCOLS", "Answer", "DenialBuilder"]

MAX_MESSAGES = 100_000
LOOKED_AT = 1500  #: bytes of a message
PROTOCOLS = members(__name__, Denying, unique=("ID", "NAME"))
BY_NAME = {member.NAME: member for member in PROTOCOLS}


def _by_port(either: bool) -> Array:
    """uint8[2, 65536]: by transport (0 TCP, 1 UDP) and port, number of a protocol + 1; 0 none. ``either``: of those read in both directions."""
    out = np.zeros((2, 1 << 16), np.uint8)
    for k, member in enumerate(PROTOCOLS):
        for transport, ports in enumerate((member.AT.tcp, member.AT.udp)):
            for port in ports if member.AT.either or not either else ():
                if out[transport, port]:
                    raise TypeError(f"{member.ID} and {PROTOCOLS[out[transport, port] - 1].ID} have the same port {port}")
                out[transport, port] = k + 1
    return out


_FROM, _TO = _by_port(False), _by_port(True)
_WITHIN = np.array([(0, 0, 0, 0), *((*member.AT.within, *member.AT.or_within) for member in PROTOCOLS)], np.int64)
_BEGINS = {member.AT.begins: k + 1 for k, member in enumerate(PROTOCOLS) if member.AT.begins[0]}
_CALLED = {port: k + 1 for k, member in enumerate(PROTOCOLS) if member.AT.other_port for port in member.AT.udp}


class Answer(NamedTuple):
    """A server's answer; ``no``: in words, "" if it grants what was asked."""

    ts: int
    frame: int
    protocol: str
    server: str
    client: str  # of DHCP its hardware address
    no: str


class DenialBuilder:
    """Fed with decoded packets whose sessions are known."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._read = 0
        #: bool[65536]: ports of packets that may be of interest
        self._sources: Array = _FROM.max(axis=0) > 0
        self._destinations: Array = _TO.max(axis=0) > 0
        self._destinations[list(_CALLED)] = True
        self._callers: dict[int, int] = {}  # port of a client of a server that answers from another port -> number of the protocol + 1

    def feed(self, buf: Array, packets: Array) -> None:
        ports = packets[:, c.PORTS].astype(np.uint32)  # of most captures no port is of interest, and that must cost nothing
        source, destination = ports >> 16, ports & 0xFFFF
        self._by_beginning(buf, packets)
        rows = self._of_interest(source, destination)
        if not len(rows) or self._read >= MAX_MESSAGES:
            return
        udp = packets[rows, c.KIND] == c.UDP
        if udp.any() and self._called(ports[rows[udp]].tolist()):
            rows = self._of_interest(source, destination)
            udp = packets[rows, c.KIND] == c.UDP
        source, destination = source[rows], destination[rows]
        of = np.maximum(_FROM[udp.astype(np.int8), source], _TO[udp.astype(np.int8), destination])
        if self._callers:
            for i in np.flatnonzero(udp & (of == 0)).tolist():
                of[i] = self._callers.get(int(destination[i]), 0)
        offset, (begin, end, or_begin, or_end) = packets[rows, c.OFFSET], _WITHIN[of].T
        there = ((begin <= offset) & (offset < end)) | ((or_begin <= offset) & (offset < or_end))
        new = (packets[rows, c.FRESH] > 0) & there  # no repeat
        chosen = np.flatnonzero((of > 0) & (udp | new))[: MAX_MESSAGES - self._read]
        self._take(buf, packets[rows[chosen]], of[chosen].tolist())

    def _take(self, buf: Array, rows: Array, numbers: list[int]) -> None:
        """Read messages of the protocols with these numbers."""
        self._read += len(rows)
        for row, number in zip(rows.tolist(), numbers, strict=True):
            answer = self._answer(buf, row, PROTOCOLS[number - 1])
            if answer is not None:
                self.answers.append(answer)

    def _by_beginning(self, buf: Array, packets: Array) -> None:
        """Read what is told by its length and first bytes, at whatever port."""
        for (length, first), number in _BEGINS.items():
            whole = np.flatnonzero((packets[:, c.PAY_CAP] == length) & (packets[:, c.LENGTH] == length) & (packets[:, c.KIND] == c.UDP))
            chosen = [row for row in whole.tolist() if buf[packets[row, c.PAY_OFF] :][:2].tobytes() == first]
            chosen = chosen[: max(MAX_MESSAGES - self._read, 0)]
            self._take(buf, packets[chosen], [number] * len(chosen))

    def _of_interest(self, source: Array, destination: Array) -> Array:
        """Which packets may hold a message, by their ports."""
        return np.flatnonzero(self._sources.take(source) | self._destinations.take(destination))

    def _called(self, ports: list[int]) -> bool:
        """Whether among datagrams with these ports (source << 16 | destination) is one of a new client of servers that answer from another port."""
        before = len(self._callers)
        for source, destination in (divmod(each, 1 << 16) for each in ports):
            if destination in _CALLED:
                self._callers[source] = _CALLED[destination]
                self._destinations[source] = True
        return len(self._callers) > before

    @staticmethod
    def _answer(buf: Array, row: list[int], member: Denying) -> Answer | None:
        at, captured, length = row[c.PAY_OFF], row[c.PAY_CAP], row[c.LENGTH]
        mark = member.AT.mark if row[c.KIND] == c.TCP else 0
        message = buf[at : at + min(captured, LOOKED_AT)].tobytes()
        if mark:
            length = int.from_bytes(message[max(mark - 3, 0) : mark], "big")
            message = message[mark : mark + length]
        try:
            no = member.read(message, length)
        except IndexError:
            return None
        if no is None:
            return None
        version = row[c.PORTS] >> 32
        server, client = ip_text(row[c.SRC_HI], row[c.SRC_LO], version), ip_text(row[c.DST_HI], row[c.DST_LO], version)
        begin, end = member.AT.client
        return Answer(row[c.TS], row[c.FRAME], member.NAME, server, message[begin:end].hex(":") if end else client, no)
