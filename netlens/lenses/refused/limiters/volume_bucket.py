"""A bucket of bytes: each request takes its size, and so many come back every second.

Claim: a request is refused if, and only if, less is left than it needs (or, where its own size is not asked, nothing). The bucket never holds more than its
burst. As of a :mod:`bucket of requests <netlens.lenses.refused.limiters.token_bucket>`, what is missing from a full one does not depend on its size, so that
the burst is the limit and only the refill is searched for: around what was accepted a second, and where the bucket never filled up, very near to it.
Cannot be told from: a volume in a sliding window, where bursts are rare; a bucket of requests, where all are of nearly one size.
Source: limits on input tokens a minute (Anthropic documents a bucket). On the wire a token is about four bytes, encrypted or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netlens.columns import Floats, Ints
from netlens.lenses.refused.limiters import _bucket
from netlens.lenses.refused.limiters._windows import between, span_s

ID = "volume-bucket"
KIND = "volume"
WINDOW = "bucket"
COUNTS = "bytes"
RANK = 10
LATER = True
#: Refills that are tried, as parts of what was accepted a second: a burst that was never given back makes it less, pauses make it more.
SLOWEST, FASTEST, STEP = 0.5, 25.0, 1.1


def parameters(starts: Ints, taken: Floats, room: Floats | float = 0.0) -> list[float]:
    span, total = span_s(starts), float(taken.sum())
    if span <= 0.0 or total <= 0.0:
        return []
    usual_s = span / total
    return sorted({*between(usual_s / FASTEST, usual_s / SLOWEST, STEP), *_bucket.never_full(starts, taken, room)})


def scores(starts: Ints, taken: Floats, parameter_s: float) -> Iterator[Floats]:
    yield _bucket.missing(starts, taken, parameter_s)


decide = _bucket.decide


def described(parameter_s: float, limit: int) -> dict[str, Any]:
    """``value``: bytes a minute."""
    return _bucket.described(parameter_s, limit) | {"value": round(60.0 / parameter_s)}
