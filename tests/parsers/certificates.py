"""Certificates made by hand, and the handshake messages that show them."""

from __future__ import annotations

from datetime import UTC, datetime


def element(tag: int, *parts: bytes) -> bytes:
    """An element of DER (X.690 8.1)."""
    body = b"".join(parts)
    size = len(body)
    return bytes([tag]) + (bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")) + body


def moment(seconds: int, generalized: bool = False) -> bytes:
    """UTCTime, or GeneralizedTime."""
    text = f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d%H%M%SZ}"
    return element(0x18, text.encode()) if generalized else element(0x17, text[2:].encode())


def certificate(
    not_before: int,
    not_after: int,
    name: str = "a.example",
    *,
    generalized: bool = False,
    alternative: str = "",
    padding: int = 0,
    itself: bool = False,
) -> bytes:
    """DER of a certificate without a true key or signature. ``alternative``: a DNS name of it; ``padding``: bytes by which it is longer; ``itself``: it names
    itself as its issuer."""
    common_name = element(0x31, element(0x30, element(0x06, b"\x55\x04\x03"), element(0x0C, name.encode()))) if name else b""
    organization = element(0x31, element(0x30, element(0x06, b"\x55\x04\x0a"), element(0x13, b"Example")))
    names = element(0x30, element(0x06, b"\x55\x1d\x11"), element(0x04, element(0x30, element(0x82, alternative.encode()))))
    usage = element(0x30, element(0x06, b"\x55\x1d\x0f"), element(0x01, b"\xff"), element(0x04, b"\x03\x02\x05\xa0"))
    algorithm = element(0x30, element(0x06, b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"), b"\x05\x00")
    body = element(
        0x30,
        element(0xA0, b"\x02\x01\x02"),
        b"\x02\x01\x07",
        algorithm,
        element(0x30, organization, *([common_name] if itself else [])),
        element(0x30, moment(not_before, generalized), moment(not_after, generalized)),
        element(0x30, organization, common_name),
        element(0x30, algorithm, element(0x03, bytes(64 + padding))),
        element(0xA3, element(0x30, usage, names)) if alternative else b"",
    )
    return element(0x30, body, algorithm, element(0x03, bytes(65)))


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def record(kind: int, data: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(data).to_bytes(2, "big") + data


SERVER_HELLO = message(2, b"\x03\x03" + bytes(32) + b"\x00\xc0\x2f\x00")
DONE = message(14, b"")


def chain(*ders: bytes) -> bytes:
    """A Certificate message."""
    listed = b"".join(len(der).to_bytes(3, "big") + der for der in ders)
    return message(11, len(listed).to_bytes(3, "big") + listed)
