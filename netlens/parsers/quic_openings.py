"""How connections of QUIC begin: when a client sent its Initials, and when the server said more than that it had got them.

What acknowledges alone may be small; a datagram with an Initial that says more fills :data:`FULL` bytes, the client's as the server's (RFC 9000 14.1).

Limits: of the first :data:`MAX_MESSAGES` such datagrams, of versions 1 and 2 (RFC 9369 3.2).
"""

from dataclasses import dataclass

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text
from netlens.wire.datagrams import QUIC_2

MAX_MESSAGES = 100_000
FULL = 1200  #: bytes
AGAIN_NS = 100_000_000  #: what comes sooner belongs to the Initial before
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
        version, source, destination = row[c.PORTS] >> 32, row[c.PORTS] >> 16 & 0xFFFF, row[c.PORTS] & 0xFFFF
        src, dst, ts = (row[c.SRC_HI], row[c.SRC_LO]), (row[c.DST_HI], row[c.DST_LO]), row[c.TS]
        asked = self._known.get((*dst, destination, *src, source))
        if asked is not None:
            if not asked.answer_ns:
                asked.answer_ns, asked.answer_frame = ts, row[c.FRAME]
            return
        key = (*src, source, *dst, destination)
        own = self._known.get(key)
        if begins and source < destination:
            return  # a server, of a connection that is older than the capture
        if begins and (own is None or ts - own.last_ns > ATTEMPT_NS):
            own = Opening((ip_text(*src, version), source), (ip_text(*dst, version), destination), [row[c.FRAME]], ts, ts)
            self._known[key] = own
            self.openings.append(own)
        elif begins and own is not None and not own.answer_ns and ts - own.last_ns >= AGAIN_NS:
            own.frames.append(row[c.FRAME])
            own.last_ns = ts
