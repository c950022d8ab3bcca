"""What a server itself waited for while its client did: it had asked another server, in the same capture, and answered as soon as it was answered.

One silence counts, between what the server said last and the first that came back, on a connection that the server's host opened, if it lies within the
client's wait and is most of it (:data:`SHARE`). What a server waits for all the time, as for jobs or events, begins and ends when it likes, not with a request.

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
    for a in answered:
        mine = view.trail.of(a.session)
        at = np.flatnonzero(t["frame"][mine] == a.frames[1])
        if not len(at):
            continue
        until = int(t["ts"][mine][at[0]])
        since = until - a.wait_ns
        beside = [
            k
            for k in opened.get(view.address(a.session, False), ())
            if k != a.session and starts[k] < until and ends[k] > since + SHARE * a.wait_ns
        ]
        waits = [w for k in beside[:LOOKED_AT] if (w := _longest(view, k, since, until)) is not None]
        longest = max(waits, key=lambda w: w.wait_ns, default=None)
        if longest is not None and longest.wait_ns >= SHARE * a.wait_ns:
            found[id(a)] = longest
    return found


def _longest(view: View, k: int, since: int, until: int) -> Behind | None:
    """The longest silence of the other end, after something was said to it, between these times."""
    assert view.trail is not None
    t, rows = view.trail.segments(), view.trail.of(k)
    ts = t["ts"][rows]
    within = np.flatnonzero((t["fresh"][rows] > 0) & (t["length"][rows] > 0) & (ts >= since) & (ts <= until))
    orig = t["way"][rows][within] == view.side.originator.astype(np.int8)[k]
    turns = np.flatnonzero(orig[:-1] & ~orig[1:])
    if not len(turns):
        return None
    waits = ts[within[turns + 1]] - ts[within[turns]]
    at = int(turns[int(waits.argmax())])
    frames = t["frame"][rows]
    return Behind(k, int(waits.max()), (int(frames[within[at]]), int(frames[within[at + 1]])))


def named(view: View, found: list[Behind]) -> str:
    """The servers, with their protocols where ports tell."""
    return most(_name(*view.ends(w.session)[2:]) for w in found)


def answers_each(view: View, found: Behind) -> bool:
    """Whether the other server answers all that it is asked, so that it was not waited for on purpose."""
    return view.ends(found.session)[3] in EACH


def _name(ip: str, port: int) -> str:
    return f"{endpoint(ip, port)} ({NAMES[port]})" if port in NAMES else endpoint(ip, port)
