"""HTTP/1.1 in clear, message by message: where each begins and ends (RFC 9112 6), whatever segments it shares with others.

Theory of operation
-------------------
1. :mod:`netlens.parsers.exchanges` follows turns, and sees what a segment begins with. Where clients pipeline, messages begin in the middle of segments,
   behind the end of another one. Here the bytes of heads and chunk sizes are read, in order, and the bodies between them passed over by their length.
2. A request has a body if it says how long it is; an answer has none to HEAD, with 1xx, 204 and 304; else chunks, a length, or all until the close. Answers
   go to requests in order; 1xx answer nothing; behind 101 the connection speaks another protocol.
3. A connection is *exact* as long as all of that could be read, from the first request on. Where its messages differ from the turns, they take their place;
   a connection that is not exact keeps its turns.

Limits: a hole in a head, a segment of a head that comes before its turn, one that the snapshot length cut, CONNECT, TLS behind 101, and redirect halves make
a connection inexact; so does what no HTTP/1 says. Of the first :data:`MAX_CONNECTIONS` connections and :data:`MAX_MESSAGES` messages; of a capture that is read
in one part (its parts do not hold the payload that would be needed).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from netlens.parsers import exchanges as x
from netlens.parsers.session_state import FSM, MATE, MIDSTREAM, ORIGINATOR_SHIFT, UNSET
from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire.compiled import lean
from netlens.wire.loads import byte

if TYPE_CHECKING:
    from collections.abc import Callable

Array = np.ndarray[Any, Any]

MAX_CONNECTIONS = 65_536  #: 500 bytes each
MAX_MESSAGES = 2_000_000  #: 64 bytes each
MAX_HEAD = 65_536  #: bytes of a line, a multiple of what servers accept
MAX_BODY = 1 << 50
KEPT = 64  #: bytes of a line that are looked at: a status line, a chunk size, "Transfer-Encoding: gzip, chunked"
MOST_WAITING = 64  #: requests without an answer; browsers pipelined 8 at most

# ---- a message, int64[:, M_WIDTH] ----
M_SESSION, M_UP, M_START, M_START_FRAME, M_END, M_END_FRAME, M_BYTES, M_STATUS = range(8)
M_WIDTH = 8
# ---- columns of a direction, int64[slots, 2, D_WIDTH]; 0 is the client's ----
NEXT, MODE, LINE, BODY, STATUS, START_TS, START_FRAME, START_AT, LAST_TS, LAST_FRAME, LAST_AT, IS_FIRST = range(12)
D_WIDTH = 12
# MODE
UNSEEN, BETWEEN, HEAD, SKIP, CHUNK_SIZE, CHUNK, TRAILER, UNTIL_CLOSE, OVER = range(9)
# BODY besides a length
NO_LENGTH, CHUNKED = -1, -2
# ---- columns of a connection, int64[slots, C_WIDTH] ----
OWNER, ASKED, ANSWERED, HEADS, UNASKED = range(
    5
)  # HEADS: which of the last 64 requests are HEAD, a bit each; UNASKED: the answer that is read has no request
C_WIDTH = 5
# ---- counts ----
SLOTS, MESSAGES = 0, 1
INEXACT = -1  # in ``slot``

_LENGTH = np.frombuffer(b"content-length:", np.uint8).copy()
_ENCODING = np.frombuffer(b"transfer-encoding:", np.uint8).copy()
_CHUNKED = np.frombuffer(b"chunked", np.uint8).copy()
_CONNECT = np.frombuffer(b"connect ", np.uint8).copy()
_HEAD = np.frombuffer(b"head ", np.uint8).copy()
_VERSION = np.frombuffer(b"http/1.", np.uint8).copy()


class Arrays(NamedTuple):
    """All that the kernel writes to.

    slot : int64[sessions], where a connection is held; 0: nothing seen of it; :data:`INEXACT`.  held : of slots, slot 0 is none.
    lines : uint8[slots, 2, KEPT], the beginning of the line that is read.
    """

    slot: Array
    connections: Array
    held: Array
    lines: Array
    messages: Array
    counts: Array


@lean
def _begins(line, n, word):
    """Does a line of ``n`` bytes begin with ``word``, in whatever case?"""
    if n < word.shape[0]:
        return False
    for i in range(word.shape[0]):
        b = line[i]
        if 65 <= b <= 90:
            b += 32
        if b != word[i]:
            return False
    return True


@lean
def _has(line, n, word):
    """Does ``word`` stand in a line?"""
    for at in range(n - word.shape[0] + 1):  # noqa: SIM110  (no generator in a kernel)
        if _begins(line[at:], n - at, word):
            return True
    return False


@lean
def _number(line, at, n):
    """The decimal number that is all of ``line[at:n]`` but spaces; -1 if it is none."""
    while at < n and (line[at] == 32 or line[at] == 9):
        at += 1
    while n > at and (line[n - 1] == 32 or line[n - 1] == 9):
        n -= 1
    value = np.int64(-1)
    for i in range(at, n):
        digit = np.int64(line[i]) - 48
        if digit < 0 or digit > 9 or value > MAX_BODY:
            return np.int64(-1)
        value = max(value, np.int64(0)) * 10 + digit
    return value


@lean
def _chunk_size(line, n):
    """The size of a chunk; -1 if the line is none."""
    value = np.int64(-1)
    for i in range(n):
        b = np.int64(line[i])
        if 48 <= b <= 57:
            digit = b - 48
        elif 97 <= (b | 32) <= 102:
            digit = (b | 32) - 87
        elif b == 59 or b == 32 or b == 9:
            break
        else:
            return np.int64(-1)
        if value > MAX_BODY:
            return np.int64(-1)
        value = max(value, np.int64(0)) * 16 + digit
    return value


@lean
def _first_line(d, con, line, n, up):
    """Take a request line or a status line; False if it is none."""
    d[BODY] = NO_LENGTH
    if up:
        if con[ASKED] - con[ANSWERED] >= MOST_WAITING or _begins(line, n, _CONNECT):
            return False
        i = np.int64(0)
        while i < min(n, np.int64(h.MAX_METHOD + 1)) and (65 <= line[i] <= 90 or line[i] == 45 or line[i] == 95):
            i += 1
        if i < 3 or i >= n or line[i] != 32:
            return False
        bit = np.int64(1) << (con[ASKED] & 63)
        con[HEADS] = con[HEADS] | bit if _begins(line, n, _HEAD) else con[HEADS] & ~bit
        return True
    if n < 12 or not _begins(line, n, _VERSION) or line[8] != 32:
        return False
    status = _number(line, np.int64(9), np.int64(12))
    if status < 100 or status > 999:
        return False
    d[STATUS] = status
    con[UNASKED] = con[ANSWERED] >= con[ASKED]
    return True


@lean
def _header(d, line, n, kept):
    """Take a header; False if it says of the length what cannot be."""
    if _begins(line, kept, _LENGTH):
        length = _number(line, np.int64(_LENGTH.shape[0]), n)
        if n > kept or length < 0 or (d[BODY] >= 0 and d[BODY] != length):
            return False
        if d[BODY] != CHUNKED:  # which overrides it (RFC 9112 6.3)
            d[BODY] = length
    elif _begins(line, kept, _ENCODING):
        if n > kept or not _has(line, kept, _CHUNKED):
            return False
        d[BODY] = CHUNKED
    return True


@lean
def _message(d, con, row, at, up, arrays):
    """A message is whole: it ends before stream offset ``at``."""
    d[MODE] = BETWEEN
    if not up:
        if con[UNASKED]:
            return
        con[ANSWERED] += 1
    m = arrays.messages[arrays.counts[MESSAGES]]
    arrays.counts[MESSAGES] += 1
    m[M_SESSION], m[M_UP], m[M_START], m[M_START_FRAME] = con[OWNER], up, d[START_TS], d[START_FRAME]
    m[M_END], m[M_END_FRAME], m[M_BYTES], m[M_STATUS] = row[c.TS], row[c.FRAME], at - d[START_AT], d[STATUS]


@lean
def _head_ends(d, con, row, at, up, arrays):
    """The empty line behind a head: what follows?"""
    status = d[STATUS]
    if up:
        con[ASKED] += 1
    elif status == 101:
        _message(d, con, row, at, up, arrays)
        d[MODE] = OVER
        return
    elif status < 200:
        d[MODE] = BETWEEN
        return
    elif status == 204 or status == 304 or (not con[UNASKED] and (con[HEADS] >> (con[ANSWERED] & 63)) & 1):
        _message(d, con, row, at, up, arrays)
        return
    if d[BODY] == CHUNKED:
        d[MODE] = CHUNK_SIZE
    elif d[BODY] > 0:
        d[MODE] = SKIP
        d[NEXT] = at + d[BODY]
    elif d[BODY] == 0 or up:
        _message(d, con, row, at, up, arrays)
    else:
        d[MODE] = UNTIL_CLOSE


@lean
def _line(d, con, line, row, at, up, arrays):
    """Take a line that ends before stream offset ``at``; False if it cannot be."""
    n = d[LINE]
    d[LINE] = 0
    kept = min(n, np.int64(KEPT))
    if 0 < n <= KEPT and line[n - 1] == 13:
        n -= 1
        kept -= 1
    mode = d[MODE]
    if mode == TRAILER:
        if n == 0:
            _message(d, con, row, at, up, arrays)
        return True
    if mode == CHUNK_SIZE:
        if n == 0:
            return True  # behind a chunk
        size = _chunk_size(line, kept)
        if size < 0:
            return False
        if size == 0:
            d[MODE] = TRAILER
        else:
            d[MODE] = CHUNK
            d[NEXT] = at + size
        return True
    if d[IS_FIRST]:
        d[IS_FIRST] = 0
        return _first_line(d, con, line, kept, up)
    if n == 0:
        _head_ends(d, con, row, at, up, arrays)
        return True
    return _header(d, line, n, kept)


@lean
def _read(buf, row, d, con, line, up, most, arrays):
    """Read a segment from where its direction has come to. Returns 1: done; 0: there must be room for messages first; -1: it cannot be read."""
    offset = row[c.OFFSET]
    end = offset + row[c.LENGTH]
    if d[MODE] == UNTIL_CLOSE:
        d[LAST_TS], d[LAST_FRAME], d[LAST_AT] = row[c.TS], row[c.FRAME], max(d[LAST_AT], end)
        return 1
    if offset > d[NEXT]:
        return -1
    if d[MODE] != BETWEEN:
        d[LAST_TS], d[LAST_FRAME], d[LAST_AT] = row[c.TS], row[c.FRAME], max(d[LAST_AT], end)
    while d[NEXT] <= end:
        if arrays.counts[MESSAGES] >= most:
            return 0
        if d[MODE] == SKIP:
            _message(d, con, row, d[NEXT], up, arrays)
            continue
        if d[MODE] == CHUNK:
            d[MODE] = CHUNK_SIZE
        if d[NEXT] == end or d[MODE] == OVER:
            break
        if d[MODE] == UNTIL_CLOSE:
            d[LAST_TS], d[LAST_FRAME], d[LAST_AT] = row[c.TS], row[c.FRAME], end
            break
        if d[NEXT] - offset >= row[c.PAY_CAP]:
            return -1
        b = byte(buf, row[c.PAY_OFF] + d[NEXT] - offset)
        d[NEXT] += 1
        if d[MODE] == BETWEEN:
            if b == 13 or b == 10:
                continue  # RFC 9112 2.2
            if not 65 <= b <= 90 and (up or b != 104):
                return -1  # no method, nor HTTP
            d[MODE], d[IS_FIRST], d[LINE] = HEAD, 1, 0
            d[START_TS], d[START_FRAME], d[START_AT], d[STATUS] = row[c.TS], row[c.FRAME], d[NEXT] - 1, 0
            d[LAST_TS], d[LAST_FRAME], d[LAST_AT] = row[c.TS], row[c.FRAME], end
        if b == 10:
            if not _line(d, con, line, row, d[NEXT], up, arrays):
                return -1
        else:
            if d[LINE] < KEPT:
                line[d[LINE]] = b
            d[LINE] += 1
            if d[LINE] > MAX_HEAD:
                return -1
    return 1


@lean
def read(buf, packets, start, sessions, arrays):
    """Read the rows from ``start`` on; ``sessions``: int64[:, S_WIDTH] (read).

    Returns the next row, which is below their number if there must be room first.
    """
    most = arrays.messages.shape[0] - 1
    for i in range(start, packets.shape[0]):
        row = packets[i]
        hint = row[c.HINT]
        protocol = (hint >> h.PROTOCOL_SHIFT) & 15
        if (protocol != h.HTTP_REQUEST and protocol != h.HTTP_RESPONSE) or row[c.FRESH] <= 0 or row[c.KIND] != c.TCP:
            continue
        k = row[c.SESSION]
        if k >= arrays.slot.shape[0]:
            return i
        slot = arrays.slot[k]
        if slot < 0:
            continue
        s = sessions[k]
        up = (s[FSM] >> ORIGINATOR_SHIFT) & 1 == row[c.DIRECTION]
        way = 0 if up else 1
        kind = hint & h.CLASS_MASK
        if slot == 0:
            if not up or arrays.counts[SLOTS] >= MAX_CONNECTIONS or s[MATE] >= 0:
                arrays.slot[k] = INEXACT
                continue
            slot = arrays.counts[SLOTS] + 1
            if slot >= arrays.held.shape[0]:
                return i
            arrays.counts[SLOTS] = slot
            arrays.slot[k] = slot
            arrays.connections[slot, OWNER] = k
        d, con = arrays.held[slot, way], arrays.connections[slot]
        done = 1
        if d[MODE] == UNSEEN:
            d[MODE], d[NEXT] = BETWEEN, row[c.OFFSET]
            known = not up or (kind == h.HTTP_REQUEST and (hint >> h.PREFIX_SHIFT) & 0xFFFF == 0)
            if not known or (row[c.OFFSET] != 0 and s[FSM] & MIDSTREAM == 0):
                done = -1
        if arrays.held[slot, 1, MODE] == OVER:
            if kind == h.TLS:  # RFC 2817: turns go on inside
                done = -1
        elif done > 0:
            done = _read(buf, row, d, con, arrays.lines[slot, way], up, most, arrays)
        if done == 0:
            return i
        if done < 0:
            arrays.slot[k] = INEXACT
    return packets.shape[0]


class HttpBuilder:
    """Fed with decoded packets whose sessions are known."""

    def __init__(self) -> None:
        self._arrays = Arrays(
            np.zeros(1024, np.int64), np.zeros((64, C_WIDTH), np.int64), np.zeros((64, 2, D_WIDTH), np.int64), np.zeros((64, 2, KEPT), np.uint8),
            np.zeros((4096, M_WIDTH), np.int64), np.zeros(2, np.int64),
        )  # fmt: skip
        self._whole: list[Array] = []
        self._messages = 0

    def feed(self, buf: Array, packets: Array, sessions: Array) -> None:
        """Take in a batch (int64[n, WIDTH]) with the state of the sessions."""
        at = 0
        while self._messages <= MAX_MESSAGES:
            at = read(buf, packets, at, sessions, self._arrays)
            if at >= len(packets):
                return
            a = self._arrays
            self._flush()
            if len(sessions) > len(a.slot):
                a = a._replace(slot=np.concatenate([a.slot, np.zeros(max(len(sessions) - len(a.slot), len(a.slot)), np.int64)]))
            if a.counts[SLOTS] + 1 >= len(a.held):
                a = a._replace(
                    **{name: np.concatenate([old := getattr(a, name), np.zeros_like(old)]) for name in ("connections", "held", "lines")}
                )
            self._arrays = a

    def _flush(self) -> None:
        n = int(self._arrays.counts[MESSAGES])
        self._whole.append(self._arrays.messages[:n].copy())
        self._messages += n
        self._arrays.counts[MESSAGES] = 0

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in (*self._arrays, *self._whole))

    def corrected(self, rows: Array, sessions: Array, ended: Callable[[Array, Array, Array], Array]) -> Array:
        """``rows`` (int64[n, ROW] of exchanges), with those of exact connections in place of what the turns made of them, where both differ.

        ended : :func:`netlens.parsers.exchanges.closed_orderly`.
        """
        self._flush()
        if self._messages > MAX_MESSAGES or not self._arrays.counts[SLOTS]:
            return rows
        exact = self._exact(sessions)
        made = self._rows(exact, sessions, ended)
        of, theirs = np.zeros(len(sessions), bool), rows[:, x.CARRIER]
        of[exact] = True
        differ = _fingerprints(made, len(sessions)) != _fingerprints(rows[of[theirs]], len(sessions))
        return np.concatenate([rows[~differ[theirs]], made[differ[made[:, x.CARRIER]]]])

    def _exact(self, sessions: Array) -> Array:
        """Sessions whose messages are all known."""
        a = self._arrays
        owners = a.connections[1 : a.counts[SLOTS] + 1, OWNER]
        mates = sessions[:, MATE]
        halves = np.zeros(len(sessions), bool)
        halves[mates[mates >= 0]] = True
        return owners[(a.slot[owners] > 0) & (mates[owners] < 0) & ~halves[owners]]

    def _rows(self, exact: Array, sessions: Array, ended: Callable[[Array, Array, Array], Array]) -> Array:
        """Exchanges of these sessions, in order of session and request."""
        a = self._arrays
        whole = np.concatenate(self._whole)
        self._whole = [whole]
        slots = a.slot[exact]
        begun = [np.zeros((0, M_WIDTH), np.int64)]
        closing = np.zeros(len(sessions), bool)  # their last answer goes until the close
        for way in (0, 1):
            d = a.held[slots, way]
            interim = (d[:, STATUS] >= 100) & (d[:, STATUS] < 200)
            open_ = (d[:, MODE] > BETWEEN) & (d[:, MODE] < OVER) & ~(way * (interim | (a.connections[slots, UNASKED] > 0))).astype(bool)
            d, of = d[open_], exact[open_]
            size = d[:, LAST_AT] - d[:, START_AT]
            up = np.full(len(d), 1 - way)
            begun.append(np.stack([of, up, d[:, START_TS], d[:, START_FRAME], d[:, LAST_TS], d[:, LAST_FRAME], size, d[:, STATUS]], 1))
            closing[of[(d[:, MODE] == UNTIL_CLOSE) & (way == 1)]] = True
        messages = np.concatenate([whole, *begun])
        is_whole = np.arange(len(messages)) < len(whole)
        known = np.zeros(len(sessions), bool)
        known[exact] = True
        kept = known[messages[:, M_SESSION]]
        asked, answers = (_numbered(messages, is_whole, kept & (messages[:, M_UP] == up)) for up in (1, 0))
        rows = np.zeros((len(asked[0]), x.ROW), np.int64)
        requests, _, number = asked
        rows[:, x.CARRIER], rows[:, x.START], rows[:, x.START_FRAME] = (
            requests[:, M_SESSION],
            requests[:, M_START],
            requests[:, M_START_FRAME],
        )
        rows[:, x.REQUEST_END], rows[:, x.UP] = requests[:, M_END], requests[:, M_BYTES]
        rows[:, [x.RESPONSE_AT, x.RESPONSE_END]] = UNSET
        places, keys = _keys(requests, number), _keys(answers[0], answers[2])
        at = np.searchsorted(places, keys)
        found = np.append(places, -1)[at] == keys
        at, said = at[found], answers[0][found]
        for column, from_ in (
            (x.RESPONSE_AT, M_START), (x.RESPONSE_FRAME, M_START_FRAME), (x.RESPONSE_END, M_END), (x.END_FRAME, M_END_FRAME), (x.DOWN, M_BYTES),
            (x.STATUS, M_STATUS),
        ):  # fmt: skip
            rows[at, column] = said[:, from_]
        rows[at, x.COMPLETE] = answers[1][found]
        until_close = np.flatnonzero(closing[rows[:, x.CARRIER]] & (rows[:, x.COMPLETE] == 0) & (rows[:, x.RESPONSE_AT] != UNSET))
        rows[until_close, x.COMPLETE] = ended(sessions, rows[until_close, x.CARRIER], rows[until_close])
        return rows


def _numbered(messages: Array, is_whole: Array, chosen: Array) -> tuple[Array, Array, Array]:
    """Of chosen messages, in order by session: themselves, whether they are whole, and the number of each on its session."""
    at = np.flatnonzero(chosen)
    at = at[np.argsort(messages[at, M_SESSION], kind="stable")]
    of = messages[at, M_SESSION]
    first = np.flatnonzero(np.diff(of, prepend=-1))
    number = np.arange(len(of)) - np.repeat(first, np.diff(np.append(first, len(of))))
    return messages[at], is_whole[at], number


def _keys(messages: Array, number: Array) -> Array:
    """One number for session and number on it; rising."""
    key: Array = messages[:, M_SESSION] << 32 | number
    return key


def _fingerprints(rows: Array, sessions: int) -> Array:
    """uint64[sessions]: equal if their exchanges have the same frames, statuses and sizes (but for odds of one in 2^64)."""
    out = np.zeros(sessions, np.uint64)
    mixed = np.full(len(rows), 1, np.uint64)
    for column in (x.START_FRAME, x.RESPONSE_FRAME, x.STATUS, x.UP, x.DOWN):
        mixed = (mixed ^ rows[:, column].astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    np.add.at(out, rows[:, x.CARRIER], mixed)
    return out
