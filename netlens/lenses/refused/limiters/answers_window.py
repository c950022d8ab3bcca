"""So many bytes of answers in any window of time.

Claim: a request is refused if, and only if, the bytes of answers in the window before it come to the limit; of an answer they count when it is over, or as they
are sent. What a request will be answered nobody knows before, so it takes nothing itself.
Cannot be told from: a limit on requests, where all answers are of nearly one size; a bucket, where they come evenly.
Source: limits on output tokens a minute (Anthropic), and on tokens a minute of both (OpenAI). In a stream a token comes with some hundred bytes around it.
"""

from __future__ import annotations

from netlens.lenses.refused.limiters import _windows

ID = "answers-window"
KIND = "volume"
WINDOW = "sliding"
COUNTS = "answers"
RANK = 11
LATER = True
parameters, scores, decide, described = _windows.parameters, _windows.scores, _windows.decide, _windows.described
