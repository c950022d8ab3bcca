"""Routers that say over HSRP that they are the one that forwards: version 1 (RFC 2281 5) and version 2, in which a message is a TLV.

Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_MESSAGES`, to all routers of a network.
"""

from netlens.columns import Array
from netlens.parsers.routers import IP_HEADER, Master, VirtualRouter, vlans
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

MAX_MESSAGES = 100_000
NAME = "HSRP"
PORTS = (1985, 2029)  #: of IPv4, of IPv6
_GROUPS = ("224.0.0.2", "224.0.0.102", "ff02::66")
_UDP_HEADER = 8
_RESIGN = 2  # opcode; the others are Hello and Coup
_ACTIVE, _ACTIVE_2 = 16, 6  # states, by version
_GROUP_STATE, _GROUP_STATE_BYTES = 1, 40  # TLV of version 2


class HsrpBuilder:
    """Fed with decoded datagrams.  virtual : as :class:`netlens.parsers.routers.RouterBuilder` has it of VRRP: who says that it is active, or (priority 0)
    that it is no longer; the network's numbers end with -1."""

    def __init__(self) -> None:
        self.virtual: dict[VirtualRouter, list[Master]] = {}
        self._read = 0

    def feed(self, buf: Array, packets: Array) -> None:
        port = packets[:, c.PORTS] & 0xFFFF
        chosen = packets[((port == PORTS[0]) | (port == PORTS[1])) & (packets[:, c.PAY_CAP] >= 20)][: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for row in chosen.tolist():
            version, at = row[c.PORTS] >> 32, row[c.PAY_OFF]
            if ip_text(row[c.DST_HI], row[c.DST_LO], version) not in _GROUPS:
                continue
            found = _said(buf[at : at + row[c.PAY_CAP]].tobytes())
            if found is not None:
                number, address, priority = found
                network = row[c.IFACE], *vlans(buf, at - _UDP_HEADER - IP_HEADER[version]), -1
                router = ip_text(row[c.SRC_HI], row[c.SRC_LO], version)
                self.virtual.setdefault((network, number, (address,)), []).append(Master(row[c.TS], row[c.FRAME], router, priority, NAME))


def _said(message: bytes) -> tuple[int, str, int] | None:
    """(group, virtual address, priority) of who is active, or no longer is; None of all else."""
    if message[0] == 0:
        operation, is_active = message[1], message[2] == _ACTIVE
        number, priority, address = message[6], message[5], ip_text(0, int.from_bytes(message[16:20], "big"), 4)
    elif message[:2] == bytes([_GROUP_STATE, _GROUP_STATE_BYTES]) and len(message) >= 2 + _GROUP_STATE_BYTES:
        operation, is_active = message[3], message[4] == _ACTIVE_2
        number, priority = int.from_bytes(message[6:8], "big"), int.from_bytes(message[14:18], "big")
        size = 16 if message[5] == 6 else 4
        packed = message[26 : 26 + size]
        address = ip_text(int.from_bytes(packed[:-8], "big"), int.from_bytes(packed[-8:], "big"), 6 if size == 16 else 4)
    else:
        return None
    if operation == _RESIGN:
        return number, address, 0
    return (number, address, max(priority, 1)) if is_active else None
