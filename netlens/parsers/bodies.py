"""What HTTP/1.1 in clear says of itself: how long an answer is (Content-Length, RFC 9112 6.2), to tell those that ended before; and which requests ask to be
kept waiting (long polls, RFC 6202 2), by words in their address.

Of an address nothing is kept but that it has such a word. Kept while ``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_BODIES`; only of heads that are in one segment, the first of each segment, without Transfer-Encoding.
"""

import re
from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire import hints as h

MAX_BODIES = 200_000
MAX_HEAD = 16_384  #: bytes in which the end of a head is looked for
MAX_LENGTH = 1 << 50
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
MAX_LINE = 1024  #: bytes of a request line that are looked at
_WAITS = re.compile(
    rb"[A-Z]+ [^ ?]*(?:/(?:long-?poll|poll|getUpdates|_changes)\b|\?(?:[^ ]*&)?(?:wait|timeout|watch|long_?poll)=)", re.IGNORECASE
)
_WITHOUT = (204, 304)  #: answers without a body, whatever they say of it


class Body(NamedTuple):
    """An answer.  frame : of its head.  start, end : offsets in its stream, of its first byte and behind its last.  length : of its body."""

    session: int
    frame: int
    start: int
    end: int
    length: int


class BodyBuilder:
    """Fed with decoded packets whose sessions are known."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.polls: set[int] = set()  # frames

    def feed(self, buf: Array, packets: Array) -> None:
        rows = np.empty(len(packets), np.int64)
        packets = packets[rows[: h.with_hints(packets, h.CLASS_MASK, h.HTTP_REQUEST, h.HTTP_RESPONSE, rows)]]
        asking = packets[:, c.HINT] & h.CLASS_MASK == h.HTTP_REQUEST
        for row in packets[asking].tolist() if len(self.polls) < MAX_BODIES else ():
            at = row[c.PAY_OFF]
            if _WAITS.match(buf[at : at + min(row[c.PAY_CAP], MAX_LINE)].tobytes()):
                self.polls.add(row[c.FRAME])
        for row in packets[~asking & (packets[:, c.SESSION] >= 0)][: MAX_BODIES - len(self.bodies)].tolist():
            at, offset, status = row[c.PAY_OFF], row[c.OFFSET], row[c.HINT] >> h.STATUS_SHIFT & 0x3FF
            head = buf[at : at + min(row[c.PAY_CAP], MAX_HEAD)].tobytes()
            end = head.find(b"\r\n\r\n")
            if end < 0 or status < 200 or status in _WITHOUT:
                continue
            found = _LENGTH.search(head, 0, end + 2)
            if found is None or _CODED.search(head, 0, end + 2):
                continue
            length = int(found.group(1))
            if length < MAX_LENGTH:
                self.bodies.append(Body(row[c.SESSION], row[c.FRAME], offset, offset + end + 4 + length, length))
