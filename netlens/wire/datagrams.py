"""What a datagram is by its first eight bytes: QUIC, DTLS, STUN, WireGuard."""

HTTPS = 443  #: where whatever wants to get through goes
QUIC_2 = 0x6B3343CF  #: version 2
_STUN_COOKIE = b"\x21\x12\xa4\x42"
_WIREGUARD = tuple(bytes([kind, 0, 0, 0]) for kind in (1, 2, 3, 4))


def quic_kind(head: bytes) -> int:
    """The type in a long header of QUIC, 0 being an Initial (RFC 9000 17.2, RFC 9369 3.2, and Google's versions before); -1: it is none."""
    version = int.from_bytes(head[1:5], "big")
    if head[0] & 0xC0 != 0xC0:
        return -1
    kind = head[0] >> 4 & 3
    if version == QUIC_2:
        return (kind - 1) % 4
    known = version == 1 or version >> 8 == 0xFF0000 or version & 0x0F0F0F0F == 0x0A0A0A0A or head[1:3] in (b"Q0", b"T0", b"\xfa\xce")
    return kind if known else -1


def protocol(head: bytes, port: int) -> str:
    """``quic``, ``dtls``, ``stun``, ``wireguard``; "" for all else. ``port``: that of the service; WireGuard begins too plainly to be told at any."""
    if quic_kind(head) >= 0:
        return "quic"
    if 20 <= head[0] <= 25 and head[1] == 0xFE and head[2] in (0xFC, 0xFD, 0xFF):  # RFC 9147 4
        return "dtls"
    if head[0] < 2 and head[4:8] == _STUN_COOKIE:  # RFC 8489 5
        return "stun"
    return "wireguard" if port == HTTPS and head[:4] in _WIREGUARD else ""
