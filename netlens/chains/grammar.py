"""Requests of a client that sends their fields in records of their own, by a walk over what its records may hold.

Theory of operation
-------------------
httpx, Go and curl send the fields of a request in a record of its own, all but the first of nearly one size (HPACK, RFC 7541, has what was sent before in a
table). Bodies follow in DATA frames, of several requests in turn, and some clients end each body with an empty frame, 9 bytes in a record of its own. Of the
same sizes are what is left of a full frame, which a record cannot hold as a whole, the acknowledgment of SETTINGS, and WINDOW_UPDATEs. So each record has
several readings, and what fits the one may not fit another: an end needs a request that has begun, and none may be open in the end. All ways are weighed at
once, with the number of requests as a part of what is walked over, so each number has its probability.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from math import log
from typing import NamedTuple

from netlens.chains.asked import CONTROL, EMPTY, FIELDS, FULL, MOST_TOGETHER, PING, Reading, Record, Stream
from netlens.parsers.http2 import WINDOW_UPDATE

NEAR = 2  #: bytes by which fields differ, as a rule
#: How likely they are so much longer: a length has three to six digits, or is that of a request before.
DIFFER = {0: 0.5, 1: 0.22, -1: 0.22, 2: 0.02, -2: 0.02, 3: 0.001, -3: 0.002, 4: 0.001, -4: 0.003, -5: 0.002}
FIRST = {0: 0.5, 1: 0.2, -1: 0.2, 2: 0.05, -2: 0.03, 3: 0.15, 4: 0.15, 5: 0.02}  #: the same of the first ones behind those that fill the table
EARLY = 0.25  #: of what :data:`SOONER` leaves
REPEATED = 2
TOGETHER = (0.85, 0.1, 0.03, 0.02)  #: how likely so many requests are begun in one record, where one is
BEGINS = 0.3  #: of records that are none of control, one begins requests
WITHOUT_BODY = 1e-4
FIRST_CONTROL = PING + 2 * WINDOW_UPDATE  #: bytes before the first request, at most
BEHIND_END = 0.3  #: fields stand in one record with the end of another request
HIDDEN = 0.002  #: the same, or an end, with a piece of a body
SIZES, REST = 1 / 4_000, 1 / 800  #: how likely a piece of a body has a given size, and a short one what a window leaves
SHORT = 80  #: bytes of such a rest
TWO_ENDS = 0.02
NEVER_HIDDEN = 1e-5  #: the same, of clients that end no bodies with a frame of its own
GOES_ON, IS_WHOLE = 0.03, 0.02  #: a body goes on behind a frame that is not full, or ends with one that is
BESIDE, ALONE = 0.3, 0.5  #: the acknowledgment of SETTINGS, beside what else a record is, and as a record
SOONER = 0.9  #: how much less likely it is with each record since the server's SETTINGS
UPDATES = (1.0, 0.5, 0.05, 0.005, 5e-4, 5e-4, 5e-4)  #: how likely so many WINDOW_UPDATEs stand in one record, where control does
OPEN = {True: 1e-8, False: 0.02}  #: a request in the end, of clients that show ends and others
NEGLIGIBLE = 1e-9
LIKELY = 1e-4  #: numbers that are worth a reading
MOST_READ = 4  #: of these
LEAST_BEGUN = 0.4  #: fields, of as many pieces that may end a body
LEAST_ENDED = 0.5  #: share of requests with an end of their own, of a client that sends such
MOST_OPEN = 16
FRAME = 16_384 + EMPTY  #: of a body, at most, unless the server allows longer ones
MOST_PARTS = 8  #: writes between two parts of a frame
GROWS = 1_186  #: bytes by which each record of Go's TLS may be longer than the one before, until records are full
State = tuple[int, int, bool]  #: requests begun, those that have not ended, whether SETTINGS have been acknowledged


class Told(NamedTuple):
    """One way to read the client, and how likely it has so many requests (a logarithm)."""

    reading: Reading
    weight: float


class _Move(NamedTuple):
    begun: int
    ended: int
    acknowledged: bool
    p: float
    is_body: bool = False


class _Write(NamedTuple):
    """What was written at once, as the last of its records ends it."""

    size: int
    ts: int
    frame: int
    payload: int


def told(mine: Sequence[Record], settings_ns: int, preface: int = 0) -> list[Told]:
    """Ways to read the client's records as requests, one for each likely number of them; empty where fields do not show. ``preface``: records before these."""
    writes = _writes(mine, preface)
    size = _fields(writes)
    if not size:
        return []
    begun = sum(abs(w.size - size) <= NEAR for w in writes)
    bodies = sum(w.size > FIELDS[1] and w.size % FRAME > 0 for w in writes)
    if begun < LEAST_BEGUN * bodies:
        return []
    ended = sum(w.size == EMPTY for w in writes) - 1 >= LEAST_ENDED * begun
    return _walk(writes, size, settings_ns, ended)


def _writes(mine: Sequence[Record], preface: int) -> list[_Write]:
    """What was written at once. A full frame that had to wait for WINDOW_UPDATE in between is put together from its two parts."""
    out: list[_Write] = []
    size = payload = 0
    for k, r in enumerate(mine, preface + 1):
        size, payload = size + r.size, payload + r.payload
        if r.size != FULL and r.size != k * GROWS:
            for n, part in enumerate(reversed(out[-MOST_PARTS:]), 1):
                if part.size + size == FRAME + EMPTY and EMPTY < size < FRAME:
                    del out[-n]
                    size, payload = FRAME, payload + part.payload
                    break
            out.append(_Write(size, r.ts, r.frame, payload))
            size = payload = 0
    return out + [_Write(size, mine[-1].ts, mine[-1].frame, payload)] * (size > 0)


def _fields(writes: Sequence[_Write]) -> int:
    """The usual size of fields behind the first; 0 where they have no record of their own."""
    sizes: Counter[int] = Counter(w.size for w, after in pairwise(writes[1:]) if FIELDS[0] <= w.size <= FIELDS[1] < after.size)
    near = {size: sum(sizes[size + more] for more in range(-1, 2)) for size in sizes}
    best = max(sizes, key=lambda size: (near[size], sizes[size]), default=0)
    return best if best and near[best] >= REPEATED and near[best] * 4 >= sizes.total() else 0


def _moves(writes: Sequence[_Write], size: int, settings_ns: int, ended: bool) -> list[list[_Move]]:
    """What each of the writes may be, and how likely."""
    out: list[list[_Move]] = []
    first = True
    soon = 1.0
    for w in writes:
        moves: list[_Move] = []
        if w.size == EMPTY:
            moves += [_Move(0, 1, False, 1.0)] if ended else [_Move(0, 0, False, REST)]
            moves.append(_Move(0, 0, True, ALONE * soon))
        else:
            if first and w.size >= size and (w.size not in CONTROL or w.size > FIRST_CONTROL):
                first = False
                moves.append(_Move(1, 0, False, 1.0))  # those of the first are longer
            moves += _control(w.size, soon) + _begins(w.size, size, soon, ended) + _body(w.size, ended)
        if w.ts >= settings_ns:
            soon *= SOONER
        else:
            moves = [move for move in moves if not move.acknowledged]
        out.append(moves)
    return out


def _control(size: int, soon: float) -> list[_Move]:
    out = []
    for of, acknowledged, p in ((0, False, 1.0), (EMPTY, True, soon), (PING, False, 0.1)):
        n, rest = divmod(size - of, WINDOW_UPDATE)
        if not rest and 0 <= n <= len(UPDATES):
            out.append(_Move(0, 0, acknowledged, p * (UPDATES[n - 1] if n else 1.0)))
    return out


def _begins(size: int, usual: int, soon: float, ended: bool) -> list[_Move]:
    out = []
    for n in range(1, MOST_TOGETHER + 1 if ended else 2):
        for more, ends, acknowledged, p in (
            (0, 0, False, 1.0), (EMPTY, 0, True, BESIDE * soon), (EMPTY, 1, False, BEHIND_END * ended), (WINDOW_UPDATE, 0, False, 0.02),
            (0, 1, False, WITHOUT_BODY * ended),
        ):  # fmt: skip
            d = size - more - n * usual
            near = (FIRST if soon > EARLY else DIFFER).get(d, 0.0) if n == 1 else 0.15 if abs(d) <= n else 0.02 if -n <= d <= 2 * n else 0.0
            if p * near > 0.0:
                out.append(_Move(n, ends, acknowledged, BEGINS * TOGETHER[n - 1] * near * p))
    return out


def _body(size: int, ended: bool) -> list[_Move]:
    piece = REST if size < SHORT else SIZES
    if ended:
        some = [_Move(0, 0, False, piece, True), _Move(0, 1, False, piece * HIDDEN, True), _Move(1, 0, False, piece * HIDDEN)]
        return [*some, _Move(0, 2, False, TWO_ENDS)] if size == 2 * EMPTY else some
    over = IS_WHOLE if size % FRAME == 0 else 1 - GOES_ON
    return [_Move(0, 1, False, piece * over, True), _Move(0, 0, False, piece * (1 - over), True), _Move(1, 1, False, piece * NEVER_HIDDEN)]


def _walk(writes: Sequence[_Write], size: int, settings_ns: int, ended: bool) -> list[Told]:
    before: dict[State, tuple[float, float]] = {(0, 0, False): (1.0, 1.0)}  # of all ways, and of the likeliest
    came: list[dict[State, tuple[State, _Move]]] = []
    for w, moves in zip(writes, _moves(writes, size, settings_ns, ended), strict=True):
        total: dict[State, float] = defaultdict(float)
        best: dict[State, float] = defaultdict(float)
        by: dict[State, tuple[State, _Move]] = {}
        for (begun, waiting, acknowledged), (p, q) in before.items():
            for move in moves:
                left = waiting + move.begun - move.ended
                is_body = move.is_body
                if left < 0 or left > MOST_OPEN or (move.acknowledged and acknowledged) or (is_body and not waiting):
                    continue
                to = (begun + move.begun, left, acknowledged or move.acknowledged)
                total[to] += p * move.p
                if q * move.p > best[to]:
                    best[to] = q * move.p
                    by[to] = ((begun, waiting, acknowledged), move)
        most = max(total.values(), default=0.0)
        if most <= 0.0:
            return []
        before = {state: (p / most, best[state] / most) for state, p in total.items() if p > NEGLIGIBLE * most}
        came.append(by)
    final = {state: OPEN[ended] ** state[1] * (1.0 if state[2] else 0.1) for state in before}
    numbers: dict[int, float] = defaultdict(float)
    for state, p in final.items():
        numbers[state[0]] += p * before[state][0]
    whole = sum(numbers.values())
    out = []
    for number in sorted(numbers, key=lambda n: -numbers[n])[:MOST_READ]:
        if number and numbers[number] > LIKELY * whole:
            last = max((state for state in final if state[0] == number), key=lambda state: final[state] * before[state][1])
            out.append(Told(_reading(writes, came, last, ended), log(numbers[number] / whole)))
    return out


def _reading(writes: Sequence[_Write], came: list[dict[State, tuple[State, _Move]]], last: State, ended: bool) -> Reading:
    moves: list[_Move] = []
    for by in reversed(came):
        last, move = by[last]
        moves.append(move)
    streams: list[Stream] = []
    waiting: list[Stream] = []
    for w, move in zip(writes, reversed(moves), strict=True):
        new = [Stream(w.ts, w.ts, w.frame, w.payload) for _ in range(move.begun)]
        if not move.begun and waiting and w.size not in CONTROL:
            waiting[0].up += w.payload
        if ended:
            for each in waiting[: move.ended]:
                each.sent_ns = w.ts
        elif move.is_body and streams:
            streams[-1].sent_ns = w.ts  # of several bodies in turn it is not known which ends
        waiting = waiting[move.ended :] + new
        streams += new
    return Reading(streams, ended, False, told=True)
