"""Intents: what a program wanted, each request with its retries collapsed.

Theory of operation
-------------------
1. A program that is refused waits and asks again. Which later request of its side is the retry is told by time: opencode's delays (Retry-After, else 2 s
   doubling to 30 s) are exact to some tens of milliseconds, while its turns come at any time.
2. So the first delay is looked for: the one after refusals at which requests begin more often than chance would have it. It doubles, or stays.
3. Each refusal, in order of time, takes the free request nearest to its delay, of those of its size where sizes are known: what is asked again is the same.
   None there: the next one on its connection, if that is within half the delay; else, of a size that few requests have, the next one (a busy machine wakes
   programs seconds late). Else the program gave up, or the recording ended.
4. A program that tries again does so after most refusals. Where few of a side's have a later request of their size that may be it (:data:`MOSTLY`), these
   are others that look alike, and the program does not try again: what is refused is over.
5. Where no delay stands out, a refusal takes the next request on its connection, else the next of its side, within 30 s.

Limits: random delays (jitter) of many agents at once cannot be told from new requests; rule 5 then collapses too much rather than too little, which
errs on the side of fewer independent observations.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from netlens.chains.situation import APART, REJECTED, Situation
from netlens.columns import Bools, Codes, Ints
from netlens.lenses.refused import kernels

S = 1_000_000_000  #: ns
MS = 1_000_000
FIRST_BACK_OFF_NS = 2 * S  #: of opencode, where the recording shows none; it doubles
LONGEST_BACK_OFF_NS = 30 * S  #: of opencode; nothing that comes later than this after a refusal is its retry
LATE_NS = 1000 * MS  #: opencode's first retries came 2.1 to 2.6 s after the refusal (measured, on a busy machine)
BACK_OFF_SLACK_NS = 60 * MS  #: a sleeping program wakes late, and a retry may have to open a connection first (1 to 50 ms through a tunnel)
BACK_OFF_SLACK = 0.02  #: and timers may be a little off; a tenth would take in other agents' turns
CLEAR = 4.0  #: standard deviations; of some hundred delays that are tried the best reaches three by chance
SAME_BYTES = 8  #: a request that is sent again differs by a digit or two
RARE = 4  #: requests of one size within a back-off; more may be others' that say the same
#: Share of a side's refusals, of so many at least, with a retry: programs that try again twice have one after two of three; of sides that never do, others
#: looked like it after 29 % at most, but after 40 % behind one proxy that pools connections.
MOSTLY, FEWEST = 1 / 3, 3
SAMPLE = 400  #: refusals from which the back-off is read
LATER = 2_000  #: starts after a refusal that are looked at: 60 requests a second for as long as a back-off lasts


@dataclass(frozen=True, eq=False)
class Intents:
    """Requests with their retries collapsed, in order of their first attempts; arrays of equal length.

    side : as in Requests.  start_ns : first attempt.  accepted_ns : start of the accepted attempt, of the last one if none was.
    finished_ns : when the program was done with the last attempt.  refusals : attempts that were refused.  accepted : whether any was not.
    hold_ns : how long it holds a place upstream.  busy_ns : how long the program is busy with it (at most ``hold_ns``).
    noticed_ns : how long it may hold a place as the provider learns late of its end, int64[n, 3]: columns as in ``Requests.noticed_ns``.
    rows, begins : rows of Requests, attempt by attempt and intent by intent; where in these each intent begins, and where the last one ends (one more).
    gives_up : what it is of does not try again once it is refused.
    delays_ns : start to start, median over the recording after the first, second ... refusal.  refusal_ns : median time to a refusal.
    """

    side: Codes
    start_ns: Ints
    accepted_ns: Ints
    finished_ns: Ints
    refusals: Ints
    accepted: Bools
    hold_ns: Ints
    busy_ns: Ints
    noticed_ns: Ints
    gives_up: Bools
    rows: Ints
    begins: Ints
    delays_ns: list[int]
    refusal_ns: int

    def __len__(self) -> int:
        return len(self.begins) - 1

    @cached_property
    def first(self) -> Ints:
        """The row of the first attempt of each."""
        return self.rows[self.begins[:-1]]

    @cached_property
    def last(self) -> Ints:
        """The row of the last one."""
        return self.rows[self.begins[1:] - 1]

    @cached_property
    def attempts(self) -> list[list[int]]:
        """The rows of Requests of each, in order of time."""
        rows, begins = self.rows.tolist(), self.begins.tolist()
        return [rows[begin:end] for begin, end in itertools.pairwise(begins)]

    def delay_ns(self, refusals: int) -> int:
        """From the start of an attempt that is the ``refusals``-th refused to the next one."""
        if refusals <= len(self.delays_ns):
            return self.delays_ns[refusals - 1]
        known = len(self.delays_ns)
        if not known:
            return min(FIRST_BACK_OFF_NS << min(refusals - 1, 8), LONGEST_BACK_OFF_NS) + self.refusal_ns
        last = self.delays_ns[-1]
        grows = known < 2 or last > 1.5 * self.delays_ns[-2]
        return min(last << min(refusals - known, 8), max(LONGEST_BACK_OFF_NS, last)) if grows else last


def intents(situation: Situation) -> Intents:
    """Collapse retries."""
    r = situation.requests
    nexts = _retries(situation)
    give_up = _never_tried_again(situation, nexts)
    nexts[np.isin(r.side, give_up)] = -1
    rows, begins = _chains(nexts, r.rejected != APART)  # what is counted by itself meets nobody here
    first, last = rows[begins[:-1]], rows[begins[1:] - 1]
    done = np.clip(r.done_ns, r.start_ns, np.maximum(r.end_ns, r.start_ns))
    accepted = r.rejected[last] != REJECTED
    side = r.side[first]
    hold = np.maximum(r.end_ns - r.start_ns, 1)[last]
    busy = np.maximum(done - r.start_ns, 1)[last]
    noticed = np.maximum(r.noticed_ns - r.start_ns[:, None], 1)[last]
    for code in set(side.tolist()):
        mine = side == code
        model = mine & accepted if (mine & accepted).any() else accepted
        for lasts in (hold, busy, *noticed.T):
            lasts[mine & ~accepted] = int(np.median(lasts[model])) if model.any() else S
    refused = r.rejected == REJECTED
    return Intents(
        side=side,
        start_ns=r.start_ns[first],
        accepted_ns=r.start_ns[last],
        finished_ns=np.maximum(done, r.start_ns + 1)[last],
        refusals=np.diff(begins) - accepted,
        accepted=accepted,
        hold_ns=hold,
        busy_ns=np.minimum(busy, hold),
        noticed_ns=noticed,
        gives_up=np.isin(side, give_up),
        rows=rows,
        begins=begins,
        delays_ns=_delays(r.start_ns[rows], begins),
        refusal_ns=int(np.median((done - r.start_ns)[refused])) if refused.any() else 0,
    )


def _chains(nexts: Ints, counted: Bools) -> tuple[Ints, Ints]:
    """Rows of what is counted, each with its retries behind it, and where each chain begins in these, in order of the first of each."""
    root = np.arange(len(nexts))
    retried = np.flatnonzero(nexts >= 0)
    root[nexts[retried]] = retried
    while (root[root] != root).any():  # retries come later, so that a chain of n takes log n turns
        root = root[root]
    rows = np.flatnonzero(counted)
    rows = rows[np.argsort(root[rows], kind="stable")]
    return rows, np.append(np.flatnonzero(np.diff(root[rows], prepend=-1)), len(rows))


def _delays(starts: Ints, begins: Ints) -> list[int]:
    """The median delay after the first, second ... attempt; ``starts``, ns, of attempts, intent by intent."""
    level = np.arange(len(starts)) - np.repeat(begins[:-1], np.diff(begins))
    retries = np.flatnonzero(level)
    retries = retries[np.argsort(level[retries], kind="stable")]
    gaps = np.split(starts[retries] - starts[retries - 1], np.flatnonzero(np.diff(level[retries])) + 1)
    return [max(int(np.median(each)), MS) for each in gaps if len(each)]


def _never_tried_again(situation: Situation, nexts: Ints) -> list[int]:
    """Sides whose programs do not try again: few of their refusals have a request behind them that may be a retry, by their sizes."""
    r, out = situation.requests, []
    for side in np.unique(r.side).tolist():
        refused = (r.side == side) & (r.rejected == REJECTED)
        known = refused.sum() >= FEWEST and (r.sent_bytes[r.side == side] > 0).all()
        if known and (nexts[refused] >= 0).sum() <= MOSTLY * refused.sum():
            out.append(side)
    return out


def _retries(situation: Situation) -> Ints:
    """Of each request the row of its retry, -1 for none."""
    r = situation.requests
    out = np.full(len(r), -1)
    for side in np.unique(r.side).tolist():
        rows = np.flatnonzero((r.side == side) & (r.rejected != APART))
        starts, ends = r.start_ns[rows], np.maximum(r.done_ns, r.start_ns)[rows]
        refused = np.flatnonzero(r.rejected[rows] == REJECTED)
        if not len(refused):
            continue
        first, growth = _back_off(starts, ends[refused])
        back_off = (
            FIRST_BACK_OFF_NS,
            -1 if first is None else first,
            growth,
            LONGEST_BACK_OFF_NS,
            BACK_OFF_SLACK_NS,
            round(1000 * BACK_OFF_SLACK),
        )
        sessions = np.ascontiguousarray(r.session[rows], np.int64)
        found = np.full(len(rows), -1)
        kernels.retries(
            starts, ends, refused, r.sent_bytes[rows].astype(np.int64), sessions, _next_of_each_session(sessions),
            np.array(back_off, np.int64), np.array((SAME_BYTES, RARE), np.int64), np.zeros((2, len(rows)), np.int64), found,
        )  # fmt: skip
        out[rows[found >= 0]] = rows[found[found >= 0]]
    return out


def _next_of_each_session(sessions: Ints) -> Ints:
    """Of each request, the place of the next one on its connection; how many there are if there is none."""
    out = np.full(len(sessions), len(sessions))
    order = np.argsort(sessions, kind="stable")
    same = sessions[order[1:]] == sessions[order[:-1]]
    out[order[:-1][same]] = order[1:][same]
    return out


def _back_off(at: Ints, ends: Ints) -> tuple[int | None, int]:
    """The delay after a first refusal, None if the recording shows none, and by how much it grows from one to the next.

    Of all delays from a refusal (its end) to later starts, the one that exceeds what starts at random would give by most, if a third of all refusals
    have it (a chain of many retries has one first delay) and it exceeds chance by :data:`CLEAR` standard deviations.
    """
    ask = np.sort(ends)
    some = ask[np.linspace(0, len(ask) - 1, min(len(ask), SAMPLE)).astype(np.int64)]
    low = np.searchsorted(at, some)
    many = np.minimum(np.searchsorted(at, some + LONGEST_BACK_OFF_NS + S) - low, LATER)
    owner = np.repeat(np.arange(len(some)), many)
    gap = (at[np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many) + low[owner]] - some[owner]).astype(np.float64)
    order = np.argsort(gap, kind="stable")
    gap, owner = gap[order], owner[order]
    rate = len(at) / max(int(at[-1] - at[0]), 1)

    def support(a: float, b: float) -> tuple[int, float, int]:
        """How many refusals have a start between two delays; by how many standard deviations more than by chance; the median delay."""
        i, j = np.searchsorted(gap, [a, b]).tolist()
        hits = len(set(owner[i:j].tolist()))
        chance = float(1 - np.exp(-rate * (b - a)))
        deviation = max((len(some) * chance * (1 - chance)) ** 0.5, 0.5)
        return hits, (hits - len(some) * chance) / deviation, int(np.median(gap[i:j])) if j > i else 0

    def around(delay: float) -> tuple[int, float, int]:
        slack = BACK_OFF_SLACK_NS + BACK_OFF_SLACK * delay
        return support(delay - slack, delay + slack)

    default = around(FIRST_BACK_OFF_NS)
    width = BACK_OFF_SLACK_NS + BACK_OFF_SLACK * gap
    inside = np.searchsorted(gap, gap + width) - np.arange(len(gap))
    expected = np.maximum(len(some) * rate * width, 1.0)
    likely = np.argsort(-(inside - expected) / np.sqrt(expected), kind="stable")[:128].tolist()
    found = [support(gap[k], gap[k] + width[k]) for k in likely]
    good = [each for each in found if each[0] >= max(2, len(some) / 3) and each[1] >= CLEAR]
    if not good:
        return (default[2], 2) if default[0] >= 1 and default[1] >= 1.5 else (None, 2)
    best = max(good, key=lambda each: (each[1], -each[2]))
    if best[2] > 2 * FIRST_BACK_OFF_NS:  # what its user does every half minute comes at one delay after refusals, too
        late = support(FIRST_BACK_OFF_NS - BACK_OFF_SLACK_NS, FIRST_BACK_OFF_NS + LATE_NS)
        default = max(default, late) if late[1] >= CLEAR / 2 else default
    first = default[2] if default[0] >= best[0] else best[2]
    for shorter in (2, 4, 8):  # most refusals may be later ones of long chains: is this a doubled delay?
        hits, excess, median = around(first / shorter)
        if hits >= max(2, len(some) / 6) and excess >= CLEAR / 2 and first / shorter > 4 * BACK_OFF_SLACK_NS:
            return median, 2
    # second refusals: those that came the first delay after another
    seconds = [end for end in some.tolist() if _near(ask, end - first)]
    doubled, same = (sum(_near(at, end + delay) for end in seconds) for delay in (2 * first, first))
    return first, 1 if same > doubled else 2


def _near(times: Ints, wanted: float) -> bool:
    slack = BACK_OFF_SLACK_NS + BACK_OFF_SLACK * FIRST_BACK_OFF_NS
    k = int(np.searchsorted(times, wanted - slack))
    return k < len(times) and bool(times[k] <= wanted + slack)
