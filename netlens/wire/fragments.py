"""IP fragments back to datagrams (RFC 791 3.2, RFC 8200 4.5), as Wireshark shows them: in the frame that completes them.

Rare in practice, so plain Python; bounded, because captures come from strangers: at most :data:`MAX_DATAGRAMS` unfinished datagrams (the oldest
is given up and counted), none longer than 64 KiB, in all of them at most :data:`MAX_RUNS` runs of bytes with gaps between them, and work that
grows with the bytes of the fragments whatever their order. Where fragments
overlap the first one wins (RFC 5722 wants such datagrams dropped; Wireshark lets the last one win; systems differ).

Limits: a datagram whose fragments lie in two parts of a capture that are read on their own is not completed; read them as one stream.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire import decode as d
from netlens.wire.tunnels import PROTOCOLS

MAX_DATAGRAMS = 1024
MAX_BYTES = 65535
#: Real datagrams have one or two runs while they wait; an attacker's of eight bytes each, every second one missing, have 4,096 that cost 80 bytes each.
MAX_RUNS = 1 << 16
#: RFC 8200 4.5 and Linux' ip6frag_time: who has not got all fragments after a minute drops them. IPv4 identifications repeat after 65,536 packets
#: to one address, so that without it, pieces of two datagrams would be joined where one was lost.
MAX_AGE_NS = 60_000_000_000

_AH = 51
_EXTENSIONS = (0, 43, 60, 135, 139, 140)  # IPv6 headers of 8 * (length + 1) bytes that may stand behind the fragment header

_CARRIERS = (6, 17, *PROTOCOLS)
_ECHOES = {1: (0, 8), 58: (128, 129)}  # by protocol the types of ICMP (RFC 792, RFC 4443)
_ECHO_BYTES = 8  # of its head
_NO_ROOM = np.zeros((0, d.FRAGMENT_WIDTH), np.int64)


def datagram(row: list[int]) -> tuple[int, ...]:
    """What names the datagram that a fragment (a row of ``decode``) is of.

    The interface is part of it: a fragment and its copy on another interface make two datagrams, as their frames do.
    """
    _, _, iface, version, s_hi, s_lo, d_hi, d_lo, ident, proto = row[:10]
    return (iface, version, s_hi, s_lo, d_hi, d_lo, ident, proto if version == 4 else 0)


class _Datagram:
    """One unfinished datagram: its bytes, and which of them are there."""

    __slots__ = ("captured", "data", "end", "ends", "frame", "proto", "since_ns", "starts")

    def __init__(self, proto: int, since_ns: int, frame: int = 0):
        self.proto = proto
        self.frame = frame  # of the fragment that came first
        self.since_ns = since_ns
        self.data = bytearray()
        self.starts: list[int] = []  # of the runs of bytes that are there, ascending, with gaps between them
        self.ends: list[int] = []
        self.captured = MAX_BYTES + 1  # the first byte that was there on the wire but was cut by the snaplen
        self.end = -1

    def add(self, where: int, length: int, piece: bytes) -> int:
        """Put a piece in; returns by how many runs there are more (or fewer) than before."""
        before = len(self.starts)
        until = where + length
        if len(self.data) < until:
            self.data.extend(bytes(until - len(self.data)))
        # runs i .. j - 1 touch or overlap the piece; what lies between them is new
        i, j = bisect_left(self.ends, where), bisect_right(self.starts, until)
        at = where
        for start, end in [*zip(self.starts[i:j], self.ends[i:j], strict=True), (until, until)]:
            if at < start:
                new = piece[at - where : start - where]
                self.data[at : at + len(new)] = new
                if at + len(new) < start:
                    self.captured = min(self.captured, at + len(new))
            at = max(at, end)
        first, last = min([where, *self.starts[i : i + 1]]), max([until, *self.ends[j - 1 : j]] if j > i else [until])
        self.starts[i:j], self.ends[i:j] = [first], [last]
        return len(self.starts) - before

    def whole(self) -> bool:
        return self.end >= 0 and (self.end == 0 or (bool(self.starts) and self.starts[0] == 0 and self.ends[0] >= self.end))


class Fragments:
    """Unfinished datagrams; ``feed`` returns those that a batch completed.

    echoes : (bytes, int64[1, FRAGMENT_WIDTH]) of each ICMP echo that the last batch completed, as ``decode`` hands back one that comes whole.
    """

    def __init__(self) -> None:
        self.open: OrderedDict[tuple[int, ...], _Datagram] = OrderedDict()
        self.given_up = 0
        self.runs = 0  # of all unfinished datagrams
        self.echoes: list[tuple[Array, Array]] = []

    def _forget(self, key: tuple[int, ...]) -> None:
        self.runs -= len(self.open.pop(key).starts)

    def feed(self, buf: Array, rows: Array, quality: Array) -> list[tuple[Array, Array]]:
        """(buffer, int64[1, WIDTH] packet row) of each TCP or UDP datagram that is now complete, in order of frames."""
        out, self.echoes = [], []
        for row in rows[rows[:, d.PIECE] >= 0].tolist():
            frame, ts, iface, version, s_hi, s_lo, d_hi, d_lo, _, proto, where_more, start, length, captured = row
            where, more = where_more >> 1, where_more & 1
            key = datagram(row)
            if where + length > MAX_BYTES or (more and (length % 8 or not length)):
                continue
            entry = self.open.get(key)
            if entry is not None and abs(ts - entry.since_ns) > MAX_AGE_NS:
                self._forget(key)
                self.given_up += 1
                entry = None
            if entry is None:
                while len(self.open) >= MAX_DATAGRAMS or (self.runs >= MAX_RUNS and self.open):
                    self._forget(next(iter(self.open)))
                    self.given_up += 1
                entry = self.open[key] = _Datagram(proto, ts, frame)
            if where == 0:
                entry.proto = proto
            if length:
                self.runs += entry.add(where, length, bytes(buf[start : start + captured]))
            if not more and entry.end < 0:
                entry.end = where + length
            if not entry.whole():
                continue
            self._forget(key)
            data = bytearray(entry.data[: entry.end])
            packet = np.zeros((1, c.WIDTH), np.int64)
            packet[0, [c.FRAME, c.TS, c.IFACE]] = frame, ts, iface
            packet[0, [c.SRC_HI, c.SRC_LO, c.DST_HI, c.DST_LO, c.PORTS]] = s_hi, s_lo, d_hi, d_lo, version << 32
            cut_at = min(entry.captured, len(data))
            proto, at = _transport_start(data, cut_at, entry.proto, version)
            area = np.frombuffer(data, np.uint8)  # writable: a read-only array would compile every kernel once more
            if cut_at - at >= _ECHO_BYTES and data[at] in _ECHOES.get(proto, ()):
                whole = [*row[: d.PIECE], d.ASKING, at, len(data) - at, cut_at - at]
                whole[d.PIECE - 1] = proto
                self.echoes.append((area, np.array([whole], np.int64)))
            if proto in _CARRIERS:
                reason = d.reassembled(area, at, cut_at - at, len(data) - at, proto, packet[0], _NO_ROOM, quality, frame)
                if reason in (d.R["tcp"], d.R["udp"]):
                    d.note(quality, d.R["reassembled"], frame)
                    out.append((area, packet))
        return out


def _transport_start(data: bytearray, cap: int, proto: int, version: int) -> tuple[int, int]:
    """(protocol, offset) behind the headers that were fragmented along with the payload; protocol -1 if they are cut or contradict themselves."""
    at = 0
    for _ in range(d.MAX_EXTENSION_HEADERS):
        if proto != _AH and (version == 4 or proto not in _EXTENSIONS):
            return proto, at
        if at + 2 > cap:
            return -1, 0
        size = (data[at + 1] + 2) * 4 if proto == _AH else (data[at + 1] + 1) * 8
        if at + size > cap:
            return -1, 0
        proto, at = data[at], at + size
    return -1, 0
