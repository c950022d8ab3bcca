"""Nesting: which request on the host's way out carries on which request of the VM, where a relay between them ends TLS.

Theory of operation
-------------------
1. A relay that ends TLS (mitmproxy, Caddy, Envoy, nginx) leaves no byte, no packet and no connection that both captures hold. But what the VM asks the
   relay encloses what the relay asks the provider: the relay has the request before it has sent it on, and has the answer before the VM has it. So for
   each such pair the clocks' difference (host minus VM) is at least that of the answers' ends and beginnings, and at most that of the requests' ends.
   Both are near the truth, as relays pass on answers within milliseconds.
2. *Votes.* Of some of the VM's requests that follow each other, the difference to each answer upstream that is not longer than its own is a vote. Right pairs
   vote alike, all others anywhere. Where a second difference has more than half of the votes of the first, nothing is told: what is asked by the clock, and
   answers that all take as long, look the same a period later.
3. From there the matching goes on to both sides, twice as far each time, along a line, as clocks drift.
4. *Pairs.* Of all that nest, those are taken whose way there and back, and whose difference in size, are the most usual, each request once. Where another
   request fits about as well, all of these are in doubt, unless as many of the VM's fit them: then they are the VM's, whichever is which.
5. *Trust.* Nearly all of the VM's requests must have a partner, and when times are shifted by some seconds few may. A relay that asks more than once (a mirror,
   a retry) leaves requests upstream that nobody sent and that begin with the VM's: if more do so than by chance, nothing is told. Nor where more than by
   chance follow the VM's requests or answers by one delay (what is asked for each besides: a check before it, a summary behind it).
6. The bounds of all pairs make the clock, as those of packets do (:mod:`netlens.chains.offset`).

Limits: a request without a partner was answered by the relay itself if nothing upstream could be it. With more than half of these nothing is told, nor where a
clock is set while recording, as most of what follows has no partner. HTTP/2 whose answers are told by sizes alone seldom nests.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from netlens.chains.clock import NESTED, Clock, of_bounds
from netlens.chains.matching import nearest_first
from netlens.chains.offset import Bounds, join
from netlens.chains.side import Side
from netlens.chains.situation import HOST, UNKNOWN, VM
from netlens.columns import NEVER, Bools, Codes, Floats, Ints, Objects

ENOUGH = 10  #: of the VM's requests, at least
ANCHORS = (200, 50, 20)  #: of the VM's requests that vote, one after the other; fewer where clocks drift much meanwhile
MOST_VOTES = 8_000_000  #: pairs that are looked at for votes
WINDOWS_NS = (3_000_000, 12_000_000, 48_000_000)  #: by which votes that agree may differ: as ways back through a relay do
AGREE = 0.6  #: share of the anchors that must vote alike
RIVAL = 0.5  #: of that, what another difference may have
TOLERANCE_NS = 1_000_000  #: a frame may be stamped late by as much
LATEST_NS = 30_000_000_000  #: the longest that a relay has a request wait
STEEP = 200e-6  #: drift that is looked for at once; see netlens.chains.offset
NEARLY_ALL = 0.9  #: share of the VM's requests that must have a partner
ITSELF, FEW = 0.5, 0.1  #: what the relay may have answered by itself, and what may be in doubt, for each of them
RELAYS_OWN = 5  #: answers of the relay itself from which on they are told
BY_CHANCE = 0.4  #: of the pairs, what may be found when times are shifted
SHIFTS_S = (3.1, -4.3, 7.7, -11.3, 17.9)  #: no multiples of each other, nor of usual back-offs; less in what is shorter than SHIFTED_NS
SHIFTED_NS = 60_000_000_000
BESIDES = 0.05  #: share of the VM's requests beside which more may begin upstream than by chance
ECHO_NS = 5_000_000_000  #: how long after an event something that a relay does each time is looked for
ECHO_STEP_NS = 5_000_000  #: and how exactly
TOGETHER_NS = 4 * ECHO_STEP_NS  #: what comes within this is one burst
CHANCES = 5  #: standard deviations by which the highest of a thousand counts does not differ from their mean by chance
CLOSE_NS = 5_000_000  #: a pair that is less usual by less is as good
BACK_NS, LATE_NS = 60_000_000, 1_000_000_000  #: what a relay takes to pass on the end of an answer, at most; and where it has no time
USUALLY = 0.95  #: share of pairs that are taken as usual
WRONG = 0.05  #: share of bounds that may contradict the others
ALIKE = 0.8  #: share of pairs that must differ in size alike for that to count
ODD_NS = 100_000_000  #: what an unusual difference in size is worth, as time
UNSURE_NS = 10_000_000  #: what is odd in size and as unusual in time as that is another request
SIZES_BYTES = 64  #: by which sizes differ that are passed on alike: a header that comes and goes
MOST_OPTIONS = 30  #: partners that fit a request on average, beyond which they are no evidence


@dataclass(frozen=True, eq=False)
class Nested:
    """``vm_of``: per exchange of the host's, the VM's that it carries on, -1 without one.  side : whose each is: the VM's, of others, or not known.
    carriers : rows of the host's connections that carry requests of the VM: the relay's.  itself : the VM's exchanges that the relay answered by itself.
    clock : the VM's clock against the host's."""

    vm_of: Ints
    side: Codes
    carriers: frozenset[int]
    itself: Ints
    clock: Clock

    def whose(self, host: Side) -> tuple[Codes, Objects]:
        """Origin of each of the host's connections, and why, as in :class:`netlens.chains.pairing.Pairing`: that of its requests, if they are of one side."""
        mine, others = (np.bincount(host.owner[self.side == code], minlength=host.connections.rows) for code in (VM, HOST))
        every = np.bincount(host.owner, minlength=host.connections.rows)
        origin = np.where((every > 0) & (mine == every), VM, np.where((every > 0) & (others == every), HOST, UNKNOWN)).astype(np.int8)
        why = np.array(["its requests nest in the VM's", "its requests nest in none of the VM's", ""], object)
        return origin, why[origin]

    def by_relays(self, vm: Side) -> dict[tuple[str, int], int]:
        """Where the relays listen that answered requests of the VM themselves, and how many."""
        ends = list(vm.connections.tuples("resp_ip", "resp_port"))
        return {end: n for end, n in Counter(ends[row] for row in vm.owner[self.itself].tolist()).items() if n >= RELAYS_OWN}


class _Times:
    """Of exchanges: when the request began and was sent, and when the answer began and was over; NEVER where that is not known."""

    def __init__(self, side: Side) -> None:
        x = side.exchanges
        self.begun, self.asked = x["start_ns"].astype(np.int64), x["request_end_ns"].astype(np.int64)
        self.first = x.ints("response_ns", NEVER)
        self.over = np.where(x["complete"], x.ints("end_ns", NEVER), NEVER)
        self.up, self.down = x["up_bytes"].astype(np.int64), x["down_bytes"].astype(np.int64)
        self.frames = np.stack([x.ints(f"{name}_frame", 0) for name in ("start", "response", "end")], axis=1)

    def of(self, rows: Ints) -> _Times:
        """Those of some."""
        out = object.__new__(_Times)
        vars(out).update({name: values[rows] for name, values in vars(self).items()})
        return out

    @property
    def back(self) -> Ints:
        """What tells when the answer was there: its end, else its beginning, else :data:`NEVER`."""
        return np.where(self.over != NEVER, self.over, self.first)


@dataclass(frozen=True)
class _Line:
    """The host's clock minus the VM's: ``ns`` at the VM's time ``at_ns``, and how much more for each ns later."""

    ns: int
    at_ns: int
    slope: float

    def at(self, times: Ints) -> Ints:
        return self.ns + np.rint(self.slope * (times - self.at_ns).astype(np.float64)).astype(np.int64)


def nested(vm: Side, host: Side) -> Nested | None:
    """What nests, if that is beyond doubt; else None."""
    a, b = _Times(vm), _Times(host)
    if len(a.asked) < ENOUGH or len(b.asked) < ENOUGH:
        return None
    found = _voted(a, b)
    if found is None:
        return None
    line, window = found
    return _trusted(vm, host, a, b, _extended(a, b, line, window), window)


def _voted(a: _Times, b: _Times) -> tuple[_Line, int] | None:
    """Where the clocks' difference is in the middle of the VM's requests, and by how much the ways back differ; None where the votes do not tell."""
    answered = np.flatnonzero((a.over != NEVER) & (a.first != NEVER))
    theirs = np.flatnonzero((b.over != NEVER) & (b.first != NEVER))
    answered = answered[np.argsort(a.asked[answered], kind="stable")]
    if len(answered) < ENOUGH or len(theirs) < ENOUGH:
        return None
    for many in ANCHORS:
        many = min(many, len(answered), max(MOST_VOTES // len(theirs), ENOUGH))
        begin = (len(answered) - many) // 2
        anchors = answered[begin : begin + many]
        votes = _votes(a, b, anchors, theirs)
        for window in WINDOWS_NS:
            counts = np.searchsorted(votes, votes + window, "right") - np.arange(len(votes))
            best = int(counts.argmax()) if len(votes) else 0
            if not len(votes) or counts[best] < AGREE * many:
                continue
            rivals = counts[np.abs(votes - votes[best]) > 2 * window]
            if rivals.max(initial=0) > RIVAL * counts[best]:
                return None
            middle = int(np.median(votes[best : best + counts[best]]))
            return _Line(middle, int(a.asked[anchors[many // 2]]), 0.0), window
    return None


def _votes(a: _Times, b: _Times, anchors: Ints, theirs: Ints) -> Ints:
    """Differences of the ends of answers of all pairs that could nest, in order."""
    out = []
    for i in anchors.tolist():
        begun, first, over = b.begun[theirs] - a.begun[i], b.first[theirs] - a.first[i], b.over[theirs] - a.over[i]
        fits = (np.maximum(first, over) <= begun + TOLERANCE_NS) & (begun - over <= LATEST_NS)
        out.append(over[fits])
    return np.sort(np.concatenate(out))


def _extended(a: _Times, b: _Times, line: _Line, window: int) -> _Line:
    """The line that all of the VM's requests follow, beginning where they voted."""
    times = a.asked
    whole = int(max(line.at_ns - times.min(), times.max() - line.at_ns)) + 1
    near = np.sort(np.abs(times - line.at_ns))
    span = int(near[min(len(near), ENOUGH) - 1]) + 1
    while True:
        span = min(span, whole)
        rows = np.flatnonzero(np.abs(times - line.at_ns) <= span)
        room = 2 * window + int(STEEP * span)
        i, j = _options(a, b, rows, line, room, room)
        known = (a.over[i] != NEVER) & (b.over[j] != NEVER)
        i, j = i[known], j[known]
        if len(i) >= ENOUGH:
            line = _refined(line, a.over[i], b.over[j] - a.over[i], window)
        if span >= whole:
            return line
        span *= 2


def _refined(line: _Line, times: Ints, votes: Ints, window: int) -> _Line:
    """The line through most votes: of many slopes that with most of them within the window."""
    x, y = (times - line.at_ns).astype(np.float64), (votes - line.at(times)).astype(np.float64)
    best, chosen = -1, (0.0, 0.0)
    for slope in _slopes(x, window // 4).tolist():
        left = np.sort(y - slope * x)
        counts = np.searchsorted(left, left + window / 2, "right") - np.arange(len(left))
        at = int(counts.argmax())
        if counts[at] > best:
            best, chosen = int(counts[at]), (slope, float(np.median(left[at : at + counts[at]])))
    return _Line(line.ns + round(chosen[1]), line.at_ns, line.slope + chosen[0])


def _slopes(x: Floats, apart_ns: int) -> Floats:
    """Slopes up to :data:`STEEP` whose lines are so far apart at the ends of ``x``, forty each way at most, the flattest first."""
    steps = np.arange(-40, 41) * min(apart_ns / max(float(np.abs(x).max(initial=1.0)), 1.0), STEEP / 10)
    steps = steps[np.abs(steps) <= STEEP]
    return steps[np.argsort(np.abs(steps), kind="stable")]


def _options(a: _Times, b: _Times, rows: Ints, line: _Line, late_ns: int, early_ns: int) -> tuple[Ints, Ints]:
    """Pairs (i of the VM, j of the host's) whose answers were over on the VM at most ``late_ns`` later and ``early_ns`` earlier than on the host, or began so
    where one end is not known, or were asked so where neither began; and that nest otherwise. None at all where that is no evidence, as there are too many."""
    every, x = np.arange(len(b.asked)), line.at(a.asked)
    cut, open_ = a.over[rows] == NEVER, b.over == NEVER
    silent = rows[cut & (a.first[rows] == NEVER)], every[open_ & (b.first == NEVER)]
    found = [
        _within(a.over, b.over, rows, every, x, late_ns, early_ns),
        _within(a.first, b.first, rows[cut], every, x, late_ns, early_ns),
        _within(a.first, b.first, rows[~cut], every[open_], x, late_ns, early_ns),
        _within(a.asked, b.asked, *silent, x, early_ns, late_ns),
    ]
    i, j = (np.concatenate(each) for each in zip(*found, strict=True))
    way = b.begun[j] - a.begun[i] - x[i]
    fits = (way >= -early_ns) & (way <= LATEST_NS)
    return i[fits], j[fits]


def _within(mine: Ints, theirs: Ints, rows: Ints, columns: Ints, x: Ints, late_ns: int, early_ns: int) -> tuple[Ints, Ints]:
    """Pairs of which these times differ by the line, and those of ``rows`` are at most so much later or earlier."""
    rows, columns = rows[mine[rows] != NEVER], columns[theirs[columns] != NEVER]
    order = columns[np.argsort(theirs[columns], kind="stable")]
    there = mine[rows] + x[rows]
    low, high = np.searchsorted(theirs[order], there - late_ns), np.searchsorted(theirs[order], there + early_ns, "right")
    count = high - low
    if count.sum() > MOST_OPTIONS * max(len(rows), 1):
        return rows[:0], rows[:0]
    i = np.repeat(rows, count)
    return i, order[np.arange(len(i)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)]


@dataclass(frozen=True)
class _Usual:
    """What most pairs have: by the line, how much later they are asked, over, and begun upstream; by how much they are longer there, None where that varies."""

    asked_ns: int
    over_ns: int
    first_ns: int
    up: int | None
    down: int | None

    def costs(self, a: _Times, b: _Times, i: Ints, j: Ints, x: Ints) -> Ints:
        """How unusual pairs are, in ns; :data:`NEVER` of those that are so in size and in the time of their answers."""
        out, back, odd = (np.zeros(len(i), np.int64) for _ in range(3))
        for mine, theirs, usual in ((a.asked, b.asked, self.asked_ns), (a.first, b.first, self.first_ns), (a.over, b.over, self.over_ns)):
            known = (mine[i] != NEVER) & (theirs[j] != NEVER)
            apart = np.abs(theirs[j][known] - mine[i][known] - x[i][known] - usual)
            out[known] += np.minimum(apart, ODD_NS)
            back[known] = apart  # of the last that is known
        for mine, theirs, size in ((a.up, b.up, self.up), (a.down, b.down, self.down)):
            if size is not None:
                odd += np.abs(theirs[j] - mine[i] - size) > SIZES_BYTES
        return np.where((odd > 0) & (back > UNSURE_NS), NEVER, out + odd * ODD_NS)


def _usual(a: _Times, b: _Times, i: Ints, j: Ints, x: Ints) -> _Usual:
    def apart(mine: Ints, theirs: Ints) -> int:
        known = (mine[i] != NEVER) & (theirs[j] != NEVER)
        return int(np.median(theirs[j][known] - mine[i][known] - x[i][known])) if known.any() else 0

    def size(mine: Ints, theirs: Ints) -> int | None:
        differences = np.sort(theirs[j] - mine[i])
        counts = np.searchsorted(differences, differences + SIZES_BYTES, "right") - np.arange(len(differences))
        best = int(counts.argmax())
        return int(np.median(differences[best : best + counts[best]])) if counts[best] >= ALIKE * len(i) else None

    return _Usual(apart(a.asked, b.asked), apart(a.over, b.over), apart(a.first, b.first), size(a.up, b.up), size(a.down, b.down))


def _trusted(vm: Side, host: Side, a: _Times, b: _Times, line: _Line, window: int) -> Nested | None:
    """Pairs along the line, if they are beyond doubt."""
    x, early = line.at(a.asked), window + TOLERANCE_NS
    found = _paired(a, b, line, early)
    if found is None:
        return None
    vm_of, doubtful, usual = found
    j = np.flatnonzero(vm_of >= 0)
    i = vm_of[j]
    free = np.flatnonzero(vm_of < 0)
    free = free[np.argsort(b.begun[free], kind="stable")]
    begun = b.begun[free]
    # requests of the VM without a partner: the relay's own answers, unless something upstream that nobody sent may be theirs
    low, high = host.bounds_ns
    seen = (a.asked + x >= low) & (np.where(a.back == NEVER, a.asked, a.back) + x <= high)
    left = np.setdiff1d(np.flatnonzero(seen), i)
    inside, itself = _inside(a.begun[left] + x[left] - early, vm.answered_ns[0][left] + x[left] + early, begun)
    doubtful[free[inside]] = True
    many = int(seen.sum())
    if seen[i].sum() < NEARLY_ALL * (many - itself.sum()) or itself.sum() > ITSELF * many or doubtful.sum() > FEW * many:
        return None
    shifts = [int(s * 1e9 * min(float(np.ptp(a.asked[i])) / SHIFTED_NS, 1.0)) for s in SHIFTS_S]
    limit = int(np.quantile(usual.costs(a, b, i, j, x), USUALLY))
    if max(_by_chance(a, b, replace(line, ns=line.ns + shift), early, usual, limit) for shift in shifts) > BY_CHANCE * len(i):
        return None
    # requests upstream that nobody sent, and that follow the VM's requests or answers: the relay's, or others' by chance
    sent, over = np.sort(a.begun + x), np.sort((a.back + x)[a.back != NEVER])
    soon = min(int(np.quantile(b.begun[j] - a.begun[i] - x[i], USUALLY)), ODD_NS) + TOLERANCE_NS
    beside = _follows(sent, begun, early, soon)
    others = float(np.mean([_follows(sent + shift, begun, early, soon).sum() for shift in shifts]))
    if beside.sum() - others > BESIDES * many + 2 * np.sqrt(others + 1) or _echoes(sent - early, begun) or _echoes(over - early, begun):
        return None
    doubtful[free[beside]] |= _alike(host, j, free[beside])
    told = _clock(vm, a, b, i, j, line)
    if told is None:
        return None
    # what a connection of the relay carries while the VM's capture does not run may be the VM's as well
    first, last = (ns + int(line.at(np.array([ns]))[0]) for ns in vm.bounds_ns)
    doubtful |= ((b.begun < first - early) | (b.begun > last)) & np.isin(host.owner, host.owner[j])
    side = _side(host.owner, vm_of >= 0, doubtful)
    return Nested(vm_of, side, frozenset(host.owner[side == VM].tolist()), left[itself], told)


def _paired(a: _Times, b: _Times, line: _Line, early_ns: int) -> tuple[Ints, Bools, _Usual] | None:
    """Per request upstream, the VM's that it carries on (-1: none), and whether it is in doubt; and what is usual. None with few pairs."""
    x, rows, n, m = line.at(a.asked), np.arange(len(a.asked)), len(a.asked), len(b.asked)
    i, j = _options(a, b, rows, line, BACK_NS, early_ns)
    one = (np.bincount(i, minlength=n)[i] == 1) & (np.bincount(j, minlength=m)[j] == 1)
    if one.sum() < ENOUGH:
        return None
    usual = _usual(a, b, i[one], j[one], x)
    vm_of, doubtful = _chosen(i, j, usual.costs(a, b, i, j, x), n, m)
    # what took long on its way back is looked for among the others
    free = np.flatnonzero((vm_of < 0) & ~doubtful)
    i, j = _options(a, b.of(free), np.setdiff1d(rows, vm_of), line, LATE_NS, early_ns)
    j = free[j]
    more, unsure = _chosen(i, j, usual.costs(a, b, i, j, x), n, m)
    vm_of, doubtful = np.where(vm_of < 0, more, vm_of), doubtful | unsure
    return (vm_of, doubtful, usual) if (vm_of >= 0).sum() >= ENOUGH else None


def _inside(begin: Ints, end: Ints, times: Ints) -> tuple[Bools, Bools]:
    """Which of some times, in order, lie in one of these spans; and which of the spans hold none."""
    first, last = np.searchsorted(times, begin), np.searchsorted(times, end, "right")
    change = np.bincount(first, minlength=len(times) + 1) - np.bincount(np.maximum(first, last), minlength=len(times) + 1)
    return np.cumsum(change)[:-1] > 0, first >= last


def _echoes(events: Ints, times: Ints) -> bool:
    """Whether more of some times follow events, both in order, by one delay than by others: what a relay sends besides, before, behind or a while later.
    Of what comes together one counts: two bursts have one delay many times over."""
    events, times = _apart(events), _apart(times)
    low, high = np.searchsorted(events, times - ECHO_NS, "right"), np.searchsorted(events, times, "right")
    count = high - low
    count = count[: int(np.searchsorted(np.cumsum(count), MOST_VOTES))]
    if not count.sum():
        return False
    of = np.repeat(np.arange(len(count)), count)
    delays = times[of] - events[np.arange(len(of)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low[: len(count)], count)]
    bins = np.bincount(delays // ECHO_STEP_NS, minlength=ECHO_NS // ECHO_STEP_NS)
    both = bins + np.append(bins[1:], 0)  # one may lie between two
    usual = float(both.mean())
    return bool(both.max() > usual + CHANCES * np.sqrt(usual + 1) + BESIDES * len(events))


def _apart(times: Ints) -> Ints:
    """Those of some times, in order, that do not follow another one at once."""
    return times[np.diff(times, prepend=times[:1] - TOGETHER_NS) >= TOGETHER_NS]


def _side(owner: Ints, mine: Bools, doubtful: Bools) -> Codes:
    """Whose each request upstream is. Where no connection has some of the VM's and some of others, what is in doubt is of those whose connection it is on."""
    side = np.where(mine, VM, np.where(doubtful, UNKNOWN, HOST)).astype(np.int8)
    of_vm, of_others = (np.bincount(owner[side == code], minlength=int(owner.max()) + 1) > 0 for code in (VM, HOST))
    if not (of_vm & of_others).any():
        side = np.where(doubtful & of_vm[owner], VM, np.where(doubtful & of_others[owner], HOST, side)).astype(np.int8)
    return side


def _chosen(i: Ints, j: Ints, costs: Ints, n: int, m: int) -> tuple[Ints, Bools]:
    """Per request upstream (m), the VM's (of n) that it carries on, the most usual pairs first, each once; and which are in doubt, as others fit as well."""
    vm_of, least = np.full(m, -1, np.int64), np.full(n + m, NEVER, np.int64)
    may = costs != NEVER
    i, j, costs = i[may], j[may], costs[may]
    pairs = nearest_first(zip(costs.tolist(), i.tolist(), j.tolist(), strict=True))
    for mine, theirs in pairs:
        vm_of[theirs] = mine
    taken = vm_of[j] == i
    least[i[taken]] = least[n + j[taken]] = costs[taken]
    close = costs - CLOSE_NS <= np.minimum(least[i], least[n + j])
    doubtful = _in_doubt(i[close], j[close], n, m)
    vm_of[doubtful] = -1
    return vm_of, doubtful


def _by_chance(a: _Times, b: _Times, line: _Line, early_ns: int, usual: _Usual, limit: int) -> int:
    """How many pairs a line finds that are no less usual than most."""
    i, j = _options(a, b, np.arange(len(a.asked)), line, BACK_NS, early_ns)
    fits = usual.costs(a, b, i, j, line.at(a.asked)) <= limit
    return min(len(np.unique(i[fits])), len(np.unique(j[fits])))


def _alike(host: Side, carried: Ints, others: Ints) -> Bools:
    """Which of some requests upstream are on connections like those that carry the VM's: opened with the same hello (JA4), or one that is not known."""
    kinds = [host.ja4.get(row, -1) for row in range(host.connections.rows)]
    known = {kinds[row] for row in host.owner[carried].tolist()} | {-1}
    return np.array([kinds[row] in known or -1 in known - {-1} for row in host.owner[others].tolist()], np.bool_)


def _clock(vm: Side, a: _Times, b: _Times, i: Ints, j: Ints, line: _Line) -> Clock | None:
    """What the pairs say of the clocks; None if too many contradict each other."""
    over = (a.over[i] != NEVER) & (b.over[j] != NEVER)
    sent = np.stack([a.begun[i], b.begun[j], a.frames[i, 0], b.frames[j, 0]], axis=1)
    done = np.stack([a.over[i], b.over[j], a.frames[i, 2], b.frames[j, 2]], axis=1)[over]
    both = np.concatenate([sent, done])
    upper = np.arange(len(both)) >= len(sent)
    straight = both[:, 0] - both[:, 1] + line.at(both[:, 0])  # from the line, of the VM's clock minus the host's
    ahead = (both[:, 0] - line.at_ns).astype(np.float64)
    least, kept = len(both) + 1, upper
    for slope in (-line.slope, *_slopes(ahead, TOLERANCE_NS).tolist()):
        apart = straight + np.rint(slope * ahead).astype(np.int64)
        low, high = np.sort(apart[~upper]), np.sort(apart[upper])
        at = np.sort(apart)
        wrong = len(low) - np.searchsorted(low, at, "right") + np.searchsorted(high, at)
        if wrong.min() < least:
            least, best = int(wrong.min()), at[wrong == wrong.min()]
            kept = np.where(upper, apart >= best[-1], apart <= best[0])
        if not least:
            break
    if least > WRONG * len(both):
        return None
    times = both[kept]
    return of_bounds(
        join([Bounds(times[:, 0], times[:, 0] - times[:, 1], upper[kept], times[:, 2], times[:, 3])]), NESTED, len(i), vm.bounds_ns
    )


def _follows(asked: Ints, theirs: Ints, early_ns: int, soon_ns: int) -> Bools:
    """Which of these times are at most so much later, or earlier, than one of those asked, which are in order."""
    return np.searchsorted(asked, theirs + early_ns, "right") > np.searchsorted(asked, theirs - soon_ns)


def _in_doubt(i: Ints, j: Ints, n: int, m: int) -> Bools:
    """Which of ``m`` requests upstream may not be the VM's: in what hangs together by these pairs (i of n, j), they are more than the VM's."""
    of = list(range(n + m))

    def root(k: int) -> int:
        while of[k] != k:
            of[k] = k = of[of[k]]
        return k

    for one, other in zip(i.tolist(), (j + n).tolist(), strict=True):
        of[root(other)] = root(one)
    group = np.array([root(k) for k in range(n + m)], np.int64)
    mine, theirs = (np.bincount(each, minlength=n + m) for each in (group[:n], group[n:]))
    return (theirs > mine)[group[n:]] & (np.bincount(j, minlength=m) > 0)
