"""What to do where a server says no: never about passwords where none is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import S, close, exchange, found, healthy, talk
from tests.lenses.test_before_login import POSTGRES, READY, START, error
from tests.lenses.test_goes_on import said

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Packet

SET, HELO = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n", b"EHLO a\r\n"
GREETING = (b"220 a\r\n", b"* OK a\r\n")


def redis(error: bytes) -> list[list[Packet]]:
    return [said(42_000 + k, 6379, (SET, error + b"\r\n"), at=k * S) for k in range(3)]


def postgres(code: bytes, behind: bool = False) -> list[list[Packet]]:
    out = []
    for k in range(3):
        made = talk(42_000 + k, k * S, POSTGRES)
        if behind:
            exchange(made, START, READY)
        out.append(close(exchange(made, b"Q\0\0\0\x0bBEGIN\0" if behind else START, error(code, b"FATAL"))).packets)
    return out


def words(port: int, *pairs: tuple[bytes, bytes], hello: bytes = GREETING[0]) -> list[list[Packet]]:
    return [said(42_000 + k, port, *pairs, at=k * S, hello=hello) for k in range(3)]


@pytest.mark.parametrize(
    ("streams", "advice"),
    [
        (redis(b"-BUSY Redis is busy"), "SCRIPT KILL"),
        (redis(b"-MISCONF Redis is configured"), "its disk"),
        (redis(b"-ERR max number of clients reached"), "maxclients"),
        (redis(b"-DENIED Redis is running"), "requirepass"),
        (redis(b"-LOADING Redis is loading"), "starts, recovers or stops"),
        (redis(b"-OOM command not allowed"), "maxmemory"),
        (redis(b"-READONLY You can't"), "the primary"),
        (postgres(b"57P03"), "starts, recovers or stops"),
        (postgres(b"57P01", behind=True), "Somebody ended it"),
        (postgres(b"25P03", behind=True), "commit before"),
        (postgres(b"3D000"), "no such database"),
        (postgres(b"53200"), "no memory left"),
        (postgres(b"XX000"), "Its reply says why"),
        (words(21, hello=b"421 There are too many\r\n"), "too many connections"),
        (words(25, hello=b"421 4.7.0 a Error: too many\r\n"), "too many connections"),
        (words(21, (b"USER a\r\n", b"530 must use encryption\r\n")), "TLS first"),
        (words(21, (b"USER a\r\n", b"331 a\r\n"), (b"STOR a\r\n", b"552 full\r\n")), "quota"),
        (words(25, (HELO, b"250 a\r\n"), (b"MAIL FROM:<a@b>\r\n", b"452 full\r\n")), "for now"),
        (words(25, (HELO, b"250 a\r\n"), (b"MAIL FROM:<a@b>\r\n", b"530 STARTTLS first\r\n")), "STARTTLS"),
        (words(143, (b"a APPEND Sent {5+}\r\nhello", b"a NO [OVERQUOTA]\r\n"), hello=GREETING[1]), "mailbox may be full"),
        (words(143, (b"KKFO1 LOGIN a b\r\n", b"KKFO1 NO [LIMIT]\r\n"), hello=GREETING[1]), "too many connections of one user"),
    ],
)
def test_advice_by_what_the_server_said(tmp_path: Path, streams: list[list[Packet]], advice: str) -> None:
    this = found(tmp_path, *streams, healthy())["refused"]
    assert this.severity == "problem"
    assert advice in this.advice
    assert not this.advice.startswith("Check user")


@pytest.mark.parametrize(
    "streams",
    [
        redis(b"-WRONGPASS invalid"),
        redis(b"-NOAUTH Authentication required"),
        redis(b"-NOPERM this user"),
        postgres(b"28P01"),
        words(21, (b"USER a\r\n", b"331 a\r\n"), (b"PASS a\r\n", b"530 wrong\r\n")),
        words(25, (HELO, b"250 a\r\n"), (b"AUTH PLAIN AGEAYg==\r\n", b"535 wrong\r\n")),
    ],
)
def test_advice_about_passwords_and_permissions(tmp_path: Path, streams: list[list[Packet]]) -> None:
    this = found(tmp_path, *streams, healthy())["refused"]
    assert (this.severity, this.advice[:21]) == ("problem", "Check user, password ")
