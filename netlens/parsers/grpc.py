"""HTTP/2 in clear: errors of answers, streams and connections; whether calls of gRPC failed; and requests that waited for a shut window.

A call of gRPC that fails before an answer has nothing but a head that ends its stream (gRPC over HTTP/2, "Trailers-Only"), with a grpc-status other than 0.
Name and value stand there in full when a connection says them for the first time (RFC 7541 6.2.1; Huffman's code of the name and of digits: appendix B);
later ones are numbers. Whatever succeeds has a message, and so a DATA frame (RFC 9113 6.1). The status of HTTP is the first
field of a head (RFC 9113 8.3), and those that servers mostly give have numbers of their own (RFC 7541, appendix A). What those numbers mean is kept as long
as each head is there in full (:mod:`netlens.parsers.hpack`); else names are looked for where they stand in full. A server sends no more DATA than the
window of the connection allows, which the client widens (RFC 9113 6.9.1). Kept while ``netlens analyze`` reads a capture, and by no other command; of a call
nothing is kept but its frame, how long its message is, and a number for its path; of an only call also one for its message.

Limits: connections whose first bytes are in the capture; of :data:`MAX_FRAMES` frames and segments. Where bytes are missing, frames are looked for at the
beginning of the next segment, and nothing is said of the window.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple
from zlib import crc32

import numpy as np

from netlens.columns import Array
from netlens.parsers.hpack import GRPC_STATUS, PATH, Field, Table, digits
from netlens.parsers.lifecycle import grown
from netlens.wire import columns as c

MAX_FRAMES = 500_000
STREAM_CLOSED = 5
WINDOW = 65_535  #: of a connection at its beginning (RFC 9113 6.9.2)
#: With which connections or streams are ended (RFC 9113 7); HTTP_1_1_REQUIRED (13) asks for another way, and others say that somebody wants no more
ERRORS = {1: "PROTOCOL_ERROR", 2: "INTERNAL_ERROR", 3: "FLOW_CONTROL_ERROR", 4: "SETTINGS_TIMEOUT", STREAM_CLOSED: "STREAM_CLOSED", 6: "FRAME_SIZE_ERROR",
          9: "COMPRESSION_ERROR", 11: "ENHANCE_YOUR_CALM", 12: "INADEQUATE_SECURITY"}  # fmt: skip
_PREFACE, _PREFACE_BYTES = np.frombuffer(b"PRI * HT", np.uint8), 24  # RFC 9113 3.4
REFUSED_STREAM = 7  #: nothing was done of the request, which may be sent again (RFC 9113 8.7)
_PREFIX = 5  # bytes before a message of gRPC: whether it is compressed, and its length
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _WINDOW_UPDATE, _LAST_TYPE, _HEADER = 0, 1, 3, 4, 7, 8, 9, 9
_MAX_FRAME_SIZE, _SETTING = 5, 6  # RFC 9113 6.5.2, and bytes of a setting
_CONTROL = {_RST_STREAM: 4, _GOAWAY: 8, _WINDOW_UPDATE: 4}  # bytes that they have at least
_FIELDS = 32  # bytes in which the first field of a head stands, or all of a request's path that is short
# Bytes of a head that are waited for; of a longer one the beginning is read (RFC 9113 4.2: a frame, if nobody says otherwise)
_LONGEST = 1 << 14
_DIGITS = 2  # of a status of gRPC
_STREAM_NS = 1_000_000_000  # between head and end: the call was granted, a stream on which nothing was said
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY = 1, 4, 8, 32
_STATUS = re.compile(rb"(?:\x0bgrpc-status|\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f)(?:\x01([0-9])|\x02(1[0-6]))")
_STATUSES = dict(zip(range(0x88, 0x8F), (200, 204, 206, 304, 400, 404, 500), strict=True))
_LITERAL_STATUS, _FIRST_OWN = (0x48, 0x08, 0x18), 0xBE  # (RFC 7541 6.2); the first number of a connection's own table
_PATHS = 4, 5  # numbers of that name


class Shut(NamedTuple):
    """A time in which the window of a connection was used up.  waiting : time and frame of each request that the client made meanwhile, and that was not
    answered: a head alone needs no window."""

    end_ns: int
    waiting: list[tuple[int, int]]


class Broken(NamedTuple):
    """A stream that one side reset.  code : RFC 9113 7."""

    by_client: bool
    code: int
    frame: int


class TurnedAway(NamedTuple):
    """A request that a server reset without having done anything of it.  path : a number of what was asked for.  asked, frame : of the request and the reset.
    ts : of the reset."""

    path: int
    asked: int
    frame: int
    ts: int


class GivenUp(NamedTuple):
    """A request that the client reset before there was a head of its answer.  asked, frame : of the request and the reset.  path : its number, 0 if it is not
    known."""

    wait_ns: int
    asked: int
    frame: int
    path: int = 0


class Denied(NamedTuple):
    """A call of gRPC that failed without an answer.  path : 0 if it is not known.  length : of its message in bytes, 0 if that is not known."""

    status: int
    length: int
    frame: int
    ts: int
    path: int = 0


@dataclass
class Calls:
    """Of one connection.

    status : of gRPC, the first, None before. failed : frames of heads that ended streams with that status before any message. answered : when the last message
    came, 0 without. error, error_frame : of the first GOAWAY of the server with an error (RFC 9113 7), 0 without. requests, answers : how many. method : a
    number of the path that was asked for, if that was the only request; else 0. message : of its message, 0 if not known. denied : calls that failed,
    others may have been answered. most : bytes of the longest message that was answered. times : how often each path was asked for. given : when it was
    answered last. turned_away : by REFUSED_STREAM, as far as the path is known.
    paths : frames in which each was asked for last. unnamed : frames of requests of which the path is not known. errors : status of HTTP and frame of
    answers of 400 and more. broken : of streams that were reset. given_up : of requests that the client reset, those of which it had got nothing. shut :
    times in which requests waited for the window. stopped : time and frame in which it was used up, of one that the client has never widened.
    waiting : by stream, time and frame of those that do at last; None if it is open. whole : no byte was missing.
    """

    client_way: int
    status: int | None = None
    failed: list[int] = field(default_factory=list)
    answered: int = 0
    error: int = 0
    error_frame: int = 0
    requests: int = 0
    answers: int = 0
    method: int = 0
    message: int = 0
    denied: list[Denied] = field(default_factory=list)
    most: int = 0
    turned_away: list[TurnedAway] = field(default_factory=list)
    paths: dict[int, int] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    given: dict[int, int] = field(default_factory=dict)
    unnamed: list[int] = field(default_factory=list)
    errors: list[tuple[int, int]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    given_up: list[GivenUp] = field(default_factory=list)
    shut: list[Shut] = field(default_factory=list)
    window: int = WINDOW
    widened: bool = False
    stopped: tuple[int, int] | None = None
    waiting: dict[int, tuple[int, int]] | None = None
    whole: bool = True
    frames: int = 0  # of the last segment
    _due: list[int] = field(default_factory=lambda: [0, _PREFACE_BYTES])  # offsets where frames begin next, of the server and the client
    _rest: list[bytes] = field(default_factory=lambda: [b"", b""])  # of frames that begin at the end of a segment
    _largest: list[int] = field(
        default_factory=lambda: [1 << 14, 1 << 14]
    )  # payload of a frame, of the server and the client (RFC 9113 4.2)
    _tables: list[Table] = field(default_factory=lambda: [Table(), Table()])  # of the server and the client
    _heads: dict[int, int] = field(default_factory=dict)  # streams with a head and no end, and when it came
    _answered: set[int] = field(default_factory=set)  # those of them with a message
    _open: dict[int, tuple[int, int, int, int]] = field(
        default_factory=dict
    )  # by stream: number of the path, frame, length of the message, time
    _own: set[int] = field(default_factory=set)  # statuses that have a number in the connection's own table

    @property
    def unfinished(self) -> int:
        """How many answers have begun and not ended."""
        return len(self._heads)

    def feed(self, by_client: bool, offset: int, text: bytes, length: int, frame: int, ts: int) -> None:
        """Take in a segment: its offset, what was captured of its payload, and bytes of that."""
        due, rest, end = self._due[by_client], self._rest[by_client], offset + length
        if offset > due + len(rest):
            self.whole, due, rest = False, offset, b""
            self._tables[by_client].lost = True
        begin = due + len(rest) - offset
        if begin >= length:
            return
        text = rest + text[begin:]
        at = (asked if by_client else read)(self, text, frame, ts, cut=len(text) < end - due)
        if at < 0 or len(text) < end - due > at:  # there is no frame, or one begins that the snaplen cut
            self.whole, due, rest = False, end, b""
            self._tables[by_client].lost = True
        else:
            due, rest = due + at, text[at:]
        self._due[by_client], self._rest[by_client] = due, rest


class GrpcBuilder:
    """Fed with decoded packets whose sessions are known.  sessions : by number of the session."""

    def __init__(self) -> None:
        self.sessions: dict[int, Calls] = {}
        self._left = MAX_FRAMES
        self._open: Array = np.zeros(1024, bool)  # by session, whether it is one of these

    def feed(self, buf: Array, packets: Array) -> None:
        at = np.minimum(packets[:, c.PAY_OFF], len(buf) - 8)
        of = packets[:, c.SESSION]
        begins = (packets[:, c.OFFSET] == 0) & (packets[:, c.PAY_CAP] >= 8) & (of >= 0) & (buf[at] == _PREFACE[0])
        if begins.any():
            begins &= (buf[at[:, None] + np.arange(8)] == _PREFACE).all(axis=1)
            for row in packets[begins].tolist():
                session = row[c.SESSION]
                if session >= len(self._open):
                    self._open = grown(self._open, session + 1)
                self._open[session] = True
                self.sessions.setdefault(session, Calls(row[c.DIRECTION]))
        if not self.sessions or self._left <= 0:
            return
        known = np.minimum(of, len(self._open) - 1)
        chosen = (of == known) & (of >= 0) & self._open[known] & (packets[:, c.FRESH] > 0)
        for row in packets[chosen].tolist():
            if self._left <= 0:
                for calls in self.sessions.values():
                    calls.whole = False
                break
            calls, start = self.sessions[row[c.SESSION]], row[c.PAY_OFF]
            text = buf[start : start + row[c.PAY_CAP]].tobytes()
            calls.feed(row[c.DIRECTION] == calls.client_way, row[c.OFFSET], text, row[c.LENGTH], row[c.FRAME], row[c.TS])
            self._left -= 1 + calls.frames
            calls.frames = 0


def _settings(calls: Calls, by_client: bool, payload: bytes) -> None:
    """What one side lets the other send."""
    for at in range(0, len(payload) - _SETTING + 1, _SETTING):
        if int.from_bytes(payload[at : at + 2], "big") == _MAX_FRAME_SIZE:
            calls._largest[not by_client] = int.from_bytes(payload[at + 2 : at + _SETTING], "big")


def _frames(text: bytes, largest: int, cut: bool) -> tuple[list[tuple[int, int, int, int, int]], int]:
    """(type, flags, stream, begin and end of the payload) of frames, and where the next one begins; -1 where no frame begins, as one is not ``largest`` bytes
    long at most.  cut : what follows was not captured."""
    found: list[tuple[int, int, int, int, int]] = []
    at = 0
    while at + _HEADER <= len(text):
        size, kind, flags = int.from_bytes(text[at : at + 3], "big"), text[at + 3], text[at + 4]
        if kind > _LAST_TYPE or size > largest or text[at + 5] & 0x80 or size < _CONTROL.get(kind, 0):
            return found, -1
        needed = _CONTROL.get(kind, 0)
        if kind == _HEADERS:
            needed = min(size, _FIELDS) if cut or size > _LONGEST else size
        if at + _HEADER + needed > len(text):
            break
        found.append((kind, flags, int.from_bytes(text[at + 5 : at + 9], "big"), at + _HEADER, at + _HEADER + size))
        at += _HEADER + size
    return found, at


def _fields(calls: Calls, by_client: bool, payload: bytes, flags: int) -> list[Field] | None:
    """The fields of a HEADERS frame; None where they are not known."""
    table = calls._tables[by_client]
    table.lost |= not flags & _END_HEADERS
    return table.fields(_block(payload, flags))


def read(calls: Calls, text: bytes, frame: int, ts: int, cut: bool = False) -> int:
    """Take in what a server says from the beginning of a frame on; where the next one begins, -1 where it was none."""
    frames, end = _frames(text, calls._largest[False], cut)
    calls.frames += len(frames)
    for kind, flags, stream, at, upto in frames:
        if kind == _SETTINGS:
            _settings(calls, False, text[at:upto])
        if kind == _DATA and upto > at:
            calls.answered = ts
            calls._answered.add(stream)
            if path := calls._open.get(stream, (0,))[0]:
                calls.given[path] = ts
            calls.window -= upto - at
            if calls.window <= 0 and calls.waiting is None:
                calls.waiting = {}
                calls.stopped = None if calls.widened else (ts, frame)
        if kind == _HEADERS:
            status = _status(calls, text[at:upto], flags)
            if status is not None and calls.status is None:
                calls.status = status
            path, _, length, _ = calls._open.get(stream, (0, 0, 0, 0))
            if not flags & _END_STREAM:
                calls.most = max(calls.most, length)
            elif status == 0:
                calls.given[path] = ts
            elif status and stream not in calls._answered and ts - calls._heads.get(stream, ts) < _STREAM_NS:
                calls.denied.append(Denied(status, length, frame, ts, path))
            if flags & _END_STREAM and status and status == calls.status and not calls.answered:
                calls.failed.append(frame)
            if stream not in calls._heads and _head(calls, _block(text[at:upto], flags), frame):
                calls._heads[stream] = ts
        elif kind == _RST_STREAM:
            code = int.from_bytes(text[at : at + 4], "big")
            calls.broken.append(Broken(False, code, frame))
            path, asked_in, *_ = calls._open.get(stream, (0, 0, 0, 0))
            if code == REFUSED_STREAM and path and stream not in calls._heads:
                calls.turned_away.append(TurnedAway(path, asked_in, frame, ts))
        elif kind == _GOAWAY and not calls.error:
            calls.error = int.from_bytes(text[at + 4 : at + 8], "big")
            calls.error_frame = frame if calls.error else 0
        if kind == _RST_STREAM or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            calls._open.pop(stream, None)
            calls._heads.pop(stream, None)
            calls._answered.discard(stream)
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM and calls.waiting:
            calls.waiting.pop(stream, None)
    return end


def _status(calls: Calls, payload: bytes, flags: int) -> int | None:
    """The status of gRPC that a head says, None without."""
    fields = _fields(calls, False, payload, flags)
    if fields is None:
        found = _STATUS.search(payload) if calls.status is None or flags & _END_STREAM else None
        return int(found[1] or found[2]) if found else None
    value = next((value for name, value in fields if name == GRPC_STATUS), b"")
    return int(value) if value.isdigit() and len(value) <= _DIGITS else None


def asked(calls: Calls, text: bytes, frame: int, ts: int, cut: bool = False) -> int:
    """The same of a client."""
    frames, end = _frames(text, calls._largest[True], cut)
    calls.frames += len(frames)
    for kind, flags, stream, at, upto in frames:
        if kind == _SETTINGS:
            _settings(calls, True, text[at:upto])
        elif kind == _HEADERS:
            calls.requests += 1
            fields = _fields(calls, True, text[at:upto], flags)
            named = next((value for name, value in fields or () if name == PATH and value), b"")
            path = _path(_block(text[at:upto], flags)) if fields is None else crc32(named) or 1 if named else 0
            calls.method = path if calls.requests == 1 else 0
            calls._open[stream] = path, frame, 0, ts
            if path:
                calls.paths[path] = frame
                calls.times[path] = calls.times.get(path, 0) + 1
            else:
                calls.unnamed.append(frame)
            if calls.waiting is not None:
                calls.waiting[stream] = ts, frame
        elif kind == _DATA and (sent := calls._open.get(stream)) is not None:
            if not sent[2] and upto - at >= _PREFIX and at + _PREFIX <= len(text):
                calls._open[stream] = *sent[:2], int.from_bytes(text[at + 1 : at + _PREFIX], "big"), sent[3]
            if calls.requests == 1:
                calls.message = crc32(text[at:upto], calls.message) if upto <= len(text) else 0
        elif kind == _RST_STREAM:
            calls.broken.append(Broken(True, int.from_bytes(text[at : at + 4], "big"), frame))
            if (sent := calls._open.pop(stream, None)) is not None and stream not in calls._heads:
                calls.given_up.append(GivenUp(ts - sent[3], sent[1], frame, sent[0]))
            calls._heads.pop(stream, None)
            calls._answered.discard(stream)
        elif kind == _WINDOW_UPDATE and not stream:
            calls.window += int.from_bytes(text[at : at + 4], "big")
            calls.widened, calls.stopped = True, None
            if calls.waiting is not None and calls.window > 0:
                if calls.waiting:
                    calls.shut.append(Shut(ts, [*calls.waiting.values()]))
                calls.waiting = None
    return end


def _block(payload: bytes, flags: int) -> bytes:
    """The fields of a HEADERS frame (RFC 9113 6.2), and padding; without changes of the table's size before them (RFC 7541 6.3)."""
    block = payload[(1 if flags & _PADDED else 0) + (5 if flags & _PRIORITY else 0) :]
    while block and block[0] >> 5 == 1:
        more = block[0] & 31 == 31
        block = block[1:]
        while more and block:
            more, block = bool(block[0] & 0x80), block[1:]
    return block


def _head(calls: Calls, block: bytes, frame: int) -> bool:
    """Take in the head of an answer; whether that is the final one."""
    if not block:
        return True
    status, first = _STATUSES.get(block[0], 0), block[0]
    if first in _LITERAL_STATUS and len(block) > 3:
        value = block[2 : 2 + (block[1] & 0x7F)]
        value = digits(value) if block[1] & 0x80 else value
        status = int(value) if len(value) == 3 and value.isdigit() else 0
        if first == _LITERAL_STATUS[0]:
            calls._own.add(status)
    elif first >= _FIRST_OWN and len(calls._own) == 1:
        (status,) = calls._own
    if 100 <= status < 200:
        return False
    calls.answers += 1
    if 400 <= status < 600:
        calls.errors.append((status, frame))
    return True


def _path(block: bytes) -> int:
    """A number of the path that stands in the fields of a request (RFC 7541 6), not 0; 0 where none stands there in full."""
    at = 0
    try:
        while True:
            first = block[at]
            at += 1
            if first == 0xFF:
                return 0
            if first & 0x80:  # a field by its number
                continue
            most = 0x3F if first & 0x40 else 0x0F
            name = first & most
            if name == most:
                name += block[at]
                at += 1
            for is_value in (False, True) if not name else (True,):
                size = block[at] & 0x7F
                at += 1
                if size == 0x7F:
                    if block[at] & 0x80:
                        return 0
                    size += block[at]
                    at += 1
                if is_value and name in _PATHS and at + size <= len(block):
                    return crc32(block[at : at + size]) or 1
                at += size
    except IndexError:
        return 0
