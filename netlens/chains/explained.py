"""What an HTTP/2 connection most likely said whose records leave doubts: how many requests, and between which times each began and ended.

Theory of operation
-------------------
1. *A walk.* Requests wait, are answered in part, and end. What looks like a request on the client's side begins one, as a rule; a burst of Node or curl may
   hold several. Each record of the server is a piece, an end, or the head of an answer or of two, a short answer, or up to four of these: some need a
   request that waits, others one that is answered in part. All ways through a connection are weighed at once (forward and backward sums over what waits
   and what is answered in part), so what the client's side says and what the server's says correct each other. What waits is answered soon: a way that
   lets requests wait for longer than they do as a rule is less likely.
2. *What records look like* is learned from the connections of a capture, for each kind: sizes, times since the latest request, the silence behind, and the
   client's WINDOW_UPDATEs that follow at once (curl sends some as an answer begins). Learning begins with what :mod:`netlens.chains.endings` takes for ends,
   and goes on with what was found (expectation maximisation, with what is nearly sure alone). How often records hold several short answers is learned, too;
   these have the sum of their sizes. A size that was seen once is as likely as one that was not seen. If what was learned finds other numbers for
   connections that were counted without it, it makes no number certain.
3. *The client* is read by what its records may hold (:mod:`netlens.chains.grammar`). How many requests its first write begins, and others, is learned, too:
   by what is answered, and by how long writes are.
4. *WINDOW_UPDATEs* (RFC 9113 6.9) are sent by many servers for each body, one or two, as soon as it is there. Where that is the rule, how many of them come
   tells how many requests a write began: what is owed is a part of what is walked over. Records as short may be heads of answers, too. So may those as long as
   PING where nobody pinged. RST_STREAM of the client (6.4) is as long as WINDOW_UPDATE: a request ends there, whether it was answered in part or not, and the
   server may say a little more. How often a record of that size is one is learned, apart for those that come at once behind what the server says.
5. *The number of requests* is told if it is next to certain, more so where the client alone makes another one likelier. Given the number, the time of each
   start and each end is the median, and an interval that holds it with all but :data:`OUTSIDE` on either side. For an exact number nothing may be in
   progress in the end, of the connection or the capture: an end that was missed shows there, or nowhere.
6. *Else the number is an interval*, and requests are as many as are likeliest. What the server said may be misread, so what the client alone tells has a
   part in the interval, a greater one where few records were learned from; with too few it is all there is, and answers may have ended at any time. Those
   beyond the least may never have begun, and those beyond the ones told may have been in progress besides (:class:`Counted`). A client of which nothing
   can be made is guessed at: each write may begin a request, so the interval is wide and never exact.
7. *Whose each answer is* is asked at last, of all that may have been said (:mod:`netlens.chains.whose`).

Learning may take about half of the states that are weighed for a capture; with what is left, fewer of the unlikely ones are kept.

Limits: what is not foreseen here (requests that the server resets, what three streams say in one record) makes the number uncertain, as a rule, not wrong.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from heapq import nlargest
from itertools import accumulate, zip_longest
from math import exp, log, log2
from operator import attrgetter, itemgetter
from typing import NamedTuple

from netlens.chains import asked, grammar, whose
from netlens.chains.asked import BODY, EMPTY, FULL, PING, UPDATE_NS, Reading, Record, Said, Stream
from netlens.chains.endings import SHORT_NS, End
from netlens.chains.walks import SEVERAL, Change, Changes, Event, Kind, State, Step, Walk, begun
from netlens.columns import NEVER
from netlens.parsers.http2 import WINDOW_UPDATE

MS = 1_000_000
SINCE_NS = tuple(ms * MS for ms in (20, 60, 150, 500))  #: from the latest request to a record
SOON = 1  #: places of these
GAP_NS = tuple(ms * MS for ms in (1, 5, 30, 120, 300, 1000))  #: from a record to the next one of the server
AT_ONCE = 2
ECHO_NS, MOST_ECHOED = 5 * MS, 3  #: from a record to the client's WINDOW_UPDATEs, and how many are told apart
PROMPT_NS = 2 * MS  #: the same, if these are to be told from RST_STREAM
EXACT = 4096  #: bytes; longer records are alike if they differ by less than a half
MOST_WAITING, MOST_EXTRA, LEAST_EXTRA = 12, 8, -400
NEGLIGIBLE = 1e-9
SELDOM = 1e-7  #: the same while learning
MOST_STATES, LEAST_STATES = 200, 40  #: behind a record, the likeliest; recordings have 20 to 40 on average, and 260 at most
MOST_WEIGHED = 1_000_000  #: of a capture in all, some 10 s; what is left then is not explained
FOR_A_ROUND, FOR_ANOTHER = MOST_WEIGHED // 8, MOST_WEIGHED // 4  #: of learning, behind the first; and before it begins again
SMOOTHING = 1.0  #: records that look like any, beside those seen of a kind
OFTEN = 1.5  #: short answers of one size
AT_FIRST = 4.0  #: the same, while little has been learned
LEAST_SHORT = 64  #: bytes of an answer with a body: frames' headers, a head that none in the table makes shorter, and some words
SURE_OF_KIND = 0.3, 0.3, 0.5, 0.8  #: for a record to be learned from, each time
#: How likely what looks like a request is none, one, two, three or four.
ONE, ONE_EARLY, IN_BURST, FIRST_BURST, IN_PARTS = (
    (0.0003, 0.999, 0.0006, 0.0001), (0.001, 0.98, 0.015, 0.004), (0.02, 0.86, 0.08, 0.03, 0.01), (0.001, 0.7, 0.16, 0.08, 0.06),
    (0.01, 0.55, 0.3, 0.1, 0.04),
)  # fmt: skip
FIELDS = 0.45, 0.54, 0.01  #: without a body behind them, which may be control
EARLY_NS = 300 * MS  #: of a connection: its SETTINGS are acknowledged somewhere, and programs begin with several requests at once
UNLIKELY = 0.5  #: a way to read the client against which something speaks
MERGED = 0.05  #: records that hold two
LONGER = 60  #: the fields of first answers are less than so many bytes longer
FIRST_LONGER = 0.3  #: share of merged records that hold such fields
NOISE, UPDATE = 1e-7, 3.0  #: a record that belongs to no request; WINDOW_UPDATEs behind a body
LEFT = 1e-9  #: a request in progress when its connection is closed
ENDS_ELSE = 0.02  #: an answer without an empty frame of a server that ends answers with one, before anything is known
LEAST_ELSE = 1e-3  #: the same, at least, and WINDOW_UPDATEs that fit no number of bodies
TAIL = 5e-4  #: an empty frame ends no answer, before anything is known
#: That what is set beforehand of how many requests these begin is worth; how much more seldom it is learned to be, at most; and more often, behind the first.
WRITES, LEAST_MANY, MOST_MANY = 5.0, 0.2, 10.0
SEEN_BEFORE = 5.0  #: empty frames that this is worth, and short answers that :data:`MERGED` is
WAITS_NS = 500 * MS  #: a request, for its answer to begin, before anything is known
SLOWER = 3  #: times that one may wait longer than usual before that speaks against it: streams take longer to begin than refusals
#: of the number of requests, and of one where streams may have been broken off, or that the client alone makes unlikely
SURE, SURER = 0.985, 0.999
HALF = 0.5  #: the same, at least
CLEAR = 0.95  #: the number, by the client alone, if it sends fields in records of their own
OF_CLIENT = 0.02  #: part that the client alone has in the number, at least
WORTH = 10  #: records of the server that weigh as much as the client
CONTRADICTED = 0.01  #: the number that the model finds, by the client alone, if that sends fields in records of their own
LIKELY = 0.9  #: that a number is another than was counted
DISAGREED = 0.5  #: part of the client, if the model finds other numbers than were counted
BEYOND = 5e-4  #: probability that the number is below its interval, or above
OUTSIDE = 0.003  #: probability that a time is before its interval, or behind it
SHORT_BYTES = 4096  #: of short answers, at most
SURE_ALONE = 0.9  #: that no other answer is in progress, for all that was said to be a short one's
MOST_OTHERS = 0.1  #: share of connections that were counted, of which another number is found, for numbers to be certain
USUAL = 0.3  #: share of short answers that have a size; what has another, and might be WINDOW_UPDATEs, is none
MOST_ENDS = 0.5  #: of what looks like an end, for each request, for ends to be few
MOST_SO = 0.5  #: share of requests that are answered with one size at first, for that to be what short answers may be
AGAIN, BEGUN_AT_ONCE, BETTER = 1_000, 10.0, 5.0  #: records at most to learn from twice; first writes of two, three and four; evidence
UNEXPLAINED = 100.0
LEARN_FROM, AGES_FROM = 3_000, 1_500  #: records of the server
ENOUGH, A_FEW = 100, 30  #: the least of these for numbers to be certain, and for intervals
UPDATE_ELSE = 0.02  #: WINDOW_UPDATEs are others than those of bodies, or as many as for others
UPDATE_LARGE = 0.3  #: the same behind a body longer than a frame, and before what was sent first is told apart from SETTINGS
ALONE_NS = 60 * MS  #: from a body to the next request, to learn of its WINDOW_UPDATEs
LEAST_SEEN, AS_A_RULE, NEARLY_ALL = 5, 0.75, 0.95
LATER_NS = 20 * MS
RESETS = frozenset((WINDOW_UPDATE, PING + WINDOW_UPDATE))  #: as long as RST_STREAM (RFC 9113 6.4), of which Go sends PING behind
#: How likely such a record breaks off a request, at once behind what the server says and else, before anything is known, and what that is worth.
BROKEN, BROKEN_SEEN = (0.01, 0.05), 2.0
LEAST_BROKEN = 1e-4
STILL_NS, STILL = 150 * MS, 0.02  #: what the server still sends of it, and how likely
MOST_OWED, MOST_MISSED = 6, 0.15
IS_ASIDE = 1.8, 2.0  #: before anything is known, of so many of its size as are no head
PING_ASIDE = 0.4, 2.0  #: the same of what is as long as PING and answers none
MOST = 20_000  #: records of servers on connections that are to be explained, and of all clients; half a millisecond each


CHANGES = {Kind.PIECE: (0, 0), Kind.DONE: (0, -1), Kind.HEAD: (-1, 1), Kind.SHORT: (-1, 0)}
LEARNED = tuple(CHANGES)
#: What the time since a request may tell, at least and at most: requests come beside streams, too, and may come in a rush.
BESIDE = {kind: (0.7, 1.4) if kind in (Kind.PIECE, Kind.DONE) else (0.01, 3.0) for kind in LEARNED}
#: What WINDOW_UPDATEs of the client may tell, at least and at most: some are for the connection, whose window any record may fill.
ECHO = 0.3, 3.0
MOST_TOGETHER = max(SEVERAL.values())
#: records that hold so many, for each that holds one, before anything is known
TOGETHER = {Kind.TWO: 0.1, Kind.THREE: 0.03, Kind.FOUR: 0.01}
ENDING = {Kind.DONE: (End.STREAM,), Kind.ENDS: (End.STREAM,) * 2, Kind.SHORT: (End.SHORT,)} | {
    kind: (End.SHORT,) * n for kind, n in SEVERAL.items()
}


class Look(NamedTuple):
    """What is seen of one record: size, places in :data:`SINCE_NS` and :data:`GAP_NS`, and how many WINDOW_UPDATEs of the client follow it at once."""

    size: int
    since: int
    gap: int
    echo: int
    empty: bool


class Talk(NamedTuple):
    """A connection: what was said, when it or the capture ended, whether it was the capture, what looks like ends, and ways to read the client that
    were weighed, if there are such.  guessed : nothing is known of how its client writes (:func:`netlens.chains.grammar.guess`)."""

    said: Said
    over_ns: int
    cut: bool
    ends: dict[int, End]
    told: Sequence[grammar.Told] = ()
    guessed: bool = False

    @property
    def best(self) -> Reading:
        """The likeliest way to read the client; else the one that shows most requests, of those against which nothing speaks."""
        if self.told:
            return self.told[0].reading
        likely = [each for each in self.said.readings if each.likely] or self.said.readings[:1]
        return max(likely, key=lambda each: len(each.streams))

    @property
    def ways(self) -> list[grammar.Told]:
        """To read the client: where fields and bodies are written at once, by what its writes may be, and by pauses alone."""
        if not self.said.bodies or self.told:
            return list(self.told)
        plain = [grammar.Told(read, 0.0 if read.likely else log(UNLIKELY)) for read in self.said.readings if read.streams]
        return [*self.told, *plain]

    def looks(self, starts: Sequence[int]) -> list[Look]:
        """Of the server's answers, by place."""
        behind = [*(r.ts for r in self.said.answers[1:]), self.over_ns]
        return [_look(r, starts, ns, self._echo(r.ts, ns)) for r, ns in zip(self.said.answers, behind, strict=False)]

    def _echo(self, ns: int, behind_ns: int) -> int:
        """How many WINDOW_UPDATEs the client sends at once behind a record; curl sends two as an answer begins."""
        mine = self.said.mine
        at = bisect_left(mine, ns, key=attrgetter("ts"))
        until = min(behind_ns, ns + ECHO_NS)
        return next((min(n, MOST_ECHOED) for r in mine[at : at + 2] if r.ts < until and (n := asked.updates(r))), 0)

    def resets(self, starts: int) -> list[tuple[Record, bool]]:
        """What may be the client's RST_STREAM, and whether it comes at once behind what the server says, as WINDOW_UPDATEs do: these are left out where there
        are more than requests."""
        times = [r.ts for r in self.said.answers]
        out = []
        for r in self.said.mine:
            if r.size in RESETS:
                at = bisect_right(times, r.ts)
                out.append((r, at > 0 and r.ts - times[at - 1] <= PROMPT_NS))
        return out if sum(prompt for _, prompt in out) <= starts else [each for each in out if not each[1]]

    def asides(self, starts: Sequence[int]) -> list[Look]:
        """Of what may be its WINDOW_UPDATEs, or heads as short."""
        times = [*(r.ts for r in self.said.answers), NEVER]
        return [_look(r, starts, min(times[bisect_left(times, r.ts)], max(self.over_ns, r.ts))) for r in self.said.updates]


def _look(r: Record, starts: Sequence[int], behind_ns: int, echo: int = 0) -> Look:
    """``behind_ns``: when the server says more."""
    at = bisect_right(starts, r.ts)
    size = r.size if r.size < EXACT else EXACT + int(2 * log2(r.size / EXACT))
    since = bisect_left(SINCE_NS, r.ts - starts[at - 1] if at else NEVER)
    return Look(size, since, bisect_left(GAP_NS, max(behind_ns - r.ts, 0)), echo, r.size == EMPTY)


class Updates(NamedTuple):
    """WINDOW_UPDATEs that a server sends for each body: how many (0: not as a rule), how often none shows, how long after it at most, and how often there are
    others."""

    each: int = 0
    missed: float = 1.0
    within_ns: int = 0
    other: float = 1.0

    def odds(self, several: int, bodies: int) -> float:
        """How likely ``several`` in one record are those of so many bodies; of a window of the connection, one is enough for all."""
        fits = bodies and several in (self.each * bodies, (self.each - 1) * bodies + 1)
        return 1 - self.other if fits else self.other


def updates(talks: Sequence[Talk]) -> Updates:
    """What a server sends for bodies, by those behind which no other request begins for a while."""
    seen: Counter[int] = Counter()
    delays = []
    for talk in talks:
        streams = talk.best.streams
        for before, each, after in zip([None, *streams], streams, [*streams[1:], None], strict=False):
            until = min(after.begin_ns if after is not None else talk.over_ns, each.sent_ns + UPDATE_NS)
            alone = (after is None or after.begin_ns - each.sent_ns >= ALONE_NS) and (
                before is None or each.begin_ns - before.sent_ns >= ALONE_NS
            )
            if not alone or each.up >= FULL or each.begin_ns <= talk.said.settings_ns:
                continue
            those = [r for r in talk.said.updates if each.sent_ns < r.ts < until and asked.updates(r)]
            seen[sum(map(asked.updates, those))] += 1
            delays += [those[-1].ts - each.sent_ns] if those else []
    told = seen.total() - seen[0]
    each_, n = max(seen.items(), key=lambda item: (item[0] > 0, item[1]), default=(0, 0))
    if not each_ or n < LEAST_SEEN or n < AS_A_RULE * told or seen[0] > MOST_MISSED * seen.total():
        return Updates()
    missed, others = seen[0], told - n - seen[2 * each_]
    missed_, other = (max((k + UPDATE_ELSE) / (seen.total() + 1), LEAST_ELSE) for k in (missed, others))
    return Updates(each_, missed_, 2 * sorted(delays)[int(len(delays) * NEARLY_ALL)] + LATER_NS, other)


@dataclass
class Model:
    """What the records of each kind look like. ``shown``: answers end with empty frames."""

    shown: bool
    smoothing: float = AT_FIRST
    kinds: dict[Kind, float] = field(default_factory=lambda: dict.fromkeys(LEARNED, 1.0))
    values: tuple[dict[Kind, Counter[int]], ...] = field(
        default_factory=lambda: tuple({k: Counter() for k in LEARNED} for _ in Look._fields[:-1])
    )
    usual: tuple[Counter[int], ...] = field(default_factory=lambda: tuple(Counter() for _ in Look._fields[:-1]))
    known: dict[Look, dict[Kind, float]] = field(default_factory=dict)
    may_be: dict[tuple[Look, int, int], list[Change]] = field(default_factory=dict)
    empty: Counter[Kind] = field(default_factory=Counter)  #: what empty frames were
    several: Counter[Kind] = field(default_factory=Counter)  #: records that hold several short answers, or one where they might
    waited_ns: float = float(WAITS_NS)  #: all requests, for their answers to begin
    begun: float = 1.0  #: these
    #: requests in one write, the first and others
    begins: tuple[Counter[int], Counter[int]] = field(default_factory=lambda: (Counter(), Counter()))
    asides: Counter[int] = field(default_factory=Counter)  #: of a size, that are no heads
    updates: Updates = field(default_factory=Updates)
    #: what may be RST_STREAM and is, and is not
    broken: tuple[list[float], list[float]] = field(default_factory=lambda: ([0.0, 0.0], [0.0, 0.0]))
    records: int = 0  #: of servers, that were learned from
    weighed: list[int] = field(default_factory=lambda: [0])  #: states, by this model and those before it
    most_states: int = MOST_STATES  #: behind a record
    ages: whose.Ages = field(default_factory=whose.Ages)  #: of requests as they are answered

    @property
    def of_client(self) -> float:
        """Part that the client alone has in the number of requests: the fewer records, the less is known of the server."""
        return max(OF_CLIENT, WORTH / (self.records + WORTH))

    def breaks(self, prompt: bool) -> float:
        """How likely what may be RST_STREAM is."""
        was, no = self.broken[not prompt]
        return max((was + BROKEN[not prompt] * BROKEN_SEEN) / (was + no + BROKEN_SEEN), LEAST_BROKEN)

    def count(self, look: Look) -> None:
        for at, value in enumerate(look[:-1]):
            self.usual[at][value] += 1

    def add(self, look: Look, kind: Kind, weight: float = 1.0) -> None:
        if look.empty:
            self.empty[kind] += weight  # type: ignore[assignment]
        elif kind == Kind.ASIDE:
            self.asides[look.size] += weight  # type: ignore[assignment]
        if kind in self.kinds:
            self.kinds[kind] += weight
            for at, value in enumerate(look[:-1]):
                self.values[at][kind][value] += weight  # type: ignore[assignment]

    def changes(self, look: Look, state: State) -> Sequence[Change]:
        """What a record may be; only whether so many wait, and are answered in part, matters."""
        waiting, answered = min(state[1], MOST_TOGETHER), min(state[2], 2)
        key = look, waiting, answered
        if key not in self.may_be:
            self.may_be[key] = _changes(waiting, answered, look, self)
        return self.may_be[key]

    def odds(self, look: Look) -> dict[Kind, float]:
        """How much likelier a record of each kind looks so than any record does."""
        if look not in self.known:
            self.known[look] = self._odds(look)
        return self.known[look]

    def _odds(self, look: Look) -> dict[Kind, float]:
        times = {
            kind: min(max(self._of(1, look.since, kind), BESIDE[kind][0]), BESIDE[kind][1])
            * self._of(2, look.gap, kind)
            * min(max(self._of(3, look.echo, kind), ECHO[0]), ECHO[1])
            for kind in LEARNED
        }
        sizes = {kind: self._of(0, look.size, kind) for kind in LEARNED}
        several = dict.fromkeys(SEVERAL, 0.02)
        if look.size < EXACT:
            usual = self._usual(0, look.size)
            for kind in (Kind.SHORT, Kind.DONE):
                sizes[kind] = (1 - MERGED) * sizes[kind] + MERGED * self._merged[kind][look.size] / usual
            several = {kind: 0.02 + self._merged[kind][look.size] / usual for kind in SEVERAL}
        out = {kind: sizes[kind] * times[kind] for kind in LEARNED}
        out |= {kind: self._together(kind) * several[kind] * times[Kind.SHORT] for kind in SEVERAL}
        if self.shown and not look.empty:
            out |= {kind: out[kind] * self.ends_else for kind in ENDING if kind in out}
        heads = self._merged[Kind.HEADS][look.size] / self._usual(0, look.size) if look.size < EXACT else 0.0
        out[Kind.HEADS] = MERGED * (0.02 + heads) * times[Kind.HEAD]
        out[Kind.ENDS] = MERGED * self.empty[Kind.DONE] / self.kinds[Kind.DONE] / self._usual(0, look.size) * times[Kind.DONE]
        update = WINDOW_UPDATE < look.size < EXACT and look.size % WINDOW_UPDATE == 0 and look.since <= SOON
        update = update and self.values[0][Kind.SHORT][look.size] < USUAL * self.kinds[Kind.SHORT]
        out[Kind.ASIDE] = self.tail if look.empty else UPDATE if update else NOISE
        return out

    @cached_property
    def tail(self) -> float:
        """How likely an empty frame ends no answer."""
        return (self.empty[Kind.ASIDE] + TAIL * SEEN_BEFORE) / (self.empty.total() + SEEN_BEFORE)

    @cached_property
    def beginning(self) -> tuple[list[float], list[float]]:
        """How much more often than as a rule first writes, and others, begin one request, two, three or four, of clients that write fields and body at once."""
        out = []
        for seen, usual, most in zip(self.begins, (grammar.FIRST_MANY, grammar.MANY), (NEVER, MOST_MANY), strict=True):
            total = sum(n for many, n in seen.items() if many <= len(usual))
            out.append([min(max((seen[n] + WRITES * p) / (total + WRITES) / p, LEAST_MANY), most) for n, p in enumerate(usual, 1)])
        return out[0], out[1]

    def aside(self, size: int) -> float:
        """How likely what has the size of WINDOW_UPDATEs is no head."""
        known, of = PING_ASIDE if size == PING else IS_ASIDE
        return (self.asides[size] + known) / (self.asides[size] + self.values[0][Kind.HEAD][size] + of)

    @cached_property
    def ends_else(self) -> float:
        """How often an answer ends without an empty frame, of a server that ends answers with one."""
        shown = self.empty[Kind.DONE]
        return max(
            (self.kinds[Kind.DONE] + self.kinds[Kind.SHORT] - 2 - shown + ENDS_ELSE * SEEN_BEFORE)
            / (self.kinds[Kind.DONE] + self.kinds[Kind.SHORT] + SEEN_BEFORE),
            LEAST_ELSE,
        )

    def _together(self, kind: Kind) -> float:
        """How many records hold so many short answers, for each that holds one where it might."""
        return (self.several[kind] + TOGETHER[kind] * SEEN_BEFORE) / (self.several[Kind.SHORT] + SEEN_BEFORE)

    def _usual(self, at: int, value: int) -> float:
        return (self.usual[at][value] + 0.5) / (self.usual[at].total() + 10)

    def _of(self, at: int, value: int, kind: Kind) -> float:
        """What is seen once may be a mistake, and tells how much has not been seen (Good and Turing): it is given to what looks like any."""
        usual = self._usual(at, value)
        seen = self.values[at][kind]
        spare = self.smoothing + self._once[at][kind]
        known = seen[value] if seen[value] > OFTEN else 0.0
        return (known + spare * usual) / (self.kinds[kind] + self.smoothing) / usual

    @cached_property
    def _once(self) -> list[dict[int, float]]:
        return [{kind: sum(n for n in seen.values() if n <= OFTEN) for kind, seen in of.items()} for of in self.values]

    @cached_property
    def _merged(self) -> dict[Kind, Counter[int]]:
        """Share of each size among records that hold two: WINDOW_UPDATE, a piece or a head besides, or two short answers."""
        share = {kind: {v: n / self.kinds[kind] for v, n in self.values[0][kind].items() if n > OFTEN and v < EXACT} for kind in LEARNED}
        update = {WINDOW_UPDATE: 1.0}
        out: dict[Kind, Counter[int]] = defaultdict(Counter)
        for kind, one, other, part in (
            (Kind.SHORT, share[Kind.SHORT], update, 0.3), (Kind.DONE, share[Kind.DONE], update, 0.3),
            (Kind.SHORT, share[Kind.SHORT], share[Kind.PIECE], 0.7),
            (Kind.DONE, share[Kind.DONE], share[Kind.PIECE], 0.7), (Kind.TWO, share[Kind.SHORT], share[Kind.SHORT], 1.0),
            (Kind.HEADS, share[Kind.HEAD], share[Kind.HEAD], 1.0),
        ):  # fmt: skip
            for v, p in one.items():
                for w, q in other.items():
                    if v + w < EXACT:
                        out[kind][v + w] += part * p * q  # type: ignore[assignment]
        for kind, more in ((Kind.TWO, Kind.THREE), (Kind.THREE, Kind.FOUR)):
            for v, p in list(out[kind].items()):
                for w, q in share[Kind.SHORT].items():
                    if v + w < EXACT:
                        out[more][v + w] += p * q  # type: ignore[assignment]
        for kind in SEVERAL:
            for v, p in list(out[kind].items()):
                for bytes_more in range(1, LONGER):
                    out[kind][v + bytes_more] += FIRST_LONGER * p / LONGER  # type: ignore[assignment]
        return out


class Counted(NamedTuple):
    """Requests of a connection, and of how many the number is: at least and at most.  further : spans (start, end) of time in which one more each may have been
    in progress, of those beyond ``streams``."""

    streams: list[Stream]
    least: int
    most: int
    further: Sequence[tuple[int, int]] = ()

    @property
    def exact(self) -> bool:
        return self.least == self.most


Times = list[tuple[int, int, int]]


class Found(NamedTuple):
    """One way to read a client, explained. ``evidence`` is a logarithm.  numbers : probability of each number of requests.  behind : of each state behind each
    event.  kinds : of what each event is."""

    evidence: float
    numbers: dict[int, float]
    walk: Walk
    behind: list[dict[State, float]]
    kinds: list[dict[int, float]]

    @property
    def events(self) -> list[Event]:
        return self.walk.events


def learn(talks: Sequence[Talk], shown: bool, sure: Sequence[bool]) -> Model:
    """What records look like; first from connections that are ``sure`` of their requests. Where few records leave numbers in doubt, learning begins again with
    first writes of several requests, as it ends where it began if little speaks against that; what explains the records better is taken."""
    chosen: list[Talk] = []
    records = 0
    for talk, _ in sorted(zip(talks, sure, strict=True), key=lambda each: not each[1]):
        if records < LEARN_FROM:
            chosen.append(talk)
            records += len(talk.said.answers)
    model = _first(chosen, shown, records)
    rounds: Sequence[float] = SURE_OF_KIND
    if not shown and (short := _short_perhaps(chosen, model)):
        # the one that explains the records better goes on
        (one, of_one, _), (other, of_other, _) = (
            _learned(chosen, each, rounds[:1]) for each in (model, _first(chosen, shown, records, short, model.weighed))
        )
        model = other if sum(b - a for a, b in zip(of_one, of_other, strict=False)) > BETTER else one
        rounds = rounds[1:]
    model, of_one, doubtful = _learned(chosen, model, rounds)
    if doubtful and records <= AGAIN and model.weighed[0] <= FOR_ANOTHER and any(talk.best.together and talk.best.many for talk in chosen):
        again = _first(chosen, shown, records, weighed=model.weighed)
        again.begins = (Counter(dict.fromkeys(range(2, len(grammar.FIRST_MANY) + 1), BEGUN_AT_ONCE)), Counter())
        other, of_other, _ = _learned(chosen, again)
        model = other if sum(of_other) > sum(of_one) + BETTER else model
    model.smoothing = SMOOTHING
    events = sum((len(read.streams) + len(talk.said.answers)) for talk in talks for read, _ in talk.ways)
    walks, before = [], model.weighed[0]
    for talk, so_far in zip(chosen, accumulate((len(talk.said.answers) for talk in chosen), initial=0), strict=False):
        if (
            so_far < AGES_FROM
            and model.weighed[0] - before <= FOR_A_ROUND
            and (walk := _forward(talk, talk.best, model, SELDOM)) is not None
        ):
            walks.append((walk, backs(walk), partial(_size, talk, walk)))
    model.ages = whose.learn(walks)
    model.most_states = min(max((MOST_WEIGHED - model.weighed[0]) // max(events, 1), LEAST_STATES), MOST_STATES)
    return model


def _first(talks: Sequence[Talk], shown: bool, records: int, short: range = range(0), weighed: list[int] | None = None) -> Model:
    """short : sizes of first records that are taken for short answers, though nothing shows where these end.  weighed : states so far."""
    model = _by_ends(talks, shown, short)
    model.records = records
    model.updates = updates(talks)
    model.weighed = weighed or model.weighed
    model.kinds[Kind.DONE] = max(model.kinds[Kind.DONE], model.kinds[Kind.HEAD])  # each stream ends somewhere
    return model


def _short_perhaps(talks: Sequence[Talk], model: Model) -> range:
    """Sizes near that of the first record that most requests are answered with soon, if no short answers are known and few ends: requests that are refused
    all the time beside streams show no end."""
    seen: Counter[int] = Counter()
    requests = 0
    for talk in talks:
        starts = [each.begin_ns for each in talk.best.streams]
        requests += len(starts)
        firsts = dict.fromkeys(bisect_left(talk.said.answers, ns, key=attrgetter("ts")) for ns in starts)
        looks = talk.looks(starts)
        seen.update(looks[k].size for k in firsts if k < len(looks) and looks[k].since <= SOON and LEAST_SHORT <= looks[k].size < EXACT)
    size = max(seen, key=lambda size: seen[size], default=0)
    near = range(size - whose.ALIKE_BYTES, size + whose.ALIKE_BYTES + 1)
    known = model.kinds[Kind.SHORT] >= LEAST_SEEN or sum(len(talk.ends) for talk in talks) >= MOST_ENDS * requests
    return range(0) if known or sum(seen[each] for each in near) < MOST_SO * requests else near


def _learned(talks: Sequence[Talk], model: Model, rounds: Sequence[float] = SURE_OF_KIND) -> tuple[Model, list[float], bool]:
    """The model after some rounds, how well the one before it explains each of the first connections (logarithms), and whether it leaves a number in doubt."""
    for sure_of in rounds:
        after = Model(model.shown, updates=model.updates, weighed=model.weighed, records=model.records)
        evidence: list[float] = []
        doubtful = False
        before, few = model.weighed[0], 0
        for talk in talks:
            few += model.weighed[0] - before <= FOR_A_ROUND
            read = talk.best
            starts = [each.begin_ns for each in read.streams]
            looks = [[], talk.looks(starts), talk.asides(starts)]
            resets = talk.resets(len(starts))
            for look in (*looks[1], *looks[2]):
                after.count(look)
            found = explain(talk, read, model, SELDOM)
            evidence.append(-UNEXPLAINED if found is None else found.evidence)
            if found is None:
                continue
            doubtful = doubtful or max(found.numbers.values(), default=1.0) < SURE
            might = 0.0  # several requests wait
            for event, kinds, states in zip(found.events, found.kinds, found.behind, strict=True):
                if event.way == 0:
                    after.begins[event.at > 0].update({~kind: p for kind, p in kinds.items() if ~kind})
                    continue
                if event.way == 3:
                    of = after.broken[not resets[event.at][1]]
                    was = kinds.get(Kind.BROKEN, 0.0)
                    of[0], of[1] = of[0] + was, of[1] + 1 - was
                    continue
                for each, p in kinds.items():
                    kind = Kind(each)
                    if p > sure_of:
                        after.add(looks[event.way][event.at], kind, p)
                    if kind == Kind.SHORT or kind in SEVERAL:
                        after.several[kind] += p * might  # type: ignore[assignment]
                might = sum(p for (_, waiting, *_), p in states.items() if waiting > 1)
            for event, behind, states in zip(found.events, found.events[1:], found.behind, strict=False):
                after.waited_ns += (behind.ns - event.ns) * sum(p * waiting for (_, waiting, *_), p in states.items())
            after.begun += sum(n * p for n, p in found.numbers.items())
        model, talks = after, talks[:few]
    return model, evidence, doubtful


def _by_ends(talks: Iterable[Talk], shown: bool, short: range) -> Model:
    """By what looks like an end, and ``short`` answers by their first records."""
    model = Model(shown)
    for talk in talks:
        starts = [each.begin_ns for each in talk.best.streams]
        before = 0
        led = False
        looks = talk.looks(starts)
        for look in talk.asides(starts):
            model.count(look)
            if look.size == PING:
                model.add(look, Kind.HEAD, 1 - PING_ASIDE[0] / PING_ASIDE[1])
        for k, look in enumerate(looks):
            model.count(look)
            at = bisect_right(starts, talk.said.answers[k].ts)
            first, before = at > before, at
            end = talk.ends.get(k)
            ended, led = led, False
            tail = not shown and look.gap <= AT_ONCE and k + 1 < len(looks) and looks[k + 1].empty
            if look.empty and not shown:
                model.add(look, Kind.DONE)
            elif first and look.size in short:
                model.add(look, Kind.SHORT)
            elif end is None or tail:
                led = first and k + 1 < len(looks) and talk.ends.get(k + 1) in (End.SHORT, End.PERHAPS) and look.gap <= AT_ONCE
                model.add(look, Kind.HEAD if first else Kind.PIECE)
            elif ended:
                model.add(look, Kind.DONE)
            elif end == End.PERHAPS:
                model.add(look, Kind.SHORT, 0.5)
                model.add(look, Kind.PIECE, 0.5)
            elif end == End.SHORT and look.size < LEAST_SHORT and not look.empty:
                model.add(look, Kind.HEAD)
            else:
                model.add(look, Kind.SHORT if end == End.SHORT or (end == End.UNKNOWN and first and not shown) else Kind.DONE)
    return model


def explain(talk: Talk, read: Reading, model: Model, negligible: float = NEGLIGIBLE) -> Found | None:
    """Weigh all that may have been said but for what is ``negligible``; None where nothing fits."""
    walk = _forward(talk, read, model, negligible)
    return None if walk is None else _backward(walk)


def _forward(talk: Talk, read: Reading, model: Model, negligible: float) -> Walk | None:
    """How likely each state is behind each event, by what was said until then."""
    starts = [each.begin_ns for each in read.streams]
    looks = [[], talk.looks(starts), talk.asides(starts)]
    records = talk.said.updates
    resets = talk.resets(len(starts))
    events = sorted(
        [
            *(Event(ns, 0, k) for k, ns in enumerate(starts)),
            *(Event(r.ts, 1, k) for k, r in enumerate(talk.said.answers)),
            *(Event(r.ts, 2, k) for k, r in enumerate(records) if asked.updates(r) or r.size == PING),
            *(Event(r.ts, 3, k) for k, (r, _) in enumerate(resets)),
        ]
    )
    before: dict[State, float] = {(0, 0, 0, 0): 1.0}
    forward = [before]
    steps: list[Step] = []
    evidence = 0.0
    wait_ns = SLOWER * model.waited_ns / model.begun
    ns = events[0].ns if events else 0
    owed = model.updates if read.together else Updates()  # others show where each body ends
    sent_ns = large_ns = reset_ns = -NEVER
    for event in events:
        still = 1 / (1 + (event.ns - ns) / wait_ns)  # that one waits for so long
        ns = event.ns
        late = ns - sent_ns > owed.within_ns
        changes: Changes
        if event.way == 0:
            each = read.streams[event.at]
            owes = owed.each > 0 and each.up < FULL and ns > talk.said.settings_ns
            changes = partial(_begins, _many(read, event.at, model), owes)
            sent_ns = max(sent_ns, each.sent_ns)
            large_ns = large_ns if owes else sent_ns
        elif event.way == 1:
            changes = partial(model.changes, looks[1][event.at])
            if ns - reset_ns <= STILL_NS:
                changes = partial(_still, changes)
        elif event.way == 3:
            changes, reset_ns = partial(_breaks, model.breaks(resets[event.at][1])), ns
        else:
            changes = partial(_asides, looks[2][event.at], asked.updates(records[event.at]), model, owed, ns - large_ns <= UPDATE_NS)
        step = Step(changes, [still**n for n in range(MOST_WAITING + 1)], owed.missed if late else None)
        then: dict[State, float] = defaultdict(float)
        for state, p in before.items():
            (extra, waiting, answered, owing), kept, some = step.of(state)
            p *= kept
            for more, wait, answer, owe, q, _ in some:
                then[extra + more, waiting + wait, answered + answer, owing + owe] += p * q
        total = sum(then.values())
        if total <= 0.0:
            return None
        evidence += log(total)
        steps.append(step)
        before = {state: p / total for state, p in then.items() if p > negligible * total}
        if len(before) > model.most_states:
            before = dict(nlargest(model.most_states, before.items(), key=itemgetter(1)))
        forward.append(before)
        model.weighed[0] += len(before)
        if model.weighed[0] > MOST_WEIGHED:
            return None
    open_ = [1.0 if talk.cut else LEFT ** (state[1] + state[2]) * owed.missed ** state[3] for state in before]
    return Walk(evidence, len(starts), events, forward, steps, dict(zip(before, open_, strict=True)))


def _many(read: Reading, k: int, model: Model) -> Sequence[float]:
    """How likely what looks like a request is none, one, or several."""
    if read.many and read.together:
        none, *some = read.many[k]
        return [none, *(p * more for p, more in zip_longest(some, model.beginning[k > 0][: len(some)], fillvalue=1.0))]
    if read.many:
        return read.many[k]
    each = read.streams[k]
    if read.together and each.up >= 2 * BODY:
        return IN_PARTS if each.parts > 1 else IN_BURST if k else FIRST_BURST
    if each.up < BODY:
        return FIELDS
    return ONE_EARLY if not read.together and each.begin_ns - read.streams[0].begin_ns <= EARLY_NS else ONE


def _begins(many: Sequence[float], owes: bool, state: State) -> list[Change]:
    extra, waiting, _, owed = state
    return [
        (n - 1, n, 0, min(n * owes, MOST_OWED - owed), p, begun(n))
        for n, p in enumerate(many)
        if waiting + n <= MOST_WAITING and LEAST_EXTRA <= extra + n - 1 <= MOST_EXTRA
    ]


def _breaks(p: float, state: State) -> list[Change]:
    """What may be RST_STREAM of one that waits or is answered in part, or is not."""
    _, waiting, answered, _ = state
    if not waiting and not answered:
        return [(0, 0, 0, 0, 1.0, Kind.ASIDE)]
    out: list[Change] = [(0, 0, 0, 0, 1 - p, Kind.ASIDE)]
    for n, change in ((waiting, (0, -1, 0, 0)), (answered, (0, 0, -1, 0))):
        if n:
            out.append((*change, p * n / (waiting + answered), Kind.BROKEN))
    return out


def _still(changes: Changes, state: State) -> list[Change]:
    """The same shortly behind RST_STREAM: what the server says may be of a request that was broken off."""
    return [*changes(state), (0, 0, 0, 0, STILL, Kind.ASIDE)]


def _asides(look: Look, several: int, model: Model, of: Updates, large: bool, state: State) -> list[Change]:
    """What a record of the size of WINDOW_UPDATEs may be: these, of bodies or not, or the head of an answer.

    large : it may be of a body that is not counted.
    """
    _, waiting, answered, owed = state
    some: list[tuple[int, float, Kind]] = [(0, model.aside(look.size), Kind.ASIDE)]
    if waiting:
        total = model.kinds[Kind.HEAD] + model.kinds[Kind.SHORT] + (model.kinds[Kind.PIECE] + model.kinds[Kind.DONE] if answered else 0.0)
        some.append((1, model.kinds[Kind.HEAD] / total * model.odds(look)[Kind.HEAD], Kind.HEAD))
    for_bodies = (
        [(n, of.odds(several, n) if n or not large else UPDATE_LARGE) for n in range(min(owed, several) + 1)] if of.each else [(0, 1.0)]
    )
    return [(0, -heads, heads, -n, q * p, kind) for heads, q, kind in some for n, p in for_bodies]


def _changes(waiting: int, answered: int, look: Look, model: Model) -> list[Change]:
    """What a record may be where so many wait, and are answered in part."""
    odds, kinds = model.odds(look), model.kinds
    some = [*((Kind.PIECE, Kind.DONE) if answered else ()), *((Kind.HEAD, Kind.SHORT) if waiting else ())]
    total = sum(kinds[kind] for kind in some)
    out: list[Change] = [(0, 0, 0, 0, odds[Kind.ASIDE], Kind.ASIDE)]
    for kind in some:
        if not look.empty or kind == Kind.DONE:
            part = 1 - model.tail if look.empty else 1.0
            out.append((0, *CHANGES[kind], 0, kinds[kind] / total * odds[kind] * part, kind))
    if answered > 1 and look.size == 2 * EMPTY:
        out.append((0, 0, -2, 0, kinds[Kind.DONE] / total * odds[Kind.ENDS], Kind.ENDS))
    if waiting > 1 and not look.empty:
        out.append((0, -2, 2, 0, kinds[Kind.HEAD] / total * odds[Kind.HEADS], Kind.HEADS))
    for kind, n in SEVERAL.items():
        if waiting >= n and not look.empty:
            out.append((0, -n, 0, 0, kinds[Kind.SHORT] / total * odds[kind], kind))
    return out


def _backward(walk: Walk, number: int | None = None) -> Found | None:
    """Probability of each state behind each event, and of what each event is, by all that was said; of all ways through it, or those with this ``number`` of
    requests."""
    forward, steps = walk.forward, walk.steps
    back = {state: q for state, q in walk.last.items() if number is None or walk.starts + state[0] == number}
    total = sum(forward[-1][state] * q for state, q in back.items())
    if total <= 0.0:
        return None
    evidence = walk.evidence + log(total)
    behind: list[dict[State, float]] = []
    kinds: list[dict[int, float]] = []
    for i in range(len(steps) - 1, -1, -1):
        post = {state: p * back[state] for state, p in forward[i + 1].items() if state in back}
        total = sum(post.values())
        behind.append({state: p / total for state, p in post.items() if p > NEGLIGIBLE * total})
        earlier: dict[State, float] = {}
        tally: dict[int, float] = defaultdict(float)
        for state, p in forward[i].items():
            (extra, waiting, answered, owing), kept, some = steps[i].of(state)
            p, so_far = p * kept, 0.0
            for more, wait, answer, owe, q, kind in some:
                after = back.get((extra + more, waiting + wait, answered + answer, owing + owe))
                if after is not None:
                    so_far += q * after
                    tally[kind] += p * q * after
            if so_far:
                earlier[state] = so_far * kept
        total = sum(tally.values())
        kinds.append({kind: p / total for kind, p in tally.items()} if total else {})
        most = max(earlier.values())
        back = {state: p / most for state, p in earlier.items()}
    numbers: dict[int, float] = defaultdict(float)
    for state, p in (behind[0] if behind else {}).items():
        numbers[walk.starts + state[0]] += p
    return Found(evidence, numbers, walk, behind[::-1], kinds[::-1])


def backs(walk: Walk, number: int | None = None) -> list[dict[State, float]]:
    """How likely all that follows is, in each state before the first event and behind each; as a rule to each other."""
    back = {state: q for state, q in walk.last.items() if number is None or walk.starts + state[0] == number}
    out = [back]
    for i in range(len(walk.steps) - 1, -1, -1):
        earlier: dict[State, float] = {}
        for state in walk.forward[i]:
            (extra, waiting, answered, owing), kept, some = walk.steps[i].of(state)
            so_far = 0.0
            for more, wait, answer, owe, q, _ in some:
                so_far += q * back.get((extra + more, waiting + wait, answered + answer, owing + owe), 0.0)
            if so_far:
                earlier[state] = so_far * kept
        most = max(earlier.values(), default=1.0)
        back = {state: p / most for state, p in earlier.items()}
        out.append(back)
    return out[::-1]


def _size(talk: Talk, walk: Walk, i: int) -> int:
    """Of the record that an event is."""
    event = walk.events[i]
    return (talk.said.answers if event.way == 1 else talk.said.updates)[event.at].size if event.way in (1, 2) else 0


def disagrees(talks: Sequence[Talk], counted: Sequence[int], model: Model) -> dict[int, tuple[int, bool]]:
    """Numbers of requests that what was learned finds, where these are others than were counted without it, which is unlikely, and whether they are next to
    certain: of the first connections, as many as it is learned from, by place."""
    before = accumulate((len(talk.said.answers) for talk in talks), initial=0)
    some = [(talk, n) for talk, n, records in zip(talks, counted, before, strict=False) if records < LEARN_FROM]
    out = {}
    for k, (talk, n) in enumerate(some):
        if of := _weighed(talk, model):
            number, p, _ = _number(of)
            if number != n and (p >= SURE or sum(each.get(n, 0.0) for each in _numbers(of)) <= 1 - LIKELY):
                out[k] = number, p >= SURE
    return out


def requests(talk: Talk, model: Model | None, *, agreed: bool) -> Counted | None:
    """Requests of a connection: exactly, where their number is next to certain, else as many as are likeliest, and between which numbers they are. None
    where the client cannot be read. Without a ``model`` of the server the client alone tells.  agreed : the model finds the numbers that were counted
    without it."""
    found = [] if model is None else _weighed(talk, model)
    if model is not None and found and not talk.guessed:
        number, p, at = _number(found)
        read = found[at][0].reading
        may_reset = read.together and any(r.size == WINDOW_UPDATE for r in talk.said.mine)
        alone = client_numbers(talk.ways, model).get(number, 0.0)
        few = model.records < ENOUGH
        against = may_reset or few or (not read.together and alone < CLEAR)
        sure = p >= SURER - (0.0 if against else max(2 * alone - 1, 0.0)) * (SURER - SURE)
        sure = sure and (read.together or alone >= HALF) and (not few or (1 - model.of_client) * p + model.of_client * alone >= SURE)
        if agreed and sure and (exact := _exact(talk, found[at], number, model)) is not None:
            return Counted(exact, number, number)
    return _between(talk, found, model, model.of_client if model is not None and agreed and not talk.guessed else DISAGREED)


def either(talk: Talk, model: Model | None, counted: int, number: int) -> Counted | None:
    """Requests of a connection that was counted, where the model finds another number."""
    found = requests(talk, model, agreed=False)
    if found is None:
        return None
    most = max(found.most, counted, number)
    begin_ns = found.streams[0].begin_ns if found.streams else talk.over_ns
    further = [*found.further, *[(begin_ns, talk.over_ns)] * (most - found.most)]
    least = min(found.least, counted, number)
    for each in found.streams[least:]:
        each.doubt_ns = (each.doubt_ns[0], max(talk.over_ns - each.begin_ns, 0), *each.doubt_ns[2:])
    return Counted(found.streams, least, most, further)


Weighed = list[tuple[grammar.Told, Found]]  #: ways to read the client of which one fits, explained


def _weighed(talk: Talk, model: Model) -> Weighed:
    return [(each, one) for each in talk.ways if (one := explain(talk, each.reading, model)) is not None]


def _numbers(found: Weighed) -> list[dict[int, float]]:
    """Probability of each number of requests, by way to read the client; in all 1."""
    most = max(one.evidence + each.weight for each, one in found)
    out = [{n: p * exp(one.evidence + each.weight - most) for n, p in one.numbers.items()} for each, one in found]
    total = sum(sum(of.values()) for of in out)
    return [{n: p / total for n, p in of.items()} for of in out]


def _number(found: Weighed) -> tuple[int, float, int]:
    """The likeliest number of requests by all ways to read the client, its probability, and the place of the likeliest way that has it."""
    of = _numbers(found)
    totals = sum((Counter(each) for each in of), Counter[int]())
    number = max(totals, key=lambda n: totals[n])
    return number, totals[number], max(range(len(of)), key=lambda k: of[k].get(number, 0.0))


def _exact(talk: Talk, weighed: tuple[grammar.Told, Found], number: int, model: Model) -> list[Stream] | None:
    read = weighed[0].reading
    one = _backward(weighed[1].walk, number)
    if one is None or sum(p for state, p in one.behind[-1].items() if state[1] or state[2]) > 1 - SURE:
        return None
    begun, ended = _times(one, number)
    if any(median == len(one.events) for _, median, _ in ended):
        return None
    return _streams(talk, read, one, begun, ended, _answers(talk, weighed[1].walk, model, number))


def _answers(talk: Talk, walk: Walk, model: Model, number: int | None = None) -> whose.Answered:
    return whose.answers(walk, backs(walk, number), partial(_size, talk, walk), model.ages)


def client_numbers(ways: Sequence[grammar.Told], model: Model | None) -> dict[int, float]:
    """Probability of each number of requests by what the client wrote alone, by the ways to read it."""
    out: dict[int, float] = defaultdict(float)
    plain = model or Model(False)
    for each in ways:
        numbers = {0: 1.0}
        for k in range(len(each.reading.streams)):
            many = _many(each.reading, k, plain)
            more: dict[int, float] = defaultdict(float)
            for n, p in numbers.items():
                for begins, q in enumerate(many):
                    more[n + begins] += p * q
            total = sum(more.values())
            numbers = {n: p / total for n, p in more.items() if p > NEGLIGIBLE * total}
        for n, p in numbers.items():
            out[n] += exp(each.weight) * p
    total = sum(out.values())
    return {n: p / total for n, p in out.items()} if total else {}


def _between(talk: Talk, found: Weighed, model: Model | None, of_client: float) -> Counted | None:
    """Requests, as many as are likeliest, with intervals for all that is in doubt. The model may misread a server, so the client alone has the part
    ``of_client`` in it, and all of it where nothing was found."""
    alone = client_numbers(talk.ways, model)
    if not any(alone):
        return None
    of = _numbers(found) if found else []
    share = of_client if of else 1.0
    mixed = sum((Counter(each) for each in of), Counter[int]())
    if mixed and not talk.best.together and alone.get(max(mixed, key=mixed.__getitem__), 0.0) < CONTRADICTED:
        share = 1 - DISAGREED / 2  # where each begins shows, so it is the server that is misread
    numbers = {n: (1 - share) * mixed[n] + share * alone.get(n, 0.0) for n in sorted({*mixed, *alone})}
    least = next(n for n in numbers if sum(p for m, p in numbers.items() if m <= n) > BEYOND)
    most = next(n for n in reversed(numbers) if sum(p for m, p in numbers.items() if m >= n) > BEYOND)
    least, shown = max(least, 1), [n for n in mixed if n and least <= n <= most and mixed[n] > 0.0]
    number = max(shown, key=lambda n: numbers[n], default=0)
    likely = max((n for n in numbers if least <= n <= most), key=lambda n: numbers[n])
    if not number or model is None:
        return _by_client(talk, model, likely, least, most)
    at = max(range(len(of)), key=lambda k: of[k].get(number, 0.0))
    read, one = found[at]
    given = _backward(one.walk, number)
    begun, ended = _times(one, most)
    never = len(one.events)
    if given is not None:  # the median of so many, within what it is for any number
        begun[:number], ended[:number] = (
            [(min(a, b), b, max(b, c)) for (a, *_, c), (_, b, _) in zip(every, those, strict=False)]
            for every, those in zip((begun, ended), _times(given, number), strict=True)
        )
    streams = (
        None
        if any(median == never for _, median, _ in begun[:number])
        else _streams(talk, read.reading, one, begun[:number], ended[:number], _answers(talk, one.walk, model))
    )
    if streams is None:
        return _by_client(talk, model, likely, least, most)
    for each in streams:
        if each.end_ns < 0:  # an end that was missed shows nowhere else
            each.doubt_ns = (*each.doubt_ns[:2], max(talk.over_ns - each.sent_ns, 0), 0)
    for each in streams[least:]:
        each.doubt_ns = (each.doubt_ns[0], max(talk.over_ns - each.begin_ns, 0), *each.doubt_ns[2:])
    ns = [*(event.ns for event in one.events), talk.over_ns]
    further = [
        (ns[early] if early < never else ns[0], ns[late]) for (early, *_), (*_, late) in zip(begun[number:], ended[number:], strict=True)
    ]
    return Counted(streams, least, most, further)


def _by_client(talk: Talk, model: Model | None, number: int, least: int, most: int) -> Counted:
    """The same where nothing is known of answers but that each ends with the connection, or before: as if one came after the other."""
    read = talk.best
    many = [_many(read, k, model or Model(False)) for k in range(len(read.streams))]
    begins = [max(range(len(odds)), key=odds.__getitem__) for odds in many]
    while (more := number - sum(begins)) != 0:  # where one more or less is likeliest
        step = 1 if more > 0 else -1
        gain = [
            (odds[n + step] if 0 <= n + step < len(odds) else 0.0) / max(odds[n], NEGLIGIBLE) for odds, n in zip(many, begins, strict=True)
        ]
        at = max(range(len(gain)), key=gain.__getitem__)
        if gain[at] <= 0.0:
            break
        begins[at] += step
    asked_for = [replace(each, up=each.up // n) for each, n in zip(read.streams, begins, strict=True) for _ in range(n)][:most]
    if not asked_for:
        asked_for = read.streams[:1]
    times = [r.ts for r in talk.said.answers]
    streams = []
    for each, after in zip(asked_for, [*asked_for[1:], None], strict=True):
        at = bisect_left(times, NEVER if after is None else after.begin_ns)
        end_ns = max(times[at - 1] if at else each.sent_ns, each.sent_ns)
        one = replace(each, sizes=[], end_ns=end_ns, answer_ns=end_ns, unsure=True)
        one.doubt_ns = (0, 0, end_ns - each.sent_ns, max(talk.over_ns - end_ns, 0))
        streams.append(one)
    for one in streams[least:]:
        one.doubt_ns = (0, max(talk.over_ns - one.begin_ns, 0), *one.doubt_ns[2:])
    return Counted(streams, min(least, len(streams)), most, [(asked_for[0].begin_ns, talk.over_ns)] * (most - len(streams)))


def settled(talk: Talk, model: Model, counted: list[Stream]) -> list[Stream]:
    """Requests that were counted without the model, with the answers that are theirs by it, and whether that is sure; as they are where it finds no way."""
    found = [(each, given) for each, one in _weighed(talk, model) if (given := _backward(one.walk, len(counted))) is not None]
    found.sort(key=lambda each: -each[0].weight - each[1].evidence)
    for read, one in found:
        starts: dict[int, list[int]] = defaultdict(list)  # several may begin at once, each by itself or in one write
        for i, event in enumerate(one.events):
            if event.way == 0:
                starts[event.ns].append(i)
        ends = {talk.said.answers[event.at].ts: i for i, event in enumerate(one.events) if event.way == 1}
        begun = [(those.pop(0) if len(those) > 1 else those[0]) if (those := starts[each.begin_ns]) else -1 for each in counted]
        over = [ends.get(each.end_ns, -1) if each.end_ns >= 0 else len(one.events) for each in counted]
        if min(begun) >= 0 and min(over) >= 0:
            times = [(i, i, i) for i in sorted(begun)], [(i, i, i) for i in sorted(over)]
            answers = _answers(talk, one.walk, model, len(counted))
            return _streams(talk, read.reading, one, *times, answers) or counted
    return (found and _exact(talk, found[0], len(counted), model)) or counted  # it was read in another way


def _streams(talk: Talk, read: Reading, found: Found, begun: Times, ended: Times, answers: whose.Answered) -> list[Stream] | None:
    """Requests by when each began, when answers ended, which may be never, and whose they are."""
    events, never = found.events, len(found.events)
    records = [_record(talk, read, event) for event in events]
    sent = [0, *accumulate(r.payload if r is not None and event.way == 1 else 0 for r, event in zip(records, events, strict=True))]

    def look(pair: whose.Pair) -> int:
        """Bytes of a short answer, -1 of another one."""
        begins, over = records[pair[0]], records[pair[1]]
        size = sent[pair[1] + 1] - sent[pair[0]]
        short = begins is not None and over is not None and over.ts - begins.ts <= SHORT_NS and size <= SHORT_BYTES
        return size if short else -1

    starts = sorted(median for _, median, _ in begun)
    told = whose.shared(answers, starts, look)
    ends = sorted(median for _, median, _ in ended)
    of = [each.pair[1] if each.pair is not None and each.look >= 0 else -1 for each in told]
    for end in sorted(end for end in of if end >= 0):
        ends.remove(min(ends, key=lambda other: abs(other - end)))
    for k, start in enumerate(starts):
        if of[k] < 0:
            at = bisect_right(ends, start)
            if at == len(ends):
                return None
            of[k] = ends.pop(at)
    streams: list[Stream] = []
    many = Counter(starts)
    for start, each, end in zip(starts, told, of, strict=True):
        one = read.streams[events[start].at]
        one = replace(one, sizes=[], theirs={}, up=one.up // many[start], unsure=each.pair is None)
        first = each.pair[0] if each.pair is not None and start < each.pair[0] <= end else start + 1
        first = next((i for i in range(first, never) if events[i].way == 1 or (each.pair is not None and i == each.pair[0])), never)
        first = min(first, end)
        begins, over = (records[i] if i < never else None for i in (first, end))
        if over is not None:
            one.end_ns, one.end_frame = over.ts, over.frame
        if begins is not None:
            one.answer_ns, one.answer_frame, one.sent_ns = begins.ts, begins.frame, min(one.sent_ns, begins.ts)
            beside = sum(p for state, p in found.behind[first].items() if state[2] > 1)
            if each.look >= 0 and beside > 1 - SURE_ALONE:  # what was said before the last record may be another's
                data = (i for i in range(end, first, -1) if events[i].way == 1 and getattr(records[i], "size", EMPTY) != EMPTY)
                first = next(data, first)
            one.down = (sent[min(end, never - 1) + 1] - sent[first]) // each.together
        one.unsure = one.unsure or over is None
        for pair, p in each.theirs.items():
            end_ns = one.end_ns if pair == each.pair else events[pair[1]].ns
            one.theirs[end_ns] = one.theirs.get(end_ns, 0.0) + p
        streams.append(one)
    ns = [*(event.ns for event in events), talk.over_ns]
    for k, (early, _, late) in zip(sorted(range(len(of)), key=of.__getitem__), ended, strict=True):
        streams[k].doubt_ns = (0, 0, max(ns[of[k]] - ns[early], 0), max(ns[late] - ns[of[k]], 0))
    for stream, (early, median, late) in zip(streams, begun, strict=True):
        sooner, later = ns[median] - ns[early], ns[late] - ns[median]
        if not read.apart:  # of several at once, some were sent before the end
            sooner += stream.sent_ns - stream.begin_ns
        stream.doubt_ns = (sooner, later, *stream.doubt_ns[2:])
    return streams


def _record(talk: Talk, read: Reading, event: Event) -> Record | None:
    """What an event is; None of a start."""
    if event.way == 3:
        return talk.resets(len(read.streams))[event.at][0]
    return None if event.way == 0 else (talk.said.answers if event.way == 1 else talk.said.updates)[event.at]


def _times(found: Found, number: int) -> tuple[Times, Times]:
    """Of each start and each end in order of time: the event by which it is hardly so, as likely as not, and next to certain; one behind the last for never."""
    begun: list[list[int]] = [[] for _ in range(number)]
    ended: list[list[int]] = [[] for _ in range(number)]
    seen = 0
    for k, (event, states) in enumerate(zip(found.events, found.behind, strict=True)):
        seen += event.way == 0
        for out, over in ((begun, False), (ended, True)):
            tally: dict[int, float] = defaultdict(float)
            for (extra, waiting, answered, _), p in states.items():
                tally[seen + extra - (waiting + answered if over else 0)] += p
            so_many = 0.0
            for n in range(max(tally), 0, -1):
                so_many += tally.get(n, 0.0)
                if n <= number:
                    mine = out[n - 1]
                    while len(mine) < 3 and so_many >= (OUTSIDE, 0.5, 1 - OUTSIDE)[len(mine)]:
                        mine.append(k)
    never = len(found.events)
    fill = [[(*each, never, never, never)[:3] for each in those] for those in (begun, ended)]
    return [(a, b, c) for a, b, c in fill[0]], [(a, b, c) for a, b, c in fill[1]]
