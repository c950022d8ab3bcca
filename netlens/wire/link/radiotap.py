"""Radiotap (radiotap.org) before IEEE 802.11: what the card says of a frame. Flags tell of a gap behind the header, and of a frame damaged on the way."""

import numpy as np

from netlens.wire.compiled import inlined, lean
from netlens.wire.link._kinds import AIR_DAMAGED, BLANK, CUT, END, KEPT, LINK
from netlens.wire.link.ieee80211 import AIR, PADDED
from netlens.wire.loads import byte, le32

RADIOTAP = LINK | 127
KINDS = {RADIOTAP: "IEEE 802.11 with radiotap"}
TIME, FLAGS, RATE, CHANNEL, HOPPING, SIGNAL, NOISE = range(7)  #: fields, by their bits
GAP, DAMAGED = 0x20, 0x40  #: flags
_PRESENT = 4  # where the first word of bits is
_MORE = 0x80000000


@lean
def place(buf, o, size, field):
    """Where one of the first fields stands in a header of ``size`` bytes at ``o``, 0 if it is not there; of one behind the last, where that ends."""
    present = le32(buf, o + _PRESENT)
    at = np.int64(_PRESENT)
    while at + 8 <= size and le32(buf, o + at) & _MORE:
        at += 4
    at += 4
    for each in range(min(field, NOISE) + 1):
        if not present >> each & 1:
            if each == field:
                return np.int64(0)
            continue
        if each == TIME:
            at = (at + 7) & ~np.int64(7)
        elif each == CHANNEL or each == HOPPING:
            at = (at + 1) & ~np.int64(1)
        if each == field:
            return at if at < size else np.int64(0)
        at += 8 if each == TIME else 4 if each == CHANNEL else 2 if each == HOPPING else 1
    return min(at, size)


@inlined
def _size(buf, o):
    return byte(buf, o + 2) | byte(buf, o + 3) << 8


@lean
def told(buf, o, cap):
    """(signal in dBm, frequency in MHz) of a header that :func:`header` reads; 0: not told."""
    size = min(_size(buf, o), cap)
    signal, channel = place(buf, o, size, SIGNAL), place(buf, o, size, CHANNEL)
    mhz = byte(buf, o + channel) | byte(buf, o + channel + 1) << 8 if channel and channel + 2 <= size else np.int64(0)
    dbm = byte(buf, o + signal) if signal else np.int64(0)
    return dbm - 256 if dbm > 127 else dbm, mhz


@lean
def header(buf, o, cap, kind):
    if cap < 8:
        return np.int64(CUT), kind, np.int64(0)
    size = _size(buf, o)
    if byte(buf, o) != 0:  # the only version
        return np.int64(8), np.int64(END), np.int64(0)
    if size < 8 or size > cap:
        return np.int64(CUT), kind, np.int64(0)
    at = place(buf, o, size, FLAGS)
    flags = byte(buf, o + at) if at else np.int64(0)
    if flags & DAMAGED:
        return size, np.int64(END | AIR_DAMAGED), np.int64(0)
    return size, np.int64(PADDED if flags & GAP else AIR), np.int64(0)


@lean
def content(buf, o, size, i, kind):
    """The fields that are read stay; what a vendor may say besides, a place on earth for one, does not."""
    if byte(buf, o) != 0 or size < 8 or _size(buf, o) != size:  # no such header
        return np.int64(KEPT if i == 0 else BLANK)
    return np.int64(KEPT if i < 8 or i < place(buf, o, size, NOISE + 1) else BLANK)
