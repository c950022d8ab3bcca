"""Sessions of BFD (RFC 5880), by which routers watch each other: what each end says of the session's state.

Limits: of the first :data:`MAX_PACKETS`, at the ports of RFC 5881, RFC 5883 and RFC 7130; of each end changes of state are kept, not packets.
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array, members
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

MAX_PACKETS = 100_000
PORTS = members(3784, 4784, 6784)
ADMIN_DOWN, DOWN, INIT, UP = range(4)  # RFC 5880 4.1
_SHORTEST = 24  #: bytes of a control packet


class Change(NamedTuple):
    """From this packet on, an end says this state; ``packets``, ``last_ns``: how many it sent that say so, and when the last one; ``heard``: whether any of
    them names the peer's discriminator, so that something of it had arrived (RFC 5880 6.8.1, bfd.RemoteDiscr)."""

    ts: int
    frame: int
    state: int
    diagnostic: int
    packets: int
    last_ns: int
    heard: bool


class BfdBuilder:
    """Fed with decoded datagrams.  sessions : by sender, receiver and the sender's discriminator, its states in order."""

    def __init__(self) -> None:
        self.sessions: dict[tuple[str, str, int], list[Change]] = {}
        self._read = 0

    def feed(self, buf: Array, packets: Array) -> None:
        fits = packets[:, c.PAY_CAP] >= _SHORTEST
        chosen = np.flatnonzero(fits & PORTS[packets[:, c.PORTS] & 0xFFFF])[: MAX_PACKETS - self._read]
        self._read += len(chosen)
        for row in packets[chosen].tolist():
            at = row[c.PAY_OFF]
            message = buf[at : at + _SHORTEST].tobytes()
            if message[0] >> 5 != 1 or not _SHORTEST <= message[3] <= row[c.LENGTH]:
                continue
            version, ts, state, diagnostic = row[c.PORTS] >> 32, row[c.TS], message[1] >> 6, message[0] & 31
            ends = ip_text(row[c.SRC_HI], row[c.SRC_LO], version), ip_text(row[c.DST_HI], row[c.DST_LO], version)
            heard = any(message[8:12])
            said = self.sessions.setdefault((*ends, int.from_bytes(message[4:8], "big")), [])
            if said and said[-1].state == state:
                said[-1] = said[-1]._replace(packets=said[-1].packets + 1, last_ns=ts, heard=said[-1].heard or heard)
            else:
                said.append(Change(ts, row[c.FRAME], state, diagnostic, 1, ts, heard))
