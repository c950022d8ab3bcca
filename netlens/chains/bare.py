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
from typing import NamedTuple

import numpy as np

from netlens.chains.asked import CONTROL, EMPTY, FIELDS, PING, control
from netlens.columns import Array
from netlens.parsers.http2 import WINDOW_UPDATE

MOST = 4 * FIELDS[1]  #: bytes of a write that is looked at
LEAST_SPAN = 200  #: bytes by which the shortest and the longest may differ, at least, as far as is known
ENOUGH = 300  #: writes that are looked at
BASES = np.arange(FIELDS[0], FIELDS[1] + 1)
USUAL, UNUSUAL, LESS = 90, 0.3, 0.6  #: bytes of such a request, at most, as a rule; how much less likely more are, of all and of each
SPREADS = (1.0, 3.0, 8.0)  #: bytes by which these differ
INDEXED, NONE = 22, 0.3  #: bytes of requests whose fields are all in the table, at most, which do not differ
#: How likely one write begins one request, two and so on, of a program that seldom begins several at once.
SELDOM_SEVERAL = 0.975, 0.02, 0.003, 0.001, 4e-4, 3e-4, 2e-4, 1e-4
#: The same of programs that seldom begin several at once, of which the second has many of any size, and of
#: those that do at times, and often.
BEGUN = np.array(
    [
        SELDOM_SEVERAL,
        SELDOM_SEVERAL,
        (0.85, 0.08, 0.04, 0.02, 0.004, 0.003, 0.002, 0.001),
        (0.4, 0.2, 0.15, 0.15, 0.04, 0.03, 0.02, 0.01),
    ]
)
MANY = BEGUN.shape[1]
#: Of the last it is learned, as if so many writes had been seen before, how often one holds so many requests at most; where requests differ by so few bytes,
#: and as many writes hold one alone: else what is always written together would be any part of a size.
OFTEN, BEFOREHAND, LEARNED, NARROW, SEEN_ALONE = 3, 4.0, 4, 3.0, 0.5
#: By how many bytes the first request of a connection is longer than others, as a rule, and how much that differs (where a Cauchy distribution is half as
#: high: a token may be far longer); at most; and bytes of what opens it: the preface, SETTINGS and WINDOW_UPDATE, with five frames of PRIORITY by nghttp
#: (RFC 9113 3.4, 6.5, 5.3.2).
FIRST_LONGER, LONGER_MOST = (24, 15), 200
OPENS = {range(42, 92): 0.85, range(110, 132): 0.15}
OTHER, MANY_OTHER = 0.1, 0.5  #: share of writes that are one request of any size: it has a body, too
_OTHERS = np.array([[OTHER], [MANY_OTHER], [OTHER], [OTHER]])
SHARES = np.hstack([(1 - _OTHERS) * BEGUN, _OTHERS])
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


def _longer() -> tuple[Array, Array]:
    """How likely a first request is longer by each number of bytes, and with what opens the connection."""
    usual, differs = FIRST_LONGER
    alone = 1 / (1 + ((np.arange(LONGER_MOST) - usual) / differs) ** 2)
    opens = np.zeros(max(each.stop for each in OPENS))
    for those, share in OPENS.items():
        opens[those.start : those.stop] = share / len(those)
    alone /= alone.sum()
    return alone, np.convolve(alone, opens)


LONGER, WITH_PREFACE = _longer()


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
        longer = WITH_PREFACE[: size + 1] if preface else LONGER[: size + 1]
        p = np.array(usual) * (longer[:, None] * self.given[size::-1][: len(longer)]).sum(axis=0)
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
    other = np.where((every >= low) & (every <= high), 1 / max(high - low, LEAST_SPAN), 1e-6) * np.where(every <= USUAL, 1.0, LESS)
    ways = [(base, spread) for base in BASES.tolist() for spread in (SPREADS if base > INDEXED else (NONE,))]
    prior = np.array([UNUSUAL if base > USUAL else 1.0 for base, _ in ways])
    given = np.array([_given(some, base, spread) for base, spread in ways])
    shares = np.tile(SHARES, (len(ways), 1, 1))
    weights = np.log(_odds(given[:, None], shares[:, :, None], other[some]).sum(axis=-1)).sum(axis=-1)
    learned = _learned(given, other[some])
    those = (learned.alone >= SEEN_ALONE) & np.array([spread <= NARROW for _, spread in ways])
    weights[those, OFTEN], shares[those, OFTEN] = learned.weights[those], learned.shares[those]
    weights += np.log((1 - ALL_OTHER) * prior / prior.sum() / len(BEGUN))[:, None]
    alone = np.log(ALL_OTHER) + np.log(other[some]).sum()
    most = max(alone, weights.max())
    likely, alone = np.exp(weights - most), np.exp(alone - most)
    any_ = np.repeat(other[:, None], MANY, axis=1)
    singles = np.where(np.arange(MANY) == 0, any_, 0.0)
    out = []
    for those, p in ((range(2), alone), (range(2, len(BEGUN)), 0.0)):
        total = p + likely[:, those].sum()
        odds, any_number = p * singles, p * any_
        for at, k in np.argwhere(likely[:, those] >= KEPT * total):
            row, each = those[k], _given(every, *ways[at])
            odds = odds + likely[at, row] * _odds(each, shares[at, row], other)
            any_number = any_number + likely[at, row] * ((1 - OTHER) * each + OTHER * any_)
        if (share := total / (alone + likely.sum())) >= KEPT:
            out.append(Bare(float(share), other, odds / total, any_number / total, data, short))
    return sorted(out, key=lambda each: -each.p)


class _Learned(NamedTuple):
    """weights, shares : how likely all writes are if each is told by those before it what writes hold, a logarithm, and what that comes to, by base and
    spread.  alone : how many of them begin one request of that size."""

    weights: Array
    shares: Array
    alone: Array


def _learned(given: Array, other: Array) -> _Learned:
    some = np.array([*range(LEARNED), MANY])  # places in shares
    beforehand = BEFOREHAND * SHARES[OFTEN, some]
    counts = np.tile(beforehand, (len(given), 1))
    shares = np.tile(SHARES[OFTEN], (len(given), 1))
    weights = np.zeros(len(given))
    looks = np.concatenate([given, np.broadcast_to(other[:, None], (*given.shape[:2], 1))], axis=2)
    for k in range(given.shape[1]):
        each = shares * looks[:, k]
        total = each.sum(axis=1)
        weights += np.log(total)
        counts += each[:, some] / total[:, None]
        shares[:, some] = counts * (SHARES[OFTEN, some].sum() / counts.sum(axis=1, keepdims=True))
    return _Learned(weights, shares, counts[:, 0] - beforehand[0])


def _odds(given: Array, shares: Array, other: Array) -> Array:
    """How likely writes look as they do and begin one request, two and so on: float64[..., n, 8].

    given : the same if they begin so many.  shares : of such writes, and the last of those that begin one request of any size.  other : how likely that looks
    so, float64[n].
    """
    each = shares[..., :-1] * given
    each[..., 0] += shares[..., -1] * other
    return np.asarray(each)


def _given(sizes: Array, base: int, spread: float) -> Array:
    """How likely so many requests of about ``base`` bytes have each size: float64[n, 8]."""
    number = np.arange(1, MANY + 1)
    near = spread * np.sqrt(number)
    return np.exp(-0.5 * ((sizes[:, None] - base * number) / near) ** 2) / (near * np.sqrt(2 * np.pi))
