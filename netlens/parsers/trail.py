"""The trail: what lenses ask of single segments, kept of each in a few bytes while the capture is read.

A table has a row for a connection; whether somebody waited for a lost segment, who reset what, how long a window was shut and which alert ended a handshake
stand in single segments. ``netlens analyze`` keeps of each TCP segment its numbers, the first :data:`HEAD` bytes of its payload (a reply code, a TLS
alert) and what tells a copy from a retransmission (IP identification, TCP timestamp); of UDP, sums by conversation. No other command does.

Limits: of at most :data:`MAX_SEGMENTS` segments (87 bytes each, 260 MB); ``left_out`` counts the others, and lenses then speak of the first part only.
Time is what the capture says. Where it jumps by more than :data:`SEAM_NS`, an *excerpt* ends and another begins: files are joined that way.
"""

from collections import namedtuple
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np

from netlens.arrays import GrowableArray
from netlens.columns import Array
from netlens.parsers.packet_digests import stamp
from netlens.parsers.session_state import BASE, NEXT, SIDE, SIDE_WIDTH
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text
from netlens.wire.compiled import inlined, lean
from netlens.wire.link import ON_AIR

MAX_SEGMENTS = 3_000_000
MAX_CONVERSATIONS = 100_000  #: of UDP; a scan of one port of a /16 is less
HEAD = 8  #: bytes of payload: "530 Login", a TLS alert (7), MySQL's error (7)
SEAM_NS = 3600 * 10**9  #: no program waits an hour for a packet; a joined file jumps by days
TRIES, PAUSE_NS = 8, 50_000_000  #: of one thing; what comes closer belongs to one try: sent in pieces, or recorded twice
LATEST = 32  #: of QUIC: a timer for lost answers sends two at a time, and waits twice as long each time (RFC 9002 6.2)
_LONG = np.array([0xC0_0000_0001, 0xC0_6B33_43CF], np.uint64)  #: of versions 1 and 2 (RFC 9369 3.1): the first two bits, and the version
_AT_FIRST = 4_096  #: segments for which there is room
_HEADS = (1 << 64) - 1
_LATER = 65_536  #: rows of UDP that are summed at a time
_TCP_HEADERS = (32, 20, 24, 28, 36, 40, 44, 48, 52, 56, 60)  #: lengths; the most frequent first (12 bytes of timestamps, none)
_MOST_HOPS = 255  #: of a packet
_IPV4 = 20  #: a header with options is rare, and its identification is not needed


#: column of the trail -> dtype; equal lengths
SEGMENT: dict[str, type] = {
    "session": np.int32,
    "frame": np.int64,
    "ts": np.int64,
    "way": np.int8,  # 0 the session's first endpoint sent it
    "flags": np.int16,
    "window": np.uint16,  # as on the wire, not scaled
    "length": np.int32,
    "fresh": np.int32,
    "offset": np.int64,  # of the first payload byte in its stream
    "acked": np.int64,  # up to where the peer's stream is acknowledged; meaningless without ACK
    "ident": np.uint16,  # IPv4 identification; 0: none was read
    "stamp": np.uint32,  # TCP timestamps, see parsers.packet_digests.stamp; 0: without
    "seq": np.uint32,  # as on the wire
    "ack": np.uint32,
    "iface": np.int64,  # as in wire.columns
    "head": np.uint64,  # the first bytes of the payload, big endian; 0 without
}
#: Columns that seldom need 64 bits (a third of a trail's memory), and the number below which they do not: so that the sum of two fits into 32 bits. What is
#: acknowledged is only compared; in a SYN without ACK it may be any number of 32 bits.
NARROW = {"frame": 1 << 30, "offset": 1 << 30, "acked": 1 << 31}
Segments = namedtuple("Segments", SEGMENT)  # type: ignore[misc]


class Conversation(NamedTuple):
    """Datagrams from one end to another."""

    source: tuple[str, int]  # address, port
    destination: tuple[str, int]
    datagrams: int
    bytes: int
    first_ns: int
    last_ns: int
    first_frame: int
    head: int = 0  # the first bytes of the first datagram, as of a segment
    hops: int = 0  # the fewest that any of its packets might still make; 0 where it is not known
    #: When the first :data:`TRIES` datagrams came that followed a pause of :data:`PAUSE_NS`, up to one that begins otherwise than the first, or is not as long
    tries: tuple[int, ...] = ()
    size: int = 0  # bytes of each of them; -1 behind such another one
    latest: tuple[int, ...] = ()  # of what begins by a long header of QUIC, when the last :data:`LATEST` datagrams came


class Trail:
    """Fed with decoded packets whose sessions are known."""

    def __init__(self) -> None:
        self.left_out = 0
        self._rows = 0
        self._columns = {name: GrowableArray(dtype, _AT_FIRST) for name, dtype in SEGMENT.items()}
        self._joined: dict[str, Array] | None = None
        self._bounds: Array | None = None
        self._udp: list[Array] = []
        self._udp_rows = 0
        self._sums: dict[int, list[Any]] = {}
        self._told: list[Conversation] | None = None  # of these
        #: first frame and latest time of each excerpt
        self.excerpts: list[list[int]] = []
        self._last_ns: int | None = None

    def feed(self, buf: Array, rows: Array, datagrams: Array, sessions: Array) -> None:
        """Take in a batch (int64[n, WIDTH]) with the state of the sessions.  datagrams : those of its rows, which are kept and changed."""
        if not len(rows):
            return
        self._note_time(rows)
        if len(datagrams):
            _describe(
                buf, datagrams
            )  # nobody needs the hint of a datagram, nor has it a window, and the buffer is gone when they are summed
            self._udp.append(datagrams)
            self._told = None
            self._udp_rows += len(datagrams)
            if self._udp_rows >= _LATER:
                self._sum()
        if self._rows >= MAX_SEGMENTS:
            self.left_out += int(((rows[:, c.KIND] != c.UDP) & (rows[:, c.SESSION] >= 0)).sum())
            return
        for name, column in self._columns.items():
            if column.array.dtype != SEGMENT[name]:  # made narrow when it was asked for
                self._columns[name] = column = GrowableArray.of(column.array.astype(SEGMENT[name]))
            column.make_room(self._rows + len(rows))
        until = _take(buf, rows, sessions, self._rows, Segments(*(column.array for column in self._columns.values())))
        if until > self._rows:
            self._joined = self._bounds = None
            self._rows = until

    def _note_time(self, rows: Array) -> None:
        if not self.excerpts:
            self.excerpts.append([int(rows[0, c.FRAME]), int(rows[0, c.TS])])
        at, last = 0, int(rows[0, c.TS]) if self._last_ns is None else self._last_ns
        while True:
            end, latest = _until_a_seam(rows, at, last)
            if end > at:
                self.excerpts[-1][1] = max(self.excerpts[-1][1], int(latest))
            if end == len(rows):
                break
            at, last = end, int(rows[end, c.TS])
            self.excerpts.append([int(rows[end, c.FRAME]), last])
        self._last_ns = int(rows[-1, c.TS])

    def _sum(self) -> None:
        """Add the datagrams that wait to the sums by conversation."""
        rows = np.concatenate(self._udp)
        self._udp, self._udp_rows = [], 0
        key = np.zeros(len(rows), np.uint64)
        for column in (c.SRC_HI, c.SRC_LO, c.DST_HI, c.DST_LO, c.PORTS):
            key = (key ^ rows[:, column].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        _, first, which = np.unique(key, return_index=True, return_inverse=True)
        count, size = np.bincount(which), np.bincount(which, rows[:, c.LENGTH]).astype(np.int64)
        last = np.full(len(first), -(1 << 62), np.int64)
        np.maximum.at(last, which, rows[:, c.TS])
        hops = np.full(len(first), _MOST_HOPS)
        np.minimum.at(hops, which, rows[:, c.WINDOW])
        told = rows[first][:, (c.SRC_HI, c.SRC_LO, c.DST_HI, c.DST_LO, c.PORTS, c.TS, c.FRAME, c.HINT, c.LENGTH)].tolist()
        numbers = key[first].tolist()
        heads, sizes, lasts = rows[first, c.HINT].astype(np.uint64), rows[first, c.LENGTH], np.full(len(first), -(1 << 62), np.int64)
        for k, known in enumerate(map(self._sums.get, numbers) if self._sums else ()):
            if known is not None:
                heads[k], sizes[k], lasts[k] = known[10], known[13], known[8]
        tries, of, others = _tries(which, rows, heads, sizes, lasts)
        latest = _latest(which, rows, heads)
        each = zip(numbers, told, count.tolist(), size.tolist(), last.tolist(), hops.tolist(), of, of[1:], others, strict=False)
        for which_one, (number, (*ends, begin, frame, hint, one), datagrams, length, end, left, since, until, other) in enumerate(each):
            known = self._sums.get(number)
            if known is None and len(self._sums) < MAX_CONVERSATIONS:
                sent, last_ones = tuple(tries[since:until]), tuple(latest.get(which_one, ()))
                its = (datagrams, length, begin, end, frame, hint & _HEADS, left, sent, -1 if other else one, last_ones)
                self._sums[number] = [*ends, *its]
            elif known is not None:
                known[12] += tuple(tries[since:until])[: TRIES - len(known[12])]
                known[13] = -1 if other else known[13]
                known[5] += datagrams
                known[6] += length
                known[8] = max(known[8], end)
                known[11] = min(known[11], left)
                known[14] = (*known[14], *latest.get(which_one, ()))[-LATEST:]

    def conversations(self) -> list[Conversation]:
        """Of UDP, one row a direction, in the order of their first datagrams."""
        if self._told is not None:
            return self._told
        if self._udp:
            self._sum()
        text = cache(ip_text)  # few addresses take part in many
        found = [
            Conversation((text(a, b, ports >> 32), ports >> 16 & 0xFFFF), (text(d, e, ports >> 32), ports & 0xFFFF), *sums)
            for a, b, d, e, ports, *sums in self._sums.values()
        ]
        self._told = sorted(found, key=attrgetter("first_frame"))
        return self._told

    def segments(self) -> dict[str, Array]:
        """All columns of :data:`SEGMENT`, by session and in each in the order of the capture; void once more is fed.

        Those of :data:`NARROW` are int32 where all their numbers are small enough.
        """
        if self._joined is None:
            order = _in_order(self._columns["session"].array[: self._rows])
            joined = {}
            for name, column in self._columns.items():
                values = column.array[: self._rows]
                values[:] = values[order]
                if name in NARROW and values.min(initial=0) > -NARROW[name] and values.max(initial=0) < NARROW[name]:
                    values = values.astype(np.int32)
                    self._columns[name] = GrowableArray.of(values)
                joined[name] = self._columns[name].array[: self._rows]
            self._joined = joined
        return self._joined

    def forget(self, *names: str) -> None:
        """Give back the memory of columns that nobody will ask for; nothing is fed any more."""
        kept = self.segments()
        for name in names:
            kept.pop(name, None)
            self._columns.pop(name, None)

    @property
    def heard_on_air(self) -> bool:
        """Whether any segment was heard on the air, where frames come several times."""
        ifaces = self.segments().get("iface")
        return ifaces is not None and bool((ifaces & ON_AIR).any())

    def let_go(self) -> None:
        """Give back the memory of all segments; whoever asks for one afterwards gets an error."""
        self._columns, self._joined, self._bounds = {}, None, None

    def has(self, *names: str) -> bool:
        """Whether columns are there: not left out in part, not forgotten."""
        return not self.left_out and self.segments().keys() >= set(names)

    def of(self, session: int) -> slice:
        """Where the segments of a session stand in :meth:`segments`."""
        bounds = self._begins
        last = len(bounds) - 2
        return slice(int(bounds[min(session, last)]), int(bounds[min(session, last) + 1]))

    def of_each(self, sessions: Array) -> tuple[Array, Array]:
        """The same of many: begins and ends, int64[n]."""
        places = np.minimum(sessions, len(self._begins) - 2)
        return self._begins[places], self._begins[places + 1]

    @property
    def _begins(self) -> Array:
        """Of each session, and one more behind the last, for sessions that have no segment."""
        if self._bounds is None:
            sessions = self.segments()["session"]
            self._bounds = np.searchsorted(sessions, np.arange(int(sessions[-1]) + 3 if len(sessions) else 2, dtype=sessions.dtype))
        return self._bounds


def _tries(which: Array, rows: Array, heads: Array, sizes: Array, lasts: Array) -> tuple[list[int], list[int], list[bool]]:
    """Times of the first :data:`TRIES` datagrams of each conversation that follow a pause, up to one that is not like its first, one conversation behind the
    other; where those of each begin, with the end of the last; and whether there is such another one.

    which : the conversation of each datagram.  heads, sizes, lasts : of each conversation, how its first datagram began (uint64), its bytes, and when the last
    one came before these (int64, ns).
    """
    order = np.argsort(which, kind="stable")
    of, (ts, hint, length) = which[order], (rows[order, column] for column in (c.TS, c.HINT, c.LENGTH))
    first = np.diff(of, prepend=-1) > 0
    begins = ts - np.where(first, lasts[of], np.roll(ts, 1)) >= PAUSE_NS
    other = begins & ((hint.astype(np.uint64) != heads[of]) | (length != sizes[of]))
    number, others = np.cumsum(begins), np.cumsum(other)
    chosen = begins & (number - (number - begins)[first][of] <= TRIES) & (others == (others - other)[first][of])
    is_cut = np.bincount(of[other], minlength=len(heads)) > 0
    return ts[chosen].tolist(), np.searchsorted(of[chosen], np.arange(len(heads) + 1)).tolist(), is_cut.tolist()


def _latest(which: Array, rows: Array, heads: Array) -> dict[int, list[int]]:
    """By number of conversation, of those that begin by a long header of QUIC, when the last :data:`LATEST` of these datagrams came.

    which, heads : as for :func:`_tries`.
    """
    chosen = np.isin(heads >> np.uint64(24) & np.uint64(0xC0_FFFFFFFF), _LONG)
    at = np.flatnonzero(chosen[which])
    at = at[np.argsort(which[at], kind="stable")]
    of, ts = which[at], rows[at, c.TS]
    numbers = np.flatnonzero(chosen)
    bounds = np.searchsorted(of, np.append(numbers, len(heads)))
    return {
        n: ts[max(a, b - LATEST) : b].tolist() for n, a, b in zip(numbers.tolist(), bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    }


def _in_order(sessions: Array) -> Array:
    """Places of rows by session, those of each in their order. numpy counts numbers of 16 bits instead of comparing them: a third of the time."""
    order = np.argsort(sessions.astype(np.uint16), kind="stable")
    return (
        order
        if not len(sessions) or sessions.max() < 1 << 16
        else order[np.argsort((sessions >> 16).astype(np.uint16)[order], kind="stable")]
    )


@lean
def _describe(buf, rows):
    """Write into datagrams what is kept of their bytes: as HINT the first :data:`HEAD` of the payload as far as they were captured, big endian, the rest 0; as
    WINDOW the hops that they may still make, 0 where no plain IP header stands right before UDP's."""
    for i in range(rows.shape[0]):
        payload = rows[i, c.PAY_OFF]
        rows[i, c.HINT] = _head(buf, payload, rows[i, c.PAY_CAP])
        six = rows[i, c.PORTS] >> 32 == 6
        ip = payload - 8 - (40 if six else _IPV4)
        rows[i, c.WINDOW] = 0
        if 0 <= ip <= len(buf) - 9:
            if six and buf[ip] >> 4 == 6 and buf[ip + 6] == c.UDP:
                rows[i, c.WINDOW] = buf[ip + 7]
            elif not six and buf[ip] == 0x45:
                rows[i, c.WINDOW] = buf[ip + 8]


@inlined
def _head(buf, at, captured):
    """The first :data:`HEAD` bytes of a payload, big endian; 0 where they were not captured."""
    head = np.int64(0)
    for k in range(HEAD):
        head <<= 8
        if k < captured and at + k < buf.shape[0]:
            head |= np.int64(buf[at + k])
    return head


@lean
def _until_a_seam(rows, at, last):
    """The first row from ``at`` on whose time is more than :data:`SEAM_NS` from that of the row before it, ``last`` at first, else how many rows there are; and
    the latest time on the way there."""
    latest = last
    for i in range(at, rows.shape[0]):
        ts = rows[i, c.TS]
        if abs(ts - last) > SEAM_NS:
            return i, latest
        latest, last = max(latest, ts), ts
    return rows.shape[0], latest


@lean
def _take(buf, rows, sessions, at, segments):
    """Write what is kept of TCP segments that are of a session from ``at`` on; returns where the next one goes."""
    for i in range(rows.shape[0]):
        row = rows[i]
        session = row[c.SESSION]
        if row[c.KIND] != c.TCP or session < 0:
            continue
        peer = SIDE + (1 - row[c.DIRECTION]) * SIDE_WIDTH
        its_next = sessions[session, peer + NEXT]
        ahead = (row[c.ACK] - sessions[session, peer + BASE] - 1 - its_next) & 0xFFFFFFFF
        segments.session[at] = session
        segments.frame[at] = row[c.FRAME]
        segments.ts[at] = row[c.TS]
        segments.way[at] = row[c.DIRECTION]
        segments.flags[at] = row[c.FLAGS]
        segments.window[at] = row[c.WINDOW]
        segments.length[at] = row[c.LENGTH]
        segments.fresh[at] = row[c.FRESH]
        segments.offset[at] = row[c.OFFSET]
        segments.acked[at] = its_next + ahead - ((ahead >> 31) << 32)  # the nearest with these 32 bits
        segments.ident[at] = _identification(buf, row)
        segments.stamp[at] = stamp(row[c.TSVAL])
        segments.seq[at] = row[c.SEQ]
        segments.ack[at] = row[c.ACK]
        segments.iface[at] = row[c.IFACE]
        segments.head[at] = _head(buf, row[c.PAY_OFF], row[c.PAY_CAP]) if row[c.PAY_CAP] > 0 else 0
        at += 1
    return at


@lean
def _identification(buf, row):
    """IPv4 identification of a segment, found by walking back from its payload; 0 where no plain header stands there."""
    at = row[c.PAY_OFF]
    if row[c.PORTS] >> 32 != 4 or at < _IPV4 + 20 or at > buf.shape[0]:
        return np.int64(0)
    for header in _TCP_HEADERS:
        tcp = at - header
        ip = tcp - _IPV4
        if ip < 0 or tcp + 13 > buf.shape[0]:
            continue
        if buf[tcp + 12] >> 4 != header // 4 or buf[ip] != 0x45 or buf[ip + 9] != c.TCP:
            continue
        source = np.int64(buf[ip + 12]) << 24 | np.int64(buf[ip + 13]) << 16 | np.int64(buf[ip + 14]) << 8 | np.int64(buf[ip + 15])
        if source == row[c.SRC_LO] & 0xFFFFFFFF:
            return np.int64(buf[ip + 4]) << 8 | np.int64(buf[ip + 5])
    return np.int64(0)
