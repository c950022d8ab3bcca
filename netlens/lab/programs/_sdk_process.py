"""The process of a side's programs that use an SDK: ``python -m netlens.lab.programs._sdk_process CONFIG.json``.

Says "ready", starts at a line on standard input, ends by itself. Its log has what the SDK raised in the end; its journal has every attempt, as
the SDK's own HTTP client made it, with nanoseconds.
"""

from __future__ import annotations

import importlib
import itertools
import json
import random
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from netlens.lab.clock import Skew
from netlens.lab.journal import Journal, LineFile, be_prompt
from netlens.lab.programs._process import later, serve, work
from netlens.lab.programs.sdk import Behaviour
from netlens.lab.provider.apis import error_in

KEEP_S = 5.0  #: an idle connection is kept that long, as httpx does by default
AFTER_FAILURE_S = 1.0
LOOKED_UP = threading.local()  #: when a thread's last look-up was over, after which it connects


@cache
def http_library() -> Any:
    """The library that the SDKs speak HTTP with: httpx2, or httpx before 2026."""
    try:
        return importlib.import_module("httpx2")
    except ModuleNotFoundError:
        return importlib.import_module("httpx")


class Client:
    """The HTTP client that an SDK is given: httpx's own, whose attempts are written down."""

    def __init__(self, side: str, journal: Journal, certificate: str) -> None:
        httpx: Any = http_library()
        self._journal, self._side = journal, side
        self._numbers = itertools.count(1)
        self._connections: dict[int, str] = {}  # by local port
        context = ssl.create_default_context(cafile=certificate)
        context.set_alpn_protocols(["http/1.1"])
        self._inner = httpx.HTTPTransport(verify=context, limits=httpx.Limits(keepalive_expiry=KEEP_S))
        told = self

        class Transport(httpx.BaseTransport):  # type: ignore[misc]
            def handle_request(self, request: Any) -> Any:
                return told.attempt(request)

            def close(self) -> None:
                told._inner.close()

        self.http = httpx.Client(transport=Transport(), timeout=120.0)

    def name(self) -> str:
        """A new name, for a connection or a request."""
        return f"{self._side}-{next(self._numbers)}"

    def attempt(self, request: Any) -> Any:
        name, times = self.name(), dict[str, int]()

        def trace(event: str, info: Mapping[str, Any]) -> None:
            times[event] = time.time_ns()
            if event == "connection.connect_tcp.complete":
                local, peer = (info["return_value"].get_extra_info(end) for end in ("client_addr", "server_addr"))
                self._connections[local[1]] = connection = self.name()
                began = max(times["connection.connect_tcp.started"], getattr(LOOKED_UP, "ns", 0))
                self._journal.write(
                    "connect", began, connection=connection, port=local[1], ip=peer[0], to_port=peer[1], site=request.url.host
                )

        request.headers["x-lab-request"] = name
        request.extensions = {**request.extensions, "trace": trace}
        response = self._inner.handle_request(request)
        port = response.extensions["network_stream"].get_extra_info("client_addr")[1]
        about: dict[str, Any] = {"connection": self._connections[port], "request": name}
        sent_ns = times["http11.send_request_body.complete"]
        self._journal.write("request", times["http11.send_request_headers.started"], **about, sent_ns=sent_ns)
        self._journal.write("answer", **about, status=response.status_code)
        stream = _told(response, lambda refused, how: self._journal.write(
            "done", **about, status=response.status_code, refused=refused, how=how))  # fmt: skip
        return http_library().Response(response.status_code, headers=response.headers, stream=stream, extensions=response.extensions)


def _told(response: Any, done: Callable[[str | None, str], object]) -> Any:
    """The body of an answer; ``done`` is told the code of a refusal, and how it ended."""

    class Stream(http_library().SyncByteStream):  # type: ignore[misc]
        ended = False

        def __iter__(self) -> Iterator[bytes]:
            found: tuple[str, str] | None = None
            body = b""
            for piece in response.stream:
                body = body + piece if response.status_code >= 400 else b""
                yield piece
            if body:
                found = error_in(body)
            self._end(found[0] if found else None, "complete")

        def close(self) -> None:
            self._end(str(response.status_code) if response.status_code >= 400 else None, "broken off")
            response.stream.close()

        def _end(self, refused: str | None, how: str) -> None:
            if not self.ended:
                self.ended = True
                done(refused, how)

    return Stream()


class Programs:
    """All programs of one side; they share the log."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.side, self.seed = str(config["side"]), int(config["seed"])
        self.behaviours = [Behaviour.of(each) for each in config["programs"]]
        self.skew = Skew(**config["skew"])
        self.log = LineFile(Path(config["log"]))
        self.journal = Journal(Path(config["journal"]))
        self.certificate = str(config["certificate"])
        self.deadline = threading.Event()
        self._note_lookups({each.site for each in self.behaviours})

    def run(self, seconds: float) -> None:
        """Run all workers, until ``seconds`` are over and what was begun is finished."""
        clients = [Client(self.side, self.journal, self.certificate) for _ in self.behaviours]
        threads = [
            threading.Thread(target=self._worker, args=(behaviour, client, f"{self.side} {number} {worker}"))
            for number, (behaviour, client) in enumerate(zip(self.behaviours, clients, strict=True))
            for worker in range(behaviour.workers)
        ]
        later(seconds, self.deadline.set)
        work(threads)
        for client in clients:
            client.http.close()
        self.log.close()
        self.journal.close()

    def _worker(self, behaviour: Behaviour, client: Client, name: str) -> None:
        rng = random.Random(f"{self.seed} {name}")
        ask = asker(behaviour, client)
        while not self.deadline.wait(rng.uniform(*behaviour.think_s)):
            wish = {"wait_s": rng.uniform(*behaviour.wait_s), "pieces": rng.randint(*behaviour.pieces), "gap_s": behaviour.gap_s}
            wish["piece_bytes"] = rng.randint(*behaviour.piece_bytes)
            try:
                ask("x" * rng.randint(*behaviour.prompt_bytes), wish)
            except Exception as error:  # noqa: BLE001  # whatever an SDK raises goes into the log, as a program would write it
                self._note(f"{type(error).__name__}: {error}")
                self.deadline.wait(AFTER_FAILURE_S)

    def _note(self, text: str) -> None:
        ms = self.skew.shown(time.time_ns()) // 1_000_000
        when = datetime.fromtimestamp(ms // 1000, UTC)
        self.log.write(f"{when:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z ERROR {' '.join(text.split())}")

    def _note_lookups(self, sites: set[str]) -> None:
        """The SDK's client looks names up by itself; the journal has it."""
        plain = socket.getaddrinfo

        def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
            ns = time.time_ns()
            found = plain(host, *arguments, **options)
            LOOKED_UP.ns = time.time_ns()
            if host in sites:
                self.journal.write("lookup", ns, name=host, transport="udp")
            return found

        socket.getaddrinfo = getaddrinfo


def asker(behaviour: Behaviour, client: Client) -> Callable[[str, Mapping[str, Any]], None]:
    """A function that asks the provider through the SDK, and reads the whole answer."""
    about: dict[str, Any] = {"api_key": behaviour.key, "http_client": client.http, "max_retries": behaviour.max_retries}
    package = importlib.import_module(behaviour.package)
    more: dict[str, Any] = {}
    if behaviour.package == "openai":
        create = package.OpenAI(base_url=f"https://{behaviour.site}/v1", **about).chat.completions.create
    else:
        create, more = package.Anthropic(base_url=f"https://{behaviour.site}", **about).messages.create, {"max_tokens": 1000}

    def ask(prompt: str, wish: Mapping[str, Any]) -> None:
        messages: Any = [{"role": "user", "content": prompt}]
        for _ in create(model=behaviour.model, messages=messages, stream=True, extra_body={"lab": wish}, **more):
            pass

    return ask


def main() -> None:
    config = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if config["packages"]:
        sys.path.append(config["packages"])
    be_prompt()
    programs = Programs(config)
    for behaviour in programs.behaviours:
        importlib.import_module(behaviour.package)  # takes seconds, which are not to be part of the run
    socket.getaddrinfo("localhost", 443)
    serve(programs.deadline, lambda: programs.run(float(config["seconds"])))


if __name__ == "__main__":
    main()
