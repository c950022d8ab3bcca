"""Requests of HTTP/2 to an API, counted by the sizes of TLS records, where these leave no doubt.

Theory of operation
-------------------
Requests to the API of a model are POSTs with a body of JSON; their answers are a short JSON (a refusal) or a stream of many small frames. Of such a
connection, behind its opening (:mod:`netlens.parsers.http2`):

1. *Control* is told by its sizes: SETTINGS are acknowledged with 9 bytes, WINDOW_UPDATE and RST_STREAM have 13, often several together, PING has 17.
2. *A request is sent* with an empty DATA frame, 9 bytes in a record of their own, if the client does so (httpx); else (curl, Node) with the last record of a
   burst: its body comes at once, in full records and a rest, with pauses only where it waits for WINDOW_UPDATE. Where the acknowledgment of SETTINGS may
   be one of several records, or in none of its own, each way to read the client is tried.
   One that sends the fields in a record of their own (Go) begins each request with them.
3. *An answer ends* with an empty DATA frame, too, at many servers (nginx that does not buffer, hypercorn, h2). At others END_STREAM is in the last piece
   (HAProxy, granian, Node, nginx that buffers), or in that of short answers (Go). There, what ends answers is learned (:mod:`netlens.chains.endings`).
4. *It must fit.* Requests and answers are counted apart from each other. No answer ends before its request, each has records of its own, and in the end
   nothing is left; or what is left began after nothing had been in progress, was alive to the end, and the client sent nothing since that may be RST_STREAM.
   If two ways to read the client fit and differ in number, or none fits, the connection is not countable.
   Where ends were learned, it must fit as one request after the other; or, if more are in progress at a time, nothing is left in the end, and neither a piece
   looks like an end nor may two requests stand in one burst.
5. *Which end belongs to which request* does not matter for how many are in flight (:mod:`netlens.chains.answers`). What sizes short answers have is learned
   from all connections (:func:`shapes`). Where two may have ended, all requests in progress are unsure, until it is asked how old they are
   (:mod:`netlens.chains.explained.whose`).
6. *What cannot be counted* so is explained (:mod:`netlens.chains.explained`): the number is next to certain or an interval, and times are intervals.

Limits: requests without a body, trailers and padding, and streams that the program broke off, are left to what is explained. The server's RST_STREAM is as
long as its WINDOW_UPDATE, so of several requests that never end it stays unknown when they did. Of requests that are
begun within a few ms it may stay unknown which was refused.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import NamedTuple

from netlens.chains import asked, bulk, endings, grammar
from netlens.chains.answers import give
from netlens.chains.asked import AT_ONCE_NS, CONTROL, EMPTY, FULL, UPDATE_NS, Reading, Record, Said, Stream
from netlens.chains.endings import ALIKE, ALIVE_NS, BALANCED, NOTHING, OFTEN, SHORT, SHORT_NS, End, Shapes
from netlens.chains.explained import begun, counting, learning, numbers, signs
from netlens.chains.explained.counting import Counted
from netlens.chains.explained.model import Model
from netlens.chains.explained.talks import Talk
from netlens.columns import NEVER
from netlens.parsers.http2 import WINDOW_UPDATE

TWICE = 1.7  #: a short answer is so many times as long as another, at most
LONG_FIRST = asked.USUAL + 60  #: bytes of a first write, with preface and SETTINGS, which are more than one request's fields, as a rule
COUNTED_BY_CLIENT = 0.6  #: the same, for the server not to be asked
CLIENT_SURE, CLIENT_SAYS = (
    0.999,
    0.9,
)  #: the same for a load generator, whose writes are as long as so many requests; and where the model agrees
ALLOWED = 0.1  #: how likely a number of requests is by the client alone, at least, for the likeliest one
APART = 0.85  #: the same of a client that sends fields in records of their own, for any number
UNCLEAR = 0.5  #: writes of a client of which it is not clear whether they begin requests, as far as can be expected
GUESSED = 4  #: requests, of which one answer may be of another size than others
MOST_RECORDS = 20_000  #: of servers on connections that are to be explained, and of all clients; half a millisecond each
A_FEW, ENOUGH = 2, 100  #: records of servers, for anything to be learned, and for numbers to be certain by what ends answers
MOST_OTHERS = 0.1  #: share of connections that were counted, of which another number is found, for numbers to be certain


class Connection(NamedTuple):
    """What was said on one connection, when it ended, or the capture, and whether it was the capture."""

    said: Said | None
    over_ns: int
    cut: bool = True

    @property
    def cut_ns(self) -> int:
        return self.over_ns if self.cut else NEVER


def shapes(connections: Sequence[Sequence[Stream]]) -> Shapes:
    """What answers look like, by those that had their connection for themselves, by short ones that came before any stream can have ended, by ends long after
    the latest request, which are of streams, and by those of one size that always come soon after one."""
    singles = sum(len(streams) == 1 and streams[0].end_ns >= 0 for streams in connections)
    plain = singles >= BALANCED and all(len(streams) <= 1 for streams in connections)
    ended = [each for streams in connections for each in streams if each.end_ns >= 0 and each.last]
    short = {each.last for each in ended if len(each.sizes) <= SHORT and each.end_ns - each.answer_ns <= SHORT_NS and not each.unsure}
    pieces = {size for each in ended if len(each.sizes) > SHORT and not each.mixed for size in each.sizes}
    last = {each.last for each in ended if not each.quick and (each.mixed or len(each.sizes) > SHORT)} - short
    often = Counter(each.last for each in ended if each.unsure)
    for size in often:
        near = range(size - ALIKE, size + ALIKE + 1)
        if sum(often[each] for each in near) >= OFTEN and size not in pieces and not last.intersection(near):
            short.add(size)
    return Shapes(frozenset(short), frozenset(last), frozenset(pieces), plain)


def with_shorts(connections: Sequence[Connection], known: Shapes) -> Shapes:
    """What is known, and what short answers look like that have no empty frame behind them at a server that ends others with one."""
    those = [(each.said, each.cut_ns) for each in connections if each.said is not None]
    return replace(known, short=endings.shorts(those, known))


def learned(connections: Sequence[Connection], known: Shapes) -> Shapes:
    """What is known, and what ends answers where that does not show, by the connections of one capture."""
    those = [(each.said, each.cut_ns) for each in connections if each.said is not None]
    if not all(said.bodies for said, _ in those):
        told = _told([each for each in connections if each.said is not None])
        those = [
            (said if said.bodies or not told[k] else said._replace(readings=[told[k][0].reading]), ns) for k, (said, ns) in enumerate(those)
        ]
    return endings.learn(those, known)


def all_counted(connections: Sequence[Connection], known: Shapes) -> list[Counted | None]:
    """Requests of each connection of a capture; None where they cannot be counted."""
    return _all_counted(connections, known, _told(connections))


def _all_counted(connections: Sequence[Connection], known: Shapes, told: _Told) -> list[Counted | None]:
    found = [counted(each, known) for each in connections]
    sizes = _sizes(connections)
    few = known.learned and sum(len(each.said.answers) for each in connections if each.said is not None) < ENOUGH
    return [
        Counted(streams, len(streams), len(streams))
        if fits
        and not (each.said is not None and each.said.at_once and len(each.said.answers) > 1)
        and not (few and each.said is not None and _may_be_more(each.said, streams))
        and (each.said is None or grammar.fits(each.said, sizes[k], len(streams)))
        and _allows(told.get(k, ()), len(streams))
        and (each.said is None or not _holds_more(each.said, told.get(k, ()), known, len(streams)))
        else None
        for k, (each, (streams, fits)) in enumerate(zip(connections, found, strict=True))
    ]


_Told = dict[int, list[grammar.Told]]  #: ways to read a client, by place of the connection


def _told(connections: Sequence[Connection]) -> _Told:
    """None where there is too much to read."""
    if sum(len(each.said.mine) for each in connections if each.said is not None) > MOST_RECORDS:
        return {}
    usual, sizes = _sizes(connections), grammar.Sizes([each.said for each in connections if each.said is not None])
    return {k: grammar.told(each.said, usual[k], sizes) for k, each in enumerate(connections) if each.said is not None}


def _talk(said: Said, each: Connection, told: list[grammar.Told]) -> Talk | None:
    """What there is to be explained; where no way to read the client fits, with a guess. None where it asked nothing."""
    talk = Talk(said, each.over_ns, each.cut, {}, told)
    if told or (said.readings and talk.ways):
        return talk
    guess = grammar.guess(said)
    return talk._replace(told=[grammar.Told(guess, 0.0)], guessed=True) if guess is not None else None


def _holds_more(said: Said, told: Sequence[grammar.Told], known: Shapes, most: int) -> bool:
    """Whether there seem to be more requests than ``most``, by the likeliest way to read the client."""
    read = told[0].reading if told else max(said.readings, key=lambda each: each.together, default=None)
    return read is not None and bulk.holds_more(said, read, most, ends_show=not known.learned)


def _may_hold_more(talk: Talk, number: int) -> bool:
    """Whether the first write may hold more requests than were counted, none of which has a body: nghttp and h2load begin with all that they ask for."""
    first = talk.best.streams[0].up if talk.best.together and talk.best.streams else 0
    several = LONG_FIRST < first <= asked.MOST_TOGETHER * asked.USUAL
    return several and numbers.by_client(talk.told, None).get(number, 1.0) < COUNTED_BY_CLIENT


def _allows(told: Sequence[grammar.Told], number: int) -> bool:
    """Whether so many requests are not much less likely than another number by what the client wrote."""
    if any(sum(min(none, 1 - none) for none, *_ in each.reading.many) > UNCLEAR for each in told):
        return False  # bodies waited, and it is not known which
    likely = numbers.by_client(told, None)
    if not likely:
        return True
    least = ALLOWED * max(likely.values()) if told[0].reading.together else APART
    return likely.get(number, 0.0) >= least


def _may_differ(said: Said) -> bool:
    """Whether what a client wrote does not tell its number of requests: a write that was taken for one may be several, or a pause in a body parts two."""
    return any(each.together for each in said.readings) or len({len(each.streams) for each in said.readings if each.likely}) > 1


def _may_be_more(said: Said, streams: Sequence[Stream]) -> bool:
    """Whether a write that was taken for one request may be several, and each record an answer, as far as is known without others to learn from."""
    return any(each.together for each in said.readings) and len(said.answers) > len(streams)


def _sizes(connections: Sequence[Connection]) -> dict[int, int]:
    """Of what the clients of a capture write for each request, by place of the connection (:func:`netlens.chains.grammar.usual`)."""
    spoken = {k: said for k, each in enumerate(connections) if (said := each.said) is not None}
    return dict(zip(spoken, grammar.usual(list(spoken.values())), strict=True))


def likely(connections: Sequence[Connection], known: Shapes) -> list[Counted | None]:
    """Requests of each connection of a capture, with intervals for what is in doubt (:mod:`netlens.chains.explained`) where they cannot be counted; None where
    nothing can be read."""
    ways = _told(connections)
    out = _all_counted(connections, known, ways)
    if not ways:
        return out
    talks = {}
    for k, each in enumerate(connections):
        if each.said is not None and (talk := _talk(each.said, each, ways[k])) is not None:
            said = endings.answers_alone(each.said, known) if known.learned else each.said
            talk = talk._replace(said=said)
            ends = endings.ends(said, talk.best.streams, known, each.cut_ns) if known.learned else _shown(said, known.short)
            talks[k] = talk._replace(ends=ends, number=_surely(talk))
    records = {k: len(talk.said.answers) for k, talk in talks.items()}
    all_told = all((one := out[k]) is not None and not _may_hold_more(talk, one.most) for k, talk in talks.items())
    model, agreed = None, True
    if all_told and not any(several(one.streams) for one in out if one is not None):
        _take_signs(talks, out, model)
        return out
    to_explain = sum(n for k, n in records.items() if (one := out[k]) is None or several(one.streams))
    if sum(records.values()) >= A_FEW and to_explain <= MOST_RECORDS:
        model = learning.learn(list(talks.values()), not known.learned, [out[k] is not None for k in talks])
        counts = {
            k: one.most
            for k, talk in talks.items()
            if (one := out[k]) is not None and (not all_told or (several(one.streams) and _may_differ(talk.said)))
        }
        others = numbers.disagrees([talks[k] for k in counts], list(counts.values()), model)
        agreed = sum(sure for _, sure in others.values()) <= MOST_OTHERS * len(counts)
        for at, (number, _) in others.items():
            k = list(counts)[at]
            if _may_differ(talks[k].said):
                out[k] = counting.either(talks[k], model, counts[k], number)
    for k, talk in talks.items():
        one = out[k]
        if one is not None and one.exact and len(talk.best.streams) == 1 and _may_hold_more(talk, one.most):
            out[k] = counting.either(talk, model, one.most, one.most)
        if out[k] is None:
            out[k] = counting.requests(talk, model, agreed=agreed)
        elif model is not None and out[k] is one and one is not None and several(one.streams):
            out[k] = one._replace(streams=counting.settled(talk, model, one.streams))
    by_signs = _take_signs(talks, out, model)
    for k, talk in talks.items():
        if (counted := out[k]) is not None and k not in by_signs and _holds_more(talk.said, talk.told, known, counted.most):
            out[k] = None
        elif counted is not None:
            out[k] = counted._replace(streams=_perhaps_reset(talk.said, counted.streams, talk.over_ns))
    return out


def _surely(talk: Talk) -> int:
    """How many requests there are, where that needs nothing learned: a load generator's by what it writes, others' by signs; else 0."""
    if talk.said.at_once and not talk.at_once:
        return numbers.surely(talk.ways, CLIENT_SURE)
    return signs.number(talk, None) or 0


def _take_signs(talks: dict[int, Talk], out: list[Counted | None], model: Model | None) -> set[int]:
    """Take numbers that signs show (:mod:`netlens.chains.explained.signs`) in place, and return whose. Where all was written at once, no other number is exact
    but that of a single record: of those that learning alone found one in three was wrong."""
    shown, sizes = set(), begun.sizes(talks.values())
    for k, talk in talks.items():
        one, once = out[k], talk.at_once or talk.said.at_once
        number = signs.number(talk, one)
        if number is None and once and not talk.said.apart and signs.is_over(talk):
            even = begun.number(talk, sizes)
            number = even if even and (talk.at_once or (one is not None and one.least <= even <= one.most)) else None
        if once and not talk.at_once and (wrote := numbers.surely(talk.ways, CLIENT_SURE)):
            number = wrote
        if number is not None:
            shown.add(k)
            if one is None or not one.exact or one.most != number:
                out[k] = counting.shown(talk, model, number)
        elif one is not None and one.exact and once and len(talk.said.answers) > 1 and numbers.surely(talk.ways, CLIENT_SAYS) != one.most:
            out[k] = counting.either(talk, model, one.most, one.most)
        elif one is not None and one.exact and (ended := signs.empty_ends(talk)) > one.most:
            out[k] = counting.either(talk, model, one.most, ended)
        elif one is not None and one.exact and (heads := signs.other_heads(talk, one.most)):
            out[k] = counting.either(talk, model, one.most, heads)
        elif one is not None and one.exact and talk.said.bodies and 0 < (paid := signs.paid_in_all(talk)) < one.least:
            out[k] = counting.either(talk, model, paid, one.most)
    return shown


def _perhaps_reset(said: Said, streams: list[Stream], over_ns: int) -> list[Stream]:
    """Requests of which several never end, as far as answers tell: the server may have reset as many, and nobody sees which. So each may have ended with the
    first of its records behind the request that may hold RST_STREAM. One that never ends is as a rule in progress in the end."""
    resets = [r.ts for r in said.updates if asked.updates(r)]
    if sum(each.end_ns < 0 for each in streams) < OFTEN:
        return streams
    out, at = [], 0
    for each in streams:
        at = bisect_left(resets, each.sent_ns, at)
        if at < len(resets):
            begun, later, sooner, longer = each.doubt_ns
            end_ns = each.end_ns if each.end_ns >= 0 else over_ns
            each = replace(each, doubt_ns=(begun, later, max(sooner, end_ns - resets[at]), longer), unsure=True)
            at += 1
        out.append(each)
    return out


def several(streams: Sequence[Stream]) -> bool:
    """Whether several of these were in progress at a time."""
    return any(each.mixed for each in streams)


def counted(connection: Connection, known: Shapes = NOTHING) -> tuple[list[Stream], bool]:
    """Requests of a connection that speaks HTTP/2, in order of start, and whether they can be counted; without, they are what was found until then.

    known : what answers look like.
    """
    said, over_ns, cut = connection
    if said is None:
        return [], False
    if not said.readings:
        return [], all(r.size in CONTROL for r in said.mine)
    fitting: list[list[Stream]] = []
    if known.learned:
        said = endings.answers_alone(said, known)
        readings = [each for each in said.readings if each.likely]
        if cut:
            readings = [each for each in readings if len(each.streams) > BALANCED]  # fewer do not tell how they are sent
        most = max((len(each.streams) for each in readings), default=0)  # what is not seen makes fewer, of requests as of ends
        fitting = [
            streams
            for each in readings
            for streams in _by_shapes(said, each, known, over_ns if cut else NEVER, several=len(each.streams) == most and not each.together)
        ]
    else:
        shown = _shown(said)
        # these end two answers, it seems, and a write that was taken for one request may be both
        two = any(r.size == 2 * EMPTY for r in said.answers)
        for each in said.readings:
            if two and each.together:
                continue
            for ends in [shown, _shown(said, known.short)] if known.short else [shown]:
                streams = _copied(each)
                over = give(said.answers, streams, known, _each(ends), all_told=False)
                if over and _is_over(said.mine, said.answers, streams, each.apart, over_ns, known):
                    fitting.append(streams)
    # one that leaves nothing open is right, though another would be, too, if the last request had been in progress
    fitting = [streams for streams in fitting if _all_ended(streams)] or fitting
    return (fitting[0], True) if len({len(streams) for streams in fitting}) == 1 else (said.readings[0].streams, False)


def _shown(said: Said, short: frozenset[int] = frozenset()) -> dict[int, End]:
    """Empty frames, and short answers without one."""
    out = {k: End.UNKNOWN for k, r in enumerate(said.answers) if r.size == EMPTY}
    for k, r in enumerate(said.answers):
        after = said.answers[k + 1] if k + 1 < len(said.answers) else None
        if r.size in short and (after is None or after.size != EMPTY or after.ts - r.ts > AT_ONCE_NS):
            out[k] = End.SHORT
    return out


def _all_ended(streams: list[Stream]) -> bool:
    return all(each.end_ns >= 0 for each in streams)


def _by_shapes(said: Said, read: Reading, known: Shapes, cut_ns: int, *, several: bool) -> list[list[Stream]]:
    """Requests with their answers by what ends look like, in up to two ways that fit: one after the other; and ``several`` at a time, if each begins for sure,
    no piece looks like an end, and none is left in the end."""
    ends = endings.ends(said, read.streams, known, cut_ns)
    out = []
    if (one_by_one := _one_by_one(said, read, ends, known, cut_ns)) is not None:
        streams = _copied(read)
        if give(said.answers, streams, known, _each(one_by_one), all_told=True) and _all_ended(streams[:-1]):
            out.append(streams)
    if several and End.PERHAPS not in ends.values():
        streams = _copied(read)
        if give(said.answers, streams, known, _each(ends), all_told=True) and _all_ended(streams):
            out.append(streams)
    return out


def _each(ends: dict[int, End]) -> dict[int, tuple[End, ...]]:
    return {k: (kind,) for k, kind in ends.items()}


def _copied(read: Reading) -> list[Stream]:
    return [replace(each, sizes=[]) for each in read.streams]


def _one_by_one(said: Said, read: Reading, ends: dict[int, End], known: Shapes, cut_ns: int) -> dict[int, End] | None:
    """Ends, if each answer ends before the next request, without those that are pieces, as the answer goes on behind them; None if they do not."""
    if read.together and _more_updates(said, read):
        return None
    answers, streams, out = said.answers, read.streams, dict(ends)
    data = [k for k, r in enumerate(answers) if r.size != EMPTY or k in ends]
    at = guessed = 0
    alone: set[int] = set()  # sizes of answers of one record
    most: Counter[int] = Counter()  # records of a size in one turn
    for i, each in enumerate(streams):
        until = streams[i + 1].begin_ns if i + 1 < len(streams) else NEVER
        begin = at
        while at < len(data) and answers[data[at]].ts < until:
            at += 1
        turn = [answers[k] for k in data[begin:at]]
        alone |= {turn[0].size} if len(turn) == 1 else set()
        most |= Counter(r.size for r in turn)
        last = data[at - 1] if turn else -1
        if (turn and turn[0].ts < each.begin_ns) or (read.together and any(r.size in known.several for r in turn)):
            return None
        if read.together and len(turn) > SHORT and ends.get(last) == End.UNKNOWN and answers[last].size != EMPTY:
            return None  # silence ends several as it ends one
        if until == NEVER and cut_ns < NEVER and _goes_on(said.mine, each, turn, ends.get(last), cut_ns, known):
            last = -1
        elif not turn:
            return None
        elif last not in ends:
            silence = (answers[data[at]].ts if at < len(data) else cut_ns) - turn[-1].ts
            silent = silence > (known.pause_ns if at < len(data) else known.quiet_ns)
            if silent and not read.together:
                out[last] = End.UNKNOWN
            elif read.together and known.short and turn[-1].size >= TWICE * min(known.short):
                return None  # it may be several
            elif len(turn) <= SHORT and turn[-1].ts - each.sent_ns <= known.soon_ns < NEVER:
                out[last] = End.SHORT  # a refusal of another size than others
                guessed += 1
            else:
                return None
        for k, r in zip(data[begin:at], turn, strict=True):
            if k != last and k in ends:
                if not _is_piece(r, turn, each, ends[k], known):
                    return None
                del out[k]
    if read.together and any(most[size] > 1 for size in alone):
        return None  # what is an answer elsewhere is several here
    return out if at == len(data) and guessed * GUESSED <= len(streams) else None


def _more_updates(said: Said, read: Reading) -> bool:
    """Whether the server sends more WINDOW_UPDATEs for a short body than for most others: it may be those of several requests."""
    seen: Counter[int] = Counter()
    for each, after in zip_longest(read.streams, read.streams[1:]):
        until = after.begin_ns if after is not None else NEVER
        if each.up < FULL:
            seen[sum(asked.updates(r) for r in said.updates if each.sent_ns < r.ts < min(until, each.sent_ns + UPDATE_NS))] += 1
    usual, n = max(seen.items(), key=lambda item: (item[0] > 0, item[1]), default=(0, 0))
    return n >= OFTEN and max(seen) > usual


def _is_piece(r: Record, turn: list[Record], asked_for: Stream, end: End, known: Shapes) -> bool:
    """Whether what looks like an end may be a piece of the only answer in progress."""
    begun = turn.index(r) >= SHORT and r.ts - turn[0].ts > SHORT_NS
    return end in (End.SHORT, End.PERHAPS) and (begun or r.ts - asked_for.sent_ns > known.soon_ns)


def _goes_on(mine: list[Record], last: Stream, turn: list[Record], end: End | None, cut_ns: int, known: Shapes) -> bool:
    """Whether the last request is in progress when the capture ends."""
    ended = end is not None and not _is_piece(turn[-1], turn, last, end, known)
    last_ns = turn[-1].ts if turn else last.sent_ns
    resets = [r.ts for r, after in zip_longest(mine, mine[1:]) if r.ts >= last_ns and _may_reset(r, after)]
    return not resets and (not turn or (not ended and cut_ns - last_ns < known.quiet_ns))


def _is_one(mine: list[Record], only: Stream) -> bool:
    """Whether the client sent no more than the fields of one request and its body."""
    sent = [r for r in mine if r.size not in CONTROL]
    return sum(r.size < FULL for r in sent) <= 2 and sent[-1].ts <= only.sent_ns


def _may_reset(r: Record, after: Record | None) -> bool:
    """Whether a record of the client may hold RST_STREAM: it is as long as WINDOW_UPDATE. Fields of a request may be as long as several frames, but its body
    follows at once."""
    fields = r.size > 2 * WINDOW_UPDATE and after is not None and after.size not in CONTROL and after.ts - r.ts < AT_ONCE_NS
    return r.size >= WINDOW_UPDATE and r.size in CONTROL and not fields


def _is_over(mine: list[Record], answers: list[Record], streams: list[Stream], apart: bool, over_ns: int, known: Shapes) -> bool:
    """Whether the requests that have no end are in progress when the connection or the capture ends. Of a connection of one request whose server shows no
    ends it is the last record, set in place."""
    open_now = [each for each in streams if each.end_ns < 0]
    if not open_now:
        return True
    pieces = [r for r in answers if r.ts >= open_now[0].begin_ns and r.size != EMPTY]
    last_ns = pieces[-1].ts if pieces else open_now[-1].sent_ns
    resets = [r.ts for r, after in zip_longest(mine, mine[1:]) if r.ts >= streams[0].sent_ns and _may_reset(r, after)]
    if len(streams) == 1:
        if not _is_one(mine, streams[0]) or not (apart or known.plain):
            return False
        if pieces and not known.plain:
            streams[0].end_ns, streams[0].end_frame = last_ns, pieces[-1].frame
        return not resets or over_ns - last_ns <= ALIVE_NS
    ends = sorted(each.end_ns for each in streams if each.end_ns >= 0)
    idle = [k for k, each in enumerate(streams) if bisect_right(ends, each.begin_ns) == k]  # those that began when nothing was in progress
    since_ns = streams[idle[-1]].begin_ns
    alive = over_ns - last_ns <= ALIVE_NS or last_ns < open_now[-1].sent_ns
    may_be_broken_off = [ns for ns in resets if ns >= since_ns]
    if len(open_now) == 1 and open_now[0] is streams[idle[-1]] and may_be_broken_off and last_ns - may_be_broken_off[-1] > ALIVE_NS:
        may_be_broken_off = []
    return idle[-1] >= BALANCED and alive and not may_be_broken_off
