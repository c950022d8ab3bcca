"""The causes that may bring a limiter to refuse: one file each, found without a list, and none imports another.

A cause judges by a :class:`~netlens.lenses.refused.weighing.Weighing`, with what causes share in :mod:`netlens.lenses.refused.judging`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from netlens.registry import members

if TYPE_CHECKING:
    from netlens.lenses.refused.counting import Adjustment
    from netlens.lenses.refused.verdict import Verdict
    from netlens.lenses.refused.weighing import Weighing

#: What the docstring of a cause says, in this order. *Refuted* is written before any data is looked at.
SECTIONS = ("Claim", "Refuted", "Undecided", "Source")


class Cause(Protocol):
    """What a file of this folder has. ``LETTER``: its short name; ``CLAIM``: one sentence; ``RANK``: its place in the report.

    One that blames traffic that can be taken away has besides ``WITHOUT``, the :class:`~netlens.lenses.refused.counting.Adjustment` that does so.
    """

    ID: str
    LETTER: str
    CLAIM: str
    RANK: int

    def judge(self, weighing: Weighing) -> Verdict: ...


def all_causes() -> list[Cause]:
    """Every cause, in the order of the report."""
    return sorted(members(__name__, Cause, SECTIONS, ("ID", "LETTER", "RANK")), key=lambda cause: cause.RANK)


def taken_away() -> dict[str, Adjustment]:
    """What each cause that blames traffic takes away, by its id."""
    return {cause.ID: without for cause in all_causes() if (without := getattr(cause, "WITHOUT", None)) is not None}


def judge_all(weighing: Weighing) -> list[Verdict]:
    return [replace(each.judge(weighing), id=each.ID, cause=each.LETTER, claim=each.CLAIM) for each in all_causes()]
