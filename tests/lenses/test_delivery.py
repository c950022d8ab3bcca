"""Losses that cannot be measured, and servers that close too early."""

from __future__ import annotations

from pathlib import Path

import pytest

import netlens
from netlens.lenses import Finding
from tests.lenses.made import MS, SERVER, Packet, S, close, exchange, found, healthy, ping, problems, talk
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
    made = talk()
    for _ in range(8):
        exchange(made)
    packets = close(made).packets

    def told(late: int) -> list[Finding]:
        path = write(tmp_path / "made.pcap", [*(Packet(p.at + 3600 * S, p.data) for p in packets[:late]), *packets[late:]])
        return [f for f in netlens.analyze(str(path)).findings if f.id == "clock-set"]

    (this,) = told(20)
    assert (this.severity, this.frames) == ("warning", [("vm", 21)])
    assert this.text == "The capture's clock goes back 1 time, by 60 min at frame 21: times before and after it cannot be compared."
    assert not told(3)  # damaged times, or frames that were written late
    path = write(tmp_path / "made.pcap", [*healthy(at=60 * S), *healthy(40_901, 61 * S), *packets])
    (this,) = [f for f in netlens.analyze(str(path)).findings if f.id == "clock-set"]
    assert this.severity == "note"


def test_frames_that_are_out_of_order_in_the_file_are_no_clock(tmp_path: Path) -> None:
    """Of each so many the file has the last half first."""
    made = talk()
    for _ in range(300):
        exchange(made)
    packets = [Packet(made.packets[0].at + k * S // 10, p.data) for k, p in enumerate(close(made).packets)]

    def told(block: int) -> list[Finding]:
        blocks = [packets[k : k + block] for k in range(0, len(packets), block)]
        path = write(tmp_path / "made.pcap", [p for each in blocks for p in each[block // 2 :] + each[: block // 2]])
        return [f for f in netlens.analyze(str(path)).findings if f.id == "clock-set"]

    (this,) = told(40)
    assert this.severity == "warning"
    assert this.text.startswith("Frames are out of order in the file: ")
    assert "reordercap" in this.advice
    (this,) = told(len(packets) // 2 * 2)
    assert "clock goes back 1 time" in this.text


def test_frames_that_two_interfaces_hand_over_in_another_order(tmp_path: Path) -> None:
    made = healthy()
    path = write(tmp_path / "made.pcap", [Packet(p.at + (k % 2) * S // 2, p.data) for k, p in enumerate(made)])
    assert "clock-set" not in {f.id for f in netlens.analyze(str(path)).findings}


def in_pieces(
    late: int = 40 * MS, each_answered: bool = False, answered: bool = True, times: int = 20, think: int = 0, pause: int = 0
) -> list[Packet]:
    """Requests of two pieces, the second of which waits for the acknowledgment of the first."""
    made = talk(step=MS // 10)
    for _ in range(times):
        made.at += pause
        made.up("PA", b"header")
        made.at += late
        made.down("PA" if each_answered else "A", b"ok" if each_answered else b"")
        made.at += think
        made.up("PA", b"body")
        if answered:
            made.down("PA", b"ok")
            made.up("A")
        else:
            made.down("A")
    return close(made).packets


def test_small_pieces_that_wait_for_an_acknowledgment(tmp_path: Path) -> None:
    this = found(tmp_path, in_pieces())
    assert not problems(this)
    assert this["small-writes"].severity == "warning"
    assert this["small-writes"].text == (
        "20 times 192.0.2.10 held small data back until what it had sent before was acknowledged, typically 40 ms later (802 ms in all on one connection, "
        "with 198.51.100.20:80)."
    )


@pytest.mark.parametrize(("times", "pause", "severity"), [(30, 0, "problem"), (20, 0, "warning"), (30, 200 * MS, "warning")])
def test_small_pieces_that_take_much_of_a_connections_time(tmp_path: Path, times: int, pause: int, severity: str) -> None:
    assert found(tmp_path, in_pieces(times=times, pause=pause))["small-writes"].severity == severity


@pytest.mark.parametrize(
    "packets",
    [
        in_pieces(late=MS),
        in_pieces(each_answered=True),  # 40 ms is what the server takes
        in_pieces(answered=False),  # something every 40 ms, which needs no answer
        in_pieces(think=20 * MS),  # a person who types, or a program that works meanwhile
        in_pieces(times=5),
    ],
    ids=["at once", "each answered", "no answers", "busy", "few"],
)
def test_small_pieces_that_do_not_wait(tmp_path: Path, packets: list[Packet]) -> None:
    assert "small-writes" not in found(tmp_path, packets)
