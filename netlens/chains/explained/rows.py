"""Requests as rows, by what is likely of each moment of a connection: when each began and ended, and what its answer was."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate

import numpy as np

from netlens.chains.asked import EMPTY, Reading, Stream
from netlens.chains.endings import SHORT_NS
from netlens.chains.explained import whose
from netlens.chains.explained.forward_backward import Found
from netlens.chains.explained.kernels import ANSWER, START
from netlens.chains.explained.talks import Talk
from netlens.chains.explained.walks import Event, answered, extra, waiting

OUTSIDE = 0.003  #: probability that a time is before its interval, or behind it
SHORT_BYTES = 4096  #: of short answers, at most
SURE_ALONE = 0.9  #: that no other answer is in progress, for all that was said to be a short one's

#: Of each start or each end, in order of time: the event by which it is hardly so, as likely as not, and next to certain; one behind the last for never.
Times = list[tuple[int, int, int]]


def times(found: Found, number: int) -> tuple[Times, Times]:
    """Of starts and ends."""
    walk, never = found.walk, len(found.events)
    seen = np.repeat([0, *accumulate(event.way == START for event in found.events)], np.diff(walk.ways.first))
    begun = seen + extra(walk.ways.states)
    out = []
    for those in (begun, begun - waiting(walk.ways.states) - answered(walk.ways.states)):
        reached = np.zeros((3, never), np.int64)  # as many at least by each event: hardly, as likely as not, and next to certainly
        for k in range(never):
            states = walk.behind(k)
            at_least = np.cumsum(np.bincount(those[states], found.behind[states])[::-1])[-2::-1]
            reached[:, k] = [np.count_nonzero(at_least >= p) for p in (OUTSIDE, 0.5, 1 - OUTSIDE)]
        first = [np.searchsorted(np.maximum.accumulate(by), range(1, number + 1)).tolist() for by in reached]
        out.append(list(zip(*first, strict=True)))
    return out[0], out[1]


def streams(talk: Talk, read: Reading, found: Found, begun: Times, ended: Times, ages: whose.Ages) -> list[Stream] | None:
    """Requests by when each began, when answers ended, which may be never, and whose they are; None where one begins behind the last end."""
    payload = (event.record.payload if event.record is not None and event.way == ANSWER else 0 for event in found.events)
    sent = [0, *accumulate(payload)]  # bytes of the server, before each event
    starts = sorted(median for _, median, _ in begun)
    told = whose.shared(whose.answers(found.walk, found.back, ages), starts, partial(_look, found.events, sent))
    ends = _ends(starts, told, sorted(median for _, median, _ in ended))
    if ends is None:
        return None
    many = Counter(starts)
    out = []
    for start, each, end in zip(starts, told, ends, strict=True):
        asked = read.streams[found.events[start].at]
        out.append(_answered(replace(asked, sizes=[], theirs={}, up=asked.up // many[start]), found, sent, start, end, each))
    ns = [*(event.ns for event in found.events), talk.over_ns]
    for k, (early, _, late) in zip(sorted(range(len(ends)), key=ends.__getitem__), ended, strict=True):
        out[k].doubt_ns = (0, 0, max(ns[ends[k]] - ns[early], 0), max(ns[late] - ns[ends[k]], 0))
    for one, (early, median, late) in zip(out, begun, strict=True):
        sooner, later = ns[median] - ns[early], ns[late] - ns[median]
        if not read.apart:  # of several at once, some were sent before the end
            sooner += one.sent_ns - one.begin_ns
        one.doubt_ns = (sooner, later, *one.doubt_ns[2:])
    return out


def _look(events: Sequence[Event], sent: Sequence[int], pair: whose.Pair) -> int:
    """Bytes of a short answer, -1 of another one."""
    begins, over = (events[i].record for i in pair)
    size = sent[pair[1] + 1] - sent[pair[0]]
    short = begins is not None and over is not None and over.ts - begins.ts <= SHORT_NS and size <= SHORT_BYTES
    return size if short else -1


def _ends(starts: Sequence[int], told: Sequence[whose.Shared], ends: list[int]) -> list[int] | None:
    """Of each request the event at which its answer ends: that of a short answer that is its own, else the next one that is left."""
    of = [each.pair[1] if each.pair is not None and each.look >= 0 else -1 for each in told]
    for end in sorted(end for end in of if end >= 0):
        ends.remove(min(ends, key=lambda other: abs(other - end)))
    for k, start in enumerate(starts):
        if of[k] < 0:
            at = bisect_right(ends, start)
            if at == len(ends):
                return None
            of[k] = ends.pop(at)
    return of


def _answered(one: Stream, found: Found, sent: Sequence[int], start: int, end: int, told: whose.Shared) -> Stream:
    """A request with its answer, as far as that is known."""
    events, never = found.events, len(found.events)
    first = told.pair[0] if told.pair is not None and start < told.pair[0] <= end else start + 1
    heads = (i for i in range(first, never) if events[i].way == ANSWER or (told.pair is not None and i == told.pair[0]))
    first = min(next(heads, never), end)
    begins, over = (events[i].record if i < never else None for i in (first, end))
    one.unsure = told.pair is None or over is None
    if over is not None:
        one.end_ns, one.end_frame = over.ts, over.frame
    if begins is not None:
        one.answer_ns, one.answer_frame, one.sent_ns = begins.ts, begins.frame, min(one.sent_ns, begins.ts)
        beside = found.likely(first, lambda states: answered(states) > 1)
        if told.look >= 0 and beside > 1 - SURE_ALONE:  # what was said before the last record may be another's
            data = (i for i in range(end, first, -1) if events[i].way == ANSWER and found.walk.size(i) != EMPTY)
            first = next(data, first)
        one.down = (sent[min(end, never - 1) + 1] - sent[first]) // told.together
    for pair, p in told.theirs.items():
        end_ns = one.end_ns if pair == told.pair else events[pair[1]].ns
        one.theirs[end_ns] = one.theirs.get(end_ns, 0.0) + p
    return one
