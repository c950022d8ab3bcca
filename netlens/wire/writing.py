"""Records of a pcap and blocks of a pcapng, as bytes to be written: little-endian, times in ns since 1970 (draft-ietf-opsawg-pcap, -pcapng)."""

import struct
from collections.abc import Iterable

SNAPLEN = 262144  #: tcpdump's own
COMMENT = 1  #: opt_comment
MOST_OPTION = 65532  #: bytes: lengths have 16 bits, and are padded to four
NANOSECONDS = 9  #: if_tsresol: units of 10**-9 s


def pcap_header(link: int, snaplen: int = SNAPLEN, unit_ns: int = 1) -> bytes:
    return struct.pack("<IHHiIII", 0xA1B23C4D if unit_ns == 1 else 0xA1B2C3D4, 2, 4, 0, 0, snaplen, link)


def pcap_record(data: bytes, ns: int, wire: int, unit_ns: int = 1) -> bytes:
    seconds, rest = divmod(ns, 1_000_000_000)
    return struct.pack("<IIII", seconds, rest // unit_ns, len(data), wire) + data


def block(kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


SECTION = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))


def interface(link: int, snaplen: int = SNAPLEN, name: bytes = b"") -> bytes:
    """An interface description; times of its packets are nanoseconds."""
    options = (_option(2, name) if name else b"") + _option(9, bytes([NANOSECONDS])) + bytes(4)
    return block(1, struct.pack("<HHI", link & 0xFFFF, 0, snaplen) + options)


def _option(code: int, data: bytes) -> bytes:
    return struct.pack("<HH", code, len(data)) + data + bytes(-len(data) % 4)


def packet(place: int, data: bytes, ns: int, wire: int, comments: Iterable[str] = ()) -> bytes:
    """A packet of the section's interface number ``place``, from 0; ``comments`` are shown with it (opt_comment, of which there may be several)."""
    body = struct.pack("<IIIII", place, ns >> 32 & 0xFFFFFFFF, ns & 0xFFFFFFFF, len(data), wire) + data
    options = b"".join(_option(COMMENT, text.encode("utf-8", "replace")[:MOST_OPTION]) for text in comments)
    return block(6, body + bytes(-len(body) % 4) + options + bytes(4) if options else body)
