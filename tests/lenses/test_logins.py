"""Logins that a server holds up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import SERVER, S, found, problems, talk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Packet

VERSION = b"SSH-2.0-x\r\n"
INIT = b"\x00\x00\x01\x2c\x08\x14" + bytes(300)
KEYS = b"\x00\x00\x00\x0c\x0a\x15" + bytes(10)
SECRET = bytes(range(64, 128))


def dialog(port: int, *said: tuple[str, bytes, float]) -> list[Packet]:
    """Who ("<" server, ">" client) says what, after how many seconds."""
    made = talk(server=(SERVER, port))
    for who, message, wait_s in said:
        made.at += int(wait_s * S)
        (made.down if who == "<" else made.up)("PA", message)
        (made.up if who == "<" else made.down)("A")
    return made.packets


def ssh(first: float = 0, password: float = 0, typed: float = 0, accept: float = 0) -> list[Packet]:
    """A connection with waits of the server for the first request and for a password, and of the client."""
    return dialog(
        2222, ("<", VERSION, 0), (">", VERSION, 0), (">", INIT, 0), ("<", INIT, 0), (">", INIT, 0), ("<", INIT, 0), (">", KEYS, 0),
        (">", SECRET, 0), ("<", SECRET, accept), (">", SECRET, 0), ("<", SECRET, first), (">", SECRET, typed), ("<", SECRET, password),
        (">", SECRET, 0), ("<", SECRET, 1),
    )  # fmt: skip


@pytest.mark.parametrize("packets", [ssh(first=5.2), ssh(accept=5.2)])
def test_ssh_that_waits_for_a_name(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, packets)
    assert problems(this) == {"slow-server"}
    assert this["slow-server"].text == "1 of 1 connection to 198.51.100.20:2222 waited 5.2 s for the server in the login (SSH)."
    assert len(this["slow-server"].frames) == 2


NICK, USER = b"NICK me\r\n", b"USER me 0 * :me\r\n"
LOOKS, MOTTO = b":irc.example NOTICE AUTH :*** Checking Ident\r\n", b":irc.example 001 me :Welcome\r\n" + bytes(900)


def irc(wait_s: float, before: bytes = LOOKS, after: bytes = MOTTO) -> list[Packet]:
    return dialog(
        8000, (">", NICK, 0), (">", USER, 0), ("<", before, 0), ("<", after, wait_s), (">", b"JOIN #a\r\n", 0), ("<", b":me JOIN #a\r\n", 0)
    )


GREETING, LOGIN, FINE = b"J\x00\x00\x00\x0a5.7.34" + bytes(69), b"\xb6\x00\x00\x01" + bytes(182), b"\x07\x00\x00\x02" + bytes(7)
HELLO, USED, ASKED = b"220 ftp\r\n", b"USER me\r\n", b"331 password\r\n"
QUERY, ROWS = b"\x09\x00\x00\x00\x03SELECT 1", b"\x01\x00\x00\x01\x01" + bytes(40)


@pytest.mark.parametrize(
    ("packets", "name"),
    [
        (irc(9), "IRC"),
        (dialog(21, ("<", HELLO, 0), (">", USED, 0), ("<", ASKED, 10)), "FTP"),
        (
            dialog(
                110, ("<", b"+OK\r\n", 0), (">", b"USER me\r\n", 0), ("<", b"+OK\r\n", 0), (">", b"PASS x\r\n", 0), ("<", b"+OK\r\n", 7)
            ),
            "POP3",
        ),
        (dialog(143, ("<", b"* OK\r\n", 0), (">", b"a1 LOGIN me x\r\n", 0), ("<", b"a1 OK\r\n", 7)), "IMAP"),
        (dialog(3306, ("<", GREETING, 0), (">", LOGIN, 0), ("<", FINE, 10)), "MySQL"),
        (dialog(5432, (">", b"\0\0\0\x10\0\3\0\0user\0me\0", 0), ("<", b"R\0\0\0\x08\0\0\0\0", 6)), "PostgreSQL"),
    ],
)
def test_other_logins(tmp_path: Path, packets: list[Packet], name: str) -> None:
    this = found(tmp_path, packets)
    assert problems(this) == {"slow-server"}
    assert f"for the server in the login ({name})." in this["slow-server"].text


@pytest.mark.parametrize(
    "packets",
    [
        ssh(first=2),
        ssh(typed=20),
        ssh(password=20),
        irc(2),
        irc(30, LOOKS + MOTTO, b":other PRIVMSG me :hi\r\n"),
        irc(30, b":irc.example 001 me :Welcome\r\n", b":other PRIVMSG me :hi\r\n"),
        dialog(3306, ("<", GREETING, 0), (">", LOGIN, 0), ("<", FINE, 0), (">", QUERY, 0), ("<", ROWS, 30)),
        dialog(21, ("<", HELLO, 0), (">", USED, 10), ("<", ASKED, 0), (">", b"NOOP\r\n", 20), ("<", b"200 ok\r\n", 0)),
        dialog(
            143,
            ("<", b"* OK\r\n", 0),
            (">", b"a1 LOGIN me x\r\n", 0),
            ("<", b"a1 OK\r\n", 0),
            (">", b"a2 IDLE\r\n", 0),
            ("<", b"* 1 EXISTS\r\n", 60),
        ),
    ],
    ids=[
        "2 s",
        "typing",
        "a second factor",
        "IRC in 2 s",
        "a quiet channel",
        "a quiet channel without a motto",
        "a long query",
        "a person",
        "IDLE",
    ],
)
def test_waits_that_are_no_servers_fault(tmp_path: Path, packets: list[Packet]) -> None:
    assert "slow-server" not in found(tmp_path, packets)
