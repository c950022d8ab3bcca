"""What DHCP clients asked for, and what servers told them (RFC 2131 3.1, RFC 2132 9.6).

A client broadcasts what it asks, so all hosts of its network hear it; the answers may be sent to it alone. But who was offered an address asks for it by a
broadcast again, and who is told nothing repeats itself: silence shows from everywhere. Who has an address and asks without giving it (ciaddr) is a router
that looks for other servers.

Limits: of the first :data:`MAX_MESSAGES`; not DHCPv6, nor BOOTP without DHCP.
"""

from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

MAX_MESSAGES = 50_000
LOOKED_AT = 600  #: bytes of a message
SERVER = 67
BOOTREQUEST, BOOTREPLY = 1, 2
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK = 1, 2, 3, 4, 5, 6
_MAGIC = b"\x63\x82\x53\x63"
_MASK, _ROUTERS, _NAME_SERVERS, _TYPE, _SERVER_ID = 1, 3, 6, 53, 54
_REQUESTED, _CLASS, _IDENTIFIER, _FILE = 50, 60, 61, 67
_BOOTS = (b"PXEClient", b"HTTPClient")  # the class of a client, and of a server of boot files (PXE 2.1 2.2.1, UEFI 24.7.2)


class Message(NamedTuple):
    """xid : what a client calls its attempt, which repeats and answers bear.  server : the address of a server that answers; "" of clients.

    routers, name_servers : that an answer gives.  network : that of the address it gives, "" without.  relayed : a relay asks, or had asked for it.  renews :
    whom one asks that has its address already, "" of others.  identifier : of a client, by which a server knows it (option 61).  address : that is given, asked
    for or declined, "" without.  boots : of a client whether it boots from the network, of an answer whether it says what is to be booted, or by whom.
    """

    ts: int
    frame: int
    kind: int
    xid: int
    server: str
    routers: frozenset[str] = frozenset()
    name_servers: frozenset[str] = frozenset()
    network: str = ""
    relayed: bool = False
    renews: str = ""
    identifier: bytes = b""
    address: str = ""
    boots: bool = False


class LeaseBuilder:
    """Fed with decoded datagrams.  messages : by the client's hardware address as text, to and from it."""

    def __init__(self) -> None:
        self.messages: dict[str, list[Message]] = {}
        self._read = 0

    def feed(self, buf: Array, packets: Array) -> None:
        ports = packets[:, c.PORTS]
        chosen = np.flatnonzero((ports & 0xFFFF == SERVER) | (ports >> 16 & 0xFFFF == SERVER))
        chosen = chosen[: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for row in packets[chosen].tolist():
            at = row[c.PAY_OFF]
            message = buf[at : at + min(row[c.PAY_CAP], LOOKED_AT)].tobytes()
            kind = message_type(message)
            nameless = message[12:16] == message[24:28] == bytes(4)  # neither ciaddr, the client's, nor giaddr, a relay's
            if kind and not (message[0] == BOOTREQUEST and nameless and row[c.SRC_LO] & 0xFFFFFFFF):
                client, xid = message[28:34].hex(":"), int.from_bytes(message[4:8], "big")
                relayed, renewing = any(message[24:28]), message[0] == BOOTREQUEST and any(message[12:16])  # giaddr, ciaddr
                renews = ip_text(row[c.DST_HI], row[c.DST_LO], 4) if renewing else ""
                said = Message(row[c.TS], row[c.FRAME], kind, xid, "", relayed=relayed, renews=renews)
                if message[0] == BOOTREQUEST:
                    address, boots = _option(message, _REQUESTED), _option(message, _CLASS).startswith(_BOOTS)
                    said = said._replace(identifier=_option(message, _IDENTIFIER), address=next(iter(_addresses(address)), ""), boots=boots)
                else:
                    routers, names = (frozenset(_addresses(_option(message, wanted))) for wanted in (_ROUTERS, _NAME_SERVERS))
                    said = said._replace(server=_server(message, row), routers=routers, name_servers=names, network=_network(message))
                    said = said._replace(address=_addresses(message[16:20])[0] if any(message[16:20]) else "", boots=_names_a_file(message))
                self.messages.setdefault(client, []).append(said)


def message_type(message: bytes) -> int:
    """Of a DHCP message; 0 of anything else."""
    if len(message) < 244 or message[0] not in (BOOTREQUEST, BOOTREPLY) or message[236:240] != _MAGIC:
        return 0
    return next(iter(_option(message, _TYPE)), 0)


def _option(message: bytes, wanted: int) -> bytes:
    at = 240
    while at + 2 < len(message) and message[at] != 255:
        if message[at] == wanted:
            return message[at + 2 : at + 2 + message[at + 1]]
        at += 1 if message[at] == 0 else 2 + message[at + 1]
    return b""


def _addresses(packed: bytes) -> list[str]:
    return [ip_text(0, int.from_bytes(packed[at : at + 4], "big"), 4) for at in range(0, len(packed) - 3, 4)]


def _names_a_file(message: bytes) -> bool:
    """Whether an answer names a file to boot (in its header or option 67), or comes from a server of such files (option 60)."""
    return bool(message[108]) or bool(_option(message, _FILE)) or _option(message, _CLASS).startswith(_BOOTS)


def _network(message: bytes) -> str:
    """Of the address that is given (yiaddr), by its mask."""
    mask, given = _option(message, _MASK), message[16:20]
    return _addresses(bytes(a & b for a, b in zip(mask, given, strict=True)))[0] if len(mask) == 4 and any(given) else ""


def _server(message: bytes, row: list[int]) -> str:
    """Who answers: as the message says, which a relay leaves alone, else by its source."""
    said = _option(message, _SERVER_ID)
    return ip_text(0, int.from_bytes(said, "big"), 4) if len(said) == 4 else ip_text(row[c.SRC_HI], row[c.SRC_LO], 4)
