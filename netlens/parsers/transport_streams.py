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
#: Columns; DIGEST: the same for datagrams that begin alike in all packets, and in the middle; from HEADERS on the first four bytes of each packet, and two of
#: its adaptation field
FRAME, TS, PORTS, SRC_LO, DST_LO, DIGEST, HEADERS = range(7)
NONE = -1  #: in place of a packet that is not there
_MIDDLE = 100  #: where the digest takes eight bytes of a packet: of pictures or sound, not of their headers
_ODD = -0x61C8864680B583EB  # 2^64 by the golden ratio (Knuth, TAOCP 6.4)


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
        out[:, DIGEST] = rows[:, c.PAY_CAP]
        synchronous = np.ones(len(rows), np.bool_)
        for k in range(MOST):
            there = np.flatnonzero(rows[:, c.PAY_CAP] > k * SIZE)
            begins = (rows[there, c.PAY_OFF] + k * SIZE)[:, None]
            head = buf[begins + np.arange(6)].astype(np.int64)
            middle = (buf[begins + _MIDDLE + np.arange(8)].astype(np.int64) << np.arange(56, -8, -8)).sum(axis=1)
            synchronous[there] &= head[:, 0] == _SYNC
            out[there, HEADERS + k] = (head << np.arange(40, -8, -8)).sum(axis=1)
            out[there, DIGEST] = (out[there, DIGEST] * _ODD + out[there, HEADERS + k]) * _ODD + middle  # modulo 2^64
        self._rows.append(out[synchronous])
        self._read += len(out)
