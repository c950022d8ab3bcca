"""Servers that say no, in messages made here; and frames that hide no sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP
from scapy.utils import PcapWriter

import netlens
from netlens.parsers.denials import _by_port
from tests.lenses.made import CLIENT, MS, SERVER, S, close, exchange, found, healthy, problems, talk
from tests.parsers.build import Packet, datagram, write
from tests.parsers.test_denials import BY_ID, KRB_ERROR, amqp, bgp, smb2, stun

if TYPE_CHECKING:
    from pathlib import Path

PREAUTH, WRONG, SKEW = 25, 24, 37


def kerberos(code: int | None) -> bytes:
    """A KRB-ERROR with this code; None: an AS-REP."""
    body = b"\xa0\x03\x02\x01\x05\xa1\x03\x02\x01\x1e"
    return b"\x6b\x30" + bytes(80) if code is None else b"\x7e\x40\x30\x3e" + body + b"\xa6\x03\x02\x01" + bytes([code]) + bytes(40)


def radius(code: int) -> bytes:
    return bytes([code, 7, 0, 20]) + bytes(16)


def sip(status: int) -> bytes:
    return b"SIP/2.0 %d X\r\n\r\n" % status


def dhcp(kind: int) -> bytes:
    return b"\x02\x01\x06\x00" + bytes(232) + b"\x63\x82\x53\x63" + bytes([53, 1, kind, 255])


def ntp(stratum: int, reference: bytes = bytes(4), leap: int = 0) -> bytes:
    return bytes([leap << 6 | 0x24, stratum, 6, 0xE8]) + bytes(8) + reference + bytes(32)


def snmp(*counter: int, flags: int = 0) -> bytes:
    """A report of version 3 that counts this (usmStats), or an answer; encrypted if ``flags`` say so."""

    def tagged(tag: int, *inside: bytes) -> bytes:
        return bytes([tag, len(b"".join(inside))]) + b"".join(inside)

    header = tagged(0x30, b"\x02\x01\x07", b"\x02\x02\x05\xdc", bytes([4, 1, flags]), b"\x02\x01\x03")
    binding = tagged(0x30, b"\x06\x0a\x2b\x06\x01\x06\x03\x0f\x01\x01", bytes([*counter, 0]), b"\x41\x01\x09") if counter else b""
    pdu = tagged(0xA8 if counter else 0xA2, b"\x02\x01\x07\x02\x01\x00\x02\x01\x00", tagged(0x30, binding))
    scoped = tagged(0x04, bytes(30)) if flags & 2 else tagged(0x30, tagged(4, b"engine"), tagged(4), pdu)
    return tagged(0x30, b"\x02\x01\x03", header, tagged(4, bytes(20)), scoped)


def answers(port: int, messages: list[bytes]) -> list[Packet]:
    client = 68 if port == 67 else 40_000
    packets = []
    for k, message in enumerate(messages):
        packets.append(Packet(k * S, datagram((CLIENT, client), (SERVER, port), b"\x6a" + bytes(60))))
        packets.append(Packet(k * S + MS, datagram((SERVER, port), (CLIENT, client), message)))
    return packets


@pytest.mark.parametrize(
    ("port", "messages", "severity", "text"),
    [
        (88, [kerberos(PREAUTH), kerberos(WRONG)], "problem", "1 of 1 Kerberos answer was a refusal, from 198.51.100.20: wrong password."),
        (88, [kerberos(SKEW), kerberos(SKEW)], "problem", "2 of 2 Kerberos answers were refusals, from 198.51.100.20: clocks differ."),
        (88, [kerberos(WRONG), kerberos(None)], "warning", "1 of 2 Kerberos answers was a refusal, from 198.51.100.20: wrong password."),
        (1812, [radius(2), radius(3)], "warning", "1 of 2 RADIUS answers was a refusal, from 198.51.100.20: Access-Reject."),
        (5060, [sip(100), sip(503)], "problem", "1 of 1 SIP answer was a refusal, from 198.51.100.20: 503."),
        (123, [ntp(0, leap=3)] * 3, "warning", "3 of 3 NTP answers were refusals, from 198.51.100.20: not synchronised."),
        (123, [ntp(0, b"RATE")] * 3, "warning", "3 of 3 NTP answers were refusals, from 198.51.100.20: asked too often (RATE)."),
        (123, [ntp(0, b"DENY")] * 3, "problem", "3 of 3 NTP answers were refusals, from 198.51.100.20: denied (DENY)."),
        (123, [ntp(2), ntp(0, b"RATE")], "warning", "1 of 2 NTP answers was a refusal, from 198.51.100.20: asked too often (RATE)."),
        (161, [snmp(4), snmp(3)] * 3, "problem", "3 of 3 SNMP answers were refusals, from 198.51.100.20: report: user not known."),
        (
            161,
            [snmp(2), *[snmp(5)] * 3],
            "problem",
            "3 of 3 SNMP answers were refusals, from 198.51.100.20: report: wrong digest (password).",
        ),
        (67, [dhcp(6)], "problem", "1 of 1 DHCP answer was a refusal, from 198.51.100.20: NAK."),
    ],
)
def test_a_server_that_says_no(tmp_path: Path, port: int, messages: list[bytes], severity: str, text: str) -> None:
    this = found(tmp_path, answers(port, messages), healthy())
    assert (this["refused"].severity, this["refused"].text) == (severity, text)


@pytest.mark.parametrize(
    ("port", "messages"),
    [
        (88, [kerberos(PREAUTH), kerberos(None)]),
        (1812, [radius(2), radius(11)]),
        (5060, [sip(401), sip(200), sip(486), sip(404), sip(489)]),
        (1812, [radius(2), b"\x03\x07\x12\x34" + bytes(40)]),  # not RADIUS
        (88, [kerberos(68), kerberos(None)]),
        (67, [dhcp(6), dhcp(5)]),
        (123, [ntp(16), ntp(16), ntp(16), ntp(2)]),  # it has just begun
        (123, [ntp(16), ntp(16)]),
        (67, [dhcp(2), dhcp(5)]),
        (161, [snmp(4), snmp(2), *[snmp()] * 3]),  # learns engine and time
        (161, [snmp(4), *[snmp(2)] * 5]),
        (161, [*[snmp(3)] * 3, snmp(flags=3)]),  # then the right user
        (161, [snmp(4), snmp(3)]),  # once
        (88, [b"\x7e", b"\x7e\x40\xa6\x03\x02\x01", b""]),
        (67, [b"\x02" + bytes(239) + b"\x35", b"\x02\x01\x06\x00" + bytes(232) + b"\x63\x82\x53\x63" + b"\x0c\xff\x35\x01\x06"]),
    ],
)
def test_answers_that_are_ordinary_or_cannot_be_read(tmp_path: Path, port: int, messages: list[bytes]) -> None:
    assert not problems(found(tmp_path, answers(port, messages), healthy()))


def over_tcp(port: int, *messages: bytes, by: str = "server") -> list[Packet]:
    made = talk(41_000, server=(SERVER, port))
    for message in messages:
        made.up("PA", b"a request")
        (made.down if by == "server" else made.up)("PA", message)
    return close(made).packets


def marked(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


NO_DIALECT, DIALECT, RSYNC_FULL = marked(smb2(0xC00000BB, 0)), marked(smb2(0, 0)), b"@ERROR: max connections (1) reached\n"
TUNE, PUBLISHED, ASKED = amqp(10, 30, 0), amqp(20, 40, 404, b"\0\x3c\0\x28"), amqp(20, 40, 404, b"\0\x32\0\x0a")
LATE = amqp(20, 40, 406, text=b"PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out.")
DECLARED, OTHERWISE = amqp(50, 11, 0), amqp(20, 40, 406, b"\0\x32\0\x0a")
NO_LOGIN, NO_RIGHT, IN = (
    b"-ERR 'Authorization Violation'\r\n",
    b"-ERR 'Permissions Violation for Subscription to \"a\"'\r\n",
    b"PONG\r\n",
)
DENIED, TAKEN = marked(smb2(0xC000006D, 1)), marked(smb2(0, 1))


@pytest.mark.parametrize(
    ("packets", "severity", "text"),
    [
        (over_tcp(445, DENIED), "problem", "1 of 1 SMB answer was a refusal, from 198.51.100.20: LOGON_FAILURE to the login."),
        (over_tcp(445, DENIED, TAKEN), "warning", "1 of 2 SMB answers was a refusal, from 198.51.100.20: LOGON_FAILURE to the login."),
        (over_tcp(445, TAKEN, DENIED), "problem", "1 of 2 SMB answers was a refusal, from 198.51.100.20: LOGON_FAILURE to the login."),
        (over_tcp(445, b"the middle of a file" + DENIED), None, ""),
        (over_tcp(80, DENIED), None, ""),
        (
            over_tcp(445, *[NO_DIALECT] * 3),
            "problem",
            "3 of 3 SMB answers were refusals, from 198.51.100.20: no dialect in common.",
        ),
        (over_tcp(445, *[NO_DIALECT] * 4, DIALECT, NO_DIALECT), None, ""),  # a scanner tries them one by one
        (over_tcp(445, *[NO_DIALECT] * 2), None, ""),
        (over_tcp(445, DIALECT, DENIED), "problem", "1 of 1 SMB answer was a refusal, from 198.51.100.20: LOGON_FAILURE to the login."),
        (
            over_tcp(11211, b"ERROR Too many open connections\r\n"),
            "problem",
            "1 of 1 memcached answer was a refusal, from 198.51.100.20: too many connections.",
        ),
        (
            over_tcp(11211, b"ERROR Too many open connections\r\n", b"END\r\n"),
            "warning",
            "1 of 2 memcached answers was a refusal, from 198.51.100.20: too many connections.",
        ),
        (over_tcp(873, RSYNC_FULL), "problem", "1 of 1 rsync answer was a refusal, from 198.51.100.20: too many connections."),
        (
            over_tcp(873, RSYNC_FULL, b"@RSYNCD: OK\n"),
            "warning",
            "1 of 2 rsync answers was a refusal, from 198.51.100.20: too many connections.",
        ),
        (  # mistyped
            over_tcp(873, b"@ERROR: Unknown module 'x'\n", b"@RSYNCD: OK\n"),
            "warning",
            "1 of 2 rsync answers was a refusal, from 198.51.100.20: Unknown module.",
        ),
        (
            over_tcp(873, *[b"@ERROR: Unknown module 'x'\n"] * 3),
            "problem",
            "3 of 3 rsync answers were refusals, from 198.51.100.20: Unknown module.",
        ),
        (
            over_tcp(5672, TUNE, *[PUBLISHED] * 2),
            "problem",
            "2 of 3 AMQP answers were refusals, from 198.51.100.20: publish: 404 not found.",
        ),
        (
            over_tcp(5672, TUNE, PUBLISHED, DECLARED),
            "warning",
            "1 of 3 AMQP answers was a refusal, from 198.51.100.20: publish: 404 not found.",
        ),
        (over_tcp(5672, TUNE, *[ASKED] * 4), "warning", "4 of 5 AMQP answers were refusals, from 198.51.100.20: 404 not found."),
        (
            over_tcp(5672, TUNE, OTHERWISE),
            "problem",
            "1 of 2 AMQP answers was a refusal, from 198.51.100.20: declare queue: 406 precondition failed.",
        ),
        (
            over_tcp(5672, TUNE, OTHERWISE, DECLARED),  # under another name, or made anew
            "warning",
            "1 of 3 AMQP answers was a refusal, from 198.51.100.20: declare queue: 406 precondition failed.",
        ),
        (
            over_tcp(5672, TUNE, LATE, TUNE, LATE, TUNE),  # each time the client comes anew
            "problem",
            "2 of 5 AMQP answers were refusals, from 198.51.100.20: acknowledge in time: 406 precondition failed.",
        ),
        (
            over_tcp(5672, TUNE, LATE, TUNE),
            "warning",
            "1 of 3 AMQP answers was a refusal, from 198.51.100.20: acknowledge in time: 406 precondition failed.",
        ),
        (over_tcp(4222, NO_LOGIN), "problem", "1 of 1 NATS answer was a refusal, from 198.51.100.20: authorization violation."),
        (over_tcp(4222, NO_LOGIN, IN), "warning", "1 of 2 NATS answers was a refusal, from 198.51.100.20: authorization violation."),
        (over_tcp(4222, IN, *[NO_RIGHT] * 6), "warning", "6 of 7 NATS answers were refusals, from 198.51.100.20: permissions violation."),
        (over_tcp(4222, IN, b"-ERR 'Slow Consumer Detected'\r\n"), None, ""),
        (over_tcp(88, marked(KRB_ERROR)), "problem", "1 of 1 Kerberos answer was a refusal, from 198.51.100.20: clocks differ."),
        (
            over_tcp(179, bgp(b"\x03\x02\x02"), by="client"),
            "problem",
            "1 of 1 BGP answer was a refusal, from 192.0.2.10: OPEN error: wrong AS of the peer (2/2).",
        ),
        (
            over_tcp(179, bgp(b"\x03\x06\x04")),
            "warning",
            "1 of 1 BGP answer was a refusal, from 198.51.100.20: administrative reset (6/4).",
        ),
        (
            over_tcp(5900, bytes(29), b"\x00\x00\x00\x01"),
            "problem",
            "1 of 1 VNC answer was a refusal, from 198.51.100.20: authentication failed.",
        ),
        (
            over_tcp(5900, bytes(275), b"\x00\x00\x00\x01"),  # behind the keys of Apple's login
            "problem",
            "1 of 1 VNC answer was a refusal, from 198.51.100.20: authentication failed.",
        ),
        (over_tcp(5900, bytes(90), b"\x00\x00\x00\x01"), None, ""),  # a rectangle of the picture
        (over_tcp(5900, bytes(900), b"\x00\x00\x00\x01"), None, ""),
    ],
)
def test_a_server_over_tcp_that_says_no(tmp_path: Path, packets: list[Packet], severity: str | None, text: str) -> None:
    this = found(tmp_path, packets, healthy())
    assert ((this["refused"].severity, this["refused"].text) if "refused" in this else (None, "")) == (severity, text)


def test_a_refusal_that_is_sent_again_counts_once(tmp_path: Path) -> None:
    made = talk(41_000, 0, (SERVER, 445))
    made.up("PA", b"a request")
    begin = made.back
    made.down("PA", DENIED)
    made.at += 300 * MS
    made.down("PA", DENIED, seq=begin)
    assert found(tmp_path, made.packets, healthy())["refused"].values["refused"] == 1


def test_a_server_that_answers_from_another_port(tmp_path: Path) -> None:
    missing = b"\x00\x05\x00\x01File not found\x00"
    asked = Packet(0, datagram((CLIENT, 40_001), (SERVER, 69), b"\x00\x01a\x00octet\x00"))
    packets = [asked, Packet(MS, datagram((SERVER, 50_123), (CLIENT, 40_001), missing))]
    assert "1 of 1 TFTP answer was a refusal, from 198.51.100.20: file not found." in found(tmp_path, packets, healthy())["refused"].text
    assert "refused" not in found(tmp_path, packets[1:], healthy())


@pytest.mark.parametrize(("finds", "severity"), [(True, "warning"), (False, "problem")])
def test_a_loader_that_tries_one_file_after_the_other(tmp_path: Path, finds: bool, severity: str) -> None:
    packets = []
    for k in range(6):
        answer = b"\0\3\0\1data" if finds and k == 5 else b"\0\5\0\1File not found\0"
        asked = datagram((CLIENT, 40_001 + k), (SERVER, 69), b"\0\1a\0octet\0")
        packets += [Packet(k * S, asked), Packet(k * S + MS, datagram((SERVER, 50_123 + k), (CLIENT, 40_001 + k), answer))]
    assert found(tmp_path, packets, healthy())["refused"].severity == severity


@pytest.mark.parametrize(("answers_", "refused"), [([401, 401], 0), ([401] * 3, 3), ([401, 401, 401, 200], 0), ([401, 401, 401, 403], 1)])
def test_credentials_that_are_asked_for_again_and_again(tmp_path: Path, answers_: list[int], refused: int) -> None:
    said = [b"SIP/2.0 %d X\r\nCSeq: 2 REGISTER\r\n\r\n" % status for status in answers_]
    this = found(tmp_path, answers(5060, said), healthy())
    assert (this["refused"].values["refused"] if "refused" in this else 0) == refused


def test_a_relay_that_is_asked_with_credentials(tmp_path: Path) -> None:
    assert "refused" not in found(tmp_path, answers(3478, [stun(0x113, 401), stun(0x103)]), healthy())


@pytest.mark.parametrize(("codes", "told"), [([0x84] * 3, "problem"), ([0x84] * 2, None), ([0x84] * 3 + [0x45], None)])
def test_a_resource_that_is_never_there(tmp_path: Path, codes: list[int], told: str | None) -> None:
    this = found(tmp_path, answers(5683, [bytes([0x60, code, 0x12, k]) for k, code in enumerate(codes)]), healthy())
    assert (this["refused"].severity if "refused" in this else None) == told


def test_protocols_at_one_port_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BY_ID["sip"], "AT", BY_ID["dns"].AT)
    with pytest.raises(TypeError, match="sip and dns have the same port 53"):
        _by_port(False)


def test_frames_that_control_a_ppp_link_hide_no_sessions(tmp_path: Path) -> None:
    path = str(tmp_path / "ppp.pcap")
    with PcapWriter(path, linktype=9) as out:
        for number in (0xC021, 0xC223, 0x8021, 0x0021):
            payload = bytes(IP(src=CLIENT, dst=SERVER) / UDP(sport=9, dport=9)) if number == 0x0021 else bytes(20)
            out.write(b"\xff\x03" + number.to_bytes(2, "big") + payload)
    found_ = netlens.analyze(path)
    assert [each.id for each in found_.findings if each.severity != "note"] == []
    assert not any("not read" in text for each in found_.sides.values() for text in each.capture.warnings)


def test_nats_is_not_taken_for_http(tmp_path: Path) -> None:
    made = talk(server=(SERVER, 4222))
    made.down("PA", b'INFO {"server_id":"a"}\r\n')
    made.up("PA", b'CONNECT {"verbose":false}\r\nPING\r\n')
    made.down("PA", b"PONG\r\n")
    path = write(tmp_path / "made.pcap", close(made).packets)
    assert netlens.read(str(path)).table("sessions")["protocol"].tolist() == [None]


RDP_ASKED = b"\x03\x00\x00\x2f\x2a\xe0" + bytes(41)
RDP_NO, RDP_YES = (b"\x03\x00\x00\x13\x0e\xd0" + bytes(5) + bytes([kind, 0, 8, 0, 2, 0, 0, 0]) for kind in (3, 2))


def rdp(port: int, at: int, answer: bytes) -> list[Packet]:
    made = talk(port, at, (SERVER, 3389))
    made.up("PA", RDP_ASKED)
    made.down("PA", answer)
    return close(made).packets


@pytest.mark.parametrize(("later_s", "told"), [(2, None), (60, "warning"), (None, "problem")])
def test_a_refusal_that_another_offer_cures_at_once(tmp_path: Path, later_s: int | None, told: str | None) -> None:
    again = [] if later_s is None else rdp(41_001, later_s * S, RDP_YES)
    this = found(tmp_path, rdp(41_000, 0, RDP_NO), again, healthy())
    assert (this["refused"].severity if "refused" in this else None) == told


@pytest.mark.parametrize(
    ("statuses", "severity"),
    [([488] * 3, "problem"), ([488] * 2, "warning"), ([488, 488, 488, 200, 488], "warning"), ([200, 488, 488, 488], "warning")],
)
def test_calls_of_which_none_has_a_codec_in_common(tmp_path: Path, statuses: list[int], severity: str) -> None:
    """One call, in which each side offers something else, or a phone that is registered, is none."""
    assert found(tmp_path, answers(5060, [sip(s) for s in statuses]), healthy())["refused"].severity == severity


def test_what_a_fax_does_not_take_within_a_call(tmp_path: Path) -> None:
    """The other side offers T.38 once in each call, which goes on without (RFC 3261 14.1)."""
    phone, gateway = (CLIENT, 5060), (SERVER, 5060)
    calls = [
        Packet(k * 60 * S + t * S, datagram(*ends, sip(status)))
        for k in range(4)
        for t, ends, status in (
            (0, (gateway, phone), 200),
            (9, (phone, gateway), 488),
            (10, (phone, gateway), 488),
            (40, (gateway, phone), 200),
        )
    ]
    assert found(tmp_path, calls, healthy())["refused"].severity == "warning"
    assert (
        found(tmp_path, calls[:1], [p for p in calls if p.data[12:16] == calls[1].data[12:16]], healthy())["refused"].severity == "problem"
    )


@pytest.mark.parametrize(("status", "told"), [(488, False), (403, False), (501, False), (503, True)])
def test_who_answers_a_probe_is_there(tmp_path: Path, status: int, told: bool) -> None:
    probe = b"SIP/2.0 %d X\r\nCSeq: 7 OPTIONS\r\n\r\n" % status
    assert ("refused" in found(tmp_path, answers(5060, [probe] * 5), healthy())) == told


@pytest.mark.parametrize(("messages", "told"), [([415, 200, 200], False), ([200, 415], True), ([503, 200], True)])
def test_another_kind_of_body_that_is_taken(tmp_path: Path, messages: list[int], told: bool) -> None:
    assert ("refused" in found(tmp_path, answers(5060, [sip(each) for each in messages]), healthy())) == told


NOT_THERE, DONE, ENTRY, BOUND = (b"0\x0c\x02\x01\x05" + bytes([op, 7, 0x0A, 1, code, 4, 0, 4, 0]) for op, code in
                                 ((0x65, 32), (0x65, 0), (0x64, 0), (0x61, 0)))  # fmt: skip


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (
            [BOUND, NOT_THERE, NOT_THERE, NOT_THERE],
            "3 of 4 LDAP answers were refusals, from 198.51.100.20: nothing found: noSuchObject (32).",
        ),
        ([BOUND, NOT_THERE, NOT_THERE], ""),
        ([BOUND, NOT_THERE, NOT_THERE, NOT_THERE, ENTRY], ""),
        ([NOT_THERE, DONE, NOT_THERE, NOT_THERE], ""),
    ],
)
def test_searches_for_what_is_never_there(tmp_path: Path, said: list[bytes], text: str) -> None:
    """Which may be as meant: sudo's rules, say."""
    this = found(tmp_path, over_tcp(389, *said), healthy())
    assert not problems(this)
    assert (this["refused"].text if "refused" in this else "") == text


def test_a_search_that_never_finds_anything(tmp_path: Path) -> None:
    """As often as nobody looks whether something is there; but who then makes what was not there wanted to know it."""
    made = b"0\x0c\x02\x01\x05" + bytes([0x69, 7, 0x0A, 1, 0, 4, 0, 4, 0])
    assert problems(found(tmp_path, over_tcp(389, BOUND, *[NOT_THERE] * 11), healthy())) == {"refused"}
    assert not problems(found(tmp_path, over_tcp(389, BOUND, *[NOT_THERE, made] * 11), healthy()))


def test_a_fatal_alert_of_dtls_at_any_port(tmp_path: Path) -> None:
    alert = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"
    this = found(tmp_path, answers(40_404, [alert]), healthy())
    assert problems(this) == {"tls-failed"}
    assert this["tls-failed"].text == "1 of 1 DTLS handshake failed (handshake failure (40) by 198.51.100.20)."
    assert "cipher" in this["tls-failed"].advice


def test_commands_that_redis_does_not_understand(tmp_path: Path) -> None:
    made = talk(41_000, server=(SERVER, 6379))
    for _ in range(2):
        made.up("PA", b"*1\r\n$3\r\nFOO\r\n")
        made.down("PA", b"-ERR unknown command 'FOO'\r\n")
    this = found(tmp_path, close(made).packets, healthy())["refused"]
    assert "command not understood (Redis)" in this.text
    assert "password" not in this.advice


HELLO, TRIES, READS = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n", b"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n", b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
UNKNOWN, BUSY = b"-ERR unknown subcommand 'SETINFO'\r\n", b"-BUSY Redis is busy running a script.\r\n"


@pytest.mark.parametrize(
    ("said", "no"),
    [
        ([(HELLO, b"%1\r\n$6\r\nserver\r\n"), (TRIES, UNKNOWN)], ""),  # what drivers try, and then nothing
        (
            [(HELLO, b"%1\r\n$6\r\nserver\r\n"), (b"*1\r\n$3\r\nFOO\r\n", UNKNOWN), (READS, b"_\r\n")],
            "",
        ),  # nothing there, in RESP 3, is an answer
        ([(HELLO, b"%1\r\n$6\r\nserver\r\n"), (READS, BUSY)], "busy with a script"),
        ([(READS, BUSY), (READS, b"$1\r\na\r\n")], "busy with a script"),  # it stood still for 5 s
    ],
)
def test_what_redis_says_to_drivers(tmp_path: Path, said: list[tuple[bytes, bytes]], no: str) -> None:
    made = talk(41_000, server=(SERVER, 6379))
    for asked, answer in said:
        exchange(made, asked, answer)
    this = found(tmp_path, close(made).packets, healthy())
    assert (problems(this) == {"refused"}) == bool(no)
    assert not no or no in this["refused"].text


SHUT_OUT, VIOLATION = b"Not allowed at this time\r\n", b"-ERR 'Authorization Violation'\r\n"


def shut_out(k: int, greeting: bytes, asked: bytes, line: bytes, port: int = 7422) -> list[Packet]:
    made = talk(41_000 + k, k * S, (SERVER, port))
    if greeting:
        made.down("PA", greeting)
    exchange(made, asked, line)
    made.down("FA")
    made.up("FA")
    made.down("A")
    return made.packets


@pytest.mark.parametrize(
    ("greeting", "asked", "line", "said"),
    [
        (b"", b"SSH-2.0-OpenSSH_9.9\r\n", SHUT_OUT, "not allowed at this time (SSH)"),
        (b"INFO {}\r\n", b"CONNECT {}\r\n", VIOLATION, "authorization violation (NATS)"),
        (b"INFO {}\r\n", b"CONNECT {}\r\n", b"-ERR 'Maximum Connections Exceeded'\r\n", "a maximum exceeded (NATS)"),
    ],
)
def test_lines_that_shut_a_client_out(tmp_path: Path, greeting: bytes, asked: bytes, line: bytes, said: str) -> None:
    """Whatever the port; not for good, if it is let in later."""
    packets = [p for k in range(3) for p in shut_out(k, greeting, asked, line)]
    this = found(tmp_path, packets, healthy(at=20 * S))
    assert problems(this) == {"refused"}
    assert f"3 of 3 connections to 198.51.100.20:7422 got a refusal: {said}" in this["refused"].text
    later = close(exchange(talk(42_000, 9 * S, (SERVER, 7422)), asked, greeting or asked)).packets
    assert not problems(found(tmp_path, packets, later, healthy(at=20 * S)))


@pytest.mark.parametrize(
    ("greeting", "asked", "line"),
    [
        (b"INFO {}\r\n", b"PING\r\n", b"-ERR 'Authentication Timeout'\r\n"),  # a look whether it is there
        (b"INFO {}\r\n", b"CONNECT {}\r\n", b"-ERR 'Slow Consumer Detected'\r\n"),
        (b"hello\r\n", b"CONNECT {}\r\n", VIOLATION),
        (b"", b"LIST DOORS\r\n", b"Not allowed: 3, 7\r\n"),
    ],
)
def test_lines_of_which_nobody_knows_whether_they_shut_out(tmp_path: Path, greeting: bytes, asked: bytes, line: bytes) -> None:
    assert not problems(found(tmp_path, *(shut_out(k, greeting, asked, line) for k in range(3)), healthy(at=20 * S)))


def start_tls(k: int, goes_on: bool) -> list[Packet]:
    made = exchange(
        talk(41_000 + k, k * S, (SERVER, 389)), b"0\x1d\2\1\1w\x18\x80\x161.3.6.1.4.1.1466.20037", b"0\x0c\2\1\1x\7\n\1\2\4\0\4\0"
    )
    if goes_on:
        exchange(made, b"0\x0c\2\1\2`\7\2\1\3\4\0\x80\0", b"0\x0c\2\1\2a\7\n\1\0\4\0\4\0")
    return close(made).packets


@pytest.mark.parametrize(("times", "goes_on", "told"), [(4, False, True), (1, False, False), (4, True, False)])
def test_a_server_of_ldap_without_tls(tmp_path: Path, times: int, goes_on: bool, told: bool) -> None:
    """A client that does not insist goes on in clear."""
    this = found(tmp_path, *(start_tls(k, goes_on) for k in range(times)), healthy(at=20 * S))
    assert (problems(this) == {"refused"}) == told
    assert not told or "extended request: protocolError (2)" in this["refused"].text


def test_commands_that_a_server_of_pop3_does_not_know(tmp_path: Path) -> None:
    """It greets first, and says -ERR as Redis does (RFC 1939 3, RFC 2449 5)."""
    made = talk(41_000, server=(SERVER, 110))
    made.down("PA", b"+OK ready\r\n")
    for command, answer in ((b"CAPA\r\n", b"-ERR unknown command\r\n"), (b"USER a\r\n", b"+OK\r\n"), (b"PASS b\r\n", b"+OK\r\n")):
        made.up("PA", command)
        made.down("PA", answer)
    assert "refused" not in found(tmp_path, close(made).packets, healthy())


SSH, HTTP, BAD = b"SSH-2.0-OpenSSH_10.0\r\n", b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"


def spoken(*said: tuple[bytes, bytes]) -> list[Packet]:
    """Connections to one service, one after the other: what the client says first, and the server."""
    packets: list[Packet] = []
    for k, (asked, answer) in enumerate(said):
        packets += close(exchange(talk(41_000 + k, k * S, (SERVER, 2222)), asked, answer)).packets
    return packets


@pytest.mark.parametrize(
    ("asked", "answer", "what"),
    [
        (SSH, BAD, "SSH was answered in HTTP (SSH)"),
        (HTTP, SSH, "HTTP was answered in SSH (HTTP)"),
        (HTTP, b"\x15\x03\x01\x00\x02\x02\x16", "HTTP was answered in TLS (HTTP)"),
        (b"POST /a HTTP/1.1\r\n\r\n", b"RFB 003.008\n", "HTTP was answered in VNC (HTTP)"),
        (HTTP, b"\0\0\6\4\0\0\0\0\0\0\5\0\0\x40\0", "HTTP was answered in HTTP/2 (HTTP)"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BAD, "HTTP/2 was answered in HTTP (HTTP/2)"),
    ],
)
def test_a_server_that_speaks_another_protocol(tmp_path: Path, asked: bytes, answer: bytes, what: str) -> None:
    this = found(tmp_path, spoken((asked, answer)), healthy())
    assert problems(this) == {"refused"}
    assert this["refused"].text == f"1 of 1 connection to 198.51.100.20:2222 got a refusal: {what}."
    assert this["refused"].advice.startswith("The port speaks another protocol")


@pytest.mark.parametrize(
    "said",
    [
        [(SSH, SSH)],
        [(HTTP, SSH), (SSH, SSH)],  # a scanner asks what is there
        [(HTTP, SSH), (b"\x16\x03\x01\x00\x05abcde", SSH)],
        [(HTTP, SSH), (HTTP, BAD)],  # a port that is shared (sslh)
        [(b"CONNECT a:22 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n")],  # SSH through a proxy
    ],
)
def test_servers_that_speak_what_they_are_asked(tmp_path: Path, said: list[tuple[bytes, bytes]]) -> None:
    assert "refused" not in problems(found(tmp_path, spoken(*said), healthy()))


def test_who_speaks_the_wrong_protocol_where_others_are_served_or_to_many(tmp_path: Path) -> None:
    """Scanners of the internet do."""
    others = close(exchange(talk(42_000, server=(SERVER, 2222), client="192.0.2.77"), SSH, SSH)).packets
    assert found(tmp_path, spoken((HTTP, SSH)), others)["refused"].severity == "warning"
    many = [p for k in range(3) for p in close(exchange(talk(41_000 + k, k * S, (f"198.51.100.{k + 1}", 22)), HTTP, SSH)).packets]
    assert found(tmp_path, many, healthy())["refused"].severity == "warning"


def test_what_stood_before_the_first_words_that_were_recorded_may_have_been_another_protocol(tmp_path: Path) -> None:
    packets = spoken((SSH, BAD))
    made = talk(41_500, 9 * S, (SERVER, 2222))
    made.up("PA", b"CONNECT a:22 HTTP/1.1\r\n\r\n")
    made.packets.pop()
    exchange(made, SSH, BAD)
    assert "refused" not in problems(found(tmp_path, close(made).packets, healthy()))
    assert "refused" in problems(found(tmp_path, packets, healthy()))


UPGRADE = b"GET /live HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"


MASKED = b"\x81\x85" + bytes(9)


def websocket(code: int, port: int = 41_000, at: int = 0, client_first: bool = False, lasts: int = 0) -> list[Packet]:
    made = exchange(talk(port, at), *UPGRADE)
    made.at += lasts
    made.down("PA", b"\x81\x05hello")
    made.up("A")
    if client_first:
        made.up("PA", b"\x88\x82" + bytes(6))
    if code:
        made.down("PA", b"\x88\x02" + code.to_bytes(2, "big"))
        if not client_first:
            made.up("PA", b"\x88\x82" + bytes(6))
    return close(made).packets


def test_websockets_that_a_server_closes_with_an_error(tmp_path: Path) -> None:
    this = found(tmp_path, websocket(1011), websocket(1011, 41_001, S), healthy(at=9 * S))
    assert problems(this) == {"refused"}
    assert this["refused"].text == (
        "2 of 3 connections to 198.51.100.20:80 got a refusal: WebSocket closed: internal error (1011) (WebSocket)."
    )
    assert this["refused"].advice == "The server's program ended the WebSocket: its log says why."
    uneven = [websocket(1008), websocket(1008, 41_001, S, lasts=S)]
    assert problems(found(tmp_path, *uneven, healthy(at=9 * S))) == {"refused"}


@pytest.mark.parametrize(
    "sockets",
    [
        [websocket(1000), websocket(1000, 41_001, S)],
        [websocket(1001), websocket(1001, 41_001, S)],
        [websocket(1011, client_first=True), websocket(1011, 41_001, S, client_first=True)],  # the client's own code
        [websocket(1008)],  # an idle one, say
        [websocket(1008), websocket(1008, 41_001, S), websocket(0, 41_002, 2 * S)],  # the next one is kept
        [websocket(1008), websocket(0, 41_001, S // 2), websocket(1008, 41_002, S)],  # others, behind one address
        [websocket(1008, lasts=3 * S), websocket(1008, 41_001, 4 * S, lasts=3 * S)],  # tokens of 3 s
        [websocket(1008, lasts=600 * S), websocket(1008, 41_001, 601 * S, lasts=600 * S)],  # a token ends, and the capture
    ],
)
def test_websockets_that_end_well(tmp_path: Path, sockets: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *sockets, healthy(at=9 * S)))


def dnp3(indications: int) -> bytes:
    return b"\x05\x64\x0a\x44\x03\x00\x04\x00\x7c\xae\xc1\xc1\x81\x00" + bytes([indications]) + b"\x3b\xdb"


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        ([dnp3(0), dnp3(4), dnp3(4)], "problem"),
        ([dnp3(4), dnp3(0)], "warning"),  # the next request is taken
        ([dnp3(2)] * 6, "warning"),  # a master that asks for what is not there
        ([dnp3(0), dnp3(1)], "warning"),  # an outstation that says nothing unasked
    ],
)
def test_an_outstation_that_refuses(tmp_path: Path, said: list[bytes], severity: str) -> None:
    assert found(tmp_path, over_tcp(20_000, *said), healthy())["refused"].severity == severity


def cut(
    port: int, at: float, silence: float = 3, by_client: bool = False, asked: bytes = UPGRADE[0], said: bytes = MASKED, pace: float = 0
) -> list[Packet]:
    """A WebSocket that is ended without a close."""
    made = exchange(talk(port, int(at * S)), asked, UPGRADE[1])
    made.down("PA", b"\x81\x05hello")
    made.at += int(pace * S)
    if said:
        made.up("PA", said)
        made.down("A")
    made.at += int(silence * S)
    if by_client:
        return close(made).packets
    made.down("FA")
    made.up("FA")
    made.down("A")
    return made.packets


def test_websockets_that_are_cut_when_they_are_silent(tmp_path: Path) -> None:
    this = found(tmp_path, *(cut(41_000 + k, 4 * k) for k in range(3)), healthy(at=15 * S))
    assert problems(this) == {"refused"}
    assert this["refused"].text == (
        "3 of 4 connections to 198.51.100.20:80 got a refusal: WebSocket cut without a close after 3.0 s of silence (WebSocket)."
    )
    assert "pings" in this["refused"].advice


@pytest.mark.parametrize(
    "sockets",
    [
        pytest.param([cut(41_000 + k, k, 0.1) for k in range(5)], id="a server that has said all"),
        pytest.param([cut(41_000 + k, 9 * k, 2 + k) for k in range(4)], id="no timer"),
        pytest.param([cut(41_000 + k, 4 * k, by_client=True) for k in range(4)], id="the client closes"),
        pytest.param([cut(41_000 + k, 6 * k, pace=3) for k in range(4)], id="the pace of what is said"),
        pytest.param([cut(41_000 + k, 4 * k) for k in range(2)], id="twice"),
        pytest.param([cut(41_000 + k, 60 * k) for k in range(4)], id="nobody misses it"),
        pytest.param([cut(41_000 + k, 65 * k, 60) for k in range(4)], id="a minute, as proxies have it"),
        pytest.param([*(cut(41_000 + k, 4 * k) for k in range(3)), cut(41_003, 12, 8, by_client=True)], id="the last one is kept"),
        pytest.param(
            [cut(41_000 + k, 4 * k, asked=b"POST /exec/1/start HTTP/1.1\r\nUpgrade: tcp\r\n\r\n", said=b"") for k in range(3)],
            id="a terminal",
        ),
        pytest.param([cut(41_000 + k, 4 * k, said=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") for k in range(3)], id="HTTP/2"),
    ],
)
def test_websockets_whose_end_nobody_minds(tmp_path: Path, sockets: list[list[Packet]]) -> None:
    assert not problems(found(tmp_path, *sockets, healthy(at=300 * S)))


CLOSED = b"\x88\x82" + bytes(6)
LONG = b"\x82\xfe\x03\xe8" + bytes(4 + 1000)


def mute(
    port: int, at: float, greeting: bytes = b"", age: float = 0.3, said: tuple[bytes, ...] = (MASKED,), pace: float = 0
) -> list[Packet]:
    """A WebSocket in which the client speaks, and that the server then ends without a close. greeting: a frame that comes with the server's 101."""
    made = exchange(talk(port, int(at * S)), UPGRADE[0], UPGRADE[1] + greeting)
    for each in said:
        made.at += int(pace * S)
        made.up("PA", each)
        made.down("A")
    made.at += int(age * S)
    made.down("FA")
    made.up("FA")
    made.down("A")
    return made.packets


def test_websockets_in_which_the_server_never_says_a_word(tmp_path: Path) -> None:
    this = found(tmp_path, *(mute(41_000 + k, 2 * k) for k in range(3)), healthy(at=15 * S))
    assert problems(this) == {"refused"}
    assert "WebSocket ended without a close, or a word from the server, soon after it began" in this["refused"].text
    assert "1006" in this["refused"].advice
    in_pieces = [mute(41_000 + k, 2 * k, said=(LONG[:600], LONG[600:])) for k in range(3)]
    assert problems(found(tmp_path, *in_pieces, healthy(at=15 * S))) == {"refused"}
    with_pings = [mute(41_000 + k, 4 * k, said=(MASKED, *3 * (b"\x89\x80" + bytes(4),)), pace=0.5) for k in range(3)]
    assert problems(found(tmp_path, *with_pings, healthy(at=20 * S))) == {"refused"}


@pytest.mark.parametrize(
    ("sockets", "said"),
    [
        pytest.param([mute(41_000 + k, 2 * k, b"\x81\x02hi") for k in range(4)], True, id="it greeted"),
        pytest.param([cut(41_000 + k, 2 * k, 0.1) for k in range(4)], True, id="it spoke"),
        pytest.param([mute(41_000 + k, 4 * k, said=3 * (MASKED,), pace=0.7) for k in range(4)], True, id="the client reports"),
        pytest.param([mute(41_000 + k, 2 * k, age=0.01) for k in range(4)], True, id="it had all that it wanted"),
        pytest.param([mute(41_000 + k, 2 * k, said=(MASKED + CLOSED,)) for k in range(4)], False, id="a close behind the last word"),
        pytest.param([mute(41_000 + k, 2 * k, said=(LONG[:600], LONG[600:] + CLOSED)) for k in range(4)], False, id="behind a long one"),
        pytest.param([mute(41_000 + k, 2 * k) for k in range(2)], False, id="twice"),
        pytest.param([mute(41_000 + k, 40 * k, age=20 + k) for k in range(4)], False, id="late"),
        pytest.param([mute(41_000 + k, 20 * k) for k in range(4)], False, id="nobody misses it"),
    ],
)
def test_websockets_without_a_close_that_may_be_over(tmp_path: Path, sockets: list[list[Packet]], said: bool) -> None:
    this = found(tmp_path, *sockets, healthy(at=300 * S))
    assert not problems(this)
    assert ("refused" in this) == said


def pinged(code: int | None, wait: float = 2, pong: bool = False, heard: bool = True) -> list[Packet]:
    """A WebSocket whose client pings, and then leaves: with a masked code, or (None) without a close."""
    made = exchange(talk(), *UPGRADE)
    made.up("PA", b"\x89\x84" + bytes(8))
    if heard:
        made.down("A")
    if pong:
        made.down("PA", b"\x8a\x04" + bytes(4))
    made.at += int(wait * S)
    if code is not None:
        mask = bytes((17, 34, 51, 68))
        made.up("PA", b"\x88\x82" + mask + bytes(a ^ b for a, b in zip(code.to_bytes(2, "big"), mask, strict=False)))
        made.down("A")
    made.up("FA")
    made.down("A")
    return made.packets


@pytest.mark.parametrize("code", [1011, None])
def test_pings_that_a_server_acknowledges_and_never_answers(tmp_path: Path, code: int | None) -> None:
    this = found(tmp_path, pinged(code), healthy(at=15 * S))
    assert problems(this) == {"slow-server"}
    assert "(WebSocket, ping) waited 2.0 s for an answer and got none before the client gave up" in this["slow-server"].text


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(pinged(None, pong=True), id="a pong"),
        pytest.param(pinged(1000), id="the client leaves in order"),
        pytest.param(pinged(1001), id="the page is left"),
        pytest.param(pinged(None, wait=0.2), id="the client leaves at once"),
        pytest.param(pinged(None, heard=False), id="not heard"),
    ],
)
def test_pings_that_nobody_waits_for(tmp_path: Path, packets: list[Packet]) -> None:
    assert "slow-server" not in found(tmp_path, packets, healthy(at=15 * S))


def imap(*said: tuple[bytes, bytes], at: int = 0, port: int = 40_000) -> list[Packet]:
    made = talk(port, at, (SERVER, 143))
    made.down("PA", b"* OK ready\r\n")
    for asked, answer in ((b"a LOGIN x y", b"a OK in"), *said):
        exchange(made, asked + b"\r\n", answer + b"\r\n")
    return close(made).packets


FULL, STORED = (b"b1 APPEND Sent {5+}\r\nhello", b"b1 NO [OVERQUOTA] full"), (b"b2 APPEND Sent {5+}\r\nhello", b"b2 OK done")

#: Stored in another place, its OK behind what is told unasked; and made and stored by one segment
ELSEWHERE = (b"b2 APPEND INBOX {5+}\r\nhello", b"* 1 EXISTS\r\nb2 OK done")
MADE = (b"c CREATE Sent\r\nd APPEND Sent {5+}\r\nhello", b"c OK done\r\nd OK stored")


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        ([FULL] * 2, "problem"),
        ([(b"b1 APPEND Sent {5}", b"+ go on"), (b"hello", b"b1 NO [OVERQUOTA] full")] * 2, "problem"),
        ([FULL], "warning"),
        ([FULL, (b"c CREATE Sent", b"c OK made"), STORED], "warning"),
        ([FULL, FULL, STORED], "warning"),  # something was deleted
        ([(b"b SELECT x", b"b NO not there")] * 3, None),
    ],
)
def test_messages_that_a_mailbox_does_not_take(tmp_path: Path, said: list[tuple[bytes, bytes]], severity: str | None) -> None:
    this = found(tmp_path, imap(*said), healthy())
    assert (this["refused"].severity if "refused" in this else None) == severity


@pytest.mark.parametrize(
    ("streams", "severity"),
    [
        ([imap(FULL, at=k * S, port=41_000 + k) for k in range(3)], "problem"),
        ([imap(FULL, at=k * S, port=41_000 + k) for k in range(2)], "warning"),
        ([imap(FULL, at=k * S // 10, port=41_000 + k) for k in range(3)], "problem"),
        ([imap(FULL, at=k * MS, port=41_000 + k) for k in range(3)], "warning"),  # side by side
        ([imap(FULL, (b"c CREATE Sent", b"c OK made"), STORED, at=k * S, port=41_000 + k) for k in range(3)], "warning"),
        ([imap(FULL, ELSEWHERE, at=k * S, port=41_000 + k) for k in range(3)], "warning"),
        ([imap(FULL, MADE, at=k * S, port=41_000 + k) for k in range(3)], "warning"),
        ([imap([FULL, STORED][k % 2], at=k * S, port=41_000 + k) for k in range(6)], "warning"),
    ],
)
def test_messages_that_a_mailbox_takes_on_no_connection(tmp_path: Path, streams: list[list[Packet]], severity: str) -> None:
    assert found(tmp_path, *streams, healthy())["refused"].severity == severity


def mail(*said: tuple[bytes, bytes], at: int = 0, port: int = 40_000, to: tuple[str, int] = (SERVER, 25)) -> list[Packet]:
    made = talk(port, at, to)
    made.down("PA", b"220 mx ESMTP\r\n")
    for asked, answer in ((b"EHLO me", b"250 STARTTLS"), *said):
        exchange(made, asked + b"\r\n", answer + b"\r\n")
    return close(made).packets


NO_TLS, SENT = (b"STARTTLS", b"454 4.7.0 not now"), (b"MAIL FROM:<a@b>", b"250 ok")


@pytest.mark.parametrize(
    ("streams", "severity"),
    [
        pytest.param([mail(NO_TLS, at=k * S, port=41_000 + k) for k in range(3)], "problem", id="each"),
        pytest.param([mail(NO_TLS, at=k * S, port=41_000 + k) for k in range(2)], "warning", id="twice"),
        pytest.param([mail(NO_TLS, SENT, at=k * S, port=41_000 + k) for k in range(3)], None, id="sent without it"),
        pytest.param(
            [mail(*([NO_TLS], [SENT])[k % 2], at=k * S, port=41_000 + k) for k in range(6)], "warning", id="sent without it, anew"
        ),
        pytest.param(
            [
                mail(*([NO_TLS], [SENT])[k % 2], at=k * S, port=41_000 + k, to=((SERVER, 25), ("198.51.100.77", 25))[k % 2])
                for k in range(6)
            ],
            None,
            id="sent to another server",
        ),
        pytest.param(
            [mail(*([NO_TLS], [SENT])[k % 2], at=k * S, port=41_000 + k, to=(SERVER, (25, 465)[k % 2])) for k in range(6)],
            None,
            id="sent to another port",
        ),
        pytest.param([mail(NO_TLS, at=k * 60 * S, port=41_000 + k) for k in range(6)], None, id="by the clock"),
        pytest.param([mail((b"STARTTLS", b"502 what?"), at=k * S, port=41_000 + k) for k in range(3)], None, id="it has none"),
    ],
)
def test_tls_that_a_mail_server_cannot_begin(tmp_path: Path, streams: list[list[Packet]], severity: str | None) -> None:
    this = found(tmp_path, *streams, healthy())
    assert (this["refused"].severity if "refused" in this else None) == severity
    assert severity is None or "454 to STARTTLS (SMTP)" in this["refused"].text


def in_eap(alert: int, level: int = 2, flags: int = 0, kind: int = 13) -> bytes:
    """An Access-Request in which a client says an alert of TLS."""
    record = (bytes(4) if flags & 0x80 else b"") + bytes([0x15, 3, 3, 0, 2, level, alert])
    eap = bytes([2, 9, 0, 6 + len(record), kind, flags]) + record
    attributes = b"\x01\x05bob" + bytes([79, 2 + len(eap)]) + eap
    return bytes([1, 7]) + (20 + len(attributes)).to_bytes(2, "big") + bytes(16) + attributes


def asked_by_radius(message: bytes) -> list[Packet]:
    ends = (CLIENT, 40_000), (SERVER, 1812)
    return [Packet(0, datagram(*ends, message)), Packet(S, datagram(*ends[::-1], radius(3)))]


@pytest.mark.parametrize("flags", [0, 0x80])
def test_a_client_that_does_not_trust_the_server_inside_eap(tmp_path: Path, flags: int) -> None:
    this = found(tmp_path, asked_by_radius(in_eap(48, flags=flags)), healthy())["refused"]
    assert this.severity == "problem"
    assert "unknown_ca by the client (TLS inside EAP)" in this.text


def test_a_client_that_trusts_the_server_at_the_next_try(tmp_path: Path) -> None:
    accepted = Packet(3 * S, datagram((SERVER, 1812), (CLIENT, 40_000), radius(2)))
    this = found(tmp_path, [*asked_by_radius(in_eap(48)), accepted], healthy())["refused"]
    assert this.severity == "warning"


@pytest.mark.parametrize("message", [in_eap(0, level=1), in_eap(48, kind=26), in_eap(48)[:-3], radius(1)])
def test_what_a_client_says_inside_eap_in_order(tmp_path: Path, message: bytes) -> None:
    assert "refused" not in problems(found(tmp_path, asked_by_radius(message), healthy()))
