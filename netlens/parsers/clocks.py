"""What clocks say in NTP (RFC 5905 7.3): how far a client's and a server's are from that of the capture.

Kept while ``netlens analyze`` reads a capture, and by no other command. Limits: of the first :data:`MAX_MESSAGES`.
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

MAX_MESSAGES = 20_000
_PORT, _HEADER = 123, 48
_CLIENT, _SERVER = 3, 4  # modes
TO_UNIX = 2_208_988_800  # s from 1900 to 1970
_S = 1_000_000_000


class Stamp(NamedTuple):
    """A message of a client (``asks``), or of a server that has the time.

    ts : of the capture, ns.  ahead_ns : its transmit timestamp less the time of the capture.  mark : by which an answer is known: the client's
    transmit timestamp.  port : of the client.  distance_ns : root delay / 2 + root dispersion, by which a server may be off as it says itself.  by_itself : it
    says that its time is that of its own clock.
    """

    ts: int
    frame: int
    client: str
    server: str
    asks: bool
    ahead_ns: int
    mark: bytes
    port: int
    distance_ns: int
    by_itself: bool


class ClockBuilder:
    """Fed with decoded datagrams."""

    def __init__(self) -> None:
        self.stamps: list[Stamp] = []
        self._read = 0

    def feed(self, buf: Array, packets: Array) -> None:
        if self._read >= MAX_MESSAGES:
            return
        ports = packets[:, c.PORTS]
        chosen = (((ports & 0xFFFF) == _PORT) | ((ports >> 16 & 0xFFFF) == _PORT)) & (packets[:, c.PAY_CAP] >= _HEADER)
        rows = packets[np.flatnonzero(chosen)[: MAX_MESSAGES - self._read]].tolist()
        self._read += len(rows)
        for row in rows:
            text = buf[row[c.PAY_OFF] : row[c.PAY_OFF] + _HEADER].tobytes()
            mode, version = text[0] & 7, row[c.PORTS] >> 32
            if mode not in (_CLIENT, _SERVER) or (mode == _SERVER and (text[0] >> 6 == 3 or not 0 < text[1] < 16)):
                continue
            ends = ip_text(row[c.SRC_HI], row[c.SRC_LO], version), ip_text(row[c.DST_HI], row[c.DST_LO], version)
            client, server = ends if mode == _CLIENT else ends[::-1]
            mark = text[40:48] if mode == _CLIENT else text[24:32]
            if any(mark):
                port = row[c.PORTS] & 0xFFFF if mode == _SERVER else row[c.PORTS] >> 16 & 0xFFFF
                distance = (int.from_bytes(text[4:8], "big") // 2 + int.from_bytes(text[8:12], "big")) * _S >> 16
                by_itself = text[12:16] == b"LOCL" or (text[1] > 1 and text[12:14] == b"\x7f\x7f")
                ahead = _ahead(text[40:48], row[c.TS])
                self.stamps.append(Stamp(row[c.TS], row[c.FRAME], client, server, mode == _CLIENT, ahead, mark, port, distance, by_itself))


def _ahead(stamp: bytes, ts: int) -> int:
    """A timestamp of NTP less a time in ns, in the era that is nearest (RFC 5905 6)."""
    seconds, fraction = int.from_bytes(stamp[:4], "big"), int.from_bytes(stamp[4:], "big")
    off = (seconds - TO_UNIX - ts // _S + (1 << 31)) % (1 << 32) - (1 << 31)
    return off * _S + (fraction * _S >> 32) - ts % _S
