"""Ask the provider what is counted and what the limit is, with the evidence attached. Always applies."""

from __future__ import annotations

from netlens.lenses.refused.fixes import ANYTHING, Case, Variant

ID = "ask-provider"
TITLE = "Ask the provider, with the evidence attached"
RANK = 9
AGAINST = ANYTHING

CAVEATS = ("read the letter before you send it",)


def variants(case: Case) -> list[Variant]:
    return [Variant(ID, TITLE, None, None, CAVEATS, "nobody can predict the answer")]
