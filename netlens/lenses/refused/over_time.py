"""Limits over time: does how much was sent before tell which requests are refused?

Theory of operation
-------------------
1. Each limiter of :mod:`netlens.lenses.refused.limiters` gives every request one number: how much of the limit earlier requests had used up. It refuses
   where that reaches the limit. So it is a count like any other: likelihood, limit and noise are those of :mod:`netlens.lenses.refused.limit`.
2. Requests count per side (an account each) or all together (one account, one address). A refused request takes nothing, unless attempts count; one
   without a label counts as accepted. Under a limit on bytes a request may need room for its own bytes, or be refused only once the limit is used up;
   and what is captured of it is more than what is counted, by headers and TLS records (:class:`Reading`). Both are searched for.
3. Parameters are tried from a coarse grid, then finely around the best; lengths that providers use (a minute, an hour) are preferred where they fit as
   well. Every value tried costs: the log of their number is taken from the log likelihood, so that a search over hundreds of windows wins no
   more often than one rule that was named before. Where many values fit as well, none was searched for: then the mean likelihood of all stands for
   the best, if that is more. With that, the ratio to the chance model is a Bayes factor, and by Markov's inequality chance
   exceeds 1 / p with probability p at most. It is taken over first refusals only, as retries of one refusal are no independent evidence.
   Of a long recording the beginning is searched, and what is found there is then refined and judged on all of it.
4. *Chance comes in bursts.* An overloaded provider refuses for a while, and windows end after a while too. So chance has two rates here, one after a
   refusal and one after an acceptance (a Markov chain of two states), and a limit must explain more than that there were bursts.
5. *Before the recording.* What was sent before a capture that begins midway decides requests of the first window; these count as chance would have it, bursts
   and all, so that they are no evidence either way.

Limits: tokens are known as bytes only. A window longer than the recording, or than what is searched of it, looks like a quota.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from netlens.chains.situation import ACCEPTED, REJECTED, UNKNOWN, Requests, Situation
from netlens.columns import Bools, Floats, Ints
from netlens.lenses.refused import kernels, limit
from netlens.lenses.refused.counting import SCOPES, Counts, Rule
from netlens.lenses.refused.limiters import SIZED, USUAL_S, Limiter, Meter, all_limiters, sliding_window
from netlens.lenses.refused.limiters._windows import Window, span_s
from netlens.threads import free_cores, in_parallel

SAME = 0.1  #: log units between limiters that fit equally well
MOST = 20_000  #: requests that are searched; 200 windows take a second with them
MOST_LATER = 20_000  #: requests; with a million, counters would take two gigabytes
MANY = 2_000  #: requests from which on limiters are fitted side by side; so many are searched at least
REACHED = 200  #: runs of refusals, with something accepted in between, after which more of them tell the search nothing new
NEARLY = 3.0  #: log units below the best of the beginning within which the best of all may lie
#: share of the labels (of their log likelihood by chance) that a limiter must explain of the beginning to be refined on all
PROMISING = 0.25
#: The search goes on around the best 3 values, with 4 more on either side of each, 3 times over: that finds a parameter to 0.03 %.
PEAKS, FINE, ZOOMS = 3, 4, 3
ROUND = 0.5  #: log units that a usual window may fit worse and still be named instead
#: Lengths of windows that somebody might choose, looked at where the usual ones explain nothing; and how often one must have begun in the recording.
UNUSUAL_S = tuple(float(w) for w in (*range(1, 61), *range(65, 121, 5), *range(130, 601, 10)))
TURNS = 2.0
SMALL = 1_000  #: a limit below is one on requests, and exact
#: Youden's J above which refusals follow a window. With enough refusals chance gives 0.1 to 0.4, in bursts too; limits over time and places that
#: are given back late give 0.5 to 0.9.
NO_WINDOW = 0.45
OVERHEADS = (0, 350)  #: bytes of a request that no provider counts: none, and what headers and one TLS record make as a rule
OVERHEAD_STEP, MOST_OVERHEAD = 50, 1000  #: tried at the best parameter
AGREES = 2.0  #: log units below the best within which a value is one of the 95 % that agree with the data (half of chi squared's 3.84)
NEAR = 1.1  #: factor within which a refill lies of what another overhead makes it
PARTS = 12  #: of an answer that counts as it is sent: a limit that is of several answers hardly errs by a part of one
QUICK = 1.5  #: times as long as nearly all refusals
SHIFTS, SHIFTED = 99, 0.02  #: shifts of labels, and the share of them that may separate as well


class Reading(NamedTuple):
    """How sizes are read. overhead : bytes of each request, or answer, that are not counted.  own : a request also needs room for itself.
    streamed : an answer counts as it is sent, and not when it is over."""

    overhead: int = 0
    own: bool = True
    streamed: bool = False

    @classmethod
    def all_of(cls, counts: str) -> list[Reading]:
        """Those to try first, by what is counted."""
        if counts == "bytes":
            return [cls(overhead, own) for overhead in OVERHEADS for own in (True, False)]
        return [cls(overhead, False, streamed) for overhead in OVERHEADS for streamed in (False, True)] if counts == "answers" else [cls()]

    def taken(self, sizes: Ints) -> Ints:
        """What requests, or answers, of these bytes take of the limit."""
        return np.maximum(sizes - self.overhead, 0)


@dataclass(frozen=True, eq=False)
class Fit:
    """How a limiter over time fits, at its best parameter.

    scope : "side" or "egress".  counts : what had been used up, per request.  value : the limit.
    log_likelihood : of all labels, the price of the search taken off.
    runs : how many times the limit was reached, something having been accepted in between.
    p : bound on how often chance fits as well.  hits, misses, false_alarms : as of :class:`netlens.lenses.refused.limit.RuleFit`.
    """

    limiter: Limiter = field(repr=False)
    scope: str
    parameter_s: float
    value: int
    low: int
    high: int
    log_likelihood: float
    p: float
    hits: int
    misses: int
    false_alarms: int
    auc: float
    runs: int
    counts: Counts = field(repr=False)
    reading: Reading = field(default_factory=Reading)
    first_log_likelihood: float = -np.inf  # of first refusals only, the price taken off too
    unseen: Bools | None = field(default=None, repr=False)  # requests whose outcome may rest on what was sent before the capture
    unseen_log_likelihood: float = 0.0  # of these, by chance; part of the whole
    #: Who runs into the limit is refused for so long (:mod:`netlens.lenses.refused.irregular_over_time`), and which requests came within that.
    barred_s: float = 0.0
    barred: Bools | None = field(default=None, repr=False)
    #: From when on (ns) the limit was how much lower than its highest; counts are of the highest, so as much is added to them.
    changes: tuple[tuple[int, int], ...] = ()
    #: From when on (ns) one token came back every how many seconds; ``parameter_s`` is the first, and ``counts`` are as if it had been so all the time.
    refills: tuple[tuple[int, float], ...] = ()
    begun: bool = False  # what was sent before the recording is taken to count, though nothing shows that there was any

    @property
    def plain(self) -> bool:
        return not (self.limiter.LATER or self.barred_s or self.changes or self.refills or self.begun)

    @property
    def values(self) -> list[tuple[int, int]]:
        """From when on (ns), which limit; the last is that at the end."""
        return [(at, self.value - lower) for at, lower in self.changes]

    @property
    def told(self) -> list[tuple[int, int]]:
        """The same in the words of the JSON: of a bucket that fills at another pace, what comes back in a minute."""
        return [(at, round(60.0 / refill_s)) for at, refill_s in self.refills] or self.values

    @property
    def paces(self) -> str:
        """How often a token comes back, in words: ``every 1 s, then every 3 s``."""
        return ", then ".join(f"every {p:.3g} s" for _, p in self.refills or ((0, self.parameter_s),))

    @property
    def last(self) -> int:
        return self.values[-1][1] if self.changes else self.value

    def lower(self, at_ns: Ints) -> Ints:
        """How much lower the limit was at these times than at its highest."""
        return Rule("requests", self.scope, changes=self.changes).lower(at_ns)

    @property
    def span_s(self) -> float:
        """The length of the window, or how long an empty bucket takes to fill up."""
        return self.parameter_s * (self.value if self.limiter.WINDOW == "bucket" else 1)

    @property
    def name(self) -> str:
        return f"{self.limiter.ID} per {SCOPES[self.scope]}"

    def described(self) -> dict[str, Any]:
        return self.limiter.described(self.refills[-1][1] if self.refills else self.parameter_s, self.last)

    def if_begun(self, price: float) -> Fit:
        """The same where that what was sent before counts is an assumption, which costs so many log units."""
        p = float(min(1.0, self.p * np.exp(price)))
        return replace(
            self, begun=True, log_likelihood=self.log_likelihood - price, first_log_likelihood=self.first_log_likelihood - price, p=p
        )


@dataclass(frozen=True, eq=False)
class TimeRule:
    """A fitted limiter over time as the replay decides by it."""

    fit: Fit
    edge_ns: int

    unit = "requests"

    @property
    def scope(self) -> str:
        return self.fit.scope

    @property
    def value(self) -> int:
        """The least that it was."""
        return min((value for _, value in self.fit.values), default=self.fit.value)

    @property
    def counts(self) -> str:
        return self.fit.limiter.COUNTS

    @property
    def per_s(self) -> float:
        """How many requests a second are accepted in the long run; of bytes, bytes."""
        refill = self.fit.described()["refill_s"]
        return 1.0 / refill if refill else self.value / self.fit.parameter_s

    def free_after_s(self, situation: Situation) -> float:
        """How long after it was used up the limit lets a request of the usual size through, at most."""
        fit = self.fit
        if fit.limiter.WINDOW != "bucket":
            return fit.parameter_s
        return max((p for _, p in fit.refills), default=fit.parameter_s) * (
            float(np.median(fit.reading.taken(situation.requests.sent_bytes))) if self.counts == "bytes" else 1.0
        )

    @property
    def barred_ns(self) -> int:
        """For how long who runs into the limit is refused, whatever is sent then; 0 where only the limit decides."""
        return round(self.fit.barred_s * 1e9)

    def meter(self) -> Meter:
        meter = self.fit.limiter.decide(self.fit.parameter_s, self.value, self.edge_ns)
        if self.fit.refills:
            return _Paced(meter, self.fit.refills)
        return _Changing(meter, self.fit.values) if isinstance(meter, Window) and self.fit.values else meter

    def exempt(self, situation: Situation) -> frozenset[int]:
        """Sides that were never refused, though they had reached the limit: it does not hold for them."""
        r = situation.requests
        refused = set(np.unique(r.side[r.rejected == REJECTED]).tolist())
        reached = set(np.unique(r.side[self.fit.counts.count >= self.fit.value]).tolist())
        return frozenset(reached - refused) | {UNKNOWN}


def paced(at_ns: Ints, refills: tuple[tuple[int, float], ...]) -> Ints:
    """Times on a clock by which a bucket that fills at another pace from some time on fills at its first pace always; these as they are without a change."""
    if not refills:
        return at_ns
    (_, before), (since, after) = refills
    return np.where(at_ns < since, at_ns, since + ((at_ns - since) * (before / after)).astype(np.int64))


class _Paced:
    """A bucket whose refill changes; ``refills``: of :class:`Fit`."""

    def __init__(self, bucket: Meter, refills: tuple[tuple[int, float], ...]) -> None:
        (_, before), (since, after) = self.refills = refills
        self.bucket, self.back = bucket, ((since, after), (since, before))

    def free_at(self, now: int, room: float) -> int:
        free = np.array([self.bucket.free_at(self._on_its_clock(now), room)])
        return max(now, int(paced(free, self.back)[0]))

    def take(self, now: int, room: float) -> None:
        self.bucket.take(self._on_its_clock(now), room)

    def _on_its_clock(self, now: int) -> int:
        return int(paced(np.array([now]), self.refills)[0])


class _Changing:
    """A window whose limit is another one from some time on; ``values``: of :class:`Fit`."""

    def __init__(self, window: Window, values: list[tuple[int, int]]) -> None:
        self.window, self.values = window, values

    def free_at(self, now: int, room: float) -> int:
        self.window.limit = [value for at, value in self.values if at <= max(now, self.values[0][0])][-1]
        return self.window.free_at(now, room)

    def take(self, now: int, room: float) -> None:
        self.window.take(now, room)


def rule_of(situation: Situation, fit: Fit) -> TimeRule:
    """With the edge of its windows, which lies just before what found an empty one: behind the widest gap between such requests, modulo the window."""
    starts, counts = situation.requests.start_ns, fit.counts.count
    width = int(fit.parameter_s * 1e9)
    first = np.sort(starts[1:][(counts[1:] == 0) & (counts[:-1] > 0)] % width)
    if not len(first):
        return TimeRule(fit, int(starts[0]) if len(starts) else 0)
    gaps = np.diff(np.concatenate([[first[-1] - width], first]))
    return TimeRule(fit, int(first[gaps.argmax()]))


def fits(situation: Situation, first: Bools, unusual: bool = False) -> list[Fit]:
    """Every limiter at its best, the best first; empty where nothing can be said.

    Parameters
    ----------
    first : requests that count for chance, as of :class:`netlens.lenses.refused.limit.Inference`.
    unusual : only those that are rarer: counters, and windows that follow each other of all lengths of whole seconds that somebody might choose; each that is
        tried costs.
    """
    r = situation.requests
    labelled = r.rejected >= 0
    if situation.uncountable or not (r.rejected == REJECTED).any() or not (r.rejected == 0).any():
        return []
    sides, scopes = together(situation)
    later = unusual and len(r) <= MOST_LATER
    chosen = [limiter for limiter in all_limiters() if (later if limiter.LATER else not unusual or _of_any_second(limiter))]
    rules = [(limiter, scope) for limiter in chosen for scope in scopes]
    # the kernels let go of the interpreter's lock; where there are few requests they are over before another thread has begun
    k = free_cores() if len(r) >= MANY else 1
    shares = in_parallel(
        *(lambda n=n: [_fit(situation, *rule, labelled, first, sides, len(rules), unusual) for rule in rules[n::k]] for n in range(k))
    )
    out = [shares[n % k][n // k] for n in range(len(rules))]
    found = [f for f in out if f is not None]
    best = max((f.log_likelihood for f in found), default=0.0)
    # requests of one size fill a limit on bytes and one on requests alike: the plain one is named
    return sorted(found, key=lambda f: (-min(f.log_likelihood, best - SAME), f.limiter.RANK if f.log_likelihood >= best - SAME else 0))


def together(situation: Situation) -> tuple[list[int], list[str]]:
    """(the sides that are known, the scopes that limits may have)."""
    every = np.unique(situation.requests.side).tolist()
    sides = [side for side in every if side != UNKNOWN]
    return sides, [*(["side"] if sides else []), *(["egress"] if situation.egress_seen and (len(every) > 1 or not sides) else [])]


def _of_any_second(limiter: Limiter) -> bool:
    """Whether its windows follow each other, so that those of unusual lengths are looked at later."""
    return limiter.WINDOW == "fixed" and limiter.COUNTS not in SIZED and not limiter.LATER


def without_others(situation: Situation, fit: Fit) -> tuple[Bools, Bools, Bools]:
    """Masks of requests: refusals at the limit; those of them that would be below it had the other side sent nothing, for certain; and at most.

    The two differ by what belongs to an unknown side: it may be the request's own, and not the other's.
    """
    r = situation.requests
    at = (r.rejected == REJECTED) & (fit.counts.count >= fit.value)
    if fit.barred is not None:
        at &= ~fit.barred  # what came behind one that ran into the limit goes with it
    gone, maybe = np.zeros(len(r), np.bool_), np.zeros(len(r), np.bool_)
    if fit.scope == "side":
        return at, gone, maybe
    own, taken = _taken(situation, fit.limiter, fit.reading, counted(r))
    on_its_clock = replace(r, start_ns=paced(r.start_ns, fit.refills))

    def below(rows: Ints, asked: Bools) -> Ints:
        """Those of the requests ``asked`` that are below the limit if no other than ``rows`` were sent."""
        # what is left where the edge of the window is not known: the most that any edge gives
        alone = np.zeros(len(rows), np.int64)
        line = _Timeline(on_its_clock, rows, fit.limiter.COUNTS, fit.reading.streamed)
        for score in line.used(fit.limiter, taken[rows], fit.parameter_s):
            counts = np.zeros(len(rows), np.int64)
            kernels.whole(score, own[rows], counts)
            alone = np.maximum(alone, counts)
        alone += fit.lower(r.start_ns[rows])
        return rows[(at & asked)[rows] & (alone < fit.value)]

    some_known = bool((r.side != UNKNOWN).any())
    for side in np.unique(r.side[at]).tolist():
        mine = r.side == side
        if side == UNKNOWN and some_known:  # these are of several sides, perhaps
            maybe |= at & mine
            continue
        maybe[below(np.flatnonzero(mine), mine)] = True
        gone[below(np.flatnonzero(mine | (r.side == UNKNOWN)), mine)] = side != UNKNOWN
    return at, gone, maybe


def _taken(situation: Situation, limiter: Limiter, reading: Reading, accepted: Bools) -> tuple[Floats, Floats]:
    """Per request: the room that it needs for itself, and what it takes of the limit; ``accepted``: see :func:`counted`."""
    r = situation.requests
    if limiter.COUNTS == "bytes":
        size = reading.taken(r.sent_bytes).astype(np.float64)
        return size if reading.own else np.zeros(len(r)), np.where(accepted, size, 0.0)
    if limiter.COUNTS == "answers":
        return np.zeros(len(r)), np.where(accepted, reading.taken(r.answer_bytes), 0.0)
    return np.zeros(len(r)), np.where(accepted, 1.0, 1.0 if limiter.COUNTS == "attempts" else 0.0)


class _Timeline:
    """When requests take what they take: when they are sent, or when their answers are over, or are sent bit by bit; in order, with the times at which requests
    ask for the outcome."""

    def __init__(self, requests: Requests, rows: Ints, counts: str, streamed: bool) -> None:
        self.parts = 0  # taken where it is asked
        self.times = requests.start_ns[rows]
        if counts != "answers":
            return
        r = requests.take(rows)
        share = np.arange(1, PARTS + 1) / PARTS if streamed else np.ones(1)
        self.parts = len(share)
        begun = np.where(r.answer_ns > 0, np.minimum(r.answer_ns, r.end_ns), r.end_ns)
        taken_ns = (begun[:, None] + np.outer(r.end_ns - begun, share).astype(np.int64)).ravel()
        both = np.concatenate([taken_ns, r.start_ns])
        self.order = np.argsort(both, kind="stable")
        self.times = both[self.order]
        place = np.empty(len(both), np.int64)
        place[self.order] = np.arange(len(both))
        self.asked = place[len(taken_ns) :]

    def used(self, limiter: Limiter, taken: Floats, parameter_s: float) -> list[Floats]:
        """How much of the limit had been used up when each request came; several where something besides the parameter is unknown."""
        if not self.parts:
            return list(limiter.scores(self.times, taken, parameter_s))
        sizes = np.concatenate([np.repeat(taken / self.parts, self.parts), np.zeros(len(taken))])[self.order]
        return [score[self.asked] for score in limiter.scores(self.times, sizes, parameter_s)]


def counted(requests: Requests) -> Bools:
    """Requests that take something of a limit: accepted ones, and those without a label, unless they were answered as quickly as refused ones are and
    accepted ones are not (a program without a log)."""
    r = requests
    lasted = r.end_ns - r.start_ns
    refused, accepted = lasted[r.rejected == REJECTED], lasted[r.rejected == ACCEPTED]
    out = r.held
    if len(refused) and len(accepted):
        quick = min(float(np.percentile(refused, 95)) * QUICK, float(np.percentile(accepted, 5)))
        out &= (r.rejected == ACCEPTED) | (lasted > quick)
    return out


def _searched(requests: Requests) -> int:
    """How many requests from the first on are searched."""
    labels = requests.rejected[requests.rejected >= 0][:MOST]
    again = np.flatnonzero((labels[1:] == REJECTED) & (labels[:-1] == ACCEPTED))
    if len(again) < REACHED:
        return min(len(requests), MOST)
    upto = int(np.flatnonzero(requests.rejected >= 0)[again[REACHED - 1] + 1]) + 1
    return min(max(upto, MANY), len(requests), MOST)


def follows_windows(situation: Situation, first: Bools) -> bool:
    """Whether refusals follow how much was accepted in some window of time before. They do under limits that are not modelled here, and where
    places are given back late; by chance they do not.

    The statistic is the best that any sliding window separates refused from accepted (Youden's J), for one side or for all together. What chance
    gives is found by shifting the labels in a circle along the requests: bursts of refusals stay, their tie to earlier requests is broken.
    """
    r = situation.requests
    rejected = r.rejected == REJECTED
    best, made = np.zeros(SHIFTS + 1), 1
    most = _searched(r)
    for rows in (np.arange(most), *(np.flatnonzero(r.side[:most] == side) for side in np.unique(r.side))):
        chosen = np.flatnonzero(first[rows])
        labels = rejected[rows][chosen]
        if not labels.any() or labels.all():
            continue
        steps = np.unique(np.linspace(1, len(labels) - 1, SHIFTS).astype(np.int64)) if len(labels) > 1 else np.zeros(0, np.int64)
        made = max(made, 1 + len(steps))  # a short recording has fewer shifts
        shifted = (np.flatnonzero(labels)[None, :] - np.concatenate([[0], steps])[:, None]) % len(labels)  # where refusals come to lie
        for parameter in sliding_window.parameters(r.start_ns[rows], np.ones(len(rows))):
            for score in sliding_window.scores(r.start_ns[rows], np.where(rejected[rows], 0.0, 1.0), parameter):
                values, of = np.unique(score[chosen], return_inverse=True)
                if len(values) < 2:
                    continue
                cells = of[shifted] + len(values) * np.arange(len(shifted))[:, None]
                refused = np.bincount(cells.ravel(), minlength=len(shifted) * len(values)).reshape(len(shifted), -1)
                below = np.cumsum(refused, axis=1)[:, :-1]  # below each value but the lowest
                all_below = np.cumsum(np.bincount(of))[:-1]
                found = ((all_below - below) / (~labels).sum() - below / labels.sum()).max(axis=1)
                best[: len(found)] = np.maximum(best[: len(found)], found)
    return bool(best[0] > NO_WINDOW and 1 + (best[1:made] >= best[0]).sum() <= max(SHIFTED * made, 1.0))


def by_connection(situation: Situation, first: Bools) -> Fit | None:
    """The best sliding window of requests of one connection upstream, whoever asks by it; None where connections carry one request each.

    It is what is said where no limit by side or address explains the refusals, and no cause by itself: who shares the connection is told by other things.
    """
    r = situation.requests
    if situation.uncountable or situation.midway_ns is not None or len(r) > MOST_LATER:
        return None
    groups = [np.flatnonzero(r.session == k) for k in np.unique(r.session[r.session >= 0])]
    search = Search(situation, sliding_window, r.rejected >= 0, counted(r), [rows for rows in groups if len(rows) > 1])
    if not search.possible or not search.coarse:
        return None
    reading, parameter_s, price = search.best()
    return fitted(search, "connection", reading, parameter_s, search.counts(reading, parameter_s), first, price)


def span(situation: Situation, fit: Fit) -> tuple[int, int]:
    """The lowest and the highest limit that the recording does not speak against. Of bytes in a window: by all that of each request, or answer, may not be
    counted (headers, TLS records), or be counted besides (what is kept free for the answer, as ``max_tokens`` of OpenAI's limits; tokens of less text)."""
    if fit.limiter.COUNTS not in SIZED or fit.limiter.WINDOW == "bucket" or fit.changes or fit.barred_s or fit.begun:
        return fit.low - fit.value + fit.last, fit.high - fit.value + fit.last
    r = situation.requests
    if len(r) > MOST:
        return fit.low, fit.high
    sides, _ = together(situation)
    groups = [np.arange(len(r))] if fit.scope == "egress" else [np.flatnonzero(r.side == side) for side in sides]
    search = Search(situation, fit.limiter, r.rejected >= 0, counted(r), groups)
    used, unseen = search.used, search.unseen_of_all(fit.parameter_s)
    found = [best_limit(fit.counts.count, search.rejected, used, unseen)]
    for each in {each._replace(overhead=0) for each in Reading.all_of(fit.limiter.COUNTS)}:
        for overhead in range(-MOST_OVERHEAD, MOST_OVERHEAD + 1, OVERHEAD_STEP):
            counts = search.counts(each._replace(overhead=overhead), fit.parameter_s)
            found.append(best_limit(counts, search.rejected, used, unseen))
    near = [limits for ll, limits in found if ll >= found[0][0] - AGREES]
    return min(low for low, *_ in near), max(high for _, high, _ in near)


def _fit(
    situation: Situation, limiter: Limiter, scope: str, labelled: Bools, first: Bools, sides: list[int], tries: int, unusual: bool
) -> Fit | None:
    """``tries``: rules that compete with this one, each with as many parameters."""
    r = situation.requests
    groups = [np.arange(len(r))] if scope == "egress" else [np.flatnonzero(r.side == side) for side in sides]
    most, accepted = _searched(r), counted(r)
    search = Search(situation, limiter, labelled, accepted, [rows[rows < most] for rows in groups], unusual)
    if not search.possible or not search.coarse:
        return None
    reading, parameter_s, price = search.best()
    if most < len(r):
        whole = Search(situation, limiter, labelled, accepted, groups)
        parameter_s = whole.refined(search, reading, parameter_s)
        search = whole
    else:
        price = min(price, search.tried(reading, parameter_s) - search.mean)
    counts = search.counts(reading, parameter_s)
    price += search.best_at(counts, parameter_s) - search.tried(reading, parameter_s) + float(np.log(tries))
    return fitted(search, scope, reading, parameter_s, counts, first, price)


def fitted(search: Search, scope: str, reading: Reading, parameter_s: float, counts: Ints, first: Bools, price: float) -> Fit | None:
    """What these counts tell at their best limit; ``price``: of the search."""
    limiter, used, rejected = search.limiter, search.used, search.rejected
    unseen = search.unseen_of_all(parameter_s)
    ll, (low, high, value) = best_limit(counts, rejected, used, unseen)
    if not np.isfinite(ll):
        return None  # no refusal came when anything had been used
    if limiter.WINDOW == "bucket" and value * parameter_s < min(USUAL_S):
        return None  # requests that near to each other are in progress together
    # requests of an unknown side are as likely under this as under chance
    rest = search.labelled & ~used
    ll += limit.one_rate(rejected[rest])
    alone = best_limit(counts, rejected, used & first, unseen)[0] - price
    chance = limit.by_chance(rejected[used & first])
    used = used & ~unseen
    none = np.zeros(len(counts), np.int64)
    full = Counts(counts, counts, counts, none, none)
    return Fit(
        limiter, scope, parameter_s, value, low, high, ll - price,
        float(min(1.0, np.exp(min(chance - alone, 0.0)))),
        int((used & rejected & (counts >= value)).sum()),
        int((used & rejected & (counts < value)).sum()),
        int((used & ~rejected & (counts >= value)).sum()),
        limit.auc_of(counts, rejected, used),
        limit.runs_of(used & rejected & (counts >= value), used, search.groups),
        full,
        reading,
        alone,
        unseen,
        search.unseen_by_chance(parameter_s),
    )  # fmt: skip


class _Outcomes:
    """Which of some requests were refused, as the kernel that finds the best limit wants it; ``label``: of :mod:`netlens.lenses.refused.kernels`."""

    def __init__(self, rejected: Bools, used: Bools) -> None:
        self.label = np.where(used, np.where(rejected, kernels.REFUSED, kernels.ACCEPTED), kernels.UNUSED).astype(np.int8)
        self._tables = limit.noise_of(int(used.sum())).tables
        self._below = np.zeros((4, kernels.BUCKETS + 1), np.int64)
        self._rest = np.zeros((2, len(rejected)), np.int64)
        self._best = np.zeros(1)
        self.found = np.zeros(3, np.int64)

    def by_chance(self, some: Bools) -> float:
        """The log likelihood of some labels by chance, in bursts too: what a limit could not have decided is as likely as without it."""
        return limit.by_chance(self.label[some & (self.label != kernels.UNUSED)] == kernels.REFUSED)

    def better(self, counts: Ints, than: float, unseen: Bools | None = None) -> float:
        """The log likelihood at the best limit, if it is higher than ``than``; else that. ``found`` is of the last that was higher.

        unseen : see :meth:`Search.unseen`.
        """
        label, by_chance = self.label, 0.0
        if unseen is not None:
            label, by_chance = np.where(unseen, np.int8(kernels.UNUSED), label), self.by_chance(unseen)
        self._best[0] = than - by_chance
        kernels.best_limit(counts, label, self._tables, self._below, self._rest, self.found, self._best)
        return float(self._best[0]) + by_chance


class Search:
    """The search for the best parameter of one limiter in one scope; ``groups``: rows of the requests that count together."""

    def __init__(
        self, situation: Situation, limiter: Limiter, labelled: Bools, accepted: Bools, groups: list[Ints], unusual: bool = False
    ) -> None:
        self.unusual = unusual
        r, groups = situation.requests, [rows for rows in groups if len(rows)]
        self.situation, self.limiter, self.groups = situation, limiter, groups
        self._accepted, self.labelled = accepted, labelled
        self._rows = np.concatenate(groups) if groups else np.zeros(0, np.int64)
        self._parts = [slice(end - len(g), end) for g, end in zip(groups, np.cumsum([len(g) for g in groups]).tolist(), strict=True)]
        self._starts = [r.start_ns[g] for g in groups]
        self.rejected = r.rejected == REJECTED
        self.used = np.zeros(len(r), np.bool_)
        self.used[self._rows] = labelled[self._rows]
        self._outcomes = _Outcomes(self.rejected[self._rows], self.used[self._rows])
        self._counts = np.zeros(len(self._rows), np.int64)
        self._known: dict[Reading, tuple[Floats, Floats]] = {}
        self._rooms: dict[Reading, list[tuple[Floats, Ints]]] = {}
        self._first: dict[Reading, tuple[float, ...]] = {}
        self._lines: dict[bool, list[_Timeline]] = {}
        self._last: tuple[tuple[int, bool, float], list[list[Floats]]] | None = None
        self.found: dict[Reading, dict[float, float]] = {}
        self._best_of: dict[tuple[Reading, float], int] = {}
        self.readings = Reading.all_of(limiter.COUNTS)

    def _taken(self, reading: Reading) -> tuple[Floats, Floats]:
        """As :func:`_taken`, of the requests of all groups, one group after the other; worked out once for a reading."""
        if reading not in self._known:
            own, taken = _taken(self.situation, self.limiter, reading, self._accepted)
            self._known[reading] = own[self._rows], taken[self._rows]
        return self._known[reading]

    def _timelines(self, streamed: bool) -> list[_Timeline]:
        if streamed not in self._lines:
            r, counts = self.situation.requests, self.limiter.COUNTS
            self._lines[streamed] = [_Timeline(r, rows, counts, streamed) for rows in self.groups]
        return self._lines[streamed]

    @property
    def possible(self) -> bool:
        """Whether there are refusals, and something that was taken (bytes may not be known)."""
        return bool((self.rejected & self.used).any() and self._taken(self.readings[0])[1][self.used[self._rows]].any())

    @cached_property
    def coarse(self) -> tuple[float, ...]:
        """Parameters to try first: those that any group suggests."""
        return self._coarse(self.readings[0])

    def _coarse(self, reading: Reading) -> tuple[float, ...]:
        """The same by a reading of sizes; windows are the same by all, refills are not."""
        if reading not in self._first:
            if self.unusual and not self.limiter.LATER:
                longest = max((span_s(starts) for starts in self._starts), default=0.0)
                self._first[reading] = tuple(w for w in UNUSUAL_S if w <= longest / TURNS)
            else:
                room, taken = self._taken(reading)
                each = zip(self._starts, self._parts, strict=True)
                suggested = {p for starts, part in each for p in self.limiter.parameters(starts, taken[part], room[part])}
                self._first[reading] = tuple(sorted(suggested))
        return self._first[reading]

    def unseen(self, parameter_s: float) -> Bools | None:
        """bool per request of all groups: those whose outcome requests may have decided that were sent before the capture began, which is as long as the window
        reaches back to before; None if there are none. Chance is as likely to have decided so."""
        midway_ns = self.situation.midway_ns
        if midway_ns is None or self.limiter.WINDOW == "bucket":
            return None
        starts, used = self.situation.requests.start_ns[self._rows], self._outcomes.label != kernels.UNUSED
        found: Bools = used & (starts - midway_ns < parameter_s * 1e9)
        return found if found.any() else None

    def unseen_of_all(self, parameter_s: float) -> Bools:
        """The same, per request of the situation."""
        out, unseen = np.zeros(len(self.used), np.bool_), self.unseen(parameter_s)
        if unseen is not None:
            out[self._rows[unseen]] = True
        return out

    def unseen_by_chance(self, parameter_s: float) -> float:
        """The log likelihood of their labels, which is part of what is found."""
        unseen = self.unseen(parameter_s)
        return 0.0 if unseen is None else self._outcomes.by_chance(unseen)

    def _variants(self, reading: Reading, parameter_s: float) -> list[list[Floats]]:
        """What had been used up, by group; several where something besides the parameter is unknown.

        The last are kept: readings that differ only in the room that a request needs have the same, and are tried one after the other.
        """
        if self._last is None or self._last[0] != (reading.overhead, reading.streamed, parameter_s):
            _, taken = self._taken(reading)
            each = zip(self._timelines(reading.streamed), self._parts, strict=True)
            scores = [line.used(self.limiter, taken[part], parameter_s) for line, part in each]
            self._last = (reading.overhead, reading.streamed, parameter_s), scores
        return self._last[1]

    def _count(self, reading: Reading, variants: list[list[Floats]], k: int) -> Ints:
        """The counts of variant ``k``, of the requests of all groups; they are overwritten by the next."""
        if reading not in self._rooms:
            own, _ = self._taken(reading)
            self._rooms[reading] = [(own[part], self._counts[part]) for part in self._parts]
        for (own, counts), scores in zip(self._rooms[reading], variants, strict=True):
            kernels.whole(scores[min(k, len(scores) - 1)], own, counts)
        return self._counts

    def tried(self, reading: Reading, parameter_s: float) -> float:
        """The log likelihood at the best limit, what the variants cost taken off."""
        known = self.found.setdefault(reading, {})
        if parameter_s not in known:
            variants = self._variants(reading, parameter_s)
            most, unseen = max(map(len, variants)), self.unseen(parameter_s)
            best, self._best_of[reading, parameter_s] = -np.inf, -1
            for k in range(most):
                found = self._outcomes.better(self._count(reading, variants, k), best, unseen)
                if found > best:
                    best, self._best_of[reading, parameter_s] = found, k
            known[parameter_s] = best - float(np.log(most))
        return known[parameter_s]

    @property
    def variants(self) -> int:
        """How many there are of each parameter, of which the best is taken."""
        return max(map(len, self._variants(self.readings[0], self.coarse[0])), default=1) if self.coarse else 1

    def counts(self, reading: Reading, parameter_s: float) -> Ints:
        """Per request of the situation, the counts of the best variant."""
        out = np.zeros(len(self.used), np.int64)
        self.tried(reading, parameter_s)
        if (best := self._best_of[reading, parameter_s]) >= 0:
            out[self._rows] = self._count(reading, self._variants(reading, parameter_s), best)
        return out

    def best_at(self, counts: Ints, parameter_s: float) -> float:
        """The log likelihood at the best limit for these counts."""
        return best_limit(counts, self.rejected, self.used, self.unseen_of_all(parameter_s))[0]

    def best(self) -> tuple[Reading, float, float]:
        """(reading, parameter, what the search cost)."""
        tries = sum(len(self._coarse(each)) for each in self.readings)
        best = {each: max((self.tried(each, p) for p in self._coarse(each)), default=-np.inf) for each in self.readings}
        reading = max(self.readings, key=lambda each: best[each])
        if self._any_length:
            self._finely(reading, PEAKS)
        parameter_s = self._named(reading)
        if len(self.readings) > 1:
            reading, parameter_s = self._overhead(reading, parameter_s)
            tries *= MOST_OVERHEAD // OVERHEAD_STEP
        return reading, parameter_s, float(np.log(tries))

    @property
    def mean(self) -> float:
        """The log of the mean likelihood of all that was tried first."""
        found = np.array([self.tried(each, p) for each in self.readings for p in self._coarse(each)])
        return float(np.logaddexp.reduce(found) - np.log(len(found)))

    def refined(self, searched: Search, reading: Reading, parameter_s: float) -> float:
        """The parameter that another search found in a part of these requests, or one near it that fits all of them better."""
        labels = searched.rejected[searched.used]
        if not self._any_length or searched.tried(reading, parameter_s) < limit.one_rate(labels) * (1.0 - PROMISING):
            return parameter_s
        found = searched.found[reading]
        order = sorted(found)
        near = [k for k, p in enumerate(order) if found[p] >= max(found.values()) - NEARLY]
        for p in [parameter_s, *order[max(near[0] - 1, 0) : near[-1] + 2]]:
            self.tried(reading, p)
        self._finely(reading, 1)
        return self._named(reading)

    @property
    def _any_length(self) -> bool:
        """Whether windows may have any length. Fixed ones have round ones: with any length, and any edge, one fits every burst."""
        return self.limiter.WINDOW not in ("fixed", "counter")

    def _finely(self, reading: Reading, peaks: int) -> None:
        for _ in range(ZOOMS):
            found = self.found[reading]
            order = sorted(found)
            for at in sorted(range(len(order)), key=lambda k: -found[order[k]])[:peaks]:
                around = (order[max(at - 1, 0)], order[at], order[min(at + 1, len(order) - 1)])
                for p in np.concatenate([np.geomspace(a, b, FINE + 2)[1:-1] for a, b in pairwise(around)]).tolist():
                    self.tried(reading, p)

    def _named(self, reading: Reading) -> float:
        """The best parameter: a usual one where that fits as well, then whole seconds of a window, else the middle of those that fit as well."""
        found = self.found[reading]
        best_p = max(found, key=lambda p: found[p])
        least = found[best_p] - ROUND
        if usual := [p for p in found if p in USUAL_S and found[p] >= least]:
            return usual[0]
        middle = _middle(found, best_p)
        whole = float(round(middle))
        return whole if self.limiter.WINDOW != "bucket" and whole and self.tried(reading, whole) >= least else middle

    def _overhead(self, reading: Reading, parameter_s: float) -> tuple[Reading, float]:
        """The reading with the overhead that fits best, the middle of those that fit equally well; and the parameter by it.

        A refill is another by each, as less comes back a second if less is counted of what was accepted: it is searched for again near to what that makes it.
        """
        each = {k: reading._replace(overhead=k) for k in (*range(0, MOST_OVERHEAD, OVERHEAD_STEP), reading.overhead)}
        if self.limiter.WINDOW != "bucket":
            return each[self._best_overhead({k: self.tried(r, parameter_s) for k, r in each.items()})], parameter_s
        counted = {k: float(self._taken(r)[1].sum()) for k, r in each.items()}
        fit = {}
        for k in (k for k in each if counted[k]):
            scaled = parameter_s * counted[reading.overhead] / counted[k]
            fit[k] = max(self.tried(each[k], p) for p in (scaled, *(p for p in self._coarse(each[k]) if scaled / NEAR < p < scaled * NEAR)))
        found = each[self._best_overhead(fit)]
        self._finely(found, 1)
        return found, self._named(found)

    @staticmethod
    def _best_overhead(fit: dict[int, float]) -> int:
        return round(_middle({float(k): v for k, v in fit.items()}, max(fit, key=lambda k: fit[k])))


def _middle(found: dict[float, float], best: float) -> float:
    """Of the parameters that fit as well as the best, next to each other, the middle one."""
    order = sorted(found)
    at = order.index(best)
    low = high = at
    while low > 0 and found[order[low - 1]] >= found[best] - 1e-9:
        low -= 1
    while high + 1 < len(order) and found[order[high + 1]] >= found[best] - 1e-9:
        high += 1
    return order[(low + high) // 2]


def best_limit(counts: Ints, rejected: Bools, used: Bools, unseen: Bools | None = None) -> tuple[float, tuple[int, int, int]]:
    """(log likelihood, (lowest, highest, named) limit) at the best limit for these counts."""
    outcomes = _Outcomes(rejected, used)
    ll = outcomes.better(counts, -np.inf, unseen)
    if not np.isfinite(ll):
        return ll, (0, 0, 0)
    value = int(outcomes.found[kernels.VALUE])
    known = used if unseen is None else used & ~unseen
    low = int(counts[known & (counts < value)].max(initial=0)) + 1
    return ll, (low, value, roundest(low, value))


def roundest(low: int, high: int) -> int:
    """The number from low to high that somebody would have chosen: with the fewest digits before zeros; of small ones the highest."""
    if high < SMALL:
        return high
    step = 10 ** len(str(high))
    while high // step * step < low:
        step //= 2 if str(step)[0] == "1" else 5
    return high // step * step
