"""Whether a client wrote more requests at once than can be told apart: a program that begins ten or a thousand in one go (Node, h2load).

A write that holds many requests looks like one with a long body, and what comes back like a stream. So where fields and bodies are written at once, what was
counted is held against what needs no model of either side: ends that show, answers of one size that come together, and writes that are so many times as long
as others. If these tell of more requests, nothing is known of how many there were.

Limits: many requests of different sizes whose answers are streams without ends that show are not seen here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

from netlens.chains import grammar
from netlens.chains.asked import BODY, EMPTY, FIELDS, FULL, MOST_TOGETHER, PING, Reading, Record, Said
from netlens.chains.endings import SHORT_NS
from netlens.columns import NEVER
from netlens.parsers.http2 import WINDOW_UPDATE

SPARE = 1.25, 2  #: what is seen so may be more than was counted by this factor, and so many more
#: records of one size in an answer that is no stream, as there are hardly in one; and share of writes that are answered so
TIMES, OFTEN = 3, 0.8
WHOLE, LONGEST = 0.9, 100  #: share of writes that are a whole number of times as long as the shortest; the most that is looked for
MOST_PARTS, REQUEST = 8, 12  #: requests in the shortest write, and bytes of one: a header and three fields (RFC 9113 4.1, 8.3.1)
NEAR = 4  #: bytes by which pieces of a stream differ at least
SAME, FEWEST, LEAST = 3, 5, 80  #: writes of one size, or sizes of so many, and bytes that one request without a body has no more, as a rule
BUFFER = 1024  #: buffers have a multiple of it; what fills one is a piece of an answer, however many are alike (nginx: 4 or 8 KiB)
ALIKE = 20  #: of a write, one part in so many


def holds_more(said: Said, read: Reading, most: int, *, ends_show: bool) -> bool:
    """Whether a connection has more requests than ``most``, as far as can be seen without a model.

    ends_show : answers end with an empty frame.
    """
    bound = SPARE[0] * most + SPARE[1]
    pings = sum(r.size == PING for r in said.mine) - said.pinged
    if pings > bound:
        return True  # nobody answered them with PING (RFC 9113 6.7)
    if not read.together:
        return False
    if ends_show and sum(r.size // EMPTY for r in said.answers if r.size in (EMPTY, 2 * EMPTY)) > bound:
        return True
    repeated = [_repeated(turn) for turn in _turns(said.answers, read)]
    if sum(repeated) > bound and sum(n > 1 for n in repeated) >= OFTEN * len(repeated):
        return True
    writes = [w.size for w in grammar.written(said.mine, said.preface) if w.size >= FIELDS[0] and w.size != 2 * WINDOW_UPDATE][1:]
    return _times(writes) > most or _all_alike(writes)


def _turns(answers: Sequence[Record], read: Reading) -> Iterator[Sequence[Record]]:
    """What the server said between one write and the next."""
    times = [r.ts for r in answers]
    for begin_ns, until in pairwise([*(each.begin_ns for each in read.streams), NEVER]):
        yield answers[bisect_left(times, begin_ns) : bisect_left(times, until)]


def _repeated(turn: Sequence[Record]) -> int:
    """How many answers there are at least in what was said at once."""
    sizes = Counter(r.size for r in turn if EMPTY < r.size < FULL and (r.size - EMPTY) % BUFFER)
    size = max(sizes, key=lambda size: sizes[size], default=0)
    most = max(sizes[size], 1)
    if sum(n for other, n in sizes.items() if 0 < abs(other - size) <= NEAR) > most:
        return 1  # they are pieces of a stream
    return most if most >= TIMES and turn[-1].ts - turn[0].ts <= SHORT_NS else 1


def _times(writes: Sequence[int]) -> int:
    """How many requests are in the writes behind the first, if nearly each is a whole number of times as long as one size, and some are more than can be told
    apart; else 0. That size is the shortest, or, of requests without a body, a part of it."""
    if len(writes) < FEWEST or len(set(writes)) < SAME:
        return 0
    shortest = min(writes)
    for parts in range(1, MOST_PARTS + 1 if shortest < BODY else 2):
        unit = shortest / parts
        times = [round(size / unit) for size in writes]
        whole = sum(abs(size - n * unit) * ALIKE < unit for size, n in zip(writes, times, strict=True))
        if unit >= REQUEST and whole >= WHOLE * len(writes) and MOST_TOGETHER < max(times) <= LONGEST:
            return sum(times)
    return 0


def _all_alike(writes: Sequence[int]) -> bool:
    """Whether all but the last are of one size, one with the acknowledgment of SETTINGS, and may be several requests without a body each."""
    sizes = Counter(writes[:-1])
    size = max(sizes, key=lambda size: sizes[size], default=0)
    others = sizes.total() - sizes[size] - (sizes[size + EMPTY] > 0)
    return sizes[size] >= SAME and not others and LEAST <= size < BODY
