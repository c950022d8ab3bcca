"""What is held over time at the provider, parted by whose it is and why it is there: the stack under the limit line of the report.

Theory of operation
-------------------
1. What is held is what :mod:`netlens.lenses.refused.counting` counts: accepted requests, or sessions, each from its start to its end upstream.
2. Each moment of each of them has one share. A request is of its side until its program was done with it, then *left over* (a tail). A session
   that carries requests is of its side while it is in use, and left over between uses and after its program closed it. What the tunnel opened
   beside it is *companion* until the program closed that, then left over. A session of lookups is *lookups* throughout.
3. So the shares of a moment add up to what a rule counts, and without the share *leftover* to what it counts with leftovers taken away.

Limits: a refused request holds no place, so it is in no share; a limit that counts what it refuses is not modelled here nor in the counting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from netlens.chains.situation import COMPANION, LOOKUPS, REQUESTS, Situation
from netlens.columns import Ints
from netlens.lenses.refused import counting

#: In the order of the stack, from the bottom. The first three are the codes of ``side`` columns.
SHARES = ("vm", "host", "unknown", "leftover", "companion", "lookups")
LEFTOVER, COMPANIONS, LOOKUPS_SHARE = 3, 4, 5


@dataclass(frozen=True, eq=False)
class Stack:
    """A step function of each share: ``counts[k, i]`` of share k holds from ``times_ns[i]`` until ``times_ns[i + 1]``; 0 before the first."""

    times_ns: Ints
    counts: Ints

    @property
    def total(self) -> Ints:
        return np.asarray(self.counts.sum(axis=0), np.int64)


def stack(situation: Situation, unit: str, side: int | None = None) -> Stack:
    """The shares of what is held.

    Parameters
    ----------
    unit : "requests" or "connections".  side : only what is of this side (VM, HOST); None is everything from the egress address.
    """
    share, start, end = _requests(situation, side) if unit == "requests" else _connections(situation, side)
    kept = end > start
    share, start, end = share[kept], start[kept], end[kept]
    times = np.unique(np.concatenate([start, end]))
    counts = np.zeros((len(SHARES), len(times)), np.int64)
    for k in range(len(SHARES)):
        mine = share == k
        if mine.any():
            begun = np.searchsorted(np.sort(start[mine]), times, "right")
            counts[k] = begun - np.searchsorted(np.sort(end[mine]), times, "right")
    return Stack(times, counts)


def _requests(situation: Situation, side: int | None) -> tuple[Ints, Ints, Ints]:
    r = situation.requests
    rows = np.flatnonzero(r.held & (True if side is None else r.side == side))
    start = r.start_ns[rows]
    end = np.maximum(r.end_ns[rows], start + 1)
    done = np.clip(r.done_ns[rows], start + 1, end)
    return _parts((r.side[rows], start, done), (np.full(len(rows), LEFTOVER), done, end))


def _connections(situation: Situation, side: int | None) -> tuple[Ints, Ints, Ints]:
    s = situation.sessions
    mine = np.ones(len(s), np.bool_) if side is None else s.side == side
    end = np.maximum(s.end_ns, s.start_ns + 1)
    row, begun, over = counting.uses(situation)
    over = np.minimum(np.maximum(over, begun + 1), end[row])
    used = mine[row] & (s.kind[row] == REQUESTS)
    row, begun, over = row[used], begun[used], over[used]
    # between two uses, and after the last one until the session ends, it is left over
    following = np.append(begun[1:], 0)
    last = np.append(row[1:] != row[:-1], True) if len(row) else np.zeros(0, np.bool_)
    until = np.where(last, end[row], np.append(following[:-1], 0)) if len(row) else over
    extra, lookups = np.flatnonzero(mine & (s.kind == COMPANION)), np.flatnonzero(mine & (s.kind == LOOKUPS))
    done = np.clip(s.done_ns[extra], s.start_ns[extra] + 1, end[extra])
    return _parts(
        (s.side[row], begun, over),
        (np.full(len(row), LEFTOVER), over, until),
        (np.full(len(extra), COMPANIONS), s.start_ns[extra], done),
        (np.full(len(extra), LEFTOVER), done, end[extra]),
        (np.full(len(lookups), LOOKUPS_SHARE), s.start_ns[lookups], end[lookups]),
    )


def _parts(*parts: tuple[npt.NDArray[Any], Ints, Ints]) -> tuple[Ints, Ints, Ints]:
    share, start, end = (np.concatenate(column).astype(np.int64) for column in zip(*parts, strict=True))
    return share, start, end
