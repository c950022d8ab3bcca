"""Requests that go one after the other over a far line, and connections that are opened for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lenses.made import GET, MS, OK, SERVER, WEB, End, Packet, S, close, found, problems
from tests.lenses.test_before_login import POSTGRES, READY, START
from tests.lenses.test_in_line import query
from tests.parsers.build import Talk

ROW = b"T\0\0\0\x06\0\0D\0\0\0\x05aZ\0\0\0\x05I"
ROUND_TRIP = 20 * MS


def far(server: End, port: int = 40_000, at: int = 0, trip: int = ROUND_TRIP) -> Talk:
    made = Talk(("192.0.2.10", port), server, isn=port * 1000, answer=port * 2000, at=at, step=MS // 100)
    made.up("S")
    made.at += trip
    made.down("SA")
    made.up("A")
    return made


def ask(made: Talk, request: bytes, answer: bytes, trip: int = ROUND_TRIP, pause: int = 0) -> None:
    made.up("PA", request)
    made.at += trip
    made.down("PA", answer)
    made.up("A")
    made.at += pause


def rows(
    n: int, trip: int = ROUND_TRIP, work: int = 0, pause: int = 0, shape: bytes = b"select * from item where id = %d\0", answer: bytes = ROW
) -> list[Packet]:
    """A login, and as many queries."""
    made = far(POSTGRES, trip=trip)
    ask(made, START, READY, trip)
    for k in range(n):
        ask(made, query(shape % k if b"%" in shape else shape), answer, trip + work, pause)
    return close(made).packets


def test_a_query_for_each_row(tmp_path: Path) -> None:
    this = found(tmp_path, rows(120))["chatty"]
    assert this.severity == "problem"
    assert this.text == (
        "120 queries on one connection to 198.51.100.20:5432 went one after the other, each a round trip (20 ms) behind the one before: 2.4 s of waiting for "
        "the line, most of them begin alike."
    )
    assert "N+1" in this.advice
    assert this.frames_in_all == 120


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(rows(400, trip=MS), id="near by"),
        pytest.param(rows(30), id="few"),
        pytest.param(rows(120, work=40 * MS), id="a server that works"),
        pytest.param(rows(120, pause=30 * MS), id="a client that works"),
        pytest.param(rows(60, pause=2 * S), id="who asks by the clock"),
        pytest.param(rows(120, answer=b"D\0\0\x3a\x98" + bytes(15_000)), id="answers that are large"),
    ],
)
def test_queries_that_may_go_one_by_one(tmp_path: Path, packets: list[Packet]) -> None:
    assert "chatty" not in found(tmp_path, packets)


def test_queries_of_many_kinds(tmp_path: Path) -> None:
    """As of a program that looks around."""
    made = far(POSTGRES)
    ask(made, START, READY)
    for k in range(120):
        ask(made, query((b"select a", b"show all", b"explain b", b"insert c", b"update d")[k % 5] + b"\0"), ROW)
    assert found(tmp_path, close(made).packets)["chatty"].severity == "warning"


@pytest.mark.parametrize("shape", [b"fetch 50 from c\0", b"insert into item values (%d)\0", b"COMMIT\0"])
def test_statements_that_are_no_reads(tmp_path: Path, shape: bytes) -> None:
    """A cursor, a load: each is a round trip, and there is no page that waits for it."""
    assert found(tmp_path, rows(120, shape=shape))["chatty"].severity == "warning"


@pytest.mark.parametrize(("sizes", "n"), [((0,), 300), ((0, 900, 3000, 9000), 300)], ids=["record after record", "a mirror"])
def test_requests_of_http(tmp_path: Path, sizes: tuple[int, ...], n: int) -> None:
    made = far(WEB)
    for k in range(n):
        body = bytes(sizes[k % len(sizes)])
        ask(made, GET, OK.replace(b": 0", b": %d" % len(body)) + body)
    this = found(tmp_path, close(made).packets)["chatty"]
    assert this.severity == "warning"
    assert this.text.startswith(f"{n} HTTP requests on one connection to {SERVER}:80 went one after the other, each a round trip (20 ms)")


def anew(n: int, trip: int = 50 * MS, pause: int = 5 * MS, lasts: int = 0, at: int = 0, port: int = 40_000) -> list[Packet]:
    """One request on each connection."""
    packets: list[Packet] = []
    for k in range(n):
        made = far(WEB, port + k, at, trip)
        ask(made, GET, OK, trip + lasts)
        packets += close(made).packets
        at = made.at + pause
    return packets


@pytest.mark.parametrize("n", [210, 60])
def test_a_connection_for_each_request(tmp_path: Path, n: int) -> None:
    this = found(tmp_path, anew(n))["chatty"]
    assert this.severity == "warning"
    assert this.text.startswith(
        f"{n} connections from 192.0.2.10 to {SERVER}:80 were opened one after the other, a handshake for each request: {n * 0.05:.1f} s of "
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(anew(200, trip=MS), id="near by"),
        pytest.param(anew(100, pause=S), id="who asks by the clock"),
        pytest.param(anew(100, lasts=200 * MS), id="answers take longer"),
        pytest.param(anew(10), id="few"),
        pytest.param(
            sorted((p for k in range(100) for p in anew(1, at=k * 10 * MS, port=40_000 + k)), key=lambda p: p.at), id="side by side"
        ),
    ],
)
def test_connections_that_may_be_opened_anew(tmp_path: Path, packets: list[Packet]) -> None:
    assert "chatty" not in problems(found(tmp_path, packets))
