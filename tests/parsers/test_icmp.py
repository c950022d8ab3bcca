"""ICMP errors: who said what of which packet."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netlens
from netlens.parsers import icmp
from tests.parsers.build import T0, End, Packet, _ip, datagram, mixed, segment, write

if TYPE_CHECKING:
    from netlens.parsers.icmp import Error

CLIENT: End = ("192.0.2.10", 40_000)
SERVER: End = ("198.51.100.20", 53)
ROUTER = "203.0.113.1"
CLIENT6, SERVER6, ROUTER6 = ("2001:db8::a", 40_000), ("2001:db8::20", 53), "2001:db8::1"


def icmp4(kind: int, code: int, quoted: bytes, rest: bytes = bytes(4), reporter: str = ROUTER) -> bytes:
    return _ip(reporter, CLIENT[0], 1, bytes([kind, code, 0, 0]) + rest + quoted)


def icmp6(kind: int, code: int, quoted: bytes, rest: bytes = bytes(4)) -> bytes:
    return _ip(ROUTER6, CLIENT6[0], 58, bytes([kind, code, 0, 0]) + rest + quoted)


def errors(folder: Path, *packets: bytes) -> list[Error]:
    path = write(folder / "made.pcap", mixed([Packet(k, data) for k, data in enumerate(packets)]))
    return netlens.api.Capture([path], trail=True).icmp_errors


SYN = segment(CLIENT, SERVER, "S", 77)
SYN6 = segment(CLIENT6, SERVER6, "S", 77)


@pytest.mark.parametrize(
    ("kind", "code", "what"),
    [
        (3, 0, icmp.NET), (3, 1, icmp.HOST), (3, 2, icmp.PROTOCOL), (3, 3, icmp.PORT), (3, 4, icmp.TOO_BIG), (3, 9, icmp.PROHIBITED),
        (3, 10, icmp.PROHIBITED), (3, 13, icmp.PROHIBITED), (5, 1, icmp.REDIRECT), (11, 0, icmp.EXPIRED),
    ],
)  # fmt: skip
def test_what_is_said(tmp_path: Path, kind: int, code: int, what: str) -> None:
    (found,) = errors(tmp_path, icmp4(kind, code, SYN[:28]))
    assert found[:6] == (1, T0, ROUTER, CLIENT[0], what, 6)
    assert found[6:10] == (CLIENT, SERVER, 77, 40)


@pytest.mark.parametrize(
    ("kind", "code", "what"),
    [
        (1, 0, icmp.NET),
        (1, 1, icmp.PROHIBITED),
        (1, 3, icmp.HOST),
        (1, 4, icmp.PORT),
        (2, 0, icmp.TOO_BIG),
        (3, 0, icmp.EXPIRED),
        (4, 1, icmp.PROTOCOL),
    ],
)
def test_what_is_said_in_ipv6(tmp_path: Path, kind: int, code: int, what: str) -> None:
    (found,) = errors(tmp_path, icmp6(kind, code, SYN6))
    assert found[2:10] == (ROUTER6, CLIENT6[0], what, 6, CLIENT6, SERVER6, 77, 60)


def test_a_datagram_and_what_has_no_ports(tmp_path: Path) -> None:
    ping = _ip(CLIENT[0], SERVER[0], 1, b"\x08\0" + bytes(6))
    later = bytearray(datagram(CLIENT, SERVER, bytes(20)))
    later[6:8] = b"\0\x10"  # a fragment at 128
    found = errors(
        tmp_path, icmp4(3, 3, datagram(CLIENT, SERVER, b"x")[:28]), icmp4(3, 1, ping), icmp4(11, 0, bytes(later)), icmp4(3, 1, b"\x45")
    )
    assert [(e.protocol, e.source, e.destination, e.seq) for e in found] == [
        (17, CLIENT, SERVER, -1),
        (1, (CLIENT[0], 0), (SERVER[0], 0), -1),
        (17, (CLIENT[0], 0), (SERVER[0], 0), -1),
        (0, ("", 0), ("", 0), -1),
    ]


def test_how_large_a_packet_may_be_and_where_to_go(tmp_path: Path) -> None:
    target = ip_address(ROUTER6).packed + ip_address(SERVER6[0]).packed
    quoted = b"\x04\x09" + bytes(6) + SYN6 + bytes(4)
    found = errors(
        tmp_path,
        icmp4(3, 4, SYN, b"\0\0\x05\x78"),
        icmp6(2, 0, SYN6, struct.pack(">I", 1280)),
        icmp4(5, 1, SYN, ip_address("203.0.113.9").packed),
        icmp6(137, 0, target + quoted),
        icmp6(137, 0, target),
    )
    assert [(e.mtu, e.gateway, e.destination) for e in found] == [
        (1400, "", SERVER),
        (1280, "", SERVER6),
        (0, "203.0.113.9", SERVER),
        (0, ROUTER6, SERVER6),
        (0, ROUTER6, (SERVER6[0], 0)),
    ]


def test_behind_extension_headers(tmp_path: Path) -> None:
    data = bytearray(SYN6)
    data[6] = 0
    data[40:40] = b"\x2c\0" + bytes(6) + b"\x06\0\0\x01" + bytes(4)  # hop by hop, and a first fragment
    (found,) = errors(tmp_path, icmp6(1, 4, bytes(data)))
    assert (found.protocol, found.source, found.seq) == (6, CLIENT6, 77)


def test_an_error_inside_a_tunnel_and_what_is_none(tmp_path: Path) -> None:
    """IP in IP; a ping, codes nobody defined, a cut message."""
    tunnelled = _ip("10.0.0.1", "10.0.0.2", 4, icmp4(3, 3, SYN))
    none = [_ip(ROUTER, CLIENT[0], 1, b"\x08\0" + bytes(30)), icmp4(11, 2, SYN), icmp4(3, 99, SYN), icmp4(4, 0, SYN), icmp4(3, 3, b"")[:24]]
    assert [e.frame for e in errors(tmp_path, *none, tunnelled)] == [6]


def test_no_more_than_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(icmp, "MAX_ERRORS", 3)
    assert len(errors(tmp_path, *[icmp4(3, 3, SYN)] * 9)) == 3


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([1, 58]), st.sampled_from([1, 2, 3, 4, 5, 11, 137]), st.integers(0, 15), st.binary(max_size=120))
def test_no_bytes_break_it(tmp_path_factory: pytest.TempPathFactory, protocol: int, kind: int, code: int, data: bytes) -> None:
    ends = (ROUTER, CLIENT[0]) if protocol == 1 else (ROUTER6, CLIENT6[0])
    errors(tmp_path_factory.mktemp("made"), _ip(*ends, protocol, bytes([kind, code, 0, 0]) + data))
