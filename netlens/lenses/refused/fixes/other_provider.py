"""Another provider or model, with another limit. Always applies; nothing can be predicted about it."""

from __future__ import annotations

from netlens.lenses.refused import programs
from netlens.lenses.refused.fixes import ANYTHING, Case, Variant

ID = "other-provider"
TITLE = "Use another provider or model"
RANK = 8
AGAINST = ANYTHING
CAVEATS = ("limits differ by model, and another provider needs its own key",)


def variants(case: Case) -> list[Variant]:
    program = programs.known(case.context.program)
    caveats = tuple(filter(None, (program.models_caveat, *CAVEATS)))
    return [Variant(ID, TITLE, None, program.models, caveats, "the other limit is unknown")]
