"""One or two captures together, the limit and the refusals; what a watch shows of them at one moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netlens.columns import NEVER
from netlens.watch.groups import ALL
from netlens.watch.peaks import SECOND
from netlens.watch.view import CONNECTIONS, REQUESTS, Line, View, view_of

if TYPE_CHECKING:
    from netlens.watch.refusals import Refusal
    from netlens.watch.state import Watched

SHOWN_REFUSALS = 50
LOGGED_WITHIN_NS = 30 * SECOND  #: lines are seconds late on a busy machine, and the clocks of two sides seconds apart


@dataclass
class Feed:
    """How the capturing of one side goes. ``rate``: packets a second.  ``dropped`` None: tcpdump has not said."""

    packets: int = 0
    rate: float = 0.0
    dropped: int | None = None
    note: str = ""

    def took(self, packets: int, seconds: float) -> None:
        """So many packets came so far; ``seconds`` have passed since this was said last."""
        self.packets, self.rate = packets, (packets - self.packets) / max(seconds, 1e-3)


@dataclass
class Limit:
    """``now`` of ``value``: the most at once within the last second. ``seconds``: how many seconds the limit was reached so far."""

    value: int
    unit: str
    target: str
    now: int = 0
    peak: int = 0
    since_ns: int | None = None
    seconds: int = 0
    times: int = 0
    of_all: bool = True  # of all targets together; else the one of ``target``, which has most now

    @property
    def alarm(self) -> bool:
        return self.now >= self.value


@dataclass
class Snapshot:
    """One moment of a watch."""

    now_ns: int
    elapsed_s: float
    views: dict[str | None, View]
    feeds: dict[str | None, Feed]
    limit: Limit | None
    refusals: list[Refusal]  # the latest
    new_refusals: list[Refusal]
    refused: int
    inferred: int
    final: bool = False
    exact: dict[str | None, dict[tuple[str, str, str], tuple[int, int]]] = field(default_factory=dict)

    @property
    def main(self) -> View:
        """The capture that sees everything the provider sees: the host's if there is one."""
        return self.views.get("host") or next(iter(self.views.values()))


class Monitor:
    """Captures by side, in the order shown.

    limit : alarm when so many of ``unit`` ("requests", "connections") are in progress at once; None: no alarm.
    logged : sides whose error log is followed; what the traffic shows of these is told where it is more than what the logs do: of programs without one.
    """

    def __init__(self, watched: Mapping[str | None, Watched], limit: int | None = None, unit: str = REQUESTS, logged: tuple[str, ...] = ()):
        self.watched = dict(watched)
        self.limit, self.unit, self.logged = limit, unit, logged
        self.feeds: dict[str | None, Feed] = {name: Feed() for name in self.watched}
        self.refused = self.inferred = 0
        self._refusals: deque[Refusal] = deque(maxlen=SHOWN_REFUSALS)
        self._new: list[Refusal] = []
        self._unlogged: deque[Refusal] = deque()  # that the traffic shows, and of which logs may still tell
        self._matched = 0  # lines that stand for one of these
        self._first_ns: int | None = None
        self._limit: Limit | None = None

    def refusal(self, found: Refusal) -> None:
        self._refusals.append(found)
        self._new.append(found)
        if found.source == "inferred":
            self.inferred += 1
        else:
            self.refused += 1

    def tick(self, now_ns: Mapping[str | None, int]) -> None:
        """Bring all captures up to ``now_ns``, each in its own clock."""
        upstream = "host" if "host" in self.watched else next(iter(self.watched))
        for name, one in self.watched.items():
            for found in one.tick(now_ns[name]):
                known = found.side.rstrip("?") in self.logged or (self.logged and found.side in ("", "unknown"))
                if name == upstream and known:
                    self._unlogged.append(found)
                elif name == upstream:
                    self.refusal(found)
        self._tell_unlogged(now_ns[upstream] - LOGGED_WITHIN_NS)

    def _tell_unlogged(self, until_ns: int) -> None:
        """Tell refusals until then for which there are no lines; any line stands for the first that has none."""
        while self._unlogged and self._matched < self.refused:
            self._unlogged.popleft()
            self._matched += 1
        while self._unlogged and self._unlogged[0].time_ns <= until_ns:
            self.refusal(self._unlogged.popleft())

    def snapshot(self, now_ns: Mapping[str | None, int], final: bool = False) -> Snapshot:
        """The moment of the last tick."""
        views = {name: view_of(one, now_ns[name]) for name, one in self.watched.items()}
        now = now_ns[next(iter(now_ns))]
        if self._first_ns is None:
            self._first_ns = min((one.part.first_ns for one in self.watched.values() if one.part.first_ns is not None), default=now)
        if final:
            self._tell_unlogged(NEVER)
        new, self._new = self._new, []
        snapshot = Snapshot(
            now,
            max(0.0, (now - self._first_ns) / 1e9),
            views,
            self.feeds,
            None,
            list(self._refusals),
            new,
            self.refused,
            self.inferred,
            final,
            {name: one.exact() for name, one in self.watched.items()} if final else {},
        )
        snapshot.limit = self._look_at_limit(snapshot)
        return snapshot

    def _look_at_limit(self, snapshot: Snapshot) -> Limit | None:
        if self.limit is None:
            return None
        main = snapshot.main
        of_all = self.watched[main.name].groups.has_apis
        if of_all and main.lines:
            chosen, name = main.all, ", ".join(dict.fromkeys(line.target for line in main.lines))
            http2 = any(line.http2 for line in main.lines)
        else:
            rows = ((line.rows(self._unit(line.http2)), line) for line in main.totals)
            chosen = max(rows, key=lambda each: (each[0].now, each[0].peak), default=(None, main.all))[1]
            name, http2 = chosen.target, chosen.http2
        unit = self._unit(http2)
        row = chosen.rows(unit)
        before = self._limit or Limit(self.limit, unit, name)
        now = Limit(self.limit, unit, name, row.now, row.peak, before.since_ns, before.seconds, before.times, of_all)
        if not now.alarm or snapshot.final:
            now.since_ns = None
        elif before.since_ns is None:
            now.since_ns = snapshot.now_ns
            now.times += 1
        if now.alarm and not snapshot.final:
            now.seconds += 1
        self._limit = now
        return now

    def _unit(self, http2: bool) -> str:
        """What can be counted: with HTTP/2 no requests."""
        return CONNECTIONS if http2 else self.unit


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """One object for scripts. Counts: ``now`` is the most at once within the last second."""
    captures = []
    for name, view in snapshot.views.items():
        feed, exact = snapshot.feeds[name], snapshot.exact.get(name)
        one: dict[str, Any] = {
            "side": name,
            "vantage": view.vantage,
            "time_ns": view.now_ns,
            "packets": feed.packets,
            "packets_per_s": round(feed.rate, 1),
            "dropped": feed.dropped,
            "targets": [{"target": line.target, "side": line.side or None, **_numbers(line)} for line in view.lines],
            "all": _numbers(view.all),
            "tails": [
                {"target": t.target, "client": t.client, "tail_s": round((t.last_ns - t.since_ns) / 1e9, 3), "bytes": t.bytes}
                for t in view.tails
            ],
            "tails_seen": view.tails_seen,
            "elsewhere": view.elsewhere,
        }
        if exact is not None:
            connections, requests = exact[ALL]
            one["peaks"] = {"connections": connections, "requests": requests}
        captures.append(one)
    limit = snapshot.limit
    return {
        "time_ns": snapshot.now_ns,
        "elapsed_s": round(snapshot.elapsed_s, 3),
        "final": snapshot.final,
        "captures": captures,
        "limit": limit and {name: getattr(limit, name) for name in ("value", "unit", "target", "now", "alarm", "times", "seconds")},
        "rejections": {
            "logged": snapshot.refused,
            "inferred": snapshot.inferred,
            "new": [
                {"time_ns": r.time_ns, "side": r.side or None, "source": r.source, "code": r.code or None} for r in snapshot.new_refusals
            ],
        },
    }


def _numbers(line: Line) -> dict[str, Any]:
    return {
        unit: {"now": row.now, "minute": row.minute, "five_minutes": row.minutes, "peak": row.peak}
        for unit in (CONNECTIONS, REQUESTS)
        for row in (line.rows(unit),)
    } | {"http2": line.http2}


def elapsed(seconds: float) -> str:
    """01:02, or 1:02:03."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60:02d}:{rest % 60:02d}"


def clock(ns: int) -> str:
    """Local time of day."""
    from datetime import datetime

    try:
        return datetime.fromtimestamp(ns / SECOND).astimezone().strftime("%H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return "?"
