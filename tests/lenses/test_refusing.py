"""Servers that refuse, cut off or are slow to speak, and clients that give up or ask with credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, GET, MS, OK, SERVER, S, close, exchange, found, healthy, ping, problems, talk
from tests.parsers.build import T0
from tests.parsers.certificates import DONE, SERVER_HELLO, certificate, chain, record
from tests.parsers.test_pipeline import HELLO

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Packet, Talk

OK_100 = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
TLS = (SERVER, 443)


def challenged(statuses: list[int], port: int = 41_000) -> list[Packet]:
    made = talk(port)
    for status in statuses:
        exchange(made, GET, b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
    return close(made).packets


@pytest.mark.parametrize(("statuses", "errors"), [([407, 407, 407], 3), ([401, 200], 0), ([401, 401, 200], 0), ([200, 401], 1)])
def test_challenges_count_unless_they_are_met(tmp_path: Path, statuses: list[int], errors: int) -> None:
    this = found(tmp_path, challenged(statuses), healthy())
    assert (this["http-errors"].values["errors"] if "http-errors" in this else 0) == errors


@pytest.mark.parametrize(
    ("statuses", "severity"), [([503, 200, 200], "warning"), ([503, 200, 503, 200], "problem"), ([503, 404, 200], "warning")]
)
def test_an_error_after_which_the_same_is_served(tmp_path: Path, statuses: list[int], severity: str) -> None:
    this = found(tmp_path, challenged(statuses))["http-errors"]
    assert this.severity == severity


def test_requests_that_are_refused_are_named_in_a_capture_of_unknown_side(tmp_path: Path) -> None:
    this = found(tmp_path, challenged([200, *[429] * 8, 200]))["refused"]
    assert [frame for _, frame in this.frames] == [4 + 4 * k for k in range(1, 9)]


def test_an_error_after_which_something_else_is_served(tmp_path: Path) -> None:
    made = talk()
    exchange(made, GET, b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n")
    exchange(made, b"GET /other HTTP/1.1\r\nHost: example.test\r\n\r\n")
    assert found(tmp_path, close(made).packets)["http-errors"].severity == "problem"


def given_up(port: int, at: int) -> Talk:
    """A request that the client gives up after 3 s."""
    made = talk(port, at=at)
    made.up("PA", GET)
    made.down("A")
    made.at += 3 * S
    made.up("FA")
    made.down("A")
    return made


@pytest.mark.parametrize("times", [1, 3])
def test_a_client_that_gives_up_before_any_answer(tmp_path: Path, times: int) -> None:
    """Once may be a person who does not want to wait."""
    packets: list[Packet] = []
    for k in range(times):
        packets += given_up(41_000 + k, 4 * k * S).packets
    this = found(tmp_path, packets, healthy(), ping(60 * S))
    assert problems(this) == ({"slow-server"} if times > 1 else set())
    if times > 1:
        assert this["slow-server"].text == (
            "3 of 4 HTTP requests, to 198.51.100.20:80, waited up to 3.0 s for the answer's first byte; 3 got none before the client gave up."
        )


def test_an_answer_to_a_client_that_had_given_up(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(2):
        made = given_up(41_000 + k, 12 * k * S)
        made.at += 7 * S
        made.down("PA", b"HTTP/1.1 200 OK\r\n\r\n")
        made.up("R")
        packets += made.packets
    this = found(tmp_path, packets, healthy(), ping(60 * S))
    assert "waited up to 3.0 s for the answer's first byte; 2 got none before the client gave up" in this["slow-server"].text


def left(waits: list[int], asked_after: int = 0, resets: bool = True) -> list[Packet]:
    """Requests whose client closes after so long; the answers come 800 ms behind each."""
    packets: list[Packet] = []
    for k, wait in enumerate(waits):
        made = talk(41_000 + k, k * S)
        made.at += asked_after
        made.up("PA", GET)
        made.down("A")
        at = made.at
        made.at = at + wait
        made.up("FA")
        made.down("A")
        made.at = at + 800 * MS
        made.down("PA", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        made.up("R" if resets else "A")
        packets += made.packets
    return packets


def test_answers_that_come_to_a_client_whose_timeout_was_over(tmp_path: Path) -> None:
    this = found(tmp_path, left([300 * MS, 301 * MS]), healthy(), ping(60 * S))["slow-server"]
    assert this.severity == "warning"
    assert this.text == (
        "2 of 3 HTTP requests, to 198.51.100.20:80, were given up by the client after 311 ms each time (its timeout); the answers came 804 ms after the "
        "requests, and were reset."
    )


@pytest.mark.parametrize(
    ("waits", "resets"),
    [
        ([300 * MS], True),  # once may be a person
        ([300 * MS, 420 * MS, 180 * MS], True),  # who types on wants no answer to what was typed before
        ([5 * MS, 5 * MS, 5 * MS], True),  # a check whether the port is open
        ([300 * MS, 301 * MS], False),  # it had said all, and takes the answer
    ],
)
def test_clients_that_close_without_a_timeout(tmp_path: Path, waits: list[int], resets: bool) -> None:
    assert "slow-server" not in found(tmp_path, left(waits, resets=resets), healthy(), ping(60 * S))


@pytest.mark.parametrize(("target", "polls"), [(b"/v1/kv?index=7&wait=60s", True), (b"/poll?since=3", True), (b"/reports?from=3", False)])
def test_requests_that_ask_to_be_kept_waiting(tmp_path: Path, target: bytes, polls: bool) -> None:
    made = talk()
    for k in range(4):
        exchange(made, b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target, wait=(5 + 3 * k) * S)
    assert ("slow-server" in found(tmp_path, close(made).packets, healthy(), ping(90 * S))) == (not polls)


def test_a_head_that_asks_whether_something_is_there(tmp_path: Path) -> None:
    made = talk()
    for _ in range(4):
        exchange(made, b"HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\n")
        exchange(made, b"PUT /a HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    assert "http-errors" not in found(tmp_path, close(made).packets, healthy())


def test_long_polls_that_time_out_are_no_slow_server(tmp_path: Path) -> None:
    made = talk()
    for _ in range(4):
        exchange(made, GET, b"HTTP/1.1 204 No Content\r\n\r\n", wait=12 * S)
    assert "slow-server" not in found(tmp_path, close(made).packets, healthy(), ping(90 * S))


@pytest.mark.parametrize("end", ["FA", "RA"])
def test_an_answer_that_is_cut_off(tmp_path: Path, end: str) -> None:
    made = talk()
    made.up("PA", GET)
    made.down("A", OK_100 + bytes(1000))
    made.up("A")
    made.down("A", 24_000)
    made.up("A")
    made.down(end)
    this = found(tmp_path, made.packets, healthy(), ping(30 * S))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == ("1 of 2 HTTP answers was cut off: 198.51.100.20:80 ended the connection after 25 kB of 100 kB.")


@pytest.mark.parametrize("why", ["whole", "client", "head"])
def test_answers_that_are_shorter_than_they_say_and_not_cut_off(tmp_path: Path, why: str) -> None:
    made = talk()
    made.up("PA", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n" if why == "head" else GET)
    made.down("A", OK_100 + (b"" if why == "head" else bytes(50_000)))
    made.up("A")
    if why == "whole":
        made.down("A", 50_000)
        made.up("A")
    if why == "client":
        made.up("FA")
    made.down("FA")
    made.up("A")
    assert "http-errors" not in found(tmp_path, made.packets, healthy(), ping(30 * S))


def test_a_server_that_answers_and_resets_while_the_client_still_sends(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", b"POST / HTTP/1.1\r\nContent-Length: 9000\r\n\r\n" + bytes(1000))
    made.down("PA", b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    made.up("PA", 1000)
    made.down("RA")
    assert "reset" not in problems(found(tmp_path, made.packets, healthy(), ping(30 * S)))


def test_mysql_that_takes_no_more_connections(tmp_path: Path) -> None:
    """The length of its only packet looks like a type of TLS record."""
    made = talk(server=(SERVER, 3306))
    made.down("PA", b"\x17\x00\x00\x00\xff\x10\x04Too many connections")
    made.up("A")
    made.down("FA")
    made.up("FA")
    this = found(tmp_path, made.packets, healthy())
    assert this["refused"].text == "1 of 1 connection to 198.51.100.20:3306 got a refusal: too many connections (1040) (MySQL)."
    assert "Raise the server's limit" in this["refused"].advice


@pytest.mark.parametrize(("code", "severity"), [(1045, "warning"), (1158, "problem")])
def test_mysql_that_lets_a_client_in_later(tmp_path: Path, code: int, severity: str) -> None:
    """A password that was mistyped; an error that nobody typed."""

    def login(port: int, at: int, answer: bytes) -> list[Packet]:
        made = talk(port, at, (SERVER, 3306))
        made.down("PA", b"\x4a\x00\x00\x00\x0a8.0.32")
        exchange(made, b"\x20\x00\x00\x01login", answer)
        return close(made).packets

    no, yes = b"\x17\x00\x00\x02\xff" + code.to_bytes(2, "little") + b"#28000", b"\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00"
    assert found(tmp_path, login(41_000, 0, no), login(41_001, S, yes))["refused"].severity == severity


def hello(port: int = 42_000, at: int = 0) -> Talk:
    made = talk(port, at, TLS)
    made.up("PA", HELLO)
    made.down("A")
    return made


def test_a_certificate_that_is_not_trusted_though_another_program_took_it(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(3):
        made = hello(42_000 + k, 100 * k * MS)
        made.down("PA", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c" + bytes(60))
        made.up("PA", b"\x15\x03\x03\x00\x02\x02\x30")
        made.up("RA")
        packets += made.packets
    taken = hello(43_000, 400 * MS)
    taken.down("PA", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c" + bytes(60))
    taken.up("PA", b"\x14\x03\x03\x00\x01\x01\x16\x03\x03\x00\x28" + bytes(40))
    this = found(tmp_path, packets, taken.packets, healthy(), ping(30 * S))
    assert problems(this) == {"tls-failed"}
    assert this["tls-failed"].text == "3 of 4 TLS handshakes failed (unknown_ca by the client) at api.example.test:443."
    assert "reset" not in this  # which ended them


def test_a_client_without_the_certificate_that_the_server_asks_for(tmp_path: Path) -> None:
    made = hello()
    made.down("PA", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c" + bytes(60))
    made.up("PA", b"\x16\x03\x03\x00\x07\x0b\x00\x00\x03\x00\x00\x00")
    made.down("PA", b"\x15\x03\x03\x00\x02\x02\x28")
    made.down("FA")
    this = found(tmp_path, made.packets, healthy(), ping(30 * S))
    assert "handshake_failure by the server: no certificate of the client" in this["tls-failed"].text
    assert this["tls-failed"].advice.startswith("The server asks for a client certificate")


@pytest.mark.parametrize("alert", [42, 43, 44, 45, 46, 48])
def test_a_certificate_of_the_client_that_the_server_does_not_accept(tmp_path: Path, alert: int) -> None:
    made = hello()
    made.down("PA", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c" + bytes(60))
    made.up("PA", b"\x16\x03\x03\x02\x07\x0b\x00\x02\x03\x00\x02\x00" + bytes(512))
    made.down("PA", bytes([0x15, 3, 3, 0, 2, 2, alert]))
    made.down("FA")
    this = found(tmp_path, made.packets, healthy(), ping(30 * S))["tls-failed"]
    assert "by the server: the certificate of the client) at" in this.text
    assert this.advice.startswith("The server does not accept the certificate that the client shows")


def test_a_server_that_says_no_hello_until_the_client_leaves(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(2):
        made = hello(42_000 + k, 10 * k * S)
        made.at += 8 * S
        made.up("FA")
        packets += made.packets
    this = found(tmp_path, packets, healthy(), ping(60 * S))
    assert "(no hello from the server) at api.example.test:443; the client waited up to 8.0 s." in this["tls-failed"].text


def test_handshakes_that_fail_beside_others_that_succeed(tmp_path: Path) -> None:
    """Some of a pool's connections are reset, as by a limit on connections; behind most of these another one is served at once."""
    packets: list[Packet] = []
    for k in range(6):
        made = hello(42_000 + k, 3 * k * S)
        made.down("RA")
        packets += made.packets
        if k < 4:
            served = hello(43_000 + k, 3 * k * S + 300 * MS)
            served.down("PA", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c" + bytes(60))
            packets += served.packets
    this = found(tmp_path, packets, ping(60 * S))["tls-failed"]
    assert this.text == (
        "2 of 10 TLS handshakes failed (reset by the server before its hello) at api.example.test:443; 4 more failed so, but within a second another one "
        "between the same two succeeded."
    )
    assert this.advice.startswith("The server takes this client and name at other times")
    none_served = [p for k in range(3) for p in _reset(42_000 + k, 3 * k * S)]
    this = found(tmp_path, none_served, ping(60 * S))["tls-failed"]
    assert this.text == "3 of 3 TLS handshakes failed (reset by the server before its hello) at api.example.test:443."
    assert "does not want this client" in this.advice


def _reset(port: int, at: int) -> list[Packet]:
    made = hello(port, at)
    made.down("RA")
    return made.packets


def test_a_server_that_closes_on_a_hello(tmp_path: Path) -> None:
    made = hello()
    made.down("FA")
    made.up("FA")
    this = found(tmp_path, made.packets, healthy(), ping(30 * S))
    assert problems(this) == {"tls-failed"}
    assert this["tls-failed"].text == "1 of 1 TLS handshake failed (closed by the server before its hello) at api.example.test:443."
    crossed = talk(42_000, 0, TLS)  # it had not seen the hello
    before = crossed.seq
    crossed.up("PA", HELLO)
    crossed.down("FA", ack=before)
    crossed.down("R", seq=crossed.back + 1)
    assert found(tmp_path, crossed.packets, healthy(), ping(30 * S))["tls-failed"].severity == "warning"
    served = hello(42_001, 10 * S)  # it takes others
    served.down("PA", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c" + bytes(60))
    assert found(tmp_path, made.packets, served.packets, ping(30 * S))["tls-failed"].severity == "warning"
    left = hello()  # the client wanted nothing
    left.up("FA")
    left.down("FA")
    assert "tls-failed" not in found(tmp_path, left.packets, ping(30 * S))
    half = hello()  # of which the beginning is not in the capture
    half.down("FA")
    assert not problems(found(tmp_path, half.packets[3:], healthy(), ping(30 * S)))


def test_servers_that_are_slow_to_say_hello_and_to_greet(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(2):
        made = hello(42_000 + k, 10 * k * S)
        made.at += 4 * S
        made.down("PA", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c" + bytes(60))
        made.up("A")
        packets += made.packets
    slow = talk(44_000, server=(SERVER, 25))
    slow.at += 8 * S
    slow.down("PA", b"220 mail.example.test ESMTP\r\n")
    slow.up("PA", b"QUIT\r\n")
    this = found(tmp_path, packets, healthy(), ping(60 * S))
    assert this["slow-server"].text.startswith("2 of 2 TLS handshakes waited up to 4.0 s for the server's hello")
    this = found(tmp_path, slow.packets, healthy(), ping(60 * S))
    assert this["slow-server"].severity == "warning"  # some mail servers do so on purpose
    assert this["slow-server"].text == "1 of 1 connection waited 8.0 s for the server's greeting (198.51.100.20:25)."


def test_a_window_that_is_shut_again_and_again(tmp_path: Path) -> None:
    """Each time is short; all of them are what the sender waits for."""
    made = talk()
    made.up("PA", b"POST / HTTP/1.1\r\nContent-Length: 90000\r\n\r\n")
    for _ in range(20):
        made.up("A", 1000)
        made.down("A", window=0)
        made.at += 150 * MS
        made.down("A", window=1000)
    made.down("PA", b"HTTP/1.1 200 OK\r\n\r\n")
    this = found(tmp_path, made.packets, healthy(), ping(60 * S))
    assert problems(this) == {"zero-window"}
    assert " s in all on one connection, while data waited for it: 198.51.100.20 did not read." in this["zero-window"].text


def downloaded(kind: bytes, lasts: int, times: int = 6, opens: bool = True) -> list[Packet]:
    """An answer whose client shuts its window again and again."""
    made = talk()
    made.up("PA", b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    made.down("PA", b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nContent-Length: 90000\r\n\r\n")
    for _ in range(times):
        made.down("A", 1000)
        made.up("A", window=0)
        for _ in range(4):
            made.at += lasts // 5
            made.down("A")  # a probe, which a receiver answers (RFC 9293 3.8.6.1)
            made.up("A", window=0)
        made.at += lasts // 5
        if opens:
            made.up("A", window=1000)
    return made.packets


@pytest.mark.parametrize(
    ("kind", "lasts", "opens", "severity"),
    [
        (b"text/plain", 800 * MS, True, "warning"),  # at its own pace
        (b"text/plain", 4 * S, True, "problem"),
        (b"video/mp4", 4 * S, True, "warning"),
        (b"video/mp4", 4 * S, False, None),  # paused
    ],
)
def test_a_client_that_takes_an_answer_slowly(tmp_path: Path, kind: bytes, lasts: int, opens: bool, severity: str | None) -> None:
    this = found(tmp_path, downloaded(kind, lasts, opens=opens), ping(60 * S))
    assert {id_: f.severity for id_, f in this.items() if id_.startswith("zero-window")} == ({"zero-window": severity} if severity else {})


@pytest.mark.parametrize(
    ("target", "lasts", "slow"),
    [
        (b"POST /v1/chat/completions", 12 * S, False),
        (b"POST /v1/messages?beta=true", 12 * S, False),
        (b"POST /v1beta/models/g-2:generateContent", 12 * S, False),
        (b"POST /api/generate", 12 * S, False),
        (b"POST /v1/chat/completions", 70 * S, True),
        (b"GET /v1/chat/completions", 12 * S, True),
        (b"POST /messages", 12 * S, True),
    ],
)
def test_what_a_model_makes_up_takes_its_time(tmp_path: Path, target: bytes, lasts: int, slow: bool) -> None:
    made = talk()
    made.up("PA", target + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    made.down("A")
    made.at += lasts
    made.down("PA", OK)
    assert ("slow-server" in problems(found(tmp_path, close(made).packets))) == slow


def test_a_client_that_resets_behind_the_last_alert_of_the_server(tmp_path: Path) -> None:
    made = talk(server=TLS)
    made.up("PA", HELLO)
    made.down("PA", b"\x16\x03\x03\x00\x32\x02" + bytes(49))
    made.up("PA", b"\x17\x03\x03\x00\x40" + bytes(64))
    made.down("PA", b"\x17\x03\x03\x00\x40" + bytes(64))
    made.at += S
    made.down("PA", b"\x15\x03\x03\x00\x1a" + bytes(26))
    made.up("PA", b"\x17\x03\x03\x00\x40" + bytes(64))
    made.up("RA")
    assert "reset" not in found(tmp_path, made.packets, healthy(), ping(30 * S))


@pytest.mark.parametrize(("path", "told"), [(b"/favicon.ico", False), (b"/other.html", True)])
def test_that_a_site_has_no_icon_is_no_error(tmp_path: Path, path: bytes, told: bool) -> None:
    made = exchange(talk(41_000))
    exchange(made, b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path, b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
    assert ("http-errors" in found(tmp_path, close(made).packets, healthy())) == told


POST = b"POST /order HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"


def met(number: int, answer: bytes = b"", idle: bool = True) -> list[Packet]:
    """A request on a connection that the server closes meanwhile, seen at the client."""
    made = talk(45_000 + number, 10 * number * S)
    if idle:
        exchange(made)
    made.at += 5 * S
    before = made.seq
    made.up("PA", POST)
    made.down("FA", answer, ack=before)
    made.up("FA")
    made.down("R")
    return made.packets


def next_(number: int, request: bytes, after: int = 100 * MS, server: str = SERVER) -> list[Packet]:
    return close(exchange(talk(46_000 + number, 10 * number * S + 5 * S + after, (server, 80)), request)).packets


def crowd(number: int) -> list[Packet]:
    """Requests of 1,100 others meanwhile."""
    starts = ((f"203.0.113.{k % 250}", 20_000 + k, 10 * number * S + 5 * S + 10 * MS + k * MS // 20) for k in range(1100))
    return [p for client, port, at in starts for p in close(exchange(talk(port, at, client=client, step=MS // 10))).packets]


def test_a_close_that_is_a_reset_as_well(tmp_path: Path) -> None:
    made = exchange(talk())
    made.at += 5 * S
    before = made.seq
    made.up("PA", POST)
    made.down("FRA", ack=before)
    assert found(tmp_path, made.packets, healthy(at=60 * S))["closed-unanswered"].severity == "warning"


def test_requests_that_meet_the_end_of_an_idle_connection(tmp_path: Path) -> None:
    packets = [p for k in range(3) for p in (*met(k), *next_(k, GET))]
    this = found(tmp_path, packets, healthy(at=60 * S))
    assert problems(this) == {"closed-unanswered"}
    assert this["closed-unanswered"].text == (
        "3 HTTP requests met the end of an idle connection: 198.51.100.20:80 closed it while they were on the way; none of them was sent again."
    )
    once = found(tmp_path, met(0), next_(0, GET), healthy(at=60 * S))
    assert not problems(once)
    assert once["closed-unanswered"].severity == "warning"


@pytest.mark.parametrize(
    ("packets", "text"),
    [
        ([p for k in range(3) for p in (*met(k), *next_(k, POST))], "; all were sent again."),
        ([p for k in range(3) for p in (*met(k), *next_(k, POST, server="198.51.100.21"))], "; all were sent again."),
        ([p for k in range(3) for p in (*met(k), *next_(k, POST), *crowd(k))], "; all were sent again."),
        ([p for k in range(3) for p in met(k, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")], ""),  # its last answer
        ([p for k in range(3) for p in close(exchange(talk(45_000 + k, 10 * k * S), POST)).packets], ""),
    ],
    ids=["sent again", "sent to another server", "sent again among many", "answered", "closed by the client"],
)
def test_requests_that_lose_nothing(tmp_path: Path, packets: list[Packet], text: str) -> None:
    this = found(tmp_path, packets, healthy(at=60 * S))
    assert "closed-unanswered" not in problems(this)
    assert not text or this["closed-unanswered"].text.endswith(text)


@pytest.mark.parametrize("name", ["other.example.test", "api.example.test"])
def test_a_certificate_for_another_name(tmp_path: Path, name: str) -> None:
    made = hello()
    made.down("PA", record(22, SERVER_HELLO + chain(certificate(0, 2 * T0 // 10**9, name, generalized=True)) + DONE))
    made.up("PA", b"\x15\x03\x03\x00\x02\x02\x2a")
    made.up("RA")
    this = found(tmp_path, made.packets, healthy(), ping(30 * S))["tls-failed"]
    text = "1 of 1 TLS handshake failed (bad_certificate by the client) at api.example.test:443"
    assert this.text == text + (
        "; the certificate is for other.example.test, not for api.example.test." if name.startswith("other") else "."
    )
    assert this.advice.startswith("Ask for a name") == name.startswith("other")


def tunnel(status: int, port: int, at: int = 0, said: bytes = b"") -> list[Packet]:
    made = talk(port, at=at, server=(SERVER, 3128))
    exchange(made, b"CONNECT www.example.test:443 HTTP/1.1\r\nHost: www.example.test\r\n%s\r\n" % said, b"HTTP/1.1 %d X\r\n\r\n" % status)
    return close(made).packets


BASIC, STEPS = b"Proxy-Authorization: Basic dTpw\r\n", b"Proxy-Authorization: Negotiate YII=\r\n"


@pytest.mark.parametrize(
    ("statuses", "said", "severity"),
    [
        ([407, 407, 407], b"", "warning"),  # a person may type a password later
        ([407, 407, 407], BASIC, "problem"),
        ([407, 407, 407], STEPS, "warning"),
        ([407, 407, 200], BASIC, None),
        ([407, 407], b"", None),
    ],
)
def test_proxies_that_want_credentials(tmp_path: Path, statuses: list[int], said: bytes, severity: str | None) -> None:
    packets = [p for k, status in enumerate(statuses) for p in tunnel(status, 45_000 + k, k * S, said)]
    this = found(tmp_path, packets, healthy(at=20 * S))
    assert (this["http-errors"].severity if "http-errors" in this else None) == severity


def redirected(*steps: tuple[str, str], host: str = "a", clients: bool = False, pause: int = 0) -> list[Packet]:
    """Requests for a path, and where the answers send the client ("" is an answer)."""
    packets: list[Packet] = []
    for k, (path, place) in enumerate(steps):
        made = talk(45_000 + k, k * (100 * MS + pause), client=f"192.0.2.{10 + k}" if clients else CLIENT)
        answer = b"HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % place.encode() if place else OK
        packets += close(exchange(made, b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path.encode(), host.encode()), answer)).packets
    return packets


ROUND = [("/a", "/b"), ("/b", "/a")] * 8


def test_redirections_in_circles(tmp_path: Path) -> None:
    this = found(tmp_path, redirected(*ROUND), healthy(at=60 * S))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == (
        "16 HTTP requests were redirected in circles: 198.51.100.20:80 sends the client back to where it had been, and gives it nothing there."
    )
    assert problems(found(tmp_path, redirected(*ROUND[:-1], ("/b", "http://A:80/a")), healthy(at=60 * S))) == {"http-errors"}


@pytest.mark.parametrize(
    "packets",
    [
        redirected(*ROUND, ("/a", "")),  # served in the end
        redirected(*ROUND[:6]),
        redirected(*[("/a", "http://other/b"), ("/b", "/a")] * 8),  # /b of another host
        redirected(*[("/a", "https://a/b")] * 16),
        redirected(*[(f"/{k}", f"/{k + 1}") for k in range(16)]),  # each leads on
        redirected(*[("/a", "/login"), ("/login", "")] * 8),
        redirected(*[("/a", "/sorry")] * 16),  # not followed
        redirected(*ROUND, clients=True),
        redirected(*ROUND, pause=20 * S),
        redirected(*ROUND, pause=S),  # it has the client wait for something
    ],
    ids=["served", "few", "other host", "https", "onwards", "login", "not followed", "many clients", "slow", "waiting"],
)
def test_redirections_that_lead_somewhere(tmp_path: Path, packets: list[Packet]) -> None:
    assert "http-errors" not in problems(found(tmp_path, packets, healthy(at=500 * S)))


def test_what_was_not_changed_since_ends_a_chain(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(16):
        made = talk(45_000 + k, k * 100 * MS)
        answer = b"HTTP/1.1 304 X\r\nLocation: /a\r\n\r\n" if k % 2 else b"HTTP/1.1 302 X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
        packets += close(exchange(made, b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"b" if k % 2 else b"a"), answer)).packets
    assert "http-errors" not in problems(found(tmp_path, packets, healthy(at=60 * S)))


def ended_by(line: bytes, number: int, port: int = 7777, by_client: bool = False) -> list[Packet]:
    """A question in a protocol that nobody knows, a line, and the server's close."""
    made = exchange(talk(41_000 + number, number * S, (SERVER, port)), b"HELO job 7\n", line)
    return (close(made) if by_client else closed_by_server(made)).packets


def closed_by_server(made: Talk) -> Talk:
    made.down("FA")
    made.up("FA")
    made.down("A")
    return made


@pytest.mark.parametrize(
    "line",
    [b"ERROR no room\n", b"-ERR busy now\n", b"Access denied for you\n", b"@ERROR: max\n", b'{"error":"quota"}\n', b"Too many jobs\n"],
)
def test_a_line_of_error_in_an_unknown_protocol(tmp_path: Path, line: bytes) -> None:
    this = found(tmp_path, *(ended_by(line, k) for k in range(3)), healthy(at=60 * S))
    assert this["refused"].severity == "warning"  # whether an address is on a list may have been asked, or how many units failed
    assert this["refused"].text.startswith("3 of 3 connections to 198.51.100.20:7777 ended with a line that begins with ")
    assert this["refused"].text.endswith(", which may be an answer.")
    assert line.strip().decode()[8:] not in this["refused"].text


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([ended_by(b"OK done, no ERROR\n", k) for k in range(3)], id="no error"),
        pytest.param([ended_by(b"ERROR no room\n", k, by_client=True) for k in range(3)], id="the client goes on, and closes"),
        pytest.param([ended_by(b"ERROR :Closing Link\n", k) for k in range(3)], id="how IRC says farewell"),
        pytest.param([ended_by(b"ERROR no room\n", k, port=9092) for k in range(3)], id="a port of another protocol"),
    ],
)
def test_lines_of_error_that_end_nothing(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "refused" not in found(tmp_path, *streams, healthy(at=60 * S))


def reset_on(said: bytes, number: int = 0, server: str = SERVER, by_client: bool = False) -> list[Packet]:
    """A question that is answered, in a protocol that nobody knows, and another one that is not."""
    made = exchange(talk(41_000 + number, number * S, (server, 7777)), b"HELO job 7\n", b"OK\n")
    made.up("PA", said)
    made.down("A")
    (made.up if by_client else made.down)("RA")
    return made.packets


LONG = b"STORE 1 " + bytes(1200)
GOODBYE = b'{"op":"disconnect","client":"pos-17","reason":"shift is over","sold":412,"at":"2026-09-21"}\n'


def test_questions_of_an_unknown_protocol_that_are_answered_by_a_reset(tmp_path: Path) -> None:
    this = found(tmp_path, *(reset_on(LONG, k) for k in range(2)), healthy(at=60 * S))
    assert problems(this) == {"reset"}
    assert this["reset"].text == "2 of 3 connections were reset by 198.51.100.20:7777 while a request was open."


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([reset_on(LONG)], id="once"),
        pytest.param([reset_on(b"QUIT\n", k) for k in range(3)], id="a farewell"),
        pytest.param([reset_on(GOODBYE, k) for k in range(3)], id="a farewell of many words"),
        pytest.param([reset_on(LONG, k, by_client=True) for k in range(3)], id="by the client"),
        pytest.param([reset_on(LONG, k, server=f"198.51.100.{20 + k}") for k in range(3)], id="of many peers"),
    ],
)
def test_resets_that_may_mean_nothing(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, healthy(at=60 * S)))


def ftp(*said: tuple[bytes, bytes]) -> list[Packet]:
    made = talk(41_000, 0, (SERVER, 21))
    made.down("PA", b"220 ready\r\n")
    for asked, answer in ((b"USER a\r\n", b"331 go on\r\n"), (b"PASS b\r\n", b"230 in\r\n"), *said):
        exchange(made, asked, answer)
    return close(made).packets


PORT, LIST, NO_DATA = (b"PORT 192,0,2,10,9,9\r\n", b"200 ok\r\n"), b"LIST\r\n", b"425 Failed to establish connection.\r\n"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([PORT, (LIST, NO_DATA)], True),
        ([PORT, (LIST, NO_DATA), (b"PASV\r\n", b"227 ok (198,51,100,20,9,9)\r\n"), (LIST, b"226 done\r\n")], False),  # it goes another way
        ([PORT, (LIST, b"150 here\r\n")], False),
    ],
)
def test_a_server_of_ftp_that_cannot_open_the_data_connection(tmp_path: Path, said: list[tuple[bytes, bytes]], told: bool) -> None:
    this = found(tmp_path, ftp(*said), healthy(at=20 * S))
    assert (problems(this) == {"refused"}) == told
    assert not told or "425 to LIST (FTP)" in this["refused"].text


def test_a_proxy_that_lets_in_on_the_same_connection(tmp_path: Path) -> None:
    """Each time the client asks without a password first, as curl --proxy-anyauth does."""
    packets = []
    for k in range(3):
        made = talk(45_000 + k, at=k * S, server=(SERVER, 3128))
        for status, said in ((407, b""), (200, BASIC)):
            request = b"CONNECT www.example.test:443 HTTP/1.1\r\nHost: www.example.test\r\n%s\r\n" % said
            exchange(made, request, b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status)
        packets += close(made).packets
    assert "http-errors" not in found(tmp_path, packets, healthy(at=20 * S))


def test_a_challenge_that_a_websocket_answers(tmp_path: Path) -> None:
    asked = b"GET /live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n%s\r\n"
    refused = close(exchange(talk(), asked % b"", b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n")).packets
    upgraded = exchange(talk(40_001, S), asked % b"Authorization: Bearer x\r\n", b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n")
    assert not problems(found(tmp_path, refused, close(upgraded).packets))
