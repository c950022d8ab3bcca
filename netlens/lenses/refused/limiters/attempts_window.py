"""So many attempts in any window of time, refused ones too.

Claim: a request is refused if, and only if, as many as the limit were sent in the window before it, whatever became of them.
Cannot be told from: a sliding window of accepted requests, where programs hardly ever retry.
Source: the documentation of OpenAI ("unsuccessful requests contribute to your per-minute limit").
"""

from __future__ import annotations

from netlens.lenses.refused.limiters import _windows

ID = "attempts-window"
KIND = "rate"
WINDOW = "sliding"
COUNTS = "attempts"
RANK = 4
LATER = False
parameters, scores, decide, described = _windows.parameters, _windows.scores, _windows.decide, _windows.described
