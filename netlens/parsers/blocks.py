"""Blocks of TFTP and what acknowledges them, at whatever ports (RFC 1350 5): their numbers.

Four bytes that begin by 0 and 4 are told from other datagrams over a whole conversation, by numbers that go up one by one (:mod:`netlens.lenses.file_stopped`).
Kept while ``netlens analyze`` reads a capture, and by no other command. Limits: of the first :data:`MAX_BLOCKS`.
"""

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c

MAX_BLOCKS = 400_000
DATA, ACKNOWLEDGES = 3, 4
_WIDTH = 8
#: Columns; SRC, DST: the halves of an address, as one number; IDENT: IPv4's identification, 0 where no plain header stands before
FRAME, TS, PORTS, SRC, DST, KIND, NUMBER, IDENT = range(_WIDTH)
_PLAIN, _BEFORE, _AT = 0x45, 28, 24  # IPv4 without options; bytes of both headers, and from the identification to the payload


class BlockBuilder:
    """Fed with decoded datagrams."""

    def __init__(self) -> None:
        self._rows: list[Array] = []
        self._read = 0

    def blocks(self) -> Array:
        """int64[n, 8]: what may be such, in order."""
        return np.concatenate([np.empty((0, _WIDTH), np.int64), *self._rows])

    def feed(self, buf: Array, packets: Array) -> None:
        if self._read >= MAX_BLOCKS:
            return
        packets = packets[packets[:, c.PAY_CAP] >= 4]
        at = packets[:, c.PAY_OFF]
        kind = buf[at].astype(np.int64) << 8 | buf[at + 1]
        chosen = np.flatnonzero((kind == DATA) | ((kind == ACKNOWLEDGES) & (packets[:, c.LENGTH] == 4)))[: MAX_BLOCKS - self._read]
        if not len(chosen):
            return
        rows, at = packets[chosen], at[chosen]
        out = np.empty((len(chosen), _WIDTH), np.int64)
        out[:, FRAME], out[:, TS], out[:, PORTS], out[:, KIND] = rows[:, c.FRAME], rows[:, c.TS], rows[:, c.PORTS], kind[chosen]
        out[:, SRC], out[:, DST] = rows[:, c.SRC_LO] ^ rows[:, c.SRC_HI], rows[:, c.DST_LO] ^ rows[:, c.DST_HI]
        out[:, NUMBER] = buf[at + 2].astype(np.int64) << 8 | buf[at + 3]
        plain = (at >= _BEFORE) & (buf[at - _BEFORE] == _PLAIN)
        out[:, IDENT] = np.where(plain, buf[at - _AT].astype(np.int64) << 8 | buf[at - _AT + 1], 0)
        self._rows.append(out)
        self._read += len(chosen)
