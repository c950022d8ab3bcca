"""The competing causes, one module each with ID, CAUSE, CLAIM and ``judge(weighing) -> Verdict``. A new cause is a new file and its line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlens.lenses.refused.weighing import Verdict, Weighing

#: In the order of the report.
MODULES = ("same_nat_ip", "multiplexing", "dns", "keep_alive", "own_concurrency", "own_rate", "provider")


def judge_all(weighing: Weighing) -> list[Verdict]:
    """A verdict on each cause.

    Raises
    ------
    TypeError
        a module lacks one of ID, CAUSE, CLAIM, judge; it is named.
    """
    out = []
    for name in MODULES:
        module = import_module(f"netlens.lenses.refused.causes.{name}")
        for attribute in ("ID", "CAUSE", "CLAIM", "judge"):
            if not hasattr(module, attribute):
                raise TypeError(f"hypothesis {name} has no {attribute}")
        out.append(module.judge(weighing))
    return out
