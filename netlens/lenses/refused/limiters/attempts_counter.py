"""So many attempts in about any window of time, refused ones too, by two counters.

Claim: a request is refused if, and only if, those sent since the window began and a part of those sent in the window before come to the limit; the part is
what a window that slides would still reach of it.
Cannot be told from: a sliding window of attempts, where they come evenly.
Source: HAProxy's ``http_req_rate`` and other rates of its stick tables, which count what is denied, too.
"""

from __future__ import annotations

from netlens.lenses.refused.limiters import _counter, _windows

ID = "attempts-counter"
KIND = "rate"
WINDOW = "counter"
COUNTS = "attempts"
RANK = 8
LATER = True
parameters, scores, decide, described = _counter.parameters, _counter.scores, _windows.decide, _counter.described
