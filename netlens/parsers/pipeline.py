"""One pass over a capture: reader -> framing -> decode -> parsers -> tables.

What is asked for decides what runs: ``sessions`` alone costs a third of everything. A batch of packet rows goes through all parsers while it
is in the cache. Reading with decoding, and parsing, are a thread each, because both spend their time outside the interpreter lock; with one core
to run on they are one (docs/decisions/0012). Memory: a handful of read buffers and batches of rows, and the parsers' state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from netlens.columns import Array
from netlens.parsers import quality
from netlens.parsers.hellos import MEANINGS as HELLO_REASONS
from netlens.parsers.hellos import HelloBuilder
from netlens.parsers.lifecycle import Kept, Stateful
from netlens.parsers.session_state import FSM, MAX_SLIGHT, MIDSTREAM
from netlens.parsers.sessions import SessionFold
from netlens.threads import cores
from netlens.wire import columns as c
from netlens.wire import decode as d
from netlens.wire.ahead import ahead
from netlens.wire.containers import Batch, Reader
from netlens.wire.fragments import Fragments
from netlens.wire.streams import CHUNK
from netlens.wire.times import Times

if TYPE_CHECKING:
    from netlens.parsers.closely import Closely
    from netlens.parsers.exchanges import ExchangeBuilder
    from netlens.parsers.lookups import LookupBuilder
    from netlens.parsers.stream_digests import StreamHasher
    from netlens.parsers.streams import DnsStreams
    from netlens.parsers.trail import Trail
    from netlens.parsers.tunnels import TunnelWatch
    from netlens.schema import Table
    from netlens.wire.framing import Input

_NO_PAYLOAD: Array = np.zeros(0, np.uint8)

#: What each table needs to be built. Sessions are always folded: the others hang on them.
PRODUCTS = ("sessions", "hellos", "lookups", "exchanges", "tunnels")
TRAIL = "trail"  #: besides, for lenses: what parsers.closely keeps, and hellos in full; of a capture that is read in one part
DIGESTS = "digests"  #: and what connections carried, as hashes, to be compared with another capture's (parsers.stream_digests)

#: products whose parsers take as long as reading does, so that decoding is divided best if it goes with them; all others take longer
LIGHT = ("sessions",)
LARGE = 64 << 20  #: bytes from which on a capture may be divided among the cores (:mod:`netlens.parsers.spans`)
AHEAD = 1  #: finished lots of batches that may wait for the parsers
KEPT_FRAMES = 128  #: frames of a session that goes on from the part before, whose payload is kept: a ClientHello ends within 32 segments
FLOOD = f"5-tuples of one TCP frame, or of unanswered SYNs, beyond {MAX_SLIGHT:,} at a time (a flood, a scan): no session"
KEPT_BYTES = 64 << 20  #: payload kept in all; what is beyond it is not read again when parts are merged


@dataclass(frozen=True)
class Pace:
    """How much goes from one to the next at a time: at most so many frames and bytes, and so many such batches to another thread (0: there is one thread).

    With each batch the interpreter lock is taken and let go of a dozen times. That costs nothing, unless another thread wants it: then one of them
    sleeps and is woken, which takes 30 microseconds. So where two threads work on what is more than light, batches are larger than what a core's own
    cache holds.
    """

    frames: int
    bytes: int
    together: int

    @property
    def rooms(self) -> int:
        """Batches that are held at a time."""
        return (AHEAD + 2) * self.together + 1 if self.together else 1


ONE_THREAD = Pace(c.BATCH, CHUNK, 0)
TWO_THREADS_LIGHT = Pace(c.BATCH, CHUNK, 4)
TWO_THREADS = Pace(4 * c.BATCH, 4 * CHUNK, 1)
SIDE_BY_SIDE = Pace(4 * c.BATCH, 4 * CHUNK, 0)


def pace(alone: bool, light: bool = False) -> Pace:
    """The one for this machine. ``alone``: no other capture is read at the same time, so that a second core, if there is one, has nothing else to do."""
    if cores() == 1:
        return ONE_THREAD
    return (TWO_THREADS_LIGHT if light else TWO_THREADS) if alone else SIDE_BY_SIDE


@dataclass
class Unit:
    """Decoded packets of a batch: (buffer, int64[n, WIDTH]) in order, one piece unless fragments were put together."""

    pieces: list[tuple[Array, Array]]
    last_frame: int
    first_ns: int  # the earliest time; 0: none of the frames has one
    last_ns: int  # the latest


class Decoder:
    """Batches of frames to packet rows; holds what spans batches: counts by reason, unfinished fragments.  closely : reads the rest, if anybody does."""

    def __init__(self) -> None:
        self.closely: Closely | None = None
        self.counts = np.zeros((d.N_REASONS, 2), np.int64)
        self.fragments = Fragments()
        self.times = Times()
        self._fragment_rows = np.zeros((2 * c.BATCH, d.FRAGMENT_WIDTH), np.int64)
        self._room = np.zeros((0, c.WIDTH), np.int64)

    def units(self, reader: Reader, rooms: int = 1) -> Iterator[Unit]:
        """The batches of ``reader``, decoded. Each unit is valid while ``rooms`` - 1 later ones are made, if the reader holds its buffers as long."""
        areas: list[Array] = []  # made when they are needed: of a small capture one that holds it
        for turn, batch in enumerate(reader.batches()):
            k = turn % rooms
            if k == len(areas):
                areas.append(np.zeros((batch.n if batch.n <= reader.batch // 8 else reader.batch, c.WIDTH), np.int64))
            elif len(areas[k]) < batch.n:
                areas[k] = np.zeros((reader.batch, c.WIDTH), np.int64)
            yield self.unit(batch, areas[k])

    def read(self, reader: Reader, pace: Pace) -> Iterator[Unit]:
        """The same of a reader that :func:`reader_of` gave, by a thread of its own if the pace is one of two threads."""
        units = self.units(reader, pace.rooms)
        return ahead(units, AHEAD, reader.cancel, pace.together) if pace.together else units

    def rest(self) -> None:
        """Let go of the room to work in."""
        self._room, self._fragment_rows = self._room[:0].copy(), self._fragment_rows[:0].copy()

    def unit(self, batch: Batch, room: Array | None = None) -> Unit:
        """Decode ``batch`` into ``room`` (one of its own if None)."""
        if room is None or len(room) < batch.n:
            if len(self._room) < batch.n:
                self._room = np.zeros((batch.n, c.WIDTH), np.int64)
            room = self._room
        if len(self._fragment_rows) < 2 * batch.n:  # of what is heard on the air two a frame
            self._fragment_rows = np.zeros((2 * batch.n, d.FRAGMENT_WIDTH), np.int64)
        m, n = d.decode(batch.buf, batch.frames, batch.n, batch.links, batch.frame0, room, self._fragment_rows, self.counts)
        pieces: list[tuple[Array, Array]] = []
        at = 0
        if n:
            for area, packet in self.fragments.feed(batch.buf, self._fragment_rows[:n], self.counts):
                until = int(np.searchsorted(room[:m, c.FRAME], packet[0, c.FRAME]))
                pieces += [(batch.buf, room[at:until]), (area, packet)]
                at = until
            if self.closely is not None:
                self.closely.feed_rest(batch.buf, self._fragment_rows[:n])
                for area, echo in self.fragments.echoes:
                    self.closely.feed_rest(area, echo)
        pieces.append((batch.buf, room[at:m]))
        return Unit(pieces, batch.frame0 + batch.n, *self.times.feed(batch.frames, batch.n, batch.frame0))


class Part:
    """The state of all parsers over one part of a capture. ``merge`` appends the part that follows.

    Parameters
    ----------
    products : of :data:`PRODUCTS`, what to build. ``sessions`` carries the SNI, but not the rest of a hello.
    deferred : True for a part that does not begin at the start of the capture (see parsers.sessions).
    spill_to : a folder for the state of very many sessions (see parsers.spill).
    """

    def __init__(self, products: Iterable[str] = PRODUCTS, deferred: bool = False, spill_to: str | None = None):
        self.products = tuple(products)
        self.deferred = deferred
        self.fold = SessionFold(deferred, spill_to=spill_to)
        self.hellos = HelloBuilder(full="hellos" in self.products or TRAIL in self.products)
        # Loading compiled code takes 10 to 20 ms a module: only of what will run.
        self.lookups: LookupBuilder | None = None
        self.streams: DnsStreams | None = None
        self.exchanges: ExchangeBuilder | None = None
        self.tunnels: TunnelWatch | None = None
        self.hasher: StreamHasher | None = None
        self.decoder = Decoder()
        if "lookups" in self.products:
            from netlens.parsers.lookups import LookupBuilder
            from netlens.parsers.streams import DnsStreams

            self.lookups = LookupBuilder()
            self.streams = DnsStreams(self.lookups)
        if "exchanges" in self.products:
            from netlens.parsers.exchanges import ExchangeBuilder

            self.exchanges = ExchangeBuilder()
        if "tunnels" in self.products:
            from netlens.parsers.tunnels import TunnelWatch

            self.tunnels = TunnelWatch()
        if TRAIL in self.products:
            from netlens.parsers.closely import Closely

            self.decoder.closely = Closely()
        if DIGESTS in self.products:
            from netlens.parsers.stream_digests import StreamHasher

            self.hasher = StreamHasher()
        self.frames = 0
        self.bytes = 0
        self.inputs: list[Input] = []
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.payload: dict[int, bytes] = {}  # of a deferred part, by frame
        self.payload_bytes = 0

    @property
    def counts(self) -> Array:
        """int64[N_REASONS, 2]: frames counted by reason, and the first frame of each."""
        return self.decoder.counts

    @property
    def closely(self) -> Closely | None:
        """What is kept for lenses; None without :data:`TRAIL`."""
        return self.decoder.closely

    @property
    def trail(self) -> Trail | None:
        """Single segments; None without :data:`TRAIL`."""
        return None if self.closely is None else self.closely.trail

    @property
    def bounds_ns(self) -> tuple[int, int] | None:
        """Earliest and latest time, which are not those of the first and last frame where the clock was set back; None where no frame has a time."""
        return None if self.first_ns is None or self.last_ns is None else (self.first_ns, self.last_ns)

    def widen(self, first_ns: int, last_ns: int) -> None:
        """Let the bounds hold these times, too."""
        self.first_ns = min(first_ns, first_ns if self.first_ns is None else self.first_ns)
        self.last_ns = max(last_ns, last_ns if self.last_ns is None else self.last_ns)

    def feed(self, batch: Batch) -> None:
        """Decode one batch and take it in."""
        self.take(self.decoder.unit(batch))

    def take(self, unit: Unit) -> None:
        """Take in decoded packets."""
        for buf, packets in unit.pieces:
            self.parse(buf, packets)
        self.frames = unit.last_frame
        if unit.first_ns:
            self.widen(unit.first_ns, unit.last_ns)

    def parse(self, buf: Array, packets: Array) -> None:
        """Take in the packet rows of one buffer."""
        if not len(packets):
            return
        if self.lookups is not None:
            self.lookups.feed(buf, packets)
        if packets[0, c.KIND] != c.TCP and not (packets[:, c.KIND] == c.TCP).any():  # all the rest is of sessions
            if self.closely is not None:
                self.closely.feed(buf, packets, self.fold.state())
            return
        self.fold.feed(packets)
        sessions = self.fold.state()
        if self.deferred:
            self.keep_payload(buf, packets)
        self.hellos.feed(buf, packets)
        self.follow(packets)
        if self.exchanges is not None:
            self.exchanges.ends.feed(buf, packets)
        if self.closely is not None:
            self.closely.feed(buf, packets, sessions, self.hellos)
        if self.hasher is not None:
            self.hasher.feed(buf, packets, self.fold.n)
        if self.streams is not None:
            skip = None
            if self.deferred:  # messages of a session that goes on from the part before are read when the parts are merged
                skip = (packets[:, c.SESSION] >= 0) & (sessions[packets[:, c.SESSION], FSM] & MIDSTREAM != 0)
            self.streams.feed(buf, packets, sessions, skip)

    def follow(self, packets: Array) -> None:
        """Feed the parsers that need no payload."""
        for parser in (self.exchanges, self.tunnels):
            if parser is not None:
                parser.feed(_NO_PAYLOAD, packets, self.fold.state())

    def forget(self, sessions: Array) -> Array:
        """Keep ``sessions`` (rows, rising), drop all others and number the rest anew. Returns int64[n]: the new row of each session, or -1.

        So a watch of days needs no more memory than what is open. What was found in the others must have been drained before.
        """
        kept = Kept.of(sessions, self.fold.n)
        parsers: tuple[Stateful | None, ...] = (self.fold, self.hellos, self.exchanges, self.tunnels, self.lookups, self.streams)
        for parser in parsers:
            if parser is not None:
                parser.forget(kept)
        return kept.place

    def merge(self, later: Part) -> None:
        """Append the part that follows this one; it must have been read with ``deferred=True`` and is used up.

        All tables come out as if both had been read as one, but for datagrams whose fragments lie in both parts.
        """
        offset = self.frames
        names, ways = later.fold.packets()[:, [c.SESSION, c.DIRECTION]].T  # session and direction in ``later`` of each row
        begins = later.fold.sessions[: later.fold.n, FSM] & MIDSTREAM == 0
        replay = self.fold.merge(later.fold, offset)
        self._merge_payload(later, names, ways, begins, replay, offset)
        self.follow(replay)
        self.counts[:] = quality.total([(offset, self.counts), (later.frames, later.counts)])
        self.decoder.fragments.given_up += later.decoder.fragments.given_up + len(later.decoder.fragments.open)
        self.frames += later.frames
        self.bytes += later.bytes
        self.inputs += later.inputs
        if later.bounds_ns is not None:
            self.widen(*later.bounds_ns)

    def _merge_payload(self, later: Part, names: Array, ways: Array, begins: Array, replay: Array, offset: int) -> None:
        """What is read from payload: kept as found in ``later`` where the session began there, read again where it goes on from here."""
        kept = np.full(later.fold.n, -1, np.int64)
        began = begins[names]
        kept[names[began]] = replay[began, c.SESSION]
        turned = np.zeros(later.fold.n, np.bool_)
        turned[names] = ways != replay[:, c.DIRECTION]
        self.hellos.merge(later.hellos, kept, offset, turned)
        if self.exchanges is not None and later.exchanges is not None:
            self.exchanges.ends.merge(later.exchanges.ends, kept, offset, turned)
        if self.lookups is not None and later.lookups is not None:
            assert self.streams is not None
            assert later.streams is not None
            self.lookups.merge(later.lookups, offset)
            self.streams.merge(later.streams, kept, turned)
        going_on = replay[~began]
        payload = bytearray()
        for i, frame in enumerate(going_on[:, c.FRAME].tolist()):
            data = later.payload.get(frame - offset, b"")
            going_on[i, c.PAY_OFF], going_on[i, c.PAY_CAP] = len(payload), len(data)
            payload += data
        area = np.frombuffer(payload or bytearray(1), np.uint8)
        if len(going_on):
            self.hellos.feed(area, going_on)
            if self.exchanges is not None:
                self.exchanges.ends.feed(area, going_on)
            if self.streams is not None:
                self.streams.feed(area, going_on, self.fold.state())
        self.payload.update({frame + offset: data for frame, data in later.payload.items()} if self.deferred else {})

    def rest(self) -> None:
        """Let go of the room to work in, when nothing more is to be read for now."""
        self.decoder.rest()
        self.hellos.rest()

    def keep_payload(self, buf: Array, packets: Array) -> None:
        """In a part that is not the first: remember the first payloads of sessions that go on from before it."""
        tcp = packets[(packets[:, c.KIND] == c.TCP) & (packets[:, c.PAY_CAP] > 0) & (packets[:, c.ORDINAL] <= KEPT_FRAMES)]
        for row in tcp[self.fold.sessions[tcp[:, c.SESSION], FSM] & MIDSTREAM != 0]:
            if self.payload_bytes < KEPT_BYTES:
                start = int(row[c.PAY_OFF])
                data = bytes(buf[start : start + int(row[c.PAY_CAP])])
                self.payload[int(row[c.FRAME])] = data
                self.payload_bytes += len(data)

    # -- rows --

    def state(self) -> Array:
        """int64[n, S_WIDTH]: the session state (see parsers.sessions), by session_id."""
        return self.fold.state()

    def through(self) -> Array:
        """int64[n]: by session_id, the session of the tunnel that a session came through, or -1."""
        assert self.tunnels is not None
        return self.tunnels.attributed(np.arange(self.fold.n))

    def sessions(self) -> Table:
        return self.fold.rows(self.hellos.sni_of_sessions(self.fold.n))

    def last_sessions(self) -> Table:
        """The same, but the state is used up: it takes more than twice the memory of the table."""
        return self.fold.last_rows(self.hellos.sni_of_sessions(self.fold.n))

    def session_blocks(self) -> Iterator[Table]:
        """The sessions as tables of some rows each."""
        return self.fold.blocks(self.hellos.sni_of_sessions(self.fold.n))

    def exchange_rows(self) -> Table:
        assert self.exchanges is not None
        return self.exchanges.rows(self.state())

    def unread(self) -> list[str]:
        """One line for each thing that the tables lack: frames that were not read, sessions that were given up."""
        lines = quality.unread(
            self.frames, self.counts, [k for i in self.inputs for k in i.link_types], self.closely is not None and self.is_judged
        )
        flooded, first = self.fold.given_up
        if flooded:
            lines.append(f"{flooded:,} {FLOOD}; first frame {first:,}")
        return lines

    @property
    def packets(self) -> int:
        """Frames that hold a packet."""
        return quality.packets(self.frames, self.counts)

    @property
    def hidden(self) -> int:
        """Frames with packets that were not read."""
        return quality.hidden(self.counts)

    @property
    def is_judged(self) -> bool:
        """Whether the capture holds anything that lenses look at."""
        closely = self.closely
        return quality.is_judged(self.counts) or (
            closely is not None and (bool(closely.asking.pings) or closely.knows_links)
        )  # pings in fragments

    def holds(self) -> str:
        """The frames of the capture by what they are, in words."""
        return quality.holds(self.frames, self.counts, [k for i in self.inputs for k in i.link_types])

    def holds_besides(self) -> str:
        """The frames that neither were read as TCP or UDP nor could not be read, in words; "" without one of either."""
        return quality.besides(self.counts)

    def quality(self) -> Table:
        torn = self.decoder.fragments.given_up + len(self.decoder.fragments.open)
        extra: list[tuple[str, int, int | None, str]] = [
            ("fragments_given_up", torn, None, "datagrams whose fragments are not all in the capture"),
            ("sessions_given_up", *self.fold.given_up, FLOOD),
        ]
        extra += [(name, *counted, HELLO_REASONS[name]) for name, counted in self.hellos.counted.items()]
        return quality.quality_rows(self.frames, self.counts, extra, [w for i in self.inputs for w in i.warnings])


def reader_of(paths: Iterable[str | PathLike[str]], pace: Pace, progress: Callable[[int, int], None] | None = None) -> Reader:
    """One that holds as much as it takes to be read at this pace."""
    return Reader(paths, progress, pace.frames, pace.rooms if pace.together else 0, pace.bytes)


def again(paths: Sequence[str], frames: Iterable[int], kind: int) -> Iterator[tuple[Array, Array]]:
    """Chosen packets of a capture, which is read once more for them: of few frames something is asked that nothing keeps of all.

    frames : their numbers, from 1.  kind : :data:`netlens.wire.columns.TCP` or ``UDP``.  Yields a buffer and int64[n, WIDTH], rows of packets in it.

    Raises
    ------
    CaptureError, WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    wanted, paced = np.unique(np.fromiter(frames, np.int64)), pace(alone=False)
    for unit in Decoder().read(reader_of(paths, paced), paced):
        for buf, packets in unit.pieces:
            yield buf, packets[np.isin(packets[:, c.FRAME], wanted) & (packets[:, c.KIND] == kind)]


def run(
    paths: Iterable[str | PathLike[str]],
    products: Iterable[str] = PRODUCTS,
    progress: Callable[[int, int], None] | None = None,
    spill_to: str | None = None,
    alone: bool = True,
) -> Part:
    """Read captures, in the order given, as one stream. ``spill_to``: see :class:`Part`. ``alone``: see :func:`pace`.

    Raises
    ------
    CaptureError, WireError
        see :class:`netlens.wire.containers.Reader`.
    """
    products = tuple(products)
    light = products == LIGHT
    chosen = pace(alone, light)
    reader = reader_of(paths, chosen, progress)
    if light and chosen.together and (reader.total_bytes() or 0) >= LARGE:
        from netlens.parsers import spans

        cuts = spans.cuts(reader.paths)
        whole = spans.read(reader.paths[0], cuts, progress, spill_to) if cuts else None
        if whole is not None:
            return whole
    part = Part(products, spill_to=spill_to)
    if light and chosen.together:
        for batch in ahead(reader.batches(), AHEAD, reader.cancel, chosen.together):
            part.feed(batch)
    else:
        for unit in part.decoder.read(reader, chosen):
            part.take(unit)
    part.inputs = reader.inputs
    part.frames = reader.frame
    part.bytes = sum(i.bytes for i in reader.inputs)
    part.rest()
    return part
