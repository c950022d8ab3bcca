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

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.cluster.kernels import flatten, gather, leading, unite
from netlens.cluster.sources import SourceReader
from netlens.errors import CaptureError
from netlens.parsers import session_state as s_
from netlens.parsers.hello_scan import MAX_SEGMENTS
from netlens.parsers.pipeline import Part
from netlens.parsers.streams import DnsStreams
from netlens.parsers.tunnels import SSH_PORT
from netlens.wire import columns as c
from netlens.wire import hints as h
from netlens.wire.fragments import MAX_AGE_NS, Fragments, datagram

if TYPE_CHECKING:
    from netlens.parsers.hellos import HelloBuilder
    from netlens.parsers.lookups import LookupBuilder
    from netlens.schema import Table
    from netlens.wire.containers import Input

Array = np.ndarray[Any, Any]

#: A SYN is sent again after 1, 3 and 7 s, and what comes late comes within seconds. Half of it makes more files be read twice, twice of it keeps more.
EDGE_NS = 8_000_000_000
PAYLOAD_BYTES = 256 << 20  #: kept of one file; one that needs more is read again, for those sessions only that are asked for
#: New payload behind which a search for a ClientHello is over that began unseen: more than hellos.LOOKS + MAX_SEGMENTS + LOOKS_AFTER segments of 64 KiB
LOOKED_BYTES = 4 << 20
MAX_SEEN = (
    1 << 16
)  #: fragmented datagrams of a file that are remembered; with more, any that an earlier file left open counts as one of them
DNS_PORT = 53

# ---- a packed packet row, int64[m, R_WIDTH]; addresses and ports are those of its session ----
R_FRAME, R_TS, R_HINT, R_IFACE, R_NUMBERS, R_LENGTH, R_REST, R_SESSION = range(8)
R_WIDTH = 8
# R_NUMBERS: sequence number << 32 | acknowledgment; R_REST: captured payload << 32 | flags << 16 | window; R_SESSION: session << 1 | direction

# ---- what the search for tunnels needs of a payload or SYN of an originator, int64[m, T_WIDTH] ----
T_COLUMNS = (c.FRAME, c.TS, c.SESSION, c.DIRECTION, c.FLAGS, c.FRESH, c.HINT)

# ---- bits of a session in Keys ----
BEGINS, SAW_END, MATED, FORCED, ONLY_SYNS, NO_SYN = 1, 2, 4, 8, 16, 32
ONLY_UP, ONLY_DOWN, CLIENT_FIRST = 64, 128, 256  # frames of the originator only, of the responder only; the first one is the originator's
#: What an end sends is still looked at for a ClientHello. A is the end with the smaller hash, which is the same one in every file
LOOKS_A, LOOKS_B = 512, 1024


@dataclass
class Keys:
    """What the plan needs of a file, by session in order of first frame."""

    flow: Array  # uint64, hash of the 5-tuple, the same in both directions
    client: Array  # uint64, hash of the originator's address and port
    group: Array  # int32, sessions that may touch each other within the file: same flow or same client
    isn: Array  # uint32, of the originator; only where BEGINS
    bits: Array  # uint16
    #: of sessions that have no beginning or no end here, and are still looked at: int32[m], their places; int64[m, 4], sequence numbers at which
    #: A's stream begins here and is to go on, then B's. -1: not known, or the search for hellos is in the middle of one
    open_at: Array
    numbers: Array

    @property
    def groups(self) -> int:
        return int(self.group.max()) + 1 if len(self.group) else 0


@dataclass
class Payload:
    """Payload by frame: ``data[starts[i] : starts[i + 1]]`` is that of frame ``frames[i]``."""

    frames: Array
    starts: Array
    data: Array
    leads: Array  # bool: see kernels.leading

    @classmethod
    def of(cls, frames: list[Array], sizes: list[Array], data: list[Array], leads: list[Array]) -> Payload:
        lengths = np.concatenate([*sizes, np.zeros(0, np.int64)])
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        return cls(
            np.concatenate([*frames, np.zeros(0, np.int64)]),
            starts,
            np.concatenate([*data, np.zeros(0, np.uint8)]),
            np.concatenate([*leads, np.zeros(0, bool)]),
        )

    def take(self, frames: Array, behind: Array | None = None) -> Payload:
        """The payload of those of ``frames`` (ascending) that have some; of ``behind`` (bool by frame) without what leads."""
        place = np.searchsorted(frames, self.frames)
        found = place < len(frames)
        found[found] = frames[place[found]] == self.frames[found]
        if behind is not None:
            found[found] = ~(self.leads[found] & behind[place[found]])
        at = np.flatnonzero(found)
        sizes = self.starts[at + 1] - self.starts[at]
        out = np.empty(int(sizes.sum()), np.uint8)
        gather(self.data, self.starts[at], sizes, out)
        return Payload.of([self.frames[at]], [sizes], [out], [self.leads[at]])


@dataclass
class Piece:
    """The rows of some sessions of one file, with what was read from their payload."""

    rows: Array  # int64[m, R_WIDTH]; sessions counted within the piece
    ends: Array  # int64[n, 5], the first columns of the session state
    begins: Array  # bool[n]: began here, so that hellos found here stand
    payload: Payload
    hellos: HelloBuilder

    def packets(self, first_frame: int, interfaces: Array | None) -> Array:
        """int64[m, WIDTH]: the packet rows; SESSION is the piece's own."""
        r = self.rows
        out = np.zeros((len(r), c.WIDTH), np.int64)
        k, direction = r[:, R_SESSION] >> 1, r[:, R_SESSION] & 1
        ends = self.ends[k]
        swap = direction == 1
        for there, back, column in ((0, 2, c.SRC_HI), (1, 3, c.SRC_LO), (2, 0, c.DST_HI), (3, 1, c.DST_LO)):
            out[:, column] = np.where(swap, ends[:, back], ends[:, there])
        ports = ends[:, 4]
        out[:, c.PORTS] = np.where(swap, (ports >> 32) << 32 | (ports & 0xFFFF) << 16 | (ports >> 16) & 0xFFFF, ports)
        out[:, c.FRAME], out[:, c.TS], out[:, c.HINT] = r[:, R_FRAME] + first_frame, r[:, R_TS], r[:, R_HINT]
        out[:, c.IFACE] = renumbered(r[:, R_IFACE], interfaces)
        out[:, c.KIND], out[:, c.LENGTH] = c.TCP, r[:, R_LENGTH]
        out[:, c.SEQ], out[:, c.ACK] = (r[:, R_NUMBERS] >> 32) & 0xFFFFFFFF, r[:, R_NUMBERS] & 0xFFFFFFFF
        out[:, c.PAY_CAP], out[:, c.FLAGS], out[:, c.WINDOW] = r[:, R_REST] >> 32, (r[:, R_REST] >> 16) & 0xFFFF, r[:, R_REST] & 0xFFFF
        out[:, c.SESSION], out[:, c.TSVAL] = k, -1
        return out

    def __sizeof__(self) -> int:
        return 4096 + self.rows.nbytes + self.ends.nbytes + self.payload.data.nbytes + self.hellos.nbytes


@dataclass
class Torn:
    """Fragments, as far as datagrams may lie in two files. Keys name the datagram, and the interface by position, link type and name."""

    open: dict[tuple[Any, ...], int]  # incomplete at the end; since when, ns
    seen: dict[tuple[Any, ...], int]  # all, at most MAX_SEEN; when first
    blind_ns: int | None  # when there were more than that

    def completes(self, open_before: dict[tuple[Any, ...], int]) -> set[tuple[Any, ...]]:
        """Those of the datagrams that earlier files left incomplete which fragments of this file would go to."""
        found = {key for key, since in open_before.items() if key in self.seen and abs(self.seen[key] - since) <= MAX_AGE_NS}
        if self.blind_ns is not None:
            found |= {key for key, since in open_before.items() if key not in self.seen and self.blind_ns - since <= MAX_AGE_NS}
        return found


class _Fragments(Fragments):
    """Also notes which datagrams had fragments."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[tuple[int, ...], int] = {}
        self.blind_ns: int | None = None

    def feed(self, buf: Array, rows: Array, quality: Array) -> list[tuple[Array, Array]]:
        for row in rows.tolist():
            ts, key = row[1], datagram(row)
            if len(self.seen) < MAX_SEEN:
                self.seen.setdefault(key, ts)
            elif self.blind_ns is None and key not in self.seen:
                self.blind_ns = ts
        return super().feed(buf, rows, quality)

    def torn(self, interfaces: list[tuple[int, int, bytes]]) -> Torn:
        def named(key: tuple[int, ...]) -> tuple[Any, ...]:
            return (interfaces[key[0] >> 40], key[0] & ((1 << 40) - 1), *key[1:])

        since = {named(key): entry.since_ns for key, entry in self.open.items()}
        return Torn(since, {named(key): ts for key, ts in self.seen.items()}, self.blind_ns)


class _Unread(DnsStreams):
    """DNS over TCP that is read later."""

    def feed(self, buf: Array, rows: Array, sessions: Array, skip: Array | None = None) -> None:
        pass


@dataclass
class Scan:
    """A file, read. Frames count from 1 in it, sessions from 0."""

    paths: list[str]
    products: tuple[str, ...]
    inputs: list[Input]
    interfaces: list[tuple[int, int, bytes]]
    frames: int
    counts: Array  # int64[N_REASONS, 2], see wire.decode
    first_ns: int | None
    state: Array  # int64[n, S_WIDTH]
    missing: Array  # int64[n, 2]
    sni: Array  # object[n]
    keys: Keys
    kept: Array  # bool[n]: sessions whose rows are below
    rows: Array
    a_is_0: Array  # bool[n]: A (see LOOKS_A) is side 0 of the session
    payload: Payload
    hellos: HelloBuilder
    exchanges: Table | None
    messages: tuple[Array, Array] | None  # rows and texts of DNS messages, without DNS over TCP
    sends: Array | None  # for the search for tunnels
    fragments: Torn

    @property
    def has_ssh(self) -> bool:
        ports = self.state[:, s_.PORTS]
        at_22 = ((ports & 0xFFFF) == SSH_PORT) | ((ports >> 16) & 0xFFFF == SSH_PORT)
        return bool((at_22 | (self.state[:, s_.PROTOCOL] == h.SSH)).any())

    @property
    def slight(self) -> int:
        return int((self.state[:, s_.FSM] & s_.SLIGHT != 0).sum())

    def __sizeof__(self) -> int:
        arrays = (self.state, self.missing, self.sni, self.rows, self.payload.data, self.payload.frames, *(self.messages or ()))
        table = 0 if self.exchanges is None else 100 * self.exchanges.rows * len(self.exchanges)
        return 4096 + sum(a.nbytes for a in arrays) + table + (0 if self.sends is None else self.sends.nbytes) + self.hellos.nbytes


class _FilePart(Part):
    """A part that knows neither what came before it nor what comes after; ``only``, ``resumed``: see :func:`scan`."""

    def __init__(self, products: Iterable[str], only: Array | None = None, resumed: Array | None = None):
        super().__init__([p for p in products if p != "tunnels"], deferred=True)
        if self.lookups is not None:
            self.streams = _Unread(self.lookups)
        self.decoder.fragments = self.fragments = _Fragments()
        self.only = only
        self.resumed = resumed
        self.overflow = False
        self.kept_frames: list[Array] = []
        self.kept_sizes: list[Array] = []
        self.kept_data: list[Array] = []
        self.kept_leads: list[Array] = []
        self._near = np.zeros(2048, np.int64)
        self._ends = np.zeros(2048, np.int64)

    def _keep_payload(self, buf: Array, packets: Array) -> None:
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
            wanted |= _dns(self.fold.sessions, session)
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
        self.kept_frames.append(packets[at, c.FRAME])
        self.kept_sizes.append(sizes)
        self.kept_data.append(data)
        if 2 * self.fold.n > len(self._near):
            more = np.zeros(4 * self.fold.n - len(self._near), np.int64)
            self._near, self._ends = np.concatenate([self._near, more]), np.concatenate([self._ends, more])
        leads = np.empty(len(at), bool)
        leading(buf, packets, at, owner, self._near, self._ends, MAX_SEGMENTS, leads)
        self.kept_leads.append(leads)


def _dns(sessions: Array, k: Array) -> Array:
    """Whether sessions ``k`` are DNS over TCP, by a port of their own or of the other redirect half."""
    mates = sessions[k, s_.MATE]

    def at_53(ports: Array) -> Array:
        return ((ports & 0xFFFF) == DNS_PORT) | ((ports >> 16) & 0xFFFF == DNS_PORT)

    found: Array = at_53(sessions[k, s_.PORTS]) | ((mates >= 0) & at_53(sessions[mates, s_.PORTS]))
    return found


def copied(lookups: LookupBuilder) -> tuple[Array, Array]:
    """Rows and texts of the messages, without the room behind them."""
    rows, arena = lookups.content()
    return rows.copy(), arena.copy()


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
    missing = part.fold.missing()
    keys, a_is_0 = _keys(state, seed, part.hellos, part.streams is not None)
    in_order = not len(part.decoder.times.set_back())  # else no time tells what lies at the edges
    kept = _edge(state, keys.group, part.bounds_ns if in_order else None) if only is None else only
    log = part.fold.drain()
    sends = _sends(log, state) if "tunnels" in products else None
    rows = _packed(log, kept)
    payload = Payload.of(part.kept_frames, part.kept_sizes, part.kept_data, part.kept_leads)
    if only is None:
        payload = payload.take(rows[:, R_FRAME])
    if part.overflow:  # what was not kept in full is read again
        kept = kept & (state[:, s_.FSM] & s_.MIDSTREAM == 0) & (keys.bits & FORCED == 0)
        rows = rows[kept[rows[:, R_SESSION] >> 1]]
    begins = kept & (state[:, s_.FSM] & s_.MIDSTREAM == 0)
    messages = None
    if part.lookups is not None:
        messages = copied(part.lookups)
    return Scan(
        paths, products, reader.inputs, reader.interfaces, reader.frame, part.counts, part.first_ns, state, missing, part.hellos.sni_of_sessions(n), keys, kept,
        rows, a_is_0, payload, part.hellos.extract(np.where(begins, np.arange(n), -1)),
        None if part.exchanges is None else part.exchanges.rows(state),
        messages, sends, part.fragments.torn(reader.interfaces),
    )  # fmt: skip


def piece(found: Scan, groups: Array, seed: int, resumed: Array, quiet: Array, smooth: Array) -> Piece:
    """What lies in the file of the sessions of ``groups`` (bool by group). ``resumed``, ``quiet``, ``smooth``: see plan.Plan."""
    wanted = groups[found.keys.group]
    going_on = np.zeros(len(wanted), bool)
    going_on[resumed] = True
    going_on &= wanted
    if (wanted & ~found.kept).any() or going_on.any():  # of what seemed to begin here, no payload was kept
        again = scan(found.paths, found.products, seed, wanted, going_on)
        if len(again.state) != len(found.state) or again.frames != found.frames:
            raise CaptureError(f"{found.paths[0]}: it changed while it was read ({found.frames} frames, then {again.frames})")
        found = again
    names = np.flatnonzero(wanted)
    place = np.full(len(wanted), -1, np.int64)
    place[names] = np.arange(len(names))
    rows = found.rows[wanted[found.rows[:, R_SESSION] >> 1]]
    rows[:, R_SESSION] = place[rows[:, R_SESSION] >> 1] << 1 | rows[:, R_SESSION] & 1
    begins = (found.state[:, s_.FSM] & s_.MIDSTREAM == 0) & ~going_on
    took = np.where(wanted & begins, place, -1)
    k, d = rows[:, R_SESSION] >> 1, rows[:, R_SESSION] & 1
    read = ~_of_sides(found, quiet)[names][k, d]
    payload = found.payload.take(rows[read, R_FRAME], _of_sides(found, smooth)[names][k, d][read])
    return Piece(rows, found.state[names, : s_.PORTS + 1].copy(), begins[names], payload, found.hellos.extract(took))


def _of_sides(found: Scan, ends: Array) -> Array:
    """bool[n, 2], by session and side: whether it is among ``ends`` (2 * session + end, see plan.Plan); never where DNS is read."""
    out = np.zeros((len(found.state), 2), bool)
    k, end = ends >> 1, ends & 1
    out[k, np.where(found.a_is_0[k], end, 1 - end)] = True
    out[found.keys.bits & FORCED != 0] = False
    return out


def renumbered(iface: Array, interfaces: Array | None) -> Array:
    """Interfaces as they count over all files; ``interfaces``: by number in the file, None if they are the same."""
    if interfaces is None:
        return iface
    out: Array = np.where(iface < 0, iface, interfaces[np.maximum(iface, 0) >> 40] << 40 | iface & ((1 << 40) - 1))
    return out


# ---- keys ----


def _mixed(x: Array) -> Array:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    out: Array = x ^ (x >> np.uint64(31))
    return out


def _keys(state: Array, seed: int, hellos: HelloBuilder, dns: bool) -> tuple[Keys, Array]:
    """The keys, and Scan.a_is_0."""
    n = len(state)
    u = state[:, : s_.PORTS + 1].astype(np.uint64)
    ports, salt = u[:, s_.PORTS], np.uint64(seed)
    version = ports >> np.uint64(32)
    ends = [
        _mixed(_mixed(_mixed(u[:, hi] ^ salt) + u[:, lo]) + (version << np.uint64(16) | ports >> np.uint64(shift) & np.uint64(0xFFFF)))
        for hi, lo, shift in ((s_.A_HI, s_.A_LO, 16), (s_.B_HI, s_.B_LO, 0))
    ]
    flow = _mixed(ends[0] + ends[1]) ^ _mixed(ends[0] ^ ends[1])
    fsm = state[:, s_.FSM]
    orig = (fsm >> 8) & 1
    client = np.where(orig == 0, ends[0], ends[1])
    at = np.arange(n)
    side = s_.SIDE + orig * s_.SIDE_WIDTH
    begins = fsm & s_.MIDSTREAM == 0
    bits = np.zeros(n, np.uint16)
    bits[begins] |= BEGINS
    bits[(fsm >> 16) & (s_.SAW_FIN | s_.SAW_RST) != 0] |= SAW_END
    bits[state[at, s_.SIDE + (1 - orig) * s_.SIDE_WIDTH + s_.FRAMES] == 0] |= ONLY_UP
    bits[state[at, side + s_.FRAMES] == 0] |= ONLY_DOWN
    bits[orig == 0] |= CLIENT_FIRST
    bits[(fsm >> 16) & (s_.SAW_SYN | s_.SAW_SYNACK) == 0] |= NO_SYN
    bits[state[:, s_.MATE] >= 0] |= MATED
    bits[begins & (fsm & s_.SLIGHT != 0)] |= ONLY_SYNS
    if dns and n:
        bits[_dns(state, at)] |= FORCED
    a_is_0 = ends[0] <= ends[1]
    looks, expected = hellos.looking(n)
    looking = looks != 0
    for d in (0, 1):  # joined mid-way, the file has looked at other segments than the whole
        looking[~begins & (state[:, s_.SIDE + d * s_.SIDE_WIDTH + s_.BYTES] < LOOKED_BYTES), d] = True
    alike = ends[0] == ends[1]
    bits[looking[at, np.where(a_is_0, 0, 1)] | alike] |= LOOKS_A
    bits[looking[at, np.where(a_is_0, 1, 0)] | alike] |= LOOKS_B
    open_at = np.flatnonzero((bits & (BEGINS | SAW_END) != BEGINS | SAW_END) & (bits & (LOOKS_A | LOOKS_B) != 0) & ~alike)
    numbers = np.empty((len(open_at), 4), np.int64)
    for d in (0, 1):
        of_side = state[open_at, s_.SIDE + d * s_.SIDE_WIDTH : s_.SIDE + (d + 1) * s_.SIDE_WIDTH]
        there = of_side[:, s_.BASE_KIND] != s_.NO_BASE
        first = (of_side[:, s_.BASE] + 1) & 0xFFFFFFFF
        next_one = (first + expected[open_at, d]) & 0xFFFFFFFF
        column = 2 * (a_is_0[open_at] != (d == 0))
        numbers[np.arange(len(open_at)), column] = np.where(there, first, -1)
        numbers[np.arange(len(open_at)), column + 1] = np.where(there & (looks[open_at, d] >= 0), next_one, -1)
    base = state[at, side + s_.BASE].astype(np.uint32)
    return Keys(flow, client, _grouped(flow, client), base, bits, open_at.astype(np.int32), numbers), a_is_0


def _grouped(*columns: Array) -> Array:
    """int32[n]: rows that are equal in one of the columns, and those equal to these, have one number."""
    n = len(columns[0])
    parent = np.arange(n)
    for column in columns:
        order = np.argsort(column, kind="stable")
        same = np.flatnonzero(column[order[1:]] == column[order[:-1]])
        unite(order[same], order[same + 1], parent)
    flatten(parent)
    return np.unique(parent, return_inverse=True)[1].astype(np.int32)


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


# ---- rows ----


def _packed(log: list[Array], kept: Array) -> Array:
    """int64[m, R_WIDTH] of the kept sessions' rows. Takes the log apart, so that both need not be held."""
    out = []
    while log:
        rows = log.pop(0)
        rows = rows[kept[rows[:, c.SESSION]]]
        block = np.empty((len(rows), R_WIDTH), np.int64)
        block[:, R_FRAME], block[:, R_TS], block[:, R_HINT] = rows[:, c.FRAME], rows[:, c.TS], rows[:, c.HINT]
        block[:, R_IFACE], block[:, R_LENGTH] = rows[:, c.IFACE], rows[:, c.LENGTH]
        block[:, R_NUMBERS] = rows[:, c.SEQ] << 32 | rows[:, c.ACK]
        block[:, R_REST] = rows[:, c.PAY_CAP] << 32 | rows[:, c.FLAGS] << 16 | rows[:, c.WINDOW]
        block[:, R_SESSION] = rows[:, c.SESSION] << 1 | rows[:, c.DIRECTION]
        out.append(block)
    return np.concatenate([*out, np.zeros((0, R_WIDTH), np.int64)])


def _sends(log: list[Array], state: Array) -> Array:
    """int64[m, len(T_COLUMNS)]: SYNs and new payload of originators."""
    return np.concatenate([*(sends_of(rows, state) for rows in log), np.zeros((0, len(T_COLUMNS)), np.int64)])


def sends_of(rows: Array, state: Array) -> Array:
    """Those of packet rows ``rows`` that the search for tunnels reads."""
    orig = (state[rows[:, c.SESSION], s_.FSM] >> 8) & 1
    opens = rows[:, c.FLAGS] & (c.SYN | c.ACK_FLAG) == c.SYN
    chosen: Array = rows[(rows[:, c.DIRECTION] == orig) & (opens | (rows[:, c.FRESH] > 0))][:, list(T_COLUMNS)]
    return chosen
