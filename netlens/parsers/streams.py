"""DNS over TCP (RFC 7766): messages out of the two directions of port-53 sessions.

DNS over TCP is rare and small, so this is plain Python behind a mask: bytes are put in order by stream offset, length-prefixed messages are
cut off the front and given to the lookup builder. Bounded: at most :data:`MAX_BYTES` wait per direction, :data:`MAX_STREAMS` directions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from netlens.wire import columns as c

if TYPE_CHECKING:
    from netlens.parsers.lookups import LookupBuilder

MAX_BYTES = 1 << 17  #: two messages of the largest size
MAX_STREAMS = 4096


class DnsStreams:
    def __init__(self, lookups: LookupBuilder):
        self.lookups = lookups
        self.open: dict[tuple[int, int], _Direction] = {}

    def merge(self, later: DnsStreams, mapping: np.ndarray[Any, Any]) -> None:
        """Take over the unfinished messages of the part that follows, of sessions that began there; ``mapping``: row here of each of its rows, or -1."""
        for (session, direction), stream in later.open.items():
            if session < len(mapping) and mapping[session] >= 0:
                self.open[int(mapping[session]), direction] = stream

    def feed(self, buf: np.ndarray[Any, Any], packets: np.ndarray[Any, Any], n: int, skip: np.ndarray[Any, Any] | None = None) -> None:
        """Take in a batch; ``skip``: bool[n], rows that another part will read."""
        rows = packets[:n]
        ports = rows[:, c.PORTS]
        at_53 = (((ports >> 16) & 0xFFFF) == 53) | ((ports & 0xFFFF) == 53)
        wanted = at_53 & (rows[:, c.KIND] == c.TCP) & (rows[:, c.FRESH] > 0)
        if skip is not None:
            wanted &= ~skip
        chosen = np.flatnonzero(wanted)
        for i in chosen.tolist():
            row = rows[i]
            key = (int(row[c.SESSION]), int(row[c.DIRECTION]))
            stream = self.open.get(key)
            if stream is None:
                if len(self.open) >= MAX_STREAMS:
                    self.open.pop(next(iter(self.open)))
                stream = self.open[key] = _Direction()
            start, size = int(row[c.PAY_OFF]), int(row[c.PAY_CAP])
            for message in stream.add(int(row[c.OFFSET]), bytes(buf[start : start + size])):
                self.lookups.feed_message(np.frombuffer(bytearray(message), np.uint8), 0, len(message), row)


class _Direction:
    """Bytes of one direction that are not yet cut into messages."""

    def __init__(self) -> None:
        self.at = 0  # stream offset of data[0]
        self.data = bytearray()
        self.later: dict[int, bytes] = {}
        self.lost = False

    def add(self, offset: int, payload: bytes) -> list[bytes]:
        if self.lost:
            return []
        self.later[offset] = max(payload, self.later.get(offset, b""), key=len)
        moved = True
        while moved:
            moved = False
            for start in sorted(self.later):
                end = self.at + len(self.data)
                if start > end:
                    break
                piece = self.later.pop(start)
                self.data += piece[max(end - start, 0) :]
                moved = True
                break
        if len(self.data) + sum(map(len, self.later.values())) > MAX_BYTES:
            self.lost = True
            self.data.clear()
            self.later.clear()
            return []
        messages = []
        while len(self.data) >= 2:
            size = int.from_bytes(self.data[:2], "big")
            if len(self.data) < 2 + size:
                break
            messages.append(bytes(self.data[2 : 2 + size]))
            del self.data[: 2 + size]
            self.at += 2 + size
        return messages
