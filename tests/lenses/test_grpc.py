"""Calls of gRPC in clear that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netlens.parsers.grpc import Calls, read
from tests.lenses.made import SERVER, S, close, exchange, found, healthy, problems, talk

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
    return frame(1, 5, stream, b"\x88\xbf\xbe")


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
