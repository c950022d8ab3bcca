"""The overview of a capture: it agrees with the tables, and nothing is named nowhere."""

from __future__ import annotations

import struct
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from scapy.layers.dns import DNS, DNSQR, DNSRR

import netlens
from netlens.report import overview, text, time_budget
from tests.lenses.made import MS, OK, S, close, exchange, healthy, lookup, ping, talk
from tests.lenses.test_lenses import resent
from tests.parsers.build import Packet, _ip, datagram, mixed, unreachable, write


def test_protocols_are_those_of_the_table(tmp_path: Path) -> None:
    silent = close(talk(40_500, server=("198.51.100.21", 443))).packets
    other = close(exchange(talk(40_600, server=("198.51.100.22", 5222)), b"hello", b"there")).packets
    capture = netlens.analyze(str(write(tmp_path / "made.pcap", mixed(healthy(), silent, other)))).capture
    assert Counter(capture.table("sessions")["protocol"].tolist()) == {"http": 1, None: 2}
    assert "(1 http, 1 on port 443 (tls), 1 on port 5222)" in dict(overview.lines(capture))["tcp"]


def test_mysql_is_told_by_its_greeting(tmp_path: Path) -> None:
    """Whatever the port; but other servers whose first bytes look like numbers are left alone."""
    made, other = talk(40_500, server=("198.51.100.21", 5432)), talk(40_600, server=("198.51.100.22", 5432))
    made.down("PA", b"J\x00\x00\x00\x0a8.0.34\x00" + bytes(60))
    other.up("PA", b"\x00\x00\x00\x08\x04\xd2\x16\x2f")
    other.down("PA", b"N")
    capture = netlens.analyze(str(write(tmp_path / "made.pcap", mixed(close(made).packets, close(other).packets)))).capture
    told = dict(overview.lines(capture))
    assert "(1 on port 5432 (mysql), 1 on port 5432 (postgresql))" in told["tcp"]
    assert "198.51.100.21 (port 5432 (mysql)" in told["traffic"]


def test_requests_of_which_the_server_was_not_recorded(tmp_path: Path) -> None:
    """One direction, also on the loopback interface, where both ends have one address."""
    for address in ("192.0.2.10", "127.0.0.1"):
        made = talk(40_500, client=address, server=("127.0.0.1" if address == "127.0.0.1" else "198.51.100.21", 80))
        packets = [p for k, p in enumerate(close(exchange(made)).packets) if k not in (1, 4, 5, 8)]
        found = netlens.analyze(str(write(tmp_path / "made.pcap", packets)))
        assert [each.id for each in found.findings] == ["capture-loss"]
        assert "in one direction only" in found.findings[0].text
        assert "1 request (no packet from the server), " in time_budget.rows(found)[0][1]


def test_repeated_frames_without_data_are_told_apart(tmp_path: Path) -> None:
    made = resent([0.3, 0.9])
    seq = made.seq
    made.up("FA")
    made.at += 300 * MS
    made.up("FA", seq=seq)
    capture = netlens.analyze(str(write(tmp_path / "made.pcap", mixed(made.packets, ping(9 * S))))).capture
    assert "3 frames sent again (1 of them FIN or SYN without data)" in dict(overview.lines(capture))["tcp"]


def test_with_verbose_all_pairs_of_addresses_are_named(tmp_path: Path) -> None:
    many = [healthy_of(k) for k in range(25)]
    capture = netlens.analyze(str(write(tmp_path / "made.pcap", mixed(*many)))).capture
    left = [dict(overview.lines(capture, verbose))["traffic"].partition(" other pairs")[0].rpartition(" ")[2] for verbose in (0, 1)]
    assert left == ["22", "5"]
    assert all(f"192.0.2.{100 + k} and " in dict(overview.lines(capture, 2))["traffic"] for k in range(25))


def healthy_of(k: int) -> list[Packet]:
    return close(exchange(talk(41_000 + k, client=f"192.0.2.{100 + k}"))).packets


def test_names_that_are_cut_have_an_ellipsis(tmp_path: Path) -> None:
    name = f"{'a' * 60}.example.test"
    capture = netlens.analyze(str(write(tmp_path / "made.pcap", mixed(lookup(name, 0, S))))).capture
    told = dict(overview.lines(capture))["dns"]
    assert f"{'a' * 39}…" in told
    assert name not in told


def overview_of(tmp_path: Path, *streams: list[Packet]) -> dict[str, str]:
    return dict(overview.lines(netlens.analyze(str(write(tmp_path / "made.pcap", mixed(*streams)))).capture))


def test_frames_that_were_recorded_twice_are_not_repeated(tmp_path: Path) -> None:
    packets = healthy()
    told = overview_of(tmp_path, packets, [Packet(p.at + 100_000, p.data) for p in packets])["tcp"]
    assert f"{len(packets)} frames recorded more than once" in told
    assert "sent again" not in told


@pytest.mark.parametrize(("reports", "on_the_way", "recorded"), [(10, 11, 0), (3, 3, 8), (0, 0, 11)])
def test_frames_that_the_network_duplicated(tmp_path: Path, reports: int, on_the_way: int, recorded: int) -> None:
    """Ten segments with data and one acknowledgment without come twice; the receiver says so of some (RFC 2883)."""
    made = exchange(talk())
    bare = made.down("A")
    twice = [replace(bare, at=bare.at + 100_000)]
    for k in range(10):
        begin = made.back
        sent = made.down("PA", 1000)
        twice.append(replace(sent, at=sent.at + 100_000))
        raw = made.up("A").data
        if k < reports:
            options = b"\x01\x01\x05\x0a" + struct.pack(">II", begin % 2**32, made.back % 2**32)
            raw = raw[:2] + struct.pack(">H", len(raw) + len(options)) + raw[4:32] + bytes([8 << 4]) + raw[33:] + options
            made.packets[-1] = replace(made.packets[-1], data=raw)
    told = overview_of(tmp_path, close(made).packets, twice)["tcp"]
    assert (f"{on_the_way} frames duplicated on the way, as the receiver says (D-SACK)" in told) == bool(on_the_way), told
    assert (f"{recorded} frames recorded more than once" in told) == bool(recorded), told
    assert "sent again" not in told


def test_searches_by_multicast_are_no_unanswered_lookups(tmp_path: Path) -> None:
    search = datagram(
        ("192.0.2.10", 5353), ("224.0.0.251", 5353), b"\x00\x00\x00\x00\x00\x01" + bytes(6) + b"\x01a\x05local\x00\x00\x01\x00\x01"
    )
    told = overview_of(tmp_path, lookup("a.example.test", 0, 20 * MS), [Packet(S, search)])["dns"]
    assert told == "1 lookup, 1 name (a.example.test), median 20 ms; 1 search by multicast, 1 name (a.local)"


def test_a_pair_is_named_once_and_who_is_connected_to_is_the_server(tmp_path: Path) -> None:
    """The second connection was joined midway, its first frame from the server."""
    opened = close(exchange(talk(40_000, server=("198.51.100.20", 17_501)), b"q", b"a")).packets
    joined = exchange(talk(40_001, server=("198.51.100.20", 17_501), at=S), b"q", b"a").packets[5:]
    told = overview_of(tmp_path, opened, joined)
    assert told["traffic"].count("192.0.2.10 and") == 1
    assert told["tcp"].startswith("2 connections (2 on port 17501) to 1 server")


QUIC = b"\xc3\x00\x00\x00\x01\x08" + bytes(1194)
DTLS = b"\x17\xfe\xfd\x00\x01" + bytes(40)
STUN = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + bytes(12)
WIREGUARD = b"\x04\x00\x00\x00" + bytes(28)


@pytest.mark.parametrize(
    ("message", "port", "name"),
    [
        (QUIC, 443, "quic"),
        (QUIC, 8443, "quic"),
        (DTLS, 443, "dtls"),
        (STUN, 443, "stun"),
        (WIREGUARD, 443, "wireguard"),
        (WIREGUARD, 5248, "udp 5248"),
        (WIREGUARD, 5246, "capwap"),
        (b"\x43" + bytes(40), 443, "udp 443"),
        (b"hello", 514, "syslog"),
    ],
)
def test_datagrams_are_named_by_what_they_are_else_by_the_port(tmp_path: Path, message: bytes, port: int, name: str) -> None:
    there = [Packet(0, datagram(("192.0.2.10", 50_000), ("198.51.100.20", port), message))]
    back = [Packet(MS, datagram(("198.51.100.20", port), ("192.0.2.10", 50_000), b"\x43" + bytes(40)))]
    assert f" ({name}, " in overview_of(tmp_path, there, back)["traffic"]


@pytest.mark.parametrize(
    ("source", "destination", "answered", "told"),
    [
        (("192.0.2.10", 4942), ("198.51.100.20", 6343), False, "192.0.2.10 and 198.51.100.20 (udp 6343, "),  # to where all goes
        (("192.0.2.10", 1064), ("239.1.2.3", 5001), False, "192.0.2.10 and 239.1.2.3 (udp 5001, "),
        (("192.0.2.10", 1064), ("239.1.2.3", 50_001), False, "192.0.2.10 and 239.1.2.3 (udp 50001, "),
        (("192.0.2.10", 7001), ("198.51.100.20", 40_000), False, "198.51.100.20 and 192.0.2.10 (udp 7001, "),  # an answer alone
        (("192.0.2.10", 2049), ("198.51.100.20", 1023), False, "198.51.100.20 and 192.0.2.10 (udp 2049, "),
        (("192.0.2.10", 7002), ("198.51.100.20", 7001), True, "192.0.2.10 and 198.51.100.20 (udp 7001, "),
        (("192.0.2.10", 40_000), ("198.51.100.20", 5060), False, "192.0.2.10 and 198.51.100.20 (udp 5060, "),  # no SIP
    ],
)
def test_datagrams_are_named_by_the_end_that_is_spoken_to(
    tmp_path: Path, source: tuple[str, int], destination: tuple[str, int], answered: bool, told: str
) -> None:
    there = [Packet(0, datagram(source, destination, b"\x04\0\0\0" + bytes(40)))]
    back = [Packet(MS, datagram(destination, source, b"\x04\0\0\0" + bytes(40)))] if answered else []
    assert told in overview_of(tmp_path, there, back)["traffic"]


def test_what_a_capture_holds_besides_tcp_and_udp_is_counted(tmp_path: Path) -> None:
    assert "other" not in overview_of(tmp_path, healthy())
    told = overview_of(tmp_path, healthy(), [unreachable(40_900)])
    assert told["other"] == "1 ICMP error"


def test_where_nothing_is_looked_at_no_problem_is_no_answer(tmp_path: Path) -> None:
    igmp = Packet(
        0, bytes.fromhex("46c00020000040000102") + bytes(2) + bytes.fromhex("c000020ae0000016 94040000 2200fa0000000000".replace(" ", ""))
    )
    assert "Nothing to judge: none of it is TCP, UDP, ICMP or ARP" in shown(write(tmp_path / "made.pcap", [igmp]))
    assert "No problem found" in shown(write(tmp_path / "more.pcap", mixed([igmp], ping(S))))


@pytest.mark.parametrize(
    "asks", [b"\x05\x02\x00\x02", b"\x04\x01\x01\xbb\xc6\x33\x64\x14\x00", b"CONNECT a.example.test:443 HTTP/1.1\r\n\r\n"]
)
def test_a_proxy_has_not_the_name_of_what_it_is_asked_for(tmp_path: Path, asks: bytes) -> None:
    told = overview_of(tmp_path, close(exchange(talk(server=("198.51.100.20", 1080)), asks, b"\x05\x00")).packets)
    assert "198.51.100.20 = a proxy (" in told["traffic"]
    assert "proxy" not in overview_of(tmp_path, close(exchange(talk(), b"\x05\x02\x00", OK)).packets)["traffic"]


def test_searches_by_multicast_are_no_unanswered_lookups_of_a_side(tmp_path: Path) -> None:
    search = datagram(
        ("192.0.2.10", 5353), ("224.0.0.251", 5353), b"\x00\x00\x00\x00\x00\x01" + bytes(6) + b"\x01a\x05local\x00\x00\x01\x00\x01"
    )
    path = write(tmp_path / "made.pcap", mixed(lookup("a.example.test", 0, 20 * MS), [Packet(S, search)]))
    told = shown(path, 1)
    assert "lookups       1, median 20.000 ms, longest 20.000 ms; 1 search by multicast" in told


def shown(path: Path, verbose: int = 0) -> str:
    console = Console(width=300, file=StringIO())
    text.render(netlens.analyze(str(path)), console, verbose)
    said: str = console.file.getvalue()  # type: ignore[attr-defined]
    return said


def test_a_capture_without_a_packet_has_no_answer(tmp_path: Path) -> None:
    told = shown(write(tmp_path / "made.pcap", []))
    assert "No packets in the capture" in told
    assert "No problem found" not in told


def test_blocks_without_a_packet_are_no_packets(tmp_path: Path) -> None:
    """A custom block of pcapng, which has a frame number in Wireshark."""
    head = bytes.fromhex("0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000")
    path = tmp_path / "made.pcapng"
    path.write_bytes(head + bytes.fromhex("ad0b00001000000000000000" + "10000000") * 4)
    assert netlens.analyze(str(path)).capture.warnings == [f"{path}: holds no packets in 4 frames"]
    assert "No packets in the capture" in shown(path)


def test_a_capture_that_is_cut_short_is_a_warning(tmp_path: Path) -> None:
    path = write(tmp_path / "made.pcap", healthy())
    path.write_bytes(path.read_bytes()[:-5])
    (this,) = (f for f in netlens.analyze(str(path)).findings if f.id == "unread-traffic")
    assert (this.severity, this.values) == ("warning", {"damaged": 1, "files": 1})
    assert this.text.startswith("made.pcap: cut short in the middle of a record at byte offset ")
    assert this.text.endswith("frames before it were read.")


def test_what_is_needed_is_no_caution() -> None:
    told = shown(Path(__file__).parents[1] / "data" / "http2" / "offered.pcap.gz", 1)
    assert "caution requests on 6 connections of HTTP/2 were counted by the sizes of TLS records, as" in " ".join(told.split())
    assert "not exactly" not in told
    assert "caution  a TLS key log" not in told


def test_where_no_frame_was_read_it_is_said(tmp_path: Path) -> None:
    """An association of SCTP that is opened is heard, and nothing else of it."""
    chunk = bytes.fromhex("0100001400000001000100000001000100000001")
    packets = [
        Packet(k * MS, _ip("192.0.2.1", "192.0.2.2", 132, bytes.fromhex("13881388000000000000 0000".replace(" ", "")) + chunk))
        for k in range(2)
    ]
    assert "No problem found, but next to nothing could be judged: 2 of 2 frames were not read" in shown(
        write(tmp_path / "made.pcap", packets)
    )


def test_an_answer_over_tcp_that_may_be_cut_is_not_missing(tmp_path: Path) -> None:
    query = bytes(DNS(id=7, rd=1, qd=DNSQR(qname="a.example.test")))
    reply = bytes(DNS(id=7, qr=1, qd=DNSQR(qname="a.example.test"), an=[DNSRR(rrname="a.example.test", type="TXT", rdata=[b"a" * 200])]))
    made = talk(server=("198.51.100.53", 53))
    made.up("PA", len(query).to_bytes(2, "big") + query)
    made.down("PA", len(reply).to_bytes(2, "big") + reply)
    whole = close(made).packets
    cut = [replace(p, data=p.data[:-100], cut=100) if b"a" * 200 in p.data else p for p in whole]
    for packets in (whole, cut):
        assert "unanswered" not in overview_of(tmp_path, packets)["dns"]
    unheard = [p for p in whole if b"a" * 200 not in p.data]
    assert "1 unanswered" in overview_of(tmp_path, unheard)["dns"]
