"""Situations made by hand for tests: a few lines each, times in seconds."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from netlens.chains.situation import HOST, REQUESTS, VM, Requests, Sessions, Situation

S = 1_000_000_000
SIDE = {"vm": VM, "host": HOST, "?": 2}


def situation(
    requests: list[tuple[str, int, float, float, int]],
    sessions: list[tuple[str, float, float]] | None = None,
    *,
    done: dict[int, float] | None = None,
    session_done: dict[int, float] | None = None,
    kind: dict[int, int] | None = None,
    stream: dict[int, int] | None = None,
    uncertain_ns: int = 0,
    egress_seen: bool = True,
    vm_seen: bool = True,
    host_seen: bool = True,
) -> Situation:
    """``requests``: (side, session, start, end, label) in order of start; ``sessions``: (side, start, end), by default one around each number.

    ``done`` and ``session_done``: when the program was done, by row; ``kind``: of sessions that carry no requests, by row.
    """
    if sessions is None:
        sessions, by_session = [], defaultdict(list)
        for r in requests:
            by_session[r[1]].append(r)
        for k in range(max(by_session, default=-1) + 1):
            mine = by_session[k]
            sessions.append((mine[0][0], min(r[2] for r in mine) - 0.01, max(r[3] for r in mine) + 0.01) if mine else ("?", 0.0, 0.01))
    n, m = len(requests), len(sessions)
    start, end = (np.array([round(r[c] * S) for r in requests], np.int64) for c in (2, 3))
    begun, closed = (np.array([round(s[c] * S) for s in sessions], np.int64) for c in (1, 2))
    finished, left = end.copy(), closed.copy()
    for row, when in (done or {}).items():
        finished[row] = round(when * S)
    for row, when in (session_done or {}).items():
        left[row] = round(when * S)
    kinds = np.full(m, REQUESTS, np.int8)
    for row, what in (kind or {}).items():
        kinds[row] = what
    streams = np.full(n, -1, np.int64)
    for row, what in (stream or {}).items():
        streams[row] = what
    numbers = np.arange(1, max(n, m) + 1, dtype=np.int64)
    return Situation(
        Requests(
            np.array([SIDE[r[0]] for r in requests], np.int8), np.array([r[1] for r in requests], np.int64), start, end, finished,
            np.array([r[4] for r in requests], np.int8), np.array(["error log"] * n, object), streams, numbers[:n], numbers[:n],
        ),
        Sessions(np.array([SIDE[s[0]] for s in sessions], np.int8), begun, closed, left, np.arange(m), kinds, numbers[:m], numbers[:m]),
        vm_seen, host_seen, egress_seen, (0, int(max([0, *end.tolist(), *closed.tolist()]))), uncertain_ns,
    )  # fmt: skip
