"""Painting: from the hops of requests to the spells that their time is made of, of many requests at once.

The time line of a request is painted with the program's view first, then with what each further hop shows of the same time, then the wire's round trip,
then the stalls. What is painted later covers what was painted before, so every nanosecond has one phase, and the sum is the total.

Times that are missing are NEVER. A *layer* is one stretch of one request's time with its phase; each step here makes the layers of all requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from netlens.chains.divided import CLIENT, CONNECT, LOOKUP, PHASES, RELAY, SERVER, STALL, STREAM, TLS, UNANSWERED, WIRE, Ragged
from netlens.chains.openings import (
    AGAIN,
    ASKED,
    FLIGHT,
    HELLO,
    LOOKED,
    MOMENTS,
    OPEN,
    READY,
    RESENT_NS,
    RESYN,
    RESYNACK,
    SOON_NS,
    SYN,
    SYNACK,
    TOLD,
    TURN,
)
from netlens.columns import NEVER, Bools, Ints, in_order

CODE = {phase: k for k, phase in enumerate(PHASES)}
#: Half of the shortest timer: a packet that another capture shows so much earlier than it was sent is still that one, on a clock that is off.
SLACK_NS = RESENT_NS // 2
FIRST_RTO_NS = 1_000_000_000  #: RFC 6298 2.1: what takes longer to come through than to be sent again was lost
TOGETHER = 4_096  #: requests that are painted at a time: 8 MB

Spans = list[tuple[int, int]]


@dataclass
class Hop:
    """A request as one connection carries it, on the host's clock."""

    start: int
    sent: int
    answered: int | None
    end: int
    opening: Ints | None  # a row of :attr:`Hops.opened`
    waits: Spans
    flights: Spans = field(default_factory=list)  # while the request was sent: bytes on their way
    landed: int = NEVER


@dataclass(eq=False)
class Hops:
    """Hops of requests, one after the other: those of request ``k`` are ``offsets[k]`` to ``offsets[k + 1]``, from the program to the server.

    opened : int64[n, moments], how the connection was opened, if the request was its first (``was_first``); else all are NEVER.
    waits, flights : (hop, start, end).  landed : when all of the request was at its other end, by what that acknowledged; NEVER where nothing tells.
    """

    offsets: Ints
    start: Ints
    sent: Ints
    answered: Ints
    end: Ints
    opened: Ints
    was_first: Bools
    waits: Ints
    flights: Ints
    landed: Ints

    @classmethod
    def of(cls, requests: Sequence[Sequence[Hop]]) -> Hops:
        hops = [hop for each in requests for hop in each]
        times = np.array([(h.start, h.sent, NEVER if h.answered is None else h.answered, h.end) for h in hops], np.int64).reshape(-1, 4)
        waits, flights = (
            np.array([(k, a, b) for k, h in enumerate(hops) for a, b in getattr(h, name)], np.int64).reshape(-1, 3)
            for name in ("waits", "flights")
        )
        opened = np.array([[NEVER] * len(MOMENTS) if h.opening is None else h.opening for h in hops], np.int64).reshape(-1, len(MOMENTS))
        was_first = np.array([h.opening is not None for h in hops], bool)
        start, sent, answered, end = times.T
        landed = np.array([h.landed for h in hops], np.int64)
        return cls(np.cumsum([0, *map(len, requests)]), start, sent, answered, end, opened, was_first, waits, flights, landed)

    @property
    def first(self) -> Ints:
        """The first hop of each request."""
        return self.offsets[:-1]

    @property
    def last(self) -> Ints:
        return self.offsets[1:] - 1

    def move(self, hops: Ints, by: Ints) -> None:
        shift = np.zeros(len(self.start), np.int64)
        shift[hops] = by
        self.start, self.sent, self.end = self.start + shift, self.sent + shift, self.end + shift
        self.answered = np.where(self.answered == NEVER, NEVER, self.answered + shift)
        self.landed = np.where(self.landed == NEVER, NEVER, self.landed + shift)
        self.opened = np.where(self.opened == NEVER, NEVER, self.opened + shift[:, None])
        for spans in (self.waits, self.flights):
            spans[:, 1:] += shift[spans[:, 0], None]

    def used(self) -> Bools:
        """Of which hops the connection was opened for the request."""
        o = self.opened[:, [SYN, OPEN, READY]]
        ready = np.where(o == NEVER, -NEVER, o).max(axis=1)
        known = self.opened[:, SYN] != NEVER
        return known & (self.start - np.where(known, ready, 0) <= SOON_NS)

    def take(self, low: int, high: int) -> Hops:
        """The hops of requests ``low`` to ``high``."""
        a, b = self.offsets[[low, high]].tolist()
        spans = []
        for each in (self.waits, self.flights):
            mine = each[(each[:, 0] >= a) & (each[:, 0] < b)]
            spans.append(mine - [a, 0, 0])
        start, sent, answered, end, opened, landed = (
            getattr(self, name)[a:b] for name in ("start", "sent", "answered", "end", "opened", "landed")
        )
        return Hops(self.offsets[low : high + 1] - a, start, sent, answered, end, opened, self.was_first[a:b], spans[0], spans[1], landed)


@dataclass(frozen=True, eq=False)
class Ahead:
    """First query and last answer as the next capture shows the program's lookup, and by which relay it came there; of some requests, in order."""

    request: Ints
    asked: Ints
    told: Ints
    relay: Ints

    def take(self, low: int, high: int) -> Ahead:
        a, b = np.searchsorted(self.request, [low, high])
        return Ahead(self.request[a:b] - low, self.asked[a:b], self.told[a:b], self.relay[a:b])


def divide(hops: Hops, trips: Ints, ahead: Ahead) -> Ragged:
    """The time lines of requests: start, end, number of the phase and relay of each spell.

    Parameters
    ----------
    hops : at least one of each request.  trips : the round trip of its last hop in ns, NEVER if unknown.
    """
    n = len(trips)
    if not n:
        return Ragged(np.zeros(1, np.int64), (np.empty(0, np.int64),) * 4)
    parts = [
        _divide(hops.take(low, high), trips[low:high], ahead.take(low, high))
        for low in range(0, n, TOGETHER)
        for high in (min(low + TOGETHER, n),)
    ]
    counts = np.concatenate([np.diff(part.offsets) for part in parts])
    columns = tuple(np.concatenate(column) for column in zip(*(part.columns for part in parts), strict=True))
    return Ragged(np.concatenate([[0], np.cumsum(counts)]), columns)


class _Layers:
    """What is painted, in order; ``begin``, ``end``: of each request. What lies outside of them is not kept."""

    def __init__(self, begin: Ints, end: Ints) -> None:
        self.begin, self.end = begin, end
        self.rows: list[Ints] = []

    def add(self, requests: Ints, start: Ints, end: Ints, phase: str, where: Bools | None = None, relay: int | Ints = -1) -> None:
        """One stretch of each of ``requests`` (of those ``where``)."""
        low, high = np.maximum(start, self.begin[requests]), np.minimum(end, self.end[requests])
        kept = (start < end) & (low < high)
        if where is not None:
            kept &= where
        relays = np.broadcast_to(np.asarray(relay, np.int64), low.shape)
        self.rows.append(np.column_stack([requests[kept], low[kept], high[kept], np.full(int(kept.sum()), CODE[phase]), relays[kept]]))

    def served(self, requests: Ints, sent: Ints, answered: Ints, end: Ints) -> None:
        """What the server took for its answer; where none came, what was waited in vain."""
        self.add(requests, sent, answered, SERVER, answered != NEVER)
        self.add(requests, sent, end, UNANSWERED, answered == NEVER)

    def opened(
        self, requests: Ints, o: Ints, where: Bools, relay: int = -1, tls: Bools | None = None, connect: Bools | None = None
    ) -> None:
        """Phases of openings; TLS of ``tls``, TCP's handshake of ``connect`` only. What is negotiated before TLS is a relay's (``relay``), or part of
        connecting."""
        there = o != NEVER
        self.add(requests, o[:, LOOKED], o[:, TOLD], LOOKUP, where & there[:, LOOKED] & there[:, TOLD])
        shaken = where & there[:, SYN] & there[:, OPEN]
        self.add(requests, o[:, SYN], o[:, OPEN], CONNECT, shaken if connect is None else shaken & connect)
        greeted = where & there[:, HELLO] & there[:, READY]
        self.add(requests, o[:, ASKED], o[:, HELLO], RELAY if relay >= 0 else CONNECT, greeted & there[:, ASKED], relay)
        self.add(requests, o[:, HELLO], o[:, READY], TLS, greeted if tls is None else greeted & tls)

    def flat(self) -> Ragged:
        """Stretches that follow each other, each of what was painted last there."""
        n = len(self.begin)
        request, low, high, phase, relay = np.concatenate(self.rows).T
        all_ = np.arange(n)
        cuts, places = _distinct(np.concatenate([all_, all_, request, request]), np.concatenate([self.begin, self.end, low, high]))
        first, behind = places[2 * n :].reshape(2, -1)
        size = behind - first
        # of each stretch between two cuts, the layer that was painted last: later ones overwrite
        top = np.full(len(cuts), -1)
        top[np.arange(size.sum()) + np.repeat(first - (np.cumsum(size) - size), size)] = np.repeat(np.arange(len(size)), size)
        of, at = cuts[:, 0], cuts[:, 1]
        last = np.append(of[1:] != of[:-1], True)
        alone = last & np.insert(last[:-1], 0, True)  # a request that took no time
        painted = np.where(top >= 0, phase[top] if len(phase) else 0, CODE[CLIENT])
        by = np.where(top >= 0, relay[top] if len(relay) else -1, -1)
        kept = ~last | alone
        of, since, until = of[kept], at[kept], np.where(alone, at, np.append(at[1:], 0))[kept]
        painted, by = painted[kept], by[kept]
        new = np.append(True, (of[1:] != of[:-1]) | (painted[1:] != painted[:-1]) | (by[1:] != by[:-1]))
        heads = np.flatnonzero(new)
        tails = np.append(heads[1:], len(new)) - 1
        offsets = np.searchsorted(of[heads], np.arange(n + 1))
        return Ragged(offsets, (since[heads], until[tails], painted[heads].astype(np.int8), by[heads].astype(np.int16)))


def _distinct(requests: Ints, times: Ints) -> tuple[Ints, Ints]:
    """The different (request, time) in order, and the place of each among them."""
    numbers = in_order(int(requests.max()) + 2, times)[0]
    keys = requests * (int(numbers.max()) + 1) + numbers
    order = np.argsort(keys, kind="stable")  # columns in order of requests, one behind the other, which it merges
    ordered = keys[order]
    new = np.append(True, ordered[1:] != ordered[:-1])
    places = np.empty(len(order), np.int64)
    places[order] = np.cumsum(new) - 1
    return np.column_stack([requests, times])[order[new]], places


def _divide(h: Hops, trips: Ints, ahead: Ahead) -> Ragged:
    n = len(trips)
    all_, first, last, used = np.arange(n), h.first, h.last, h.used()
    o, for_it = h.opened[first], used[first]
    begin = np.where(for_it, np.minimum(np.minimum(o[:, LOOKED], o[:, SYN]), h.start[first]), h.start[first])
    end = np.maximum(np.maximum(h.end[first], h.sent[first]), np.maximum(h.start[first], begin))
    paint = _Layers(begin, end)
    paint.add(all_, begin, end, CLIENT)
    paint.opened(all_, o, for_it)
    mine = o[ahead.request]
    told = for_it[ahead.request] & (mine[:, LOOKED] != NEVER) & (mine[:, TOLD] != NEVER)
    paint.add(ahead.request, mine[:, LOOKED], ahead.asked, RELAY, told, ahead.relay)
    paint.add(ahead.request, ahead.told, mine[:, TOLD], RELAY, told, ahead.relay)
    of = np.repeat(all_, np.diff(h.offsets))
    flights = h.flights[first[of[h.flights[:, 0]]] == h.flights[:, 0]]
    paint.add(of[flights[:, 0]], flights[:, 1], flights[:, 2], WIRE)
    answered = _or(h.answered[first], end)
    paint.served(all_, h.sent[first], h.answered[first], end)
    paint.add(all_, answered, end, STREAM)
    sizes = np.diff(h.offsets)
    back = np.zeros(len(h.start), np.int64)  # how much later what a hop shows of the answer came to the program
    for k in range(1, int(sizes.max())):
        longer = np.flatnonzero(sizes > k)
        far = first[longer] + k
        _through(paint, h, used, longer, far, k - 1, back, end[longer])
    until = _or(h.answered[last], h.end[last])
    measured = (trips != NEVER) & (h.answered[last] != NEVER) & (until > h.sent[last])
    trip = np.where(measured, np.minimum(trips, until - h.sent[last]), 0)
    returns = until - (trip - trip // 2)
    there = h.sent[last] + trip // 2
    there = np.where(h.landed[last] == NEVER, there, np.maximum(there, np.minimum(h.landed[last], returns)))
    paint.add(all_, h.sent[last], there, WIRE, measured)
    paint.add(all_, returns, until, WIRE, measured)
    hop = h.waits[:, 0]
    way_back = np.where(h.waits[:, 1] >= h.answered[hop], back[hop], 0)
    paint.add(of[hop], h.waits[:, 1] + way_back, h.waits[:, 2] + way_back, STALL)
    return paint.flat()


def _through(paint: _Layers, h: Hops, used: Bools, of: Ints, far: Ints, relay: int, back: Ints, end: Ints) -> None:
    """What the farther hops show of the time in which the nearer ones waited. ``back``: of each hop the way back to the program; that of ``far`` is added."""
    near = far - 1
    answered, far_answered = _or(h.answered[near], end), _or(h.answered[far], h.end[far])
    paint.add(of, h.sent[near], answered, RELAY, relay=relay)
    n, f, for_it = h.opened[near], h.opened[far], used[far]
    there, far_there = n != NEVER, f != NEVER
    both = for_it & h.was_first[near]
    same_packets = both & there[:, SYN] & there[:, OPEN] & (f[:, SYN] < n[:, OPEN])
    syn, synack = _came_through(n, f)
    # who opens a connection of its own takes the time of that one's handshake, however soon it has answered the program
    same_packets &= (n[:, SYNACK] == NEVER) | (f[:, SYNACK] == NEVER) | (n[:, SYNACK] - syn >= synack - f[:, SYN])
    paint.add(of, syn, f[:, SYN], RELAY, same_packets & (f[:, SYN] - syn < FIRST_RTO_NS), relay)
    paint.add(of, synack, n[:, SYNACK], RELAY, same_packets & far_there[:, SYNACK] & there[:, SYNACK], relay)
    paint.add(of, n[:, ASKED], n[:, HELLO], RELAY, both & there[:, ASKED] & there[:, HELLO], relay)
    same_hello = both & there[:, HELLO] & there[:, READY] & far_there[:, HELLO] & (f[:, HELLO] <= n[:, READY])
    paint.add(of, n[:, HELLO], f[:, HELLO], RELAY, same_hello, relay)
    paint.add(of, f[:, FLIGHT], n[:, FLIGHT], RELAY, same_hello & far_there[:, FLIGHT] & there[:, FLIGHT], relay)
    went_on = same_hello & there[:, AGAIN] & far_there[:, AGAIN] & there[:, FLIGHT] & (n[:, FLIGHT] > n[:, AGAIN])
    paint.add(of, f[:, TURN], n[:, TURN], RELAY, went_on, relay)
    paint.add(of, n[:, AGAIN], f[:, AGAIN], RELAY, went_on & (f[:, AGAIN] <= n[:, FLIGHT]), relay)
    paint.opened(of, f, for_it, relay, tls=~both, connect=~same_packets)
    anew = for_it & far_there[:, HELLO] & far_there[:, READY] & (f[:, HELLO] >= h.sent[near])  # encrypted anew
    paint.add(of, f[:, HELLO], f[:, READY], TLS, anew)
    paint.served(of, h.sent[far], h.answered[far], h.end[far])
    paint.add(of, far_answered, answered, RELAY, relay=relay)
    # The way back is counted once, with the first byte; what the last one took longer than that depends on no clock. What a relay said before it was answered
    # (tickets, a header) had no way back.
    back[far] = back[near] + np.maximum(answered - far_answered, 0)
    paint.add(of, h.end[far] + back[far], h.end[near] + back[near], RELAY, relay=relay)


def _came_through(n: Ints, f: Ints) -> tuple[Ints, Ints]:
    """Which of the program's SYNs is the first that the next capture shows, and which of the SYN+ACKs there is the first that came to the program: what was
    sent again before that was lost in between."""
    again = (n[:, RESYN] != NEVER) & (n[:, RESYN] - SLACK_NS <= f[:, SYN])
    last = (f[:, RESYNACK] != NEVER) & (f[:, RESYNACK] - SLACK_NS <= n[:, SYNACK])
    return np.where(again, n[:, RESYN], n[:, SYN]), np.where(last, f[:, RESYNACK], f[:, SYNACK])


def _or(times: Ints, otherwise: Ints) -> Ints:
    return np.where(times == NEVER, otherwise, times)
