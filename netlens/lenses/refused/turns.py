"""Turns: which request of a program follows which, and which are for titles, as the recording shows it. The replay keeps these ties.

An agent asks, thinks, asks again: a turn begins its pause after the one before it is done. Which that is: of the turns of its side that are done and that
nothing else has followed, the one whose connection it uses again; on a new connection, one whose connection was closed with it; else the one that was
done last. Pairs that begin together at a fixed distance (a title and the first turn) keep that distance.
"""

from __future__ import annotations

from math import exp, lgamma, log

import numpy as np

from netlens.chains.situation import Situation
from netlens.columns import Bools, Ints
from netlens.lenses.refused import kernels
from netlens.lenses.refused.intents import MS, Intents, S

MOST_DONE = 32  #: of those that are done; more agents at once were not seen
CLOSED_NS = 10 * MS  #: a connection that is closed within so long after an answer is closed with it
DEPENDENT_NS = 30 * S  #: a longer pause is a person's, not the program's
BURST_NS = 200 * MS  #: requests that begin together; opencode's title and first turn were 55 ms apart in a published log
BURST_SPREAD_NS = 25 * MS  #: within this of their median, starts that follow a fixed code path; a quarter of the window by chance
CHANCE = 0.1  #: three pairs of a title and its turn within half a minute are 0.05, five by chance of two busy agents 0.3 (measured)
ANOTHER_ORDER = 4.0  #: between the sizes of requests for titles and of turns; opencode's are 10 times apart
SMALLER = 2.0  #: times that a turn is larger than a title that only their times tell, where sizes are known at all
TURN_BYTES = 16_000  #: of a turn with its tools described; the smallest of opencode has 31 kB
BESIDE_NS = 10 * S  #: a title and its turn were 2 s apart, and on a busy machine 7 s (measured)
OFTEN = 0.75  #: share of the titles that are; the first turn of a program that has just started was 17 s late


def _bursts(found: Intents, situation: Situation) -> list[tuple[int, int]]:
    """Pairs of intents of one side on different sessions that begin together, at a distance that is the same each time."""
    pairs: list[tuple[int, int]] = []
    starts, session = found.start_ns, situation.requests.session[found.first]
    for side in np.unique(found.side).tolist():
        rows = np.flatnonzero(found.side == side)
        near = (np.diff(starts[rows]) <= BURST_NS) & (np.diff(session[rows]) != 0)
        pairs += zip(rows[:-1][near].tolist(), rows[1:][near].tolist(), strict=True)
    out = []
    for side in {int(found.side[i]) for i, _ in pairs}:
        mine = [(i, j) for i, j in pairs if found.side[i] == side]
        offset = np.array([starts[j] - starts[i] for i, j in mine])
        regular = np.abs(offset - np.median(offset)) <= BURST_SPREAD_NS
        if len(mine) >= 3 and regular.mean() > 0.6 and _by_chance(int(regular.sum()), found.start_ns[found.side == side]) <= CHANCE:
            out += [pair for pair, near in zip(mine, regular.tolist(), strict=True) if near]
    return sorted(out)


def _by_chance(pairs: int, starts: Ints) -> float:
    """How likely requests at any times give so many pairs at some one distance: two agents' turns now and then begin together, too."""
    expected = len(starts) ** 2 / max(int(np.ptp(starts)), 1) * 2 * BURST_SPREAD_NS
    fewer = sum(exp(k * log(expected) - expected - lgamma(k + 1)) for k in range(pairs))
    return (1.0 - fewer) * BURST_NS / (2 * BURST_SPREAD_NS)


def titles(found: Intents, situation: Situation) -> frozenset[int]:
    """Intents that look like requests for a title: by their size, or of pairs that begin together at a fixed distance those in the place that is the shorter.

    Without sizes nothing but their length and time tells them; with fewer than three such pairs of a side, or where neither place is shorter, there are none.
    """
    if by_size := _small(found, situation):
        return by_size
    out: set[int] = set()
    pairs = _bursts(found, situation)
    for side in {int(found.side[i]) for i, _ in pairs}:
        mine = [p for p in pairs if found.side[p[0]] == side]
        places = [[k for k in place if found.accepted[k]] for place in zip(*mine, strict=True)]
        if len(places) == 2 and all(places):
            lengths = [float(np.median(found.busy_ns[place])) for place in places]
            sent = [float(np.median(situation.requests.sent_bytes[found.first[[pair[k] for pair in mine]]])) for k in (0, 1)]
            short = int(np.argmin(lengths))
            if min(lengths) < 0.9 * max(lengths) and sent[short] * SMALLER <= sent[1 - short]:
                out |= {pair[short] for pair in mine}
    return frozenset(out)


def _small(found: Intents, situation: Situation) -> frozenset[int]:
    """Intents whose requests are of another order of size than all others of their side, as a rule beside a large one: opencode sends 2.9 kB for a title,
    and 31 kB and more for a turn, a moment before or after it. None where not one of them was accepted: what is refused by its head alone is small as the
    rest of it was not sent."""
    out: set[int] = set()
    sent = situation.requests.sent_bytes[found.first]
    for side in np.unique(found.side).tolist():
        mine = np.flatnonzero((found.side == side) & (sent > 0))
        sizes = np.unique(sent[mine])
        if len(sizes) < 2:
            continue
        ratios = sizes[1:] / sizes[:-1]
        at = int(ratios.argmax())
        little, large = mine[sent[mine] <= sizes[at]], mine[sent[mine] > sizes[at]]
        begun = np.sort(found.start_ns[large])
        nearest = np.searchsorted(begun, found.start_ns[little] - BESIDE_NS)
        beside = begun[np.minimum(nearest, len(begun) - 1)] - found.start_ns[little]
        beside = (nearest < len(begun)) & (beside <= BESIDE_NS)
        fits = ratios[at] >= ANOTHER_ORDER and sizes[at + 1] >= TURN_BYTES and len(little) <= len(large) and beside.mean() >= OFTEN
        if fits and found.accepted[little].any():
            out |= set(little.tolist())
    return frozenset(out)


def dependencies(found: Intents, situation: Situation) -> tuple[Ints, Ints, Bools]:
    """Per intent: the one it depends on (-1: none), its distance in ns, and whether that is from the other's start."""
    n = len(found)
    on, distance, from_start = np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.bool_)
    starts, ends = found.start_ns, found.finished_ns
    for i, j in _bursts(found, situation):
        on[j], distance[j], from_start[j] = i, starts[j] - starts[i], True
    session = situation.requests.session
    first, last = session[found.first], session[found.last]
    events = np.argsort(np.concatenate([ends, starts]), kind="stable")  # of one time, ends come before starts
    settings = np.array([MOST_DONE, DEPENDENT_NS, CLOSED_NS], np.int64)
    heights = np.zeros(int(found.side.max(initial=0)) + 1, np.int64)
    rooms = heights, np.empty((len(heights), n), np.int64)
    side, closed = found.side.astype(np.int64), situation.sessions.done_ns
    kernels.follow(events, settings, starts, ends, side, first, last, closed, on, distance, *rooms)
    return on, distance, from_start
