"""Errors of HTTP that a client takes as an answer, and such that it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lenses.made import GET, MS, OK, SERVER, WEB, End, Packet, S, close, exchange, found, healthy, problems, talk

NOT_FOUND, CREATED = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
WAIT, LIMITED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\r\n"
AWAY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
OTHER: End = ("198.51.100.21", 80)


def asked(method: str, path: str, body: bytes = b"") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def calls(*each: tuple[int, bytes, bytes], port: int = 40_000, server: End = WEB) -> list[list[Packet]]:
    """Requests with their answers, each on a connection of its own. each : when, request and answer."""
    return [close(exchange(talk(port + k, at, server), request, answer)).packets for k, (at, request, answer) in enumerate(each)]


def users(method: str, *later: bytes) -> list[list[Packet]]:
    """Three users that are looked for, made, and perhaps looked for again."""
    rows = []
    for k in range(3):
        get = asked("GET", f"/users/{k}")
        rows += [(get, NOT_FOUND), (asked(method, f"/users/{k}"), CREATED), *((get, answer) for answer in later)]
    return calls(*((k * 50 * MS, *row) for k, row in enumerate(rows)))


@pytest.mark.parametrize("streams", [users("PUT"), users("POST"), users("PUT", OK)])
def test_what_a_client_looks_for_and_then_makes(tmp_path: Path, streams: list[list[Packet]]) -> None:
    this = found(tmp_path, *streams)
    assert not problems(this)
    assert this["http-errors"].text.endswith("; 3 of these requests were granted later.")


@pytest.mark.parametrize(
    "streams",
    [
        users("PUT", NOT_FOUND),  # made, and not there all the same
        calls(*((k * 50 * MS, asked("GET", f"/{k}"), NOT_FOUND if k % 2 else OK) for k in range(6))),
        calls(*((k * 50 * MS, asked("GET" if k % 2 else "PUT", f"/users/{k // 2}"), NOT_FOUND if k % 2 else CREATED) for k in range(6))),
    ],
)
def test_what_is_not_there_to_the_end(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "http-errors" in problems(found(tmp_path, *streams))


TOKEN = asked("POST", "/token", b"device_code=12345")


def polls(*answers: bytes, at: tuple[int, ...] = (0, 5000, 10_010, 15_030), request: bytes = TOKEN) -> list[list[Packet]]:
    return calls(*((ms * MS, request, answer) for ms, answer in zip(at, answers, strict=True)))


def test_a_token_that_is_asked_for_until_it_is_ready(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, *polls(WAIT, WAIT, WAIT, OK)))


@pytest.mark.parametrize(
    "streams",
    [
        polls(WAIT, WAIT, WAIT, WAIT),  # never ready
        polls(WAIT, WAIT, WAIT, OK, at=(0, 2000, 9000, 10_000)),  # no rhythm
        polls(WAIT, WAIT, OK, WAIT),  # refused again
        polls(WAIT, WAIT, WAIT, OK, at=(0, 100, 200, 300)),  # no pause
        calls(*((k * 5 * S, asked("POST", "/rpc", b"a" * k), OK if k == 3 else WAIT) for k in range(4))),  # other requests to one place
    ],
)
def test_requests_that_are_refused(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "http-errors" in problems(found(tmp_path, *streams))


def checks(server: End, port: int, *answers: bytes, every: int = S) -> list[list[Packet]]:
    return calls(*((k * every, asked("GET", "/health"), answer) for k, answer in enumerate(answers)), port=port, server=server)


def test_a_node_that_is_taken_out(tmp_path: Path) -> None:
    this = found(tmp_path, *checks(WEB, 40_000, OK, *[AWAY] * 5), *checks(OTHER, 41_000, *[OK] * 6))
    assert not problems(this)
    assert this["http-errors"].text.endswith("; 5 of them told a health check that this server is out of service.")


@pytest.mark.parametrize(
    "streams",
    [
        checks(WEB, 40_000, OK, *[AWAY] * 5),  # one server, perhaps one that is needed
        [*checks(WEB, 40_000, OK, *[AWAY] * 5), *checks(OTHER, 41_000, *[AWAY] * 6)],  # none is left
        [*checks(WEB, 40_000, OK, *[AWAY] * 5), *checks(OTHER, 41_000, OK, OK, OK, every=700 * MS)[:2]],  # no rhythm at the other
        [*checks(WEB, 40_000, *[AWAY] * 3), *calls((9 * S, asked("GET", "/"), AWAY), (9500 * MS, asked("GET", "/a"), AWAY))],
    ],
)
def test_servers_that_are_down(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "http-errors" in problems(found(tmp_path, *streams))


def many(*last: tuple[int, bytes, bytes]) -> list[list[Packet]]:
    return calls(*((k * 300 * MS, asked("GET", f"/item{k}"), OK) for k in range(14)), *last)


def test_one_request_of_many_that_is_limited_and_granted(tmp_path: Path) -> None:
    item = asked("GET", "/item14")
    assert found(tmp_path, *many((5 * S, item, LIMITED), (6 * S, item, OK)))["refused"].severity == "warning"


@pytest.mark.parametrize(
    "streams",
    [
        many((5 * S, asked("GET", "/item14"), LIMITED)),  # not sent again
        many((5 * S, asked("GET", "/item14"), LIMITED), (6 * S, asked("GET", "/item14"), LIMITED), (7 * S, asked("GET", "/item14"), OK)),
        calls((0, GET, LIMITED), (S, GET, OK)),  # half of all
    ],
)
def test_requests_that_are_limited(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "refused" in problems(found(tmp_path, *streams))


def skewed() -> list[Packet]:
    """What the server sent is recorded 30 ms too early."""
    made = talk(at=S)
    made.at += 40 * MS
    made.up("PA", GET)
    made.down("PA", OK)
    made.down("FA")
    made.at += 100 * MS
    made.up("FA")
    made.down("A")
    server = bytes(map(int, SERVER.split(".")))
    return [Packet(p.at - 30 * MS, p.data) if p.data[12:16] == server else p for p in made.packets]


def test_an_answer_that_stands_before_its_request(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, healthy(), skewed()))


def closed() -> list[Packet]:
    made = talk(at=S)
    made.up("PA", GET)
    made.down("A")
    made.down("FA")
    made.up("FA")
    made.down("A")
    return made.packets


def test_a_server_that_closes_instead(tmp_path: Path) -> None:
    assert "closed-unanswered" in problems(found(tmp_path, closed()))


CONFLICT = b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n"


def pairs(*each: tuple[str, str, bytes], count: int = 4, servers: tuple[End, ...] = (WEB,)) -> list[list[Packet]]:
    """The same few requests again and again, 50 ms after each other; a path may have a number."""
    rows = [
        (asked(method, path.format(k)).replace(b"Host: a", f"Host: {servers[n % len(servers)][0]}".encode()), answer)
        for k in range(count)
        for n, (method, path, answer) in enumerate(each)
    ]
    return [
        close(exchange(talk(40_000 + k, k * 50 * MS, servers[k % len(servers)]), request, answer)).packets
        for k, (request, answer) in enumerate(rows)
    ]


@pytest.mark.parametrize(
    "streams",
    [
        pairs(("GET", "/items/{}", NOT_FOUND), ("POST", "/items", CREATED)),
        pairs(("PROPFIND", "/folder/{}", NOT_FOUND), ("MKCOL", "/folder/{}", CREATED)),
        pairs(("DELETE", "/items/{}", NOT_FOUND), ("PUT", "/items/{}", CREATED)),
        pairs(("POST", "/items", CONFLICT), ("GET", "/items/{}", OK)),
        pairs(("PUT", "/items/{}", CONFLICT), ("GET", "/items/{}", OK)),
        pairs(("GET", "/repository/{}.pom", NOT_FOUND), ("GET", "/repository/{}.pom", OK), servers=(WEB, OTHER)),
    ],
)
def test_errors_by_which_a_client_goes_on(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams))


@pytest.mark.parametrize(
    "streams",
    [
        pairs(("GET", "/settings", NOT_FOUND), ("POST", "/metrics", CREATED)),  # one has nothing to do with the other
        pairs(("GET", "/items/{}", NOT_FOUND), ("GET", "/items", OK)),
        pairs(("GET", "/items/7", NOT_FOUND), ("POST", "/items", CREATED)),  # made again and again, and never there
        pairs(("PUT", "/items/7", CONFLICT), ("GET", "/items/7", OK)),  # two that overwrite each other
        pairs(("GET", "/items/{}", NOT_FOUND), ("POST", "/items", NOT_FOUND)),
        pairs(("GET", "/a/{}", NOT_FOUND), ("GET", "/b/{}", OK), servers=(WEB, OTHER)),
        pairs(("GET", "/a", NOT_FOUND), ("GET", "/a", OK), servers=(WEB, OTHER)),  # one of two servers lacks it
    ],
)
def test_errors_by_which_nobody_goes_on(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "http-errors" in problems(found(tmp_path, *streams))


def test_what_is_looked_for_at_every_site(tmp_path: Path) -> None:
    paths = ("/wpad.dat", "/robots.txt", "/apple-touch-icon-precomposed.png", "/favicon-32x32.png")
    assert "http-errors" not in found(tmp_path, *calls(*((k * S, asked("GET", path), NOT_FOUND) for k, path in enumerate(paths))))


def test_polls_that_become_rarer(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, *polls(WAIT, WAIT, WAIT, OK, at=(0, 2000, 6000, 14_000))))


def test_a_server_that_starts(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, *checks(WEB, 40_000, AWAY, AWAY, AWAY, *[OK] * 6)))
    asks = asked("GET", "/ready")
    waits = [(k * S, asks, AWAY) for k in range(5)]
    used = [(5 * S + k * 300 * MS, request, OK) for k, request in enumerate([asks, asked("GET", "/app")] * 4)]
    assert not problems(found(tmp_path, *calls(*waits, *used)))


@pytest.mark.parametrize(
    "streams",
    [
        checks(WEB, 40_000, AWAY, AWAY, AWAY, OK),  # tried until it was served
        checks(WEB, 40_000, AWAY, AWAY, *[OK] * 6, AWAY, AWAY),
        [*checks(WEB, 40_000, AWAY, AWAY, AWAY), *checks(WEB, 41_000, OK, OK, OK, every=10 * S)],
        [*checks(WEB, 40_000, AWAY, AWAY, AWAY, *[OK] * 6), *calls((S, asked("GET", "/"), AWAY), (2 * S, asked("GET", "/a"), AWAY))],
    ],
)
def test_servers_that_fail_for_a_while(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "http-errors" in problems(found(tmp_path, *streams))
