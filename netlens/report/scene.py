"""What is drawn over time, by the page and by the summary picture: bars, the requests in them, and the groups they stand in.

Theory of operation
-------------------
1. Everything is on the host's clock, in ns since the earliest frame of either capture.
2. A *bar* is a row of a capture's connections; ``mate`` is the bar of the same connection in the other capture. Bars are numbered through all captures,
   the VM's first: what happened first on the way.
3. A *call* is a request on a bar: of the target's, the situation's own rows; of others, the exchanges that the capture shows.
4. A *group* is what belongs together on a page: a capture, a target, and whose the connections are.

Limits: a request of HTTP/2 is known upstream only, so it stands on the VM's bar at its time upstream, a few ms late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from netlens.chains import overlap
from netlens.chains.situation import COMPANION, HOST, LOOKUPS, REQUESTS, UNKNOWN, VM
from netlens.columns import Bools, Codes, Ints, Objects
from netlens.report import answer
from netlens.schema import Table

if TYPE_CHECKING:
    from netlens.analysis import Analysis
    from netlens.chains.side import Side
    from netlens.lenses.refused.limit import RuleFit

MAX_CALLS = 200_000  #: exchanges of other servers drawn inside bars
MAX_TARGETS = 8  #: groups of other targets a capture; more do not fit on a screen
OTHER = 3  #: kind of a bar that has nothing to do with the target; the codes below are those of sessions


@dataclass(frozen=True)
class Group:
    """``capture``: index into ``Scene.bars``.  ``target``: of the target, and so shown first.  ``title``: a stranger's text may be in it."""

    capture: int
    title: str
    target: bool
    whose: int
    kind: int


@dataclass(frozen=True, eq=False)
class Calls:
    """Calls as columns, one element each. ``request``: row of the situation's requests, -1 for exchanges of others; times as the capture of the bar
    shows them.

    exchange : row of that capture's exchanges; -1 for a stream of HTTP/2.
    """

    bar: Ints
    start: Ints
    end: Ints
    done: Ints
    rejected: Ints
    request: Ints
    exchange: Ints

    def __len__(self) -> int:
        return len(self.bar)

    @classmethod
    def none(cls) -> Calls:
        return cls(*(np.empty(0, np.int64) for _ in fields(cls)))

    def take(self, index: Ints | Bools) -> Calls:
        """Those at ``index``, in that order."""
        return Calls(*(getattr(self, f.name)[index] for f in fields(Calls)))


@dataclass(frozen=True, eq=False)
class Scene:
    """``group_of``: per capture, the group of each of its bars.  ``calls``: in order of (bar, start)."""

    t0: int
    span: int
    bars: list[Bars]
    groups: list[Group]
    group_of: list[Ints]
    calls: Calls


_MADE: WeakKeyDictionary[Analysis, Scene] = WeakKeyDictionary()  #: the page and the summary draw the same


def scene(a: Analysis) -> Scene:
    if a not in _MADE:
        _MADE[a] = _scene(a)
    return _MADE[a]


def _scene(a: Analysis) -> Scene:
    t0 = origin_ns(a)
    bars = list(_all_bars(a, t0))
    groups, group_of = _groups(a, bars)
    lasts = [int(to_host(a, b.name, np.array([b.bounds[1]], np.int64))[0]) - t0 for b in bars]
    return Scene(t0, max([1, *lasts]), bars, groups, group_of, _calls(a, bars, t0))


def origin_ns(a: Analysis) -> int:
    """Earliest frame of either capture, on the host's clock."""
    firsts = [
        int(to_host(a, name, np.array(b[:1], np.int64))[0])
        for name, side in a.assembled.sides.items()
        if (b := side.capture.part.bounds_ns)
    ]
    return min(firsts, default=0)


def to_host(a: Analysis, name: str | None, times: Ints) -> Ints:
    return np.asarray(a.clock.to_host(times), np.int64) if name == "vm" and a.paired else times


def shown_rule(a: Analysis) -> RuleFit | None:
    """The rule whose counts are shown: that of the limit, else the one that tells most, else None.

    Counts of a rule whose limit changes are moved by the change: without a limit that was found they are no counts of anything. Nor are bytes.
    """
    fits = a.weighed.weighing.inference.fits
    if a.limit is not None:
        return next((f for f in fits if f.rule.name == a.limit.rule), None)
    return max((f for f in fits if not (f.rule.changes or f.rule.sized)), key=lambda f: f.auc, default=None)


@dataclass(eq=False)
class Bars:
    """The connections of one capture, one element each; ``offset``: number of its first bar."""

    name: str | None
    side: Side
    bounds: tuple[int, int]
    offset: int
    start: Ints
    end: Ints
    done: Ints  # -1 without
    whose: Codes
    kind: Codes
    early: Bools
    late: Bools
    mate: Ints
    target: Objects

    def __len__(self) -> int:
        return len(self.start)


def _all_bars(a: Analysis, t0: int) -> Iterator[Bars]:
    """Of each capture, the VM's first: what happened first on the way."""
    pairs = a.assembled.pairing
    names = sorted(a.assembled.sides, key=lambda name: name != "vm")
    offsets = dict(zip(names, np.cumsum([0, *(a.assembled.sides[n].connections.rows for n in names)]).tolist(), strict=False))
    s, row = a.assembled.situation.sessions, row_of_sessions(a)
    known = row >= 0
    # what the situation says of the upstream's connections
    row, ends, kinds = row[known], np.minimum(s.done_ns, s.end_ns)[known], s.kind[known]
    for name in names:
        side = a.assembled.sides[name]
        c = side.connections
        bounds = side.capture.part.bounds_ns or (0, 0)
        found = overlap.connection_intervals(c, bounds)
        n = c.rows
        done, kind = np.full(n, -1, np.int64), np.full(n, OTHER, np.int8)
        kind[side.target] = REQUESTS
        mate = np.full(n, -1, np.int64)
        if side is a.assembled.upstream:
            done[row], kind[row] = ends - t0, kinds
        if pairs is not None:
            there = pairs.host_of if name == "vm" else pairs.vm_of
            mate = np.where(there >= 0, there + offsets["host" if name == "vm" else "vm"], -1)
            if name == "vm":
                there_kind = np.full(a.assembled.upstream.connections.rows, OTHER, np.int8)
                there_kind[row] = kinds
                kind[(there >= 0) & (there_kind[there] == LOOKUPS)] = LOOKUPS
        yield Bars(
            name, side, bounds, offsets[name],
            to_host(a, name, found.start_ns) - t0, to_host(a, name, found.end_ns) - t0, done,
            _whose(a, name, side), kind, found.censored_left, found.censored_right, mate, overlap.labels(c, "target"),
        )  # fmt: skip


def _whose(a: Analysis, name: str | None, side: Side) -> Codes:
    """VM, HOST or UNKNOWN of each connection of a capture."""
    n = side.connections.rows
    if name == "vm" or (name is None and a.sides[name].vantage == "vm"):
        return np.full(n, VM, np.int8)
    if a.assembled.pairing is not None:
        return a.assembled.pairing.origin.astype(np.int8)
    codes = {"vm": VM, "host": HOST}
    return np.array([codes.get(o, UNKNOWN) for o in side.connections["origin"].tolist()], np.int8).reshape(n)


_WHOSE = {VM: "for the VM", HOST: "of the host itself", UNKNOWN: "side unknown"}


def _groups(a: Analysis, bars: Sequence[Bars]) -> tuple[list[Group], list[Ints]]:
    """Groups in the order of the page, and the group of every bar of each capture."""
    labels: list[list[tuple[Any, ...]]] = []
    for n, b in enumerate(bars):
        common = _common_targets(b)
        rows = zip(b.kind.tolist(), b.whose.tolist(), b.target.tolist(), strict=True)
        labels.append([_key(n, kind, whose, target if target in common else "") for kind, whose, target in rows])
    size_of = Counter(key for rows in labels for key in rows)
    keys = {key: k for k, key in enumerate(sorted(size_of, key=lambda key: (*key[:4], key[4] == "", -size_of[key], key[4])))}
    groups = [Group(n, _title(a, bars[n], kind, whose, target), not other, whose, kind) for other, n, kind, whose, target in keys]
    return groups, [np.array([keys[key] for key in rows], np.int64) for rows in labels]


def _key(capture: int, kind: int, whose: int, target: str) -> tuple[Any, ...]:
    """What tells groups apart, in their order."""
    if kind == OTHER:
        return True, capture, kind, whose, target
    return False, capture, kind, whose if kind == REQUESTS else UNKNOWN, ""


def _title(a: Analysis, b: Bars, kind: int, whose: int, target: str) -> str:
    if kind == COMPANION:
        return f"{answer.target(a)}, opened by the tunnel beside them"
    if kind == LOOKUPS:
        return "lookups over TCP"
    name = (target or "other servers") if kind == OTHER else answer.target(a)
    return name if b.name == "vm" or (b.name is None and whose == UNKNOWN) else f"{name}, {_WHOSE[whose]}"


def _common_targets(b: Bars) -> set[str]:
    """Other servers that have a group of their own: the most contacted; of many that were contacted once, none."""
    others = b.target[b.kind == OTHER].astype(str)
    names, sizes = np.unique(others, return_counts=True) if len(others) else (np.zeros(0, str), np.zeros(0, np.int64))
    order = np.argsort(-sizes, kind="stable")[:MAX_TARGETS]
    return set(names[order[sizes[order] > 1]].tolist()) or set(names[order].tolist())


def _calls(a: Analysis, bars: Sequence[Bars], t0: int) -> Calls:
    r = a.assembled.situation.requests
    found = [Calls.none()]
    for b in bars:
        if b.side is a.assembled.upstream:
            found += [_requests_upstream(a, b, t0), _exchanges(a, b, t0, b.kind != REQUESTS, {})]
        else:  # the same requests as this capture shows them; streams of HTTP/2, which it does not show, as upstream
            at_frame = {int(f): k for k, f in enumerate(r.vm_frame.tolist()) if f and r.stream[k] < 0}
            upstream = _requests_upstream(a, bars[-1], t0)
            mate = bars[-1].mate[upstream.bar - bars[-1].offset]
            streams = (mate >= 0) & (r.stream[upstream.request] >= 0)
            turns = np.ones(len(b), np.bool_)
            turns[mate[streams] - b.offset] = False
            there = upstream.take(streams)
            found += [replace(there, bar=mate[streams], exchange=np.full(len(there), -1)), _exchanges(a, b, t0, turns, at_frame)]
    calls = Calls(*(np.concatenate([getattr(each, f.name) for each in found]) for f in fields(Calls)))
    return calls.take(np.lexsort((calls.start, calls.bar)))


def row_of_sessions(a: Analysis) -> Ints:
    """Row of the upstream's connections per session of the situation, known by its first frame, which no other has; -1 without."""
    s, c = a.assembled.situation.sessions, a.assembled.upstream.connections
    frame = s.vm_frame if a.assembled.upstream.name == "vm" else s.host_frame
    at = {int(f): k for k, f in enumerate(c["first_frame"].tolist())}
    return np.array([at.get(int(f), -1) for f in frame.tolist()], np.int64)


def _requests_upstream(a: Analysis, b: Bars, t0: int) -> Calls:
    """The situation's requests on the bars of the capture nearest to the provider."""
    r, row_of = a.assembled.situation.requests, row_of_sessions(a)
    up = a.assembled.rows[:, 0]  # places among the upstream's exchanges; -1: not one of them
    exchange = np.append(a.assembled.upstream.exchange_rows, -1)[up]
    known = (r.session >= 0) & (r.session < len(row_of))
    row = np.where(known, np.append(row_of, -1)[np.where(known, r.session, -1)], -1)
    kept = np.flatnonzero(row >= 0)
    start, end, done = (each[kept] - t0 for each in (r.start_ns, r.end_ns, r.done_ns))
    return Calls(b.offset + row[kept], start, end, done, r.rejected[kept].astype(np.int64), kept, exchange[kept])


def _exchanges(a: Analysis, b: Bars, t0: int, wanted: Bools, request_at: Mapping[int, int]) -> Calls:
    """Exchanges of a capture on the bars that are ``wanted``; ``request_at``: the request by its first frame."""
    x = b.side.capture.table("exchanges")
    if not x.rows:
        return Calls.none()
    flights = overlap.exchange_intervals(x, b.side.sessions, b.side.connections, b.bounds)
    owner = overlap.owner_rows(x, b.side.connections)[flights.rows]
    kept = np.flatnonzero((owner >= 0) & wanted[owner])[:MAX_CALLS]
    start, end = to_host(a, b.name, flights.start_ns[kept]) - t0, to_host(a, b.name, flights.end_ns[kept]) - t0
    rows = flights.rows[kept]
    request = np.array([request_at.get(frame, -1) for frame in x["start_frame"][rows].tolist()], np.int64)
    rejected = np.append(a.assembled.situation.requests.rejected, -1)[request].astype(np.int64)
    return Calls(b.offset + owner[kept], start, end, end, rejected, request, rows)


def with_outcomes(a: Analysis, side: str | None) -> Table:
    """The exchanges of a side's capture with ``rejected`` set for every request to the target whose outcome is known.

    The parsers' table leaves it empty; only the analysis has the logs. Requests of HTTP/2 are streams and in no table of exchanges.
    """
    r = a.assembled.situation.requests
    exchanges = a.assembled.sides[side].capture.table("exchanges")
    turns = r.stream < 0
    frames = (r.vm_frame if (side or a.assembled.upstream.name) == "vm" else r.host_frame)[turns]
    told = {int(f): bool(v) for f, v in zip(frames.tolist(), r.rejected[turns].tolist(), strict=True) if f and v >= 0}
    rejected = np.empty(exchanges.rows, object)
    rejected[:] = [told.get(int(f), old) for f, old in zip(exchanges["start_frame"].tolist(), exchanges["rejected"].tolist(), strict=True)]
    return Table(exchanges.schema, {**exchanges.columns, "rejected": rejected})
