"""Take sessions out of the parsers' state, so that a watch of days needs no more memory than what is open.

The state of the parsers grows with the sessions of a capture, which suits a file. A watch has no end, so sessions that closed a while ago are taken out
and the others move up: session state, hash tables and holes; looking states of hellos; turns of exchanges; marks of tunnels; DNS streams. What was
found in them (names, exchanges, lookups) has been taken out before, and stands in the watch's own books.

Limits: what still comes for a session that was forgotten (a retransmission after minutes) begins a new one, which is seen to lack a SYN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netlens.parsers import hellos as hello_state
from netlens.parsers import sessions as s_
from netlens.parsers.tunnels import SLOT_SESSION, TUNNEL

if TYPE_CHECKING:
    from netlens.parsers.hellos import HelloBuilder
    from netlens.parsers.pipeline import Part
    from netlens.parsers.sessions import SessionFold

Ints = npt.NDArray[np.int64]
LEAST = 1024  #: rows that a state has at least


def keep(part: Part, kept: Ints) -> Ints:
    """Keep the sessions ``kept`` (rows, rising) of ``part`` and number them anew. Returns int64[n]: the new number of each row, or -1."""
    fold = part.fold
    place = np.full(fold.n, -1, np.int64)
    place[kept] = np.arange(len(kept))
    size = LEAST
    while size < len(kept) + len(kept) // 2:
        size *= 2
    if part.exchanges is not None:
        part.exchanges.keep(kept, place, size)
    if part.tunnels is not None:
        part.tunnels.state = state = _moved(part.tunnels.state, kept, size)
        state[:, TUNNEL] = _references(state[:, TUNNEL], place)
        part.tunnels.slots[:, SLOT_SESSION] = _references(part.tunnels.slots[:, SLOT_SESSION], place)
    if part.streams is not None:
        part.streams.open = {(int(place[k]), way): stream for (k, way), stream in part.streams.open.items() if place[k] >= 0}
        part.streams.waiting = sum(stream.held for stream in part.streams.open.values())
    _keep_hellos(part.hellos, kept, place, size)
    _keep_sessions(fold, kept, place, size)
    return place


def _moved(rows: np.ndarray[Any, Any], kept: Ints, size: int) -> np.ndarray[Any, Any]:
    out = np.zeros((size, rows.shape[1]), rows.dtype)
    there = kept[kept < len(rows)]
    out[: len(there)] = rows[there]
    return out


def _references(numbers: Ints, place: Ints) -> Ints:
    """Numbers of sessions plus one, 0 for none."""
    return np.where(numbers > 0, place[np.maximum(numbers - 1, 0)] + 1, 0) if len(place) else np.zeros_like(numbers)


def _keep_sessions(fold: SessionFold, kept: Ints, place: Ints, size: int) -> None:
    gone = fold.sessions[: fold.n][place < 0]
    nodes = []
    at = np.concatenate([gone[:, s_.SIDE + side * s_.SIDE_WIDTH + s_.HOLES] for side in (0, 1)])
    while len(at := at[at >= 0]):
        nodes.append(at)
        at = fold.holes[at, s_.HOLE_NEXT]
    if nodes:
        free = np.concatenate(nodes)
        fold.holes[free[:-1], s_.HOLE_NEXT] = free[1:]
        fold.holes[free[-1], s_.HOLE_NEXT] = fold.holes[0, s_.HOLE_NEXT]
        fold.holes[0, s_.HOLE_NEXT] = free[0]
    sessions = s_._aligned(size)
    sessions[: len(kept)] = fold.sessions[kept]
    fold.sessions, fold.n = sessions, len(kept)
    mate = fold.sessions[: fold.n, s_.MATE]
    fold.sessions[: fold.n, s_.MATE] = np.where(mate >= 0, place[mate], -1)
    fold._rehash(4 * size)


def _keep_hellos(hellos: HelloBuilder, kept: Ints, place: Ints, size: int) -> None:
    meta = hellos._meta
    used = np.flatnonzero(meta[:, hello_state._OWNER] >= 0)
    owner = meta[used, hello_state._OWNER]
    # the state knows sessions that sent payload; others are beyond its end
    now = np.where((owner >> 1) < len(place), place[np.minimum(owner >> 1, len(place) - 1)], -1) if len(place) else np.full(len(owner), -1)
    for slot in used[now < 0].tolist():
        hello_state._close_slot(slot, meta, hellos._held, hellos._ctl)  # type: ignore[no-untyped-call]
    meta[used[now >= 0], hello_state._OWNER] = (2 * now + (owner & 1))[now >= 0]
    old_state, old_expected = hellos._state, hellos._expected
    known = kept[kept < len(old_state) // 2]
    hellos._state = np.full(2 * size, hello_state.LOOKS, old_state.dtype)
    hellos._expected = np.zeros(2 * size, old_expected.dtype)
    for which in (0, 1):
        hellos._state[which : 2 * len(known) : 2] = old_state[2 * known + which]
        hellos._expected[which : 2 * len(known) : 2] = old_expected[2 * known + which]
