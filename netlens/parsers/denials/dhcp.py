"""DHCP (RFC 2131 3, 4; RFC 2132 9.6): a server's NAK, and a client that declines an address because another host has it.

Ordinary: a NAK to a host that comes from another network, followed by an ACK. A NAK is broadcast and what follows need not be (RFC 2131 4.1), so that
a client is told by its hardware address.
"""

from netlens.parsers.denials._kinds import At

ID, NAME = "dhcp", "DHCP"
AT = At(udp=(67, 68), client=(28, 34))
_KINDS = {4: "DECLINE by the client: the address is in use", 6: "NAK"}


def read(message: bytes, length: int, /) -> str | None:
    """By the message type: of a server (op 2) a NAK or what grants, of a client (op 1) a DECLINE."""
    if len(message) < 244 or message[0] not in (1, 2) or message[236:240] != b"\x63\x82\x53\x63":
        return None
    at = 240
    while message[at] != 255:
        if message[at] == 53:
            kind = message[at + 2]
            if message[0] == 1:
                return _KINDS[4] if kind == 4 else None
            return _KINDS[6] if kind == 6 else ""
        at += 1 if message[at] == 0 else 2 + message[at + 1]
    return None
