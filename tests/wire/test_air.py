"""IEEE 802.11 beside the usual: what is encrypted, decrypted, sent in pieces, in a mesh, several packets in one frame, and what carries no data."""

from __future__ import annotations

from pathlib import Path

import pytest

import netlens
from tests.wire import links
from tests.wire.air import (
    AP,
    FCS,
    FRAGMENT,
    FROM_DS,
    PROTECTED,
    RETRY,
    STATION,
    TO_DS,
    aggregated,
    data,
    head,
    management,
    radiotap,
    snap,
    subframe,
)
from tests.wire.helpers import decode, ip4, one, pcap, reason, tcp
from tests.wire.link.ppi import common, ppi

V4 = ip4(tcp(b"four"))
IV = b"\1\0\0\x20\0\0\0\0"
MESH = b"\1\x1f\1\0\0\0" + b"\2" * 6
QUALITY = b"\0\0"


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (management(8, bytes(40)), "wlan_talk"),
        (management(12, b"\7\0"), "wlan_talk"),
        (b"\xd4\0\0\0" + STATION, "wlan_talk"),  # an acknowledgment
        (b"\xb4\0\0\0" + STATION + AP, "wlan_talk"),  # RTS
        (head(4, TO_DS), "wlan_talk"),  # no data: power saving
        (head(12, TO_DS) + QUALITY, "wlan_talk"),
        (head(0, TO_DS | PROTECTED) + IV + bytes(60), "wlan_encrypted"),
        (head(8, FROM_DS | PROTECTED) + QUALITY + IV + bytes(60), "wlan_encrypted"),
        (data(V4, 0x0800, TO_DS | FRAGMENT), "wlan_piece"),
        (data(V4, 0x0800, TO_DS, sequence=0x121), "wlan_piece"),
        (data(b"\x42\x42\x03", 0x0800)[:24] + b"\x42\x42\x03" + bytes(35), "not_ip"),
        (data(bytes(28), 0x0806), "arp"),
        (b"\x09\0" + bytes(60), "not_ip"),  # another version
        (head(0, TO_DS)[:20], "cut_link"),
        (management(8)[:20], "cut_link"),
    ],
)
def test_what_carries_no_ip_is_counted(frame: bytes, says: str) -> None:
    assert decode([frame], links.AIR).counts == {says: 1}
    assert decode([radiotap(frame)], links.RADIOTAP).counts == {says: 1}


def test_frames_that_were_damaged_on_the_way() -> None:
    assert reason(radiotap(data(V4, 0x0800), flags=0x50), links.RADIOTAP) == "wlan_damaged"
    assert reason(ppi(data(V4, 0x0800), fields=common(flags=5)), links.PPI) == "wlan_damaged"
    assert one(ppi(data(V4, 0x0800) + FCS, fields=common(flags=1)), links.PPI).payload == b"four"


@pytest.mark.parametrize(
    "frame",
    [
        head(0, TO_DS | PROTECTED) + IV + snap(V4, 0x0800) + bytes(8),
        head(8, FROM_DS | PROTECTED) + QUALITY + snap(V4, 0x0800),
        head(0, TO_DS | PROTECTED) + IV[:4] + snap(V4, 0x0800),
        head(8, TO_DS | PROTECTED) + b"\x80\0" + IV + subframe(V4, 0x0800),
        head(8, TO_DS | PROTECTED) + b"\x80\0" + subframe(V4, 0x0800),
        head(8, FROM_DS) + b"\0\1" + MESH + snap(V4, 0x0800),
        head(8, FROM_DS) + b"\0\1" + snap(V4, 0x0800),  # a queue's length
        head(8, FROM_DS) + b"\x80\0" + snap(V4, 0x0800),  # taken apart by the card
        data(V4, 0x0800) + FCS,
    ],
)
def test_decrypted_and_other_forms(frame: bytes) -> None:
    assert one(frame, links.AIR).payload == b"four"


def test_several_packets_in_one_frame() -> None:
    arp = bytes(28), 0x0806
    found = decode([aggregated((V4, 0x0800), arp, arp) + FCS, aggregated((V4, 0x0800))], links.AIR)
    assert found.counts == {"tcp": 2, "wlan_aggregated": 1}
    assert [p.payload for p in found.packets] == [b"four"] * 2


def test_ways_on_the_air() -> None:
    for flags in (0, TO_DS, FROM_DS, TO_DS | RETRY, FROM_DS | RETRY):
        assert one(data(V4, 0x0800, flags), links.AIR).iface == 0x80 | flags
    assert one(aggregated((V4, 0x0800)), links.AIR).iface == 0x80 | TO_DS


def test_repeats_on_the_air_are_copies(tmp_path: Path) -> None:
    frames = [data(V4, 0x0800, TO_DS), data(V4, 0x0800, TO_DS | RETRY), data(V4, 0x0800, FROM_DS), data(V4, 0x0800, TO_DS)]
    path = tmp_path / "c.pcap"
    path.write_bytes(pcap(frames, links.AIR))
    (row,) = netlens.read(path).table("sessions").records()
    assert (row["orig_retransmits"], row["orig_frames"]) == (1, 4)
