"""Wait until the quota is reset. Applies where the provider says that a quota is used up; nothing that is sent before helps."""

from __future__ import annotations

from netlens.lenses.refused.fixes import QUOTA as A_QUOTA
from netlens.lenses.refused.fixes import Case, Variant

ID = "wait-for-reset"
TITLE = "Wait until the quota is reset"
RANK = 1
AGAINST = (A_QUOTA,)
CAVEATS = ("the provider's answer, or its usage page, says when it is reset",)


def variants(case: Case) -> list[Variant]:
    return [Variant(ID, TITLE, None, None, CAVEATS, "how much was used before the recording is not known")]
