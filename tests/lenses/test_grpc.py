"""HTTP/2 in clear: calls of gRPC that fail, errors, streams that are reset, and windows that stay shut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlens.parsers.grpc import Calls, read
from tests.lenses.made import SERVER, S, close, exchange, found, healthy, ping, problems, talk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Packet

NAME, NAME_CODED = b"\x40\x0bgrpc-status", b"\x40\x88\x9a\xca\xc8\xb2\x12\x34\xda\x8f"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def failed(status: int, stream: int, name: bytes = NAME) -> bytes:
    """Trailers alone, behind an acknowledgment of a PING."""
    value = str(status).encode()
    return frame(6, 1, 0, bytes(8)) + frame(1, 5, stream, b"\x88" + name + bytes([len(value)]) + value)


def again(stream: int) -> bytes:
    """The same by numbers of the table."""
    return frame(1, 5, stream, b"\x88\xbe")


def given(stream: int) -> bytes:
    return frame(1, 4, stream, b"\x88") + frame(0, 0, stream, bytes(7)) + frame(1, 5, stream, NAME + b"\x010")


def session(*answers: bytes, port: int = 41_000, at: float = 0) -> list[Packet]:
    made = exchange(talk(port, int(at * S), (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    for k, answer in enumerate(answers):
        exchange(made, frame(1, 4, 2 * k + 1, b"\x83") + frame(0, 1, 2 * k + 1, bytes(5)), answer)
    return close(made).packets


@pytest.mark.parametrize(
    ("packets", "what"),
    [
        (session(failed(12, 1), again(3), again(5)), "UNIMPLEMENTED (12)"),
        (session(failed(16, 1, NAME_CODED), again(3), again(5)), "UNAUTHENTICATED (16)"),
        ([p for k in range(3) for p in session(failed(8, 1), port=41_000 + k, at=k)], "RESOURCE_EXHAUSTED (8)"),
        (session(given(1)) + session(failed(14, 1), again(3), again(5), port=41_001, at=9), "UNAVAILABLE (14)"),  # since then
    ],
)
def test_calls_that_all_fail(tmp_path: Path, packets: list[Packet], what: str) -> None:
    this = found(tmp_path, packets, healthy())
    assert problems(this) == {"refused"}
    assert f"to 198.51.100.20:50051 got a refusal: {what} (gRPC)." in this["refused"].text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([p for k in range(6) for p in session(failed(12, 1), port=41_000 + k, at=9 * k)], id="a load balancer's checks"),
        pytest.param(session(failed(12, 1), again(3), again(5), given(7)), id="another version of reflection"),
        pytest.param(session(*[failed(14, 1), again(3), again(5)]) + session(given(1), port=41_001, at=5), id="until it is there"),
        pytest.param(session(failed(5, 1), again(3), again(5)), id="what is asked for is not there"),
        pytest.param(session(failed(7, 1), again(3)), id="twice"),
        pytest.param(session(given(1), failed(7, 3), again(5), again(7)), id="others are answered"),
        pytest.param(session(*[frame(1, 5, k, b"\x89") for k in (1, 3, 5)]), id="HTTP/2 without bodies"),
    ],
)
def test_calls_that_fail_for_no_fault(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))


PUT, RANGE = b"\x83\x86\x45\x04/Put", b"\x83\x86\x45\x06/Range"


def called(k: int, path: bytes, answer: bytes) -> list[Packet]:
    """A connection with one call."""
    made = exchange(talk(41_000 + k, k * S, (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    return close(exchange(made, frame(1, 4, 1, path) + frame(0, 1, 1, bytes(5)), answer)).packets


def test_a_method_that_always_fails(tmp_path: Path) -> None:
    calls = [p for k in range(8) for p in called(k, *((RANGE, given(1)) if k % 2 else (PUT, failed(8, 1))))]
    this = found(tmp_path, calls, healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == "4 of 8 calls to 198.51.100.20:50051 got a refusal: RESOURCE_EXHAUSTED (8) (gRPC)."
    again = [p for k in range(8) for p in called(k, PUT, given(1) if k % 2 else failed(8, 1))]
    assert not problems(found(tmp_path, again, healthy()))  # who tries again is served


#: Heads of which all is told by numbers from the second on, as libraries write them: a path under a name in full, trailers with the name in the table
GET_A, GET_B = b"\x83\x86\x40\x05:path\x02/A", b"\x83\x86\x40\x05:path\x02/B"
OK_HEAD, OK_TRAILERS, NO = b"\x88", b"\x40\x0bgrpc-status\x010", b"\x88\x7e"


def several(*calls: tuple[bytes, int, float], port: int = 41_000, at: float = 0) -> list[Packet]:
    """Calls on one connection.  calls : head of the request, status of the answer, seconds until the next."""
    made = exchange(talk(port, int(at * S), (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    for k, (head, status, pause) in enumerate(calls):
        stream = 2 * k + 1
        if status:
            answer = frame(1, 5, stream, NO + bytes([len(str(status))]) + str(status).encode())
        else:
            answer = frame(1, 4, stream, OK_HEAD) + frame(0, 0, stream, bytes(7)) + frame(1, 5, stream, b"\xbe" if k else OK_TRAILERS)
        exchange(made, frame(1, 4, stream, head) + frame(0, 1, stream, bytes(5)), answer)
        made.at += int(pause * S)
    return close(made).packets


A, A_AGAIN, B, B_AGAIN = (GET_A, 0, 0.1), (b"\x83\x86\xbf", 0, 0.1), GET_B, b"\x83\x86\xbe"


@pytest.mark.parametrize(
    ("calls", "what"),
    [
        ([A, (B, 13, 0.5), (B_AGAIN, 13, 1), (B_AGAIN, 13, 1), A_AGAIN], "INTERNAL (13)"),
        ([A, (B, 12, 0.5), (B_AGAIN, 12, 1), (B_AGAIN, 12, 0), A_AGAIN], "UNIMPLEMENTED (12)"),
        ([A, (B, 0, 1), (B_AGAIN, 8, 0.5), (B_AGAIN, 8, 1), (B_AGAIN, 8, 1), A_AGAIN], "RESOURCE_EXHAUSTED (8)"),  # since then
    ],
)
def test_a_method_that_fails_beside_others(tmp_path: Path, calls: list[tuple[bytes, int, float]], what: str) -> None:
    this = found(tmp_path, several(*calls), healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == f"3 of {len(calls)} calls to 198.51.100.20:50051 got a refusal: {what} (gRPC)."


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        pytest.param([A, (B, 7, 1), (B_AGAIN, 7, 1), (B_AGAIN, 7, 1), (B_AGAIN, 0, 1)], False, id="it is answered at last"),
        pytest.param([A, (B, 5, 1), (B_AGAIN, 5, 1), (B_AGAIN, 5, 1)], False, id="what is asked for is not there"),
        pytest.param([A, (B, 7, 0), (B_AGAIN, 7, 0), (B_AGAIN, 7, 0)], True, id="at once"),
        pytest.param([A, (B, 7, 30), (B_AGAIN, 7, 30), (B_AGAIN, 7, 30)], True, id="by the clock"),
        pytest.param([A, (B, 8, 1), (B_AGAIN, 8, 1)], True, id="twice"),
        pytest.param([A, (B, 14, 1), (B_AGAIN, 14, 1), (B_AGAIN, 14, 1)], False, id="a server that starts"),
        pytest.param([A, (B, 4, 1), (B_AGAIN, 4, 1), (B_AGAIN, 4, 1)], False, id="who pulls what is not there yet"),
        pytest.param([A, (B, 12, 1), (B_AGAIN, 12, 1)], False, id="who tries a newer version"),
        pytest.param([A, (B, 12, 0), (B_AGAIN, 12, 0), (B_AGAIN, 12, 0), A_AGAIN], False, id="several who try it at once"),
        pytest.param([A, *[(B, 12, 1)] * 4], False, id="a check each second"),
        pytest.param([A, *[(B, 12, 5)] * 4], False, id="a check each five seconds"),
        pytest.param([A, (B, 2, 0.5), (B_AGAIN, 2, 1), (B_AGAIN, 2, 1)], False, id="what a program raises"),
        pytest.param([A, (B, 7, 0.5), (B_AGAIN, 7, 1), (B_AGAIN, 7, 1), A_AGAIN], True, id="who asks whether it may, and goes on"),
        pytest.param([A, (B, 16, 0.5), (B_AGAIN, 16, 1), (B_AGAIN, 16, 1)], True, id="tests of what must not be granted"),
    ],
)
def test_a_method_that_fails_for_no_fault(tmp_path: Path, calls: list[tuple[bytes, int, float]], told: bool) -> None:
    this = found(tmp_path, several(*calls), healthy())
    assert not problems(this)
    assert ("refused" in this) == told


@pytest.mark.parametrize(("status", "name"), [(13, "INTERNAL"), (14, "UNAVAILABLE"), (15, "DATA_LOSS")])
def test_a_server_that_fails_in_half_of_all_calls(tmp_path: Path, status: int, name: str) -> None:
    """All within a moment, behind one that it answered."""
    calls = [(B, status, 0.05), *[(B_AGAIN, status, 0.05)] * 5]
    this = found(tmp_path, several(A, *calls), healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == f"6 of 7 calls to 198.51.100.20:50051 got a refusal: {name} ({status}) (gRPC)."
    assert {key: this["refused"].values[key] for key in ("calls", "refused_calls", "connections")} == {
        "calls": 7,
        "refused_calls": 6,
        "connections": 1,
    }
    between = [each for call in calls for each in (call, A_AGAIN)]
    assert problems(found(tmp_path, several(A, *between[:-1]), healthy())) == {"refused"}  # the other method is answered between


@pytest.mark.parametrize(
    ("calls", "severity"),
    [
        pytest.param([A, (B, 14, 0.05), *[(B_AGAIN, 14, 0.05)] * 5, (B_AGAIN, 0, 0)], None, id="it is there again"),
        pytest.param([A, *[A_AGAIN] * 6, (B, 14, 0.05), *[(B_AGAIN, 14, 0.05)] * 5], None, id="most are answered"),
        pytest.param([A, (B, 14, 1), *[(B_AGAIN, 14, 1)] * 5], None, id="a check each second"),
        pytest.param([A, (B, 14, 0.05), *[(B_AGAIN, 14, 0.05)] * 3], None, id="four times"),
        pytest.param([A, (B, 2, 0.05), *[(B_AGAIN, 2, 0.05)] * 5], "warning", id="what a program raises"),
        pytest.param([A, (B, 5, 0.05), *[(B_AGAIN, 5, 0.05)] * 5], None, id="what is asked for is not there"),
    ],
)
def test_calls_that_fail_a_while_or_for_the_caller(tmp_path: Path, calls: list[tuple[bytes, int, float]], severity: str | None) -> None:
    this = found(tmp_path, several(*calls), healthy())
    assert (this["refused"].severity if "refused" in this else None) == severity


def test_what_a_client_may_not_on_each_connection(tmp_path: Path) -> None:
    """Where others are granted first."""
    calls = [several(A, (B, 7, 1), port=41_000 + k, at=at) for k, at in enumerate((0, 2, 5))]
    assert problems(found(tmp_path, *calls, healthy())) == {"refused"}


def test_a_call_that_another_server_grants(tmp_path: Path) -> None:
    refuses = [p for k in range(3) for p in called(k, PUT, failed(16, 1))]
    made = exchange(talk(41_001, 9 * S, ("198.51.100.21", 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    grants = close(exchange(made, frame(1, 4, 1, PUT) + frame(0, 1, 1, bytes(5)), given(1))).packets
    assert problems(found(tmp_path, refuses, healthy())) == {"refused"}
    assert not problems(found(tmp_path, refuses, grants, healthy()))


def beside(heads: list[bytes], lost: bytes = b"") -> list[Packet]:
    """Answers of heads alone beside calls, behind one that failed; ``lost``: an answer that is not in the capture."""
    made = exchange(talk(41_000, 0, (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    answers = [
        given(1),
        frame(1, 5, 3, NO + b"\x0213"),
        *([lost] if lost else []),
        *(frame(1, 5, 7 + 2 * k, head) for k, head in enumerate(heads)),
    ]
    for k, answer in enumerate(answers):
        exchange(made, frame(1, 4, 2 * k + 1, GET_B) + frame(0, 1, 2 * k + 1, bytes(5)), answer)
        if answer == lost:
            del made.packets[-2]
        made.at += (2 * k + 5) * S // 10
    return close(made).packets


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(beside([b"\x8b"] * 6), id="304"),
        pytest.param(beside([b"\x89"] * 6), id="204"),
        pytest.param(beside([b"\x88\xbe"] * 6, lost=frame(1, 5, 5, NO + b"\x015")), id="NOT_FOUND by a number, behind what is missing"),
        pytest.param(beside([NAME + b"\x010"] * 6), id="streams without a message"),
    ],
)
def test_answers_without_a_status_that_is_known(tmp_path: Path, packets: list[Packet]) -> None:
    assert "refused" not in found(tmp_path, packets, healthy())


def test_a_stream_on_which_nothing_is_said(tmp_path: Path) -> None:
    """It ends some time after its head."""
    made = exchange(talk(41_000, 0, (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    exchange(made, frame(1, 4, 1, GET_A) + frame(0, 1, 1, bytes(5)), given(1))
    for k, pause in enumerate((5, 9, 14)):
        exchange(made, frame(1, 4, 2 * k + 3, GET_B) + frame(0, 1, 2 * k + 3, bytes(5)), frame(1, 4, 2 * k + 3, OK_HEAD))
        made.at += pause * S
        made.down("PA", frame(1, 5, 2 * k + 3, NAME + b"\x0213"))
        made.up("A")
    assert "refused" not in found(tmp_path, close(made).packets, healthy())


def test_a_newer_version_that_is_tried_on_each_connection(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, *(several(A, (B, 12, 1), port=41_000 + k, at=3 * k) for k in range(4)), healthy()))


def large(*statuses: int, together: bool = False) -> list[Packet]:
    """Calls of 2 MB as they say, with small ones before."""
    made = exchange(talk(41_000, 0, (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    exchange(made, frame(1, 4, 1, GET_A) + frame(0, 1, 1, b"\0\0\0\0\x01a"), given(1))
    asks = [frame(1, 4, 2 * k + 3, b"\x83\x86\xbe") + frame(0, 1, 2 * k + 3, b"\0\0\x20\0\0a") for k in range(len(statuses))]
    answers = [failed(status, 2 * k + 3) if status else given(2 * k + 3) for k, status in enumerate(statuses)]
    if together:
        exchange(made, b"".join(asks), b"".join(answers))
    else:
        for question, answer in zip(asks, answers, strict=True):
            exchange(made, question, answer)
            made.at += S
    return close(made).packets


def test_messages_that_are_too_long_as_they_say(tmp_path: Path) -> None:
    this = found(tmp_path, large(8, 8, 8), healthy())
    assert problems(this) == {"refused"}
    assert "RESOURCE_EXHAUSTED (8) to messages of 2.1 MB and more" in this["refused"].text
    assert not problems(found(tmp_path, large(8, 8, 8, together=True), healthy()))  # too many at once
    assert not problems(found(tmp_path, large(8, 8, 0, 8), healthy()))


def test_a_method_that_runs_into_its_deadline(tmp_path: Path) -> None:
    """Or of which the client lets go, as it waits for something: a warning."""
    made = exchange(talk(41_000, 0, (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    for k in range(12):
        stream, slow = 2 * k + 1, k >= 9
        made.up("PA", frame(1, 4, stream, (GET_B if k == 9 else b"\x83\x86\xbe") if k else GET_A) + frame(0, 1, stream, bytes(5)))
        made.at += S if slow else 0
        if slow:
            made.up("PA", frame(3, 0, stream, b"\0\0\0\x08"))
            made.down("A")
        else:
            made.down(
                "PA", frame(1, 4, stream, OK_HEAD) + frame(0, 0, stream, bytes(7)) + frame(1, 5, stream, b"\xbe" if k else OK_TRAILERS)
            )
    this = found(tmp_path, close(made).packets, healthy())["slow-server"]
    assert this.severity == "warning"
    assert this.text.endswith("(a deadline of gRPC, or a timeout); those of other methods were answered.")


def goaway(code: int, words: bytes = b"") -> bytes:
    return frame(7, 0, 0, bytes(4) + code.to_bytes(4, "big") + words)


@pytest.mark.parametrize(
    ("answer", "what"),
    [(goaway(11, b"too_many_pings"), "ENHANCE_YOUR_CALM (11)"), (given(1) + goaway(2), "INTERNAL_ERROR (2)")],
)
def test_connections_of_http_2_that_end_for_an_error(tmp_path: Path, answer: bytes, what: str) -> None:
    this = found(tmp_path, *(session(answer, port=41_000 + k, at=k) for k in range(2)), healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == f"2 of 2 connections to 198.51.100.20:50051 got a refusal: GOAWAY, {what} (HTTP/2)."
    assert found(tmp_path, session(answer), healthy())["refused"].severity == "warning"  # once


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(goaway(0), id="a server that ends"),
        pytest.param(goaway(0, b"max_age"), id="or a connection that is old"),
        pytest.param(goaway(13), id="HTTP/1.1 is wanted"),
        pytest.param(given(1) + frame(3, 0, 1, (8).to_bytes(4, "big")), id="a request that was cancelled"),
    ],
)
def test_connections_of_http_2_that_end(tmp_path: Path, answer: bytes) -> None:
    assert "refused" not in found(tmp_path, *(session(answer, port=41_000 + k, at=k) for k in range(3)), healthy())


def test_what_is_no_frame_ends_what_is_read() -> None:
    calls = Calls(0)
    read(calls, b"the middle of a message" + failed(12, 1), 1, 1)
    assert calls == Calls(0)


NGINX, CODED, NUMBER = (
    b"\x48\x03502",
    b"\x3f\xe1\x1f\x48\x82\x6c\x02",
    b"\xbe",
)  # 502 in full, in Huffman's code behind a change of the table, and by its number


def answered(stream: int, head: bytes) -> bytes:
    return frame(1, 4, stream, head) + frame(0, 1, stream, bytes(7))


@pytest.mark.parametrize(
    "heads", [[NGINX, NGINX], [CODED, NUMBER], [b"\x8e", b"\x88", b"\x8e"], [b"\x8d", b"\x8d"], [b"\x8d", b"\x88", b"\x8d"]]
)
def test_errors_of_http_2(tmp_path: Path, heads: list[bytes]) -> None:
    this = found(tmp_path, session(*(answered(2 * k + 1, head) for k, head in enumerate(heads))), healthy())
    assert problems(this) == {"http-errors"}
    code = {0x8D: 404, 0x8E: 500}.get(heads[0][0], 502)
    assert this["http-errors"].text == f"2 of {len(heads)} HTTP/2 responses are errors (2 × {code}), from 198.51.100.20:50051."


@pytest.mark.parametrize(
    "heads",
    [
        [b"\x8d", b"\x88"] * 3,
        [NGINX] + [b"\x88"] * 5,
        [b"\x8d"] + [b"\x88"] * 5,
        [b"\x48\x03401", b"\x88"],
        [b"\x08\x03103", b"\x48\x03201"],
    ],
)
def test_errors_of_http_2_that_are_few(tmp_path: Path, heads: list[bytes]) -> None:
    assert not problems(found(tmp_path, session(*(answered(2 * k + 1, head) for k, head in enumerate(heads))), healthy()))


def reset(code: int, by_client: bool, port: int = 41_000) -> list[Packet]:
    """A request of which one side resets the stream."""
    made = exchange(talk(port, port * S, (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    end = frame(3, 0, 1, code.to_bytes(4, "big"))
    exchange(made, frame(1, 5, 1, b"\x82"), frame(1, 4, 1, b"\x88") + (b"" if by_client else end))
    if by_client:
        made.up("PA", end)
        made.down("A")
    return close(made).packets


@pytest.mark.parametrize(
    ("by_client", "what"),
    [
        (True, "the client did not take what 198.51.100.20:50051 answered (PROTOCOL_ERROR)."),
        (False, "198.51.100.20:50051 reset the stream (PROTOCOL_ERROR)."),
    ],
)
def test_streams_that_are_reset_for_an_error(tmp_path: Path, by_client: bool, what: str) -> None:
    this = found(tmp_path, reset(1, by_client), reset(1, by_client, 41_001), healthy())
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == f"2 of 2 HTTP/2 requests were broken off: {what}"


@pytest.mark.parametrize("by_client", [True, False])
@pytest.mark.parametrize("code", [0, 5, 7, 8])
def test_streams_that_are_reset_for_no_error(tmp_path: Path, code: int, by_client: bool) -> None:
    assert not problems(found(tmp_path, reset(code, by_client), reset(code, by_client, 41_001), healthy()))


def read_slowly(size: int = 65_535, others: int = 3, pause: int = 5 * S, hole: bool = False, bodies: bool = True) -> list[Packet]:
    """A large answer that fills the window, requests beside it, and the client takes more after a while.  bodies : the other answers have some."""
    made = exchange(talk(41_000, 0, (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    exchange(made, frame(1, 5, 1, b"\x82"), frame(1, 4, 1, b"\x88"))
    text = b"".join(frame(0, 0, 1, bytes(min(16_384, size - at))) for at in range(0, size, 16_384))
    for at in range(0, len(text), 1400):
        made.down("A", text[at : at + 1400])
        made.up("A")
        if hole and at < 16_384 < at + 1400:
            made.packets.pop(-2)  # where the second frame begins
    for k in range(others):
        exchange(made, frame(1, 5, 2 * k + 3, b"\x82"), frame(1, 4 if bodies else 5, 2 * k + 3, b"\x88"))
    made.at += pause
    made.up("PA", frame(8, 0, 0, (1 << 20).to_bytes(4, "big")) + frame(8, 0, 1, (1 << 20).to_bytes(4, "big")))
    made.down("PA", b"".join(frame(0, 1, 2 * k + 3, bytes(50)) for k in range(others if bodies else 0)) + frame(0, 1, 1, bytes(1000)))
    return close(made).packets


def test_requests_that_wait_as_their_client_reads_nothing(tmp_path: Path) -> None:
    this = found(tmp_path, read_slowly(), healthy(), ping(60 * S))
    assert problems(this) == {"slow-client"}
    assert this["slow-client"].text == (
        "3 HTTP/2 requests waited up to 5.0 s because the client (192.0.2.10) stopped reading another answer from 198.51.100.20:50051: the window of their "
        "connection was used up."
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(read_slowly(65_000), id="the window is open"),
        pytest.param(read_slowly(others=0), id="nobody else waits"),
        pytest.param(read_slowly(bodies=False), id="the others are answered by heads alone"),
        pytest.param(read_slowly(pause=100_000_000), id="not for long"),
        pytest.param(read_slowly(hole=True), id="bytes are missing"),
    ],
)
def test_windows_for_which_nobody_waits(tmp_path: Path, packets: list[Packet]) -> None:
    assert "slow-client" not in found(tmp_path, packets, healthy(), ping(60 * S))


def stands_still(port: int, waits: int = 6 * S, early: bool = False, whole: bool = False, reset: bool = False) -> list[Packet]:
    """An answer that fills the window, which the client never widens (``early``: but at first).  whole : it ends there.  reset : by its client."""
    first = PREFACE + frame(4, 0, 0) + (frame(8, 0, 0, (1).to_bytes(4, "big")) if early else b"")
    made = exchange(talk(port, port % 100 * 10 * S, (SERVER, 50_051)), first, frame(4, 0, 0) + frame(4, 1, 0))
    exchange(made, frame(1, 5, 1, b"\x82"), frame(1, 4, 1, b"\x88"))
    text = b"".join(frame(0, whole and at == 49_152, 1, bytes(min(16_384, 65_535 - at))) for at in range(0, 65_535, 16_384))
    for at in range(0, len(text), 1400):
        made.down("A", text[at : at + 1400])
        made.up("A")
    if reset:
        made.up("PA", frame(3, 0, 1, b"\0\0\0\x08"))
        made.down("A")
    made.at += waits
    return close(made).packets


def test_answers_that_stand_still_as_nobody_widens_the_window(tmp_path: Path) -> None:
    this = found(tmp_path, stands_still(41_000), stands_still(41_001), healthy())
    assert problems(this) == {"slow-client"}
    assert this["slow-client"].text == (
        "2 HTTP/2 answers from 198.51.100.20:50051 stand still after 65.5 kB: the client (192.0.2.10) has never widened the window of the connection "
        "(WINDOW_UPDATE), and waited up to 6.1 s."
    )
    assert found(tmp_path, stands_still(41_000), healthy())["slow-client"].severity == "warning"


@pytest.mark.parametrize(
    "how",
    [{"waits": S}, {"early": True}, {"whole": True}, {"reset": True}],
    ids=["who has had enough", "a client that reads slowly", "it is just as long", "who wants its beginning alone"],
)
def test_answers_that_do_not_stand_still(tmp_path: Path, how: dict[str, int]) -> None:
    assert "slow-client" not in found(tmp_path, *(stands_still(41_000 + k, **how) for k in range(2)), healthy())


def test_http_2_where_http_1_is_spoken(tmp_path: Path) -> None:
    """By a page without a head, as Python's server answers what it does not understand."""
    page = b"<!DOCTYPE HTML>\n<html>Error code: 505</html>"
    streams = [close(exchange(talk(41_000 + k, k * S), PREFACE + frame(4, 0, 0), page)).packets for k in range(3)]
    this = found(tmp_path, *streams)["refused"]
    assert this.text == "3 of 3 connections to 198.51.100.20:80 got a refusal: HTTP/2 was answered in HTTP (HTTP/2)."


def test_that_nothing_is_said_of_windows_that_were_not_followed_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlens.parsers.grpc.MAX_FRAMES", 60)
    assert "slow-client" not in found(tmp_path, read_slowly(), healthy(), ping(60 * S))


def test_a_status_that_is_none() -> None:
    calls = Calls(0)
    read(calls, frame(1, 5, 1, NAME + b"\x7f\xb9\x26" + b"1" * 5048), 1, 1)
    assert calls.status is None


def test_a_head_that_is_longer_than_a_frame_is() -> None:
    calls = Calls(0)
    calls._largest = [1 << 24] * 2
    read(calls, frame(1, 5, 1, b"\x88" + NAME + b"\x017" + bytes(20_000))[:2000], 1, 1)
    assert calls.status == 7


def test_frames_across_segments() -> None:
    """Whatever the cut, the same is read."""
    text = frame(4, 0, 0) + answered(1, NGINX) + frame(3, 0, 1, bytes(4)) + given(3) + goaway(2, b"why")
    whole = Calls(0)
    whole.feed(False, 0, text, len(text), 1, 1)
    assert (whole.errors, whole.error, len(whole.broken)) == ([(502, 1)], 2, 1)
    for cut in range(1, len(text)):
        calls = Calls(0)
        calls.feed(False, 0, text[:cut], cut, 1, 1)
        calls.feed(False, cut, text[cut:], len(text) - cut, 1, 1)
        assert (calls.error, len(calls.broken), calls.answers, calls.window, calls.whole) == (2, 1, 2, whole.window, True)
    calls = Calls(0)
    calls.feed(False, 0, text[:12], len(text), 1, 1)  # the snaplen
    assert not calls.whole


def test_what_a_client_says_last_is_no_request(tmp_path: Path) -> None:
    """It opens windows and gives its stream up, which nobody answers, and closes seconds later."""
    packets: list[Packet] = []
    for k in range(3):
        made = exchange(talk(41_000 + k, 5 * k * S, (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
        exchange(made, frame(1, 4, 1, b"\x83") + frame(0, 1, 1, bytes(5)), given(1))
        for kind in (8, 3):
            made.up("PA", frame(kind, 0, 1, bytes(4)))
            made.down("A")
        made.at += 3 * S
        made.up("RA")
        packets += made.packets
    assert not problems(found(tmp_path, packets, healthy()))


def cancelled(*waits: float, answered: int = 0, head: bool = False) -> list[Packet]:
    """Calls that the client resets after so many seconds, and such that are answered; ``head``: of those that are reset, a head comes."""
    made = exchange(talk(41_000, 0, (SERVER, 50_051)), PREFACE + frame(4, 0, 0), frame(4, 0, 0) + frame(4, 1, 0))
    for k, wait in enumerate((*waits, *[0.0] * answered)):
        stream = 2 * k + 1
        made.up("PA", frame(1, 4, stream, b"\x83") + frame(0, 1, stream, bytes(5)))
        made.down("PA", frame(6, 0, 0, bytes(8)))
        made.up("PA", frame(6, 1, 0, bytes(8)))
        if head:
            made.down("PA", frame(1, 4, stream, b"\x88"))
        made.at += int(wait * S)
        if wait:
            made.up("PA", frame(3, 0, stream, b"\0\0\0\x08"))
            made.down("A")
        else:
            made.down("PA", given(stream))
        made.at += S // 3
    return close(made).packets


def test_calls_that_run_into_their_deadline(tmp_path: Path) -> None:
    this = found(tmp_path, cancelled(1.0, 1.002, 0.998, answered=1), healthy())["slow-server"]
    assert this.severity == "problem"
    assert this.text == (
        "3 of 4 HTTP/2 requests to 198.51.100.20:50051 got no answer until the client cancelled them after up to 1.0 s (a deadline of gRPC, or a timeout)."
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(cancelled(1.0, 1.0), id="two"),
        pytest.param(cancelled(0.9, 1.7, 2.6, 4.4), id="when it is not wanted any more"),
        pytest.param(cancelled(0.05, 0.05, 0.05, 0.05), id="the slower of two"),
        pytest.param(cancelled(1.0, 1.0, 1.0, answered=9), id="most are answered"),
        pytest.param(cancelled(1.0, 1.0, 1.0, head=True), id="streams that are ended"),
    ],
)
def test_calls_that_are_cancelled(tmp_path: Path, packets: list[Packet]) -> None:
    assert "slow-server" not in problems(found(tmp_path, packets, healthy()))


def test_what_a_client_says_last_on_http2_is_no_request(tmp_path: Path) -> None:
    """Its SETTINGS are acknowledged, it says that it goes (GOAWAY), and the server closes."""
    made = talk()
    made.up("PA", PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\1\5\0\0\0\1\x82\x84\x86\x41")
    made.down("A")
    made.down("PA", b"\0\0\0\4\0\0\0\0\0" + b"\0\0\1\1\5\0\0\0\1\x88")
    made.up("PA", b"\0\0\0\4\1\0\0\0\0")
    made.up("PA", b"\0\0\x08\7\0\0\0\0\0" + bytes(8))
    made.down("A")
    made.down("FA")
    made.up("FA")
    made.down("A")
    assert not problems(found(tmp_path, made.packets))
