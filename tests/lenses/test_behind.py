"""Requests whose server itself waits for another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, GET, MS, OK, SERVER, S, close, found, healthy, problems, talk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parsers.build import End, Packet

DATABASE = "198.51.100.77"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def page(at: int, wait: int, request: bytes = GET, port: int = 41_000) -> list[Packet]:
    """A request that waits."""
    made = talk(port + at // S, at)
    made.up("PA", request)
    made.down("A")
    made.at += wait
    made.down("PA", OK)
    made.up("A")
    return close(made).packets


def asks(at: int, *waits: int, whom: End = (DATABASE, 389), by: str = SERVER, port: int = 50_000) -> list[Packet]:
    """The server asks another one, as often as it waits."""
    made = talk(port + at // S, at, whom, by)
    for wait in waits:
        made.up("PA", b"0\x0c\2\1\1`\7\2\1\3\4\0\x80\0")
        made.down("A")
        made.at += wait
        made.down("PA", b"0\x0c\2\1\1a\7\n\1\0\4\0\4\0")
        made.up("A")
    return close(made).packets


def pages(n: int, wait: int, *held: int, request: bytes = GET, whom: End = (DATABASE, 389), by: str = SERVER) -> list[list[Packet]]:
    places = [request.replace(b"/ ", b"/%d " % k, 1) for k in range(n)]  # each another one
    both = [(page(k * 10 * S, wait, places[k]), asks(k * 10 * S + 20 * MS, *held, whom=whom, by=by)) for k in range(n)]
    return [stream for pair in both for stream in pair]


def test_a_server_that_waits_for_another_one(tmp_path: Path) -> None:
    this = found(tmp_path, *pages(3, 4 * S, 3900 * MS), *(healthy(40_900 + k, k * S) for k in range(3)))["slow-server"]
    assert this.severity == "problem"
    assert this.text == (
        f"3 of 6 HTTP requests, to {SERVER}:80, waited up to 4.0 s for the answer's first byte; {SERVER} itself waited up to 3.9 s for {DATABASE}:389 (LDAP) "
        "meanwhile."
    )
    assert this.advice.startswith(f"Most likely {SERVER} could not answer before {DATABASE}:389 (LDAP) did")


def test_a_server_that_does_so_each_time(tmp_path: Path) -> None:
    assert problems(found(tmp_path, *pages(3, 2500 * MS, 2300 * MS))) == {"slow-server"}


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(pages(2, 2500 * MS, 2300 * MS), id="twice"),
        pytest.param([*pages(3, 2500 * MS, 2300 * MS), healthy(40_900, 50 * S)], id="others are soon"),
        pytest.param(pages(3, 2500 * MS, 2300 * MS, request=POST), id="worked out for somebody"),
        pytest.param(pages(3, 2500 * MS, 2300 * MS, whom=(DATABASE, 6379)), id="what may wait for events"),
        pytest.param(pages(3, 2500 * MS, 2300 * MS, whom=(DATABASE, 110)), id="what is polled by the clock"),
        pytest.param(pages(3, 1500 * MS, 1400 * MS), id="shorter"),
    ],
)
def test_waits_that_stay_a_warning(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams))


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param(pages(3, 4 * S, 1 * S), id="a part of it"),
        pytest.param(pages(3, 4 * S, 3300 * MS), id="ends long before the answer"),
        pytest.param([*pages(3, 4 * S), asks(20 * MS, 3900 * MS, *[6020 * MS, 3900 * MS] * 3)], id="waits as long beside them"),
        pytest.param(pages(3, 4 * S, *[900 * MS] * 4), id="one after the other"),
        pytest.param(pages(3, 4 * S, 3900 * MS, by=CLIENT), id="of another host"),
        pytest.param([*pages(3, 4 * S), *(asks(k * 10 * S - S, 6 * S) for k in (1, 2))], id="waits anyhow"),
        pytest.param([*pages(3, 4 * S), asks(20 * MS, 3900 * MS)], id="once of three"),
    ],
)
def test_waits_of_their_own(tmp_path: Path, streams: list[list[Packet]]) -> None:
    this = found(tmp_path, *(stream for stream in streams if stream), healthy(40_900, 50 * S))
    assert "itself waited" not in this["slow-server"].text
