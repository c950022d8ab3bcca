"""All that may have been said on a connection, weighed both ways: what is likely by what came before, and by what follows (forward-backward algorithm)."""

from __future__ import annotations

from collections import defaultdict
from heapq import nlargest
from math import log
from operator import itemgetter
from typing import NamedTuple

from netlens.chains.asked import PING, Reading
from netlens.chains.explained.model import Model
from netlens.chains.explained.steps import owed, steps
from netlens.chains.explained.talks import Talk
from netlens.chains.explained.walks import Event, State, Walk

NEGLIGIBLE = 1e-9  #: probability of a state beside all others
MOST_WEIGHED = 1_000_000  #: states of a capture in all, some 10 s; what is left then is not explained
SURE = 0.985  #: of a number of requests
LEFT_BEHIND_GOAWAY, LEFT, LEFT_BY_CAPTURE = 0.1, 1e-3, 0.5  #: a request in progress when its connection is closed, or the capture ends


class Found(NamedTuple):
    """One way to read a client, explained. ``evidence`` is a logarithm.  numbers : probability of each number of requests.  behind : of each state behind each
    event.  kinds : of what each event is."""

    evidence: float
    numbers: dict[int, float]
    walk: Walk
    behind: list[dict[State, float]]
    kinds: list[dict[int, float]]

    @property
    def events(self) -> list[Event]:
        return self.walk.events


def explain(talk: Talk, read: Reading, model: Model, negligible: float = NEGLIGIBLE) -> Found | None:
    """Weigh all that may have been said but for what is ``negligible``; None where nothing fits."""
    walk = forward(talk, read, model, negligible)
    return None if walk is None else backward(walk)


def forward(talk: Talk, read: Reading, model: Model, negligible: float) -> Walk | None:
    """How likely each state is behind each event, by what was said until then."""
    events, every = steps(talk, read, model)
    before: dict[State, float] = {(0, 0, 0, 0): 1.0}
    out = [before]
    evidence = 0.0
    for step in every:
        then: dict[State, float] = defaultdict(float)
        for state, p in before.items():
            kept, some = step.behind(state)
            p *= kept
            for after, q, _ in some:
                then[after] += p * q
        total = sum(then.values())
        if total <= 0.0:
            return None
        evidence += log(total)
        before = {state: p / total for state, p in then.items() if p > negligible * total}
        if len(before) > model.most_states:
            before = dict(nlargest(model.most_states, before.items(), key=itemgetter(1)))
        out.append(before)
        model.weighed[0] += len(before)
        if model.weighed[0] > MOST_WEIGHED:
            return None
    missed = owed(read, model).missed
    left, missed = (LEFT_BY_CAPTURE, 1.0) if talk.cut else (_left(talk), missed)
    last = {state: left ** (state[1] + state[2]) * missed ** state[3] for state in before}
    return Walk(evidence, len(read.streams), events, out, every, last)


def _left(talk: Talk) -> float:
    """How likely a request is in progress when its connection is closed."""
    return LEFT_BEHIND_GOAWAY if any(r.size == PING for r in (*talk.said.answers, *talk.said.updates)) else LEFT


def backward(walk: Walk, number: int | None = None) -> Found | None:
    """Probability of each state behind each event, and of what each event is, by all that was said; of all ways through it, or those with this ``number`` of
    requests."""
    back = _last(walk, number)
    total = sum(walk.forward[-1][state] * q for state, q in back.items())
    if total <= 0.0:
        return None
    evidence = walk.evidence + log(total)
    behind: list[dict[State, float]] = []
    kinds: list[dict[int, float]] = []
    for i in range(len(walk.steps) - 1, -1, -1):
        post = {state: p * back[state] for state, p in walk.forward[i + 1].items() if state in back}
        total = sum(post.values())
        behind.append({state: p / total for state, p in post.items() if p > NEGLIGIBLE * total})
        back, tally = _before(walk, i, back)
        total = sum(tally.values())
        kinds.append({kind: p / total for kind, p in tally.items()} if total else {})
    numbers: dict[int, float] = defaultdict(float)
    for state, p in (behind[0] if behind else {}).items():
        numbers[walk.starts + state[0]] += p
    return Found(evidence, numbers, walk, behind[::-1], kinds[::-1])


def backs(walk: Walk, number: int | None = None) -> list[dict[State, float]]:
    """How likely all that follows is, in each state before the first event and behind each; as a rule to each other."""
    out = [_last(walk, number)]
    for i in range(len(walk.steps) - 1, -1, -1):
        out.append(_before(walk, i, out[-1])[0])
    return out[::-1]


def _last(walk: Walk, number: int | None) -> dict[State, float]:
    return {state: q for state, q in walk.last.items() if number is None or walk.starts + state[0] == number}


def _before(walk: Walk, i: int, back: dict[State, float]) -> tuple[dict[State, float], dict[int, float]]:
    """How likely all that follows is in each state before event ``i``, by the same behind it; and how likely the event is of each kind."""
    earlier: dict[State, float] = {}
    tally: dict[int, float] = defaultdict(float)
    for state, p in walk.forward[i].items():
        kept, some = walk.steps[i].behind(state)
        p, so_far = p * kept, 0.0
        for after, q, kind in some:
            if (then := back.get(after)) is not None:
                so_far += q * then
                tally[kind] += p * q * then
        if so_far:
            earlier[state] = so_far * kept
    most = max(earlier.values(), default=1.0)
    return {state: p / most for state, p in earlier.items()}, tally
