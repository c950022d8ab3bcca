"""What HTTP/1.1 in clear says of itself: how long an answer is (Content-Length, RFC 9112 6.2), to tell those that ended before; which requests ask to be
kept waiting (long polls, RFC 6202 2), by words in their address; what proxies answered to CONNECT (RFC 9110 9.3.6); and redirections.

Of an address nothing is kept but that it has such a word, and of a request and a redirection a number that tells whether they are the same. Kept while
``netlens analyze`` reads a capture, and by no other command.

Limits: of the first :data:`MAX_BODIES`; only of heads that are in one segment, the first of each segment, without Transfer-Encoding.
"""

import re
from typing import NamedTuple
from zlib import crc32

import numpy as np

from netlens.columns import Array
from netlens.wire import columns as c
from netlens.wire import hints as h

MAX_BODIES = 200_000
MAX_HEAD = 16_384  #: bytes in which the end of a head is looked for
MAX_LENGTH = 1 << 50
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
#: The path of a request and of a redirection, which is none in clear if it goes to https
_TARGET = re.compile(rb"[A-Z]+ (?:http://[^/ ]*)?(/[^ ]*) ")
_PLACE = re.compile(rb"\r\nlocation:[ \t]*(?:http://[^/\r]*)?(/[^\r]*)\r\n", re.IGNORECASE)
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


class Proxied(NamedTuple):
    """A proxy's final answer in a connection in which CONNECT was asked."""

    session: int
    frame: int
    ts: int
    status: int


class Redirect(NamedTuple):
    """An answer that sends the client elsewhere. ``asked``, ``place``: CRC-32 of the path that was asked for, 0 if unknown, and of the one it is sent to."""

    session: int
    frame: int
    ts: int
    asked: int
    place: int


class BodyBuilder:
    """Fed with decoded packets whose sessions are known."""

    def __init__(self) -> None:
        self.bodies: list[Body] = []
        self.polls: set[int] = set()  # frames
        self.proxied: list[Proxied] = []
        self.redirects: list[Redirect] = []
        self._asked: dict[int, int] = {}  # by session, what was asked for last: see Redirect
        self._asking: set[int] = set()  # sessions with a CONNECT that was not granted

    def feed(self, buf: Array, packets: Array) -> None:
        rows = np.empty(len(packets), np.int64)
        connects = packets[rows[: h.with_hints(packets, h.CLASS_MASK, h.CONNECT, h.CONNECT, rows)]]
        self._asking.update(connects[: MAX_BODIES - len(self.proxied), c.SESSION].tolist())
        packets = packets[rows[: h.with_hints(packets, h.CLASS_MASK, h.HTTP_REQUEST, h.HTTP_RESPONSE, rows)]]
        for row in packets.tolist():
            if row[c.HINT] & h.CLASS_MASK == h.HTTP_REQUEST:
                self._request(buf, row)
            elif row[c.SESSION] >= 0 and len(self.bodies) < MAX_BODIES:
                self._answer(buf, row)

    def _request(self, buf: Array, row: list[int]) -> None:
        at = row[c.PAY_OFF]
        line = buf[at : at + min(row[c.PAY_CAP], MAX_LINE)].tobytes()
        if len(self.polls) < MAX_BODIES and _WAITS.match(line):
            self.polls.add(row[c.FRAME])
        if len(self._asked) < MAX_BODIES or row[c.SESSION] in self._asked:
            target = _TARGET.match(line)
            self._asked[row[c.SESSION]] = crc32(target.group(1)) if target else 0

    def _answer(self, buf: Array, row: list[int]) -> None:
        at, offset, status = row[c.PAY_OFF], row[c.OFFSET], row[c.HINT] >> h.STATUS_SHIFT & 0x3FF
        if status >= 200 and row[c.SESSION] in self._asking:
            self.proxied.append(Proxied(row[c.SESSION], row[c.FRAME], row[c.TS], status))
            if status < 300:  # what comes now is the tunnel's
                self._asking.remove(row[c.SESSION])
        head = buf[at : at + min(row[c.PAY_CAP], MAX_HEAD)].tobytes()
        if 300 <= status < 400 and len(self.redirects) < MAX_BODIES and (place := _PLACE.search(head)) is not None:
            asked = self._asked.get(row[c.SESSION], 0)
            self.redirects.append(Redirect(row[c.SESSION], row[c.FRAME], row[c.TS], asked, crc32(place.group(1))))
        end = head.find(b"\r\n\r\n")
        if end < 0 or status < 200 or status in _WITHOUT:
            return
        found = _LENGTH.search(head, 0, end + 2)
        if found is None or _CODED.search(head, 0, end + 2):
            return
        length = int(found.group(1))
        if length < MAX_LENGTH:
            self.bodies.append(Body(row[c.SESSION], row[c.FRAME], offset, offset + end + 4 + length, length))
