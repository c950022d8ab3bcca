"""The table of sessions, made from their state.

One kernel goes through the state once and writes all columns, so that little more memory is touched than the state and the table have. Of a table that
is large, each core writes its share of the rows.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from netlens.arrays import in_order, let_go, zeros
from netlens.columnar import Coded, LazyColumn, Nullable
from netlens.columns import Array

# isort: off
from netlens.parsers import session_history as history
from netlens.parsers.session_state import (
    AFTER_FIN, BASE, BASE_ACKED, BASE_KIND, BASE_SYN, BYTES, CLOSED_TS, COPIES, FIN_TS, FIRST_FRAME, FIRST_PAYLOAD, FIRST_TS, FRAMES, FSM, HANDSHAKE,
    A_HI, A_LO, Sparse, B_HI, B_LO, KEEPALIVES, LAST_FRAME, LAST_PAYLOAD, LAST_TS, ORIGINATOR_SHIFT, OUT_OF_ORDER, PORTS, PROTOCOL, RARE, RETRANSMITS,
    RST_TS, SAW_SYN, SAW_SYNACK, SEEN_SHIFT, SIDE, SIDE_WIDTH, SYNACK_TS, SYN_TS, UNSET, ZERO_WINDOWS, no_sparse, rare_of,
)  # fmt: skip

# isort: on
from netlens.parsers.session_holes import missing_of
from netlens.parsers.tcp_states import CONN_STATES
from netlens.schema import Table
from netlens.tables import SESSIONS as TABLE_OF_SESSIONS
from netlens.threads import cores, in_parallel
from netlens.wire.addresses import distinct_texts, random_seed
from netlens.wire.compiled import inlined, lean
from netlens.wire.numbering import Numbered, number

LEAST_SHARE = 1 << 13  #: rows that are worth a thread: 1.5 ms
AT_A_TIME = 1 << 13  #: sessions after which memory of the state is given to the table: 5 MB
_PROTOCOLS = np.array([None, "tls", "ssh", "http", "http", "http", "http"], dtype=object)
_LAST_PROTOCOL = len(_PROTOCOLS) - 1

# Rows of the columns in the making. Of those with two sides the originator's comes first.
_START, _END, _FIRST, _LAST, _PORT, _CLOSED = 0, 1, 2, 3, 4, 6  # of the numbers, and from _SIDES on those of the sides
_SIDES = 7
_N_FRAMES, _N_BYTES, _FIN, _FIRST_PAYLOAD, _LAST_PAYLOAD, _ISN = range(0, 12, 2)
_SIDE_NUMBERS = {
    "frames": _N_FRAMES, "bytes": _N_BYTES, "fin_ns": _FIN, "first_payload_ns": _FIRST_PAYLOAD, "last_payload_ns": _LAST_PAYLOAD, "isn": _ISN,
}  # fmt: skip
_NUMBERS = _SIDES + 2 * len(_SIDE_NUMBERS)
_RST = 0  # of the numbers that are rarely there, and those of the sides behind it
_SIDE_RARE = {
    "retransmits": RETRANSMITS, "out_of_order": OUT_OF_ORDER, "copies": COPIES, "keepalives": KEEPALIVES, "zero_windows": ZERO_WINDOWS,
    "bytes_after_fin": AFTER_FIN,
}  # fmt: skip
_RARE_FIELDS = np.array([*_SIDE_RARE.values()])
_MISSING = 1 + 2 * len(_SIDE_RARE)
_RARE = _MISSING + 2
_DURATION, _HALF_CLOSED, _HANDSHAKE, _SYNACK, _FRACTIONS = range(5)
_KNOWN_RST, _KNOWN_CLOSED, _SAW_SYN = range(3)
_MAYBE = 3 - _FIN  # of what may not be known of a side, from its number to whether it is
_KNOWN = _MAYBE + _ISN + 2
_IP, _STATE, _HISTORY, _PROTOCOL, _CODES = 0, 2, 3, 4, 5


class Stretch(NamedTuple):
    """Sessions ``first`` to ``last`` of a state, of which rows are made.

    sessions : int64[cap, S_WIDTH].  sparse : theirs.  missing : int64[n, 2], bytes of each side that are missing; without rows: what the holes say.
    place : int64[n], the id of each, rising, -1 of those that have no row; without any: its row in ``sessions``.  frames : added to the numbers of their
    frames.
    """

    sessions: Array
    first: int
    last: int
    sparse: Sparse = no_sparse()
    missing: Array = np.empty((0, 2), np.int64)
    place: Array = np.empty(0, np.int64)
    frames: int = 0


class _Columns(NamedTuple):
    """numbers, rare : int64[:, n].  fractions : float64[:, n].  known : bool[:, n].  codes : int32[:, n].  Not written where nothing is: ``rare``."""

    numbers: Array
    rare: Array
    fractions: Array
    known: Array
    codes: Array


@inlined
def _when(columns, to, i, known, ts):
    """A time that may not be known."""
    columns.numbers[to, i] = ts
    columns.known[known, i] = ts != UNSET


@inlined
def _ms(ns):
    # a clock that stepped back in between leaves nothing that can be told
    return np.nan if ns < 0 else ns / 1e6


@inlined
def _side(s, side, d, handshake, sparse, columns, i):
    """Columns of a side, ``d``: 0 of the originator."""
    numbers, at = columns.numbers, SIDE + side * SIDE_WIDTH
    to = _SIDES + d
    numbers[to + _N_FRAMES, i] = s[at + FRAMES]
    numbers[to + _N_BYTES, i] = s[at + BYTES]
    _when(columns, to + _FIN, i, _MAYBE + _FIN + d, s[at + FIN_TS])
    _when(columns, to + _FIRST_PAYLOAD, i, _MAYBE + _FIRST_PAYLOAD + d, s[at + FIRST_PAYLOAD])
    _when(columns, to + _LAST_PAYLOAD, i, _MAYBE + _LAST_PAYLOAD + d, s[at + LAST_PAYLOAD])
    kind = s[at + BASE_KIND]
    begins = kind == BASE_SYN or (kind == BASE_ACKED and handshake)
    _when(columns, to + _ISN, i, _MAYBE + _ISN + d, s[at + BASE] if begins else np.int64(UNSET))
    if s[RARE] > 0:
        for j in range(_RARE_FIELDS.shape[0]):
            count = rare_of(s, side, _RARE_FIELDS[j], sparse)
            if count != 0:
                columns.rare[1 + 2 * j + d, i] = count


@lean
def _fill(begin, last, frames, base, of, columns, addresses, histories, seed):
    """Write the columns of the sessions ``begin`` to ``last`` of a stretch; the row of session ``base`` is 0.

    Returns the first of which they were not written, because there must be room for an address or a history first.
    """
    for k in range(begin, last):
        i = np.int64(k)
        if of.place.shape[0] > 0:
            i = of.place[k]
            if i < 0:
                continue
        i -= base
        s = of.sessions[k]
        fsm, ports = s[FSM], s[PORTS]
        orig = (fsm >> ORIGINATOR_SHIFT) & 1
        resp = 1 - orig
        version = ports >> 32
        a = number(addresses, s[A_HI], s[A_LO], version, np.int64(0), seed)
        b = number(addresses, s[B_HI], s[B_LO], version, np.int64(0), seed)
        letters = number(
            histories,
            history.first_word(s),
            history.word(s, 1, of.sparse),
            history.word(s, 2, of.sparse),
            history.word(s, 3, of.sparse),
            seed,
        )
        if a < 0 or b < 0 or letters < 0:
            return np.int64(k)
        codes, numbers, known, fractions = columns.codes, columns.numbers, columns.known, columns.fractions
        codes[_IP, i], codes[_IP + 1, i] = (b, a) if orig else (a, b)
        codes[_HISTORY, i] = letters
        codes[_PROTOCOL, i] = min(s[PROTOCOL], np.int64(_LAST_PROTOCOL))
        numbers[_PORT, i] = (ports >> (16 * resp)) & 0xFFFF
        numbers[_PORT + 1, i] = (ports >> (16 * orig)) & 0xFFFF
        numbers[_FIRST, i], numbers[_LAST, i] = s[FIRST_FRAME] + frames, s[LAST_FRAME] + frames
        start, end, closed, rst = s[FIRST_TS], s[LAST_TS], s[CLOSED_TS], s[RST_TS]
        numbers[_START, i], numbers[_END, i] = start, end
        fractions[_DURATION, i] = (end - start) / 1e9
        fractions[_HANDSHAKE, i] = _ms(s[HANDSHAKE])
        fractions[_SYNACK, i] = _ms(s[SYNACK_TS] - s[SYN_TS] if s[SYNACK_TS] != UNSET and s[SYN_TS] != UNSET else np.int64(UNSET))
        _when(columns, _CLOSED, i, _KNOWN_CLOSED, closed)
        known[_KNOWN_RST, i] = rst != UNSET
        if rst != UNSET:
            columns.rare[_RST, i] = rst
        known[_SAW_SYN, i] = (fsm >> SEEN_SHIFT) & SAW_SYN != 0
        handshake = (fsm >> SEEN_SHIFT) & (SAW_SYN | SAW_SYNACK) != 0
        its, theirs = SIDE + orig * SIDE_WIDTH, SIDE + resp * SIDE_WIDTH
        _side(s, orig, 0, handshake, of.sparse, columns, i)
        _side(s, resp, 1, handshake, of.sparse, columns, i)
        payload = np.int64(s[its + BYTES] > 0 or s[theirs + BYTES] > 0)
        codes[_STATE, i] = (((fsm >> (4 * orig)) & 15) * 8 + ((fsm >> (4 * resp)) & 15)) * 2 + payload
        fin, other_fin = s[its + FIN_TS], s[theirs + FIN_TS]
        if fin == UNSET or (other_fin != UNSET and other_fin < fin):
            fin = other_fin
        fractions[_HALF_CLOSED, i] = np.nan if fin == UNSET else max((closed if closed != UNSET else end) - fin, 0) / 1e9
        for d in range(2):
            side = orig if d == 0 else resp
            missing = of.missing[k, side] if of.missing.shape[0] > 0 else missing_of(s, side, of.sparse)
            if missing != 0:
                columns.rare[_MISSING + d, i] = missing
    return np.int64(last)


class _Of(NamedTuple):
    """The arrays of a :class:`Stretch`."""

    sessions: Array
    sparse: Sparse
    missing: Array
    place: Array


def _fill_all(stretch: Stretch, base: int, columns: _Columns, use_up: bool) -> tuple[Array, Array]:
    """Write the columns of a stretch. Returns the addresses and the histories that its codes mean.  use_up : see :func:`session_rows`."""
    addresses, histories, seed = Numbered.room(), Numbered.room(), random_seed()
    of = _Of(stretch.sessions, stretch.sparse, stretch.missing, stretch.place)
    at = stretch.first
    while at < stretch.last:
        until = min(at + AT_A_TIME, stretch.last) if use_up else stretch.last
        at = _fill(at, until, stretch.frames, base, of, columns, addresses, histories, seed)
        addresses, histories = addresses.with_room(seed), histories.with_room(seed)
        if use_up:
            let_go(stretch.sessions[stretch.first : at])
    return addresses.met, histories.met


def _shares(stretches: Sequence[Stretch]) -> list[Stretch]:
    """The same, divided so that each core has as many sessions."""
    n, shares = sum(each.last - each.first for each in stretches), []
    for each in stretches:
        size = each.last - each.first
        parts = max(min(round(cores() * size / max(n, 1)), size // LEAST_SHARE), 1)
        shares += [each._replace(first=each.first + size * i // parts, last=each.first + size * (i + 1) // parts) for i in range(parts)]
    return shares


def _rows_of(stretch: Stretch) -> int:
    place = stretch.place[stretch.first : stretch.last]
    return int((place >= 0).sum()) if len(stretch.place) else stretch.last - stretch.first


def _room(dtype: type[np.generic], rows: int, width: int, use_up: bool) -> Array:
    # pages are had at once from what is given back; a block of a few megabytes after another is the same memory, which stays where it is
    return in_order(dtype, rows, width) if use_up else np.empty((rows, width), dtype)


def _columns(stretches: Sequence[Stretch], n: int, base: int, use_up: bool) -> tuple[_Columns, Array, Array]:
    """The ``n`` rows of the columns, and the addresses and histories that their codes mean."""
    # One block for all columns of a kind: dozens of small ones cost more in page faults than in copying. Its rows are one cache line off a page's multiple.
    width = n + (8 - n) % 512
    columns = _Columns(
        _room(np.int64, _NUMBERS, width, use_up),
        zeros(np.int64, _RARE, width),
        _room(np.float64, _FRACTIONS, width, use_up),
        _room(np.bool_, _KNOWN, width, use_up),
        _room(np.int32, _CODES, width, use_up),
    )
    shares = _shares(stretches)
    met = in_parallel(*(partial(_fill_all, share, base, columns, use_up) for share in shares))
    at, seen = 0, [0, 0]
    for share, found in zip(shares, met, strict=True):
        rows = slice(at, at := at + _rows_of(share))
        for codes, words, k in ((slice(_IP, _IP + 2), found[0], 0), (slice(_HISTORY, _HISTORY + 1), found[1], 1)):
            if seen[k]:
                columns.codes[codes, rows] += seen[k]
            seen[k] += len(words)
    addresses = np.concatenate([distinct_texts(each) for each, _ in met])
    return _Columns(*(block[:, :n] for block in columns)), addresses, history.texts(np.concatenate([each for _, each in met]))


def session_rows(stretches: Sequence[Stretch], n: int, sni: Array | None, base: int = 0, use_up: bool = False) -> Table:
    """Table of the ``n`` sessions of ``stretches``, one behind the other, the first of which is session ``base``.

    use_up : the state is not needed any more; the table is written into the memory that it had.
    """
    (numbers, rare, fractions, known, codes), addresses, histories = _columns(stretches, n, base, use_up)
    columns: dict[str, Array | LazyColumn] = {
        "session_id": np.arange(base, base + n),
        "start_ns": numbers[_START],
        "end_ns": numbers[_END],
        "duration_s": fractions[_DURATION],
        "state": Coded(codes[_STATE], CONN_STATES.ravel()),
        "history": Coded(codes[_HISTORY], histories),
        "first_frame": numbers[_FIRST],
        "last_frame": numbers[_LAST],
        "sni": np.full(n, None, dtype=object) if sni is None else sni,
        "rst_ns": Nullable(rare[_RST], known[_KNOWN_RST]),
        "closed_ns": Nullable(numbers[_CLOSED], known[_KNOWN_CLOSED]),
        "half_closed_s": fractions[_HALF_CLOSED],
        "handshake_ms": fractions[_HANDSHAKE],
        "synack_ms": fractions[_SYNACK],
        "protocol": Coded(codes[_PROTOCOL], _PROTOCOLS),
        "saw_syn": known[_SAW_SYN],
    }
    for d, name in enumerate(("orig", "resp")):
        columns |= {
            f"{name}_ip": Coded(codes[_IP + d], addresses),
            f"{name}_port": numbers[_PORT + d],
            f"{name}_missing_bytes": rare[_MISSING + d],
        }
        columns |= {f"{name}_{column}": rare[1 + 2 * j + d] for j, column in enumerate(_SIDE_RARE)}
        for column, at in _SIDE_NUMBERS.items():
            values = numbers[_SIDES + at + d]
            columns[f"{name}_{column}"] = values if at < _FIN else Nullable(values, known[_MAYBE + at + d])
    return Table(TABLE_OF_SESSIONS, columns)
