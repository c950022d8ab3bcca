"""How connections of QUIC begin: when a client sent its Initials, and when the server said more than that it had got them.

What acknowledges alone may be small; a datagram with an Initial that says more fills :data:`FULL` bytes, the client's as the server's (RFC 9000 14.1).

Limits: of the first :data:`MAX_MESSAGES` such datagrams, of versions 1 and 2 (RFC 9369 3.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text
from netlens.wire.datagrams import QUIC_2

MAX_MESSAGES = 100_000
FULL = 1200  #: bytes
AGAIN_NS = 100_000_000  #: what comes sooner belongs to the Initial before; of DTLS, it is a copy, or bears the cookie
ATTEMPT_NS = 60 * 10**9  #: after this, it is another connection from the same port
_VERSION_1_INITIAL, _VERSION_2_INITIAL = 0xC0, 0xD0  # the upper four bits of the first byte
_VERSION_1_HANDSHAKE, _VERSION_2_HANDSHAKE = 0xE0, 0xF0


@dataclass
class Opening:
    """One attempt, of QUIC or DTLS.

    frames, last_ns : of the client's Initials or hellos before the answer, at least :data:`AGAIN_NS` apart.  answer_ns : 0 without one.
    """

    client: tuple[str, int]
    server: tuple[str, int]
    frames: list[int]
    first_ns: int
    last_ns: int
    answer_ns: int = 0
    answer_frame: int = 0

    @classmethod
    def of(cls, row: list[int]) -> Opening:
        """One that begins with a datagram."""
        client, server = ((ip_text(*end[:2], row[c.PORTS] >> 32), end[2]) for end in ends(row))
        return cls(client, server, [row[c.FRAME]], row[c.TS], row[c.TS])

    def again(self, row: list[int]) -> None:
        """The client says the same again."""
        if not self.answer_ns and row[c.TS] - self.last_ns >= AGAIN_NS:
            self.frames.append(row[c.FRAME])
            self.last_ns = row[c.TS]

    def answered(self, row: list[int]) -> None:
        """The server says more than that it got it."""
        if not self.answer_ns:
            self.answer_ns, self.answer_frame = row[c.TS], row[c.FRAME]


def ends(row: list[int]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Where a datagram comes from, and where it goes: both halves of the address, and the port."""
    ports = row[c.PORTS]
    return (row[c.SRC_HI], row[c.SRC_LO], ports >> 16 & 0xFFFF), (row[c.DST_HI], row[c.DST_LO], ports & 0xFFFF)


class OpeningBuilder:
    """Fed with decoded datagrams.  openings : in the order of their first datagrams."""

    def __init__(self) -> None:
        self.openings: list[Opening] = []
        self._read = 0
        self._known: dict[tuple[int, ...], Opening] = {}

    def feed(self, buf: Array, packets: Array) -> None:
        full = np.flatnonzero((packets[:, c.LENGTH] >= FULL) & (packets[:, c.PAY_CAP] >= 5))
        full = full[buf[packets[full, c.PAY_OFF]] >= _VERSION_1_INITIAL]
        at = packets[full, c.PAY_OFF]
        kind, version = buf[at] & 0xF0, np.zeros(len(full), np.int64)
        for k in range(1, 5):
            version = version << 8 | buf[at + k]
        initial = ((version == 1) & (kind == _VERSION_1_INITIAL)) | ((version == QUIC_2) & (kind == _VERSION_2_INITIAL))
        handshake = ((version == 1) & (kind == _VERSION_1_HANDSHAKE)) | ((version == QUIC_2) & (kind == _VERSION_2_HANDSHAKE))
        chosen = np.flatnonzero(initial | handshake)[: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for row, begins in zip(packets[full[chosen]].tolist(), initial[chosen].tolist(), strict=True):
            self._take(row, begins)

    def _take(self, row: list[int], begins: bool) -> None:
        sender, receiver = ends(row)
        asked = self._known.get((*receiver, *sender))
        if asked is not None:
            asked.answered(row)
            return
        if not begins or sender[-1] < receiver[-1]:
            return  # behind the first flight, or a server, of a connection that is older than the capture
        own = self._known.get((*sender, *receiver))
        if own is None or row[c.TS] - own.last_ns > ATTEMPT_NS:
            self._known[*sender, *receiver] = own = Opening.of(row)
            self.openings.append(own)
        else:
            own.again(row)
