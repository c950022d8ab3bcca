"""Where the last HTTP/1.1 answer in clear of each connection ends by its own word (Content-Length, RFC 9112 6.2, or the last chunk, 7.1), so that one that was
cut off or given up is told from a whole one.

Limits: of heads that are in one segment, the first of each segment; not of connections with HEAD or CONNECT, nor of
chunks behind the first :data:`MAX_SEGMENTS` segments, or behind a gap; nor of connections that lie in several files which are read apart
(:mod:`netlens.cluster`). What is not known is not called short.
"""

import re

import numpy as np

from netlens.columns import Array, Bools
from netlens.parsers.chunks import DONE, Chunked
from netlens.parsers.lifecycle import LEAST_ROWS, Kept, grown
from netlens.wire import columns as c
from netlens.wire import hints as h

MAX_HEAD = 16_384  #: bytes in which the end of a head is looked for
MAX_SEGMENTS = 500_000  #: with chunks, 2 s of Python
MAX_LENGTH = 1 << 50
NOT_KNOWN, NEVER_YET = 0, 1 << 62  #: instead of an end; of an answer in chunks whose last one has not come
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CODED = re.compile(rb"\r\ntransfer-encoding:([^\r\n]*)", re.IGNORECASE)
_WITHOUT = (204, 304)  #: answers without a body (RFC 9110 6.4.1), as are 1xx


class AnswerEnds:
    """Fed with packet rows whose sessions are known, and the buffer with their payload."""

    def __init__(self) -> None:
        #: By session, of its last answer: the frame of its head, the offset of its end in its stream, and up to which offset it was read for that
        self._last = np.zeros((LEAST_ROWS, 3), np.int64)
        self._bodiless = np.zeros(LEAST_ROWS, bool)  # sessions in which HEAD or CONNECT was asked
        self._chunked: dict[int, Chunked] = {}  # by session, its last answer, if that is in chunks and not over
        self._segments = 0

    def feed(self, buf: Array, packets: Array) -> None:
        found = np.empty(len(packets), np.int64)
        connects = packets[found[: h.with_hints(packets, h.CLASS_MASK, h.CONNECT, h.CONNECT, found)], c.SESSION]
        messages = packets[found[: h.with_hints(packets, h.CLASS_MASK, h.HTTP_REQUEST, h.HTTP_RESPONSE, found)]]
        if len(connects) or len(messages):
            self._reserve(1 + max(int(connects.max(initial=-1)), int(messages[:, c.SESSION].max(initial=-1))))
            self._bodiless[connects[connects >= 0]] = True
            messages = messages[(messages[:, c.SESSION] >= 0) & (messages[:, c.PAY_CAP] > 0)]
            asks = messages[:, c.HINT] & h.CLASS_MASK == h.HTTP_REQUEST
            requests = messages[asks]
            head = buf[requests[:, c.PAY_OFF]] == ord("H")
            self._bodiless[requests[head, c.SESSION]] = True
            for row in {row[c.SESSION]: row for row in messages[~asks].tolist()}.values():
                self._begin(buf, row)
        if self._chunked:
            self._go_on(buf, packets)

    def _reserve(self, sessions: int) -> None:
        if sessions > len(self._last):
            self._last, self._bodiless = grown(self._last, sessions), grown(self._bodiless, sessions)

    def _begin(self, buf: Array, row: list[int]) -> None:
        session, at, offset, hint = row[c.SESSION], row[c.PAY_OFF], row[c.OFFSET], row[c.HINT]
        status = hint >> h.STATUS_SHIFT & 0x3FF
        self._chunked.pop(session, None)
        self._last[session] = row[c.FRAME], NOT_KNOWN, 0
        head = buf[at : at + min(row[c.PAY_CAP], MAX_HEAD)].tobytes()
        end = head.find(b"\r\n\r\n")
        if end < 0 or status < 200 or status in _WITHOUT or self._bodiless[session] or hint >> h.MORE_SHIFT & h.MAX_MORE:
            return
        begins, coded = offset + end + 4, _CODED.findall(head, 0, end + 2)
        if [each.strip().lower() for each in coded] == [b"chunked"]:
            if self._segments < MAX_SEGMENTS:
                self._chunked[session] = Chunked(session, row[c.DIRECTION], row[c.FRAME], begins)
                self._last[session, 1] = NEVER_YET
        elif not coded and (length := _LENGTH.search(head, 0, end + 2)) is not None and int(length[1]) < MAX_LENGTH:
            self._last[session, 1:] = begins + int(length[1]), NEVER_YET

    def _go_on(self, buf: Array, packets: Array) -> None:
        followed = np.zeros(len(self._last), bool)
        followed[list(self._chunked)] = True
        number = packets[:, c.SESSION]
        wanted = (number >= 0) & (number < len(followed)) & (packets[:, c.FRESH] > 0)
        wanted &= followed[np.clip(number, 0, len(followed) - 1)]
        rows = packets[wanted][:, [c.SESSION, c.DIRECTION, c.OFFSET, c.LENGTH, c.PAY_OFF, c.PAY_CAP, c.FRAME]]
        self._segments += len(rows)
        for session, way, offset, length, start, held, frame in rows.tolist():
            answer = self._chunked.get(session)
            if answer is None or answer.way != way or frame < answer.frame:
                continue
            answer.add(offset, length, buf[start : start + held].tobytes(), frame)
            self._last[session, 2] = answer.at
            if answer.over:
                self._last[session, 1:] = (answer.at, NEVER_YET) if answer.state == DONE else (NOT_KNOWN, 0)
                del self._chunked[session]
        if self._segments >= MAX_SEGMENTS:
            self._last[list(self._chunked), 1] = NOT_KNOWN
            self._chunked.clear()

    def short(self, sessions: Array, first_frame: Array, last_frame: Array, came: Array) -> Bools:
        """bool[n]: whether the last answer on a session began in one of some frames, and less of it came.

        came : int64[n], bytes of the server's stream.
        """
        known = sessions < len(self._last)
        head, end, read = self._last[np.where(known, sessions, 0)].T
        is_short: Bools = known & (end > came) & (read >= came) & (first_frame <= head) & (head <= last_frame)
        return is_short

    def forget(self, kept: Kept) -> None:
        """See :class:`netlens.parsers.lifecycle.Stateful`."""
        self._last, self._bodiless = kept.rows(self._last), kept.rows(self._bodiless)
        old, self._chunked, self._segments = self._chunked, {}, 0
        for session, answer in old.items():
            if (place := int(kept.place[session])) >= 0:
                self._chunked[place] = answer

    def merge(self, later: "AnswerEnds", place: Array, frame_offset: int, turned: Array) -> None:
        """Append what the part that follows knows of sessions that began in it.

        place : int64[n], the row of each of its sessions here, -1 of others.  turned : bool[n], those whose directions are the other way round here.
        """
        n = min(len(place), len(later._last))
        began = np.flatnonzero(place[:n] >= 0)
        self._reserve(int(place.max(initial=-1)) + 1)
        self._last[place[began]] = later._last[began] + [frame_offset, 0, 0]
        self._bodiless[place[began]] = later._bodiless[began]
        for session, answer in later._chunked.items():
            if session < n and place[session] >= 0:
                answer.frame += frame_offset
                answer.way ^= bool(turned[session])
                self._chunked[int(place[session])] = answer

    @property
    def nbytes(self) -> int:
        return self._last.nbytes + self._bodiless.nbytes
