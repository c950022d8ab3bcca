"""One request and its answer: decided when it is received, written down as it goes."""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netlens.lab.provider.apis import Api, apis, zai
from netlens.lab.provider.limiters import settings_of
from netlens.lab.provider.real import Answer, Answers, Asked, last_events

if TYPE_CHECKING:
    from netlens.lab.journal import Journal
    from netlens.lab.provider.admission import Admission
    from netlens.lab.provider.dns import Names


REASONS = {429: "Too Many Requests", 503: "Service Unavailable", 529: "Site Overloaded"}


@dataclass(frozen=True)
class Refusal:
    """A plain refusal: status, headers besides the length, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Settings:
    """Everything about a provider but its addresses. ``limits``: by the id of their limiter.

    codes : those of limits that say another than ``code``.  retry_after_s : told in headers, and in words where the API does so.
    """

    limits: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    code: str = zai.HIGH_CONCURRENCY
    refuses_in_stream: bool = False  # an error event inside a 200 stream instead of a 429
    http: str = "1.1"
    names: Names = field(default_factory=dict)
    api: str = zai.ID
    codes: Mapping[str, str] = field(default_factory=dict)
    retry_after_s: float | None = None
    answers: Answers = field(default_factory=Answers)  # to programs that do not say what they want

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """From the JSON of a scenario's [provider]."""
        plain = ("seed", "code", "refuses_in_stream", "http", "names", "api", "codes", "retry_after_s")
        return cls(settings_of(values), **{name: values[name] for name in plain}, answers=Answers.of(values.get("answers") or {}))

    def refusal(self, limiter: str | None) -> Refusal:
        """What is answered when a limit refuses."""
        api: Api = apis()[self.api]
        code = self.codes.get(limiter or "", self.code)
        error, number = api.ERRORS[code], getattr(self.limits.get(limiter or ""), "limit", 0)
        message = error.message.format(limit=number, after=f"{self.retry_after_s or 1:g}")
        return Refusal(error.status, api.headers(self.limits, self.retry_after_s), api.error_body(code, message))


@dataclass
class Service:
    """What all connections share."""

    settings: Settings
    journal: Journal
    start_ns: int = field(default_factory=time.time_ns)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))  # of requests

    def since_s(self) -> float:
        return (time.time_ns() - self.start_ns) / 1e9


@dataclass
class Connection:
    """An accepted connection, and who decides its requests."""

    service: Service
    admission: Admission
    socket: socket.socket
    number: int
    ip: str


class Exchange:
    """``body``, ``headers``: of the request, which is received in full now; ``first_ns``: when its first byte came.

    The stand-in program numbers its requests itself. Those of a real one are named by their key, which begins with its side, and the number here.
    """

    def __init__(self, connection: Connection, headers: Mapping[str, str], body: bytes, first_ns: int) -> None:
        received_ns = time.time_ns()
        self._connection, self._journal, self._settings = connection, connection.service.journal, connection.service.settings
        asked = json.loads(body) if body else {}
        key = headers.get("authorization", headers.get("x-api-key", "")).removeprefix("Bearer ")
        model = str(asked.get("model", ""))
        self._number = next(connection.service.numbers)
        self.asked: Asked | None = None
        more: dict[str, Any] = {}
        name = headers.get("x-lab-request")
        if name is None and "messages" in asked and "lab" not in asked:
            self.asked = Asked.of(asked, headers.get("x-session-id", ""))
            self.answer = self._settings.answers.draw(self.asked, f"{self._settings.seed} {self._number}")
            name = f"{key}-{self._number}"
            more = {"kind": self.asked.kind, "session": self.asked.session, "results": self.asked.results}
        else:
            wish = dict(asked.get("lab", {}))
            name = name or wish.pop("request", None)  # the program's own number for it
            self.answer = Answer(**wish)
        decision = connection.admission.ask(
            self._number, connection.number, connection.ip, key, connection.service.since_s(), model=model, size=len(body), side=str(name).partition("-")[0],
        )  # fmt: skip
        in_flight, open_now = connection.admission.held()
        self._refused = decision.refused
        self._names = {"connection": connection.number, "request": self._number}
        self._journal.write(
            "request", received_ns, **self._names, name=name, key=key, first_ns=first_ns, others=decision.others, refused=decision.refused,
            limit=decision.limit, alone=decision.alone, model=model, size=len(body), in_flight=in_flight, open=open_now, **more,
        )  # fmt: skip

    @property
    def refused_plainly(self) -> bool:
        """With a status of its own, not inside a stream."""
        return self._refused is not None and not self._settings.refuses_in_stream

    def refusal(self) -> Refusal:
        return self._settings.refusal(self._refused)

    def pieces(self) -> list[bytes]:
        """The events of the answer; a refusal inside the stream has one that says so, and looks like the others from outside."""
        pieces = apis()[self._settings.api].events(["." * self.answer.piece_bytes] * self.answer.pieces)
        if self._refused and self._settings.refuses_in_stream:
            return [*pieces[: self.answer.pieces - 1], b"data: " + self.refusal().body + b"\n\n"]
        return [*pieces[:-1], *last_events(self.answer, self._number), pieces[-1]] if self.asked else pieces

    def answer_http1(self) -> bool:
        """Send the answer; False if the connection is of no use any more."""
        refusal = self.refusal() if self.refused_plainly else None
        status = refusal.status if refusal else 200
        try:
            if refusal:
                fields = {"Content-Type": "application/json", "Content-Length": str(len(refusal.body)), **refusal.headers}
                lines = [f"HTTP/1.1 {status} {REASONS.get(status, '')}", *(f"{name}: {value}" for name, value in fields.items())]
                last_ns = self.began()
                self._connection.socket.sendall("\r\n".join([*lines, "", ""]).encode() + refusal.body)
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
        self._connection.admission.done(self._number, self._connection.service.since_s())
        return time.time_ns()

    def finish(self, status: int, how: str, last_ns: int | None = None) -> None:
        """Give the place back if it is still held, and write down how the answer ended; ``last_ns``: just before its last byte was sent."""
        ns = self.release()
        self._journal.write("done", ns, **self._names, status=status, how=how, last_ns=last_ns or ns)
