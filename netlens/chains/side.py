"""One capture and what was found in it: which connections go to the target, and the requests on them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from netlens.api import Capture
from netlens.chains import overlap
from netlens.chains.asked import Stream
from netlens.chains.explained.counting import Counted
from netlens.columnar import Nullable
from netlens.columns import NEVER, Bools, Ints, ints
from netlens.parsers import connections, http2
from netlens.parsers.exchanges import ALERT_RECORD
from netlens.parsers.records import ALERT, APPLICATION, Records
from netlens.parsers.session_state import FSM, MATE, ORIGINATOR_SHIFT
from netlens.schema import Table

#: An answer after which a connection stayed silent for this long was over. Streams pause between tokens for less; half of it would end some
#: that were broken off while the model was thinking, twice would hold the titles of a program that exits a few seconds later.
SILENCE_NS = 2_000_000_000
#: The rest of a request follows an early answer as soon, and the connection's end follows it as soon: a program that asks anew waits for the answer.
REST_NS, LEFT_NS = 50_000_000, 50_000_000
SOONER = 4  #: times that a refusal by a request's head comes sooner than other answers, at least
REACTS_NS = 1_000_000_000  #: a program that reads a farewell closes as well; one that gives up has waited for longer
RECORD = 5  #: bytes of a TLS record's header
#: Connections of a program with a server that all speak one version of HTTP, for another to speak it, too, which ALPN makes certain (RFC 7301 3.2): of HTTP/2,
#: which shows by what is there, and of HTTP/1.1, which shows by what is not.
CHOSEN = {True: 2, False: 3}
LEANS = -1.0  #: odds for HTTP/2, to the power of ten, of each of the others at most, where fewer show HTTP/1.1
DRAFTS = frozenset(("h2-14", "h2-16"))  #: of HTTP/2, which nghttp offers beside it
HTTP1 = "http/1.1"  #: as ALPN calls it
ONLY_HTTP2 = DRAFTS | {"h2"}  #: a server can choose nothing else then, unless it does not choose at all (RFC 7301 3.2)
HIDDEN_ALERT = APPLICATION << 32 | 0x0303 << 16 | ALERT_RECORD  #: header of an alert's record in TLS 1.3 (RFC 8446 5.2), as a number
OPENVPN_PORT, OPENVPN_RESETS = 1194, (0x38, 0x50)  #: and the first bytes of a client: hard resets, versions 2 and 3
WORDS = {"vm": "VM", "host": "host"}  #: sides as texts call them


@dataclass(frozen=True)
class Seen:
    """How much of its traffic a capture has.

    lost_bytes : acknowledged and not in it; lost_share : of the payload.  one_way : no session has frames of both directions.
    """

    lost_bytes: int
    lost_share: float
    one_way: bool


@dataclass(eq=False)
class Side:
    """One capture. ``name``: "vm", "host", or None where nobody told.

    target : which connections go to the target.  exchange_rows : exchanges of those, of copies one, in order of start; -1 of each of ``streams``, which
        come last.
    owner : row of connections per exchange of ``exchange_rows``.  streams : requests of HTTP/2 that were counted by sizes, in place of turns.
    """

    name: str | None
    capture: Capture
    target: Bools = field(default_factory=lambda: np.zeros(0, bool))
    exchange_rows: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    owner: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    streams: list[Stream] = field(default_factory=list)
    read_of: dict[int, int] = field(default_factory=dict)  #: session of each connection that these were read from
    counted: dict[int, Counted] = field(default_factory=dict)  #: what is known of their number, by row of connections

    @cached_property
    def connections(self) -> Table:
        return self.capture.table("connections")

    @cached_property
    def sessions(self) -> Table:
        return self.capture.table("sessions")

    @property
    def bounds_ns(self) -> tuple[int, int]:
        """First and last time; 0 where no frame has a time."""
        return self.capture.part.bounds_ns or (0, 0)

    @cached_property
    def session_ids(self) -> list[list[int]]:
        """Sessions of each connection."""
        ids: list[list[int]] = self.connections["session_ids"].tolist()
        return ids

    @cached_property
    def _members(self) -> tuple[Ints, Ints, Bools]:
        """Sessions of all connections, one connection after the other; where each that has any begins; which have any."""
        counts = np.array([len(ids) for ids in self.session_ids], np.int64)
        flat = np.fromiter(itertools.chain.from_iterable(self.session_ids), np.int64, int(counts.sum()))
        return flat, (np.cumsum(counts) - counts)[counts > 0], counts > 0

    def least(self, of: Ints) -> Ints:
        """Per connection, the least of what its sessions have; :data:`NEVER` without any."""
        return self._joined(np.minimum, of, NEVER)

    def most(self, of: Ints) -> Ints:
        """The same, the most; -1 without any."""
        return self._joined(np.maximum, of, -1)

    def _joined(self, two: np.ufunc, of: Ints, without: int) -> Ints:
        flat, begins, some = self._members
        out = np.full(len(some), without, np.int64)
        if len(begins):
            out[some] = two.reduceat(of[flat], begins)
        return out

    @cached_property
    def connection_of(self) -> dict[int, int]:
        """Row of connections by session."""
        return {k: row for row, ids in enumerate(self.session_ids) for k in ids}

    @cached_property
    def originator(self) -> Ints:
        """Per session, the direction of its originator, as packet rows have it."""
        return (self.capture.part.state()[:, FSM] >> ORIGINATOR_SHIFT) & 1

    @cached_property
    def halves(self) -> set[int]:
        """Sessions that are half of a redirected connection: the other direction stands in another session."""
        ports = self.connections["redirect_port"].tolist()
        return {k for ids, port in zip(self.session_ids, ports, strict=True) if port is not None for k in ids}

    @cached_property
    def by_bridge(self) -> set[int]:
        """Sessions that came in by a port of a bridge."""
        return set(np.flatnonzero(connections.bridged(self.capture.part.state())).tolist())

    @cached_property
    def http2(self) -> dict[int, bool | None]:
        """Whether HTTP/2 is spoken, by session; None: it was offered with other protocols and may be. Those whose hello was not seen are not in it. What does
        not show of one connection shows by others of the same program (JA4) to the same server, if all of them speak the same."""
        hellos, records, mates = self.capture.table("hellos"), self.capture.records, self.capture.part.state()[:, MATE]
        told: dict[int, bool | None] = {}
        leans: dict[int, float] = {}
        for session, alpn in hellos.tuples("session_id", "alpn"):
            if "h2" not in (alpn or ()):
                told[session] = False
            elif session not in told or not told[session]:
                seen = records.of(session, int(mates[session])) if records is not None else None
                told[session] = None if seen is None else http2.spoken(seen)
                if told[session] is None and ONLY_HTTP2.issuperset(alpn):
                    told[session] = True
                leans[session] = 0.0 if seen is None else http2.leaning(seen)
        alike: dict[tuple[str | None, str], set[int]] = {}
        for session, sni, ja4 in hellos.tuples("session_id", "sni", "ja4"):
            alike.setdefault((sni, ja4), set()).add(session)
        for those in alike.values():
            chosen = [told[session] for session in those if told[session] is not None]
            if len(set(chosen)) == 1 and len(chosen) >= CHOSEN[bool(chosen[0])]:
                told |= dict.fromkeys(those, chosen[0])
            elif chosen and not any(chosen) and all(leans.get(session, 0.0) <= LEANS for session in those if told[session] is None):
                told |= dict.fromkeys(those, False)
        return told

    @cached_property
    def begins_at_once(self) -> set[int]:
        """Rows of connections whose client begins all that it asks for in its first write: nghttp, told by the drafts of HTTP/2 that it also offers."""
        return {row for row, alpn in self._offered if not DRAFTS.isdisjoint(alpn)}

    @cached_property
    def begins_one(self) -> set[int]:
        """Rows of connections whose client seldom begins several requests in one write: it offers HTTP/1.1 beside HTTP/2, as programs do that were not made for
        HTTP/2 alone, and no drafts."""
        return {row for row, alpn in self._offered if HTTP1 in alpn and DRAFTS.isdisjoint(alpn)}

    @cached_property
    def _offered(self) -> list[tuple[int, tuple[str, ...]]]:
        """Rows of connections, and what their clients offer (ALPN)."""
        offered = self.capture.table("hellos").tuples("session_id", "alpn")
        return [(self.connection_of[k], alpn or ()) for k, alpn in offered if k in self.connection_of]

    @cached_property
    def ja4(self) -> dict[int, int]:
        """Number of the kind of ClientHello (JA4), by row of connections; those without a hello are not in it."""
        kinds: dict[str, int] = {}
        hellos = self.capture.table("hellos").tuples("session_id", "ja4")
        return {self.connection_of[k]: kinds.setdefault(ja4, len(kinds)) for k, ja4 in hellos if k in self.connection_of}

    @cached_property
    def shared(self) -> set[int]:
        """Rows of connections that speak HTTP/2: their turns are no requests."""
        spoken = {k for k, told in self.http2.items() if told}
        return {row for row, ids in enumerate(self.session_ids) if not spoken.isdisjoint(ids)} if spoken else set()

    def find_requests(self) -> None:
        """The exchanges of the connections to the target, once these are known."""
        exchanges, chosen = self.capture.table("exchanges"), np.flatnonzero(self.target)
        theirs = self.connections.take(chosen)
        owner = overlap.owner_rows(exchanges, theirs)
        rows = overlap.exchange_intervals(exchanges, None, theirs).rows
        rows = rows[owner[rows] >= 0]
        asked = ~self._rests(exchanges.take(rows), chosen[owner[rows]])
        self.exchange_rows = rows[asked]
        self.owner = chosen[owner[self.exchange_rows]]

    def _rests(self, exchanges: Table, owner: Ints) -> Bools:
        """Exchanges that are the rest of the request before them: a gateway may refuse by the head alone, before the program has sent the body. Such a refusal
        comes much sooner than other answers do; the rest is never answered, and the connection is closed at once.

        owner : the row of connections of each.
        """
        x, c = exchanges, self.connections
        order = np.lexsort((x["start_ns"], owner))
        behind, before = order[1:], order[:-1]
        same = owner[behind] == owner[before]
        same[:-1] &= owner[behind[1:]] != owner[behind[:-1]]  # the last of its connection
        answered = x.ints("response_ns", NEVER)
        begun, over = x["start_ns"].astype(np.int64)[behind], x.ints("end_ns", -1)[before]
        left = c["end_ns"].astype(np.int64)[owner[behind]] - x["request_end_ns"].astype(np.int64)[behind]
        rest = same & (answered[behind] == NEVER) & (over >= 0) & (begun >= over) & (begun - over <= REST_NS)
        rest &= (left <= LEFT_NS) & ~c["open_at_end"].astype(bool)[owner[behind]]
        took = answered - x["request_end_ns"].astype(np.int64)
        others = answered != NEVER
        others[before[rest]] = False
        rest &= took[before] * SOONER <= (np.median(took[others]) if others.any() else 0)
        out = np.zeros(x.rows, np.bool_)
        out[behind[rest]] = True
        return out

    @cached_property
    def offering(self) -> dict[int, Records | None]:
        """Of connections of the target with requests that offer HTTP/2, if it was not turned down: their records, None where it is not known to be spoken."""
        return {row: read for row, (_, read) in self._offers.items()}

    @cached_property
    def _offers(self) -> dict[int, tuple[int, Records | None]]:
        """The same, with the session that is read."""
        out: dict[int, tuple[int, Records | None]] = {}
        records, mates = self.capture.records, self.capture.part.state()[:, MATE]
        offering = {self.connection_of[k] for k, spoken in self.http2.items() if spoken is not False and k in self.connection_of}
        for row in sorted(offering.intersection(self.owner.tolist())):
            ids = [k for k in self.session_ids[row] if k in self.http2]
            read = [(k, records.of(k, int(mates[k]))) for k in ids if self.http2[k]] if records is not None else []
            out[row] = max(
                ((k, each) for k, each in read if each is not None),
                key=lambda each: (each[1].whole, len(each[1].ts)),
                default=(ids[0], None),
            )
        return out

    def take_streams(self, counted: dict[int, Counted]) -> None:
        """Take requests of HTTP/2, by connection, in place of turns."""
        self.read_of = {row: self._offers[row][0] for row in counted}
        self.counted = counted
        turns = ~np.isin(self.owner, list(counted))
        self.streams = [each for those in counted.values() for each in those.streams]
        rows = np.array([row for row, those in counted.items() for _ in those.streams], np.int64)
        self.exchange_rows = np.concatenate([self.exchange_rows[turns], np.full(len(rows), -1)])
        self.owner = np.concatenate([self.owner[turns], rows])

    @cached_property
    def unsure(self) -> Bools:
        """Per row of ``exchanges``, whether its answer may be another's that ended at the same time."""
        return np.array([False] * (len(self.owner) - len(self.streams)) + [each.unsure for each in self.streams], bool)

    @cached_property
    def perhaps(self) -> dict[int, dict[int, float]]:
        """Of rows of ``exchanges`` whose answer may be that of other ones of the connection, how likely it is each row's."""
        out = {}
        first = len(self.owner) - len(self.streams)
        ended: dict[tuple[int, int], list[int]] = {}
        for k, each in enumerate(self.streams, first):
            ended.setdefault((int(self.owner[k]), each.end_ns), []).append(k)
        for k, each in enumerate(self.streams, first):
            those = {ns: ended.get((int(self.owner[k]), ns), []) for ns in each.theirs}
            if each.theirs and (len(those) > 1 or each.end_ns not in those):
                out[k] = {row: p / len(those[ns]) for ns, p in each.theirs.items() for row in those[ns]}
        return out

    @cached_property
    def doubt_ns(self) -> Ints:
        """Per row of ``exchanges``, by how much it may have begun earlier and later, and ended earlier and later: int64[n, 4]; 0 where that shows."""
        out = np.zeros((len(self.owner), 4), np.int64)
        if self.streams:
            out[-len(self.streams) :] = [each.doubt_ns for each in self.streams]
        return out

    def _with_streams(self) -> Table:
        """Exchanges of the target, and :attr:`streams` in the same columns."""
        whole = self.capture.table("exchanges")
        n = len(self.streams)
        rows = self.exchange_rows[: len(self.exchange_rows) - n]
        x = whole if np.array_equal(rows, np.arange(whole.rows)) else whole.take(rows)
        if not n:
            return x
        session = [self.read_of[row] for row in self.owner[-n:].tolist()]
        made: dict[str, Any] = {
            "exchange_id": [-1] * n,
            "session_id": session,
            "status": [-1] * n,
            "complete": [each.end_ns >= 0 for each in self.streams],
        }
        of = {
            "start_ns": "begin_ns", "request_end_ns": "sent_ns", "response_ns": "answer_ns", "end_ns": "end_ns", "up_bytes": "up", "down_bytes": "down",
            "start_frame": "frame", "response_frame": "answer_frame", "end_frame": "end_frame",
        }  # fmt: skip
        made |= {name: [getattr(each, field) for each in self.streams] for name, field in of.items()}
        columns: dict[str, Any] = {"rejected": np.concatenate([x["rejected"], np.full(n, None, object)])}
        for name, values in made.items():
            new = np.array(values)
            stored = x.stored(name)
            if isinstance(stored, Nullable):
                columns[name] = Nullable(np.concatenate([stored.values, new]), np.concatenate([stored.known, new >= 0]))
            else:
                columns[name] = np.concatenate([stored, new.astype(stored.dtype)])
        return Table(x.schema, columns)

    @cached_property
    def exchanges(self) -> Table:
        """Of the target; an answer is complete also if the connection stayed silent after it for :data:`SILENCE_NS`, or if the server said farewell in TLS
        behind it before the program closed: who refuses a request that is still going up closes on the rest of it, which ends in a reset."""
        x, s = self._with_streams(), self.sessions
        seen, ids = x.ints("end_ns", -1), x["session_id"].astype(np.int64)
        closed = np.minimum(s.ints("orig_fin_ns", NEVER), s.ints("rst_ns", NEVER))
        said = np.where(self._farewells_ns[1] < closed, self._farewells_ns[1], -1)[ids]
        over = (seen >= 0) & (x["complete"] | (self._closed_ns - seen >= SILENCE_NS) | (said >= seen))
        return Table(x.schema, {**x.columns, "complete": over})

    @cached_property
    def end_ns(self) -> Ints:
        """Per connection, when it ended; of one that is open still, the end of the capture, or of the part of it where time jumps."""
        c, trail = self.connections, self.capture.trail
        last: Ints | int = self.bounds_ns[1]
        if trail is not None and len(trail.excerpts) > 1:
            begins, ends = np.array(trail.excerpts, np.int64).T
            last = ends[np.maximum(np.searchsorted(begins, c["last_frame"], "right") - 1, 0)]
        return np.where(c["open_at_end"], np.maximum(c["end_ns"], last), c["end_ns"])

    @property
    def _closed_ns(self) -> Ints:
        return self.end_ns[self.owner]

    @cached_property
    def answered_ns(self) -> tuple[Ints, Bools]:
        """Per row of ``exchanges``, in this capture's time: when its answer was over, and whether that is known; else when its connection ended."""
        x = self.exchanges
        seen = x.ints("end_ns", -1)
        return np.where(x["complete"], seen, np.maximum(self._closed_ns, seen)), x["complete"]

    @cached_property
    def left_by_server(self) -> Bools:
        """Per row of ``exchanges``, whether the server left it without an answer: it reset the connection, or closed it, or said farewell in TLS, upon which
        the program closed. What it says long before that is no farewell, but session tickets: then it is the program that gave up."""
        x, s = self.exchanges, self.sessions
        ids = x["session_id"].astype(np.int64)
        fins, others = (ints(s[name], NEVER)[ids] for name in ("resp_fin_ns", "orig_fin_ns"))
        last = s.ints("resp_last_payload_ns", -1)[ids]
        said = (last > x["request_end_ns"].astype(np.int64)) & (others - last <= REACTS_NS)
        reset = np.isin(s["state"].astype(str), ("RSTR", "RSTRH"))[ids]
        left: Bools = (x.ints("response_ns", NEVER) == NEVER) & (reset | (fins < others) | (said & (others < NEVER)))
        return left

    @cached_property
    def run_together(self) -> Bools:
        """Per row of ``exchanges``, whether it may be two: the request goes on after its answer began, on a connection of which packets of the client are
        missing, so another request may have begun there."""
        x, s = self.exchanges, self.sessions
        lossy = s["orig_missing_bytes"].astype(np.int64)[x["session_id"].astype(np.int64)] > 0
        out: Bools = lossy & (x["request_end_ns"].astype(np.int64) > x.ints("response_ns", NEVER))
        return out

    @cached_property
    def done_ns(self) -> Ints:
        """Per connection, the program's own farewell in TLS, FIN or RST, in this capture's time; :data:`NEVER` where there is none."""
        fins, resets = self.sessions.ints("orig_fin_ns", NEVER), self.sessions.ints("rst_ns", NEVER)
        return self.least(np.minimum(np.minimum(fins, resets), self._farewells_ns[0]))

    @cached_property
    def _farewells_ns(self) -> tuple[Ints, Ints]:
        """Per session, when its originator, and when its responder, sent an alert of TLS as its last words, as with close_notify (RFC 8446 6.1); :data:`NEVER`
        where it did not. Programs may wait for the server's before they close (asyncio: up to 30 s)."""
        out = np.full((2, self.sessions.rows), NEVER, np.int64)
        if self.capture.trail is not None and self.sessions.rows:
            t = self.capture.trail.segments()
            all_said = np.flatnonzero((t["fresh"] > 0) & (t["length"] > 0))
            from_originator = t["way"][all_said] == self.originator.astype(np.int8)[t["session"][all_said]]
            for of_end, its in zip(out, (from_originator, ~from_originator), strict=True):
                said = all_said[its]
                last = said[firsts(t["session"][said][::-1])[::-1]]  # segments stand by session
                head = t["head"][last].astype(np.uint64)
                alert = (head >> np.uint64(48) == ALERT << 8 | 3) | (
                    (head >> np.uint64(24) == HIDDEN_ALERT) & (t["length"][last] == RECORD + ALERT_RECORD)
                )
                of_end[t["session"][last[alert]]] = t["ts"][last[alert]]
        return out[0], out[1]

    @cached_property
    def opened(self) -> Bools:
        """Which connections were established, as far as can be told: they held a place at the server. Payload shows it of either end."""
        c = self.connections
        states = np.array([state not in ("S0", "REJ", "RSTOS0", "SH") for state in c["state"].tolist()], dtype=bool)
        # without a handshake in the capture, RSTOS0 may be the end of any; so may S0 and SH in one of outgoing packets alone
        return states | (c["orig_bytes"].astype(np.int64) + c["resp_bytes"].astype(np.int64) > 0)

    @cached_property
    def vpn(self) -> Bools:
        """Connections that OpenVPN makes over TCP: to its port, or begun by a hard reset of a client behind its length; they carry packets, and no requests."""
        c, trail = self.connections, self.capture.trail
        out: Bools = c["resp_port"] == OPENVPN_PORT
        if trail is not None and self.sessions.rows and trail.has("head"):
            t = trail.segments()
            said = np.flatnonzero(t["length"] > 0)
            said = said[t["way"][said] == self.originator.astype(np.int8)[t["session"][said]]]
            said = said[firsts(t["session"][said])]
            head, length = t["head"][said], t["length"][said]
            begun = (head >> np.uint64(48) == length - 2) & np.isin(head >> np.uint64(40) & np.uint64(0xFF), OPENVPN_RESETS)
            rows = [self.connection_of[k] for k in t["session"][said[begun]].tolist() if k in self.connection_of]
            out = out | np.isin(np.arange(c.rows), rows)
        return out

    def one_sided(self, rows: Ints) -> int:
        """How many of these connections have payload of one end, and not one frame of the other."""
        silent = [self.most(self.sessions[f"{end}_frames"].astype(np.int64))[rows] <= 0 for end in ("resp", "orig")]
        payload = [self.connections[f"{end}_bytes"][rows] > 0 for end in ("orig", "resp")]
        return int((payload[0] & silent[0] | payload[1] & silent[1]).sum())

    @cached_property
    def for_lookups(self) -> Bools:
        """Connections that carry lookups over TCP or TLS, wherever to."""
        c, lookups = self.connections, self.capture.table("lookups")
        over_tcp = {(ip, port) for ip, port, transport in lookups.tuples("orig_ip", "orig_port", "transport") if transport == "tcp"}
        return np.array([(ip, port) in over_tcp or to in (53, 853) for ip, port, to in c.tuples("orig_ip", "orig_port", "resp_port")], bool)

    @cached_property
    def seen(self) -> Seen:
        """How much of the traffic the capture has."""
        s, halves = self.sessions, self.halves
        missing = int(s["orig_missing_bytes"].sum() + s["resp_missing_bytes"].sum())
        whole = np.array([k not in halves for k in range(s.rows)], dtype=bool)
        two_way = whole & (s["orig_frames"] > 0) & (s["resp_frames"] > 0)
        lost = int(s["orig_missing_bytes"][two_way].sum() + s["resp_missing_bytes"][two_way].sum())
        share = lost / max(int(s["orig_bytes"].sum() + s["resp_bytes"].sum()) + lost, 1)
        return Seen(lost, share, bool(missing) and not halves and not bool(two_way.any()))

    @cached_property
    def randoms(self) -> dict[int, set[str]]:
        """Connection -> the randoms of its ClientHellos; those that have one."""
        out: dict[int, set[str]] = {}
        hellos = self.capture.table("hellos")
        for row, random in zip(overlap.owner_rows(hellos, self.connections).tolist(), hellos["random"].tolist(), strict=True):
            if random is not None and row >= 0:
                out.setdefault(row, set()).add(random)
        return out

    def of_log(self) -> str:
        """The side whose programs' log tells of this capture's requests: where nobody told, the VM's."""
        return self.name or "vm"


def firsts(values: Ints) -> Bools:
    """Which of equal values that stand together come first; as ``np.diff`` tells, which would make numbers of 64 bits of smaller ones."""
    out = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=out[1:])
    return out
