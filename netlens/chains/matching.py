"""Matching: the assignment of greatest weight between two sets, and how much worse the next best would be for each pair.

Theory of operation
-------------------
1. Rows and columns are joined by edges of positive weight; each row takes one column or none, each column one row or none; the sum of the weights taken is
   greatest. Successive shortest paths with potentials (the Hungarian method on a sparse graph; Kuhn 1955, Edmonds and Karp 1972): a row that
   wants a taken column makes its owner look for another one, and "none" is a place that every row has.
2. The *gap* of a pair is what the best assignment without that pair lacks. It is the shortest way, in the residual graph of the solution, by which
   the row finds another place and the column another owner; each may end in "none", here the node VOID. Ways over VOID are found for
   all pairs by two searches (from it, and to it), the others by one search for each pair that stops at ``limit``: what is further is as good as certain.

Cost: searches stay where weights are close to each other, so time grows with the number of edges, not with rows x columns.

Limits: ties are broken by the order of rows and columns; their gap is 0, and whoever asks must look at it.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import numpy as np

from netlens.columns import Floats, Ints

_INF = float("inf")


def assign(rows: Ints, columns: Ints, weights: Floats, limit: float = 20.0) -> tuple[Ints, Floats]:
    """The assignment of greatest weight.

    Parameters
    ----------
    rows, columns, weights : one entry an edge, from 0; no pair twice. Weights that are not positive are left out.
    limit : gaps are not followed any further.

    Returns
    -------
    column of each row (-1: none), gap of each row (0 where there is none); as long as the highest row number says.
    """
    n = int(rows.max()) + 1 if len(rows) else 0
    keep = weights > 0
    rows, columns, weights = rows[keep], columns[keep], weights[keep]
    if not len(rows):
        return np.full(n, -1, np.int64), np.zeros(n)
    graph = _Graph(n, int(columns.max()) + 1, rows, columns, weights)
    # Rows that want most go first: few are pushed away later.
    best = np.zeros(n)
    np.maximum.at(best, rows, weights)
    for i in np.argsort(-best, kind="stable").tolist():
        if graph.edges[i]:
            graph.place(i)
    return np.array(graph.column_of, np.int64), graph.gaps(limit)


def nearest_first(options: Iterable[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Pairs (i, j) of (distance, i, j): the nearest first, each i and each j in one pair only."""
    out: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = set(), set()
    for _, i, j in sorted(options):
        if i not in taken[0] and j not in taken[1]:
            taken[0].add(i)
            taken[1].add(j)
            out.append((i, j))
    return out


class _Graph:
    """Costs are negative weights. Potentials keep ``cost - u[row] - v[column]`` at 0 or more, and at 0 for pairs; "none" costs 0 - u[row]."""

    def __init__(self, n: int, m: int, rows: Ints, columns: Ints, weights: Floats) -> None:
        order = np.argsort(rows, kind="stable")
        bounds = np.searchsorted(rows[order], np.arange(n + 1)).tolist()
        ends, costs = columns[order].tolist(), (-weights[order]).tolist()
        self.edges = [list(zip(ends[a:b], costs[a:b], strict=True)) for a, b in pairwise(bounds)]
        self.u = [min((c for _, c in edges), default=0.0) for edges in self.edges]
        self.v = [0.0] * m
        self.column_of = [-1] * n
        self.row_of = [-1] * m

    def place(self, i: int) -> None:
        """Give row ``i`` its place, moving others where that is cheaper than to do without."""
        u, v = self.u, self.v
        row_dist, via = {i: 0.0}, {}
        dist: dict[int, float] = {}
        done: set[int] = set()
        heap: list[tuple[float, int]] = []
        best, end, end_row = _INF, -1, -1
        row = i
        while True:
            base = row_dist[row]
            if base - u[row] < best:  # this row could do without
                best, end, end_row = base - u[row], -1, row
            for j, cost in self.edges[row]:
                if j not in done:
                    d = base + cost - u[row] - v[j]
                    if d < dist.get(j, _INF) and d < best:
                        dist[j] = d
                        via[j] = row
                        heappush(heap, (d, j))
            while heap and (heap[0][1] in done or heap[0][0] > dist[heap[0][1]]):
                heappop(heap)
            if not heap or heap[0][0] >= best:
                break
            d, j = heappop(heap)
            done.add(j)
            owner = self.row_of[j]
            if owner < 0:
                best, end, end_row = d, j, -1
                break
            row_dist[owner] = d
            row = owner
        for j in done:
            if dist[j] < best:
                v[j] += dist[j] - best
        for row, d in row_dist.items():
            if d < best:
                u[row] += best - d
        if end < 0:  # end_row gives up its column, which is passed on
            row, end = end_row, self.column_of[end_row]
            self.column_of[row] = -1
            if row == i:
                return
        while True:
            row = via[end]
            self.row_of[end] = row
            end, self.column_of[row] = self.column_of[row], end
            if row == i:
                return

    def gaps(self, limit: float) -> Floats:
        """What each pair is worth more than the best assignment without it."""
        pairs = [(i, j) for i, j in enumerate(self.column_of) if j >= 0]
        into, out = self._to_void(limit), self._from_void(limit)
        gap = np.zeros(len(self.edges))
        for i, j in pairs:
            bound = min(limit, into.get(i, _INF) + out.get(j, _INF))
            gap[i] = self._around(i, j, bound)
        return gap

    def _around(self, start: int, goal: int, bound: float) -> float:
        """Shortest way from a row to its own column, if below ``bound``; else ``bound``."""
        u, v = self.u, self.v
        dist: dict[int, float] = {}
        heap: list[tuple[float, int]] = []
        row, base = start, 0.0
        while True:
            for j, cost in self.edges[row]:
                if row == start and j == goal:
                    continue
                d = max(base + cost - u[row] - v[j], base)  # rounding must not make it negative
                if d < bound and d < dist.get(j, _INF):
                    dist[j] = d
                    if j == goal:
                        bound = d
                    elif self.row_of[j] >= 0:
                        heappush(heap, (d, j))
            while heap and heap[0][0] > dist[heap[0][1]]:
                heappop(heap)
            if not heap or heap[0][0] >= bound:
                return max(bound, 0.0)
            base, j = heappop(heap)
            row = self.row_of[j]

    def _to_void(self, limit: float) -> dict[int, float]:
        """Row -> how much it costs if it loses its column: others move up, until one does without or a free column is taken."""
        # backwards over the pairs: a row may take column j of another row, which then needs a place itself
        wanted: dict[int, list[tuple[int, float]]] = {}
        dist: dict[int, float] = {}
        for i, edges in enumerate(self.edges):
            if self.column_of[i] < 0:
                continue
            free = -self.u[i]
            for j, cost in edges:
                if j == self.column_of[i]:
                    continue
                reduced = max(cost - self.u[i] - self.v[j], 0.0)
                if self.row_of[j] < 0:
                    free = min(free, reduced)
                elif reduced < limit:
                    wanted.setdefault(self.row_of[j], []).append((i, reduced))
            dist[i] = max(free, 0.0)
        return _settle(dist, wanted, limit)

    def _from_void(self, limit: float) -> dict[int, float]:
        """Column -> how much it costs if it loses its row: it stays free, or rows that are without or elsewhere take it."""
        # forwards: who takes column j leaves its own column, which then needs an owner itself
        offers: dict[int, list[tuple[int, float]]] = {}
        dist = {j: max(-self.v[j], 0.0) for j, owner in enumerate(self.row_of) if owner >= 0}
        for i, edges in enumerate(self.edges):
            own = self.column_of[i]
            for j, cost in edges:
                if j == own or self.row_of[j] < 0:
                    continue
                reduced = max(cost - self.u[i] - self.v[j], 0.0)
                if own < 0:
                    dist[j] = min(dist[j], reduced)
                elif reduced < limit:
                    offers.setdefault(own, []).append((j, reduced))
        return _settle(dist, offers, limit)


def _settle(dist: dict[int, float], ways: dict[int, Any], limit: float) -> dict[int, float]:
    """Shortest distances from several beginnings (Dijkstra)."""
    heap = [(d, k) for k, d in dist.items() if d < limit]
    heap.sort()
    while heap:
        d, k = heappop(heap)
        if d > dist[k]:
            continue
        for other, more in ways.get(k, ()):
            if d + more < min(limit, dist.get(other, _INF)):
                dist[other] = d + more
                heappush(heap, (d + more, other))
    return dist
