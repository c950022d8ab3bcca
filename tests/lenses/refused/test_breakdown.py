"""The shares of what is held add up to what the counting counts, with and without leftovers; and each has its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.chains.situation import COMPANION, HOST, LOOKUPS, VM
from netlens.lenses.refused import breakdown, counting
from tests.lenses.refused.made import S, situation

HELD = {"requests": counting._requests, "connections": counting._connections}
NOT_LEFT = [k for k in range(len(breakdown.SHARES)) if k != breakdown.LEFTOVER]


def at(made: breakdown.Stack, seconds: float) -> dict[str, int]:
    k = int(np.searchsorted(made.times_ns, round(seconds * S), "right")) - 1
    return {name: int(n) for name, n in zip(breakdown.SHARES, made.counts[:, k], strict=True) if n}


def test_a_request_is_its_sides_until_its_program_is_done_and_then_left_over() -> None:
    made = breakdown.stack(situation([("vm", 0, 1, 5, 0), ("host", 1, 2, 3, 0), ("vm", 2, 2, 3, 1)], done={0: 2.5}), "requests")
    assert at(made, 1.5) == {"vm": 1}
    assert at(made, 2.2) == {"vm": 1, "host": 1}
    assert at(made, 2.7) == {"host": 1, "leftover": 1}
    assert at(made, 4) == {"leftover": 1}
    assert at(made, 6) == {}


def test_a_connection_is_left_over_between_uses_and_after_its_program() -> None:
    s = situation([("vm", 0, 1, 2, 0), ("vm", 0, 5, 6, 0)], [("vm", 0, 9)], session_done={0: 6})
    made = breakdown.stack(s, "connections")
    assert [at(made, t) for t in (0.5, 1.5, 3, 5.5, 8)] == [{"vm": 1}, {"vm": 1}, {"leftover": 1}, {"vm": 1}, {"leftover": 1}]


def test_what_the_tunnel_opened_and_lookups_have_shares_of_their_own() -> None:
    s = situation([("vm", 0, 1, 2, 0)], [("vm", 0, 9), ("vm", 0, 4), ("vm", 0, 5)], kind={1: COMPANION, 2: LOOKUPS}, session_done={1: 3})
    made = breakdown.stack(s, "connections")
    assert at(made, 1.5) == {"vm": 1, "companion": 1, "lookups": 1}
    assert at(made, 3.5) == {"leftover": 2, "lookups": 1}


def test_one_side_alone() -> None:
    s = situation([("vm", 0, 1, 5, 0), ("host", 1, 2, 3, 0)])
    assert breakdown.stack(s, "requests", HOST).total.max() == 1
    assert at(breakdown.stack(s, "requests", VM), 2.5) == {"vm": 1}


def test_nothing_is_no_step() -> None:
    for unit in counting.UNITS:
        made = breakdown.stack(situation([]), unit)
        assert len(made.times_ns) == 0
        assert made.counts.shape == (len(breakdown.SHARES), 0)


moments = st.integers(0, 40).map(lambda k: k / 4)


@given(
    st.lists(st.tuples(st.sampled_from(["vm", "host", "?"]), moments, moments, moments, st.sampled_from([-1, 0, 0, 1])), max_size=12),
    st.lists(st.sampled_from([0, COMPANION, LOOKUPS]), min_size=12, max_size=12),
)
def test_shares_add_up_to_what_is_counted(drawn: list[tuple[str, float, float, float, int]], kinds: list[int]) -> None:
    drawn.sort(key=lambda r: r[1])
    requests = [(side, k // 2, begin, begin + max(length, 0.25), label) for k, (side, begin, length, _, label) in enumerate(drawn)]
    done = {k: min(begin + over, requests[k][3]) for k, (_, begin, _, over, _) in enumerate(drawn)}
    extra = [("vm", 0.0, 3.0)] * 3
    count = (len(requests) + 1) // 2
    owners = [
        (requests[2 * k][0], min(r[2] for r in requests[2 * k : 2 * k + 2]), max(r[3] for r in requests[2 * k : 2 * k + 2]) + 1)
        for k in range(count)
    ]
    s = situation(requests, owners + extra, done=done, kind={count + k: kinds[k] for k in range(3)})
    for unit, held in HELD.items():
        made = breakdown.stack(s, unit)
        for adjustment, rows in ((counting.AS_SEEN, slice(None)), (counting.Adjustment(leftovers=True), NOT_LEFT)):
            places = held(s, adjustment)
            assert counting.open_at(places.start, places.end, made.times_ns).tolist() == made.counts[rows].sum(axis=0).tolist()


@pytest.mark.parametrize("unit", counting.UNITS)
def test_the_highest_total_is_the_peak(unit: str) -> None:
    s = situation([("vm", 0, 1, 5, 0), ("host", 1, 2, 3, 0), ("vm", 2, 2, 3, 0)])
    assert breakdown.stack(s, unit).total.max() == counting.peaks(s)[unit]["combined"]
