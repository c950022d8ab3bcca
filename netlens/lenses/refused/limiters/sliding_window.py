"""So many requests in any window of time.

Claim: a request is refused if, and only if, as many as the limit were accepted in the window before it.
Cannot be told from: a token bucket whose burst is the limit, where requests come evenly; what is open, where all answers take equally long.
Source: Redis-based limiters and the documentation of providers that count "in the last 60 seconds".
"""

from __future__ import annotations

from netlens.lenses.refused.limiters import _windows

ID = "sliding-window"
KIND = "rate"
WINDOW = "sliding"
COUNTS = "accepted"
RANK = 1
LATER = False
parameters, scores, decide, described = _windows.parameters, _windows.scores, _windows.decide, _windows.described
