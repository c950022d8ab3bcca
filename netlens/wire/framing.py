"""Framing: where in a buffer the records of a pcap or the blocks of a pcapng lie, and what their headers say.

The kernels walk packets; headers of files, sections and interfaces are read by :class:`Pcap` and :class:`Pcapng`, which remember what they said.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from netlens.columns import Array
from netlens.errors import CaptureError, WireError
from netlens.text import plural
from netlens.wire.compiled import lean
from netlens.wire.loads import be32, le32

if TYPE_CHECKING:
    from netlens.wire.containers import Reader

# One row of a batch's frames: offset into the buffer, captured length, wire length, time in ns, interface (-1: no packet).
F_OFF, F_CAP, F_WIRE, F_TS, F_IFACE = 0, 1, 2, 3, 4
FRAME_WIDTH = 5

MAX_RECORD = 16 << 20  #: larger records are damage. libpcap's own limit is 256 KiB for network link types; 128 MiB exists for D-Bus only
MAX_INTERFACES = 1 << 16  #: interfaces of one section; real ones have a dozen at most, and more is an attack on memory
#: Sections and interfaces of one input. Files of a rotation that were joined with cat have thousands; each costs 10 microseconds.
MAX_DESCRIPTIONS = 1 << 20

MORE, FULL, DAMAGED, BLOCK = 0, 1, 2, 3

# pcapng block types (draft-ietf-opsawg-pcapng)
SHB, IDB, PB, SPB, EPB = 0x0A0D0D0A, 1, 2, 3, 6
# Blocks without a packet that nevertheless have a frame number in Wireshark: systemd journal entries, sysdig events, custom blocks.
NUMBERED_BLOCKS = (0x00000009, 0x00000204, 0x00000216, 0x00000221, 0x00000BAD, 0x40000BAD)

# One row of the interfaces of a pcapng section: number of the interface among all inputs, time kind, time value, time offset in s, snaplen
I_NUMBER, I_KIND, I_VALUE, I_OFFSET, I_SNAPLEN = 0, 1, 2, 3, 4
INTERFACE_WIDTH = 5

HEAD = 24  #: bytes of a pcap before its records
HEAD_BYTES = 1 << 20  #: in which a pcapng describes its interfaces, before any packet
#: First four bytes of a pcap: byte order, nanoseconds per unit of its time stamps' fractions
PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}

MAGIC_NAMES = {
    0xA1B2CD34: "a pcap of Alexey Kuznetzov's modified format; convert it with: editcap -F pcap IN OUT",
    0x34CDB2A1: "a pcap of Alexey Kuznetzov's modified format; convert it with: editcap -F pcap IN OUT",
    0xA1B2C34D: "an IXIA lcap file (software time stamps); convert it with: editcap -F pcap IN OUT",
    0x1C0001AC: "an IXIA lcap file; convert it with: editcap -F pcap IN OUT",
    0x1C0001AB: "an IXIA lcap file; convert it with: editcap -F pcap IN OUT",
    0x736E6F6F: "a snoop file; convert it with: editcap -F pcap IN OUT",
    0x28B52FFD: "compressed with zstd; decompress it first: zstd -dc IN | netlens ... -",
    0xFD377A58: "compressed with xz; decompress it first: xz -dc IN | netlens ... -",
    0x425A6839: "compressed with bzip2; decompress it first: bzip2 -dc IN | netlens ... -",
    0x04224D18: "compressed with lz4; decompress it first: lz4 -dc IN | netlens ... -",
    0x504B0304: "a zip archive; unpack it first",
}


@lean
def _get32(buf, o, big):
    return be32(buf, o) if big else le32(buf, o)


@lean
def frame_pcap(buf, pos, end, big, unit_ns, max_record, iface, frames):
    """Walk pcap records of ``buf[pos:end]``; returns (frames written, new position, status)."""
    n = 0
    while n < frames.shape[0]:
        if pos + 16 > end:
            return n, pos, MORE
        cap = _get32(buf, pos + 8, big)
        if cap > max_record:
            return n, pos, DAMAGED
        if pos + 16 + cap > end:
            return n, pos, MORE
        f = frames[n]
        f[F_OFF] = pos + 16
        f[F_CAP] = cap
        f[F_WIRE] = _get32(buf, pos + 12, big)
        f[F_TS] = _get32(buf, pos, big) * 1_000_000_000 + _get32(buf, pos + 4, big) * unit_ns
        f[F_IFACE] = iface
        n += 1
        pos += 16 + cap
    return n, pos, FULL


@lean
def units_to_ns(high, low, kind, value):
    """A pcapng time stamp in ns; ``kind`` 0: units * value, 1: units // value, 2: units of 2**-value s."""
    units = np.uint64(high) << np.uint64(32) | np.uint64(low)  # tenths of a nanosecond since 1970 fill all 64 bits
    if kind == 0:
        return np.int64(units * np.uint64(value))
    if kind == 1:
        return np.int64(units // np.uint64(value))
    seconds = units >> np.uint64(value) if value < 64 else np.uint64(0)
    fraction = units & ((np.uint64(1) << np.uint64(value)) - np.uint64(1)) if value < 64 else units
    # fraction * 10**9 >> value in two halves, because the product has up to 94 bits
    upper = (fraction >> np.uint64(32)) * np.uint64(1_000_000_000)
    lower = (fraction & np.uint64(0xFFFFFFFF)) * np.uint64(1_000_000_000)
    if value <= 32:
        part = lower >> np.uint64(value)
    else:
        part = (upper + (lower >> np.uint64(32))) >> np.uint64(min(value - 32, 63))
    return np.int64(seconds) * 1_000_000_000 + np.int64(part)


@lean
def frame_pcapng(buf, pos, end, big, interfaces, n_interfaces, max_record, frames):
    """Walk pcapng blocks of ``buf[pos:end]``; returns (frames written, new position, status).

    interfaces : int64[:, INTERFACE_WIDTH], those of this section, of which there are ``n_interfaces``.
    Stops with BLOCK in front of a section header or an interface description, which Python reads.
    """
    n = 0
    while n < frames.shape[0]:
        if pos + 12 > end:
            return n, pos, MORE
        kind = _get32(buf, pos, big)
        if kind == SHB:  # a palindrome: the same in both byte orders; its length may be in the other one
            return n, pos, BLOCK
        size = _get32(buf, pos + 4, big)
        if size < 12 or size > max_record + 64:
            return n, pos, DAMAGED
        size = (size + 3) & ~np.int64(3)  # some writers leave the padding out of the length
        if pos + size > end:
            return n, pos, MORE
        if (_get32(buf, pos + size - 4, big) + 3) & ~np.int64(3) != size:
            return n, pos, DAMAGED
        if kind == IDB:
            return n, pos, BLOCK
        f = frames[n]
        if kind == EPB or kind == PB:
            if size < 32:
                return n, pos, DAMAGED
            iface = _get32(buf, pos + 8, big)
            if kind == PB:  # 16 bits of interface, 16 of drops
                iface = iface >> 16 if big else iface & 0xFFFF
            cap = _get32(buf, pos + 20, big)
            if iface >= n_interfaces or cap > size - 32:
                return n, pos, DAMAGED
            row = interfaces[iface]
            f[F_OFF] = pos + 28
            f[F_CAP] = cap
            f[F_WIRE] = _get32(buf, pos + 24, big)
            time_ns = units_to_ns(_get32(buf, pos + 12, big), _get32(buf, pos + 16, big), row[I_KIND], row[I_VALUE])
            f[F_TS] = time_ns + row[I_OFFSET] * 1_000_000_000
            f[F_IFACE] = row[I_NUMBER]
            n += 1
        elif kind == SPB:
            if size < 16 or n_interfaces == 0:
                return n, pos, DAMAGED
            wire = _get32(buf, pos + 8, big)
            cap = min(wire, size - 16)
            if interfaces[0, I_SNAPLEN] > 0:
                cap = min(cap, interfaces[0, I_SNAPLEN])
            f[F_OFF] = pos + 12
            f[F_CAP] = cap
            f[F_WIRE] = wire
            f[F_TS] = 0  # a simple packet block has no time
            f[F_IFACE] = interfaces[0, I_NUMBER]
            n += 1
        elif kind in NUMBERED_BLOCKS:
            f[F_OFF] = pos
            f[F_CAP] = 0
            f[F_WIRE] = 0
            f[F_TS] = 0
            f[F_IFACE] = -1
            n += 1
        pos += size
    return n, pos, FULL


@dataclass
class Input:
    """What was learned of one input while it was read."""

    path: str
    container: str = ""
    bytes: int = 0
    frames: int = 0
    snaplen: int = 0
    first_ns: int = 0  # time of the first frame that has one; 0: none has
    last_ns: int = 0
    link_types: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    damage: str = ""  # what ended it before its time: it is damaged, or cut short; also among the warnings
    ending: tuple[str, str] | None = None  # the same, without the number of frames

    def end_early(self, what: str, rest: str = "") -> None:
        """Nothing is read behind ``what``; ``rest`` says more of it."""
        self.ending = what, rest
        self.damage = f"{what}; {plural(self.frames, 'frame')} before it {'was' if self.frames == 1 else 'were'} read{rest}"
        self.warnings.append(f"{self.path}: {self.damage}")

    def append(self, later: Input) -> None:
        """Take in what was learned of the span that follows."""
        self.frames += later.frames
        self.bytes += later.bytes
        self.first_ns = self.first_ns or later.first_ns
        self.last_ns = max(self.last_ns or later.last_ns, later.last_ns or self.last_ns)
        self.snaplen = max(self.snaplen, later.snaplen)
        self.link_types += [kind for kind in later.link_types if kind not in self.link_types]
        said = later.warnings[:-1] if later.ending is not None else later.warnings
        self.warnings += [each for each in said if each not in self.warnings]
        if later.ending is not None:
            self.end_early(*later.ending)


class Pcap:
    descriptions = 0

    def __init__(self, info: Input, head: bytes):
        byte_order, self.unit_ns = PCAP_MAGICS[head[:4]]
        self.big = byte_order == ">"
        major, _minor, _zone, _sigfigs, snaplen, network = struct.unpack(byte_order + "HHiIII", head[4:24])
        if major != 2:
            raise WireError(f"{info.path}: pcap version {major} is unknown (2 is); is the file damaged?")
        info.container = "pcap" if self.unit_ns == 1000 else "pcap (ns)"
        info.snaplen = snaplen
        self.link = network & 0x03FFFFFF  # the upper bits hold the length of the frame check sequence
        info.link_types.append(self.link)
        # libpcap takes records up to its own maximum whatever the header says; a header that says more is believed up to our limit
        self.max_record = max(262144, snaplen if snaplen <= MAX_RECORD else 0)
        self.head = HEAD

    def pass_head(self, _reader: Reader, _head: Array) -> None:
        """What follows is records."""
        self.head = 0

    def step(self, reader: Reader, buffer: Array, pos: int, end: int) -> tuple[int, int, int]:
        head, self.head = self.head, 0
        n, new, status = frame_pcap(
            buffer, pos + head, end, self.big, self.unit_ns, self.max_record, reader.number(0, self.link), reader.frames
        )
        return n, new, status

    def damage(self, left: Array) -> str:
        cap = struct.unpack_from(">I" if self.big else "<I", left.tobytes()[:12], 8)[0]
        return f"a record claims {cap} bytes (at most {self.max_record} are possible here)"


class Pcapng:
    def __init__(self, info: Input, head: bytes):
        info.container = "pcapng"
        self.info = info
        self.big = False
        self.interfaces = np.zeros((4, INTERFACE_WIDTH), np.int64)
        self.count = 0
        self.problem = ""
        self.links = set[int]()
        self.odd_offsets = 0
        self.descriptions = 0

    def pass_head(self, reader: Reader, head: Array) -> None:
        """Take in the descriptions before the first packet."""
        at, status = 0, FULL
        while at + 12 <= len(head) and status == FULL:
            kind, size = struct.unpack((">" if self.big else "<") + "II", head[at : at + 8].tobytes())
            if kind in (SHB, IDB):
                at, status = self._block(reader, head, at, len(head))
            elif kind in (EPB, PB, SPB) or size < 12:
                return
            else:
                at += (size + 3) & ~3

    def step(self, reader: Reader, buffer: Array, pos: int, end: int) -> tuple[int, int, int]:
        n, new, status = frame_pcapng(buffer, pos, end, self.big, self.interfaces, self.count, MAX_RECORD, reader.frames)
        if status == BLOCK and n == 0:
            new, status = self._block(reader, buffer, new, end)
        elif status == BLOCK:
            status = FULL  # hand the frames over first, then come back for the block
        return n, new, status

    def _block(self, reader: Reader, buffer: Array, pos: int, end: int) -> tuple[int, int]:
        section = buffer[pos : pos + 4].tobytes() == b"\n\r\r\n"
        what, least = ("section header", 28) if section else ("interface description", 20)
        big = self.big
        if section:
            magic = buffer[pos + 8 : pos + 12].tobytes()
            if magic not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
                self.problem = "a section header without its byte-order magic"
                return pos, DAMAGED
            big = magic == b"\x1a\x2b\x3c\x4d"
        order = ">" if big else "<"
        size = struct.unpack(order + "I", buffer[pos + 4 : pos + 8].tobytes())[0]
        if size < least or size > MAX_RECORD:
            self.problem = f"a {what} block of {size} bytes"
            return pos, DAMAGED
        size = (size + 3) & ~3
        if pos + size > end:
            return pos, MORE
        self.descriptions += 1
        if self.descriptions > MAX_DESCRIPTIONS:
            self.problem = f"more than {MAX_DESCRIPTIONS} sections and interfaces"
            return pos, DAMAGED
        again = struct.unpack(order + "I", buffer[pos + size - 4 : pos + size].tobytes())[0]
        if (again + 3) & ~3 != size:
            self.problem = f"a {what} block whose two lengths differ ({size} and {again} bytes)"
            return pos, DAMAGED
        body = buffer[pos + 8 : pos + size - 4].tobytes()
        if section:
            major, minor = struct.unpack(order + "HH", body[4:8])
            if major != 1:
                self.problem = f"a section of pcapng version {major}.{minor}, which is unknown (1.0 is)"
                return pos, DAMAGED
            self.big, self.count = big, 0
        elif self.count >= MAX_INTERFACES:
            self.problem = f"more than {MAX_INTERFACES} interfaces in one section"
            return pos, DAMAGED
        else:
            self._interface(reader, body, order)
        return pos + size, FULL

    def _interface(self, reader: Reader, body: bytes, order: str) -> None:
        link, _reserved, snaplen = struct.unpack(order + "HHI", body[:8])
        kind, value, offset, name = 0, 1000, 0, b""  # microseconds, unless if_tsresol says otherwise
        for code, data in options(body, 8, order):
            if code == 2:
                name = data[:255]
            elif code == 9 and len(data) >= 1:
                power = data[0] & 0x7F
                if data[0] & 0x80:
                    kind, value = 2, power
                elif power <= 9:
                    kind, value = 0, 10 ** (9 - power)
                else:
                    kind, value = 1, 10 ** min(power - 9, 18)
            elif code == 14 and len(data) == 8:
                offset = struct.unpack(order + "q", data)[0]
                if abs(offset) > 1 << 33:  # centuries: the seconds would not fit int64 nanoseconds
                    self.odd_offsets += 1
                    if self.odd_offsets == 1:
                        self.info.warnings.append(
                            f"{self.info.path}: interface {self.count} has a time offset of {offset} s, ignored as damage"
                        )
                    offset = 0
        if self.count == len(self.interfaces):
            self.interfaces = np.concatenate([self.interfaces, np.zeros_like(self.interfaces)])
        self.interfaces[self.count] = reader.number(self.count, link, name), kind, value, offset, snaplen
        self.count += 1
        self.info.snaplen = max(self.info.snaplen, snaplen)
        if link not in self.links:
            self.links.add(link)
            self.info.link_types.append(link)

    def damage(self, left: Array) -> str:
        if self.problem:
            return self.problem
        order = ">" if self.big else "<"
        kind, size = struct.unpack(order + "II", left[:8].tobytes())
        return f"a block of type {kind:#x} and {size} bytes that contradicts itself (its two lengths, its packet) or names an interface that was not described"


def behind_the_head(reader: Reader, info: Input, begin: int) -> Pcap | Pcapng | None:
    """What walks the records of a file from byte offset ``begin`` on, by what stands at its beginning; None there, where it is read on the way."""
    if not begin:
        return None
    with open(info.path, "rb") as file:
        head = np.frombuffer(file.read(HEAD_BYTES), np.uint8)
    walk = open_container(info, head)
    walk.pass_head(reader, head)
    return walk


def options(body: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    """(code, data) of the options of a block, which begin at ``at``; ``order``: of its bytes, as struct has it."""
    while at + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, at)
        if code == 0:
            return
        yield code, body[at + 4 : at + 4 + size]
        at += 4 + (size + 3 & ~3)


def open_container(info: Input, data: Array) -> Pcap | Pcapng:
    head = data[:28].tobytes()
    if not head:
        raise CaptureError(f"{info.path}: empty (0 bytes); was tcpdump stopped before its first packet, or not allowed to capture?")
    if any(magic.startswith(head[:4]) for magic in PCAP_MAGICS):
        if len(head) < 24:
            raise CaptureError(f"{info.path}: a pcap cut inside its 24-byte file header ({len(head)} bytes); nothing in it can be read")
        return Pcap(info, head)
    if b"\n\r\r\n".startswith(head[:4]):
        if len(head) < 28:
            raise CaptureError(f"{info.path}: a pcapng cut inside its section header ({len(head)} bytes); nothing in it can be read")
        if head[8:12] not in (b"\x1a\x2b\x3c\x4d", b"\x4d\x3c\x2b\x1a"):
            raise WireError(f"{info.path}: a pcapng whose section header has no byte-order magic; the file is damaged at byte offset 8")
        return Pcapng(info, head)
    magic = int.from_bytes(head[:4], "big")
    if magic in MAGIC_NAMES:
        raise WireError(f"{info.path}: {MAGIC_NAMES[magic]}")
    if all(b in b"\t\n\r\f\x1b" or 32 <= b < 127 or b >= 128 for b in head):
        raise CaptureError(f"{info.path}: looks like text, not like a capture; netlens reads pcap and pcapng files (tcpdump -w)")
    raise CaptureError(
        f"{info.path}: neither pcap nor pcapng (starts with {head[:4].hex(' ')}); if Wireshark opens it: editcap -F pcap IN OUT"
    )
