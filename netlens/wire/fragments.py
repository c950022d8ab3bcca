"""IP fragments back to datagrams (RFC 791 3.2, RFC 8200 4.5), as Wireshark shows them: in the frame that completes them.

Rare in practice, so plain Python; bounded, because captures come from strangers: at most :data:`MAX_DATAGRAMS` unfinished datagrams (the oldest
is given up and counted), none longer than 64 KiB. Where fragments overlap the first one wins.

Limits: a datagram whose fragments lie in two parts of a capture that are read on their own is not completed; read them as one stream.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from netlens.wire import columns as c
from netlens.wire import decode as d

MAX_DATAGRAMS = 1024
MAX_BYTES = 65535


class Fragments:
    """Unfinished datagrams; ``feed`` returns those that a batch completed."""

    def __init__(self) -> None:
        self.open: OrderedDict[tuple[int, ...], dict[str, Any]] = OrderedDict()
        self.given_up = 0

    def feed(
        self, buf: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], quality: np.ndarray[Any, Any]
    ) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """(buffer, int64[1, WIDTH] packet row) of each TCP or UDP datagram that is now complete, in order of frames."""
        out = []
        for row in rows.tolist():
            frame, ts, iface, version, s_hi, s_lo, d_hi, d_lo, ident, proto, where_more, start, length, captured = row
            where, more = where_more >> 1, where_more & 1
            # the interface is part of the key: a fragment and its copy on another interface make two datagrams, as their frames do
            key = (iface, version, s_hi, s_lo, d_hi, d_lo, ident, proto if version == 4 else 0)
            if where + length > MAX_BYTES or (more and length % 8):
                continue
            entry = self.open.get(key)
            if entry is None:
                if len(self.open) >= MAX_DATAGRAMS:
                    self.open.popitem(last=False)
                    self.given_up += 1
                entry = self.open[key] = {"pieces": {}, "end": None, "proto": proto}
            if where == 0:
                entry["proto"] = proto
            entry["pieces"].setdefault(where, (length, bytes(buf[start : start + captured])))
            if not more:
                entry["end"] = where + length
            if (whole := _assemble(entry)) is None:
                continue
            del self.open[key]
            data, cut_at = whole
            packet = np.zeros((1, c.WIDTH), np.int64)
            packet[0, [c.FRAME, c.TS, c.IFACE]] = frame, ts, iface
            packet[0, [c.SRC_HI, c.SRC_LO, c.DST_HI, c.DST_LO, c.PORTS]] = s_hi, s_lo, d_hi, d_lo, version << 32
            if entry["proto"] in (6, 17):
                area = np.frombuffer(bytearray(data), np.uint8)  # writable: a read-only array would compile every kernel once more
                reason = d._transport(area, 0, cut_at, len(data), entry["proto"], packet[0], quality, frame)
                if reason in (d.R["tcp"], d.R["udp"]):
                    d._note(quality, d.R["reassembled"], frame)
                    out.append((area, packet))
        return out


def _assemble(entry: dict[str, Any]) -> tuple[bytes, int] | None:
    """(datagram, how much of it was captured from its start), or None while pieces are missing."""
    if entry["end"] is None:
        return None
    data = bytearray(entry["end"])
    at, cut = 0, None
    for where, (length, captured) in sorted(entry["pieces"].items()):
        if where > at:
            return None
        end = min(where + length, entry["end"])
        if end <= at:
            continue
        piece = captured[at - where : end - where]
        data[at : at + len(piece)] = piece
        if len(piece) < end - at and cut is None:
            cut = at + len(piece)
        at = end
    if at < entry["end"]:
        return None
    return bytes(data), entry["end"] if cut is None else cut
