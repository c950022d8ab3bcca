"""Answers of HTTP/1.1 in clear that say how long they are: complete only if all of it came."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from netlens.parsers import answer_ends
from netlens.parsers.exchanges import ExchangeBuilder
from netlens.parsers.lifecycle import Kept
from netlens.parsers.sessions import SessionFold
from tests.parsers.build import MS, Packet, Talk, mixed, rows
from tests.parsers.test_pipeline import parts, tables

VM, WEB = ("192.168.64.2", 40000), ("203.0.113.10", 80)
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
TEN = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def talk(*pieces: bytes, request: bytes = GET, ending: str = "server", port: int = 40000, step: int = MS) -> Talk:
    """A request, its answer in pieces, and the end of the connection."""
    t = Talk((VM[0], port), WEB, step=step).open()
    t.up("PA", request)
    for piece in pieces:
        t.down("PA", piece)
        t.up("A")
    if ending == "client":
        t.close()
    else:
        t.down("FA")
        t.up("FA")
        t.down("A")
    return t


def complete(packets: list[Packet], size: int = 2048) -> list[bool]:
    state, builder = SessionFold(), ExchangeBuilder()
    buf, matrix = rows(packets)
    for at in range(0, len(matrix), size):
        batch = matrix[at : at + size]
        state.feed(batch)
        builder.feed(buf, batch, state.state())
        builder.ends.feed(buf, batch)
    return [r["complete"] for r in builder.rows(state.state()).records()]


SHORT = {
    "a part of the length": (TEN + b"12345",),
    "nothing but the head": (TEN,),
    "one byte is missing": (TEN, b"123456789"),
    "no last chunk": (CHUNKED + b"5\r\nhello\r\n",),
    "no chunk": (CHUNKED,),
    "in the midst of a chunk": (CHUNKED + b"5\r\nhel",),
    "in the midst of a size": (CHUNKED, b"5\r\nhello\r\n", b"5"),
    "in the midst of a trailer": (CHUNKED, b"5\r\nhello\r\n0\r\nExpires: never\r\n"),
    "behind 100 Continue": (b"HTTP/1.1 100 Continue\r\n\r\n", TEN + b"1"),
    "the name is in capitals": (TEN.upper(),),
}
WHOLE = {
    "all of the length": (TEN + b"1234567890",),
    "in two pieces": (TEN, b"12345", b"67890"),
    "without a body": (TEN.replace(b"10", b"0"),),
    "more than the length": (TEN + b"1234567890\r\n",),
    "the last chunk": (CHUNKED + b"5\r\nhello\r\n", LAST),
    "byte by byte": (CHUNKED, *(bytes([one]) for one in b"5\r\nhello\r\n" + LAST)),
    "a trailer": (CHUNKED, b"5\r\nhello\r\n0\r\nExpires: never\r\n\r\n"),
    "no length is known": (b"HTTP/1.1 200 OK\r\n\r\n12345",),
    "compressed and chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n12345",),
    "204": (b"HTTP/1.1 204 No Content\r\nContent-Length: 10\r\n\r\n",),
    "304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",),
    "a head in two segments": (TEN[:30], TEN[30:] + b"1"),
    "no size of a chunk": (CHUNKED + b"zz\r\n",),
}


@pytest.mark.parametrize("ending", ["server", "client"])
@pytest.mark.parametrize("size", [1, 2048])
@pytest.mark.parametrize(
    ("pieces", "whole"), [*((p, False) for p in SHORT.values()), *((p, True) for p in WHOLE.values())], ids=[*SHORT, *WHOLE]
)
def test_complete(pieces: tuple[bytes, ...], whole: bool, ending: str, size: int) -> None:
    assert complete(talk(*pieces, ending=ending).packets, size) == [whole]


@pytest.mark.parametrize("request_", [b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"CONNECT a:80 HTTP/1.1\r\n\r\n"])
def test_answers_without_a_body_whatever_they_say(request_: bytes) -> None:
    assert complete(talk(TEN.replace(b"200 OK", b"403 No"), request=request_).packets) == [True]


def test_the_last_answer_of_a_connection_counts() -> None:
    t = Talk(VM, WEB).open()
    for answer in (TEN + b"1", TEN + b"1234567890", CHUNKED + LAST, TEN + b"1"):
        t.up("PA", GET)
        t.down("PA", answer)
    assert complete(t.close().packets) == [True, True, True, False]  # one who asks again took the first for whole


def test_a_switch_to_another_protocol_has_no_end() -> None:
    upgraded = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    assert complete(talk(upgraded, b"\x81\x05hello").packets) == [True]


def test_what_the_capture_lacks_is_not_missing() -> None:
    """The capture lost the last segment of each, which the client acknowledged."""
    for pieces in ((TEN, b"1234567890"), (CHUNKED + b"5\r\nhello\r\n", LAST), (CHUNKED, b"5\r\nhello\r\n", LAST)):
        t = talk(*pieces)
        lost = next(p for p in reversed(t.packets) if p.data.endswith(pieces[-1]))
        assert complete([p for p in t.packets if p is not lost]) == [True]
    t = talk(CHUNKED, b"5\r\nhello\r\n", LAST)
    lost = next(p for p in t.packets if p.data.endswith(b"hello\r\n"))
    assert complete([p for p in t.packets if p is not lost]) == [True]


def test_too_many_segments_of_chunks_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_ends, "MAX_SEGMENTS", 2)
    assert complete(talk(CHUNKED, b"5\r\nhello\r\n").packets, 1) == [True]
    assert complete(mixed(talk(CHUNKED, b"5\r\n").packets, talk(TEN, port=40001).packets), 1) == [True, False]


def test_sessions_that_are_forgotten() -> None:
    state, builder = SessionFold(), ExchangeBuilder()
    one, two, three = talk(TEN + b"1"), talk(CHUNKED, port=40001), talk(CHUNKED, LAST, port=40002)
    buf, matrix = rows([*one.packets, *two.packets, *three.packets])
    state.feed(matrix)
    builder.feed(buf, matrix, state.state())
    builder.ends.feed(buf, matrix)
    kept = np.array([1, 2])
    builder.forget(Kept.of(kept, 3))
    assert [r["complete"] for r in builder.rows(state.state()[kept]).records()] == [False, True]


def test_every_cut_of_a_capture(tmp_path: Path) -> None:
    talks = [talk(*pieces, port=41_000 + k) for k, pieces in enumerate([*SHORT.values(), *WHOLE.values()]) if len(pieces) < 9]
    packets = [(p.at // 1000, p.data) for p in mixed(*(t.packets for t in talks))]
    whole = tables(parts(packets, [], tmp_path))
    assert {r["complete"] for r in whole["exchanges"]} == {True, False}
    for cut in range(0, len(packets), 3):
        assert tables(parts(packets, [cut], tmp_path)) == whole, cut
