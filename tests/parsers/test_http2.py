"""Records of connections that may be HTTP/2, and whether they are, on real clients and servers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlens.parsers import http2, pipeline
from netlens.parsers.hello_scan import F_DIRECTION, F_SESSION
from netlens.parsers.hellos import HelloBuilder
from netlens.parsers.records import APPLICATION, Records, server_hello
from netlens.parsers.records import _Direction as Direction
from netlens.parsers.session_state import MATE, PORTS

HERE = Path(__file__).parents[1] / "data" / "http2"
CAPTURES = Path(__file__).parents[2] / "captures"
HTTP_1 = 8413  #: port of the server that does not speak HTTP/2, see the README there


def followed(path: Path) -> list[tuple[int, Records | None]]:
    """Port of the server and records, of each connection that has them."""
    part = pipeline.run([path], ["sessions", "hellos", pipeline.TRAIL])
    assert part.closely is not None
    records = part.closely.records
    state = part.state()
    return [(int(state[k, PORTS]) & 0xFFFF, records.of(k, int(state[k, MATE]))) for k in records.sessions]


def test_what_is_spoken_where_http2_is_offered() -> None:
    found = followed(HERE / "offered.pcap.gz")
    assert len(found) == 10
    for port, records in found:
        assert records is not None
        assert http2.spoken(records) is (port != HTTP_1), (port, http2.dialog(records))


@pytest.mark.parametrize("name", ["healthy", "same-nat-ip-sshuttle", "own-concurrency-haproxy", "refused-in-stream"])
def test_http_1_is_never_taken_for_http2(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where HTTP/2 was not offered nobody asks; if they did, they would not be told wrong."""

    def every(self: HelloBuilder, seen: int) -> tuple[list[tuple[int, int]], int]:
        self._flush()
        facts = self._found.facts()[seen:]
        return [(int(fact[F_SESSION]), int(fact[F_DIRECTION])) for fact in facts], seen + len(facts)

    monkeypatch.setattr(HelloBuilder, "http2_since", every)
    told = [http2.spoken(records) for path in sorted((CAPTURES / name).glob("*.pcap.gz")) for _, records in followed(path) if records]
    assert len(told) > 3
    assert True not in told


def test_tls_1_2_says_it_in_clear() -> None:
    """RFC 7301 3.1, 3.2; a server that chooses nothing speaks HTTP/1.1."""

    def made(extensions: bytes) -> bytes:
        body = bytes([3, 3]) + bytes(32) + b"\x00\xc0\x2f\x00" + len(extensions).to_bytes(2, "big") + extensions
        return b"\x02" + len(body).to_bytes(3, "big") + body

    alpn = b"\x00\x10\x00\x05\x00\x03\x02h2"
    assert server_hello(made(b"\xff\x01\x00\x01\x00" + alpn)) == (0xC02F, "h2")
    assert server_hello(made(b"\xff\x01\x00\x01\x00")) == (0xC02F, "")
    assert server_hello(made(alpn)[:-3]) == (0xC02F, None)
    assert server_hello(made(alpn)[:20]) == (0, None)


def stream(sizes: list[int]) -> bytes:
    return b"".join(bytes([APPLICATION, 3, 3]) + size.to_bytes(2, "big") + bytes(size) for size in sizes)


@pytest.mark.parametrize("seed", range(20))
def test_records_are_the_same_however_the_stream_is_cut_and_ordered(seed: int) -> None:
    r = random.Random(seed)
    sizes = [r.choice([26, 30, 100, 1400, 16401]) for _ in range(12)]
    data = stream(sizes)
    pieces, at = [], 0
    while at < len(data):
        end = at + r.choice([1, 3, 5, 40, 1448, 9000]) if at else 6  # the beginning tells that these are records
        begin = max(at - r.choice([0, 0, 7]), 0)
        pieces.append((begin, data[begin:end]))
        at = end
    first, rest = pieces[0], pieces[1:]
    order = sorted(range(len(rest)), key=lambda k: k + r.uniform(0, 4))
    direction = Direction()
    for frame, (offset, part) in enumerate([first, *(rest[k] for k in order)]):
        direction.add(offset, len(part), part, frame, frame)
    assert not direction.lost
    assert direction.sizes.tolist() == sizes
    assert len(direction.times) == len(sizes)


@given(st.lists(st.tuples(st.integers(0, 300), st.binary(max_size=80)), max_size=12), st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_bytes_stop_it(segments: list[tuple[int, bytes]], hello: bytes) -> None:
    direction = Direction()
    direction.add(0, 6, b"\x16\x03\x03\x00\x01\x02", 0, 0)
    for offset, payload in segments:
        direction.add(offset, len(payload) + offset % 3, payload, 0, 0)
    assert len(direction.times) <= len(direction.sizes)
    server_hello(b"\x02" + hello)


def test_a_header_that_was_not_captured_ends_it() -> None:
    direction, data = Direction(), stream([30, 30])
    direction.add(0, len(data), data[:36], 0, 0)
    assert direction.lost


def test_a_hole_is_no_whole_connection() -> None:
    direction, data = Direction(), stream([30, 30, 30])
    direction.add(0, 35, data[:35], 0, 0)
    direction.add(70, 35, data[70:], 0, 0)
    assert len(direction.times) == 1
    assert direction.later


def dialog(*said: int) -> http2.Dialog:
    """Sizes in order; the server's are negative."""
    import numpy as np

    sizes = np.array(said)
    return http2.Dialog((sizes < 0).astype(np.int64), np.abs(sizes))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((919, -281, -281, -40, 9, -22, -85), True),  # nginx, curl
        ((-122, 70, -39, -22, 110, 451, 9, -74), True),  # Go
        ((2000, -39, -13, 2000, -39, -13, 2000), None),  # a tiny server of HTTP/1.1: its head has the length of SETTINGS
        ((2000, -233, -249, -350, 2100, -350, 2300, -350), False),
        ((2000, -300), None),
        ((154, -265, -265, -208), False),  # one request, one answer, and closed: nobody acknowledged anything
        ((154, 900, -265, -265, -208, -1400), False),
        ((154, -265, -265, -208, 160, -208), None),
        ((149, -249, -249, -107, 9, -69), True),  # nginx, curl, one request
        ((2000, -80, -137, -137, -5), None),
        ((70, 87, 3558, 4744, -33, -22, 2161), True),  # Go, two requests at once, granian
        ((2000, 3558, 4744, -33, -22, 2161), None),
        ((70, 114, 3558, 4744, -265, -265, -121, 9, -186, 22), True),  # Go, nginx: SETTINGS with the head of a refusal
        ((70, 114, 3558, 4744, -265, -265, -121, -186, 222), None),  # nothing was acknowledged
        ((200, 114, 3558, 4744, -265, -265, -121, 9, -186, 22), None),  # no preface
        ((11485, -57, -57, -15, -16384, -8116, 17), True),  # h2load, nghttpd: answered before SETTINGS were acknowledged, and GOAWAY
        ((11485, -57, -57, -15, -16384, -8116), None),
        (
            (-162, -33, 5784, -22, -63, -220, -222),
            True,
        ),  # h2load, granian: the server's SETTINGS come first, which are acknowledged beside requests
        ((-162, -163, 5784, -22, -63, -220, -222), None),  # two tickets, and nothing that shows
        ((33, -265, -265, -36, 4419, -26, 4301, -26, -252), True),  # Node, HAProxy: the acknowledgment stands with the fields
    ],
)
def test_openings(said: tuple[int, ...], expected: bool | None) -> None:
    sure = http2.odds(dialog(*said))
    assert (True if sure >= http2.SURE else False if sure <= http2.SURE_NOT else None) is expected


def records(suite: int, *said: int) -> Records:
    """Of TLS 1.3, by the bytes of their plaintext in order, padding and all; the server's are negative."""
    import numpy as np

    sizes = np.array(said)
    n = np.arange(len(sizes))
    return Records((sizes < 0).astype(np.int64), np.full(len(sizes), APPLICATION), np.abs(sizes) + 17, n, n, suite, None, True)


@pytest.mark.parametrize(("suite", "finished"), [(0x1301, 36), (0x1302, 52)])
def test_what_java_pads_each_record_with_is_taken_off(suite: int, finished: int) -> None:
    """RFC 8446 5.4; each side by its own Finished."""
    said = http2.dialog(records(suite, -15, -finished, finished + 16, 215, 330, -40, 25, -127, 18))
    assert said is not None
    assert said.size.tolist() == [199, 314, 40, 9, 127]
    both = http2.dialog(records(suite, -finished - 16, finished + 16, 215, -56))
    assert both is not None
    assert both.size.tolist() == [199, 40]
    assert http2.dialog(records(suite, -finished, finished + 8, 215, -40)) is None
    assert http2.dialog(records(suite, -finished, finished + 16, 215, 4, -40)) is None  # early data, and its end


def test_full_records_that_are_padded_are_read_as_full() -> None:
    """A frame of 16,393 bytes takes 16,367 of them in the first record; what is left of several follows the last."""
    said = http2.dialog(records(0x1301, -36, 36 + 16, 215, 16367 + 16, 26 + 16, 9698 + 16, 16367 + 16, 16367 + 16, 900 + 16, -56))
    assert said is not None
    assert said.size.tolist() == [199, 16384, 9, 9698, 16384, 16384, 866, 56]


def test_a_preface_in_two_records() -> None:
    """As hyper writes it."""
    assert http2.prefaces([24, 46, 135]) == 2
    assert http2.prefaces([24, 55]) == 2  # with an acknowledgment of what Go said before
    assert http2.prefaces([70, 135]) == http2.prefaces([42, 1339]) == 1  # the latter with an acknowledgment (Node)
    assert http2.prefaces([24, 135]) == http2.prefaces([215, 330]) == http2.prefaces([24]) == http2.prefaces([]) == 0
    assert http2.odds(dialog(24, 46, 135, 334, -148, 9, -57)) >= http2.SURE  # SETTINGS with the head of a refusal
