"""Ports at which servers take mounts of NFS, as their port mappers tell them (RFC 1833 2, 3; RFC 1813 5)."""

import numpy as np

from netlens.columns import Array
from netlens.parsers.denials._rpc import reply
from netlens.wire import columns as c

PORT, _MOUNT = 111, 100_005
_CALL, _MAPPER, _ASKS = bytes(4) + b"\0\0\0\2", (100_000).to_bytes(4, "big"), 3  # GETPORT, GETADDR
_MOST = 10_000  #: calls and replies


class MountPorts:
    """Fed with packets; told : bool by port."""

    def __init__(self) -> None:
        self.told: Array = np.zeros(1 << 16, bool)
        self._asked: set[bytes] = set()  # numbers of calls
        self._read = 0

    def feed(self, buf: Array, packets: Array) -> None:
        """Calls and replies of one segment or datagram each."""
        ports = packets[:, c.PORTS]
        found = np.flatnonzero(((ports & 0xFFFF == PORT) | (ports >> 16 & 0xFFFF == PORT)) & (packets[:, c.PAY_CAP] > 0))
        found = found[: _MOST - self._read]
        self._read += len(found)
        for row in packets[found].tolist():
            at = row[c.PAY_OFF] + (4 if row[c.KIND] == c.TCP else 0)
            message = buf[at : row[c.PAY_OFF] + row[c.PAY_CAP]].tobytes()
            number = message[:4]
            if row[c.PORTS] & 0xFFFF == PORT:
                self._call(message)
            elif number in self._asked:
                no, result = reply(message)
                port = _port(result) if no == "" else 0
                self.told[port] |= port > 0

    def _call(self, message: bytes) -> None:
        if message[4:12] != _CALL or message[12:16] != _MAPPER or int.from_bytes(message[20:24], "big") != _ASKS:
            return
        at = 24
        for _ in range(2):  # credentials, verifier
            at += 8 + (int.from_bytes(message[at + 4 : at + 8], "big") + 3 & ~3)
        if int.from_bytes(message[at : at + 4], "big") == _MOUNT:
            self._asked.add(message[:4])


def _port(result: bytes) -> int:
    """A number, or an address whose last two parts are one (RFC 1833 2.1, RFC 5665 5.2.3.3)."""
    value = int.from_bytes(result[:4], "big")
    if len(result) == 4:
        return value if value < 1 << 16 else 0
    parts = result[4 : 4 + value].split(b".")[-2:]
    ports = [int(part) for part in parts if part.isdigit() and int(part) < 256]
    return ports[0] << 8 | ports[1] if len(ports) == 2 else 0
