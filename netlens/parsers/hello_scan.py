"""The walk over packet rows that finds ClientHellos: compiled code behind :mod:`netlens.parsers.hellos`, which says what it decides."""

from typing import NamedTuple

import numpy as np

from netlens.arrays import uninitialized
from netlens.columns import Array
from netlens.parsers.session_runs import RUN, SEGMENTS, SHOWS, SHOWS_HELLO
from netlens.wire import tls
from netlens.wire.columns import DIRECTION, FRAME, FRESH, HINT, KIND, LENGTH, OFFSET, PAY_CAP, PAY_OFF, SESSION, TCP, TS
from netlens.wire.compiled import inlined, lean
from netlens.wire.hints import NO_HELLO
from netlens.wire.loads import le32

#: Segments with new payload per direction in which a hello may begin. SMTP with STARTTLS needs 2 to 4, LDAP 1, a CONNECT proxy with
#: authentication 2; half of it would do, twice of it costs a little time on sessions that are no TLS.
LOOKS = 32
#: The same after a hello: the second hello is the first or second segment, behind early data a little later.
LOOKS_AFTER = 8
#: Segments with new payload within which a hello must be whole. 16 KiB in segments of 1460 bytes are 12.
MAX_SEGMENTS = 16
#: Longest hello (with its record headers, and ChangeCipherSpec before it) that is put together from segments.
SLOT_BYTES = 16384 + 5 * 4
#: Hellos put together at the same time; with more the oldest is given up. A slot takes memory only where it was ever used: 8 kB for a hello
#: of a browser, 32 kB at most.
SLOTS = 4096


# Columns of a slot's bookkeeping.
S_OWNER = 0  # 2 * session + direction; -1 free
S_BASE = 1  # stream offset of the slot's first byte
S_HIGH = 2  # end of the bytes written, relative to S_BASE
S_PREFIX = 3  # bytes there without a hole
S_SEGS = 4  # segments with new payload since it was taken
S_LOOKS_LEFT = 5  # of the looking state before it
TELLING = 6  #: bytes of a record's header and the message's type: fewer behind a hole may be of anything
S_EARLY = 6  # 1: taken for bytes behind a hole, it may be no hello at all
S_CUT_AT = 7  # where the snapshot length made a hole that will not fill; -1 none
S_END = 8  # highest stream offset seen
S_FRAME = 9  # last segment that put bytes in
S_TS = 10
S_PREV, S_NEXT = 11, 12  # list in order of age; S_NEXT also makes a list of the free slots
S_STARTS = 13  # where each segment began, relative to S_BASE
SLOT_WIDTH = S_STARTS + MAX_SEGMENTS

# Columns of a found hello.
F_SESSION, F_FRAME, F_TS, F_SEGMENTS, F_LENGTH, F_SNI, F_SNI_LEN, F_KEY, F_KEY_LEN, F_DIRECTION = range(10)
FACT_WIDTH = 10
FACTS = 8192  # hellos between two drains
ARENA = 4 << 20  # bytes of names and keys between two drains
ROOM = tls.SCRATCH + 16 + tls.MAX_SNI  # the most one hello can write

# Counters; the order is that of hellos.MEANINGS.
N_CUT, N_CUT_UNREADABLE, N_GIVEN_UP, N_EVICTED, N_INCOMPLETE, N_MALFORMED = range(6)


class Slots(NamedTuple):
    """Where hellos are put together.

    meta : int64[n, SLOT_WIDTH].  data : uint8[n, SLOT_BYTES].  held : uint8 of the same shape, 1 where a byte of ``data`` was written.
    ends : int64[3], see :data:`FREE`.
    """

    meta: Array
    data: Array
    held: Array
    ends: Array


FREE, OLDEST, NEWEST = range(3)  # the first free slot, the first and the last in use by age; -1: none


class Output(NamedTuple):
    """Hellos found since the last time they were taken: int64[n, FACT_WIDTH]; uint8[n, 32]; uint8, texts; int64[2], see :data:`FOUND`."""

    facts: Array
    randoms: Array
    arena: Array
    used: Array

    @classmethod
    def empty(cls) -> "Output":
        return cls(
            np.empty((FACTS, FACT_WIDTH), np.int64), np.empty((FACTS, 32), np.uint8), uninitialized(np.uint8, ARENA), np.zeros(2, np.int64)
        )


FOUND, TEXT_BYTES = range(2)  # rows and bytes in use


class Work(NamedTuple):
    """Room to parse one hello in, see :mod:`netlens.wire.tls`."""

    row: Array
    sort: Array
    scratch: Array

    @classmethod
    def room(cls) -> "Work":
        return cls(np.empty(tls.HELLO_WIDTH, np.int64), np.empty(tls.MAX_SORT, np.int64), np.empty(tls.SCRATCH, np.uint8))


class Arrays(NamedTuple):
    """All that the kernels work on.

    looks, expected : int32[2 * n], by 2 * session + direction: what is to be done with the next segment (see hellos), and the end of the stream so far.
    counts : int64[reasons, 2], how often and the frame of the first; -1: none.
    """

    looks: Array
    expected: Array
    counts: Array
    slots: Slots
    out: Output
    work: Work


@lean
def _count(counts, which, frame):
    counts[which, 0] += 1
    if counts[which, 1] < 0 or frame < counts[which, 1]:  # hellos are given up in an order that is not that of their frames
        counts[which, 1] = frame


@lean
def _emit(buf, owner, frame, ts, segments, full, work, out):
    """Append a found hello: what the row of ``work`` says of ``buf`` (the batch's buffer or a slot) or of the scratch."""
    row, arena = work.row, out.arena
    src = buf
    if row[tls.WHERE] == 1:
        src = work.scratch
    fact = out.facts[out.used[FOUND]]
    at = out.used[TEXT_BYTES]
    fact[F_SESSION] = owner >> 1
    fact[F_DIRECTION] = owner & 1
    fact[F_FRAME] = frame
    fact[F_TS] = ts
    fact[F_SEGMENTS] = segments
    fact[F_LENGTH] = row[tls.TOTAL]
    length = min(max(row[tls.SNI_LEN], np.int64(0)), np.int64(tls.MAX_SNI))
    fact[F_SNI] = at
    fact[F_SNI_LEN] = length
    for i in range(length):
        arena[at + i] = src[row[tls.SNI] + i]
    at += length
    fact[F_KEY] = at
    fact[F_KEY_LEN] = 0
    if full:
        random = out.randoms[out.used[FOUND]]
        for i in range(32):
            random[i] = src[row[tls.RANDOM] + i]
        end = tls.write_key(src, row, work.sort, arena, at)
        fact[F_KEY_LEN] = end - at
        at = end
    out.used[FOUND] += 1
    out.used[TEXT_BYTES] = at


@lean
def close_slot(k, slots):
    """Give a slot back: clear what it held and take it out of the list of those in use."""
    meta, ends = slots.meta, slots.ends
    for i in range(meta[k, S_HIGH]):
        slots.held[k, i] = 0
    before = meta[k, S_PREV]
    after = meta[k, S_NEXT]
    if before >= 0:
        meta[before, S_NEXT] = after
    else:
        ends[OLDEST] = after
    if after >= 0:
        meta[after, S_PREV] = before
    else:
        ends[NEWEST] = before
    meta[k, S_OWNER] = -1
    meta[k, S_NEXT] = ends[FREE]
    ends[FREE] = k


@lean
def open_slot(owner, slots):
    """Take the first free slot, of which there must be one, for a direction; it is the newest from now on."""
    meta, ends = slots.meta, slots.ends
    k = ends[FREE]
    ends[FREE] = meta[k, S_NEXT]
    meta[k, S_OWNER] = owner
    meta[k, S_PREV] = ends[NEWEST]
    meta[k, S_NEXT] = -1
    if ends[NEWEST] >= 0:
        meta[ends[NEWEST], S_NEXT] = k
    else:
        ends[OLDEST] = k
    ends[NEWEST] = k
    return k


@lean
def _slot_segments(meta, k, used):
    """Segments of slot ``k`` that began before ``used``: those the hello was spread over."""
    n = np.int64(0)
    for i in range(min(meta[k, S_SEGS], np.int64(MAX_SEGMENTS))):
        if meta[k, S_STARTS + i] < used:
            n += 1
    return n


@lean
def _partial(k, reason, full, arrays):
    """Make a row of an incomplete hello in slot ``k`` if there is enough of it, and count it. Does not close the slot."""
    meta, data, row = arrays.slots.meta, arrays.slots.data[k], arrays.work.row
    prefix = meta[k, S_PREFIX]
    if prefix == 0 or tls.look(data, 0, prefix) != tls.COMPLETE:
        return  # bytes behind a hole, or fewer than show a hello: nothing known to be lost
    if tls.parse_hello(data, 0, prefix, arrays.work.scratch, row) == tls.NOT_HELLO:
        return
    readable = row[tls.RANDOM] >= 0 and row[tls.SNI_LEN] > 0
    if reason == N_CUT and not readable:
        reason = N_CUT_UNREADABLE
    _count(arrays.counts, reason, meta[k, S_FRAME])
    if readable:
        segments = _slot_segments(meta, k, row[tls.USED])
        row[tls.WELL_FORMED] = 0
        _emit(data, meta[k, S_OWNER], meta[k, S_FRAME], meta[k, S_TS], segments, full, arrays.work, arrays.out)


@lean
def drop_slot(k, reason, full, arrays):
    """Make a row of what slot ``k`` holds, count it under ``reason`` and free it: nothing more is looked at in its direction."""
    _partial(k, reason, full, arrays)
    arrays.looks[arrays.slots.meta[k, S_OWNER]] = 0
    close_slot(k, arrays.slots)


@inlined
def _captured(buf, packet):
    """Bytes of the payload that lie in ``buf``."""
    src = packet[PAY_OFF]
    cap = min(max(packet[PAY_CAP], np.int64(0)), packet[LENGTH])
    return np.int64(0) if src < 0 or src + cap > buf.shape[0] else cap


@lean
def _store(buf, packet, k, slots):
    """Put a segment into slot ``k`` and see how far the bytes go without a hole."""
    meta, data, held = slots.meta[k], slots.data[k], slots.held[k]
    rel = packet[OFFSET] - meta[S_BASE]
    src = packet[PAY_OFF]
    cap = _captured(buf, packet)
    first = max(rel, np.int64(0))
    last = min(rel + cap, np.int64(SLOT_BYTES))
    prefix = meta[S_PREFIX]
    if prefix == meta[S_HIGH] and first <= prefix:
        # No hole before nor in it, the usual case: what lies behind the prefix is new.
        first = prefix
        if last > first:
            for j in range(first, last):
                data[j] = buf[src + j - rel]
                held[j] = 1
            prefix = last
    elif last > first:
        mine, known, new = data[first:last], held[first:last], buf[src + first - rel : src + last - rel]
        for j in range(new.shape[0]):  # without a branch: many at a time
            mine[j] = mine[j] if known[j] else new[j]
            known[j] = 1
    if last > meta[S_HIGH] and last > first:
        meta[S_HIGH] = last
    if first <= prefix < last:
        prefix = last
    while prefix + 4 <= meta[S_HIGH] and le32(held, prefix) == 0x01010101:
        prefix += 4
    while prefix < meta[S_HIGH] and held[prefix] == 1:
        prefix += 1
    meta[S_PREFIX] = prefix
    if meta[S_CUT_AT] < prefix:
        meta[S_CUT_AT] = -1  # filled by another segment
    if cap < packet[LENGTH] and rel + cap >= prefix and (meta[S_CUT_AT] < 0 or rel + cap < meta[S_CUT_AT]):
        meta[S_CUT_AT] = rel + cap
    if meta[S_SEGS] < MAX_SEGMENTS:
        meta[S_STARTS + meta[S_SEGS]] = rel
    meta[S_SEGS] += 1
    meta[S_END] = max(meta[S_END], packet[OFFSET] + packet[LENGTH])
    if last > first:
        meta[S_FRAME] = packet[FRAME]
        meta[S_TS] = packet[TS]


@inlined
def _clip(offset):
    """A stream offset as int32: the looking state sees no more than LOOKS segments, so a larger one is a stranger's and may be wrong."""
    return min(max(offset, np.int64(-(1 << 30))), np.int64(1 << 30))


@inlined
def _begin(buf, packet, begins, owner, left, full, arrays):
    """Look at a segment of a direction that collects nothing, ``left`` segments before the end of looking.

    Returns the slot into which it is to be put, or -1: it held a whole hello, or none.
    """
    looks, expected, meta = arrays.looks, arrays.expected, arrays.slots.meta
    cap = _captured(buf, packet)
    offset = packet[OFFSET]
    end = offset + packet[LENGTH]
    early = np.int64(0)
    base = offset
    if begins != tls.NOT_HELLO:
        begins = tls.parse_hello(buf, packet[PAY_OFF], cap, arrays.work.scratch, arrays.work.row)
        if begins == tls.COMPLETE:
            if arrays.work.row[tls.WELL_FORMED] == 0:
                _count(arrays.counts, N_MALFORMED, packet[FRAME])
            _emit(buf, owner, packet[FRAME], packet[TS], 1, full, arrays.work, arrays.out)
            looks[owner] = LOOKS_AFTER
            expected[owner] = _clip(max(np.int64(expected[owner]), end))
            return np.int64(-1)
    behind_hole = cap > 0 and 0 < offset - np.int64(expected[owner]) < SLOT_BYTES
    if begins == tls.NOT_HELLO or (behind_hole and cap < TELLING):
        if not behind_hole:
            looks[owner] = left - 1
            expected[owner] = _clip(max(np.int64(expected[owner]), end))
            return np.int64(-1)
        early = np.int64(1)
        base = np.int64(expected[owner])
    if arrays.slots.ends[FREE] < 0:
        drop_slot(arrays.slots.ends[OLDEST], N_EVICTED, full, arrays)
    k = open_slot(owner, arrays.slots)
    meta[k, S_BASE] = base
    meta[k, S_HIGH] = 0
    meta[k, S_PREFIX] = 0
    meta[k, S_SEGS] = 0
    meta[k, S_LOOKS_LEFT] = left
    meta[k, S_EARLY] = early
    meta[k, S_CUT_AT] = -1
    meta[k, S_END] = base
    looks[owner] = -(k + 1)
    return k


@lean
def _judge(k, packet, full, arrays):
    """Is the hello in slot ``k`` whole, or will it never be?"""
    meta, data, row = arrays.slots.meta, arrays.slots.data[k], arrays.work.row
    looks, expected = arrays.looks, arrays.expected
    owner = meta[k, S_OWNER]
    prefix = meta[k, S_PREFIX]
    left = max(meta[k, S_LOOKS_LEFT] - meta[k, S_SEGS], np.int64(0))
    status = tls.INCOMPLETE
    if prefix > 0:
        status = tls.parse_hello(data, 0, prefix, arrays.work.scratch, row)
    if status == tls.COMPLETE:
        if row[tls.WELL_FORMED] == 0:
            _count(arrays.counts, N_MALFORMED, packet[FRAME])
        segments = _slot_segments(meta, k, row[tls.USED])
        _emit(data, owner, packet[FRAME], packet[TS], segments, full, arrays.work, arrays.out)
        expected[owner] = _clip(meta[k, S_END])
        looks[owner] = LOOKS_AFTER
        close_slot(k, arrays.slots)
    elif status == tls.NOT_HELLO:
        expected[owner] = _clip(meta[k, S_END])
        looks[owner] = left
        close_slot(k, arrays.slots)
    elif prefix > 0 and meta[k, S_CUT_AT] == prefix:
        drop_slot(k, N_CUT, full, arrays)
    elif prefix >= SLOT_BYTES or meta[k, S_SEGS] >= MAX_SEGMENTS:
        expected[owner] = _clip(meta[k, S_END])
        drop_slot(k, N_GIVEN_UP, full, arrays)
        if prefix == 0:  # bytes behind a hole were no known hello; one may still begin later
            looks[owner] = left


@inlined
def _pass_over(run, owner, left, looks, expected):
    """Segments in order of which none is known to begin a hello; SEGMENTS is -1 where one of them may matter."""
    if left < 0 or run[OFFSET] > expected[owner] or run[SHOWS] & SHOWS_HELLO:
        run[SEGMENTS] = -1
        return
    looks[owner] = max(left - run[SEGMENTS], np.int64(0))
    expected[owner] = _clip(max(np.int64(expected[owner]), run[OFFSET] + run[LENGTH]))


@lean
def scan(buf, packets, start, full, arrays):
    """Fold packet rows from ``start`` on into the state.

    Returns (next row, session): the next row is below their number if there must be room first: for sessions up to ``session`` if that is not -1, else
    for hellos.
    """
    looks, expected, slots, out = arrays.looks, arrays.expected, arrays.slots, arrays.out
    known = looks.shape[0] >> 1
    for i in range(start, packets.shape[0]):
        if packets[i, FRESH] <= 0:
            continue
        session = packets[i, SESSION]
        if session < 0:
            continue
        if session >= known:
            return i, session
        owner = 2 * session + (packets[i, DIRECTION] & 1)
        left = np.int64(looks[owner])
        if left == 0 or packets[i, KIND] != TCP:
            if left != 0 and packets[i, KIND] == RUN:
                _pass_over(packets[i], owner, left, looks, expected)
            continue
        # At most two hellos come out of one packet: its own and the oldest, given up for it.
        if out.used[FOUND] + 2 > out.facts.shape[0] or out.used[TEXT_BYTES] + 2 * ROOM > out.arena.shape[0]:
            return i, np.int64(-1)
        packet = packets[i]
        cap = _captured(buf, packet)
        begins = tls.look(buf, packet[PAY_OFF], cap) if cap > 0 and not packet[HINT] & NO_HELLO else tls.NOT_HELLO
        k = np.int64(-1)
        if left < 0:
            k = -left - 1
            meta = slots.meta[k]
            if meta[S_EARLY] == 1 and begins == tls.COMPLETE and packet[OFFSET] != meta[S_BASE]:
                # What was lost before it was not its beginning: start anew with this segment.
                left = max(meta[S_LOOKS_LEFT] - meta[S_SEGS], np.int64(1))
                expected[owner] = _clip(max(meta[S_END], packet[OFFSET]))
                close_slot(k, slots)
                k = np.int64(-1)
        if k < 0:
            k = _begin(buf, packet, begins, owner, left, full, arrays)
        if k >= 0:
            _store(buf, packet, k, slots)
            _judge(k, packet, full, arrays)
    return packets.shape[0], np.int64(-1)


@lean
def peek(k, full, arrays):
    """Rows of the hellos that are still incomplete, from slot ``k`` in order of age; returns the slot to go on with, -1 at the end."""
    out = arrays.out
    while k >= 0:
        if out.used[FOUND] + 1 > out.facts.shape[0] or out.used[TEXT_BYTES] + ROOM > out.arena.shape[0]:
            return k
        _partial(k, N_INCOMPLETE, full, arrays)
        k = arrays.slots.meta[k, S_NEXT]
    return np.int64(-1)


@lean
def ask_for_payload(packets, looks, expected, turn, known, wanted):
    """Choose the packet rows of which ``scan`` needs the payload. All others only count, and lose theirs.

    These are the rows of a direction that collects bytes, a segment that may begin a hello and what follows it, and bytes behind a hole up to those that
    fill it. Where no hello begins with these, none was there, whatever the bytes are: such rows get zeros.

    known : int64[2 * sessions, 5]: the end of the stream so far; segments since a hole was met (0: none is, MAX_SEGMENTS: all are needed); the end of the
    stream behind the hole; the last row behind it, + 1; and the turn in which the others were written, as they hold until ``scan`` has taken these rows.
    Turns are numbered from 1.  wanted : int64[n, 2], gets of each such row where its payload lies now, and its size; in the row, PAY_OFF is where it lies
    if they follow each other, behind the zeros.

    Returns (rows that are wanted, bytes of zeros, bytes of both).
    """
    for i in range(packets.shape[0]):
        wanted[i, _NEED] = _needs(packets, i, looks, expected, turn, known, wanted)
    zeros = np.int64(0)
    for i in range(packets.shape[0]):
        if wanted[i, _NEED] == _ZEROS:
            zeros = max(zeros, packets[i, PAY_CAP])
    n, size = np.int64(0), zeros
    for i in range(packets.shape[0]):
        row, need = packets[i], wanted[i, _NEED]
        if need == _NOTHING:
            row[PAY_CAP] = 0
        elif need == _ZEROS:
            row[PAY_OFF] = 0
        else:
            wanted[n, 0], wanted[n, 1] = row[PAY_OFF], row[PAY_CAP]
            row[PAY_OFF] = size
            n += 1
            size += row[PAY_CAP]
    return n, zeros, size


_BEFORE, _NEED = 0, 1  # of ``wanted``, until it is known: the row before it behind a hole, + 1; and one of
_NOTHING, _ZEROS, _PAYLOAD = range(3)


@inlined
def _needs(packets, i, looks, expected, turn, known, wanted):
    """What ``scan`` needs of the payload of a row, so far. See :func:`ask_for_payload`."""
    row = packets[i]
    session = row[SESSION]
    if row[FRESH] <= 0 or session < 0:
        return np.int64(_NOTHING)
    owner = 2 * session + (row[DIRECTION] & 1)
    its = known[owner]
    if its[4] != turn:
        its[0], its[1], its[4] = expected[owner], 0, turn
    offset, end = row[OFFSET], row[OFFSET] + row[LENGTH]
    if row[KIND] != TCP or looks[owner] == 0:
        its[0] = max(its[0], end)
        its[2] = max(its[2], end)
        return np.int64(_NOTHING)
    if its[1] > 0:
        its[2] = max(its[2], end)
        if not row[HINT] & NO_HELLO or offset < its[0] or its[1] == MAX_SEGMENTS:
            its[1] = MAX_SEGMENTS
        elif offset == its[0] and row[PAY_CAP] > 0:
            its[0], its[1] = its[2], 0
            k = its[3]
            while k > 0:
                wanted[k - 1, _NEED] = _ZEROS
                k = wanted[k - 1, _BEFORE]
            return np.int64(_ZEROS)
        else:
            its[1] += 1
            wanted[i, _BEFORE], its[3] = its[3], i + 1
        return np.int64(_PAYLOAD)
    if looks[owner] < 0 or not row[HINT] & NO_HELLO:
        its[1] = MAX_SEGMENTS
        return np.int64(_PAYLOAD)
    if 0 < offset - its[0] < SLOT_BYTES and row[PAY_CAP] > 0:
        its[1], its[2] = 1, end
        wanted[i, _BEFORE], its[3] = 0, i + 1
        return np.int64(_PAYLOAD)
    its[0] = max(its[0], end)
    return np.int64(_NOTHING)


@lean
def merge_looks(arrays, looks, expected, place, turned, n):
    """Take over from a later part what its first ``n`` sessions are looked at for, but for those that collect.

    looks, expected : its own, see :class:`Arrays`.  place, turned : see ``HelloBuilder.merge``.
    """
    for k in range(n):
        if place[k] < 0:
            continue
        for side in range(2):
            at, to = 2 * k + side, 2 * place[k] + (side ^ np.int64(turned[k]))
            mine, its = np.int64(arrays.looks[to]), np.int64(looks[at])
            # A direction with its hello found or given up here stays so; else what the later part knows is newer.
            if its < 0 or mine <= 0:
                continue
            arrays.looks[to] = its if its == 0 or its == LOOKS_AFTER else max(mine - (LOOKS - its), np.int64(0))
            arrays.expected[to] = max(arrays.expected[to], expected[at])
