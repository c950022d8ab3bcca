"""So many bytes from one full minute (hour, ten seconds) to the next.

Claim: a request is refused if, and only if, the bytes accepted since the window began, with its own or without, exceed the limit; windows follow each
other without a gap.
Cannot be told from: a volume in a sliding window, unless bytes were accepted on both sides of an edge; a limit on requests, where all are of nearly one size.
Source: counters of tokens a minute by wall clock, which gateways have; on the wire a token is about four bytes, encrypted or not.
"""

from __future__ import annotations

from netlens.lenses.refused.limiters import _fixed

ID = "volume-fixed"
KIND = "volume"
WINDOW = "fixed"
COUNTS = "bytes"
RANK = 6
LATER = False
parameters, scores, decide, described = _fixed.parameters, _fixed.scores, _fixed.decide, _fixed.described
