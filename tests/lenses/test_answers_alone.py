"""Answers of DNS whose questions were not recorded: each holds its question and its RCODE (RFC 1035 4.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR

from tests.lenses.made import CLIENT, MS, RESOLVER, SERVER, S, found, healthy, lookup, problems
from tests.parsers.build import Packet, datagram

if TYPE_CHECKING:
    from pathlib import Path

SERVFAIL, NXDOMAIN, REFUSED = 2, 3, 5


def answer(
    name: str,
    at: int = 0,
    rcode: int = SERVFAIL,
    txid: int = 7,
    qtype: str = "A",
    server: str = RESOLVER,
    client: str = CLIENT,
    port: int = 53,
) -> list[Packet]:
    records = [] if rcode else [DNSRR(rrname=name, rdata=SERVER)]
    reply = bytes(DNS(id=txid, qr=1, rd=1, ra=1, rcode=rcode, qd=DNSQR(qname=name, qtype=qtype), an=records))
    return [Packet(at, datagram((server, port), (client, port if port == 5353 else 5_000), reply))]


def answers(number: int, rcode: int = 0, first: int = 0, step: int = MS) -> list[Packet]:
    return [p for k in range(number) for p in answer(f"name-{k}.example.test", first + k * step, rcode, txid=100 + k)]


@pytest.mark.parametrize(("rcode", "word"), [(SERVFAIL, "SERVFAIL"), (REFUSED, "REFUSED")])
def test_the_first_frame_is_missing(tmp_path: Path, rcode: int, word: str) -> None:
    this = found(tmp_path, answer("www.example.test", rcode=rcode))["dns-failed"]
    assert (this.severity, this.text) == (
        "problem",
        f"1 of 1 DNS question failed ({word} from 198.51.100.53): www.example.test; that question was not recorded, its answer tells.",
    )
    assert [frame for _, frame in this.frames] == [1]


def test_only_the_answers_were_recorded(tmp_path: Path) -> None:
    failing = [answer(f"no-{k}.example.test", 30 * S + k * 20 * S, txid=k) for k in range(3)]
    this = found(tmp_path, answers(40), *failing)["dns-failed"]
    assert this.severity == "problem"
    assert this.text.startswith("3 of 43 DNS questions failed (SERVFAIL from 198.51.100.53): ")
    assert this.text.endswith("; 3 of these questions were not recorded, their answers tell.")


def test_one_broken_zone_of_many_is_a_warning(tmp_path: Path) -> None:
    assert found(tmp_path, answers(40), answer("www.broken.test", S))["dns-failed"].severity == "warning"


def test_a_name_that_does_not_exist(tmp_path: Path) -> None:
    this = found(tmp_path, answer("absent.example.test", rcode=NXDOMAIN))["dns-failed"]
    assert this.severity == "problem"
    assert "absent.example.test" in this.text
    assert found(tmp_path, answers(5), answer("absent.example.test", S, NXDOMAIN))["dns-failed"].severity == "note"


def test_a_client_that_goes_on_needs_not_the_name(tmp_path: Path) -> None:
    heard = [Packet(S + k * MS, datagram((SERVER, 443), (CLIENT, 6_000), b"\x40" + bytes(90))) for k in range(5)]
    assert found(tmp_path, answer("absent.example.test", rcode=NXDOMAIN), heard)["dns-failed"].severity == "warning"


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([answer("www.example.test"), answer("www.example.test", S, 0, txid=8)], id="asked again, answered"),
        pytest.param([answer("www.example.test", 0, 0), answer("www.example.test", MS)], id="another resolver had answered"),
        pytest.param([answer("www.example.test"), lookup("www.example.test", S, S + MS)], id="asked again within the file"),
        pytest.param([answer("www.example.test"), lookup("www.example.test", S)], id="asked again, the end is open"),
        pytest.param([answer("device.local", port=5353)], id="multicast"),
        pytest.param([answer("example.test", rcode=REFUSED, qtype=t) for t in ("SOA", "AXFR", "IXFR")], id="zone transfers"),
        pytest.param([answer("example.test", rcode=REFUSED, qtype="ALL")], id="ANY, asked in another's name"),
        pytest.param(
            [answer("www.example.test", rcode=REFUSED, server=f"203.0.113.{k}", txid=k) for k in range(1, 9)],
            id="many servers, none of which it uses: what is sent back to a forged address",
        ),
        pytest.param([healthy(), answer("www.example.test", 60 * S)], id="a client whose questions would be in the file"),
        pytest.param(
            [lookup("www.example.test", 0, 5 * MS), answer("www.example.test", 2 * MS, client="203.0.113.7")],
            id="the question stands under the address before NAT",
        ),
        pytest.param([lookup("www.example.test", 0, MS), answer("www.example.test", 2 * MS)], id="a second answer to what was answered"),
    ],
)
def test_what_is_no_failure(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "dns-failed" not in found(tmp_path, *streams)


def test_an_address_was_told_beside_it(tmp_path: Path) -> None:
    both = [answer("www.example.test", 0, 0), answer("www.example.test", MS, qtype="AAAA", txid=8)]
    this = found(tmp_path, *both)
    assert not problems(this)
    assert "an address all the same" in this["dns-failed"].text


def test_one_answer_recorded_twice_is_one(tmp_path: Path) -> None:
    twice = (
        answer("absent.example.test", 0, NXDOMAIN)
        + answer("absent.example.test", MS, NXDOMAIN)
        + answer("absent.example.test", 2 * MS, NXDOMAIN)
    )
    assert found(tmp_path, twice, answers(5, first=S))["dns-failed"].severity == "note"


def test_both_sides_of_a_resolver_are_one_question(tmp_path: Path) -> None:
    theirs = answer("www.example.test", 0, client=RESOLVER, server="203.0.113.9", txid=9)
    this = found(tmp_path, theirs, lookup("www.example.test", MS, 2 * MS, rcode=SERVFAIL), answers(30, first=S))["dns-failed"]
    assert (this.severity, this.text) == ("warning", "1 of 31 DNS questions failed (SERVFAIL from 198.51.100.53): www.example.test.")
