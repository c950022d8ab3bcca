"""Requests over UDP that must be answered, DNS among them, and datagrams that need no answer."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.utils import PcapWriter

import netlens
from netlens.parsers import trail
from tests.lenses.made import CLIENT, MS, SERVER, S, close, exchange, found, healthy, lookup, ping, problems, talk
from tests.parsers.build import End, Packet, datagram


def asked_over_udp(first: bytes, times: list[int], server: End, port: int = 41_000, answer_at: int | None = None) -> list[Packet]:
    """A first datagram, sent again at these times (s), and perhaps an answer."""
    packets = [Packet(t * S, datagram((CLIENT, port), server, first)) for t in times]
    return [*packets, Packet(answer_at, datagram(server, (CLIENT, port), b"\x00" * 80))] if answer_at is not None else packets


QUIC = b"\xc3\x00\x00\x00\x01\x08" + bytes(1194)
CLIENT_HELLO_DTLS = b"\x16\xfe\xfd" + bytes(10) + b"\x01" + bytes(100)
REQUESTS_OVER_UDP = [
    ("QUIC", QUIC, 443),
    ("DTLS", CLIENT_HELLO_DTLS, 4433),
    ("NTP", b"\x23" + bytes(47), 123),
    ("RADIUS", b"\x01\x07\x00\x14" + bytes(16), 1812),
    ("SIP", b"REGISTER sip:a SIP/2.0\r\n\r\n", 5060),
    ("WireGuard", b"\x01" + bytes(147), 51_820),
]


@pytest.mark.parametrize(("name", "first", "port"), REQUESTS_OVER_UDP)
def test_a_request_over_udp_that_gets_no_answer(tmp_path: Path, name: str, first: bytes, port: int) -> None:
    this = found(
        tmp_path, asked_over_udp(first, [0, 1, 3, 7], (SERVER, port)), healthy(), [Packet(30 * S, datagram((CLIENT, 9), (SERVER, 9), b"-"))]
    )
    assert problems(this) == (set() if name == "NTP" else {"udp-unanswered"})  # a clock asks from time to time, and nobody waits
    assert this["udp-unanswered"].text == (
        f"1 of 1 try to reach a server over UDP ({name}) got no answer: 198.51.100.20:{port} (up to 4 datagrams over 7.0 s)."
    )


def test_a_request_over_udp_that_is_answered_late_or_at_the_next_try(tmp_path: Path) -> None:
    late = asked_over_udp(QUIC, [0, 1, 3, 7], (SERVER, 443), answer_at=8 * S)
    again = [
        *asked_over_udp(QUIC, [0, 1, 3], ("198.51.100.21", 443), 41_001),
        *asked_over_udp(QUIC, [4], ("198.51.100.21", 443), 41_002, 4 * S + MS),
    ]
    assert "udp-unanswered" not in found(tmp_path, late, again, healthy(), ping(30 * S))


def acknowledged(first: bytes, answer: int) -> list[Packet]:
    """Initials and shorter early data of a client, to which the server says that it has the first of them, or (``answer``: bytes) more."""
    early = [Packet(k * MS, datagram((CLIENT, 41_000), (SERVER, 443), b"\xd3" + first[1:120])) for k in (1, 2)]
    return [
        *asked_over_udp(first, [0, 1, 3, 7], (SERVER, 443)),
        *early,
        Packet(20 * MS, datagram((SERVER, 443), (CLIENT, 41_000), first[:6] + bytes(answer))),
    ]


def test_a_server_of_quic_that_acknowledges_and_says_no_more(tmp_path: Path) -> None:
    this = found(tmp_path, acknowledged(QUIC, 60), healthy(), ping(30 * S))
    assert problems(this) == {"udp-unanswered"}
    assert this["udp-unanswered"].values["datagrams"] == 6
    assert "got no full datagram back" in this["udp-unanswered"].text
    assert "refuses, or is busy" in this["udp-unanswered"].advice


@pytest.mark.parametrize(("first", "answer"), [(QUIC, 1200), (b"\xc3Q046" + QUIC[5:], 60)])  # its hello; another version
def test_a_server_of_quic_that_says_more(tmp_path: Path, first: bytes, answer: int) -> None:
    assert "udp-unanswered" not in found(tmp_path, acknowledged(first, answer), healthy(), ping(30 * S))


def opened_late(times: list[int], answer_at: int, second: bytes = QUIC) -> list[Packet]:
    """Initials at these times (s), of which the server acknowledges the first at once; later comes its hello, or ``second``."""
    acknowledged = Packet(20 * MS, datagram((SERVER, 443), (CLIENT, 41_000), QUIC[:6] + bytes(60)))
    hello = Packet(answer_at * S, datagram((SERVER, 443), (CLIENT, 41_000), second))
    return [*asked_over_udp(QUIC, times, (SERVER, 443)), acknowledged, hello]


def test_quic_that_takes_long_to_open(tmp_path: Path) -> None:
    this = found(tmp_path, opened_late([0, 1, 3], 4), ping(30 * S))["slow-connect"]
    assert this.severity == "problem"
    assert this.text == "1 of 1 connection of QUIC took 4.0 s to open (3 Initials): 198.51.100.20:443."
    assert [frame for _, frame in this.every] == [1, 3, 4, 5]
    assert found(tmp_path, opened_late([0, 1, 3], 4, b"\xe3" + QUIC[1:]))["slow-connect"].severity == "problem"
    by_tcp = close(exchange(talk(42_000, 3 * S, (SERVER, 443)))).packets
    assert found(tmp_path, opened_late([0, 1, 3], 4), by_tcp)["slow-connect"].severity == "warning"


@pytest.mark.parametrize(("times", "answer_at"), [([0, 1], 4), ([0, 1, 2], 2), ([0, 100, 101], 102)])
def test_quic_that_opens_in_time(tmp_path: Path, times: list[int], answer_at: int) -> None:
    """A single repeat; soon enough; another attempt a minute later."""
    assert "slow-connect" not in found(tmp_path, opened_late(times, answer_at), ping(130 * S))


def test_quic_that_began_before_the_capture_has_no_opening(tmp_path: Path) -> None:
    server = [Packet(t * S, datagram((SERVER, 443), (CLIENT, 41_000), QUIC)) for t in (0, 1, 3)]
    late = Packet(8 * S, datagram((CLIENT, 41_000), (SERVER, 443), QUIC))
    assert "slow-connect" not in found(tmp_path, [*server, late], ping(30 * S))


def test_quic_that_gives_way_to_tcp_is_a_warning(tmp_path: Path) -> None:
    tried = asked_over_udp(QUIC, [0, 1, 3], (SERVER, 443))
    this = found(tmp_path, tried, close(exchange(talk(42_000, 2 * S, (SERVER, 443)))).packets, ping(30 * S))
    assert this["udp-unanswered"].severity == "warning"


def test_datagrams_that_need_no_answer(tmp_path: Path) -> None:
    syslog = asked_over_udp(b"<34>Oct 11 22:14:15 su: failed", [0, 1, 3, 7], (SERVER, 514))
    voice = asked_over_udp(b"\x80\x00" + bytes(170), [0, 1, 3, 7], (SERVER, 16_384))
    own = asked_over_udp(QUIC, [0, 1, 3, 7], ("239.1.1.1", 443))
    assert "udp-unanswered" not in found(tmp_path, syslog, voice, own, healthy(), ping(30 * S))


def test_questions_that_are_never_repeated_were_recorded_one_sided(tmp_path: Path) -> None:
    """A resolver library asks again after 5 s; of a capture that holds queries only, of any number, none proves a fault."""
    asked = [p for k in range(12) for p in lookup(f"n{k}.example.test", k * S, port=5_000 + k, txid=k)]
    assert "dns-unanswered" not in found(tmp_path, asked, healthy(), ping(60 * S))


def test_a_query_that_was_recorded_twice_was_not_asked_again(tmp_path: Path) -> None:
    asked = lookup("a.example.test", 0)
    again = [Packet(p.at + 3 * MS, p.data) for p in asked]
    this = found(tmp_path, asked, again, lookup("b.example.test", S, S + MS, port=5_001), healthy(), ping(60 * S))
    assert not problems(this)
    assert this["dns-unanswered"].values["asked_again"] == 0


def snmp(number: int) -> bytes:
    """A GetRequest of version 2c."""
    pdu = b"\xa0\x0b\x02\x01" + bytes([number]) + b"\x02\x01\x00\x02\x01\x00\x30\x00"
    body = b"\x02\x01\x01\x04\x06public" + pdu[:1] + bytes([len(pdu) - 2]) + pdu[2:]
    return b"\x30" + bytes([len(body)]) + body


NTP, CLOCK = b"\x23" + bytes(47), ("198.51.100.123", 123)
#: By Ethernet: what the router tells the client by ARP
TOLD = Ether() / ARP(op=2, hwsrc="02:00:00:00:00:01", psrc="192.0.2.1", pdst=CLIENT)
TOLD.time = 1_700_000_000


def written(folder: Path, *packets: tuple[float, Ether]) -> set[str]:
    """Problems in what is recorded by Ethernet."""
    with PcapWriter(str(folder / "made.pcap"), linktype=1) as out:
        for at, packet in packets:
            packet.time = 1_700_000_000 + at
            out.write(packet)
    return {f.id for f in netlens.analyze(str(folder / "made.pcap")).findings if f.severity == "problem"}


def asks(at: float, client: str = CLIENT, server: str = CLOCK[0], port: int = 123, data: bytes = NTP) -> tuple[float, Ether]:
    return at, Ether() / IP(src=client, dst=server) / UDP(sport=41_000 + int(at), dport=port) / data


@pytest.mark.parametrize("times", [1, 2])
def test_requests_that_are_given_up_soon_and_made_anew(tmp_path: Path, times: int) -> None:
    """Each one is sent three times within 2 s; only together they last as long as nobody waits for an answer on its way."""
    packets = [p for k in range(times) for p in asked_over_udp(snmp(k + 1), [3 * k, 3 * k + 1, 3 * k + 2], (SERVER, 161))]
    assert problems(found(tmp_path, packets, healthy(), ping(30 * S))) == ({"udp-unanswered"} if times == 2 else set())


AS_REQ, ERROR, OTHER = b"\x6a\x81\x80\x30" + bytes(120), b"\x7e\x81\x80\x30" + bytes(120), "198.51.100.21"


@pytest.mark.parametrize("way", ["TCP", "other server", "none"])
def test_requests_that_have_another_way(tmp_path: Path, way: str) -> None:
    """Clients of Kerberos take TCP, or another server (RFC 4120 7.2)."""
    packets: list[Packet] = []
    for k in range(7):
        at, port = 10 * k * S, 41_000 + k
        packets.append(Packet(at, datagram((CLIENT, port), (SERVER, 88), AS_REQ)))
        if way == "TCP":
            length = len(AS_REQ).to_bytes(4, "big")
            packets += close(exchange(talk(port, at + S, (SERVER, 88)), length + AS_REQ, length + ERROR)).packets
        elif way == "other server":
            packets.append(Packet(at + S, datagram((CLIENT, port), (OTHER, 88), AS_REQ)))
            packets.append(Packet(at + S + MS, datagram((OTHER, 88), (CLIENT, port), ERROR)))
    assert ("udp-unanswered" in problems(found(tmp_path, packets, healthy(), ping(90 * S)))) == (way == "none")


@pytest.mark.parametrize(("server", "back", "severity"), [((OTHER, 1195), b"\x40", "warning"), ((OTHER, 1195), b"no", "problem")])
def test_openvpn_that_takes_the_next_server(tmp_path: Path, server: End, back: bytes, severity: str) -> None:
    reset = b"\x38" + bytes(13)
    packets = asked_over_udp(reset, [0, 2, 4, 8], (SERVER, 1194))
    then = [
        Packet(12 * S, datagram((CLIENT, 41_001), server, reset)),
        Packet(12 * S + MS, datagram(server, (CLIENT, 41_001), back + bytes(25))),
    ]
    assert found(tmp_path, packets, then, healthy(), ping(30 * S))["udp-unanswered"].severity == severity


def test_a_monitor_that_looks_for_hosts_that_answer(tmp_path: Path) -> None:
    packets = [
        p
        for n in range(10)
        for k in range(2)
        for p in asked_over_udp(snmp(2 * n + k), [3 * k, 3 * k + 1, 3 * k + 2], (f"198.51.100.{n + 1}", 161), 41_000 + n)
    ]
    assert not problems(found(tmp_path, packets, healthy(), ping(30 * S)))


def test_requests_that_were_recorded_twice_where_answers_were_not(tmp_path: Path) -> None:
    """A filter for the port of SNMP's agents, in front of a router and behind it."""
    packets = [Packet(k * S + copy * MS, datagram((CLIENT, 41_000 + k), (SERVER, 161), snmp(k))) for k in range(9) for copy in range(2)]
    assert "udp-unanswered" not in found(tmp_path, packets)


def inform(number: int, kind: int = 0xA6) -> bytes:
    """An InformRequest of version 2c, or another message with the same number."""
    asked = snmp(number)
    return asked[:13] + bytes([kind]) + asked[14:]


def test_informs_that_nobody_acknowledges(tmp_path: Path) -> None:
    packets = asked_over_udp(inform(7), [0, 1, 2, 3, 4], (SERVER, 162)) + asked_over_udp(inform(8), [6, 7, 8, 9], (SERVER, 162), 41_001)
    this = found(tmp_path, packets, healthy(), ping(30 * S))["udp-unanswered"]
    assert (this.severity, this.text) == (
        "problem",
        "2 of 3 tries to reach a server over UDP (SNMP) got no answer: 198.51.100.20:162 (up to 5 datagrams over 4.0 s).",
    )


@pytest.mark.parametrize("told", [inform(7, 0xA7), inform(7)])
def test_traps_and_informs_that_are_acknowledged(tmp_path: Path, told: bytes) -> None:
    """A trap needs no answer (RFC 3416 4.2.6), and may be told again."""
    back = [Packet(4 * S + MS, datagram((SERVER, 162), (CLIENT, 41_000), inform(7, 0xA2)))] if told == inform(7) else []
    packets = asked_over_udp(told, [0, 1, 2, 3, 4], (SERVER, 162))
    assert "udp-unanswered" not in found(tmp_path, packets, back, healthy(), ping(30 * S))


def answered_late(times: int, tries: int, prompt: int = 0) -> list[Packet]:
    """Requests of SNMP that are answered after so many tries, and then some at once."""
    packets: list[Packet] = []
    for k in range(times + prompt):
        at, last = 10 * k, tries if k < times else 1
        packets += [Packet((at + n) * S, datagram((CLIENT, 41_000 + k), (SERVER, 161), snmp(k + 1))) for n in range(last)]
        asked = snmp(k + 1)
        packets.append(
            Packet((at + last - 1) * S + S // 2, datagram((SERVER, 161), (CLIENT, 41_000 + k), asked[:13] + b"\xa2" + asked[14:]))
        )
    return packets


def test_an_agent_that_answers_late_each_time(tmp_path: Path) -> None:
    this = found(tmp_path, answered_late(3, 3), healthy(), ping(60 * S))["slow-server"]
    assert (this.severity, this.text) == (
        "warning",
        "3 of 3 requests over UDP (SNMP) got an answer only after up to 3 tries and 2.5 s: 198.51.100.20:161.",
    )


@pytest.mark.parametrize("packets", [answered_late(2, 3), answered_late(3, 1), answered_late(3, 3, prompt=1)])
def test_agents_that_answer_late_now_and_then(tmp_path: Path, packets: list[Packet]) -> None:
    assert "slow-server" not in found(tmp_path, packets, healthy(), ping(60 * S))


def binding(number: int, kind: int = 1) -> bytes:
    return kind.to_bytes(2, "big") + b"\0\0\x21\x12\xa4\x42" + bytes([number]) * 12


def test_a_server_of_stun_that_is_silent(tmp_path: Path) -> None:
    """Who learns no address from outside may reach its peers all the same."""
    asked = asked_over_udp(binding(7), [0, 1, 3, 7, 15], (SERVER, 3478))
    this = found(tmp_path, asked, healthy(), ping(60 * S))["udp-unanswered"]
    assert (this.severity, this.text) == (
        "warning",
        "1 of 2 tries to reach a server over UDP (STUN) got no answer: 198.51.100.20:3478 (up to 5 datagrams over 15.0 s).",
    )
    answer = [Packet(int(15.1 * S), datagram((SERVER, 3478), (CLIENT, 41_000), binding(7, 0x0101)))]
    assert "udp-unanswered" not in found(tmp_path, asked, answer, healthy(), ping(60 * S))


@pytest.mark.parametrize(("asked", "told"), [(4, False), (6, True)])
def test_a_clock_that_asks_from_a_new_port_each_time(tmp_path: Path, asked: int, told: bool) -> None:
    packets = [p for k in range(asked) for p in asked_over_udp(NTP, [2 * k], CLOCK, 41_000 + k)]
    end = [Packet(40 * S, datagram((CLIENT, 9), (SERVER, 9), b"-"))]
    assert problems(found(tmp_path, packets, healthy(), end)) == ({"udp-unanswered"} if told else set())


def test_a_clock_that_hears_nothing_but_its_router(tmp_path: Path) -> None:
    """What the client was told by ARP shows that answers would be in the capture."""
    assert written(tmp_path, (0, TOLD), *(asks(k) for k in range(1, 9))) == {"udp-unanswered"}
    assert not written(tmp_path, *(asks(k) for k in range(1, 9)))


def test_a_clock_that_is_itself_asked_for_the_time(tmp_path: Path) -> None:
    """A filter for the port of NTP shows what it is asked, and what it asks; of the answers none."""
    others = [asks(k, "192.0.2.77", CLIENT) for k in range(1, 9)]
    assert not written(tmp_path, *others, *(asks(k) for k in range(1, 9)))


def test_quic_that_is_blocked_and_costs_seconds(tmp_path: Path) -> None:
    """The client takes TCP only after it has waited."""
    late = close(exchange(talk(42_000, 8 * S, (SERVER, 443)))).packets
    assert problems(found(tmp_path, asked_over_udp(QUIC, [0, 1, 3, 6], (SERVER, 443)), late, ping(30 * S))) == {"udp-unanswered"}


@pytest.mark.parametrize(("at", "server"), [(S // 3, SERVER), (2 * S, SERVER), (S, "198.51.100.99"), (-5 * S, "198.51.100.99")])
def test_quic_that_is_blocked_while_the_client_has_tcp(tmp_path: Path, at: int, server: str) -> None:
    """A browser opens both; or it has had TCP to another server all the time."""
    tcp = exchange(talk(42_000, at, (server, 443)), wait=20 * S)
    again = exchange(talk(42_001, 8 * S, (SERVER, 443)))
    this = found(tmp_path, asked_over_udp(QUIC, [0, 1, 3, 6], (SERVER, 443)), close(tcp).packets, close(again).packets, ping(40 * S))
    assert this["udp-unanswered"].severity == "warning"


INITIATION = b"\x01" + bytes(147)


def peers(first: bytes, times: list[int], server: str, back: bytes = b"") -> list[Packet]:
    """Both ends of WireGuard at its port."""
    one, other = (CLIENT, 51_820), (server, 51_820)
    answers = [Packet(t * S + MS, datagram(other, one, back)) for t in times if back]
    return [*(Packet(t * S, datagram(one, other, first)) for t in times), *answers]


def test_an_end_of_wireguard_that_nobody_answers(tmp_path: Path) -> None:
    this = found(tmp_path, peers(INITIATION, [0, 5, 10, 15], SERVER), ping(30 * S))
    assert problems(this) == {"udp-unanswered"}
    away = [*peers(INITIATION, [0, 5, 10, 15], SERVER), *peers(b"\x04" + bytes(95), [1, 2], "198.51.100.99", b"\x04" + bytes(95))]
    assert found(tmp_path, away, ping(30 * S))["udp-unanswered"].severity == "warning"  # one of its peers
    assert "udp-unanswered" not in found(tmp_path, peers(INITIATION, [0, 5, 10, 15], SERVER, b"\x02" + bytes(91)), ping(30 * S))


DATA = b"\x04" + bytes(95)


@pytest.mark.parametrize(
    ("silent_at", "handshakes", "told"),
    [
        pytest.param(1, [20, 25], True, id="it had spoken, and two handshakes later nothing came"),
        pytest.param(18, [20, 25], False, id="it spoke just before"),
        pytest.param(1, [20], False, id="one handshake"),
    ],
)
def test_an_end_of_wireguard_whose_peer_falls_silent(tmp_path: Path, silent_at: int, handshakes: list[int], told: bool) -> None:
    packets = [*peers(DATA, [0, silent_at], SERVER, DATA), *peers(DATA, list(range(2, 20)), SERVER), *peers(INITIATION, handshakes, SERVER)]
    assert ("udp-unanswered" in problems(found(tmp_path, packets, ping(26 * S)))) == told
    answered = [Packet(25 * S + 2 * MS, datagram((SERVER, 51_820), (CLIENT, 51_820), b"\x02" + bytes(91)))]
    assert "udp-unanswered" not in found(tmp_path, packets, answered, ping(26 * S))


def closed(times: list[int], repeats: int = 0, full: bool = False) -> list[Packet]:
    """Connections of QUIC, each from a new port, that the server answers by one short Initial, or by more."""
    out = []
    for k, at in enumerate(times):
        client = (CLIENT, 41_000 + k)
        out += [Packet(at * S + r * S, datagram(client, (SERVER, 443), QUIC)) for r in range(repeats + 1)]
        out.append(Packet(at * S + MS, datagram((SERVER, 443), client, QUIC if full else QUIC[:80])))
    return out


def test_a_server_of_quic_that_ends_each_handshake(tmp_path: Path) -> None:
    this = found(tmp_path, closed([0, 2, 4, 6, 8, 10]), ping(30 * S))
    assert problems(this) == {"tls-failed"}
    assert this["tls-failed"].text == (
        "6 of 6 QUIC handshakes failed: 198.51.100.20:443 ended them at once with a short Initial (CONNECTION_CLOSE)."
    )


def test_a_server_of_quic_that_ends_handshakes_when_the_hello_is_whole(tmp_path: Path) -> None:
    """A hello with a key for quantum computers has two datagrams: the first one is acknowledged."""
    packets = []
    for k, at in enumerate((0, 2, 4)):
        client = (CLIENT, 41_000 + k)
        for j in range(2):
            packets.append(Packet(at * S + 2 * j * MS, datagram(client, (SERVER, 443), QUIC)))
            packets.append(Packet(at * S + (2 * j + 1) * MS, datagram((SERVER, 443), client, QUIC[: 50 + 17 * j])))
    assert "3 of 3 QUIC handshakes failed" in found(tmp_path, packets, ping(30 * S))["tls-failed"].text


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([closed([0])], id="once"),
        pytest.param([closed([0, 2], repeats=1)], id="acknowledged, and said again"),
        pytest.param([closed([0, 2], full=True)], id="served"),
        pytest.param([closed([0, 2]), closed([0, 1, 4], full=True)[-2:]], id="served in the end"),
        pytest.param([closed([0, 2]), close(exchange(talk(server=(SERVER, 443)))).packets], id="by TCP"),
    ],
)
def test_handshakes_of_quic_that_may_succeed(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "tls-failed" not in problems(found(tmp_path, *streams, ping(30 * S)))


def long_header(kind: int, client: bool, name: bytes, size: int, version: int = 1) -> bytes:
    """A packet of QUIC with a long header (RFC 9000 17.2): the ids of both ends, no token, a length, and content."""
    server = b"\x09" + name[1:]
    first, second = (server, name) if client else (name, server)
    head = bytes([0xC0 | kind << 4]) + version.to_bytes(4, "big") + bytes([len(first)]) + first + bytes([len(second)]) + second
    head += b"" if kind else b"\0"
    rest = size - len(head) - 2
    return head + (0x4000 | rest).to_bytes(2, "big") + bytes(rest)


SHORT = b"\x45" + bytes(39)  #: what comes behind the handshake


def left(
    times: list[float],
    behind: bytes = b"",
    again: tuple[float, ...] = (),
    one_port: bool = False,
    shown: tuple[float, ...] = (),
    fill: int = 0,
) -> list[Packet]:
    """Connections of QUIC whose client says one thing of the handshake when the server has answered, with what may come behind it in the same datagram.

    shown : s behind it, when the server shows the same again.  fill : zeros behind what the client says.
    """
    out = []
    for k, at in enumerate(times):
        client, name, ns = (CLIENT, 41_000 if one_port else 41_000 + k), bytes([k]) * 8, int(at * S)
        said = long_header(0, True, name, 60) + long_header(2, True, name, 100) + behind + bytes(fill)
        out += [
            Packet(ns, datagram(client, (SERVER, 443), long_header(0, True, name, 1200))),
            Packet(ns + MS, datagram((SERVER, 443), client, long_header(0, False, name, 200) + long_header(2, False, name, 1000))),
            *(Packet(ns + 2 * MS + int(later * S), datagram(client, (SERVER, 443), said)) for later in (0, *again)),
            *(Packet(ns + 2 * MS + int(later * S), datagram((SERVER, 443), client, long_header(2, False, name, 1200))) for later in shown),
        ]
    return out


OTHER = "198.51.100.77"


def elsewhere(at: int, behind: bytes) -> list[Packet]:
    """The same once, with another server."""
    name, client, ns = b"\x77" * 8, (CLIENT, 43_000 + at), at * S
    return [
        Packet(ns, datagram(client, (OTHER, 443), long_header(0, True, name, 1200))),
        Packet(ns + MS, datagram((OTHER, 443), client, long_header(0, False, name, 1200))),
        Packet(ns + 2 * MS, datagram(client, (OTHER, 443), long_header(2, True, name, 100) + behind)),
    ]


@pytest.mark.parametrize("one_port", [False, True])
def test_clients_of_quic_that_leave_in_the_handshake(tmp_path: Path, one_port: bool) -> None:
    this = found(tmp_path, left([0, 2, 4], one_port=one_port), ping(30 * S))
    assert problems(this) == {"tls-failed"}
    assert this["tls-failed"].text == (
        "3 of 3 QUIC handshakes failed: 192.0.2.10 left upon what 198.51.100.20:443 showed, before the handshake was over."
    )
    assert "certificate" in this["tls-failed"].advice


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([left([0])], id="once"),
        pytest.param([left([0, 2, 4], SHORT)], id="it goes on"),
        pytest.param([left([0, 2]), left([4], SHORT)], id="it goes on in the end"),
        pytest.param([left([0, 2, 4, 7], shown=(0.2, 0.6))], id="it goes without a word"),
        pytest.param(
            [
                left([0, 2, 4, 7]),
                [Packet(7 * S + 3 * MS, datagram((SERVER, 443), (CLIENT, 41_003), long_header(2, False, b"\3" * 8, 1200)))],
            ],
            id="one had not seen all",
        ),
        pytest.param([left([0, 2, 4, 6, 8])], id="a clock"),
        pytest.param([left([0, 20], again=(0.3, 0.9, 2.1, 4.5))], id="it is not heard"),
        pytest.param([left([0, 2]), close(exchange(talk(server=(SERVER, 443)))).packets], id="by TCP"),
        pytest.param([left([29, 29.5])], id="the capture ends"),
        pytest.param(
            [left([0, 2]), *(close(exchange(talk(42_000 + at, at * S, (OTHER, 443)))).packets for at in (0, 2))],
            id="another address wins by TCP",
        ),
        pytest.param([left([0, 2]), elsewhere(0, SHORT), elsewhere(2, SHORT)], id="another address wins"),
    ],
)
def test_clients_of_quic_that_may_be_well(tmp_path: Path, streams: list[list[Packet]]) -> None:
    this = found(tmp_path, *streams, ping(30 * S))
    assert "tls-failed" not in problems(this)


def test_a_filter_for_long_datagrams_hides_what_clients_of_quic_say_last(tmp_path: Path) -> None:
    assert "tls-failed" not in found(tmp_path, left([0, 2, 5], fill=1040), healthy(at=30 * S))


def negotiated(
    times: list[int], versions: tuple[int, ...] = (1,), then: bytes = b"", name: bytes = bytes(8), asked: bytes = b"Q046"
) -> list[Packet]:
    """Connections of QUIC, each from a new port, that begin by a version of old, and to which the server says which it has."""
    out = []
    for k, at in enumerate(times):
        client = (CLIENT, 41_000 + k)
        said = b"\x80\0\0\0\0\x08" + bytes(8) + bytes([8]) + name + b"".join(v.to_bytes(4, "big") for v in versions)
        out.append(Packet(at * S, datagram(client, (SERVER, 443), b"\xc3" + asked + QUIC[5:])))
        out.append(Packet(at * S + MS, datagram((SERVER, 443), client, said)))
        out += [Packet(at * S + 2 * MS, datagram((SERVER, 443), client, then))] if then else []
    return out


def test_a_server_of_quic_without_the_clients_version(tmp_path: Path) -> None:
    this = found(tmp_path, negotiated([0, 2, 4], (0x0A1A2A3A, 1, 0x6B3343CF)), ping(30 * S))
    assert problems(this) == {"tls-failed"}
    assert this["tls-failed"].text == "3 of 3 QUIC handshakes failed: 198.51.100.20:443 has other versions (0x1, 0x6b3343cf)."


@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([negotiated([0])], id="once"),
        pytest.param([negotiated([0, 2], asked=b"\x1a\x2a\x3a\x4a")], id="it only asks which there are"),
        pytest.param([negotiated([0, 2], then=QUIC)], id="they agree"),
        pytest.param([negotiated([0, 2], versions=(int.from_bytes(b"Q046", "big"),))], id="it has that version"),
        pytest.param([negotiated([0, 2], name=b"another ")], id="of another connection"),
        pytest.param([negotiated([0, 2]), close(exchange(talk(server=(SERVER, 443)))).packets], id="by TCP"),
    ],
)
def test_versions_of_quic_that_do_no_harm(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "tls-failed" not in problems(found(tmp_path, *streams, ping(30 * S)))


def fallen_silent(since: float, sent: int = 8, every: float = 0.5, answered: bool = False) -> list[Packet]:
    """A connection of QUIC to which the server says nothing more, and in which the client sends from some time on."""
    client: End = (CLIENT, 41_000)
    out = left([0], SHORT)
    for k in range(sent):
        out.append(Packet(int((since + k * every) * S), datagram(client, (SERVER, 443), SHORT)))
        out += [Packet(out[-1].at + MS, datagram((SERVER, 443), client, SHORT))] if answered else []
    return out


def another_peer() -> list[Packet]:
    """To which the same port of the client has QUIC."""
    client, name = (CLIENT, 41_000), b"\x55" * 8
    return [
        Packet(5 * S, datagram(client, (OTHER, 443), long_header(0, True, name, 1200))),
        Packet(5 * S + MS, datagram((OTHER, 443), client, long_header(0, False, name, 1200))),
    ]


def test_a_server_of_quic_that_falls_silent(tmp_path: Path) -> None:
    this = found(tmp_path, fallen_silent(1), ping(60 * S))
    assert problems(this) == {"udp-unanswered"}
    assert this["udp-unanswered"].text == (
        "198.51.100.20:443 fell silent on 1 of 1 connection of QUIC: 192.0.2.10 went on to send, and heard nothing more for 4.5 s."
    )


@pytest.mark.parametrize(
    ("packets", "severity"),
    [
        pytest.param(fallen_silent(1, answered=True), None, id="answered"),
        pytest.param(fallen_silent(1, sent=6), None, id="few"),
        pytest.param(fallen_silent(1, every=0.2), None, id="soon"),
        pytest.param(fallen_silent(40), "warning", id="both were idle"),
        pytest.param([*fallen_silent(0.1, sent=1), *fallen_silent(9)[-8:]], "warning", id="for some seconds"),
        pytest.param(fallen_silent(2, sent=24), "problem", id="for long"),
        pytest.param([*fallen_silent(1), *another_peer()], "warning", id="a peer among others"),
    ],
)
def test_a_server_of_quic_that_may_be_silent(tmp_path: Path, packets: list[Packet], severity: str | None) -> None:
    this = found(tmp_path, packets, ping(60 * S))
    assert (this["udp-unanswered"].severity if "udp-unanswered" in this else None) == severity


def test_a_peer_of_wireguard_that_had_come_from_any_port(tmp_path: Path) -> None:
    asleep = [Packet(t * S, datagram((CLIENT, 51_820), (SERVER, 40_123), INITIATION)) for t in (0, 5, 10, 15)]
    assert found(tmp_path, asleep, healthy(), ping(30 * S))["udp-unanswered"].severity == "warning"


PEER: End = ("203.0.113.10", 50_000)
CHECK = b"\x00\x01\x00\x58\x21\x12\xa4\x42" + bytes(12 + 88)  # with a user name, a priority, a role, integrity
TO_SERVER = b"\x00\x01\x00\x08\x21\x12\xa4\x42" + bytes(12 + 8)  # with a fingerprint
GRANTED = b"\x01\x01" + CHECK[2:]
RELAY: End = (SERVER, 3478)


def checks(
    seconds: tuple[float, ...] = (0, 0.5, 1.5, 3.5, 7.5), peer: End = PEER, first: bytes = CHECK, answered: bool = False
) -> list[Packet]:
    packets = [Packet(int(at * S), datagram((CLIENT, 50_001), peer, first)) for at in seconds]
    return [*packets, Packet(packets[-1].at + MS, datagram(peer, (CLIENT, 50_001), GRANTED))] if answered else packets


def media(n: int, server: End, step: int = 20 * MS) -> list[Packet]:
    return [
        Packet(S + k * step + way, datagram(*ends, b"\x40\x00" + bytes(160)))
        for k in range(n)
        for way, ends in enumerate((((CLIENT, 50_001), server), (server, (CLIENT, 50_001))))
    ]


def test_a_call_that_finds_no_way_to_its_peer(tmp_path: Path) -> None:
    other: End = ("10.1.2.3", 50_000)
    asked = checks((0,), ("192.0.2.53", 3478), TO_SERVER, answered=True)  # by which it learned its address
    this = found(tmp_path, checks(), checks(peer=other), asked, healthy(), ping(30 * S))
    assert problems(this) == {"udp-unanswered"}
    assert this["udp-unanswered"].text == (
        "192.0.2.10 looked for a way to a peer by STUN (ICE) and heard nothing: 10.1.2.3:50000 and 203.0.113.10:50000 (10 datagrams over 7.5 s)."
    )


def by_tcp() -> list[Packet]:
    made = talk(42_000, server=(SERVER, 443), step=50 * MS)
    for _ in range(60):
        made.up("PA", b"m" * 160)
        made.down("PA", b"m" * 160)
    return made.packets


@pytest.mark.parametrize(
    "streams",
    [
        [checks(), checks(peer=("10.1.2.3", 50_000), answered=True), healthy()],
        [checks(), media(100, RELAY), healthy()],
        [checks(), by_tcp()],
        [checks(first=TO_SERVER), healthy()],
        [checks((0, 0.5, 1.5)), healthy()],
        [checks((0, 0.05, 0.1, 0.15, 0.2, 0.25)), healthy()],
        [checks()],
        [checks(), media(100, PEER), healthy()],
        [checks((0,)), media(400, PEER)[::2], healthy()],  # what comes back went another way
    ],
    ids=[
        "another way works",
        "a relay",
        "a relay over TCP",
        "a server",
        "soon given up",
        "at once",
        "recorded one-sided",
        "answered without STUN",
        "media one way",
    ],
)
def test_checks_of_ways_that_nobody_misses(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "udp-unanswered" not in problems(found(tmp_path, *streams, ping(30 * S)))


BACKING_OFF, DOUBLING = [0, 0.6, 1.3, 2.3, 3.6], [0, 1, 3, 7, 15, 31]


def tells(times: list[float], *messages: bytes, port: int = 9987, client: str = CLIENT) -> list[Packet]:
    """What goes one way: one message after the other, over and over."""
    return [
        Packet(int(t * S), datagram((client, 41_000), (SERVER, port), m)) for t, m in zip(times, itertools.cycle(messages), strict=False)
    ]


def of_a_game(times: list[float], server: str = SERVER, port: int = 41_000, pieces: int = 1) -> list[Packet]:
    """A protocol that nobody knows; each try in so many datagrams."""
    return [
        Packet(int(t * S) + k * MS, datagram((CLIENT, port), (server, 9987), bytes([0x54, k]) * (20 + 9 * k)))
        for t in times
        for k in range(pieces)
    ]


@pytest.mark.parametrize("batch", [1, 65_536])
@pytest.mark.parametrize(("times", "pieces"), [(BACKING_OFF, 2), ([0, 1, 3, 7, 15], 1), ([*BACKING_OFF, 3.8, 34], 2)])
def test_a_client_that_waits_longer_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: list[float], pieces: int, batch: int
) -> None:
    monkeypatch.setattr(trail, "_LATER", batch)
    this = found(tmp_path, of_a_game(times, pieces=pieces), healthy())
    assert problems(this) == {"udp-unanswered"}
    assert this["udp-unanswered"].text.startswith(
        f"198.51.100.20:9987 never answered over UDP: 192.0.2.10 sent up to {len(times) * pieces} datagrams"
    )


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([*of_a_game(BACKING_OFF), Packet(4 * S, datagram((SERVER, 9987), (CLIENT, 41_000), b"-"))], id="answered"),
        pytest.param([*of_a_game(BACKING_OFF), Packet(4 * S, datagram((SERVER, 77), (CLIENT, 41_000), b"-"))], id="another peer answers"),
        pytest.param(of_a_game([0, 1, 2, 3, 4, 5, 6]), id="an even pace"),
        pytest.param(of_a_game([0, 3, 4, 9, 11, 12]), id="from time to time"),
        pytest.param(of_a_game([0, 0.1, 0.3, 0.7, 1.5]), id="short"),
        pytest.param(of_a_game([0, 1, 3, 7]), id="few"),
        pytest.param(of_a_game([0, 0.4, 1, 1.9, 3.4, 5.9, 9.5]), id="longer each time, by no rule"),
        pytest.param(tells(DOUBLING, *(b"T=%d" % (40 - k) for k in range(6))), id="what changes"),
        pytest.param(tells(DOUBLING, b"app.start.one:1|c", b"app.start.eleven:1|c"), id="what is longer"),
        *(pytest.param(tells(DOUBLING, b"app.start:1|c", port=port), id=f"to {port}") for port in (9, 162, 514, 2055, 6343, 8125, 12_201)),
        pytest.param(tells(DOUBLING, b"\xff" * 6 + bytes(96)), id="wakes a host"),
        pytest.param(tells(DOUBLING, b"\x80\xc8\0\6" + bytes(24)), id="RTCP"),
        pytest.param(
            [*of_a_game(BACKING_OFF), *tells([0.5, 1, 1.5, 2, 2.5, 3], b"-", client="192.0.2.99")],
            id="another one tells it at an even pace",
        ),
        pytest.param(of_a_game([*BACKING_OFF, *(4 + k / 10 for k in range(40))]), id="a stream"),
        pytest.param(of_a_game(BACKING_OFF, "239.255.255.250"), id="to many"),
        pytest.param([p for k in range(12) for p in of_a_game(BACKING_OFF, f"198.51.100.{30 + k}", 41_000 + k)], id="looks around"),
    ],
)
def test_datagrams_that_are_no_tries(tmp_path: Path, packets: list[Packet]) -> None:
    assert "udp-unanswered" not in found(tmp_path, packets, healthy())
