"""Registrations of NHRP (RFC 2332 5.2.3, 5.2.4), by which a spoke of a tunnel for many (mGRE, DMVPN) tells its hub where it is; right in GRE.

Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_MESSAGES`; not inside ESP.
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers.carried import GRE
from netlens.wire import decode as d
from netlens.wire.addresses import ip_text

MAX_MESSAGES = 50_000
_LOOKED_AT = 400
_NHRP = 0x2001  # protocol inside GRE
_FIXED, _TYPE, _LENGTHS = (
    20,
    17,
    4,
)  # bytes of the fixed header; where in it the type stands; bytes of the common one up to the request's number
_REQUEST, _REPLY = 3, 4


class Registration(NamedTuple):
    """A registration or the reply to one.  number : of the request.  code : of a reply, 0 if all is well; -1 of a request."""

    ts: int
    frame: int
    number: int
    code: int


class NhrpBuilder:
    """Fed with what the decoder hands back.  registrations : by the spoke's address and the hub's."""

    def __init__(self) -> None:
        self.registrations: dict[tuple[str, str], list[Registration]] = {}
        self._read = 0

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        rows = rows[(rows[:, d.PIECE] == d.CARRIED) & (rows[:, 9] == GRE) & (rows[:, 13] > 4 + _FIXED + 8)]
        if not len(rows):
            return
        inside = buf[rows[:, 11] + 2].astype(np.int64) << 8 | buf[rows[:, 11] + 3]
        chosen = rows[inside == _NHRP][: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for frame, ts, _, ip, s_hi, s_lo, d_hi, d_lo, _, _, _, at, _, captured in chosen.tolist():
            flags = int(buf[at])
            skipped = 4 + 4 * sum(bool(flags & bit) for bit in (0x80, 0x20, 0x10))  # checksum, key and number (RFC 2784 2, RFC 2890 2)
            message = buf[at + skipped : at + min(captured, _LOOKED_AT)].tobytes()
            source, destination = ip_text(s_hi, s_lo, ip), ip_text(d_hi, d_lo, ip)
            if len(message) < _FIXED + 8 or message[_TYPE] not in (_REQUEST, _REPLY):
                continue
            number = int.from_bytes(message[_FIXED + _LENGTHS : _FIXED + 8], "big")
            if message[_TYPE] == _REQUEST:
                self.registrations.setdefault((source, destination), []).append(Registration(ts, frame, number, -1))
            elif (code := _code(message)) is not None:
                self.registrations.setdefault((destination, source), []).append(Registration(ts, frame, number, code))


def _code(message: bytes) -> int | None:
    """Of a reply's first entry, behind the addresses; 0 where there is none, None where it is cut."""
    at = (
        _FIXED + 8 + (message[18] & 0x3F) + (message[19] & 0x3F) + message[_FIXED] + message[_FIXED + 1]
    )  # NBMA address and subaddress, protocol addresses
    size = int.from_bytes(message[10:12], "big")
    return message[at] if at < len(message) else 0 if at >= size else None
