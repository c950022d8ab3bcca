"""Services over TCP that acknowledge what they are asked and never answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, SERVER, S, close, found, healthy, ping, problems, talk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Packet

GREETING = b"J\x00\x00\x00\x0a5.7.34" + bytes(60)
LOGIN = b"\xb6\x00\x00\x01" + bytes(180)
CLOSE_STATEMENT = b"\x05\x00\x00\x00\x19\x01\x00\x00\x00"
QUERY = b"\x09\x00\x00\x00\x03SELECT 1"
FOUND = b"\x01\x00\x00\x01\x01" + bytes(40)


def call(number: int) -> bytes:
    """A call of RPC, or its reply."""
    return b"\x80\0\0\x28" + number.to_bytes(4, "big") + bytes(36)


def dialog(port: int, said: list[bytes], wait_s: float, closes: bool = True) -> list[Packet]:
    """What is said in turns, an empty one left out, beginning with the server; then a wait."""
    made = talk(server=(SERVER, port))
    for k, message in enumerate(said):
        if message:
            (made.up if k % 2 else made.down)("PA", message)
            (made.down if k % 2 else made.up)("A")
    made.at += int(wait_s * S)
    return close(made).packets if closes else made.packets


@pytest.mark.parametrize(
    "said",
    [
        [b"", b"\5\2\0\1", b"\5\0", b"\5\1\0\3\x0fapi.example.com\1\xbb", b"\5\0\0\1" + bytes(6), b"a message that wants no answer"],
        [b"", b"\5\2\0\1 and what is of another protocol", b"\5\0", b"more of it"],
        [b"", b"\5\2\0\1", b"\5\0"],
    ],
)
def test_no_proxy_that_owes_an_answer(tmp_path: Path, said: list[bytes]) -> None:
    assert not problems(found(tmp_path, dialog(9050, said, 63), healthy()))


def test_a_login_that_gets_no_answer(tmp_path: Path) -> None:
    this = found(tmp_path, dialog(3306, [GREETING, LOGIN], 63), healthy())["slow-server"]
    assert this.severity == "problem"
    assert (
        this.text == "1 of 1 connection to 198.51.100.20:3306 (MySQL) waited 63.0 s for an answer and got none before the client gave up."
    )
    assert this.frames  # the request and the end


@pytest.mark.parametrize(
    ("port", "said"),
    [
        (2049, [b"", call(7), call(7), call(8)]),
        (21, [b"220 a\r\n", b"RETR a\r\n", b"150 a\r\n", b"", b"226 a\r\n", b"NOOP\r\n"]),
        (502, [b"", b"\0\1\0\0\0\6\1\6" + bytes(4)]),
        (6379, [b"", b"*3\r\n$3\r\nSET\r\n$1\r\nq\r\n$1\r\n0\r\n"]),
        (11_211, [b"", b"get k\r\n"]),
        (9050, [b"", b"\5\2\0\1", b"\5\0", b"\5\1\0\3\x0fapi.example.com\1\xbb"]),
        (9050, [b"", b"\5\1\2", b"\5\2", b"\1\4user\4word", b"\1\0", b"\5\1\0\1\xc6\x33\x64\x07\1\xbb"]),
    ],
)
def test_a_message_that_must_be_answered(tmp_path: Path, port: int, said: list[bytes]) -> None:
    assert problems(found(tmp_path, dialog(port, said, 63), healthy())) == {"slow-server"}


def test_a_server_that_never_says_a_word(tmp_path: Path) -> None:
    """Of Redis only the first message must be answered."""
    this = found(tmp_path, dialog(6379, [b"", b"*1\r\n$4\r\nPING\r\n"], 0, closes=False), healthy(), ping(30 * S))
    assert this["slow-server"].text.startswith("1 of 1 connection to 198.51.100.20:6379 (Redis) waited 30.0 s")


@pytest.mark.parametrize(
    ("port", "said", "wait_s", "closes"),
    [
        (3306, [GREETING, LOGIN, FOUND, QUERY, FOUND], 63, True),  # idle
        (3306, [GREETING, LOGIN, FOUND, CLOSE_STATEMENT], 63, True),  # wants no answer
        (3306, [GREETING, LOGIN], 2, True),  # gives up soon
        (3306, [GREETING, LOGIN], 2, False),  # the capture ends
        (6379, [b"", b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n", b"*3\r\n$5\r\nBLPOP\r\n"], 63, True),  # waits for work
        (389, [b"", b"0\x0c\x02\x01\x01`\x07", b"0\x0c\x02\x01\x01a\x07", b"0\x05\x02\x01\x02B\x00"], 63, True),  # unbind
        (9100, [b"", b"%!PS\n"], 63, True),  # a printer says nothing
        (445, [b"\x00\x00\x00\x40\xfeSMB" + bytes(60), b"\x85\x00\x00\x00"], 63, True),  # a keep-alive
        (3306, [GREETING, LOGIN, FOUND, b"\x18\0\0\0\xef" + bytes(23)], 63, True),  # a replica that acknowledges
        (
            5432,
            [b"", b"Q\0\0\0\x13COPY t FROM", b"G\0\0\0\7\0\0\0", b"d\0\0\0\x061\n"],
            63,
            True,
        ),  # rows, or a replica that says how far it is
        (2049, [b"", call(7), call(7), b"", call(9), call(9)], 63, True),  # a client that answers a call of its server
        (21, [b"220 a\r\n", b"RETR a\r\n", b"150 a\r\n", b"NOOP\r\n"], 63, True),  # while a file is sent
        (502, [b"", b"\0\1\0\0\0\6\0\6" + bytes(4)], 63, True),  # a broadcast
        (6379, [b"", b"*3\r\n$5\r\nBRPOP\r\n$1\r\nq\r\n$1\r\n0\r\n"], 63, True),  # waits for work at once
        (11_211, [b"", b"set k 0 0 1 noreply\r\na\r\n"], 63, True),
    ],
)
def test_waits_that_are_nothing(tmp_path: Path, port: int, said: list[bytes], wait_s: float, closes: bool) -> None:
    assert not problems(found(tmp_path, dialog(port, said, wait_s, closes), healthy()))


def test_of_a_connection_that_is_older_than_the_capture_the_first_message_is_not_known(tmp_path: Path) -> None:
    packets = dialog(1883, [b"", b"0\x05\x00\x01ahi"], 63)
    assert "slow-server" in found(tmp_path, packets, healthy())
    assert "slow-server" not in found(tmp_path, packets[3:], healthy())


@pytest.mark.parametrize(("port", "calls", "told"), [(111, 30, True), (111, 5, False), (9100, 30, False)])
def test_many_calls_without_one_answer(tmp_path: Path, port: int, calls: int, told: bool) -> None:
    """Whoever makes so many calls need not wait for long."""
    made = talk(server=(SERVER, port))
    for _ in range(calls):
        made.up("PA", b"\x80\x00\x00\x28" + bytes(40))
    this = found(tmp_path, close(made).packets, healthy(), ping(30 * S))
    assert ("slow-server" in this) == told


def unspoken(port: int, wait_s: float, said: bytes = b"", at: float = 0, server: str = SERVER, heard: bool = True) -> list[Packet]:
    """A connection on which the server acknowledges and says nothing."""
    made = talk(41_000 + int(at), int(at * S), (server, port))
    made.at += int(wait_s * S / 2)
    if said:
        made.up("PA", said)
        made.down("A")
    made.at += int(wait_s * S / 2)
    made.up("FA")
    if heard:
        made.down("A")
    return made.packets


def greeted(at: float) -> list[Packet]:
    made = talk(43_000, int(at * S), (SERVER, 25))
    made.down("PA", b"220 mail\r\n")
    made.up("A")
    return close(made).packets


@pytest.mark.parametrize(("port", "said"), [(25, b"QUIT\r\n"), (25, b""), (110, b""), (3306, b"")])
def test_a_server_that_never_greets(tmp_path: Path, port: int, said: bytes) -> None:
    this = found(tmp_path, *(unspoken(port, 8, said, 20 * k) for k in range(3)), healthy(), ping(90 * S))
    assert problems(this) == {"slow-server"}
    assert this["slow-server"].text.startswith(f"3 of 3 connections to 198.51.100.20:{port} (")


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([unspoken(25, 8, b"QUIT\r\n", 20 * k) for k in range(2)], id="twice: a server that pauses on purpose"),
        pytest.param([unspoken(25, 1, b"", 20 * k) for k in range(5)], id="a monitor that only opens the port"),
        pytest.param([*(unspoken(25, 8, b"", 20 * k) for k in range(3)), greeted(90)], id="greeted in the end"),
        pytest.param([unspoken(8025, 8, b"", 20 * k) for k in range(3)], id="another port"),
    ],
)
def test_greetings_that_nobody_misses(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, healthy(), ping(120 * S)))


def unit(number: int, unit_: int, words: int = 0) -> bytes:
    """A request for registers of a unit behind a gateway; with ``words`` its answer."""
    body = bytes([unit_, 3, 2 * words]) + bytes(2 * words) if words else bytes([unit_, 3, 0, 0, 0, 1])
    return number.to_bytes(2, "big") + bytes(2) + len(body).to_bytes(2, "big") + body


def polls(*each: tuple[int, float, bool]) -> list[Packet]:
    """One connection: which unit, how long its answer is waited for, and whether it comes."""
    made = talk(server=(SERVER, 502))
    for number, (which, wait_s, answers) in enumerate(each):
        made.up("PA", unit(number, which))
        made.down("A")
        made.at += int(wait_s * S)
        if answers:
            made.down("PA", unit(number, which, 1))
    return close(made).packets


LIVES, DEAD = (1, 0.01, True), (7, 2.0, False)


@pytest.mark.parametrize(
    ("packets", "told"),
    [
        (polls(*[LIVES, DEAD] * 3, LIVES), True),
        (polls(*[LIVES, DEAD] * 2, LIVES), False),  # twice
        (polls(*[LIVES, DEAD] * 3, (7, 0.5, True), LIVES), False),  # it answers at times
        (polls(*[LIVES, (7, 0.1, False)] * 3, LIVES), False),  # the answer may be on its way
        (polls(*[LIVES, (0, 2.0, False)] * 3, LIVES), False),  # broadcasts
        (polls(*[LIVES] * 7), False),
    ],
)
def test_a_unit_behind_a_gateway_that_never_answers(tmp_path: Path, packets: list[Packet], told: bool) -> None:
    this = found(tmp_path, packets, healthy())
    assert (problems(this) == {"slow-server"}) == told
    if told:
        assert "(Modbus, unit 7) waited 2.0 s for an answer and got none" in this["slow-server"].text


REDIS_GET, REDIS_WAITS = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"*3\r\n$5\r\nBLPOP\r\n$1\r\nk\r\n$1\r\n0\r\n"
BIND, BOUND, SEARCH = b"0\x0c\2\1\1`\7" + bytes(7), b"0\x0c\2\1\1a\7" + bytes(7), b"0\x18\2\1\2c\x13" + bytes(19)
ABANDON = b"0\6\2\1\3P\1\2"


def given_up(
    port: int, said: list[bytes], wait_s: float, at: float = 0, late: bytes = b"", back: bool = False, pause_s: float = 0
) -> list[Packet]:
    """Turns, beginning with the server (an empty one is left out); the last messages, of the client, get no answer until it closes.
    ``late``: the server says it then, and is reset, unless ``back``: then the client had only ended its side."""
    made = talk(41_000 + int(at), int(at * S), (SERVER, port))
    for k, message in enumerate(said):
        if message:
            (made.up if k % 2 else made.down)("PA", message)
            (made.down if k % 2 else made.up)("A")
            made.at += int(pause_s * S) if k % 2 else 0
    made.at += int(wait_s * S)
    made.up("FA")
    made.down("A")
    made.at += 4 * S
    if late:
        made.down("PA", late)
        made.up("A" if back else "R")
    return made.packets


@pytest.mark.parametrize(
    ("port", "said", "late", "name"),
    [
        (6379, [b"", REDIS_GET, b"$-1\r\n", REDIS_GET], b"$-1\r\n", "Redis"),
        (6379, [b"", REDIS_GET], b"", "Redis"),
        (11_211, [b"", b"get k\r\n", b"END\r\n", b"get k\r\n"], b"", "memcached"),
        (3306, [GREETING, LOGIN, FOUND, QUERY], FOUND, "MySQL"),
        (5432, [b"", b"\0\0\0\x08\x04\xd2\x16\x2f"], b"N", "PostgreSQL"),
        (22, [b"", b"SSH-2.0-OpenSSH_9.9\r\n"], b"SSH-2.0-OpenSSH_9.9\r\n", "SSH"),
        (873, [b"", b"@RSYNCD: 32.0 sha512\n"], b"", "rsync"),
        (2379, [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", b"\0\0\0\4\0\0\0\0\0"], b"", "HTTP/2"),
        (1883, [b"", b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", b"\x20\2\0\0", b"0\5\0\1ahi", b"", b"\xc0\0"], b"", "MQTT"),
    ],
)
def test_a_client_that_gives_up_after_the_same_time(tmp_path: Path, port: int, said: list[bytes], late: bytes, name: str) -> None:
    """What comes when it has closed is no answer."""
    this = found(tmp_path, given_up(port, said, 3, 0, late), given_up(port, said, 3, 20, late), healthy(), ping(60 * S))
    assert problems(this) == {"slow-server"}
    assert (
        f"2 of 2 connections to 198.51.100.20:{port} ({name}) waited 3.0 s for an answer and got none before the client"
        in this["slow-server"].text
    )


@pytest.mark.parametrize(
    ("streams"),
    [
        pytest.param([given_up(6379, [b"", REDIS_GET], 3), given_up(6379, [b"", REDIS_GET], 4, 20)], id="not the same time"),
        pytest.param([given_up(6379, [b"", REDIS_GET], 3)], id="once"),
        pytest.param([given_up(6379, [b"", REDIS_GET, b"$-1\r\n", REDIS_WAITS], 3, at) for at in (0, 20)], id="waits for work"),
        pytest.param(
            [given_up(6379, [b"", REDIS_GET, b"$-1\r\n", REDIS_WAITS, b"", REDIS_GET], 3, at) for at in (0, 20)],
            id="behind what waits for work",
        ),
        pytest.param(
            [given_up(6379, [b"", REDIS_GET, b"$-1\r\n", b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n"], 3, at) for at in (0, 20)], id="listens"
        ),
        pytest.param([given_up(11_211, [b"", b"get k\r\n", b"END\r\n", b"watch fetchers\r\n"], 3, at) for at in (0, 20)], id="watches"),
        pytest.param(
            [given_up(1883, [b"", b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", b"\x20\2\0\0", b"0\5\0\1ahi"], 3, at) for at in (0, 20)],
            id="publishes without a receipt",
        ),
        pytest.param(
            [given_up(4222, [b"INFO {}\r\n", b"CONNECT {}\r\n", b"+OK\r\n", b"PUB a 1\r\nx\r\n"], 3, at) for at in (0, 20)], id="publishes"
        ),
        pytest.param(
            [given_up(25, [b"220 a\r\n", b"DATA\r\n", b"354 go\r\n", *[b"a line\r\n", b""] * 4][:-1], 0, pause_s=1.5)], id="types a mail"
        ),
    ],
)
def test_ends_upon_a_timer_that_lose_nothing(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, healthy(), ping(60 * S)))


@pytest.mark.parametrize(("back", "told"), [(False, True), (True, False)])
def test_an_answer_that_comes_when_the_client_is_gone(tmp_path: Path, back: bool, told: bool) -> None:
    """Who has only ended its own side hears it."""
    packets = given_up(3306, [GREETING, LOGIN, FOUND, QUERY], 3, late=FOUND, back=back)
    assert ("slow-server" in problems(found(tmp_path, packets, healthy(), ping(60 * S)))) == told


def test_what_is_asked_again_and_given_up_with_a_farewell(tmp_path: Path) -> None:
    """It waited since the first."""
    polite = given_up(389, [b"", BIND, BOUND, SEARCH, b"", ABANDON], 0, pause_s=6)
    this = found(tmp_path, polite, healthy(), ping(60 * S))["slow-server"]
    assert "(LDAP) waited 6." in this.text
    asking = given_up(6379, [b"", REDIS_GET, b"$-1\r\n", *[REDIS_GET, b""] * 3][:-1], 0, pause_s=3)
    assert "(Redis) waited 9." in found(tmp_path, asking, healthy(), ping(60 * S))["slow-server"].text


@pytest.mark.parametrize(("beats", "silent", "told"), [(4, True, True), (3, True, False), (9, False, False)])
def test_a_server_of_amqp_without_heartbeats(tmp_path: Path, beats: int, silent: bool, told: bool) -> None:
    beat = b"\x08\0\0\0\0\0\0\xce"
    made = talk(server=(SERVER, 5672))
    made.up("PA", b"AMQP\0\0\x09\1")
    made.down("PA", b"\1\0\0\0\0\0\4\0\x0a\0\x0a\xce")
    for _ in range(beats):
        made.at += 3 * S
        made.up("PA", beat)
        made.down(*(("A",) if silent else ("PA", beat)))
    made.at += S
    made.down("PA", beat)
    this = found(tmp_path, close(made).packets, healthy(), ping(60 * S))
    assert ("slow-server" in problems(this)) == told
    if told:
        assert "(AMQP) heard nothing for 13.0 s, not even heartbeats" in this["slow-server"].text


def command(*parts: bytes) -> bytes:
    """A command of Redis."""
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def search(controls: int, long: bool = False) -> bytes:
    """A search of LDAP with so many bytes of controls, with short lengths or those that Windows writes."""
    op = b"c\x84\0\0\0\x13" if long else b"c\x13"
    message = b"\2\1\2" + op + bytes(19) + bytes(controls)
    return b"0" + (b"\x84\0\0\0" if long else b"") + bytes([len(message)]) + message


def both(port: int, *said: bytes, wait_s: float = 3, pause_s: float = 0) -> list[list[Packet]]:
    """Two connections on which the client leaves after the same time."""
    return [given_up(port, [*said], wait_s, at, pause_s=pause_s) for at in (0, 20)]


SETTLED = (b"", b"\0\0\0\x09\0\3\0\0\0", b"R\0\0\0\x08\0\0\0\0")
PARSE, SYNC, TERMINATE = b"P\0\0\0\x10\0select 1\0\0\0" + bytes(27), b"S\0\0\0\4", b"X\0\0\0\4"
SMB1 = b"\0\0\0\x28\xffSMB" + bytes(36)
KEY, PING = b"a-key-of-a-program", command(b"PING")


@pytest.mark.parametrize(
    "streams",
    [
        *(
            pytest.param(both(6379, b"", command(*parts)), id=f"{parts[0].decode()} of {len(parts)} parts first")
            for parts in (
                (b"BLMOVE", b"a", b"b", b"LEFT", b"LEFT", b"0"),
                (b"BLMPOP", b"0", b"1", b"a", b"LEFT"),
                (b"BZMPOP", b"0", b"1", b"a", b"MIN"),
                (b"BLPOP", *[b"a"] * 9, b"0"),
                (b"XREAD", b"BLOCK", b"0", b"STREAMS", *[b"a"] * 4, *[b"$"] * 4),
                (b"WAIT", b"1", b"10000"),
                (b"WAITAOF", b"0", b"1", b"10000"),
                (b"BRPOP", *[b"a"] * 99, b"0"),
            )
        ),
        pytest.param(both(6379, b"", b"BLPOP a 0\r\n"), id="in words"),
        pytest.param(both(6379, b"", command(b"SET", b"a", b"1"), b"+OK\r\n", command(b"WAIT", b"1", b"10000")), id="WAIT behind others"),
        pytest.param(
            both(6379, b"", command(b"CLIENT", b"REPLY", b"OFF"), b"", command(b"SET", b"a", b"1"), b"", command(b"SET", b"a", b"2")),
            id="answers switched off",
        ),
        pytest.param(both(11_211, b"", b"ms a 1 q\r\nx\r\n", b"", b"md b q\r\n"), id="memcached, quiet"),
        pytest.param(both(445, b"", SMB1, SMB1, SMB1), id="SMB1 that waits for a change"),
        pytest.param(both(389, b"", BIND, BOUND, search(20)), id="a search with controls"),
        pytest.param(both(389, b"", BIND, BOUND, search(20, long=True)), id="the same, of Windows"),
        pytest.param(both(25, b"220 a\r\n", b"DATA\r\n", b"354 go\r\n", b"Subject: a\r\n"), id="leaves amid a mail"),
        pytest.param(both(143, b"* OK\r\n", b"x APPEND a {90}\r\n", b"+ OK\r\n", b"Subject: a\r\n"), id="leaves amid a literal"),
        pytest.param(both(5432, *SETTLED, PARSE, b"", PARSE, b"", PARSE, pause_s=1.3), id="a pipeline without an end"),
        pytest.param(both(5432, *SETTLED, PARSE, b"", TERMINATE, pause_s=3), id="the same of one, left with a farewell"),
        *(
            pytest.param(both(port, b"", b"\xa7\xb3\xe8\xdb\x08Fq\xb1" + bytes(900)), id=f"something else at port {port}")
            for port in (25, 88, 445, 1433, 2049, 3268, 3306, 4222, 5432, 9092, 27017, 44_818)
        ),
        pytest.param(both(2049, *[b"", b"work/lab" + bytes(900)] * 30), id="much of something else"),
    ],
)
def test_no_silence_as_nothing_is_owed(tmp_path: Path, streams: list[list[Packet]]) -> None:
    """What may wait, is not at its end, or is of another protocol."""
    assert not problems(found(tmp_path, *streams, healthy(), ping(60 * S)))


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(both(6379, b"", command(b"CLIENT", b"SETINFO", b"LIB-NAME", b"a")), id="says who it is"),
        pytest.param(both(6379, b"", PING, b"+PONG\r\n", command(b"HGET", KEY, b"name")), id="longer than WAIT"),
        pytest.param(both(389, b"", BIND, BOUND, search(0)), id="a search without controls"),
        pytest.param(both(25, b"220 a\r\n", b"DATA\r\n", b"354 go\r\n", b"Subject: a\r\n", b"", b"\r\n.\r\n"), id="a whole mail"),
        pytest.param(both(5432, *SETTLED, PARSE[:17] + SYNC), id="Parse and Sync"),
        pytest.param(both(5432, *SETTLED, PARSE, b"", PARSE, b"", SYNC), id="a pipeline with an end"),
        pytest.param(both(445, b"", SMB1), id="the first of SMB1"),
        pytest.param(both(5432, b"", b"PROXY TCP4 192.0.2.1 198.51.100.20 1 5432\r\n", b"", SETTLED[1]), id="from a load balancer"),
    ],
)
def test_what_is_owed_though_it_looks_like_that(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert problems(found(tmp_path, *streams, healthy(), ping(60 * S))) == {"slow-server"}


def test_what_may_be_owed_is_a_warning(tmp_path: Path) -> None:
    this = found(tmp_path, *both(389, b"", BIND, BOUND, search(20)), healthy(), ping(60 * S))["slow-server"]
    assert this.severity == "warning"
    assert this.text.endswith("waited 3.0 s for an answer and got none before the client gave up; what was sent last may not want one yet.")


@pytest.mark.parametrize(
    ("passive", "named", "told"), [(True, b"227 a (1,2)\r\n", False), (False, b"PORT 1,2\r\n", False), (True, b"200 a\r\n", True)]
)
def test_data_of_ftp_at_a_port_of_something_else(tmp_path: Path, passive: bool, named: bytes, told: bool) -> None:
    """Even if they look like it, as a file may hold anything."""
    streams = []
    for at in (0, 20):
        control = talk(44_000 + at, at * S, (SERVER, 2121))
        control.down("PA", b"220 a\r\n")
        control.up("A")
        (control.down if passive else control.up)("PA", named)
        (control.up if passive else control.down)("A")
        control.down("PA", b"150 a\r\n")
        control.at += 5 * S
        control.down("PA", b"226 a\r\n")
        data = talk(45_000 + at, at * S + S // 10, (SERVER if passive else CLIENT, 6379), CLIENT if passive else SERVER)
        data.up("PA", REDIS_GET)
        data.down("A")
        data.at += 3 * S
        streams += [close(control).packets, close(data).packets]
    assert ("slow-server" in problems(found(tmp_path, *streams, healthy(), ping(60 * S)))) == told


@pytest.mark.parametrize(("gaps", "told"), [([5, 5, 5, 5], False), ([5, 5, 15, 5], True), ([5], False), ([12], True)])
def test_a_client_of_amqp_that_sends_heartbeats_more_often(tmp_path: Path, gaps: list[int], told: bool) -> None:
    """The server's own pace says how long it may be silent."""
    beat = b"\x08\0\0\0\0\0\0\xce"
    made = talk(server=(SERVER, 5672))
    made.up("PA", b"AMQP\0\0\x09\1")
    made.down("PA", b"\1\0\0\0\0\0\4\0\x0a\0\x0a\xce")
    for gap in gaps:
        for _ in range(gap):
            made.at += S
            made.up("PA", beat)
            made.down("A")
        made.down("PA", beat)
    assert ("slow-server" in problems(found(tmp_path, close(made).packets, healthy(), ping(60 * S)))) == told


CONNECT, CONNACK = b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0", b"\x20\2\0\0"


def publishes(*answers: bytes, first: int = 0x32, pause: float = 2, connect: bytes = CONNECT) -> list[Packet]:
    """Messages of MQTT, and what the broker says of each."""
    made = talk(server=(SERVER, 1883))
    for asked, answer in ((connect, CONNACK), *((bytes([first, 9, 0, 3]) + b"a/b\0\1hi", answer) for answer in answers)):
        made.up("PA", asked)
        made.down(*(("PA", answer) if answer else ("A",)))
        made.up("A")
        made.at += int(pause * S)
    return close(made).packets


PUBACK, PINGRESP = b"\x40\2\0\1", b"\xd0\0"


def test_messages_that_a_broker_does_not_acknowledge(tmp_path: Path) -> None:
    this = found(tmp_path, publishes(b"", PINGRESP, b""), healthy())["slow-server"]
    assert this.severity == "problem"
    assert this.text.startswith("1 of 1 connection to 198.51.100.20:1883 (MQTT, PUBACK) waited 6.0 s for an answer and got none")


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(publishes(b"", b"", PUBACK), id="all at once"),
        pytest.param(publishes(b"", b"", PINGRESP + PUBACK), id="behind the answer to a ping"),
        pytest.param(publishes(b"", b"0\5\0\1ahi", b""), id="perhaps behind a message"),
        pytest.param(publishes(b"", b"", b"", first=0x30), id="QoS 0"),
        pytest.param(publishes(b"", b"", b"", pause=0.5), id="soon"),
        pytest.param(publishes(b"", b""), id="two"),
        pytest.param(publishes(b"", b"", b"", b"")[:-3], id="perhaps behind the end of the capture"),
        pytest.param(publishes(b"", b"", b"", connect=b"\x10\x0c\0\4ABCD\4\2\0\x3c\0\0"), id="another protocol"),
    ],
)
def test_messages_that_need_no_acknowledgment_yet(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))
