"""Concurrency curves against a count by hand, one interval and one moment at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens import tables
from netlens.chains import overlap
from netlens.errors import SchemaError
from netlens.schema import DTYPES, Schema, Table

T0 = 1_769_358_813_000_000_000

# Few different times, so that ends meet starts and intervals are empty; wide ones for arithmetic.
times = st.one_of(st.integers(0, 12), st.integers(0, 2**63 - 1))
rows = st.lists(st.tuples(times, times, st.booleans(), st.booleans()), max_size=25)


def build(schema: Schema, **columns) -> Table:
    n = len(next(iter(columns.values())))
    out = {}
    for c in schema:
        dtype = DTYPES[c.dtype]
        values = columns.get(c.name, [None if dtype.kind == "O" else 0] * n)
        out[c.name] = np.empty(n, dtype)
        out[c.name][:] = values
    return Table(schema, out)


def lasting(start: int, end: int) -> tuple[int, int]:
    """An interval as the module promises to read it."""
    start = min(start, 2**63 - 2)
    return start, max(end, start + 1)


def at(curve: overlap.Curve, t: int) -> int:
    return int(np.append(0, curve.count)[np.searchsorted(curve.times_ns, t, side="right")])


def naive(intervals: list[tuple[int, int]], t: int) -> int:
    return sum(start <= t < end for start, end in intervals)


@given(rows)
def test_curve_counts_what_a_loop_counts(given_rows):
    start, end, left, right = (list(c) for c in zip(*given_rows, strict=True)) if given_rows else ([], [], [], [])
    censored = np.array(left, bool), np.array(right, bool)
    curve = overlap.sweep(overlap.intervals_of(np.array(start, np.int64), np.array(end, np.int64), *censored))
    seen = [lasting(s, e) for s, e in zip(start, end, strict=True)]
    if not seen:
        assert len(curve.times_ns) == 0
        return
    first, last = min(s for s, _ in seen), max(e for _, e in seen)
    possible = [(first if a else s, last if b else e) for (s, e), a, b in zip(seen, left, right, strict=True)]
    assert np.all(np.diff(curve.times_ns) > 0)
    for t, count, low, high in zip(curve.times_ns.tolist(), curve.count.tolist(), curve.low.tolist(), curve.high.tolist(), strict=True):
        assert count == naive(seen, t)
        assert low == count
        assert high == naive(possible, t)
    edges = {t for pair in seen + possible for t in pair}
    assert edges >= set(curve.times_ns.tolist()) >= {t for pair in seen for t in pair}  # nothing happens between steps
    assert curve.count[-1] == curve.low[-1] == curve.high[-1] == 0


@given(rows.filter(bool))
def test_peak_is_the_maximum_and_names_who_is_open(given_rows):
    start, end = (np.array(c, np.int64) for c in list(zip(*given_rows, strict=True))[:2])
    curve = overlap.curve(start, end)
    seen = [lasting(s, e) for s, e in zip(start.tolist(), end.tolist(), strict=True)]
    peak = curve.peak()
    assert peak.count == max(naive(seen, s) for s, _ in seen)
    assert peak.from_ns == min(s for s, _ in seen if naive(seen, s) == peak.count)
    assert peak.members.tolist() == [i for i, (s, e) in enumerate(seen) if s <= peak.from_ns and e >= peak.to_ns]
    assert len(peak.members) == peak.count


@given(rows, st.lists(times, min_size=1, max_size=8))
def test_at_any_time_not_only_at_steps(given_rows, when):
    start, end = (np.array([r[i] for r in given_rows], np.int64) for i in (0, 1))
    curve = overlap.curve(start, end)
    seen = [lasting(s, e) for s, e in zip(start.tolist(), end.tolist(), strict=True)]
    assert [at(curve, t) for t in when] == [naive(seen, t) for t in when]


small = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=15)


@given(small, st.lists(st.integers(-5, 40), min_size=2, max_size=8, unique=True).map(sorted))
def test_bins_hold_the_highest_and_the_average(pairs, edges):
    curve = overlap.curve(np.array([s for s, _ in pairs], np.int64), np.array([e for _, e in pairs], np.int64))
    seen = [lasting(s, e) for s, e in pairs]
    count, low, high = curve.highest(np.array(edges))
    mean = curve.mean(np.array(edges))
    for i, (a, b) in enumerate(itertools.pairwise(edges)):
        inside = [naive(seen, t) for t in range(a, b)]
        assert count[i] == low[i] == high[i] == max(inside)
        assert mean[i] == pytest.approx(sum(inside) / len(inside))


def test_ends_come_before_starts_and_a_single_frame_is_seen():
    curve = overlap.curve(np.array([0, 10, 10]), np.array([10, 20, 10]))
    assert curve.times_ns.tolist() == [0, 10, 11, 20]
    assert curve.count.tolist() == [1, 2, 1, 0]


def test_nothing():
    curve = overlap.curve(np.empty(0, np.int64), np.empty(0, np.int64))
    assert curve.peak().count == 0
    assert curve.peak().members.tolist() == []
    assert at(curve, 5) == 0
    assert curve.mean(np.array([0, 1, 2])).tolist() == [0, 0]
    assert [v.tolist() for v in curve.highest(np.array([0, 1, 2]))] == [[0, 0]] * 3
    assert overlap.curves_by(tables.CONNECTIONS.empty(), "target") == {}
    for intervals in (overlap.session_intervals(tables.SESSIONS.empty()), overlap.half_closed_intervals(tables.SESSIONS.empty())):
        assert len(intervals) == 0
    assert len(overlap.exchange_intervals(tables.EXCHANGES.empty(), tables.SESSIONS.empty(), tables.CONNECTIONS.empty())) == 0


def test_lengths_must_agree():
    with pytest.raises(SchemaError, match="different lengths"):
        overlap.curve(np.array([1, 2]), np.array([3]))


def test_band_reaches_to_the_capture_where_it_is_known():
    curve = overlap.sweep(overlap.intervals_of(np.array([5]), np.array([8]), [True], [True], capture_ns=(0, 100)))
    assert curve.times_ns.tolist() == [0, 5, 8, 100]
    assert curve.count.tolist() == curve.low.tolist() == [0, 1, 0, 0]
    assert curve.high.tolist() == [1, 1, 1, 0]


def test_connections_use_their_flags_and_an_unanswered_syn_is_not_prolonged():
    connections = build(
        tables.CONNECTIONS, start_ns=[0, 10, 20], end_ns=[15, 12, 25], open_at_end=[False, True, True],
        started_before_capture=[False, False, False], state=["SF", "S1", "S0"],
    )  # fmt: skip
    curve = overlap.connections_curve(connections, (0, 100))
    assert at(curve, 11) == 2
    assert curve.high[np.searchsorted(curve.times_ns, 25)] == 1


def test_sessions_end_when_closed_not_with_their_last_frame():
    sessions = build(
        tables.SESSIONS, session_id=[0, 1], start_ns=[0, 0], end_ns=[50, 60], closed_ns=[40, None], saw_syn=[True, True], state=["SF", "S1"]
    )
    curve = overlap.sweep(overlap.session_intervals(sessions, (0, 100)))
    assert [at(curve, t) for t in (39, 40, 59, 60)] == [2, 1, 1, 0]
    assert curve.high[-2] == 1


def test_a_request_without_an_answer_is_in_flight_until_its_session_ends():
    sessions = build(
        tables.SESSIONS, session_id=[7, 8], start_ns=[0, 0], end_ns=[50, 60], closed_ns=[50, None], saw_syn=[True, True], state=["SF", "S1"]
    )
    exchanges = build(
        tables.EXCHANGES, session_id=[7, 8, 8], start_ns=[10, 0, 30], request_end_ns=[12, 1, 31], end_ns=[None, 5, 35],
        complete=[False, True, False],
    )  # fmt: skip
    curve = overlap.exchanges_curve(exchanges, sessions, capture_ns=(0, 100))
    assert [at(curve, t) for t in (3, 5, 10, 32, 49, 50, 59, 60)] == [1, 0, 1, 2, 2, 1, 1, 0]
    step = int(np.searchsorted(curve.times_ns, 40, side="right")) - 1
    assert (curve.low[step], curve.count[step], curve.high[step]) == (0, 2, 2)
    assert curve.high[-2] == 1  # only session 8 was not seen to close
    alone = overlap.exchanges_curve(exchanges)  # without sessions: as far as bytes were seen
    assert at(alone, 20) == 0


def test_a_request_captured_twice_counts_once():
    connections = build(tables.CONNECTIONS, session_ids=[[3, 4], [5]], start_ns=[0, 0], end_ns=[9, 9])
    exchanges = build(tables.EXCHANGES, session_id=[3, 4, 4, 5, 99], start_ns=[0, 0, 5, 0, 0], end_ns=[4, 4, 9, 9, 9], complete=[True] * 5)
    assert overlap.exchanges_curve(exchanges).peak().count == 4
    once = overlap.exchanges_curve(exchanges, connections=connections)
    assert once.peak().count == 3
    assert once.peak().members.tolist() == [1, 3, 4]
    assert overlap.owner_rows(exchanges, connections).tolist() == [0, 0, 0, 1, -1]


def test_half_closed_and_receiving():
    sessions = build(
        tables.SESSIONS, session_id=[0, 1, 2], start_ns=[0, 0, 0], end_ns=[100, 100, 100], closed_ns=[90, 90, None],
        orig_fin_ns=[20, 20, None], resp_fin_ns=[None, None, 30], resp_bytes_after_fin=[500, 0, 0], orig_bytes_after_fin=[0, 0, 10],
        resp_last_payload_ns=[60, 60, 5], orig_last_payload_ns=[1, 1, 45],
    )  # fmt: skip
    curve = overlap.sweep(overlap.half_closed_intervals(sessions, (0, 200)))
    assert [at(curve, t) for t in (19, 20, 30, 45, 59, 60)] == [0, 1, 2, 1, 1, 0]
    assert curve.peak().members.tolist() == [0, 2]
    step = int(np.searchsorted(curve.times_ns, 80, side="right")) - 1
    assert curve.high[step] == 2  # session 0 may count until it closed, session 2 until the end of the capture
    assert curve.times_ns[-1] == 200


def test_groups_are_ordered_and_members_are_rows_of_the_whole_table():
    connections = build(
        tables.CONNECTIONS, start_ns=[0, 5, 6, 7], end_ns=[10, 10, 10, 10], sni=["b.example", None, "b.example", ""],
        resp_ip=["192.0.2.1", "2001:db8::1", "192.0.2.1", "192.0.2.9"], resp_port=[443] * 4, orig_ip=["10.0.0.1"] * 3 + [None],
        path=["nat", "nat", "direct", None],
    )  # fmt: skip
    groups = overlap.curves_by(connections, "target")
    assert list(groups) == ["b.example", "192.0.2.9:443", "[2001:db8::1]:443"]
    assert groups["b.example"].peak().members.tolist() == [0, 2]
    assert list(overlap.curves_by(connections, "source")) == ["10.0.0.1", "unknown"]
    assert list(overlap.curves_by(connections, "path")) == ["nat", "direct", "unknown"]
    assert next(iter(overlap.curves_by(connections, "resp"))) == "192.0.2.1:443"
    with pytest.raises(SchemaError, match="colour"):
        overlap.labels(connections, "colour")


def test_data_frames_with_nullable_columns_give_the_same():
    sessions = build(
        tables.SESSIONS, session_id=[0, 1], start_ns=[T0, T0], end_ns=[T0 + 50, T0 + 60], closed_ns=[T0 + 40, None], saw_syn=[True, False],
        state=["SF", "S1"], resp_ip=["192.0.2.1"] * 2, resp_port=[443, 80],
    )  # fmt: skip
    table, frame = (overlap.sweep(overlap.session_intervals(t)) for t in (sessions, sessions.to_pandas()))
    for name in ("times_ns", "count", "low", "high"):
        assert getattr(table, name).tolist() == getattr(frame, name).tolist()
    assert list(overlap.curves_by(sessions.to_pandas(), "target")) == list(overlap.curves_by(sessions, "target"))
