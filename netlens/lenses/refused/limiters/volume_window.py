"""So many bytes in any window of time.

Claim: a request is refused if, and only if, the bytes accepted in the window before it, with its own or without, exceed the limit.
Cannot be told from: a limit on requests, where all are of nearly one size.
Source: limits on input tokens a minute (Anthropic, OpenAI). On the wire a token is about four bytes, encrypted or not.
"""

from __future__ import annotations

from netlens.lenses.refused.limiters import _windows

ID = "volume-window"
KIND = "volume"
WINDOW = "sliding"
COUNTS = "bytes"
RANK = 5
LATER = False
parameters, scores, decide, described = _windows.parameters, _windows.scores, _windows.decide, _windows.described
