"""Who looks for a PROFINET device by its name, and who answers to it: Identify of DCP (IEC 61158-6-10 4.3, FrameIDs 0xFEFE and 0xFEFF).

Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_MESSAGES`, in frames of Ethernet, with tags or without; names of the first :data:`MAX_NAME` characters.
"""

from typing import NamedTuple

from netlens.columns import Array
from netlens.parsers.asking import Seen
from netlens.parsers.routers import vlans
from netlens.text import printable
from netlens.wire import decode as d

MAX_MESSAGES = 50_000
PROFINET = 0x8892
LOOKED_AT, MAX_NAME = 512, 240
_ASKS, _ANSWERS = 0xFEFE, 0xFEFF  # FrameIDs of multicast Identify, and of what comes back
_IDENTIFY, _REQUEST, _SUCCESS = 5, 0, 1
_BLOCKS = 12  # bytes before the first block
_NAME = b"\x02\x02"  # option and suboption: name of station


class Station(NamedTuple):
    """A device answered to a name.  device : its hardware address.  transaction : the request's number (Xid)."""

    ts: int
    frame: int
    device: str
    transaction: int


class StationBuilder:
    """Fed with what the decoder hands back.

    sought : by network (interface and VLANs), who asks and name, when.  found : by network and name, who answered.
    """

    def __init__(self) -> None:
        self.sought: dict[tuple[tuple[int, ...], str, str], list[Seen]] = {}
        self.found: dict[tuple[tuple[int, ...], str], list[Station]] = {}
        self._read = 0

    def feed(self, buf: Array, rows: Array) -> None:
        """``rows``: int64[n, FRAGMENT_WIDTH] of :func:`netlens.wire.decode.decode`."""
        rows = rows[(rows[:, d.PIECE] == d.OF_LINK) & (rows[:, 3] == PROFINET) & (rows[:, 13] >= _BLOCKS) & (rows[:, 11] >= 14)]
        if not len(rows):
            return
        at = rows[:, 11]
        chosen = rows[(buf[at] == _ASKS >> 8) & (buf[at + 1] >= _ASKS & 0xFF) & (buf[at + 2] == _IDENTIFY)][: MAX_MESSAGES - self._read]
        self._read += len(chosen)
        for frame, ts, iface, _, _, _, _, _, _, _, _, at, _, captured in chosen.tolist():
            message = buf[at : at + min(captured, LOOKED_AT)].tobytes()
            is_answer = message[1] == _ANSWERS & 0xFF
            if message[3] != (_SUCCESS if is_answer else _REQUEST) or not (name := _name(message, is_answer)):
                continue
            tags = vlans(buf, at)
            header = at - 14 - 4 * len(tags)
            sender = buf[header + 6 : header + 12].tobytes().hex(":") if header >= 0 else ""
            network = iface, *tags
            if is_answer:
                self.found.setdefault((network, name), []).append(Station(ts, frame, sender, int.from_bytes(message[4:8], "big")))
            else:
                self.sought.setdefault((network, sender, name), []).append(Seen(ts, frame))


def _name(message: bytes, is_answer: bool) -> str:
    """Of the station that is sought, or that answers; "" without."""
    end = min(len(message), _BLOCKS + int.from_bytes(message[10:12], "big"))
    at = _BLOCKS
    while at + 4 <= end:
        size = int.from_bytes(message[at + 2 : at + 4], "big")
        if message[at : at + 2] == _NAME:
            text = message[at + 4 + 2 * is_answer : min(at + 4 + size, end)]  # an answer has two more bytes first (BlockInfo)
            return printable(text[:MAX_NAME].decode("ascii", "replace"))
        at += 4 + size + size % 2
    return ""
