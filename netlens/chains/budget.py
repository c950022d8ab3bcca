"""The time budget: where the wall time of each request went, divided without rest.

Theory of operation
-------------------
1. A request begins with the first packet that was sent for it (its lookup, its connection, or itself, see :mod:`netlens.chains.openings`) and ends with the
   last byte of its answer, both where its program runs or as near to it as was captured.
2. *Hops.* The same request in the program's capture, on each relay's connections, and upstream. What lies between two of them is the relay's, each way.
   So the share of a tunnel is measured: how long the program waited, less how long the host waited.
3. *Painting.* The time line is painted with the program's view first, then with what each further hop shows of the same time, then the wire's round trip,
   then the stalls. What is painted later covers what was painted before, so every nanosecond has one phase, and the sum is the total.
4. *The wire* is a round trip as the TCP handshake of the last hop measured it (SYN to SYN+ACK), half of it before and half behind the server.
5. *Two clocks.* The VM's times are on the host's clock as well as that is known (:mod:`netlens.chains.clock`). They are moved within what is not known so
   that no answer leaves before it came; where nothing is known, so that both ways took as long. The relay's total does not depend on it.

Limits: HTTP/2 is divided only where a key log shows its streams, and only as upstream shows it. What a connection that was opened ahead (a pool's spare
one, ready for more than :data:`~netlens.chains.openings.SOON_NS`) took to open was waited for by nobody and is in no budget. Beyond :data:`MOST` requests
none is divided.
"""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from netlens.addresses import is_loopback
from netlens.chains import overlap, paths
from netlens.chains.openings import SOON_NS, Opening, openings
from netlens.chains.parties import of_request, who
from netlens.chains.situation import VM
from netlens.columns import NEVER, Ints, ints
from netlens.schema import DTYPES, Table
from netlens.tables import BUDGET
from netlens.text import endpoint

if TYPE_CHECKING:
    from netlens.chains.side import Side
    from netlens.chains.traffic import Traffic

CLIENT, LOOKUP, CONNECT, TLS, RELAY, WIRE, SERVER, STREAM, STALL = (
    "client",
    "lookup",
    "connect",
    "tls",
    "relay",
    "wire",
    "server",
    "stream",
    "stall",
)
PHASES = (CLIENT, LOOKUP, CONNECT, TLS, RELAY, WIRE, SERVER, STREAM, STALL)
MOST = 50_000  #: requests that are divided; each takes some 50 µs
LISTED = 100  #: requests in JSON; 0.5 kB each
LONG_SENDING_NS = 1_000_000  #: a request that takes less to send is in one flight
OPENING_FRAMES = 64  #: the first request of HTTP/2 comes within these of what seems the first turn of its connection
NETWORK = "network"  #: between two captures with no relay that shows

Spans = list[tuple[int, int]]
#: Times in which something was waited for, by session: data sent again, a shut window.
Waits = Mapping[int, Spans]


class Spell(NamedTuple):
    """A stretch of a request's time. ``relay``: which of the relays, with the phase of that name."""

    start_ns: int
    end_ns: int
    phase: str
    relay: int = -1


@dataclass(frozen=True)
class Pass:
    """A request as one connection carried it, with its times on the host's clock. ``exchange``: row of that capture's exchanges; -1: a stream of HTTP/2."""

    vantage: str | None
    exchange: int
    start_ns: int
    sent_ns: int
    answered_ns: int | None
    end_ns: int


@dataclass(frozen=True, slots=True)
class Divided:
    """One request. ``spells`` follow each other without a gap; ``request``: row of the situation's requests, -1 for what goes elsewhere.

    unmeasured : phases whose share is not known, and so in another.  passes : the connections that carried it, from the program to the server; what
    lies between two of them is one of ``relays``.
    """

    vantage: str | None
    exchange: int | None
    session: int
    stream: int | None
    server: str
    request: int
    party: str
    process: str | None
    spells: tuple[Spell, ...]
    relays: tuple[str, ...]
    unmeasured: frozenset[str]
    uncertain_ns: int
    status: int | None
    complete: bool
    frame: int
    passes: tuple[Pass, ...] = ()

    @property
    def begin_ns(self) -> int:
        return self.spells[0].start_ns

    @property
    def end_ns(self) -> int:
        return self.spells[-1].end_ns

    def ns(self, phase: str, relay: int = -1) -> int:
        """Time in a phase."""
        return sum(s.end_ns - s.start_ns for s in self.spells if s.phase == phase and (relay < 0 or s.relay == relay))


@dataclass
class Hop:
    """A request as one connection carries it, on the host's clock. ``relay``: the name of what lies before it."""

    start: int
    sent: int
    answered: int | None
    end: int
    opening: Opening | None
    waits: Spans
    relay: str = ""
    flights: Spans = field(default_factory=list)  # while the request was sent: bytes on their way

    def passed(self, vantage: str | None, exchange: int) -> Pass:
        return Pass(vantage, exchange, self.start, self.sent, self.answered, self.end)


# --- from hops to spells


def divide(hops: list[Hop], round_trip_ns: int | None, lookup_ahead: tuple[int, int, int] | None = None) -> tuple[Spell, ...]:
    """The time line of one request.

    Parameters
    ----------
    hops : from the program to the server, at least one.  round_trip_ns : of the last, None if unknown.
    lookup_ahead : first query and last answer as the next capture shows the program's lookup, and by which relay it came there.
    """
    first, last = hops[0], hops[-1]
    o = _used(first)
    begin = first.start if o is None else min(t for t in (o.lookup_ns, o.syn_ns, first.start) if t is not None)
    end = max(first.end, first.sent, first.start, begin)
    paint: list[tuple[int, int, str, int]] = [(begin, end, CLIENT, -1)]
    if o is not None:
        paint += _opened(o, -1)
    if o is not None and lookup_ahead and o.lookup_ns is not None and o.looked_up_ns is not None:
        asked, told, relay = lookup_ahead
        paint += [(o.lookup_ns, asked, RELAY, relay), (told, o.looked_up_ns, RELAY, relay)]
    paint += [(a, b, WIRE, -1) for a, b in first.flights]
    paint += [(first.sent, _or(first.answered, end), SERVER, -1), (_or(first.answered, end), end, STREAM, -1)]
    for k in range(1, len(hops)):
        paint += _through(hops[k - 1], hops[k], k - 1, end)
    until = _or(last.answered, last.end)
    if round_trip_ns is not None and last.answered is not None and until > last.sent:
        trip = min(round_trip_ns, until - last.sent)
        paint += [(last.sent, last.sent + trip // 2, WIRE, -1), (until - (trip - trip // 2), until, WIRE, -1)]
    paint += [(a, b, STALL, -1) for hop in hops for a, b in hop.waits]
    return _flat(begin, end, paint)


def _used(hop: Hop) -> Opening | None:
    """How its connection was opened, if it was opened for this request."""
    o = hop.opening
    if o is None or o.syn_ns is None:
        return None
    ready = max(t for t in (o.syn_ns, o.open_ns, o.ready_ns) if t is not None)
    return o if hop.start - ready <= SOON_NS else None


def _opened(o: Opening, relay: int) -> list[tuple[int, int, str, int]]:
    """Phases of an opening. What is negotiated before TLS is a relay's (``relay``), or part of connecting."""
    out = []
    if o.lookup_ns is not None and o.looked_up_ns is not None:
        out.append((o.lookup_ns, o.looked_up_ns, LOOKUP, -1))
    if o.syn_ns is not None and o.open_ns is not None:
        out.append((o.syn_ns, o.open_ns, CONNECT, -1))
    if o.hello_ns is not None and o.ready_ns is not None:
        if o.asked_ns is not None and o.asked_ns < o.hello_ns:
            out.append((o.asked_ns, o.hello_ns, RELAY if relay >= 0 else CONNECT, relay))
        out.append((o.hello_ns, o.ready_ns, TLS, -1))
    return out


def _through(near: Hop, far: Hop, relay: int, end: int) -> list[tuple[int, int, str, int]]:
    """What the farther hop shows of the time in which the nearer one waited."""
    answered, far_answered = _or(near.answered, end), _or(far.answered, far.end)
    out = [(near.sent, answered, RELAY, relay)]
    n, f = near.opening, _used(far)
    if f is not None and n is not None:
        if n.syn_ns is not None and n.open_ns is not None and f.syn_ns is not None and f.syn_ns < n.open_ns:  # the same packets
            out.append((n.syn_ns, f.syn_ns, RELAY, relay))
            if f.open_ns is not None:
                out.append((f.open_ns, n.open_ns, RELAY, relay))
        if n.asked_ns is not None and n.hello_ns is not None and n.asked_ns < n.hello_ns:
            out.append((n.asked_ns, n.hello_ns, RELAY, relay))
        if n.hello_ns is not None and n.ready_ns is not None and f.hello_ns is not None and f.hello_ns <= n.ready_ns:  # the same hello
            out.append((n.hello_ns, f.hello_ns, RELAY, relay))
            if f.flight_ns is not None and n.flight_ns is not None:
                out.append((f.flight_ns, n.flight_ns, RELAY, relay))
        out += [(a, b, p, r) for a, b, p, r in _opened(f, relay) if p != TLS]
    elif f is not None:
        out += _opened(f, relay)
    if f is not None and f.hello_ns is not None and f.ready_ns is not None and f.hello_ns >= near.sent:  # encrypted anew
        out.append((f.hello_ns, f.ready_ns, TLS, -1))
    out.append((far.sent, far_answered, SERVER, -1))
    out.append((far_answered, answered, RELAY, relay))
    out.append((far.end, near.end, RELAY, relay))
    return out


def _or(time: int | None, otherwise: int) -> int:
    return otherwise if time is None else time


def _flat(begin: int, end: int, paint: list[tuple[int, int, str, int]]) -> tuple[Spell, ...]:
    """Stretches that follow each other, each of what was painted last there."""
    layers = [(a if a > begin else begin, b if b < end else end, p, r) for a, b, p, r in paint if a < b and a < end and b > begin]
    cuts = sorted({begin, end, *[layer[0] for layer in layers], *[layer[1] for layer in layers]})
    place = {t: k for k, t in enumerate(cuts)}
    last: list[tuple[str, int]] = [(CLIENT, -1)] * (len(cuts) - 1)
    for a, b, phase, relay in layers:
        first, behind = place[a], place[b]
        last[first:behind] = [(phase, relay)] * (behind - first)
    out: list[Spell] = []
    since = begin
    for k, (phase, relay) in enumerate(last):
        if k + 1 == len(last) or last[k + 1] != (phase, relay):
            out.append(Spell(since, cuts[k + 1], phase, relay))
            since = cuts[k + 1]
    return tuple(out) or (Spell(begin, begin, CLIENT),)


# --- from captures to hops


class _View:
    """One capture's exchanges as hops; times are moved to the host's clock by ``moved``."""

    def __init__(self, side: Side, waits: Waits, moved: Callable[[Ints], Ints]) -> None:
        self.side, self.waits, self.moved = side, waits, moved
        self.table = x = side.capture.table("exchanges")
        owner = overlap.owner_rows(x, side.connections)
        kept = np.zeros(x.rows, bool)
        kept[overlap.exchange_intervals(x, None, side.connections).rows] = True
        rows = np.flatnonzero(kept & (owner >= 0))
        self.owner: list[int] = owner.tolist()
        self.of: dict[int, list[int]] = defaultdict(list)
        for k, row in zip(rows.tolist(), owner[rows].tolist(), strict=True):
            self.of[row].append(k)
        start, sent = x["start_ns"].astype(np.int64), x["request_end_ns"].astype(np.int64)
        answered, end = ints(x["response_ns"], NEVER), ints(x["end_ns"], NEVER)
        closed = np.minimum(side.end_ns, np.where(side.done_ns >= 0, side.done_ns, NEVER))[owner] if side.connections.rows else end
        silent = answered == NEVER
        self.silent = silent.tolist()
        self.start, self.sent = moved(start).tolist(), moved(np.where(silent, sent, np.minimum(sent, answered))).tolist()
        self.answered = moved(np.where(silent, sent, answered)).tolist()
        self.end = moved(np.where(silent, np.maximum(closed, sent), np.maximum(end, answered))).tolist()
        self.session, self.frame = x["session_id"].tolist(), x["start_frame"].tolist()
        firsts = {row: group[0] for row, group in self.of.items()}
        self.first = set(firsts.values())
        raw = openings(side, {row: self.frame[k] for row, k in firsts.items()})
        self.openings = dict(zip(raw, self._moved(list(raw.values())), strict=True))
        self._servers: dict[int, str] = {}
        self.http = x["status"].tolist()
        self.complete = x["complete"].tolist()

    def _moved(self, found: list[Opening]) -> list[Opening]:
        """The same on the host's clock."""
        names = [[name for name, value in vars(o).items() if name.endswith("_ns") and value is not None] for o in found]
        times = iter(
            self.moved(np.array([getattr(o, name) for o, each in zip(found, names, strict=True) for name in each], np.int64)).tolist()
        )
        return [Opening(**{name: next(times) for name in each}, lookups=o.lookups) for o, each in zip(found, names, strict=True)]

    def hop(self, k: int, relay: str = "") -> Hop:
        """Of one exchange."""
        row = self.owner[k]
        waits = [span for s in self.side.session_ids[row] for span in self.waits.get(s, ())] if self.waits else []
        spans = [(a, b) for a, b in self._spans(waits) if a < self.end[k] and b > self.start[k]] if waits else []
        return Hop(
            self.start[k],
            max(self.sent[k], self.start[k]),
            None if self.silent[k] else self.answered[k],
            self.end[k],
            self.openings.get(row) if k in self.first else None,
            spans,
            relay,
            self._spans(self._in_flight(k)) if self.sent[k] - self.start[k] > LONG_SENDING_NS else [],
        )

    def _spans(self, spans: Spans) -> Spans:
        if not spans:
            return []
        moved = self.moved(np.array(spans, np.int64).reshape(-1)).reshape(-1, 2)
        return [(a, b) for a, b in moved.tolist()]

    def _in_flight(self, k: int) -> Spans:
        """While the request was sent, when bytes of it were not yet acknowledged: the program had handed them over."""
        trail, sessions = self.side.capture.trail, self.side.sessions
        if trail is None or not sessions["resp_frames"][self.session[k]]:  # of half of a connection the acknowledgments stand elsewhere
            return []
        t, all_ = trail.segments(), trail.of(self.session[k])
        low = all_.start + int(np.searchsorted(t["frame"][all_], self.frame[k]))
        part = slice(low, all_.stop)
        if low == all_.stop:
            return []
        columns = (
            t["ts"][part],
            self.moved(t["ts"][part]),
            t["way"][part] == t["way"][low],
            t["length"][part],
            t["offset"][part],
            t["acked"][part],
        )
        out: Spans = []
        since, upto, at = None, 0, 0
        for ts, moved, mine, length, offset, acked in zip(*(column.tolist() for column in columns), strict=True):
            if moved > self.sent[k]:
                break
            at = ts
            if mine and length:
                since, upto = (ts if since is None else since), max(upto, offset + length)
            elif not mine and since is not None and acked >= upto:
                out.append((since, ts))
                since = None
        return out if since is None else [*out, (since, at)]

    def server(self, row: int) -> str:
        if row not in self._servers:
            c = self.side.connections
            name, address = (f"{c['sni'][row]}:{c['resp_port'][row]}" if c["sni"][row] else ""), (c["resp_ip"][row], c["resp_port"][row])
            self._servers[row] = name or endpoint(*address)
        return self._servers[row]

    def round_trips(self) -> dict[int, int]:
        """Per connection, a round trip to the server: its own handshake's, else the usual one to the same server; without what is behind a local proxy."""
        s, c = self.side.sessions["synack_ms"], self.side.connections
        local = (c["path"] == paths.SSHUTTLE) & (np.full(c.rows, self.side.name == "vm") | (c["vantage"] == "vm"))
        own: dict[int, int] = {}
        usual: dict[Any, list[int]] = defaultdict(list)
        for row, ids in enumerate(self.side.session_ids):
            seen = [round(float(s[k]) * 1e6) for k in ids if s[k] == s[k] and s[k] >= 0]
            if seen and not local[row] and c["redirect_port"][row] is None:
                own[row] = min(seen)
                usual[c["resp_ip"][row], c["resp_port"][row]].append(own[row])
        middle = {key: int(np.median(trips)) for key, trips in usual.items()}
        for row in range(c.rows):
            key = (c["resp_ip"][row], c["resp_port"][row])
            if row not in own and key in middle and not local[row] and c["redirect_port"][row] is None:
                own[row] = middle[key]
        return own


class _Dividing:
    """All requests of one or two captures."""

    def __init__(self, traffic: Traffic, waits: Mapping[str | None, Waits]) -> None:
        self.traffic, self.up = traffic, traffic.upstream
        self.upstream = _View(self.up, waits.get(self.up.name, {}), np.array)
        self.vm = None
        if traffic.vm is not None:
            moved = traffic.clock.to_host if traffic.clock_told else np.array
            self.vm = _View(traffic.vm, waits.get("vm", {}), moved)
        self.trips = {id(view): view.round_trips() for view in self._views()}
        self.who = traffic.once(who)
        self.used: dict[int, set[int]] = {id(view): set() for view in self._views()}
        self.lookup_of = {} if traffic.pairing is None else dict(traffic.pairing.lookup_pairs.tolist())
        self._known_parts: dict[int, tuple[list[str], list[str], list[str]]] = {}
        self.found: list[Divided] = []

    def _views(self) -> list[_View]:
        return [self.upstream] + ([self.vm] if self.vm is not None else [])

    def all(self) -> list[Divided]:
        """Requests to the target, then all others, in order of their beginning."""
        rows = self.traffic.rows.tolist()
        for i, (up, vm, key) in enumerate(rows[:MOST]):
            if key >= 0:
                self._stream(i, key)
            elif not self._is_turn(up, vm):
                self._request(i, up, vm)
        pairs = self.traffic.pairing
        if self.vm is not None:
            for row, mine in self.vm.of.items():
                mate = -1 if pairs is None else int(pairs.host_of[row])
                theirs = self.upstream.of.get(mate, []) if mate >= 0 else []
                for at, k in enumerate(mine):
                    same = theirs[at] if len(theirs) == len(mine) and theirs[at] not in self.used[id(self.upstream)] else None
                    self._other(self.vm, k, same)
        for mine in self.upstream.of.values():
            for k in mine:
                self._other(self.upstream, k, None)
        return sorted(self.found, key=lambda d: (d.begin_ns, d.frame))

    def _is_turn(self, up: int, vm: int) -> bool:
        """Whether a row of the situation stands for a turn of HTTP/2 and for no request."""
        there = self.traffic.vm
        return (up >= 0 and int(self.up.owner[up]) in self.up.shared) or (
            there is not None and vm >= 0 and int(there.owner[vm]) in there.shared
        )

    def _request(self, i: int, up: int, vm: int) -> None:
        """One of the situation's requests: from the VM's exchange over the relays of the host to the one upstream."""
        hops: list[tuple[_View, int, str]] = []
        row = -1
        if up >= 0:
            k, row = int(self.up.exchange_rows[up]), int(self.up.owner[up])
            before, between, own = self._parts(row)
            hops = self._inner(k, row, between, up)
            hops.append((self.upstream, k, between[-1] if hops and between else ""))
            if self.vm is not None and vm >= 0:
                hops[0] = (*hops[0][:2], ">".join([*before, *(own if len(hops) == 1 else [])]) or NETWORK)
        if self.vm is not None and vm >= 0:
            hops.insert(0, (self.vm, int(self.vm.side.exchange_rows[vm]), ""))
        elif not hops:
            return
        whose = of_request(self.traffic, self.who, i, up)
        known_relay = row >= 0 and len(hops) == 1 and self._relayed(row)
        self._add(hops, i, whose.name, whose.process, known_relay)

    def _inner(self, k: int, row: int, between: list[str], up: int) -> list[tuple[_View, int, str]]:
        """The same request on the connections that relays of the upstream's machine carried on, the first first."""
        asked = self.traffic.asked_of_relay.get(up)
        if asked is not None:
            return [(self.upstream, int(asked), "")]
        mine = self.upstream.of[row]
        out: list[tuple[_View, int, str]] = []
        for n, hop in enumerate(self.traffic.served.get(row, ())):
            theirs = self.upstream.of.get(hop, [])
            if k in mine and len(theirs) == len(mine):
                out.append((self.upstream, theirs[mine.index(k)], between[n - 1] if n else ""))
        return out if len(out) == len(self.traffic.served.get(row, ())) else []

    def _relayed(self, row: int) -> bool:
        """Whether something that this capture does not show from both sides carries a connection of the upstream's."""
        before, between, own = self._parts(row)
        hidden = before or between or {paths.SSHUTTLE, paths.REDIRECT}.intersection(own)
        return bool(hidden) or (int(self.traffic.origin[row]) == VM and self.up.name != "vm")

    def _other(self, view: _View, k: int, same: int | None) -> None:
        """An exchange that goes elsewhere."""
        if k in self.used[id(view)] or len(self.found) >= MOST:
            return
        row = view.owner[k]
        if row in view.side.shared:
            return
        hops = [(view, k, "")]
        if same is not None:
            hops.append((self.upstream, same, ">".join(self._between(self.upstream.owner[same])) or NETWORK))
        c = view.side.connections
        local = same is None and (c["path"][row] == paths.SSHUTTLE or is_loopback(c["resp_ip"][row]))
        whose = self.who[row] if view is self.upstream else None
        name, process = (whose.name, whose.process) if whose else ("VM", self.traffic.processes.get("vm", {}).get(row))
        self._add(hops, -1, name, process, local)

    def _parts(self, row: int) -> tuple[list[str], list[str], list[str]]:
        """Relays of a connection of the upstream's capture."""
        if row not in self._known_parts:
            self._known_parts[row] = paths.parts(self.traffic, row)
        return self._known_parts[row]

    def _between(self, row: int) -> list[str]:
        return [relay for part in self._parts(row) for relay in part]

    def _add(self, hops: list[tuple[_View, int, str]], request: int, party: str, process: str | None, relayed: bool) -> None:
        for view, k, _ in hops:
            self.used[id(view)].add(k)
        made = [view.hop(k, relay) for view, k, relay in hops]
        first_view, first, _ = hops[0]
        last_view, last, _ = hops[-1]
        row, last_row = first_view.owner[first], last_view.owner[last]
        uncertain = 0
        two_clocks = self.vm is not None and first_view is self.vm and len(hops) > 1
        if two_clocks:
            uncertain = self._one_clock(made)
        trip = self.trips[id(last_view)].get(last_row)
        relays = [hop.relay for hop in made[1:]]
        spells = divide(made, trip, self._lookup_ahead(made[0], relays) if two_clocks else None)
        missing = {RELAY} if relayed else set()
        missing |= {WIRE} if trip is None and not any(s.phase == WIRE for s in spells) else set()
        self.found.append(
            Divided(
                first_view.side.name, first, first_view.session[first], None, last_view.server(last_row) if request >= 0 else first_view.server(row),
                request, party, process, spells, tuple(relays), frozenset(missing), uncertain,
                last_view.http[last] or first_view.http[first], bool(first_view.complete[first] or last_view.complete[last]), first_view.frame[first],
                tuple(hop.passed(view.side.name, k) for hop, (view, k, _) in zip(made, hops, strict=True)),
            )
        )  # fmt: skip

    def _one_clock(self, hops: list[Hop]) -> int:
        """Move the VM's hop so that nothing leaves before it came; how far each way of the relay may be off."""
        near, far = hops[0], hops[1]
        there = far.sent - near.sent
        back = there if near.answered is None or far.answered is None else near.answered - far.answered
        clock = self.traffic.clock
        told = self.traffic.clock_told
        by = 0
        if not told:
            by = (there - back) // 2
        elif there < 0 or back < 0:
            by = there if there < 0 <= back + there else -back if back < 0 <= there + back else (there - back) // 2
        if by:
            _move(near, by)
        return clock.uncertain_ns if told else max(abs(there + back) // 2, 0)

    def _lookup_ahead(self, hop: Hop, relays: list[str]) -> tuple[int, int, int] | None:
        """The program's lookup as the upstream's capture shows it; a tunnel that carries lookups only is added to the relays."""
        rows = [row for row in (hop.opening.lookups if hop.opening else ()) if row in self.lookup_of]
        table = self.up.capture.table("lookups")
        there = [self.lookup_of[row] for row in rows]
        asked = [int(t) for k in there if (t := table["query_ns"][k]) is not None]
        told = [int(t) for k in there if (t := table["answer_ns"][k]) is not None]
        if not asked or not told or self.vm is None:
            return None
        way = str(self.vm.side.capture.table("lookups")["path"][rows[0]])
        if way == paths.SSHUTTLE and not any(way in relay for relay in relays):
            relays.append(way)
        return min(asked), max(told), next((k for k, relay in enumerate(relays) if way in relay), 0)

    def _stream(self, i: int, key: int) -> None:
        """A request of HTTP/2, which only a key log shows."""
        assert self.traffic.beside.keys is not None
        r = self.traffic.beside.keys.rows[key]
        row = self.up.connection_of[r.session_id]
        sent = r.request_end_ns if r.request_end_ns is not None else r.start_ns
        end = r.end_ns if r.end_ns is not None else int(self.up.end_ns[row])
        answered = None if r.response_ns is None else max(r.response_ns, r.start_ns)
        first = self.upstream.first & set(self.upstream.of.get(row, ()))
        opening = self.upstream.openings.get(row) if any(self.upstream.frame[k] >= r.frame - OPENING_FRAMES for k in first) else None
        waits = [span for s in self.up.session_ids[row] for span in self.upstream.waits.get(s, ())]
        hop = Hop(r.start_ns, sent if answered is None else min(sent, answered), answered, max(end, r.start_ns), opening, waits)
        trip = self.trips[id(self.upstream)].get(row)
        whose = of_request(self.traffic, self.who, i, -1)
        missing = ({RELAY} if self._relayed(row) else set()) | ({WIRE} if trip is None else set())
        self.found.append(
            Divided(
                self.up.name, None, r.session_id, r.stream, self.upstream.server(row), i, whose.name, whose.process, divide([hop], trip), (),
                frozenset(missing), 0, r.status, r.complete, r.frame, (hop.passed(self.up.name, -1),),
            )
        )  # fmt: skip


def _move(hop: Hop, by: int) -> None:
    """Move a hop in time."""
    hop.start, hop.sent, hop.end = hop.start + by, hop.sent + by, hop.end + by
    hop.answered = None if hop.answered is None else hop.answered + by
    hop.waits, hop.flights = ([(a + by, b + by) for a, b in spans] for spans in (hop.waits, hop.flights))
    if hop.opening is not None:
        moved = {name: value + by for name, value in vars(hop.opening).items() if name.endswith("_ns") and value is not None}
        hop.opening = Opening(**moved, lookups=hop.opening.lookups)


def budget(traffic: Traffic, waits: Mapping[str | None, Waits]) -> list[Divided]:
    """Every request of the captures, divided, in order of beginning.

    Parameters
    ----------
    waits : by capture and session, when data that had to be sent again was waited for, or a window was shut; each capture's own times.
    """
    collecting = gc.isenabled()
    gc.disable()  # of the many small objects that are made none is in a cycle, and each search for one would walk all of them
    try:
        return _Dividing(traffic, waits).all()
    finally:
        if collecting:
            gc.enable()


@dataclass(frozen=True)
class Group:
    """Requests of one party (and program) to one server, with where their time went.

    by_phase : phase -> ns of all of them; None: of none of them is it known.  by_relay : relay -> ns.
    """

    server: str
    target: bool
    party: str
    process: str | None
    requests: int
    total_ns: int
    by_phase: dict[str, int | None]
    by_relay: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        phases = {f"{phase}_ns": ns for phase, ns in self.by_phase.items()}
        return (
            {name: getattr(self, name) for name in ("server", "target", "party", "process", "requests", "total_ns")}
            | phases
            | {"relays_ns": self.by_relay}
        )


def groups(divided: Iterable[Divided]) -> list[Group]:
    """By server, party and program: the target first, then by time."""
    found: dict[Any, list[Divided]] = defaultdict(list)
    for d in divided:
        found[d.server, d.request >= 0, d.party, d.process].append(d)
    made = []
    for (server, target, party, process), mine in found.items():
        relays = dict.fromkeys((relay for d in mine for relay in d.relays), 0)
        known = {phase: 0 for phase in PHASES if any(phase not in each for each in {d.unmeasured for d in mine})}
        for d in mine:
            for start, end, phase, relay in d.spells:
                if phase not in d.unmeasured:
                    known[phase] += end - start
                if phase == RELAY and relay >= 0:
                    relays[d.relays[relay]] += end - start
        total = sum(d.end_ns - d.begin_ns for d in mine)
        by_phase = {phase: known.get(phase) for phase in PHASES}
        made.append(Group(server, target, party, process, len(mine), total, by_phase, relays))
    return sorted(made, key=lambda g: (not g.target, -g.total_ns, g.server, g.party))


def document(divided: list[Divided]) -> dict[str, Any]:
    """For JSON: groups, and the requests to the target one by one (the first :data:`LISTED`)."""
    asked = [d for d in divided if d.request >= 0]
    names = [c.name for c in BUDGET if c.name not in ("budget_id", "target")]
    rows = [{name: row[name] for name in names} for row in table(asked[:LISTED]).records()]
    return {"groups": [group.to_dict() for group in groups(divided)], "requests": rows, "left_out": max(len(asked) - LISTED, 0)}


def table(divided: Iterable[Divided]) -> Table:
    """The budget as a table, see :data:`netlens.tables.BUDGET`."""
    rows = list(divided)
    columns: dict[str, list[Any]] = {
        "budget_id": list(range(len(rows))),
        "vantage": [d.vantage for d in rows],
        "exchange_id": [d.exchange for d in rows],
        "session_id": [d.session for d in rows],
        "stream": [d.stream for d in rows],
        "server": [d.server for d in rows],
        "target": [d.request >= 0 for d in rows],
        "party": [d.party for d in rows],
        "process": [d.process for d in rows],
        "begin_ns": [d.begin_ns for d in rows],
        "end_ns": [d.end_ns for d in rows],
        "total_ns": [d.end_ns - d.begin_ns for d in rows],
        **{f"{phase}_ns": [None if phase in d.unmeasured else d.ns(phase) for d in rows] for phase in PHASES},
        "relays": [list(d.relays) for d in rows],
        "relays_ns": [[d.ns(RELAY, k) for k in range(len(d.relays))] for d in rows],
        "uncertain_ns": [d.uncertain_ns for d in rows],
        "status": [d.status for d in rows],
        "complete": [d.complete for d in rows],
        "first_frame": [d.frame for d in rows],
    }
    made = {}
    for column in BUDGET:
        values = columns[column.name]
        made[column.name] = np.array(values, DTYPES[column.dtype]) if DTYPES[column.dtype] != np.dtype("O") else _objects(values)
    return Table(BUDGET, made)


def _objects(values: list[Any]) -> Any:
    out = np.empty(len(values), object)
    for k, value in enumerate(values):  # of lists of equal lengths numpy would make a matrix
        out[k] = value
    return out
