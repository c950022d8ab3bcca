"""Whether calls of gRPC over HTTP/2 in clear failed: the first status of a connection, and whether its server ever gave an answer; and of any HTTP/2 in
clear, whether the server ended the connection for an error (GOAWAY, RFC 9113 6.8).

A call that fails before an answer has nothing but a head that ends its stream (gRPC over HTTP/2, "Trailers-Only"), with a grpc-status other than 0. Name and
value stand there in full when a connection says them for the first time (RFC 7541 6.2.1; Huffman's code of the name: appendix B); later ones are numbers in
a table that is not kept here. Whatever succeeds has a message, and so a DATA frame (RFC 9113 6.1). Kept while ``netlens analyze`` reads a capture, and by
no other command; of a call nothing is kept but its frame.

Limits: connections whose first bytes are in the capture; of the first :data:`MAX_SEGMENTS` segments of their servers, frames that follow each other from the
beginning of a segment.
"""

import re
from dataclasses import dataclass, field

import numpy as np

from netlens.columns import Array
from netlens.parsers.lifecycle import grown
from netlens.wire import columns as c

MAX_SEGMENTS = 200_000
LOOKED_AT = 1500  #: bytes of a segment
_PREFACE = np.frombuffer(b"PRI * HT", np.uint8)  # RFC 9113 3.4
_DATA, _HEADERS, _GOAWAY, _LAST_TYPE, _END_STREAM = 0, 1, 7, 9, 1
_STATUS = re.compile(rb"(?:\x0bgrpc-status|\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f)(?:\x01([0-9])|\x02(1[0-6]))")


@dataclass
class Calls:
    """Of one connection.

    status : the first, None before.  failed : frames of heads that ended their streams and were all of the answer.  answered : when the last message came, 0
    without.  error, error_frame : of the first GOAWAY with an error (RFC 9113 7), 0 without.
    """

    client_way: int
    status: int | None = None
    failed: list[int] = field(default_factory=list)
    answered: int = 0
    error: int = 0
    error_frame: int = 0


class GrpcBuilder:
    """Fed with decoded packets whose sessions are known.  sessions : by number of the session."""

    def __init__(self) -> None:
        self.sessions: dict[int, Calls] = {}
        self._left = MAX_SEGMENTS
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
        chosen = (of == known) & (of >= 0) & self._open[known] & (packets[:, c.FRESH] > 0) & (packets[:, c.PAY_CAP] >= 9)
        for row in packets[chosen].tolist():
            calls = self.sessions[row[c.SESSION]]
            if row[c.DIRECTION] != calls.client_way:
                self._left -= 1
                at_ = row[c.PAY_OFF]
                read(calls, buf[at_ : at_ + min(row[c.PAY_CAP], LOOKED_AT)].tobytes(), row[c.FRAME], row[c.TS])


def read(calls: Calls, text: bytes, frame: int, ts: int) -> None:
    """Take in a segment of the server."""
    at = 0
    while at + 9 <= len(text):
        size, kind, flags = int.from_bytes(text[at : at + 3], "big"), text[at + 3], text[at + 4]
        if kind > _LAST_TYPE or size > 1 << 14 or text[at + 5] & 0x80:
            return  # not where a frame begins
        if kind == _DATA and size:
            calls.answered = ts
        elif kind == _HEADERS:
            found = _STATUS.search(text, at + 9, at + 9 + size) if calls.status is None else None
            if found:
                calls.status = int(found[1] or found[2])
            if flags & _END_STREAM and calls.status is not None and not calls.answered:
                calls.failed.append(frame)
        elif kind == _GOAWAY and not calls.error and 8 <= size <= len(text) - at - 9:
            calls.error = int.from_bytes(text[at + 13 : at + 17], "big")
            calls.error_frame = frame if calls.error else 0
        at += 9 + size
