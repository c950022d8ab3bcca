"""DNS messages: the same message about other names and addresses.

All sections are walked (RFC 1035 4.1). Kept are header, lengths, types, classes, times to live, and numbers such as priorities and serials; mapped
are names (also those behind compression pointers, where they stand) and addresses; what else records hold is blanked: texts become ``x``,
all other data zeros. The walk ends where the message is cut or contradicts itself, and the byte that does so is kept, so that whoever reads the result
stops at the same place; everything behind it is zero.

Time grows with the length of the message, whatever it says: each label is mapped once, however many names point at it.
"""

import numpy as np

from netlens.anonymize.kernels.mapping import EPOCH, MESSAGE, ROOT, chain, is_in, map_label, map_nibble, map_v4, map_v6
from netlens.anonymize.kernels.tls import keep, keep_protocols
from netlens.wire.compiled import kernel
from netlens.wire.dns import MAX_OCTETS, POINTER, STOPS, step
from netlens.wire.loads import be16

HEADER = 12
_X = np.uint8(120)


@kernel
def map_name(buf, off, end, pos, out, shift, m):
    """Map the name at ``pos`` of the message ``buf[off:end]`` to ``out``, ``shift`` further on; the position behind it, or -1."""
    here, bound, after = pos, pos, np.int64(-1)
    octets, count = np.int64(1), 0
    while True:
        if here < end:
            out[here + shift] = buf[here]
            if buf[here] >= 192 and here + 2 <= end:
                out[here + 1 + shift] = buf[here + 1]
        n, following = step(buf, off, end, here, bound)
        if n == STOPS or (n == POINTER and following < off + HEADER):
            return np.int64(-1)
        if n == 0:
            if after < 0:
                after = following
            break
        if n == POINTER:
            if after < 0:
                after = here + 2
            here = bound = following
            continue
        octets += n + 1
        if octets > MAX_OCTETS:
            return np.int64(-1)
        m.spots[count] = here
        count += 1
        here = following
    parent, reverse = ROOT, False
    for i in range(count - 1, -1, -1):
        at = m.spots[i]
        if m.marks[at - off] == m.state[EPOCH]:
            parent = m.chains[at - off]
            reverse = reverse or parent == m.nibbles[0]
            continue
        n = np.int64(buf[at])
        own = chain(parent, buf, at + 1, n, m)
        if is_in(m.kept, own):
            keep(buf, at + 1, n, out, at + 1 + shift)
        elif not (reverse and map_nibble(buf, at + 1, n, parent, out, at + 1 + shift, m)):
            map_label(buf, at + 1, n, parent, out, at + 1 + shift, m)
        m.marks[at - off] = m.state[EPOCH]
        m.chains[at - off] = own
        parent = own
        reverse = reverse or parent == m.nibbles[0]
    return after


@kernel
def _blank_strings(buf, at, stop, out, shift):
    """Character strings (RFC 1035 3.3): their lengths stay."""
    while at < stop:
        n = np.int64(buf[at])
        out[at + shift] = buf[at]
        for i in range(at + 1, min(at + 1 + n, stop)):
            out[i + shift] = _X
        at += 1 + n


@kernel
def _bindings(buf, at, stop, out, shift, m):
    """The parameters of SVCB and HTTPS records (RFC 9460 2.2, 7)."""
    while at + 4 <= stop:
        key, n = be16(buf, at), be16(buf, at + 2)
        keep(buf, at, 4, out, at + shift)
        at += 4
        if at + n > stop:
            return
        if key == 0 or key == 3:  # mandatory, port
            keep(buf, at, n, out, at + shift)
        elif key == 1:
            keep_protocols(buf, at, n, out, at + shift)
        elif key == 4:
            for i in range(at, at + n - 3, 4):
                map_v4(buf, i, out, i + shift, m)
        elif key == 6:
            for i in range(at, at + n - 15, 16):
                map_v6(buf, i, out, i + shift, m)
        at += n


@kernel
def _options(buf, at, stop, out, shift):
    """Options of EDNS (RFC 6891 6.1.2): which there are; cookies, client subnets and padding are blanked."""
    while at + 4 <= stop:
        n = be16(buf, at + 2)
        keep(buf, at, 4, out, at + shift)
        at += 4
        if at + n > stop:
            return
        at += n


@kernel
def _data(buf, off, kind, at, n, out, shift, m):
    """Data of one record, ``buf[at:at + n]``."""
    stop = at + n
    if kind == 1 and n == 4:
        map_v4(buf, at, out, at + shift, m)
    elif kind == 28 and n == 16:
        map_v6(buf, at, out, at + shift, m)
    elif kind == 2 or kind == 5 or kind == 7 or kind == 8 or kind == 9 or kind == 12 or kind == 39:
        map_name(buf, off, stop, at, out, shift, m)
    elif kind == 6 or kind == 14 or kind == 17:
        at = map_name(buf, off, stop, at, out, shift, m)
        if at >= 0:
            at = map_name(buf, off, stop, at, out, shift, m)
        if at >= 0 and kind == 6:
            keep(buf, at, min(stop - at, 20), out, at + shift)
    elif kind == 15 or kind == 18 or kind == 21 or kind == 36 or kind == 33:
        numbers = 6 if kind == 33 else 2
        if n >= numbers:
            keep(buf, at, numbers, out, at + shift)
            map_name(buf, off, stop, at + numbers, out, shift, m)
    elif kind == 13 or kind == 16 or kind == 99:
        _blank_strings(buf, at, stop, out, shift)
    elif kind == 64 or kind == 65:
        if n >= 2:
            keep(buf, at, 2, out, at + shift)
            at = map_name(buf, off, stop, at + 2, out, shift, m)
            if at >= 0:
                _bindings(buf, at, stop, out, shift, m)
    elif kind == 41:
        _options(buf, at, stop, out, shift)
    elif kind == 46:
        if n >= 18:
            keep(buf, at, 18, out, at + shift)
            map_name(buf, off, stop, at + 18, out, shift, m)
    elif kind == 47:
        at = map_name(buf, off, stop, at, out, shift, m)
        if at >= 0:
            keep(buf, at, stop - at, out, at + shift)


@kernel
def _kind(buf, pos, n, out, shift):
    """Type and class of a question (``n`` is 4) or of a record (10: time to live and length behind them).

    Whatever else stands at the port of DNS has any bytes there: with a class that does not exist the length stays and nothing else that says much.
    """
    kind, group = be16(buf, pos), be16(buf, pos + 2) & 0x7FFF  # the top bit is mDNS's (RFC 6762 5.4, 10.2)
    if kind == 41 or group == 1 or group == 3 or group == 4 or group == 254 or group == 255:
        keep(buf, pos, n, out, pos + shift)
        return
    if kind < 512:
        keep(buf, pos, 2, out, pos + shift)
    else:
        out[pos + shift] = np.uint8(255)  # a type for private use (RFC 6895 3.1)
    if n == 10:
        keep(buf, pos + 8, 2, out, pos + 8 + shift)


@kernel
def _no_question(cap, out, to):
    """What stands at the port of DNS and is none: id and flags, which make it a row of a table, and a question that cannot be read."""
    for i in range(4, cap):
        out[to + i] = np.uint8(0)
    out[to + 5] = np.uint8(1)
    if cap > HEADER:
        out[to + HEADER] = np.uint8(0x80)


@kernel
def rewrite_message(buf, off, cap, length, out, to, m):
    """Map the message ``buf[off:off + cap]`` to ``out[to:]``, which is zero before; returns whether every section was whole and nothing followed.

    ``length``: its bytes on the wire; where ``cap`` is less it may be a message that was cut.
    """
    cap = min(cap, np.int64(MESSAGE - 1))
    end, shift = off + cap, to - off
    m.state[EPOCH] += 1
    keep(buf, off, min(cap, np.int64(HEADER)), out, off + shift)
    if cap < HEADER:
        return False
    pos = off + HEADER
    for i in range(be16(buf, off + 4)):
        pos = map_name(buf, off, end, pos, out, shift, m)
        if pos < 0 or pos + 4 > end:
            if i == 0 and cap == length:
                _no_question(cap, out, to)
            return False
        _kind(buf, pos, 4, out, shift)
        pos += 4
    for _ in range(be16(buf, off + 6) + be16(buf, off + 8) + be16(buf, off + 10)):
        pos = map_name(buf, off, end, pos, out, shift, m)
        if pos < 0 or pos + 10 > end:
            return False
        kind, n = be16(buf, pos), be16(buf, pos + 8)
        _kind(buf, pos, 10, out, shift)
        pos += 10
        _data(buf, off, kind, pos, min(n, end - pos), out, shift, m)
        if pos + n > end:
            return False
        pos += n
    return pos == end
