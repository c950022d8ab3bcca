"""How many were open at once: concurrency curves of sessions, connections and requests, each with the band that the capture leaves open.

Theory of operation
-------------------
1. Everything that lasts is a half-open interval [start, end) in ns: at equal times ends come before starts, so a connection that opens in
   the very nanosecond in which another closes does not overlap it.
2. An interval that ends where it starts (a session of one frame), or before (a clock that was set back), is taken to last 1 ns: it was
   there, so it is seen.
3. A curve is a step function: ``count[i]`` holds from ``times_ns[i]`` until ``times_ns[i + 1]``. *Every* start and end is a step, also
   where the count stays equal, so that the set of open rows is constant between two steps and :meth:`Curve.peak` can name it.
4. Censoring. ``count`` follows the rules of each function below. ``low`` counts an interval only as far as frames show it; ``high`` lets
   what was open before the capture begin with the capture and what was not seen to close last until its end. low <= count <= high
   everywhere.
5. A SYN that nobody answered (state S0) counts while it is sent, but is never extended: it held no place at the server.

Limits
------
- A connection that vanished without FIN or RST (power loss, capture loss of the close) is, to the curve, open as long as the band says.
- What was in flight when the capture began and sent no byte in it is in no table, so in no curve.
- Ends of the capture are taken from the table's first and last time unless the caller knows better (``capture_ns``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from netlens.columnar import Nullable
from netlens.columns import Bools, Codes, Floats, Ints, Rows, kinds, objects
from netlens.errors import SchemaError
from netlens.schema import Table
from netlens.text import endpoint

Labels = npt.NDArray[np.object_]
Columns = Mapping[str, Any]  #: a Table, a dict of arrays or a DataFrame

_PLAIN = {int, bool, str, list, type(None)}  #: types of which only None is missing
_LAST_NS = np.iinfo(np.int64).max - 1  # so that start + 1 cannot wrap: times come from strangers' captures


@dataclass(frozen=True)
class Peak:
    """Where a curve is highest for the first time.

    ``members`` are the rows of the table that are open from ``from_ns`` to ``to_ns``; of an empty table all is 0 and nothing.
    """

    count: int
    from_ns: int
    to_ns: int
    members: Ints


@dataclass(frozen=True, eq=False)
class Intervals(Rows):
    """Rows of a table (``rows`` numbers them) as intervals, with what is certain (``low_end_ns``) and what is possible (``high_*``).

    Guaranteed after construction: high_start <= start < end <= high_end and low_end <= end (a low_end at or before the start would be no
    frame at all, so it is at least start + 1).
    """

    rows: Ints
    start_ns: Ints
    end_ns: Ints
    low_end_ns: Ints
    high_start_ns: Ints
    high_end_ns: Ints
    censored_left: Bools
    censored_right: Bools

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False)
class Curve:
    """A step function of time: ``count`` (with its band ``low`` to ``high``) holds from its time until the next; 0 before the first."""

    times_ns: Ints
    count: Ints
    low: Ints
    high: Ints
    intervals: Intervals = field(repr=False)

    def peak(self) -> Peak:
        """The first moment of the highest count, and the rows that make it."""
        if not len(self.times_ns):
            return Peak(0, 0, 0, np.empty(0, np.int64))
        top = int(np.argmax(self.count))
        begin = int(self.times_ns[top])
        end = int(self.times_ns[top + 1]) if top + 1 < len(self.times_ns) else begin
        members = self.intervals.rows[(self.intervals.start_ns <= begin) & (self.intervals.end_ns > begin)]
        return Peak(int(self.count[top]), begin, end, np.sort(members))

    def highest(self, edges_ns: Ints) -> tuple[Ints, Ints, Ints]:
        """Largest count, low and high within each bin [edge, next edge); ``edges_ns`` must increase."""
        first = np.searchsorted(self.times_ns, edges_ns[:-1], side="right")  # in the padded values: the step in force at the edge
        stop = np.searchsorted(self.times_ns, edges_ns[1:], side="left") + 1
        pairs = np.ravel(np.column_stack([first, stop]))

        def most(values: Ints) -> Ints:
            padded = np.concatenate([[0], values, [0]])
            return np.maximum.reduceat(padded, pairs)[::2].astype(np.int64)

        if len(edges_ns) < 2:
            nothing = np.empty(0, np.int64)
            return nothing, nothing, nothing
        return most(self.count), most(self.low), most(self.high)

    def mean(self, edges_ns: Ints) -> Floats:
        """Count averaged over the time of each bin [edge, next edge)."""
        if not len(self.times_ns) or len(edges_ns) < 2:
            return np.zeros(max(0, len(edges_ns) - 1))
        origin = int(self.times_ns[0])
        times = (self.times_ns - origin).astype(np.float64)
        edges = (np.asarray(edges_ns, np.int64) - origin).astype(np.float64)
        area = np.concatenate([[0.0], np.cumsum(self.count[:-1] * np.diff(times))])  # piecewise linear between steps, so interp is exact
        return np.diff(np.interp(edges, times, area)) / np.diff(edges)


def sweep(intervals: Intervals) -> Curve:
    """The curve of intervals: one sort of starts, one of ends, one merge; the band costs only as much as there are censored rows."""
    n = len(intervals)
    if n == 0:
        nothing = np.empty(0, np.int64)
        return Curve(nothing, nothing, nothing, nothing, intervals)
    before = intervals.high_start_ns < intervals.start_ns
    after = intervals.high_end_ns > intervals.end_ns
    unseen = intervals.low_end_ns < intervals.end_ns
    # Four kinds of stretches: the intervals themselves, what high has more at either end, what low has less.
    stretches = [
        (intervals.start_ns, intervals.end_ns),
        (intervals.high_start_ns[before], intervals.start_ns[before]),
        (intervals.end_ns[after], intervals.high_end_ns[after]),
        (intervals.low_end_ns[unseen], intervals.end_ns[unseen]),
    ]
    runs = [np.sort(edge) for stretch in stretches for edge in stretch]
    events = np.concatenate(runs)
    order = np.argsort(events, kind="stable")  # sorted runs: timsort merges them instead of sorting
    events = events[order]
    last = np.append(events[1:] != events[:-1], True)  # all ends and starts of one moment are one step
    kind = np.repeat(np.arange(8, dtype=np.int8), [len(run) for run in runs])[order]
    count, added, taken = _running(kind, last, 0), _running(kind, last, 2, 4), _running(kind, last, 6)
    return Curve(events[last], count, count - taken, count + added, intervals)


def _running(kind: Codes, last: Bools, *starts: int) -> Ints:
    """How many stretches of the kinds ``starts`` (their ends are the next number) are open after each step."""
    change = np.zeros(8, np.int8)
    for k in starts:
        change[k], change[k + 1] = 1, -1
    return np.cumsum(change[kind], dtype=np.int64)[last]


def curve(start_ns: Any, end_ns: Any) -> Curve:
    """Concurrency of [start, end) intervals; see :func:`intervals_of`."""
    return sweep(intervals_of(start_ns, end_ns))


def intervals_of(
    start_ns: Any,
    end_ns: Any,
    censored_left: Any = None,
    censored_right: Any = None,
    *,
    low_end_ns: Any = None,
    high_end_ns: Any = None,
    capture_ns: tuple[int, int] | None = None,
    rows: Ints | None = None,
) -> Intervals:
    """Intervals of plain columns.

    Parameters
    ----------
    start_ns, end_ns : int64 arrays of equal length; an end at or before its start counts as start + 1.
    censored_left, censored_right : which rows were open before the capture began, or not seen to close (masks); None is none.
    low_end_ns : until when frames show each row open, where ``end_ns`` is a rule and not a frame; None is ``end_ns``.
    high_end_ns : until when each may have been open; None is ``end_ns``.
    capture_ns : first and last time of the capture; None is the smallest start and the largest end.

    Raises
    ------
    SchemaError
        lengths differ.
    """
    start = np.minimum(np.asarray(start_ns, np.int64), _LAST_NS)
    given = np.asarray(end_ns, np.int64)
    n = len(start)
    left = np.zeros(n, np.bool_) if censored_left is None else np.asarray(censored_left, np.bool_)
    right = np.zeros(n, np.bool_) if censored_right is None else np.asarray(censored_right, np.bool_)
    seen = given if low_end_ns is None else np.asarray(low_end_ns, np.int64)
    possible = given if high_end_ns is None else np.asarray(high_end_ns, np.int64)
    lengths = {n, len(given), len(left), len(right), len(seen), len(possible)}
    if len(lengths) > 1:
        raise SchemaError(f"overlap: columns of different lengths {sorted(lengths)}; give one value a row")
    end = np.maximum(given, start + 1)
    if n and capture_ns is None:
        capture_ns = int(start.min()), int(end.max())
    first, last = capture_ns or (0, 0)
    low_end = np.minimum(np.maximum(seen, start + 1), end)
    high_start = np.where(left, np.minimum(first, start), start)
    high_end = np.maximum(np.where(right, np.maximum(last, possible), possible), end)
    return Intervals(np.arange(n) if rows is None else rows, start, end, low_end, high_start, high_end, left, right)


# Tables to intervals


def session_intervals(sessions: Columns, capture_ns: tuple[int, int] | None = None) -> Intervals:
    """Sessions: from the first frame until closed (both FINs or an RST), else until the last frame and perhaps on."""
    end = _ints(_column(sessions, "end_ns"), 0)
    closed = _column(sessions, "closed_ns")
    left, right = ~_bools(sessions["saw_syn"]), ~_present(closed) & ~_unanswered(sessions)
    return intervals_of(sessions["start_ns"], _ints(closed, end), left, right, capture_ns=capture_ns)


def connection_intervals(connections: Columns, capture_ns: tuple[int, int] | None = None) -> Intervals:
    """Connections: ``start_ns`` to ``end_ns``, censored as ``started_before_capture`` and ``open_at_end`` say."""
    left, right = _bools(connections["started_before_capture"]), _bools(connections["open_at_end"]) & ~_unanswered(connections)
    return intervals_of(connections["start_ns"], _ints(_column(connections, "end_ns"), 0), left, right, capture_ns=capture_ns)


def exchange_intervals(
    exchanges: Columns, sessions: Columns | None = None, connections: Columns | None = None, capture_ns: tuple[int, int] | None = None
) -> Intervals:
    """Requests in flight: first byte of the request to the last of the answer.

    One without a complete answer ends when its session ends (``low_end_ns``: with its last byte seen), and may go on if that was not seen
    to close. With ``connections``, what NAT and redirects made the capture hold twice counts once: of the sessions of one connection only
    the one with the most exchanges (the lowest of several) is taken.
    """
    start = _ints(_column(exchanges, "start_ns"), 0)
    seen = _ints(_column(exchanges, "end_ns"), np.maximum(_ints(_column(exchanges, "request_end_ns"), start), start))
    complete = _bools(exchanges["complete"])
    finish, right = seen.copy(), ~complete
    session = _ints(_column(exchanges, "session_id"), -1)
    if sessions is not None and len(session):
        row = _find(_ints(_column(sessions, "session_id"), -1), session)
        lasts = session_intervals(sessions).end_ns
        known = (row >= 0) & ~complete
        finish[known] = np.maximum(seen[known], lasts[row[known]])
        right[known] &= ~_present(_column(sessions, "closed_ns"))[row[known]]
    if len(start) and capture_ns is None:
        capture_ns = int(start.min()), int(max(finish.max(), seen.max()))
    found = intervals_of(start, finish, None, right, low_end_ns=seen, capture_ns=capture_ns)
    return found if connections is None else found.take(_once_per_connection(session, connections))


def half_closed_intervals(sessions: Columns, capture_ns: tuple[int, int] | None = None) -> Intervals:
    """Half-closed but still receiving: from one side's FIN to the last new payload of the other, at most until it is closed.

    Only sessions in which payload came after a FIN. The program may be long gone, but the server is still busy with it: this is what
    stays counted at a provider that counts. (``half_closed_s`` is the whole half-closed time, with payload or without.)
    """
    start = np.asarray(sessions["start_ns"], np.int64)
    end = _ints(_column(sessions, "end_ns"), 0)
    closed = _ints(_column(sessions, "closed_ns"), end)
    open_still = ~_present(_column(sessions, "closed_ns"))
    if len(start) and capture_ns is None:
        capture_ns = int(start.min()), int(max(end.max(), closed.max()))
    parts = []
    for closer, other in (("orig", "resp"), ("resp", "orig")):
        mask = _present(_column(sessions, f"{closer}_fin_ns")) & (np.asarray(sessions[f"{other}_bytes_after_fin"], np.int64) > 0)
        fin = _ints(_column(sessions, f"{closer}_fin_ns"), 0)
        last = _ints(_column(sessions, f"{other}_last_payload_ns"), fin)
        mask &= last > fin  # else the bytes are older ones that arrived late
        rows = np.flatnonzero(mask)
        parts.append((rows, fin[rows], last[rows]))
    rows, fin, last = (np.concatenate(column) for column in zip(*parts, strict=True))
    return intervals_of(fin, last, None, open_still[rows], high_end_ns=closed[rows], capture_ns=capture_ns, rows=rows)


def connections_curve(connections: Columns, capture_ns: tuple[int, int] | None = None) -> Curve:
    """Connections open; see :func:`connection_intervals`."""
    return sweep(connection_intervals(connections, capture_ns))


def exchanges_curve(
    exchanges: Columns, sessions: Columns | None = None, connections: Columns | None = None, capture_ns: tuple[int, int] | None = None
) -> Curve:
    """Requests in flight; see :func:`exchange_intervals`."""
    return sweep(exchange_intervals(exchanges, sessions, connections, capture_ns))


# Groups


def labels(table: Columns, key: str) -> Labels:
    """One label a row.

    ``key`` is ``target`` (the SNI, else address and port of the responder), ``resp`` (always address and port), ``source`` (address of
    the originator), or a column's name; a missing value is "unknown".
    """
    if key == "source":
        key = "orig_ip"
    if key in ("target", "resp"):
        names: list[Any] = [endpoint(ip, port) for ip, port in zip(table["resp_ip"], table["resp_port"], strict=True)]
        sni = _column(table, "sni") if key == "target" else None
        if sni is not None:
            names = [s if isinstance(s, str) and s else name for s, name in zip(sni, names, strict=True)]
    else:
        column = _column(table, key)
        if column is None:
            raise SchemaError(f"overlap: no column {key!r} to group by; try target, resp, source or one of {', '.join(table)}")
        names = [v if isinstance(v, str) else "unknown" if _missing(v) else str(v) for v in column]
    return objects(names)


def curves_by(
    table: Columns,
    key: str | Labels,
    *,
    intervals: Intervals | None = None,
    capture_ns: tuple[int, int] | None = None,
) -> dict[str, Curve]:
    """One curve per label, most rows first (then by name).

    Parameters
    ----------
    table
        connections or sessions; any table if ``intervals`` is given.
    key
        what :func:`labels` takes, or one label per row of ``table`` (for exchanges: :func:`owner_rows` finds their connection).
    intervals
        the intervals of the table's rows, where they are not the connections' or sessions' own.
    """
    if intervals is None:
        make = connection_intervals if "connection_id" in table else session_intervals
        intervals = make(table, capture_ns)
    names = (labels(table, key) if isinstance(key, str) else np.asarray(key, object))[intervals.rows]
    if not len(names):
        return {}
    code: dict[str, int] = {}
    codes = np.fromiter((code.setdefault(name, len(code)) for name in names), np.int64, len(names))
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    stops = np.cumsum(sizes)
    wanted = sorted(code, key=lambda name: (-sizes[code[name]], name))
    return {name: sweep(intervals.take(order[stops[code[name]] - sizes[code[name]] : stops[code[name]]])) for name in wanted}


def owner_rows(exchanges: Columns, connections: Columns) -> Ints:
    """Row of ``connections`` that each exchange belongs to; -1 where none claims its session."""
    ids = list(connections["session_ids"])
    sessions = np.fromiter(chain.from_iterable(ids), np.int64)
    wanted = _ints(_column(exchanges, "session_id"), -1)
    if not len(sessions):
        return np.full(len(wanted), -1, np.int64)
    rows = np.repeat(np.arange(len(ids)), np.fromiter(map(len, ids), np.int64, len(ids)))
    found = _find(sessions, wanted)
    return np.where(found >= 0, rows[np.maximum(found, 0)], -1)


def _once_per_connection(session: Ints, connections: Columns) -> Ints:
    """Rows of exchanges to keep: of each connection those of its session with the most exchanges, and all that belong to no connection."""
    owner = owner_rows({"session_id": session}, connections)
    _, first, inverse, sizes = np.unique(session, return_index=True, return_inverse=True, return_counts=True)
    of = owner[first]
    order = np.lexsort((-sizes, of))  # of equal ones the lowest session stays first
    best = order[np.append(True, of[order][1:] != of[order][:-1])] if len(order) else order
    chosen = np.zeros(len(of), np.bool_)
    chosen[best] = True
    return np.flatnonzero(chosen[inverse] | (owner < 0))


def _find(haystack: Ints, needles: Ints) -> Ints:
    """Position of each needle in ``haystack``, -1 where it is not there."""
    if not len(haystack):
        return np.full(len(needles), -1, np.int64)
    order = np.argsort(haystack, kind="stable")
    at = np.minimum(np.searchsorted(haystack, needles, sorter=order), len(haystack) - 1)
    return np.where(haystack[order[at]] == needles, order[at], -1)


# Nullable columns: objects in a Table, masked arrays in a DataFrame


def _column(table: Columns, name: str) -> Any:
    """None where there is none."""
    return table.stored(name) if isinstance(table, Table) and name in table else table.get(name)


def _missing(value: Any) -> bool:
    if isinstance(value, (str, int, list, np.integer, np.bool_)):
        return False
    return value is None or not isinstance(value, (float, np.floating)) or value != value


def _array(values: Any) -> npt.NDArray[Any]:
    """As an array that lost nothing: pandas would make floats of nullable integers, and floats do not hold nanoseconds since 1970."""
    return np.asarray(values) if isinstance(getattr(values, "dtype", None), np.dtype) else np.asarray(values, object)


def _present(values: Any) -> Bools:
    if isinstance(values, Nullable):
        return values.known
    array = _array(values)
    if array.dtype == object:
        values = array.tolist()
        if kinds(values) <= _PLAIN:
            return np.array([v is not None for v in values], np.bool_)
        return np.array([not _missing(v) for v in values], np.bool_)
    return ~np.isnan(array) if array.dtype.kind == "f" else np.ones(len(array), np.bool_)


def _ints(values: Any, missing: Any) -> Ints:
    """As int64, with ``missing`` (a number or an array) where there is no value."""
    if isinstance(values, Nullable):
        return np.where(values.known, values.values, missing)
    array = _array(values)
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    there = _present(array)
    out = np.array(np.broadcast_to(np.asarray(missing, np.int64), array.shape))
    out[there] = array[there].astype(np.int64)
    return out


def _bools(values: Any) -> Bools:
    """As bool; missing is False: what is not known to be so is not claimed."""
    array = _array(values)
    if array.dtype == np.bool_:
        return array
    return np.array([isinstance(v, (bool, np.bool_)) and bool(v) for v in array.tolist()], np.bool_)


def _unanswered(table: Columns) -> Bools:
    return np.array([state == "S0" for state in _array(table["state"]).tolist()], np.bool_)
