"""Connections while a capture goes on: the rules of :mod:`netlens.parsers.connections`, applied to the sessions that changed.

Theory of operation
-------------------
1. A column of numbers stands beside each row of the session state. :meth:`ConnectionTable.update` is told which sessions had a packet and brings only those
   up to date, so a second of 100,000 silent connections costs nothing.
2. A connection is one session, the *head*, or several: redirect halves are paired by the session fold (head: the sending one); copies made by NAT have
   one initial sequence number. Sessions with a number that was seen within :data:`TOGETHER_NS` form a cluster, and each time one of its members
   is new, answered or closed the cluster is given to the very function that ``connections`` uses.
3. Who is who (server name, server, client, marks of a VM) is interned as a *kind*, of which there are few. Groups are made of kinds when they
   are shown, because what is learned later (a name for an address, the host's own addresses) changes them.

Limits: at most :data:`MAX_KINDS` kinds are told apart, what comes later counts as ``kind 0`` (elsewhere). The vantage is inferred from marks only, or
given; the networks of hypervisors are not looked at. SSH connections and lookups over TCP are elsewhere too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.addresses import is_loopback
from netlens.columns import NEVER, Bools, Ints, objects
from netlens.parsers import connections
from netlens.parsers import session_state as s_
from netlens.parsers.connections import MIN_ISN, REFUSED, SLL_OTHER_HOST, SLL_OUTGOING
from netlens.parsers.tcp_states import INACTIVE, SYN_SENT
from netlens.parsers.tunnels import SSH_PORT
from netlens.watch.peaks import SECOND
from netlens.wire import hints as h
from netlens.wire.addresses import ip_halves, ip_text, ip_texts

if TYPE_CHECKING:
    from netlens.parsers.pipeline import Part


TOGETHER_NS = 3 * SECOND  #: how long a sequence number is remembered for copies, which follow within connections.COPY_WINDOW_NS
MAX_CLUSTER = 64  #: sessions of one sequence number; more are a scanner's
MAX_KINDS = 1 << 17  #: interned; a hundred bytes each
MAX_OWN = 256  #: addresses of the host itself; a machine has a dozen
LOOKUP_PORTS = (53, 853)

# columns beside the session state
(
    HEAD,  # row of the connection's head
    START,
    LAST,  # last packet
    CLOSED,  # NEVER: not seen to close
    UNANSWERED,  # a SYN that nobody answered yet
    KIND,
    FIN,  # the originator's; NEVER: none
    LAST_DOWN,  # last payload of the responder; -1: none
    AFTER_FIN,  # its bytes after that FIN; -1: cannot be known
    PAIR,  # the other redirect half; -1
    SENDS,  # this is the sending half
    STATUS,  # of its sequence numbers: 0 tell nothing, 1 unanswered SYN, 2 both known, 3 both and closed
    CLUSTER,  # -1: alone
    SNI,  # -1: not seen
    HTTP2,
    IDENTITY,  # what KIND was made of
    STARTED,  # exchanges begun on this session
    COUNTS,  # its exchanges count; those of another copy do not
    NAMED,  # its sequence number is remembered
    ASKED_UNTIL,  # end of the exchange that it closed with; -1: not computed
) = range(20)
WIDTH = 20
_DEFAULT = np.zeros(WIDTH, np.int64)
_DEFAULT[[CLOSED, FIN]] = NEVER
_DEFAULT[[LAST_DOWN, AFTER_FIN, PAIR, CLUSTER, SNI, ASKED_UNTIL]] = -1
_DEFAULT[[COUNTS, IDENTITY]] = 1, -1


@dataclass
class Kind:
    """What connections are told apart by. ``mark``: something shows that the VM opened it; ``own``, ``private``: the client's address is one of the
    machine's, or one that no router of the internet forwards; ``served``: the machine itself answers, so that it is no further than a relay here."""

    sni: str | None
    resp: str
    port: int
    mark: bool
    own: bool
    private: bool
    served: bool = False
    http2: bool = False
    ssh: bool = False

    @property
    def elsewhere(self) -> bool:
        """No application's own question: remote shells and name lookups."""
        return self.ssh or self.port in LOOKUP_PORTS or not self.resp


class ConnectionTable:
    """The connections of ``part``. ``vantage``: where it is captured, "vm" or "host"; None to infer it."""

    def __init__(self, part: Part, vantage: str | None = None):
        self.part = part
        self.given = vantage
        self.n = 0
        self.columns = np.zeros((WIDTH, 1024), np.int64)
        self.kinds: list[Kind] = [Kind(None, "", 0, False, False, False)]
        self.names: list[str] = []
        self.host_ips: set[str] = set()
        self.has_tunnel = self.asks_by_ssh = False
        self._kind_of: dict[tuple[Any, ...], int] = {}
        self._name_of: dict[str, int] = {}
        self._copies: dict[int, list[int]] = {}  # head -> all sessions of it, of NAT copies
        self._clusters: dict[int, list[int]] = {}
        self._next_cluster = 0
        self._recent: dict[int, list[int]] = {}  # sequence number -> sessions
        self._older: dict[int, list[int]] = {}
        self._turned_ns = 0
        self._near = self._marks = False
        self._own: set[tuple[int, int]] = set()  # host_ips as numbers

    @property
    def vantage(self) -> str | None:
        return self.given or ("vm" if self._near else "host" if self._marks else None)

    def heads(self) -> Ints:
        """Rows that are a connection each."""
        return np.flatnonzero(self.columns[HEAD, : self.n] == np.arange(self.n))

    # --- names

    def learn_names(self, session: Ints, names: Iterable[str | None], http2: Iterable[bool]) -> None:
        """Server names of hellos in order of frame; the first of a session stays."""
        self._grow(self.part.fold.n)
        for k, name, two in zip(session.tolist(), names, http2, strict=True):
            if two:
                self.columns[HTTP2, k] = 1
            if name and self.columns[SNI, k] < 0:
                number = self._name_of.get(name)
                if number is None:
                    if len(self.names) >= MAX_KINDS:
                        continue
                    number = self._name_of[name] = len(self.names)
                    self.names.append(name)
                self.columns[SNI, k] = number

    # --- update

    def _grow(self, n: int) -> None:
        while n > self.columns.shape[1]:
            self.columns = np.concatenate([self.columns, np.zeros_like(self.columns)], axis=1)
        if n > self.n:
            self.columns[:, self.n : n] = _DEFAULT[:, None]
            self.columns[HEAD, self.n : n] = np.arange(self.n, n)
            self.n = n

    def update(self, changed: Ints, now_ns: int) -> None:
        """Bring the sessions up to date that had packets; ``changed`` holds every new one."""
        s = self.part.fold.state()
        self._grow(len(s))
        if now_ns - self._turned_ns > TOGETHER_NS:
            self._older, self._recent, self._turned_ns = self._recent, {}, now_ns
        if not len(changed):
            return
        t = self.columns
        touched = [changed, self._pair(s, changed)]
        touched.append(self._join_copies(s, np.unique(np.concatenate(touched))))
        heads = np.unique(t[HEAD, np.unique(np.concatenate(touched))])
        self._describe(s, heads)
        if len(self.host_ips) != len(self._own):  # learned just now: whose connections are the host's own?
            self._own = {ip_halves(ip) for ip in self.host_ips}
            self.columns[IDENTITY, : self.n] = -1
            self._describe(s, self.heads())

    def _pair(self, s: np.ndarray[Any, Any], changed: Ints) -> Ints:
        """Redirect halves; returns sessions whose pairing is another now."""
        t = self.columns
        mate = s[changed, s_.MATE]
        if not (mate >= 0).any():
            return changed[:0]
        rows = np.unique(np.concatenate([changed[mate >= 0], mate[mate >= 0]]))
        mate = s[rows, s_.MATE]
        sends = s[rows, _sides(s, rows)[1] + s_.FRAMES] == 0
        other = np.searchsorted(rows, mate)
        valid = sends != sends[np.minimum(other, len(rows) - 1)]
        pair = np.where(valid, mate, -1)
        turned = (pair != t[PAIR, rows]) | (t[SENDS, rows] != sends)
        t[PAIR, rows], t[SENDS, rows] = pair, sends
        t[HEAD, rows[turned]] = np.where((pair >= 0) & ~sends, pair, rows)[turned]
        sender = rows[turned & sends & valid]
        if len(sender) and not self._near:
            resp_hi, resp_lo, version = end_point(s, sender, 1)[:3]
            self._near = any(is_loopback(ip) for ip in set(ip_texts(resp_hi, resp_lo, version).tolist()))
        return rows[turned]

    def _join_copies(self, s: np.ndarray[Any, Any], changed: Ints) -> Ints:
        """Copies made by NAT; returns the sessions of the clusters that were looked at."""
        t = self.columns
        own, peer = _sides(s, changed)
        isn, answer = s[changed, own + s_.BASE], s[changed, peer + s_.BASE]
        base = s[changed, own + s_.BASE_KIND]
        silent = (s[changed, peer + s_.BASE_KIND] == s_.NO_BASE) | (answer == REFUSED)
        status = np.where(silent, np.where(base == s_.BASE_SYN, 1, 0), np.where(answer >= MIN_ISN, 2, 0))
        status = np.where((base == s_.NO_BASE) | (isn < MIN_ISN), 0, status)
        status = np.where((status == 2) & (s[changed, s_.CLOSED_TS] != s_.UNSET), 3, status)
        dirty = set(t[CLUSTER, changed][(status != t[STATUS, changed]) & (t[CLUSTER, changed] >= 0)].tolist())
        t[STATUS, changed] = status
        new = (t[NAMED, changed] == 0) & (base != s_.NO_BASE) & (isn >= MIN_ISN)
        t[NAMED, changed[new]] = 1
        for k, number in zip(changed[new].tolist(), isn[new].tolist(), strict=True):
            cluster = self._recent.get(number)
            if cluster is None:
                older = self._older.get(number)
                cluster = self._recent[number] = [] if older is None else older
            if len(cluster) < MAX_CLUSTER:
                cluster.append(k)
                if len(cluster) > 1:
                    name = int(t[CLUSTER, cluster[0]])
                    if name < 0:
                        name = self._next_cluster
                        self._next_cluster += 1
                        self._clusters[name] = cluster
                        t[CLUSTER, cluster[0]] = name
                    t[CLUSTER, k] = name
                    dirty.add(name)
        if not dirty:
            return changed[:0]
        members = np.array([k for name in sorted(dirty) for k in self._clusters[name]], np.int64)
        self._join(s, members)
        return members

    def _join(self, s: np.ndarray[Any, Any], members: Ints) -> None:
        t = self.columns
        table = {"start_ns": s[members, s_.FIRST_TS]}
        for which, (name, side) in enumerate(zip(("orig", "resp"), _sides(s, members), strict=True)):
            hi, lo, _, table[f"{name}_port"] = end_point(s, members, which)
            table[f"{name}_ip"] = objects([(a << 64) ^ (b & 0xFFFFFFFFFFFFFFFF) for a, b in zip(hi.tolist(), lo.tolist(), strict=True)])
            table[f"{name}_bytes"] = s[members, side + s_.BYTES]
            table[f"{name}_missing_bytes"] = np.zeros(len(members), np.int64)  # not known before the end
        group = np.where(t[PAIR, members] >= 0, -1, np.arange(len(members)))
        found = connections.nat_copies(s[members], table, group)
        plain = t[PAIR, members] < 0
        t[HEAD, members[plain]] = members[plain]
        t[COUNTS, members] = 1
        for k in members.tolist():
            self._copies.pop(k, None)
        for first, copies in found.items():
            head = int(members[first])
            rows = members[copies]
            t[HEAD, rows] = head
            self._copies[head] = [head, *rows.tolist()]
            renamed = [i for i in copies if table["orig_ip"][i] != table["orig_ip"][first]]
            self._marks = True
            if renamed:
                self._learn_own(*end_point(s, members[renamed], 0)[:3])

    def _describe(self, s: np.ndarray[Any, Any], heads: Ints) -> None:
        """Times and identity of connections."""
        t = self.columns
        own, rows = [np.arange(len(heads))], [heads]
        paired = np.flatnonzero(t[PAIR, heads] >= 0)
        own.append(paired)
        rows.append(t[PAIR, heads[paired]])
        copied = [i for i, k in enumerate(heads.tolist()) if k in self._copies] if self._copies else []
        for i in copied:
            others = self._copies[int(heads[i])][1:]
            own.append(np.full(len(others), i, np.int64))
            rows.append(np.array(others, np.int64))
        owner, row = np.concatenate(own), np.concatenate(rows)
        up, down = _sides(s, row)

        def least(values: Ints, start: int = NEVER) -> Ints:
            out = np.full(len(heads), start, np.int64)
            np.minimum.at(out, owner, values)
            return out

        def most(values: Ints) -> Ints:
            out = np.full(len(heads), s_.UNSET, np.int64)
            np.maximum.at(out, owner, values)
            return out

        def or_never(values: Ints) -> Ints:
            return np.where(values == s_.UNSET, NEVER, values)

        t[START, heads] = least(s[row, s_.FIRST_TS])
        t[LAST, heads] = most(s[row, s_.LAST_TS])
        fin = or_never(s[row, up + s_.FIN_TS])
        t[FIN, heads] = least(fin)
        t[LAST_DOWN, heads] = np.maximum(most(s[row, down + s_.LAST_PAYLOAD]), -1)
        t[AFTER_FIN, heads] = most(s_.rare_numbers(s[row], (down - s_.SIDE) // s_.SIDE_WIDTH, s_.AFTER_FIN, self.part.fold.sparse))
        closed = least(or_never(s[row, s_.CLOSED_TS]))
        if len(paired):
            a, b = heads[paired], t[PAIR, heads[paired]]
            both = np.maximum(fin[paired], or_never(s[b, _sides(s, b)[1] + s_.FIN_TS]))
            closed[paired] = np.minimum(least(or_never(s[row, s_.RST_TS]))[paired], both)
            t[AFTER_FIN, a] = -1
        t[CLOSED, heads] = closed
        fsm, first = s[:, s_.FSM][heads], (s[:, s_.FSM][heads] >> 8) & 1
        t[UNANSWERED, heads] = (
            ((fsm >> (4 * first)) & 15 == SYN_SENT) & ((fsm >> (4 * (1 - first))) & 15 == INACTIVE) & (t[PAIR, heads] < 0)
        )
        self._identify(s, heads, owner, row, copied)

    def _identify(self, s: np.ndarray[Any, Any], heads: Ints, owner: Ints, row: Ints, copied: list[int]) -> None:
        t = self.columns
        sni = np.full(len(heads), NEVER, np.int64)
        known = t[SNI, row] >= 0
        # of several sessions the first one's name
        np.minimum.at(sni, owner[known], row[known] << 20 | t[SNI, row[known]])
        sni = np.where(sni == NEVER, -1, sni & 0xFFFFF)
        http2 = np.zeros(len(heads), np.int64)
        np.maximum.at(http2, owner, t[HTTP2, row])
        mark = np.zeros(len(heads), bool)
        mark[copied] = True
        receiver = np.where(t[PAIR, heads] >= 0, t[PAIR, heads], heads)
        orig_hi, orig_lo, version, _ = end_point(s, heads, 0)
        resp_hi, resp_lo, resp_version, port = end_point(s, receiver, 1)
        ssh = (port == SSH_PORT) | (s[heads, s_.PROTOCOL] == h.SSH)
        self.has_tunnel |= bool(ssh.any())
        through = self._through(s, heads, orig_hi, orig_lo)
        mark |= through >= 0
        up, down = _sides(s, heads)
        asked, answered, syn = s[heads, up + s_.IFACE], s[heads, down + s_.IFACE], s[heads, up + s_.BASE_KIND] == s_.BASE_SYN
        sent = (asked >= 0) & (asked & 0xFF == SLL_OUTGOING)
        taken = (asked >= 0) & (asked & 0xFF < SLL_OTHER_HOST) & (answered >= 0) & (answered & 0xFF == SLL_OUTGOING) & ~mark
        own = self._is_own(orig_hi, orig_lo, version)
        served = taken | (t[PAIR, heads] >= 0) | self._is_own(resp_hi, resp_lo, resp_version)
        identity = ((sni + 1) << 8) | mark | (t[PAIR, heads] >= 0) << 1 | http2 << 2 | ssh << 3 | own << 4 | served << 5
        new = np.flatnonzero(identity != t[IDENTITY, heads])
        if not len(new):
            return
        t[IDENTITY, heads[new]] = identity[new]
        private = connections.are_private(orig_hi, orig_lo, version)
        keys = np.stack([sni, resp_hi, resp_lo, resp_version << 16 | port, mark | own << 1 | private << 2 | served << 3])[:, new]
        # few are different: each is looked at once
        _, first, back = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        numbers = np.array([self._number(tuple(keys[:, i].tolist())) for i in first.tolist()], np.int64)[back.ravel()]
        t[KIND, heads[new]] = numbers
        for flag, name in ((http2, "http2"), (ssh, "ssh")):
            for number in np.unique(numbers[flag[new] != 0]).tolist():
                if number:
                    setattr(self.kinds[number], name, True)
        opened = new[(sent & syn)[new]]
        self._learn_own(*end_point(s, heads[opened], 0)[:3])
        self.asks_by_ssh |= bool((ssh & own).any())
        forwarded = new[through[new] >= 0]
        if len(forwarded):
            self._marks = True
            for rows, side in ((heads[forwarded], 0), (through[forwarded], 1)):
                self._learn_own(*end_point(s, rows, side)[:3])

    def _is_own(self, hi: Ints, lo: Ints, version: Ints) -> Bools:
        """Which addresses are the machine's own, as far as known, or loopback."""
        found = (hi == 0) & ((version == 4) & ((lo >> 24) & 0xFF == 127) | (version == 6) & (lo == 1))
        for own_hi, own_lo in self._own:
            found |= (hi == own_hi) & (lo == own_lo)
        return found

    def _number(self, key: tuple[int, ...]) -> int:
        """Of a kind; 0 where there are too many."""
        number = self._kind_of.get(key)
        if number is None:
            if len(self.kinds) >= MAX_KINDS:
                return 0
            sni, hi, lo, place, flags = key
            resp = ip_text(hi, lo, place >> 16)
            kind = Kind(self.names[sni] if sni >= 0 else None, resp, place & 0xFFFF, *(bool(flags >> bit & 1) for bit in range(4)))
            self.kinds.append(kind)
            number = self._kind_of[key] = len(self.kinds) - 1
        return number

    def _learn_own(self, hi: Ints, lo: Ints, version: Ints) -> None:
        """Addresses of the host's own."""
        if len(self.host_ips) < MAX_OWN:
            self.host_ips.update(ip_texts(hi, lo, version).tolist())

    def _through(self, s: np.ndarray[Any, Any], heads: Ints, orig_hi: Ints, orig_lo: Ints) -> Ints:
        """The tunnel that each came out of, or -1; the rule of ``TunnelWatch.attributed`` and ``connections``."""
        none = np.full(len(heads), -1, np.int64)
        if self._near or self.part.tunnels is None:
            return none
        tunnel = self.part.tunnels.attributed(heads)
        if not (tunnel >= 0).any():
            return none
        hi, lo, _, _ = end_point(s, np.maximum(tunnel, 0), 0)
        return np.where((hi == orig_hi) & (lo == orig_lo), -1, tunnel)

    # --- exchanges

    def count_exchanges(self, started: Ints, open_rows: Ints, changed: Ints) -> None:
        """Note exchanges begun: carriers of finished ones, and of those open now. Of copies, the session with the most counts, the first of several.

        changed : sessions that had packets; others' exchanges are as they were.
        """
        t = self.columns
        np.add.at(t[STARTED], started, 1)
        if not self._copies or not len(changed):
            return
        running = np.zeros(self.n, bool)
        running[open_rows] = True
        for head in np.unique(t[HEAD, changed]).tolist():
            rows = self._copies.get(head)
            if rows is not None:
                begun = [int(t[STARTED, k]) + bool(running[k]) for k in rows]
                best = min(k for k, count in zip(rows, begun, strict=True) if count == max(begun))
                t[COUNTS, rows] = 0
                t[COUNTS, best] = 1

    # --- forget

    def forget(self, kept: Ints, place: Ints) -> None:
        """Keep the rows ``kept``; ``place``: int64[n], the new number of each row or -1."""
        columns = np.zeros((WIDTH, max(1024, len(kept))), np.int64)
        columns[:, : len(kept)] = self.columns[:, kept]
        columns[HEAD, : len(kept)] = place[columns[HEAD, : len(kept)]]
        pair = columns[PAIR, : len(kept)]
        columns[PAIR, : len(kept)] = np.where(pair >= 0, place[pair], -1)
        self.columns, self.n = columns, len(kept)
        self._copies = {int(place[k]): place[rows].tolist() for k, rows in self._copies.items() if place[k] >= 0}
        moved: dict[int, list[int]] = {}  # a list stands under a sequence number and is a cluster too

        def renumbered(store: dict[int, list[int]]) -> dict[int, list[int]]:
            out = {}
            for name, rows in store.items():
                if id(rows) not in moved:
                    moved[id(rows)] = [n for n in place[rows].tolist() if n >= 0]
                if moved[id(rows)]:
                    out[name] = moved[id(rows)]
            return out

        old = (self._recent, self._older, self._clusters)  # alive until all are renumbered: by their identity they are known
        self._recent, self._older, self._clusters = (renumbered(store) for store in old)


def _sides(s: np.ndarray[Any, Any], rows: Ints) -> tuple[Ints, Ints]:
    """First column of what each sent: the originator, the responder."""
    orig = (s[:, s_.FSM][rows] >> 8) & 1
    return s_.SIDE + orig * s_.SIDE_WIDTH, s_.SIDE + (1 - orig) * s_.SIDE_WIDTH


def end_point(s: np.ndarray[Any, Any], rows: Ints, which: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Upper and lower half of the address, IP version, and port, of the originator (0) or responder (1)."""
    flipped = ((s[:, s_.FSM][rows] >> 8) & 1) == (1 - which)
    hi = np.where(flipped, s[rows, s_.B_HI], s[rows, s_.A_HI])
    lo = np.where(flipped, s[rows, s_.B_LO], s[rows, s_.A_LO])
    ports = s[rows, s_.PORTS]
    return hi, lo, ports >> 32, np.where(flipped, ports & 0xFFFF, (ports >> 16) & 0xFFFF)
