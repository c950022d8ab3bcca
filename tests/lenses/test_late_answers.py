"""Databases and caches that answer late, and greetings of theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lenses.made import MS, SERVER, End, Packet, S, close, exchange, found, healthy, problems, talk
from tests.lenses.test_before_login import POSTGRES, READY, START
from tests.lenses.test_databases import ROWS
from tests.lenses.test_in_line import query

REDIS, MEMCACHED, MYSQL, CASSANDRA = (SERVER, 6379), (SERVER, 11211), (SERVER, 3306), (SERVER, 9042)


def command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


GOT = b"$1\r\nx\r\n"


def one(server: End, port: int, at: int, asked: bytes, answer: bytes, wait: int) -> list[Packet]:
    return close(exchange(talk(port, at, server), asked, answer, wait)).packets


def blocked(wait: int = 4 * S, asked: bytes = command(b"GET", b"a"), blocks: bytes = command(b"KEYS", b"*")) -> list[list[Packet]]:
    """One command is slow, and another that comes 100 ms later is answered when it is."""
    return [one(REDIS, 40_000, 0, blocks, b"*0\r\n", wait), one(REDIS, 40_001, 100 * MS, asked, GOT, wait - 100 * MS)]


def test_a_command_that_keeps_redis_busy(tmp_path: Path) -> None:
    this = found(tmp_path, *blocked(), one(REDIS, 40_002, 9 * S, command(b"GET", b"a"), GOT, MS))["slow-server"]
    assert this.severity == "problem"
    assert this.text == (
        "2 of 3 commands to 198.51.100.20:6379 (Redis) waited up to 4.0 s for the answer, and others until the same moment: it does one command at a time, "
        "and one took that long."
    )
    assert "SLOWLOG" in this.advice


@pytest.mark.parametrize(
    ("streams", "severity"),
    [
        (blocked(blocks=command(b"DEBUG", b"SLEEP", b"4")), "problem"),
        (blocked(wait=2 * S), "warning"),
        ([one(REDIS, 40_000, 0, command(b"KEYS", b"*"), b"*0\r\n", 4 * S)], "warning"),  # nobody else waits
        ([one(REDIS, 40_000, 0, command(b"GET", b"a"), GOT, 6 * S)], "problem"),
        ([one(MEMCACHED, 40_000, 0, b"get a\r\n", b"END\r\n", 6 * S)], "problem"),
        ([one(MEMCACHED, 40_000 + k, 5 * k * S, b"get a\r\n", b"END\r\n", 4 * S) for k in range(2)], "problem"),
        ([one(MEMCACHED, 40_000, 0, b"get a\r\n", b"END\r\n", 4 * S)], "warning"),
    ],
)
def test_caches_that_are_slow(tmp_path: Path, streams: list[list[Packet]], severity: str) -> None:
    assert found(tmp_path, *streams, healthy())["slow-server"].severity == severity


@pytest.mark.parametrize(
    "asked",
    [
        command(b"BLPOP", b"a", b"0"),
        command(b"BRPOP", b"a", b"0"),
        command(b"BLMOVE", b"a", b"b", b"LEFT", b"LEFT", b"0"),
        command(b"XREAD", b"BLOCK", b"0", b"STREAMS", b"a", b"$"),
        command(b"WAIT", b"1", b"5000"),
        command(b"PSYNC", b"?", b"-1"),
        command(b"SUBSCRIBE", b"a"),
    ],
    ids=lambda asked: asked.split(b"\r\n")[2].decode(),
)
def test_commands_that_wait_for_something(tmp_path: Path, asked: bytes) -> None:
    """Of two clients, both of which get it at the same time."""
    assert "slow-server" not in found(tmp_path, *blocked(8 * S, asked, asked))


def statements(*texts: bytes, wait: int = 6 * S) -> list[Packet]:
    """The first takes long."""
    made = exchange(talk(40_000, 0, POSTGRES), START, READY)
    for k, text in enumerate(texts):
        exchange(made, query(text + b"\0"), ROWS, wait if k == 0 else 3 * MS)
    return close(made).packets


def test_a_report(tmp_path: Path) -> None:
    this = found(tmp_path, statements(b"select report()", b"select 1", b"select 2"))["slow-server"]
    assert this.severity == "warning"
    assert this.text == "1 of 3 queries to 198.51.100.20:5432 waited 6.0 s for the answer's first byte; most others within 7 ms."


@pytest.mark.parametrize(
    "text", [b"VACUUM FULL", b"create index a on b (c)", b"ALTER TABLE a", b"copy a to stdout", b"refresh materialized view a"]
)
def test_statements_that_are_meant_to_last(tmp_path: Path, text: bytes) -> None:
    assert "slow-server" not in found(tmp_path, statements(text, b"select 1"))


def greeting(port: int, at: int, wait: int) -> list[Packet]:
    made = talk(port, at, MYSQL)
    made.at += wait
    made.down("PA", b"\x4a\0\0\0\x0a8.0.32" + bytes(67))
    exchange(made, b"\x20\0\0\1" + bytes(32), b"\x07\0\0\2\0\0\0\2\0\0\0")
    return close(made).packets


@pytest.mark.parametrize(("wait", "severity"), [(5 * S, "problem"), (2 * S, "")])
def test_mysql_greets_late(tmp_path: Path, wait: int, severity: str) -> None:
    this = found(tmp_path, greeting(40_000, 0, wait), greeting(40_001, 10 * S, MS))
    assert problems(this) == ({"slow-server"} if severity else set())
    if severity:
        assert this["slow-server"].text == "1 of 2 connections waited 5.0 s for the server's greeting (198.51.100.20:3306)."
