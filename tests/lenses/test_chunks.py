"""Answers in chunks, heads in pieces, and bodies that wait for a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlens.parsers.chunks import BAD, DONE, SIZE, UNKNOWN, Chunked
from tests.lenses.made import GET, MS, OK, Packet, S, close, exchange, found, healthy, ping, problems, talk

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = b'5\r\nhello\r\n1a;name="a b"\r\n' + bytes(26) + b"\r\n0\r\nExpires: never\r\n\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 100])
def test_chunks_however_they_are_cut(step: int) -> None:
    answer = Chunked(0, 1, 1, 0)
    for at in range(0, len(WHOLE), step):
        assert answer.state < DONE
        part = WHOLE[at : at + step]
        answer.add(at, len(part), part, 2)
        answer.add(at, len(part), part, 3)  # sent again
    assert (answer.state, answer.at) == (DONE, len(WHOLE))


@given(
    st.binary(max_size=80) | st.lists(st.sampled_from([b"5\r\nhello\r\n", b"0\r\n", b"\r\n", b"a\n", b"z"]), max_size=9).map(b"".join),
    st.integers(1, 9),
)
def test_any_bytes_are_read_alike_however_they_are_cut(text: bytes, step: int) -> None:
    whole, parts = Chunked(0, 1, 1, 0), Chunked(0, 1, 1, 0)
    whole.add(0, len(text), text, 2)
    for at in range(0, len(text), step):
        part = text[at : at + step]
        parts.add(at, len(part), part, 2)
    assert (whole.state, whole.left, whole.line) == (parts.state, parts.left, parts.line)
    if not whole.over:
        assert whole.at == parts.at == len(text)


def test_what_cannot_be_known_of_chunks() -> None:
    behind_a_gap, cut, inside = Chunked(0, 1, 1, 0), Chunked(0, 1, 1, 0), Chunked(0, 1, 1, 0)
    behind_a_gap.add(5, 5, b"ello\r", 2)
    cut.add(0, len(WHOLE), WHOLE[:12], 2)
    inside.add(0, 20, b"14\r\nhe", 2)
    assert (behind_a_gap.state, cut.state, inside.left) == (UNKNOWN, UNKNOWN, 4)


@pytest.mark.parametrize("size", [b"zz\r\n", b"-5\r\n", b"5 5\r\n", b"\r\n", b"0x5\r\n"])
def test_a_size_that_is_no_number(size: bytes) -> None:
    answer = Chunked(0, 1, 1, 0)
    answer.add(0, len(size), size, 9)
    assert (answer.state, answer.bad_frame) == (BAD, 9)


@pytest.mark.parametrize("size", [b"5 \r\n", b"5;a=b\r\n", b"5\n", b"0005\r\n"])
def test_sizes_as_some_write_them(size: bytes) -> None:
    answer = Chunked(0, 1, 1, 0)
    answer.add(0, len(size) + 7, size + b"hello\r\n", 9)
    assert answer.state == SIZE


def chunked(
    *parts: bytes, head: bytes = HEAD, ending: str = "server", request: bytes = GET, later: bytes = b"", first: bytes = b""
) -> list[Packet]:
    made = exchange(exchange(talk(), first) if first else talk(), request, head + parts[0])
    for part in parts[1:]:
        made.at += 50 * MS
        made.down("PA", part)
        made.up("A")
    if later:
        exchange(made, GET, later)
    if ending == "server":
        made.down("FA")
        made.up("FA")
        made.down("A")
        return made.packets
    if ending == "reset":
        made.down("RA")
        return made.packets
    return close(made).packets if ending == "client" else [*made.packets, *ping(20 * S)]


@pytest.mark.parametrize("ending", ["server", "reset"])
@pytest.mark.parametrize("parts", [(b"5\r\nhello\r\n",), (b"5\r\nhello\r\n5\r\nhe",), (b"5\r\nhello\r\n", b"0\r\n"), (b"1", b"4\r\nhello")])
def test_an_answer_that_ends_before_its_last_chunk(tmp_path: Path, parts: tuple[bytes, ...], ending: str) -> None:
    this = found(tmp_path, chunked(*parts, ending=ending), healthy())["http-errors"]
    assert this.severity == "problem"
    assert "1 of 1 HTTP answer in chunks was cut off" in this.text


POST = b"POST /v1/chat HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
EVENT = b"d\r\ndata: hello\n\n\r\n"


@pytest.mark.parametrize("ending", ["server", "reset"])
@pytest.mark.parametrize("kind", [b"text/event-stream", b"text/event-stream; charset=utf-8", b"application/x-ndjson"])
def test_events_in_answer_to_a_post_that_are_cut_off(tmp_path: Path, kind: bytes, ending: str) -> None:
    head = STREAM.replace(b"text/event-stream", kind)
    this = found(tmp_path, chunked(EVENT, EVENT, EVENT[:7], head=head, request=POST, ending=ending), healthy())["http-errors"]
    assert this.severity == "problem"
    assert "1 of 1 HTTP answer in chunks was cut off" in this.text
    slowly = live(kind=kind, request=POST, ending=ending)  # of a model that takes its time
    assert found(tmp_path, slowly, healthy())["http-errors"].severity == "problem"


def feed(
    port: int,
    at: float,
    silence: float,
    events: int = 2,
    last: bytes = b"",
    by_client: bool = False,
    pace: float = 0.2,
    event: bytes = EVENT,
    request: bytes = GET,
) -> list[Packet]:
    """Events in answer to GET, and the end of their connection."""
    made = exchange(talk(port, int(at * S)), request, STREAM)
    for _ in range(events):
        made.at += int(pace * S)
        made.down("PA", event)
        made.up("A")
    made.at += int(silence * S)
    if last:
        made.down("PA", last)
    if by_client:
        return close(made).packets
    made.down("FA")
    made.up("FA")
    made.down("A")
    return made.packets


def test_events_that_are_cut_when_they_are_silent(tmp_path: Path) -> None:
    this = found(tmp_path, *(feed(41_000 + k, 5 * k, 3, events=k + 1) for k in range(3)), healthy(at=90 * S))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == (
        "3 streams of events were cut off after 3.0 s of silence: 198.51.100.20:80 ended the connection before the last chunk, and the client began anew "
        "each time."
    )
    assert "read timeout" in this["http-errors"].advice
    slowly = [feed(41_000 + k, 7 * k, 3, pace=1.5) for k in range(3)]
    assert problems(found(tmp_path, *slowly, healthy(at=90 * S))) == {"http-errors"}


def test_events_whose_connection_is_reset(tmp_path: Path) -> None:
    this = found(tmp_path, chunked(EVENT, EVENT, head=STREAM, ending="reset"), healthy())["http-errors"]
    assert (this.severity, this.text) == ("warning", "1 stream of events ended with a reset from 198.51.100.20:80 before the last chunk.")


@pytest.mark.parametrize(
    ("feeds", "warned"),
    [
        pytest.param([feed(41_000 + k, 5 * k, 0.1) for k in range(4)], True, id="in the midst"),
        pytest.param([feed(41_000 + k, 65 * k, 60) for k in range(4)], True, id="a minute, as proxies have it"),
        pytest.param([feed(41_000 + k, 7 * k, 1.5, pace=1.5) for k in range(4)], True, id="the pace of the events"),
        pytest.param([feed(41_000, 0, 3, pace=2.5), *(feed(41_001 + k, 9 + 5 * k, 3) for k in range(3))], True, id="such pauses went well"),
        pytest.param([feed(41_000 + k, 5 * k, 3, event=b"d\r\nretry: 3000\n\n\r\n") for k in range(4)], True, id="told when to come back"),
        pytest.param(
            [feed(41_000 + k, 5 * k, 3, request=GET[:-2] + b"Last-Event-ID: 7\r\n\r\n" if k else GET) for k in range(4)],
            True,
            id="it goes on",
        ),
        pytest.param([feed(41_000 + k, 5 * k, 3) for k in range(2)], False, id="twice"),
        pytest.param([feed(41_000 + k, 5 * k, 3, last=b"0\r\n\r\n") for k in range(4)], False, id="the last chunk"),
        pytest.param([feed(41_000 + k, 5 * k, 3, by_client=True) for k in range(4)], False, id="the client stops"),
        pytest.param([feed(41_000 + k, 30 * k, 3) for k in range(4)], False, id="nobody misses it"),
        pytest.param([*(feed(41_000 + k, 5 * k, 3) for k in range(3)), feed(41_003, 15, 1, last=b"0\r\n\r\n")], False, id="one is whole"),
    ],
)
def test_events_whose_end_may_be_right(tmp_path: Path, feeds: list[list[Packet]], warned: bool) -> None:
    this = found(tmp_path, *feeds, healthy(at=300 * S))
    assert not problems(this)
    assert ("http-errors" in this) == warned


@pytest.mark.parametrize(
    "packets",
    [
        chunked(EVENT, EVENT, b"0\r\n\r\n", head=STREAM, request=POST),  # the last chunk came
        chunked(EVENT, EVENT, head=STREAM, request=POST, ending="client"),  # somebody pressed "stop"
        chunked(EVENT, EVENT, head=STREAM, request=POST, ending="none"),  # the capture ends
        chunked(EVENT, EVENT, head=STREAM),  # of an EventSource, which asks again
        chunked(EVENT, head=STREAM.replace(b"chunked", b"identity").replace(b"Transfer", b"X"), request=POST),  # ends with its connection
        chunked(EVENT, EVENT, head=STREAM, first=POST),  # an EventSource behind a POST, on one connection
    ],
)
def test_events_that_are_well(tmp_path: Path, packets: list[Packet]) -> None:
    assert "http-errors" not in problems(found(tmp_path, packets, healthy()))


@pytest.mark.parametrize(
    "packets",
    [
        chunked(WHOLE),
        chunked(WHOLE[:20], WHOLE[20:], ending="client"),
        chunked(b"5\r\nhello\r\n", ending="client"),  # it has enough
        chunked(b"5\r\nhello\r\n", ending="none"),  # the capture ends
        chunked(b"5\r\nhello\r\n", head=STREAM),  # asked for again (HTML Living Standard 9.2)
        chunked(b"", request=b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"),  # without a body (RFC 9110 9.3.2)
        chunked(WHOLE, ending="client", later=HEAD + WHOLE),
        chunked(WHOLE + HEAD + WHOLE, request=GET + GET),  # one behind the other
    ],
)
def test_answers_in_chunks_that_are_well(tmp_path: Path, packets: list[Packet]) -> None:
    assert "http-errors" not in problems(found(tmp_path, packets, healthy()))


@pytest.mark.parametrize("ending", ["client", "server"])
def test_a_chunk_that_nobody_can_read(tmp_path: Path, ending: str) -> None:
    this = found(tmp_path, chunked(b"zz\r\nhello\r\n0\r\n\r\n", ending=ending))["http-errors"]
    assert this.severity == "problem"
    assert "sent a chunk size that is not a hexadecimal number" in this.text


def test_a_client_that_goes_on_has_read_it(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, chunked(b"zz\r\n", later=OK, ending="client")))


def drip(
    port: int,
    pause: int = S,
    head: bytes = b"GET / HTTP/1.1\r\nHost: a\r\n",
    piece: bytes = b"X-a: 1\r\n",
    end: bytes = b"",
    pieces: int = 5,
) -> list[Packet]:
    """A head in pieces, that may end and be answered."""
    made = talk(port)
    made.up("PA", head)
    made.down("A")
    for _ in range(pieces):
        made.at += pause
        made.up("PA", piece)
        made.down("A")
    if end:
        exchange(made, end)
    return close(made).packets


def test_heads_that_never_end(tmp_path: Path) -> None:
    this = found(tmp_path, *(drip(41_000 + k) for k in range(12)), healthy())["http-errors"]
    assert this.severity == "problem"
    assert this.text.startswith("12 HTTP requests from 192.0.2.10 never ended: their heads came in up to 6 pieces")


@pytest.mark.parametrize(
    "streams",
    [
        [drip(41_000)],  # somebody types
        [drip(41_000 + k, end=b"\r\n") for k in range(12)],  # slow, and served
        [drip(41_000 + k, head=b"POST /metrics HTTP/1.1\r\nHost: a\r\n", piece=b"17\r\n") for k in range(12)],  # a body in pieces
        [drip(41_000 + k, pause=10 * MS) for k in range(12)],  # a program that writes line by line, and gives up
        [drip(41_000 + k, head=GET) for k in range(12)],  # whole, with something behind it
    ],
)
def test_heads_that_come_slowly(tmp_path: Path, streams: list[list[Packet]]) -> None:
    this = found(tmp_path, *streams, healthy())
    assert "http-errors" not in this or "never ended" not in this["http-errors"].text


UPLOAD = b"POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 500\r\n\r\n"


def upload(port: int, pause: int = S, told: bytes = b"", told_at: int = 0, answer: bytes = OK) -> list[Packet]:
    made = talk(port, at=(port - 41_000) * 2 * S)
    made.up("PA", UPLOAD)
    made.down("A")
    if told:
        made.at += told_at
        made.down("PA", told)
    made.at += pause - told_at
    made.up("PA", 500)
    made.down("PA", answer)
    made.up("A")
    return close(made).packets


def test_bodies_that_wait_for_a_word(tmp_path: Path) -> None:
    this = found(tmp_path, *(upload(41_000 + k) for k in range(3)))["slow-server"]
    assert this.severity == "problem"
    assert this.text.startswith("3 of 3 HTTP requests with a body waited up to 1.0 s for permission to go on (100 Continue)")
    assert found(tmp_path, upload(41_000), healthy())["slow-server"].severity == "warning"


@pytest.mark.parametrize(
    "streams",
    [
        [upload(41_000 + k, told=b"HTTP/1.1 100 Continue\r\n\r\n", told_at=MS) for k in range(3)],
        [upload(41_000 + k, told=b"HTTP/1.1 100 Continue\r\n\r\n", told_at=900 * MS) for k in range(3)],  # late, but it came
        [upload(41_000 + k, pause=2 * MS) for k in range(3)],  # a client that does not wait
        [upload(41_000 + k, told=b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n", told_at=MS) for k in range(3)],
    ],
)
def test_bodies_that_wait_for_nothing(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "slow-server" not in found(tmp_path, *streams)


def live(pause: int = S, kind: bytes = b"text/plain", pieces: int = 9, ending: str = "server", request: bytes = GET) -> list[Packet]:
    """An answer that is made while it is sent, and of which the last chunk does not come."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    made = exchange(talk(), request, head + b"5\r\nhello\r\n")
    for _ in range(pieces):
        made.at += pause
        made.down("PA", b"5\r\nhello\r\n")
        made.up("A")
    made.down("FA" if ending == "server" else "RA")
    return made.packets


def half_closed() -> list[Packet]:
    """A client that closes its side behind its request, as netcat does, and a server that then ends."""
    made = talk()
    made.up("PA", GET)
    made.up("FA")
    made.down("PA", HEAD + b"5\r\nhello\r\n")
    made.up("A")
    made.down("FA")
    made.up("A")
    return made.packets


@pytest.mark.parametrize(
    "packets",
    [
        live(),  # a log that is followed
        live(ending="reset"),
        live(20 * MS, b"application/json;stream=watch"),
        live(20 * MS, b"application/x-ndjson"),
        live(20 * MS, b"video/mp2t"),
        live(20 * MS, b"application/vnd.docker.raw-stream"),
        half_closed(),
    ],
)
def test_answers_in_chunks_that_have_no_end(tmp_path: Path, packets: list[Packet]) -> None:
    assert "http-errors" not in problems(found(tmp_path, packets, healthy()))


def test_an_answer_that_comes_with_pauses_may_have_been_cut_off(tmp_path: Path) -> None:
    assert found(tmp_path, live(), healthy())["http-errors"].severity == "warning"
    assert "http-errors" not in found(tmp_path, live(20 * MS, b"video/mp2t"), healthy())


@pytest.mark.parametrize("packets", [live(20 * MS), live(20 * MS, b"application/json"), live(2 * S, pieces=2)])
def test_answers_in_chunks_that_should_end(tmp_path: Path, packets: list[Packet]) -> None:
    assert "http-errors" in problems(found(tmp_path, packets, healthy()))


def test_heads_that_never_end_one_after_the_other(tmp_path: Path) -> None:
    """Somebody types, now and then."""
    streams = [[Packet(p.at + k * 60 * S, p.data) for p in drip(41_000 + k)] for k in range(12)]
    assert "http-errors" not in problems(found(tmp_path, *streams, healthy()))


def test_a_wait_of_a_second_before_a_body_of_a_minute(tmp_path: Path) -> None:
    streams = []
    for k in range(3):
        made = talk(41_000 + k, at=k * 90 * S)
        made.up("PA", UPLOAD)
        made.down("A")
        made.at += S
        for part in range(5):
            made.at += 10 * S if part else 0
            made.up("PA", 100)
            made.down("A")
        streams.append(close(exchange(made, b"", OK)).packets)
    assert found(tmp_path, *streams)["slow-server"].severity == "warning"


@pytest.mark.parametrize("place", [b"/socket.io/?EIO=4&transport=polling", b"/hub?transport=longPolling", b"/http-bind"])
def test_requests_that_ask_to_be_kept_waiting(tmp_path: Path, place: bytes) -> None:
    streams = [exchange(talk(41_000 + k, at=k * 30 * S), GET.replace(b"/ ", place + b" "), OK, (7 + 5 * k) * S) for k in range(3)]
    assert "slow-server" not in problems(found(tmp_path, *(close(made).packets for made in streams)))


def stalled(
    request: bytes = POST,
    head: bytes = STREAM,
    pieces: int = 8,
    pace: int = 100 * MS,
    silence: int = 9 * S,
    port: int = 42_000,
    last: bytes = EVENT,
) -> list[Packet]:
    """An answer in chunks that comes at a steady pace and then no more, until the client gives up."""
    made = exchange(talk(port, at=(port - 42_000) * 20 * S), request, head + EVENT)
    for piece in [*[EVENT] * (pieces - 2), last]:
        made.at += pace
        made.down("PA", piece)
        made.up("A")
    made.at += silence
    made.up("FA")
    made.down("A")
    made.down("FA")
    made.up("A")
    return made.packets


@pytest.mark.parametrize(
    ("streams", "n"),
    [
        pytest.param([stalled()], 1, id="a model"),
        pytest.param([stalled(), stalled(port=42_001)], 2, id="twice"),
        pytest.param([stalled(GET), stalled(GET, port=42_001)], 2, id="feeds"),
        pytest.param([stalled(GET, HEAD, 3, 0), stalled(GET, HEAD, 3, 0, port=42_001)], 2, id="a part of an answer, at once"),
        pytest.param([stalled(GET, HEAD), stalled(GET, HEAD, silence=20 * S, port=42_001)], 0, id="the client leaves sometime"),
        pytest.param([stalled(GET)], 0, id="one feed"),
        pytest.param([stalled(GET, HEAD)], 0, id="a log that is followed"),
        pytest.param([stalled(GET, pace=0), stalled(GET, pace=0, port=42_001)], 0, id="what a feed says at its beginning"),
        pytest.param([stalled(silence=0)], 0, id="the client closes at once"),
        pytest.param([stalled(silence=4 * S)], 0, id="soon"),
        pytest.param([stalled(pace=3 * S)], 0, id="the pace is slow"),
        pytest.param([stalled(last=b"0\r\n\r\n")], 0, id="the last chunk"),
        pytest.param([stalled(last=b"e\r\ndata: [DONE]\n\n\r\n")], 0, id="it came to its end"),
    ],
)
def test_answers_in_chunks_that_stop(tmp_path: Path, streams: list[list[Packet]], n: int) -> None:
    this = found(tmp_path, *streams, healthy(at=90 * S)).get("stalled")
    assert (this is not None) == bool(n)
    if this is not None:
        assert this.severity == "warning"
        assert this.text.startswith(f"{n} HTTP answer{'s' if n > 1 else ''} in chunks stopped midway: after ")
        assert "not even the last chunk" in this.text
        assert this.values["answers"] == n
