"""Per-Packet Information before a frame of any link type, as its header says: fields, of which one tells of radio frames that were damaged on the way."""

import numpy as np

from netlens.wire.compiled import inlined, lean
from netlens.wire.link._kinds import AIR_DAMAGED, BLANK, CUT, END, KEPT, LINK
from netlens.wire.loads import byte, le32

PPI = LINK | 192
KINDS = {PPI: "PPI"}
SIZE = 8
COMMON = 2  #: the field of IEEE 802.11
DAMAGED = 0x0C  #: its flags: a wrong check sequence, an error of the radio
_FLAGS_AT, _FREQUENCY_AT, _SIGNAL_AT, _COMMON_BYTES = 8, 12, 18, 20
_RADIO_FIELDS = 8  # the numbers of fields that tell of the radio and of the capture are below; others may name a place


@inlined
def _le16(buf, at):
    return byte(buf, at) | byte(buf, at + 1) << 8


@lean
def common(buf, o, size):
    """Where the data of the field of IEEE 802.11 stand in a header of ``size`` bytes; 0 without."""
    at = np.int64(SIZE)
    while at + 4 <= size:
        what, length = _le16(buf, o + at), _le16(buf, o + at + 2)
        at += 4
        if what == COMMON and length >= _COMMON_BYTES and at + length <= size:
            return at
        at += length
        if byte(buf, o + 1) & 1:
            at = (at + 3) & ~np.int64(3)
    return np.int64(0)


@lean
def told(buf, o, cap):
    """As of radiotap."""
    at = common(buf, o, min(_le16(buf, o + 2), cap))
    if at == 0:
        return np.int64(0), np.int64(0)
    dbm = byte(buf, o + at + _SIGNAL_AT)
    return dbm - 256 if dbm > 127 else dbm, _le16(buf, o + at + _FREQUENCY_AT)


@lean
def header(buf, o, cap, kind):
    if cap < SIZE:
        return np.int64(CUT), kind, np.int64(0)
    size, link = _le16(buf, o + 2), le32(buf, o + 4)
    if byte(buf, o) != 0:  # the only version
        return np.int64(SIZE), np.int64(END), np.int64(0)
    if size < SIZE or size > cap:
        return np.int64(CUT), kind, np.int64(0)
    at = common(buf, o, size)
    if at and _le16(buf, o + at + _FLAGS_AT) & DAMAGED:
        return size, np.int64(END | AIR_DAMAGED), np.int64(0)
    return size, LINK | link, np.int64(0)


@lean
def content(buf, o, size, i, kind):
    """What fields are called and how long they are stays, and what the radio says; not who or where."""
    if byte(buf, o) != 0 or size < SIZE or _le16(buf, o + 2) != size:  # no such header
        return np.int64(KEPT if i == 0 else BLANK)
    if i < SIZE:
        return np.int64(KEPT)
    at = np.int64(SIZE)
    while at + 4 <= size:
        what, length = _le16(buf, o + at), _le16(buf, o + at + 2)
        if i < at + 4:
            return np.int64(KEPT)
        at += 4 + length
        if i < at:
            return np.int64(KEPT if what < _RADIO_FIELDS else BLANK)
        if byte(buf, o + 1) & 1:
            at = (at + 3) & ~np.int64(3)
    return np.int64(BLANK)
