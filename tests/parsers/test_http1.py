"""HTTP/1.1 in clear: every message is told from the next, wherever segments cut them."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netlens
from netlens.parsers import http1
from tests.lenses.made import GET, OK, close, exchange, talk
from tests.parsers.build import MS, Packet, Talk, mixed, write
from tests.parsers.certificates import SERVER_HELLO, record
from tests.parsers.test_pipeline import HELLO

LINE = 14  #: "GET / HTTP/1.1"
Said = tuple[int | None, int, int, bool]  # status, bytes up and down, complete


def exchanges(folder: Path, *packets: list[Packet]) -> list[dict[str, Any]]:
    path = write(folder / "made.pcap", mixed(*packets))
    return list(netlens.api.Capture([path]).table("exchanges").records())


def said(rows: list[dict[str, Any]]) -> list[Said]:
    return [(r["status"], r["up_bytes"], r["down_bytes"], r["complete"]) for r in rows]


@dataclass
class Message:
    data: bytes
    status: int = 0


def asked(pick: random.Random, number: int, last: bool) -> tuple[Message, Message]:
    """A request and its answer, of any framing; only the last may go until the close."""
    kind = pick.choice(["get", "get", "head", "post", "chunks", "expects"])
    line = b"/%d HTTP/1.1\r\nHost: a\r\nX: %s\r\n" % (number, b"y" * pick.randrange(200))
    body = bytes(pick.randrange(256) for _ in range(pick.choice((0, 1, 30, 900))))
    up = {"get": b"GET ", "head": b"HEAD "}.get(kind, b"POST ") + line
    if kind in ("post", "expects"):
        up += b"content-length:%d\r\n" % len(body)
    up += (
        b"Transfer-Encoding: Chunked\r\n\r\n" + chunked(pick, body)
        if kind == "chunks"
        else b"\r\n" + (body if kind in ("post", "expects") else b"")
    )
    status = pick.choice((200, 200, 201, 204, 304, 404, 503))
    first = b"HTTP/1.1 100 Continue\r\n\r\n" * (kind == "expects")
    head = b"HTTP/1.%d %d Reason or none\r\nServer: x\r\n" % (pick.randrange(2), status)
    body = bytes(pick.randrange(256) for _ in range(pick.choice((0, 5, 400, 3000))))
    framing = pick.choice(["length", "chunks", "close" if last else "length"])
    if framing == "chunks":
        down = head + b"transfer-encoding: gzip, chunked\r\n\r\n"
    else:
        down = head + (b"Content-Length: %d\r\n" % len(body) if framing == "length" else b"") + b"\r\n"
    if kind != "head" and status not in (204, 304):
        down += chunked(pick, body) if framing == "chunks" else body
    return Message(up), Message(first + down, status)


def chunked(pick: random.Random, body: bytes) -> bytes:
    out, at = b"", 0
    while at < len(body):
        size = pick.randrange(1, 500)
        part = body[at : at + size]
        out += b"%X;ext=1\r\n%s\r\n" % (len(part), part)
        at += size
    return out + b"0\r\n" + pick.choice((b"", b"Trailer: x\r\n")) + b"\r\n"


def pieces(pick: random.Random, data: bytes, first: int) -> list[tuple[int, bytes]]:
    """``data`` cut anywhere, but not in its ``first`` bytes."""
    cuts = sorted({0, len(data), *(pick.randrange(first, len(data) + 1) for _ in range(pick.randrange(12)))})
    return [(a, data[a:b]) for a, b in itertools.pairwise(cuts)]


def holding(sent: list[tuple[int, int, int]], at: int) -> int:
    """The frame that holds the byte at a place of the stream."""
    return next(frame for start, end, frame in sent if start <= at < end)


@pytest.mark.parametrize("seed", range(40))
def test_pipelining(tmp_path: Path, seed: int) -> None:
    """All requests at once, then all answers, both cut anywhere; some segments are sent twice."""
    pick = random.Random(seed)
    n = pick.randrange(1, 13)
    pairs = [asked(pick, k, k == n - 1) for k in range(n)]
    made = talk()
    frames: list[list[tuple[int, int, int]]] = [[], []]
    for way, send in enumerate((made.up, made.down)):
        begin = made.back if way else made.seq
        stream = b"".join(pair[way].data for pair in pairs)
        first = 0 if way else LINE  # with less, nobody knows it is HTTP
        for at, data in pieces(pick, stream, first):
            send("PA", data)
            frames[way].append((at, at + len(data), len(made.packets)))
            if pick.random() < 0.2:
                send("PA", data, seq=begin + at)
    close(made)
    rows = exchanges(tmp_path, made.packets)
    up = down = 0
    expected = []
    for request, answer in pairs:
        interim = len(b"HTTP/1.1 100 Continue\r\n\r\n") * answer.data.startswith(b"HTTP/1.1 100")
        size = len(answer.data) - interim
        expected.append(
            (
                holding(frames[0], up), holding(frames[1], down + interim), holding(frames[1], down + len(answer.data) - 1), answer.status,
                len(request.data), size, True,
            )
        )  # fmt: skip
        up += len(request.data)
        down += len(answer.data)
    names = ("start_frame", "response_frame", "end_frame", "status", "up_bytes", "down_bytes", "complete")
    assert [tuple(r[name] for name in names) for r in rows] == expected


def test_turns_stay_as_they_were(tmp_path: Path) -> None:
    """Where nothing is pipelined, both know the same."""
    made = close(exchange(exchange(talk()), GET, OK + b"", 5 * MS))
    assert said(exchanges(tmp_path, made.packets)) == [(200, len(GET), len(OK), True)] * 2


def test_what_is_not_finished(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", GET + GET + GET[:9])
    made.down("PA", OK + b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234")
    assert said(exchanges(tmp_path, made.packets)) == [(200, len(GET), len(OK), True), (200, len(GET), 42, False), (None, 9, 0, False)]


def test_an_upgrade_ends_the_counting(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", GET + b"GET /chat HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
    made.down("PA", OK + b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello")
    made.up("PA", b"GET is what the user typed")
    assert [r["status"] for r in exchanges(tmp_path, made.packets)] == [200, 101]


def test_an_upgrade_to_tls_leaves_the_turns(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", b"OPTIONS * HTTP/1.1\r\nUpgrade: TLS/1.2\r\n\r\n")
    made.down("PA", b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    made.up("PA", HELLO)
    made.down("PA", record(22, SERVER_HELLO) + record(20, b"\x01") + record(22, bytes(40)))
    made.up("PA", record(20, b"\x01") + record(22, bytes(40)))
    made.up("PA", record(23, bytes(100)))
    made.down("PA", record(23, bytes(500)))
    assert [r["down_bytes"] for r in exchanges(tmp_path, close(made).packets)] == [36, 505]


def test_an_answer_that_nobody_asked_for(tmp_path: Path) -> None:
    made = exchange(talk())
    made.down("PA", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    assert [r["status"] for r in exchanges(tmp_path, close(made).packets)] == [200]


PIPELINED = [GET + GET, OK[:10], OK[10:] + OK]


def ask(made: Talk, answers: list[bytes]) -> Talk:
    made.up("PA", PIPELINED[0])
    for data in answers:
        made.down("PA", data)
    return close(made)


def statuses(folder: Path, made: Talk) -> list[int | None]:
    return [r["status"] for r in exchanges(folder, made.packets)]


def test_a_head_that_cannot_be_read_leaves_the_turns(tmp_path: Path) -> None:
    assert statuses(tmp_path, ask(talk(), PIPELINED[1:])) == [200, 200]
    hole = ask(talk(), PIPELINED[1:])
    del hole.packets[4]
    assert statuses(tmp_path, hole) != [200, 200]
    wrong = [b"HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n", OK]
    assert len(statuses(tmp_path, ask(talk(), wrong))) == 2


def test_what_is_no_message_leaves_the_turns(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", GET + bytes(14))
    assert said(exchanges(tmp_path, close(made).packets)) == [(None, len(GET) + 14, 0, False)]


def test_a_body_may_have_holes(tmp_path: Path) -> None:
    """What was captured of it does not matter."""
    made = talk()
    made.up("PA", GET + GET)
    made.down("PA", b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n")
    made.down("A", bytes(1000))
    made.back += 1000
    made.down("A", bytes(1000) + OK)
    assert statuses(tmp_path, close(made)) == [200, 200]


def test_redirect_halves_keep_their_turns(tmp_path: Path) -> None:
    up = Talk(("192.0.2.10", 40_000), ("127.0.0.1", 12_300), isn=5, answer=900)
    down = Talk(("192.0.2.10", 40_000), ("198.51.100.20", 80), isn=5, answer=900)
    whole = exchange(talk())
    del whole
    packets = [up.up("S")]
    down.seq, down.at = up.seq, 1000
    packets.append(down.down("SA"))
    up.back, up.at, down.at = down.back, 2000, 5 * MS
    packets += [up.up("A"), up.up("PA", GET)]
    down.seq = up.seq
    packets.append(down.down("PA", OK))
    rows = exchanges(tmp_path, packets)
    assert [(r["status"], r["response_frame"]) for r in rows] == [(200, 5)]


def test_no_more_than_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of messages, all keep their turns."""
    made = [ask(talk(40_000 + k, k * MS), PIPELINED[1:]).packets for k in range(3)]
    assert [r["status"] for r in exchanges(tmp_path, *made)] == [200] * 6
    monkeypatch.setattr(http1, "MAX_MESSAGES", 3)
    assert [r["status"] for r in exchanges(tmp_path, *made)] != [200] * 6


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.sampled_from([GET, OK, b"\r\n", b"0\r\n", b"HTTP/1.1 ", b"Content-Length: 99999999999999999999\r\n", bytes(3)]),
        ),
        max_size=14,
    )
)
def test_no_bytes_break_it(tmp_path_factory: pytest.TempPathFactory, data: list[tuple[bool, bytes]]) -> None:
    made = talk()
    made.up("PA", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n")
    for up, part in data:
        (made.up if up else made.down)("PA", part)
    rows = exchanges(tmp_path_factory.mktemp("made"), made.packets, [replace(p, at=p.at + 1) for p in exchange(talk(41_000)).packets])
    assert all(r["down_bytes"] >= 0 and r["up_bytes"] > 0 for r in rows)
