"""One capture while it goes on: packets in, and at each tick what is open, in flight, refused and left behind.

Theory of operation
-------------------
1. ``take`` runs the parsers of :mod:`netlens.parsers.pipeline` over decoded packets and marks the sessions that had some. ``tick`` brings the
   :class:`~netlens.watch.book.Book` up to date with these and counts.
2. A connection is open from its first packet until it is seen to close (both FINs or an RST); a SYN that nobody answers counts only when it is sent.
3. A request is in flight from its first byte to the last of its answer. While it goes on nobody knows which byte is the last, so an answer that has
   begun counts until its latest byte, and one that is a stream for :data:`QUIET_NS` more. The bins of the last seconds are counted anew when a
   stream goes on after a longer pause.
4. ``exact`` evaluates all intervals by the rules of :mod:`netlens.analysis.overlap`: the peaks that ``netlens analyze`` finds in the same packets.
5. Closed connections are kept for :data:`GRACE_NS`, unanswered ones for :data:`SYN_GRACE_NS`, silent ones for :data:`IDLE_NS`; then they are forgotten
   (:meth:`netlens.parsers.pipeline.Part.forget`), so memory grows with what is open.

Groups: a row is a target and a side; there is one for each target and one for all. With APIs named, only these are targets. The side is whose
program opened the connection, by the marks that ``connections`` uses. On the host with a tunnel up, what no mark explains is ``host?``.

Limits: with HTTP/2 turns are no requests; ``http2`` says where that is offered. Connections that were open before appear with their next packet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netlens.analysis.target import KNOWN_APIS
from netlens.parsers import exchanges as x_
from netlens.parsers import session_state as s_
from netlens.parsers.connections import is_public
from netlens.parsers.pipeline import Part, Unit
from netlens.text import endpoint
from netlens.watch import book as b_
from netlens.watch.book import Book, Kind
from netlens.watch.counts import FOREVER, SECOND, WINDOW_S, Ledger, Recent
from netlens.watch.refusals import KEPT, Answer, Inference, Refusal
from netlens.wire import columns as c
from netlens.wire.addresses import ip_text

if TYPE_CHECKING:
    from netlens.wire.containers import Batch

Ints = npt.NDArray[np.int64]

QUIET_NS = SECOND // 2  #: tokens of a stream come every 20 to 200 ms
STREAM_NS, STREAM_BYTES = 150_000_000, 16384  #: an answer that lasts longer or is larger is a stream (as in analysis.rejections)
GRACE_NS = 60 * SECOND  #: retransmissions of a FIN, and streams that go on behind a reset, have ended by then
SYN_GRACE_NS = 150 * SECOND  #: Linux gives up a SYN after 127 s
IDLE_NS = 3 * 3600 * SECOND  #: keep-alive probes come every 2 hours where nobody changed that (RFC 9293 3.8.4)
SSH_NS = 3600 * SECOND  #: sessions that came through a tunnel point to it
LEAST_FORGOTTEN = 4096  #: rows at a time; renumbering costs 0.1 s at 100,000 sessions
MAX_SESSIONS = 400_000  #: kept whatever they do (a flood of SYNs); beyond, the longest silent are forgotten
MAX_GROUPS = 20_000  #: rows that are told apart; each has minutes of history
TAIL_NS = SECOND  #: a server that sends on for longer than that after the program's FIN; orderly closes take a round trip
TAIL_ACTIVE_NS = 5 * SECOND
MAX_TAILS = 50

ALL = ("all", "", "")


@dataclass(frozen=True)
class Tail:
    """A connection that is received on although its program has closed it. ``bytes`` None: its two directions are seen apart."""

    target: str
    client: str
    since_ns: int
    last_ns: int
    bytes: int | None


@dataclass
class Row:
    """Numbers of one group: most in the last second, in the last minute, in five minutes, ever; ``history`` by second, the latest last."""

    target: str
    side: str
    now: int = 0
    minute: int = 0
    minutes: int = 0
    peak: int = 0
    history: list[int] = field(default_factory=list)


@dataclass
class Line:
    """Connections and requests of one target and side."""

    target: str
    side: str
    connections: Row
    requests: Row
    http2: bool


@dataclass
class View:
    """One capture at one moment."""

    name: str | None
    now_ns: int
    lines: list[Line]  # rows by target and side
    totals: list[Line]  # by target
    all: Line
    tails: list[Tail]
    tails_seen: int
    forgotten: int
    vantage: str | None
    elsewhere: int


class Watched:
    """One capture.

    Parameters
    ----------
    name : "vm", "host" or None: where it is captured, if known.
    apis : names or addresses of the targets; none: every server is one.
    own_ips : addresses of the machine that captures.
    """

    def __init__(self, name: str | None = None, apis: Iterable[str] = (), own_ips: Iterable[str] = (), max_sessions: int = MAX_SESSIONS):
        self.name = name
        named = [api.lower().rstrip(".") for api in apis]
        self.api_names = [name for name in named if not _is_address(name)]
        self.api_addresses = {str(ipaddress.ip_address(name)) for name in named if _is_address(name)}
        self.has_apis = bool(self.api_names or self.api_addresses)
        products = ["sessions", "hellos", "exchanges", "tunnels"] + (["lookups"] if self.api_names else [])
        self.part = Part(products)
        self.book = Book(self.part, name)
        self.book.host_ips.update(own_ips)
        self.packets = 0
        self.max_sessions = max_sessions
        self.connections, self.requests = Recent(), Recent()
        self.ended_connections, self.ended_requests = Ledger(), Ledger()
        self.inference = Inference()
        self.forgotten = 0  # sessions
        self.tails_seen = 0
        self._dirty = np.zeros(1024, bool)
        self._finished = np.zeros((0, x_.ROW), np.int64)  # exchanges of the last seconds
        self._groups: dict[tuple[str, str, str], int] = {ALL: 0}
        self._names: list[tuple[str, str, str]] = [ALL]
        self._of_kind = np.zeros((3, 1), np.int64) - 1  # group of each kind: row, target, all
        self._asked = np.zeros(1, bool)  # kinds whose answers are looked at for refusals
        self._resolved = 0
        self._known: tuple[Any, ...] = ()
        self._looked_up: dict[str, str] = {}  # address -> name of an API that it was an answer for
        self._endpoints: dict[tuple[str, int], str] = {}
        self._nameless: dict[tuple[str, int], list[int]] = {}
        self._http2: set[str] = set()
        self._changed = np.zeros(0, np.int64)

    # --- packets

    def feed(self, batch: Batch) -> None:
        """Decode one batch of frames and take it in."""
        self.take(self.part.decoder.unit(batch))

    def take(self, unit: Unit) -> None:
        """Take decoded packets in."""
        self.part.take(unit)
        if self.part.fold.n > len(self._dirty):
            grown = np.zeros(len(self.part.fold.sessions), bool)
            grown[: len(self._dirty)] = self._dirty
            self._dirty = grown
        for _, packets in unit.pieces:
            sessions = packets[:, c.SESSION]
            self._dirty[sessions[sessions >= 0]] = True
        self.packets = self.part.frames

    @property
    def last_ns(self) -> int | None:
        """Time of the latest packet."""
        return self.part.last_ns

    def unread(self) -> list[str]:
        """One line for each thing that is missing from the counts because it was not read."""
        return [f"{self.name}: {line}" if self.name else line for line in self.part.unread()]

    # --- tick

    def tick(self, now_ns: int) -> list[Refusal]:
        """Count what happened until ``now_ns``; the refusals that the traffic shows only now."""
        part, book = self.part, self.book
        changed = self._changed = np.flatnonzero(self._dirty[: part.fold.n])
        self._dirty[changed] = False
        self._take_names()
        self._take_lookups()
        new = self._take_exchanges()
        book.update(changed, now_ns)
        open_groups, open_state = self._open_exchanges()
        carriers = open_state[:, x_.CARRIER]
        book.count_exchanges(new[:, x_.CARRIER], carriers, changed)
        self._resolve()
        t = book.columns
        heads = book.heads()
        self._count(self.connections, *self._connections(heads), now_ns)
        start, end = self._running(open_groups, open_state, now_ns)
        rows = np.concatenate([self._finished[:, x_.CARRIER], carriers])
        begun = np.concatenate([self._finished[:, x_.START], start])
        ended = np.concatenate([np.maximum(self._finished[:, x_.RESPONSE_END], self._finished[:, x_.START] + 1), end])
        counts = t[b_.COUNTS, rows] == 1
        self._count(self.requests, begun[counts], ended[counts], t[b_.KIND, t[b_.HEAD, rows[counts]]], now_ns)
        self._collect_answers(new, open_groups, open_state, now_ns)
        self._settle(now_ns)
        self._forget(now_ns, heads)
        return self.inference.new()

    def _take_names(self) -> None:
        found = self.part.hellos.drain()
        if found.sni:
            self.book.learn_names(found.sessions, found.sni, found.offers_http2)

    def _take_lookups(self) -> None:
        lookups = self.part.lookups
        if lookups is None or not lookups.messages:
            return
        table = lookups.drain()
        for name, answers in zip(table["qname"].tolist(), table["answers"].tolist(), strict=True):
            api = _matching(name, self.api_names) if answers else None
            if api is not None and len(self._looked_up) < MAX_GROUPS:
                self._looked_up.update(dict.fromkeys(answers, api))

    def _take_exchanges(self) -> np.ndarray[Any, Any]:
        assert self.part.exchanges is not None
        new = self.part.exchanges.drain()
        self._finished = np.concatenate([self._finished, new])
        return new

    def _open_exchanges(self) -> tuple[Ints, np.ndarray[Any, Any]]:
        """Rows of the exchange state that hold a request, and these rows."""
        assert self.part.exchanges is not None
        return self.part.exchanges.open(self.part.fold.n)

    def _connections(self, heads: Ints, final: bool = False) -> tuple[Ints, Ints, Ints]:
        """Start, end and kind of connections; what is not seen to close ends with its last packet if ``final``."""
        t = self.book.columns
        start, closed, last = t[b_.START, heads], t[b_.CLOSED, heads], t[b_.LAST, heads]
        open_end = last if final else np.where(t[b_.UNANSWERED, heads] == 1, last, FOREVER)
        return start, np.maximum(np.where(closed == FOREVER, open_end, closed), start + 1), t[b_.KIND, heads]

    def _ends(self, groups: Ints, state: np.ndarray[Any, Any]) -> Ints:
        """When exchanges that nothing followed ended, by the rules of ``overlap.exchange_intervals``."""
        s = self.part.fold.state()
        complete = x_.closed_orderly(s, groups, state)
        answered = state[:, x_.RESPONSE_AT] != s_.UNSET
        seen = np.where(answered, state[:, x_.RESPONSE_END], np.maximum(state[:, x_.REQUEST_END], state[:, x_.START]))
        carrier = state[:, x_.CARRIER]
        closed = s[carrier, s_.CLOSED_TS]
        session_end = np.maximum(np.where(closed == s_.UNSET, s[carrier, s_.LAST_TS], closed), s[carrier, s_.FIRST_TS] + 1)
        return np.maximum(np.where(complete, seen, np.maximum(seen, session_end)), state[:, x_.START] + 1)

    def _running(self, groups: Ints, state: np.ndarray[Any, Any], now_ns: int) -> tuple[Ints, Ints]:
        """Start and end of exchanges that nothing followed yet: FOREVER while the answer is waited for or streams."""
        t = self.book.columns
        start, at, last = state[:, x_.START], state[:, x_.RESPONSE_AT], state[:, x_.RESPONSE_END]
        answered = at != s_.UNSET
        stream = answered & ((last - at >= STREAM_NS) | (state[:, x_.DOWN] >= STREAM_BYTES))
        goes_on = ~answered | (stream & (now_ns - last <= QUIET_NS))
        carrier = state[:, x_.CARRIER]
        head = t[b_.HEAD, carrier]
        closed = t[b_.CLOSED, head] != FOREVER
        end = np.where(goes_on, FOREVER, np.maximum(last, start + 1))
        if closed.any():
            moved = np.zeros(self.book.n, bool)
            moved[t[b_.HEAD, self._changed]] = True
            stale = closed & (moved[head] | (t[b_.ASKED_UNTIL, carrier] < 0))
            t[b_.ASKED_UNTIL, carrier[stale]] = self._ends(groups[stale], state[stale])
            end[closed] = t[b_.ASKED_UNTIL, carrier[closed]]
        return start, end

    def _count(self, recent: Recent, start: Ints, end: Ints, kind: Ints, now_ns: int) -> None:
        if recent.settled_s is not None:
            late = end > recent.settled_s * SECOND
            late |= end > now_ns - SECOND
            start, end, kind = start[late], end[late], kind[late]
        groups = self._of_kind[:, kind]
        recent.update(np.tile(start, 3), np.tile(end, 3), groups.ravel(), len(self._names), now_ns)

    def _settle(self, now_ns: int) -> None:
        """Exchanges that ended before the window change no more, and need their row no longer."""
        old = self._finished[:, x_.RESPONSE_END] < now_ns - 2 * WINDOW_S * SECOND
        if not old.any():
            return
        t, gone = self.book.columns, self._finished[old]
        self._finished = self._finished[~old]
        carrier = gone[:, x_.CARRIER]
        counts = t[b_.COUNTS, carrier] == 1
        gone, carrier = gone[counts], carrier[counts]
        self.ended_requests.add(gone[:, x_.START], gone[:, x_.RESPONSE_END], t[b_.KIND, t[b_.HEAD, carrier]])

    # --- who is who

    def _resolve(self) -> None:
        """Groups of kinds: new ones, or all where what is known of the machines changed."""
        book = self.book
        known = (book.vantage, book.has_tunnel, len(self._looked_up))
        if len(book.kinds) > self._of_kind.shape[1]:
            more = np.full((3, max(len(book.kinds), 2 * self._of_kind.shape[1])), -1, np.int64)
            more[:, : self._of_kind.shape[1]] = self._of_kind
            self._of_kind = more
            self._asked = np.concatenate([self._asked, np.zeros(more.shape[1] - len(self._asked), bool)])
        first = self._resolved if known == self._known else 0
        self._known, self._resolved = known, len(book.kinds)
        for number in range(max(first, 1), len(book.kinds)):
            self._place(number, book.kinds[number])

    def _place(self, number: int, kind: Kind) -> None:
        where = kind.resp, kind.port
        label = self._label(kind)
        if kind.sni and label and where not in self._endpoints and len(self._endpoints) < MAX_GROUPS:
            self._endpoints[where] = label  # what carried no hello to the same place is the same server
            for other in self._nameless.pop(where, ()):
                self._place(other, self.book.kinds[other])
        elif not kind.sni and not kind.elsewhere and where not in self._endpoints:
            waiting = self._nameless.setdefault(where, [])
            if number not in waiting:
                waiting.append(number)
        if label is None or kind.elsewhere:
            self._of_kind[:, number] = -1
            self._asked[number] = False
            return
        side = self._side(kind)
        row, total = (self._group(name) for name in (("row", label, side), ("target", label, "")))
        self._of_kind[:, number] = row, total, 0 if total >= 0 else -1
        self._asked[number] = self.has_apis or _matching(label, KNOWN_APIS) is not None

    def _group(self, name: tuple[str, str, str]) -> int:
        number = self._groups.get(name)
        if number is None:
            if len(self._names) >= MAX_GROUPS:
                return -1
            number = self._groups[name] = len(self._names)
            self._names.append(name)
        return number

    def _label(self, kind: Kind) -> str | None:
        """Name of the target; None: elsewhere."""
        here = self._endpoints.get((kind.resp, kind.port))
        if self.has_apis:
            named = _matching(kind.sni, self.api_names)
            if named is None and kind.resp in self.api_addresses:
                named = kind.resp
            return named or (None if kind.sni else self._looked_up.get(kind.resp) or here)
        return kind.sni or here or endpoint(kind.resp, kind.port)

    def _side(self, kind: Kind) -> str:
        vantage = self.book.vantage
        if vantage != "host":
            return vantage or ""
        if kind.mark or (not kind.own and kind.private and is_public(kind.resp)):
            return "vm"
        if not kind.own:
            return "unknown"
        return "host?" if self.book.has_tunnel else "host"

    # --- refusals

    def _collect_answers(self, new: np.ndarray[Any, Any], groups: Ints, state: np.ndarray[Any, Any], now_ns: int) -> None:
        """Hand exchanges with the target to the inference: finished ones, and those whose answer paused."""
        t, s, book = self.book.columns, self.part.fold.state(), self.book
        last = state[:, x_.RESPONSE_END]
        quiet = (state[:, x_.RESPONSE_AT] != s_.UNSET) & (last <= now_ns - QUIET_NS) & (last > now_ns - WINDOW_S * SECOND)
        quiet &= self._asked[t[b_.KIND, t[b_.HEAD, state[:, x_.CARRIER]]]]
        rows = [(new, np.ones(len(new), bool))]
        if quiet.any():
            chosen = state[quiet]
            carrier_closed = t[b_.CLOSED, t[b_.HEAD, chosen[:, x_.CARRIER]]] != FOREVER
            rows.append((chosen[:, : x_.ROW], ~carrier_closed | x_.closed_orderly(s, groups[quiet], chosen)))
        answers = []
        for these, complete in rows:
            carrier = these[:, x_.CARRIER]
            head = t[b_.HEAD, carrier]
            kinds = t[b_.KIND, head]
            wanted = (t[b_.COUNTS, carrier] == 1) & self._asked[kinds]
            for i in np.flatnonzero(wanted)[-KEPT:].tolist():
                kind, k, h = book.kinds[int(kinds[i])], int(carrier[i]), int(head[i])
                label = self._label(kind) or ""
                row = these[i].tolist()
                answered = row[x_.RESPONSE_AT] != s_.UNSET
                rst = int(s[k, s_.RST_TS])
                answers.append(
                    Answer(
                        int(s[k, s_.FIRST_FRAME]),
                        row[x_.START],
                        row[x_.REQUEST_END],
                        row[x_.RESPONSE_AT] if answered else None,
                        row[x_.RESPONSE_END] if answered else None,
                        row[x_.UP],
                        row[x_.DOWN],
                        row[x_.STATUS],
                        bool(complete[i]),
                        None if t[b_.FIN, h] == FOREVER else int(t[b_.FIN, h]),
                        None if rst == s_.UNSET else rst,
                        bool(kind.http2) if kind.sni else None,
                        self._side(kind),
                        label,
                    )
                )
        self.inference.add(answers)

    # --- forget

    def _forget(self, now_ns: int, heads: Ints) -> None:
        t, s = self.book.columns, self.part.fold.state()
        last = np.maximum(t[b_.LAST, heads], np.where(t[b_.CLOSED, heads] == FOREVER, 0, t[b_.CLOSED, heads]))
        closed = t[b_.CLOSED, heads] != FOREVER
        silent = now_ns - last
        gone = (closed & (silent > GRACE_NS)) | (silent > IDLE_NS)
        old = silent > SYN_GRACE_NS
        if old.any():
            # nobody ever answered, or a single direction without payload: leftovers of what was forgotten
            rows = heads[old]
            one_sided = (s[rows, s_.SIDE + s_.FRAMES] == 0) | (s[rows, s_.SIDE + s_.SIDE_WIDTH + s_.FRAMES] == 0)
            empty = (s[rows, s_.SIDE + s_.BYTES] == 0) & (s[rows, s_.SIDE + s_.SIDE_WIDTH + s_.BYTES] == 0)
            gone[old] |= one_sided & empty & (t[b_.PAIR, rows] < 0)
        ssh = np.array([kind.ssh for kind in self.book.kinds], bool)[t[b_.KIND, heads]]
        gone &= ~ssh | (silent > SSH_NS)
        surplus = len(heads) - int(gone.sum()) - self.max_sessions
        if surplus > 0:
            staying = np.flatnonzero(~gone)
            gone[staying[np.argsort(-silent[staying], kind="stable")[: surplus + self.max_sessions // 8]]] = True
        if gone.any() and (gone.sum() >= max(LEAST_FORGOTTEN, self.book.n // 4) or surplus > 0):
            self._drop(heads[gone])

    def _drop(self, heads: Ints) -> None:
        book, t = self.book, self.book.columns
        start, end, kind = self._connections(heads, final=True)
        self.ended_connections.add(start, end, kind)
        self.tails_seen += int(self._is_tail(heads).sum())
        dropped_head = np.zeros(book.n, bool)
        dropped_head[heads] = True
        dropped = dropped_head[t[b_.HEAD, : book.n]]
        groups, state = self._open_exchanges()
        going = dropped[state[:, x_.CARRIER]]
        ends = self._ends(groups[going], state[going])
        carriers = np.concatenate([self._finished[:, x_.CARRIER], state[going, x_.CARRIER]])
        starts = np.concatenate([self._finished[:, x_.START], state[going, x_.START]])
        stops = np.concatenate([self._finished[:, x_.RESPONSE_END], ends])
        leaving = dropped[carriers] & (t[b_.COUNTS, carriers] == 1)
        self.ended_requests.add(starts[leaving], stops[leaving], t[b_.KIND, t[b_.HEAD, carriers[leaving]]])
        self._finished = self._finished[~dropped[self._finished[:, x_.CARRIER]]]
        kept = np.flatnonzero(~dropped)
        place = self.part.forget(kept)
        book.forget(kept, place)
        self._finished[:, x_.CARRIER] = place[self._finished[:, x_.CARRIER]]
        self._changed = self._changed[:0]
        self._dirty = np.zeros(len(self.part.fold.sessions), bool)
        self.forgotten += int(dropped.sum())
        self._trim()

    def _trim(self) -> None:
        """Keep the ledgers small. A request whose answer paused for a minute is over, one that is waited for and a silent connection last."""
        heads = self.book.heads()
        t = self.book.columns
        open_heads = heads[t[b_.CLOSED, heads] == FOREVER]
        settled = (self.last_ns or 0) - GRACE_NS
        sure = min(int(t[b_.LAST, open_heads].min()), settled) if len(open_heads) else settled
        going_on = np.stack(self._connections(heads))
        for until in (sure, settled):
            self.ended_connections.trim(going_on, until, self._groups_of)
        self.ended_requests.trim(self._unsettled(final=False), settled, self._groups_of)

    # --- what is shown

    def _is_tail(self, heads: Ints) -> npt.NDArray[np.bool_]:
        t = self.book.columns
        fin, last = t[b_.FIN, heads], t[b_.LAST_DOWN, heads]
        out: npt.NDArray[np.bool_] = (fin != FOREVER) & (last > np.where(fin == FOREVER, 0, fin) + TAIL_NS)
        out &= self._of_kind[2, t[b_.KIND, heads]] == 0
        return out

    def _tails(self, now_ns: int) -> tuple[list[Tail], int]:
        t, book = self.book.columns, self.book
        heads = book.heads()
        found = heads[self._is_tail(heads)]
        active = found[(t[b_.LAST_DOWN, found] > now_ns - TAIL_ACTIVE_NS) & (t[b_.CLOSED, found] == FOREVER)]
        active = active[np.argsort(t[b_.FIN, active], kind="stable")][:MAX_TAILS]
        out = []
        for k in active.tolist():
            kind = book.kinds[int(t[b_.KIND, k])]
            s = self.part.fold.sessions[k]
            orig = (int(s[s_.FSM]) >> 8) & 1
            port = (int(s[s_.PORTS]) >> (0 if orig else 16)) & 0xFFFF
            hi, lo = (int(s[i]) for i in ((s_.B_HI, s_.B_LO) if orig else (s_.A_HI, s_.A_LO)))
            client = ip_text(hi, lo, int(s[s_.PORTS]) >> 32)
            after = int(t[b_.AFTER_FIN, k])
            out.append(
                Tail(
                    self._label(kind) or "",
                    endpoint(client, port),
                    int(t[b_.FIN, k]),
                    int(t[b_.LAST_DOWN, k]),
                    None if after < 0 else after,
                )
            )
        return out, self.tails_seen + len(found)

    def _row(self, recent: Recent, peaks: Ints, group: int, name: tuple[str, str, str]) -> Row:
        if group >= recent.groups:
            return Row(name[1], name[2])
        history = recent.history(group)
        return Row(
            name[1],
            name[2],
            int(recent.last_second[group]),
            int(history[-60:].max()),
            int(history.max()),
            int(peaks[group]),
            history.tolist(),
        )

    def view(self, now_ns: int, most: int = 100) -> View:
        """What there is to see; of rows the ``most`` with the highest counts."""
        connection_peaks, request_peaks = self.connections.peaks(), self.requests.peaks()
        n = min(len(connection_peaks), len(request_peaks))
        of_connections, of_requests = self.connections.minutes(), self.requests.minutes()
        self._http2 = {self._label(kind) or "" for kind in self.book.kinds if kind.http2}

        def lines(what: str) -> list[Line]:
            groups = [g for g, name in enumerate(self._names[:n]) if name[0] == what and connection_peaks[g] > 0]
            # by what moves slowly: rows that change places each second cannot be read
            groups.sort(key=lambda g: (-int(of_requests[g]), -int(of_connections[g]), self._names[g]))
            return [line(g) for g in groups[:most]]

        def line(group: int) -> Line:
            name = self._names[group]
            return Line(
                name[1],
                name[2],
                self._row(self.connections, connection_peaks, group, name),
                self._row(self.requests, request_peaks, group, name),
                name[1] in self._http2,
            )

        tails, seen = self._tails(now_ns)
        t, heads = self.book.columns, self.book.heads()
        elsewhere = int(((self._of_kind[2, t[b_.KIND, heads]] < 0) & (t[b_.CLOSED, heads] == FOREVER)).sum())
        rows = lines("row")
        if self.has_apis:
            rows.sort(key=lambda r: (r.target, r.side))
        return View(
            self.name, now_ns, rows, lines("target"), line(0), tails, seen, self.forgotten, self.book.vantage, elsewhere
        )  # fmt: skip

    # --- exact peaks

    def _groups_of(self, kinds: Ints) -> list[tuple[Ints, list[tuple[str, str, str]]]]:
        groups = self._of_kind[:, kinds]
        return [(groups[i], self._names) for i in range(3)]

    def _unsettled(self, final: bool) -> np.ndarray[Any, Any]:
        t = self.book.columns
        groups, state = self._open_exchanges()
        ends = self._ends(groups, state)
        if not final:
            closed = t[b_.CLOSED, t[b_.HEAD, state[:, x_.CARRIER]]] != FOREVER
            so_far = np.where(state[:, x_.RESPONSE_AT] == s_.UNSET, FOREVER, state[:, x_.RESPONSE_END])
            ends = np.where(closed, ends, so_far)
        carriers = np.concatenate([self._finished[:, x_.CARRIER], state[:, x_.CARRIER]])
        starts = np.concatenate([self._finished[:, x_.START], state[:, x_.START]])
        stops = np.maximum(np.concatenate([self._finished[:, x_.RESPONSE_END], ends]), starts + 1)
        counts = t[b_.COUNTS, carriers] == 1
        return np.stack([starts, stops, t[b_.KIND, t[b_.HEAD, carriers]]])[:, counts]

    def exact(self) -> dict[tuple[str, str, str], tuple[int, int]]:
        """Peaks of connections and of requests as ``netlens analyze`` finds them in what was captured so far, by group; after a tick."""
        connections = self.ended_connections.exact(np.stack(self._connections(self.book.heads(), final=True)), self._groups_of)
        requests = self.ended_requests.exact(self._unsettled(final=True), self._groups_of)
        return {name: (connections.get(name, 0), requests.get(name, 0)) for name in connections.keys() | requests.keys() | {ALL}}


def _matching(name: str | None, wanted: Iterable[str]) -> str | None:
    """The one of ``wanted`` that is ``name`` or ends it after a dot, as in analysis.target."""
    name = (name or "").lower().rstrip(".")
    return next((w for w in wanted if name and (name == w or name.endswith("." + w))), None)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
