"""The provider's stand-in on loopback: real sockets, real TLS."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from netlens.lab import journal
from netlens.lab.journal import Journal
from netlens.lab.programs._connections import answer, pieces, send
from netlens.lab.programs._http2 import SharedConnection
from netlens.lab.provider import certificate
from netlens.lab.provider.exchange import Settings
from netlens.lab.provider.limiters.concurrency import Settings as Concurrency
from netlens.lab.provider.server import Provider

NAME = "api.z.ai"
IP = "127.0.0.1"


class Client:
    """One connection of a test."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()


class Stand:
    """A provider and what it wrote down."""

    def __init__(self, folder: Path, settings: Settings, files: tuple[Path, Path]) -> None:
        self.path = folder / "provider.jsonl"
        self.provider = Provider(settings, Journal(self.path), *files)
        self.listener = self.provider.listen(IP, 0)
        self.port: int = self.listener.getsockname()[1]
        self.tls = ssl.create_default_context(cafile=str(files[0]))
        self.tls.set_alpn_protocols(["h2", "http/1.1"])

    def connect(self) -> Client:
        return Client(self.tls.wrap_socket(socket.create_connection((IP, self.port)), server_hostname=NAME))

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.written() if event["event"] == kind]

    def written(self) -> list[dict[str, Any]]:
        self.provider.journal.flush()
        return list(journal.read(self.path))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate.write(tmp_path_factory.mktemp("certificate"), [NAME])


@pytest.fixture
def stand(tmp_path: Path, files: tuple[Path, Path]) -> Iterator[Callable[..., Stand]]:
    made: list[Stand] = []

    def make(concurrency: Concurrency | None = None, **settings: Any) -> Stand:
        made.append(Stand(tmp_path, Settings({"concurrency": concurrency} if concurrency else {}, **settings), files))
        return made[-1]

    yield make
    for each in made:
        each.listener.close()


def ask(client: Client, key: str = "k", **wish: Any) -> HTTPResponse:
    """Send a request; returns when the head of the answer is there."""
    wish = {"wait_s": 0, "pieces": 2, "gap_s": 0, **wish}
    send(client.sock, "/v4/chat", NAME, key, json.dumps({"lab": wish}).encode())
    return answer(client.sock)


def test_answers_are_streamed_as_events_and_the_connection_is_kept(stand: Callable[..., Stand]) -> None:
    there = stand()
    with there.connect() as client:
        for _ in range(2):
            response = ask(client, pieces=3, piece_bytes=10)
            assert response.status == 200
            assert response.headers["content-type"] == "text/event-stream"
            events = list(pieces(response))
            assert events[-1] == b"data: [DONE]\n\n"
            content = [json.loads(event.removeprefix(b"data: "))["choices"][0]["delta"]["content"] for event in events[:-1]]
            assert content == ["." * 10] * 3
    assert there.provider.wait_idle(10)
    assert len(there.events("accept")) == 1
    assert [event["how"] for event in there.events("done")] == ["complete"] * 2


def test_the_limit_refuses_with_the_providers_own_words(stand: Callable[..., Stand]) -> None:
    there = stand(Concurrency("requests", "ip", 1))
    with there.connect() as busy, there.connect() as other:
        first = ask(busy, pieces=2, gap_s=0.2)
        refused = ask(other)
        assert refused.status == 429
        error = json.loads(next(iter(pieces(refused))))["error"]
        assert error["code"] == "1302"
        assert error["message"].startswith("High concurrency usage of this API, please reduce concurrency")
        assert len(list(pieces(first))) == 3
        again = ask(other)
        assert again.status == 200, "a kept-alive connection serves after a refusal, and the place is free again"
        list(pieces(again))
    assert there.provider.wait_idle(10)
    assert [(event["refused"], len(event["others"])) for event in there.events("request")] == [(None, 0), ("concurrency", 1), (None, 0)]


def test_keys_are_counted_apart(stand: Callable[..., Stand]) -> None:
    there = stand(Concurrency("requests", "key", 1))
    with there.connect() as one, there.connect() as two, there.connect() as three:
        first = ask(one, "a", gap_s=0.2)
        assert [ask(two, "b").status, ask(three, "a").status] == [200, 429]
        list(pieces(first))


def test_open_connections_count_without_any_request(stand: Callable[..., Stand]) -> None:
    there = stand(Concurrency("connections", "ip", 2))
    with there.connect() as one, there.connect(), there.connect() as idle:
        refused = ask(one)
        assert refused.status == 429
        assert b"1302" in b"".join(pieces(refused))
        idle.close()
        while there.provider.admission.held()[1] > 2:
            time.sleep(0.001)
        response = ask(one)
        assert response.status == 200
        list(pieces(response))


def test_a_refusal_in_the_stream_looks_like_an_answer(stand: Callable[..., Stand]) -> None:
    there = stand(Concurrency("requests", "ip", 1), refuses_in_stream=True)
    with there.connect() as busy, there.connect() as other:
        first = ask(busy, gap_s=0.2)
        response = ask(other, pieces=3)
        assert response.status == 200
        events = list(pieces(response))
        assert len(events) == 3
        assert json.loads(events[-1].removeprefix(b"data: "))["error"]["code"] == "1302"
        list(pieces(first))


def test_an_abort_is_noticed_when_a_write_fails(stand: Callable[..., Stand]) -> None:
    there = stand()
    client = there.connect()
    ask(client, pieces=500, gap_s=0.01)
    client.close()
    assert there.provider.wait_idle(10)
    assert there.events("done")[0]["how"] == "write failed"
    ends = {event["event"]: event["ns"] for event in there.written()}
    assert min(ends[kind] for kind in ("fin_in", "reset") if kind in ends) <= ends["done"], "observed before the server noticed"


def test_a_connection_without_handshake_is_counted_until_it_ends(stand: Callable[..., Stand]) -> None:
    there = stand(Concurrency("connections", "ip", 1))
    silent = socket.create_connection((IP, there.port))
    with there.connect() as client:
        refused = ask(client)
        assert refused.status == 429
        list(pieces(refused))
        silent.close()
        while there.provider.admission.held()[1] > 1:
            time.sleep(0.001)
        accepted = ask(client)
        assert accepted.status == 200
        list(pieces(accepted))
    assert there.provider.wait_idle(10)
    ended = {event["event"] for event in there.written() if event.get("connection") == 1}
    # The server tells the alert of a failed handshake to a socket that is gone: a reset answers it, unless our FIN was quicker. The
    # observer may see the FIN and the reset behind it in one look; the reset counts.
    assert "reset" in ended or ended >= {"fin_in", "fin_out"}


def test_http2_counts_streams_of_one_connection(stand: Callable[..., Stand]) -> None:
    there = stand(Concurrency("requests", "key", 2), http="2")
    connection = SharedConnection(there.connect().sock, "vm-1")

    def body(**wish: Any) -> bytes:
        return json.dumps({"lab": {"wait_s": 0, "pieces": 2, "gap_s": 0.2, **wish}}).encode()

    answers = [connection.request("/v4/chat", NAME, "k", body()) for _ in range(3)]
    seen: list[list[tuple[str, bytes]]] = [[] for _ in answers]
    threads = [threading.Thread(target=lambda n=n: seen[n].extend(answers[n])) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    statuses = [next(data for kind, data in parts if kind == "status") for parts in seen]
    assert sorted(statuses) == [b"200", b"200", b"429"]
    assert b"1302" in seen[statuses.index(b"429")][1][1]
    # The end of one stream is told to the server; the connection and the next request are none the worse for it.
    broken_off = connection.request("/v4/chat", NAME, "k", body(pieces=500))
    assert next(broken_off) == ("status", b"200")
    broken_off.close()
    assert [kind for kind, _ in connection.request("/v4/chat", NAME, "k", body())].count("end") == 1
    connection.close()
    assert there.provider.wait_idle(10)
    assert len(there.events("accept")) == 1
    assert sorted(event["how"] for event in there.events("done")) == ["broken off", "complete", "complete", "complete", "complete"]
    assert list(connection.request("/v4/chat", NAME, "k", b"")) == [("lost", b"")]
