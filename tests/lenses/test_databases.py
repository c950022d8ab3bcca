"""Statements that databases refuse behind the login, and TLS that PostgreSQL does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlens.parsers.fatal_errors import refusal
from tests.lenses.made import SERVER, S, close, exchange, found, healthy, problems, talk
from tests.lenses.test_before_login import POSTGRES, READY, START, error

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import End, Packet

MYSQL, REPLICA = (SERVER, 3306), ("198.51.100.21", 5432)
SHAPE, DONE = b"T\0\0\0\x21\0\x01n" + bytes(26), b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"
ROWS = SHAPE + DONE
MISSING = error(b"42P01", b"ERROR")
THERE = error(b"42P05", b"ERROR")
PARSED, BOUND = b"P\0\0\0\x18\0SELECT * FROM a\0\0\0", b"B\0\0\0\x0f\0S_1\0" + bytes(6)


def pg(*dialog: tuple[bytes, bytes], port: int = 41_000, at: float = 0, server: End = POSTGRES, whole: bool = True) -> list[Packet]:
    """A session with these queries and answers."""
    made = talk(port, int(at * S), server)
    if whole:
        exchange(made, START, READY)
    for query, answer in dialog:
        exchange(made, query if query[:1] in (b"P", b"B") else b"Q" + (len(query) + 5).to_bytes(4, "big") + query + b"\0", answer)
    return close(made).packets


def my(*dialog: tuple[bytes, int], port: int = 41_000, at: float = 0) -> list[Packet]:
    """The same of MySQL, with the number of an error or 0."""
    made = talk(port, int(at * S), MYSQL)
    made.down("PA", b"\x4a\0\0\0\x0a8.0.32" + bytes(67))
    exchange(made, b"\x20\0\0\1" + bytes(32), b"\x07\0\0\2\0\0\0\2\0\0\0")
    for query, number in dialog:
        body = b"\xff" + number.to_bytes(2, "little") + b"#HY000it says why" if number else bytes(7)
        exchange(made, (len(query) + 1).to_bytes(3, "little") + b"\0\3" + query, len(body).to_bytes(3, "little") + b"\1" + body)
    return close(made).packets


def sessions(n: int, *dialog: tuple[bytes, bytes]) -> list[Packet]:
    return [p for k in range(n) for p in pg(*dialog, port=41_000 + k, at=2 * k)]


@pytest.mark.parametrize(
    ("packets", "what"),
    [
        (sessions(3, (b"select * from a", MISSING)), "3 of 3 connections to 198.51.100.20:5432 got a refusal: table not known (42P01)"),
        (sessions(3, (b"P\0\0\0\x18\0SELECT * FROM a\0\0\0", MISSING)), "table not known (42P01)"),
        (sessions(3, (b"BEGIN", DONE), (b"insert into a", error(b"25006", b"ERROR"))), "read-only transaction (25006)"),
        (sessions(3, (b"select 1", SHAPE + error(b"57014", b"ERROR"))), "cancelled (57014)"),  # behind the shape of the rows
        (pg(*[(b"select 1", MISSING)] * 3, whole=False), "table not known (42P01)"),  # older than the capture
        (pg((b"select 1", ROWS), *[(b"select 1", error(b"53100", b"ERROR"))] * 3), "its disk is full (53100)"),  # since then
    ],
)
def test_statements_that_postgresql_never_takes(tmp_path: Path, packets: list[Packet], what: str) -> None:
    this = found(tmp_path, packets, healthy())
    assert problems(this) == {"refused"}
    assert what in this["refused"].text


def test_a_statement_that_takes_several_segments(tmp_path: Path) -> None:
    """What is sent with it or behind it (Sync) is none of its own."""
    made = exchange(talk(41_000, 0, POSTGRES), START, READY)
    for _ in range(3):
        made.up("PA", b"Q\0\0\x07\xd6insert into a values" + bytes(1426))
        made.up("PA", bytes(567))
        exchange(made, b"S\0\0\0\4", error(b"53100", b"ERROR"))
    assert problems(found(tmp_path, close(made).packets, healthy())) == {"refused"}


@pytest.mark.parametrize(
    ("number", "what"),
    [
        (1290, "read-only, or another option forbids it"),
        (1205, "waited too long for a lock"),
        (1213, "deadlock"),
        (1153, "packet too large"),
    ],
)
def test_statements_that_mysql_never_takes(tmp_path: Path, number: int, what: str) -> None:
    packets = [p for k in range(3) for p in my((b"SET NAMES x", 0), (b"insert into t", number), port=41_000 + k, at=2 * k)]
    this = found(tmp_path, packets, healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == f"3 of 3 connections to 198.51.100.20:3306 got a refusal: {what} ({number}) (MySQL)."


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(pg((b"select v from versions", MISSING), (b"create table versions", DONE)), id="a table that is made"),
        pytest.param(
            pg(*[(b"select v from versions", MISSING)] * 3, (b"create table versions", DONE), (b"select v from versions", ROWS)),
            id="a migration that looks into three tables first",
        ),
        pytest.param(sessions(5, (b"select * from a", MISSING), (b"select 1", ROWS)), id="an exporter without an extension"),
        pytest.param(pg(*[(b"drop table a", MISSING), (b"create table a", DONE)] * 4), id="a dump that is read in"),
        pytest.param(
            pg(*[(b"select v from a%d" % k, MISSING) for k in range(3)], *[(b"create table a%d" % k, DONE) for k in range(3)]),
            id="an installer that looks which tables there are",
        ),
        pytest.param(
            [
                p
                for k, name in enumerate((b"a", b"b", b"c"))
                for p in pg(
                    (b"select %s from t" % name, error(b"42703", b"ERROR")),
                    (b"alter table t add %s int" % name, DONE),
                    port=41_000 + k,
                    at=k,
                )
            ],
            id="columns that are added",
        ),
        pytest.param(
            sessions(4, (b"select 1", ROWS), (b"deallocate a", error(b"26000", b"ERROR"))), id="a statement that its pooler forgot"
        ),
        pytest.param(
            sessions(3, (BOUND, error(b"0A000", b"ERROR")), (PARSED, b"1\0\0\0\x04" + ROWS)), id="a plan that a migration changed"
        ),
        pytest.param(sessions(3, (PARSED, THERE), (BOUND, b"2\0\0\0\x04" + ROWS)), id="a statement that the pooler has already"),
        pytest.param(pg((PARSED, THERE), (PARSED, THERE), (PARSED, THERE), (PARSED, b"1\0\0\0\x04" + ROWS)), id="prepared in the end"),
        pytest.param(pg(*[(b"update a", error(b"40P01", b"ERROR"))] * 3, (b"update a", DONE)), id="deadlocks, until it is tried once more"),
        pytest.param(pg(*[(b"lock table a nowait", error(b"55P03", b"ERROR"))] * 5), id="a lock that is taken by another worker"),
        pytest.param(pg(*[(b"insert into a", error(b"23505", b"ERROR"))] * 5), id="rows that are there"),
        pytest.param(
            pg(*[(b"insert into a", error(b"25006", b"ERROR"))] * 3) + pg((b"insert into a", DONE), port=41_001, at=1, server=REPLICA),
            id="another server takes it",
        ),
        pytest.param(
            pg(*[(b"select 1", error(b"57014", b"ERROR"))] * 3)
            + close(exchange(talk(41_001, S, POSTGRES), b"\0\0\0\x10\x04\xd2\x16\x2e" + bytes(8), b"")).packets,
            id="cancelled by somebody",
        ),
        pytest.param(pg(*[(b"select 1", MISSING)] * 2), id="twice"),
        pytest.param(my(*[(b"insert into t", 1062)] * 5), id="rows that are there, in MySQL"),
        pytest.param(my(*[(b"update t", 1213)] * 3, (b"update t", 0)), id="deadlocks in MySQL"),
        pytest.param(my(*[(b"update t", 1213), *[(b"update t", 0)] * 5] * 5), id="a deadlock now and then"),
        pytest.param(my(*[(b"DROP TABLE t", 1146)] * 3), id="a dump that is read into MySQL"),
        pytest.param(my(*[(b"DESCRIBE wp_users", 1146)] * 12, *[(b"CREATE TABLE wp_users", 0)] * 12), id="an installer with MySQL"),
    ],
)
def test_errors_that_an_application_lives_with(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))


@pytest.mark.parametrize(
    "packets",
    [
        pg((b"create table b", DONE), *[(b"select v from a", MISSING)] * 3),  # before
        pg(*[(b"select v from a", MISSING)] * 2, (b"create table b", DONE), (b"select v from a", MISSING)),  # and it goes on
        sessions(3, (BOUND, error(b"0A000", b"ERROR")), (PARSED, error(b"0A000", b"ERROR"))),
        pg(*[(PARSED, THERE)] * 3) + pg((PARSED, b"1\0\0\0\x04" + ROWS), port=41_001, at=1),
        pg(*[(b"execute a", error(b"26000", b"ERROR"))] * 3) + pg((b"execute a", ROWS), port=41_001, at=1),
    ],
    ids=["something else before", "something else", "prepared in vain", "another session prepares it", "another session has it"],
)
def test_errors_that_nothing_made_up_for(tmp_path: Path, packets: list[Packet]) -> None:
    assert problems(found(tmp_path, packets, healthy())) == {"refused"}


PUSH, WRONG = b"*3\r\n$5\r\nLPUSH\r\n$1\r\na\r\n$1\r\n1\r\n", b"-WRONGTYPE Operation against a key\r\n"
READ = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"


def late(code: bytes, *waits: float) -> list[Packet]:
    """Statements that are refused after so many seconds each, and one that is granted."""
    made = exchange(talk(41_000, 0, POSTGRES), START, READY)
    for wait in waits:
        exchange(made, b"Q\0\0\0\x0eselect 1\0", error(code, b"ERROR"), int(wait * S))
    return close(exchange(made, b"Q\0\0\0\x0eselect 1\0", ROWS)).packets


def values(*dialog: tuple[bytes, bytes]) -> list[Packet]:
    made = talk(41_000, 0, (SERVER, 6379))
    for question, answer in dialog:
        exchange(made, question, answer)
    return close(made).packets


@pytest.mark.parametrize(
    ("packets", "what"),
    [
        (late(b"57014", 1.5, 1.51), "cancelled (57014)"),
        (values(*[(PUSH, WRONG), (READ, b"$1\r\n1\r\n")] * 3), "WRONGTYPE (Redis)"),
    ],
)
def test_errors_that_may_be_meant_are_told(tmp_path: Path, packets: list[Packet], what: str) -> None:
    this = found(tmp_path, packets, healthy())["refused"]
    assert this.severity == "warning"
    assert what in this.text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(late(b"57014", 1.5, 4.0), id="cancelled by hand"),
        pytest.param(late(b"57014", 0.05, 0.05), id="a limit that nobody notices"),
        pytest.param(late(b"57014", 1.5), id="one"),
        pytest.param(pg(*[(b"insert into orders values(1)", error(b"23505", b"ERROR"))] * 6), id="who makes sure that a row is there"),
        pytest.param(my(*[(b"insert into a", 1062)] * 6), id="the same of MySQL"),
        pytest.param(values(*[(PUSH, WRONG)] * 2), id="who looks through keys"),
        pytest.param(values(*[(PUSH, WRONG)] * 2, (PUSH, b":1\r\n"), *[(PUSH, WRONG)] * 2), id="values of several kinds"),
    ],
)
def test_errors_that_are_few(tmp_path: Path, packets: list[Packet]) -> None:
    assert "refused" not in found(tmp_path, packets, healthy())


def test_a_packet_that_mysql_does_not_take(tmp_path: Path) -> None:
    """It ends the connection: once is enough."""
    this = found(tmp_path, my((b"select 1", 0), (b"insert into pictures", 1153)), healthy())["refused"]
    assert (this.severity, "packet too large (1153)" in this.text, "max_allowed_packet" in this.advice) == ("problem", True, True)
    smaller = my((b"insert into pictures", 0), port=41_001, at=9)
    assert found(tmp_path, my((b"insert into pictures", 1153)), smaller, healthy())["refused"].severity == "warning"


def test_deadlocks_again_and_again(tmp_path: Path) -> None:
    """Though each is done again."""
    this = found(tmp_path, my(*[(b"update t", 1213), *[(b"update t", 0)] * 3] * 5), healthy())
    assert problems(this) == {"refused"}
    assert "deadlock (1213) (MySQL)" in this["refused"].text


def test_the_error_of_a_segment_is_found_behind_what_else_stands_there() -> None:
    assert refusal(SHAPE + MISSING) == ("42P01", False)
    assert refusal(b"1\0\0\0\x042\0\0\0\x04" + MISSING) == ("42P01", False)
    assert refusal(ROWS) is None


WANTS = b"\0\0\0\x08\x04\xd2\x16\x2f"


def no_tls(n: int, goes_on: bool = False, step: float = 1, at: float = 0) -> list[Packet]:
    packets: list[Packet] = []
    for k in range(n):
        made = talk(42_000 + k, int((at + k * step) * S), POSTGRES)
        exchange(made, WANTS, b"N")
        packets += close(exchange(made, START, READY) if goes_on else made).packets
    return packets


def test_a_client_that_insists_on_tls(tmp_path: Path) -> None:
    this = found(tmp_path, no_tls(3), healthy())
    assert problems(this) == {"refused"}
    assert "3 of 3 connections to 198.51.100.20:5432 got a refusal: no TLS, which the client insists on" in this["refused"].text


def given_up_on_tls(k: int) -> list[Packet]:
    """The server's N comes when the client has given up."""
    made = talk(42_000 + k, 9 * k * S, POSTGRES)
    made.up("PA", WANTS)
    made.down("A")
    made.at += 3 * S
    made.up("FA")
    made.down("A")
    made.down("PA", b"N")
    made.up("R")
    return made.packets


def test_a_client_that_did_not_hear_whether_there_is_tls(tmp_path: Path) -> None:
    assert problems(found(tmp_path, *(given_up_on_tls(k) for k in range(3)), healthy())) == {"slow-server"}


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(no_tls(5, goes_on=True), id="goes on without"),
        pytest.param(no_tls(2), id="looks whether there is TLS"),
        pytest.param(no_tls(5, step=0.01), id="scripts of a scanner"),
        pytest.param(no_tls(3) + pg(port=43_000, at=9, server=REPLICA), id="another server of its list"),
        pytest.param(no_tls(3) + pg(port=43_000, at=9), id="without TLS later"),
    ],
)
def test_clients_that_do_not_insist_on_tls(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))


def lost(number: bytes, kind: bytes = b"update a", wait: int = S, then: tuple[bytes, bytes] | None = None, at: int = 0) -> list[Packet]:
    """A statement that fails once, after a while."""
    made = exchange(talk(41_000, at, POSTGRES), START, READY)
    words = [(kind, error(number, b"ERROR"))]
    for text, answer in [*words, *([then] if then else [])]:
        exchange(made, b"Q" + (len(text) + 5).to_bytes(4, "big") + text + b"\0", answer, wait if answer == words[0][1] else 0)
    return close(made).packets


@pytest.mark.parametrize(
    ("packets", "what"),
    [
        (lost(b"40P01"), "deadlock (40P01)"),
        (lost(b"40P01", then=(b"ROLLBACK", DONE)), "deadlock (40P01)"),
        (lost(b"55P03"), "waited too long for a lock (55P03)"),
        (lost(b"53100", wait=0, then=(b"update a", DONE)), "its disk is full (53100)"),
        (lost(b"XX001", kind=b"select 1", wait=0), "its data is damaged (XX001)"),
        (my((b"update t", 1205)), "waited too long for a lock (1205)"),
        (my((b"update t", 1213), (b"ROLLBACK", 0)), "deadlock (1213)"),
        (my((b"insert t", 1114), (b"insert t", 0)), "its table is full (1114)"),
    ],
)
def test_one_error_is_enough(tmp_path: Path, packets: list[Packet], what: str) -> None:
    this = found(tmp_path, packets, healthy())
    assert problems(this) == {"refused"}
    assert what in this["refused"].text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(lost(b"40P01", then=(b"update a", DONE)), id="a deadlock, and it is done again"),
        pytest.param(lost(b"40001", then=(b"update a", DONE)), id="a conflict, and it is done again"),
        pytest.param(lost(b"40P01")[:-3], id="a deadlock at the end of the capture"),
        pytest.param(lost(b"40P01") + pg((b"update a", DONE), port=41_001, at=3), id="done again on another connection"),
        pytest.param(lost(b"55P03", wait=4 * S, then=(b"update a", DONE)), id="a lock that is tried again"),
        pytest.param(lost(b"55P03", wait=0), id="a lock that is wanted at once or not"),
        pytest.param(lost(b"57014", wait=6 * S), id="a limit of time"),
        pytest.param(lost(b"25006", wait=0), id="a write that a replica refuses, once"),
        pytest.param(lost(b"58P01", wait=0), id="a file that is not there"),
        pytest.param(my((b"update t", 1205), (b"update t", 0)), id="a lock of MySQL that is tried again"),
        pytest.param(lost(b"42P01", wait=0), id="a table that is not there"),
        pytest.param(lost(b"23505", wait=0), id="a row that is there"),
        pytest.param(my((b"update t", 1213), (b"update t", 0)), id="a deadlock in MySQL, and it is done again"),
        pytest.param(my((b"insert t", 1062)), id="a row that is there, in MySQL"),
    ],
)
def test_one_error_that_is_ordinary(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))


NODES = ("198.51.100.31", 6379), ("198.51.100.32", 6379)
ASKED, VALUE = b"*2\r\n$3\r\nGET\r\n$6\r\nuser:1\r\n", b"$1\r\nx\r\n"


def cluster(*said: tuple[int, bytes]) -> list[Packet]:
    """One command, sent to one node after the other: which, and what it said."""
    talks = [talk(42_000 + k, 0, node) for k, node in enumerate(NODES)]
    for k, (node, answer) in enumerate(said):
        talks[node].at = (k + 1) * S // 10
        exchange(talks[node], ASKED, answer)
    return sorted((p for made in talks for p in close(made).packets), key=lambda p: p.at)


def sent_on(times: int) -> list[tuple[int, bytes]]:
    return [(k % 2, b"-MOVED 7638 198.51.100.3%d:6379\r\n" % (2 - k % 2)) for k in range(times)]


def test_nodes_of_redis_that_send_a_client_in_circles(tmp_path: Path) -> None:
    this = found(tmp_path, cluster(*sent_on(8)), healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == (
        "2 of 2 connections to 198.51.100.31:6379 and 198.51.100.32:6379 got a refusal: MOVED in circles from node to node (Redis)."
    )


@pytest.mark.parametrize(
    "said",
    [
        [*sent_on(1), (1, VALUE)],
        [(0, sent_on(1)[0][1]), (1, VALUE)] * 6,  # who does not learn gets there
        [(0, sent_on(1)[0][1])] * 8,  # to one node, perhaps for as many keys
        [*sent_on(7), (1, VALUE)],  # a slot that is moved, in the end
    ],
)
def test_nodes_of_redis_that_know_the_way(tmp_path: Path, said: list[tuple[int, bytes]]) -> None:
    assert not problems(found(tmp_path, cluster(*said), healthy()))
