"""Each lens finds its fault, is silent on the healthy twin, and where it cannot be seen: one direction, a capture that begins or ends in the middle."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRROPT

import netlens
from netlens import lenses
from netlens.lenses.tls_failed import ALERTS
from tests.lenses.made import CLIENT, GET, MS, OK, RESOLVER, SERVER, WEB, S, close, exchange, found, healthy, lookup, ping, problems, talk
from tests.parsers.build import T0, End, Packet, Talk, datagram, mixed, segment, write
from tests.parsers.certificates import DONE, SERVER_HELLO, certificate, chain, message, record
from tests.parsers.test_pipeline import HELLO, client_hello

TLS: End = (SERVER, 443)
NOW = T0 // S
ALERT = b"\x15\x03\x03\x00\x02\x02"  # fatal; the description follows


def only(packets: list[Packet], source: str) -> list[Packet]:
    """What one address sent."""
    from ipaddress import ip_address

    return [p for p in packets if p.data[12:16] == ip_address(source).packed]


def lookups(n: int, missing: int, slow: int = 0, rcode: int = 0) -> list[Packet]:
    """``n`` questions, the first of them without answer (asked twice), after 3 s, or with a failure."""
    out: list[Packet] = []
    for k in range(n):
        at = k * 100 * MS
        if k < missing:
            out += lookup(f"n{k}.example.test", at, txid=k)
            out += lookup(f"n{k}.example.test", at + 2 * S, txid=k)
        else:
            out += lookup(f"n{k}.example.test", at, at + (3 * S if k < missing + slow else 20 * MS), rcode if k < 3 else 0, txid=k)
    return out


# -- names --


def test_unanswered_lookups(tmp_path: Path) -> None:
    this = found(tmp_path, lookups(10, missing=3), healthy(), ping(30 * S))["dns-unanswered"]
    assert this.severity == "problem"
    assert this.text.startswith("3 of 10 DNS lookups to 198.51.100.53 got no answer")
    assert this.values["asked_again"] == 3
    assert len(this.frames) >= 3


def test_answered_lookups_are_nothing(tmp_path: Path) -> None:
    assert not found(tmp_path, lookups(10, missing=0), healthy(), ping(30 * S)).keys() & {"dns-unanswered", "dns-failed", "dns-slow"}


def test_a_lookup_at_the_end_is_pending(tmp_path: Path) -> None:
    assert "dns-unanswered" not in found(tmp_path, lookups(10, missing=0), lookup("late.example.test", 2 * S), ping(3 * S))


def test_of_one_direction_nothing_is_said_of_answers(tmp_path: Path) -> None:
    packets = [*lookups(10, missing=0), *(p for k in range(4) for p in healthy(41_000 + k, k * S)), *ping(30 * S)]
    this = found(tmp_path, only(packets, CLIENT))
    assert not problems(this)
    assert this["capture-loss"].severity == "warning"


def test_one_of_many_that_is_asked_once_is_a_warning(tmp_path: Path) -> None:
    packets = [*lookups(30, missing=0), *lookup("once.example.test", S), *ping(30 * S)]
    assert found(tmp_path, packets)["dns-unanswered"].severity == "warning"


def test_a_question_that_another_id_answers_was_answered(tmp_path: Path) -> None:
    packets = [*lookup("a.example.test", 0, txid=1), *lookup("a.example.test", S, S + 20 * MS, txid=2), *ping(30 * S)]
    assert "dns-unanswered" not in found(tmp_path, packets)


def test_a_name_that_was_answered_and_then_is_not(tmp_path: Path) -> None:
    """Its repeats follow each other within seconds, so that one question would go on and on."""
    before = [p for k in range(5) for p in lookup("db.example.test", k * S, k * S + MS, txid=k)]
    later = [p for k in range(5) for p in lookup("db.example.test", (5 + 4 * k) * S, txid=9)]
    this = found(tmp_path, before, later, ping(40 * S))
    assert this["dns-unanswered"].severity == "problem"
    assert this["dns-unanswered"].text == "1 of 6 DNS lookups to 198.51.100.53 got no answer in 5 tries (db.example.test)."


@pytest.mark.parametrize(
    "later",
    [
        lookup("db.example.test", 5 * S, txid=9),  # once, by another program
        [*lookup("db.example.test", 5 * S, txid=9), *lookup("db.example.test", 9 * S, 9 * S + MS, txid=9)],
        [*lookup("db.example.test", 3 * S + MS // 2, txid=9), *lookup("db.example.test", 3 * S + MS // 2, txid=10)],  # asked side by side
    ],
    ids=["once", "answered in the end", "beside"],
)
def test_a_name_that_goes_on_being_answered(tmp_path: Path, later: list[Packet]) -> None:
    before = [p for k in range(4) for p in lookup("db.example.test", k * S, k * S + MS, txid=k)]
    assert "dns-unanswered" not in found(tmp_path, before, later, ping(40 * S))


def truncated(at: int, records: int = 0, txid: int = 7, qtype: str | int = "TXT", opt: bool = False) -> list[Packet]:
    """A question over UDP and an answer that says that there is more (TC); ``opt``: one that is whole, as EDNS allows."""
    asked = DNSQR(qname="big.example.test", qtype=qtype)
    text = [DNSRR(rrname="big.example.test", type="TXT", rdata=b"x" * 100)] * (1 if opt else records)
    query = bytes(DNS(id=txid, rd=1, qd=asked, ar=[DNSRROPT()] if opt else []))
    reply = bytes(DNS(id=txid, qr=1, tc=not opt, rd=1, ra=1, qd=asked, an=text, ar=[DNSRROPT()] if opt else []))
    return [
        Packet(at, datagram((CLIENT, 5_000), (RESOLVER, 53), query)),
        Packet(at + MS, datagram((RESOLVER, 53), (CLIENT, 5_000), reply)),
    ]


def test_an_answer_that_is_truncated_to_nothing(tmp_path: Path) -> None:
    packets = [p for k in range(3) for p in truncated(k * S, txid=k)]
    this = found(tmp_path, packets, healthy(), ping(30 * S))["dns-failed"]
    assert this.severity == "problem"
    assert this.text == (
        "1 of 1 DNS question got only answers that are truncated (TC) and hold no record, and 192.0.2.10 did not ask over TCP: big.example.test (TXT)."
    )
    assert found(tmp_path, truncated(0), healthy(), ping(30 * S))["dns-failed"].severity == "warning"


@pytest.mark.parametrize(
    "packets",
    [
        [*truncated(0), *truncated(S), *close(exchange(talk(41_000, 2 * MS, (RESOLVER, 53)), b"q", b"a")).packets, *healthy()],
        [*truncated(0), *truncated(S), *truncated(S + 2 * MS, txid=8, opt=True), *healthy()],
        [*truncated(0, records=2), *truncated(S, records=2), *healthy()],
        [*truncated(0), *truncated(S)],  # of UDP alone
        [*lookup("big.example.test", 0, MS), *truncated(S, qtype="AAAA"), *truncated(2 * S, qtype="AAAA"), *healthy()],
        [*truncated(0, qtype=255), *truncated(S, qtype=255), *healthy()],  # ANY: forged, so that answers go to another
    ],
    ids=["then over TCP", "then with EDNS", "some records", "a filter of the capture", "it has an address", "forged"],
)
def test_a_truncated_answer_that_nobody_misses(tmp_path: Path, packets: list[Packet]) -> None:
    assert "dns-failed" not in found(tmp_path, packets, ping(30 * S))


def test_failed_lookups(tmp_path: Path) -> None:
    this = found(tmp_path, lookups(5, missing=0, rcode=2), ping(30 * S))["dns-failed"]
    assert this.severity == "problem"
    assert this.text.startswith("3 of 5 DNS questions failed (SERVFAIL from 198.51.100.53): n0.example.test, ")


def test_a_failure_that_a_repeat_cures_is_none(tmp_path: Path) -> None:
    packets = [*lookup("a.example.test", 0, 20 * MS, rcode=2, txid=1), *lookup("a.example.test", S, S + 20 * MS, txid=2)]
    assert "dns-failed" not in found(tmp_path, packets, ping(30 * S))


def test_a_name_that_has_an_address_all_the_same_is_no_problem(tmp_path: Path) -> None:
    both = [p for t, k in (("A", 0), ("AAAA", 5)) for p in lookup("a.example.test", k * MS, 20 * MS, rcode=k, txid=k, qtype=t)]
    this = found(tmp_path, both, ping(30 * S))["dns-failed"]
    assert this.severity == "warning"
    assert "failed (REFUSED from 198.51.100.53): a.example.test (AAAA); the name has an address all the same." in this.text
    alone = lookup("b.example.test", 9 * S, 10 * S, rcode=5, txid=9, qtype="AAAA")
    assert found(tmp_path, both, alone, ping(30 * S))["dns-failed"].severity == "problem"


def test_names_that_do_not_exist_with_a_search_suffix_are_ordinary(tmp_path: Path) -> None:
    packets = [p for k in range(4) for p in lookup(f"www.example.test.s{k}.local", k * S, k * S + MS, rcode=3, txid=k)]
    packets += lookup("www.example.test", 5 * S, 5 * S + MS, txid=9)
    assert "problem" not in {f.severity for f in found(tmp_path, packets, ping(30 * S)).values()}


def test_a_name_that_does_not_exist_beside_one_that_does(tmp_path: Path) -> None:
    """Whatever was asked of the other one."""
    packets = lookup("host.example.test", 0, MS, qtype="SSHFP") + lookup("typo.example.test", S, S + MS, rcode=3, txid=8)
    this = found(tmp_path, packets, ping(9 * S))["dns-failed"]
    assert (this.severity, this.text) == ("note", "1 of 2 names looked up does not exist (NXDOMAIN): typo.example.test.")


def test_most_names_do_not_exist(tmp_path: Path) -> None:
    packets = [p for k in range(4) for p in lookup(f"typo{k}.example.test", k * S, k * S + MS, rcode=3, txid=k)]
    assert found(tmp_path, packets, ping(30 * S))["dns-failed"].severity == "problem"


def test_names_that_a_filter_denies_beside_such_that_exist(tmp_path: Path) -> None:
    """Each once; a program that needs one asks for it again."""
    denied = [p for k in range(3) for p in lookup(f"ads{k}.example.test", k * S, k * S + MS, rcode=3, txid=k)]
    exist = [p for k in range(2) for p in lookup(f"www{k}.example.test", k * S + 2 * MS, k * S + 3 * MS, txid=k + 5)]
    assert found(tmp_path, denied, exist, ping(30 * S))["dns-failed"].severity == "note"
    again = [p for k in range(2) for p in lookup("ads0.example.test", (5 + k) * S, (5 + k) * S + MS, rcode=3, txid=k + 9, port=6_000 + k)]
    assert found(tmp_path, denied, exist, again, ping(30 * S))["dns-failed"].severity == "problem"


def test_a_name_that_is_asked_for_again_and_again_in_vain(tmp_path: Path) -> None:
    asked = [lookup("db.example.test", 20 * k * S, 20 * k * S + MS, rcode=3, txid=k) for k in range(3)]
    assert found(tmp_path, *asked[:2], ping(99 * S))["dns-failed"].severity == "warning"
    assert found(tmp_path, *asked, ping(99 * S))["dns-failed"].severity == "problem"


@pytest.mark.parametrize("address", ["5.2.0.192", f"b.a.{'0.' * 22}8.b.d.0.1.0.0.2"])
def test_addresses_that_are_in_no_blocklist(tmp_path: Path, address: str) -> None:
    """RFC 5782: there is no such name is the good answer."""
    asked = [lookup(f"{address}.bl.example.test", 20 * k * S, 20 * k * S + MS, rcode=3, txid=k) for k in range(3)]
    assert "dns-failed" not in found(tmp_path, *asked, ping(99 * S))


def test_slow_lookups(tmp_path: Path) -> None:
    this = found(tmp_path, lookups(10, missing=0, slow=3), ping(30 * S))["dns-slow"]
    assert this.severity == "problem"
    assert "3 of 10" in this.text


# -- handshakes --


def syns(port: int, times: list[int], server: End = (SERVER, 8009), client: str = CLIENT) -> list[Packet]:
    made = Talk((client, port), server, isn=port)
    return [dataclasses.replace(made.up("S", seq=port), at=at) for at in times]


def test_a_connection_that_is_never_answered(tmp_path: Path) -> None:
    this = found(tmp_path, syns(40_000, [0, S, 3 * S, 7 * S]), healthy(), ping(30 * S))["connect-unanswered"]
    assert (this.severity, this.values["syns"]) == ("problem", 4)
    assert "198.51.100.20:8009" in this.text


@pytest.mark.parametrize("times", [[29 * S], [29 * S, 30 * S]])
def test_a_syn_at_the_end_is_pending(tmp_path: Path, times: list[int]) -> None:
    assert "connect-unanswered" not in found(tmp_path, syns(40_000, times), healthy(), ping(30 * S))


def left(after_ns: int, *more: str, ack: int = 0) -> list[Packet]:
    """A SYN without an answer, and a FIN by which the client closes what never opened; ``more`` in between. ``ack``: what the FIN acknowledges."""
    made = Talk((CLIENT, 40_000), (SERVER, 8009), isn=1)
    made.up("S")
    for flags in more:
        made.up(flags)
    made.at = after_ns
    made.up("FA", ack=ack)
    return made.packets


def test_a_client_that_closes_what_nobody_answered(tmp_path: Path) -> None:
    this = found(tmp_path, left(10 * S), healthy(at=15 * S), ping(30 * S))["connect-unanswered"]
    assert this.severity == "problem"
    assert this.text == "1 of 2 servers never answered a connection: 198.51.100.20:8009 (one try)."


@pytest.mark.parametrize("packets", [left(S), left(10 * S, "A", "PA"), left(10 * S, ack=77)])  # so soon; answers that were not recorded
def test_a_client_that_closes_soon_or_was_answered(tmp_path: Path, packets: list[Packet]) -> None:
    assert "connect-unanswered" not in problems(found(tmp_path, packets, healthy(at=15 * S), ping(30 * S)))


def test_another_address_that_is_reached_at_once_makes_up_for_it(tmp_path: Path) -> None:
    names = lookup("two.example.test", 0, MS)
    silent = syns(40_000, [S, 2 * S, 4 * S], ("2001:db8::1", 80), "2001:db8::10")
    assert "connect-unanswered" not in found(tmp_path, names, silent, healthy(at=S + 300 * MS), ping(30 * S))


def refused(port: int, at: int, server: End = (SERVER, 8009), client: str = CLIENT) -> list[Packet]:
    made = Talk((client, port), server, at=at)
    made.up("S")
    made.down("RA")
    return made.packets


def test_a_refused_connection(tmp_path: Path) -> None:
    this = found(tmp_path, refused(40_000, 0), healthy(), ping(30 * S))["connect-refused"]
    assert this.severity == "problem"
    assert this.text == "1 of 2 connection attempts was refused by 198.51.100.20:8009."
    assert [frame for _, frame in this.frames] == [1, 3]  # in between: the healthy one's SYN


def test_the_other_family_at_once(tmp_path: Path) -> None:
    six = refused(40_000, 0, ("::1", 80), "::1")
    four = close(exchange(talk(40_001, MS, ("127.0.0.1", 80), "127.0.0.1"))).packets
    assert found(tmp_path, six, four, ping(30 * S))["connect-refused"].severity == "note"


@pytest.mark.parametrize(("port", "instead"), [(443, 80), (139, 445)])
def test_the_port_that_clients_take_where_another_is_refused(tmp_path: Path, port: int, instead: int) -> None:
    first = refused(40_000, 0, (SERVER, port))
    plain = close(exchange(talk(40_001, 3 * MS, (SERVER, instead)))).packets
    assert found(tmp_path, first, plain, ping(30 * S))["connect-refused"].severity == "note"
    assert found(tmp_path, refused(40_000, 0, (SERVER, 444)), plain, ping(30 * S))["connect-refused"].severity == "problem"


def attempts(pattern: str, step: int = 300 * MS, open_for: int = 20 * MS, at: int = 0, port: int = 40_000) -> list[Packet]:
    """Connections to one service, ``step`` apart: taken (o), for some time, or refused (x)."""
    out: list[Packet] = []
    for k, kind in enumerate(pattern):
        if kind == "x":
            made = Talk((CLIENT, port + k), WEB, isn=port * 1000 + k, at=at + k * step)
            made.up("S")
            made.down("RA")
            out += made.packets
        elif kind == "o":
            out += close(exchange(talk(port + k, at + k * step), wait=open_for)).packets
    return out


def test_every_second_server_behind_an_address_is_gone(tmp_path: Path) -> None:
    this = found(tmp_path, attempts("oooxoxoxoxooo"), ping(30 * S))["connect-refused"]
    assert this.severity == "problem"
    assert (
        this.text
        == "4 of 13 connection attempts were refused by 198.51.100.20:80, which took others of the same client right before and after."
    )
    assert this.advice.startswith("Behind that address a server may be gone, while others serve")


def test_a_service_that_takes_a_few_connections_at_once(tmp_path: Path) -> None:
    """Three are taken and held for a second, and two more are refused, again and again; then the same, while it had taken more before."""
    busy = [p for k in range(4) for p in attempts("oooxx", 100 * MS, 900 * MS, at=2 * k * S, port=40_000 + 10 * k)]
    busy += attempts("o", at=8 * S, port=42_000)
    assert "connect-refused" not in problems(found(tmp_path, busy, ping(30 * S)))
    before = attempts("ooooooo", 10 * MS, 900 * MS, at=9 * S, port=41_000)
    assert "connect-refused" in problems(found(tmp_path, busy, before, ping(30 * S)))


@pytest.mark.parametrize(
    ("pattern", "step", "open_for"),
    [
        ("xxxxxooooo", 300 * MS, 20 * MS),  # it asks until the service is up
        ("ooooxooooo", 300 * MS, 20 * MS),  # one that is tried again at once
        ("oooxxxxooo", 300 * MS, 20 * MS),  # the service starts anew
        ("oooxxoooxxoo", 300 * MS, 20 * MS),  # and once more
        ("oxoxoxoxoxo", 300 * MS, 400 * MS),  # one client at a time: the one before is served still
    ],
    ids=["until it is up", "once", "one restart", "two restarts", "one at a time"],
)
def test_refusals_of_a_service_that_is_well(tmp_path: Path, pattern: str, step: int, open_for: int) -> None:
    assert "connect-refused" not in problems(found(tmp_path, attempts(pattern, step, open_for), ping(30 * S)))


def test_a_scan(tmp_path: Path) -> None:
    tried = [p for k in range(20) for p in refused(40_000 + k, k * 50 * MS, (SERVER, 1_000 + k))]
    this = found(tmp_path, tried, ping(30 * S))
    assert problems(this) == {"port-scan"}
    assert "20 ports of 198.51.100.20" in this["port-scan"].text


@pytest.mark.parametrize(("flags", "told"), [("FPU", True), ("", True), ("F", True), ("FA", False), ("A", False), ("R", False)])
def test_a_scan_without_a_syn(tmp_path: Path, flags: str, told: bool) -> None:
    """Who closes, or asks, on a connection that the other end forgot is reset, too; it acknowledges what it had got."""
    tried = []
    for k in range(20):
        made = Talk((CLIENT, 50_000), (SERVER, 1_000 + k), at=k * 50 * MS)
        made.up(flags)
        if k % 3:
            made.down("R" if "A" in flags else "RA")
        tried += made.packets
    assert problems(found(tmp_path, tried, ping(30 * S))) == ({"port-scan"} if told else set())


def test_many_connections_that_succeed_are_no_scan(tmp_path: Path) -> None:
    served = [p for k in range(20) for p in close(exchange(talk(40_000 + k, k * 50 * MS, (SERVER, 1_000 + k)))).packets]
    assert not found(tmp_path, served)


def test_a_fatal_alert(tmp_path: Path) -> None:
    made = talk(server=TLS)
    made.up("PA", HELLO)
    made.down("PA", ALERT + b"\x46")
    this = found(tmp_path, close(made).packets, ping(30 * S))["tls-failed"]
    assert this.severity == "problem"
    assert "protocol_version by the server" in this.text
    assert this.advice


def test_tls_that_is_answered_by_http(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", HELLO)
    made.down("PA", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert "answers with HTTP, not TLS" in found(tmp_path, close(made).packets, ping(30 * S))["tls-failed"].text


def test_an_alert_behind_the_handshake_is_the_end(tmp_path: Path) -> None:
    made = talk(server=TLS)
    made.up("PA", HELLO)
    made.down("PA", b"\x16\x03\x03\x00\x32\x02" + bytes(49))
    made.up("PA", b"\x14\x03\x03\x00\x01\x01")
    made.up("PA", ALERT + b"\x46")
    assert "tls-failed" not in found(tmp_path, close(made).packets, ping(30 * S))


def test_a_browser_that_opens_more_than_it_needs(tmp_path: Path) -> None:
    spare = []
    for k in range(4):
        made = talk(40_000 + k, k * MS, TLS)
        made.up("PA", HELLO)
        made.up("FA")
        made.down("A")
        spare.append(made.packets)
    assert "tls-failed" not in found(tmp_path, *spare, ping(30 * S))


# -- handshakes of TLS 1.3, as programs end them; sizes as were recorded of Go, Java, Node and etcd --

FLIGHT = record(22, b"\x02" + bytes(117)) + record(20, b"\x01") + record(23, bytes(833)) + record(23, bytes(281)) + record(23, bytes(69))
CHANGE, HIDDEN_ALERT, FINISHED = record(20, b"\x01"), record(23, bytes(19)), record(23, bytes(53))
MY_CERTIFICATE, NO_CERTIFICATE = record(23, bytes(857)) + record(23, bytes(281)), record(23, bytes(25))


def of_13(*answers: bytes, times: int = 2, by_server: bytes = b"", ends: str = "FA", hello: bytes = HELLO, first: int = 0) -> list[Packet]:
    """Connections, a second apart: hello, the server's flight, what the client says to it, what the server says to that, and who closes. ``first``: the number
    of the first."""
    packets: list[Packet] = []
    for k in range(times):
        made = talk(40_000 + first + k, first * first * S + k * S, TLS)
        made.up("PA", hello)
        made.down("PA", FLIGHT)
        made.up("A")
        for data in answers:
            made.up("PA", data)
        if by_server:
            made.down("PA", by_server)
            made.down("FA")
            made.up("FA")
        elif ends:
            made.up(ends)
            made.down("FA")
            made.up("A")
        packets += made.packets
    return packets


@pytest.mark.parametrize("said", [(CHANGE + HIDDEN_ALERT,), (CHANGE, HIDDEN_ALERT), (HIDDEN_ALERT,)], ids=["Go", "GnuTLS", "no middlebox"])
def test_an_encrypted_alert_instead_of_the_end_of_a_handshake(tmp_path: Path, said: tuple[bytes, ...]) -> None:
    this = found(tmp_path, of_13(*said, times=1), ping(9 * S))["tls-failed"]
    assert this.severity == "problem"
    assert this.text == "1 of 1 TLS handshake failed (refused by the client by an encrypted alert) at api.example.test:443."
    assert "certificate" in this.advice


@pytest.mark.parametrize("said", [(), (CHANGE,)], ids=["Node", "Java"])
def test_a_client_that_closes_upon_the_servers_answer(tmp_path: Path, said: tuple[bytes, ...]) -> None:
    """Once may be somebody who closed the page; and a browser that is served closes what it does not need. Where one with another JA4 is served, it may look
    whether the server is there."""
    this = found(tmp_path, of_13(*said), ping(9 * S))["tls-failed"]
    assert (this.severity, "closed by the client upon the server's answer" in this.text) == ("problem", True)
    assert found(tmp_path, of_13(*said, times=1), ping(9 * S))["tls-failed"].severity == "warning"
    served = talk(41_000, 3 * S, TLS)
    for data in (HELLO, FLIGHT, CHANGE + FINISHED, record(23, bytes(300))):
        (served.down if data is FLIGHT else served.up)("PA", data)
    served.down("PA", record(23, bytes(900)))
    assert "tls-failed" not in found(tmp_path, of_13(*said), close(served).packets, ping(9 * S))
    other = client_hello("api.example.test", ("http/1.1",))
    assert found(tmp_path, of_13(*said, hello=other), served.packets, ping(9 * S))["tls-failed"].severity == "warning"


@pytest.mark.parametrize("said", [(), (CHANGE + FINISHED,)], ids=["LEFT", "DONE"])
def test_checks_of_whether_a_server_is_there(tmp_path: Path, said: tuple[bytes, ...]) -> None:
    """By the clock, or with one hello after the other."""
    h2 = client_hello("api.example.test", ("h2",))
    assert found(tmp_path, of_13(*said, times=6, hello=h2), ping(19 * S))["tls-failed"].severity == "warning"
    assert found(tmp_path, of_13(*said, times=4, hello=h2), ping(19 * S))["tls-failed"].severity == "problem"
    hellos = [client_hello("api.example.test", (name, "h2")) for name in ("aa", "bb", "cc", "dd", "ee", "ff")]
    tried = [p for k, each in enumerate(hellos) for p in of_13(*said, hello=each, times=1, first=k)]
    assert found(tmp_path, tried, ping(39 * S))["tls-failed"].severity == "warning"
    again = [p for k in range(6) for p in of_13(*said, hello=h2, times=1, first=k)]
    assert found(tmp_path, again, ping(39 * S))["tls-failed"].severity == "problem"


def test_a_client_of_http_2_that_never_begins(tmp_path: Path) -> None:
    """As gRPC does where the server chose no protocol. A browser does so too, but elsewhere it begins; others may look whether a server is there."""
    h2 = client_hello("api.example.test", ("h2",))
    never = of_13(CHANGE + FINISHED, hello=h2)
    this = found(tmp_path, never, ping(9 * S))["tls-failed"]
    assert (this.severity, "closed by the client before any request" in this.text, "ALPN" in this.advice) == ("problem", True, True)
    elsewhere = talk(41_000, 3 * S, ("198.51.100.77", 443))
    for up, data in (
        (True, h2),
        (False, FLIGHT),
        (True, CHANGE + FINISHED),
        (True, record(23, bytes(80))),
        (False, record(23, bytes(900))),
    ):
        (elsewhere.up if up else elsewhere.down)("PA", data)
    assert "tls-failed" not in found(tmp_path, never, close(elsewhere).packets, ping(9 * S))
    assert "tls-failed" not in found(tmp_path, of_13(CHANGE + FINISHED), ping(9 * S))


def test_a_client_that_loses_patience(tmp_path: Path) -> None:
    made = talk(server=TLS)
    made.up("PA", HELLO)
    made.down("PA", FLIGHT)
    made.up("A")
    made.at += 5 * S
    assert "tls-failed" not in found(tmp_path, close(made).packets, ping(30 * S))


DATA = record(23, bytes(90))


@pytest.mark.parametrize(
    ("said", "is_told"),
    [((CHANGE + MY_CERTIFICATE + FINISHED,), True), ((CHANGE + NO_CERTIFICATE + FINISHED, DATA), True), ((CHANGE + FINISHED, DATA), False)],
    ids=["another CA", "none", "not asked for"],
)
def test_a_server_that_does_not_take_the_clients_certificate(tmp_path: Path, said: tuple[bytes, ...], is_told: bool) -> None:
    """What is closed without a word on a request is closed-unanswered, if anything."""
    this = found(tmp_path, of_13(*said, by_server=HIDDEN_ALERT), ping(9 * S))
    assert ("tls-failed" in problems(this)) == is_told
    if is_told:
        assert "ended by the server by an encrypted alert before any answer" in this["tls-failed"].text
    tickets = record(23, bytes(250)) + HIDDEN_ALERT
    assert "tls-failed" not in found(tmp_path, of_13(*said, by_server=tickets), ping(9 * S))
    if is_told:  # another program is served: this one may look whether the server is there
        served = talk(41_000, 5 * S, TLS)
        for up, data in ((True, HELLO), (False, FLIGHT), (True, CHANGE + FINISHED), (True, DATA), (False, record(23, bytes(900)))):
            (served.up if up else served.down)("PA", data)
        both = found(tmp_path, of_13(*said, by_server=HIDDEN_ALERT), close(served).packets, ping(9 * S))
        assert both["tls-failed"].severity == "warning"
    last = max(p.at for p in of_13(*said, times=1, ends=""))
    idle = [dataclasses.replace(p, at=p.at + (p.at > last) * 5 * S) for p in of_13(*said, times=1, by_server=HIDDEN_ALERT)]
    assert "tls-failed" not in found(tmp_path, idle, ping(9 * S))


# -- certificates --

DAY = 86_400
KEYS = record(22, message(16, bytes(66))) + record(20, b"\x01") + record(22, bytes(40))
REQUEST = KEYS + record(23, bytes(300))


def showing(der: bytes, *answers: bytes, ends: str = "", port: int = 40_000, at: int = 0) -> list[Packet]:
    """A handshake of TLS 1.2 in which the server shows a certificate, and what the client sends then; ``ends``: with which flags it ends the connection."""
    made = talk(port, at, TLS)
    made.up("PA", HELLO)
    made.down("PA", record(22, SERVER_HELLO + chain(der) + DONE))
    for data in answers:
        made.up("PA", data)
    if ends:
        made.up(ends)
    return made.packets


EXPIRED = certificate(NOW - 400 * DAY, NOW - 12 * DAY - 5, "shop.example")


@pytest.mark.parametrize("what", [42, 45, 46, 48])
def test_a_client_that_refuses_an_expired_certificate(tmp_path: Path, what: int) -> None:
    this = found(tmp_path, showing(EXPIRED, ALERT + bytes([what]), ends="FA"), ping(9 * S))
    assert problems(this) == {"tls-failed"}
    assert this["tls-failed"].text == (
        f"1 of 1 TLS handshake failed ({ALERTS[what]} by the client) at api.example.test:443; the certificate of shop.example had expired 12 days before."
    )
    assert this["tls-failed"].advice.startswith("Renew the server's certificate")
    assert "certificate-expired" not in this


def test_a_client_that_does_not_mind(tmp_path: Path) -> None:
    this = found(tmp_path, showing(EXPIRED, REQUEST), showing(certificate(NOW - DAY, NOW + DAY), REQUEST, port=40_001), ping(9 * S))
    assert not problems(this)
    assert this["certificate-expired"].severity == "note"
    assert this["certificate-expired"].text == (
        "1 of 2 certificates shown by servers was out of date: shop.example (had expired 12 days before); the client went on all the same."
    )


def test_clients_that_leave_without_a_word(tmp_path: Path) -> None:
    """Once may be a person, or a probe that had seen enough."""
    this = found(tmp_path, showing(EXPIRED, ends="RA"), ping(9 * S))["tls-failed"]
    assert (
        this.severity,
        "closed by the client before any request) at api.example.test:443; the certificate of shop.example had expired" in this.text,
    ) == ("warning", True)
    both = [p for k in range(2) for p in showing(EXPIRED, KEYS, ends="FA", port=40_000 + k, at=3 * k * S)]
    assert found(tmp_path, both, ping(9 * S))["tls-failed"].severity == "problem"


def test_an_alert_about_a_certificate_that_is_valid(tmp_path: Path) -> None:
    this = found(tmp_path, showing(certificate(NOW - DAY, NOW + DAY), ALERT + b"\x2d", ends="FA"), ping(9 * S))["tls-failed"]
    assert "certificate of" not in this.text
    assert "intermediate" in this.advice


def test_a_certificate_of_tomorrow(tmp_path: Path) -> None:
    later = certificate(NOW + 3 * DAY + 5, NOW + 90 * DAY, "new.example")
    assert (
        "new.example (is valid only from 2023-11-17 on, 3 days later)"
        in found(tmp_path, showing(later, REQUEST), ping(9 * S))["certificate-expired"].text
    )


def test_a_recorder_without_a_clock_says_nothing_of_certificates(tmp_path: Path) -> None:
    later = certificate(NOW + 9000 * DAY, NOW + 9090 * DAY)
    assert "certificate-expired" not in found(tmp_path, showing(later, REQUEST), ping(9 * S))


def test_an_expired_certificate_at_the_end_of_the_capture_is_a_note(tmp_path: Path) -> None:
    this = found(tmp_path, showing(EXPIRED))
    assert this.keys() & {"tls-failed", "certificate-expired"} == {"certificate-expired"}
    assert this["certificate-expired"].text.endswith("(had expired 12 days before).")


ITSELF, OF_ANOTHER = certificate(NOW - DAY, NOW + DAY, "api.example.test", itself=True), certificate(NOW - DAY, NOW + DAY, "b.example")
GOOD = certificate(NOW - DAY, NOW + DAY, "api.example.test")


@pytest.mark.parametrize(
    ("der", "why"),
    [(ITSELF, "its certificate is self-signed"), (OF_ANOTHER, "the certificate is for b.example, not for api.example.test"), (GOOD, "")],
    ids=["itself", "another", "good"],
)
def test_a_client_that_looks_behind_the_handshake(tmp_path: Path, der: bytes, why: str) -> None:
    """Node and GnuTLS do; so does a check of whether a server is there."""
    two = [p for k in range(2) for p in showing(der, KEYS, ends="FA", port=40_000 + k, at=3 * k * S)]
    this = found(tmp_path, two, ping(9 * S))
    assert ("tls-failed" in this, "tls-failed" in problems(this)) == (bool(why), der is OF_ANOTHER)  # a program tries again at once
    if why:
        minutes = [p for k in range(2) for p in showing(der, KEYS, ends="FA", port=40_000 + k, at=60 * k * S)]
        assert found(tmp_path, minutes, ping(90 * S))["tls-failed"].severity == "warning"
        assert (
            this["tls-failed"].text
            == f"2 of 2 TLS handshakes failed (closed by the client before any request) at api.example.test:443; {why}."
        )
    asking = [p for k in range(2) for p in showing(der, REQUEST, ends="FA", port=40_000 + k, at=3 * k * S)]
    assert "tls-failed" not in found(tmp_path, asking, ping(9 * S))


def test_an_encrypted_alert_before_the_server_is_done(tmp_path: Path) -> None:
    """Behind the server's Finished it ends the connection."""
    hidden = record(21, bytes(26))
    this = found(tmp_path, showing(GOOD, KEYS, hidden, ends="RA"), ping(9 * S))["tls-failed"]
    assert (this.severity, "refused by the client by an encrypted alert" in this.text) == ("problem", True)
    made = talk(server=TLS)
    for up, data in (
        (True, HELLO),
        (False, record(22, SERVER_HELLO + chain(GOOD) + DONE)),
        (True, KEYS),
        (False, record(20, b"\x01")),
        (True, hidden),
    ):
        (made.up if up else made.down)("PA", data)
    assert "tls-failed" not in found(tmp_path, close(made).packets, ping(9 * S))


# -- answers --


def test_errors_of_http(tmp_path: Path) -> None:
    bad = [p for k in range(4) for p in close(exchange(talk(40_000 + k, k * S), answer=b"HTTP/1.1 500 Oops\r\n\r\n")).packets]
    this = found(tmp_path, bad, healthy(at=5 * S))["http-errors"]
    assert (this.severity, this.values["errors"], this.values["responses"]) == ("problem", 4, 5)


def test_answers_over_tcp_that_the_snaplen_cut(tmp_path: Path) -> None:
    """A question of which nothing came back is open; one of which the answer was captured in part is not."""

    def asked(port: int, at: int, answered: bool, kept: int) -> list[Packet]:
        query, reply = (len(p.data[28:]).to_bytes(2, "big") + p.data[28:] for p in lookup("api.example.", 0, 1))
        made = exchange(talk(port, at, (SERVER, 53)), query, reply if answered else b"")
        return [dataclasses.replace(p, data=p.data[:kept], cut=len(p.data[kept:])) for p in close(made).packets]

    later = healthy(at=20 * S)
    assert "dns-unanswered" in found(tmp_path, *(asked(40_000 + k, k * S, False, 1500) for k in range(3)), later)
    for kept in (1500, 80):
        assert "dns-unanswered" not in found(tmp_path, *(asked(40_000 + k, k * S, True, kept) for k in range(3)), later)


def test_errors_of_which_the_servers_side_alone_was_recorded(tmp_path: Path) -> None:
    """What was asked is not known, but the answers say that they are errors; a challenge does not."""

    def answers(*statuses: bytes) -> list[Packet]:
        every = [exchange(talk(40_000 + k, k * S), answer=b"HTTP/1.1 %s\r\n\r\n" % each) for k, each in enumerate(statuses)]
        return only([p for made in every for p in close(made).packets], WEB[0])

    bad = found(tmp_path, answers(b"500 Oops", b"200 OK", b"500 Oops"))["http-errors"]
    assert (bad.severity, bad.values["errors"], bad.values["responses"]) == ("problem", 2, 3)
    assert bad.text.startswith(f"2 of 3 HTTP responses are errors (2 × 500), from {WEB[0]}:{WEB[1]}")
    assert found(tmp_path, answers(b"404 Not Found", b"404 Not Found", b"200 OK"))["http-errors"].severity == "problem"
    assert found(tmp_path, answers(b"404 Not Found", *[b"200 OK"] * 9))["http-errors"].severity == "warning"
    assert "http-errors" not in found(tmp_path, answers(b"401 Unauthorized", b"200 OK", b"304 Not Modified"))


def test_one_404_of_many(tmp_path: Path) -> None:
    good = [p for k in range(20) for p in healthy(41_000 + k, k * S)]
    lost = close(exchange(talk(40_000), answer=b"HTTP/1.1 404 Not Found\r\n\r\n")).packets
    assert not problems(found(tmp_path, good, lost))


def test_a_challenge_that_is_answered(tmp_path: Path) -> None:
    made = talk()
    exchange(made, answer=b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    exchange(made)
    assert "http-errors" not in found(tmp_path, close(made).packets)


def ftp(*said: tuple[bytes, bytes], port: int = 40_000, at: int = 0) -> list[Packet]:
    made = talk(port, at, (SERVER, 21))
    made.down("PA", b"220 ready\r\n")
    for command, reply in said:
        made.at += 50 * MS
        exchange(made, command + b"\r\n", reply + b"\r\n")
    return close(made).packets


def test_a_refused_login(tmp_path: Path) -> None:
    this = found(tmp_path, ftp((b"USER a", b"331 Password"), (b"PASS b", b"530 Login incorrect"), (b"QUIT", b"221 Bye")))["refused"]
    assert this.severity == "problem"
    assert "530 to PASS (FTP)" in this.text
    assert "Login" not in str(dataclasses.asdict(this))  # what was said is not told


def test_a_login_that_succeeds_at_the_second_try(tmp_path: Path) -> None:
    said = [(b"USER a", b"331 Password"), (b"PASS b", b"530 Login incorrect"), (b"USER a", b"331 Password"), (b"PASS c", b"230 In")]
    assert found(tmp_path, ftp(*said))["refused"].severity == "warning"


@pytest.mark.parametrize(("before", "after", "severity"), [(1, 1, "warning"), (2, 1, "warning"), (3, 1, "problem"), (1, 0, "problem")])
def test_a_login_that_succeeds_on_another_connection(tmp_path: Path, before: int, after: int, severity: str) -> None:
    """Somebody mistyped; a program with the wrong password tries more often."""
    wrong = [ftp((b"USER a", b"331 Password"), (b"PASS b", b"530 No"), port=40_000 + k, at=k * S) for k in range(before)]
    right = [ftp((b"USER a", b"331 Password"), (b"PASS c", b"230 In"), port=40_009, at=9 * S) for _ in range(after)]
    assert found(tmp_path, *wrong, *right)["refused"].severity == severity


@pytest.mark.parametrize(("later", "severity"), [(b"a2 SELECT INBOX", "warning"), (b"a2 LOGOUT", "problem"), (b"a2 STARTTLS", "problem")])
def test_a_login_to_imap_that_was_mistyped(tmp_path: Path, later: bytes, severity: str) -> None:
    """The second answer begins with what the server can do; who selects a folder is in."""
    made = talk(server=(SERVER, 143))
    made.down("PA", b"* OK ready\r\n")
    exchange(made, b"a0 LOGIN x y\r\n", b"a0 NO no\r\n")
    exchange(made, b"a1 LOGIN x z\r\n", b"* CAPABILITY IMAP4rev1\r\na1 OK in\r\n")
    exchange(made, later + b"\r\n", b"* FLAGS ()\r\n")
    assert found(tmp_path, close(made).packets)["refused"].severity == severity


@pytest.mark.parametrize(("reply", "told"), [(b"226 Done", False), (b"150 Opening", True)])
def test_a_server_that_ends_an_idle_session(tmp_path: Path, reply: bytes, told: bool) -> None:
    """421 is no answer to what was answered before."""
    made = talk(server=(SERVER, 21))
    made.down("PA", b"220 ready\r\n")
    for command, answer in ((b"PASS b", b"230 In"), (b"RETR a", reply)):
        exchange(made, command + b"\r\n", answer + b"\r\n")
    made.at += 300 * S
    made.down("PA", b"421 Timeout\r\n")
    assert ("refused" in found(tmp_path, close(made).packets)) == told


def test_questions_to_a_server_are_no_tasks(tmp_path: Path) -> None:
    assert "refused" not in found(tmp_path, ftp((b"FEAT", b"500 Unknown"), (b"SIZE x", b"550 No"), (b"PASS b", b"230 In")))


@pytest.mark.parametrize(
    ("port", "hello", "asked", "says", "told"),
    [
        (3306, b"\x4a\x00\x00\x00\x0a8.0.32", b"\x20\x00\x00\x01login", b"\x17\x00\x00\x02\xff\x15\x04#28000", "MySQL"),
        (5432, b"", b"\x00\x00\x00\x29\x00\x03\x00\x00user", b"E\x00\x00\x00\x66SFATAL\x00", "PostgreSQL"),
        (6379, b"", b"*2\r\n$4\r\nAUTH\r\n", b"-WRONGPASS no\r\n", "Redis"),
        (110, b"+OK ready\r\n", b"PASS x\r\n", b"-ERR no\r\n", "POP3"),
        (143, b"* OK ready\r\n", b"a1 LOGIN x y\r\n", b"a1 NO no\r\n", "IMAP"),
        (25, b"220 mail\r\n", b"RCPT TO:<x>\r\n", b"550 no\r\n", "SMTP"),
    ],
)
def test_refusals_of_other_protocols(tmp_path: Path, port: int, hello: bytes, asked: bytes, says: bytes, told: str) -> None:
    made = talk(server=(SERVER, port))
    if hello:
        made.down("PA", hello)
    exchange(made, asked, says)
    this = found(tmp_path, close(made).packets)["refused"]
    assert (this.severity, this.values["protocols"]) == ("problem", [told])


# -- delivery --


def resent(times: list[int], acked: bool = True) -> Talk:
    """A request that is sent again at these times (s)."""
    made = talk()
    seq = made.seq
    made.up("PA", GET)
    for t in times:
        made.at = int(t * S)
        made.up("PA", GET, seq=seq)
    if acked:
        made.down("A")
        made.down("PA", OK)
    return made


def test_a_standstill(tmp_path: Path) -> None:
    this = found(tmp_path, resent([0.3, 0.9, 2.1, 4.5]).packets, ping(30 * S))["stalled"]
    assert (this.severity, this.values["retransmissions"]) == ("problem", 4)
    assert "stood still for up to 4.5 s" in this.text  # 2 ms behind the last sending


@pytest.mark.parametrize(
    ("times", "sent", "told"),
    [([0.3, 0.9, 2.1, 4.5], GET, True), ([0.3, 4.5], GET, False), ([0.3, 0.5, 0.7, 1.1], GET, False), ([1, 3, 7, 15], b"G", False)],
    ids=["backs off", "twice", "not for long", "probes a window that is shut"],
)
def test_a_standstill_that_was_recorded_in_one_direction_only(tmp_path: Path, times: list[float], sent: bytes, told: bool) -> None:
    """Who sends the same again and again heard nothing, wherever the answers went."""
    streams = []
    for k in range(6):
        made = exchange(talk(40_000 + k))
        seq = made.seq
        for t in [0.2, *times]:
            made.at = int(t * S)
            made.up("PA", sent, seq=seq)
        streams.append([p for p in made.packets if p.data[12:16] == ip_address(CLIENT).packed])
    findings = found(tmp_path, *streams, ping(30 * S))
    assert problems(findings) == ({"stalled"} if told else set())
    if told:
        assert findings["stalled"].text == (
            "6 connections stood still for up to 4.3 s because data to 198.51.100.20:80 was not acknowledged and was sent again 24 times."
        )


def test_a_standstill_lasts_until_the_acknowledgment(tmp_path: Path) -> None:
    made = resent([0.3, 0.9, 2.1, 4.5], acked=False)
    made.at = 20 * S
    made.down("A")
    findings = found(tmp_path, made.packets, ping(30 * S))
    this = findings["stalled"]
    assert (round(this.values["longest_s"], 1), this.values["never_acknowledged"]) == (20.0, 0)
    assert (this.frames[-1][1], len(this.frames)) == (9, 6)  # the acknowledgment is cited
    assert "packet-loss" not in findings  # the same repeats, told once


def test_a_standstill_without_end_lasts_until_the_last_try(tmp_path: Path) -> None:
    """Nobody knows whether another one was made, or waited for."""
    this = found(tmp_path, resent([0.3, 0.9, 2.1, 4.5], acked=False).packets, ping(30 * S))["stalled"]
    assert this.values["longest_s"] == pytest.approx(4.5, abs=0.02)
    assert "stood still for at least 4.5 s" in this.text


def test_an_answer_that_is_lost_is_not_taken_for_a_lost_request(tmp_path: Path) -> None:
    """The server acknowledges with its answer and sends that again; then the client, which heard neither, repeats its request."""
    made = Talk((CLIENT, 40_000), WEB)
    for t in (0, S):  # a handshake that was repeated does not tell the round trip
        made.at = t
        made.up("S", seq=1000)
        made.down("SA", seq=5000)
    made.seq, made.back, made.at = 1001, 5001, 3 * S
    made.up("A")
    made.up("PA", GET)
    answer = made.down("PA", OK)
    made.at = 6 * S
    made.again(answer)
    made.up("PA", GET, seq=1001, ack=5001)
    made.down("A")
    made.at = 7 * S
    made.up("A")
    this = found(tmp_path, close(made).packets, ping(30 * S))["stalled"]
    assert "because data from 198.51.100.20:80 was not acknowledged" in this.text


def test_few_losses_that_cost_less_than_a_second(tmp_path: Path) -> None:
    """The third sending is the last segment of the connection: how long it was waited for is not in the capture."""
    made = exchange(talk())
    seq, back = made.seq, made.back
    made.up("PA", GET)
    made.down("PA", OK)
    for ms in (200, 400):
        made.at += ms * MS
        made.up("PA", GET, seq=seq, ack=back)  # it heard nothing
        made.down("PA", OK, seq=back)
    assert not {"packet-loss", "stalled"} & problems(found(tmp_path, made.packets, ping(30 * S)))


def test_who_sends_again_three_times_heard_nothing_though_nobody_else_is_heard(tmp_path: Path) -> None:
    packets = only(resent([0.5, 1.5, 3.5], acked=False).packets[3:], CLIENT)
    other = close(exchange(talk(client="192.0.2.11", port=40_500))).packets
    assert found(tmp_path, packets, other, ping(6 * S))["stalled"].values["never_acknowledged"] == 1


def test_a_quick_repair_is_no_problem(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, close(resent([0.3])).packets, ping(30 * S)))


def test_a_second_recording_is_no_loss(tmp_path: Path) -> None:
    packets = close(exchange(talk(), answer=OK + bytes(400))).packets
    for k, p in enumerate(packets):  # with IP identifications
        packets[k] = dataclasses.replace(p, data=p.data[:4] + (k + 1).to_bytes(2, "big") + p.data[6:])
    copies = [dataclasses.replace(p, at=p.at + 500_000) for p in packets]
    assert not found(tmp_path, packets, copies)


def test_a_repeat_after_the_peer_left_costs_nobody_anything(tmp_path: Path) -> None:
    made = exchange(talk())
    made.down("FA")
    seq = made.seq
    made.up("PA", b"bye")
    for t in (1, 3, 7):
        made.at = t * S
        made.up("PA", b"bye", seq=seq)
    assert not problems(found(tmp_path, made.packets, ping(30 * S)))


def lossy(spurious: bool, count: int = 40, wait: int = 400 * MS, rests: int = 0) -> list[Packet]:
    """``count`` segments, of which every eighth comes again after ``wait``; acknowledged at once if the repeats were needless."""
    made = exchange(talk())
    for k in range(count):
        seq = made.back
        made.down("PA", 1000)
        if spurious or k % 8:
            made.up("A")
        if k % 8 == 0:
            made.at += wait
            made.down("PA", 1000, seq=seq)
            made.up("A")
    made.at += rests
    return close(made).packets


def test_loss_that_costs_time(tmp_path: Path) -> None:
    this = found(tmp_path, lossy(spurious=False))["packet-loss"]
    assert (this.severity, this.values["resent"]) == ("problem", 5)


@pytest.mark.parametrize(("rests", "severity"), [(0, "problem"), (20 * S, "warning")])
def test_loss_that_costs_a_large_part_of_the_time(tmp_path: Path, rests: int, severity: str) -> None:
    assert found(tmp_path, lossy(spurious=False, count=56, wait=110 * MS, rests=rests))["packet-loss"].severity == severity


@pytest.mark.parametrize(("wait", "severity"), [(400 * MS, "problem"), (50 * MS, "warning")])
def test_loss_beside_a_standstill(tmp_path: Path, wait: int, severity: str) -> None:
    """What stands still is told by itself; the rest is judged without it."""
    made = exchange(talk())
    seq = made.back
    made.down("PA", 1000)
    made.at += 4 * S
    made.down("PA", 1000, seq=seq)
    made.up("A")
    for k in range(60):
        seq = made.back
        made.down("PA", 1000)
        if k % 8 == 0:
            made.at += wait
            made.down("PA", 1000, seq=seq)
        made.up("A")
    this = found(tmp_path, close(made).packets)
    assert this["stalled"].severity == "problem"
    assert this["packet-loss"].severity == severity


def test_repeats_of_what_had_arrived_are_no_loss(tmp_path: Path) -> None:
    assert "packet-loss" not in found(tmp_path, lossy(spurious=True))


def shut(reopens: bool, lasts: int) -> list[Packet]:
    made = exchange(talk())
    made.down("PA", 1000)
    made.up("A", window=0)
    begun, probes = made.at, 0
    while made.at < begun + lasts:
        made.at += S
        made.down("A", 1, seq=made.back)
        made.up("A", window=0)
        probes += 1
    if reopens:
        made.up("A", window=1000)
        made.down("PA", 1000)
        made.up("A")
        close(made)
    return made.packets


def test_a_window_that_is_shut_for_seconds(tmp_path: Path) -> None:
    this = found(tmp_path, shut(reopens=True, lasts=31 * S))["zero-window"]
    assert this.severity == "problem"
    assert found(tmp_path, shut(reopens=True, lasts=4 * S))["zero-window"].severity == "warning"
    assert "192.0.2.10 did not read" in this.text


@pytest.mark.parametrize(("lasts", "severity"), [(4 * S, "warning"), (31 * S, "problem")])
def test_a_window_that_never_opens(tmp_path: Path, lasts: int, severity: str) -> None:
    assert found(tmp_path, shut(reopens=False, lasts=lasts))["zero-window-stuck"].severity == severity


def test_a_window_of_zero_on_the_last_acknowledgment(tmp_path: Path) -> None:
    made = exchange(talk())
    made.down("FA")
    made.up("A", window=0)
    made.up("FA", window=0)
    made.down("A")
    assert not found(tmp_path, made.packets, ping(30 * S))


def test_a_reset_while_a_request_is_open(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", GET)
    made.down("A")
    made.down("RA")
    assert found(tmp_path, made.packets, healthy(at=S))["reset"].severity == "warning"  # the same was sent again at once, and answered
    this = found(tmp_path, made.packets, healthy(at=60 * S))["reset"]
    assert this.severity == "problem"
    assert "1 of 2 connections was reset by 198.51.100.20:80 while a request was open" in this.text


@pytest.mark.parametrize(("size", "n"), [(200, 2), (20_000, 0)])
def test_uploads_that_are_reset_and_what_is_sent_to_the_same_place_then(tmp_path: Path, size: int, n: int) -> None:
    """A short one is no repeat of a long one."""
    packets: list[Packet] = []
    for k in range(2):
        made = talk(40_000 + k, k * 20 * S)
        made.up("PA", b"PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n")
        for _ in range(12):
            made.up("A", 1400)
        made.down("A")
        made.down("RA")
        head = f"PUT /up HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
        again = talk(41_000 + k, k * 20 * S + S)
        again.up("PA", head)
        for at in range(0, size, 1400):
            again.up("A", min(1400, size - at))
        again.down("A")
        again.down("PA", b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        packets += made.packets + close(again).packets
    this = found(tmp_path, packets, ping(60 * S))["reset"]
    assert (this.severity, this.values["while_asked"]) == (("problem", n) if n else ("warning", 0))


def test_a_reset_in_place_of_an_answer_of_rtsp(tmp_path: Path) -> None:
    """A server that has answered so far, each request once."""
    made = talk()
    made.up("PA", b"OPTIONS rtsp://198.51.100.20/ RTSP/1.0\r\nCSeq: 1\r\n\r\n")
    made.down("PA", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")
    made.up("PA", b"GET_PARAMETER rtsp://198.51.100.20/ RTSP/1.0\r\nCSeq: 2\r\n\r\n")
    made.down("RA")
    this = found(tmp_path, made.packets, healthy(at=S))["reset"]
    assert "was reset by 198.51.100.20:80 while a request was open" in this.text


@pytest.mark.parametrize("ending", ["after a FIN", "idle client", "late data"])
def test_harmless_resets(tmp_path: Path, ending: str) -> None:
    made = exchange(talk())
    if ending == "after a FIN":
        made.down("FA")
        made.up("A")
        made.up("RA")
    elif ending == "idle client":
        made.at += 60 * S
        made.up("RA")
    else:
        made.up("FA")
        made.down("PA", OK)
        made.up("R", ack=0)
    assert not problems(found(tmp_path, made.packets, ping(90 * S)))


# -- time --


def test_a_slow_server(tmp_path: Path) -> None:
    this = found(tmp_path, close(exchange(talk(), wait=6 * S)).packets, healthy())["slow-server"]
    assert (this.severity, round(this.values["longest_s"])) == ("problem", 6)
    assert this.text.startswith(f"1 of 2 HTTP requests, to {SERVER}:80, waited 6.0 s for the answer's first byte")
    assert "proxy" in this.advice


def test_a_pause_of_the_client_is_not_the_servers(tmp_path: Path) -> None:
    made = exchange(talk())
    made.at += 20 * S
    assert not found(tmp_path, close(exchange(made)).packets)


def test_a_request_at_the_end_is_pending(tmp_path: Path) -> None:
    made = talk(at=28 * S)
    made.up("PA", GET)
    made.down("A")
    assert not problems(found(tmp_path, made.packets, ping(30 * S)))


def test_an_answer_that_passed_unseen_is_not_late(tmp_path: Path) -> None:
    made = exchange(talk(), wait=6 * S)
    packets = [p for p in close(made).packets if OK not in p.data]
    assert not problems(found(tmp_path, packets, ping(30 * S)))


def test_a_slow_connect(tmp_path: Path) -> None:
    made = Talk((CLIENT, 40_000), WEB)
    for t in (0, S, 3 * S, 7 * S):
        made.at = t
        made.up("S", seq=1000)
    made.seq = 1001
    made.down("SA")
    made.up("A")
    this = found(tmp_path, close(exchange(made)).packets)["slow-connect"]
    assert (this.severity, this.values["syns"]) == ("problem", 4)


def test_syns_that_come_again_behind_their_answer_count(tmp_path: Path) -> None:
    made = Talk((CLIENT, 40_000), WEB)
    for t in (0, 3 * S):
        made.at = t
        made.up("S", seq=1000)
        made.down("SA", seq=5000)
    made.seq, made.back, made.at = 1001, 5001, 4 * S
    made.up("A")
    this = found(tmp_path, close(exchange(made)).packets)["slow-connect"]
    assert this.values["syns"] == 2
    assert "(2 SYNs and 2 SYN+ACKs)" in this.text


@pytest.mark.parametrize(("greets", "asks_early", "told"), [(False, False, False), (True, False, True), (False, True, True)])
def test_a_server_that_repeats_its_answer_until_data_comes(tmp_path: Path, greets: bool, asks_early: bool, told: bool) -> None:
    """As by TCP_DEFER_ACCEPT: who has nothing to say yet, and waits for no greeting, does not notice."""
    made = talk()
    if asks_early:
        made.up("PA", GET)
    for _ in range(3):
        made.at += 3 * S
        made.down("SA", seq=made.back - 1)
        made.up("A")
    if greets:
        made.down("PA", b"220 a\r\n")
    made = exchange(made) if not asks_early else made
    assert ("slow-connect" in found(tmp_path, close(made).packets)) == told


def test_a_lost_syn_is_a_warning(tmp_path: Path) -> None:
    made = Talk((CLIENT, 40_000), WEB)
    made.up("S", seq=1000)
    made.at = S
    made.up("S", seq=1000)
    made.seq = 1001
    made.down("SA")
    made.up("A")
    assert found(tmp_path, close(exchange(made)).packets)["slow-connect"].severity == "warning"


def test_a_slow_download_is_a_warning(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", GET)
    for _ in range(150):
        made.down("PA", b"HTTP/1.1 200 OK\r\n\r\n" + bytes(981))
        made.at += 20 * MS
        made.up("A")
    assert found(tmp_path, close(made).packets)["slow-transfer"].severity == "warning"


@pytest.mark.parametrize(("acknowledged", "window", "told"), [(True, 1000, True), (False, 1000, False), (True, 0, False)])
def test_a_server_that_pauses_by_itself(tmp_path: Path, acknowledged: bool, window: int, told: bool) -> None:
    made = talk()
    made.up("PA", GET)
    made.down("PA", b"HTTP/1.1 200 OK\r\nContent-Length: 280000\r\n\r\n")
    for _ in range(5):
        for _ in range(40):
            made.down("A", 1400)
        if acknowledged:
            made.up("A", window=window)
        made.at += 2 * S
        if window == 0:
            made.up("A", window=1000)
    made.up("A")
    text = str([each.text for each in found(tmp_path, close(made).packets).values()])
    assert ("the server sent nothing for 8.0 s" in text) == told


def keeps_waiting(message: bytes) -> Talk:
    """A client that takes six seconds for this message of its handshake."""
    made = talk(server=TLS)
    made.up("PA", HELLO)
    made.down("PA", b"\x16\x03\x03\x00\x32\x02" + bytes(49))
    made.up("A")
    made.at += 6 * S
    made.up("PA", b"\x16\x03\x03\x00\x46" + message + bytes(69))
    return close(made)


def test_a_slow_client(tmp_path: Path) -> None:
    assert found(tmp_path, keeps_waiting(b"\x10").packets)["slow-client"].severity == "problem"


def test_a_person_chooses_the_certificate_of_a_client(tmp_path: Path) -> None:
    assert "slow-client" not in found(tmp_path, keeps_waiting(b"\x0b").packets)


# -- leaks --


def test_connections_that_stay_open(tmp_path: Path) -> None:
    held = [p for k in range(25) for p in exchange(talk(40_000 + k, k * 60 * S)).packets]
    this = found(tmp_path, held, *(ping(t * 600 * S) for t in range(5)))
    assert this["never-closed"].severity == "warning"
    assert not problems(this)
    by_ipv6 = [p for k in range(25) for p in exchange(talk(40_000 + k, k * 60 * S, ("2001:db8::20", 80), "2001:db8::10")).packets]
    assert "to [2001:db8::20]:80 " in found(tmp_path, by_ipv6, *(ping(t * 600 * S) for t in range(5)))["never-closed"].text


def test_a_file_of_requests_and_answers_alone_tells_nothing_of_what_was_left_out(tmp_path: Path) -> None:
    held = [p for k in range(25) for p in exchange(talk(40_000 + k, k * 60 * S)).packets]
    made = exchange(talk(41_000))
    made.back += 3_000  # was left out
    exchange(made)
    made.up("PA", GET)  # and what is said to this
    contents = [p for p in [*held, *made.packets] if int.from_bytes(p.data[2:4], "big") > 20 + (p.data[32] >> 4) * 4]
    assert not {"never-closed", "capture-loss", "slow-server"} & found(tmp_path, contents, *(ping(t * 600 * S) for t in range(5))).keys()


def test_what_is_open_at_the_end_is_no_leak(tmp_path: Path) -> None:
    held = [p for k in range(25) for p in exchange(talk(40_000 + k, k * S)).packets]
    assert not found(tmp_path, held, ping(40 * S))


def test_an_idle_pool(tmp_path: Path) -> None:
    held = [p for k in range(12) for p in exchange(talk(40_000 + k, k * MS)).packets]
    assert found(tmp_path, held, ping(90 * S))["idle-pool"].severity == "warning"


def test_half_closed(tmp_path: Path) -> None:
    made = exchange(talk())
    made.down("FA")
    made.up("A")
    assert found(tmp_path, made.packets, ping(300 * S))["half-closed"].severity == "warning"
    assert "half-closed" not in found(tmp_path, made.packets, ping(15 * S))


# -- sight --


def test_what_the_recorder_missed(tmp_path: Path) -> None:
    packets = [p for k in range(4) for p in close(exchange(talk(40_000 + k, k * S), answer=OK + bytes(900))).packets if OK not in p.data]
    this = found(tmp_path, packets)
    assert this["capture-loss"].severity == "warning"
    assert not problems(this)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    esp = bytes.fromhex("4500003c00000000403200000a0000010a000002") + bytes(40)
    this = found(tmp_path, [Packet(k * MS, esp) for k in range(20)])
    assert this["unread-traffic"].severity == "warning"
    assert not this["unread-traffic"].advice
    assert not problems(this)


def cut_to(length: int, packets: list[Packet]) -> list[Packet]:
    return [dataclasses.replace(p, data=p.data[:length], cut=len(p.data[length:])) for p in packets]


def test_frames_that_were_cut_behind_their_headers(tmp_path: Path) -> None:
    """So that no error can be read."""
    packets = [p for k in range(3) for p in close(exchange(talk(40_000 + k, k * S), answer=b"HTTP/1.1 500 Oops\r\n\r\n")).packets]
    this = found(tmp_path, cut_to(42, packets))["unread-traffic"]
    text = (
        "were cut short when they were captured: nothing above TCP can be read on 3 of 3 connections, so failures there are not reported."
    )
    assert (this.severity, this.values["unread_connections"]) == ("warning", 3)
    assert text in this.text
    assert this.text.endswith("Capture whole packets (tcpdump -s 0).")
    assert {"http-errors"} == problems(found(tmp_path, packets)) == problems(kept := found(tmp_path, cut_to(82, packets)))
    assert "unread-traffic" not in kept  # what matters of HTTP stands at its begin


def test_names_that_were_cut(tmp_path: Path) -> None:
    packets = [p for k in range(3) for p in lookup(f"shop{k}.example.test", k * S, 1, txid=k)]
    this = found(tmp_path, cut_to(46, packets))["unread-traffic"]
    assert this.severity == "warning"
    assert "6 of 6 frames were cut short when they were captured: no name can be read in 3 of 3 DNS lookups" in this.text
    assert "unread-traffic" not in found(tmp_path, packets)


def test_frames_that_were_cut_inside_their_headers(tmp_path: Path) -> None:
    this = found(tmp_path, cut_to(26, healthy()))["unread-traffic"]
    assert (this.severity, this.text.endswith("Capture whole packets (tcpdump -s 0).")) == ("warning", True)


def test_advice_names_the_resolver_and_the_name_that_were_seen(tmp_path: Path) -> None:
    asked = [p for k in range(4) for at in (0, 2) for p in lookup(f"n{k}.example.test", k * 100 * MS + at * S, txid=k)]
    assert "(dig @198.51.100.53 n0.example.test)" in found(tmp_path, asked, ping(30 * S))["dns-unanswered"].advice
    odd = [p for k in range(4) for at in (0, 2) for p in lookup(f"$(id){k}.test", k * 100 * MS + at * S, txid=k)]
    assert "(dig @RESOLVER NAME)" in found(tmp_path, odd, ping(30 * S))["dns-unanswered"].advice  # never in a command


def test_radio_frames_say_what_they_are_and_what_to_capture(tmp_path: Path) -> None:
    secret = bytes.fromhex("08410000020000000001020000000002020000000003") + b"\x10\0" + b"\1\0\0\x20" + bytes(60)
    path = write(tmp_path / "air.pcap", [Packet(k * MS, secret) for k in range(5)], 105)
    [said] = [f for f in netlens.analyze(path).findings if f.id == "unread-traffic"]
    assert "encrypted 802.11" in said.text
    assert "monitor mode" in said.advice


# -- all of them --


def test_a_lens_that_fails_takes_none_of_the_others_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [p for k in range(4) for at in (0, 2) for p in lookup(f"n{k}.example.test", k * 100 * MS + at * S, txid=k)]
    path = write(tmp_path / "x.pcap", [*asked, *ping(30 * S)])
    monkeypatch.setattr("netlens.lenses.dns_failed.look", lambda view: [][view.sessions.rows])
    with pytest.raises(IndexError):
        netlens.analyze(path)
    monkeypatch.delenv("NETLENS_DEBUG")
    told = {f.id: f for f in netlens.analyze(path).findings}
    assert set(told) == {"dns-unanswered", "unread-traffic"}
    assert "dns-failed" in told["unread-traffic"].text
    assert "a bug in netlens" in told["unread-traffic"].text
    assert "IndexError (list index out of range) at netlens/lenses/" in told["unread-traffic"].text


def test_every_id_of_the_design_is_a_lens() -> None:
    assert {lens.ID for lens in lenses.all_lenses()} >= {
        "dns-unanswered", "dns-failed", "dns-slow", "connect-unanswered", "connect-refused", "tls-failed", "port-scan", "http-errors", "refused",
        "packet-loss", "stalled", "zero-window", "zero-window-stuck", "reset", "slow-connect", "slow-client", "slow-server", "slow-transfer",
        "never-closed", "half-closed", "idle-pool", "capture-loss", "unread-traffic", "clock-set", "small-writes",
    }  # fmt: skip


def test_what_failed_stands_before_what_took_long_and_its_causes(tmp_path: Path) -> None:
    path = write(
        tmp_path / "many.pcap", mixed(resent([0.3, 0.9, 2.1, 4.5]).packets, refused(40_100, 0), lookups(5, missing=0, slow=2), ping(30 * S))
    )
    ids = [f.id for f in netlens.analyze(str(path)).findings if f.severity == "problem"]
    assert ids == ["connect-refused", "stalled", "dns-slow"]


def test_a_seam_is_no_wait(tmp_path: Path) -> None:
    """Two captures joined into one file, years apart."""
    made = talk()
    made.up("PA", GET)
    later = [dataclasses.replace(p, at=p.at + 10**8 * S) for p in healthy()]
    assert not problems(found(tmp_path, made.packets, later))


def test_a_broken_handshake_number_crashes_nothing(tmp_path: Path) -> None:
    odd = [
        Packet(k * MS, segment((CLIENT, 1), WEB, flags, 2**32 - k, k, bytes(k)))
        for k, flags in enumerate(["S", "SF", "SR", "FA", "R", "", "UPA"])
    ]
    found(tmp_path, odd)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is the second opinion")
def test_filters_show_the_frames(tmp_path: Path) -> None:
    path = write(
        tmp_path / "shown.pcap", mixed(resent([0.3, 0.9, 2.1, 4.5]).packets, refused(40_100, 0), lookups(5, missing=2), ping(30 * S))
    )
    findings = netlens.analyze(str(path)).findings
    assert findings
    for f in findings:
        done = subprocess.run(
            ["tshark", "-r", str(path), "-Y", f.filter, "-T", "fields", "-e", "frame.number"], capture_output=True, text=True, check=True
        )
        assert [int(n) for n in done.stdout.split()] == [frame for _, frame in f.frames]


def flood(end: str, again: int = 0, hosts: int = 250, every: int = 10 * MS) -> list[Packet]:
    """150 SYNs and SYN+ACKs; some of these again."""
    packets: list[Packet] = []
    for k in range(150):
        made = Talk((f"203.0.113.{k % hosts}", 10_000 + k), WEB, at=k * every)
        made.up("S")
        made.down("SA")
        if end:
            made.up(end)
        if k < again:
            made.at += S
            made.again(1)
        packets += made.packets
    return packets


@pytest.mark.parametrize(
    ("packets", "told"),
    [
        ([*flood("", 100), *ping(30 * S)], True),
        ([*flood(""), *healthy(at=5 * S), *ping(30 * S)], True),
        ([*flood(""), *ping(30 * S)], False),  # a filter for SYNs shows no more
        ([*flood("A"), *healthy(at=5 * S), *ping(30 * S)], False),
        ([*flood("R"), *healthy(at=5 * S), *ping(30 * S)], False),  # checks whether a server is there
        ([*flood("", 100, hosts=20), *ping(30 * S)], False),
        ([*flood("", 150, every=300 * S), *ping(50_000 * S)], False),  # scanners that come by
    ],
    ids=["answered again", "others completed", "SYNs only", "completed", "reset", "few", "slow"],
)
def test_handshakes_that_nobody_completes(tmp_path: Path, packets: list[Packet], told: bool) -> None:
    text = next((f.text for f in [found(tmp_path, packets).get("connect-unanswered")] if f), "")
    assert ("were never completed: the server answered, and nothing came after it, from 150 addresses." in text) == told


@pytest.mark.parametrize(
    ("packets", "told"),
    [
        pytest.param(flood("", 100, hosts=1), True, id="one address"),
        pytest.param(flood("R", hosts=1), False, id="reset"),
        pytest.param(flood("", 30, hosts=1)[:90], False, id="few"),
        pytest.param(flood("", 150, hosts=1, every=10 * S), False, id="slow"),
    ],
)
def test_handshakes_that_one_address_does_not_complete(tmp_path: Path, packets: list[Packet], told: bool) -> None:
    this = found(tmp_path, [*packets, *healthy(at=5 * S), *ping(2000 * S)]).get("connect-unanswered")
    assert (this is not None and this.severity == "problem") == told
    assert not told or (this is not None and "nothing came after it, from 1 address." in this.text)


def shower(hosts: int = 250, apart: int = MS, again: int = 0) -> list[Packet]:
    """200 SYNs that nobody answers; some are sent again."""
    return [
        Packet(at, segment((f"203.0.113.{k % hosts}", 10_000 + k), WEB, "S", 1000 * k))
        for k in range(200)
        for at in (k * apart, *([k * apart + S] if k < again else []))
    ]


@pytest.mark.parametrize(
    ("packets", "told"),
    [
        pytest.param([*shower(), *healthy(at=5 * S), *ping(9 * S)], True, id="of many addresses"),
        pytest.param([*shower(), *ping(S)], False, id="at the end"),
        pytest.param(shower(), False, id="SYNs alone"),
        pytest.param([*shower(hosts=50), *ping(9 * S)], False, id="of some addresses"),
        pytest.param([*shower(apart=20 * MS), *ping(9 * S)], False, id="one by one"),
        pytest.param([*shower(again=30), *ping(9 * S)], False, id="clients"),
    ],
)
def test_a_shower_of_syns(tmp_path: Path, packets: list[Packet], told: bool) -> None:
    findings = netlens.analyze(str(write(tmp_path / "made.pcap", mixed(packets)))).findings
    assert [(f.severity, f.text) for f in findings if "flood" in f.text] == [
        (
            "warning",
            "200 SYNs to 198.51.100.20:80 came from 200 addresses at once, as in a SYN flood: none was answered, and nobody sent them again.",
        )
    ] * told
    assert not told or [f.id for f in findings].count("connect-unanswered") == 1


def unheeded(again: bool = False, hosts: int = 250, answered: int = 20, first: int = 0) -> list[Packet]:
    """200 SYNs, of which a server answers a few, again and again. ``again``: the others are sent again. ``first``: that is answered."""
    packets: list[Packet] = []
    for k in range(200):
        made = Talk((f"203.0.113.{k % hosts}", 10_000 + k), WEB, at=k * 10 * MS)
        made.up("S")
        heard = first <= k < first + answered
        if heard:
            made.down("SA")
        if heard or again:
            made.at += S
            made.again(int(heard))
        packets += made.packets
    return packets


def test_more_syns_than_a_server_has_room_for(tmp_path: Path) -> None:
    this = found(tmp_path, [*unheeded(), *healthy(at=5 * S), *ping(30 * S)])["connect-unanswered"]
    assert this.severity == "problem"
    assert this.text == (
        "200 of 201 connections to 198.51.100.20:80 came to nothing, as in a SYN flood, from 200 addresses: the server answered 20, and nothing came after "
        "it; 180 SYNs it did not answer, and nobody sent them again."
    )
    assert "SYN flood" in this.advice


def sampled() -> list[Packet]:
    """Of some connections the recorder has the middle only."""
    packets: list[Packet] = []
    for k in range(40):
        packets += exchange(talk(20_000 + k, 6 * S + k * 10 * MS)).packets[3:]
    return packets


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*unheeded(), *sampled()], id="sampled"),
        pytest.param(unheeded(answered=5), id="scanners that a filter lets by"),
        pytest.param(unheeded(first=5), id="some in vain from the beginning"),
    ],
)
def test_syns_in_vain_that_are_no_flood(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, [*packets, *healthy(at=5 * S), *ping(30 * S)]).get("connect-unanswered")
    assert this is None or this.severity != "problem"
    assert this is None or "flood" not in this.text


def test_a_filter_for_syns_that_misses_some_answers(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(200):
        made = Talk((f"203.0.113.{k}", 10_000 + k), WEB, at=k * 10 * MS)
        made.up("S")
        if k % 2:
            made.down("SA")
        packets += made.packets
    assert "connect-unanswered" not in found(tmp_path, [*packets, *ping(30 * S)])


def test_a_server_that_answers_others(tmp_path: Path) -> None:
    silent = Talk(("192.0.2.99", 10_000), WEB)
    silent.up("S")
    for wait in (1, 2):
        silent.at += wait * S
        silent.again(0)
    this = found(tmp_path, [*silent.packets, *healthy(at=S), *ping(30 * S)])["connect-unanswered"]
    assert this.text.startswith("1 of 2 clients (192.0.2.99) never got an answer from 198.51.100.20:80 (3 tries over 3.0 s")


@pytest.mark.parametrize("packets", [unheeded(again=True), unheeded(hosts=20), unheeded(answered=0)], ids=["clients", "few", "no server"])
def test_syns_that_are_no_flood(tmp_path: Path, packets: list[Packet]) -> None:
    findings = netlens.analyze(str(write(tmp_path / "made.pcap", mixed([*packets, *healthy(at=5 * S), *ping(30 * S)])))).findings
    assert not [each for each in findings if "came to nothing" in each.text]


def leaves(number: int, closed: bool = False, streams: bool = False) -> list[Packet]:
    """An exchange after which the client closes, and the server acknowledges that."""
    made = exchange(talk(41_000 + number, number * 100 * MS, (SERVER, 7000)))
    made.up("FA")
    made.down("A")
    if streams:
        made.at += 10 * S
        made.down("PA", 100)
        made.up("A")
    if closed:
        made.down("FA")
        made.up("A")
    return made.packets


@pytest.mark.parametrize(
    ("packets", "told"),
    [
        ([p for k in range(25) for p in leaves(k)], True),
        ([p for k in range(25) for p in leaves(k, closed=k == 7)], False),
        ([p for k in range(25) for p in leaves(k, streams=True)], False),
        ([p for k in range(10) for p in leaves(k)], False),
    ],
    ids=["none", "one is closed", "it streams on", "few"],
)
def test_a_server_that_closes_none_of_many(tmp_path: Path, packets: list[Packet], told: bool) -> None:
    this = found(tmp_path, packets, healthy(), ping(15 * S))
    assert ("half-closed" in this) == told
    if told:
        assert this["half-closed"].severity == "warning"
        assert this["half-closed"].text.startswith(
            "25 connections stayed half-closed for up to 15.0 s: the peer had closed and 198.51.100.20 did not."
        )


def _opened_after(wait: int, number: int) -> list[list[Packet]]:
    """Connections whose SYN is answered so late, and one SYN that is not answered."""
    made = [talk(41_000 + k, k * S, step=wait) for k in range(number)]
    return [*(each.packets for each in made), syns(43_000, [0, 300 * S, 900 * S])]


def test_times_that_cannot_be_right(tmp_path: Path) -> None:
    """A segment lives two minutes at most."""
    this = found(tmp_path, *_opened_after(900 * S, 4))
    assert this["clock-set"].severity == "warning"
    assert this["clock-set"].text.startswith("The capture's times cannot be right: 4 SYNs had to wait 15 min for an answer (median)")
    assert not {id_ for id_, each in this.items() if "longest_s" in each.values} - {"clock-set"}
    for streams in (_opened_after(900 * S, 2), [*_opened_after(900 * S, 3), *(healthy(42_000 + k, k * S) for k in range(9))]):
        assert "clock-set" not in found(tmp_path, *streams)
    assert "clock-set" not in found(tmp_path, *_opened_after(3 * S, 4))
    assert found(tmp_path, *_opened_after(7 * 86_400 * S, 1))["clock-set"].severity == "warning"


def test_a_reset_behind_a_silence_says_how_long_it_was(tmp_path: Path) -> None:
    made = exchange(talk())
    made.at += 30 * S
    made.down("RA")
    this = found(tmp_path, made.packets)["reset"]
    assert (this.severity, this.text) == (
        "note",
        "1 of 1 connection, with 198.51.100.20:80, ended with a reset from the server instead of a close, after 30.0 s without data.",
    )


def test_a_slow_lookup_is_named_with_its_resolver(tmp_path: Path) -> None:
    this = found(tmp_path, lookup("www.example.test", 0, 1500 * MS))["dns-slow"]
    assert this.text == "1 of 1 DNS question took 1.5 s (198.51.100.53): www.example.test."
    assert this.advice == "Time the resolver (dig @198.51.100.53 www.example.test)."


def test_a_lookup_that_has_to_come_over_tcp_is_named_where_nothing_answers_there(tmp_path: Path) -> None:
    this = found(tmp_path, truncated(0), syns(45_000, [MS, S, 3 * S], (RESOLVER, 53)), ping(30 * S))["connect-unanswered"]
    assert this.text.endswith("; it had answered over UDP that the answer is too long for it (TC, truncated): big.example.test (TXT).")
    assert this.advice.endswith("allow TCP port 53 to the resolver.")
    other = found(tmp_path, truncated(0), syns(45_000, [MS, S, 3 * S], ("203.0.113.53", 53)), ping(30 * S))["connect-unanswered"]
    assert "TC" not in other.text
