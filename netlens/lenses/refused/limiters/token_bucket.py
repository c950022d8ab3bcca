"""A bucket of tokens: each request takes one, and one comes back every so often.

Claim: a request is refused if, and only if, less than one token is left. The bucket never holds more than its burst.
What is missing from a full bucket does not depend on its size: with X = t / refill - accepted so far it is max(X until now) - X now (the reflection of
a queue). So one number per request, whatever the burst, and the burst is the limit on it. A recording may begin when the bucket is full, or in the
midst of use: then as much is missing at first as makes the first refusal one.
Cannot be told from: a sliding window of limit x refill, where bursts are rare; its burst cannot be known where it was never used up after a pause.
Source: RFC 2697 (token buckets for marking), GCRA (ITU-T I.371); the limits that Anthropic documents are of this kind.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netlens.columns import Floats, Ints
from netlens.lenses.refused.limiters import _bucket
from netlens.lenses.refused.limiters._windows import between, span_s

ID = "token-bucket"
KIND = "rate"
WINDOW = "bucket"
COUNTS = "accepted"
RANK = 3
LATER = False


def parameters(starts: Ints, taken: Floats, room: Floats | float = 0.0) -> list[float]:
    longest = max(span_s(starts) / 5, 0.05)  # five refills at least
    return sorted(p for p in {*between(0.05, longest, 1.04), *_bucket.never_full(starts, taken, room)} if p <= longest)


def scores(starts: Ints, taken: Floats, parameter_s: float) -> Iterator[Floats]:
    level = _bucket.level(starts, taken, parameter_s)
    highest = np.maximum.accumulate(level)
    at_first = highest - level
    yield at_first
    refused = np.flatnonzero(taken == 0)
    if len(refused) == 0 or at_first[refused[0]] >= at_first[refused[-1]]:
        return
    # Begun in the midst of use. What later refusals met is the burst, as far as the bucket was full in between; the first met no less.
    burst = np.ceil(at_first[refused[-1]])
    yield np.maximum(highest, burst - 0.5 + level[refused[0]]) - level


decide, described = _bucket.decide, _bucket.described
