"""What a server itself waited for while its client did: it had asked another server, in the same capture, and answered as soon as it was answered.

One silence counts, between what the server said last and the first that came back, on a connection that the server's host opened, if it lies within the
client's wait and is most of it (:data:`SHARE`), begins soon behind the request and ends soon before the answer (:data:`BESIDE`). What a server waits for all
the time, as for jobs or events, begins and ends when it likes, not with a request: a connection that waits as long beside all requests counts for none.

Limits: a server that asks from another of its addresses is not seen; of several silences in a row, as of many short queries, nothing is said.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netlens.lenses._requests import Asked
from netlens.lenses._services import EACH, NAMES
from netlens.lenses._view import View, grouped, most
from netlens.text import endpoint

SHARE = 0.8  #: of the client's wait
POLLED = (110, 995)  #: by the clock (POP3), as other jobs of that host
BESIDE = 0.1  #: of the client's wait, in which a server does its own work before it asks, and behind the answer
LOOKED_AT = 200  #: requests, the slowest, and connections of the server beside one


class Behind(NamedTuple):
    """session : on which the server waited.  wait_ns : how long.  frames : what it said, and what came back."""

    session: int
    wait_ns: int
    frames: tuple[int, int]


def behind(view: View, requests: list[Asked]) -> dict[int, Behind]:
    """By id of a request that was answered."""
    if view.trail is None or view.one_sided:
        return {}
    answered = sorted((a for a in requests if a.answered and len(a.frames) > 1), key=lambda a: -a.wait_ns)[:LOOKED_AT]
    servers = {view.address(a.session, False) for a in answered}
    opened = grouped((k for k in view.in_one if view.address(k, True) in servers), lambda k: view.address(k, True)) if servers else {}
    starts, ends = view.column("start_ns"), view.column("end_ns")
    found: dict[int, Behind] = {}
    t = view.trail.segments()
    spans: dict[int, tuple[int, int]] = {}
    for a in answered:
        mine = view.trail.of(a.session)
        at = np.flatnonzero(t["frame"][mine] == a.frames[1])
        if len(at):
            until = int(t["ts"][mine][at[0]])
            spans[id(a)] = until - a.wait_ns, until
    of_server = grouped((a for a in answered if id(a) in spans), lambda a: view.address(a.session, False))
    for server, these in of_server.items():
        within = [spans[id(a)] for a in these]
        sessions, first, last = {a.session for a in these}, min(since for since, _ in within), max(until for _, until in within)
        shortest = SHARE * min(a.wait_ns for a in these)
        beside = [k for k in opened.get(server, ()) if k not in sessions and starts[k] < last and ends[k] > first + shortest]
        waits = [w for k in beside[:LOOKED_AT] for w in _waits(view, k, within, shortest)]
        for a in these:
            (since, until), gap = spans[id(a)], BESIDE * a.wait_ns
            fitting = (w for began, w in waits if since <= began <= since + gap and until - gap <= began + w.wait_ns <= until)
            longest = max(fitting, key=lambda w: w.wait_ns, default=None)
            if longest is not None and longest.wait_ns >= SHARE * a.wait_ns:
                found[id(a)] = longest
    return found


def _waits(view: View, k: int, within: list[tuple[int, int]], least: float) -> list[tuple[int, Behind]]:
    """Silences of the other end that are so long, after something was said to it, with when they began; none if one lies beside all of these times."""
    assert view.trail is not None
    t, rows = view.trail.segments(), view.trail.of(k)
    ts = t["ts"][rows]
    said = np.flatnonzero((t["fresh"][rows] > 0) & (t["length"][rows] > 0))
    orig = t["way"][rows][said] == view.side.originator.astype(np.int8)[k]
    turns = np.flatnonzero(orig[:-1] & ~orig[1:])
    began, waits = ts[said[turns]], ts[said[turns + 1]] - ts[said[turns]]
    long = np.flatnonzero(waits >= least)
    frames = t["frame"][rows]
    found = []
    for i in long[:LOOKED_AT].tolist():
        since, until = int(began[i]), int(began[i] + waits[i])
        if not any(a <= since and until <= b for a, b in within):
            return []
        at = int(turns[i])
        found.append((since, Behind(k, until - since, (int(frames[said[at]]), int(frames[said[at + 1]])))))
    return found


def named(view: View, found: list[Behind]) -> str:
    """The servers, with their protocols where ports tell."""
    return most(_name(*view.ends(w.session)[2:]) for w in found)


def answers_each(view: View, found: Behind) -> bool:
    """Whether the other server answers all that it is asked, so that it was not waited for on purpose."""
    port = view.ends(found.session)[3]
    return port in EACH and port not in POLLED


def _name(ip: str, port: int) -> str:
    return f"{endpoint(ip, port)} ({NAMES[port]})" if port in NAMES else endpoint(ip, port)
