"""Queries to databases that wait in line, connections that pile up, and SYNs that another address answers."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.lenses.made import CLIENT, MS, SERVER, WEB, End, Packet, S, close, exchange, found, healthy, ping, problems, talk
from tests.parsers.build import Talk, segment

POSTGRES: End = (SERVER, 6432)
STARTUP = struct.pack(">II", 24, 0x00030000) + b"user\0a\0database\0b\0\0"[:16]
READY = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I"


def query(text: bytes, kind: bytes = b"Q") -> bytes:
    return kind + struct.pack(">I", 4 + len(text)) + text


SHORT, LONG = query(b"select 1\0"), query(b"select report()\0")


def session(port: int, at: int, asked: bytes = SHORT, wait: int = MS) -> list[Packet]:
    """A login, and a query that is asked 10 ms later."""
    made = exchange(talk(port, at, POSTGRES), STARTUP, READY)
    made.at = at + 10 * MS
    return close(exchange(made, asked, b"T\0\0\0\x06\0\1D\0\0\0\x05aZ\0\0\0\x05I", wait)).packets


def lines(*more: list[Packet], second: bytes = SHORT) -> list[list[Packet]]:
    """Two reports of 5 s, behind each of which a short query waits."""
    return [
        session(40_000, 0, LONG, 5 * S),
        session(40_001, S, second, 4 * S + 2 * MS),
        session(40_002, 10 * S, LONG, 5 * S),
        session(40_003, 11 * S, second, 4 * S + 2 * MS),
        *more,
    ]


def test_queries_that_wait_for_others(tmp_path: Path) -> None:
    this = found(tmp_path, *lines(session(40_004, 20 * S)))["slow-server"]
    assert this.severity == "problem"
    assert this.text.startswith(
        "2 of 5 queries to 198.51.100.20:6432 waited in line up to 4.0 s: each was answered as soon as one of another "
    )


@pytest.mark.parametrize(
    "streams",
    [
        lines(),  # whether the query is a quick one, nobody knows
        lines(session(40_004, 20 * S), second=query(b"select other_report()\0")),
        [session(40_000 + k, k * 10 * S, LONG, 9 * S) for k in range(3)],  # reports, one after the other
        [session(40_000 + k, k * MS, SHORT, 4 * S - k * MS) for k in range(6)] + [session(40_010, 20 * S)],  # asked together, done together
        lines(session(40_004, 20 * S, query(b"\0\0\0\0", b"d")), second=query(b"\0\0\0\0", b"d")),  # replication, which waits for events
    ],
)
def test_queries_that_take_long(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "slow-server" not in problems(found(tmp_path, *streams))


REDIS: End = (SERVER, 6379)


def jobs(count: int = 40, every: int = 200 * MS, ends: bool = False, again: bool = False) -> list[list[Packet]]:
    out = []
    for k in range(count):
        made = exchange(talk(41_000 + k, k * every, REDIS), b"PING\r\n", b"+PONG\r\n")
        if again:
            made.at += 9 * S
            exchange(made, b"PING\r\n", b"+PONG\r\n")
        out.append(close(made).packets if ends else made.packets)
    return [*out, ping(count * every + 20 * S)]


def test_connections_that_pile_up(tmp_path: Path) -> None:
    this = found(tmp_path, *jobs())["never-closed"]
    assert this.severity == "warning"
    assert this.text == (
        "40 connections from 192.0.2.10 to 198.51.100.20:6379 were opened one after the other within 7.8 s; each was used once, and none was closed."
    )


@pytest.mark.parametrize("streams", [jobs(ends=True), jobs(every=0), jobs(again=True), jobs(count=20)])
def test_pools_and_what_is_closed(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "never-closed" not in found(tmp_path, *streams)


INSIDE: End = ("192.0.2.80", 80)


def hairpin(port: int, at: int, goes_on: bool = False, resets: bool = True, syns: int = 4) -> list[Packet]:
    """A SYN to one address, that another one answers."""
    made = Talk((CLIENT, port), WEB, isn=port * 1000, answer=port * 2000, at=at, step=MS)
    packets = []
    for k in range(syns):
        made.at = at + k * S
        packets.append(made.up("S", seq=port * 1000))
        packets.append(Packet(made.at, segment(INSIDE, (CLIENT, port), "SA", port * 2000 + 77 * k, port * 1000 + 1)))
        if resets:
            packets.append(Packet(made.at + MS, segment((CLIENT, port), INSIDE, "R", port * 1000 + 1)))
    if goes_on:
        packets.append(Packet(made.at + 2 * MS, segment((CLIENT, port), WEB, "A", port * 1000 + 1, port * 2000 + 1)))
        packets.append(
            Packet(made.at + 3 * MS, segment((CLIENT, port), WEB, "PA", port * 1000 + 1, port * 2000 + 1, b"GET / HTTP/1.1\r\n\r\n"))
        )
    return packets


@pytest.mark.parametrize("resets", [True, False])
def test_another_address_answers(tmp_path: Path, resets: bool) -> None:
    this = found(tmp_path, hairpin(41_000, 0, resets=resets), hairpin(41_001, 6 * S, resets=resets), ping(30 * S))
    assert this["connect-unanswered"].severity == "problem"
    assert this["connect-unanswered"].text == (
        "2 connections from 192.0.2.10 to 198.51.100.20:80 never opened (8 SYNs): 192.0.2.80:80 answers in its place. 192.0.2.10 did not ask that "
        f"address, and {'rejects the answer (RST)' if resets else 'ignores the answer'}."
    )


@pytest.mark.parametrize(
    "packets",
    [
        hairpin(41_000, 0, goes_on=True, resets=False, syns=1),  # translated on this machine
        hairpin(41_000, 0, resets=False, syns=1),  # the capture holds SYNs and SYN+ACKs alone
        hairpin(41_000, 0, syns=2),  # so soon
    ],
)
def test_an_address_that_is_translated_here(tmp_path: Path, packets: list[Packet]) -> None:
    assert "connect-unanswered" not in problems(found(tmp_path, packets, healthy(), ping(30 * S)))


def held(count: int = 4) -> list[list[Packet]]:
    """A lock that a migration of 8 s holds, for which others wait that begin within a while."""
    lock, migrate = query(b"select pg_advisory_lock(1)\0"), query(b"alter table a add b int\0")
    first = exchange(exchange(talk(40_000, 0, POSTGRES), STARTUP, READY), lock, READY)
    exchange(first, migrate, READY, 8 * S)
    streams = [close(first).packets]
    for k in range(1, count + 1):
        made = exchange(talk(40_000 + k, k * S, POSTGRES), STARTUP, READY)
        exchange(made, lock, READY, first.at + k * 3 * MS - made.at)
        streams.append(close(made).packets)
    return streams


def test_a_lock_that_all_wait_for_once(tmp_path: Path) -> None:
    assert found(tmp_path, *held(), healthy(at=20 * S))["slow-server"].severity == "warning"


def locked(waits: int = 9 * S, busy: bool = False, begins: int = 0, other: bytes = SHORT, ends: bytes = b"commit\0") -> list[list[Packet]]:
    """A transaction that changes a table and ends late, and a query that is asked a second later, and answered when that ends."""
    first = exchange(exchange(talk(40_000, begins, POSTGRES), STARTUP, READY), query(b"begin\0"), READY)
    exchange(first, query(b"alter table a add b int\0"), READY, waits if busy else MS)
    first.at = max(first.at, S + waits)
    exchange(first, query(ends), READY, 5 * MS)
    return [close(first).packets, session(40_001, S, SHORT, waits), session(40_002, 30 * S, other)]


@pytest.mark.parametrize("ends", [b"commit\0", b"ROLLBACK\0"])
def test_a_transaction_that_holds_its_locks_while_it_is_idle(tmp_path: Path, ends: bytes) -> None:
    this = found(tmp_path, *locked(ends=ends))["slow-server"]
    assert this.severity == "problem"
    assert (
        "1 of 5 queries to 198.51.100.20:6432 waited in line 9.0 s: each was answered as soon as a transaction of another connection"
        in this.text
    )


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(locked(busy=True), id="its statement takes so long"),
        pytest.param(locked(waits=2 * S), id="not for long"),
        pytest.param(locked(begins=3 * S), id="it began later"),
        pytest.param(locked(other=LONG), id="whether the query is a quick one, nobody knows"),
        pytest.param(locked(ends=b"select 2\0"), id="it goes on"),
        pytest.param([session(40_001, S, SHORT, 9 * S), session(40_002, 30 * S)], id="no transaction"),
    ],
)
def test_queries_that_wait_for_no_idle_transaction(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "slow-server" not in problems(found(tmp_path, *streams))


def syns_alone(port: int, at: int, again: bool) -> list[Packet]:
    """Of a connection that is translated on the way, SYN and SYN+ACK; the SYN is perhaps repeated, as it is lost behind the capture, or its answer is."""
    syn, synack = segment((CLIENT, port), WEB, "S", port * 1000), segment(INSIDE, (CLIENT, port), "SA", port * 2000, port * 1000 + 1)
    order = [syn, syn, synack, synack] if again else [syn, synack]
    return [Packet(at + k * S, data) for k, data in enumerate(order)]


@pytest.mark.parametrize("most", [1, 2])
def test_a_capture_of_syns_whose_answers_are_translated(tmp_path: Path, most: int) -> None:
    streams = [syns_alone(41_000 + k, k * 6 * S, k % 2 < most) for k in range(8)]
    assert "connect-unanswered" not in problems(found(tmp_path, *streams, healthy(), ping(60 * S)))


def test_most_connections_that_are_translated_open(tmp_path: Path) -> None:
    streams = [syns_alone(41_000 + k, k * 6 * S, again=False) for k in range(8)]
    assert "connect-unanswered" not in problems(found(tmp_path, *streams, hairpin(42_000, S, resets=False), healthy(), ping(60 * S)))
