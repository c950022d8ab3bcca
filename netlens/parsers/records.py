"""TLS records of connections on which HTTP/2 may be spoken: what each is called, how long it is, when it was whole; nothing of what it holds.

Which protocol the server chose is hidden in TLS 1.3, and HTTP/2 puts many requests on one connection, so turns of the dialog tell little there. Sizes of
records tell more (:mod:`netlens.parsers.http2`). They are kept of connections whose ClientHello offers HTTP/2 and of no others, while
``netlens analyze`` reads the capture; that is plain Python behind a mask, as few captures have many such connections.

A direction is read from its hello on, in the order of its bytes: what came before its turn waits. Redirect halves are read apart, and put together by the
session that began first.

Limits: a connection whose hello is not in the capture has no records; nor has what follows a hole (capture loss, a header cut off by the snapshot length):
then ``whole`` is False. Once :data:`MAX_RECORDS` records are kept (24 bytes each), or those of :data:`MAX_CONNECTIONS` connections, later ones have none.
"""

from array import array
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from netlens.columns import Array
from netlens.parsers.lifecycle import LEAST_ROWS
from netlens.parsers.session_state import MATE
from netlens.wire import columns as c

MAX_RECORDS = 2_000_000
MAX_HELD = 1 << 20  #: bytes of one direction that wait for others before them; a window on a long path
MAX_HELD_IN_ALL = 64 << 20
MAX_CONNECTIONS = 65_536  #: a browser on a busy day opens some thousands
HEADER = 5  #: bytes in front of a record (RFC 8446 5.1)
CHANGE_CIPHER, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23  #: kinds of record
#: What alerts say: RFC 8446 6 and RFC 5246 7.2, RFC 6066, RFC 7301
ALERTS = {
    10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed", 22: "record_overflow", 30: "decompression_failure", 40: "handshake_failure",
    41: "no_certificate", 42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked", 45: "certificate_expired",
    46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error", 51: "decrypt_error",
    60: "export_restriction", 70: "protocol_version", 71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback",
    109: "missing_extension", 110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 115: "unknown_psk_identity", 116: "certificate_required", 120: "no_application_protocol",
}  # fmt: skip
SERVER_HELLO, ALPN = 2, 16  #: type of a handshake message, of an extension
SUITE_AT = 38  #: of a ServerHello behind its header: type 1, length 3, version 2, random 32; then the session id


class Records(NamedTuple):
    """Records of one connection in the order in which they were whole.

    way : 0 the client's, 1 the server's.  kind : :data:`APPLICATION` and so on.  size : bytes behind the header.  ts : ns, of the last byte.
    frame : of the last byte.  suite : cipher suite of the ServerHello, 0 if it was not seen.  chosen : the protocol it names, "" if none, which TLS 1.3 hides
    (RFC 8446 4.3.1); None if it was not seen.  whole : neither direction has a hole.
    """

    way: Array
    kind: Array
    size: Array
    ts: Array
    frame: Array
    suite: int
    chosen: str | None
    whole: bool


class _Direction:
    """One direction of a session; looks for its hello first."""

    __slots__ = ("at", "begun", "chosen", "frames", "head", "held", "kinds", "later", "left", "lost", "sizes", "suite", "times")

    def __init__(self) -> None:
        self.begun = self.lost = False
        self.at = 0  # stream offset of the next byte
        self.left = 0  # bytes of the record that are still to come
        self.head = b""  # of the next record's header, what has come
        self.suite = 0
        self.chosen: str | None = None
        self.later: list[tuple[int, int, bytes, int, int]] = []  # heap: what came before its turn
        self.held = 0
        self.kinds, self.sizes, self.times, self.frames = array("B"), array("H"), array("q"), array("q")

    def add(self, offset: int, length: int, payload: bytes, ts: int, frame: int) -> None:
        """Take a segment; ``payload`` is what was captured of its ``length`` bytes."""
        if self.lost:
            return
        if not self.begun:
            if len(payload) <= HEADER or not CHANGE_CIPHER <= payload[0] <= APPLICATION or payload[1] != 3 or payload[2] > 4:
                return
            self.begun, self.at = True, offset
        if offset > self.at:
            heappush(self.later, (offset, length, payload, ts, frame))
            self.held += len(payload) + 64
            if self.held > MAX_HELD:
                self.lose()
            return
        self._take(offset, length, payload, ts, frame)
        while self.later and self.later[0][0] <= self.at and not self.lost:
            offset, length, payload, _, _ = heappop(self.later)
            self.held -= len(payload) + 64
            self._take(offset, length, payload, ts, frame)  # it could be read when the hole was filled

    def lose(self) -> None:
        self.lost = True
        self.later.clear()
        self.held = 0

    def _take(self, offset: int, length: int, payload: bytes, ts: int, frame: int) -> None:
        p = self.at - offset  # of the segment, what is new
        if p >= length:
            return
        self.at = offset + length
        while p < length:
            step = min(self.left, length - p)
            self.left -= step
            p += step
            if step and not self.left:
                self.times.append(ts)
                self.frames.append(frame)
            if p < length and not self.left:
                part = payload[p : p + HEADER - len(self.head)]
                self.head += part
                p += len(part)
                if len(self.head) < HEADER:
                    if p < length:  # cut off by the snapshot length
                        self.lose()
                    return
                kind, size = self.head[0], self.head[3] << 8 | self.head[4]
                if not CHANGE_CIPHER <= kind <= APPLICATION or self.head[1] != 3 or not size:
                    self.lose()
                    return
                self.head, self.left = b"", size
                self.kinds.append(kind)
                self.sizes.append(size)
                if kind == HANDSHAKE and not self.suite and p < len(payload) and payload[p] == SERVER_HELLO:
                    self.suite, self.chosen = server_hello(payload[p : p + size])


def server_hello(message: bytes) -> tuple[int, str | None]:
    """Cipher suite of a ServerHello (RFC 5246 7.4.1.3), 0 if it does not show it, and what protocol it chose (RFC 7301): "" for none, None if it is cut."""
    if len(message) <= SUITE_AT:
        return 0, None
    at = SUITE_AT + 1 + message[SUITE_AT]
    suite = int.from_bytes(message[at : at + 2], "big")
    at += 3  # and the compression
    end = int.from_bytes(message[1:4], "big") + 4
    if end > len(message):
        return suite, None
    at += 2
    while at + 4 <= end:
        kind, size = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        if kind == ALPN and size > 3:
            return suite, message[at + 7 : at + 4 + size].decode("latin-1")
        at += 4 + size
    return suite, ""


class RecordBuilder:
    """Fed with decoded packets whose sessions are known, behind the hellos."""

    def __init__(self) -> None:
        self._directions: dict[tuple[int, int], _Direction] = {}
        self._client: dict[int, int] = {}  # session -> the direction that its ClientHello has
        self._followed = np.zeros(0, bool)  # the same sessions
        self._kept = 0  # records
        self._held = 0  # bytes that wait

    def follow(self, hellos: list[tuple[int, int]]) -> None:
        """From now on keep the records of these (session, direction of its ClientHello); the hellos end in the batch that is fed next."""
        if self._kept >= MAX_RECORDS or len(self._client) >= MAX_CONNECTIONS:
            return
        for session, way in hellos:
            if session >= len(self._followed):
                self._followed = np.concatenate([self._followed, np.zeros(max(session + 1, LEAST_ROWS), bool)])
            self._followed[session] = True
            self._client.setdefault(session, way)

    @property
    def sessions(self) -> list[int]:
        """Sessions that hold the ClientHello of a connection whose records are kept."""
        return list(self._client)

    def feed(self, buf: Array, rows: Array, sessions: Array) -> None:
        if not len(self._followed):
            return
        number = rows[:, c.SESSION]
        mates = np.where(number >= 0, sessions[number, MATE], -1)
        room = len(self._followed)
        wanted = (number >= 0) & (number < room) & self._followed[np.clip(number, 0, room - 1)]
        wanted |= (mates >= 0) & (mates < room) & self._followed[np.clip(mates, 0, room - 1)]
        wanted &= (rows[:, c.FRESH] > 0) & (rows[:, c.LENGTH] > 0)
        for row in rows[wanted][:, [c.SESSION, c.DIRECTION, c.OFFSET, c.LENGTH, c.PAY_OFF, c.PAY_CAP, c.TS, c.FRAME]].tolist():
            session, way, offset, length, start, held, ts, frame = row
            key = (session, way)
            direction = self._directions.get(key)
            if direction is None:
                direction = self._directions[key] = _Direction()
            records, waiting = len(direction.sizes), direction.held
            direction.add(offset, length, buf[start : start + held].tobytes(), ts, frame)
            if self._held + direction.held - waiting > MAX_HELD_IN_ALL:
                direction.lose()
            self._held += direction.held - waiting
            self._kept += len(direction.sizes) - records

    def of(self, session: int, mate: int = -1) -> Records | None:
        """Records of the connection whose ClientHello is in ``session``; None without. ``mate``: the other half of a redirected one, or -1."""
        way = self._client.get(session)
        if way is None:
            return None
        up = self._directions.get((session, way))
        answers = (self._directions.get(key) for key in ((session, 1 - way), (mate, 0), (mate, 1)))
        down = next((d for d in answers if d is not None and d.sizes), None)
        if up is None or down is None:
            return None
        table = np.concatenate([_columns(way, end) for way, end in enumerate((up, down))])
        table = table[np.lexsort((table[:, 4], table[:, 3]))]
        whole = not any(end.lost or end.later for end in (up, down))
        way_of, kind, size, ts, frame = table.T.copy()
        return Records(way_of, kind, size, ts, frame, down.suite, down.chosen, whole)


def _columns(way: int, direction: _Direction) -> Array:
    """int64[n, 5]: way, kind, size, time and frame of its whole records."""
    n = len(direction.times)
    columns = (direction.kinds, direction.sizes, direction.times, direction.frames)
    return np.column_stack([np.full(n, way), *(np.array(column[:n], np.int64) for column in columns)])
