"""Connections or sessions as a trace in the JSON trace event format, for Perfetto (https://ui.perfetto.dev) and chrome://tracing.

A process is a server (its name, else its address), a track in it is one connection, and a slice on the track is its life. Inside the slice are its
exchanges, each cut into sending, waiting and receiving; FIN and RST are marks. If a connection has several sessions (redirect halves, copies before and
after NAT), each has a track below it, with an arrow to it. Another arrow leads from a DNS lookup to the connections that followed. Counter
tracks show how many connections were open and how many requests in flight, per server and in total. The arguments of a slice are the facts of its row,
with the display filter that finds it in Wireshark.

Times are microseconds with three decimals, exact to the nanosecond, counted from the earliest frame of the capture: since 1970 they would not fit the
53 bits that viewers count with. The time of that frame is in ``otherData``; the arguments of a slice have its absolute times.

The format allows slices of a track only inside each other, so an exchange that continues after the end of its connection is cut there; its arguments
have its true times. Beyond :data:`MAX_TRACKS` connections, successive connections to one server share a track, and sessions get none: nobody can
scroll through more tracks.

Limits: an exchange is drawn on the first session of its connection that has any, so copies show once. With HTTP/2, exchanges are not single
requests (see :mod:`netlens.parsers.exchanges`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import IO, Any

from netlens.errors import NetlensError
from netlens.report.exports import Rows, one_a_line
from netlens.schema import Table
from netlens.text import display_filter, endpoint, printable

MEANING = "a track for each row with its exchanges, for the trace viewers ui.perfetto.dev and chrome://tracing"
TABLES = ("connections", "sessions")
BESIDE = ("exchanges",)
FIXED = True

MAX_TRACKS = 2000  #: Perfetto draws as many without a pause; a lab recording has some hundred connections
FIRST_TRACK = 10_000  #: above every process number: a track with the number of its process would be taken for its main thread

Row = dict[str, Any]


@dataclass
class _Bar:
    """One connection (or session, where those are asked for) on its way to a track."""

    name: str
    title: str
    server: str
    start: int
    end: int
    facts: Row
    filters: dict[int, str]  # by session, see text.display_filter
    marks: list[tuple[int, str]]
    exchanges: list[Row] = field(default_factory=list)
    track: int = 0


def write(rows: Rows, file: IO[str]) -> None:
    import json

    if (exchanges := rows.beside("exchanges")) is None:
        raise NetlensError("a trace needs the exchanges of the capture, which were not read")
    sessions = rows.beside("sessions") if rows.table.schema.name == "connections" else None
    lookups = rows.beside("lookups") if sessions is not None else None
    of_session = [] if sessions is None else list(sessions.records())
    bars = []
    for r in rows.table.records():
        if sessions is None:
            parts, name, shown = [r], f"session #{r['session_id']}", f"#{r['session_id']}"
        else:
            parts, name = [of_session[k] for k in r["session_ids"]], f"{r['path']} #{r['connection_id']}"
            shown = name
        title = f"{shown} {endpoint(r['orig_ip'], r['orig_port'])}"  # the server is the process
        filters = {p["session_id"]: _filter(p, rows.one_file) for p in parts}
        bars.append(_Bar(name, title, _server(r), r["start_ns"], r["end_ns"], _facts(r, filters.values()), filters, _marks(parts)))
    events = _Trace(rows.zero_ns).events(bars, exchanges, of_session, [] if lookups is None else list(lookups.records()))
    start = {"first_frame": _utc(rows.zero_ns), "first_frame_ns": str(rows.zero_ns), "times": "microseconds after the earliest frame"}
    file.write(f'{{"displayTimeUnit":"ns","otherData":{json.dumps(start)},"traceEvents":[')
    one_a_line(map(_dumps, events), file)
    file.write("\n]}\n")


def _dumps(event: Row) -> str:
    """JSON of one event: its times, which are int ns here, as decimal us. (A float would round, and its text run to 17 digits.)"""
    import json

    times = "".join(f',"{key}":{_us(event.pop(key))}' for key in ("ts", "dur") if key in event)
    return json.dumps(event, allow_nan=False, separators=(",", ":"))[:-1] + times + "}"


def _us(ns: int) -> str:
    return f"{'-' if ns < 0 else ''}{abs(ns) // 1000}.{abs(ns) % 1000:03d}"


def _utc(ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 1_000_000_000)) + f".{ns % 1_000_000_000:09d}Z"


def _server(row: Row) -> str:
    return f"{printable(row['sni'])}:{row['resp_port']}" if row["sni"] else endpoint(row["resp_ip"], row["resp_port"])


def _filter(session: Row, one_file: bool) -> str:
    ends = (session["orig_ip"], session["orig_port"]), (session["resp_ip"], session["resp_port"])
    return display_filter(ends, (session["first_frame"], session["last_frame"]) if one_file else None)


def _facts(row: Row, filters: Iterable[str]) -> Row:
    """Arguments of a slice: what its row knows. Times as text: JavaScript's numbers do not hold ns since 1970."""
    out: Row = {"wireshark": " || ".join(filters)}
    for key, value in row.items():
        if value is None or value == []:
            continue
        out[key.removesuffix("_ns") if key.endswith("_ns") else key] = (
            _utc(value)
            if key.endswith("_ns")
            else ", ".join(map(str, value))
            if isinstance(value, list)
            else printable(value)
            if isinstance(value, str)
            else value
        )
    return out


def _marks(parts: list[Row]) -> list[tuple[int, str]]:
    """First FIN of each end and first RST, over the sessions of one connection."""
    found = [
        (min((r[column] for r in parts if r[column] is not None), default=None), name)
        for column, name in (("orig_fin_ns", "FIN of the client"), ("resp_fin_ns", "FIN of the server"), ("rst_ns", "RST"))
    ]
    return [(at, name) for at, name in found if at is not None]


class _Trace:
    """Numbers of processes, tracks and arrows, and the events in the order in which slices contain each other."""

    def __init__(self, zero_ns: int):
        self.zero = zero_ns
        self.processes: dict[str, int] = {}
        self.tracks = FIRST_TRACK
        self.arrows = 0

    def events(self, bars: list[_Bar], exchanges: Table, sessions: list[Row], lookups: list[Row]) -> Iterator[Row]:
        by_session: dict[int, list[Row]] = defaultdict(list)
        for r in exchanges.records():
            by_session[r["session_id"]].append(r)
        for bar in bars:
            bar.end = max(bar.start, bar.end)  # a clock that was set back
            bar.exchanges = next((by_session[k] for k in bar.filters if k in by_session), [])
        by_server: dict[str, list[_Bar]] = defaultdict(list)
        for bar in bars:
            by_server[bar.server].append(bar)
        if len(by_server) > 1:
            yield from self._counters(self.process("all servers"), bars)
            yield from self._process("all servers")
        if lookups:
            yield from self._process("DNS")
        own_tracks = len(bars) <= MAX_TRACKS
        for server, members in by_server.items():
            yield from self._process(server)
            pid = self.process(server)
            if own_tracks:
                for bar in members:
                    bar.track = self._next_track()
                    yield from self._name(pid, bar.track, bar.title)
                    yield from self._bar(pid, bar)
                    if len(bar.filters) > 1:
                        yield from self._parts(pid, bar, sessions)
            else:
                named = self.tracks
                for bar, lane in self._lanes([(b.start, b.end, b) for b in members]):
                    if lane > named:
                        named = lane
                        yield from self._name(pid, lane, "connections, one after the other")
                    bar.track = lane
                    yield from self._bar(pid, bar)
            yield from self._counters(pid, members)
        yield from self._lookups(lookups, bars)

    # -- tracks --

    def process(self, name: str) -> int:
        return self.processes.setdefault(name, len(self.processes) + 1)

    def _process(self, name: str) -> Iterator[Row]:
        pid = self.process(name)
        yield {"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}
        yield {"ph": "M", "name": "process_sort_index", "pid": pid, "args": {"sort_index": pid}}

    def _next_track(self) -> int:
        self.tracks += 1
        return self.tracks

    def _name(self, pid: int, tid: int, name: str) -> Iterator[Row]:
        yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": tid}}

    def _lanes(self, spans: list[tuple[int, int, Any]]) -> Iterator[tuple[Any, int]]:
        """Each with a track that is free by then; as many tracks as overlap at most."""
        busy: list[tuple[int, int]] = []
        for start, end, what in sorted(spans, key=lambda s: s[:2]):
            lane = heappop(busy)[1] if busy and busy[0][0] <= start else self._next_track()
            heappush(busy, (max(end, start + 1), lane))
            yield what, lane

    # -- slices --

    def _slice(self, pid: int, tid: int, name: str, start: int, end: int, facts: Row | None = None, kind: str = "tcp") -> Row:
        event: Row = {"ph": "X", "cat": kind, "name": name, "pid": pid, "tid": tid, "ts": start - self.zero, "dur": end - start}
        if facts:
            event["args"] = facts
        return event

    def _bar(self, pid: int, bar: _Bar) -> Iterator[Row]:
        yield self._slice(pid, bar.track, bar.name, bar.start, bar.end, bar.facts)
        at = bar.start
        for r in bar.exchanges:
            start, end = _within(at, bar.end, r["start_ns"]), _within(at, bar.end, bar.end if r["end_ns"] is None else r["end_ns"])
            end = max(start, end)
            name = "refused request" if r["rejected"] else "request"
            facts = _facts(r, [bar.filters[r["session_id"]]])
            yield self._slice(pid, bar.track, f"{name} {r['status']}" if r["status"] else name, start, end, facts, "http")
            sent = _within(start, end, r["request_end_ns"])
            answered = end if r["response_ns"] is None else _within(sent, end, r["response_ns"])
            for phase, a, b in (("sending", start, sent), ("waiting", sent, answered), ("receiving", answered, end)):
                if b > a:
                    yield self._slice(pid, bar.track, phase, a, b, None, "http")
            at = end
        for when, name in bar.marks:
            ts = _within(bar.start, bar.end, when) - self.zero
            yield {"ph": "i", "s": "t", "cat": "tcp", "name": name, "pid": pid, "tid": bar.track, "ts": ts}

    def _parts(self, pid: int, bar: _Bar, sessions: list[Row]) -> Iterator[Row]:
        for k, shown in bar.filters.items():
            r = sessions[k]
            tid = self._next_track()
            ends = f"{endpoint(r['orig_ip'], r['orig_port'])} > {endpoint(r['resp_ip'], r['resp_port'])}"
            yield from self._name(pid, tid, f"session {k} {ends}")
            end = max(r["start_ns"], r["end_ns"])
            yield self._slice(pid, tid, f"session #{k}", r["start_ns"], end, _facts(r, [shown]))
            yield from self._arrow(
                (pid, bar.track, _within(bar.start, bar.end, r["start_ns"])), (pid, tid, r["start_ns"]), bar.facts.get("path", "part")
            )

    def _arrow(self, start: tuple[int, int, int], end: tuple[int, int, int], kind: str) -> Iterator[Row]:
        """From the slice that is open at ``start`` (process, track, time) to that at ``end``."""
        self.arrows += 1
        for ph, (pid, tid, at), more in (("s", start, {}), ("f", end, {"bp": "e"})):
            yield {"ph": ph, "cat": kind, "name": kind, "id": self.arrows, "pid": pid, "tid": tid, **more, "ts": at - self.zero}

    def _lookups(self, lookups: list[Row], bars: list[_Bar]) -> Iterator[Row]:
        pid = self.process("DNS") if lookups else 0
        spans = []
        for r in lookups:
            start = r["query_ns"] if r["query_ns"] is not None else r["answer_ns"]
            end = max(start, r["answer_ns"] or start)
            spans.append((start, end, (start, end, r)))
        named = self.tracks
        for (start, end, r), lane in self._lanes(spans):
            if lane > named:
                named = lane
                yield from self._name(pid, lane, "lookups")
            name = f"{r['qtype'] or '?'} {printable(r['qname'] or '?')}"
            facts = _facts(r, [])
            del facts["wireshark"]
            yield self._slice(pid, lane, name, start, end, facts, "dns")
            for k in r["connection_ids"]:
                if k < len(bars):
                    bar = bars[k]
                    yield from self._arrow((pid, lane, start), (self.process(bar.server), bar.track, bar.start), "lookup")

    # -- counters --

    def _counters(self, pid: int, bars: list[_Bar]) -> Iterator[Row]:
        yield from self._counter(pid, "connections", "open", [(b.start, b.end) for b in bars])
        in_flight = [
            (_within(b.start, b.end, r["start_ns"]), _within(b.start, b.end, b.end if r["end_ns"] is None else r["end_ns"]))
            for b in bars
            for r in b.exchanges
        ]
        if in_flight:
            yield from self._counter(pid, "requests", "in flight", in_flight)

    def _counter(self, pid: int, name: str, what: str, spans: list[tuple[int, int]]) -> Iterator[Row]:
        steps: dict[int, int] = defaultdict(int)
        for start, end in spans:
            steps[start] += 1
            steps[max(start, end)] -= 1
        count = 0
        for at in sorted(steps):
            if steps[at]:
                count += steps[at]
                yield {"ph": "C", "name": name, "pid": pid, "ts": at - self.zero, "args": {what: count}}


def _within(low: int, high: int, at: int) -> int:
    return max(low, min(high, at))
