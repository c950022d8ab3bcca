"""A stand-in for the provider: TLS, HTTP/1.1 keep-alive and HTTP/2, streamed answers as server-sent events, refusals as z.ai words them.

One thread per connection with blocking sockets, on purpose: such a server notices an abort only when a write fails, and until then the
request stays in flight. That is what makes zombies. What the server itself cannot see (when a FIN or RST arrived) is observed beside
it by epoll, which tells the journal and nobody else.

How long an answer takes is in the request (``lab``), so that the seed of the program decides and not the order of arrival.

Events of the journal: ``accept``, ``request`` (received in full: what others held, whether it was refused), ``answer`` (first byte sent),
``done`` (last byte sent, or the write that failed), ``fin_in``, ``reset``, ``fin_out``, ``lookup`` (see dns). A connection is over at
its reset, or when both FINs have passed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netlens.lab import dns
from netlens.lab.journal import Journal, be_prompt
from netlens.lab.rules import Counter, Overload, Rule

HIGH_CONCURRENCY = "1302"
# FIELD-NOTES of the provider's own pages: the code is a string, the status 429 for all of these.
MESSAGES = {
    HIGH_CONCURRENCY: "High concurrency usage of this API, please reduce concurrency or contact customer service to increase limits",
    "1305": "The service may be temporarily overloaded, please try again later",
}
IDLE_S = 75.0  #: a kept-alive connection without a request is closed after this; longer than any run, as the programs close first
LINGER_S = 5.0  #: how long to wait for the other side's FIN after ours before the socket is given up


@dataclass(frozen=True)
class Answer:
    """What a request asks the stand-in to do: wait, then send so many pieces with a gap between them."""

    wait_s: float = 0.1
    pieces: int = 3
    gap_s: float = 0.1
    piece_bytes: int = 120


@dataclass
class Settings:
    """Everything about a provider but its addresses."""

    rule: Rule = field(default_factory=Rule)
    seed: int = 0
    code: str = HIGH_CONCURRENCY
    refuses_in_stream: bool = False  # an error event inside a 200 stream instead of a 429
    http: str = "1.1"
    names: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """From the JSON of a scenario's [provider]."""
        overload = values.get("overload")
        rule = Rule(values["counts"], values["per"], values["limit"], Overload(**overload) if overload else None)
        return cls(rule, values["seed"], values["code"], values["refuses_in_stream"], values["http"], values["names"])


def error_body(code: str) -> bytes:
    """z.ai's error body."""
    return json.dumps({"error": {"code": code, "message": MESSAGES[code]}}).encode()


def event(text: str) -> bytes:
    """One server-sent event that carries a piece of an answer."""
    delta = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}
    return b"data: " + json.dumps(delta).encode() + b"\n\n"


class _Observer:
    """Writes down when FINs and RSTs arrive, without the serving threads knowing."""

    _WANTED = select.EPOLLRDHUP | select.EPOLLET

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._epoll = select.epoll()
        self._numbers: dict[int, int] = {}
        self._told: set[tuple[int, str]] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._loop, daemon=True).start()

    def add(self, fd: int, number: int) -> None:
        with self._lock:
            self._numbers[fd] = number
        self._epoll.register(fd, self._WANTED)

    def remove(self, fd: int) -> None:
        """Look a last time (the serving thread may have been quicker than ours) and forget it; call this before the descriptor is closed."""
        with contextlib.suppress(OSError):
            self._epoll.unregister(fd)
        last = select.poll()
        last.register(fd, select.POLLRDHUP)
        for _fd, events in last.poll(0):
            self._tell(fd, events)

    def _loop(self) -> None:
        while True:
            for fd, events in self._epoll.poll():
                self._tell(fd, events)

    def _tell(self, fd: int, events: int) -> None:
        # A reset shows as ERR; HUP alone is only "both directions are done". The numbers are the same for poll and epoll.
        kind = "reset" if events & select.EPOLLERR else "fin_in" if events & select.EPOLLRDHUP else None
        with self._lock:
            told = (self._numbers[fd], kind)
            if kind is None or told in self._told:
                return
            self._told.add(told)  # type: ignore[arg-type]
        self._journal.write(kind, connection=told[0])


class Provider:
    """Serves until its listeners are closed."""

    def __init__(self, settings: Settings, journal: Journal, certificate: Path, key: Path) -> None:
        self.settings = settings
        self.journal = journal
        self.counter = Counter(settings.rule, settings.seed)
        self._free = Counter(Rule())  # other sites count nothing
        self._observer = _Observer(journal)
        self._connections = itertools.count(1)
        self._requests = itertools.count(1)
        self._start_ns = time.time_ns()
        self._idle = threading.Condition()
        self._open = 0
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate, key)
        self._tls.set_alpn_protocols(["h2", "http/1.1"] if settings.http == "2" else ["http/1.1"])

    def listen(self, ip: str, port: int, counted: bool = True, plain: Callable[..., None] | None = None) -> socket.socket:
        """Accept on an address in a thread; ``counted`` by the rule, or another site; ``plain`` serves other than HTTPS."""
        listener = socket.create_server((ip, port), backlog=128)
        counter = self.counter if counted else self._free
        threading.Thread(target=self._accept, args=(listener, counter, plain), daemon=True).start()
        return listener

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no connection is open."""
        with self._idle:
            return self._idle.wait_for(lambda: self._open == 0, timeout_s)

    def _accept(self, listener: socket.socket, counter: Counter, plain: Callable[..., None] | None) -> None:
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            ns = time.time_ns()
            number = next(self._connections)
            open_now = counter.opened(number, peer[0])
            local = connection.getsockname()
            self.journal.write("accept", ns, connection=number, ip=peer[0], port=peer[1], to_ip=local[0], to_port=local[1], open=open_now)
            self._observer.add(connection.fileno(), number)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._idle:
                self._open += 1
            threading.Thread(target=self._connection, args=(connection, peer, number, counter, plain), daemon=True).start()

    def _connection(
        self, connection: socket.socket, peer: tuple[str, int], number: int, counter: Counter, plain: Callable[..., None] | None
    ) -> None:
        try:
            if plain:
                plain(connection, peer, self.settings.names, self.journal)
            else:
                connection.settimeout(IDLE_S)
                # The handshake is made by hand: when it fails inside wrap_socket, that closes the socket and we could not end in order.
                connection = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                connection.do_handshake()
                if connection.selected_alpn_protocol() == "h2":
                    from netlens.lab import h2_server

                    h2_server.serve(self, connection, peer, number, counter)
                else:
                    self._serve(connection, peer, number, counter)
        except OSError:
            pass  # resets, broken pipes, time-outs, clients that leave in mid-handshake: the journal has what arrived
        finally:
            self._finish(connection, number)
            counter.closed(number)
            with self._idle:
                self._open -= 1
                self._idle.notify_all()

    def _finish(self, connection: socket.socket, number: int) -> None:
        """Close in order: our FIN, then what the other side still has to say until its FIN, so that close sends no reset."""
        raw = socket.socket(fileno=connection.detach())
        with contextlib.suppress(OSError):
            raw.shutdown(socket.SHUT_WR)
            self.journal.write("fin_out", connection=number)
            raw.settimeout(LINGER_S)
            while raw.recv(65536):
                pass
        self._observer.remove(raw.fileno())
        raw.close()

    def _serve(self, connection: socket.socket, peer: tuple[str, int], number: int, counter: Counter) -> None:
        stream = connection.makefile("rb")
        while True:
            line = stream.readline()
            if not line:
                return
            first_ns = time.time_ns()
            headers: dict[str, str] = {}
            while (header := stream.readline()) not in (b"\r\n", b""):
                name, _, value = header.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            body = stream.read(int(headers.get("content-length", "0")))
            exchange = Exchange(self, connection, peer, number, counter, headers.get("authorization", ""), body, first_ns)
            if not exchange.answer_http1() or headers.get("connection", "").lower() == "close":
                return

    def ask(self, connection: int, counter: Counter, ip: str, key: str) -> tuple[int, Any]:
        """Number a request and decide it."""
        request = next(self._requests)
        return request, counter.ask(request, connection, ip, key, (time.time_ns() - self._start_ns) / 1e9)


class Exchange:
    """One request and its answer."""

    def __init__(
        self,
        provider: Provider,
        connection: socket.socket,
        peer: tuple[str, int],
        number: int,
        counter: Counter,
        authorization: str,
        body: bytes,
        first_ns: int,
    ) -> None:
        self._provider, self._socket, self._counter = provider, connection, counter
        received_ns = time.time_ns()
        wish = dict(json.loads(body).get("lab", {})) if body else {}
        name = wish.pop("request", None)  # the program's own number for it
        self.answer = Answer(**wish)
        key = authorization.removeprefix("Bearer ")
        self.request, self.decision = provider.ask(number, counter, peer[0], key)
        self._common = {"connection": number, "request": self.request}
        in_flight, open_now = counter.held()
        provider.journal.write(
            "request",
            received_ns,
            **self._common,
            name=name,
            key=key,
            first_ns=first_ns,
            others=self.decision.others,
            refused=self.decision.refused,
            in_flight=in_flight,
            open=open_now,
        )

    def pieces(self) -> list[bytes]:
        """The events of the answer; a refusal inside the stream has one that says so, and looks like the others from outside."""
        if self.decision.refused and self._provider.settings.refuses_in_stream:
            refusal = b"data: " + error_body(self._provider.settings.code) + b"\n\n"
            return [*[event("." * self.answer.piece_bytes)] * (self.answer.pieces - 1), refusal]
        return [*[event("." * self.answer.piece_bytes)] * self.answer.pieces, b"data: [DONE]\n\n"]

    @property
    def refused_plainly(self) -> bool:
        return self.decision.refused is not None and not self._provider.settings.refuses_in_stream

    def refusal(self) -> bytes:
        """The body of a plain refusal."""
        return error_body(self._provider.settings.code)

    def answer_http1(self) -> bool:
        """Send the answer; False if the connection is of no use any more."""
        status = 429 if self.refused_plainly else 200
        try:
            if self.refused_plainly:
                body = self.refusal()
                head = f"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                last_ns = self.began()
                self._socket.sendall(head.encode() + body)
            else:
                last_ns = self._stream(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        except OSError:
            self.finish(status, "write failed")
            return False
        self.finish(status, "complete", last_ns)
        return True

    def _stream(self, head: bytes) -> int:
        time.sleep(self.answer.wait_s)
        for number, piece in enumerate(self.pieces()):
            if number:
                time.sleep(self.answer.gap_s)
            else:
                self.began()
            self._socket.sendall((b"" if number else head) + b"%x\r\n%s\r\n" % (len(piece), piece))
        last_ns = self.release()
        self._socket.sendall(b"0\r\n\r\n")
        return last_ns

    def began(self) -> int:
        """The first byte of the answer is about to be sent."""
        return self._provider.journal.write("answer", **self._common)

    def release(self) -> int:
        """Give the place back. Before the last byte, or a program that is quick to ask again would find its own place still taken."""
        self._counter.done(self.request)
        return time.time_ns()

    def finish(self, status: int, how: str, last_ns: int | None = None) -> None:
        """Give the place back if it is still held, and write down how the answer ended; ``last_ns``: just before its last byte was sent."""
        ns = time.time_ns()
        self._counter.done(self.request)
        self._provider.journal.write("done", ns, **self._common, status=status, how=how, last_ns=last_ns or ns)


def main() -> None:
    """``python -m netlens.lab.provider CONFIG.json``: says "ready" when it listens; "drain SECONDS" on standard input is answered when idle."""
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    be_prompt()
    journal = Journal(Path(config["journal"]))
    settings = Settings.of(config["provider"])
    provider = Provider(settings, journal, Path(config["certificate"]), Path(config["key"]))
    provider.listen(config["ip"], 443)
    provider.listen(config["ip"], 53, plain=dns.converse)
    provider.listen(config["other_ip"], 443, counted=False)
    provider.listen(config["nameserver_ip"], 53, counted=False, plain=dns.converse)
    dns.serve_udp(config["nameserver_ip"], settings.names, journal)
    dns.serve_udp(config["ip"], settings.names, journal)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        word, _, seconds = line.partition(" ")
        if word.strip() == "drain":
            sys.stdout.write("idle\n" if provider.wait_idle(float(seconds)) else "busy\n")
            sys.stdout.flush()
        else:
            break
    journal.close()


if __name__ == "__main__":
    main()
