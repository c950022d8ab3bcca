"""Sessions: packet rows to one row per TCP connection as it is on the wire at one capture point.

Theory of operation
-------------------
1. A session is a 5-tuple in both directions, split as Wireshark (4.4) splits ``tcp.stream``: a SYN or SYN+ACK of a direction whose begin is known
   opens a new session if its sequence number is another, or if a FIN+ACK or RST of either side was seen.
   The begin of a direction is its SYN, else one below its first segment, else one below the first acknowledgment of the peer.
   Who began a session whose SYN is not in the capture is told by ports: that of a registered service, else one below 1024, else one below those that
   systems give away by themselves, is the responder's; if they tell nothing, whoever is seen first began.
2. Per direction the state keeps the next sequence number as a 64-bit stream offset (0 is the first byte after the SYN), so that wraps of the
   32-bit number do not matter (RFC 9293 3.4), and a list of holes below it. Payload counts when it is seen for the first time: it advances
   the stream or fills a hole. What repeats is a keep-alive probe, a copy from another interface, or a retransmission. A segment further off than
   any window is followed without a hole, forth and back: one that is damaged costs no more than itself. Of a direction that was joined mid-way, what
   comes late and lies below the first segment counts too, down to the lowest byte seen; what is missing there is no capture loss, nor is what lies below
   the first segment of a direction that was only acknowledged before, if neither SYN was seen.
3. A segment that fills a hole is out of order if it comes sooner after the hole was first seen than a sender could have noticed a loss and repaired it: three
   quarters of the handshake's round trip, as round trips vary, or 3 ms where that is unknown; otherwise it is a retransmission (RFC 4737). Wireshark
   counts from the newest segment instead, and knows fast retransmissions by duplicate ACKs.
4. An acknowledgment above everything seen proves bytes that this capture does not hold (capture loss, or one-way visibility): a hole, which a
   later segment may still fill, because captures on several interfaces swap neighbours. (Not so the answer to a SYN by a host that still holds
   an earlier connection: its number has nothing to do with this one.)
5. End states and their names: :mod:`netlens.parsers.tcp_states`.

The state is three int64 matrices (sessions, their holes, their numbers that are rarely there) and a hash table of 64-bit slots; nothing else is held, so
memory grows with sessions, not with packets. The hash is seeded at random: a capture made to collide does not.

Floods
------
A session that is one frame, or SYNs that nobody answered, is *slight*. Of these at most :data:`MAX_SLIGHT` are held at a time. While there are so many
(a SYN flood, a scan), the first frame of each further 5-tuple waits in one of :data:`WAITING` places, without a session. The next frame of its 5-tuple
that is no repeated SYN makes it one, as if it had never waited; another first frame that needs its place makes it be given up, which is counted. So a
flood costs memory up to a bound, and the connections in the middle of it are seen.

Parts of a capture
------------------
What a segment means depends on what came before it, so a part that does not begin at the start (``SessionFold(deferred=True)``) keeps its TCP
packet rows as well, 192 bytes a frame without payload; ``merge`` replays them on the state of the part before. State of part 1 + state of
part 2 = state of the whole, exactly and wherever the cut. (Keeping rows only of sessions that may have begun earlier was tried: nearly all
may have, since a repeated SYN can cross the cut, and redirect halves tie the certain ones to the others.)

Limits: in a flood, sessions that waited are numbered by their second frame, and the payload of a first frame that waited is counted but not read.
Two sessions of one 5-tuple interleaved on different interfaces (VLANs, namespaces) are one here, as in Wireshark. One byte that is sent again
is taken for a keep-alive probe, as in Wireshark. Copies of bare acknowledgments cannot be told from new ones.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from netlens.arrays import huge_zeros, in_order, zeros
from netlens.columns import Array
from netlens.parsers import spill
from netlens.parsers.lifecycle import LEAST_ROWS, Kept, grown
from netlens.parsers.session_fold import LOOK_AHEAD, fold
from netlens.parsers.session_holes import HOLES_A_SEGMENT, missing_bytes
from netlens.parsers.session_lookup import WAITING, rehash
from netlens.parsers.session_rows import Stretch, session_rows
from netlens.parsers.session_runs import RUN, SECOND
from netlens.schema import Table

# isort: off
from netlens.parsers.session_state import (
    Arrays, Sparse, EVER_WAITED, FIRST_GIVEN_UP, FREE_HOLE, GIVEN_UP, HOLES, HOLES_USED, HOLE_NEXT, MATE, MAX_SLIGHT, RARE_USED, SESSIONS,
    SIDE, SIDE_WIDTH, SLIGHT_SESSIONS, S_WIDTH, no_sparse, rare_rows,
)  # fmt: skip

# isort: on
from netlens.wire import columns as c

BLOCK = 1 << 17  #: sessions of which rows are made at a time, where not all are wanted at once
TABLE = 1 << 16  #: places in the tables of sessions that have room at once: half a megabyte each
JOINED = c.BATCH  #: rows of sessions that go on into a span which are folded together
CACHE_LINE = 64  #: bytes; rows of the state begin on one, so that a row's first eight numbers and a side's hot ones are a line each


def _aligned(rows: int, make: Callable[..., Array] = huge_zeros) -> Array:
    """int64[rows, S_WIDTH] of zeros that begins on a cache line.  make : where the memory is from."""
    room = make(np.int64, rows * S_WIDTH + CACHE_LINE // 8)
    skip = -room.ctypes.data % CACHE_LINE // 8
    return room[skip : skip + rows * S_WIDTH].reshape(rows, S_WIDTH)


class _Behind(NamedTuple):
    """Sessions of a span that follow those of the state, and have not been copied into it, because perhaps nobody asks for more than their rows.

    place : int64[n], the number of each session here, -1 of those that have none.  rows : int64[m], those that have one.  frames : added to their frames.
    """

    sessions: Array
    sparse: Sparse
    place: Array
    frames: int
    rows: Array


class SessionFold:
    """The sessions of a capture while it is read.

    Parameters
    ----------
    deferred : True for a part that does not begin at the start of the capture; see *Parts of a capture* above.
    spill_to : a folder for the state of sessions, once there are :data:`netlens.parsers.spill.SPILL_AT`; None keeps it in memory.
    """

    def __init__(self, deferred: bool = False, seed: int | None = None, spill_to: str | None = None):
        self.deferred = deferred
        self._spill, self._given_back = spill_to, 0
        self._file: spill.StateFile | None = None
        self.seed = int.from_bytes(os.urandom(7), "big") if seed is None else seed
        sparse = no_sparse(LEAST_ROWS)
        self.arrays = Arrays(
            sessions=_aligned(LEAST_ROWS),
            sparse=sparse,
            counts=sparse.counts,
            table=np.zeros(4 * LEAST_ROWS, np.int64),
            ends=np.zeros(4 * LEAST_ROWS, np.int64),
            keys=np.zeros(c.BATCH + 2 * LOOK_AHEAD, np.int64),
            # a deferred part keeps all its rows, so a bound would bound nothing; pages that are never touched take no memory
            waiting=zeros(np.int64, 0 if deferred else WAITING, c.WIDTH),
        )
        self._log: list[Array] = []
        self._entered: int | None = None  #: sessions that the tables have, where later ones were appended; None: all
        self._behind: _Behind | None = None
        self._used_up = False

    def feed(self, packets: Array) -> None:
        """Fold packet rows; writes SESSION, DIRECTION, OFFSET and FRESH into them."""
        self._fold(packets)
        self._give_back()
        if self.deferred and len(packets):
            self._log.append(packets[packets[:, c.KIND] == c.TCP])

    def _fold(self, packets: Array, waits: bool = True) -> None:
        at, n = 0, len(packets)
        self._enter_all()
        if len(self.arrays.keys) < n + 2 * LOOK_AHEAD:
            self.arrays = self.arrays._replace(keys=np.zeros(n + 2 * LOOK_AHEAD, np.int64))
        while True:
            waiting = self.arrays.waiting if waits else self.arrays.waiting[:0]
            at, place = fold(packets, at, self.arrays._replace(waiting=waiting), self.seed)
            if at >= n:
                return
            if place >= 0:
                row = waiting[place : place + 1].copy()
                waiting[place, c.KIND] = 0
                self._fold(row, waits=False)
            else:
                self._grow()

    @property
    def n(self) -> int:
        """Sessions so far."""
        return int(self.arrays.counts[SESSIONS]) + (0 if self._behind is None else len(self._behind.rows))

    @property
    def sessions(self) -> Array:
        """int64[cap, S_WIDTH], of which the first :attr:`n` rows are in use."""
        self._append()
        return self.arrays.sessions

    @property
    def given_up(self) -> tuple[int, int | None]:
        """5-tuples of one frame, or of unanswered SYNs, that have no session because of a flood; and the frame of the first.

        One that was given up and comes again counts again.
        """
        ever, count, first = self.arrays.counts[[EVER_WAITED, GIVEN_UP, FIRST_GIVEN_UP]].tolist()
        if not ever:
            return 0, None
        waiting = self.arrays.waiting
        waits = waiting[waiting[:, c.KIND] != 0, c.FRAME]
        frames = [*([first] if count else []), *([int(waits.min())] if len(waits) else [])]
        return count + len(waits), min(frames, default=None)

    def _grow(self) -> None:
        if self.n >= len(self.sessions):
            self._more_sessions()
        holes, rare, counts = self.arrays.sparse
        if counts[HOLES_USED] + HOLES_A_SEGMENT >= len(holes):
            holes = grown(holes, 2 * len(holes))
        if counts[RARE_USED] >= len(rare):
            rare = grown(rare, 2 * len(rare))
        self.arrays = self.arrays._replace(sparse=Sparse(holes, rare, counts))
        if self.n >= len(self.arrays.table) // 2:
            self._rehash(len(self.arrays.table) * 4)

    def _more_sessions(self) -> None:
        rows = len(self.sessions)
        if self._spill is not None and rows >= spill.SPILL_AT:
            try:
                file = self._file or spill.StateFile(self._spill, S_WIDTH)
                file.grow(rows + max(rows // 4, spill.KEPT))
            except OSError:  # no room there: memory must do
                self._spill = None
            else:
                if self._file is None:
                    for first, last in self._blocks(BLOCK):
                        file.rows[first:last] = self.sessions[first:last]
                        file.give_back(last)
                self._file, self.arrays = file, self.arrays._replace(sessions=file.rows)
                return
        larger = _aligned(2 * rows)
        larger[:rows] = self.sessions
        self._file, self.arrays = None, self.arrays._replace(sessions=larger)

    def reserve(self, rows: int) -> None:
        """Make room for so many sessions at once. What is never used takes no memory, and what is moved later is touched twice."""
        rows = min(rows, spill.SPILL_AT)
        if len(self.sessions) < rows:
            with contextlib.suppress(MemoryError):
                room = _aligned(rows, in_order)
                room[: self.n] = self.state()
                self.arrays = self.arrays._replace(sessions=room)
        if len(self.arrays.table) < TABLE:
            self._rehash(TABLE)

    def _give_back(self) -> None:
        if self._file is not None and self.n >= self._given_back + spill.KEPT + spill.STEP:
            self._given_back = self.n - spill.KEPT
            self._file.give_back(self._given_back)

    def merge(self, later: "SessionFold", frame_offset: int = 0) -> Array:
        """Append the part that follows, which must have been read with ``deferred=True``.

        Parameters
        ----------
        frame_offset : frames in this part, if ``later`` counted its own from 1.

        Returns
        -------
        int64[m, WIDTH]
            the packet rows of ``later`` as folded here (SESSION, DIRECTION, OFFSET, FRESH are of this state), in order.
        """
        if not later.deferred:
            raise ValueError("only a part read with deferred=True can follow another")
        replay = later.packets()
        replay[:, c.FRAME] += frame_offset
        self.feed(replay)
        return replay

    def join(
        self, later: "SessionFold", rows: Array, most_slight: int, frame_offset: int, folded: Callable[[Array], object] = lambda _: None
    ) -> Array | None:
        """Append the span that follows, which was folded by itself (see :mod:`netlens.parsers.session_join`).

        Parameters
        ----------
        rows : int64[k, WIDTH], packet rows and runs of sessions that ``later`` joined mid-way; they get the frames, sessions, offsets and fresh bytes of here.
        most_slight : slight sessions that ``later`` had at a time, at most.
        frame_offset : frames in this part; ``later`` counted its own from 1.
        folded : is given some of ``rows`` after the others as soon as they are done, and before it is known that all of them can be.

        Returns
        -------
        int64[n]
            the session here of each session of ``later``, -1 of those whose rows were folded here; or None, with nothing changed here, where it cannot be told
            whether the whole would have the same sessions

        Raises
        ------
        NotKnown
            the same, and this part is of no use any more.
        """
        from netlens.parsers import session_join  # only large captures are read in spans

        self._enter_all()
        spilt = self._spill is not None and self.n + later.n >= spill.SPILL_AT
        waited = self.arrays.counts[EVER_WAITED] + later.arrays.counts[EVER_WAITED]
        if spilt or waited or self.arrays.counts[SLIGHT_SESSIONS] + most_slight >= MAX_SLIGHT:
            return None
        kinds = session_join.relate(self.arrays, self.seed, later.arrays, rows)
        if kinds is None:
            return None
        goes_on, before = kinds.kind == session_join.GOES_ON, self.n
        place = np.where(goes_on, -1, before - 1 + np.cumsum(~goes_on))
        changed, (holes, rare, counts) = kinds.before[goes_on] >> 1, self.arrays.sparse
        saved = self.sessions[changed], holes[: int(counts[HOLES_USED])].copy(), rare[: int(counts[RARE_USED])].copy(), counts.copy()
        first, known = 0, True
        while known and first < len(rows):
            last = first + JOINED
            if last < len(rows) and rows[last, c.KIND] == RUN and rows[last, SECOND] == 1:
                last += 1  # the fold reads it with the row before it
            some, first = rows[first:last], last
            session_join.prepare(some, kinds, frame_offset)
            self.feed(some)
            if known := session_join.settle(some, place):
                folded(some)
        if self.n != before:
            raise session_join.NotKnown
        if not known:
            sparse = self.arrays.sparse
            self.sessions[changed], sparse.holes[: len(saved[1])], sparse.rare[: len(saved[2])], counts[:] = saved
            return None
        if not session_join.follow(self.sessions, later.sessions, later.n, kinds):
            raise session_join.NotKnown
        self._behind = _Behind(later.arrays.sessions, later.arrays.sparse, place, frame_offset, np.flatnonzero(~goes_on))
        return place

    def _look(self) -> None:
        if self._used_up:
            raise RuntimeError("the state of these sessions has been used up by their table")

    def _append(self) -> None:
        """Put what stands behind the state into it."""
        self._look()
        if self._behind is None:
            return
        from netlens.parsers.session_join import append

        behind, self._behind = self._behind, None
        before = self.n
        n = before + len(behind.rows)
        while len(self.sessions) < n:
            self._more_sessions()
        (holes, rare, counts), theirs = self.arrays.sparse, behind.sparse
        used, more = counts[[HOLES_USED, RARE_USED]].tolist(), (theirs.counts[[HOLES_USED, RARE_USED]] - [0, 1]).tolist()
        holes, rare = grown(holes, used[0] + more[0]), grown(rare, used[1] + more[1])
        self.arrays = self.arrays._replace(sparse=Sparse(holes, rare, counts))
        of = slice(used[0], used[0] + more[0])
        holes[of] = theirs.holes[: more[0]]
        holes[of, HOLE_NEXT] += np.where(holes[of, HOLE_NEXT] >= 0, used[0], 0)
        rare[used[1] : used[1] + more[1]] = theirs.rare[1 : 1 + more[1]]
        append(self.sessions, behind.sessions, len(behind.place), behind.place, used[0], used[1] - 1, behind.frames)
        self._entered = before if self._entered is None else self._entered
        counts[[HOLES_USED, RARE_USED]] += more
        counts[SESSIONS] = n

    def _enter_all(self) -> None:
        """Sessions that were appended: into the tables, too."""
        self._append()
        if self._entered is None:
            return
        first, self._entered = self._entered, None
        size = len(self.arrays.table)
        while self.n >= size // 2:
            size *= 4
        if size > len(self.arrays.table):
            self._rehash(size)
        else:
            rehash(self.arrays, first, self.n, self.seed, np.zeros(c.WIDTH, np.int64))

    def packets(self) -> Array:
        """int64[m, WIDTH]: a copy of the kept packet rows of a deferred part."""
        return np.concatenate([*self._log, np.zeros((0, c.WIDTH), np.int64)])

    def drain(self) -> list[Array]:
        """Take out the kept packet rows of a deferred part, so that they can be used up piece by piece."""
        log, self._log = self._log, []
        return log

    def admit_all(self) -> None:
        """Give each 5-tuple a session at once from now on, also in a flood."""
        self.arrays = self.arrays._replace(waiting=self.arrays.waiting[:0])

    def forget(self, kept: Kept) -> None:
        """Drop all sessions but ``kept``. What still comes for one that was dropped begins a new session, which is seen to lack a SYN."""
        gone = self.state()[kept.place < 0]
        (holes, rare, counts), nodes = self.arrays.sparse, []
        at = np.concatenate([gone[:, SIDE + side * SIDE_WIDTH + HOLES] for side in (0, 1)])
        while len(at := at[at >= 0]):
            nodes.append(at)
            at = holes[at, HOLE_NEXT]
        if nodes:
            free = np.concatenate(nodes)
            holes[free[:-1], HOLE_NEXT] = free[1:]
            holes[free[-1], HOLE_NEXT] = counts[FREE_HOLE]
            counts[FREE_HOLE] = free[0]
        sessions, n = _aligned(kept.room), len(kept.sessions)
        sessions[:n] = self.sessions[kept.sessions]
        counts[RARE_USED] = len(still := rare_rows(sessions[:n], rare))
        rare[: len(still)] = still
        sessions[:n, MATE] = kept.renamed(sessions[:n, MATE])
        counts[SESSIONS] = n
        self._file, self.arrays = None, self.arrays._replace(sessions=sessions)
        self._rehash(4 * kept.room)

    @property
    def nbytes(self) -> int:
        in_memory = 0 if self._file is not None or self._used_up else self.state().nbytes
        return in_memory + sum(a.nbytes for a in (*self.arrays.sparse, self.arrays.table, self.arrays.ends, *self._log))

    def missing(self, first: int = 0, last: int | None = None) -> Array:
        """int64[m, 2]: per side of sessions ``first..last`` the bytes that the peer acknowledged and this capture does not hold."""
        rows = self.sessions[first : self.n if last is None else last]
        out = np.zeros((len(rows), 2), np.int64)
        missing_bytes(rows, self.arrays.sparse, out)
        return out

    def rare(self) -> Array:
        """int64[m, RARE_WIDTH]: the rare numbers that the rows of :meth:`state` have."""
        return self.sparse.rare[: int(self.arrays.counts[RARE_USED])]

    @property
    def sparse(self) -> Sparse:
        """What the rows of :meth:`state` have besides, of which :data:`RARE` and :data:`HOLES` are places."""
        self._append()
        return self.arrays.sparse

    def state(self) -> Array:
        """int64[n, S_WIDTH]: one row a session in order of its first frame, so the row is the session_id."""
        return self.sessions[: self.n]

    def _stretches(self, first: int, last: int) -> Iterator[Stretch]:
        """Where the sessions ``first`` to ``last`` lie."""
        self._look()
        mine, behind = int(self.arrays.counts[SESSIONS]), self._behind
        if first < mine or last <= mine:
            yield Stretch(self.arrays.sessions, first, min(last, mine), self.arrays.sparse)
        if behind is not None and last > mine:
            begin, end = int(behind.rows[max(first - mine, 0)]), int(behind.rows[last - mine - 1]) + 1
            yield Stretch(behind.sessions, begin, end, behind.sparse, place=behind.place, frames=behind.frames)

    def _rehash(self, size: int) -> None:
        self.arrays = self.arrays._replace(table=huge_zeros(np.int64, size), ends=huge_zeros(np.int64, size))
        self.arrays.counts[SLIGHT_SESSIONS] = 0
        row = np.zeros(c.WIDTH, np.int64)
        for first, last in self._blocks(BLOCK):
            rehash(self.arrays, first, last, self.seed, row)

    def _blocks(self, size: int) -> Iterator[tuple[int, int]]:
        """First and last of so many sessions each; what lies in a file is given back when it was passed."""
        for first in range(0, max(self.n, 1), size):
            yield first, min(first + size, self.n)
            if self._file is not None:
                self._file.give_back(first + size)

    def rows(self, sni: Array | None = None) -> Table:
        """The sessions as a table, in order of their first frame. ``sni``: object[n] by row."""
        return next(self.blocks(sni, max(self.n, 1)))

    def last_rows(self, sni: Array | None = None) -> Table:
        """The same when the state is not needed any more: it is used up, and of the fold only what it counted is left."""
        stretches = [*self._stretches(0, self.n)]
        counts = self.arrays.counts.copy()
        counts[SESSIONS], self._behind, self._used_up = self.n, None, True
        nothing = np.zeros(0, np.int64)
        self._file, self.arrays = None, self.arrays._replace(sessions=_aligned(0), table=nothing, ends=nothing, counts=counts)
        return session_rows(stretches, self.n, sni, use_up=True)

    def blocks(self, sni: Array | None = None, size: int | None = None) -> Iterator[Table]:
        """The same rows as tables of ``size`` rows, at least one: all at once need much memory, with what is written from them."""
        size = size or min(BLOCK, max(self.n // 8, BLOCK // 16))
        for first, last in self._blocks(size):
            yield session_rows([*self._stretches(first, last)], last - first, None if sni is None else sni[first:last], first)
