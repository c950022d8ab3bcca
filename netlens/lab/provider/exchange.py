"""One request and its answer: decided when it is received, written down as it goes."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netlens.lab.provider.api import DONE, HIGH_CONCURRENCY, Answer, Answers, Asked, Refused, event, last_events
from netlens.lab.provider.limiters import settings_of

if TYPE_CHECKING:
    from netlens.lab.journal import Journal
    from netlens.lab.provider.admission import Admission


@dataclass
class Settings:
    """Everything about a provider but its addresses. ``limits``: by the id of their limiter.  ``answers``: to programs that do not say what they want."""

    limits: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    refused: Refused = field(default_factory=lambda: Refused(HIGH_CONCURRENCY))
    answers: Answers = field(default_factory=Answers)
    refuses_in_stream: bool = False  # an error event inside a 200 stream instead of a 429
    http: str = "1.1"
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """From the JSON of a scenario's [provider]."""
        refused = Refused(values["code"], values.get("wording", "old"), values.get("retry_after_s"))
        answers = Answers.of(values.get("answers") or {})
        return cls(settings_of(values), values["seed"], refused, answers, values["refuses_in_stream"], values["http"], values["names"])


@dataclass
class Service:
    """What all connections share."""

    settings: Settings
    journal: Journal
    start_ns: int = field(default_factory=time.time_ns)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))  # of requests


@dataclass
class Connection:
    """An accepted connection, and who decides its requests."""

    service: Service
    admission: Admission
    socket: socket.socket
    number: int
    ip: str


class Exchange:
    """``headers``, ``body``: of the request, which is received in full now; ``first_ns``: when its first byte came.

    The stand-in program numbers its requests itself. Those of a real one are named by their key, which begins with its side, and the number here.
    """

    def __init__(self, connection: Connection, headers: Mapping[str, str], body: bytes, first_ns: int) -> None:
        received_ns = time.time_ns()
        self._connection, self._journal, self._settings = connection, connection.service.journal, connection.service.settings
        key = headers.get("authorization", "").removeprefix("Bearer ")
        self._number = next(connection.service.numbers)
        content = json.loads(body) if body else {}
        self.asked: Asked | None = None
        more: dict[str, Any] = {}
        if "messages" in content and "lab" not in content:
            self.asked = Asked.of(content, headers.get("x-session-id", ""))
            self.answer = self._settings.answers.draw(self.asked, f"{self._settings.seed} {self._number}")
            name = f"{key}-{self._number}"
            more = {"kind": self.asked.kind, "model": self.asked.model, "bytes": len(body), "session": self.asked.session}
            more["results"] = self.asked.results
        else:
            wish = dict(content.get("lab", {}))
            name = wish.pop("request", None)
            self.answer = Answer(**wish)
        since_s = (time.time_ns() - connection.service.start_ns) / 1e9
        decision = connection.admission.ask(self._number, connection.number, connection.ip, key, since_s)
        in_flight, open_now = connection.admission.held()
        self._refused = decision.refused is not None
        self._names = {"connection": connection.number, "request": self._number}
        about = {"name": name, "key": key, "first_ns": first_ns, "others": decision.others, "refused": decision.refused}
        self._journal.write("request", received_ns, **self._names, **about, in_flight=in_flight, open=open_now, **more)

    @property
    def refused_plainly(self) -> bool:
        """With a status of its own, not inside a stream."""
        return self._refused and not self._settings.refuses_in_stream

    def refusal(self) -> bytes:
        """The body of a plain refusal."""
        return self._settings.refused.body

    def pieces(self) -> list[bytes]:
        """The events of the answer; a refusal inside the stream has one that says so, and looks like the others from outside."""
        piece, count = event("." * self.answer.piece_bytes), self.answer.pieces
        if self._refused and self._settings.refuses_in_stream:
            return [*[piece] * (count - 1), b"data: " + self.refusal() + b"\n\n"]
        return [*[piece] * count, *(last_events(self.answer, self._number) if self.asked else ()), DONE]

    def answer_http1(self) -> bool:
        """Send the answer; False if the connection is of no use any more."""
        status = 429 if self.refused_plainly else 200
        try:
            if self.refused_plainly:
                last_ns = self.began()
                self._connection.socket.sendall(self._settings.refused.http1())
            else:
                last_ns = self._stream(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        except OSError:
            self.finish(status, "write failed")
            return False
        self.finish(status, "complete", last_ns)
        return True

    def _stream(self, head: bytes) -> int:
        time.sleep(self.answer.wait_s)
        paced = self.answer.pieces + 1  # what ends an answer follows its last words at once
        for number, piece in enumerate(self.pieces()):
            if number:
                time.sleep(self.answer.gap_s if number < paced else 0)
            else:
                self.began()
            self._connection.socket.sendall((b"" if number else head) + b"%x\r\n%s\r\n" % (len(piece), piece))
        last_ns = self.release()
        self._connection.socket.sendall(b"0\r\n\r\n")
        return last_ns

    def began(self) -> int:
        """The first byte of the answer is about to be sent."""
        return self._journal.write("answer", **self._names)

    def release(self) -> int:
        """Give the place back. Before the last byte, or a program that is quick to ask again would find its own place still taken."""
        self._connection.admission.done(self._number)
        return time.time_ns()

    def finish(self, status: int, how: str, last_ns: int | None = None) -> None:
        """Give the place back if it is still held, and write down how the answer ended; ``last_ns``: just before its last byte was sent."""
        ns = self.release()
        self._journal.write("done", ns, **self._names, status=status, how=how, last_ns=last_ns or ns)
