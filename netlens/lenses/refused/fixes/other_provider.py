"""Another provider or model, whose limit is another. Always applies; nothing can be predicted of it."""

from __future__ import annotations

from netlens.lenses.refused.fixes import ANYTHING, Case, Variant

ID = "other-provider"
TITLE = "Use another provider or model"
RANK = 8
AGAINST = ANYTHING

CAVEATS = ("the command lists what is set up, for `opencode --model`; limits differ by model, and another provider needs its own key",)


def variants(case: Case) -> list[Variant]:
    """Always one."""
    return [Variant(ID, TITLE, None, "opencode models", CAVEATS, "the other limit is unknown")]
