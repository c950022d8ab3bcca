"""Segments that arrived damaged and were sent again."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP

from tests.lenses.made import GET, MS, Packet, S, close, found, lookup, ping, problems, talk


def right(packet: Packet, flip: bool = False, both: bool = False) -> Packet:
    """With the checksum that is due; ``flip``: and then another byte.  both : the checksum itself is another."""
    layer = IP(packet.data)
    del layer[TCP].chksum
    data = bytearray(bytes(layer))
    if flip:
        data[-1] ^= 0x10
    if both:
        data[36] ^= 0x10
    return Packet(packet.at, bytes(data))


def download(
    damaged: int = 5,
    offload: bool = False,
    lost: bool = False,
    near_client: bool = True,
    acked: bool = False,
    others: bool = False,
    soon: int = 0,
) -> list[Packet]:
    """Of forty segments every eighth is damaged, until it is sent again. ``offload``: no checksum fits; ``lost``: none is wrong; ``others``: of those that
    were taken some are wrong."""
    made = talk(step=MS // 10)
    if near_client:
        made.packets[1:] = [Packet(p.at + 30 * MS, p.data) for p in made.packets[1:]]
    else:
        made.packets[2] = Packet(made.packets[2].at + 30 * MS, made.packets[2].data)
    made.at += 30 * MS
    made.up("PA", GET)
    made.at += 30 * MS
    out = [right(p) for p in made.packets]
    made.packets.clear()
    for k in range(40):
        begin = made.back
        made.down("A", bytes([k + 1]) * 1000)
        bad = k % 8 == 0 and k // 8 < damaged
        out.append(right(made.packets[-1], flip=bad and not lost, both=offload or (others and k % 8 == 3)))
        if bad and not acked:
            for _ in range(3):
                made.down("A", bytes([k + 1]) * 1000)
                out.append(right(made.packets[-1], both=offload))
                made.up("A", ack=begin)
                out.append(right(made.packets[-1]))
            made.at += 20 * MS if k // 8 < soon else 60 * MS
            made.down("A", bytes([k + 1]) * 1000, seq=begin)
            out.append(right(made.packets[-1], both=offload))
        made.up("A")
        out.append(right(made.packets[-1]))
    made.packets.clear()
    return [*out, *close(made).packets]


def test_segments_that_arrived_damaged(tmp_path: Path) -> None:
    this = found(tmp_path, download(), ping(30 * S))
    assert "wrong-checksums" in problems(this)
    assert this["wrong-checksums"].text == (
        "5 of 5 segments that had to be sent again had arrived damaged: their checksums are wrong, those of the others are right "
        "(1 connection, 198.51.100.20:80)."
    )


def test_damaged_segments_that_come_again_sooner_than_a_handshake_took(tmp_path: Path) -> None:
    assert "wrong-checksums" in problems(found(tmp_path, download(soon=3), ping(30 * S)))


@pytest.mark.parametrize(
    "packets",
    [
        download(damaged=2),
        download(offload=True),
        download(lost=True),
        download(near_client=False),
        download(acked=True),
        download(others=True),
    ],
    ids=[
        "two",
        "no checksum fits, as where the card makes them",
        "lost behind the capture",
        "captured near the sender",
        "taken all the same",
        "others that were taken",
    ],
)
def test_segments_that_nobody_knows_to_be_damaged(tmp_path: Path, packets: list[Packet]) -> None:
    assert "wrong-checksums" not in found(tmp_path, packets, ping(30 * S))


def answers(count: int = 3, wrong: int = 0x10, partial: bool = False, again: int = 2 * S, other_id: bool = False) -> list[list[Packet]]:
    """Questions that are asked again though the answer is there.  wrong : bits of its checksum that are flipped.  partial : the card adds the checksum."""
    out = []
    for k in range(count):
        for repeat in range(2):
            at = k * 20 * S + repeat * again
            asked, told = lookup(f"{k}.test", at, at + 10 * MS, port=5_000 + k, txid=k + repeat * 100 * other_id)
            layer = IP(told.data)
            del layer[UDP].chksum
            data = bytearray(bytes(layer))
            if partial:
                data[26:28] = sum_of(data[12:20] + bytes([0, 17]) + data[24:26]).to_bytes(2, "big")
            else:
                data[27] ^= wrong
            out.append([asked, Packet(told.at, bytes(data))])
    return out


def sum_of(data: bytes) -> int:
    total = sum(struct.unpack(f">{len(data) // 2}H", bytes(data)))
    return (total & 0xFFFF) + (total >> 16)


def test_answers_that_arrived_damaged(tmp_path: Path) -> None:
    this = found(tmp_path, *answers())["wrong-checksums"]
    assert (this.severity, this.text) == (
        "problem",
        "3 DNS answers arrived damaged: their UDP checksums are wrong, and 192.0.2.10 asked again as if 198.51.100.53 had said nothing.",
    )


@pytest.mark.parametrize(
    "streams",
    [
        answers(wrong=0),  # they are right: whatever else the client waits for
        answers(partial=True),  # captured where they were sent: the card adds the checksum
        answers(2),
        answers(again=20 * MS),  # a program asks twice
        answers(other_id=True),  # another question
        answers(again=30 * S),
    ],
)
def test_answers_behind_which_the_same_is_asked(tmp_path: Path, streams: list[list[Packet]]) -> None:
    assert "wrong-checksums" not in found(tmp_path, *streams)


@pytest.mark.parametrize("which", ["answer", "question"])
def test_checksums_that_fit_nowhere_tell_nothing(tmp_path: Path, which: str) -> None:
    """Where addresses were changed in the capture, or the card makes the checksums."""
    asked, told = lookup("other.test", 90 * S, 90 * S + 10 * MS)
    changed = told if which == "answer" else asked
    layer = IP(changed.data)
    del layer[UDP].chksum
    data = bytearray(bytes(layer))
    data[27] ^= 0x10
    assert "wrong-checksums" not in found(tmp_path, *answers(), [Packet(p.at, bytes(data)) if p is changed else p for p in (asked, told)])
