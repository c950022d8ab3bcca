"""Which request of HTTP/2 each answer is of, and how sure that is, where several are in progress.

Theory of operation
-------------------
1. :mod:`netlens.chains.explained` knows how many requests wait and how many are answered in part, not which. Here each way through a connection is walked once
   more with the requests by name: of those that wait one is answered, of those that are answered in part one ends. How likely ways are is known by
   then from both sides, so only those that can be right are followed.
2. *Age tells.* A refusal comes soon after its request, a stream begins late and lasts: how old requests are when an answer comes, by the size of its first
   record, and how long answers last that begin with a record of this size, is learned from the capture; first where there is no choice, then from all.
3. *Each answer is of one request*, so what is certain of one helps with the others; sums both ways over a stretch of time between two moments at which
   nothing is in doubt give the probability of each answer for each request.
4. *A request is sure of its answer* if nearly all of that probability is of answers that look alike: whose stream ended does not matter for what became of
   it.

How much is weighed of a connection, and to learn, is bounded (:data:`MOST_WEIGHED`). What comes behind that has no answer of its own here, so it is unsure.

Limits: what several in one record are (:data:`netlens.chains.explained.walks.SEVERAL`) are all of one size.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import exp, log, log2, prod
from typing import Any, NamedTuple

from netlens.chains.endings import AT_ONCE_NS
from netlens.chains.explained import walks
from netlens.chains.explained.tallies import Tally
from netlens.chains.explained.walks import SEVERAL, Kind, Walk
from netlens.columns import Floats

FINEST_NS = 16_000  #: of ages; below that the clock of a capture tells nothing
BINS, A_BIN = 96, 4.0  #: of ages: quarters of octaves, up to four minutes
#: Of one age over bins, as few are known: of one size, and of others.
NARROW = (-1, 0.2), (0, 0.6), (1, 0.2)
WIDE = (-4, 0.04), (-3, 0.08), (-2, 0.12), (-1, 0.16), (0, 0.2), (1, 0.16), (2, 0.12), (3, 0.08), (4, 0.04)
NEAR = 4  #: sizes that have the same bits above these are near
ALL, NEARBY, SPARE = 1.0, 0.5, 0.1  #: weight of answers of any size, of near sizes, and of any age in each
MOST_WAYS, UNLIKELY = 24, 1e-4  #: behind each event
HOPELESS = UNLIKELY / 100  #: a choice beside the best one
#: choices on one connection, one to two seconds; and of learning. Of what is left then nothing is said
MOST_WEIGHED, FOR_A_ROUND = 600_000, 150_000
STRETCH = 256  #: events at most that are kept, to look back
CHOICES = 6  #: of those that wait the latest, where a record holds several answers
ROUNDS = 3  #: of learning
SURE, PERHAPS = 0.95, 0.2  #: of an answer, and of one to be taken for a request's own at all
ALIKE_BYTES = 16  #: by which answers that look alike differ

BEGINNING = frozenset((Kind.HEAD, Kind.HEADS))  #: kinds of records that begin answers which others end
ENDING = frozenset((Kind.DONE, Kind.ENDS))  #: kinds of records that end these
ANSWERING = frozenset((Kind.SHORT, *SEVERAL))  #: those that are whole answers

Pair = tuple[int, int]  #: the events at which an answer begins and ends; the same for a short one of one record
#: by start, how many of its requests are answered from one event to another, as far as can be expected
Answered = dict[int, dict[Pair, float]]
Answer = tuple[int, int, int]  #: of which start, and these
One = Any  #: request: one that waits by its start, one that is answered in part by start and head
Some = tuple[One, ...]
Way = tuple[int, Some, Some]  #: place of a state; requests that wait, and those answered in part
#: place of an event, how likely each way before it is, places of the ways that are kept behind it, and what leads there
_Event = tuple[int, list[float], dict[int, int], "list[_Edge]"]
#: of which requests an event may be: how many choices there are, how likely the best is, and those that are not hopeless
_Choices = tuple[int, float, list[tuple[Some, float]]]


class Age(NamedTuple):
    """What was seen: "wait" of a request for its answer to begin, or for a "short" one, or how long one "lasts"; size of the answer's first record."""

    what: str
    size: int
    ns: int


@dataclass
class Ages:
    """How old requests are as they are answered, and how long answers last; weights by what, size and bin."""

    exact: dict[tuple[str, int], Tally[int]] = field(default_factory=lambda: defaultdict(Tally))
    near: dict[tuple[str, int], Tally[int]] = field(default_factory=lambda: defaultdict(Tally))
    every: dict[str, Tally[int]] = field(default_factory=lambda: defaultdict(Tally))
    known: dict[tuple[str, int, int], float] = field(default_factory=dict)
    usual: dict[tuple[str, int], float] = field(default_factory=dict)

    def add(self, age: Age, weight: float) -> None:
        at = _bin(age.ns)
        for off, part in NARROW:
            self.exact[age.what, age.size][at + off] += weight * part
        for off, part in WIDE:
            self.near[age.what, age.size >> NEAR][at + off] += weight * part
            self.every[age.what][at + off] += weight * part

    def odds(self, age: Age) -> tuple[float, float]:
        """How likely such an age is for an answer of this size, for each unit of time, by itself and beside what is usual."""
        key = age.what, age.size, _bin(age.ns)
        if key not in self.known:
            self.known[key] = self._share(*key)
        odds = self.known[key] / (max(age.ns, 0) + FINEST_NS)
        return odds, odds / self._usual(age.what, age.size)

    def _share(self, what: str, size: int, at: int) -> float:
        every = self.every[what]
        p = ALL * (every[at] + SPARE) / (every.total() + SPARE * BINS)
        whole = ALL
        for weight, counts in ((1.0, self.exact.get((what, size))), (NEARBY, self.near.get((what, size >> NEAR)))):
            if counts:
                p += weight * counts[at]
                whole += weight * counts.total()
        return p / whole

    def _usual(self, what: str, size: int) -> float:
        """The same of answers that were seen (geometric mean), of this size if there are any."""
        if (what, size) not in self.usual:
            seen = self.exact.get((what, size)) or self.near.get((what, size >> NEAR)) or self.every[what]
            total = seen.total()
            mean = sum(n * (log(self._share(what, size, at)) - log(FINEST_NS) - log(2) * at / A_BIN) for at, n in seen.items())
            self.usual[what, size] = exp(mean / total) if total else 1.0 / FINEST_NS
        return self.usual[what, size]


def _bin(ns: int) -> int:
    return min(int(A_BIN * log2(1 + max(ns, 0) / FINEST_NS)), BINS - 1)


def learn(those: Sequence[tuple[Walk, Floats]]) -> Ages:
    """Ages by the ways through some connections: of each also how likely what follows is in each state."""
    ages = Ages()
    named = [_Named(*each) for each in those]
    for nth in range(ROUNDS):
        found, left = Ages(), [FOR_A_ROUND]
        for each in named:
            for _, seen, weight, alone in _steps(each, ages, left):
                if nth or alone:
                    for age in seen:
                        found.add(age, weight)
        ages = found
    return ages


def answers(walk: Walk, back: Floats, ages: Ages) -> Answered:
    """By start, how many requests that it begins are answered from one event to another, as far as can be expected; see :func:`learn`."""
    out: Answered = defaultdict(lambda: defaultdict(float))
    for found, _, weight, _ in _steps(_Named(walk, back), ages, [MOST_WEIGHED]):
        for start, begin, end in found:
            out[start][begin, end] += weight
    return out


class Shared(NamedTuple):
    """Of one request: the answer that is its own, as far as can be told, or any that is not short; how that looks; how likely it is, and others are that look
    otherwise or are another request's; and how many short answers its record holds."""

    pair: Pair | None
    look: int
    theirs: dict[Pair, float]
    together: int = 1


def shared(answered: Answered, starts: Sequence[int], look: Callable[[Pair], int]) -> list[Shared]:
    """The answers of requests, by their starts in order, where no short answer is that of two.

    answered : see :func:`answers`.  look : bytes of a short answer, -1 of another one.
    """
    looks = {pair: look(pair) for counts in answered.values() for pair in counts}
    ends: dict[int, float] = defaultdict(float)
    in_one: dict[int, float] = defaultdict(float)
    for pair, p in (each for those in answered.values() for each in those.items()):
        ends[pair[1]] += p
        in_one[pair[1]] += p * (pair[0] == pair[1])
    room = {end: max(round(p), 1) for end, p in ends.items()}
    left = Counter(starts)
    own: dict[int, list[tuple[float, Pair]]] = defaultdict(list)
    options = []
    for start in left:
        counts = answered.get(start, {})
        options += [(p, start, pair) for pair, p in counts.items() if looks[pair] >= 0 and p >= PERHAPS]
        if others := {pair: p for pair, p in counts.items() if looks[pair] < 0}:
            options.append((sum(others.values()), start, max(others, key=lambda pair: others[pair])))
    options.sort(reverse=True)
    long = [each for each in options if looks[each[2]] < 0]
    short_ends = {pair[1] for pair, size in looks.items() if size >= 0}
    # as many have these; the rest of the requests have short ones
    spare = min(round(sum(p for p, *_ in long)), len(starts) - sum(round(ends[end]) for end in short_ends))
    for nth, (p, start, pair) in enumerate([*options, *long]):
        for _ in range(max(round(p), 1)):
            if left[start] and (room[pair[1]] if looks[pair] >= 0 else spare > 0 or nth >= len(options)):
                left[start] -= 1
                room[pair[1]] -= looks[pair] >= 0
                spare -= looks[pair] < 0
                own[start].append((p / max(round(p), 1), pair))
    taken = {pair[1] for those in own.values() for _, pair in those}
    out: dict[int, list[Shared]] = {}
    for start, n in Counter(starts).items():
        rest = dict(answered.get(start, {}))
        sure = [pair for p, pair in own[start] if p >= SURE]
        for pair in sure:
            rest = _less(rest, pair, looks, 1.0)
        open_ = max(n - len(sure), 1)
        those = []
        for p, pair in own[start]:
            theirs = {pair: 1.0}
            if p < SURE:
                theirs = {each: q / open_ for each, q in rest.items()}
                alike = {each for each in theirs if each[1] not in taken and _alike(looks[each], looks[pair])} | {pair}
                alike |= {each for each in theirs if looks[each] < 0} if looks[pair] < 0 else set()
                theirs = {pair: sum(theirs.get(each, 0.0) for each in alike)} | {each: q for each, q in theirs.items() if each not in alike}
            together = max(round(in_one[pair[1]]), 1) if pair[0] == pair[1] else 1
            those.append(Shared(pair, looks[pair], theirs, together))
        out[start] = those + [Shared(None, -1, {})] * (n - len(those))
    return [out[start].pop(0) for start in starts]


def _less(counts: dict[Pair, float], pair: Pair, looks: Mapping[Pair, int], by: float) -> dict[Pair, float]:
    """Without so many of an answer, or of all that are not short, of which one stands for all."""
    those = [each for each in counts if looks[each] < 0] if looks[pair] < 0 else [pair]
    total = sum(counts[each] for each in those)
    return counts | {each: counts[each] * max(1 - by / total, 0.0) for each in those if total}


def _alike(one: One, other: int) -> bool:
    return (one < 0) == (other < 0) and abs(one - other) <= ALIKE_BYTES


class _Edge(NamedTuple):
    """From one way to one behind the next event, which is of ``some`` requests.  alone : no others could be meant."""

    begin: int
    end: int
    weight: float
    kind: int
    some: Some
    alone: bool


NONE: _Choices = 1, 1.0, [((), 1.0)]  #: of an event that is of no request


class _Named:
    """What is walked with requests by name."""

    def __init__(self, walk: Walk, back: Floats) -> None:
        self.walk, self.back = walk, back
        self._likely: dict[int, list[tuple[int, float, int, int]]] = {}
        self._seen: dict[tuple[int, int, One], tuple[Age, ...]] = {}

    def likely(self, state: int) -> list[tuple[int, float, int, int]]:
        """What the next event may be in a state: the state behind it, how likely that is, how many more wait then, and its kind."""
        if state not in self._likely:
            ways = self.walk.ways
            changes = slice(*ways.edges[state : state + 2].tolist())
            ends = ways.ends[changes]
            odds = ways.weights[changes] * self.back[ends] / self.back[state]
            waits = walks.waiting(ways.states[ends]) - walks.waiting(ways.states[state])
            least = UNLIKELY * odds.max(initial=0.0)
            every = zip(ends.tolist(), odds.tolist(), waits.tolist(), ways.kinds[changes].tolist(), strict=True)
            self._likely[state] = [each for each in every if 0.0 < each[1] >= least]
        return self._likely[state]

    def seen(self, i: int, kind: int, one: One) -> tuple[Age, ...]:
        """How old one is that event ``i`` may be of."""
        if (i, kind, one) not in self._seen:
            self._seen[i, kind, one] = self._ages(i, kind, one)
        return self._seen[i, kind, one]

    def _ages(self, i: int, kind: int, one: One) -> tuple[Age, ...]:
        events, size, now = self.walk.events, self.walk.size, self.walk.events[i].ns
        if kind in ENDING:
            start, head = one
            lasted = now - events[head].ns
            waited = Age("short" if lasted <= AT_ONCE_NS else "wait", size(head), events[head].ns - events[start].ns)
            return waited, Age("lasts", size(head), lasted)
        return (Age("short", size(i) // SEVERAL.get(Kind(kind), 1), now - events[one].ns),) if kind in ANSWERING else ()


def _steps(of: _Named, ages: Ages, left: list[int]) -> Iterator[tuple[tuple[Answer, ...], tuple[Age, ...], float, bool]]:
    """What each event may be by name, and how likely: answers that end there, ages, probability, and whether there was no choice.

    left : how many choices may be weighed still.
    """
    ways: list[Way] = [(0, (), ())]
    masses = [1.0]
    stretch: list[_Event] = []
    events = len(of.walk.events)
    for i in range(events if left[0] > 0 else 0):
        edges, after, weighed = _edges(of, i, ways, ages)
        sums = [0.0] * len(after)
        for each in edges:
            sums[each.end] += masses[each.begin] * each.weight
        total = sum(sums)
        if total <= 0.0:
            return
        keep = sorted((k for k, p in enumerate(sums) if p > UNLIKELY * total), key=lambda k: -sums[k])[:MOST_WAYS]
        place = {k: n for n, k in enumerate(keep)}
        stretch.append((i, masses, place, [each for each in edges if each.end in place]))
        total = sum(sums[k] for k in keep)
        ways, masses = [after[k] for k in keep], [sums[k] / total for k in keep]
        left[0] -= weighed
        if len(ways) == 1 or len(stretch) >= STRETCH or i == events - 1 or left[0] <= 0:
            yield from _looked_back(of, stretch, len(ways))
            stretch = []
        if left[0] <= 0:
            return


def _looked_back(of: _Named, stretch: Sequence[_Event], last: int) -> Iterator[tuple[tuple[Answer, ...], tuple[Age, ...], float, bool]]:
    back = [1.0] * last
    for i, masses, place, edges in reversed(stretch):
        before = [0.0] * len(masses)
        for each in edges:
            before[each.begin] += each.weight * back[place[each.end]]
        total = sum(p * q for p, q in zip(masses, before, strict=True))
        for begin, end, weight, kind, some, alone in edges:
            if (kind in ENDING or kind in ANSWERING) and (p := masses[begin] * weight * back[place[end]] / total) > UNLIKELY:
                found = tuple((*one, i) if kind in ENDING else (one, i, i) for one in some)
                yield found, tuple(age for one in some for age in of.seen(i, kind, one)), p, alone
        most = max(before)
        back = [p / most for p in before]


def _edges(of: _Named, i: int, ways: Sequence[Way], ages: Ages) -> tuple[list[_Edge], list[Way], int]:
    """What event ``i`` may make of each way, the ways behind it, and how many choices were weighed."""
    place: dict[Way, int] = {}
    edges = []
    odds: dict[int, _Odds] = {}
    weighed = 0
    for k, (state, waiting, answered) in enumerate(ways):
        options = []
        for then, likely, wait, kind in of.likely(state):
            pool, n = _pool(kind, wait, waiting, answered)
            if n and n <= len(pool):
                if kind not in odds:
                    odds[kind] = _Odds(of, i, kind, ages)
                likely *= odds[kind].usual(pool, n)
            if n <= len(pool):
                options.append((likely, then, kind, wait, pool, n))
        weighed += len(options)
        least = HOPELESS * max((p for p, *_ in options), default=0.0)
        for p, then, kind, wait, pool, n in options:
            if p >= least:
                many, best, choices = odds[kind].likely(pool, n) if n else NONE
                weighed += many
                for some, each in choices:
                    way = (then, *_left(i, kind, wait, waiting, answered, some))
                    edges.append(_Edge(k, place.setdefault(way, len(place)), p * each / best, kind, some, many == 1))
    return edges, list(place), weighed


class _Odds(dict[One, tuple[float, float]]):
    """How likely event ``i`` is of a request, if it is of a ``kind``, and how usual that is, at most 1."""

    def __init__(self, of: _Named, i: int, kind: int, ages: Ages) -> None:
        super().__init__()
        self._of, self._i, self._kind, self._ages = of, i, kind, ages
        self._likely: dict[Some, _Choices] = {}

    def __missing__(self, one: One) -> tuple[float, float]:
        odds = [self._ages.odds(age) for age in self._of.seen(self._i, self._kind, one)]
        self[one] = prod([each for each, _ in odds]), prod([min(beside, 1.0) for _, beside in odds])
        return self[one]

    def usual(self, pool: Some, n: int) -> float:
        """A usual age speaks for none of the kinds of records, an unusual one against."""
        usual = [self[one][1] for one in pool]
        return max(usual) if n == 1 else prod(sorted(usual)[-n:])

    def likely(self, pool: Some, n: int) -> _Choices:
        if pool not in self._likely:
            choices = set(combinations(pool, n))
            odds = [prod([self[one][0] for one in some]) for some in choices]
            best = max(odds)
            likely = [(some, each) for some, each in zip(choices, odds, strict=True) if each > HOPELESS * best]
            self._likely[pool] = len(choices), best, likely
        return self._likely[pool]


def _pool(kind: int, wait: int, waiting: Some, answered: Some) -> tuple[Some, int]:
    """Requests of which an event may be that answers some, or breaks one off, and of how many of them: starts of those that wait, or those answered in part."""
    if kind == Kind.PIECE or kind == Kind.ASIDE or kind < 0:
        return (), 0
    if wait:
        return waiting if wait == -1 else waiting[-CHOICES:], -wait
    return answered, 2 if kind == Kind.ENDS else 1


def _left(i: int, kind: int, wait: int, waiting: Some, answered: Some, some: Some) -> tuple[Some, Some]:
    """Those that wait behind event ``i``, which is of ``some``, and those answered in part."""
    if kind < 0:
        return waiting + (i,) * ~kind, answered
    if not some:
        return waiting, answered
    if kind in BEGINNING:
        answered = tuple(sorted((*answered, *((start, i) for start in some))))
    return (_without(waiting, some), answered) if wait else (waiting, _without(answered, some))


def _without(those: Some, some: Some) -> Some:
    for each in some:
        at = those.index(each)
        those = those[:at] + those[at + 1 :]
    return those
