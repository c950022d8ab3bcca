"""IEEE 802.11 (802.11-2020 9.2.4, 9.3): data frames in clear lead by LLC to IP. The distribution system's bits say how many addresses there are.

Of several packets in one frame (A-MSDU, 9.3.2.2) the first is read. Frames that say they are encrypted and are not any more, as some cards and programs
leave them, are told by the header of LLC that stands in clear. Not put together: what was sent in fragments (10.4), which hardly anybody does.
"""

import numpy as np

from netlens.wire.compiled import inlined, lean
from netlens.wire.link._kinds import (
    AIR_ENCRYPTED,
    AIR_FIRST,
    AIR_PIECE,
    AIR_RETRY,
    AIR_TALK,
    BLANK,
    CUT,
    END,
    KEPT,
    LINK,
    MAC,
    ON_AIR,
)  # fmt: skip
from netlens.wire.loads import be16, be32, byte

AIR = LINK | 105
PADDED, SWAPPED = (
    1 << 25 | 105,
    1 << 25 | 106,
)  #: with a gap behind the header, as radiotap says; both bytes of frame control in turn, as Cisco has them
KINDS = {AIR: "IEEE 802.11", PADDED: "IEEE 802.11", SWAPPED: "IEEE 802.11"}
LLC = 1500
MANAGEMENT, CONTROL, DATA = 0, 1, 2  #: types of frames
SUBFRAME = 14  #: bytes of the header of each packet of an A-MSDU
TO_DS, FROM_DS, MORE_FRAGMENTS, RETRY, PROTECTED, ORDER = 1, 2, 4, 8, 0x40, 0x80  #: flags
_AGGREGATED = 0x80  # in QoS control
_SNAP_HIGH = 0xAAAA0300


@inlined
def _is_snap(buf, at, end):
    """Whether a header of SNAP stands there, with the OUI of RFC 1042 or of bridges (802.1H)."""
    return (
        at + 8 <= end and be32(buf, at) == _SNAP_HIGH and byte(buf, at + 4) == 0 and (byte(buf, at + 5) == 0 or byte(buf, at + 5) == 0xF8)
    )


@lean
def fixed_bytes(subtype):
    """Bytes at the beginning of a management frame's body that say how a request ended, or why (9.3.3, 9.4.1)."""
    if subtype == 1 or subtype == 3 or subtype == 11:  # an association's response, authentication
        return np.int64(6)
    return np.int64(2 if subtype == 10 or subtype == 12 else 0)  # disassociation, deauthentication


@inlined
def _payload(buf, o, n, cap, flags, quality):
    """(size, kind, AIR_FIRST or 0) of a data frame whose header has ``n`` bytes, with QoS control ``quality``."""
    end = o + cap
    if _is_snap(buf, o + n, end):  # whatever the header says
        return n, np.int64(LLC), np.int64(0)
    if flags & PROTECTED:
        for skipped in (8, 4):  # the header of CCMP, GCMP and TKIP, of WEP
            if _is_snap(buf, o + n + skipped, end):
                return n + skipped, np.int64(LLC), np.int64(0)
            if quality & _AGGREGATED and _is_snap(buf, o + n + skipped + SUBFRAME, end):
                return n + skipped + SUBFRAME, np.int64(LLC), np.int64(AIR_FIRST)
        if quality & _AGGREGATED and _is_snap(buf, o + n + SUBFRAME, end):
            return n + SUBFRAME, np.int64(LLC), np.int64(AIR_FIRST)
        return n, np.int64(END | AIR_ENCRYPTED), np.int64(0)
    if quality & _AGGREGATED:
        if n + SUBFRAME > cap:
            return np.int64(CUT), np.int64(0), np.int64(0)
        return n + SUBFRAME, np.int64(LLC), np.int64(AIR_FIRST)
    if quality & 0x100 and n < cap:  # a mesh's header, perhaps (9.2.4.7.3): flags, TTL, number, and up to two addresses
        mesh = n + 6 + 6 * min(byte(buf, o + n) & 3, 2)
        if _is_snap(buf, o + mesh, end):
            return mesh, np.int64(LLC), np.int64(0)
    return n, np.int64(LLC), np.int64(0)


@lean
def header(buf, o, cap, kind):
    if cap < 2:
        return np.int64(CUT), kind, np.int64(0)
    first, flags = byte(buf, o), byte(buf, o + 1)
    if kind == SWAPPED:
        first, flags = flags, first
    what, subtype = first >> 2 & 3, first >> 4
    where = np.int64(ON_AIR) | flags & (TO_DS | FROM_DS | AIR_RETRY)
    if first & 3:  # the only version
        return np.int64(2), np.int64(END), np.int64(0)
    if what == MANAGEMENT:
        if cap < 24:
            return np.int64(CUT), kind, np.int64(0)
        size = np.int64(24 + (4 if flags & ORDER else 0))
        return min(size + (0 if flags & PROTECTED else fixed_bytes(subtype)), cap), np.int64(END | AIR_TALK), where
    if what != DATA:
        return min(np.int64(10 if what != CONTROL or (subtype > 11 and subtype < 14) else 16), cap), np.int64(END | AIR_TALK), where
    size = np.int64(24 + (6 if flags & 3 == 3 else 0))
    quality = np.int64(0)
    if subtype & 8:
        if size + 2 > cap:
            return np.int64(CUT), kind, np.int64(0)
        quality = byte(buf, o + size) | byte(buf, o + size + 1) << 8
        size += 6 if flags & ORDER else 2
    if size > cap:
        return np.int64(CUT), kind, np.int64(0)
    if subtype & 4:
        return size, np.int64(END | AIR_TALK), where
    if flags & MORE_FRAGMENTS or (kind != SWAPPED and byte(buf, o + 22) & 15):  # its number, which Cisco has elsewhere
        return size, np.int64(END | AIR_PIECE), where
    if kind == PADDED:
        size = (size + 3) & ~np.int64(3)
        if size > cap:
            return np.int64(CUT), kind, np.int64(0)
    size, following, several = _payload(buf, o, size, cap, flags, quality)
    return size, following, where | several


@lean
def packets(buf, o, end):
    """How many packets are in an A-MSDU whose first subframe begins at ``o``, as far as their headers are there."""
    count = np.int64(0)
    while o + SUBFRAME <= end and count < 64:
        count += 1
        o += (SUBFRAME + be16(buf, o + 12) + 3) & ~np.int64(3)
    return count


@lean
def content(buf, o, size, i, kind):
    """Addresses are replaced. Of management frames stays how a request ended; of encrypted ones, and of subframes, nothing but their addresses."""
    if i < 4:
        return np.int64(KEPT if i < 2 else BLANK)
    first, flags = byte(buf, o), byte(buf, o + 1)
    if kind == SWAPPED:
        first, flags = flags, first
    what, subtype = first >> 2 & 3, first >> 4
    if first & 3:
        return np.int64(BLANK)
    if what != MANAGEMENT and what != DATA:
        return np.int64(MAC if i < 10 or (what == CONTROL and i < 16) else BLANK)
    if i < 22:
        return np.int64(MAC)
    if i < 24 or what == MANAGEMENT:
        return np.int64(KEPT)
    n = np.int64(30 if flags & 3 == 3 else 24)
    if i < n:
        return np.int64(MAC)
    if not subtype & 8 or n + 2 > size:
        return np.int64(BLANK)
    quality = byte(buf, o + n) | byte(buf, o + n + 1) << 8
    n += 6 if flags & ORDER else 2
    return np.int64(KEPT if i < n else _behind(buf, o, size, i, n, quality, flags))


@inlined
def _behind(buf, o, size, i, n, quality, flags):
    """``content`` of what stands between the header, of ``n`` bytes, and LLC: a gap, a mesh's header, one of encryption, that of a subframe."""
    if quality & _AGGREGATED:
        begin = size - SUBFRAME
        return BLANK if i < begin or begin < n else MAC if i < begin + 12 else KEPT
    if quality & 0x100 and not flags & PROTECTED and size >= n + 6:
        return KEPT if i == n else BLANK if i < n + 6 else MAC
    return BLANK
