"""What a client tries again and again and never gets, by other signs than an error to all that it asks."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import MS, SERVER, S, close, exchange, found, healthy, ping, problems, said_behind, talk
from tests.lenses.test_granted import calls
from tests.lenses.test_grpc import PREFACE, answered, failed, frame, given

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Packet

POSTGRES, MYSQL, NATS = (SERVER, 5432), (SERVER, 3306), (SERVER, 4222)
STARTUP = struct.pack(">II", 24, 0x00030000) + b"user\0a\0database\0b"
READY, SELECT, TERMINATE = b"Z\0\0\0\5I", b"Q\0\0\0\x0dselect 1\0", b"X\0\0\0\4"
IDLE = b"E\0\0\0\x20SFATAL\0VFATAL\0C57P05\0Mx\0\0"
GREETING, LOGIN, OK = b"\x4a\0\0\0\x0a8.0.36\0" + bytes(66), b"\x20\0\0\1" + bytes(32), b"\7\0\0\2\0\0\0\2\0\0\0"
MYSQL_SELECT = b"\x09\0\0\0\3select 1"


def idled(k: int, said: bytes = SELECT, told: bool = True) -> list[Packet]:
    """A connection to PostgreSQL that the server ends as it is idle, and on which the client then says something."""
    made = exchange(talk(41_000 + k, 20 * k * S, POSTGRES), STARTUP, READY)
    exchange(made, SELECT, b"T\0\0\0\6\0\0" + READY)
    made.at += 3 * S
    made.down("PA", IDLE)
    made.up("A")
    return said_behind(made, said, told, closes=True)


def mysql(k: int) -> list[Packet]:
    made = talk(41_000 + k, 20 * k * S, MYSQL)
    made.down("PA", GREETING)
    made.up("PA", LOGIN)
    made.down("PA", OK)
    exchange(made, MYSQL_SELECT, OK)
    made.at += 3 * S
    return said_behind(made, MYSQL_SELECT, True, closes=True)


@pytest.mark.parametrize("made", [idled, mysql])
def test_statements_behind_the_close_of_a_database(tmp_path: Path, made) -> None:  # type: ignore[no-untyped-def]
    this = found(tmp_path, made(0), made(1), healthy(), ping(90 * S))
    assert "reset" in problems(this)
    port = 5432 if made is idled else 3306
    assert this["reset"].text == f"2 of 3 connections were reset by {SERVER}:{port} because the client asked after the server had closed."


def given_instead(k: int, after: int = 4 * S + S // 10) -> list[Packet]:
    """The same client asks again on another connection."""
    made = exchange(talk(42_000 + k, 20 * k * S + after, POSTGRES), STARTUP, READY)
    return close(exchange(made, SELECT, b"T\0\0\0\6\0\0" + READY)).packets


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([idled(0)], id="once"),
        pytest.param([each for k in range(3) for each in (idled(k), given_instead(k))], id="tested before it is used"),
        pytest.param([idled(k, TERMINATE) for k in range(3)], id="a farewell"),
        pytest.param([idled(k, told=False) for k in range(3)], id="question and close cross"),
    ],
)
def test_closes_of_databases_that_cost_nothing(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, healthy(), ping(90 * S)))


def cut(k: int, goes_on: bool = True, own: bool = False) -> list[Packet]:
    """A long answer in which a reset in the server's name stands; own : at the end of what the server has sent, as its own would."""
    made = talk(41_000 + k, k * S)
    made.up("PA", b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
    made.down("A", b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")
    for _ in range(9):
        made.down("A", 1400)
        made.up("A")
    if own:
        late = made.back
        made.back += 1400
        made.down("R")
        made.down("A", 1400, seq=late)
        return made.packets
    made.down("R")
    if goes_on:
        made.down("A", 1400)
        made.up("R", seq=made.seq)
    return made.packets


def test_resets_in_the_name_of_a_server_that_goes_on_sending(tmp_path: Path) -> None:
    this = found(tmp_path, cut(0), cut(1), healthy())
    assert "reset" in problems(this)
    assert this["reset"].text == (
        f"2 of 3 connections were reset in the name of {SERVER}:80 by something on the way, while the server went on sending."
    )


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([cut(0)], id="once"),
        pytest.param([cut(k, own=True) for k in range(3)], id="the reset overtook what was sent before it"),
        pytest.param([cut(k, goes_on=False) for k in range(3)], id="nothing follows"),
    ],
)
def test_resets_that_may_be_the_servers(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "reset" not in problems(found(tmp_path, *streams, healthy()))


def stale(k: int, answers: bool = False, awake: bool = True) -> list[Packet]:
    """A client of NATS that does not answer."""
    made = talk(41_000 + k, 30 * k * S, NATS)
    made.down("PA", b'INFO {"server_id":"A"}\r\n')
    exchange(made, b"CONNECT {}\r\nPING\r\n", b"PONG\r\n")
    for _ in range(3):
        made.at += 2 * S
        made.down("PA", b"PING\r\n")
        if answers:
            made.up("PA", b"PONG\r\n")
        elif awake:
            made.up("A")
    if answers:
        return close(made).packets
    made.at += 2 * S
    made.down("PA", b"-ERR 'Stale Connection'\r\n")
    if awake:
        made.up("A")
    made.down("FA")
    made.at += 4 * S
    made.up("PA", b"PONG\r\n")
    made.down("R", seq=made.back)
    return made.packets


def test_a_client_of_nats_that_is_too_busy(tmp_path: Path) -> None:
    this = found(tmp_path, stale(0), stale(1), healthy())
    assert problems(this) == {"refused"}
    assert (
        this["refused"].text == f"2 of 2 connections to {SERVER}:4222 got a refusal: ended as the client did not answer its PINGs (NATS)."
    )


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([stale(0)], id="once"),
        pytest.param([stale(0, answers=True), stale(1, answers=True)], id="it answers"),
        pytest.param([stale(0, awake=False), stale(1, awake=False)], id="a machine that sleeps"),
    ],
)
def test_ends_of_nats_that_are_no_refusals(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "refused" not in found(tmp_path, *streams, healthy(), ping(90 * S))


def http(method: bytes, status: int, size: int = 2, path: bytes = b"/x") -> tuple[bytes, bytes]:
    """A request with a body, and an answer."""
    head = b"%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (method, path, size)
    return head + bytes(size), b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status


def pushes(*answers: tuple[int, int], pause_ns: int = 6 * S) -> list[list[Packet]]:
    """What is sent to one place among other requests: statuses and sizes, each pair of them ``pause_ns`` apart."""
    asked = [(k * pause_ns // 2, *http(b"POST", *each)) for k, each in enumerate(answers)]
    return calls(*asked, *((k * S + S // 2, *http(b"GET", 200, path=b"/other")) for k in range(12)))


@pytest.mark.parametrize("status", [411, 413])
def test_what_is_too_large_where_less_is_taken(tmp_path: Path, status: int) -> None:
    this = found(tmp_path, *pushes(*[(200, 4), (status, 1000)] * 3))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == f"3 of 18 HTTP responses are errors (3 × {status}), from {SERVER}:80."


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(pushes(*[(413, 1000), (200, 500)] * 3, pause_ns=S), id="sent in parts at once"),
        pytest.param(pushes((413, 1000), (413, 1000), (413, 1000), (200, 1000)), id="taken in the end"),
        pytest.param(pushes(*[(200, 4), (413, 1000)] * 2), id="twice"),
        pytest.param(pushes(*[(200, 4), (400, 1000)] * 3), id="not for its size"),
    ],
)
def test_what_is_too_large_and_goes_on(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams))


def sessions(before: list[tuple[bytes, int]], after: list[tuple[bytes, int]]) -> list[list[Packet]]:
    """What a client asks for at one place, methods and statuses."""
    return calls(*((k * S, *http(*each, path=b"/mcp")) for k, each in enumerate([*before, *after])))


SERVED, REFUSED = [(b"GET", 200), *[(b"POST", 200)] * 5], [(b"GET", 404), *[(b"POST", 404)] * 4]


def test_what_was_there_and_is_gone(tmp_path: Path) -> None:
    this = found(tmp_path, *sessions(SERVED, REFUSED))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == (
        f"5 of 11 HTTP responses are errors (5 × 404), from {SERVER}:80; 5 of them ask for what the client was given before."
    )


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(sessions(SERVED, [*REFUSED, (b"POST", 200)]), id="it begins anew"),
        pytest.param(sessions([(b"POST", 200)] * 6, [(b"POST", 404)] * 5), id="a queue that is empty"),
        pytest.param(sessions([*SERVED, (b"GET", 404), (b"POST", 200)], REFUSED[:4]), id="now and then"),
        pytest.param(sessions([*SERVED, (b"DELETE", 200)], REFUSED), id="the client ended it"),
        pytest.param(sessions(SERVED[:3], REFUSED[:1] + REFUSED[2:3]), id="a few"),
        pytest.param(sessions([], []) + calls(*((k * S, *http(b"GET", 200)) for k in range(12))), id="all is well"),
    ],
)
def test_what_is_not_there_and_may_not_be(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams))


def downloads(*waited: float, whole: bool = False, paths: bytes = b"aaaaa") -> list[list[Packet]]:
    """Answers that stop midway, after which the client gives up; the last one may come whole."""
    streams = []
    for k, wait in enumerate(waited):
        made = talk(41_000 + k, 30 * k * S)
        made.up("PA", b"GET /%c HTTP/1.1\r\nHost: a\r\n\r\n" % paths[k])
        made.down("A")
        made.down("A", b"HTTP/1.1 200 OK\r\nContent-Length: 40000\r\n\r\n")
        for _ in range(40 if whole and k == len(waited) - 1 else 20):
            made.down("A", 1000)
            made.up("A")
        made.at += int(wait * S)
        made.up("FA")
        made.down("FA")
        made.up("A")
        streams.append(made.packets)
    return streams


def test_a_download_that_stops_midway_each_time(tmp_path: Path) -> None:
    this = found(tmp_path, *downloads(6, 6.2, 6.1), healthy(), ping(200 * S))
    assert problems(this) == {"stalled"}
    assert this["stalled"].text == (
        f"3 HTTP answers stopped midway: after 20 kB of 40 kB nothing came any more from {SERVER}:80, for up to 6.2 s until the client gave up, each time anew."
    )


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(downloads(6, 6.2), id="twice"),
        pytest.param(downloads(6, 9, 30), id="when somebody has seen enough"),
        pytest.param(downloads(6, 6.2, 6.1, 6, whole=True), id="had in the end"),
        pytest.param(downloads(6, 6.2, 6.1, paths=b"abcde"), id="something else each time"),
    ],
)
def test_answers_that_stop_midway(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert found(tmp_path, *streams, healthy(), ping(200 * S))["stalled"].severity == "warning"


def announced(*pages: tuple[int, int], wait: float = 5, lost: int = 0) -> list[list[Packet]]:
    """Answers by how many bytes they have and how many they announce, on which the client gives up.  lost : bytes that the server sent besides."""
    streams = []
    for k, (came, length) in enumerate(pages):
        made = talk(41_000 + k, 20 * k * S)
        made.up("PA", b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % k)
        made.down("A")
        made.down("PA", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + bytes(came))
        made.up("A")
        made.at += int(wait * S)
        made.back += lost
        if came < length:
            made.up("FA")
        made.down("FA")
        made.up("A")
        streams.append(made.packets)
    return streams


def test_answers_that_are_shorter_than_they_say(tmp_path: Path) -> None:
    this = found(tmp_path, *announced((500, 503), (700, 703), (610, 613)), healthy(), ping(200 * S))
    assert problems(this) == {"stalled"}
    assert "each is 3 bytes shorter than its Content-Length says." in this["stalled"].text
    assert "count bytes" in this["stalled"].advice
    once = found(tmp_path, *announced((5000 // 4, 1253)), healthy(), ping(200 * S))["stalled"]
    assert "after 1,250 of 1,253 bytes nothing came" in once.text


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([(500, 503), (700, 703)], id="twice"),
        pytest.param([(500, 503), (700, 730), (610, 666)], id="anywhere"),
        pytest.param([(500, 1500), (400, 1400), (450, 1450)], id="a segment"),
        pytest.param([(500, 503), (500, 503), (500, 503), (503, 503)], id="late, as one shows that is whole"),
    ],
)
def test_answers_that_stop_anywhere(tmp_path: Path, pages: list[tuple[int, int]]) -> None:
    assert found(tmp_path, *announced(*pages), healthy(), ping(200 * S))["stalled"].severity == "warning"


def test_answers_of_which_the_end_is_lost(tmp_path: Path) -> None:
    """The server's FIN shows that it had sent the rest."""
    lost = announced((500, 503), (700, 703), (610, 613), lost=3)
    assert "stalled" not in (this := found(tmp_path, *lost, healthy(), ping(200 * S))) or "shorter than" not in this["stalled"].text


CALLS = (SERVER, 50_051)
UPSERT, SEARCH, RANGE = b"\x83\x86\x45\x07/Upsert", b"\x83\x86\x45\x07/Search", b"\x83\x86\x45\x06/Range"
MAX_FRAME = frame(4, 0, 0, b"\0\5" + (1 << 20).to_bytes(4, "big"))


def message(length: int) -> bytes:
    return b"\0" + length.to_bytes(4, "big")


def upserts(*statuses: int | None, length: int = 2_000_000, pause_ns: int = 2 * S) -> list[Packet]:
    """Long messages by frames longer than usual, which fail with a status, and short ones that are answered, by turns on one connection."""
    made = exchange(talk(41_000, 0, CALLS), PREFACE + frame(4, 0, 0), MAX_FRAME + frame(4, 1, 0))
    for k, status in enumerate(statuses):
        stream, begin = 4 * k + 1, frame(0, 0, 4 * k + 1, message(length) + bytes(60_000))
        made.up("PA", frame(1, 4, stream, UPSERT) + begin[:1000])
        for at in range(1000, len(begin), 1000):
            made.up("A", begin[at : at + 1000])
            made.down("A")
        exchange(made, frame(0, 1, stream), given(stream) if status is None else failed(status, stream))
        exchange(made, frame(1, 4, stream + 2, SEARCH) + frame(0, 1, stream + 2, message(100) + bytes(100)), given(stream + 2))
        made.at += pause_ns
    return close(made).packets


def test_messages_of_grpc_that_are_too_long(tmp_path: Path) -> None:
    this = found(tmp_path, upserts(8, 8, 8), healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == (
        f"3 of 6 calls to {SERVER}:50051 got a refusal: RESOURCE_EXHAUSTED (8) to messages of 2 MB and more (gRPC)."
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(upserts(8, 8), id="twice"),
        pytest.param(upserts(8, 8, 8, None), id="one is taken"),
        pytest.param(upserts(5, 5, 5), id="another status"),
        pytest.param(upserts(8, 8, 8, length=60_000), id="not long"),
        pytest.param(upserts(8, 8, 8, pause_ns=0), id="at once"),
    ],
)
def test_messages_of_grpc_that_may_be_long(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))


def watches(*each: tuple[bytes, int], end: int = 0) -> list[list[Packet]]:
    """Calls of one method, each on a connection of its own: what is asked, and the status; 0 is answered."""
    streams = []
    for k, (text, status) in enumerate(each):
        made = exchange(talk(41_000 + k, k * S, CALLS), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
        said = frame(1, 4, 1, RANGE) + frame(0, 1, 1, message(len(text)) + text)
        streams.append(close(exchange(made, said, failed(status, 1) if status else given(1))).packets)
    return [*streams, ping(end)] if end else streams


OLD, NOW = (b"a, as of 4", 11), (b"a", 0)


def test_a_call_of_grpc_that_stays_out_of_range(tmp_path: Path) -> None:
    this = found(tmp_path, *watches(OLD, NOW, OLD, NOW, OLD, NOW), healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == f"3 of 6 calls to {SERVER}:50051 got a refusal: OUT_OF_RANGE (11) to the same call (gRPC)."


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(watches(*[(b"a, as of %d" % k, 11) for k in range(5)]), id="another each time"),
        pytest.param(watches(OLD, OLD, OLD, NOW, NOW, end=20 * S), id="until it began anew"),
        pytest.param(watches(OLD, OLD, OLD, (OLD[0], 0)), id="until it was there"),
        pytest.param(watches(*[(b"a", 5)] * 5), id="not there"),
    ],
)
def test_calls_of_grpc_out_of_range(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, healthy()))


def bursts(rounds: int, refused: int, again: str = "") -> list[list[Packet]]:
    """Requests of HTTP/2, some of each burst refused.  again : whether these are sent "by name" or "by number" (of the table) soon, or "elsewhere"."""
    made = exchange(talk(41_000, 0, CALLS), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    other = exchange(talk(42_000, 0, CALLS), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    stream, name = 1, b"\x83\x86\x44\x03/%c%c"  # each goes into the table, where the newest is number 62
    for k in range(rounds):
        these = [stream + 2 * n for n in range(4)]
        stream += 8
        named = [name % (65 + k, 65 + n) for n in range(4)]
        asked = b"".join(frame(1, 5, each, head) for each, head in zip(these, named, strict=True))
        turned_away = b"".join(frame(3, 0, each, (7).to_bytes(4, "big")) for each in these[:refused])
        exchange(made, asked, turned_away + b"".join(answered(each, b"\x88") for each in these[refused:]))
        for n in range(refused if again else 0):
            where = other if again == "elsewhere" else made
            where.at = max(where.at, made.at) + 50 * MS
            exchange(
                where,
                frame(1, 5, stream, b"\x83\x86" + bytes([0x80 + 65 - n]) if again == "by number" else named[n]),
                answered(stream, b"\x88"),
            )
            stream += 2
        made.at += S
    return [close(made).packets, close(other).packets]


def test_requests_of_http_2_that_are_refused_and_not_sent_again(tmp_path: Path) -> None:
    this = found(tmp_path, *bursts(4, 2), healthy())
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == (
        f"8 of 16 HTTP/2 requests got nothing: {SERVER}:50051 refused the stream (REFUSED_STREAM), and none was sent again."
    )


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(bursts(4, 2, "by name"), id="sent again"),
        pytest.param(bursts(4, 2, "by number"), id="sent again by number"),
        pytest.param(bursts(4, 2, "elsewhere"), id="sent again on another connection"),
        pytest.param(bursts(1, 3), id="at once, as the client does not know the limit yet"),
        pytest.param(bursts(2, 1), id="twice"),
    ],
)
def test_requests_of_http_2_that_cost_nothing(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, healthy()))


def counted(*missing: int) -> list[list[Packet]]:
    """Answers that lack some bytes of what they announce, each of another length, and after which the client gives up."""
    streams = []
    for k, short in enumerate(missing):
        made = talk(41_000 + k, 30 * k * S)
        made.up("PA", b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % k)
        made.down("A")
        made.down("A", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (5000 + 1000 * k))
        made.down("A", 5000 + 1000 * k - short)
        made.up("A")
        made.at += int((5 + k) * S)
        made.up("FA")
        made.down("FA")
        made.up("A")
        streams.append(made.packets)
    return streams


@pytest.mark.parametrize("streams", [counted(3, 3), counted(3, 5, 9), counted(2000, 2000, 2000)], ids=["twice", "not as many", "many"])
def test_answers_that_are_left_before_their_end(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert found(tmp_path, *streams, healthy(), ping(200 * S))["stalled"].severity == "warning"
