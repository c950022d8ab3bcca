"""What each event of a connection may change, and how likely: a start begins requests, a record of the server answers some, one of control does neither.

WINDOW_UPDATEs (:mod:`netlens.chains.explained.updates`) that bodies are owed are a part of what is walked over.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest

from netlens.chains import asked
from netlens.chains.asked import BODY, FULL, PING, UPDATE_NS, Reading
from netlens.chains.explained.model import Model
from netlens.chains.explained.talks import MS, Look, Talk
from netlens.chains.explained.updates import Updates
from netlens.chains.explained.walks import ANSWER, CONTROL, RESET, START, Change, Changes, Event, Kind, State, Step, begun
from netlens.columns import NEVER

MOST_WAITING, MOST_EXTRA, LEAST_EXTRA, MOST_OWED = 12, 100, -400, 6
SLOWER = 3  #: times that one may wait longer than usual before that speaks against it: streams take longer to begin than refusals
#: How likely what looks like a request is none, one, two, three or four.
ONE, ONE_EARLY, IN_BURST, FIRST_BURST, IN_PARTS = (
    (0.0003, 0.999, 0.0006, 0.0001), (0.001, 0.98, 0.015, 0.004), (0.02, 0.86, 0.08, 0.03, 0.01), (0.001, 0.7, 0.16, 0.08, 0.06),
    (0.01, 0.55, 0.3, 0.1, 0.04),
)  # fmt: skip
FIELDS = 0.45, 0.54, 0.01  #: without a body behind them, which may be control
EARLY_NS = 300 * MS  #: of a connection: its SETTINGS are acknowledged somewhere, and programs begin with several requests at once
UPDATE_LARGE = 0.3  #: WINDOW_UPDATE is of no body that is counted, behind one longer than a frame, and before what was sent first is told apart from SETTINGS
STILL_NS, STILL = 150 * MS, 0.02  #: what the server still says of a request that was broken off, and how likely


def steps(talk: Talk, read: Reading, model: Model) -> tuple[list[Event], list[Step]]:
    """What happened, in order of time, and what each of it may change."""
    starts = [each.begin_ns for each in read.streams]
    looks, asides, resets = talk.looks(starts), talk.asides(starts), talk.resets(len(starts))
    events = sorted(
        [
            *(Event(ns, START, k) for k, ns in enumerate(starts)),
            *(Event(r.ts, ANSWER, k, r) for k, r in enumerate(talk.said.answers)),
            *(Event(r.ts, CONTROL, k, r) for k, r in enumerate(talk.said.updates) if asked.updates(r) or r.size == PING),
            *(Event(r.ts, RESET, k, r) for k, (r, _) in enumerate(resets)),
        ]
    )
    wait_ns = SLOWER * model.waited_ns / model.begun
    before_ns = events[0].ns if events else 0
    owes = owed(read, model)
    sent_ns = large_ns = reset_ns = -NEVER
    out = []
    for ns, way, at, record in events:
        late = ns - sent_ns > owes.within_ns
        changes: Changes
        if way == START:
            each = read.streams[at]
            counts = owes.each > 0 and each.up < FULL and ns > talk.said.settings_ns
            changes = partial(_begins, many(read, at, model), counts, model)
            sent_ns = max(sent_ns, each.sent_ns)
            large_ns = large_ns if counts else sent_ns
        elif way == ANSWER:
            changes = partial(model.changes, looks[at])
            if ns - reset_ns <= STILL_NS:
                changes = partial(_still, changes)
        elif way == RESET:
            changes, reset_ns = partial(_breaks, model.breaks(resets[at][1])), ns
        else:
            several = asked.updates(record) if record is not None else 0
            changes = partial(_asides, asides[at], several, model, owes, ns - large_ns <= UPDATE_NS)
        still = 1 / (1 + (ns - before_ns) / wait_ns)  # that one waits for so long
        before_ns = ns
        out.append(Step(changes, [still**n for n in range(MOST_WAITING + 1)], owes.missed if late else None))
    return events, out


def owed(read: Reading, model: Model) -> Updates:
    """WINDOW_UPDATEs for what a client writes at once; others show where each body ends."""
    return model.updates if read.together else Updates()


def many(read: Reading, k: int, model: Model) -> Sequence[float]:
    """How likely what looks like a request is none, one, or several."""
    if read.many and read.together:
        none, *some = read.many[k]
        return [none, *(p * more for p, more in zip_longest(some, model.beginning[k > 0][: len(some)], fillvalue=1.0))]
    if read.many:
        return read.many[k]
    each = read.streams[k]
    if read.together and each.up >= 2 * BODY:
        return IN_PARTS if each.parts > 1 else IN_BURST if k else FIRST_BURST
    if each.up < BODY:
        return FIELDS
    return ONE_EARLY if not read.together and each.begin_ns - read.streams[0].begin_ns <= EARLY_NS else ONE


def _begins(many: Sequence[float], owes: bool, model: Model, state: State) -> list[Change]:
    extra, waiting, answered, owed = state
    beside = model.beside(waiting + answered)
    return [
        (n - 1, n, 0, min(n * owes, MOST_OWED - owed), p * beside if n else p, begun(n))
        for n, p in enumerate(many)
        if waiting + n <= MOST_WAITING and LEAST_EXTRA <= extra + n - 1 <= MOST_EXTRA
    ]


def _breaks(p: float, state: State) -> list[Change]:
    """What may be RST_STREAM of one that waits or is answered in part, or is not."""
    _, waiting, answered, _ = state
    if not waiting and not answered:
        return [(0, 0, 0, 0, 1.0, Kind.ASIDE)]
    out: list[Change] = [(0, 0, 0, 0, 1 - p, Kind.ASIDE)]
    for n, change in ((waiting, (0, -1, 0, 0)), (answered, (0, 0, -1, 0))):
        if n:
            out.append((*change, p * n / (waiting + answered), Kind.BROKEN))
    return out


def _still(changes: Changes, state: State) -> list[Change]:
    """The same shortly behind RST_STREAM: what the server says may be of a request that was broken off."""
    return [*changes(state), (0, 0, 0, 0, STILL, Kind.ASIDE)]


def _asides(look: Look, several: int, model: Model, of: Updates, large: bool, state: State) -> list[Change]:
    """What a record of the size of WINDOW_UPDATEs may be: these, of bodies or not, or the head of an answer.

    large : it may be of a body that is not counted.
    """
    _, waiting, answered, owed = state
    some: list[tuple[int, float, Kind]] = [(0, model.aside(look.size), Kind.ASIDE)]
    if waiting:
        total = model.kinds[Kind.HEAD] + model.kinds[Kind.SHORT] + (model.kinds[Kind.PIECE] + model.kinds[Kind.DONE] if answered else 0.0)
        some.append((1, model.kinds[Kind.HEAD] / total * model.odds(look)[Kind.HEAD], Kind.HEAD))
    for_bodies = (
        [(n, of.odds(several, n) if n or not large else UPDATE_LARGE) for n in range(min(owed, several) + 1)] if of.each else [(0, 1.0)]
    )
    return [(0, -heads, heads, -n, q * p, kind) for heads, q, kind in some for n, p in for_bodies]
