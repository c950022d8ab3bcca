"""Requests inside TLS of which nothing comes back; sizes of records as curl, Go and Node have them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import netlens
from tests.lenses.made import MS, End, S, close, found, mixed, ping, problems, talk, write
from tests.parsers.certificates import record
from tests.parsers.test_pipeline import client_hello

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lenses.made import Finding
    from tests.parsers.build import Packet

TLS = ("198.51.100.20", 443)
HELLO, OFFERING = client_hello("api.example.test"), client_hello("api.example.test", ("h2", "http/1.1"))
CHANGE = record(20, b"\x01")
SERVER_HELLO = record(22, b"\x02\x00\x00\x76\x03\x03" + bytes(32) + b"\x20" + bytes(32) + b"\x13\x01\x00" + bytes(49))
FLIGHT = SERVER_HELLO + CHANGE + record(23, bytes(40)) + record(23, bytes(833)) + record(23, bytes(281)) + record(23, bytes(53))
FINISHED, REQUEST, ANSWER = record(23, bytes(53)), record(23, bytes(3100)), record(23, bytes(900))
ANSWER_HERE = b"(the server answers)"
PORT, OTHER_PORT = (n.to_bytes(2, "big") for n in (40_000, 41_000))
RESET, RESET_AND_PING, RESET_AND_GOAWAY, PING, ACKNOWLEDGED = (record(23, bytes(n)) for n in (30, 47, 56, 34, 26))


def by_http1(*waits: int, answered: bool = False, port: int = 443) -> list[Packet]:
    """Connections with a request each, which the client closes after so many ms."""
    packets: list[Packet] = []
    at = 0
    for k, wait in enumerate(waits):
        made = talk(40_000 + k, at, (TLS[0], port))
        for up, data in ((True, HELLO), (False, FLIGHT), (True, CHANGE + FINISHED), (True, REQUEST)):
            (made.up if up else made.down)("PA", data)
        made.down("A")
        if answered:
            made.down("PA", ANSWER)
            made.up("A")
        made.at += wait * MS
        at = made.at + S
        packets += close(made).packets
    return packets


CLOSE_NOTIFY, PREFACE, SETTINGS = record(23, bytes(19)), record(23, bytes(70)), record(23, bytes(56))
WEBSOCKET = ((True, REQUEST), (False, ANSWER), (True, record(23, bytes(300))))


def soon(
    *waits: int,
    said: tuple[tuple[bool, bytes], ...] = ((True, REQUEST),),
    farewell: bytes = b"",
    hello: bytes = OFFERING,
    port: int = 42_000,
) -> list[Packet]:
    """Connections that offer HTTP, on which this is said (True: by the client), and which the client closes after so many ms."""
    packets: list[Packet] = []
    at = 0
    for k, wait in enumerate(waits):
        made = talk(port + k, at, (TLS[0], 8443))
        for up, data in ((True, hello), (False, FLIGHT), (True, CHANGE + FINISHED), *said):
            (made.up if up else made.down)("PA", data)
        made.down("A")
        made.at += wait * MS
        if farewell:
            made.up("PA", farewell)
        at = made.at + S // 10
        packets += close(made).packets
    return packets


def by_http2(*ends: tuple[int, bytes], answered: bool = False) -> list[Packet]:
    """One connection of HTTP/2 with requests one after the other; of each, after how many ms the client says something, and what."""
    made = talk(40_000, 0, TLS)
    for up, data in (
        (True, OFFERING),
        (False, FLIGHT),
        (True, CHANGE + FINISHED),
        (False, record(23, bytes(56))),
        (True, record(23, bytes(70)) + ACKNOWLEDGED),
    ):
        (made.up if up else made.down)("PA", data)
    for wait, said in ends:
        made.up("PA", REQUEST)
        made.down("A")
        if answered:
            made.down("PA", ANSWER)
            made.up("A")
        made.at += wait * MS
        for part in said.split(ANSWER_HERE):
            made.up("PA", part)
            if part is not said:
                made.down("PA", record(23, bytes(102)) if len(part) > 100 else b"")
        made.down("A")
    return close(made).packets


def shifted(packets: list[Packet], ms: int) -> list[Packet]:
    """The same later, from other ports."""
    return [replace(p, at=p.at + ms * MS, data=p.data[:20] + p.data[20:].replace(PORT, OTHER_PORT, 1)) for p in packets]


def told(folder: Path, packets: list[Packet]) -> Finding | None:
    return found(folder, packets, ping(200 * S)).get("slow-server")


@pytest.mark.parametrize(
    "packets",
    [by_http1(6000, 6030), by_http2((6000, RESET_AND_PING), (6010, RESET)), by_http2((6000, RESET_AND_GOAWAY), (6001, RESET_AND_GOAWAY))],
    ids=["HTTP/1.1", "as Go does", "as curl does"],
)
def test_a_client_that_gives_up_after_the_same_time(tmp_path: Path, packets: list[Packet]) -> None:
    this = told(tmp_path, packets)
    assert this is not None
    assert this.severity == "problem"
    assert this.text == "2 requests inside TLS to api.example.test:443 got no answer until the client gave up after 6.0 s each time."
    assert "time-out" in this.advice or "timeout" in this.advice


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(by_http1(6000), id="who does not want to wait"),
        pytest.param(by_http1(4000, 6000, 9000), id="people"),
        pytest.param(by_http1(6000, 6000, answered=True), id="connections that were kept for a while"),
        pytest.param(by_http1(2000, 2000), id="soon"),
        pytest.param(by_http2((6000, PING), (6000, PING)), id="whether the server is there"),
        pytest.param(by_http2((6000, REQUEST), (6000, REQUEST)), id="what only tells"),
        pytest.param(by_http2((6000, RESET)), id="HTTP/2, once"),
        pytest.param(by_http2((6000, REQUEST + ANSWER_HERE + RESET), (6000, REQUEST + ANSWER_HERE + RESET)), id="a page that polls"),
        pytest.param(by_http1(6000, 6000, port=6514), id="logs"),
        pytest.param(by_http2((6000, RESET), (6000, RESET), answered=True), id="subscriptions"),
    ],
)
def test_what_is_no_timeout(tmp_path: Path, packets: list[Packet]) -> None:
    assert told(tmp_path, packets) is None


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(soon(2000, 2010, 1990), id="a timeout of two seconds"),
        pytest.param(soon(2000, 2010, 1990, hello=client_hello("api.example.test", ("http/1.1",))), id="HTTP/1.1 alone is offered"),
        pytest.param(
            soon(2000, 2010, 1990, said=((True, REQUEST), (False, record(23, bytes(250)) * 2))),
            id="session tickets come behind the request",
        ),
        pytest.param(soon(2000, 2010, 1990, said=((False, record(23, bytes(250)) * 2), (True, REQUEST))), id="or before it"),
    ],
)
def test_a_client_that_soon_gives_up_each_time(tmp_path: Path, packets: list[Packet]) -> None:
    this = told(tmp_path, packets)
    assert this is not None
    assert this.severity == "problem"
    assert this.text == "3 requests inside TLS to api.example.test:8443 got no answer until the client gave up after 2.0 s each time."


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(soon(2000, 2000), id="twice"),
        pytest.param(soon(1500, 2000, 2600), id="people"),
        pytest.param(soon(500, 500, 500), id="the quickest of several"),
        pytest.param(soon(2000, 2000, 2000, hello=HELLO), id="nobody knows what is spoken"),
        pytest.param(soon(2000, 2000, 2000, hello=client_hello("api.example.test", ("mqtt",))), id="what only tells"),
        pytest.param(soon(2000, 2000, 2000, said=()), id="connections that are opened ahead"),
        pytest.param(soon(2000, 2000, 2000, said=(), farewell=CLOSE_NOTIFY), id="and end in order"),
        pytest.param(soon(2000, 2000, 2000, said=((False, record(23, bytes(250)) * 2),), farewell=CLOSE_NOTIFY), id="with session tickets"),
        pytest.param(soon(2000, 2000, 2000, said=((True, CLOSE_NOTIFY),)), id="close_notify, and the end later"),
        pytest.param(soon(2000, 2000, 2000, said=((True, REQUEST), (False, ANSWER))), id="kept for another request"),
        pytest.param(soon(2000, 2000, 2000, said=WEBSOCKET), id="WebSockets"),
        pytest.param(
            soon(2000, 2000, 2000, said=((True, PREFACE), (False, SETTINGS), (True, ACKNOWLEDGED), (False, ACKNOWLEDGED))),
            id="HTTP/2 without a request",
        ),
        pytest.param(soon(2000, 2000, 2000, said=((True, PREFACE), (False, SETTINGS), (True, PING), (False, PING))), id="PINGs of HTTP/2"),
        pytest.param(
            [*soon(2000, 2000, 2000), *shifted(soon(10, said=((True, REQUEST), (False, ANSWER)), port=40_000), 30_000)],
            id="one is answered",
        ),
    ],
)
def test_what_ends_soon_and_is_no_timeout(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, ping(200 * S)))
    assert told(tmp_path, packets) is None


@pytest.mark.parametrize(
    "packets",
    [[*by_http1(6000, 6000), *shifted(by_http1(100, answered=True), 30_000)], by_http1(*[3000] * 12)],
    ids=["beside what is answered", "again and again"],
)
def test_polls_that_a_program_ends_itself(tmp_path: Path, packets: list[Packet]) -> None:
    this = told(tmp_path, packets)
    assert this is not None
    assert this.severity == "warning"


def test_a_long_wait_in_vain(tmp_path: Path) -> None:
    this = told(tmp_path, by_http1(61_000))
    assert this is not None
    assert (this.severity, "1 request inside TLS" in this.text, "61" in this.text) == ("warning", True, True)
    assert not problems({this.id: this})


def in_pieces(*ends: str, pieces: int = 8, alert: bool = False, pause: int = 50) -> list[Packet]:
    """Answers that a server sends bit by bit, a second apart, and how it ends the connection."""
    packets: list[Packet] = []
    for k, end in enumerate(ends):
        made = talk(40_000 + k, k * 3 * S, TLS)
        for up, data in ((True, HELLO), (False, FLIGHT), (True, CHANGE + FINISHED), (True, REQUEST)):
            (made.up if up else made.down)("PA", data)
        for piece in range(pieces):
            made.at += pause * MS
            made.down("PA", record(23, bytes(128 if piece else 300)))
            made.up("A")
        if alert:
            made.down("PA", record(23, bytes(19)))
        made.down(end)
        packets += made.packets
    return packets


def test_a_server_that_resets_in_the_midst_of_its_answers(tmp_path: Path) -> None:
    this = found(tmp_path, in_pieces("RA", "RA"), ping(9 * S))["reset"]
    assert (this.severity, this.text) == ("problem", "2 of 2 connections were reset by api.example.test:443 in the midst of an answer.")


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(in_pieces("RA"), id="once"),
        pytest.param(in_pieces("RA", "RA", alert=True), id="behind the end"),
        pytest.param(in_pieces("RA", "RA", pieces=2), id="short answers"),
        pytest.param(in_pieces("RA", "RA", pause=1), id="all at once"),
        pytest.param(in_pieces("FA", "FA"), id="closed"),
    ],
)
def test_resets_that_end_what_was_whole(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, ping(9 * S)))


TICKETS = record(23, bytes(250)) * 2


def behind_tickets(requests: bool = True, answered: bool = False, wait: int = 20) -> list[Packet]:
    """Two connections that a server resets some ms behind its session tickets, which come when the first request is on its way."""
    packets: list[Packet] = []
    for k in range(2):
        made = talk(40_000 + k, k * 3 * S, TLS)
        for up, data in ((True, HELLO), (False, FLIGHT), (True, CHANGE + FINISHED)):
            (made.up if up else made.down)("PA", data)
        before = made.seq
        if requests:
            made.up("PA", REQUEST)
        made.down("PA", TICKETS, ack=before)
        made.down("A")
        if answered:
            made.at += 300 * MS
            made.down("PA", ANSWER)
            made.up("A")
        made.at += wait * MS
        made.down("RA")
        packets += made.packets
    return packets


def test_session_tickets_are_no_answer_to_the_request_that_a_server_resets(tmp_path: Path) -> None:
    this = found(tmp_path, behind_tickets(), ping(9 * S))["reset"]
    assert (this.severity, this.text) == (
        "problem",
        "2 of 2 connections were reset by api.example.test:443 while a request was open.",
    )


@pytest.mark.parametrize("packets", [behind_tickets(requests=False), behind_tickets(answered=True), behind_tickets(wait=30_000)])
def test_resets_behind_session_tickets_of_what_was_not_open(tmp_path: Path, packets: list[Packet]) -> None:
    """Nothing was asked, it was answered, or it had been open for so long that nobody waited for it."""
    assert "reset" not in problems(found(tmp_path, packets, ping(99 * S)))


def in_a_loop(
    waits: list[int], sizes: list[int] | None = None, pause: int = 5, port: int = 40_000, hangs: int = 0, server: End = TLS
) -> list[Packet]:
    """Requests of these sizes on one connection, answered after so many s; the next comes so many ms behind the answer. hangs : s that the client waits for a
    last answer that does not come."""
    made = talk(port, 0, server)
    for up, data in ((True, HELLO), (False, FLIGHT), (True, CHANGE + FINISHED)):
        (made.up if up else made.down)("PA", data)
    made.down("PA", TICKETS)
    for wait, size in zip(waits, sizes or [153] * len(waits), strict=True):
        made.at += pause * MS
        made.up("PA", record(23, bytes(size)))
        made.down("A")
        made.at += wait * S
        made.down("PA", record(23, bytes(85)))
        made.up("A")
    if hangs:
        made.at += pause * MS
        made.up("PA", record(23, bytes(153)))
        made.down("A")
        made.at += hangs * S
    return close(made).packets


def quick() -> list[Packet]:
    return in_a_loop([0, 0], [400, 700], pause=500, port=40_001)


TIMED = [20, 9, 20, 14, 20]


def test_long_polls_inside_tls_are_a_note(tmp_path: Path) -> None:
    this = found(tmp_path, in_a_loop(TIMED, [153, 154, 153, 153, 153]), quick(), ping(120 * S))["slow-server"]
    assert this.severity == "note"
    assert this.text.endswith("the same again and again, ended by a timer while others are answered at once, as long polls are.")


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([in_a_loop(TIMED, [153, 1100, 820, 2000, 153]), quick()], id="each asks something else"),
        pytest.param([in_a_loop(TIMED, pause=2000), quick()], id="somebody comes back"),
        pytest.param([in_a_loop([20, 1, 20, 20]), quick()], id="one is answered soon"),
        pytest.param([in_a_loop([12, 12, 12, 12])], id="nothing else is asked"),
        pytest.param([in_a_loop([9, 18, 14, 12]), quick()], id="no timer"),
    ],
)
def test_waits_inside_tls_that_are_no_long_polls(tmp_path: Path, packets: list[list[Packet]]) -> None:
    assert found(tmp_path, *packets, ping(120 * S))["slow-server"].severity == "warning"


@pytest.mark.parametrize(("beside", "hangs", "is_told"), [([], 25, True), ([quick()], 25, True), ([quick()], 10, False)])
def test_a_last_wait_that_is_longer_than_any_poll(tmp_path: Path, beside: list[list[Packet]], hangs: int, is_told: bool) -> None:
    path = write(
        tmp_path / "made.pcap",
        mixed(in_a_loop([10, 10, 10], hangs=hangs, server=(TLS[0], 443 if beside else 8445)), *beside, ping(120 * S)),
    )
    told = [f.severity for f in netlens.analyze(str(path)).findings if f.id == "slow-server" and "until the client gave up" in f.text]
    assert told == ["warning"] * is_told
