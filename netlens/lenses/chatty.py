"""Did a program wait for many round trips, one after the other?

Asks: where a client sent small requests one at a time over a far line, each as soon as the one before was answered; and where it opened a new connection for
    each. The time is then round trips times requests, whatever the line and the server could do.
Applies: to PostgreSQL, MySQL, Redis, memcached, and by their ports SQL Server, Oracle, MongoDB and Cassandra; to HTTP/1 in the clear; to turns inside TLS (a
    warning, as nobody knows what they are), on connections whose handshake was captured; new connections also inside TLS.
Cannot see: whether a request needed the answer to the one before. Files that are fetched in blocks are told by slow-transfer.
Normal: one at a time is how most programs ask, and costs nothing near by: zones of one cloud region are within 2 ms of each other. A person, and who asks by
    the clock, makes pauses; here a client that pauses for half a round trip is not looked at, nor a server that works so long, nor answers of more than the
    first flight (RFC 6928: ten segments), which need more trips. A page that asks a database once for each row (N+1) reads the same a hundred times, for
    answers of one size, and takes a second and more: that is a problem. All else is a warning: cursors (FETCH), scans, copies and pages of an API need the
    answer to the one before, and for jobs at night nobody waits. Redis' manual (pipelining) and RFC 9112 9.3 (persistent connections) say what helps.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from netlens.lenses import Finding, _databases
from netlens.lenses._connects import scanning
from netlens.lenses._view import S, View, finding, graded, grouped, most, seconds
from netlens.text import plural

ID = "chatty"
GROUP = "time"
RANK = 56
FAR_NS = 5_000_000  #: of a round trip; no region of a cloud, no site is so wide
LEAST, MANY = 50, 100  #: requests one after the other, from which it is told, and of a page that asks for each row
NOTICED_NS, LATE_NS, LONG_NS = S, 3 * S, 5 * S  #: people notice 1 s, and leave after 10 s (Nielsen)
QUICKEST, SLOWEST = 0.7, 1.5  #: round trips from a request to the next; less, and the handshake was slower than the line
REQUEST, FLIGHT = 1460, 14_600  #: bytes at most of a request (a segment), and of an answer (RFC 6928)
#: Of the time, that went by so; of the requests, that begin in one way or two (to prepare and to execute), or whose answers have half to twice the usual size
SHARE, ALIKE = 0.5, 0.8
PAUSE_NS = S  #: behind which another run begins
STATEMENTS, HTTP, TLS = "queries", "HTTP requests", "turns inside TLS"
PORTS = (1433, 1521, 9042, 11211, 27017)  #: of servers of data: SQL Server, Oracle, Cassandra, memcached, MongoDB
_VERBS = [int.from_bytes(verb, "big") for verb in (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"PATC", b"OPTI", b"PROP", b"REPO")]
NEW_LEAST, NEW_SHARE = 20, 1 / 3  #: connections, and share of the time in which they were opened
MOST_TRIPS = 2  #: from the end of one to the beginning of the next
ASK = "Ask for them together: one query for all rows (a join, IN) instead of one for each (N+1), a batch, or a pipeline; or run the program nearer to the data."
ASK_HTTP = "Ask for several at once (one request for all, several connections, HTTP/2), or run the program nearer to the server."
KEEP = "Keep the connection and send the next request on it (keep-alive, a session object of the library, a pool)."


class _Run(NamedTuple):
    """Requests of one kind, one after the other.  cost_ns : round trips.  alike : see :data:`ALIKE`."""

    session: int
    kind: str
    requests: int
    cost_ns: int
    lasted_ns: int
    trip_ns: int
    alike: bool
    frames: list[int]

    @property
    def grave(self) -> bool:
        """Whether a page is likely to wait for it: the same statement for each row."""
        return self.alike and self.kind == STATEMENTS and self.requests >= MANY


def look(view: View) -> list[Finding]:
    """Runs of requests, by kind, and new connections."""
    runs = _runs(view)
    return [
        *(_of(view, [run for run in runs if run.kind == kind]) for kind in (STATEMENTS, HTTP, TLS) if any(r.kind == kind for r in runs)),
        *_new(view),
    ]


def _of(view: View, runs: list[_Run]) -> Finding:
    runs = [run for run in runs if run.grave] or runs
    worst, n = max(runs, key=lambda run: run.cost_ns), sum(run.requests for run in runs)
    of = "one connection" if len(runs) == 1 else plural(len({run.session for run in runs}), "connection")
    text = (
        f"{n:,} {worst.kind} on {of} to {most(view.server(run.session) for run in runs)} went one after the other, each a round trip "
        f"({worst.trip_ns / 1e6:.0f} ms) behind the one before: {'up to ' if len(runs) > 1 else ''}{seconds(worst.cost_ns)} of waiting for the line"
        f"{', most of them begin alike' if worst.alike and worst.kind == STATEMENTS else ''}."
    )
    values = {
        "requests": n,
        "connections": len({run.session for run in runs}),
        "round_trip_ms": worst.trip_ns / 1e6,
        "longest_s": worst.cost_ns / 1e9,
    }
    frames = [frame for run in sorted(runs, key=lambda run: -run.cost_ns) for frame in run.frames]
    return graded(view, ID, worst.grave, text, frames, values, ASK if worst.kind == STATEMENTS else ASK_HTTP)


def _trips(view: View) -> np.ndarray[Any, Any]:
    """int64 by session: its round trip in ns as the handshake shows it, whatever was captured where; 0 without."""
    found: np.ndarray[Any, Any] = np.nan_to_num(view.sessions["handshake_ms"] * 1e6).astype(np.int64)
    return found


def _kinds(view: View) -> dict[str, np.ndarray[Any, Any]]:
    """bool by session: which carry what."""
    s, first = view.sessions, view.first_requests
    statements = _databases.starts(first) | _databases.greets(view.first_replies) | np.isin(s["resp_port"], PORTS)
    statements |= (first >> np.uint64(56) == ord("*")) & (first >> np.uint64(40) & np.uint64(0xFF) == ord("\r"))
    tls, http = s["protocol"] == "tls", s["protocol"] == "http"
    return {STATEMENTS: statements & ~tls & ~http, HTTP: http, TLS: tls}


def _runs(view: View) -> list[_Run]:
    s = view.sessions
    if view.trail is None or view.one_sided or not s.rows:
        return []
    trip, lasted = _trips(view), s["end_ns"] - s["start_ns"]
    usable = np.zeros(s.rows, bool)
    usable[view.in_one] = True
    usable &= (trip >= FAR_NS) & (lasted >= np.maximum(NOTICED_NS, trip * int(QUICKEST * LEAST))) & (view.missing_bytes == 0)
    usable &= (s["orig_frames"] >= LEAST) & (s["resp_frames"] >= LEAST)
    if not usable.any():
        return []
    kinds = _kinds(view)
    usable &= np.logical_or.reduce([*kinds.values()])
    t = view.trail.segments()
    rows = view.new_data[usable[t["session"][view.new_data]]]
    of, orig = t["session"][rows], view.by_originator(rows)
    begins = np.flatnonzero(
        np.r_[True, (of[1:] != of[:-1]) | (orig[1:] != orig[:-1])][: len(rows)]
    )  # what one side says until the other does
    if len(begins) <= LEAST:
        return []
    said = np.add.reduceat(t["length"][rows].astype(np.int64), begins)
    rows, of, orig = rows[begins], of[begins], orig[begins]
    ts, head = t["ts"][rows], t["head"][rows]
    asked = np.flatnonzero(orig[:-1] & ~orig[1:] & (of[:-1] == of[1:]))
    next_ = np.minimum(asked + 2, len(of) - 1)
    next_ = np.where(of[next_] == of[asked], next_, asked + 1)  # behind the last there is none
    took, trip = ts[next_] - ts[asked], trip[of[asked]]
    fits = (took >= QUICKEST * trip) & (took <= SLOWEST * trip) & (said[asked] <= REQUEST) & (said[asked + 1] <= FLIGHT)
    asked, took, trip = asked[fits], took[fits], trip[fits]
    kind = _begins(view, kinds, of[asked], head[asked])
    asked, took, trip, kind = (each[kind > 0] for each in (asked, took, trip, kind))
    if len(asked) < LEAST:
        return []
    until = ts[asked] + took
    apart = np.r_[True, (of[asked[1:]] != of[asked[:-1]]) | (ts[asked[1:]] - until[:-1] > PAUSE_NS)]
    found = []
    for at, end in zip(*(np.flatnonzero(apart), np.r_[np.flatnonzero(apart)[1:], len(asked)]), strict=True):
        if end - at < LEAST:
            continue
        k, cost, span = int(of[asked[at]]), int(np.minimum(took[at:end], trip[at:end]).sum()), int(until[end - 1] - ts[asked[at]])
        name = next(name for name, which in kinds.items() if which[k])
        if cost < {STATEMENTS: NOTICED_NS, HTTP: LATE_NS, TLS: LONG_NS}[name] or cost < SHARE * span:
            continue
        sizes = said[asked[at:end] + 1]
        middle = np.median(sizes)
        alike = bool(np.mean((2 * sizes >= middle) & (sizes <= 2 * middle)) >= ALIKE)
        if name == STATEMENTS:
            often = Counter(kind[at:end].tolist()).most_common(2)
            alike &= sum(n for _, n in often) >= ALIKE * (end - at) and all(_reads(begin) for begin, _ in often)
        frames = t["frame"][rows[asked[at:end]]].tolist()
        found.append(_Run(k, name, int(end - at), cost, span, int(trip[at]), alike, frames))
    return found


def _begins(
    view: View, kinds: dict[str, np.ndarray[Any, Any]], of: np.ndarray[Any, Any], head: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """uint64: how requests begin, without their lengths; 0 of what is none."""
    postgres, mysql = _databases.starts(view.first_requests)[of], _databases.greets(view.first_replies)[of]
    of_postgres = np.isin(head >> np.uint64(56), list(b"QPBE"))
    of_mysql = np.isin(head >> np.uint64(24) & np.uint64(0xFF), _databases.COMMANDS)
    other = np.where(np.isin(view.sessions["resp_port"][of], PORTS) | kinds[TLS][of], np.uint64(1), head)
    found: np.ndarray[Any, Any] = np.select(
        [kinds[HTTP][of], postgres, mysql],
        [
            np.where(np.isin(head >> np.uint64(32), _VERBS), head >> np.uint64(32), np.uint64(0)),
            np.where(of_postgres, (head >> np.uint64(56) << np.uint64(24)) | (head & np.uint64(0xFFFFFF)), np.uint64(0)),
            np.where(of_mysql, head & np.uint64(0xFFFFFFFF), np.uint64(0)),
        ],
        other,
    )
    return found


def _reads(begin: int) -> bool:
    """Whether a statement of PostgreSQL or MySQL, as :func:`_begins` has it, reads: SELECT as text, or one that was prepared."""
    said = begin.to_bytes(8, "big")[4:]
    return said[:1] in (b"P", b"B", b"E", b"\x16", b"\x17") or (said[:1] in (b"Q", b"\x03") and said[1:].upper() == b"SEL")


class _New(NamedTuple):
    """Connections that were opened one after the other, and what their handshakes cost."""

    sessions: list[int]
    cost_ns: int
    lasted_ns: int
    trip_ns: int


def _new(view: View) -> list[Finding]:
    """Connections for one request each, one behind the other."""
    found = [run for run in _in_turn(view) if run.cost_ns >= max(NOTICED_NS, NEW_SHARE * run.lasted_ns)]
    if not found:
        return []
    worst, n = max(found, key=lambda run: run.cost_ns), sum(len(run.sessions) for run in found)
    text = (
        f"{n:,} connections from {most(view.ends(run.sessions[0])[0] for run in found)} to {most(view.server(run.sessions[0]) for run in found)} were opened "
        f"one after the other, a handshake for each request: {seconds(worst.cost_ns)} of {seconds(worst.lasted_ns)} went by so (round trip "
        f"{worst.trip_ns / 1e6:.0f} ms)."
    )
    values = {"connections": n, "round_trip_ms": worst.trip_ns / 1e6, "longest_s": worst.cost_ns / 1e9}
    first = view.column("first_frame")
    return [finding(view, ID, "warning", text, [first[k] for run in found for k in run.sessions], values, KEEP)]


def _in_turn(view: View) -> list[_New]:
    """Runs of such connections to one server each."""
    s = view.sessions
    if view.one_sided or s.rows < NEW_LEAST:
        return []
    trip, kinds = _trips(view), _kinds(view)
    starts, said = s["start_ns"].astype(np.int64), s.ints("resp_first_payload_ns", 0)
    answered = s.ints("resp_last_payload_ns", 0)
    last = np.maximum(s.ints("orig_last_payload_ns", 0), answered)
    usable = np.zeros(s.rows, bool)
    usable[view.in_one] = True
    usable &= (trip >= FAR_NS) & (kinds[HTTP] | kinds[TLS] | kinds[STATEMENTS]) & s["saw_syn"] & (s["resp_bytes"] > 0)
    looks = view.once(scanning) if usable.sum() >= NEW_LEAST else set()
    found = []
    for group in grouped((k for k in np.flatnonzero(usable).tolist() if k not in looks), view.service).values():
        if len(group) < NEW_LEAST:
            continue
        k = np.array(group)[np.argsort(starts[group], kind="stable")]
        apart = starts[k[1:]] - last[k[:-1]]
        # inside TLS, and behind a login, the server has answered a request if it said something a trip later
        served = kinds[HTTP][k] | (answered[k] - said[k] >= QUICKEST * trip[k])
        begins = np.append(True, ~(served[1:] & (apart >= 0) & (apart <= MOST_TRIPS * trip[k[:-1]])))
        bounds = np.append(np.flatnonzero(begins), len(k))
        for at in np.flatnonzero(np.diff(bounds) >= NEW_LEAST).tolist():
            run = k[bounds[at] : bounds[at + 1]]
            cost = int(np.where(kinds[HTTP][run], trip[run], 2 * trip[run]).sum())
            found.append(_New(run.tolist(), cost, int(last[run[-1]] - starts[run[0]]), int(np.median(trip[run]))))
    return found
