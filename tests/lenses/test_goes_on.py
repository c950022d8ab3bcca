"""Refusals, denials and waits beside which a client goes on; and the same where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import GET, MS, SERVER, End, S, close, exchange, found, healthy, ping, problems, talk
from tests.lenses.test_granted import AWAY, NOT_FOUND, OK, asked, calls, checks
from tests.lenses.test_names_again import others, rounds
from tests.parsers.test_denials import smb2
from tests.wire.test_tls import hello

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Packet, Talk

NOT_ALLOWED, UNAUTHORIZED = (
    b"HTTP/1.1 405 Not Allowed\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
)
MANY = b"HTTP/1.1 207 Multi-Status\r\nContent-Length: 0\r\n\r\n"


# -- names --


def in_the_background() -> list[Packet]:
    """Names that a browser asks for by itself, several times at once."""
    return [p for k in range(2) for p in rounds(4, f"update{k}.test", None, step=S, at=40 * k * MS, first_port=7_000 + 100 * k)]


def test_names_that_a_browser_asks_for_by_itself(tmp_path: Path) -> None:
    this = found(tmp_path, in_the_background(), others())["dns-failed"]
    assert this.severity != "problem"
    assert this.values == {"names": 3, "missing": 2}


def test_names_of_a_client_that_is_served_by_nobody_whom_it_asked_for(tmp_path: Path) -> None:
    """What it reaches it knew by its address."""
    looked_up = rounds(1, "www.example.test", {"A": "198.51.100.99"}, at=100 * MS, first_port=6_000)
    assert "dns-failed" in problems(found(tmp_path, in_the_background(), looked_up, healthy(at=110 * MS)))


# -- TLS --

PLAIN: End = (SERVER, 5000)
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


def tls_first(then: bool, wait: int = 50 * MS) -> list[list[Packet]]:
    tried = close(exchange(talk(41_000, server=PLAIN), hello(b"registry.example.test"), BAD_REQUEST))
    return [tried.packets, close(exchange(talk(41_001, tried.at + wait, PLAIN))).packets if then else healthy()]


def test_tls_is_tried_first(tmp_path: Path) -> None:
    this = found(tmp_path, *tls_first(True))["tls-failed"]
    assert this.severity == "note"
    assert this.text == (
        "1 of 1 TLS handshake failed (the server answers with HTTP, not TLS) at registry.example.test:5000; the client went on without TLS at once."
    )


@pytest.mark.parametrize("streams", [tls_first(False), tls_first(True, wait=9 * S)])
def test_tls_at_a_port_that_does_not_speak_it(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "tls-failed" in problems(found(tmp_path, *streams))


def shaken(port: int, at: int, trusts: bool) -> list[Packet]:
    made = talk(port, at, (SERVER, 443))
    made.up("PA", hello(b"own.example.test"))
    made.down("PA", b"\x16\x03\x03\x00\x40\x02" + bytes(63))
    made.up("PA", b"\x14\x03\x03\x00\x01\x01" + b"\x17\x03\x03\x00\x20" + bytes(32) if trusts else b"\x15\x03\x03\x00\x02\x02\x30")
    if trusts:
        made.down("PA", b"\x14\x03\x03\x00\x01\x01" + b"\x17\x03\x03\x00\x20" + bytes(32))
    return close(made).packets


@pytest.mark.parametrize(
    ("trusts", "severity"),
    [((False, True), "problem"), ((False,), "problem"), ((True, True), "")],
)
def test_a_certificate_that_is_trusted_the_next_time_was_not_the_first_time(
    tmp_path: Path, trusts: tuple[bool, ...], severity: str
) -> None:
    streams = [shaken(42_000 + k, 3 * k * S, each) for k, each in enumerate(trusts)]
    this = found(tmp_path, *streams)
    assert (this["tls-failed"].severity if "tls-failed" in this else "") == severity


# -- HTTP --


def index(*answers: bytes, step: int = 50 * MS, at: int = 0, port: int = 40_000) -> list[list[Packet]]:
    """One name after the other in a place."""
    return calls(*((at + k * step, asked("GET", f"/list/{k}"), answer) for k, answer in enumerate(answers)), port=port)


@pytest.mark.parametrize(
    "streams",
    [
        [*index(*[NOT_FOUND] * 5, OK), *index(*[NOT_FOUND] * 5, OK, at=3 * S, port=41_000)],
        checks(("198.51.100.21", 80), 40_000, AWAY, AWAY, AWAY, *[OK] * 6, every=800 * MS),
        calls(*((at * S, GET, answer) for at, answer in ((0, AWAY), (1, AWAY), (3, OK)))),  # Retry-After
        calls(
            *(
                ((3 * k + n) * 60 * MS, asked(method, path), answer)
                for k in range(3)
                for n, (method, path, answer) in enumerate(
                    (("PROPFIND", "/dav/", MANY), ("PROPFIND", f"/dav/new{k}", NOT_FOUND), ("MKCOL", "/dav/", NOT_ALLOWED))
                )
            )
        ),
        calls((0, asked("GET", "/"), OK), (S, asked("POST", "/"), NOT_ALLOWED), (3 * S, asked("GET", "/admin"), UNAUTHORIZED)),
    ],
    ids=["several names", "it starts", "it starts, and is tried ever more rarely", "a folder that is there", "now and then"],
)
def test_errors_beside_which_a_client_goes_on(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert found(tmp_path, *streams)["http-errors"].severity == "warning"


@pytest.mark.parametrize(
    "streams",
    [
        index(*[NOT_FOUND] * 6),
        index(*[NOT_FOUND] * 5, OK, *[NOT_FOUND] * 3),  # a page that lacks much
        index(*[NOT_FOUND] * 5, OK, step=4 * S),  # whatever asks so slowly knows nothing of the answers
        calls(*((at * S, GET, answer) for at, answer in ((0, OK), (1, AWAY), (2, AWAY), (4, OK)))),  # it had run
        calls(*((k * 60 * MS, asked("MKCOL", "/dav/"), NOT_ALLOWED) for k in range(3))),
        calls((0, asked("GET", "/"), OK), *((k * 3 * S, asked("GET", "/admin"), UNAUTHORIZED) for k in (1, 2))),  # again
        calls((0, asked("POST", "/"), NOT_ALLOWED), (3 * S, asked("GET", "/admin"), UNAUTHORIZED)),  # nothing else
        calls((0, asked("GET", "/"), OK), *((S + k * 100 * MS, asked("GET", f"/admin/{k}"), UNAUTHORIZED) for k in range(2))),  # at once
    ],
    ids=["none is there", "a page", "slowly", "it had run", "no folder", "again", "nothing else", "at once"],
)
def test_errors_by_which_a_client_gets_nowhere(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "http-errors" in problems(found(tmp_path, *streams))


# -- refusals --


def said(port: int, server: int, *each: tuple[bytes, bytes], at: int = 0, hello: bytes = b"") -> list[Packet]:
    made = talk(port, at, (SERVER, server))
    if hello:
        made.down("PA", hello)
    for question, answer in each:
        exchange(made, question, answer)
    return close(made).packets


def mails(port: int, *answers: tuple[bytes, bytes], at: int = 0) -> list[Packet]:
    return said(port, 25, (b"EHLO a\r\n", b"250 ok\r\n"), *answers, at=at, hello=b"220 mail\r\n")


MAIL, NO_MAIL = (b"MAIL FROM:<a>\r\n", b"250 ok\r\n"), (b"MAIL FROM:<a> SIZE=99\r\n", b"552 too large\r\n")
RCPT, NOBODY = (b"RCPT TO:<b>\r\n", b"250 ok\r\n"), (b"RCPT TO:<c>\r\n", b"550 no\r\n")
SENT = (MAIL, RCPT, (b"DATA\r\n", b"354 go on\r\n"), (b"text\r\n.\r\n", b"250 ok\r\n"))


@pytest.mark.parametrize(
    ("streams", "severity"),
    [
        ([mails(43_000, *SENT, NO_MAIL)], "warning"),
        ([mails(43_000, *SENT), mails(43_001, MAIL, NOBODY, at=S)], "warning"),
        ([mails(43_000, NO_MAIL)], "problem"),
        ([mails(43_000, MAIL, NOBODY), mails(43_001, MAIL, at=S)], "problem"),  # none is sent
        ([mails(43_000, *SENT), *(mails(43_001 + k, MAIL, NOBODY, at=k * S) for k in (1, 2))], "problem"),
        ([mails(43_000, *SENT[:3], (b"text\r\n.\r\n", b"552 too large\r\n"))], "problem"),
    ],
)
def test_one_mail_of_several_is_not_taken(tmp_path: Path, streams: list[list[Packet]], severity: str) -> None:
    assert found(tmp_path, *streams, healthy())["refused"].severity == severity


def test_a_mail_that_is_too_large(tmp_path: Path) -> None:
    this = found(tmp_path, mails(43_000, NO_MAIL), healthy())["refused"]
    assert this.advice.startswith("The mail is larger than the server takes")


HELLO5, NO_LOGIN = b"\x05\x01\x00", b"\x05\x00"
CONNECT, OPENED, CLOSED = b"\x05\x01\x00\x01" + bytes(6), b"\x05\x00\x00\x01" + bytes(6), b"\x05\x05\x00\x01" + bytes(6)


def socks(port: int, answer: bytes, at: int = 0) -> list[Packet]:
    return said(port, 1080, (HELLO5, NO_LOGIN), (CONNECT, answer), at=at)


def smb(port: int, *answers: tuple[int, int], at: int = 0) -> list[Packet]:
    """Answers of a server. each : status and command."""
    messages = [smb2(status, command) for status, command in answers]
    return said(port, 445, *((b"\0\0\0\x44" + b"\xfeSMB" + bytes(64), b"\0\0\0" + bytes([len(m)]) + m) for m in messages), at=at)


LOGIN, SHARE, FILE, NO_SHARE = (0, 1), (0, 3), (0, 5), (0xC00000CC, 3)


@pytest.mark.parametrize(
    ("streams", "severity"),
    [
        ([socks(44_000, OPENED), socks(44_001, CLOSED, S)], "warning"),
        ([socks(44_001, CLOSED, S)], "problem"),
        ([socks(44_000, OPENED), socks(44_001, CLOSED, S), socks(44_002, CLOSED, 2 * S)], "problem"),
        ([smb(44_000, LOGIN, SHARE, FILE, FILE), smb(44_001, LOGIN, SHARE, NO_SHARE, at=S)], "warning"),
        ([smb(44_000, LOGIN, SHARE), smb(44_001, LOGIN, SHARE, NO_SHARE, at=S)], "problem"),
        ([smb(44_001, LOGIN, SHARE, NO_SHARE, at=S)], "problem"),
    ],
)
def test_one_thing_of_several_is_not_to_be_had(tmp_path: Path, streams: list[list[Packet]], severity: str) -> None:
    assert found(tmp_path, *streams, healthy())["refused"].severity == severity


# -- waits --


def subscribed(began: bool, first: int, last: int) -> list[Packet]:
    """A connection of which the capture may hold the begin, an answer after some seconds, and a request that is open when it ends."""
    made: Talk = talk(45_000)
    made.up("PA", GET)
    made.at += first * S
    made.down("PA", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    made.up("A")
    made.up("PA", GET)
    made.down("A")
    return (made.packets if began else made.packets[4:]) + ping(made.at + last * S)


@pytest.mark.parametrize(
    ("began", "first", "last", "severity"),
    [(True, 14, 12, "warning"), (False, 14, 12, "warning"), (True, 1, 12, "problem"), (False, 1, 12, "problem")],
)
def test_a_request_that_is_open_at_the_end(tmp_path: Path, began: bool, first: int, last: int, severity: str) -> None:
    """It is long if none was waited for as long before."""
    this = found(tmp_path, ping(0), subscribed(began, first, last))["slow-server"]
    if severity == "problem" or not began:
        assert this.severity == severity
    else:
        assert this.values["unanswered"] == 0  # what was answered late is told, not what is open
