"""The time budget: where the wall time of each request went, divided without rest.

Theory of operation
-------------------
1. A request begins with the first packet that was sent for it (its lookup, its connection, or itself, see :mod:`netlens.chains.openings`) and ends with the
   last byte of its answer, both where its program runs or as near to it as was captured.
2. *Hops.* The same request in the program's capture, on each relay's connections, and upstream. What lies between two of them is the relay's, each way:
   of the lookup, of SYN and SYN+ACK, of each turn of the TLS handshake, of the request and of the answer's first byte alike. So the share of a tunnel is
   measured: how long the program waited, less how long the host waited. Of what was lost between two captures only the one that came through was on the way;
   waiting to send it again is time of its phase.
3. *Painting* (:mod:`netlens.chains.painting`). The time line is painted with the program's view first, then with what each further hop shows of the same
   time, then the wire's round trip, then the stalls. Later paint covers earlier, so every nanosecond has one phase, and the sum is the total.
4. *The wire* is a round trip as the last hop shows it, half of it before and half behind the server; and while a request is sent in pieces, the time in
   which earlier ones are not acknowledged. An acknowledgment of one segment may be delayed: that is no such time. The round trip is the shortest of the
   connection: from SYN to SYN+ACK, or from the client's data to what comes next and acknowledges just that. A handshake may have waited for a neighbour's
   address, and of a SYN that was sent twice nobody knows which one was answered (RFC 6298 3). What stood in a queue before it was with the server shows by
   its acknowledgment: that of more than one segment, or of what fills a hole, is not delayed (RFC 5681 4.2).
5. *No answer.* What a request waited that got none is no time of the server: nobody knows whether it worked on it, or ever had it. So is it if the client
   had closed before the answer came, and took nothing of it: it reset the connection (RFC 9293 3.10.7.4).
6. *Two clocks.* The VM's times are on the host's clock as well as that is known (:mod:`netlens.chains.clock`). They are moved within what is not known so
   that no answer leaves before it came; where nothing is known, so that both ways took as long. The relay's total does not depend on it.

Limits: HTTP/2 is divided only where a key log shows its streams, and only as upstream shows it. What a connection that was opened ahead (a pool's spare
one, ready for more than :data:`~netlens.chains.openings.SOON_NS`) took to open was waited for by nobody and is in no budget. Beyond :data:`MOST` requests
none is divided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from netlens.addresses import is_loopback
from netlens.arrays import no_cycles
from netlens.chains import overlap, paths
from netlens.chains.divided import PHASES, RELAY, WIRE, Division, Ragged, Words
from netlens.chains.openings import MOMENTS, RESENT_NS, openings
from netlens.chains.painting import Ahead, Hop, Hops, Spans, divide
from netlens.chains.parties import of_requests, who
from netlens.chains.side import Side
from netlens.chains.situation import VM
from netlens.chains.traffic import Traffic
from netlens.columns import NEVER, Bools, Ints, as_they_come, objects
from netlens.text import endpoint
from netlens.wire.columns import ACK_FLAG, RST, SYN

MOST = 50_000  #: requests that are divided; each takes some 10 µs
DELAYED_NS = 35_000_000  #: acknowledgments are delayed by 40 ms at least (Linux; 200 ms elsewhere)
AT_ONCE_NS = 100_000_000  #: so soon behind its last words closes who waits for nothing
LONG_SENDING_NS = 1_000_000  #: a request that takes less to send is in one flight
ONE_FLIGHT = 14_600  #: bytes of a first flight (RFC 6928 2); what is longer may fill a queue
OPENING_FRAMES = 64  #: the first request of HTTP/2 comes within these of what seems the first turn of its connection
NETWORK = "network"  #: between two captures with no relay that takes time: the line

#: Times in which something was waited for, by session: data sent again, a shut window.
Waits = Mapping[int, Spans]


# --- from captures to hops


class _View:
    """One capture's exchanges as hops; times are moved to the host's clock by ``moved``."""

    def __init__(self, side: Side, waits: Waits, moved: Callable[[Ints], Ints]) -> None:
        self.side, self.waits, self.moved = side, waits, moved
        self.table = x = side.capture.table("exchanges")
        owner = overlap.owner_rows(x, side.connections)
        rows = overlap.exchange_intervals(x, None, side.connections).rows
        rows = rows[owner[rows] >= 0]
        self.owner = owner
        by_connection = rows[np.argsort(owner[rows], kind="stable")]
        self._of, self._begins = by_connection, np.searchsorted(owner[by_connection], np.arange(side.connections.rows + 1))
        #: by exchange, its place among those of its connection
        self.place = np.full(x.rows, -1)
        self.place[by_connection] = np.arange(len(rows)) - self._begins[owner[by_connection]]
        firsts = rows[self.place[rows] == 0]
        start, sent = x["start_ns"].astype(np.int64), x["request_end_ns"].astype(np.int64)
        answered, end = x.ints("response_ns", NEVER), x.ints("end_ns", NEVER)
        closed = np.minimum(side.end_ns, np.where(side.done_ns >= 0, side.done_ns, NEVER))[owner] if side.connections.rows else end
        session = x["session_id"].astype(np.int64)
        fin = side.sessions.ints("orig_fin_ns", NEVER)[session]
        given_up = self._given_up(fin, answered)
        answered, closed = np.where(given_up, NEVER, answered), np.where(given_up, fin, closed)
        silent = answered == NEVER
        known = ((side.sessions["protocol"] == "http") | (side.sessions["protocol"] == "tls"))[session]  # whose requests have answers
        #: by exchange, whether the client closed right behind it: its farewell, for which nobody waits (PostgreSQL's Terminate, QUIT)
        self.farewell = silent & ~known & (fin != NEVER) & (fin - AT_ONCE_NS < sent)
        self.start, self.sent = moved(start), moved(np.where(silent, sent, np.minimum(sent, answered)))
        self.answered = np.where(silent, NEVER, moved(np.where(silent, sent, answered)))
        self.end = moved(np.where(silent, np.maximum(closed, sent), np.maximum(end, answered)))
        self.session, self.frame = session, x["start_frame"].astype(np.int64)
        #: how connections were opened, and by place in that, the rows of lookups that were waited for
        self.opened, self.lookups = openings(side, owner[firsts], self.frame[firsts])
        #: by exchange, the row of ``opened`` that says how its connection was opened for it; -1 of those that are not its first
        self.opening_of = np.full(x.rows, -1)
        self.opening_of[firsts] = np.arange(len(firsts))
        #: exchanges, those of the connection first that was asked first
        self.listed = rows[np.lexsort((rows, self._of[self._begins[owner[rows]]]))]
        self.opened[self.opened != NEVER] = moved(self.opened[self.opened != NEVER])
        late = np.zeros(side.sessions.rows, np.int64)
        late[list(waits)] = 1
        self.waiting = side.most(late)[owner] > 0 if side.connections.rows else np.zeros(x.rows, bool)
        self.shared = np.zeros(side.connections.rows, bool)
        self.shared[list(side.shared)] = True
        #: local ports that connections were redirected to, with their path
        self.proxies = {port: path for port, path in side.connections.tuples("redirect_port", "path") if port is not None}
        self.http = x.ints("status", -1)
        self.complete = x["complete"] & ~given_up

    def _given_up(self, fin: Ints, answered: Ints) -> Bools:
        """Of exchanges, whether the client had closed before the answer came, and took nothing of it."""
        out = np.zeros(self.table.rows, bool)
        reset = self.side.sessions.ints("rst_ns", NEVER)[self.table["session_id"].astype(np.int64)]
        for k in np.flatnonzero((fin < answered) & (answered != NEVER) & (reset != NEVER) & (reset >= answered)).tolist():
            out[k] = self._took_nothing(k)
        return out

    def _took_nothing(self, k: int) -> bool:
        """Whether the client resets the connection without having acknowledged a byte of an answer."""
        trail, turn = self.side.capture.trail, self._turn(k)
        if trail is None or turn is None:
            return False
        t, (low, came, stop) = trail.segments(), turn
        begins = t["offset"][came]
        mine = t["way"][came:stop] == t["way"][low]
        flags, acked = t["flags"][came:stop][mine], t["acked"][came:stop][mine]
        resets = np.flatnonzero(flags & RST)
        return bool(len(resets)) and not ((flags[: resets[0]] & ACK_FLAG != 0) & (acked[: resets[0]] > begins)).any()

    def _turn(self, k: int) -> tuple[int, int, int] | None:
        """Rows of the trail's segments at which an exchange that was answered and its answer begin, and behind the last one of their session; None where these
        are not there."""
        x, trail = self.table, self.side.capture.trail
        if trail is None:
            return None
        frames, all_ = trail.segments()["frame"], trail.of(int(x["session_id"][k]))
        low, came = (all_.start + int(np.searchsorted(frames[all_], x[name][k])) for name in ("start_frame", "response_frame"))
        return (low, came, all_.stop) if low < came < all_.stop else None

    def of(self, row: int) -> Ints:
        """Exchanges of a connection."""
        return self._of[self._begins[row] : self._begins[row + 1]]

    def many(self, rows: Ints) -> Ints:
        """How many exchanges connections have."""
        return self._begins[rows + 1] - self._begins[rows]

    def at(self, rows: Ints, places: Ints) -> Ints:
        """Exchanges of connections at these places."""
        return self._of[self._begins[rows] + places]

    def waited(self, k: int) -> Spans:
        """What was waited for while an exchange lasted."""
        waits = [span for s in self.side.session_ids[self.owner[k]] for span in self.waits.get(s, ())]
        return [(a, b) for a, b in self._spans(waits) if a < self.end[k] and b > self.start[k]]

    def flights(self, k: int, trip_ns: int) -> Spans:
        """While the request was sent, bytes on their way. ``trip_ns``: a round trip, NEVER if unknown."""
        return self._spans(self._in_flight(k, trip_ns))

    def landed(self, k: int, trip_ns: int) -> int:
        """When all of a request was at its other end, by what that acknowledged before the answer; NEVER where nothing tells. ``trip_ns``: a round trip."""
        trail = self.side.capture.trail
        if trail is None or trip_ns == NEVER or self.answered[k] == NEVER or (turn := self._turn(k)) is None:
            return NEVER
        t, (low, came, _) = trail.segments(), turn
        part = slice(low, came)
        ts, offset, length, acked = (t[name][part].astype(np.int64) for name in ("ts", "offset", "length", "acked"))
        mine = t["way"][part] == t["way"][low]
        sent, heard = np.flatnonzero(mine & (length > 0)), np.flatnonzero(~mine & (t["flags"][part] & (ACK_FLAG | SYN) == ACK_FLAG))
        if not len(sent):
            return NEVER
        ends, back = offset[sent] + length[sent], trip_ns - trip_ns // 2
        upto, total = np.maximum.accumulate(acked[heard]), ends.max()
        whole = int(np.searchsorted(upto, total))
        if whole < len(heard):
            sent = sent[sent < heard[whole]]
            ends, heard, upto = ends[: len(sent)], heard[: whole + 1], upto[: whole + 1]
        if not len(sent):
            return NEVER
        least = int(ts[sent[-1]]) + trip_ns // 2  # what is sent again is there no sooner
        new = np.diff(upto, prepend=offset[0]) > length[sent].max()  # more than one segment: at once
        if whole < len(heard) and (new[-1] or ends[-1] < total):
            return self._moved(max(least, int(ts[heard[-1]]) - back))
        most = int(ts[heard[-1]]) - back if whole < len(heard) else NEVER
        if new.any() and (np.diff(ends) > 0).all():  # each sent once: the last one takes as long as what was acknowledged before it
            i = int(np.flatnonzero(new)[-1])
            took = int(ts[heard[i]] - ts[sent[np.searchsorted(ends, upto[i])]])
            return self._moved(max(least, min(int(ts[sent[-1]]) + took - back, most)))
        return self._moved(least)

    def _moved(self, ns: int) -> int:
        """By the host's clock."""
        return int(self.moved(np.array([ns], np.int64))[0])

    def _spans(self, spans: Spans) -> Spans:
        """By the host's clock."""
        if not spans:
            return []
        moved = self.moved(np.array(spans, np.int64).reshape(-1)).reshape(-1, 2)
        return [(a, b) for a, b in moved.tolist()]

    def _in_flight(self, k: int, trip_ns: int) -> Spans:
        """While the request was sent, when bytes of it were not yet acknowledged: the program had handed them over. One segment alone may be acknowledged
        up to half a second after it came (RFC 9293 3.8.6.3), so it is on its way for a round trip."""
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
        since, upto, at, sent, many = None, 0, 0, int(self.sent[k]), 0
        for ts, moved, mine, length, offset, acked in zip(*(column.tolist() for column in columns), strict=True):
            if moved > sent:
                break
            at = ts
            if mine and length:
                since, upto, many = (ts if since is None else since), max(upto, offset + length), many + 1
            elif not mine and since is not None and acked >= upto:
                late = many == 1 and ts - since >= max(DELAYED_NS, 2 * trip_ns)
                out.append((since, since + trip_ns if late else ts))
                since, many = None, 0
        return out if since is None else [*out, (since, at)]

    def server(self, row: int) -> str:
        c = self.side.connections
        name, address = c["sni"][row], (c["resp_ip"][row], c["resp_port"][row])
        proxy = self.proxies.get(address[1]) if is_loopback(address[0]) else None
        if proxy is not None:  # half of a connection; the server's own port is in the other one
            return f"{name or endpoint(*address)} (redirected to {'sshuttle' if proxy == paths.SSHUTTLE else 'a local proxy'})"
        return f"{name}:{address[1]}" if name else endpoint(*address)

    def round_trips(self) -> Ints:
        """Per connection, a round trip to the server: its own shortest, else the usual one to the same server; without what is behind a local proxy.
        NEVER: unknown."""
        handshake, shortest, c = self.side.least(self._handshakes()), self.side.least(self._soonest()), self.side.connections
        beyond = (c["path"] != paths.SSHUTTLE) | ((c["vantage"] != "vm") & (self.side.name != "vm"))
        beyond &= c.ints("redirect_port", -1) < 0
        known = beyond & (handshake != NEVER)
        own = np.where(known, np.minimum(handshake, shortest), NEVER)
        lacking = np.flatnonzero(beyond & ~known).tolist()
        servers = list(c.tuples("resp_ip", "resp_port")) if lacking else []
        usual: dict[Any, list[int]] = {servers[row]: [] for row in lacking}
        for row in np.flatnonzero(known).tolist() if lacking else ():
            if servers[row] in usual:
                usual[servers[row]].append(own[row])
        middle = {server: int(np.median(trips)) for server, trips in usual.items() if trips}
        for row in lacking:
            if servers[row] in middle:
                own[row] = min(middle[servers[row]], shortest[row])
        return own

    def _handshakes(self) -> Ints:
        """Per session, the round trip of its handshake; NEVER where there is none, or SYN or SYN+ACK was sent twice."""
        s, trail = self.side.sessions, self.side.capture.trail
        took = np.nan_to_num(s["synack_ms"], nan=-1.0)
        out = np.where(took >= 0, np.round(took * 1e6).astype(np.int64), NEVER)
        if trail is None or not s.rows:
            return out
        t = trail.segments()
        syns = np.flatnonzero(t["flags"] & SYN)
        of, ts, way = t["session"][syns], t["ts"][syns], t["way"][syns]
        for its in (way == 0, way == 1):
            first, last = np.full(s.rows, NEVER), np.full(s.rows, -1)
            np.minimum.at(first, of[its], ts[its])
            np.maximum.at(last, of[its], ts[its])
            out[(last >= first) & (last - np.minimum(first, last) >= RESENT_NS)] = NEVER
        return out

    def _soonest(self) -> Ints:
        """Per session, how soon what acknowledges just that came behind data of the client, at the soonest; NEVER: never. No round trip is longer."""
        s, trail = self.side.sessions, self.side.capture.trail
        out = np.full(s.rows, NEVER)
        if trail is None or not s.rows:
            return out
        t = trail.segments()
        session, way, ts = t["session"], t["way"], t["ts"]
        before = np.flatnonzero((session[1:] == session[:-1]) & (way[1:] != way[:-1]) & (t["length"][:-1] > 0))
        before = before[t["flags"][before + 1] & (ACK_FLAG | SYN | RST) == ACK_FLAG]
        before = before[(t["acked"][before + 1] == t["offset"][before] + t["length"][before]) & (ts[before + 1] >= ts[before])]
        of = session[before]
        mine = (way[before] == self.side.originator[of]) & (s["orig_retransmits"][of] == 0)
        np.minimum.at(out, of[mine], (ts[before + 1] - ts[before])[mine])
        return out


class _Found(NamedTuple):
    """Requests on their way from the program to the server, int64[n] each.

    hops : number of a view and exchange of each.  request : of the situation, or -1.  whose : number of party and process.  way : number of the relays.
    relayed : a relay that was not captured on both sides carries it.  stream : number of one of HTTP/2 upstream, whose hop is (-1, -1); else -1.
    """

    hops: Ragged
    request: Ints
    whose: Ints
    way: Ints
    relayed: Ints
    stream: Ints

    @classmethod
    def of(cls, hops: Sequence[tuple[Any, Ints]], request: int | Ints, whose: Ints, way: int | Ints, relayed: int | Ints) -> _Found:
        """Of requests with equally many hops."""
        n = len(whose)
        flat = (np.stack([np.broadcast_to(hop[k], n) for hop in hops], axis=1).reshape(-1) for k in (0, 1))
        columns = (np.broadcast_to(np.asarray(column, np.int64), n) for column in (request, whose, way, relayed, -1))
        return cls(Ragged(np.arange(n + 1) * len(hops), tuple(flat)), *columns)

    @classmethod
    def joined(cls, parts: Sequence[_Found]) -> _Found:
        counts = np.concatenate([np.diff(part.hops.offsets) for part in parts])
        hops = tuple(np.concatenate(column) for column in zip(*(part.hops.columns for part in parts), strict=True))
        columns = (np.concatenate(column) for column in zip(*(part[1:] for part in parts), strict=True))
        return cls(Ragged(np.append(0, np.cumsum(counts)), hops), *columns)

    def take(self, index: Ints) -> _Found:
        return _Found(self.hops.take(index), *(column[index] for column in self[1:]))


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
        self.used = [np.zeros(len(view.place), bool) for view in self.views]
        self.lookup_of = {} if traffic.pairing is None else dict(traffic.pairing.lookup_pairs.tolist())
        self.streams: list[_Stream] = []
        self.parties, self.ways = Words(), Words()
        self.straight = self.ways.number(())

    def all(self) -> Division:
        """Requests to the target, then all others."""
        asked = self._requests()
        found = _Found.joined([asked, *self._others(max(MOST - len(asked.request), 0))])
        hops = self._hops(found)
        n, near = len(found.request), found.hops.columns[0][hops.first]
        uncertain = np.zeros(n, np.int64)
        two_clocks = np.flatnonzero((np.diff(hops.offsets) > 1) & (near == PROGRAM))
        if len(two_clocks):
            uncertain[two_clocks] = self._one_clock(hops, two_clocks)
        ahead = self._lookups_ahead(found, two_clocks)
        number, last = (column[hops.last] for column in found.hops.columns)
        trips = np.full(n, NEVER)
        for k, view in enumerate(self.views):
            trips[number == k] = self.trips[k][view.owner[last[number == k]]]
        trips[found.stream >= 0] = self.trips[UP][[self.streams[k].row for k in found.stream[found.stream >= 0].tolist()]]
        return self._division(found, hops, divide(hops, trips, ahead), uncertain, trips == NEVER)

    def _hops(self, found: _Found) -> Hops:
        """All hops of what was found, in its order."""
        numbers, exchanges = found.hops.columns
        streams = [[self.streams[k].hop] for k in found.stream[found.stream >= 0].tolist()]
        n = len(numbers)
        start, sent, answered, end = (np.empty(n, np.int64) for _ in range(4))
        opened, was_first = np.full((n, len(MOMENTS)), NEVER), np.zeros(n, bool)
        landed, last = np.full(n, NEVER), np.zeros(n, bool)
        last[found.hops.offsets[1:] - 1] = True
        waits: list[tuple[int, int, int]] = []
        flights: list[tuple[int, int, int]] = []
        for number, view in enumerate(self.views):
            at = np.flatnonzero(numbers == number)
            k = exchanges[at]
            start[at], sent[at], answered[at], end[at] = (
                view.start[k],
                np.maximum(view.sent[k], view.start[k]),
                view.answered[k],
                view.end[k],
            )
            firsts = view.opening_of[k]
            opened[at[firsts >= 0]], was_first[at] = view.opened[firsts[firsts >= 0]], firsts >= 0
            long, trips = view.sent[k] - view.start[k] > LONG_SENDING_NS, self.trips[number][view.owner]
            many = last[at] & (long | (view.table["up_bytes"][k] > ONE_FLIGHT))
            queued = dict(zip(at[many].tolist(), k[many].tolist(), strict=True))
            if view.waits:
                late = view.waiting[k]
                for hop, each in zip(at[late].tolist(), k[late].tolist(), strict=True):
                    waits += [(hop, a, b) for a, b in view.waited(each)]
                    if last[hop] and waits and waits[-1][0] == hop:
                        queued[hop] = each
            for hop, each in queued.items():
                landed[hop] = view.landed(each, int(trips[each]))
            flights += [
                (hop, a, b)
                for hop, each in zip(at[long].tolist(), k[long].tolist(), strict=True)
                for a, b in view.flights(each, int(trips[each]))
            ]
        if streams:
            theirs, at = Hops.of(streams), np.flatnonzero(numbers < 0)
            start[at], sent[at], answered[at], end[at] = theirs.start, theirs.sent, theirs.answered, theirs.end
            opened[at], was_first[at] = theirs.opened, theirs.was_first
            waits += [(int(at[hop]), a, b) for hop, a, b in theirs.waits.tolist()]
        spans = [np.array(each, np.int64).reshape(-1, 3) for each in (waits, flights)]
        return Hops(found.hops.offsets, start, sent, answered, end, opened, was_first, spans[0], spans[1], landed)

    def _division(self, found: _Found, hops: Hops, spells: Ragged, uncertain: Ints, unknown_trip: Bools) -> Division:
        (number, k), (other, last) = ([column[at] for column in found.hops.columns] for at in (hops.first, hops.last))
        request, stream = found.request, np.full(len(k), -1)
        session, complete, frame, first_status, status, near, far = (np.zeros(len(k), np.int64) for _ in range(7))
        for n, view in enumerate(self.views):
            first, end = number == n, other == n
            session[first], frame[first], near[first] = view.session[k[first]], view.frame[k[first]], view.owner[k[first]]
            first_status[first], status[end], far[end] = view.http[k[first]], view.http[last[end]], view.owner[last[end]]
            complete[first] |= view.complete[k[first]]
            complete[end] |= view.complete[last[end]]
        by_server = request >= 0  # of others the server is what the program asked
        status = np.where(status > 0, status, first_status)
        asked, row = np.where(by_server, other, number), np.where(by_server, far, near)
        for i in np.flatnonzero(found.stream >= 0).tolist():
            asked[i], number[i] = UP, UP
            _, row[i], session[i], stream[i], answer, complete[i], frame[i] = self.streams[found.stream[i]]
            status[i] = -1 if answer is None else answer
        told = objects([None if v < 0 else v for v in status.tolist()])
        servers, (there, which) = Words(), as_they_come(asked, row)
        server = np.array([servers.number(self.views[n].server(r)) for n, r in there.tolist()], np.int64)[which]
        (parties, whose), (ways, way) = (as_they_come(numbers) for numbers in (found.whose, found.way))
        wired = np.zeros(len(k), bool)
        wired[spells.owner[spells.columns[2] == PHASES.index(WIRE)]] = True
        hidden = np.zeros((len(k), len(PHASES)), bool)
        hidden[:, PHASES.index(RELAY)] = found.relayed
        # of a stream, which has one hop, what is sent with pauses in between is not looked for
        hidden[:, PHASES.index(WIRE)] = unknown_trip & (~wired | (stream >= 0))
        vantages = np.where(found.hops.columns[0] < 0, UP, found.hops.columns[0])
        passes = Ragged(hops.offsets, (vantages, found.hops.columns[1], hops.start, hops.sent, hops.answered, hops.end))
        return Division(
            [view.side.name for view in self.views], servers.values, [self.parties.values[n] for n in parties[:, 0]],
            [self.ways.values[n] for n in ways[:, 0]], number, k, session, stream, server, request, whose, way, hidden, uncertain, told,
            complete.astype(bool), frame, spells, passes,
        )  # fmt: skip

    # -- requests to the target

    def _requests(self) -> _Found:
        """The situation's requests: from the VM's exchange over the relays of the host to the one upstream."""
        place, in_vm, key = self.traffic.rows[:MOST].T
        everybody, of = self.traffic.once(of_requests)
        whose = np.array([self.parties.number((who.name, who.process)) for who in everybody], np.int64)[of[: len(place)]]
        (row, exchange), (vm_row, vm_exchange) = _stands(self.up, place), _stands(self.traffic.vm, in_vm)
        plain = key < 0
        for view, its, k in zip(self.views, (row, vm_row), (exchange, vm_exchange), strict=False):  # turns of HTTP/2 are no requests
            plain[its >= 0] &= ~view.shared[its[its >= 0]]
            plain[k >= 0] &= ~view.farewell[k[k >= 0]]
        carried = plain & (np.isin(place, list(self.traffic.asked_of_relay)) | np.isin(row, list(self.traffic.served)))
        plain &= ~carried
        both, one, rest = (
            np.flatnonzero(plain & ((exchange >= 0) == up) & ((vm_exchange >= 0) == vm)) for up, vm in ((1, 1), (1, 0), (0, 1))
        )
        found = [
            _Found.of([(PROGRAM, vm_exchange[both]), (UP, exchange[both])], both, whose[both], _by_row(self._entered, row[both]), 0),
            _Found.of([(UP, exchange[one])], one, whose[one], self.straight, _by_row(self._relayed, row[one])),
            _Found.of([(PROGRAM, vm_exchange[rest])], rest, whose[rest], self.straight, 0),
        ]
        for i in np.flatnonzero(carried).tolist():
            found.append(self._carried(i, int(place[i]), int(row[i]), int(exchange[i]), int(vm_exchange[i]), whose[i : i + 1]))
        for i in np.flatnonzero(key >= 0).tolist():
            made = self._stream(int(key[i]))
            hops = [(np.int64(-1), np.full(1, -1))]
            of_one = _Found.of(hops, i, whose[i : i + 1], self.straight, int(self._relayed(made.row)))
            found.append(of_one._replace(stream=np.full(1, len(self.streams))))
            self.streams.append(made)
        out = _Found.joined(found)
        self._use(out)
        return out.take(np.argsort(out.request))

    def _use(self, found: _Found) -> None:
        number, exchange = found.hops.columns
        for k, used in enumerate(self.used):
            used[exchange[number == k]] = True

    def _carried(self, i: int, place: int, row: int, exchange: int, vm_exchange: int, whose: Ints) -> _Found:
        """A request that relays of the upstream's machine carry on."""
        before, between, own = paths.parts(self.traffic, row)
        hops = self._inner(exchange, row, between, place)
        hops.append((UP, exchange, between[-1] if hops and between else ""))
        if vm_exchange >= 0:
            hops[0] = (*hops[0][:2], _by([*before, *(own if len(hops) == 1 else [])]))
            hops.insert(0, (PROGRAM, vm_exchange, ""))
        way = np.full(1, self.ways.number(tuple(relay for _, _, relay in hops[1:])))
        return _Found.of([(number, np.full(1, k)) for number, k, _ in hops], i, whose, way, int(len(hops) == 1 and self._relayed(row)))

    def _inner(self, k: int, row: int, between: list[str], place: int) -> list[tuple[int, int, str]]:
        """The same request on the connections that relays of the upstream's machine carried on, the first first."""
        asked = self.traffic.asked_of_relay.get(place)
        if asked is not None:
            return [(UP, int(asked), "")]
        mine = self.upstream.of(row).tolist()
        out: list[tuple[int, int, str]] = []
        for n, hop in enumerate(self.traffic.served.get(row, ())):
            theirs = self.upstream.of(hop).tolist()
            if k in mine and len(theirs) == len(mine):
                out.append((UP, theirs[mine.index(k)], between[n - 1] if n else ""))
        return out if len(out) == len(self.traffic.served.get(row, ())) else []

    def _entered(self, row: int) -> int:
        """Number of what lies between the VM and a connection of the upstream's that no relay there carries on."""
        before, _, own = paths.parts(self.traffic, row)
        return self.ways.number((_by([*before, *own]),))

    def _relayed(self, row: int) -> bool:
        """Whether something that this capture does not show from both sides carries a connection of the upstream's."""
        before, between, own = paths.parts(self.traffic, row)
        hidden = before or between or {paths.SSHUTTLE, paths.REDIRECT}.intersection(own)
        return bool(hidden) or (int(self.traffic.origin[row]) == VM and self.up.name != "vm")

    def _stream(self, key: int) -> _Stream:
        """A request of HTTP/2, which only a key log shows."""
        assert self.traffic.beside.keys is not None
        r = self.traffic.beside.keys.rows[key]
        row = self.up.connection_of[r.session_id]
        sent = r.request_end_ns if r.request_end_ns is not None else r.start_ns
        end = r.end_ns if r.end_ns is not None else int(self.up.end_ns[row])
        answered = None if r.response_ns is None else max(r.response_ns, r.start_ns)
        first = self.upstream.of(row)[:1]
        opened = self.upstream.opening_of[first[self.upstream.frame[first] >= r.frame - OPENING_FRAMES]]
        opening = self.upstream.opened[opened[0]] if len(opened) else None
        waits = [span for s in self.up.session_ids[row] for span in self.upstream.waits.get(s, ())]
        hop = Hop(r.start_ns, sent if answered is None else min(sent, answered), answered, max(end, r.start_ns), opening, waits)
        return _Stream(hop, row, r.session_id, r.stream, r.status, r.complete, r.frame)

    # -- what goes elsewhere

    def _others(self, most: int) -> list[_Found]:
        """Up to ``most`` exchanges that go elsewhere, the VM's first."""
        out: list[_Found] = []
        if self.vm is not None:
            out.append(self._others_of_vm(self.vm, most))
            most -= len(out[0].request)
            self._use(out[0])
        k = self._left(UP)[:most]
        everybody = self.traffic.once(who)
        whose = _by_row(lambda row: self.parties.number((everybody[row].name, everybody[row].process)), self.upstream.owner[k])
        return [*out, _Found.of([(UP, k)], -1, whose, self.straight, self._local(UP, k))]

    def _others_of_vm(self, vm: _View, most: int) -> _Found:
        k = self._left(PROGRAM)[:most]
        row, pairs = vm.owner[k], self.traffic.pairing
        mate = np.full(len(k), -1) if pairs is None else pairs.host_of[row]
        alike = np.flatnonzero((mate >= 0) & (self.upstream.many(mate) == vm.many(row)))
        same = self.upstream.at(mate[alike], vm.place[k[alike]])
        free = np.flatnonzero(~self.used[UP][same])
        free = free[np.unique(same[free], return_index=True)[1]]
        alike, same = alike[free], same[free]
        processes = self.traffic.processes.get("vm", {})
        whose = _by_row(lambda row: self.parties.number(("VM", processes.get(row))), row)
        alone = np.setdiff1d(np.arange(len(k)), alike)
        found = _Found.joined(
            [
                _Found.of([(PROGRAM, k[alike]), (UP, same)], -1, whose[alike], _by_row(self._between, self.upstream.owner[same]), 0),
                _Found.of([(PROGRAM, k[alone])], -1, whose[alone], self.straight, self._local(PROGRAM, k[alone])),
            ]
        )
        return found.take(np.argsort(np.concatenate([alike, alone])))

    def _left(self, number: int) -> Ints:
        """Exchanges that are of no request yet, without turns of HTTP/2, farewells, and what carries packets."""
        view = self.views[number]
        carries = view.side.vpn & ~view.side.target
        owner = view.owner[view.listed]
        return view.listed[~(self.used[number][view.listed] | view.shared[owner] | view.farewell[view.listed] | carries[owner])]

    def _local(self, number: int, k: Ints) -> Ints:
        """Of exchanges, whether they end at a relay on the machine itself."""
        view = self.views[number]
        c = view.side.connections
        return _by_row(lambda row: c["path"][row] == paths.SSHUTTLE or is_loopback(c["resp_ip"][row]), view.owner[k])

    def _between(self, row: int) -> int:
        """Number of all relays of a connection of the upstream's as one."""
        return self.ways.number((_by([relay for part in paths.parts(self.traffic, row) for relay in part]),))

    # -- two clocks

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

    def _lookups_ahead(self, found: _Found, requests: Ints) -> Ahead:
        """The programs' lookups as the upstream's capture shows them; a tunnel that carries lookups only is added to the relays."""
        rows: list[tuple[int, int, int, int]] = []
        if self.vm is None:
            return Ahead(*np.empty((4, 0), np.int64))
        table, way_of = self.up.capture.table("lookups"), self.vm.side.capture.table("lookups")["path"]
        asked_again = self.vm.side.capture.table("lookups")["attempts"].tolist()
        asked_ns, told_ns = table.ints("query_ns", NEVER), table.ints("answer_ns", NEVER)
        opened = self.vm.opening_of[found.hops.columns[1][found.hops.offsets[requests]]]
        lookups, ways = self.vm.lookups, self.ways.values
        for request, opening in zip(requests[opened >= 0].tolist(), opened[opened >= 0].tolist(), strict=True):
            mine = [row for row in lookups.get(opening, ()) if row in self.lookup_of]
            if any(asked_again[row] > 1 for row in lookups.get(opening, ())):
                continue  # nobody knows which question came through, and waiting to ask again is no time on the way
            there = [self.lookup_of[row] for row in mine]
            asked = [int(asked_ns[k]) for k in there if asked_ns[k] != NEVER]
            told = [int(told_ns[k]) for k in there if told_ns[k] != NEVER]
            if not asked or not told:
                continue
            way, relays = str(way_of[mine[0]]), ways[found.way[request]]
            if way == paths.SSHUTTLE and not any(way in relay for relay in relays):
                relays = (*relays, way)
                found.way[request] = self.ways.number(relays)
            rows.append((request, min(asked), max(told), next((k for k, relay in enumerate(relays) if way in relay), 0)))
        return Ahead(*np.array(rows, np.int64).reshape(-1, 4).T)


def _stands(side: Side | None, places: Ints) -> tuple[Ints, Ints]:
    """Row of the connection and of the exchange of what stands at places of a side's requests; -1 of what does not (-1)."""
    row, exchange = np.full((2, len(places)), -1)
    if side is not None:
        there = places >= 0
        row[there], exchange[there] = side.owner[places[there]], side.exchange_rows[places[there]]
    return row, exchange


def _by(relays: list[str]) -> str:
    """What the time between two captures is called: by the relays that take any. Translation and bridges take microseconds, so else it is the line's."""
    return ">".join(relay for relay in relays if relay not in (paths.NAT, paths.BRIDGE)) or NETWORK


def _by_row(function: Callable[[int], int], rows: Ints) -> Ints:
    """A function of rows, worked out once of equal ones, in the order in which they come."""
    alike, which = as_they_come(rows)
    return np.array([function(row) for row in alike[:, 0].tolist()], np.int64)[which]


@no_cycles()
def budget(traffic: Traffic, waits: Mapping[str | None, Waits]) -> Division:
    """Every request of the captures, divided, in order of beginning.

    Parameters
    ----------
    waits : by capture and session, when data that had to be sent again was waited for, or a window was shut; each capture's own times.
    """
    made = _Dividing(traffic, waits).all()  # what it took to divide them is gone before they are put in order
    return made.take(np.lexsort((made.frame, made.begin_ns)))
