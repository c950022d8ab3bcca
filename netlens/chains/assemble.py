"""Captures, clock, pairing and labels put together: the situation on the host's clock.

Theory of operation
-------------------
1. *Upstream* is the host's capture where there is one that shows the target: every request that reaches the provider is in it, with its end as the
   provider made it. Else it is the VM's. That what leaves the host was captured is not taken on trust: some connection to the target
   must be in it as it leaves, from an address that is not translated again (:meth:`_Builder._egress`). A connection of the VM that has no
   upstream session still counts, as the VM's own capture shows it.
2. Requests are the exchanges of the connections to the target, of NAT copies one. A request was sent with its last byte. Its answer is over when the
   next request or an orderly close shows it, or when nothing followed for :data:`SILENCE_NS`: programs keep connections open long after their
   last answer. Otherwise the request is held until its connection closes, or the capture ends.
3. When the program was *done* with it is seen where the program runs: the same exchange of the paired connection in the VM's capture (by its number
   on the connection, else by time), or its FIN or RST; never later than upstream.
4. Labels: a key log says most, then the error log of the side whose program it is, then the traffic. An error log names exchanges of its own side's
   capture, in that machine's time, and the label is carried over by the pairing.
5. Where the upstream's clock was set back, times repeat: requests of those times stay in the counts, and their labels are dropped.
6. *Relays.* A proxy that passes bytes on (CONNECT, SOCKS, ssh -D and -L) opens a connection of its own, with the ClientHello of the one that it serves:
   where one capture holds both, only the one that goes on to the server is upstream, and it belongs to whoever opened the other.
   One that ends the program's connection and asks in its own (a reverse proxy) is followed request by request (:mod:`netlens.chains.relays`).
7. A request of HTTP/2 is a stream, which only a key log shows; its connection has no turns that would be requests.

Limits: exchanges of a connection whose counts differ between the captures (capture loss) are matched by time; a wrong match shifts ``done_ns``, never
a label of the upstream's own side.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from netlens import logs
from netlens.chains import clock as clocks
from netlens.chains import overlap, pairing, relays, target
from netlens.chains.inputs import read_sockets
from netlens.chains.situation import (
    ACCEPTED,
    COMPANION,
    HOST,
    LOOKUPS,
    REJECTED,
    REQUESTS,
    SIDES,
    UNKNOWN,
    UNLABELLED,
    VM,
    Ints,
    Requests,
    Sessions,
    Situation,
)
from netlens.errors import NetlensError
from netlens.lenses.refused.labels import rejections
from netlens.parsers import connections, decrypted, decrypted_rows, errorlog
from netlens.schema import Table
from netlens.text import plural, printable

if TYPE_CHECKING:
    from netlens.api import Capture

STRANGER_LAG_NS = 100_000_000  #: lines of a program's own log follow its answers within 50 ms as a rule; those of another's lie anywhere
MAX_UNMATCHED = 1_000  #: lines of a log that are named one by one; the rest is counted
SLACK_NS = 2_000_000  #: what a request waits in kernels and at the provider before it is counted: 0.3 ms in the laboratory, more under load
#: An answer after which a connection stayed silent for this long was over. Streams pause between tokens for less; half of it would end some
#: that were broken off while the model was thinking, twice would hold the titles of a program that exits a few seconds later.
SILENCE_NS = 2_000_000_000
FRAMES = 5  #: frames cited for a fact
LOSSY = 0.05  #: share of the payload; with half of that every verdict of the recordings stays right, with twice as much some turn wrong
#: How far times of the VM may be off for it to be told what went on upstream after the program was done: broken-off streams go on for seconds.
UNSURE_NS = 1_000_000_000
_CODES = {"vm": VM, "host": HOST}
_WORDS = {"vm": "VM", "host": "host"}


@dataclass(eq=False)
class Side:
    """One capture and what was found in it.

    target : which connections go to the target (bool).  exchange_rows : exchanges of those, of copies one, in order of start.
    owner : row of connections per exchange of ``exchange_rows``.  labels : of those exchanges.
    """

    name: str | None
    capture: Capture
    target: np.ndarray[Any, Any] = field(default_factory=lambda: np.zeros(0, bool))
    exchange_rows: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    owner: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    labels: rejections.Labels | None = None
    log: errorlog.ErrorLog | None = None
    keys: decrypted.Decrypted | None = None

    @property
    def connections(self) -> Table:
        return self.capture.table("connections")

    @property
    def sessions(self) -> Table:
        return self.capture.table("sessions")

    @property
    def exchanges(self) -> Table:
        """Of the target; an answer is complete also if the connection stayed silent after it for :data:`SILENCE_NS`."""
        x = self.capture.table("exchanges").take(self.exchange_rows)
        seen = _ints(x["end_ns"], -1)
        over = (seen >= 0) & (x["complete"] | (self._closed_ns() - seen >= SILENCE_NS))
        return Table(x.schema, {**x.columns, "complete": over})

    def _closed_ns(self) -> Ints:
        """Per exchange, when its connection ended; of one that is open still, the end of the capture."""
        c, last = self.connections, (self.capture.part.bounds_ns or (0, 0))[1]
        return np.where(c["open_at_end"], np.maximum(c["end_ns"], last), c["end_ns"])[self.owner]

    def answered_ns(self) -> tuple[Ints, np.ndarray[Any, Any]]:
        """Per row of ``exchanges``, in this capture's time: when its answer was over, and whether that is known; else when its connection ended."""
        x = self.exchanges
        seen = _ints(x["end_ns"], -1)
        return np.where(x["complete"], seen, np.maximum(self._closed_ns(), seen)), x["complete"]


@dataclass(frozen=True)
class Seen:
    """How much of its traffic a capture has. ``lost_bytes`` were acknowledged and are not in it, ``lost_share`` of the payload; ``one_way``: no
    session has frames of both directions."""

    lost_bytes: int
    lost_share: float
    one_way: bool


def seen(capture: Capture) -> Seen:
    sessions, every = capture.table("sessions"), capture.table("connections")
    missing = int(sessions["orig_missing_bytes"].sum() + sessions["resp_missing_bytes"].sum())
    redirected = zip(every["session_ids"].tolist(), every["redirect_port"].tolist(), strict=True)
    halves = {k for ids, port in redirected if port is not None for k in ids}
    whole = np.array([k not in halves for k in range(sessions.rows)], dtype=bool)
    two_way = whole & (sessions["orig_frames"] > 0) & (sessions["resp_frames"] > 0)
    lost = int(sessions["orig_missing_bytes"][two_way].sum() + sessions["resp_missing_bytes"][two_way].sum())
    share = lost / max(int(sessions["orig_bytes"].sum() + sessions["resp_bytes"].sum()) + lost, 1)
    return Seen(lost, share, bool(missing) and not halves and not bool(two_way.any()))


@dataclass(frozen=True, eq=False)
class Assembled:
    """The situation and what it was made from. ``upstream`` is one of ``sides``; ``request_rows``: per request its row of the upstream's
    ``exchange_rows``, -1 for a stream of HTTP/2."""

    situation: Situation
    sides: dict[str | None, Side]
    upstream: Side
    goal: target.Target
    clock: clocks.Clock
    pairing: pairing.Pairing | None
    request_rows: Ints
    notes: list[str]
    unmatched: list[dict[str, Any]]


def assemble(
    captures: Mapping[str | None, Capture],
    apis: tuple[str, ...] = (),
    *,
    errors: Mapping[str, str] | None = None,
    keylogs: Iterable[str] = (),
    sockets: str | None = None,
    covering: Collection[str] = (),
    manifest: bool = False,
    requests: str | None = None,
) -> Assembled:
    """Put one or two captures together.

    Parameters
    ----------
    captures : by side: "vm", "host", or None for one whose side nobody told.
    apis : names or addresses of the API; guessed if empty.  errors : error log by side.  keylogs : TLS key logs.  sockets : ``sockets.jsonl``.
        covering : sides whose error log is known to span the recording: a request that is not in it was accepted.
    manifest : the recording's manifest named the APIs.  requests : ``requests.jsonl``, read where there are no key logs.

    Raises
    ------
    NetlensError
        a file cannot be read, or a named API is in no capture.
    """
    sides = {name: Side(name, capture) for name, capture in captures.items()}
    exchanged = _mixed_up(sides)
    notes = [exchanged] if exchanged else []
    upstream = sides.get("host") or next(iter(sides.values()))
    goal = _targets(sides, upstream, apis, manifest)
    served = {name: _relayed(side) for name, side in sides.items()}
    passed_on = _carried(sides["host"]) if "host" in sides else _Carried({}, frozenset())
    if "vm" in sides:  # what the VM's program asks the relay is what it asks the server
        c = sides["vm"].connections
        ends = zip(c["resp_ip"].tolist(), c["resp_port"].tolist(), strict=True)
        sides["vm"].target |= np.array([end in passed_on.relays for end in ends], bool)
    for side in sides.values():
        _requests_of(side)
    pairs: pairing.Pairing | None
    if "vm" in sides and "host" in sides:
        clock = clocks.estimate(sides["vm"].capture, sides["host"].capture)
        own = connections.sent_from(sides["vm"].capture)
        samples = read_sockets(sockets) if sockets is not None else ()
        pairs = pairing.pair(sides["vm"].capture, sides["host"].capture, clock, samples, vm_addresses=own)
        pairs = pairing.through_relays(pairs, served["host"])
        notes += getattr(samples, "notes", ())
        if not sides["host"].target.any() and sides["vm"].target.any():
            upstream, pairs = sides["vm"], None
            notes.append(f"the host's capture shows no connection to {_named(goal)}, so only the VM's is used")
    else:
        clock, pairs = clocks.identity("only one side was captured: its own clock is used"), None
    for side in sides.values():
        _label(side, errors or {}, keylogs, notes, upstream is side)
    if requests is not None and upstream.keys is None:
        upstream.keys = decrypted_rows.read(requests)
        notes += [upstream.keys.note] if upstream.keys.note else []
    origin = _origins(upstream, pairs)
    h2, unknown = _h2_sessions(upstream, sides, pairs)
    return _Builder(sides, upstream, goal, clock, pairs, origin, h2, unknown, notes, covering, bool(exchanged), passed_on.of).build()


def _named(goal: target.Target) -> str:
    return printable((goal.names or goal.addresses or ["the target"])[0])


def _mixed_up(sides: Mapping[str | None, Side]) -> str:
    """A warning that the captures were given the wrong way round; "" if nothing suggests it.

    Packets that one machine sent and the other received prove which is which. Without them the marks of a tunnel do, unless both captures have
    some: a VM with containers translates, and a host may redirect too.
    """
    if not {"vm", "host"} <= sides.keys():
        return ""
    vm, host = sides["vm"], sides["host"]
    a, b = vm.capture.part, host.capture.part
    if a.frames and (a.frames, a.bounds_ns) == (b.frames, b.bounds_ns) and vm.sessions.rows == host.sessions.rows:
        paths = f"{printable(vm.capture.paths[0])} and {printable(host.capture.paths[0])}"
        raise NetlensError(f"{paths}: the same capture for VM and host ({plural(a.frames, 'frame')}); one of each is needed, or one alone")
    proven = _sent_by_vm(vm, host)
    if proven > 0:
        return ""
    found = {name: _marked(side) for name, side in sides.items()}
    if proven < 0 or found["vm"] == "host" != found["host"] or found["host"] == "vm" != found["vm"]:
        name, seems = ("vm", "host") if found["vm"] == "host" else ("host", "vm")
        return f"the capture given with --{name} looks as if made on the {_WORDS[seems]}: are --vm and --host exchanged?"
    return ""


def _marked(side: Side) -> str | None:
    """Where a capture was made, by the marks of a tunnel: redirected connections, or such that came out of it."""
    c = side.connections
    redirected = any(port is not None for port in c["redirect_port"].tolist())
    forwarded = any(t is not None and r is None for t, r in zip(c["tunnel_session_id"].tolist(), c["redirect_port"].tolist(), strict=True))
    return "vm" if redirected and not forwarded else "host" if forwarded and not redirected else None


def _sent_by_vm(vm: Side, host: Side) -> int:
    """Of sessions that both captures hold, those that the capture given as the VM's sent itself and the host's received, less the other way round.

    Only Linux cooked captures say which packets their machine sent.
    """

    def opened(side: Side) -> dict[Any, bool]:
        s, sent = side.sessions, connections.opened_here(side.capture.part.state())
        keys = zip(*(s[name].tolist() for name in ("orig_ip", "orig_port", "resp_ip", "resp_port", "orig_isn")), strict=True)
        return {key: here for key, here in zip(keys, sent.tolist(), strict=True) if key[-1] is not None}

    here, there = opened(vm), opened(host)
    return sum(here[key] - there[key] for key in here.keys() & there.keys() if here[key] != there[key])


# --- what goes to the target ----------------------------------------------------------------------------------------------------------------


def _targets(sides: Mapping[str | None, Side], upstream: Side, apis: tuple[str, ...], manifest: bool) -> target.Target:
    """Choose the target where the program in question runs, and find it in the other capture by its names, or its addresses if it has none."""
    first = sides.get("vm") or upstream
    goal: target.Target | None = None
    for side in (first, *(s for s in sides.values() if s is not first)):
        c = side.capture
        wanted = apis or tuple(goal.names or goal.addresses if goal else ())
        try:
            chosen = target.choose(c.table("connections"), c.table("lookups"), wanted, manifest=manifest)
        except NetlensError:
            if not (goal or len(sides) > 1) or (side is not first and goal is None):
                raise
            side.target = np.zeros(c.table("connections").rows, bool)
            continue
        side.target = _with_nameless(c.table("connections"), chosen.rows) & ~_lookup_rows(c)
        if goal is None or not (goal.names or goal.addresses):  # a capture without connections names no target
            goal = chosen
    if goal is None:  # named, and not even in the second capture
        raise NetlensError(f"{target.named_by(apis, manifest)}: no connection of these captures goes there")
    return goal


def _relayed(side: Side) -> dict[int, int]:
    """Connection that leaves -> the one that it was opened for, by a relay on the machine of the capture. The latter are no longer of the target.

    Both carry one ClientHello; the second begins later, at an address of the machine (or beyond its loopback), and goes elsewhere than the first.
    """
    c, hellos = side.connections, side.capture.table("hellos")
    owner = {k: row for row, ids in enumerate(c["session_ids"].tolist()) for k in ids}
    carrying: dict[str, set[int]] = {}
    for session, random in zip(hellos["session_id"].tolist(), hellos["random"].tolist(), strict=True):
        if random is not None and session in owner and side.target[owner[session]]:
            carrying.setdefault(random, set()).add(owner[session])
    out: dict[int, int] = {}
    for rows in carrying.values():
        first, *rest = sorted(rows, key=lambda row: int(c["start_ns"][row]))
        ends = {(c["resp_ip"][row], int(c["resp_port"][row])) for row in rows}
        if not rest or len(ends) != len(rows):  # a copy or a replay of one connection is no relay
            continue
        out[rest[-1]] = first
        side.target[[first, *rest[:-1]]] = False
    return out


def _with_nameless(connections: Table, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Also connections without a hello to an address and port of the target: as they asked for no other name, it is the same server."""
    there = {(ip, port) for ip, port in zip(connections["resp_ip"][rows].tolist(), connections["resp_port"][rows].tolist(), strict=True)}
    if not there:
        return rows
    triples = zip(connections["resp_ip"].tolist(), connections["resp_port"].tolist(), connections["sni"].tolist(), strict=True)
    return rows | np.array([sni is None and (ip, port) in there for ip, port, sni in triples], dtype=bool)


def _lookup_rows(capture: Capture) -> np.ndarray[Any, Any]:
    """Connections that carry lookups over TCP or TLS, wherever to."""
    c, lookups = capture.table("connections"), capture.table("lookups")
    over_tcp = {
        (ip, port)
        for ip, port, transport in zip(
            lookups["orig_ip"].tolist(), lookups["orig_port"].tolist(), lookups["transport"].tolist(), strict=True
        )
        if transport == "tcp"
    }
    ends = zip(c["orig_ip"].tolist(), c["orig_port"].tolist(), c["resp_port"].tolist(), strict=True)
    return np.array([(ip, port) in over_tcp or to in (53, 853) for ip, port, to in ends], dtype=bool)


@dataclass(frozen=True)
class _Carried:
    """``of``: exchange upstream -> exchange with a relay (rows of the capture's table).  ``relays``: where these listen."""

    of: dict[int, int]
    relays: frozenset[tuple[str, int]]


def _carried(side: Side) -> _Carried:
    """Exchanges with relays on the machine of the capture that end the program's connections and ask the target in their own."""
    c, exchanges = side.connections, side.capture.table("exchanges")
    if not side.target.any():
        return _Carried({}, frozenset())
    owner = overlap.owner_rows(exchanges, c)
    upstream = np.flatnonzero((owner >= 0) & side.target[owner])
    of: dict[int, int] = {}
    ends = set()
    for end, rows in relays.services(c, side.target).items():
        free = np.array([row for row in upstream.tolist() if row not in of], np.int64)
        found = relays.match(exchanges, np.flatnonzero(np.isin(owner, rows)), free)
        if found:
            of |= found
            ends.add(end)
    return _Carried(of, frozenset(ends))


def _is_loopback(ip: str) -> bool:
    return ipaddress.ip_address(ip).is_loopback


def _requests_of(side: Side) -> None:
    connections, exchanges = side.connections, side.capture.table("exchanges")
    chosen = np.flatnonzero(side.target)
    theirs = connections.take(chosen)
    owner = overlap.owner_rows(exchanges, theirs)
    kept = np.zeros(exchanges.rows, bool)
    kept[overlap.exchange_intervals(exchanges, None, theirs).rows] = True
    rows = np.flatnonzero(kept & (owner >= 0))
    side.exchange_rows = rows
    side.owner = chosen[owner[rows]]


# --- labels ---------------------------------------------------------------------------------------------------------------------------------


def _label(side: Side, errors: Mapping[str, str], keylogs: Iterable[str], notes: list[str], upstream: bool) -> None:
    exchanges = side.exchanges
    if upstream:
        for path in keylogs:
            found = decrypted.requests(side.capture.paths, path, side.capture.table("sessions"))
            if found.rows or side.keys is None:
                side.keys = found
            if found.note:
                notes.append(found.note)
    name = side.name or "vm"
    if name in errors:
        side.log = errorlog.read(errors[name])
        if side.log.note:
            notes.append(side.log.note)
    if upstream:  # what requests look like there is what decides; the other capture's labels come from its log
        side.labels = rejections.infer(exchanges, side.sessions, side.capture.table("hellos"))


_Told = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]  # rejected, source, refusal_class


def _merge(labels: list[_Told], n: int) -> _Told:
    """The first label that says anything, in order."""
    rejected, source, classes = np.full(n, UNLABELLED, np.int8), np.full(n, "", object), np.full(n, "", object)
    for these, sources, theirs in labels:
        use = (rejected == UNLABELLED) & (these != UNLABELLED)
        rejected[use], source[use], classes[use] = these[use], sources[use], theirs[use]
    return rejected, source, classes


# --- whose is it ----------------------------------------------------------------------------------------------------------------------------


def _origins(upstream: Side, pairs: pairing.Pairing | None) -> np.ndarray[Any, Any]:
    """Side of each connection of the upstream capture."""
    connections = upstream.connections
    if pairs is not None:
        return pairs.origin
    if upstream.name == "vm":
        return np.full(connections.rows, VM, np.int8)
    told = np.array([_CODES.get(o, UNKNOWN) for o in connections["origin"].tolist()], np.int8)
    if upstream.name is None and connections.rows and connections["vantage"][0] == "vm":
        told[:] = VM
    return told


def _h2_sessions(upstream: Side, sides: Mapping[str | None, Side], pairs: pairing.Pairing | None) -> tuple[set[int], bool]:
    """Sessions of the upstream capture on which HTTP/2 was offered; and whether that is not known of any connection to the target.

    Hellos pass through NAT and tunnels as they are, so one that is cut in one capture is read in the other.
    """

    def offered(side: Side) -> dict[int, bool]:
        hellos = side.capture.table("hellos")
        return {k: "h2" in (alpn or ()) for k, alpn in zip(hellos["session_id"].tolist(), hellos["alpn"].tolist(), strict=True)}

    known = offered(upstream)
    ids = upstream.connections["session_ids"].tolist()
    if pairs is not None and upstream is sides.get("host"):
        theirs, vm_ids = offered(sides["vm"]), sides["vm"].connections["session_ids"].tolist()
        for row, mate in enumerate(pairs.vm_of.tolist()):
            if mate >= 0 and not known.keys() & set(ids[row]):
                known |= {k: theirs[m] for m in vm_ids[mate] if m in theirs for k in ids[row]}
    there = [k for row in np.flatnonzero(upstream.target).tolist() for k in ids[row]]
    protocols = upstream.sessions["protocol"]
    unknown = bool(there) and not known.keys() & set(there) and any(protocols[k] == "tls" for k in there)
    return {k for k, is_h2 in known.items() if is_h2}, unknown


def _ints(values: np.ndarray[Any, Any], missing: int) -> Ints:
    return np.array([missing if v is None else int(v) for v in values.tolist()], np.int64)


_NEVER = np.iinfo(np.int64).max


class _Builder:
    """Builds the two tables of the situation; one object because every step needs the same eight things."""

    def __init__(
        self,
        sides: dict[str | None, Side],
        upstream: Side,
        goal: target.Target,
        clock: clocks.Clock,
        pairs: pairing.Pairing | None,
        origin: np.ndarray[Any, Any],
        h2: set[int],
        protocol_unknown: bool,
        notes: list[str],
        covering: Collection[str],
        exchanged: bool,
        passed_on: Mapping[int, int],
    ):
        self.sides, self.up, self.goal, self.clock, self.pairs, self.origin, self.h2, self.notes = (
            sides,
            upstream,
            goal,
            clock,
            pairs,
            origin,
            h2,
            notes,
        )
        self.vm = sides.get("vm") if upstream.name == "host" else None  # the other capture, if there is one
        self.covering = covering
        self.exchanged = exchanged
        self.passed_on = passed_on if upstream.name == "host" else {}  # rows of the capture's exchanges: upstream -> with a relay
        self.owner_of = {k: row for row, ids in enumerate(upstream.connections["session_ids"].tolist()) for k in ids}
        self.protocol_unknown = protocol_unknown
        self.unmatched: list[dict[str, Any]] = []
        self.unmatched_within = 0  # of them, those of the time of the capture
        self.addresses: dict[str, int] = {}  # of servers, numbered
        self.vm_labels: rejections.Labels | None = None  # of the exchanges of the VM's capture, by the VM's log
        self.up_session_ids = self.up.connections["session_ids"].tolist()
        self.bounds_ns = self.up.capture.part.bounds_ns or (0, 0)  # none of the frames has a time
        self.capture_end = self.bounds_ns[1]
        self.vm_alone = self._vm_alone()
        self._clock_told = bool(clock.pieces) and clock.uncertain_ns <= UNSURE_NS

    def build(self) -> Assembled:
        sessions, row_of = self._sessions()
        requests, request_rows = self._requests(row_of, sessions)
        self._leave_out_repeated(requests)
        vm_seen = ("vm" in self.sides or self._only_vantage() == "vm") and not self._vm_is_blind()
        host_seen = "host" in self.sides or (self._only_vantage() != "vm" and "vm" not in self.sides)
        egress_missing = self._egress() if host_seen else ""
        situation = Situation(
            requests,
            sessions,
            vm_seen,
            host_seen,
            host_seen and not egress_missing,
            self._common_ns(),
            self._uncertain_ns(),
            self._uncountable(requests),
            self._facts(),
            egress_missing,
        )
        return Assembled(situation, self.sides, self.up, self.goal, self.clock, self.pairs, request_rows, self.notes, self.unmatched)

    def _only_vantage(self) -> str | None:
        if len(self.sides) > 1:
            return None
        vantage = self.up.name or (self.up.connections["vantage"][0] if self.up.connections.rows else None)
        return vantage if isinstance(vantage, str) else None

    # --- what was seen

    def _egress(self) -> str:
        """What to capture to see what leaves the host; "" if its capture shows that: some connection to the target, as it leaves.

        A connection seen only with the VM's own private address has yet to be translated, beyond the interface that was captured.
        """
        outside = "a capture of the host where its connections leave (-i any, or the interface of its default route) over the same time"
        if self.exchanged:
            return "the captures given the other way round"
        there = seen(self.up.capture)
        if there.one_way:
            return "a capture of the host with both directions of its traffic"
        if there.lost_share > LOSSY:
            return "a capture of the host that lacks less (tcpdump -B 65536, a full snaplen)"
        if self.up.name == "vm":  # the host's shows nothing of the target
            return outside
        c = self.up.connections
        if self.vm is not None:
            v = self.vm.connections
            inner = {ip for name in ("orig_ip", "nat_ip") for ip in v[name].tolist() if ip is not None}
        else:
            inner = {ip for ip in c["orig_ip"].tolist() if connections.is_of_guest(ip)}
        rows = np.flatnonzero(self.up.target)
        ends = zip(*(c[name][rows].tolist() for name in ("orig_ip", "nat_ip", "resp_ip")), strict=True)
        for orig_ip, nat_ip, resp_ip in ends:
            outer = nat_ip or orig_ip
            beyond = connections.is_public(resp_ip) or connections.is_of_guest(resp_ip)  # the latter: a relay on the host
            if not (outer in inner and connections.is_private(outer) and beyond):
                return ""
        return outside if len(rows) else ""

    def _vm_is_blind(self) -> bool:
        """Whether the VM's capture lacks what its programs send, though there is some."""
        if self.vm is None:
            return False
        if seen(self.vm.capture).one_way:
            return True
        paths = self.up.connections["path"][self.up.target].tolist()
        came = sum(path in pairing.FROM_GUESTS for path in paths)
        if came and not self.vm.target.any():
            self.notes.append(
                f"{plural(came, 'connection')} that the host carried {'is' if came == 1 else 'are'} not in the VM's capture, which may be of the "
                "wrong interface (with sshuttle, programs' traffic is on loopback); record with -i any"
            )
            return True
        return False

    def _vm_alone(self) -> Ints:
        """Rows of the VM's connections to the target that no session upstream carries, nor may carry: one that nobody is known to have opened, about
        when it began, may be its own and counts already."""
        if self.vm is None or self.pairs is None or not self.clock.pieces:
            return np.zeros(0, np.int64)
        v, h = self.vm.connections, self.up.connections
        rows = np.flatnonzero(self.vm.target & (self.pairs.host_of < 0) & _was_opened(v))
        open_to_all = np.flatnonzero(self.up.target & (self.origin == UNKNOWN) & (self.pairs.vm_of < 0) & (self.pairs.companion_of < 0))
        slack = self.clock.uncertain_ns + pairing.MAX_DELAY_NS
        begun = self.clock.to_host(v["start_ns"][rows])
        within = (begun + slack >= self.bounds_ns[0]) & (begun <= self.bounds_ns[1])
        if outside := int((~within).sum()):
            self.notes.append(
                f"{plural(outside, 'connection')} of the VM began outside the time of the host's capture, and {'is' if outside == 1 else 'are'} left out"
            )
        rows, begun = rows[within], begun[within]
        after = np.sort(h["start_ns"][open_to_all])
        near = np.searchsorted(after, begun + slack, "right") > np.searchsorted(after, begun - slack, "left")
        older = bool(h["started_before_capture"][open_to_all].any())
        return rows[~(near | (v["started_before_capture"][rows] & older))]

    # --- sessions

    def _sessions(self) -> tuple[Sessions, dict[int, int]]:
        """Upstream sessions, and their row by row of the upstream's connections."""
        c, s = self.up.connections, self.up.sessions
        answered = _was_opened(c)
        lookups = _lookup_rows(self.up.capture) & answered
        companions = np.zeros(c.rows, bool) if self.pairs is None else (self.pairs.companion_of >= 0) & answered
        rows = np.flatnonzero((self.up.target & answered) | lookups | companions)
        kind = np.where(lookups[rows], LOOKUPS, np.where(companions[rows], COMPANION, REQUESTS)).astype(np.int8)
        end = np.where(c["open_at_end"][rows], np.maximum(c["end_ns"][rows], self.capture_end), c["end_ns"][rows])
        fins, resets = _ints(s["orig_fin_ns"], _NEVER), _ints(s["rst_ns"], _NEVER)
        done = np.array(
            [min((min(fins[k], resets[k]) for k in self.up_session_ids[row]), default=_NEVER) for row in rows.tolist()], np.int64
        )
        # only the program's own end counts; of a forwarded session the FIN seen here is the tunnel's, the VM's capture has the program's
        connection = rows.astype(np.int64) + (0 if self.pairs is None else len(self.pairs.host_of))
        vm_frame = np.zeros(len(rows), np.int64)
        if self.pairs is not None and self.vm is not None:
            done_at_vm, first = self._vm_done(), self.vm.connections["first_frame"]
            for k, row in enumerate(rows.tolist()):
                mate = int(self.pairs.vm_of[row])
                if mate < 0:
                    mate = int(self.pairs.companion_of[row])
                    if mate >= 0:
                        connection[k] = mate
                        done[k] = min(done[k], done_at_vm[mate])
                    continue
                connection[k] = mate
                done[k] = min(done[k], done_at_vm[mate])
                vm_frame[k] = first[mate]
        start = c["start_ns"][rows]
        end = np.maximum(end, start + 1)
        frame = c["first_frame"][rows]
        here, there = (frame, vm_frame) if self.up.name != "vm" else (np.zeros(len(rows), np.int64), frame)
        sessions = Sessions(
            self.origin[rows].astype(np.int8), start, end, np.clip(done, start, end), connection, kind, here, there, self._address(c, rows)
        )
        if len(self.vm_alone):
            sessions = _joined(sessions, self._vm_sessions())
        return sessions, {row: k for k, row in enumerate(rows.tolist())}

    def _address(self, connections: Table, rows: Ints) -> Ints:
        return np.array([self.addresses.setdefault(ip, len(self.addresses)) for ip in connections["resp_ip"][rows].tolist()], np.int64)

    def _vm_sessions(self) -> Sessions:
        """Of the VM's connections without a session upstream, as its own capture shows them."""
        assert self.vm is not None
        rows, c = self.vm_alone, self.vm.connections
        last = (self.vm.capture.part.bounds_ns or (0, 0))[1]
        start = self.clock.to_host(c["start_ns"][rows])
        end = self.clock.to_host(np.where(c["open_at_end"][rows], np.maximum(c["end_ns"][rows], last), c["end_ns"][rows]))
        end = np.maximum(np.minimum(end, self.capture_end), start + 1)
        none = np.zeros(len(rows), np.int64)
        side, kind = np.full(len(rows), VM, np.int8), np.full(len(rows), REQUESTS, np.int8)
        done = np.clip(self._vm_done()[rows], start, end)
        return Sessions(side, start, end, done, rows, kind, none, c["first_frame"][rows], self._address(c, rows))

    def _vm_done(self) -> Ints:
        """Per connection of the VM, on the host's clock: the program's own FIN or RST; the largest time where there is none."""
        assert self.vm is not None
        s = self.vm.sessions
        fins, resets = _ints(s["orig_fin_ns"], _NEVER), _ints(s["rst_ns"], _NEVER)
        raw = np.array(
            [min((min(fins[k], resets[k]) for k in ids), default=_NEVER) for ids in self.vm.connections["session_ids"].tolist()], np.int64
        )
        if not self._clock_told:
            return np.full(len(raw), _NEVER, np.int64)
        known = raw != _NEVER
        out = raw.copy()
        out[known] = self.clock.to_host(raw[known])
        return out

    # --- requests

    def _requests(self, row_of: dict[int, int], sessions: Sessions) -> tuple[Requests, Ints]:
        up = self.up
        x = up.exchanges
        n = x.rows
        carrier = np.array([row_of.get(int(row), -1) for row in up.owner.tolist()], np.int64)
        start = x["request_end_ns"].astype(np.int64)
        end, _ = up.answered_ns()
        done = np.minimum(end, sessions.done_ns[carrier]) if len(sessions) else end.copy()
        # a program that closes after the answer was done with the request when it had read the answer
        vm_frame = np.zeros(n, np.int64)
        mate = self._mates(start) if self.vm is not None else np.full(n, -1, np.int64)
        if self.vm is not None and (mate >= 0).any():
            k = np.flatnonzero(mate >= 0)
            m = mate[k]
            over_ns, over = self.vm.answered_ns()
            finished = over[m] & self._clock_told
            read = self.clock.to_host(over_ns[m])
            done[k[finished]] = np.minimum(done[k[finished]], read[finished])
            vm_frame[k] = self.vm.exchanges["start_frame"][m]
        done = np.maximum(np.minimum(done, end), start)
        rejected, source, refusal_class = self._labels(mate)
        side = self.origin[up.owner].astype(np.int8) if n else np.zeros(0, np.int8)
        self._take_over(side, sessions, carrier)
        frame = x["start_frame"].astype(np.int64)
        here, there = (frame, vm_frame) if up.name != "vm" else (np.zeros(n, np.int64), frame)
        no_stream = np.full(n, -1, np.int64)
        table = Requests(
            side, carrier, start, np.maximum(end, start), done, rejected, source, no_stream, here, there, refusal_class,
            x["up_bytes"].astype(np.int64),
        )  # fmt: skip
        rows = np.arange(n)
        if up.keys is not None:
            table, rows = self._with_streams(table, rows, row_of, sessions)
        if len(self.vm_alone):
            alone = self._vm_requests(len(sessions) - len(self.vm_alone))
            table, rows = _joined(table, alone), np.concatenate([rows, np.full(len(alone), -1, np.int64)])
        order = np.lexsort((table.host_frame, table.start_ns))
        return _take(table, order), rows[order]

    def _vm_requests(self, first_session: int) -> Requests:
        """Of the VM's connections without a session upstream; ``first_session``: row of the first of these in the table of sessions."""
        assert self.vm is not None
        vm = self.vm
        at = {row: first_session + k for k, row in enumerate(self.vm_alone.tolist())}
        rows = np.flatnonzero(np.isin(vm.owner, self.vm_alone))
        rows = rows[self.clock.to_host(vm.exchanges["request_end_ns"].astype(np.int64))[rows] <= self.capture_end]
        x, n = vm.exchanges.take(rows), len(rows)
        over_ns, _ = vm.answered_ns()
        start = self.clock.to_host(x["request_end_ns"].astype(np.int64))
        end = np.maximum(np.minimum(self.clock.to_host(over_ns[rows]), self.capture_end), start)
        labels = self.vm_labels
        rejected = np.full(n, UNLABELLED, np.int8) if labels is None else labels.rejected[rows]
        source = np.full(n, "", object) if labels is None else labels.source[rows]
        classes = np.full(n, "", object) if labels is None else labels.refusal_class[rows]
        session = np.array([at[row] for row in vm.owner[rows].tolist()], np.int64)
        none = np.zeros(n, np.int64)
        return Requests(
            np.full(n, VM, np.int8), session, start, end, end, rejected, source, np.full(n, -1, np.int64), none, x["start_frame"].astype(np.int64),
            classes, x["up_bytes"].astype(np.int64),
        )  # fmt: skip

    def _mates(self, start: Ints) -> Ints:
        """Per exchange of the upstream, the row of the VM's exchanges that is the same request; -1 without."""
        assert self.vm is not None
        assert self.pairs is not None
        out = np.full(len(start), -1, np.int64)
        ours, theirs = _by(self.up.owner), _by(self.vm.owner)
        vm_start = self.clock.to_host(self.vm.exchanges["start_ns"].astype(np.int64))
        for row, mine in ours.items():
            mate = int(self.pairs.vm_of[row])
            there = theirs.get(mate, []) if mate >= 0 else []
            if len(there) == len(mine):
                out[mine] = there
            elif there:  # something was not captured: each takes the last one that began before it, each once
                at = np.searchsorted(vm_start[there], start[mine] + self.clock.uncertain_ns, "right") - 1
                seen: set[int] = set()
                for i, j in zip(mine, at.tolist(), strict=True):
                    if j >= 0 and j not in seen:
                        out[i] = there[j]
                        seen.add(j)
        for i, asked in self._asked_of_relay().items():
            row = self.owner_of[int(self.up.capture.table("exchanges")["session_id"][asked])]
            there = theirs.get(int(self.pairs.vm_of[row]), [])
            at_ns = self.clock.to_host(self.vm.exchanges["request_end_ns"].astype(np.int64)[there])
            late = int(self.up.capture.table("exchanges")["request_end_ns"][asked]) + self.clock.uncertain_ns + pairing.TOLERANCE_NS
            before = np.flatnonzero(at_ns <= late)
            if len(before):
                out[i] = there[int(before[-1])]
        return out

    def _asked_of_relay(self) -> dict[int, int]:
        """Exchange of the upstream (by its place in ``exchange_rows``) -> row of the exchange with the relay that it carries on."""
        if not self.passed_on:
            return {}
        return {i: self.passed_on[row] for i, row in enumerate(self.up.exchange_rows.tolist()) if row in self.passed_on}

    def _said_to_relay(self, n: int) -> _Told:
        """Labels from the status that the relay passed on in the clear."""
        status = self.up.capture.table("exchanges")["status"]
        rejected, source, classes = np.full(n, UNLABELLED, np.int8), np.full(n, "", object), np.full(n, "", object)
        for i, asked in self._asked_of_relay().items():
            code = status[asked]
            if code is not None and (code == 429 or 200 <= code < 400):
                rejected[i], source[i] = (REJECTED if code == 429 else ACCEPTED), rejections.INFERRED
                classes[i] = logs.UNKNOWN if code == 429 else ""
        return rejected, source, classes

    def _take_over(self, side: np.ndarray[Any, Any], sessions: Sessions, carrier: Ints) -> None:
        """A request that a relay carries on belongs to whoever asked the relay; the relay's connection does so if all its requests are of one side."""
        x, c = self.up.capture.table("exchanges"), self.up.connections
        inner = set(c["orig_ip"][self.up.target].tolist())
        for i, asked in self._asked_of_relay().items():
            row = self.owner_of[int(x["session_id"][asked])]
            known = int(self.origin[row])
            side[i] = known if known != UNKNOWN else HOST if c["orig_ip"][row] in inner or _is_loopback(c["orig_ip"][row]) else VM
        if self.passed_on:
            for k in np.unique(carrier[carrier >= 0]).tolist():
                whose = np.unique(side[carrier == k])
                sessions.side[k] = whose[0] if len(whose) == 1 else UNKNOWN

    def _labels(self, mate: Ints) -> _Told:
        up, n = self.up, len(self.up.exchange_rows)
        told: list[_Told] = []
        own = self.origin[up.owner] if n else np.zeros(0, np.int8)
        if up.keys is not None:
            found = rejections.from_decrypted(up.exchanges, up.keys)
            told.append((found.rejected, found.source, found.refusal_class))
        first = [self._of_log(side, name or "vm", own)[0].sizes for name, side in self.sides.items() if side.log is not None]
        taught = tuple(sorted({size for sizes in first for size in sizes}))
        for name, side in self.sides.items():
            if side.log is None:
                continue
            log_side = name or "vm"
            found, rows = self._of_log(side, log_side, own, taught)
            if self._is_of_other(side, found, own):
                self.notes.append(
                    f"the error log given for the {_WORDS[log_side]} fits the requests of the other side far better; it is left out: are "
                    "--vm-errors and --host-errors exchanged?"
                )
                continue
            rejected, source, classes = np.full(n, UNLABELLED, np.int8), np.full(n, "", object), np.full(n, "", object)
            known, theirs = (rows, np.arange(len(rows))) if side is up else (np.flatnonzero(mate >= 0), mate[mate >= 0])
            rejected[known], source[known], classes[known] = found.rejected[theirs], found.source[theirs], found.refusal_class[theirs]
            told.append((rejected, source, classes))
            if side is self.vm:
                self.vm_labels = found
            self.unmatched += [{"side": log_side, "time_ns": e.time_ns, "line": e.line} for e in found.unmatched[:MAX_UNMATCHED]]
            begin, end = side.capture.part.bounds_ns or (0, 0)
            self.unmatched_within += sum(begin <= e.time_ns <= end for e in found.unmatched)
            if found.unmatched:
                self.notes.append(
                    f"{plural(len(found.unmatched), 'refusal')} in the error log of the {_WORDS[log_side]} match no request in the capture"
                )
            if found.note:
                self.notes.append(f"error log of the {_WORDS[log_side]}: {found.note}")
        if self.passed_on:
            told.append(self._said_to_relay(n))
        if up.labels is not None:
            told.append((up.labels.rejected, up.labels.source, up.labels.refusal_class))
        return _merge(told, n)

    def _of_log(self, side: Side, log_side: str, own: np.ndarray[Any, Any], taught: tuple[int, ...] = ()) -> tuple[rejections.Labels, Ints]:
        """Labels of a side's exchanges by its own log, and which exchanges these are."""
        assert side.log is not None
        rows = np.arange(len(side.exchange_rows))
        if side is self.up and side.name is not None and len(self.sides) > 1:
            rows = np.flatnonzero(own == _CODES[log_side])
        covers = log_side in self.covering and not side.log.cut  # what was not read of a log says nothing by its silence
        return rejections.from_log(side.exchanges.take(rows), side.log, covers=covers, taught=taught), rows

    def _is_of_other(self, side: Side, found: rejections.Labels, own: np.ndarray[Any, Any]) -> bool:
        """Whether a log's lines stand right behind answers of the other side instead: programs write a refusal down at once."""
        others = [s for s in self.sides.values() if s is not side]
        lag = rejections.typical_lag_ns(found, side.log)
        if not others or side.log is None or (lag is not None and lag < STRANGER_LAG_NS):
            return False
        other = replace(others[0], log=side.log)
        if others[0] is self.up:
            rows = np.flatnonzero(own == _CODES[other.name or "vm"])
            other.exchange_rows, other.owner = other.exchange_rows[rows], other.owner[rows]
        there = rejections.from_log(other.exchanges, side.log)
        their_lag = rejections.typical_lag_ns(there, side.log)
        enough = len(there.matched) >= max(rejections.MIN_LEARNED, len(found.matched))
        return enough and their_lag is not None and their_lag < STRANGER_LAG_NS and (lag is None or 4 * their_lag < lag)

    def _with_streams(self, table: Requests, rows: Ints, row_of: dict[int, int], sessions: Sessions) -> tuple[Requests, Ints]:
        """HTTP/2 requests from the key log in place of the turns of their sessions."""
        assert self.up.keys is not None
        streams = [r for r in self.up.keys.rows if r.http == "2"]
        if not streams:
            return table, rows
        of_session: dict[int, int] = {k: row for row, ids in enumerate(self.up_session_ids) for k in ids}
        replaced = {of_session.get(r.session_id, -1) for r in streams}
        copies: dict[int, dict[int, int]] = {}  # of NAT copies one is read: the one that shows most
        for r in streams:
            tally = copies.setdefault(of_session.get(r.session_id, -1), {})
            tally[r.session_id] = tally.get(r.session_id, 0) + 1
        read = {max(tally, key=lambda k: (tally[k], -k)) for tally in copies.values()}
        kept = np.flatnonzero(~np.isin(self.up.owner, list(replaced)))
        extra: list[tuple[int, ...]] = []
        for r in streams:
            owner = of_session.get(r.session_id, -1)
            k = row_of.get(owner, -1)
            if k < 0 or not self.up.target[owner] or r.session_id not in read:
                continue
            begin = r.request_end_ns if r.request_end_ns is not None else r.start_ns
            end = r.end_ns if r.end_ns is not None else int(sessions.end_ns[k])
            refused = rejections.refused(r)
            done = min(end, int(sessions.done_ns[k]))
            extra.append((int(self.origin[owner]), k, begin, max(end, begin), max(done, begin), refused, r.stream, r.frame))
        if not extra:
            return table, rows
        columns = [np.array(c, np.int64) for c in zip(*extra, strict=True)]
        side, session, begin_ns, end_ns, done_ns, label, stream, frame = columns
        vm_frame = sessions.vm_frame[session]
        more = Requests(
            side.astype(np.int8), session, begin_ns, end_ns, done_ns, label.astype(np.int8),
            np.array(["key log"] * len(extra), object), stream, frame, vm_frame,
        )  # fmt: skip
        return _joined(_take(table, kept), more), np.concatenate([rows[kept], np.full(len(extra), -1, np.int64)])

    def _leave_out_repeated(self, requests: Requests) -> None:
        """Where the clock of the upstream's capture was set back, nobody knows what was open when: such requests are no evidence for or against."""
        for frame, low, high in self.up.capture.part.decoder.times.set_back().tolist():
            there = (requests.start_ns >= low) & (requests.start_ns <= high)
            told = int((there & (requests.rejected != UNLABELLED)).sum())
            requests.rejected[there], requests.source[there] = UNLABELLED, ""
            firsts = np.cumsum([1] + [i.frames for i in self.up.capture.part.inputs]).tolist()[1:-1]
            if frame in firsts:
                path = printable(self.up.capture.part.inputs[firsts.index(frame) + 1].path)
                what, advice = f"{path} begins before the file before it ends", "give the files in the order of their times"
            else:
                whose = _WORDS[self.up.name or self._only_vantage() or SIDES[HOST]]
                what, advice = (
                    f"the {whose}'s clock was set back while recording, at frame {frame:,}",
                    "record again with the clock left alone",
                )
            self.notes.append(
                f"{what}: what happened in {(high - low) / 1e9:,.1f} s of these times cannot be put in order, so {plural(told, 'request')} of that time "
                f"{'is' if told == 1 else 'are'} no evidence; {advice}"
            )

    # --- the rest

    def _uncountable(self, requests: Requests) -> str | None:
        """Why requests cannot be counted: HTTP/2 offered on a connection of the target whose streams no key log shows."""
        shown = set(requests.session[requests.stream >= 0].tolist())
        hidden = [
            row for row in np.flatnonzero(self.up.target).tolist() if self.h2.intersection(self.up_session_ids[row]) and row not in shown
        ]
        known_by_keys = {r.session_id for r in self.up.keys.rows} if self.up.keys is not None else set()
        hidden = [row for row in hidden if not known_by_keys.intersection(self.up_session_ids[row])]
        busy = set(self.up.owner.tolist())
        hidden = [row for row in hidden if row in busy]
        if not hidden:
            return None
        return (
            f"a TLS key log (SSLKEYLOGFILE): HTTP/2 was offered on {plural(len(hidden), 'connection')}, "
            "where several requests share a connection and turn-taking does not tell them apart"
        )

    def _uncertain_ns(self) -> int:
        """How far the provider's moment of counting may be from what was captured: a round trip upstream and :data:`SLACK_NS`."""
        s = self.up.sessions
        ids = [k for row in np.flatnonzero(self.up.target).tolist() for k in self.up_session_ids[row]]
        trips = s["synack_ms"][ids]
        trips = trips[~np.isnan(trips)]
        return SLACK_NS + (int(np.median(trips) * 1e6) if len(trips) else 0)

    def _common_ns(self) -> tuple[int, int]:
        first, last = self.bounds_ns
        theirs = self.vm.capture.part.bounds_ns if self.vm is not None else None
        if theirs is not None:
            begin, end = (int(t) for t in self.clock.to_host(np.array(theirs, np.int64)))
            first, last = max(first, begin), min(last, end)
            if last < first and self.bounds_ns != (0, 0):
                earlier, later = ("VM", "host") if end < self.bounds_ns[0] else ("host", "VM")
                self.notes.append(
                    f"the captures do not overlap: the {earlier}'s ends {(first - last) / 1e9:,.1f} s before the {later}'s begins; "
                    "nothing of one can be found in the other"
                )
        return first, max(first, last)

    def _facts(self) -> dict[str, Any]:
        asker = self.sides.get("vm") or self.up
        lookups = asker.capture.table("lookups")
        seen_upstream = not self._egress()
        frames = [f for f in lookups["query_frame"].tolist() if f is not None]
        facts: dict[str, Any] = {
            "clock_unknown": self.vm is not None and not self._clock_told,
            "unmatched": self.unmatched_within,
            "lost_share": max(seen(side.capture).lost_share for side in self.sides.values()),
            "protocol_unknown": self.protocol_unknown,
            "lookups": lookups.rows,
            "lookups_unseen": not seen_upstream and any(_lookup_rows(side.capture).any() for side in self.sides.values()),
            "lookup_frames": [(asker.name or SIDES[VM], int(f)) for f in frames[:FRAMES]],
        }
        if self.pairs is not None and self.vm is not None:
            facts["pairs"] = int((self.vm.target & (self.pairs.host_of >= 0) & self.up.target[self.pairs.host_of]).sum())
            facts["unpaired"] = int(((self.pairs.host_of < 0) & self.vm.target).sum())
            facts["tails"] = self.pairs.tails
        return facts


def _was_opened(connections: Table) -> np.ndarray[Any, Any]:
    """Which connections were established, as far as can be told: they held a place at the server."""
    return np.array([state not in ("S0", "REJ", "RSTOS0", "SH") for state in connections["state"].tolist()], dtype=bool)


_Columns = TypeVar("_Columns", Requests, Sessions)


def _joined(one: _Columns, other: _Columns) -> _Columns:
    return type(one)(*(np.concatenate([getattr(one, f), getattr(other, f)]) for f in one.__dataclass_fields__))


def _take(table: Requests, index: Ints) -> Requests:
    return Requests(*(getattr(table, f)[index] for f in Requests.__dataclass_fields__))


def _by(values: Ints) -> dict[int, list[int]]:
    """Positions of each value, in order."""
    out: dict[int, list[int]] = {}
    for k, v in enumerate(values.tolist()):
        out.setdefault(v, []).append(k)
    return out
