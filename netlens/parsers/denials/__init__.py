"""Servers that say no, one protocol a file: Kerberos errors, RADIUS rejections, SMB logins, SIP failures, BGP notifications and so on.

Kept while ``netlens analyze`` reads a capture, and by no other command. Of a message only what says no is read: a number or a status, never a name or a text.
A new protocol needs a new file (:class:`netlens.parsers.denials._kinds.Denying` says what is in it) and a test with its messages.

Limits: only at the ports that a protocol declares; of the first :data:`MAX_MESSAGES` from them. Over TCP what begins at a segment's payload, or behind one
record mark there: a message that begins amid a segment, or of which the status is in the next one, is missed. So is what is encrypted.
FTP, SMTP, POP3, IMAP, MySQL, PostgreSQL and Redis, where an answer means nothing without its question, are read by :mod:`netlens.lenses._dialogs`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from netlens.parsers.denials._kinds import Denying
from netlens.registry import members
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

Array = np.ndarray[Any, Any]

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
        self._callers: dict[int, int] = {}  # port of a client of a server that answers from another port -> number of the protocol + 1

    def feed(self, buf: Array, packets: Array) -> None:
        """Take in a batch (int64[n, WIDTH])."""
        ports, udp = packets[:, c.PORTS], packets[:, c.KIND] == c.UDP
        transport, source, destination = udp.astype(np.int8), ports >> 16 & 0xFFFF, ports & 0xFFFF
        of = np.maximum(_FROM[transport, source], _TO[transport, destination])
        if udp.any():
            self._call_back(of, source, destination, udp)
        of[~udp & (packets[:, c.FRESH] <= 0)] = 0  # without data, or a repeat
        chosen = np.flatnonzero(of)[: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for row, number in zip(packets[chosen], of[chosen].tolist(), strict=True):
            answer = self._answer(buf, row.tolist(), PROTOCOLS[number - 1])
            if answer is not None:
                self.answers.append(answer)

    def _call_back(self, of: Array, source: Array, destination: Array, udp: Array) -> None:
        """Let answers from other ports than were asked be read."""
        for port, number in _CALLED.items():
            self._callers.update(dict.fromkeys(source[udp & (destination == port)].tolist(), number))
        if self._callers:
            known = np.isin(destination, list(self._callers)) & udp & (of == 0)
            of[known] = [self._callers[port] for port in destination[known].tolist()]

    @staticmethod
    def _answer(buf: Array, row: list[int], member: Denying) -> Answer | None:
        at, captured, length, mark = row[c.PAY_OFF], row[c.PAY_CAP], row[c.LENGTH], 0
        if row[c.KIND] == c.TCP:
            if not member.AT.within[0] <= row[c.OFFSET] < member.AT.within[1]:
                return None
            mark = member.AT.mark
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
