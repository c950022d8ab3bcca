"""Most at once, second by second: the concurrency curve of :mod:`netlens.chains.overlap` for a capture that goes on.

Theory of operation
-------------------
1. Everything that lasts is [start, end) in ns, as there; what still lasts ends at :data:`NEVER`.
2. What happened :data:`WINDOW_S` seconds ago may still become known now (two copies of a connection turn out to be one, a paused stream goes
   on), so the bins of the window are counted anew at each tick. A bin that leaves it is final: it goes into the ring of the last minutes and
   into the peak.
3. :class:`ExactPeaks` keeps all intervals for the exact peaks at the end. Beyond :data:`MAX_ROWS` of them the curve is evaluated up to the moment
   before which nothing can change any more, and what ended before is dropped.

Limits: a connection that was not seen to close is open in the ring and in the running peak; the exact peaks take it to its last packet, as
``analyze`` does, unless that would hold back more than ``MAX_ROWS`` intervals.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from netlens.columns import NEVER, Ints

Rows = np.ndarray[Any, Any]

SECOND = 1_000_000_000
WINDOW_S = 10  #: joins are found within milliseconds, and streams of tokens rarely pause for longer
RING_S = 300  #: seconds that are shown and kept
MAX_ROWS = 1 << 20  #: intervals kept, 25 MB; at ten connections a second a day
MAX_BINS = 2 * RING_S  #: that one evaluation makes; an idle hour in a replay is one bin


def maxima(start: Ints, end: Ints, group: Ints, groups: int, edges: Ints) -> Ints:
    """int64[groups, bins]: the most at once of each group in each bin [edge, next edge)."""
    bins = len(edges) - 1
    out = np.zeros((groups, bins), np.int64)
    low, high = int(edges[0]), int(edges[-1])
    inside = (end > low) & (start < high)
    start, end, group = start[inside], end[inside], group[inside]
    if not len(start):
        return out
    whole = (start <= low) & (end >= high)
    base = np.bincount(group[whole], minlength=groups)
    start, end, group = np.maximum(start[~whole], low), end[~whole], group[~whole]
    if len(start):
        active = np.unique(group)
        ending = end < high
        # Markers carry the count over the edge of a bin in which nothing begins or ends.
        times = np.concatenate([end[ending], np.repeat(edges[1:-1], len(active)), start])
        owner = np.concatenate([group[ending], np.tile(active, bins - 1), group])
        change = np.concatenate(
            [np.full(int(ending.sum()), -1, np.int64), np.zeros(len(active) * (bins - 1), np.int64), np.ones(len(start), np.int64)]
        )
        order = np.lexsort((change, times, owner))  # ends before starts at equal times
        times, owner, change = times[order], owner[order], change[order]
        running = np.cumsum(change)
        first = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
        before = np.repeat(running[first] - change[first], np.diff(np.append(first, len(owner))))
        rises = change >= 0  # behind an end there is never more than before it, and of several at one moment the first shows what never was
        places = np.searchsorted(edges, times[rises], side="right") - 1
        np.maximum.at(out, (owner[rises], places), (running - before)[rises])
    return out + base[:, None]


class RollingPeaks:
    """Maxima of the last minutes and the running peak, per group; ``groups`` may grow."""

    def __init__(self) -> None:
        self.ring = np.zeros((16, RING_S), np.int32)
        self.peak = np.zeros(16, np.int64)
        self.groups = 0
        self.final_s: int | None = None  # bins of seconds before this one change no more
        self.open_bins: Ints = np.zeros((0, 0), np.int64)  # from final_s on
        self.last_second: Ints = np.zeros(0, np.int64)

    def update(self, start: Ints, end: Ints, group: Ints, groups: int, now_ns: int) -> None:
        """Count anew what is not final. ``group`` -1 counts nowhere; a row may stand here more than once, with several groups."""
        while groups > len(self.peak):
            self.ring = np.concatenate([self.ring, np.zeros_like(self.ring)])
            self.peak = np.concatenate([self.peak, np.zeros_like(self.peak)])
        self.groups = groups
        known = group >= 0
        start, end, group = start[known], end[known], group[known]
        current = now_ns // SECOND
        if self.final_s is None:
            self.final_s = current - WINDOW_S
            if len(start):
                self.final_s = min(self.final_s, int(start.min()) // SECOND)
        first = min(self.final_s, current)
        seconds = np.arange(max(first, current + 1 - MAX_BINS), current + 2, dtype=np.int64)
        if seconds[0] > first:
            seconds = np.concatenate([np.array([first], np.int64), seconds])
        found = maxima(start, end, group, groups, seconds * SECOND)
        final = max(self.final_s, current - WINDOW_S + 1)
        done = int(np.searchsorted(seconds, final))
        if done:
            self.peak[:groups] = np.maximum(self.peak[:groups], found[:, :done].max(axis=1))
            if final - self.final_s >= RING_S:
                self.ring[:] = 0
            keep = seconds[:done] >= final - RING_S
            self.ring[:groups, seconds[:done][keep] % RING_S] = found[:, :done][:, keep]
            skipped = np.arange(max(self.final_s, final - RING_S), final)
            skipped = skipped[~np.isin(skipped, seconds[:done])]
            self.ring[:groups, skipped % RING_S] = 0
        self.final_s = final
        self.open_bins = found[:, done:]
        self.last_second = maxima(start, end, group, groups, np.array([now_ns - SECOND, now_ns + 1], np.int64))[:, 0]

    def peaks(self) -> Ints:
        """Per group, the most at once so far."""
        return np.maximum(self.peak[: self.groups], self.open_bins.max(axis=1, initial=0))

    def minutes(self) -> Ints:
        """Per group, the most at once within the ring's time."""
        return np.maximum(self.ring[: self.groups].max(axis=1), self.open_bins.max(axis=1, initial=0))

    def history(self, group: int, seconds: int = RING_S) -> Ints:
        """The maxima of one group in each of the last ``seconds``, the running one last."""
        if self.final_s is None or group >= self.groups:
            return np.zeros(seconds, np.int64)
        tail = self.open_bins[group]
        older = np.arange(self.final_s - max(seconds - len(tail), 0), self.final_s) % RING_S
        return np.concatenate([self.ring[group, older].astype(np.int64), tail])[-seconds:]


class ExactPeaks:
    """Intervals that will not change any more, for exact peaks; columns start, end, kind (a number that groups are made of later)."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self.max_rows = max_rows
        self.parts: list[Rows] = []
        self.rows = 0
        self.peaks: dict[Any, int] = {}  # of what was dropped, by name of group

    def add(self, start: Ints, end: Ints, kind: Ints) -> None:
        if len(start):
            self.parts.append(np.stack([start, np.maximum(end, start + 1), kind]))
            self.rows += len(start)

    def all(self) -> Rows:
        """int64[3, n]."""
        if len(self.parts) != 1:
            self.parts = [np.concatenate([*self.parts, np.zeros((3, 0), np.int64)], axis=1)]
        return self.parts[0]

    def exact(self, more: Rows, groups_of: Any) -> dict[Any, int]:
        """Peak of each group over these intervals and ``more`` (int64[3, n], what is not yet in here).

        groups_of : takes kinds to a list of (int64 group of each, names of the groups); -1 is no group.
        """
        return _highest(self.peaks, _peaks(np.concatenate([self.all(), more], axis=1), groups_of))

    def trim(self, more: Rows, sure_ns: int, groups_of: Any) -> None:
        """Drop what ended before ``sure_ns``, when there is too much; nothing before that moment may change any more.

        more : what is not yet in here, until it is known to last.
        """
        if self.rows <= self.max_rows:
            return
        rows = np.concatenate([self.all(), more], axis=1)
        before = rows[:, rows[0] < sure_ns].copy()
        before[1] = np.minimum(before[1], sure_ns)
        self.peaks = _highest(self.peaks, _peaks(before, groups_of))
        kept = self.all()
        self.parts = [kept[:, kept[1] > sure_ns]]
        self.rows = self.parts[0].shape[1]


def _highest(one: dict[Any, int], other: dict[Any, int]) -> dict[Any, int]:
    return one | {name: max(value, one.get(name, 0)) for name, value in other.items()}


def _peaks(rows: Rows, groups_of: Any) -> dict[Any, int]:
    out: dict[Any, int] = {}
    if not rows.shape[1]:
        return out
    edges = np.array([int(rows[0].min()), NEVER], np.int64)
    for group, names in groups_of(rows[2]):
        known = group >= 0
        found = maxima(rows[0][known], rows[1][known], group[known], len(names), edges)[:, 0]
        for name, value in zip(names, found.tolist(), strict=True):
            if value:
                out[name] = max(value, out.get(name, 0))
    return out
