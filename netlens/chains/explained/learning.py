"""What the records of a capture look like, learned from its connections (expectation maximisation).

Learning begins with what :mod:`netlens.chains.endings` takes for ends, and goes on with what was found, with what is nearly sure alone. It may take about half
of the states that are weighed for a capture; with what is left, fewer of the unlikely ones are kept.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from netlens.chains import grammar
from netlens.chains.asked import EMPTY, PING
from netlens.chains.endings import End
from netlens.chains.explained import whose
from netlens.chains.explained.forward_backward import MOST_WEIGHED, SURE, Found, explain
from netlens.chains.explained.kernels import ANSWER, MOST_STATES, RESET, START, TELL_BESIDE
from netlens.chains.explained.model import LEAST_SHORT, PING_ASIDE, SMOOTHING, Model
from netlens.chains.explained.talks import AT_ONCE, EXACT, LEAST_HEAD, SHORT_HEAD, SOON, Look, Talk, first, pieces_of
from netlens.chains.explained.updates import updates
from netlens.chains.explained.walks import SEVERAL, Kind, answered, waiting
from netlens.columns import NEVER

LEARN_FROM, AGES_FROM = 3_000, 1_500  #: records of the server
FOR_A_ROUND, FOR_ANOTHER = MOST_WEIGHED // 8, MOST_WEIGHED // 4  #: of learning, behind the first; and before it begins again
LEAST_STATES = 40  #: behind a record, where much was weighed
SELDOM = 1e-7  #: probability of a state that is left out, while learning
SURE_OF_KIND = 0.3, 0.3, 0.5, 0.8  #: for a record to be learned from, each time
UNEXPLAINED = -100.0  #: evidence of a connection of which no way fits
AGAIN, BEGUN_AT_ONCE, BETTER = 1_000, 10.0, 5.0  #: records at most to learn from twice; first writes of two, three and four; evidence
FEW_SHORT, FEW_ENDS = 5, 0.5  #: less short answers, and less that looks like an end for each request, are few
WIDEST = 40  #: bytes by which pieces differ, at most, as what begins an answer is longer
MOST_SO = 0.5  #: share of requests that are answered with one size at first, for that to be what short answers may be


class Learned(NamedTuple):
    """The model, how well the one before it explains each of the first connections (logarithms), and whether it leaves a number in doubt."""

    model: Model
    evidence: list[float]
    doubtful: bool


def learn(talks: Sequence[Talk], shown: bool, sure: Sequence[bool]) -> Model:
    """What records look like; first from connections that are ``sure`` of their requests. Where few records leave numbers in doubt, learning begins again with
    first writes of several requests, as it ends where it began if little speaks against that; what explains the records better is taken."""
    chosen = first((talk for talk, _ in sorted(zip(talks, sure, strict=True), key=lambda each: not each[1])), LEARN_FROM)
    model = _at_first(chosen, shown)
    rounds: Sequence[float] = SURE_OF_KIND
    if not shown and (short := _short_perhaps(chosen, model)):
        # the one that explains the records better goes on
        one, other = (_learned(chosen, each, rounds[:1]) for each in (model, _at_first(chosen, shown, short, model.weighed)))
        better = sum(b - a for a, b in zip(one.evidence, other.evidence, strict=True)) > BETTER
        model, rounds = (other if better else one).model, rounds[1:]
    one = _learned(chosen, model, rounds)
    model = one.model
    several = any(talk.best.together and talk.best.many for talk in chosen)
    if one.doubtful and model.records <= AGAIN and model.weighed[0] <= FOR_ANOTHER and several:
        again = _at_first(chosen, shown, weighed=model.weighed)
        again.begins[0].update(dict.fromkeys(range(2, len(grammar.FIRST_MANY) + 1), BEGUN_AT_ONCE))
        other = _learned(chosen, again, SURE_OF_KIND)
        model = other.model if sum(other.evidence) > sum(one.evidence) + BETTER else model
    model.smoothing = SMOOTHING
    model.ages = _ages(chosen, model)
    events = sum((len(read.streams) + len(talk.said.answers)) for talk in talks for read, _ in talk.ways)
    model.most_states = _most_states(MOST_WEIGHED - model.weighed[0], events)
    return model


def _most_states(weighed: int, events: int) -> int:
    """Behind a record, so that so many are ``weighed`` in all, as far as that can be."""
    return min(max(weighed // max(events, 1), LEAST_STATES), MOST_STATES)


def _at_first(talks: Sequence[Talk], shown: bool, short: range = range(0), weighed: list[int] | None = None) -> Model:
    """By what looks like an end.  short : sizes of first records that are taken for short answers, though nothing shows where these end.  weighed : states so
    far."""
    model = Model(shown, records=sum(len(talk.said.answers) for talk in talks), updates=updates(talks))
    pieces = pieces_of([r.size for talk in talks for r in talk.said.answers if r.size != EMPTY])
    pieces = pieces if len(pieces) <= WIDEST else range(0)
    model.weighed = weighed or model.weighed
    model.most_states = _most_states(FOR_A_ROUND, sum(len(talk.best.streams) + len(talk.said.answers) for talk in talks))
    for talk in talks:
        starts = [each.begin_ns for each in talk.best.streams]
        looks, asides = talk.looks(starts), talk.asides(starts)
        for look in (*looks, *asides):
            model.count(look)
        for look in asides:
            if look.size == PING:
                model.add(look, Kind.HEAD, 1 - PING_ASIDE[0] / PING_ASIDE[1])
        for look, kinds in zip(looks, _by_ends(talk, starts, looks, shown, short, pieces), strict=True):
            for kind in kinds:
                model.add(look, kind, 1 / len(kinds))
    model.kinds[Kind.DONE] = max(model.kinds[Kind.DONE], model.kinds[Kind.HEAD])  # each stream ends somewhere
    return model


def _by_ends(
    talk: Talk, starts: Sequence[int], looks: Sequence[Look], shown: bool, short: range, pieces: range
) -> Iterator[tuple[Kind, ...]]:
    """What each record of the server may be.  pieces : sizes that begin no answer, though they come first behind a request, as another answer goes on; with
    fields, one may begin though it comes later."""
    with_fields = range(max(pieces.start + LEAST_HEAD, pieces.stop), pieces.stop + SHORT_HEAD if pieces else 0)
    led = False  # the record before is a head, and this one the rest of a short answer
    begun = [bisect_right(starts, r.ts) for r in talk.said.answers]
    for k, (look, before, at, then) in enumerate(zip(looks, [0, *begun], begun, [*begun[1:], NEVER], strict=False)):
        is_first = at > before
        end = talk.ends.get(k)
        ended, led = led, False
        goes_on = look.gap <= AT_ONCE and k + 1 < len(looks)
        if look.empty and not shown:
            yield (Kind.DONE,)
        elif is_first and look.size in short:
            yield (Kind.SHORT,)
        elif end is None or (goes_on and not shown and looks[k + 1].empty):
            led = is_first and goes_on and talk.ends.get(k + 1) in (End.SHORT, End.PERHAPS)
            last = end is None and then > at  # before the next request
            begins = is_first and look.size not in pieces
            goes_on_or_ends = (Kind.HEAD, Kind.SHORT) if begins else (Kind.PIECE, Kind.DONE)
            may_begin = not (begins or last) and look.size in with_fields
            yield goes_on_or_ends if last else (Kind.HEAD, Kind.PIECE) if may_begin else goes_on_or_ends[:1]
        elif ended:
            yield (Kind.DONE,)
        elif end == End.PERHAPS:
            yield Kind.SHORT, Kind.PIECE
        elif end == End.SHORT and look.size < LEAST_SHORT and not look.empty:
            yield (Kind.HEAD,)
        else:
            yield (Kind.SHORT if end == End.SHORT or (end == End.UNKNOWN and is_first and not shown) else Kind.DONE,)


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
    known = model.kinds[Kind.SHORT] >= FEW_SHORT or sum(len(talk.ends) for talk in talks) >= FEW_ENDS * requests
    return range(0) if known or sum(seen[each] for each in near) < MOST_SO * requests else near


def _learned(talks: Sequence[Talk], model: Model, rounds: Sequence[float]) -> Learned:
    """What is learned in some rounds; behind the first from as many connections as may be weighed."""
    for sure_of in rounds:
        after = Model(model.shown, updates=model.updates, weighed=model.weighed, records=model.records, most_states=model.most_states)
        evidence: list[float] = []
        doubtful = False
        before, few = model.weighed[0], 0
        for talk in talks:
            few += model.weighed[0] - before <= FOR_A_ROUND
            found = _explained(after, talk, model, sure_of)
            evidence.append(UNEXPLAINED if found is None else found.evidence)
            doubtful = doubtful or (found is not None and max(found.numbers.values(), default=1.0) < SURE)
        model, talks = after, talks[:few]
    return Learned(model, evidence, doubtful)


def _explained(after: Model, talk: Talk, model: Model, sure_of: float) -> Found | None:
    """A connection by what is known, from which is learned what is known ``after``."""
    starts = [each.begin_ns for each in talk.best.streams]
    looks, asides, resets = talk.looks(starts), talk.asides(starts), talk.resets(len(starts))
    for look in (*looks, *asides):
        after.count(look)
    found = explain(talk, talk.best, model, SELDOM)
    if found is None:
        return None
    states = found.walk.ways.states
    waits = waiting(states)
    several_wait = found.expected(waits > 1)
    might = 0.0  # several requests wait
    for k, (_, way, at, _) in enumerate(found.events):
        odds = enumerate(found.kinds[k].tolist())
        if way == START:
            after.begins[at > 0].add({n: p for n, p in odds if n and p})
            continue
        if way == RESET:
            of = after.broken[not resets[at][1]]
            was = float(found.kinds[k, Kind.BROKEN])
            of[0], of[1] = of[0] + was, of[1] + 1 - was
            continue
        for each, p in odds:
            if p > sure_of:
                after.add((looks if way == ANSWER else asides)[at], Kind(each), p)
            if each == Kind.SHORT or each in SEVERAL:
                after.several[Kind(each)] += p * might
        might = float(several_wait[k])
    lasts = np.diff([event.ns for event in found.events])
    begins = [1 - p if event.way == START else 0.0 for event, p in zip(found.events[1:], found.kinds[1:, 0].tolist(), strict=True)]
    after.waited_ns += float(lasts @ found.expected(waits)[:-1])
    beside = np.minimum(waits + answered(states), TELL_BESIDE)
    for tally, by in ((after.beside_ns, lasts), (after.begun_beside, begins)):
        weights = found.behind * np.repeat([0.0, *by, 0.0], np.diff(found.walk.ways.first))
        tally.add(dict(enumerate(np.bincount(beside, weights).tolist())))
    after.begun += sum(n * p for n, p in found.numbers.items())
    return found


def _ages(talks: Sequence[Talk], model: Model) -> whose.Ages:
    """Of requests as they are answered, by the first connections."""
    walks, before = [], model.weighed[0]
    for talk in first(talks, AGES_FROM):
        if model.weighed[0] - before <= FOR_A_ROUND and (found := explain(talk, talk.best, model, SELDOM)) is not None:
            walks.append((found.walk, found.back))
    return whose.learn(walks)
