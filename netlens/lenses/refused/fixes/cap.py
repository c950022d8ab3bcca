"""Have fewer requests in progress at once: the rest wait for their turn on their own machine.

Applies where a side's program had more than one in progress, and is one process as far as its log tells: each of several would have a cap of its own.
A place is free again when the *program* is done, so requests that go on upstream after that (zombies) are not held back by any cap.
"""

from __future__ import annotations

from netlens.lenses.refused import programs
from netlens.lenses.refused.fixes import OPEN, Case, Variant
from netlens.lenses.refused.replay import Change

ID = "cap"
TITLE = "Limit each side to {k} at once"
RANK = 3
AGAINST = (OPEN,)
CAVEATS = ("it counts for one process of the program: for several windows or programs use a proxy that queues",)
FEW = 6  #: caps that are all tried; of more, the largest that leaves no refusal is looked for


def variants(case: Case) -> list[Variant]:
    """``cap-1`` up to one less than the program's own peak, or to the limit if that is less; the largest without refusals is recommended."""
    if case.context.at_once > 1:
        return []
    top = case.own_peak - 1
    if case.rule is None:
        return [_variant(case, 1, False)] if top >= 1 else []
    if case.rule.unit == "requests":
        top = min(top, case.rule.value)  # with more than that in progress some are refused
    if top < 1:
        return []
    if top <= FEW:
        caps = list(range(1, top + 1))
    else:
        low, high = 0, top + 1  # refusals grow with the cap: none at `low`, some at `high`
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _left(case, middle) == 0 else (low, middle)
        caps = sorted({1, max(low, 1), min(high, top)})
    best = max((k for k in caps if _left(case, k) == 0), default=0)
    return [_variant(case, k, k == best) for k in caps]


def _left(case: Case, k: int) -> int:
    outcome = case.replay(Change(cap=k))
    return outcome.total if outcome else 0


def _variant(case: Case, k: int, recommended: bool) -> Variant:
    program = programs.known(case.context.program)
    caveats = (program.cap_caveat.format(k=k), *CAVEATS)
    command = program.cap and program.cap.format(k=k)
    return Variant(f"{ID}-{k}", TITLE.format(k=k), Change(cap=k), command, caveats, recommended=recommended)
