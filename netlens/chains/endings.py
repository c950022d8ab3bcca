"""What ends answers of HTTP/2 at servers that do not end them with an empty frame, learned by the sizes of records.

END_STREAM is hidden, but where it stands is not chance:

1. *Streams* of events end with the same words (``data: [DONE]``, ``message_stop``), which servers send as they come, in a record of their own: what ends them
   has one size, or some, and others are rare among pieces.
2. *Refusals* have one size, or some, and come soon, in a record or two.
3. *An answer by itself* shows where it ends: nothing was in progress when it was asked for, and before the next answer begins the server is silent for longer
   than it ever is within a stream. What sizes there are is learned from these, and from what comes last before a request more often than elsewhere.

What is of the size of pieces, too, is an end only as the first behind a request, or the last before one, and only while no other is in progress. Where ends
show (:func:`netlens.chains.streams.counted`), nothing is learned.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from netlens.chains.asked import EMPTY, FULL, Record, Said, Stream
from netlens.columns import NEVER
from netlens.parsers.http2 import WINDOW_UPDATE

BALANCED = 3  #: requests of a connection whose ends showed before nothing was in progress, for others to be in progress without one
ALIVE_NS = 1_000_000_000  #: streams do not pause longer, as a rule; one that goes on for so long behind what may be its RST_STREAM was not broken off
#: An answer that lasts as long from its first byte to its last is a stream, and was accepted, and one of as many bytes; what takes less from its request to
#: its end is none. A short one lasts less than SHORT_NS, and between them nothing is claimed.
STREAM_NS, STREAM_BYTES = 150_000_000, 16_384
SHORT_NS = 60_000_000  #: first to last byte; 47 ms were measured where an acknowledgment was delayed between head and body
SHORT = 3  #: records of a short answer without its end
ALIKE = 2  #: bytes by which refusals differ
OFTEN = 3  #: ends of one size, for all of them to be short answers
MORE_OFTEN = 4  #: times than other sizes
QUIET_NS = 250_000_000  #: of the server, between answers: more than between pieces of a stream
RHYTHM = 2  #: times the pause between pieces that nearly all are below, if that is longer
MOST_PAUSES, NEARLY_ALL = 0.95, 0.98
DONE = 23  #: ``data: [DONE]`` and two line feeds, 14 bytes, in a DATA frame: no piece with an event in it is so short
BESIDE_NS = 1_000_000_000  #: an empty frame that comes so soon behind what ends an answer belongs to it
ALLOWED_NS = 50_000_000  #: from a long body to the server's WINDOW_UPDATEs
MOST_UPDATES = 64 * WINDOW_UPDATE
SHOWN = 0.5  #: share of turns with an empty frame of the server, where all answers end with one
LONG = 8  #: records of an answer that is a stream beyond doubt, and not some short ones
TOGETHER = 4  #: answers between the starts of two requests
MOST, SLOWER = 0.9, 2  #: of refusals, and how many times slower than these one may be
RESET_NS = 1_000_000  #: from a short answer to the server's RST_STREAM, which is as long as WINDOW_UPDATE
SAMPLE = 100  #: pieces of streams by themselves, of which not one in so many has the size of an end
WITH = 4  #: times as often as before a request, what may be an end with its empty frame occurs
COVERED = 0.5  #: share of streams by themselves that end with the sizes known, at least
AT_ONCE_NS, SOON_NS = 5_000_000, 20_000_000  #: within an answer that is no stream, and between head and body of a refusal


class End(IntEnum):
    """What ends with a record."""

    UNKNOWN = 0  #: an answer
    STREAM = 1
    SHORT = 2
    PERHAPS = 3  #: a short answer, or it is a piece of a stream


@dataclass(frozen=True)
class Shapes:
    """Sizes of records by which answers are told apart.

    refusals : of the last records of short answers.  last : of those that end streams.  pieces : of all in streams that had their connection for themselves.
    plain : ends show, and each connection has one request.

    learned : ends do not show as empty frames, and the following were.  done, short : what ends streams and short answers.  inside : of these and others, what
    pieces have, too.  pause_ns, quiet_ns : between pieces of a stream as a rule, and between answers at least.  soon_ns : from a request to its short answer,
    at most.  whole : no answer is a stream.
    """

    refusals: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    pieces: frozenset[int] = frozenset()
    plain: bool = False
    learned: bool = False
    done: frozenset[int] = frozenset()
    short: frozenset[int] = frozenset()
    inside: frozenset[int] = frozenset()
    pause_ns: int = QUIET_NS
    quiet_ns: int = QUIET_NS
    soon_ns: int = NEVER
    whole: bool = False

    @cached_property
    def several(self) -> frozenset[int]:
        """Sizes of two, three and four short answers in one record."""
        two = {a + b for a in self.short for b in self.short}
        three = {a + b for a in two for b in self.short}
        return frozenset(two | three | {a + b for a in three for b in self.short})


NOTHING = Shapes()


class _Turn(NamedTuple):
    """What the server said between the start of a request and that of the next: data, but no empty frames.

    last : place of the last record among the answers.  wait_ns : from the request to the first.  quiet : silence followed it.  alone : and nothing was in
    progress before.
    """

    records: list[Record]
    last: int
    wait_ns: int
    quiet: bool
    alone: bool


def _turns(said: Said, streams: Sequence[Stream], known: Shapes, cut_ns: int) -> list[_Turn]:
    answers = said.answers
    data = [k for k, r in enumerate(answers) if r.size != EMPTY]
    times = [answers[k].ts for k in data]
    # silence is that of streams: refusals come and go beside them
    lasting = [answers[k].ts for k in data if answers[k].size not in known.short or answers[k].size in known.inside]
    out = []
    idle = True
    for k, each in enumerate(streams):
        until = streams[k + 1].begin_ns if k + 1 < len(streams) else NEVER
        i, j = bisect_left(times, each.begin_ns), bisect_left(times, until)
        if i == j:
            idle = False
            continue
        after = bisect_right(lasting, times[j - 1])
        quiet = (lasting[after] if after < len(lasting) else cut_ns) - times[j - 1] >= known.quiet_ns
        out.append(_Turn([answers[at] for at in data[i:j]], data[j - 1], times[i] - each.sent_ns, quiet, idle and quiet))
        idle = quiet and (idle or until - times[j - 1] >= max(ALIVE_NS, known.quiet_ns))
    return out


def _is_short(records: Sequence[Record]) -> bool:
    return len(records) <= SHORT and records[-1].ts - records[0].ts <= SHORT_NS


def learn(connections: Iterable[tuple[Said, int]], known: Shapes) -> Shapes:
    """What ends answers at a server whose ends do not show; beside each connection, when the capture cut it off, or :data:`NEVER`."""
    those = [each for each in connections if each[0].readings]
    if _show(those, known):
        return known
    pauses = sorted(
        b.ts - a.ts
        for said, cut_ns in those
        for turn in _turns(said, said.readings[0].streams, known, cut_ns)
        if turn.alone and len(turn.records) >= LONG
        for a, b in pairwise(turn.records)
    )
    if pauses:
        most, nearly_all = (pauses[int(len(pauses) * share)] for share in (MOST_PAUSES, NEARLY_ALL))
        known = replace(known, pause_ns=most, quiet_ns=max(known.quiet_ns, RHYTHM * nearly_all))
    known = _learned(those, known)
    # refusals tell more of streams by themselves, and these more of refusals
    return _learned([(answers_alone(said, known), cut_ns) for said, cut_ns in those], known)


def shorts(connections: Iterable[tuple[Said, int]], known: Shapes) -> frozenset[int]:
    """Sizes of short answers that a server may end without an empty frame, though it ends others with one (nginx in front of a server whose refusals have a
    length)."""
    found = _learned([each for each in connections if each[0].readings], known)
    return found.short - found.inside - {EMPTY}


def _refused_early(connections: Sequence[tuple[Said, int]]) -> set[int]:
    """Sizes of records behind which the server mostly resets the stream, as it does not want to read the rest of the request (RFC 9113 8.1): short answers."""
    every: Counter[int] = Counter()
    reset: Counter[int] = Counter()
    for said, _ in connections:
        frames = [r.ts for r in said.updates if r.size == WINDOW_UPDATE]
        every.update(r.size for r in said.answers)
        reset.update(r.size for r in said.answers if bisect_right(frames, r.ts + RESET_NS) > bisect_left(frames, r.ts))
    return {size for size, n in reset.items() if n >= OFTEN and n > SHOWN * every[size]} - {EMPTY}


def answers_alone(said: Said, known: Shapes) -> Said:
    """The same without what are many WINDOW_UPDATEs behind a long body, rather than an answer of their size."""
    uploads = [r.ts for r in said.mine if r.size == FULL]

    def is_update(r: Record) -> bool:
        at = bisect_right(uploads, r.ts)
        soon = at > 0 and r.ts - uploads[at - 1] <= ALLOWED_NS
        return soon and r.size % WINDOW_UPDATE == 0 and r.size <= MOST_UPDATES and r.size not in known.short and r.size not in known.done

    return said._replace(answers=[r for r in said.answers if not is_update(r)])


def _show(connections: Sequence[tuple[Said, int]], known: Shapes) -> bool:
    """Whether the server ends answers with empty frames, short ones and streams; of several in progress at once not every turn has an end."""
    turns: Counter[bool] = Counter()
    with_end: Counter[bool] = Counter()
    for said, cut_ns in connections:
        starts = [each.begin_ns for each in said.readings[0].streams]
        ended = {bisect_right(starts, r.ts) for r in said.answers if r.size == EMPTY}
        for turn in _turns(said, said.readings[0].streams, known, cut_ns):
            kind = _is_short(turn.records)
            turns[kind] += 1
            with_end[kind] += bisect_right(starts, turn.records[-1].ts) in ended
    return all(with_end[kind] > SHOWN * n for kind, n in turns.items() if n >= OFTEN or len(turns) == 1)


def _learned(connections: Sequence[tuple[Said, int]], known: Shapes) -> Shapes:
    last: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}  # before a request, of short answers and others
    tails: Counter[int] = Counter()  # of others, before silence
    alone: Counter[int] = Counter()  # of streams by themselves
    inside: Counter[int] = Counter()
    every: Counter[int] = Counter()
    short: set[int] = set()
    waits: dict[int, list[int]] = defaultdict(list)
    whole = True
    for said, cut_ns in connections:
        every.update(r.size for r in said.answers if r.size != EMPTY)
        for turn in _turns(said, said.readings[0].streams, known, cut_ns):
            size, is_short = turn.records[-1].size, _is_short(turn.records)
            whole = whole and sum(b.ts - a.ts > AT_ONCE_NS for a, b in pairwise(turn.records)) < TOGETHER
            last[is_short][size] += 1
            if is_short:
                waits[size].append(turn.wait_ns)
                if turn.alone:
                    short.add(size)
                continue
            if turn.quiet:
                tails[size] += 1
            if turn.alone:
                alone[size] += 1
                if len(turn.records) >= LONG:
                    inside.update(r.size for r in turn.records[1:-1])
    both = last[True] + last[False]
    seldom = [size for size in every if both[size] < OFTEN]
    usual = MORE_OFTEN * sum(both[size] for size in seldom) / max(sum(every[size] for size in seldom), 1)
    often = {size for size, n in both.items() if n >= OFTEN and n >= usual * every[size]}
    streamed = {size for size in often if last[True][size] < last[False][size] and not (size in short and size not in alone)}
    done = streamed | {size for size, n in tails.items() if n > 1} - often - short
    sure = {size for size in done if inside.total() >= SAMPLE and inside[size] * SAMPLE <= inside.total()}
    if sum(alone[size] for size in sure) >= MOST * alone.total():
        done = sure
    if sum(alone[size] for size in done) < COVERED * alone.total():
        done = set()
    if every[DONE] and not inside[DONE]:
        done.add(DONE)
    done |= {size + EMPTY for size in done if 0 < every[size + EMPTY] <= WITH * both[size + EMPTY]}
    early = _refused_early(connections)
    done -= early
    short = (short | (often - streamed) | early) - done
    short -= _doubled(short, both, every)
    soon = sorted(ns for size in short for ns in waits[size])
    return replace(
        known,
        learned=True,
        done=frozenset(done),
        short=frozenset(short),
        inside=frozenset((done - sure - {DONE, DONE + EMPTY}) | {size for size, n in inside.items() if n > 1 and size not in done}) - early,
        soon_ns=SLOWER * soon[int(len(soon) * MOST)] if soon else NEVER,
        whole=whole and bool(short) and not done,
    )


def _doubled(short: set[int], last: Counter[int], every: Counter[int]) -> set[int]:
    """Sizes that are none of short answers by themselves, of those that may be: two answers in one record, which are rarer than one; or, where the sum is the
    usual one, the head of an answer whose body came in another record, which is the last before a request less often than the body."""
    out = set()
    for size in short:
        for a in short:
            for b in short:
                if a <= b and abs(size - a - b) <= ALIKE:
                    usual = a < b and every[size] > min(every[a], every[b])
                    out.add(min((a, b), key=lambda part: last[part] / every[part]) if usual else size)
    return out


def ends(said: Said, streams: Sequence[Stream], known: Shapes, cut_ns: int) -> dict[int, End]:
    """Ends by their place among the server's records, as they look: empty frames, sizes that were learned, and last records before silence."""
    out: dict[int, End] = {}
    answers = said.answers
    spare: list[int] = []  # times of ends that an empty frame may follow
    starts = [each.begin_ns for each in streams]
    begun = [bisect_right(starts, r.ts) for r in answers]
    turns = _turns(said, streams, known, cut_ns)
    alone = {turn.last for turn in turns if turn.alone}
    lasts = {turn.last for turn in turns}
    before = 0  # requests, up to the latest data
    for k, r in enumerate(answers):
        if r.size == EMPTY:
            spare = [ns for ns in spare if r.ts - ns <= BESIDE_NS]
            if spare:
                del spare[0]
            else:
                out[k] = End.UNKNOWN
            continue
        kind = End.SHORT if r in said.refused else _kind(r.size, begun[k] > before, k in lasts, known)
        before = begun[k]
        if kind is None and (k in alone or (known.whole and _is_last(answers, k, known))):
            kind = End.UNKNOWN
        if kind is not None:
            out[k] = kind
            spare.append(r.ts)
    return out


def _is_last(answers: Sequence[Record], k: int, known: Shapes) -> bool:
    """Whether no other data follows at once."""
    after = next((r for r in answers[k + 1 : k + 2] if r.size != EMPTY), None)
    return after is None or after.ts - answers[k].ts > (SOON_NS if after.size in known.short else AT_ONCE_NS)


def _kind(size: int, first: bool, last: bool, known: Shapes) -> End | None:
    """What a record of this size ends; ``first``, ``last``: behind a request, or before one."""
    if size in known.done:
        return End.STREAM if size not in known.inside else End.PERHAPS if last else None
    near = range(size - 1, size + 2)  # that of a connection's first answer
    if size in known.short and size not in known.inside:
        return End.SHORT
    if known.short.isdisjoint(near):
        return None
    if size not in known.short and known.inside.isdisjoint(near) and first:
        return End.SHORT
    return End.PERHAPS if first else None
