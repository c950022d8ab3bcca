"""Situations written by hand, in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netlens.chains.situation import COMPANION, LOOKUPS, REQUESTS, Requests, Sessions, Situation

S = 1_000_000_000


@dataclass(frozen=True)
class Rule:
    unit: str
    scope: str
    value: int


def ns(seconds: Any) -> Any:
    return np.rint(np.asarray(list(seconds), float) * S).astype(np.int64)


def situation(
    requests: Sequence[tuple[Any, ...]], sessions: Sequence[tuple[Any, ...]] | None = None, end_s: float | None = None, **more: Any
) -> Situation:
    """``requests``: (side, start, end, rejected[, done[, session]]); a session each unless named. ``sessions``: (side, start, end[, done[, kind[,
    connection]]]); if None, those that the requests need: each from its first request to the end of its last."""
    rows = sorted(((*r, *(None,) * (6 - len(r))) for r in requests), key=lambda r: r[1])
    numbers = [k if r[5] is None else r[5] for k, r in enumerate(rows)]
    if sessions is None:
        spans: dict[int, tuple[Any, ...]] = {}
        for r, k in zip(rows, numbers, strict=True):
            side, start, end = spans.get(k, (r[0], r[1], r[2]))
            spans[k] = (side, min(start, r[1]), max(end, r[2]))
        sessions = [spans[k] for k in range(max(numbers, default=-1) + 1)]
    held = [(*s, *(None,) * (6 - len(s))) for s in sessions]
    n, m = len(rows), len(held)
    last = max([r[2] for r in rows] + [s[2] for s in held], default=0.0) if end_s is None else end_s
    zeros = np.zeros
    return Situation(
        Requests(
            np.array([r[0] for r in rows], np.int8),
            np.array(numbers, np.int64),
            ns(r[1] for r in rows),
            ns(r[2] for r in rows),
            ns(r[2] if r[4] is None else r[4] for r in rows),
            np.array([r[3] for r in rows], np.int8),
            np.array(["error log"] * n, object),
            np.full(n, -1, np.int64),
            zeros(n, np.int64),
            zeros(n, np.int64),
        ),
        Sessions(
            np.array([s[0] for s in held], np.int8),
            ns(s[1] for s in held),
            ns(s[2] for s in held),
            ns(s[2] if s[3] is None else s[3] for s in held),
            np.array([k if s[5] is None else s[5] for k, s in enumerate(held)], np.int64),
            np.array([REQUESTS if s[4] is None else s[4] for s in held], np.int8),
            zeros(m, np.int64),
            zeros(m, np.int64),
        ),
        vm_seen=True,
        host_seen=True,
        egress_seen=True,
        capture_ns=(0, int(ns([last + 1])[0])),
        **more,
    )


__all__ = ["COMPANION", "LOOKUPS", "REQUESTS", "Rule", "S", "situation"]
