"""Names that a client asks for again and again in vain: denied, blocked, without IPv6, or behind answers that nobody can read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR

from tests.lenses.made import CLIENT, MS, RESOLVER, SERVER, S, close, exchange, found, healthy, lookup, ping, problems, talk
from tests.parsers.build import Packet, datagram, mixed
from tests.wire.test_tls import hello

if TYPE_CHECKING:
    from pathlib import Path

V6, V6_RESOLVER, V6_WEB = "2001:db8::10", "2001:db8::53", "2001:db8::80"


def asked(
    name: str, at: int, answer: dict[str, str] | None, client: str = CLIENT, resolver: str = RESOLVER, port: int = 5_000
) -> list[Packet]:
    """Both questions for a name; ``answer``: the address of each type, None if there is no such name."""
    out = []
    for k, kind in enumerate(("A", "AAAA")):
        question = DNSQR(qname=name, qtype=kind)
        records = [DNSRR(rrname=name, type=kind, rdata=answer[kind])] if answer and kind in answer else []
        reply = DNS(id=k, qr=1, rd=1, ra=1, rcode=3 * (answer is None), qd=question, an=records)
        out += [
            Packet(at + k, datagram((client, port), (resolver, 53), bytes(DNS(id=k, rd=1, qd=question)))),
            Packet(at + MS + k, datagram((resolver, 53), (client, port), bytes(reply))),
        ]
    return out


def rounds(times: int, name: str, answer: dict[str, str] | None, step: int = 3 * S, at: int = 0, first_port: int = 5_000) -> list[Packet]:
    return [p for k in range(times) for p in asked(name, at + k * step, answer, port=first_port + k)]


def others(times: int = 5) -> list[Packet]:
    """Pages of another server, whose name is found."""
    out = rounds(times, "www.example.test", {"A": SERVER}, at=100 * MS, first_port=6_000)
    for k in range(times):
        out += healthy(40_100 + k, 110 * MS + 3 * k * S)
    return out


def test_a_name_that_does_not_exist_is_asked_for_again_and_again(tmp_path: Path) -> None:
    this = found(tmp_path, rounds(5, "git.corp.test", None), others())["dns-failed"]
    assert (this.severity, this.text) == (
        "warning",
        f"1 of 2 names looked up does not exist (NXDOMAIN); {CLIENT} asked for git.corp.test 5 times over 12.0 s.",
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(rounds(3, "git.corp.test", None), id="three times"),
        pytest.param(rounds(8, "git.corp.test", None, step=S // 10), id="within a second"),
        pytest.param(rounds(5, "git.corp.test", None, step=60 * S), id="once a minute"),
        pytest.param(rounds(5, "nas.local", None), id="found by multicast"),
        pytest.param([p for k in range(5) for p in asked(f"n{k}.corp.test", 3 * k * S, None)][:8], id="other names"),
    ],
)
def test_names_that_nobody_insists_on(tmp_path: Path, packets: list[Packet]) -> None:
    assert found(tmp_path, packets, others())["dns-failed"].severity == "note"


def test_a_search_suffix_that_does_not_fit(tmp_path: Path) -> None:
    asked_for = rounds(5, "www.example.test.corp.test", None)
    assert "dns-failed" not in found(tmp_path, asked_for, others())


def test_a_name_that_is_denied_and_reached_through_a_proxy(tmp_path: Path) -> None:
    there = exchange(talk(44_000, 300 * MS, (SERVER, 443)), hello(b"git.corp.test"), b"\x16\x03\x03\x00\x05hello").packets
    assert found(tmp_path, rounds(5, "git.corp.test", None), others(), there)["dns-failed"].severity == "note"


NOWHERE = {"A": "0.0.0.0", "AAAA": "::"}


def test_a_name_that_is_blocked(tmp_path: Path) -> None:
    this = found(tmp_path, rounds(5, "api.example.test", NOWHERE), others())["dns-failed"]
    assert (this.severity, this.text) == (
        "warning",
        f"{RESOLVER} answers 0.0.0.0 and ::, which is nowhere: {CLIENT} asked for api.example.test 5 times over 12.0 s.",
    )


def test_all_that_a_client_wants_is_blocked(tmp_path: Path) -> None:
    blocked = rounds(5, "api.example.test", NOWHERE, at=S)
    assert found(tmp_path, blocked, healthy())["dns-failed"].severity == "problem"
    assert (
        found(tmp_path, blocked, rounds(5, "stats.example.test", NOWHERE, at=S, first_port=6_000), healthy())["dns-failed"].severity
        == "problem"
    )
    assert found(tmp_path, blocked, asked("www.example.test", S, {"A": SERVER}, port=6_000), healthy())["dns-failed"].severity == "warning"
    assert found(tmp_path, blocked, healthy(at=9 * S))["dns-failed"].severity == "warning"  # it goes on all the same
    assert found(tmp_path, blocked)["dns-failed"].severity == "warning"  # nothing but DNS was captured


@pytest.mark.parametrize(("times", "answer"), [(3, NOWHERE), (5, {"A": SERVER, "AAAA": "::"}), (5, {"A": SERVER})])
def test_what_is_blocked_in_passing(tmp_path: Path, times: int, answer: dict[str, str]) -> None:
    assert "dns-failed" not in found(tmp_path, rounds(times, "ads.example.test", answer), others())


def by_v6(name: str, answer: dict[str, str], at: int, first_port: int) -> list[Packet]:
    return [p for k in range(5) for p in asked(name, at + 3 * k * S, answer, V6, V6_RESOLVER, first_port + k)]


def pages_by_v6() -> list[Packet]:
    out = by_v6("deb.example.test", {"AAAA": V6_WEB}, 100 * MS, 6_000)
    for k in range(5):
        out += exchange(talk(41_000 + k, 110 * MS + 3 * k * S, (V6_WEB, 80), V6)).packets
    return out


def test_a_name_without_ipv6_where_there_is_nothing_else(tmp_path: Path) -> None:
    forge = by_v6("git.example.test", {"A": SERVER}, 0, 5_000)
    this = found(tmp_path, forge, pages_by_v6())["dns-failed"]
    assert (this.severity, this.text) == (
        "warning",
        f"{V6} asked for git.example.test 5 times over 12.0 s and was told an IPv4 address alone, but the capture holds no IPv4.",
    )
    assert "dns-failed" not in found(tmp_path, forge, pages_by_v6(), healthy(at=S))  # somebody has IPv4
    assert "dns-failed" not in found(tmp_path, forge)  # nothing but DNS was captured


def test_names_that_a_client_of_ipv6_reaches(tmp_path: Path) -> None:
    both = by_v6("git.example.test", {"A": SERVER, "AAAA": V6_WEB}, 0, 5_000)
    assert "dns-failed" not in found(tmp_path, both, pages_by_v6())
    forge = by_v6("git.example.test", {"A": SERVER}, 0, 5_000)
    proxy = exchange(talk(45_000, 300 * MS, (V6_WEB, 443), V6), hello(b"git.example.test"), b"\x16\x03\x03\x00\x05hello").packets
    assert "dns-failed" not in found(tmp_path, forge, pages_by_v6(), proxy)


def record(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


def redirected(tries: int, pause: int, late: int = 0, answer: dict[str, str] | None = None, grows: int = 0, wait: int = 0) -> list[Packet]:
    """A connection with TLS on which a client asks the same over and over, and after each answer for the name of another server."""
    made = talk(42_000, 0, (SERVER, 443))
    exchange(made, hello(b"registry.example.test"), b"\x16\x03\x03\x00\x05hello" + record(300))
    exchange(made, record(60), record(200))
    packets = []
    for k in range(tries):
        made.at += 10 * MS
        exchange(made, record(240), record(480 + k * grows), wait)
        packets += asked("cdn.example.test", made.at + late + MS, answer, port=7_000 + k)
        made.at += pause
    return [*made.packets, *packets, *asked("registry.example.test", 0, {"A": SERVER}, port=8_000), *ping(made.at + 9 * S)]


def test_answers_that_cannot_be_read_lead_to_a_name_that_does_not_exist(tmp_path: Path) -> None:
    this = found(tmp_path, redirected(4, 50 * MS))["dns-failed"]
    assert (this.severity, this.text) == (
        "problem",
        (
            "registry.example.test:443 seems to redirect to cdn.example.test, which does not exist (NXDOMAIN): behind 4 answers a client asked for it at "
            "once, and sent 3 requests again."
        ),
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(redirected(3, 50 * MS), id="twice again"),
        pytest.param(redirected(6, 5 * S), id="a report each five seconds, as to a host of telemetry that is denied"),
        pytest.param(redirected(6, 50 * MS, wait=2 * S), id="a poll that waits for news, each followed by a report"),
        pytest.param(redirected(6, 20 * MS, late=40 * MS, wait=40 * MS), id="the next request does not wait for the name"),
        pytest.param(redirected(6, 700 * MS, late=200 * MS), id="not because of the answer"),
        pytest.param(redirected(6, 50 * MS, grows=10), id="not the same again"),
        pytest.param(redirected(6, 50 * MS, answer={"A": SERVER}), id="it exists"),
    ],
)
def test_a_name_to_which_no_answer_leads(tmp_path: Path, packets: list[Packet]) -> None:
    assert "dns-failed" not in problems(found(tmp_path, packets, others()))


def over_tcp(answers: int, silent: int = 0, closes: bool = True, at: int = 0, port: int = 41_000, qtypes: str = "A AAAA") -> list[Packet]:
    """Two questions on one connection, of which the server answers some; then it closes, or the client does after some ns."""
    made = talk(port, at, (RESOLVER, 53))
    asked = [DNS(id=k, rd=1, qd=DNSQR(qname="app.example.test", qtype=kind)) for k, kind in enumerate(qtypes.split())]
    made.up("PA", b"".join(framed(each) for each in asked))
    made.down("A")
    for each in asked[:answers]:
        records = DNSRR(rrname="app.example.test", type=each.qd[0].qtype, rdata=SERVER if each.qd[0].qtype == 1 else "2001:db8::1")
        made.down("PA", framed(DNS(id=each.id, qr=1, rd=1, ra=1, qd=each.qd, an=records)))
        made.up("A")
    made.wait(silent)
    (made.down if closes else made.up)("FA")
    (made.up if closes else made.down)("FA")
    (made.down if closes else made.up)("A")
    return made.packets


def framed(message: DNS) -> bytes:
    return len(bytes(message)).to_bytes(2, "big") + bytes(message)


def too_long(kind: str, at: int = 0) -> list[Packet]:
    """A question over UDP of which the answer is truncated."""
    question = DNSQR(qname="app.example.test", qtype=kind)
    return [
        Packet(at, datagram((CLIENT, 5_000), (RESOLVER, 53), bytes(DNS(id=9, rd=1, qd=question)))),
        Packet(at + MS, datagram((RESOLVER, 53), (CLIENT, 5_000), bytes(DNS(id=9, qr=1, rd=1, ra=1, tc=1, qd=question)))),
    ]


def test_a_server_that_answers_one_question_a_connection(tmp_path: Path) -> None:
    streams = [*(over_tcp(1, at=3 * k * S, port=41_000 + k) for k in range(3)), healthy(at=20 * S), ping(40 * S)]
    this = found(tmp_path, *streams)["dns-unanswered"]
    assert this.severity == "warning"
    assert this.text == (
        f"3 of 6 DNS questions over TCP got no answer: {RESOLVER} closed the connection behind the answer to another one (app.example.test (AAAA)); "
        "the client got an address of the name all the same."
    )
    assert (this.values["closed"], len(this.frames)) == (3, 6)


def test_what_is_asked_again_over_tcp_and_not_answered(tmp_path: Path) -> None:
    streams = [too_long("A"), over_tcp(0, 5 * S, closes=False, at=2 * MS, qtypes="A"), healthy(at=20 * S), ping(40 * S)]
    this = found(tmp_path, *streams)["dns-unanswered"]
    assert this.severity == "problem"
    assert this.text == (
        f"1 of 1 DNS question over TCP got no answer: {RESOLVER} was silent for 5.0 s (app.example.test); over UDP it said that the answer is too long "
        "(TC, truncated)."
    )
    assert f"dig +tcp @{RESOLVER}" in this.advice


def test_a_server_that_closes_on_a_question_over_tcp(tmp_path: Path) -> None:
    this = found(tmp_path, over_tcp(0, qtypes="A"), healthy(at=20 * S), ping(40 * S))["dns-unanswered"]
    assert this.text == f"1 of 1 DNS question over TCP got no answer: {RESOLVER} closed the connection (app.example.test)."


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([over_tcp(2)], id="all are answered"),
        pytest.param([over_tcp(1), over_tcp(1, at=S, port=41_001, qtypes="AAAA")], id="asked again on a new connection"),
        pytest.param([over_tcp(1), lookup("app.example.test", S, S + MS, qtype="AAAA")], id="asked again over UDP"),
        pytest.param([over_tcp(1, S, closes=False)], id="a client that does not wait"),
        pytest.param([over_tcp(0, qtypes="SOA")], id="servers among themselves"),
        pytest.param([over_tcp(1)[:-4]], id="one direction ends"),
    ],
)
def test_questions_over_tcp_that_nobody_waits_for(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "dns-unanswered" not in found(tmp_path, *streams, healthy(at=2 * S), ping(4 * S))


def silent_to_aaaa(went_after: int, port: int = 42_000, at: int = 0) -> list[Packet]:
    """Both questions for a name: A is answered at once, AAAA after 10 s; its client goes to the address meanwhile."""
    name = "app.example.test"
    going = close(exchange(talk(port, at + went_after))).packets if went_after else []
    return mixed(lookup(name, at, at + MS, port=port), lookup(name, at + MS // 2, at + 10 * S, port=port, txid=8, qtype="AAAA"), going)


def test_a_client_that_goes_on_with_the_other_address(tmp_path: Path) -> None:
    this = found(tmp_path, silent_to_aaaa(6 * S), ping(40 * S))["dns-slow"]
    assert (this.severity, this.values["longest_ms"]) == ("problem", pytest.approx(6000, abs=1))
    assert this.text == (
        f"1 of 2 DNS questions took 6.0 s ({RESOLVER}): app.example.test (AAAA); then the client went to another address of the name, without an answer."
    )
    assert f"dig @{RESOLVER} app.example.test AAAA" in this.advice


def test_a_late_answer_that_nobody_waits_for(tmp_path: Path) -> None:
    assert "dns-slow" not in found(tmp_path, silent_to_aaaa(50 * MS), ping(40 * S))


@pytest.mark.parametrize("before", [[], exchange(talk(42_900)).packets], ids=["it goes nowhere", "it goes where it went before"])
def test_a_late_answer_for_which_no_other_address_is_taken(tmp_path: Path, before: list[Packet]) -> None:
    later = silent_to_aaaa(50 * MS if before else 0, at=S)
    assert "took 10.0 s" in found(tmp_path, before, later, ping(40 * S))["dns-slow"].text
