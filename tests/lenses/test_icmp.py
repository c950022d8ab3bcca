"""ICMP errors are cited where they quote the packets of what failed, and nowhere else."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.lenses.made import CLIENT, RESOLVER, SERVER, WEB, exchange, found, healthy, lookup, ping, problems, talk
from tests.parsers.build import MS, End, Packet, S, Talk, _ip, datagram, segment

ROUTER = "203.0.113.1"
PORT, HOST, NET, PROHIBITED, EXPIRED = (3, 3), (3, 1), (3, 0), (3, 10), (11, 0)


def error(
    at: int, what: tuple[int, int], quoted: bytes, reporter: str = ROUTER, told: str = CLIENT, rest: bytes = bytes(4)
) -> list[Packet]:
    return [Packet(at, _ip(reporter, told, 1, bytes([*what, 0, 0]) + rest + quoted[:28]))]


def syn(at: int, port: int = 40_000, server: End = (SERVER, 8009)) -> list[Packet]:
    return [Packet(at, segment((CLIENT, port), server, "S", 5))]


SYN = segment((CLIENT, 40_000), (SERVER, 8009), "S", 5)


@pytest.mark.parametrize(("what", "words"), [(PORT, "port unreachable"), (PROHIBITED, "administratively prohibited")])
def test_a_connection_that_icmp_refuses(tmp_path: Path, what: tuple[int, int], words: str) -> None:
    this = found(tmp_path, syn(0), error(MS, what, SYN), healthy(), ping(30 * S))
    assert problems(this) == {"connect-refused"}
    assert (
        this["connect-refused"].text
        == f"1 of 2 connection attempts to 198.51.100.20:8009 was refused on the way (203.0.113.1 said: {words})."
    )
    assert this["connect-refused"].advice == "A firewall on the way rejects: look at the rules of 203.0.113.1."
    assert [frame for _, frame in this["connect-refused"].every] == [1, 3]  # healthy() begins between them


@pytest.mark.parametrize(("what", "words"), [(HOST, "host unreachable"), (NET, "network unreachable"), (EXPIRED, "time exceeded")])
def test_a_connection_to_nobody(tmp_path: Path, what: tuple[int, int], words: str) -> None:
    this = found(tmp_path, syn(0), syn(S), error(3 * S, what, SYN), healthy(), ping(30 * S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text.endswith(f"198.51.100.20:8009 (2 tries over 1.0 s); 203.0.113.1 said: {words}.")
    assert ("in circles" if what == EXPIRED else "203.0.113.1 has no route to it") in this["connect-unanswered"].advice


def test_an_error_about_other_packets_is_no_evidence(tmp_path: Path) -> None:
    others = [
        segment((CLIENT, 40_001), (SERVER, 8009), "S", 5),
        segment((SERVER, 8009), (CLIENT, 40_000), "SA", 5),
        datagram((CLIENT, 40_000), (SERVER, 8009), b""),
    ]
    told = [p for k, quoted in enumerate(others) for p in error(MS + k, PORT, quoted)]
    this = found(tmp_path, syn(0), told, error(200 * S, PORT, SYN), healthy(), ping(300 * S))
    assert not problems(this)
    assert "connect-refused" not in this


def test_a_connection_that_opens_all_the_same(tmp_path: Path) -> None:
    """RFC 1122 4.2.3.9: an error while the connection lives is a hint."""
    first = talk(40_000).packets
    assert not problems(found(tmp_path, first, error(MS, HOST, segment((CLIENT, 40_000), WEB, "S", 5)), healthy(), ping(30 * S)))


def test_lookups_at_a_closed_port(tmp_path: Path) -> None:
    query = lookup("a.example.test", 0)
    again = lookup("a.example.test", S, port=5_001)
    told = error(MS, PORT, query[0].data, RESOLVER) + error(S + MS, PORT, again[0].data, RESOLVER)
    this = found(tmp_path, query, again, told, ping(2 * S))
    assert problems(this) == {"dns-unanswered"}
    assert (
        this["dns-unanswered"].text
        == "1 of 1 DNS lookup to 198.51.100.53 got no answer (a.example.test); 198.51.100.53 said: port unreachable."
    )
    assert "unreachable" not in this


def test_an_answer_that_comes_too_late_is_no_fault_of_the_resolver(tmp_path: Path) -> None:
    asked = lookup("a.example.test", 0, 20 * MS)
    this = found(tmp_path, asked, error(21 * MS, PORT, asked[1].data, CLIENT, RESOLVER), ping(30 * S))
    assert not {"dns-unanswered", "unreachable"} & this.keys()


SYSLOG: End = (SERVER, 514)


def sent(n: int, port: int = 514, step: int = S) -> list[Packet]:
    return [Packet(k * step, datagram((CLIENT, 6_000), (SERVER, port), b"hello")) for k in range(n)]


def test_datagrams_that_find_nobody(tmp_path: Path) -> None:
    said = [p for k in range(3) for p in error(k * S + MS, PORT, datagram((CLIENT, 6_000), SYSLOG, b"hello"), SERVER)]
    this = found(tmp_path, sent(3), said, healthy(), ping(30 * S))
    assert this["unreachable"].severity == "warning"
    assert this["unreachable"].text == "3 datagrams to 198.51.100.20:514 reached nobody; 198.51.100.20 said: port unreachable."
    assert this["unreachable"].values["icmp_errors"] == 3


@pytest.mark.parametrize(("told_at", "count"), [((0, 1), 2), ((0, 9), 10)])
def test_how_many_datagrams_found_nobody(tmp_path: Path, told_at: tuple[int, int], count: int) -> None:
    """A host does not say it of each; but what it says of the first is not true of those that come when its program runs."""
    said = [p for k in told_at for p in error(k * S + MS, PORT, datagram((CLIENT, 6_000), SYSLOG, b"hello"), SERVER)]
    assert found(tmp_path, sent(10), said, healthy(), ping(30 * S))["unreachable"].text.startswith(f"{count} datagrams to ")


def test_who_asks_at_a_closed_port_waits_in_vain(tmp_path: Path) -> None:
    """RADIUS has an answer to each request; syslog, above, has none."""
    asked = datagram((CLIENT, 40_000), (SERVER, 1812), bytes([1, 7, 0, 20]) + bytes(16))
    this = found(
        tmp_path,
        [Packet(0, asked)],
        error(MS, PORT, asked, SERVER),
        [Packet(3 * S, asked)],
        error(3 * S + MS, PORT, asked, SERVER),
        healthy(),
    )
    assert problems(this) == {"unreachable"}


def test_a_copy_of_an_error_counts_once(tmp_path: Path) -> None:
    told = error(MS, PORT, datagram((CLIENT, 6_000), SYSLOG, b"hello"), SERVER)
    this = found(tmp_path, sent(1), told, [Packet(MS + 1000, told[0].data)], healthy(), ping(30 * S))
    assert (this["unreachable"].severity, this["unreachable"].values["icmp_errors"]) == ("note", 1)


def test_a_service_that_answered_before_is_none(tmp_path: Path) -> None:
    answer = [Packet(MS, datagram(SYSLOG, (CLIENT, 6_000), b"yes"))]
    this = found(tmp_path, sent(3), answer, error(2 * S + MS, PORT, datagram((CLIENT, 6_000), SYSLOG, b"hello"), SERVER), ping(30 * S))
    assert "unreachable" not in this


def test_a_late_answer_to_a_question_by_multicast_is_none(tmp_path: Path) -> None:
    answer = datagram((SERVER, 5355), (CLIENT, 52_272), b"x")
    this = found(tmp_path, [Packet(0, answer)], error(MS, PORT, answer, CLIENT, SERVER), healthy(), ping(30 * S))
    assert "unreachable" not in this


def test_traceroute_wants_errors(tmp_path: Path) -> None:
    packets: list[Packet] = []
    for k in range(4):
        probe = sent(1, 33_434 + k)[0]
        hop = f"203.0.113.{k + 1}" if k < 3 else SERVER
        packets += [Packet(k * S, probe.data), *error(k * S + MS, EXPIRED if k < 3 else PORT, probe.data, hop)]
        tcp = syn(k * S + 10, 41_000 + k, (SERVER, 80))
        packets += [*tcp, *error(k * S + 2 * MS, EXPIRED, tcp[0].data, hop)]
    this = found(tmp_path, packets, ping(30 * S))
    assert "unreachable" not in this
    assert "203.0.113" not in str([f.text for f in this.values()])


def test_redirects(tmp_path: Path) -> None:
    told = [p for k in range(3) for p in error(k * S, (5, 1), SYN, rest=ip_address("203.0.113.9").packed)]
    this = found(tmp_path, told, healthy(), ping(30 * S))["redirected"]
    assert (this.severity, this.text) == ("note", "203.0.113.1 told 192.0.2.10 of a better route to 198.51.100.20: 203.0.113.9 (3 times).")


def test_a_better_way_that_leads_nowhere(tmp_path: Path) -> None:
    told = [p for k in range(3) for p in error(k * S + MS, (5, 1), SYN, rest=ip_address("203.0.113.9").packed)]
    this = found(tmp_path, *(syn(k * S) for k in range(4)), told, ping(30 * S))
    assert problems(this) == {"connect-unanswered"}
    assert this["connect-unanswered"].text.endswith("; 203.0.113.1 had told to send that by 203.0.113.9 (ICMP redirect, 3 times).")
    assert "203.0.113.9 is up" in this["connect-unanswered"].advice
    assert "Nobody answered there" in this["redirected"].advice
    later = error(20 * S, (5, 1), SYN, rest=ip_address("203.0.113.9").packed)
    assert "redirect" not in found(tmp_path, *(syn(k * S) for k in range(4)), later, ping(30 * S))["connect-unanswered"].text


def test_a_host_that_does_not_take_the_better_way(tmp_path: Path) -> None:
    def told(times: int, step: int, targets: int = 1) -> list[Packet]:
        better = ip_address("203.0.113.9").packed
        quoted = [segment((CLIENT, 40_000), (f"198.51.100.{20 + k}", 8009), "S", 5) for k in range(targets)]
        return [p for k in range(times) for p in error(k * step, (5, 1), quoted[k % targets], rest=better)]

    assert found(tmp_path, told(5, S), healthy(), ping(30 * S))["redirected"].severity == "problem"
    for others in (told(5, 100 * MS), told(5, S, targets=3)):  # under way before it was told; of each once or twice
        assert found(tmp_path, others, healthy(), ping(30 * S))["redirected"].severity == "note"


def test_connections_that_a_host_does_not_let_leave(tmp_path: Path) -> None:
    def turned_down(times: int, reporter: str) -> list[Packet]:
        syns = [segment((CLIENT, 40_000 + k), WEB, "S", 5) for k in range(times)]
        return [p for k, quoted in enumerate(syns) for p in error(k * S, PORT, quoted, reporter)]

    this = found(tmp_path, turned_down(3, CLIENT), healthy(at=9 * S))["unreachable"]
    assert this.severity == "problem"
    assert this.text == "3 packets to 198.51.100.20:80 that are not in the capture reached nobody; 192.0.2.10 said: port unreachable."
    assert "its own firewall" in this.advice
    for others in (turned_down(2, CLIENT), turned_down(3, ROUTER)):
        assert "problem" not in {f.severity for f in found(tmp_path, others, healthy(at=9 * S)).values()}


# -- the path MTU --


def black_hole(large: int = 1448, short: bool = True, alive: bool = True) -> tuple[Talk, bytes]:
    """The server's large segment is lost however often it is sent; what is shorter arrives."""
    made = talk()
    made.up("PA", b"GET / HTTP/1.1\r\n\r\n")
    made.down("A")
    if short:
        made.down("PA", b"HTTP/1.1 200 OK\r\n")
        made.up("A")
    lost = made.back
    data = bytes(large)
    first = made.down("A", data)
    for k in range(5):
        made.at = (2**k) * S
        made.down("A", data, seq=lost)
    made.at = 40 * S
    made.back = lost
    if alive:
        made.up("A")
        made.up("FA")
    return made, first.data


def test_only_large_packets_are_lost(tmp_path: Path) -> None:
    this = found(tmp_path, black_hole()[0].packets, ping(60 * S))["stalled"]
    assert this.severity == "problem"
    assert "; only large packets were lost (1,448 bytes were sent 6 times in vain)." in this.text
    assert "MSS" in this.advice


def test_a_first_sending_that_was_given_to_the_card_in_one(tmp_path: Path) -> None:
    made = talk()
    made.up("PA", b"GET / HTTP/1.1\r\n\r\n")
    made.down("PA", b"HTTP/1.1 200 OK\r\n")
    made.up("A")
    lost = made.back
    made.down("A", 7240)
    for k in range(5):
        made.at = (2**k) * S
        made.down("A", 1448, seq=lost)
    made.back = lost
    made.up("FA")
    assert (
        "only large packets were lost (1,448 bytes were sent 6 times in vain)"
        in found(tmp_path, made.packets, ping(60 * S))["stalled"].text
    )


def test_a_router_that_says_how_large_and_is_not_heard(tmp_path: Path) -> None:
    made, first = black_hole()
    this = found(tmp_path, made.packets, error(500 * MS, (3, 4), first, told=SERVER, rest=b"\0\0\x05\x78"), ping(60 * S))["stalled"]
    assert this.text.endswith("; only large packets were lost (1,448 bytes were sent 6 times in vain); 203.0.113.1 said: packet too big.")


@pytest.mark.parametrize(
    "made",
    [black_hole(100)[0], black_hole(alive=False)[0], black_hole(short=False)[0]],
    ids=["small ones too", "peer is gone", "nothing passed"],
)
def test_what_is_another_loss(tmp_path: Path, made: Talk) -> None:
    assert "only large" not in found(tmp_path, made.packets, ping(60 * S))["stalled"].text


def test_why_a_connection_stood_still(tmp_path: Path) -> None:
    made, first = black_hole(alive=False)
    this = found(tmp_path, made.packets, error(5 * S, HOST, first, told=SERVER), ping(60 * S))["stalled"]
    assert this.text.endswith("; 203.0.113.1 said: host unreachable.")


def echo(at: int, kind: int = 8, target: str = SERVER) -> list[Packet]:
    ends = (CLIENT, target) if kind == 8 else (target, CLIENT)
    return [Packet(at, _ip(*ends, 1, bytes([kind, 0, 0, 0, 0, 7, 0, at // S])))]


def test_a_ping_that_a_router_answers(tmp_path: Path) -> None:
    asked = echo(0)
    this = found(tmp_path, asked, error(MS, PROHIBITED, asked[0].data))["unreachable"]
    assert (this.severity, this.text) == (
        "warning",
        "1 ping to 198.51.100.20 reached nobody; 203.0.113.1 said: administratively prohibited.",
    )


def test_pings_that_a_router_answers_are_told_once(tmp_path: Path) -> None:
    packets = [p for k in range(5) for p in (*echo(k * S), *error(k * S + MS, HOST, echo(k * S)[0].data))]
    this = found(tmp_path, packets, ping(30 * S))
    assert "unreachable" not in this
    assert this["ping-unanswered"].text == "5 of 5 pings to 198.51.100.20 got no reply; 203.0.113.1 said: host unreachable."


def test_a_ping_that_is_answered_all_the_same(tmp_path: Path) -> None:
    asked = echo(0)
    assert "unreachable" not in found(tmp_path, asked, error(MS, HOST, asked[0].data), echo(S), echo(S + MS, 0))


@pytest.mark.parametrize(
    ("quoted", "whom"),
    [
        (datagram((CLIENT, 6_000), (SERVER, 9_999), b"hello"), " to 198.51.100.20:9999"),
        (segment((CLIENT, 40_000), (SERVER, 8009), "S", 5), " to 198.51.100.20:8009"),
        (_ip(CLIENT, SERVER, 132, bytes(40)), " to 198.51.100.20"),
        (bytes(28), ""),
    ],
)
def test_an_error_about_what_is_not_in_the_capture(tmp_path: Path, quoted: bytes, whom: str) -> None:
    this = found(tmp_path, error(0, HOST, quoted))["unreachable"]
    assert (this.severity, this.text) == (
        "warning",
        f"1 packet{whom} that is not in the capture reached nobody; 203.0.113.1 said: host unreachable.",
    )


def test_a_stray_error_among_other_traffic_is_a_note(tmp_path: Path) -> None:
    stray = error(0, HOST, datagram((CLIENT, 6_000), (SERVER, 9_999), b"hello"))
    assert found(tmp_path, stray, healthy(), healthy(40_901))["unreachable"].severity == "note"


@pytest.mark.parametrize("port", [33_435, 53])
def test_errors_that_are_wanted_or_come_late(tmp_path: Path, port: int) -> None:
    """Traceroute's, and a client's that has closed its socket, about an answer."""
    ends = ((CLIENT, 49_215), (SERVER, port)) if port > 53 else ((RESOLVER, 53), (CLIENT, 50_000))
    assert "unreachable" not in found(tmp_path, error(0, PORT, datagram(*ends, b"hello"), CLIENT, RESOLVER))


def circling(hops: int, port: int = 6000, n: int = 4, answered: bool = False) -> list[Packet]:
    """Datagrams with a TTL, and errors that it ran out."""
    sent = [datagram((CLIENT, 41_000), (SERVER, port), b"hello") for _ in range(n)]
    sent = [each[:8] + bytes([hops]) + each[9:] for each in sent]
    packets = [p for k, each in enumerate(sent) for p in (Packet(k * S, each), *error(k * S + MS, EXPIRED, each))]
    return [*packets, Packet(n * S, datagram((SERVER, port), (CLIENT, 41_000), b"hello"))] if answered else packets


def test_datagrams_that_go_in_circles(tmp_path: Path) -> None:
    this = found(tmp_path, circling(64))
    assert problems(this) == {"unreachable"}
    assert this["unreachable"].text == (
        "4 datagrams to 198.51.100.20:6000 went in circles, as a TTL of 32 and more ran out on the way; 203.0.113.1 said: time exceeded."
    )


def test_datagrams_that_are_to_expire(tmp_path: Path) -> None:
    """As of a traceroute to a port of one's choice."""
    this = found(tmp_path, circling(2))["unreachable"]
    assert this.severity == "warning"
    assert this.text.startswith(
        "4 datagrams to 198.51.100.20:6000 did not arrive, as the TTL ran out on the way (a routing loop, or traceroute); "
    )
    assert "unreachable" not in found(tmp_path, circling(64, answered=True))  # for a while, as routes change


def test_fragments_that_are_lost(tmp_path: Path) -> None:
    whole = datagram((CLIENT, 41_000), (SERVER, 6000), bytes(1400))
    first = whole[:6] + b"\x20\x00" + whole[8:]
    packets = [p for k in range(3) for p in (Packet(k * S, first), *error(k * S + MS, (11, 1), first, reporter=SERVER))]
    this = found(tmp_path, packets)["unreachable"]
    assert this.severity == "warning"
    assert this.text == (
        "3 packets to 198.51.100.20:6000 arrived in part, as fragments were lost on the way; 198.51.100.20 said: fragment reassembly time exceeded."
    )
    assert this.advice.startswith("Something on the way drops fragments")


@pytest.mark.parametrize(("whole_ones", "told"), [(0, True), (50, False)])
def test_fragments_that_are_lost_now_and_then(tmp_path: Path, whole_ones: int, told: bool) -> None:
    """Of what is sent in one direction alone."""
    talks = [Packet(0, datagram((SERVER, 6000), (CLIENT, 41_000), b"start")), Packet(MS, datagram((CLIENT, 41_000), (SERVER, 6000), b"ok"))]
    long = datagram((CLIENT, 41_000), (SERVER, 6000), bytes(1400))
    for k in range(1, whole_ones + 4):
        first = long[:4] + k.to_bytes(2, "big") + b"\x20\x00" + long[8:]
        last = long[:2] + (120).to_bytes(2, "big") + first[4:6] + b"\x00\xb0" + long[8:20] + bytes(100)
        talks.append(Packet(k * S, first))
        talks += [Packet(k * S + MS, last)] if k > 3 else error((k + 30) * S, (11, 1), first, reporter=SERVER)
    assert ("unreachable" in problems(found(tmp_path, talks))) == told


@pytest.mark.parametrize(("short_later", "times", "told"), [(False, 3, True), (True, 3, False), (False, 1, False)])
def test_fragments_that_are_lost_of_what_is_long_only(tmp_path: Path, short_later: bool, times: int, told: bool) -> None:
    """What fits into one packet had been answered. Where it still is, some fragments were lost; one error is of one packet."""
    answer = datagram((SERVER, 6000), (CLIENT, 41_000), b"hello")
    short = [Packet(0, datagram((CLIENT, 41_000), (SERVER, 6000), b"hello")), Packet(MS, answer)]
    whole = datagram((CLIENT, 41_000), (SERVER, 6000), bytes(1400))
    first = whole[:6] + b"\x20\x00" + whole[8:]
    packets = [p for k in range(1, 1 + times) for p in (Packet(k * S, first), *error((k + 30) * S, (11, 1), first, reporter=SERVER))]
    this = found(tmp_path, short, packets, [Packet(20 * S, answer)] if short_later else [])
    assert problems(this) == ({"unreachable"} if told else set())
    if told:
        assert this["unreachable"].text.startswith("3 packets to 198.51.100.20:6000 arrived in part, as fragments were lost on the way")


@pytest.mark.parametrize(
    ("told", "again", "acked", "stands"),
    [
        (True, 1400, False, True),
        (False, 1400, False, False),  # so soon nobody knows
        (True, 600, True, False),  # the sender heeds it (RFC 1191)
        (True, 1400, True, False),
    ],
)
def test_a_sender_that_goes_on_though_a_router_says_that_it_sends_too_much(
    tmp_path: Path, told: bool, again: int, acked: bool, stands: bool
) -> None:
    made = talk()
    seq = made.seq
    large = made.up("PA", bytes(1400))
    said = error(made.at, (3, 4), large.data) if told else []
    for ms in (500, 1000):
        made.at += ms * MS
        made.up("PA", bytes(again), seq=seq)
    if acked:
        made.down("A")
    this = found(tmp_path, made.packets, said, healthy(at=20 * S))
    assert problems(this) == ({"stalled"} if stands else set())
    if stands:
        assert this["stalled"].text.endswith(
            "only large packets were lost (1,400 bytes were sent 3 times in vain); 203.0.113.1 said: packet too big."
        )


OTHER, RESET, RESET_BACK, DATA = "198.51.100.21", b"\x38" + bytes(13), b"\x40" + bytes(25), b"\x04" + bytes(95)
INITIATION, IKE = b"\x01" + bytes(147), b"i" * 8 + bytes(8) + bytes([33, 32, 34, 8]) + bytes(40)


def refused(first: bytes, port: int, own: int = 40_001) -> list[Packet]:
    """A client of a tunnel that hears each time that nobody listens."""
    asked = datagram((CLIENT, own), (SERVER, port), first)
    return [p for k in range(5) for p in (Packet(2 * k * S, asked), *error(2 * k * S + MS, PORT, asked, SERVER))]


def reached(first: bytes, back: bytes, server: End, own: int = 40_002) -> list[Packet]:
    return [Packet(12 * S, datagram((CLIENT, own), server, first)), Packet(12 * S + MS, datagram(server, (CLIENT, own), back))]


def connected(at: int, answer: bytes = bytes(40)) -> list[Packet]:
    return exchange(talk(43_000, at, (SERVER, 443)), bytes(40), answer).packets


@pytest.mark.parametrize(
    ("vain", "then", "told"),
    [
        pytest.param(refused(RESET, 1194), [], True, id="OpenVPN, and nothing else"),
        pytest.param(refused(RESET, 1194), reached(RESET, RESET_BACK, (OTHER, 1194)), False, id="OpenVPN, and another server"),
        pytest.param(
            refused(RESET, 1194), reached(RESET, RESET_BACK, (OTHER, 1195)), False, id="OpenVPN, and another server at another port"
        ),
        pytest.param(refused(RESET, 1194), reached(RESET, b"no", (OTHER, 1195)), True, id="OpenVPN, and something else there"),
        pytest.param(refused(RESET, 1194), connected(12 * S), False, id="OpenVPN, and then TCP"),
        pytest.param(refused(RESET, 1194), connected(5 * S), True, id="OpenVPN, and TCP meanwhile"),
        pytest.param(refused(b"key" * 20, 1194), [], True, id="a fixed key, and nothing else"),
        pytest.param(refused(b"key" * 20, 1194), connected(12 * S), False, id="a fixed key, and then TCP"),
        pytest.param(refused(IKE, 500), [], True, id="IPsec, and nothing else"),
        pytest.param(refused(IKE, 500), reached(IKE, IKE, (OTHER, 500)), False, id="IPsec, and another gateway"),
        pytest.param(refused(INITIATION, 51_820, 51_820), [], True, id="WireGuard, and no other peer"),
        pytest.param(
            refused(INITIATION, 51_820, 51_820), reached(DATA, DATA, (OTHER, 51_820), 51_820), False, id="WireGuard, and another peer"
        ),
    ],
)
def test_a_tunnel_to_where_nobody_listens(tmp_path: Path, vain: list[Packet], then: list[Packet], told: bool) -> None:
    this = found(tmp_path, vain, then, healthy(), ping(30 * S))
    assert this["unreachable"].severity == ("problem" if told else "warning")


def test_what_is_prohibited_by_the_host_itself_is_a_filter(tmp_path: Path) -> None:
    """RFC 1812 5.2.7.1: nobody but a filter says so."""
    asked = datagram((CLIENT, 40_000), (SERVER, 1812), bytes([1, 7, 0, 20]) + bytes(16))
    for quoted, packets, id_ in (
        (SYN, syn(0), "connect-refused"),
        (asked, [Packet(k * S, asked) for k in range(3)], "unreachable"),
    ):
        told = [p for k in range(3) for p in error(k * S + MS, PROHIBITED, quoted, SERVER)]
        advice = found(tmp_path, packets, told, healthy(at=9 * S), ping(30 * S))[id_].advice
        assert advice == (
            f"A firewall rejects, at {SERVER} or in its name: look at its rules (nft list ruleset, or iptables-save), not at the service behind them."
        )
