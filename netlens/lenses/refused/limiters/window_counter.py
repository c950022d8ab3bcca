"""So many requests in about any window of time, by two counters.

Claim: a request is refused if, and only if, those accepted since the window began and a part of those accepted in the window before, by how much of it a window
that slides would still reach, come to the limit.
Cannot be told from: a sliding window, where requests come evenly.
Source: the "sliding window counter" of gateways and of libraries for Redis, which store two numbers instead of every time.
"""

from __future__ import annotations

from netlens.lenses.refused.limiters import _counter, _windows

ID = "window-counter"
KIND = "rate"
WINDOW = "counter"
COUNTS = "accepted"
RANK = 7
LATER = True
parameters, scores, decide, described = _counter.parameters, _counter.scores, _windows.decide, _counter.described
