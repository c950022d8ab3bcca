"""So many requests from one full minute (hour, ten seconds) to the next.

Claim: a request is refused if, and only if, as many as the limit were accepted since the window began; windows follow each other without a gap.
Cannot be told from: a sliding window, unless requests were accepted on both sides of an edge that a sliding window would have refused.
Source: the counters by wall clock that many gateways and libraries have.
"""

from __future__ import annotations

from netlens.lenses.refused.limiters import _fixed

ID = "fixed-window"
KIND = "rate"
WINDOW = "fixed"
COUNTS = "accepted"
RANK = 2
LATER = False
parameters, scores, decide, described = _fixed.parameters, _fixed.scores, _fixed.decide, _fixed.described
