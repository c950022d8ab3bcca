"""What a client wants again and again and never gets, though others, or other requests, are served; and what is ordinary of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, GET, MS, SERVER, S, close, exchange, found, healthy, problems, talk
from tests.lenses.test_before_login import POSTGRES, READY, START, error
from tests.lenses.test_closed import closed
from tests.lenses.test_denials import marked, over_tcp
from tests.lenses.test_granted import calls
from tests.parsers.test_denials import be, iscsi, ldap, ldap_search, rpc, smb2

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import Packet


def answer(status: int) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status


def put(status: int, path: bytes = b"/a1.ics") -> tuple[bytes, bytes]:
    return b"PUT %s HTTP/1.1\r\nHost: a\r\nIf-Match: x\r\nContent-Length: 2\r\n\r\nhi" % path, answer(status)


LOOK = b"PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n", answer(207)


def saves(*statuses: int, pause_ns: int = S) -> list[list[Packet]]:
    """What a program stores in one place, and looks before each time."""
    pairs = [pair for status in statuses for pair in (LOOK, LOOK, put(status))]
    return calls(*((k // 3 * pause_ns + k % 3 * 50 * MS, *pair) for k, pair in enumerate(pairs)))


@pytest.mark.parametrize("status", [412, 423, 413])
def test_what_is_never_stored(tmp_path: Path, status: int) -> None:
    this = found(tmp_path, *saves(201, status, status, status))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].text == f"3 of 12 HTTP responses are errors (3 × {status}), from {SERVER}:80."


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(saves(201, 412, 412, 412, 204), id="stored in the end"),
        pytest.param(saves(201, 412, 204, 412, 204, 412), id="now and then"),
        pytest.param(saves(201, 412, 412), id="twice"),
        pytest.param(saves(201, 412, 412, 412, pause_ns=200 * MS), id="at once"),
        pytest.param(calls(*((k * S, *(put(412, b"/%d" % k) if k % 3 == 0 else LOOK)) for k in range(12))), id="another place each time"),
    ],
)
def test_what_is_stored_after_all(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams))


SOON = (0, 90 * MS, 260 * MS, 340 * MS, 600 * MS)
CHUNK = b"POST /chunks HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", answer(201)


def tries(*pairs: tuple[bytes, bytes], every: int = 0) -> list[list[Packet]]:
    """Requests within a second, each on a connection of its own."""
    return calls(*((k * every or SOON[k], *pair) for k, pair in enumerate(pairs)))


@pytest.mark.parametrize("status", [413, 415, 417, 423])
def test_bodies_that_are_refused_try_after_try(tmp_path: Path, status: int) -> None:
    this = found(tmp_path, *tries(*[put(status)] * 3), healthy(), healthy(40_901), healthy(40_902), healthy(40_903))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].advice
    assert not this["http-errors"].advice.startswith("4xx")


@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([put(417), put(201), put(417), put(201), LOOK], id="sent again without it"),
        pytest.param([put(413), put(413), put(413), put(201)], id="taken in the end"),
        pytest.param([put(413), put(413)], id="twice"),
        pytest.param([put(413), put(413), put(413), CHUNK], id="stored in pieces elsewhere"),
        pytest.param([put(412), put(412), put(412)], id="of no body"),
    ],
)
def test_bodies_that_are_stored_another_way(tmp_path: Path, pairs: list[tuple[bytes, bytes]]) -> None:
    others = [healthy(40_900 + k) for k in range(8)]
    assert not problems(found(tmp_path, *tries(*pairs), *others))


def on(server: str, at: int, pair: tuple[bytes, bytes], port: int, client: str = CLIENT) -> list[Packet]:
    return close(exchange(talk(port, at, (server, 80), client=client), *pair)).packets


COPY = b"COPY /tmp HTTP/1.1\r\nHost: a\r\nDestination: /b\r\n\r\n", answer(201)


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([calls((9 * S, *CHUNK))], id="in another form, later"),
        pytest.param([calls((9 * S, *COPY))], id="as a copy"),
        pytest.param([calls(*(((2 + k) * S, *LOOK) for k in range(10)))], id="by who tries limits"),
        pytest.param([[on("198.51.100.77", 5 * S, CHUNK, 44_000)]], id="at another server"),
    ],
)
@pytest.mark.parametrize("status", [413, 423])
def test_bodies_that_are_stored_later(tmp_path: Path, status: int, streams: list[list[list[Packet]]]) -> None:
    others = [healthy(40_900 + k) for k in range(12)]
    assert not problems(found(tmp_path, *tries(*[put(status)] * 3), *[each for some in streams for each in some], *others))


def picture(k: int, status: int) -> tuple[bytes, bytes]:
    return b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % k, answer(status)


def test_a_name_that_the_server_does_not_serve(tmp_path: Path) -> None:
    this = found(tmp_path, *tries(*(picture(k, 421) for k in range(4))), *(healthy(40_900 + k) for k in range(8)))
    assert problems(this) == {"http-errors"}
    assert "does not serve that name" in this["http-errors"].advice


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(tries(picture(1, 421), picture(2, 421), picture(1, 200), picture(2, 200)), id="served at the second try"),
        pytest.param(tries(*(picture(k, 421) for k in range(2))), id="twice"),
        pytest.param(tries(*(picture(1, 421) for _ in range(4)), every=200 * MS), id="by a clock"),
        pytest.param(
            [close(exchange(exchange(talk(42_000 + k, SOON[k]), GET), *picture(k, 421))).packets for k in range(4)],
            id="on connections that serve others",
        ),
    ],
)
def test_requests_that_went_to_the_wrong_connection(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, *(healthy(40_900 + k) for k in range(12))))


def test_who_gets_nothing_but_421_where_others_are_served(tmp_path: Path) -> None:
    """A bot that knows the bare address."""
    bot = [on(SERVER, k * S + SOON[k], picture(k, 421), 43_000 + k, "203.0.113.7") for k in range(4)]
    assert not problems(found(tmp_path, *bot, *(healthy(40_900 + k) for k in range(12))))


@pytest.mark.parametrize(("refused", "done"), [(picture(1, 421), picture(1, 200)), (put(413), put(201)), (put(417), CHUNK)])
def test_what_another_server_does_at_once(tmp_path: Path, refused: tuple[bytes, bytes], done: tuple[bytes, bytes]) -> None:
    streams = [
        on(*where, pair, 43_000 + 2 * k + n)
        for k in range(4)
        for n, (where, pair) in enumerate(
            (((SERVER, 3 * k * S + SOON[k]), refused), (("198.51.100.77", 3 * k * S + SOON[k] + 200 * MS), done))
        )
    ]
    this = found(tmp_path, *streams)
    assert not problems(this)
    assert "the client took the error as the answer and went on" in this["http-errors"].text


PAY = b"POST /pay HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"


def pays(*tries: tuple[int, int]) -> list[list[Packet]]:
    """Payments: when, ms, and the status."""
    others = [healthy(40_900 + k, k * S // 2) for k in range(30)]
    return [*calls(*((at * MS, PAY, answer(status)) for at, status in tries)), *others]


def test_what_is_taken_only_after_a_wait(tmp_path: Path) -> None:
    this = found(tmp_path, *pays(*((k * 4100 + at, status) for k in range(3) for at, status in ((0, 429), (2000, 429), (4000, 200)))))
    assert problems(this) >= {"http-errors"}
    assert "; 3 requests had to be sent up to 3 times, and waited up to 4.0 s to be taken." in this["http-errors"].text


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(pays(*((k * 4100 + at, s) for k in range(2) for at, s in ((0, 429), (2000, 429), (4000, 200)))), id="twice"),
        pytest.param(
            pays((0, 200), *((k * 4100 + at, s) for k in range(1, 4) for at, s in ((0, 429), (2000, 429), (4000, 200)))), id="not each"
        ),
        pytest.param(pays(*((k * 700 + at, s) for k in range(3) for at, s in ((0, 429), (200, 429), (600, 200)))), id="soon"),
        pytest.param(
            pays(*((k * 2600 + at, s) for k in range(6) for at, s in ((0, 429), (2100, 200)))), id="one wait each, as it was told"
        ),
        pytest.param(pays(*((k * 2000, 200 if k % 3 == 2 else 429) for k in range(9))), id="by a timetable"),
    ],
)
def test_limits_that_are_met_now_and_then(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "waited" not in found(tmp_path, *streams)["http-errors"].text


def if_absent(status: int) -> tuple[bytes, bytes]:
    return b"PUT /lease HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\nContent-Length: 2\r\n\r\nhi", answer(status)


LOCK, POST, INTO = (
    b"%s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % what for what in (b"LOCK /a", b"POST /topics", b"POST /topics/a/messages")
)


def signed(key: int, path: bytes = b"/k") -> bytes:
    return b"PUT %s HTTP/1.1\r\nHost: a\r\nX: %d\r\nContent-Length: 2\r\n\r\nhi" % (path, key)


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param([(k * S, *if_absent(412)) for k in range(6)], id="by design, as who waits for a lease"),
        pytest.param([(k * 3 * S, LOCK, answer(200 if k == 6 else 423)) for k in range(7)], id="a lock that it gets"),
        pytest.param(
            [(k * S + n, *pair) for k in range(5) for n, pair in ((0, (POST, answer(409))), (MS, (INTO, answer(201))))],
            id="is there, which will do",
        ),
        pytest.param(
            [(k * 5 * S + n, signed(n, b"/k%d" % k), answer(status)) for k in range(4) for n, status in ((0, 403), (200 * MS, 200))],
            id="sent again with fresh credentials",
        ),
    ],
)
def test_what_a_client_takes_or_gets(tmp_path: Path, requests: list[tuple[int, bytes, bytes]]) -> None:
    assert not problems(found(tmp_path, *calls(*requests)))


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param(
            [(k * S + n, *pair) for k in range(5) for n, pair in ((0, (POST, answer(409))), (MS, LOOK))], id="is there, and it looks"
        ),
        pytest.param(
            [(k * 5 * S + n, signed(n), answer(status)) for k in range(4) for n, status in ((0, 403), (200 * MS, 200))], id="at one place"
        ),
        pytest.param(
            [(k * 5 * S + n, signed(n, b"/k%d" % k), answer(status)) for k in range(4) for n, status in ((0, 429), (200 * MS, 200))],
            id="a limit",
        ),
    ],
)
def test_what_it_does_not(tmp_path: Path, requests: list[tuple[int, bytes, bytes]]) -> None:
    assert "http-errors" in problems(found(tmp_path, *calls(*requests)))


def served(*statuses: int) -> list[Packet]:
    """The server's side alone."""
    made = talk()
    for status in statuses:
        exchange(made, GET, answer(status))
    return [p for p in made.packets if p.data[12:16] != made.packets[0].data[12:16]]


@pytest.mark.parametrize(("statuses", "told"), [([207, 207, 423] * 3, True), ([207, 207, 423] * 2, False), ([207, 207, 403] * 3, False)])
def test_locks_where_the_requests_were_not_recorded(tmp_path: Path, statuses: list[int], told: bool) -> None:
    assert (problems(found(tmp_path, served(*statuses))) == {"http-errors"}) == told


TOKEN = b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", answer(200)


def orders(status: int, credentials: bytes = b"Authorization: Bearer abc\r\n") -> tuple[bytes, bytes]:
    return b"GET /orders HTTP/1.1\r\nHost: a\r\n%s\r\n" % credentials, answer(status)


def fresh(*statuses: int, credentials: bytes = b"Authorization: Bearer abc\r\n") -> list[list[Packet]]:
    """A new token before each request."""
    pairs = [pair for status in statuses for pair in (TOKEN, orders(status, credentials))]
    return calls(*((k * 500 * MS, *pair) for k, pair in enumerate(pairs)))


def together(times: int) -> list[list[Packet]]:
    """Requests on as many connections, of which each is refused once, and then granted."""
    return [close(exchange(exchange(talk(40_000 + k, k * MS, step=10 * MS), *orders(401)), *orders(200))).packets for k in range(times)]


def test_tokens_that_are_never_taken(tmp_path: Path) -> None:
    """That the client gets another one does not show that it was let in."""
    this = found(tmp_path, *fresh(401, 401, 401))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].values["statuses"] == {"401": 3}


def test_a_token_that_is_not_taken_where_another_client_is_served(tmp_path: Path) -> None:
    mine = fresh(401, 401, 401)
    theirs = close(exchange(talk(43_000, S, client="192.0.2.11"), *orders(200))).packets
    this = found(tmp_path, *mine, theirs)
    assert this["http-errors"].severity == "warning"
    assert "3 of them carried credentials that the server rejects, while another client is served there" in this["http-errors"].text


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(fresh(401, 200, 401, 200, 401, 200), id="expired"),
        pytest.param(fresh(401, 401, 401, credentials=b""), id="asked without one first"),  # as docker asks for /v2/
        pytest.param(fresh(401, 401, 200), id="clocks that came to agree"),
        pytest.param(together(12), id="expired while many were asked at once"),
    ],
)
def test_tokens_that_are_taken(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams))


def test_passwords_that_are_guessed(tmp_path: Path) -> None:
    this = found(tmp_path, *calls(*((k * 300 * MS, *orders(status)) for k, status in enumerate([*[401] * 12, 200]))))
    assert problems(this) == {"http-errors"}
    assert this["http-errors"].values["statuses"] == {"401": 12}


def asks(*each: tuple[float, int], path: bytes = b"/a", token: bool = True, port: int = 40_000) -> list[list[Packet]]:
    """Requests for one thing, on a connection each.  each : when (s), and the status of the answer."""
    request = b"GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n" % (path, b"Authorization: Bearer abc\r\n" if token else b"")
    return calls(*((int(at * S), request, answer(status)) for at, status in each), port=port)


def others(times: int) -> list[list[Packet]]:
    """Other requests, which bear no credentials and are granted."""
    return asks(*((k * 0.01, 200) for k in range(times)), path=b"/b", token=False, port=44_000)


UNEVEN = (0, 0.7, 2.9)


@pytest.mark.parametrize(
    ("streams", "advice"),
    [
        (asks(*((t, 403) for t in UNEVEN)), "permissions"),
    ],
)
def test_what_a_client_asks_for_and_never_gets(tmp_path: Path, streams: list[list[Packet]], advice: str) -> None:
    """However much is granted beside it."""
    this = found(tmp_path, *streams, *others(20))
    assert problems(this) == {"http-errors"}
    assert advice in this["http-errors"].advice


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(asks(*((t, 403) for t in UNEVEN)) + asks((4, 200), path=b"/c", port=43_000), id="a program that asks whether it may"),
        pytest.param(asks(*((t, 403) for t in UNEVEN), token=False), id="without credentials"),
        pytest.param(asks(*((t, 403) for t in (0, 5, 10, 15))), id="who waits for something"),
        pytest.param(asks(*((t, 401) for t in (0, 30, 60, 90))), id="a check by the clock"),
        pytest.param(asks(*((t / 10, 200) for t in range(20)), *((3 + t, 401) for t in UNEVEN), (7, 200)), id="a token that is renewed"),
        pytest.param(asks(*((t / 10, 200) for t in range(20)), (3, 401), (5, 401)), id="the capture ends as it is renewed"),
        pytest.param(asks(*((t, 401) for t in UNEVEN)), id="a check that wants to be refused"),
        pytest.param(asks(*((t, 410) for t in UNEVEN), token=False), id="a page of which several parts ask"),
        pytest.param(asks(*((t, 426) for t in UNEVEN), token=False), id="several checks"),
        pytest.param(asks(*((t, 410) for t in (0, 3600, 7200, 10_800)), token=False), id="a feed that was given up"),
        pytest.param(asks(*((t, 416) for t in UNEVEN), token=False), id="a file that is whole"),
        pytest.param(asks(*((t, 416) for t in (0, 2, 4, 6)), (8, 206), token=False), id="a log that grows"),
        pytest.param(asks(*((t, 416) for t in (0, 2, 4, 6)), token=False), id="a log that does not"),
        pytest.param(asks((0, 416), (0.7, 206), (1.5, 416), (4, 416), token=False), id="a part that is there now and then"),
    ],
)
def test_what_a_client_may_ask_for_in_vain(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, *others(20)))


def test_who_is_let_in_no_more(tmp_path: Path) -> None:
    """A token that has expired, or somebody who has logged out."""
    this = found(tmp_path, *asks(*((t / 10, 200) for t in range(20)), *((3 + t, 401) for t in UNEVEN)), *others(20))["http-errors"]
    assert this.severity == "warning"
    assert "; 3 of them say 401 to a client that had been let in until then, and was not again: a token may have expired." in this.text


STRANGE = b"hello there, who are you?"


def insists(times: int, pause_ns: int = S, port: int = 9999) -> list[list[Packet]]:
    return [closed(port, STRANGE, 50 * MS, k * pause_ns, 40_000 + k) for k in range(times)]


def test_a_server_that_closes_on_whatever_it_is_sent(tmp_path: Path) -> None:
    """It may be one that takes in: reports of trackers, events, lines of a log."""
    this = found(tmp_path, *insists(4), healthy())
    assert this["closed-unanswered"].severity == "warning"
    assert this["closed-unanswered"].text == (
        f"4 of 5 connections heard nothing: {SERVER}:9999 took what was sent and closed, as a server does that refuses the client, or that only receives."
    )


def test_an_agent_of_zabbix_that_hangs_up(tmp_path: Path) -> None:
    this = found(tmp_path, closed(10_050, b"ZBXD\1\x0a" + bytes(7) + b"agent.ping"), healthy())
    assert problems(this) == {"closed-unanswered"}
    assert "(Zabbix)" in this["closed-unanswered"].text


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(insists(2), id="twice"),
        pytest.param(insists(4, 100 * MS), id="at once"),
        pytest.param(
            [*insists(4), close(exchange(talk(41_000, 9 * S, (SERVER, 9999), "192.0.2.77"), STRANGE, b"you")).packets], id="others hear"
        ),
        pytest.param(insists(4, port=514), id="a log"),
    ],
)
def test_closes_of_unknown_protocols_that_may_be_meant(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, healthy(42_000)))


def page(*waits_s: float, method: bytes = b"GET", path: bytes = b"/") -> list[list[Packet]]:
    request = b"%s %s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" % (method, path)
    body = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    return [close(exchange(talk(40_000 + k, k * 5 * S), request, body, int(wait * S))).packets for k, wait in enumerate(waits_s)]


@pytest.mark.parametrize(
    ("streams", "told"),
    [
        (page(2.6, 2.4, 2.7), True),
        (page(2.6, 2.4), False),
        (page(2.6, 2.4, 2.7, 0.1), False),  # somebody had it at once
        (page(1.6, 1.4, 1.7, 1.5), False),
        (page(2.6, 2.4, 2.7, method=b"POST"), False),  # is worked out for each
        (page(2.6, 2.4, 2.7, path=b"/poll?wait=1"), False),
        (page(2.6, 2.4, 2.7, path=b"/updates?since=1"), False),
    ],
)
def test_a_page_that_nobody_gets_soon(tmp_path: Path, streams: list[list[Packet]], told: bool) -> None:
    assert (problems(found(tmp_path, *streams)) == {"slow-server"}) == told


def searches(times: int, *said: bytes, pause_ns: int = S, port: int = 389) -> list[Packet]:
    """Connections on each of which a client asks and hears the same."""
    packets = []
    for k in range(times):
        made = talk(41_000 + k, k * pause_ns, (SERVER, port))
        for n, message in enumerate(said):
            (made.down if n % 2 else made.up)("PA", message)
        packets += close(made).packets
    return packets


BIND, BOUND, ENTRY, LIMIT = b"0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\0\x80\0", ldap(0x61, 0), ldap(0x64, 0), ldap(0x65, 4)


@pytest.mark.parametrize(
    ("packets", "told"),
    [
        (searches(3, BIND, BOUND, ldap_search(0), ENTRY, ldap_search(0), LIMIT), "problem"),
        (searches(3, BIND, BOUND, ldap_search(100), LIMIT), None),  # its own limit
        (searches(2, BIND, BOUND, ldap_search(0), LIMIT), "warning"),
        (searches(3, BIND, BOUND, ldap_search(0), LIMIT, pause_ns=30 * MS), "warning"),  # at once
        (searches(3, BIND, BOUND, ldap_search(0), LIMIT, BIND, BOUND), "warning"),  # it goes on
    ],
)
def test_searches_that_a_server_cuts_short(tmp_path: Path, packets: list[Packet], told: str | None) -> None:
    this = found(tmp_path, packets, healthy())
    assert (this["refused"].severity if "refused" in this else None) == told
    assert not told or this["refused"].values["replies"] == ["sizeLimitExceeded (4)"]


IN_USE, OPENED = marked(smb2(0xC0000043, 5)), marked(smb2(0, 5))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([OPENED, *[IN_USE] * 3], "problem"),
        ([IN_USE, OPENED, *[IN_USE] * 3], "problem"),
        ([*[IN_USE] * 3, OPENED], "warning"),
        ([OPENED, *[IN_USE] * 2], "warning"),
    ],
)
def test_a_file_that_stays_in_use(tmp_path: Path, said: list[bytes], told: str) -> None:
    made = talk(41_000, 0, (SERVER, 445))
    for message in said:
        exchange(made, b"a request", message)
        made.at += S
    assert found(tmp_path, close(made).packets, healthy())["refused"].severity == told


def test_files_that_open_at_the_second_try(tmp_path: Path) -> None:
    """And one beside each that stays in use, as those by which Office tells who has a document open."""
    packets = searches(4, b"ask", IN_USE, b"ask", OPENED, b"ask", IN_USE, port=445)
    assert found(tmp_path, packets, healthy())["refused"].severity == "warning"


NOT_THERE, A_PORT = marked(rpc(0, be(0, 4))), marked(rpc(0, be(2049, 4)))


@pytest.mark.parametrize(("said", "told"), [([NOT_THERE] * 3, "problem"), ([NOT_THERE] * 2, None), ([NOT_THERE] * 3 + [A_PORT], None)])
def test_programs_that_are_not_registered(tmp_path: Path, said: list[bytes], told: str | None) -> None:
    this = found(tmp_path, over_tcp(111, *said), healthy())
    assert (this["refused"].severity if "refused" in this else None) == told


def test_a_volume_that_is_not_given(tmp_path: Path) -> None:
    this = found(tmp_path, over_tcp(3260, iscsi(0), iscsi(0x0201)), healthy())
    assert this["refused"].text == f"1 of 1 iSCSI answer was a refusal, from {SERVER}: authentication failure (0201) to the login."
    assert problems(this) == {"refused"}
    assert not problems(found(tmp_path, over_tcp(3260, iscsi(0), iscsi(0x0201), iscsi(0), iscsi(0, 0x87)), healthy()))


def in_lines(port: int, *said: tuple[bytes, bytes], greeting: bytes = b"220 a\r\n") -> list[Packet]:
    made = talk(41_000, 0, (SERVER, port))
    made.down("PA", greeting)
    for command, reply in said:
        exchange(made, command, reply)
    return close(made).packets


USER, ASKS = b"USER a\r\n", b"331 password\r\n"


@pytest.mark.parametrize(
    ("packets", "what"),
    [
        (in_lines(21, (USER, ASKS), (b"PASS b\r\n", b"500 OOPS: no\r\n")), "500 to PASS (FTP)"),
        (in_lines(25, (b"EHLO a\r\n", b"554 5.5.0 no\r\n")), "554 to EHLO (SMTP)"),
        (in_lines(25, (b"HELO a\r\n", b"550 no\r\n")), "550 to HELO (SMTP)"),
    ],
)
def test_servers_that_take_nobody(tmp_path: Path, packets: list[Packet], what: str) -> None:
    this = found(tmp_path, packets, healthy())
    assert (problems(this), what in this["refused"].text) == ({"refused"}, True)


@pytest.mark.parametrize(
    "packets",
    [
        in_lines(21, (USER, ASKS), (b"PASS b\r\n", b"230 in\r\n"), (b"FEAT\r\n", b"500 what\r\n"), (b"MDTM a\r\n", b"500 what\r\n")),
        in_lines(21, (USER, ASKS), (b"PASS b\r\n", b"500 OOPS\r\n"), (USER, ASKS), (b"PASS b\r\n", b"230 in\r\n")),
        in_lines(25, (b"EHLO a\r\n", b"502 what\r\n"), (b"HELO a\r\n", b"250 a\r\n")),
        in_lines(25, (b"EHLO a\r\n", b"550 no\r\n"), (b"HELO a\r\n", b"250 a\r\n")),
    ],
)
def test_words_that_a_server_does_not_know(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))


QUERY, BOTH_WAYS, STATUS = b"Q\0\0\0\x21START_REPLICATION 0/00\0\0\0", b"W\0\0\0\x07\0\0\0", b"d\0\0\0\x26r" + bytes(33)


def replicates(port: int, at: int, then: bytes, crossing: bool) -> list[Packet]:
    """A standby that says where it stands (CopyData) before it hears an error."""
    made = talk(port, at, POSTGRES)
    exchange(made, START, READY)
    exchange(made, QUERY, BOTH_WAYS)
    for _ in range(crossing):
        made.up("PA", STATUS)
    made.down("PA", then)
    return close(made).packets


@pytest.mark.parametrize("crossing", [False, True])
def test_a_standby_that_comes_too_late(tmp_path: Path, crossing: bool) -> None:
    gone = [replicates(41_000 + k, k * S, error(b"58P01", b"ERROR"), crossing) for k in range(3)]
    this = found(tmp_path, *gone, healthy())
    assert problems(this) == {"refused"}
    assert "file or WAL segment gone (58P01) (PostgreSQL)" in this["refused"].text


def test_a_standby_that_goes_on(tmp_path: Path) -> None:
    streams = [replicates(41_000 + k, k * S, b"d\0\0\0\x16w" + bytes(17), True) for k in range(3)]
    assert not problems(found(tmp_path, *streams, healthy()))


def blocks(
    times: int, trip_ns: int, size: int = 16_000, ahead: int = 1, up: bool = False, pause_ns: int = 0, port: int = 22
) -> list[Packet]:
    """A file in blocks over a way of so long (seen at the client), ``ahead`` of them under way."""
    made = talk(41_000, 0, (SERVER, port), step=trip_ns // 2)
    made.step = MS // 10
    ask, give = (made.down, made.up) if up else (made.up, made.down)
    for _ in range(times // ahead):
        for _ in range(ahead):
            ask("PA", b"x" * 80)
        made.at += trip_ns - MS
        for k in range(0, size * ahead, 1400):
            give("PA", bytes(min(1400, size * ahead - k)))
        made.at += pause_ns
    return close(made).packets


@pytest.mark.parametrize("up", [False, True])
def test_a_file_that_comes_one_block_at_a_time(tmp_path: Path, up: bool) -> None:
    this = found(tmp_path, blocks(100, 70 * MS, up=up), healthy())
    assert problems(this) == {"slow-transfer"}
    assert "went one block at a time" in this["slow-transfer"].text
    assert this["slow-transfer"].values["block_bytes"] == 16_000


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(blocks(100, 5 * MS, pause_ns=60 * MS), id="the client takes its time"),
        pytest.param(blocks(100, 70 * MS, pause_ns=200 * MS), id="so does this one, far away"),
        pytest.param(blocks(100, 70 * MS, port=5_999), id="pictures, as far as is known"),
        pytest.param(blocks(40, 70 * MS), id="over soon"),
        pytest.param(blocks(100, 70 * MS, size=1_200), id="a dialog"),
        pytest.param([*blocks(100, 70 * MS, size=400_000)][:20_000], id="large blocks"),
    ],
)
def test_transfers_that_wait_for_no_round_trips(tmp_path: Path, packets: list[Packet]) -> None:
    assert "slow-transfer" not in problems(found(tmp_path, packets, healthy()))
