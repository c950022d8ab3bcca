"""One file of a capture, read on its own: what can be said of it, and what another file may need of it.

A file is read as a deferred part (see :mod:`netlens.parsers.pipeline`). Then is kept, per session, the state; of sessions that may go on in another
file or come from one, the packet rows, packed to 64 bytes. A session *may* if it has no beginning here or no end, or if either lies within
:data:`EDGE_NS` of an edge of the file. That is a guess about what will be asked for, not about what is true: rows that are asked for and were not kept
are read again from the file, which gives the same sessions in the same order.

Payload is kept of sessions joined mid-way while a ClientHello may still begin or go on in them. DNS over TCP is never read here: it is rare, and
whether its first segment is that of the stream is only known of the whole.

Limits: what bounds the state of one process (unanswered SYNs, hellos and DNS streams at a time) bounds it for each file here, or not at all, so that
in a flood rows are here that one process gives up.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from netlens.cluster.fragments import SeenFragments, Torn
from netlens.cluster.kernels import leading
from netlens.cluster.keys import FORCED, Keys, is_dns, keys_of
from netlens.cluster.rows import R_FRAME, R_SESSION, Payload, Piece, SessionData, copied, packed, sends_of
from netlens.cluster.sources import SourceReader
from netlens.columns import Array
from netlens.errors import CaptureError
from netlens.parsers import session_state as s_
from netlens.parsers.hello_scan import MAX_SEGMENTS
from netlens.parsers.hellos import HelloBuilder
from netlens.parsers.lookup_columns import gather
from netlens.parsers.pipeline import Part
from netlens.parsers.streams import DnsStreams
from netlens.parsers.tunnels import SSH_PORT
from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire.framing import Input

#: A SYN is sent again after 1, 3 and 7 s, and what comes late comes within seconds. Half of it makes more files be read twice, twice of it keeps more.
EDGE_NS = 8_000_000_000
PAYLOAD_BYTES = 256 << 20  #: kept of one file; one that needs more is read again, for those sessions only that are asked for


@dataclass
class FileFacts:
    """What the plan and the reports need of a file; small. Frames count from 1 in it, sessions from 0."""

    paths: list[str]
    products: tuple[str, ...]
    inputs: list[Input]
    interfaces: list[tuple[int, int, bytes]]
    frames: int
    counts: Array  # int64[N_REASONS, 2], see wire.decode
    first_ns: int | None
    keys: Keys
    fragments: Torn
    has_ssh: bool
    slight: int  # sessions of one frame, or of unanswered SYNs


@dataclass
class Scan:
    """A file, read."""

    facts: FileFacts
    data: SessionData  # of all its sessions; messages without DNS over TCP
    kept: Array  # bool[n]: sessions whose rows are below
    rows: Array
    a_is_0: Array  # bool[n]: A (see keys.LOOKS_A) is side 0 of the session
    payload: Payload
    hellos: HelloBuilder

    def __sizeof__(self) -> int:
        return self.data.__sizeof__() + self.rows.nbytes + self.payload.data.nbytes + self.payload.frames.nbytes + self.hellos.nbytes


def facts_of(found: Scan) -> FileFacts:
    return found.facts


class _Unread(DnsStreams):
    """DNS over TCP that is read later."""

    def feed(self, buf: Array, rows: Array, sessions: Array, skip: Array | None = None) -> None:
        pass


class _FilePart(Part):
    """A part that knows neither what came before it nor what comes after; ``only``, ``resumed``: see :func:`scan`."""

    def __init__(self, products: Iterable[str], only: Array | None = None, resumed: Array | None = None):
        super().__init__([p for p in products if p != "tunnels"], deferred=True)
        if self.lookups is not None:
            self.streams = _Unread(self.lookups)
        self.decoder.fragments = self.fragments = SeenFragments()
        self.only = only
        self.resumed = resumed
        self.overflow = False
        self.kept: list[tuple[Array, Array, Array, Array]] = []  # frames, sizes, data, leads
        self._near = np.zeros(2048, np.int64)
        self._ends = np.zeros(2048, np.int64)

    def keep_payload(self, buf: Array, packets: Array) -> None:
        session = packets[:, c.SESSION]
        want = (packets[:, c.KIND] == c.TCP) & (packets[:, c.PAY_CAP] > 0) & (session >= 0)
        if not want.any():
            return
        at = np.flatnonzero(want)
        session = session[at]
        owner = 2 * session + packets[at, c.DIRECTION]
        wanted = self.hellos.is_looked_at(session, packets[at, c.DIRECTION])
        going_on = self.fold.sessions[session, s_.FSM] & s_.MIDSTREAM != 0
        if self.resumed is not None:
            going_on |= self.resumed[np.minimum(session, len(self.resumed) - 1)]
        wanted &= going_on
        if self.streams is not None:
            wanted |= is_dns(self.fold.sessions, session)
        if self.only is not None:
            wanted &= self.only[np.minimum(session, len(self.only) - 1)]
        at, owner = at[wanted], owner[wanted]
        if not len(at) or self.overflow:
            return
        sizes = packets[at, c.PAY_CAP]
        total = int(sizes.sum())
        if self.only is None and self.payload_bytes + total > PAYLOAD_BYTES:
            self.overflow = True
            return
        data = np.empty(total, np.uint8)
        gather(buf, packets[at, c.PAY_OFF], sizes, data)
        self.payload_bytes += total
        if 2 * self.fold.n > len(self._near):
            more = np.zeros(4 * self.fold.n - len(self._near), np.int64)
            self._near, self._ends = np.concatenate([self._near, more]), np.concatenate([self._ends, more])
        leads = np.empty(len(at), bool)
        leading(buf, packets, at, owner, self._near, self._ends, MAX_SEGMENTS, leads)
        self.kept.append((packets[at, c.FRAME], sizes, data, leads))


def scan(paths: list[str], products: tuple[str, ...], seed: int, only: Array | None = None, resumed: Array | None = None) -> Scan:
    """Read files (one, unless a datagram's fragments lie in two) as if nothing came before them.

    Parameters
    ----------
    only : bool[n], to read again: keep the rows and payload of these sessions and of no others.
    resumed : bool[n], with ``only``: sessions that begin here with a SYN but in truth go on from an earlier file.

    Raises
    ------
    CaptureError, WireError
    """
    part = _FilePart(products, only, resumed)
    reader = SourceReader(paths)
    for unit in part.decoder.units(reader, 1):
        part.take(unit)
    state = part.state().copy()
    n = len(state)
    if only is not None and len(only) != n:
        raise CaptureError(f"{paths[0]}: it changed while it was read ({len(only)} sessions, then {n})")
    keys, a_is_0 = keys_of(state, seed, part.hellos, part.streams is not None)
    in_order = not len(part.decoder.times.set_back())  # else no time tells what lies at the edges
    kept = _edge(state, keys.group, part.bounds_ns if in_order else None) if only is None else only
    log = part.fold.drain()
    sends = sends_of(log, state) if "tunnels" in products else None
    rows = packed(log, kept)
    payload = Payload.of(part.kept)
    if only is None:
        payload = payload.take(rows[:, R_FRAME])
    begins = state[:, s_.FSM] & s_.MIDSTREAM == 0
    if part.overflow:  # what was not kept in full is read again
        kept = kept & begins & (keys.bits & FORCED == 0)
        rows = rows[kept[rows[:, R_SESSION] >> 1]]
    ports = state[:, s_.PORTS]
    ssh = ((ports & 0xFFFF) == SSH_PORT) | ((ports >> 16) & 0xFFFF == SSH_PORT) | (state[:, s_.PROTOCOL] == h.SSH)
    facts = FileFacts(
        paths, products, reader.inputs, reader.interfaces, reader.frame, part.counts, part.first_ns, keys,
        part.fragments.torn(reader.interfaces), bool(ssh.any()), int((state[:, s_.FSM] & s_.SLIGHT != 0).sum()),
    )  # fmt: skip
    exchanges = None if part.exchanges is None else part.exchanges.rows(state)
    messages = [] if part.lookups is None else [copied(part.lookups)]
    data = SessionData(state, part.fold.rare(), part.fold.missing(), part.hellos.sni_of_sessions(n), exchanges, messages, sends)
    return Scan(facts, data, kept, rows, a_is_0, payload, part.hellos.extract(np.where(kept & begins, np.arange(n), -1)))


def piece(found: Scan, groups: Array, seed: int, resumed: Array, quiet: Array, smooth: Array) -> Piece:
    """What lies in the file of the sessions of ``groups`` (bool by group). ``resumed``, ``quiet``, ``smooth``: see plan.Plan."""
    wanted = groups[found.facts.keys.group]
    going_on = np.zeros(len(wanted), bool)
    going_on[resumed] = True
    going_on &= wanted
    if (wanted & ~found.kept).any() or going_on.any():  # of what seemed to begin here, no payload was kept
        before, facts = found, found.facts
        found = scan(facts.paths, facts.products, seed, wanted, going_on)
        if len(found.kept) != len(before.kept) or found.facts.frames != facts.frames:
            raise CaptureError(f"{facts.paths[0]}: it changed while it was read ({facts.frames} frames, then {found.facts.frames})")
    state = found.data.state
    names = np.flatnonzero(wanted)
    place = np.where(wanted, np.cumsum(wanted) - 1, -1)
    rows = found.rows[wanted[found.rows[:, R_SESSION] >> 1]]
    rows[:, R_SESSION] = place[rows[:, R_SESSION] >> 1] << 1 | rows[:, R_SESSION] & 1
    begins = (state[:, s_.FSM] & s_.MIDSTREAM == 0) & ~going_on
    took = np.where(wanted & begins, place, -1)
    k, side = rows[:, R_SESSION] >> 1, rows[:, R_SESSION] & 1
    read = ~_of_sides(found, quiet)[names][k, side]
    payload = found.payload.take(rows[read, R_FRAME], _of_sides(found, smooth)[names][k, side][read])
    return Piece(rows, state[names, : s_.PORTS + 1].copy(), begins[names], payload, found.hellos.extract(took))


def _of_sides(found: Scan, ends: Array) -> Array:
    """bool[n, 2], by session and side: whether it is among ``ends`` (2 * session + end, see plan.Plan); never where DNS is read."""
    out = np.zeros((len(found.kept), 2), bool)
    k, end = ends >> 1, ends & 1
    out[k, np.where(found.a_is_0[k], end, 1 - end)] = True
    out[found.facts.keys.bits & FORCED != 0] = False
    return out


def _edge(state: Array, group: Array, bounds_ns: tuple[int, int] | None) -> Array:
    """bool[n]: sessions whose rows another file may ask for, with all of their groups."""
    if bounds_ns is None or not len(state):
        return np.ones(len(state), bool)
    first, last = bounds_ns
    may = (state[:, s_.FSM] & s_.MIDSTREAM != 0) | (state[:, s_.CLOSED_TS] == s_.UNSET)
    may |= (state[:, s_.FIRST_TS] < first + EDGE_NS) | (state[:, s_.LAST_TS] > last - EDGE_NS)
    groups = np.zeros(int(group.max()) + 1, bool)
    groups[group[may]] = True
    out: Array = groups[group]
    return out
