"""Answers of HTTP/1.1 in clear that come in chunks (RFC 9112 7.1): whether the last chunk came, and whether each size is a number.

Limits: of the first :data:`MAX_ANSWERS` answers and :data:`MAX_SEGMENTS` segments; not behind a gap, nor behind what the snapshot length cut off of a size.
"""

from __future__ import annotations

import re

import numpy as np

from netlens.columns import Array
from netlens.parsers.lifecycle import LEAST_ROWS, grown
from netlens.wire import columns as c

MAX_ANSWERS, MAX_SEGMENTS = 50_000, 500_000
MAX_SIZE, MAX_TRAILER = 1024, 16_384  #: bytes of a line with a size and its extensions, and of one behind the last chunk
_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?\r?\n\Z")
#: How an error begins that stands within a stream of events, of OpenAI, Anthropic, Google and those like them; in text that a model writes it is escaped
_ERROR = re.compile(rb'^event:[ \t]*error|"error"[ \t]*:[ \t]*[{"]|"type"[ \t]*:[ \t]*"error"', re.MULTILINE)
#: How such a stream ends that came to its end: OpenAI's completions and responses, Anthropic's messages, Google's
_FINISHED = re.compile(rb'^data:[ \t]*\[DONE\]|message_stop|response\.completed|"finish_?[rR]eason"[ \t]*:[ \t]*"[A-Za-z]', re.MULTILINE)
ERROR_BYTES = 64  #: of one piece that are looked at again with the next
_RETRY = re.compile(rb"^retry:", re.MULTILINE)
SIZE, DATA, BEHIND, TRAILER, DONE, BAD, UNKNOWN = range(7)  #: what comes next, or how it ended


class Chunked:
    """An answer.  frame : of its head.  start, at : offsets in its stream of its body, and of what comes next.
    events : of those that are made while it is sent, and has an end.  feed : events that need have no end.
    resumes : such whose client goes on where they stopped (HTML Living Standard 9.2): they say when it should ask again (retry), or it says which event was
    its last.  failed : an error stands in events.  finished : a model came to its end.  bad_frame : of a size that is no number, 0 without."""

    __slots__ = (
        "at",
        "bad_frame",
        "events",
        "failed",
        "feed",
        "finished",
        "frame",
        "left",
        "line",
        "resumes",
        "session",
        "start",
        "state",
        "tail",
        "way",
    )

    def __init__(self, session: int, way: int, frame: int, at: int, events: bool = False, feed: bool = False) -> None:
        self.session, self.way, self.frame, self.start, self.at, self.events, self.feed = session, way, frame, at, at, events, feed
        self.state, self.left, self.line, self.bad_frame, self.resumes = SIZE, 0, b"", 0, False
        self.failed, self.finished, self.tail = False, False, b""

    @property
    def over(self) -> bool:
        """Whether nothing more is read of it."""
        return self.state >= DONE

    def add(self, offset: int, length: int, payload: bytes, frame: int) -> None:
        """Take a segment; ``payload`` is what was captured of its ``length`` bytes."""
        p = self.at - offset
        if p < 0 and not self.over:
            self.state = UNKNOWN
        while 0 <= p < length and not self.over:
            if self.state == DATA:
                step = min(self.left, length - p)
                self.resumes |= self.feed and _RETRY.search(payload, p, p + step) is not None
                if self.events and not self.failed:
                    self._look_into(payload[p : p + step], step)
                self.left -= step
                p += step
                self.state = DATA if self.left else BEHIND
            elif p >= len(payload):
                self.state = UNKNOWN
            else:
                end = payload.find(b"\n", p) + 1 or len(payload)
                self.line += payload[p:end]
                p = end
                self._take_line(frame)
            self.at = offset + p

    def _look_into(self, piece: bytes, length: int) -> None:
        """Of what was not captured nobody knows."""
        text = self.tail + piece
        self.failed = len(piece) < length or _ERROR.search(text) is not None
        self.finished |= _FINISHED.search(text) is not None
        self.tail = text[-ERROR_BYTES:]

    def _take_line(self, frame: int) -> None:
        line, self.line = self.line, b""
        if not line.endswith(b"\n"):
            self.line = line
            if len(line) > (MAX_TRAILER if self.state == TRAILER else MAX_SIZE):
                self.state = UNKNOWN
        elif self.state == TRAILER:
            self.state = TRAILER if line.strip() else DONE
        elif self.state == BEHIND and not line.strip():
            self.state = SIZE
        elif self.state == SIZE and (found := _SIZE.match(line)) is not None:
            self.left = int(found[1], 16)
            self.state = DATA if self.left else TRAILER
        else:
            self.state, self.bad_frame = BAD, frame


class ChunkBuilder:
    """Told of answers that begin, and then fed with the packets among which they began, and with those behind."""

    def __init__(self) -> None:
        self.answers: list[Chunked] = []
        self._open: dict[int, list[Chunked]] = {}  # by session, in order
        self._followed = np.zeros(LEAST_ROWS, bool)
        self._segments = 0

    def begin(self, row: list[int], at: int, events: bool = False, feed: bool = False, resumes: bool = False) -> None:
        """An answer whose head is in a packet row; its body begins at an offset of its stream."""
        if len(self.answers) >= MAX_ANSWERS or self._segments >= MAX_SEGMENTS:
            return
        session = row[c.SESSION]
        if session >= len(self._followed):
            self._followed = grown(self._followed, session + 1)
        self._followed[session] = True
        made = Chunked(session, row[c.DIRECTION], row[c.FRAME], at, events, feed)
        made.resumes = resumes
        self.answers.append(made)
        self._open.setdefault(session, []).append(made)

    def feed(self, buf: Array, packets: Array) -> None:
        """Rows of decoded packets whose sessions are known."""
        if not self._open:
            return
        number = packets[:, c.SESSION]
        wanted = (number >= 0) & (number < len(self._followed)) & (packets[:, c.FRESH] > 0)
        wanted &= self._followed[np.clip(number, 0, len(self._followed) - 1)]
        rows = packets[wanted][:, [c.SESSION, c.DIRECTION, c.OFFSET, c.LENGTH, c.PAY_OFF, c.PAY_CAP, c.FRAME]]
        self._segments += len(rows)
        for session, way, offset, length, start, held, frame in rows.tolist():
            self._take(session, way, offset, length, buf[start : start + held].tobytes(), frame)

    def _take(self, session: int, way: int, offset: int, length: int, payload: bytes, frame: int) -> None:
        waiting = self._open.get(session, [])
        while waiting and waiting[0].way == way:
            current = waiting[0]
            current.add(offset, length, payload, frame)
            if len(waiting) > 1 and not current.over and current.at > waiting[1].at:
                current.state = UNKNOWN
            if not current.over:
                return
            waiting.pop(0)
        if not waiting:
            self._open.pop(session, None)
            self._followed[session] = False
