"""Requests over UDP that come again with the same mark: their sender got no answer, whatever else the capture holds."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, SERVER, S, close, exchange, found, healthy, problems, talk
from tests.parsers.build import MS, Packet, _ip, datagram

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AGAIN = (0, 1, 3, 7)  #: s


def sip(number: int = 1, method: bytes = b"REGISTER") -> bytes:
    return method + b" sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK%d;rport\r\nCSeq: 1 REGISTER\r\n\r\n" % number


def ike(number: int = 0, flags: int = 8, major: int = 2, responder: int = 0) -> bytes:
    return struct.pack(">QQBBBBII", 7 << 60, responder, 33, major << 4, 34, flags, number, 28)


def radius(number: int = 1, authenticator: int = 5, code: int = 1) -> bytes:
    return struct.pack(">BBH", code, number, 20) + authenticator.to_bytes(16, "big")


def snmp(number: int = 1, pdu: int = 0xA0) -> bytes:
    inner = bytes([2, 1, number, 2, 1, 0, 2, 1, 0, 0x30, 0])
    body = b"\x02\x01\x01\x04\x06public" + bytes([pdu, len(inner)]) + inner
    return bytes([0x30, len(body)]) + body


def dhcpv6(number: int = 1, kind: int = 1) -> bytes:
    return bytes([kind]) + number.to_bytes(3, "big") + b"\x00\x01\x00\x0a\x00\x03\x00\x01" + bytes(6)


def relayed(number: int = 1, kind: int = 12) -> bytes:
    inner = dhcpv6(number, 1 if kind == 12 else 2)
    return bytes([kind, 0]) + bytes(32) + struct.pack(">HH", 9, len(inner)) + inner


def dtls(number: int = 1, record: int = 0) -> bytes:
    hello = b"\xfe\xfd" + number.to_bytes(32, "big") + bytes(40)
    head = bytes([1]) + len(hello).to_bytes(3, "big") + bytes(2) + bytes(3) + len(hello).to_bytes(3, "big")
    return b"\x16\xfe\xff\x00\x00" + record.to_bytes(6, "big") + struct.pack(">H", len(head + hello)) + head + hello


def l2tp(number: int = 1) -> bytes:
    return struct.pack(">HHHHHH", 0xC802, 28, 0, 0, 0, 0) + b"\x80\x08\0\0\0\0\0\1" + b"\x80\x08\0\0\0\x09" + struct.pack(">H", number)


def gtp(number: int = 1, kind: int = 1) -> bytes:
    return struct.pack(">BBH", 0x40, kind, 4) + number.to_bytes(3, "big") + b"\0"


def pfcp(number: int = 1, kind: int = 5) -> bytes:
    return struct.pack(">BBH", 0x20, kind, 4) + number.to_bytes(3, "big") + b"\0"


def coap(number: int = 1, kind: int = 0, code: int = 1) -> bytes:
    return struct.pack(">BBH", 0x41 | kind << 4, code, number) + b"\x09"


def tftp(number: int = 1) -> bytes:
    return b"\0\1file%d\0octet\0" % number


def nbns(number: int = 1, flags: int = 0x2900, kind: int = 0x20) -> bytes:
    return struct.pack(">HHHHHH", number, flags, 1, 0, 0, 1) + b"\x20" + b"EN" * 16 + bytes([0, 0, kind, 0, 1]) + bytes(22)


def rpc(number: int = 1, kind: int = 0) -> bytes:
    return struct.pack(">IIIIII", number, kind, 2, 100_000, 2, 3) + bytes(16)


def mgcp(number: int = 1) -> bytes:
    return b"RSIP %d aaln/1@gw.example MGCP 1.0\r\nRM: restart\r\n" % number


#: name, port, a request, one that is another, an answer to it
EVERY = [
    ("SIP", 5060, sip(), sip(2), b"SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK2\r\n\r\n"),
    ("IKE", 500, ike(), ike(1), ike(1, 0x20, responder=9)),
    ("RADIUS", 1812, radius(), radius(2, 6), radius(2, 99, 2)),
    ("SNMP", 161, snmp(), snmp(2), snmp(2, 0xA2)),
    ("DTLS", 4433, dtls(), dtls(2), b"\x16\xfe\xff" + bytes(30)),
    ("DHCPv6", 547, relayed(), relayed(2), relayed(2, 13)),
    ("TFTP", 69, tftp(), tftp(2), b"\0\3\0\1data"),
    ("L2TP", 1701, l2tp(), l2tp(2), b"\xc8\x02" + bytes(12)),
    ("GTP", 2123, gtp(), gtp(2), gtp(2, 2)),
    ("PFCP", 8805, pfcp(), pfcp(2), pfcp(2, 6)),
    ("CoAP", 5683, coap(), coap(2), coap(2, 2, 0x45)),
    ("NetBIOS", 137, nbns(), nbns(2), nbns(2, 0xAD80)),
    ("RPC", 111, rpc(), rpc(2), rpc(2, 1)),
    ("MGCP", 2727, mgcp(), mgcp(2), b"200 2 OK\r\n"),
]
PORTS = {"DHCPv6": 547, "GTP": 2123, "PFCP": 8805, "L2TP": 1701, "IKE": 500, "NetBIOS": 137, "MGCP": 2427}  #: from which clients ask


def asked(name: str, port: int, message: bytes, times: tuple[float, ...] = AGAIN, at: float = 0) -> list[Packet]:
    return [Packet(int((at + t) * S), datagram((CLIENT, PORTS.get(name, 41_000)), (SERVER, port), message)) for t in times]


def told(name: str, port: int, message: bytes, at: float) -> list[Packet]:
    source = 50_069 if name == "TFTP" else port  # TFTP answers from another port
    return [Packet(int(at * S), datagram((SERVER, source), (CLIENT, PORTS.get(name, 41_000)), message))]


@pytest.mark.parametrize(("name", "port", "message"), [each[:3] for each in EVERY], ids=[each[0] for each in EVERY])
def test_a_request_that_comes_again_and_nothing_else(tmp_path: Path, name: str, port: int, message: bytes) -> None:
    this = found(tmp_path, asked(name, port, message))
    assert problems(this) == (set() if name == "SNMP" else {"udp-unanswered"})
    assert this["udp-unanswered"].text == (
        f"1 of 1 try to reach a server over UDP ({name}) got no answer: 198.51.100.20:{port} (up to 4 datagrams over 7.0 s)."
    )
    assert [frame for _, frame in this["udp-unanswered"].every] == [1, 2, 3, 4]


@pytest.mark.parametrize(("name", "port", "message", "other", "answer"), EVERY, ids=[each[0] for each in EVERY])
def test_a_server_that_answered_before_and_stops(tmp_path: Path, name: str, port: int, message: bytes, other: bytes, answer: bytes) -> None:
    this = found(tmp_path, asked(name, port, other, (0,)), told(name, port, answer, 0.01), asked(name, port, message, at=5))
    assert problems(this) == (set() if name == "SNMP" else {"udp-unanswered"})
    assert this["udp-unanswered"].text.startswith("1 of 2 tries")


@pytest.mark.parametrize(("name", "port", "message", "other", "answer"), EVERY, ids=[each[0] for each in EVERY])
def test_a_request_that_is_answered_at_last(tmp_path: Path, name: str, port: int, message: bytes, other: bytes, answer: bytes) -> None:
    this = found(tmp_path, asked(name, port, other), told(name, port, answer, 7.2))
    assert "udp-unanswered" not in this
    if name in ("SNMP", "DTLS"):  # a monitor goes on; a handshake is told by another lens
        assert "slow-server" not in this
        return
    assert problems(this) == (set() if name == "RADIUS" else {"slow-server"})  # a login may wait for a person with a second factor
    assert this["slow-server"].text == (
        f"1 of 1 request over UDP ({name}) got an answer only after 4 tries and 7.2 s: 198.51.100.20:{port}."
    )


#: Those that are answered from the port that was asked, and are not another lens's
AT_THE_PORT = [each for each in EVERY if each[0] not in ("TFTP", "DTLS", "L2TP")]


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
@pytest.mark.parametrize(("name", "port", "message", "other", "answer"), AT_THE_PORT, ids=[each[0] for each in AT_THE_PORT])
def test_an_answer_for_which_nobody_waits_any_more(
    tmp_path: Path, name: str, port: int, message: bytes, other: bytes, answer: bytes, late: bool
) -> None:
    """Its client has closed its socket, as it says; after an answer in time it may close at once."""
    times, at = ((0, 1, 2), 5.0) if late else ((0, 1), 1.1)
    answered = told(name, port, answer, at)[0]
    refused = Packet(answered.at + 1000, _ip(CLIENT, SERVER, 1, bytes([3, 3]) + bytes(6) + answered.data[:28]))
    this = found(tmp_path, asked(name, port, other, times), [answered, refused])
    assert ("slow-server" in problems(this)) == late
    if late:
        assert this["slow-server"].text == (
            f"1 of 1 request over UDP ({name}) got an answer only after 3 tries and 5.0 s, after the client had given up: 198.51.100.20:{port}."
        )


def test_one_of_many_polls_that_was_answered_late(tmp_path: Path) -> None:
    """The monitor asks again."""
    answered = told("SNMP", 161, snmp(99, 0xA2), 5.0)[0]
    refused = Packet(answered.at + 1000, _ip(CLIENT, SERVER, 1, bytes([3, 3]) + bytes(6) + answered.data[:28]))
    polls = [p for k in range(20) for p in (*asked("SNMP", 161, snmp(k), (0,), 9 + k), *told("SNMP", 161, snmp(k, 0xA2), 9.01 + k))]
    assert "slow-server" not in found(tmp_path, asked("SNMP", 161, snmp(99), (0, 1, 2)), [answered, refused], polls)


def test_logins_that_may_wait_for_a_person(tmp_path: Path) -> None:
    """Not what precedes them, nor the accounts."""
    for port, grave in ((4500, False), (500, True)):
        times = [Packet(int(t * S), datagram((CLIENT, port), (SERVER, port), bytes(4 * (port == 4500)) + ike(2))) for t in AGAIN]
        last = Packet(int(7.2 * S), datagram((SERVER, port), (CLIENT, port), bytes(4 * (port == 4500)) + ike(2, 0x20, responder=9)))
        assert found(tmp_path, [*times, last])["slow-server"].severity == ("problem" if grave else "warning")
    accounts = [*asked("RADIUS", 1813, radius(code=4)), *told("RADIUS", 1813, radius(1, 99, 5), 7.2)]
    assert found(tmp_path, accounts)["slow-server"].severity == "problem"


def test_a_request_that_is_answered_soon_or_at_the_second_try(tmp_path: Path) -> None:
    soon = [*asked("SIP", 5060, sip(), (0, 0.5, 1.5, 3.5)), *told("SIP", 5060, EVERY[0][4].replace(b"bK2", b"bK1"), 3.6)]
    second = [*asked("RADIUS", 1812, radius(), (10, 16)), *told("RADIUS", 1812, radius(1, 0, 2), 16.1)]
    after = [*asked("PFCP", 8805, pfcp(), (30,)), *told("PFCP", 8805, pfcp(1, 6), 30.1), *asked("PFCP", 8805, pfcp(), (33, 36, 39))]
    assert "slow-server" not in found(tmp_path, soon, second, after)


@pytest.mark.parametrize(("name", "port", "message", "other", "answer"), EVERY, ids=[each[0] for each in EVERY])
def test_requests_without_their_answers_that_are_not_repeated(
    tmp_path: Path, name: str, port: int, message: bytes, other: bytes, answer: bytes
) -> None:
    """The capture may hold one direction; copies of a datagram are no repeats."""
    copies = [Packet(p.at + MS, p.data) for p in asked(name, port, message, (0,)) for _ in range(4)]
    assert "udp-unanswered" not in found(tmp_path, asked(name, port, message, (0,)), copies, asked(name, port, other, (4,)))


def test_what_is_sent_from_time_to_time_is_another_request(tmp_path: Path) -> None:
    polls = [p for k in range(20) for p in asked("SNMP", 161, snmp(k), (5 * k,))]
    accounts = [p for k in range(20) for p in asked("RADIUS", 1813, radius(k, k, 4), (5 * k,))]
    not_confirmable = asked("CoAP", 5683, coap(1, kind=1))
    hourly = asked("SIP", 5060, sip(), (0, 3600, 7200, 10_800))
    assert "udp-unanswered" not in found(tmp_path, polls, accounts, not_confirmable, hourly)


def test_a_server_that_ignores_one_request_and_goes_on(tmp_path: Path) -> None:
    others = [p for k in range(2, 9) for p in (*asked("RADIUS", 1812, radius(k, k), (k,)), *told("RADIUS", 1812, radius(k, 0, 2), k + 0.1))]
    this = found(tmp_path, asked("RADIUS", 1812, radius()), others)["udp-unanswered"]
    assert this.severity == "warning"
    assert this.text.startswith("1 of 8 tries")


def test_another_server_that_answers_stands_in(tmp_path: Path) -> None:
    second = [
        Packet(8 * S, datagram((CLIENT, 41_001), ("198.51.100.21", 1812), radius(9, 9))),
        Packet(8 * S + MS, datagram(("198.51.100.21", 1812), (CLIENT, 41_001), radius(9, 0, 2))),
    ]
    assert found(tmp_path, asked("RADIUS", 1812, radius()), second)["udp-unanswered"].severity == "warning"


def test_a_vpn_that_goes_on_over_tcp(tmp_path: Path) -> None:
    tunnel = close(exchange(talk(42_000, 0, (SERVER, 443)), b"\x17\x03\x03", b"\x17\x03\x03")).packets
    assert found(tmp_path, asked("DTLS", 443, dtls()), tunnel)["udp-unanswered"].severity == "warning"


def test_a_host_that_looks_for_a_dhcpv6_server(tmp_path: Path) -> None:
    """It does so in any network."""
    packets = [Packet(t * S, datagram(("fe80::1", 546), ("ff02::1:2", 547), dhcpv6())) for t in AGAIN]
    this = found(tmp_path, packets)["udp-unanswered"]
    assert this.severity == "warning"
    advertised = [Packet(8 * S, datagram(("fe80::2", 547), ("fe80::1", 546), dhcpv6(kind=2)))]
    assert "udp-unanswered" not in found(tmp_path, packets, advertised)


@pytest.mark.parametrize(("flags", "severity"), [(0x80, "problem"), (0xC0, "problem"), (0x40, None), (0, None)])
def test_a_host_that_is_told_to_ask_for_its_address(tmp_path: Path, flags: int, severity: str | None) -> None:
    """A router says that addresses are managed (M), or that other things are to be had (O), or neither."""
    advertised = Packet(S // 2, _ip("fe80::9", "ff02::1", 58, bytes([134, 0, 0, 0, 64, flags]) + bytes(10)))
    packets = [Packet(t * S, datagram(("fe80::1", 546), ("ff02::1:2", 547), dhcpv6())) for t in AGAIN]
    this = found(tmp_path, [advertised], packets)
    assert (this["udp-unanswered"].severity if "udp-unanswered" in this else None) == severity
    told_ = [Packet(S // 4, datagram(("fe80::2", 547), ("fe80::1", 546), dhcpv6(kind=2)))]
    assert "udp-unanswered" not in found(tmp_path, [advertised], packets[:1], told_)


def ptp(kind: int, sender: int, number: int, requester: int = 0) -> bytes:
    """A message of PTP 2 of a clock, to another."""
    head = bytes([kind, 2, 0, 54, 0, 0, 0, 0]) + bytes(12) + sender.to_bytes(10, "big") + number.to_bytes(2, "big") + bytes(2)
    return head + bytes(10) + (requester.to_bytes(10, "big") if requester else b"")


GROUP = "224.0.1.129"


@pytest.mark.parametrize(("master", "answered", "severity"), [(True, False, "problem"), (True, True, None), (False, False, "warning")])
def test_a_clock_that_asks_for_its_delay(tmp_path: Path, master: bool, answered: bool, severity: str | None) -> None:
    """By a group of addresses, at which the master speaks; without one nobody is there to answer."""
    packets = []
    for k in range(6):
        if master:
            packets.append(Packet(k * S, datagram((SERVER, 320), (GROUP, 320), ptp(11, 7, k))))
        packets.append(Packet(k * S + 300 * MS, datagram((CLIENT, 319), (GROUP, 319), ptp(1, 9, k))))
        if answered:
            packets.append(Packet(k * S + 301 * MS, datagram((SERVER, 320), (GROUP, 320), ptp(9, 7, k, 9))))
    this = found(tmp_path, packets)
    assert (this["udp-unanswered"].severity if "udp-unanswered" in this else None) == severity


def ntp_in_ptp(number: int, mode: int) -> bytes:
    """A message of NTP within a Delay_Req; all clocks there bear one number."""
    return ptp(1, 9, number) + b"\x80\0\0\x38\0\0\x5e\0\0\1\0\0" + bytes([0x20 | mode]) + bytes(47)


A_CLOCK, ITS_SERVER = (CLIENT, 319), (SERVER, 319)


def delays(back: Callable[[int], bytes] | None) -> list[Packet]:
    """A clock asks a host for its delay once a second; what comes back."""
    asked = [Packet(k * S, datagram(A_CLOCK, ITS_SERVER, ntp_in_ptp(k, 3))) for k in range(8)]
    return asked + ([Packet(k * S + MS, datagram(ITS_SERVER, A_CLOCK, back(k))) for k in range(8)] if back else [])


def test_ntp_over_ptp_is_answered_by_what_bears_its_number(tmp_path: Path) -> None:
    assert "udp-unanswered" not in found(tmp_path, healthy(), delays(lambda k: ntp_in_ptp(k, 4)))
    assert "udp-unanswered" not in found(tmp_path, healthy(), delays(lambda k: ptp(1, 7, k)))  # without a word of NTP
    assert "udp-unanswered" not in found(tmp_path, healthy(), delays(lambda k: ptp(9, 7, k, 9)))  # a Delay_Resp


@pytest.mark.parametrize("side", [A_CLOCK, ITS_SERVER])
def test_ntp_over_ptp_of_which_one_way_was_recorded(tmp_path: Path, side: tuple[str, int]) -> None:
    """Who asks a host for its delay does so once a second, answered or not."""
    mode, other = (3, ITS_SERVER) if side == A_CLOCK else (4, A_CLOCK)
    assert "udp-unanswered" not in found(tmp_path, [Packet(k * S, datagram(side, other, ntp_in_ptp(k, mode))) for k in range(8)])


def test_a_clock_that_is_not_answered_where_no_master_announces_itself(tmp_path: Path) -> None:
    """Its Sync is no answer."""
    for back in (None, lambda k: ptp(0, 7, k), lambda k: ptp(1, 7, k + 100)):
        this = found(tmp_path, healthy(), delays(back))["udp-unanswered"]
        assert this.severity == "problem"
        assert f"{SERVER}:319" in this.text
        assert "announces" not in this.advice


OACK, ACK_0 = b"\0\6blksize\x008192\0", b"\0\4\0\0"


def transfer(*said: tuple[float, bool, bytes]) -> list[Packet]:
    """A file that is asked for by TFTP: when, whether by the client, and what."""
    client, server = (CLIENT, 41_000), (SERVER, 50_069)
    asks = Packet(0, datagram(client, (SERVER, 69), tftp()))
    return [asks, *(Packet(int(at * S), datagram(*((client, server) if up else (server, client)), what)) for at, up, what in said)]


@pytest.mark.parametrize(
    ("packets", "told"),
    [
        (transfer((0.1, False, OACK), *((t, True, ACK_0) for t in (0.2, 5, 10))), True),
        (transfer((0.1, False, OACK), *((t, True, ACK_0) for t in (0.2, 5, 10)), (10.1, False, b"\0\3\0\1" + bytes(1428))), False),
        (transfer((0.1, False, OACK), (0.2, True, ACK_0), (0.3, False, b"\0\3\0\1" + bytes(9)), (0.4, True, b"\0\4\0\1")), False),
        (transfer((0.1, False, OACK), (0.2, True, ACK_0)), False),
    ],
)
def test_a_file_that_is_granted_and_does_not_come(tmp_path: Path, packets: list[Packet], told: bool) -> None:
    this = found(tmp_path, packets)
    assert (problems(this) == {"udp-unanswered"}) == told
    if told:
        assert this["udp-unanswered"].text == (
            f"{SERVER} granted {CLIENT} a file by TFTP, and none of it came: the client acknowledged the options up to 3 times over 9.8 s."
        )


FIRST = b"\0\3\0\1" + bytes(1428)
SENT = [(t, False, FIRST) for t in (0.3, 1.3, 3.3, 5.3)]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ([*SENT, (2, True, ACK_0)], True),
        ([*SENT, (2, True, ACK_0), (5.4, True, b"\0\4\0\1")], False),  # it arrives at last
        (SENT[:2], False),
        ([*SENT, (2, True, ACK_0), (6, False, b"\0\3\0\2" + bytes(1428))], False),  # what acknowledged the first was not recorded
        (SENT, False),  # nor the client, but for its first word
    ],
)
def test_a_first_block_that_does_not_arrive(tmp_path: Path, said: list[tuple[float, bool, bytes]], told: bool) -> None:
    this = found(tmp_path, sorted(transfer((0.1, False, OACK), (0.2, True, ACK_0), *said), key=lambda p: p.at))
    assert not problems(this)  # it may erase its flash before it takes it
    assert ("udp-unanswered" in this) == told
    if told:
        assert this["udp-unanswered"].text == (
            f"{SERVER} granted {CLIENT} a file by TFTP, and none of it came: the client acknowledged the options up to 2 times over 1.8 s; the first block "
            "was sent 4 times."
        )


@pytest.mark.parametrize("clients", [1, 2])
def test_a_first_block_that_does_not_arrive_again(tmp_path: Path, clients: int) -> None:
    """The client asks anew, from another port; or for a minute."""
    said = [(0.1, False, OACK), (0.2, True, ACK_0), (2, True, ACK_0), *SENT, *([(66, False, FIRST)] if clients == 1 else [])]
    first = sorted(transfer(*said), key=lambda p: p.at)
    other = [Packet(p.at + 8 * S, p.data.replace((41_000).to_bytes(2, "big"), (41_001).to_bytes(2, "big"))) for p in first]
    assert problems(found(tmp_path, first, other if clients == 2 else [])) == {"udp-unanswered"}


def test_files_that_are_not_there_by_an_error_without_a_code(tmp_path: Path) -> None:
    no = [(k, False, b"\0\5\0\0File not found\0") for k in range(3)]
    asks = [Packet(k * S, datagram((CLIENT, 41_000), (SERVER, 69), tftp())) for k in range(3)]
    this = found(tmp_path, asks, [p for p in transfer(*((k + 0.1, up, text) for k, up, text in no)) if p.at])
    assert not problems(this)
    assert this["refused"].text == f"3 of 3 TFTP answers were refusals, from {SERVER}: not found, without a code."


def test_errors_of_tftp_without_a_code(tmp_path: Path) -> None:
    """Often what the server's system says (tftpd): permission denied, say. It may be said to one of several files that a loader tries."""
    no = [(k, False, b"\0\5\0\0Permission denied\0") for k in range(3)]
    asks = [Packet(k * S, datagram((CLIENT, 41_000), (SERVER, 69), tftp())) for k in range(3)]
    this = found(tmp_path, asks, [p for p in transfer(*((k + 0.1, up, text) for k, up, text in no)) if p.at])
    assert problems(this) == {"refused"}
    assert this["refused"].text == f"3 of 3 TFTP answers were refusals, from {SERVER}: an error without a code."
    file = [(4, False, b"\0\3\0\1data"), (4.1, True, b"\0\4\0\1")]
    assert not problems(found(tmp_path, transfer(*no[:1], *file)))


def test_who_looks_for_names_without_a_server(tmp_path: Path) -> None:
    """By broadcast, or a host by its state, as Windows does of any address."""
    broadcasts = [Packet(t * S, datagram((CLIENT, 137), ("192.0.2.255", 137), nbns(flags=0x2910))) for t in AGAIN]
    states = asked("NetBIOS", 137, nbns(flags=0))
    also_states = asked("NetBIOS", 137, nbns(flags=0x0100, kind=0x21), at=20)
    assert "udp-unanswered" not in found(tmp_path, broadcasts, states, also_states)
    second = [
        Packet(8 * S, datagram((CLIENT, 137), ("198.51.100.21", 137), nbns(7))),
        Packet(8 * S + MS, datagram(("198.51.100.21", 137), (CLIENT, 137), nbns(7, 0xAD80))),
    ]
    assert found(tmp_path, asked("NetBIOS", 137, nbns()), second)["udp-unanswered"].severity == "warning"


def poll(origin: int = 0, stratum: int = 3, version: int = 4) -> bytes:
    """By a client of NTP that fills in its whole header."""
    return bytes([version << 3 | 3, stratum, 6, 0xE8]) + struct.pack(">IIIQQQQ", 5, 9, 7, 1 << 60, origin, 0, 3 << 60)


def polls(*origins: int, server: str = SERVER, **of: int) -> list[Packet]:
    return [Packet(64 * k * S, datagram((CLIENT, 123), (server, 123), poll(origin, **of))) for k, origin in enumerate(origins)]


def test_a_clock_that_says_it_never_heard_a_server(tmp_path: Path) -> None:
    """Nothing but its polls is in the capture."""
    this = found(tmp_path, polls(*[0] * 12))
    assert problems(this) == {"udp-unanswered"}
    assert this["udp-unanswered"].text == (
        "1 of 1 try to reach a server over UDP (NTP) got no answer: 198.51.100.20:123 (up to 12 datagrams over 704.0 s)."
    ).replace("704.0 s", "12 min")


@pytest.mark.parametrize(
    "packets",
    [
        polls(0, *range(1, 12)),
        polls(*[0] * 12, stratum=0),
        polls(*[0] * 12, version=3),
        [*polls(*[0] * 12), Packet(700 * S, datagram((SERVER, 123), (CLIENT, 123), b"\x24" + bytes(47)))],
    ],
    ids=["heard", "says nothing of itself", "another version", "answered"],
)
def test_polls_of_a_clock_that_may_be_served(tmp_path: Path, packets: list[Packet]) -> None:
    assert "udp-unanswered" not in found(tmp_path, packets)


def test_a_clock_with_another_server(tmp_path: Path) -> None:
    second = polls(0, *range(1, 12), server="198.51.100.21")
    assert found(tmp_path, polls(*[0] * 12), second)["udp-unanswered"].severity == "warning"
    assert found(tmp_path, polls(*[0] * 4))["udp-unanswered"].severity == "warning"


def test_ike_of_version_1_and_behind_nat(tmp_path: Path) -> None:
    first = ike(major=1, flags=0)
    assert "udp-unanswered" in found(tmp_path, asked("IKE", 500, first))
    assert "udp-unanswered" not in found(tmp_path, asked("IKE", 500, first), told("IKE", 500, ike(major=1, flags=0, responder=5), 7.5))
    behind = [Packet(p.at, datagram((CLIENT, 4500), (SERVER, 4500), bytes(4) + ike())) for p in asked("IKE", 500, b"")]
    assert "udp-unanswered" in found(tmp_path, behind)
    carried = [Packet(p.at, datagram((CLIENT, 4500), (SERVER, 4500), b"\x01\x02\x03\x04" + ike())) for p in asked("IKE", 500, b"")]
    assert "udp-unanswered" not in found(tmp_path, carried)


@pytest.mark.parametrize(("name", "port", "message", "other", "answer"), EVERY, ids=[each[0] for each in EVERY])
@pytest.mark.parametrize("kept", [8, 60])
def test_answers_that_the_snaplen_cut(tmp_path: Path, name: str, port: int, message: bytes, other: bytes, answer: bytes, kept: int) -> None:
    """What does not show by what is left of them is no evidence; each request is answered, but one only at its third attempt."""
    requests = [p for k in range(3) for p in asked(name, port, other, (0, 0.5, 1.5) if k == 1 else (0,), at=10 * k)]
    answers = [p for k in range(3) for p in told(name, port, answer + bytes(200), 10 * k + 4 * (k == 1) + 0.1)]
    this = found(tmp_path, requests, [Packet(p.at, p.data[: 28 + kept], cut=len(p.data[28 + kept :])) for p in answers])
    assert "udp-unanswered" not in this


def of_a_call(what: bytes, branch: int, method: bytes = b"INVITE", number: int = 1) -> bytes:
    return what + b"\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK%d;rport\r\nCall-ID: 12@a\r\nCSeq: %d %s\r\n\r\n" % (
        branch,
        number,
        method,
    )


OK_INVITE = of_a_call(b"SIP/2.0 200 OK", 1)
CALLED = [Packet(0, datagram((CLIENT, 5060), (SERVER, 5060), of_a_call(b"INVITE sip:a SIP/2.0", 1)))]


def picked_up(times: list[float], answer: bytes = OK_INVITE) -> list[Packet]:
    return [Packet(int(t * S), datagram((SERVER, 5060), (CLIENT, 5060), answer)) for t in times]


def test_a_call_that_nobody_acknowledges(tmp_path: Path) -> None:
    """RFC 3261 13.3.1.4: who picks up says so again until ACK comes."""
    this = found(tmp_path, CALLED, picked_up([1, 1.5, 2.5, 4.5, 8.5]))
    assert problems(this) == {"udp-unanswered"}
    assert "(ACK of SIP)" in this["udp-unanswered"].text
    assert "192.0.2.10:5060" in this["udp-unanswered"].text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(
            [
                *picked_up([1, 1.5, 2.5, 4.5]),
                Packet(5 * S, datagram((CLIENT, 5060), (SERVER, 5060), of_a_call(b"ACK sip:a SIP/2.0", 2, b"ACK"))),
            ],
            id="acknowledged",
        ),
        pytest.param(picked_up([1, 1.5, 2.5, 4.5], of_a_call(b"SIP/2.0 180 Ringing", 1)), id="it rings"),
        pytest.param(picked_up([1, 1.5, 2.5, 4.5], of_a_call(b"SIP/2.0 200 OK", 1, b"OPTIONS")), id="no call"),
    ],
)
def test_answers_of_sip_that_come_again(tmp_path: Path, packets: list[Packet]) -> None:
    assert "udp-unanswered" not in found(tmp_path, CALLED, packets)


def test_a_peer_of_wireguard_that_slept(tmp_path: Path) -> None:
    times = [Packet(int(t * S), datagram((CLIENT, 51_820), (SERVER, 51_820), b"\1\0\0\0" + bytes(144))) for t in (0, 5, 10, 15)]
    answer = Packet(19 * S, datagram((SERVER, 51_820), (CLIENT, 51_820), b"\2\0\0\0" + bytes(88)))
    assert found(tmp_path, [*times, answer])["slow-server"].severity == "warning"


def logins(*each: tuple[tuple[float, ...], tuple[float, ...]]) -> list[list[Packet]]:
    """Requests of RADIUS, 10 s apart: when each is sent, and when it is answered."""
    rows = [
        [asked("RADIUS", 1812, radius(k, k + 1), times, 10 * k), *(told("RADIUS", 1812, radius(k, 99, 2), 10 * k + at) for at in answers)]
        for k, (times, answers) in enumerate(each)
    ]
    return [stream for row in rows for stream in row]


DROPPED = (0, 2, 4), (0.01, 2.01, 4.01)


def test_answers_of_radius_that_their_client_drops(tmp_path: Path) -> None:
    this = found(tmp_path, *logins(*[DROPPED] * 3))["udp-unanswered"]
    assert this.severity == "problem"
    assert this.text == (
        f"{SERVER}:1812 (RADIUS) answered all 3 requests of {CLIENT}, which sent each again all the same, 2 times and more: it drops the answers, "
        "or does not get them."
    )
    assert "shared secret" in this.advice


@pytest.mark.parametrize(
    "each",
    [
        pytest.param([DROPPED] * 2, id="twice"),
        pytest.param([*[DROPPED] * 3, ((0,), (0.01,))], id="others are taken"),
        pytest.param([((0, 2), (0.01, 2.01))] * 4, id="once more, as the answer was lost"),
        pytest.param([((0, 1, 2), (1.9, 1.95, 2.1))] * 4, id="answers cross requests"),
        pytest.param([((0, 0.001, 0.002), (0.01, 0.011, 0.012))] * 4, id="recorded three times"),
        pytest.param([(tuple(range(0, 55, 5)), tuple(0.01 + at for at in range(0, 55, 5)))] * 3, id="a monitor with one packet"),
    ],
)
def test_answers_of_radius_that_are_taken(tmp_path: Path, each: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> None:
    assert "udp-unanswered" not in found(tmp_path, *logins(*each))
