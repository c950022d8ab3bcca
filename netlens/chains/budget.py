"""The time budget: where the wall time of each request went, divided without rest.

Theory of operation
-------------------
1. A request begins with the first packet that was sent for it (its lookup, its connection, or itself, see :mod:`netlens.chains.openings`) and ends with the
   last byte of its answer, both where its program runs or as near to it as was captured.
2. *Hops.* The same request in the program's capture, on each relay's connections, and upstream. What lies between two of them is the relay's, each way.
   So the share of a tunnel is measured: how long the program waited, less how long the host waited.
3. *Painting* (:mod:`netlens.chains.painting`). The time line is painted with the program's view first, then with what each further hop shows of the same
   time, then the wire's round trip, then the stalls. Later paint covers earlier, so every nanosecond has one phase, and the sum is the total.
4. *The wire* is a round trip as the TCP handshake of the last hop measured it (SYN to SYN+ACK), half of it before and half behind the server.
5. *No answer.* What a request waited that got none is no time of the server: nobody knows whether it worked on it, or ever had it.
6. *Two clocks.* The VM's times are on the host's clock as well as that is known (:mod:`netlens.chains.clock`). They are moved within what is not known so
   that no answer leaves before it came; where nothing is known, so that both ways took as long. The relay's total does not depend on it.

Limits: HTTP/2 is divided only where a key log shows its streams, and only as upstream shows it. What a connection that was opened ahead (a pool's spare
one, ready for more than :data:`~netlens.chains.openings.SOON_NS`) took to open was waited for by nobody and is in no budget. Beyond :data:`MOST` requests
none is divided.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from netlens.addresses import is_loopback
from netlens.arrays import no_cycles
from netlens.chains import overlap, paths
from netlens.chains.divided import PHASES, RELAY, WIRE, Division, Ragged, Words, objects
from netlens.chains.openings import openings
from netlens.chains.painting import MOMENTS, Ahead, Hop, Hops, Spans, divide, moments
from netlens.chains.parties import of_request, who
from netlens.chains.situation import VM
from netlens.columns import NEVER, Ints
from netlens.text import endpoint

if TYPE_CHECKING:
    from netlens.chains.side import Side
    from netlens.chains.traffic import Traffic

MOST = 50_000  #: requests that are divided; each takes some 10 µs
LONG_SENDING_NS = 1_000_000  #: a request that takes less to send is in one flight
OPENING_FRAMES = 64  #: the first request of HTTP/2 comes within these of what seems the first turn of its connection
NETWORK = "network"  #: between two captures with no relay that shows

#: Times in which something was waited for, by session: data sent again, a shut window.
Waits = Mapping[int, Spans]


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
        answered, end = x.ints("response_ns", NEVER), x.ints("end_ns", NEVER)
        closed = np.minimum(side.end_ns, np.where(side.done_ns >= 0, side.done_ns, NEVER))[owner] if side.connections.rows else end
        silent = answered == NEVER
        self.start, self.sent = moved(start), moved(np.where(silent, sent, np.minimum(sent, answered)))
        self.answered = np.where(silent, NEVER, moved(np.where(silent, sent, answered)))
        self.end = moved(np.where(silent, np.maximum(closed, sent), np.maximum(end, answered)))
        self.session, self.frame = x["session_id"].tolist(), x["start_frame"].tolist()
        firsts = {row: group[0] for row, group in self.of.items()}
        self.first = set(firsts.values())
        self.openings = openings(side, {row: self.frame[k] for row, k in firsts.items()})
        #: by exchange, the row of ``opened`` that says how its connection was opened for it; -1 of those that are not its first
        self.opening_of = np.full(x.rows, -1)
        self.opening_of[list(firsts.values())] = np.arange(len(firsts))
        self.opened = np.array([moments(o) for o in self.openings.values()], np.int64).reshape(-1, len(MOMENTS))
        self.opened[self.opened != NEVER] = moved(self.opened[self.opened != NEVER])
        late = np.array([any(s in waits for s in ids) for ids in side.session_ids], bool)
        self.waiting = late[owner] if len(late) else np.zeros(x.rows, bool)
        self._servers: dict[int, str] = {}
        c = side.connections
        #: local ports that connections were redirected to, with their path
        self.proxies = {port: path for port, path in zip(c["redirect_port"].tolist(), c["path"].tolist(), strict=True) if port is not None}
        self.http = x["status"].tolist()
        self.complete = x["complete"].tolist()

    def waited(self, k: int) -> Spans:
        """What was waited for while an exchange lasted."""
        waits = [span for s in self.side.session_ids[self.owner[k]] for span in self.waits.get(s, ())]
        return [(a, b) for a, b in self._spans(waits) if a < self.end[k] and b > self.start[k]]

    def flights(self, k: int) -> Spans:
        """While the request was sent, bytes on their way."""
        return self._spans(self._in_flight(k))

    def _spans(self, spans: Spans) -> Spans:
        """By the host's clock."""
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
        since, upto, at, sent = None, 0, 0, int(self.sent[k])
        for ts, moved, mine, length, offset, acked in zip(*(column.tolist() for column in columns), strict=True):
            if moved > sent:
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
            name, address = c["sni"][row], (c["resp_ip"][row], c["resp_port"][row])
            proxy = self.proxies.get(address[1]) if is_loopback(address[0]) else None
            if proxy is not None:  # half of a connection; the server's own port is in the other one
                self._servers[row] = (
                    f"{name or endpoint(*address)} (redirected to {'sshuttle' if proxy == paths.SSHUTTLE else 'a local proxy'})"
                )
            else:
                self._servers[row] = f"{name}:{address[1]}" if name else endpoint(*address)
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


class _Found(NamedTuple):
    """A request on its way from the program to the server. ``hops``: (number of a view, exchange); or ``stream``, one of HTTP/2 upstream.

    relayed : a relay that was not captured on both sides carries it.
    """

    hops: list[tuple[int, int]]
    request: int
    party: str
    process: str | None
    relays: list[str]
    relayed: bool
    stream: _Stream | None = None


class _Stream(NamedTuple):
    """A request of HTTP/2: what a key log shows of it."""

    hop: Hop
    row: int
    session: int
    stream: int
    status: int | None
    complete: bool
    frame: int


UP, PROGRAM = 0, 1  #: numbers of views: the upstream's capture, and that of the VM beside it


class _Dividing:
    """All requests of one or two captures."""

    def __init__(self, traffic: Traffic, waits: Mapping[str | None, Waits]) -> None:
        self.traffic, self.up = traffic, traffic.upstream
        self.views = [_View(self.up, waits.get(self.up.name, {}), np.array)]
        if traffic.vm is not None:
            moved = traffic.clock.to_host if traffic.clock_told else np.array
            self.views.append(_View(traffic.vm, waits.get("vm", {}), moved))
        self.upstream, self.vm = self.views[UP], self.views[PROGRAM] if len(self.views) > 1 else None
        self.trips = [view.round_trips() for view in self.views]
        self.who = traffic.once(who)
        self.used: list[set[int]] = [set() for _ in self.views]
        self.lookup_of = {} if traffic.pairing is None else dict(traffic.pairing.lookup_pairs.tolist())
        self.found: list[_Found] = []

    def all(self) -> Division:
        """Requests to the target, then all others, in order of their beginning."""
        self._find()
        hops = self._hops()
        spans = np.diff(hops.offsets)
        uncertain = np.zeros(len(self.found), np.int64)
        two_clocks = np.flatnonzero((spans > 1) & np.array([f.stream is None and f.hops[0][0] == PROGRAM for f in self.found], bool))
        if len(two_clocks):
            uncertain[two_clocks] = self._one_clock(hops, two_clocks)
        ahead = self._lookups_ahead(two_clocks.tolist())
        trips = [self.trips[UP].get(f.stream.row) if f.stream else self._trip(*f.hops[-1]) for f in self.found]
        spells = divide(hops, np.array([NEVER if t is None else t for t in trips], np.int64), ahead)
        made = self._division(hops, spells, uncertain, np.array([t is None for t in trips], bool))
        return made.take(np.lexsort((made.frame, made.begin_ns)))

    def _trip(self, number: int, k: int) -> int | None:
        return self.trips[number].get(self.views[number].owner[k])

    def _find(self) -> None:
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
                    same = theirs[at] if len(theirs) == len(mine) and theirs[at] not in self.used[UP] else None
                    self._other(PROGRAM, k, same)
        for mine in self.upstream.of.values():
            for k in mine:
                self._other(UP, k, None)

    def _hops(self) -> Hops:
        """All hops of what was found, in its order."""
        counts = [len(f.hops) if f.stream is None else 1 for f in self.found]
        streams = [[f.stream.hop] for f in self.found if f.stream is not None]
        flat = np.array([hop for f in self.found for hop in (f.hops if f.stream is None else [(-1, -1)])], np.int64).reshape(-1, 2)
        n = len(flat)
        start, sent, answered, end = (np.empty(n, np.int64) for _ in range(4))
        opened, was_first = np.full((n, len(MOMENTS)), NEVER), np.zeros(n, bool)
        waits: list[tuple[int, int, int]] = []
        flights: list[tuple[int, int, int]] = []
        for number, view in enumerate(self.views):
            at = np.flatnonzero(flat[:, 0] == number)
            k = flat[at, 1]
            start[at], sent[at], answered[at], end[at] = (
                view.start[k],
                np.maximum(view.sent[k], view.start[k]),
                view.answered[k],
                view.end[k],
            )
            firsts = view.opening_of[k]
            opened[at[firsts >= 0]], was_first[at] = view.opened[firsts[firsts >= 0]], firsts >= 0
            if view.waits:
                late = view.waiting[k]
                waits += [(hop, a, b) for hop, each in zip(at[late].tolist(), k[late].tolist(), strict=True) for a, b in view.waited(each)]
            long = view.sent[k] - view.start[k] > LONG_SENDING_NS
            flights += [(hop, a, b) for hop, each in zip(at[long].tolist(), k[long].tolist(), strict=True) for a, b in view.flights(each)]
        if streams:
            theirs, at = Hops.of(streams), np.flatnonzero(flat[:, 0] < 0)
            start[at], sent[at], answered[at], end[at] = theirs.start, theirs.sent, theirs.answered, theirs.end
            opened[at], was_first[at] = theirs.opened, theirs.was_first
            waits += [(int(at[hop]), a, b) for hop, a, b in theirs.waits.tolist()]
        spans = (np.array(each, np.int64).reshape(-1, 3) for each in (waits, flights))
        return Hops(np.cumsum([0, *counts]), start, sent, answered, end, opened, was_first, *spans)

    def _division(self, hops: Hops, spells: Ragged, uncertain: Ints, unknown_trip: np.ndarray[Any, Any]) -> Division:
        servers, parties, ways = Words(), Words(), Words()
        rows, status, flat = [], [], []
        for f in self.found:
            if f.stream is not None:
                server, fixed = (
                    self.upstream.server(f.stream.row),
                    (UP, -1, f.stream.session, f.stream.stream, f.stream.complete, f.stream.frame),
                )
                status.append(f.stream.status)
                flat.append((UP, -1))
            else:
                (number, k), (other, last) = f.hops[0], f.hops[-1]
                first_view, last_view = self.views[number], self.views[other]
                server = last_view.server(last_view.owner[last]) if f.request >= 0 else first_view.server(first_view.owner[k])
                fixed = (number, k, first_view.session[k], -1, first_view.complete[k] or last_view.complete[last], first_view.frame[k])
                status.append(last_view.http[last] or first_view.http[k])
                flat += f.hops
            rows.append(
                (*fixed, servers.number(server), f.request, parties.number((f.party, f.process)), ways.number(tuple(f.relays)), f.relayed)
            )
        vantage, exchange, session, stream, complete, frame, server_of, request, whose, way, relayed = (
            np.array(rows, np.int64).reshape(-1, 11).T
        )
        wired = np.zeros(len(rows), bool)
        wired[spells.owner[spells.columns[2] == PHASES.index(WIRE)]] = True
        hidden = np.zeros((len(rows), len(PHASES)), bool)
        hidden[:, PHASES.index(RELAY)] = relayed
        # of a stream, which has one hop, what is sent with pauses in between is not looked for
        hidden[:, PHASES.index(WIRE)] = unknown_trip & (~wired | (stream >= 0))
        passes = Ragged(hops.offsets, (*np.array(flat, np.int64).reshape(-1, 2).T, hops.start, hops.sent, hops.answered, hops.end))
        return Division(
            [view.side.name for view in self.views], servers.values, parties.values, ways.values, vantage, exchange, session, stream, server_of,
            request, whose, way, hidden, uncertain, objects(status), complete.astype(bool), frame, spells, passes,
        )  # fmt: skip

    def _is_turn(self, up: int, vm: int) -> bool:
        """Whether a row of the situation stands for a turn of HTTP/2 and for no request."""
        there = self.traffic.vm
        return (up >= 0 and int(self.up.owner[up]) in self.up.shared) or (
            there is not None and vm >= 0 and int(there.owner[vm]) in there.shared
        )

    def _request(self, i: int, up: int, vm: int) -> None:
        """One of the situation's requests: from the VM's exchange over the relays of the host to the one upstream."""
        hops: list[tuple[int, int, str]] = []
        row = -1
        if up >= 0:
            k, row = int(self.up.exchange_rows[up]), int(self.up.owner[up])
            before, between, own = paths.parts(self.traffic, row)
            hops = self._inner(k, row, between, up)
            hops.append((UP, k, between[-1] if hops and between else ""))
            if self.vm is not None and vm >= 0:
                hops[0] = (*hops[0][:2], ">".join([*before, *(own if len(hops) == 1 else [])]) or NETWORK)
        if self.vm is not None and vm >= 0:
            hops.insert(0, (PROGRAM, int(self.vm.side.exchange_rows[vm]), ""))
        elif not hops:
            return
        whose = of_request(self.traffic, self.who, i, up)
        known_relay = row >= 0 and len(hops) == 1 and self._relayed(row)
        self._add(hops, i, whose.name, whose.process, known_relay)

    def _inner(self, k: int, row: int, between: list[str], up: int) -> list[tuple[int, int, str]]:
        """The same request on the connections that relays of the upstream's machine carried on, the first first."""
        asked = self.traffic.asked_of_relay.get(up)
        if asked is not None:
            return [(UP, int(asked), "")]
        mine = self.upstream.of[row]
        out: list[tuple[int, int, str]] = []
        for n, hop in enumerate(self.traffic.served.get(row, ())):
            theirs = self.upstream.of.get(hop, [])
            if k in mine and len(theirs) == len(mine):
                out.append((UP, theirs[mine.index(k)], between[n - 1] if n else ""))
        return out if len(out) == len(self.traffic.served.get(row, ())) else []

    def _relayed(self, row: int) -> bool:
        """Whether something that this capture does not show from both sides carries a connection of the upstream's."""
        before, between, own = paths.parts(self.traffic, row)
        hidden = before or between or {paths.SSHUTTLE, paths.REDIRECT}.intersection(own)
        return bool(hidden) or (int(self.traffic.origin[row]) == VM and self.up.name != "vm")

    def _other(self, number: int, k: int, same: int | None) -> None:
        """An exchange that goes elsewhere."""
        if k in self.used[number] or len(self.found) >= MOST:
            return
        view = self.views[number]
        row = view.owner[k]
        if row in view.side.shared:
            return
        hops = [(number, k, "")]
        if same is not None:
            hops.append((UP, same, ">".join(self._between(self.upstream.owner[same])) or NETWORK))
        c = view.side.connections
        local = same is None and (c["path"][row] == paths.SSHUTTLE or is_loopback(c["resp_ip"][row]))
        whose = self.who[row] if number == UP else None
        name, process = (whose.name, whose.process) if whose else ("VM", self.traffic.processes.get("vm", {}).get(row))
        self._add(hops, -1, name, process, local)

    def _between(self, row: int) -> list[str]:
        return [relay for part in paths.parts(self.traffic, row) for relay in part]

    def _add(self, hops: list[tuple[int, int, str]], request: int, party: str, process: str | None, relayed: bool) -> None:
        for number, k, _ in hops:
            self.used[number].add(k)
        relays = [relay for _, _, relay in hops[1:]]
        self.found.append(_Found([(number, k) for number, k, _ in hops], request, party, process, relays, relayed))

    def _one_clock(self, hops: Hops, requests: Ints) -> Ints:
        """Move the VM's hops so that nothing leaves before it came; how far each way of the relay may be off."""
        near = hops.first[requests]
        far = near + 1
        there = hops.sent[far] - hops.sent[near]
        heard = (hops.answered[near] != NEVER) & (hops.answered[far] != NEVER)
        back = np.where(heard, hops.answered[near] - hops.answered[far], there)
        both, half = there + back, (there - back) // 2
        if self.traffic.clock_told:
            late = np.where((there < 0) & (both >= 0), there, np.where((back < 0) & (both >= 0), -back, half))
            hops.move(near, np.where((there < 0) | (back < 0), late, 0))
            return np.full(len(requests), self.traffic.clock.uncertain_ns)
        hops.move(near, half)
        return np.abs(both) // 2

    def _lookups_ahead(self, requests: list[int]) -> Ahead:
        """The programs' lookups as the upstream's capture shows them; a tunnel that carries lookups only is added to the relays."""
        rows: list[tuple[int, int, int, int]] = []
        if self.vm is None:
            return Ahead(*np.empty((4, 0), np.int64))
        table, way_of = self.up.capture.table("lookups"), self.vm.side.capture.table("lookups")["path"]
        asked_ns, told_ns = table.ints("query_ns", NEVER), table.ints("answer_ns", NEVER)
        opening_of, lookups = self.vm.opening_of, [o.lookups for o in self.vm.openings.values()]
        for request in requests:
            opened = opening_of[self.found[request].hops[0][1]]
            mine = [row for row in lookups[opened] if row in self.lookup_of] if opened >= 0 else []
            there = [self.lookup_of[row] for row in mine]
            asked = [int(asked_ns[k]) for k in there if asked_ns[k] != NEVER]
            told = [int(told_ns[k]) for k in there if told_ns[k] != NEVER]
            if not asked or not told:
                continue
            way, relays = str(way_of[mine[0]]), self.found[request].relays
            if way == paths.SSHUTTLE and not any(way in relay for relay in relays):
                relays.append(way)
            rows.append((request, min(asked), max(told), next((k for k, relay in enumerate(relays) if way in relay), 0)))
        return Ahead(*np.array(rows, np.int64).reshape(-1, 4).T)

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
        whose = of_request(self.traffic, self.who, i, -1)
        stream = _Stream(hop, row, r.session_id, r.stream, r.status, r.complete, r.frame)
        self.found.append(_Found([], i, whose.name, whose.process, [], self._relayed(row), stream))


@no_cycles()
def budget(traffic: Traffic, waits: Mapping[str | None, Waits]) -> Division:
    """Every request of the captures, divided, in order of beginning.

    Parameters
    ----------
    waits : by capture and session, when data that had to be sent again was waited for, or a window was shut; each capture's own times.
    """
    return _Dividing(traffic, waits).all()
