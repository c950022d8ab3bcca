"""Are many connections held in reserve?

Asks: how many connections of one client to one service were open and idle for a minute at the same time.
Applies: to captures longer than a minute.
Cannot see: whether they would have been used again.
Normal: browsers keep six to a server (RFC 9112 9.4 asks for few); a pool of a program as many as it once needed. It costs the server memory, and where a
    provider counts connections it costs places.
"""

from __future__ import annotations

import bisect

import numpy as np

from netlens.columns import MISSING, NEVER
from netlens.lenses import Finding
from netlens.lenses._view import S, View, finding, grouped
from netlens.lenses.never_closed import SOME, SOME_IDLE_NS, open_and_idle
from netlens.text import endpoint

ID = "idle-pool"
GROUP = "leaks"
RANK = 82
LEAST, IDLE_NS = 10, 60 * S


def look(view: View) -> list[Finding]:
    """One for each client and service."""
    found = []
    open_ = view.once(open_and_idle)
    never = {k for k, idle in open_ if idle >= SOME_IDLE_NS}
    all_ = [(k, int(view.sessions["end_ns"][k]), int(view.sessions["end_ns"][k]) + idle) for k, idle in open_] + _closed(view)
    idle = [each for each in all_ if each[2] - each[1] >= IDLE_NS]
    for (client, server, port), group in grouped(idle, lambda each: view.service(each[0])).items():
        if len(group) < LEAST or sum(k in never for k, *_ in group) >= SOME:  # never-closed says it
            continue
        at_once = _at_once(group)
        if len(at_once) < LEAST:
            continue
        text = f"{len(at_once):,} connections from {client} to {endpoint(server, port)} were idle at the same time, each for a minute or longer."
        values = {"client": client, "server": server, "port": port, "connections": len(at_once)}
        found.append(finding(view, ID, "warning", text, [int(view.sessions["last_frame"][k]) for k in at_once], values))
    return found


def _closed(view: View) -> list[tuple[int, int, int]]:
    """(session, last data, close) of connections that were closed in the capture after they had been idle."""
    s, whole = view.sessions, np.array(view.whole, np.int64)
    sent = np.maximum(*(s.ints(f"{end}_last_payload_ns") for end in ("orig", "resp")))[whole]
    ended = np.minimum.reduce([s.ints(f"{name}_ns", NEVER) for name in ("orig_fin", "resp_fin", "rst")])[whole]
    idle = (sent != MISSING) & (ended != NEVER) & (ended - sent >= IDLE_NS)
    return list(zip(whole[idle].tolist(), sent[idle].tolist(), ended[idle].tolist(), strict=True))


def _at_once(group: list[tuple[int, int, int]]) -> list[int]:
    """The most sessions that had been idle for :data:`IDLE_NS` at the same time."""
    starts, ends = sorted(since + IDLE_NS for _, since, _ in group), sorted(until for *_, until in group)
    at = max(starts, key=lambda t: bisect.bisect_right(starts, t) - bisect.bisect_left(ends, t))
    return sorted(k for k, since, until in group if since + IDLE_NS <= at <= until)
