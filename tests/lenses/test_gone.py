"""Resolvers, servers and ways that are there no more: what was asked of them, and how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP

import netlens
from netlens.api import Capture
from netlens.report import overview
from tests.lenses.made import (
    CLIENT,
    GET,
    MS,
    RESOLVER,
    SERVER,
    S,
    close,
    exchange,
    found,
    healthy,
    lookup,
    ping,
    problems,
    said_behind,
    talk,
)
from tests.parsers.build import T0, Packet, Talk, _ip, datagram, mixed, write

DEAD = "198.51.100.99"


def asked_of(resolver: str, name: str, at: int, port: int, answered: bool) -> list[Packet]:
    packets = [Packet(at, datagram((CLIENT, port), (resolver, 53), bytes(DNS(id=port, rd=1, qd=DNSQR(qname=name)))))]
    if answered:
        reply = bytes(DNS(id=port, qr=1, qd=DNSQR(qname=name), an=[DNSRR(rrname=name, rdata=SERVER)]))
        packets.append(Packet(at + 5 * MS, datagram((resolver, 53), (CLIENT, port), reply)))
    return packets


def test_a_resolver_that_never_answers_and_the_next_that_does(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(3):
        packets += asked_of(DEAD, f"w{k}.example.test", 10 * k * S, 5_000 + k, answered=False)
        packets += asked_of(RESOLVER, f"w{k}.example.test", (10 * k + 5) * S, 6_000 + k, answered=True)
    this = found(tmp_path, packets, healthy())
    assert problems(this) == {"dns-unanswered"}
    assert "dns-slow" not in this
    assert this["dns-unanswered"].text == (
        "198.51.100.99 never answered a DNS query (3 tries): 3 questions waited up to 5.0 s until 198.51.100.53 was asked."
    )
    assert "dig @198.51.100.99 w0.example.test" in this["dns-unanswered"].advice


def test_resolvers_asked_side_by_side_of_which_one_is_silent(tmp_path: Path) -> None:
    packets = [*asked_of(DEAD, "w.example.test", 0, 5_000, answered=False), *asked_of(RESOLVER, "w.example.test", 0, 6_000, answered=True)]
    assert not problems(found(tmp_path, packets, healthy(), ping(30 * S)))


@pytest.mark.parametrize("by", ["server", "client", "answered"])
def test_a_request_in_clear_on_which_the_server_closes(tmp_path: Path, by: str) -> None:
    made = talk()
    made.up("PA", GET)
    made.down("A")
    if by == "answered":
        made.down("PA", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    if by == "client":
        made.up("FA")
        made.down("A")
    made.down("FA")
    made.up("A")
    this = found(tmp_path, made.packets, healthy(at=5 * S), ping(30 * S))
    assert ("closed-unanswered" in problems(this)) == (by == "server")
    if by == "server":
        assert this["closed-unanswered"].text == "1 of 2 HTTP requests got no answer: 198.51.100.20:80 closed the connection instead."


def sent_late(port: int, known: bool = True) -> list[Packet]:
    """A request on a connection that its server has closed; ``known``: the client's host had acknowledged that."""
    made = exchange(talk(port, at=(port - 40_000) * 10 * S))
    made.at += 2 * S
    before = made.back
    made.down("FA")
    if known:
        made.up("A")
    made.at += S
    made.up("PA", GET, ack=None if known else before)
    made.down("R", seq=made.back)
    return made.packets


@pytest.mark.parametrize(
    ("known", "why"),
    [
        pytest.param([True], "it was sent on a connection that 198.51.100.20:80 had closed 1.0 s before", id="one"),
        pytest.param([True, True], "they were sent on connections that 198.51.100.20:80 had closed up to 1.0 s before", id="two"),
        pytest.param([True, False], "198.51.100.20:80 closed the connection instead (1 of them 1.0 s before)", id="one of two"),
        pytest.param([False], "198.51.100.20:80 closed the connection instead", id="it could not know"),
    ],
)
def test_a_request_on_a_connection_that_was_closed_before(tmp_path: Path, known: list[bool], why: str) -> None:
    this = found(tmp_path, *(sent_late(40_000 + k, each) for k, each in enumerate(known)), ping(60 * S))["closed-unanswered"]
    n = len(known)
    assert this.text == f"{n} of {2 * n} HTTP requests got no answer: {why}."
    assert this.severity == "problem"
    assert this.advice.startswith("Let the client close idle connections sooner" if any(known) else "Look at the server's log")


def chat(gap: int, reply: str) -> Talk:
    """Two lines of a protocol that nobody knows; behind the second, a RST with these flags."""
    made = talk(server=(SERVER, 7_000))
    made.up("PA", b"ab")
    made.down("A")
    made.down("PA", b"cd")
    made.up("A")
    made.at += gap
    made.up("PA", b"hello")
    made.down(reply, seq=made.back)
    return made


def test_data_that_is_answered_as_if_nobody_knew_the_connection(tmp_path: Path) -> None:
    this = found(tmp_path, chat(7 * S, "R").packets, healthy(), ping(30 * S))
    assert problems(this) == {"reset"}
    assert this["reset"].text == "1 of 2 connections was reset by 198.51.100.20:7000 when data came, as if it did not know the connection."


def test_a_program_that_closes_with_data_unread_knows_its_connection(tmp_path: Path) -> None:
    assert not problems(found(tmp_path, chat(7 * S, "RA").packets, healthy(), ping(30 * S)))


def closed_upon(answer: bytes, heard: bool, goes_on: list[int], closes_first: bool = False) -> list[Packet]:
    """A second question, upon which the server closes and resets what comes then (sizes of segments). ``heard``: it had the question when it closed."""
    made = talk(server=(SERVER, 7_000))
    made.up("PA", b"ab")
    made.down("PA", b"cd")
    made.up("A")
    before = made.seq
    made.up("PA", bytes(45))
    if closes_first:
        made.up("FA")
    if answer:
        made.down("PA", answer)
    made.down("FA", ack=None if heard else before)
    for size in goes_on:
        made.up("PA", bytes(size))
        made.down("R", seq=made.back)
    return made.packets


def test_a_server_that_closes_on_a_question_and_resets_what_comes_then(tmp_path: Path) -> None:
    this = found(tmp_path, closed_upon(b"", True, [27, 700]), healthy(), ping(30 * S))
    assert problems(this) == {"reset"}
    assert this["reset"].text == "1 of 2 connections was reset by 198.51.100.20:7000 while a request was open."


def refused_amid(first: bytes, no: bytes, port: int) -> list[Packet]:
    """An upload that the server refuses before it has come to its end; it goes on meanwhile."""
    made = talk(server=(SERVER, port))
    made.up("PA", first)
    heard = made.seq
    made.up("PA", bytes(900))
    made.down("PA", no, ack=None if port == 80 else heard)
    made.up("PA", bytes(900))
    made.down("FA")
    made.up("PA", bytes(900))
    made.down("R", seq=made.back)
    return made.packets


@pytest.mark.parametrize(
    "packets",
    [
        refused_amid(b"put", b"no", 7_000),
        refused_amid(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n", b"HTTP/1.1 413 a\r\nContent-Length: 0\r\n\r\n", 80),
        closed_upon(b"no", True, [27, 700]),  # answered, if only by a no
        closed_upon(b"", False, [27, 700]),  # the question and the FIN crossed: an idle connection that was closed just then
        closed_upon(b"", True, [31]),  # a farewell
        closed_upon(b"", True, []),
    ],
)
def test_a_close_behind_which_nothing_is_lost(tmp_path: Path, packets: list[Packet]) -> None:
    assert "reset" not in problems(found(tmp_path, packets, healthy(), ping(30 * S)))


def kept_alive(answered: int, probes: int, ends: str) -> list[Packet]:
    """A connection that is idle but for keep-alives, of which the first are answered."""
    made = chat(0, "A")
    made.down("PA", b"ok")
    made.up("A")
    for k in range(probes):
        made.at += 2 * S
        made.up("A", seq=made.seq - 1)
        if k < answered:
            made.down("A")
    if ends:
        made.at += 2 * S
        made.up(ends)
    return made.packets


def test_keepalives_that_are_answered_no_more(tmp_path: Path) -> None:
    this = found(tmp_path, kept_alive(2, 6, "RA"), healthy(), ping(40 * S))
    assert problems(this) == {"stalled"}
    assert this["stalled"].text.startswith(
        "198.51.100.20:7000 stopped answering keep-alives on 1 connection (4 tries over 6.0 s); the other side"
    )


@pytest.mark.parametrize(("answered", "probes", "ends"), [(6, 6, ""), (6, 6, "FA"), (4, 6, ""), (6, 6, "RA")])
def test_keepalives_that_are_answered_or_missed_once(tmp_path: Path, answered: int, probes: int, ends: str) -> None:
    assert "stalled" not in found(tmp_path, kept_alive(answered, probes, ends), healthy(), ping(40 * S))


def test_a_server_that_takes_some_connections_only(tmp_path: Path) -> None:
    tried = []
    for k in range(2):
        made = Talk((CLIENT, 45_000 + k), (SERVER, 80), isn=k + 1, at=20 * S)
        for wait in (1, 2, 4):
            made.up("S", seq=k + 1)
            made.at += wait * S
        tried += made.packets
    this = found(tmp_path, tried, healthy(), ping(60 * S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text == (
        "2 of 3 connections to 198.51.100.20:80 never got an answer (up to 3 SYNs over 3.0 s), though others did."
    )


def downloading() -> Talk:
    """A download of which 20 segments have come."""
    made = talk()
    made.up("PA", GET)
    for k in range(20):
        made.down("A", (b"HTTP/1.1 200 OK\r\n\r\n" if k == 0 else b"") + bytes(1000))
        made.up("A")
    return made


def test_a_download_that_stood_still_as_its_receiver_saw_it(tmp_path: Path) -> None:
    """The receiver sees a silence, and then what it had acknowledged once more."""
    made = downloading()
    last = made.packets[-2]
    made.at += 7 * S
    made.again(last)
    made.up("A")
    for _ in range(5):
        made.down("A", 1000)
        made.up("A")
    this = found(tmp_path, close(made).packets, healthy(), ping(60 * S))
    assert problems(this) == {"stalled"}
    assert this["stalled"].text.startswith("1 connection stood still for up to 7.0 s because data from 198.51.100.20:80")


def test_an_acknowledgment_that_comes_too_soon_for_the_repeat_was_of_the_first_sending(tmp_path: Path) -> None:
    made = talk(step=50 * MS)
    made.up("PA", GET)
    for _ in range(5):
        made.down("PA", 100)
        made.up("A")
    made.down("PA", 100)
    made.at += 400 * MS
    made.again(made.packets[-1])
    made.at -= 45 * MS
    made.up("A")
    made.down("PA", 100)
    made.up("A")
    assert "packet-loss" not in found(tmp_path, close(made).packets, healthy())


def test_repeats_without_data_are_counted_one_by_one(tmp_path: Path) -> None:
    """What fills a hole late, as repeats do that a receiver sees, has data."""
    made = talk()
    made.up("PA", GET)
    start = made.back
    made.down("A", 1000, seq=start + 1000)
    made.at += 500 * MS
    made.down("A", 1000, seq=start)
    made.down("A", 1000, seq=start)
    syn = Talk((CLIENT, 47_000), (SERVER, 80), isn=9, at=S)
    syn.up("S", seq=9)
    syn.up("S", seq=9)
    path = write(tmp_path / "made.pcap", mixed(made.packets, syn.packets, close(exchange(talk(48_000))).packets))
    said = str(overview.lines(Capture([str(path)])))
    assert "3 frames sent again (1 of them FIN or SYN without data)" in said, said


def test_a_standstill_that_its_receiver_sees_by_the_hole_behind_it(tmp_path: Path) -> None:
    """What was lost first is sent first, so it seems to be new; what comes then leaves a hole."""
    made = downloading()
    made.at += 7 * S
    made.down("A", 1000)
    made.up("A")
    start = made.back
    made.down("A", 1000, seq=start + 1000)
    made.at += 20 * MS
    made.down("A", 1000, seq=start)
    made.back = start + 2000
    made.up("A")
    this = found(tmp_path, close(made).packets, healthy(), ping(60 * S))
    assert problems(this) == {"stalled"}
    assert "stood still for up to 7.0 s" in this["stalled"].text


def test_connections_that_are_held_idle_until_the_program_ends(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(12):
        made = exchange(talk(41_000 + k, k * S))
        made.at = 200 * S + k * MS
        packets += close(made).packets
    this = found(tmp_path, packets, ping(210 * S))
    assert this["idle-pool"].values["connections"] == 12


def test_a_name_that_the_server_refuses_while_it_serves_another(tmp_path: Path) -> None:
    from tests.parsers.test_pipeline import client_hello

    packets: list[Packet] = []
    for k, name in enumerate(["other.example.test", "other.example.test", "api.example.test"]):
        made = talk(41_000 + k, 100 * k * MS, (SERVER, 443))
        made.up("PA", client_hello(name))
        if name.startswith("other"):
            made.down("PA", b"\x15\x03\x03\x00\x02\x02\x70")
            made.down("FA")
        else:
            made.down("PA", b"\x16\x03\x03\x00\x40\x02\x00\x00\x3c" + bytes(60))
        packets += made.packets
    this = found(tmp_path, packets, healthy(), ping(30 * S))
    assert this["tls-failed"].severity == "problem"
    assert this["tls-failed"].text.startswith("2 of 3 TLS handshakes failed (unrecognized_name by the server)")


def test_a_resolver_that_answers_from_another_address(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(3):
        at, port = 5 * k * S, 5_000 + k
        query, reply = asked_of(DEAD, "w.example.test", at, port, answered=True)
        stray = Packet(reply.at, datagram((RESOLVER, 53), (CLIENT, port), reply.data[28:]))
        refused = unreachable_port(CLIENT, RESOLVER, stray.data, reply.at + MS)
        packets += [query, stray, refused]
    this = found(tmp_path, packets, healthy(), ping(40 * S))
    assert problems(this) == {"dns-unanswered"}
    assert this["dns-unanswered"].text == (
        "Queries to 198.51.100.99 were answered from 198.51.100.53, and 192.0.2.10 rejected the answers (3 times)."
    )


def unreachable_port(by: str, told: str, of: bytes, at: int) -> Packet:
    return Packet(at, bytes(IP(src=by, dst=told) / ICMP(type=3, code=3) / of[:36]))


def test_answers_of_which_fragments_are_missing(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(3):
        query, reply = asked_of(RESOLVER, "w.example.test", 5 * k * S, 5_000 + k, answered=True)
        first = IP(reply.data)
        first.flags, first.len, first.chksum, first.id = "MF", None, None, 77 + k
        packets += [query, Packet(reply.at, bytes(IP(bytes(first)[:20] + bytes(first)[20:44])))]
    this = found(tmp_path, packets, healthy(), ping(40 * S))
    assert "only some fragments of their answers arrived" in this["dns-unanswered"].text
    assert "let fragments through" in this["dns-unanswered"].advice


def pieces(tries: int, whole: int = 0) -> list[Packet]:
    """Every 1.5 s the same question, to which the first fragment of an answer comes; ``whole`` of them have the second as well."""
    packets: list[Packet] = []
    for k in range(tries):
        at, port = 1500 * k * MS, 5_000 + k
        query, reply = lookup("w.example.test", at, at + 20 * MS, port=port)
        body = reply.data[20:]
        first, second = (IP(src=RESOLVER, dst=CLIENT, proto=17, id=77 + k, flags=flags, frag=frag) for flags, frag in (("MF", 0), (0, 3)))
        packets += [query, Packet(reply.at, bytes(first / body[:24]))]
        if k < whole:
            packets.append(Packet(reply.at + MS, bytes(second / body[24:])))
    return packets


def test_a_question_to_each_try_of_which_a_piece_of_the_answer_came_is_not_pending(tmp_path: Path) -> None:
    this = found(tmp_path, pieces(3), healthy())
    assert problems(this) == {"dns-unanswered"}
    assert "only some fragments of their answers arrived" in this["dns-unanswered"].text
    assert not problems(found(tmp_path, pieces(2), healthy()))
    assert not problems(found(tmp_path, pieces(3, whole=3), healthy()))
    assert not problems(found(tmp_path, pieces(3)))  # as a filter by ports leaves it


def test_a_client_that_does_not_hear_the_server(tmp_path: Path) -> None:
    """As the server's side shows it: both repeat themselves."""
    made = Talk((CLIENT, 45_000), (SERVER, 80), isn=1, answer=9)
    for wait in (1, 2, 4):
        made.up("S", seq=1)
        made.down("SA", seq=9, ack=2)
        made.at += wait * S
    this = found(tmp_path, made.packets, healthy(), ping(60 * S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text == (
        "1 of 2 connections never opened: 198.51.100.20:80 answered, but 192.0.2.10 did not receive the answer (3 SYN+ACKs)."
    )


def mail(port: int, at: int, reply: bytes) -> list[Packet]:
    made = talk(port, at, (SERVER, 25))
    for command, answer in (
        (b"", b"220 mail\r\n"),
        (b"EHLO a\r\n", b"250 ok\r\n"),
        (b"MAIL FROM:<a>\r\n", b"250 ok\r\n"),
        (b"RCPT TO:<b>\r\n", reply),
    ):
        if command:
            made.up("PA", command)
        made.down("PA", answer)
    return close(made).packets


@pytest.mark.parametrize(("again", "severity"), [(True, "warning"), (False, "problem")])
def test_mail_that_is_put_off_and_taken_later(tmp_path: Path, again: bool, severity: str) -> None:
    packets = mail(46_000, 0, b"451 try later\r\n") + (mail(46_001, 3 * S, b"250 ok\r\n") if again else [])
    assert found(tmp_path, packets, healthy())["refused"].severity == severity


def test_idle_connections_that_a_server_resets(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(5):
        made = exchange(talk(47_000 + k, k * S))
        made.at += 10 * S
        made.down("RA")
        packets += made.packets
    assert found(tmp_path, packets, healthy(), ping(60 * S))["reset"].severity == "note"


def test_times_that_no_clock_has(tmp_path: Path) -> None:
    """Damaged captures: an answer that goes on in eighty years, and one that comes before its question. Nothing fails."""
    late = talk()
    late.up("PA", GET)
    late.down("A", b"HTTP/1.1 200 OK\r\n\r\n" + bytes(500))
    late.up("A")
    late.up("FA")
    late.at = 4_294_967_290 * S - T0  # the last that pcap can hold
    late.down("A", 500)
    late.down("FA")
    early = Talk((CLIENT, 45_000), (SERVER, 80), isn=5, at=10 * S)
    early.up("S")
    early.at = 9 * S
    early.down("SA")
    early.at = 10 * S + 10 * MS
    early.up("A")
    path = write(tmp_path / "made.pcap", [*early.packets, *late.packets, *healthy()])
    assert netlens.analyze(str(path)).to_dict()["counts"]["sessions"] == 3


ASKED = b"GET /a.iso HTTP/1.1\r\nHost: a\r\n\r\n"


def stopped(
    asked: bytes = ASKED,
    pieces: int = 24,
    pause: int = 0,
    waited: int = 12 * S,
    window: int = 1000,
    read: bool = True,
    fins: int = 5,
    heard: str = "",
) -> list[Packet]:
    """An answer of which nothing comes after 25 of 100 kB, until the client gives up."""
    made = talk(41_000)
    made.up("PA", asked)
    made.down("A")
    made.down("A", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    made.up("A")
    for _ in range(pieces):
        made.at += pause
        made.down("A", 1000)
        if read:
            made.up("A")
    made.up("A", window=window) if read else None
    made.at += waited
    made.up("FA")
    for k in range(1, fins):
        made.at += (1 << k) * 200 * MS
        made.up("FA", seq=made.seq - 1)
    if heard:
        made.down(heard)
    return made.packets


def test_an_answer_that_stops_midway(tmp_path: Path) -> None:
    this = found(tmp_path, stopped(), healthy(), ping(80 * S))
    assert problems(this) == {"stalled"}
    assert this["stalled"].text == (
        "1 HTTP answer stopped midway: after 24 kB of 100 kB nothing came any more from 198.51.100.20:80, for 12.0 s until the client gave up; "
        "its FIN was not acknowledged either (5 tries)."
    )


@pytest.mark.parametrize(
    ("packets", "severity"),
    [
        (stopped(fins=1, heard="A"), "warning"),  # the server is there, and may have paused
        (stopped(fins=1), "warning"),  # nobody knows
        (stopped(waited=2 * S), None),
        (stopped(window=0), None),  # a client that does not read (pause)
        (stopped(window=300), None),
        (stopped(read=False), None),  # no longer recorded
        (stopped(pause=10 * S), None),  # a server that sends a piece every ten seconds
        (stopped(asked=ASKED.replace(b"GET", b"HEAD"), pieces=0), None),
        (stopped(asked=ASKED.replace(b"GET", b"HEAD")), None),
        (stopped(pieces=100), None),
        (stopped(fins=1, heard="PA"), "warning"),
    ],
)
def test_an_answer_that_nobody_waits_for(tmp_path: Path, packets: list[Packet], severity: str | None) -> None:
    this = found(tmp_path, packets, healthy(), ping(200 * S))
    assert (this["stalled"].severity if "stalled" in this else None) == severity


def test_an_answer_whose_rest_was_on_its_way(tmp_path: Path) -> None:
    packets = stopped(fins=1)
    late = talk(41_000)
    late.seq, late.back, late.at = 41_000_000 + 1 + len(ASKED) + 1, 82_000_000 + 1 + 43 + 24_000, 13 * S
    late.packets.clear()
    late.down("A", 1000)
    assert "stalled" not in found(tmp_path, packets, late.packets, healthy(), ping(200 * S))


CLIENT6, SERVER6, ROUTER6 = "2001:db8:1::10", "2001:db8:2::20", "2001:db8:1::1"
#: The router tells the client its hardware address
NEIGHBOUR = Packet(
    0,
    _ip(
        ROUTER6,
        CLIENT6,
        58,
        b"\x88\x00\x00\x00\x60\x00\x00\x00" + bytes.fromhex("20010db8000100000000000000000001") + b"\x02\x01" + bytes(6),
    ),
)


def falls_back(number: int, answered: bool = False, by4: bool = True, client: str = CLIENT, every: int = S) -> list[Packet]:
    """A SYN over IPv6, and 200 ms later one over IPv4."""
    six = Talk((CLIENT6, 41_000 + number), (SERVER6, 443), at=number * every)
    six.up("S")
    if answered:
        six.at += 300 * MS
        six.down("SA")
        six.up("R")
    four = talk(42_000 + number, number * every + 200 * MS, (SERVER, 443), client)
    return mixed(six.packets, close(four).packets if by4 else [])


def test_ipv6_that_does_not_work(tmp_path: Path) -> None:
    packets = [p for k in range(4) for p in falls_back(k)]
    this = found(tmp_path, [NEIGHBOUR], packets, healthy(), ping(30 * S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text == (
        "IPv6 does not work for 2001:db8:1::10: none of 4 connections over it got an answer ([2001:db8:2::20]:443), and all went on by IPv4, "
        "typically 200 ms later."
    )
    assert not problems(found(tmp_path, packets, healthy(), ping(30 * S)))  # what it is told over IPv6 may not be in the capture


@pytest.mark.parametrize(
    "packets",
    [
        [p for k in range(4) for p in falls_back(k, answered=True)],  # it is slow
        [p for k in range(2) for p in falls_back(k)],
        [p for k in range(8) for p in falls_back(k, every=10 * MS)],
        [*(p for k in range(4) for p in falls_back(k)), *falls_back(5, answered=True)],
        [*(p for k in range(4) for p in falls_back(k)), Packet(9 * S, datagram((SERVER6, 53), (CLIENT6, 5000), b"-"))],
        [p for k in range(4) for p in falls_back(k, by4=False)],
        [p for k in range(4) for p in falls_back(k, client=f"192.0.2.{20 + k}")],  # others, who happen to ask
    ],
    ids=["slow", "few", "a moment", "one answered", "it hears others", "no other way", "others"],
)
def test_ipv6_that_may_work(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, [NEIGHBOUR], packets, healthy(), ping(30 * S))
    assert "connect-unanswered" not in this or not this["connect-unanswered"].text.startswith("IPv6")


HELLO = b"\x16\x03\x01\x00\x50" + bytes(80)
QUIET = b"\x14\x03\x03\x00\x01\x01"
ALERT_1_2, ALERT_1_3 = b"\x15\x03\x03\x00\x1a" + bytes(26), b"\x17\x03\x03\x00\x13" + bytes(19)


def secret(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


def secretly(answer: bytes, last: bytes, first: bytes = HELLO, port: int = 7_443) -> list[Packet]:
    """A question and an answer in TLS, and what the client says last, on which the server resets."""
    made = talk(server=(SERVER, port))
    for said, heard in ((first, first), (QUIET, QUIET), (secret(300), answer)):
        made.up("PA", said)
        made.down("PA" if heard else "A", heard)
    made.up("PA", last)
    made.down("RA")
    return made.packets


@pytest.mark.parametrize("alert", [ALERT_1_2, ALERT_1_3])
def test_a_farewell_of_tls_that_is_reset(tmp_path: Path, alert: bytes) -> None:
    """A server that has closed at once behind its answer, and so has not read it (RFC 9293 3.6.1)."""
    assert "reset" not in problems(found(tmp_path, secretly(secret(300) + alert, alert), healthy()))
    assert "reset" not in problems(found(tmp_path, secretly(secret(300), alert), healthy()))


def test_a_question_of_tls_that_is_reset(tmp_path: Path) -> None:
    assert "reset" in problems(found(tmp_path, secretly(secret(300), secret(300)), healthy()))


CONNECT, CONNACK = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x04\x00\x01a", b"\x20\x02\x00\x00"
PUBLISHED, PINGED = b"\x30\x05\x00\x01tOK", b"\xc0\x00"


def dropped(port: int, at: int, said: bytes = PUBLISHED, silence: int = 6 * S, told: bool = True, first: bytes = CONNECT) -> list[Packet]:
    """A client of MQTT that is silent for too long, and then speaks."""
    made = talk(port, at, (SERVER, 1883))
    exchange(made, first, CONNACK)
    made.up("PA", PUBLISHED)
    made.down("A")
    made.at += silence
    return said_behind(made, said, told)


@pytest.mark.parametrize("silence", [6 * S, 90 * S])
def test_messages_of_mqtt_behind_the_brokers_close(tmp_path: Path, silence: int) -> None:
    this = found(tmp_path, *(dropped(41_000 + k, k * 100 * S, silence=silence) for k in range(2)), healthy())
    assert problems(this) == {"reset"}
    assert (
        this["reset"].text
        == "2 of 3 connections were reset by 198.51.100.20:1883 because the client published after the server had closed."
    )


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([dropped(41_000, 0)], id="once"),
        pytest.param([dropped(41_000 + k, k * 100 * S, told=False) for k in range(3)], id="the message and the close crossed"),
        pytest.param([dropped(41_000 + k, k * 100 * S, b"\xe0\x00") for k in range(3)], id="a farewell"),
        pytest.param([dropped(41_000 + k, k * 100 * S, PINGED) for k in range(3)], id="to see whether it is still there"),
        pytest.param([dropped(41_000 + k, k * 100 * S, b"0" * 9, first=b"hello, you") for k in range(3)], id="no MQTT"),
    ],
)
def test_ends_of_mqtt_that_lose_nothing(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *streams, healthy()))


AMQP, BEAT = b"AMQP\x00\x00\x09\x01", b"\x08\x00\x00\x00\x00\x00\x00\xce"
START_OK = b"\x01\x00\x00\x00\x00\x00\x08\x00\x0a\x00\x0b" + bytes(4) + b"\xce"
CLOSING = b"\x01\x00\x00\x00\x00\x00\x08\x00\x0a\x00\x32" + bytes(4) + b"\xce"


def consuming(beats: int, answers: bool = False, ends: str = "RA", last: bytes = b"") -> list[Packet]:
    """A client of AMQP that a server sends heartbeats, and that answers with its own or is busy."""
    made = exchange(talk(server=(SERVER, 5672)), AMQP, START_OK)
    exchange(made, START_OK, START_OK)
    for _ in range(beats):
        made.at += 5 * S
        made.down("PA", BEAT)
        made.up(*(("PA", BEAT) if answers else ("A",)))
    made.at += 5 * S
    if last:
        made.down("PA", last)
        made.up("PA", last)
    if ends == "client":
        return close(made).packets
    if ends:
        made.down(ends)
    return [*made.packets, *ping(made.at + 9 * S)]


@pytest.mark.parametrize("ends", ["RA", "FA"])
def test_a_client_of_amqp_without_heartbeats(tmp_path: Path, ends: str) -> None:
    this = found(tmp_path, consuming(5, ends=ends), healthy())
    assert "refused" in problems(this)
    text = "1 of 1 connection to 198.51.100.20:5672 got a refusal: ended after 30.0 s without a heartbeat of the client (AMQP)."
    assert this["refused"].text == text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(consuming(9, answers=True), id="a server that is killed"),
        pytest.param(consuming(3), id="a client whose heartbeat is rarer"),
        pytest.param(consuming(9, ends=""), id="the capture ends"),
        pytest.param(consuming(9, ends="client"), id="the client ends"),
        pytest.param(consuming(9, ends="FA", last=CLOSING), id="a server that closes by the protocol"),
    ],
)
def test_clients_of_amqp_that_are_not_dropped(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, packets, healthy())
    assert "refused" not in this or "heartbeat" not in this["refused"].text


@pytest.mark.parametrize("by_client", [False, True])
def test_data_behind_the_close_of_the_other_side(tmp_path: Path, by_client: bool) -> None:
    """A server that has closed may still be asked, and its client waits; nobody waits for what a server sends to a client that has left."""
    made = exchange(talk())
    (made.up if by_client else made.down)("FA")
    (made.down if by_client else made.up)("A")
    send, seq = (made.down, made.back) if by_client else (made.up, made.seq)
    for _ in range(5):
        send("PA", GET * 4, seq=seq)
        made.at += 2 * S
    assert ("stalled" in problems(found(tmp_path, made.packets, healthy(), ping(20 * S)))) != by_client


HERE6, DEAD6 = "2001:db8::10", "2001:db8::53"


def asked_over_ipv6(name: str, at: int, number: int, wait: int = 5 * S, same: bool = True, answered: bool = True) -> list[Packet]:
    """A question to a resolver over IPv6, and to another one over IPv4 later. ``same``: with the same number."""
    query = bytes(DNS(id=number, rd=1, qd=DNSQR(qname=name)))
    later = asked_of(RESOLVER, name, at + wait, number if same else number + 500, answered)
    return [Packet(at, datagram((HERE6, 5_000 + number), (DEAD6, 53), query)), *later]


def test_a_resolver_over_ipv6_that_never_answers_and_the_next_over_ipv4_that_does(tmp_path: Path) -> None:
    packets = [p for k in range(3) for p in asked_over_ipv6(f"w{k}.example.test", 10 * k * S, 6_000 + k)]
    this = found(tmp_path, packets, healthy())
    assert problems(this) == {"dns-unanswered"}
    assert this["dns-unanswered"].text == (
        "2001:db8::53 never answered a DNS query (3 tries): 3 questions waited up to 5.0 s until 198.51.100.53 was asked."
    )


@pytest.mark.parametrize(("wait", "same"), [(MS, True), (5 * S, False)], ids=["side by side", "another host"])
def test_questions_over_both_families_that_do_not_wait_for_each_other(tmp_path: Path, wait: int, same: bool) -> None:
    packets = [p for k in range(3) for p in asked_over_ipv6(f"w{k}.example.test", 10 * k * S, 6_000 + k, wait, same)]
    assert "waited up to" not in str(
        [each.text for each in found(tmp_path, packets, healthy(), ping(60 * S)).values() if each.id == "dns-unanswered"]
    )


def away(behind: str = "R", after: int = MS, times: int = 5) -> list[Packet]:
    """Data that is sent again while the peer is silent, and what the peer then says."""
    made = exchange(talk(server=(SERVER, 9000)), b"one", b"two")
    made.up("PA", 1000)
    at = made.seq - 1000
    for k in range(times):
        made.at += (1 << k) * S
        made.up("PA", 1000, seq=at)
    made.at += after
    made.down(behind)
    return made.packets


def test_a_peer_that_was_started_anew(tmp_path: Path) -> None:
    this = found(tmp_path, away(), ping(90 * S))
    assert problems(this) == {"stalled"}
    assert "; then 198.51.100.20 answered with a reset, as a host that does not know the connection any more" in this["stalled"].text
    assert "started anew" in this["stalled"].advice


@pytest.mark.parametrize(("behind", "after"), [("RA", MS), ("A", MS), ("R", 60 * S)], ids=["it gave up", "it is there", "much later"])
def test_a_peer_that_knows_its_connection(tmp_path: Path, behind: str, after: int) -> None:
    assert "does not know" not in str([each.text for each in found(tmp_path, away(behind, after), ping(190 * S)).values()])


UPSTREAM = "203.0.113.53"
