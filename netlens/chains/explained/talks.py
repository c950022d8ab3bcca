"""A connection that is to be explained, and what its records look like."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from itertools import accumulate, zip_longest
from math import log, log2
from operator import attrgetter
from typing import NamedTuple

from netlens.chains import asked, grammar
from netlens.chains.asked import BODY, EMPTY, PING, UPDATE_NS, Reading, Record, Said
from netlens.chains.endings import AT_ONCE_NS, End
from netlens.columns import NEVER
from netlens.parsers.http2 import WINDOW_UPDATE

MS = 1_000_000
SINCE_NS = tuple(ms * MS for ms in (20, 60, 150, 500))  #: from the latest request to a record
SOON = 1  #: places of these
GAP_NS = tuple(ms * MS for ms in (1, 5, 30, 120, 300, 1000))  #: from a record to the next one of the server
AT_ONCE = 2  #: places of these
ECHO_NS, MOST_ECHOED = 5 * MS, 3  #: from a record to the client's WINDOW_UPDATEs, and how many are told apart
PROMPT_NS = 2 * MS  #: the same, if these are to be told from RST_STREAM
RESETS = frozenset((WINDOW_UPDATE, PING + WINDOW_UPDATE))  #: as long as RST_STREAM (RFC 9113 6.4), of which Go sends PING behind
EXACT = 4096  #: bytes; longer records are alike if they differ by less than a half
LONGER, LONGEST_HEAD = 4, 140  #: bytes by which a head is longer than the first; of a head, at most
LEAST_HEAD, SHORT_HEAD = (
    11,
    70,
)  #: bytes of a head: the frame's header, and two fields of HPACK's tables; and of what is surely one, at most
EMPTY_NS = 3 * MS  #: from the last piece to the empty frame behind it
APART = 4  #: bytes by which sizes of pieces follow each other, at most
LEAST_PIECES, MOST_ARE_PIECES, SIZES = 5, 0.4, 3  #: records, share of all, and different sizes of these
SURELY = 2  #: a head
UNLIKELY = 0.5  #: a way to read the client against which something speaks


class Look(NamedTuple):
    """What is seen of one record: size, places in :data:`SINCE_NS` and :data:`GAP_NS`, how many WINDOW_UPDATEs of the client follow it at once, and of how many
    records a refusal is that ends with it by an error log: one, or two and more; 0 if the log says nothing.  head : of a server that writes heads in records of
    their own, whether it is one: 1, :data:`SURELY` of the first, or -1 if it is none; 0 where that is not known.
    """

    size: int
    since: int
    gap: int
    echo: int
    empty: bool
    refused: int = 0
    head: int = 0


class Talk(NamedTuple):
    """A connection: what was said, when it or the capture ended, whether it was the capture, what looks like ends, and ways to read the client that
    were weighed, if there are such.  guessed : nothing is known of how its client writes (:func:`netlens.chains.grammar.guess`).  number : of requests, where
    that is certain before anything is learned, else 0."""

    said: Said
    over_ns: int
    cut: bool
    ends: dict[int, End]
    told: Sequence[grammar.Told] = ()
    guessed: bool = False
    number: int = 0

    @property
    def best(self) -> Reading:
        """The likeliest way to read the client; else the one that shows most requests, of those against which nothing speaks."""
        if self.told:
            return self.told[0].reading
        likely = [each for each in self.said.readings if each.likely] or self.said.readings[:1]
        return max(likely, key=lambda each: len(each.streams))

    @property
    def at_once(self) -> bool:
        """Whether all that the client asked for was one write, so that only answers tell how many requests it held."""
        return self.best.together and len(self.best.streams) == 1

    @property
    def ways(self) -> list[grammar.Told]:
        """To read the client: where fields and bodies are written at once, by what its writes may be, and by pauses alone."""
        if self.told or not self.said.bodies:
            return list(self.told)
        return [grammar.Told(read, 0.0 if read.likely else log(UNLIKELY)) for read in self.said.readings if read.streams]

    @property
    def controls(self) -> list[Record]:
        """What may be the server's WINDOW_UPDATEs: those of its opening that are for bodies, and those behind it."""
        return [*([self.said.paid] if self.said.paid else []), *self.said.updates]

    def looks(self, starts: Sequence[int]) -> list[Look]:
        """Of the server's answers, by place."""
        answers = self.said.answers
        behind = [*(r.ts for r in answers[1:]), self.over_ns]
        begun = {*starts}
        looks = [_look(r, starts, ns, self._echo(r.ts, ns, begun)) for r, ns in zip(answers, behind, strict=False)]
        for k in (k for k, r in enumerate(answers) if r in self.said.refused):
            several = k > 0 and answers[k].ts - answers[k - 1].ts <= AT_ONCE_NS
            looks[k] = looks[k]._replace(refused=1 + several)
        if self.said.apart:
            looks = [look._replace(head=head) for look, head in zip(looks, self._heads(), strict=True)]
        return looks

    def _heads(self) -> list[int]:
        """Whether records are heads, of a server that writes these in records of their own. Where there are more that are as short than writes of the client
        that may begin requests, those of one size are something else, such as ends of streams or comments that keep one alive."""
        answers = self.said.answers
        longest = max(answers[0].size + LONGER, LONGEST_HEAD)
        last = next((r.size for r in reversed(answers) if r.size != EMPTY), EMPTY)
        out = []
        for r, after in zip_longest(answers, answers[1:]):
            ends = r.size in (EMPTY, last) or (after is not None and after.size == EMPTY and after.ts - r.ts <= EMPTY_NS)
            out.append(-1 if r.size > longest else int(r.size <= SHORT_HEAD and not ends))
        short = Counter(r.size for r, head in zip(answers[1:], out[1:], strict=True) if head > 0)
        most = len(answers) if self.best.together else sum(map(asked.is_data, self.said.mine))
        while short.total() > most:
            del short[max(short, key=short.__getitem__)]
        first = SURELY * (answers[0].size <= LONGEST_HEAD)  # it is one, however long
        is_head = SURELY if first and short.total() == self.number - 1 else 1  # as there are so many
        return [
            first,
            *(head if head < 0 else is_head * (r.size in short and head > 0) for r, head in zip(answers[1:], out[1:], strict=True)),
        ]

    def _echo(self, ns: int, behind_ns: int, starts: Set[int]) -> int:
        """How many WINDOW_UPDATEs the client sends at once behind a record, which are no request; curl sends two as an answer begins."""
        mine = self.said.mine
        at = bisect_left(mine, ns, key=attrgetter("ts"))
        until = min(behind_ns, ns + ECHO_NS)
        return next((min(n, MOST_ECHOED) for r in mine[at : at + 2] if r.ts < until and r.ts not in starts and (n := asked.updates(r))), 0)

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
        sent = [r.ts for r in self.said.mine if asked.is_data(r)]
        pays = self.said.pays == 1 and all(
            each.up >= BODY for each in self.best.streams
        )  # old Go opens as nginx does, but pays nothing for no bodies
        out = []
        for r in self.controls:
            look = _look(r, starts, min(times[bisect_left(times, r.ts)], max(self.over_ns, r.ts)))
            at = bisect_left(sent, r.ts)
            apart = int(self.said.apart and at > 0 and r.ts - sent[at - 1] > UPDATE_NS)
            out.append(look._replace(head=-1 if pays else apart))
        return out


def _look(r: Record, starts: Sequence[int], behind_ns: int, echo: int = 0) -> Look:
    """``behind_ns``: when the server says more."""
    at = bisect_right(starts, r.ts)
    size = r.size if r.size < EXACT else EXACT + int(2 * log2(r.size / EXACT))
    since = bisect_left(SINCE_NS, r.ts - starts[at - 1] if at else NEVER)
    return Look(size, since, bisect_left(GAP_NS, max(behind_ns - r.ts, 0)), echo, r.size == EMPTY)


def first(talks: Iterable[Talk], records: int) -> list[Talk]:
    """Those before which servers said less than so many records."""
    talks = list(talks)
    before = accumulate((len(talk.said.answers) for talk in talks), initial=0)
    return [talk for talk, n in zip(talks, before, strict=False) if n < records]


def pieces_of(sizes: Sequence[int]) -> range:
    """Sizes of pieces: of those that follow each other closely the most records; empty where these are few, or of one size."""
    groups: list[list[int]] = [[]]
    for size in sorted(sizes):
        if groups[-1] and size - groups[-1][-1] > APART:
            groups.append([])
        groups[-1].append(size)
    most = max(groups, key=len)
    enough = len(most) >= max(LEAST_PIECES, MOST_ARE_PIECES * len(sizes)) and len({*most}) >= SIZES
    return range(most[0], most[-1] + 1) if enough else range(0)
