"""Servers over UDP that say no, in messages made here; and frames that hide no sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from scapy.layers.inet import IP, UDP
from scapy.utils import PcapWriter

import netlens
from tests.lenses.made import CLIENT, MS, SERVER, S, close, found, healthy, problems, talk
from tests.parsers.build import Packet, datagram, write

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
        (67, [dhcp(2), dhcp(5)]),
        (88, [b"\x7e", b"\x7e\x40\xa6\x03\x02\x01", b""]),
        (67, [b"\x02" + bytes(239) + b"\x35", b"\x02\x01\x06\x00" + bytes(232) + b"\x63\x82\x53\x63" + b"\x0c\xff\x35\x01\x06"]),
    ],
)
def test_answers_that_are_ordinary_or_cannot_be_read(tmp_path: Path, port: int, messages: list[bytes]) -> None:
    assert not problems(found(tmp_path, answers(port, messages), healthy()))


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
