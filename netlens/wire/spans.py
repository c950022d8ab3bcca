"""Where a plain capture can be divided: offsets at which a record begins, so that spans of the file are read side by side.

Theory of operation
-------------------
A capture has no index, and any bytes may stand in a packet. So a record header is looked for from a given offset on: of a pcap, times that are one, lengths
that contradict neither each other nor what a record can hold; of a pcapng, blocks of which both lengths are the same; and the same of every record behind it
up to the end of a window. That is a guess, and is treated as one: a span that was read from its beginning ends where the next one begins, or what was read
behind that is thrown away (:mod:`netlens.parsers.spans`).

Bytes are not what takes time: where packets are short, more of them are decoded, and a session that begins takes as long as some of them. How many there are
in a megabyte is counted in a few places.
"""

from __future__ import annotations

import os
import stat

import numpy as np

from netlens.wire.compiled import inlined, lean
from netlens.wire.framing import HEAD, MAX_RECORD, PCAP_MAGICS, Input, Pcap, open_container
from netlens.wire.loads import be32, le32

LEAST_HEAD = 28  #: bytes of the beginning, of either kind
SECTION = b"\n\r\r\n"  #: how a pcapng begins
BIG_SECTION = b"\x1a\x2b\x3c\x4d"  #: its third word where the most significant byte comes first
ENHANCED = 28  #: bytes of an enhanced packet block before its frame
WINDOW = 1 << 20  #: bytes in which a record is looked for; records of merged segments have 64 KB
ENOUGH = 64  #: records in a row that leave no doubt
LEAST = 4  #: the same where a window ends before that: four headers by chance are one in 2 ** 100
SAMPLES = 64  #: places at which records are counted, at most
SAMPLED = 16 << 20  #: bytes a place, at least: where a disk seeks, that is a tenth of the time in which they are read
SAMPLE = 1 << 16  #: bytes of each
A_FRAME = 2048  #: bytes that are read and passed over while one frame is decoded and folded
A_SYN = 3_000  #: the same of what is done besides for one frame with SYN, of which a session has two
DAY_S = 86_400  #: from one record to the next, at most; a longer silence makes another place be looked for


@inlined
def _opens(buf, at):
    """Whether a frame of Ethernet and plain IPv4 has SYN; of others that is not known, which only makes spans less alike."""
    if at + 48 > buf.shape[0]:
        return np.int64(0)
    plain = buf[at + 12] == 8 and buf[at + 13] == 0 and buf[at + 14] == 0x45 and buf[at + 23] == 6
    return np.int64(1) if plain and buf[at + 47] & 2 != 0 else np.int64(0)


@lean
def first_record(buf, big, units, max_record):
    """The first record in ``buf`` that others follow to its end: its offset (-1: there is none), how many they are, how many of them have SYN, and where they
    end; at most ENOUGH.

    units : of a time stamp in a second.
    """
    end = buf.shape[0]
    for start in range(end):
        pos = np.int64(start)
        n = 0
        syns = np.int64(0)
        last = np.int64(-1)
        while pos + 16 <= end and n < ENOUGH:
            if big:
                seconds, part, cap, wire = be32(buf, pos), be32(buf, pos + 4), be32(buf, pos + 8), be32(buf, pos + 12)
            else:
                seconds, part, cap, wire = le32(buf, pos), le32(buf, pos + 4), le32(buf, pos + 8), le32(buf, pos + 12)
            if part >= units or cap == 0 or cap > wire or cap > max_record or wire > max_record or (n and abs(seconds - last) > DAY_S):
                n = -1
                break
            last = seconds
            n += 1
            syns += _opens(buf, pos + 16)
            pos += 16 + cap
        if n >= LEAST and (n >= ENOUGH or pos + 16 > end):
            return np.int64(start), np.int64(n), syns, pos
    return np.int64(-1), np.int64(0), np.int64(0), np.int64(0)


@lean
def first_block(buf, big, max_record):
    """The same of a pcapng; blocks begin at multiples of four."""
    end = buf.shape[0]
    for start in range(0, end, 4):
        pos = np.int64(start)
        n = 0
        syns = np.int64(0)
        while pos + 12 <= end and n < ENOUGH:
            size = be32(buf, pos + 4) if big else le32(buf, pos + 4)
            if size < 12 or size & 3 != 0 or size > max_record:
                n = -1
                break
            if pos + size > end:
                break
            if (be32(buf, pos + size - 4) if big else le32(buf, pos + size - 4)) != size:
                n = -1
                break
            n += 1
            syns += _opens(buf, pos + ENHANCED)
            pos += size
        if n >= LEAST:
            return np.int64(start), np.int64(n), syns, pos
    return np.int64(-1), np.int64(0), np.int64(0), np.int64(0)


def borders(path: str, parts: int) -> list[int]:
    """Byte offsets, rising, that divide a plain capture in at most so many spans that take about as long to read; none where it is something else.

    Raises
    ------
    OSError
        the file cannot be read.
    CaptureError, WireError
        it begins like a capture that netlens refuses.
    """
    found: list[int] = []
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        head = file.read(LEAST_HEAD) if stat.S_ISREG(status.st_mode) else b""
        if len(head) < LEAST_HEAD or head[:4] not in (*PCAP_MAGICS, SECTION):
            return []
        walk = open_container(Input(path), np.frombuffer(head, np.uint8))

        def first(at: int, size: int) -> tuple[int, int, int, int]:
            file.seek(at)
            window = np.frombuffer(file.read(size), np.uint8)
            if isinstance(walk, Pcap):
                return first_record(window, walk.big, 1_000_000_000 // walk.unit_ns, walk.max_record)
            return first_block(window, head[8:12] == BIG_SECTION, MAX_RECORD)

        takes = []  # to read each part of the file, by the bytes of it
        samples = min(SAMPLES, status.st_size // SAMPLED + 1)
        for k in range(samples):
            begin, records, syns, end = first(_aligned(status.st_size * (2 * k + 1) // (2 * samples)), SAMPLE)
            takes.append(1 + (A_FRAME * records + A_SYN * syns) / max(end - begin, 1))
        until = np.cumsum([0, *takes])
        for k in range(1, parts):
            at = _aligned(int(np.interp(until[-1] * k / parts, until, np.linspace(0, status.st_size, samples + 1))))
            place = first(at, SAMPLE)[0]
            if place < 0:
                place = first(at, WINDOW)[0]
            if place >= 0 and at + place > (found[-1] if found else HEAD):
                found.append(at + place)
    return found


def _aligned(offset: int) -> int:
    """Where a block may begin."""
    return max(offset & ~3, HEAD)
