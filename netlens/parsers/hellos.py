"""TLS ClientHellos of all sessions: who was asked for, found in the stream wherever it begins and however it was split.

Theory of operation
-------------------
One int32 per session and direction says what is to be done with its next segment of new payload:

1. positive, *looking*: that many segments may still begin a hello. A direction starts with :data:`LOOKS`, because STARTTLS, CONNECT
   proxies, RDP and PostgreSQL put the hello behind other messages; but it always begins a segment (or follows a PROXY header or
   ChangeCipherSpec).
2. zero, *over*: nothing more is looked at. This is the state of almost every packet, which then costs one comparison.
3. negative, *collecting*: bytes are put into a slot at their stream offset until the hello is whole. A slot is taken when a hello begins
   but does not end in a segment (post-quantum key shares make it longer than one), or when bytes arrive behind a hole while looking: they
   may be the second half of a hello whose first half is late. Where bytes overlap, those that came first stay.

A hello that is whole in its segment is parsed in place. After a hello the direction is looked at for :data:`LOOKS_AFTER` segments more: a
HelloRetryRequest (RFC 8446 4.1.4) makes the client send a second one, which gets its own row, as it does in Wireshark.

What gives a row: every whole hello; and of a hello that stays incomplete (cut by the snapshot length, capture loss, end of the capture,
too many segments, too many hellos at once) what could be read, if random and server name are among it. Such a row has ``ja4`` null,
``alpn`` as far as read, ``version`` null unless supported_versions was read, and the frame that brought its last bytes. Whatever was not
whole is counted, see :data:`MEANINGS`.

The kernel writes only what a row needs: random, server name, and a key on which version, ALPN and JA4 depend (see ``netlens.wire.tls``).
Names and keys repeat, so that Python does two dictionary look-ups per hello.

Limits
------
* A hello cut in two by the border between parts that are merged later is not joined: a part does not keep the start of sessions it joins
  mid-way.
* Client and server are not told apart: a hello is recorded for whoever sends it.
* A second hello later than :data:`LOOKS_AFTER` segments after the first is missed. Renegotiation is encrypted and invisible anyway.
* ``sni`` may not be a host name: it is what a stranger wrote, escaped by ``netlens.wire.tls.escape``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.schema import Table
from netlens.tables import HELLOS
from netlens.wire import tls
from netlens.wire.columns import DIRECTION, FRAME, FRESH, KIND, LENGTH, OFFSET, PAY_CAP, PAY_OFF, SESSION, TCP, TS
from netlens.wire.compiled import kernel

if TYPE_CHECKING:
    from netlens.parsers.lifecycle import Kept

Array = np.ndarray[Any, Any]

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

ROW_BYTES = 400  #: what a found hello takes, about
_ROOM_OF = ("_facts", "_randoms", "_arena", "_row", "_work", "_scratch", "_names", "_keys")

# Columns of a slot's bookkeeping.
_OWNER = 0  # 2 * session + direction; -1 free
_BASE = 1  # stream offset of the slot's first byte
_HIGH = 2  # end of the bytes written, relative to _BASE
_PREFIX = 3  # bytes there without a hole
_SEGS = 4  # segments with new payload since it was taken
_LOOKS_LEFT = 5  # of the looking state before it
_EARLY = 6  # 1: taken for bytes behind a hole, it may be no hello at all
_CUT_AT = 7  # where the snapshot length made a hole that will not fill; -1 none
_END = 8  # highest stream offset seen
_FRAME = 9  # last segment that put bytes in
_TS = 10
_PREV, _NEXT = 11, 12  # list in order of age; _NEXT also chains the free slots
_STARTS = 13  # where each segment began, relative to _BASE
_SLOT_WIDTH = _STARTS + MAX_SEGMENTS

# Columns of a found hello.
_F_SESSION, _F_FRAME, _F_TS, _F_SEGMENTS, _F_LENGTH, _F_SNI, _F_SNI_LEN, _F_KEY, _F_KEY_LEN, _F_DIRECTION = range(10)
_FACT_WIDTH = 10
_FACTS = 8192  # hellos between two drains
_ARENA = 4 << 20  # bytes of names and keys between two drains
_ROOM = tls.SCRATCH + 16 + tls.MAX_SNI  # the most one hello can write

# Places of the control array.
_C_FACTS, _C_BYTES, _C_FREE, _C_OLDEST, _C_NEWEST, _C_NEED = range(6)

# Counters; the order is that of MEANINGS.
_N_CUT, _N_CUT_UNREADABLE, _N_GIVEN_UP, _N_EVICTED, _N_INCOMPLETE, _N_MALFORMED = range(6)
#: Reasons counted, with what they mean: for the quality table.
MEANINGS = {
    "hello_cut": "ClientHellos cut by the snapshot length whose random and server name could be read: rows without JA4.",
    "hello_cut_unreadable": "ClientHellos cut by the snapshot length before their server name: no row.",
    "hello_given_up": f"ClientHellos not whole within {MAX_SEGMENTS} segments or {SLOT_BYTES} bytes: capture loss or odd traffic.",
    "hello_evicted": f"ClientHellos given up because {SLOTS} later ones were incomplete at the same time.",
    "hello_incomplete": "ClientHellos still incomplete at the end of the capture.",
    "hello_malformed": "Whole ClientHellos with lengths that contradict each other: rows with what could be read, without JA4.",
}


@kernel
def _count(counts, which, frame):
    counts[which, 0] += 1
    if counts[which, 1] < 0:
        counts[which, 1] = frame


@kernel
def _emit(buf, scratch, row, owner, frame, ts, segments, full, work, facts, randoms, arena, ctl):
    """Append a found hello: what ``row`` says of ``buf`` (the batch's buffer or a slot) or of ``scratch``."""
    src = buf
    if row[tls.WHERE] == 1:
        src = scratch
    n = ctl[_C_FACTS]
    at = ctl[_C_BYTES]
    facts[n, _F_SESSION] = owner >> 1
    facts[n, _F_DIRECTION] = owner & 1
    facts[n, _F_FRAME] = frame
    facts[n, _F_TS] = ts
    facts[n, _F_SEGMENTS] = segments
    facts[n, _F_LENGTH] = row[tls.TOTAL]
    length = min(max(row[tls.SNI_LEN], np.int64(0)), np.int64(tls.MAX_SNI))
    facts[n, _F_SNI] = at
    facts[n, _F_SNI_LEN] = length
    for i in range(length):
        arena[at + i] = src[row[tls.SNI] + i]
    at += length
    facts[n, _F_KEY] = at
    facts[n, _F_KEY_LEN] = 0
    if full:
        for i in range(32):
            randoms[n, i] = src[row[tls.RANDOM] + i]
        end = tls.write_key(src, row, work, arena, at)
        facts[n, _F_KEY_LEN] = end - at
        at = end
    ctl[_C_FACTS] = n + 1
    ctl[_C_BYTES] = at


@kernel
def _close_slot(k, meta, held, ctl):
    """Give a slot back: clear what it held and take it out of the list of those in use."""
    for i in range(meta[k, _HIGH]):
        held[k, i] = 0
    before = meta[k, _PREV]
    after = meta[k, _NEXT]
    if before >= 0:
        meta[before, _NEXT] = after
    else:
        ctl[_C_OLDEST] = after
    if after >= 0:
        meta[after, _PREV] = before
    else:
        ctl[_C_NEWEST] = before
    meta[k, _OWNER] = -1
    meta[k, _NEXT] = ctl[_C_FREE]
    ctl[_C_FREE] = k


@kernel
def _slot_segments(meta, k, used):
    """Segments of slot ``k`` that began before ``used``: those the hello was spread over."""
    n = np.int64(0)
    for i in range(min(meta[k, _SEGS], np.int64(MAX_SEGMENTS))):
        if meta[k, _STARTS + i] < used:
            n += 1
    return n


@kernel
def _partial(k, reason, full, row, work, scratch, meta, slots, facts, randoms, arena, ctl, counts):
    """Make a row of an incomplete hello in slot ``k`` if there is enough of it, and count it. Does not close the slot."""
    prefix = meta[k, _PREFIX]
    if prefix == 0 or tls.look(slots[k], 0, prefix) != tls.COMPLETE:
        return  # bytes behind a hole, or fewer than show a hello: nothing known to be lost
    if tls.parse_hello(slots[k], 0, prefix, scratch, row) == tls.NOT_HELLO:
        return
    readable = row[tls.RANDOM] >= 0 and row[tls.SNI_LEN] > 0
    if reason == _N_CUT and not readable:
        reason = _N_CUT_UNREADABLE
    _count(counts, reason, meta[k, _FRAME])
    if readable:
        segments = _slot_segments(meta, k, row[tls.USED])
        row[tls.WELL_FORMED] = 0
        _emit(slots[k], scratch, row, meta[k, _OWNER], meta[k, _FRAME], meta[k, _TS], segments, full, work, facts, randoms, arena, ctl)


@kernel
def _store(buf, pkts, i, k, meta, slots, held):
    """Put the segment of packet row ``i`` into slot ``k`` and see how far the bytes go without a hole."""
    rel = pkts[i, OFFSET] - meta[k, _BASE]
    src = pkts[i, PAY_OFF]
    cap = min(max(pkts[i, PAY_CAP], np.int64(0)), pkts[i, LENGTH])
    if src < 0 or src + cap > buf.shape[0]:
        cap = np.int64(0)
    first = max(rel, np.int64(0))
    last = min(rel + cap, np.int64(SLOT_BYTES))
    prefix = meta[k, _PREFIX]
    if prefix == meta[k, _HIGH] and first <= prefix:
        # No hole before nor in it, the usual case: what lies behind the prefix is new.
        first = prefix
        if last > first:
            slots[k, first:last] = buf[src + first - rel : src + last - rel]
            held[k, first:last] = 1
            prefix = last
    else:
        for j in range(first, last):
            if held[k, j] == 0:
                held[k, j] = 1
                slots[k, j] = buf[src + j - rel]
    if last > meta[k, _HIGH] and last > first:
        meta[k, _HIGH] = last
    while prefix < meta[k, _HIGH] and held[k, prefix] == 1:
        prefix += 1
    meta[k, _PREFIX] = prefix
    if meta[k, _CUT_AT] < prefix:
        meta[k, _CUT_AT] = -1  # filled by another segment
    if cap < pkts[i, LENGTH] and rel + cap >= prefix and (meta[k, _CUT_AT] < 0 or rel + cap < meta[k, _CUT_AT]):
        meta[k, _CUT_AT] = rel + cap
    if meta[k, _SEGS] < MAX_SEGMENTS:
        meta[k, _STARTS + meta[k, _SEGS]] = rel
    meta[k, _SEGS] += 1
    meta[k, _END] = max(meta[k, _END], pkts[i, OFFSET] + pkts[i, LENGTH])
    if last > first:
        meta[k, _FRAME] = pkts[i, FRAME]
        meta[k, _TS] = pkts[i, TS]


@kernel
def _clip(offset):
    """A stream offset as int32: the looking state sees no more than LOOKS segments, so a larger one is a stranger's and may be wrong."""
    return min(max(offset, np.int64(-(1 << 30))), np.int64(1 << 30))


@kernel
def _scan(buf, pkts, start, n, full, state, expected, row, work, scratch, meta, slots, held, facts, randoms, arena, ctl, counts):
    """Fold packet rows ``start`` to ``n`` into the state; returns the row to go on with.

    A result below ``n`` asks the caller for room first: for sessions up to ``ctl[_C_NEED]`` if that is not -1, else by draining.
    """
    known = state.shape[0] >> 1
    ctl[_C_NEED] = -1
    for i in range(start, n):
        if pkts[i, FRESH] <= 0:
            continue
        session = pkts[i, SESSION]
        if session < 0:
            continue
        if session >= known:
            ctl[_C_NEED] = session
            return i
        owner = 2 * session + (pkts[i, DIRECTION] & 1)
        looks = np.int64(state[owner])
        if looks == 0 or pkts[i, KIND] != TCP:
            continue
        # At most two hellos come out of one packet: its own and the oldest, given up for it.
        if ctl[_C_FACTS] + 2 > facts.shape[0] or ctl[_C_BYTES] + 2 * _ROOM > arena.shape[0]:
            return i
        offset = pkts[i, OFFSET]
        src = pkts[i, PAY_OFF]
        length = pkts[i, LENGTH]
        cap = min(max(pkts[i, PAY_CAP], np.int64(0)), length)
        if src < 0 or src + cap > buf.shape[0]:
            cap = np.int64(0)
        begins = tls.look(buf, src, cap) if cap > 0 else tls.NOT_HELLO
        k = np.int64(-1)
        if looks < 0:
            k = -looks - 1
            if meta[k, _EARLY] == 1 and begins == tls.COMPLETE and offset != meta[k, _BASE]:
                # What was lost before it was not its beginning: start anew with this segment.
                looks = max(meta[k, _LOOKS_LEFT] - meta[k, _SEGS], np.int64(1))
                expected[owner] = _clip(max(meta[k, _END], offset))
                _close_slot(k, meta, held, ctl)
                k = np.int64(-1)
            else:
                _store(buf, pkts, i, k, meta, slots, held)
        if k < 0:
            early = np.int64(0)
            base = offset
            if begins != tls.NOT_HELLO:
                status = tls.parse_hello(buf, src, cap, scratch, row)
                if status == tls.COMPLETE:
                    if row[tls.WELL_FORMED] == 0:
                        _count(counts, _N_MALFORMED, pkts[i, FRAME])
                    _emit(buf, scratch, row, owner, pkts[i, FRAME], pkts[i, TS], 1, full, work, facts, randoms, arena, ctl)
                    state[owner] = LOOKS_AFTER
                    expected[owner] = _clip(max(np.int64(expected[owner]), offset + length))
                    continue
                begins = status
            if begins == tls.NOT_HELLO:
                gap = offset - np.int64(expected[owner])
                if gap <= 0 or gap >= SLOT_BYTES or cap == 0:
                    state[owner] = looks - 1
                    expected[owner] = _clip(max(np.int64(expected[owner]), offset + length))
                    continue
                early = np.int64(1)
                base = np.int64(expected[owner])
            # Take a slot.
            k = ctl[_C_FREE]
            if k < 0:
                k = ctl[_C_OLDEST]
                _partial(k, _N_EVICTED, full, row, work, scratch, meta, slots, facts, randoms, arena, ctl, counts)
                state[meta[k, _OWNER]] = 0
                _close_slot(k, meta, held, ctl)
                k = ctl[_C_FREE]
            ctl[_C_FREE] = meta[k, _NEXT]
            meta[k, _OWNER] = owner
            meta[k, _BASE] = base
            meta[k, _HIGH] = 0
            meta[k, _PREFIX] = 0
            meta[k, _SEGS] = 0
            meta[k, _LOOKS_LEFT] = looks
            meta[k, _EARLY] = early
            meta[k, _CUT_AT] = -1
            meta[k, _END] = base
            meta[k, _PREV] = ctl[_C_NEWEST]
            meta[k, _NEXT] = -1
            if ctl[_C_NEWEST] >= 0:
                meta[ctl[_C_NEWEST], _NEXT] = k
            else:
                ctl[_C_OLDEST] = k
            ctl[_C_NEWEST] = k
            state[owner] = -(k + 1)
            _store(buf, pkts, i, k, meta, slots, held)
        # Is the hello in slot k whole?
        prefix = meta[k, _PREFIX]
        status = tls.INCOMPLETE
        if prefix > 0:
            status = tls.parse_hello(slots[k], 0, prefix, scratch, row)
        if status == tls.COMPLETE:
            if row[tls.WELL_FORMED] == 0:
                _count(counts, _N_MALFORMED, pkts[i, FRAME])
            segments = _slot_segments(meta, k, row[tls.USED])
            _emit(slots[k], scratch, row, owner, pkts[i, FRAME], pkts[i, TS], segments, full, work, facts, randoms, arena, ctl)
            expected[owner] = _clip(meta[k, _END])
            state[owner] = LOOKS_AFTER
            _close_slot(k, meta, held, ctl)
        elif status == tls.NOT_HELLO:
            expected[owner] = _clip(meta[k, _END])
            state[owner] = max(meta[k, _LOOKS_LEFT] - meta[k, _SEGS], np.int64(0))
            _close_slot(k, meta, held, ctl)
        elif prefix > 0 and meta[k, _CUT_AT] == prefix:
            _partial(k, _N_CUT, full, row, work, scratch, meta, slots, facts, randoms, arena, ctl, counts)
            state[owner] = 0
            _close_slot(k, meta, held, ctl)
        elif prefix >= SLOT_BYTES or meta[k, _SEGS] >= MAX_SEGMENTS:
            _partial(k, _N_GIVEN_UP, full, row, work, scratch, meta, slots, facts, randoms, arena, ctl, counts)
            # Bytes behind a hole were no known hello; one may still begin later.
            state[owner] = max(meta[k, _LOOKS_LEFT] - meta[k, _SEGS], np.int64(0)) if prefix == 0 else 0
            expected[owner] = _clip(meta[k, _END])
            _close_slot(k, meta, held, ctl)
    return n


@kernel
def _peek(k, full, row, work, scratch, meta, slots, facts, randoms, arena, ctl, counts):
    """Rows of the hellos that are still incomplete, from slot ``k`` in order of age; returns the slot to go on with, -1 at the end."""
    while k >= 0:
        if ctl[_C_FACTS] + 1 > facts.shape[0] or ctl[_C_BYTES] + _ROOM > arena.shape[0]:
            return k
        _partial(k, _N_INCOMPLETE, full, row, work, scratch, meta, slots, facts, randoms, arena, ctl, counts)
        k = meta[k, _NEXT]
    return np.int64(-1)


class Found:
    """Found hellos as columns: blocks of numbers, and one list entry per hello for what Python makes of it."""

    def __init__(self) -> None:
        self.numbers: list[Array] = []  # int64[n, _FACT_WIDTH]
        self.randoms: list[Array] = []  # uint8[n, 32]
        self.sni: list[str | None] = []
        self.described: list[tuple[str | None, list[str], str | None]] = []

    @property
    def sessions(self) -> Array:
        return self.facts()[:, _F_SESSION]

    @property
    def offers_http2(self) -> list[bool]:
        return ["h2" in alpn for _, alpn, _ in self.described]

    def extend(self, other: Found) -> None:
        self.numbers += other.numbers
        self.randoms += other.randoms
        self.sni += other.sni
        self.described += other.described

    def where(self, keep: Array) -> Found:
        """The rows of a boolean mask, as a copy."""
        out = Found()
        if len(keep):
            out.numbers = [self.facts()[keep]]
            out.randoms = [np.concatenate(self.randoms)[keep]] if self.randoms else []
            chosen = np.flatnonzero(keep).tolist()
            out.sni = [self.sni[i] for i in chosen]
            out.described = [self.described[i] for i in chosen] if self.described else []
        return out

    def facts(self) -> Array:
        if len(self.numbers) > 1:
            self.numbers = [np.concatenate(self.numbers)]
        return self.numbers[0] if self.numbers else np.empty((0, _FACT_WIDTH), np.int64)


def _cached(cache: dict[bytes, Any], key: bytes, make: Any) -> Any:
    """``make(key)``, remembered; the memory is emptied when a stranger fills it with keys that never repeat."""
    if len(cache) >= 1 << 16:
        cache.clear()
    value = cache[key] = make(key)
    return value


class HelloBuilder:
    """Finds the ClientHellos in batches of packet rows and keeps a row of each.

    Parameters
    ----------
    full : bool
        False keeps session and server name only (what a table of sessions needs); :meth:`rows` is then not available.
    slots : int
        hellos that can be put together at the same time

    Notes
    -----
    The state grows by 16 bytes per session. Rows of the ``alpn`` column share their list objects with each other.
    """

    def __init__(self, full: bool = True, *, slots: int = SLOTS) -> None:
        self.full = full
        self._state = np.full(2 * 1024, LOOKS, np.int32)
        self._expected = np.zeros(2 * 1024, np.int32)
        self._meta = np.full((slots, _SLOT_WIDTH), -1, np.int64)
        self._meta[:-1, _NEXT] = np.arange(1, slots)
        # Zeros of the operating system: pages that are never touched take no memory.
        self._slots = np.zeros((slots, SLOT_BYTES), np.uint8)
        self._held = np.zeros((slots, SLOT_BYTES), np.uint8)
        self._ctl = np.full(6, -1, np.int64)
        self._ctl[:3] = 0
        self._counts = np.full((len(MEANINGS), 2), -1, np.int64)
        self._counts[:, 0] = 0
        self._found = Found()
        self._make_room()

    def _make_room(self) -> None:
        """What is empty or a copy between two calls, and need not travel with the state."""
        self._row = np.empty(tls.HELLO_WIDTH, np.int64)
        self._work = np.empty(tls.MAX_SORT, np.int64)
        self._scratch = np.empty(tls.SCRATCH, np.uint8)
        self._facts, self._randoms, self._arena = _buffers()
        self._names: dict[bytes, str | None] = {b"": None}
        self._keys: dict[bytes, tuple[str | None, list[str], str | None]] = {}

    def feed(self, buf: Array, packets: Array, sessions: Array | None = None) -> None:
        """Take in a batch; all that is needed of its sessions stands in the packet rows."""
        start, n = 0, len(packets)
        while True:
            start = _scan(
                buf, packets, start, n, self.full, self._state, self._expected, self._row, self._work, self._scratch, self._meta,
                self._slots, self._held, self._facts, self._randoms, self._arena, self._ctl, self._counts,
            )  # fmt: skip
            if start >= n:
                return
            if self._ctl[_C_NEED] >= 0:
                self._reserve(int(self._ctl[_C_NEED]) + 1)
            else:
                self._flush()

    def _reserve(self, sessions: int) -> None:
        have = len(self._state) // 2
        if sessions > have:
            more = 2 * (max(sessions, 2 * have) - have)
            self._state = np.concatenate([self._state, np.full(more, LOOKS, np.int32)])
            self._expected = np.concatenate([self._expected, np.zeros(more, np.int32)])

    def _flush(self) -> None:
        self._flush_into(self._found, self._ctl, self._facts, self._randoms, self._arena)

    def _flush_into(self, rows: Found, ctl: Array, facts: Array, randoms: Array, arena: Array) -> None:
        """Turn what the kernel found into rows and empty its buffers."""
        n = int(ctl[_C_FACTS])
        if n == 0:
            return
        block = facts[:n].copy()
        data = arena[: int(ctl[_C_BYTES])].tobytes()
        ctl[_C_FACTS] = ctl[_C_BYTES] = 0
        rows.numbers.append(block)
        names, keys, add_name = self._names, self._keys, rows.sni.append
        spans = block[:, _F_SNI : _F_KEY_LEN + 1].copy()
        spans[:, 1] += spans[:, 0]
        spans[:, 3] += spans[:, 2]
        if not self.full:
            for a, b in spans[:, :2].tolist():
                raw = data[a:b]
                add_name(names[raw] if raw in names else _cached(names, raw, _name))
            return
        add_key = rows.described.append
        for a, b, c, d in spans.tolist():
            raw = data[a:b]
            add_name(names[raw] if raw in names else _cached(names, raw, _name))
            raw = data[c:d]
            add_key(keys[raw] if raw in keys else _cached(keys, raw, tls.describe_key))
        rows.randoms.append(randoms[:n].copy())

    def drain(self) -> Found:
        """Take out what was found since the last time. Hellos that are still incomplete stay."""
        self._flush()
        found, self._found = self._found, Found()
        return found

    def _all(self) -> tuple[Found, Array]:
        """All rows, those of incomplete hellos last, and the counters with these included. Changes nothing: more may be fed afterwards."""
        self._flush()
        counts = self._counts.copy()
        if self._ctl[_C_OLDEST] < 0:
            return self._found, counts
        rows = Found()
        rows.extend(self._found)
        facts, randoms, arena = _buffers()
        ctl = self._ctl.copy()
        k = int(ctl[_C_OLDEST])
        while k >= 0:
            k = _peek(
                k, self.full, self._row, self._work, self._scratch, self._meta, self._slots, facts, randoms, arena, ctl, counts
            )  # fmt: skip
            self._flush_into(rows, ctl, facts, randoms, arena)
        return rows, counts

    def sni_of_sessions(self, n_sessions: int) -> Array:
        """Server name of the first hello that has one, per session row; None without. Object array of ``n_sessions``."""
        rows, _ = self._all()
        out = np.full(n_sessions, None, object)
        facts = rows.facts()
        if len(facts) == 0:
            return out
        names = np.empty(len(rows.sni), object)
        names[:] = rows.sni
        usable = np.flatnonzero((facts[:, _F_SESSION] < n_sessions) & (facts[:, _F_SNI_LEN] > 0))
        order = usable[np.argsort(facts[usable, _F_FRAME], kind="stable")][::-1]
        out[facts[order, _F_SESSION]] = names[order]  # assigned in order: the earliest comes last and stays
        return out

    def rows(self, session_ids: Array | None = None) -> Table:
        """The table HELLOS, in order of frame.

        Parameters
        ----------
        session_ids : int64 array, optional
            ``session_id`` per session row; the row's index if not given
        """
        if not self.full:
            raise ValueError("a HelloBuilder with full=False keeps server names only")
        rows, _ = self._all()
        facts = rows.facts()
        if len(facts) == 0:
            return HELLOS.empty()
        order = np.argsort(facts[:, _F_FRAME], kind="stable")
        facts = facts[order]
        picks = order.tolist()
        text = np.concatenate(rows.randoms)[order].tobytes().hex()
        sni, described = rows.sni, [rows.described[i] for i in picks]
        sessions = facts[:, _F_SESSION].copy()
        return Table(
            HELLOS,
            {
                "session_id": sessions if session_ids is None else np.asarray(session_ids, np.int64)[sessions],
                "frame": facts[:, _F_FRAME].copy(),
                "time_ns": facts[:, _F_TS].copy(),
                "sni": _objects([sni[i] for i in picks]),
                "alpn": _objects([d[1] for d in described]),
                "random": _objects([text[i : i + 64] for i in range(0, len(text), 64)]),
                "version": _objects([d[0] for d in described]),
                "ja4": _objects([d[2] for d in described]),
                "length_bytes": facts[:, _F_LENGTH].copy(),
                "segments": facts[:, _F_SEGMENTS].copy(),
            },
        )

    @property
    def counters(self) -> dict[str, int]:
        """How often each reason of :data:`MEANINGS` happened; hellos incomplete at this moment are in ``hello_incomplete``."""
        return dict(zip(MEANINGS, self._all()[1][:, 0].tolist(), strict=True))

    @property
    def first_frames(self) -> dict[str, int | None]:
        """Frame at which each reason happened first; None if it did not."""
        return {k: None if v < 0 else v for k, v in zip(MEANINGS, self._all()[1][:, 1].tolist(), strict=True)}

    def merge(self, other: HelloBuilder, place: Array, frame_offset: int = 0) -> None:
        """Take over what ``other`` found in the part of the capture that follows this one.

        Parameters
        ----------
        place : int64 array
            row of this builder's sessions for each session row of ``other``; -1 drops what was found on it
        frame_offset : int
            added to the frame numbers of ``other``

        Notes
        -----
        A hello half of which lies in each part stays incomplete. One that begins in ``other`` and ends in a third part is joined.
        """
        if other.full != self.full:
            raise ValueError("HelloBuilders with and without full cannot be merged")
        self._flush()
        other._flush()
        added = Found()
        added.extend(other._found)
        if added.numbers:
            added = added.where(place[added.sessions] >= 0)
            facts = added.facts()
            facts[:, _F_SESSION] = place[facts[:, _F_SESSION]]
            facts[:, _F_FRAME] += frame_offset
        self._found.extend(added)
        for i, (count, first) in enumerate(other._counts.tolist()):
            self._counts[i, 0] += count
            if first >= 0 and self._counts[i, 1] < 0:
                self._counts[i, 1] = first + frame_offset
        n = min(len(place), len(other._state) // 2)
        if n == 0:
            return
        self._reserve(int(place.max()) + 1)
        theirs = np.flatnonzero(place[:n] >= 0)
        for side in (0, 1):
            at = 2 * theirs + side
            to = 2 * place[theirs] + side
            looks, expected = other._state[at], other._expected[at]
            # A direction with its hello found or given up here stays so; else what the later part knows is newer.
            mine = self._state[to]
            found = looks < 0
            plain = ~found & (mine > 0)
            left = np.maximum(mine.astype(np.int64) - (LOOKS - looks), 0)
            self._state[to[plain]] = np.where((looks == 0) | (looks == LOOKS_AFTER), looks, left)[plain]
            self._expected[to[plain]] = np.maximum(self._expected[to[plain]], expected[plain])
            for i in np.flatnonzero(found).tolist():
                self._take_slot(other, -int(looks[i]) - 1, int(to[i]), frame_offset)

    def _take_slot(self, other: HelloBuilder, k: int, owner: int, frame_offset: int) -> None:
        """Go on collecting here what ``other`` has in its slot ``k``; if there is no room, the hello is given up and counted."""
        if self._state[owner] < 0:
            self._drop_slot(-int(self._state[owner]) - 1, _N_INCOMPLETE)
        mine = int(self._ctl[_C_FREE])
        if mine < 0:
            self._drop_slot(int(self._ctl[_C_OLDEST]), _N_EVICTED)
            mine = int(self._ctl[_C_FREE])
        free = int(self._meta[mine, _NEXT])
        newest = int(self._ctl[_C_NEWEST])
        self._meta[mine] = other._meta[k]
        self._meta[mine, _OWNER] = owner
        self._meta[mine, _FRAME] += frame_offset
        self._meta[mine, _PREV], self._meta[mine, _NEXT] = newest, -1
        high = int(other._meta[k, _HIGH])
        self._slots[mine, :high] = other._slots[k, :high]
        self._held[mine, :high] = other._held[k, :high]
        self._ctl[_C_FREE] = free
        if newest >= 0:
            self._meta[newest, _NEXT] = mine
        else:
            self._ctl[_C_OLDEST] = mine
        self._ctl[_C_NEWEST] = mine
        self._state[owner] = -(mine + 1)

    def _drop_slot(self, k: int, reason: int) -> None:
        """Make a row of what slot ``k`` holds, count it under ``reason`` and free it."""
        self._flush()
        _partial(
            k, reason, self.full, self._row, self._work, self._scratch, self._meta, self._slots,
            self._facts, self._randoms, self._arena, self._ctl, self._counts,
        )  # fmt: skip
        self._state[int(self._meta[k, _OWNER])] = 0
        _close_slot(k, self._meta, self._held, self._ctl)

    # --- the life of the state

    def forget(self, kept: Kept) -> None:
        used = np.flatnonzero(self._meta[:, _OWNER] >= 0)
        owner = self._meta[used, _OWNER]
        now = kept.renamed(owner >> 1)
        for slot in used[now < 0].tolist():
            _close_slot(slot, self._meta, self._held, self._ctl)
        self._meta[used[now >= 0], _OWNER] = (2 * now + (owner & 1))[now >= 0]
        # the state knows sessions that sent payload; others are beyond its end
        self._state = kept.rows(self._state.reshape(-1, 2), LOOKS).ravel()
        self._expected = kept.rows(self._expected.reshape(-1, 2)).ravel()

    def extract(self, place: Array) -> HelloBuilder:
        """What is known of some sessions, in no more memory than it needs; ``place``: their new rows, -1 for the others."""
        at = np.flatnonzero(place >= 0)
        collecting = int((self.looking(len(place))[0][at] < 0).sum())
        out = HelloBuilder(self.full, slots=max(collecting, 1))
        out.merge(self, place)
        return out

    def looking(self, n: int) -> tuple[Array, Array]:
        """Of ``n`` sessions int64[n, 2] each: the looking state by direction (see above), and the end of the stream as far as it was looked at."""
        known = min(n, len(self._state) // 2)
        looks, expected = np.full((n, 2), LOOKS, np.int64), np.zeros((n, 2), np.int64)
        looks[:known] = self._state[: 2 * known].reshape(-1, 2)
        expected[:known] = self._expected[: 2 * known].reshape(-1, 2)
        return looks, expected

    def is_looked_at(self, sessions: Array, directions: Array) -> Array:
        """bool[n]: whether the next payload of a session in that direction is looked at."""
        at = 2 * sessions + directions
        known = at < len(self._state)
        return ~known | (self._state[np.where(known, at, 0)] != 0)

    @property
    def nbytes(self) -> int:
        slots = int((self._meta[:, _OWNER] >= 0).sum())
        return slots * 2 * SLOT_BYTES + self._state.nbytes + self._expected.nbytes + ROW_BYTES * len(self._found.sni)

    def __getstate__(self) -> dict[str, Any]:
        self._flush()
        return {name: value for name, value in self.__dict__.items() if name not in _ROOM_OF}

    def __setstate__(self, held: dict[str, Any]) -> None:
        self._make_room()
        self.__dict__.update(held)


def _buffers() -> tuple[Array, Array, Array]:
    return np.empty((_FACTS, _FACT_WIDTH), np.int64), np.empty((_FACTS, 32), np.uint8), np.empty(_ARENA, np.uint8)


def _name(raw: bytes) -> str | None:
    return tls.escape(raw) if raw else None


def _objects(values: list[Any]) -> Array:
    """An object array of ``values``; numpy would make a matrix of lists of equal length."""
    return np.fromiter(values, object, len(values))
