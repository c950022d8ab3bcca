"""Connections that a server closes without a word, or answers by words of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, GET, MS, OK, SERVER, S, close, exchange, found, healthy, ping, problems, talk
from tests.parsers.build import Packet, Talk

if TYPE_CHECKING:
    from pathlib import Path

BIND = b"0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\x00\x80\x00"
REDIS = b"*1\r\n$4\r\nPING\r\n"
STRANGE = b"hello there, who are you?"


def closed_on(made: Talk, request: bytes, wait_ns: int) -> list[Packet]:
    """What was said, and then a request that the server acknowledges, and closes on."""
    made.up("PA", request)
    made.down("A")
    made.at += wait_ns
    made.down("FA")
    made.up("FA")
    made.down("A")
    return made.packets


def closed(port: int, request: bytes, wait_ns: int = 50 * MS, at: int = 0, client_port: int = 40_000) -> list[Packet]:
    """A request that the server acknowledges, and then closes on."""
    made = talk(client_port, at, (SERVER, port))
    return closed_on(made, request, wait_ns)


@pytest.mark.parametrize(
    ("port", "request_", "name"), [(389, BIND, "LDAP"), (6379, REDIS, "Redis"), (2404, b"\x68\x04\x07\0\0\0", "IEC 104")]
)
def test_a_service_that_closes_without_an_answer(tmp_path: Path, port: int, request_: bytes, name: str) -> None:
    this = found(tmp_path, closed(port, request_), healthy())
    assert problems(this) == {"closed-unanswered"}
    assert this["closed-unanswered"].text == (
        f"1 of 2 connections got no answer: {SERVER}:{port} ({name}) took the request and closed without sending a byte."
    )
    assert len(this["closed-unanswered"].frames) == 2


def in_clear(*times: int, request: bytes = BIND, ports: tuple[int, ...] = (636,)) -> list[list[Packet]]:
    return [closed(port, request, at=at, client_port=41_000 + k + port) for k, at in enumerate(times) for port in ports]


def test_a_request_in_clear_at_a_port_for_tls(tmp_path: Path) -> None:
    this = found(tmp_path, *in_clear(0, S, 5 * S), healthy())
    assert problems(this) == {"closed-unanswered"}
    assert this["closed-unanswered"].text == (
        f"3 of 4 connections got no answer: {SERVER}:636 (LDAP) took the request (in clear, at a port for TLS) and closed without sending a byte."
    )
    assert "without TLS" in this["closed-unanswered"].advice
    for other in (b"\x16\x03\x01" + bytes(20), STRANGE, b"0\x05\x02\x01\x01B\x00"):
        assert not {"closed-unanswered"} & problems(found(tmp_path, *in_clear(0, S, 5 * S, request=other), healthy()))


@pytest.mark.parametrize("streams", [in_clear(0, ports=(636, 3269)), in_clear(*(k * 60 * S for k in range(6)))], ids=["bot", "monitor"])
def test_who_looks_whether_ldap_is_there_in_clear(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not {"closed-unanswered"} & problems(found(tmp_path, *streams, healthy()))


def test_of_an_unknown_protocol_it_is_a_warning(tmp_path: Path) -> None:
    this = found(tmp_path, closed(9999, STRANGE), healthy())
    assert this["closed-unanswered"].severity == "warning"
    assert not problems(this)


def test_a_service_that_takes_the_next_connection(tmp_path: Path) -> None:
    again = close(exchange(talk(40_001, S, (SERVER, 6379)), REDIS, b"+PONG\r\n")).packets
    assert found(tmp_path, closed(6379, REDIS), again)["closed-unanswered"].severity == "warning"


@pytest.mark.parametrize(("next_", "again"), [("one", 1), ("another", 0)])
def test_only_the_same_request_is_sent_again(tmp_path: Path, next_: str, again: int) -> None:
    """What a client asks next on a new connection is another request."""
    asks = {what: b"GET /%s?id=1 HTTP/1.1\r\nHost: a.example\r\n\r\n" % what.encode() for what in ("one", "another")}
    later = close(exchange(talk(40_001, S), asks[next_])).packets
    this = found(tmp_path, closed_on(talk(), asks["one"], 50 * MS), later, healthy())["closed-unanswered"]
    assert this.values["asked_again"] == again
    assert ("sent again on a new connection" in this.text) == bool(again)


def test_two_peers_that_both_connect(tmp_path: Path) -> None:
    """One connection is enough (RFC 6733 5.6.4)."""
    asks = b"\1\0\0\x80\x80\0\1\1" + bytes(120)
    other_way = close(exchange(talk(40_001, S, (CLIENT, 3868), SERVER), asks, asks)).packets
    assert problems(found(tmp_path, closed(3868, asks), healthy())) == {"closed-unanswered"}
    assert found(tmp_path, closed(3868, asks), other_way, healthy())["closed-unanswered"].severity == "warning"


@pytest.mark.parametrize(
    "packets",
    [
        closed(514, b"<34>Oct 11 22:14:15 su: failed"),  # only takes in
        closed(9999, STRANGE, wait_ns=60 * S),  # was idle
        closed(9999, bytes(9000)),  # took a file
        closed(6881, b"\x13BitTorrent protocol" + bytes(48)),
        closed(389, b"0\x05\x02\x01\x01B\x00"),  # a farewell
        closed(5432, b"\x00\x00\x00\x10\x04\xd2\x16\x2e" + bytes(8)),  # by protocol
        close(exchange(talk(server=(SERVER, 6379)), REDIS, b"+PONG\r\n")).packets,
        closed(6379, b"*1\r\n$8\r\nSHUTDOWN\r\n"),
        closed(11_211, b"quit\r\n"),
        closed(11_211, b"\x80\x17" + bytes(22)),
    ],
    ids=["syslog", "idle", "a file", "BitTorrent", "unbind", "cancel", "answered", "shutdown", "quit", "quit, in binary"],
)
def test_closes_that_are_no_fault(tmp_path: Path, packets: list[Packet]) -> None:
    assert "closed-unanswered" not in found(tmp_path, packets, healthy())


SMB_NEGOTIATED, SMB_TRANS = (
    b"\x00\x00\x00" + bytes([len(rest)]) + rest for rest in (b"\xffSMB\x72" + bytes(60), b"\xffSMB\x25" + bytes(60))
)


def halted(port: int, said: list[bytes], last: bytes, wait_ns: int = 3 * MS, at: int = 0) -> list[Packet]:
    """Requests and answers in turn, and one on which the server closes. A first one that is empty is left out: the server begins."""
    made = talk(42_000, at, (SERVER, port))
    for k, message in enumerate(said):
        if message:
            (made.down if k % 2 else made.up)("PA", message)
            (made.up if k % 2 else made.down)("A")
    return closed_on(made, last, wait_ns)


def test_a_service_that_closes_in_the_middle(tmp_path: Path) -> None:
    packets = halted(445, [SMB_NEGOTIATED, SMB_NEGOTIATED], SMB_TRANS)
    this = found(tmp_path, packets, healthy())
    assert problems(this) == {"closed-unanswered"}
    assert this["closed-unanswered"].text == (
        f"1 of 2 connections got no answer: {SERVER}:445 (SMB) took the request and closed without answering it."
    )
    assert len(this["closed-unanswered"].frames) == 2
    again = close(exchange(talk(42_001, S, (SERVER, 445)), SMB_NEGOTIATED, SMB_NEGOTIATED)).packets
    assert found(tmp_path, packets, again)["closed-unanswered"].severity == "warning"


HELLO, BYE = b"220 mail.example ESMTP\r\n", b"QUIT\r\n"
GREETING, LOGIN, FINE = b"J\x00\x00\x00\x0a5.7.34" + bytes(69), b"\xb6\x00\x00\x01" + bytes(182), b"\x07\x00\x00\x02" + bytes(7)


@pytest.mark.parametrize(
    "packets",
    [
        halted(25, [b"", HELLO, b"EHLO a\r\n", b"250 a\r\n"], BYE),
        halted(143, [b"", b"* OK\r\n", b"a1 NOOP\r\n", b"a1 OK\r\n"], b"a2 LOGOUT\r\n"),
        halted(3306, [b"", GREETING, LOGIN, FINE], b"\x01\x00\x00\x00\x01"),
        halted(3306, [b"", GREETING, LOGIN, FINE], b"\x17\x03\x03\x00\x20" + bytes(32)),
        halted(389, [BIND, b"0\x0c\x02\x01\x01a\x07\x0a\x01\x00\x04\x00\x04\x00"], b"0\x05\x02\x01\x02B\x00"),
        halted(389, [BIND, b"0\x0c\x02\x01\x01a\x07\x0a\x01\x00\x04\x00\x04\x00"], b"0\x84\x00\x00\x00\x05\x02\x01\x02B\x00"),
        halted(389, [BIND, b"0\x0c\x02\x01\x01a\x07\x0a\x01\x00\x04\x00\x04\x00"], b"\x00\x00\x00\x28" + bytes(40)),
        halted(445, [SMB_NEGOTIATED, SMB_NEGOTIATED], SMB_TRANS, wait_ns=900 * S),
        halted(445, [SMB_NEGOTIATED, SMB_NEGOTIATED], b"\x85\x00\x00\x00"),
        halted(9999, [STRANGE, STRANGE], STRANGE),
        halted(5432, [b"Q\0\0\0\x1bSTART_REPLICATION 0/0\0", b"W\0\0\0\7\0\0\0"], b"d\0\0\0\x26r" + bytes(33)),
    ],
    ids=[
        "QUIT",
        "LOGOUT",
        "COM_QUIT",
        "TLS inside",
        "unbind",
        "unbind by Windows",
        "sealed LDAP",
        "a notification that never came",
        "a keep-alive",
        "unknown protocol",
        "a replica whose primary stops",
    ],
)
def test_a_service_that_closes_after_a_farewell(tmp_path: Path, packets: list[Packet]) -> None:
    assert "closed-unanswered" not in found(tmp_path, packets, healthy())


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (b'{"jsonrpc": "2.0", "method": "echo", "id": 1}', "JSON-RPC"),
        (b"AMQP\x00\x00\x09\x01", "AMQP"),
        (b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02me", "MQTT"),
        (b"\x00\x00\x00\x10\x00\x03\x00\x00user\x00me\x00", "PostgreSQL"),
        (b"\x03\x00\x00\x0b\x06\xe0\x00\x00\x00\x01\x00", "X.224"),
    ],
)
def test_first_words_that_tell_the_protocol(tmp_path: Path, words: bytes, name: str) -> None:
    this = found(tmp_path, closed(9999, words), healthy())["closed-unanswered"]
    assert this.severity == "problem"
    assert f":9999 ({name}) took the request" in this.text


def test_who_sends_and_closes_first_wanted_no_answer(tmp_path: Path) -> None:
    made = talk(server=(SERVER, 9999))
    made.up("PA", STRANGE)
    made.down("A")
    assert "closed-unanswered" not in found(tmp_path, close(made).packets, healthy())


def ended(wait_ns: int = 0, port: int = 40_000) -> list[Packet]:
    """A request over HTTP, the client's FIN, and the server's."""
    made = talk(port)
    made.up("PA", GET)
    made.down("A")
    made.at += wait_ns
    return close(made).packets


def test_http_that_ends_without_a_word(tmp_path: Path) -> None:
    this = found(tmp_path, ended())
    assert this["closed-unanswered"].severity == "warning"
    assert this["closed-unanswered"].text == "1 of 1 HTTP request got no answer before both sides closed the connection."


def test_http_that_the_client_gives_up(tmp_path: Path) -> None:
    """One of many is what a browser does; a long wait is told by slow-server."""
    many = [p for k in range(12) for p in healthy(41_000 + k, k * S)]
    assert found(tmp_path, ended(), many)["closed-unanswered"].severity == "note"
    assert "closed-unanswered" not in found(tmp_path, ended(20 * S))
    late = talk()
    late.up("PA", GET)
    late.up("FA")
    late.down("PA", OK)
    late.down("FA")
    assert "closed-unanswered" not in found(tmp_path, late.packets)


def half_open(tries: int, port: int = 42_000, at: int = 0, acked: int = 500_000) -> Talk:
    """SYNs that meet a connection which the server still has."""
    made = Talk((CLIENT, port), (SERVER, 3306), isn=1000, at=at)
    for _ in range(tries):
        made.up("S", seq=1000)
        made.down("A", seq=77, ack=acked)
        made.up("R", seq=acked)
        made.at += S
    return made


def test_a_server_that_still_holds_an_old_connection(tmp_path: Path) -> None:
    this = found(tmp_path, half_open(4).packets, healthy(), ping(30 * S))
    assert problems(this) == {"connect-unanswered"}
    assert " never opened: 198.51.100.20:3306 answered with an ACK of an older connection, which 192.0.2.10 reset (4 tries)." in (
        this["connect-unanswered"].text
    )
    assert found(tmp_path, half_open(1).packets, healthy(), ping(30 * S))["connect-unanswered"].severity == "warning"


def test_a_server_that_drops_it_and_takes_the_next_syn(tmp_path: Path) -> None:
    """RFC 9293 3.5.1."""
    made = half_open(1)
    made.seq, made.back = 1000, 900_000
    packets = close(exchange(made.open(), b"x", b"y")).packets
    assert "connect-unanswered" not in found(tmp_path, packets, ping(30 * S))
    other = close(exchange(talk(42_001, 2 * S, (SERVER, 3306)), b"x", b"y")).packets
    assert "connect-unanswered" not in found(tmp_path, half_open(1).packets, other, ping(30 * S))
    unseen = half_open(2, acked=1001).packets  # the SYN+ACK may have been missed
    assert "connect-unanswered" not in found(tmp_path, unseen, ping(30 * S))


START = b"\x00\x00\x00\x1f\x00\x03\x00\x00user\x00app\x00database\x00sho\x00\x00"
READY, ROWS = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\5I", b"T\0\0\0\6\0\0C\0\0\0\rSELECT 1\0Z\0\0\0\5I"


def query(text: bytes) -> bytes:
    return b"Q" + (len(text) + 5).to_bytes(4, "big") + text + b"\0"


def command(code: int, text: bytes, sequence: int = 0) -> bytes:
    return (len(text) + 1).to_bytes(3, "little") + bytes([sequence, code]) + text


PARSED = b"P\0\0\0\x11\0select $1\0\0\0"
SYNC = b"S\0\0\0\4"


@pytest.mark.parametrize("wait_ns", [50 * MS, 4 * S, 3000 * S])
@pytest.mark.parametrize(
    ("port", "said", "last", "name"),
    [
        (5432, [START, READY, query(b"select 1"), ROWS], query(b"select pg_sleep(9)"), "PostgreSQL"),
        (6432, [START, READY], query(b"select pg_sleep(9)"), "PostgreSQL"),  # of a pooler
        (5432, [START, READY], PARSED + SYNC, "PostgreSQL"),
        (3306, [b"", GREETING, LOGIN, FINE], command(3, b"select sleep(9)"), "MySQL"),
        (3307, [b"", GREETING, LOGIN, FINE], command(0x17, bytes(12)), "MySQL"),
    ],
)
def test_a_statement_on_which_the_connection_ends(
    tmp_path: Path, port: int, said: list[bytes], last: bytes, name: str, wait_ns: int
) -> None:
    """A proxy's time-out, or a server that was killed."""
    this = found(tmp_path, halted(port, said, last, wait_ns), healthy())
    assert problems(this) == {"closed-unanswered"}
    text = f"1 of 2 connections got no answer: {SERVER}:{port} ({name}) took the request and closed without answering it."
    assert this["closed-unanswered"].text == text


def test_that_a_client_comes_in_again_is_no_answer_to_a_statement(tmp_path: Path) -> None:
    cut = [halted(5432, [START, READY], query(b"select pg_sleep(9)"), 4 * S, at=k * 9 * S) for k in range(2)]
    for k, packets in enumerate(cut):
        cut[k] = [*packets, *close(exchange(talk(43_000 + k, k * 9 * S + 5 * S, (SERVER, 5432)), START, READY)).packets]
    assert problems(found(tmp_path, *cut, healthy())) == {"closed-unanswered"}


@pytest.mark.parametrize(
    "packets",
    [
        halted(5432, [START, READY, query(b"select 1"), ROWS], b"X\0\0\0\4", 4 * S),
        halted(5432, [START, READY], b"\x17\x03\x03\x00\x20" + bytes(32), 4 * S),
        halted(5432, [START, READY, query(b"copy a from stdin"), b"G\0\0\0\7\0\0\0"], b"d\0\0\0\x0d1\t2\n1\t2\n", 4 * S),
        halted(5432, [START, READY], PARSED, 4 * S),  # nothing called for the answer yet
        halted(5432, [START, READY, query(b"listen a"), b"C\0\0\0\x0bLISTEN\0Z\0\0\0\5I"], SYNC, 900 * S)[:-1],
        close(exchange(exchange(talk(server=(SERVER, 5432)), START, READY), query(b"select pg_sleep(9)"), ROWS, 9 * S)).packets,
        halted(3306, [b"", GREETING, LOGIN, FINE], command(0x19, bytes(4)), 900 * S),  # a statement is closed, and then it is idle
        halted(3306, [b"", GREETING, LOGIN, FINE], command(0x12, bytes(20)), 900 * S),  # a replica that waits for events
        halted(3306, [b"", GREETING, LOGIN, FINE], b"\x17\x03\x03\x00\x20" + bytes(32), 900 * S),
    ],
    ids=["Terminate", "TLS inside", "COPY", "no Sync", "idle", "slow", "COM_STMT_CLOSE", "COM_BINLOG_DUMP", "TLS inside MySQL"],
)
def test_databases_that_end_what_was_idle(tmp_path: Path, packets: list[Packet]) -> None:
    assert "closed-unanswered" not in found(tmp_path, packets, healthy())
