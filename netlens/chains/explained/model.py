"""What the records of a server look like, by kind, as it was learned, and so what each may be.

A size that was seen once is as likely as one that was not seen. Records that hold several short answers, or two, have the sum of their sizes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from netlens.chains import grammar
from netlens.chains.asked import EMPTY, PING
from netlens.chains.explained import whose
from netlens.chains.explained.kernels import KINDS, MOST_STATES, TELL_ANSWERED, TELL_BESIDE, TELL_WAITING
from netlens.chains.explained.talks import EXACT, MS, SOON, SURELY, Look
from netlens.chains.explained.tallies import Tally
from netlens.chains.explained.updates import Updates
from netlens.chains.explained.walks import CHANGES, SEVERAL, SINGLE, Kind
from netlens.columns import NEVER, Floats
from netlens.parsers.http2 import WINDOW_UPDATE

# --- how records look
SMOOTHING = 1.0  #: records that look like any, beside those seen of a kind
AT_FIRST = 4.0  #: the same, while little has been learned
OFTEN = 1.5  #: records of one size, of which more were seen than one that may be a mistake
USUAL_SEEN, USUAL_VALUES = 0.5, 10  #: of any kind, beside those seen of one size, and of all
#: What the time since a request may tell, at least and at most: requests come beside streams, too, and may come in a rush.
BESIDE = {kind: (0.7, 1.4) if kind in (Kind.PIECE, Kind.DONE) else (0.01, 3.0) for kind in SINGLE}
#: What WINDOW_UPDATEs of the client may tell, at least and at most: some are for the connection, whose window any record may fill.
ECHO = 0.3, 3.0
REFUSED = 50.0  #: how much likelier a record ends a refusal, if an error log has a line behind it
#: How likely a record is no head where its size and time say so, of servers that write these in records of their own; and the other way round; and the first.
APART = 0.03, 1e-4
NOISE = 1e-7  #: a record that belongs to no request
UPDATE = 3.0  #: WINDOW_UPDATEs behind a body
USUAL = 0.3  #: share of short answers that have a size; what has another, and might be WINDOW_UPDATEs, is none
# --- records that hold several
MERGED = 0.05  #: that hold two
WITH_UPDATE, WITH_PIECE = 0.3, 0.7  #: shares of these
UNSEEN = 0.02  #: of sizes that are the sum of none seen
LEAST_SHORT = 64  #: bytes of an answer with a body: frames' headers, a head that none in the table makes shorter, and some words
TOGETHER = {Kind.TWO: 0.1, Kind.THREE: 0.03, Kind.FOUR: 0.01}  #: for each that holds one, before anything is known
LONGER = 60  #: the fields of first answers are less than so many bytes longer
FIRST_LONGER = 0.3  #: share of merged records that hold such fields
# --- rules of a server and its client, before anything is known, and what that is worth
SEEN_BEFORE = 5.0  #: empty frames, and short answers
ENDS_ELSE, LEAST_ELSE = 0.02, 1e-3  #: an answer without an empty frame of a server that ends answers with one; and at least
TAIL = 5e-4  #: an empty frame ends no answer
#: What that so many are in progress may tell of a start, at least and at most, and what it is worth beforehand (requests).
BEGUN_BESIDE, BESIDE_SEEN = (0.05, 4.0), 8.0
WAITS_NS = 500 * MS  #: a request, for its answer to begin
#: What is set beforehand of how many requests writes begin is worth so many; how much more seldom it is learned to be, at most; and more often, but for the
#: first write.
WRITES, LEAST_MANY, MOST_MANY = 5.0, 0.2, 10.0
#: How likely what is as long as RST_STREAM breaks off a request, at once behind what the server says and else, and what that is worth; and at least.
BROKEN, BROKEN_SEEN, LEAST_BROKEN = (0.01, 0.05), 2.0, 1e-4
IS_ASIDE = 1.8, 2.0  #: of so many of the size of WINDOW_UPDATEs as are no head
PING_ASIDE = 0.4, 2.0  #: the same of what is as long as PING and answers none
# --- how far the client alone is believed
OF_CLIENT = 0.02  #: its part in the number of requests, at least
WORTH = 10  #: records of the server that weigh as much as the client

_SEEN = range(4)  # of a look, by place
_SIZE, _SINCE, _GAP, _ECHO = _SEEN


@dataclass
class Model:
    """What the records of each kind look like. ``shown``: answers end with empty frames."""

    shown: bool
    smoothing: float = AT_FIRST
    kinds: dict[Kind, float] = field(default_factory=lambda: dict.fromkeys(SINGLE, 1.0))
    values: tuple[dict[Kind, Tally[int]], ...] = field(default_factory=lambda: tuple({k: Tally() for k in SINGLE} for _ in _SEEN))
    usual: tuple[Counter[int], ...] = field(default_factory=lambda: tuple(Counter() for _ in _SEEN))
    known: dict[Look, list[float]] = field(default_factory=dict)
    known_of: dict[tuple[int, int], dict[Kind, float]] = field(default_factory=dict)
    empty: Tally[Kind] = field(default_factory=Tally)  #: what empty frames were
    several: Tally[Kind] = field(default_factory=Tally)  #: records that hold several short answers, or one where they might
    waited_ns: float = float(WAITS_NS)  #: all requests, for their answers to begin
    begun: float = 1.0  #: these
    begins: tuple[Tally[int], Tally[int]] = field(
        default_factory=lambda: (Tally(), Tally())
    )  #: requests in one write, the first and others
    asides: Tally[int] = field(default_factory=Tally)  #: of a size, that are no heads
    updates: Updates = field(default_factory=Updates)
    #: what may be RST_STREAM and is, and is not; at once behind what the server says and else
    broken: tuple[list[float], list[float]] = field(default_factory=lambda: ([0.0, 0.0], [0.0, 0.0]))
    #: By how many requests are in progress: how many were begun meanwhile, and for how long it was so, in ns.
    begun_beside: Tally[int] = field(default_factory=Tally)
    beside_ns: Tally[int] = field(default_factory=Tally)
    records: int = 0  #: of servers, that were learned from
    weighed: list[int] = field(default_factory=lambda: [0])  #: states, by this model and those before it
    most_states: int = MOST_STATES  #: behind a record
    ages: whose.Ages = field(default_factory=whose.Ages)  #: of requests as they are answered

    def count(self, look: Look) -> None:
        for at, value in enumerate(look[: len(_SEEN)]):
            self.usual[at][value] += 1

    def add(self, look: Look, kind: Kind, weight: float = 1.0) -> None:
        if look.empty:
            self.empty[kind] += weight
        elif kind == Kind.ASIDE:
            self.asides[look.size] += weight
        if kind in self.kinds:
            self.kinds[kind] += weight
            for at, value in enumerate(look[: len(_SEEN)]):
                self.values[at][kind][value] += weight

    def changes(self, looks: Sequence[Look]) -> Floats:
        """What records may be: [look, requests that wait, those answered in part, kind], of which a few matter."""
        odds = np.array([self.odds(look) for look in looks]).reshape(-1, 1, 1, KINDS)
        return odds * self._shares

    @cached_property
    def _shares(self) -> Floats:
        """How likely a record is of a kind before it is seen, by how many requests wait, and how many are answered in part."""
        out = np.zeros((TELL_WAITING + 1, TELL_ANSWERED + 1, KINDS))
        out[..., Kind.ASIDE] = 1.0
        for waiting, answered in np.ndindex(out.shape[:2]):
            can = [k for k, (wait, answer, _) in CHANGES.items() if waiting + wait >= 0 and answered + answer >= (k == Kind.PIECE)]
            total = sum(self.kinds[kind] for kind in can if kind in SINGLE)
            for kind in can:
                out[waiting, answered, kind] = self.kinds[CHANGES[kind][2]] / total
        return out

    def changes_aside(self, looks: Sequence[Look]) -> Floats:
        """The same of what has the size of WINDOW_UPDATEs: these, or the head of an answer."""
        out = np.zeros((len(looks), TELL_WAITING + 1, TELL_ANSWERED + 1, KINDS))
        for each, look in zip(out, looks, strict=True):
            each[..., Kind.ASIDE] = self.aside(look.size) if look.head <= 0 else APART[0]
            each[1:, :, Kind.HEAD] = self.odds(look)[Kind.HEAD] * self._shares[1, :, Kind.HEAD]
        return out

    def odds(self, look: Look) -> list[float]:
        """How much likelier a record of each kind looks so than any record does."""
        if look not in self.known:
            self.known[look] = self._odds(look)
        return self.known[look]

    def _odds(self, look: Look) -> list[float]:
        since, gap, echo = (self._of(at, value) for at, value in ((_SINCE, look.since), (_GAP, look.gap), (_ECHO, look.echo)))
        times = {kind: _within(since[kind], BESIDE[kind]) * gap[kind] * _within(echo[kind], ECHO) for kind in SINGLE}
        usual = self._usual(_SIZE, look.size)
        merged = {kind: self._merged[kind][look.size] / usual if look.size < EXACT else 0.0 for kind in (Kind.HEADS, *SEVERAL)}
        sizes = dict(self._of(_SIZE, look.size))
        if look.size < EXACT:
            for kind in (Kind.SHORT, Kind.DONE):
                sizes[kind] = (1 - MERGED) * sizes[kind] + MERGED * self._merged[kind][look.size] / usual
        out = {kind: sizes[kind] * times[kind] for kind in SINGLE}
        for kind, n in SEVERAL.items():
            out[kind] = self._together(kind) * (UNSEEN * (look.size >= n * LEAST_SHORT) + merged[kind]) * times[Kind.SHORT]
        if self.shown and not look.empty:
            out |= {kind: out[kind] * self.ends_else for kind in (Kind.DONE, Kind.SHORT, *SEVERAL)}
        if look.refused:
            for kind in (Kind.SHORT, *SEVERAL) if look.refused == 1 else (Kind.SHORT, *SEVERAL, Kind.DONE):
                out[kind] *= REFUSED
        if look.head:
            others = {Kind.HEAD} if look.head < 0 else out.keys() - {Kind.HEAD}
            out |= {kind: APART[look.head == SURELY] * out[kind] for kind in others}
        out[Kind.HEADS] = MERGED * (UNSEEN + merged[Kind.HEADS]) * times[Kind.HEAD] * (APART[0] if look.head > 0 else 1.0)
        if look.size == 2 * EMPTY:
            out[Kind.ENDS] = MERGED * self.empty[Kind.DONE] / self.kinds[Kind.DONE] / usual * times[Kind.DONE]
        if look.empty:  # it ends an answer
            out = {Kind.DONE: out[Kind.DONE] * (1 - self.tail), Kind.ASIDE: self.tail}
        else:
            out[Kind.ASIDE] = UPDATE if self._may_be_updates(look) else NOISE
        return [out.get(kind, 0.0) for kind in Kind]

    def _may_be_updates(self, look: Look) -> bool:
        """Whether a record may be of several WINDOW_UPDATEs: these come soon behind a body, and short answers are not of that size as a rule."""
        several = WINDOW_UPDATE < look.size < EXACT and look.size % WINDOW_UPDATE == 0 and look.since <= SOON
        return several and self.values[_SIZE][Kind.SHORT][look.size] < USUAL * self.kinds[Kind.SHORT]

    @property
    def of_client(self) -> float:
        """Part that the client alone has in the number of requests: the fewer records, the less is known of the server."""
        return max(OF_CLIENT, WORTH / (self.records + WORTH))

    def breaks(self, prompt: bool) -> float:
        """How likely what may be RST_STREAM is."""
        was, no = self.broken[not prompt]
        return max((was + BROKEN[not prompt] * BROKEN_SEEN) / (was + no + BROKEN_SEEN), LEAST_BROKEN)

    @cached_property
    def beside(self) -> list[float]:
        """By how many are in progress, how much likelier than at any time a request is begun: a program has so many workers, or one that waits."""
        begun, ns = self.begun_beside, self.beside_ns
        if not begun.total() or not ns.total():
            return [1.0] * (TELL_BESIDE + 1)
        usual = begun.total() / ns.total()  # in a ns
        return [_within((begun[n] + BESIDE_SEEN) / (usual * ns[n] + BESIDE_SEEN), BEGUN_BESIDE) for n in range(TELL_BESIDE + 1)]

    def aside(self, size: int) -> float:
        """How likely what has the size of WINDOW_UPDATEs is no head."""
        known, of = PING_ASIDE if size == PING else IS_ASIDE
        return (self.asides[size] + known) / (self.asides[size] + self.values[_SIZE][Kind.HEAD][size] + of)

    @cached_property
    def tail(self) -> float:
        """How likely an empty frame ends no answer."""
        return (self.empty[Kind.ASIDE] + TAIL * SEEN_BEFORE) / (self.empty.total() + SEEN_BEFORE)

    @cached_property
    def ends_else(self) -> float:
        """How often an answer ends without an empty frame, of a server that ends answers with one."""
        ends = self.kinds[Kind.DONE] + self.kinds[Kind.SHORT]
        return max((ends - 2 - self.empty[Kind.DONE] + ENDS_ELSE * SEEN_BEFORE) / (ends + SEEN_BEFORE), LEAST_ELSE)

    @cached_property
    def beginning(self) -> tuple[list[float], list[float]]:
        """How much more often than as a rule first writes, and others, begin one request, two, three or four, of clients that write fields and body at once."""
        out = []
        for seen, usual, most in zip(self.begins, (grammar.FIRST_MANY, grammar.MANY), (NEVER, MOST_MANY), strict=True):
            total = sum(n for many, n in seen.items() if many <= len(usual))
            out.append([_within((seen[n] + WRITES * p) / (total + WRITES) / p, (LEAST_MANY, most)) for n, p in enumerate(usual, 1)])
        return out[0], out[1]

    def _together(self, kind: Kind) -> float:
        """How many records hold so many short answers, for each that holds one where it might."""
        return (self.several[kind] + TOGETHER[kind] * SEEN_BEFORE) / (self.several[Kind.SHORT] + SEEN_BEFORE)

    def _usual(self, at: int, value: int) -> float:
        return (self.usual[at][value] + USUAL_SEEN) / (self.usual[at].total() + USUAL_VALUES)

    def _of(self, at: int, value: int) -> dict[Kind, float]:
        """How much likelier a record of each kind has this than any record does. What is seen once may be a mistake, and tells how much has not been seen (Good
        and Turing): it is given to what looks like any."""
        if (at, value) not in self.known_of:
            usual = self._usual(at, value)
            known = {kind: seen[value] if seen[value] > OFTEN else 0.0 for kind, seen in self.values[at].items()}
            spare = {kind: self.smoothing + once for kind, once in self._once[at].items()}
            self.known_of[at, value] = {
                kind: (known[kind] + spare[kind] * usual) / (self.kinds[kind] + self.smoothing) / usual for kind in SINGLE
            }
        return self.known_of[at, value]

    @cached_property
    def _once(self) -> list[dict[Kind, float]]:
        return [{kind: sum(n for n in seen.values() if n <= OFTEN) for kind, seen in of.items()} for of in self.values]

    @cached_property
    def _merged(self) -> dict[Kind, Tally[int]]:
        """Share of each size among records that hold two: WINDOW_UPDATE, a piece or a head besides; and among those of several short answers."""
        of_size = self.values[_SIZE]
        share = {kind: {v: n / self.kinds[kind] for v, n in of_size[kind].items() if n > OFTEN and v < EXACT} for kind in SINGLE}
        out: dict[Kind, Tally[int]] = {kind: Tally() for kind in (Kind.SHORT, Kind.DONE, Kind.HEADS, *SEVERAL)}
        for kind in (Kind.SHORT, Kind.DONE):
            _add_sums(out[kind], share[kind], {WINDOW_UPDATE: 1.0}, WITH_UPDATE)
            _add_sums(out[kind], share[kind], share[Kind.PIECE], WITH_PIECE)
        _add_sums(out[Kind.HEADS], share[Kind.HEAD], share[Kind.HEAD])
        fewer: Mapping[int, float] = share[Kind.SHORT]
        for kind in SEVERAL:
            _add_sums(out[kind], fewer, share[Kind.SHORT])
            fewer = dict(out[kind])
        for kind in SEVERAL:
            for v, p in list(out[kind].items()):
                for more in range(1, LONGER):
                    out[kind][v + more] += FIRST_LONGER * p / LONGER
        return out


def _within(value: float, bounds: tuple[float, float]) -> float:
    return min(max(value, bounds[0]), bounds[1])


def _add_sums(out: Tally[int], one: Mapping[int, float], other: Mapping[int, float], part: float = 1.0) -> None:
    """Sizes of what holds one of each, by their shares."""
    for v, p in one.items():
        for w, q in other.items():
            if v + w < EXACT:
                out[v + w] += part * p * q
