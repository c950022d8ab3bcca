"""Frames of IEEE 802.11, made byte by byte."""

from __future__ import annotations

import struct

STATION, AP, BEYOND, RELAY = (bytes.fromhex(f"0200000000{k:02x}") for k in (1, 2, 3, 4))
TO_DS, FROM_DS, FRAGMENT, RETRY, PROTECTED, ORDER = 1, 2, 4, 8, 0x40, 0x80
SNAP = b"\xaa\xaa\x03\0\0\0"
FCS = b"\x12\x34\x56\x78"


def snap(packet: bytes, kind: int) -> bytes:
    return SNAP + struct.pack(">H", kind) + packet


def head(
    subtype: int, flags: int, what: int = 2, sequence: int = 0x120, one: bytes = AP, two: bytes = STATION, three: bytes = BEYOND
) -> bytes:
    """The three-address header. ``subtype``: 8 with QoS control.  ``sequence``: with the fragment's number in the lowest four bits."""
    return bytes([subtype << 4 | what << 2, flags]) + b"\x2c\0" + one + two + three + struct.pack("<H", sequence)


def data(packet: bytes, kind: int, flags: int = TO_DS, quality: int | None = None, gap: int = 0, sequence: int = 0x120) -> bytes:
    """A data frame around a packet.  quality : of QoS control; None without.  gap : bytes between header and LLC."""
    made = head(0 if quality is None else 8, flags, sequence=sequence)
    made += RELAY if flags & 3 == 3 else b""
    if quality is not None:
        made += struct.pack("<H", quality) + (b"\1\2\3\4" if flags & ORDER else b"")
    return made + bytes(gap) + snap(packet, kind)


def subframe(packet: bytes, kind: int) -> bytes:
    """A packet of an A-MSDU, not padded."""
    body = snap(packet, kind)
    return BEYOND + STATION + struct.pack(">H", len(body)) + body


def aggregated(*packets: tuple[bytes, int], flags: int = TO_DS) -> bytes:
    made = head(8, flags) + struct.pack("<H", 0x80)
    for k, (packet, kind) in enumerate(packets):
        made += subframe(packet, kind)
        made += b"" if k == len(packets) - 1 else bytes(-(len(made) - 26) % 4)
    return made


def management(subtype: int, body: bytes = b"", flags: int = 0) -> bytes:
    return head(subtype, flags, what=0) + body


def radiotap(frame: bytes, flags: int | None = 0, channel: int = 2412, signal: int = -40, more: int = 0) -> bytes:
    """Time, flags, rate, channel, signal.  more : words of fields besides, of each antenna."""
    present = 1 | (2 if flags is not None else 0) | 4 | 8 | 32 | (1 << 31 if more else 0)
    words = struct.pack("<I", present) + b"".join(struct.pack("<I", 32 | (1 << 31 if k < more - 1 else 0)) for k in range(more))
    fields = bytes(-(4 + len(words)) % 8) + bytes(8) + (b"" if flags is None else bytes([flags])) + b"\x0c"
    fields += bytes(-(4 + len(words) + len(fields)) % 2) + struct.pack("<HH", channel, 0xA0) + struct.pack("b", signal) + bytes(more)
    size = 4 + len(words) + len(fields)
    return struct.pack("<BBH", 0, 0, size) + words + fields + frame
