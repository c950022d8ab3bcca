"""What a limit over time would refuse had each side been by itself.

Theory of operation
-------------------
1. Taking away what the other side had used up is not enough: what is accepted in place of a refusal takes of the limit too. So each side's requests go through
   the fitted limiter once more, one after the other, when they were sent. An attempt behind one of the same intent that is accepted now is not made.
2. How often a side asks may depend on how it fares: a program that waits for its answers asks less once more is accepted, as answers take longer than
   refusals. What the replay of the fixes leaves (:mod:`netlens.lenses.refused.replay`) is the other bound; it lets programs wait where the recording shows it.
3. Programs that may try again send many attempts in place of one, and not all of these are told as such. Then all that came at the limit only with what the
   other side had used up may go with it: verdicts take it so, and sentences have what was replayed.
4. Requests of an unknown side may be the side's own, and then take of its limit, or the other's.

Limits: refusals below the limit, which have another reason, are taken as not made. Of an answer that was refused the size is not known: it is the median one.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from netlens.chains.situation import ACCEPTED, REJECTED, UNKNOWN, Situation
from netlens.columns import Bools, Ints
from netlens.lenses.refused.intents import intents
from netlens.lenses.refused.over_time import MOST, Fit, TimeRule, counted, rule_of, without_others
from netlens.lenses.refused.replay import Change, Setting, replay
from netlens.text import plural


class Alone(NamedTuple):
    """at : requests, the refusals at the limit, and behind one within the time for which it bars.
    gone : those at it only with what the other side had used up.
    least, most : by how many fewer they would be with each side by itself, by what is asked then.  possible : the same if what is not known to be a retry is
    one."""

    at: Bools
    gone: Bools
    least: int
    most: int
    possible: int

    @property
    def share(self) -> tuple[float, float]:
        """Of the refusals, for certain and at most."""
        n = max(int(self.at.sum()), 1)
        return self.least / n, self.possible / n

    def told(self, *, spared: bool) -> str:
        """``44 to 58 of 108 refusals at the limit (41% to 54%)``, of those that would not have come, or of those that would."""
        n = int(self.at.sum())
        low, high = (self.least, self.most) if spared else (n - self.most, n - self.least)
        many, share = f"{low:,}", f"{low / max(n, 1):.0%}"
        if high > low:
            many, share = f"{many} to {high:,}", f"{share} to {high / max(n, 1):.0%}"
        return f"{many} of {plural(n, 'refusal')} at the limit ({share})"


def alone(situation: Situation, fit: Fit, *, closed: bool = True) -> Alone:
    """What each side by itself would be refused under a limit over time; ``closed``: also as the replay of fixes has it."""
    at, gone, maybe = without_others(situation, fit)
    if not maybe.any():  # the sides' own accepted ones reach it alone
        return Alone(at, gone, 0, 0, 0)
    rule, r = rule_of(situation, fit), situation.requests
    freed = float(gone.sum() / at.sum())
    if fit.barred is not None:
        at = at | (fit.barred & (r.rejected == REJECTED))
    n = int(at.sum())
    wanted = intents(situation)
    chains = np.arange(len(r))
    chains[wanted.rows] = np.repeat(wanted.first, np.diff(wanted.begins))
    some_known = bool((r.side != UNKNOWN).any())
    least = most = 0
    for side in np.unique(r.side[at]).tolist():
        mine = r.side == side
        here = int((at & mine).sum())
        if side == UNKNOWN and some_known:
            most += here
            continue
        by_itself = here - _refused(situation, rule, np.flatnonzero(mine), side, chains)
        with_unknown = by_itself
        if (r.side == UNKNOWN).any() and side != UNKNOWN:
            with_unknown = here - _refused(situation, rule, np.flatnonzero(mine | (r.side == UNKNOWN)), side, chains)
        least += max(min(by_itself, with_unknown), 0) if side != UNKNOWN else 0
        most += max(by_itself, with_unknown, 0)
    if closed and len(r) <= MOST and not (r.side == UNKNOWN).any():
        setting = Setting(situation, rule)
        left, before = replay(setting, Change(own_address=True)).total, setting.as_recorded.total
        waiting = n - round(left * n / before) if before else most
        least, most = min(least, max(waiting, 0)), max(most, waiting)
    known = bool(np.isin(r.side[at], wanted.side[wanted.gives_up]).all())
    return Alone(at, gone, least, most, most if known else max(most, round(freed * n)))


def _refused(situation: Situation, rule: TimeRule, rows: Ints, side: int, chains: Ints) -> int:
    """How many of a side's attempts the limit refuses if these ``rows`` are all that is sent."""
    r, fit = situation.requests, rule.fit
    barred = np.zeros(len(r), np.bool_) if fit.barred is None else fit.barred
    asked = counted(r) | ((r.rejected == REJECTED) & ((fit.counts.count >= fit.value) | barred))
    rows = rows[asked[rows]]
    answers, attempts = rule.counts == "answers", rule.counts == "attempts"
    taken, lasts = np.ones(len(rows)), (r.end_ns - r.start_ns)[rows]
    if answers:
        accepted = r.rejected == ACCEPTED
        size = np.where(accepted, r.answer_bytes, int(np.median(r.answer_bytes[accepted])))
        lasts = np.where(accepted, r.end_ns - r.start_ns, int(np.median((r.end_ns - r.start_ns)[accepted])))[rows]
        taken = fit.reading.taken(size)[rows].astype(np.float64)
    elif rule.counts == "bytes":
        taken = fit.reading.taken(r.sent_bytes)[rows].astype(np.float64)
    room = taken if fit.reading.own and not answers else np.ones(len(rows))
    meter, barred_ns, barred_until, out = rule.meter(), rule.barred_ns, 0, 0
    made: set[int] = set()
    awaited: list[tuple[int, float]] = []
    each = zip(
        r.start_ns[rows].tolist(),
        (r.side[rows] == side).tolist(),
        chains[rows].tolist(),
        room.tolist(),
        taken.tolist(),
        lasts.tolist(),
        strict=True,
    )
    for now, is_own, chain, needs, takes, takes_ns in each:
        if chain in made:
            continue
        while awaited and awaited[0][0] <= now:
            meter.take(*heapq.heappop(awaited))
        if now < barred_until:
            out += is_own
            continue
        free = meter.free_at(now, needs) <= now
        if free and answers:
            heapq.heappush(awaited, (now + takes_ns, takes))
        elif free or attempts:
            meter.take(now, takes)
        if free:
            made.add(chain)
        else:
            out += is_own
            barred_until = now + barred_ns
    return out
