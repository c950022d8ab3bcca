"""DNS over TCP (RFC 7766): messages out of the two directions of port-53 sessions.

DNS over TCP is rare and small, so this is plain Python behind a mask: bytes are put in order by stream offset, length-prefixed messages are
cut off the front and given to the lookup builder. Bounded: at most :data:`MAX_BYTES` wait per direction, :data:`MAX_STREAMS` directions,
:data:`MAX_WAITING` bytes in all; what is beyond it is not read.

Limits: a stream that was joined in the middle of a message, or lacks bytes (capture loss, snaplen), gives no more messages.
"""

from heapq import heappop, heappush

import numpy as np

from netlens.columns import Array
from netlens.parsers.lifecycle import Kept
from netlens.parsers.lookups import LookupBuilder
from netlens.parsers.session_state import FIRST_FRAME, MATE, PORTS
from netlens.wire import columns as c
from netlens.wire.compiled import inlined, lean

MAX_BYTES = 1 << 17  #: two messages of the largest size
MAX_STREAMS = 4096
MAX_WAITING = 32 << 20  #: thousands of directions in mid-message, and a hundred made to wait for as much as they may
MAX_PIECES = 512  #: per direction, that wait for one before them; a 64 kB window of 536-byte segments has 122
PIECE = 128  #: what a piece that waits costs besides its bytes: an attacker's are of one byte each


def at_53(ports: Array) -> Array:
    """Whether one of the ports (as the column PORTS has them) is that of DNS."""
    return (((ports >> 16) & 0xFFFF) == 53) | ((ports & 0xFFFF) == 53)


_at_53 = inlined(at_53)


@lean
def _wanted(rows, sessions, found):
    """Write to ``found`` which segments may carry lookups; returns how many.

    A query that is redirected to a proxy's port is known by the half that answers it, once that has begun: what stands further on in the batch must
    not count, or the size of a batch would.
    """
    n = 0
    for i in range(rows.shape[0]):
        if rows[i, c.KIND] != c.TCP or rows[i, c.FRESH] <= 0:
            continue
        wanted = _at_53(rows[i, c.PORTS])
        session = rows[i, c.SESSION]
        if not wanted and session >= 0:
            mate = sessions[session, MATE]
            wanted = mate >= 0 and sessions[mate, FIRST_FRAME] <= rows[i, c.FRAME] and _at_53(sessions[mate, PORTS])
        if wanted:
            found[n] = i
            n += 1
    return n


class DnsStreams:
    def __init__(self, lookups: LookupBuilder):
        self.lookups = lookups
        self.open: dict[tuple[int, int], _Direction] = {}
        self.waiting = 0  # what all directions hold

    def merge(self, later: "DnsStreams", place: Array, turned: Array) -> None:
        """Take over the unfinished messages of the part that follows, of sessions that began there; ``place``: row here of each of its rows, or -1.
        ``turned``: bool of each, that directions are the other way round here (the SYN+ACK came before the SYN, and the cut between them)."""
        for (session, direction), stream in later.open.items():
            if session < len(place) and place[session] >= 0:
                self.open[int(place[session]), direction ^ int(turned[session])] = stream
                self.waiting += stream.held
        self._make_room()

    def forget(self, kept: Kept) -> None:
        self.open = {(int(kept.place[k]), way): stream for (k, way), stream in self.open.items() if kept.place[k] >= 0}
        self.waiting = sum(stream.held for stream in self.open.values())

    @property
    def nbytes(self) -> int:
        return self.waiting

    def feed(self, buf: Array, rows: Array, sessions: Array, skip: Array | None = None) -> None:
        """Take in a batch; ``skip``: bool[n], rows that another part will read."""
        wanted = np.empty(len(rows), np.int64)
        wanted = wanted[: _wanted(rows, sessions, wanted)]
        if skip is not None:
            wanted = wanted[~skip[wanted]]
        for i in wanted.tolist():
            row = rows[i]
            key = (int(row[c.SESSION]), int(row[c.DIRECTION]))
            stream = self.open.get(key)
            if stream is None:
                stream = self.open[key] = _Direction()
            start, size = int(row[c.PAY_OFF]), int(row[c.PAY_CAP])
            before = stream.held
            for message in stream.add(int(row[c.OFFSET]), bytes(buf[start : start + size])):
                self.lookups.feed_message(np.frombuffer(bytearray(message), np.uint8), row)
            self.waiting += stream.held - before
            self._make_room()

    def _make_room(self) -> None:
        """Give up the directions that began first while there are too many, or while they hold too much."""
        while len(self.open) > MAX_STREAMS or (self.waiting > MAX_WAITING and len(self.open) > 1):
            self.waiting -= self.open.pop(next(iter(self.open))).held


class _Direction:
    """Bytes of one direction that are not yet cut into messages."""

    def __init__(self) -> None:
        self.at = 0  # stream offset of data[0]
        self.data = bytearray()
        self.later: list[tuple[int, bytes]] = []  # heap: what came before its turn
        self.held = 0  # bytes that it keeps
        self.lost = False

    def add(self, offset: int, payload: bytes) -> list[bytes]:
        """Take the payload at a stream offset; the messages that it completes."""
        if self.lost:
            return []
        heappush(self.later, (offset, payload))
        self.held += len(payload) + PIECE
        while self.later and self.later[0][0] <= self.at + len(self.data):
            start, piece = heappop(self.later)
            new = piece[max(self.at + len(self.data) - start, 0) :]
            self.data += new
            self.held += len(new) - len(piece) - PIECE
        messages = []
        while len(self.data) >= 2:
            size = int.from_bytes(self.data[:2], "big")
            if len(self.data) < 2 + size:
                break
            messages.append(bytes(self.data[2 : 2 + size]))
            del self.data[: 2 + size]
            self.at += 2 + size
            self.held -= 2 + size
        if self.held > MAX_BYTES + PIECE * MAX_PIECES:
            self.lost = True
            self.data.clear()
            self.later.clear()
            self.held = 0
        return messages
