"""How handshakes of DTLS begin (RFC 9147 5, RFC 6347 4.2): when a client sent its ClientHellos, and when the server's hello came.

A ClientHello is sent again until it is answered, and once more with the cookie that a server may ask for first (HelloVerifyRequest); its random number stays.

Limits: of the first :data:`MAX_MESSAGES` hellos, that begin a datagram in clear.
"""

import numpy as np

from netlens.columns import Array
from netlens.parsers.quic_openings import Opening, ends
from netlens.parsers.udp_requests import DTLS_VERSIONS
from netlens.wire import columns as c

MAX_MESSAGES = 100_000
_HANDSHAKE, _CLIENT_HELLO, _SERVER_HELLO = 0x16, 1, 2
_RANDOM = slice(27, 59)  # behind the headers of record and message, and the version


class HandshakeBuilder:
    """Fed with decoded datagrams.  openings : in the order of their first datagrams."""

    def __init__(self) -> None:
        self.openings: list[Opening] = []
        self._read = 0
        self._known: dict[tuple[int, ...], tuple[bytes, Opening]] = {}

    def feed(self, buf: Array, packets: Array) -> None:
        long_enough = packets[packets[:, c.PAY_CAP] >= _RANDOM.stop]
        at = long_enough[:, c.PAY_OFF]
        hello = (buf[at] == _HANDSHAKE) & ((buf[at + 13] == _CLIENT_HELLO) | (buf[at + 13] == _SERVER_HELLO))
        chosen = np.flatnonzero(hello)[: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for row in long_enough[chosen].tolist():
            self._take(buf[row[c.PAY_OFF] :][: _RANDOM.stop].tobytes(), row)

    def _take(self, message: bytes, row: list[int]) -> None:
        if message[1:3] not in DTLS_VERSIONS or any(message[3:5]) or any(message[19:22]):
            return  # another protocol, a later epoch, not the first fragment
        sender, receiver = ends(row)
        if message[13] == _SERVER_HELLO:
            _, asked = self._known.get((*receiver, *sender), (b"", None))
            if asked is not None:
                asked.answered(row)
            return
        random, own = self._known.get((*sender, *receiver), (b"", None))
        if own is None or random != message[_RANDOM]:
            own = Opening.of(row)
            self._known[*sender, *receiver] = message[_RANDOM], own
            self.openings.append(own)
        else:
            own.again(row)
