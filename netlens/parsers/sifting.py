"""Which readers of :mod:`netlens.parsers.closely` a batch may concern, in one pass over its rows: most of them look for what few captures hold."""

from __future__ import annotations

import numpy as np

from netlens.columns import Array, Ints
from netlens.parsers.calls import PORT as SIP_PORT
from netlens.parsers.denials import MAPPER_PORT
from netlens.parsers.fatal_errors import BEGINS, VERSION
from netlens.wire import columns as c
from netlens.wire.compiled import lean

GRPC, SSH, SIP, MAPPER = (1 << k for k in range(4))  #: what begins like HTTP/2 or SSH, and what is of these ports
_LOOKED_AT = 8  # bytes of a payload
_ALL = GRPC | SSH | SIP | MAPPER
_P, _R, _S = b"PRS"


def sift(buf: Array, packets: Array) -> tuple[int, Ints]:
    """What may be in a batch, as bits, and the rows that may hold a start-up or an error of PostgreSQL, rising."""
    rows = np.empty(len(packets), np.int64)
    if len(buf) < _LOOKED_AT:
        return _ALL, np.arange(len(packets))
    found, n = _sift(buf, packets, BEGINS, VERSION[1], rows)
    return int(found), rows[:n]


@lean
def _sift(buf, packets, begins, version, rows):
    """Bits of :func:`sift`, and how many rows were written to ``rows``."""
    found, n = 0, 0
    for i in range(packets.shape[0]):
        row = packets[i]
        source, destination = row[c.PORTS] >> 16 & 0xFFFF, row[c.PORTS] & 0xFFFF
        if source == SIP_PORT or destination == SIP_PORT:
            found |= SIP
        if source == MAPPER_PORT or destination == MAPPER_PORT:
            found |= MAPPER
        if row[c.SESSION] < 0 or row[c.PAY_CAP] <= 4:
            continue
        at = min(row[c.PAY_OFF], buf.shape[0] - _LOOKED_AT)
        if row[c.OFFSET] == 0:
            if buf[at] == _P and buf[at + 1] == _R:
                found |= GRPC
            elif buf[at] == _S and buf[at + 1] == _S:
                found |= SSH
        if row[c.FRESH] > 0 and (buf[at + 5] == version or (begins[buf[at]] and buf[at + 1] == 0 and buf[at + 2] == 0)):
            rows[n] = i
            n += 1
    return found, n
