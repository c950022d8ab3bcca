"""The assignment against trying everything."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.chains.matching import assign

# Few different weights, so that ties are common; floats for the rest.
weights = st.one_of(st.integers(-2, 6).map(float), st.floats(0.1, 9))
graphs = st.dictionaries(st.tuples(st.integers(0, 5), st.integers(0, 5)), weights, max_size=24)


def best(graph: dict[tuple[int, int], float], without: tuple[int, int] | None = None) -> float:
    @cache
    def rest(i: int, taken: int) -> float:
        if i > 5:
            return 0.0
        options = [rest(i + 1, taken)]
        for j in range(6):
            w = graph.get((i, j), 0.0)
            if w > 0 and not taken >> j & 1 and (i, j) != without:
                options.append(w + rest(i + 1, taken | 1 << j))
        return max(options)

    return rest(0, 0)


def run(graph: dict[tuple[int, int], float], limit: float = 1e9):
    edges = np.array(list(graph), np.int64).reshape(-1, 2)
    return assign(edges[:, 0], edges[:, 1], np.array(list(graph.values()), float), limit)


@given(graphs)
def test_it_is_the_best_and_each_gap_is_what_the_best_without_the_pair_lacks(graph):
    column, gap = run(graph)
    pairs = [(i, j) for i, j in enumerate(column.tolist()) if j >= 0]
    assert len({j for _, j in pairs}) == len(pairs)
    assert all(graph[pair] > 0 for pair in pairs)
    top = best(graph)
    assert sum(graph[pair] for pair in pairs) == pytest.approx(top)
    for i, j in pairs:
        assert gap[i] == pytest.approx(top - best(graph, (i, j)), abs=1e-9)


@given(graphs)
def test_gaps_stop_at_the_limit(graph):
    assert np.allclose(np.minimum(run(graph)[1], 2.5), np.minimum(run(graph, 2.5)[1], 2.5))


def test_nothing_to_match():
    column, gap = run({})
    assert len(column) == len(gap) == 0


def test_a_chain_is_followed_to_its_end():
    """Each row likes its neighbour's column better; only the last has another place to go."""
    n = 300
    graph = {(i, i): 2.0 for i in range(n)} | {(i, i + 1): 1.0 for i in range(n)}
    column, gap = run(graph)
    assert column.tolist() == list(range(n))
    # without (0, 0) all move on, each losing 1, or row 0 takes the next place and the rest do
    assert gap[n - 1] == pytest.approx(1.0)
    assert np.all(np.diff(gap) <= 0)


def test_ties_have_no_gap():
    _, gap = run({(0, 0): 3.0, (0, 1): 3.0, (1, 0): 3.0, (1, 1): 3.0})
    assert gap.tolist() == [0.0, 0.0]
