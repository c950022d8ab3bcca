"""Packets of MPEG transport streams in UDP (ISO/IEC 13818-1 2.4.3), as television over IP has them: which program's they are, and their counters.

A datagram is taken for such packets if it has whole ones alone, each of which begins by the sync byte. Those in RTP have numbers of their own (see
:mod:`netlens.parsers.rtp`). Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_DATAGRAMS`, with up to :data:`MOST` packets each.
"""

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c

MAX_DATAGRAMS = 200_000
SIZE, MOST = 188, 7  #: bytes of a packet; packets that fit into a frame of Ethernet
_SYNC = 0x47
FRAME, TS, PORTS, SRC_LO, DST_LO, HEADERS = range(
    6
)  #: columns; from HEADERS on the first four bytes of each packet, and two of its adaptation field
NONE = -1  #: in place of a packet that is not there


class TransportBuilder:
    """Fed with decoded datagrams."""

    def __init__(self) -> None:
        self._rows: list[Array] = []
        self._read = 0

    def datagrams(self) -> Array:
        """int64[n, HEADERS + MOST]: those that hold such packets, in order."""
        return np.concatenate([np.empty((0, HEADERS + MOST), np.int64), *self._rows])

    def feed(self, buf: Array, packets: Array) -> None:
        if self._read >= MAX_DATAGRAMS:
            return
        size, at = packets[:, c.PAY_CAP], packets[:, c.PAY_OFF]
        fits = (size > 0) & (size % SIZE == 0) & (size <= MOST * SIZE) & (size == packets[:, c.LENGTH])
        fits[fits] = buf[at[fits]] == _SYNC
        chosen = np.flatnonzero(fits)[: MAX_DATAGRAMS - self._read]
        if not len(chosen):
            return
        rows = packets[chosen]
        out = np.full((len(rows), HEADERS + MOST), NONE, np.int64)
        out[:, FRAME], out[:, TS], out[:, PORTS] = rows[:, c.FRAME], rows[:, c.TS], rows[:, c.PORTS]
        out[:, SRC_LO], out[:, DST_LO] = rows[:, c.SRC_LO] ^ rows[:, c.SRC_HI], rows[:, c.DST_LO] ^ rows[:, c.DST_HI]
        synchronous = np.ones(len(rows), np.bool_)
        for k in range(MOST):
            there = np.flatnonzero(rows[:, c.PAY_CAP] > k * SIZE)
            head = buf[(rows[there, c.PAY_OFF] + k * SIZE)[:, None] + np.arange(6)].astype(np.int64)
            synchronous[there] &= head[:, 0] == _SYNC
            out[there, HEADERS + k] = (head << np.arange(40, -8, -8)).sum(axis=1)
        self._rows.append(out[synchronous])
        self._read += len(out)
