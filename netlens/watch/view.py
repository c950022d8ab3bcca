"""One capture at one moment: rows of numbers by target and side, and what goes on behind a program's FIN."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from netlens.columns import NEVER, Bools, Ints
from netlens.text import endpoint
from netlens.watch import connection_table as conn
from netlens.watch.peaks import SECOND, RollingPeaks
from netlens.wire.addresses import ip_text

if TYPE_CHECKING:
    from netlens.watch.state import Watched


CONNECTIONS, REQUESTS = "connections", "requests"
TAIL_NS = SECOND  #: a server that sends on for longer than that after the program's FIN; orderly closes take a round trip
TAIL_ACTIVE_NS = 5 * SECOND
MAX_TAILS = 50
MAX_LINES = 100


@dataclass(frozen=True)
class Tail:
    """A connection that still receives data although its program has closed it. ``bytes`` None: its two directions are seen apart."""

    target: str
    client: str
    since_ns: int
    last_ns: int
    bytes: int | None


@dataclass
class Row:
    """Numbers of one group: most in the last second, in the last minute, in five minutes, ever; ``history`` by second, the latest last."""

    now: int = 0
    minute: int = 0
    minutes: int = 0
    peak: int = 0
    history: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, peaks: RollingPeaks, tops: Ints, group: int) -> Row:
        if group >= peaks.groups:
            return cls()
        history = peaks.history(group)
        return cls(int(peaks.last_second[group]), int(history[-60:].max()), int(history.max()), int(tops[group]), history.tolist())


@dataclass
class Line:
    """Connections and requests of one target and side."""

    target: str
    side: str
    connections: Row
    requests: Row
    http2: bool

    def rows(self, unit: str) -> Row:
        return self.connections if unit == CONNECTIONS else self.requests


@dataclass
class View:
    """One capture at one moment. ``elsewhere``: open connections that are in no group."""

    name: str | None
    now_ns: int
    lines: list[Line]  # rows by target and side
    totals: list[Line]  # by target
    all: Line
    tails: list[Tail]
    tails_seen: int
    vantage: str | None
    elsewhere: int


def view_of(watched: Watched, now_ns: int) -> View:
    """What there is to see of a capture; of rows those with the highest counts."""
    groups, table, t = watched.groups, watched.table, watched.table.columns
    connections, requests = watched.connections, watched.requests
    connection_tops, request_tops = connections.peaks(), requests.peaks()
    of_connections, of_requests = connections.minutes(), requests.minutes()
    http2 = {groups.target(kind) or "" for kind in table.kinds if kind.http2}

    def line(group: int) -> Line:
        _, target, side = groups.names[group]
        return Line(target, side, Row.of(connections, connection_tops, group), Row.of(requests, request_tops, group), target in http2)

    def lines(what: str) -> list[Line]:
        known = min(len(of_connections), len(of_requests))
        found = [g for g, name in enumerate(groups.names[:known]) if name[0] == what and connection_tops[g] > 0]
        # by what moves slowly: rows that change places each second cannot be read
        found.sort(key=lambda g: (-int(of_requests[g]), -int(of_connections[g]), groups.names[g]))
        return [line(g) for g in found[:MAX_LINES]]

    rows = lines("row")
    if groups.has_apis:
        rows.sort(key=lambda each: (each.target, each.side))
    heads = table.heads()
    tails = heads[is_tail(watched, heads)]
    elsewhere = int(((groups.of_kind[2, t[conn.KIND, heads]] < 0) & (t[conn.CLOSED, heads] == NEVER)).sum())
    seen = watched.tails_seen + len(tails)
    return View(watched.name, now_ns, rows, lines("target"), line(0), _active(watched, tails, now_ns), seen, table.vantage, elsewhere)


def is_tail(watched: Watched, heads: Ints) -> Bools:
    """Which connections to a target received data for longer than :data:`TAIL_NS` after their program's FIN."""
    t = watched.table.columns
    fin, last = t[conn.FIN, heads], t[conn.LAST_DOWN, heads]
    out: Bools = (fin != NEVER) & (last > np.where(fin == NEVER, 0, fin) + TAIL_NS)
    return out & (watched.groups.of_kind[2, t[conn.KIND, heads]] == 0)


def _active(watched: Watched, tails: Ints, now_ns: int) -> list[Tail]:
    """Those that go on now, the oldest first."""
    t = watched.table.columns
    active = tails[(t[conn.LAST_DOWN, tails] > now_ns - TAIL_ACTIVE_NS) & (t[conn.CLOSED, tails] == NEVER)]
    active = active[np.argsort(t[conn.FIN, active], kind="stable")][:MAX_TAILS]
    hi, lo, version, port = conn.end_point(watched.part.fold.state(), active, 0)
    out = []
    for k, *client, client_port in zip(*(column.tolist() for column in (active, hi, lo, version, port)), strict=True):
        _, fin, last, after, kind = (int(t[column, k]) for column in (conn.HEAD, conn.FIN, conn.LAST_DOWN, conn.AFTER_FIN, conn.KIND))
        target = watched.groups.target(watched.table.kinds[kind]) or ""
        out.append(Tail(target, endpoint(ip_text(*client), client_port), fin, last, None if after < 0 else after))
    return out
