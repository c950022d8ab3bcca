"""What is spread over several frames: ClientHellos, DNS over TCP, fragmented datagrams.

Theory of operation
-------------------
1. A frame is rewritten by itself first; what can be read of it only together with others is zero then.
2. The last :data:`WINDOW` batches of the output are held back. When all parts of a message are there, it is mapped as a whole and written into
   the frames that are still held, whose checksums are made anew. So everything is read once, and memory is bounded.
3. Parts may come in any order: those that came before a message was known to begin are found in the batches that are held.

Limits: a message whose parts are further apart than the window stays zero where it is not whole; so do retransmitted copies of its parts. Of a DNS
stream whose beginning was not captured the first segment seen is taken for the beginning, as in :mod:`netlens.parsers.streams`.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from netlens.anonymize.kernels import frames as f
from netlens.anonymize.kernels.checksums import set_checksum
from netlens.anonymize.kernels.dns import rewrite_message
from netlens.anonymize.kernels.mapping import MISSED
from netlens.anonymize.kernels.tls import HELLO_GOES_ON, join_hello, rewrite_hello
from netlens.anonymize.mapper import Mapper
from netlens.wire.fragments import MAX_AGE_NS, MAX_BYTES, MAX_DATAGRAMS
from netlens.wire.tls import MAX_MESSAGE

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

WINDOW = 8  #: batches held back: at least 16,384 frames but at the end, some 40 MB where frames are large
MAX_HELLO = MAX_MESSAGE + 5 * 16  #: stream bytes of a hello that is waited for
MAX_HELLOS = 1024  #: waited for at a time; the oldest is given up
MAX_PIECES = 256  #: of one message; 64 kB in Ethernet frames are 45, and sorting more of them at each new one would take long
MAX_STREAMS = 4096  #: directions of DNS over TCP, as there
MAX_WAITING = 1 << 17  #: bytes of one direction that wait, as there
MAX_CLIENTS = 1 << 14  #: clients of DNS over TCP that are remembered, for the sake of redirect halves
FIN, SYN, RST = 1, 2, 4


@dataclass(eq=False)
class Chunk:
    """One batch: where it was read from, what became of it, and what was told of its frames. ``number`` counts from 0."""

    number: int
    source: Bytes
    out: Bytes
    infos: Ints


@dataclass
class _Piece:
    """Bytes of a stream: ``at`` is their offset in it, ``row`` their frame's."""

    at: int
    chunk: Chunk
    row: int
    size: int

    def data(self) -> Bytes:
        start = int(self.chunk.infos[self.row, f.PAY])
        return self.chunk.source[start : start + self.size]


@dataclass
class _Hello:
    base: int  # sequence number of the record that begins it
    chunk: Chunk  # the first
    pieces: list[_Piece] = field(default_factory=list)


@dataclass
class _Direction:
    """One direction of DNS over TCP: ``next`` is the sequence number of the first byte that is not done."""

    next: int
    pieces: list[_Piece] = field(default_factory=list)


@dataclass
class _Datagram:
    since_ns: int
    pieces: list[tuple[int, _Piece]] = field(default_factory=list)  # offset in the datagram, where it is
    end: int = -1


class Window:
    """Batches that are held back, and what waits for its parts in them."""

    def __init__(self, mapper: Mapper):
        self.mapper = mapper
        self.chunks: deque[Chunk] = deque()
        self.made = 0
        self._hellos: OrderedDict[int, _Hello] = OrderedDict()  # by flow
        self._streams: OrderedDict[int, _Direction] = OrderedDict()  # by flow
        self._clients: OrderedDict[int, None] = OrderedDict()  # hashes of those who ask over TCP
        self._datagrams: OrderedDict[tuple[int, ...], _Datagram] = OrderedDict()

    def add(self, source: Bytes, out: Bytes, infos: Ints) -> Bytes | None:
        """Take in a batch; the output that nothing will change any more, if there is some."""
        chunk = Chunk(self.made, source, out, infos)
        self.made += 1
        self.chunks.append(chunk)
        kind = infos[:, f.KIND]
        tcp = kind == 6
        if tcp.any():
            self._hello_rows(chunk, tcp & (infos[:, f.CAP] > 0))
            self._dns_rows(chunk, tcp)
        if (kind == f.FRAGMENT).any():
            for row in np.flatnonzero(kind == f.FRAGMENT).tolist():
                self._fragment(chunk, row)
        return self._oldest() if len(self.chunks) > WINDOW else None

    def rest(self) -> Iterable[Bytes]:
        """All that is still held."""
        while self.chunks:
            yield self._oldest()

    def _oldest(self) -> Bytes:
        chunk = self.chunks.popleft()
        for flow in [key for key, hello in self._hellos.items() if hello.chunk is chunk]:
            del self._hellos[flow]
        for stream in self._streams.values():
            stream.pieces = [p for p in stream.pieces if p.chunk is not chunk]
        for key in [key for key, datagram in self._datagrams.items() if any(p.chunk is chunk for _, p in datagram.pieces)]:
            del self._datagrams[key]
        return chunk.out

    # --- hellos

    def _hello_rows(self, chunk: Chunk, usable: npt.NDArray[np.bool_]) -> None:
        infos = chunk.infos
        asking = np.flatnonzero(usable & (infos[:, f.ASKS] == HELLO_GOES_ON))
        if self._hellos:
            going_on = usable & np.isin(infos[:, f.FLOW], np.fromiter(self._hellos, np.int64, len(self._hellos)))
            for row in np.flatnonzero(going_on).tolist():
                hello = self._hellos.get(int(infos[row, f.FLOW]))
                if hello is not None:
                    _put(hello, chunk, row)
                    self._try_hello(int(infos[row, f.FLOW]), hello)
        for row in asking.tolist():
            flow, base = int(infos[row, f.FLOW]), int(infos[row, f.SEQ] + infos[row, f.ASKS_AT]) & 0xFFFFFFFF
            hello = self._hellos.get(flow)
            if hello is not None and hello.base == base:
                continue
            while len(self._hellos) >= MAX_HELLOS:
                self._hellos.popitem(last=False)
            hello = self._hellos[flow] = _Hello(base, chunk)
            for held in self.chunks:  # parts that came before
                there = (held.infos[:, f.FLOW] == flow) & (held.infos[:, f.KIND] == 6) & (held.infos[:, f.CAP] > 0)
                for other in np.flatnonzero(there).tolist():
                    if _put(hello, held, other):
                        hello.chunk = min(hello.chunk, held, key=lambda c: c.number)
            self._try_hello(flow, hello)

    def _try_hello(self, flow: int, hello: _Hello) -> None:
        if len(hello.pieces) > MAX_PIECES:
            del self._hellos[flow]
            return
        data, pieces = _joined(hello.pieces, MAX_HELLO)
        places = np.zeros(MAX_MESSAGE + 4, np.int64)
        have, whole = join_hello(data, len(data), places)
        if have < 0:
            del self._hellos[flow]
            return
        if not whole:
            return
        places = places[:have]
        message = np.ascontiguousarray(data[places])
        image = np.zeros(have, np.uint8)
        image[:4] = message[:4]
        self._write(lambda: rewrite_hello(message, 4, have - 4, True, image, 4, self.mapper.maps), image[4:])
        kept = data.copy()
        kept[places] = image  # record headers as they are
        _scatter(kept[: int(places[-1]) + 1], 0, pieces)
        del self._hellos[flow]

    def _write(self, write: Callable[[], Any], image: Bytes) -> None:
        """Write to ``image``, once more while addresses were missing."""
        write()
        while missed := int(self.mapper.maps.state[MISSED]):
            self.mapper.learn(missed)
            image[:] = 0
            write()

    # --- DNS over TCP

    def _dns_rows(self, chunk: Chunk, tcp: npt.NDArray[np.bool_]) -> None:
        infos = chunk.infos
        ports = infos[:, f.PORTS]
        asked, answered = (ports & 0xFFFF) == 53, (ports >> 16) == 53
        wanted = tcp & (asked | answered)
        if wanted.any():
            for client in {*infos[tcp & asked, f.SOURCE].tolist(), *infos[tcp & answered, f.TARGET].tolist()}:
                self._clients[client] = None
            while len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        if self._clients and (looped := tcp & (infos[:, f.TO_LOOPBACK] == 1) & ~wanted).any():
            # a question that was redirected to a proxy's port is known by who asks
            wanted |= looped & np.isin(infos[:, f.SOURCE], np.fromiter(self._clients, np.int64, len(self._clients)))
        for row in np.flatnonzero(wanted).tolist():
            flow, seq, flags = int(infos[row, f.FLOW]), int(infos[row, f.SEQ]), int(infos[row, f.FLAGS])
            if flags & SYN:
                self._streams[flow] = _Direction((seq + 1) & 0xFFFFFFFF)
                continue
            size = int(infos[row, f.CAP])
            if not size:
                continue
            stream = self._streams.get(flow)
            if stream is None:
                stream = self._streams[flow] = _Direction(seq)
            self._streams.move_to_end(flow)
            stream.pieces.append(_Piece(seq, chunk, row, size))
            if len(stream.pieces) > MAX_PIECES or sum(p.size for p in stream.pieces) > MAX_WAITING:
                stream.pieces.clear()
            self._messages(stream)
        while len(self._streams) > MAX_STREAMS:
            self._streams.popitem(last=False)

    def _messages(self, stream: _Direction) -> None:
        """Map the messages that are whole."""
        stream.pieces = [p for p in stream.pieces if _after(p.at + p.size, stream.next) > 0]
        data, pieces = _joined([_Piece(_after(p.at, stream.next), p.chunk, p.row, p.size) for p in stream.pieces], 2 * MAX_WAITING)
        at = 0
        while at + 2 <= len(data):
            size = int(data[at]) << 8 | int(data[at + 1])
            if at + 2 + size > len(data):
                break
            message = np.ascontiguousarray(data[at : at + 2 + size])
            image = np.zeros(2 + size, np.uint8)
            image[:2] = message[:2]
            self._write(lambda m=message, n=size, out=image: rewrite_message(m, 2, n, n, out, 2, self.mapper.maps), image[2:])  # type: ignore[misc]
            _scatter(image, at, pieces)
            at += 2 + size
        stream.next = (stream.next + at) & 0xFFFFFFFF

    # --- fragments

    def _fragment(self, chunk: Chunk, row: int) -> None:
        info = chunk.infos[row]
        piece = int(info[f.PIECE])
        where, more, size, length = piece >> 1, piece & 1, int(info[f.CAP]), int(info[f.LENGTH])
        version, proto, ts = int(info[f.VERSION]), int(info[f.PROTO]), int(info[f.TS])
        if where + length > MAX_BYTES or (more and (length % 8 or not length)):
            return
        key = (int(info[f.IFACE]), int(info[f.FLOW]), int(info[f.IDENT]), version, proto if version == 4 else 0)
        entry = self._datagrams.get(key)
        if entry is not None and abs(ts - entry.since_ns) > MAX_AGE_NS:
            entry = None
        if entry is None:
            if len(self._datagrams) >= MAX_DATAGRAMS:
                self._datagrams.popitem(last=False)
            entry = self._datagrams[key] = _Datagram(ts)
        entry.pieces.append((where, _Piece(where, chunk, row, size)))
        if len(entry.pieces) > MAX_PIECES:
            del self._datagrams[key]
            return
        if not more:
            entry.end = where + length
        if entry.end >= 0 and _covered(entry):
            self._datagram(entry)
            del self._datagrams[key]

    def _datagram(self, entry: _Datagram) -> None:
        first = min(entry.pieces, key=lambda p: p[0])[1]
        info = first.chunk.infos[first.row]
        version, proto = int(info[f.VERSION]), int(info[f.PROTO])
        header = 20 if version == 4 else 40
        data = np.zeros(header + entry.end, np.uint8)
        cut = entry.end
        for where, piece in reversed(entry.pieces):  # of bytes that are there twice the first count
            data[header + where : header + where + piece.size] = piece.data()
            length = int(piece.chunk.infos[piece.row, f.LENGTH])
            if piece.size < length:
                cut = min(cut, where + piece.size)
        out = np.zeros(len(data), np.uint8)
        told = np.zeros(f.WIDTH, np.int64)
        q = int(info[f.OUT_IP])
        mapped = first.chunk.out[q : q + header]
        start = int(info[f.PAY]) - (int(info[f.OUT_PAY]) - q)
        original = first.chunk.source[start : start + header]

        self._write(lambda: f.rewrite_datagram(data, cut, proto, version, original, mapped, out, self.mapper.maps, told), out)
        for where, piece in entry.pieces:
            at = int(piece.chunk.infos[piece.row, f.OUT_PAY])
            piece.chunk.out[at : at + piece.size] = out[header + where : header + where + piece.size]


def _after(seq: int, base: int) -> int:
    """How far ``seq`` is behind ``base``, in 32 bits that wrap."""
    distance = (seq - base) & 0xFFFFFFFF
    return distance - (1 << 32) if distance >= 1 << 31 else distance


def _put(hello: _Hello, chunk: Chunk, row: int) -> bool:
    """Add the segment of a row to a hello's parts, if it can be one."""
    info = chunk.infos[row]
    at, size = _after(int(info[f.SEQ]), hello.base), int(info[f.CAP])
    if at + size <= 0 or at >= MAX_HELLO:
        return False
    hello.pieces.append(_Piece(at, chunk, row, size))
    return True


def _joined(pieces: list[_Piece], limit: int) -> tuple[Bytes, list[_Piece]]:
    """The bytes from offset 0 on that are there without a hole, and the pieces in order."""
    pieces = sorted(pieces, key=lambda p: p.at)
    parts, end = [], 0
    for piece in pieces:
        if piece.at > end or end >= limit:
            break
        if piece.at + piece.size > end:
            parts.append(piece.data()[end - piece.at :])
            end = piece.at + piece.size
    return (np.concatenate(parts) if parts else np.zeros(0, np.uint8)), pieces


def _scatter(image: Bytes, start: int, pieces: list[_Piece]) -> None:
    """Write bytes ``start`` on of a stream into the frames that carry them, and mend their checksums."""
    for piece in pieces:
        low, high = max(piece.at, start), min(piece.at + piece.size, start + len(image))
        if low >= high:
            continue
        info = piece.chunk.infos[piece.row].tolist()
        at = info[f.OUT_PAY] + low - piece.at
        piece.chunk.out[at : at + high - low] = image[low - start : high - start]
        set_checksum(
            piece.chunk.out, info[f.OUT_IP], info[f.VERSION], info[f.PROTO], info[f.OUT_T], info[f.T_CAP], info[f.T_LENGTH], info[f.MODE]
        )


def _covered(entry: _Datagram) -> bool:
    """Whether every byte of the datagram was in a fragment that is there (perhaps cut by the snaplen)."""
    at = 0
    for where, piece in sorted(entry.pieces, key=lambda p: p[0]):
        if where > at:
            return False
        at = max(at, where + int(piece.chunk.infos[piece.row, f.LENGTH]))
    return at >= entry.end
