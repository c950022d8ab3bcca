"""Losses that cannot be measured, and servers that close too early."""

from __future__ import annotations

from pathlib import Path

import pytest

import netlens
from tests.lenses.made import SERVER, Packet, S, close, exchange, found, healthy, ping, problems, talk
from tests.lenses.test_lenses import lossy
from tests.parsers.build import write
from tests.parsers.test_pipeline import HELLO


def test_of_data_whose_acknowledgments_were_filtered_out_nobody_knows_when_they_came(tmp_path: Path) -> None:
    packets = lossy(spurious=False)
    made = [p for p in packets if len(p.data) > 40 or p.data[33] != 0x10]  # 20 bytes of IP, 20 of TCP, the flags at 13
    assert len(made) < len(packets) - 10
    later = [Packet(p.at + 60 * S * (p.data[33] & 1), p.data) for p in made]  # only the close tells what had arrived
    this = found(tmp_path, later)["packet-loss"]
    assert this.values["waited_s"] < 5


@pytest.mark.parametrize(("asked", "told"), [(400, {"reset"}), (26, set())])
def test_a_server_that_closes_behind_the_handshake_of_tls_and_resets_the_first_request(tmp_path: Path, asked: int, told: set[str]) -> None:
    """Of 31 bytes the client takes its leave; of more it asks."""
    made = talk(server=(SERVER, 443))
    made.up("PA", HELLO)
    made.down("PA", b"\x16\x03\x03\x00\x28" + bytes(40))
    made.up("PA", b"\x14\x03\x03\x00\x01\x01\x16\x03\x03\x00\x28" + bytes(40))
    made.down("PA", b"\x14\x03\x03\x00\x01\x01\x16\x03\x03\x00\x28" + bytes(40))
    made.down("FA")
    made.up("PA", b"\x17\x03\x03" + asked.to_bytes(2, "big") + bytes(asked))
    made.down("R")
    assert problems(found(tmp_path, made.packets, healthy(), ping(30 * S))) == told


def test_a_clock_that_is_set_back(tmp_path: Path) -> None:
    """While a connection lasts, and between two that were joined in another order. pcap files keep the order of the recorder."""
    made = close(exchange(talk())).packets
    late = [Packet(p.at + 3600 * S, p.data) for p in made[:5]]
    path = write(tmp_path / "made.pcap", [*late, *made[5:]])
    (this,) = [f for f in netlens.analyze(str(path)).findings if f.id == "clock-set"]
    assert (this.severity, this.frames) == ("warning", [("vm", 6)])
    assert this.text == "The capture's clock goes back 1 time, by 60 min at frame 6: times before and after it cannot be compared."
    write(path, [*healthy(at=60 * S), *made])
    (this,) = [f for f in netlens.analyze(str(path)).findings if f.id == "clock-set"]
    assert this.severity == "note"


def test_frames_that_two_interfaces_hand_over_in_another_order(tmp_path: Path) -> None:
    made = healthy()
    path = write(tmp_path / "made.pcap", [Packet(p.at + (k % 2) * S // 2, p.data) for k, p in enumerate(made)])
    assert "clock-set" not in {f.id for f in netlens.analyze(str(path)).findings}
