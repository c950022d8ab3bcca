"""What a client asks for and does not get, though most of the capture is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, GET, MS, OK, SERVER, S, close, exchange, found, healthy, ping, problems, talk
from tests.parsers.build import Packet, segment
from tests.parsers.certificates import SERVER_HELLO, record
from tests.parsers.test_pipeline import HELLO

if TYPE_CHECKING:
    from pathlib import Path

OK_9 = b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n"
POD = ("203.0.113.10", 8080)


def secret(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


def with_a_hole(port: int, *, filled: bool = False, stray: bool = True, by_client: bool = False) -> list[Packet]:
    """An answer of which a piece went astray: it came from another address, and the client reset that."""
    made = talk(port)
    made.up("PA", GET)
    made.down("A", OK_9 + bytes(3000))
    made.up("A")
    hole, upto = made.back, made.seq
    lost = made.down("A", 1000)
    if not filled:
        made.packets.remove(lost)
    if stray:
        made.packets.append(Packet(made.at, segment(POD, (CLIENT, port), "PA", hole, upto, bytes(1000))))
        made.packets.append(Packet(made.at + 1, segment((CLIENT, port), POD, "R", upto)))
    made.down("FA", 5000)
    made.up("A", ack=made.back if filled else hole)
    if filled:
        return close(made).packets
    if by_client:
        made.up("R")
    for _ in range(2):
        made.down("R")
    return made.packets


def test_a_piece_of_an_answer_that_never_comes(tmp_path: Path) -> None:
    this = found(tmp_path, *(with_a_hole(41_000 + k) for k in range(2)), healthy(), ping(30 * S))
    assert "http-errors" in problems(this)
    assert this["http-errors"].text == (
        "2 of 3 HTTP answers were cut off: 198.51.100.20:80 ended the connection after 8 kB of 9 kB (in the worst case); to 2 of these clients "
        "203.0.113.10:8080 had sent a piece, and the client reset that."
    )
    assert "NAT" in this["http-errors"].advice
    this = found(tmp_path, with_a_hole(41_000, stray=False), healthy(), ping(30 * S))["http-errors"]
    assert this.text == "1 of 2 HTTP answers was cut off: 198.51.100.20:80 ended the connection after 8 kB of 9 kB."


@pytest.mark.parametrize("how", ["filled", "by_client"])
def test_a_piece_that_comes_another_way_or_is_not_waited_for(tmp_path: Path, how: str) -> None:
    assert "http-errors" not in found(tmp_path, with_a_hole(41_000, **{how: True}), healthy(), ping(30 * S))


ACK = b"\x14\x03\x03\x00\x01\x01"  # ChangeCipherSpec
BYE = secret(19)
TICKETS = secret(250) + secret(250)


def https(
    port: int, at: int, answer: bytes = b"", *, last: bytes = b"", waits: int = 4 * S, proxied: bool = False, to: int = 443
) -> list[Packet]:
    """A request of HTTPS, what the server says behind its tickets, and what it says before it closes."""
    made = talk(port, at, (SERVER, 3_128 if proxied else to))
    if proxied:
        exchange(made, b"CONNECT a.example:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")
    exchange(made, HELLO, record(22, SERVER_HELLO) + ACK + secret(900) + secret(53))
    made.up("PA", ACK + secret(53))
    made.up("PA", secret(300))
    made.down("PA", TICKETS)
    made.at += waits
    for said in filter(None, (answer, last)):
        made.down("PA", said)
        made.up("A")
    made.down("FA")
    made.up("PA", BYE)
    made.down("R")
    return made.packets


@pytest.mark.parametrize("proxied", [False, True])
def test_https_that_is_cut_while_a_request_is_open(tmp_path: Path, proxied: bool) -> None:
    this = found(tmp_path, *(https(41_000 + k, k * 10 * S, proxied=proxied) for k in range(3)), healthy(), ping(60 * S))
    assert problems(this) == {"closed-unanswered"}
    whom = f"the proxy {SERVER}:3128" if proxied else "api.example.test:443"
    assert (
        this["closed-unanswered"].text == f"3 of 3 HTTPS requests got no answer: {whom} closed the connection instead, after up to 4.0 s."
    )
    assert "silent for so long" in this["closed-unanswered"].advice


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([p for k in range(3) for p in https(41_000 + k, k * 10 * S, secret(500))], id="answered"),
        pytest.param([p for k in range(3) for p in https(41_000 + k, k * 10 * S, last=BYE)], id="an orderly close"),
        pytest.param([p for k in range(3) for p in https(41_000 + k, k * 10 * S, to=6_514)], id="what only takes in"),
        pytest.param(
            [
                p
                for k in range(6)
                for p in https(41_000 + k, k * 5 * S, b"" if k % 2 == 0 else secret(500), waits=4 * S if k % 2 == 0 else S)
            ],
            id="sent again and answered",
        ),
    ],
)
def test_https_that_ends_well(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy(), ping(60 * S)))


PREFLIGHT = b"OPTIONS /v1/a HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\nAccess-Control-Request-Method: GET\r\n\r\n"
EXPLORER = b"OPTIONS /v1/a HTTP/1.1\r\nHost: a\r\nUser-Agent: DAV\r\n\r\n"


def status(code: int, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n%s\r\n" % (code, more)


def browsed(code: int, asked: bytes = PREFLIGHT, times: int = 3, then: int = 0, goes_on: bool = False) -> list[Packet]:
    """Pages, and after each a preflight; the last one may be answered otherwise, and the request itself may follow."""
    made = talk()
    for k in range(times):
        exchange(made, b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n", OK)
        exchange(made, b"GET /style HTTP/1.1\r\nHost: a\r\n\r\n", OK)
        exchange(made, asked, status(then if then and k == times - 1 else code))
        if goes_on:
            exchange(made, b"GET /v1/a HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n\r\n", OK)
    exchange(made, b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n", OK)
    return close(made).packets


@pytest.mark.parametrize("code", [401, 405, 301])
def test_preflights_that_are_not_granted(tmp_path: Path, code: int) -> None:
    this = found(tmp_path, browsed(code))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == (
        f"3 of 3 preflights (OPTIONS) were not permitted by 198.51.100.20:80 (3 × {code}): a browser then does not send its request, and none followed."
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(browsed(204), id="granted"),
        pytest.param(browsed(401, times=1), id="once"),
        pytest.param(browsed(401, then=200), id="granted later"),
        pytest.param(browsed(405, goes_on=True), id="the client goes on"),
        pytest.param(browsed(401, EXPLORER), id="by a program, that is let in"),
    ],
)
def test_preflights_that_cost_nothing(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets))


def ordered(code: int, then: bytes, answer: int, times: int = 3) -> list[Packet]:
    """What is posted, and then asked for where the redirection leads; other requests between."""
    made = talk()
    for _ in range(times):
        exchange(made, b"POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", status(code, b"Location: /orders/\r\n"))
        exchange(made, then + b" /orders/ HTTP/1.1\r\nHost: a\r\n\r\n", status(answer))
        exchange(made)
        exchange(made)
    return close(made).packets


def test_what_a_redirection_loses(tmp_path: Path) -> None:
    this = found(tmp_path, ordered(301, b"GET", 405))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == (
        "3 POSTs to 198.51.100.20:80 got lost: redirected (301, 302), the client asked by GET, which is not allowed there (405)."
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(ordered(308, b"POST", 201), id="posted there"),
        pytest.param(ordered(302, b"GET", 200), id="the page that tells what came of it"),
        pytest.param(ordered(301, b"GET", 405, 1), id="once"),
        pytest.param(ordered(301, b"POST", 201), id="a client that posts again"),
    ],
)
def test_what_a_redirection_does_not_lose(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets))


def half_closed(port: int, at: int, *, answered: bool = False, pause: int = 0, asked: bytes = GET) -> list[Packet]:
    """A client that closes its side behind its request."""
    made = talk(port, at)
    made.step = MS
    made.up("PA", asked)
    made.at += pause
    made.up("FA")
    made.down("A")
    made.at += 600 * MS if answered else 0
    if answered:
        made.down("PA", OK)
    made.down("FA")
    made.up("A")
    return made.packets


def test_clients_that_close_their_own_side_and_are_taken_for_gone(tmp_path: Path) -> None:
    this = found(tmp_path, *(half_closed(41_000 + k, k * S) for k in range(3)), healthy())
    assert problems(this) == {"closed-unanswered"}
    assert this["closed-unanswered"].text == (
        "3 of 4 HTTP requests got no answer before both sides closed the connection: 198.51.100.20:80 treats a client that closes its own side as "
        "gone."
    )


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([half_closed(41_000 + k, k * S, answered=True) for k in range(3)] + [healthy()], id="answered"),
        pytest.param([half_closed(41_000 + k, k * S) for k in range(3)], id="a server that answers nobody"),
        pytest.param([half_closed(41_000 + k, k * S, pause=100 * MS) for k in range(3)] + [healthy()], id="given up"),
        pytest.param(
            [half_closed(41_000 + k, k * S, asked=b"POST /cron HTTP/1.1\r\nHost: a\r\n\r\n") for k in range(3)] + [healthy()],
            id="no answer wanted",
        ),
        pytest.param([half_closed(41_000 + k, k * S, answered=k == 0) for k in range(4)] + [healthy()], id="one was answered"),
    ],
)
def test_clients_that_close_first(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams))


def git(port: int, at: int, said: bytes) -> list[Packet]:
    made = talk(port, at, (SERVER, 9_418))
    exchange(made, b"003bgit-upload-pack /app.git\0host=a\0\0version=2\0".ljust(59, b"a"), b"%04x" % (len(said) + 4) + said)
    made.down("FA")
    made.up("FA")
    made.down("A")
    return made.packets


def test_a_repository_that_is_not_exported(tmp_path: Path) -> None:
    denied = git(41_000, 0, b"ERR access denied or repository not exported: /app.git")
    this = found(tmp_path, denied, healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == "1 of 1 connection to 198.51.100.20:9418 got a refusal: ERR instead of refs (git)."
    assert not problems(found(tmp_path, denied, git(41_001, S, b"version 2"), healthy()))
    assert not problems(found(tmp_path, git(41_001, -S, b"version 2"), denied, healthy()))
    assert problems(found(tmp_path, git(41_001, -S, b"version 2"), denied, git(41_002, S, b"ERR no such thing"), healthy()))
    # one that is not for this client, each time it looks through all of them
    rounds = [git(41_010 + k, k * S, b"ERR access denied" if k % 2 else b"version 2") for k in range(6)]
    assert not problems(found(tmp_path, *rounds, healthy()))
