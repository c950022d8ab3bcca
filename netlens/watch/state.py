"""One capture while it goes on: packets in, and at each tick what is open, in flight, refused and left behind.

Theory of operation
-------------------
1. ``take`` runs the parsers of :mod:`netlens.parsers.pipeline` over decoded packets and marks the sessions that had some. ``tick`` brings the
   :class:`~netlens.watch.connection_table.ConnectionTable` up to date with these and counts by :mod:`~netlens.watch.groups`.
2. A connection is open from its first packet until it is seen to close (both FINs or an RST); a SYN that nobody answers counts only when it is sent.
3. A request is in flight from its first byte to the last of its answer. While it goes on nobody knows which byte is the last, so an answer that has
   begun counts until its latest byte, and one that is a stream for :data:`QUIET_NS` more; so it does where the connection is reset much later. The bins
   of the last seconds are counted anew when a stream goes on after a longer pause.
4. ``exact`` evaluates all intervals by the rules of :mod:`netlens.chains.overlap`: the peaks that ``netlens analyze`` finds in the same packets.
5. Closed connections are kept for :data:`GRACE_NS`, unanswered ones for :data:`SYN_GRACE_NS`, silent ones for :data:`IDLE_NS`; then they are forgotten
   (:meth:`netlens.parsers.pipeline.Part.forget`), so memory grows with what is open.

Limits: with HTTP/2 turns are no requests; ``http2`` says where that is offered. Connections that were open before appear with their next packet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.addresses import is_address
from netlens.chains.endings import STREAM_BYTES, STREAM_NS
from netlens.columns import NEVER, Bools, Ints
from netlens.parsers import exchanges as x_
from netlens.parsers import session_state as s_
from netlens.parsers.pipeline import Part, Unit
from netlens.watch import connection_table as conn
from netlens.watch.connection_table import ConnectionTable
from netlens.watch.groups import ALL, Group, Groups
from netlens.watch.peaks import SECOND, WINDOW_S, ExactPeaks, RollingPeaks
from netlens.watch.refusals import KEPT, Answer, Inference, Refusal
from netlens.watch.view import is_tail
from netlens.wire import columns as c

if TYPE_CHECKING:
    from netlens.wire.containers import Batch

Rows = np.ndarray[Any, Any]

QUIET_NS = SECOND // 2  #: tokens of a stream come every 20 to 200 ms
GRACE_NS = 60 * SECOND  #: retransmissions of a FIN, and streams that go on behind a reset, have ended by then
SYN_GRACE_NS = 150 * SECOND  #: Linux gives up a SYN after 127 s
IDLE_NS = 3 * 3600 * SECOND  #: keep-alive probes come every 2 hours where nobody changed that (RFC 9293 3.8.4)
SSH_NS = 3600 * SECOND  #: sessions that came through a tunnel point to it
LEAST_FORGOTTEN = 4096  #: rows at a time; renumbering costs 0.1 s at 100,000 sessions
MAX_SESSIONS = 400_000  #: kept whatever they do (a flood of SYNs); beyond, the longest silent are forgotten

_NONE = np.zeros((0, x_.X_WIDTH), np.int64)


class Watched:
    """One capture.

    name : "vm", "host" or None: where it is captured, if known.
    apis : names or addresses of the targets; none: every server is one.
    own_ips : addresses of the machine that captures.
    resolved : addresses of the APIs' names, as far as they are known before a lookup is seen: what was open before shows no name.
    """

    def __init__(
        self,
        name: str | None = None,
        apis: Iterable[str] = (),
        own_ips: Iterable[str] = (),
        max_sessions: int = MAX_SESSIONS,
        resolved: Mapping[str, Iterable[str]] | None = None,
    ):
        self.name = name
        apis = list(apis)
        self.part = Part(["sessions", "hellos", "exchanges", "tunnels", *(["lookups"] if not all(map(is_address, apis)) else [])])
        self.table = ConnectionTable(self.part, name)
        self.table.host_ips.update(own_ips)
        self.groups = Groups(self.table, apis)
        self.groups.learn_addresses((resolved or {}).items())
        self.max_sessions = max_sessions
        self.connections, self.requests = RollingPeaks(), RollingPeaks()
        self.ended_connections, self.ended_requests = ExactPeaks(), ExactPeaks()
        self.inference = Inference()
        self.forgotten = 0  # sessions
        self.tails_seen = 0
        assert self.part.exchanges is not None
        self._exchanges = self.part.exchanges
        self._finished = _NONE[:, : x_.ROW]  # exchanges of the last seconds
        self._dirty = np.zeros(1024, bool)

    # --- packets

    def feed(self, batch: Batch) -> None:
        """Decode one batch of frames and take it in."""
        self.take(self.part.decoder.unit(batch))

    def take(self, unit: Unit) -> None:
        self.part.take(unit)
        if self.part.fold.n > len(self._dirty):
            self._dirty = np.pad(self._dirty, (0, len(self.part.fold.sessions) - len(self._dirty)))
        for _, packets in unit.pieces:
            sessions = packets[:, c.SESSION]
            self._dirty[sessions[sessions >= 0]] = True

    @property
    def packets(self) -> int:
        return self.part.frames

    @property
    def last_ns(self) -> int | None:
        return self.part.last_ns

    def unread(self) -> list[str]:
        """One line for each thing that is missing from the counts because it was not read."""
        return [f"{self.name}: {line}" if self.name else line for line in self.part.unread()]

    # --- tick

    def tick(self, now_ns: int) -> list[Refusal]:
        """Count what happened until ``now_ns``; the refusals that the traffic shows only now."""
        part, table = self.part, self.table
        changed = np.flatnonzero(self._dirty[: part.fold.n])
        self._dirty[changed] = False
        if (hellos := part.hellos.drain()).sni:
            table.learn_names(hellos.sessions, hellos.sni, hellos.offers_http2)
        if part.lookups is not None and part.lookups.messages:
            found = part.lookups.drain()
            self.groups.learn_addresses(zip(found["qname"].tolist(), found["answers"].tolist(), strict=True))
        new = self._exchanges.drain()
        self._finished = np.concatenate([self._finished, new])
        table.update(changed, now_ns)
        rows, state = self._exchanges.open(part.fold.n)
        table.count_exchanges(new[:, x_.CARRIER], state[:, x_.CARRIER], changed)
        self.groups.update()
        heads = table.heads()
        self._count(self.connections, self._connections(heads), now_ns)
        self._count(self.requests, self._requests(self._finished, state, self._running(rows, state, changed, now_ns)), now_ns)
        self.inference.add(self._answers(new, rows, state, now_ns))
        self._retire(now_ns)
        self._forget(now_ns, heads)
        return self.inference.new()

    def _connections(self, heads: Ints, final: bool = False) -> Rows:
        """int64[3, n]: start, end and kind of connections; what is not seen to close ends with its last packet if ``final``."""
        t = self.table.columns
        start, closed, last = t[conn.START, heads], t[conn.CLOSED, heads], t[conn.LAST, heads]
        open_end = last if final else np.where(t[conn.UNANSWERED, heads] == 1, last, NEVER)
        return np.stack([start, np.maximum(np.where(closed == NEVER, open_end, closed), start + 1), t[conn.KIND, heads]])

    def _requests(self, finished: Rows, going: Rows = _NONE, ends: Ints = _NONE[:, 0]) -> Rows:
        """int64[3, n]: start, end and kind of finished exchanges and of those ``going`` on until ``ends``; of copies of one connection one counts."""
        t = self.table.columns
        carrier, start = (np.concatenate([finished[:, column], going[:, column]]) for column in (x_.CARRIER, x_.START))
        end = np.maximum(np.concatenate([finished[:, x_.RESPONSE_END], ends]), start + 1)
        return np.stack([start, end, t[conn.KIND, t[conn.HEAD, carrier]]])[:, t[conn.COUNTS, carrier] == 1]

    def _ends(self, rows: Ints, state: Rows) -> Ints:
        """When exchanges that nothing followed ended, by the rules of ``overlap.exchange_intervals``."""
        s = self.part.fold.state()
        complete = self._exchanges.ended(s, rows, state)
        answered = state[:, x_.RESPONSE_AT] != s_.UNSET
        seen = np.where(answered, state[:, x_.RESPONSE_END], np.maximum(state[:, x_.REQUEST_END], state[:, x_.START]))
        carrier = state[:, x_.CARRIER]
        closed = s[carrier, s_.CLOSED_TS]
        session_end = np.maximum(np.where(closed == s_.UNSET, s[carrier, s_.LAST_TS], closed), s[carrier, s_.FIRST_TS] + 1)
        return np.maximum(np.where(complete, seen, np.maximum(seen, session_end)), state[:, x_.START] + 1)

    def _running(self, rows: Ints, state: Rows, changed: Ints, now_ns: int) -> Ints:
        """End of exchanges that nothing followed yet: NEVER while the answer is waited for or streams."""
        t = self.table.columns
        at, last = state[:, x_.RESPONSE_AT], state[:, x_.RESPONSE_END]
        answered = at != s_.UNSET
        stream = answered & ((last - at >= STREAM_NS) | (state[:, x_.DOWN] >= STREAM_BYTES))
        end = np.where(~answered | (stream & (now_ns - last <= QUIET_NS)), NEVER, np.maximum(last, state[:, x_.START] + 1))
        carrier = state[:, x_.CARRIER]
        head = t[conn.HEAD, carrier]
        closed = t[conn.CLOSED, head] != NEVER
        if closed.any():
            moved = np.zeros(self.table.n, bool)
            moved[t[conn.HEAD, changed]] = True
            stale = closed & (moved[head] | (t[conn.ASKED_UNTIL, carrier] < 0))
            t[conn.ASKED_UNTIL, carrier[stale]] = self._ends(rows[stale], state[stale])
            until = t[conn.ASKED_UNTIL, carrier]
            idle = answered & (until - last > QUIET_NS)  # it was over by then, as it was counted: a pool that ends what it kept with RST
            end[closed] = np.where(idle, end, until)[closed]
        return end

    def _count(self, peaks: RollingPeaks, intervals: Rows, now_ns: int) -> None:
        if peaks.final_s is not None:
            intervals = intervals[:, intervals[1] > min(peaks.final_s * SECOND, now_ns - SECOND)]
        start, end, kind = intervals
        peaks.update(np.tile(start, 3), np.tile(end, 3), self.groups.of_kind[:, kind].ravel(), len(self.groups.names), now_ns)

    def _retire(self, now_ns: int) -> None:
        """Exchanges that ended before the window change no more, and need their row no longer."""
        old = self._finished[:, x_.RESPONSE_END] < now_ns - 2 * WINDOW_S * SECOND
        if old.any():
            self.ended_requests.add(*self._requests(self._finished[old]))
            self._finished = self._finished[~old]

    # --- refusals

    def _answers(self, new: Rows, rows: Ints, state: Rows, now_ns: int) -> Iterator[Answer]:
        """Exchanges for the inference of refusals: finished ones, and those whose answer paused."""
        t, inferred = self.table.columns, self.groups.inferred
        yield from self._answers_of(new, np.ones(len(new), bool))
        last, head = state[:, x_.RESPONSE_END], t[conn.HEAD, state[:, x_.CARRIER]]
        quiet = (state[:, x_.RESPONSE_AT] != s_.UNSET) & (last <= now_ns - QUIET_NS) & (last > now_ns - WINDOW_S * SECOND)
        quiet &= inferred[t[conn.KIND, head]]
        if quiet.any():
            still_open = t[conn.CLOSED, head[quiet]] == NEVER
            yield from self._answers_of(state[quiet], still_open | self._exchanges.ended(self.part.fold.state(), rows[quiet], state[quiet]))

    def _answers_of(self, exchanges: Rows, complete: Bools) -> Iterator[Answer]:
        t, s, groups = self.table.columns, self.part.fold.state(), self.groups
        carrier = exchanges[:, x_.CARRIER]
        kinds = t[conn.KIND, t[conn.HEAD, carrier]]
        wanted = (t[conn.COUNTS, carrier] == 1) & groups.inferred[kinds]
        for i in np.flatnonzero(wanted)[-KEPT:].tolist():
            kind, k, row = self.table.kinds[int(kinds[i])], int(carrier[i]), exchanges[i].tolist()
            fin, rst = int(t[conn.FIN, t[conn.HEAD, k]]), int(s[k, s_.RST_TS])
            answered = row[x_.RESPONSE_AT] != s_.UNSET
            yield Answer(
                session=int(s[k, s_.FIRST_FRAME]),
                start_ns=row[x_.START],
                asked_ns=row[x_.REQUEST_END],
                response_ns=row[x_.RESPONSE_AT] if answered else None,
                end_ns=row[x_.RESPONSE_END] if answered else None,
                up=row[x_.UP],
                down=row[x_.DOWN],
                status=row[x_.STATUS],
                complete=bool(complete[i]),
                fin_ns=None if fin == NEVER else fin,
                rst_ns=None if rst == s_.UNSET else rst,
                http2=bool(kind.http2) if kind.sni else None,
                side=groups.side(kind),
                target=groups.target(kind) or "",
            )

    # --- forget

    def _forget(self, now_ns: int, heads: Ints) -> None:
        t, s = self.table.columns, self.part.fold.state()
        last = np.maximum(t[conn.LAST, heads], np.where(t[conn.CLOSED, heads] == NEVER, 0, t[conn.CLOSED, heads]))
        closed = t[conn.CLOSED, heads] != NEVER
        silent = now_ns - last
        gone = (closed & (silent > GRACE_NS)) | (silent > IDLE_NS)
        old = silent > SYN_GRACE_NS
        if old.any():
            # nobody ever answered, or a single direction without payload: leftovers of what was forgotten
            rows = heads[old]
            one_sided = (s[rows, s_.SIDE + s_.FRAMES] == 0) | (s[rows, s_.SIDE + s_.SIDE_WIDTH + s_.FRAMES] == 0)
            empty = (s[rows, s_.SIDE + s_.BYTES] == 0) & (s[rows, s_.SIDE + s_.SIDE_WIDTH + s_.BYTES] == 0)
            gone[old] |= one_sided & empty & (t[conn.PAIR, rows] < 0)
        ssh = np.array([kind.ssh for kind in self.table.kinds], bool)[t[conn.KIND, heads]]
        gone &= ~ssh | (silent > SSH_NS)
        surplus = len(heads) - int(gone.sum()) - self.max_sessions
        if surplus > 0:
            staying = np.flatnonzero(~gone)
            gone[staying[np.argsort(-silent[staying], kind="stable")[: surplus + self.max_sessions // 8]]] = True
        if gone.any() and (gone.sum() >= max(LEAST_FORGOTTEN, self.table.n // 4) or surplus > 0):
            self._drop(heads[gone])

    def _drop(self, heads: Ints) -> None:
        table, t = self.table, self.table.columns
        self.ended_connections.add(*self._connections(heads, final=True))
        self.tails_seen += int(is_tail(self, heads).sum())
        dropped_head = np.zeros(table.n, bool)
        dropped_head[heads] = True
        dropped = dropped_head[t[conn.HEAD, : table.n]]
        rows, state = self._exchanges.open(self.part.fold.n)
        going, leaving = dropped[state[:, x_.CARRIER]], dropped[self._finished[:, x_.CARRIER]]
        ends = self._ends(rows[going], state[going])
        self.ended_requests.add(*self._requests(self._finished[leaving], state[going], ends))
        self._finished = self._finished[~leaving]
        kept = np.flatnonzero(~dropped)
        place = self.part.forget(kept)
        table.forget(kept, place)
        self._finished[:, x_.CARRIER] = place[self._finished[:, x_.CARRIER]]
        self._dirty = np.zeros(len(self.part.fold.sessions), bool)
        self.forgotten += int(dropped.sum())
        self._trim()

    def _trim(self) -> None:
        """Keep the ledgers small. A request whose answer paused for a minute is over, one that is waited for and a silent connection last."""
        heads = self.table.heads()
        t = self.table.columns
        open_heads = heads[t[conn.CLOSED, heads] == NEVER]
        settled = (self.last_ns or 0) - GRACE_NS
        sure = min(int(t[conn.LAST, open_heads].min()), settled) if len(open_heads) else settled
        going_on = self._connections(heads)
        for until in (sure, settled):
            self.ended_connections.trim(going_on, until, self.groups.by_scope)
        self.ended_requests.trim(self._requests_so_far(), settled, self.groups.by_scope)

    # --- exact peaks

    def _requests_so_far(self, final: bool = False) -> Rows:
        """What is not in ``ended_requests``; answers that go on end with their latest byte, or as ``analyze`` has it if this is ``final``."""
        t = self.table.columns
        rows, state = self._exchanges.open(self.part.fold.n)
        ends = self._ends(rows, state)
        if not final:
            closed = t[conn.CLOSED, t[conn.HEAD, state[:, x_.CARRIER]]] != NEVER
            so_far = np.where(state[:, x_.RESPONSE_AT] == s_.UNSET, NEVER, state[:, x_.RESPONSE_END])
            ends = np.where(closed, ends, so_far)
        return self._requests(self._finished, state, ends)

    def exact(self) -> dict[Group, tuple[int, int]]:
        """Peaks of connections and of requests as ``netlens analyze`` finds them in what was captured so far, by group; after a tick."""
        connections = self.ended_connections.exact(self._connections(self.table.heads(), final=True), self.groups.by_scope)
        requests = self.ended_requests.exact(self._requests_so_far(final=True), self.groups.by_scope)
        return {name: (connections.get(name, 0), requests.get(name, 0)) for name in connections.keys() | requests.keys() | {ALL}}
