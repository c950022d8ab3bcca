"""Whether a capture's clock tells times that cannot be: then nothing that rests on how long something took is said of it."""

from __future__ import annotations

import numpy as np

from netlens.lenses import Finding
from netlens.lenses._view import View
from netlens.tables import MSL_MS

LEAST, SHARE = 3, 0.5  #: connections, and of all whose opening was answered: a few may be of ports that were used again
DAY_MS = 86_400_000  #: by which one is enough, where there is no other: a machine that stood still in between goes on sooner
_UNITS = ("_s", "_ms")  #: in which values of findings are times


def impossible(view: View) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Sessions whose SYN was answered later than a segment lives, where most were; none else."""
    took = view.sessions["synack_ms"][view.in_one] if view.in_one else np.empty(0)
    late = took > MSL_MS
    answered = took[np.isfinite(took)]
    is_wrong = late.sum() >= max(LEAST, SHARE * len(answered)) or (len(answered) > 0 and answered.min() > DAY_MS)
    return np.asarray(view.in_one, np.int64)[late] if is_wrong else np.empty(0, np.int64)


def without_times(view: View, found: list[Finding]) -> list[Finding]:
    """Findings, without those that rest on times where the clock cannot be right."""
    if not found or not len(view.once(impossible)):
        return found
    return [each for each in found if each.id == "clock-set" or not any(key.endswith(_UNITS) for key in each.values)]
