"""What is compared to pair connections: those of one capture as arrays, and the pairs found so far."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.addresses import is_loopback
from netlens.chains.overlap import owner_rows
from netlens.columns import MISSING, Ints

if TYPE_CHECKING:
    from netlens.api import Capture
    from netlens.chains.clock import Clock
    from netlens.chains.processes import Processes
    from netlens.schema import Table


MIN_ISN = 1 << 16  #: as for NAT copies: one random number in 65,536 is below, but those of scripts and simple stacks are
REFUSED = 0xFFFFFFFF  #: one below the number of an RST that answers a SYN, which is 0: tells as little as no answer
#: Longest delay from the VM's SYN to the host's. Measured 0.3 to 19 ms; an SSH connection with a retransmission timeout stalls for 200 ms and more.
MAX_DELAY_NS = 1_000_000_000
MIN_DELAY_NS = 1_000_000
#: Usual delay, until pairs show it; half of it makes a busy machine's pairs weaker, twice of it lets chance in.
USUAL_DELAY_NS = 5_000_000
TOLERANCE_NS = 100_000  #: two frames of one machine are stamped in the wrong order by less (several interfaces, 1 us of rounding)
KNOWN_CLOCK_NS = 250_000_000  #: a clock that is less certain than this orders nothing by itself

FAR_NS = 1 << 61  #: how far a clock may be off that nothing bounds
START, FIRST_UP, LAST_UP, FIRST_DOWN, LAST_DOWN, DONE, SERVER_FIN = range(7)  #: events of a connection


@dataclass(frozen=True)
class Timing:
    """How far times of both sides, all on the host's clock by now, can be compared."""

    uncertain_ns: int

    @property
    def known(self) -> bool:
        return self.uncertain_ns <= KNOWN_CLOCK_NS


class Compared:
    """Connections of one capture as arrays; missing times are ``MISSING``."""

    def __init__(self, capture: Capture, servers: dict[Any, int]) -> None:
        c, s, hellos = capture.table("connections"), capture.table("sessions"), capture.table("hellos")
        self.lookups = capture.table("lookups")
        self.connections, self.sessions = c, s
        self.n = n = c.rows
        members = c["session_ids"].tolist()
        self.of = np.repeat(np.arange(n), [len(ids) for ids in members])  # connection of each member session
        ids, order = np.fromiter(chain.from_iterable(members), np.int64, len(self.of)), np.argsort(s["session_id"])
        self.member = order[np.searchsorted(s["session_id"], ids, sorter=order)]  # row of each member session
        self.server = np.array([servers.setdefault(e, len(servers)) for e in c.tuples("resp_ip", "resp_port")], dtype=np.int64)
        self.orig_ip, self.orig_port = c["orig_ip"].tolist(), c["orig_port"].tolist()
        outer = zip(self.orig_ip, self.orig_port, c["nat_ip"].tolist(), c["nat_port"].tolist(), strict=True)
        #: address and port with which it leaves the machine, as far as its capture shows
        self.leaves = [(ip, port) if nat_ip is None else (nat_ip, nat_port) for ip, port, nat_ip, nat_port in outer]
        self.local = np.array([is_loopback(ip) for ip in c["resp_ip"].tolist()], dtype=bool)
        self.forwarded = np.array([p is not None for p in c["redirect_port"].tolist()], dtype=bool)
        self.censored = c["started_before_capture"].astype(bool)
        self.open_end = c["open_at_end"].astype(bool)
        self.start, self.end = c["start_ns"].astype(np.int64), c["end_ns"].astype(np.int64)
        self.state = c["state"].tolist()
        self.up, self.down = c["orig_bytes"].astype(np.int64), c["resp_bytes"].astype(np.int64)
        self.frames = np.bincount(self.of, (s["orig_frames"] + s["resp_frames"])[self.member], n)
        self.up_missing = self._missing("orig", self.up)
        self.down_missing = self._missing("resp", self.down)
        self.events = np.full((n, 7), MISSING, np.int64)
        self.events[:, START] = np.where(self.censored, MISSING, self.start)
        self.events[:, FIRST_UP] = self._earliest("orig_first_payload_ns")
        self.events[:, LAST_UP] = self._latest("orig_last_payload_ns")
        self.events[:, FIRST_DOWN] = self._earliest("resp_first_payload_ns")
        self.events[:, LAST_DOWN] = self._latest("resp_last_payload_ns")
        self.events[:, DONE] = self._earliest("orig_fin_ns", "rst_ns")
        self.events[:, SERVER_FIN] = self._earliest("resp_fin_ns")
        self.reset = self._earliest("rst_ns") != MISSING
        self.isn, self.answer = self._numbers("orig_isn"), self._numbers("resp_isn")
        bounds = capture.part.bounds_ns or ((int(s["start_ns"].min()), int(s["end_ns"].max())) if s.rows else (0, 0))
        self.first, self.last = bounds  # of all frames: lookups show too that the capture ran
        self.randoms: list[set[str]] = [set() for _ in range(n)]
        for i, random in zip(owner_rows(hellos, c).tolist(), hellos["random"].tolist(), strict=True):
            if random is not None and i >= 0:
                self.randoms[i].add(random)
        exchanges = capture.table("exchanges")
        self.request_of = owner_rows(exchanges, c)
        self.request_ns = exchanges["start_ns"].astype(np.int64)
        self.request_up, self.request_down = exchanges["up_bytes"].astype(np.int64), exchanges["down_bytes"].astype(np.int64)
        self.asked = self._asked()
        self.asked_ns, self.answered_ns = self.lookups.ints("query_ns"), self.lookups.ints("answer_ns")

    def to_host(self, clock: Clock) -> None:
        """Take all times to the host's clock."""
        if self.n:
            self.start, self.end = clock.to_host(self.start), clock.to_host(self.end)
            known = self.events != MISSING
            self.events[known] = clock.to_host(self.events[known])
        if len(self.request_ns):
            self.request_ns = clock.to_host(self.request_ns)
        for times in (self.asked_ns, self.answered_ns):
            known = times != MISSING
            if known.any():
                times[known] = clock.to_host(times[known])
        if self.sessions.rows:
            self.first, self.last = clock.to_host(np.array([self.first, self.last], np.int64)).tolist()

    def shift(self, by_ns: int) -> None:
        self.start, self.end, self.request_ns = self.start + by_ns, self.end + by_ns, self.request_ns + by_ns
        for times in (self.events, self.asked_ns, self.answered_ns):
            times[times != MISSING] += by_ns
        self.first, self.last = self.first + by_ns, self.last + by_ns

    def _column(self, name: str) -> Ints:
        """A column of the sessions, by member of connections."""
        return self.sessions.ints(name)[self.member]

    def _earliest(self, *names: str) -> Ints:
        out = np.full(self.n, np.iinfo(np.int64).max)
        for name in names:
            values = self._column(name)
            known = values != MISSING
            np.minimum.at(out, self.of[known], values[known])
        return np.where(out == np.iinfo(np.int64).max, MISSING, out)

    def _latest(self, name: str) -> Ints:
        out = np.full(self.n, MISSING)
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


class Found:
    """The pairs so far, and what they are found by.

    v, h : the captures of the VM and of the host.  time : how far their times can be compared.  processes : whose the host's connections are.
    ends_in : of chains over relays on the host, the first connection -> the last; all but the first are left out here.  carried_on : connections of the VM
    that relays on it carry on, left out as well: of these chains, the last is what leaves.
    """

    def __init__(
        self,
        v: Compared,
        h: Compared,
        time: Timing,
        processes: Processes,
        served: Mapping[int, tuple[int, ...]] | None = None,
        served_in_vm: Mapping[int, tuple[int, ...]] | None = None,
    ) -> None:
        self.v, self.h, self.time, self.processes = v, h, time, processes
        self.ends_in = {hops[0]: last for last, hops in (served or {}).items()}
        self.later = np.zeros(h.n, dtype=bool)
        for last, hops in (served or {}).items():
            self.later[[last, *hops[1:]]] = True
        for j in np.flatnonzero(self.later).tolist():
            h.randoms[j] = set()
        self.carried_on = np.zeros(v.n, dtype=bool)
        for last, hops in (served_in_vm or {}).items():
            self.carried_on[list(hops)] = True
            v.randoms[last] = v.randoms[last].union(*(v.randoms[i] for i in hops))
        for i in np.flatnonzero(self.carried_on).tolist():
            v.randoms[i] = set()
        self.host_of = np.full(v.n, -1, np.int64)
        self.vm_of = np.full(h.n, -1, np.int64)
        self.method = np.full(v.n, "", dtype=object)
        self.confidence = np.full(v.n, np.nan)

    def add(self, i: int, j: int, method: str, confidence: float = 1.0) -> None:
        self.host_of[i], self.vm_of[j] = j, i
        self.method[i], self.confidence[i] = method, confidence

    def unique(self, mine: Mapping[int, Any], others: Mapping[int, Any], method: str) -> None:
        """Pair rows that share a key which nobody else on either side has."""
        there = only((j, (key,)) for j, key in others.items())
        for key, i in only((i, (key,)) for i, key in mine.items()).items():
            if key in there:
                self.add(i, there[key], method)

    def free_vm(self) -> Ints:
        return np.flatnonzero((self.host_of < 0) & ~self.v.local & ~self.carried_on)

    def free_host(self) -> Ints:
        return np.flatnonzero((self.vm_of < 0) & ~self.h.local & ~self.later)


def only(keys: Iterable[tuple[int, Iterable[Any]]]) -> dict[Any, int]:
    """Keys that one row alone has."""
    rows: dict[Any, int] = {}
    for i, own in keys:
        for key in own:
            rows[key] = -1 if key in rows else i
    return {key: i for key, i in rows.items() if i >= 0}


def equal_totals(found: Found, vm_rows: Ints, host_rows: Ints, most: int) -> tuple[Ints, Ints]:
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


def question_keys(t: Table) -> list[tuple[int, str, str]]:
    names = (name.lower() if name else "" for name in t["qname"].tolist())
    return list(zip(t["txid"].tolist(), names, t["qtype"].tolist(), strict=True))
