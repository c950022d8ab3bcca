"""Counting rules: what a provider may count, and how much of it others held when each request came.

Theory of operation
-------------------
1. A rule is a *unit* (requests in flight, or connections not yet closed) times a *scope* (this side only: one account or key a side; or
   everything from the egress address), and perhaps each address of the API by itself, where it has several (round robin, edges).
2. n(i) is what *others* hold at the moment request i was sent upstream. Others excludes the request itself and, of connections, the one
   session that carries it; what a tunnel opened beside that session does count.
3. A refused request holds no place; one whose label is unknown is taken to hold one (refusals are short, so it hardly matters).
4. Times are known only so well (the wire between us and the provider, the clock between two captures). What began or ended within
   ``uncertain_ns`` of the request may or may not have been counted, so each count is three numbers: ``low`` <= ``count`` <= ``high``.
   A session whose side is unknown is in no side's ``low`` and in every side's ``high``. A reset reaches a server at once, but it may learn of it only
   with its next write: what was broken off may have been counted for :data:`UNNOTICED_NS` more.
5. A cause is taken away by an :class:`Adjustment` of the same count. Less is uncertain then, as what is asked is what a limit that is known would have done.
   Half a round trip lies between the provider and what was seen of it: what was seen to end shortly behind the request may be over before the provider has it,
   what was seen to end before is; and requests arrive in the order in which they were sent, but for those that may overtake each other
   (:data:`OVERTAKEN_NS`). Rules are fitted without that: with it chance was claimed for two models that count by themselves.
   Nothing else in netlens knows how to count.

Limits: what was sent in a window of time is not a count of what is open; :mod:`netlens.lenses.refused.over_time` has that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from netlens.chains.situation import (
    ACCEPTED,
    COMPANION,
    HOST,
    LOOKUPS,
    RECORDED,
    REJECTED,
    REQUESTS,
    UNKNOWN,
    VM,
    Requests,
    Situation,
)
from netlens.columns import Bools, Codes, Ints, Rows, in_order
from netlens.lenses.refused import kernels

UNITS = ("requests", "connections")
#: pieces of an answer come several a second; through sshuttle refusals came up to 43 ms after the reset (measured)
UNNOTICED_NS = 500_000_000
NOWHERE = -2  #: session of what there may have been besides
OVERTAKEN_NS = 5_000_000  #: that a request may overtake one on another connection, at least; an eighth of the round trip where that is more
SCOPES = {"side": "side", "egress": "egress address"}  #: and how rules call them


class Sized(NamedTuple):
    """How sizes of requests are counted. overhead : bytes of each that are not.  own : a request also needs room for itself; one alone is let through."""

    overhead: int
    own: bool

    def taken(self, requests: Requests) -> Ints:
        """What each takes of the limit."""
        return np.maximum(requests.sent_bytes - self.overhead, 0)


@dataclass(frozen=True)
class Rule:
    """What is counted, and of whom. In order of preference where two fit alike: requests before connections, side before egress.

    held_s : how long a request stays counted after its answer.  broken_s : the same of one whose answer was broken off: a server learns of that with its
        next write, or the one after.
    waited : requests wait for a place, and are refused if none came free for so long (:func:`patience`): who waits holds none.
    by_writes : one whose answer was broken off stays counted until that write (``Requests.noticed_ns``).
    changes : (from when on in ns, how much lower the limit is than at its highest); as much is added to counts, so they are of the highest limit.
    models : each model counts by itself, and its limit is so much lower than the highest, by the number that :func:`models` gives; () if all are counted
        together. As much is added to counts, too.
    sized : requests count by their size; None if each counts as one.
    """

    unit: str
    scope: str
    per_address: bool = False
    held_s: float = 0.0
    broken_s: float = 0.0
    by_writes: bool = False
    waited: bool = False
    changes: tuple[tuple[int, int], ...] = ()
    models: tuple[int, ...] = ()
    sized: Sized | None = None

    @property
    def name(self) -> str:
        each = ", each address of the server by itself" if self.per_address else ""
        late = f", given back {self.held_s:g} s late" if self.held_s else ""
        late += f", {self.broken_s:g} s late where an answer was broken off" if self.broken_s else ""
        late += ", with the server's next write where an answer was broken off" if self.by_writes else ""
        late += ", after a wait for a place" if self.waited else ""
        changing = ", the limit changing" if self.changes else ", small and large requests by themselves" if self.models else ""
        return f"{'bytes of requests' if self.sized else self.unit} per {SCOPES[self.scope]}{each}{late}{changing}"

    @property
    def plain(self) -> Rule:
        """The same without what is not plain."""
        return replace(self, held_s=0.0, broken_s=0.0, by_writes=False, waited=False, changes=(), models=(), sized=None)

    def lower(self, at_ns: Ints) -> Ints:
        """How much lower the limit was at these times than at its highest."""
        if not self.changes:
            return np.zeros(len(at_ns), np.int64)
        times, less = (np.array(column, np.int64) for column in zip(*self.changes, strict=True))
        return np.asarray(less[np.maximum(np.searchsorted(times, at_ns, "right") - 1, 0)])

    @property
    def lower_now(self) -> int:
        """The same at the end."""
        return self.changes[-1][1] if self.changes else 0


#: times that the smallest of the large requests is larger than the largest of the small ones, where they go to different models
APART = 2.5
SHARE, FEWEST = 0.05, 5  #: of the requests that are of either size, at least


def models(requests: Requests) -> Ints:
    """Which model each request is for, as far as sizes tell: 0 the large ones, 1 the small ones (titles, summaries) of each side; 0 where it has not two sizes.

    In an encrypted stream the model's name is not seen. Programs send small jobs to another model, and these are small by nature (measured with opencode:
    2.9 kB for titles, 31 to 34 kB for turns).
    """
    out = np.zeros(len(requests), np.int64)
    for side in np.unique(requests.side).tolist():
        mine = requests.side == side
        out[mine] = _small(requests.sent_bytes[mine])
    return out


def _small(sent: Ints) -> Ints:
    """1 for those of another order of size than the larger ones, 0 for these, and for all where there are not two orders."""
    sizes = np.sort(sent)
    none = np.zeros(len(sizes), np.int64)
    fewest = max(FEWEST, int(SHARE * len(sizes)))
    if len(sizes) < 2 * fewest or sizes[0] <= 0:
        return none
    ratio = (sizes[1:] / sizes[:-1])[fewest - 1 : len(sizes) - fewest]
    at = int(ratio.argmax())
    return (sent <= sizes[at + fewest - 1]).astype(np.int64) if ratio[at] >= APART else none


@dataclass(frozen=True, eq=False)
class Patience:
    """How requests wait for a place, as far as answers show it.

    wait_ns : how long a request waits that is refused.  decided_ns : int64[n], when each was refused, or served for certain.
    served_ns : when each was served, about; ``unsure_ns``: and by how much sooner that may have been.
    """

    wait_ns: int
    decided_ns: Ints
    served_ns: Ints
    unsure_ns: int


#: Refusals that come later than that, and all after about as long, have waited; a fifth of the wait is what clients and networks add.
PATIENT_NS, EVEN, FEWEST_WAITED = 300_000_000, 0.2, 5


def patience(requests: Requests) -> Patience | None:
    """Whether refusals come after a wait that is always as long, as where a queue has a time limit; None if they do not.

    An answer's first byte shows that it is served. What that takes as a rule is taken from the quickest: these did not wait.
    """
    r = requests
    known = r.answer_ns > r.start_ns
    refused, accepted = known & (r.rejected == REJECTED), known & (r.rejected == ACCEPTED)
    waits = (r.answer_ns - r.start_ns)[refused]
    if min(len(waits), int(accepted.sum())) < FEWEST_WAITED or 2 * len(waits) < (r.rejected == REJECTED).sum():
        return None
    low, wait, high = np.percentile(waits, (10, 50, 90)).tolist()
    if low < PATIENT_NS or high - low > EVEN * wait:
        return None
    quick, usual = np.percentile((r.answer_ns - r.start_ns)[accepted], (10, 50)).tolist()
    if wait < usual:  # refusals that come sooner than answers have not waited for long
        return None
    served = np.where(accepted, np.maximum(r.answer_ns - int(quick), r.start_ns), r.start_ns)
    return Patience(int(wait), np.where(refused | accepted, r.answer_ns, r.start_ns), served, int(min(usual - quick, quick)))


RULES = tuple(Rule(unit, scope) for unit in UNITS for scope in SCOPES)
#: Where the API was reached at several addresses.
ADDRESS_RULES = tuple(Rule(unit, scope, True) for unit in UNITS for scope in SCOPES)


def rules(situation: Situation) -> tuple[Rule, ...]:
    """The rules that a situation can show, the preferred ones first. Rules about the egress address need a capture of all that leaves by it.

    Connections in which a relay carries the requests of both sides belong to neither, so nobody can count connections per side there.
    """
    s, r = situation.sessions, situation.requests
    known = r.side != UNKNOWN
    shared = bool(np.intersect1d(r.session[known & (r.side == VM)], r.session[known & (r.side != VM)]).size)
    several = len(np.unique(s.address[s.kind == REQUESTS])) > 1
    found = (*RULES, *ADDRESS_RULES) if several else RULES
    possible = (rule for rule in found if rule.scope == "side" or situation.egress_seen)
    return tuple(rule for rule in possible if not (shared and (rule.unit, rule.scope) == ("connections", "side")))


@dataclass(frozen=True)
class Adjustment:
    """What is taken away before counting; nothing by default.

    others_side : the traffic of the side that the request does not belong to.  companions : extra upstream sessions of the tunnel, and what a relay sent again:
        that meets nobody then.
    lookups : sessions of DNS over TCP.  leftovers : what goes on after the program was done with it, and idle connections.
    """

    others_side: bool = False
    companions: bool = False
    lookups: bool = False
    leftovers: bool = False


AS_SEEN = Adjustment()
ALONE = Adjustment(others_side=True, companions=True, lookups=True, leftovers=True)  #: the side's own requests, as the program made them


@dataclass(frozen=True, eq=False)
class Counts:
    """How many others there were at the start of each request: int64[n requests] each, low <= count <= high.

    ``unknown``: how many more there would be if all of unknown side were of the request's own.  ``lasting``: of those that may have begun by then, how many
    were surely not over, and are surely counted; 0 where nothing is taken away.
    """

    count: Ints
    low: Ints
    high: Ints
    unknown: Ints
    lasting: Ints


@dataclass(frozen=True, eq=False)
class _Held(Rows):
    """Places held, [start, end), in order of (session, start): by whom, by which session; ``item``: the request that holds it, -1 for a session or one that was
    under way when the capture began; ``late``: how much longer it may have been held; ``doubt_ns``: as of requests."""

    start: Ints
    end: Ints
    side: Codes
    session: Ints
    item: Ints
    late: Ints
    doubt_ns: Ints = field(default_factory=lambda: np.zeros((0, 4), np.int64))

    def __post_init__(self) -> None:
        if len(self.doubt_ns) != len(self.start):
            object.__setattr__(self, "doubt_ns", np.zeros((len(self.start), 4), np.int64))


def others(situation: Situation, rule: Rule, adjustment: Adjustment = AS_SEEN) -> Counts:
    """How many places others held when each request was sent, under a rule.

    Parameters
    ----------
    situation : what was captured.  rule : what counts.  adjustment : what is taken away first.
    """
    held = (
        _with_perhaps(_requests(situation, adjustment, rule), situation, rule)
        if rule.unit == "requests"
        else _connections(situation, adjustment)
    )
    requests = situation.requests
    out = Counts(*(np.zeros(len(requests), np.int64) for _ in range(5)))
    by_side = rule.scope == "side" or adjustment.others_side
    which = models(requests)
    addresses = np.unique(situation.sessions.address).tolist() if rule.per_address else (None,)
    for address, model in product(addresses, range(len(rule.models)) or (None,)):
        there = _at(situation, requests.session, address)
        near = held.take(_at(situation, held.session, address) | (held.session == NOWHERE))
        if model is not None:
            there &= which == model
            # what was under way (item -1) counts as large
            near = near.take((np.append(which, 0)[near.item] == model) | (near.session == NOWHERE))
        for side in (VM, HOST, UNKNOWN) if by_side else (None,):
            asked = np.flatnonzero(there & (True if side is None else requests.side == side))
            if not len(asked):
                continue
            sure = np.ones(len(near.start), np.bool_) if side is None else (near.side == side) & (side != UNKNOWN)
            count, low, high, out.lasting[asked] = _count(situation, rule, near.take(sure), asked, adjustment)
            if side is not None:
                maybe = ((near.side == UNKNOWN) | (side == UNKNOWN)) & ~sure
                out.unknown[asked], _, more, _ = _count(situation, rule, near.take(maybe), asked, adjustment)
                high = high + more
            out.count[asked], out.low[asked], out.high[asked] = count, np.minimum(low, count), np.maximum(high, count)
    if adjustment.companions:
        for each in (out.count, out.low, out.high, out.unknown, out.lasting):
            each[requests.again] = 0
    if rule.sized is not None and rule.sized.own:
        own = rule.sized.taken(requests)
        count, low, high, lasting = (np.where(each > 0, each + own, 0) for each in (out.count, out.low, out.high, out.lasting))
        return Counts(count, low, high, np.where((out.unknown > 0) & (out.count == 0), out.unknown + own, out.unknown), lasting)
    if rule.changes or rule.models:
        lower = rule.lower(requests.start_ns) + (np.array(rule.models, np.int64)[which] if rule.models else 0)
        return Counts(out.count + lower, out.low + lower, out.high + lower, out.unknown, out.lasting + lower)
    return out


def _at(situation: Situation, session: Ints, address: int | None) -> Bools:
    """Which of these sessions (-1: none) go to an address of the server; all if that does not matter."""
    if address is None or not len(situation.sessions):
        return np.ones(len(session), np.bool_)
    return (session >= 0) & (situation.sessions.address[np.maximum(session, 0)] == address)


def _count(situation: Situation, rule: Rule, held: _Held, asked: Ints, adjustment: Adjustment) -> tuple[Ints, Ints, Ints, Ints]:
    """Count, low, high and lasting of ``held`` at the requests ``asked``, without what each holds itself."""
    at, d = _decided(situation.requests, rule)[asked], situation.uncertain_ns
    # what is seen upstream to end was over half a round trip before, and the request is there as much later: only starts may be overtaken
    told = adjustment != AS_SEEN and not (adjustment.leftovers and rule.unit == "connections")
    seen = situation.egress_seen and told
    ahead = min(max(OVERTAKEN_NS, d // 8), d) if seen else d
    begun = d if rule.unit == "connections" else ahead  # a connection is one when its handshake is over
    sooner, later, shorter, longer = held.doubt_ns.T
    surely, no_longer = held.start + begun + later, held.end - d - shorter
    long = no_longer > surely
    least, usual, most = _takes(situation.requests, rule, held)
    count = open_at(held.start, held.end, at, usual)
    low = open_at(surely[long], no_longer[long], at, None if least is None else least[long])
    earliest, latest = held.start - ahead - sooner, held.end + ahead + held.late + longer
    high = open_at(earliest, latest, at, most)
    sure = np.maximum(no_longer, earliest)
    lasting = np.zeros(len(at), np.int64) if adjustment == AS_SEEN else open_at(earliest, sure, at, least)
    bounds = [(count, held.start, held.end, usual), (low, surely, no_longer, least), (high, earliest, latest, most)]
    for k, known in _own(situation, rule, held, asked):
        for out, begins, ends, takes in [*bounds, *([] if adjustment == AS_SEEN else [(lasting, earliest, sure, least)])]:
            out -= (known & (begins[k] <= at) & (at < ends[k])) * (1 if takes is None else takes[k])
    return count, low, high, lasting


def _takes(requests: Requests, rule: Rule, held: _Held) -> tuple[Ints | None, Ints | None, Ints | None]:
    """What each place takes of a limit: at least, most likely, and at most; None where each takes one. Sizes of what was sent before the capture, or not seen,
    are not known."""
    if rule.sized is None:
        return None, None, None
    taken = rule.sized.taken(requests)
    known, sizes = held.item >= 0, taken[np.maximum(held.item, 0)]
    middle, largest = (int(np.percentile(taken, q)) if len(taken) else 0 for q in (50, 100))
    least, usual, most = (np.where(known, sizes, otherwise) for otherwise in (0, middle, largest))
    return least, usual, most


def _decided(requests: Requests, rule: Rule) -> Ints:
    """When each request was decided on: at its start, or after its wait."""
    waits = patience(requests) if rule.waited else None
    return requests.start_ns if waits is None else waits.decided_ns


def open_at(start: Ints, end: Ints, at: Ints, takes: Ints | None = None) -> Ints:
    """How many of [start, end) hold each time; starts at the very time count, ends do not. ``takes``: as how many each counts; None: as one."""
    if takes is not None:
        return _sum_upto(start, takes, at) - _sum_upto(end, takes, at)
    order = None if (at[1:] >= at[:-1]).all() else np.argsort(at)
    found = np.empty(len(at), np.int64)
    kernels.open_at(np.sort(start), np.sort(end), at if order is None else at[order], found)
    if order is None:
        return found
    out = np.empty_like(found)
    out[order] = found
    return out


def _own(situation: Situation, rule: Rule, held: _Held, asked: Ints) -> list[tuple[Ints, Bools]]:
    """Up to two (place, whether there is one) per request: what is its own and so not others'.

    Of connections, its session. Of requests, itself; and by turn-taking (HTTP/1.1) the one before it on its session, which is over for certain.
    """
    n = len(held.start)
    if not n:
        return []
    requests = situation.requests
    session, at = requests.session[asked], _decided(requests, rule)[asked]
    # last place of the own session that began by then; places of a session are in order of start
    sessions = max(int(held.session.max()), int(session.max(initial=0))) + 2
    begins, asks = in_order(2 * sessions, held.start, at)
    base = max(int(begins.max()), int(asks.max(initial=0))) + 1
    last = np.searchsorted(held.session * base + begins, session * base + asks, "right") - 1
    itself = np.full(len(requests), -1, np.int64)
    itself[held.item[held.item >= 0]] = np.flatnonzero(held.item >= 0)
    own = itself[asked]
    first, second = (own, np.where(own >= 0, own - 1, last)) if rule.unit == "requests" else (last, last - 1)
    found = []
    for k in (first, second):
        known = k >= 0
        k = np.maximum(k, 0)
        known = known & (held.session[k] == session)
        if rule.unit == "requests":
            # by turn-taking the one before it is over for certain, unless places are given back late
            known &= (held.item[k] == asked) | ((requests.stream[asked] < 0) & (rule.held_s == 0.0))
        found.append((k, known))
    return found


def _requests(situation: Situation, adjustment: Adjustment, rule: Rule | None = None) -> _Held:
    """``rule``: how late places are given back; None: with the end."""
    r, rule = situation.requests, rule or Rule("requests", "egress")
    late = np.where(r.broken_off, int((rule.held_s + rule.broken_s) * 1e9), int(rule.held_s * 1e9))
    if rule.by_writes:
        late = np.where(r.broken_off, r.noticed_ns[:, RECORDED] - r.end_ns, 0)
    holds = np.flatnonzero(r.held & ~r.again if adjustment.companions else r.held)
    holds = holds[np.lexsort((r.start_ns[holds], r.session[holds]))]
    end = (r.done_ns if adjustment.leftovers else r.end_ns + late)[holds]
    told = rule.by_writes or rule.broken_s > 0.0
    unnoticed = np.where(r.broken_off[holds] & (not adjustment.leftovers) & (not told), UNNOTICED_NS, 0)
    if adjustment.leftovers:  # when the program was done, where that is not when the answer ended, is seen by another clock
        unnoticed = np.where((r.done_ns < r.end_ns)[holds], situation.uncertain_ns, unnoticed)
    start, doubt = r.start_ns[holds], r.doubt_ns[holds]
    if rule.waited and (waits := patience(r)) is not None:
        start, doubt = waits.served_ns[holds], doubt.copy()
        doubt[:, 0] += np.minimum(waits.unsure_ns, start - r.start_ns[holds])
        doubt[:, 1] += np.maximum(waits.decided_ns[holds] - start, 0)
    held = _Held(start, np.maximum(end, start + 1), r.side[holds], r.session[holds], holds, unnoticed, doubt)
    if rule.waited:  # not served in the order in which they were sent
        held = held.take(np.lexsort((held.start, held.session)))
    return _with_underway(held, situation) if len(situation.underway) else held


def _with_underway(held: _Held, situation: Situation) -> _Held:
    """Also what was under way when the capture began."""
    old, none = situation.underway, np.zeros(len(situation.underway), np.int64)
    first = none + min(situation.capture_ns[0], int(situation.requests.start_ns.min(initial=situation.capture_ns[0])))
    theirs = _Held(first, np.maximum(old.end_ns, first + 1), old.side, old.session, none - 1, none)
    both = theirs.joined(held)
    return both.take(np.lexsort((both.start, both.session)))


def _with_perhaps(held: _Held, situation: Situation, rule: Rule | None = None) -> _Held:
    """Also what there may have been besides: of no length, with all of it in doubt."""
    more = situation.perhaps
    if not len(more):
        return held
    none = np.zeros(len(more), np.int64)
    late = int((rule.held_s + rule.broken_s) * 1e9) if rule else 0
    doubt = np.stack([none, none, none, more.end_ns - more.start_ns + late], axis=1)
    both = _Held(more.start_ns, more.start_ns, more.side, none + NOWHERE, none - 1, none, doubt).joined(held)
    return both.take(np.lexsort((both.start, both.session)))


def _sum_upto(times: Ints, takes: Ints, at: Ints) -> Ints:
    """The sum of ``takes`` of those whose time is not after each of ``at``."""
    order = np.argsort(times, kind="stable")
    return np.append(0, np.cumsum(takes[order]))[np.searchsorted(times[order], at, "right")]


def in_flight_between(situation: Situation, side: int | None = None) -> tuple[int, int]:
    """Most requests in progress at once, of one side or of all, at least and at most."""
    held = _with_perhaps(_requests(situation, AS_SEEN), situation)
    if side is not None:
        held = held.take(np.flatnonzero(held.side == side))
    sooner, later, shorter, longer = held.doubt_ns.T
    surely, no_longer, first, last = held.start + later, held.end - shorter, held.start - sooner, held.end + longer
    sure, maybe = no_longer > surely, last > first
    return most_at_once(surely[sure], no_longer[sure]), most_at_once(first[maybe], last[maybe])


def _connections(situation: Situation, adjustment: Adjustment) -> _Held:
    s = situation.sessions
    keep = np.ones(len(s), np.bool_)
    if adjustment.companions:
        keep &= s.kind != COMPANION
    if adjustment.lookups:
        keep &= s.kind != LOOKUPS
    rows, start, end = uses(situation) if adjustment.leftovers else (np.arange(len(s)), s.start_ns, s.end_ns)
    kept = keep[rows]
    rows, start, end = rows[kept], start[kept], end[kept]
    return _Held(start, np.maximum(end, start + 1), s.side[rows], rows, np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.int64))


def uses(situation: Situation) -> tuple[Ints, Ints, Ints]:
    """(session, start, end) of the stretches in which programs used their connections, in order of (session, start).

    A connection that carries requests is in use from its start to the end of its first answer as the program saw it, then from each request to
    its answer. One without requests, and a companion, is in use until the program closes it (a companion until the program closes the connection
    that it accompanies). Lookups' sessions are left alone: keeping them is a matter of the ``dns`` cause.
    """
    s, r = situation.sessions, situation.requests
    known = np.flatnonzero((r.session >= 0) & (r.session < len(s)))
    known = known[s.kind[r.session[known]] == REQUESTS]
    used = np.zeros(len(s), np.bool_)
    used[r.session[known]] = True
    plain = np.flatnonzero(~used)
    order = known[np.lexsort((r.start_ns[known], r.session[known]))]
    session, start = r.session[order], r.start_ns[order]
    end = np.maximum(r.done_ns[order], start + 1)  # one that is done at once was there all the same
    other = np.append(True, session[1:] != session[:-1])[: len(order)]  # than that of the request before
    begin = np.where(other, np.minimum(s.start_ns[session], start), start)
    # the end of all requests of the session so far is that of the last one that was later than any before it
    last = np.cumsum(other) * (len(order) + 1) + np.argsort(np.argsort(end, kind="stable"), kind="stable")
    at = np.arange(len(order))
    until = end[np.maximum.accumulate(np.where(last >= np.maximum.accumulate(last), at, 0))]
    gap = 2 * situation.uncertain_ns  # stretches nearer than that are one: their order in time is not known
    first = np.flatnonzero(other | (start > np.append(0, until[:-1])[: len(order)] + gap))
    rows = np.concatenate([plain, session[first]])
    starts = np.concatenate([s.start_ns[plain], begin[first]])
    ends = np.concatenate(
        [np.where(s.kind == LOOKUPS, s.end_ns, s.done_ns)[plain], until[np.append(first[1:], len(order)) - 1] if len(order) else first]
    )
    sort = np.lexsort((ends, starts, rows))
    return rows[sort], starts[sort], ends[sort]


def peaks_between(situation: Situation) -> dict[str, tuple[int, int]] | None:
    """Most requests in progress at once by vm, host and all together, at least and at most; None where that is not in doubt."""
    return None if situation.between is None else {name: in_flight_between(situation, side) for name, side in _WHOSE}


_WHOSE = (("vm", VM), ("host", HOST), ("combined", None))


def peaks(situation: Situation) -> dict[str, dict[str, int]]:
    """Most places held at once, by unit and by vm, host and all together."""
    out: dict[str, dict[str, int]] = {}
    for unit in UNITS:
        held = _requests(situation, AS_SEEN) if unit == "requests" else _connections(situation, AS_SEEN)
        out[unit] = {}
        for name, side in _WHOSE:
            mask = np.ones(len(held.start), np.bool_) if side is None else held.side == side
            out[unit][name] = most_at_once(held.start[mask], held.end[mask])
    return out


def most_at_once(start: Ints, end: Ints) -> int:
    """Peak of half-open intervals; an empty one lasts 1 ns."""
    return int(open_at(start, np.maximum(end, start + 1), start).max(initial=0))
