"""All that may have been said on a connection, weighed both ways: what is likely by what came before, and by what follows (forward-backward algorithm)."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import NamedTuple

import numpy as np

from netlens.chains.asked import PING, Reading
from netlens.chains.explained import kernels
from netlens.chains.explained.kernels import CHANGES, MOST_STATES, MOST_WAITING, NEGLIGIBLE, SLOTS, Scratch, Ways
from netlens.chains.explained.model import Model
from netlens.chains.explained.steps import owed, steps
from netlens.chains.explained.talks import Talk
from netlens.chains.explained.tallies import Tally
from netlens.chains.explained.walks import Event, Walk, answered, extra, unpaid, waiting
from netlens.columns import Bools, Floats, Ints

MOST_WEIGHED = 1_000_000  #: states of a capture in all, some 150 bytes each; what is left then is not explained
SURE = 0.985  #: of a number of requests
LEFT_BEHIND_GOAWAY, LEFT, LEFT_BY_CAPTURE = 0.1, 1e-3, 0.5  #: a request in progress when its connection is closed, or the capture ends
STATES, EDGES = 80, 8  #: behind each event, and of each state, for which there is room at first


class Found(NamedTuple):
    """One way to read a client, explained. ``evidence`` is a logarithm.  numbers : probability of each number of requests.  back : how likely all that follows
    is in each state, to the likeliest one at the time.  behind : probability of each state behind its event.  kinds : by event, of each kind of record, or of
    each number of requests that a start begins."""

    evidence: float
    numbers: Tally[int]
    walk: Walk
    back: Floats
    behind: Floats
    kinds: Floats

    @property
    def events(self) -> list[Event]:
        return self.walk.events

    def expected(self, values: Ints | Bools) -> Floats:
        """Behind each event, of a value of each state."""
        out: Floats = np.add.reduceat(self.behind * values, self.walk.ways.first[1:-1])
        return out

    def likely(self, k: int, those: Callable[[Ints], Bools]) -> float:
        """How likely the state behind event ``k`` is one of those."""
        states = self.walk.behind(k)
        return float(self.behind[states][those(self.walk.ways.states[states])].sum())


def explain(talk: Talk, read: Reading, model: Model, negligible: float = NEGLIGIBLE) -> Found | None:
    """Weigh all that may have been said but for what is ``negligible``, with the number that is certain, if one is; None where nothing fits."""
    walk = forward(talk, read, model, negligible)
    return None if walk is None else (backward(walk, talk.number) if talk.number else None) or backward(walk)


def forward(talk: Talk, read: Reading, model: Model, negligible: float) -> Walk | None:
    """How likely each state is behind each event, by what was said until then."""
    events, steps_ = steps(talk, read, model)
    ways, scratch = _room(len(events))
    sums = np.array([negligible, 0.0])
    k, none = 0, False
    while k < len(events) and not none:
        k, none = kernels.forward(k, steps_, ways, scratch, sums, model.most_states, MOST_WEIGHED - model.weighed[0])
        if k < len(events):
            ways = Ways(ways.first, *(np.resize(of, 2 * len(of)) for of in ways[1:]))
    model.weighed[0] += int(ways.first[k + 1]) - 1
    if none:
        return None
    before, n = ways.first[-2:].tolist()
    m = int(ways.edges[before])
    ways = Ways(ways.first, ways.states[:n], ways.odds[:n], ways.edges[: before + 1], ways.ends[:m], ways.weights[:m], ways.kinds[:m])
    missed = owed(talk, read, model).missed
    left, missed = (LEFT_BY_CAPTURE, 1.0) if talk.cut else (_left(talk), missed)
    last = ways.states[before:]
    return Walk(float(sums[1]), len(read.streams), events, ways, left ** (waiting(last) + answered(last)) * missed ** unpaid(last))


def _room(events: int) -> tuple[Ways, Scratch]:
    """For all that these may change, at first; the beginning is the only state there is before."""
    states = min(STATES * events, MOST_WEIGHED) + MOST_STATES + 1
    edges = EDGES * states + MOST_STATES * CHANGES
    ways = Ways(
        first=np.zeros(events + 2, np.int64),
        states=np.empty(states, np.int64),
        odds=np.empty(states),
        edges=np.empty(states, np.int64),
        ends=np.empty(edges, np.int32),
        weights=np.empty(edges),
        kinds=np.empty(edges, np.int8),
    )
    ways.first[1], ways.states[0], ways.odds[0], ways.edges[0] = 1, 0, 1.0, 0
    most = MOST_STATES * CHANGES
    scratch = Scratch(
        found=np.empty(most, np.int64),
        mass=np.empty(most),
        sorted=np.empty(most),
        place=np.empty(most, np.int64),
        slots=np.empty(SLOTS, np.int16),
        kept=np.empty(MOST_WAITING + 1),
    )
    return ways, scratch


def _left(talk: Talk) -> float:
    """How likely a request is in progress when its connection is closed."""
    return LEFT_BEHIND_GOAWAY if any(r.size == PING for r in (*talk.said.answers, *talk.said.updates)) else LEFT


def backward(walk: Walk, number: int | None = None) -> Found | None:
    """Probability of each state behind each event, and of what each event is, by all that was said; of all ways through it, or those with this ``number`` of
    requests."""
    ways = walk.ways
    back, behind, kinds = np.zeros(len(ways.states)), np.zeros(len(ways.states)), np.zeros((len(walk.events), MOST_WAITING + 1))
    last = slice(ways.first[-2], None)
    numbers = walk.starts + extra(ways.states[last])
    back[last] = walk.last if number is None else np.where(numbers == number, walk.last, 0.0)
    total = float(ways.odds[last] @ back[last])
    if total <= 0.0:
        return None
    kernels.backward(ways, back, behind, kinds)
    found: Tally[int] = Tally()
    for n, p in zip(numbers.tolist(), behind[last].tolist(), strict=True):
        if p:
            found[n] += p
    return Found(walk.evidence + log(total), found, walk, back, behind, kinds)
