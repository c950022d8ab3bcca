"""Lookups that try suffixes first, names to which servers redirect, and how many attempts were refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lenses.made import GET, MS, SERVER, WEB, End, Packet, S, close, exchange, found, lookup, ping, problems, talk
from tests.wire.test_tls import hello

SUFFIXES = (".app.svc.cluster.test", ".svc.cluster.test", ".cluster.test", ".corp.test", "")


def search(name: str, at: int, took: int, pause: int = MS, port: int = 5_000, suffixes: tuple[str, ...] = SUFFIXES) -> list[list[Packet]]:
    """One suffix after the other, and at last the name itself."""
    out = []
    for k, suffix in enumerate(suffixes):
        out.append(lookup(name + suffix, at, at + took, 3 if suffix else 0, port + k, port + k))
        at += took + pause
    return out


def test_suffixes_that_take_seconds(tmp_path: Path) -> None:
    this = found(tmp_path, *search("api.example.test", 0, 500 * MS), *search("www.example.test", 5 * S, 500 * MS, port=6_000))["dns-slow"]
    assert this.severity == "problem"
    assert this.text == (
        "2 of 2 DNS questions took more than 2.0 s, the longest 2.5 s (198.51.100.53): api.example.test and www.example.test; they "
        "were asked with 4 search suffixes first."
    )


@pytest.mark.parametrize(
    "streams",
    [
        search("api.example.test", 0, 2 * MS),  # a resolver that is near
        search("api.example.test", 0, 20 * MS, pause=S),  # somebody tries names
        search("api.example.test", 0, 200 * MS),  # a second in all
        [lookup("other.test", 0, 900 * MS, 3), lookup("more.test", 901 * MS, 1800 * MS, 3), lookup("a.test", 1801 * MS, 1900 * MS)],
    ],
)
def test_suffixes_that_nobody_waits_for(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "dns-slow" not in problems(found(tmp_path, *streams))


def redirect(host: str, at: int, port: int = 40_000) -> list[Packet]:
    answer = f"HTTP/1.1 302 Found\r\nLocation: https://{host}/login\r\nContent-Length: 0\r\n\r\n".encode()
    return close(exchange(talk(port, at), GET, answer)).packets


def visits(host: str, name: str, count: int = 3, later: int = 20 * MS, rcode: int = 3) -> list[list[Packet]]:
    out = []
    for k in range(count):
        at = k * 20 * S
        out += [redirect(host, at, 40_000 + k), lookup(name, at + later, at + later + MS, rcode, 5_000 + k, 100 + k)]
    return out


def test_a_redirection_to_a_name_that_does_not_exist(tmp_path: Path) -> None:
    this = found(tmp_path, *visits("App-int.corp.test", "app-int.corp.test"), lookup("www.example.test", 0, MS))["dns-failed"]
    assert (this.severity, this.text) == (
        "problem",
        "198.51.100.20:80 redirects to app-int.corp.test, which does not exist (NXDOMAIN): 3 times a client went there in vain.",
    )
    assert found(tmp_path, *visits("app.test", "app.test", 1), lookup("www.example.test", 0, MS))["dns-failed"].severity == "warning"


def test_a_site_that_serves_something_is_of_use(tmp_path: Path) -> None:
    page = close(exchange(talk(43_000, S))).packets
    assert not problems(found(tmp_path, *visits("ads.test", "ads.test"), page, lookup("www.example.test", 0, MS)))


@pytest.mark.parametrize(
    "streams",
    [
        visits("app.corp.test", "app.corp.test", rcode=0),
        [*visits("app.corp.test", "app.corp.test.office.test"), lookup("app.corp.test", 50 * MS, 60 * MS)],  # a suffix
        visits("app.corp.test", "ads.test"),  # what a filter denies beside it
        visits("app.corp.test", "app.corp.test", later=5 * S),  # it was not the redirection
    ],
)
def test_redirections_that_lead_somewhere(tmp_path: Path, streams: list[list[Packet]]) -> None:
    this = found(tmp_path, *streams, lookup("www.example.test", 0, MS))
    assert "dns-failed" not in this or "redirects" not in this["dns-failed"].text


def refused(port: int, at: int, server: End = WEB) -> list[Packet]:
    made = talk(port, at, server)
    made.packets[1:] = []
    made.at = at + MS
    made.seq, made.back = port * 1000 + 1, 0
    made.down("RA", seq=0)
    return made.packets


def test_all_attempts_that_were_refused_count(tmp_path: Path) -> None:
    streams = [refused(41_000 + k, k * 100 * MS) for k in range(4)] + [refused(41_010 + k, 8 * S + k * 100 * MS) for k in range(4)]
    streams.append(close(exchange(talk(42_000, 10 * S))).packets)
    this = found(tmp_path, *streams, ping(30 * S))["connect-refused"]
    assert (this.severity, this.text) == (
        "problem",
        "8 of 9 connection attempts were refused by 198.51.100.20:80; 4 of them reached it, or the same by another way, within 5 s.",
    )


def test_a_client_that_knows_nothing_of_ident(tmp_path: Path) -> None:
    """A server asks by it who its client is, and goes on without."""
    asked = [refused(41_000 + k, k * 20 * S, (SERVER, 113)) for k in range(4)]
    assert found(tmp_path, *asked, ping(90 * S))["connect-refused"].severity == "note"
    assert "connect-refused" in problems(found(tmp_path, *asked, refused(41_010, 0), ping(90 * S)))


def test_how_often_a_lookup_was_tried_in_vain(tmp_path: Path) -> None:
    tries = [lookup("a.test", k * 2 * S, port=5_000) for k in range(5)]
    this = found(tmp_path, *tries, lookup("b.test", 0, MS, port=5_100, txid=9), ping(30 * S))["dns-unanswered"]
    assert this.text == "1 of 2 DNS lookups to 198.51.100.53 got no answer in 5 tries (a.test)."


def test_a_name_that_its_client_finds_elsewhere(tmp_path: Path) -> None:
    """In a file, by multicast, or over TLS: it goes there."""
    there = close(exchange(talk(44_000, 300 * MS, (SERVER, 443)), hello(b"app.corp.test"), b"\x16\x03\x03\x00\x05hello")).packets
    assert "dns-failed" not in problems(
        found(tmp_path, *visits("app.corp.test", "app.corp.test"), there, lookup("www.example.test", 0, MS))
    )


def test_a_name_whose_address_is_known_and_that_has_no_other(tmp_path: Path) -> None:
    """Some servers say of names without AAAA that they do not exist (RFC 4074 4.2)."""
    streams = [
        x
        for k in range(3)
        for x in (
            redirect("app.test", k * 20 * S, 40_000 + k),
            lookup("app.test", k * 20 * S + 20 * MS, k * 20 * S + 21 * MS, 3, 5_000 + k, 100 + k, "AAAA"),
        )
    ]
    this = found(tmp_path, *streams, lookup("www.example.test", 0, MS))
    assert "dns-failed" not in this or "redirects" not in this["dns-failed"].text
