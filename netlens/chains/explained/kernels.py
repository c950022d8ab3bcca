"""The compiled walks over all that may have been said on a connection: forward by what was said until then, backward by what follows.

A state is one number, to which is added what an event changes: :data:`EXTRA` for each request beyond one of each start, :data:`ANSWERED` and :data:`WAITING`
for each that is answered in part or waits, and 1 for each whose body the server has not answered with WINDOW_UPDATE.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.columns import Array, Floats, Ints
from netlens.wire.compiled import inlined, lean

START, ANSWER, CONTROL, RESET = range(4)  #: ways of events
KINDS, ASIDE, BROKEN = 11, 8, 10  #: how many kinds of records there are, and two of them (:class:`netlens.chains.explained.walks.Kind`)
WAITING, ANSWERED, EXTRA = 1 << 3, 1 << 7, 1 << 27
MOST_OWED, MOST_WAITING, LEAST_EXTRA, MOST_EXTRA = 6, 12, -400, 100
#: What a record may be depends on whether so many wait, and so many are answered in part; whether the client begins one, on whether so many are in progress.
TELL_WAITING, TELL_ANSWERED, TELL_BESIDE = 4, 2, 16
MOST_STATES = 200  #: behind a record, the likeliest; recordings have 20 to 40 on average, and 260 at most
CHANGES = MOST_OWED + 1 + MOST_OWED + 1  #: of a state by one event, at most: of WINDOW_UPDATEs, or a head besides
SLOTS = 8192  #: of the table that finds the states behind an event, of which there are fewer than half as many
NEGLIGIBLE = 1e-9  #: probability of a state beside all others
LEAST, EVIDENCE = range(2)  #: of ``sums``: the probability of a state that is kept, and how likely all is that was said (a logarithm)


class Steps(NamedTuple):
    """What the events of a connection may change, by event.

    way : START and so on.  look : of a record of the server, its place in ``looks``.  own : of a start, how likely it begins none, one, two and so on; of
    RST_STREAM, how likely it is that; of the server's, how likely it holds WINDOW_UPDATEs for so many bodies.  owes : whether the body of a start is owed one.
    still : how likely one request waits until then.  missed : how likely one WINDOW_UPDATE that is late does not come; -1 while none is late.
    looks : [look, waiting, answered, kind], how likely a record is of a kind, of which each changes a state by ``change``.  beside : by requests in progress,
    how much likelier others begin.
    """

    way: Array
    look: Ints
    own: Floats
    owes: Array
    still: Floats
    missed: Floats
    looks: Floats
    change: Ints
    beside: Floats


class Ways(NamedTuple):
    """All ways through a connection.

    first : place of the first state before each event, of those behind the last, and one behind these.  states, odds : each, and how likely it is by what was
    said until then.  edges : of each state the place of the first change.  ends, weights, kinds : of each change the state behind it, how likely it is, and
    what the event is then: a kind of record, or of a start ``~n`` for ``n`` requests.
    """

    first: Ints
    states: Ints
    odds: Floats
    edges: Ints
    ends: Array
    weights: Floats
    kinds: Array


class Scratch(NamedTuple):
    """States behind an event, as they are found: each, its probability, its place among those that are kept; and by a hash, which it is.  kept : how likely
    requests wait until then, by how many wait."""

    found: Ints
    mass: Floats
    sorted: Floats
    place: Ints
    slots: Array
    kept: Floats


@inlined
def _add(ways, scratch, many, edge, state, p, odds, kind):
    """One change, by ``odds``, of what is as likely as ``p``. Returns how many states there are then behind the event."""
    slot = (state * 0x9E3779B1 >> 11) & (SLOTS - 1)
    while scratch.slots[slot] >= 0 and scratch.found[scratch.slots[slot]] != state:
        slot = (slot + 1) & (SLOTS - 1)
    at = scratch.slots[slot]
    if at < 0:
        at = many
        scratch.slots[slot] = many
        scratch.found[many], scratch.mass[many] = state, 0.0
        many += 1
    scratch.mass[at] += p * odds
    ways.ends[edge], ways.weights[edge], ways.kinds[edge] = at, odds, kind
    return many


@inlined
def _least(values, many, most):
    """The least of the ``most`` greatest of so many, which are put in another order (Hoare's quickselect)."""
    low, high, k = 0, many - 1, most - 1
    while low < high:
        pivot, i, j = values[(low + high) >> 1], low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@inlined
def _kept(scratch, many, negligible, most):
    """Say which states are kept: those that are not negligible, the likeliest if there are more than ``most``. Returns how many."""
    likely = 0
    for k in range(many):
        if scratch.mass[k] > negligible:
            scratch.sorted[likely] = scratch.mass[k]
            likely += 1
    least, as_likely = negligible, 0
    if likely > most:
        least, as_likely = _least(scratch.sorted, likely, most), most
        for k in range(likely):
            as_likely -= scratch.sorted[k] > least
    kept = 0
    for k in range(many):
        scratch.place[k] = -1
        if scratch.mass[k] > least or (as_likely > 0 and scratch.mass[k] == least):
            as_likely -= scratch.mass[k] == least
            scratch.place[k] = kept
            kept += 1
    return kept


@inlined
def _changes(steps, k, ways, scratch, many, edge, state, p, kept):
    """All that event ``k`` may change of a state. Returns how many states are behind it then, and the place of the next change."""
    owed, waiting, answered, extra = state & 7, state >> 3 & 15, state >> 7 & 0xFFFFF, state >> 27
    way = steps.way[k]
    if way == START:
        beside = steps.beside[min(waiting + answered, TELL_BESIDE)]
        for n in range(steps.own.shape[1]):
            q = steps.own[k, n]
            if q > 0.0 and waiting + n <= MOST_WAITING and LEAST_EXTRA <= extra + n - 1 <= MOST_EXTRA:
                then = state + (n - 1) * EXTRA + n * WAITING + min(n * steps.owes[k], MOST_OWED - owed)
                many = _add(ways, scratch, many, edge, then, p, kept * (q * beside if n else q), ~n)
                edge += 1
    elif way == RESET:
        q, n = steps.own[k, 0], waiting + answered
        many = _add(ways, scratch, many, edge, state, p, kept * (1.0 - q if n else 1.0), ASIDE)
        edge += 1
        for change, of in ((WAITING, waiting), (ANSWERED, answered)):
            if of:
                many = _add(ways, scratch, many, edge, state - change, p, kept * q * of / n, BROKEN)
                edge += 1
    else:
        look, waits, has = steps.look[k], min(waiting, TELL_WAITING), min(answered, TELL_ANSWERED)
        for kind in range(KINDS):
            q = steps.looks[look, waits, has, kind]
            if q > 0.0:
                for n in range(owed + 1):
                    if steps.own[k, n] > 0.0:
                        many = _add(ways, scratch, many, edge, state + steps.change[kind] - n, p, kept * q * steps.own[k, n], kind)
                        edge += 1
    return many, edge


@lean
def forward(at, steps, ways, scratch, sums, most, room):
    """Weigh what each event from ``at`` on may change, until there may be no room for the next one in ``ways``, or as many states were kept as there is room.

    Returns the event that comes then, and whether that is all: nothing fits, or too much was weighed.
    """
    first, states, odds, edges = ways.first, ways.states, ways.odds, ways.edges
    for k in range(at, len(steps.way)):
        begin, end = first[k], first[k + 1]
        edge = edges[begin]
        if edge + (end - begin) * CHANGES > len(ways.ends) or end + most >= len(states):
            return k, False
        scratch.slots[:] = -1
        scratch.kept[0] = 1.0
        for n in range(1, MOST_WAITING + 1):
            scratch.kept[n] = scratch.kept[n - 1] * steps.still[k]
        many = 0
        for s in range(begin, end):
            edges[s] = edge
            state = states[s]
            kept = scratch.kept[state >> 3 & 15]
            if steps.missed[k] >= 0.0:
                kept *= steps.missed[k] ** (state & 7)
                state -= state & 7
            many, edge = _changes(steps, k, ways, scratch, many, edge, state, odds[s], kept)
        edges[end] = edge
        total = 0.0
        for n in range(many):
            total += scratch.mass[n]
        if total <= 0.0:
            return k, True
        sums[EVIDENCE] += np.log(total)
        first[k + 2] = end + _kept(scratch, many, sums[LEAST] * total, most)
        for n in range(many):
            if scratch.place[n] >= 0:
                states[end + scratch.place[n]], odds[end + scratch.place[n]] = scratch.found[n], scratch.mass[n] / total
        edge = edges[begin]
        for s in range(begin, end):
            of_state, edges[s] = edges[s], edge
            for e in range(of_state, edges[s + 1]):
                place = scratch.place[ways.ends[e]]
                if place >= 0:
                    ways.ends[edge], ways.weights[edge], ways.kinds[edge] = end + place, ways.weights[e], ways.kinds[e]
                    edge += 1
        edges[end] = edge
        if first[k + 2] - 1 > room:
            return k + 1, True
    return len(steps.way), False


@lean
def backward(ways, back, behind, kinds):
    """How likely all that follows is in each state, by ``back`` of the last ones, which is all 0 else, to the likeliest one at the time; each state ``behind``
    each event by all that was said; and how likely an event is of each kind, or begins so many requests."""
    first, edges = ways.first, ways.edges
    for k in range(len(first) - 3, -1, -1):
        total = 0.0
        for s in range(first[k + 1], first[k + 2]):
            behind[s] = ways.odds[s] * back[s]
            total += behind[s]
        for s in range(first[k + 1], first[k + 2]):
            behind[s] = behind[s] / total if behind[s] > NEGLIGIBLE * total else 0.0
        most = whole = 0.0
        for s in range(first[k], first[k + 1]):
            for e in range(edges[s], edges[s + 1]):
                then = ways.weights[e] * back[ways.ends[e]]
                kind = ways.kinds[e]
                kinds[k, kind if kind >= 0 else ~kind] += ways.odds[s] * then
                whole += ways.odds[s] * then
                back[s] += then
            most = max(most, back[s])
        for s in range(first[k], first[k + 1]):
            back[s] /= most if most > 0.0 else 1.0
        for n in range(kinds.shape[1]):
            kinds[k, n] /= whole if whole > 0.0 else 1.0
