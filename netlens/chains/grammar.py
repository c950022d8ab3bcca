"""Requests of a client that sends their fields in records of their own, by a walk over what its records may hold.

Theory of operation
-------------------
httpx, Go and curl send the fields of a request in a record of its own, all but the first of nearly one size (HPACK, RFC 7541, has what was sent before in a
table). Bodies follow in DATA frames, of several requests in turn, and some clients end each body with an empty frame, 9 bytes in a record of its own. Of the
same sizes are what is left of a full frame, which a record cannot hold as a whole, the acknowledgment of SETTINGS, and WINDOW_UPDATEs. So each record has
several readings, and what fits the one may not fit another: an end needs a request that has begun, and none may be open in the end. All ways are weighed at
once, with the number of requests as a part of what is walked over, so each number has its probability.

Requests without a body are fields that no body follows. What sizes these have is learned of a capture, as are those of fields with a body, of which there may
be several. What is as long as WINDOW_UPDATEs or PING may be one, too: nothing else that the client says depends on it, so the server's answers decide. Of
clients that write fields and body at once, a short write is such a request.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise, product, takewhile
from math import comb, exp, log
from typing import NamedTuple

import numpy as np

from netlens.chains import bare, ways
from netlens.chains.asked import (
    BODY,
    BODY_NS,
    CONTROL,
    EMPTY,
    FIELDS,
    FULL,
    LEAST_FULL,
    LONG_DIFFER,
    LONG_OTHER,
    MOST_CONTROL,
    MOST_LONG,
    MOST_TOGETHER,
    PING,
    WAIT_NS,
    WINDOW,
    Reading,
    Record,
    Said,
    Stream,
    control,
)
from netlens.columns import NEVER
from netlens.parsers.http2 import WINDOW_UPDATE

NEAR = 2  #: bytes by which fields differ, as a rule
#: How likely they are so much longer: a length has three to six digits, or is that of a request before.
DIFFER = {0: 0.5, 1: 0.22, -1: 0.22, 2: 0.02, -2: 0.02, 3: 0.001, -3: 0.002, 4: 0.001, -4: 0.003, -5: 0.002}
#: The same of the first ones behind those that fill the table; weights, which sum up to 1.3.
FIRST = DIFFER | {1: 0.2, -1: 0.2, 2: 0.05, -2: 0.03, 3: 0.15, 4: 0.15, 5: 0.02}
FEW = ways.FEW  #: of these
#: How likely those right before a body are so much longer than the ones right before the body before: each field of them takes a byte more once the table
#: of HPACK holds so many entries that its index is 127 or more (RFC 7541 5.1), which they reach one after the other.
GROWN = {0: 0.2, 1: 0.2, 2: 0.05}
REPEATED = 2
MOSTLY = 3  #: requests without a body, for each with one
FOLLOWED = 2 / 3  #: share of fields that bodies follow soon, at least
#: How likely so many requests are begun in one record, where one is: programs begin with as many at once as they have workers.
TOGETHER = (0.85, 0.1, 0.03, 0.02, *(0.01 / 2**n for n in range(8)))
#: The same of two, three and four among the first, where some may have no body; and by how many bytes each is longer or shorter than usual, at most.
EARLY_TOGETHER, EARLY_DIFFER = (0.1, 0.06, 0.04), 15
BEGINS = 0.3  #: of records that are none of control, one begins requests
LEAST_BEGINS = 0.01 * BEGINS  #: how likely what is as long as frames of control begins one with a body, for that to be asked
#: Share of requests without a body, before any was seen; how likely their fields have any other size than those seen, and are so much longer than these.
FEW_BARE, LEAST_BARE, ANY_SIZE = 0.005, 0.5, 1 / 200
DIFFERS = {0: 0.45, 1: 0.2, -1: 0.2, 2: 0.06, -2: 0.06, 3: 0.015, -3: 0.015}
#: Bytes of fields as long as the first, at most, unless these are longer, and how likely others are so long where one body follows.
LONG_FIELDS, MOST_FIRST, AS_LONG = 300, 1_000, 0.01
BY_CHANCE = 0.01  #: how likely frames of control stand there
OF_A_KIND, LONGER_BY = 0.2, 60  #: the first fields of a kind, with a body or without, are longer by less than so many bytes
#: How likely a write as long as frames of control is a request, if nothing else is known; and at most. WINDOW_UPDATEs, a few at a
#: time, follow what the server says within AT_ONCE_NS.
MOST_AT_ONCE = 3 * WINDOW_UPDATE
FOR_A_HEAD = 2  #: WINDOW_UPDATEs that curl sends as an answer begins; for several that begin at once they stand in one record
PERHAPS, MOST_PERHAPS, MOST_BARE = 0.02, 0.9, 0.99
PERHAPS_AS_WELL = 0.3  #: the same where others are requests for certain, and long behind what the server says
#: How likely a short write begins a request, of a client that writes fields and body at once; the same at once behind a body; and a body at once behind it,
#: and soon.
IS_SHORT, NEAR_A_BODY, BEHIND_FIELDS, SOON_BEHIND_FIELDS = 0.95, 0.6, 0.1, 0.5
BEHIND_AN_ANSWER = 0.95  #: the last one, where the server said something in between
IS_AS_OTHERS = 0.998  #: a short write, where others are as long
FIRST_BEGINS = 0.5  #: what is longer than fields, and comes first, begins a request
BEHIND_END = 0.3  #: fields stand in one record with the end of another request
HIDDEN = 0.002  #: the same, or an end, with a piece of a body
HIDES_END = 0.1  #: ends, of these: only those of bodies that another one goes on beside
OFTEN_HIDDEN = (HIDDEN, 0.02, 0.1)  #: the same, one of which is learned: what waits while a client writes is written at once behind it
#: Writes that this is learned from, how much better it must explain them to be as likely as seldom (a logarithm), and what is too unlikely to be tried.
HIDDEN_FROM, LEAST_GAIN, LEAST_OFTEN = 500, 2.0, 0.02
SIZES, REST = 1 / 4_000, 1 / 800  #: how likely a piece of a body has a given size, and a short one what a window leaves
SHORT = 80  #: bytes of such a rest
NOT_FULL = 0.01  #: how much less likely a rest is before a record is full, or a window
TWO_ENDS = 0.02
NEVER_HIDDEN = 1e-5  #: the same, of clients that end no bodies with a frame of their own
LONGER_BODY = 0.002  #: fields, as a body is longer by just as much than many of its client are
FIRST_TWO = 0.02  #: the first fields are those of two requests, of a client whose preface has a record of its own
FIRST_HIDES = 0.02, 0.01, 0.005  #: so many more with the first piece of all, as they were begun before the connection was open (hyper)
GOES_ON, IS_WHOLE = 0.03, 0.02  #: a body goes on behind a frame that is not full, or ends with one that is
PAUSED = 0.05  #: a piece of a body long behind all else, where nothing was full
BESIDE, ALONE = 0.3, 0.5  #: the acknowledgment of SETTINGS, beside what else a record is, and as a record
#: How much less likely it is with each record since the server's SETTINGS, and long after the first answer, which is read behind these.
SOONER, LATER, LATER_NS = 0.9, 0.02, 100_000_000
UPDATES = (1.0, 0.5, 0.05, 0.005, 5e-4, 5e-4, 5e-4)  #: how likely so many WINDOW_UPDATEs stand in one record, where control does
OPEN = {True: 1e-8, False: 0.02}  #: how likely a request is still open in the end; True: its client ends bodies with an empty frame
IMPOSSIBLE = -1e9  #: a logarithm
LIKELY = 1e-4  #: numbers that are worth a reading
MOST_READ = 4  #: of these
LEAST_BEGUN, LEAST_BEGUN_ASIDE = 0.4, 0.7  #: fields, of as many pieces that may end a body; and of those as long as WINDOW_UPDATEs
LEAST_ENDED = 0.5  #: share of requests with an end of their own, of a client that sends such
FRAME = 16_384 + EMPTY  #: of a body, at most, unless the server allows longer ones
FILLED = FRAME - 1  #: the last frame of a window of 65,535 bytes, of which all others are full
OF_ANOTHER = 0.02  #: what follows it at once is of another body
MOST_PARTS = 8  #: writes between two parts of a frame
#: Bytes by which each record of Go's TLS may be longer than the one before, until records are full: in TLS 1.3, and in TLS 1.2 with AES-GCM and with ChaCha20.
GROWS = 1_186, 1_179, 1_187
#: How likely a write leaves a body that waits, if it is as long as a window; if all until then is, and half as much came since WINDOW_UPDATE; if it is a frame
#: at least, of which a server may allow fewer; and if not.
FILLS, FILLS_SELDOM, FILLS_HARDLY, FILLS_NEVER = 0.5, (0.04, 0.3), 1e-6, 1e-30
LEAST_WINDOW = 65_000  #: bytes of a write that fills a window, or a buffer of 64 KiB (curl), at least
FIRST_FIELDS = 450  #: bytes of the fields of a connection's first request, at most, with what opens it
REST_IS_SHORT = 0.02  #: how likely what is left of a body is as short as fields
AGAIN, BETWEEN = 0.4, 0.1  #: it waits once more; another request is begun meanwhile
LEAST_PART, AGAIN_SHORT = 4096, 0.02  #: bytes of what a window lets through, as a rule; and how likely a body waits once more behind less
GAPS_NS = (1_000_000, 5_000_000, 50_000_000)
NEW_AFTER, GOES_ON_AFTER = (0.03, 0.04, 0.3, 0.63), (0.4, 0.15, 0.42, 0.03)  #: so long behind the write before
NEW_ALLOWED, GOES_ON_ALLOWED = (0.05, 0.55, 0.4), (0.55, 0.44, 0.01)  #: the same by when the server sent WINDOW_UPDATE
AT_ONCE_NS, ALLOWED_BEFORE, NOT_ALLOWED = 1_500_000, 1, 2
NEW_AS_REST = 0.05  #: the same at once behind a buffer full of a body, which goes on
SOON_NS = 5_000_000  #: from fields to the body on a busy machine
OTHERWISE = 1e-5  #: a write of the length of so many requests holds more or fewer
#: bytes by which what is written for each request is shorter or longer; share of writes that are of one size, or of several
LESS, ALIKE = 8, 0.9
OFTEN = 4  #: writes of one size
FIRST_LONGER = 200  #: bytes by which the first is longer, of one request or several
TELLING = 10 * FIRST_LONGER  #: bytes of a write of which others are seldom so many times as long by chance
SELDOM = 0.01
#: Share by which writes of one request are alike; the least of these to tell of others by their sizes; part that is any size, of three decades; and how many
#: sums of so many are looked at, each of so many sizes.
NEARLY, LEAST_SIZES, ANY, DECADES, SUMS = 0.1, 4, 0.05, 3.0, (200, 32, 12, 7, 5, 4, 3, 3)
#: How likely one write begins one request, two, three and so on: the first of a connection, and others.
FIRST_MANY = 0.52, 0.18, 0.12, 0.08, 0.04, 0.03, 0.02, 0.01
#: The same of the first of clients that offer HTTP/1.1 as well.
ONE_OF_MANY = 0.95, 0.02, 0.012, 0.008, 0.004, 0.003, 0.002, 0.001
AT_ONCE_MANY = 0.18, 0.18, 0.18, 0.18, 0.07, 0.07, 0.07, 0.07  #: the same of clients that begin all that they ask for at once
MANY = bare.SELDOM_SEVERAL
#: A write of full frames holds no fields, so it goes on with a body: how likely it begins a request nevertheless; and the write before it leaves that body.
NOT_OF_FRAMES, LEAVES_FRAMES = 1e-5, 0.5
GUESSED = 0.4, 0.5, 0.07, 0.02, 0.01  #: the same of a write that nothing is known of, none first
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
    is_first: bool = False
    is_bare: bool = False  # no body follows
    is_early: bool = False  # among the first
    bares: int = 0  # of several, those that no body follows

    def change(self) -> int:
        """Of requests that have not ended."""
        return (0 if self.is_bare else self.begun - self.bares) - self.ended

    def flags(self) -> int:
        """As :mod:`netlens.chains.ways` has them."""
        return ways.ACKNOWLEDGES * self.acknowledged + ways.BODY * self.is_body + ways.FIRST * self.is_first + ways.EARLY * self.is_early


@dataclass(frozen=True)
class _Seen:
    """Sizes of fields in a capture, of requests without a body (``bare``) and with one, and of what is as long as frames of control, and how often each is
    there."""

    bare: Counter[int] = field(default_factory=Counter)
    with_body: Counter[int] = field(default_factory=Counter)
    control: Counter[int] = field(default_factory=Counter)

    @cached_property
    def share(self) -> float:
        """Of requests without a body."""
        seen = self.bare.total()
        return (seen + LEAST_BARE * FEW_BARE) / (seen + self.with_body.total() + LEAST_BARE)

    def of_body(self, size: int) -> float:
        """How likely one with a body has this size."""
        near = _near(self.with_body, size)
        return near / self.with_body.total() if near >= REPEATED * DIFFERS[0] else 0.0

    def odds(self, size: int) -> float:
        """How likely one without has this size, of all requests."""
        if not FIELDS[0] <= size <= FIELDS[1]:
            return 0.0
        return self.share * (_near(self.bare, size) + ANY_SIZE) / (self.bare.total() + 1)

    def perhaps(self, size: int) -> float:
        """How likely a write as long as frames of control is a request: of those as long, as many as are expected."""
        near = _near(self.bare, size) / DIFFERS[0]
        return min(near / max(self.control[size], near), MOST_PERHAPS) if near else 0.0


def _near(sizes: Counter[int], size: int) -> float:
    """How many are expected to have this size, by those seen."""
    return sum(sizes[size - d] * p for d, p in DIFFERS.items())


class _Write(NamedTuple):
    """What was written at once, as the last of its records ends it."""

    size: int
    begin_ns: int
    ts: int
    frame: int
    payload: int


def usual(those: Sequence[Said]) -> list[int]:
    """By connection, the size of what its client writes for each request, where all writes behind its first are as long, or several times as long (a load
    generator, a check), as they are of nearly all connections if it has few; else 0. If each has one such write, its first may tell."""
    writes = [[w.size for w in written(said.mine, said.preface) if w.size > BODY] for said in those]
    sizes = [each[1:] for each in writes]
    least = [_most_often(each) or min(each, default=0) for each in sizes]
    alike = [[_times(size, of) > 0 for size in each] for each, of in zip(sizes, least, strict=True)]
    every = [one for each in alike for one in each]
    behind = len(every) - sum(of > 0 for of in least)  # one of each connection is what the others are held against
    first = [_first_times(each[0], of) > 0 for each, of in zip(writes, least, strict=True) if of >= TELLING]
    told = behind > REPEATED or (sum(first) > REPEATED and sum(first) >= ALIKE * len(first))
    all_ = told and sum(every) >= ALIKE * len(every)
    return [of if all_ or (len(each) >= OFTEN and all(each)) else 0 for of, each in zip(least, alike, strict=True)]


def _most_often(sizes: Sequence[int]) -> int:
    """The size that nearly all have, if there are some; else 0. Others may be what is left of a body that waited."""
    size, n = Counter(sizes).most_common(1)[0] if sizes else (0, 0)
    return size if n >= max(OFTEN, ALIKE * len(sizes)) else 0


class Sizes:
    """How long writes are that begin one request, two, three and four, by those behind the first of each connection, which nearly all begin one.

    fields, ended : the usual size of fields in records of their own (0: they have none), and whether bodies end with an empty frame, by most connections that
    show it.  hidden : how often fields, or an end, stand in one record with a piece of a body.  any : how likely the next write has a size that is like no
    other, as often as those seen do (Good and Turing).
    """

    def __init__(self, those: Sequence[Said]) -> None:
        every = [(said, writes := written(said.mine, said.preface), _fields(writes, _times_of(said.answers))) for said in those]
        by_fields = [each for each in every if each[2]]
        self.fields = Counter(size for *_, size in by_fields).most_common(1)[0][0] if by_fields else _first_fields([w for _, w, _ in every])
        ending = [each for each in by_fields if _ends(each[1], each[2])]
        self.ended = 2 * len(ending) > len(by_fields)
        self.seen = _sizes_seen(by_fields)
        self.hidden = _hidden(ending, self.seen)
        self.alone = sorted(w.size for said, writes, _ in every if _at_once(said) for w in writes[1:] if w.size > BODY)
        self.bare = bare.weigh(
            [w.size for _, writes, size in every if not size for before, w in pairwise(writes) if not _is_rest(before, w)]
        )
        apart = [
            size for before, size in pairwise([0, *self.alone]) if size - before > NEAR
        ]  # else two of one size would be about any other
        self.sums = [sorted(map(sum, product(_some(self.alone if n == 1 else apart, most), repeat=n))) for n, most in enumerate(SUMS, 1)]
        new = sum(_nearly(self.alone, size) <= 1 for size in self.alone)  # like no other
        self.any = max(ANY, (new + 1) / (len(self.alone) + 2))

    def odds(self, size: int, *, first: bool) -> list[float]:
        """How likely a write of one request, of two and so on is about as long, besides what all have in common. The fields of the ``first`` are longer."""
        if len(self.alone) < LEAST_SIZES:
            return [1.0] * len(SUMS)
        longer = FIRST_LONGER * first
        least, most = int(size * (1 - NEARLY)) - longer, int(size * (1 + NEARLY))
        any_ = self.any * log(max(most, 2) / max(least, 1)) / (DECADES * log(10))
        out = []
        for n, sums in enumerate(self.sums, 1):
            itself = n == 1 and not first  # it says nothing of itself
            alike = _nearly(sums, size, longer) - itself
            out.append((1 - self.any) * max(alike, 0) / max(len(sums) - itself, 1) + any_)
        return out


def _is_left(before: _Write, w: _Write) -> bool:
    """Whether a write may be what is left of a window, as it comes at once behind a piece of a body."""
    return before.size > FIELDS[1] and w.begin_ns - before.ts <= AT_ONCE_NS


def _is_rest(before: _Write, w: _Write) -> bool:
    """Whether a write is what is left of a body, as it comes at once behind a buffer full of it (curl)."""
    return before.size >= LEAST_WINDOW and w.begin_ns - before.ts <= AT_ONCE_NS


def _nearly(sizes: Sequence[int], size: int, longer: int = 0) -> int:
    """How many of them, in order, are about as long, or up to so much shorter as that may be ``longer``."""
    return bisect_right(sizes, int(size * (1 + NEARLY))) - bisect_left(sizes, int(size * (1 - NEARLY)) - longer)


def _some(sizes: Sequence[int], most: int) -> Sequence[int]:
    """As many of them, or all: those in the middle of equal parts."""
    parts = min(most, len(sizes))
    return [sizes[(2 * k + 1) * len(sizes) // (2 * parts)] for k in range(parts)]


def fits(said: Said, size: int, number: int) -> bool:
    """Whether a client whose requests with a body are all of one ``size`` (0: they are not) wrote so many, where what is shorter are fields, or requests."""
    if not size:
        return True
    those = [read for short in (False, True) if (read := _bursts(said, size, short=short)) is not None]
    return not those or any(number == sum(max(range(len(many)), key=many.__getitem__) for many in read.many) for read in those)


def _times(size: int, usual: int) -> int:
    """How many requests of ``usual`` bytes are in a write; 0 if it is no such number."""
    n, more = divmod(size + LESS, usual)
    return n if n <= MOST_TOGETHER and more <= 2 * LESS * n else 0


def _at_once(said: Said) -> bool:
    """Whether its client writes fields and body at once."""
    return said.bodies and any(each.together for each in said.readings)


def _first_times(size: int, usual: int) -> int:
    """The same of a connection's first write, whose fields are longer."""
    n, more = divmod(size, usual)
    return n if n <= MOST_TOGETHER and more <= FIRST_LONGER else 0


def told(said: Said, size: int = 0, sizes: Sizes | None = None) -> list[Told]:
    """Ways to read the client's records as requests, one for each likely number of them, the likeliest first; one way, with odds for each start, of a client
    that writes fields and body at once, and none where it is neither. ``size``: of what is written for each request, if that is known; ``sizes``: of others."""
    answers = _times_of(said.answers)
    by_fields = _by_fields(said, sizes, answers)
    if by_fields:
        return by_fields
    if not (_at_once(said) if said.bodies else _alone(said, sizes)):
        return []
    known = sizes.bare if sizes is not None and sizes.bare else [None]
    ways = [(read, log(each.p) if each is not None else 0.0) for each in known if (read := _bursts(said, size, sizes, each)) is not None]
    return [Told(*way) for way in ways]


def _alone(said: Said, sizes: Sizes | None) -> bool:
    """Whether requests without a body are among those of a client that, as far as can be seen, writes fields and body at once."""
    ended = sum(r.size == EMPTY for r in said.mine)
    bodies = sum(r.size > FIELDS[1] for r in said.mine)
    short = sum(FIELDS[0] <= r.size <= FIELDS[1] and r.size not in CONTROL for r in said.mine)
    # an acknowledgment, and the end of one body among many requests without: of more bodies, fields would show
    few = ended <= 1 or (ended == REPEATED and short > MOSTLY * bodies)
    return few and (sizes is None or not sizes.fields)


def guess(said: Said) -> Reading | None:
    """A way to read a client of which nothing else can be made: each write may begin a request or some, or none, but the first, which does."""
    streams: list[Stream] = []
    for w in written(said.mine, said.preface):
        if w.size not in CONTROL:
            streams.append(Stream(w.begin_ns, w.ts, w.frame, w.payload))
    many = [(0.0, *_beforehand(said, first=True))] + [GUESSED] * (len(streams) - 1)
    return Reading(streams, False, True, False, tuple(many)) if streams else None


def _by_fields(said: Said, sizes: Sizes | None, answers: Sequence[int]) -> list[Told]:
    writes = written(said.mine, said.preface)
    size = _fields(writes, answers)
    if size:
        ended = _ends(writes, size)
        if not ended and _begun(writes, size) < LEAST_BEGUN * _bodies(writes):
            return []
    elif sizes is not None and _as_others(writes, sizes.fields):
        size, ended = sizes.fields, sizes.ended
    else:
        return []
    seen = sizes.seen if sizes is not None else _Seen()
    often = sizes.hidden if sizes is not None and ended else {HIDDEN: 1.0}
    every = [
        Told(each.reading, each.weight + log(p / sum(often.values())))
        for hidden, p in often.items()
        for each in _walk(
            writes, size, said.settings_ns, ended, waited=said.waited, hidden=hidden, seen=seen, answers=answers, pinged=said.pinged > 0
        )[0]
    ]
    by_number: dict[int, list[Told]] = defaultdict(list)
    for each in sorted(every, key=lambda each: -each.weight):
        by_number[len(each.reading.streams)].append(each)
    out = [Told(those[0].reading, log(sum(exp(each.weight) for each in those))) for those in by_number.values()]
    return sorted(out, key=lambda each: -each.weight)[:MOST_READ]


def _begun(writes: Sequence[_Write], size: int) -> int:
    return sum(abs(w.size - size) <= NEAR for w in writes)


def _bodies(writes: Sequence[_Write]) -> int:
    """How many writes may end a body."""
    return sum(w.size > FIELDS[1] and w.size % FRAME > 0 for w in writes)


def _ends(writes: Sequence[_Write], size: int) -> bool:
    """Whether bodies end with an empty frame; one is an acknowledgment."""
    return sum(w.size == EMPTY for w in writes) - 1 >= LEAST_ENDED * _begun(writes, size)


def _as_others(writes: Sequence[_Write], size: int) -> bool:
    """Whether a connection of too few requests to tell the size of fields begins as those do whose fields have a record of their own, of ``size`` bytes."""
    data = [w for w in writes if w.size > EMPTY and (w.size not in CONTROL or abs(w.size - size) <= NEAR)]
    if not size or len(data) < 2:
        return False
    first, least = data[0], size - NEAR
    return least <= first.size <= MOST_TOGETHER * FIELDS[1] and any(
        least <= w.size <= MOST_TOGETHER * FIELDS[1] and after.size > FIELDS[1] and after.begin_ns - w.ts <= WAIT_NS
        for w, after in pairwise(data[: FEW + 1])
    )


def _first_fields(those: Sequence[Sequence[_Write]]) -> int:
    """The size of the fields that each connection's client begins with, where none says more than that and a body; 0 where they are not alike."""
    sizes = []
    for writes in those:
        data = [w for w in writes if w.size not in CONTROL]
        if len(data) > 1:
            first, then = data[:2]
            if not (FIELDS[0] <= first.size <= FIELDS[1] < then.size and then.begin_ns - first.ts <= BODY_NS):
                return 0
            sizes.append(first.size)
    return min(sizes) if len(sizes) >= REPEATED and max(sizes) - min(sizes) <= 2 * NEAR else 0


def _hidden(ending: Sequence[tuple[Said, list[_Write], int]], seen: _Seen) -> dict[float, float]:
    """How often fields, or an end, stand in one record with a piece of a body, of clients that end bodies with an empty frame: how likely each is, without
    what is not."""
    sums = list(accumulate(len(writes) for _, writes, _ in ending))
    some = [(said, writes[:HIDDEN_FROM], size) for said, writes, size in ending[: max(bisect_right(sums, HIDDEN_FROM), 1)]]

    def evidence(hidden: float) -> float:
        return sum(
            _walk(
                writes,
                size,
                said.settings_ns,
                True,
                waited=said.waited,
                hidden=hidden,
                seen=seen,
                answers=_times_of(said.answers[:1]),
            )[1]
            for said, writes, size in some
        )

    weights = {hidden: evidence(hidden) + LEAST_GAIN * (hidden == HIDDEN) for hidden in OFTEN_HIDDEN} if some else {HIDDEN: 0.0}
    most = max(weights.values())
    return {hidden: p for hidden, weight in weights.items() if (p := exp(weight - most)) >= LEAST_OFTEN}


def written(mine: Sequence[Record], preface: int) -> list[_Write]:
    """What was written at once. A full frame that had to wait for WINDOW_UPDATE in between is put together from its two parts."""
    out: list[_Write] = []
    size = payload = 0
    begin_ns = -1
    for at, r in enumerate(mine):
        k = at + preface + 1
        begin_ns = begin_ns if size else r.ts
        size, payload = size + r.size, payload + r.payload
        grows = r.size in [k * each for each in GROWS] and at + 1 < len(mine) and mine[at + 1].ts - r.ts <= BODY_NS
        if r.size != FULL and not grows:
            for n, part in enumerate(reversed(out[-MOST_PARTS:]), 1):
                may_be = n == 1 or min(part.size, size) > FIELDS[1]  # what is as short as fields is one only beside the other
                if part.size + size == FRAME + EMPTY and EMPTY < size < FRAME and may_be:
                    del out[-n]
                    size, payload = FRAME, payload + part.payload
                    break
            out.append(_Write(size, begin_ns, r.ts, r.frame, payload))
            size = payload = 0
    if size:
        out.append(_Write(size, begin_ns, mine[-1].ts, mine[-1].frame, payload))
    return out


def _fields(writes: Sequence[_Write], answers: Sequence[int]) -> int:
    """The usual size of fields behind the first; 0 where they have no record of their own. What is as long as WINDOW_UPDATEs, which curl sends as an answer
    begins, has the body at once behind it, before the server goes on, and so has what may be left of another body.  answers : times of the server's records."""
    sizes: Counter[int] = Counter(
        w.size
        for before, w, after in zip(writes, writes[1:], writes[2:], strict=False)
        if FIELDS[0] <= w.size <= FIELDS[1] < after.size
        and after.begin_ns - w.ts <= (BODY_NS if w.size % WINDOW_UPDATE and not _is_left(before, w) else AT_ONCE_NS)
        and (w.size % WINDOW_UPDATE or bisect_right(answers, w.ts) == bisect_left(answers, after.begin_ns))
    )
    near = {size: sum(sizes[size + more] for more in range(-1, 2)) for size in sizes}
    best = max(sizes, key=lambda size: (near[size], sizes[size]), default=0)
    if best and (
        (not best % WINDOW_UPDATE and _begun(writes, best) < LEAST_BEGUN_ASIDE * _bodies(writes))
        or _followed(writes[1:], best) < FOLLOWED * sum(abs(w.size - best) <= 1 for w in writes[1:])
        or _stand_alone(writes[1:], best)
    ):
        return 0  # it is control, or a request by itself
    return best if best and near[best] >= REPEATED and near[best] * 4 >= sizes.total() else 0


def _times_of(records: Sequence[Record]) -> list[int]:
    return [r.ts for r in records]


def _followed(writes: Sequence[_Write], size: int) -> int:
    """How many fields of about this size bodies follow soon; in between may be more such fields, and ends of other bodies."""
    out, waiting = 0, list[_Write]()
    for w in writes:
        if abs(w.size - size) <= 1:
            waiting.append(w)
        elif w.size != EMPTY:
            out += sum(w.begin_ns - each.ts <= BODY_NS for each in waiting) if w.size > FIELDS[1] else 0
            waiting = []
    return out


def _stand_alone(writes: Sequence[_Write], size: int) -> bool:
    """Whether bodies that end without a frame of their own stand behind none of these fields, as a rule: so they hold their own, and these are requests by
    themselves. Of bodies that are not all of one size those tell that begin long behind all else, and are no rest of one that waited."""
    if _ends(writes, size):
        return False
    data = [w for w in writes if w.size not in CONTROL or abs(w.size - size) <= NEAR]
    bodies = [w.size for w in data if w.size > FIELDS[1]]
    usual, _ = Counter(bodies).most_common(1)[0] if bodies else (FULL, 0)
    pairs = [(abs(w.size - size) <= NEAR, w.size, after.begin_ns - w.ts) for w, after in pairwise(data) if after.size > FIELDS[1]]
    if usual < LEAST_FULL and sum(abs(body - usual) <= NEAR for body in bodies) >= max(OFTEN, ALIKE * len(bodies)):
        return 2 * sum(fields and gap <= SOON_NS for fields, _, gap in pairs) < len(bodies)
    alone = sum(not fields and before < LEAST_FULL and gap > BODY_NS for fields, before, gap in pairs)
    return alone >= OFTEN and alone > sum(fields and gap <= BODY_NS for fields, _, gap in pairs)


def _sizes_seen(by_fields: Sequence[tuple[Said, list[_Write], int]]) -> _Seen:
    """Sizes of fields, of clients that send them in a record of their own: without a body are those that no body follows soon, and that are no rest of one.
    The first of each connection is longer."""
    bare, with_body, control = Counter[int](), Counter[int](), Counter[int]()
    for said, writes, size in by_fields:
        fields, answers = _before_bodies(writes), _times_of(said.answers)
        bodies = {writes[k] for k in _short_bodies(writes, size)}
        data = [w for k, w in enumerate(writes) if w.size != EMPTY and (w.size not in CONTROL or abs(w.size - size) <= NEAR or k in fields)]
        control.update(w.size for k, w in enumerate(writes) if w.size in CONTROL and k not in fields)
        for before, w, after in zip(data, data[1:], [*data[2:], None], strict=False):
            if not FIELDS[0] <= w.size <= FIELDS[1] or (before.size >= FULL and w.begin_ns - before.ts < BODY_NS) or w in bodies:
                continue
            if after is not None and (after.size > FIELDS[1] or after in bodies) and after.begin_ns - w.ts <= BODY_NS:
                with_body[w.size] += 1
            elif w.size - size not in DIFFER or after is None or after.begin_ns - w.ts > BODY_NS or _is_answered(w, after, answers):
                bare[w.size] += 1
    return _Seen(bare, with_body, control)


def _short_bodies(writes: Sequence[_Write], size: int) -> set[int]:
    """Places of bodies as short as fields of other requests: what is none of the usual ``size`` stands at once between such fields and an empty frame."""
    return {
        k
        for k, (before, w, after) in enumerate(zip(writes, writes[1:], writes[2:], strict=False), 1)
        if FIELDS[0] <= w.size <= FIELDS[1]
        and w.size not in CONTROL
        and abs(w.size - size) > LONG_DIFFER
        and any(abs(before.size - more - size) <= NEAR for more in (0, EMPTY))
        and after.size == EMPTY
        and max(w.begin_ns - before.ts, after.begin_ns - w.ts) <= AT_ONCE_NS
    }


def _is_answered(w: _Write, after: _Write, answers: Sequence[int]) -> bool:
    """Whether the server said something before the client said more, and not at once, as to a request.  answers : times of what it says."""
    return (
        w.size not in CONTROL and after.begin_ns - w.ts > GAPS_NS[1] and bisect_left(answers, w.ts) < bisect_left(answers, after.begin_ns)
    )


def _before_bodies(writes: Sequence[_Write]) -> set[int]:
    """Places of writes that stand where the fields of a body do: right before it, with nothing else that may be its fields. Some are as long as frames of
    control, or as the first fields of a connection, as they are once the table of HPACK was full (RFC 7541 4.4)."""
    most = min(max(LONG_FIELDS, writes[0].size + NEAR), MOST_FIRST) if writes else 0
    return {
        k
        for k, (before, w, after) in enumerate(zip([None, *writes], writes, writes[1:], strict=False))
        if FIELDS[0] <= w.size <= most
        and after.size > FIELDS[1]
        and after.begin_ns - w.ts <= BODY_NS
        and (before is None or before.size <= EMPTY or LONG_FIELDS < before.size < FULL or w.begin_ns - before.ts > BODY_NS)
    }


def _moves(
    writes: Sequence[_Write], size: int, settings_ns: int, ended: bool, waited: bool, hidden: float, seen: _Seen, answered_ns: int
) -> list[list[_Move]]:
    """What each of the writes may be, and how likely.  answered_ns : of the first answer.  waited : requests waited for the connection, so the first
    body may hide fields (hyper)."""
    out: list[list[_Move]] = []
    soon = 1.0
    before = 0  # that look like fields
    full = False  # a record, or a window
    sent = latest = 0
    body = next((k for k, w in enumerate(writes) if waited and k and w.size > FIELDS[1]), -1)  # the first fields may be as long
    fields = _before_bodies(writes)
    short = _short_bodies(writes, size)
    chance = [BY_CHANCE if k in fields else 1.0 for k in range(len(writes) + 1)]
    bodies = {body for body, n in Counter(w.size for w in writes if w.size > FIELDS[1]).items() if n >= OFTEN}
    behind = [len(writes)] * len(writes)  # places of what follows, but control
    for k in range(len(writes) - 1, 0, -1):
        behind[k - 1] = k if writes[k].size >= FIELDS[0] else behind[k]
    first_ns = NEVER if answered_ns < 0 else answered_ns
    for k, w in enumerate(writes):
        if 0 <= answered_ns < w.begin_ns - LATER_NS:
            soon, answered_ns = soon * LATER, -1
        moves: list[_Move] = []
        filled = k > 0 and writes[k - 1].size == FILLED and w.begin_ns - writes[k - 1].ts <= AT_ONCE_NS  # so its body waits
        left = k > 0 and writes[k - 1].size >= LEAST_FULL and w.begin_ns - writes[k - 1].ts <= BODY_NS  # of a full frame, rather
        left = left and not filled
        if w.size == EMPTY:
            moves += [_Move(0, 1, False, 1.0)] if ended else [_Move(0, 0, False, REST)]
            moves.append(_Move(0, 0, True, ALONE * soon))
        else:
            if w.size >= size:  # those of the first are longer
                begins = FIRST_BEGINS if w.size <= MOST_TOGETHER * FIELDS[1] else HIDDEN
                for acknowledged, p in ((False, 1.0), (True, BESIDE * soon)):
                    moves.append(_Move(1, 0, acknowledged, begins * p, is_first=True))
                    moves.append(_Move(1, 0, acknowledged, begins * p * seen.share, is_first=True, is_bare=True))
                    if waited and w.size >= 2 * size:  # begun before the connection was open, one of them without a body (hyper)
                        moves.append(_Move(2, 0, acknowledged, begins * p * FIRST_TWO, is_first=True, bares=1))
            of_body = _body(w.size, ended, hidden, first=k == body, rest=1.0 if full else NOT_FULL, goes_on=GOES_ON * chance[behind[k]])
            paused = k > 0 and writes[k - 1].size < LEAST_FULL and w.begin_ns - writes[k - 1].ts > BODY_NS  # so no body goes on
            late = paused and not full
            moves += (
                _control(w.size, soon, chance[k])
                + _begins(w.size, size, FIRST if before < FEW else DIFFER, soon, ended, seen)
                + ([] if left or k in short else _begins_bare(w.size, size, seen, soon))
                + (_begin_together(w.size, size, seen, soon) if ended and not left and w.begin_ns < first_ns else [])
                + [each._replace(p=each.p * (OF_ANOTHER if filled else 1.0) * (PAUSED if late else 1.0)) for each in of_body]
                + [_Move(n, 0 if ended else 1, False, LONGER_BODY) for n in _more_than(w.size, bodies, size)]
            )
            longer = any(FIELDS[1] < other.size and other.begin_ns - w.ts <= BODY_NS for other in writes[k + 2 : k + 3])
            if k in fields and (paused or not longer):
                moves.append(_Move(1, 0, False, BEGINS * max(AS_LONG, GROWN.get(w.size - latest, 0.0))))
            if k in fields:
                latest = w.size
        sent += w.size
        full = full or w.size >= FULL or sent >= WINDOW
        before += abs(w.size - size) <= NEAR
        if w.ts >= settings_ns:
            soon *= SOONER
        else:
            moves = [move for move in moves if not move.acknowledged]
        out.append(moves)
    return out


def _more_than(size: int, bodies: Set[int], fields: int) -> list[int]:
    """How many requests are begun with a body, if that is longer than ``bodies`` of which a client sends many by as many ``fields`` as that."""
    if size in bodies:
        return []
    return [n for n in range(1, MOST_TOGETHER + 1) if any(abs(size - body - n * fields) <= n for body in bodies)]


def _control(size: int, soon: float, chance: float) -> list[_Move]:
    odds = {0: chance, EMPTY: soon * chance, PING: 0.1 * chance}
    return [_Move(0, 0, of == EMPTY, odds[of] * (UPDATES[n - 1] if n else 1.0)) for of, n in control(size) if n <= len(UPDATES)]


def _begins(size: int, usual: int, differ: dict[int, float], soon: float, ended: bool, seen: _Seen) -> list[_Move]:
    out = []
    for n in range(1, len(TOGETHER) + 1 if ended else 2):
        for more, ends, acknowledged, p in (
            (0, 0, False, 1.0),
            (EMPTY, 0, True, BESIDE * soon),
            (EMPTY, 1, False, BEHIND_END * ended),
        ):
            d = size - more - n * usual
            near = (
                max(differ.get(d, 0.0), seen.of_body(size - more)) if n == 1 else 0.15 if abs(d) <= n else 0.03 if abs(d) <= 2 * n else 0.0
            )
            if p * near > 0.0:
                out.append(_Move(n, ends, acknowledged, BEGINS * TOGETHER[n - 1] * near * p))
    return out


def _begin_together(size: int, usual: int, seen: _Seen, soon: float) -> list[_Move]:
    """Several of the first requests in one record, which a client that waited for its connection has begun by then; some may have no body."""
    out = []
    for n, p in enumerate(EARLY_TOGETHER, 2):
        for more, acknowledged, q in ((0, False, 1.0), (EMPTY, True, BESIDE * soon)):
            if abs(size - more - n * usual) <= n * EARLY_DIFFER:
                each = BEGINS * p * q / (2 * n * EARLY_DIFFER + 1)
                for bares in range(n + 1):
                    so_many = comb(n, bares) * seen.share**bares * (1 - seen.share) ** (n - bares)
                    out.append(_Move(n, 0, acknowledged, each * so_many, bares=bares, is_early=True))
    return out


def _begins_bare(size: int, usual: int, seen: _Seen, soon: float) -> list[_Move]:
    """A request without a body, or the first one with, whose fields are longer than those of others."""
    out = []
    for more, acknowledged, p in ((0, False, 1.0), (EMPTY, True, BESIDE * soon)):
        if _is_apart(size - more, usual, seen):
            continue
        if odds := seen.odds(size - more):
            out.append(_Move(1, 0, acknowledged, BEGINS * p * odds, is_bare=True))
        if more == 0 and 0 < size - usual < LONGER_BY:
            out.append(_Move(1, 0, False, BEGINS * OF_A_KIND * seen.share / LONGER_BY, is_early=True))
            out.append(_Move(1, 0, False, BEGINS * OF_A_KIND * seen.share / LONGER_BY, is_bare=True, is_early=True))
    return out


def _body(size: int, ended: bool, hidden: float, *, first: bool, rest: float, goes_on: float) -> list[_Move]:
    piece = REST * rest if size < SHORT else SIZES
    if ended:
        some = [
            _Move(0, 0, False, piece * (1 - 2 * hidden), True),
            _Move(0, 1, False, piece * hidden * HIDES_END, True),
            _Move(1, 0, False, piece * hidden),
        ]
        return [*some, _Move(0, 2, False, TWO_ENDS)] if size == 2 * EMPTY else some
    over = IS_WHOLE if size % FRAME == 0 else 1 - goes_on
    hides = FIRST_HIDES if first else (NEVER_HIDDEN,)
    return [
        _Move(0, 1, False, piece * over, True),
        _Move(0, 0, False, piece * (1 - over), True),
        *(_Move(n, 1, False, piece * p) for n, p in enumerate(hides, 1)),
    ]


def _walk(
    writes: Sequence[_Write],
    size: int,
    settings_ns: int,
    ended: bool,
    *,
    waited: bool,
    hidden: float = HIDDEN,
    seen: _Seen = _Seen(),
    answers: Sequence[int] = (),
    pinged: bool = True,
) -> tuple[list[Told], float]:
    """Ways to read the client's writes, and how likely all of them are (a logarithm).  answers : times of what the server says.  pinged : it may have been
    asked by PING."""
    every = _moves(writes, size, settings_ns, ended, waited, hidden, seen, answers[0] if answers else -1)
    flat = [move for moves in every for move in moves]
    first = np.cumsum([0, *map(len, every)])
    begun, left, changes, flags = (
        np.array([of(move) for move in flat], np.int64) for of in (lambda m: m.begun, lambda m: m.ended, _Move.change, _Move.flags)
    )
    odds = np.array([move.p for move in flat])
    shape = sum(max((move.begun for move in moves), default=0) for moves in every) + 1, ways.MOST_OPEN + 1, 2
    total, best = np.zeros((2, *shape)), np.zeros((2, *shape))
    total[0, 0, 0, 0] = best[0, 0, 0, 0] = 1.0
    came = np.zeros((len(every), min(ways.WINDOW, shape[0]), *shape[1:]), np.uint8)
    low, evidence = np.zeros(len(every) + 1, np.int64), np.zeros(1)
    high = ways.forward(first, begun, left, changes, flags, odds, total, best, came, low, evidence)
    if high < 0:
        return [], IMPOSSIBLE
    total, best = total[len(every) % 2], best[len(every) % 2]
    least = int(low[-1])
    final = {
        (least + b, w, bool(a)): OPEN[ended] ** w * (1.0 if a else 0.1) for b, w, a in np.argwhere(total[least : high + 1] > 0.0).tolist()
    }
    numbers: dict[int, float] = defaultdict(float)
    for state, p in final.items():
        numbers[state[0]] += p * float(total[*map(int, state)])
    whole = sum(numbers.values())
    out: list[Told] = []
    perhaps = _perhaps(writes, size, seen, answers, pinged=pinged)
    for number in sorted(numbers, key=lambda n: -numbers[n])[:MOST_READ]:
        if number and numbers[number] > LIKELY * whole:
            last = max((state for state in final if state[0] == number), key=lambda state: final[state] * float(best[*map(int, state)]))
            moves = _way(every, came, low, last)
            out.append(Told(_reading(writes, moves, ended, perhaps), log(numbers[number] / whole)))
    return out, float(evidence[0]) + log(whole)


def _way(every: Sequence[Sequence[_Move]], came: np.ndarray, low: np.ndarray, last: State) -> list[_Move]:
    """The moves of the likeliest way to a state, one for each write."""
    begun, waiting, acknowledged = last
    out = []
    for k in range(len(every) - 1, -1, -1):
        move = every[k][came[k, begun - low[k], waiting, int(acknowledged)]]
        begun, waiting, acknowledged = begun - move.begun, waiting - move.change(), acknowledged and not move.acknowledged
        out.append(move)
    return out[::-1]


def _is_apart(size: int, usual: int, seen: _Seen) -> bool:
    """Whether what is as long as frames of control is no fields with a body, so that nothing else depends on what it is."""
    begins = _begins(size, usual, DIFFER, 0.0, False, seen) if usual else []
    return size in CONTROL and FIELDS[0] <= size <= FIELDS[1] and all(move.p < LEAST_BEGINS for move in begins)


def _perhaps(writes: Sequence[_Write], size: int, seen: _Seen, answers: Sequence[int], *, pinged: bool = True) -> dict[int, float]:
    """Writes as long as frames of control that may be requests without a body, by place, and how likely; what the server says decides. Frames of control
    answer at once what it says: long behind that, they are rather requests. What is as long as PING is none if it was not ``pinged``, but for GOAWAY, so
    others may be requests, too (Go)."""
    out = {}
    last_ns = answers[-1] if answers else -NEVER
    asks = {k for k, w in enumerate(writes) if k and w.size == PING and w.ts < last_ns and not pinged}
    long = 0  # writes since frames of control were sent at once
    for k, w in enumerate(writes):
        long += w.size > MOST_CONTROL
        if k and _is_apart(w.size, size, seen):
            at = bisect_right(answers, w.begin_ns)
            behind_ns = w.begin_ns - answers[at - 1] if at else BODY_NS
            updates, rest = divmod(w.size, WINDOW_UPDATE)
            of_heads = not rest and updates <= FOR_A_HEAD * min(long, at - bisect_right(answers, writes[k - 1].ts))
            at_once = behind_ns <= AT_ONCE_NS and (w.size <= MOST_AT_ONCE or of_heads)
            long = 0 if at_once else long
            p = max(seen.perhaps(w.size), 0.0 if at_once else max(bare.perhaps(w.size), PERHAPS))
            if asks or (behind_ns > BODY_NS and not w.size % WINDOW_UPDATE):
                p = MOST_BARE if k in asks else max(p, PERHAPS_AS_WELL)
            if p >= PERHAPS:
                out[k] = p
    return out


def _reading(writes: Sequence[_Write], moves: Sequence[_Move], ended: bool, perhaps: dict[int, float]) -> Reading:
    streams: list[Stream] = []
    many: list[tuple[float, ...]] = []
    waiting: list[Stream] = []
    latest: Stream | None = None  # with a body
    for k, (w, move) in enumerate(zip(writes, moves, strict=True)):
        new = [Stream(w.ts, w.ts, w.frame, w.payload) for _ in range(move.begun)]
        many += [(0.0, 1.0)] * move.begun
        if not new and k in perhaps:
            streams.append(Stream(w.ts, w.ts, w.frame, w.payload))
            many.append((1 - perhaps[k], perhaps[k]))
        if not new and waiting and w.size not in CONTROL:
            waiting[0].up += w.payload
        if ended:
            for each in waiting[: move.ended]:
                each.sent_ns = w.ts
        elif move.is_body and latest is not None:
            latest.sent_ns = w.ts  # of several bodies in turn it is not known which ends
        waiting = waiting[move.ended :]
        if not move.is_bare:
            waiting += new[move.bares :]
            latest = new[-1] if new else latest
        streams += new
    return Reading(streams, ended, False, many=tuple(many))


def _bursts(said: Said, size: int = 0, sizes: Sizes | None = None, known: bare.Bare | None = None, *, short: bool = True) -> Reading | None:
    """Requests of a client that writes fields and body at once (Node, nghttp2): each write begins one or several, or goes on with a body that waited for
    WINDOW_UPDATE, which only one that has filled a window does. Forward and backward over whether one waits. A ``short`` write is a request without a body."""
    updates = [r.ts for r in said.updates]
    every = written(said.mine, said.preface)
    if known is not None:
        perhaps = {w.frame: min(p, MOST_BARE) for w in every if w.size in CONTROL and (p := known.perhaps(w.size)) >= PERHAPS}
    else:
        perhaps = {every[k].frame: p for k, p in _perhaps(every, 0, _Seen(), [r.ts for r in said.answers]).items()}
    if not said.pinged and said.answers:  # PING would have been answered with PING, and nothing is said behind GOAWAY
        perhaps |= {w.frame: MOST_BARE for w in every if w.size == PING and w.ts < said.answers[-1].ts}
    writes = [
        w for w in every if w.size > MOST_CONTROL or (short and w.size >= FIELDS[0] and (w.size not in CONTROL or w.frame in perhaps))
    ]
    if not writes:
        return None
    gaps = [bisect_left(GAPS_NS, after.begin_ns - w.ts) for w, after in pairwise(writes)]
    long = _long_fields(writes)
    allowed: list[int] = []
    for before, w in pairwise(writes):  # what allows a part allows the next, if that follows at once
        at_once = allowed and w.begin_ns - before.ts <= GAPS_NS[0]
        allowed.append(min(_allowed(before, w, updates), allowed[-1] if at_once else NOT_ALLOWED))
        if before.size >= LEAST_WINDOW and w.begin_ns - before.ts <= GAPS_NS[0]:
            allowed[-1] = min(allowed[-1], ALLOWED_BEFORE)  # behind a buffer nothing has to allow it
    sent = list(accumulate(w.payload for w in writes))
    open_ = _since_updates(writes, sent, updates)
    whole = {(0, 0, True): 1.0, (1, 0, True): 1.0}  # what is as long as so many requests
    frames = {(1, 0, False): 1.0, (1, 1, False): 1.0, (0, 0, True): NOT_OF_FRAMES, (1, 0, True): NOT_OF_FRAMES}
    of_frames = [k > 0 and w.size % FRAME == 0 for k, w in enumerate(writes)]
    steps: list[dict[tuple[int, int, bool], float]] = []
    forward: list[tuple[float, float]] = []
    best = IMPOSSIBLE
    for seldom in FILLS_SELDOM:  # how often its bodies wait shows by how well that explains when it writes
        tried = [
            whole
            if size and _times(w.size, size)
            else frames
            if of_frames[k]
            else _waits(w, sent[k], open_[k], (gaps[k - 1], allowed[k - 1], _is_rest(writes[k - 1], w)) if k else None, seldom, then)
            for k, (w, then) in enumerate(zip(writes, [*of_frames[1:], False], strict=True))
        ]
        through = [(1.0, 0.0)]
        evidence = -LEAST_GAIN * (seldom > FILLS_SELDOM[0])
        for step in tried:
            after = [sum(through[-1][a] * p for (a, b, _), p in step.items() if b == to) for to in (0, 1)]
            evidence += log(sum(after))
            through.append((after[0] / sum(after), after[1] / sum(after)))
        if evidence > best:
            best, steps, forward = evidence, tried, through
    back = [1.0, OPEN[False]]
    begins: list[float] = []
    for k in range(len(steps) - 1, -1, -1):
        parts = {way: forward[k][way[0]] * p * back[way[1]] for way, p in steps[k].items()}
        begins.append(sum(p for (_, _, new), p in parts.items() if new) / sum(parts.values()))
        back = [sum(p * back[b] for (a, b, _), p in steps[k].items() if a == of) for of in (0, 1)]
        back = [each / sum(back) for each in back]
    streams: list[Stream] = []
    many: list[tuple[float, ...]] = []
    latest = 0  # that rather begins a request than goes on
    begins.reverse()
    by_itself = _by_itself(writes, begins, max(long, FIELDS[1]))
    times = _times_of(said.answers)
    answered = [False, *(bisect_right(times, before.ts) < bisect_left(times, w.begin_ns) for before, w in pairwise(writes))]
    # where the first write has fields and body, perhaps with what opens the connection
    of_each = size if size and said.preface < 2 and (_times(writes[0].size, size) or _first_times(writes[0].size, size)) else 0
    for k, (w, p) in enumerate(zip(writes, begins, strict=True)):
        if k == 0 or p > SELDOM:
            streams.append(Stream(w.begin_ns, w.ts, w.frame, w.payload))
            first = k == 0 and not (said.preface and w.size <= FIELDS[1] and not known)
            beforehand = AT_ONCE_MANY if k == 0 and said.at_once else _beforehand(said, first=first)
            several = _many(_with_rests(writes, k, size), size, sizes, known, beforehand, first=first, preface=not said.preface)
            is_short = IS_SHORT if known is None else IS_AS_OTHERS
            p *= _is_request(
                writes, k, perhaps, is_short, long, apart=said.preface > 1, by_itself=by_itself, of_each=of_each, answered=answered[k]
            )
            many.append((1 - p, *(p * each for each in several)))
            latest = len(streams) - 1 if p >= 0.5 or not k else latest
        if k and p < 0.5:
            streams[latest].sent_ns = w.ts
    return Reading(streams, False, True, many=tuple(many))


def _by_itself(writes: Sequence[_Write], begins: Sequence[float], fields: int) -> int:
    """How many writes show that fields and body are one: there is no short write before, nor anything at once behind.  begins : how likely each write
    begins a request.  fields : bytes of these, at most."""
    gaps = [w.begin_ns - before.ts for before, w in pairwise(writes)]
    return sum(
        p > 0.5 and w.size > fields and (before.size > fields or before_ns > WAIT_NS) and min(before_ns, behind_ns) > AT_ONCE_NS
        for before, w, p, before_ns, behind_ns in zip(writes, writes[1:], begins[1:], gaps, [*gaps[1:], NEVER], strict=False)
    )


def _is_request(
    writes: Sequence[_Write],
    k: int,
    perhaps: dict[int, float],
    short: float,
    long: int,
    *,
    apart: bool,
    by_itself: int,
    of_each: int,
    answered: bool,
) -> float:
    """How likely a write that goes on with no body begins a request: a ``short`` one, as likely as that, may be part of another.  long : bytes of fields with
    a token, at most (0: there seem to be none).  apart : the preface had records of its own, as of hyper, which so begins with the fields of all that waits.
    by_itself : how many writes show that fields and body are one, so that a write behind a short one is rather a request by itself.  answered : the server said
    something since the write before.  of_each : bytes of each
    request that is written so, for certain (0: they differ)."""

    def likelier(p: float) -> float:
        return p * (1 + by_itself) / (1 + p * by_itself)

    w = writes[k]
    if w.frame in perhaps:
        return perhaps[w.frame]
    if of_each and _times(w.size, of_each):
        return 1.0
    before = writes[k - 1]
    if k and of_each and _times(before.size, of_each):
        return short if w.size <= FIELDS[1] else 1.0
    pair = k > 0 and before.frame not in perhaps and min(w.size, before.size) <= FIELDS[1] < max(w.size, before.size)
    if k == 1 and before.size <= FIRST_FIELDS < w.size:
        pair = True
    if pair and w.begin_ns - before.ts <= AT_ONCE_NS:
        return likelier(NEAR_A_BODY if w.size <= FIELDS[1] else BEHIND_FIELDS)
    if pair and w.size > FIELDS[1] and w.begin_ns - before.ts <= WAIT_NS:
        return likelier(BEHIND_AN_ANSWER if answered else SOON_BEHIND_FIELDS)
    many = k == 1 and apart and before.size <= MOST_LONG and w.size > FIELDS[1]
    if k and (many or before.size <= long < w.size) and w.begin_ns - before.ts <= SOON_NS:
        return likelier(SOON_BEHIND_FIELDS)
    return short if k and w.size <= FIELDS[1] else 1.0


def _long_fields(writes: Sequence[_Write]) -> int:
    """Bytes of fields that hold a token, at most, by two writes and more behind the first that are alike, longer than other fields, and by themselves; 0 where
    two writes or more by themselves are as short as other fields."""
    gaps = [after.begin_ns - w.ts for w, after in pairwise(writes)]
    alone = sorted(
        w.size
        for w, before_ns, behind_ns in zip(writes[1:], gaps, [*gaps[1:], NEVER], strict=False)
        if FIELDS[0] <= w.size <= MOST_LONG and w.size not in CONTROL and min(before_ns, behind_ns) > SOON_NS
    )
    short = bisect_right(alone, FIELDS[1])
    if short >= REPEATED:
        return 0
    return next((size + LONG_OTHER for before, size in pairwise(alone[short:]) if size - before <= LONG_DIFFER), 0)


def _with_rests(writes: Sequence[_Write], k: int, size: int) -> int:
    """Bytes of a write, with what is left of bodies that waited behind it, if all are those of so many requests of ``size`` bytes, and it is no such number."""
    written = writes[k].size
    if not size or _times(written, size):
        return written
    rests = (w.size for w in takewhile(lambda w: not _times(w.size, size), writes[k + 1 :]))
    return next((total for total in accumulate(rests, initial=written) if _first_times(total, size)), written)


def _beforehand(said: Said, *, first: bool) -> tuple[float, ...]:
    """How likely one write begins one request, two and so on. Of clients whose preface has records of its own (hyper) the first often begins several."""
    if not first:
        return MANY
    return ONE_OF_MANY if said.seldom_several and said.preface < 2 else FIRST_MANY


def _many(
    written: int, size: int, sizes: Sizes | None, known: bare.Bare | None, beforehand: tuple[float, ...], *, first: bool, preface: bool
) -> tuple[float, ...]:
    """How likely a write of so many bytes begins one request of ``size`` bytes (0: they differ, as ``sizes`` do), two and so on. The fields of the first are
    longer, and may stand behind the preface and SETTINGS.  beforehand : how likely it is, before its size is looked at."""
    if known is not None and written <= bare.MOST:
        return known.first(written, beforehand, preface=preface) if first else known.many(written)
    n = _times(written, size) if size else 0
    if size and first and not n and written % size <= FIRST_LONGER:
        n = written // size
    if not n:
        if sizes is None:
            return beforehand
        some = [p * q for p, q in zip(beforehand, sizes.odds(written, first=first), strict=True)]
        return tuple(p / sum(some) for p in some)
    return tuple(1 - OTHERWISE if k == n else OTHERWISE / MOST_TOGETHER for k in range(1, max(n, MOST_TOGETHER) + 1))


def _allowed(before: _Write, w: _Write, updates: Sequence[int]) -> int:
    """Whether the server sent WINDOW_UPDATE between two writes: 0 right before the latter, 1 earlier, 2 not."""
    at = bisect_right(updates, w.begin_ns)
    if not at or updates[at - 1] < before.begin_ns:
        return NOT_ALLOWED
    return int(w.begin_ns - updates[at - 1] > AT_ONCE_NS)


def _since_updates(writes: Sequence[_Write], sent: Sequence[int], updates: Sequence[int]) -> list[int]:
    """Bytes of each write and of those before it since the server's latest WINDOW_UPDATE before it.  sent : bytes up to the end of each."""
    ended, out = [w.ts for w in writes], []
    for k, w in enumerate(writes):
        at = bisect_left(updates, w.begin_ns)
        first = min(bisect_left(ended, updates[at - 1]), k) if at else 0
        out.append(sent[k] - (sent[first - 1] if first else 0))
    return out


def _waits(
    w: _Write, sent: int, open_: int, after: tuple[int, int, bool] | None, seldom: float, frames: bool
) -> dict[tuple[int, int, bool], float]:
    """Whether a body waits before and behind a write, and whether it begins a request: how likely. ``sent``: bytes up to its end; ``open_``: those since
    the latest WINDOW_UPDATE; ``seldom``: how likely one does that does not show it; ``frames``: full frames follow, which are of a body."""
    full = sent >= WINDOW and open_ >= WINDOW // 2
    fills = (
        LEAVES_FRAMES
        if frames
        else FILLS
        if w.size >= LEAST_WINDOW
        else seldom
        if full
        else FILLS_HARDLY
        if w.size >= FULL
        else FILLS_NEVER
    )
    new = 1.0 if after is None else NEW_AFTER[after[0]] * NEW_ALLOWED[after[1]] * (NEW_AS_REST if after[2] else 1.0)
    out = {(0, 0, True): new * (1 - fills), (0, 1, True): new * fills}
    if after is not None:
        goes_on = GOES_ON_AFTER[after[0]] * GOES_ON_ALLOWED[after[1]] * (REST_IS_SHORT if w.size <= FIELDS[1] else 1.0)
        again = AGAIN if w.size >= LEAST_PART or fills > FILLS_NEVER else AGAIN_SHORT
        out |= {
            (1, 0, False): goes_on * (1 - again),
            (1, 1, False): goes_on * again,
            (1, 1, True): new * BETWEEN,
            (1, 0, True): new * BETWEEN * BETWEEN,
        }
    return out
