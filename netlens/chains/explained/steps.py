"""What each event of a connection may change, and how likely: a start begins requests, a record of the server answers some, one of control does neither.

WINDOW_UPDATEs (:mod:`netlens.chains.explained.updates`) that bodies are owed are a part of what is walked over.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from netlens.chains import asked
from netlens.chains.asked import BODY, FULL, PING, UPDATE_NS, Reading
from netlens.chains.explained.kernels import ANSWER, ANSWERED, CONTROL, KINDS, MOST_OWED, MOST_WAITING, RESET, START, WAITING, Steps
from netlens.chains.explained.model import Model
from netlens.chains.explained.talks import MS, Talk
from netlens.chains.explained.updates import KNOWN, Updates
from netlens.chains.explained.walks import CHANGES, Event, Kind
from netlens.columns import NEVER

SLOWER = 3  #: times that one may wait longer than usual before that speaks against it: streams take longer to begin than refusals
#: How likely what looks like a request is none, one, two, three or four.
ONE, ONE_EARLY, IN_BURST, FIRST_BURST, IN_PARTS = (
    (0.0003, 0.999, 0.0006, 0.0001), (0.001, 0.98, 0.015, 0.004), (0.02, 0.86, 0.08, 0.03, 0.01), (0.001, 0.7, 0.16, 0.08, 0.06),
    (0.01, 0.55, 0.3, 0.1, 0.04),
)  # fmt: skip
UNLIKELY = 1e-3  #: that a start begins so many, where the number of all is certain
FIELDS = 0.45, 0.54, 0.01  #: without a body behind them, which may be control
EARLY_NS = 300 * MS  #: of a connection: its SETTINGS are acknowledged somewhere, and programs begin with several requests at once
UPDATE_LARGE = 0.3  #: WINDOW_UPDATE is of no body that is counted, behind one longer than a frame, and before what was sent first is told apart from SETTINGS
STILL_NS, STILL = 150 * MS, 0.1  #: what the server still says of a request that was broken off, and how likely
CHANGE = np.array([sum(n * by for n, by in zip(CHANGES.get(Kind(k), (0, 0)), (WAITING, ANSWERED), strict=False)) for k in range(KINDS)])


def steps(talk: Talk, read: Reading, model: Model) -> tuple[list[Event], Steps]:
    """What happened, in order of time, and what each of it may change."""
    starts = [each.begin_ns for each in read.streams]
    looks, asides, resets = talk.looks(starts), talk.asides(starts), talk.resets(len(starts))
    events = sorted(
        [
            *(Event(ns, START, k) for k, ns in enumerate(starts)),
            *(Event(r.ts, ANSWER, k, r) for k, r in enumerate(talk.said.answers)),
            *(Event(r.ts, CONTROL, k, r) for k, r in enumerate(talk.controls) if asked.updates(r) or r.size == PING),
            *(Event(r.ts, RESET, k, r) for k, (r, _) in enumerate(resets)),
        ]
    )
    answers, controls = ({look: k for k, look in enumerate(dict.fromkeys(those))} for those in (looks, asides))
    changes = model.changes(list(answers))
    behind_reset = changes.copy()  # what the server says may be of a request that was broken off
    behind_reset[..., Kind.ASIDE] += STILL * np.array([model.odds(look)[Kind.PIECE] for look in answers]).reshape(-1, 1, 1)
    owes = owed(talk, read, model)
    sent_ns = large_ns = reset_ns = -NEVER
    gaps = np.diff([event.ns for event in events], prepend=events[0].ns if events else 0)
    out = Steps(
        way=np.array([event.way for event in events], np.int8),
        look=np.zeros(len(events), np.int64),
        own=np.zeros((len(events), MOST_WAITING + 1)),
        owes=np.zeros(len(events), np.int8),
        still=1 / (1 + gaps / (SLOWER * model.waited_ns / model.begun)),  # that one waits for so long
        missed=np.full(len(events), -1.0),
        looks=np.concatenate([changes, behind_reset, model.changes_aside(list(controls))]),
        change=CHANGE,
        beside=np.array(model.beside),
    )
    for k, (ns, way, at, record) in enumerate(events):
        if ns - sent_ns > owes.within_ns:
            out.missed[k] = owes.missed
        own: Sequence[float]
        if way == START:
            each = read.streams[at]
            known = talk.said.pays  # from the first body on
            counts = owes.each > 0 and (each.up < FULL or known == 1) and (known > 0 or ns > talk.said.settings_ns)
            out.owes[k], own = counts, many(read, at, model)
            if talk.number:
                own = [p if p > UNLIKELY * max(own) else 0.0 for p in own]
            sent_ns = max(sent_ns, each.sent_ns)
            large_ns = large_ns if counts else sent_ns
        elif way == ANSWER:
            out.look[k] = answers[looks[at]] + (len(answers) if ns - reset_ns <= STILL_NS else 0)
            own = (1.0,)
        elif way == RESET:
            own, reset_ns = (model.breaks(resets[at][1]),), ns
        else:
            out.look[k] = 2 * len(answers) + controls[asides[at]]
            own = _pays(owes, asked.updates(record) if record is not None else 0, ns - large_ns <= UPDATE_NS)
        out.own[k, : len(own)] = own[: MOST_WAITING + 1]
    return events, out


def _pays(of: Updates, several: int, large: bool) -> Sequence[float]:
    """How likely so many WINDOW_UPDATEs are those of no body, of one, and so on.  large : they may be of a body that is not counted."""
    if not of.each:
        return (1.0,)
    return [of.odds(several, n) if n or not large else UPDATE_LARGE for n in range(min(several, MOST_OWED) + 1)]


def owed(talk: Talk, read: Reading, model: Model) -> Updates:
    """WINDOW_UPDATEs for what a client writes at once; others show where each body ends."""
    if not read.together:
        return Updates()
    return KNOWN[talk.said.pays] if talk.said.pays and not model.updates.each else model.updates


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
