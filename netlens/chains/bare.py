"""How long requests without a body are, and how many of them were written at once, of clients that write all that waits as a whole.

Theory of operation
-------------------
Node, undici, got, nghttp2, h2load and curl write a GET as one record, or several as one: 20 to 90 bytes each, since HPACK (RFC 7541) has what was sent before
in a table, and of nearly one size on a connection, as only paths differ. So what they write are multiples of that size, more or less. Which one, how much
requests differ, and whether several are often begun at once, is weighed by all that was written; against writes that are one request each, of any sizes.

Some of these sizes are those of WINDOW_UPDATEs and other frames of control, too. How likely such a write is a request follows from how many of this size are
expected by those of other sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from netlens.chains.asked import CONTROL, EMPTY, FIELDS, PING, control
from netlens.columns import Array
from netlens.parsers.http2 import WINDOW_UPDATE

MOST = 4 * FIELDS[1]  #: bytes of a write that is looked at
LEAST_SPAN = 200  #: bytes by which the shortest and the longest may differ, at least, as far as is known
ENOUGH = 300  #: writes that are looked at
BASES = np.arange(FIELDS[0], FIELDS[1] + 1)
USUAL, UNUSUAL, LONGER = 90, 0.3, 0.6  #: bytes of such a request, at most, as a rule; how much less likely more are, of all and of each
SPREADS = (1.0, 3.0, 8.0)  #: bytes by which these differ
#: How likely one write begins one request, two and so on, of a program that seldom begins several at once, and of those that do at times, and often.
BEGUN = np.array(
    [
        (0.975, 0.02, 0.003, 0.001, 4e-4, 3e-4, 2e-4, 1e-4),
        (0.85, 0.08, 0.04, 0.02, 0.004, 0.003, 0.002, 0.001),
        (0.4, 0.2, 0.15, 0.15, 0.04, 0.03, 0.02, 0.01),
    ]
)
#: Bytes by which a connection's first request is longer than others, and with what opens the connection.
LONGER_FIRST, LONGER_WITH_PREFACE = (0, 150), (50, 220)
OTHER = 0.1  #: share of writes that are one request of any size
ALL_OTHER = 0.5  #: how likely all of them are
KEPT = 1e-3  #: how likely something is, to be kept
#: How likely so many WINDOW_UPDATEs stand in one record, where there are any, and how many of these are expected, if none is seen alone.
UPDATES, LEAST_UPDATES = (0.6, 0.35, 0.03, 0.01, 0.003, 0.002, 0.002, 0.002), 1.0
#: How likely an acknowledgment, or PING, is in it besides; how much less likely PING is of a client that sends none alone.
BESIDE, NO_PINGS = 0.05, 0.1
ONE = 0.003  #: how likely a request has a size, as often as WINDOW_UPDATEs are sent
#: Share by which the number of requests of a size, of frames of control, and of requests of a size that has nothing to do with others may be another than
#: expected.
UNSURE = 0.5, 3.0, 10.0


@dataclass(frozen=True)
class Bare:
    """What the clients of a capture write.

    p : how likely it is so.  other : float64[MOST + 1], of requests of any size, how likely they have so many bytes.
    odds : float64[MOST + 1, 8], how likely a write has so many bytes and begins one request, two and so on.  given : the same if it is known to begin so many.
    sizes : of the writes that were looked at, but those as long as frames of control.  control : how many of each of these sizes there were.
    """

    p: float
    other: Array
    odds: Array
    given: Array
    sizes: Sequence[int]
    control: dict[int, int]

    def many(self, size: int) -> tuple[float, ...]:
        """How likely a write of so many bytes begins one request, two and so on."""
        p = self.odds[min(size, MOST)]
        return tuple((p / p.sum()).tolist())

    def first(self, size: int, usual: Sequence[float], *, preface: bool) -> tuple[float, ...]:
        """The same of a connection's first write, of which one request is longer, as HPACK's table is empty.  usual : how likely first writes begin so many.
        preface : what opens the connection is in it, too."""
        least, most = LONGER_WITH_PREFACE if preface else LONGER_FIRST
        p = np.array(usual) * self.given[max(size - most, 0) : max(size - least, 0) + 1].sum(axis=0)
        return tuple((p / p.sum()).tolist())

    @cached_property
    def _expected(self) -> Array:
        """By size, how many such requests are expected, by those that are as long as nothing else."""
        density = self.odds.sum(axis=1)
        apart = np.ones(len(density), bool)
        apart[[size for size in CONTROL if size < len(apart)]] = False
        return density * (len(self.sizes) / max(float(density[apart].sum()), 0.1))

    def perhaps(self, size: int) -> float:
        """How likely a write as long as frames of control is a request."""
        if size > MOST:
            return 0.0
        mine = float(self._expected[size])
        pings = self.control.get(PING, 0) > 1  # one may be GOAWAY
        theirs = _of_control(size, pings) * max(self.control.get(WINDOW_UPDATE, 0) + self.control.get(2 * WINDOW_UPDATE, 0), LEAST_UPDATES)
        seen = self.control.get(size, 0)
        if (more := seen - mine - theirs) > 0.0:  # one of both is underestimated: rather what is known less well
            other = OTHER * len(self.sizes) * float(self.other[size])
            by, of = (UNSURE[0] * mine + UNSURE[2] * other) ** 2, (UNSURE[1] * theirs) ** 2
            mine += more * by / (by + of)
            theirs = seen - mine
        return mine / (mine + theirs)


def _of_control(size: int, pings: bool = True) -> float:
    """How likely frames of control written at once have so many bytes, of a client that seems to send PING or not."""
    beside = {0: 1.0, EMPTY: BESIDE, PING: BESIDE if pings else BESIDE * NO_PINGS}
    return sum(beside[of] * (UPDATES[n - 1] if n else 1.0) for of, n in control(size) if n <= len(UPDATES))


def perhaps(size: int) -> float:
    """How likely a write as long as frames of control is a request, where nothing is known of others."""
    return ONE / (ONE + _of_control(size)) if FIELDS[0] <= size <= FIELDS[1] else 0.0


def weigh(sizes: Sequence[int]) -> list[Bare]:
    """What is known of a capture whose clients wrote so many bytes at a time, the first of each connection left out: where requests are seldom begun several at
    once, and where they often are, the likelier first; empty where nothing is short."""
    return list(_weighed(tuple(sizes)))


@lru_cache(maxsize=4)  # asked several times of the same
def _weighed(sizes: tuple[int, ...]) -> Sequence[Bare]:
    short = {size: sizes.count(size) for size in set(sizes) & CONTROL}
    data = [size for size in sizes if FIELDS[0] <= size <= MOST and size not in CONTROL]
    if not data or min(data) > FIELDS[1]:
        return ()
    some = np.array(data[:: -(-len(data) // ENOUGH)])
    every = np.arange(MOST + 1)
    low, high = min(data) - SPREADS[-1], max(data) + SPREADS[-1]
    other = np.where((every >= low) & (every <= high), 1 / max(high - low, LEAST_SPAN), 1e-6) * np.where(every <= USUAL, 1.0, LONGER)
    prior = np.where(BASES <= USUAL, 1.0, UNUSUAL)
    prior = (1 - ALL_OTHER) * prior / prior.sum() / len(SPREADS) / len(BEGUN)
    ways = [
        (p, base, spread, k)
        for base, p in zip(BASES.tolist(), prior.tolist(), strict=True)
        for spread in SPREADS
        for k in range(len(BEGUN))
    ]
    weights = np.array([np.log(p) + np.log(_odds(some, base, spread, k, other).sum(axis=1)).sum() for p, base, spread, k in ways])
    alone = np.log(ALL_OTHER) + np.log(other[some]).sum()
    most = max(alone, weights.max())
    likely, alone = np.exp(weights - most), np.exp(alone - most)
    often = np.array([k > 0 for *_, k in ways])
    any_ = np.repeat(other[:, None], BEGUN.shape[1], axis=1)
    singles = np.where(np.arange(BEGUN.shape[1]) == 0, any_, 0.0)
    out = []
    for those, p in ((~often, alone), (often, 0.0)):
        total = p + likely[those].sum()
        odds, given = p * singles, p * any_
        for k in np.flatnonzero(those & (likely >= KEPT * total)):
            _, base, spread, begun = ways[k]
            odds = odds + likely[k] * _odds(every, base, spread, begun, other)
            given = given + likely[k] * ((1 - OTHER) * _given(every, base, spread) + OTHER * any_)
        if (share := total / (alone + likely.sum())) >= KEPT:
            out.append(Bare(float(share), other, odds / total, given / total, data, short))
    return sorted(out, key=lambda each: -each.p)


def _odds(sizes: Array, base: int, spread: float, k: int, other: Array) -> Array:
    """How likely a write has each size and begins one request, two and so on, if these are of about ``base`` bytes: float64[n, 8]."""
    each = (1 - OTHER) * BEGUN[k] * _given(sizes, base, spread)
    each[:, 0] += OTHER * other[sizes]
    return each


def _given(sizes: Array, base: int, spread: float) -> Array:
    """How likely so many requests of about ``base`` bytes have each size: float64[n, 8]."""
    number = np.arange(1, BEGUN.shape[1] + 1)
    near = spread * np.sqrt(number)
    return np.exp(-0.5 * ((sizes[:, None] - base * number) / near) ** 2) / (near * np.sqrt(2 * np.pi))
