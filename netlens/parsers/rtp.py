"""Packets of RTP (RFC 3550 5.1): their numbers, by which a receiver knows how many are lost.

RTP has no port of its own, and its first bits alone tell little: whether packets are RTP is decided over a whole stream (:mod:`netlens.lenses.rtp_loss`),
by one source (SSRC) and numbers that go up one by one. Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_PACKETS` that may be RTP.
"""

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c

MAX_PACKETS = 200_000
HEADER = 12  #: bytes
_WIDTH = 9
FRAME, PORTS, SRC_LO, DST_LO, SOURCE, NUMBER, STAMP, TS, KIND = range(_WIDTH)  #: columns; SOURCE: SSRC; KIND: payload type
_RTCP = (64, 96)  # payload types that would be its packets (RFC 5761 4)


class RtpBuilder:
    """Fed with decoded datagrams."""

    def __init__(self) -> None:
        self._rows: list[Array] = []
        self._read = 0

    def packets(self) -> Array:
        """int64[n, 9]: what may be RTP, in order."""
        return np.concatenate([np.empty((0, _WIDTH), np.int64), *self._rows])

    def feed(self, buf: Array, packets: Array) -> None:
        if self._read >= MAX_PACKETS:
            return
        at = np.minimum(packets[:, c.PAY_OFF], len(buf) - HEADER)
        kind = buf[np.minimum(at + 1, len(buf) - 1)] & 0x7F
        likely = (buf[at] >> 6 == 2) & (packets[:, c.PAY_CAP] > HEADER) & ((kind < _RTCP[0]) | (kind >= _RTCP[1]))
        likely &= (packets[:, c.PORTS] & 0xFFFF > 1023) & (packets[:, c.PORTS] >> 16 & 0xFFFF > 1023)
        chosen = np.flatnonzero(likely)[: MAX_PACKETS - self._read]
        if not len(chosen):
            return
        rows, head = packets[chosen], buf[at[chosen][:, None] + np.arange(HEADER)].astype(np.int64)
        out = np.empty((len(chosen), _WIDTH), np.int64)
        out[:, FRAME], out[:, TS], out[:, PORTS] = rows[:, c.FRAME], rows[:, c.TS], rows[:, c.PORTS]
        out[:, SRC_LO], out[:, DST_LO] = rows[:, c.SRC_LO] ^ rows[:, c.SRC_HI], rows[:, c.DST_LO] ^ rows[:, c.DST_HI]
        out[:, SOURCE] = head[:, 8] << 24 | head[:, 9] << 16 | head[:, 10] << 8 | head[:, 11]
        out[:, NUMBER] = head[:, 2] << 8 | head[:, 3]
        out[:, STAMP] = head[:, 4] << 24 | head[:, 5] << 16 | head[:, 6] << 8 | head[:, 7]
        out[:, KIND] = head[:, 1] & 0x7F
        self._rows.append(out)
        self._read += len(out)
