"""Lines of a log that mean no request to the target: another program's, or those of other providers that the same program asks.

Theory of operation
-------------------
1. Lines of a kind (form, level, service, class, code) are judged together. Of each kind it is asked how many of its lines stand within so much time of the
   end of an answer, and how many would if they had been written at other times of the capture. The second number is what is chance.
2. A line that says it asked a server that is not the target's, and that the capture does not show, may still be the target's: its program asks a relay.
   It is believed if its kind follows the short answers, as refusals are, better than chance (:data:`SURE`).
3. A kind of which that cannot be said, while its lines clearly stand at once behind answers of another server in the same capture, is that server's.
4. Any other kind that names nobody is left out only where the log's other lines follow the answers at once and clearly (:data:`CLEAR`), and its own do it no
   better than chance at any lag (:data:`NO_BETTER`), though all of them could not by chance.

Limits: a few lines of a program that writes them late cannot be told from chance. Those of the second rule are then left out, which leaves requests unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log

import numpy as np

from netlens.columns import Bools, Ints
from netlens.lenses.refused.labels._labels import MS, Answers
from netlens.lenses.refused.labels._matching import EARLY_NS
from netlens.lenses.refused.limit import log_choose
from netlens.parsers.errorlog import ErrorEvent

#: how late a line may be; the last is that of a program that writes all late
WITHIN_NS = tuple(ms * MS for ms in (5, 20, 60, 250, 1_000, 4_000))
AT_ONCE = 3  #: of these, that are at once
PLACES = 64  #: other times at which the lines are tried
SURE, CLEAR, NO_BETTER = 0.01, 1e-4, 0.05  #: probabilities that chance alone puts so many lines behind answers
MOST = 2_000  #: lines of a kind by which it is judged
FEW = 4  #: lines of a kind that names nobody, below which nothing is said of it


def left_out(
    answers: Answers, events: Sequence[ErrorEvent], beside: Mapping[str, Ints] | None = None
) -> tuple[list[int], list[int], dict[str, list[int]]]:
    """Which lines mean no request: those that name another server, those that name none, and those that stand behind answers of another server.

    beside : by name of another server, when its answers ended, ascending.
    """
    end = np.sort(answers.end[answers.answered])
    if not len(events) or len(end) < 2:
        return [], [], {}
    kinds: dict[tuple[object, ...], list[int]] = {}
    for i, event in enumerate(events):
        kinds.setdefault((event.elsewhere, event.file, event.kind, event.refusal_class, event.code), []).append(i)
    if len(kinds) == 1 and not events[0].elsewhere and not beside:
        return [], [], {}
    short = np.sort(answers.end[answers.short])
    by_chance = {
        kind: _by_chance([events[i] for i in those], short if kind[0] else end)
        for kind, those in kinds.items()
        if kind[0] or len(those) >= FEW
    }
    theirs: dict[str, list[int]] = {}
    for kind in [kind for kind, (each, _) in by_chance.items() if min(each) > SURE]:
        those = [events[i] for i in kinds[kind]]
        at_once = {name: min(_by_chance(those, ends)[0][:AT_ONCE]) for name, ends in (beside or {}).items()}
        if at_once and at_once[name := min(at_once, key=lambda each: at_once[each])] * len(at_once) <= CLEAR:
            theirs.setdefault(name, []).extend(kinds.pop(kind))
            del by_chance[kind]
    named = [i for kind, those in kinds.items() if kind[0] and min(by_chance[kind][0]) > SURE for i in those]
    clear = [kind for kind, (each, _) in by_chance.items() if min(each[:AT_ONCE]) <= CLEAR]
    unnamed = [
        i
        for kind, those in kinds.items()
        if clear and not kind[0] and len(those) >= FEW and min(by_chance[kind][0]) > NO_BETTER and by_chance[kind][1] <= CLEAR
        for i in those
    ]
    return named, unnamed, theirs


def _by_chance(events: Sequence[ErrorEvent], end: Ints) -> tuple[list[float], float]:
    """How likely it is by chance that so many lines stand so near the end of an answer, for each of :data:`WITHIN_NS`; and that all did at once, which is
    likely where lines are known to the second only, or answers are many."""
    if len(end) < 2:
        return [1.0], 1.0
    low, high = np.array([(event.low_ns, event.high_ns) for event in events], np.int64).T
    within = (high >= end[0]) & (low <= end[-1] + WITHIN_NS[-1])  # others mean what was not captured
    low, high = low[within][:MOST], high[within][:MOST]
    in_order = np.argsort(low, kind="stable")  # of which searches are faster
    low, high = low[in_order], high[in_order]
    if not len(low):
        return [1.0], 1.0
    begin, lasts = int(end[0]), int(end[-1] - end[0]) + 1

    def behind(within_ns: int, off_ns: int) -> Bools:
        """Which lines, moved by so much around the time of the capture, stand so near an end; also before it, as refusals inside streams do."""
        to = begin + (low - begin + off_ns) % lasts if off_ns else low
        last = np.searchsorted(end, to + high - low + min(within_ns, EARLY_NS), "right") - 1
        found: Bools = (last >= 0) & (end[last] >= to - within_ns)
        return found

    places = np.linspace(0, lasts, PLACES + 2).astype(np.int64)[1:-1].tolist()
    chance = [float(np.mean([behind(w, off).mean() for off in places])) for w in WITHIN_NS]
    told = [_tail(len(low), int(behind(w, 0).sum()), each) for w, each in zip(WITHIN_NS, chance, strict=True)]
    return told, _tail(len(low), len(low), chance[AT_ONCE - 1])


def _tail(n: int, hits: int, chance: float) -> float:
    """How likely so many hits of n are, or more."""
    if chance <= 0 or chance >= 1 or not hits:
        return float(not hits or chance >= 1)
    ways = [log_choose(n, k) for k in range(hits, n + 1)]
    return min(sum(exp(each + k * log(chance) + (n - k) * log(1 - chance)) for k, each in enumerate(ways, hits)), 1.0)
