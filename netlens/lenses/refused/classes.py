"""Which refusals are weighed together, which requests are evidence at all, and what the others leave open."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from netlens import logs
from netlens.chains.situation import APART, ELSEWISE, REJECTED, Situation
from netlens.lenses.refused.limit import ENOUGH

if TYPE_CHECKING:
    from netlens.lenses.refused.verdict import Verdict
    from netlens.lenses.refused.weighing import Weighing


def seen_upstream(situation: Situation) -> Situation:
    """The situation without the labels of requests that were sent while what leaves was not captured."""
    r = situation.requests
    return (
        replace(situation, requests=replace(r, rejected=np.where(r.outside, np.int8(APART), r.rejected))) if r.outside.any() else situation
    )


def of_one_class(situation: Situation) -> tuple[Situation, str]:
    """The situation with the refusals of one class only, and that class: refusals by different limits are never fitted together.

    Concurrency and rate go first, because a change here can help against them; else the class with most refusals is taken. Refusals of unknown class
    may be of any, so they go with concurrency or rate, or by themselves. Refusals of other classes are no evidence and hold no place.
    """
    r = situation.requests
    refused = r.rejected == REJECTED
    many = Counter(r.refusal_class[refused].tolist())
    limits = {k: n for k, n in many.items() if k in (logs.CONCURRENCY, logs.RATE) and n >= ENOUGH}
    named = limits or {k: n for k, n in many.items() if k != logs.UNKNOWN}
    main = max(sorted(named), key=named.__getitem__) if named else logs.UNKNOWN
    if not limits and many[logs.UNKNOWN] > many[main]:
        main = logs.UNKNOWN
    with_it = {main, logs.UNKNOWN} if main in (logs.CONCURRENCY, logs.RATE) else {main}
    others = refused & ~np.isin(r.refusal_class.astype(str), sorted(with_it))
    if not others.any():
        return situation, main
    return replace(situation, requests=replace(r, rejected=np.where(others, np.int8(ELSEWISE), r.rejected))), main


def beside_others(weighing: Weighing, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts; what refusals of another class speak of, which are not weighed here, is not refuted by those that are: too much in progress by a limit over
    time, too much over time by one on what is open."""
    r = weighing.situation.requests
    said = Counter(r.refusal_class[r.rejected == ELSEWISE].tolist())
    open_, timely = said[logs.CONCURRENCY], said[logs.RATE] + said[logs.QUOTA]
    beside = {}
    if weighing.by_time and open_ >= ENOUGH:
        beside["own-concurrency"] = (
            f"a slower recording, in which the limit over time is not reached: {open_:,} refusals say concurrency, and are not weighed beside the others"
        )
    if weighing.rules and timely >= ENOUGH:
        beside["own-rate"] = (
            f"a recording in which less is in progress: {timely:,} refusals say that too much was sent over time, and are not weighed beside the others"
        )
    return [replace(v, verdict="undecided", needs=beside[v.id]) if v.id in beside and v.verdict == "refuted" else v for v in verdicts]


def never_all_refuted(weighing: Weighing, verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts, but never all of them refuted: something did refuse the requests.

    Then the fitted rule is not, or not alone, what the provider does, so causes that it refuted are undecided. Those that a fact of the captures
    refuted stay refuted.
    """
    if not weighing.refused.any() or any(v.verdict != "refuted" for v in verdicts):
        return verdicts
    needed = "a longer recording: no cause alone explains enough of the refusals, so there are several, or one that was not captured"
    return [replace(v, verdict="undecided", needs=needed) if v.attributable_fraction or v.id == "provider" else v for v in verdicts]
