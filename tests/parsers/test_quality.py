"""What was not read is said: how many frames of how many, as what, from which frame on; and nothing is said of what carries no sessions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import netlens
from netlens.parsers import quality
from netlens.wire import decode as d
from tests.wire.helpers import MACS, ethernet, ip4, pcap, tcp, udp
from tests.wire.links import ETHERNET, RAW

ESP, GRE, SCTP, IGMP = ip4(bytes(40), 50), ip4(bytes(40), 47), ip4(bytes(40), 132), ip4(bytes(8), 2)
SEGMENT, PING = ip4(tcp(b"data")), ip4(b"\x08\0" + bytes(6), 1)
ERROR = ip4(b"\x03\x03" + bytes(6) + SEGMENT[:28], 1)


def warnings(folder: Path, packets: Sequence[bytes], link: int = RAW, **options: int) -> list[str]:
    path = folder / "c.pcap"
    path.write_bytes(pcap(packets, link, **options))
    return [line.removeprefix(f"{path}: ") for line in netlens.read(path, tables=("sessions",)).warnings]


@pytest.mark.parametrize(
    ("packets", "says"),
    [
        ([GRE], "no TCP or UDP was read in 1 frame: 1 in GRE tunnels, not IP or too deep (not read)"),
        ([ESP, PING, ESP], "no TCP or UDP was read in 3 frames: 2 ESP (encrypted), 1 ICMP"),
        ([PING], "no TCP or UDP was read in 1 frame: 1 ICMP"),
        ([], "holds no frames"),
        (
            [SEGMENT, ESP, GRE, ESP, IGMP],
            "3 of 5 frames not read, so sessions in them are missing: 2 ESP (encrypted), 1 in GRE tunnels, not IP or too deep (not read); first frame 2",
        ),
        ([SEGMENT, SCTP], "1 of 2 frames not read, so sessions in it are missing: 1 SCTP, DCCP or UDP-Lite; first frame 2"),
        (
            [SEGMENT, ip4(udp(b"\0\0\0\x09" + bytes(60), dport=4500), 17)],
            "1 of 2 frames not read, so sessions in it are missing: 1 ESP in UDP (encrypted); first frame 2",
        ),
    ],
)
def test_said(packets: list[bytes], says: str, tmp_path: Path) -> None:
    assert warnings(tmp_path, packets) == [says]


ARP = MACS + b"\x08\x06" + bytes(28)


@pytest.mark.parametrize(
    ("packets", "unread", "holds"),
    [
        ([PING, PING], [], "2 frames: 2 ICMP"),
        ([ERROR], [], "1 frame: 1 ICMP error"),
        ([ERROR, ERROR, IGMP], [], "3 frames: 2 ICMP errors, 1 of other IP protocols"),
        ([IGMP], ["no TCP or UDP was read in 1 frame: 1 of other IP protocols"], "1 frame: 1 of other IP protocols"),
        (
            [ESP, PING],
            ["1 of 2 frames not read, so sessions in it are missing: 1 ESP (encrypted); first frame 1"],
            "2 frames: 1 ICMP, 1 ESP (encrypted)",
        ),
    ],
)
def test_icmp_is_read_by_who_looks_for_findings(packets: list[bytes], unread: list[str], holds: str, tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(packets, RAW))
    part = netlens.analyze(path).capture.part
    assert (part.unread(), part.holds()) == (unread, holds)


def test_arp_is_read_by_who_looks_for_findings(tmp_path: Path) -> None:
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap([ARP], ETHERNET))
    part = netlens.analyze(path).capture.part
    assert (part.unread(), part.holds()) == ([], "1 frame: 1 ARP")


@pytest.mark.parametrize(
    "packets",
    [[SEGMENT, PING, IGMP], [SEGMENT, ip4(udp(bytes(4) + b"IKE" + bytes(40), dport=4500), 17)]],
)
def test_what_carries_no_sessions_is_not_worth_a_word(packets: list[bytes], tmp_path: Path) -> None:
    assert warnings(tmp_path, packets) == []


def test_said_of_the_link_layer(tmp_path: Path) -> None:
    lldp, tagged = MACS + b"\x88\xcclldp", MACS + b"\x89\x03" + SEGMENT
    assert warnings(tmp_path, [ethernet(SEGMENT), lldp], ETHERNET) == []
    assert warnings(tmp_path, [lldp], ETHERNET) == ["no TCP or UDP was read in 1 frame: 1 of other network protocols"]
    assert warnings(tmp_path, [ethernet(SEGMENT), tagged], ETHERNET) == [
        "1 of 2 frames not read, so sessions in it are missing: 1 of other EtherTypes; first frame 2"
    ]
    assert warnings(tmp_path, [SEGMENT], 143) == ["no TCP or UDP was read in 1 frame: 1 of a link type that netlens does not read (DOCSIS)"]
    assert warnings(tmp_path, [SEGMENT], 147) == [
        "no TCP or UDP was read in 1 frame: 1 of a link type that netlens does not read (link type 147)"
    ]
    assert warnings(tmp_path, [SEGMENT] * 2, cut=30) == ["no TCP or UDP was read in 2 frames: 2 cut inside the TCP or UDP header"]


def test_every_reason_has_words() -> None:
    """A reason that is new must be said in words, whether sessions can hide behind it or not."""
    counts = np.ones((d.N_REASONS, 2), np.int64)
    text = quality.holds(9, counts, [])
    assert text.replace("802.11", "").count("1 ") == len(d.REASONS)


def test_several_files_are_named_as_one(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(pcap([GRE], RAW))
    paths = [tmp_path / name for name in ("a", "b", "c")]
    assert netlens.read(paths, tables=("sessions",)).warnings == [
        f"{paths[0]} and 2 more: no TCP or UDP was read in 3 frames: 3 in GRE tunnels, not IP or too deep (not read)"
    ]


def test_sessions_given_up_in_a_flood_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "flood.pcap"
    path.write_bytes(pcap([SEGMENT], RAW))
    capture = netlens.read(path, tables=("sessions",))
    monkeypatch.setattr(type(capture.part.fold), "given_up", (1234, 56))
    (line,) = capture.warnings
    assert line.startswith(f"{path}: 1,234 5-tuples of one TCP frame, or of unanswered SYNs, beyond ")
    assert line.endswith("no session; first frame 56")
