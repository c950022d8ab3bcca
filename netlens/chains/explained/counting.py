"""Requests of a connection as they are most likely: exactly, or between which numbers they are.

1. *The number of requests* is told if it is next to certain. A model explains best what it was learned from, so what the client alone says has a part in that,
   unless the model leaves no doubt and much was learned from. Signs that need no model (:mod:`netlens.chains.explained.signs`) tell it by themselves; where
   a client wrote all at once, nothing but these does. Given the number, the time of each start and each end is the median, and an interval that holds it with
   all but :data:`netlens.chains.explained.rows.OUTSIDE` on either side. For an exact number hardly anything may be in progress in the end, of the connection
   or the capture: an end that was missed shows there, or nowhere.
2. *Else the number is an interval*, and requests are as many as are likeliest. What the server said may be misread, so what the client alone tells has a
   part in the interval, a greater one where few records were learned from; with too few it is all there is, and answers may have ended at any time. Those
   beyond the least may never have begun, and those beyond the ones told may have been in progress besides (:class:`Counted`). A client of which nothing
   can be made is guessed at: each write may begin a request, so the interval is wide and never exact.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

from netlens.chains import grammar
from netlens.chains.asked import Stream
from netlens.chains.explained.forward_backward import Found, backward
from netlens.chains.explained.kernels import ANSWER, NEGLIGIBLE, START
from netlens.chains.explained.model import Model
from netlens.chains.explained.numbers import Numbers, Ways, by_client, explained, likeliest, likeliest_way, numbers, of_all
from netlens.chains.explained.rows import Times, streams, times
from netlens.chains.explained.steps import many
from netlens.chains.explained.talks import Talk
from netlens.chains.explained.walks import answered, waiting
from netlens.columns import NEVER

OF_CLIENT, CERTAIN = 0.2, 0.9  #: part of the client alone in whether a number is certain, and how likely it is then
SURER, LEARNED = 0.999, 50  #: the same by the model alone, and of how many records it was learned, at least
LIKELY, ALLOWED = 0.985, 0.25  #: the same by the model, where the client alone gives it at least the second
IN_PROGRESS = 0.2  #: how likely anything is in progress in the end, at most, for the number to be exact
CONTRADICTED = 0.01  #: the number that the model finds, by the client alone, if that sends fields in records of their own
DISAGREED = 0.5  #: part of the client, if the model finds other numbers than were counted
BEYOND = 5e-4  #: probability that the number is below its interval, or above


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


def requests(talk: Talk, model: Model | None, *, agreed: bool) -> Counted | None:
    """Requests of a connection: exactly, where their number is next to certain, else as many as are likeliest, and between which numbers they are. None
    where the client cannot be read. Without a ``model`` of the server the client alone tells.  agreed : the model finds the numbers that were counted
    without it."""
    if model is None:
        return _between(talk, [], None, DISAGREED)
    found = explained(talk, model)
    if found and agreed and not talk.guessed:
        number, p, at = likeliest(found)
        told, one = found[at]
        if _is_sure(talk, model, number, p) and (exact := _exact(talk, told, one, number, model)) is not None:
            return Counted(exact, number, number)
    return _between(talk, found, model, model.of_client if agreed and not talk.guessed else DISAGREED)


def shown(talk: Talk, model: Model | None, number: int) -> Counted:
    """Requests of a connection of which signs show how many they are."""
    between = number, number, number
    found = explained(talk, model) if model is not None else []
    given = [(each, one) for each, one in found if one.numbers.get(number, 0.0) > 0.0]
    if model is not None and given:
        told, one = max(given, key=lambda each: each[0].weight + each[1].evidence)
        if (exact := _exact(talk, told, one, number, model)) is not None:
            return Counted(exact, number, number)
        if (counted := _in_doubt(talk, told, one, model, between)) is not None:
            return counted
    return _by_client(talk, model, *between)


def _is_sure(talk: Talk, model: Model, number: int, p: float) -> bool:
    """Whether a number is next to certain that is so likely by the model: what it was learned from is what it explains, so the client alone has its part."""
    alone = by_client(talk.ways, model).get(number, 0.0)
    surer = p >= SURER and model.records >= LEARNED
    if talk.at_once and alone < CERTAIN:  # so what was written does not tell
        return p >= LIKELY
    return surer or (1 - OF_CLIENT) * p + OF_CLIENT * alone >= CERTAIN or (p >= LIKELY and alone >= ALLOWED)


def _exact(talk: Talk, told: grammar.Told, found: Found, number: int, model: Model) -> list[Stream] | None:
    one = backward(found.walk, number)
    if one is None or one.likely(len(one.events) - 1, lambda states: waiting(states) + answered(states) > 0) > IN_PROGRESS:
        return None
    begun, ended = times(one, number)
    if any(median == len(one.events) for _, median, _ in ended):
        return None
    return streams(talk, told.reading, one, begun, ended, model.ages)


def either(talk: Talk, model: Model | None, counted: int, number: int) -> Counted | None:
    """Requests of a connection that was counted, where the model finds another number."""
    found = requests(talk, model, agreed=False)
    if found is None:
        return None
    least, most = min(found.least, counted, number), max(found.most, counted, number)
    _doubt_begun(talk, found.streams[least:])
    begin_ns = found.streams[0].begin_ns if found.streams else talk.over_ns
    return Counted(found.streams, least, most, [*found.further, *[(begin_ns, talk.over_ns)] * (most - found.most)])


def settled(talk: Talk, model: Model, counted: list[Stream]) -> list[Stream]:
    """Requests that were counted without the model, with the answers that are theirs by it, and whether that is sure; as they are where it finds no way."""
    found = [(each, given) for each, one in explained(talk, model) if (given := backward(one.walk, len(counted))) is not None]
    found.sort(key=lambda each: -each[0].weight - each[1].evidence)
    exact = _exact(talk, *found[0], len(counted), model) if found else None
    if exact is not None and not any(each.unsure for each in exact):
        return exact
    for told, one in found:
        starts: dict[int, list[int]] = defaultdict(list)  # several may begin at once, each by itself or in one write
        for i, event in enumerate(one.events):
            if event.way == START:
                starts[event.ns].append(i)
        ends = {event.ns: i for i, event in enumerate(one.events) if event.way == ANSWER}
        begun = [(those.pop(0) if len(those) > 1 else those[0]) if (those := starts[each.begin_ns]) else -1 for each in counted]
        over = [ends.get(each.end_ns, -1) if each.end_ns >= 0 else len(one.events) for each in counted]
        if min(begun) >= 0 and min(over) >= 0:
            exactly = [(i, i, i) for i in sorted(begun)], [(i, i, i) for i in sorted(over)]
            return streams(talk, told.reading, one, *exactly, model.ages) or counted
    return exact or counted  # it was read in another way


def _between(talk: Talk, found: Ways, model: Model | None, of_client: float) -> Counted | None:
    """Requests, as many as are likeliest, with intervals for all that is in doubt. The model may misread a server, so the client alone has the part
    ``of_client`` in it, and all of it where nothing was found."""
    alone = by_client(talk.ways, model)
    if not any(alone):
        return None
    ways = numbers(found)
    by_all = of_all(ways)
    odds = _mixed(by_all, alone, _share(talk, by_all, alone, of_client))
    least = max(next(n for n in odds if sum(p for m, p in odds.items() if m <= n) > BEYOND), 1)
    most = next(n for n in reversed(odds) if sum(p for m, p in odds.items() if m >= n) > BEYOND)
    shown = [n for n in by_all if n and least <= n <= most and by_all[n] > 0.0]
    if shown and model is not None:
        number = max(shown, key=odds.__getitem__)
        told, one = found[likeliest_way(ways, number)]
        if (counted := _in_doubt(talk, told, one, model, (least, number, most))) is not None:
            return counted
    number = max((n for n in odds if least <= n <= most), key=odds.__getitem__)
    return _by_client(talk, model, number, least, most)


def _share(talk: Talk, by_all: Numbers, alone: Numbers, of_client: float) -> float:
    """Part that the client alone has."""
    if not by_all:
        return 1.0
    if not talk.best.together and alone.get(max(by_all, key=by_all.__getitem__), 0.0) < CONTRADICTED:
        return 1 - DISAGREED / 2  # where each begins shows, so it is the server that is misread
    return of_client


def _mixed(by_all: Numbers, alone: Numbers, share: float) -> Numbers:
    return {n: (1 - share) * by_all.get(n, 0.0) + share * alone.get(n, 0.0) for n in sorted({*by_all, *alone})}


def _in_doubt(talk: Talk, told: grammar.Told, one: Found, model: Model, between: tuple[int, int, int]) -> Counted | None:
    """As many requests as are likeliest, by one way to read the client; None where some of them never begin, or their answers never end.

    between : the least number of requests, the likeliest, and the most.
    """
    least, number, most = between
    begun, ended = times(one, most)
    if (given := backward(one.walk, number)) is not None:
        begun, ended = (_within(every, those) for every, those in zip((begun, ended), times(given, number), strict=True))
    never = len(one.events)
    if any(median == never for _, median, _ in begun[:number]):
        return None
    out = streams(talk, told.reading, one, begun[:number], ended[:number], model.ages)
    if out is None:
        return None
    for each in out:
        if each.end_ns < 0:  # an end that was missed shows nowhere else
            each.doubt_ns = (*each.doubt_ns[:2], max(talk.over_ns - each.sent_ns, 0), 0)
    _doubt_begun(talk, out[least:])
    ns = [*(event.ns for event in one.events), talk.over_ns]
    further = [
        (ns[early] if early < never else ns[0], ns[late]) for (early, *_), (*_, late) in zip(begun[number:], ended[number:], strict=True)
    ]
    return Counted(out, least, most, further)


def _within(every: Times, those: Times) -> Times:
    """Times with the medians that they have if there are just so many as ``those``, within what they are for any number."""
    return [(min(a, b), b, max(b, c)) for (a, _, c), (_, b, _) in zip(every, those, strict=False)] + every[len(those) :]


def _doubt_begun(talk: Talk, those: Iterable[Stream]) -> None:
    """They may never have begun."""
    for each in those:
        each.doubt_ns = (each.doubt_ns[0], max(talk.over_ns - each.begin_ns, 0), *each.doubt_ns[2:])


def _by_client(talk: Talk, model: Model | None, number: int, least: int, most: int) -> Counted:
    """The same where nothing is known of answers but that each ends with the connection, or before: as if one came after the other."""
    begins = _begins(talk, model, number)
    asked = [replace(each, up=each.up // n) for each, n in zip(talk.best.streams, begins, strict=True) for _ in range(n)][:most]
    asked = asked or talk.best.streams[:1]
    asked = sorted(
        [*asked, *[max(asked, key=attrgetter("up"))] * (least - len(asked))], key=attrgetter("begin_ns")
    )  # the longest may be several
    times = [r.ts for r in talk.said.answers]
    out = []
    for each, after in zip(asked, [*asked[1:], None], strict=True):
        at = bisect_left(times, NEVER if after is None else after.begin_ns)
        end_ns = max(times[at - 1] if at else each.sent_ns, each.sent_ns)
        doubt_ns = (0, 0, end_ns - each.sent_ns, max(talk.over_ns - end_ns, 0))
        out.append(replace(each, sizes=[], end_ns=end_ns, answer_ns=end_ns, unsure=True, doubt_ns=doubt_ns))
    _doubt_begun(talk, out[least:])
    return Counted(out, min(least, len(out)), most, [(asked[0].begin_ns, talk.over_ns)] * (most - len(out)))


def _begins(talk: Talk, model: Model | None, number: int) -> list[int]:
    """How many requests each start is likeliest to begin, in all ``number`` if that can be."""
    read, plain = talk.best, model or Model(False)
    every = [many(read, k, plain) for k in range(len(read.streams))]
    begins = [max(range(len(odds)), key=odds.__getitem__) for odds in every]
    while (more := number - sum(begins)) != 0:  # where one more or less is likeliest
        step = 1 if more > 0 else -1
        gain = [
            (odds[n + step] if 0 <= n + step < len(odds) else 0.0) / max(odds[n], NEGLIGIBLE) for odds, n in zip(every, begins, strict=True)
        ]
        at = max(range(len(gain)), key=gain.__getitem__)
        if gain[at] <= 0.0:
            break
        begins[at] += step
    return begins
