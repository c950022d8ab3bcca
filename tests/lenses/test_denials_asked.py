"""Servers and devices whose refusals count only for what was asked, how often, or where nothing else is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lenses.made import CLIENT, MS, SERVER, S, close, found, healthy, problems, talk
from tests.lenses.test_denials import marked, ntp, radius
from tests.parsers.build import Packet, datagram
from tests.parsers.test_denials import bacnet, be, cip, dnp3, doip, iec104, kafka, ldap, opc_ua_results, rpc, s7, tlv

if TYPE_CHECKING:
    from pathlib import Path

    from netlens.lenses import Finding


def polls(port: int, *pairs: tuple[bytes, bytes], pause: int = S) -> list[Packet]:
    """Questions and answers on one connection."""
    made = talk(41_000, server=(SERVER, port))
    for question, answer in pairs:
        made.up("PA", question)
        made.down("PA", answer)
        made.at += pause
    return close(made).packets


def by_udp(port: int, *pairs: tuple[bytes, bytes], client: int = 41_000, pause: int = S) -> list[Packet]:
    ends = (CLIENT, client), (SERVER, port)
    return [
        Packet(k * pause + after, datagram(*ends[::way], message))
        for k, pair in enumerate(pairs)
        for after, way, message in ((0, 1, pair[0]), (MS, -1, pair[1]))
    ]


def told(tmp_path: Path, packets: list[Packet]) -> Finding | None:
    this = found(tmp_path, packets, healthy())
    assert problems(this) <= {"refused"}
    return this.get("refused")


def reads_property(object_: int, number: int = 1) -> bytes:
    return bacnet(b"\x00\x04" + bytes([number]) + b"\x0c\x0c" + be(object_, 4) + b"\x19\x55", b"\x04")


NO_OBJECT, NO_PROPERTY = bacnet(b"\x50\x01\x0c\x91\x01\x91\x1f"), bacnet(b"\x50\x01\x0c\x91\x02\x91\x20")
TAG, OTHER_TAG, NO_TAG = cip(b"\x4c\x05\x91\x08Pressure\1\0"), cip(b"\x4c\x04\x91\x06Level1\1\0"), cip(b"\xcc\0\x05\x01\0\0")
NO_ATTRIBUTE = cip(b"\x8e\0\x14\0")


def reads_node(name: bytes) -> bytes:
    header = b"\1\0\xea\3" + bytes(16) + b"\xff" * 4 + bytes(4) + bytes(3)
    body = b"\1\0\x77\2" + header + bytes(12) + b"\1\0\0\0" + b"\3\2\0" + bytes([len(name), 0, 0, 0]) + name + b"\x0d\0\0\0" + b"\xff" * 4
    return b"MSGF" + bytes(20) + body


def reads_item(block: int) -> bytes:
    body = b"\x02\xf0\x80\x32\x01\0\0\0\x01\0\x0e\0\0\x04\x01\x12\x0a\x10\x02\0\4" + be(block, 2) + b"\x84\0\0\0"
    return b"\x03\0" + be(4 + len(body), 2) + body


NO_NODE = opc_ua_results(634, 1, b"\x02\0\0\x34\x80")
NO_BLOCK = s7(b"\x0a\0\0\0")


@pytest.mark.parametrize(
    ("packets", "severity"),
    [
        pytest.param(by_udp(47_808, *[(reads_property(7), NO_OBJECT)] * 2, client=47_808), "problem", id="BACnet: one object, twice"),
        pytest.param(
            by_udp(47_808, *((reads_property(k), NO_OBJECT) for k in range(9)), client=47_808), "warning", id="BACnet: a look round"
        ),
        pytest.param(by_udp(47_808, *[(reads_property(7), NO_PROPERTY)] * 9), "warning", id="BACnet: an optional property"),
        pytest.param(polls(44_818, *[(TAG, NO_TAG)] * 2), "problem", id="CIP: one tag, twice"),
        pytest.param(polls(44_818, (TAG, NO_TAG), (OTHER_TAG, NO_TAG)), "warning", id="CIP: each tag once"),
        pytest.param(polls(44_818, *[(TAG, NO_ATTRIBUTE)] * 9), "warning", id="CIP: an attribute that a device need not have"),
        pytest.param(polls(4840, *[(reads_node(b"a"), NO_NODE)] * 2), "problem", id="OPC UA: one node, twice"),
        pytest.param(polls(4840, (reads_node(b"a"), NO_NODE), (reads_node(b"b"), NO_NODE)), "warning", id="OPC UA: each node once"),
        pytest.param(polls(102, *[(reads_item(77), NO_BLOCK)] * 2), "problem", id="S7: one block, twice"),
        pytest.param(polls(102, *((reads_item(k), NO_BLOCK) for k in range(9))), "warning", id="S7: which blocks there are"),
        pytest.param(polls(873, *[(b"backup\n", b"@ERROR: Unknown module 'backup'\n")] * 2), "problem", id="rsync: one module, twice"),
        pytest.param(
            polls(873, (b"backup\n", b"@ERROR: Unknown module 'backup'\n"), (b"bakup\n", b"@ERROR: Unknown module 'bakup'\n")),
            "warning",
            id="rsync: two modules",
        ),
    ],
)
def test_what_is_asked_for_again(tmp_path: Path, packets: list[Packet], severity: str) -> None:
    this = told(tmp_path, packets)
    assert this is not None
    assert this.severity == severity


METADATA = marked(be(3, 2) + be(1, 2) + be(7, 4) + b"\0\1a" + be(1, 4) + b"\0\1a")
NO_LEADER, LEADER = marked(kafka(1, 5)), marked(kafka(1, 0))


@pytest.mark.parametrize(
    ("said", "problem"), [([NO_LEADER] * 3, True), ([NO_LEADER, NO_LEADER, LEADER], False), ([NO_LEADER] * 2, False), ([LEADER], False)]
)
def test_a_topic_of_kafka_without_a_leader(tmp_path: Path, said: list[bytes], problem: bool) -> None:
    """One that is made just then has none for a moment."""
    this = told(tmp_path, polls(9092, *((METADATA, each) for each in said)))
    assert (this is not None and this.severity == "problem") == problem
    assert not problem or (this is not None and "leader not available (5)" in this.text and "brokers" in this.advice)


def no_service(name: bytes) -> bytes:
    return tlv(
        0x7E,
        tlv(0x30, b"\xa0\x03\x02\x01\x05\xa1\x03\x02\x01\x1e", b"\xa6\x03\x02\x01\x07", b"\xa9\x03\x1b\x01A", tlv(0xAA, tlv(0x1B, name))),
    )


@pytest.mark.parametrize(
    ("packets", "severity"),
    [
        pytest.param(by_udp(123, *[(b"", ntp(0, leap=3))] * 9), "problem", id="NTP: on and on"),
        pytest.param(by_udp(123, *[(b"", ntp(0, leap=3))] * 8), "warning", id="NTP: a server that has just begun"),
        pytest.param(by_udp(1812, *[(b"", radius(3))] * 3), "problem", id="RADIUS: never"),
        pytest.param(by_udp(1812, *[(b"", radius(3))] * 2), "warning", id="RADIUS: mistyped"),
        pytest.param(by_udp(1812, (b"", radius(2)), *[(b"", radius(3))] * 5), "warning", id="RADIUS: others come in"),
        pytest.param(by_udp(1812, *[(b"", radius(3))] * 9, pause=30 * S), "warning", id="RADIUS: a switch that checks the server"),
        pytest.param(by_udp(88, *[(b"", no_service(b"HTTP"))] * 3), "problem", id="Kerberos: one service"),
        pytest.param(by_udp(88, *((b"", no_service(name)) for name in (b"HTTP", b"host", b"cifs"))), "warning", id="Kerberos: each once"),
        pytest.param(by_udp(88, *[(b"", no_service(b"HTTP"))] * 3, pause=2 * MS), "warning", id="Kerberos: at once"),
        pytest.param(by_udp(88, *[(b"", no_service(b"HTTP"))] * 9, pause=60 * S), "warning", id="Kerberos: by the clock"),
        pytest.param(polls(20_000, *[(dnp3(b"\0\0", 1), dnp3(b"\0\x02"))] * 3), "problem", id="DNP3: nothing else"),
        pytest.param(
            polls(20_000, *((dnp3(b"\0\0", 1), dnp3(b"\0" + no)) for no in (b"\2", b"\2", b"\2", b"\0"))), "warning", id="DNP3: at first"
        ),
    ],
)
def test_refusals_that_are_ordinary_unless_there_is_nothing_else(tmp_path: Path, packets: list[Packet], severity: str) -> None:
    this = told(tmp_path, packets)
    assert this is not None
    assert this.severity == severity


def maps(program: int, port: int) -> list[Packet]:
    """A port mapper that is asked for a program of RPC, and what is said at that port."""
    call = (
        be(7, 4) + bytes(4) + be(2, 4) + be(100_000, 4) + be(2, 4) + be(3, 4) + bytes(16) + be(program, 4) + be(3, 4) + be(6, 4) + bytes(4)
    )
    made = talk(41_001, S, (SERVER, port))
    made.up("PA", marked(be(8, 4) + bytes(4) + be(2, 4) + be(program, 4)))
    made.down("PA", marked(rpc(0, be(13, 4))))
    return by_udp(111, (call, rpc(0, be(port, 4)))) + close(made).packets


@pytest.mark.parametrize(("program", "problem"), [(100_005, True), (100_003, False)])
def test_a_mount_that_is_denied_at_a_port_that_was_named(tmp_path: Path, program: int, problem: bool) -> None:
    this = told(tmp_path, maps(program, 34_477))
    assert (this is not None) == problem
    if this is not None:
        assert this.text == "1 of 1 RPC answer was a refusal, from 198.51.100.20: mount: access denied (13)."


def test_searches_of_which_each_meets_the_limit(tmp_path: Path) -> None:
    """One on each connection, behind the entries in one segment."""
    packets: list[Packet] = []
    for k in range(3):
        made = talk(41_000 + k, k * S // 10, (SERVER, 389))
        made.up("PA", b"a request")
        made.down("PA", ldap(0x61, 0))
        made.up("PA", b"a request")
        made.down("PA", ldap(0x64, 0) * 3 + ldap(0x65, 4))
        packets += close(made).packets
    this = told(tmp_path, packets)
    assert this is not None
    assert (this.severity, "pages" in this.advice) == ("problem", True)


def test_a_station_that_says_more_than_no(tmp_path: Path) -> None:
    this = told(tmp_path, polls(2404, *((b"\x68\x04\x07\0\0\0", iec104(100, cause)) for cause in (0x47, 0x6E))))
    assert this is not None
    assert this.text == "2 of 2 IEC 104 answers were refusals, from 198.51.100.20: unknown common address (46)."


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            doip(0x0006, b"\0" + bytes(4)),
            "DoIP answer was a refusal, from 198.51.100.20: routing activation: unknown source address (0x00).",
        ),
        (doip(0x8001, b"\x7f\x22\x33"), "UDS answer was a refusal, from 198.51.100.20: no security access (0x33)."),
    ],
)
def test_what_a_gateway_says_and_a_unit_behind_it(tmp_path: Path, message: bytes, said: str) -> None:
    this = told(tmp_path, polls(13_400, (b"a request", message)))
    assert this is not None
    assert this.text == f"1 of 1 {said}"


def connects(names: list[bytes], thrown: int, gap: int = S, late: int = 7 * MS, farewell: bytes = b"") -> list[Packet]:
    """Clients of MQTT one after the other; the broker ends the first ones ``late`` after the next comes, the others end themselves."""
    packets: list[Packet] = []
    for k, name in enumerate(names):
        made = talk(41_000 + k, k * gap, (SERVER, 1883))
        made.up("PA", b"\x10" + bytes([12 + len(name)]) + b"\0\4MQTT\4\2\0\x3c\0" + bytes([len(name)]) + name)
        made.down("PA", b"\x20\2\0\0")
        made.up("A")
        made.at = (k + 1) * gap + late
        if farewell:
            made.up("PA", farewell)
        if k < thrown:
            made.down("FA")
            made.up("FA")
            made.down("A")
            packets += made.packets
        else:
            packets += close(made).packets
    return packets


@pytest.mark.parametrize(
    ("names", "thrown", "told_"),
    [
        pytest.param([b"edge1"] * 10, 9, True, id="to and fro"),
        pytest.param([b"edge1"] * 5, 1, False, id="a client that lost its connection once"),
        pytest.param([b"edge1"] * 5, 0, False, id="a client that comes and goes"),
        pytest.param([b"edge%d" % k for k in range(5)], 4, False, id="each its own name"),
        pytest.param([b""] * 5, 4, False, id="names that the broker makes"),
    ],
)
def test_clients_of_mqtt_with_one_name(tmp_path: Path, names: list[bytes], thrown: int, told_: bool) -> None:
    this = found(tmp_path, connects(names, thrown), healthy())
    assert ("refused" in problems(this)) == told_
    if told_:
        assert "client identifier" in this["refused"].text
        assert "give each one its own" in this["refused"].advice


@pytest.mark.parametrize(("times", "gap"), [(5, S), (5, 60 * S), (12, 60 * S)])
def test_a_client_of_mqtt_that_opens_the_new_connection_first(tmp_path: Path, times: int, gap: int) -> None:
    """With a new token, say."""
    assert not problems(found(tmp_path, connects([b"edge1"] * times, times - 1, gap), healthy(at=0)))


@pytest.mark.parametrize(
    "packets",
    [
        pytest.param(connects([b"edge1"] * 5, 4, farewell=b"\xe0\0"), id="DISCONNECT of 3.1.1"),
        pytest.param(connects([b"edge1"] * 5, 4, farewell=b"\xe0\2\4\0"), id="of 5.0, with a reason"),
        pytest.param(connects([b"edge1"] * 5, 4, late=-200 * MS), id="the broker closes, and then the client comes back"),
    ],
)
def test_clients_of_mqtt_that_end_before_the_next_comes(tmp_path: Path, packets: list[Packet]) -> None:
    assert not problems(found(tmp_path, packets, healthy()))


def master(request: bytes, times: int, answer: bytes = b"") -> list[Packet]:
    """A master of DNP3 that asks by the clock."""
    made = talk(41_000, server=(SERVER, 20_000))
    for _ in range(times):
        made.up("PA", request)
        made.down("PA" if answer else "A", answer)
        made.at += 4 * S
    return close(made).packets


READS = b"\x05\x64\x0b\xc4\x0a\0\1\0\x11\x22\xc1\xc1\1\x3c\2\6\x33\x44"


@pytest.mark.parametrize(
    ("packets", "silent"),
    [
        pytest.param(master(READS, 5), True, id="no answer"),
        pytest.param(master(READS, 5, dnp3(b"\0\0")), False, id="answers"),
        pytest.param(master(READS[:2] + b"\x08" + READS[3:13] + b"\x33\x44", 5), False, id="confirmations, which get none"),
        pytest.param(master(READS[:4] + b"\xff\xff" + READS[6:], 5), False, id="to all"),
        pytest.param(master(READS[:3] + b"\x44" + READS[4:], 5), False, id="an outstation that reports to its master"),
    ],
)
def test_an_outstation_that_acknowledges_and_says_nothing(tmp_path: Path, packets: list[Packet], silent: bool) -> None:
    assert problems(found(tmp_path, packets, healthy())) == ({"slow-server"} if silent else set())
