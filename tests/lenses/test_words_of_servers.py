"""What servers of further protocols say, judged; clocks that differ, questions answered twice, files over TFTP."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP

from tests.lenses.made import CLIENT, MS, RESOLVER, SERVER, S, close, found, healthy, ping, problems, talk
from tests.lenses.test_denials import answers, kerberos, over_tcp
from tests.parsers.build import T0, Packet, Talk, datagram
from tests.parsers.test_denials import ipp, nbns, smb1, smb2, snmp, tlv

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "198.51.100.21"


def marked(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def rtsp(status: str, *lines: str) -> bytes:
    return "\r\n".join([f"RTSP/1.0 {status}", "CSeq: 1", *lines, "", ""]).encode()


OPTIONS, DESCRIBED, NO_TRANSPORT, SET_UP, NO_SUCH = (
    rtsp("200 OK"),
    rtsp("200 OK"),
    rtsp("461 X"),
    rtsp("200 OK", "Session: 1"),
    rtsp("404 X"),
)
NO_SMB1 = marked(smb1(0, 0x72)[:32] + b"\x01\xff\xff\0\0")
SMB2_TAKEN = marked(smb2(0, 0))
REFUSED_MAP, MAPPED = b"\0\x82\0\x02" + bytes(12), b"\0\x82\0\0" + bytes(12)
NO_NAME, A_VALUE = snmp(2, version=0), snmp(0, values=(0x41,))
EXTENDED, BOUND = bytes.fromhex("300c02010178070a010204000400"), bytes.fromhex("300c02010261070a010004000400")
CHANGE = b"\x6b\x40" + bytes(30) + b"\x1b\x06kadmin\x1b\x08changepw"


@pytest.mark.parametrize(
    ("packets", "severity", "text"),
    [
        (over_tcp(515, *[b"\x01"] * 2), "problem", "LPD answers were refusals, from 198.51.100.20: negative acknowledgement (1)."),
        (over_tcp(515, b"\x01", b"\0"), "warning", "1 of 2 LPD answers was a refusal"),
        (over_tcp(3493, *[b"ERR DATA-STALE\n"] * 2), "problem", "2 of 2 NUT (UPS) answers were refusals, from 198.51.100.20: DATA-STALE."),
        (over_tcp(554, *[OPTIONS, DESCRIBED, NO_TRANSPORT] * 3), "problem", "461 unsupported transport."),
        (over_tcp(554, DESCRIBED, NO_TRANSPORT), "warning", "461 unsupported transport."),
        (over_tcp(445, *[NO_SMB1] * 3), "problem", "no dialect in common (SMB 1 only)."),
        (over_tcp(631, *[ipp(0x040A)] * 2), "problem", "document format not supported (0x040a)."),
        (over_tcp(389, *[EXTENDED] * 3), "problem", "extended request: protocolError (2)."),
        (answers(5351, [REFUSED_MAP] * 3), "problem", "3 of 3 NAT-PMP or PCP answers were refusals, from 198.51.100.20: not authorized (2)."),
        (answers(161, [NO_NAME] * 3), "problem", "not there: noSuchName (2)."),
        (answers(137, [nbns(b"CA", 6)] * 2), "problem", "2 of 2 NetBIOS name answers were refusals, from 198.51.100.20: name is held by another host."),
        (answers(88, [kerberos(23), CHANGE] * 2), "problem", "2 of 2 Kerberos answers were refusals, from 198.51.100.20: password has expired."),
        (answers(88, [kerberos(23), CHANGE, kerberos(None)]), "warning", "1 of 2 Kerberos answers"),  # it was changed
    ],
)  # fmt: skip
def test_a_server_that_says_no(tmp_path: Path, packets: list[Packet], severity: str, text: str) -> None:
    this = found(tmp_path, packets, healthy())["refused"]
    assert this.severity == severity
    assert text in this.text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(over_tcp(554, DESCRIBED, NO_TRANSPORT, SET_UP), id="then over TCP"),
        pytest.param(over_tcp(554, NO_SUCH, DESCRIBED), id="another path"),
        pytest.param(over_tcp(445, NO_SMB1, NO_SMB1, SMB2_TAKEN, NO_SMB1), id="a scanner of dialects"),
        pytest.param(over_tcp(445, NO_SMB1), id="once"),
        pytest.param(over_tcp(389, EXTENDED, BOUND, EXTENDED, BOUND, EXTENDED, BOUND), id="goes on without TLS"),
        pytest.param(answers(5351, [REFUSED_MAP] * 2), id="a program that asks once"),
        pytest.param(answers(5351, [REFUSED_MAP, REFUSED_MAP, MAPPED, REFUSED_MAP]), id="another port"),
        pytest.param(answers(161, [NO_NAME, A_VALUE, NO_NAME, NO_NAME]), id="some values are there"),
        pytest.param(answers(137, [nbns(b"BN", 6)] * 4), id="another host is the master browser"),
        pytest.param(over_tcp(515, b"no entries\n"), id="an empty queue"),
        pytest.param(over_tcp(3493, b"ERR FEATURE-NOT-CONFIGURED\n", b"VAR a b\n"), id="without TLS"),
    ],
)
def test_what_is_ordinary(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))


def test_no_other_server_has_the_same_camera(tmp_path: Path) -> None:
    """What another one grants makes up for nothing."""
    elsewhere = close(_said(talk(41_500, server=(OTHER, 554)), SET_UP)).packets
    assert found(tmp_path, over_tcp(554, *[NO_TRANSPORT] * 3), elsewhere, healthy())["refused"].severity == "problem"


def _said(made: Talk, *messages: bytes) -> Talk:
    for message in messages:
        made.up("PA", b"a request")
        made.down("PA", message)
    return made


def radius(port: int, answered: bool, server: str = SERVER, kind: int = 1) -> list[Packet]:
    packets = []
    for k in range(3):
        asked = bytes([kind, k, 0, 20]) + bytes([k + 1] * 16)
        for again in range(1 if answered else 4):
            packets.append(Packet((6 * k + again) * S + port * MS, datagram((CLIENT, 40_000 + port), (server, port), asked)))
        if answered:
            told = bytes([kind + 1, k, 0, 20]) + bytes(16)
            packets.append(Packet(6 * k * S + port * MS + MS, datagram((server, port), (CLIENT, 40_000 + port), told)))
    return packets


def test_who_lets_in_does_not_count(tmp_path: Path) -> None:
    """Accounting of RADIUS that is not answered, while logins are."""
    this = found(tmp_path, radius(1812, True), radius(1813, False, kind=4), healthy())["udp-unanswered"]
    assert this.severity == "problem"
    assert "198.51.100.20:1813" in this.text
    spare = radius(1813, True, OTHER, kind=4)
    assert found(tmp_path, radius(1813, False, kind=4), spare, healthy())["udp-unanswered"].severity != "problem"


def tunnel(port: int, times: list[float]) -> list[Packet]:
    """Datagrams to a port where nobody listens."""
    packets = []
    for at in times:
        sent = datagram((CLIENT, 42_000), (SERVER, port), bytes([0xE7]) + bytes(60))
        packets.append(Packet(int(at * S), sent))
        packets.append(Packet(int(at * S) + MS, bytes(IP(src=SERVER, dst=CLIENT) / ICMP(type=3, code=3) / sent[:28])))
    return packets


def test_a_tunnel_to_a_port_where_nobody_listens(tmp_path: Path) -> None:
    assert found(tmp_path, tunnel(1194, [0, 1, 2, 4, 8]), healthy())["unreachable"].severity == "problem"
    for port, times in ((1194, [0.0, 1.0]), (40_000, [0.0, 1.0, 2.0, 4.0, 8.0])):
        assert found(tmp_path, tunnel(port, times), healthy(), ping(30 * S))["unreachable"].severity != "problem"


def mail(port: int, greeting: bytes, *said: bytes) -> list[Packet]:
    made = talk(port, port * S // 100, server=(SERVER, 25))
    made.down("PA", greeting)
    for text in said:
        made.up("PA", text)
        made.down("PA", b"221 Bye\r\n" if text[:4] == b"QUIT" else b"250-mx\r\n250-XXXXXXXA\r\n250 DSN\r\n")
    return close(made).packets


STARS, EHLO, QUIT = b"220 ************2**0***\r\n", b"EHLO a\r\n", b"QUIT\r\n"


def test_a_firewall_that_overwrites_what_a_mail_server_offers(tmp_path: Path) -> None:
    left = [p for k in range(3) for p in mail(42_000 + k, STARS, EHLO, QUIT)]
    this = found(tmp_path, left, healthy())["refused"]
    assert (this.severity, this.values["replies"]) == ("problem", ["greeting and STARTTLS masked by a firewall"])
    probes = [p for k in range(3) for p in mail(42_000 + k, STARS, b"HELO a\r\n", QUIT)]
    clear = [p for k in range(3) for p in mail(42_000 + k, b"220 mx ESMTP\r\n", EHLO, QUIT)]
    goes_on = mail(42_100, STARS, EHLO, b"MAIL FROM:<a@b>\r\n", QUIT)
    for packets in (probes, clear, [*left, *goes_on], left[: len(left) * 2 // 3]):
        assert "refused" not in found(tmp_path, packets, healthy())


def modbus(number: int, body: bytes = b"\1\3\0\0\0\1") -> bytes:
    return struct.pack(">HHH", number, 0, len(body)) + body


def polled(*numbers: tuple[int | None, int | None]) -> list[Packet]:
    """Requests and answers by their numbers, in order; None: there is none."""
    made = talk(43_000, server=(SERVER, 502))
    for asked, told in numbers:
        if asked is not None:
            made.up("PA", modbus(asked))
        if told is not None:
            made.down("PA", modbus(told, b"\1\3\2\0\7"))
        made.at += S // 5
    return close(made).packets


def test_answers_of_modbus_to_another_request(tmp_path: Path) -> None:
    this = found(tmp_path, polled((101, 0), (102, 101), (103, 102), (104, 103)), healthy())["refused"]
    assert (this.severity, this.values["replies"]) == ("problem", ["answers with another transaction number"])


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([(k, k) for k in range(9)], id="each its own"),
        pytest.param([(0, 0)] * 9, id="all the same"),
        pytest.param([(1, None), *((k + 1, k) for k in range(1, 9))], id="two open at a time"),
        pytest.param([(1, None), (2, 1), (None, 2), *((k, k) for k in range(3, 9))], id="one comes late"),
        pytest.param([(1, 0), (2, 1), (3, 3), (4, 4)], id="gets in step again"),
    ],
)
def test_answers_of_modbus_in_step(tmp_path: Path, numbers: list[tuple[int | None, int | None]]) -> None:
    assert "refused" not in found(tmp_path, polled(*numbers), healthy())


TO_1900 = 2_208_988_800
DAY = 86_400


def stamp(ns: int) -> bytes:
    seconds, rest = divmod(ns, S)
    return struct.pack(">II", (seconds + TO_1900) % 2**32, (rest << 32) // S)


def clocks(
    ahead: list[float],
    own: list[float] | None = None,
    server: str = SERVER,
    mark: bytes = b"",
    port: int = 40_123,
    every: int = 16 * S,
    said: bytes = bytes(12),
) -> list[Packet]:
    """Polls, each with what the server's and the client's clocks are ahead of the capture's (s).  said : the server's root delay, dispersion and source."""
    packets = []
    for k, (theirs, mine) in enumerate(zip(ahead, own or [0.0] * len(ahead), strict=True)):
        at = T0 + k * every
        sent = mark + bytes([k]) * (8 - len(mark)) if mark else stamp(at + int(mine * S))
        request = b"\x23" + bytes(39) + sent
        answer = b"\x24\x02\x06\xec" + said + bytes(8) + sent + stamp(at + int(theirs * S)) * 2
        packets.append(Packet(k * every, datagram((CLIENT, port), (server, 123), request)))
        packets.append(Packet(k * every + 5 * MS, datagram((server, 123), (CLIENT, port), answer)))
    return packets


def test_clocks_that_differ(tmp_path: Path) -> None:
    this = found(tmp_path, clocks([3600] * 8), healthy())["clocks-differ"]
    assert this.severity == "problem"
    assert this.text == "The clock of 198.51.100.20 is 60 min ahead of that of 192.0.2.10 in all of 8 answers of NTP."
    assert "behind that of" in found(tmp_path, clocks([0] * 8, [7200] * 8), healthy())["clocks-differ"].text
    beside = found(tmp_path, clocks([3600] * 8), clocks([0] * 8, server=OTHER), healthy())["clocks-differ"]
    assert beside.severity == "warning"
    assert beside.text.endswith("; other servers agree with the client.")


THIRD = "198.51.100.77"
NOBODYS = [bytes([k]) * 7 for k in (1, 2, 3)]  # what a client sends in place of its time


def polled_at_once(
    *ahead: float, times: int = 8, said: bytes = bytes(12), port: int = 123, every: int = 16 * S, own: bool = False
) -> list[Packet]:
    """Servers that are ahead by so much (s).  said : by the last one, of its source.  own : the client tells its time."""
    servers = (SERVER, OTHER, THIRD)
    told = [bytes(12)] * (len(ahead) - 1) + [said]
    return [
        p
        for k, each in enumerate(ahead)
        for p in clocks([each] * times, server=servers[k], mark=b"" if own else NOBODYS[k], port=port, every=every, said=told[k])
    ]


def test_servers_that_differ_from_each_other(tmp_path: Path) -> None:
    this = found(tmp_path, polled_at_once(0, 300), healthy())["clocks-differ"]
    assert this.severity == "problem"
    assert this.text.startswith("The time servers that 192.0.2.10 asks are 5 min apart by NTP, in all of 16 answers: ")
    assert this.text.endswith(". A client cannot tell which of them is right.")
    assert found(tmp_path, polled_at_once(0, 300, 600), healthy())["clocks-differ"].severity == "problem"
    most_agree = found(tmp_path, polled_at_once(0, 300, 0.2), healthy())["clocks-differ"]
    assert (most_agree.severity, most_agree.text.endswith("; most of them agree.")) == ("warning", True)


def test_servers_that_a_program_asks_as_it_starts(tmp_path: Path) -> None:
    assert found(tmp_path, polled_at_once(0, 300, port=40_123, every=2 * S), healthy())["clocks-differ"].severity == "problem"


@pytest.mark.parametrize(
    "packets",
    [
        polled_at_once(0, 300, port=40_123),
        polled_at_once(0, 60, port=40_123, every=2 * S, own=True),
        polled_at_once(0, 4, said=bytes(8) + b"\x7f\x7f\x01\x00"),
    ],
    ids=["several hosts behind NAT", "a monitor", "one falls back on its own clock"],
)
def test_servers_that_differ_perhaps_not_for_one_client(tmp_path: Path, packets: list[Packet]) -> None:
    this = found(tmp_path, packets, healthy())["clocks-differ"]
    assert (this.severity, this.text.endswith(". A client cannot tell which of them is right.")) == ("warning", True)


def test_servers_of_which_one_says_that_it_may_be_off(tmp_path: Path) -> None:
    told = bytes(4) + (8 << 16).to_bytes(4, "big") + b"GPS\x00"
    assert "clocks-differ" not in found(tmp_path, polled_at_once(0, 4, said=told), healthy())


def test_servers_that_were_recorded_by_different_clocks(tmp_path: Path) -> None:
    one, other = clocks([0] * 8, port=123), clocks([8] * 8, [8] * 8, server=OTHER, port=123)
    assert "clocks-differ" not in found(tmp_path, one, other, healthy())


@pytest.mark.parametrize(
    "packets",
    [
        polled_at_once(0, 1),  # one of them smears a leap second
        polled_at_once(0, 300, times=2),
        [
            *polled_at_once(0),
            *(Packet(p.at + 200 * S, p.data) for p in clocks([300] * 8, server=OTHER, mark=NOBODYS[1])),
        ],  # not at the same time
    ],
)
def test_servers_that_agree_or_may(tmp_path: Path, packets: list[Packet]) -> None:
    assert "clocks-differ" not in found(tmp_path, packets, healthy())


def test_clocks_that_may_be_set_soon_or_differ_on_purpose(tmp_path: Path) -> None:
    starts = found(tmp_path, clocks([3 * DAY] * 7), healthy())["clocks-differ"]
    assert starts.severity == "warning"
    assert "is 72 h ahead of that of" in starts.text
    every_80_s = [p for k, p in enumerate(clocks([3600] * 30)) if k // 2 % 5 == 0]
    assert found(tmp_path, every_80_s[:8], healthy())["clocks-differ"].severity == "warning"
    assert found(tmp_path, every_80_s[:10], healthy())["clocks-differ"].severity == "problem"
    lab = found(tmp_path, clocks([-1800 * DAY] * 9), healthy())["clocks-differ"]
    assert lab.severity == "warning"
    assert "is 5 years behind that of" in lab.text
    assert "is 100 days behind that of" in found(tmp_path, clocks([-100 * DAY] * 9), healthy())["clocks-differ"].text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(clocks([0.01] * 5), id="agree"),
        pytest.param(clocks([50] * 5), id="a minute, which is corrected"),
        pytest.param(clocks([3600] * 2), id="twice"),
        pytest.param(clocks([0] * 5, [-9000, -9000, -9000, 0, 0]), id="set after some answers"),
        pytest.param(clocks([3600] * 5, mark=b"\x91\x22\x73"), id="random numbers in place of a time"),
        pytest.param(clocks([0] * 9, [5000 - T0 / S] * 9), id="how long the device runs, from 1970"),
        pytest.param(clocks([0] * 9, [5000 - T0 / S - TO_1900] * 9), id="how long the device runs, from 1900"),
        pytest.param(clocks([86400] * 5, [86400] * 5), id="the capture's clock is wrong"),
    ],
)
def test_clocks_that_agree_or_are_set(tmp_path: Path, packets: list[Packet]) -> None:
    assert "clocks-differ" not in found(tmp_path, packets, healthy())


def looked_up(*addresses: str, number: int = 7, at: int = 0, asked: int = 1, code: int = 0, nearer: int = 9) -> list[Packet]:
    """A question, and an answer with each of these addresses.  nearer : hops that each makes less than the one before."""
    port = 50_000 + number
    query = bytes(DNS(id=number, qd=DNSQR(qname="a.example")))
    packets = [Packet(at + k * MS, datagram((CLIENT, port), (RESOLVER, 53), query)) for k in range(asked)]
    for k, address in enumerate(addresses):
        records = DNSRR(rrname="a.example", rdata=address, ttl=60) if address else None
        told = bytes(DNS(id=number, qr=1, rcode=code, qd=DNSQR(qname="a.example"), an=records))
        data = bytearray(datagram((RESOLVER, 53), (CLIENT, port), told))
        data[8] = 40 + nearer * k  # TTL
        packets.append(Packet(at + (20 + 20 * k) * MS, bytes(data)))
    return packets


FORGED, TRUE = "203.0.113.66", "198.51.100.30"


def test_a_question_that_is_answered_twice(tmp_path: Path) -> None:
    both = [p for k in range(3) for p in looked_up(FORGED, TRUE, number=k + 1, at=k * S)]
    this = found(tmp_path, both, healthy())["dns-contradicted"]
    assert this.severity == "problem"
    assert this.text == (
        "3 DNS questions to 198.51.100.53 (1 name) got two answers with different addresses, 20 ms apart: the client takes the first, which may be forged."
    )
    assert found(tmp_path, looked_up(FORGED, TRUE), healthy())["dns-contradicted"].severity == "warning"


def test_a_question_that_one_resolver_may_have_answered_twice(tmp_path: Path) -> None:
    both = [p for k in range(3) for p in looked_up(FORGED, TRUE, number=k + 1, at=k * S, nearer=0)]
    this = found(tmp_path, both, healthy())["dns-contradicted"]
    assert this.severity == "warning"
    assert this.text.endswith("which may be forged, or both are the resolver's, as their packets have the same TTL.")


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param([p for k in range(3) for p in looked_up(TRUE, number=k + 1, at=k * S)], id="once"),
        pytest.param([p for k in range(3) for p in looked_up(TRUE, TRUE, number=k + 1, at=k * S)], id="recorded twice"),
        pytest.param([p for k in range(3) for p in looked_up(FORGED, TRUE, number=k + 1, at=k * S, asked=2)], id="asked twice"),
        pytest.param([p for k in range(3) for p in looked_up(TRUE, "", number=k + 1, at=k * S)], id="no address"),
        pytest.param([p for k in range(3) for p in looked_up(FORGED, TRUE, number=k + 1, at=k * S, asked=0)], id="no question"),
    ],
)
def test_a_question_that_is_answered_once(tmp_path: Path, packets: list[Packet]) -> None:
    assert "dns-contradicted" not in found(tmp_path, packets, healthy())


def block(number: int, at: int, ident: int, *, ack: bool) -> Packet:
    ends = [(SERVER, 41_195), (CLIENT, 46_773)]
    text = struct.pack(">HH", 4 if ack else 3, number % 65_536) + (b"" if ack else bytes(64))
    data = bytearray(datagram(*(ends[::-1] if ack else ends), text))
    data[4:6] = struct.pack(">H", ident)
    return Packet(at, bytes(data))


def transfer(numbers: range, end: int = 0, twice: int = 1 << 20, same: bool = False) -> list[Packet]:
    """Blocks and what acknowledges them; ``end`` more of the last behind. twice : from this one on all come twice, with one identification if ``same``."""
    packets, at = [], 0
    for k in numbers:
        for ack in (False, True):
            for again in range(2 if k >= twice else 1):
                at += MS
                packets.append(block(k, at, (2 * k + (0 if same else again)) % 65_000 + 1, ack=ack))
    return packets + [block(numbers[-1] + 1, at + (1 + 2 * k) * S, k + 1, ack=False) for k in range(end)]


def test_a_file_that_stops_where_numbers_end(tmp_path: Path) -> None:
    this = found(tmp_path, transfer(range(65_400, 65_536), end=4), healthy())["file-stopped"]
    assert this.severity == "problem"
    assert this.text == "1 of 1 file over TFTP stopped behind block 65,535: the next was sent 4 times, and not taken."


def test_a_file_that_comes_twice(tmp_path: Path) -> None:
    this = found(tmp_path, transfer(range(1, 100), twice=30), healthy())["file-stopped"]
    assert this.severity == "problem"
    assert "came twice" in this.text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(transfer(range(65_400, 65_700)), id="numbers begin anew"),
        pytest.param(transfer(range(65_400, 65_536), end=1), id="the end of the capture"),
        pytest.param(transfer(range(60_000, 60_100), end=4), id="stops elsewhere"),
        pytest.param(transfer(range(1, 100), twice=1, same=True), id="recorded twice"),
        pytest.param(transfer(range(1, 100)), id="once"),
    ],
)
def test_a_file_that_goes_on(tmp_path: Path, packets: list[Packet]) -> None:
    assert "file-stopped" not in found(tmp_path, packets, healthy())


def each(port: int, pause: int, *pairs: tuple[bytes, bytes], times: int = 4) -> list[Packet]:
    """Questions over UDP and their answers, all of them so many times, ``pause`` ns apart."""
    packets = []
    for k in range(times):
        for j, (asked, told) in enumerate(pairs):
            at = k * pause + j * S
            packets.append(Packet(at, datagram((CLIENT, 40_000), (SERVER, port), asked)))
            packets.append(Packet(at + MS, datagram((SERVER, port), (CLIENT, 40_000), told)))
    return packets


def dialog(port: int, pause: int, *pairs: tuple[bytes, bytes], client: int = 44_000) -> list[Packet]:
    """The same over one connection of TCP."""
    made = talk(client, server=(SERVER, port))
    for asked, told in pairs:
        made.up("PA", asked)
        made.down("PA", told)
        made.at += pause
    return close(made).packets


def exception(number: int, unit: int, address: int) -> tuple[bytes, bytes]:
    return modbus(number, bytes([unit, 3, 0, address, 0, 1])), modbus(number, bytes([unit, 0x83, 2]))


def extended(oid: bytes) -> bytes:
    return tlv(0x30, b"\x02\x01\x01", tlv(0x77, tlv(0x80, oid)))


START_TLS, WHO_AM_I = extended(b"1.3.6.1.4.1.1466.20037"), extended(b"1.3.6.1.4.1.4203.1.11.3")
VALIDATE = b"POST / HTTP/1.1\r\n\r\n\2\0\0\4" + bytes(3) + b"\1\3"
MINUTE = 60 * S


@pytest.mark.parametrize(
    ("packets", "severity"),
    [
        pytest.param(each(161, S, (snmp(0, 0xA0, 0), NO_NAME)), "problem", id="a value that is not there"),
        pytest.param(each(161, S, (snmp(0, 0xA1, 0), NO_NAME)), "", id="the end of a walk"),
        pytest.param(answers(161, [snmp(0, values=(0x81,))] * 3), "warning", id="an empty table"),
        pytest.param(answers(161, [snmp(0, values=(0x80,))] * 3), "problem", id="no such object"),
        pytest.param(dialog(502, S, *[exception(k, 1, 7) for k in range(5)]), "problem", id="one register, again and again"),
        pytest.param(dialog(502, S, *[exception(k, k + 1, 7) for k in range(9)]), "warning", id="a scan of units"),
        pytest.param(dialog(502, MINUTE, *[exception(k, 1, 7) for k in range(4)]), "warning", id="one register by the clock"),
        pytest.param(dialog(631, S, (VALIDATE, ipp(0x040A)), (VALIDATE, ipp(0))), "warning", id="another format is valid"),
        pytest.param(dialog(389, S, *[(START_TLS, EXTENDED)] * 3), "problem", id="StartTLS"),
        pytest.param(dialog(389, S, *[(WHO_AM_I, EXTENDED)] * 3), "", id="another extended request"),
        pytest.param(dialog(445, MINUTE, *[(b"a", NO_SMB1)] * 4), "warning", id="an audit each minute"),
        pytest.param(dialog(445, S, *[(b"a", NO_SMB1)] * 4), "problem", id="again at once"),
        pytest.param(each(88, MINUTE, (b"a", kerberos(6))), "warning", id="a check each minute"),
        pytest.param(each(88, S, (b"a", kerberos(6))), "problem", id="a client that is not known"),
        pytest.param(each(88, MINUTE, (b"a", kerberos(23))), "problem", id="expired by the clock"),
    ],
)
def test_what_was_asked_and_how_often(tmp_path: Path, packets: list[Packet], severity: str) -> None:
    this = found(tmp_path, packets, healthy()).get("refused")
    assert (this.severity if this else "") == severity


def test_several_agents_asked_once(tmp_path: Path) -> None:
    packets = []
    for k in range(6):
        there = f"198.51.100.{60 + k}"
        packets.append(Packet(k * S, datagram((CLIENT, 40_000), (there, 161), b"a" * 40)))
        packets.append(Packet(k * S + MS, datagram((there, 161), (CLIENT, 40_000), NO_NAME)))
    assert "refused" not in found(tmp_path, packets, healthy())


def test_probes_of_a_masked_mail_server(tmp_path: Path) -> None:
    left = [Packet(p.at + k * MINUTE, p.data) for k in range(4) for p in mail(42_000 + k, STARS, EHLO, QUIT)]
    assert found(tmp_path, left, healthy())["refused"].severity == "warning"


def test_gateways_of_modbus_answer_in_another_order(tmp_path: Path) -> None:
    numbers = [each for k in range(1, 19, 2) for each in ((k, None), (k + 1, k + 1), (None, k))]
    assert "refused" not in found(tmp_path, polled((1, 1), *numbers), healthy())


def test_a_file_that_is_loaded_again(tmp_path: Path) -> None:
    again = [Packet(p.at + S, block(n, p.at + S, 7_000 + k, ack=k % 2 == 1).data) for n, k, p in (
        (k // 2 + 1, k, p) for k, p in enumerate(transfer(range(1, 100))))]  # fmt: skip
    assert "file-stopped" not in found(tmp_path, [*transfer(range(1, 100)), *again], healthy())
