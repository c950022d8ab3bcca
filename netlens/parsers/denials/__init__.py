"""Servers that say no, one protocol a file: Kerberos errors, RADIUS rejections, SMB logins, SIP failures, BGP notifications and so on.

Kept while ``netlens analyze`` reads a capture, and by no other command. Of a message only what says no is read: a number or a status, never a name or a text.
A new protocol needs a new file (:class:`netlens.parsers.denials._kinds.Denying` says what is in it), or rows of a table where its status has a fixed place
(:mod:`netlens.parsers.denials._layouts`), and a test with its messages.

Limits: only at the ports, or of the length, that a protocol declares; of the first :data:`MAX_MESSAGES` from them. Over TCP what begins at a
segment's payload, or behind one record mark there: a message that begins amid a segment, or of which the status is in the next one, is missed. So is what
is encrypted.
FTP, SMTP, POP3, IMAP, MySQL, PostgreSQL and Redis, where an answer means nothing without its question, are read by :mod:`netlens.lenses._dialogs`.
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers.denials._kinds import FOUND, KNOWN, LIMITED, NOTHING, Denying
from netlens.parsers.denials._layouts import LAYOUTS
from netlens.parsers.denials._mounts import PORT as MAPPER_PORT
from netlens.parsers.denials._mounts import MountPorts
from netlens.parsers.denials._questions import QUESTIONS
from netlens.registry import members
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text
from netlens.wire.compiled import lean

__all__ = ["BY_NAME", "FOUND", "KNOWN", "LIMITED", "MAPPER_PORT", "NOTHING", "PROTOCOLS", "Answer", "DenialBuilder", "Denying"]

MAX_MESSAGES = 100_000  #: and as many questions
LOOKED_AT = 1500  #: bytes of a message
PROTOCOLS: tuple[Denying, ...] = (*members(__name__, Denying, unique=("ID", "NAME")), *LAYOUTS)
BY_NAME = {member.NAME: member for member in PROTOCOLS}
_BY_ID = {member.ID: member for member in PROTOCOLS}
_MOUNTS = next(k + 1 for k, member in enumerate(PROTOCOLS) if member.ID == "rpc")


def _by_port(either: bool) -> Array:
    """uint8[2, 65536]: by transport (0 TCP, 1 UDP) and port, number of a protocol + 1; 0 none. ``either``: of those read in both directions, or whose questions
    are."""
    out = np.zeros((2, 1 << 16), np.uint8)
    for k, member in enumerate(PROTOCOLS):
        for transport, ports in enumerate((member.AT.tcp, member.AT.udp)):
            for port in ports if member.AT.either or member.ID in QUESTIONS or not either else ():
                if out[transport, port]:
                    raise TypeError(f"{member.ID} and {PROTOCOLS[out[transport, port] - 1].ID} have the same port {port}")
                out[transport, port] = k + 1
    return out


_FROM, _TO = _by_port(False), _by_port(True)
_ASKED = np.array([False, *(member.ID in QUESTIONS for member in PROTOCOLS)])  #: by number of a protocol + 1
_WITHIN = np.array([(0, 0, 0, 0), *((*member.AT.within, *member.AT.or_within) for member in PROTOCOLS)], np.int64)
_BEGINS = {member.AT.begins: k + 1 for k, member in enumerate(PROTOCOLS) if member.AT.begins[0]}
_CALLED = np.zeros(1 << 16, np.uint8)  #: by port of servers that answer from another, number of the protocol + 1
for _k, _member in enumerate(PROTOCOLS):
    _CALLED[list(_member.AT.udp if _member.AT.other_port else ())] = _k + 1


class Answer(NamedTuple):
    """A server's answer; ``no``: in words, "" if it grants what was asked."""

    ts: int
    frame: int
    protocol: str
    server: str
    client: str  # of DHCP its hardware address
    no: str
    port: int = 0  # the client's
    asked: bytes = b""  # see :mod:`netlens.parsers.denials._questions`; empty where it is not known


@lean
def _messages(packets, of_sender, of_receiver, callers, within, found, numbers):
    """Write to ``found`` which packets hold messages that are to be read, and to ``numbers`` of which protocol; returns how many.

    Segments are read where they are new and their stream's part is the protocol's.  of_sender, of_receiver : uint8[2, 65536], see :func:`_by_port`.
    callers : uint8[65536], of ports of clients that are answered from any.  within : see :data:`_WITHIN`.
    """
    n = 0
    for i in range(packets.shape[0]):
        ports, udp = packets[i, c.PORTS], packets[i, c.KIND] == c.UDP
        transport = 1 if udp else 0
        number = max(of_sender[transport, ports >> 16 & 0xFFFF], of_receiver[transport, ports & 0xFFFF])
        if udp and number == 0:
            number = callers[ports & 0xFFFF]
        if number == 0:
            continue
        offset = packets[i, c.OFFSET]
        there = within[number, 0] <= offset < within[number, 1] or within[number, 2] <= offset < within[number, 3]
        if udp or (there and packets[i, c.FRESH] > 0):
            found[n], numbers[n] = i, number
            n += 1
    return n


class DenialBuilder:
    """Fed with decoded packets whose sessions are known."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._read = self._asked = 0
        self._questions: dict[tuple[str, str, int, bytes], bytes] = {}  # by ends and number
        self._callers: Array = np.zeros(
            1 << 16, np.uint8
        )  # by port of a client of a server that answers from another port, number of the protocol + 1
        self._from, self._mounts = _FROM.copy(), MountPorts()

    def feed(self, buf: Array, packets: Array, datagrams: Array, mapper: bool) -> None:
        """datagrams : those of the packets.  mapper : whether any is of a port mapper."""
        self._by_beginning(buf, datagrams)
        if self._read >= MAX_MESSAGES:
            return
        called = np.flatnonzero(_CALLED.take(datagrams[:, c.PORTS] & 0xFFFF))
        for ports in datagrams[called, c.PORTS].tolist():
            self._callers[ports >> 16 & 0xFFFF] = _CALLED[ports & 0xFFFF]
        if mapper:
            self._mounts.feed(buf, packets)
            self._from[:, self._mounts.told & ~_FROM.any(axis=0)] = _MOUNTS
        found, numbers = np.empty((2, len(packets)), np.int64)
        n = _messages(packets, self._from, _TO, self._callers, _WITHIN, found, numbers)
        rows, numbers = packets[found[:n]], numbers[:n]
        asks = _ASKED[numbers] & (self._from[:, rows[:, c.PORTS] >> 16 & 0xFFFF].max(axis=0) != numbers)
        kept = np.where(asks, np.cumsum(asks) + self._asked, np.cumsum(~asks) + self._read) <= MAX_MESSAGES
        self._take(buf, rows[kept], numbers[kept].tolist(), asks[kept].tolist())

    def _take(self, buf: Array, rows: Array, numbers: list[int], asks: list[bool]) -> None:
        """Read messages of the protocols with these numbers; ``asks``: which of them may be questions."""
        self._asked += sum(asks)
        self._read += len(rows) - sum(asks)
        for row, number, question in zip(rows.tolist(), numbers, asks, strict=True):
            answer = self._answer(buf, row, PROTOCOLS[number - 1], question)
            if answer is not None:
                self.answers.append(answer)

    def _by_beginning(self, buf: Array, datagrams: Array) -> None:
        """Read what is told by its length and first bytes, at whatever port."""
        for (length, first), number in _BEGINS.items():
            whole = np.flatnonzero((datagrams[:, c.PAY_CAP] == length) & (datagrams[:, c.LENGTH] == length))
            chosen = [row for row in whole.tolist() if buf[datagrams[row, c.PAY_OFF] :][:2].tobytes() == first]
            chosen = chosen[: max(MAX_MESSAGES - self._read, 0)]
            self._take(buf, datagrams[chosen], [number] * len(chosen), [False] * len(chosen))

    def _answer(self, buf: Array, row: list[int], member: Denying, question: bool) -> Answer | None:
        at, captured, length = row[c.PAY_OFF], row[c.PAY_CAP], row[c.LENGTH]
        mark = member.AT.mark if row[c.KIND] == c.TCP else 0
        message = buf[at : at + min(captured, LOOKED_AT)].tobytes()
        if mark:
            length = int.from_bytes(message[max(mark - 3, 0) : mark], "big")
            message = message[mark : mark + length]
        version = row[c.PORTS] >> 32
        server, client = ip_text(row[c.SRC_HI], row[c.SRC_LO], version), ip_text(row[c.DST_HI], row[c.DST_LO], version)
        port = row[c.PORTS] & 0xFFFF
        asked = b""
        if of := QUESTIONS.get(member.ID):
            try:
                number, what = (of.read if question or of.number is None else of.number)(message)
            except IndexError:
                number = what = b""
            question |= member.AT.peers and bool(what)
            if question:
                self._questions[client, server, row[c.PORTS] >> 16 & 0xFFFF, number] = what
            else:
                asked = what if of.repeats else self._questions.get((server, client, port, number), b"")
        try:
            no = member.read(message, length) if member.AT.either or not question else None
            if asked and of:
                no = of.means(no, asked, message)
            for inside in (_BY_ID[id_] for id_ in member.INSIDE if no is None):
                member, no = inside, inside.read(message, length)
        except IndexError:
            return None
        if no is None:
            return None
        begin, end = member.AT.client
        return Answer(row[c.TS], row[c.FRAME], member.NAME, server, message[begin:end].hex(":") if end else client, no, port, asked)
