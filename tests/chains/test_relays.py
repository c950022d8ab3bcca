"""Exchanges that a relay carries on in connections of its own are found by what encloses what, and not where nothing does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from netlens.chains import relays
from netlens.schema import Table
from netlens.tables import EXCHANGES

MS = 1_000_000
T0 = 1_700_000_000 * 1000 * MS


def table(rows: list[tuple[float, float | None, int]]) -> Table:
    """Exchanges as (asked, over or None, bytes), times in ms."""
    n = len(rows)
    asked = np.array([T0 + round(r[0] * MS) for r in rows], np.int64)
    over: Any = np.array([None if r[1] is None else T0 + round(r[1] * MS) for r in rows], object)
    columns = {
        column.name: np.zeros(n, np.int64) if column.dtype == "int64" else np.full(n, None, object) for column in EXCHANGES
    } | {
        "start_ns": asked,
        "request_end_ns": asked,
        "end_ns": over,
        "up_bytes": np.array([r[2] for r in rows], np.int64),
        "complete": np.array([r[1] is not None for r in rows], bool),
    }  # fmt: skip
    return Table(EXCHANGES, columns)


def relayed(
    seed: int, requests: int = 60, others: int = 40, *, own_answers: int = 0, waits_ms: float = 0.4
) -> tuple[Table, np.ndarray[Any, Any], np.ndarray[Any, Any], dict[int, int]]:
    """A relay with four clients and the machine's own requests beside it; (table, rows with the relay, rows upstream, truth)."""
    rng = np.random.default_rng(seed)
    begun = np.cumsum(rng.exponential(400, requests))
    adds = rng.exponential(waits_ms, requests)
    lasts = rng.uniform(30, 3000, requests) + (adds if waits_ms > 1 else 0)
    sizes = rng.integers(400, 4000, requests)
    asked = [(t, t + last, int(s)) for t, last, s in zip(begun, lasts, sizes, strict=True)]
    carried_on = [(t + add, t + last - 0.05, int(s) + 22) for t, last, s, add in zip(begun, lasts, sizes, adds, strict=True)]
    own = [(t, t + d, int(s)) for t, d, s in zip(rng.uniform(0, begun[-1], others), rng.uniform(30, 3000, others), sizes, strict=False)]
    itself = [(t, t + 1, int(s)) for t, s in zip(rng.uniform(0, begun[-1], own_answers), rng.integers(400, 4000, own_answers), strict=True)]
    rows = [*asked, *carried_on, *own, *itself]
    upstream = np.arange(requests, 2 * requests + len(own))
    to_relay = np.concatenate([np.arange(requests), np.arange(len(rows) - own_answers, len(rows))])
    made = table(rows)
    made["session_id"][upstream] = np.where(upstream < 2 * requests, 1, 2)  # the relay's connection, and the machine's own
    return made, to_relay, upstream, {requests + k: k for k in range(requests)}


@pytest.mark.parametrize("seed", range(10))
def test_each_request_is_followed_through_the_relay(seed: int) -> None:
    exchanges, to_relay, upstream, truth = relayed(seed)
    found = relays.match(exchanges, to_relay, upstream)
    assert len(found) >= 0.95 * len(truth)
    assert sum(found[k] != v for k, v in truth.items() if k in found) <= 1


@pytest.mark.parametrize("seed", range(10))
def test_a_server_that_has_nothing_to_do_with_it_is_no_relay(seed: int) -> None:
    """A busy program that talks to another server at the same time."""
    exchanges, to_relay, upstream, _ = relayed(seed)
    rng = np.random.default_rng(1000 + seed)
    moved = {name: values.copy() for name, values in exchanges.columns.items()}
    for row in to_relay.tolist():
        by = int(rng.uniform(-20_000, 20_000) * MS)
        moved["request_end_ns"][row] += by
        moved["end_ns"][row] += by
        moved["up_bytes"][row] = int(rng.integers(400, 4000))
    assert relays.match(Table(EXCHANGES, moved), to_relay, upstream) == {}


def test_a_request_of_another_that_fits_by_chance_is_left_to_its_own_connection() -> None:
    """The host's own request begins nearer to one with the relay than the relay's does, and is of its size; the rest of its connection is of nobody's."""
    exchanges, to_relay, upstream, _ = relayed(1)
    moved = {name: values.copy() for name, values in exchanges.columns.items()}
    moved["session_id"][to_relay], moved["session_id"][120:] = 1, 2
    moved["request_end_ns"][120] = moved["request_end_ns"][10]
    moved["end_ns"][120] = moved["end_ns"][10] - MS
    moved["up_bytes"][120] = moved["up_bytes"][10] + 22
    moved["request_end_ns"][70] += MS
    found = relays.match(Table(EXCHANGES, moved), to_relay, upstream)
    assert found[70] == 10
    assert 120 not in found


def test_an_answer_that_the_program_breaks_off_ends_a_little_later_upstream() -> None:
    """Half of the answers are broken off, which the relay tells the server 80 ms later."""
    exchanges, to_relay, upstream, truth = relayed(2, others=0)
    late = {name: values.copy() for name, values in exchanges.columns.items()}
    late["end_ns"][upstream[::2]] += 80 * MS
    assert relays.match(Table(EXCHANGES, late), to_relay, upstream) == {}
    until = exchanges["end_ns"].astype(np.int64)
    until[to_relay[::2]] += 1000 * MS
    found = relays.match(Table(EXCHANGES, late), to_relay, upstream, until)
    assert sum(found.get(k) == v for k, v in truth.items()) >= 0.95 * len(truth)


def test_few_exchanges_tell_nothing() -> None:
    exchanges, to_relay, upstream, _ = relayed(0)
    assert relays.match(exchanges, to_relay[: relays.ENOUGH - 1], upstream) == {}
    assert relays.match(exchanges, to_relay, upstream[:0]) == {}


def test_answers_that_are_missing_are_allowed_for() -> None:
    exchanges, to_relay, upstream, truth = relayed(3)
    columns = {name: values.copy() for name, values in exchanges.columns.items()}
    columns["end_ns"][[0, 5, 61, 70]] = None
    found = relays.match(Table(EXCHANGES, columns), to_relay, upstream)
    assert sum(found.get(k) == v for k, v in truth.items()) >= 0.9 * len(truth)


@pytest.mark.parametrize("seed", range(5))
def test_a_relay_that_refuses_half_itself_is_found_by_what_it_asks(seed: int) -> None:
    exchanges, to_relay, upstream, truth = relayed(seed, own_answers=80)
    found = relays.match(exchanges, to_relay, upstream)
    assert len(found.items() & truth.items()) >= 0.95 * len(truth)
    assert len(found) <= len(truth) + 3


@pytest.mark.parametrize("seed", range(5))
def test_a_relay_that_has_requests_wait_is_found_where_it_may_take_long(seed: int) -> None:
    exchanges, to_relay, upstream, truth = relayed(seed, waits_ms=2_500.0)
    found = relays.followed(exchanges, to_relay, upstream)
    assert len(found.items() & truth.items()) >= 0.9 * len(truth)


@pytest.mark.parametrize("seed", range(5))
def test_a_busy_service_beside_is_no_relay_however_long_it_may_wait(seed: int) -> None:
    exchanges, _, upstream, _ = relayed(seed)
    others, to_others, _, _ = relayed(seed + 100)
    columns = {name: np.concatenate([exchanges[name], others[name]]) for name in exchanges}
    both = Table(EXCHANGES, columns)
    at = to_others + exchanges.rows
    assert relays.followed(both, at, upstream) == {}
