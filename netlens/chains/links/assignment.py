"""The likeliest assignment, where hellos were cut, lost, older than the capture, or where there is no TLS.

Theory of operation
-------------------
1. Each possible pair has a weight (:mod:`netlens.chains.likelihood`). The assignment of greatest weight is sought (:mod:`netlens.chains.matching`); its gap
   to the best assignment without a pair is the log of the odds, so that pair's confidence is 1 - exp(-gap). Below :data:`CONFIDENT` it is none.
2. Connections that only differ in time are often tied; a tunnel is one ordered stream, so if as many came out as went in, they came out in
   order (:func:`_in_order`), and pairs that cross are dropped.

Limits: proxies that change payload (HTTP proxies, TLS interception, compression that is not SSH's own) leave time alone, which pairs only what is far
apart. Two idle connections opened at once through the tunnel, of which one is the forwarder's own, are told apart by nothing: both stay unpaired.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np

from netlens.chains.compared import MAX_DELAY_NS, MIN_DELAY_NS, START, TOLERANCE_NS, USUAL_DELAY_NS, Found, equal_totals
from netlens.chains.likelihood import MANY, possible, weights
from netlens.chains.matching import assign
from netlens.columns import MISSING, Floats, Ints

ID = "assignment"
RANK = 5
EXACT = False
MAX_USUAL_DELAY_NS = 100_000_000
CONFIDENT = 0.9  #: odds of ten to one; the wrong tenth is rarer, since chance is counted on the high side
LIKELY = 0.5  #: enough to learn usual delays from
MANY_EQUAL = 8  #: connections with equal totals that are told apart without a clock: more would be guessing
MOST_EDGES = 1_000_000  #: possible pairs looked at in one step; more are thinned out
ORDER_CONFIDENCE = 0.95  #: no two of 556 tunnelled connections changed places (gaps from 7 us)


def join(found: Found) -> None:
    v, h = found.v, found.h
    vm_rows = found.free_vm()
    host_rows = np.array([j for j in found.free_host().tolist() if not found.processes.own[j]], dtype=np.int64)
    if not len(vm_rows) or not len(host_rows):
        return
    i, j = _candidates(found, vm_rows, host_rows)
    allowed = possible(found, i, j)
    i, j = i[allowed], j[allowed]
    fifo = _is_fifo(found)
    usual = _usual_delay(found)
    for attempt in range(2):  # the second time with the delays that the first has shown
        a, b, w = _heaviest(i, j, weights(found, i, j, usual))
        column, gap = assign(a, b, w)
        sure = 1 - np.exp(-gap)
        chosen = np.flatnonzero((column >= 0) & (sure >= CONFIDENT))
        if attempt or usual is not None:
            break
        likely = np.flatnonzero((column >= 0) & (sure >= LIKELY))
        usual = _delay_of(found, v.events[likely, START], h.events[column[likely], START])
        if usual is None:
            break
    accepted = {int(k): (int(column[k]), float(sure[k])) for k in chosen}
    if fifo and found.time.uncertain_ns <= USUAL_DELAY_NS:
        accepted |= _in_order(found, accepted, a, b, w)
    for k in _crossing(found, accepted) if fifo else ():
        del accepted[k]
    for k, (other, confidence) in accepted.items():
        found.add(k, other, ID, confidence)


def _candidates(found: Found, vm_rows: Ints, host_rows: Ints) -> tuple[Ints, Ints]:
    """Pairs that may be looked at: by time where both began in their captures and the clock is known, else by equal totals."""
    v, h = found.v, found.h
    lists: list[tuple[Ints, Ints]] = [(vm_rows[:0], host_rows[:0])]  # perhaps nothing may be looked at
    began_v, began_h = vm_rows[~v.censored[vm_rows]], host_rows[~h.censored[host_rows]]
    if found.time.known:
        order = began_h[np.lexsort((h.start[began_h], h.server[began_h]))]
        for server in np.unique(v.server[began_v]).tolist():
            mine = began_v[v.server[began_v] == server]
            others = order[h.server[order] == server]
            low = np.searchsorted(h.start[others], v.start[mine] - found.time.uncertain_ns - TOLERANCE_NS)
            high = np.searchsorted(h.start[others], v.start[mine] + found.time.uncertain_ns + MAX_DELAY_NS, side="right")
            high = np.minimum(high, low + max(MANY, MOST_EDGES // max(len(began_v), 1)))
            counts = np.maximum(high - low, 0)
            first = np.repeat(low - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
            lists.append((np.repeat(mine, counts), others[first + np.arange(counts.sum())]))
    else:
        lists.append(equal_totals(found, began_v, began_h, MANY_EQUAL))
    # Those that were open when one capture began: few, so each with each that was open in the other then.
    old_v, old_h = vm_rows[v.censored[vm_rows]], host_rows[h.censored[host_rows]]
    slack = found.time.uncertain_ns + MAX_DELAY_NS
    early_v = began_v[v.start[began_v] <= h.first + slack] if len(old_h) else began_v[:0]
    early_h = began_h[h.start[began_h] <= v.first + slack] if len(old_v) else began_h[:0]
    for mine, others in ((old_v, np.concatenate([old_h, early_h])), (early_v, old_h)):
        if len(mine) * len(others) > MOST_EDGES:
            lists.append(equal_totals(found, mine, others, MANY_EQUAL))
        elif len(mine) and len(others):
            a, b = np.repeat(mine, len(others)), np.tile(others, len(mine))
            lists.append((a, b))
    i = np.concatenate([a for a, _ in lists])
    j = np.concatenate([b for _, b in lists])
    keep = v.server[i] == h.server[j]
    return i[keep], j[keep]


def _heaviest(i: Ints, j: Ints, weight: Floats) -> tuple[Ints, Ints, Floats]:
    """The heaviest edges of each row: a runner-up is among them."""
    keep = weight > 0
    i, j, weight = i[keep], j[keep], weight[keep]
    order = np.lexsort((-weight, i))
    i, j, weight = i[order], j[order], weight[order]
    rank = np.arange(len(i)) - np.searchsorted(i, i)
    keep = rank < MANY
    return i[keep], j[keep], weight[keep]


def _usual_delay(found: Found) -> float | None:
    """Twice the median delay of exact pairs that went through the tunnel; None if they are fewer than three."""
    rows = np.flatnonzero((found.host_of >= 0) & found.v.forwarded)
    return _delay_of(found, found.v.events[rows, START], found.h.events[found.host_of[rows], START])


def _delay_of(found: Found, begun: Ints, followed: Ints) -> float | None:
    seen = (begun != MISSING) & (followed != MISSING)
    if not found.time.known or seen.sum() < 3:
        return None
    return float(np.clip(2 * np.median(followed[seen] - begun[seen]), MIN_DELAY_NS, MAX_USUAL_DELAY_NS))


# --- order ---------------------------------------------------------------------------------------------------------------------------------


def _starts(found: Found, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(start at the VM, start at the host, row of the VM) of tunnelled pairs that began in both captures."""
    v, h = found.v, found.h
    return sorted((int(v.start[i]), int(h.start[j]), i) for i, j in pairs if v.forwarded[i] and not v.censored[i] and not h.censored[j])


def _exact_tunnelled(found: Found) -> list[tuple[int, int]]:
    return [(int(i), int(found.host_of[i])) for i in np.flatnonzero(found.method == "hello")]


def _is_fifo(found: Found) -> bool:
    """Whether what is paired by hellos came out in the order in which it went in (several tunnels at once need not)."""
    out = [b for _, b, _ in _starts(found, _exact_tunnelled(found))]
    return all(a <= b for a, b in pairwise(out))


def _in_order(
    found: Found, accepted: Mapping[int, tuple[int, float]], rows: Ints, columns: Ints, weights: Floats
) -> dict[int, tuple[int, float]]:
    """Tied connections that went in together and came out together, as many as there were, paired in their order.

    A group is what near-ties connect: rows not decided, columns nobody has. All must be connected to their partner by an edge that is nearly the best.
    """
    v, h = found.v, found.h
    tie = -np.log(1 - CONFIDENT)
    taken = {j for j, _ in accepted.values()}
    edges: dict[int, dict[int, float]] = defaultdict(dict)
    for i, j, w in zip(rows.tolist(), columns.tolist(), weights.tolist(), strict=True):
        if i not in accepted and j not in taken and w >= tie and v.forwarded[i] and not v.censored[i] and not h.censored[j]:
            edges[i][j] = w
    near: dict[int, set[int]] = {}
    back: dict[int, set[int]] = defaultdict(set)
    for i, own in edges.items():
        top = max(own.values())
        near[i] = {j for j, w in own.items() if w >= top - tie}
        for j in near[i]:
            back[j].add(i)
    out: dict[int, tuple[int, float]] = {}
    seen: set[int] = set()
    for first in near:
        if first in seen:
            continue
        group, stack = {first}, [first]
        while stack:
            for j in near[stack.pop()]:
                fresh = back[j] - group
                group |= fresh
                stack += fresh
        seen |= group
        ins = sorted(group, key=lambda i: (int(v.start[i]), i))
        outs = sorted({j for i in group for j in near[i]}, key=lambda j: (int(h.start[j]), j))
        distinct = len({int(v.start[i]) for i in ins}) == len(ins) and len({int(h.start[j]) for j in outs}) == len(outs)
        if len(ins) == len(outs) and distinct and all(j in near[i] for i, j in zip(ins, outs, strict=True)):
            for i, j in zip(ins, outs, strict=True):
                out[i] = (j, min(ORDER_CONFIDENCE, 1 - float(np.exp(-edges[i][j]))))
    return out


def _crossing(found: Found, accepted: Mapping[int, tuple[int, float]]) -> list[int]:
    """Assigned rows that would have changed places with another pair in the tunnel."""
    pairs = _starts(found, [*_exact_tunnelled(found), *((i, j) for i, (j, _) in accepted.items())])
    if not pairs:
        return []
    out = np.array([b for _, b, _ in pairs], dtype=np.int64)
    before = np.concatenate([[MISSING], np.maximum.accumulate(out)[:-1]])
    after = np.concatenate([np.minimum.accumulate(out[::-1])[::-1][1:], [np.iinfo(np.int64).max]])
    wrong = (before > out) | (after < out)
    return [i for (_, _, i), bad in zip(pairs, wrong.tolist(), strict=True) if bad and i in accepted]
