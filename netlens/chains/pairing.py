"""Pairing: which connection of the host's capture carries which connection of the VM's, and whose each connection of the host is.

Theory of operation
-------------------
Methods from certain to likely; a connection that one has paired is left alone by the next.

1. *isn*. Translation keeps the initial sequence numbers: 64 random bits (RFC 6528). Where there was no answer, the SYN's number and the server.
2. *address*. The host sees the VM's packets before it translates them, with the VM's own address and port. That is used where a handshake is
   older than a capture, so that numbers are missing, and only for connections that overlap in time: ports are used again.
3. *hello*. A proxy such as sshuttle opens a TCP connection of its own, but passes the ClientHello on: its 32 random bytes are equal. Numbers or
   randoms that two connections of one capture have (a replayed or doubled capture) tell nothing and are left to the next method.
4. *assignment*, where hellos were cut, lost, older than the capture, or where there is no TLS. Each possible pair has a weight, the log of how
   much likelier it is seen if the two belong together than if they met by chance:

   - *time*: sshuttle accepts by itself, so the VM's SYN comes first and the host's follows in a few milliseconds; by chance it would follow at the
     rate at which the host's connections to this server begin;
   - *payload*: a tunnel neither adds nor loses bytes, so both totals are equal; by chance they are as often as others' are;
   - *inner times*: first and last payload and the close of both are as far apart in both captures, whatever the clocks;
   - *lookups* over TCP: transaction ids and names.

   What cannot be is no pair: another hello, another name, more bytes coming out than went in, an effect before its cause. The assignment of greatest
   weight is sought (:mod:`netlens.chains.matching`); its gap to the best assignment without a pair is the log of the odds, so that pair's
   confidence is 1 - exp(-gap). Below :data:`CONFIDENT` it is none. Connections that only differ in time are often tied; a tunnel is one
   ordered stream, so if as many came out as went in, they came out in order (:func:`_in_order`), and pairs that cross are dropped.

The clock. Exact pairs show what the clock is worth: where they contradict it (an effect a second before its cause), or where it is not known at all, their own
difference is used, and without any, that on which the connections with rare totals agree (:func:`_vote`).

Origins. The VM's: what is paired, and what has the VM's address. The host's own: what belonged to a process of the host other than the tunnel's (sockets), and
what carries a hello that the VM did not send though everything it sent then was captured. All else is unknown, also what could not be paired.

Companions. A forwarder that opens more connections than it was asked for does so at the same moment. So a session to the same server from
the same address, established and without a byte from this side, accompanies a forwarded connection if it begins between the VM's SYN and
shortly after the upstream session's, provided that such idle sessions are rare at other times: chance may explain at most :data:`CHANCE` of
those found.

Limits
------
- Proxies that change payload (HTTP proxies, TLS interception, compression that is not SSH's own) leave time alone, which pairs only what is far apart.
- Two idle connections opened at once through the tunnel, of which one is the forwarder's own, are told apart by nothing: both stay unpaired.
- A connection that was lost before the host's capture saw it can be confused with an equal one of the host's own at the same moment.
- Sockets are sampled: what lived for less than a second may have no owner.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from netlens.chains.matching import assign
from netlens.chains.situation import HOST, UNKNOWN, VM
from netlens.text import endpoint

if TYPE_CHECKING:
    from netlens.api import Capture
    from netlens.schema import Table

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Objects = npt.NDArray[np.object_]

MIN_ISN = 1 << 16  #: as for NAT copies: one random number in 65,536 is below, but those of scripts and simple stacks are
REFUSED = 0xFFFFFFFF  #: one below the number of an RST that answers a SYN, which is 0: tells as little as no answer
#: Longest delay from the VM's SYN to the host's. Measured 0.3 to 19 ms; an SSH connection with a retransmission timeout stalls for 200 ms and more.
MAX_DELAY_NS = 1_000_000_000
#: Usual delay, until pairs show it; half of it makes a busy machine's pairs weaker, twice of it lets chance in.
USUAL_DELAY_NS = 5_000_000
MIN_DELAY_NS = 1_000_000
MAX_USUAL_DELAY_NS = 100_000_000
RARE_DELAY = 0.1  #: share of delays that are not usual: machines stall
TOLERANCE_NS = 100_000  #: two frames of one machine are stamped in the wrong order by less (several interfaces, 1 us of rounding)
INNER_NS = 20_000_000  #: how far inner times differ without remark: both ways through the tunnel
#: Chance that another connection has the same totals although none in the capture does. Rejections of one API differ by 3 bytes only.
EQUAL_BY_CHANCE = 0.05
SHORT_BYTES, SHORT_BY_CHANCE = 256, 0.5  #: alerts, keep-alives and lookups have few lengths
ODD_CUT = 3.0  #: unequal totals are explained by a reset or loss once in about 20 connections
ODD_CLOSE = 2.0  #: the program closed, and upstream nothing did
INNER_MOST = 4.0  #: one odd time shall not outweigh equal totals
SAME_LOOKUP = 11.0  #: log of 65,536 transaction ids
CONFIDENT = 0.9  #: odds of ten to one; the wrong tenth is rarer, since chance is counted on the high side
LIKELY = 0.5  #: enough to learn usual delays from
MANY = 32  #: candidates of one connection that are weighed; a runner-up is among them if there is one
MANY_EQUAL = 8  #: connections with equal totals that are told apart without a clock: more would be guessing
MOST_EDGES = 1_000_000  #: possible pairs looked at in one step; more are thinned out
KNOWN_CLOCK_NS = 250_000_000  #: a clock that is less certain than this orders nothing by itself
VOTE_NS = 50_000_000  #: how far votes on the clock may differ: delays of both ways
VOTE_AHEAD = 5.0  #: the log of the odds by which the winner must lead
VOTERS = 3  #: as many must contradict a clock that is said to be known
VOTE_LEAST = 6.0  #: two connections with rare totals
ORDER_CONFIDENCE = 0.95  #: no two of 556 tunnelled connections changed places (gaps from 7 us)
COMPANION_NS = (10_000_000, 50_000_000, 250_000_000)  #: windows tried for companions, from sure to loose
CHANCE = 0.1  #: share of companions that chance may explain
_NOT_OPENED = frozenset({"S0", "REJ", "RSTOS0", "RSTRH", "SH", "SHR"})  #: states of sessions that held no place at the server
FROM_GUESTS = ("sshuttle", "nat")  #: paths of connections that the host carries for another machine
FORWARDERS = ("sshd", "sshuttle", "python")  #: beginnings of the names of processes that open connections for the VM

_NONE = np.iinfo(np.int64).min
START, FIRST_UP, LAST_UP, FIRST_DOWN, LAST_DOWN, DONE, SERVER_FIN = range(7)  #: events of a connection
_BASES = (START, DONE, FIRST_UP, LAST_UP)  #: by preference, the event whose delay counts; all go from the VM to the host
_FAR_NS = 1 << 61


class Clock(Protocol):
    """Takes the VM's times to the host's clock; ``uncertain_ns`` is how far it may be off."""

    @property
    def uncertain_ns(self) -> int: ...

    def to_host(self, ns: Ints, /) -> Ints: ...


@dataclass(frozen=True)
class Tail:
    """What was left of a connection upstream after the VM's program was done with it.

    done_ns : the program's FIN or RST, on the host's clock.  end_ns : end of the upstream session; of one still open, the end of the host's capture.
    lived_s : from one to the other, at least 0.  bytes_after : payload that the upstream session received after ``done_ns``; None if unknown.
    vm_frame, host_frame : last frame of the connection in each capture.
    """

    vm_row: int
    host_row: int
    done_ns: int
    end_ns: int
    lived_s: float
    bytes_after: int | None
    vm_frame: int
    host_frame: int


@dataclass(frozen=True, eq=False)
class Pairing:
    """Which connections of two captures are one; rows number the rows of ``connections`` of each.

    host_of, method, confidence : per connection of the VM: the host's (-1: none); "isn", "address", "hello", "assignment" or ""; 1.0 for the
    exact methods, NaN where there is none.
    vm_of, companion_of, origin, origin_why : per connection of the host: the VM's (-1: none); the VM's that it was opened beside (-1: none);
    VM, HOST or UNKNOWN, and why.
    lookup_pairs : int64[k, 2], rows of ``lookups`` of VM and host.
    """

    host_of: Ints
    method: Objects
    confidence: Floats
    vm_of: Ints
    companion_of: Ints
    origin: npt.NDArray[np.int8]
    origin_why: Objects
    lookup_pairs: Ints
    tails: list[Tail] = field(repr=False)


def pair(
    vm: Capture, host: Capture, clock: Clock, sockets: Iterable[Mapping[str, Any]] = (), *, vm_addresses: Collection[str] = ()
) -> Pairing:
    """Pair the connections and lookups of the VM's capture with those of the host's.

    Parameters
    ----------
    vm, host : the two captures.
    clock : takes the VM's times to the host's clock.
    sockets : samples of the host's sockets (rows of ``sockets.jsonl``), if there are any.
    vm_addresses : addresses that are known to be the VM's; others are told by how often they stand in its capture.
    """
    servers: dict[Any, int] = {}
    v, h = _Side(vm, servers), _Side(host, servers)
    v.to_host(clock)
    found = _Found(v, h)
    _by_numbers(found)
    _by_address(found, _uncertain(clock))
    _by_hello(found)
    owners = _owners(h, sockets)
    tunnel_pids = _tunnel_pids(found, owners)
    own = np.array([_is_own(o, tunnel_pids) for o in owners], dtype=bool)
    time = _timing(found, _uncertain(clock))
    _by_assignment(found, time, own)
    companion_of = _companions(found, time, own, owners, tunnel_pids)
    origin, why = _origins(found, time, own, owners, tunnel_pids, companion_of, _addresses(v, vm_addresses))
    return Pairing(
        found.host_of,
        found.method,
        found.confidence,
        found.vm_of,
        companion_of,
        origin,
        why,
        _lookups(found, time),
        _tails(found, time),
    )


def through_relays(found: Pairing, served: Mapping[int, int]) -> Pairing:
    """The pairing with connections of the VM that a relay on the host carries on: they end in the relay's own connections, not in those to the relay.

    Parameters
    ----------
    served : rows of the host's connections: one that a relay opened -> the one that it was opened for.
    """
    if not served:
        return found
    host_of, vm_of, origin, why = found.host_of.copy(), found.vm_of.copy(), found.origin.copy(), found.origin_why.copy()
    for up, down in served.items():
        mate = int(vm_of[down])
        if mate >= 0 and vm_of[up] < 0:
            host_of[mate], vm_of[up], vm_of[down] = up, mate, -1
        if origin[down] != UNKNOWN:
            origin[up], why[up] = origin[down], f"opened by a relay for one that was {why[down]}"
    return replace(found, host_of=host_of, vm_of=vm_of, origin=origin, origin_why=why)


def _uncertain(clock: Clock) -> int:
    """A clock that nothing bounds converts nothing, whatever it says of itself."""
    return _FAR_NS if getattr(clock, "method", "") == "none" else int(min(max(clock.uncertain_ns, 0), _FAR_NS))


# --- what is compared ---------------------------------------------------------------------------------------------------------------


class _Side:
    """Connections of one capture as arrays; missing times are ``_NONE``."""

    def __init__(self, capture: Capture, servers: dict[Any, int]) -> None:
        c, s, hellos = capture.table("connections"), capture.table("sessions"), capture.table("hellos")
        self.lookups = capture.table("lookups")
        self.connections, self.sessions = c, s
        self.n = n = c.rows
        members = c["session_ids"].tolist()
        self.of = np.repeat(np.arange(n), [len(ids) for ids in members])  # connection of each member session
        place = {k: i for i, k in enumerate(s["session_id"].tolist())}
        self.member = np.array([place[k] for ids in members for k in ids], dtype=np.int64)  # row of each member session
        self.members = [[place[k] for k in ids] for ids in members]
        ends = zip(c["resp_ip"].tolist(), c["resp_port"].tolist(), strict=True)
        self.server = np.array([servers.setdefault(e, len(servers)) for e in ends], dtype=np.int64)
        self.orig_ip, self.orig_port = c["orig_ip"].tolist(), c["orig_port"].tolist()
        self.local = np.array([_is_loopback(ip) for ip in c["resp_ip"].tolist()], dtype=bool)
        self.forwarded = np.array([p is not None for p in c["redirect_port"].tolist()], dtype=bool)
        self.censored = c["started_before_capture"].astype(bool)
        self.open_end = c["open_at_end"].astype(bool)
        self.start, self.end = c["start_ns"].astype(np.int64), c["end_ns"].astype(np.int64)
        self.state = c["state"].tolist()
        self.up, self.down = c["orig_bytes"].astype(np.int64), c["resp_bytes"].astype(np.int64)
        self.up_missing = self._missing("orig", self.up)
        self.down_missing = self._missing("resp", self.down)
        self.events = np.full((n, 7), _NONE, np.int64)
        self.events[:, START] = np.where(self.censored, _NONE, self.start)
        self.events[:, FIRST_UP] = self._earliest("orig_first_payload_ns")
        self.events[:, LAST_UP] = self._latest("orig_last_payload_ns")
        self.events[:, FIRST_DOWN] = self._earliest("resp_first_payload_ns")
        self.events[:, LAST_DOWN] = self._latest("resp_last_payload_ns")
        self.events[:, DONE] = self._earliest("orig_fin_ns", "rst_ns")
        self.events[:, SERVER_FIN] = self._earliest("resp_fin_ns")
        self.reset = self._earliest("rst_ns") != _NONE
        self.isn, self.answer = self._numbers("orig_isn"), self._numbers("resp_isn")
        spans = s if s.rows else None
        bounds = capture.part.bounds_ns or ((int(spans["start_ns"].min()), int(spans["end_ns"].max())) if spans else (0, 0))
        self.first, self.last = bounds  # of all frames: lookups show too that the capture ran
        self.randoms: list[set[str]] = [set() for _ in range(n)]
        at = {k: i for i, ids in enumerate(members) for k in ids}
        for k, random in zip(hellos["session_id"].tolist(), hellos["random"].tolist(), strict=True):
            if random is not None and k in at:
                self.randoms[at[k]].add(random)
        exchanges = capture.table("exchanges")
        self.request_of = np.array([at.get(k, -1) for k in exchanges["session_id"].tolist()], np.int64)
        self.request_ns = exchanges["start_ns"].astype(np.int64)
        self.asked = self._asked()
        self.asked_ns, self.answered_ns = _nullable(self.lookups["query_ns"]), _nullable(self.lookups["answer_ns"])

    def to_host(self, clock: Clock) -> None:
        """Take all times to the host's clock."""
        if self.n:
            self.start, self.end = clock.to_host(self.start), clock.to_host(self.end)
            known = self.events != _NONE
            self.events[known] = clock.to_host(self.events[known])
        for times in (self.asked_ns, self.answered_ns):
            known = times != _NONE
            if known.any():
                times[known] = clock.to_host(times[known])
        if self.sessions.rows:
            self.first, self.last = clock.to_host(np.array([self.first, self.last], np.int64)).tolist()

    def shift(self, by_ns: int) -> None:
        self.start, self.end = self.start + by_ns, self.end + by_ns
        for times in (self.events, self.asked_ns, self.answered_ns):
            times[times != _NONE] += by_ns
        self.first, self.last = self.first + by_ns, self.last + by_ns

    def _column(self, name: str) -> Ints:
        values = _nullable(self.sessions[name])
        return values[self.member]

    def _earliest(self, *names: str) -> Ints:
        out = np.full(self.n, np.iinfo(np.int64).max)
        for name in names:
            values = self._column(name)
            known = values != _NONE
            np.minimum.at(out, self.of[known], values[known])
        return np.where(out == np.iinfo(np.int64).max, _NONE, out)

    def _latest(self, name: str) -> Ints:
        out = np.full(self.n, _NONE)
        np.maximum.at(out, self.of, self._column(name))
        return out

    def _missing(self, side: str, seen: Ints) -> Ints:
        """Bytes known to be lost to the capture. What one redirect half lacks is all in the other, and its FIN counts as one there."""
        values = self._column(f"{side}_missing_bytes")
        least = np.full(self.n, np.iinfo(np.int64).max)
        most = np.zeros(self.n, np.int64)
        np.minimum.at(least, self.of, values)
        np.maximum.at(most, self.of, values)
        beyond = most - seen
        return np.where(self.forwarded, np.where(beyond > 1, beyond, 0), least)

    def _numbers(self, name: str) -> Ints:
        """Initial sequence number; -1 where it is unknown or not drawn at random."""
        out = np.full(self.n, -1)
        values = self._column(name)
        good = (values >= MIN_ISN) & (values != REFUSED)
        out[self.of[good]] = values[good]
        return out

    def _asked(self) -> list[frozenset[Any]]:
        """Questions that each connection carried (DNS over TCP)."""
        t = self.lookups
        chosen = np.flatnonzero(t["transport"] == "tcp")
        out: list[frozenset[Any]] = [frozenset()] * self.n
        if not len(chosen):
            return out
        by_end = defaultdict(list)
        for k in chosen.tolist():
            ns = t["query_ns"][k] if t["query_ns"][k] is not None else t["answer_ns"][k]
            by_end[t["orig_ip"][k], int(t["orig_port"][k])].append((ns, (int(t["txid"][k]), t["qname"][k], t["qtype"][k])))
        for i, end in enumerate(zip(self.orig_ip, self.orig_port, strict=True)):
            if end in by_end:
                last = int(self.connections["end_ns"][i])
                first = int(self.connections["start_ns"][i])
                out[i] = frozenset(q for ns, q in by_end[end] if ns is not None and first <= ns <= last)
        return out


def _nullable(values: npt.NDArray[Any]) -> Ints:
    """A column of nullable numbers, a copy."""
    return np.array([_NONE if x is None else x for x in values.tolist()], dtype=np.int64)


@lru_cache(maxsize=4096)  # captures have few addresses and many connections
def _is_loopback(ip: str) -> bool:
    return ipaddress.ip_address(ip.partition("%")[0]).is_loopback


class _Found:
    """The pairs so far."""

    def __init__(self, v: _Side, h: _Side) -> None:
        self.v, self.h = v, h
        self.host_of = np.full(v.n, -1, np.int64)
        self.vm_of = np.full(h.n, -1, np.int64)
        self.method = np.full(v.n, "", dtype=object)
        self.confidence = np.full(v.n, np.nan)

    def add(self, i: int, j: int, method: str, confidence: float = 1.0) -> None:
        self.host_of[i], self.vm_of[j] = j, i
        self.method[i], self.confidence[i] = method, confidence

    def unique(self, mine: Mapping[int, Iterable[Any]], others: Mapping[int, Iterable[Any]], method: str) -> None:
        """Pair rows that share a key which nobody else on either side has; keys that disagree pair nothing."""
        there, here = _only(mine), _only(others)
        shared: dict[int, set[int]] = defaultdict(set)
        back: dict[int, set[int]] = defaultdict(set)
        for key, i in there.items():
            if key in here:
                shared[i].add(here[key])
                back[here[key]].add(i)
        for i, js in shared.items():
            j = min(js)
            if len(js) == 1 and len(back[j]) == 1:
                self.add(i, j, method)

    def free_vm(self) -> Ints:
        return np.flatnonzero((self.host_of < 0) & ~self.v.local)

    def free_host(self) -> Ints:
        return np.flatnonzero((self.vm_of < 0) & ~self.h.local)


def _only(keys: Mapping[int, Iterable[Any]]) -> dict[Any, int]:
    """Keys that one row alone has."""
    rows: dict[Any, int] = {}
    for i, own in keys.items():
        for key in own:
            rows[key] = -1 if key in rows else i
    return {key: i for key, i in rows.items() if i >= 0}


# --- exact methods ------------------------------------------------------------------------------------------------------------------


def _by_numbers(found: _Found) -> None:
    v, h = found.v, found.h

    def both(t: _Side, rows: Ints) -> dict[int, list[Any]]:
        return {i: [(int(t.isn[i]), int(t.answer[i]))] for i in rows.tolist() if t.isn[i] >= 0 and t.answer[i] >= 0}

    def alone(t: _Side, rows: Ints) -> dict[int, list[Any]]:
        # a redirected connection is answered by the proxy; nobody else has its numbers
        return {i: [(int(t.isn[i]), int(t.server[i]))] for i in rows.tolist() if t.isn[i] >= 0 and t.answer[i] < 0 and not t.forwarded[i]}

    for keys in (both, alone):
        found.unique(keys(v, found.free_vm()), keys(h, found.free_host()), "isn")


def _by_address(found: _Found, uncertain_ns: int) -> None:
    """Equal ends, overlapping, where at least one capture does not know the numbers."""
    v, h = found.v, found.h
    at = defaultdict(list)
    for j in found.free_host().tolist():
        at[h.orig_ip[j], h.orig_port[j], int(h.server[j])].append(j)
    slack = uncertain_ns + TOLERANCE_NS
    near = defaultdict(list)
    for i in found.free_vm().tolist():
        for j in at.get((v.orig_ip[i], v.orig_port[i], int(v.server[i])), ()):
            known = v.isn[i] >= 0 and h.isn[j] >= 0
            if not known and v.start[i] <= h.end[j] + slack and h.start[j] <= v.end[i] + slack:
                near[i].append(j)
    takers = Counter(j for js in near.values() for j in js)
    for i, js in near.items():
        if len(js) == 1 and takers[js[0]] == 1:
            found.add(i, js[0], "address")


def _by_hello(found: _Found) -> None:
    # Which random is ambiguous is decided over all connections, also those that are paired already.
    v, h = found.v, found.h
    # A program's connection to a relay on its own machine (SOCKS, ssh -L) is local, and its hello goes on.
    free_v, free_h = set(np.flatnonzero(found.host_of < 0).tolist()), set(found.free_host().tolist())
    mine = {i: [r] for r, i in _only(dict(enumerate(v.randoms))).items() if i in free_v}
    others = {j: [r] for r, j in _only(dict(enumerate(h.randoms))).items() if j in free_h}
    found.unique(mine, others, "hello")


# --- whose sockets ------------------------------------------------------------------------------------------------------------------


def _owners(h: _Side, sockets: Iterable[Mapping[str, Any]]) -> list[set[tuple[str, int | None]]]:
    """(process, pid) of each connection of the host, as far as a sample shows it while the connection was there."""
    out: list[set[tuple[str, int | None]]] = [set() for _ in range(h.n)]
    samples = defaultdict(list)
    for row in sockets:
        if row.get("side", "host") == "host" and row.get("process"):
            key = (_plain(str(row.get("local", ""))), _plain(str(row.get("remote", ""))))
            samples[key].append((int(row.get("time_ns") or 0), str(row["process"]), row.get("pid")))
    if not samples:
        return out
    resp_ip, resp_port = h.connections["resp_ip"].tolist(), h.connections["resp_port"].tolist()
    for j in range(h.n):
        key = (endpoint(h.orig_ip[j], h.orig_port[j]), endpoint(resp_ip[j], resp_port[j]))
        # the time is taken before the sockets are listed
        out[j] = {(name, pid) for ns, name, pid in samples.get(key, ()) if h.start[j] - KNOWN_CLOCK_NS <= ns <= h.end[j]}
    return out


def _plain(end: str) -> str:
    """An IPv4 address that a socket of IPv6 uses stands without its prefix."""
    lower = end.lower()
    if lower.startswith("[::ffff:") and "." in lower:
        return lower[8:].replace("]", "")
    return lower


def _forwards(process: str) -> bool:
    return process.lower().startswith(FORWARDERS)


def _tunnel_pids(found: _Found, owners: list[set[tuple[str, int | None]]]) -> set[int]:
    """Processes that opened connections which certainly came through the tunnel."""
    rows = np.flatnonzero((found.vm_of >= 0) & found.v.forwarded[found.vm_of]) if found.v.n else ()
    return {pid for j in rows for name, pid in owners[j] if pid is not None and _forwards(name)}


def _is_own(owners: set[tuple[str, int | None]], tunnel_pids: set[int]) -> bool:
    """Whether a process of the host's own had it; a Python may be the tunnel's, unless that is known by its number."""
    if not owners or any(pid in tunnel_pids for _, pid in owners):
        return False
    return all(not _forwards(name) or (bool(tunnel_pids) and pid is not None and name.lower().startswith("python")) for name, pid in owners)


# --- the clock ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Time:
    """How far times of both sides, all on the host's clock by now, can be compared."""

    uncertain_ns: int

    @property
    def known(self) -> bool:
        return self.uncertain_ns <= KNOWN_CLOCK_NS


def _timing(found: _Found, uncertain_ns: int) -> _Time:
    """The clock as given, unless it is unknown or contradicted; then what exact pairs show, else what rare totals agree on."""
    v, h = found.v, found.h
    rows = np.flatnonzero(found.host_of >= 0)
    differences = h.events[found.host_of[rows], START] - v.events[rows, START]
    differences = differences[(h.events[found.host_of[rows], START] != _NONE) & (v.events[rows, START] != _NONE)]
    if len(differences):
        typical = int(np.median(differences))
        contradicted = not -uncertain_ns - TOLERANCE_NS <= typical <= MAX_DELAY_NS + uncertain_ns
        if not contradicted and uncertain_ns <= KNOWN_CLOCK_NS:
            return _Time(uncertain_ns)
        low, high = int(differences.min()), int(differences.max())
        v.shift(low)
        return _Time(max(high - low, MIN_DELAY_NS))
    voted = _vote(found)
    if voted is None:
        return _Time(uncertain_ns)
    low, width, voters = voted
    agrees = -uncertain_ns - VOTE_NS <= low <= MAX_DELAY_NS + uncertain_ns
    if uncertain_ns <= KNOWN_CLOCK_NS and (agrees or voters < VOTERS):
        return _Time(uncertain_ns)
    v.shift(low)
    return _Time(width)


def _vote(found: _Found) -> tuple[int, int, int] | None:
    """How far to shift the VM's times, how far that may be off, and how many say so: lookups that are equal and connections whose totals agree.

    None if there is no clear winner.
    """
    v, h = found.v, found.h
    i, j = _equal_totals(found, found.free_vm(), found.free_host(), 2 * MANY)
    x, begun = _difference(v, h, i, j, START)
    i, j, x = i[begun], j[begun], x[begun]
    many = np.maximum(np.bincount(j, minlength=h.n)[j], np.bincount(i, minlength=v.n)[i])
    weight = -np.log(many - 1 + _by_chance(h)[j]) - _inner(v, h, i, j)
    asked, asked_weight = _lookup_votes(found)
    x, weight = np.concatenate([x, asked]), np.concatenate([weight, asked_weight])
    keep = weight > 0
    x, weight = x[keep], weight[keep]
    if not len(x):
        return None
    order = np.argsort(x, kind="stable")
    x, weight = x[order], weight[order]
    total = np.concatenate([[0.0], np.cumsum(weight)])
    until = np.searchsorted(x, x + VOTE_NS, side="right")
    votes = total[until] - total[: len(x)]
    best = int(np.argmax(votes))
    elsewhere = (x > x[best] + VOTE_NS) | (x < x[best] - VOTE_NS)
    second = float(votes[elsewhere].max()) if elsewhere.any() else 0.0
    if votes[best] < VOTE_LEAST or votes[best] - second < VOTE_AHEAD:
        return None
    x, weight = x[best : until[best]], np.cumsum(weight[best : until[best]])
    low, high = x[np.searchsorted(weight, [0.1 * weight[-1], 0.9 * weight[-1]])].tolist()
    return low, high - low + MIN_DELAY_NS, len(x)


def _lookup_votes(found: _Found) -> tuple[Ints, Floats]:
    """Differences of lookups with a question that one connection or datagram of each side alone asked, and what an equal id is worth."""
    v, h = found.v, found.h
    mine, others = (
        _only({i: [key] for i, key in enumerate(_question_keys(v.lookups))}),
        _only({j: [key] for j, key in enumerate(_question_keys(h.lookups))}),
    )
    there, here = h.asked_ns, v.asked_ns
    x = [int(there[others[k]] - here[i]) for k, i in mine.items() if k in others and there[others[k]] != _NONE and here[i] != _NONE]
    return np.array(x, dtype=np.int64), np.full(len(x), max(SAME_LOOKUP - np.log(max(len(mine), len(others), 1)), 0.0))


def _equal_totals(found: _Found, vm_rows: Ints, host_rows: Ints, most: int) -> tuple[Ints, Ints]:
    """Possible pairs with the same server and the same totals, where neither is shared by more than ``most`` connections."""
    v, h = found.v, found.h
    there = defaultdict(list)
    for j in host_rows.tolist():
        there[int(h.server[j]), int(h.up[j]), int(h.down[j])].append(j)
    here = defaultdict(list)
    for i in vm_rows.tolist():
        here[int(v.server[i]), int(v.up[i]), int(v.down[i])].append(i)
    pairs = [(i, j) for key, js in there.items() if len(js) <= most >= len(here.get(key, ())) for i in here.get(key, ()) for j in js]
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return edges[:, 0], edges[:, 1]


# --- assignment ---------------------------------------------------------------------------------------------------------------------


def _by_assignment(found: _Found, time: _Time, own: Bools) -> None:
    v, h = found.v, found.h
    vm_rows = found.free_vm()
    host_rows = np.array([j for j in found.free_host().tolist() if not own[j]], dtype=np.int64)
    if not len(vm_rows) or not len(host_rows):
        return
    i, j = _candidates(found, vm_rows, host_rows, time)
    possible = _possible(found, i, j, time)
    i, j = i[possible], j[possible]
    fifo = _is_fifo(found)
    usual = _usual_delay(found, time)
    for attempt in range(2):  # the second time with the delays that the first has shown
        weight = _weights(found, i, j, time, usual)
        a, b, w = _heaviest(i, j, weight)
        column, gap = assign(a, b, w)
        sure = 1 - np.exp(-gap)
        chosen = np.flatnonzero((column >= 0) & (sure >= CONFIDENT))
        if attempt or usual is not None:
            break
        likely = np.flatnonzero((column >= 0) & (sure >= LIKELY))
        usual = _delay_of(v.events[likely, START], h.events[column[likely], START], time)
        if usual is None:
            break
    accepted = {int(k): (int(column[k]), float(sure[k])) for k in chosen}
    if fifo and time.uncertain_ns <= USUAL_DELAY_NS:
        accepted |= _in_order(found, accepted, a, b, w)
    for k in _crossing(found, accepted) if fifo else ():
        del accepted[k]
    for k, (other, confidence) in accepted.items():
        found.add(k, other, "assignment", confidence)


def _candidates(found: _Found, vm_rows: Ints, host_rows: Ints, time: _Time) -> tuple[Ints, Ints]:
    """Pairs that may be looked at: by time where both began in their captures and the clock is known, else by equal totals."""
    v, h = found.v, found.h
    lists: list[tuple[Ints, Ints]] = [(vm_rows[:0], host_rows[:0])]  # perhaps nothing may be looked at
    began_v, began_h = vm_rows[~v.censored[vm_rows]], host_rows[~h.censored[host_rows]]
    if time.known:
        order = began_h[np.lexsort((h.start[began_h], h.server[began_h]))]
        for server in np.unique(v.server[began_v]).tolist():
            mine = began_v[v.server[began_v] == server]
            others = order[h.server[order] == server]
            low = np.searchsorted(h.start[others], v.start[mine] - time.uncertain_ns - TOLERANCE_NS)
            high = np.searchsorted(h.start[others], v.start[mine] + time.uncertain_ns + MAX_DELAY_NS, side="right")
            high = np.minimum(high, low + max(MANY, MOST_EDGES // max(len(began_v), 1)))
            counts = np.maximum(high - low, 0)
            first = np.repeat(low - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
            lists.append((np.repeat(mine, counts), others[first + np.arange(counts.sum())]))
    else:
        lists.append(_equal_totals(found, began_v, began_h, MANY_EQUAL))
    # Those that were open when one capture began: few, so each with each that was open in the other then.
    old_v, old_h = vm_rows[v.censored[vm_rows]], host_rows[h.censored[host_rows]]
    slack = time.uncertain_ns + MAX_DELAY_NS
    early_v = began_v[v.start[began_v] <= h.first + slack] if len(old_h) else began_v[:0]
    early_h = began_h[h.start[began_h] <= v.first + slack] if len(old_v) else began_h[:0]
    for mine, others in ((old_v, np.concatenate([old_h, early_h])), (early_v, old_h)):
        if len(mine) * len(others) > MOST_EDGES:
            lists.append(_equal_totals(found, mine, others, MANY_EQUAL))
        elif len(mine) and len(others):
            a, b = np.repeat(mine, len(others)), np.tile(others, len(mine))
            lists.append((a, b))
    i = np.concatenate([a for a, _ in lists])
    j = np.concatenate([b for _, b in lists])
    keep = v.server[i] == h.server[j]
    return i[keep], j[keep]


def _possible(found: _Found, i: Ints, j: Ints, time: _Time) -> Bools:
    """Which pairs nothing forbids."""
    v, h = found.v, found.h
    ok = (v.start[i] <= h.end[j] + time.uncertain_ns + TOLERANCE_NS) & (h.start[j] <= v.end[i] + time.uncertain_ns + MAX_DELAY_NS)
    # translation would have kept the numbers
    ok &= ~(~v.forwarded[i] & (v.isn[i] >= 0) & (h.isn[j] >= 0) & (v.isn[i] != h.isn[j]))
    # no more comes out than went in; what was lost to the capture is known by its acknowledgment
    ok &= ~(~v.censored[i] & ~v.open_end[i] & (h.up[j] > v.up[i] + v.up_missing[i]))
    ok &= ~(~h.censored[j] & ~h.open_end[j] & (v.down[i] > h.down[j] + h.down_missing[j]))
    # who was forwarded an answer had its question forwarded
    opened = ~np.isin(np.array(h.state, dtype=object), list(_NOT_OPENED)) if h.n else np.zeros(0, bool)
    whole = ~(v.censored[i] | h.censored[j] | h.open_end[j]) & (h.up_missing[j] == 0)
    ok &= ~(whole & opened[j] & (h.up[j] == 0) & (v.up[i] > 0))
    # in an orderly close everything arrives
    orderly = whole & ~v.open_end[i] & ~v.reset[i] & ~h.reset[j] & (v.up_missing[i] + v.down_missing[i] + h.down_missing[j] == 0)
    ok &= ~(orderly & ((h.up[j] != v.up[i]) | (h.down[j] != v.down[i])))
    if time.known:
        for event, sign in ((START, 1), (FIRST_UP, 1), (FIRST_DOWN, -1)):
            x, valid = _difference(v, h, i, j, event)
            ok &= ~(valid & (sign * x < -time.uncertain_ns - TOLERANCE_NS))
    names: dict[Any, int] = {None: -1}
    name, other = (np.array([names.setdefault(x, len(names)) for x in t.connections["sni"].tolist()], np.int64) for t in (v, h))
    ok &= (name[i] < 0) | (other[j] < 0) | (name[i] == other[j])
    # one whose random is in both captures once has a partner, which it was not paired with for a reason
    mine, others = _only(dict(enumerate(v.randoms))), _only(dict(enumerate(h.randoms)))
    placed_v = np.array([any(r in mine and r in others for r in rs) for rs in v.randoms], dtype=bool)
    placed_h = np.array([any(r in mine and r in others for r in rs) for rs in h.randoms], dtype=bool)
    ok &= ~(placed_v[i] | placed_h[j])
    for left, right in ((v.randoms, h.randoms), (v.asked, h.asked)):
        both = np.array([bool(x) for x in left], dtype=bool)[i] & np.array([bool(x) for x in right], dtype=bool)[j]
        for k in np.flatnonzero(ok & both).tolist():
            ok[k] = not left[i[k]].isdisjoint(right[j[k]])
    return ok


def _difference(v: _Side, h: _Side, i: Ints, j: Ints, event: int) -> tuple[Ints, Bools]:
    """Host's time of an event less the VM's, and where both saw that same event."""
    a, b = v.events[i, event], h.events[j, event]
    valid = (a != _NONE) & (b != _NONE)
    if event in (FIRST_UP, FIRST_DOWN):
        # of an older connection, the first payload seen is the same only after both captures had begun
        begun = max(v.first, h.first)
        valid &= ~(v.censored[i] | h.censored[j]) | ((a > begun) & (b > begun))
    elif event == LAST_UP:
        valid &= v.up[i] == h.up[j]
    elif event == LAST_DOWN:
        valid &= v.down[i] == h.down[j]
    return np.where(valid, b - np.where(valid, a, b), 0), valid


def _inner(v: _Side, h: _Side, i: Ints, j: Ints) -> Floats:
    """What inner times that differ between the captures take from the weight; needs no clock."""
    differences = np.empty((len(i), 7), np.int64)
    valid = np.empty((len(i), 7), bool)
    for event in range(7):
        differences[:, event], valid[:, event] = _difference(v, h, i, j, event)
    # from the middle one: a stall makes one event late, and that shall count once
    ranked = np.sort(np.where(valid, differences, np.iinfo(np.int64).max), axis=1)
    middle = ranked[np.arange(len(i)), np.maximum(valid.sum(axis=1) - 1, 0) // 2]
    off = np.abs(np.where(valid, differences - middle[:, None], 0)) / INNER_NS
    cost = np.minimum(np.log1p(off), INNER_MOST).sum(axis=1)
    # the program closed long before the host's capture ended, and upstream nothing did
    done = v.events[i, DONE]
    left = (done != _NONE) & (h.events[j, DONE] == _NONE) & (done + MAX_DELAY_NS < h.last)
    return cost + np.where(left, ODD_CLOSE, 0.0)


def _weights(found: _Found, i: Ints, j: Ints, time: _Time, usual_ns: float | None) -> Floats:
    """Log of how much likelier each pair is than chance."""
    v, h = found.v, found.h
    base = np.full(len(i), -1, np.int64)
    delay = np.zeros(len(i), np.int64)
    for event in reversed(_BASES):
        x, valid = _difference(v, h, i, j, event)
        base[valid], delay[valid] = event, x[valid]
    # how many of the host's connections go to the server, and how often one begins
    servers = int(max(h.server.max(), v.server.max())) + 1
    count = np.bincount(h.server, minlength=servers).astype(float)[h.server[j]]
    span = float(max(h.last - h.first, MAX_DELAY_NS))
    tau = float(usual_ns or USUAL_DELAY_NS) + 2.0 * time.uncertain_ns
    rate = count / span
    if time.known:
        # where the clock is uncertain, the next one of a burst is as good a partner; where it is certain, cause and order tell
        blur = 2.0 * time.uncertain_ns / tau
        rate = rate + blur * np.maximum(_bursts(v, servers, tau), _bursts(h, servers, tau))[h.server[j]]
        off = np.where(delay < 0, -2 * delay, delay)  # a close may be seen late at the VM, but an effect before its cause is odd
        usual = (1 - RARE_DELAY) / tau * np.exp(-off / tau)
        rare = np.where(off > MAX_DELAY_NS + 2.0 * time.uncertain_ns, 1e-3 * rate, RARE_DELAY / (MAX_DELAY_NS + 2.0 * time.uncertain_ns))
        density = usual + rare
        weight = np.where(base >= 0, np.log(density / rate), -np.log(count))
    else:
        weight = -np.log(np.minimum(count, np.maximum(1.0, rate * 2.0 * time.uncertain_ns)))
    weight += _equality(found, i, j, count)
    weight -= _inner(v, h, i, j)
    # those that asked different questions are no pairs (_possible)
    asks_v, asks_h = (np.array([bool(x) for x in t.asked], dtype=bool) for t in (v, h))
    return weight + np.where(asks_v[i] & asks_h[j], SAME_LOOKUP, 0.0)


def _bursts(t: _Side, servers: int, window_ns: float) -> Floats:
    """By server: how often another connection begins within a window around one; above the mean rate where they come in bursts."""
    order = np.flatnonzero(~t.censored)
    order = order[np.lexsort((t.start[order], t.server[order]))]
    # one axis for all servers: far enough apart that no window reaches from one to the next
    begun = t.start[order] - (t.start[order].min() if len(order) else 0)
    at = begun + t.server[order] * (int(begun.max(initial=0)) + 4 * int(window_ns) + 1)
    others = np.searchsorted(at, at + int(window_ns), side="right") - np.searchsorted(at, at - int(window_ns)) - 1
    total = np.bincount(t.server[order], weights=others, minlength=servers)
    return total / np.maximum(np.bincount(t.server[order], minlength=servers), 1) / (2 * window_ns)


def _by_chance(h: _Side) -> Floats:
    return np.where(h.up + h.down < SHORT_BYTES, SHORT_BY_CHANCE, EQUAL_BY_CHANCE)


def _equality(found: _Found, i: Ints, j: Ints, count: Floats) -> Floats:
    """The part of payload totals: equal ones are worth as much as they are rare."""
    v, h = found.v, found.h

    def others(*columns: Ints) -> Floats:
        """How many other connections of the host to the same server have the same values."""
        keys = np.stack((h.server, *columns), axis=1)
        _, back, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
        return (counts[back.reshape(-1)] - 1).astype(float)

    chance = _by_chance(h)[j]
    up, down = v.up[i] == h.up[j], v.down[i] == h.down[j]
    worth = np.where(up & down, -np.log((others(h.up, h.down)[j] + chance) / (count + 1)), 0.0)
    worth = np.where(up & ~down, -np.log((others(h.up)[j] + chance) / (count + 1)), worth)
    worth = np.where(~up & down, -np.log((others(h.down)[j] + chance) / (count + 1)), worth)
    # one that is cut by an edge of a capture may well differ
    cut = v.censored[i] | h.censored[j] | v.open_end[i] | h.open_end[j]
    odd = (~up).astype(float) + (~down & ~v.reset[i])
    return np.maximum(worth, 0.0) - np.where(cut, 0.0, ODD_CUT * odd)


def _heaviest(i: Ints, j: Ints, weight: Floats) -> tuple[Ints, Ints, Floats]:
    """The heaviest edges of each row: a runner-up is among them."""
    keep = weight > 0
    i, j, weight = i[keep], j[keep], weight[keep]
    order = np.lexsort((-weight, i))
    i, j, weight = i[order], j[order], weight[order]
    rank = np.arange(len(i)) - np.searchsorted(i, i)
    keep = rank < MANY
    return i[keep], j[keep], weight[keep]


def _usual_delay(found: _Found, time: _Time) -> float | None:
    """Twice the median delay of exact pairs that went through the tunnel; None if they are fewer than three."""
    rows = np.flatnonzero((found.host_of >= 0) & found.v.forwarded)
    return _delay_of(found.v.events[rows, START], found.h.events[found.host_of[rows], START], time)


def _delay_of(begun: Ints, followed: Ints, time: _Time) -> float | None:
    seen = (begun != _NONE) & (followed != _NONE)
    if not time.known or seen.sum() < 3:
        return None
    return float(np.clip(2 * np.median(followed[seen] - begun[seen]), MIN_DELAY_NS, MAX_USUAL_DELAY_NS))


# --- order --------------------------------------------------------------------------------------------------------------------------


def _starts(found: _Found, pairs: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(start at the VM, start at the host, row of the VM) of tunnelled pairs that began in both captures."""
    v, h = found.v, found.h
    return sorted((int(v.start[i]), int(h.start[j]), i) for i, j in pairs if v.forwarded[i] and not v.censored[i] and not h.censored[j])


def _exact_tunnelled(found: _Found) -> list[tuple[int, int]]:
    return [(int(i), int(found.host_of[i])) for i in np.flatnonzero(found.method == "hello")]


def _is_fifo(found: _Found) -> bool:
    """Whether what is paired by hellos came out in the order in which it went in (several tunnels at once need not)."""
    out = [b for _, b, _ in _starts(found, _exact_tunnelled(found))]
    return all(a <= b for a, b in pairwise(out))


def _in_order(
    found: _Found, accepted: Mapping[int, tuple[int, float]], rows: Ints, columns: Ints, weights: Floats
) -> dict[int, tuple[int, float]]:
    """Tied connections that went in together and came out together, as many as there were, paired in their order.

    A group is what near-ties connect: rows not decided, columns nobody has. All must be connected to their partner by an edge that is nearly the best.
    """
    v, h = found.v, found.h
    tie = -np.log(1 - CONFIDENT)
    taken = {j for j, _ in accepted.values()}
    edges: dict[int, dict[int, float]] = defaultdict(dict)
    for i, j, w in zip(rows.tolist(), columns.tolist(), weights.tolist(), strict=True):
        if i not in accepted and j not in taken and w >= tie and v.forwarded[i] and not v.censored[i] and not h.censored[j]:
            edges[i][j] = w
    near: dict[int, set[int]] = {}
    back: dict[int, set[int]] = defaultdict(set)
    for i, own in edges.items():
        top = max(own.values())
        near[i] = {j for j, w in own.items() if w >= top - tie}
        for j in near[i]:
            back[j].add(i)
    out: dict[int, tuple[int, float]] = {}
    seen: set[int] = set()
    for first in near:
        if first in seen:
            continue
        group, stack = {first}, [first]
        while stack:
            for j in near[stack.pop()]:
                fresh = back[j] - group
                group |= fresh
                stack += fresh
        seen |= group
        ins = sorted(group, key=lambda i: (int(v.start[i]), i))
        outs = sorted({j for i in group for j in near[i]}, key=lambda j: (int(h.start[j]), j))
        distinct = len({int(v.start[i]) for i in ins}) == len(ins) and len({int(h.start[j]) for j in outs}) == len(outs)
        if len(ins) == len(outs) and distinct and all(j in near[i] for i, j in zip(ins, outs, strict=True)):
            for i, j in zip(ins, outs, strict=True):
                out[i] = (j, min(ORDER_CONFIDENCE, 1 - float(np.exp(-edges[i][j]))))
    return out


def _crossing(found: _Found, accepted: Mapping[int, tuple[int, float]]) -> list[int]:
    """Assigned rows that would have changed places with another pair in the tunnel."""
    pairs = _starts(found, [*_exact_tunnelled(found), *((i, j) for i, (j, _) in accepted.items())])
    if not pairs:
        return []
    out = np.array([b for _, b, _ in pairs], dtype=np.int64)
    before = np.concatenate([[_NONE], np.maximum.accumulate(out)[:-1]])
    after = np.concatenate([np.minimum.accumulate(out[::-1])[::-1][1:], [np.iinfo(np.int64).max]])
    wrong = (before > out) | (after < out)
    return [i for (_, _, i), bad in zip(pairs, wrong.tolist(), strict=True) if bad and i in accepted]


# --- lookups ------------------------------------------------------------------------------------------------------------------------


def _lookups(found: _Found, time: _Time) -> Ints:
    """Pairs of lookups with equal id, name and type, the nearest in time; each in one pair only.

    Ids are used again: without a known clock only what is unique pairs.
    """
    v, h = found.v, found.h
    there = defaultdict(list)
    for j, key in enumerate(_question_keys(h.lookups)):
        there[key].append(j)
    here = defaultdict(list)
    for i, key in enumerate(_question_keys(v.lookups)):
        if key in there:
            here[key].append(i)
    slack = time.uncertain_ns + TOLERANCE_NS
    pairs: list[tuple[int, int]] = []
    for key, mine in here.items():
        options = []
        for i in mine:
            for j in there[key]:
                if v.asked_ns[i] != _NONE and h.asked_ns[j] != _NONE:
                    delay = int(h.asked_ns[j] - v.asked_ns[i])
                elif v.answered_ns[i] != _NONE and h.answered_ns[j] != _NONE:
                    delay = int(v.answered_ns[i] - h.answered_ns[j])
                else:
                    continue
                if -slack <= delay <= slack + MAX_DELAY_NS:
                    options.append((abs(delay), i, j))
        if not time.known and len(options) > 1:
            continue
        used_v: set[int] = set()
        used_h: set[int] = set()
        for _, i, j in sorted(options):
            if i not in used_v and j not in used_h:
                used_v.add(i)
                used_h.add(j)
                pairs.append((i, j))
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _question_keys(t: Table) -> list[tuple[int, str, str]]:
    names = (name.lower() if name else "" for name in t["qname"].tolist())
    return list(zip(t["txid"].tolist(), names, t["qtype"].tolist(), strict=True))


# --- companions ---------------------------------------------------------------------------------------------------------------------


def _companions(found: _Found, time: _Time, own: Bools, owners: list[set[tuple[str, int | None]]], tunnel_pids: set[int]) -> Ints:
    """The VM's connection that each idle session of the host accompanies, or -1."""
    v, h = found.v, found.h
    out = np.full(h.n, -1, np.int64)
    pairs = np.flatnonzero((found.host_of >= 0) & v.forwarded & ~v.censored)
    pairs = pairs[~h.censored[found.host_of[pairs]]]
    idle = np.array(
        [
            j
            for j in found.free_host().tolist()
            if h.up[j] == 0 and not h.randoms[j] and not h.censored[j] and not own[j] and h.state[j] not in _NOT_OPENED
        ],
        dtype=np.int64,
    )
    if not len(pairs) or not len(idle) or not time.known:
        return out
    upstream = found.host_of[pairs]
    places = defaultdict(list)
    for i, j in zip(pairs.tolist(), upstream.tolist(), strict=True):
        places[int(h.server[j]), h.orig_ip[j]].append((i, j))
    waiting = defaultdict(list)
    for k in idle.tolist():
        waiting[int(h.server[k]), h.orig_ip[k]].append(k)
    for place, near in places.items():
        candidates = np.array(waiting.get(place, []), dtype=np.int64)
        if len(candidates):
            _beside(found, time, near, candidates, out)
            for k in candidates.tolist():
                if out[k] < 0 and any(pid in tunnel_pids for _, pid in owners[k]):
                    out[k] = _nearest(found, time, near, k, COMPANION_NS[-1])
    return out


def _beside(found: _Found, time: _Time, near: list[tuple[int, int]], candidates: Ints, out: Ints) -> None:
    """Companions at one server: in the narrowest window in which there are far more idle sessions than at other times."""
    v, h = found.v, found.h
    begun = np.array([[v.start[i], h.start[j]] for i, j in near], dtype=np.int64)
    total = max(h.last - h.first, 1)
    for window in COMPANION_NS:
        low, high = np.maximum(begun[:, 0] - time.uncertain_ns - TOLERANCE_NS, begun[:, 1] - window), begun[:, 1] + window
        order = np.argsort(low)
        low, high = low[order], high[order]
        reach = np.maximum.accumulate(high)
        fresh = np.concatenate([[True], low[1:] > reach[:-1]])
        first = low[fresh]
        last = reach[np.concatenate([np.flatnonzero(fresh)[1:] - 1, [len(reach) - 1]])]
        share = min(float((last - first).sum()) / total, 1.0)
        slot = np.searchsorted(first, h.start[candidates], side="right") - 1
        within = (slot >= 0) & (h.start[candidates] <= last[np.maximum(slot, 0)])
        inside, outside = int(within.sum()), int((~within).sum())
        if not inside or share >= 1:
            continue
        # half a session more than was seen: none seen does not mean that none can be
        by_chance = (outside + 0.5) * share / (1 - share)
        if by_chance > CHANCE * inside:
            continue
        for k in candidates[within].tolist():
            if out[k] < 0:
                out[k] = _nearest(found, time, near, k, window)


def _nearest(found: _Found, time: _Time, near: list[tuple[int, int]], k: int, window: int) -> int:
    """The VM's connection whose upstream session began nearest to session ``k``, and could have caused it."""
    v, h = found.v, found.h
    begun = int(h.start[k])
    options = [
        (abs(begun - int(h.start[j])), i) for i, j in near if v.start[i] - time.uncertain_ns - TOLERANCE_NS <= begun <= h.start[j] + window
    ]
    return min(options)[1] if options else -1


# --- origins ------------------------------------------------------------------------------------------------------------------------


def _origins(
    found: _Found,
    time: _Time,
    own: Bools,
    owners: list[set[tuple[str, int | None]]],
    tunnel_pids: set[int],
    companion_of: Ints,
    addresses: set[str],
) -> tuple[npt.NDArray[np.int8], Objects]:
    v, h = found.v, found.h
    origin = np.full(h.n, UNKNOWN, np.int8)
    why = np.full(h.n, "not paired", dtype=object)
    lacking = _Lacking(found, time)
    sent = set().union(*v.randoms) if v.n else set()
    window = (v.first + time.uncertain_ns + MAX_DELAY_NS, v.last - time.uncertain_ns) if time.known else (0, -1)
    older = {int(v.server[i]) for i in np.flatnonzero(v.censored & (found.host_of < 0)).tolist()}
    asking = np.zeros(v.n, dtype=bool)
    asking[v.request_of[v.request_of >= 0]] = True
    unpaired = {int(v.server[i]) for i in np.flatnonzero((found.host_of < 0) & asking).tolist()}
    settled = {int(v.server[i]) for i in np.flatnonzero(found.host_of >= 0).tolist()} - unpaired if not (v.up_missing > 0).any() else set()
    paths = h.connections["path"].tolist()
    # a capture of one of the VM's interfaces may show nothing of what its programs send (with sshuttle the uplink shows the tunnel alone): then silence
    # there says nothing
    blind = {int(h.server[j]) for j in range(h.n) if paths[j] in FROM_GUESTS} - set(v.server.tolist())
    for j in range(h.n):
        i = int(found.vm_of[j])
        if i >= 0:
            # a container's connection has the VM's address only behind the VM's own translation
            if v.orig_ip[i] in addresses or v.forwarded[i] or v.local[i] or v.connections["nat_ip"][i] in addresses:
                origin[j], why[j] = VM, f"paired by {found.method[i]}"
            elif paths[j] != "nat":
                origin[j], why[j] = HOST, "opened from the host to the VM"
            else:
                why[j] = "opened to the VM from elsewhere"
        elif h.orig_ip[j] in addresses:
            origin[j], why[j] = VM, "from the VM's address"
        elif own[j]:
            origin[j], why[j] = HOST, f"socket of {sorted(name for name, _ in owners[j])[0]}"
        elif companion_of[j] >= 0:
            origin[j], why[j] = VM, "opened beside a forwarded connection"
        elif any(pid in tunnel_pids for _, pid in owners[j]):
            origin[j], why[j] = VM, "socket of the tunnel's process"
        elif int(h.server[j]) in blind:
            if paths[j] == "sshuttle":
                origin[j], why[j] = VM, "came out of the tunnel"
            else:
                why[j] = "what the VM sends to that server is not in its capture"
        elif h.randoms[j] and not h.randoms[j] & sent and not h.censored[j]:
            server = int(h.server[j])
            if not _covered(h, j, *window, server in older):
                why[j] = "its ClientHello is of a time that the VM's capture does not surely cover"
            elif lacking.may_be(j):
                why[j] = "its ClientHello is not among the VM's, of which some are missing"
            else:
                origin[j], why[j] = HOST, "its ClientHello is not among the VM's"
        elif h.censored[j] and not h.randoms[j] and int(h.server[j]) in settled and _asks_in(h, j, *window):
            # older than both captures: whoever opened it asks while the VM's capture runs, and all that the VM asks there is paired
            origin[j], why[j] = HOST, "it sends requests that no connection of the VM sends"
    return origin, why


def _covered(h: _Side, j: int, low: int, high: int, older: bool) -> bool:
    """Whether the VM's capture would show a connection of the VM's that is session ``j`` upstream, with its hello.

    The hello is in the window; or something else that its program sent is, and there is no connection of that kind whose hello is too old to be in it.
    """
    sent = [low <= ns <= high for ns in h.events[j, [FIRST_UP, LAST_UP, DONE]].tolist()]
    if sent[0] or older:
        return sent[0]
    return any(sent) or _asks_in(h, j, low, high)


def _asks_in(h: _Side, j: int, low: int, high: int) -> bool:
    """Whether a request begins on session ``j`` within [low, high]."""
    asked = h.request_ns[h.request_of == j]
    return bool(((low <= asked) & (asked <= high)).any())


def _addresses(v: _Side, known: Collection[str]) -> set[str]:
    """Addresses of the VM: those that are known, and those that have an end of each of its other sessions, the most frequent first."""
    s = v.sessions
    ends = [
        (a, b) for a, b in zip(s["orig_ip"].tolist(), s["resp_ip"].tolist(), strict=True) if not _is_loopback(a) and not _is_loopback(b)
    ]
    found = {v.orig_ip[i] for i in np.flatnonzero(v.forwarded).tolist()} | {ip for ip in known if not _is_loopback(ip)}
    pairs = Counter(ends)
    while pairs := Counter({pair: n for pair, n in pairs.items() if found.isdisjoint(pair)}):
        weight: Counter[str] = Counter()
        opened: Counter[str] = Counter()
        for (a, b), n in pairs.items():
            weight[a] += n
            opened[a] += n
            if a != b:
                weight[b] += n
        found.add(max(weight, key=lambda ip: (weight[ip], opened[ip], ip)))
    return found


class _Lacking:
    """Connections of the VM whose hellos are not known, though they should be: a session upstream whose hello the VM did not send may be theirs.

    Where nothing is known to be lost, a connection whose hello is not known is either paired or shows that hellos are missing.
    """

    def __init__(self, found: _Found, time: _Time) -> None:
        v, self.h = found.v, found.h
        # of one that was seen in one direction only, all is missing, which is no loss
        self.lossy = bool(((v.up_missing > 0) & (v.up > 0)).any())
        self.slack = (time.uncertain_ns + MAX_DELAY_NS) if time.known else _FAR_NS
        rows = [i for i in range(v.n) if v.up[i] + v.up_missing[i] > 0 and not (v.censored[i] or v.randoms[i]) and found.host_of[i] < 0]
        self.begun: dict[int, Ints] = {}
        for server in {int(v.server[i]) for i in rows}:
            self.begun[server] = np.sort(v.start[[i for i in rows if v.server[i] == server]])

    def may_be(self, j: int) -> bool:
        """Whether session ``j`` upstream may belong to one of them: it began about when that did."""
        begun = self.begun.get(int(self.h.server[j]))
        if self.lossy or begun is None:
            return self.lossy
        low, high = np.searchsorted(begun, [self.h.start[j] - self.slack, self.h.start[j] + self.slack])
        return bool(high > low)


# --- tails --------------------------------------------------------------------------------------------------------------------------


def _tails(found: _Found, time: _Time) -> list[Tail]:
    v, h = found.v, found.h
    after_fin = np.zeros(h.n, np.int64)
    np.maximum.at(after_fin, h.of, h._column("resp_bytes_after_fin"))
    out = []
    for i in np.flatnonzero(found.host_of >= 0).tolist():
        j, done = int(found.host_of[i]), int(v.events[i, DONE])
        if done == _NONE:
            continue
        end = h.last if h.open_end[j] else int(h.end[j])
        last = int(h.events[j, LAST_DOWN])
        # what the tunnel got and the program did not; of one that is open still, as long as both captures last
        whole = not (v.censored[i] or h.censored[j] or v.down_missing[i] or h.down_missing[j])
        whole &= not v.open_end[i] or last + time.uncertain_ns + MAX_DELAY_NS <= v.last
        after: int | None = None
        if last == _NONE or (time.known and last <= done - time.uncertain_ns):
            after = 0
        elif not v.forwarded[i]:
            after = int(after_fin[j]) if h.down_missing[j] == 0 else None  # the same packets, the same FIN
        elif whole:
            after = int(max(h.down[j] - v.down[i], 0))
        out.append(
            Tail(
                i,
                j,
                done,
                end,
                max(end - done, 0) / 1e9,
                after,
                int(v.connections["last_frame"][i]),
                int(h.connections["last_frame"][j]),
            )
        )
    return out
